//! Questions in the query language: asked, kept under a name, and mailed.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::data::{faults_view, head};
use super::{ROOT, is_for_the_page, name, query};
use crate::analytics::model::datasets::{DATASETS, Kind};
use crate::analytics::model::query::Span;
use crate::analytics::model::saved::{Every, Outcome, Saved};
use crate::analytics::{self, Answered, QuestionError, mails};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Form, Request, Response, redirect, uncached};
use crate::identity::{Role, Staff};
use crate::pages::{page, wrong};

const HERE: &str = "/publisher/analytics/questions";
/// Rows of an answer that are shown; the file has all.
const SHOWN: usize = 200;

/// What is in the text field, and what came of a form.
#[derive(Default)]
struct State<'a> {
    text: String,
    at_microsoft: bool,
    /// The form that was refused, and why.
    refused: Option<(&'a str, Refusal, &'a Form)>,
}

enum Refusal {
    Faults(Value),
    Problem(Problem),
}

/// `GET /publisher/analytics/questions?q=&at=&open=`: `open` is a question that is kept.
pub async fn show(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let text = request.query("q").unwrap_or_default();
    let at_microsoft = request.query("at").is_some_and(|at| at == "microsoft");
    answer(&app, &request, &staff, State { text, at_microsoft, refused: None }).await
}

/// `POST /publisher/analytics/questions/keep`: `name`, `text`.
pub async fn save(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let done = mails::save(&app, form.get("name"), form.get("text"), &name(&staff)).await;
    told(&app, &request, &staff, &form, "save", done.map(|saved| Some(("saved", saved.id)))).await
}

/// `POST /publisher/analytics/questions/{question}/{action}`.
pub async fn act(app: Arc<App>, request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let (id, action) = (request.param("question").to_owned(), request.param("action"));
    let done: Result<Option<&'static str>, QuestionError> = match action {
        "change" => {
            mails::reword(&app, &id, form.get("text"), &name(&staff)).await.map(|done| done.then_some("changed"))
        }
        "remove" => Ok(mails::remove(&app, &id).await?.then_some("removed")),
        "schedule" => {
            let every = Every::ALL.into_iter().find(|(word, _)| *word == form.get("every")).map(|(_, every)| every);
            let hour = form.get("hour").parse().unwrap_or(6);
            match every {
                Some(every) => mails::schedule(&app, &id, every, hour, form.get("to"))
                    .await
                    .map(|done| done.then_some("scheduled")),
                None => Ok(mails::unschedule(&app, &id).await?.then_some("unscheduled")),
            }
        }
        "send" => Ok(mails::send_now(&app, &id).await?.map(|sent| match sent.outcome {
            Outcome::Sent => "sent",
            Outcome::Failed | Outcome::Unknown => "not_sent",
        })),
        _ => return Err(Problem::not_found()),
    };
    if done.is_ok() {
        tracing::warn!(question = id, action, by = %staff.user().object_id, "a question of analytics was acted on");
    }
    told(&app, &request, &staff, &form, action, done.map(|done| done.map(|done| (done, id)))).await
}

async fn told(
    app: &Arc<App>,
    request: &Request,
    staff: &Staff,
    form: &Form,
    action: &str,
    done: Result<Option<(&'static str, String)>, QuestionError>,
) -> Result<Response, Problem> {
    let refusal = match done {
        Ok(Some((done, id))) => {
            let query = query([("done", done), ("open", &*id)]);
            return Ok(uncached(redirect(&format!("{HERE}?{query}"))));
        }
        Ok(None) => return Err(Problem::not_found()),
        Err(QuestionError::Wrong(faults)) => Refusal::Faults(faults_view(&faults)),
        Err(error) => Refusal::Problem(Problem::from(error)),
    };
    if let Refusal::Problem(problem) = &refusal
        && (!is_for_the_page(problem) || !request.wants_page())
    {
        let Refusal::Problem(problem) = refusal else { return Err(Problem::not_found()) };
        return Err(problem);
    }
    let text = form.get("text").to_owned();
    answer(app, request, staff, State { text, at_microsoft: false, refused: Some((action, refusal, form)) }).await
}

async fn answer(app: &Arc<App>, request: &Request, staff: &Staff, state: State<'_>) -> Result<Response, Problem> {
    let open = match &state.refused {
        Some(_) => request.param("question").to_owned(),
        None => request.query("open").unwrap_or_default(),
    };
    let all = mails::all(app).await?;
    let kept = all.iter().find(|one| one.id == open);
    // A question that is kept is answered when it is opened.
    let text =
        if state.text.is_empty() { kept.map(|one| one.text.clone()).unwrap_or_default() } else { state.text.clone() };
    let mut content = json!({
        "root": ROOT, "here_at": HERE, "text": text, "open": open, "may_act": staff.role >= Role::Operator,
        "saved": all.iter().map(view).collect::<Vec<_>>(), "mail": app.settings.mail.is_some(),
        "done": request.query("done"), "faults": [], "error": null, "form": null, "answer": null, "sample": null,
        "typed": { "name": "", "to": "", "every": "", "hour": "" },
        "datasets": DATASETS.iter().map(|one| json!({ "name": one.name, "columns": columns(one) })).collect::<Vec<_>>(),
        "spans": Span::ALL.iter().map(|span| span.name()).collect::<Vec<_>>(),
        "csv": query([("q", &*text)]),
    });
    let mut status = StatusCode::OK;
    if let Some((form, refusal, typed)) = &state.refused {
        status = StatusCode::BAD_REQUEST;
        content["form"] = (*form).into();
        for field in ["name", "to", "every", "hour"] {
            content["typed"][field] = typed.get(field).into();
        }
        match refusal {
            Refusal::Faults(faults) => content["faults"] = faults.clone(),
            Refusal::Problem(problem) => {
                status = problem.status;
                content["error"] = wrong(problem);
            }
        }
    } else if !text.trim().is_empty() {
        let result = match state.at_microsoft {
            true => analytics::sample(app, &text).await.map(|rows| content["sample"] = sample_view(&text, &rows)),
            false => analytics::ask(app, &text, None).await.map(|answered| content["answer"] = answer_view(&answered)),
        };
        match result {
            Ok(()) => {}
            Err(QuestionError::Wrong(faults)) => {
                content["faults"] = faults_view(&faults);
                status = StatusCode::BAD_REQUEST;
            }
            Err(error) => {
                let problem = Problem::from(error);
                status = problem.status;
                content["error"] = wrong(&problem);
            }
        }
    }
    let mut response = page(app, request, Some(&staff.session), "staff_analytics_questions.html", content)?;
    *response.status_mut() = status;
    Ok(response)
}

fn columns(dataset: &analytics::model::datasets::Dataset) -> Vec<Value> {
    let known = dataset.columns.iter().filter(|column| !column.personal);
    known.map(|column| json!({ "name": column.name, "metric": column.metric })).collect()
}

fn answer_view(answered: &Answered) -> Value {
    let table = &answered.table;
    let kind = |name: &String| answered.dataset.column(name).map_or(Kind::Text, |column| column.kind);
    json!({
        "dataset": answered.dataset.name, "from": answered.from.to_string(), "to": answered.to.to_string(),
        "as_of": answered.as_of, "heads": table.columns.iter().map(|name| head(name, kind(name))).collect::<Vec<_>>(),
        "rows": table.rows.iter().take(SHOWN).collect::<Vec<_>>(), "count": table.rows.len().to_string(),
        "more": table.rows.len().saturating_sub(SHOWN), "not_summed": table.not_summed,
    })
}

/// Microsoft's rows are objects; the columns of the first one are those of all, here in the order of the question.
fn sample_view(text: &str, rows: &[serde_json::Map<String, Value>]) -> Value {
    let mut heads: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    heads.sort_by_key(|name| text.to_lowercase().find(&name.to_lowercase()));
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| heads.iter().map(|name| cell(row.get(*name))).collect()).collect();
    json!({ "heads": heads, "rows": rows })
}

fn view(one: &Saved) -> Value {
    json!({
        "id": one.id, "name": one.name, "text": one.text, "by": one.by, "changed": one.changed,
        "mail": one.mail.as_ref().map(|mail| json!({
            "every": mail.every, "hour": mail.hour, "to": mail.to, "due": mail.due,
            "again": mail.again.as_ref().map(|again| again.at),
        })),
        "sending": one.sending.as_ref().map(|sending| sending.began),
        "last": one.last.as_ref().map(|last| json!({
            "at": last.at, "due": last.due, "outcome": last.outcome, "rows": last.rows.to_string(), "said": last.said,
        })),
    })
}

/// `GET /publisher/analytics/questions/answer.csv?q=`.
pub async fn csv(app: Arc<App>, request: Request, _staff: Staff) -> Result<Response, Problem> {
    let text = request.query("q").unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(uncached(redirect(HERE)));
    }
    let answered = analytics::ask(&app, &text, None).await?;
    let name = format!("{}_{}_{}", answered.dataset.name, answered.from, answered.to);
    Ok(super::download(Body::Whole(mails::csv(&answered).into()), &name))
}
