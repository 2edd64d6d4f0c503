//! Conditions over our own rows.
//!
//! An empty cell is null. Null, and a cell that can not be read as its column's kind (a masked one, say), matches no
//! comparison, except `!=`, `NOT LIKE` and `NOT IN`, which it always matches.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use rust_decimal::Decimal;

use super::super::datasets::Kind;
use super::super::value;
use super::ast::{Comparison, Condition, Name, Scalar, Test};
use super::fault::{Fault, nearest};

/// A cell or a literal as it is compared. The order is the one of ORDER BY: null comes first, then what can be read,
/// then what can not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Null,
    Number(Decimal),
    Truth(bool),
    Day(Date),
    Moment(DateTime),
    /// In small letters: values are compared without letter case.
    Text(String),
    Odd(String),
}

impl Value {
    /// Of canonical text.
    pub fn of(kind: Kind, text: &str) -> Self {
        if text.is_empty() {
            return Self::Null;
        }
        let value = match kind {
            Kind::Text => Some(Self::Text(small(text))),
            Kind::Integer | Kind::Decimal => value::number(text).map(Self::Number),
            Kind::Boolean => value::boolean(text).map(Self::Truth),
            Kind::Date => value::date(text).map(Self::Day),
            Kind::Timestamp => value::moment(text).map(Self::Moment),
        };
        value.unwrap_or_else(|| Self::Odd(small(text)))
    }
}

fn small(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// A literal of a column's kind.
pub(super) fn literal(kind: Kind, scalar: &Scalar) -> Result<String, Fault> {
    let mut text = String::new();
    match value::canonical(kind, scalar.value.text(), &mut text) {
        value::Read::Fine => Ok(text),
        // An empty text is a value of a column of text, though no cell has it.
        value::Read::Null if kind == Kind::Text => Ok(text),
        value::Read::Null | value::Read::Odd => {
            let (what, example) = match kind {
                Kind::Text => ("text", "'gold'"),
                Kind::Integer => ("a whole number", "25"),
                Kind::Decimal => ("a number", "12.50"),
                Kind::Boolean => ("true or false", "'true'"),
                Kind::Date => ("a date", "'2026-02-28'"),
                Kind::Timestamp => ("a time (UTC)", "'2026-02-28T09:30:00Z'"),
            };
            let fault = Fault::new(scalar.at.clone(), format!("{} is not {what}.", scalar.value));
            Err(fault.remedy(format!("Write it as {example}.")))
        }
    }
}

/// The place of a column, or a fault with the name that was probably meant.
pub(super) fn place(name: &Name, columns: &[(String, Kind)]) -> Result<usize, Fault> {
    columns.iter().position(|(column, _)| column.eq_ignore_ascii_case(&name.value)).ok_or_else(|| {
        let fault = Fault::new(name.at.clone(), format!("There is no column `{name}`."));
        match nearest(&name.value, columns.iter().map(|(column, _)| column.as_str())) {
            Some(near) => fault.remedy(format!("Did you mean {near}?")),
            None => fault,
        }
    })
}

/// Says which rows meet all conditions.
#[derive(Debug, Clone)]
pub struct Filter {
    checks: Vec<Check>,
}

#[derive(Debug, Clone)]
struct Check {
    place: usize,
    kind: Kind,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Compare(Comparison, Value),
    Like { negated: bool, pattern: Pattern },
    In { negated: bool, values: BTreeSet<Value> },
}

impl Filter {
    /// For rows with these columns. Literals are read here, once; every one that can not be read is a fault.
    pub fn compile(conditions: &[Condition], columns: &[(String, Kind)]) -> Result<Self, Vec<Fault>> {
        let mut checks = Vec::new();
        let mut faults = Vec::new();
        for condition in conditions {
            let place = match place(&condition.column, columns) {
                Ok(place) => place,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let kind = columns.get(place).map_or(Kind::Text, |(_, kind)| *kind);
            checks.extend(rule(kind, &condition.test, &mut faults).map(|rule| Check { place, kind, rule }));
        }
        if faults.is_empty() { Ok(Self { checks }) } else { Err(faults) }
    }

    /// For rows with the same columns: both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.checks.extend(other.checks);
        self
    }

    /// Whether a row of canonical cells meets the conditions. A cell that is not there is null.
    pub fn admits(&self, cells: &[&str]) -> bool {
        self.checks.iter().all(|check| check.admits(cells.get(check.place).copied().unwrap_or_default()))
    }
}

fn rule(kind: Kind, test: &Test, faults: &mut Vec<Fault>) -> Option<Rule> {
    let mut read = |scalar: &Scalar| match literal(kind, scalar) {
        // An empty literal is before every text, where an empty cell would be null.
        Ok(text) if text.is_empty() => Some(Value::Text(text)),
        Ok(text) => Some(Value::of(kind, &text)),
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    match test {
        Test::In { negated, values } => {
            let read: Vec<_> = values.iter().map(&mut read).collect();
            let values = read.into_iter().collect::<Option<_>>()?;
            Some(Rule::In { negated: *negated, values })
        }
        Test::Compare(Comparison::Like, scalar) => {
            Some(Rule::Like { negated: false, pattern: Pattern::new(scalar.value.text()) })
        }
        Test::Compare(Comparison::NotLike, scalar) => {
            Some(Rule::Like { negated: true, pattern: Pattern::new(scalar.value.text()) })
        }
        Test::Compare(comparison, scalar) => read(scalar).map(|value| Rule::Compare(*comparison, value)),
    }
}

impl Check {
    fn admits(&self, cell: &str) -> bool {
        let value = Value::of(self.kind, cell);
        let known = !matches!(value, Value::Null | Value::Odd(_));
        match &self.rule {
            Rule::Like { negated, pattern } => (known && pattern.matches(cell)) != *negated,
            Rule::In { negated, values } => (known && values.contains(&value)) != *negated,
            Rule::Compare(Comparison::NotEqual, with) => !known || value != *with,
            Rule::Compare(comparison, with) => known && holds(*comparison, value.cmp(with)),
        }
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Greater => order.is_gt(),
        Comparison::Less => order.is_lt(),
        Comparison::AtLeast => order.is_ge(),
        Comparison::AtMost => order.is_le(),
        Comparison::Like | Comparison::NotLike => false,
    }
}

/// A text in which `%` stands for anything, or nothing.
#[derive(Debug, Clone)]
struct Pattern {
    first: String,
    middle: Vec<String>,
    /// None: there was no `%`.
    last: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let text = small(text);
        let (first, rest) = match text.split_once('%') {
            None => return Self { first: text, middle: Vec::new(), last: None },
            Some(halves) => halves,
        };
        let (middle, last) = rest.rsplit_once('%').unwrap_or(("", rest));
        let middle = middle.split('%').filter(|piece| !piece.is_empty()).map(str::to_owned).collect();
        Self { first: first.to_owned(), middle, last: Some(last.to_owned()) }
    }

    /// Each piece is taken where it is found first, so a text is gone through once, and nothing is tried twice.
    fn matches(&self, text: &str) -> bool {
        let text = small(text);
        let Some(last) = &self.last else {
            return text == self.first;
        };
        let Some(rest) = text.strip_prefix(self.first.as_str()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else {
            return false;
        };
        for piece in &self.middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse::conditions;
    use super::*;

    fn columns() -> Vec<(String, Kind)> {
        [
            ("Name", Kind::Text),
            ("Price", Kind::Decimal),
            ("Seats", Kind::Integer),
            ("Trial", Kind::Boolean),
            ("Day", Kind::Date),
            ("Moment", Kind::Timestamp),
        ]
        .map(|(name, kind)| (name.to_owned(), kind))
        .to_vec()
    }

    fn filter(text: &str) -> Filter {
        Filter::compile(&conditions(text).unwrap(), &columns()).unwrap()
    }

    const ROW: [&str; 6] = ["Contoso SaaS", "9.5", "25", "true", "2026-02-03", "2026-02-03T09:14:55.5Z"];

    #[test]
    fn cells_are_compared_by_their_kind() {
        for text in [
            "name = 'contoso saas'",
            "Price < 10 AND Price >= 9.50 AND Price = '9.500'",
            "Seats > 9 AND Seats <= 25",
            "Trial = 1 AND Trial = 'Yes' AND Trial != 'false'",
            "Day > '2025-12-31' AND Day = '2026-02-03 00:00:00.0000000'",
            "Moment > '2026-02-03' AND Moment < '2026-02-03 09:14:56'",
            "Moment = '2026-02-03T10:14:55.5+01:00'",
            "Name IN ('x', 'CONTOSO SAAS') AND Seats NOT IN (1, 2) AND Price IN (9.50)",
            "Name LIKE 'con%so%' AND Name LIKE '%SAAS' AND Name NOT LIKE 'saas%'",
            "Day LIKE '2026-02%'",
            "Name > ''",
        ] {
            assert!(filter(text).admits(&ROW), "{text}");
        }
        for text in ["Price > 10", "Seats = 26", "Trial = 0", "Day < '2026-02-03'", "Name = 'contoso'", "Name = ''"] {
            assert!(!filter(text).admits(&ROW), "{text}");
        }
    }

    #[test]
    fn null_and_what_can_not_be_read_match_only_what_says_not() {
        for cells in [["", "", "", "", "", ""], ["", "****", "****", "****", "****", "****"]] {
            for (column, literal) in
                [("Name", "'a'"), ("Price", "0"), ("Seats", "0"), ("Trial", "0"), ("Day", "'2026-02-03'")]
            {
                for sign in ["=", "<", ">", "<=", ">=", "LIKE"] {
                    assert!(!filter(&format!("{column} {sign} {literal}")).admits(&cells), "{column} {sign}");
                }
                assert!(!filter(&format!("{column} IN ({literal})")).admits(&cells));
                assert!(!filter(&format!("{column} LIKE '%'")).admits(&cells));
                assert!(filter(&format!("{column} != {literal}")).admits(&cells));
                assert!(filter(&format!("{column} NOT LIKE '%'")).admits(&cells));
                assert!(filter(&format!("{column} NOT IN ({literal})")).admits(&cells));
            }
        }
        assert!(!filter("Name = 'a'").admits(&[]));
    }

    #[test]
    fn all_that_can_not_be_compared_is_said_at_once() {
        let text = "Nam = 'a' AND Price = 'much' AND Seats IN (1, 2.5, 'x') AND Day > '2026-02-30' AND Trial = 2";
        let faults = Filter::compile(&conditions(text).unwrap(), &columns()).unwrap_err();
        let words: Vec<_> = faults.iter().map(|fault| &text[fault.at.clone()]).collect();
        assert_eq!(words, ["Nam", "'much'", "2.5", "'x'", "'2026-02-30'", "2"]);
        assert_eq!(faults[0].remedy.as_deref(), Some("Did you mean Name?"));
    }

    #[test]
    fn a_pattern_with_many_signs_is_matched_in_one_pass() {
        let pattern = Pattern::new(&"%a".repeat(2_000));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(200_000))));
        assert!(pattern.matches(&"A".repeat(200_000)));
        assert!(!Pattern::new("ab%ba").matches("aba"));
        assert!(Pattern::new("ab%ba").matches("abBA"));
    }

    /// The plainest way to match, which is slow.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
            Some((first, rest)) => text.split_first().is_some_and(|(c, tail)| c == first && plain(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_as_the_plain_way_does(pattern in "[ab%]{0,7}", text in "[ab]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), plain(&chars(&pattern), &chars(&text)));
        }
    }
}
