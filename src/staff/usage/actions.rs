//! What operators do about a resource: a record by hand, an event sent again, an event written off.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::resource::{Refused, show};
use super::{Target, address, targeted};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::Staff;
use crate::metering::model::ledger::EventKey;
use crate::metering::model::record::{Fields, Refusal, UsageRecord};
use crate::metering::model::resource::Resource;
use crate::metering::{self, Outcome};

/// `POST /publisher/usage/resources/{resource}/record`.
pub async fn record(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let target = targeted(&app, &request).await?;
    let result = write(&app, &staff, &target.resource, &form).await;
    answer(&app, &request, &staff, &target, &form, "record", result).await
}

/// Who is written down as the source of a record.
pub(super) fn source(staff: &Staff) -> String {
    format!("staff:{}", staff.user().object_id)
}

async fn write(app: &Arc<App>, staff: &Staff, resource: &Resource, form: &Form) -> Result<&'static str, Problem> {
    let mut fields = Fields {
        id: form.get("id").to_owned(),
        quantity: form.get("quantity").to_owned(),
        occurred_at: in_utc(form.get("occurred_at")),
        corrects: form.get("corrects").to_owned(),
        note: form.get("note").to_owned(),
        ..Fields::default()
    };
    match resource {
        Resource::Subscription(id) => fields.subscription = id.to_string(),
        Resource::UsageId(id) => fields.resource_id = id.to_string(),
        Resource::Uri(uri) => fields.resource_uri.clone_from(uri),
    }
    match form.get("counter").split_once(':') {
        Some(("meter", name)) => name.clone_into(&mut fields.meter),
        Some((_, id)) => id.clone_into(&mut fields.dimension),
        None => {}
    }
    let record = UsageRecord::from_fields(&fields).map_err(|refusal| refused(&refusal))?;
    if record.note.is_empty() {
        return Err(Problem::bad_request("missing_reason", "The reason is missing.").field("note"));
    }
    match metering::record(app, &source(staff), vec![record]).await.into_iter().next() {
        Some(Ok(Outcome::Recorded(_))) => Ok("recorded"),
        // Sent twice: it counts once, and that is what was wanted.
        Some(Ok(Outcome::Repeated(..))) => Ok("repeated"),
        Some(Ok(Outcome::Conflict(..))) => {
            Err(Problem::conflict("id_taken", "This form was recorded before, with other values."))
        }
        Some(Ok(Outcome::Refused(refusal))) => Err(refused(&refusal)),
        Some(Err(error)) => Err(Problem::unavailable("not_recorded", format!("It was not recorded: {error}."))),
        None => Err(Problem::unavailable("not_recorded", "It was not recorded.")),
    }
}

fn refused(refusal: &Refusal) -> Problem {
    let field = match refusal.field {
        "dimension" | "meter" => "counter",
        field => field,
    };
    Problem::bad_request(refusal.code, refusal.message.clone()).field(field)
}

/// A browser's time field has no zone; the page says that it is UTC.
fn in_utc(text: &str) -> String {
    // Reading a civil time would overlook the zone that a text has.
    if text.parse::<Timestamp>().is_ok() {
        return text.to_owned();
    }
    let time = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    time.map_or_else(|| text.to_owned(), |time| time.timestamp().to_string())
}

/// `POST /publisher/usage/resources/{resource}/resend`.
pub async fn resend(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let target = targeted(&app, &request).await?;
    let result = match event_key(&form) {
        Ok(key) => {
            let plan = Some(form.get("plan")).filter(|plan| !plan.is_empty());
            match metering::resend(&app, &target.resource, &key, plan, &note(&staff, "sent again", &form)).await {
                Ok(true) => Ok("sent"),
                Ok(false) => Err(Problem::conflict("not_resendable", "This event can not be sent again any more.")),
                // It stands ready, and goes by itself when Microsoft answers.
                Err(metering::MeteringError::Api(_)) => Ok("later"),
                Err(error) => Err(error.into()),
            }
        }
        Err(problem) => Err(problem),
    };
    answer(&app, &request, &staff, &target, &form, "resend", result).await
}

/// `POST /publisher/usage/resources/{resource}/write-off`: the loss is booked, so the reason and a yes are needed.
pub async fn write_off(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let target = targeted(&app, &request).await?;
    let result = match event_key(&form) {
        _ if form.get("reason").is_empty() => {
            Err(Problem::bad_request("missing_reason", "The reason is missing.").field("reason"))
        }
        _ if form.get("confirm") != "yes" => {
            Err(Problem::bad_request("unconfirmed", "The loss was not confirmed.").field("confirm"))
        }
        Ok(key) => {
            match metering::write_off(&app, &target.resource, &key, &note(&staff, "written off", &form)).await {
                // The loss is booked; what else was due is sent later.
                Ok(true) | Err(metering::MeteringError::Api(_)) => Ok("written_off"),
                Ok(false) => Err(Problem::conflict("not_writable_off", "This event can not be written off any more.")),
                Err(error) => Err(error.into()),
            }
        }
        Err(problem) => Err(problem),
    };
    answer(&app, &request, &staff, &target, &form, "write_off", result).await
}

/// The event that a form is about.
fn event_key(form: &Form) -> Result<EventKey, Problem> {
    let hour =
        form.get("hour").parse().map_err(|_| Problem::bad_request("invalid_event", "The form names no event."))?;
    Ok((hour, form.get("dimension").to_owned()))
}

/// Who did what, and why.
fn note(staff: &Staff, did: &str, form: &Form) -> String {
    let user = staff.user();
    let who = if user.email.is_empty() { &user.name } else { &user.email };
    let reason: String = form.get("reason").chars().take(500).collect();
    if reason.is_empty() { format!("{did} by {who}") } else { format!("{did} by {who}: {reason}") }
}

/// Back to the page when it was done; else the page with the form as it was sent.
async fn answer(
    app: &App,
    request: &Request,
    staff: &Staff,
    target: &Target,
    form: &Form,
    name: &'static str,
    result: Result<&'static str, Problem>,
) -> Result<Response, Problem> {
    let problem = match result {
        Ok(done) => return Ok(uncached(redirect(&format!("{}?done={done}", address(&target.resource))))),
        Err(problem) => problem,
    };
    let kept = problem.code == "not_recorded";
    if (problem.status.is_server_error() && !kept) || !request.wants_page() {
        return Err(problem);
    }
    let mut response =
        show(app, request, staff, target, Some(Refused { form: name, problem: &problem, typed: form })).await?;
    *response.status_mut() = if kept { StatusCode::SERVICE_UNAVAILABLE } else { problem.status };
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_in_utc_and_one_with_a_zone_stays_as_it_is() {
        assert_eq!(in_utc("2026-03-02T09:30"), "2026-03-02T09:30:00Z");
        assert_eq!(in_utc("2026-03-02 09:30:15"), "2026-03-02T09:30:15Z");
        assert_eq!(in_utc("2026-03-02T09:30:00Z"), "2026-03-02T09:30:00Z");
        assert_eq!(in_utc("2026-03-02T10:30:00+01:00"), "2026-03-02T10:30:00+01:00");
        assert_eq!(in_utc("yesterday"), "yesterday");
        assert_eq!(in_utc(""), "");
    }
}
