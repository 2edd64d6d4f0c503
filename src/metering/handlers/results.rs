//! What became of records, for programs and pages.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use crate::metering::model::hour::Hour;
use crate::metering::model::quantity::Quantity;
use crate::metering::model::record::{Recorded, Refusal, UsageRecord};
use crate::metering::service::csv::Judged;
use crate::metering::{Outcome, RecordError};

/// A record as it stands in the ledger, or as it was sent.
#[derive(Debug, Serialize)]
struct RecordBody {
    id: String,
    counter: String,
    quantity: Quantity,
    occurred_at: Option<Timestamp>,
    hour: Option<Hour>,
    plan: Option<String>,
    corrects: Option<String>,
    note: String,
}

impl RecordBody {
    fn kept(recorded: &Recorded) -> Self {
        Self {
            id: recorded.id.clone(),
            counter: recorded.counter.clone(),
            quantity: recorded.quantity,
            occurred_at: Some(recorded.occurred),
            hour: Some(recorded.hour),
            plan: Some(recorded.plan.clone()),
            corrects: recorded.corrects.clone(),
            note: recorded.note.clone(),
        }
    }

    fn sent(record: &UsageRecord) -> Self {
        Self {
            id: record.id.clone(),
            counter: record.what.counter(),
            quantity: record.quantity,
            occurred_at: record.occurred,
            hour: None,
            plan: None,
            corrects: record.corrects.clone(),
            note: record.note.clone(),
        }
    }
}

/// What became of a record, for programs. Written without a detour through JSON values: there may be a thousand.
#[derive(Debug, Default, Serialize)]
pub struct ResultBody {
    pub id: String,
    /// `recorded`, `repeated`, `conflict`, `refused` or `not_judged`.
    pub status: &'static str,
    /// The line of the file it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<RecordBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<RecordBody>,
}

pub fn refused(id: &str, refusal: &Refusal) -> ResultBody {
    ResultBody {
        id: id.to_owned(),
        status: "refused",
        code: Some(refusal.code),
        field: Some(refusal.field),
        message: Some(refusal.message.clone()),
        ..ResultBody::default()
    }
}

/// One record's result, and the status that it would have alone.
pub fn result(
    id: &str,
    sent: Option<&UsageRecord>,
    outcome: &Result<Outcome, RecordError>,
    alone: bool,
) -> (ResultBody, StatusCode) {
    let id = id.to_owned();
    match outcome {
        Ok(Outcome::Recorded(recorded)) => {
            // In a list the sender knows what was sent; alone there is room to show where it counts.
            let record = alone.then(|| RecordBody::kept(recorded));
            (ResultBody { id, status: "recorded", record, ..ResultBody::default() }, StatusCode::CREATED)
        }
        Ok(Outcome::Repeated(recorded, accepted)) => {
            let record = Some(RecordBody::kept(recorded));
            let accepted_at = Some(*accepted);
            (ResultBody { id, status: "repeated", record, accepted_at, ..ResultBody::default() }, StatusCode::OK)
        }
        Ok(Outcome::Conflict(recorded, accepted)) => {
            let message = "Another record was accepted under this id. Give a new record an id of its own; to change what was recorded, send a correction.";
            let body = ResultBody {
                id,
                status: "conflict",
                code: Some("id_taken"),
                field: Some("id"),
                message: Some(message.to_owned()),
                accepted: Some(RecordBody::kept(recorded)),
                accepted_at: Some(*accepted),
                sent: sent.map(RecordBody::sent),
                ..ResultBody::default()
            };
            (body, StatusCode::CONFLICT)
        }
        Ok(Outcome::Refused(refusal)) => {
            let status =
                if refusal.code == "unknown_resource" { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
            (refused(&id, refusal), status)
        }
        Err(error) => {
            tracing::warn!(record = id, %error, "a record was not judged");
            let body = ResultBody {
                id,
                status: "not_judged",
                code: Some("try_again"),
                message: Some(format!("{error}; send it again with the same id, it counts once.")),
                ..ResultBody::default()
            };
            (body, StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// How many records ended how.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    pub recorded: usize,
    pub repeated: usize,
    pub conflicts: usize,
    pub refused: usize,
    pub not_judged: usize,
}

impl Counts {
    pub fn of(results: &[ResultBody]) -> Self {
        let count = |word: &str| results.iter().filter(|result| result.status == word).count();
        Self {
            recorded: count("recorded"),
            repeated: count("repeated"),
            conflicts: count("conflict"),
            refused: count("refused"),
            not_judged: count("not_judged"),
        }
    }
}

/// A judged line for programs and pages.
pub fn judged_line(judged: &Judged) -> ResultBody {
    let (body, _) = result(&judged.id, None, &judged.result, true);
    ResultBody { line: Some(judged.number), ..body }
}
