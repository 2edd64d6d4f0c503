//! A query as it was understood. Names and values keep their place in the text, so that a fault can point at the word.

use std::fmt;
use std::ops::Range;

use super::span::Span;

/// Something, and the bytes of the text where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// A column or a dataset, in the letter case of the text.
pub type Name = At<String>;
pub type Scalar = At<Literal>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// As written.
    Number(String),
    /// Without its quotes. Has no `'` and no line break.
    Text(String),
}

impl Literal {
    pub fn text(&self) -> &str {
        match self {
            Self::Number(text) | Self::Text(text) => text,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub distinct: bool,
    pub columns: Vec<Name>,
    pub dataset: Name,
    pub conditions: Vec<Condition>,
    pub order: Vec<OrderKey>,
    pub limit: Option<u64>,
    pub span: Option<At<Span>>,
    /// Where the query ends, which is where a missing clause is missed.
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub column: Name,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Compare(Comparison, Scalar),
    In { negated: bool, values: Vec<Scalar> },
}

impl Test {
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            Self::Compare(_, scalar) => std::slice::from_ref(scalar),
            Self::In { values, .. } => values,
        }
    }

    /// Compares with a pattern, not with a value.
    pub fn is_pattern(&self) -> bool {
        matches!(self, Self::Compare(Comparison::Like | Comparison::NotLike, _))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    AtLeast,
    AtMost,
    Like,
    NotLike,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderKey {
    pub column: Name,
    /// Microsoft's default is the other way round.
    pub ascending: bool,
}

/// One line in one form: the text to send.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.distinct { "SELECT DISTINCT " } else { "SELECT " })?;
        list(f, &self.columns, ", ")?;
        write!(f, " FROM {}", self.dataset)?;
        if !self.conditions.is_empty() {
            f.write_str(" WHERE ")?;
            list(f, &self.conditions, " AND ")?;
        }
        if !self.order.is_empty() {
            f.write_str(" ORDER BY ")?;
            list(f, &self.order, ", ")?;
        }
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        self.span.as_ref().map_or(Ok(()), |span| write!(f, " TIMESPAN {span}"))
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.column)?;
        match &self.test {
            Test::Compare(comparison, scalar) => write!(f, "{comparison} {scalar}"),
            Test::In { negated, values } => {
                f.write_str(if *negated { "NOT IN (" } else { "IN (" })?;
                list(f, values, ", ")?;
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Like => "LIKE",
            Self::NotLike => "NOT LIKE",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => write!(f, "'{text}'"),
        }
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.column, if self.ascending { "ASC" } else { "DESC" })
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], between: &str) -> fmt::Result {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            f.write_str(between)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
