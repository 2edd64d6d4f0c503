//! Transcripts in the formats that OpenAI documents (AI services contract 6.2), from what Azure Speech gives (2.2, 2.3).

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How a transcript is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
    Srt,
    Vtt,
    VerboseJson,
    DiarizedJson,
}

impl Format {
    pub const NAMES: &str = "json, text, srt, vtt, verbose_json, diarized_json";

    pub fn read(text: &str) -> Option<Self> {
        Some(match text {
            "" | "json" => Self::Json,
            "text" => Self::Text,
            "srt" => Self::Srt,
            "vtt" => Self::Vtt,
            "verbose_json" => Self::VerboseJson,
            "diarized_json" => Self::DiarizedJson,
            _ => return None,
        })
    }

    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::VerboseJson | Self::DiarizedJson)
    }

    /// How a file of it ends.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Json | Self::VerboseJson | Self::DiarizedJson => "json",
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::VerboseJson | Self::DiarizedJson => "application/json",
            Self::Vtt => "text/vtt; charset=utf-8",
            Self::Text | Self::Srt => "text/plain; charset=utf-8",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub text: String,
    pub from_ms: u64,
    pub to_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Phrase {
    pub text: String,
    pub from_ms: u64,
    pub to_ms: u64,
    pub speaker: Option<u64>,
    /// Between 0 and 1.
    pub confidence: Option<f64>,
    pub words: Vec<Word>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    /// As the service says it, such as `en-US`.
    pub language: String,
    pub phrases: Vec<Phrase>,
    pub duration_ms: u64,
}

/// What of a transcript is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub format: Format,
    /// `transcribe` or `translate`.
    pub task: &'static str,
    /// Words with their times, in `verbose_json`.
    pub words: bool,
    pub segments: bool,
}

fn seconds(ms: u64) -> Value {
    json!(std::time::Duration::from_millis(ms).as_secs_f64())
}

/// `00:01:02,345`, with a comma for SRT and a point for WebVTT.
fn clock(ms: u64, point: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{:03}", ms % 1000)
}

/// `A`, `B`, ... and beyond the alphabet by number.
fn speaker(number: u64) -> String {
    match u8::try_from(number.saturating_sub(1)) {
        Ok(index) if index < 26 => char::from(b'A' + index).to_string(),
        _ => format!("speaker_{number}"),
    }
}

impl Transcript {
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.phrases.iter().map(|phrase| phrase.text.as_str()).collect();
        texts.join(" ")
    }

    fn usage(&self) -> Value {
        json!({ "type": "duration", "seconds": self.duration_ms.div_ceil(1000) })
    }

    /// Writes it out.
    pub fn render(&self, wanted: Wanted) -> String {
        match wanted.format {
            Format::Json => json!({ "text": self.text(), "usage": self.usage() }).to_string(),
            Format::Text => format!("{}\n", self.text()),
            Format::Srt => self.subtitles(',', true),
            Format::Vtt => format!("WEBVTT\n\n{}", self.subtitles('.', false)),
            Format::VerboseJson => self.verbose(wanted).to_string(),
            Format::DiarizedJson => self.diarized(wanted).to_string(),
        }
    }

    fn subtitles(&self, point: char, numbered: bool) -> String {
        let mut text = String::new();
        for (index, phrase) in self.phrases.iter().enumerate() {
            if numbered {
                // Writing into a string does not fail.
                let _ = writeln!(text, "{}", index + 1);
            }
            // An empty line would end the cue, and an arrow begins another.
            let words = phrase.text.split_whitespace().collect::<Vec<_>>().join(" ").replace("-->", "->");
            let _ = writeln!(text, "{} --> {}\n{words}\n", clock(phrase.from_ms, point), clock(phrase.to_ms, point));
        }
        text
    }

    /// Whisper's own measures, which Azure Speech does not have, stand at the values of no opinion.
    fn verbose(&self, wanted: Wanted) -> Value {
        let mut answer = json!({
            "task": wanted.task, "language": self.language, "duration": seconds(self.duration_ms), "text": self.text(),
            "usage": self.usage(),
        });
        if wanted.segments {
            let segment = |(id, phrase): (usize, &Phrase)| {
                json!({
                    "id": id, "seek": 0, "start": seconds(phrase.from_ms), "end": seconds(phrase.to_ms), "text": phrase.text,
                    "tokens": [], "temperature": 0.0, "avg_logprob": phrase.confidence.map_or(0.0, |c| c.max(1e-6).ln()),
                    "compression_ratio": 1.0, "no_speech_prob": 0.0,
                })
            };
            answer["segments"] = self.phrases.iter().enumerate().map(segment).collect();
        }
        if wanted.words {
            let words = self.phrases.iter().flat_map(|phrase| &phrase.words);
            answer["words"] = words
                .map(|word| json!({ "word": word.text, "start": seconds(word.from_ms), "end": seconds(word.to_ms) }))
                .collect();
        }
        answer
    }

    fn diarized(&self, wanted: Wanted) -> Value {
        let segment = |(id, phrase): (usize, &Phrase)| {
            json!({
                "type": "transcript.text.segment", "id": format!("seg_{id}"), "start": seconds(phrase.from_ms),
                "end": seconds(phrase.to_ms), "text": phrase.text, "speaker": speaker(phrase.speaker.unwrap_or(1)),
            })
        };
        let segments: Vec<Value> = self.phrases.iter().enumerate().map(segment).collect();
        json!({
            "task": wanted.task, "duration": seconds(self.duration_ms), "text": self.text(), "segments": segments,
            "usage": self.usage(),
        })
    }
}

/// The locale of a language in the two letters that OpenAI's SDKs send; what is a locale already stays one.
pub fn locale(language: &str) -> String {
    const LOCALES: &[(&str, &str)] = &[
        ("ar", "ar-SA"),
        ("bg", "bg-BG"),
        ("ca", "ca-ES"),
        ("cs", "cs-CZ"),
        ("da", "da-DK"),
        ("de", "de-DE"),
        ("el", "el-GR"),
        ("en", "en-US"),
        ("es", "es-ES"),
        ("et", "et-EE"),
        ("fi", "fi-FI"),
        ("fr", "fr-FR"),
        ("he", "he-IL"),
        ("hi", "hi-IN"),
        ("hr", "hr-HR"),
        ("hu", "hu-HU"),
        ("id", "id-ID"),
        ("it", "it-IT"),
        ("ja", "ja-JP"),
        ("ko", "ko-KR"),
        ("lt", "lt-LT"),
        ("lv", "lv-LV"),
        ("ms", "ms-MY"),
        ("nb", "nb-NO"),
        ("nl", "nl-NL"),
        ("no", "nb-NO"),
        ("pl", "pl-PL"),
        ("pt", "pt-BR"),
        ("ro", "ro-RO"),
        ("ru", "ru-RU"),
        ("sk", "sk-SK"),
        ("sl", "sl-SI"),
        ("sv", "sv-SE"),
        ("ta", "ta-IN"),
        ("th", "th-TH"),
        ("tr", "tr-TR"),
        ("uk", "uk-UA"),
        ("ur", "ur-IN"),
        ("vi", "vi-VN"),
        ("zh", "zh-CN"),
    ];
    let known = LOCALES.iter().find(|(short, _)| short.eq_ignore_ascii_case(language));
    known.map_or(language, |(_, locale)| locale).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript() -> Transcript {
        let phrase = |text: &str, from_ms, to_ms, speaker| Phrase {
            text: text.into(),
            from_ms,
            to_ms,
            speaker,
            confidence: Some(0.5),
            words: vec![Word { text: "Hi".into(), from_ms, to_ms: from_ms + 100 }],
        };
        let phrases =
            vec![phrase("Hi there.", 0, 1_500, Some(1)), phrase("Now\n\n--> this.", 3_661_001, 3_662_000, Some(2))];
        Transcript { language: "en-US".into(), phrases, duration_ms: 3_662_500 }
    }

    fn rendered(format: Format, words: bool) -> String {
        transcript().render(Wanted { format, task: "transcribe", words, segments: true })
    }

    #[test]
    fn every_format_is_written_as_documented() {
        assert_eq!(rendered(Format::Text, false), "Hi there. Now\n\n--> this.\n");
        assert_eq!(
            rendered(Format::Srt, false),
            "1\n00:00:00,000 --> 00:00:01,500\nHi there.\n\n2\n01:01:01,001 --> 01:01:02,000\nNow -> this.\n\n"
        );
        assert!(rendered(Format::Vtt, false).starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHi there.\n\n01:"));
        let json = |format, words| serde_json::from_str::<Value>(&rendered(format, words)).unwrap();
        assert_eq!(json(Format::Json, false)["usage"], json!({"type": "duration", "seconds": 3663}));
        let verbose = json(Format::VerboseJson, true);
        assert_eq!((&verbose["duration"], &verbose["words"][0]["end"]), (&json!(3662.5), &json!(0.1)));
        assert_eq!(verbose["segments"][0].as_object().unwrap().len(), 10);
        assert!(json(Format::VerboseJson, false)["words"].is_null());
        let speakers: Vec<Value> = json(Format::DiarizedJson, false)["segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["speaker"].clone())
            .collect();
        assert_eq!(speakers, ["A", "B"]);
        assert_eq!((speaker(26), speaker(27)), ("Z".into(), "speaker_27".into()));
    }

    #[test]
    fn languages_become_locales() {
        assert_eq!(
            (locale("en"), locale("ZH"), locale("de-CH"), locale("xx")),
            ("en-US".into(), "zh-CN".into(), "de-CH".into(), "xx".into())
        );
    }
}
