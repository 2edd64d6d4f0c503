//! What stands where the grammar has something else: what was meant, as far as it can be told, and what to write
//! instead.

use winnow::stream::TokenSlice;

use super::super::datasets::DATASETS;
use super::fault::Fault;
use super::lex::{Lexeme, Token, is_reserved};

/// Where the reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    Column,
    AfterColumns,
    Dataset,
    AfterDataset,
    ConditionColumn,
    Comparison,
    AfterNot,
    Value,
    ListBegins,
    ListGoesOn,
    AfterCondition,
    AfterOrderWord,
    OrderColumn,
    AfterOrder,
    Limit,
    AfterLimit,
    Span,
    AfterSpan,
    /// After conditions that stand alone.
    AfterFilter,
    /// A parenthesis follows a name.
    AfterName,
}

impl Place {
    fn wants(self) -> &'static str {
        match self {
            Self::Start => "SELECT",
            Self::Column | Self::ConditionColumn | Self::OrderColumn => "the name of a column",
            Self::AfterColumns => "a comma or FROM",
            Self::Dataset => "the name of a dataset",
            Self::AfterDataset => "WHERE, ORDER BY, LIMIT or TIMESPAN",
            Self::Comparison => "a comparison: =, !=, <, >, <=, >=, LIKE, NOT LIKE, IN or NOT IN",
            Self::AfterNot => "LIKE or IN",
            Self::Value => "a value: a number, or text in single quotes",
            Self::ListBegins => "`(` and a list of values",
            Self::ListGoesOn => "a comma or `)`",
            Self::AfterCondition => "AND, ORDER BY, LIMIT or TIMESPAN",
            Self::AfterOrderWord => "BY",
            Self::AfterOrder => "a comma, LIMIT or TIMESPAN",
            Self::Limit => "a whole number from 1",
            Self::AfterLimit => "TIMESPAN",
            Self::Span => "a time span such as LAST_3_MONTHS",
            Self::AfterFilter => "AND or the end",
            Self::AfterSpan | Self::AfterName => "the end",
        }
    }
}

const CLAUSES: [&str; 6] = ["SELECT", "FROM", "WHERE", "ORDER", "LIMIT", "TIMESPAN"];
const ORDER: &str = "The order is SELECT, FROM, WHERE, ORDER BY, LIMIT, TIMESPAN.";
const FUNCTIONS: [&str; 14] = [
    "SUM", "COUNT", "AVG", "MIN", "MAX", "UPPER", "LOWER", "CAST", "CONVERT", "COALESCE", "ROUND", "DATE", "YEAR",
    "MONTH",
];
const JOINS: [&str; 7] = ["JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "OUTER"];
const SETS: [&str; 4] = ["UNION", "EXCEPT", "INTERSECT", "WITH"];

fn is_one(text: &str, of: &[&str]) -> bool {
    of.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn clause(token: &Token<'_>) -> Option<usize> {
    CLAUSES.iter().position(|word| token.is(word))
}

/// The end, or a clause that comes later than every one so far.
pub(super) fn clause_may_come(input: &TokenSlice<'_, Token<'_>>) -> bool {
    let last = input.previous_tokens().filter_map(clause).max();
    input.first().is_none_or(|token| token.lexeme == Lexeme::End || clause(token).is_some_and(|new| Some(new) > last))
}

pub(super) fn fault(input: &TokenSlice<'_, Token<'_>>, place: Place) -> Fault {
    let Some(token) = input.first() else {
        return Fault::new(0..0, "The text ends too early.");
    };
    let new = |message: String| Fault::new(token.at.clone(), message);
    let wanted = || format!("Here stands {}.", place.wants());
    match &token.lexeme {
        Lexeme::Broken(fault) => fault.clone(),
        Lexeme::End if input.previous_tokens().next().is_none() => {
            new("There is no text.".to_owned()).remedy(match place {
                Place::Start => "Write SELECT columns FROM dataset TIMESPAN span.",
                _ => "Write a condition, such as Quantity > 5.",
            })
        }
        Lexeme::End => new(format!("The text ends where {} is missing.", place.wants())),
        Lexeme::Symbol(sign) => symbol(input, token, sign, place),
        Lexeme::Word(text) => word(input, token, text, place),
        Lexeme::Number(text) if place == Place::Limit => new(format!("LIMIT {text} is not possible.")).remedy(wanted()),
        Lexeme::Number(_) if input.previous_tokens().next().is_some_and(|before| before.is("TOP")) => {
            new("TOP is not in the language.".to_owned()).remedy("Write LIMIT after the conditions.")
        }
        Lexeme::Text(text) if place == Place::Span => {
            new("A time span has no quotes.".to_owned()).remedy(format!("Write TIMESPAN {text}."))
        }
        Lexeme::Text(_)
            if matches!(place, Place::Column | Place::ConditionColumn | Place::OrderColumn | Place::Dataset) =>
        {
            new("A name has no quotes.".to_owned()).remedy(wanted())
        }
        Lexeme::Number(text) => new(format!("`{text}` is not expected.")).remedy(wanted()),
        Lexeme::Text(text) => new(format!("'{text}' is not expected.")).remedy(wanted()),
    }
}

fn symbol(input: &TokenSlice<'_, Token<'_>>, token: &Token<'_>, sign: &str, place: Place) -> Fault {
    let new = |message: &str| Fault::new(token.at.clone(), message);
    match sign {
        ";" => new("A query is one statement, without a semicolon.").remedy("Leave `;` out."),
        "*" if place == Place::Column => new("SELECT * is not in the language.").remedy("Name the columns."),
        "(" if place == Place::AfterName => called(input, token),
        "(" | ")" if !matches!(place, Place::Value | Place::ListBegins) => {
            new("Parentheses stand only around the list of IN.")
                .remedy("Conditions are joined with AND; there are no groups, functions or inner queries.")
        }
        ")" => new("The list of IN has no value here.").remedy(format!("Here stands {}.", Place::Value.wants())),
        "(" => new("Inner queries and parentheses around a value are not in the language.")
            .remedy("Write the value alone."),
        "<>" => new("`<>` is not in the language.").remedy("Write !=."),
        "==" => new("`==` is not in the language.").remedy("Write =."),
        "||" => or(token),
        "&&" => new("`&&` is not in the language.").remedy("Write AND."),
        "," if matches!(place, Place::AfterCondition | Place::AfterFilter) => {
            new("A comma can not join conditions.").remedy("Write AND.")
        }
        "," if place == Place::AfterDataset => {
            new("A query reads one dataset.").remedy("Make one query for each dataset.")
        }
        "," if place == Place::AfterLimit => {
            new("LIMIT has one number: rows can not be skipped.").remedy("Leave the rest out.")
        }
        "." => new("A column has no prefix.").remedy("Write the column alone."),
        "--" | "/*" | "#" => new("Comments are not in the language.").remedy("Leave the comment out."),
        "[" | "]" | "`" => new(&format!("`{sign}` is not in the language.")).remedy("A name stands without quotes."),
        "+" | "-" | "*" | "/" => {
            new("Arithmetic is not in the language.").remedy("Calculate with the rows of the answer.")
        }
        _ => new(&format!("`{}` is not expected.", sign.escape_debug()))
            .remedy(format!("Here stands {}.", place.wants())),
    }
}

/// A parenthesis after a name: a function, or a metric as older documents spell it.
fn called(input: &TokenSlice<'_, Token<'_>>, token: &Token<'_>) -> Fault {
    let name = input.previous_tokens().next();
    let text = match name.map(|name| &name.lexeme) {
        Some(Lexeme::Word(text)) => *text,
        _ => "",
    };
    let inner = match input.get(1).map(|token| &token.lexeme) {
        Some(Lexeme::Word(text)) => *text,
        _ => "",
    };
    let from = name.map_or(token.at.start, |name| name.at.start);
    let end = input.iter().take(3).find(|token| token.is(")")).unwrap_or(token).at.end;
    let joined = format!("{text}{inner}");
    let known = DATASETS.iter().find_map(|dataset| dataset.column(&joined));
    if is_one(text, &FUNCTIONS) || known.is_none() && !is_one(inner, &["CC", "PC", "USD"]) {
        return Fault::new(from..end, format!("Functions such as {text}() are not in the language."))
            .remedy("A metric is summed by itself, over every distinct combination of the other columns.");
    }
    let fault = Fault::new(from..end, "A name has no parentheses: Microsoft's parser rejects them.");
    match known {
        Some(column) => fault.remedy(format!("Write {}.", column.name)),
        None => fault.remedy("This metric can not be asked for."),
    }
}

fn or(token: &Token<'_>) -> Fault {
    Fault::new(token.at.clone(), "OR is not in the language.")
        .remedy("For values of one column write IN ('a', 'b'); for different columns make several queries.")
}

fn word(input: &TokenSlice<'_, Token<'_>>, token: &Token<'_>, text: &str, place: Place) -> Fault {
    let new = |message: String| Fault::new(token.at.clone(), message);
    let upper = text.to_ascii_uppercase();
    if let Some(number) = clause(token) {
        if place == Place::AfterFilter || place == Place::ConditionColumn && input.previous_tokens().next().is_none() {
            return new(format!("{upper} can not stand here: these are conditions alone.")).remedy("Leave it out.");
        }
        if place == Place::AfterColumns || place == Place::Start {
            return new(format!("{} is missing before {upper}.", place.wants())).remedy(ORDER);
        }
        if number == 0 && matches!(place, Place::Value | Place::ListBegins) {
            return new("Inner queries are not in the language.".to_owned()).remedy("Write the values.");
        }
        if input.previous_tokens().any(|token| clause(token) == Some(number)) {
            return new(format!("{upper} stands twice.")).remedy(ORDER);
        }
        if input.previous_tokens().filter_map(clause).any(|before| before > number) {
            return new(format!("{upper} comes too late.")).remedy(ORDER);
        }
        return new(format!("Before {upper}, {} is missing.", place.wants()));
    }
    match upper.as_str() {
        "OR" => or(token),
        "AND" if matches!(place, Place::AfterDataset) => {
            new("AND stands without WHERE.".to_owned()).remedy("Write WHERE.")
        }
        "GROUP" | "HAVING" => new(format!("{upper} is not in the language.")).remedy(
            "Groups are made by themselves: a metric is summed over every distinct combination of the other columns.",
        ),
        "AS" => new("Other names for columns are not in the language.".to_owned()).remedy("Leave AS and the name out."),
        _ if is_one(text, &JOINS) => {
            new("JOIN is not in the language.".to_owned()).remedy("Make one query for each dataset.")
        }
        _ if is_one(text, &SETS) => new(format!("{upper} is not in the language.")).remedy("Make several queries."),
        "OFFSET" | "FETCH" | "TOP" => {
            new(format!("{upper} is not in the language.")).remedy("Write LIMIT and a number; rows can not be skipped.")
        }
        "BETWEEN" => new("BETWEEN is not in the language.".to_owned()).remedy("Write x >= 1 AND x <= 2."),
        "IS" | "NULL" => new("NULL is not in the language.".to_owned())
            .remedy("Empty cells can not be asked for. Take them from the rows of the answer."),
        "NOT" if place == Place::ConditionColumn => new("NOT can not begin a condition.".to_owned())
            .remedy("Write x NOT IN (...), x NOT LIKE '...' or x != ...."),
        _ if place == Place::Value && !is_reserved(text) => {
            new(format!("`{text}` is not a value.")).remedy(format!("Put text in single quotes: '{text}'."))
        }
        _ if matches!(place, Place::AfterColumns | Place::AfterDataset) && !is_reserved(text) => {
            new(format!("`{text}` is not expected: other names are not in the language."))
                .remedy(format!("Here stands {}.", place.wants()))
        }
        _ => new(format!("`{text}` is not expected.")).remedy(format!("Here stands {}.", place.wants())),
    }
}
