//! What Microsoft says can be asked for, what we ask for of it, and what has changed (analytics contract 4.1).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::datasets::{Dataset, Reach};
use crate::foundation::hex::hex;

/// A dataset in Microsoft's list, which alone decides which names can be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    pub dataset: String,
    pub columns: Vec<String>,
    pub metrics: Vec<String>,
    /// Such as `LAST_MONTH`.
    pub spans: Vec<String>,
}

/// How Microsoft's list differs from what this product knows. Nothing of it stops a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Wanted, and not to be had.
    pub missing: Vec<String>,
    /// To be had, and unknown here.
    pub new: Vec<String>,
    /// Read from a file, and not asked for.
    #[serde(default)]
    pub surplus: Vec<String>,
    /// Asked for, and not in a file.
    #[serde(default)]
    pub lacking: Vec<String>,
}

impl Offered {
    fn has(&self, name: &str) -> Option<&str> {
        // The parser refuses parentheses in names (10).
        let all = self.columns.iter().chain(&self.metrics);
        all.map(String::as_str).find(|offered| offered.eq_ignore_ascii_case(name) && !offered.contains(['(', ' ']))
    }

    /// The columns to ask for, in Microsoft's spelling: wanted ∩ selectable.
    pub fn wanted(&self, dataset: &Dataset) -> Vec<String> {
        let wanted = dataset.columns.iter().filter(|column| !column.personal);
        wanted.filter_map(|column| self.has(column.name)).map(str::to_owned).collect()
    }

    /// The query that asks for them, over everything or what is recent. None: nothing that dates a row can be asked for.
    pub fn query(&self, dataset: &Dataset, reach: Reach) -> Option<String> {
        let columns = self.wanted(dataset);
        let dated = dataset.dated_by.iter().any(|name| columns.iter().any(|column| column.eq_ignore_ascii_case(name)));
        let spans: &[&str] = match reach {
            Reach::All => &["LIFETIME", "LAST_1_YEAR", "LAST_6_MONTHS"],
            Reach::Recent => &["LAST_3_MONTHS", "LAST_6_MONTHS", "LIFETIME"],
        };
        let offered = |span: &&&str| self.spans.iter().any(|known| known.eq_ignore_ascii_case(span));
        // Where the list of spans is missing, the widest is the safest.
        let span = spans.iter().find(offered).unwrap_or(&spans[0]);
        dated.then(|| format!("SELECT {} FROM {} TIMESPAN {span}", columns.join(", "), self.dataset))
    }

    pub fn drift(&self, dataset: &Dataset) -> Drift {
        let metric_or_column = |name: &&String| dataset.column(name).is_none();
        Drift {
            missing: dataset
                .columns
                .iter()
                .filter(|column| !column.personal && self.has(column.name).is_none())
                .map(|column| column.name.to_owned())
                .collect(),
            new: self.columns.iter().chain(&self.metrics).filter(metric_or_column).cloned().collect(),
            ..Drift::default()
        }
    }
}

/// A query's name, by which it is found again: other text, other name.
pub fn query_name(dataset: &Dataset, query: &str) -> String {
    format!("mediagenie-{}-{}", dataset.name, &hex(&Sha256::digest(query))[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Offered {
        Offered {
            dataset: "ISVUsage".into(),
            columns: ["usageDate", "PlanId", "Brand New", "CustomerName"].map(str::to_owned).to_vec(),
            metrics: ["MeteredUsage", "RevenueGenerated(USD)"].map(str::to_owned).to_vec(),
            spans: ["LAST_MONTH", "LAST_3_MONTHS", "LIFETIME"].map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn what_is_wanted_and_selectable_is_asked_for_and_nobody_by_name() {
        let usage = Dataset::find("usage").unwrap();
        assert_eq!(
            offered().query(usage, Reach::Recent).unwrap(),
            "SELECT usageDate, PlanId, MeteredUsage FROM ISVUsage TIMESPAN LAST_3_MONTHS"
        );
        assert!(offered().query(usage, Reach::All).unwrap().ends_with("LIFETIME"));
    }

    #[test]
    fn a_list_that_dates_no_row_asks_for_nothing() {
        let bare = Offered { columns: vec!["PlanId".into()], ..offered() };
        assert_eq!(bare.query(Dataset::find("usage").unwrap(), Reach::All), None);
    }

    #[test]
    fn drift_tells_what_is_missing_and_what_is_new() {
        let drift = offered().drift(Dataset::find("usage").unwrap());
        assert!(drift.missing.contains(&"PriceCC".to_owned()));
        assert!(!drift.missing.contains(&"CustomerName".to_owned()));
        assert_eq!(drift.new, ["Brand New", "RevenueGenerated(USD)"]);
    }
}
