//! ISVQualityOfService: how deployments of Azure applications went. A row is a resource; all rows of a deployment have its
//! correlation id, and it has failed when one of them has.

use std::collections::{BTreeMap, HashMap};

use csv::StringRecord;
use rust_decimal::Decimal;

use super::{Pivot, Step, cells, number};

pub const COLUMNS: [&str; 9] = [
    "StartTime",
    "DeploymentCorrelationId",
    "DeploymentStatus",
    "DeploymentDurationInMilliSeconds",
    "ErrorCode",
    "ErrorName",
    "ErrorMessage",
    "DeepErrorCode",
    "DeepErrorMessage",
];

#[derive(Debug, Clone, Default)]
struct Deployment {
    month: String,
    failed: bool,
    took: Decimal,
}

/// An error and how many deployments had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub name: String,
    pub deep_code: String,
    pub count: u64,
    /// One of those that were told.
    pub message: String,
    pub deep_message: String,
}

#[derive(Debug, Default)]
pub struct Quality {
    all: HashMap<String, Deployment>,
    errors: BTreeMap<(String, String, String), Failure>,
    /// A deployment counts once for an error, however many resources have it.
    counted: std::collections::HashSet<(String, String)>,
}

impl Quality {
    pub fn push(&mut self, row: &StringRecord) {
        let [start, id, status, took, code, name, message, deep_code, deep_message] = cells(row);
        let one = self.all.entry(id.to_lowercase()).or_default();
        if one.month.is_empty() || Step::Month.of(start) < one.month.as_str() {
            one.month = Step::Month.of(start).to_owned();
        }
        one.failed |= !status.eq_ignore_ascii_case("successful");
        one.took = one.took.max(number(took));
        if code.is_empty() && name.is_empty() {
            return;
        }
        let key = (code.to_owned(), name.to_owned(), deep_code.to_owned());
        if self.counted.insert((id.to_lowercase(), format!("{code} {name} {deep_code}"))) {
            let failure = self.errors.entry(key).or_insert_with(|| Failure {
                code: code.to_owned(),
                name: name.to_owned(),
                deep_code: deep_code.to_owned(),
                count: 0,
                message: message.to_owned(),
                deep_message: deep_message.to_owned(),
            });
            failure.count += 1;
        }
    }

    /// By month: `successful` and `failed`.
    pub fn outcomes(&self) -> Pivot {
        let mut pivot = Pivot::default();
        for one in self.all.values() {
            pivot.count(&one.month, if one.failed { "failed" } else { "successful" });
        }
        pivot
    }

    /// By month, in seconds, of those that succeeded: `median`, and `slow`, which one in twenty is slower than.
    pub fn durations(&self) -> Pivot {
        let mut months: BTreeMap<&str, Vec<Decimal>> = BTreeMap::new();
        for one in self.all.values().filter(|one| !one.failed) {
            months.entry(&one.month).or_default().push(one.took);
        }
        let mut pivot = Pivot::default();
        for (month, mut took) in months {
            took.sort_unstable();
            // The nearest rank: a time that there was.
            let rank = |hundredths: usize| took.get((took.len() * hundredths).div_ceil(100).saturating_sub(1));
            for (column, hundredths) in [("median", 50), ("slow", 95)] {
                let seconds = rank(hundredths).and_then(|took| took.checked_div(Decimal::ONE_THOUSAND));
                pivot.add(month, column, seconds.unwrap_or_default());
            }
        }
        pivot
    }

    /// The most frequent first.
    pub fn failures(&self) -> Vec<Failure> {
        let mut all: Vec<Failure> = self.errors.values().cloned().collect();
        all.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_has_failed_when_one_of_its_resources_has_and_counts_once() {
        let mut quality = Quality::default();
        for (id, status, took, code) in [
            ("A", "successful", "60000", ""),
            ("a", "failed", "61000", "Quota"),
            ("a", "failed", "61000", "Quota"),
            ("b", "Successful", "30500", ""),
            ("c", "successful", "90000", ""),
            ("d", "failed", "1", "Quota"),
        ] {
            let row = ["2026-02-03T10:00:00Z", id, status, took, code, "Conflict", "", "", ""];
            let row =
                if code.is_empty() { ["2026-02-03T10:00:00Z", id, status, took, "", "", "", "", ""] } else { row };
            quality.push(&row.to_vec().into());
        }
        let outcomes = quality.outcomes();
        assert_eq!(outcomes.get("2026-02", "failed"), Some(Decimal::from(2)));
        assert_eq!(outcomes.get("2026-02", "successful"), Some(Decimal::from(2)));
        let durations = quality.durations();
        assert_eq!(durations.get("2026-02", "median").unwrap().normalize().to_string(), "30.5");
        assert_eq!(durations.get("2026-02", "slow").unwrap().normalize().to_string(), "90");
        let failures = quality.failures();
        assert_eq!((failures.len(), failures[0].count), (1, 2));
    }
}
