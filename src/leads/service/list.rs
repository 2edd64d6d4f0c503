//! What pages and programs ask: lists of leads, one lead with its story.

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::companies::{Match, companies};
use super::existing;
use crate::app::App;
use crate::foundation::ids::LeadId;
use crate::foundation::problem::Problem;
use crate::leads::model::arrival::Arrival;
use crate::leads::model::forward::Forward;
use crate::leads::model::lead::Status;
use crate::leads::model::record::{Entry, Kind, Record};
use crate::leads::repo::{self, Listed};

/// Lines read in one search before the page is handed out as far as it got.
const MOST_SCANNED: usize = 20_000;
/// What is shown with one lead.
const MOST_ARRIVALS: usize = 100;
const MOST_ENTRIES: usize = 500;

/// What somebody looks for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Such as `2026-11`; None: all months.
    pub month: Option<String>,
    /// Found anywhere in name, company, e-mail address, offer or id; lower case.
    pub text: String,
    pub status: Option<Status>,
    pub offer: Option<String>,
    pub owner: Option<String>,
    pub kind: Option<Kind>,
    /// Only those that began then or later.
    pub since: Option<Timestamp>,
}

impl Filter {
    fn admits(&self, line: &Listed) -> bool {
        let texts = [&line.name, &line.company, &line.email, &line.offer, &line.offer_title];
        self.status.is_none_or(|status| status == line.status && line.kind != Kind::Quarantined)
            && self.kind.is_none_or(|kind| kind == line.kind)
            && self.offer.as_ref().is_none_or(|offer| *offer == line.offer)
            && self.owner.as_ref().is_none_or(|owner| Some(owner) == line.owner.as_ref())
            && (self.text.is_empty()
                || line.id.as_str() == self.text
                || texts.iter().any(|text| text.to_lowercase().contains(&self.text)))
    }

    /// Without a condition a page needs no more lines than it shows.
    fn is_plain(&self) -> bool {
        self.text.is_empty()
            && self.status.is_none()
            && self.offer.is_none()
            && self.owner.is_none()
            && self.kind.is_none()
    }
}

#[derive(Debug, Clone)]
pub struct LeadPage {
    pub rows: Vec<Listed>,
    /// Where the next page begins; also set when the search was cut short, so that going on finds more.
    pub next: Option<String>,
}

/// A page of leads and of arrivals that are none, newest first. `after`: the `next` of the page before.
pub async fn leads(app: &App, filter: &Filter, after: Option<&str>, limit: usize) -> Result<LeadPage, Problem> {
    let limit = limit.max(1);
    let (from, mut key) = match after.and_then(|after| after.split_once('/')) {
        Some((month, key)) => (Some(month.to_owned()), Some(key.to_owned())),
        None => (None, None),
    };
    let mut months = repo::months(app).await?;
    months.retain(|month| {
        from.as_ref().is_none_or(|from| month <= from)
            && filter.month.as_ref().is_none_or(|wanted| month == wanted)
            && filter.since.is_none_or(|since| *month >= repo::month(since))
    });
    // A page that begins within a month which has gone or is another one begins at its top.
    key = key.filter(|_| months.first() == from.as_ref());
    let (mut rows, mut scanned) = (Vec::new(), 0);
    for month in months {
        loop {
            let most = if filter.is_plain() { limit.min(1000) } else { 1000 };
            let (lines, more) = repo::listed(app, &month, key.as_deref(), most).await?;
            scanned += lines.len();
            for (line_key, line) in lines {
                if filter.since.is_some_and(|since| line.began < since) {
                    return Ok(LeadPage { rows, next: None });
                }
                let next = format!("{month}/{line_key}");
                key = Some(line_key);
                if filter.admits(&line) {
                    rows.push(line);
                    if rows.len() == limit {
                        return Ok(LeadPage { rows, next: Some(next) });
                    }
                }
            }
            if !more {
                break;
            }
            if scanned >= MOST_SCANNED {
                let next = key.map(|key| format!("{month}/{key}"));
                return Ok(LeadPage { rows, next });
            }
        }
        key = None;
    }
    Ok(LeadPage { rows, next: None })
}

/// The months that have leads, the newest first.
pub async fn months(app: &App) -> Result<Vec<String>, Problem> {
    Ok(repo::months(app).await?)
}

/// One lead with everything that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    pub record: Record,
    pub kind: Kind,
    /// Newest first; notes stand in it.
    pub history: Vec<Entry>,
    /// As they came, newest first, and no more than a hundred.
    pub arrivals: Vec<Arrival>,
    pub forwards: Vec<Forward>,
    /// What rules say of the company; `record.company` is what a person said.
    pub companies: Vec<Match>,
}

pub async fn lead(app: &App, id: &LeadId) -> Result<Detail, Problem> {
    let (record, _) = existing(app, id).await?;
    let (history, counted, forwards, companies) = tokio::try_join!(
        async { Ok::<_, Problem>(repo::history(app, id, MOST_ENTRIES).await?) },
        async { Ok(repo::counted(app, id, None, MOST_ARRIVALS).await?) },
        async { Ok(repo::forwards(app, id).await?) },
        companies(app, &record.lead.person),
    )?;
    let found = try_join_all(counted.iter().map(|arrival| repo::arrival(app, arrival))).await?;
    let mut arrivals: Vec<Arrival> = found.into_iter().flatten().map(|(arrival, _)| arrival).collect();
    arrivals.sort_by_key(|arrival| std::cmp::Reverse(arrival.received));
    Ok(Detail { kind: record.kind(), record, history, arrivals, forwards, companies })
}

/// The newest entries of a lead's history.
pub async fn history(app: &App, id: &LeadId, most: usize) -> Result<Vec<Entry>, Problem> {
    Ok(repo::history(app, id, most).await?)
}

/// One arrival as it came: what the quarantine shows.
pub async fn arrival(app: &App, id: &LeadId) -> Result<Arrival, Problem> {
    Ok(repo::arrival(app, id).await?.ok_or_else(super::unknown)?.0)
}

/// Leads as rows, in the order of a page.
pub async fn records(app: &App, page: &[Listed]) -> Result<Vec<Record>, Problem> {
    let leads = page.iter().filter(|line| line.kind != Kind::Quarantined);
    let found = try_join_all(leads.map(|line| repo::lead(app, &line.id))).await?;
    Ok(found.into_iter().flatten().map(|(record, _)| record).collect())
}
