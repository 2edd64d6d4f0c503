//! Azure Resource Graph, as far as a list of managed applications needs it: any query that names their type answers all
//! of those that the publisher has access to, page by page.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::http::{Reply, json_reply};
use super::super::state::Turn;
use super::ManagedApp;

pub const API_VERSIONS: &[&str] = &["2021-03-01", "2022-10-01", "2024-04-01"];

const LARGEST_PAGE: u64 = 1_000;
/// Where a skip token says how far the reader is.
const MARK: &str = "skip:";

/// What the request asks for: how many rows, after how many.
struct Page {
    top: usize,
    skip: usize,
    subscriptions: Option<HashSet<String>>,
}

fn refuse(code: &str, why: &str) -> Reply {
    let details = json!([{ "code": code, "message": why }]);
    json_reply(
        400,
        &json!({ "error": { "code": "BadRequest", "message": "Please provide below info when asking for support.", "details": details } }),
    )
}

fn read(body: &Value) -> Result<Page, (&'static str, &'static str)> {
    let query = body.get("query").and_then(Value::as_str).ok_or(("InvalidQuery", "The query is missing."))?;
    if !query.to_lowercase().contains("microsoft.solutions/applications") {
        return Err(("InvalidQuery", "The simulated Resource Graph knows microsoft.solutions/applications only."));
    }
    let option =
        |name: &str| body.get("options").and_then(|options| options.get(name)).filter(|value| !value.is_null());
    if option("resultFormat").is_some_and(|format| format != "objectArray") {
        return Err(("InvalidOptions", "The simulated Resource Graph answers in the format objectArray only."));
    }
    let top = match option("$top").map(|top| top.as_u64().filter(|top| (1..=LARGEST_PAGE).contains(top))) {
        None => LARGEST_PAGE,
        Some(top) => top.ok_or(("InvalidOptions", "$top has to be from 1 to 1000."))?,
    };
    let skip = match option("$skipToken") {
        None => 0,
        Some(token) => skipped(token).ok_or(("InvalidSkipToken", "The skip token is not valid."))?,
    };
    let subscriptions = body.get("subscriptions").and_then(Value::as_array).filter(|all| !all.is_empty());
    let subscriptions = subscriptions.map(|all| all.iter().filter_map(Value::as_str).map(str::to_lowercase).collect());
    Ok(Page { top: usize::try_from(top).unwrap_or(1), skip, subscriptions })
}

fn skipped(token: &Value) -> Option<usize> {
    let text = String::from_utf8(STANDARD.decode(token.as_str()?).ok()?).ok()?;
    text.strip_prefix(MARK)?.parse().ok()
}

pub fn answer(turn: &mut Turn<'_>, body: &Value) -> Reply {
    turn.settle_apps();
    let page = match read(body) {
        Ok(page) => page,
        Err((code, why)) => return refuse(code, why),
    };
    let chosen = |app: &&ManagedApp| {
        let asked = page.subscriptions.as_ref().is_none_or(|all| all.contains(&app.subscription.to_string()));
        asked && app.publisher_access && !app.is_deleted()
    };
    let mut all: Vec<&ManagedApp> = turn.state.managed.all().iter().filter(chosen).collect();
    all.sort_by_cached_key(|app| app.application_id.to_lowercase());
    let rows: Vec<Value> = all.iter().skip(page.skip).take(page.top).map(|app| app.row()).collect();
    let reached = page.skip + rows.len();
    let more = reached < all.len();
    let mut answer = json!({
        "totalRecords": all.len(), "count": rows.len(), "data": rows, "facets": [],
        // A text, not a boolean, in the real service too.
        "resultTruncated": if more { "true" } else { "false" },
    });
    if more {
        answer["$skipToken"] = STANDARD.encode(format!("{MARK}{reached}")).into();
    }
    json_reply(200, &answer)
}
