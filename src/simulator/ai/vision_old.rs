//! Azure AI Vision 3.2, analyze: what still runs where Image Analysis 4.0 is not.

use image::ImageFormat;
use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::whole;
use super::look::{Picture, look};
use super::vision::{asked, blind, caption, middle_of, sent, tags};
use super::{pause, refusal::unseen};
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request};

const LARGEST: usize = 4 << 20;

/// Pixels along a side.
pub const SIDES: (u32, u32) = (50, 16_000);

const FORMATS: &[ImageFormat] = &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp];

/// Faces need an approval that nobody has here.
const FEATURES: &[&str] = &["adult", "brands", "categories", "color", "description", "imageType", "objects", "tags"];

const LANGUAGES: &[&str] = &["en", "es", "ja", "pt", "zh"];

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let features = asked(request.query("visualFeatures").unwrap_or("Categories"), FEATURES)?;
    if request.query("details").is_some_and(|details| !details.is_empty()) {
        return Err(unseen("NotSupportedFeature", "Celebrities and landmarks are not supported."));
    }
    if !LANGUAGES.contains(&request.query("language").unwrap_or("en")) {
        return Err(unseen("NotSupportedLanguage", "The language is not supported."));
    }
    let picture = look(sent(request, LARGEST)?, FORMATS, SIDES).await.map_err(blind)?;
    let running = Running::without_tokens(simulator, "vision-3.2", AiKind::Vision);
    running.book(|call| call.transactions = features.len() as u64);
    pause(simulator).await;
    let format = picture.format.to_mime_type().trim_start_matches("image/");
    let mut answer = json!({
        "requestId": simulator.new_id(), "modelVersion": "2021-05-01",
        "metadata": { "width": picture.width, "height": picture.height, "format": format },
    });
    for feature in features {
        answer[feature] = shown(feature, &picture);
    }
    Ok(whole(running, &answer))
}

fn shown(feature: &str, picture: &Picture) -> Value {
    match feature {
        "adult" => json!({
            "isAdultContent": false, "isRacyContent": false, "isGoryContent": false,
            "adultScore": 0.01, "racyScore": 0.01, "goreScore": 0.01,
        }),
        "brands" => json!([]),
        "categories" => json!([{ "name": "abstract_", "score": 0.5 }]),
        "color" => {
            let commonest = picture.colours.first().copied().unwrap_or("Black");
            let [red, green, blue] = picture.mean;
            let grey = picture.colours.iter().all(|colour| ["Black", "White", "Grey"].contains(colour));
            json!({
                "dominantColorForeground": commonest, "dominantColorBackground": commonest,
                "dominantColors": picture.colours.iter().take(3).collect::<Vec<_>>(),
                "accentColor": format!("{red:02X}{green:02X}{blue:02X}"), "isBwImg": grey, "isBWImg": grey,
            })
        }
        "description" => {
            let names: Vec<Value> = tags(picture).iter().map(|tag| tag["name"].clone()).collect();
            json!({ "tags": names, "captions": [{ "text": caption(picture), "confidence": 0.8 }] })
        }
        "imageType" => json!({ "clipArtType": 0, "lineDrawingType": 0 }),
        "objects" => {
            json!([{ "rectangle": middle_of(picture), "object": "simulated thing", "confidence": 0.6 }])
        }
        _ => tags(picture).into(),
    }
}
