//! The doors through which the product looks at managed applications: tokens of the managed identity, Azure Resource
//! Manager, Azure Resource Graph.

use jiff::SignedDuration;
use reqwest::Response;
use serde_json::{Value, json};

use super::super::tests::World;
use super::identity::{IDENTITY_CLIENT_ID, IDENTITY_HEADER};
use super::*;

async fn ask(world: &World, header: &str, query: &str) -> Response {
    let url = format!("{}?{query}", world.simulator.config().identity_endpoint);
    world.http.get(url).header("X-IDENTITY-HEADER", header).send().await.unwrap()
}

async fn token(world: &World, resource: &str) -> String {
    let reply = ask(world, IDENTITY_HEADER, &format!("api-version=2019-08-01&resource={resource}")).await;
    assert_eq!(reply.status(), 200);
    reply.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

async fn get(world: &World, token: &str, id: &str) -> (u16, Value) {
    let url = format!("{}{id}?api-version=2021-07-01", world.simulator.config().arm_url);
    let reply = world.http.get(url).bearer_auth(token).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn graph(world: &World, token: &str, body: &Value) -> (u16, Value) {
    let arm = world.simulator.config().arm_url;
    let url = format!("{arm}/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01");
    let reply = world.http.post(url).bearer_auth(token).json(body).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

fn code(reply: &(u16, Value)) -> (u16, &str) {
    (reply.0, reply.1["error"]["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn the_identity_gives_tokens_to_those_on_the_host_only() {
    let world = World::start().await;
    let query = "api-version=2019-08-01&resource=https://management.azure.com/";
    assert_eq!(ask(&world, "wrong", query).await.status(), 401);
    assert_eq!(ask(&world, IDENTITY_HEADER, "resource=x").await.status(), 400);
    assert_eq!(ask(&world, IDENTITY_HEADER, "api-version=2019-08-01").await.status(), 400);
    assert_eq!(ask(&world, IDENTITY_HEADER, &format!("{query}&client_id=another")).await.status(), 400);
    let named = ask(&world, IDENTITY_HEADER, &format!("{query}&client_id={IDENTITY_CLIENT_ID}")).await;
    let body: Value = named.json().await.unwrap();
    assert_eq!(body["resource"], "https://management.azure.com/");
    let until: i64 = body["expires_on"].as_str().unwrap().parse().unwrap();
    assert_eq!(until - world.simulator.now().as_second(), 86_400);
    world.simulator.faults().identity_down(true);
    assert_eq!(ask(&world, IDENTITY_HEADER, query).await.status(), 503);
    assert_eq!(world.simulator.request_count("identity.token"), 6);
}

#[tokio::test]
async fn resource_manager_takes_good_tokens_for_itself_only() {
    let world = World::start().await;
    let app = world.simulator.managed_apps().deploy(Deployment::named("studio")).unwrap();
    let arm = token(&world, "https://management.azure.com").await;
    assert_eq!(get(&world, &arm, &app.application_id).await.0, 200);
    let other = token(&world, "https://storage.azure.com/").await;
    assert_eq!(code(&get(&world, &other, &app.application_id).await), (401, "InvalidAuthenticationTokenAudience"));
    assert_eq!(code(&get(&world, &world.token, &app.application_id).await), (401, "InvalidAuthenticationToken"));
    let url = format!("{}{}?api-version=2021-07-01", world.simulator.config().arm_url, app.application_id);
    let nobody = world.http.get(&url).send().await.unwrap();
    assert!(nobody.status() == 401 && nobody.headers().contains_key("www-authenticate"));
    world.clock.advance(SignedDuration::from_hours(24));
    assert_eq!(code(&get(&world, &arm, &app.application_id).await), (401, "ExpiredAuthenticationToken"));
}

#[tokio::test]
async fn an_application_is_shown_until_it_is_deleted() {
    let world = World::start().await;
    let (apps, arm) = (world.simulator.managed_apps(), token(&world, "https://management.azure.com/").await);
    let app = apps.deploy(Deployment::named("Studio")).unwrap();
    let (_, accepted) = get(&world, &arm, &app.application_id.to_uppercase()).await;
    assert_eq!(accepted["properties"]["provisioningState"], "Accepted");
    apps.settle();
    let (_, shown) = get(&world, &arm, &app.application_id.to_lowercase()).await;
    assert_eq!((&shown["id"], &shown["kind"]), (&json!(app.application_id), &json!("MarketPlace")));
    assert_eq!(shown["plan"]["name"], "metered");
    assert_eq!(shown["properties"]["billingDetails"]["resourceUsageId"], json!(app.resource_usage_id));
    assert_eq!(shown["properties"]["provisioningState"], "Succeeded");
    apps.delete(&app.application_id, Ending::Succeeds).unwrap();
    assert_eq!(get(&world, &arm, &app.application_id).await.1["properties"]["provisioningState"], "Deleting");
    apps.settle();
    assert_eq!(code(&get(&world, &arm, &app.application_id).await), (404, "ResourceNotFound"));
    apps.delete_resource_group(&app.application_id).unwrap();
    assert_eq!(code(&get(&world, &arm, &app.application_id).await), (404, "ResourceGroupNotFound"));
    let own = apps.deploy(Deployment { kind: AppKind::ServiceCatalog, ..Deployment::named("own") }).unwrap();
    let (_, own) = get(&world, &arm, &own.application_id).await;
    assert!(own.get("plan").is_none() && own["properties"].get("billingDetails").is_none());
    assert!(own["properties"]["applicationDefinitionId"].is_string());
    let stranger = app.application_id.replace("contoso-rg", "elsewhere");
    assert_eq!(code(&get(&world, &arm, &stranger).await), (404, "ResourceGroupNotFound"));
}

#[tokio::test]
async fn without_publisher_access_nothing_is_shown_or_listed() {
    let world = World::start().await;
    let (apps, arm) = (world.simulator.managed_apps(), token(&world, "https://management.azure.com/").await);
    let app = apps.deploy(Deployment { publisher_access: false, ..Deployment::named("closed") }).unwrap();
    let query = json!({ "query": "Resources | where type =~ 'Microsoft.Solutions/applications'" });
    assert_eq!(code(&get(&world, &arm, &app.application_id).await), (403, "AuthorizationFailed"));
    assert_eq!(graph(&world, &arm, &query).await.1["totalRecords"], 0);
    apps.set_publisher_access(&app.application_id, true).unwrap();
    assert_eq!(get(&world, &arm, &app.application_id).await.0, 200);
    assert_eq!(graph(&world, &arm, &query).await.1["data"][0]["id"], json!(app.application_id));
}

#[tokio::test]
async fn resource_manager_fails_and_throttles_on_demand_and_wants_a_known_version() {
    let world = World::start().await;
    let (apps, arm) = (world.simulator.managed_apps(), token(&world, "https://management.azure.com/").await);
    let app = apps.deploy(Deployment::default()).unwrap();
    world.simulator.faults().arm_throttle_next(1, 17);
    let base = format!("{}{}", world.simulator.config().arm_url, app.application_id);
    let url = format!("{base}?api-version=2019-07-01");
    let slow = world.http.get(&url).bearer_auth(&arm).send().await.unwrap();
    assert_eq!((slow.status().as_u16(), slow.headers()["retry-after"].to_str().unwrap()), (429, "17"));
    world.simulator.faults().arm_fail_next(1, 500);
    assert_eq!(get(&world, &arm, &app.application_id).await.0, 500);
    assert_eq!(world.http.get(&url).bearer_auth(&arm).send().await.unwrap().status(), 200);
    for bad in [base.clone(), format!("{base}?api-version=2001-01-01")] {
        assert_eq!(world.http.get(bad).bearer_auth(&arm).send().await.unwrap().status(), 400);
    }
    assert_eq!(world.http.delete(&url).bearer_auth(&arm).send().await.unwrap().status(), 405);
    world.simulator.faults().arm_down(true);
    assert_eq!(get(&world, &arm, &app.application_id).await.0, 503);
    assert_eq!(world.simulator.request_count("arm.application"), 6);
}

#[tokio::test]
async fn the_graph_lists_all_applications_page_by_page() {
    let world = World::start().await;
    let (apps, arm) = (world.simulator.managed_apps(), token(&world, "https://management.azure.com/").await);
    for number in 0..5 {
        apps.deploy(Deployment::named(&format!("app-{number}"))).unwrap();
    }
    let gone = apps.deploy(Deployment::named("gone")).unwrap();
    apps.delete(&gone.application_id, Ending::Succeeds).unwrap();
    apps.settle();
    let text = "resources | where type =~ 'microsoft.solutions/applications' | project id";
    let mut options = json!({ "$top": 2, "resultFormat": "objectArray" });
    let (mut names, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let (status, page) = graph(&world, &arm, &json!({ "query": text, "options": options })).await;
        assert_eq!((status, &page["totalRecords"]), (200, &json!(5)));
        let rows = page["data"].as_array().unwrap();
        sizes.push(rows.len());
        names.extend(rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()));
        let Some(skip) = page.get("$skipToken") else {
            assert_eq!(page["resultTruncated"], "false");
            break;
        };
        assert_eq!(page["resultTruncated"], "true");
        options["$skipToken"] = skip.clone();
    }
    assert_eq!((sizes, names), (vec![2, 2, 1], (0..5).map(|number| format!("app-{number}")).collect()));
    for bad in [
        json!({ "query": "resources" }),
        json!({}),
        json!({ "query": text, "options": { "$top": 1001 } }),
        json!({ "query": text, "options": { "$top": 0 } }),
        json!({ "query": text, "options": { "$skipToken": "nonsense" } }),
        json!({ "query": text, "options": { "resultFormat": "table" } }),
    ] {
        assert_eq!(graph(&world, &arm, &bad).await.0, 400, "{bad}");
    }
    let elsewhere = json!({ "query": text, "subscriptions": [Uuid::nil()] });
    assert_eq!(graph(&world, &arm, &elsewhere).await.1["count"], 0);
    assert_eq!(graph(&world, "none", &elsewhere).await.0, 401);
}
