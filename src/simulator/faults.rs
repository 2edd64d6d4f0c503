//! What can go wrong on Microsoft's side, switched on by tests and by the controls page.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::analytics::AnalyticsSwitches;

/// The switches. All off is the calm world.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// The next so many marketplace calls answer `fail_status`.
    pub fail_next: u32,
    pub fail_status: u16,
    /// The next so many marketplace calls answer 429 with `Retry-After: retry_after_seconds`.
    pub throttle_next: u32,
    pub retry_after_seconds: u32,
    /// Every marketplace answer waits this long.
    pub delay_milliseconds: u64,
    /// Every webhook waits this long before it is sent.
    pub webhook_delay_milliseconds: u64,
    /// The next so many webhooks are lost on the way.
    pub drop_next_webhooks: u32,
    /// Every webhook that was delivered is delivered once more.
    pub repeat_webhooks: bool,
    /// Newest first.
    pub reorder_webhooks: bool,
    /// All marketplace calls answer 503.
    pub api_down: bool,
    /// Discovery and keys answer 503.
    pub keys_down: bool,
    /// Token endpoints answer 503.
    pub token_endpoint_down: bool,
    /// Marketplace calls refuse every token with 403.
    pub deny_tokens: bool,
    /// Activation is acknowledged, and takes effect this much later on the business clock.
    pub activation_delay_seconds: i64,
    /// The next so many activations are acknowledged and then fail: an Unsubscribe follows.
    pub activation_fails_next: u32,
    /// An operation answers as not found to its first so many lookups, and is missing from the list until then.
    pub operation_visible_after: u32,
    /// PATCH `Failure` is acknowledged and does not stop the change, as was observed in 2022.
    pub ignore_failure_patch: bool,
    /// A refused change is followed by a change back to the current value, as was observed.
    pub revert_refused_changes: bool,
    /// Unknown operations answer the documented 404 instead of the observed 400.
    pub unknown_operation_is_404: bool,
    /// The address in `@nextLink` starts with this instead of the API's own.
    pub next_link_base: Option<String>,
    /// Webhook tokens in the version 1 form (`appid`, version 1 issuer).
    pub webhook_token_v1: bool,
    /// The next so many POSTs of usage are booked and then answered 500, so that the caller does not know.
    pub metering_drop_answer_next: u32,
    /// The next so many usage events are accepted with half their quantity, and the answer says so.
    pub metering_accept_other_quantity_next: u32,
    /// The next so many items of batches answer `Error`.
    pub metering_item_error_next: u32,
    /// The metering API answers 503; everything else works.
    pub metering_down: bool,
    /// The metering API answers 503 until this business time.
    pub metering_down_until: Option<Timestamp>,
    /// Every usage event answers `ResourceNotAuthorized`.
    pub metering_unauthorized_resources: bool,
    /// Every usage event answers this status and is not booked.
    pub metering_status_override: Option<String>,
    /// The managed identity's token endpoint answers 503.
    pub identity_down: bool,
    /// Azure Resource Manager and Resource Graph answer 503.
    pub arm_down: bool,
    /// Their next so many calls answer `arm_fail_status`.
    pub arm_fail_next: u32,
    pub arm_fail_status: u16,
    /// Their next so many calls answer 429 with `Retry-After: arm_retry_after_seconds`.
    pub arm_throttle_next: u32,
    pub arm_retry_after_seconds: u32,
    /// Every one of their answers waits this long.
    pub arm_delay_milliseconds: u64,
    /// Every notification of a managed app waits this long before it is sent.
    pub notification_delay_milliseconds: u64,
    /// The next so many notifications are lost on the way.
    pub notification_drop_next: u32,
    /// Every notification that was delivered is delivered once more.
    pub notification_repeat: bool,
    /// Newest first.
    pub notification_reorder: bool,
    /// All AI calls answer 503.
    pub ai_down: bool,
    /// The next so many AI calls answer `ai_fail_status`; a 429 says `ai_retry_after_ms`.
    pub ai_fail_next: u32,
    pub ai_fail_status: u16,
    pub ai_retry_after_ms: u64,
    /// The next so many AI calls answer 200 with a page of HTML, as a gateway in front may.
    pub ai_html_next: u32,
    /// Every AI answer but a refusal waits this long before its first byte.
    pub ai_delay_ms: u64,
    /// Every record of a stream but the first waits this long.
    pub ai_chunk_delay_ms: u64,
    /// The next so many answers break off in the middle, together with their connection.
    pub ai_cut_next: u32,
    /// The next so many streams report an error in the middle and end there.
    pub ai_error_in_stream_next: u32,
    /// The next so many streams end in good order but without `[DONE]`.
    pub ai_no_done_next: u32,
    /// After how many pieces of content a stream is broken by one of the three above; audio is cut after so many pieces
    /// of 8 KiB, results of batch jobs after so many of 64 KiB. Nothing: half way, or for a missing `[DONE]` after
    /// everything else.
    pub ai_cut_after_chunks: Option<u32>,
    /// The next so many answers that should report usage do not.
    pub ai_no_usage_next: u32,
    /// The next so many pieces of short audio are understood by nobody.
    pub ai_no_match_next: u32,
    /// The v1 family does not know models of the Whisper kind, as was observed.
    pub ai_no_whisper_on_v1: bool,
    /// The next so many batch jobs that are accepted will fail as a whole.
    pub ai_batch_fail_next: u32,
    /// How long after their creation the next batch jobs begin to run, and when they are done. Nothing: 2 and 5 seconds.
    pub ai_batch_begins_ms: Option<u64>,
    pub ai_batch_done_ms: Option<u64>,
    /// The next so many calls of systems of sales answer `crm_fail_status` with `crm_fail_code`, and `Retry-After` if it
    /// is given; nothing is written there. A status of redirection leads to the simulator's first page.
    pub crm_fail_next: u32,
    pub crm_fail_status: u16,
    pub crm_fail_code: Option<String>,
    pub crm_retry_after: Option<String>,
    /// The next so many calls of systems of sales are done, and their answers break off.
    pub crm_cut_next: u32,
    /// What goes wrong in the analytics API.
    pub analytics: AnalyticsSwitches,
}

fn milliseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)
}

/// The switches, shared between the caller and the running simulator.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Switches>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Switches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of all switches.
    pub fn get(&self) -> Switches {
        self.lock().clone()
    }

    /// Replaces all switches.
    pub fn set(&self, switches: Switches) {
        *self.lock() = switches;
    }

    /// Back to the calm world.
    pub fn clear(&self) {
        self.set(Switches::default());
    }

    /// Changes one or several switches at once.
    pub fn change(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.lock());
    }

    pub fn set_fail_next(&self, calls: u32, status: u16) {
        self.change(|switches| (switches.fail_next, switches.fail_status) = (calls, status));
    }

    pub fn throttle_next(&self, calls: u32, retry_after_seconds: u32) {
        self.change(|switches| {
            (switches.throttle_next, switches.retry_after_seconds) = (calls, retry_after_seconds);
        });
    }

    pub fn set_delay(&self, delay: Duration) {
        self.change(|switches| switches.delay_milliseconds = milliseconds(delay));
    }

    pub fn set_webhook_delay(&self, delay: Duration) {
        self.change(|switches| switches.webhook_delay_milliseconds = milliseconds(delay));
    }

    pub fn set_drop_next_webhooks(&self, webhooks: u32) {
        self.change(|switches| switches.drop_next_webhooks = webhooks);
    }

    pub fn set_repeat_webhooks(&self, on: bool) {
        self.change(|switches| switches.repeat_webhooks = on);
    }

    pub fn set_reorder_webhooks(&self, on: bool) {
        self.change(|switches| switches.reorder_webhooks = on);
    }

    pub fn api_down(&self, on: bool) {
        self.change(|switches| switches.api_down = on);
    }

    pub fn keys_down(&self, on: bool) {
        self.change(|switches| switches.keys_down = on);
    }

    pub fn token_endpoint_down(&self, on: bool) {
        self.change(|switches| switches.token_endpoint_down = on);
    }

    pub fn deny_tokens(&self, on: bool) {
        self.change(|switches| switches.deny_tokens = on);
    }

    pub fn activation_delay(&self, delay: SignedDuration) {
        self.change(|switches| switches.activation_delay_seconds = delay.as_secs());
    }

    pub fn activation_fails_next(&self, activations: u32) {
        self.change(|switches| switches.activation_fails_next = activations);
    }

    pub fn operation_visible_after(&self, lookups: u32) {
        self.change(|switches| switches.operation_visible_after = lookups);
    }

    pub fn ignore_failure_patch(&self, on: bool) {
        self.change(|switches| switches.ignore_failure_patch = on);
    }

    pub fn revert_refused_changes(&self, on: bool) {
        self.change(|switches| switches.revert_refused_changes = on);
    }

    pub fn unknown_operation_is_404(&self, on: bool) {
        self.change(|switches| switches.unknown_operation_is_404 = on);
    }

    pub fn set_next_link_base(&self, base: Option<&str>) {
        self.change(|switches| switches.next_link_base = base.map(str::to_owned));
    }

    pub fn webhook_token_v1(&self, on: bool) {
        self.change(|switches| switches.webhook_token_v1 = on);
    }

    pub fn metering_drop_answer_next(&self, posts: u32) {
        self.change(|switches| switches.metering_drop_answer_next = posts);
    }

    pub fn metering_accept_other_quantity_next(&self, events: u32) {
        self.change(|switches| switches.metering_accept_other_quantity_next = events);
    }

    pub fn metering_item_error_next(&self, items: u32) {
        self.change(|switches| switches.metering_item_error_next = items);
    }

    pub fn metering_down(&self, on: bool) {
        self.change(|switches| switches.metering_down = on);
    }

    pub fn metering_down_until(&self, until: Option<Timestamp>) {
        self.change(|switches| switches.metering_down_until = until);
    }

    pub fn metering_unauthorized_resources(&self, on: bool) {
        self.change(|switches| switches.metering_unauthorized_resources = on);
    }

    pub fn metering_status_override(&self, status: Option<&str>) {
        self.change(|switches| switches.metering_status_override = status.map(str::to_owned));
    }

    pub fn identity_down(&self, on: bool) {
        self.change(|switches| switches.identity_down = on);
    }

    pub fn arm_down(&self, on: bool) {
        self.change(|switches| switches.arm_down = on);
    }

    pub fn arm_fail_next(&self, calls: u32, status: u16) {
        self.change(|switches| (switches.arm_fail_next, switches.arm_fail_status) = (calls, status));
    }

    pub fn arm_throttle_next(&self, calls: u32, retry_after_seconds: u32) {
        self.change(|switches| {
            (switches.arm_throttle_next, switches.arm_retry_after_seconds) = (calls, retry_after_seconds);
        });
    }

    pub fn arm_delay(&self, delay: Duration) {
        self.change(|switches| switches.arm_delay_milliseconds = milliseconds(delay));
    }

    pub fn notification_delay(&self, delay: Duration) {
        self.change(|switches| switches.notification_delay_milliseconds = milliseconds(delay));
    }

    pub fn notification_drop_next(&self, notifications: u32) {
        self.change(|switches| switches.notification_drop_next = notifications);
    }

    pub fn notification_repeat(&self, on: bool) {
        self.change(|switches| switches.notification_repeat = on);
    }

    pub fn notification_reorder(&self, on: bool) {
        self.change(|switches| switches.notification_reorder = on);
    }

    pub fn ai_down(&self, on: bool) {
        self.change(|switches| switches.ai_down = on);
    }

    pub fn ai_fail_next(&self, calls: u32, status: u16) {
        self.change(|switches| (switches.ai_fail_next, switches.ai_fail_status) = (calls, status));
    }

    pub fn ai_throttle_next(&self, calls: u32, retry_after: Duration) {
        self.change(|switches| {
            (switches.ai_fail_next, switches.ai_fail_status) = (calls, 429);
            switches.ai_retry_after_ms = milliseconds(retry_after);
        });
    }

    pub fn ai_html_next(&self, calls: u32) {
        self.change(|switches| switches.ai_html_next = calls);
    }

    pub fn ai_delay(&self, delay: Duration) {
        self.change(|switches| switches.ai_delay_ms = milliseconds(delay));
    }

    pub fn ai_chunk_delay(&self, delay: Duration) {
        self.change(|switches| switches.ai_chunk_delay_ms = milliseconds(delay));
    }

    pub fn ai_cut_next(&self, answers: u32) {
        self.change(|switches| switches.ai_cut_next = answers);
    }

    pub fn ai_error_in_stream_next(&self, streams: u32) {
        self.change(|switches| switches.ai_error_in_stream_next = streams);
    }

    pub fn ai_no_done_next(&self, streams: u32) {
        self.change(|switches| switches.ai_no_done_next = streams);
    }

    pub fn ai_cut_after_chunks(&self, chunks: Option<u32>) {
        self.change(|switches| switches.ai_cut_after_chunks = chunks);
    }

    pub fn ai_no_usage_next(&self, answers: u32) {
        self.change(|switches| switches.ai_no_usage_next = answers);
    }

    pub fn ai_no_match_next(&self, utterances: u32) {
        self.change(|switches| switches.ai_no_match_next = utterances);
    }

    pub fn ai_no_whisper_on_v1(&self, on: bool) {
        self.change(|switches| switches.ai_no_whisper_on_v1 = on);
    }

    pub fn ai_batch_fail_next(&self, jobs: u32) {
        self.change(|switches| switches.ai_batch_fail_next = jobs);
    }

    /// When batch jobs that come from now on begin to run and when they are done, counted from their creation.
    pub fn ai_batch_times(&self, begins: Duration, done: Duration) {
        self.change(|switches| {
            switches.ai_batch_begins_ms = Some(milliseconds(begins));
            switches.ai_batch_done_ms = Some(milliseconds(done));
        });
    }

    pub fn crm_fail_next(&self, calls: u32, status: u16, code: Option<&str>, retry_after: Option<&str>) {
        self.change(|switches| {
            (switches.crm_fail_next, switches.crm_fail_status) = (calls, status);
            (switches.crm_fail_code, switches.crm_retry_after) =
                (code.map(str::to_owned), retry_after.map(str::to_owned));
        });
    }

    pub fn crm_cut_next(&self, calls: u32) {
        self.change(|switches| switches.crm_cut_next = calls);
    }

    /// Takes one from a countdown; true when there was one to take.
    pub(super) fn take(&self, counter: impl FnOnce(&mut Switches) -> &mut u32) -> bool {
        let mut switches = self.lock();
        let counter = counter(&mut switches);
        let due = *counter > 0;
        *counter = counter.saturating_sub(1);
        due
    }
}
