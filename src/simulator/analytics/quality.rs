//! ISVOfferRetention (virtual machines only) and ISVQualityOfService (Azure applications only): analytics contract 9.6
//! and 9.7.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::super::managed_apps::ManagedApp;
use super::cell::{Cell, Row};
use super::draw::{self, days_after, midnight};
use super::facts::Asset;
use super::orders::{MASK, common};
use super::tables::Table;
use super::world::World;

/// So many days of use are told.
const LONGEST: i64 = 45;

/// A row for each day since the first use.
pub fn retention(world: &World) -> Vec<Row> {
    let table = Table::named("ISVOfferRetention");
    let mut rows = Vec::new();
    for asset in world.assets().filter(|asset| asset.machine.is_some()) {
        let customer = &asset.customer;
        let mut base = common(table, asset);
        let mut set = |name: &'static str, cell: Cell| base[table.at(name)] = cell;
        set("OfferCategory", Cell::Word("Storage"));
        set("ProductId", Cell::text(format!("{:06x}", draw::number(&asset.offer_id) & 0xff_ffff)));
        set("Sku", Cell::text(&asset.plan));
        set("SkuBillingType", Cell::Word("Paid"));
        set("CustomerCountryName", Cell::Word(customer.country));
        set("CustomerCountryCode", Cell::Word(customer.country_code));
        set("CustomerCurrencyCode", Cell::Word(customer.currency));
        set("FirstUsageDate", Cell::Day(asset.first_day));
        set("DeploymentMethod", Cell::Word("Resource Manager"));
        for offset in 0..=LONGEST {
            let day = days_after(asset.first_day, offset);
            if !world.is_told(day) || asset.ended.is_some_and(|end| day > draw::day_of(end)) {
                break;
            }
            let mut row = base.clone();
            row[table.at("Offset")] = Cell::Int(offset);
            rows.push(row);
        }
    }
    rows
}

/// Resources of one deployment.
const RESOURCES: &[(&str, &str)] =
    &[("Microsoft.Storage", "storageAccounts"), ("Microsoft.Compute", "virtualMachines"), ("Microsoft.Web", "sites")];

/// Code, name, message, deep code, deep message: the commas, quotes, line breaks and JSON of the real ones.
const ERRORS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "DeploymentFailed",
        "Conflict",
        "At least one resource deployment operation failed. Please list deployment operations for details, \"see\" \
         https://aka.ms/arm-deployment-operations.\nLine two, with a comma",
        "SkuNotAvailable",
        "{\"error\":{\"code\":\"SkuNotAvailable\",\"message\":\"The requested size 'Standard_D4s_v5', zone \\\"2\\\", \
         is not available.\"}}",
    ),
    (
        "QuotaExceeded",
        "BadRequest",
        "Operation could not be completed as it results in exceeding approved Total Regional Cores quota;\r\nLimit: 10, \
         Usage: 8, Required: 16",
        "",
        "",
    ),
];

struct Deployed<'a> {
    id: Uuid,
    offer: &'a str,
    sku: &'a str,
    subscription: Uuid,
    tenant: Uuid,
    customer: Option<String>,
    group: String,
    name: String,
    region: &'a str,
    start: Timestamp,
    took: SignedDuration,
    /// Which of the errors ended it.
    error: Option<usize>,
}

pub fn deployments(world: &World) -> Vec<Row> {
    let table = Table::named("ISVQualityOfService");
    let mut rows = Vec::new();
    for asset in world.assets().filter(|asset| asset.drawn.is_some() && asset.offer_type == "azure applications") {
        for try_number in 0..2 {
            if let Some(deployed) = drawn(asset, try_number).filter(|one| one.start + one.took <= world.as_of) {
                resources(table, &deployed, &mut rows);
            }
        }
    }
    for app in world.apps.iter().filter(|app| app.created <= world.as_of && app.resource_usage_id.is_some()) {
        if let Some(deployed) = booked(app, world.as_of) {
            resources(table, &deployed, &mut rows);
        }
    }
    rows
}

/// One in four fails the first time; then there is a second time.
fn drawn(asset: &Asset, try_number: u64) -> Option<Deployed<'_>> {
    let [high, low] = draw::halves(asset.id);
    let pick = |what: u64| draw::mix(&[high, low, what, try_number]);
    let fails = draw::mix(&[high, low, 1]).is_multiple_of(4);
    if try_number == 1 && !fails {
        return None;
    }
    let minutes = i64::try_from(10 + pick(2) % 600).unwrap_or_default();
    let at = midnight(asset.first_day) + SignedDuration::from_mins(minutes);
    let error = usize::try_from(pick(3)).unwrap_or_default() % ERRORS.len();
    Some(Deployed {
        id: draw::id(&[high, low, 4, try_number]),
        offer: &asset.offer_id,
        sku: &asset.plan,
        subscription: asset.azure_subscription,
        tenant: asset.customer.tenant,
        customer: (!asset.customer.masked).then(|| asset.customer.company.clone()),
        group: "media-rg".to_owned(),
        name: format!("studio{}", pick(5) % 1_000),
        region: ["westeurope", "eastus", "japaneast"][usize::try_from(pick(6) % 3).unwrap_or_default()],
        start: at + SignedDuration::from_hours(i64::try_from(try_number).unwrap_or_default()),
        took: SignedDuration::from_millis(i64::try_from(30_000 + pick(7) % 900_000).unwrap_or_default()),
        error: (fails && try_number == 0).then_some(error),
    })
}

fn booked(app: &ManagedApp, as_of: Timestamp) -> Option<Deployed<'_>> {
    let done = app.provisioned.or(app.error.is_some().then_some(app.updated)).filter(|done| *done <= as_of)?;
    let buyer = super::super::people::Person::contoso_buyer();
    let [high, low] = draw::halves(app.resource_usage_id?);
    Some(Deployed {
        id: draw::id(&[high, low, 4]),
        offer: &app.product,
        sku: &app.plan,
        subscription: app.subscription,
        tenant: buyer.tenant_id,
        customer: Some(buyer.organisation),
        group: app.resource_group.clone(),
        name: app.name.clone(),
        region: &app.region,
        start: app.created,
        took: done.duration_since(app.created),
        error: (app.provisioned.is_none()).then_some(0),
    })
}

/// A failure is told at the last resource.
fn resources(table: &'static Table, one: &Deployed<'_>, rows: &mut Vec<Row>) {
    for (place, (provider, kind)) in RESOURCES.iter().enumerate() {
        let mut row = vec![Cell::Null; table.columns.len()];
        let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
        let error = one.error.filter(|_| place + 1 == RESOURCES.len()).and_then(|error| ERRORS.get(error));
        let uri = format!(
            "/subscriptions/{}/resourceGroups/{}/providers/{provider}/{kind}/{}",
            one.subscription, one.group, one.name
        );
        set("OfferId", Cell::text(one.offer));
        set("Sku", Cell::text(one.sku));
        set("DeploymentStatus", Cell::Word(if error.is_some() { "failed" } else { "successful" }));
        set("DeploymentCorrelationId", Cell::id(one.id));
        set("SubscriptionId", Cell::id(one.subscription));
        set("CustomerTenantId", Cell::id(one.tenant));
        set("CustomerName", one.customer.as_ref().map_or(Cell::Word(MASK), Cell::text));
        set("TemplateType", Cell::Word("Managed Application"));
        set("StartTime", Cell::Moment(one.start));
        set("EndTime", Cell::Moment(one.start + one.took));
        let took = i64::try_from(one.took.as_millis()).unwrap_or_default();
        set("DeploymentDurationInMilliSeconds", Cell::Int(took));
        set("DeploymentRegion", Cell::text(one.region));
        set("ResourceProvider", Cell::Word(provider));
        set("ResourceUri", Cell::text(uri));
        set("ResourceGroup", Cell::text(&one.group));
        set("ResourceType", Cell::Word(kind));
        set("ResourceName", Cell::text(&one.name));
        if let Some((code, name, message, deep_code, deep_message)) = error {
            set("ErrorCode", Cell::Word(code));
            set("ErrorName", Cell::Word(name));
            set("ErrorMessage", Cell::text(message));
            set("DeepErrorCode", Cell::some(deep_code));
            set("DeepErrorMessage", Cell::some(deep_message));
        }
        set("CustomerAccess", Cell::Word("Restricted access"));
        set("PublisherAccess", Cell::Word("Enabled"));
        rows.push(row);
    }
}
