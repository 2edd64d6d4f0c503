//! The life of managed applications, what the product is told of it, and their usage. Business time begins on 2026-01-31
//! at 10:00 and stands still.

use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter as _;

use super::super::tests::World;
use super::*;

/// What a product was sent, and the statuses that it answers, one after the other; then 200.
#[derive(Clone, Default)]
pub(super) struct Listener {
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Listener {
    /// Its address with a query, and itself.
    async fn start() -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/api/?sig=a%20b", listener.local_addr().unwrap());
        let this = Listener::default();
        let inner = this.clone();
        let raw_query = warp::query::raw().or(warp::any().map(String::new)).unify();
        let serve = warp::post().and(warp::path::full()).and(raw_query).and(warp::body::json()).map(
            move |path: warp::path::FullPath, query: String, body: Value| {
                inner.seen.lock().unwrap().push((format!("{}?{query}", path.as_str()), body));
                let mut answers = inner.answers.lock().unwrap();
                let code = if answers.is_empty() { 200 } else { answers.remove(0) };
                warp::reply::with_status("{}", http::StatusCode::from_u16(code).unwrap())
            },
        );
        tokio::spawn(warp::serve(serve).incoming(listener).run());
        (address, this)
    }

    fn answer(&self, codes: &[u16]) {
        *self.answers.lock().unwrap() = codes.to_vec();
    }

    fn bodies(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn steps(&self) -> Vec<String> {
        let bodies = self.bodies();
        bodies.iter().map(step).collect()
    }
}

fn step(body: &Value) -> String {
    format!("{} {}", body["eventType"].as_str().unwrap(), body["provisioningState"].as_str().unwrap())
}

async fn world() -> (World, ManagedApps, Listener) {
    let world = World::start().await;
    let (address, listener) = Listener::start().await;
    world.simulator.set_notification_address(&address);
    let apps = world.simulator.managed_apps();
    (world, apps, listener)
}

fn ready(apps: &ManagedApps, name: &str) -> ManagedApp {
    let app = apps.deploy(Deployment::named(name)).unwrap();
    apps.settle();
    apps.get(&app.application_id).unwrap()
}

#[tokio::test]
async fn each_step_of_a_life_is_told_once_with_times_that_only_grow() {
    let (_world, apps, listener) = world().await;
    let app = ready(&apps, "studio");
    assert_eq!(app.provisioning_state, ProvisioningState::Succeeded);
    apps.update(&app.application_id.to_uppercase(), "1.1.0", Ending::Succeeds).unwrap();
    assert!(apps.update(&app.application_id, "1.2.0", Ending::Succeeds).is_err());
    apps.settle();
    apps.patch(&app.application_id, [("team".to_owned(), "blue".to_owned())].into()).unwrap();
    apps.delete(&app.application_id, Ending::Fails).unwrap();
    apps.settle();
    apps.delete(app.application_id.trim_start_matches('/'), Ending::Succeeds).unwrap();
    apps.settle();
    assert_eq!(apps.deliver_all().await, 9);
    let steps = listener.steps();
    let expected = [
        "PUT Accepted",
        "PUT Succeeded",
        "PUT Accepted",
        "PUT Succeeded",
        "PATCH Succeeded",
        "DELETE Deleting",
        "DELETE Failed",
        "DELETE Deleting",
        "DELETE Deleted",
    ];
    assert_eq!(steps, expected);
    let bodies = listener.bodies();
    let times: Vec<&str> = bodies.iter().map(|body| body["eventTime"].as_str().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]) && times.iter().all(|time| time.len() == 28), "{times:?}");
    let versions: Vec<&str> = bodies.iter().map(|body| body["plan"]["version"].as_str().unwrap()).collect();
    assert_eq!((versions[1], versions[2]), ("1.0.0", "1.1.0"));
    assert_eq!(bodies[1]["billingDetails"]["resourceUsageId"], json!(app.resource_usage_id));
    assert_eq!((&bodies[6]["error"]["details"][0]["code"], bodies[5].get("error")), (&json!("ScopeLocked"), None));
    assert_eq!(listener.seen.lock().unwrap()[0].0, "/api/resource?sig=a%20b");
    assert!(apps.delete(&app.application_id, Ending::Succeeds).is_err());
}

#[tokio::test]
async fn a_deployment_settles_by_itself_when_its_time_is_over() {
    let (world, apps, _) = world().await;
    let good = apps.deploy(Deployment { provisioning_seconds: 60, ..Deployment::named("good") }).unwrap();
    let bad = apps.deploy(Deployment { provisioning_fails: true, ..Deployment::named("bad") }).unwrap();
    let state = |app: &ManagedApp| apps.get(&app.application_id).unwrap().provisioning_state;
    world.simulator.advance(SignedDuration::from_secs(59));
    assert_eq!((state(&good), state(&bad)), (ProvisioningState::Accepted, ProvisioningState::Failed));
    world.simulator.advance(SignedDuration::from_secs(1));
    assert_eq!(state(&good), ProvisioningState::Succeeded);
    let told = apps.notifications();
    assert_eq!(told[3].event_time.to_string(), "2026-01-31T10:01:00Z");
    assert_eq!(told[2].body["error"]["code"], "ApplianceDeploymentFailed");
    // A failed deployment is tried again by another PUT.
    apps.update(&bad.application_id, "1.0.0", Ending::Succeeds).unwrap();
    apps.settle();
    assert_eq!(state(&bad), ProvisioningState::Succeeded);
}

#[tokio::test]
async fn a_deployment_that_goes_on_can_be_deleted_and_then_never_succeeds() {
    let (_world, apps, listener) = world().await;
    let app = apps.deploy(Deployment::default()).unwrap();
    apps.delete(&app.application_id, Ending::Succeeds).unwrap();
    apps.settle();
    apps.deliver_all().await;
    assert_eq!(listener.steps(), ["PUT Accepted", "DELETE Deleting", "DELETE Deleted"]);
}

#[tokio::test]
async fn a_name_that_was_deleted_is_another_application_with_another_usage_id() {
    let (_world, apps, _) = world().await;
    let first = ready(&apps, "studio");
    assert!(apps.deploy(Deployment::named("STUDIO")).is_err());
    apps.delete(&first.application_id, Ending::Succeeds).unwrap();
    assert!(apps.deploy(Deployment::named("studio")).is_err());
    apps.settle();
    let second = apps.deploy(Deployment::named("Studio")).unwrap();
    assert_ne!(first.resource_usage_id, second.resource_usage_id);
    assert_eq!(apps.list().len(), 2);
    assert_eq!(apps.get(&first.application_id).unwrap().resource_usage_id, second.resource_usage_id);
    for bad in ["", "a/b", "with space"] {
        assert!(apps.deploy(Deployment::named(bad)).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_service_catalog_application_has_a_definition_and_no_plan() {
    let (_world, apps, listener) = world().await;
    apps.deploy(Deployment { kind: AppKind::ServiceCatalog, ..Deployment::default() }).unwrap();
    apps.deliver_all().await;
    let body = &listener.bodies()[0];
    assert!(body["applicationDefinitionId"].as_str().unwrap().contains("/applicationDefinitions/"));
    assert!(body.get("plan").is_none() && body.get("billingDetails").is_none());
}

#[tokio::test]
async fn ids_and_billing_details_come_in_the_odd_ways_that_were_asked_for() {
    let (_world, apps, _) = world().await;
    let order = Deployment {
        no_leading_slash: true,
        spelling: IdSpelling::Changing,
        billing_details_late: true,
        ..Deployment::named("studio")
    };
    let app = apps.deploy(order).unwrap();
    apps.settle();
    let told = apps.notifications();
    let ids: Vec<&str> = told.iter().map(|one| one.body["applicationId"].as_str().unwrap()).collect();
    let plain = app.application_id.trim_start_matches('/');
    assert_eq!(ids, [plain, plain.to_uppercase().as_str()]);
    assert_eq!(told[0].body["billingDetails"], json!({}));
    assert_eq!(told[1].body["billingDetails"]["resourceUsageId"], json!(app.resource_usage_id));
}

#[tokio::test]
async fn only_some_answers_are_followed_by_another_attempt() {
    let (world, apps, listener) = world().await;
    let app = ready(&apps, "studio");
    let id = apps.pending()[0].id;
    listener.answer(&[500, 429, 404, 503, 400, 202]);
    for status in [500, 429, 404, 503] {
        assert_eq!(apps.deliver(id).await, NotificationOutcome::Pending(Some(status)));
    }
    assert_eq!(apps.deliver(id).await, NotificationOutcome::Lost(400));
    assert_eq!(apps.pending().len(), 1);
    // Contract 6.4 asks for exactly 200.
    assert_eq!(apps.deliver(apps.pending()[0].id).await, NotificationOutcome::Lost(202));
    world.simulator.set_notification_address("http://127.0.0.1:1/api");
    apps.patch(&app.application_id, BTreeMap::new()).unwrap();
    let last = apps.pending()[0].id;
    assert_eq!(apps.deliver(last).await, NotificationOutcome::Pending(None));
    world.simulator.set_notification_address("");
    assert_eq!(apps.deliver(last).await, NotificationOutcome::Pending(None));
    let log = apps.notification_log();
    assert_eq!((log.len(), log[5].status, log[6].status), (8, Some(202), None));
    assert!(log[7].error.as_deref().unwrap().contains("no notification address"));
    assert_eq!(apps.deliver(Uuid::nil()).await, NotificationOutcome::Unknown);
}

#[tokio::test]
async fn an_address_that_is_dead_for_ten_hours_loses_the_notification_for_good() {
    let (world, apps, listener) = world().await;
    apps.deploy(Deployment { provisioning_seconds: 1_000_000, ..Deployment::default() }).unwrap();
    let id = apps.pending()[0].id;
    listener.answer(&[500]);
    assert_eq!(apps.deliver_all().await, 0);
    world.simulator.advance(SignedDuration::from_hours(10) - SignedDuration::from_secs(1));
    assert_eq!(apps.pending().len(), 1);
    world.simulator.advance(SignedDuration::from_secs(1));
    assert!(apps.pending().is_empty());
    assert_eq!(apps.notifications()[0].state, NotificationState::Expired);
    // A test may still send it, as late as it likes.
    assert_eq!(apps.deliver(id).await, NotificationOutcome::Delivered);
    assert_eq!(listener.steps().len(), 2);
}

#[tokio::test]
async fn notifications_are_doubled_reordered_and_lost_on_demand() {
    let (world, apps, listener) = world().await;
    let faults = world.simulator.faults();
    faults.notification_drop_next(1);
    faults.notification_repeat(true);
    faults.notification_reorder(true);
    let app = ready(&apps, "studio");
    apps.patch(&app.application_id, BTreeMap::new()).unwrap();
    apps.delete(&app.application_id, Ending::Succeeds).unwrap();
    apps.drop_notification(apps.pending()[1].id);
    assert_eq!(apps.deliver_all().await, 2);
    assert_eq!(listener.steps(), ["DELETE Deleting", "DELETE Deleting", "PUT Succeeded", "PUT Succeeded"]);
    assert_eq!(apps.send_raw(&json!({"eventType": "X", "provisioningState": "Y"})).await, Ok(200));
}

#[tokio::test]
async fn the_background_sends_in_order_and_tries_again() {
    let (world, apps, listener) = world().await;
    listener.answer(&[500]);
    ready(&apps, "studio");
    let sender = tokio::spawn(deliver_in_background(world.simulator.clone()));
    for _ in 0..600 {
        world.clock.advance(SignedDuration::from_secs(1));
        if listener.steps().len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    sender.abort();
    assert_eq!(listener.steps(), ["PUT Accepted", "PUT Accepted", "PUT Succeeded"]);
}

/// The status of one event that names the application in one of two ways.
async fn usage(world: &World, field: &str, resource: Value, hour: &str) -> (u16, Value) {
    let event = json!({
        field: resource, "quantity": 2, "dimension": "speech_minutes",
        "effectiveStartTime": format!("2026-01-{hour}:30:00Z"), "planId": "metered",
    });
    let url = format!("{}/api/usageEvent?api-version=2018-08-31", world.simulator.base_url());
    let reply = world.http.post(url).bearer_auth(&world.token).json(&event).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn usage_by_id_and_by_address_shares_one_slot() {
    let (world, apps, _) = world().await;
    let app = ready(&apps, "studio");
    let (id, uri) = (json!(app.resource_usage_id), json!(app.application_id.to_uppercase()));
    let (code, accepted) = usage(&world, "resourceUri", uri.clone(), "31T09").await;
    assert_eq!((code, &accepted["resourceUri"]), (200, &uri));
    let (code, conflict) = usage(&world, "resourceId", id.clone(), "31T09").await;
    let before = &conflict["additionalInfo"]["acceptedMessage"];
    assert_eq!((code, &before["resourceUri"]), (409, &json!(app.application_id.to_lowercase())));
    assert_eq!(usage(&world, "resourceId", id.clone(), "31T08").await.0, 200);
    assert_eq!(usage(&world, "resourceUri", uri, "31T08").await.0, 409);
    let book = world.simulator.usage_book();
    assert!(book.len() == 2 && book.iter().all(|usage| json!(usage.resource) == id));
}

#[tokio::test]
async fn usage_is_taken_from_provisioning_to_deletion_and_for_its_plan_only() {
    let (world, apps, _) = world().await;
    let app = apps.deploy(Deployment { plan: "metered".into(), ..Deployment::named("studio") }).unwrap();
    let id = json!(app.resource_usage_id);
    let problem = |reply: (u16, Value)| (reply.0, reply.1["details"][0]["target"].clone());
    let unknown = (400, json!("resourceId"));
    assert_eq!(problem(usage(&world, "resourceId", id.clone(), "31T09").await), unknown);
    apps.settle();
    world.simulator.advance(SignedDuration::from_hours(2));
    apps.delete(&app.application_id, Ending::Succeeds).unwrap();
    assert_eq!(usage(&world, "resourceId", id.clone(), "31T09").await.0, 200);
    apps.settle();
    world.simulator.advance(SignedDuration::from_hours(1));
    assert_eq!(usage(&world, "resourceId", id.clone(), "31T11").await.0, 200);
    assert_eq!(problem(usage(&world, "resourceId", id, "31T12").await), unknown);
    let other = apps.deploy(Deployment { plan: "metered-large".into(), ..Deployment::named("other") }).unwrap();
    apps.settle();
    let refused = usage(&world, "resourceId", json!(other.resource_usage_id), "31T11").await;
    assert_eq!(problem(refused), (400, json!("dimension")));
    let own = apps.deploy(Deployment { kind: AppKind::ServiceCatalog, ..Deployment::named("own") }).unwrap();
    apps.settle();
    assert_eq!(problem(usage(&world, "resourceUri", json!(own.application_id), "31T11").await), unknown);
}

#[tokio::test]
async fn the_control_api_and_the_page_drive_a_life() {
    let (world, apps, listener) = world().await;
    let base = world.simulator.base_url().to_owned();
    let post = |verb: &str, body: Value| world.http.post(format!("{base}/simulator/{verb}")).json(&body).send();
    let app: Value = post("deploy-managed-app", json!({ "name": "studio" })).await.unwrap().json().await.unwrap();
    let id = app["application_id"].as_str().unwrap();
    assert_eq!(app["provisioning_state"], "Accepted");
    post("settle-managed-apps", json!({})).await.unwrap();
    let update = json!({ "application_id": id, "version": "2.0.0", "fails": true });
    assert_eq!(post("update-managed-app", update.clone()).await.unwrap().status(), 200);
    assert_eq!(post("update-managed-app", update).await.unwrap().status(), 400);
    apps.settle();
    assert_eq!(post("delete-managed-app", json!({ "application_id": id })).await.unwrap().status(), 200);
    let sent: Value = post("deliver-notifications", json!({})).await.unwrap().json().await.unwrap();
    assert_eq!((&sent["delivered"], listener.steps().len()), (&json!(5), 5));
    let far = json!({ "address": "https://example.com/api" });
    assert_eq!(post("notification-address", far).await.unwrap().status(), 400);
    let all: Value =
        world.http.get(format!("{base}/simulator/managed-apps")).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&all["applications"][0]["version"], &all["notifications"][4]["state"]),
        (&json!("2.0.0"), &json!("Delivered"))
    );

    let form = [("plan", "metered"), ("version", "3.1.4"), ("name", "by-hand"), ("odd_ids", "on")];
    let reply = world.http.post(format!("{base}/managed-apps/deploy")).form(&form).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.headers()["location"].to_str().unwrap()), (303, "/managed-apps"));
    let page = world.http.get(format!("{base}/managed-apps")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("by-hand") && page.contains("3.1.4") && page.contains("Simulated Microsoft"), "{page}");
    let again = world.http.post(format!("{base}/managed-apps/deploy")).form(&form).send().await.unwrap();
    assert!(again.headers()["location"].to_str().unwrap().contains("problem="));
}
