//! Rows of files and jobs.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `Files` | subscription | newest first | a file whose blob is whole |
//! | `FileEnds` | hour | subscription `:` file or job | what ends then |
//! | | `cursor` | `cursor` | up to which hour they were looked at |
//! | `FileOwners` | `all` | subscription | who has, or had, files; up to which hour storage was recorded |
//! | `FileUploads` | subscription | file | a direct upload that is under way |
//! | `MediaJobs` | subscription | newest first | a job |
//! | `MediaItems` | job | number | an item |
//! | `MediaActive` | `all` | job | jobs that are not over, or whose end was not told, with their subscription |
//! | | `given-up` | job | jobs that failed because their messages did |
//! | `MediaLinks` | hash of a token | `it` | a file that is open to whoever has the address, for a while |
//! | `MediaRequests` | hash of subscription and idempotency key | `it` | the job that was made for it, for a day |

use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::model::file::{DirectUpload, File};
use super::model::job::{Item, Job};
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::ids::{FileId, JobId, SubscriptionId};
use crate::store::ends::Ends;
use crate::store::{self, Etag, MAX_BATCH, Page, Row, RowRange, StoreError, Table, Write, expiry, newest_id_first};

const FILES: Table = Table("Files");
pub const ENDS: Ends = Ends(Table("FileEnds"));
const JOBS: Table = Table("MediaJobs");
const ITEMS: Table = Table("MediaItems");
const ACTIVE: Table = Table("MediaActive");
const REQUESTS: Table = Table("MediaRequests");
const OWNERS: Table = Table("FileOwners");
const UPLOADS: Table = Table("FileUploads");
const LINKS: Table = Table("MediaLinks");
const ALL: &str = "all";
const GIVEN_UP: &str = "given-up";

/// What has an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    File(FileId),
    Job(JobId),
}

/// Writes down when something ends, so that nothing is kept for ever: of a file, before its bytes are there.
pub async fn list_end(app: &App, subscription: SubscriptionId, what: &Ended, end: Timestamp) -> Result<(), StoreError> {
    let id = match what {
        Ended::File(id) => id.as_str(),
        Ended::Job(id) => id.as_str(),
    };
    ENDS.list(&*app.rows, format!("{subscription}:{id}"), end).await
}

/// Names a file whose bytes, and whose end, are there.
pub async fn save_file(app: &App, subscription: SubscriptionId, file: &File) -> Result<(), StoreError> {
    let owners = || app.media.owners.lock().unwrap_or_else(PoisonError::into_inner);
    if !owners().contains(&subscription) {
        // For good: whoever has had files once is asked for each hour.
        match app.rows.write(OWNERS, ALL, vec![Write::insert(subscription.to_string(), &None::<Timestamp>)?]).await {
            Ok(_) | Err(StoreError::AlreadyExists) => owners().insert(subscription),
            Err(error) => return Err(error),
        };
    }
    let row = Write::upsert(newest_id_first(file.id.as_str()), file)?;
    app.rows.write(FILES, &subscription.to_string(), vec![row]).await.map(drop)
}

/// Subscriptions that have, or had, files, and up to which hour their storage was recorded.
pub async fn owners(app: &App) -> Result<Vec<(SubscriptionId, Option<Timestamp>)>, StoreError> {
    let rows = store::scan(&*app.rows, OWNERS, ALL, RowRange::all()).await?;
    Ok(rows.iter().filter_map(|row| Some((row.key.parse().ok()?, store::decode(row).ok().flatten()))).collect())
}

pub async fn set_metered_until(app: &App, subscription: SubscriptionId, at: Timestamp) -> Result<(), StoreError> {
    app.rows.write(OWNERS, ALL, vec![Write::upsert(subscription.to_string(), &Some(at))?]).await.map(drop)
}

/// A direct upload, with the end of what it may leave behind.
pub async fn save_upload(app: &App, subscription: SubscriptionId, upload: &DirectUpload) -> Result<(), StoreError> {
    list_end(app, subscription, &Ended::File(upload.id.clone()), upload.until).await?;
    let row = Write::upsert(upload.id.to_string(), upload)?;
    app.rows.write(UPLOADS, &subscription.to_string(), vec![row]).await.map(drop)
}

pub async fn upload(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<Option<DirectUpload>, StoreError> {
    let found = store::load::<DirectUpload>(&*app.rows, UPLOADS, &subscription.to_string(), id.as_str()).await?;
    Ok(found.map(|(upload, _)| upload).filter(|upload| upload.until > app.clock.now()))
}

pub async fn forget_upload(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<(), StoreError> {
    let row = Write::Delete { key: id.to_string(), etag: None };
    app.rows.write(UPLOADS, &subscription.to_string(), vec![row]).await.map(drop)
}

pub async fn file(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<Option<File>, StoreError> {
    let found =
        store::load::<File>(&*app.rows, FILES, &subscription.to_string(), &newest_id_first(id.as_str())).await?;
    Ok(found.map(|(file, _)| file).filter(|file| file.id == *id && file.expires > app.clock.now()))
}

pub async fn forget_file(app: &App, subscription: SubscriptionId, id: &FileId) -> Result<(), StoreError> {
    let row = Write::Delete { key: newest_id_first(id.as_str()), etag: None };
    app.rows.write(FILES, &subscription.to_string(), vec![row]).await.map(drop)
}

/// A file that is open to whoever has the address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Link {
    pub subscription: SubscriptionId,
    pub file: FileId,
    pub until: Timestamp,
}

/// Whoever reads the rows can not use the address.
fn hashed(token: &str) -> String {
    hex(&Sha256::digest(token))
}

pub async fn save_link(app: &App, token: &str, link: &Link) -> Result<(), StoreError> {
    let body = store::encode(link)?;
    expiry::insert(&*app.rows, LINKS, &hashed(token), body, link.until).await
}

pub async fn link(app: &App, token: &str) -> Result<Option<Link>, StoreError> {
    Ok(store::load::<Link>(&*app.rows, LINKS, &hashed(token), expiry::KEY).await?.map(|(link, _)| link))
}

async fn page(
    app: &App,
    table: Table,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, StoreError> {
    let range = RowRange::all();
    let range = after.map_or(range.clone(), |after| range.after(&newest_id_first(after)));
    app.rows.query(table, &subscription.to_string(), &range, limit).await
}

/// Newest first, behind `after`; `true`: there may be more.
pub async fn files(
    app: &App,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<File>, bool), StoreError> {
    let (files, more) = all_files(app, subscription, after, limit).await?;
    let now = app.clock.now();
    Ok((files.into_iter().filter(|file| file.expires > now).collect(), more))
}

/// The same with those whose time is over and that are not removed yet.
pub async fn all_files(
    app: &App,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<File>, bool), StoreError> {
    let page = page(app, FILES, subscription, after, limit).await?;
    Ok((page.rows.iter().map(store::decode).collect::<Result<_, _>>()?, page.more))
}

/// What a line of [`ENDS`] names, and whose it is.
pub fn ended(line: &str) -> Option<(SubscriptionId, Ended)> {
    let (subscription, id) = line.split_once(':')?;
    let what = id.parse().map(Ended::File).or_else(|_| id.parse().map(Ended::Job)).ok()?;
    Some((subscription.parse().ok()?, what))
}

/// A job that is not over, as the list of active ones has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Active {
    pub subscription: SubscriptionId,
    pub job: JobId,
    pub since: Timestamp,
}

impl Active {
    fn of(job: &Job, since: Timestamp) -> Self {
        Self { subscription: job.subscription, job: job.id.clone(), since }
    }
}

/// Stores a new job with its items. The items come first: a job that is there is whole.
/// `false`: it is there already.
pub async fn create_job(app: &App, job: &Job, items: &[Item]) -> Result<bool, StoreError> {
    for batch in items.chunks(MAX_BATCH) {
        let writes = batch.iter().map(|item| Write::insert(item_key(item.number), item)).collect::<Result<_, _>>()?;
        match app.rows.write(ITEMS, job.id.as_str(), writes).await {
            // By the same request, which may have got further than this: nothing of it is undone.
            Ok(_) | Err(StoreError::AlreadyExists) => {}
            Err(error) => return Err(error),
        }
    }
    list_active(app, job, job.created).await?;
    let row = Write::insert(newest_id_first(job.id.as_str()), job)?;
    match app.rows.write(JOBS, &job.subscription.to_string(), vec![row]).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists) => Ok(false),
        Err(error) => Err(error),
    }
}

fn item_key(number: u32) -> String {
    format!("{number:06}")
}

pub async fn job(app: &App, subscription: SubscriptionId, id: &JobId) -> Result<Option<(Job, Etag)>, StoreError> {
    let found = store::load::<Job>(&*app.rows, JOBS, &subscription.to_string(), &newest_id_first(id.as_str())).await?;
    Ok(found.filter(|(job, _)| job.id == *id))
}

/// Fails with [`StoreError::Precondition`] when somebody else has written it since.
pub async fn save_job(app: &App, job: &Job, etag: Etag) -> Result<Etag, StoreError> {
    let partition = job.subscription.to_string();
    store::replace(&*app.rows, JOBS, &partition, newest_id_first(job.id.as_str()), job, etag).await
}

pub async fn forget_active(app: &App, id: &JobId) -> Result<(), StoreError> {
    app.rows.write(ACTIVE, ALL, vec![Write::Delete { key: id.to_string(), etag: None }]).await.map(drop)
}

pub async fn active(app: &App) -> Result<Vec<Active>, StoreError> {
    store::scan(&*app.rows, ACTIVE, ALL, RowRange::all()).await?.iter().map(store::decode).collect()
}

/// Lists a job among those that were given up, or takes it off that list.
pub async fn list_given_up(app: &App, job: &Job, given_up: bool) -> Result<(), StoreError> {
    let write = if given_up {
        Write::upsert(job.id.to_string(), &Active::of(job, job.finished.unwrap_or(job.created)))?
    } else {
        Write::Delete { key: job.id.to_string(), etag: None }
    };
    app.rows.write(ACTIVE, GIVEN_UP, vec![write]).await.map(drop)
}

pub async fn given_up(app: &App) -> Result<Vec<Active>, StoreError> {
    store::scan(&*app.rows, ACTIVE, GIVEN_UP, RowRange::all()).await?.iter().map(store::decode).collect()
}

/// Lists a job as active.
pub async fn list_active(app: &App, job: &Job, since: Timestamp) -> Result<(), StoreError> {
    let row = Write::upsert(job.id.to_string(), &Active::of(job, since))?;
    app.rows.write(ACTIVE, ALL, vec![row]).await.map(drop)
}

pub async fn jobs(
    app: &App,
    subscription: SubscriptionId,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Job>, bool), StoreError> {
    let page = page(app, JOBS, subscription, after, limit).await?;
    Ok((page.rows.iter().map(store::decode).collect::<Result<_, _>>()?, page.more))
}

/// Items from a number on.
pub async fn items(app: &App, id: &JobId, from: u32, limit: usize) -> Result<Vec<Item>, StoreError> {
    let range = RowRange { from: item_key(from), to: None };
    let page = app.rows.query(ITEMS, id.as_str(), &range, limit).await?;
    page.rows.iter().map(read_item).collect()
}

/// Items that are read together.
const ITEMS_PAGE: usize = 100;

/// The next items of a job, from a number on, which moves behind them; at the end it is the number of all items.
pub async fn next_items(app: &App, job: &Job, from: &mut u32) -> Result<Vec<Item>, StoreError> {
    let items = items(app, &job.id, *from, ITEMS_PAGE).await?;
    *from = items.last().map_or(job.items, |last| last.number + 1);
    Ok(items)
}

fn read_item(row: &Row) -> Result<Item, StoreError> {
    Ok(Item { version: Some(row.etag.0.clone()), ..store::decode(row)? })
}

/// Writes an item down, over what was read of it. Whoever has lost the turn meanwhile writes nothing: the item is then what
/// another one has made of it.
pub async fn save_item(app: &App, id: &JobId, item: Item) -> Result<Item, StoreError> {
    let key = item_key(item.number);
    let write = match &item.version {
        Some(version) => Write::replace(key.as_str(), &item, Etag(version.clone()))?,
        None => Write::upsert(key.as_str(), &item)?,
    };
    match app.rows.write(ITEMS, id.as_str(), vec![write]).await {
        Ok(etags) => Ok(Item { version: etags.into_iter().next().map(|etag| etag.0), ..item }),
        Err(StoreError::Precondition) => match app.rows.get(ITEMS, id.as_str(), &key).await? {
            Some(row) => read_item(&row),
            None => Err(StoreError::Precondition),
        },
        Err(error) => Err(error),
    }
}

/// Removes a job that is over, with its items.
pub async fn forget_job(app: &App, job: &Job) -> Result<(), StoreError> {
    loop {
        let page = app.rows.query(ITEMS, job.id.as_str(), &RowRange::all(), MAX_BATCH).await?;
        if page.rows.is_empty() {
            break;
        }
        let rows = page.rows.into_iter().map(|row| Write::Delete { key: row.key, etag: Some(row.etag) });
        app.rows.write(ITEMS, job.id.as_str(), rows.collect()).await?;
    }
    let row = Write::Delete { key: newest_id_first(job.id.as_str()), etag: None };
    app.rows.write(JOBS, &job.subscription.to_string(), vec![row]).await.map(drop)
}

/// What an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    pub job: JobId,
    /// Of the request's body.
    pub hash: String,
    pub at: Timestamp,
    /// The job was there and was deleted.
    pub deleted: bool,
}

/// How long an idempotency key is remembered at least: until the next purge after that.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// Remembers what a key stands for, once: `Some` is what it stood for already. `key` is unique to the subscription.
pub async fn remember(app: &App, key: &str, repeat: &Repeat) -> Result<Option<Repeat>, StoreError> {
    let end = repeat.at + REMEMBERED;
    match expiry::insert(&*app.rows, REQUESTS, key, store::encode(repeat)?, end).await {
        Ok(()) => Ok(None),
        Err(StoreError::AlreadyExists) => {
            Ok(store::load::<Repeat>(&*app.rows, REQUESTS, key, expiry::KEY).await?.map(|(known, _)| known))
        }
        Err(error) => Err(error),
    }
}

/// Notes that the job of a key is gone, so that the key does not make it again.
pub async fn forget_request(app: &App, key: &str, job: &JobId) -> Result<(), StoreError> {
    let Some((known, etag)) = store::load::<Repeat>(&*app.rows, REQUESTS, key, expiry::KEY).await? else {
        return Ok(());
    };
    if known.job != *job {
        return Ok(());
    }
    let row = Write::replace(expiry::KEY, &Repeat { deleted: true, ..known }, etag)?;
    match app.rows.write(REQUESTS, key, vec![row]).await {
        Ok(_) | Err(StoreError::Precondition) => Ok(()),
        Err(error) => Err(error),
    }
}
