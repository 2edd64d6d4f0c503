//! What goes wrong on a file's way: deaths at every write, broken transfers, files that are none, reports that Microsoft loses.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use jiff::SignedDuration;
use jiff::civil::date;
use mediagenie::analytics::model::datasets::Dataset;
use mediagenie::analytics::model::execution::{Execution, State};
use mediagenie::analytics::{self, AnalyticsError};
use mediagenie::simulator::AnalyticsHistory;
use mediagenie::simulator::analytics::{DownloadFault, Drift, ExecutionFault};

use crate::analytics::{asked, held, pulled, truth};
use crate::support::app::TestApp;
use crate::support::gate::Act;

fn usage() -> &'static Dataset {
    Dataset::find("usage").unwrap()
}

async fn import(app: &TestApp, file: &str, generated: &str) -> Result<Execution, AnalyticsError> {
    let pieces = futures_util::stream::iter([Ok(Bytes::from(file.to_owned()))]);
    analytics::import(&app.host.app, usage(), generated.parse().unwrap(), false, pieces).await
}

fn columns() -> Vec<String> {
    ["UsageDate", "PlanId", "MeteredUsage"].map(str::to_owned).to_vec()
}

async fn rows(app: &TestApp) -> Vec<Vec<String>> {
    held(app, "usage", &columns()).await
}

/// What the lake says, by the same columns.
async fn lake_rows(app: &TestApp) -> usize {
    let mut files = BTreeSet::new();
    analytics::copy_lake(&app.host.app, |name, _, _| {
        files.insert(name.to_owned());
        Ok(())
    })
    .await
    .unwrap();
    files.len()
}

const BEFORE: &str =
    "UsageDate,PlanId,MeteredUsage\n2026-01-31,gold,1\n2026-02-01,gold,2\n2026-02-02,gold,3\n2026-02-02,gold,3\n";
const AFTER: &str = "UsageDate,PlanId,MeteredUsage\n2026-01-31,gold,1.0\n2026-02-02,gold,5\n2026-02-03,gold,7\n";

fn expected(file: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> =
        file.lines().skip(1).map(|line| line.replace("1.0", "1").split(',').map(str::to_owned).collect()).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_death_at_any_write_shows_the_file_before_or_the_one_after_and_never_a_mixture() {
    for act in [Act::Stop, Act::Fail] {
        for stop in 0.. {
            let app = TestApp::start().await;
            import(&app, BEFORE, "2026-02-04T06:00:00Z").await.unwrap();
            assert_eq!(rows(&app).await, expected(BEFORE));
            let (writes, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let hit = Arc::clone(&hits);
            app.gate.next(act, move |table, _| {
                let now = table.0.starts_with("Analytics") && writes.fetch_add(1, Ordering::Relaxed) == stop;
                hit.fetch_add(usize::from(now), Ordering::Relaxed);
                now
            });
            tokio::select! {
                _ = import(&app, AFTER, "2026-02-05T06:00:00Z") => {}
                () = app.gate.arrived() => {}
            }
            app.gate.open();
            let seen = rows(&app).await;
            assert!(seen == expected(BEFORE) || seen == expected(AFTER), "{act:?} at {stop}: {seen:?}");
            // Where it ended before that write, the next one meets it.
            let execution = loop {
                if let Ok(execution) = import(&app, AFTER, "2026-02-05T06:00:00Z").await {
                    break execution;
                }
            };
            assert_eq!(execution.state, State::Done, "{act:?} at {stop}");
            assert_eq!(rows(&app).await, expected(AFTER), "{act:?} at {stop}");
            assert_eq!(lake_rows(&app).await, 2, "{act:?} at {stop}");
            let changes = analytics::changes(&app.host.app, usage(), "", 10).await.unwrap().0;
            let days: Vec<_> = changes.iter().flat_map(|change| change.days.keys().cloned()).collect();
            assert_eq!(days, ["2026-02-01", "2026-02-02"], "{act:?} at {stop}");
            if hits.load(Ordering::Relaxed) == 0 {
                assert!(stop > 5, "so few writes? {stop}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_older_file_that_comes_late_changes_no_newer_day() {
    let app = TestApp::start().await;
    import(&app, AFTER, "2026-02-05T06:00:00Z").await.unwrap();
    import(&app, BEFORE, "2026-02-04T06:00:00Z").await.unwrap();
    assert_eq!(rows(&app).await, expected(AFTER));
    // Before its first day the newer file says nothing.
    import(&app, "UsageDate,PlanId,MeteredUsage\n2026-01-30,gold,9\n2026-01-31,gold,9\n", "2026-02-04T07:00:00Z")
        .await
        .unwrap();
    let mut both = expected(AFTER);
    both.insert(0, ["2026-01-30", "gold", "9"].map(str::to_owned).to_vec());
    assert_eq!(rows(&app).await, both);
}

#[tokio::test]
async fn what_a_newer_file_has_confirmed_is_not_undone_by_an_older_one() {
    let app = TestApp::start().await;
    import(&app, BEFORE, "2026-02-04T06:00:00Z").await.unwrap();
    import(&app, BEFORE, "2026-02-08T06:00:00Z").await.unwrap();
    import(&app, AFTER, "2026-02-06T06:00:00Z").await.unwrap();
    let mut expected = expected(BEFORE);
    // The day behind the last one of the newer file.
    expected.push(["2026-02-03", "gold", "7"].map(str::to_owned).to_vec());
    assert_eq!(rows(&app).await, expected);
}

#[tokio::test]
async fn a_month_of_long_rows_that_all_change_holds_nothing_up() {
    let app = TestApp::start().await;
    let file = |mark: char| {
        let long: String = std::iter::repeat_n(mark, 3_000).collect();
        let line = |row: usize| format!("2026-01-{:02},gold{row},{long},{row}\n", row % 28 + 1);
        format!("UsageDate,PlanId,SKU,MeteredUsage\n{}", (0..600).map(line).collect::<String>())
    };
    import(&app, &file('a'), "2026-02-04T06:00:00Z").await.unwrap();
    let execution = import(&app, &file('b'), "2026-02-05T06:00:00Z").await.unwrap();
    assert_eq!((execution.state, execution.days_changed), (State::Done, 28));
    let (told, _) = analytics::changes(&app.host.app, usage(), "", 1).await.unwrap();
    assert!(told[0].days.len() == 28 && !told[0].days["2026-01-01"].shown.is_empty());
}

#[tokio::test]
async fn a_file_that_can_not_be_kept_does_not_hold_up_the_next_one() {
    let app = TestApp::start().await;
    let huge: String = std::iter::repeat_n('x', 700 * 1024).collect();
    let bad = format!("UsageDate,PlanId,SKU,MeteredUsage\n2026-01-30,gold,{huge},1\n");
    let execution = import(&app, &bad, "2026-02-04T05:00:00Z").await.unwrap();
    assert!(matches!(execution.state, State::Failed { .. }));
    import(&app, BEFORE, "2026-02-04T06:00:00Z").await.unwrap();
    assert_eq!(rows(&app).await, expected(BEFORE));
}

#[tokio::test]
async fn a_file_that_would_take_most_rows_away_waits_for_somebody() {
    let app = TestApp::start().await;
    let line = |day: i8| format!("2026-01-{day:02},gold,{day}\n");
    let month: String = (1..=31).map(line).collect();
    import(&app, &format!("UsageDate,PlanId,MeteredUsage\n{month}"), "2026-02-04T06:00:00Z").await.unwrap();
    let ends = format!("UsageDate,PlanId,MeteredUsage\n{}{}", line(1), line(31));
    let execution = import(&app, &ends, "2026-02-05T06:00:00Z").await.unwrap();
    assert!(matches!(execution.state, State::Held { .. }), "{execution:?}");
    assert_eq!(rows(&app).await.len(), 31);
    // One without rows speaks for no date.
    let execution = import(&app, "UsageDate,PlanId\n", "2026-02-06T06:00:00Z").await.unwrap();
    assert_eq!((execution.state, execution.oddities), (State::Done, vec!["the file has no rows".to_owned()]));
    assert_eq!(rows(&app).await.len(), 31);
}

async fn of_usage(settings: &[(&str, &str)]) -> TestApp {
    let app = TestApp::with(&[&[("ANALYTICS_DATASETS", "usage")], settings].concat()).await;
    let history =
        AnalyticsHistory { customers: 3, from_month: date(2026, 1, 1), months: 2, ..AnalyticsHistory::default() };
    app.simulator.analytics().set_history(Some(history));
    app
}

/// A day later, with what comes in between.
async fn day(app: &TestApp) {
    app.clock.advance(SignedDuration::from_hours(23));
    for _ in 0..2 {
        app.fire("AnalyticsPull").await;
        app.drain().await;
        app.clock.advance(SignedDuration::from_mins(30));
    }
}

async fn is_microsofts_own(app: &TestApp) {
    let columns = asked(app, "ISVUsage").await;
    assert_eq!(held(app, "usage", &columns).await, truth(app, usage(), &columns));
}

#[tokio::test]
async fn a_death_at_any_write_of_the_pull_asks_microsoft_for_nothing_twice() {
    for act in [Act::Stop, Act::Fail] {
        for stop in 0.. {
            let app = of_usage(&[]).await;
            let (writes, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let hit = Arc::clone(&hits);
            app.gate.next(act, move |table, _| {
                let ours = table.0 == "AnalyticsPull" || table.0 == "Analytics";
                let now = ours && writes.fetch_add(1, Ordering::Relaxed) == stop;
                hit.fetch_add(usize::from(now), Ordering::Relaxed);
                now
            });
            let life = async {
                for _ in 0..2 {
                    let function = app.host.functions.by_name("AnalyticsPull").unwrap();
                    let _ = mediagenie::host::dispatch::timer(&app.host, function).await;
                    app.drain().await;
                    app.clock.advance(SignedDuration::from_mins(10));
                }
            };
            tokio::select! {
                () = life => {}
                () = app.gate.arrived() => {}
            }
            app.gate.open();
            app.gate.disarm();
            // A message that was being worked on comes again.
            app.clock.advance(SignedDuration::from_mins(10));
            pulled(&app).await;
            is_microsofts_own(&app).await;
            let reports: Vec<_> = app.simulator.analytics().reports().into_iter().map(|(_, name)| name).collect();
            assert_eq!(reports, ["mediagenie-ISVUsage-daily"], "{act:?} at {stop}");
            let made = app.simulator.request_count("analytics.report.create");
            assert!(made == 2, "{act:?} at {stop}: {made} reports were made");
            if hits.load(Ordering::Relaxed) == 0 {
                assert!(stop > 8, "so few writes? {stop}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_goes_on_where_it_was() {
    let app = of_usage(&[]).await;
    app.simulator.faults().change(|switches| {
        switches.analytics.downloads = [
            DownloadFault::CutAfter(1_000),
            DownloadFault::Fail(500),
            DownloadFault::Throttle(0),
            DownloadFault::CutAfter(5_000),
        ]
        .into();
        switches.analytics.expired_links_next = 1;
    });
    pulled(&app).await;
    is_microsofts_own(&app).await;
    assert_eq!(app.simulator.faults().get().analytics.downloads.len(), 0);
}

#[tokio::test]
async fn a_link_to_another_host_is_not_followed() {
    let app = of_usage(&[]).await;
    app.simulator.faults().change(|switches| switches.analytics.foreign_links_next = 50);
    pulled(&app).await;
    let (_, body) = app.get_api("/api/analytics").await;
    let schedule = &body["datasets"][1]["schedule"];
    assert_eq!(schedule["trouble"]["kind"], "unusable", "{schedule}");
    assert!(schedule["trouble"]["said"].as_str().unwrap().contains("not Azure Blob Storage"), "{schedule}");
    app.simulator.faults().change(|switches| switches.analytics.foreign_links_next = 0);
    // The history is asked for again after some hours.
    app.clock.advance(SignedDuration::from_hours(4));
    pulled(&app).await;
    is_microsofts_own(&app).await;
}

#[tokio::test]
async fn whatever_shape_a_file_has_its_rows_are_the_same() {
    for fault in [
        ExecutionFault::Bom,
        ExecutionFault::Crlf,
        ExecutionFault::MixedLineEnds,
        ExecutionFault::LowerHeader,
        ExecutionFault::UpperHeader,
        ExecutionFault::AddedColumn("Colour".into()),
    ] {
        let app = of_usage(&[]).await;
        app.simulator.analytics().break_next(None, fault.clone(), 50);
        pulled(&app).await;
        is_microsofts_own(&app).await;
    }
}

#[tokio::test]
async fn a_file_that_is_none_is_said_to_be_none_and_asked_for_again() {
    for (fault, said) in [
        (ExecutionFault::Truncated, "in the middle of a row"),
        (ExecutionFault::Html, "a web page"),
        (ExecutionFault::Empty, "empty"),
    ] {
        let app = of_usage(&[]).await;
        app.simulator.analytics().break_next(None, fault.clone(), 1);
        app.fire("AnalyticsPull").await;
        app.clock.advance(SignedDuration::from_mins(10));
        app.fire("AnalyticsPull").await;
        app.drain().await;
        let executions = analytics::executions(&app.host.app, "ISVUsage").await.unwrap();
        assert!(
            matches!(&executions[0].state, State::Failed { why } if why.contains(said)),
            "{fault:?}: {:?}",
            executions[0].state
        );
        pulled(&app).await;
        app.clock.advance(SignedDuration::from_hours(6));
        pulled(&app).await;
        is_microsofts_own(&app).await;
    }
}

#[tokio::test]
async fn an_execution_that_never_ends_is_asked_for_again() {
    for fault in [ExecutionFault::Stuck, ExecutionFault::NeverStarted] {
        let app = of_usage(&[]).await;
        app.simulator.analytics().break_next(None, fault, 1);
        pulled(&app).await;
        pulled(&app).await;
        is_microsofts_own(&app).await;
    }
}

#[tokio::test]
async fn quotas_outages_and_lost_reports_pass_and_leave_no_gap() {
    let app = of_usage(&[]).await;
    app.simulator.faults().change(|switches| {
        switches.analytics.refuse_reports_next = 1;
        switches.analytics.refuse_execute_now_next = 1;
        switches.analytics.refuse_queries_next = 1;
        switches.analytics.pascal_case = true;
    });
    for _ in 0..4 {
        pulled(&app).await;
    }
    is_microsofts_own(&app).await;
    for (id, _) in app.simulator.analytics().reports() {
        app.simulator.analytics().lose_report(id);
    }
    app.clock.advance(SignedDuration::from_hours(2));
    pulled(&app).await;
    assert_eq!(app.simulator.analytics().reports().len(), 1);
    // Nothing for days: said, and over when the files come again.
    app.simulator.analytics().break_next(None, ExecutionFault::Stuck, 3);
    for _ in 0..3 {
        app.clock.advance(SignedDuration::from_hours(24));
        app.fire("AnalyticsPull").await;
        app.drain().await;
    }
    let (_, body) = app.get_api("/api/analytics").await;
    let trouble = body["datasets"][1]["schedule"]["trouble"]["kind"].clone();
    assert_eq!(trouble, "endless", "{body}");
    for _ in 0..3 {
        day(&app).await;
    }
    is_microsofts_own(&app).await;
    let (_, body) = app.get_api("/api/analytics").await;
    assert!(body["datasets"][1]["schedule"]["trouble"].is_null(), "{}", body["datasets"][1]);
}

#[tokio::test]
async fn a_report_lives_on_when_its_recurrences_run_out() {
    let app = of_usage(&[]).await;
    pulled(&app).await;
    for _ in 0..200 {
        day(&app).await;
    }
    let (_, body) = app.get_api("/api/analytics").await;
    let schedule = &body["datasets"][1]["schedule"];
    assert!(schedule["trouble"].is_null(), "{schedule}");
    let newest: jiff::Timestamp = schedule["newest"].as_str().unwrap().parse().unwrap();
    assert!(app.now().duration_since(newest) < SignedDuration::from_hours(30), "{newest}");
    assert_eq!(app.simulator.analytics().reports().len(), 1);
}

#[tokio::test]
async fn columns_that_come_and_go_are_told_and_never_stop_a_pull() {
    let app = of_usage(&[]).await;
    pulled(&app).await;
    let drift = Drift { removed: ["PriceCC".to_owned()].into(), added: vec!["Colour".into()], ..Drift::default() };
    app.simulator.analytics().drift("ISVUsage", drift).unwrap();
    app.clock.advance(SignedDuration::from_hours(25));
    pulled(&app).await;
    pulled(&app).await;
    let (_, body) = app.get_api("/api/analytics").await;
    let schedule = &body["datasets"][1]["schedule"];
    let names = |field: &str| schedule["drift"][field].to_string();
    assert!(names("missing").contains("PriceCC") && names("new").contains("Colour"), "{schedule}");
    assert!(schedule["trouble"].is_null(), "{schedule}");
    is_microsofts_own(&app).await;
}

#[tokio::test]
async fn what_is_asked_for_whole_every_day_has_one_query_and_one_run_at_once() {
    let app = TestApp::with(&[("ANALYTICS_DATASETS", "ISVOrder")]).await;
    app.simulator.analytics().set_history(Some(AnalyticsHistory { customers: 3, ..AnalyticsHistory::default() }));
    pulled(&app).await;
    assert_eq!(app.simulator.request_count("analytics.query.create"), 1);
    assert_eq!(app.simulator.request_count("analytics.report.create"), 2, "the daily one and the one over everything");
}

#[tokio::test]
async fn raw_files_are_removed_after_three_months_and_their_rows_stay() {
    let app = TestApp::start().await;
    import(&app, BEFORE, "2026-02-04T06:00:00Z").await.unwrap();
    app.clock.advance(SignedDuration::from_hours(91 * 24));
    import(&app, "UsageDate,PlanId,MeteredUsage\n2026-05-01,gold,1\n", "2026-06-01T06:00:00Z").await.unwrap();
    let all = analytics::executions(&app.host.app, "ISVUsage").await.unwrap();
    assert_eq!(all.iter().map(|execution| execution.raw.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(rows(&app).await.len(), 5);
}
