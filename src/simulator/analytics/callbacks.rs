//! Callbacks: one call to the publisher when an execution has completed, without a body and without a second attempt
//! (analytics contract 4.8).

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::super::Simulator;
use super::super::sending;

/// How often the background looks at what is due.
const TICK: Duration = Duration::from_millis(200);

/// One call.
#[derive(Debug, Clone, Serialize)]
pub struct CallbackAttempt {
    /// Business time.
    pub at: Timestamp,
    pub report: Uuid,
    pub execution: Uuid,
    pub address: String,
    /// Nothing when there was no answer; then `error` says why.
    pub status: Option<u16>,
    pub error: Option<String>,
}

struct Due {
    report: Uuid,
    execution: Uuid,
    address: String,
    get: bool,
}

fn claim(simulator: &Simulator) -> Vec<Due> {
    simulator.turn(|turn| {
        turn.settle_reports();
        let now = turn.now;
        let book = &mut turn.state.analytics;
        let mut due = Vec::new();
        for execution in book.executions.iter_mut().filter(|one| !one.called_back && one.is_done(now)) {
            execution.called_back = true;
            let report = book.reports.iter().find(|report| report.id == execution.report);
            let Some((report, callback)) = report.and_then(|one| Some((one, one.callback.as_ref()?))) else { continue };
            let get = report.callback_method == Some("GET");
            let bare = callback.trim_end_matches('/');
            let address = if get { format!("{bare}?reportId={}", report.id) } else { format!("{bare}/{}", report.id) };
            due.push(Due { report: report.id, execution: execution.id, address, get });
        }
        due
    })
}

pub async fn deliver(simulator: &Simulator) -> usize {
    let mut arrived = 0;
    for due in claim(simulator) {
        let answer = match sending::near(simulator, &due.address) {
            Err(why) => Err(why),
            Ok(()) if due.get => simulator.http().get(&due.address).send().await.map_err(|error| error.to_string()),
            Ok(()) => simulator.http().post(&due.address).send().await.map_err(|error| error.to_string()),
        };
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        arrived += usize::from(status.is_some_and(|status| (200..300).contains(&status)));
        simulator.turn(|turn| {
            let attempt = CallbackAttempt {
                at: turn.now,
                report: due.report,
                execution: due.execution,
                address: due.address,
                status,
                error: answer.err(),
            };
            turn.state.analytics.callbacks.push(attempt);
        });
    }
    arrived
}

/// Calls back for as long as the simulator serves.
pub async fn deliver_in_background(simulator: Simulator) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        deliver(&simulator).await;
    }
}
