//! Text to speech at Azure Speech, and the list of voices. Refusals are plain text.

use bytes::Bytes;
use serde_json::{Value, json};

use super::calls::{AiKind, Running};
use super::delivery::in_pieces;
use super::pause;
use super::refusal::plain;
use super::sound::Sound;
use super::ssml;
use crate::simulator::Simulator;
use crate::simulator::http::{Answer, Reply, Request, json_reply};

/// Ten minutes; what would come behind them is left out, and nothing said.
const LONGEST: u64 = 600_000;

const LONGEST_USER_AGENT: usize = 255;

/// The voices that are listed. Others that are called in the same manner speak as well.
const VOICES: &[(&str, &str, &str, &str)] = &[
    ("en-US-AvaMultilingualNeural", "Ava Multilingual", "Female", "English (United States)"),
    ("en-US-AndrewMultilingualNeural", "Andrew Multilingual", "Male", "English (United States)"),
    ("en-GB-SoniaNeural", "Sonia", "Female", "English (United Kingdom)"),
    ("de-DE-KatjaNeural", "Katja", "Female", "German (Germany)"),
    ("ja-JP-NanamiNeural", "Nanami", "Female", "Japanese (Japan)"),
    ("zh-CN-XiaoxiaoNeural", "Xiaoxiao", "Female", "Chinese (Mandarin, Simplified)"),
];

/// The output formats by their names, and what the service calls them in its answer.
pub fn format(name: &str) -> Option<(Sound, &'static str)> {
    let parts: Vec<&str> = name.split('-').collect();
    let rate = |text: &str| -> Option<u32> { text.strip_suffix("khz")?.parse::<u32>().ok()?.checked_mul(1_000) };
    let [family, rate_name, detail, "mono", codec] = parts.as_slice() else { return None };
    let rate = rate(rate_name)?;
    let plain = [8_000, 16_000, 24_000, 48_000].contains(&rate) && *detail == "16bit";
    match (*family, *codec) {
        ("riff", "pcm") if plain => Some((Sound::Wav { rate }, "audio/x-wav")),
        ("raw", "pcm") if plain => Some((Sound::Pcm { rate }, "audio/basic")),
        ("ogg", "opus") if plain && rate != 8_000 => Some((Sound::Opus, "audio/ogg")),
        ("audio", "mp3") => {
            let kilobits = detail.strip_suffix("kbitrate")?.parse().ok()?;
            let known = match rate {
                16_000 => [32, 64, 128].contains(&kilobits),
                24_000 => [48, 96, 160].contains(&kilobits),
                48_000 => [96, 192].contains(&kilobits),
                _ => false,
            };
            known.then_some((Sound::Mp3 { rate, bits: kilobits * 1_000 }, "audio/mpeg"))
        }
        _ => None,
    }
}

pub async fn answer(simulator: &Simulator, request: &Request) -> Result<Answer, Reply> {
    let agent = request.header("user-agent").unwrap_or_default();
    if agent.is_empty() || agent.len() >= LONGEST_USER_AGENT {
        return Err(plain(400, "The header User-Agent is missing or too long."));
    }
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/ssml+xml")) {
        return Err(plain(415, "Content-Type must be application/ssml+xml."));
    }
    let wanted = request.header("x-microsoft-outputformat").unwrap_or_default();
    let (sound, mime) = format(wanted).ok_or_else(|| plain(400, "Unsupported output format."))?;
    let text = std::str::from_utf8(&request.body).map_err(|_| plain(400, "The text is not UTF-8."))?;
    let ssml = ssml::read(text).map_err(|why| plain(400, &format!("SSML parsing error: {why}")))?;
    let milliseconds = ssml.milliseconds.min(LONGEST);
    let running = Running::without_tokens(simulator, "speech-synthesis", AiKind::Speech);
    running.book(|call| (call.characters, call.audio_ms) = (ssml.billable, milliseconds));
    pause(simulator).await;
    Ok(in_pieces(running, mime, Bytes::from(sound.make(milliseconds))))
}

pub fn voices() -> Reply {
    let one = |(name, display, gender, locale_name): &(&str, &str, &str, &str)| {
        let locale = name.rsplit_once('-').map_or("", |(locale, _)| locale);
        json!({
            "Name": format!("Microsoft Server Speech Text to Speech Voice ({locale}, {name})"),
            "DisplayName": display, "LocalName": display, "ShortName": name, "Gender": gender, "Locale": locale,
            "LocaleName": locale_name, "SampleRateHertz": "24000", "VoiceType": "Neural", "Status": "GA",
            "WordsPerMinute": "150",
        })
    };
    json_reply(200, &VOICES.iter().map(one).collect::<Value>())
}
