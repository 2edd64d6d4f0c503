//! The hours of a resource as a grid, and the same numbers as bars.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deadline;
use crate::metering::model::event::{State, UsageEvent};
use crate::metering::model::hour::Hour;
use crate::metering::model::quantity::Quantity;
use crate::metering::model::terms::Terms;
use crate::metering::{self, Cell};

/// Hours on a page.
pub const HOURS: i64 = 48;
/// The drawing: a bar is this wide, of which one is the gap; the highest one is this high.
const BAR: i64 = 15;
const HEIGHT: f64 = 90.0;

pub type Cells = BTreeMap<(Hour, String), Cell>;

/// A dimension with its name and unit, as any plan of the resource calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub id: String,
    pub name: String,
    pub unit: String,
}

/// The dimensions of the plan that holds now, and every one that the cells have.
pub fn columns(terms: &Terms, plan: &str, cells: &Cells) -> Vec<Column> {
    let mut ids: Vec<&str> =
        terms.dimensions.get(plan).into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    ids.extend(cells.keys().map(|(_, dimension)| dimension.as_str()));
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| column(terms, plan, id)).collect()
}

/// What a dimension is called: by the plan that holds now, else by any plan that has it.
pub fn column(terms: &Terms, plan: &str, id: &str) -> Column {
    let own = terms.dimensions.get(plan).and_then(|dimensions| dimensions.get(id));
    let known = own.or_else(|| terms.dimensions.values().find_map(|dimensions| dimensions.get(id)));
    let (name, unit) = known.map_or(("", ""), |terms| (terms.name.as_str(), terms.unit.as_str()));
    Column { id: id.to_owned(), name: if name.is_empty() { id } else { name }.to_owned(), unit: unit.to_owned() }
}

/// The order of the bars, from the ground up.
const STATES: [&str; 7] = ["included", "accepted", "pending", "held", "dead_letter", "lost", "open"];
type Shares = [Quantity; STATES.len()];

/// How much of a cell is in which state.
fn shares(cell: &Cell) -> Shares {
    let mut shares = [Quantity::ZERO; STATES.len()];
    let mut put = |state: &str, quantity: Quantity| {
        if let Some(index) = STATES.iter().position(|known| *known == state) {
            shares[index] += quantity;
        }
    };
    match &cell.event {
        Some(UsageEvent { state: State::Accepted { quantity, .. }, .. }) => put("accepted", *quantity),
        Some(event) => put(metering::state_word(event), event.quantity),
        // Closed, and in no event of this hour.
        None => put("pending", cell.billable.at_least_zero()),
    }
    put("included", cell.included);
    if cell.open {
        put("open", cell.recorded - cell.included - cell.billable);
    }
    shares
}

/// The word for a cell's state.
pub fn state(cell: &Cell) -> &'static str {
    match &cell.event {
        Some(event) => metering::state_word(event),
        None if cell.open => "open",
        None if cell.billable.is_zero() => "included",
        None => "carried",
    }
}

fn cell_view(cell: &Cell, now: Timestamp) -> Value {
    let unsettled = cell.event.as_ref().filter(|event| !event.is_settled());
    let booked = match &cell.event {
        Some(UsageEvent { quantity: sent, state: State::Accepted { quantity, .. }, .. }) if sent != quantity => {
            Some(*quantity)
        }
        _ => None,
    };
    json!({
        "booked": booked, "recorded": cell.recorded, "included": cell.included, "billable": cell.billable,
        "open": cell.open, "state": state(cell),
        "sent": cell.event.as_ref().map(|event| event.quantity),
        "deadline": unsettled.map(|event| deadline(event.deadline(), now)),
    })
}

/// The rows, newest first; hours in a row without anything are one row.
pub fn rows(cells: &Cells, columns: &[Column], from: Hour, to: Hour, now: Timestamp) -> Vec<Value> {
    let mut rows: Vec<Value> = Vec::new();
    let mut quiet: Option<(Hour, Hour)> = None;
    let end = |quiet: &mut Option<(Hour, Hour)>, rows: &mut Vec<Value>| {
        if let Some((first, last)) = quiet.take() {
            rows.push(json!({ "from": first.start(), "to": last.end(), "hours": last.0 - first.0 + 1 }));
        }
    };
    for hour in (from.0..to.0).rev().map(Hour) {
        let row: Vec<Option<&Cell>> = columns.iter().map(|column| cells.get(&(hour, column.id.clone()))).collect();
        if row.iter().all(Option::is_none) {
            quiet = Some((hour, quiet.map_or(hour, |(_, last)| last)));
            continue;
        }
        end(&mut quiet, &mut rows);
        let row: Vec<Value> =
            row.into_iter().map(|cell| cell.map_or(Value::Null, |cell| cell_view(cell, now))).collect();
        rows.push(json!({ "hour": hour.start(), "cells": row }));
    }
    end(&mut quiet, &mut rows);
    rows
}

/// A drawing for each dimension that has something in it: bars of an hour each, stacked by state.
pub fn charts(cells: &Cells, columns: &[Column], from: Hour, to: Hour) -> Vec<Value> {
    let draw = |column: &Column| -> Option<Value> {
        let own: Vec<(Hour, Shares)> = (from.0..to.0)
            .map(Hour)
            .filter_map(|hour| Some((hour, shares(cells.get(&(hour, column.id.clone()))?))))
            .collect();
        let height = |shares: &Shares| shares.iter().map(|part| part.at_least_zero()).sum::<Quantity>();
        let most = own.iter().map(|(_, shares)| height(shares)).max().filter(|most| most.is_positive())?;
        let mut bars = Vec::new();
        let mut sums: BTreeMap<&str, Quantity> = BTreeMap::new();
        for (hour, shares) in &own {
            let mut ground = HEIGHT;
            for (state, part) in STATES.into_iter().zip(shares).filter(|(_, part)| part.is_positive()) {
                *sums.entry(state).or_default() += *part;
                // Only for the eye; the table has the exact numbers.
                let high = (part.0 as f64 / most.0 as f64 * HEIGHT).max(1.0);
                ground -= high;
                bars.push(json!({
                    "state": state, "x": (hour.0 - from.0) * BAR, "y": rounded(ground.max(0.0)), "width": BAR - 2,
                    "height": rounded(high),
                }));
            }
        }
        let parts: Vec<Value> =
            STATES.iter().filter_map(|state| Some(json!({ "state": state, "quantity": sums.get(state)? }))).collect();
        Some(json!({
            "id": column.id, "name": column.name, "unit": column.unit, "most": most, "bars": bars, "parts": parts,
            "width": (to.0 - from.0) * BAR, "height": HEIGHT,
        }))
    };
    columns.iter().filter_map(draw).collect()
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(id: &str) -> Column {
        Column { id: id.to_owned(), name: id.to_owned(), unit: String::new() }
    }

    fn cell(recorded: i128, included: i128) -> Cell {
        let (recorded, included) = (Quantity::units(recorded), Quantity::units(included));
        Cell { recorded, included, billable: recorded - included, open: false, event: None }
    }

    #[test]
    fn hours_in_which_nothing_was_used_are_one_row() {
        let now: Timestamp = "2026-03-02T09:00:00Z".parse().unwrap();
        let to = Hour::of(now).next();
        let from = Hour(to.0 - HOURS);
        let cells =
            Cells::from([((Hour(to.0 - 1), "a".into()), cell(5, 5)), ((Hour(to.0 - 10), "a".into()), cell(7, 2))]);
        let rows = rows(&cells, &[column("a")], from, to, now);
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0]["cells"][0]["state"], "included");
        assert_eq!(rows[1]["hours"], 8);
        assert_eq!(rows[2]["cells"][0]["state"], "carried");
        assert_eq!((&rows[3]["hours"], &rows[3]["from"]), (&json!(38), &json!(from.start())));
    }

    #[test]
    fn bars_stand_on_the_ground_and_the_largest_hour_fills_the_drawing() {
        let (from, to) = (Hour(100), Hour(148));
        let cells = Cells::from([((Hour(100), "a".into()), cell(100, 60)), ((Hour(147), "a".into()), cell(50, 50))]);
        let charts = charts(&cells, &[column("a"), column("b")], from, to);
        assert_eq!(charts.len(), 1, "what has nothing is not drawn");
        let bars = charts[0]["bars"].as_array().unwrap();
        assert_eq!(charts[0]["most"], json!("100"));
        assert_eq!(
            (&bars[0]["state"], &bars[0]["y"], &bars[0]["height"]),
            (&json!("included"), &json!(36.0), &json!(54.0))
        );
        assert_eq!(
            (&bars[1]["state"], &bars[1]["y"], &bars[1]["height"]),
            (&json!("pending"), &json!(0.0), &json!(36.0))
        );
        assert_eq!((&bars[2]["x"], &bars[2]["y"]), (&json!(47 * BAR), &json!(45.0)));
    }
}
