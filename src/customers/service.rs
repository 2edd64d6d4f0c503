//! Verbs: all companies, one company.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::model::{CustomerKey, What};
use crate::app::App;
use crate::foundation::ids::{SubscriptionId, TenantId};
use crate::foundation::problem::Problem;
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::{self, ListFilter, Summary};
use crate::leads::model::domains::telling;
use crate::leads::{self, Filter, Kind, Listed};
use crate::managed_apps::{self, Application, Attention};
use crate::media::{self, model::job::Job};
use crate::metering::model::resource::Resource;
use crate::metering::{self, ResourceUsage};

/// Rows that one question looks at, the newest first.
const MOST_LOOKED_AT: usize = 20_000;
const PAGE: usize = 1_000;
/// What is shown of one company.
const MOST_SUBSCRIPTIONS: usize = 50;
const MOST_LEADS: usize = 50;
const MOST_JOBS: usize = 10;
const MOST_EVENTS: usize = 50;
const MOST_HAPPENED: usize = 300;

/// A company in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    pub key: CustomerKey,
    /// Mail domains of its people.
    pub domains: BTreeSet<String>,
    /// Names of its subscriptions, or what its leads say of their company.
    pub names: BTreeSet<String>,
    pub subscriptions: usize,
    /// Of these, those that are active.
    pub active: usize,
    pub leads: usize,
    pub managed_apps: usize,
    pub last: Timestamp,
}

impl Found {
    fn new(key: CustomerKey, at: Timestamp) -> Self {
        let (domains, names) = (BTreeSet::new(), BTreeSet::new());
        Self { key, domains, names, subscriptions: 0, active: 0, leads: 0, managed_apps: 0, last: at }
    }
}

fn tenants(summary: &Summary) -> BTreeSet<TenantId> {
    let tenants = [summary.beneficiary_tenant, summary.purchaser_tenant].into_iter().flatten();
    tenants.filter(|tenant| *tenant != TenantId::PERSONAL_ACCOUNTS).collect()
}

async fn summaries(app: &App, filter: &ListFilter) -> Result<Vec<Summary>, Problem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = fulfillment::list(app, filter, after, PAGE).await?;
        found.extend(page.rows);
        after = page.next;
        if after.is_none() || found.len() >= MOST_LOOKED_AT {
            return Ok(found);
        }
    }
}

async fn all_leads(app: &App, filter: &Filter) -> Result<Vec<Listed>, Problem> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = leads::leads(app, filter, after.as_deref(), PAGE).await?;
        found.extend(page.rows.into_iter().filter(|line| matches!(line.kind, Kind::Real | Kind::DoNotContact)));
        after = page.next;
        if after.is_none() || found.len() >= MOST_LOOKED_AT {
            return Ok(found);
        }
    }
}

/// Every company whose name, domain or key holds the text, the last seen first.
pub async fn customers(app: &App, text: &str) -> Result<Vec<Found>, Problem> {
    let (every, any) = (ListFilter::default(), Filter::default());
    let apps = async { Ok(managed_apps::fleet(app).await?) };
    let (subscriptions, leads, apps) = tokio::try_join!(summaries(app, &every), all_leads(app, &any), apps)?;
    let mut all: BTreeMap<CustomerKey, Found> = BTreeMap::new();
    let mut of_domain: BTreeMap<String, BTreeSet<TenantId>> = BTreeMap::new();
    for summary in &subscriptions {
        for tenant in tenants(summary) {
            let key = CustomerKey::Tenant(tenant);
            let found = all.entry(key.clone()).or_insert_with(|| Found::new(key, summary.first_seen));
            found.subscriptions += 1;
            found.active += usize::from(summary.status == Status::Subscribed);
            found.last = found.last.max(summary.first_seen);
            found.names.insert(summary.name.clone());
            for (email, at) in
                [(&summary.beneficiary, summary.beneficiary_tenant), (&summary.purchaser, summary.purchaser_tenant)]
            {
                if at == Some(tenant)
                    && let Some(domain) = telling(email)
                {
                    found.domains.insert(domain.clone());
                    of_domain.entry(domain).or_default().insert(tenant);
                }
            }
        }
    }
    for line in &leads {
        let domain = telling(&line.email);
        let theirs: Vec<CustomerKey> = match (line.decided, line.tenant, &domain) {
            (true, Some(tenant), _) => vec![CustomerKey::Tenant(tenant)],
            (false, _, Some(domain)) if of_domain.contains_key(domain) => {
                of_domain[domain].iter().copied().map(CustomerKey::Tenant).collect()
            }
            (_, _, Some(domain)) => vec![CustomerKey::Domain(domain.clone())],
            _ => Vec::new(),
        };
        for key in theirs {
            let found = all.entry(key.clone()).or_insert_with(|| Found::new(key, line.last));
            found.leads += 1;
            found.last = found.last.max(line.last);
            found.domains.extend(domain.clone());
            if found.subscriptions == 0 && !line.company.is_empty() {
                found.names.insert(line.company.clone());
            }
        }
    }
    for (application, _) in &apps {
        let Some(tenant) = application.customer else { continue };
        let at = application.present().map_or(Timestamp::UNIX_EPOCH, |present| present.changed);
        let key = CustomerKey::Tenant(tenant);
        let found = all.entry(key.clone()).or_insert_with(|| Found::new(key, at));
        found.managed_apps += 1;
        found.last = found.last.max(at);
    }
    let text = text.trim().to_lowercase();
    let says = |found: &Found| {
        let mut texts = found.names.iter().chain(&found.domains);
        text.is_empty() || found.key.to_string().contains(&text) || texts.any(|one| one.to_lowercase().contains(&text))
    };
    let mut found: Vec<Found> = all.into_values().filter(says).collect();
    found.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.key.cmp(&b.key)));
    Ok(found)
}

/// A subscription with what it used and what it works on.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    pub summary: Summary,
    pub usage: Option<ResourceUsage>,
    pub jobs: Vec<Job>,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Happened {
    pub at: Timestamp,
    pub what: What,
    /// The id of what it happened to, and its name.
    pub id: String,
    pub name: String,
    /// The entry as its capability tells it.
    pub event: Value,
}

/// One company.
#[derive(Debug, Clone, Serialize)]
pub struct Customer {
    pub key: CustomerKey,
    pub domains: BTreeSet<String>,
    pub subscriptions: Vec<Held>,
    pub leads: Vec<Listed>,
    pub managed_apps: Vec<(Application, Vec<Attention>)>,
    /// Newest first.
    pub timeline: Vec<Happened>,
    /// There is more than is shown.
    pub cut: bool,
}

impl Customer {
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.leads.is_empty() && self.managed_apps.is_empty()
    }
}

/// Everything of one company.
pub async fn customer(app: &App, key: &CustomerKey) -> Result<Option<Customer>, Problem> {
    let text = key.to_string();
    let mut summaries = match key {
        CustomerKey::Tenant(tenant) => {
            let mut found = summaries(app, &ListFilter { text, status: None }).await?;
            found.retain(|summary| tenants(summary).contains(tenant));
            found
        }
        CustomerKey::Domain(_) => Vec::new(),
    };
    let mut domains: BTreeSet<String> = match key {
        CustomerKey::Domain(domain) => BTreeSet::from([domain.clone()]),
        CustomerKey::Tenant(tenant) => {
            let parties = summaries.iter().flat_map(|summary| {
                [(&summary.beneficiary, summary.beneficiary_tenant), (&summary.purchaser, summary.purchaser_tenant)]
            });
            parties.filter(|(_, at)| *at == Some(*tenant)).filter_map(|(email, _)| telling(email)).collect()
        }
    };
    let tenant = if let CustomerKey::Tenant(tenant) = key { Some(*tenant) } else { None };
    let mut leads = all_leads(app, &Filter::default()).await?;
    leads.retain(|line| match line.decided {
        true => line.tenant.is_some() && line.tenant == tenant,
        false => telling(&line.email).is_some_and(|domain| domains.contains(&domain)),
    });
    let mut apps = managed_apps::fleet(app).await?;
    apps.retain(|(application, _)| tenant.is_some() && application.customer == tenant);
    let cut = summaries.len() > MOST_SUBSCRIPTIONS || leads.len() > MOST_LEADS;
    summaries.truncate(MOST_SUBSCRIPTIONS);
    leads.truncate(MOST_LEADS);
    domains.extend(leads.iter().filter_map(|line| telling(&line.email)));
    let subscriptions = try_join_all(summaries.into_iter().map(|summary| held(app, summary))).await?;
    let mut timeline = Vec::new();
    for held in &subscriptions {
        subscription_story(app, held, &mut timeline).await?;
    }
    for line in &leads {
        lead_story(app, line, &mut timeline).await?;
    }
    for (application, _) in &apps {
        application_story(app, application, &mut timeline).await?;
    }
    timeline.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
    let cut = cut || timeline.len() > MOST_HAPPENED;
    timeline.truncate(MOST_HAPPENED);
    let found = Customer { key: key.clone(), domains, subscriptions, leads, managed_apps: apps, timeline, cut };
    Ok(Some(found).filter(|found| !found.is_empty()))
}

async fn held(app: &App, summary: Summary) -> Result<Held, Problem> {
    let id: SubscriptionId = summary.id;
    let (usage, (jobs, _)) = tokio::try_join!(
        async { Ok::<_, Problem>(metering::usage(app, &Resource::Subscription(id)).await?) },
        media::recent(app, id, None, MOST_JOBS),
    )?;
    Ok(Held { summary, usage, jobs })
}

async fn subscription_story(app: &App, held: &Held, all: &mut Vec<Happened>) -> Result<(), Problem> {
    let summary = &held.summary;
    let (events, _) = fulfillment::timeline(app, summary.id, None, MOST_EVENTS).await?;
    all.extend(events.into_iter().map(|event| Happened {
        at: event.at,
        what: What::Subscription,
        id: summary.id.to_string(),
        name: summary.name.clone(),
        event: json!(event),
    }));
    for job in &held.jobs {
        let ended = job.finished.map(|at| (at, "ended"));
        all.extend([Some((job.created, "submitted")), ended].into_iter().flatten().map(|(at, event)| Happened {
            at,
            what: What::Job,
            id: summary.id.to_string(),
            name: job.id.to_string(),
            event: json!({ "event": event, "kind": job.kind, "state": job.state, "items": job.items }),
        }));
    }
    Ok(())
}

async fn lead_story(app: &App, line: &Listed, all: &mut Vec<Happened>) -> Result<(), Problem> {
    for entry in leads::history(app, &line.id, MOST_EVENTS).await? {
        let (id, name) = (line.id.to_string(), line.name.clone());
        all.push(Happened { at: entry.at, what: What::Lead, id, name, event: json!(entry) });
    }
    Ok(())
}

async fn application_story(app: &App, application: &Application, all: &mut Vec<Happened>) -> Result<(), Problem> {
    let Some(detail) = managed_apps::detail(app, &application.key).await? else { return Ok(()) };
    let name = application.shown.rsplit('/').next().unwrap_or_default();
    all.extend(detail.lines.iter().take(MOST_EVENTS).map(|line| Happened {
        at: line.heard.when(),
        what: What::ManagedApp,
        id: application.key.to_string(),
        name: name.to_owned(),
        event: json!({ "what": line.heard.what, "name": line.heard.name(), "effect": line.effect, "error": line.heard.error }),
    }));
    Ok(())
}
