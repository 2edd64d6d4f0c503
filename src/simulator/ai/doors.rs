//! The doors: every address of the simulated AI services, which service is behind it, how that refuses, and under which
//! name its requests are counted.

use super::refusal::Shape;
use super::transcript::Task;

/// How the addresses of these services begin. Among them are `/speechtotext/` and `/speech/`.
const PREFIXES: &[&str] = &["/openai/", "/speech", "/cognitiveservices/", "/computervision/", "/vision/"];

/// The two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V1,
    Dated,
}

/// The services, each with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    OpenAi(Family),
    Speech,
    Vision,
}

/// The paths.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    Chat(Family),
    Embeddings(Family),
    Audio(Family, Task),
    Spoken(Family),
    Pictures(Family),
    Responses,
    Models,
    FastSpeech,
    ShortSpeech,
    Synthesis,
    Voices,
    Vision,
    OldVision,
    Read,
    ReadResult,
}

pub const ROUTES: &[(&str, Door)] = &[
    ("/openai/v1/chat/completions", Door::Chat(Family::V1)),
    ("/openai/v1/responses", Door::Responses),
    ("/openai/v1/embeddings", Door::Embeddings(Family::V1)),
    ("/openai/v1/audio/transcriptions", Door::Audio(Family::V1, Task::Transcribe)),
    ("/openai/v1/audio/translations", Door::Audio(Family::V1, Task::Translate)),
    ("/openai/v1/audio/speech", Door::Spoken(Family::V1)),
    ("/openai/v1/images/generations", Door::Pictures(Family::V1)),
    ("/openai/v1/models", Door::Models),
    ("/openai/deployments/{deployment}/chat/completions", Door::Chat(Family::Dated)),
    ("/openai/deployments/{deployment}/embeddings", Door::Embeddings(Family::Dated)),
    ("/openai/deployments/{deployment}/audio/transcriptions", Door::Audio(Family::Dated, Task::Transcribe)),
    ("/openai/deployments/{deployment}/audio/translations", Door::Audio(Family::Dated, Task::Translate)),
    ("/openai/deployments/{deployment}/audio/speech", Door::Spoken(Family::Dated)),
    ("/openai/deployments/{deployment}/images/generations", Door::Pictures(Family::Dated)),
    ("/speechtotext/transcriptions:transcribe", Door::FastSpeech),
    ("/speech/recognition/conversation/cognitiveservices/v1", Door::ShortSpeech),
    ("/cognitiveservices/v1", Door::Synthesis),
    ("/cognitiveservices/voices/list", Door::Voices),
    ("/computervision/imageanalysis:analyze", Door::Vision),
    ("/vision/v3.2/analyze", Door::OldVision),
    ("/vision/v3.2/read/analyze", Door::Read),
    ("/vision/v3.2/read/analyzeResults/{id}", Door::ReadResult),
];

/// Whether an address belongs to these services.
pub fn owns(path: &str) -> bool {
    PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

impl Door {
    pub fn service(self) -> Service {
        match self {
            Door::Chat(family)
            | Door::Embeddings(family)
            | Door::Audio(family, _)
            | Door::Spoken(family)
            | Door::Pictures(family) => Service::OpenAi(family),
            Door::Responses | Door::Models => Service::OpenAi(Family::V1),
            Door::FastSpeech | Door::ShortSpeech | Door::Synthesis | Door::Voices => Service::Speech,
            Door::Vision | Door::OldVision | Door::Read | Door::ReadResult => Service::Vision,
        }
    }

    /// Behind it is no work, only something to look up.
    pub fn looks_up(self) -> bool {
        matches!(self, Door::Models | Door::Voices | Door::ReadResult)
    }

    pub fn shape(self) -> Shape {
        match self {
            Door::FastSpeech => Shape::Flat,
            Door::ShortSpeech | Door::Synthesis => Shape::Plain,
            _ => Shape::Nested,
        }
    }

    /// Under which name its requests are counted.
    pub fn label(self) -> &'static str {
        match self {
            Door::Chat(_) => "ai.chat",
            Door::Embeddings(_) => "ai.embeddings",
            Door::Audio(_, Task::Transcribe) => "ai.transcriptions",
            Door::Audio(_, Task::Translate) => "ai.translations",
            Door::Spoken(_) => "ai.speech",
            Door::Pictures(_) => "ai.images",
            Door::Responses => "ai.responses",
            Door::Models => "ai.models",
            Door::FastSpeech => "ai.speech.fast",
            Door::ShortSpeech => "ai.speech.short",
            Door::Synthesis => "ai.speech.synthesis",
            Door::Voices => "ai.speech.voices",
            Door::Vision => "ai.vision",
            Door::OldVision => "ai.vision.old",
            Door::Read => "ai.vision.read",
            Door::ReadResult => "ai.vision.read_result",
        }
    }
}
