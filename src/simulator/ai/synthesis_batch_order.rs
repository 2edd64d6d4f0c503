//! What is ordered of a batch synthesis, and what is wrong with it. Refusals are below `error`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::ssml::{self, Ssml};
use crate::simulator::http::{Reply, Request, json_reply};

const LARGEST: usize = 2 << 20;

const MOST_INPUTS: usize = 10_000;

/// Hours for which a job is kept: at least, at most, and when nobody says.
const KEPT: std::ops::RangeInclusive<i64> = 1..=744;
const KEPT_UNASKED: i64 = 168;

/// Members that change nothing here are not read: how fast and how high is the same for the clock of the simulator.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Order {
    pub description: Option<String>,
    pub input_kind: String,
    pub inputs: Vec<Input>,
    synthesis_config: Option<Config>,
    custom_voices: serde_json::Map<String, Value>,
    pub properties: Properties,
}

#[derive(Debug, Deserialize)]
pub struct Input {
    pub content: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    voice: String,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Properties {
    pub output_format: String,
    pub time_to_live_in_hours: i64,
    pub concatenate_result: bool,
    pub decompress_output_files: bool,
    pub word_boundary_enabled: bool,
    pub sentence_boundary_enabled: bool,
    destination_container_url: Option<String>,
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            output_format: "riff-24khz-16bit-mono-pcm".to_owned(),
            time_to_live_in_hours: KEPT_UNASKED,
            concatenate_result: false,
            decompress_output_files: false,
            word_boundary_enabled: false,
            sentence_boundary_enabled: false,
            destination_container_url: None,
        }
    }
}

pub fn refused(status: u16, code: &str, message: &str) -> Reply {
    json_reply(status, &json!({ "error": { "code": code, "message": message } }))
}

pub fn bad(message: &str) -> Reply {
    refused(400, "BadRequest", message)
}

impl Order {
    pub fn read(request: &Request) -> Result<Self, Reply> {
        if request.body.len() > LARGEST {
            return Err(bad("The body is larger than 2 MB."));
        }
        let order: Self = serde_json::from_slice(&request.body)
            .map_err(|error| bad(&format!("The body can not be read: {error}")))?;
        let properties = &order.properties;
        if order.inputs.is_empty() || order.inputs.len() > MOST_INPUTS {
            return Err(bad("inputs must be 1 to 10000."));
        }
        let voice = order.synthesis_config.as_ref().map_or("", |config| config.voice.as_str());
        match order.input_kind.as_str() {
            "SSML" => {}
            "PlainText" if ssml::is_voice(voice) => {}
            "PlainText" => return Err(bad("synthesisConfig must have a voice that is supported.")),
            _ => return Err(bad("inputKind must be PlainText or SSML.")),
        }
        if !order.custom_voices.is_empty() {
            return Err(bad("The simulator has no custom voices."));
        }
        if !KEPT.contains(&properties.time_to_live_in_hours) {
            return Err(bad("timeToLiveInHours must be from 1 to 744."));
        }
        if properties.destination_container_url.is_some() {
            return Err(bad("The simulator writes to no containers."));
        }
        Ok(order)
    }

    /// What an input comes to.
    pub fn speak(&self, input: &Input) -> Result<Ssml, String> {
        match self.input_kind.as_str() {
            "SSML" => ssml::read(&input.content),
            _ if input.content.trim().is_empty() => Err("The input has no text.".to_owned()),
            _ => Ok(ssml::plain(&input.content)),
        }
    }
}

/// As the caller may call a job.
pub fn is_id(id: &str) -> bool {
    (3..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_letters_and_digits() {
        for good in ["abc", "A-1_b", &"x".repeat(64)] {
            assert!(is_id(good), "{good}");
        }
        for wrong in ["", "ab", "a b c", "a.b.c", "\u{e4}\u{f6}\u{fc}", &"x".repeat(65)] {
            assert!(!is_id(wrong), "{wrong}");
        }
    }
}
