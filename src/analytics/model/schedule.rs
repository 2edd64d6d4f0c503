//! What is asked of Microsoft for one dataset, how it goes, and the budget of runs at once. Pure decisions; the reconciler in
//! `service::pull` acts on them.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::datasets::Reach;
use super::offered::{Drift, Offered};

/// Reports that may be run at once in an hour (analytics contract 5).
const RUNS_AT_ONCE: usize = 5;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// A daily report that is later than this is late, and later than that is missing.
pub const LATE: SignedDuration = SignedDuration::from_hours(30);
pub const MISSING: SignedDuration = SignedDuration::from_hours(54);
/// A run at once takes minutes; one that takes longer than this never ends (4.7).
pub const ENDLESS_NOW: SignedDuration = SignedDuration::from_hours(2);
/// Fewer recurrences than this are left: the report is made anew before it runs out.
pub const FEW_RECURRENCES: i64 = 3;
/// Where the daily report asks for what is recent only, older days may be restated: everything is asked for again after this.
const HISTORY_AGE: SignedDuration = SignedDuration::from_hours(28 * 24);
/// As many days as a report lives at most, should Microsoft not say how many recurrences are left.
pub const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(170 * 24);

/// Microsoft's list for one dataset, and when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Catalogued {
    pub offered: Offered,
    pub seen: Timestamp,
}

/// A report of ours at Microsoft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OurReport {
    pub id: String,
    pub created: Timestamp,
}

/// What does not go as it should, since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: TroubleKind,
    pub said: String,
    pub since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// Microsoft does not let us in: the app, its role or the resource of the token.
    Denied,
    /// Microsoft refuses what was asked.
    Refused,
    Unreachable,
    /// The dataset is not in Microsoft's list, or nothing that dates a row can be asked for.
    NotOffered,
    Late,
    Missing,
    /// A run that never ends.
    Endless,
    /// A quota is used up; it passes.
    Quota,
    /// A file that is not believed waits for somebody.
    Held,
    /// A file that is of no use.
    Unusable,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub dataset: String,
    /// What is asked each day.
    pub query: String,
    pub query_id: String,
    pub daily: Option<OurReport>,
    /// The query over everything, when the daily one asks for less.
    pub history_query_id: String,
    /// The run over everything that is on its way.
    pub backfill: Option<OurReport>,
    /// The query whose columns were fetched over everything.
    pub backfilled: Option<String>,
    /// The run over everything is not tried again before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    #[serde(default)]
    pub backfilled_at: Option<Timestamp>,
    /// When the newest file was made.
    pub newest: Option<Timestamp>,
    pub drift: Drift,
    pub trouble: Option<Trouble>,
    pub looked: Option<Timestamp>,
}

impl Schedule {
    /// The columns that are asked for.
    pub fn columns(&self) -> Vec<String> {
        let list = self.query.strip_prefix("SELECT ").and_then(|rest| rest.split_once(" FROM "));
        list.map_or_else(Vec::new, |(names, _)| names.split(", ").map(str::to_owned).collect())
    }

    /// Whether everything was fetched by this query, and not too long ago.
    pub fn has_history(&self, query: &str, reach: Reach, now: Timestamp) -> bool {
        let fresh =
            reach == Reach::All || self.backfilled_at.is_none_or(|fetched| now.duration_since(fetched) < HISTORY_AGE);
        self.backfilled.as_deref() == Some(query) && fresh
    }

    /// Keeps the moment at which a trouble began.
    pub fn say(&mut self, kind: TroubleKind, said: impl Into<String>, now: Timestamp) {
        let since = self.trouble.as_ref().filter(|trouble| trouble.kind == kind).map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { kind, said: said.into(), since });
    }

    /// Whether the daily files come as they should. The first file of a report comes with its first start.
    pub fn punctuality(&self, now: Timestamp) -> Option<TroubleKind> {
        let begun = self.daily.as_ref()?.created;
        let last = self.newest.filter(|newest| *newest > begun).unwrap_or(begun);
        let waited = now.duration_since(last);
        if waited > MISSING { Some(TroubleKind::Missing) } else { (waited > LATE).then_some(TroubleKind::Late) }
    }
}

/// When reports were run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub runs: Vec<Timestamp>,
}

impl Budget {
    /// Takes one run; the error is when there will be one.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.runs.retain(|run| now.duration_since(*run) < HOUR);
        if let Some(first) = self.runs.first().filter(|_| self.runs.len() >= RUNS_AT_ONCE) {
            return Err(*first + HOUR);
        }
        self.runs.push(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn five_runs_an_hour_and_no_more() {
        let mut budget = Budget::default();
        for minute in 0..5 {
            budget.take(at(&format!("2026-03-02T09:0{minute}:00Z"))).unwrap();
        }
        assert_eq!(budget.take(at("2026-03-02T09:30:00Z")), Err(at("2026-03-02T10:00:00Z")));
        budget.take(at("2026-03-02T10:00:00Z")).unwrap();
    }

    #[test]
    fn a_daily_file_is_late_after_a_day_and_a_quarter_and_missing_after_two() {
        let mut schedule = Schedule {
            daily: Some(OurReport { id: "r".into(), created: at("2026-03-02T09:00:00Z") }),
            ..Schedule::default()
        };
        assert_eq!(schedule.punctuality(at("2026-03-03T14:00:00Z")), None);
        assert_eq!(schedule.punctuality(at("2026-03-03T16:00:00Z")), Some(TroubleKind::Late));
        assert_eq!(schedule.punctuality(at("2026-03-05T16:00:00Z")), Some(TroubleKind::Missing));
        schedule.newest = Some(at("2026-03-05T15:00:00Z"));
        assert_eq!(schedule.punctuality(at("2026-03-05T16:00:00Z")), None);
    }
}
