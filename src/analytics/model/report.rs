//! Reads a report's file: columns by name, cells in their canonical form, rows by day. Comma- or tab-separated, with or without
//! a byte-order mark, with any line ends (analytics contract 9). It holds a bounded part of the file at a time.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
use std::io::Read;
use std::rc::Rc;

use csv::{ByteRecord, StringRecord};
use jiff::civil::Date;

use super::datasets::{Dataset, Kind};
use super::month::{RowsHash, UNDATED};
use super::piece::{MOST_ROWS, MOST_TEXT};
use super::value::{self, Read as Judged};

/// All days together hold no more than this before some of it is handed on.
const HELD: usize = 48 * 1024 * 1024;
/// Oddities that are told.
const TOLD: usize = 20;
const EARLIEST: Date = jiff::civil::date(2010, 1, 1);
/// A row that is read for so long has no end.
const LONGEST_ROW: u64 = 8 * 1024 * 1024;
/// A mask over what is protected.
const MASK: &str = "****";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("the file is empty")]
    Empty,
    #[error("it is a web page, not a report: {0}")]
    Page(String),
    #[error("no column of it is one of the dataset's ({0})")]
    OtherColumns(String),
    #[error("the column that dates a row ({0}) is not in it")]
    NoDate(String),
    #[error("it ends in the middle of a row, or a row is damaged: {0}")]
    Damaged(String),
    #[error("it is not text in UTF-8 (row {0})")]
    NotText(u64),
    #[error("the file could not be read: {0}")]
    Unread(String),
}

/// Some rows of a day, as CSV with a header.
#[derive(Debug)]
pub struct Part {
    pub day: String,
    pub rows: usize,
    pub text: Vec<u8>,
}

/// What was in a file.
#[derive(Debug, Default)]
pub struct Contents {
    pub columns: Vec<String>,
    pub rows: u64,
    /// Rows and hash of each day.
    pub days: BTreeMap<String, (u64, RowsHash)>,
    pub oddities: Vec<String>,
    /// Columns of the file that the dataset has not.
    pub surplus: Vec<String>,
    /// Columns that were asked for and are not in the file.
    pub lacking: Vec<String>,
}

/// A day while the file is read.
#[derive(Default)]
struct Open {
    all: u64,
    hash: RowsHash,
    wanted: bool,
    /// What was not handed on yet.
    rows: usize,
    text: Vec<u8>,
}

impl Open {
    fn begin(&mut self, head: &str) {
        if self.text.is_empty() {
            self.text.extend_from_slice(head.as_bytes());
            self.text.push(b'\n');
        }
    }
}

/// Where a column of the file goes.
struct Place {
    at: usize,
    name: &'static str,
    kind: Kind,
}

/// Reads it whole. `latest`: a date behind it is none. `asked`: the columns that were asked for. `wanted`: which days are handed to `part`.
pub fn read(
    dataset: &'static Dataset,
    file: impl Read,
    tsv: bool,
    latest: Date,
    asked: &[String],
    wanted: &dyn Fn(&str) -> bool,
    part: &mut dyn FnMut(Part) -> Result<(), String>,
) -> Result<Contents, Unusable> {
    let since = Rc::new(Cell::new(0));
    let mut file = Counted { file, quotes: 0, begun: false, last: b'\n', since: Rc::clone(&since) };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if tsv { b'\t' } else { b',' })
        .buffer_capacity(256 * 1024)
        .from_reader(&mut file);
    let header = match reader.byte_headers() {
        Ok(header) => header.clone(),
        Err(error) => return Err(damaged(&error)),
    };
    let (places, mut contents) = places(dataset, &header, asked)?;
    let dated: Vec<usize> =
        dataset.dated_by.iter().filter_map(|name| places.iter().position(|place| place.name == *name)).collect();
    if dated.is_empty() {
        return Err(Unusable::NoDate(dataset.dated_by.join(" or ")));
    }
    let head = places.iter().map(|place| place.name).collect::<Vec<_>>().join(",");
    let mut days: HashMap<String, Open> = HashMap::new();
    let mut held = 0_usize;
    let (mut record, mut cells, mut line) = (StringRecord::new(), Vec::<(usize, usize)>::new(), Vec::new());
    let mut text = String::new();
    let mut odd = Oddities::default();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                return Err(Unusable::NotText(contents.rows + 1));
            }
            Err(error) => return Err(damaged(&error)),
        }
        contents.rows += 1;
        since.set(0);
        text.clear();
        cells.clear();
        for place in &places {
            let raw = record.get(place.at).unwrap_or_default();
            let from = text.len();
            if value::canonical(place.kind, raw, &mut text) == Judged::Odd {
                odd.note(place.name, raw);
            }
            cells.push((from, text.len()));
        }
        let cell = |at: &(usize, usize)| &text[at.0..at.1];
        let day = dated.iter().map(|place| day_of(cell(&cells[*place]))).find(|day| *day != UNDATED).unwrap_or(UNDATED);
        // Seen before, or a date that can be.
        let day = if days.contains_key(day) || plausible(day, latest) { day } else { UNDATED };
        line.clear();
        if cells.len() == 1 && cell(&cells[0]).is_empty() {
            // An empty line would be no row.
            line.extend_from_slice(b"\"\"");
        }
        for (index, at) in cells.iter().enumerate() {
            if index > 0 {
                line.push(b',');
            }
            quote(cell(at), &mut line);
        }
        line.push(b'\n');
        let open = match days.get_mut(day) {
            Some(open) => open,
            None => days.entry(day.to_owned()).or_insert_with(|| Open { wanted: wanted(day), ..Open::default() }),
        };
        open.all += 1;
        open.hash.add(&line);
        if !open.wanted {
            continue;
        }
        if line.len() > MOST_TEXT {
            return Err(Unusable::Damaged(format!("row {} has more than {} KiB", contents.rows, MOST_TEXT / 1024)));
        }
        if open.rows > 0 && open.text.len() + line.len() > MOST_TEXT {
            held = held.saturating_sub(open.text.len());
            hand_on(part, day, open)?;
        }
        open.begin(&head);
        open.rows += 1;
        open.text.extend_from_slice(&line);
        held += line.len();
        if open.rows >= MOST_ROWS {
            held = held.saturating_sub(open.text.len());
            hand_on(part, day, open)?;
        } else if held > HELD {
            // The largest half goes, so that this does not come again with the next row.
            let mut sizes: Vec<usize> = days.values().map(|open| open.text.len()).collect();
            sizes.sort_unstable();
            let median = sizes[sizes.len() / 2];
            let mut large: Vec<_> = days.iter_mut().filter(|(_, open)| open.text.len() >= median).collect();
            large.sort_unstable_by(|one, other| one.0.cmp(other.0));
            for (day, open) in large {
                held = held.saturating_sub(open.text.len());
                hand_on(part, day, open)?;
            }
        }
    }
    // A value without quotes and a line end may be cut off. Real files quote every value (analytics contract 9).
    if !matches!(file.last, b'\n' | b'\r' | b'"' | b',' | b'\t') {
        return Err(Unusable::Damaged("the last row has no end".into()));
    }
    if file.quotes % 2 == 1 {
        return Err(Unusable::Damaged("a quoted text does not end".into()));
    }
    let mut rest: Vec<(String, Open)> = days.into_iter().collect();
    rest.sort_by(|one, other| one.0.cmp(&other.0));
    for (day, mut open) in rest {
        hand_on(part, &day, &mut open)?;
        contents.days.insert(day, (open.all, open.hash));
    }
    contents.oddities = odd.told();
    Ok(contents)
}

fn hand_on(part: &mut dyn FnMut(Part) -> Result<(), String>, day: &str, open: &mut Open) -> Result<(), Unusable> {
    if open.rows == 0 {
        return Ok(());
    }
    let (rows, text) = (std::mem::take(&mut open.rows), std::mem::take(&mut open.text));
    part(Part { day: day.to_owned(), rows, text }).map_err(Unusable::Unread)
}

fn damaged(error: &csv::Error) -> Unusable {
    match error.kind() {
        // What unpacks wrongly, or has no end, is the file's own fault.
        csv::ErrorKind::Io(error) if matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
            Unusable::Damaged(error.to_string())
        }
        csv::ErrorKind::Io(error) => Unusable::Unread(error.to_string()),
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            Unusable::Damaged(format!("line {line} has {len} fields instead of {expected_len}"))
        }
        _ => Unusable::Damaged(error.to_string()),
    }
}

fn places(
    dataset: &'static Dataset,
    header: &ByteRecord,
    asked: &[String],
) -> Result<(Vec<Place>, Contents), Unusable> {
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    if names.iter().all(String::is_empty) {
        return Err(Unusable::Empty);
    }
    if names[0].starts_with('<') {
        return Err(Unusable::Page(names[0].chars().take(60).collect()));
    }
    let mut places: Vec<Place> = Vec::new();
    let mut contents = Contents::default();
    for (at, name) in names.iter().enumerate() {
        match dataset.column(name) {
            Some(column) if column.personal || places.iter().any(|place| place.name == column.name) => {}
            Some(column) => places.push(Place { at, name: column.name, kind: column.kind }),
            None if name.is_empty() => {}
            None => contents.surplus.push(name.clone()),
        }
    }
    if places.is_empty() {
        return Err(Unusable::OtherColumns(names.join(", ").chars().take(200).collect()));
    }
    // In the order of the dataset, whatever the order of the file: the same rows are the same text.
    places.sort_by_key(|place| dataset.columns.iter().position(|column| column.name == place.name));
    contents.columns = places.iter().map(|place| place.name.to_owned()).collect();
    let has = |name: &String| contents.columns.iter().any(|known| known.eq_ignore_ascii_case(name));
    contents.lacking = asked.iter().filter(|name| !has(name)).cloned().collect();
    Ok((places, contents))
}

/// The day of a canonical date or moment.
fn day_of(cell: &str) -> &str {
    let date = cell.get(..10).unwrap_or_default();
    let digits = date
        .bytes()
        .enumerate()
        .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if date.len() == 10 && digits { date } else { UNDATED }
}

/// A date that exists, after Microsoft's marketplace began and not behind the file's own time: any other is a slip, and must not
/// widen what a file is about.
fn plausible(day: &str, latest: Date) -> bool {
    day != UNDATED && day.parse::<Date>().is_ok_and(|date| date >= EARLIEST && date <= latest)
}

/// One cell of our own CSV (RFC 4180), read back by the same library.
fn quote(cell: &str, line: &mut Vec<u8>) {
    if !cell.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        line.extend_from_slice(cell.as_bytes());
        return;
    }
    line.push(b'"');
    for byte in cell.bytes() {
        if byte == b'"' {
            line.push(b'"');
        }
        line.push(byte);
    }
    line.push(b'"');
}

/// Cells that are not of their kind, by column: how many, and the first.
#[derive(Default)]
struct Oddities(BTreeMap<&'static str, (u64, String)>);

impl Oddities {
    fn note(&mut self, column: &'static str, cell: &str) {
        // What is protected is masked on purpose.
        if cell.starts_with(MASK) {
            return;
        }
        let entry = self.0.entry(column).or_insert_with(|| (0, cell.chars().take(40).collect()));
        entry.0 += 1;
    }

    fn told(self) -> Vec<String> {
        self.0
            .into_iter()
            .take(TOLD)
            .map(|(column, (count, first))| format!("{column}: {count} cells can not be read, such as \"{first}\""))
            .collect()
    }
}

/// Counts quotes, so that one that does not end is noticed, and takes the byte-order mark away.
struct Counted<R> {
    file: R,
    quotes: u64,
    begun: bool,
    last: u8,
    /// Bytes since the last row.
    since: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut read = self.file.read(buffer)?;
        if !self.begun && read > 0 {
            self.begun = true;
            while read < 3 && read < buffer.len() {
                let more = self.file.read(&mut buffer[read..])?;
                if more == 0 {
                    break;
                }
                read += more;
            }
            if buffer[..read].starts_with(&[0xEF, 0xBB, 0xBF]) {
                buffer.copy_within(3..read, 0);
                read -= 3;
                if read == 0 {
                    return self.read(buffer);
                }
            }
        }
        if read > 0 {
            self.last = buffer[read - 1];
        }
        self.since.set(self.since.get() + read as u64);
        if self.since.get() > LONGEST_ROW {
            return Err(std::io::Error::new(InvalidData, "a row has no end within 8 MiB"));
        }
        self.quotes += buffer[..read].iter().map(|byte| u64::from(*byte == b'"')).sum::<u64>();
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATEST: Date = jiff::civil::date(2026, 3, 2);

    fn all(text: &[u8], tsv: bool) -> Result<(Contents, Vec<(String, String)>), Unusable> {
        let usage = Dataset::find("usage").unwrap();
        let mut parts = Vec::new();
        let contents =
            read(usage, text, tsv, LATEST, &["UsageDate".into(), "PriceCC".into()], &|_| true, &mut |part| {
                parts.push((part.day, String::from_utf8(part.text).unwrap()));
                Ok(())
            })?;
        Ok((contents, parts))
    }

    #[test]
    fn oddities_of_real_files_are_read() {
        let text = "\u{feff}planid, USAGEDATE ,MeteredUsage,CustomerName,Brand New,SKU\r\n\"gold\",\"2026-02-11\",\"96.00000\",\"Ann\",\"x\",\"a \"\"b\"\", c\nd\"\n\"gold\",\"2026-02-12 00:00:00\",,,,\r\"silver\",\"2026-02-11\",\"************\",\"\",\"\",\"\"";
        let (contents, parts) = all(text.as_bytes(), false).unwrap();
        assert_eq!(contents.columns, ["UsageDate", "PlanId", "SKU", "MeteredUsage"]);
        assert_eq!((contents.surplus, contents.lacking), (vec!["Brand New".to_owned()], vec!["PriceCC".to_owned()]));
        assert_eq!(contents.oddities, Vec::<String>::new());
        assert_eq!(
            parts,
            [
                (
                    "2026-02-11".to_owned(),
                    "UsageDate,PlanId,SKU,MeteredUsage\n2026-02-11,gold,\"a \"\"b\"\", c\nd\",96\n2026-02-11,silver,,************\n"
                        .to_owned()
                ),
                ("2026-02-12".to_owned(), "UsageDate,PlanId,SKU,MeteredUsage\n2026-02-12,gold,,\n".to_owned()),
            ]
        );
    }

    #[test]
    fn spelling_order_of_columns_and_of_rows_make_no_difference() {
        let one = all(b"UsageDate,PlanId,PriceCC\n2026-02-11,gold,1.0\n2026-02-11,b,2\n", false).unwrap().0;
        let other =
            all(b"PRICECC\tusagedate\tPlanId\n\"2.000\"\t2026-02-11\tb\n1\t2026-02-11\tgold\n", true).unwrap().0;
        assert_eq!(one.days, other.days);
    }

    #[test]
    fn what_is_no_report_says_what_it_is() {
        for (text, expected) in [
            ("", Unusable::Empty),
            ("\u{feff}", Unusable::Empty),
            ("<!DOCTYPE html>\n<html>", Unusable::Page("<!DOCTYPE html>".into())),
            ("Colour,Shape\nred,round\n", Unusable::OtherColumns("Colour, Shape".into())),
            ("PlanId\ngold\n", Unusable::NoDate("UsageDate".into())),
            ("UsageDate,PlanId\n2026-02-11\n", Unusable::Damaged("line 2 has 1 fields instead of 2".into())),
            ("UsageDate,PlanId\n2026-02-11,\"go\n", Unusable::Damaged("a quoted text does not end".into())),
            (
                "UsageDate,PriceCC\n2026-02-11,2012.75\n2026-02-11,20",
                Unusable::Damaged("the last row has no end".into()),
            ),
        ] {
            assert_eq!(all(text.as_bytes(), false).unwrap_err(), expected, "{text:?}");
        }
        assert_eq!(all(b"UsageDate,PlanId\n2026-02-11,\xff\n", false).unwrap_err(), Unusable::NotText(1));
        assert_eq!(all(b"UsageDate,PlanId\n", false).unwrap().0.rows, 0);
    }

    #[test]
    fn a_row_without_a_date_is_kept_apart() {
        let (contents, _) = all(b"UsageDate,PlanId\n,gold\nsoon,silver\n", false).unwrap();
        assert_eq!(contents.days[UNDATED].0, 2);
        assert_eq!(contents.oddities, ["UsageDate: 1 cells can not be read, such as \"soon\""]);
    }

    #[test]
    fn a_date_that_can_not_be_widens_nothing() {
        let text = b"UsageDate,PlanId\n0001-01-01,a\n2026-13-45,b\n2026-03-09,c\n2026-02-11,d\n";
        let (contents, _) = all(text, false).unwrap();
        let days: Vec<_> = contents.days.into_iter().map(|(day, (rows, _))| (day, rows)).collect();
        assert_eq!(days, [("2026-02-11".to_owned(), 1), (UNDATED.to_owned(), 3)]);
    }

    #[test]
    fn a_row_without_an_end_is_not_held_in_memory() {
        let mut text = b"UsageDate,PlanId\n2026-02-11,\"".to_vec();
        text.resize(9 * 1024 * 1024, b'x');
        assert!(matches!(all(&text, false).unwrap_err(), Unusable::Damaged(why) if why.contains("8 MiB")));
        text.truncate(500 * 1024);
        text.extend_from_slice(b"\"\n");
        assert!(matches!(all(&text, false).unwrap_err(), Unusable::Damaged(why) if why.contains("KiB")));
    }

    #[test]
    fn one_empty_cell_is_a_row_all_the_same() {
        let insights = Dataset::find("customer").unwrap();
        let mut rows = 0;
        read(insights, &b"DateAcquired\n2026-02-11\n\"\"\n"[..], false, LATEST, &[], &|_| true, &mut |part| {
            rows += csv::Reader::from_reader(&part.text[..]).records().count();
            Ok(())
        })
        .unwrap();
        assert_eq!(rows, 2);
    }
}
