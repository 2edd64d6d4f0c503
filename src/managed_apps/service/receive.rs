//! A notification arrives: it is durable before it is answered, and everything else is left to [`super::look`].

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::look;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::managed_apps::model::heard::Heard;
use crate::managed_apps::model::wire;
use crate::managed_apps::repo::{self, Application, Unread};

/// What an address may show as it is (RFC 3986, "unreserved").
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The row should be there before the message is worked on.
const AFTER_ANSWER: Duration = Duration::from_secs(1);
/// What of an unreadable body is kept.
const LONGEST_KEPT: usize = 32 * 1024;

/// Keeps what came. When this returns, nothing can be lost any more, and Azure may be answered 200. What can not be read is
/// kept, too, and refused: Azure does not send it again, and people see it.
pub async fn receive(app: &App, body: &[u8]) -> Result<Heard, Problem> {
    let now = app.clock.now();
    let heard = match wire::read(body, now) {
        Ok(heard) => heard,
        Err(unreadable) => {
            let text = String::from_utf8_lossy(&body[..body.len().min(LONGEST_KEPT)]).into_owned();
            let wrong = unreadable.to_string();
            repo::keep_unread(app, &Unread { received: now, wrong, body: text }).await?;
            let remedy = "Send what Azure sends: eventType, applicationId, eventTime, provisioningState.";
            return Err(Problem::bad_request("unreadable_notification", format!("{unreadable}."))
                .field(unreadable.field)
                .remedy(remedy));
        }
    };
    if heard.is_test() {
        return Ok(heard);
    }
    let application = Application::new(&heard);
    // Together, so that they share a commit. A message that comes before its row finds nothing and is followed by the
    // comparison.
    let (kept, listed, sent) = tokio::join!(
        repo::keep(app, &heard),
        repo::list(app, &application),
        look::request(app, &application.key, AFTER_ANSWER)
    );
    kept?;
    listed?;
    sent?;
    Ok(heard)
}

/// The address to enter in Partner Center or in the definition, without `/resource`, which Azure adds; None without a secret.
pub fn notification_address(app: &App) -> Option<String> {
    let secret = app.settings.managed_apps.secrets.first()?;
    let sig = utf8_percent_encode(secret.expose(), RESERVED);
    Some(app.settings.absolute(&format!("/marketplace/managed-app?sig={sig}")))
}

/// Calls our own address as Azure would, with a notification about an application that can not exist. The answer is a
/// status, or why there was none.
pub async fn send_test(app: &App) -> Result<String, Problem> {
    let secret = app.settings.managed_apps.secrets.first();
    let secret = secret.ok_or_else(|| Problem::unavailable("managed_apps_off", "MANAGED_APP_SECRETS is not set."))?;
    let body = serde_json::json!({
        "eventType": "PATCH",
        "applicationId": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/test/providers/Microsoft.Solutions/applications/test",
        "eventTime": app.clock.now(),
        "provisioningState": "Succeeded",
    });
    let address = app.settings.absolute("/marketplace/managed-app/resource");
    let sent = app.arm.http().post(address).query(&[("sig", secret.expose())]).json(&body).send().await;
    Ok(match sent {
        Ok(answer) => answer.status().as_u16().to_string(),
        Err(error) => error.without_url().to_string(),
    })
}
