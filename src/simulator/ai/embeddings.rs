//! Embeddings: vectors that follow from the input alone and mean nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::models::{Ability, deployment};
use super::refusal::invalid;
use super::{Family, pause};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

const DIMENSIONS: usize = 8;
const MOST_DIMENSIONS: usize = 3072;
const MOST_INPUTS: usize = 2048;
const MOST_TOKENS: u64 = 8192;

/// One thing to embed: its tokens, and what its vector is made from.
struct Input {
    tokens: u64,
    seed: String,
}

pub async fn answer(simulator: &Simulator, family: Family, request: &Request) -> Result<Answer, Reply> {
    let body = request.json();
    let (name, model) = deployment(family, request, body["model"].as_str(), Ability::Embeddings)?;
    let inputs = inputs(&body["input"]).ok_or_else(|| invalid("The input has no accepted form.", "input".into()))?;
    if inputs.len() > MOST_INPUTS || inputs.iter().any(|input| input.tokens > MOST_TOKENS) {
        return Err(invalid("There are too many inputs, or one of them is too long.", "input".into()));
    }
    let in_base64 = match body.get("encoding_format").filter(|format| !format.is_null()).map(Value::as_str) {
        None | Some(Some("float")) => false,
        Some(Some("base64")) => true,
        Some(_) => return Err(invalid("encoding_format must be float or base64.", "encoding_format".into())),
    };
    let dimensions = match body.get("dimensions").filter(|dimensions| !dimensions.is_null()) {
        None => DIMENSIONS,
        Some(sent) => sent
            .as_u64()
            .and_then(|sent| usize::try_from(sent).ok())
            .filter(|sent| (1..=MOST_DIMENSIONS).contains(sent))
            .ok_or_else(|| invalid("dimensions must be from 1 to 3072.", "dimensions".into()))?,
    };
    let tokens = inputs.iter().map(|input| input.tokens).sum();
    let running = Running::begin(simulator, &name, AiKind::Embedding, false, &Value::Null, tokens);
    pause(simulator).await;
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let embedding = shown(&vector(&input.seed, dimensions), in_base64);
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let mut answer = json!({ "object": "list", "data": data, "model": model.version() });
    if !simulator.faults().take(|switches| &mut switches.ai_no_usage_next) {
        answer["usage"] = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    }
    Ok(whole(running, &answer))
}

/// A text, texts, a list of token numbers, or several such lists; none of them empty.
fn inputs(input: &Value) -> Option<Vec<Input>> {
    let text = |text: &str| {
        let tokens = (text.chars().count() as u64).div_ceil(4);
        (tokens > 0).then(|| Input { tokens, seed: text.to_owned() })
    };
    let numbers = |items: &[Value]| {
        let all = !items.is_empty() && items.iter().all(Value::is_u64);
        all.then(|| Input { tokens: items.len() as u64, seed: Value::from(items).to_string() })
    };
    match input {
        Value::String(one) => Some(vec![text(one)?]),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) if items[0].is_u64() => Some(vec![numbers(items)?]),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(one) => text(one),
                Value::Array(items) => numbers(items),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Numbers between -1 and 1, from as many digests as it takes.
fn vector(seed: &str, dimensions: usize) -> Vec<f32> {
    let digests = (0..dimensions.div_ceil(16)).flat_map(|block| {
        let digest: [u8; 32] = Sha256::digest(format!("{block} {seed}")).into();
        digest
    });
    let bytes: Vec<u8> = digests.collect();
    let pairs = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    pairs.take(dimensions).map(|number| f32::from(number) / 32_768.0).collect()
}

fn shown(vector: &[f32], in_base64: bool) -> Value {
    if in_base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
        return STANDARD.encode(bytes).into();
    }
    vector.iter().map(|number| Value::from(f64::from(*number))).collect()
}
