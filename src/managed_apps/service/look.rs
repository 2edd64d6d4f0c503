//! One application: what was heard, what Azure says, and what follows.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::app::App;
use crate::callbacks::{self, EventKind, Owner};
use crate::foundation::problem::Problem;
use crate::managed_apps::client::{Answer, Found};
use crate::managed_apps::model::application::{Instance, Story};
use crate::managed_apps::model::heard::{ApplicationKey, Heard, Reading, What};
use crate::managed_apps::repo::{self, Application, Confirmation};
use crate::metering::model::resource::Resource;
use crate::metering::{self, ManagedApp};
use crate::queue::QueueError;
use crate::store::StoreError;

const QUEUE: &str = "managed-apps";
/// Azure and its notifications are given this long to agree before what Azure says counts.
const AGREE_WITHIN: SignedDuration = SignedDuration::from_mins(5);
const ASK_AGAIN: Duration = Duration::from_secs(120);
/// The longest that Azure is waited for; the hourly comparison comes soon after.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// What was deleted so long ago is not asked for any more.
const OVER: SignedDuration = SignedDuration::from_hours(24);
/// Changes are told for so long after them; well below the time for which callbacks remember.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How often the row is written when others write it, too.
const ROUNDS: usize = 6;

/// The text of a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub application: ApplicationKey,
}

/// Asks for a look.
pub async fn request(app: &App, key: &ApplicationKey, delay: Duration) -> Result<(), QueueError> {
    let text = json!(Message { application: key.clone() }).to_string();
    app.queues.send(QUEUE, &text, delay).await
}

/// Brings an application up to date. It may run twice at the same time and die anywhere: what was heard is never changed, the
/// row is written on condition, and what others are told depends on the row alone.
pub async fn look(app: &Arc<App>, key: &ApplicationKey) -> Result<(), Problem> {
    look_at(app, key, false).await
}

/// The same; `listed`: Azure's list has it just now, so it is asked for however long it has been over.
pub async fn look_at(app: &Arc<App>, key: &ApplicationKey, listed: bool) -> Result<(), Problem> {
    for round in 1.. {
        let Some((mut application, etag)) = repo::application(app, key).await? else { return Ok(()) };
        let (mut all, mut story) = repo::story(app, key).await?;
        let Some(last) = all.last() else { return Ok(()) };
        application.shown.clone_from(&last.shown);
        let again = ask(app, &mut application, &mut all, &mut story, listed).await?;
        application.instances = story.instances;
        meter(app, &mut application).await?;
        match repo::save(app, &application, etag).await {
            Ok(()) => {}
            Err(StoreError::Precondition) if round < ROUNDS => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(again) = again {
            request(app, key, again).await?;
        }
        return announce(app, &application).await;
    }
    Ok(())
}

/// Asks Azure about the application. What it says and nobody told joins what was heard. The answer is when to ask again,
/// where that is needed.
async fn ask(
    app: &App,
    application: &mut Application,
    all: &mut Vec<Heard>,
    story: &mut Story,
    listed: bool,
) -> Result<Option<Duration>, StoreError> {
    let now = app.clock.now();
    let Some(present) = story.present() else { return Ok(None) };
    if no_access(app, present) {
        application.confirmation = Confirmation::NoAccess;
        return Ok(None);
    }
    if !listed && present.deleted.is_some_and(|deleted| now.duration_since(deleted) > OVER) {
        return Ok(None);
    }
    let answer = match app.arm.application(&application.uri).await {
        Ok(answer) => answer,
        Err(unavailable) => {
            tracing::warn!(application = %application.key, error = %unavailable, "Azure could not be asked");
            // What it said before still holds, and a young application is asked for again soon.
            let young = now.duration_since(present.last_heard) < OVER;
            let wait = unavailable.wait.unwrap_or(ASK_AGAIN).min(LONGEST_WAIT);
            return Ok((young && application.asked.is_none_or(|asked| asked < present.last_heard)).then_some(wait));
        }
    };
    application.asked = Some(now);
    let young = now.duration_since(present.last_heard) < AGREE_WITHIN;
    let (reading, found) = match answer {
        Answer::Denied(said) => {
            application.confirmation = Confirmation::Denied { said };
            return Ok(None);
        }
        Answer::Gone if present.deleted.is_some() => {
            application.confirmation = Confirmation::Confirmed;
            return Ok(None);
        }
        Answer::Gone if young => {
            application.confirmation = Confirmation::Missing;
            return Ok(Some(ASK_AGAIN));
        }
        Answer::Gone => (Reading::Gone, Found::default()),
        Answer::Found(found) => {
            application.confirmation = Confirmation::Confirmed;
            if found.region.is_some() {
                application.region.clone_from(&found.region);
            }
            if tells_nothing_new(present, &found) {
                return Ok(None);
            }
            if young {
                return Ok(Some(ASK_AGAIN));
            }
            (Reading::Found { state: found.state.clone() }, found)
        }
    };
    application.confirmation = Confirmation::Confirmed;
    let heard = read(&application.uri, &application.shown, reading, found, now);
    tracing::info!(application = %application.key, "Azure told what no notification did");
    repo::keep(app, &heard).await?;
    all.push(heard);
    *story = Story::of(all);
    Ok(None)
}

fn no_access(app: &App, instance: &Instance) -> bool {
    let plan = instance.plan().map_or("", |plan| plan.name.as_str());
    app.settings.managed_apps.without_access.iter().any(|name| name == "*" || name == plan)
}

/// Whether what Azure has is what we know.
fn tells_nothing_new(present: &Instance, found: &Found) -> bool {
    let same_life = found.usage_id.is_none() || present.usage_id.is_none() || found.usage_id == present.usage_id;
    let known = found.usage_id.is_none() || present.usage_id.is_some();
    let same_plan = found.plan.is_none() || present.since.is_none() || found.plan.as_ref() == present.plan();
    present.is_leaving(&found.state)
        || present.deleted.is_none() && same_life && known && same_plan && present.agrees(&found.state)
}

/// What Azure answered, as a row like a notification's. `found`: nothing where it is gone.
fn read(uri: &str, shown: &str, reading: Reading, found: Found, now: Timestamp) -> Heard {
    Heard {
        application: uri.to_owned(),
        shown: shown.to_owned(),
        what: What::Reading(reading),
        at: now,
        received: now,
        usage_id: found.usage_id,
        plan: found.plan,
        definition: found.definition,
        error: None,
        body: String::new(),
    }
}

/// Keeps an application that only Azure told of.
pub async fn discovered(app: &App, uri: &str, found: Found) -> Result<ApplicationKey, StoreError> {
    let (shown, reading) = (found.id.clone(), Reading::Found { state: found.state.clone() });
    let heard = read(uri, &shown, reading, found, app.clock.now());
    let application = Application::new(&heard);
    repo::list(app, &application).await?;
    repo::keep(app, &heard).await?;
    Ok(application.key)
}

/// Tells metering which usage can be recorded: of each life that was provisioned, from then until its deletion began. A
/// deletion closes the open hours at once.
async fn meter(app: &Arc<App>, application: &mut Application) -> Result<(), Problem> {
    let uri = Resource::uri(&application.uri).map_err(Problem::internal)?;
    application.unmetered_plan = false;
    let lives: Vec<Life<'_>> = application.instances.iter().filter_map(Life::of).collect();
    let mut resources = Vec::with_capacity(lives.len());
    for (index, life) in lives.iter().enumerate() {
        // The address belongs to the last life alone.
        let present = index + 1 == lives.len();
        resources.push(metering::link_managed_app(app, life.usage_id, &uri, present).await?);
    }
    for (index, (life, resource)) in lives.iter().zip(&resources).enumerate() {
        // A ledger that was registered by the address has all lives in it: what holds of the last one holds.
        if resources[index + 1..].contains(resource) {
            continue;
        }
        let known = ManagedApp { plans: &life.plans, ended: life.instance.ending };
        let dimensions = metering::register_managed_app(app, resource, &known).await?;
        application.unmetered_plan = !dimensions && life.instance.ending.is_none();
        if life.instance.ending.is_some() {
            // What can not be sent now is sent by the timer.
            if let Err(error) = metering::look(app, resource).await {
                tracing::warn!(application = %application.key, %error, "the usage of an ended application was not sent yet");
            }
        }
    }
    Ok(())
}

/// A life whose usage can be recorded.
struct Life<'a> {
    instance: &'a Instance,
    usage_id: Uuid,
    plans: Vec<(Timestamp, String)>,
}

impl<'a> Life<'a> {
    fn of(instance: &'a Instance) -> Option<Self> {
        let (since, usage_id) = (instance.since?, instance.usage_id?);
        let mut plans: Vec<(Timestamp, String)> = Vec::new();
        for (from, plan) in &instance.plans {
            if plans.last().is_none_or(|(_, last)| *last != plan.name) {
                plans.push(((*from).max(since), plan.name.clone()));
            }
        }
        (!plans.is_empty()).then_some(Self { instance, usage_id, plans })
    }
}

/// Tells the publisher's own systems of the last change, once however often it is called.
async fn announce(app: &App, application: &Application) -> Result<(), Problem> {
    let Some(present) = application.present() else { return Ok(()) };
    // Callbacks forget in time what they told, and would tell it again.
    if app.clock.now().duration_since(present.changed) > TOLD_WITHIN {
        return Ok(());
    }
    let data = json!({
        "application": application.shown, "key": application.key, "state": present.state.name(),
        "usage_id": present.usage_id, "plan": present.plan(), "at": present.changed,
        "error": present.error.as_ref().map(|error| &error.code),
    });
    let subject = format!("{}:{}", application.key, present.state.name());
    callbacks::announce(app, &Owner::Publisher, EventKind::ManagedAppChanged, &subject, present.changed, data).await
}
