//! Microsoft's datasets from the timer to the answer, against the simulated analytics API whose truth is known.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use mediagenie::analytics;
use mediagenie::analytics::model::datasets::{DATASETS, Dataset, Kind};
use mediagenie::analytics::model::value;
use mediagenie::simulator::AnalyticsHistory;
use serde_json::json;

use crate::support::app::{PUBLISHER_KEY, TestApp};

const FROM: Date = date(2000, 1, 1);
const TO: Date = date(2099, 12, 31);

pub async fn pulling() -> TestApp {
    let app = TestApp::with(&[("ANALYTICS_DATASETS", "all")]).await;
    app.simulator.analytics().set_history(Some(AnalyticsHistory::default()));
    app
}

/// The answer as text, with the key of the publisher's own system.
pub async fn get_text(app: &TestApp, path: &str) -> (u16, String) {
    let client = mediagenie::foundation::outbound::client().unwrap();
    let answer = client.get(app.url(path)).bearer_auth(PUBLISHER_KEY).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The reports are asked for, made by Microsoft, and taken in.
pub async fn pulled(app: &TestApp) {
    for _ in 0..3 {
        app.fire("AnalyticsPull").await;
        app.drain().await;
        app.clock.advance(SignedDuration::from_mins(61));
    }
}

/// Every row of a dataset in these columns, sorted.
pub async fn held(app: &TestApp, dataset: &str, columns: &[String]) -> Vec<Vec<String>> {
    let path =
        format!("/api/analytics/{dataset}?from={FROM}&to={TO}&undated=true&format=csv&columns={}", columns.join(","));
    let (status, text) = get_text(app, &path).await;
    assert_eq!(status, 200, "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    rows.sort();
    rows
}

/// The same as the simulator knows it.
pub fn truth(app: &TestApp, dataset: &Dataset, columns: &[String]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = app
        .simulator
        .analytics_truth(dataset.name, FROM, TO)
        .into_iter()
        .map(|row| {
            let cells: BTreeMap<String, Option<String>> =
                row.into_iter().map(|(name, cell)| (name.to_ascii_lowercase(), cell)).collect();
            columns
                .iter()
                .map(|name| {
                    let kind = dataset.column(name).map_or(Kind::Text, |column| column.kind);
                    let mut out = String::new();
                    let cell = cells.get(&name.to_ascii_lowercase()).cloned().flatten().unwrap_or_default();
                    value::canonical(kind, &cell, &mut out);
                    out
                })
                .collect()
        })
        .collect();
    rows.sort();
    rows
}

/// The columns that were asked of Microsoft.
pub async fn asked(app: &TestApp, dataset: &str) -> Vec<String> {
    let (_, body) = app.get_api("/api/analytics").await;
    let all = body["datasets"].as_array().unwrap();
    let query =
        all.iter().find(|one| one["dataset"] == dataset).unwrap()["schedule"]["query"].as_str().unwrap().to_owned();
    let list = query.strip_prefix("SELECT ").unwrap().split_once(" FROM ").unwrap().0;
    list.split(", ").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_dataset_is_pulled_and_every_row_is_microsofts_own() {
    let app = pulling().await;
    pulled(&app).await;
    for dataset in DATASETS.iter() {
        let columns = asked(&app, dataset.name).await;
        let (held, truth) = (held(&app, dataset.name, &columns).await, truth(&app, dataset, &columns));
        assert!(!truth.is_empty(), "{} has no rows", dataset.name);
        assert_eq!(held.len(), truth.len(), "{}", dataset.name);
        assert_eq!(held, truth, "{}", dataset.name);
    }
}

#[tokio::test]
async fn a_restated_month_takes_the_place_of_the_old_one_and_what_changed_is_told() {
    let app = pulling().await;
    pulled(&app).await;
    let columns = ["UsageDate", "PlanId", "MeteredUsage"].map(str::to_owned);
    let old = date(2024, 11, 1);
    for (month, days) in [(date(2026, 1, 1), 2), (old, 30)] {
        let before = held(&app, "usage", &columns).await;
        app.simulator.analytics().restate_month(month, rust_decimal::Decimal::TWO);
        for _ in 0..days {
            app.clock.advance(SignedDuration::from_hours(24));
            pulled(&app).await;
        }
        let (now, usage) = (held(&app, "usage", &columns).await, Dataset::find("usage").unwrap());
        assert!(now != before && now == truth(&app, usage, &columns), "{month}");
        let (told, _) = analytics::changes(&app.host.app, usage, "", 1).await.unwrap();
        let (day, change) = told[0].days.iter().next().unwrap();
        assert!(told[0].month == month.strftime("%Y-%m").to_string() && day.starts_with(&told[0].month), "{told:?}");
        assert!(change.changed > 0 && change.added + change.removed == 0, "{change:?}");
        let (_, sum, doubled) = change.sums.iter().find(|(name, ..)| name == "MeteredUsage").unwrap();
        assert_eq!(*sum * rust_decimal::Decimal::TWO, *doubled);
    }
}

#[tokio::test]
async fn pages_of_json_give_every_row_once_and_end() {
    let app = pulling().await;
    pulled(&app).await;
    let all = held(&app, "order", &["AssetId".to_owned(), "OrderVersion".to_owned()]).await;
    let (mut next, mut rows, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let path =
            format!("/api/analytics/order?from={FROM}&to={TO}&columns=AssetId,OrderVersion&limit=37&after={next}");
        let (status, body) = app.get_api(&path).await;
        assert_eq!(status, 200, "{body}");
        for row in body["rows"].as_array().unwrap() {
            rows.push(vec![row["AssetId"].as_str().unwrap().to_owned(), row["OrderVersion"].to_string()]);
        }
        pages += 1;
        match body["next"].as_str() {
            Some(more) => next = more.to_owned(),
            None => break,
        }
    }
    rows.sort();
    assert_eq!((rows.len(), rows == all), (all.len(), true));
    assert_eq!(pages, all.len().div_ceil(37));
}

#[tokio::test]
async fn a_question_is_answered_for_exact_days_with_microsofts_own_sums() {
    let app = pulling().await;
    pulled(&app).await;
    let (from, to) = (date(2025, 5, 13), date(2025, 7, 2));
    let sums = app.simulator.analytics_sums("ISVUsage", "EstimatedExtendedChargeCC", &["CustomerCurrencyCC"], from, to);
    let query = "SELECT CustomerCurrencyCC, EstimatedExtendedChargeCC FROM ISVUsage ORDER BY CustomerCurrencyCC ASC";
    let (status, body) =
        app.get_api(&format!("/api/analytics/query?from={from}&to={to}&q={}", query.replace(' ', "+"))).await;
    assert_eq!(status, 200, "{body}");
    let answered: Vec<(String, rust_decimal::Decimal)> = body["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let sum = row["EstimatedExtendedChargeCC"].to_string();
            (row["CustomerCurrencyCC"].as_str().unwrap().to_owned(), sum.parse().unwrap())
        })
        .collect();
    let expected: Vec<_> = sums.into_iter().map(|(key, sum)| (key[0].clone(), sum.normalize())).collect();
    assert!(expected.len() > 1, "{expected:?}");
    assert_eq!(answered, expected);
}

#[tokio::test]
async fn a_bad_question_names_the_word_and_the_remedy() {
    let app = pulling().await;
    pulled(&app).await;
    for (path, expected) in [
        ("/api/analytics/query?q=SELECT+Colour+FROM+ISVUsage+TIMESPAN+LIFETIME", "Colour"),
        ("/api/analytics/query?q=SELECT+PlanId+FROM+ISVUsage", "TIMESPAN"),
        ("/api/analytics/query?q=SELECT+PlanId+FROM+ISVUsage+WHERE+PlanId='a'+OR+PlanId='b'+TIMESPAN+LIFETIME", "OR"),
        ("/api/analytics/usage?filter=PlanId+=+'a'+OR+1", "OR"),
        ("/api/analytics/usage?from=2026-02-30", "2026-02-30"),
        ("/api/analytics/usage?from=2026-03-02&to=2026-03-01", "lies behind"),
        ("/api/analytics/usage?columns=Colour", "Colour"),
        ("/api/analytics/customer?columns=Email", "names a person"),
        ("/api/analytics/usage?format=xml", "xml"),
        ("/api/analytics/usage?limit=0", "limit"),
        ("/api/analytics/usage?after=nonsense", "after"),
    ] {
        let (status, text) = get_text(&app, path).await;
        assert!(status == 400 && text.contains(expected), "{path}: {status} {text}");
    }
    assert_eq!(get_text(&app, "/api/analytics/colours").await.0, 404);
    let (status, body) = app
        .get_api("/api/analytics/query?at=microsoft&q=SELECT+PlanId,MeteredUsage+FROM+ISVUsage+TIMESPAN+LIFETIME")
        .await;
    assert!(status == 200 && body["sample"] == true && !body["rows"].as_array().unwrap().is_empty(), "{body}");
}

#[tokio::test]
async fn a_hint_that_a_report_is_ready_is_followed_and_strangers_hints_are_not() {
    let app = pulling().await;
    app.fire("AnalyticsPull").await;
    app.clock.advance(SignedDuration::from_mins(10));
    let stranger = app.url("/marketplace/report-ready/00000000-0000-4000-8000-000000000001");
    let client = mediagenie::foundation::outbound::client().unwrap();
    assert_eq!(client.post(stranger).send().await.unwrap().status(), 404);
    assert_eq!(app.waiting().await, 0);
    assert!(app.simulator.analytics().deliver_callbacks().await > 0);
    app.drain().await;
    let (_, body) = app.get_api("/api/analytics").await;
    assert!(body["datasets"][0]["rows"].as_u64().unwrap() > 0, "{body}");
}

#[tokio::test]
async fn rows_of_exact_days_are_fetched_anew_when_somebody_asks() {
    let app = pulling().await;
    pulled(&app).await;
    // So long ago that the daily report does not ask for it.
    app.simulator.analytics().restate_month(date(2024, 11, 1), rust_decimal::Decimal::TWO);
    let body = json!({ "dataset": "usage", "from": "2024-11-01", "to": "2024-11-30" });
    let (status, run) = app.post_api("/api/analytics/runs", &body).await;
    assert_eq!(status, 202, "{run}");
    let path = format!("/api/analytics/runs/{}", run["id"].as_str().unwrap());
    let mut state = String::new();
    for _ in 0..20 {
        app.drain().await;
        app.clock.advance(SignedDuration::from_mins(2));
        state = app.get_api(&path).await.1["state"].as_str().unwrap().to_owned();
        if state == "done" {
            break;
        }
    }
    assert_eq!(state, "done");
    let (columns, usage) = (asked(&app, "ISVUsage").await, Dataset::find("usage").unwrap());
    assert_eq!(held(&app, "usage", &columns).await, truth(&app, usage, &columns));
    // Nothing of it is left at Microsoft.
    assert!(app.simulator.analytics().reports().iter().all(|(_, name)| !name.contains("run_")));
    app.drain().await;
}

#[tokio::test]
async fn microsofts_system_queries_and_queries_of_ones_own_can_be_run_and_their_files_kept() {
    let app = pulling().await;
    pulled(&app).await;
    let (_, body) = app.get_api("/api/analytics/queries").await;
    let queries = body["queries"].as_array().unwrap();
    let metered = "f0c4927f-1f23-4c99-be4a-1371a5a9a086";
    assert!(queries.iter().any(|query| query["id"] == metered && query["system"] == true), "{body}");
    let own = "SELECT PlanId, MeteredUsage FROM ISVUsage WHERE PlanId LIKE 'metered%' TIMESPAN LIFETIME";
    for asked in [json!({ "query_id": metered }), json!({ "query": own, "from": "2025-03-01", "to": "2025-03-31" })] {
        let (status, run) = app.post_api("/api/analytics/runs", &asked).await;
        assert_eq!(status, 202, "{run}");
        let path = format!("/api/analytics/runs/{}", run["id"].as_str().unwrap());
        assert_eq!(get_text(&app, &format!("{path}/file")).await.0, 409);
        for _ in 0..10 {
            app.drain().await;
            app.clock.advance(SignedDuration::from_mins(2));
        }
        let (status, text) = get_text(&app, &format!("{path}/file")).await;
        assert!(status == 200 && text.contains("MeteredUsage") && text.lines().count() > 1, "{status} {text}");
        if asked.get("query").is_some() {
            let sums = app.simulator.analytics_sums(
                "ISVUsage",
                "MeteredUsage",
                &["PlanId"],
                date(2025, 3, 1),
                date(2025, 3, 31),
            );
            let metered = sums.keys().filter(|key| key[0].starts_with("metered")).count();
            assert_eq!(text.lines().skip(1).count(), metered, "{text}");
        }
    }
    let whole = json!({ "dataset": "order", "from": "2025-03-01", "to": "2025-03-31" });
    for wrong in [
        whole,
        json!({}),
        json!({ "dataset": "usage", "query": own }),
        json!({ "dataset": "usage", "from": "2025-03-01" }),
    ] {
        assert_eq!(app.post_api("/api/analytics/runs", &wrong).await.0, 400, "{wrong}");
    }
}
