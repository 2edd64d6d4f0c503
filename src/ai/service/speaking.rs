//! From text to speech.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use serde_json::Value;

use super::admission::{Intent, Reserving, admit, client, with_limits};
use super::ask::{Unanswered, ask, broken, unrecorded};
use super::meter::{self, Call};
use super::relay::{DRAIN, LONGEST, send};
use crate::ai::client::{self as service, AiClient, UpstreamError};
use crate::ai::model::deployments::{Deployment, Kind, PathStyle, Provider};
use crate::ai::model::spoken;
use crate::ai::model::used::{Basis, Part, Used};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Body, Request, Response, respond, with_header};
use crate::identity::ApiKey;

/// The longest text of one call (AI services contract 1.13).
const LONGEST_TEXT: usize = 4096;

/// What is to be spoken, as it was asked for.
#[derive(Debug, Clone)]
pub struct Speech {
    input: String,
    voice: String,
    format: String,
    speed: f64,
    /// The whole request, for services that speak as OpenAI does.
    body: Value,
}

/// Reads OpenAI's request.
pub fn speech(body: Value) -> Result<Speech, Problem> {
    let wrong = |field: &'static str, text: String| Problem::bad_request("invalid_value", text).field(field);
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (input, voice) = (text("input"), text("voice"));
    if input.trim().is_empty() || input.chars().count() > LONGEST_TEXT {
        return Err(wrong("input", format!("The text must have 1 to {LONGEST_TEXT} characters.")));
    }
    if voice.is_empty() {
        return Err(wrong("voice", "The voice is not named.".to_owned()));
    }
    let format = body["response_format"].as_str().unwrap_or("mp3").to_owned();
    if spoken::content_type(&format).is_none() {
        return Err(wrong("response_format", "The format must be one of mp3, opus, aac, flac, wav, pcm.".to_owned()));
    }
    let speed = if body["speed"].is_null() { Some(1.0) } else { body["speed"].as_f64() };
    let speed = speed.filter(|speed| (0.25..=4.0).contains(speed));
    let speed = speed.ok_or_else(|| wrong("speed", "The speed must be between 0.25 and 4.".to_owned()))?;
    if !matches!(body["stream_format"].as_str(), None | Some("audio")) {
        return Err(wrong("stream_format", "Speech is answered as audio.".to_owned()));
    }
    Ok(Speech { input, voice, format, speed, body })
}

/// `POST /v1/audio/speech`.
pub async fn speak(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    let body: Value = request.json()?;
    let Some(model) = body["model"].as_str().map(str::to_owned) else {
        return Err(Problem::bad_request("missing_model", "The model is not named.").field("model"));
    };
    let speech = speech(body)?;
    let task = tokio::spawn(async move { say(app, request, key, model, speech).await });
    task.await.map_err(Problem::internal)?
}

/// How many characters a deployment's service bills for a text.
fn characters(deployment: &Deployment, text: &str) -> u64 {
    match deployment.provider {
        Provider::Openai => text.chars().count() as u64,
        _ => spoken::characters(text),
    }
}

/// Speech that has begun: what says it, what it uses, and its audio as it is made.
struct Begun {
    call: Call,
    deployment: Arc<Deployment>,
    audio: reqwest::Response,
    used: Used,
}

async fn begin(app: &Arc<App>, request: &str, key: &ApiKey, model: &str, speech: &Speech) -> Result<Begun, Unanswered> {
    let worst = |deployment: &Deployment| Used::of(Part::Characters, characters(deployment, &speech.input));
    let intent =
        Intent { request, key, model, kind: Kind::Speech, tokens: 0, worst: &worst, reserving: Reserving::ForCall };
    let (call, deployments) = admit(app, &intent).await?;
    let ai = client(app)?;
    let asking = ask(app, &call, &deployments, |deployment| async move { spoken_by(ai, &deployment, speech).await });
    let (audio, deployment) = asking.await?;
    let used = worst(&deployment);
    Ok(Begun { call, deployment, audio, used })
}

/// Speaks a text to its end, and records what that used under `request`.
pub async fn speak_whole(
    app: &Arc<App>,
    request: &str,
    key: &ApiKey,
    model: &str,
    speech: &Speech,
) -> Result<(Bytes, Used, Call), Unanswered> {
    let Begun { mut call, deployment, audio, used } = begin(app, request, key, model, speech).await?;
    let audio = service::whole(audio).await.map_err(|error| {
        tracing::warn!(request, %error, "speech broke off");
        Problem::new(StatusCode::BAD_GATEWAY, "upstream_unavailable", "The model broke off; nothing is billed.")
    })?;
    if audio.is_empty() {
        return Err(broken().into());
    }
    meter::record(app, &mut call, &deployment, &used, Basis::Measured).await.map_err(|_| unrecorded())?;
    Ok((audio.into(), used, call))
}

async fn say(app: Arc<App>, request: Request, key: ApiKey, model: String, speech: Speech) -> Result<Response, Problem> {
    let Begun { call, deployment, audio, used } = match begin(&app, request.id.as_str(), &key, &model, &speech).await {
        Ok(begun) => begun,
        Err(unanswered) => return unanswered.into_response(),
    };
    let content = spoken::content_type(&speech.format).unwrap_or("application/octet-stream");
    let mut response = with_limits(respond(StatusCode::OK, content, Vec::new()), &call.hold.inside);
    *response.body_mut() = flow(app, call, deployment, audio, used);
    Ok(with_header(response, header::CACHE_CONTROL, "no-store"))
}

async fn spoken_by(
    ai: &AiClient,
    deployment: &Deployment,
    speech: &Speech,
) -> Result<reqwest::Response, UpstreamError> {
    let unfit = |text: &str| UpstreamError::Unfit(text.to_owned());
    let response = if deployment.provider == Provider::Openai {
        let mut body = speech.body.clone();
        if deployment.path == PathStyle::V1 {
            body["model"] = deployment.deployment.clone().into();
        } else if let Some(fields) = body.as_object_mut() {
            fields.remove("model");
        }
        ai.json(deployment, &body).await?
    } else {
        let (azure, _) =
            spoken::output_format(&speech.format).ok_or_else(|| unfit("This model speaks mp3, opus, wav and pcm."))?;
        let voice = spoken::voice(&speech.voice);
        if !spoken::is_voice(&voice) {
            return Err(unfit(
                "There is no such voice; use one of OpenAI's names, or Azure's such as en-US-AvaMultilingualNeural.",
            ));
        }
        ai.speak(deployment, spoken::ssml(&speech.input, &voice, speech.speed), azure).await?
    };
    let content = service::header(&response, header::CONTENT_TYPE);
    if content.starts_with("audio/") || content.starts_with("application/octet-stream") || content.is_empty() {
        Ok(response)
    } else {
        Err(UpstreamError::Unreadable(format!("it is {content} and no audio")))
    }
}

/// Audio on its way to the customer: the last piece is held back until the record is durable. A break of the service
/// breaks the answer, too, and is not billed; who hangs up pays, because the service speaks the whole text.
fn flow(app: Arc<App>, mut call: Call, deployment: Arc<Deployment>, audio: reqwest::Response, used: Used) -> Body {
    let (customer, mut receiver) = tokio::sync::mpsc::channel::<Option<Bytes>>(8);
    tokio::spawn(async move {
        let mut pieces = audio.bytes_stream();
        let began = tokio::time::Instant::now();
        let (mut held, mut gone) = (None, None::<tokio::time::Instant>);
        loop {
            if gone.is_some_and(|since| since.elapsed() > DRAIN) || began.elapsed() > LONGEST {
                break;
            }
            match pieces.next().await {
                None => break,
                Some(Ok(piece)) => {
                    if let Some(before) = held.replace(piece)
                        && gone.is_none()
                        && !send(&customer, Some(before)).await
                    {
                        gone = Some(tokio::time::Instant::now());
                    }
                }
                // Without its end, the answer breaks for the customer, too.
                Some(Err(error)) => {
                    tracing::warn!(request = %call.request, error = %error.without_url(), "speech broke off");
                    return;
                }
            }
        }
        let Some(last) = held else {
            tracing::warn!(request = %call.request, "speech was empty");
            return;
        };
        if meter::record(&app, &mut call, &deployment, &used, Basis::Measured).await.is_ok()
            && gone.is_none()
            && send(&customer, Some(last)).await
        {
            send(&customer, None).await;
        }
    });
    // None is the good end; where it does not come, the connection breaks.
    let mut ended = false;
    Body::Stream(Box::pin(futures_util::stream::poll_fn(move |context| {
        if ended {
            return Poll::Ready(None);
        }
        receiver.poll_recv(context).map(|piece| {
            ended = !matches!(piece, Some(Some(_)));
            match piece {
                Some(piece) => piece.map(Ok),
                None => Some(Err(std::io::Error::other("the service broke off"))),
            }
        })
    })))
}
