//! ISVMarketplaceInsights (analytics contract 9.4): visits of the offers' pages. Leads that were sent are visits too.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::cell::{Cell, Row};
use super::draw;
use super::names::COUNTRIES;
use super::tables::Table;
use super::world::World;

const OFFERS: &[&str] = &["MediaGenie", "MediaGenie Studio", "MediaGenie VM"];
const DOMAINS: &[&str] = &["www.bing.com", "Referral domain not present", "www.google.com", "partner.example"];
const NO_DOMAIN: &str = DOMAINS[1];

/// Offer, domain, country, site, campaign, platform.
type Key = (String, &'static str, String, &'static str, Option<&'static str>, &'static str);

/// Page visits, get it now, contact me, test drive, free trial, consent.
type Counts = [i64; 6];

pub fn day(world: &World, day: Date) -> Vec<Row> {
    let mut counts: BTreeMap<Key, Counts> = BTreeMap::new();
    for visit in world.visits.iter().filter(|visit| visit.day == day) {
        let key = (visit.offer.clone(), NO_DOMAIN, visit.country.clone(), visit.site, None, "website");
        let row = counts.entry(key).or_default();
        row[0] += 1;
        match visit.action.to_ascii_uppercase().as_str() {
            "INS" => row[1] += 1,
            "PLT" => row[2] += 1,
            "STARTTESTDRIVE" => row[3] += 1,
            "TRIAL" => row[4] += 1,
            _ => {}
        }
        row[5] += 1;
    }
    let history = world.history.as_ref().filter(|history| (history.plan.from_month..history.plan.end()).contains(&day));
    if let Some(history) = history.filter(|_| draw::midnight(day) <= world.as_of) {
        for (place, offer) in (0_u64..).zip(OFFERS) {
            for turn in 0..2 {
                let number = draw::mix(&[history.plan.seed, 30_000 + place, turn, draw::day(day)]);
                let at = |shift: u32, of: usize| usize::try_from(number >> shift).unwrap_or_default() % of;
                let site = if at(12, 4) == 0 { "APPSOURCE" } else { "AZUREMARKETPLACE" };
                let campaign = (at(16, 3) == 0).then_some("spring, 2025");
                let country = COUNTRIES[at(4, COUNTRIES.len())].name.to_owned();
                let key = ((*offer).to_owned(), DOMAINS[at(8, 4)], country, site, campaign, "website");
                let many = |shift: u32, of: usize| i64::try_from(at(shift, of)).unwrap_or_default();
                let new = [3 + many(20, 40), many(26, 4), many(30, 3), many(34, 2), many(38, 3), many(42, 2)];
                let row = counts.entry(key).or_default();
                row.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
            }
        }
    }
    let table = Table::named("ISVMarketplaceInsights");
    counts.into_iter().map(|(key, counts)| row(table, day, key, counts)).collect()
}

fn row(table: &'static Table, day: Date, key: Key, counts: Counts) -> Row {
    let mut row = vec![Cell::Null; table.columns.len()];
    let mut set = |name: &'static str, cell: Cell| row[table.at(name)] = cell;
    let (offer, domain, country, site, campaign, platform) = key;
    set("Date", Cell::Day(day));
    set("OfferName", Cell::some(&offer));
    set("ReferralDomain", Cell::Word(domain));
    set("CountryName", Cell::some(&country));
    set("Site", Cell::Word(site));
    set("Campaign", campaign.map_or(Cell::Null, Cell::Word));
    set("platforms", Cell::Word(platform));
    let names = ["PageVisits", "GetItNow", "ContactMe", "TestDrive", "FreeTrial", "ConsentGiven"];
    names.into_iter().zip(counts).for_each(|(name, count)| set(name, Cell::Int(count)));
    row
}
