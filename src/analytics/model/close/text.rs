//! The texts of a package: what its columns are, and what the whole is.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::files::{Column, File};
use crate::analytics::model::calendar::Month;
use crate::analytics::model::datasets::Kind;

/// What a package says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    pub number: u64,
    pub month: Month,
    pub at: Timestamp,
    pub by: String,
    /// The month's previous package.
    pub corrects: Option<u64>,
    pub open: usize,
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Integer => "integer",
        Kind::Decimal => "decimal",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Timestamp => "timestamp",
    }
}

fn files(facts: &Facts) -> impl Iterator<Item = File> {
    let first = facts.corrects.is_none();
    File::ALL.into_iter().filter(move |file| *file != File::Corrections || !first)
}

/// `schema.json`.
pub fn schema(facts: &Facts) -> String {
    let column = |column: &Column| -> Value {
        let mut value = json!({ "name": column.name, "type": kind(column.kind) });
        if !column.unit.is_empty() {
            value["unit"] = json!(column.unit);
        }
        value
    };
    let list: Vec<Value> = files(facts)
        .map(|file| {
            let columns: Vec<Value> = file.columns().iter().map(column).collect();
            json!({ "name": file.name(), "about": file.about(), "columns": columns })
        })
        .collect();
    let schema = json!({
        "package": facts.number, "month": facts.month, "corrects": facts.corrects, "encoding": "UTF-8, RFC 4180, header line",
        "times": "UTC", "decimals": "exact, with a point", "units": "a unit is a column that names it, a currency, or `unit` of the dimension",
        "files": list,
    });
    // A value of ours is always text.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// `README.txt`.
pub fn readme(facts: &Facts) -> String {
    let mut text = format!(
        "Package {} of the month {} (UTC)\nClosed at {} by {}\n",
        facts.number, facts.month, facts.at, facts.by
    );
    match facts.corrects {
        Some(number) => {
            let _ =
                writeln!(text, "Follows package {number} of the same month. corrections.csv holds what is different:");
            text.push_str(
                "journal.csv of that package and the amounts of corrections.csv come to journal.csv of this one.\n",
            );
        }
        None => text.push_str("The first package of this month.\n"),
    }
    match facts.open {
        0 => text.push_str("All differences between the sides were explained.\n"),
        open => {
            let _ = writeln!(text, "Closed with {open} differences that nobody had explained.");
        }
    }
    text.push_str("A package is never changed. What becomes known later stands in a later package.\n\nFiles\n");
    for file in files(facts) {
        let _ = writeln!(text, "  {:<18} {}", file.name(), file.about());
    }
    text.push_str("  schema.json        columns, their types and units\n");
    text.push_str("  SHA256SUMS         for `sha256sum -c SHA256SUMS`\n");
    text.push_str("\nAccounts of journal.csv\n");
    for (account, about) in [
        ("usage_accepted", "our usage that Microsoft has accepted, at our prices"),
        ("usage_waiting", "our usage that is on its way, or held"),
        ("usage_lost", "our usage that Microsoft did not take"),
        ("usage_booked", "units that Microsoft lists as booked"),
        ("usage_charged", "what customers are charged for usage"),
        ("billed_usage", "revenue by usage, in the customers' currency"),
        ("billed_subscription", "revenue by subscription, in the customers' currency"),
        ("earned", "of what is billed in advance: earned in this month"),
        ("deferred", "of what is billed in advance: not yet earned at the end of this month"),
        ("payout", "what is paid out of it, at the exchange rate that Microsoft states"),
    ] {
        let _ = writeln!(text, "  {account:<20} {about}");
    }
    text
}
