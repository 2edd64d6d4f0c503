//! The playground: a person tries the subscription's models in the browser, sees what each call used and costs, and
//! takes along the code that makes the same call.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::samples;
use super::subscriptions::own;
use super::view::subscription_view;
use crate::ai::{self, Kind};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json, uncached};
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::{ApiKey, Customer, Limits};
use crate::pages::{money, page};

/// What there is to try, and the kind of model that does it.
const TOOLS: [(&str, Kind); 4] =
    [("chat", Kind::Chat), ("transcribe", Kind::Transcription), ("speak", Kind::Speech), ("analyze", Kind::Vision)];
pub(super) const VOICES: [&str; 11] =
    ["alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse"];
/// Formats of speech that browsers play.
const SPOKEN: [&str; 3] = ["mp3", "wav", "opus"];
const TRANSCRIPTS: [&str; 4] = ["json", "verbose_json", "srt", "vtt"];
pub(super) const FEATURES: [&str; 5] = ["caption", "tags", "objects", "read", "people"];
/// Digits of a price behind the point; a call may cost far less than a cent.
const PRICE_DIGITS: u32 = 8;
/// What stands in the place of a key's prefix.
pub(super) const PLAYGROUND: &str = "playground";
/// Longer than any id of a request.
const LONGEST_ID: usize = 64;

/// `GET /portal/subscriptions/{id}/playground`.
pub async fn show(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let api = app.settings.absolute("/v1");
    let tools: Vec<Value> = TOOLS.into_iter().filter_map(|(name, kind)| tool(&app, name, kind, &api)).collect();
    let active = row.facts.status == Status::Subscribed;
    let content = json!({
        "s": subscription_view(&row, &[]),
        "address": format!("/portal/subscriptions/{}/playground", row.id),
        "active": active,
        "tools": if active { tools } else { Vec::new() },
        "voices": VOICES,
        "spoken": SPOKEN,
        "transcripts": TRANSCRIPTS,
        "features": FEATURES,
    });
    page(&app, &request, Some(&customer.session), "portal_playground.html", content)
}

/// A tool with its models; None where no deployment serves it.
fn tool(app: &App, name: &str, kind: Kind, api: &str) -> Option<Value> {
    let models = models(app, kind);
    let first = models.first()?;
    Some(json!({ "name": name, "models": models, "samples": samples::of(name, first, api) }))
}

/// The names of the models of a kind.
pub(super) fn models(app: &App, kind: Kind) -> Vec<&str> {
    let all = app.ai.iter().flat_map(|ai| ai.deployments.all());
    let mut models: Vec<&str> = all.filter(|one| one.kind == kind).map(|one| one.model.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    models
}

/// `GET /portal/subscriptions/{id}/playground/price?request=`: what a call of the subscription used and costs at list
/// price, once it is recorded.
pub async fn price(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let id = request.query("request").unwrap_or_default();
    let known = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let priced = if known { priced(&app, &row, &id).await? } else { None };
    Ok(uncached(json(StatusCode::OK, &priced.unwrap_or_else(|| json!({ "recorded": false })))))
}

/// What a call used and costs at list price; None when nothing is recorded of it.
async fn priced(app: &Arc<App>, row: &Subscription, call: &str) -> Result<Option<Value>, Problem> {
    let priced = ai::price::of(app, row.id, call).await.map_err(unpriced)?;
    Ok(priced.map(|priced| {
        let used = priced.used.parts().map(|(part, amount)| json!({ "part": part, "amount": amount }));
        let price = money(&priced.price.round_dp(PRICE_DIGITS).normalize().to_string(), &priced.currency);
        json!({ "recorded": true, "used": used.collect::<Vec<_>>(), "price": price })
    }))
}

fn unpriced(error: crate::metering::RecordError) -> Problem {
    Problem::unavailable("metering_unavailable", "The price can not be told at the moment.").caused_by(error)
}

/// Who calls: the person's own subscription, without the limits of any key.
async fn caller(app: &App, request: &Request, customer: &Customer) -> Result<ApiKey, Problem> {
    Ok(payer(&own(app, request, customer).await?))
}

/// The person's own subscription in the place of a key.
pub(super) fn payer(row: &Subscription) -> ApiKey {
    let (prefix, name) = (PLAYGROUND.to_owned(), "Playground".to_owned());
    ApiKey { prefix, name, subscription: row.id, scopes: None, limits: Limits::default(), capture: false }
}

/// `POST /portal/subscriptions/{id}/playground/chat`; this and the next ones as their namesakes under `/v1`.
pub async fn chat(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let key = caller(&app, &request, &customer).await?;
    ai::handlers::chat(app, request, key).await
}

pub async fn transcribe(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let key = caller(&app, &request, &customer).await?;
    ai::handlers::transcriptions(app, request, key).await.map(uncached)
}

pub async fn speak(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let key = caller(&app, &request, &customer).await?;
    ai::handlers::speech(app, request, key).await
}

pub async fn analyze(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let key = caller(&app, &request, &customer).await?;
    ai::handlers::analyze(app, request, key).await.map(uncached)
}
