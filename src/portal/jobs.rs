//! The media jobs of a subscription: the list, and the forms that start one.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::files::{self as pages, inactive};
use super::playground::{FEATURES, PLAYGROUND, VOICES, models, payer};
use super::subscriptions::own;
use super::view::subscription_view;
use crate::ai::Kind as ModelKind;
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment::model::facts::Status;
use crate::fulfillment::model::subscription::Subscription;
use crate::identity::Customer;
use crate::media::model::job::Job;
use crate::media::{files, jobs};
use crate::pages::{page, wrong};

const PAGE: usize = 20;
/// Files to choose from in a form: the newest ones.
const MOST_FILES: usize = 100;
/// Characters of a text that is typed; a longer one is a file. A form has a megabyte, and a character up to nine bytes.
const LONGEST_TYPED: usize = 100_000;

/// What can be started, with the kind of model that does it and the beginning of its files' types.
const KINDS: [(&str, ModelKind, &str); 3] = [
    ("transcription", ModelKind::Transcription, "audio/"),
    ("speech", ModelKind::Speech, "text/"),
    ("image-analysis", ModelKind::Vision, "image/"),
];
const TRANSCRIPTS: [&str; 5] = ["text", "srt", "vtt", "verbose_json", "json"];
const SPOKEN: [&str; 3] = ["mp3", "wav", "pcm"];

pub(super) fn address(row: &Subscription) -> String {
    format!("/portal/subscriptions/{}/jobs", row.id)
}

/// `GET /portal/subscriptions/{id}/jobs?after=`.
pub async fn list(app: Arc<App>, request: Request, customer: Customer) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    show(&app, &request, &customer, &row, None).await
}

/// The page; with `refused`, a form as it was sent and what is wrong with it.
async fn show(
    app: &App,
    request: &Request,
    customer: &Customer,
    row: &Subscription,
    refused: Option<(&Problem, &Form)>,
) -> Result<Response, Problem> {
    let after = request.query("after").filter(|after| !after.is_empty() && refused.is_none());
    let (found, more) = jobs::recent(app, row.id, after.as_deref(), PAGE).await?;
    let (stored, more_files) = files::list(app, row.id, None, MOST_FILES).await?;
    let kind = |(name, model, files): (&str, ModelKind, &str)| {
        let models = models(app, model);
        let files = stored.iter().filter(|file| file.content_type.starts_with(files));
        (!models.is_empty())
            .then(|| json!({ "name": name, "models": models, "files": files.map(pages::view).collect::<Vec<_>>() }))
    };
    let content = json!({
        "s": subscription_view(row, &[]), "address": address(row), "files_address": pages::address(row),
        "jobs": found.iter().map(view).collect::<Vec<_>>(),
        "next": found.last().filter(|_| more).map(|job| &job.id), "first": after.is_none(),
        "removed": request.query("removed").is_some(),
        "kinds": KINDS.into_iter().filter_map(kind).collect::<Vec<_>>(),
        "more_files": more_files, "most_files": MOST_FILES, "longest": LONGEST_TYPED,
        "transcripts": TRANSCRIPTS, "spoken": SPOKEN, "voices": VOICES, "features": FEATURES,
        "once": app.random.token(), "sample": sample(&app.settings.absolute("/v1")),
        "error": refused.map(|(problem, _)| wrong(problem)),
        "typed": refused.map(|(_, form)| typed(form)),
    });
    page(app, request, Some(&customer.session), "portal_jobs.html", content)
}

/// The same job by a program.
fn sample(api: &str) -> String {
    format!(
        "curl {api}/files -H \"Authorization: Bearer <key>\" -F file=@call.wav -F purpose=user_data\n\
         curl {api}/media/jobs -H \"Authorization: Bearer <key>\" -H \"Content-Type: application/json\" -d '{{\n  \
         \"kind\": \"transcription\", \"options\": {{\"response_format\": \"srt\"}},\n  \
         \"input\": {{\"items\": [{{\"file_id\": \"<id of the file>\"}}]}}}}'"
    )
}

/// A job for a template: as the API shows it, with times and by whom.
pub(super) fn view(job: &Job) -> Value {
    let mut shown = job.shown();
    shown["created"] = json!(job.created);
    shown["started"] = json!(job.started);
    shown["finished"] = json!(job.finished);
    shown["over"] = job.state.is_over().into();
    shown["by_key"] = (job.key != PLAYGROUND).then_some(job.key.as_str()).into();
    shown["settled"] = (job.succeeded + job.failed).into();
    shown
}

/// What was typed into a form.
fn typed(form: &Form) -> Value {
    let mut fields = Map::new();
    for name in ["kind", "model", "response_format", "language", "voice", "speed", "text", "urls", "file"] {
        fields.insert(name.to_owned(), form.get(name).into());
    }
    for name in ["files", "features"] {
        fields.insert(name.to_owned(), form.all(name).collect::<Vec<_>>().into());
    }
    Value::Object(fields)
}

/// The API's request for what a form says.
fn wanted(form: &Form) -> Result<Value, Problem> {
    let kind = form.get("kind");
    let names: &[&str] = match kind {
        "transcription" => &["response_format", "language"],
        "speech" => &["voice", "response_format", "speed"],
        _ => &["language"],
    };
    let filled = names.iter().map(|name| (*name, form.get(name))).filter(|(_, value)| !value.is_empty());
    let mut options: Map<String, Value> = filled.map(|(name, value)| (name.to_owned(), value.into())).collect();
    if kind == "image-analysis" {
        options.insert("features".to_owned(), form.all("features").collect::<Vec<_>>().join(",").into());
    }
    let input = if kind == "speech" {
        match (form.get("text"), form.get("file")) {
            ("", "") => return Err(nothing("text", "Enter a text, or choose one of your files.")),
            ("", file) => json!({ "file_id": file }),
            (text, "") => json!({ "text": text }),
            _ => return Err(nothing("text", "Enter a text or choose a file, one of the two.")),
        }
    } else {
        let files = form.all("files").map(|id| json!({ "file_id": id }));
        let urls =
            form.get("urls").lines().map(str::trim).filter(|url| !url.is_empty()).map(|url| json!({ "url": url }));
        let items: Vec<Value> = files.chain(urls).collect();
        if items.is_empty() {
            return Err(nothing("files", "Choose at least one file, or enter an address."));
        }
        json!({ "items": items })
    };
    Ok(json!({ "kind": kind, "model": form.get("model"), "options": options, "input": input }))
}

fn nothing(field: &'static str, remedy: &str) -> Problem {
    Problem::bad_request("nothing_to_do", "The job would have nothing to do.").field(field).remedy(remedy)
}

/// `POST /portal/subscriptions/{id}/jobs`: as `POST /v1/media/jobs`, paid by the subscription without a key.
pub async fn start(app: Arc<App>, request: Request, customer: Customer, form: Form) -> Result<Response, Problem> {
    let row = own(&app, &request, &customer).await?;
    let made = match wanted(&form) {
        _ if row.facts.status != Status::Subscribed => Err(inactive()),
        Err(problem) => Err(problem),
        Ok(body) => {
            // The same form sent twice is one job; changed and sent again, it is another one.
            let once = hex(&Sha256::digest(format!("{} {body}", form.get("once"))));
            jobs::create(&app, &payer(&row), &body, Some(&once)).await
        }
    };
    let problem = match made {
        Ok((job, _)) => return Ok(uncached(redirect(&format!("{}/{}", address(&row), job.id)))),
        Err(problem) => problem,
    };
    if problem.status.is_server_error() || !request.wants_page() {
        return Err(problem);
    }
    let mut response = show(&app, &request, &customer, &row, Some((&problem, &form))).await?;
    *response.status_mut() = problem.status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_the_apis_request() {
        let form = Form::parse(b"kind=transcription&model=m&response_format=srt&language=&files=a&files=b&urls=https://x/1%0D%0A%0D%0Ahttps://x/2");
        assert_eq!(
            wanted(&form).unwrap(),
            json!({ "kind": "transcription", "model": "m", "options": { "response_format": "srt" },
                "input": { "items": [{ "file_id": "a" }, { "file_id": "b" }, { "url": "https://x/1" }, { "url": "https://x/2" }] } })
        );
        let images = Form::parse(b"kind=image-analysis&model=m&features=tags&features=read&files=a");
        assert_eq!(wanted(&images).unwrap()["options"]["features"], "tags,read");
        for nothing in [&b"kind=speech&voice=a"[..], b"kind=speech&text=x&file=y", b"kind=transcription"] {
            assert_eq!(wanted(&Form::parse(nothing)).unwrap_err().code, "nothing_to_do");
        }
    }
}
