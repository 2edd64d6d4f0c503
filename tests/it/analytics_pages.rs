//! The pages of analytics: every number is Microsoft's own, filters, faults under the word, files, and who may do what.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, date};
use mediagenie::analytics::model::datasets::Dataset;
use mediagenie::analytics::model::value;
use mediagenie::simulator::{AnalyticsHistory, Person};
use rust_decimal::Decimal;

use crate::analytics::{pulled, pulling};
use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page, text_of};
use crate::support::gate::Act;
use crate::support::mail::{MailServer, PASSWORD, USER};

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
    text_of(body).replace("&#x27;", "'").replace("&quot;", "\"").replace("&amp;", "&")
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
    // Rows are dated by the first of their month: what the page is about is in the file, too.
    let january = staff.get("/publisher/analytics/revenue?from=2026-01-15&to=2026-01-31").await;
    assert!(january.says("/data/ISVRevenue/rows.csv?from=2026-01-01&amp;to=2026-01-31"), "{}", january.body);
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

const QUESTION: &str = "SELECT UsageDate, CustomerCurrencyCC, EstimatedExtendedChargeCC FROM ISVUsage \
                        WHERE PlanId = 'metered' ORDER BY UsageDate ASC TIMESPAN LAST_3_MONTHS";

fn asked(text: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
    format!("/publisher/analytics/questions?{query}")
}

#[tokio::test]
async fn a_question_is_answered_kept_changed_and_removed() {
    let (app, staff) = staff().await;
    let page = staff.get(&asked(QUESTION)).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let sums = app.simulator.analytics_sums(
        "ISVUsage",
        "EstimatedExtendedChargeCC",
        &["UsageDate", "CustomerCurrencyCC", "PlanId"],
        date(2025, 12, 1),
        TO,
    );
    let of_plan: Vec<_> = sums.iter().filter(|(key, _)| key[2] == "metered").collect();
    says(&page, &format!("{} rows of ISVUsage from 2025-12-01 to 2026-03-02", of_plan.len()));
    let csv = staff.get(&asked(QUESTION).replace("questions?", "questions/answer.csv?")).await;
    let rows: BTreeMap<(String, String), Decimal> = csv::Reader::from_reader(csv.body.as_bytes())
        .records()
        .map(|row| row.unwrap())
        .map(|row| ((row[0].to_owned(), row[1].to_owned()), row[2].parse().unwrap()))
        .collect();
    let expected = of_plan.into_iter().map(|(key, sum)| ((key[0].clone(), key[1].clone()), sum.normalize())).collect();
    assert_eq!(rows, expected);

    let wrong = staff.get(&asked("SELECT UsageDay FROM ISVUsage TIMESPAN LAST_MONTH")).await;
    assert_eq!(wrong.status, 400);
    says(
        &wrong,
        "ISVUsage has no column `UsageDay`. SELECT UsageDay FROM ISVUsage TIMESPAN LAST_MONTH ^^^^^^^^ Did you mean UsageDate?",
    );

    let sample =
        staff.get(&format!("{}&at=microsoft", asked("SELECT UsageDate, PlanId FROM ISVUsage TIMESPAN LIFETIME"))).await;
    says(&sample, "Microsoft’s sample");
    says(&sample, "UsageDate PlanId 2024-02-01 payg");

    let (here, action) = ("/publisher/analytics/questions", "/publisher/analytics/questions/keep");
    let kept = staff.submit(&page, action, &[("name", "Charges"), ("text", QUESTION)]).await;
    says(&kept, "The question is kept");
    says(&kept, "Charges");
    let twice = staff.submit(&page, action, &[("name", "charges"), ("text", QUESTION)]).await;
    assert_eq!(twice.status, 400);
    says(&twice, "Another question has this name.");
    let id = mediagenie::analytics::mails::all(&app.host.app).await.unwrap().remove(0).id;
    let change = format!("{here}/{id}/change");
    let other = "SELECT PlanId, MeteredUsage FROM ISVUsage TIMESPAN LAST_MONTH";
    let page = staff.get(&format!("{}&open={id}", asked(other))).await;
    says(&staff.submit(&page, &change, &[("text", other)]).await, "The question was changed");
    assert_eq!(mediagenie::analytics::mails::all(&app.host.app).await.unwrap()[0].text, other);
    let reader = app.signed_in(&Person::staff_reader()).await;
    let seen = reader.get(&format!("{here}?open={id}")).await;
    says(&seen, "Charges");
    assert!(!seen.says("/remove"), "readers look and do not act");
    let gone = staff.submit(&page, &format!("{here}/{id}/remove"), &[]).await;
    says(&gone, "The question was removed");
}

async fn mailing() -> (TestApp, MailServer, Browser, String) {
    let mail = MailServer::start().await;
    let server = format!("smtp://{USER}@127.0.0.1:{}", mail.port);
    let app = TestApp::with(&[
        ("ANALYTICS_DATASETS", "usage"),
        ("MAIL_SMTP", &server),
        ("MAIL_FROM", "Analytics <analytics@mediagenie.example>"),
        ("MAIL_PASSWORD", PASSWORD),
    ])
    .await;
    app.simulator.analytics().set_history(Some(AnalyticsHistory::default()));
    pulled(&app).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get(&asked(QUESTION)).await;
    let kept =
        staff.submit(&page, "/publisher/analytics/questions/keep", &[("name", "Charges"), ("text", QUESTION)]).await;
    let id = mediagenie::analytics::mails::all(&app.host.app).await.unwrap().remove(0).id;
    let schedule = format!("/publisher/analytics/questions/{id}/schedule");
    let filled = [("every", "day"), ("hour", "6"), ("to", "fin@mediagenie.example, cfo@mediagenie.example")];
    let wrong = staff.submit(&kept, &schedule, &[filled[0], filled[1], ("to", "nobody")]).await;
    assert_eq!(wrong.status, 400);
    says(&wrong, "`nobody` is no mail address.");
    let done = staff.submit(&kept, &schedule, &filled).await;
    says(&done, "Its answer will be mailed");
    says(&done, "Mailed to fin@mediagenie.example, cfo@mediagenie.example. Next: 2026-03-03 06:00 UTC");
    (app, mail, staff, id)
}

/// What the timer does at a time of its schedule.
async fn morning(app: &TestApp) {
    let next: jiff::Timestamp = "2026-03-03T06:00:30Z".parse().unwrap();
    app.clock.advance(next.duration_since(app.now()));
}

#[tokio::test]
async fn an_answer_is_mailed_once_for_each_due_time_however_often_the_timer_runs() {
    let (app, mail, staff, _) = mailing().await;
    app.fire("SendReports").await;
    assert!(mail.take().is_empty(), "not due yet");
    morning(&app).await;
    let function = app.host.functions.by_name("SendReports").unwrap();
    let (one, other) = tokio::join!(
        mediagenie::host::dispatch::timer(&app.host, function),
        mediagenie::host::dispatch::timer(&app.host, function)
    );
    one.unwrap();
    other.unwrap();
    app.fire("SendReports").await;
    let mails = mail.take();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to, ["fin@mediagenie.example", "cfo@mediagenie.example"]);
    assert_eq!(mails[0].header("subject"), "Charges (2025-12-01 =?utf-8?b?4oCT?= 2026-03-03)");
    let file = mails[0].part("text/csv");
    assert!(file.starts_with("UsageDate,CustomerCurrencyCC,EstimatedExtendedChargeCC\n"), "{file}");
    let sum: Decimal = csv::Reader::from_reader(file.as_bytes())
        .records()
        .map(|row| row.unwrap()[2].parse::<Decimal>().unwrap())
        .sum();
    let sums = app.simulator.analytics_sums(
        "ISVUsage",
        "EstimatedExtendedChargeCC",
        &["PlanId"],
        date(2025, 12, 1),
        date(2026, 3, 3),
    );
    assert_eq!(sum, sums[&vec!["metered".to_owned()]].normalize());
    let page = staff.get("/publisher/analytics/questions").await;
    says(&page, "Sent 2026-03-03 06:00 UTC");
    says(&page, "Next: 2026-03-04 06:00 UTC");
}

#[tokio::test]
async fn a_mail_that_was_not_taken_is_tried_again_and_one_that_may_have_gone_is_not() {
    let (app, mail, staff, id) = mailing().await;
    morning(&app).await;
    mail.answer("MAIL", "451 later");
    app.fire("SendReports").await;
    assert!(mail.take().is_empty());
    says(&staff.get("/publisher/analytics/questions").await, "The mail server answered 451");
    app.clock.advance(jiff::SignedDuration::from_mins(11));
    app.fire("SendReports").await;
    assert_eq!(mail.take().len(), 1);

    // Who dies after the row was written leaves it to a person.
    app.clock.advance(jiff::SignedDuration::from_hours(24));
    app.gate.next(Act::Stop, |table, writes| {
        table.0 == "AnalyticsQuestions"
            && writes.iter().any(|write| {
                write.body().is_some_and(|body| {
                    body.contains("\"outcome\":\"sent\"")
                        && body.contains("\"sending\":null")
                        && body.contains("2026-03-04")
                })
            })
    });
    let function = app.host.functions.by_name("SendReports").unwrap();
    tokio::select! {
        _ = mediagenie::host::dispatch::timer(&app.host, function) => panic!("it was to be stopped"),
        () = app.gate.arrived() => {}
    }
    app.gate.open();
    assert_eq!(mail.take().len(), 1, "it went, and nobody knows");
    for _ in 0..3 {
        app.clock.advance(jiff::SignedDuration::from_mins(10));
        app.fire("SendReports").await;
    }
    assert!(mail.take().is_empty(), "nobody gets it twice");
    let page = staff.get("/publisher/analytics/questions").await;
    says(&page, "Nobody knows whether it went");
    let sent = staff.submit(&page, &format!("/publisher/analytics/questions/{id}/send"), &[]).await;
    says(&sent, "The mail was sent");
    assert_eq!(mail.take().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_held_is_seen_downloaded_and_let_pass() {
    let app = TestApp::start().await;
    let import = async |file: String, at: &str| {
        let usage = Dataset::find("usage").unwrap();
        let pieces = futures_util::stream::iter([Ok(bytes::Bytes::from(file))]);
        mediagenie::analytics::import(&app.host.app, usage, at.parse().unwrap(), false, pieces).await.unwrap()
    };
    let line = |day: i8| format!("2026-01-{day:02},gold,{day}\n");
    let month: String = (1..=31).map(line).collect();
    import(format!("UsageDate,PlanId,MeteredUsage\n{month}"), "2026-02-04T06:00:00Z").await;
    let held = format!("UsageDate,PlanId,MeteredUsage\n{}2026-01-31,gold,30\n", line(1));
    let execution = import(held.clone(), "2026-02-05T06:00:00Z").await;
    let address = "/publisher/analytics/executions/ISVUsage";
    let reader = app.signed_in(&Person::staff_reader()).await;
    let page = reader.get(address).await;
    says(&page, "Held the file has 2 rows where 31 are held for the same dates");
    assert!(!page.says("/release"));
    assert_eq!(reader.get(&format!("{address}/{}/file", execution.id)).await.status, 403);
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get(address).await;
    let file = staff.get(&format!("{address}/{}/file", execution.id)).await;
    assert_eq!((file.status, file.body), (200, held));
    let released = staff.submit(&page, &format!("{address}/release"), &[("execution", &execution.id)]).await;
    says(&released, "The file may pass");
    app.drain().await;
    let page = staff.get(address).await;
    says(&page, "Let pass by ada@mediagenie.example");
    says(&page, "2026-01: 30 days");
    says(&page, "MeteredUsage : 31 → 30");
    says(&page, "Changed UsageDate = 2026-01-31, PlanId = gold MeteredUsage : 31 → 30");
    let again = staff
        .post_with(
            &format!("{address}/release"),
            &[("execution", &execution.id), ("csrf", &page.fields("/sign-out")["csrf"])],
            &[("origin", &app.address)],
        )
        .await;
    says(&again, "This file is not held any more");
    let usage = staff.get("/publisher/analytics/usage?preset=all&by=month").await;
    assert_eq!(figure(&usage, "metered-0").values().copied().sum::<Decimal>(), Decimal::from(31));
}
