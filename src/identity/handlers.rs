//! Sign-in, its callback, and sign-out.

use std::sync::Arc;

use http::header::SET_COOKIE;

use super::access::Customer;
use super::sessions;
use super::sign_in::{PATIENCE, Pending, SignInClient, SignInError, local_path};
use crate::app::App;
use crate::foundation::problem::{JobError, Problem};
use crate::foundation::secret::same_secret;
use crate::foundation::web::{Form, Request, Response, redirect, uncached, with_header};
use crate::store::expiry::{self, KEY};
use crate::store::{self, Table, Write};

const PENDING: Table = Table("SignIns");

fn client(app: &App) -> Result<&SignInClient, Problem> {
    app.sign_in.as_ref().ok_or_else(|| {
        Problem::unavailable("sign_in_off", "Sign-in is switched off.")
            .remedy("The operator of this service sets MARKETPLACE_MODE=true to switch it on.")
    })
}

fn problem(error: SignInError) -> Problem {
    match error {
        SignInError::Keys(_) => {
            Problem::unavailable("sign_in_unreachable", "Microsoft's sign-in can not be reached at the moment.")
                .caused_by(error)
        }
        SignInError::Exchange(_) | SignInError::Token(_) => {
            Problem::bad_request("sign_in_failed", "The sign-in did not succeed.")
                .remedy("Start again from the page you wanted to open.")
                .caused_by(error)
        }
        SignInError::Settings(_) => Problem::internal(error),
    }
}

/// `GET /sign-in?return=`: to Microsoft's sign-in page.
pub async fn sign_in(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let return_to = local_path(&request.query("return").unwrap_or_default());
    let (address, state, pending) =
        client(&app)?.begin(return_to, app.clock.now(), &*app.random).await.map_err(problem)?;
    let cookie = sessions::set_cookie(&app, sessions::cookie_name(&app, "sign-in"), &pending.browser, PATIENCE);
    expiry::insert(&*app.rows, PENDING, &state, store::encode(&pending)?, pending.expires).await?;
    Ok(uncached(with_header(redirect(&address), SET_COOKIE, &cookie)))
}

/// `GET /sign-in/callback?code=&state=`: back from Microsoft.
pub async fn callback(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let again = || {
        Problem::bad_request("sign_in_failed", "The sign-in did not succeed.")
            .remedy("Start again from the page you wanted to open.")
    };
    if let Some(error) = request.query("error") {
        let said = request.query("error_description").unwrap_or_default();
        tracing::info!(error = %error.chars().take(60).collect::<String>(), description = %said.chars().take(200).collect::<String>(), "Entra refused a sign-in");
        return Err(again());
    }
    let (Some(code), Some(state)) = (request.query("code"), request.query("state")) else { return Err(again()) };
    let found = match store::load::<Pending>(&*app.rows, PENDING, &state, KEY).await {
        Err(store::StoreError::InvalidKey(_)) => None,
        other => other?,
    };
    let Some((pending, etag)) = found else { return Err(again()) };
    let browser = request.cookie(&sessions::cookie_name(&app, "sign-in")).unwrap_or_default();
    if !same_secret(&browser, &pending.browser) || pending.expires < app.clock.now() {
        return Err(again());
    }
    // Whoever deletes the row uses the code; a second arrival of the same answer does not.
    match app.rows.write(PENDING, &state, vec![Write::Delete { key: KEY.into(), etag: Some(etag) }]).await {
        Err(store::StoreError::Precondition) => return Err(again()),
        other => other?,
    };
    let user = client(&app)?.finish(code, &pending, app.clock.now()).await.map_err(problem)?;
    // The tenant only: nothing of a person stands in the log.
    tracing::info!(tenant = %user.tenant_id, "signed in");
    let cookie = sessions::start(&app, user).await?;
    Ok(uncached(with_header(redirect(&pending.return_to), SET_COOKIE, &cookie)))
}

/// `POST /sign-out`, with the field `return` for where to go then.
pub async fn sign_out(app: Arc<App>, request: Request, _customer: Customer, form: Form) -> Result<Response, Problem> {
    let cookie = sessions::end(&app, &request).await?;
    // Somebody who only switches accounts comes back to the page that asked for another one.
    let goal = if form.get("return").is_empty() { "/".to_owned() } else { local_path(form.get("return")) };
    Ok(uncached(with_header(redirect(&goal), SET_COOKIE, &cookie)))
}

/// Timer `PurgeExpired`: removes sessions, sign-ins and visits that are over.
pub async fn purge_expired(app: Arc<App>) -> Result<(), JobError> {
    let removed = expiry::purge(&*app.rows, app.clock.now()).await.map_err(JobError::retry)?;
    if removed > 0 {
        tracing::info!(rows = removed, "removed what has expired");
    }
    Ok(())
}
