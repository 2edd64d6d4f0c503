//! A customer's program that calls the AI API.

use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::foundation::outbound::patient_client;
use mediagenie::identity::{KeyTerms, api_keys};
use serde_json::Value;
use uuid::Uuid;

use super::app::TestApp;

pub struct Program {
    pub http: reqwest::Client,
    pub address: String,
    pub key: String,
    /// The part of the key that is no secret.
    pub prefix: String,
}

impl Program {
    pub async fn of(app: &TestApp, subscription: Uuid) -> Self {
        Self::with(app, subscription, KeyTerms::default()).await
    }

    pub async fn with(app: &TestApp, subscription: Uuid, terms: KeyTerms) -> Self {
        let made =
            api_keys::create(&app.host.app, SubscriptionId(subscription), "test", "nobody", terms).await.unwrap();
        let (secret, key) = made.unwrap();
        Self {
            http: patient_client().unwrap(),
            address: app.address.clone(),
            key: secret.expose().to_owned(),
            prefix: key.prefix,
        }
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("{}/v1/{path}", self.address)).bearer_auth(&self.key)
    }

    pub async fn send(&self, path: &str, body: &Value) -> reqwest::Response {
        self.request(path).json(body).send().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.send(path, body).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub async fn bytes(&self, path: &str, body: &[u8], content_type: &str) -> (u16, Value) {
        let request = self.request(path).header("content-type", content_type).body(body.to_vec());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A form with a file.
    pub async fn upload(&self, path: &str, file: &[u8], name: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let part = reqwest::multipart::Part::bytes(file.to_vec()).file_name(name.to_owned());
        let mut form = reqwest::multipart::Form::new().part("file", part);
        for (name, value) in fields {
            form = form.text((*name).to_owned(), (*value).to_owned());
        }
        self.request(path).multipart(form).send().await.unwrap()
    }
}
