//! What is ordered of a batch transcription, and what is wrong with it.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::speech_fast::{Diarization, PROFANITY, refused};
use crate::simulator::http::{Reply, Request};

const MOST_FILES: usize = 1_000;

/// Hours for which a job is kept.
const KEPT: std::ops::RangeInclusive<i64> = 6..=744;

const PUNCTUATION: &[&str] = &["None", "Dictated", "Automatic", "DictatedAndAutomatic"];

/// Members that change nothing here are read so that their form is checked.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Order {
    pub content_urls: Vec<String>,
    content_container_url: Option<String>,
    pub locale: String,
    pub display_name: String,
    pub model: Option<Model>,
    pub properties: Properties,
}

#[derive(Debug, Deserialize)]
pub struct Model {
    #[serde(rename = "self")]
    pub address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Properties {
    time_to_live_hours: Option<i64>,
    #[serde(rename = "wordLevelTimestampsEnabled")]
    pub words: bool,
    #[serde(rename = "displayFormWordLevelTimestampsEnabled")]
    pub display_words: bool,
    diarization: Diarization,
    pub channels: Vec<usize>,
    punctuation_mode: Option<String>,
    profanity_filter_mode: Option<String>,
    pub language_identification: Option<LanguageIdentification>,
    destination_container_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LanguageIdentification {
    pub candidate_locales: Vec<String>,
    mode: Option<String>,
}

fn known(value: Option<&String>, values: &[&str]) -> bool {
    value.is_none_or(|value| values.contains(&value.as_str()))
}

/// A member that is null is as if it was not there.
fn without_nulls(sent: &mut Value) {
    if let Some(members) = sent.as_object_mut() {
        members.retain(|_, value| !value.is_null());
        members.values_mut().for_each(without_nulls);
    }
}

impl Order {
    /// The order, and its properties as they were sent, to be shown again.
    pub fn read(request: &Request) -> Result<(Self, Value), Reply> {
        let broken = |error| refused("InvalidPayload", &format!("The body can not be read: {error}"));
        let mut sent: Value = serde_json::from_slice(&request.body).map_err(broken)?;
        without_nulls(&mut sent);
        let properties = sent.get("properties").cloned().unwrap_or_default();
        if !sent.is_object() || !properties.is_object() {
            return Err(refused("InvalidPayload", "The body or its properties are missing."));
        }
        let order: Self = serde_json::from_value(sent).map_err(broken)?;
        order.check()?;
        Ok((order, properties))
    }

    fn check(&self) -> Result<(), Reply> {
        self.check_files()?;
        if self.display_name.is_empty() {
            return Err(refused("InvalidPayload", "displayName is missing."));
        }
        if !self.locale.contains('-') {
            return Err(refused("InvalidLocale", "locale is missing or not supported."));
        }
        if !self.properties.time_to_live_hours.is_some_and(|hours| KEPT.contains(&hours)) {
            return Err(refused("InvalidPayload", "timeToLiveHours is missing, or not from 6 to 744."));
        }
        if !known(self.properties.punctuation_mode.as_ref(), PUNCTUATION) {
            return Err(refused("InvalidPayload", "punctuationMode is unknown."));
        }
        if !known(self.properties.profanity_filter_mode.as_ref(), PROFANITY) {
            return Err(refused("InvalidProfanityFilterMode", "profanityFilterMode is unknown."));
        }
        if let Some(wanted) = &self.properties.language_identification
            && (!(2..=10).contains(&wanted.candidate_locales.len())
                || !known(wanted.mode.as_ref(), &["Single", "Continuous"]))
        {
            return Err(refused("InvalidPayload", "candidateLocales must be 2 to 10, and the mode a known one."));
        }
        if self.properties.destination_container_url.is_some() {
            return Err(refused("InvalidPayload", "The simulator writes to no containers."));
        }
        self.speakers().map(|_| ())
    }

    fn check_files(&self) -> Result<(), Reply> {
        if self.content_container_url.is_some() {
            return Err(refused("InvalidPayload", "The simulator lists no containers."));
        }
        if self.content_urls.is_empty() || self.content_urls.len() > MOST_FILES {
            return Err(refused("InvalidPayload", "contentUrls must be 1 to 1000 addresses."));
        }
        let good = |address: &String| {
            Url::parse(address).is_ok_and(|address| matches!(address.scheme(), "http" | "https") && address.has_host())
        };
        if self.content_urls.iter().all(good) {
            return Ok(());
        }
        Err(refused("InvalidPayload", "A content URL is no address."))
    }

    /// Who speaks, from 1; nobody without diarization.
    pub fn speakers(&self) -> Result<Option<u64>, Reply> {
        self.properties.diarization.speakers(&self.properties.channels)
    }

    /// For how many hours the job is kept.
    pub fn hours(&self) -> i64 {
        self.properties.time_to_live_hours.unwrap_or(*KEPT.start())
    }
}
