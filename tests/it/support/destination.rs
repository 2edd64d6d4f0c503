//! A system of sales that answers as a test says and remembers what it was told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mediagenie::leads::Lead;
use mediagenie::leads::destinations::{Configured, DeliveryError, Destination, Kind, Receipt};
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Inner {
    told: Mutex<Vec<(Lead, Option<Receipt>)>>,
    next: Mutex<VecDeque<DeliveryError>>,
    always: Mutex<Option<DeliveryError>>,
    /// Set: the next delivery waits.
    waits: Mutex<bool>,
    arrived: Notify,
    go: Notify,
}

#[derive(Debug, Clone, Default)]
pub struct Stub(Arc<Inner>);

pub fn later(after: Option<u64>) -> DeliveryError {
    DeliveryError::Later { said: "busy".into(), after: after.map(Duration::from_secs) }
}

impl Stub {
    pub const NAME: &str = "the CRM";

    pub fn configured(&self) -> Configured {
        Configured {
            name: Self::NAME.into(),
            kind: Kind::Webhook,
            offers: Vec::new(),
            destination: Box::new(self.clone()),
        }
    }

    /// The next delivery fails like this; later ones succeed.
    pub fn fail(&self, error: DeliveryError) {
        self.0.next.lock().unwrap().push_back(error);
    }

    pub fn always(&self, error: Option<DeliveryError>) {
        *self.0.always.lock().unwrap() = error;
    }

    /// What it was told since the last time.
    pub fn take(&self) -> Vec<(Lead, Option<Receipt>)> {
        std::mem::take(&mut *self.0.told.lock().unwrap())
    }

    /// Lets the next delivery wait until [`Stub::go`].
    pub fn wait(&self) {
        *self.0.waits.lock().unwrap() = true;
    }

    pub async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    pub fn go(&self) {
        self.0.go.notify_one();
    }
}

#[async_trait]
impl Destination for Stub {
    async fn deliver(&self, lead: &Lead, before: Option<&Receipt>) -> Result<Receipt, DeliveryError> {
        self.0.told.lock().unwrap().push((lead.clone(), before.cloned()));
        let waits = std::mem::take(&mut *self.0.waits.lock().unwrap());
        if waits {
            self.0.arrived.notify_one();
            self.0.go.notified().await;
        }
        let failure = self.0.next.lock().unwrap().pop_front().or_else(|| self.0.always.lock().unwrap().clone());
        match failure {
            Some(error) => Err(error),
            None => Ok(Receipt { id: format!("crm-{}", lead.id), link: None }),
        }
    }
}
