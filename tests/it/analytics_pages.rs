//! The pages of analytics: every number is Microsoft's own, filters, faults under the word, files, and who may do what.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use mediagenie::analytics::model::value;
use mediagenie::simulator::Person;
use rust_decimal::Decimal;

use crate::analytics::{pulled, pulling};
use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page};

const FROM: Date = date(2024, 2, 1);
const TO: Date = date(2026, 3, 2);

async fn staff() -> (TestApp, Browser) {
    let app = pulling().await;
    pulled(&app).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    (app, staff)
}

/// The text without its tags, entities of names undone.
fn text(body: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in body.chars() {
        match character {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            other if !inside => text.push(other),
            _ => {}
        }
    }
    let text = text.replace("&#x27;", "'").replace("&quot;", "\"").replace("&amp;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(page: &Page, wanted: &str) {
    assert!(
        text(&page.body).contains(wanted),
        "“{wanted}” is not on {} ({}):\n{}",
        page.url,
        page.status,
        text(&page.body)
    );
}

/// The table beside a chart: by line and head the cell's exact number.
fn figure(page: &Page, id: &str) -> BTreeMap<(String, String), Decimal> {
    let start = page.body.find(&format!("id=\"figure-{id}\"")).unwrap_or_else(|| panic!("no {id} on {}", page.url));
    let body = &page.body[start..start + page.body[start..].find("</figure>").unwrap()];
    let mut cells = BTreeMap::new();
    let (head, rest) = body.split_once("<tbody>").unwrap();
    let heads: Vec<String> = head.split("<th scope=\"col\"").skip(2).map(|cell| text(&format!("<{cell}"))).collect();
    for row in rest.split("</tbody>").next().unwrap().split("<tr>").skip(1) {
        let (label, rest) = row.split_once("</th>").unwrap();
        for (head, cell) in heads.iter().zip(rest.split("<td").skip(1)) {
            if let Some(value) = cell.split_once("data-value=\"").map(|(_, rest)| rest.split('"').next().unwrap())
                && !value.is_empty()
            {
                cells.insert((text(label), head.clone()), value.parse().unwrap());
            }
        }
    }
    cells
}

/// What is not nothing.
fn told(cells: BTreeMap<(String, String), Decimal>) -> BTreeMap<(String, String), Decimal> {
    cells.into_iter().filter(|(_, cell)| !cell.is_zero()).map(|(key, cell)| (key, cell.normalize())).collect()
}

/// The simulator's own sums, by month and another column.
fn sums(app: &TestApp, dataset: &str, column: &str, dated: &str, by: &str) -> BTreeMap<(String, String), Decimal> {
    let mut all = BTreeMap::new();
    for (key, sum) in app.simulator.analytics_sums(dataset, column, &[dated, by], FROM, TO) {
        *all.entry((key[0][..7].to_owned(), key[1].clone())).or_insert(Decimal::ZERO) += sum;
    }
    told(all)
}

#[tokio::test]
async fn the_overview_tells_what_is_held_and_how_fresh_it_is() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics").await;
    assert_eq!(page.status, 200, "{}", page.body);
    says(&page, "All datasets come as they should");
    for (dataset, count) in app.simulator.analytics().row_counts() {
        let shown = text(&page.body);
        assert!(shown.contains(dataset), "{dataset}");
        let grouped: Vec<char> = count.to_string().chars().rev().collect();
        let grouped: Vec<String> = grouped.chunks(3).map(|part| part.iter().collect()).collect();
        let grouped: String = grouped.join(",").chars().rev().collect();
        assert!(shown.contains(&format!(" {grouped} ")), "{dataset} has {grouped} rows: {shown}");
    }
    assert!(page.says("href=\"/publisher/analytics/usage\"") && page.says("/publisher/analytics/data/ISVRevenue"));
}

#[tokio::test]
async fn without_any_data_every_page_says_what_to_do() {
    let app = TestApp::start().await;
    let staff = app.signed_in(&Person::staff_reader()).await;
    says(&staff.get("/publisher/analytics").await, "ANALYTICS_DATASETS");
    for subject in ["orders", "customers", "usage", "revenue", "retention", "insights", "quality"] {
        let page = staff.get(&format!("/publisher/analytics/{subject}")).await;
        assert_eq!(page.status, 200, "{subject}: {}", page.body);
        says(&page, "Nothing is pulled");
        assert!(!page.says("chart.umd"), "{subject}: nothing is drawn");
    }
    assert_eq!(staff.get("/publisher/analytics/nothing").await.status, 404);
    assert_eq!(staff.get("/publisher/analytics/data/nothing").await.status, 404);
    says(&staff.get("/publisher/analytics/data/usage").await, "There are no rows of these days");
}

#[tokio::test]
async fn usage_and_its_charges_are_microsofts_to_the_last_digit() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics/usage?preset=all&by=month").await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(
        told(figure(&page, "charges")),
        sums(&app, "ISVUsage", "EstimatedExtendedChargeCC", "UsageDate", "CustomerCurrencyCC")
    );
    assert_eq!(
        told(figure(&page, "payouts")),
        sums(&app, "ISVUsage", "EstimatedExtendedChargePC", "UsageDate", "PayoutCurrencyPC")
    );
    assert_eq!(told(figure(&page, "raw")), sums(&app, "ISVUsage", "RawUsage", "UsageDate", "VMSize"));
    assert_eq!(told(figure(&page, "normalized")), sums(&app, "ISVUsage", "NormalizedUsage", "UsageDate", "VMSize"));
    let mut metered = BTreeMap::new();
    for number in 0..10 {
        if page.says(&format!("id=\"figure-metered-{number}\"")) {
            metered.extend(told(figure(&page, &format!("metered-{number}"))));
        }
    }
    assert_eq!(metered, sums(&app, "ISVUsage", "MeteredUsage", "UsageDate", "MeterDimension"));
    // A day at a time, of one plan.
    let page = staff.get("/publisher/analytics/usage?from=2026-01-05&to=2026-01-11&plan=metered").await;
    let mut expected: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    let by = ["UsageDate", "CustomerCurrencyCC", "PlanId"];
    for (key, sum) in
        app.simulator.analytics_sums("ISVUsage", "EstimatedExtendedChargeCC", &by, date(2026, 1, 5), date(2026, 1, 11))
    {
        if key[2] == "metered" {
            *expected.entry((key[0].clone(), key[1].clone())).or_default() += sum;
        }
    }
    assert!(!expected.is_empty());
    assert_eq!(told(figure(&page, "charges")), told(expected));
}

#[tokio::test]
async fn revenue_is_told_by_currency_and_status_to_the_cent() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics/revenue?preset=all").await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(
        told(figure(&page, "earned")),
        sums(&app, "ISVRevenue", "EarningAmountPC", "MonthStartDate", "EarningCurrencyCode")
    );
    assert_eq!(
        told(figure(&page, "statuses-0")),
        sums(&app, "ISVRevenue", "EarningAmountPC", "MonthStartDate", "PayoutStatus")
    );
    let dollars = figure(&page, "dollars");
    let of = |column: &str, words: &str| {
        let all = sums(&app, "ISVRevenue", column, "MonthStartDate", "EarningCurrencyCode");
        told(all.into_iter().map(|((month, _), sum)| ((month, words.to_owned()), sum)).collect())
    };
    let mut expected = of("EstimatedRevenueUSD", "Billed");
    expected.extend(of("EarningAmountUSD", "Your earnings"));
    assert_eq!(told(dollars), expected);
    // The currency of a bill stands in orders and usage only.
    let mut currency: BTreeMap<String, String> = BTreeMap::new();
    for (dataset, name) in [("ISVOrder", "Currency"), ("ISVUsage", "CustomerCurrencyCC")] {
        for row in app.simulator.analytics_truth(dataset, FROM, TO) {
            let cell = |name: &str| row.iter().find(|(known, _)| *known == name).unwrap().1.clone().unwrap_or_default();
            currency.insert(cell("BillingAccountId"), cell(name));
        }
    }
    let mut expected: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    let by = ["MonthStartDate", "BillingAccountId"];
    for (key, sum) in app.simulator.analytics_sums("ISVRevenue", "Revenue", &by, FROM, TO) {
        let known = currency.get(&key[1]).cloned().unwrap_or("Not told".into());
        *expected.entry((key[0][..7].to_owned(), known)).or_default() += sum;
    }
    let currencies: BTreeSet<&String> = expected.keys().map(|(_, currency)| currency).collect();
    assert!(currencies.len() > 2, "{currencies:?}");
    assert_eq!(told(figure(&page, "billed")), told(expected));
}

#[tokio::test]
async fn orders_and_customers_are_counted_as_the_marketplace_had_them() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics/orders?preset=all").await;
    let events = figure(&page, "events");
    let orders = app.simulator.analytics_truth("ISVOrder", FROM, TO);
    let cell = |row: &Vec<(&'static str, Option<String>)>, name: &str| {
        row.iter().find(|(known, _)| *known == name).unwrap().1.clone().unwrap_or_default()
    };
    for (words, action) in [("Renewed", "Renewed"), ("Cancelled", "Canceled")] {
        let shown: Decimal = events.iter().filter(|((_, head), _)| head == words).map(|(_, count)| count).sum();
        let count = orders.iter().filter(|row| cell(row, "OrderAction") == action).count();
        assert!(count > 0);
        assert_eq!(shown, Decimal::from(count as u64), "{words}");
    }
    let assets: BTreeSet<String> = orders.iter().map(|row| cell(row, "AssetId")).collect();
    let new: Decimal = events.iter().filter(|((_, head), _)| head == "New").map(|(_, count)| count).sum();
    assert_eq!(new, Decimal::from(assets.len() as u64));
    let active: BTreeSet<String> =
        orders.iter().filter(|row| cell(row, "OrderStatus") == "active").map(|row| cell(row, "AssetId")).collect();
    let standing = figure(&page, "standing");
    assert_eq!(standing[&("2026-03".into(), "Active subscriptions".into())], Decimal::from(active.len() as u64));

    let page = staff.get("/publisher/analytics/customers?preset=all").await;
    let rows = app.simulator.analytics_truth("ISVCustomer", FROM, TO);
    let ids: BTreeSet<String> = rows.iter().map(|row| cell(row, "CustomerId")).collect();
    let there: BTreeSet<String> =
        rows.iter().filter(|row| cell(row, "IsActive") == "1").map(|row| cell(row, "CustomerId")).collect();
    let moves = figure(&page, "moves");
    let sum =
        |words: &str| -> Decimal { moves.iter().filter(|((_, head), _)| head == words).map(|(_, count)| count).sum() };
    assert_eq!(sum("Acquired"), Decimal::from(ids.len() as u64));
    assert_eq!(sum("Lost"), Decimal::from((ids.len() - there.len()) as u64));
    let countries: Decimal = figure(&page, "countries")
        .iter()
        .filter(|((_, head), _)| head == "Active customers")
        .map(|(_, count)| count)
        .sum();
    assert_eq!(countries, Decimal::from(there.len() as u64));
    // What is narrowed to a plan has fewer.
    let page = staff.get("/publisher/analytics/customers?preset=all&plan=team").await;
    says(&page, "Filtered by Plan: team");
    let of_plan = rows.iter().filter(|row| cell(row, "PlanId") == "team").count();
    says(&page, &format!("Acquired {of_plan} Lost"));
}

#[tokio::test]
async fn visits_deployments_and_retention_add_up() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics/insights?preset=all").await;
    let funnel = figure(&page, "funnel");
    for (words, column) in [("Page visits", "PageVisits"), ("Get it now", "GetItNow"), ("Free trial", "FreeTrial")] {
        let sums = app.simulator.analytics_sums("ISVMarketplaceInsights", column, &[], FROM, TO);
        assert_eq!(funnel[&(words.into(), "Clicks".into())], sums.values().copied().sum(), "{words}");
    }
    let by_offer = figure(&page, "by_offer");
    for (key, sum) in app.simulator.analytics_sums("ISVMarketplaceInsights", "ContactMe", &["OfferName"], FROM, TO) {
        assert_eq!(by_offer[&(key[0].clone(), "Contact me".into())], sum);
    }

    let page = staff.get("/publisher/analytics/quality?preset=all").await;
    let rows = app.simulator.analytics_truth("ISVQualityOfService", FROM, TO);
    let cell = |row: &Vec<(&'static str, Option<String>)>, name: &str| {
        row.iter().find(|(known, _)| *known == name).unwrap().1.clone().unwrap_or_default()
    };
    let of = |status: &str| {
        let all = rows.iter().filter(|row| cell(row, "DeploymentStatus") == status);
        all.map(|row| cell(row, "DeploymentCorrelationId")).collect::<BTreeSet<_>>()
    };
    let outcomes = figure(&page, "outcomes");
    let sum = |words: &str| -> Decimal {
        outcomes.iter().filter(|((_, head), _)| head == words).map(|(_, count)| count).sum()
    };
    let failed = of("failed");
    assert!(!failed.is_empty());
    assert_eq!(sum("Failed"), Decimal::from(failed.len() as u64));
    let good = of("successful").difference(&failed).count();
    assert_eq!(sum("Successful"), Decimal::from(good as u64));
    says(&page, "DeploymentFailed Conflict 1 SkuNotAvailable");

    let page = staff.get("/publisher/analytics/retention?preset=all").await;
    let customers: BTreeSet<String> = app
        .simulator
        .analytics_truth("ISVOfferRetention", FROM, TO)
        .iter()
        .map(|row| format!("{} {}", cell(row, "CustomerId"), cell(row, "FirstUsageDate")))
        .collect();
    let offsets = figure(&page, "offsets");
    assert_eq!(offsets[&("0".into(), "Began".into())], Decimal::from(customers.len() as u64));
    assert_eq!(offsets[&("0".into(), "Share".into())], Decimal::ONE_HUNDRED);
    let cohorts = figure(&page, "cohorts");
    let began: Decimal = cohorts.iter().filter(|((_, head), _)| head == "Began").map(|(_, count)| count).sum();
    let assets: BTreeSet<String> =
        app.simulator.analytics_truth("ISVOrder", FROM, TO).iter().map(|row| cell(row, "AssetId")).collect();
    assert_eq!(began, Decimal::from(assets.len() as u64));
}

#[tokio::test]
async fn a_page_names_its_sources_and_gives_its_rows_as_a_file() {
    let (app, staff) = staff().await;
    let page = staff.get("/publisher/analytics/orders?from=2025-10-01&to=2025-12-31&offer=MediaGenie").await;
    let executions = mediagenie::analytics::executions(&app.host.app, "ISVOrder").await.unwrap();
    assert!(executions.iter().any(|execution| page.says(&execution.id)), "the source can be copied");
    says(&page, "may be up to 48 hours behind");
    let csv =
        staff.get("/publisher/analytics/data/ISVOrder/rows.csv?from=2025-10-01&to=2025-12-31&offer=MediaGenie").await;
    assert_eq!(csv.status, 200);
    let mut reader = csv::Reader::from_reader(csv.body.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let place = heads.iter().position(|head| head == "OfferName").unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let truth = app.simulator.analytics_truth("ISVOrder", date(2025, 10, 1), date(2025, 12, 31));
    let offer = |row: &Vec<(&'static str, Option<String>)>| {
        row.iter().any(|(name, cell)| *name == "OfferName" && cell.as_deref() == Some("MediaGenie"))
    };
    assert_eq!(rows.len(), truth.iter().filter(|row| offer(row)).count());
    assert!(rows.iter().all(|row| &row[place] == "MediaGenie"));
}

#[tokio::test]
async fn rows_are_filtered_in_the_query_language_and_paged_without_a_gap() {
    let (app, staff) = staff().await;
    let address = "/publisher/analytics/data/ISVUsage?preset=all&columns=UsageDate,PlanId,MeteredUsage";
    let filter = "&filter=PlanId+%3D+%27metered%27+AND+MeteredUsage+%3E+100";
    let mut next = format!("{address}{filter}");
    let (mut rows, mut pages) = (Vec::new(), 0);
    loop {
        let page = staff.get(&next).await;
        assert_eq!(page.status, 200, "{}", page.body);
        let body = page.body.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
        rows.extend(body.split("<tr>").skip(1).map(text));
        pages += 1;
        let Some(link) = page.body.split("href=\"").find(|part| part.contains(">Next page")) else { break };
        next = link.split('"').next().unwrap().replace("&amp;", "&");
    }
    assert!(pages > 2, "{pages}");
    let mut expected: Vec<String> = app
        .simulator
        .analytics_truth("ISVUsage", FROM, TO)
        .into_iter()
        .filter_map(|row| {
            let cell = |name: &str| row.iter().find(|(known, _)| *known == name)?.1.clone();
            let quantity = value::number(&cell("MeteredUsage")?)?;
            let wanted = cell("PlanId")? == "metered" && quantity > Decimal::ONE_HUNDRED;
            wanted.then(|| Some(format!("{} metered {}", cell("UsageDate")?, quantity.normalize())))?
        })
        .collect();
    expected.sort();
    rows.sort();
    assert_eq!(rows, expected);

    let page = staff.get(&format!("{address}&filter=PlanIt+%3D+%27metered%27")).await;
    assert_eq!(page.status, 400);
    says(&page, "There is no column `PlanIt`. PlanIt = 'metered' ^^^^^^ Did you mean PlanId?");
    let page = staff.get("/publisher/analytics/data/ISVUsage?from=2026-02-30&to=x").await;
    assert_eq!(page.status, 400);
    says(&page, "is not a day such as 2026-02-11");
    let page = staff.get("/publisher/analytics/orders?from=2026-02-10&to=2026-02-01").await;
    assert_eq!(page.status, 400);
    says(&page, "The first day lies behind the last one.");
}
