//! Leads as they arrive at an address.

use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter as _;

use super::super::tests::World;
use super::*;

/// An address that answers with what it was sent, and status 202.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/leads/secret", listener.local_addr().unwrap());
    let serve = warp::post()
        .and(warp::body::bytes())
        .map(|body: bytes::Bytes| warp::reply::with_status(body.to_vec(), http::StatusCode::ACCEPTED));
    tokio::spawn(warp::serve(serve).incoming(listener).run());
    address
}

async fn sent(world: &World, address: &str, lead: &Lead) -> Value {
    let answer = world.simulator.send_lead(address, lead).await;
    assert_eq!((answer.status, &answer.error), (Some(202), &None));
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_lead_has_microsofts_shape_and_any_flaw_that_is_asked_for() {
    let (world, address) = (World::start().await, echo().await);
    let usual = sent(&world, &address, &Lead::default()).await;
    assert_eq!(usual["UserDetails"]["Email"], "clara@contoso.example");
    assert_eq!((&usual["ActionCode"], &usual["LeadSource"]), (&json!("INS"), &json!("AzureMarketplace")));
    let odd = Lead::default().action("DNC").small_user_details(true).without("Phone").with("OfferTitle", "Other");
    let odd = sent(&world, &address, &odd).await;
    assert_eq!((&odd["ActionCode"], &odd["OfferTitle"]), (&json!("DNC"), &json!("Other")));
    assert!(odd.get("UserDetails").is_none() && odd["userDetails"].get("Phone").is_none());
    let nobody = sent(&world, &address, &Lead::default().without("UserDetails")).await;
    assert!(nobody.get("UserDetails").is_none());
    let raw = world.simulator.send_lead(&address, &Lead::raw("{ not json")).await;
    assert_eq!(raw.body, "{ not json");
    let nowhere = world.simulator.send_lead("http://127.0.0.1:1/leads", &Lead::default()).await;
    assert!(nowhere.status.is_none() && nowhere.error.is_some());
    assert_eq!(world.simulator.sent_leads().len(), 5);
}

#[tokio::test]
async fn the_test_lead_is_marked_in_every_field_of_the_person() {
    let (world, address) = (World::start().await, echo().await);
    let lead = sent(&world, &address, &Lead::test(world.simulator.now())).await;
    let person = &lead["userDetails"];
    let mark = person["FirstName"].as_str().unwrap();
    // 2026-01-31T10:00:00Z in ticks since the year 1.
    assert_eq!(mark, "MSFT_TEST_639054504000000000");
    for field in ["LastName", "Company", "Title"] {
        assert_eq!(person[field], mark, "{field}");
    }
    assert_eq!(person["Email"], format!("{mark}@test.com"));
    assert_eq!((&person["Phone"], &person["Country"]), (&json!("1234567890"), &json!("US")));
    assert_eq!(lead["Description"], mark);
}

#[tokio::test]
async fn the_control_api_and_the_page_send_leads_to_near_addresses_only() {
    let (world, address) = (World::start().await, echo().await);
    let base = world.simulator.config().entra_authority;
    let post = |order: Value| world.http.post(format!("{base}/simulator/lead")).json(&order).send();
    let order = json!({ "address": address, "lead": { "OfferTitle": "X" } });
    let answer: Value = post(order).await.unwrap().json().await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(202), &json!(r#"{"OfferTitle":"X"}"#)));
    let usual: Value = post(json!({ "address": address })).await.unwrap().json().await.unwrap();
    assert!(usual["body"].as_str().unwrap().contains("Clara"));
    let test: Value = post(json!({ "address": address, "test": true })).await.unwrap().json().await.unwrap();
    assert!(test["body"].as_str().unwrap().contains("MSFT_TEST_"));
    assert_eq!(post(json!({ "address": "https://example.com/" })).await.unwrap().status(), 400);

    let form = [("address", address.as_str()), ("person", "fiona@fabrikam.example"), ("offer", "O"), ("action", "PLT")];
    let reply = world.http.post(format!("{base}/leads/send")).form(&form).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.headers()["location"].to_str().unwrap()), (303, "/leads"));
    let page = world.http.get(format!("{base}/leads")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("fiona@fabrikam.example") && page.contains(">202</span>"), "{page}");
    assert!(page.contains(r#"name="address" value="http:"#) && page.contains("Simulated Microsoft"), "{page}");
}
