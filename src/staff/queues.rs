//! Queues and what is under way: how many messages wait, which ones were given up, and the media jobs that run.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::app::{App, DrivenQueue};
use crate::foundation::problem::Problem;
use crate::foundation::web::{Form, Request, Response, redirect, uncached};
use crate::fulfillment;
use crate::identity::{Role, Staff};
use crate::media;
use crate::media::model::job::Job;
use crate::pages::page;
use crate::queue::{Peeked, QueueError, poison};

const HERE: &str = "/publisher/queues";
/// Messages of a poison queue that are shown; no backend shows more at once.
const MOST_SHOWN: usize = 32;
/// Running jobs that are shown, the oldest first.
const MOST_JOBS: usize = 50;
/// Characters of a message that are shown.
const LONGEST_TEXT: usize = 500;

fn driven(app: &App) -> &[DrivenQueue] {
    app.driven.get().map_or(&[], Vec::as_slice)
}

/// `GET /publisher/queues`.
pub async fn overview(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let queues = join_all(driven(&app).iter().map(|driven| queue_view(&app, driven))).await;
    let queues: Vec<Value> = queues.into_iter().collect::<Result<_, _>>()?;
    let running = media::jobs::running(&app).await?;
    let more = running.len() > MOST_JOBS;
    let jobs = join_all(running.iter().take(MOST_JOBS).map(|job| job_view(&app, job))).await;
    let given_up = media::jobs::given_up(&app).await?;
    let more_given_up = given_up.len() > MOST_JOBS;
    let given_up = join_all(given_up.iter().take(MOST_JOBS).map(|job| job_view(&app, job))).await;
    let count = |name: &str| request.query(name).and_then(|count| count.parse::<u32>().ok());
    let content = json!({
        "queues": queues, "jobs": jobs.into_iter().collect::<Result<Vec<_>, _>>()?, "more": more,
        "given_up": given_up.into_iter().collect::<Result<Vec<_>, _>>()?, "more_given_up": more_given_up,
        "resubmitted": request.query("resubmitted").is_some(),
        "most_jobs": MOST_JOBS, "most_shown": MOST_SHOWN, "may_act": staff.role >= Role::Operator,
        "replayed": count("replayed"), "removed": count("removed"),
    });
    page(&app, &request, Some(&staff.session), "staff_queues.html", content)
}

async fn queue_view(app: &App, driven: &DrivenQueue) -> Result<Value, QueueError> {
    let (queues, queue, aside) = (&app.queues, driven.queue.as_str(), poison::queue(&driven.queue));
    let (waiting, oldest, given_up, peeked) = futures_util::try_join!(
        queues.depth(queue),
        queues.peek(queue, 1),
        queues.depth(&aside),
        queues.peek(&aside, MOST_SHOWN)
    )?;
    let now = app.clock.now();
    let age = oldest.first().map(|message| now.duration_since(message.inserted).as_secs().max(0));
    Ok(json!({
        "name": queue, "function": driven.function, "waiting": waiting, "age": age.map(age_shown), "poison": given_up,
        "messages": peeked.iter().map(message_view).collect::<Vec<_>>(),
    }))
}

/// `2 d 3 h`, `4 min 5 s`: the two largest units.
fn age_shown(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn message_view(message: &Peeked) -> Value {
    let text: String = message.text.chars().take(LONGEST_TEXT).collect();
    json!({
        "id": message.id, "cut": text.len() < message.text.len(), "text": text, "inserted": message.inserted,
        "dequeue_count": message.dequeue_count,
    })
}

async fn job_view(app: &App, job: &Job) -> Result<Value, Problem> {
    let row = fulfillment::find(app, job.subscription).await?;
    let name = row.map(|row| row.facts.name).filter(|name| !name.is_empty());
    let mut view = job.shown();
    view["subscription"] =
        json!({ "id": job.subscription, "name": name.unwrap_or_else(|| job.subscription.to_string()) });
    view["settled"] = (job.succeeded + job.failed).into();
    (view["since"], view["due"]) = (json!(job.created), json!(job.due));
    view["finished"] = json!(job.finished);
    let now = app.clock.now();
    view["turn"] = json!(job.turn.as_ref().map(|turn| turn.until).filter(|until| *until > now));
    Ok(view)
}

/// The queue that a form names.
fn named<'a>(app: &App, form: &'a Form) -> Result<&'a str, Problem> {
    let name = form.get("queue");
    driven(app).iter().any(|driven| driven.queue == name).then_some(name).ok_or_else(Problem::not_found)
}

fn done(what: &str, count: usize) -> Response {
    uncached(redirect(&format!("{HERE}?{what}={count}")))
}

/// `POST /publisher/queues/replay`: `queue`, `id`.
pub async fn replay(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let (queue, id) = (named(&app, &form)?, form.get("id"));
    let found = poison::replay(&*app.queues, queue, id).await?;
    tracing::warn!(queue, message = id, found, by = %staff.user().object_id, "a message that was given up is tried again");
    Ok(done("replayed", usize::from(found)))
}

/// `POST /publisher/queues/replay-all`: `queue`.
pub async fn replay_all(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let queue = named(&app, &form)?;
    let count = poison::replay_all(&*app.queues, queue).await?;
    tracing::warn!(queue, count, by = %staff.user().object_id, "all messages that were given up are tried again");
    Ok(done("replayed", count))
}

/// `POST /publisher/queues/remove`: `queue`, `id`.
pub async fn remove(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let (queue, id) = (named(&app, &form)?, form.get("id"));
    let found = poison::remove(&*app.queues, queue, id).await?;
    tracing::warn!(queue, message = id, found, by = %staff.user().object_id, "a message that was given up is removed");
    Ok(done("removed", usize::from(found)))
}

/// `POST /publisher/queues/resubmit`: `subscription`, `job`. What was delivered is not done, or billed, again.
pub async fn resubmit(app: Arc<App>, _request: Request, staff: Staff, form: Form) -> Result<Response, Problem> {
    let subscription = form.get("subscription").parse().map_err(|_| Problem::not_found())?;
    let job = media::jobs::resubmit(&app, subscription, form.get("job")).await?;
    tracing::warn!(job = %job.id, %subscription, by = %staff.user().object_id, "a job that was given up begins again");
    Ok(done("resubmitted", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_its_two_largest_units() {
        for (seconds, shown) in [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(age_shown(seconds), shown);
        }
    }
}
