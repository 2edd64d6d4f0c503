//! Events and records of a resource as CSV.

use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_DISPOSITION;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::targeted;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, respond, uncached, with_header};
use crate::identity::Staff;
use crate::metering::{self, ExportError, What};

const USUAL_DAYS: i64 = 7;
const MOST_DAYS: i64 = 31;

/// `GET /publisher/usage/resources/{resource}/events.csv?from=&to=`.
pub async fn events(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    download(&app, &request, What::Events, "events").await
}

/// `GET /publisher/usage/resources/{resource}/records.csv?from=&to=`.
pub async fn records(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    download(&app, &request, What::Records, "records").await
}

async fn download(app: &App, request: &Request, what: What, word: &str) -> Result<Response, Problem> {
    let target = targeted(app, request).await?;
    let (from, to) = range(request, app.clock.now())?;
    let mut body = Vec::new();
    metering::export(app, what, Some(&target.resource), from, to, &mut body).await.map_err(|error| match error {
        ExportError::Store(error) => error.into(),
        error => Problem::internal(error),
    })?;
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let name = format!("{word}-{}-{}-{}.csv", target.resource.key(), day(from), day(to));
    let response = respond(StatusCode::OK, "text/csv; charset=utf-8", body);
    Ok(uncached(with_header(response, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))))
}

/// From and to: a time, or a day, of which `to` has all. The last seven days without.
fn range(request: &Request, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let read = |name: &'static str, days: i64| -> Result<Option<Timestamp>, Problem> {
        let Some(text) = request.query(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let day = text.parse::<Date>().ok().filter(|_| text.len() == 10).and_then(|day| {
            let start = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
            start.checked_add(SignedDuration::from_hours(24 * days)).ok()
        });
        let time = day.or_else(|| text.parse().ok()).ok_or_else(|| {
            Problem::bad_request("invalid_time", format!("{name} is neither a day such as 2026-03-02 nor a time."))
                .field(name)
        })?;
        Ok(Some(time))
    };
    // What is accepted at this moment is in it.
    let to = read("to", 1)?.unwrap_or(now + SignedDuration::from_secs(1));
    let usual = || to.checked_sub(SignedDuration::from_hours(24 * USUAL_DAYS)).unwrap_or(Timestamp::MIN);
    let from = read("from", 0)?.unwrap_or_else(usual);
    if from >= to || to.duration_since(from) > SignedDuration::from_hours(24 * MOST_DAYS) {
        let title = format!("The days must be in order, and at most {MOST_DAYS} of them.");
        return Err(Problem::bad_request("invalid_range", title).field("from"));
    }
    Ok((from, to))
}
