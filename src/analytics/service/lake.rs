//! The lake: each month of a dataset as one Parquet file, `lake/<dataset>/month=<yyyy-mm>/<dataset>.parquet`, made from what is
//! held. Engines read the folders as they are. The columns are the same in every file, whatever was asked for at the time.
//!
//! A month's row remembers what its file was made from, so a file that is behind is found and made again, and whoever was
//! overtaken while writing makes it once more.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use csv::StringRecord;
use jiff::tz::TimeZone;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use rust_decimal::Decimal;
use tokio::runtime::Handle;

use super::answers::{EXECUTION, GENERATED, all_columns};
use super::{AnalyticsError, CONTAINER};
use crate::analytics::model::datasets::{Dataset, Kind};
use crate::analytics::model::month::Day;
use crate::analytics::model::piece::Piece;
use crate::analytics::model::value;
use crate::analytics::repo;
use crate::app::App;
use crate::blobs::BlobWriter;
use crate::store::StoreError;

/// Digits behind the point of every decimal; Microsoft writes five.
pub const SCALE: u32 = 10;
const PRECISION: i32 = 38;
/// Rows of a row group: what is held at a time.
const GROUP: usize = 20_000;
const ROUNDS: usize = 8;
/// Pieces that are read together.
const TOGETHER: u32 = 4;
const EPOCH: jiff::civil::Date = jiff::civil::date(1970, 1, 1);

pub fn blob_name(dataset: &str, month: &str) -> String {
    format!("lake/{dataset}/month={month}/{dataset}.parquet")
}

/// Makes the month's file unless it is as it should be. A month without rows has none.
pub async fn write_month(app: &Arc<App>, dataset: &'static Dataset, name: &str) -> Result<(), AnalyticsError> {
    for _ in 0..ROUNDS {
        let Some((mut month, etag)) = repo::month(&*app.rows, dataset.name, name).await? else { return Ok(()) };
        let stamp = month.stamp();
        if month.lake == stamp {
            return Ok(());
        }
        if month.days.is_empty() {
            app.blobs.delete(CONTAINER, &blob_name(dataset.name, name)).await?;
        } else {
            let days = month.days.clone().into_iter().collect();
            let pieces = Pieces { app: Arc::clone(app), dataset: dataset.name, days, next: 0, held: VecDeque::new() };
            let blob =
                app.blobs.create(CONTAINER, &blob_name(dataset.name, name), "application/vnd.apache.parquet").await?;
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || write(&runtime, dataset, pieces, blob))
                .await
                .map_err(|error| AnalyticsError::Worker(error.to_string()))??;
        }
        month.lake = stamp;
        match repo::save_month(app, dataset.name, name, &month, etag).await {
            Ok(()) => return Ok(()),
            // The days have changed meanwhile; a file of before may have come to lie over a newer one.
            Err(StoreError::Precondition) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(AnalyticsError::Contention(format!("{} of {name}", dataset.name)))
}

/// Hands what Parquet writes on to a blob.
struct Out {
    runtime: Handle,
    blob: Box<dyn BlobWriter>,
    held: Vec<u8>,
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= 1024 * 1024 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.held).into();
        self.runtime.block_on(self.blob.write(piece)).map_err(std::io::Error::other)
    }
}

fn write(
    runtime: &Handle,
    dataset: &'static Dataset,
    mut pieces: Pieces,
    blob: Box<dyn BlobWriter>,
) -> Result<(), AnalyticsError> {
    let columns = all_columns(dataset);
    let fields = columns.iter().map(|(name, kind)| field(name, *kind).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder(dataset.name).with_fields(fields).build()?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(concat!("MediaGenie ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let out = Out { runtime: runtime.clone(), blob, held: Vec::new() };
    let mut file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    let mut group: Vec<Column> = columns.iter().map(|(_, kind)| Column::new(*kind)).collect();
    let mut rows = 0;
    while let Some((piece, execution, generated)) = runtime.block_on(pieces.next())? {
        let text = piece.text()?;
        let mut reader = csv::Reader::from_reader(&text[..]);
        let header = reader.headers().map_err(damaged)?.clone();
        let places: Vec<(usize, usize)> = columns
            .iter()
            .enumerate()
            .filter_map(|(at, (name, _))| Some((at, header.iter().position(|known| known == name)?)))
            .collect();
        let (mut record, mut read) = (StringRecord::new(), 0);
        while reader.read_record(&mut record).map_err(damaged)? {
            for (at, place) in &places {
                group[*at].push(record.get(*place).unwrap_or_default());
            }
            read += 1;
        }
        // The same in every row of the piece: ours, and what it has not.
        for (at, (name, _)) in columns.iter().enumerate() {
            match name.as_str() {
                EXECUTION => group[at].fill(&execution, read),
                GENERATED => group[at].fill(&generated, read),
                _ if places.iter().all(|(known, _)| *known != at) => group[at].fill("", read),
                _ => {}
            }
        }
        rows += read;
        if rows >= GROUP {
            write_group(&mut file, &mut group)?;
            rows = 0;
        }
    }
    if rows > 0 {
        write_group(&mut file, &mut group)?;
    }
    let mut out = file.into_inner()?;
    out.flush().map_err(|error| ParquetError::External(Box::new(error)))?;
    runtime.block_on(out.blob.finish())?;
    Ok(())
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Decimal => (Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::decimal(SCALE as i32, PRECISION))),
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    let mut builder =
        Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL).with_logical_type(logical);
    if kind == Kind::Decimal {
        builder = builder.with_length(16).with_precision(PRECISION).with_scale(SCALE as i32);
    }
    builder.build()
}

fn damaged(error: csv::Error) -> AnalyticsError {
    AnalyticsError::Worker(error.to_string())
}

/// A column of a row group. What can not be read as its kind is nothing here; the rows keep it as it stood.
struct Column {
    kind: Kind,
    /// 1: there is a value.
    levels: Vec<i16>,
    /// Texts and decimals one behind the other, and where each ends.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    longs: Vec<i64>,
    ints: Vec<i32>,
    bools: Vec<bool>,
}

impl Column {
    fn new(kind: Kind) -> Self {
        let (levels, bytes, ends, longs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { kind, levels, bytes, ends, longs, ints: Vec::new(), bools: Vec::new() }
    }

    fn push(&mut self, cell: &str) {
        let there = !cell.is_empty() && self.read(cell).is_some();
        self.levels.push(i16::from(there));
    }

    /// The same cell so many times.
    fn fill(&mut self, cell: &str, times: usize) {
        if cell.is_empty() {
            self.levels.resize(self.levels.len() + times, 0);
        } else {
            (0..times).for_each(|_| self.push(cell));
        }
    }

    fn read(&mut self, cell: &str) -> Option<()> {
        match self.kind {
            Kind::Text => {
                self.bytes.extend_from_slice(cell.as_bytes());
                self.ends.push(self.bytes.len());
            }
            Kind::Decimal => {
                self.bytes.extend_from_slice(&decimal(cell)?.to_be_bytes());
                self.ends.push(self.bytes.len());
            }
            Kind::Integer => self.longs.push(cell.parse().ok()?),
            Kind::Boolean => self.bools.push(value::boolean(cell)?),
            Kind::Date => self.ints.push((value::date(cell)? - EPOCH).get_days()),
            Kind::Timestamp => {
                let at = value::moment(cell)?.to_zoned(TimeZone::UTC).ok()?;
                self.longs.push(at.timestamp().as_microsecond());
            }
        }
        Some(())
    }

    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let mut from = 0;
        let values = std::mem::take(&mut self.ends).into_iter().map(|end| {
            let value = ByteArray::from(bytes.slice(from..end));
            from = end;
            value
        });
        let levels = Some(&self.levels[..]);
        match self.kind {
            Kind::Text => {
                let values: Vec<ByteArray> = values.collect();
                writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
            }
            Kind::Decimal => {
                let values: Vec<FixedLenByteArray> = values.map(FixedLenByteArray::from).collect();
                writer.typed::<FixedLenByteArrayType>().write_batch(&values, levels, None)?;
            }
            Kind::Integer | Kind::Timestamp => {
                writer.typed::<Int64Type>().write_batch(&self.longs, levels, None)?;
            }
            Kind::Boolean => {
                writer.typed::<BoolType>().write_batch(&self.bools, levels, None)?;
            }
            Kind::Date => {
                writer.typed::<Int32Type>().write_batch(&self.ints, levels, None)?;
            }
        }
        self.levels.clear();
        self.longs.clear();
        self.ints.clear();
        self.bools.clear();
        Ok(())
    }
}

fn write_group(file: &mut SerializedFileWriter<Out>, columns: &mut [Column]) -> Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else { break };
        column.write(&mut writer)?;
        writer.close()?;
    }
    group.close()?;
    Ok(())
}

/// At the fixed scale; what has more digits behind the point is rounded there.
fn decimal(cell: &str) -> Option<i128> {
    if let Some(unscaled) = plain_decimal(cell) {
        return Some(unscaled);
    }
    let number: Decimal = value::number(cell)?.round_dp(SCALE);
    number.mantissa().checked_mul(10_i128.checked_pow(SCALE.checked_sub(number.scale())?)?)
}

/// Digits with at most so many behind the point, without the way through a decimal: a report has millions of them.
fn plain_decimal(cell: &str) -> Option<i128> {
    let (negative, digits) = cell.strip_prefix('-').map_or((false, cell), |digits| (true, digits));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || digits.len() > 26 || rest.len() > SCALE as usize {
        return None;
    }
    let mut unscaled: i128 = 0;
    for byte in whole.bytes().chain(rest.bytes()).chain(std::iter::repeat_n(b'0', SCALE as usize - rest.len())) {
        unscaled = unscaled * 10 + i128::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    Some(if negative { -unscaled } else { unscaled })
}

/// The pieces of a month, with the execution that brought each and the time of its file.
struct Pieces {
    app: Arc<App>,
    dataset: &'static str,
    days: VecDeque<(String, Day)>,
    next: u32,
    held: VecDeque<Piece>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<(Piece, String, String)>, AnalyticsError> {
        loop {
            let Some((date, day)) = self.days.front() else { return Ok(None) };
            if let Some(piece) = self.held.pop_front() {
                return Ok(Some((piece, day.execution.clone(), day.generated.to_string())));
            }
            if self.next == day.pieces {
                self.days.pop_front();
                self.next = 0;
                continue;
            }
            let limit = (day.pieces - self.next).min(TOGETHER) as usize;
            self.held = repo::pieces(&*self.app.rows, self.dataset, date, &day.version, self.next, limit).await?.into();
            if self.held.len() != limit {
                return Err(AnalyticsError::Contention(format!("{} of {date}", self.dataset)));
            }
            self.next += limit as u32;
        }
    }
}

/// Copies every file of the lake, by `put(name below the lake, bytes)`; how many there were. Files of the embedded store have
/// no names that other programs could read.
pub async fn copy_lake(
    app: &App,
    mut put: impl FnMut(&str, u64, &[u8]) -> std::io::Result<()>,
) -> Result<usize, AnalyticsError> {
    const PIECE: u64 = 4 * 1024 * 1024;
    let failed = |error: std::io::Error| AnalyticsError::Worker(error.to_string());
    let (mut after, mut count) = (String::new(), 0);
    loop {
        let blobs = app.blobs.list(CONTAINER, "lake/", &after, 100).await?;
        let Some(last) = blobs.last() else { return Ok(count) };
        after.clone_from(&last.name);
        for blob in &blobs {
            let name = blob.name.trim_start_matches("lake/");
            let mut at = 0;
            while at < blob.length {
                let piece = app.blobs.get(CONTAINER, &blob.name, at..at + PIECE).await?.unwrap_or_default();
                if piece.is_empty() {
                    return Err(AnalyticsError::Contention(blob.name.clone()));
                }
                put(name, at, &piece).map_err(failed)?;
                at += piece.len() as u64;
            }
            count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_of_decimals_ends_where_the_long_one_does() {
        for cell in
            ["0", "-0.046", "1225.1", "12345678901234567.12345", "7.0000000001", "-1", "99999999999999.9999999999"]
        {
            let number = value::number(cell).unwrap();
            let scaled = number.mantissa() * 10_i128.pow(SCALE - number.scale());
            assert_eq!((plain_decimal(cell), decimal(cell)), (Some(scaled), Some(scaled)), "{cell}");
        }
        for cell in ["1.00000000001", "1e5", "****", "", "-", "1.2.3"] {
            assert_eq!(plain_decimal(cell), None, "{cell}");
        }
        assert_eq!(decimal("0.00000000005"), Some(0));
        assert_eq!(decimal("1E-05"), Some(100_000));
    }
}
