//! The lake: each month of a dataset as one Parquet file, `lake/<dataset>/month=<yyyy-mm>/<dataset>.parquet`, made from what is
//! held. Engines read the folders as they are. The columns are the same in every file, whatever was asked for at the time.
//!
//! A month's row remembers what its file was made from, so a file that is behind is found and made again, and whoever was
//! overtaken while writing makes it once more.

use std::io::Write;
use std::sync::Arc;

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

use super::answers::{Answer, Ask, all_columns};
use super::{AnalyticsError, CONTAINER};
use crate::analytics::model::datasets::{Dataset, Kind};
use crate::analytics::model::value;
use crate::analytics::repo;
use crate::app::App;
use crate::blobs::BlobWriter;
use crate::store::StoreError;

/// Digits behind the point of every decimal; Microsoft writes five.
pub const SCALE: u32 = 10;
const PRECISION: i32 = 38;
/// Rows of a row group: what is held at a time.
const GROUP: usize = 50_000;
const ROUNDS: usize = 8;
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
            let answer = Answer::of_days(app, dataset, &month);
            let blob =
                app.blobs.create(CONTAINER, &blob_name(dataset.name, name), "application/vnd.apache.parquet").await?;
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || write(&runtime, dataset, answer, blob))
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
    mut answer: Answer,
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
    let mut rows: Vec<StringRecord> = Vec::new();
    loop {
        let more = runtime.block_on(answer.next())?;
        let ended = more.is_none();
        rows.extend(more.into_iter().flatten());
        if rows.len() >= GROUP || ended && !rows.is_empty() {
            let mut group = file.next_row_group()?;
            let mut place = 0;
            while let Some(mut writer) = group.next_column()? {
                column(&mut writer, columns[place].1, rows.iter().map(|row| row.get(place).unwrap_or_default()))?;
                writer.close()?;
                place += 1;
            }
            group.close()?;
            rows.clear();
        }
        if ended {
            break;
        }
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

/// What can not be read as its kind is nothing here; the rows keep it as it stood.
fn column<'a>(
    writer: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'a str>,
) -> Result<(), ParquetError> {
    macro_rules! fill {
        ($type:ty, $read:expr) => {{
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            for cell in cells {
                let value = if cell.is_empty() { None } else { $read(cell) };
                levels.push(i16::from(value.is_some()));
                values.extend(value);
            }
            writer.typed::<$type>().write_batch(&values, Some(&levels), None)?;
        }};
    }
    match kind {
        Kind::Text => fill!(ByteArrayType, |cell: &str| Some(ByteArray::from(cell.as_bytes().to_vec()))),
        Kind::Integer => fill!(Int64Type, |cell: &str| cell.parse::<i64>().ok()),
        Kind::Decimal => fill!(FixedLenByteArrayType, decimal),
        Kind::Boolean => fill!(BoolType, |cell: &str| value::boolean(cell)),
        Kind::Date => fill!(Int32Type, |cell: &str| value::date(cell)
            .and_then(|date| { i32::try_from((date - EPOCH).get_days()).ok() })),
        Kind::Timestamp => fill!(Int64Type, |cell: &str| {
            let at = value::moment(cell)?.to_zoned(TimeZone::UTC).ok()?;
            Some(at.timestamp().as_microsecond())
        }),
    }
    Ok(())
}

/// Big-endian two's complement at the fixed scale; what has more digits behind the point is rounded there.
fn decimal(cell: &str) -> Option<FixedLenByteArray> {
    let number: Decimal = value::number(cell)?.round_dp(SCALE);
    let unscaled = number.mantissa().checked_mul(10_i128.checked_pow(SCALE.checked_sub(number.scale())?)?)?;
    Some(FixedLenByteArray::from(ByteArray::from(unscaled.to_be_bytes().to_vec())))
}
