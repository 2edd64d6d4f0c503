//! The seven datasets with their columns and kinds, as Microsoft's list of datasets names them (analytics contract,
//! section 9). Written from the contract and not from the product's own table: the two must be able to disagree.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a value of a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Number,
    Flag,
    Day,
    Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    /// Summed over every distinct combination of the other selected columns.
    pub metric: bool,
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<Column>,
    /// The column that a time span looks at.
    pub dated_by: usize,
    /// Rows are dated by month: a span that begins within a month has all of it.
    pub monthly: bool,
    /// Metrics that are listed, but that no query can name (contract 9.6).
    pub listed_only: &'static [&'static str],
    index: HashMap<&'static str, usize>,
}

impl Table {
    /// In any letter case.
    pub fn find(name: &str) -> Option<&'static Table> {
        TABLES.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// In any letter case.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// By its exact name; only for names that stand in the code.
    pub fn at(&self, name: &'static str) -> usize {
        *self.index.get(name).unwrap_or_else(|| panic!("{} has no column {name}", self.name))
    }

    /// One of the seven, by its exact name; only for names that stand in the code.
    pub fn named(name: &'static str) -> &'static Table {
        Self::find(name).unwrap_or_else(|| panic!("there is no dataset {name}"))
    }
}

/// All seven, in the order in which they are listed.
pub static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    vec![
        table("ISVOrder", "EventTimestamp", ORDER),
        table("ISVUsage", "UsageDate", USAGE),
        table("ISVCustomer", "DateAcquired", CUSTOMER),
        table("ISVMarketplaceInsights", "Date", INSIGHTS),
        Table { monthly: true, ..table("ISVRevenue", "MonthStartDate", REVENUE) },
        Table {
            listed_only: &["RevenueGenerated(USD)", "RevenueGeneratedPerDay(USD)"],
            ..table("ISVOfferRetention", "FirstUsageDate", RETENTION)
        },
        table("ISVQualityOfService", "StartTime", QUALITY),
    ]
});

fn table(name: &'static str, dated_by: &'static str, columns: &'static str) -> Table {
    let columns: Vec<Column> = columns.split_whitespace().map(column).collect();
    let index: HashMap<&'static str, usize> =
        columns.iter().enumerate().map(|(place, column)| (column.name, place)).collect();
    let dated_by = index[dated_by];
    Table { name, columns, dated_by, monthly: false, listed_only: &[], index }
}

/// A name, a letter for what is not text, `*` before a metric.
fn column(word: &'static str) -> Column {
    let (name, kind) = word.split_once(':').unwrap_or((word, ""));
    let kind = match kind {
        "i" => Kind::Int,
        "n" => Kind::Number,
        "b" => Kind::Flag,
        "d" => Kind::Day,
        "t" => Kind::Moment,
        _ => Kind::Text,
    };
    Column { name: name.trim_start_matches('*'), kind, metric: name.starts_with('*') }
}

const ORDER: &str = "
    MarketplaceSubscriptionId MonthStartDate:d OfferType AzureLicenseType MarketplaceLicenseType SKU CustomerCountry
    IsPreviewSKU:b AssetId Quantity:i CloudInstanceName IsNewCustomer:b OrderStatus OrderCancelDate:t
    CustomerCompanyName OrderPurchaseDate:d OfferName IsPrivateOffer:b TermStartDate:d TermEndDate:d PurchaseRecordId
    PurchaseRecordLineItemId BilledRevenue:n Currency HasTrial:b IsTrial:b TrialEndDate:d OrderAction QuantityChanged:i
    EventTimestamp:t CustomerId BillingAccountId PlanId BillingTerm BillingPlan ReferenceId AutoRenew OrderVersion:i
    ListPriceUSD:n DiscountPriceUSD:n IsPrivatePlan:b OfferId PrivateOfferId PrivateOfferName BillingId
    CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes";

const USAGE: &str = "
    MarketplaceSubscriptionId MonthStartDate:d OfferType AzureLicenseType MarketplaceLicenseType SKU CustomerCountry
    IsPreviewSKU:b SKUBillingType VMSize CloudInstanceName OfferName IsPrivateOffer:b DeploymentMethod CustomerName
    CustomerCompanyName UsageDate:d IsNewCustomer:b CoreSize:i TrialEndDate:d CustomerCurrencyCC PriceCC:n
    PayoutCurrencyPC EstimatedPricePC:n UsageReference UsageUnit CustomerId BillingAccountId MeterDimension MeterId
    PartnerCenterDetectedAnomaly:b PublisherMarkedAnomaly:b NewReportedUsage:n ActionTakenAt:t ActionTakenBy PlanId
    ReferenceId IsInternal:b ServicePlanName ListPriceUSD:n DiscountPriceUSD:n IsPrivatePlan:b OfferId PrivateOfferId
    PrivateOfferName BillingId CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes PlanType CustomerAccess
    PublisherAccess *NormalizedUsage:n *RawUsage:n *MeteredUsage:n *EstimatedExtendedChargeCC:n
    *EstimatedExtendedChargePC:n *EstimatedFinancialImpactUSD:n";

const CUSTOMER: &str = "
    MarketplaceSubscriptionId DateAcquired:d DateLost:d IsActive:b ProviderName ProviderEmail FirstName LastName Email
    CustomerCompanyName CustomerCity CustomerPostalCode CustomerCommunicationCulture CustomerCountryRegion
    AzureLicenseType PromotionalCustomers CustomerState CommerceRootCustomer CustomerId BillingAccountId CustomerType
    OfferName PlanId SKU ID lastModifiedAt:t AddressLine1 BillingID PrivateOfferId PrivateOfferName PurchaserEmail
    ReferenceId OfferId IsPrivatePlan:b MultiParty:b PartnerInfo SalesNotes";

/// Which counters are metrics is not documented; all of them are here.
const INSIGHTS: &str = "
    Date:d OfferName ReferralDomain CountryName Site Campaign platforms *PageVisits:i *GetItNow:i *ContactMe:i
    *TestDrive:i *FreeTrial:i *ConsentGiven:i";

const REVENUE: &str = "
    AssetId SalesChannel BillingAccountId CustomerCity CustomerCompanyName CustomerCountry CustomerEmail CustomerId
    CustomerName CustomerState EarningAmountCC:n EarningAmountPC:n EarningAmountUSD:n EarningCurrencyCode
    EarningExchangeRatePC:n EstimatedPayoutMonth:d Revenue:n EstimatedRevenuePC:n EstimatedRevenueUSD:n
    ExchangeRateDate:d ExchangeRatePC:n ExchangeRateUSD:n PayoutStatus IncentiveRate:n TrialDeployment:b LineItemId
    MonthStartDate:d OfferName OfferType PaymentInstrumentType PaymentSentDate:d PurchaseRecordId Quantity:n SKU
    TermEndDate:d TermStartDate:d TransactionAmountCC:n TransactionAmountPC:n TransactionAmountUSD:n BillingModel Units
    PlanId IsPrivateOffer:b CustomerAdjustmentUSD:n MultiParty:b PartnerInfo SalesNotes";

const RETENTION: &str = "
    OfferCategory OfferName ProductId Sku SkuBillingType CustomerId CustomerName CustomerCompanyName
    CustomerCountryName CustomerCountryCode CustomerCurrencyCode FirstUsageDate:d AzureLicenseType OfferType Offset:i
    DeploymentMethod ServicePlanName";

const QUALITY: &str = "
    OfferId Sku DeploymentStatus DeploymentCorrelationId SubscriptionId CustomerTenantId CustomerName TemplateType
    StartTime:t EndTime:t DeploymentDurationInMilliSeconds:i DeploymentRegion ResourceProvider ResourceUri
    ResourceGroup ResourceType ResourceName ErrorCode ErrorName ErrorMessage DeepErrorCode DeepErrorMessage
    CustomerAccess PublisherAccess";
