//! Sessions in the row store. The browser holds a random token; we hold its SHA-256, so a read of the store gives
//! nobody a session.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access::User;
use crate::app::App;
use crate::foundation::web::Request;
use crate::store::{self, RowRange, StoreError, Table, Write};

const SESSIONS: Table = Table("Sessions");
/// Rows of [`SESSIONS`] by the hour of their end, so that the daily timer finds what is over.
const ENDS: Table = Table("SessionEnds");
const KEY: &str = "session";
/// A working day.
const LIFE: SignedDuration = SignedDuration::from_hours(10);

/// Somebody signed in with one browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub user: User,
    /// Must come back with every form.
    pub csrf: String,
    pub expires: Timestamp,
}

/// `__Host-` binds the cookie to this host and to https; plain-http loopback can not have it.
pub fn cookie_name(app: &App, purpose: &str) -> String {
    if app.settings.is_https() { format!("__Host-mediagenie-{purpose}") } else { format!("mediagenie-{purpose}") }
}

/// The value of a `Set-Cookie` header.
pub fn set_cookie(app: &App, name: String, value: &str, life: SignedDuration) -> String {
    cookie::Cookie::build((name, value.to_owned()))
        .path("/")
        .http_only(true)
        .secure(app.settings.is_https())
        .same_site(cookie::SameSite::Lax)
        .max_age(cookie::time::Duration::seconds(life.as_secs()))
        .build()
        .to_string()
}

fn partition(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hour(at: Timestamp) -> String {
    at.to_string().chars().take(13).collect::<String>().replace('T', ":")
}

/// Starts a session and gives the `Set-Cookie` value.
pub async fn start(app: &App, user: User) -> Result<String, StoreError> {
    let token = app.random.token();
    let session = Session { user, csrf: app.random.token(), expires: app.clock.now() + LIFE };
    let partition = partition(&token);
    app.rows.write(ENDS, &hour(session.expires), vec![Write::upsert(partition.as_str(), &())?]).await?;
    app.rows.write(SESSIONS, &partition, vec![Write::insert(KEY, &session)?]).await?;
    Ok(set_cookie(app, cookie_name(app, "session"), &token, LIFE))
}

/// The live session of a request, if it has one.
pub async fn of(app: &App, request: &Request) -> Result<Option<Session>, StoreError> {
    let Some(token) = request.cookie(&cookie_name(app, "session")) else { return Ok(None) };
    let found = store::load::<Session>(&*app.rows, SESSIONS, &partition(&token), KEY).await?;
    Ok(found.map(|(session, _)| session).filter(|session| session.expires > app.clock.now()))
}

/// Ends the session of a request and gives the `Set-Cookie` value that forgets it.
pub async fn end(app: &App, request: &Request) -> Result<String, StoreError> {
    let name = cookie_name(app, "session");
    if let Some(token) = request.cookie(&name) {
        app.rows.write(SESSIONS, &partition(&token), vec![Write::Delete { key: KEY.into(), etag: None }]).await?;
    }
    Ok(set_cookie(app, name, "", SignedDuration::ZERO))
}

/// Removes sessions that ended in the last two days; the daily timer calls it. Gives how many.
pub async fn purge_expired(app: &App) -> Result<usize, StoreError> {
    let mut removed = 0;
    for back in 1..=48 {
        let hour = hour(app.clock.now() - SignedDuration::from_hours(back));
        loop {
            let page = app.rows.query(ENDS, &hour, &RowRange::all(), 100).await?;
            for row in &page.rows {
                app.rows.write(SESSIONS, &row.key, vec![Write::Delete { key: KEY.into(), etag: None }]).await?;
                app.rows.write(ENDS, &hour, vec![Write::Delete { key: row.key.clone(), etag: None }]).await?;
                removed += 1;
            }
            if !page.more {
                break;
            }
        }
    }
    Ok(removed)
}
