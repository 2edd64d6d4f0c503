//! One deployment after the other, until one answers; only before the first byte has gone to the customer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::admission::client;
use super::meter::Call;
use crate::ai::client::UpstreamError;
use crate::ai::model::deployments::Deployment;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Response, json as json_response};

/// Why nobody answered.
#[derive(Debug)]
pub enum Unanswered {
    /// The service refuses the request, with this error object.
    Refused(StatusCode, Value),
    Problem(Problem),
}

impl From<Problem> for Unanswered {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Unanswered {
    pub fn into_response(self) -> Result<Response, Problem> {
        match self {
            Self::Refused(status, error) => Ok(json_response(status, &json!({ "error": error }))),
            Self::Problem(problem) => Err(problem),
        }
    }
}

/// What a deployment said, and which one it was.
pub async fn ask<T, F>(
    app: &App,
    call: &Call,
    deployments: &[Arc<Deployment>],
    mut send: impl FnMut(Arc<Deployment>) -> F,
) -> Result<(T, Arc<Deployment>), Unanswered>
where
    F: Future<Output = Result<T, UpstreamError>>,
{
    let ai = client(app).map_err(Unanswered::Problem)?;
    let mut wait: Option<Duration> = None;
    let mut unfit = None;
    let (mut tried, mut unreadable) = (false, false);
    for deployment in ai.cooldowns.order(deployments, app.clock.now(), &*app.random) {
        let answer = send(Arc::clone(&deployment)).await;
        ai.cooldowns.note(&deployment, answer.as_ref().err(), app.clock.now());
        match answer {
            Ok(answer) => return Ok((answer, deployment)),
            Err(UpstreamError::Refused { status, error }) => return Err(Unanswered::Refused(status, error)),
            Err(UpstreamError::Unfit(text)) => unfit = Some(text),
            Err(error) => {
                tried = true;
                tracing::warn!(request = %call.request, model = call.model, deployment = deployment.id(), %error, "a deployment did not answer");
                match error {
                    UpstreamError::Passing { wait: Some(asked), .. } => {
                        wait = Some(wait.map_or(asked, |known| known.min(asked)));
                    }
                    UpstreamError::Unreadable(_) => unreadable = true,
                    _ => {}
                }
            }
        }
    }
    Err(Unanswered::Problem(match unfit {
        Some(text) if !tried => Problem::bad_request("unsupported_feature", text),
        _ if unreadable => broken(),
        _ => unavailable(wait),
    }))
}

fn unavailable(wait: Option<Duration>) -> Problem {
    let (status, code) = match wait {
        Some(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded"),
        None => (StatusCode::BAD_GATEWAY, "upstream_unavailable"),
    };
    let mut problem = Problem::new(status, code, "The model is not available at the moment; try again.");
    problem.retry_after = wait;
    problem
}

pub fn broken() -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "upstream_invalid",
        "The model's answer could not be read; nothing is billed.",
    )
    .final_answer()
}

/// The answer was made and can not be billed: the customer does not get it.
pub fn unrecorded() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "metering_unavailable",
        "The usage of this call could not be recorded; nothing is billed.",
    )
    .final_answer()
}
