//! The doors: every address of the simulated AI services, which service is behind it, how that refuses, and under which
//! name its requests are counted.

use http::Method;

use super::batches::Batch;
use super::refusal::Shape;
use super::transcript::Task;

/// How the addresses of these services begin. Among them are `/speechtotext/`, `/speech/` and `/speechresults/`.
const PREFIXES: &[&str] =
    &["/openai/", "/speech", "/texttospeech/", "/cognitiveservices/", "/computervision/", "/vision/"];

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
    /// Where results lie. It knows no key: the addresses are some.
    Storage,
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
    BatchSubmit,
    Batches,
    Batch,
    BatchFiles,
    BatchSynthesis,
    BatchSyntheses,
    BatchResult,
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
    ("/speechtotext/transcriptions:submit", Door::BatchSubmit),
    ("/speechtotext/transcriptions", Door::Batches),
    ("/speechtotext/transcriptions/{id}", Door::Batch),
    ("/speechtotext/transcriptions/{id}/files", Door::BatchFiles),
    ("/texttospeech/batchsyntheses", Door::BatchSyntheses),
    ("/texttospeech/batchsyntheses/{id}", Door::BatchSynthesis),
    ("/speechresults/{service}/{id}/{name}", Door::BatchResult),
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
            Door::FastSpeech
            | Door::ShortSpeech
            | Door::Synthesis
            | Door::Voices
            | Door::BatchSubmit
            | Door::Batches
            | Door::Batch
            | Door::BatchFiles
            | Door::BatchSynthesis
            | Door::BatchSyntheses => Service::Speech,
            Door::BatchResult => Service::Storage,
            Door::Vision | Door::OldVision | Door::Read | Door::ReadResult => Service::Vision,
        }
    }

    /// What may be done here.
    pub fn takes(self, method: &Method) -> bool {
        match self {
            Door::Models | Door::Voices | Door::ReadResult => *method == Method::GET,
            Door::Batches | Door::BatchFiles | Door::BatchSyntheses | Door::BatchResult => *method == Method::GET,
            Door::Batch => [Method::GET, Method::DELETE].contains(method),
            Door::BatchSynthesis => [Method::PUT, Method::GET, Method::DELETE].contains(method),
            _ => *method == Method::POST,
        }
    }

    /// Whose limit on requests holds here.
    pub fn batch(self) -> Option<Batch> {
        match self {
            Door::BatchSubmit | Door::Batches | Door::Batch | Door::BatchFiles => Some(Batch::Transcription),
            Door::BatchSynthesis | Door::BatchSyntheses => Some(Batch::Synthesis),
            _ => None,
        }
    }

    /// Behind it is no work, only something to look up. Looks at batch jobs are not meant: who does batches must bear
    /// that one of them fails.
    pub fn looks_up(self) -> bool {
        matches!(self, Door::Models | Door::Voices | Door::ReadResult)
    }

    pub fn shape(self) -> Shape {
        match self {
            Door::FastSpeech | Door::BatchSubmit | Door::Batches | Door::Batch | Door::BatchFiles => Shape::Flat,
            Door::ShortSpeech | Door::Synthesis | Door::BatchResult => Shape::Plain,
            _ => Shape::Nested,
        }
    }

    /// Under which name its requests are counted.
    pub fn label(self, method: &Method) -> &'static str {
        match self {
            Door::Batch if *method == Method::DELETE => "ai.speech.batch.delete",
            Door::BatchSynthesis if *method == Method::PUT => "ai.speech.batch_synthesis.create",
            Door::BatchSynthesis if *method == Method::DELETE => "ai.speech.batch_synthesis.delete",
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
            Door::BatchSubmit => "ai.speech.batch.submit",
            Door::Batches => "ai.speech.batch.list",
            Door::Batch => "ai.speech.batch",
            Door::BatchFiles => "ai.speech.batch.files",
            Door::BatchSynthesis => "ai.speech.batch_synthesis",
            Door::BatchSyntheses => "ai.speech.batch_synthesis.list",
            Door::BatchResult => "ai.speech.batch.result",
            Door::Vision => "ai.vision",
            Door::OldVision => "ai.vision.old",
            Door::Read => "ai.vision.read",
            Door::ReadResult => "ai.vision.read_result",
        }
    }
}
