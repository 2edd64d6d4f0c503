//! A door before the row store, where a test stops or fails one chosen write.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mediagenie::store::{Etag, Page, Row, RowRange, RowStore, StoreError, Table, Write};
use tokio::sync::Notify;

/// What happens to the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It waits until [`Gate::open`].
    Stop,
    /// It is not done, and fails as if the store were away.
    Fail,
}

type Rule = (Act, Box<dyn Fn(Table, &[Write]) -> bool + Send>);

pub struct Gate {
    inner: Arc<dyn RowStore>,
    rule: Mutex<Option<Rule>>,
    arrived: Notify,
    go: Notify,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    pub fn before(inner: Arc<dyn RowStore>) -> Arc<Self> {
        Arc::new(Self { inner, rule: Mutex::default(), arrived: Notify::new(), go: Notify::new() })
    }

    /// The next write that `which` admits meets `act`; later ones pass.
    pub fn next(&self, act: Act, which: impl Fn(Table, &[Write]) -> bool + Send + 'static) {
        *self.rule.lock().unwrap() = Some((act, Box::new(which)));
    }

    /// Waits until the stopped write has arrived.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// No write is stopped or fails from now on.
    pub fn disarm(&self) {
        *self.rule.lock().unwrap() = None;
    }

    /// Lets the stopped write go on.
    pub fn open(&self) {
        self.go.notify_one();
    }
}

#[async_trait]
impl RowStore for Gate {
    async fn get(&self, table: Table, partition: &str, key: &str) -> Result<Option<Row>, StoreError> {
        self.inner.get(table, partition, key).await
    }

    async fn query(&self, table: Table, partition: &str, range: &RowRange, limit: usize) -> Result<Page, StoreError> {
        self.inner.query(table, partition, range, limit).await
    }

    async fn write(&self, table: Table, partition: &str, writes: Vec<Write>) -> Result<Vec<Etag>, StoreError> {
        let act = {
            let mut rule = self.rule.lock().unwrap();
            let hit = rule.as_ref().is_some_and(|(_, which)| which(table, &writes));
            if hit { rule.take().map(|(act, _)| act) } else { None }
        };
        match act {
            Some(Act::Fail) => return Err(StoreError::unavailable("a test")),
            Some(Act::Stop) => {
                self.arrived.notify_one();
                self.go.notified().await;
            }
            None => {}
        }
        self.inner.write(table, partition, writes).await
    }

    async fn forget(&self) -> Result<(), StoreError> {
        self.inner.forget().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}
