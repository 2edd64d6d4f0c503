//! The life of managed applications: what a customer may do when, what Azure makes of it as time passes, and which
//! notification each step leaves behind (marketplace contract, section 6.1).

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::state::Turn;
use super::notifications::{Notification, NotificationAttempt};
use super::{AppKind, Deployment, Ending, ManagedApp, ProvisioningState};

/// The finest step of a time with seven digits.
const STEP: i128 = 100;

/// What Azure is working on.
struct Work {
    app: usize,
    due: Timestamp,
    deletes: bool,
    ending: Ending,
}

/// All managed applications and the notifications about them.
#[derive(Default)]
pub struct Book {
    apps: Vec<ManagedApp>,
    /// The newest application by its id in lower case.
    newest: HashMap<String, usize>,
    by_usage_id: HashMap<Uuid, usize>,
    works: Vec<Work>,
    last_event: Option<Timestamp>,
    /// The notification address, without `/resource`.
    pub address: Option<String>,
    pub(super) notifications: Vec<Notification>,
    pub(super) notification_index: HashMap<Uuid, usize>,
    pub(super) log: Vec<NotificationAttempt>,
}

/// An application's id for comparison.
pub(super) fn key(application_id: &str) -> String {
    format!("/{}", application_id.trim_matches('/').to_lowercase())
}

impl Book {
    pub fn all(&self) -> &[ManagedApp] {
        &self.apps
    }

    /// The application that has this id now, or had it last.
    pub fn current(&self, application_id: &str) -> Option<&ManagedApp> {
        self.apps.get(*self.newest.get(&key(application_id))?)
    }

    pub(super) fn current_mut(&mut self, application_id: &str) -> Result<&mut ManagedApp, String> {
        let found = self.newest.get(&key(application_id)).and_then(|index| self.apps.get_mut(*index));
        found.ok_or_else(|| "There is no such managed application.".to_owned())
    }

    pub fn by_usage_id(&self, id: Uuid) -> Option<&ManagedApp> {
        self.apps.get(*self.by_usage_id.get(&id)?)
    }

    fn index(&self, application_id: &str) -> Result<usize, String> {
        self.newest.get(&key(application_id)).copied().ok_or_else(|| "There is no such managed application.".to_owned())
    }

    fn is_working_on(&self, app: usize) -> bool {
        self.works.iter().any(|work| work.app == app)
    }

    /// Event times never repeat and never go back, also where the clock stands still or is set back.
    fn event_time(&mut self, at: Timestamp) -> Timestamp {
        let whole = at.as_nanosecond().div_euclid(STEP) * STEP;
        let least = self.last_event.map_or(i128::MIN, |last| last.as_nanosecond() + STEP);
        let at = Timestamp::from_nanosecond(whole.max(least)).unwrap_or(at);
        self.last_event = Some(at);
        at
    }
}

fn error(code: &str, message: &str, detail: &str, why: &str) -> Value {
    json!({ "code": code, "message": message, "details": [{ "code": detail, "message": why }] })
}

fn well_named(name: &str, longest: usize, also: &str) -> bool {
    (1..=longest).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

impl Turn<'_> {
    pub fn deploy_app(&mut self, order: Deployment) -> Result<ManagedApp, String> {
        self.settle_apps();
        let number = self.state.managed.apps.len() + 1;
        let name = order.name.clone().unwrap_or_else(|| format!("studio-{number}"));
        if !well_named(&name, 64, "-") {
            return Err("A name has letters, digits and hyphens, at most 64.".into());
        }
        if !well_named(&order.resource_group, 90, "-_.()") {
            return Err("A resource group has letters, digits and any of -_.(), at most 90.".into());
        }
        let ending = Ending::failing(order.provisioning_fails);
        let app = ManagedApp::new(name, order, self.id(), self.now);
        if self.state.managed.current(&app.application_id).is_some_and(|there| !there.is_deleted()) {
            return Err("There is a managed application of this name; update it, or delete it first.".into());
        }
        let (index, book) = (self.state.managed.apps.len(), &mut self.state.managed);
        book.newest.insert(key(&app.application_id), index);
        if let Some(id) = app.resource_usage_id {
            book.by_usage_id.insert(id, index);
        }
        book.apps.push(app);
        self.begin_work(index, false, ending);
        Ok(self.state.managed.apps[index].clone())
    }

    pub fn update_app(&mut self, id: &str, version: &str, ending: Ending) -> Result<ManagedApp, String> {
        self.settle_apps();
        let index = self.state.managed.index(id)?;
        self.idle(index)?;
        let app = &mut self.state.managed.apps[index];
        if app.kind == AppKind::MarketPlace {
            app.version = version.to_owned();
        }
        app.updated = self.now;
        self.begin_work(index, false, ending);
        Ok(self.state.managed.apps[index].clone())
    }

    pub fn patch_app(&mut self, id: &str, tags: BTreeMap<String, String>) -> Result<ManagedApp, String> {
        self.settle_apps();
        let index = self.state.managed.index(id)?;
        self.idle(index)?;
        let app = &mut self.state.managed.apps[index];
        if app.provisioning_state != ProvisioningState::Succeeded {
            return Err("Only a managed application that succeeded can be patched.".into());
        }
        app.tags = tags;
        app.updated = self.now;
        self.tell(index, "PATCH", ProvisioningState::Succeeded, self.now);
        Ok(self.state.managed.apps[index].clone())
    }

    pub fn delete_app(&mut self, id: &str, ending: Ending) -> Result<ManagedApp, String> {
        self.settle_apps();
        let index = self.state.managed.index(id)?;
        // A deployment that is still going on is called off by the deletion.
        match self.state.managed.apps[index].provisioning_state {
            ProvisioningState::Deleted => return Err("The managed application is deleted already.".into()),
            ProvisioningState::Deleting => return Err("The managed application is being deleted.".into()),
            _ => self.state.managed.works.retain(|work| work.app != index),
        }
        self.begin_work(index, true, ending);
        Ok(self.state.managed.apps[index].clone())
    }

    pub fn delete_group_of_app(&mut self, id: &str) -> Result<(), String> {
        self.settle_apps();
        let app = self.state.managed.current(id).ok_or("There is no such managed application.")?;
        let (subscription, group) = (app.subscription, app.resource_group.to_lowercase());
        let inside = |app: &ManagedApp| app.subscription == subscription && app.resource_group.to_lowercase() == group;
        if self.state.managed.apps.iter().any(|app| inside(app) && !app.is_deleted()) {
            return Err("A managed application of this resource group is not deleted.".into());
        }
        self.state.managed.apps.iter_mut().filter(|app| inside(app)).for_each(|app| app.group_deleted = true);
        Ok(())
    }

    fn idle(&self, index: usize) -> Result<(), String> {
        if self.state.managed.apps[index].is_deleted() {
            return Err("The managed application is deleted.".into());
        }
        if self.state.managed.is_working_on(index) {
            return Err("Azure is still working on the managed application.".into());
        }
        Ok(())
    }

    fn begin_work(&mut self, index: usize, deletes: bool, ending: Ending) {
        let (now, book) = (self.now, &mut self.state.managed);
        let app = &mut book.apps[index];
        app.error = None;
        app.provisioning_state = if deletes { ProvisioningState::Deleting } else { ProvisioningState::Accepted };
        let takes = SignedDuration::from_secs(app.provisioning_seconds.into());
        let (state, due) = (app.provisioning_state, now.saturating_add(takes).unwrap_or(now));
        book.works.push(Work { app: index, due, deletes, ending });
        self.tell(index, if deletes { "DELETE" } else { "PUT" }, state, now);
    }

    /// Everything that is due by now has ended, in the order in which it fell due.
    pub fn settle_apps(&mut self) {
        if self.state.managed.works.iter().all(|work| work.due > self.now) {
            return;
        }
        let (mut due, open): (Vec<Work>, Vec<Work>) =
            std::mem::take(&mut self.state.managed.works).into_iter().partition(|work| work.due <= self.now);
        self.state.managed.works = open;
        due.sort_by_key(|work| work.due);
        due.into_iter().for_each(|work| self.end_work(&work, work.due));
    }

    pub fn settle_apps_now(&mut self) {
        self.settle_apps();
        let works = std::mem::take(&mut self.state.managed.works);
        works.iter().for_each(|work| self.end_work(work, self.now));
    }

    fn end_work(&mut self, work: &Work, at: Timestamp) {
        let app = &mut self.state.managed.apps[work.app];
        let (state, why) = match (work.deletes, work.ending) {
            (false, Ending::Succeeds) => {
                app.provisioned.get_or_insert(at);
                (ProvisioningState::Succeeded, None)
            }
            (false, Ending::Fails) => {
                let message = "The deployment of the managed application failed; see details.";
                let why = "The subscription has no quota left for Standard_D4s_v5 in this region.";
                (ProvisioningState::Failed, Some(error("ApplianceDeploymentFailed", message, "QuotaExceeded", why)))
            }
            (true, Ending::Succeeds) => {
                app.deleted = Some(at);
                (ProvisioningState::Deleted, None)
            }
            (true, Ending::Fails) => {
                let message = "The managed resource group could not be deleted; see details.";
                let why = "The scope has a lock, which has to be removed first.";
                (ProvisioningState::Failed, Some(error("ResourceGroupDeletionBlocked", message, "ScopeLocked", why)))
            }
        };
        app.provisioning_state = state;
        app.error = why;
        app.updated = at;
        self.tell(work.app, if work.deletes { "DELETE" } else { "PUT" }, state, at);
    }

    fn tell(&mut self, index: usize, event_type: &'static str, state: ProvisioningState, at: Timestamp) {
        let book = &mut self.state.managed;
        let at = book.event_time(at);
        let app = &mut book.apps[index];
        let body = app.notification(event_type, state, at);
        app.told += 1;
        let application_id = app.application_id.clone();
        self.queue_notification(application_id, event_type, state, at, body);
    }
}
