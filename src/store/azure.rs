//! Rows in Azure Table Storage. A row's body is cut into string properties `D0`, `D1`, ... because one property holds
//! 32,768 UTF-16 units at most; `W` marks the write that made the row, so that a retried write recognises its own
//! success. Tables are made when first missed.

use std::sync::Arc;

use async_trait::async_trait;
use azure_data_tables::clients::{TableClient, TableServiceClient, TableServiceClientBuilder};
use azure_data_tables::prelude::{Filter, IfMatchCondition, Top};
use futures_util::StreamExt;
use serde_json::{Map, Value};

use super::{Etag, Page, Row, RowRange, RowStore, StoreError, Table, Write, check_key, check_range, check_writes};
use crate::foundation::azure_account::{AzureAccount, failure};
use crate::foundation::rng::Random;

/// UTF-16 units in one property, a little under Azure's limit.
const PIECE: usize = 32_000;

#[derive(Debug)]
pub struct AzureRows {
    service: TableServiceClient,
    random: Arc<dyn Random>,
}

impl AzureRows {
    pub fn new(account: &AzureAccount, random: Arc<dyn Random>) -> Self {
        let service = TableServiceClientBuilder::with_location(account.tables(), account.credentials())
            .client_options(account.options())
            .build();
        Self { service, random }
    }

    fn table(&self, table: Table) -> TableClient {
        self.service.table_client(table.0)
    }

    async fn create(&self, table: Table) -> Result<(), StoreError> {
        match self.table(table).create().await {
            Ok(_) => Ok(()),
            Err(error) if failure(&error).is_some_and(|(status, _)| status == 409) => Ok(()),
            Err(error) => Err(translate(error)),
        }
    }

    async fn write_once(
        &self,
        table: Table,
        partition: &str,
        writes: &[Write],
        mark: &str,
    ) -> Result<Vec<Etag>, Failed> {
        if let [write] = writes {
            self.write_single(table, partition, write, mark).await.map(|etag| vec![etag])
        } else {
            self.write_batch(table, partition, writes, mark).await
        }
    }

    async fn write_single(&self, table: Table, partition: &str, write: &Write, mark: &str) -> Result<Etag, Failed> {
        let client = self.table(table);
        let entity = client.partition_key_client(partition).entity_client(write.key());
        let etag = match write {
            Write::Insert { key, body } => {
                let row = client.insert::<_, Value>(to_entity(partition, key, body, mark))?.return_entity(true).await?;
                row.etag.to_string()
            }
            Write::Upsert { key, body } => {
                entity.insert_or_replace(to_entity(partition, key, body, mark))?.await?.etag.to_string()
            }
            Write::Replace { key, body, etag } => {
                entity.update(to_entity(partition, key, body, mark), condition(etag))?.await?.etag.to_string()
            }
            Write::Delete { etag, .. } => {
                let result = entity.delete().if_match(etag.as_ref().map_or(IfMatchCondition::Any, condition)).await;
                match result {
                    Ok(_) => {}
                    Err(error)
                        if etag.is_none()
                            && failure(&error)
                                .is_some_and(|(status, code)| status == 404 && code != "TableNotFound") => {}
                    Err(error) => return Err(error.into()),
                }
                String::new()
            }
        };
        Ok(Etag(etag))
    }

    async fn write_batch(
        &self,
        table: Table,
        partition: &str,
        writes: &[Write],
        mark: &str,
    ) -> Result<Vec<Etag>, Failed> {
        let mut batch = self.table(table).partition_key_client(partition).transaction();
        for write in writes {
            batch = match write {
                Write::Insert { key, body } => batch.insert(to_entity(partition, key, body, mark))?,
                Write::Upsert { key, body } => batch.insert_or_replace(key, to_entity(partition, key, body, mark))?,
                Write::Replace { key, body, etag } => {
                    batch.update(key, to_entity(partition, key, body, mark), Some(condition(etag)))?
                }
                Write::Delete { key, etag } => batch.delete(key, etag.as_ref().map(condition))?,
            };
        }
        let answer = batch.await?;
        // A refused batch is answered 202 with the refusal inside: nothing was written.
        if let Some(refused) = answer.operation_responses.iter().find(|response| !response.status_code.is_success()) {
            return Err(Failed::Batch(refused.status_code.into()));
        }
        if answer.operation_responses.len() != writes.len() {
            return Err(Failed::Batch(503));
        }
        Ok(answer
            .operation_responses
            .into_iter()
            .map(|r| Etag(r.etag.map(|e| e.to_string()).unwrap_or_default()))
            .collect())
    }

    /// Whether a refused write was our own earlier try: then the row carries our mark.
    async fn own_success(
        &self,
        table: Table,
        partition: &str,
        writes: &[Write],
        mark: &str,
    ) -> Result<Option<Vec<Etag>>, StoreError> {
        let mut etags = Vec::with_capacity(writes.len());
        for write in writes {
            if matches!(write, Write::Delete { .. }) {
                etags.push(Etag(String::new()));
                continue;
            }
            match self.read(table, partition, write.key()).await? {
                Some((row, found)) if found == mark => etags.push(row.etag),
                _ => return Ok(None),
            }
        }
        let all_deletes = writes.iter().all(|write| matches!(write, Write::Delete { .. }));
        Ok(if all_deletes { None } else { Some(etags) })
    }

    async fn read(&self, table: Table, partition: &str, key: &str) -> Result<Option<(Row, String)>, StoreError> {
        let answer =
            self.table(table).partition_key_client(partition).entity_client(key).get::<Map<String, Value>>().await;
        match answer {
            Ok(answer) => {
                let mark = text(&answer.entity, "W").to_owned();
                Ok(Some((from_entity(&answer.entity, Some(answer.etag.to_string()))?, mark)))
            }
            Err(error) if failure(&error).is_some_and(|(status, _)| status == 404) => Ok(None),
            Err(error) => Err(translate(error)),
        }
    }
}

#[async_trait]
impl RowStore for AzureRows {
    async fn get(&self, table: Table, partition: &str, key: &str) -> Result<Option<Row>, StoreError> {
        check_key(partition)?;
        check_key(key)?;
        Ok(self.read(table, partition, key).await?.map(|(row, _)| row))
    }

    async fn query(&self, table: Table, partition: &str, range: &RowRange, limit: usize) -> Result<Page, StoreError> {
        check_key(partition)?;
        check_range(range)?;
        let limit = limit.clamp(1, 1000);
        let mut filter = format!("PartitionKey eq '{partition}' and RowKey ge '{}'", range.from);
        if let Some(to) = &range.to {
            filter.push_str(&format!(" and RowKey lt '{to}'"));
        }
        let top = u32::try_from(limit + 1).unwrap_or(1000).min(1000);
        let mut pages = self
            .table(table)
            .query()
            .filter(Filter::new(filter))
            .top(Top::new(top))
            .into_stream::<Map<String, Value>>();
        let mut rows = Vec::new();
        // An answer may hold fewer rows than asked for, even none, and still be continued.
        while rows.len() <= limit
            && let Some(page) = pages.next().await
        {
            match page {
                Ok(page) => {
                    for entity in &page.entities {
                        rows.push(from_entity(entity, None)?);
                    }
                }
                Err(error) if failure(&error).is_some_and(|(status, _)| status == 404) => break,
                Err(error) => return Err(translate(error)),
            }
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok(Page { rows, more })
    }

    async fn write(&self, table: Table, partition: &str, writes: Vec<Write>) -> Result<Vec<Etag>, StoreError> {
        check_writes(partition, &writes)?;
        let mark = self.random.token();
        let mut result = self.write_once(table, partition, &writes, &mark).await;
        if result.as_ref().is_err_and(Failed::table_is_missing) {
            self.create(table).await?;
            result = self.write_once(table, partition, &writes, &mark).await;
        }
        let error = match result {
            Ok(etags) => return Ok(etags),
            Err(Failed::Batch(404)) => StoreError::Precondition,
            Err(Failed::Batch(status)) => {
                from_status(status, StoreError::unavailable(format!("storage answered {status} to a batch")))
            }
            Err(Failed::Call(error)) => translate(error),
        };
        let refused = match error {
            StoreError::AlreadyExists | StoreError::Precondition => error,
            // A batch that met a key twice or a conflict may hide which: an insert that failed is told as such.
            other => return Err(other),
        };
        let refused = if writes.len() > 1 && matches!(refused, StoreError::AlreadyExists) || writes.len() == 1 {
            refused
        } else {
            StoreError::Precondition
        };
        Ok(match self.own_success(table, partition, &writes, &mark).await? {
            Some(etags) => etags,
            None => return Err(refused),
        })
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.read(Table("Health"), "none", "none").await.map(drop)
    }
}

enum Failed {
    Call(azure_core::Error),
    /// The status inside a refused batch.
    Batch(u16),
}

impl From<azure_core::Error> for Failed {
    fn from(error: azure_core::Error) -> Self {
        Self::Call(error)
    }
}

impl Failed {
    fn table_is_missing(&self) -> bool {
        match self {
            Self::Call(error) => failure(error)
                .is_some_and(|(status, code)| status == 404 && (code == "TableNotFound" || code.is_empty())),
            // Inside a batch a missing table and a missing row look alike; making the table again does no harm.
            Self::Batch(status) => *status == 404,
        }
    }
}

fn condition(etag: &Etag) -> IfMatchCondition {
    IfMatchCondition::Etag(etag.0.clone().into())
}

fn translate(error: azure_core::Error) -> StoreError {
    let status = failure(&error).map(|(status, _)| status);
    let unavailable = StoreError::Unavailable {
        message: "Azure Table Storage did not do the call".into(),
        source: Some(Box::new(error)),
    };
    status.map_or_else(
        || StoreError::unavailable("Azure Table Storage can not be reached"),
        |status| from_status(status, unavailable),
    )
}

fn from_status(status: u16, other: StoreError) -> StoreError {
    match status {
        409 => StoreError::AlreadyExists,
        404 | 412 => StoreError::Precondition,
        _ => other,
    }
}

fn to_entity(partition: &str, key: &str, body: &str, mark: &str) -> Value {
    let mut entity = Map::new();
    entity.insert("PartitionKey".into(), partition.into());
    entity.insert("RowKey".into(), key.into());
    entity.insert("W".into(), mark.into());
    for (number, piece) in pieces(body).enumerate() {
        entity.insert(format!("D{number}"), piece.into());
    }
    Value::Object(entity)
}

/// Cuts a text into parts of at most [`PIECE`] UTF-16 units, never inside a character.
fn pieces(body: &str) -> impl Iterator<Item = &str> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut units = 0;
        let end = rest.char_indices().find(|(_, c)| {
            units += c.len_utf16();
            units > PIECE
        });
        let (piece, tail) = rest.split_at(end.map_or(rest.len(), |(index, _)| index));
        rest = tail;
        Some(piece)
    })
}

fn text<'a>(entity: &'a Map<String, Value>, name: &str) -> &'a str {
    entity.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn from_entity(entity: &Map<String, Value>, etag: Option<String>) -> Result<Row, StoreError> {
    let key = text(entity, "RowKey").to_owned();
    let etag = etag.unwrap_or_else(|| text(entity, "odata.etag").to_owned());
    if key.is_empty() || etag.is_empty() {
        return Err(StoreError::Corrupt(format!("{key}: without key or ETag")));
    }
    let mut body = String::new();
    for number in 0.. {
        match entity.get(&format!("D{number}")).and_then(Value::as_str) {
            Some(piece) => body.push_str(piece),
            None => break,
        }
    }
    Ok(Row { key, etag: Etag(etag), body })
}
