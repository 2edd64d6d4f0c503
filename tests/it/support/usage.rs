//! The publisher's own system, which posts usage through the public interface.

use mediagenie::foundation::outbound::client;
use mediagenie::metering::model::quantity::Quantity;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{PUBLISHER_KEY, TestApp};

impl TestApp {
    async fn api(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(PUBLISHER_KEY).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub async fn post_usage(&self, body: &Value) -> (u16, Value) {
        self.api(client().unwrap().post(self.url("/api/usage")).json(body)).await
    }

    pub async fn post_api(&self, path: &str, body: &Value) -> (u16, Value) {
        self.api(client().unwrap().post(self.url(path)).json(body)).await
    }

    pub async fn get_api(&self, path: &str) -> (u16, Value) {
        self.api(client().unwrap().get(self.url(path))).await
    }

    /// What the ledger has of a dimension in the current period, as text.
    pub async fn recorded_of(&self, subscription: Uuid, dimension: &str) -> String {
        let (status, answer) = self.get_api(&format!("/api/usage/resources/{subscription}")).await;
        if status == 404 {
            return "0".to_owned();
        }
        let dimensions = answer["usage"]["periods"][0]["dimensions"].as_array().unwrap().clone();
        let found = dimensions.iter().find(|entry| entry["dimension"] == dimension);
        found.map_or_else(|| "0".to_owned(), |found| found["balance"]["recorded"].as_str().unwrap().to_owned())
    }

    pub async fn post_csv(&self, query: &str, body: Vec<u8>) -> (u16, Value) {
        self.api(client().unwrap().post(self.url(&format!("/api/usage/csv{query}"))).body(body)).await
    }

    /// Records one quantity that must be taken.
    pub async fn use_up(&self, subscription: Uuid, id: &str, dimension: &str, quantity: &str) {
        let body = json!({ "id": id, "subscription": subscription, "dimension": dimension, "quantity": quantity });
        let (status, answer) = self.post_usage(&body).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// The balance of a dimension in the current (or else the newest) period, as texts by name.
    pub async fn balance(&self, subscription: Uuid, dimension: &str) -> Value {
        let (status, answer) = self.get_api(&format!("/api/usage/resources/{subscription}")).await;
        assert_eq!(status, 200, "{answer}");
        let periods = answer["usage"]["periods"].as_array().unwrap();
        let dimensions = periods[0]["dimensions"].as_array().unwrap();
        dimensions.iter().find(|entry| entry["dimension"] == dimension).unwrap()["balance"].clone()
    }

    /// Everything that Microsoft has booked, in order of booking: dimension, hour, plan and quantity.
    pub fn booked(&self) -> Vec<(String, String, String, String)> {
        let book = self.simulator.usage_book();
        book.iter()
            .map(|b| (b.dimension.clone(), b.hour.to_string(), b.plan.clone(), Quantity(b.quantity).to_string()))
            .collect()
    }
}

/// A balance as it is expected: recorded, included, accepted, pending, held, lost.
pub fn balance(values: [&str; 6]) -> Value {
    let [recorded, included, accepted, pending, held, lost] = values;
    json!({ "recorded": recorded, "included": included, "accepted": accepted, "pending": pending, "held": held, "lost": lost })
}
