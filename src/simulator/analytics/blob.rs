//! The files of executions as Azure Blob Storage serves them to whoever has a signed link (analytics contract 4.7).

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_MATCH, LAST_MODIFIED, RANGE,
    RETRY_AFTER,
};
use http::{Method, Response};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::super::Simulator;
use super::super::http::{Answer, Body, Reply, Request, reply, with_header};
use super::super::state::Turn;
use super::FILES;
use super::executions::Execution;
use super::export::{self, Order};
use super::faults::DownloadFault;
use super::reports::second;
use super::spool::Spool;
use super::world::World;

pub const ROUTE: &str = "/blob/programmatic-export-pi/{file}";
const FOLDER: &str = "/blob/programmatic-export-pi";

/// A link is good for so long.
const LINK_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A file leaves in pieces of this size.
const PIECE: usize = 1 << 17;

/// The address of an execution's file, without and with a fresh signature.
pub fn link(simulator: &Simulator, turn: &mut Turn<'_>, execution: &Execution) -> (String, String) {
    if turn.state.analytics.secret.is_empty() {
        turn.state.analytics.secret = turn.random.token();
    }
    let expired = turn.faults.take(|switches| &mut switches.analytics.expired_links_next);
    let foreign = turn.faults.take(|switches| &mut switches.analytics.foreign_links_next);
    let expires = if expired { turn.now - SignedDuration::from_mins(1) } else { turn.now + LINK_LIFE };
    let host = if foreign { "https://files.contoso.example" } else { simulator.base_url() };
    let location = format!("{host}{FOLDER}/{}", execution.file);
    let expires = second(expires);
    let signature = signature(&turn.state.analytics.secret, &execution.file, &expires);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let signed = format!("{location}?sv=2018-03-28&sr=b&sig={}&se={}&sp=r", encoded(&signature), encoded(&expires));
    (location, signed)
}

fn signature(secret: &str, file: &str, expires: &str) -> String {
    STANDARD.encode(Sha256::digest(format!("{secret}\n{file}\n{expires}\nr")))
}

fn error(status: u16, code: &'static str, message: &str) -> Reply {
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    with_header(reply(status, "application/xml", body), HeaderName::from_static("x-ms-error-code"), code)
}

fn forbidden(detail: &str) -> Reply {
    let why = "Server failed to authenticate the request. Make sure the value of Authorization header is formed \
               correctly including the signature.";
    error(403, "AuthenticationFailed", &format!("{why}\n{detail}"))
}

/// Who has no good link sees nothing.
fn refuse_caller(simulator: &Simulator, request: &Request) -> Option<Reply> {
    if request.header(AUTHORIZATION.as_str()).is_some() {
        return Some(forbidden("A bearer token and a signature exclude each other."));
    }
    let (Some(given), Some(expires)) = (request.query("sig"), request.query("se")) else {
        return Some(error(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account."));
    };
    let (right, now) =
        simulator.turn(|turn| (signature(&turn.state.analytics.secret, request.param("file"), expires), turn.now));
    if right != given {
        return Some(forbidden("Signature did not match."));
    }
    let over = expires.parse::<Timestamp>().is_ok_and(|end| now >= end);
    over.then(|| forbidden("Signature not valid in the specified time frame"))
}

/// The file of an execution that is done; made when somebody asks for the first time, as of the moment when it was done.
fn file(simulator: &Simulator, name: &str) -> Result<(Execution, Arc<Spool>), Reply> {
    let missing = || error(404, "BlobNotFound", "The specified blob does not exist.");
    let calendar = simulator.faults().get().analytics.calendar_spans;
    let found = simulator.turn(|turn| {
        turn.settle_all();
        turn.settle_reports();
        let book = &turn.state.analytics;
        let execution = book.executions.iter().find(|one| one.file == name && one.is_done(turn.now))?.clone();
        if let Some(spool) = book.files.get(&execution.id) {
            return Some((execution, Ok(spool.clone())));
        }
        let report = book.reports.iter().find(|report| report.id == execution.report)?.clone();
        let prepared = book.prepared(&report, execution.done_at(), calendar).ok()?;
        let world = World::of(turn.state, execution.done_at(), execution.planted.unwrap_or_default());
        Some((execution, Err((report, prepared, world))))
    });
    let (execution, made) = found.ok_or_else(missing)?;
    let (report, (bound, range), world) = match made {
        Ok(spool) => return Ok((execution, spool)),
        Err(made) => made,
    };
    let faults = &execution.faults;
    let order = Order { bound: &bound, range, tabs: report.format == "tsv", faults };
    let spool = export::write(&order, &world).map_err(|trouble| error(500, "InternalError", &trouble.to_string()))?;
    let spool = Arc::new(spool);
    simulator.turn(|turn| {
        let files = &mut turn.state.analytics.files;
        if files.len() >= FILES {
            files.clear();
        }
        files.insert(execution.id, spool.clone());
    });
    Ok((execution, spool))
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Answer {
    let whole = |reply: Reply| reply.map(Body::Whole);
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return whole(error(405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb."));
    }
    simulator.count("analytics.download");
    if let Some(refusal) = refuse_caller(simulator, request) {
        return whole(refusal);
    }
    let mut fault = DownloadFault::Fine;
    simulator.faults().change(|switches| fault = switches.analytics.downloads.pop_front().unwrap_or(fault));
    match fault {
        DownloadFault::Fail(status) => return whole(error(status, "ServerBusy", "The server is currently unable.")),
        DownloadFault::Throttle(seconds) => {
            let busy = error(429, "TooManyRequests", "The server is busy.");
            return whole(with_header(busy, RETRY_AFTER, &seconds.to_string()));
        }
        DownloadFault::Fine | DownloadFault::Cut | DownloadFault::CutAfter(_) => {}
    }
    let (maker, name) = (simulator.clone(), request.param("file").to_owned());
    // Large files take a while, and the simulator serves others meanwhile.
    let made = tokio::task::spawn_blocking(move || file(&maker, &name)).await;
    match made {
        Ok(Ok((execution, spool))) => served(request, &execution, spool, fault),
        Ok(Err(refusal)) => whole(refusal),
        Err(_) => whole(error(500, "InternalError", "The file could not be made.")),
    }
}

/// `bytes=5-` or `bytes=5-9`, as first byte and the one after the last; nothing for what is not understood, which asks for
/// all.
fn range(header: &str, len: u64) -> Option<(u64, u64)> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.trim().parse().ok()?;
    let to = if to.trim().is_empty() { len } else { to.trim().parse::<u64>().ok()?.saturating_add(1) };
    Some((from, to.min(len)))
}

fn served(request: &Request, execution: &Execution, spool: Arc<Spool>, fault: DownloadFault) -> Answer {
    let tag = format!("\"0x8D{:X}\"", execution.id.as_u64_pair().0 >> 8);
    if request.header(IF_MATCH.as_str()).is_some_and(|wanted| wanted != "*" && wanted != tag) {
        let why = "The condition specified using HTTP conditional header(s) is not met.";
        return error(412, "ConditionNotMet", why).map(Body::Whole);
    }
    let len = spool.len();
    let asked = request.header(RANGE.as_str()).and_then(|header| range(header, len));
    let (from, to) = asked.unwrap_or((0, len));
    if from >= to && asked.is_some() {
        let why = "The range specified is invalid for the current size of the resource.";
        let reply = error(416, "InvalidRange", why);
        return with_header(reply, CONTENT_RANGE, &format!("bytes */{len}")).map(Body::Whole);
    }
    let cut = match fault {
        DownloadFault::Cut => Some(from + (to - from) / 2),
        DownloadFault::CutAfter(bytes) => Some(from.saturating_add(bytes).min(to)),
        _ => None,
    };
    let head = request.method == Method::HEAD;
    let body = if head { Body::Whole(Bytes::new()) } else { Body::Stream(Box::pin(pieces(spool, from, to, cut))) };
    let mut answer = Response::new(body);
    if asked.is_some() {
        *answer.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        answer = with_header(answer, CONTENT_RANGE, &format!("bytes {from}-{}/{len}", to - 1));
    }
    let done = execution.done_at().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [
        (http::header::CONTENT_TYPE, "application/octet-stream"),
        (ACCEPT_RANGES, "bytes"),
        (ETAG, &tag),
        (LAST_MODIFIED, &done),
        (HeaderName::from_static("x-ms-blob-type"), "BlockBlob"),
        (CONTENT_LENGTH, &(to - from).to_string()),
    ] {
        answer = with_header(answer, name, value);
    }
    answer
}

/// The bytes of a range. With `cut` the connection breaks there.
fn pieces(
    spool: Arc<Spool>,
    from: u64,
    to: u64,
    cut: Option<u64>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + Sync {
    let end = cut.unwrap_or(to);
    stream::unfold(Some(from), move |at| {
        let spool = spool.clone();
        async move {
            let at = at?;
            if at >= end {
                // What was written has to leave before the connection breaks.
                tokio::task::yield_now().await;
                return cut.map(|_| (Err(io::Error::other("cut, as was asked for")), None));
            }
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE);
            let piece = spool.read(at, most).map(Bytes::from);
            let next = piece.as_ref().ok().map(|piece| at + piece.len() as u64);
            Some((piece, next))
        }
    })
}
