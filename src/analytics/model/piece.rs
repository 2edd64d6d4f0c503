//! A piece of a day: rows as CSV with a header, compressed, as text that a row of the store can hold. Each piece can be read
//! without any other, also after the columns have changed.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use csv::StringRecord;
use serde::{Deserialize, Serialize};

/// Rows of a piece end here: what a reader takes apart at once, and well below a row's limit.
pub const MOST_ROWS: usize = 2_000;
/// Bytes of text, for the same reason; even if nothing of it can be compressed, it fits into a row.
pub const MOST_TEXT: usize = 340 * 1024;
/// The quickest level; the text repeats itself.
const LEVEL: i32 = 1;
/// Nobody's piece unfolds to more: a guard against damage.
const MOST_UNFOLDED: u64 = 64 * 1024 * 1024;

/// The row of a piece.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    pub rows: usize,
    data: String,
}

#[derive(Debug, thiserror::Error)]
#[error("a piece of a day is damaged: {0}")]
pub struct Damaged(String);

/// Makes pieces; whoever makes many keeps it, because setting it up costs more than a small piece.
pub struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub fn new() -> Result<Self, Damaged> {
        zstd::bulk::Compressor::new(LEVEL).map(Self).map_err(|error| Damaged(error.to_string()))
    }

    /// `text` is CSV with its header.
    pub fn pack(&mut self, rows: usize, text: &[u8]) -> Result<Piece, Damaged> {
        let packed = self.0.compress(text).map_err(|error| Damaged(error.to_string()))?;
        Ok(Piece { rows, data: STANDARD_NO_PAD.encode(packed) })
    }
}

impl Piece {
    /// The CSV text with its header.
    pub fn text(&self) -> Result<Vec<u8>, Damaged> {
        let packed = STANDARD_NO_PAD.decode(&self.data).map_err(|error| Damaged(error.to_string()))?;
        let unfold = zstd::stream::read::Decoder::new(&packed[..]).map_err(|error| Damaged(error.to_string()))?;
        let mut text = Vec::with_capacity(packed.len() * 8);
        unfold.take(MOST_UNFOLDED).read_to_end(&mut text).map_err(|error| Damaged(error.to_string()))?;
        Ok(text)
    }

    /// Rows with the cells of these columns, in this order; a column that the piece has not is empty.
    pub fn records(&self, columns: &[String]) -> Result<Vec<StringRecord>, Damaged> {
        let text = self.text()?;
        let mut reader = csv::ReaderBuilder::new().from_reader(&text[..]);
        let header = reader.headers().map_err(|error| Damaged(error.to_string()))?.clone();
        let places: Vec<Option<usize>> =
            columns.iter().map(|column| header.iter().position(|known| known.eq_ignore_ascii_case(column))).collect();
        let mut records = Vec::with_capacity(self.rows);
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| Damaged(error.to_string()))? {
            let mut chosen = StringRecord::with_capacity(record.as_slice().len(), columns.len());
            for place in &places {
                chosen.push_field(place.and_then(|place| record.get(place)).unwrap_or_default());
            }
            records.push(chosen);
        }
        if records.len() == self.rows { Ok(records) } else { Err(Damaged("rows are missing".into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_gives_back_its_rows_in_any_order_of_columns() {
        let piece =
            Packer::new().unwrap().pack(2, b"UsageDate,PlanId\n2026-02-11,gold\n2026-02-11,\"a\nb\"\n").unwrap();
        let columns = ["planid", "Missing", "UsageDate"].map(str::to_owned);
        let rows: Vec<Vec<String>> =
            piece.records(&columns).unwrap().iter().map(|row| row.iter().map(str::to_owned).collect()).collect();
        assert_eq!(rows, [["gold", "", "2026-02-11"], ["a\nb", "", "2026-02-11"]]);
    }

    #[test]
    fn a_damaged_piece_says_so() {
        let mut piece = Packer::new().unwrap().pack(1, b"A\nx\n").unwrap();
        piece.rows = 2;
        assert!(piece.records(&["A".to_owned()]).is_err());
        piece.data.truncate(8);
        assert!(piece.text().is_err());
    }
}
