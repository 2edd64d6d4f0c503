//! The analytics API as a product meets it. Business time begins on 2026-01-31 at 10:00.

use jiff::SignedDuration;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use super::super::tests::World as Marketplace;
use super::*;

/// A marketplace with a token for its analytics API.
pub struct World {
    pub marketplace: Marketplace,
    pub token: String,
}

pub const USAGE: &str = "SELECT UsageDate, CustomerId, MeteredUsage FROM ISVUsage TIMESPAN LAST_3_MONTHS";

impl World {
    pub async fn start() -> Self {
        let marketplace = Marketplace::start().await;
        let token = token(&marketplace, RESOURCE).await["access_token"].as_str().unwrap().to_owned();
        Self { marketplace, token }
    }

    /// With the synthetic history.
    pub async fn with_history() -> Self {
        let world = Self::start().await;
        world.simulator().analytics().set_history(Some(AnalyticsHistory::default()));
        world
    }

    pub fn simulator(&self) -> &Simulator {
        &self.marketplace.simulator
    }

    pub fn advance(&self, minutes: i64) {
        self.simulator().advance(SignedDuration::from_mins(minutes));
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let url = format!("{}/{path}", self.simulator().config().analytics_url);
        let request = self.marketplace.http.request(method, url).bearer_auth(&self.token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    /// Status and body.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.send(method, path, body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None).await
    }

    pub async fn query(&self, text: &str) -> String {
        let (status, body) =
            self.call(Method::POST, "ScheduledQueries", Some(json!({ "Name": "q", "Query": text }))).await;
        assert_eq!(status, 200, "{body}");
        body["value"][0]["queryId"].as_str().unwrap().to_owned()
    }

    pub async fn report(&self, body: Value) -> (u16, Value) {
        self.call(Method::POST, "ScheduledReport", Some(body)).await
    }

    /// The id of a report that is executed at once.
    pub async fn execute_now(&self, query: &str, more: Value) -> String {
        let mut body = json!({ "ReportName": "now", "QueryId": self.query(query).await, "ExecuteNow": true });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let (status, body) = self.report(body).await;
        assert_eq!(status, 200, "{body}");
        body["value"][0]["reportId"].as_str().unwrap().to_owned()
    }

    pub async fn execution(&self, report: &str, more: &str) -> (u16, Value) {
        self.get(&format!("ScheduledReport/execution/{report}{more}")).await
    }

    /// A fresh link to the file of a report that has completed.
    pub async fn link(&self, report: &str) -> String {
        let (status, body) = self.execution(report, "").await;
        assert_eq!(status, 200, "{body}");
        body["value"][0]["reportAccessSecureLink"].as_str().unwrap().to_owned()
    }

    pub async fn fetch(&self, link: &str) -> Response {
        self.marketplace.http.get(link).send().await.unwrap()
    }

    /// The file of a query, executed now.
    pub async fn file(&self, query: &str, more: Value) -> String {
        let report = self.execute_now(query, more).await;
        self.advance(9);
        let answer = self.fetch(&self.link(&report).await).await;
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    }
}

async fn token(marketplace: &Marketplace, resource: &str) -> Value {
    let config = marketplace.simulator.config();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &config.client_id),
        ("client_secret", &config.client_secret),
        ("resource", resource),
    ];
    let url = format!("{}/{}/oauth2/token", marketplace.simulator.base_url(), config.tenant_id);
    marketplace.http.post(url).form(&form).send().await.unwrap().json().await.unwrap()
}

/// A scheduled report that is right; its first run is due at 16:00.
fn scheduled(query: &str) -> Value {
    json!({
        "ReportName": "daily", "QueryId": query, "StartTime": "2026-01-31T16:00:00Z", "RecurrenceInterval": 24,
        "RecurrenceCount": 2, "Format": "csv",
    })
}

#[tokio::test]
async fn only_a_token_for_partner_center_is_let_in() {
    let mut world = World::start().await;
    assert_eq!(token(&world.marketplace, RESOURCE).await["expires_in"], "3599");
    assert_eq!(world.get("ScheduledDataset").await.0, 200);
    for wrong in ["https://graph.windows.net", "https://graph.microsoft.com"] {
        world.token = token(&world.marketplace, wrong).await["access_token"].as_str().unwrap().to_owned();
        let (status, body) = world.get("ScheduledDataset").await;
        assert_eq!((status, &body["message"]), (401, &json!("Unauthorized")), "{wrong}");
    }
    world.token = world.marketplace.token.clone();
    assert_eq!(world.get("ScheduledDataset").await.0, 401, "the marketplace's own token is another audience's");
    world.simulator().faults().change(|switches| switches.analytics.deny = true);
    world.token = token(&world.marketplace, RESOURCE).await["access_token"].as_str().unwrap().to_owned();
    assert_eq!(world.get("ScheduledDataset").await.0, 403);
}

#[tokio::test]
async fn datasets_are_listed_with_their_columns() {
    let world = World::start().await;
    let (_, body) = world.get("ScheduledDataset").await;
    assert_eq!((&body["totalCount"], &body["message"]), (&json!(7), &json!("Dataset fetched successfully")));
    let (_, body) = world.get("ScheduledDataset?datasetName=isvusage").await;
    let usage = &body["value"][0];
    assert_eq!(usage["datasetName"], "ISVUsage");
    assert_eq!(usage["availableMetrics"].as_array().unwrap().len(), 6);
    assert!(usage["selectableColumns"].as_array().unwrap().contains(&json!("UsageReference")));
    assert_eq!(usage["availableDateRanges"][4], "LIFETIME");
    assert_eq!(world.get("ScheduledDataset?datasetName=ISVOther").await.0, 404);
    world.simulator().faults().change(|switches| switches.analytics.pascal_case = true);
    let (_, body) = world.get("ScheduledDataset").await;
    assert_eq!((&body["TotalCount"], &body["Value"][0]["DatasetName"]), (&json!(7), &json!("ISVOrder")));
}

#[tokio::test]
async fn a_query_is_kept_as_it_was_written_until_it_is_deleted() {
    let world = World::start().await;
    let text = "select UsageDate,\r\n MeteredUsage from isvusage";
    let id = world.query(text).await;
    let (_, body) = world.get(&format!("ScheduledQueries?queryId={id}")).await;
    assert_eq!((&body["value"][0]["query"], &body["value"][0]["type"]), (&json!(text), &json!("userDefined")));
    let (_, all) = world.get("ScheduledQueries").await;
    let (_, own) = world.get("ScheduledQueries?includeSystemQueries=false").await;
    let (_, system) = world.get("ScheduledQueries?includeOnlySystemQueries=true").await;
    assert_eq!([&all["totalCount"], &own["totalCount"], &system["totalCount"]], [10, 1, 9]);
    for query in system["value"].as_array().unwrap() {
        let tested = format!("ScheduledQueries/testQueryResult?queryId={}", query["queryId"].as_str().unwrap());
        assert_eq!(world.get(&tested).await.0, 200, "{query}");
    }
    assert_eq!(world.call(Method::DELETE, &format!("ScheduledQueries/{id}"), None).await.0, 200);
    assert_eq!(world.get(&format!("ScheduledQueries?queryId={id}")).await.0, 404);
    let system = "ScheduledQueries/q9df4939-073f-5795-b0cb-v2c81d11e58d";
    assert_eq!(world.call(Method::DELETE, system, None).await.0, 400);
}

#[tokio::test]
async fn a_query_that_the_server_cannot_read_is_refused() {
    let world = World::start().await;
    for (text, why) in [
        ("SELECT Nothing FROM ISVUsage", "Incorrect column name: Nothing"),
        ("SELECT UsageDate FROM ISVSales", "Invalid table name: ISVSales"),
        ("SELECT UsageDate FROM ISVUsage WHERE SKU = 'a' OR SKU = 'b'", "Syntax error"),
        ("SELECT RevenueGenerated(USD) FROM ISVOfferRetention", "Syntax error"),
        ("SELECT * FROM ISVUsage", "Syntax error"),
        ("SELECT UsageDate FROM ISVUsage WHERE SKU = 'O''Brien'", "Syntax error"),
        ("SELECT UsageDate FROM ISVUsage WHERE SKU = ‘gold’", "Syntax error"),
        ("SELECT UsageDate FROM ISVUsage LIMIT 0", "LIMIT"),
        ("SELECT UsageDate FROM ISVUsage TIMESPAN LAST_MONTH LIMIT 5", "Syntax error"),
        ("SELECT UsageDate FROM ISVUsage TIMESPAN LAST_DECADE", "Invalid date range"),
        ("UPDATE ISVUsage", "Syntax error"),
    ] {
        let body = json!({ "Name": "q", "Query": text });
        let (status, body) = world.call(Method::POST, "ScheduledQueries", Some(body)).await;
        assert_eq!((status, body["statusCode"].as_u64()), (400, Some(400)), "{text}");
        assert!(body["message"].as_str().unwrap().contains(why), "{text}: {body}");
    }
    let missing = world.call(Method::POST, "ScheduledQueries", Some(json!({ "Name": "q" }))).await;
    assert!(missing.0 == 400 && missing.1["message"].as_str().unwrap().contains("null or missing value"));
}

#[tokio::test]
async fn a_report_that_breaks_a_rule_is_refused_with_the_documented_words() {
    let world = World::start().await;
    let id = world.query(USAGE).await;
    let long = "x".repeat(257);
    for (field, value, why) in [
        ("ReportName", Value::Null, "null or missing value"),
        ("ReportName", json!("a;b"), "Invalid character (;) in ReportName"),
        ("ReportName", json!(long), "Limit ReportName and Description length to 256"),
        ("QueryId", json!("nothing"), "Invalid QueryId"),
        ("StartTime", json!("2026-01-31T16:00:00.000Z"), "should follow format"),
        ("StartTime", json!("2026-01-31T13:59:59Z"), "at least 4 hours from current UTC"),
        ("EndTime", json!("2026-01-31T15:00:00Z"), "EndTime should be greater than StartTime"),
        ("RecurrenceInterval", json!(3), "Recurrence Interval must be between 4 and 2160"),
        ("RecurrenceInterval", json!(2161), "Recurrence Interval must be between 4 and 2160"),
        ("RecurrenceCount", Value::Null, "Recurrence count has to be a positive integer value"),
        ("RecurrenceCount", json!(0), "Recurrence count has to be a positive integer value"),
        ("Format", json!("xlsx"), "Report format should be csv/tsv"),
        ("Format", json!("string"), "Requested value 'string' not found"),
        ("CallbackUrl", json!("string"), "Requested value 'string' not found"),
        ("CallbackMethod", json!("PUT"), "CallbackMethod can only be GET or POST"),
    ] {
        let mut body = scheduled(&id);
        body[field] = value;
        let (status, body) = world.report(body).await;
        assert_eq!(status, 400, "{field}");
        assert!(body["message"].as_str().unwrap().contains(why), "{field}: {body}");
    }
    let now = json!({ "ReportName": "n", "QueryId": id, "ExecuteNow": true, "QueryStartTime": "2026-01-01" });
    let (status, body) = world.report(now).await;
    assert_eq!(status, 500);
    assert!(body["message"].as_str().unwrap().contains("Correlation ID"), "{body}");
}

#[tokio::test]
async fn quotas_are_refused_with_400() {
    let world = World::start().await;
    let id = world.query(USAGE).await;
    for _ in 0..50 {
        assert_eq!(world.report(scheduled(&id)).await.0, 200);
    }
    let (status, body) = world.report(scheduled(&id)).await;
    assert!(status == 400 && body["message"].as_str().unwrap().contains("quota of 50 active reports"), "{body}");
    let now = json!({ "ReportName": "now", "QueryId": id, "ExecuteNow": true });
    for _ in 0..5 {
        assert_eq!(world.report(now.clone()).await.0, 200, "one that is executed now is never active");
    }
    let (status, body) = world.report(now.clone()).await;
    assert!(status == 400 && body["message"].as_str().unwrap().contains("quota of 5 reports/60 mins"), "{body}");
    world.advance(60);
    assert_eq!(world.report(now).await.0, 200);
    for _ in 1..100 {
        world.query(USAGE).await;
    }
    let body = json!({ "Name": "q", "Query": USAGE });
    let (status, body) = world.call(Method::POST, "ScheduledQueries", Some(body)).await;
    assert!(status == 400 && body["message"].as_str().unwrap().contains("Number of queries exceeded"), "{body}");
}

#[tokio::test]
async fn a_report_that_is_executed_now_is_inactive_and_done_after_nine_minutes() {
    let world = World::with_history().await;
    let id = world.execute_now(USAGE, json!({})).await;
    let (_, body) = world.get(&format!("ScheduledReport?reportId={id}")).await;
    let report = &body["value"][0];
    let shown = ["reportStatus", "recurrenceInterval", "recurrenceCount"].map(|name| report[name].clone());
    assert_eq!(shown, [json!("Inactive"), json!(-1), json!(1)]);
    assert_eq!(report["startTime"], report["createdTime"]);
    let (status, body) = world.execution(&id, "").await;
    assert_eq!(status, 404);
    assert!(body["message"].as_str().unwrap().contains("no executions that have occurred"), "{body}");
    assert_eq!(world.execution(&id, "?executionStatus=Pending").await.0, 200);
    world.advance(4);
    assert_eq!(world.execution(&id, "?executionStatus=Running").await.0, 200);
    assert_eq!(world.execution(&id, "?executionStatus=Running;Pending").await.0, 400, "as was seen");
    world.advance(5);
    let (_, body) = world.execution(&id, "").await;
    let execution = &body["value"][0];
    assert_eq!((&execution["executionStatus"], &execution["reportExpiryTime"]), (&json!("Completed"), &Value::Null));
    assert_eq!(execution["reportGeneratedTime"], "2026-01-31T10:09:00Z");
    let location = execution["reportLocation"].as_str().unwrap();
    assert!(location.contains("/programmatic-export-pi/now_") && location.ends_with(".csv"), "{location}");
    let change = world.call(Method::PUT, &format!("ScheduledReport/{id}"), Some(json!({}))).await;
    assert_eq!(change.0, 400, "it cannot be updated");
    assert_eq!(world.execution(&uuid::Uuid::nil().to_string(), "").await.0, 404);
}

#[tokio::test]
async fn a_schedule_runs_until_its_count_is_used_up() {
    let world = World::start().await;
    let id = world.report(scheduled(&world.query(USAGE).await)).await.1["value"][0]["reportId"].clone();
    let id = id.as_str().unwrap();
    let status =
        async || world.get(&format!("ScheduledReport?reportId={id}")).await.1["value"][0]["reportStatus"].clone();
    assert_eq!((world.execution(id, "").await.0, status().await), (404, json!("Active")));
    world.advance(6 * 60 + 9);
    let first = world.execution(id, "").await.1["value"][0].clone();
    assert_eq!(first["reportGeneratedTime"], "2026-01-31T16:09:00Z");
    assert_eq!(first["recurrenceCountRemaining"], 1);
    world.advance(24 * 60);
    assert_eq!(status().await, "Inactive");
    world.advance(24 * 60);
    let all = world.execution(id, "?getLatestExecution=false").await.1;
    assert_eq!(all["totalCount"], 2);
    let latest = world.execution(id, "?getLatestExecution=true").await.1["value"][0].clone();
    assert_eq!(latest["reportGeneratedTime"], "2026-02-01T16:09:00Z");
    world.advance(90 * 24 * 60);
    assert_eq!(world.execution(id, "?getLatestExecution=false").await.0, 404, "ninety days are remembered");
}

#[tokio::test]
async fn a_paused_report_does_not_run_and_a_deleted_one_is_gone() {
    let world = World::start().await;
    let query = world.query(USAGE).await;
    let id = world.report(scheduled(&query)).await.1["value"][0]["reportId"].as_str().unwrap().to_owned();
    let put = async |verb: &str| world.call(Method::PUT, &format!("ScheduledReport/{verb}/{id}"), None).await.1;
    assert_eq!(put("pause").await["value"][0]["reportStatus"], "Paused");
    world.advance(7 * 60);
    assert_eq!(put("resume").await["value"][0]["reportStatus"], "Active");
    assert_eq!(world.execution(&id, "").await.0, 404);
    world.advance(24 * 60);
    let file = world.link(&id).await;
    let mut changed = scheduled(&query);
    changed["StartTime"] = json!("2026-02-03T16:00:00Z");
    changed["endTime"] = json!("2026-02-03T17:00:00Z");
    let (status, body) = world.call(Method::PUT, &format!("ScheduledReport/{id}"), Some(changed)).await;
    assert_eq!((status, &body["value"][0]["endTime"]), (200, &json!("2026-02-03T17:00:00Z")));
    world.advance(4 * 24 * 60);
    assert_eq!(world.execution(&id, "?getLatestExecution=false").await.1["totalCount"], 2, "the end came first");
    assert_eq!(world.call(Method::DELETE, &format!("ScheduledReport/{id}"), None).await.0, 200);
    assert_eq!(world.get(&format!("ScheduledReport?reportId={id}")).await.0, 404);
    assert_eq!(world.fetch(&file).await.status(), 404);
}

#[tokio::test]
async fn a_test_query_shows_ten_rows_at_once() {
    let world = World::with_history().await;
    let answer =
        world.get(&format!("ScheduledQueries/testQueryResult?exportQuery={}", USAGE.replace(' ', "%20"))).await;
    assert_eq!((answer.0, answer.1["value"].as_array().unwrap().len()), (200, 10));
    assert!(answer.1["value"][0]["MeteredUsage"].as_str().unwrap().ends_with(".00000"));
}

#[tokio::test]
async fn the_publisher_is_called_back_once_when_a_file_is_there() {
    let world = World::start().await;
    let product = world.simulator().product_url();
    let callback = json!({ "CallbackUrl": format!("{product}/hint/secret") });
    let id = world.execute_now(USAGE, callback).await;
    assert_eq!(world.simulator().analytics().deliver_callbacks().await, 0);
    world.advance(9);
    assert_eq!(world.simulator().analytics().deliver_callbacks().await, 1);
    assert_eq!(world.simulator().analytics().deliver_callbacks().await, 0);
    let log = world.simulator().analytics().callback_log();
    assert_eq!((log[0].status, log[0].address.clone()), (Some(200), format!("{product}/hint/secret/{id}")));
    let get = json!({ "CallbackUrl": format!("{product}/hint"), "CallbackMethod": "GET" });
    let id = world.execute_now(USAGE, get).await;
    let far = json!({ "CallbackUrl": "https://elsewhere.example/hint" });
    world.execute_now(USAGE, far).await;
    world.advance(9);
    assert_eq!(world.simulator().analytics().deliver_callbacks().await, 1, "nobody elsewhere is called");
    let log = world.simulator().analytics().callback_log();
    assert_eq!(log[1].address, format!("{product}/hint?reportId={id}"));
}
