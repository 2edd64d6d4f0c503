//! The query language as Microsoft's server reads it (analytics contract, section 8): words in a fixed order, no OR, no
//! parentheses but those of IN, and names that are checked against the datasets as they are listed now.

use std::iter::Peekable;
use std::vec::IntoIter;

use jiff::civil::Date;

use super::draw::{self, days_after, midnight, months_after};
use super::tables::Table;
use super::world::Between;
use jiff::{SignedDuration, Timestamp};

/// `availableDateRanges` of all seven.
pub const SPANS: &[&str] = &["LAST_MONTH", "LAST_3_MONTHS", "LAST_6_MONTHS", "LAST_1_YEAR", "LIFETIME"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Equal,
    Unequal,
    Greater,
    Less,
    AtLeast,
    AtMost,
    Like,
    NotLike,
    In,
    NotIn,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub name: String,
    pub compare: Compare,
    pub values: Vec<String>,
}

/// A query that is well-formed. Names are as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub distinct: bool,
    pub columns: Vec<String>,
    pub dataset: String,
    pub conditions: Vec<Condition>,
    /// The column, and whether the least is first.
    pub order: Vec<(String, bool)>,
    pub limit: Option<usize>,
    pub span: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Number(String),
    Text(String),
    Sign(&'static str),
}

const SIGNS: &[&str] = &["!=", ">=", "<=", "=", ">", "<", ",", "(", ")"];

fn syntax(near: &str) -> String {
    format!("Syntax error in query near '{}'", near.chars().take(40).collect::<String>())
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = |good: &dyn Fn(char) -> bool| rest.find(|c: char| !good(c)).unwrap_or(rest.len());
        let taken = if first.is_ascii_alphabetic() {
            let taken = length(&|c| c.is_ascii_alphanumeric() || c == '_');
            tokens.push(Token::Word(rest[..taken].to_owned()));
            taken
        } else if first.is_ascii_digit() || first == '-' {
            let taken = length(&|c| c.is_ascii_digit() || c == '.' || c == '-');
            let number = &rest[..taken];
            if number.parse::<rust_decimal::Decimal>().is_err() {
                return Err(syntax(rest));
            }
            tokens.push(Token::Number(number.to_owned()));
            taken
        } else if first == '\'' {
            let end = rest[1..].find('\'').ok_or_else(|| syntax(rest))?;
            tokens.push(Token::Text(rest[1..=end].to_owned()));
            end + 2
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or_else(|| syntax(rest))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

struct Reader(Peekable<IntoIter<Token>>);

impl Reader {
    /// Takes a keyword if it is next.
    fn took(&mut self, keyword: &str) -> bool {
        self.0.next_if(|token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))).is_some()
    }

    fn took_sign(&mut self, sign: &str) -> bool {
        self.0.next_if(|token| matches!(token, Token::Sign(found) if *found == sign)).is_some()
    }

    fn must(&mut self, done: bool) -> Result<(), String> {
        if done { Ok(()) } else { Err(self.trouble()) }
    }

    fn trouble(&mut self) -> String {
        match self.0.peek() {
            None => syntax("the end"),
            Some(Token::Word(text) | Token::Number(text) | Token::Text(text)) => syntax(text),
            Some(Token::Sign(sign)) => syntax(sign),
        }
    }

    fn word(&mut self) -> Result<String, String> {
        match self.0.next_if(|token| matches!(token, Token::Word(_))) {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(self.trouble()),
        }
    }

    fn scalar(&mut self) -> Result<String, String> {
        match self.0.next_if(|token| matches!(token, Token::Text(_) | Token::Number(_))) {
            Some(Token::Text(text) | Token::Number(text)) => Ok(text),
            _ => Err(self.trouble()),
        }
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut all = vec![one(self)?];
        while self.took_sign(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn condition(&mut self) -> Result<Condition, String> {
        const PLAIN: &[(&str, Compare)] = &[
            ("=", Compare::Equal),
            ("!=", Compare::Unequal),
            (">", Compare::Greater),
            ("<", Compare::Less),
            (">=", Compare::AtLeast),
            ("<=", Compare::AtMost),
        ];
        let name = self.word()?;
        if let Some((_, compare)) = PLAIN.iter().find(|(sign, _)| self.took_sign(sign)) {
            return Ok(Condition { name, compare: *compare, values: vec![self.scalar()?] });
        }
        let not = self.took("NOT");
        if self.took("LIKE") {
            let compare = if not { Compare::NotLike } else { Compare::Like };
            return Ok(Condition { name, compare, values: vec![self.scalar()?] });
        }
        let inside = self.took("IN") && self.took_sign("(");
        self.must(inside)?;
        let values = self.list(Self::scalar)?;
        let closed = self.took_sign(")");
        self.must(closed)?;
        Ok(Condition { name, compare: if not { Compare::NotIn } else { Compare::In }, values })
    }
}

/// Reads a query. What is wrong with it is a sentence in the server's manner.
pub fn read(text: &str) -> Result<Query, String> {
    let mut reader = Reader(tokens(text)?.into_iter().peekable());
    let select = reader.took("SELECT");
    reader.must(select)?;
    let distinct = reader.took("DISTINCT");
    let columns = reader.list(Reader::word)?;
    let from = reader.took("FROM");
    reader.must(from)?;
    let dataset = reader.word()?;
    let mut query =
        Query { distinct, columns, dataset, conditions: Vec::new(), order: Vec::new(), limit: None, span: None };
    if reader.took("WHERE") {
        query.conditions.push(reader.condition()?);
        while reader.took("AND") {
            query.conditions.push(reader.condition()?);
        }
    }
    if reader.took("ORDER") {
        let by = reader.took("BY");
        reader.must(by)?;
        query.order = reader.list(|reader| {
            let name = reader.word()?;
            let least_first = reader.took("ASC");
            // Without a word it is descending (contract 8.1).
            let _ = !least_first && reader.took("DESC");
            Ok((name, least_first))
        })?;
    }
    if reader.took("LIMIT") {
        let limit = reader.scalar()?.parse().ok().filter(|limit| *limit > 0);
        query.limit = Some(limit.ok_or("LIMIT has to be a positive integer")?);
    }
    if reader.took("TIMESPAN") {
        query.span = Some(reader.word()?);
    }
    let end = reader.0.peek().is_none();
    reader.must(end)?;
    Ok(query)
}

impl Query {
    /// The dates that the time span means at a moment: months are counted back from today, and today belongs to it.
    /// With `calendar` they are whole months before this one. Whether Microsoft means one or the other is not documented.
    pub fn range(&self, as_of: Timestamp, calendar: bool) -> Between {
        let today = draw::day_of(as_of);
        let months = match self.span.as_deref().unwrap_or("LAST_6_MONTHS").to_ascii_uppercase().as_str() {
            "LAST_MONTH" => 1,
            "LAST_3_MONTHS" => 3,
            "LAST_1_YEAR" => 12,
            "LIFETIME" => return Between { from: midnight(Date::constant(2000, 1, 1)), to: as_of },
            _ => 6,
        };
        let first = today.first_of_month();
        if calendar {
            return Between {
                from: midnight(months_after(first, -months)),
                to: midnight(first) - SignedDuration::from_nanos(1),
            };
        }
        Between { from: midnight(days_after(months_after(today, -months), 1)), to: as_of }
    }

    /// The table, if there is one of this name.
    pub fn table(&self) -> Result<&'static Table, String> {
        Table::find(&self.dataset).ok_or_else(|| format!("Invalid table name: {}", self.dataset))
    }
}
