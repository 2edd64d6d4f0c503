//! Messages in the embedded database.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::params;
use tokio::sync::Notify;

use super::{MAX_TEXT, Message, Peeked, QueueError, QueueName, Queues};
use crate::foundation::clock::Clock;
use crate::store::{Database, StoreError};

#[derive(Debug)]
pub struct EmbeddedQueues {
    database: Database,
    clock: Arc<dyn Clock>,
    bell: Arc<Notify>,
}

impl EmbeddedQueues {
    /// Takes over the queues of the database's folder. The file has one owner, so a message that is still hidden by a
    /// receipt was in the hands of a process that is gone: it is visible again at once.
    pub async fn open(database: Database, clock: Arc<dyn Clock>) -> Result<Self, QueueError> {
        let this = Self::beside(database, clock);
        let now = this.now_plus(Duration::ZERO);
        this.database
            .write(move |connection| {
                connection
                    .execute("UPDATE messages SET visible = ?1 WHERE dequeued > 0 AND visible > ?1", [now])
                    .map(drop)
                    .map_err(QueueError::from)
            })
            .await?;
        Ok(this)
    }

    /// Reads beside the server that owns the folder.
    pub fn beside(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock, bell: Arc::new(Notify::new()) }
    }

    fn now_plus(&self, wait: Duration) -> i64 {
        self.clock.now().as_microsecond().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX / 2))
    }
}

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable { message: error.to_string(), source: Some(Box::new(error)) }
    }
}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

#[async_trait]
impl Queues for EmbeddedQueues {
    async fn send(&self, queue: QueueName<'_>, text: &str, delay: Duration) -> Result<(), QueueError> {
        if text.len() > MAX_TEXT {
            return Err(QueueError::TooLarge(text.len()));
        }
        let (queue, text) = (queue.to_owned(), text.to_owned());
        let (now, visible, receipt) = (self.now_plus(Duration::ZERO), self.now_plus(delay), self.database.next_etag());
        self.database
            .write_single(move |connection| {
                connection
                    .prepare_cached("INSERT INTO messages(queue, body, inserted, visible, dequeued, receipt) VALUES(?1, ?2, ?3, ?4, 0, ?5)")?
                    .execute(params![queue, text, now, visible, receipt])
                    .map(drop)
                    .map_err(QueueError::from)
            })
            .await?;
        if delay.is_zero() {
            self.bell.notify_waiters();
        }
        Ok(())
    }

    async fn receive(&self, queue: QueueName<'_>, max: usize, hide: Duration) -> Result<Vec<Message>, QueueError> {
        let (now, hidden) = (self.now_plus(Duration::ZERO), self.now_plus(hide));
        let name = queue.to_owned();
        // Looking costs no disk write, so an idle poller does not wear the disk.
        let waiting: bool = self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT EXISTS(SELECT 1 FROM messages WHERE queue = ?1 AND visible <= ?2)")?
                    .query_row(params![name, now], |row| row.get(0))
            })
            .await?;
        if !waiting {
            return Ok(Vec::new());
        }
        let (name, database) = (queue.to_owned(), self.database.clone());
        self.database
            .write(move |connection| {
                let ids: Vec<i64> = connection
                    .prepare_cached("SELECT id FROM messages WHERE queue = ?1 AND visible <= ?2 ORDER BY visible LIMIT ?3")?
                    .query_map(params![name, now, max.clamp(1, 32) as i64], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?;
                let mut update = connection.prepare_cached(
                    "UPDATE messages SET visible = ?2, dequeued = dequeued + 1, receipt = ?3 WHERE id = ?1 RETURNING body, dequeued, receipt",
                )?;
                let received = ids.iter().map(|id| {
                    update.query_row(params![id, hidden, database.next_etag()], |row| {
                        Ok(Message { id: id.to_string(), text: row.get(0)?, dequeue_count: row.get(1)?, receipt: row.get::<_, i64>(2)?.to_string() })
                    })
                });
                received.collect::<rusqlite::Result<_>>().map_err(QueueError::from)
            })
            .await
    }

    async fn renew(&self, _queue: QueueName<'_>, message: &Message, hide: Duration) -> Result<Message, QueueError> {
        let (mut renewed, visible, receipt) = (message.clone(), self.now_plus(hide), self.database.next_etag());
        let (id, old) = key(message)?;
        self.database
            .write_single(move |connection| {
                let changed = connection
                    .prepare_cached("UPDATE messages SET visible = ?3, receipt = ?4 WHERE id = ?1 AND receipt = ?2")?
                    .execute(params![id, old, visible, receipt])?;
                if changed == 1 { Ok(()) } else { Err(QueueError::Gone) }
            })
            .await?;
        renewed.receipt = receipt.to_string();
        if hide.is_zero() {
            self.bell.notify_waiters();
        }
        Ok(renewed)
    }

    async fn delete(&self, _queue: QueueName<'_>, message: &Message) -> Result<(), QueueError> {
        let (id, receipt) = key(message)?;
        self.database
            .write_single(move |connection| {
                let changed = connection
                    .prepare_cached("DELETE FROM messages WHERE id = ?1 AND receipt = ?2")?
                    .execute(params![id, receipt])?;
                if changed == 1 { Ok(()) } else { Err(QueueError::Gone) }
            })
            .await
    }

    async fn peek(&self, queue: QueueName<'_>, max: usize) -> Result<Vec<Peeked>, QueueError> {
        let (name, now, max) = (queue.to_owned(), self.now_plus(Duration::ZERO), max.clamp(1, 32) as i64);
        let rows: Vec<(i64, String, i64, u32)> = self
            .database
            .read(move |connection| {
                connection
                    .prepare_cached("SELECT id, body, inserted, dequeued FROM messages WHERE queue = ?1 AND visible <= ?2 ORDER BY inserted, id LIMIT ?3")?
                    .query_map(params![name, now, max], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                    .collect()
            })
            .await?;
        let peeked = |(id, text, inserted, dequeue_count): (i64, String, i64, u32)| Peeked {
            id: id.to_string(),
            text,
            inserted: Timestamp::from_microsecond(inserted).unwrap_or_default(),
            dequeue_count,
        };
        Ok(rows.into_iter().map(peeked).collect())
    }

    async fn depth(&self, queue: QueueName<'_>) -> Result<usize, QueueError> {
        let name = queue.to_owned();
        let count: i64 = self
            .database
            .read(move |connection| {
                connection.query_row("SELECT COUNT(*) FROM messages WHERE queue = ?1", [name], |row| row.get(0))
            })
            .await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn bell(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.bell))
    }
}

fn key(message: &Message) -> Result<(i64, i64), QueueError> {
    match (message.id.parse(), message.receipt.parse()) {
        (Ok(id), Ok(receipt)) => Ok((id, receipt)),
        _ => Err(QueueError::Gone),
    }
}
