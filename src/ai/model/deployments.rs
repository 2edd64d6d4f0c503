//! The publisher's deployments of models: where each is, how it is spoken to, and which meters it counts on. Host, path
//! style, version and way of authorisation are named for each one and never derived from one another (AI services
//! contract 0.1).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::audio;
use super::used::{Part, Used};
use crate::identity::Limits;

/// What a model does: one address of the AI API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Chat,
    Responses,
    Embeddings,
    Transcription,
    /// Of recordings that are too long for a call, by media jobs; another address, and often another price.
    BatchTranscription,
    Translation,
    Speech,
    Image,
    Vision,
}

impl Kind {
    /// The end of an OpenAI address, the same in both families. Vision is a chat about an image there.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat | Self::Vision => "chat/completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Transcription | Self::BatchTranscription => "audio/transcriptions",
            Self::Translation => "audio/translations",
            Self::Speech => "audio/speech",
            Self::Image => "images/generations",
        }
    }

    /// Parts that must have a meter, because every answer has them.
    fn needs(self) -> &'static [Part] {
        match self {
            Self::Chat | Self::Responses => &[Part::Input, Part::Output],
            Self::Embeddings => &[Part::Input],
            Self::Transcription | Self::BatchTranscription | Self::Translation => &[Part::AudioMs],
            Self::Speech => &[Part::Characters],
            Self::Image => &[Part::Images],
            Self::Vision => &[Part::Transactions],
        }
    }

    /// Parts that may have one of their own.
    fn knows(self) -> &'static [Part] {
        match self {
            Self::Chat | Self::Responses => &[Part::CachedInput],
            Self::Image => &[Part::Input, Part::Output],
            _ => &[],
        }
    }
}

/// Whose contract a deployment speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Azure OpenAI, and every service that speaks as OpenAI does.
    #[default]
    Openai,
    /// Azure Speech: fast transcription (contract 2.3), text to speech (2.5).
    AzureSpeech,
    /// Azure Speech for short audio (2.2): at most 60 s, WAV of 16 kHz or OGG with Opus.
    AzureSpeechShort,
    /// Image Analysis 4.0 (3.2).
    AzureVision,
    /// Image Analysis and Read 3.2 (3.3), the only ones in China.
    AzureVisionV3,
}

impl Provider {
    fn serves(self, kind: Kind) -> bool {
        match self {
            Self::Openai => kind != Kind::BatchTranscription,
            Self::AzureSpeech => {
                matches!(kind, Kind::Transcription | Kind::BatchTranscription | Kind::Translation | Kind::Speech)
            }
            Self::AzureSpeechShort => kind == Kind::Transcription,
            Self::AzureVision | Self::AzureVisionV3 => kind == Kind::Vision,
        }
    }
}

/// The family of addresses (contract 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum PathStyle {
    /// The deployment's name stands in the body: Azure's v1 addresses, and every OpenAI-compatible service.
    #[default]
    V1,
    /// The name stands in the path, the version in the query.
    Dated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Authorization {
    /// The header `api-key`, or `Ocp-Apim-Subscription-Key` for Speech and Vision.
    #[default]
    ApiKey,
    Bearer,
    /// A token of this machine's own identity.
    ManagedIdentity,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn cognitive_services() -> String {
    "https://cognitiveservices.azure.com/.default".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The name that customers use.
    pub model: String,
    pub kind: Kind,
    #[serde(default)]
    pub provider: Provider,
    /// Up to and without `/chat/completions` (v1), `/deployments/...` (dated) or the paths of Speech and Vision.
    pub endpoint: String,
    /// The name at the service; Speech and Vision have none.
    #[serde(default)]
    pub deployment: String,
    #[serde(default)]
    pub path: PathStyle,
    pub api_version: Option<String>,
    #[serde(default)]
    pub authorization: Authorization,
    /// A name of `AI_KEYS`; else the provider's own setting holds the key.
    pub key: Option<String>,
    /// Of the managed identity's tokens: some hosts want `https://ai.azure.com/.default`, China's end in `.cn`.
    #[serde(default = "cognitive_services")]
    pub scope: String,
    /// Azure's id of a Speech resource, which its regional hosts want in a managed identity's token.
    pub resource_id: Option<String>,
    /// Whether it takes `stream_options`; dated versions before 2024-09-01 do not. Without, streams are estimated.
    #[serde(default = "yes")]
    pub stream_usage: bool,
    /// What each part counts on; cached tokens on the meter of the others unless named.
    pub meters: BTreeMap<Part, String>,
    /// A name of `costs`: what the publisher pays.
    pub cost: Option<String>,
    /// Tokens that one answer has at most. Where a budget is hard, requests without a limit of their own get this one.
    #[serde(default = "most_output")]
    pub max_output_tokens: u64,
    /// Lower ones are asked first; the others are the fallback.
    #[serde(default)]
    pub priority: u32,
    /// How often it is the first among those of the same priority.
    #[serde(default = "one")]
    pub weight: u32,
}

fn most_output() -> u64 {
    16_384
}

impl Deployment {
    /// The address of an OpenAI service.
    pub fn address(&self) -> String {
        let version = self.api_version.as_deref().map(|version| format!("?api-version={version}")).unwrap_or_default();
        match self.path {
            PathStyle::V1 => format!("{}/{}{version}", self.endpoint, self.kind.path()),
            PathStyle::Dated => {
                format!("{}/deployments/{}/{}{version}", self.endpoint, self.deployment, self.kind.path())
            }
        }
    }

    /// Whether it takes audio of so many bytes and milliseconds in one call.
    pub fn takes(&self, length: u64, duration_ms: u64) -> bool {
        match (self.kind, self.provider) {
            (Kind::BatchTranscription, _) => length <= audio::LARGEST_BATCH,
            (_, Provider::AzureSpeech) => length <= audio::LARGEST_FAST && duration_ms <= audio::LONGEST_MS,
            _ => length <= audio::LARGEST as u64 && duration_ms <= audio::LONGEST_MS,
        }
    }

    /// Tells it from every other one.
    pub fn id(&self) -> String {
        format!("{:?} {:?} {} {}", self.kind, self.provider, self.endpoint, self.deployment)
    }

    /// The meter on which a part counts; None where the file gives it none.
    pub fn meter(&self, part: Part) -> Option<&str> {
        let named = self.meters.get(&part);
        let same = || self.meters.get(&Part::Input).filter(|_| part == Part::CachedInput);
        named.or_else(same).map(String::as_str)
    }

    /// The parts of a call that are billed.
    pub fn metered(&self, used: &Used) -> Vec<(Part, &str, u64)> {
        used.parts().filter_map(|(part, amount)| Some((part, self.meter(part)?, amount))).collect()
    }

    fn check(&self, file: &File, known: &Known<'_>) -> Result<(), String> {
        if !self.provider.serves(self.kind) {
            return Err(format!("{:?} does not serve {:?}", self.provider, self.kind));
        }
        if self.provider == Provider::Openai && self.deployment.is_empty() {
            return Err("the deployment's name at the service is missing".to_owned());
        }
        if self.path == PathStyle::Dated && self.api_version.is_none() {
            return Err("a dated address needs an api_version".to_owned());
        }
        let speaks = self.provider == Provider::AzureSpeechShort
            || self.provider == Provider::AzureSpeech && self.kind == Kind::Speech;
        if self.authorization == Authorization::ManagedIdentity && speaks && self.resource_id.is_none() {
            return Err("a managed identity needs the resource_id here".to_owned());
        }
        if let Some(key) = self.key.as_ref().filter(|key| !known.keys.contains(&key.as_str())) {
            return Err(format!("AI_KEYS has no key `{key}`"));
        }
        if self.weight == 0 {
            return Err("the weight must be at least 1".to_owned());
        }
        for part in self.kind.needs() {
            if self.meter(*part).is_none() {
                return Err(format!("it needs a meter for `{}`, or that would not be billed", part.name()));
            }
        }
        for (part, meter) in &self.meters {
            if !self.kind.needs().contains(part) && !self.kind.knows().contains(part) {
                return Err(format!("nothing of it counts as `{}`", part.name()));
            }
            if !known.meters.contains(&meter.as_str()) {
                let known = known.meters.join(", ");
                return Err(format!(
                    "the catalogue has no meter `{meter}`, so it could not be billed; it has: {known}"
                ));
            }
        }
        if let Some(cost) = &self.cost {
            let prices = file.costs.get(cost).ok_or_else(|| format!("`costs` has no entry `{cost}`"))?;
            for part in self.meters.keys().chain(self.kind.needs()) {
                if prices.iter().any(|price| price.of(*part).is_none()) {
                    return Err(format!("the cost `{cost}` has no price for `{}`", part.name()));
                }
            }
        }
        Ok(())
    }
}

/// What the file may name.
pub struct Known<'a> {
    pub meters: Vec<&'a str>,
    pub keys: Vec<&'a str>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeploymentsError {
    #[error("it can not be read: {0}")]
    Unreadable(String),
    #[error("model `{model}`: {error}")]
    Deployment { model: String, error: String },
    #[error("model `{0}` counts on different meters in its deployments")]
    Mixed(String),
    #[error("the catalogue has no meter `{0}`, so storage could not be billed")]
    Storage(String),
    #[error("the cost `{0}` has no price, or its dates do not ascend")]
    Cost(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    deployments: Vec<Deployment>,
    #[serde(default)]
    costs: Costs,
    #[serde(default)]
    limits: PlanLimits,
    #[serde(default)]
    files: PlanLimits<FileLimits>,
    /// The meter of stored files, in bytes and hours.
    #[serde(default)]
    storage: Option<String>,
}

/// All deployments, in the order in which they are asked, with what they cost and how fast they may be called.
#[derive(Debug, Clone, Default)]
pub struct Deployments {
    list: Vec<Arc<Deployment>>,
    pub costs: Costs,
    pub limits: PlanLimits,
    pub files: PlanLimits<FileLimits>,
    /// On which stored bytes count, for each hour; none: storage is not billed.
    pub storage: Option<String>,
}

/// What the publisher pays, by the names that deployments use, oldest first.
pub type Costs = BTreeMap<String, Vec<super::costs::Cost>>;

/// Limits of a subscription by its plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, bound(deserialize = "T: Deserialize<'de> + Default"))]
pub struct PlanLimits<T = Limits> {
    default: T,
    plans: BTreeMap<String, T>,
}

impl<T: Clone> PlanLimits<T> {
    pub fn of(&self, plan: &str) -> T {
        self.plans.get(plan).unwrap_or(&self.default).clone()
    }
}

/// What files a subscription may have.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileLimits {
    /// Of one file; none: as large as the installation takes (`MEDIA_FILE_MIB`).
    pub mib: Option<u64>,
    /// Such as `audio/*` or `image/png`; none: any.
    pub types: Vec<String>,
}

impl FileLimits {
    pub fn allows(&self, content_type: &str) -> bool {
        let plain = content_type.split(';').next().unwrap_or_default();
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => plain.starts_with(start),
            None => plain == pattern,
        };
        self.types.is_empty() || self.types.iter().any(fits)
    }
}

impl Deployments {
    /// Reads the file and refuses what could not be called or billed.
    pub fn parse(text: &str, known: &Known<'_>) -> Result<Self, DeploymentsError> {
        let mut file: File =
            serde_json::from_str(text).map_err(|error| DeploymentsError::Unreadable(error.to_string()))?;
        let mut list = std::mem::take(&mut file.deployments);
        for (name, prices) in &file.costs {
            if prices.is_empty() || prices.windows(2).any(|pair| pair[0].from >= pair[1].from) {
                return Err(DeploymentsError::Cost(name.clone()));
            }
        }
        for entry in &mut list {
            let wrong = |model: &str, error: String| DeploymentsError::Deployment { model: model.to_owned(), error };
            entry.endpoint = crate::foundation::outbound::base_address(&entry.endpoint)
                .map_err(|error| wrong(&entry.model, format!("the endpoint `{}` {error}", entry.endpoint)))?;
            entry.check(&file, known).map_err(|error| wrong(&entry.model, error))?;
        }
        list.sort_by_key(|entry| entry.priority);
        for entry in &list {
            let other = |other: &Deployment| {
                other.model == entry.model && other.kind == entry.kind && other.meters != entry.meters
            };
            if list.iter().any(other) {
                return Err(DeploymentsError::Mixed(entry.model.clone()));
            }
        }
        if let Some(meter) = file.storage.as_ref().filter(|meter| !known.meters.contains(&meter.as_str())) {
            return Err(DeploymentsError::Storage(meter.clone()));
        }
        let list = list.into_iter().map(Arc::new).collect();
        Ok(Self { list, costs: file.costs, limits: file.limits, files: file.files, storage: file.storage })
    }

    /// The deployments of a model, the first to be asked first.
    pub fn of(&self, model: &str, kind: Kind) -> Vec<Arc<Deployment>> {
        self.list.iter().filter(|entry| entry.model == model && entry.kind == kind).cloned().collect()
    }

    pub fn all(&self) -> &[Arc<Deployment>] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(change: serde_json::Value) -> Result<Deployments, DeploymentsError> {
        let known = Known { meters: vec!["chat_tokens", "speech_to_text_ms"], keys: vec!["west"] };
        let mut entry = serde_json::json!({"model": "chat", "kind": "chat", "endpoint": "https://x.example/openai/v1/", "deployment": "d",
            "meters": {"input": "chat_tokens", "output": "chat_tokens"}});
        for (name, value) in change.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let costs = serde_json::json!({"half": [{"from": "2026-01-01", "prices": {"input": {"per": 1_000_000, "price": "2"}}}]});
        Deployments::parse(&serde_json::json!({ "deployments": [entry], "costs": costs }).to_string(), &known)
    }

    #[test]
    fn addresses_follow_the_family_that_is_named() {
        let fine = parsed(serde_json::json!({})).unwrap();
        assert_eq!(fine.of("chat", Kind::Chat)[0].address(), "https://x.example/openai/v1/chat/completions");
        assert!(fine.of("chat", Kind::Embeddings).is_empty());
        let dated =
            serde_json::json!({"path": "dated", "endpoint": "https://x.example/openai", "api_version": "2024-10-21"});
        assert_eq!(
            parsed(dated).unwrap().of("chat", Kind::Chat)[0].address(),
            "https://x.example/openai/deployments/d/chat/completions?api-version=2024-10-21"
        );
    }

    #[test]
    fn files_are_limited_by_their_type() {
        let limits =
            |types: &[&str]| FileLimits { mib: None, types: types.iter().map(|&one| one.to_owned()).collect() };
        assert!(
            limits(&[]).allows("image/png") && limits(&["audio/*", "text/plain"]).allows("text/plain; charset=utf-8")
        );
        assert!(limits(&["audio/*"]).allows("audio/wav") && !limits(&["audio/*"]).allows("image/png"));
    }

    #[test]
    fn what_could_not_be_called_or_billed_is_refused_at_the_start() {
        for (change, said) in [
            (r#"{"endpoint": "http://x.example"}"#, "plain http"),
            (r#"{"path": "dated"}"#, "needs an api_version"),
            (r#"{"deployment": ""}"#, "name at the service"),
            (r#"{"meters": {"input": "words", "output": "chat_tokens"}}"#, "no meter `words`"),
            (r#"{"meters": {"input": "chat_tokens"}}"#, "meter for `output`"),
            (r#"{"meters": {"input": "chat_tokens", "output": "chat_tokens", "images": "chat_tokens"}}"#, "`images`"),
            (r#"{"meters": {"letters": "chat_tokens"}}"#, "unknown variant `letters`"),
            (r#"{"colour": "red"}"#, "unknown field `colour`"),
            (r#"{"provider": "azure_speech"}"#, "does not serve"),
            (r#"{"key": "east"}"#, "no key `east`"),
            (r#"{"cost": "none"}"#, "no entry `none`"),
            (r#"{"cost": "half"}"#, "no price for `output`"),
            (r#"{"weight": 0}"#, "weight"),
        ] {
            let error = parsed(serde_json::from_str(change).unwrap()).unwrap_err().to_string();
            assert!(error.contains(said), "{change}: {error}");
        }
    }
}
