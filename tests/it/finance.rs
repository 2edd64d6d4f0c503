//! A month of real life through the front doors, reconciled and closed against the simulated Microsoft, whose sums are known.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use mediagenie::simulator::BookedUsage;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::analytics::pulled;
use crate::closes::{law, opened, package};
use crate::support::month::{Life, to};

const FIRST: Date = date(2026, 4, 1);
const LAST: Date = date(2026, 4, 30);

pub async fn reconciled(life: &Life) -> Value {
    let (status, run) = life.app.post_api("/api/reconciliation/2026-04/run", &json!({})).await;
    assert_eq!(status, 200, "{run}");
    run
}

/// A column's sum in the simulator's own books, of usage that is metered.
fn simulated(life: &Life, dataset: &str, column: &str) -> Decimal {
    let by = if dataset == "ISVUsage" { "MeterDimension" } else { "BillingModel" };
    let sums = life.app.simulator.analytics_sums(dataset, column, &[by], FIRST, LAST);
    let metered = sums.into_iter().filter(|(key, _)| !key[0].is_empty() && key[0] != "SubscriptionBased");
    metered.map(|(_, sum)| sum).sum()
}

fn amount(value: &Value) -> Decimal {
    value.as_str().unwrap_or_else(|| panic!("{value} is no amount")).parse().unwrap()
}

#[tokio::test]
async fn a_month_of_real_life_is_the_same_on_all_sides() {
    let life = Life::begin(4, 1).await;
    life.live().await;
    for day in 1..=30 {
        let (_, seen) = life.app.get_api(&format!("/api/usage/differences?day=2026-04-{day:02}")).await;
        assert_eq!(seen["differences"], json!([]), "{day}");
    }
    to(&life.app, "2026-05-05T06:00:00Z");
    pulled(&life.app).await;
    let run = reconciled(&life).await;
    assert_eq!((&run["found"], &run["differences"]), (&json!(0), &json!([])), "{run:#}");
    assert_eq!(run["days_read_back"], 30);
    let (charged, revenue) = (
        simulated(&life, "ISVUsage", "EstimatedExtendedChargeCC"),
        simulated(&life, "ISVRevenue", "TransactionAmountCC"),
    );
    assert!(charged > Decimal::from(2000), "{charged}");
    let totals: BTreeMap<&str, Decimal> =
        ["accepted", "charged", "revenue"].map(|name| (name, amount(&run["totals"][name]["USD"]))).into();
    assert_eq!(totals, [("accepted", charged), ("charged", charged), ("revenue", revenue)].into());
    assert!(run["totals"]["lost"].as_object().unwrap().is_empty(), "{run}");
}

/// What a column of a package's file comes to.
fn sum_of(csv: &str, column: &str, wanted: impl Fn(&dyn Fn(&str) -> String) -> bool) -> Decimal {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    let mut sum = Decimal::ZERO;
    for record in reader.records() {
        let record = record.unwrap();
        let cell = |name: &str| record[names.iter().position(|known| known == name).unwrap()].to_owned();
        if wanted(&cell) {
            sum += cell(column).parse::<Decimal>().unwrap();
        }
    }
    sum
}

/// Every sum of a package is that of the simulator's own books.
fn same_sums(life: &Life, files: &BTreeMap<String, String>) {
    let all = |_: &dyn Fn(&str) -> String| true;
    let booked: i128 = {
        let day = |one: &BookedUsage| one.hour.to_zoned(jiff::tz::TimeZone::UTC).date();
        let book = life.app.simulator.usage_book();
        book.iter().filter(|one| (FIRST..=LAST).contains(&day(one))).map(|one| one.quantity).sum()
    };
    let booked = Decimal::from_i128_with_scale(booked, 6);
    for (file, column) in [("usage_events.csv", "accepted_quantity"), ("booked_usage.csv", "submitted")] {
        assert_eq!(sum_of(&files[file], column, all), booked, "{file}");
    }
    same_sums_of_datasets(life, files);
}

fn same_sums_of_datasets(life: &Life, files: &BTreeMap<String, String>) {
    let all = |_: &dyn Fn(&str) -> String| true;
    for (file, dataset, column) in [
        ("usage.csv", "ISVUsage", "MeteredUsage"),
        ("usage.csv", "ISVUsage", "EstimatedExtendedChargeCC"),
        ("revenue.csv", "ISVRevenue", "TransactionAmountCC"),
        ("revenue.csv", "ISVRevenue", "EarningAmountUSD"),
        ("orders.csv", "ISVOrder", "BilledRevenue"),
    ] {
        let sums = life.app.simulator.analytics_sums(dataset, column, &[], FIRST, LAST);
        assert_eq!(sum_of(&files[file], column, all), sums.values().sum::<Decimal>(), "{file} {column}");
    }
    let revenue = simulated(life, "ISVRevenue", "TransactionAmountCC");
    let usage_based = |cell: &dyn Fn(&str) -> String| cell("BillingModel") == "UsageBased";
    assert_eq!(sum_of(&files["revenue.csv"], "TransactionAmountCC", usage_based), revenue);
}

/// As an accountant would look at it, without anything of ours.
fn tools_read(package: &[u8]) {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("close.zip");
    std::fs::File::create(&file).unwrap().write_all(package).unwrap();
    for command in
        ["unzip -tq close.zip && unzip -q close.zip -d opened", "cd opened && sha256sum -c --strict SHA256SUMS"]
    {
        let done = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
    }
}

async fn close(life: &Life, accept_open: usize) -> Value {
    let order = json!({ "month": "2026-04", "accept_open": accept_open });
    let (status, close) = life.app.post_api("/api/closes", &order).await;
    assert_eq!(status, 201, "{close}");
    close
}

#[tokio::test]
async fn a_closed_month_stays_as_it_was_and_late_usage_and_restatements_are_corrections_of_the_next_package() {
    let life = Life::begin(3, 1).await;
    life.live().await;
    let app = &life.app;
    to(app, "2026-05-05T06:00:00Z");
    pulled(app).await;
    assert_eq!(close(&life, 0).await["number"], 1);
    let first = package(app, 1).await;
    let files = opened(&first);
    tools_read(&first);
    same_sums(&life, &files);

    // Microsoft takes in its own name what was used in April, and says a month later that all of April was more.
    app.simulator.edit_usage_book(|book| {
        let one = book.iter().rfind(|one| one.resource == life.subscription(2)).unwrap().clone();
        book.push(BookedUsage { hour: "2026-04-12T03:00:00Z".parse().unwrap(), quantity: 77_000_000, ..one });
    });
    app.post_api("/api/usage/read-back?day=2026-04-12", &json!({})).await;
    for _ in 0..2 {
        app.clock.advance(SignedDuration::from_hours(24));
        pulled(app).await;
    }
    assert_eq!(reconciled(&life).await["changed_since_close"], true);
    assert_eq!(close(&life, 1).await["corrects"], 1);
    assert_eq!(package(app, 1).await, first, "the first package is what it was");
    let second = package(app, 2).await;
    let late = opened(&second);
    tools_read(&second);
    law(&files, &late);
    same_sums_of_datasets(&life, &late);
    let corrections = &late["corrections.csv"];
    for wanted in ["booked_usage.csv,changed", "usage.csv,changed", "revenue.csv,changed"] {
        assert!(corrections.contains(wanted), "{wanted}: {corrections}");
    }

    app.simulator.analytics().restate_month(FIRST, Decimal::new(11, 1));
    for _ in 0..2 {
        app.clock.advance(SignedDuration::from_hours(24));
        pulled(app).await;
    }
    let (status, refused) = app.post_api("/api/closes", &json!({ "month": "2026-04" })).await;
    assert_eq!((status, &refused["code"]), (409, &json!("open_differences")));
    let open = app.get_api("/api/reconciliation/2026-04").await.1["open"].as_u64().unwrap();
    assert_eq!(close(&life, usize::try_from(open).unwrap()).await["corrects"], 2);
    assert_eq!((package(app, 1).await, package(app, 2).await), (first, second));
    let third = package(app, 3).await;
    let restated = opened(&third);
    tools_read(&third);
    law(&late, &restated);
    let charged = |files: &BTreeMap<String, String>| sum_of(&files["usage.csv"], "EstimatedExtendedChargeCC", |_| true);
    let difference = simulated(&life, "ISVUsage", "EstimatedExtendedChargeCC") - charged(&late);
    assert!(difference > Decimal::ONE && charged(&restated) - charged(&late) == difference);
    same_sums_of_datasets(&life, &restated);
}
