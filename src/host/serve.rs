//! Front door B: our own listener, a poller per queue function, a scheduler per timer function.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bindings::Trigger;
use super::edge::{self, Door};
use super::{Host, poller, scheduler};
use crate::foundation::web::send_at_once;

/// Work that is under way gets this long after the listener has closed.
const GRACE: Duration = Duration::from_secs(25);

/// Serves until `shutdown` becomes true: then no new work is taken, and what was begun is finished.
pub async fn run(host: Host, listener: TcpListener, shutdown: watch::Receiver<bool>) {
    send_at_once(&listener);
    let mut workers = JoinSet::new();
    for function in host.functions.all() {
        match function.trigger {
            Trigger::Queue { .. } => {
                workers.spawn(poller::run(host.clone(), function.clone(), shutdown.clone()));
            }
            Trigger::Timer { .. } => {
                workers.spawn(scheduler::run(host.clone(), function.clone(), shutdown.clone()));
            }
            Trigger::Http { .. } => {}
        }
    }
    let mut closing = shutdown.clone();
    let closed = async move {
        // An error means that nobody can ask for the end any more: that is the end.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let server = warp::serve(edge::filter(host, Door::Public)).incoming(listener).graceful(closed).run();
    let mut signal = shutdown;
    let overdue = async {
        let _ = signal.wait_for(|closing| *closing).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = async { server.await; while workers.join_next().await.is_some() {} } => {}
        () = overdue => tracing::warn!("stopped with work under way; it is taken up again after the next start"),
    }
}
