//! Transcripts as pages show them: lines with their times. Everything is text of others: numbers are read as numbers, and
//! the rest is escaped where it is shown.

use serde::Serialize;
use serde_json::Value;

/// Lines of a transcript on a page.
const MOST_LINES: usize = 2_000;

/// What is said from one time to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// In seconds.
    pub from: f64,
    /// `1:02:03.4`.
    pub shown: String,
    pub speaker: Option<String>,
    pub text: String,
}

#[derive(Debug, Default, PartialEq)]
pub struct Transcript {
    pub lines: Vec<Line>,
    /// The whole, where it has no times.
    pub text: String,
    /// There are more lines than these.
    pub more: bool,
}

/// Reads a transcript in one of the API's formats. What is not as it should be is shown as it is.
pub fn read(format: &str, text: &str) -> Transcript {
    let parsed: Option<Value> = if format.contains("json") { serde_json::from_str(text).ok() } else { None };
    let mut lines = match &parsed {
        Some(value) => segments(value),
        None if matches!(format, "srt" | "vtt") => cues(text),
        None => Vec::new(),
    };
    let more = lines.len() > MOST_LINES;
    lines.truncate(MOST_LINES);
    let whole = || match parsed.as_ref().and_then(|value| value["text"].as_str()) {
        Some(said) => said.to_owned(),
        None => text.to_owned(),
    };
    let text = if lines.is_empty() { whole() } else { String::new() };
    Transcript { lines, text, more }
}

fn line(from: f64, speaker: Option<&str>, text: &str) -> Option<Line> {
    let from = Some(from).filter(|from| from.is_finite() && (0.0..1e7).contains(from))?;
    Some(Line { from, shown: clock(from), speaker: speaker.map(str::to_owned), text: text.trim().to_owned() })
}

/// `0:01.5`, and with hours where there are any.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let tail = format!("{:02}.{}", rest / 10, rest % 10);
    if hours > 0 { format!("{hours}:{minutes:02}:{tail}") } else { format!("{minutes}:{tail}") }
}

fn segments(value: &Value) -> Vec<Line> {
    let all = value["segments"].as_array().into_iter().flatten();
    all.take(MOST_LINES + 1)
        .filter_map(|one| line(one["start"].as_f64()?, one["speaker"].as_str(), one["text"].as_str()?))
        .collect()
}

/// The cues of SRT and WebVTT: a line with an arrow, then the words until an empty line.
fn cues(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut within = false;
    for row in text.lines() {
        if let Some((from, _)) = row.split_once("-->") {
            within = false;
            if found.len() > MOST_LINES {
                break;
            }
            if let Some(line) = seconds(from).and_then(|from| line(from, None, "")) {
                found.push(line);
                within = true;
            }
        } else if row.trim().is_empty() {
            within = false;
        } else if within && let Some(last) = found.last_mut() {
            if !last.text.is_empty() {
                last.text.push(' ');
            }
            last.text.push_str(row.trim());
        }
    }
    found
}

/// `01:02:03,450` or `02:03.450`.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', ".");
    let mut whole = 0.0;
    for part in text.split(':') {
        let part: f64 = part.parse().ok().filter(|part: &f64| part.is_finite() && *part >= 0.0)?;
        whole = whole * 60.0 + part;
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(transcript: &Transcript) -> Vec<(f64, &str, &str)> {
        transcript.lines.iter().map(|line| (line.from, line.shown.as_str(), line.text.as_str())).collect()
    }

    #[test]
    fn every_format_of_a_transcript_has_its_lines_with_times_or_its_text() {
        let srt = "1\n00:00:00,000 --> 00:00:01,500\nHello\nthere\n\n2\r\n01:02:03,450 --> 01:02:04,000\r\nEnd\r\n";
        assert_eq!(texts(&read("srt", srt)), [(0.0, "0:00.0", "Hello there"), (3723.45, "1:02:03.5", "End")]);
        let vtt = "WEBVTT\n\nNOTE x\n\n00:02.500 --> 00:03.000 align:start\nHi\n\nbeside\n";
        assert_eq!(texts(&read("vtt", vtt)), [(2.5, "0:02.5", "Hi")]);
        let verbose =
            json!({ "text": "a b", "segments": [{ "start": 1.0, "text": " a" }, { "start": "x", "text": "b" }] });
        assert_eq!(texts(&read("verbose_json", &verbose.to_string())), [(1.0, "0:01.0", "a")]);
        let diarized = json!({ "segments": [{ "start": 0, "text": "a", "speaker": "A" }] });
        assert_eq!(read("diarized_json", &diarized.to_string()).lines[0].speaker.as_deref(), Some("A"));
        assert_eq!(read("json", "{\"text\":\"said\"}").text, "said");
        assert_eq!(read("text", "said\n").text, "said\n");
        // Cut in the middle: as it is.
        assert_eq!(read("json", "{\"text\":\"sai").text, "{\"text\":\"sai");
        let long: String = (0..3000).map(|n| format!("00:00:{:02},000 --> x\nw\n\n", n % 60)).collect();
        let long = read("srt", &long);
        assert_eq!((long.lines.len(), long.more), (MOST_LINES, true));
        for odd in ["-->", "NaN --> x\na", "inf --> x\na", "-1 --> x\na", "1:2:3:4:5:6:7:8:9 --> x\na"] {
            assert_eq!(read("srt", odd).lines, [], "{odd}");
        }
    }
}
