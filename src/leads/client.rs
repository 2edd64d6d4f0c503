//! Microsoft's table of leads (marketplace contract 7.2), read as it is: its columns are not promised.

use azure_data_tables::clients::{TableClient, TableServiceClientBuilder};
use azure_data_tables::prelude::Filter;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::foundation::azure_account::{AzureAccount, failure};

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("the table service answered {status} {code}")]
    Refused { status: u16, code: String },
    /// The cause is left out: it may hold an address with a signature.
    #[error("the table service can not be reached")]
    Unreachable,
}

/// A row as Microsoft wrote it, without what the protocol adds.
#[derive(Debug, Clone)]
pub struct TableRow {
    pub partition: String,
    pub row: String,
    /// When it was written, by the service's clock.
    pub at: Option<Timestamp>,
    pub fields: Map<String, Value>,
}

pub struct LeadTable {
    name: String,
    table: TableClient,
}

impl std::fmt::Debug for LeadTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeadTable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LeadTable {
    pub fn new(account: &AzureAccount, name: &str) -> Self {
        let service = TableServiceClientBuilder::with_location(account.tables(), account.credentials())
            .client_options(account.options())
            .build();
        Self { name: name.to_owned(), table: service.table_client(name) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// All rows that were written then or later, page by page. A table that Microsoft has not made yet is empty.
    pub fn pages(&self, since: Option<Timestamp>) -> impl Stream<Item = Result<Vec<TableRow>, TableError>> + Send {
        let mut query = self.table.query();
        // Whole seconds: the service knows seven decimals and we have nine.
        if let Some(since) = since.and_then(|since| Timestamp::from_second(since.as_second()).ok()) {
            query = query.filter(Filter::new(format!("Timestamp ge datetime'{since}'")));
        }
        query.into_stream::<Map<String, Value>>().filter_map(|page| async {
            match page {
                Ok(page) => Some(Ok(page.entities.into_iter().filter_map(row).collect())),
                Err(error) => match failure(&error) {
                    Some((404, _)) => None,
                    Some((status, code)) => Some(Err(TableError::Refused { status, code: code.to_owned() })),
                    None => Some(Err(TableError::Unreachable)),
                },
            }
        })
    }
}

fn row(mut fields: Map<String, Value>) -> Option<TableRow> {
    fields.retain(|name, _| !name.contains("odata."));
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let at = text("Timestamp").and_then(|text| text.parse().ok());
    Some(TableRow { partition: text("PartitionKey")?, row: text("RowKey")?, at, fields })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_keeps_what_microsoft_wrote_and_nothing_else() {
        let entity = json!({
            "odata.etag": "W/1", "odata.type": "x", "PartitionKey": "", "RowKey": "r", "Timestamp": "2026-03-02T09:00:00.1234567Z",
            "Timestamp@odata.type": "Edm.DateTime", "CustomerInfo": "{}",
        });
        let Value::Object(entity) = entity else { panic!() };
        let row = row(entity).unwrap();
        assert_eq!((row.partition.as_str(), row.row.as_str()), ("", "r"));
        assert_eq!(row.at.map(|at| at.as_second()), Some(1_772_442_000));
        assert_eq!(row.fields.keys().collect::<Vec<_>>(), ["CustomerInfo", "PartitionKey", "RowKey", "Timestamp"]);
    }
}
