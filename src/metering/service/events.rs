//! What staff do about single usage events: send again, give up.

use std::sync::Arc;

use super::look::{self, MeteringError, TRIES, Work, overtaken};
use crate::app::App;
use crate::metering::model::ledger::{EventKey, Ledger};
use crate::metering::model::resource::Resource;
use crate::metering::repo;

/// Sends an event again at once, under another plan if one is named. `false`: it can not be, any more.
pub async fn resend(
    app: &Arc<App>,
    resource: &Resource,
    key: &EventKey,
    plan: Option<&str>,
    note: &str,
) -> Result<bool, MeteringError> {
    let now = app.clock.now();
    let done = change(app, resource, |ledger| ledger.resend(key, plan, note, now)).await?;
    if done {
        look::look(app, resource).await?;
    }
    Ok(done)
}

/// Gives an event up and books the loss. `false`: it can not be, any more.
pub async fn write_off(app: &Arc<App>, resource: &Resource, key: &EventKey, note: &str) -> Result<bool, MeteringError> {
    let now = app.clock.now();
    let done = change(app, resource, |ledger| ledger.write_off(key, note, now)).await?;
    if done {
        look::look(app, resource).await?;
    }
    Ok(done)
}

async fn change(app: &App, resource: &Resource, act: impl Fn(&mut Ledger) -> bool) -> Result<bool, MeteringError> {
    let key = resource.key();
    for _ in 0..TRIES {
        let Some((ledger, etags)) = repo::ledger(app, &key).await? else { return Ok(false) };
        let mut work = Work { key: key.clone(), ledger, etags, mark: None, send: Vec::new() };
        if !act(&mut work.ledger) {
            return Ok(false);
        }
        match repo::save(app, &mut work.ledger, &mut work.etags).await {
            Ok(()) => return Ok(true),
            Err(error) if overtaken(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(MeteringError::Contention(key))
}
