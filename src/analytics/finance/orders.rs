//! Orders as they are now, beside our subscriptions.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::gather::Currencies;
use super::rows::Rows;
use crate::analytics::model::calendar::{Month, day_of};
use crate::analytics::model::reconcile::orders::{Held, Order, Orders, lately};
use crate::analytics::model::reconcile::{Difference, Fresh};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::fulfillment::{self, ListFilter};
use crate::store::StoreError;

/// Subscriptions that differ and whose last change is looked up.
const MOST_LOOKED_UP: usize = 500;
const PAGE: usize = 1000;
/// Commercial marketplace orders begin later than this.
const BEGINNING: Date = Date::constant(2015, 1, 1);

/// The differences, and what usage calls an asset where that is another name.
pub(super) async fn compare(
    app: &App,
    month: Month,
    fresh: &Fresh,
) -> Result<(Vec<Difference>, HashMap<String, String>), AnalyticsError> {
    const COLUMNS: [&str; 11] = [
        "AssetId",
        "ReferenceId",
        "OfferType",
        "PlanId",
        "SKU",
        "OrderStatus",
        "Quantity",
        "TermEndDate",
        "OrderPurchaseDate",
        "OrderVersion",
        "EventTimestamp",
    ];
    let held = held(app).await?;
    let (mut orders, mut references) = (Orders::default(), HashMap::new());
    let range = (BEGINNING, day_of(fresh.now));
    if let Some(mut rows) = Rows::open(app, "ISVOrder", range, &COLUMNS, true).await? {
        while let Some(records) = rows.next().await? {
            for record in &records {
                let cells = rows.cells(record);
                let (asset, reference) = (cells.text("AssetId").to_lowercase(), cells.text("ReferenceId"));
                if !reference.is_empty() && !reference.eq_ignore_ascii_case(&asset) {
                    references.insert(asset.clone(), reference.to_lowercase());
                }
                // Other offers are bought without a subscription here.
                if !cells.text("OfferType").eq_ignore_ascii_case("saas") {
                    continue;
                }
                orders.add(Order {
                    asset,
                    plan: cells.plan().to_owned(),
                    status: cells.text("OrderStatus").to_owned(),
                    quantity: cells.text("Quantity").parse().ok(),
                    term_end: cells.date("TermEndDate"),
                    purchased: cells.date("OrderPurchaseDate"),
                    newer: (cells.number("OrderVersion").unwrap_or_default(), cells.text("EventTimestamp").to_owned()),
                });
            }
        }
    }
    let found = orders.differences(&held, month, fresh);
    let mut differences = Vec::new();
    for (number, one) in found.into_iter().enumerate() {
        let changed = if number < MOST_LOOKED_UP { changed(app, &one.resource).await? } else { None };
        differences.push(lately(one, changed, fresh.now));
    }
    Ok((differences, references))
}

/// When something last happened to a subscription.
async fn changed(app: &App, id: &str) -> Result<Option<Timestamp>, StoreError> {
    let Ok(id) = id.parse::<SubscriptionId>() else { return Ok(None) };
    let (events, _) = fulfillment::timeline(app, id, None, 1).await?;
    Ok(events.first().map(|event| event.at))
}

async fn held(app: &App) -> Result<Vec<Held>, StoreError> {
    let (mut held, mut after) = (Vec::new(), None);
    loop {
        let page = fulfillment::list(app, &ListFilter::default(), after, PAGE).await?;
        held.extend(page.rows.into_iter().map(|row| Held {
            id: row.id.to_string(),
            plan: row.plan,
            quantity: row.quantity,
            status: row.status,
            term_end: row.term_end.map(day_of),
            first_seen: row.first_seen,
            test: row.is_test,
        }));
        after = page.next;
        if after.is_none() {
            return Ok(held);
        }
    }
}

/// The currencies that assets are billed in.
pub(super) async fn currencies(app: &App) -> Result<Currencies, AnalyticsError> {
    let mut found = Currencies::new();
    let range = (BEGINNING, day_of(app.clock.now()));
    if let Some(mut rows) = Rows::open(app, "ISVOrder", range, &["AssetId", "Currency"], true).await? {
        while let Some(records) = rows.next().await? {
            for record in &records {
                let cells = rows.cells(record);
                if !cells.text("Currency").is_empty() {
                    found.insert(cells.text("AssetId").to_lowercase(), cells.text("Currency").to_uppercase());
                }
            }
        }
    }
    Ok(found)
}
