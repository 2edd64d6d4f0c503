//! Azure Speech: batch transcription (AI services contract 2.4), one recording in each. Its files are read by links that
//! need no key.

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use super::speech::{Hearing, number};
use super::{AiClient, UpstreamError, object, whole};
use crate::ai::model::deployments::Deployment;
use crate::ai::model::transcript::{Phrase, Transcript, Word, locale};

const VERSION: &str = "2025-10-15";
/// How long the service keeps what it made; we take it within minutes.
const KEPT_HOURS: u32 = 48;
/// Ticks of a hundred nanoseconds in a millisecond.
const TICKS: u64 = 10_000;
/// Pages of a list that are followed at most.
const MOST_PAGES: usize = 20;
/// Among which the service chooses where no language is named; it takes ten.
const CANDIDATES: [&str; 10] =
    ["en-US", "de-DE", "fr-FR", "es-ES", "it-IT", "pt-BR", "nl-NL", "zh-CN", "ja-JP", "ko-KR"];

/// How far a batch transcription is.
#[derive(Debug)]
pub enum Progress {
    Waiting,
    /// It is over, and this is why there is no transcript.
    Failed(String),
    Done(Transcript),
    /// The service does not know it: deleted there, or kept no longer.
    Gone,
}

fn address(deployment: &Deployment, path: &str, query: &[(&str, &str)]) -> String {
    let version = deployment.api_version.as_deref().unwrap_or(VERSION);
    let mut all = form_urlencoded::Serializer::new(String::new());
    all.append_pair("api-version", version).extend_pairs(query);
    format!("{}/speechtotext/transcriptions{path}?{}", deployment.endpoint, all.finish())
}

/// The id at the end of an address of a transcription. Calls go to the deployment's own endpoint, whatever host the
/// service calls itself.
fn id_of(address: &Value) -> Option<String> {
    let url = Url::parse(address.as_str()?).ok()?;
    let id = url.path_segments()?.next_back()?.to_owned();
    let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then_some(id)
}

impl AiClient {
    /// Hands over a recording that the service fetches; gives the transcription's id. Twice is two of them: ask
    /// [`Self::find_transcription`] first where one may have been made.
    pub async fn create_transcription(
        &self,
        deployment: &Deployment,
        name: &str,
        recording: &str,
        hearing: &Hearing,
    ) -> Result<String, UpstreamError> {
        let mut properties = json!({
            "timeToLiveHours": KEPT_HOURS, "wordLevelTimestampsEnabled": hearing.words, "profanityFilterMode": "None",
            "punctuationMode": "DictatedAndAutomatic",
        });
        if hearing.language.is_empty() {
            properties["languageIdentification"] = json!({ "candidateLocales": CANDIDATES, "mode": "Single" });
        }
        if hearing.speakers {
            properties["diarization"] = json!({ "enabled": true, "maxSpeakers": 8 });
        }
        let language = if hearing.language.is_empty() { "en" } else { &hearing.language };
        let body = json!({
            "contentUrls": [recording], "locale": locale(language), "displayName": name, "properties": properties,
        });
        let answer =
            object(self.send(deployment, self.post(address(deployment, ":submit", &[])).json(&body)).await?).await?;
        id_of(&answer["self"]).ok_or_else(|| UpstreamError::unreadable("it does not say which transcription it is"))
    }

    /// The transcription of a name, where there is one.
    pub async fn find_transcription(
        &self,
        deployment: &Deployment,
        name: &str,
    ) -> Result<Option<String>, UpstreamError> {
        let filter = format!("displayName eq '{name}'");
        let first = address(deployment, "", &[("top", "100"), ("filter", &filter)]);
        let all = self.listed(deployment, first).await?.unwrap_or_default();
        // Whether the service filters as we think is not certain (contract 2.4).
        Ok(all.iter().find(|one| one["displayName"] == name).and_then(|one| id_of(&one["self"])))
    }

    /// How far a transcription is, with all that it gave once it is over.
    pub async fn transcription(&self, deployment: &Deployment, id: &str) -> Result<Progress, UpstreamError> {
        let path = format!("/{id}");
        let Some(found) = self.looked_up(deployment, address(deployment, &path, &[])).await? else {
            return Ok(Progress::Gone);
        };
        match found["status"].as_str() {
            Some("NotStarted" | "Running") => Ok(Progress::Waiting),
            Some("Failed") => Ok(Progress::Failed(explained(&found["properties"]["error"]["message"]))),
            Some("Succeeded") => {
                let files = self.listed(deployment, address(deployment, &format!("{path}/files"), &[])).await?;
                match files {
                    Some(files) => self.harvest(&files).await,
                    None => Ok(Progress::Gone),
                }
            }
            _ => Err(UpstreamError::unreadable("it has no known status")),
        }
    }

    /// Deletes a transcription, and ends it where it is under way. One that is gone is no failure.
    pub async fn delete_transcription(&self, deployment: &Deployment, id: &str) -> Result<(), UpstreamError> {
        let request = self.http.delete(address(deployment, &format!("/{id}"), &[]));
        let response = self.sent(deployment, request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            Ok(())
        } else {
            self.judged(deployment, response).await.map(drop)
        }
    }

    /// An object of the service; None where it has none.
    async fn looked_up(&self, deployment: &Deployment, address: String) -> Result<Option<Value>, UpstreamError> {
        let response = self.sent(deployment, self.http.get(address)).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        object(self.judged(deployment, response).await?).await.map(Some)
    }

    /// All pages of a list.
    async fn listed(&self, deployment: &Deployment, first: String) -> Result<Option<Vec<Value>>, UpstreamError> {
        let (mut address, mut all) = (first, Vec::new());
        for _ in 0..MOST_PAGES {
            let Some(mut page) = self.looked_up(deployment, address.clone()).await? else { return Ok(None) };
            all.extend(page["values"].as_array_mut().map(std::mem::take).unwrap_or_default());
            // Its query, on the host that we know.
            let next = page["@nextLink"].as_str().and_then(|next| Url::parse(next).ok());
            let Some(query) = next.as_ref().and_then(Url::query) else { return Ok(Some(all)) };
            let path = address.split('?').next().unwrap_or_default();
            address = format!("{path}?{query}");
        }
        Err(UpstreamError::unreadable("its list has no end"))
    }

    /// Reads what a transcription gave. One that "succeeded" may have failed on its recording: the report tells.
    async fn harvest(&self, files: &[Value]) -> Result<Progress, UpstreamError> {
        let content = |kind: &str| {
            let file = files.iter().find(|file| file["kind"] == kind)?;
            file["links"]["contentUrl"].as_str().map(str::to_owned)
        };
        let Some(report) = content("TranscriptionReport") else {
            return Err(UpstreamError::unreadable("it has no report"));
        };
        let report: Value = self.linked(&report).await?;
        let detail = &report["details"][0];
        if detail["status"] == "Failed" || number(&report["failedTranscriptionsCount"]) > 0 {
            return Ok(Progress::Failed(explained(&detail["errorMessage"])));
        }
        let Some(transcript) = content("Transcription") else {
            return Err(UpstreamError::unreadable("it has no transcript"));
        };
        let found: Found = self.linked(&transcript).await?;
        Ok(Progress::Done(found.into()))
    }

    /// What is behind a link that carries its own signature; our key does not go there.
    async fn linked<T: DeserializeOwned>(&self, address: &str) -> Result<T, UpstreamError> {
        let response = self.http.get(address).send().await.map_err(UpstreamError::passing)?;
        if !response.status().is_success() {
            let status = Some(response.status());
            return Err(UpstreamError::Passing { status, wait: None, message: "a result file".to_owned() });
        }
        let bytes = whole(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| UpstreamError::Unreadable(format!("a result file: {error}")))
    }
}

fn explained(message: &Value) -> String {
    let text: String = message.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
    if text.is_empty() { "The service could not transcribe it.".to_owned() } else { text }
}

/// The file of a transcript, as far as it is read: hours of speech are many megabytes, and many times as much as a tree of
/// values.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    recognized_phrases: Vec<FoundPhrase>,
    #[serde(default)]
    duration_milliseconds: Value,
    #[serde(default)]
    duration_in_ticks: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundPhrase {
    recognition_status: Option<String>,
    locale: Option<String>,
    speaker: Option<u64>,
    #[serde(flatten)]
    span: Span,
    #[serde(default)]
    n_best: Vec<Best>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Best {
    confidence: Option<f64>,
    #[serde(default)]
    display: String,
    words: Option<Vec<FoundWord>>,
    display_words: Option<Vec<FoundWord>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundWord {
    display_text: Option<String>,
    word: Option<String>,
    #[serde(flatten)]
    span: Span,
}

/// When something was said. Some results tell milliseconds, some ticks, some both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Span {
    offset_milliseconds: Value,
    offset_in_ticks: Value,
    duration_milliseconds: Value,
    duration_in_ticks: Value,
}

impl Default for Span {
    fn default() -> Self {
        let none = || Value::Null;
        Self {
            offset_milliseconds: none(),
            offset_in_ticks: none(),
            duration_milliseconds: none(),
            duration_in_ticks: none(),
        }
    }
}

fn ms(milliseconds: &Value, ticks: &Value) -> u64 {
    if milliseconds.is_null() { number(ticks) / TICKS } else { number(milliseconds) }
}

impl Span {
    fn read(&self) -> (u64, u64) {
        let from = ms(&self.offset_milliseconds, &self.offset_in_ticks);
        (from, from + ms(&self.duration_milliseconds, &self.duration_in_ticks))
    }
}

impl From<FoundWord> for Word {
    fn from(word: FoundWord) -> Self {
        let (from_ms, to_ms) = word.span.read();
        Self { text: word.display_text.or(word.word).unwrap_or_default(), from_ms, to_ms }
    }
}

impl From<FoundPhrase> for Phrase {
    fn from(phrase: FoundPhrase) -> Self {
        let (from_ms, to_ms) = phrase.span.read();
        let best = phrase.n_best.into_iter().next().unwrap_or_default();
        let words = best.display_words.or(best.words).unwrap_or_default();
        Self {
            text: best.display,
            from_ms,
            to_ms,
            speaker: phrase.speaker,
            confidence: best.confidence,
            words: words.into_iter().map(Word::from).collect(),
        }
    }
}

impl From<Found> for Transcript {
    fn from(found: Found) -> Self {
        let duration_ms = ms(&found.duration_milliseconds, &found.duration_in_ticks);
        let language = found.recognized_phrases.first().and_then(|phrase| phrase.locale.clone()).unwrap_or_default();
        let heard =
            |phrase: &FoundPhrase| phrase.recognition_status.as_deref().is_none_or(|status| status == "Success");
        let mut phrases: Vec<Phrase> = found.recognized_phrases.into_iter().filter(heard).map(Phrase::from).collect();
        // Several channels come interleaved.
        phrases.sort_by_key(|phrase| phrase.from_ms);
        Self { language, phrases, duration_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_with_either_way_to_tell_time() {
        let found = json!({ "durationInTicks": 25_800_000_u64, "recognizedPhrases": [
            { "recognitionStatus": "Success", "offsetMilliseconds": 900, "durationMilliseconds": 100, "speaker": 2, "locale": "de-DE",
              "nBest": [{ "display": "Zwei.", "confidence": 0.5, "words": [{ "word": "zwei", "offsetInTicks": 9_000_000, "durationInTicks": 1_000_000 }] }] },
            { "recognitionStatus": "Failure", "offsetInTicks": 0, "nBest": [] },
            { "offsetInTicks": 700_000, "durationInTicks": 15_900_000, "nBest": [{ "display": "Eins." }] },
        ] });
        let read = Transcript::from(serde_json::from_value::<Found>(found).unwrap());
        assert_eq!((read.duration_ms, read.language.as_str(), read.text().as_str()), (2_580, "de-DE", "Eins. Zwei."));
        assert_eq!(
            (read.phrases[0].from_ms, read.phrases[0].to_ms, read.phrases[1].words[0].to_ms),
            (70, 1_660, 1_000)
        );
    }

    #[test]
    fn an_address_gives_an_id_and_nothing_else() {
        let id = |text: &str| id_of(&text.into());
        assert_eq!(id("https://x.example/speechtotext/transcriptions/ab-12?api-version=1").as_deref(), Some("ab-12"));
        for wrong in ["", "ab-12", "https://x.example/", "https://x.example/a%2e%2e"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }
}
