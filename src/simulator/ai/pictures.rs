//! Pictures that are made: plain ones, small, with the sides in the proportion that was asked for.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::calls::{AiKind, Running};
use super::chat::number;
use super::delivery::whole;
use super::models::{Ability, deployment};
use super::refusal::{blocked, coded, invalid};
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request, json_reply};

const MOST_PICTURES: u64 = 10;
const MOST_CHARACTERS: usize = 32_000;

/// The sizes: what they are called, how large the picture really is, and the tokens in three qualities.
const SIZES: &[(&str, (u32, u32), [u64; 3])] = &[
    ("1024x1024", (1024, 1024), [272, 1_056, 4_160]),
    ("1024x1536", (1024, 1536), [408, 1_584, 6_240]),
    ("1536x1024", (1536, 1024), [400, 1_568, 6_208]),
];

const QUALITIES: &[&str] = &["low", "medium", "high"];

fn named<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, Reply> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text == "auto" => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(&format!("{name} must be text."), name.into())),
    }
}

/// Without a choice: 1024x1024 in medium quality.
pub async fn answer(simulator: &Simulator, family: Family, request: &Request) -> Result<Answer, Reply> {
    let body = request.json();
    let (deployment, _) = deployment(family, request, body["model"].as_str(), Ability::Image)?;
    let prompt = body["prompt"].as_str().filter(|prompt| !prompt.is_empty());
    let prompt = prompt.ok_or_else(|| invalid("prompt must be text that is not empty.", "prompt".into()))?;
    if prompt.chars().count() > MOST_CHARACTERS {
        return Err(coded(400, "string_above_max_length".into(), "The prompt is too long.", "prompt".into()));
    }
    if body.get("response_format").is_some() {
        let message = "Unknown parameter: 'response_format'.";
        return Err(coded(400, "unknown_parameter".into(), message, "response_format".into()));
    }
    if body["stream"] == true {
        return Err(invalid("The simulator does not stream pictures.", "stream".into()));
    }
    let count = number(&body, "n")?.unwrap_or(1);
    if count > MOST_PICTURES {
        return Err(invalid("n must be from 1 to 10.", "n".into()));
    }
    let size = named(&body, "size")?.unwrap_or("1024x1024");
    let known = SIZES.iter().find(|(name, ..)| *name == size);
    let (_, sides, tokens) = known.ok_or_else(|| invalid("The size is not supported.", "size".into()))?;
    let quality = named(&body, "quality")?.unwrap_or("medium");
    let level = QUALITIES.iter().position(|name| *name == quality);
    let level = level.ok_or_else(|| invalid("quality must be low, medium, high or auto.", "quality".into()))?;
    let (format_name, format) = match named(&body, "output_format")? {
        None | Some("png") => ("png", ImageFormat::Png),
        Some("jpeg") => ("jpeg", ImageFormat::Jpeg),
        Some(_) => return Err(invalid("output_format must be png or jpeg.", "output_format".into())),
    };
    let input = (prompt.chars().count() as u64).div_ceil(4);
    let output = count * tokens[level];
    let mut running = Running::begin(simulator, &deployment, AiKind::Image, false, &Value::Null, input);
    pause(simulator).await;
    if prompt.contains("[blocked]") {
        running.blocked();
        return Err(blocked());
    }
    let data: Option<Vec<Value>> = (0..count)
        .map(|index| Some(json!({ "b64_json": STANDARD.encode(picture(prompt, index, *sides, format)?) })))
        .collect();
    let Some(data) = data else {
        return Err(json_reply(
            500,
            &json!({ "error": { "message": "No picture came out.", "type": "server_error" } }),
        ));
    };
    running.produced(output);
    running.book(|call| call.images = count);
    let mut answer = json!({
        "created": running.at.as_second(), "data": data, "size": size, "quality": quality,
        "output_format": format_name, "background": "opaque",
    });
    if !simulator.faults().take(|switches| &mut switches.ai_no_usage_next) {
        answer["usage"] = json!({
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "input_tokens_details": { "text_tokens": input, "image_tokens": 0 },
        });
    }
    Ok(whole(running, &answer))
}

/// One colour, that follows from the prompt and the number.
fn picture(prompt: &str, index: u64, (width, height): (u32, u32), format: ImageFormat) -> Option<Vec<u8>> {
    let digest: [u8; 32] = Sha256::digest(format!("{index} {prompt}")).into();
    let picture = RgbImage::from_pixel(width, height, Rgb([digest[0], digest[1], digest[2]]));
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).ok()?;
    Some(file.into_inner())
}
