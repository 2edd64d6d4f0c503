//! One lead with everything that is known of it, and what people do with it. An arrival that is no lead has a page, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{INBOX, Refused, STATUSES, action_key, actor, answer, is_page, name, status};
use crate::app::App;
use crate::foundation::ids::{LeadId, TenantId};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::leads::destinations::Receipt;
use crate::leads::{self, Arrival, ArrivalState, Detail, Entry, Kind, Raw, What};

/// Characters of an original that are shown.
const LONGEST_SHOWN: usize = 64 * 1024;
/// What stands in an address of a mail program as it is.
const IN_MAILTO: &AsciiSet = &NON_ALPHANUMERIC.remove(b'@').remove(b'.').remove(b'-').remove(b'_');

/// `GET /publisher/leads/{lead}`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let id = leads::id(request.param("lead"))?;
    match leads::lead(&app, &id).await {
        Ok(detail) => show(&app, &request, &staff, &detail, None),
        Err(problem) if problem.status == StatusCode::NOT_FOUND => show_arrival(&app, &request, &staff, &id).await,
        Err(problem) => Err(problem),
    }
}

/// `POST /publisher/leads/{lead}/{action}`.
pub async fn act(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let (id, action) = (leads::id(request.param("lead"))?, request.param("action"));
    match done(&app, &staff, &id, action, &form).await {
        Ok(()) => Ok(uncached(redirect(&format!("{INBOX}/{id}?done={action}")))),
        Err(problem) if is_page(&request, &problem) => {
            let detail = leads::lead(&app, &id).await?;
            let refused = Refused { form: action, typed: &form, problem: &problem };
            show(&app, &request, &staff, &detail, Some(refused))
        }
        Err(problem) => Err(problem),
    }
}

async fn done(app: &App, staff: &Staff, id: &LeadId, action: &str, form: &Form) -> Result<(), Problem> {
    let actor = &actor(staff);
    match action {
        "status" => {
            let status = status(form.get("status")).ok_or_else(|| {
                Problem::bad_request("invalid_lead_status", "There is no such status.")
                    .field("status")
                    .remedy("Choose one of the list.")
            })?;
            leads::set_status(app, id, status, actor).await.map(drop)
        }
        "owner" => leads::set_owner(app, id, Some(form.get("owner")), actor).await.map(drop),
        "mine" => leads::set_owner(app, id, Some(&name(staff)), actor).await.map(drop),
        "note" => leads::add_note(app, id, form.get("note"), actor).await,
        "duplicate" => {
            leads::mark_duplicate(app, id, &other(form.get("of"))?, actor).await.map(drop).map_err(|problem| {
                // The page is there; it is the other one that is not.
                if problem.status == StatusCode::NOT_FOUND { no_other() } else { problem }
            })
        }
        "no-duplicate" => leads::unmark_duplicate(app, id, actor).await.map(drop),
        "company" => leads::set_company(app, id, company(form)?, actor).await.map(drop),
        "resend" => leads::resend(app, id, form.get("destination"), actor).await,
        _ => Err(Problem::not_found()),
    }
}

fn no_other() -> Problem {
    Problem::bad_request("invalid_duplicate", "There is no such lead.")
        .field("of")
        .remedy("Enter the id of another lead that is no duplicate itself; it stands on its page.")
}

/// A lead as its id or as the address of its page.
fn other(text: &str) -> Result<LeadId, Problem> {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().parse().map_err(|_| no_other())
}

/// The customer that a form names; None: none of them.
fn company(form: &Form) -> Result<Option<TenantId>, Problem> {
    let text = match form.get("company") {
        "none" => return Ok(None),
        "other" => form.get("tenant"),
        tenant => tenant,
    };
    text.parse().map(Some).map_err(|_| {
        Problem::bad_request("invalid_lead_customer", "That is no tenant id.").field("tenant").remedy(
            "Choose a customer, or enter the id of its Entra tenant, such as 37f9dea2-4345-438f-b0bd-03d40d28c7e0.",
        )
    })
}

fn show(
    app: &App,
    request: &Request,
    staff: &Staff,
    detail: &Detail,
    refused: Option<Refused<'_>>,
) -> Result<Response, Problem> {
    let (record, lead) = (&detail.record, &detail.record.lead);
    let mut tenants = BTreeSet::new();
    let choices: Vec<_> =
        detail.companies.iter().filter(|found| found.tenant.is_some_and(|tenant| tenants.insert(tenant))).collect();
    let notes: Vec<&Entry> = detail.history.iter().filter(|entry| matches!(entry.what, What::Note { .. })).collect();
    let content = json!({
        "lead": lead, "name": lead.person.name(), "kind": detail.kind, "action_key": action_key(&lead.action),
        "mailto": mailto(detail), "duplicate_of": record.duplicate_of, "company": record.company, "erased": record.erased,
        "companies": detail.companies, "choices": choices, "notes": notes, "history": detail.history,
        "arrivals": detail.arrivals.iter().map(arrival_view).collect::<Vec<_>>(),
        "forwards": ways(app, detail), "forwarded": record.is_forwarded(), "statuses": STATUSES,
        "here_at": format!("{INBOX}/{}", lead.id), "me": name(staff), "may_act": staff.role >= Role::Operator,
        "done": request.query("done"),
    });
    answer(app, request, staff, "staff_lead.html", content, refused)
}

/// Where a mail program writes to; None where nobody must, or where it is no address.
fn mailto(detail: &Detail) -> Option<String> {
    let lead = &detail.record.lead;
    let (name, domain) = lead.person.email.split_once('@')?;
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c == '@' || c.is_whitespace());
    let may = detail.record.erased.is_none()
        && !lead.do_not_contact
        && !matches!(detail.kind, Kind::DoNotContact | Kind::Test);
    (may && plain(name) && plain(domain))
        .then(|| format!("mailto:{}", utf8_percent_encode(&lead.person.email, IN_MAILTO)))
}

/// Each way to a destination, and the destinations that it has not gone to yet.
fn ways(app: &App, detail: &Detail) -> Vec<Value> {
    let record = &detail.record;
    let mut ways: Vec<Value> = detail
        .forwards
        .iter()
        .map(|forward| {
            let configured = app.destinations.find(&forward.destination);
            json!({
                "name": forward.destination, "kind": configured.map(|one| one.kind.name()), "state": forward.state,
                "attempts": forward.attempts.iter().rev().collect::<Vec<_>>(), "due": forward.due,
                "busy": forward.held.is_some_and(|until| until > app.clock.now()),
                "link": forward.receipt.as_ref().and_then(link), "record": forward.receipt.as_ref().map(|receipt| &receipt.id).filter(|id| !id.is_empty()),
            })
        })
        .collect();
    if record.is_forwarded() {
        let missing = app
            .destinations
            .taking(&record.lead.offer)
            .filter(|one| detail.forwards.iter().all(|forward| forward.destination != one.name));
        ways.extend(
            missing.map(|one| json!({ "name": one.name, "kind": one.kind.name(), "state": "none", "attempts": [] })),
        );
    }
    ways
}

/// Where a person sees it there. It is what another system answered, so only what can not be a script is a link.
fn link(receipt: &Receipt) -> Option<&str> {
    receipt.link.as_deref().filter(|link| link.starts_with("https://"))
}

fn arrival_view(arrival: &Arrival) -> Value {
    let bytes = arrival.raw.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.chars().take(LONGEST_SHOWN).collect();
    let reason = match arrival.state {
        ArrivalState::Quarantined { reason } => Some(reason),
        ArrivalState::Pending | ArrivalState::Taken => None,
    };
    json!({
        "id": arrival.id, "channel": arrival.channel, "offer": arrival.offer, "offer_title": arrival.offer_title,
        "received": arrival.received, "reason": reason, "pending": arrival.state == ArrivalState::Pending,
        "bytes": bytes.len(), "binary": matches!(arrival.raw, Raw::Base64(_)) && std::str::from_utf8(&bytes).is_err(),
        "cut": shown.len() < text.len(), "body": shown,
    })
}

async fn show_arrival(app: &App, request: &Request, staff: &Staff, id: &LeadId) -> Result<Response, Problem> {
    let arrival = leads::arrival(app, id).await?;
    if let (ArrivalState::Taken, Some(lead)) = (arrival.state, &arrival.lead) {
        return Ok(uncached(redirect(&format!("{INBOX}/{lead}"))));
    }
    let content = json!({ "arrival": arrival_view(&arrival) });
    answer(app, request, staff, "staff_lead_arrival.html", content, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_a_page_is_a_link() {
        for (address, is_link) in [
            ("https://crm.example/lead/1", true),
            ("javascript:alert(1)", false),
            ("http://crm.example", false),
            ("//x", false),
        ] {
            let receipt = Receipt { id: String::new(), link: Some(address.to_owned()) };
            assert_eq!(link(&receipt).is_some(), is_link, "{address}");
        }
    }

    #[test]
    fn another_lead_is_named_by_its_id_or_by_its_page() {
        let id = "lead_0195570a0c8070008000000000000001";
        for text in [id.to_owned(), format!("https://a.example/publisher/leads/{id}?done=note#x")] {
            assert_eq!(other(&text).unwrap().as_str(), id);
        }
        assert!(other("").is_err() && other("sub_1").is_err());
    }
}
