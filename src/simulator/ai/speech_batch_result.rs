//! What a batch transcription leaves behind: a file for each input that was heard, and the report of all inputs.
//!
//! Lengths and places are told three times, as the service does it: in words, in ticks of 100 ns, and in milliseconds.
//! The phrases of several channels are in order of time, the channels next to each other.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::speech_batch_input::{Heard, Trouble};
use super::speech_batch_order::Order;
use super::transcript::{CONFIDENCE, Phrase, Task, Word, transcript};

const TICKS_A_MILLISECOND: u64 = 10_000;

/// With diarization no input may be longer: four hours.
const LONGEST_WITH_SPEAKERS: u64 = 240 * 60_000;

/// As ISO 8601 has it.
fn duration(milliseconds: u64) -> String {
    let (hours, rest) = (milliseconds / 3_600_000, milliseconds % 3_600_000);
    let (minutes, seconds, rest) = (rest / 60_000, rest % 60_000 / 1_000, rest % 1_000);
    let mut text = "PT".to_owned();
    for (number, unit) in [(hours, 'H'), (minutes, 'M')] {
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
    }
    let part = format!("{seconds}.{rest:03}");
    let part = part.trim_end_matches('0').trim_end_matches('.');
    if part != "0" || text == "PT" {
        text.push_str(&format!("{part}S"));
    }
    text
}

fn lasting(start: u64, length: u64) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, milliseconds) in [("offset", start), ("duration", length)] {
        members.insert(name.to_owned(), duration(milliseconds).into());
        members.insert(format!("{name}InTicks"), (milliseconds * TICKS_A_MILLISECOND).into());
        members.insert(format!("{name}Milliseconds"), milliseconds.into());
    }
    members
}

/// As it is spoken: small letters, no marks.
fn lexical(text: &str) -> String {
    text.to_lowercase().replace('.', "")
}

/// A text in all its forms. No two of the written ones differ, because nothing that is said has several.
fn forms(text: &str) -> Map<String, Value> {
    let spoken = lexical(text);
    let mut members = Map::new();
    for (name, text) in
        [("lexical", spoken.as_str()), ("itn", spoken.as_str()), ("maskedITN", spoken.as_str()), ("display", text)]
    {
        members.insert(name.to_owned(), text.into());
    }
    members
}

/// The channels that are heard: those asked for, otherwise the first two; with speakers they are mixed into one.
fn channels(order: &Order, there: usize, speakers: Option<u64>) -> Result<Vec<usize>, Trouble> {
    let wanted = &order.properties.channels;
    if wanted.iter().any(|channel| *channel >= there) {
        return Err(Trouble::audio("The audio has no such channel."));
    }
    Ok(match (wanted.as_slice(), speakers) {
        ([], Some(_)) => vec![0],
        ([], None) => (0..there.clamp(1, 2)).collect(),
        (wanted, _) => wanted.to_vec(),
    })
}

/// The file of one input.
pub fn file(order: &Order, source: &str, at: Timestamp, heard: Heard, speakers: Option<u64>) -> Result<Value, Trouble> {
    if speakers.is_some() && heard.milliseconds > LONGEST_WITH_SPEAKERS {
        return Err(Trouble::audio("With diarization, no input may be longer than 240 minutes."));
    }
    let channels = channels(order, heard.channels, speakers)?;
    let said = transcript(heard.milliseconds, Task::Transcribe);
    let text = super::transcript::text(&said);
    let combined = channels.iter().map(|channel| {
        let mut combined = forms(&text);
        combined.insert("channel".to_owned(), (*channel).into());
        combined
    });
    let phrases = (0_u64..).zip(&said).flat_map(|(index, phrase)| {
        let mut shown = recognized(order, phrase);
        if let Some(speakers) = speakers {
            shown.insert("speaker".to_owned(), (index % speakers + 1).into());
        }
        channels.iter().map(move |channel| {
            let mut shown = shown.clone();
            shown.insert("channel".to_owned(), (*channel).into());
            shown
        })
    });
    Ok(json!({
        "source": source, "timestamp": at, "duration": duration(heard.milliseconds),
        "durationInTicks": heard.milliseconds * TICKS_A_MILLISECOND, "durationMilliseconds": heard.milliseconds,
        "combinedRecognizedPhrases": combined.collect::<Vec<_>>(), "recognizedPhrases": phrases.collect::<Vec<_>>(),
    }))
}

fn recognized(order: &Order, phrase: &Phrase) -> Map<String, Value> {
    let mut best = forms(&phrase.text());
    best.insert("confidence".to_owned(), CONFIDENCE.into());
    let words = |name: &str, text: fn(&Word) -> String| -> Value {
        let one = |word: &Word| {
            let mut shown = lasting(word.start, word.length);
            shown.insert(name.to_owned(), text(word).into());
            shown.insert("confidence".to_owned(), CONFIDENCE.into());
            shown
        };
        phrase.words.iter().map(one).collect()
    };
    if order.properties.words {
        best.insert("words".to_owned(), words("word", |word| lexical(&word.text)));
    }
    if order.properties.display_words {
        best.insert("displayWords".to_owned(), words("displayText", |word| word.text.clone()));
    }
    let mut shown = lasting(phrase.start, phrase.length);
    shown.insert("recognitionStatus".to_owned(), "Success".into());
    shown.insert("nBest".to_owned(), json!([best]));
    if let Some(wanted) = &order.properties.language_identification {
        // Nobody listens, so it is always the first.
        shown.insert("locale".to_owned(), wanted.candidate_locales.first().cloned().into());
    }
    shown
}

/// What became of every input, in their order.
pub fn report<'a>(inputs: impl Iterator<Item = (&'a str, Option<&'a Trouble>)>) -> Value {
    let details: Vec<Value> = inputs
        .map(|(source, trouble)| match trouble {
            None => json!({ "source": source, "status": "Succeeded" }),
            Some(trouble) => json!({
                "source": source, "status": "Failed", "errorKind": trouble.kind, "errorMessage": trouble.message,
            }),
        })
        .collect();
    let failed = details.iter().filter(|detail| detail["status"] == "Failed").count();
    json!({
        "successfulTranscriptionsCount": details.len() - failed, "failedTranscriptionsCount": failed,
        "details": details,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_the_standard_has_it() {
        for (milliseconds, text) in [
            (0, "PT0S"),
            (70, "PT0.07S"),
            (2_580, "PT2.58S"),
            (60_000, "PT1M"),
            (3_600_001, "PT1H0.001S"),
            (5_400_500, "PT1H30M0.5S"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
    }
}
