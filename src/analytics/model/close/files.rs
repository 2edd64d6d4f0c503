//! The files of a package. Their columns are a promise to whoever reads old packages: columns may be added, never changed.

use crate::analytics::model::datasets::Kind;

/// A file of a package, in the order in which they stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum File {
    UsageEvents,
    BookedUsage,
    Usage,
    Revenue,
    Recognition,
    Orders,
    Differences,
    Journal,
    Corrections,
}

#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// `unit`: of the dimension; another word: the column that names the currency, or the currency itself.
    pub unit: &'static str,
}

/// A line's cells, in the order of its file's columns.
pub type Line = Vec<String>;

impl File {
    pub const ALL: [Self; 9] = [
        Self::UsageEvents,
        Self::BookedUsage,
        Self::Usage,
        Self::Revenue,
        Self::Recognition,
        Self::Orders,
        Self::Differences,
        Self::Journal,
        Self::Corrections,
    ];

    /// Those whose lines are facts: a later package corrects them.
    pub const FACTS: [Self; 6] =
        [Self::UsageEvents, Self::BookedUsage, Self::Usage, Self::Revenue, Self::Recognition, Self::Orders];

    pub fn name(self) -> &'static str {
        match self {
            Self::UsageEvents => "usage_events.csv",
            Self::BookedUsage => "booked_usage.csv",
            Self::Usage => "usage.csv",
            Self::Revenue => "revenue.csv",
            Self::Recognition => "recognition.csv",
            Self::Orders => "orders.csv",
            Self::Differences => "differences.csv",
            Self::Journal => "journal.csv",
            Self::Corrections => "corrections.csv",
        }
    }

    /// What it is, for the people who open the package.
    pub fn about(self) -> &'static str {
        match self {
            Self::UsageEvents => "our ledger: the usage events of the month, by hour, with what became of them",
            Self::BookedUsage => "what Microsoft's metering API lists as booked, by day",
            Self::Usage => "the rows of ISVUsage of the month's days",
            Self::Revenue => "the rows of ISVRevenue of the month",
            Self::Recognition => {
                "what is earned in the month and deferred after it, of every term that is billed in advance"
            }
            Self::Orders => "the rows of ISVOrder of events in the month",
            Self::Differences => "the differences between these sides, with what people said of them",
            Self::Journal => "the sums of all files by account, plan, term and currency",
            Self::Corrections => "what differs from the month's previous package",
        }
    }

    pub fn columns(self) -> Vec<Column> {
        let list = match self {
            Self::UsageEvents => USAGE_EVENTS,
            Self::BookedUsage => BOOKED_USAGE,
            Self::Usage => USAGE,
            Self::Revenue => REVENUE,
            Self::Recognition => RECOGNITION,
            Self::Orders => ORDERS,
            Self::Differences => DIFFERENCES,
            Self::Journal => JOURNAL,
            Self::Corrections => CORRECTIONS,
        };
        list.split_whitespace().map(column).collect()
    }

    /// What names a line. Lines with the same name are told apart by their place.
    fn key(self) -> &'static [&'static str] {
        match self {
            Self::UsageEvents => &["resource", "hour", "dimension"],
            Self::BookedUsage => &["day", "resource", "plan", "dimension"],
            Self::Usage => &[
                "UsageDate",
                "OfferId",
                "OfferName",
                "PlanId",
                "SKU",
                "MeterId",
                "MeterDimension",
                "UsageUnit",
                "UsageReference",
                "ReferenceId",
                "VMSize",
                "CoreSize",
                "CustomerId",
                "BillingAccountId",
                "MarketplaceSubscriptionId",
            ],
            Self::Revenue | Self::Recognition => {
                &["PurchaseRecordId", "LineItemId", "AssetId", "MonthStartDate", "PayoutStatus", "EstimatedPayoutMonth"]
            }
            Self::Orders => &["AssetId", "PurchaseRecordId", "PurchaseRecordLineItemId", "OrderVersion", "OrderAction"],
            Self::Differences | Self::Journal | Self::Corrections => &[],
        }
    }

    /// The column whose values follow each other: lines of one value are compared together. None: all at once.
    pub fn ordered_by(self) -> Option<&'static str> {
        match self {
            Self::UsageEvents => Some("resource"),
            Self::BookedUsage => Some("day"),
            Self::Usage => Some("UsageDate"),
            _ => None,
        }
    }

    pub fn place(self, column: &str) -> Option<usize> {
        self.columns().iter().position(|known| known.name == column)
    }

    /// Where the cells of a line's name are.
    pub fn key_places(self) -> Vec<usize> {
        self.key().iter().filter_map(|name| self.place(name)).collect()
    }
}

/// A word of the lists below: a name, a letter for what is not text, and behind `=` the unit.
fn column(word: &'static str) -> Column {
    let (word, unit) = word.split_once('=').unwrap_or((word, ""));
    let (name, kind) = word.split_once(':').unwrap_or((word, ""));
    let kind = match kind {
        "i" => Kind::Integer,
        "n" => Kind::Decimal,
        "b" => Kind::Boolean,
        "d" => Kind::Date,
        "t" => Kind::Timestamp,
        _ => Kind::Text,
    };
    Column { name, kind, unit }
}

const USAGE_EVENTS: &str = "
    resource hour:t plan dimension quantity:n=unit state accepted_quantity:n=unit usage_event_id price:n=currency
    currency amount:n=currency reason";

const BOOKED_USAGE: &str = "day:d resource plan dimension status submitted:n=unit processed:n=unit";

/// Those of Microsoft's columns that say what was used, by whom, and what it costs.
const USAGE: &str = "
    UsageDate:d MonthStartDate:d OfferId OfferName OfferType PlanId SKU SKUBillingType MeterId MeterDimension UsageUnit
    UsageReference ReferenceId VMSize CoreSize:i CustomerId CustomerCompanyName CustomerCountry BillingAccountId
    MarketplaceSubscriptionId CustomerCurrencyCC PriceCC:n=CustomerCurrencyCC PayoutCurrencyPC
    EstimatedPricePC:n=PayoutCurrencyPC NormalizedUsage:n=hours RawUsage:n=hours MeteredUsage:n=unit
    EstimatedExtendedChargeCC:n=CustomerCurrencyCC EstimatedExtendedChargePC:n=PayoutCurrencyPC
    EstimatedFinancialImpactUSD:n=USD";

const REVENUE: &str = "
    MonthStartDate:d PurchaseRecordId LineItemId AssetId OfferName OfferType PlanId SKU BillingModel SalesChannel
    CustomerId CustomerCompanyName CustomerCountry BillingAccountId Quantity:n=Units Units
    TransactionAmountCC:n=currency TransactionAmountPC:n=EarningCurrencyCode TransactionAmountUSD:n=USD
    Revenue:n=currency EstimatedRevenuePC:n=EarningCurrencyCode EstimatedRevenueUSD:n=USD
    EarningAmountCC:n=currency EarningAmountPC:n=EarningCurrencyCode EarningAmountUSD:n=USD EarningCurrencyCode
    EarningExchangeRatePC:n ExchangeRatePC:n ExchangeRateUSD:n ExchangeRateDate:d PayoutStatus EstimatedPayoutMonth
    PaymentSentDate:d TermStartDate:d TermEndDate:d TrialDeployment:b currency";

const RECOGNITION: &str = "
    PurchaseRecordId LineItemId AssetId MonthStartDate:d PayoutStatus EstimatedPayoutMonth OfferName PlanId SKU
    TermStartDate:d TermEndDate:d term billed:n=currency earned_before:n=currency earned:n=currency
    deferred:n=currency currency";

const ORDERS: &str = "
    EventTimestamp:t AssetId PurchaseRecordId PurchaseRecordLineItemId OrderVersion:i OrderAction OrderStatus
    OrderPurchaseDate:d OrderCancelDate:t OfferId OfferName OfferType PlanId SKU Quantity:i QuantityChanged:i
    BilledRevenue:n=Currency Currency HasTrial:b IsTrial:b TrialEndDate:d TermStartDate:d TermEndDate:d BillingTerm
    BillingPlan AutoRenew:b CustomerId CustomerCompanyName CustomerCountry BillingAccountId ReferenceId";

const DIFFERENCES: &str = "
    id class between why absent resource plan dimension day:d other_day:d hours ours theirs amount:n=currency currency
    explained:b note by at:t";

const JOURNAL: &str = "account plan term currency quantity:n=unit amount:n=currency";

const CORRECTIONS: &str = "
    file what key account plan term currency quantity_before:n=unit quantity_after:n=unit quantity:n=unit
    amount_before:n=currency amount_after:n=currency amount:n=currency";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::model::datasets::Dataset;

    #[test]
    fn every_column_stands_once_and_every_name_of_a_line_is_a_column() {
        for file in File::ALL {
            let mut names: Vec<&str> = file.columns().iter().map(|column| column.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{file:?}");
            assert_eq!(file.key_places().len(), file.key().len(), "{file:?}");
            assert!(file.ordered_by().is_none_or(|name| file.place(name).is_some()), "{file:?}");
        }
    }

    #[test]
    fn what_is_taken_from_a_dataset_is_a_column_of_it_that_names_nobody() {
        let ours = ["currency", "term", "billed", "earned_before", "earned", "deferred"];
        for (file, dataset) in [
            (File::Usage, "ISVUsage"),
            (File::Revenue, "ISVRevenue"),
            (File::Recognition, "ISVRevenue"),
            (File::Orders, "ISVOrder"),
        ] {
            let dataset = Dataset::find(dataset).unwrap();
            for column in file.columns().iter().filter(|column| !ours.contains(&column.name)) {
                let known = dataset.column(column.name).unwrap_or_else(|| panic!("{file:?}: {}", column.name));
                assert!(known.kind == column.kind && !known.personal, "{file:?}: {}", column.name);
            }
        }
    }
}
