//! What people see of managed applications.

use jiff::Timestamp;

use crate::app::App;
use crate::foundation::ids::TenantId;
use crate::managed_apps::model::application::{Effect, State};
use crate::managed_apps::model::attention::{self, Attention};
use crate::managed_apps::model::heard::{ApplicationKey, Heard};
use crate::managed_apps::repo::{self, Application, Confirmation, Unread};
use crate::store::StoreError;

/// How often the row is written when others write it, too.
const ROUNDS: usize = 6;

/// One thing in the life of an application.
#[derive(Debug, Clone)]
pub struct Line {
    pub heard: Heard,
    pub effect: Effect,
}

/// An application with everything that was heard of it, the newest first.
#[derive(Debug, Clone)]
pub struct Detail {
    pub application: Application,
    pub attention: Vec<Attention>,
    pub lines: Vec<Line>,
}

impl Application {
    /// What of it needs a person.
    pub fn attention(&self, now: Timestamp) -> Vec<Attention> {
        let Some(present) = self.present() else { return Vec::new() };
        let mut found = attention::of(present, now);
        match self.confirmation {
            Confirmation::Missing => found.push(Attention::Missing),
            Confirmation::Denied { .. } if present.state != State::Deleted => found.push(Attention::Denied),
            _ => {}
        }
        if self.unmetered_plan {
            found.push(Attention::UnmeteredPlan);
        }
        found
    }
}

/// Every application, those that need a person first, then the last changed ones.
pub async fn fleet(app: &App) -> Result<Vec<(Application, Vec<Attention>)>, StoreError> {
    let now = app.clock.now();
    let all = repo::applications(app).await?;
    let mut all: Vec<_> = all
        .into_iter()
        .map(|application| {
            let attention = application.attention(now);
            (application, attention)
        })
        .collect();
    all.sort_by_key(|(application, attention)| {
        (attention.is_empty(), std::cmp::Reverse(application.present().map(|present| present.changed)))
    });
    Ok(all)
}

pub async fn detail(app: &App, key: &ApplicationKey) -> Result<Option<Detail>, StoreError> {
    let Some((mut application, _)) = repo::application(app, key).await? else { return Ok(None) };
    let (all, story) = repo::story(app, key).await?;
    let lines = story.lines.iter().rev().map(|(index, effect)| Line { heard: all[*index].clone(), effect: *effect });
    let lines = lines.collect();
    // The row may be older than what was heard since.
    application.instances = story.instances;
    let attention = application.attention(app.clock.now());
    Ok(Some(Detail { application, attention, lines }))
}

/// What came with a right `sig` and could not be read, the newest first.
pub async fn unread(app: &App) -> Result<Vec<Unread>, StoreError> {
    repo::unread(app).await
}

/// Says whose an application is; None: nobody knows. `false`: there is no such application.
pub async fn set_customer(app: &App, key: &ApplicationKey, customer: Option<TenantId>) -> Result<bool, StoreError> {
    for round in 1.. {
        let Some((mut application, etag)) = repo::application(app, key).await? else { return Ok(false) };
        application.customer = customer;
        match repo::save(app, &application, etag).await {
            Err(StoreError::Precondition) if round < ROUNDS => {}
            saved => return saved.map(|()| true),
        }
    }
    Ok(false)
}
