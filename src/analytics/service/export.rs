//! Answers as bytes: CSV, JSON lines, or a page of JSON. Numbers keep every digit; rows go out as they are read.

use std::io::Write as _;

use bytes::Bytes;
use csv::StringRecord;
use tokio::sync::mpsc;

use super::AnalyticsError;
use super::answers::Answer;
use crate::analytics::model::datasets::Kind;
use crate::analytics::model::query::Filter;
use crate::analytics::model::value;
use crate::foundation::sheet;
use crate::foundation::web::Body;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180 with a header. `for_people`: texts that a spreadsheet would take for formulas are defused.
    Csv { for_people: bool },
    /// One JSON object in a line.
    JsonLines,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv { .. } => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/x-ndjson",
        }
    }
}

/// Which rows go out, and how many of their columns: what only the filter looks at comes last.
#[derive(Debug)]
pub struct Chosen {
    pub filter: Option<Filter>,
    pub shown: usize,
}

impl Chosen {
    pub fn all(columns: usize) -> Self {
        Self { filter: None, shown: columns }
    }

    /// The row as it goes out, if it does.
    pub fn take(&self, mut row: StringRecord) -> Option<StringRecord> {
        if let Some(filter) = &self.filter
            && !filter.admits(&row.iter().collect::<Vec<_>>())
        {
            return None;
        }
        row.truncate(self.shown);
        Some(row)
    }
}

/// A JSON object with the cells of a row; nothing is null, numbers and truth values are themselves.
pub fn object(columns: &[(String, Kind)], row: &StringRecord, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, ((name, kind), cell)) in columns.iter().zip(row).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        text(name, out);
        out.push(b':');
        let bare = match kind {
            _ if cell.is_empty() => Some("null"),
            // Canonical decimals are JSON's numbers.
            Kind::Integer | Kind::Decimal => {
                // What could not be read stands as it came.
                let mut read = String::new();
                let fine = value::canonical(*kind, cell, &mut read) == value::Read::Fine && read == cell;
                fine.then_some(cell)
            }
            Kind::Boolean => matches!(cell, "true" | "false").then_some(cell),
            Kind::Text | Kind::Date | Kind::Timestamp => None,
        };
        match bare {
            Some(bare) => out.extend_from_slice(bare.as_bytes()),
            None => text(cell, out),
        }
    }
    out.push(b'}');
}

fn text(text: &str, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _ = serde_json::to_writer(out, text);
}

/// A header line, where the format has one.
fn head(format: Format, columns: &[(String, Kind)]) -> Vec<u8> {
    match format {
        Format::Csv { .. } => {
            let names: StringRecord = columns.iter().map(|(name, _)| name.as_str()).collect();
            csv_lines(std::iter::once(names))
        }
        Format::JsonLines => Vec::new(),
    }
}

fn csv_lines(rows: impl Iterator<Item = StringRecord>) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Writing to a vector does not fail.
        let _ = writer.write_record(&row);
    }
    writer.into_inner().unwrap_or_default()
}

fn lines(format: Format, columns: &[(String, Kind)], rows: &[StringRecord]) -> Vec<u8> {
    match format {
        Format::Csv { for_people: false } => csv_lines(rows.iter().cloned()),
        Format::Csv { for_people: true } => csv_lines(rows.iter().map(|row| {
            let cell = |((_, kind), cell): (&(String, Kind), &str)| {
                if *kind == Kind::Text { sheet::cell(cell) } else { cell.to_owned() }
            };
            columns.iter().zip(row).map(cell).collect()
        })),
        Format::JsonLines => {
            let mut out = Vec::new();
            for row in rows {
                object(columns, row, &mut out);
                let _ = out.write_all(b"\n");
            }
            out
        }
    }
}

/// A table that is there as a whole.
pub fn whole(format: Format, columns: &[(String, Kind)], rows: &[StringRecord]) -> Vec<u8> {
    let mut out = head(format, columns);
    out.extend(lines(format, columns, rows));
    out
}

/// All rows that are chosen, as they are read. Where that fails in the middle, the connection breaks, so that nobody takes a
/// part for the whole.
pub fn stream(mut answer: Answer, format: Format, chosen: Chosen) -> Body {
    let (sender, mut receiver) = mpsc::channel::<Result<Option<Bytes>, AnalyticsError>>(4);
    tokio::spawn(async move {
        let columns = answer.columns()[..chosen.shown].to_vec();
        if sender.send(Ok(Some(head(format, &columns).into()))).await.is_err() {
            return;
        }
        loop {
            let piece = match answer.next().await {
                Ok(Some(rows)) => {
                    let rows: Vec<_> = rows.into_iter().filter_map(|row| chosen.take(row)).collect();
                    Ok(Some(Bytes::from(lines(format, &columns, &rows))))
                }
                Ok(None) => Ok(None),
                Err(error) => {
                    tracing::warn!(%error, "an answer broke off");
                    Err(error)
                }
            };
            let ended = !matches!(piece, Ok(Some(_)));
            if sender.send(piece).await.is_err() || ended {
                return;
            }
        }
    });
    Body::Stream(Box::pin(futures_util::stream::poll_fn(move |context| {
        receiver.poll_recv(context).map(|piece| match piece {
            Some(Ok(bytes)) => bytes.map(Ok),
            Some(Err(error)) => Some(Err(std::io::Error::other(error.to_string()))),
            // The writer came to an end without a word.
            None => Some(Err(std::io::Error::other("the answer broke off"))),
        })
    })))
}
