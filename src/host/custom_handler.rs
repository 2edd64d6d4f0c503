//! Front door A: an Azure Functions custom handler. The host proxies HTTP to us as it came and hands queue messages and
//! ticks over as envelopes.

use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use super::bindings::{Function, Trigger};
use super::edge::{self, Door};
use super::{Host, dispatch, envelope};
use crate::foundation::problem::JobError;
use crate::foundation::web::{Response, json, send_at_once};

/// Serves the Functions host until `shutdown`. The host itself gives no notice: it kills.
pub async fn run(host: Host, listener: TcpListener, shutdown: impl Future<Output = ()> + Send + 'static) {
    send_at_once(&listener);
    warp::serve(edge::filter(host, Door::FunctionsHost)).incoming(listener).graceful(shutdown).run().await;
}

/// Serves one envelope. Success and permanent failure are 200 with a JSON object, because an empty answer would hang
/// the invocation until its time-out; a passing failure is 500, so that the host counts and repeats it.
pub async fn invoke(host: &Host, function: &Function, body: &[u8]) -> Response {
    let result = match &function.trigger {
        Trigger::Queue { .. } => match envelope::queue_text(body, &function.binding) {
            Some(text) => dispatch::queue(host, function, text).await,
            None => Err(JobError::fail("the envelope has no message in it")),
        },
        Trigger::Timer { .. } => dispatch::timer(host, function).await,
        Trigger::Http { .. } => Err(JobError::fail("HTTP functions get no envelopes")),
    };
    match result {
        Ok(()) => json(StatusCode::OK, &json!({ "Outputs": {}, "Logs": [] })),
        Err(JobError::Fail(error)) => {
            tracing::error!(function = function.name, %error, "given up; it is not repeated");
            json(StatusCode::OK, &json!({ "Outputs": {}, "Logs": [format!("given up: {error}")] }))
        }
        Err(JobError::Retry(error)) => {
            tracing::warn!(function = function.name, %error, "failed; the host repeats it");
            json(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "error": error.to_string() }))
        }
    }
}
