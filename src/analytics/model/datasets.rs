//! Microsoft's seven datasets as far as they are documented (analytics contract 9): columns, types, and the column that
//! dates a row. Which columns can be asked for is decided by Microsoft's list of datasets alone; this table says which of
//! them are wanted and how their text is read.

use std::sync::LazyLock;

/// How a column's text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    Integer,
    Decimal,
    Boolean,
    Date,
    Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// Microsoft sums it over every distinct combination of the other columns that are asked for (8.1).
    pub metric: bool,
    /// Names a person. It is never asked for: who bought is known from the purchase, who is interested from leads, and both
    /// can be erased.
    pub personal: bool,
}

/// What a scheduled query asks for again each day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Rows of old dates still change (an order is cancelled, a payout is sent): everything.
    All,
    /// Rows settle: the last three months.
    Recent,
}

#[derive(Debug)]
pub struct Dataset {
    /// Microsoft's name.
    pub name: &'static str,
    /// In the order in which they are asked for.
    pub columns: Vec<Column>,
    /// The column that dates a row, the first of these that has a value.
    pub dated_by: &'static [&'static str],
    /// Rows with the same values here are the same thing, changed.
    pub key: &'static [&'static str],
    pub reach: Reach,
}

impl Dataset {
    /// By name in any letter case, with or without `ISV`: `usage`, `ISVUsage`.
    pub fn find(name: &str) -> Option<&'static Self> {
        let bare = |name: &str| {
            let lower = name.to_ascii_lowercase();
            lower.strip_prefix("isv").map_or_else(|| lower.clone(), str::to_owned)
        };
        DATASETS.iter().find(|dataset| bare(dataset.name) == bare(name))
    }

    /// In any letter case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// What may stand in a column, where the documents list it. Microsoft answers an unknown word with an empty file.
    pub fn words(&self, column: &str) -> Option<&'static [&'static str]> {
        WORDS
            .iter()
            .find(|(dataset, name, _)| {
                (dataset.is_empty() || *dataset == self.name) && name.eq_ignore_ascii_case(column)
            })
            .map(|(_, _, words)| *words)
    }
}

/// All seven.
pub static DATASETS: LazyLock<Vec<Dataset>> = LazyLock::new(|| {
    vec![
        dataset("ISVOrder", ORDER, &["EventTimestamp", "OrderPurchaseDate", "MonthStartDate"], ORDER_KEY, Reach::All),
        dataset("ISVUsage", USAGE, &["UsageDate"], USAGE_KEY, Reach::Recent),
        dataset("ISVCustomer", CUSTOMER, &["DateAcquired"], CUSTOMER_KEY, Reach::All),
        dataset("ISVMarketplaceInsights", INSIGHTS, &["Date"], INSIGHTS_KEY, Reach::Recent),
        dataset("ISVRevenue", REVENUE, &["MonthStartDate"], REVENUE_KEY, Reach::All),
        dataset("ISVOfferRetention", RETENTION, &["FirstUsageDate"], RETENTION_KEY, Reach::All),
        dataset("ISVQualityOfService", QUALITY, &["StartTime"], QUALITY_KEY, Reach::All),
    ]
});

fn dataset(
    name: &'static str,
    columns: &'static str,
    dated_by: &'static [&'static str],
    key: &'static [&'static str],
    reach: Reach,
) -> Dataset {
    Dataset { name, columns: columns.split_whitespace().filter_map(column).collect(), dated_by, key, reach }
}

/// A word of the lists below: a name, a letter for what is not text, `*` before a metric, `~` before what names a person.
fn column(word: &'static str) -> Option<Column> {
    let (name, kind) = word.split_once(':').unwrap_or((word, ""));
    let kind = match kind {
        "" => Kind::Text,
        "i" => Kind::Integer,
        "n" => Kind::Decimal,
        "b" => Kind::Boolean,
        "d" => Kind::Date,
        "t" => Kind::Timestamp,
        _ => return None,
    };
    let (metric, personal) = (name.starts_with('*'), name.starts_with('~'));
    Some(Column { name: name.trim_start_matches(['*', '~']), kind, metric, personal })
}

const ORDER: &str = "
    EventTimestamp:t AssetId PurchaseRecordId PurchaseRecordLineItemId OrderVersion:i OrderAction OrderStatus
    OrderPurchaseDate:d OrderCancelDate:t MonthStartDate:d OfferId OfferName OfferType PlanId SKU IsPrivateOffer:b
    IsPrivatePlan:b IsPreviewSKU:b Quantity:i QuantityChanged:i BilledRevenue:n Currency ListPriceUSD:n
    DiscountPriceUSD:n HasTrial:b IsTrial:b TrialEndDate:d TermStartDate:d TermEndDate:d BillingTerm BillingPlan
    AutoRenew:b CustomerId CustomerCompanyName CustomerCountry BillingAccountId BillingId MarketplaceSubscriptionId
    ReferenceId AzureLicenseType MarketplaceLicenseType CloudInstanceName IsNewCustomer:b PrivateOfferId
    PrivateOfferName CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes";
const ORDER_KEY: &[&str] = &["AssetId", "PurchaseRecordId", "PurchaseRecordLineItemId", "OrderVersion"];

const USAGE: &str = "
    UsageDate:d MonthStartDate:d OfferId OfferName OfferType PlanId SKU SKUBillingType MeterId MeterDimension UsageUnit
    UsageReference ReferenceId VMSize CoreSize:i CustomerId CustomerCompanyName CustomerCountry ~CustomerName
    BillingAccountId BillingId MarketplaceSubscriptionId CustomerCurrencyCC PriceCC:n PayoutCurrencyPC
    EstimatedPricePC:n ListPriceUSD:n DiscountPriceUSD:n AzureLicenseType MarketplaceLicenseType CloudInstanceName
    DeploymentMethod PlanType ServicePlanName IsInternal:b IsPreviewSKU:b IsPrivateOffer:b IsPrivatePlan:b
    IsNewCustomer:b TrialEndDate:d PartnerCenterDetectedAnomaly:b PublisherMarkedAnomaly:b NewReportedUsage:n
    ActionTakenAt:t ~ActionTakenBy CustomerAccess PublisherAccess PrivateOfferId PrivateOfferName
    CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes *NormalizedUsage:n *RawUsage:n *MeteredUsage:n
    *EstimatedExtendedChargeCC:n *EstimatedExtendedChargePC:n *EstimatedFinancialImpactUSD:n";
const USAGE_KEY: &[&str] = &[
    "UsageDate",
    "CustomerId",
    "BillingAccountId",
    "MarketplaceSubscriptionId",
    "OfferName",
    "OfferId",
    "PlanId",
    "SKU",
    "VMSize",
    "CoreSize",
    "MeterId",
    "MeterDimension",
    "UsageUnit",
    "UsageReference",
    "ReferenceId",
];

const CUSTOMER: &str = "
    DateAcquired:d DateLost:d IsActive:b CustomerId CustomerCompanyName CustomerType CustomerCity CustomerPostalCode
    CustomerState CustomerCountryRegion CustomerCommunicationCulture CommerceRootCustomer BillingAccountId BillingID
    MarketplaceSubscriptionId ReferenceId OfferId OfferName PlanId SKU AzureLicenseType PromotionalCustomers
    ProviderName ~ProviderEmail ~FirstName ~LastName ~Email ~AddressLine1 ~PurchaserEmail lastModifiedAt:t ID
    PrivateOfferId PrivateOfferName IsPrivatePlan:b MultiParty:b PartnerInfo SalesNotes";
const CUSTOMER_KEY: &[&str] = &[
    "CustomerId",
    "BillingAccountId",
    "MarketplaceSubscriptionId",
    "OfferName",
    "OfferId",
    "PlanId",
    "SKU",
    "ReferenceId",
];

const INSIGHTS: &str = "
    Date:d OfferName ReferralDomain CountryName Site Campaign platforms *PageVisits:i *GetItNow:i *ContactMe:i
    *TestDrive:i *FreeTrial:i *ConsentGiven:i *consentGivenCount:i";
const INSIGHTS_KEY: &[&str] = &["Date", "OfferName", "ReferralDomain", "CountryName", "Site", "Campaign", "platforms"];

const REVENUE: &str = "
    MonthStartDate:d PurchaseRecordId LineItemId AssetId OfferName OfferType PlanId SKU BillingModel IsPrivateOffer:b
    SalesChannel CustomerId CustomerCompanyName ~CustomerName ~CustomerEmail CustomerCity CustomerState
    CustomerCountry BillingAccountId Quantity:n Units TransactionAmountCC:n TransactionAmountPC:n
    TransactionAmountUSD:n Revenue:n EstimatedRevenuePC:n EstimatedRevenueUSD:n EarningAmountCC:n EarningAmountPC:n
    EarningAmountUSD:n EarningCurrencyCode EarningExchangeRatePC:n ExchangeRatePC:n ExchangeRateUSD:n
    ExchangeRateDate:d PayoutStatus EstimatedPayoutMonth PaymentSentDate:d PaymentInstrumentType IncentiveRate:n
    TrialDeployment:b TermStartDate:d TermEndDate:d CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes";
const REVENUE_KEY: &[&str] =
    &["PurchaseRecordId", "LineItemId", "AssetId", "MonthStartDate", "PayoutStatus", "EstimatedPayoutMonth"];

const RETENTION: &str = "
    FirstUsageDate:d OfferCategory OfferName OfferType ProductId Sku SkuBillingType CustomerId ~CustomerName
    CustomerCompanyName CustomerCountryName CustomerCountryCode CustomerCurrencyCode AzureLicenseType
    DeploymentMethod ServicePlanName Offset:i";
const RETENTION_KEY: &[&str] = &["ProductId", "Sku", "CustomerId", "CustomerCurrencyCode", "Offset"];

const QUALITY: &str = "
    StartTime:t EndTime:t DeploymentStatus DeploymentDurationInMilliSeconds:i OfferId Sku TemplateType
    DeploymentCorrelationId SubscriptionId CustomerTenantId ~CustomerName DeploymentRegion ResourceProvider
    ResourceType ResourceUri ResourceGroup ResourceName ErrorCode ErrorName ErrorMessage DeepErrorCode
    DeepErrorMessage CustomerAccess PublisherAccess";
const QUALITY_KEY: &[&str] = &["DeploymentCorrelationId", "ResourceUri", "StartTime", "ErrorCode"];

/// Dataset (empty: every one that has the column), column, words.
const WORDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "AzureLicenseType",
        &["Cloud Solution Provider", "Enterprise", "Enterprise through Reseller", "Pay as You Go", "GTM"],
    ),
    (
        "",
        "MarketplaceLicenseType",
        &["Billed Through Azure", "Bring Your Own License", "Free", "Microsoft as Reseller"],
    ),
    ("ISVOrder", "OrderStatus", &["Active", "Canceled", "Cancelled", "Expired", "Abandoned", "Warning"]),
    ("ISVOrder", "OrderAction", &["Purchase", "Renewed", "Renew", "Canceled", "Cancel"]),
    ("ISVUsage", "SKUBillingType", &["Free", "Paid"]),
    ("ISVCustomer", "CustomerType", &["individual", "organization"]),
    ("ISVMarketplaceInsights", "Site", &["AZUREMARKETPLACE", "APPSOURCE"]),
    (
        "ISVRevenue",
        "PayoutStatus",
        &["Sent", "Upcoming", "Unprocessed", "Rejected", "Not eligible", "Reprocessed", "Unreconciled", "Uncollected"],
    ),
    ("ISVRevenue", "BillingModel", &["UsageBased", "SubscriptionBased"]),
    ("ISVOfferRetention", "SkuBillingType", &["Free", "Paid"]),
    ("ISVQualityOfService", "DeploymentStatus", &["successful", "failed"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_tables_is_a_column_and_no_column_stands_twice() {
        for dataset in DATASETS.iter() {
            let mut names: Vec<_> = dataset.columns.iter().map(|column| column.name.to_lowercase()).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), dataset.columns.len(), "{}", dataset.name);
            for name in dataset.key.iter().chain(dataset.dated_by) {
                assert!(dataset.column(name).is_some_and(|column| !column.personal), "{}: {name}", dataset.name);
            }
        }
        let written = [ORDER, USAGE, CUSTOMER, INSIGHTS, REVENUE, RETENTION, QUALITY];
        for (dataset, text) in DATASETS.iter().zip(written) {
            assert_eq!(text.split_whitespace().count(), dataset.columns.len(), "{}", dataset.name);
        }
    }

    #[test]
    fn a_dataset_is_found_by_its_short_name() {
        assert_eq!(Dataset::find("usage").unwrap().name, "ISVUsage");
        assert_eq!(Dataset::find("isvOrder").unwrap().name, "ISVOrder");
        assert!(Dataset::find("isv").is_none());
    }
}
