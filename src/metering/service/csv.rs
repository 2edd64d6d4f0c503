//! Usage from a CSV file: one record per line, columns by name, a dry run first, every error with its line.

use std::sync::Arc;

use super::record::{Outcome, RecordError, judge, record};
use crate::app::App;
use crate::metering::model::record::{Fields, Refusal, UsageRecord};
use crate::store::StoreError;

/// Lines in one file; a larger one is sent in parts, and the ids make repeats harmless.
pub const MOST_LINES: usize = 20_000;
/// Records judged or written together.
const CHUNK: usize = 1_000;

/// What is wrong with a file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("the file is empty; its first line must name the columns")]
    Empty,
    #[error("the file is not UTF-8 text; save it as CSV UTF-8")]
    NotUtf8,
    #[error("line {line}: {message}")]
    Broken { line: u64, message: String },
    #[error("the first line names the column `{0}`, which is not known; known are: {known}", known = COLUMNS.join(", "))]
    UnknownColumn(String),
    #[error("the first line does not name the column `{0}`")]
    MissingColumn(&'static str),
    #[error("the file has more than {MOST_LINES} lines; send it in parts")]
    TooLong,
}

const COLUMNS: [&str; 10] = [
    "id",
    "subscription",
    "resource_id",
    "resource_uri",
    "dimension",
    "meter",
    "quantity",
    "occurred_at",
    "corrects",
    "note",
];

/// A line's record, or why it is none.
#[derive(Debug, Clone)]
pub struct Line {
    /// As an editor counts: the header is line 1.
    pub number: u64,
    pub id: String,
    pub record: Result<UsageRecord, Refusal>,
}

/// What became of a line.
#[derive(Debug, Clone)]
pub struct Judged {
    pub number: u64,
    pub id: String,
    pub result: Result<Outcome, RecordError>,
}

/// Reads a file: comma, semicolon or tab; any line ends; with or without a byte order mark.
pub fn parse(bytes: &[u8]) -> Result<Vec<Line>, FileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // With plain line ends the reader's line numbers are those of an editor.
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::NotUtf8)?.replace("\r\n", "\n").replace('\r', "\n");
    let Some(header) = text.lines().find(|line| !line.trim().is_empty()) else { return Err(FileError::Empty) };
    let count = |delimiter: char| header.matches(delimiter).count();
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(',');
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(u8::try_from(delimiter).unwrap_or(b','))
        .flexible(true)
        .trim(::csv::Trim::All)
        .from_reader(text.as_bytes());
    let broken = |error: ::csv::Error| FileError::Broken {
        line: error.position().map_or(1, ::csv::Position::line),
        message: error.to_string(),
    };
    let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(str::to_lowercase).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(FileError::UnknownColumn(unknown.chars().take(60).collect()));
    }
    for needed in ["id", "quantity"] {
        if !names.iter().any(|name| name == needed) {
            return Err(FileError::MissingColumn(needed));
        }
    }
    let mut lines = Vec::new();
    for row in reader.records() {
        let row = row.map_err(broken)?;
        let number = row.position().map_or(0, ::csv::Position::line);
        if row.iter().all(str::is_empty) {
            continue;
        }
        if lines.len() == MOST_LINES {
            return Err(FileError::TooLong);
        }
        lines.push(line(number, &names, &row));
    }
    Ok(lines)
}

fn line(number: u64, names: &[String], row: &::csv::StringRecord) -> Line {
    let mut fields = Fields::default();
    for (name, value) in names.iter().zip(row.iter()) {
        let field = match name.as_str() {
            "id" => &mut fields.id,
            "subscription" => &mut fields.subscription,
            "resource_id" => &mut fields.resource_id,
            "resource_uri" => &mut fields.resource_uri,
            "dimension" => &mut fields.dimension,
            "meter" => &mut fields.meter,
            "quantity" => &mut fields.quantity,
            "occurred_at" => &mut fields.occurred_at,
            "corrects" => &mut fields.corrects,
            _ => &mut fields.note,
        };
        value.clone_into(field);
    }
    let id: String = fields.id.chars().take(128).collect();
    let record = if row.len() == names.len() {
        UsageRecord::from_fields(&fields)
    } else {
        // An open quote swallows what follows it, and shows as a wrong number of values.
        let message =
            format!("{} values under {} columns; look for a missing separator or quote.", row.len(), names.len());
        Err(Refusal::new("broken_line", "record", message))
    };
    Line { number, id, record }
}

/// Judges (`dry`) or records every line. Lines that are no records are told, and do not stop the others.
pub async fn import(app: &Arc<App>, source: &str, lines: Vec<Line>, dry: bool) -> Result<Vec<Judged>, StoreError> {
    let mut judged = Vec::with_capacity(lines.len());
    let mut rest = lines.into_iter().peekable();
    while rest.peek().is_some() {
        let mut places = Vec::new();
        let mut records = Vec::new();
        for Line { number, id, record } in rest.by_ref().take(CHUNK) {
            match record {
                Ok(record) => {
                    places.push(judged.len());
                    records.push(record);
                    judged.push(Judged { number, id, result: Err(RecordError::Interrupted) });
                }
                Err(refusal) => judged.push(Judged { number, id, result: Ok(Outcome::Refused(refusal)) }),
            }
        }
        let results = if dry {
            judge(app, &records).await?.into_iter().map(Ok).collect()
        } else {
            record(app, source, records).await
        };
        for (place, result) in places.into_iter().zip(results) {
            judged[place].result = result;
        }
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "37f9dea2-4345-438f-b0bd-03d40d28c7e0";

    fn good(text: &str) -> usize {
        parse(text.as_bytes()).unwrap().iter().filter(|line| line.record.is_ok()).count()
    }

    #[test]
    fn files_of_all_programs_are_read() {
        let comma = format!("id,subscription,dimension,quantity\na,{ID},d,1.5\nb,{ID},d,2\n");
        assert_eq!(good(&comma), 2);
        assert_eq!(good(&format!("\u{feff}{}", comma.replace(',', ";").replace('\n', "\r\n"))), 2);
        assert_eq!(good(&comma.replace(',', "\t").replace("id\t", "ID\t")), 2);
        assert_eq!(good(&format!("{comma}\n\n,,,\n")), 2);
        assert_eq!(good(&format!("id,subscription,dimension,quantity\n\"a,1\",{ID},d,\"3\"\n")), 1);
    }

    #[test]
    fn errors_name_the_line() {
        let text =
            format!("id,subscription,dimension,quantity\r\na,{ID},d,1\r\nb,{ID},d,-1\r\nc,{ID},d\r\nd,{ID},d,x\r\n");
        let wrong: Vec<_> = parse(text.as_bytes())
            .unwrap()
            .into_iter()
            .filter_map(|line| Some((line.number, line.record.err()?.code)))
            .collect();
        assert_eq!(wrong, [(3, "invalid_quantity"), (4, "broken_line"), (5, "invalid_quantity")]);
    }

    #[test]
    fn what_is_no_usage_file_is_refused_with_the_reason() {
        assert_eq!(parse(b"").unwrap_err(), FileError::Empty);
        assert_eq!(parse(b"\n\n").unwrap_err(), FileError::Empty);
        assert_eq!(parse(b"id,amount\n").unwrap_err(), FileError::UnknownColumn("amount".into()));
        assert_eq!(parse(b"id,dimension\n").unwrap_err(), FileError::MissingColumn("quantity"));
        assert_eq!(parse(b"id,quantity\n\xff,1\n").unwrap_err(), FileError::NotUtf8);
        let quotes = format!("id,subscription,dimension,quantity\n\"a,{ID},d,1\nb,{ID},d,2\n");
        assert_eq!(parse(quotes.as_bytes()).unwrap()[0].record.as_ref().unwrap_err().code, "broken_line");
        let long = format!("id,quantity\n{}", "a,1\n".repeat(MOST_LINES + 1));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), FileError::TooLong);
    }
}
