//! Everything of one company on one page and in one answer.

use mediagenie::leads;
use mediagenie::simulator::managed_apps::Deployment;
use mediagenie::simulator::{Lead, Person};

use crate::support::app::TestApp;

const HERE: &str = "/publisher/customers";

async fn lead_address(app: &TestApp) -> String {
    let address = leads::create_address(&app.host.app, "mediagenie", "MediaGenie").await.unwrap();
    leads::url(&app.host.app, &address.keys[0].key)
}

#[tokio::test]
async fn a_company_is_seen_with_its_leads_subscriptions_applications_and_usage_in_time_order() {
    let app = TestApp::start().await;
    let tenant = Person::contoso_buyer().tenant_id.to_string();
    let at = format!("{HERE}/{tenant}");
    let staff = app.signed_in(&Person::staff_admin()).await;
    assert!(staff.get(HERE).await.says("No company yet"));
    assert_eq!(staff.get(&at).await.status, 404);
    // Interested first, then a customer.
    let address = lead_address(&app).await;
    app.simulator.send_lead(&address, &Lead::of(&Person::contoso_colleague())).await;
    app.settle().await;
    let page = staff.get(HERE).await;
    assert!(
        page.says("contoso.example") && page.body.contains("/publisher/customers/contoso.example"),
        "{}",
        page.body
    );
    assert!(staff.get(&format!("{HERE}/contoso.example")).await.says("No customer yet"));
    app.clock.advance(jiff::SignedDuration::from_hours(1));
    let (id, _) = app.buy("metered", None).await;
    app.use_up(id, "a", "speech_minutes", "1020").await;
    app.simulator.managed_apps().deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    let application = mediagenie::managed_apps::fleet(&app.host.app).await.unwrap().remove(0).0;
    let its = format!("/publisher/managed-apps/{}", application.key);
    let page = staff.get(&its).await;
    let bad = staff.submit(&page, &format!("{its}/customer"), &[("tenant", "contoso")]).await;
    assert!(bad.status == 400 && bad.says("This is no tenant id"), "{}", bad.body);
    let saved = staff.submit(&page, &format!("{its}/customer"), &[("tenant", &tenant)]).await;
    assert!(saved.says("Saved"), "{}", saved.body);
    let page = staff.get(&at).await;
    for text in ["Carl Contoso", "shop", "1,020", "PUT Succeeded", "A lead arrived"] {
        assert!(page.says(text), "{text}: {}", page.body);
    }
    let (status, answer) = app.get_api(&format!("/api/customers/{tenant}")).await;
    assert_eq!(status, 200, "{answer}");
    let dimensions = answer["subscriptions"][0]["usage"]["periods"][0]["dimensions"].as_array().unwrap();
    let speech = dimensions.iter().find(|one| one["dimension"] == "speech_minutes").unwrap();
    assert_eq!(speech["balance"]["recorded"], "1020");
    let times: Vec<&str> =
        answer["timeline"].as_array().unwrap().iter().map(|one| one["at"].as_str().unwrap()).collect();
    assert!(times.len() > 4 && times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let whats: std::collections::BTreeSet<&str> =
        answer["timeline"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(whats.into_iter().collect::<Vec<_>>(), ["lead", "managed_app", "subscription"]);
    let (_, list) = app.get_api("/api/customers?q=contoso").await;
    let found = &list["customers"][0];
    assert_eq!(
        (found["key"].as_str(), found["leads"].as_u64(), found["managed_apps"].as_u64()),
        (Some(&*tenant), Some(1), Some(1))
    );
    assert_eq!(app.get_api("/api/customers?q=fabrikam").await.1["customers"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn whose_a_lead_is_can_be_corrected_and_no_rule_takes_it_back() {
    let app = TestApp::start().await;
    let tenant = Person::contoso_buyer().tenant_id;
    app.buy("metered", None).await;
    let address = lead_address(&app).await;
    app.simulator.send_lead(&address, &Lead::of(&Person::contoso_colleague())).await;
    app.simulator.send_lead(&address, &Lead::of(&Person::fabrikam_buyer())).await;
    app.settle().await;
    let count = async || {
        let (_, answer) = app.get_api(&format!("/api/customers/{tenant}")).await;
        answer["leads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["email"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(count().await, ["carl@contoso.example"]);
    let rows = leads::leads(&app.host.app, &leads::Filter::default(), None, 10).await.unwrap().rows;
    let of = |domain: &str| rows.iter().find(|row| row.email.ends_with(domain)).unwrap().id.clone();
    let actor = leads::Actor { id: "staff".into(), name: "Sam".into() };
    let tenant_id = tenant.to_string().parse().unwrap();
    leads::set_company(&app.host.app, &of("@contoso.example"), None, &actor).await.unwrap();
    leads::set_company(&app.host.app, &of("@fabrikam.example"), Some(tenant_id), &actor).await.unwrap();
    app.simulator.send_lead(&address, &Lead::of(&Person::contoso_colleague()).with("Title", "CEO")).await;
    app.settle().await;
    assert_eq!(count().await, [Person::fabrikam_buyer().email]);
}
