//! Managed applications on Microsoft's side: customers deploy, update and delete them, the publisher is told by
//! notifications (marketplace contract, section 6) and looks at them through Azure Resource Manager.
//!
//! It owns: the applications (`model`, and their life in `life`), notifications on their way to the product
//! (`notifications`), the doors through which the product looks (`identity` for tokens, `arm`, `graph`), and the ways to
//! drive all this by hand (`control`, `page`). Usage of an application enters the book by the rules of `usage`.

pub mod arm;
pub mod control;
mod graph;
pub mod identity;
mod life;
mod model;
mod notifications;
pub mod page;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_arm;

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::Simulator;

pub use life::Book;
pub use model::{AppKind, Deployment, IdSpelling, ManagedApp, ProvisioningState};
pub(super) use notifications::deliver_in_background;
pub use notifications::{Notification, NotificationAttempt, NotificationOutcome, NotificationState};

/// How a step that Azure works on ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Succeeds,
    Fails,
}

impl Ending {
    fn failing(fails: bool) -> Self {
        if fails { Ending::Fails } else { Ending::Succeeds }
    }
}

/// The managed applications of a simulator. Ids of applications are taken with or without the first slash, and
/// whatever their case.
#[derive(Debug, Clone)]
pub struct ManagedApps(Simulator);

impl Simulator {
    pub fn managed_apps(&self) -> ManagedApps {
        ManagedApps(self.clone())
    }

    /// The "Notification Endpoint URL" of the plans: without `/resource`, which Azure puts behind the path. Until it is
    /// set, notifications wait.
    pub fn set_notification_address(&self, url: &str) {
        self.turn(|turn| turn.state.managed.address = Some(url.trim().to_owned()).filter(|url| !url.is_empty()));
    }
}

impl ManagedApps {
    /// A customer deploys. A name that was deleted may be used again: that is another application with another
    /// `resourceUsageId`.
    pub fn deploy(&self, deployment: Deployment) -> Result<ManagedApp, String> {
        self.0.turn(|turn| turn.deploy_app(deployment))
    }

    /// The customer updates to another version of the plan. This is also how a failed deployment is tried again.
    pub fn update(&self, application_id: &str, version: &str, ending: Ending) -> Result<ManagedApp, String> {
        self.0.turn(|turn| turn.update_app(application_id, version, ending))
    }

    /// The customer changes the tags. There is only one notification of that.
    pub fn patch(&self, application_id: &str, tags: BTreeMap<String, String>) -> Result<ManagedApp, String> {
        self.0.turn(|turn| turn.patch_app(application_id, tags))
    }

    /// The customer deletes, also while the deployment is still going on.
    pub fn delete(&self, application_id: &str, ending: Ending) -> Result<ManagedApp, String> {
        self.0.turn(|turn| turn.delete_app(application_id, ending))
    }

    /// The resource group around a deleted application goes as well.
    pub fn delete_resource_group(&self, application_id: &str) -> Result<(), String> {
        self.0.turn(|turn| turn.delete_group_of_app(application_id))
    }

    /// The plan's publisher access is switched on or off for what is deployed already.
    pub fn set_publisher_access(&self, application_id: &str, on: bool) -> Result<(), String> {
        self.0.turn(|turn| {
            turn.state.managed.current_mut(application_id)?.publisher_access = on;
            Ok(())
        })
    }

    /// Everything that Azure is working on ends now, whatever the time.
    pub fn settle(&self) {
        self.0.turn(|turn| turn.settle_apps_now());
    }

    /// The application that has this id now, or had it last.
    pub fn get(&self, application_id: &str) -> Option<ManagedApp> {
        self.0.turn(|turn| {
            turn.settle_apps();
            turn.state.managed.current(application_id).cloned()
        })
    }

    /// Every application that there ever was, in order of deployment.
    pub fn list(&self) -> Vec<ManagedApp> {
        self.0.turn(|turn| {
            turn.settle_apps();
            turn.state.managed.all().to_vec()
        })
    }

    /// The notifications that wait, in the order in which they will be sent.
    pub fn pending(&self) -> Vec<Notification> {
        self.0.turn(|turn| {
            turn.settle_apps();
            turn.pending_notifications().into_iter().cloned().collect()
        })
    }

    /// Every notification so far, in order of its making.
    pub fn notifications(&self) -> Vec<Notification> {
        self.0.turn(|turn| {
            turn.settle_apps();
            turn.state.managed.notifications.clone()
        })
    }

    /// Sends one notification now, whatever became of it before.
    pub async fn deliver(&self, notification: Uuid) -> NotificationOutcome {
        notifications::deliver(&self.0, notification).await
    }

    /// Sends everything that waits, until nothing moves any more. Answers how many arrived: delivered or lost for good.
    pub async fn deliver_all(&self) -> usize {
        notifications::deliver_all(&self.0).await
    }

    /// The notification is lost on the way.
    pub fn drop_notification(&self, notification: Uuid) {
        self.0.turn(|turn| turn.state.managed.set_state(notification, NotificationState::Dropped));
    }

    /// Every POST to the notification address so far.
    pub fn notification_log(&self) -> Vec<NotificationAttempt> {
        self.0.turn(|turn| turn.state.managed.log.clone())
    }

    /// A body of the caller's own making goes to the notification address, as a stranger might send one. Answers the
    /// status, or why there is none; nothing is recorded.
    pub async fn send_raw(&self, body: &Value) -> Result<u16, String> {
        notifications::send_raw(&self.0, body).await
    }
}
