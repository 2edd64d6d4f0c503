//! One value of a dataset, and its text as Microsoft's files have it (analytics contract, section 9).

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use super::tables::Kind;

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    #[default]
    Null,
    Text(Arc<str>),
    Word(&'static str),
    Int(i64),
    /// Written with five decimals.
    Number(Decimal),
    /// Written `1` or `0`.
    Flag(bool),
    Day(Date),
    Moment(Timestamp),
}

/// The values of one row, in the order of its table.
pub type Row = Vec<Cell>;

/// To the five decimals that the files have.
pub fn five(number: Decimal) -> Decimal {
    let mut number = number.round_dp_with_strategy(5, RoundingStrategy::MidpointAwayFromZero);
    number.rescale(5);
    number
}

impl Cell {
    pub fn text(text: impl AsRef<str>) -> Self {
        Cell::Text(text.as_ref().into())
    }

    /// Nothing where there is no text.
    pub fn some(text: &str) -> Self {
        if text.is_empty() { Cell::Null } else { Cell::text(text) }
    }

    pub fn id(id: Uuid) -> Self {
        Cell::text(id.to_string())
    }

    pub fn number(number: Decimal) -> Self {
        Cell::Number(five(number))
    }

    pub fn day(day: Option<Date>) -> Self {
        day.map_or(Cell::Null, Cell::Day)
    }

    /// A text as a value of a kind; one that is not of the kind stays text.
    pub fn read(kind: Kind, text: &str) -> Self {
        let read = match kind {
            Kind::Text => None,
            Kind::Int => text.parse().ok().map(Cell::Int),
            Kind::Number => text.parse().ok().map(Cell::number),
            Kind::Flag => flag(text).map(Cell::Flag),
            Kind::Day => text.parse().ok().map(Cell::Day),
            Kind::Moment => super::super::usage::moment(text).map(Cell::Moment),
        };
        if text.is_empty() { Cell::Null } else { read.unwrap_or_else(|| Cell::text(text)) }
    }

    pub fn is_null(&self) -> bool {
        *self == Cell::Null
    }

    /// Its text without quotes; nothing for null.
    pub fn write(&self, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self {
            Cell::Null => Ok(()),
            Cell::Text(text) => out.write_str(text),
            Cell::Word(word) => out.write_str(word),
            Cell::Int(number) => write!(out, "{number}"),
            Cell::Number(number) => write!(out, "{number}"),
            Cell::Flag(on) => out.write_str(if *on { "1" } else { "0" }),
            Cell::Day(day) => write!(out, "{day}"),
            Cell::Moment(at) => write!(out, "{}", at.strftime("%Y-%m-%d %H:%M:%S%.7f")),
        };
    }

    pub fn shown(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// As a file has it: every value quoted, null empty and unquoted.
    pub fn quoted(&self, out: &mut String) {
        if self.is_null() {
            return;
        }
        out.push('"');
        let from = out.len();
        self.write(out);
        if let Cell::Text(text) = self
            && text.contains('"')
        {
            let doubled = text.replace('"', "\"\"");
            out.truncate(from);
            out.push_str(&doubled);
        }
        out.push('"');
    }

    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Cell::Int(number) => Some(Decimal::from(*number)),
            Cell::Number(number) => Some(*number),
            Cell::Text(text) => text.trim().parse().ok(),
            Cell::Word(word) => word.parse().ok(),
            Cell::Null | Cell::Flag(_) | Cell::Day(_) | Cell::Moment(_) => None,
        }
    }

    /// The day of a date or a moment.
    pub fn as_day(&self) -> Option<Date> {
        match self {
            Cell::Day(day) => Some(*day),
            Cell::Moment(at) => Some(super::draw::day_of(*at)),
            _ => None,
        }
    }

    /// Numbers, times this.
    pub fn scaled(&self, factor: Decimal) -> Self {
        match self {
            Cell::Number(number) => Cell::number(*number * factor),
            Cell::Int(number) => {
                let scaled = (Decimal::from(*number) * factor).round();
                Cell::Int(scaled.try_into().unwrap_or(*number))
            }
            other => other.clone(),
        }
    }
}

pub fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}
