//! A synthetic past: customers who came, tried, bought, renewed, changed their seats, were paid back and left. All of it
//! follows from the seed. Usage is not stored: any day of it can be computed by itself.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::catalogue::{self, OFFER_ID, Plan};
use super::draw::{self, days_after, midnight, months_after};
use super::facts::{Asset, Customer, Event, Machine, Meter, list_rate};
use super::names;

/// What a past is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalyticsHistory {
    pub seed: u64,
    pub customers: u32,
    /// The first day of the first month.
    pub from_month: Date,
    pub months: u32,
    /// Nobody comes late or leaves, and everybody uses every meter on every day.
    pub steady: bool,
    /// So many meters has what is metered, at most.
    pub meters: u32,
}

impl Default for AnalyticsHistory {
    /// Two years and forty customers, up to the end of January 2026.
    fn default() -> Self {
        let from_month = Date::constant(2024, 2, 1);
        Self { seed: 1, customers: 40, from_month, months: 24, steady: false, meters: 2 }
    }
}

impl AnalyticsHistory {
    /// One year with at least so many rows of ISVUsage, and hardly more.
    pub fn of_usage_rows(rows: u32, from_month: Date) -> Self {
        let (months, meters) = (12, 4);
        let days = (months_after(from_month, months) - from_month).get_days().unsigned_abs().max(365);
        let customers = rows.div_ceil(days * meters);
        Self { seed: 1, customers, from_month, months: 12, steady: true, meters }
    }

    /// The day after the last.
    pub fn end(&self) -> Date {
        months_after(self.from_month, i64::from(self.months))
    }
}

/// A past that was worked out.
#[derive(Debug)]
pub struct History {
    pub plan: AnalyticsHistory,
    pub assets: Vec<Asset>,
}

/// What a customer buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Seats,
    Flat,
    Metered,
    ManagedApp,
    Machine,
}

/// Sizes of virtual machines with their cores.
const MACHINES: &[Machine] = &[
    Machine { size: "Standard_D4s_v5", cores: 4 },
    Machine { size: "Standard_D8s_v5", cores: 8 },
    Machine { size: "Standard_E16s_v5", cores: 16 },
];

/// Seconds of a day, with room for what follows a minute later.
const DAY_BUT_MINUTES: u64 = 86_400 - 120;

impl History {
    pub fn of(plan: AnalyticsHistory) -> Self {
        let assets = (0..u64::from(plan.customers)).map(|place| asset(&plan, place)).collect();
        Self { plan, assets }
    }

    /// How much of a meter was used on a day; whole numbers, so that sums of money stay exact.
    pub fn used(&self, asset: &Asset, meter: usize, day: Date) -> Option<Decimal> {
        let place = asset.drawn?;
        let gone = asset.ended.is_some_and(|end| day > draw::day_of(end));
        if day < asset.first_day || day >= self.plan.end() || gone {
            return None;
        }
        let number = draw::mix(&[self.plan.seed, place, u64::try_from(meter).unwrap_or_default(), draw::day(day)]);
        let idle = number % 100 < 15 && !self.plan.steady;
        (!idle).then(|| Decimal::from(1 + (number >> 8) % 240))
    }
}

fn asset(plan: &AnalyticsHistory, place: u64) -> Asset {
    let pick = |what: u64| draw::mix(&[plan.seed, place, what]);
    let kind = match place % 5 {
        _ if plan.steady => Kind::Metered,
        0 => Kind::Seats,
        1 => Kind::Flat,
        2 => Kind::Metered,
        3 => Kind::ManagedApp,
        _ => Kind::Machine,
    };
    let days = u64::from((plan.end() - plan.from_month).get_days().unsigned_abs()).max(1);
    // A third is there from the first month on.
    let late = if plan.steady { 0 } else { pick(1) % (if place.is_multiple_of(3) { 28 } else { days * 3 / 4 + 1 }) };
    let first_day = days_after(plan.from_month, i64::try_from(late).unwrap_or_default());
    let customer = customer(plan.seed, place, first_day);
    let sold = match kind {
        Kind::Seats => catalogue::plan("team"),
        Kind::Flat => catalogue::plan(if place.is_multiple_of(2) { "starter" } else { "trial" }),
        Kind::Metered => catalogue::plan(if pick(2) % 3 == 0 { "metered-large" } else { "metered" }),
        Kind::ManagedApp | Kind::Machine => None,
    };
    let (offer_id, offer_name, offer_type) = match kind {
        Kind::ManagedApp => ("mediagenie-studio", "MediaGenie Studio", "azure applications"),
        Kind::Machine => ("mediagenie-vm", "MediaGenie VM", "vm core image"),
        _ => (OFFER_ID, "MediaGenie", "saas"),
    };
    let (plan_id, sku) = sold.map_or(("payg", "Pay as you go"), |sold| (sold.id, sold.name));
    let saas = offer_type == "saas";
    let mut asset = Asset {
        id: draw::id(&[plan.seed, place, 3]),
        offer_id: offer_id.into(),
        offer_name: offer_name.into(),
        offer_type,
        plan: plan_id.into(),
        sku: sku.into(),
        azure_subscription: if saas { Uuid::nil() } else { draw::id(&[plan.seed, place, 4]) },
        private_offer: (pick(5) % 10 == 0 && saas).then(|| draw::id(&[plan.seed, place, 5])),
        term: "1 Month",
        auto_renew: saas.then_some(pick(6) % 8 != 0),
        trial_end: None,
        events: Vec::new(),
        meters: meters(plan, kind, sold, &customer),
        machine: (kind == Kind::Machine).then(|| MACHINES[usize::try_from(pick(7) % 3).unwrap_or_default()]),
        first_day,
        ended: None,
        drawn: Some(place),
        customer,
    };
    if kind == Kind::Machine {
        if pick(8) % 4 == 0 {
            let stay = i64::try_from(60 + pick(9) % 200).unwrap_or_default();
            asset.ended = Some(midnight(days_after(first_day, stay).min(days_after(plan.end(), -1))));
        }
    } else {
        live(plan, place, kind, sold, &mut asset);
    }
    asset
}

/// A whole price of the list in the customer's currency.
fn price(usd: u32, currency: &str) -> Decimal {
    let digits = if currency == "JPY" { 0 } else { 2 };
    (Decimal::from(usd) / list_rate(currency)).round_dp(digits)
}

fn meters(plan: &AnalyticsHistory, kind: Kind, sold: Option<&Plan>, customer: &Customer) -> Vec<Meter> {
    let own = |dimension: &str, unit: &str, usd: &str| {
        let usd: Decimal = usd.parse().unwrap_or_default();
        let price = (usd / list_rate(customer.currency)).round_dp(5);
        Meter { dimension: dimension.into(), unit: unit.into(), price, plan: None }
    };
    let most = usize::try_from(plan.meters).unwrap_or(usize::MAX);
    match (kind, sold) {
        (Kind::Metered, Some(sold)) => {
            let all = sold.dimensions.iter().map(|one| own(one.id, one.unit, one.price_per_unit));
            all.take(most).collect()
        }
        (Kind::ManagedApp, _) => {
            [own("gpu_hours", "hour", "0.9"), own("processed_gib", "GiB", "0.035")].into_iter().take(most).collect()
        }
        (Kind::Machine, _) => vec![own("", "hours", "0.05")],
        _ => Vec::new(),
    }
}

/// What happens from the purchase to the end of the past.
fn live(plan: &AnalyticsHistory, place: u64, kind: Kind, sold: Option<&Plan>, asset: &mut Asset) {
    let pick = |what: u64| draw::mix(&[plan.seed, place, 100 + what]);
    let terms = sold.map_or(&[][..], |sold| sold.terms);
    let yearly = kind == Kind::Seats && pick(1) % 3 == 0;
    let months = if yearly { 12 } else { 1 };
    asset.term = if yearly { "1 Year" } else { "1 Month" };
    let usd = terms.get(usize::from(yearly)).map_or(250, |term| term.price);
    let unit = price(usd, asset.customer.currency);
    let mut seats = if kind == Kind::Seats { 1 + i64::try_from(pick(2) % 60).unwrap_or_default() } else { 1 };
    let trial = sold.is_some_and(|sold| sold.free_trial) || (kind == Kind::Seats && !yearly && pick(3) % 3 == 0);
    asset.trial_end = trial.then(|| days_after(months_after(asset.first_day, 1), -1));
    let leaves = (!plan.steady && pick(4) % 10 < 3).then(|| 1 + pick(5) % 9);
    let money = |seats: i64| unit * Decimal::from(seats);
    let (mut number, mut last_billed) = (0_i64, Decimal::ZERO);
    loop {
        let start = months_after(asset.first_day, number * months);
        if start >= plan.end() {
            return;
        }
        let term = (start, days_after(months_after(asset.first_day, (number + 1) * months), -1));
        let what = 1_000 + u64::try_from(number).unwrap_or_default() * 10;
        let in_trial = trial && number == 0;
        let billed = if in_trial { Decimal::ZERO } else { money(seats) };
        let event = |at, action, changed, billed, seats| Event {
            at,
            action,
            plan: asset.plan.clone(),
            sku: asset.sku.clone(),
            seats,
            changed,
            billed,
            refund: None,
            trial: in_trial,
            term,
        };
        let (action, changed) = if number == 0 { ("Purchase", seats) } else { ("Renewed", 0) };
        let first = event(moment(start, pick(what)), action, changed, billed, seats);
        last_billed = if billed.is_zero() { last_billed } else { billed };
        let mut new = vec![first];
        if leaves.is_some_and(|term| number == i64::try_from(term).unwrap_or_default()) {
            // After some days of the term; one in three is paid back what this term cost, in the next month.
            let day = days_after(start, i64::try_from(pick(what + 1) % 20).unwrap_or_default());
            if day < plan.end() {
                let at = moment(day, pick(what + 2)).max(new[0].at + SignedDuration::from_secs(60));
                let refunded = pick(what + 3) % 3 == 0 && !last_billed.is_zero();
                let mut end = event(at, "Canceled", -seats, Decimal::ZERO, seats);
                end.refund = refunded.then(|| (months_after(day.first_of_month(), 1), -last_billed));
                new.push(end);
                asset.events.append(&mut new);
                asset.ended = Some(at);
                return;
            }
        }
        if kind == Kind::Seats && pick(what + 4) % 5 == 0 {
            let step = i64::try_from(pick(what + 5) % 12).unwrap_or_default() - 4;
            let changed = if seats + step < 1 { 1 } else { step };
            let day = days_after(start, 1 + i64::try_from(pick(what + 6) % 20).unwrap_or_default());
            if changed != 0 && day < plan.end() {
                seats += changed;
                let billed = if changed > 0 && !in_trial { money(changed) } else { Decimal::ZERO };
                new.push(event(moment(day, pick(what + 7)), "Purchase", changed, billed, seats));
            }
        }
        asset.events.append(&mut new);
        number += 1;
    }
}

/// Some time of a day, to the seventh digit.
fn moment(day: Date, number: u64) -> Timestamp {
    let seconds = i64::try_from(number % DAY_BUT_MINUTES).unwrap_or_default();
    let fraction = i64::try_from((number >> 32) % 10_000_000).unwrap_or_default() * 100;
    midnight(day) + SignedDuration::from_secs(seconds) + SignedDuration::from_nanos(fraction)
}

fn customer(seed: u64, place: u64, first_day: Date) -> Arc<Customer> {
    let pick = |what: u64| draw::mix(&[seed, place, 10_000 + what]);
    let name = names::of(place, pick(1));
    let individual = pick(2) % 12 == 0;
    Arc::new(Customer {
        id: draw::id(&[seed, place, 20_001]),
        since: days_after(first_day, -i64::try_from(pick(3) % 3_000).unwrap_or_default()),
        billing_account: draw::id(&[seed, place, 20_002]),
        tenant: draw::id(&[seed, place, 20_003]),
        email: format!("{}.{}@customer{place}.example", name.first, name.last).to_lowercase(),
        company: name.company,
        first_name: name.first.into(),
        last_name: name.last.into(),
        city: name.country.city,
        country: name.country.name,
        country_code: name.country.code,
        culture: name.country.culture,
        currency: name.country.currency,
        channel: names::CHANNELS[usize::try_from(pick(4) % 5).unwrap_or_default()],
        individual,
        masked: pick(5) % 8 == 0,
    })
}
