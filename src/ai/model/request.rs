//! What a JSON request asks for: how much it may use at most, what of it we do not pass on, and which addresses it names.

use serde_json::{Value, json};

use super::deployments::{Deployment, Kind, PathStyle};
use super::used::{Part, Used};

/// About so many characters are a token, where nobody counted.
const CHARACTERS_PER_TOKEN: u64 = 4;
/// More than any documented model takes for one image in its finest detail.
const TOKENS_OF_AN_IMAGE: u64 = 50_000;

/// A refusal: its code, the field, and what is wrong with it.
pub type Wrong = (&'static str, &'static str, &'static str);

const NOT_OFFERED: &str = "unsupported_feature";
const INVALID: &str = "invalid_value";

/// Whether a field holds an image's data. Everywhere else, what looks like data is text that a model reads.
fn is_image(name: &str, value: &Value) -> bool {
    let data = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("data:"));
    name == "image_url" && (data(value) || data(&value["url"]))
}

/// Characters of all texts in a value, data of images left out.
pub fn length(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(length).sum(),
        Value::Object(fields) => {
            fields.iter().filter(|(name, value)| !is_image(name, value)).map(|(_, value)| length(value)).sum()
        }
        _ => 0,
    }
}

/// A guess at tokens.
pub fn tokens(characters: u64) -> u64 {
    characters.div_ceil(CHARACTERS_PER_TOKEN)
}

/// Images anywhere in a value.
fn images(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(images).sum(),
        Value::Object(fields) => {
            let own = u64::from(fields.contains_key("image_url"));
            own + fields.iter().filter(|(name, _)| *name != "image_url").map(|(_, value)| images(value)).sum::<u64>()
        }
        _ => 0,
    }
}

/// Bytes of everything, which no count of its tokens exceeds; data of images left out.
fn bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 + 3,
        Value::Array(items) => 2 + items.iter().map(bytes).sum::<u64>(),
        Value::Object(fields) => {
            let of = |(name, value): (&String, &Value)| if is_image(name, value) { 0 } else { bytes(value) };
            2 + fields.iter().map(|field| field.0.len() as u64 + 4 + of(field)).sum::<u64>()
        }
        other => other.to_string().len() as u64 + 1,
    }
}

/// Tokens that the answer may have, if the request says so. Which of two limits a service keeps to is its own affair.
pub fn asked_output(kind: Kind, body: &Value) -> Option<u64> {
    let names: &[&str] = match kind {
        Kind::Responses => &["max_output_tokens"],
        _ => &["max_completion_tokens", "max_tokens"],
    };
    names.iter().filter_map(|name| body[*name].as_u64()).max()
}

/// The most that a deployment can use for a request.
pub fn worst(kind: Kind, body: &Value, deployment: &Deployment) -> Used {
    let input = bytes(body).saturating_add(images(body) * TOKENS_OF_AN_IMAGE);
    match kind {
        Kind::Chat | Kind::Responses => {
            let each = asked_output(kind, body).unwrap_or(deployment.max_output_tokens);
            let answers = body["n"].as_u64().unwrap_or(1).max(1);
            Used::of(Part::Input, input).and(Part::Output, each.saturating_mul(answers))
        }
        Kind::Image => {
            // Tokens of images are known for the largest size and best quality, and not beyond.
            let made = body["n"].as_u64().unwrap_or(1).max(1);
            Used::of(Part::Input, input).and(Part::Images, made).and(Part::Output, made.saturating_mul(10_000))
        }
        _ => Used::of(Part::Input, input),
    }
}

/// Checks what we would not pass on: what is stored, works later, or costs what no usage tells.
pub fn check(kind: Kind, body: &Value) -> Result<(), Wrong> {
    if !body["data_sources"].is_null() {
        return Err((NOT_OFFERED, "data_sources", "Data sources are not offered."));
    }
    for field in ["n", "max_tokens", "max_completion_tokens", "max_output_tokens"] {
        if !body[field].is_null() && body[field].as_u64().is_none_or(|number| number == 0) {
            return Err((INVALID, field, "`n` and the limits of tokens are whole numbers of at least 1."));
        }
    }
    for field in ["web_search_options", "prompt"] {
        // `prompt` is a text for images, and a stored one of the publisher's for responses.
        let of_an_image = field == "prompt" && kind == Kind::Image;
        if !body[field].is_null() && !of_an_image {
            return Err((NOT_OFFERED, field, "This is not offered."));
        }
    }
    if !matches!(body["service_tier"].as_str(), None | Some("auto" | "default")) {
        return Err((NOT_OFFERED, "service_tier", "Only the default tier is offered."));
    }
    let options = &body["stream_options"];
    let usage = &options["include_usage"];
    if !(options.is_null() || options.is_object() && (usage.is_null() || usage.is_boolean())) {
        return Err((
            INVALID,
            "stream_options",
            "`stream_options` is an object; its `include_usage` is true or false.",
        ));
    }
    if kind == Kind::Image && body["stream"] == true {
        return Err((NOT_OFFERED, "stream", "Images are not streamed."));
    }
    if kind != Kind::Responses {
        return Ok(());
    }
    if body["background"] == true {
        return Err((NOT_OFFERED, "background", "Responses in the background are not offered."));
    }
    if !body["previous_response_id"].is_null() || !body["conversation"].is_null() {
        return Err((
            NOT_OFFERED,
            "previous_response_id",
            "Nothing is stored here; send the whole conversation as `input`.",
        ));
    }
    let tools = body["tools"].as_array().into_iter().flatten();
    if tools.map(|tool| tool["type"].as_str().unwrap_or_default()).any(|kind| !matches!(kind, "function" | "custom")) {
        return Err((NOT_OFFERED, "tools", "Only tools of the types `function` and `custom` are offered."));
    }
    Ok(())
}

/// Names the deployment as its family wants it, keeps the service from storing anything, and asks for usage: without it
/// there is nothing exact to bill by.
pub fn address_to(kind: Kind, body: &mut Value, deployment: &Deployment, budgeted: bool) {
    let capped = asked_output(kind, body).is_some();
    let stream = body["stream"] == true;
    let Some(fields) = body.as_object_mut() else { return };
    match deployment.path {
        PathStyle::V1 => fields.insert("model".to_owned(), deployment.deployment.clone().into()),
        PathStyle::Dated => fields.remove("model"),
    };
    match kind {
        Kind::Responses => {
            fields.insert("store".to_owned(), false.into());
        }
        Kind::Chat => {
            fields.remove("store");
        }
        _ => {}
    }
    if budgeted && !capped && matches!(kind, Kind::Chat | Kind::Responses) {
        let name = if kind == Kind::Responses { "max_output_tokens" } else { "max_completion_tokens" };
        fields.insert(name.to_owned(), deployment.max_output_tokens.into());
    }
    if kind == Kind::Chat && stream {
        if deployment.stream_usage {
            let options = fields.entry("stream_options").or_insert_with(|| json!({}));
            if options.is_null() {
                *options = json!({});
            }
            options["include_usage"] = true.into();
        } else {
            fields.remove("stream_options");
        }
    }
}

/// The places of image addresses in a request: chat has `image_url.url`, responses have `image_url`.
pub fn image_addresses<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| image_addresses(item, found)),
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match (name.as_str(), value) {
                    ("image_url", Value::Object(inner)) => found.extend(inner.get_mut("url")),
                    ("image_url", value) => found.push(value),
                    (_, value) => image_addresses(value, found),
                }
            }
        }
        _ => {}
    }
}

/// What some services would fetch themselves.
const FILES: [&str; 3] = ["file_url", "video_url", "audio_url"];

/// Whether files are named by their address, which nobody fetches here. A tool may call its parameters as it likes.
pub fn names_files(body: &Value) -> bool {
    fn names(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(names),
            Value::Object(fields) => FILES.iter().any(|name| fields.contains_key(*name)) || fields.values().any(names),
            _ => false,
        }
    }
    ["messages", "input"].iter().any(|said| names(&body[*said]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Deployment {
        let entry = json!({"model": "chat", "kind": "chat", "endpoint": "https://x.example", "deployment": "d", "meters": {}, "max_output_tokens": 100});
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn the_worst_case_is_never_below_what_can_come() {
        let text = "你好 hello";
        let body = json!({"model": "chat", "messages": [{"role": "user", "content": [{"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(1_000_000))}}]}], "n": 3});
        let worst = worst(Kind::Chat, &body, &deployment());
        assert_eq!(worst.get(Part::Output), 300);
        assert!((50_000..50_500).contains(&worst.get(Part::Input)), "{worst:?}");
        assert_eq!(super::worst(Kind::Chat, &json!({"max_tokens": 7}), &deployment()).get(Part::Output), 7);
        let both = json!({"max_completion_tokens": 1, "max_tokens": 7});
        assert_eq!(super::worst(Kind::Chat, &both, &deployment()).get(Part::Output), 7);
        // Only an image's data is no text.
        let data = format!("data:{}", "word ".repeat(1000));
        for content in [
            json!(data),
            json!([{"type": "file", "file": {"file_data": data}}]),
            json!({"image_url": {"detail": data}}),
        ] {
            let body = json!({"messages": [{"role": "user", "content": content}]});
            assert!(super::worst(Kind::Chat, &body, &deployment()).get(Part::Input) > 5_000, "{body}");
            assert!(length(&body) > 5_000, "{body}");
        }
        let image = json!({"input": [{"type": "input_image", "image_url": data}]});
        assert!(length(&image) < 100);
        assert!(
            super::worst(Kind::Embeddings, &json!({"input": text}), &deployment()).get(Part::Input)
                >= text.len() as u64
        );
    }

    #[test]
    fn what_would_be_stored_or_cost_more_is_refused() {
        for (kind, body, field) in [
            (Kind::Responses, json!({"background": true}), "background"),
            (Kind::Responses, json!({"previous_response_id": "resp_1"}), "previous_response_id"),
            (Kind::Responses, json!({"tools": [{"type": "web_search"}]}), "tools"),
            (Kind::Chat, json!({"data_sources": []}), "data_sources"),
            (Kind::Chat, json!({"max_tokens": 0}), "max_tokens"),
            (Kind::Chat, json!({"n": "many"}), "n"),
            (Kind::Image, json!({"stream": true}), "stream"),
        ] {
            assert_eq!(check(kind, &body).unwrap_err().1, field);
        }
        assert_eq!(check(Kind::Responses, &json!({"tools": [{"type": "function"}], "max_output_tokens": 5})), Ok(()));
    }

    #[test]
    fn a_request_is_made_fit_for_its_deployment() {
        let mut body = json!({"model": "chat", "stream": true, "stream_options": null, "store": true});
        address_to(Kind::Chat, &mut body, &deployment(), true);
        assert_eq!(
            body,
            json!({"model": "d", "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 100})
        );
        let mut body = json!({"model": "chat", "max_output_tokens": 5});
        address_to(Kind::Responses, &mut body, &deployment(), true);
        assert_eq!(body, json!({"model": "d", "max_output_tokens": 5, "store": false}));
    }

    #[test]
    fn files_by_address_are_told_from_parameters_of_tools() {
        for name in FILES {
            let file = json!([{"role": "user", "content": [{"type": name, name: {"url": "http://10.0.0.1/"}}]}]);
            assert!(names_files(&json!({"messages": file})) && names_files(&json!({"input": file})), "{name}");
            let tool =
                json!({"type": "function", "function": {"parameters": {"properties": {name: {"type": "string"}}}}});
            assert!(!names_files(&json!({"messages": [], "tools": [tool]})), "{name}");
        }
    }

    #[test]
    fn image_addresses_are_found_in_both_shapes() {
        let mut body = json!({"messages": [{"content": [{"image_url": {"url": "https://a.example"}}]}], "input": [{"content": [{"type": "input_image", "image_url": "https://b.example"}]}]});
        let mut found = Vec::new();
        image_addresses(&mut body, &mut found);
        let mut texts: Vec<&str> = found.iter().filter_map(|value| value.as_str()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["https://a.example", "https://b.example"]);
    }
}
