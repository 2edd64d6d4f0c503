//! Who may make a call now: an active subscription, a key with the scope, a model that the plan can bill, room within the
//! limits, and enough of every budget for the worst that the call can cost.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::SignedDuration;
use rust_decimal::Decimal;

use super::budgets::{self, ALL, Claim, Exhausted};
use super::gate::{Full, Inside};
use super::stops;
use crate::ai::client::AiClient;
use crate::ai::model::budget::{HELD, Rate, Unit, Window};
use crate::ai::model::deployments::{Deployment, Kind};
use crate::ai::model::used::Used;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::problem::Problem;
use crate::foundation::recent::Recent;
use crate::foundation::web::{Response, with_header};
use crate::fulfillment::model::facts::Status;
use crate::identity::{ApiKey, Scope};
use crate::metering::model::resource::Resource;
use crate::store::StoreError;
use crate::{fulfillment, metering};

use super::meter::Call;

/// When a limit of calls at the same time is reached, one may end at any moment.
const PARALLEL_WAIT: Duration = Duration::from_secs(1);

/// What a call holds while it is under way: its place among the limits, and its part of the budgets.
#[derive(Debug)]
pub struct Hold {
    app: Arc<App>,
    pub inside: Inside,
    /// None: no budget is concerned, or it is settled.
    claim: Option<Claim>,
}

impl Hold {
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Puts the truth in the place of what was reserved.
    pub async fn settle(&mut self, used: &Used) {
        self.inside.correct(used.tokens(), self.app.clock.now());
        let Some(claim) = self.claim.take() else { return };
        if budgets::settle(&self.app, &claim, used).await.is_err() {
            let (app, used) = (Arc::clone(&self.app), used.clone());
            tokio::spawn(async move { settle_later(&app, &claim, &used).await });
        }
    }

    /// Lets the reservation stand when the call ends, because the work goes on elsewhere.
    pub fn leave(&mut self) {
        self.claim = None;
    }

    /// Whether a budget relies on the worst case that was told.
    pub fn is_budgeted(&self) -> bool {
        self.claim.is_some()
    }
}

impl Drop for Hold {
    /// A call that ends without having been billed.
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else { return };
        let app = Arc::clone(&self.app);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if budgets::settle(&app, &claim, &Used::default()).await.is_err() {
                    settle_later(&app, &claim, &Used::default()).await;
                }
            });
        }
    }
}

/// The store was away. If it stays away, the worst case stays reserved until it expires; then the ledger tells the truth.
async fn settle_later(app: &Arc<App>, claim: &Claim, used: &Used) {
    for seconds in [1, 5, 25, 125] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if budgets::settle(app, claim, used).await.is_ok() {
            return;
        }
    }
    tracing::warn!(call = claim.call, "a budget could not be settled");
}

/// What a caller wants to do, and what it may take.
pub struct Intent<'a> {
    /// What its records begin with: the request's id, or a job's and its item's.
    pub request: &'a str,
    pub key: &'a ApiKey,
    pub model: &'a str,
    pub kind: Kind,
    /// Tokens, about: what limits by the minute are asked for first.
    pub tokens: u64,
    /// The most that a deployment can use for it.
    pub worst: &'a (dyn Fn(&Deployment) -> Used + Sync),
    pub reserving: Reserving,
}

/// How the worst case of a call is held in its budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserving {
    /// As long as the call goes on.
    ForCall,
    /// For work that goes on without us; see [`Hold::leave`].
    ForDays,
    /// It was reserved when that work was handed over, and the work is done: it is paid for, come what may.
    Before,
}

/// A service has two days for what it is handed over.
pub const HANDED_OVER: SignedDuration = SignedDuration::from_hours(48);

pub fn client(app: &App) -> Result<&AiClient, Problem> {
    app.ai.as_ref().ok_or_else(|| {
        Problem::not_found().remedy("The operator of this service has named no deployments (AI_DEPLOYMENTS_FILE).")
    })
}

/// What a key must be for.
pub fn scope(kind: Kind) -> Scope {
    match kind {
        Kind::Chat | Kind::Responses => Scope::Chat,
        Kind::Embeddings => Scope::Embeddings,
        Kind::Transcription | Kind::BatchTranscription | Kind::Translation | Kind::Speech => Scope::Audio,
        Kind::Image => Scope::Images,
        Kind::Vision => Scope::Vision,
    }
}

/// The plan of a subscription that is served now.
pub async fn served(app: &App, subscription: SubscriptionId) -> Result<String, Problem> {
    let row = fulfillment::find(app, subscription).await?;
    match row {
        Some(row) if row.facts.status == Status::Subscribed => Ok(row.facts.plan_id),
        Some(row) if row.facts.status == Status::Suspended => Err(Problem::forbidden(
            "subscription_suspended",
            "The subscription is suspended; usually a payment has failed.",
        )
        .remedy("The purchaser settles it in the Azure portal; its keys work again by themselves.")),
        _ => Err(Problem::forbidden("subscription_ended", "The subscription is not active.")
            .remedy("Use a key of an active subscription.")),
    }
}

/// What a subscription's calls of a model cost, and under which plan.
#[derive(Debug)]
pub struct Terms {
    plan: String,
    pub rates: Vec<Rate>,
    pub currency: String,
}

/// Terms read a moment ago, with how often subscriptions had been written here before: what this process changes counts at
/// once.
pub type KnownTerms = Recent<(SubscriptionId, String, Kind), (u64, Arc<Terms>)>;

/// Whether a key may call a model at all, limits and budgets apart; and by which deployments, on which terms.
pub async fn allowed(
    app: &Arc<App>,
    key: &ApiKey,
    model: &str,
    kind: Kind,
) -> Result<(Arc<Terms>, Vec<Arc<Deployment>>), Problem> {
    let ai = client(app)?;
    if !key.may(scope(kind)) {
        let title = format!("This key is not for `{}`.", scope(kind).name());
        return Err(Problem::forbidden("scope_missing", title).remedy("Use a key with this scope."));
    }
    let (now, changes) = (app.clock.now(), app.changes.count());
    let subject = (key.subscription, model.to_owned(), kind);
    let known = ai.terms.get(&subject, now).filter(|(then, _)| *then == changes).map(|(_, terms)| terms);
    let plan = match &known {
        Some(_) => String::new(),
        None => served(app, key.subscription).await?,
    };
    let deployments = ai.deployments.of(model, kind);
    let Some(first) = deployments.first() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "model_not_found", "There is no such model for this address.")
            .remedy("GET /v1/models lists the models.")
            .field("model"));
    };
    stops::check(app, model, key.subscription).await?;
    let terms = match known {
        Some(terms) => terms,
        None => {
            let (rates, currency) = rates(app, key, first).await?;
            let terms = Arc::new(Terms { plan, rates, currency });
            ai.terms.put(subject, (changes, Arc::clone(&terms)), now);
            terms
        }
    };
    Ok((terms, deployments))
}

/// Lets a call in, with the deployments that may serve it.
pub async fn admit(app: &Arc<App>, intent: &Intent<'_>) -> Result<(Call, Vec<Arc<Deployment>>), Problem> {
    let (ai, key) = (client(app)?, intent.key);
    let done = intent.reserving == Reserving::Before;
    let (terms, deployments) = if done {
        // The work is done: no limit, no stop and no status takes it back.
        let deployments = ai.deployments.of(intent.model, intent.kind);
        let known = match deployments.first() {
            Some(first) => rates(app, key, first).await.ok(),
            None => None,
        };
        let (rates, currency) = known.unwrap_or_else(|| (Vec::new(), "USD".to_owned()));
        (Arc::new(Terms { plan: String::new(), rates, currency }), deployments)
    } else {
        allowed(app, key, intent.model, intent.kind).await?
    };
    let subjects = if done {
        Vec::new()
    } else {
        vec![
            (format!("subscription {}", key.subscription), ai.deployments.limits.of(&terms.plan)),
            (format!("key {}", key.prefix), key.limits.clone()),
        ]
    };
    let inside = ai.gate.enter(subjects, intent.tokens, app.clock.now()).map_err(limited)?;
    let worst = deployments.iter().map(|deployment| (intent.worst)(deployment)).reduce(larger).unwrap_or_default();
    let held = if intent.reserving == Reserving::ForCall { HELD } else { HANDED_OVER };
    let claim =
        Claim { call: intent.request.to_owned(), subscription: key.subscription, key: key.prefix.clone(), held };
    let budgeted = match intent.reserving {
        Reserving::Before => true,
        Reserving::ForCall | Reserving::ForDays => reserve(app, &claim, &worst, &terms).await?,
    };
    let hold = Hold { app: Arc::clone(app), inside, claim: budgeted.then_some(claim) };
    let call = Call {
        request: intent.request.to_owned(),
        subscription: key.subscription,
        key: key.prefix.clone(),
        model: intent.model.to_owned(),
        kind: intent.kind,
        began: app.clock.now(),
        terms,
        hold,
        served: false,
        captured: None,
    };
    Ok((call, deployments))
}

/// Reserves the worst case of a call; `true`: there is a budget. What the ledger has already, because a process died
/// between the record and the answer, is not refused any more.
async fn reserve(app: &Arc<App>, claim: &Claim, worst: &Used, terms: &Terms) -> Result<bool, Problem> {
    let unasked = |error: StoreError| {
        Problem::unavailable("budget_unavailable", "The budget could not be asked at the moment.").caused_by(error)
    };
    match budgets::reserve(app, claim, worst, &terms.rates).await.map_err(unasked)? {
        Ok(budgeted) => Ok(budgeted),
        Err(exhausted) => {
            let recorded = super::price::used(app, claim.subscription, &claim.call).await.map_err(unasked)?;
            if recorded == Used::default() { Err(refused(*exhausted, &terms.currency)) } else { Ok(false) }
        }
    }
}

/// What each part counts on, and its list price.
async fn rates(app: &App, key: &ApiKey, deployment: &Deployment) -> Result<(Vec<Rate>, String), Problem> {
    let metered: Vec<_> = crate::ai::model::used::Part::ALL
        .into_iter()
        .filter_map(|part| Some((part, deployment.meter(part)?)))
        .collect();
    let meters: Vec<&str> = metered.iter().map(|(_, meter)| *meter).collect();
    let prices = metering::admits(app, &Resource::Subscription(key.subscription), &meters)
        .await
        .map_err(|error| {
            Problem::unavailable("metering_unavailable", "The call could not be metered at the moment.")
                .caused_by(error)
        })?
        .map_err(|refusal| {
            Problem::forbidden("model_not_in_plan", "The plan of this subscription does not include this model.")
                .remedy(refusal.message)
                .field("model")
        })?;
    let currency = prices.iter().find(|price| !price.currency.is_empty()).map_or("USD", |price| &price.currency);
    let currency = currency.to_owned();
    let rates = metered.into_iter().zip(prices);
    let rates = rates.map(|((part, meter), price)| Rate { part, meter: meter.to_owned(), price: price.unit });
    Ok((rates.collect(), currency))
}

/// The larger of each part.
fn larger(left: Used, right: Used) -> Used {
    crate::ai::model::used::Part::ALL
        .into_iter()
        .fold(Used::default(), |sum, part| sum.and(part, left.get(part).max(right.get(part))))
}

fn limited(full: Full) -> Problem {
    let (title, wait) = match full {
        Full::Requests { limit, wait } => (format!("More than {limit} requests per minute."), wait),
        Full::Tokens { limit, wait } => (format!("More than {limit} tokens per minute."), wait),
        Full::Parallel { limit } => (format!("More than {limit} calls at the same time."), PARALLEL_WAIT),
    };
    let code = if matches!(full, Full::Parallel { .. }) { "concurrency_exceeded" } else { "rate_limit_exceeded" };
    let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, title).remedy("Try again in a moment.");
    problem.retry_after = Some(wait.clamp(Duration::from_millis(10), Duration::from_secs(60)));
    problem
}

fn refused(exhausted: Exhausted, currency: &str) -> Problem {
    let Exhausted { row, over, budget } = exhausted;
    let whose = if row == ALL { "subscription" } else { "key" };
    let unit = match &budget.unit {
        Unit::Money => currency.to_owned(),
        Unit::Meter(meter) => format!("units of {meter}"),
    };
    let until = match budget.window {
        Window::Day => " today",
        Window::Month => " this month",
        Window::Never => "",
    };
    let shown = |amount: Decimal| amount.round_dp(6).normalize();
    let (left, needed) = (shown(over.left), shown(over.needed));
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "insufficient_quota",
        format!("The budget of this {whose} has {left} {unit} left{until}, and this call may take {needed}."),
    )
    .remedy("Ask for less (a lower `max_completion_tokens`), or raise the budget in the portal.")
    .field("max_completion_tokens")
    .final_answer()
}

/// Tells what is left of the limits, as OpenAI's services do (contract 6.3).
pub fn with_limits(mut response: Response, hold: &Inside) -> Response {
    for (kind, left) in [("requests", hold.requests_left), ("tokens", hold.tokens_left)] {
        let Some(left) = left else { continue };
        let reset = format!("{}ms", left.reset.as_millis());
        for (what, value) in
            [("limit", left.limit.to_string()), ("remaining", left.remaining.to_string()), ("reset", reset)]
        {
            if let Ok(name) = http::HeaderName::try_from(format!("x-ratelimit-{what}-{kind}")) {
                response = with_header(response, name, &value);
            }
        }
    }
    response
}
