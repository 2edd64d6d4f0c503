//! Microsoft's own queries (analytics contract, section 7). One of the ids is not a GUID.

use jiff::Timestamp;

use super::reports::StoredQuery;

const QUERIES: &[(&str, &str, &str)] = &[
    (
        "b9df4929-073f-4795-b0cb-a2c81b11e28d",
        "ISVCustomer",
        "SELECT MarketplaceSubscriptionId,DateAcquired,DateLost,ProviderName,ProviderEmail,FirstName,LastName,Email,\
         CustomerCompanyName,CustomerCity,CustomerPostalCode,CustomerCommunicationCulture,CustomerCountryRegion,\
         AzureLicenseType,PromotionalCustomers,CustomerState,CommerceRootCustomer,CustomerId,BillingAccountId,ID \
         FROM ISVCustomer TIMESPAN LAST_6_MONTHS",
    ),
    (
        "bd1b0cc1-ce45-4578-beba-6fe5a69fd421",
        "ISVOrder",
        "SELECT MarketplaceSubscriptionId,MonthStartDate,OfferType,AzureLicenseType,MarketplaceLicenseType,SKU,\
         CustomerCountry,IsPreviewSKU,AssetId,Quantity,CloudInstanceName,IsNewCustomer,OrderStatus,OrderCancelDate,\
         CustomerCompanyName,OrderPurchaseDate,OfferName,TermStartDate,TermEndDate,PurchaseRecordId,\
         PurchaseRecordLineItemId,BilledRevenue,Currency,HasTrial,IsTrial,OrderAction,QuantityChanged,EventTimestamp,\
         OrderVersion FROM ISVOrder TIMESPAN LAST_6_MONTHS",
    ),
    (
        "2c6f384b-ad52-4aed-965f-32bfa09b3778",
        "ISVUsage normalized",
        "SELECT MarketplaceSubscriptionId,MonthStartDate,OfferType,AzureLicenseType,SKU,VMSize,OfferName,UsageDate,\
         CoreSize,CustomerCurrencyCC,PriceCC,UsageUnit,CustomerId,BillingAccountId,UsageReference,NormalizedUsage,\
         EstimatedExtendedChargeCC,EstimatedExtendedChargePC FROM ISVUsage WHERE OfferType IN ('vm core image',\
         'Virtual Machine Licenses','multisolution') ORDER BY NormalizedUsage DESC TIMESPAN LAST_6_MONTHS",
    ),
    (
        "3f19fb95-5bc4-4ee0-872e-cedd22578512",
        "ISVUsage raw",
        "SELECT MarketplaceSubscriptionId,MonthStartDate,OfferType,AzureLicenseType,SKU,VMSize,OfferName,UsageDate,\
         CoreSize,CustomerCurrencyCC,PriceCC,UsageUnit,CustomerId,BillingAccountId,UsageReference,RawUsage,\
         EstimatedExtendedChargeCC,EstimatedExtendedChargePC FROM ISVUsage WHERE OfferType IN ('vm core image',\
         'Virtual Machine Licenses','multisolution') ORDER BY RawUsage DESC TIMESPAN LAST_6_MONTHS",
    ),
    (
        "f0c4927f-1f23-4c99-be4a-1371a5a9a086",
        "ISVUsage metered",
        "SELECT MarketplaceSubscriptionId,MonthStartDate,OfferType,AzureLicenseType,SKU,OfferName,UsageDate,\
         CustomerCurrencyCC,PriceCC,UsageUnit,MeterDimension,MeterId,CustomerId,BillingAccountId,UsageReference,\
         ReferenceId,MeteredUsage,EstimatedExtendedChargeCC,EstimatedExtendedChargePC FROM ISVUsage WHERE OfferType IN \
         ('SaaS','Azure Applications') ORDER BY MeteredUsage DESC TIMESPAN LAST_6_MONTHS",
    ),
    (
        "6fd7624b-aa9f-42df-a61d-67d42fd00e92",
        "ISVMarketplaceInsights",
        "SELECT Date,OfferName,ReferralDomain,CountryName,PageVisits,GetItNow,ContactMe,TestDrive,FreeTrial FROM \
         ISVMarketplaceInsights ORDER BY PageVisits DESC TIMESPAN LAST_6_MONTHS",
    ),
    (
        "bf54dde4-7dc4-492f-a69a-f45de049bfcb",
        "ISVRevenue",
        "SELECT AssetId,SalesChannel,BillingAccountId,CustomerId,EarningAmountCC,EarningAmountUSD,PayoutStatus,LineItemId,\
         MonthStartDate,OfferName,OfferType,PurchaseRecordId,Quantity,SKU,TransactionAmountCC,TransactionAmountUSD,\
         BillingModel,Units FROM ISVRevenue TIMESPAN LAST_6_MONTHS",
    ),
    (
        "q9df4939-073f-5795-b0cb-v2c81d11e58d",
        "ISVQualityOfService",
        "SELECT OfferId,Sku,DeploymentStatus,DeploymentCorrelationId,SubscriptionId,CustomerTenantId,CustomerName,\
         TemplateType,StartTime,EndTime,DeploymentDurationInMilliSeconds,DeploymentRegion,ResourceProvider,ResourceUri,\
         ResourceGroup,ResourceType,ResourceName,ErrorCode,ErrorName,ErrorMessage,DeepErrorCode,DeepErrorMessage FROM \
         ISVQualityOfService TIMESPAN LAST_3_MONTHS",
    ),
    (
        "6d37d057-06f3-45aa-a971-3a34415e8511",
        "ISVOfferRetention",
        "SELECT OfferCategory,OfferName,ProductId,DeploymentMethod,ServicePlanName,Sku,SkuBillingType,CustomerId,\
         CustomerName,CustomerCompanyName,CustomerCountryName,CustomerCountryCode,CustomerCurrencyCode,FirstUsageDate,\
         AzureLicenseType,OfferType,Offset FROM ISVOfferRetention TIMESPAN LAST_6_MONTHS",
    ),
];

pub fn queries() -> impl Iterator<Item = StoredQuery> {
    QUERIES.iter().map(|(id, name, text)| StoredQuery {
        id: (*id).to_owned(),
        name: (*name).to_owned(),
        description: None,
        text: (*text).to_owned(),
        system: true,
        created: Timestamp::UNIX_EPOCH,
    })
}
