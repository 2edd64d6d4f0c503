//! Images looked at, in the shape of Azure's Image Analysis, whoever looks.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::Value;

use super::admission::{Intent, Reserving, admit, client, with_limits};
use super::ask::{Unanswered, ask, unrecorded};
use super::inline::fetch;
use super::meter::{self, Call};
use crate::ai::client::vision::Look;
use crate::ai::model::deployments::{Kind, Provider};
use crate::ai::model::used::{Basis, Part, Used};
use crate::ai::model::vision::{Feature, ImageError, LARGEST, check};
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response, json};
use crate::identity::ApiKey;

/// The model when none is named.
const USUAL: &str = "vision";

/// Where the image is.
#[derive(Debug)]
pub enum Source {
    Bytes(Bytes),
    Address(String),
}

struct Asked {
    source: Source,
    features: Vec<Feature>,
    language: String,
    model: String,
}

fn wrong(field: &'static str, text: impl Into<String>) -> Problem {
    Problem::bad_request("invalid_value", text).field(field)
}

pub fn features<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<Feature>, Problem> {
    let mut found = Vec::new();
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        let feature = Feature::read(name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            Problem::bad_request("unsupported_feature", format!("There is no feature `{shown}`."))
                .field("features")
                .remedy(format!("There are {}.", Feature::NAMES))
        })?;
        found.push(feature);
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(wrong("features", format!("Name at least one feature: {}.", Feature::NAMES)));
    }
    Ok(found)
}

/// Reads the request: bytes with everything else in the query, as Azure has it, or JSON with everything in the body.
fn asked(request: &Request) -> Result<Asked, Problem> {
    let query = |name: &str| request.query(name).unwrap_or_default();
    let content = request.header(header::CONTENT_TYPE).unwrap_or_default();
    let is_json = content.starts_with("application/json");
    let body: Value = if is_json { request.json()? } else { Value::Null };
    let text = |name: &str| match body[name].as_str() {
        Some(text) => text.to_owned(),
        None => query(name),
    };
    let source = match (&body["image"]["b64"], body["image"]["url"].as_str().or_else(|| body["url"].as_str())) {
        (Value::String(data), _) => {
            let bytes = STANDARD.decode(data).map_err(|_| wrong("image", "`image.b64` is not base64."))?;
            Source::Bytes(bytes.into())
        }
        (_, Some(address)) => Source::Address(address.to_owned()),
        _ if is_json => return Err(wrong("image", "Send `image.url`, `image.b64`, or the bytes as the body.")),
        _ => Source::Bytes(request.body.clone()),
    };
    let listed = body["features"].as_array().map(|list| list.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    let features = match listed {
        Some(names) => features(names.into_iter())?,
        None => features(text("features").split(','))?,
    };
    let language = text("language");
    if !language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') || language.len() > 20 {
        return Err(wrong("language", "The language is two letters, such as `en`."));
    }
    let model = Some(text("model")).filter(|model| !model.is_empty()).unwrap_or_else(|| USUAL.to_owned());
    Ok(Asked { source, features, language, model })
}

/// `POST /v1/vision/analyze`.
pub async fn analyze(app: Arc<App>, request: Request, key: ApiKey) -> Result<Response, Problem> {
    let asked = asked(&request)?;
    let task = tokio::spawn(async move { look(app, request, key, asked).await });
    task.await.map_err(Problem::internal)?
}

/// What one image takes.
pub fn used(features: &[Feature]) -> Used {
    Used::of(Part::Transactions, features.len() as u64)
}

/// Looks at an image, and records what that used under `request`.
pub async fn find(
    app: &Arc<App>,
    request: &str,
    key: &ApiKey,
    model: &str,
    source: Source,
    features: &[Feature],
    language: &str,
) -> Result<(Value, Call), Unanswered> {
    let used = used(features);
    let intent = Intent {
        request,
        key,
        model,
        kind: Kind::Vision,
        tokens: 0,
        worst: &|_| used.clone(),
        reserving: Reserving::ForCall,
    };
    let (mut call, deployments) = admit(app, &intent).await?;
    let image = match source {
        Source::Bytes(bytes) => bytes,
        Source::Address(address) => fetch(app, &address, LARGEST).await?,
    };
    let size = check(&image).map_err(|error| {
        let problem = Problem::bad_request("invalid_image", error.to_string()).field("image");
        if error == ImageError::TooLarge { problem.status(StatusCode::PAYLOAD_TOO_LARGE) } else { problem }
    })?;
    let look = &Look { image, size, features: features.to_vec(), language: language.to_owned() };
    let ai = client(app)?;
    let asking = ask(app, &call, &deployments, |deployment| async move {
        match deployment.provider {
            Provider::AzureVision => ai.look(&deployment, look).await,
            Provider::AzureVisionV3 => ai.look_old(&deployment, look).await,
            _ => ai.look_by_chat(&deployment, look).await,
        }
    });
    let (answer, deployment) = asking.await?;
    meter::record(app, &mut call, &deployment, &used, Basis::Measured).await.map_err(|_| unrecorded())?;
    Ok((answer, call))
}

async fn look(app: Arc<App>, request: Request, key: ApiKey, asked: Asked) -> Result<Response, Problem> {
    let Asked { source, features, language, model } = asked;
    match find(&app, request.id.as_str(), &key, &model, source, &features, &language).await {
        Ok((answer, call)) => Ok(with_limits(json(StatusCode::OK, &answer), &call.hold.inside)),
        Err(unanswered) => unanswered.into_response(),
    }
}
