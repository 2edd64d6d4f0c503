//! What was sent to an endpoint, and what came of it.

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::app::App;
use crate::callbacks::model::delivery::Delivery;
use crate::callbacks::model::endpoint::Endpoint;
use crate::callbacks::repo;
use crate::foundation::ids::EventId;
use crate::foundation::problem::Problem;

/// A delivery with what is sent.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    #[serde(flatten)]
    pub delivery: Delivery,
    /// None: the event has ended.
    pub body: Option<String>,
}

/// The newest deliveries of an endpoint, behind `after`; `true`: there may be more.
pub async fn deliveries(
    app: &App,
    endpoint: &Endpoint,
    after: Option<&str>,
    limit: usize,
) -> Result<(Vec<Told>, bool), Problem> {
    let after = after.map(str::parse::<EventId>).transpose().map_err(|_| Problem::not_found())?;
    let (found, more) = repo::deliveries(app, &endpoint.id, after.as_ref(), limit).await?;
    let told = found.into_iter().map(|delivery| async move {
        let event = repo::event(app, &endpoint.owner, &delivery.event).await?;
        Ok::<_, Problem>(Told { delivery, body: event.map(|(event, _)| event.body) })
    });
    Ok((try_join_all(told).await?, more))
}
