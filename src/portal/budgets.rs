//! The budgets of a subscription and of its keys: how much may be used, how much is, and what happens at the limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::subscriptions::own;
use super::view::subscription_view;
use crate::ai::{Budget, Unit, Window, budgets};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment;
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::{Customer, StoredKey, api_keys};
use crate::pages::page;

const MONEY: &str = "money";
const WINDOWS: [(&str, Window); 3] = [("month", Window::Month), ("day", Window::Day), ("never", Window::Never)];
/// Digits before and behind the point of a limit.
const DIGITS: (usize, usize) = (12, 6);

/// Whose budget it is, as the address says: the whole subscription's, or a live key's.
enum Whose {
    All,
    Key(Box<StoredKey>),
}

impl Whose {
    fn row(&self) -> String {
        match self {
            Self::All => budgets::ALL.to_owned(),
            Self::Key(key) => budgets::row_of_key(&key.prefix),
        }
    }

    /// The end of its address, and of the ids of its fields.
    fn at(&self) -> &str {
        match self {
            Self::All => budgets::ALL,
            Self::Key(key) => &key.prefix,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Key(key) => Some(&key.name),
        }
    }
}

/// A form that was refused, whose budget it was about, and what is wrong with it.
type Refused<'a> = Option<(&'a str, &'a Form, &'a Problem)>;

/// `GET /portal/subscriptions/{id}/budgets`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    show(&app, &request, &customer, &row, None).await
}

/// `POST /portal/subscriptions/{id}/budgets/{budget}`: sets or changes it.
pub async fn set(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    change(&app, &request, &customer, &form, "saved", |app| wanted(app, &form).map(Some)).await
}

/// `POST /portal/subscriptions/{id}/budgets/{budget}/remove`.
pub async fn remove(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    change(&app, &request, &customer, &form, "removed", |_| Ok(None)).await
}

async fn change(
    app: &App,
    request: &Request,
    customer: &Customer,
    form: &Form,
    done: &str,
    wanted: impl FnOnce(&App) -> Result<Option<Budget>, Problem>,
) -> Result<Response, Problem> {
    let row = own(app, request, customer).await?;
    let whose = whose(app, &row).await?.into_iter().find(|one| one.at() == request.param("budget"));
    let whose = whose.ok_or_else(Problem::not_found)?;
    let wanted = if may_change(&row) {
        wanted(app)
    } else {
        Err(Problem::conflict("budgets_need_active", "The subscription has no budgets now.")
            .remedy("The page of the subscription says what can be done."))
    };
    match wanted {
        Ok(wanted) => {
            budgets::set(app, row.id, &whose.row(), wanted).await?;
            Ok(uncached(redirect(&format!("{}?{done}={}", address(&row), whose.at()))))
        }
        Err(problem) if !request.wants_page() => Err(problem),
        Err(problem) => {
            let mut response = show(app, request, customer, &row, Some((whose.at(), form, &problem))).await?;
            *response.status_mut() = problem.status;
            Ok(response)
        }
    }
}

fn address(row: &Subscription) -> String {
    format!("/portal/subscriptions/{}/budgets", row.id)
}

fn may_change(row: &Subscription) -> bool {
    matches!(row.facts.status, Status::Subscribed | Status::Suspended)
}

/// Everything that can have a budget.
async fn whose(app: &App, row: &Subscription) -> Result<Vec<Whose>, Problem> {
    let now = app.clock.now();
    let keys = api_keys::list(app, row.id).await?;
    Ok(std::iter::once(Whose::All)
        .chain(keys.into_iter().filter(|key| key.is_live(now)).map(|key| Whose::Key(Box::new(key))))
        .collect())
}

/// The budget that a form asks for.
fn wanted(app: &App, form: &Form) -> Result<Budget, Problem> {
    let choose = |field: &'static str| {
        Problem::bad_request("invalid_budget_choice", "This can not be chosen.")
            .field(field)
            .remedy("Choose one of the options.")
    };
    let unit = match form.get("unit") {
        MONEY => Unit::Money,
        meter if app.catalogue.meters.contains_key(meter) => Unit::Meter(meter.to_owned()),
        _ => return Err(choose("unit")),
    };
    let window = WINDOWS.iter().find(|(name, _)| *name == form.get("window")).ok_or_else(|| choose("window"))?.1;
    let (soft, hard) = (amount(form.get("soft"), "soft")?, amount(form.get("hard"), "hard")?);
    if soft.is_none() && hard.is_none() {
        return Err(Problem::bad_request("budget_without_limit", "A budget needs a limit.")
            .field("hard")
            .remedy("Enter at least one of the two limits."));
    }
    if soft > hard && hard.is_some() {
        return Err(Problem::bad_request("budget_soft_above_hard", "The warning would come too late.")
            .field("soft")
            .remedy("Enter an amount that is not above the hard limit."));
    }
    Ok(Budget::new(unit, window, soft, hard, app.clock.now()))
}

/// A positive decimal; None for an empty field.
fn amount(text: &str, field: &'static str) -> Result<Option<Decimal>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let fits = plain && !whole.is_empty() && whole.len() <= DIGITS.0 && fraction.len() <= DIGITS.1;
    let number = Some(text).filter(|_| fits).and_then(|text| text.parse::<Decimal>().ok());
    number.filter(|number| *number > Decimal::ZERO).map(Some).ok_or_else(|| {
        Problem::bad_request("invalid_budget_amount", "This is no amount.")
            .field(field)
            .remedy("Enter a number above 0 such as 250 or 12.50, with at most 6 decimals.")
    })
}

/// Gives the successor of a key the same budget; it begins to count anew. `false`: there was none.
pub(super) async fn inherit(app: &App, row: &Subscription, from: &str, to: &str) -> Result<bool, Problem> {
    let known = budgets::list(app, row.id).await?.remove(&budgets::row_of_key(from));
    let Some(Budget { unit, window, soft, hard, .. }) = known else { return Ok(false) };
    let budget = Budget::new(unit, window, soft, hard, app.clock.now());
    budgets::set(app, row.id, &budgets::row_of_key(to), Some(budget)).await?;
    Ok(true)
}

/// Budgets that have reached a limit, for the subscription's own page: whose, and which limit.
pub(super) async fn warnings(app: &App, row: &Subscription) -> Result<Vec<Value>, Problem> {
    let known = budgets::list(app, row.id).await?;
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let now = app.clock.now();
    let whose = whose(app, row).await?;
    let reached = whose.iter().filter_map(|one| {
        let state = state(known.get(&one.row())?, now);
        (state != "fine").then(|| json!({ "key": one.name(), "state": state }))
    });
    Ok(reached.collect())
}

/// `hard`: nothing is left; `soft`: the warning is due.
fn state(budget: &Budget, now: Timestamp) -> &'static str {
    let spent = budget.spent(now);
    if budget.hard.is_some_and(|hard| spent >= hard) {
        "hard"
    } else if budget.soft.is_some_and(|soft| spent >= soft) {
        "soft"
    } else {
        "fine"
    }
}

async fn show(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    refused: Refused<'_>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let known = budgets::list(app, row.id).await?;
    let all = whose(app, row).await?;
    let plans = fulfillment::known_plans(app, row.id).await?;
    let plan = plans.iter().find(|plan| plan.id == row.facts.plan_id);
    let currency = plan.and_then(|plan| plan.dimensions.first()).map_or("USD", |dimension| &dimension.currency);
    let about = |name: &str| {
        let at = request.query(name)?;
        all.iter().find(|one| one.at() == at).map(|one| json!({ "key": one.name() }))
    };
    let content = json!({
        "s": subscription_view(row, &plans),
        "address": address(row),
        "budgets": all.iter().map(|one| view(one, &known, now)).collect::<Vec<_>>(),
        "currency": currency,
        "meters": meters(app, &known),
        "windows": WINDOWS.map(|(name, _)| name),
        "changeable": may_change(row),
        "saved": about("saved"),
        "removed": about("removed"),
        "error": refused.map(|(at, form, problem)| json!({
            "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field, "at": at,
            "typed": { "unit": form.get("unit"), "window": form.get("window"), "soft": form.get("soft"), "hard": form.get("hard") },
        })),
    });
    page(app, request, Some(&customer.session), "portal_budgets.html", content)
}

/// The meters on which calls count, and those that a budget has already.
fn meters<'a>(app: &'a App, known: &'a BTreeMap<String, Budget>) -> Vec<&'a str> {
    let counted = |meter: &String| {
        let of_models =
            app.ai.iter().flat_map(|ai| ai.deployments.all()).any(|one| one.meters.values().any(|m| m == meter));
        of_models || known.values().any(|budget| budget.unit == Unit::Meter(meter.clone()))
    };
    app.catalogue.meters.keys().filter(|meter| counted(meter)).map(String::as_str).collect()
}

fn view(whose: &Whose, known: &BTreeMap<String, Budget>, now: Timestamp) -> Value {
    let mut view = json!({ "at": whose.at(), "key": whose.name(), "budget": null });
    let Some(budget) = known.get(&whose.row()) else { return view };
    let (spent, reserved) = (budget.spent(now), budget.reserved());
    let unit = match &budget.unit {
        Unit::Money => MONEY,
        Unit::Meter(meter) => meter,
    };
    let window = WINDOWS.iter().find(|(_, window)| *window == budget.window).map(|(name, _)| name);
    // At the beginning of a new window nothing is spent yet, though the row has not been told.
    let left = budget.hard.map(|hard| (hard - spent - reserved).max(Decimal::ZERO));
    view["budget"] = json!({
        "unit": unit, "window": window, "state": state(budget, now),
        "soft": budget.soft.map(shown), "hard": budget.hard.map(shown),
        "spent": shown(spent), "reserved": shown(reserved), "left": left.map(shown), "busy": !reserved.is_zero(),
        "bar": bar(budget, spent, reserved),
    });
    view
}

fn shown(amount: Decimal) -> String {
    amount.round_dp(6).normalize().to_string()
}

/// Where things stand on a bar from 0 to 100.
fn bar(budget: &Budget, spent: Decimal, reserved: Decimal) -> Value {
    // Without a hard limit the warning stands at four fifths.
    let full = budget.hard.unwrap_or_else(|| budget.soft.unwrap_or(Decimal::ONE) * Decimal::new(125, 2));
    let full = if budget.hard.is_some() { full } else { full.max(spent + reserved) };
    let place = |amount: Decimal| {
        let percent = amount.checked_div(full).unwrap_or(Decimal::ONE) * Decimal::ONE_HUNDRED;
        percent.clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).round_dp(2)
    };
    let (to, held) = (place(spent), place(spent + reserved));
    json!({
        "spent": to.to_string(), "reserved": (held - to).to_string(), "soft": budget.soft.map(|soft| place(soft).to_string()),
        "percent": place(spent).floor().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_plain_positive_decimal() {
        for (text, number) in
            [("1", "1"), ("12.50", "12.50"), ("0.000001", "0.000001"), ("999999999999", "999999999999")]
        {
            assert_eq!(amount(text, "soft").unwrap(), Some(number.parse().unwrap()), "{text}");
        }
        assert_eq!(amount("", "soft").unwrap(), None);
        for text in
            ["0", "0.0", "-1", "1,000", "1_000", "1e3", ".", ".5", "1.2.3", "0.0000001", "1000000000000", "∞", "USD 5"]
        {
            let problem = amount(text, "soft").unwrap_err();
            assert_eq!((problem.code, problem.field), ("invalid_budget_amount", Some("soft")), "{text}");
        }
    }

    #[test]
    fn the_bar_ends_at_the_hard_limit_or_behind_the_soft_one() {
        let now = Timestamp::UNIX_EPOCH;
        let bar = |soft: Option<i64>, hard: Option<i64>, spent: i64, reserved: i64| {
            let budget = Budget::new(Unit::Money, Window::Month, soft.map(Into::into), hard.map(Into::into), now);
            let bar = bar(&budget, spent.into(), reserved.into());
            ["spent", "reserved", "soft"].map(|name| bar[name].as_str().map(|text| text.parse::<Decimal>().unwrap()))
        };
        let at = |numbers: [i64; 3]| numbers.map(|number| Some(Decimal::from(number)));
        assert_eq!(bar(Some(80), Some(200), 50, 20), at([25, 10, 40]));
        assert_eq!(bar(Some(80), None, 50, 0), at([50, 0, 80]));
        assert_eq!(bar(Some(80), None, 160, 0), at([100, 0, 50]));
        assert_eq!(bar(None, Some(10), 30, 5), [Some(Decimal::ONE_HUNDRED), Some(Decimal::ZERO), None]);
    }
}
