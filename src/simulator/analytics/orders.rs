//! ISVOrder and ISVCustomer (analytics contract 9.1 and 9.3), and what most datasets say of an asset.

use super::cell::{Cell, Row};
use super::draw::{self, midnight};
use super::facts::{Asset, Event};
use super::tables::Table;
use super::world::World;

/// Instead of what names a protected customer.
pub const MASK: &str = "************";

/// A row with what these tables have in common; columns that a table lacks are left out.
pub fn common(table: &'static Table, asset: &Asset) -> Row {
    let mut row = vec![Cell::Null; table.columns.len()];
    let customer = &asset.customer;
    let private_name = asset.private_offer.map_or(Cell::Null, |_| Cell::Word("Special terms, 2 years"));
    let values = [
        ("MarketplaceSubscriptionId", Cell::id(asset.azure_subscription)),
        ("OfferType", Cell::Word(asset.offer_type)),
        ("AzureLicenseType", Cell::Word(customer.channel)),
        ("MarketplaceLicenseType", Cell::Word("Billed Through Azure")),
        ("CustomerCountry", Cell::Word(customer.country)),
        ("IsPreviewSKU", Cell::Flag(false)),
        ("CloudInstanceName", Cell::Word("Global")),
        ("OfferName", Cell::text(&asset.offer_name)),
        ("OfferId", Cell::text(&asset.offer_id)),
        ("IsPrivateOffer", Cell::Flag(asset.private_offer.is_some())),
        ("IsPrivatePlan", Cell::Flag(false)),
        ("PrivateOfferId", asset.private_offer.map_or(Cell::Null, Cell::id)),
        ("PrivateOfferName", private_name),
        ("CustomerCompanyName", if customer.masked { Cell::Word(MASK) } else { Cell::text(&customer.company) }),
        ("CustomerId", Cell::text(format!("{}_{}", customer.id, customer.since))),
        ("BillingAccountId", Cell::id(customer.billing_account)),
        ("BillingId", Cell::id(customer.billing_account)),
        ("IsNewCustomer", Cell::Flag(false)),
        ("MultiParty", Cell::Flag(false)),
    ];
    for (name, value) in values {
        if let Some(place) = table.position(name) {
            row[place] = value;
        }
    }
    row
}

/// One row for every event of every asset, versions counted from 1. When something is cancelled, all of its rows say so.
pub fn orders(world: &World) -> Vec<Row> {
    let table = Table::named("ISVOrder");
    let mut rows = Vec::new();
    for asset in world.assets().filter(|asset| asset.machine.is_none()) {
        let base = common(table, asset);
        for (place, event) in asset.events.iter().enumerate().take_while(|(_, event)| event.at <= world.as_of) {
            rows.push(order(world, table, asset, base.clone(), place, event));
        }
    }
    rows
}

fn order(world: &World, table: &'static Table, asset: &Asset, base: Row, place: usize, event: &Event) -> Row {
    let mut row = base;
    let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
    let ended = asset.was_ended(world.as_of);
    let bought = asset.events.first().map_or(asset.first_day, |event| draw::day_of(event.at));
    let day = draw::day_of(event.at);
    let (record, line) = asset.record(place);
    set("MonthStartDate", Cell::Day(day.first_of_month()));
    set("SKU", Cell::text(&event.sku));
    set("PlanId", Cell::text(&event.plan));
    set("AssetId", Cell::id(asset.id));
    set("Quantity", Cell::Int(event.seats));
    set("QuantityChanged", Cell::Int(event.changed));
    set("IsNewCustomer", Cell::Flag(place == 0));
    set("OrderStatus", Cell::Word(if ended.is_some() { "cancelled" } else { "active" }));
    set("OrderCancelDate", ended.map_or(Cell::Null, Cell::Moment));
    set("OrderPurchaseDate", Cell::Day(bought));
    set("TermStartDate", Cell::Day(event.term.0));
    set("TermEndDate", Cell::Day(event.term.1));
    set("PurchaseRecordId", Cell::text(record));
    set("PurchaseRecordLineItemId", Cell::text(line));
    set("BilledRevenue", Cell::number(event.billed));
    set("Currency", Cell::Word(asset.customer.currency));
    set("HasTrial", Cell::Flag(asset.trial_end.is_some()));
    set("IsTrial", Cell::Flag(event.trial));
    set("TrialEndDate", Cell::day(asset.trial_end));
    set("OrderAction", Cell::Word(event.action));
    set("EventTimestamp", Cell::Moment(event.at));
    set("BillingTerm", Cell::Word(asset.term));
    set("BillingPlan", Cell::Word("Upfront"));
    set("ReferenceId", Cell::id(asset.id));
    let renews = |on| Cell::Word(if on { "True" } else { "False" });
    set("AutoRenew", asset.auto_renew.map_or(Cell::Null, renews));
    set("OrderVersion", Cell::Int(i64::try_from(place).unwrap_or_default() + 1));
    row
}

/// One row for every asset.
pub fn customers(world: &World) -> Vec<Row> {
    let table = Table::named("ISVCustomer");
    let known = world.assets().filter(|asset| midnight(asset.first_day) <= world.as_of);
    known.map(|asset| customer(world, table, asset)).collect()
}

fn customer(world: &World, table: &'static Table, asset: &Asset) -> Row {
    let mut row = common(table, asset);
    let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
    let customer = &asset.customer;
    let ended = asset.was_ended(world.as_of);
    let told = asset.events.iter().map(|event| event.at).take_while(|at| *at <= world.as_of).last();
    let hidden = |text: &str| if customer.masked { Cell::Word(MASK) } else { Cell::some(text) };
    set("DateAcquired", Cell::Day(asset.first_day));
    set("DateLost", Cell::day(ended.map(draw::day_of)));
    set("IsActive", Cell::Flag(ended.is_none()));
    if customer.channel == "Cloud Solution Provider" {
        set("ProviderName", Cell::Word("Northwind (reseller)"));
        set("ProviderEmail", Cell::Word("nora@northwind.example"));
    }
    set("FirstName", hidden(&customer.first_name));
    set("LastName", hidden(&customer.last_name));
    set("Email", hidden(&customer.email));
    set("PurchaserEmail", hidden(&customer.email));
    set("CustomerCity", hidden(customer.city));
    set("CustomerPostalCode", hidden(&format!("{:05}", draw::halves(customer.id)[0] % 100_000)));
    set("CustomerCommunicationCulture", Cell::Word(customer.culture));
    set("CustomerCountryRegion", Cell::Word(customer.country));
    set("PromotionalCustomers", Cell::Word("No"));
    set("CommerceRootCustomer", hidden(&customer.company));
    set("CustomerType", Cell::Word(if customer.individual { "individual" } else { "organization" }));
    set("PlanId", Cell::text(&asset.plan));
    set("SKU", Cell::text(&asset.sku));
    set("ID", Cell::id(asset.id));
    set("BillingID", Cell::id(customer.billing_account));
    set("ReferenceId", Cell::id(asset.id));
    set("lastModifiedAt", Cell::Moment(told.max(ended).unwrap_or(midnight(asset.first_day))));
    row
}
