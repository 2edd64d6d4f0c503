//! Privacy for staff: what is held of a person, handed out and taken out. E-mail addresses travel in forms only, never in an
//! address that a log or a browser's history keeps.

use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_DISPOSITION;
use serde_json::{Value, json};

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, respond, uncached, with_header};
use crate::identity::{Role, Staff};
use crate::pages::{page, wrong};
use crate::privacy;

const HERE: &str = "/publisher/privacy";

async fn view(
    app: &App,
    request: &Request,
    staff: &Staff,
    found: Option<Value>,
    error: Option<(&Problem, &str)>,
) -> Result<Response, Problem> {
    let content = json!({
        "requests": privacy::requests(app).await?, "may_act": staff.role >= Role::Admin, "found": found,
        "error": error.map(|(problem, _)| wrong(problem)), "typed": error.map(|(_, typed)| typed),
        "done": request.query("done"), "days": app.settings.lead_retention_days,
    });
    let mut response = page(app, request, Some(&staff.session), "staff_privacy.html", content)?;
    if let Some((problem, _)) = error {
        *response.status_mut() = problem.status;
    }
    Ok(response)
}

/// `GET /publisher/privacy`.
pub async fn show(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    view(&app, &request, &staff, None, None).await
}

/// `POST /publisher/privacy`: `email`. What is held of this person.
pub async fn find(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let email = form.get("email");
    let held = match privacy::held(&app, email).await {
        Ok(held) => held,
        Err(problem) if problem.field.is_some() => {
            return view(&app, &request, &staff, None, Some((&problem, email))).await;
        }
        Err(problem) => return Err(problem),
    };
    let count = |value: &Value| value.as_array().map_or(0, Vec::len);
    let subscriptions = held["subscriptions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let living = subscriptions.iter().filter(|held| held["subscription"]["facts"]["status"] != "Unsubscribed");
    let found = json!({
        "email": held["email"], "leads": count(&held["leads"]["leads"]), "quarantined": count(&held["leads"]["quarantined"]),
        "subscriptions": subscriptions.len(), "living": living.count(),
    });
    view(&app, &request, &staff, Some(found), None).await
}

/// `POST /publisher/privacy/export`: `email`. Everything that is held, as a JSON file.
pub async fn export(app: Arc<App>, _request: Request, _staff: Staff, form: Form) -> Result<Response, Problem> {
    let held = privacy::held(&app, form.get("email")).await?;
    let body = serde_json::to_vec_pretty(&held).map_err(Problem::internal)?;
    let response = respond(StatusCode::OK, "application/json", body);
    Ok(uncached(with_header(response, CONTENT_DISPOSITION, "attachment; filename=\"person.json\"")))
}

/// `POST /publisher/privacy/erase`: `email`, `confirm`.
pub async fn erase(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let email = form.get("email");
    if form.get("confirm") != "yes" {
        let problem =
            Problem::bad_request("erasure_not_confirmed", "Nothing was erased, because it was not confirmed.")
                .field("confirm")
                .remedy("Tick the box.");
        return view(&app, &request, &staff, None, Some((&problem, email))).await;
    }
    let made = privacy::request(&app, email, staff.user().object_id).await?;
    tracing::info!(request = %made.id, by = %staff.user().object_id, "the erasure of a person was requested");
    Ok(uncached(redirect(&format!("{HERE}?done={}", made.id))))
}
