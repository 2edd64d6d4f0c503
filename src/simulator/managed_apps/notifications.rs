//! Notifications on their way to the product: one by one when a test asks, or by themselves in the background with
//! retries, as Azure does (marketplace contract, section 6.4).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::super::Simulator;
use super::super::sending;
use super::super::state::Turn;
use super::{Book, ProvisioningState};

/// An address that is dead for so long loses the notification for good. Business time.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(10);
/// How often the background looks at what is due.
const TICK: Duration = Duration::from_millis(100);

/// Where a notification is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NotificationState {
    Pending,
    /// Answered 200.
    Delivered,
    /// Answered with a status after which Azure does not try again.
    Lost,
    /// Lost on the way.
    Dropped,
    /// Given up after ten hours.
    Expired,
}

/// A notification.
#[derive(Debug, Clone, Serialize)]
pub struct Notification {
    pub id: Uuid,
    /// As deployed, however the body spells it.
    pub application_id: String,
    pub event_type: &'static str,
    pub provisioning_state: ProvisioningState,
    pub event_time: Timestamp,
    pub body: Value,
    pub state: NotificationState,
    pub attempts: u32,
    /// Business clock; the ten hours begin here.
    queued: Timestamp,
    /// Base clock; the automatic delivery waits for it.
    #[serde(skip)]
    due: Timestamp,
    #[serde(skip)]
    in_flight: bool,
}

/// What came of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NotificationOutcome {
    /// Answered 200.
    Delivered,
    /// Answered with this; it will not be sent again.
    Lost(u16),
    /// It will be sent again; no status means that the address could not be reached, or that none is set.
    Pending(Option<u16>),
    /// The same, but the ten hours are over: it will not be sent again.
    Expired(Option<u16>),
    /// There is no such notification.
    Unknown,
}

/// One POST to the notification address.
#[derive(Debug, Clone, Serialize)]
pub struct NotificationAttempt {
    pub notification: Uuid,
    pub application_id: String,
    pub event_type: &'static str,
    pub provisioning_state: ProvisioningState,
    /// Base clock.
    pub at: Timestamp,
    /// Nothing when there was no answer; then `error` says why.
    pub status: Option<u16>,
    pub latency_ms: u64,
    pub error: Option<String>,
}

/// Whether Azure tries again after this; the 404 is named on Microsoft's slides only.
fn tries_again(status: Option<u16>) -> bool {
    status.is_none_or(|status| status >= 500 || status == 429 || status == 404)
}

/// Azure puts `/resource` behind the path and keeps the query.
fn target(address: &str) -> Option<String> {
    let mut url = Url::parse(address).ok()?;
    let path = format!("{}/resource", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url.into())
}

impl Book {
    pub(super) fn notification_mut(&mut self, id: Uuid) -> Option<&mut Notification> {
        self.notifications.get_mut(*self.notification_index.get(&id)?)
    }

    pub(super) fn set_state(&mut self, id: Uuid, state: NotificationState) {
        if let Some(notification) = self.notification_mut(id) {
            notification.state = state;
        }
    }
}

impl Turn<'_> {
    pub(super) fn queue_notification(
        &mut self,
        application_id: String,
        event_type: &'static str,
        provisioning_state: ProvisioningState,
        event_time: Timestamp,
        body: Value,
    ) {
        let dropped = self.faults.take(|switches| &mut switches.notification_drop_next);
        let delay = i64::try_from(self.faults.get().notification_delay_milliseconds).unwrap_or(i64::MAX / 1_000_000);
        let notification = Notification {
            id: self.id(),
            application_id,
            event_type,
            provisioning_state,
            event_time,
            body,
            state: if dropped { NotificationState::Dropped } else { NotificationState::Pending },
            attempts: 0,
            queued: self.now,
            due: self.base_now + SignedDuration::from_millis(delay),
            in_flight: false,
        };
        let book = &mut self.state.managed;
        book.notification_index.insert(notification.id, book.notifications.len());
        book.notifications.push(notification);
    }

    pub(super) fn pending_notifications(&mut self) -> Vec<&Notification> {
        let now = self.now;
        let all = &mut self.state.managed.notifications;
        // One that was never tried waits for its first attempt, however long a test holds it back.
        for notification in all.iter_mut().filter(|one| one.state == NotificationState::Pending && one.attempts > 0) {
            if now.duration_since(notification.queued) >= LONGEST_WAIT {
                notification.state = NotificationState::Expired;
            }
        }
        let mut pending: Vec<&Notification> =
            all.iter().filter(|one| one.state == NotificationState::Pending).collect();
        if self.faults.get().notification_reorder {
            pending.reverse();
        }
        pending
    }

    /// What an attempt makes of a notification. What was delivered once stays delivered.
    fn notification_answered(&mut self, id: Uuid, status: Option<u16>) -> NotificationOutcome {
        let now = self.now;
        let Some(notification) = self.state.managed.notification_mut(id) else { return NotificationOutcome::Unknown };
        let over = now.duration_since(notification.queued) >= LONGEST_WAIT;
        let (state, outcome) = match status {
            Some(200) => (NotificationState::Delivered, NotificationOutcome::Delivered),
            Some(status) if !tries_again(Some(status)) => (NotificationState::Lost, NotificationOutcome::Lost(status)),
            status if over => (NotificationState::Expired, NotificationOutcome::Expired(status)),
            status => (NotificationState::Pending, NotificationOutcome::Pending(status)),
        };
        if notification.state != NotificationState::Delivered {
            notification.state = state;
        }
        outcome
    }

    fn claim_due_notifications(&mut self) -> Vec<Uuid> {
        self.settle_apps();
        if self.state.managed.address.is_none() {
            return Vec::new();
        }
        let (now, reorder) = (self.base_now, self.faults.get().notification_reorder);
        let flying = self.state.managed.notifications.iter().filter(|one| one.in_flight);
        let mut busy: Vec<String> = flying.map(|one| one.application_id.clone()).collect();
        let mut due = Vec::new();
        for one in self.pending_notifications() {
            let free = reorder || !busy.contains(&one.application_id);
            if free && !one.in_flight && one.due <= now {
                due.push(one.id);
            }
            // Also one that waits for its next attempt holds the later ones back, so that the calm world keeps its order.
            busy.push(one.application_id.clone());
        }
        for id in &due {
            if let Some(notification) = self.state.managed.notification_mut(*id) {
                notification.in_flight = true;
            }
        }
        due
    }

    /// After an automatic attempt: the next one is due after 1, 2, 4 ... seconds, at most a minute apart.
    fn release_notification(&mut self, id: Uuid) {
        let now = self.base_now;
        if let Some(notification) = self.state.managed.notification_mut(id) {
            notification.in_flight = false;
            let wait = 1_i64 << notification.attempts.saturating_sub(1).min(6);
            notification.due = now + SignedDuration::from_secs(wait.min(60));
        }
    }
}

pub(super) async fn deliver(simulator: &Simulator, id: Uuid) -> NotificationOutcome {
    let outcome = attempt(simulator, id).await;
    if outcome == NotificationOutcome::Delivered && simulator.faults().get().notification_repeat {
        attempt(simulator, id).await;
    }
    outcome
}

async fn attempt(simulator: &Simulator, id: Uuid) -> NotificationOutcome {
    let found = simulator.turn(|turn| {
        let notification = turn.state.managed.notification_mut(id)?;
        notification.attempts += 1;
        let notification = notification.clone();
        Some((turn.state.managed.address.as_deref().and_then(target), notification))
    });
    let Some((url, notification)) = found else { return NotificationOutcome::Unknown };
    let at = simulator.base_now();
    let answer = match url {
        Some(url) => sending::post(simulator, &url, notification.body.to_string()).await,
        None => {
            let error = Some("no notification address is set".to_owned());
            sending::Answer { status: None, body: String::new(), error, latency_ms: 0 }
        }
    };
    simulator.turn(|turn| {
        turn.state.managed.log.push(NotificationAttempt {
            notification: id,
            application_id: notification.application_id,
            event_type: notification.event_type,
            provisioning_state: notification.provisioning_state,
            at,
            status: answer.status,
            latency_ms: answer.latency_ms,
            error: answer.error,
        });
        turn.notification_answered(id, answer.status)
    })
}

pub(super) async fn deliver_all(simulator: &Simulator) -> usize {
    let mut arrived = 0;
    loop {
        let before = arrived;
        for notification in simulator.managed_apps().pending() {
            let outcome = deliver(simulator, notification.id).await;
            arrived += usize::from(matches!(outcome, NotificationOutcome::Delivered | NotificationOutcome::Lost(_)));
        }
        if arrived == before {
            return arrived;
        }
    }
}

pub(super) async fn send_raw(simulator: &Simulator, body: &Value) -> Result<u16, String> {
    let address = simulator.turn(|turn| turn.state.managed.address.clone());
    let url = address.as_deref().and_then(target).ok_or("no notification address is set")?;
    let answer = sending::post(simulator, &url, body.to_string()).await;
    answer.status.ok_or_else(|| answer.error.unwrap_or_default())
}

/// Sends what is due, for as long as the simulator serves.
pub async fn deliver_in_background(simulator: Simulator) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for id in simulator.turn(|turn| turn.claim_due_notifications()) {
            let simulator = simulator.clone();
            tokio::spawn(async move {
                deliver(&simulator, id).await;
                simulator.turn(|turn| turn.release_notification(id));
            });
        }
    }
}
