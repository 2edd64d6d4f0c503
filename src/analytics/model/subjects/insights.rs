//! ISVMarketplaceInsights: from a visit of an offer's page to what was clicked there. Clicks, not people: they must not be
//! compared with leads one by one.

use csv::StringRecord;

use super::{Pivot, Step, cells, number};

pub const COLUMNS: [&str; 11] = [
    "Date",
    "OfferName",
    "ReferralDomain",
    "CountryName",
    "Campaign",
    "Site",
    "PageVisits",
    "GetItNow",
    "ContactMe",
    "TestDrive",
    "FreeTrial",
];

/// The counters, in the order of the funnel.
pub const STEPS: [&str; 5] = ["PageVisits", "GetItNow", "ContactMe", "TestDrive", "FreeTrial"];

/// What clicks are told apart by.
pub const BY: [&str; 5] = ["OfferName", "ReferralDomain", "CountryName", "Campaign", "Site"];

#[derive(Debug, Default)]
pub struct Insights {
    pub months: Pivot,
    /// One for each of [`BY`].
    pub by: [Pivot; 5],
}

impl Insights {
    pub fn push(&mut self, row: &StringRecord) {
        let [date, offer, domain, country, campaign, site, counters @ ..] = cells::<11>(row);
        for (step, cell) in STEPS.iter().zip(counters) {
            let count = number(cell);
            self.months.add(Step::Month.of(date), step, count);
            for (pivot, line) in self.by.iter_mut().zip([offer, domain, country, campaign, site]) {
                pivot.add(line, step, count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    #[test]
    fn clicks_are_counted_by_everything_that_tells_them_apart() {
        let mut insights = Insights::default();
        for row in [
            ["2026-02-01", "A", "bing", "Germany", "", "AZUREMARKETPLACE", "14", "2", "0", "", "1"],
            ["2026-02-03", "A", "none", "Japan", "spring", "AZUREMARKETPLACE", "6", "1", "1", "0", "0"],
        ] {
            insights.push(&row.to_vec().into());
        }
        assert_eq!(insights.months.get("2026-02", "PageVisits"), Some(Decimal::from(20)));
        assert_eq!(insights.by[0].get("A", "GetItNow"), Some(Decimal::from(3)));
        assert_eq!(insights.by[3].get("", "FreeTrial"), Some(Decimal::ONE));
    }
}
