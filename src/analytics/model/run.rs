//! What somebody asked of Microsoft at once: fresh rows of exact dates, or the file of a query as Microsoft answers it.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::execution::Raw;
use super::schedule::OurReport;
use crate::foundation::ids::RunId;

/// What the file is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "for")]
pub enum Wanted {
    /// Rows of a dataset, which take the place of what is held of these dates.
    Rows { dataset: String },
    /// The file itself, of a query of somebody's own.
    Query { text: String },
    /// The file itself, of a query that Microsoft has stored, such as one of its system queries (analytics contract 7).
    Stored { query_id: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RunState {
    /// Microsoft is to be asked.
    Asked,
    /// Microsoft makes the file.
    Running,
    Done,
    Failed {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub wanted: Wanted,
    /// Instead of the span that the query names; both included.
    pub between: Option<(Date, Date)>,
    pub asked: Timestamp,
    /// Who asked.
    pub by: String,
    #[serde(flatten)]
    pub state: RunState,
    pub report: Option<OurReport>,
    /// The query that was stored for it.
    pub query_id: Option<String>,
    pub file: Option<Raw>,
    pub finished: Option<Timestamp>,
    /// When it was last looked at.
    #[serde(default)]
    pub looked: Option<Timestamp>,
}

impl Run {
    pub fn is_open(&self) -> bool {
        matches!(self.state, RunState::Asked | RunState::Running)
    }

    /// The name of its report and query at Microsoft.
    pub fn name(&self) -> String {
        format!("mediagenie-{}", self.id.as_str())
    }
}
