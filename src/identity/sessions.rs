//! Sessions in the row store. The browser holds a random token; we hold its SHA-256, so a read of the store gives
//! nobody a session.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::access::User;
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::web::Request;
use crate::store::expiry::{self, KEY};
use crate::store::{self, StoreError, Table, Write};

const SESSIONS: Table = Table("Sessions");
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
    hex(&Sha256::digest(token.as_bytes()))
}

/// Starts a session and gives the `Set-Cookie` value.
pub async fn start(app: &App, user: User) -> Result<String, StoreError> {
    let token = app.random.token();
    let session = Session { user, csrf: app.random.token(), expires: app.clock.now() + LIFE };
    let partition = partition(&token);
    expiry::insert(&*app.rows, SESSIONS, &partition, store::encode(&session)?, session.expires).await?;
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

/// Ends every session of a person; gives how many those were.
pub async fn end_all(app: &App, email: &str) -> Result<usize, StoreError> {
    let mut ended = 0;
    for partition in expiry::live(&*app.rows, SESSIONS, app.clock.now(), LIFE).await? {
        let Some((session, _)) = store::load::<Session>(&*app.rows, SESSIONS, &partition, KEY).await? else { continue };
        if session.user.email.eq_ignore_ascii_case(email) {
            app.rows.write(SESSIONS, &partition, vec![Write::Delete { key: KEY.into(), etag: None }]).await?;
            ended += 1;
        }
    }
    Ok(ended)
}
