//! How a product reaches the simulated AI services: addresses, keys, models, and a whole file of deployments.

use serde::Serialize;
use serde_json::{Value, json};

/// The values by which a product reaches the simulated AI services.
#[derive(Debug, Clone, Serialize)]
pub struct AiConfig {
    /// Of the v1 family: the model is named in the body.
    pub base_url: String,
    /// Of the dated family: `/deployments/{name}/...?api-version=...` follows.
    pub dated_base_url: String,
    pub api_key: String,
    pub chat_model: String,
    pub embedding_model: String,
    /// Transcribes and translates, in all formats; usage is not told.
    pub whisper_model: String,
    /// Transcribes, in JSON only; usage is told in tokens.
    pub transcribe_model: String,
    pub speech_model: String,
    pub image_model: String,
    /// Of Azure Speech and Azure AI Vision, whose paths follow.
    pub azure_url: String,
    pub speech_key: String,
    pub vision_key: String,
}

impl AiConfig {
    /// A file of deployments over all that is simulated, with costs that are as invented as the answers.
    pub fn deployments(&self) -> Value {
        let tokens = json!({ "input": "chat_tokens", "output": "chat_tokens" });
        let audio = json!({ "audio_ms": "speech_to_text_ms" });
        let spoken = json!({ "characters": "spoken_characters" });
        let looked = json!({ "transactions": "vision_transactions" });
        let openai = |model: &str, kind: &str, deployment: &str, meters: &Value| json!({ "model": model, "kind": kind, "endpoint": self.base_url, "deployment": deployment, "meters": meters });
        let azure = |model: &str, kind: &str, provider: &str, priority: u32, meters: &Value| json!({ "model": model, "kind": kind, "provider": provider, "endpoint": self.azure_url, "priority": priority, "meters": meters });
        let mut west = openai("chat-pool", "chat", &format!("{}-west", self.chat_model), &tokens);
        west["endpoint"] = self.dated_base_url.clone().into();
        west["path"] = "dated".into();
        west["api_version"] = "2024-10-21".into();
        west["priority"] = 1.into();
        let mut list = vec![
            openai("chat", "chat", &self.chat_model, &tokens),
            // The same behind two deployments, the second of which is the fallback.
            openai("chat-pool", "chat", &self.chat_model, &tokens),
            west,
            openai("chat", "responses", &self.chat_model, &tokens),
            openai("embed", "embeddings", &self.embedding_model, &json!({ "input": "chat_tokens" })),
            openai("transcribe", "transcription", &self.whisper_model, &audio),
            openai("transcribe", "translation", &self.whisper_model, &audio),
            azure("transcribe", "transcription", "azure_speech", 1, &audio),
            azure("transcribe", "batch_transcription", "azure_speech", 0, &audio),
            azure("transcribe-fast", "transcription", "azure_speech", 0, &audio),
            azure("transcribe-fast", "translation", "azure_speech", 0, &audio),
            azure("transcribe-short", "transcription", "azure_speech_short", 0, &audio),
            openai("speech", "speech", &self.speech_model, &spoken),
            azure("speech-azure", "speech", "azure_speech", 0, &spoken),
            openai("image", "image", &self.image_model, &json!({ "images": "generated_images" })),
            azure("vision", "vision", "azure_vision", 0, &looked),
            azure("vision", "vision", "azure_vision_v3", 1, &looked),
            azure("vision-old", "vision", "azure_vision_v3", 0, &looked),
        ];
        for entry in &mut list {
            entry["cost"] = entry["kind"].as_str().map(|kind| if kind == "responses" { "chat" } else { kind }).into();
        }
        let price = |per: u64, price: &str| json!({ "per": per, "price": price });
        let since = |prices: Value| json!([{ "from": "2026-01-01", "prices": prices }]);
        json!({ "deployments": list, "storage": "stored_byte_hours", "costs": {
            "chat": since(json!({ "input": price(1_000_000, "2"), "cached_input": price(1_000_000, "0.5"), "output": price(1_000_000, "8") })),
            "embeddings": since(json!({ "input": price(1_000_000, "0.13") })),
            "transcription": since(json!({ "audio_ms": price(3_600_000, "0.36") })),
            "batch_transcription": since(json!({ "audio_ms": price(3_600_000, "0.18") })),
            "translation": since(json!({ "audio_ms": price(3_600_000, "0.36") })),
            "speech": since(json!({ "characters": price(1_000_000, "15") })),
            "image": since(json!({ "images": price(1, "0.02") })),
            "vision": since(json!({ "transactions": price(1_000, "1") })),
        } })
    }
}
