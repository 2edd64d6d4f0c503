//! What the datasets hold: from the marketplace's own books and from the synthetic history, in Microsoft's formats. Business
//! time begins on 2026-01-31 at 10:00.

use std::collections::HashSet;

use jiff::SignedDuration;
use serde_json::json;

use super::super::{Action, BookedUsage, Deployment, Lead, Person, PurchaseOptions};
use super::tests::World;
use super::*;

const EVER: (Date, Date) = (Date::constant(2000, 1, 1), Date::constant(2100, 1, 1));

fn rows(file: &str) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(file.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

impl World {
    fn truth(&self, dataset: &str) -> Vec<TruthRow> {
        self.simulator().analytics_truth(dataset, EVER.0, EVER.1)
    }

    fn sum(&self, dataset: &str, column: &str, by: &[&str]) -> BTreeMap<Vec<String>, Decimal> {
        self.simulator().analytics_sums(dataset, column, by, EVER.0, EVER.1)
    }

    fn total(&self, dataset: &str, column: &str) -> Decimal {
        self.sum(dataset, column, &[]).into_values().sum()
    }

    /// Usage that was booked at this moment, for the hour before.
    fn book(&self, resource: Uuid, dimension: &str, millionths: i128) {
        let now = self.simulator().now();
        let hour = now - SignedDuration::from_hours(1);
        self.simulator().edit_usage_book(|book| {
            book.push(BookedUsage {
                resource: resource.to_string(),
                dimension: dimension.into(),
                hour,
                effective_start: hour,
                plan: "metered".into(),
                quantity: millionths,
                booked_at: now,
                ..BookedUsage::default()
            });
        });
    }
}

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn value<'a>(row: &'a TruthRow, column: &str) -> Option<&'a str> {
    row.iter().find(|(name, _)| *name == column).unwrap().1.as_deref()
}

#[tokio::test]
async fn every_file_holds_exactly_the_true_rows() {
    let world = World::with_history().await;
    for table in TABLES.iter() {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let query = format!("SELECT {} FROM {} TIMESPAN LIFETIME", names.join(","), table.name);
        let file = world.file(&query, json!({})).await;
        assert_eq!(file.lines().next().unwrap(), names.join(","));
        let mut found = rows(&file);
        let truth = world.simulator().analytics_truth(table.name, EVER.0, EVER.1);
        let mut wanted: Vec<Vec<String>> =
            truth.into_iter().map(|row| row.into_iter().map(|(_, text)| text.unwrap_or_default()).collect()).collect();
        found.sort();
        wanted.sort();
        assert!(found.len() >= 20, "{}: {}", table.name, found.len());
        assert_eq!(found, wanted, "{}", table.name);
        world.advance(60);
    }
}

#[tokio::test]
async fn values_are_written_as_microsoft_writes_them() {
    let world = World::with_history().await;
    let query = "SELECT MarketplaceSubscriptionId, OfferType, IsNewCustomer, AutoRenew, OrderCancelDate, TermStartDate, \
                 BilledRevenue, CustomerId, EventTimestamp, OrderStatus FROM ISVOrder WHERE OfferType = 'SaaS' TIMESPAN LIFETIME";
    let file = world.file(query, json!({})).await;
    let shape = regex::Regex::new(
        r#"(?x)^"00000000-0000-0000-0000-000000000000","saas","[01]","(True|False)",
        ("\d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d\.\d{7}")?,"\d{4}-\d\d-\d\d","\d+\.\d{5}",
        "[0-9a-f-]{36}_\d{4}-\d\d-\d\d","\d{4}-\d\d-\d\d\ \d\d:\d\d:\d\d\.\d{7}","(active|cancelled)"$"#,
    )
    .unwrap();
    let lines: Vec<&str> = file.lines().skip(1).collect();
    assert!(lines.len() > 100);
    assert!(
        lines.iter().all(|line| shape.is_match(line)),
        "{}",
        lines.iter().find(|line| !shape.is_match(line)).unwrap()
    );
    assert!(lines.iter().any(|line| line.contains(",,")) && lines.iter().any(|line| line.ends_with("\"cancelled\"")));
    let masked = world.truth("ISVCustomer");
    assert!(masked.iter().any(|row| value(row, "CustomerCompanyName") == Some("************")));
    let apps = world.truth("ISVOrder");
    assert!(apps.iter().any(|row| value(row, "OfferType") == Some("azure applications")
        && value(row, "AutoRenew").is_none()
        && value(row, "MarketplaceSubscriptionId") != Some("00000000-0000-0000-0000-000000000000")));
    let errors = world.truth("ISVQualityOfService");
    let nasty = errors.iter().filter_map(|row| value(row, "ErrorMessage")).collect::<Vec<_>>();
    assert!(nasty.iter().any(|text| text.contains('\n') && text.contains('"') && text.contains(',')), "{nasty:?}");
}

#[tokio::test]
async fn a_subscription_leaves_an_order_for_each_step_of_its_life() {
    let world = World::start().await;
    let options = PurchaseOptions { auto_activate: true, ..PurchaseOptions::default() };
    let buyer = Person::contoso_buyer();
    let id = world.simulator().purchase("mediagenie", "team", Some(5), &buyer, None, options).subscription_id;
    let act = |action| {
        let operation = world.simulator().act(id, action).unwrap();
        world.simulator().turn(|turn| turn.state.subscriptions.get_mut(&id).unwrap().accept(operation));
    };
    world.advance(60);
    act(Action::ChangeQuantity(8));
    world.advance(60);
    act(Action::ChangePlan("starter".into()));
    world.advance(40 * 24 * 60);
    world.simulator().act(id, Action::Unsubscribe).unwrap();
    let orders = world.truth("ISVOrder");
    let seen: Vec<_> = orders
        .iter()
        .map(|row| {
            ["OrderVersion", "OrderAction", "PlanId", "Quantity", "QuantityChanged", "BilledRevenue"]
                .map(|column| value(row, column).unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["1", "Purchase", "team", "5", "5", "95.00000"],
            ["2", "Purchase", "team", "8", "3", "57.00000"],
            ["3", "Purchase", "starter", "1", "-7", "49.00000"],
            ["4", "Renewed", "starter", "1", "0", "49.00000"],
            ["5", "Canceled", "starter", "1", "-1", "0.00000"],
        ]
    );
    assert!(orders.iter().all(|row| value(row, "OrderStatus") == Some("cancelled")), "also the rows of old dates");
    assert!(orders.iter().all(|row| value(row, "AssetId") == Some(id.to_string().as_str())));
    let customer = &world.truth("ISVCustomer")[0];
    assert_eq!((value(customer, "IsActive"), value(customer, "DateLost")), (Some("0"), Some("2026-03-12")));
    let months = world.sum("ISVRevenue", "TransactionAmountCC", &["MonthStartDate"]);
    let months: Vec<_> = months.into_iter().map(|(key, sum)| (key[0].clone(), sum)).collect();
    assert_eq!(months, [("2026-01-01".into(), number("201.00000")), ("2026-02-01".into(), number("49.00000"))]);
}

#[tokio::test]
async fn a_trial_costs_nothing_and_what_never_began_is_not_sold() {
    let world = World::start().await;
    world.marketplace.bought("trial");
    let buyer = Person::contoso_buyer();
    world.simulator().purchase("mediagenie", "starter", None, &buyer, None, PurchaseOptions::default());
    world.advance(40 * 24 * 60);
    let orders = world.truth("ISVOrder");
    let seen: Vec<_> = orders.iter().map(|row| (value(row, "IsTrial"), value(row, "BilledRevenue"))).collect();
    assert_eq!(seen, [(Some("1"), Some("0.00000")), (Some("0"), Some("29.00000"))]);
    assert_eq!(value(&orders[0], "TrialEndDate"), Some("2026-02-27"));
}

#[tokio::test]
async fn accepted_usage_is_told_a_day_later_and_billed_by_month() {
    let world = World::start().await;
    let id = world.marketplace.bought("metered");
    world.book(id, "speech_minutes", 1_500_000);
    world.advance(60);
    world.book(id, "speech_minutes", 2_000_000);
    world.book(id, "vision_images", 7_000_000);
    world.simulator().edit_usage_book(|book| book[2].recon_override = Some(super::super::ReconStatus::Rejected));
    assert!(world.truth("ISVUsage").is_empty());
    world.advance(23 * 60);
    assert_eq!(world.total("ISVUsage", "MeteredUsage"), number("1.5"), "the first hour is a day old");
    world.advance(60);
    let usage = world.truth("ISVUsage");
    assert_eq!(usage.len(), 1);
    let shown =
        ["UsageDate", "MeterDimension", "MeteredUsage", "PriceCC", "EstimatedExtendedChargeCC", "CustomerCurrencyCC"];
    let shown = shown.map(|column| value(&usage[0], column).unwrap());
    assert_eq!(shown, ["2026-01-31", "speech_minutes", "3.50000", "0.02000", "0.07000", "USD"]);
    let revenue = world.truth("ISVRevenue");
    let line = revenue.iter().find(|row| value(row, "BillingModel") == Some("UsageBased")).unwrap();
    let joined = format!("{}_{}", value(line, "PurchaseRecordId").unwrap(), value(line, "LineItemId").unwrap());
    assert_eq!(value(&usage[0], "UsageReference"), Some(joined.as_str()));
    assert_eq!((value(line, "Quantity"), value(line, "Units")), (Some("3.50000"), Some("NA")));
    assert_eq!(value(line, "TransactionAmountCC"), Some("0.07000"));
}

#[tokio::test]
async fn a_managed_application_is_an_order_with_usage_and_a_deployment() {
    let world = World::start().await;
    let app = world.simulator().managed_apps().deploy(Deployment::default()).unwrap();
    world
        .simulator()
        .managed_apps()
        .deploy(Deployment { provisioning_fails: true, ..Deployment::named("bad") })
        .unwrap();
    world.advance(60);
    world.book(app.resource_usage_id.unwrap(), "speech_minutes", 5_000_000);
    world.advance(24 * 60);
    let usage = world.truth("ISVUsage");
    assert_eq!(value(&usage[0], "OfferType"), Some("azure applications"));
    assert_eq!(value(&usage[0], "MarketplaceSubscriptionId"), Some(app.subscription.to_string().as_str()));
    assert_eq!(world.truth("ISVOrder").len(), 1);
    let deployments = world.sum("ISVQualityOfService", "DeploymentDurationInMilliSeconds", &["DeploymentStatus"]);
    let states: Vec<_> = deployments.into_keys().flatten().collect();
    assert_eq!(states, ["failed", "successful"]);
}

#[tokio::test]
async fn leads_are_page_visits() {
    let world = World::start().await;
    let address = format!("{}/lead", world.simulator().product_url());
    for action in ["INS", "PLT", "INS"] {
        world.simulator().send_lead(&address, &Lead::default().action(action)).await;
    }
    let rows = world.truth("ISVMarketplaceInsights");
    assert_eq!(rows.len(), 1);
    let counts = ["PageVisits", "GetItNow", "ContactMe"].map(|column| value(&rows[0], column).unwrap());
    assert_eq!((counts, value(&rows[0], "Campaign")), (["3", "2", "1"], None));
}

#[tokio::test]
async fn metrics_are_summed_over_what_else_is_selected() {
    let world = World::with_history().await;
    let by_currency = world.sum("ISVUsage", "EstimatedExtendedChargeCC", &["CustomerCurrencyCC"]);
    assert!(by_currency.len() > 3);
    let query = "SELECT CustomerCurrencyCC, EstimatedExtendedChargeCC FROM ISVUsage ORDER BY CustomerCurrencyCC ASC TIMESPAN LIFETIME";
    let file = rows(&world.file(query, json!({})).await);
    let found: BTreeMap<Vec<String>, Decimal> =
        file.into_iter().map(|row| (vec![row[0].clone()], number(&row[1]))).collect();
    assert_eq!(found, by_currency);
    let by_day = "SELECT UsageDate, MeteredUsage FROM ISVUsage TIMESPAN LIFETIME";
    let file = rows(&world.file(by_day, json!({})).await);
    assert_eq!(file.len(), world.sum("ISVUsage", "MeteredUsage", &["UsageDate"]).len(), "one row a day");
}

#[tokio::test]
async fn rows_are_chosen_ordered_and_limited() {
    let world = World::with_history().await;
    let ask = async |rest: &str| {
        let text = format!("SELECT OfferName, Quantity, EventTimestamp FROM ISVOrder {rest} TIMESPAN LIFETIME");
        world.advance(15);
        rows(&world.file(&text, json!({})).await)
    };
    let all = ask("").await.len();
    assert_eq!(
        ask("WHERE OfferName = 'MEDIAGENIE'").await.len() + ask("WHERE OfferName LIKE '%studio'").await.len(),
        all
    );
    let many = ask("WHERE Quantity >= 20 AND Quantity != '25' ORDER BY Quantity, EventTimestamp ASC LIMIT 7").await;
    let quantities: Vec<i64> = many.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(quantities.is_sorted_by(|one, other| one >= other) && quantities.len() == 7, "descending without a word");
    let some = ask("WHERE Quantity IN (1, '2') AND EventTimestamp < '2025-01-01'").await;
    assert!(
        !some.is_empty() && some.iter().all(|row| ["1", "2"].contains(&row[1].as_str()) && row[2].starts_with("2024"))
    );
    let none = ask("WHERE Quantity = 'many' AND OrderStatus NOT IN ('x') AND OfferName NOT LIKE 'z%'").await;
    assert!(none.is_empty(), "a wrong literal gives an empty file");
    let kinds = world
        .file("SELECT DISTINCT OfferType, IsTrial FROM ISVOrder WHERE IsTrial = 'no' TIMESPAN LIFETIME", json!({}));
    assert_eq!(rows(&kinds.await).len(), 2);
}

#[tokio::test]
async fn a_time_span_counts_back_from_the_execution_and_a_range_replaces_it() {
    let world = World::with_history().await;
    world.simulator().analytics().set_usage_latency(SignedDuration::ZERO);
    let days = async |rest: &str, more| {
        let file = world.file(&format!("SELECT UsageDate, RawUsage FROM ISVUsage {rest}"), more).await;
        let days: Vec<String> = rows(&file).into_iter().map(|row| row[0].clone()).collect();
        (days.first().cloned().unwrap_or_default(), days.last().cloned().unwrap_or_default())
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(days("TIMESPAN LAST_MONTH", json!({})).await, pair("2026-01-01", "2026-01-30"));
    assert_eq!(days("", json!({})).await, pair("2025-08-01", "2026-01-30"), "six months without a word");
    let range = json!({ "QueryStartTime": "2025-03-05T00:00:00Z", "QueryEndTime": "2025-03-07T00:00:00Z" });
    assert_eq!(days("TIMESPAN LAST_MONTH", range).await, pair("2025-03-05", "2025-03-07"));
    world.simulator().faults().change(|switches| switches.analytics.calendar_spans = true);
    assert_eq!(days("TIMESPAN LAST_MONTH", json!({})).await, pair("2025-12-01", "2025-12-31"));
    let revenue = world.file("SELECT MonthStartDate, Revenue FROM ISVRevenue TIMESPAN LAST_3_MONTHS", json!({})).await;
    let months: HashSet<String> = rows(&revenue).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(months.len(), 3, "{months:?}");
}

#[tokio::test]
async fn a_history_follows_from_its_seed_and_its_money_adds_up() {
    let (one, other) = (World::with_history().await, World::with_history().await);
    let more = AnalyticsHistory { seed: 2, ..AnalyticsHistory::default() };
    for table in TABLES.iter() {
        assert_eq!(one.truth(table.name), other.truth(table.name), "{}", table.name);
    }
    other.simulator().analytics().set_history(Some(more));
    assert_ne!(one.truth("ISVOrder"), other.truth("ISVOrder"));
    // After a while all usage is told.
    one.advance(3 * 24 * 60);
    let by = ["MonthStartDate", "Currency"];
    let mut sold = one.sum("ISVOrder", "BilledRevenue", &by);
    for (key, sum) in one.sum("ISVUsage", "EstimatedExtendedChargeCC", &["MonthStartDate", "CustomerCurrencyCC"]) {
        *sold.entry(key).or_default() += sum;
    }
    let currencies: BTreeMap<String, String> = one
        .truth("ISVOrder")
        .iter()
        .chain(&one.truth("ISVUsage"))
        .map(|row| {
            let currency = row.iter().find(|(name, _)| ["Currency", "CustomerCurrencyCC"].contains(name)).unwrap();
            (value(row, "BillingAccountId").unwrap().to_owned(), currency.1.clone().unwrap())
        })
        .collect();
    let mut billed: BTreeMap<Vec<String>, Decimal> = BTreeMap::new();
    let mut refunds = 0;
    for row in one.truth("ISVRevenue") {
        let amount = number(value(&row, "TransactionAmountCC").unwrap());
        if amount.is_sign_negative() {
            refunds += 1;
            continue;
        }
        let currency = &currencies[value(&row, "BillingAccountId").unwrap()];
        *billed.entry(vec![value(&row, "MonthStartDate").unwrap().to_owned(), currency.clone()]).or_default() += amount;
    }
    sold.retain(|_, sum| !sum.is_zero());
    assert_eq!(billed, sold);
    assert!(refunds > 0);
}

#[tokio::test]
async fn money_is_on_its_way_for_two_months() {
    let world = World::with_history().await;
    let states = |month: &str| {
        let all = world.sum("ISVRevenue", "Revenue", &["MonthStartDate", "PayoutStatus"]);
        all.into_keys().filter(|key| key[0] == month).map(|key| key[1].clone()).collect::<Vec<_>>()
    };
    let before = world.sum("ISVRevenue", "Revenue", &["MonthStartDate"]);
    assert_eq!(states("2026-01-01"), ["Unprocessed"]);
    world.advance(31 * 24 * 60);
    let after = world.sum("ISVRevenue", "Revenue", &["MonthStartDate"]);
    assert_eq!(states("2026-01-01"), ["Sent", "Upcoming"], "one line in twenty in part");
    assert_eq!(before[&vec!["2025-12-01".to_owned()]], after[&vec!["2025-12-01".to_owned()]]);
    world.advance(31 * 24 * 60);
    assert!(
        states("2026-01-01").contains(&"Sent".to_owned()) && !states("2026-01-01").contains(&"Upcoming".to_owned())
    );
}

#[tokio::test]
async fn a_restated_month_is_in_later_files_only() {
    let world = World::with_history().await;
    let query = "SELECT UsageDate, MeteredUsage, EstimatedExtendedChargeCC FROM ISVUsage TIMESPAN LAST_3_MONTHS";
    let sum = |file: &str| rows(file).iter().map(|row| number(&row[1])).sum::<Decimal>();
    let first = world.execute_now(query, json!({})).await;
    world.advance(9);
    let december = Date::constant(2025, 12, 1);
    let before = world.total("ISVUsage", "MeteredUsage");
    let month = |world: &World| world.sum("ISVRevenue", "Quantity", &["MonthStartDate", "BillingModel"]);
    let billed = month(&world)[&vec!["2025-12-01".to_owned(), "UsageBased".to_owned()]];
    world.simulator().analytics().restate_month(december, number("0.5"));
    let early = world.fetch(&world.link(&first).await).await.text().await.unwrap();
    let late = world.file(query, json!({})).await;
    let truth = world.simulator().analytics_sums("ISVUsage", "MeteredUsage", &[], Date::constant(2025, 11, 1), EVER.1);
    assert!(sum(&early) > sum(&late));
    assert_eq!(truth[&Vec::new()], sum(&late));
    assert!(world.total("ISVUsage", "MeteredUsage") < before);
    assert_eq!(month(&world)[&vec!["2025-12-01".to_owned(), "UsageBased".to_owned()]], billed * number("0.5"));
}

#[tokio::test]
async fn planted_differences_are_there() {
    let world = World::with_history().await;
    let analytics = world.simulator().analytics();
    let first = world.truth("ISVUsage")[0].clone();
    let reference = value(&first, "UsageReference").unwrap();
    let (meant, total) = ([("UsageReference", reference)], || world.total("ISVUsage", "MeteredUsage"));
    let (all, own) = (total(), world.sum("ISVUsage", "MeteredUsage", &["UsageReference"])[&vec![reference.to_owned()]]);
    analytics.plant(Planted::new("ISVUsage", &meant, None, Change::Repeat)).unwrap();
    assert_eq!(total(), all + own);
    let set = BTreeMap::from([("MeteredUsage".to_owned(), Some("0".to_owned()))]);
    analytics.plant(Planted::new("ISVUsage", &meant, None, Change::Set(set))).unwrap();
    assert_eq!(total(), all - own);
    analytics.plant(Planted::new("ISVUsage", &meant, None, Change::Remove)).unwrap();
    let row = [("UsageDate", "2025-05-05"), ("MeteredUsage", "11"), ("OfferName", "Strange")];
    let row = row.map(|(name, text)| (name.to_owned(), text.to_owned()));
    analytics.plant(Planted::new("ISVUsage", &[], None, Change::Add(BTreeMap::from(row)))).unwrap();
    assert_eq!(total(), all - own + number("11"));
    assert!(analytics.plant(Planted::new("ISVUsage", &[("Nothing", "")], None, Change::Remove)).is_err());
}
