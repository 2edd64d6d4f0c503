//! Rows of managed applications.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `ManagedApps` | `all` | application | what followed from everything that was heard, as of the last look |
//! | `ManagedAppHeard` | application | `heard:<time>:<hash>` | a notification, or Azure's answer; never changed |
//! | `ManagedAppUnread` | `all` | newest first | what came with a right `sig` and could not be read |
//!
//! What was heard is the truth, and the row of the application is made from it: it may be old, and the next look brings it
//! up to date. The row is written beside the first thing that is heard, so that the comparison finds whatever there is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::application::{Instance, Story};
use super::model::heard::{ApplicationKey, Heard};
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::ids::TenantId;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write, newest_first};

const APPS: Table = Table("ManagedApps");
const HEARD: Table = Table("ManagedAppHeard");
const UNREAD: Table = Table("ManagedAppUnread");
const ALL: &str = "all";
/// What could not be read is looked at by people, not by the thousand.
const MOST_UNREAD: usize = 50;

/// What Azure said when it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Confirmation {
    /// Nobody could ask yet.
    #[default]
    Open,
    /// The publisher has no access by this plan.
    NoAccess,
    Confirmed,
    /// Azure knows nothing of it, though we were told of it moments ago.
    Missing,
    /// Azure does not let us read it.
    Denied {
        said: String,
    },
}

/// The row of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    pub key: ApplicationKey,
    /// In lower case.
    pub uri: String,
    /// As it came.
    pub shown: String,
    /// The last one is the present one; none before the first look.
    pub instances: Vec<Instance>,
    /// Azure's region.
    pub region: Option<String>,
    pub confirmation: Confirmation,
    /// When Azure answered last.
    pub asked: Option<Timestamp>,
    /// Whose it is, as a person said: Azure tells no tenant.
    #[serde(default)]
    pub customer: Option<TenantId>,
    /// The present plan has no dimensions in the catalogue, so its usage waits.
    pub unmetered_plan: bool,
}

impl Application {
    pub fn new(heard: &Heard) -> Self {
        Self {
            key: heard.application_key(),
            uri: heard.application.clone(),
            shown: heard.shown.clone(),
            instances: Vec::new(),
            region: None,
            confirmation: Confirmation::default(),
            asked: None,
            customer: None,
            unmetered_plan: false,
        }
    }

    pub fn present(&self) -> Option<&Instance> {
        self.instances.last()
    }
}

/// What could not be read, as it came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unread {
    pub received: Timestamp,
    pub wrong: String,
    pub body: String,
}

/// Makes sure that the application has a row.
pub async fn list(app: &App, application: &Application) -> Result<(), StoreError> {
    match app.rows.write(APPS, ALL, vec![Write::insert(application.key.as_str(), application)?]).await {
        Ok(_) | Err(StoreError::AlreadyExists) => Ok(()),
        Err(error) => Err(error),
    }
}

pub async fn application(app: &App, key: &ApplicationKey) -> Result<Option<(Application, Etag)>, StoreError> {
    store::load(&*app.rows, APPS, ALL, key.as_str()).await
}

/// Every application there is or was.
pub async fn applications(app: &App) -> Result<Vec<Application>, StoreError> {
    store::scan(&*app.rows, APPS, ALL, RowRange::all()).await?.iter().map(store::decode).collect()
}

/// Fails with [`StoreError::Precondition`] when somebody else has written it since.
pub async fn save(app: &App, application: &Application, etag: Etag) -> Result<(), StoreError> {
    store::replace(&*app.rows, APPS, ALL, application.key.as_str(), application, etag).await.map(drop)
}

/// Keeps what was heard; `false` when it is known.
pub async fn keep(app: &App, heard: &Heard) -> Result<bool, StoreError> {
    let row = Write::insert(heard.key(), heard)?;
    match app.rows.write(HEARD, heard.application_key().as_str(), vec![row]).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Everything that was heard of an application.
pub async fn heard(app: &App, key: &ApplicationKey) -> Result<Vec<Heard>, StoreError> {
    store::scan(&*app.rows, HEARD, key.as_str(), RowRange::all()).await?.iter().map(store::decode).collect()
}

/// The same, with what follows from it.
pub async fn story(app: &App, key: &ApplicationKey) -> Result<(Vec<Heard>, Story), StoreError> {
    let all = heard(app, key).await?;
    let story = Story::of(&all);
    Ok((all, story))
}

pub async fn keep_unread(app: &App, unread: &Unread) -> Result<(), StoreError> {
    let key = format!("{}:{}", newest_first(unread.received), app.random.token());
    app.rows.write(UNREAD, ALL, vec![Write::insert(key, unread)?]).await.map(drop)
}

/// The newest ones first.
pub async fn unread(app: &App) -> Result<Vec<Unread>, StoreError> {
    let page = app.rows.query(UNREAD, ALL, &RowRange::all(), MOST_UNREAD).await?;
    page.rows.iter().map(store::decode).collect()
}

/// Takes a person out of Azure's reasons, which like to name whoever deployed. What was heard goes first: the row of the
/// application is made from it.
pub async fn erase(app: &App, erasure: &Erasure) -> Result<usize, StoreError> {
    let mut changed = 0;
    for application in applications(app).await? {
        changed += store::erase(&*app.rows, HEARD, application.key.as_str(), RowRange::all(), erasure).await?;
    }
    for table in [APPS, UNREAD] {
        changed += store::erase(&*app.rows, table, ALL, RowRange::all(), erasure).await?;
    }
    Ok(changed)
}
