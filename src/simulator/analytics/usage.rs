//! ISVUsage (analytics contract 9.2): one row for each meter of each asset and day.

use std::collections::HashMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

use super::cell::{Cell, Row};
use super::draw;
use super::facts::{Asset, rate};
use super::orders::{MASK, common};
use super::tables::Table;
use super::world::World;

/// What is not the same on every day.
struct Places {
    month: usize,
    day: usize,
    price_pc: usize,
    reference: usize,
    anomaly: usize,
    normalized: usize,
    raw: usize,
    metered: usize,
    charge: usize,
    charge_pc: usize,
    impact: usize,
}

pub struct UsageRows<'a> {
    world: &'a World,
    table: &'static Table,
    places: Places,
    /// What is the same on every day: whether of the history, asset, meter.
    templates: HashMap<(bool, usize, usize), Row>,
    references: HashMap<(bool, usize, usize), (Date, Cell)>,
}

impl<'a> UsageRows<'a> {
    pub fn new(world: &'a World) -> Self {
        let table = Table::named("ISVUsage");
        let places = Places {
            month: table.at("MonthStartDate"),
            day: table.at("UsageDate"),
            price_pc: table.at("EstimatedPricePC"),
            reference: table.at("UsageReference"),
            anomaly: table.at("PartnerCenterDetectedAnomaly"),
            normalized: table.at("NormalizedUsage"),
            raw: table.at("RawUsage"),
            metered: table.at("MeteredUsage"),
            charge: table.at("EstimatedExtendedChargeCC"),
            charge_pc: table.at("EstimatedExtendedChargePC"),
            impact: table.at("EstimatedFinancialImpactUSD"),
        };
        Self { world, table, places, templates: HashMap::new(), references: HashMap::new() }
    }

    pub fn day(&mut self, day: Date) -> Vec<Row> {
        let mut rows = Vec::new();
        let world = self.world;
        for ((place, meter), quantity) in world.booked.usage.get(&day).into_iter().flatten() {
            if let Some(asset) = world.booked.assets.get(*place) {
                rows.push(self.row((false, *place, *meter), asset, day, *quantity));
            }
        }
        let Some(history) = world.history.as_ref().filter(|_| world.is_told(day)) else { return rows };
        for (place, asset) in history.assets.iter().enumerate() {
            for meter in 0..asset.meters.len() {
                if let Some(quantity) = history.used(asset, meter, day) {
                    rows.push(self.row((true, place, meter), asset, day, quantity));
                }
            }
        }
        rows
    }

    fn row(&mut self, key: (bool, usize, usize), asset: &Asset, day: Date, quantity: Decimal) -> Row {
        let table = self.table;
        let mut row = self.templates.entry(key).or_insert_with(|| template(table, asset, key.2)).clone();
        let (month, places) = (day.first_of_month(), &self.places);
        let reference = self.references.entry(key).or_insert_with(|| (Date::ZERO, Cell::Null));
        if reference.0 != month {
            let (record, line) = asset.usage_record(key.2, month);
            *reference = (month, Cell::text(format!("{record}_{line}")));
        }
        row[places.reference] = reference.1.clone();
        let rate = rate(asset.customer.currency, month);
        let price = asset.meters.get(key.2).map_or(Decimal::ZERO, |meter| meter.price);
        let billed = billed(asset, quantity);
        let charge = billed * price;
        row[places.month] = Cell::Day(month);
        row[places.day] = Cell::Day(day);
        row[places.price_pc] = Cell::number(price * rate);
        let zero = || Cell::number(Decimal::ZERO);
        let machine = asset.machine.is_some();
        row[places.normalized] = if machine { Cell::number(billed) } else { zero() };
        row[places.raw] = if machine { Cell::number(quantity) } else { zero() };
        row[places.metered] = if machine { zero() } else { Cell::number(quantity) };
        row[places.charge] = Cell::number(charge);
        row[places.charge_pc] = Cell::number(charge * rate);
        let [high, low] = draw::halves(asset.id);
        let odd = asset.drawn.is_some() && draw::mix(&[high, low, draw::day(day)]).is_multiple_of(200);
        row[places.anomaly] = if odd { Cell::Flag(true) } else { Cell::Null };
        row[places.impact] = if odd { Cell::number(charge * rate) } else { zero() };
        row
    }
}

/// What a quantity is billed as: core hours of a machine, else itself.
pub fn billed(asset: &Asset, quantity: Decimal) -> Decimal {
    asset.machine.map_or(quantity, |machine| quantity * Decimal::from(machine.cores))
}

fn template(table: &'static Table, asset: &Asset, meter: usize) -> Row {
    let mut row = common(table, asset);
    let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
    let customer = &asset.customer;
    let (found, (plan, sku)) = (asset.meters.get(meter), asset.plan_of(meter));
    set("SKU", Cell::text(sku));
    set("PlanId", Cell::text(plan));
    set("SKUBillingType", Cell::Word("Paid"));
    if let Some(machine) = asset.machine {
        set("VMSize", Cell::Word(machine.size));
        set("CoreSize", Cell::Int(machine.cores));
        set("DeploymentMethod", Cell::Word("Resource Manager"));
    } else {
        set("MeterDimension", found.map_or(Cell::Null, |meter| Cell::some(&meter.dimension)));
        set("MeterId", Cell::id(asset.meter_id(meter)));
        set("ReferenceId", Cell::id(asset.id));
    }
    let person = format!("{} {}", customer.first_name, customer.last_name);
    set("CustomerName", if customer.masked { Cell::Word(MASK) } else { Cell::some(person.trim()) });
    set("TrialEndDate", Cell::day(asset.trial_end));
    set("CustomerCurrencyCC", Cell::Word(customer.currency));
    set("PriceCC", Cell::number(found.map_or(Decimal::ZERO, |meter| meter.price)));
    set("PayoutCurrencyPC", Cell::Word("USD"));
    set("UsageUnit", found.map_or(Cell::Null, |meter| Cell::text(&meter.unit)));
    set("IsInternal", Cell::Flag(false));
    if asset.offer_type == "azure applications" {
        set("PlanType", Cell::Word("Managed Application"));
        set("CustomerAccess", Cell::Word("Restricted access"));
        set("PublisherAccess", Cell::Word("Enabled"));
    }
    row
}
