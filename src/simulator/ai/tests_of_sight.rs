//! Pictures that are made and pictures that are looked at; and answers of the Responses API.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::tests::with;
use crate::simulator::AiKind;
use crate::simulator::tests::World;

fn picture(colour: [u8; 3], width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    RgbImage::from_pixel(width, height, Rgb(colour)).write_to(&mut file, format).unwrap();
    file.into_inner()
}

const RED: [u8; 3] = [250, 10, 10];

impl World {
    /// A POST of bytes to Azure AI Vision with the right key.
    fn vision(&self, path: &str, bytes: Vec<u8>) -> RequestBuilder {
        let config = self.simulator.ai_config();
        let request = self.http.post(format!("{}{path}", config.azure_url));
        let request = request.header("Ocp-Apim-Subscription-Key", config.vision_key);
        request.header("content-type", "application/octet-stream").body(bytes)
    }
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn pictures_have_the_form_that_was_asked_for() {
    let world = World::start().await;
    let order = json!({ "model": "sim-image", "prompt": "A red cue ball" });
    let make = |more: Value| json_of(world.ai("images/generations", &with(order.clone(), more)));
    let more = json!({ "n": 2, "size": "1536x1024", "quality": "low" });
    let (status, answer) = make(more).await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 2));
    let bytes = STANDARD.decode(answer["data"][1]["b64_json"].as_str().unwrap()).unwrap();
    let made = image::load_from_memory_with_format(&bytes, ImageFormat::Png).unwrap();
    assert_eq!(made.width() * 2, made.height() * 3);
    let usage = json!({
        "input_tokens": 4, "output_tokens": 800, "total_tokens": 804,
        "input_tokens_details": { "text_tokens": 4, "image_tokens": 0 },
    });
    assert_eq!(answer["usage"], usage);
    let call = world.last_call();
    assert_eq!((call.kind, call.images, call.prompt_tokens, call.completion_tokens), (AiKind::Image, 2, 4, 800));
    let (_, photo) = make(json!({ "output_format": "jpeg", "size": "auto" })).await;
    let bytes = STANDARD.decode(photo["data"][0]["b64_json"].as_str().unwrap()).unwrap();
    assert_eq!(image::guess_format(&bytes).unwrap(), ImageFormat::Jpeg);
    for more in [
        json!({ "n": 11 }),
        json!({ "size": "1x1" }),
        json!({ "response_format": "url" }),
        json!({ "prompt": "" }),
        json!({ "quality": "hd" }),
        json!({ "prompt": "Something [blocked]" }),
    ] {
        assert_eq!(make(more.clone()).await.0, 400, "{more}");
    }
    assert!(world.last_call().blocked && world.last_call().images == 0);
}

#[tokio::test]
async fn a_picture_is_described_by_its_size_and_colour() {
    let world = World::start().await;
    let path =
        |features: &str| format!("/computervision/imageanalysis:analyze?api-version=2024-02-01&features={features}");
    let red = || picture(RED, 120, 80, ImageFormat::Png);
    let all = path("caption,denseCaptions,tags,objects,read,smartCrops,people");
    let (status, answer) = json_of(world.vision(&format!("{all}&smartcrops-aspect-ratios=1.0,1.8"), red())).await;
    assert_eq!((status, &answer["metadata"]), (200, &json!({ "width": 120, "height": 80 })));
    assert_eq!(answer["captionResult"]["text"], "a simulated caption: mostly red picture");
    assert_eq!(answer["tagsResult"]["values"][1]["name"], "red");
    assert_eq!(answer["readResult"]["blocks"][0]["lines"][0]["text"], "SIMULATED TEXT");
    let crop = &answer["smartCropsResult"]["values"][0];
    assert_eq!(*crop, json!({ "aspectRatio": 1.0, "boundingBox": { "x": 20, "y": 0, "w": 80, "h": 80 } }));
    assert!(answer["peopleResult"]["values"][0]["boundingBox"]["w"] == 60 && answer["objectsResult"].is_object());
    let call = world.last_call();
    assert_eq!((call.kind, call.transactions, call.deployment.as_str()), (AiKind::Vision, 7, "vision-4.0"));
    let blue = picture([0, 0, 200], 60, 60, ImageFormat::Jpeg);
    let (_, answer) = json_of(world.vision(&path("tags,tags"), blue)).await;
    assert_eq!(answer.as_object().unwrap().len(), 3);
    assert_eq!((&answer["tagsResult"]["values"][1]["name"], world.last_call().transactions), (&json!("blue"), 1));

    let calls = world.simulator.ai_calls().len();
    for (path, bytes, code) in [
        (path("tags"), picture(RED, 49, 80, ImageFormat::Png), "InvalidImageSize"),
        (path("tags"), b"not a picture".to_vec(), "InvalidImageFormat"),
        (path("tags"), red()[..60].to_vec(), "InvalidImageFormat"),
        (path("tags"), vec![0; (20 << 20) + 1], "InvalidImageSize"),
        (path("faces"), red(), "NotSupportedVisualFeature"),
        (path("caption&language=de"), red(), "NotSupportedLanguage"),
    ] {
        let (status, answer) = json_of(world.vision(&path, bytes)).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("InvalidRequest")), "{path}");
        assert_eq!(answer["error"]["innererror"]["code"], code, "{path}");
    }
    let config = world.simulator.ai_config();
    let by_address =
        world.http.post(format!("{}{}", config.azure_url, path("tags"))).json(&json!({ "url": "https://x" }));
    let (_, answer) = json_of(by_address.header("Ocp-Apim-Subscription-Key", config.vision_key)).await;
    assert_eq!(answer["error"]["innererror"]["code"], "InvalidImageUrl");
    world.simulator.faults().ai_fail_next(1, 500);
    assert_eq!(json_of(world.vision(&path("tags"), red())).await.0, 500);
    assert_eq!(world.simulator.ai_calls().len(), calls);
}

#[tokio::test]
async fn the_older_vision_answers_and_reads() {
    let world = World::start().await;
    let red = || picture(RED, 120, 80, ImageFormat::Png);
    let path = "/vision/v3.2/analyze?visualFeatures=Color,Description,Tags";
    let (status, answer) = json_of(world.vision(path, red())).await;
    assert_eq!((status, &answer["metadata"]), (200, &json!({ "width": 120, "height": 80, "format": "png" })));
    assert_eq!(
        (&answer["color"]["dominantColorForeground"], &answer["color"]["accentColor"]),
        (&json!("Red"), &json!("FA0A0A"))
    );
    assert_eq!((&answer["tags"][0]["name"], world.last_call().transactions), (&json!("simulated"), 3));
    let (status, answer) = json_of(world.vision("/vision/v3.2/analyze?visualFeatures=Faces", red())).await;
    assert_eq!((status, &answer["error"]["innererror"]["code"]), (400, &json!("NotSupportedVisualFeature")));

    let accepted = world.vision("/vision/v3.2/read/analyze", red()).send().await.unwrap();
    assert_eq!(accepted.status(), 202);
    let place = accepted.headers()["operation-location"].to_str().unwrap().to_owned();
    let call = world.last_call();
    assert_eq!((call.deployment.as_str(), call.transactions, call.finished), ("vision-read", 1, true));
    let config = world.simulator.ai_config();
    let look = || world.http.get(&place).header("Ocp-Apim-Subscription-Key", &config.vision_key);
    assert_eq!(json_of(look()).await.1["status"], "running");
    let (_, done) = json_of(look()).await;
    assert_eq!(done["status"], "succeeded");
    assert_eq!(done["analyzeResult"]["readResults"][0]["lines"][0]["text"], "SIMULATED TEXT");
    let nowhere = format!("{}x", &place[..place.len() - 1]);
    assert_eq!(json_of(world.http.get(nowhere).header("Ocp-Apim-Subscription-Key", &config.vision_key)).await.0, 404);
    assert_eq!(world.vision("/vision/v3.2/read/analyze", b"%PDF".to_vec()).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn answers_say_the_same_as_chat() {
    let world = World::start().await;
    let respond = |body: Value| json_of(world.ai("responses", &body));
    let (status, answer) = respond(json!({ "model": "sim-chat", "input": "Hello there" })).await;
    assert_eq!((status, &answer["status"], &answer["object"]), (200, &json!("completed"), &json!("response")));
    let content = &answer["output"][0]["content"][0];
    assert_eq!(content["text"], "This is a simulated answer to: Hello there");
    let call = world.last_call();
    assert_eq!((call.kind, call.prompt_tokens, call.completion_tokens), (AiKind::Response, 9, 8));
    assert_eq!((&answer["usage"]["input_tokens"], &answer["usage"]["output_tokens"]), (&json!(9), &json!(8)));
    assert_eq!(answer["usage"]["total_tokens"], 17);

    let input = json!([{ "role": "user", "content": [{ "type": "input_text", "text": "Why" }] }]);
    let (_, thought) = respond(json!({ "model": "sim-reason", "input": input, "max_output_tokens": 18 })).await;
    assert_eq!((&thought["status"], &thought["output"][0]["type"]), (&json!("incomplete"), &json!("reasoning")));
    assert_eq!(thought["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(thought["usage"]["output_tokens_details"]["reasoning_tokens"], 16);
    assert_eq!((&thought["usage"]["output_tokens"], world.last_call().completion_tokens), (&json!(18), 18));
    let tools = json!([{ "type": "function", "name": "look_up", "parameters": {} }]);
    let (_, called) = respond(json!({ "model": "sim-chat", "input": "Use the tool", "tools": tools })).await;
    assert_eq!(
        (&called["output"][0]["type"], &called["output"][0]["name"]),
        (&json!("function_call"), &json!("look_up"))
    );
    for wrong in [
        json!({ "model": "sim-chat", "input": [] }),
        json!({ "model": "sim-chat", "input": "x", "previous_response_id": "resp_1" }),
        json!({ "model": "sim-embed", "input": "x" }),
        json!({ "model": "sim-chat", "input": "Say [blocked] things" }),
    ] {
        assert_eq!(respond(wrong.clone()).await.0, 400, "{wrong}");
    }
}

/// The events of a stream, with the check that names and numbers are right.
fn events(text: &str) -> Vec<Value> {
    let records = text.split("\n\n").filter(|record| !record.is_empty());
    let events = records.enumerate().map(|(number, record)| {
        let (name, data) = record.split_once("\ndata: ").unwrap();
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name, format!("event: {}", event["type"].as_str().unwrap()));
        assert_eq!(event["sequence_number"], number);
        event
    });
    events.collect()
}

#[tokio::test]
async fn answers_are_streamed_as_events() {
    let world = World::start().await;
    let faults = world.simulator.faults();
    let stream = async || {
        let body = json!({ "model": "sim-reason", "input": "Hello there", "stream": true });
        let mut reply = world.ai("responses", &body).send().await.unwrap();
        let mut text = String::new();
        loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => return (events(&text), true),
                Err(_) => return (events(&text), false),
            }
        }
    };
    let deltas = |events: &[Value]| -> usize {
        events.iter().filter(|event| event["type"] == "response.output_text.delta").count()
    };
    let (all, whole) = stream().await;
    assert!(whole && all[0]["type"] == "response.created" && deltas(&all) == 8);
    let last = all.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.completed"), &json!("completed")));
    assert_eq!(last["response"]["usage"]["output_tokens"], 24);
    let said: String = all.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(last["response"]["output"][1]["content"][0]["text"], said);
    let call = world.last_call();
    assert!(call.finished && call.streamed && call.completion_tokens == 24);

    faults.ai_cut_next(1);
    let (some, whole) = stream().await;
    assert_eq!((deltas(&some), whole, world.last_call().completion_tokens), (4, false, 20));
    faults.ai_error_in_stream_next(1);
    let (some, whole) = stream().await;
    assert!(whole && some.last().unwrap()["type"] == "error" && deltas(&some) == 4);
    faults.ai_no_done_next(1);
    let (all, whole) = stream().await;
    assert!(whole && all.last().unwrap()["type"] == "response.output_item.done" && world.last_call().cut);
    faults.ai_no_usage_next(1);
    let (all, _) = stream().await;
    assert!(all.last().unwrap()["response"]["usage"].is_null() && world.last_call().finished);
}
