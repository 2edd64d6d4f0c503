//! The marketplace's own books, told as facts: subscriptions and managed applications become assets with their events,
//! accepted usage becomes quantities by day. Everything as it was known at one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::super::catalogue::{self, OFFER_ID, Plan};
use super::super::managed_apps::ManagedApp;
use super::super::model::{Action, Operation, OperationStatus, Subscription};
use super::super::people::Person;
use super::super::state::State;
use super::super::usage::{BookedUsage, ReconStatus};
use super::draw::{self, days_after, midnight, months_after};
use super::facts::{Asset, Customer, Event, Meter};
use super::names;

/// Usage of one day, by the places of asset and meter.
type Used = BTreeMap<(usize, usize), Decimal>;

/// Everything that the books say.
#[derive(Debug, Default)]
pub struct Booked {
    pub assets: Vec<Asset>,
    pub usage: BTreeMap<Date, Used>,
}

impl Booked {
    /// Usage is told some time after it was booked, and only what was accepted.
    pub fn of(state: &State, as_of: Timestamp, usage_latency: SignedDuration) -> Self {
        let found = state.order.iter().filter_map(|id| state.subscriptions.get(id));
        let mut assets: Vec<Asset> = found.filter_map(|one| subscription(one, as_of)).collect();
        assets.extend(state.managed.all().iter().filter_map(|app| managed_app(app, as_of)));
        let mut booked = Self { assets, usage: BTreeMap::new() };
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, asset) in booked.assets.iter().enumerate() {
            places.insert(asset.id.to_string(), place);
        }
        for usage in state.usage.entries() {
            if usage.booked_at + usage_latency <= as_of && usage.recon_status(as_of) != ReconStatus::Rejected {
                booked.add(usage, as_of, &mut places);
            }
        }
        booked
    }

    fn add(&mut self, usage: &BookedUsage, as_of: Timestamp, places: &mut HashMap<String, usize>) {
        let place = *places.entry(usage.resource.clone()).or_insert_with(|| {
            self.assets.push(stranger(usage));
            self.assets.len() - 1
        });
        let Some(asset) = self.assets.get_mut(place) else { return };
        let known = asset.meters.iter().position(|meter| {
            meter.dimension == usage.dimension && meter.plan.as_ref().is_some_and(|(plan, _)| *plan == usage.plan)
        });
        let meter = known.unwrap_or_else(|| {
            asset.meters.push(meter(&usage.plan, &usage.dimension));
            asset.meters.len() - 1
        });
        let day = self.usage.entry(draw::day_of(usage.hour)).or_default();
        *day.entry((place, meter)).or_default() += millionths(usage.processed(as_of));
    }
}

fn millionths(number: i128) -> Decimal {
    Decimal::try_from_i128_with_scale(number, 6).unwrap_or_default().normalize()
}

fn meter(plan: &str, dimension: &str) -> Meter {
    let known = catalogue::plan(plan).and_then(|plan| plan.dimensions.iter().find(|one| one.id == dimension));
    Meter {
        dimension: dimension.to_owned(),
        unit: known.map_or("unit", |one| one.unit).to_owned(),
        price: known.and_then(|one| one.price_per_unit.parse().ok()).unwrap_or(Decimal::new(1, 2)),
        plan: Some((plan.to_owned(), name_of(plan))),
    }
}

/// The simulated directory pays in US dollars, as the catalogue is priced.
fn customer(person: &Person, channel: &'static str) -> Arc<Customer> {
    let country = &names::COUNTRIES[if person.organisation == "Contoso" { 0 } else { 1 }];
    let (first, last) = person.name.split_once(' ').unwrap_or((&person.name, ""));
    let tenant = draw::halves(person.tenant_id);
    Arc::new(Customer {
        id: draw::id(&[tenant[0], tenant[1], 1]),
        since: Date::constant(2018, 9, 30),
        billing_account: draw::id(&[tenant[0], tenant[1], 2]),
        tenant: person.tenant_id,
        company: person.organisation.clone(),
        first_name: first.to_owned(),
        last_name: last.to_owned(),
        email: person.email.clone(),
        city: country.city,
        country: country.name,
        country_code: country.code,
        culture: country.culture,
        currency: "USD",
        channel,
        individual: person.is_personal(),
        masked: false,
    })
}

fn name_of(plan: &str) -> String {
    catalogue::plan(plan).map_or(plan, |plan| plan.name).to_owned()
}

fn offer_name(offer: &str) -> String {
    if offer.starts_with(OFFER_ID) { "MediaGenie".to_owned() } else { offer.to_owned() }
}

/// One that never began was not bought.
fn subscription(one: &Subscription, as_of: Timestamp) -> Option<Asset> {
    let anchor = one.anchor?;
    let started = one.created.max(midnight(anchor));
    if started > as_of {
        return None;
    }
    let channel = if one.csp { "Cloud Solution Provider" } else { "Pay as You Go" };
    let events = events(one, anchor, started, as_of);
    let last = events.iter().rev().find(|event| event.action != "Canceled")?;
    let trial = events.first().is_some_and(|event| event.trial);
    Some(Asset {
        id: one.id,
        customer: customer(&one.beneficiary, channel),
        offer_id: one.offer_id.clone(),
        offer_name: offer_name(&one.offer_id),
        offer_type: "saas",
        plan: last.plan.clone(),
        sku: last.sku.clone(),
        azure_subscription: Uuid::nil(),
        private_offer: one.private_offer,
        term: if one.term_unit.ends_with('Y') { "1 Year" } else { "1 Month" },
        auto_renew: Some(one.auto_renew),
        trial_end: trial.then(|| days_after(months_after(anchor, 1), -1)),
        events,
        meters: Vec::new(),
        machine: None,
        first_day: anchor,
        ended: one.ended_at,
        drawn: None,
    })
}

/// The price of a plan for a term, for so many seats.
fn price(plan: Option<&Plan>, term_unit: &str, seats: i64) -> Decimal {
    let terms = plan.map_or(&[][..], |plan| plan.terms);
    let term = terms.iter().find(|term| term.unit == term_unit).or(terms.first());
    let each = Decimal::from(term.map_or(0, |term| term.price));
    if plan.is_some_and(|plan| plan.seats.is_some()) { each * Decimal::from(seats) } else { each }
}

/// The purchase, and what the operations made of it.
fn events(one: &Subscription, anchor: Date, started: Timestamp, as_of: Timestamp) -> Vec<Event> {
    let done: Vec<&Operation> =
        one.operations.iter().filter(|operation| operation.status == OperationStatus::Succeeded).collect();
    let months = i64::from(catalogue::months_of(&one.term_unit));
    let term = |number: i64| {
        (months_after(anchor, number * months), days_after(months_after(anchor, (number + 1) * months), -1))
    };
    let mut plan = one.bought.plan.clone();
    let mut seats = one.bought.quantity.map_or(1, i64::from);
    let mut trial = one.bought.trial;
    let mut number = 0;
    let event = |at, action, plan: &str, seats, changed, billed, trial, number| Event {
        at,
        action,
        plan: plan.to_owned(),
        sku: name_of(plan),
        seats,
        changed,
        billed,
        refund: None,
        trial,
        term: term(number),
    };
    let cost = |plan: &str, seats| price(catalogue::plan(plan), &one.term_unit, seats);
    let first = if trial { Decimal::ZERO } else { cost(&plan, seats) };
    let mut events = vec![event(started, "Purchase", &plan, seats, seats, first, trial, 0)];
    for operation in done {
        let at = operation.created.max(started);
        if at > as_of {
            break;
        }
        match &operation.action {
            Action::ChangePlan(new) if *new != plan => {
                let before = seats;
                plan.clone_from(new);
                seats = seats_of(&plan, operation.quantity).unwrap_or(1);
                trial = trial && catalogue::plan(&plan).is_some_and(|plan| plan.free_trial);
                let billed = if trial { Decimal::ZERO } else { cost(&plan, seats) };
                events.push(event(at, "Purchase", &plan, seats, seats - before, billed, trial, number));
            }
            Action::ChangeQuantity(new) if i64::from(*new) != seats => {
                let changed = i64::from(*new) - seats;
                seats = i64::from(*new);
                let billed = if trial || changed < 0 { Decimal::ZERO } else { cost(&plan, changed) };
                events.push(event(at, "Purchase", &plan, seats, changed, billed, trial, number));
            }
            Action::Renew => {
                number += 1;
                trial = false;
                events.push(event(at, "Renewed", &plan, seats, 0, cost(&plan, seats), false, number));
            }
            Action::Unsubscribe => {
                events.push(event(at, "Canceled", &plan, seats, -seats, Decimal::ZERO, trial, number));
            }
            _ => {}
        }
    }
    events
}

fn seats_of(plan: &str, quantity: Option<u32>) -> Option<i64> {
    let limits = catalogue::plan(plan).and_then(|plan| plan.seats);
    limits.map(|(least, _)| i64::from(quantity.unwrap_or(least)))
}

fn managed_app(app: &ManagedApp, as_of: Timestamp) -> Option<Asset> {
    let id = app.resource_usage_id?;
    let at = app.provisioned.filter(|at| *at <= as_of)?;
    let first_day = draw::day_of(at);
    let purchase = Event {
        at,
        action: "Purchase",
        plan: app.plan.clone(),
        sku: name_of(&app.plan),
        seats: 1,
        changed: 1,
        billed: Decimal::ZERO,
        refund: None,
        trial: false,
        term: (first_day, days_after(months_after(first_day, 1), -1)),
    };
    let mut events = vec![purchase.clone()];
    if let Some(at) = app.deleted.filter(|at| *at <= as_of) {
        events.push(Event { at, action: "Canceled", changed: -1, ..purchase });
    }
    Some(Asset {
        id,
        customer: customer(&Person::contoso_buyer(), "Pay as You Go"),
        offer_id: app.product.clone(),
        offer_name: offer_name(&app.product),
        offer_type: "azure applications",
        plan: app.plan.clone(),
        sku: name_of(&app.plan),
        azure_subscription: app.subscription,
        private_offer: None,
        term: "1 Month",
        auto_renew: None,
        trial_end: None,
        events,
        meters: Vec::new(),
        machine: None,
        first_day,
        ended: app.deleted,
        drawn: None,
    })
}

/// Usage of something that is in no book but this: an application that was registered for usage only.
fn stranger(usage: &BookedUsage) -> Asset {
    let id = Uuid::parse_str(&usage.resource).unwrap_or_else(|_| draw::id(&[draw::number(&usage.resource)]));
    Asset {
        id,
        customer: customer(&Person::contoso_buyer(), "Pay as You Go"),
        offer_id: OFFER_ID.to_owned(),
        offer_name: offer_name(OFFER_ID),
        offer_type: "azure applications",
        plan: usage.plan.clone(),
        sku: name_of(&usage.plan),
        azure_subscription: draw::id(&[draw::number(&usage.resource), 1]),
        private_offer: None,
        term: "1 Month",
        auto_renew: None,
        trial_end: None,
        events: Vec::new(),
        meters: Vec::new(),
        machine: None,
        first_day: draw::day_of(usage.hour),
        ended: None,
        drawn: None,
    }
}
