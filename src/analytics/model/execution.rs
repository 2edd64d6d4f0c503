//! An execution of a report at Microsoft, and what became of its file here.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::datasets::Reach;
use super::month::UNDATED;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Microsoft has made the file.
    Found,
    /// The file is here.
    Fetched,
    /// Its days hold. The months' files of the lake and the tidying up follow.
    Switched,
    Done,
    /// Read, and not believed: somebody has to look at it.
    Held {
        why: String,
    },
    /// The file is of no use.
    Failed {
        why: String,
    },
}

/// A file as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    /// The name of the blob.
    pub name: String,
    pub length: u64,
    /// Compressed on its way: it is kept as it came.
    pub gzip: bool,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    pub dataset: String,
    /// Microsoft's.
    pub id: String,
    pub report: String,
    pub generated: Timestamp,
    pub found: Timestamp,
    /// Which dates the file speaks for.
    pub covers: Covers,
    pub tsv: bool,
    #[serde(flatten)]
    pub state: State,
    #[serde(default)]
    pub raw: Option<Raw>,
    #[serde(default)]
    pub rows: u64,
    /// First and last date in it.
    #[serde(default)]
    pub dates: Option<(String, String)>,
    /// Days that it changed, of those that were held before and of those that were not.
    #[serde(default)]
    pub days_changed: u32,
    #[serde(default)]
    pub days_new: u32,
    /// What was strange about it, in words.
    #[serde(default)]
    pub oddities: Vec<String>,
    /// Months whose files of the lake are to be written.
    #[serde(default)]
    pub months: Vec<String>,
    /// Versions of days that nobody sees any more: day, version.
    #[serde(default)]
    pub outdated: Vec<(String, String)>,
    #[serde(default)]
    pub finished: Option<Timestamp>,
    /// Who let it pass although it had been held.
    #[serde(default)]
    pub released_by: Option<String>,
}

/// Which dates a file speaks for: days that it does not have are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covers {
    /// All that Microsoft has: from its first date on.
    Everything,
    /// These dates, both included.
    Dates { from: Date, to: Date },
    /// From its first date to its last: where exactly a span begins is not documented (analytics contract 8.2).
    ItsDates,
}

impl From<Reach> for Covers {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::All => Self::Everything,
            Reach::Recent => Self::ItsDates,
        }
    }
}

impl Execution {
    /// One whose file Microsoft has made.
    pub fn found(dataset: &str, id: &str, report: &str, generated: Timestamp, now: Timestamp) -> Self {
        Self {
            dataset: dataset.to_owned(),
            id: id.to_owned(),
            report: report.to_owned(),
            generated,
            found: now,
            covers: Covers::ItsDates,
            tsv: false,
            state: State::Found,
            raw: None,
            rows: 0,
            dates: None,
            days_changed: 0,
            days_new: 0,
            oddities: Vec::new(),
            months: Vec::new(),
            outdated: Vec::new(),
            finished: None,
            released_by: None,
        }
    }

    /// Whether its file can say anything about a date; [`Covers::ItsDates`] is about dates that only the file tells.
    pub fn speaks_for(&self, date: &str) -> bool {
        match self.covers {
            Covers::Everything => true,
            Covers::Dates { from, to } => {
                date != UNDATED && date >= from.to_string().as_str() && date <= to.to_string().as_str()
            }
            // Part of the rows without a date would take the place of all of them.
            Covers::ItsDates => date != UNDATED,
        }
    }

    /// Whether its file is about a date: a day that it does not have is gone. Known once it was read.
    pub fn covers(&self, date: &str) -> bool {
        let dates = self.dates.as_ref();
        match self.covers {
            Covers::Dates { .. } => self.speaks_for(date),
            // What lies before its first date Microsoft may have forgotten; we keep it.
            Covers::Everything => dates.is_some_and(|(first, _)| date == UNDATED || date >= first.as_str()),
            Covers::ItsDates => {
                dates.is_some_and(|(first, last)| date != UNDATED && date >= first.as_str() && date <= last.as_str())
            }
        }
    }

    /// Something is still to be done, and can be done.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Found | State::Fetched | State::Switched)
    }

    /// Where its pieces are: the same on every try.
    pub fn version(&self) -> String {
        use sha2::{Digest as _, Sha256};
        crate::foundation::hex::hex(&Sha256::digest(format!("{} {}", self.id, self.generated)))[..16].to_owned()
    }
}
