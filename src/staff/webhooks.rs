//! The webhook log: what arrived on a day, and what became of it.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::fulfillment;
use crate::identity::Staff;
use crate::pages::page;

const MOST: usize = 500;

/// `GET /publisher/webhooks?day=2026-11-20`.
pub async fn log(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let today = app.clock.now().to_zoned(TimeZone::UTC).date();
    let day: Date = request.query("day").and_then(|day| day.parse().ok()).unwrap_or(today);
    let (entries, more) = fulfillment::webhook_log(&app, &day.to_string(), MOST).await?;
    let rows: Vec<_> =
        entries.iter().map(|(entry, operation)| json!({ "entry": entry, "operation": operation })).collect();
    let content = json!({
        "rows": rows, "more": more, "most": MOST, "day": day.to_string(),
        "earlier": day.yesterday().ok().map(|day| day.to_string()),
        "later": day.tomorrow().ok().filter(|later| *later <= today).map(|day| day.to_string()),
    });
    page(&app, &request, Some(&staff.session), "staff_webhooks.html", content)
}
