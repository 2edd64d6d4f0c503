//! Where the results of batch jobs lie: addresses that are keys themselves, as a shared access signature makes them.
//!
//! Whoever has the address may fetch, and nobody has to say who he is. Who sends a key along all the same has given it to
//! somebody else's storage, and is refused; the real storage takes no notice of some of them.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::ConstantTimeEq as _;

use super::batches::batches;
use super::delivery::{breaks_after, rest};
use super::sound::Plan;
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Body, Reply, Request, reply};

pub const JSON: &str = "application/json; charset=utf-8";

/// Larger results leave in pieces, without a length.
const WHOLE: u64 = 1 << 20;

const PIECE: u64 = 64 << 10;

/// Where a result is fetched.
pub fn address(simulator: &Simulator, service: &str, id: &str, name: &str, token: &str) -> String {
    let signature = utf8_percent_encode(token, NON_ALPHANUMERIC);
    format!("{}/speechresults/{service}/{id}/{name}?sv=2024-11-04&sr=b&sp=r&sig={signature}", simulator.base_url())
}

/// As the storage refuses.
fn refused(status: u16, code: &str, message: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    reply(status, "application/xml", text)
}

pub fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let keys = ["ocp-apim-subscription-key", "api-key", AUTHORIZATION.as_str()];
    if keys.iter().any(|key| request.header(key).is_some()) {
        return Err(refused(403, "AuthenticationFailed", "The address is the key; another one does not belong here."));
    }
    let (id, name) = (request.param("id"), request.param("name"));
    // The token of the job, and what it has under this name.
    let found: Option<(String, Option<(Plan, &'static str)>)> =
        batches(simulator, |all| match request.param("service") {
            "transcriptions" => {
                let job = all.transcriptions.iter().find(|job| job.id.to_string() == id)?;
                let result = job.result(name).map(|body: Bytes| (Plan::whole(body.to_vec()), JSON));
                Some((job.token.clone(), result))
            }
            "syntheses" => {
                let job = all.syntheses.iter().find(|job| job.id == id)?;
                Some((job.token.clone(), job.result(name)))
            }
            _ => None,
        });
    let missing = || refused(404, "BlobNotFound", "There is no such result.");
    let (token, result) = found.ok_or_else(missing)?;
    let sent = request.query("sig").unwrap_or_default();
    if !bool::from(sent.as_bytes().ct_eq(token.as_bytes())) {
        return Err(refused(403, "AuthenticationFailed", "The signature does not fit."));
    }
    let (plan, kind) = result.ok_or_else(missing)?;
    Ok(deliver(simulator, plan, kind))
}

/// Whole or in pieces; with the fault, `ai_cut_after_chunks` of them arrive, or half.
fn deliver(simulator: &Simulator, plan: Plan, kind: &'static str) -> Answer {
    let cut = simulator.faults().take(|switches| &mut switches.ai_cut_next);
    if !cut && plan.length <= WHOLE {
        return reply(200, kind, plan.part(0, plan.length)).map(Body::Whole);
    }
    let piece = PIECE.min(plan.length.div_ceil(2)).max(1);
    let pieces = plan.length.div_ceil(piece);
    let breaks = cut.then(|| breaks_after(simulator, usize::try_from(pieces).unwrap_or(usize::MAX)) as u64);
    let simulator = simulator.clone();
    let body = stream::unfold((plan, 0_u64), move |(plan, at)| {
        let simulator = simulator.clone();
        async move {
            if at > pieces || (at == pieces && breaks.is_none()) {
                return None;
            }
            if at > 0 {
                rest(&simulator).await;
            }
            if breaks == Some(at) {
                return Some((Err(io::Error::other("cut, as was asked for")), (plan, u64::MAX)));
            }
            let part = Bytes::from(plan.part(at * piece, piece));
            Some((Ok(part), (plan, at + 1)))
        }
    });
    let mut answer = Response::new(Body::Stream(Box::pin(body)));
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    answer
}
