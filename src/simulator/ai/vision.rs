//! Azure AI Vision, Image Analysis 4.0: the size is real, the colour is real, and everything else is made up from them.

use bytes::Bytes;
use image::ImageFormat;
use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::look::{Blind, Picture, look};
use super::pause;
use super::refusal::unseen;
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

const VERSION: &str = "2024-02-01";

const LARGEST: usize = 20 << 20;

/// Pixels along a side.
const SIDES: (u32, u32) = (50, 16_000);

const FORMATS: &[ImageFormat] = &[
    ImageFormat::Jpeg,
    ImageFormat::Png,
    ImageFormat::Gif,
    ImageFormat::Bmp,
    ImageFormat::WebP,
    ImageFormat::Ico,
    ImageFormat::Tiff,
];

const FEATURES: &[&str] = &["caption", "denseCaptions", "tags", "objects", "read", "smartCrops", "people"];

/// What is said to be written on every picture.
pub const WRITTEN: &str = "SIMULATED TEXT";

/// The picture in the body, which is not too large. Addresses are not followed.
pub fn sent(request: &Request, largest: usize) -> Result<Bytes, Reply> {
    let kind = request.header("content-type").unwrap_or_default();
    if kind.starts_with("application/json") {
        return Err(unseen("InvalidImageUrl", "The image URL is not accessible: the simulator fetches nothing."));
    }
    if !kind.starts_with("application/octet-stream") && !kind.starts_with("image/") {
        return Err(unseen("InvalidRequest", "Content-Type must be application/octet-stream or application/json."));
    }
    if request.body.len() > largest {
        let message = format!("The image is larger than {largest} bytes.");
        return Err(unseen("InvalidImageSize", &message));
    }
    Ok(request.body.clone())
}

pub fn blind(why: Blind) -> Reply {
    match why {
        Blind::Format => unseen("InvalidImageFormat", "The image is broken, or of a format that is not supported."),
        Blind::Size => unseen("InvalidImageSize", "The image's width or height is not within the limits."),
    }
}

/// The features that are asked for, each once, by the names of a list.
pub fn asked(sent: &str, known: &'static [&'static str]) -> Result<Vec<&'static str>, Reply> {
    let mut features = Vec::new();
    for name in sent.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let feature = known.iter().copied().find(|known| known.eq_ignore_ascii_case(name));
        let message = format!("The feature '{name}' is not supported.");
        let feature = feature.ok_or_else(|| unseen("NotSupportedVisualFeature", &message))?;
        if !features.contains(&feature) {
            features.push(feature);
        }
    }
    Ok(features)
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    if request.query("api-version") != Some(VERSION) {
        return Err(unseen("InvalidApiVersion", "The api-version is missing or not supported."));
    }
    let features = asked(request.query("features").unwrap_or_default(), FEATURES)?;
    if features.is_empty() {
        return Err(unseen("InvalidArgument", "features must name at least one feature."));
    }
    let captions = features.iter().any(|feature| ["caption", "denseCaptions"].contains(feature));
    match request.query("language") {
        None | Some("en") => {}
        Some("es" | "ja" | "pt" | "zh") if !captions => {}
        Some(_) => return Err(unseen("NotSupportedLanguage", "The language is not supported with these features.")),
    }
    let ratios = ratios(request.query("smartcrops-aspect-ratios"))?;
    let picture = look(sent(request, LARGEST)?, FORMATS, SIDES).await.map_err(blind)?;
    let running = Running::without_tokens(simulator, "vision-4.0", AiKind::Vision);
    running.book(|call| call.transactions = features.len() as u64);
    pause(simulator).await;
    let mut answer = json!({
        "modelVersion": "2023-10-01", "metadata": { "width": picture.width, "height": picture.height },
    });
    for feature in features {
        answer[format!("{feature}Result")] = match feature {
            "caption" => json!({ "text": caption(&picture), "confidence": 0.8 }),
            "denseCaptions" => {
                let all = json!({ "text": caption(&picture), "confidence": 0.8, "boundingBox": whole_of(&picture) });
                let middle = json!({
                    "text": "a simulated thing in the middle", "confidence": 0.6, "boundingBox": middle_of(&picture),
                });
                json!({ "values": [all, middle] })
            }
            "tags" => json!({ "values": tags(&picture) }),
            "objects" => {
                let tags = json!([{ "name": "simulated thing", "confidence": 0.6 }]);
                json!({ "values": [{ "boundingBox": middle_of(&picture), "tags": tags }] })
            }
            "read" => read(&picture),
            "smartCrops" => json!({ "values": crops(&picture, &ratios) }),
            _ => json!({ "values": [{ "boundingBox": middle_of(&picture), "confidence": 0.5 }] }),
        };
    }
    Ok(whole(running, &answer))
}

/// From 0.75 to 1.8. Without any it is one crop of the picture's own form.
fn ratios(sent: Option<&str>) -> Result<Vec<f64>, Reply> {
    let Some(sent) = sent else { return Ok(Vec::new()) };
    let one = |text: &str| text.trim().parse::<f64>().ok().filter(|ratio| (0.75..=1.8).contains(ratio));
    let all: Option<Vec<f64>> = sent.split(',').map(one).collect();
    all.ok_or_else(|| unseen("NotSupportedSmartCropsAspectRatio", "The aspect ratios must be from 0.75 to 1.8."))
}

pub fn caption(picture: &Picture) -> String {
    format!("a simulated caption: mostly {} picture", picture.colour())
}

/// Every colour that was seen, and that it is simulated.
pub fn tags(picture: &Picture) -> Vec<Value> {
    let tag = |name: &str, confidence: f64| json!({ "name": name, "confidence": confidence });
    let colours = picture.colours.iter().take(5).map(|colour| tag(&colour.to_lowercase(), 0.9));
    [tag("simulated", 0.99)].into_iter().chain(colours).collect()
}

fn area(x: u32, y: u32, w: u32, h: u32) -> Value {
    json!({ "x": x, "y": y, "w": w, "h": h })
}

fn whole_of(picture: &Picture) -> Value {
    area(0, 0, picture.width, picture.height)
}

pub fn middle_of(picture: &Picture) -> Value {
    area(picture.width / 4, picture.height / 4, picture.width / 2, picture.height / 2)
}

/// Two words side by side in the top left quarter.
fn read(picture: &Picture) -> Value {
    let (half, bottom) = (picture.width / 4, picture.height / 4);
    let polygon = |left: u32, right: u32| {
        json!([
            { "x": left, "y": 1 }, { "x": right, "y": 1 }, { "x": right, "y": bottom }, { "x": left, "y": bottom },
        ])
    };
    let words = WRITTEN.split(' ').zip([1, half + 1]).map(
        |(text, left)| json!({ "text": text, "boundingPolygon": polygon(left, left + half - 1), "confidence": 0.99 }),
    );
    let line = json!({
        "text": WRITTEN, "boundingPolygon": polygon(1, 2 * half), "words": words.collect::<Vec<_>>(),
    });
    json!({ "blocks": [{ "lines": [line] }] })
}

/// The largest areas of these forms around the middle.
fn crops(picture: &Picture, ratios: &[f64]) -> Vec<Value> {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let own = [width / height];
    let ratios = if ratios.is_empty() { own.as_slice() } else { ratios };
    ratios
        .iter()
        .map(|ratio| {
            let (w, h) = if width / height > *ratio { (height * ratio, height) } else { (width, width / ratio) };
            let [x, y, w, h] = [(width - w) / 2.0, (height - h) / 2.0, w, h].map(rounded);
            json!({ "aspectRatio": (ratio * 100.0).round() / 100.0, "boundingBox": area(x, y, w, h) })
        })
        .collect()
}

/// A length in a picture; it is positive and not large.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 16,000")]
fn rounded(length: f64) -> u32 {
    length.floor() as u32
}
