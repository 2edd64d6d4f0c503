//! Microsoft's programmatic analytics API, version 1.1 (analytics contract 1-6), as typed calls, and the download of a report's
//! file. Lenient in what is read: names come in two letter cases, ids are texts, lists are missing instead of empty.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::model::offered::Offered;
use super::model::value;
use crate::foundation::clock::Clock;
use crate::foundation::outbound::{Patience, is_loopback, retry_after};
use crate::foundation::settings::Settings;
use crate::fulfillment::{AccessTokens, ApiError, Caller, For};

/// The earliest start of a scheduled report is four hours ahead (5); clocks differ.
const LEAD: SignedDuration = SignedDuration::from_hours(5);
/// Once a day, as often as the smallest count of recurrences that is known to be accepted (1).
const INTERVAL_HOURS: i64 = 24;
const RECURRENCES: i64 = 180;
/// All but what RFC 3986 leaves alone everywhere.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Nobody has so many of anything; a service that always answers "more" must not hold us.
const MOST_PAGES: usize = 100;
/// Silence in the middle of a file.
const SILENCE: Duration = Duration::from_secs(60);

/// A stored query (4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredQuery {
    pub id: String,
    pub name: String,
    pub text: String,
    pub system: bool,
}

/// A report (4.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub id: String,
    pub name: String,
    pub query: String,
    /// `Active`, `Paused` or `Inactive`.
    pub status: String,
    pub created: Option<Timestamp>,
    pub recurrences_left: Option<i64>,
}

/// A run of a report (4.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: String,
    pub report: String,
    pub status: String,
    pub format: String,
    pub generated: Option<Timestamp>,
    /// Opens the file without any key for some days. A secret.
    pub link: Option<String>,
}

/// A report to be made.
#[derive(Debug, Clone)]
pub enum When {
    /// Once, at once; with the first and the last moment of what is asked, instead of the query's span.
    Now { between: Option<(Timestamp, Timestamp)> },
    /// Each day.
    Daily,
}

/// An answer to a request for a file, from `offset` on.
#[derive(Debug)]
pub struct Download {
    pub response: reqwest::Response,
    /// The answer begins at the beginning although another place was asked for.
    pub from_start: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    #[error("the link leads to {0}, which is not Azure Blob Storage")]
    ForeignHost(String),
    #[error("the link does not open the file any more ({0})")]
    Refused(StatusCode),
    #[error("the file changed while it was read")]
    Changed,
    #[error("Azure Blob Storage did not answer: {said}")]
    Unavailable { said: String, wait: Option<Duration> },
}

#[derive(Debug)]
pub struct AnalyticsClient {
    caller: Caller,
    base: String,
    /// What hosts of blobs end with.
    suffix: String,
    callback: String,
    clock: Arc<dyn Clock>,
}

fn field<'a>(object: &'a Value, name: &str) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    let Some(object) = object.as_object() else { return NOTHING };
    object
        .get(name)
        .or_else(|| object.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .unwrap_or(NOTHING)
}

/// Ids are texts or numbers.
fn text(object: &Value, name: &str) -> String {
    match field(object, name) {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn moment(object: &Value, name: &str) -> Option<Timestamp> {
    let at = value::moment(field(object, name).as_str()?.trim())?;
    at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn texts(object: &Value, name: &str) -> Vec<String> {
    let list = field(object, name).as_array();
    list.into_iter().flatten().filter_map(Value::as_str).map(|text| text.trim().to_owned()).collect()
}

fn items(body: &Value) -> impl Iterator<Item = &Value> {
    field(body, "value").as_array().into_iter().flatten()
}

fn stored(item: &Value) -> StoredQuery {
    StoredQuery {
        id: text(item, "queryId"),
        name: text(item, "name"),
        text: text(item, "query"),
        system: text(item, "type").eq_ignore_ascii_case("system"),
    }
}

/// UNVERIFIED: what version 1.1 calls the recurrences that are left; whatever sounds like it is read.
fn left(item: &Value) -> Option<i64> {
    let object = item.as_object()?;
    let named =
        |name: &str| name.to_ascii_lowercase().contains("recurrence") && name.to_ascii_lowercase().contains("left");
    object.iter().find(|(name, _)| named(name)).and_then(|(_, value)| value.as_i64())
}

fn report(item: &Value) -> Report {
    Report {
        id: text(item, "reportId"),
        name: text(item, "reportName"),
        query: text(item, "queryId"),
        status: text(item, "reportStatus"),
        created: moment(item, "createdTime"),
        recurrences_left: left(item),
    }
}

fn run(item: &Value) -> Run {
    Run {
        id: text(item, "executionId"),
        report: text(item, "reportId"),
        status: text(item, "executionStatus"),
        format: text(item, "format"),
        generated: moment(item, "reportGeneratedTime"),
        link: Some(text(item, "reportAccessSecureLink")).filter(|link| !link.is_empty()),
    }
}

/// The only form that is understood: no fractions (6).
fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

impl AnalyticsClient {
    /// None when nothing is to be pulled, or there is no marketplace.
    pub fn new(http: reqwest::Client, settings: &Settings, clock: Arc<dyn Clock>) -> Option<Self> {
        let marketplace = settings.marketplace.as_ref().filter(|_| !settings.analytics.datasets.is_empty())?;
        let wanted = For::Resource(settings.analytics.resource.clone());
        let tokens =
            AccessTokens::new(http.clone(), marketplace, &settings.entra_authority, wanted, Arc::clone(&clock));
        Some(Self {
            caller: Caller { http, tokens },
            base: settings.analytics.api_url.clone(),
            suffix: format!(".blob.{}", settings.cloud.storage_suffix()),
            callback: settings.absolute("/marketplace/report-ready"),
            clock,
        })
    }

    /// What can be asked for now (4.1).
    pub async fn datasets(&self) -> Result<Vec<Offered>, ApiError> {
        let body = self.get("ScheduledDataset", Patience::Long).await?.unwrap_or_default();
        Ok(items(&body)
            .map(|item| Offered {
                dataset: text(item, "datasetName"),
                columns: texts(item, "selectableColumns"),
                metrics: texts(item, "availableMetrics"),
                spans: texts(item, "availableDateRanges"),
            })
            .collect())
    }

    /// Every stored query, Microsoft's own included (4.3).
    pub async fn queries(&self) -> Result<Vec<StoredQuery>, ApiError> {
        let body = self.get("ScheduledQueries?includeSystemQueries=true", Patience::Long).await?.unwrap_or_default();
        Ok(items(&body).map(stored).collect())
    }

    pub async fn create_query(&self, name: &str, query: &str) -> Result<StoredQuery, ApiError> {
        let body = json!({ "Name": name, "Description": "Made and kept by MediaGenie", "Query": query });
        let answer = self.send(Method::POST, "ScheduledQueries", Some(&body)).await?;
        items(&answer).next().map(stored).filter(|query| !query.id.is_empty()).ok_or_else(|| unreadable("query"))
    }

    /// One that is gone is no failure.
    pub async fn delete_query(&self, id: &str) -> Result<(), ApiError> {
        gone_is_fine(self.send(Method::DELETE, &format!("ScheduledQueries/{}", escaped(id)), None).await)
    }

    /// The first rows of a query as Microsoft runs it (4.4); by text, or by a stored query's id.
    pub async fn test_query(&self, query: &str) -> Result<Vec<Map<String, Value>>, ApiError> {
        let path = format!("ScheduledQueries/testQueryResult?exportQuery={}", escaped(query));
        let body = self.get(&path, Patience::Long).await?.unwrap_or_default();
        Ok(items(&body).filter_map(Value::as_object).cloned().collect())
    }

    /// Every report of ours (4.6).
    pub async fn reports(&self) -> Result<Vec<Report>, ApiError> {
        Ok(items(&self.get("ScheduledReport", Patience::Long).await?.unwrap_or_default()).map(report).collect())
    }

    /// A report as CSV (4.5). The callback is a hint and nothing more (4.8).
    pub async fn create_report(&self, name: &str, query: &str, when: &When) -> Result<Report, ApiError> {
        let mut body = json!({
            "ReportName": name, "Description": "Made and kept by MediaGenie", "QueryId": query, "Format": "csv",
            "CallbackUrl": self.callback, "CallbackMethod": "POST",
        });
        match when {
            When::Now { between } => {
                body["ExecuteNow"] = true.into();
                if let Some((from, to)) = between {
                    body["QueryStartTime"] = exact(*from).into();
                    body["QueryEndTime"] = exact(*to).into();
                }
            }
            When::Daily => {
                body["StartTime"] = exact(self.clock.now() + LEAD).into();
                body["RecurrenceInterval"] = INTERVAL_HOURS.into();
                body["RecurrenceCount"] = RECURRENCES.into();
            }
        }
        let answer = self.send(Method::POST, "ScheduledReport", Some(&body)).await?;
        items(&answer).next().map(report).filter(|report| !report.id.is_empty()).ok_or_else(|| unreadable("report"))
    }

    /// Also its executions and files; one that is gone is no failure.
    pub async fn delete_report(&self, id: &str) -> Result<(), ApiError> {
        gone_is_fine(self.send(Method::DELETE, &format!("ScheduledReport/{}", escaped(id)), None).await)
    }

    pub async fn resume_report(&self, id: &str) -> Result<(), ApiError> {
        self.send(Method::PUT, &format!("ScheduledReport/resume/{}", escaped(id)), None).await.map(drop)
    }

    /// Runs of a report with one status, of the last 90 days. No run yet is an empty list (4.7). The filter by status is not
    /// reliable (10), so the caller looks at the status, too.
    pub async fn runs(&self, report: &str, status: &str) -> Result<Vec<Run>, ApiError> {
        let report = escaped(report);
        let path = format!("ScheduledReport/execution/{report}?getLatestExecution=false&executionStatus={status}");
        Ok(items(&self.get(&path, Patience::Long).await?.unwrap_or_default()).map(run).collect())
    }

    /// One run with a fresh link to its file.
    pub async fn run(&self, report: &str, id: &str) -> Result<Option<Run>, ApiError> {
        let path = format!(
            "ScheduledReport/execution/{}?executionId={}&getLatestExecution=false",
            escaped(report),
            escaped(id)
        );
        let body = self.get(&path, Patience::Long).await?.unwrap_or_default();
        Ok(items(&body).map(run).find(|run| run.id == id))
    }

    /// Opens a file at `offset`. The link itself is the key: our token must not go with it.
    pub async fn open(&self, link: &str, offset: u64, version: Option<&str>) -> Result<Download, DownloadError> {
        let url = self.blob_address(link)?;
        let mut request = self.caller.http.get(url).timeout(Duration::from_secs(3_600));
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, version);
        }
        let unavailable = |said: String| DownloadError::Unavailable { said, wait: None };
        let sent = tokio::time::timeout(SILENCE, request.send()).await;
        let response = match sent {
            Ok(sent) => sent.map_err(|error| unavailable(error.without_url().to_string()))?,
            Err(_) => return Err(unavailable("no answer within a minute".into())),
        };
        match response.status() {
            StatusCode::OK => Ok(Download { response, from_start: true }),
            StatusCode::PARTIAL_CONTENT if begins_at(&response, offset) => Ok(Download { response, from_start: false }),
            StatusCode::PARTIAL_CONTENT => Err(DownloadError::Changed),
            StatusCode::PRECONDITION_FAILED => Err(DownloadError::Changed),
            status @ (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED) => {
                Err(DownloadError::Refused(status))
            }
            status => Err(DownloadError::Unavailable {
                said: format!("status {}", status.as_u16()),
                wait: retry_after(response.headers()),
            }),
        }
    }

    /// Azure Blob Storage and nothing else; a simulator on the same loopback address as the API.
    fn blob_address(&self, link: &str) -> Result<Url, DownloadError> {
        let foreign = |host: &str| DownloadError::ForeignHost(host.chars().take(100).collect());
        let url = Url::parse(link).map_err(|_| foreign("an address that can not be read"))?;
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let azure = url.scheme() == "https" && host.ends_with(&self.suffix) && url.port().is_none();
        let simulated = Url::parse(&self.base).is_ok_and(|base| is_loopback(&base) && base.origin() == url.origin());
        let bare = url.username().is_empty() && url.password().is_none();
        if (azure || simulated) && bare { Ok(url) } else { Err(foreign(&host)) }
    }

    /// None: 404, which here means "nothing" (6).
    async fn get(&self, path: &str, patience: Patience) -> Result<Option<Value>, ApiError> {
        let address = format!("{}/{path}", self.base);
        let mut found: Option<Value> = None;
        let mut next = Some(address);
        for _ in 0..MOST_PAGES {
            let Some(address) = next.take() else { break };
            let body = match self.caller.call(patience, || self.caller.http.get(&address)).await {
                Ok(answer) => answer.body,
                Err(ApiError::NotFound) => return Ok(found),
                Err(error) => return Err(error),
            };
            let link = field(&body, "nextLink").as_str().filter(|link| !link.is_empty()).map(str::to_owned);
            match (&mut found, field(&body, "value")) {
                (Some(found), Value::Array(more)) => {
                    if let Some(list) = found["value"].as_array_mut() {
                        list.extend(more.iter().cloned());
                    }
                }
                _ => found = Some(json!({ "value": field(&body, "value") })),
            }
            // Our token must not follow an answer to another host.
            next = link.filter(|link| link.starts_with(&format!("{}/", self.base)));
        }
        Ok(found)
    }

    /// Not repeated: a report that was made twice would count twice.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let address = format!("{}/{path}", self.base);
        let request = || {
            let request = self.caller.http.request(method.clone(), &address);
            match body {
                Some(body) => request.json(body),
                None => request.header(header::CONTENT_LENGTH, 0),
            }
        };
        Ok(self.caller.call(Patience::Rounds, request).await?.body)
    }
}

/// Whether a part is the one that was asked for.
fn begins_at(response: &reqwest::Response, offset: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {offset}-")))
}

fn unreadable(what: &str) -> ApiError {
    ApiError::Unavailable(format!("the answer names no {what}"))
}

fn gone_is_fine(answer: Result<Value, ApiError>) -> Result<(), ApiError> {
    match answer {
        Ok(_) | Err(ApiError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
