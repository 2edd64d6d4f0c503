//! Keys with which customers' programs call the AI API. A key is shown once; we hold its SHA-256 under a prefix that is
//! no secret, so a read of the store gives nobody a key.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `ApiKeys` | prefix | `it` | the key |
//! | `ApiKeysOf` | subscription | prefix | whose keys there are |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tokens;
use crate::app::App;
use crate::foundation::erasure::Erasure;
use crate::foundation::hex::hex;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::recent::Recent;
use crate::foundation::secret::{Secret, same_secret};
use crate::foundation::web::Request;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write};

const KEYS: Table = Table("ApiKeys");
const OF: Table = Table("ApiKeysOf");
const ROW: &str = "it";
/// What every key begins with, so that scanners of leaked secrets recognise it.
pub const MARK: &str = "mgk";
/// `last_used` is written at most this often.
const USED_EVERY: SignedDuration = SignedDuration::from_mins(10);
pub const MOST_KEYS: usize = 50;
pub const LONGEST_NAME: usize = 60;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Chat,
    Embeddings,
    Audio,
    Images,
    Vision,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Chat, Self::Embeddings, Self::Audio, Self::Images, Self::Vision];

    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Audio => "audio",
            Self::Images => "images",
            Self::Vision => "vision",
        }
    }

    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// How fast somebody may call. What is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Calls at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
}

/// What a customer decides about a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyTerms {
    pub expires: Option<Timestamp>,
    /// None: everything.
    pub scopes: Option<Vec<Scope>>,
    pub limits: Limits,
    /// Until then, what is asked and answered with the key is kept for the customer to read; None: it is not.
    pub capture_until: Option<Timestamp>,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// The part that is no secret; also the id of the key.
    pub prefix: String,
    pub subscription: SubscriptionId,
    pub name: String,
    pub created: Timestamp,
    /// E-mail address or name of who made it.
    pub created_by: String,
    #[serde(flatten)]
    pub terms: KeyTerms,
    pub revoked: Option<Timestamp>,
    pub last_used: Option<Timestamp>,
    hash: String,
}

impl StoredKey {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.terms.expires.is_none_or(|end| now < end)
    }
}

/// A program of a customer, proven by its key.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub prefix: String,
    pub name: String,
    pub subscription: SubscriptionId,
    pub scopes: Option<Vec<Scope>>,
    pub limits: Limits,
    /// What is asked and answered is kept for the customer to read.
    pub capture: bool,
}

impl ApiKey {
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope))
    }
}

/// Why a key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("there is no key")]
    Missing,
    #[error("the key is not known")]
    Unknown,
    #[error("the key was revoked")]
    Revoked,
    #[error("the key has expired")]
    Expired,
}

/// Keys read a moment ago, by their prefix.
pub type RememberedKeys = Recent<String, StoredKey>;

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Makes a key. The secret is in the answer and nowhere else. None: the subscription has [`MOST_KEYS`] live ones.
pub async fn create(
    app: &App,
    subscription: SubscriptionId,
    name: &str,
    created_by: &str,
    terms: KeyTerms,
) -> Result<Option<(Secret, StoredKey)>, StoreError> {
    let now = app.clock.now();
    if list(app, subscription).await?.iter().filter(|key| key.is_live(now)).count() >= MOST_KEYS {
        return Ok(None);
    }
    let mut bytes = [0; 6];
    app.random.fill(&mut bytes);
    let prefix = hex(&bytes);
    let secret = format!("{MARK}-{prefix}-{}", app.random.token());
    let key = StoredKey {
        prefix: prefix.clone(),
        subscription,
        name: name.to_owned(),
        created: now,
        created_by: created_by.to_owned(),
        terms,
        revoked: None,
        last_used: None,
        hash: hash(&secret),
    };
    // The list first: a line without its key is passed over, a key that no list has could not be revoked.
    app.rows.write(OF, &subscription.to_string(), vec![Write::upsert(prefix.as_str(), &())?]).await?;
    app.rows.write(KEYS, &prefix, vec![Write::insert(ROW, &key)?]).await?;
    Ok(Some((Secret::new(secret), key)))
}

/// The keys of a subscription, newest first.
pub async fn list(app: &App, subscription: SubscriptionId) -> Result<Vec<StoredKey>, StoreError> {
    let rows = store::scan(&*app.rows, OF, &subscription.to_string(), RowRange::all()).await?;
    let mut keys = Vec::with_capacity(rows.len());
    for row in rows {
        keys.extend(load(app, &row.key).await?.map(|(key, _)| key));
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.created));
    Ok(keys)
}

/// Takes a person out of the keys of a subscription; the keys go on working.
pub async fn erase(app: &App, subscription: SubscriptionId, erasure: &Erasure) -> Result<usize, StoreError> {
    let mut changed = 0;
    for key in list(app, subscription).await? {
        changed += store::erase(&*app.rows, KEYS, &key.prefix, RowRange::all(), erasure).await?;
    }
    Ok(changed)
}

/// Takes the maker of keys out of those that they made; the keys go on working.
pub async fn erase_maker(
    app: &App,
    subscription: SubscriptionId,
    email: &str,
    erasure: &Erasure,
) -> Result<usize, StoreError> {
    let mut changed = 0;
    for key in list(app, subscription).await?.iter().filter(|key| key.created_by.eq_ignore_ascii_case(email)) {
        changed += store::erase(&*app.rows, KEYS, &key.prefix, RowRange::all(), erasure).await?;
        app.api_keys.forget(&key.prefix);
    }
    Ok(changed)
}

async fn load(app: &App, prefix: &str) -> Result<Option<(StoredKey, Etag)>, StoreError> {
    match store::load(&*app.rows, KEYS, prefix, ROW).await {
        // Whatever a caller sends as a key.
        Err(StoreError::InvalidKey(_)) => Ok(None),
        other => other,
    }
}

/// Ends a key: at once, or for a rotation after `overlap`. `false`: it is not one of this subscription.
pub async fn end(
    app: &App,
    subscription: SubscriptionId,
    prefix: &str,
    overlap: SignedDuration,
) -> Result<bool, StoreError> {
    change(app, subscription, prefix, |key, now| {
        if overlap.is_positive() {
            let end = now + overlap;
            key.terms.expires = Some(key.terms.expires.map_or(end, |known| known.min(end)));
        } else {
            key.revoked = Some(now);
        }
    })
    .await
}

/// Keeps what is asked and answered with a key for so long from now on; zero: no more. `false`: it is not one of this
/// subscription.
pub async fn capture(
    app: &App,
    subscription: SubscriptionId,
    prefix: &str,
    during: SignedDuration,
) -> Result<bool, StoreError> {
    change(app, subscription, prefix, |key, now| {
        key.terms.capture_until = during.is_positive().then(|| now + during);
    })
    .await
}

/// Changes a live key; one that is over stays as it is.
async fn change(
    app: &App,
    subscription: SubscriptionId,
    prefix: &str,
    change: impl Fn(&mut StoredKey, Timestamp),
) -> Result<bool, StoreError> {
    loop {
        let Some((mut key, etag)) = load(app, prefix).await? else { return Ok(false) };
        if key.subscription != subscription {
            return Ok(false);
        }
        let now = app.clock.now();
        if !key.is_live(now) {
            return Ok(true);
        }
        change(&mut key, now);
        app.api_keys.forget(prefix);
        match app.rows.write(KEYS, prefix, vec![Write::replace(ROW, &key, etag)?]).await {
            Err(StoreError::Precondition) => {}
            other => return other.map(|_| true),
        }
    }
}

/// The key of a request, from `Authorization: Bearer` or, as Azure's SDKs send it, from `api-key`.
pub fn sent(request: &Request) -> Option<&str> {
    request.bearer().or_else(|| request.header("api-key"))
}

/// Proves the caller. The outer error is the store's.
pub async fn api_key(app: &App, request: &Request) -> Result<Result<ApiKey, KeyError>, StoreError> {
    let Some(text) = sent(request) else { return Ok(Err(KeyError::Missing)) };
    let mut parts = text.splitn(3, '-');
    let (Some(MARK), Some(prefix), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return match tokens::read(app, text) {
            Ok(token) => Ok(opened(app, &token.key, None).await?.map(|key| token.narrow(key))),
            Err(error) => Ok(Err(error)),
        };
    };
    opened(app, prefix, Some(text)).await
}

/// A key that is live: by its secret, or by its prefix where a token of ours vouches for it.
async fn opened(app: &App, prefix: &str, secret: Option<&str>) -> Result<Result<ApiKey, KeyError>, StoreError> {
    let now = app.clock.now();
    let (key, read) = match app.api_keys.get(prefix, now) {
        Some(key) => (key, None),
        None => {
            let Some((key, etag)) = load(app, prefix).await? else { return Ok(Err(KeyError::Unknown)) };
            app.api_keys.put(prefix.to_owned(), key.clone(), now);
            (key, Some(etag))
        }
    };
    if secret.is_some_and(|secret| !same_secret(&hash(secret), &key.hash)) {
        return Ok(Err(KeyError::Unknown));
    }
    if let Some(etag) = read {
        note_use(app, &key, etag).await;
    }
    if key.revoked.is_some() {
        return Ok(Err(KeyError::Revoked));
    }
    if !key.is_live(now) {
        return Ok(Err(KeyError::Expired));
    }
    let KeyTerms { scopes, limits, capture_until, .. } = key.terms;
    let capture = capture_until.is_some_and(|until| now < until);
    Ok(Ok(ApiKey { prefix: key.prefix, name: key.name, subscription: key.subscription, scopes, limits, capture }))
}

/// Writes down that a key is used. Losing it loses nothing.
async fn note_use(app: &App, key: &StoredKey, etag: Etag) {
    let now = app.clock.now();
    if key.last_used.is_some_and(|last| now.duration_since(last) < USED_EVERY) {
        return;
    }
    let used = StoredKey { last_used: Some(now), ..key.clone() };
    if let Ok(write) = Write::replace(ROW, &used, etag)
        && let Err(error) = app.rows.write(KEYS, &key.prefix, vec![write]).await
    {
        tracing::debug!(key = key.prefix, %error, "the use of a key was not noted");
    }
}
