//! Periods and changes of plan, case by case, each result computed by hand.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mediagenie::metering::model::account::{Booked, Counter, PeriodAccount, SegmentAccount};
use mediagenie::metering::model::catalogue::{DimensionTerms, Included, Meter, Tier};
use mediagenie::metering::model::cycle::{Cycle, Period};
use mediagenie::metering::model::quantity::Quantity;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn periods_follow_the_subscriptions_own_start_to_the_second() {
    // anchor, months, instant, start and end of the period that holds it
    let cases = [
        // Monthly, an ordinary day with a time.
        ("2026-01-15T10:20:30Z", 1, "2026-01-15T10:20:30Z", "2026-01-15T10:20:30Z", "2026-02-15T10:20:30Z"),
        ("2026-01-15T10:20:30Z", 1, "2026-02-15T10:20:29Z", "2026-01-15T10:20:30Z", "2026-02-15T10:20:30Z"),
        ("2026-01-15T10:20:30Z", 1, "2026-02-15T10:20:30Z", "2026-02-15T10:20:30Z", "2026-03-15T10:20:30Z"),
        ("2026-01-15T10:20:30Z", 1, "2027-01-01T00:00:00Z", "2026-12-15T10:20:30Z", "2027-01-15T10:20:30Z"),
        // The 31st shrinks to the month's last day and comes back.
        ("2026-01-31T00:00:00Z", 1, "2026-02-27T23:59:59Z", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"),
        ("2026-01-31T00:00:00Z", 1, "2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("2026-01-31T00:00:00Z", 1, "2026-03-30T23:59:59Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("2026-01-31T00:00:00Z", 1, "2026-04-30T00:00:00Z", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z"),
        // The 29th and 30th, with and without a leap day.
        ("2026-01-29T12:00:00Z", 1, "2026-02-28T12:00:00Z", "2026-02-28T12:00:00Z", "2026-03-29T12:00:00Z"),
        ("2028-01-29T12:00:00Z", 1, "2028-02-29T11:59:59Z", "2028-01-29T12:00:00Z", "2028-02-29T12:00:00Z"),
        ("2028-01-30T12:00:00Z", 1, "2028-02-29T12:00:00Z", "2028-02-29T12:00:00Z", "2028-03-30T12:00:00Z"),
        // Annual, also from a leap day.
        ("2026-03-02T09:00:00Z", 12, "2027-03-02T08:59:59Z", "2026-03-02T09:00:00Z", "2027-03-02T09:00:00Z"),
        ("2026-03-02T09:00:00Z", 12, "2027-03-02T09:00:00Z", "2027-03-02T09:00:00Z", "2028-03-02T09:00:00Z"),
        ("2028-02-29T00:00:00Z", 12, "2029-02-28T00:00:00Z", "2029-02-28T00:00:00Z", "2030-02-28T00:00:00Z"),
        ("2028-02-29T00:00:00Z", 12, "2032-02-29T00:00:00Z", "2032-02-29T00:00:00Z", "2033-02-28T00:00:00Z"),
        // Two and three years: one pot for the whole term.
        ("2026-05-31T06:00:00Z", 24, "2028-05-31T05:59:59Z", "2026-05-31T06:00:00Z", "2028-05-31T06:00:00Z"),
        ("2026-05-31T06:00:00Z", 36, "2029-05-31T06:00:00Z", "2029-05-31T06:00:00Z", "2032-05-31T06:00:00Z"),
        // The nights in which clocks change elsewhere: nothing happens in UTC.
        ("2026-02-28T02:30:00Z", 1, "2026-03-28T02:30:00Z", "2026-03-28T02:30:00Z", "2026-04-28T02:30:00Z"),
        ("2026-09-25T01:30:00Z", 1, "2026-10-25T01:29:59Z", "2026-09-25T01:30:00Z", "2026-10-25T01:30:00Z"),
        // Before the anchor: the period before.
        ("2026-03-31T00:00:00Z", 1, "2026-03-30T00:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"),
    ];
    assert_eq!(cases.len(), 20);
    for (anchor, months, instant, start, end) in cases {
        let period = Cycle { anchor: at(anchor), months }.period(at(instant));
        assert_eq!(period, Period { start: at(start), end: at(end) }, "{anchor} by {months} months at {instant}");
    }
}

/// What a plan includes; None is unlimited.
type Plan = Option<i128>;

fn account(uses: &[(Plan, &str)]) -> PeriodAccount {
    let period = Period { start: at("2026-03-01T00:00:00Z"), end: at("2026-04-01T00:00:00Z") };
    let mut account = PeriodAccount::new(period);
    for (number, (included, used)) in uses.iter().enumerate() {
        let included = included.map_or(Included::Unlimited, |units| Included::Units(Quantity::units(units)));
        let terms = DimensionTerms {
            name: String::new(),
            unit: String::new(),
            price: "1".parse().unwrap(),
            currency: String::new(),
            included,
        };
        let counter = Counter { meter: Meter::direct("d"), total: total(used) };
        account.segments.insert(
            number,
            SegmentAccount {
                plan: number.to_string(),
                trial: false,
                counters: BTreeMap::from([("dimension:d".to_owned(), counter)]),
                dimensions: BTreeMap::from([("d".to_owned(), Booked { terms: Some(terms), ..Booked::default() })]),
            },
        );
    }
    account
}

fn total(text: &str) -> Quantity {
    text.parse().unwrap()
}

#[test]
fn included_units_are_granted_once_in_a_period_however_plans_change() {
    const S: Plan = Some(1_000);
    const L: Plan = Some(5_000);
    const N: Plan = Some(0);
    const U: Plan = None;
    // plans with what was used under each, and then for each: included, billable
    type Case<'a> = (&'a str, &'a [(Plan, &'a str)], &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 20] = [
        ("below the included quantity", &[(S, "999.999999")], &[("999.999999", "0")]),
        ("exactly the included quantity", &[(S, "1000")], &[("1000", "0")]),
        ("a millionth above", &[(S, "1000.000001")], &[("1000", "0.000001")]),
        ("nothing included", &[(N, "3")], &[("0", "3")]),
        ("unlimited", &[(U, "123456")], &[("123456", "0")]),
        ("upgrade before the small pot is empty", &[(S, "600"), (L, "4000")], &[("600", "0"), ("4000", "0")]),
        ("upgrade, and the large pot has 4,400 left", &[(S, "600"), (L, "4500")], &[("600", "0"), ("4400", "100")]),
        ("upgrade after the small pot is empty", &[(S, "1200"), (L, "4000")], &[("1000", "200"), ("4000", "0")]),
        (
            "upgrade after overuse, and the rest is used, too",
            &[(S, "1200"), (L, "4001")],
            &[("1000", "200"), ("4000", "1")],
        ),
        ("downgrade with little used", &[(L, "300"), (S, "600")], &[("300", "0"), ("600", "0")]),
        ("downgrade with 700 left", &[(L, "300"), (S, "800")], &[("300", "0"), ("700", "100")]),
        (
            "downgrade with more used than the small plan includes",
            &[(L, "3000"), (S, "10")],
            &[("3000", "0"), ("0", "10")],
        ),
        ("there and back again", &[(S, "500"), (L, "1000"), (S, "20")], &[("500", "0"), ("1000", "0"), ("0", "20")]),
        (
            "up, down and up",
            &[(S, "100"), (L, "100"), (S, "100"), (L, "4800")],
            &[("100", "0"), ("100", "0"), ("100", "0"), ("4700", "100")],
        ),
        ("from a plan with nothing included", &[(N, "50"), (S, "1000")], &[("0", "50"), ("1000", "0")]),
        ("to a plan with nothing included", &[(S, "400"), (N, "1")], &[("400", "0"), ("0", "1")]),
        (
            "from unlimited: nothing of the pot was used",
            &[(U, "9000"), (S, "1000.5")],
            &[("9000", "0"), ("1000", "0.5")],
        ),
        ("to unlimited", &[(S, "1300"), (U, "9000")], &[("1000", "300"), ("9000", "0")]),
        (
            "changes without use between",
            &[(S, "0.5"), (L, "0.000001"), (S, "999.5")],
            &[("0.5", "0"), ("0.000001", "0"), ("999.499999", "0.000001")],
        ),
        ("a correction below zero counts as included", &[(S, "-5"), (L, "5001")], &[("-5", "0"), ("5000", "1")]),
    ];
    for (name, uses, expected) in cases {
        let shares = account(uses).shares();
        for (number, (included, billable)) in expected.iter().enumerate() {
            let share = shares[&(number, "d".to_owned())];
            assert_eq!((share.included, share.billable), (total(included), total(billable)), "{name}, plan {number}");
            assert_eq!(share.recorded, share.included + share.billable, "{name}");
        }
    }
}

#[test]
fn tiers_and_factors_divide_exactly() {
    let tiers = vec![
        Tier { dimension: "first".into(), from: Quantity::ZERO },
        Tier { dimension: "second".into(), from: Quantity::units(10) },
        Tier { dimension: "third".into(), from: Quantity::units(100) },
    ];
    let divided = |counters: &[(&str, Meter, &str)]| {
        let counters = counters
            .iter()
            .map(|(name, meter, used)| ((*name).to_owned(), Counter { meter: meter.clone(), total: total(used) }));
        let segment = SegmentAccount {
            plan: String::new(),
            trial: false,
            counters: counters.collect(),
            dimensions: BTreeMap::new(),
        };
        segment
            .quantities()
            .into_iter()
            .map(|(dimension, quantity)| format!("{dimension} {quantity}"))
            .collect::<Vec<_>>()
    };
    let tokens = Meter { per: 1_000, tiers };
    assert_eq!(divided(&[("t", tokens.clone(), "9999")]), ["first 9.999", "second 0", "third 0"]);
    assert_eq!(divided(&[("t", tokens.clone(), "10001")]), ["first 10", "second 0.001", "third 0"]);
    assert_eq!(divided(&[("t", tokens, "250000.5")]), ["first 10", "second 90", "third 150.0005"]);
    // Thirds of a minute from three meters are one minute, not 0.999999.
    let milliseconds = Meter { per: 60_000, ..Meter::direct("minutes") };
    let seconds = Meter { per: 60, ..Meter::direct("minutes") };
    assert_eq!(
        divided(&[
            ("a", milliseconds.clone(), "20000"),
            ("b", seconds, "20"),
            ("c", Meter { per: 3, ..Meter::direct("minutes") }, "1")
        ]),
        ["minutes 1"]
    );
    assert_eq!(divided(&[("a", milliseconds, "20000")]), ["minutes 0.333333"]);
}
