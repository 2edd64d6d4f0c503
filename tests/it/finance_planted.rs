//! The same month with differences planted in Microsoft's book and datasets: every one is found with its class, and no other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use jiff::{SignedDuration, ToSpan as _};
use mediagenie::simulator::analytics::{Change, Planted};
use mediagenie::simulator::{Action, BookedUsage, ReconStatus};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::analytics::pulled;
use crate::finance::reconciled;
use crate::support::month::{FIRST, LAST, Life, SPEECH, STUDIO, to};

const METERED: &str = "metered";
const STRANGER: &str = "77777777-7777-4777-8777-777777777777";

/// What is to be found: the sides, class, reason, absent side, resource, plan, dimension, day, other day.
type Expected = [String; 9];

struct Planter<'a> {
    life: &'a Life,
    expected: Vec<Expected>,
}

fn april(day: i8) -> Date {
    date(2026, 4, day)
}

fn day_of(usage: &BookedUsage) -> Date {
    usage.hour.to_zoned(jiff::tz::TimeZone::UTC).date()
}

impl Planter<'_> {
    /// Of a day of a resource with the plan and dimension that it has all month. `what`: sides, class, reason, absent side.
    fn expect(&mut self, resource: &str, day: i8, what: [&str; 4]) -> &mut Expected {
        let plan = if self.life.subscriptions.iter().any(|id| id.to_string() == resource) { METERED } else { STUDIO };
        let [between, class, why, absent] = what;
        let day = april(day).to_string();
        self.expected.push([between, class, why, absent, resource, plan, SPEECH, &day, ""].map(str::to_owned));
        self.expected.last_mut().unwrap()
    }

    /// Of a whole resource.
    fn expect_all(&mut self, resource: &str, plan: &str, what: [&str; 4]) -> &mut Expected {
        let [between, class, why, absent] = what;
        self.expected.push([between, class, why, absent, resource, plan, "", "", ""].map(str::to_owned));
        self.expected.last_mut().unwrap()
    }

    /// Changes Microsoft's book; the place is that of the day's booking.
    fn book(&self, resource: &str, day: i8, edit: impl FnOnce(&mut Vec<BookedUsage>, usize)) {
        self.life.app.simulator.edit_usage_book(|book| {
            let place = book.iter().position(|one| one.resource == resource && day_of(one) == april(day)).unwrap();
            edit(book, place);
        });
    }

    fn plant(&self, dataset: &str, matching: &[(&str, &str)], change: Change) {
        self.life.app.simulator.analytics().plant(Planted::new(dataset, matching, None, change)).unwrap();
    }

    fn usage(&self, resource: &str, day: i8, change: Change) {
        let day = april(day).to_string();
        self.plant("ISVUsage", &[("ReferenceId", resource), ("UsageDate", &day)], change);
    }

    fn revenue(&self, resource: &str, change: Change) {
        let matching = [("AssetId", resource), ("BillingModel", "UsageBased"), ("MonthStartDate", "2026-04-01")];
        self.plant("ISVRevenue", &matching, change);
    }

    fn order(&self, resource: &str, column: &str, value: &str) {
        self.plant("ISVOrder", &[("AssetId", resource)], set(&[(column, value)]));
    }

    fn used(&self, resource: &str, day: i8, column: &str) -> Decimal {
        let sums = self.life.app.simulator.analytics_sums("ISVUsage", column, &["ReferenceId"], april(day), april(day));
        sums[&vec![resource.to_owned()]]
    }

    /// What is used is billed, as it stands in the datasets now: from here on they differ only by what is planted.
    fn bill(&self) {
        let simulator = &self.life.app.simulator;
        for (first, last) in [(april(1), april(30)), (date(2026, 5, 1), date(2026, 5, 31))] {
            let used = simulator.analytics_sums(
                "ISVUsage",
                "EstimatedExtendedChargeCC",
                &["ReferenceId", "PlanId"],
                first,
                last,
            );
            let mut lines: BTreeMap<Vec<String>, Vec<(String, Decimal)>> = BTreeMap::new();
            for row in simulator.analytics_truth("ISVRevenue", first, last) {
                let cell =
                    |name: &str| row.iter().find(|(known, _)| *known == name).unwrap().1.clone().unwrap_or_default();
                if cell("BillingModel") == "UsageBased" {
                    let line = (cell("LineItemId"), cell("TransactionAmountCC").parse().unwrap());
                    lines.entry(vec![cell("AssetId"), cell("PlanId")]).or_default().push(line);
                }
            }
            for (key, lines) in lines {
                let paid: Decimal = lines.iter().map(|(_, amount)| amount).sum();
                let owed = used.get(&key).copied().unwrap_or_default() - paid;
                if !owed.is_zero() {
                    let amount = (lines[0].1 + owed).to_string();
                    self.plant("ISVRevenue", &[("LineItemId", &lines[0].0)], set(&[("TransactionAmountCC", &amount)]));
                }
            }
        }
    }

    /// Microsoft does not want what a subscription used early in the morning.
    async fn refuse(&mut self, number: usize, day: i8) {
        let name = self.life.subscription(number);
        let faults = self.life.app.simulator.faults();
        faults.change(|switches| switches.metering_status_override = Some("InvalidDimension".to_owned()));
        let record = json!({ "id": "refused", "subscription": name, "dimension": SPEECH, "quantity": "7.5" });
        self.life.send(&[record]).await;
        faults.change(|switches| switches.metering_status_override = None);
        self.expect(&name, day, ["ledger_booked", "rejected", "lost_rejected", ""]);
    }

    /// Our ledger and what is booked.
    fn of_bookings(&mut self) {
        const SIDES: &str = "ledger_booked";
        let (life, name) = (self.life, |number| self.life.subscription(number));
        let (shop, hall) = (life.shop(), life.hall.resource_usage_id.unwrap().to_string());
        for (resource, day) in [(name(2), 3), (shop.clone(), 4)] {
            self.book(&resource, day, |book, at| drop(book.remove(at)));
            self.expect(&resource, day, [SIDES, "missing", "unknown", "booked"]);
        }
        let images = "vision_images";
        self.book(&name(2), 5, |book, at| book.push(BookedUsage { dimension: images.into(), ..book[at].clone() }));
        self.expect(&name(2), 5, [SIDES, "missing", "unknown", "ledger"])[6] = images.into();
        self.book(&name(2), 6, |book, at| book.push(BookedUsage { resource: STRANGER.into(), ..book[at].clone() }));
        self.expect(STRANGER, 6, [SIDES, "missing", "unknown", "ledger"])[5] = METERED.into();
        self.book(&name(3), 3, |book, at| book[at].quantity /= 2);
        self.expect(&name(3), 3, [SIDES, "quantity", "unknown", ""]);
        self.book(&name(3), 8, |book, at| {
            book[at].recon_override = Some(ReconStatus::Mismatch);
            book[at].processed_override = Some(book[at].quantity - 1_000_000);
        });
        self.expect(&name(3), 8, [SIDES, "quantity", "processed_other", ""]);
        for (resource, known_as, day) in [(name(4), name(4), 3), (hall, life.hall(), 9)] {
            self.book(&resource, day, |book, at| book[at].recon_override = Some(ReconStatus::Rejected));
            self.expect(&known_as, day, [SIDES, "rejected", "rejected_in_processing", ""]);
        }
        self.book(&name(5), 3, |book, at| book.push(book[at].clone()));
        self.expect(&name(5), 3, [SIDES, "duplicate", "counted_twice", ""]);
        for (day, hours, why) in [(10, 24, "other_day"), (30, 48, "other_month")] {
            let later = SignedDuration::from_hours(hours);
            self.book(&name(5), day, |book, at| {
                book[at].hour += later;
                book[at].effective_start += later;
            });
            let other = april(day).checked_add(later).unwrap().to_string();
            self.expect(&name(5), day, [SIDES, "late", why, ""])[8] = other;
        }
    }

    /// What is booked and what the dataset has of it.
    fn of_usage(&mut self) {
        const SIDES: &str = "booked_usage";
        let (life, name) = (self.life, |number| self.life.subscription(number));
        let (shop, hall) = (life.shop(), life.hall.resource_usage_id.unwrap().to_string());
        for (resource, day) in [(name(6), 3), (shop, 12)] {
            self.usage(&resource, day, Change::Remove);
            self.expect(&resource, day, [SIDES, "missing", "unknown", "usage"]);
        }
        let images = "vision_images";
        let made_up = [
            ("UsageDate", "2026-04-06"),
            ("ReferenceId", &name(6)),
            ("PlanId", METERED),
            ("MeterDimension", images),
            ("CustomerCurrencyCC", "USD"),
            ("PriceCC", "0.00200"),
            ("MeteredUsage", "70.00000"),
            ("EstimatedExtendedChargeCC", "0.14000"),
        ];
        self.plant("ISVUsage", &[], Change::Add(made_up.map(|(name, text)| (name.to_owned(), text.to_owned())).into()));
        self.expect(&name(6), 6, [SIDES, "missing", "unknown", "booked"])[6] = images.into();
        for (resource, known_as, day) in [(name(7), name(7), 3), (hall, life.hall(), 13)] {
            self.usage(&resource, day, Change::Repeat);
            self.expect(&known_as, day, [SIDES, "duplicate", "counted_twice", ""]);
        }
        self.usage(&name(7), 8, Change::Scale(Decimal::new(5, 1)));
        self.expect(&name(7), 8, [SIDES, "quantity", "unknown", ""]);
        for (day, days, why) in [(3, 1, "other_day"), (29, 3, "other_month")] {
            let other = april(day).checked_add(days.days()).unwrap().to_string();
            self.usage(&name(8), day, set(&[("UsageDate", &other)]));
            self.expect(&name(8), day, [SIDES, "late", why, ""])[8] = other;
        }
        self.usage(&name(9), 3, set(&[("CustomerCurrencyCC", "EUR")]));
        self.expect(&name(9), 3, [SIDES, "currency", "other_currency", ""]);
        let charge = self.used(&name(9), 8, "MeteredUsage") * Decimal::new(3, 2);
        self.usage(&name(9), 8, set(&[("PriceCC", "0.03"), ("EstimatedExtendedChargeCC", &charge.to_string())]));
        self.expect(&name(9), 8, [SIDES, "price", "other_price", ""]);
        let charge = self.used(&name(9), 14, "EstimatedExtendedChargeCC") + Decimal::ONE;
        self.usage(&name(9), 14, set(&[("EstimatedExtendedChargeCC", &charge.to_string())]));
        self.expect(&name(9), 14, [SIDES, "price", "other_charge", ""]);
    }

    /// What is used and what is paid.
    fn of_revenue(&mut self) {
        const SIDES: &str = "usage_revenue";
        let name = |number| self.life.subscription(number);
        self.revenue(&name(10), Change::Remove);
        self.expect_all(&name(10), METERED, [SIDES, "missing", "unknown", "revenue"]);
        self.revenue(&name(11), Change::Repeat);
        self.expect_all(&name(11), METERED, [SIDES, "duplicate", "counted_twice", ""]);
        self.revenue(&name(12), set(&[("TransactionAmountCC", "12.00")]));
        self.expect_all(&name(12), METERED, [SIDES, "price", "other_amount", ""]);
        self.revenue(&name(13), Change::Scale(Decimal::new(5, 1)));
        self.expect_all(&name(13), METERED, [SIDES, "quantity", "other_amount", ""]);
        self.revenue(&name(14), set(&[("PayoutStatus", "Rejected")]));
        self.expect_all(&name(14), METERED, [SIDES, "rejected", "payout_rejected", ""]);
        self.revenue(&name(15), set(&[("MonthStartDate", "2026-05-01")]));
        self.expect_all(&name(15), METERED, [SIDES, "late", "other_month", ""])[8] = "2026-05-01".into();
        let never = [
            ("MonthStartDate", "2026-04-01"),
            ("AssetId", &name(14)),
            ("PlanId", "never-used"),
            ("BillingModel", "UsageBased"),
            ("PurchaseRecordId", "P77"),
            ("LineItemId", "7"),
            ("Quantity", "1"),
            ("TransactionAmountCC", "5.00"),
            ("PayoutStatus", "Unprocessed"),
        ];
        self.plant("ISVRevenue", &[], Change::Add(never.map(|(name, text)| (name.to_owned(), text.to_owned())).into()));
        self.expect_all(&name(14), "never-used", [SIDES, "missing", "unknown", "usage"]);
    }

    /// Our subscriptions and Microsoft's orders.
    fn of_orders(&mut self) {
        const SIDES: &str = "subscriptions_orders";
        let (life, name) = (self.life, |number| self.life.subscription(number));
        self.plant("ISVOrder", &[("AssetId", &name(3))], Change::Remove);
        self.expect_all(&name(3), METERED, [SIDES, "missing", "unknown", "orders"]);
        let asset = Uuid::from_u128(7).to_string();
        let bought = [
            ("AssetId", asset.as_str()),
            ("OfferType", "saas"),
            ("PlanId", METERED),
            ("OrderStatus", "active"),
            ("OrderPurchaseDate", "2026-04-02"),
            ("EventTimestamp", "2026-04-02 08:00:00.0000000"),
            ("OrderVersion", "1"),
        ];
        self.plant("ISVOrder", &[], Change::Add(bought.map(|(name, text)| (name.to_owned(), text.to_owned())).into()));
        self.expect_all(&asset, METERED, [SIDES, "missing", "unknown", "subscriptions"]);
        let teams: Vec<String> = life.teams.iter().map(ToString::to_string).collect();
        for (resource, plan, column, value, class, why) in [
            (&name(4), METERED, "OrderStatus", "cancelled", "status", "other_status"),
            (&name(6), METERED, "PlanId", "starter", "plan", "other_plan"),
            (&name(7), METERED, "TermEndDate", "2026-06-30", "term", "other_term"),
            (&teams[1], "team", "Quantity", "9", "quantity", "other_seats"),
            // It has changed a moment ago.
            (&teams[2], "team", "Quantity", "5", "not_yet_posted", "within_latency"),
        ] {
            self.order(resource, column, value);
            self.expect_all(resource, plan, [SIDES, class, why, ""]);
        }
    }
}

fn set(values: &[(&str, &str)]) -> Change {
    Change::Set(values.iter().map(|(name, text)| ((*name).to_owned(), Some((*text).to_owned()))).collect())
}

/// The same of what was found.
fn as_expected(one: &Value) -> Expected {
    let names = ["between", "class", "why", "absent", "resource", "plan", "dimension", "day", "other_day"];
    names.map(|name| one[name].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn more_than_thirty_planted_differences_are_found_with_their_class_and_no_other() {
    let life = Life::begin(16, 3).await;
    let app = &life.app;
    let mut planter = Planter { life: &life, expected: Vec::new() };
    life.days(FIRST, april(16)).await;
    planter.refuse(8, 17).await;
    life.days(april(17), LAST).await;
    to(app, "2026-05-04T12:00:00Z");
    app.simulator.act(life.teams[2], Action::ChangeQuantity(7)).unwrap();
    app.settle().await;
    planter.of_bookings();
    planter.of_usage();
    planter.bill();
    planter.of_revenue();
    planter.of_orders();
    let expected: BTreeSet<Expected> = planter.expected.into_iter().collect();
    to(app, "2026-05-05T06:00:00Z");
    life.read_back().await;
    pulled(app).await;
    let run = reconciled(&life).await;
    let differences = run["differences"].as_array().unwrap();
    let found: BTreeSet<Expected> = differences.iter().map(as_expected).collect();
    let (lacking, other): (Vec<_>, Vec<_>) =
        (expected.difference(&found).collect(), found.difference(&expected).collect());
    assert!(lacking.is_empty() && other.is_empty(), "not found: {lacking:#?}\nnot planted: {other:#?}");
    assert!(expected.len() > 30 && differences.len() == expected.len(), "{} {}", differences.len(), expected.len());
    // Down to the hours from which a person goes on, wherever our ledger has any.
    for one in differences.iter().filter(|one| !one["day"].is_null() && one["absent"] != "ledger") {
        let day = one["day"].as_str().unwrap();
        let ours = one["hours"].as_array().unwrap();
        let made_up = one["dimension"] == "vision_images";
        assert!(made_up || ours.iter().any(|hour| hour["hour"].as_str().unwrap().starts_with(day)), "{one}");
    }
    // Each class can be asked for.
    let (_, late) = app.get_api("/api/reconciliation/2026-04?class=late").await;
    assert_eq!(late["found"], json!(expected.iter().filter(|one| one[1] == "late").count()));
}

#[tokio::test]
async fn what_is_young_is_not_yet_posted_and_goes_by_itself() {
    let life = Life::begin(2, 0).await;
    life.app.simulator.analytics().set_usage_latency(SignedDuration::from_hours(40));
    life.days(FIRST, april(30)).await;
    to(&life.app, "2026-05-01T12:00:00Z");
    pulled(&life.app).await;
    let run = reconciled(&life).await;
    let found: BTreeSet<Expected> = run["differences"].as_array().unwrap().iter().map(as_expected).collect();
    let of = |resource: &str, plan: &str| {
        ["booked_usage", "not_yet_posted", "within_latency", "", resource, plan, SPEECH, "2026-04-30", ""]
            .map(str::to_owned)
    };
    let young = [(life.subscription(0), "metered-large"), (life.shop(), STUDIO), (life.hall(), STUDIO)];
    assert_eq!(found, young.iter().map(|(resource, plan)| of(resource, plan)).collect());
    to(&life.app, "2026-05-04T06:00:00Z");
    pulled(&life.app).await;
    let run = reconciled(&life).await;
    assert_eq!(run["differences"], json!([]), "{run:#}");
}
