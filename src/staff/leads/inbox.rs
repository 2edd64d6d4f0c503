//! The inbox: search, filters, pages, and all of it as CSV.

use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};

use super::{INBOX, STATUSES, badge, line_view, name, status, word};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::sheet::cell;
use crate::foundation::web::{Request, Response, respond, uncached, with_header};
use crate::identity::{Role, Staff};
use crate::leads::{self, Filter, Kind, Shown};
use crate::pages::page;

const PAGE: usize = 50;
/// Rows read at a time for the CSV.
const CSV_PAGE: usize = 100;
/// What an address says for the reader's own name, so that no name stands in it.
const ME: &str = "me";
const KINDS: [Kind; 5] = [Kind::Real, Kind::Test, Kind::DoNotContact, Kind::Duplicate, Kind::Quarantined];

/// What was asked for, as it stands in the address.
struct Asked {
    pairs: [(&'static str, String); 6],
}

impl Asked {
    fn of(request: &Request) -> Self {
        let pairs = ["q", "month", "status", "offer", "owner", "kind"]
            .map(|field| (field, request.query(field).unwrap_or_default().trim().to_owned()));
        Self { pairs }
    }

    fn get(&self, field: &str) -> &str {
        self.pairs.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value)
    }

    fn query(&self) -> String {
        let pairs = self.pairs.iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    fn filter(&self, staff: &Staff) -> Filter {
        let some = |field: &str| Some(self.get(field)).filter(|text| !text.is_empty()).map(str::to_owned);
        Filter {
            month: some("month"),
            text: self.get("q").to_lowercase(),
            status: status(self.get("status")),
            offer: some("offer").map(|offer| offer.to_lowercase()),
            owner: some("owner").map(|owner| if owner == ME { name(staff) } else { owner }),
            kind: KINDS.into_iter().find(|kind| word(kind) == self.get("kind")),
            since: None,
        }
    }
}

/// `GET /publisher/leads?q=&month=&status=&offer=&owner=&kind=&after=`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let asked = Asked::of(&request);
    let after = request.query("after").filter(|after| !after.is_empty());
    let found = leads::leads(&app, &asked.filter(&staff), after.as_deref(), PAGE).await?;
    let (rows, months, addresses) =
        tokio::try_join!(leads::shown(&app, found.rows), leads::months(&app), leads::addresses(&app))?;
    let (query, more) = (asked.query(), found.next.map(|next| after_pair(&asked, &next)));
    let typed: serde_json::Map<String, Value> =
        asked.pairs.iter().map(|(field, value)| ((*field).to_owned(), value.as_str().into())).collect();
    let content = json!({
        "rows": rows.iter().map(row).collect::<Vec<_>>(), "first": after.is_none(), "query": query, "more": more,
        "filtered": !query.is_empty(), "asked": typed,
        "months": months, "statuses": STATUSES, "kinds": KINDS, "here_at": INBOX,
        "offers": addresses.iter().map(|address| json!({ "id": address.offer, "title": address.title })).collect::<Vec<_>>(),
        "destinations": app.destinations.0.len(), "may_act": staff.role >= Role::Operator,
    });
    page(&app, &request, Some(&staff.session), "staff_leads.html", content)
}

/// The query of the next page.
fn after_pair(asked: &Asked, next: &str) -> String {
    let pairs = asked.pairs.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).append_pair("after", next).finish()
}

fn row(shown: &Shown) -> Value {
    let mut view = line_view(&shown.line);
    view["source"] = shown.lead.as_ref().map(|lead| lead.source.as_str()).into();
    view["forwards"] = shown.forwards.iter().map(badge).collect();
    view
}

const HEADER: [&str; 20] = [
    "lead_id",
    "kind",
    "first_name",
    "last_name",
    "company",
    "job_title",
    "email",
    "phone",
    "country",
    "do_not_contact",
    "offer",
    "offer_title",
    "action",
    "source",
    "description",
    "first_arrived",
    "last_arrived",
    "status",
    "owner",
    "forwarded",
];

/// `GET /publisher/leads.csv` with the filters of the inbox: all that they admit, not only one page.
pub async fn csv(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let filter = Asked::of(&request).filter(&staff);
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER).map_err(Problem::internal)?;
    let mut after: Option<String> = None;
    loop {
        let found = leads::leads(&app, &filter, after.as_deref(), CSV_PAGE).await?;
        for shown in leads::shown(&app, found.rows).await? {
            writer.write_record(record(&shown)).map_err(Problem::internal)?;
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    let body = writer.into_inner().map_err(|error| Problem::internal(error.to_string()))?;
    let response = respond(StatusCode::OK, "text/csv; charset=utf-8", body);
    Ok(uncached(with_header(response, CONTENT_DISPOSITION, "attachment; filename=\"leads.csv\"")))
}

fn record(shown: &Shown) -> [String; HEADER.len()] {
    let line = &shown.line;
    let person = shown.lead.as_ref().map(|lead| lead.person.clone()).unwrap_or_default();
    let lead = |text: fn(&leads::Lead) -> &str| shown.lead.as_ref().map(text).map(cell).unwrap_or_default();
    let forwarded: Vec<String> =
        shown.forwards.iter().map(|forward| format!("{}: {}", forward.destination, word(forward.state))).collect();
    let has_status = line.kind != Kind::Quarantined;
    [
        line.id.to_string(),
        word(line.kind),
        cell(&person.first_name),
        cell(&person.last_name),
        cell(&person.company),
        cell(&person.title),
        cell(&person.email),
        cell(&person.phone),
        cell(&person.country),
        line.do_not_contact.to_string(),
        cell(&line.offer),
        cell(&line.offer_title),
        cell(&line.action),
        lead(|lead| &lead.source),
        lead(|lead| &lead.description),
        line.began.to_string(),
        line.last.to_string(),
        if has_status { word(line.status) } else { String::new() },
        cell(line.owner.as_deref().unwrap_or_default()),
        cell(&forwarded.join("; ")),
    ]
}
