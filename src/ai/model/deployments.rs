//! The publisher's deployments of models: where each is, how it is spoken to, and which meters it counts on. Host, path
//! style, version and way of authorisation are named for each one and never derived from one another (AI services
//! contract 0.1).

use serde::Deserialize;

use crate::foundation::outbound::base_address;
use crate::metering::Catalogue;

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Chat,
    Embeddings,
}

impl Kind {
    /// The end of the address, the same in both families.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Embeddings => "embeddings",
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
    /// The header `api-key`, as Azure takes it everywhere.
    #[default]
    ApiKey,
    Bearer,
}

/// The meters of the catalogue on which tokens count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meters {
    /// Tokens of the prompt that were not cached.
    pub input: String,
    /// Cached ones; on `input` when it is not named.
    pub cached_input: Option<String>,
    pub output: Option<String>,
}

impl Meters {
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.input.as_str()).chain(self.cached_input.as_deref()).chain(self.output.as_deref())
    }
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The name that customers use.
    pub model: String,
    pub kind: Kind,
    /// Up to and without `/chat/completions` (v1) or `/deployments/...` (dated).
    pub endpoint: String,
    /// The name at the service.
    pub deployment: String,
    #[serde(default)]
    pub path: PathStyle,
    pub api_version: Option<String>,
    #[serde(default)]
    pub authorization: Authorization,
    /// Whether it takes `stream_options`; dated versions before 2024-09-01 do not. Without, streams are estimated.
    #[serde(default = "yes")]
    pub stream_usage: bool,
    pub meters: Meters,
    /// Lower ones are asked first; the others are the fallback.
    #[serde(default)]
    pub priority: u32,
}

impl Deployment {
    pub fn address(&self) -> String {
        let version = self.api_version.as_deref().map(|version| format!("?api-version={version}")).unwrap_or_default();
        match self.path {
            PathStyle::V1 => format!("{}/{}{version}", self.endpoint, self.kind.path()),
            PathStyle::Dated => {
                format!("{}/deployments/{}/{}{version}", self.endpoint, self.deployment, self.kind.path())
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DeploymentsError {
    #[error("it can not be read: {0}")]
    Unreadable(String),
    #[error("model `{model}`: the endpoint `{endpoint}` {error}")]
    Endpoint { model: String, endpoint: String, error: String },
    #[error("model `{0}`: a dated address needs an api_version")]
    Version(String),
    #[error("model `{model}`: the catalogue has no meter `{meter}`, so it could not be billed; it has: {known}")]
    Meter { model: String, meter: String, known: String },
    #[error("model `{0}`: chat needs a meter for its output")]
    Output(String),
    #[error("model `{0}` is of different kinds or counts on different meters in its deployments")]
    Mixed(String),
}

/// All deployments, in the order in which they are asked.
#[derive(Debug, Clone, Default)]
pub struct Deployments(Vec<Deployment>);

impl Deployments {
    /// Reads the file and refuses what could not be called or billed.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, DeploymentsError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            deployments: Vec<Deployment>,
        }
        let file: File = serde_json::from_str(text).map_err(|error| DeploymentsError::Unreadable(error.to_string()))?;
        let mut list = file.deployments;
        for entry in &mut list {
            let model = || entry.model.clone();
            match base_address(&entry.endpoint) {
                Ok(address) => entry.endpoint = address,
                Err(error) => {
                    let (endpoint, error) = (entry.endpoint.clone(), error.to_string());
                    return Err(DeploymentsError::Endpoint { model: model(), endpoint, error });
                }
            }
            if entry.path == PathStyle::Dated && entry.api_version.is_none() {
                return Err(DeploymentsError::Version(model()));
            }
            if entry.kind == Kind::Chat && entry.meters.output.is_none() {
                return Err(DeploymentsError::Output(model()));
            }
            if let Some(meter) = entry.meters.all().find(|meter| !catalogue.meters.contains_key(*meter)) {
                let known = catalogue.meters.keys().cloned().collect::<Vec<_>>().join(", ");
                return Err(DeploymentsError::Meter { model: model(), meter: meter.to_owned(), known });
            }
        }
        list.sort_by_key(|entry| entry.priority);
        for entry in &list {
            let other = |other: &&Deployment| {
                other.model == entry.model && (other.kind != entry.kind || other.meters != entry.meters)
            };
            if list.iter().any(|candidate| other(&candidate)) {
                return Err(DeploymentsError::Mixed(entry.model.clone()));
            }
        }
        Ok(Self(list))
    }

    /// The deployments of a model, the first to be asked first.
    pub fn of(&self, model: &str, kind: Kind) -> Vec<&Deployment> {
        self.0.iter().filter(|entry| entry.model == model && entry.kind == kind).collect()
    }

    /// The names of all models, without repeats.
    pub fn models(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|entry| entry.model.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_called_or_billed_is_refused_at_the_start() {
        let catalogue = Catalogue::parse(crate::metering::BUILT_IN_CATALOGUE).unwrap();
        let entry = |change: &str| {
            let mut entry = serde_json::json!({"model": "chat", "kind": "chat", "endpoint": "https://x.example/openai/v1/", "deployment": "d",
                "meters": {"input": "chat_tokens", "output": "chat_tokens"}});
            let change: serde_json::Value = serde_json::from_str(change).unwrap();
            for (name, value) in change.as_object().unwrap() {
                entry[name] = value.clone();
            }
            Deployments::parse(&serde_json::json!({ "deployments": [entry] }).to_string(), &catalogue)
        };
        let fine = entry("{}").unwrap();
        assert_eq!(fine.of("chat", Kind::Chat)[0].address(), "https://x.example/openai/v1/chat/completions");
        assert!(fine.of("chat", Kind::Embeddings).is_empty());
        let dated =
            entry(r#"{"path": "dated", "endpoint": "https://x.example/openai", "api_version": "2024-10-21"}"#).unwrap();
        assert_eq!(
            dated.of("chat", Kind::Chat)[0].address(),
            "https://x.example/openai/deployments/d/chat/completions?api-version=2024-10-21"
        );
        for (change, said) in [
            (r#"{"endpoint": "http://x.example"}"#, "plain http"),
            (r#"{"path": "dated"}"#, "needs an api_version"),
            (r#"{"meters": {"input": "words", "output": "chat_tokens"}}"#, "no meter `words`"),
            (r#"{"meters": {"input": "chat_tokens"}}"#, "output"),
            (r#"{"colour": "red"}"#, "unknown field `colour`"),
        ] {
            let error = entry(change).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
