//! Azure AI Vision 3.2, Read: accepted at once, running at the first look, done at the next.

use bytes::Bytes;
use http::header::HeaderName;
use image::ImageFormat;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::look::look;
use super::pause;
use super::refusal::{coded, unseen};
use super::vision::{WRITTEN, blind, sent};
use super::vision_old::SIDES;
use crate::simulator::http::{Answer, Body, Reply, Request, empty, json_reply, with_header};
use crate::simulator::{Simulator, lock};

const LARGEST: usize = 32 << 20;

const FORMATS: &[ImageFormat] = &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff];

/// A reading that was accepted.
#[derive(Debug)]
pub struct Reading {
    result: Value,
    looks: u64,
    at: Timestamp,
}

/// The whole picture is one page, and so one transaction.
pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let order = request.query("readingOrder").unwrap_or("basic");
    if !["basic", "natural"].contains(&order) {
        return Err(unseen("InvalidArgument", "readingOrder must be basic or natural."));
    }
    let bytes: Bytes = sent(request, LARGEST)?;
    let picture = look(bytes, FORMATS, SIDES).await.map_err(blind)?;
    let mut running = Running::without_tokens(simulator, "vision-read", AiKind::Vision);
    running.book(|call| call.transactions = 1);
    pause(simulator).await;
    let result = page(picture.width, picture.height);
    let id = simulator.new_id();
    lock(&simulator.0.ai).readings.insert(id, Reading { result, looks: 0, at: running.at });
    running.finished();
    let place = format!("{}/vision/v3.2/read/analyzeResults/{id}", simulator.base_url());
    Ok(with_header(empty(202), HeaderName::from_static("operation-location"), &place).map(Body::Whole))
}

fn page(width: u32, height: u32) -> Value {
    let (half, bottom) = (width / 4, height / 4);
    let area = |left: u32, right: u32| json!([left, 1, right, 1, right, bottom, left, bottom]);
    let words = WRITTEN
        .split(' ')
        .zip([1, half + 1])
        .map(|(text, left)| json!({ "boundingBox": area(left, left + half - 1), "text": text, "confidence": 0.99 }));
    let line = json!({
        "boundingBox": area(1, 2 * half), "text": WRITTEN, "words": words.collect::<Vec<_>>(),
        "appearance": { "style": { "name": "other", "confidence": 0.9 } },
    });
    json!({
        "version": "3.2.0", "modelVersion": "2022-04-30",
        "readResults": [{ "page": 1, "angle": 0, "width": width, "height": height, "unit": "pixel", "lines": [line] }],
    })
}

/// How far a reading is.
pub fn result(simulator: &Simulator, request: &Request) -> Reply {
    let mut books = lock(&simulator.0.ai);
    let Some(reading) = request.id("id").and_then(|id| books.readings.get_mut(&id)) else {
        return coded(404, "NotFound".into(), "There is no such operation.", Value::Null);
    };
    reading.looks += 1;
    let mut answer = json!({
        "status": if reading.looks == 1 { "running" } else { "succeeded" },
        "createdDateTime": reading.at, "lastUpdatedDateTime": reading.at,
    });
    if reading.looks > 1 {
        answer["analyzeResult"] = reading.result.clone();
    }
    json_reply(200, &answer)
}
