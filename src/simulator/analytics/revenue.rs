//! ISVRevenue (analytics contract 9.5): what was billed, by month; subscriptions from the events that cost something,
//! usage as one line for each meter and month. As time passes a line goes from Unprocessed over Upcoming to Sent.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::cell::{Cell, Row, five};
use super::draw::{self, days_after, months_after};
use super::facts::{Asset, rate};
use super::orders::{MASK, common};
use super::tables::Table;
use super::usage::billed;
use super::world::{Between, World, months};

/// What is left to the publisher of a hundred.
const SHARE: i64 = 97;

/// So long after the end of its month a line is processed, and so long after that it is sent.
const STEP_DAYS: i64 = 30;

struct Line<'a> {
    asset: &'a Asset,
    month: Date,
    record: String,
    item: String,
    usage: bool,
    quantity: Decimal,
    amount: Decimal,
    trial: bool,
    plan: &'a str,
    sku: &'a str,
    term: (Date, Date),
}

pub fn rows(world: &World, range: Between) -> Vec<Row> {
    // Revenue is known from January 2021 on.
    let range = Between { to: range.to.min(world.as_of), ..range };
    let known: Vec<Date> = months(range, Date::constant(2021, 1, 1)).collect();
    let (Some(first), Some(last)) = (known.first().copied(), known.last().copied()) else { return Vec::new() };
    let table = Table::named("ISVRevenue");
    let mut lines = Vec::new();
    for asset in world.assets() {
        subscription_lines(world, asset, first..=last, &mut lines);
    }
    booked_usage(world, first..=last, &mut lines);
    drawn_usage(world, &known, &mut lines);
    lines.iter().flat_map(|line| told(world, table, line)).collect()
}

fn subscription_lines<'a>(
    world: &World,
    asset: &'a Asset,
    wanted: std::ops::RangeInclusive<Date>,
    lines: &mut Vec<Line<'a>>,
) {
    for (place, event) in asset.events.iter().enumerate().take_while(|(_, event)| event.at <= world.as_of) {
        let (record, item) = asset.record(place);
        let line = |month: Date, item: String, amount: Decimal| Line {
            asset,
            month,
            record: record.clone(),
            item,
            usage: false,
            quantity: Decimal::from(if event.changed > 0 { event.changed } else { event.seats }),
            amount,
            trial: event.trial,
            plan: &event.plan,
            sku: &event.sku,
            term: event.term,
        };
        let month = draw::day_of(event.at).first_of_month();
        if !event.billed.is_zero() && wanted.contains(&month) {
            lines.push(line(month, item.clone(), event.billed));
        }
        if let Some((month, amount)) = event.refund
            && wanted.contains(&month)
        {
            lines.push(line(month, format!("{item}1"), amount));
        }
    }
}

fn usage_line(asset: &Asset, meter: usize, month: Date, quantity: Decimal) -> Line<'_> {
    let (record, item) = asset.usage_record(meter, month);
    let quantity = billed(asset, quantity);
    let price = asset.meters.get(meter).map_or(Decimal::ZERO, |meter| meter.price);
    let (plan, sku) = asset.plan_of(meter);
    Line {
        asset,
        month,
        record: record.to_string(),
        item: item.to_string(),
        usage: true,
        quantity,
        amount: quantity * price,
        trial: false,
        plan,
        sku,
        term: (month, days_after(months_after(month, 1), -1)),
    }
}

fn booked_usage<'a>(world: &'a World, wanted: std::ops::RangeInclusive<Date>, lines: &mut Vec<Line<'a>>) {
    let mut sums: BTreeMap<(Date, usize, usize), Decimal> = BTreeMap::new();
    for (day, all) in &world.booked.usage {
        let month = day.first_of_month();
        for ((asset, meter), quantity) in all.iter().filter(|_| wanted.contains(&month)) {
            *sums.entry((month, *asset, *meter)).or_default() += *quantity;
        }
    }
    for ((month, asset, meter), quantity) in sums {
        if let Some(asset) = world.booked.assets.get(asset) {
            lines.push(usage_line(asset, meter, month, quantity));
        }
    }
}

fn drawn_usage<'a>(world: &'a World, wanted: &[Date], lines: &mut Vec<Line<'a>>) {
    let Some(history) = &world.history else { return };
    for month in wanted {
        let next = months_after(*month, 1);
        let days = || std::iter::successors(Some(*month), |day| Some(days_after(*day, 1)));
        let days: Vec<Date> = days().take_while(|day| *day < next && world.is_told(*day)).collect();
        for asset in &history.assets {
            for meter in 0..asset.meters.len() {
                let used = days.iter().filter_map(|day| history.used(asset, meter, *day));
                let quantity: Decimal = used.sum();
                if !quantity.is_zero() {
                    lines.push(usage_line(asset, meter, *month, quantity));
                }
            }
        }
    }
}

/// The parts of a line with their payout status: while it is Upcoming, one line in twenty is sent in part already.
fn parts(world: &World, line: &Line<'_>) -> Vec<(&'static str, Option<Decimal>)> {
    let end = months_after(line.month, 1);
    let today = draw::day_of(world.as_of);
    let number = draw::mix(&[draw::number(&line.record), draw::number(&line.item)]);
    if today < days_after(end, STEP_DAYS) {
        vec![("Unprocessed", None)]
    } else if today < days_after(end, 2 * STEP_DAYS) {
        let split = number.is_multiple_of(20);
        let part = Decimal::new(6, 1);
        if split { vec![("Upcoming", Some(part)), ("Sent", Some(-part))] } else { vec![("Upcoming", None)] }
    } else if number % 60 == 1 {
        vec![("Uncollected", None)]
    } else {
        vec![("Sent", None)]
    }
}

/// All of an amount, a part of it, or (negative) what is left without that part.
fn portion(amount: Decimal, part: Option<Decimal>) -> Decimal {
    let all = five(amount);
    match part {
        None => all,
        Some(part) if part.is_sign_negative() => all - five(all * -part),
        Some(part) => five(all * part),
    }
}

fn told(world: &World, table: &'static Table, line: &Line<'_>) -> Vec<Row> {
    parts(world, line).into_iter().map(|(status, part)| row(table, line, status, part)).collect()
}

fn row(table: &'static Table, line: &Line<'_>, status: &'static str, part: Option<Decimal>) -> Row {
    let (asset, customer) = (line.asset, &line.asset.customer);
    let mut row = common(table, asset);
    let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
    let hidden = |text: &str| if customer.masked { Cell::Word(MASK) } else { Cell::some(text) };
    let rate = rate(customer.currency, line.month);
    let (all, abroad) = (portion(line.amount, part), portion(line.amount * rate, part));
    let share = Decimal::new(SHARE, 2);
    let (earned, earned_abroad) =
        (portion(five(line.amount) * share, part), portion(five(line.amount * rate) * share, part));
    let payout = draw::days_after(months_after(line.month, 1), 2 * STEP_DAYS).first_of_month();
    set("AssetId", Cell::id(asset.id));
    set("SalesChannel", Cell::Word(customer.channel));
    set("CustomerCity", hidden(customer.city));
    set("CustomerEmail", hidden(&customer.email));
    set("CustomerName", hidden(format!("{} {}", customer.first_name, customer.last_name).trim()));
    for (name, amount) in [
        ("TransactionAmountCC", all),
        ("TransactionAmountPC", abroad),
        ("TransactionAmountUSD", abroad),
        ("Revenue", all),
        ("EstimatedRevenuePC", abroad),
        ("EstimatedRevenueUSD", abroad),
        ("EarningAmountCC", earned),
        ("EarningAmountPC", earned_abroad),
        ("EarningAmountUSD", earned_abroad),
        ("EarningExchangeRatePC", rate),
        ("ExchangeRatePC", rate),
        ("ExchangeRateUSD", rate),
        ("Quantity", line.quantity),
        ("IncentiveRate", Decimal::ZERO),
    ] {
        set(name, Cell::number(amount));
    }
    set("EarningCurrencyCode", Cell::Word("USD"));
    set("EstimatedPayoutMonth", Cell::Day(payout));
    set("ExchangeRateDate", Cell::Day(line.month));
    set("PayoutStatus", Cell::Word(status));
    set("TrialDeployment", Cell::Flag(line.trial));
    set("LineItemId", Cell::text(&line.item));
    set("PurchaseRecordId", Cell::text(&line.record));
    set("MonthStartDate", Cell::Day(line.month));
    set("PaymentInstrumentType", Cell::Word("Invoice"));
    set("PaymentSentDate", if status == "Sent" { Cell::Day(days_after(payout, 14)) } else { Cell::Null });
    set("SKU", Cell::text(line.sku));
    set("PlanId", Cell::text(line.plan));
    set("TermStartDate", Cell::Day(line.term.0));
    set("TermEndDate", Cell::Day(line.term.1));
    set("BillingModel", Cell::Word(if line.usage { "UsageBased" } else { "SubscriptionBased" }));
    let units = match (line.usage, asset.machine.is_some()) {
        (true, true) => "core hours",
        // The contract says so of custom meters.
        (true, false) => "NA",
        (false, _) => "seats",
    };
    set("Units", Cell::Word(units));
    row
}
