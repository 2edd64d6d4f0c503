//! What can go wrong with the API, with executions and with files, and the ways to ask for it.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use super::tests::{USAGE, World};
use super::*;

impl World {
    /// The file of an execution with this fault.
    async fn broken(&self, fault: ExecutionFault) -> String {
        self.simulator().analytics().break_next(Some("ISVUsage"), fault, 1);
        self.advance(15);
        self.file(USAGE, json!({})).await
    }
}

#[tokio::test]
async fn an_execution_can_hang_or_never_begin() {
    let world = World::start().await;
    for (fault, status) in [(ExecutionFault::Stuck, "Running"), (ExecutionFault::NeverStarted, "Pending")] {
        world.simulator().analytics().break_next(None, fault, 1);
        let id = world.execute_now(USAGE, json!({})).await;
        world.advance(3 * 24 * 60);
        assert_eq!(world.execution(&id, "").await.0, 404);
        let body = world.execution(&id, &format!("?executionStatus={status}")).await.1;
        assert_eq!(body["value"][0]["reportAccessSecureLink"], serde_json::Value::Null);
    }
    let id = world.execute_now(USAGE, json!({})).await;
    world.advance(9);
    assert_eq!(world.execution(&id, "").await.0, 200, "the next one is well again");
}

#[tokio::test]
async fn files_can_be_malformed_in_many_ways() {
    use ExecutionFault as Fault;
    let world = World::with_history().await;
    let good = world.file(USAGE, json!({})).await;
    assert!(good.starts_with("UsageDate,CustomerId,MeteredUsage\n\"2025-11-01\",") && !good.contains('\r'));
    let cut = world.broken(Fault::Truncated).await;
    assert!(good.starts_with(&cut) && !cut.ends_with('\n') && cut.lines().last().unwrap().split(',').count() <= 3);
    assert!(!good.lines().any(|line| Some(line) == cut.lines().last()), "the last row is not whole");
    assert_eq!(world.broken(Fault::Empty).await, "");
    assert_eq!(world.broken(Fault::HeaderOnly).await, "UsageDate,CustomerId,MeteredUsage\n");
    assert!(world.broken(Fault::Html).await.starts_with("<!DOCTYPE html>"));
    assert_eq!(world.broken(Fault::Bom).await, format!("\u{feff}{good}"));
    assert_eq!(world.broken(Fault::Crlf).await, good.replace('\n', "\r\n"));
    let mixed = world.broken(Fault::MixedLineEnds).await;
    assert!(mixed.contains("\"\n") && mixed.contains("\"\r\n") && mixed.replace('\r', "") == good);
    assert!(world.broken(Fault::Tsv).await.starts_with("UsageDate\tCustomerId\tMeteredUsage\n\"2025-11-01\"\t"));
    assert!(world.broken(Fault::LowerHeader).await.starts_with("usagedate,customerid,meteredusage\n\""));
    assert!(world.broken(Fault::UpperHeader).await.starts_with("USAGEDATE,"));
    let renamed = Fault::RenamedColumn("CustomerId".into(), "CustomerKey".into());
    assert!(world.broken(renamed).await.starts_with("UsageDate,CustomerKey,MeteredUsage\n\""));
    let removed = world.broken(Fault::RemovedColumn("CustomerId".into())).await;
    assert!(removed.starts_with("UsageDate,MeteredUsage\n") && removed.lines().count() == good.lines().count());
    let added = world.broken(Fault::AddedColumn("Colour".into())).await;
    assert!(added.starts_with("Colour,UsageDate,CustomerId,MeteredUsage\n\"new\",\"2025-11-01\""));
    assert_eq!(world.broken(Fault::HeaderOnly).await.lines().count(), 1);
    world.advance(60);
    assert_eq!(world.file(USAGE, json!({ "Format": "TSV" })).await.replace('\t', ","), good);
}

#[tokio::test]
async fn columns_of_a_dataset_can_change_under_a_query() {
    let world = World::with_history().await;
    let id = world.query(USAGE).await;
    let drift = Drift {
        removed: ["CustomerId".to_owned()].into(),
        renamed: [("UsageDate".to_owned(), "UsageDay".to_owned())].into(),
        added: vec!["Colour".to_owned()],
    };
    world.simulator().analytics().drift("ISVUsage", drift).unwrap();
    let (_, body) = world.get("ScheduledDataset?datasetName=ISVUsage").await;
    let names = body["value"][0]["selectableColumns"].to_string();
    assert!(names.contains("Colour") && names.contains("UsageDay") && !names.contains("\"CustomerId\""), "{names}");
    let (status, _) = world.call(Method::POST, "ScheduledQueries", Some(json!({ "Name": "q", "Query": USAGE }))).await;
    assert_eq!(status, 400);
    let report = json!({ "ReportName": "old", "QueryId": id, "ExecuteNow": true });
    let report = world.report(report).await.1["value"][0]["reportId"].as_str().unwrap().to_owned();
    world.advance(9);
    let file = world.fetch(&world.link(&report).await).await.text().await.unwrap();
    assert!(file.starts_with("MeteredUsage\n"), "what is gone is missing in the file of an older query");
    let new = world.file("SELECT UsageDay, Colour FROM ISVUsage", json!({})).await;
    assert!(new.lines().nth(1).unwrap().ends_with(",\"new\""));
    assert!(world.simulator().analytics().drift("ISVNothing", Drift::default()).is_err());
}

#[tokio::test]
async fn calls_fail_as_was_asked_for() {
    let world = World::start().await;
    let change = |change: &dyn Fn(&mut AnalyticsSwitches)| {
        world.simulator().faults().change(|switches| change(&mut switches.analytics));
    };
    change(&|switches| (switches.throttle_next, switches.retry_after_seconds) = (1, 7));
    let answer = world.send(Method::GET, "ScheduledDataset", None).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    change(&|switches| switches.fail_next = 1);
    assert_eq!(world.get("ScheduledDataset").await.0, 500);
    change(&|switches| switches.down = true);
    assert_eq!(world.get("ScheduledDataset").await.0, 503);
    change(&|switches| switches.down = false);
    let id = world.query(USAGE).await;
    change(&|switches| {
        (switches.refuse_queries_next, switches.refuse_reports_next, switches.refuse_execute_now_next) = (1, 1, 1);
    });
    let (status, _) = world.call(Method::POST, "ScheduledQueries", Some(json!({ "Name": "q", "Query": USAGE }))).await;
    assert_eq!(status, 400);
    let report = json!({ "ReportName": "r", "QueryId": id, "ExecuteNow": true });
    assert!(world.report(report.clone()).await.1["message"].as_str().unwrap().contains("5 reports/60 mins"));
    assert_eq!(world.report(report).await.0, 200);
    let (report, _) = world.simulator().analytics().reports()[0].clone();
    world.simulator().analytics().lose_report(report);
    assert_eq!(world.execution(&report.to_string(), "").await.1["message"], "No item found with given filters");
    world.simulator().analytics().lose_query(&id);
    assert_eq!(world.get(&format!("ScheduledQueries?queryId={id}")).await.0, 404);
}

#[tokio::test]
async fn everything_can_be_driven_from_outside_and_by_hand() {
    let world = World::start().await;
    let base = world.simulator().base_url().to_owned();
    let control = async |verb: &str, body: serde_json::Value| {
        let answer = world.marketplace.http.post(format!("{base}/simulator/{verb}")).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    assert_eq!(control("analytics-history", json!({ "customers": 10, "seed": 3 })).await.0, 200);
    let order = json!({ "dataset": "ISVUsage", "from": "2025-01-01", "to": "2025-01-31", "sum": "MeteredUsage" });
    let before = control("analytics-truth", order.clone()).await.1["sums"][0]["sum"].clone();
    assert_eq!(control("analytics-restate", json!({ "month": "2025-01-01", "factor": "2" })).await.0, 200);
    let after = control("analytics-truth", order).await.1["sums"][0]["sum"].clone();
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<Decimal>().unwrap();
    assert_eq!(number(&after), number(&before) * Decimal::TWO);
    for (verb, body, status) in [
        ("analytics-break", json!({ "fault": { "renamed_column": ["A", "B"] }, "executions": 2 }), 200),
        ("analytics-break", json!({ "fault": "melted" }), 400),
        ("analytics-times", json!({ "execution_seconds": 1, "usage_latency_seconds": 0 }), 200),
        ("analytics-drift", json!({ "dataset": "ISVOrder", "drift": { "removed": ["SKU"] } }), 200),
        ("analytics-plant", json!({ "dataset": "ISVOrder", "change": { "scale": "1.1" } }), 200),
        ("analytics-plant", json!({ "dataset": "ISVNothing", "change": "remove" }), 400),
        ("analytics-callbacks", json!({}), 200),
        ("analytics-lose", json!({ "query": "x" }), 200),
        ("faults", json!({ "analytics": { "downloads": ["cut", { "fail": 500 }] } }), 200),
        ("analytics-calm", json!({}), 200),
    ] {
        assert_eq!(control(verb, body.clone()).await.0, status, "{verb} {body}");
    }
    assert_eq!(world.simulator().faults().get().analytics, AnalyticsSwitches::default());

    let id = world.execute_now(USAGE, json!({})).await;
    world.simulator().advance(SignedDuration::from_secs(1));
    let act = async |form: &[(&str, &str)]| {
        let answer = world.marketplace.http.post(format!("{base}/analytics/act")).form(form).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    for form in [
        &[("action", "history"), ("customers", "5")][..],
        &[("action", "restate")],
        &[("action", "break"), ("dataset", "ISVUsage"), ("fault", "truncated")],
        &[("action", "expired")],
        &[("action", "callbacks")],
    ] {
        assert_eq!(act(form).await, "/analytics");
    }
    assert!(act(&[("action", "break"), ("fault", "none")]).await.contains("problem="));
    let page = world.marketplace.http.get(format!("{base}/analytics")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&id) && page.contains("Completed") && page.contains("ISVUsage: truncated, 1 more"), "{page}");
}
