//! Visits, leads, trials and purchases of a month, by offer.

use std::collections::HashSet;

use jiff::civil::Date;
use serde::Serialize;

use super::rows::Rows;
use crate::analytics::model::calendar::{Month, day_of};
use crate::analytics::model::funnel::{COUNTED, Counted, Funnel, Line};
use crate::analytics::service::AnalyticsError;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::fulfillment::{self, ListFilter};
use crate::leads::{self, Filter, Kind};

const PAGE: usize = 1000;

#[derive(Debug, Clone, Serialize)]
pub struct MonthFunnel {
    pub month: Month,
    pub offers: Vec<Line>,
    /// What each number is, and where it comes from.
    pub counted: [Counted; 9],
}

pub async fn funnel(app: &App, month: Month) -> Result<MonthFunnel, Problem> {
    let mut funnel = Funnel::default();
    let range = (month.first(), month.last());
    add_orders(app, &mut funnel, range).await?;
    add_clicks(app, &mut funnel, range).await?;
    add_leads(app, &mut funnel, month).await?;
    add_subscriptions(app, &mut funnel, month).await?;
    Ok(MonthFunnel { month, offers: funnel.lines(), counted: COUNTED })
}

async fn add_clicks(app: &App, funnel: &mut Funnel, range: (Date, Date)) -> Result<(), AnalyticsError> {
    let columns = ["OfferName", "PageVisits", "GetItNow", "ContactMe", "TestDrive", "FreeTrial"];
    let Some(mut rows) = Rows::open(app, "ISVMarketplaceInsights", range, &columns, false).await? else {
        return Ok(());
    };
    while let Some(records) = rows.next().await? {
        for record in &records {
            let cells = rows.cells(record);
            let number = |name| cells.number(name).unwrap_or_default();
            let steps = funnel.of("", cells.text("OfferName"));
            steps.page_visits += number("PageVisits");
            steps.get_it_now += number("GetItNow");
            steps.contact_me += number("ContactMe");
            steps.test_drive += number("TestDrive");
            steps.free_trial += number("FreeTrial");
        }
    }
    Ok(())
}

async fn add_orders(app: &App, funnel: &mut Funnel, range: (Date, Date)) -> Result<(), AnalyticsError> {
    let columns = ["AssetId", "OfferId", "OfferName", "OrderAction", "IsTrial"];
    let Some(mut rows) = Rows::open(app, "ISVOrder", range, &columns, false).await? else { return Ok(()) };
    // A purchase may stand in more than one row.
    let mut seen: HashSet<String> = HashSet::new();
    while let Some(records) = rows.next().await? {
        for record in &records {
            let cells = rows.cells(record);
            let first = cells.text("OrderAction").eq_ignore_ascii_case("Purchase")
                && seen.insert(cells.text("AssetId").to_lowercase());
            let steps = funnel.of(cells.text("OfferId"), cells.text("OfferName"));
            steps.purchases += u64::from(first);
            steps.trials += u64::from(first && cells.text("IsTrial") == "true");
        }
    }
    Ok(())
}

async fn add_leads(app: &App, funnel: &mut Funnel, month: Month) -> Result<(), Problem> {
    let filter = Filter { month: Some(month.to_string()), kind: Some(Kind::Real), ..Filter::default() };
    let mut after: Option<String> = None;
    loop {
        let page = leads::leads(app, &filter, after.as_deref(), PAGE).await?;
        for line in page.rows.iter().filter(|line| !line.do_not_contact) {
            funnel.of(&line.offer, &line.offer_title).leads += 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn add_subscriptions(app: &App, funnel: &mut Funnel, month: Month) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let page = fulfillment::list(app, &ListFilter::default(), after, PAGE).await?;
        for row in page.rows.iter().filter(|row| !row.is_test && month.has(day_of(row.first_seen))) {
            funnel.of(&row.offer, "").subscriptions += 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}
