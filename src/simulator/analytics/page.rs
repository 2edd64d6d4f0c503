//! The page "Analytics" of the simulated marketplace: what the datasets hold, reports and their executions, and buttons
//! for the faults that are worth a try by hand.

use std::collections::HashMap;

use minijinja::{Value, context};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rust_decimal::Decimal;

use super::super::Simulator;
use super::super::http::{Reply, Request, empty, html, redirect};
use super::super::pages::{moment, render, show};
use super::draw::{day_of, months_after};
use super::tables::TABLES;
use super::{AnalyticsHistory, ExecutionFault};

pub const ROUTES: &[&str] = &["/analytics", "/analytics/act"];

/// So many executions are shown, the newest first.
const MOST: usize = 100;

/// Faults that can be chosen by hand, by the names that the control API has for them.
const FAULTS: &[(&str, &str)] = &[
    ("stuck", "Runs for ever"),
    ("never_started", "Never starts"),
    ("truncated", "File cut in the middle of a row"),
    ("empty", "Empty file"),
    ("header_only", "Header only"),
    ("html", "A page of HTML instead"),
    ("bom", "Byte order mark"),
    ("mixed_line_ends", "Mixed line ends"),
    ("tsv", "Tabs instead of commas"),
];

pub async fn answer(simulator: &Simulator, post: bool, request: &Request) -> Reply {
    match (post, request.path.trim_end_matches('/')) {
        (false, "/analytics") => page(simulator, request.query("problem")),
        (true, "/analytics/act") => match act(simulator, &request.form()).await {
            Ok(()) => redirect("/analytics"),
            Err(why) => redirect(&format!("/analytics?problem={}", utf8_percent_encode(&why, NON_ALPHANUMERIC))),
        },
        _ => empty(405),
    }
}

async fn act(simulator: &Simulator, form: &HashMap<String, String>) -> Result<(), String> {
    let analytics = simulator.analytics();
    let field = |name: &str| form.get(name).map_or("", |value| value.trim());
    let this_month = day_of(simulator.now()).first_of_month();
    match field("action") {
        "history" => {
            let usual = AnalyticsHistory::default();
            let customers = field("customers").parse().unwrap_or(usual.customers).clamp(1, 1_000);
            let from_month = months_after(this_month, -i64::from(usual.months));
            analytics.set_history(Some(AnalyticsHistory { customers, from_month, ..usual }));
        }
        "restate" => analytics.restate_month(months_after(this_month, -1), Decimal::new(9, 1)),
        "break" => {
            let fault: ExecutionFault =
                serde_json::from_value(field("fault").into()).map_err(|_| "Choose a fault.".to_owned())?;
            analytics.break_next(Some(field("dataset")).filter(|name| !name.is_empty()), fault, 1);
        }
        "expired" => simulator.faults().change(|switches| switches.analytics.expired_links_next += 1),
        "calm" => analytics.calm(),
        "callbacks" => {
            analytics.deliver_callbacks().await;
        }
        _ => return Err("There is no such action.".into()),
    }
    Ok(())
}

fn page(simulator: &Simulator, problem: Option<&str>) -> Reply {
    let datasets: Vec<Value> =
        simulator.analytics().row_counts().into_iter().map(|(name, rows)| context! { name, rows }).collect();
    let (reports, executions, waiting): (Vec<Value>, Vec<Value>, Vec<Value>) = simulator.turn(|turn| {
        turn.settle_reports();
        let (book, now) = (&turn.state.analytics, turn.now);
        let name = |id| book.reports.iter().find(|report| report.id == id).map_or("", |report| report.name.as_str());
        let reports = book.reports.iter().rev().map(|one| show(&one.view()));
        let executions = book.executions.iter().rev().take(MOST).map(|one| {
            context! {
                report => name(one.report), due => moment(one.due), done => moment(one.done_at()),
                status => one.status(now), faults => show(&one.faults),
            }
        });
        (reports.collect(), executions.collect(), book.waiting.iter().map(show).collect())
    });
    let values = context! {
        here => "analytics", problem, datasets, reports, executions, waiting, faults => show(FAULTS),
        names => TABLES.iter().map(|table| table.name).collect::<Vec<_>>(),
        usual => AnalyticsHistory::default().customers,
    };
    html(200, render("analytics.html", values))
}
