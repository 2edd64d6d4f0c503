//! Every route walked by everybody: anonymous, a stranger of another tenant, staff with too small a role, with and
//! without a form of ours. What the function table says is what happens.

use mediagenie::analytics::finance;
use mediagenie::callbacks::{self, Owner, Wanted};
use mediagenie::functions::{Handler, TABLE};
use mediagenie::host::bindings::Trigger;
use mediagenie::identity::Role;
use mediagenie::leads;
use mediagenie::managed_apps;
use mediagenie::simulator::managed_apps::Deployment;
use mediagenie::simulator::{Lead, Person};
use reqwest::Method;

use crate::support::app::TestApp;
use crate::support::browser::Browser;

/// A path for a route, with real ids of somebody else's in it.
fn path(route: &str, id: &str, endpoint: &str, application: &str, lead: &str) -> String {
    route
        .replace("{id}", id)
        .replace("{name}", "app.css")
        .replace("{*name}", "app.css")
        .replace("{dataset}", "ISVUsage")
        .replace("{subject}", "usage")
        .replace("{question}", "abc")
        .replace("{execution}", "abc")
        .replace("{*path}", "resource")
        .replace("{resource}", id)
        .replace("{model}", "chat")
        .replace("{prefix}", "abc")
        .replace("{budget}", "all")
        .replace("{request}", "req_1")
        .replace("{file}", "file_1")
        .replace("{customer}", "5d1e0000-0000-4000-8000-00000000a002")
        .replace("{application}", application)
        .replace("{job}", "job_1")
        .replace("{endpoint}", endpoint)
        .replace("{action}", "delete")
        .replace("{number}", "0")
        .replace("{token}", "abc")
        .replace("{key}", "abc")
        .replace("{month}", "2026-02")
        .replace("{close}", "1")
        .replace("{lead}", lead)
        .replace("{dataset}", "usage")
        .replace("{report}", "00000000-0000-4000-8000-000000000001")
        .replace("{run}", "run_1")
}

async fn call(browser: &Browser, method: &Method, path: &str) -> u16 {
    match *method {
        Method::GET => browser.get(path).await.status,
        // Browsers send none; programs do, and have no cookies.
        Method::DELETE => {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            http.delete(browser.base.join(path).unwrap()).send().await.unwrap().status().as_u16()
        }
        _ => browser.post(path, &[]).await.status,
    }
}

#[tokio::test]
async fn every_route_keeps_out_who_does_not_belong() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("team", Some(5)).await;
    app.simulator.managed_apps().deploy(Deployment::named("shop")).unwrap();
    app.settle().await;
    let application = managed_apps::fleet(&app.host.app).await.unwrap().remove(0).0.key;
    let address = leads::create_address(&app.host.app, "mediagenie", "").await.unwrap();
    app.simulator.send_lead(&leads::url(&app.host.app, &address.keys[0].key), &Lead::default()).await;
    app.settle().await;
    let inbox = leads::leads(&app.host.app, &leads::Filter::default(), None, 1).await.unwrap();
    let lead = inbox.rows[0].id.to_string();
    let wanted = Wanted { url: "https://example.com/".into(), ..Wanted::default() };
    let (_, endpoint) = callbacks::create(&app.host.app, &Owner::Publisher, &wanted).await.unwrap();
    // A package that a reader may have.
    let by = finance::Who::default();
    let order = finance::CloseOrder { month: "2026-02".parse().unwrap(), accept_open: None, by };
    finance::close(&app.host.app, &order).await.unwrap();
    let anonymous = app.anonymous();
    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    let reader = app.signed_in(&Person::staff_reader()).await;
    let mut walked = 0;
    for function in app.host.functions.all() {
        let Trigger::Http { route, methods } = &function.trigger else { continue };
        let (path, name) =
            (path(route, &id.to_string(), endpoint.id.as_str(), application.as_str(), &lead), &function.name);
        for method in methods.iter().filter(|method| *method != Method::HEAD) {
            walked += 1;
            let signed_out = call(&anonymous, method, &path).await;
            let foreign = call(&stranger, method, &path).await;
            let low = call(&reader, method, &path).await;
            match function.handler {
                Handler::Open(_) => assert!(signed_out < 500, "{name}: {signed_out}"),
                // A browser without a session is led to sign-in; with nobody to choose there, that page is the end.
                Handler::Customer(_) => {
                    assert_eq!(anonymous.get(&path).await.url.path(), "/common/oauth2/v2.0/authorize", "{name}");
                    let own_page = route == "/portal";
                    assert_eq!(
                        foreign,
                        if own_page { 200 } else { 404 },
                        "{name}: a foreign tenant's object does not exist"
                    );
                }
                Handler::CustomerForm(_) => {
                    assert_eq!(foreign, 403, "{name}: a form that is not ours");
                    let page = stranger.get("/portal").await;
                    let csrf = page.fields("/sign-out")["csrf"].clone();
                    if name != "SignOut" {
                        let sent = stranger
                            .post(
                                &path,
                                &[
                                    ("csrf", &csrf),
                                    ("subscription", &id.to_string()),
                                    ("plan", "starter"),
                                    ("quantity", "3"),
                                    ("confirm", "x"),
                                ],
                            )
                            .await;
                        assert_eq!(sent.status, 404, "{name}: with a right form, a foreign object does not exist");
                    }
                }
                Handler::CustomerCall(_) => {
                    assert_eq!(foreign, 403, "{name}: a call that is not from a page of ours");
                    let csrf = stranger.get("/portal").await.fields("/sign-out")["csrf"].clone();
                    let sent = stranger.post_with(&path, &[], &[("x-csrf-token", &csrf)]).await;
                    assert_eq!(sent.status, 404, "{name}: a foreign object does not exist");
                    let elsewhere = [("x-csrf-token", csrf.as_str()), ("origin", "https://evil.example")];
                    assert_eq!(stranger.post_with(&path, &[], &elsewhere).await.status, 403, "{name}");
                    assert_eq!(stranger.post(&path, &[("csrf", &csrf)]).await.status, 403, "{name}: a form is no call");
                }
                Handler::CustomerUpload(_) => {
                    assert_eq!(foreign, 403, "{name}: a form that is not ours");
                    let csrf = stranger.get("/portal").await.fields("/sign-out")["csrf"].clone();
                    assert_eq!(
                        stranger.post(&path, &[("csrf", &csrf)]).await.status,
                        403,
                        "{name}: a form without files"
                    );
                    let cookie = format!("mediagenie-session={}", stranger.cookie("mediagenie-session").unwrap());
                    let sent = |csrf: &str| {
                        let form = reqwest::multipart::Form::new().text("csrf", csrf.to_owned());
                        let http = reqwest::Client::builder().no_proxy().build().unwrap();
                        http.post(app.url(&path)).header("cookie", &cookie).multipart(form).send()
                    };
                    assert_eq!(sent("abc").await.unwrap().status(), 403, "{name}: a wrong token");
                    assert_eq!(sent(&csrf).await.unwrap().status(), 404, "{name}: a foreign object does not exist");
                }
                Handler::Staff(least, _) => {
                    assert_eq!(foreign, 404, "{name}: customers do not learn that it exists");
                    assert_eq!(low, if least <= Role::Reader { 200 } else { 403 }, "{name}");
                }
                Handler::StaffForm(least, _) => {
                    assert_eq!(foreign, 404, "{name}");
                    assert!(least > Role::Reader, "{name}: readers change nothing");
                    assert_eq!(low, 403, "{name}: the role is too small");
                }
                Handler::ManagedApp(_)
                | Handler::Marketplace(_)
                | Handler::Publisher(_)
                | Handler::Key(_)
                | Handler::KeyUpload(_) => {
                    assert_eq!((signed_out, foreign, low), (401, 401, 401), "{name}")
                }
                Handler::Lead(_) => {
                    assert_eq!((signed_out, foreign, low), (404, 404, 404), "{name}: a wrong key learns nothing")
                }
                Handler::Queue(_) | Handler::Timer(_) => unreachable!("{name} has a route"),
            }
        }
    }
    assert!(walked >= 20);
    assert_eq!(app.facts(id).await.quantity, Some(5), "nobody changed anything");
    assert_eq!(callbacks::endpoints(&app.host.app, &Owner::Publisher).await.unwrap().len(), 1);
    for (name, handler) in TABLE {
        if matches!(handler, Handler::Queue(_) | Handler::Timer(_)) {
            assert_eq!(
                anonymous.post(&format!("/{name}"), &[]).await.status,
                404,
                "{name} can not be called from outside"
            );
        }
    }
}

#[tokio::test]
async fn a_form_from_elsewhere_changes_nothing() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let address = format!("/portal/subscriptions/{id}/quantity");
    let csrf = browser.get(&format!("/portal/subscriptions/{id}")).await.fields(&address)["csrf"].clone();
    for (what, token, origin) in [
        ("no token", "", app.address.as_str()),
        ("a wrong token", "abc", app.address.as_str()),
        ("a foreign origin", csrf.as_str(), "https://evil.example"),
        ("an opaque origin", csrf.as_str(), "null"),
    ] {
        let sent = browser.post_with(&address, &[("csrf", token), ("quantity", "9")], &[("origin", origin)]).await;
        assert_eq!(sent.status, 403, "{what}");
    }
    app.settle().await;
    assert_eq!(app.facts(id).await.quantity, Some(5));
}

#[tokio::test]
async fn staff_roles_of_a_foreign_tenant_count_for_nothing() {
    let app = TestApp::start().await;
    let mut impostor = Person::fabrikam_buyer();
    impostor.roles = vec!["Publisher.Admin".into()];
    // The directory knows its people by e-mail; the claim is what a foreign tenant's administrator could set.
    let browser = app.signed_in(&impostor).await;
    assert_eq!(browser.get("/publisher/subscriptions").await.status, 404);
}

#[tokio::test]
async fn a_sign_in_answer_works_once_and_only_in_the_browser_that_asked() {
    let app = TestApp::start().await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let start = http.get(app.url("/sign-in?return=/portal")).send().await.unwrap();
    let cookie = start.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let mut entra = url::Url::parse(start.headers()["location"].to_str().unwrap()).unwrap();
    let kept: Vec<(String, String)> =
        entra.query_pairs().filter(|(name, _)| name != "prompt").map(|(a, b)| (a.into(), b.into())).collect();
    assert!(kept.iter().any(|(name, value)| name == "code_challenge_method" && value == "S256"));
    entra
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept)
        .append_pair("prompt", "none")
        .append_pair("login_hint", &Person::contoso_buyer().email);
    let back = http.get(entra).send().await.unwrap();
    let callback = back.headers()["location"].to_str().unwrap().to_owned();
    let arrive = |cookie: Option<String>| {
        let request = http.get(&callback);
        let request = match cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        };
        async { request.send().await.unwrap() }
    };
    assert_eq!(arrive(None).await.status(), 400, "another browser");
    assert_eq!(arrive(Some("mediagenie-sign-in=wrong".into())).await.status(), 400, "a wrong cookie");
    let first = arrive(Some(cookie.clone())).await;
    assert_eq!(first.status(), 303);
    let session = first.headers()["set-cookie"].to_str().unwrap();
    assert!(session.contains("HttpOnly") && session.contains("SameSite=Lax"), "{session}");
    assert_eq!(arrive(Some(cookie)).await.status(), 400, "a second time");
}

#[tokio::test]
async fn sessions_end_when_signed_out_and_when_their_time_is_over() {
    let app = TestApp::start().await;
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    let session = browser.cookie("mediagenie-session").unwrap();
    let page = browser.get("/portal").await;
    browser.submit(&page, "/sign-out", &[]).await;
    let thief = app.anonymous();
    thief.set_cookie("mediagenie-session", &session);
    assert_ne!(thief.get("/portal").await.url.path(), "/portal", "a session that was ended is dead everywhere");
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    app.clock.advance(jiff::SignedDuration::from_hours(11));
    assert_eq!(Browser::new(&app.address).get("/portal").await.url.path(), "/common/oauth2/v2.0/authorize");
    let old = browser.cookie("mediagenie-session").unwrap();
    let again = app.anonymous();
    again.set_cookie("mediagenie-session", &old);
    assert_ne!(again.get("/portal").await.url.path(), "/portal");
    app.run_timer("PurgeExpired").await;
}

#[tokio::test]
async fn a_form_sent_after_the_session_ended_leads_back_to_its_page() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("team", Some(5)).await;
    let page = format!("/portal/subscriptions/{id}");
    app.clock.advance(jiff::SignedDuration::from_hours(11));
    let referer = app.url(&page);
    let sent = browser.post_with(&format!("{page}/quantity"), &[("quantity", "6")], &[("referer", &referer)]).await;
    assert_eq!((sent.status, sent.url.path()), (200, page.as_str()), "signed in again, on the page of the form");
    let foreign = browser.post_with(&format!("{page}/quantity"), &[], &[("referer", "https://evil.example/x")]).await;
    assert_eq!(foreign.status, 403);
}
