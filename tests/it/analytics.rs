//! Microsoft's datasets from the timer to the answer, against the simulated analytics API whose truth is known.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::civil::{Date, date};
use mediagenie::analytics::model::datasets::{DATASETS, Dataset, Kind};
use mediagenie::analytics::model::value;
use mediagenie::simulator::AnalyticsHistory;

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
