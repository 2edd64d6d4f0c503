//! The metering API as a product meets it. Business time begins on 2026-01-31 at 10:00.

use jiff::SignedDuration;
use reqwest::Response;
use serde_json::{Value, json};
use uuid::Uuid;

use super::millionths::ONE;
use super::tests::World;
use super::{Action, BookedUsage, Person, PurchaseOptions, ReconStatus};

const APP: &str = "/subscriptions/S/resourceGroups/G/providers/Microsoft.Solutions/applications/Studio";

fn at(world: &World, path: &str) -> String {
    let join = if path.contains('?') { '&' } else { '?' };
    format!("{}/api/{path}{join}api-version=2018-08-31", world.base())
}

async fn post(world: &World, path: &str, body: &Value) -> Response {
    world.http.post(at(world, path)).bearer_auth(&world.token).json(body).send().await.unwrap()
}

async fn one(world: &World, event: &Value) -> (u16, Value) {
    let reply = post(world, "usageEvent", event).await;
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn batch(world: &World, events: &[Value]) -> Vec<Value> {
    let reply = post(world, "batchUsageEvent", &json!({ "request": events })).await;
    assert_eq!(reply.status(), 200);
    let body: Value = reply.json().await.unwrap();
    assert_eq!(body["count"], events.len());
    body["result"].as_array().unwrap().clone()
}

/// The status of one event, sent as a batch.
async fn status(world: &World, event: Value) -> String {
    batch(world, &[event]).await[0]["status"].as_str().unwrap().to_owned()
}

async fn read_back(world: &World, query: &str) -> Vec<Value> {
    let url = at(world, &format!("usageEvents?{query}"));
    let reply = world.http.get(url).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.json().await.unwrap()
}

fn event(id: Uuid, hour: &str, quantity: Value) -> Value {
    json!({
        "resourceId": id, "quantity": quantity, "dimension": "speech_minutes",
        "effectiveStartTime": format!("2026-01-{hour}:00:00Z"), "planId": "metered",
    })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

#[tokio::test]
async fn an_event_is_booked_once_and_then_in_conflict() {
    let world = World::start().await;
    let id = world.bought("metered");
    let (code, first) = one(&world, &event(id, "31T09", json!(5.5))).await;
    assert_eq!((code, &first["status"], &first["quantity"]), (200, &json!("Accepted"), &json!(5.5)));
    assert_eq!(first["effectiveStartTime"], "2026-01-31T09:00:00Z");
    let later = with(event(id, "31T09", json!(9)), "effectiveStartTime", json!("2026-01-31T09:59:59Z"));
    let (code, second) = one(&world, &later).await;
    let accepted = &second["additionalInfo"]["acceptedMessage"];
    assert_eq!((code, &second["code"], &accepted["status"]), (409, &json!("Conflict"), &json!("Duplicate")));
    assert_eq!((&accepted["quantity"], &accepted["usageEventId"]), (&json!(5.5), &first["usageEventId"]));
    assert_eq!(accepted["effectiveStartTime"], "2026-01-31T09:00:00Z");
    let book = world.simulator.usage_book();
    assert_eq!((book.len(), book[0].quantity, book[0].hour.to_string()), (1, 5_500_000, "2026-01-31T09:00:00Z".into()));
    assert_eq!(one(&world, &event(id, "30T09", json!(1))).await.1["details"][0]["target"], "effectiveStartTime");
    let page = world.http.get(format!("{}/usage", world.base())).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("<td>5.5</td>") && page.contains(&format!("/purchases/{id}")), "{page}");
    assert_eq!(world.simulator.request_count("usage"), 3);
}

#[tokio::test]
async fn every_rule_has_its_status() {
    let world = World::start().await;
    let id = world.bought("metered");
    let good = || event(id, "31T09", json!(1));
    let sent = |field, value| status(&world, with(good(), field, value));
    for (field, value) in [
        ("quantity", json!("1")),
        ("dimension", json!("")),
        ("effectiveStartTime", json!("yesterday")),
        ("planId", Value::Null),
        ("resourceId", Value::Null),
        ("resourceUri", json!(APP)),
    ] {
        assert_eq!(sent(field, value).await, "BadArgument", "{field}");
    }
    assert_eq!(status(&world, json!("no event")).await, "BadArgument");
    assert_eq!(sent("resourceId", json!(Uuid::nil())).await, "ResourceNotFound");
    for quantity in [json!(0), json!(-1.5), json!(1e-7)] {
        assert_eq!(sent("quantity", quantity).await, "InvalidQuantity");
    }
    assert_eq!(sent("effectiveStartTime", json!("2026-01-31T10:00:01Z")).await, "Expired");
    assert_eq!(sent("effectiveStartTime", json!("2026-01-30T09:59:59Z")).await, "Expired");
    assert_eq!(sent("effectiveStartTime", json!("2026-01-30T10:00:00")).await, "Accepted");
    assert_eq!(sent("dimension", json!("other")).await, "InvalidDimension");
    assert_eq!(sent("planId", json!("starter")).await, "InvalidDimension");
    assert_eq!(sent("planId", json!("private-plan")).await, "Accepted");
    assert_eq!(sent("quantity", json!(2)).await, "Duplicate");
    world.simulator.act(id, Action::Suspend).unwrap();
    assert_eq!(sent("quantity", json!(2)).await, "Duplicate");
    assert_eq!(sent("dimension", json!("vision_images")).await, "ResourceNotActive");
    world.simulator.advance(SignedDuration::from_hours(24));
    assert_eq!(sent("quantity", json!(2)).await, "Expired", "expiry is looked at before what was booked");
    let options = PurchaseOptions::default();
    let waiting = world.simulator.purchase("o", "p", None, &Person::contoso_buyer(), None, options).subscription_id;
    assert_eq!(status(&world, event(waiting, "31T11", json!(1))).await, "ResourceNotActive");
    world.simulator.act(waiting, Action::Unsubscribe).unwrap();
    assert_eq!(status(&world, event(waiting, "31T11", json!(1))).await, "ResourceNotActive");
}

#[tokio::test]
async fn usage_from_before_the_end_may_still_be_sent() {
    let world = World::start().await;
    let id = world.bought("metered");
    world.simulator.advance(SignedDuration::from_mins(30));
    world.simulator.act(id, Action::Unsubscribe).unwrap();
    world.simulator.advance(SignedDuration::from_hours(1));
    assert_eq!(status(&world, event(id, "31T10", json!(1))).await, "Accepted");
    assert_eq!(status(&world, event(id, "31T11", json!(1))).await, "ResourceNotActive");
    world.simulator.advance(SignedDuration::from_hours(24));
    assert_eq!(status(&world, event(id, "31T09", json!(1))).await, "Expired");
}

#[tokio::test]
async fn a_batch_fails_in_parts_and_answers_backwards() {
    let world = World::start().await;
    let id = world.bought("metered");
    let upper = with(event(id, "31T09", json!(5)), "resourceId", json!(id.to_string().to_uppercase()));
    let events = [upper, event(id, "31T08", json!(2)), event(id, "31T09", json!(9)), event(id, "29T09", json!(1))];
    let results = batch(&world, &events).await;
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["Expired", "Duplicate", "Accepted", "Accepted"]);
    let (expired, duplicate) = (&results[0], &results[1]);
    assert_eq!(expired["effectiveStartTime"], "2026-01-29T09:00:00");
    assert_eq!(expired["messageTime"], "0001-01-01T00:00:00");
    assert_eq!(expired["error"]["code"], "BadArgument");
    assert_eq!(expired["error"]["details"][0]["target"], "effectiveStartTime");
    assert_eq!(duplicate["quantity"], 9);
    assert_eq!(duplicate["error"]["additionalInfo"]["acceptedMessage"]["quantity"], 5);
    assert_eq!(results[3]["resourceId"], id.to_string().to_uppercase());
    assert_eq!(world.simulator.usage_book()[0].resource, id.to_string());

    let many = vec![event(id, "31T07", json!(1)); 26];
    for wrong in [json!({ "request": many }), json!({ "request": [] }), json!([]), json!("x")] {
        let reply = post(&world, "batchUsageEvent", &wrong).await;
        assert_eq!(reply.status(), 400);
        assert_eq!(reply.json::<Value>().await.unwrap()["code"], "BadArgument");
    }
    assert_eq!(world.simulator.request_count("usage.batch"), 5);
}

#[tokio::test]
async fn usage_is_read_back_by_day_with_exact_sums() {
    let world = World::start().await;
    let id = world.bought("metered");
    let events = [
        event(id, "31T08", json!(0.1)),
        event(id, "31T09", json!(0.2)),
        event(id, "30T23", json!(7)),
        with(event(id, "31T09", json!(3)), "dimension", json!("vision_images")),
    ];
    batch(&world, &events).await;
    let day = "usageStartDate=2026-01-31&dimension=speech_minutes";
    let rows = read_back(&world, day).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["submittedQuantity"].to_string(), "0.3");
    let row = |field: &str| rows[0][field].clone();
    assert_eq!([row("usageDate"), row("usageResourceId")], [json!("2026-01-31T00:00:00Z"), json!(id)]);
    assert_eq!([row("planName"), row("offerId"), row("offerType")], ["Metered", "mediagenie", "SaaS"]);
    assert_eq!([row("submittedCount"), row("processedQuantity")], [2, 0]);
    assert_eq!(row("reconStatus"), "Submitted");
    assert_eq!(read_back(&world, "usageStartDate=2026-01-30T15:00&UsageEndDate=2026-01-30").await.len(), 1);
    assert_eq!(read_back(&world, "usageStartDate=2026-01-30").await.len(), 3);
    assert!(read_back(&world, "usageStartDate=2026-01-30&offerId=other").await.is_empty());

    world.simulator.advance(SignedDuration::from_hours(1));
    assert!(read_back(&world, &format!("{day}&reconStatus=Submitted")).await.is_empty());
    assert_eq!(read_back(&world, day).await[0]["processedQuantity"].to_string(), "0.3");
    world.simulator.edit_usage_book(|book| {
        book[0].recon_override = Some(ReconStatus::Mismatch);
        book[0].processed_override = Some(40_000);
        book[1].recon_override = Some(ReconStatus::Rejected);
        book.push(BookedUsage { resource: "planted".into(), ..book[0].clone() });
    });
    let rows = read_back(&world, &format!("{day}&reconStatus=Mismatch")).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["processedQuantity"].to_string(), "0.04");
    assert_eq!(read_back(&world, &format!("{day}&reconStatus=Rejected")).await[0]["processedQuantity"], 0);
    for wrong in ["", "usageStartDate=today", "usageStartDate=2026-01-30&UsageEndDate=x"] {
        let url = at(&world, &format!("usageEvents?{wrong}"));
        assert_eq!(world.http.get(url).bearer_auth(&world.token).send().await.unwrap().status(), 400);
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_the_usage_booked() {
    let world = World::start().await;
    let id = world.bought("metered");
    world.simulator.faults().metering_drop_answer_next(1);
    assert_eq!(one(&world, &event(id, "31T09", json!(4))).await.0, 500);
    let again = one(&world, &event(id, "31T09", json!(4))).await;
    assert_eq!((again.0, &again.1["additionalInfo"]["acceptedMessage"]["quantity"]), (409, &json!(4)));
}

#[tokio::test]
async fn metering_faults_strike() {
    let world = World::start().await;
    let id = world.bought("metered");
    let faults = world.simulator.faults();
    let good = || event(id, "31T09", json!(5));
    faults.metering_item_error_next(1);
    let results = batch(&world, &[good(), event(id, "31T08", json!(1))]).await;
    assert_eq!([&results[1]["status"], &results[0]["status"]], ["Error", "Accepted"]);
    faults.metering_unauthorized_resources(true);
    assert_eq!(status(&world, good()).await, "ResourceNotAuthorized");
    assert_eq!(one(&world, &good()).await.0, 403);
    faults.metering_unauthorized_resources(false);
    for (wanted, code) in [("Expired", 400), ("Duplicate", 409), ("Error", 500), ("Accepted", 200)] {
        faults.metering_status_override(Some(wanted));
        assert_eq!(one(&world, &good()).await.0, code);
        assert_eq!(status(&world, good()).await, wanted);
    }
    faults.metering_status_override(None);
    faults.metering_down(true);
    assert_eq!(one(&world, &good()).await.0, 503);
    let list = format!("{}/api/saas/subscriptions?api-version=2018-08-31", world.base());
    assert_eq!(world.http.get(list).bearer_auth(&world.token).send().await.unwrap().status(), 200);
    faults.metering_down(false);
    faults.metering_down_until(Some(world.simulator.now() + SignedDuration::from_mins(5)));
    assert_eq!(one(&world, &good()).await.0, 503);
    world.simulator.advance(SignedDuration::from_mins(5));
    assert_eq!(world.simulator.usage_book().len(), 1, "nothing but the second of the batch was booked");
    faults.metering_accept_other_quantity_next(1);
    let (code, accepted) = one(&world, &good()).await;
    assert_eq!((code, &accepted["status"], &accepted["quantity"]), (200, &json!("Accepted"), &json!(2.5)));
    assert_eq!(world.simulator.usage_book()[1].quantity, 5 * ONE / 2);
    faults.throttle_next(1, 3);
    assert_eq!(one(&world, &good()).await.0, 429);
}

#[tokio::test]
async fn metering_needs_a_token_and_a_version() {
    let world = World::start().await;
    let url = at(&world, "batchUsageEvent");
    assert_eq!(world.http.post(&url).body("{}").send().await.unwrap().status(), 401);
    assert_eq!(world.http.post(&url).bearer_auth("x").body("{}").send().await.unwrap().status(), 403);
    assert_eq!(world.http.get(&url).bearer_auth(&world.token).send().await.unwrap().status(), 405);
    let bare = url.replace("?api-version=2018-08-31", "");
    assert_eq!(world.http.post(bare).bearer_auth(&world.token).body("{}").send().await.unwrap().status(), 400);
    world.simulator.faults().deny_tokens(true);
    assert_eq!(post(&world, "usageEvent", &json!({})).await.status(), 403);
}

#[tokio::test]
async fn a_managed_app_is_known_by_its_address() {
    let world = World::start().await;
    let good = |dimension: &str| {
        json!({
            "resourceUri": APP, "quantity": 1, "dimension": dimension,
            "effectiveStartTime": "2026-01-31T09:00:00Z", "planId": "managed",
        })
    };
    assert_eq!(status(&world, good("gpu_hours")).await, "ResourceNotFound");
    world.simulator.register_managed_app(APP, "managed");
    let (code, accepted) = one(&world, &good("gpu_hours")).await;
    assert_eq!((code, &accepted["resourceUri"], &accepted["resourceId"]), (200, &json!(APP), &Value::Null));
    assert_eq!(world.simulator.usage_book()[0].resource, APP.to_lowercase());
    assert_eq!(status(&world, good("gpu_hours")).await, "Duplicate");
    assert_eq!(status(&world, with(good("disks"), "planId", json!("metered"))).await, "InvalidDimension");
}
