//! The page of one subject: its days, its figures with their tables, where they come from, and the rows as a file.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

use super::figure::{Figure, Format};
use super::range::Range;
use super::{ROOT, is_for_the_page, source_view, subjects, trouble_view};
use crate::analytics::model::datasets::Dataset;
use crate::analytics::model::schedule::TroubleKind;
use crate::analytics::subjects::Source;
use crate::analytics::{self, AnalyticsError, Status};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::identity::{Role, Staff};
use crate::pages::{page, wrong};

/// The pages, and the datasets of which they are made; the first one decides how far back there is something.
pub const SUBJECTS: [(&str, &[&str]); 7] = [
    ("orders", &["ISVOrder"]),
    ("customers", &["ISVCustomer"]),
    ("usage", &["ISVUsage"]),
    ("revenue", &["ISVRevenue"]),
    ("retention", &["ISVOrder", "ISVOfferRetention"]),
    ("insights", &["ISVMarketplaceInsights"]),
    ("quality", &["ISVQualityOfService"]),
];

/// The page that shows a dataset.
pub fn page_of(dataset: &str) -> String {
    let only = SUBJECTS.iter().find(|(_, datasets)| datasets.last() == Some(&dataset));
    only.map_or_else(|| ROOT.to_owned(), |(subject, _)| format!("{ROOT}/{subject}"))
}

/// A number that stands by itself.
#[derive(Debug, Clone, Serialize)]
pub struct Tile {
    pub key: &'static str,
    pub value: String,
    pub format: Format,
    /// A currency or a unit.
    pub of: String,
}

#[derive(Debug, Default)]
pub struct Shown {
    pub sources: Vec<(&'static Dataset, Source)>,
    pub tiles: Vec<Tile>,
    pub figures: Vec<Figure>,
    /// What people should know of these numbers: texts of the catalogue.
    pub notes: Vec<&'static str>,
}

/// `GET /publisher/analytics/{subject}?preset=&from=&to=&offer=&plan=&by=`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let subject = request.param("subject");
    let found = SUBJECTS.into_iter().find(|(known, _)| *known == subject);
    let (subject, datasets) = found.ok_or_else(Problem::not_found)?;
    let mut states = Vec::new();
    for name in datasets {
        let dataset = Dataset::find(name).ok_or_else(Problem::not_found)?;
        states.push(analytics::status(&app, dataset).await?);
    }
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let held = states.first().and_then(held);
    let (mut range, refused) = match Range::of(&request, today, held) {
        Ok(range) => (range, None),
        Err(problem) if is_for_the_page(&problem) => (Range::usual(today, held), Some(problem)),
        Err(problem) => return Err(problem),
    };
    if subject == "revenue" {
        // Rows are dated by the first day of their month: a month that is begun within is meant as a whole.
        range.from = range.from.first_of_month();
    }
    let shown = show(&app, subject, &range).await?;
    // Whoever was lost in these days came before.
    let rows = match (subject, held) {
        ("customers", Some((first, _))) => range.since(first.min(range.from)),
        _ => range.clone(),
    };
    let empty = shown.sources.iter().all(|(_, source)| source.rows == 0);
    let choices = |pick: fn(&Source) -> &std::collections::BTreeSet<String>| -> Vec<&String> {
        let mut all: Vec<&String> = shown.sources.iter().flat_map(|(_, source)| pick(source)).collect();
        all.sort();
        all.dedup();
        all
    };
    let content = json!({
        "subject": subject, "range": range.view(), "rows_query": rows.query(), "error": refused.as_ref().map(wrong),
        "offers": choices(|source| &source.offers), "plans": choices(|source| &source.plans),
        "sources": shown.sources.iter().map(|(dataset, source)| source_view(dataset, source)).collect::<Vec<_>>(),
        "states": states.iter().map(state_view).collect::<Vec<_>>(),
        "tiles": shown.tiles, "figures": shown.figures, "notes": shown.notes, "empty": empty,
        "held": held.map(|(first, last)| json!({ "from": first.to_string(), "to": last.to_string() })),
        "may_act": staff.role >= Role::Operator, "here_at": format!("{ROOT}/{subject}"), "root": ROOT,
    });
    let mut response = page(&app, &request, Some(&staff.session), "staff_analytics_subject.html", content)?;
    if let Some(problem) = refused {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

fn held(status: &Status) -> Option<(Date, Date)> {
    let (first, last) = status.dates.as_ref()?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn state_view(status: &Status) -> Value {
    let trouble = status.schedule.as_ref().and_then(|schedule| schedule.trouble.as_ref());
    // A quota passes, and says nothing of these numbers.
    let trouble = trouble.filter(|trouble| trouble.kind != TroubleKind::Quota);
    json!({
        "dataset": status.dataset, "pulled": status.pulled, "rows": status.rows.to_string(), "as_of": status.as_of,
        "trouble": trouble.map(trouble_view),
    })
}

async fn show(app: &App, subject: &str, range: &Range) -> Result<Shown, AnalyticsError> {
    match subject {
        "orders" => subjects::orders(app, range).await,
        "customers" => subjects::customers(app, range).await,
        "usage" => subjects::usage(app, range).await,
        "revenue" => subjects::revenue(app, range).await,
        "retention" => subjects::retention(app, range).await,
        "insights" => subjects::insights(app, range).await,
        _ => subjects::quality(app, range).await,
    }
}
