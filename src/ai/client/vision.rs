//! Azure AI Vision: Image Analysis 4.0 (AI services contract 3.2), 3.2 with its Read (3.3), and a chat with the image.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use serde_json::{Value, json};

use super::{AiClient, UpstreamError, header, object};
use crate::ai::model::deployments::Deployment;
use crate::ai::model::vision::{Feature, content_type, from_chat, from_old, old_features, question};

const VERSION: &str = "2024-02-01";
/// The largest image of version 3.2.
const LARGEST_OLD: usize = 4 * 1024 * 1024;
/// How often, and how long, the result of Read is asked for.
const READ_EVERY: Duration = Duration::from_secs(1);
const READ_TRIES: u32 = 60;

/// An image and what is wanted of it.
#[derive(Debug, Clone)]
pub struct Look {
    pub image: Bytes,
    pub size: (u32, u32),
    pub features: Vec<Feature>,
    /// Two letters; empty: English.
    pub language: String,
}

impl Look {
    fn language(&self) -> &str {
        if self.language.is_empty() { "en" } else { &self.language }
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl AiClient {
    /// Image Analysis 4.0.
    pub async fn look(&self, deployment: &Deployment, look: &Look) -> Result<Value, UpstreamError> {
        let features: Vec<&str> = look.features.iter().map(|feature| feature.name()).collect();
        let version = deployment.api_version.as_deref().unwrap_or(VERSION);
        let query =
            query(&[("api-version", version), ("features", &features.join(",")), ("language", look.language())]);
        let answer = self.image(deployment, &format!("computervision/imageanalysis:analyze?{query}"), look).await?;
        let answer = object(answer).await?;
        match look.features.iter().find(|feature| !answer[feature.result()].is_object()) {
            Some(missing) => Err(UpstreamError::unreadable(&format!("it has no {}", missing.result()))),
            None => Ok(answer),
        }
    }

    async fn image(
        &self,
        deployment: &Deployment,
        path: &str,
        look: &Look,
    ) -> Result<reqwest::Response, UpstreamError> {
        let request = self
            .post(format!("{}/{path}", deployment.endpoint))
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(look.image.clone());
        self.send(deployment, request).await
    }

    /// Image Analysis 3.2, and its Read.
    pub async fn look_old(&self, deployment: &Deployment, look: &Look) -> Result<Value, UpstreamError> {
        if look.image.len() > LARGEST_OLD {
            return Err(UpstreamError::Unfit("This model takes images of at most 4 MiB.".to_owned()));
        }
        let names = old_features(&look.features);
        let mut analysis = Value::Null;
        if !names.is_empty() {
            let query = query(&[("visualFeatures", &names.join(",")), ("language", look.language())]);
            analysis = object(self.image(deployment, &format!("vision/v3.2/analyze?{query}"), look).await?).await?;
        }
        let mut read = Value::Null;
        if look.features.contains(&Feature::Read) {
            read = self.read(deployment, look).await?;
        }
        Ok(from_old(&look.features, &analysis, &read, look.size))
    }

    async fn read(&self, deployment: &Deployment, look: &Look) -> Result<Value, UpstreamError> {
        let accepted = self.image(deployment, "vision/v3.2/read/analyze", look).await?;
        let place = header(&accepted, HeaderName::from_static("operation-location"));
        // The key goes with each question, so the answer must not choose who gets it.
        let id = place
            .rsplit('/')
            .next()
            .filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let id = id.ok_or_else(|| UpstreamError::unreadable("it names no operation"))?;
        let address = format!("{}/vision/v3.2/read/analyzeResults/{id}", deployment.endpoint);
        for _ in 0..READ_TRIES {
            let result = object(self.send(deployment, self.http.get(&address)).await?).await?;
            match result["status"].as_str() {
                Some("succeeded") => return Ok(result),
                Some("notStarted" | "running") => tokio::time::sleep(READ_EVERY).await,
                _ => break,
            }
        }
        Err(UpstreamError::Passing { status: None, wait: None, message: "reading the image failed".to_owned() })
    }

    /// A chat model that looks at the image; boxes are beyond it.
    pub async fn look_by_chat(&self, deployment: &Deployment, look: &Look) -> Result<Value, UpstreamError> {
        if let Some(feature) =
            look.features.iter().find(|feature| matches!(feature, Feature::Objects | Feature::People))
        {
            return Err(UpstreamError::Unfit(format!("This model does not find {}.", feature.name())));
        }
        let data = format!("data:{};base64,{}", content_type(&look.image), STANDARD.encode(&look.image));
        let mut body = question(&look.features, look.language());
        if let Some(content) = body["messages"][0]["content"].as_array_mut() {
            content.push(json!({ "type": "image_url", "image_url": { "url": data } }));
        }
        body["model"] = deployment.deployment.clone().into();
        let answer = object(self.json(deployment, &body).await?).await?;
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        let found = serde_json::from_str(text).unwrap_or_default();
        from_chat(&look.features, &found, &deployment.model, look.size)
            .ok_or_else(|| UpstreamError::unreadable("the model did not keep to the form"))
    }
}
