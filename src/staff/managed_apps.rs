//! Managed applications for staff: the fleet, one application with everything that was heard of it, and the address at which
//! Azure tells of them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::managed_apps::model::heard::{Reading, What};
use crate::managed_apps::{self, Application, ApplicationKey, Attention, Instance, Line};
use crate::pages::page;

const HERE: &str = "/publisher/managed-apps";
const PAGE: usize = 50;

/// The name of an application, and the resource group that it is in.
fn names(shown: &str) -> (&str, &str) {
    let parts: Vec<&str> = shown.split('/').collect();
    (parts.last().copied().unwrap_or_default(), parts.get(4).copied().unwrap_or_default())
}

/// An application as the pages show it.
pub(super) fn row(application: &Application, attention: &[Attention]) -> Value {
    let (name, group) = names(&application.shown);
    let present = application.present();
    json!({
        "key": application.key, "name": name, "group": group, "shown": application.shown, "region": application.region,
        "state": present.map_or("unknown", |present| present.state.name()), "changed": present.map(|present| present.changed),
        "plan": present.and_then(Instance::plan), "definition": present.and_then(|present| present.definition.as_ref()),
        "usage_id": present.and_then(|present| present.usage_id), "error": present.and_then(|present| present.error.as_ref()),
        "attention": attention, "confirmation": application.confirmation, "asked": application.asked,
        "customer": application.customer, "lives": application.instances.len(), "since": present.and_then(|present| present.since),
        "deleted": present.and_then(|present| present.deleted),
        "unheard": present.map(|present| &present.unheard),
    })
}

/// What a row of the list is found by.
fn says(row: &Value, wanted: &str) -> bool {
    let texts = [&row["shown"], &row["usage_id"], &row["region"], &row["plan"]["name"], &row["plan"]["product"]];
    texts.iter().filter_map(|text| text.as_str()).any(|text| text.to_lowercase().contains(wanted))
}

/// `GET /publisher/managed-apps?q=&state=&page=`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let query = request.query("q").unwrap_or_default().trim().to_lowercase();
    let state = request.query("state").unwrap_or_default();
    let number: usize = request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let fleet = managed_apps::fleet(&app).await?;
    let all: Vec<Value> = fleet.iter().map(|(application, attention)| row(application, attention)).collect();
    let wanted = |row: &&Value| {
        let fits = match state.as_str() {
            "" => true,
            "attention" => row["attention"].as_array().is_some_and(|attention| !attention.is_empty()),
            state => row["state"] == state,
        };
        fits && (query.is_empty() || says(row, &query))
    };
    let found: Vec<&Value> = all.iter().filter(wanted).collect();
    let rows: Vec<_> = found.iter().skip((number - 1) * PAGE).take(PAGE).collect();
    let attention = all.iter().filter(|row| row["attention"].as_array().is_some_and(|list| !list.is_empty())).count();
    let may_act = staff.role >= Role::Operator;
    let content = json!({
        "rows": rows, "all": all.len(), "found": found.len(), "attention": attention, "q": query, "state": state,
        "states": ["installing", "active", "updating", "failed", "deleting", "deleted", "unknown"],
        "page": number, "more": found.len() > number * PAGE, "may_act": may_act,
        "on": !app.settings.managed_apps.secrets.is_empty(),
        "address": managed_apps::notification_address(&app).filter(|_| may_act),
        "rotating": app.settings.managed_apps.secrets.len() > 1,
        "unread": managed_apps::unread(&app).await?,
        "tested": request.query("tested"),
    });
    page(&app, &request, Some(&staff.session), "staff_managed_apps.html", content)
}

fn key(request: &Request) -> Result<ApplicationKey, Problem> {
    request.param("application").parse().map_err(|_| Problem::not_found())
}

fn line(line: &Line) -> Value {
    let heard = &line.heard;
    let what = match &heard.what {
        What::Notification(_) => "notification",
        What::Reading(Reading::Gone) => "gone",
        What::Reading(Reading::Found { .. }) => "found",
    };
    json!({
        "what": what, "name": heard.name(), "effect": line.effect, "at": heard.at, "received": heard.received, "plan": heard.plan,
        "usage_id": heard.usage_id, "error": heard.error, "body": heard.body,
        "late_s": heard.received.duration_since(heard.at).as_secs(),
    })
}

/// `GET /publisher/managed-apps/{application}`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let detail = managed_apps::detail(&app, &key(&request)?).await?.ok_or_else(Problem::not_found)?;
    let before = detail.application.instances.iter().rev().skip(1).map(|instance| {
        json!({ "usage_id": instance.usage_id, "plan": instance.plan(), "since": instance.since, "deleted": instance.deleted })
    });
    let content = json!({
        "a": row(&detail.application, &detail.attention), "before": before.collect::<Vec<_>>(),
        "lines": detail.lines.iter().map(line).collect::<Vec<_>>(),
        "may_act": staff.role >= Role::Operator, "done": request.query("done"),
    });
    page(&app, &request, Some(&staff.session), "staff_managed_app.html", content)
}

/// `POST /publisher/managed-apps/{application}/look`: asks Azure now.
pub async fn look(app: Arc<App>, request: Request, _staff: Staff, _form: Form) -> Result<Response, Problem> {
    let key = key(&request)?;
    managed_apps::detail(&app, &key).await?.ok_or_else(Problem::not_found)?;
    managed_apps::look(&app, &key).await?;
    Ok(uncached(redirect(&format!("{HERE}/{key}?done=1"))))
}

/// `POST /publisher/managed-apps/{application}/customer`: `tenant`, a GUID or nothing.
pub async fn assign(app: Arc<App>, request: Request, _staff: Staff, form: Form) -> Result<Response, Problem> {
    let key = key(&request)?;
    let tenant = form.get("tenant");
    let customer = if tenant.is_empty() { None } else { Some(tenant.parse().map_err(|_| invalid_tenant())?) };
    if !managed_apps::set_customer(&app, &key, customer).await? {
        return Err(Problem::not_found());
    }
    Ok(uncached(redirect(&format!("{HERE}/{key}?done=customer"))))
}

fn invalid_tenant() -> Problem {
    Problem::bad_request("invalid_tenant", "This is no tenant id.")
        .field("tenant")
        .remedy("Enter a GUID such as 37f9dea2-4345-438f-b0bd-03d40d28c7e0, or nothing.")
}

/// `POST /publisher/managed-apps-test`: calls our own address from here as Azure would.
pub async fn test(app: Arc<App>, _request: Request, _staff: Staff, _form: Form) -> Result<Response, Problem> {
    let said = managed_apps::send_test(&app).await?;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("tested", &said).finish();
    Ok(uncached(redirect(&format!("{HERE}?{query}"))))
}
