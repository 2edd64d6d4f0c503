//! The models behind the deployments: what each is called, what it can do, and which one a request means.

use serde_json::{Value, json};

use super::Family;
use super::refusal::{invalid, unknown_deployment, wrong_operation};
use crate::simulator::Simulator;
use crate::simulator::http::{Reply, Request, json_reply};

/// What a deployment is a deployment of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    Chat,
    Reasoning,
    Embedding,
    /// Transcribes and translates, in all formats.
    Whisper,
    /// Transcribes, in JSON only, and counts tokens.
    Transcribe,
    Speech,
    Image,
}

/// What a request wants of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    Chat,
    Embeddings,
    Transcription,
    Translation,
    Speech,
    Image,
}

const MODELS: &[(&str, Model)] = &[
    ("sim-chat", Model::Chat),
    ("sim-reason", Model::Reasoning),
    ("sim-embed", Model::Embedding),
    ("sim-whisper", Model::Whisper),
    ("sim-transcribe", Model::Transcribe),
    ("sim-tts", Model::Speech),
    ("sim-image", Model::Image),
];

impl Model {
    /// Deployments bear the model's name, or the name and something behind a dash, as `sim-chat-west`: so a product
    /// can be given several of a kind.
    fn of(deployment: &str) -> Option<Self> {
        let fits =
            |name: &str| deployment.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        MODELS.iter().find(|(name, _)| fits(name)).map(|(_, model)| *model)
    }

    /// The version behind the deployments. Answers name it, and never the deployment.
    pub fn version(self) -> &'static str {
        match self {
            Model::Chat => "simulated-chat-2026-01-01",
            Model::Reasoning => "simulated-reasoning-2026-01-01",
            Model::Embedding => "simulated-embedding-2026-01-01",
            Model::Whisper => "simulated-whisper-2026-01-01",
            Model::Transcribe => "simulated-transcribe-2026-01-01",
            Model::Speech => "simulated-speech-2026-01-01",
            Model::Image => "simulated-image-2026-01-01",
        }
    }

    fn can(self, ability: Ability) -> bool {
        match ability {
            Ability::Chat => matches!(self, Model::Chat | Model::Reasoning),
            Ability::Embeddings => self == Model::Embedding,
            Ability::Transcription => matches!(self, Model::Whisper | Model::Transcribe),
            Ability::Translation => self == Model::Whisper,
            Ability::Speech => self == Model::Speech,
            Ability::Image => self == Model::Image,
        }
    }
}

/// Which deployment is asked for, and that it can do what is asked. `named` is what the body calls the model.
pub fn deployment(
    family: Family,
    request: &Request,
    named: Option<&str>,
    ability: Ability,
) -> Result<(String, Model), Reply> {
    let name = match family {
        Family::Dated => request.param("deployment"),
        Family::V1 => named.unwrap_or_default(),
    };
    if name.is_empty() {
        return Err(invalid("you must provide a model parameter", "model".into()));
    }
    let model = Model::of(name).ok_or_else(unknown_deployment)?;
    if !model.can(ability) {
        return Err(wrong_operation(name));
    }
    Ok((name.to_owned(), model))
}

/// The list of models.
pub fn list(simulator: &Simulator) -> Reply {
    let created = simulator.base_now().as_second();
    let data: Vec<Value> = MODELS
        .iter()
        .map(|(id, model)| {
            json!({
                "id": id, "object": "model", "created": created, "owned_by": "simulator", "status": "succeeded",
                "capabilities": {
                    "chat_completion": model.can(Ability::Chat), "embeddings": model.can(Ability::Embeddings),
                },
            })
        })
        .collect();
    json_reply(200, &json!({ "object": "list", "data": data }))
}
