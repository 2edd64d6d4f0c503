//! The addresses at which leads arrive, one for each offer. Their keys are for those who may act.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ADDRESSES, Refused, answer, is_page};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::leads::{self, Address};

/// `GET /publisher/leads-addresses`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    show(&app, &request, &staff, None).await
}

/// `POST /publisher/leads-addresses`: `offer`, `title`.
pub async fn create(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let created = leads::create_address(&app, form.get("offer"), form.get("title")).await;
    told(&app, &request, &staff, &form, "create", created.map(|address| news("create", &address.offer, None))).await
}

/// `POST /publisher/leads-addresses/{action}`: `offer`.
pub async fn act(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let (action, offer) = (request.param("action"), form.get("offer"));
    let done = match action {
        "rotate" => leads::rotate_address(&app, offer).await.map(|_| news(action, offer, None)),
        "remove" if form.get("confirm") != "yes" => {
            Err(Problem::bad_request("address_not_confirmed", "The address was not removed.")
                .field("confirm")
                .remedy("Tick the box to confirm."))
        }
        "remove" => leads::remove_address(&app, offer).await.map(|()| news(action, offer, None)),
        "test" => leads::send_test(&app, offer).await.map(|said| news(action, offer, Some(&said))),
        _ => Err(Problem::not_found()),
    };
    if done.is_ok() && action != "test" {
        tracing::warn!(offer, action, by = %staff.user().object_id, "an address for leads was changed");
    }
    told(&app, &request, &staff, &form, action, done).await
}

/// The query that tells of what was done.
fn news(done: &str, offer: &str, said: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("done", done).append_pair("for", offer);
    if let Some(said) = said {
        query.append_pair("said", said);
    }
    query.finish()
}

async fn told(
    app: &App,
    request: &Request,
    staff: &Staff,
    form: &Form,
    action: &str,
    done: Result<String, Problem>,
) -> Result<Response, Problem> {
    match done {
        Ok(news) => Ok(uncached(redirect(&format!("{ADDRESSES}?{news}")))),
        Err(problem) if is_page(request, &problem) => {
            show(app, request, staff, Some(Refused { form: action, typed: form, problem: &problem })).await
        }
        Err(problem) => Err(problem),
    }
}

async fn show(app: &App, request: &Request, staff: &Staff, refused: Option<Refused<'_>>) -> Result<Response, Problem> {
    let may_act = staff.role >= Role::Operator;
    let (addresses, table) = tokio::try_join!(leads::addresses(app), leads::table_state(app))?;
    let content = json!({
        "addresses": addresses.iter().map(|address| view(app, address, may_act)).collect::<Vec<_>>(), "table": table,
        "may_act": may_act, "here_at": ADDRESSES, "done": request.query("done"), "about": request.query("for").unwrap_or_default(),
        "said": request.query("said").unwrap_or_default(),
    });
    answer(app, request, staff, "staff_lead_addresses.html", content, refused)
}

fn view(app: &App, address: &Address, may_act: bool) -> Value {
    let mut keys: Vec<Value> = address
        .taken(app.clock.now())
        .map(|key| json!({ "url": may_act.then(|| leads::url(app, &key.key)), "created": key.created, "ends": key.ends }))
        .collect();
    keys.reverse();
    json!({ "offer": address.offer, "title": address.title, "created": address.created, "keys": keys })
}
