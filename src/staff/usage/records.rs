//! The newest records of a resource. They are kept oldest first, so ever earlier stretches of time are read until
//! there are enough.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::metering::model::resource::Resource;
use crate::metering::{self, JournalEntry};

pub const MOST: usize = 50;
/// How far back is looked, in minutes: each step reads only what the one before did not.
const STEPS: [i64; 6] = [1, 15, 60, 6 * 60, 24 * 60, 7 * 24 * 60];
/// Entries read at a time, and pages of one step at most.
const PAGE: usize = 500;
const PAGES: usize = 20;

/// The newest records of the last seven days, the newest first.
pub async fn latest(app: &App, resource: &Resource, now: Timestamp) -> Result<Vec<Value>, Problem> {
    let mut newest: Vec<Value> = Vec::new();
    // What is accepted while we read is shown, too.
    let mut to = now + SignedDuration::from_secs(1);
    for minutes in STEPS {
        let from = now - SignedDuration::from_mins(minutes);
        let mut step: Vec<Value> = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let (entries, next) = metering::records(app, resource, from, to, after.as_deref(), PAGE).await?;
            step.extend(entries.iter().flat_map(views));
            // Only the end of the stretch is wanted.
            let surplus = step.len().saturating_sub(MOST);
            step.drain(..surplus);
            after = next;
            if after.is_none() {
                break;
            }
        }
        step.reverse();
        newest.extend(step);
        newest.truncate(MOST);
        if newest.len() == MOST {
            break;
        }
        to = from;
    }
    Ok(newest)
}

fn views(entry: &JournalEntry) -> Vec<Value> {
    let (kind, who) = entry.source.split_once(':').unwrap_or((entry.source.as_str(), ""));
    entry
        .records
        .iter()
        .map(|record| {
            let (counts, what) = record.counter.split_once(':').unwrap_or(("dimension", record.counter.as_str()));
            let correction = form_urlencoded::Serializer::new(String::new())
                .append_pair("corrects", &record.id)
                .append_pair("counter", &record.counter)
                .append_pair("quantity", &(-record.quantity).to_string())
                .finish();
            json!({
                "accepted": entry.accepted, "source": kind, "who": who, "id": record.id, "counter": record.counter,
                "counts": counts, "what": what, "quantity": record.quantity,
                "correction": correction, "positive": record.quantity.is_positive(), "occurred": record.occurred, "hour": record.hour.start(),
                "plan": record.plan, "corrects": record.corrects, "note": record.note,
            })
        })
        .collect()
}
