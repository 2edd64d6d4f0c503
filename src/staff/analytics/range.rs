//! Which days, which offer and which plan a page is about, as its address says.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::query;
use crate::analytics::model::query::Span;
use crate::analytics::model::subjects::Step;
use crate::analytics::subjects::Narrow;
use crate::foundation::problem::Problem;
use crate::foundation::web::Request;

/// In the order in which they are offered.
const PRESETS: [&str; 5] = ["this_month", "last_month", "3_months", "12_months", "all"];
const USUAL: &str = "12_months";
/// More days than this are told by month.
const MOST_DAYS: i32 = 62;

#[derive(Debug, Clone)]
pub struct Range {
    pub from: Date,
    pub to: Date,
    pub narrow: Narrow,
    pub step: Step,
    /// None: exact days were typed.
    preset: Option<&'static str>,
}

impl Range {
    /// `held`: the first and the last day of which rows are held.
    pub fn of(request: &Request, today: Date, held: Option<(Date, Date)>) -> Result<Self, Problem> {
        let text = |name: &str| request.query(name).unwrap_or_default().trim().to_owned();
        let (from, to) = (text("from"), text("to"));
        let named = PRESETS.into_iter().find(|preset| *preset == text("preset"));
        let preset = named.or(Some(USUAL).filter(|_| from.is_empty() && to.is_empty()));
        let (from, to) = match preset {
            Some(preset) => days(preset, today, held),
            None => {
                let (first, last) = days(USUAL, today, held);
                (day("from", &from, first)?, day("to", &to, last)?)
            }
        };
        if from > to {
            return Err(Problem::bad_request("invalid_range", "The first day lies behind the last one.").field("from"));
        }
        let some = |name: &str| Some(text(name)).filter(|text| !text.is_empty());
        let short = (to - from).get_days() <= MOST_DAYS;
        let step = match text("by").as_str() {
            "day" if short => Step::Day,
            "month" => Step::Month,
            _ if (to - from).get_days() <= 31 => Step::Day,
            _ => Step::Month,
        };
        Ok(Self { from, to, narrow: Narrow { offer: some("offer"), plan: some("plan") }, step, preset })
    }

    /// Where what was asked can not be read.
    pub fn usual(today: Date, held: Option<(Date, Date)>) -> Self {
        let (from, to) = days(USUAL, today, held);
        Self { from, to, narrow: Narrow::default(), step: Step::Month, preset: Some(USUAL) }
    }

    #[must_use]
    pub fn since(&self, from: Date) -> Self {
        Self { from, ..self.clone() }
    }

    /// For the form, and the queries of the addresses that lead on from it.
    pub fn view(&self) -> Value {
        let (offer, plan) = (text(&self.narrow.offer), text(&self.narrow.plan));
        let presets: Vec<Value> = PRESETS
            .iter()
            .map(|preset| {
                let query = query([("preset", *preset), ("offer", offer), ("plan", plan)]);
                json!({ "key": preset, "query": query, "here": Some(*preset) == self.preset })
            })
            .collect();
        json!({
            "from": self.from.to_string(), "to": self.to.to_string(), "offer": offer, "plan": plan, "presets": presets,
            "by": if self.step == Step::Day { "day" } else { "month" },
            "narrowed": self.narrow != Narrow::default(),
        })
    }

    /// Exact days: what is opened from a page has its rows, whenever it is opened.
    pub fn query(&self) -> String {
        let (from, to) = (self.from.to_string(), self.to.to_string());
        query([("from", &*from), ("to", &*to), ("offer", text(&self.narrow.offer)), ("plan", text(&self.narrow.plan))])
    }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

fn day(field: &'static str, text: &str, otherwise: Date) -> Result<Date, Problem> {
    if text.is_empty() {
        return Ok(otherwise);
    }
    let wrong = || Problem::bad_request("invalid_range", format!("`{text}` is not a day such as 2026-02-11."));
    let day: Date = text.parse().map_err(|_| wrong().field(field))?;
    // Nothing is dated outside, and lines are made for each month between.
    if (1990..=2200).contains(&day.year()) { Ok(day) } else { Err(wrong().field(field)) }
}

fn days(preset: &str, today: Date, held: Option<(Date, Date)>) -> (Date, Date) {
    let span = match preset {
        "this_month" => return (today.first_of_month(), today),
        "last_month" => Span::LastMonth,
        "3_months" => Span::Last3Months,
        "all" => return held.map_or((today, today), |(first, last)| (first, last.max(today))),
        _ => Span::Last1Year,
    };
    span.dates(today).unwrap_or((today, today))
}
