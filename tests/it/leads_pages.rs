//! Leads for staff, from outside: the inbox, one lead with every action, addresses.

use jiff::SignedDuration;
use mediagenie::leads::{self, Filter, Kind};
use mediagenie::simulator::{Lead, Person};

use crate::support::app::TestApp;
use crate::support::browser::{Browser, Page};

const INBOX: &str = "/publisher/leads";
const ADDRESSES: &str = "/publisher/leads-addresses";

async fn address(app: &TestApp, offer: &str) -> String {
    let made = leads::create_address(&app.host.app, offer, "").await.unwrap();
    leads::url(&app.host.app, &made.keys[0].key)
}

async fn send(app: &TestApp, address: &str, lead: &Lead) {
    assert_eq!(app.simulator.send_lead(address, lead).await.status, Some(200));
    app.settle().await;
    // No two have the same time.
    app.clock.advance(SignedDuration::from_secs(60));
}

fn of(first: &str, last: &str, email: &str, company: &str) -> Lead {
    Lead::default().with("FirstName", first).with("LastName", last).with("Email", email).with("Company", company)
}

/// The ids of all leads, newest first.
async fn ids(app: &TestApp) -> Vec<String> {
    let page = leads::leads(&app.host.app, &Filter::default(), None, 100).await.unwrap();
    page.rows.iter().map(|line| line.id.to_string()).collect()
}

async fn detail(app: &TestApp, id: &str) -> leads::Detail {
    leads::lead(&app.host.app, &id.parse().unwrap()).await.unwrap()
}

async fn staff(app: &TestApp) -> Browser {
    app.signed_in(&Person::staff_admin()).await
}

/// Sends a form of a lead's page.
async fn act(browser: &Browser, id: &str, action: &str, filled: &[(&str, &str)]) -> Page {
    let page = browser.get(&format!("{INBOX}/{id}")).await;
    browser.submit(&page, &format!("{INBOX}/{id}/{action}"), filled).await
}

fn assert_says(page: &Page, texts: &[&str]) {
    for text in texts {
        assert!(page.says(text), "without {text}:\n{}", page.body);
    }
}

#[tokio::test]
async fn an_empty_inbox_says_what_to_do_next() {
    let app = TestApp::start().await;
    let staff = staff(&app).await;
    let page = staff.get(INBOX).await;
    assert_says(&page, &["No lead yet", "Make one for an offer", ADDRESSES, "aria-current=\"page\">Leads"]);
    assert!(!page.says("role=\"search\"") && !page.says(".csv"), "{}", page.body);
    assert_says(&staff.get(&format!("{INBOX}?q=nobody")).await, &["Nothing matches", "Clear filter"]);
    address(&app, "mediagenie").await;
    assert_says(&staff.get(INBOX).await, &["Enter the address of an offer in Partner Center"]);
    let chinese = Browser::new(&app.address).of(&Person::staff_admin()).speaking("zh-CN");
    assert_says(&chinese.get(INBOX).await, &["还没有潜在客户"]);
}

#[tokio::test]
async fn the_inbox_is_searched_and_filtered_by_everything_that_it_shows() {
    let app = TestApp::start().await;
    let (media, other) = (address(&app, "media").await, address(&app, "other-offer").await);
    send(&app, &media, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    send(&app, &other, &of("王", "芳", "fang@fabrikam.example", "示例科技").action("PLT")).await;
    send(&app, &media, &of("Bo", "Brown", "bo@adatum.example", "Adatum").action("DNC")).await;
    send(&app, &media, &Lead::test(app.now())).await;
    send(&app, &media, &Lead::raw("what is this")).await;
    app.clock.advance(SignedDuration::from_hours(24 * 40));
    send(&app, &media, &of("Old", "Friend", "friend@contoso.example", "Contoso").action("third-party")).await;
    let staff = staff(&app).await;
    let all = staff.get(INBOX).await;
    assert_says(
        &all,
        &[
            "Ada Lovelace",
            "王 芳",
            "ada@contoso.example",
            "Got the offer or began a free trial",
            "Asked to be contacted",
            "<code>third-party</code>",
            "AzureMarketplace",
            "Could not be read",
            "Do not contact",
            "other-offer",
            "2026-04",
        ],
    );
    let order: Vec<usize> = ["Old Friend", "Could not be read", "Bo Brown", "Ada Lovelace"]
        .iter()
        .map(|text| all.body.find(text).unwrap())
        .collect();
    assert!(order.is_sorted(), "newest first: {order:?}");
    for (query, there, gone) in [
        ("q=CONTOSO", vec!["Ada Lovelace", "Old Friend"], vec!["Bo Brown", "王 芳"]),
        ("q=%E7%A4%BA%E4%BE%8B", vec!["王 芳"], vec!["Ada Lovelace"]),
        ("offer=other-offer", vec!["王 芳"], vec!["Ada Lovelace"]),
        ("month=2026-04", vec!["Old Friend"], vec!["Ada Lovelace"]),
        ("kind=do_not_contact", vec!["Bo Brown"], vec!["Ada Lovelace"]),
        ("kind=test", vec!["MSFT_TEST_"], vec!["Ada Lovelace"]),
        ("kind=quarantined", vec!["Could not be read"], vec!["Ada Lovelace"]),
        ("status=new&kind=real", vec!["Ada Lovelace"], vec!["Bo Brown", "Could not be read"]),
        ("status=converted", vec!["Nothing matches"], vec!["Ada Lovelace"]),
        ("status=nonsense&kind=nonsense", vec!["Ada Lovelace"], vec![]),
    ] {
        let page = staff.get(&format!("{INBOX}?{query}")).await;
        let rows = page.body.split("<tbody>").nth(1).unwrap_or(&page.body);
        assert!(there.iter().all(|text| rows.contains(text)), "{query}:\n{rows}");
        assert!(gone.iter().all(|text| !rows.contains(text)), "{query}:\n{rows}");
    }
    let ada = ids(&app).await.pop().unwrap();
    act(&staff, &ada, "mine", &[]).await;
    let mine = staff.get(&format!("{INBOX}?owner=me")).await;
    assert!(mine.says("Ada Lovelace") && !mine.says("Old Friend"), "{}", mine.body);
    assert!(staff.get(&format!("{INBOX}?owner=Ada+Admin")).await.says("Ada Lovelace"));
}

#[tokio::test]
async fn the_inbox_has_pages_and_keeps_the_filter_on_them() {
    let app = TestApp::start().await;
    let address = address(&app, "media").await;
    for number in 0..52 {
        let lead = of("Person", &format!("N{number:02}"), &format!("p{number}@contoso.example"), "A & B");
        assert_eq!(app.simulator.send_lead(&address, &lead).await.status, Some(200));
        app.clock.advance(SignedDuration::from_secs(1));
    }
    app.settle().await;
    let staff = staff(&app).await;
    let first = staff.get(&format!("{INBOX}?q=a+%26+b&kind=real")).await;
    assert!(first.says("Shown: 50") && first.says("N51") && !first.says("N01"), "{}", first.body);
    let next = first.body.split("href=\"").find(|rest| rest.contains("after=")).unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&").replace("&#x2f;", "/");
    let second = staff.get(&next).await;
    assert!(second.says("Shown: 2") && second.says("N01") && second.says("First page"), "{}", second.body);
    assert!(second.says("value=\"a &amp; b\"") && !second.says("Next page"), "{}", second.body);
}

#[tokio::test]
async fn everything_about_a_lead_is_shown_and_what_strangers_wrote_is_text() {
    let app = TestApp::with_destinations().await;
    app.buy("team", Some(5)).await;
    let address = address(&app, "mediagenie").await;
    let script = "<script>alert(1)</script>";
    let lead = of(script, "\"><img src=x onerror=alert(2)>", "eve@contoso.example", script)
        .with("Description", format!("one\n{script}"))
        .with("OfferTitle", script)
        .with("LeadSource", script);
    send(&app, &address, &lead).await;
    send(&app, &address, &lead.clone().with("Phone", "1")).await;
    let id = &ids(&app).await[0];
    let staff = staff(&app).await;
    for path in [INBOX.to_owned(), format!("{INBOX}/{id}"), format!("{INBOX}?q={script}&owner={script}&month={script}")]
    {
        let page = staff.get(&path).await;
        assert_eq!(page.status, 200);
        assert!(
            !page.body.to_lowercase().contains("<script>alert") && !page.says("<img src=x"),
            "{path}: {}",
            page.body
        );
    }
    let page = staff.get(&format!("{INBOX}/{id}")).await;
    assert_says(
        &page,
        &[
            "&lt;script&gt;",
            "mailto:eve@contoso.example",
            "came 2 times",
            "% sure",
            "The same e-mail domain",
            "dynamics",
            "teams",
            "Delivered",
            "Record ID",
            "UserDetails",
            "The lead arrived",
            "Delivered to dynamics",
        ],
    );
    assert!(!page.says("Open the record there"), "only https is a link, and the simulated systems have none");
    assert_eq!(staff.get(&format!("{INBOX}/lead_00000000000000000000000000000000")).await.status, 404);
    assert_eq!(staff.get(&format!("{INBOX}/nonsense")).await.status, 404);
}

#[tokio::test]
async fn people_change_status_owner_notes_and_customer_and_the_history_tells() {
    let app = TestApp::start().await;
    app.buy("team", Some(5)).await;
    send(&app, &address(&app, "mediagenie").await, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    let (id, staff) = (&ids(&app).await[0], staff(&app).await);
    let page = act(&staff, id, "status", &[("status", "contacted")]).await;
    assert_says(&page, &["The status is changed", "Status: New → Contacted", "Ada Admin"]);
    assert_eq!(act(&staff, id, "status", &[("status", "nonsense")]).await.status, 400);
    assert_says(
        &act(&staff, id, "owner", &[("owner", "Zoë <b>")]).await,
        &["Owner: Zoë &lt;b&gt;", "The owner is changed"],
    );
    let long = act(&staff, id, "owner", &[("owner", &"x".repeat(101))]).await;
    assert_eq!(long.status, 400);
    assert_says(&long, &["The owner was not changed", "at most 100", "href=\"#lead-owner\"", "aria-invalid=\"true\""]);
    assert_says(&act(&staff, id, "mine", &[]).await, &["The lead is yours", "Owner: Ada Admin"]);
    assert_eq!(detail(&app, id).await.record.lead.owner.as_deref(), Some("Ada Admin"));
    assert_says(&act(&staff, id, "owner", &[("owner", "")]).await, &["Nobody owns it any more"]);
    let noted = act(&staff, id, "note", &[("note", "Called.\nWants <i>two</i> seats.")]).await;
    assert_says(&noted, &["The note is added", "Called.\nWants &lt;i&gt;two&lt;/i&gt; seats."]);
    let empty = act(&staff, id, "note", &[("note", "  ")]).await;
    assert_eq!(empty.status, 400);
    assert_says(&empty, &["The note was not added", "href=\"#lead-note\""]);
    let matched = detail(&app, id).await.companies[0].tenant.unwrap();
    let page = act(&staff, id, "company", &[("company", &matched.to_string())]).await;
    assert_says(&page, &["The customer is saved", "Said by Ada Admin"]);
    assert_says(
        &act(&staff, id, "company", &[("company", "none")]).await,
        &["None of our customers", "Customer: none of ours"],
    );
    let tenant = "37f9dea2-4345-438f-b0bd-03d40d28c7e0";
    act(&staff, id, "company", &[("company", "other"), ("tenant", tenant)]).await;
    assert_eq!(detail(&app, id).await.record.company.unwrap().tenant, Some(tenant.parse().unwrap()));
    let wrong = act(&staff, id, "company", &[("company", "other"), ("tenant", "contoso")]).await;
    assert_eq!(wrong.status, 400);
    assert_says(&wrong, &["The customer was not saved", "value=\"contoso\"", "href=\"#lead-tenant\""]);
    let page = act(&staff, id, "status", &[("status", "converted")]).await;
    assert_says(&page, &["Status: Contacted → Converted"]);
    assert!(!page.says("Mark as converted"), "{}", page.body);
    assert_eq!(act(&staff, id, "status", &[("csrf", "wrong")]).await.status, 403);
    let csrf = page.fields(&format!("{INBOX}/{id}/status"))["csrf"].clone();
    assert_eq!(staff.post(&format!("{INBOX}/{id}/explode"), &[("csrf", &csrf)]).await.status, 404);
}

#[tokio::test]
async fn a_duplicate_is_marked_shown_and_taken_back() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    send(&app, &address, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    send(&app, &address, &of("A.", "Lovelace", "ada@private.example", "")).await;
    let (all, staff) = (ids(&app).await, staff(&app).await);
    let (twin, first) = (&all[0], &all[1]);
    for of in [twin.as_str(), "nonsense", "lead_00000000000000000000000000000000"] {
        let page = act(&staff, twin, "duplicate", &[("of", of)]).await;
        assert_eq!(page.status, 400, "{of}");
        assert_says(&page, &["was not marked as a duplicate", "href=\"#lead-of\""]);
    }
    let page = act(&staff, twin, "duplicate", &[("of", &app.url(&format!("{INBOX}/{first}?done=note")))]).await;
    assert_says(
        &page,
        &["This lead is a duplicate", "Duplicates are not forwarded", &format!("href=\"/publisher/leads/{first}\"")],
    );
    assert!(!page.says("Send again"), "{}", page.body);
    assert_eq!(detail(&app, twin).await.kind, Kind::Duplicate);
    assert!(staff.get(&format!("{INBOX}?kind=duplicate")).await.says("A. Lovelace"));
    let page = act(&staff, twin, "no-duplicate", &[]).await;
    assert_says(&page, &["The lead is no duplicate any more", "No duplicate any more"]);
    app.settle().await;
}

#[tokio::test]
async fn a_refusal_of_a_destination_is_seen_and_the_lead_sent_again() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    app.simulator.faults().crm_fail_next(2, 400, Some("0x80048d19"), None);
    send(&app, &address, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    let (id, staff) = (&ids(&app).await[0], staff(&app).await);
    assert_says(&staff.get(INBOX).await, &["badge-suspended", "Needs attention"]);
    let page = staff.get(&format!("{INBOX}/{id}")).await;
    assert_says(
        &page,
        &["Needs attention", "Mend what the last attempt says", "refused it; somebody has to look", "Send again"],
    );
    for destination in ["dynamics", "teams"] {
        let sent = act(&staff, id, "resend", &[("destination", destination)]).await;
        assert_says(&sent, &["The lead is on its way", &format!("To be sent to {destination} again")]);
    }
    app.settle().await;
    let page = staff.get(&format!("{INBOX}/{id}")).await;
    assert!(!page.says("Needs attention") && page.says("Attempts: 2") && page.says("Delivered"), "{}", page.body);
    assert_eq!(act(&staff, id, "resend", &[("destination", "nothing")]).await.status, 404);
}

#[tokio::test]
async fn who_must_not_be_contacted_has_a_warning_and_no_link_to_write() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    send(&app, &address, &of("Bo", "Brown", "bo@adatum.example", "Adatum").action("DNC")).await;
    send(&app, &address, &of("Od", "D", "a@b@c.example?bcc=x", "")).await;
    let (all, staff) = (ids(&app).await, staff(&app).await);
    let page = staff.get(&format!("{INBOX}/{}", all[1])).await;
    assert_says(
        &page,
        &[
            "must not be contacted about this offer",
            "bo@adatum.example",
            "People who must not be contacted are not forwarded",
        ],
    );
    assert!(!page.says("mailto:bo"), "{}", page.body);
    assert!(!staff.get(&format!("{INBOX}/{}", all[0])).await.says("mailto:a"), "that is no address");
}

#[tokio::test]
async fn a_lead_whose_person_was_taken_out_says_so() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    send(&app, &address, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    let (id, staff) = (&ids(&app).await[0], staff(&app).await);
    act(&staff, id, "note", &[("note", "Ada likes tea.")]).await;
    leads::privacy::expire(&app.host.app, app.now()).await.unwrap();
    app.settle().await;
    assert_says(&staff.get(INBOX).await, &["Erased person", "@erased.invalid"]);
    let page = staff.get(&format!("{INBOX}/{id}")).await;
    assert_says(
        &page,
        &["The person was taken out of this lead", "Taken out with the person", "Nothing of it is kept"],
    );
    for gone in ["Lovelace", "likes tea", "mailto:erased", "Send again", "Contoso"] {
        assert!(!page.says(gone), "{gone}: {}", page.body);
    }
}

#[tokio::test]
async fn what_is_no_lead_is_shown_as_it_came() {
    let app = TestApp::start().await;
    let address = address(&app, "mediagenie").await;
    for body in ["{\"a\":\"</pre><script>alert(1)</script>\"}", "[1]", "what"] {
        send(&app, &address, &Lead::raw(body)).await;
    }
    let (all, staff) = (ids(&app).await, staff(&app).await);
    for (id, text) in all.iter().zip(["It is no JSON", "no object with fields", "It names no person"]) {
        let page = staff.get(&format!("{INBOX}/{id}")).await;
        assert_says(&page, &[text, "As it came", "Could not be read", "mediagenie"]);
        assert!(!page.says("<script>alert"), "{}", page.body);
        let csrf = page.fields("/sign-out")["csrf"].clone();
        let acted = staff.post(&format!("{INBOX}/{id}/note"), &[("csrf", &csrf), ("note", "x")]).await;
        assert_eq!(acted.status, 404, "it is no lead");
    }
}

#[tokio::test]
async fn the_csv_has_all_rows_of_the_filter_and_nothing_that_a_spreadsheet_runs() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    send(
        &app,
        &address,
        &of("=cmd|' /C calc'!A0", "+1", "@sum@contoso.example", "-2+3").with("Description", "a,\"b\"\nc"),
    )
    .await;
    send(&app, &address, &of("Bo", "Brown", "bo@adatum.example", "Adatum").action("DNC")).await;
    send(&app, &address, &Lead::raw("what")).await;
    let staff = staff(&app).await;
    let rows = |text: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let all = rows(&staff.get(&format!("{INBOX}.csv")).await.body);
    assert_eq!(all.len(), 3);
    assert_eq!(all[2][2..7], ["'=cmd|' /C calc'!A0", "'+1", "'-2+3", "Esquire", "'@sum@contoso.example"]);
    assert_eq!((all[2][14].as_str(), all[2][17].as_str()), ("a,\"b\"\nc", "new"));
    assert_eq!(all[2][19], "dynamics: sent; teams: sent");
    assert_eq!((all[0][1].as_str(), all[0][17].as_str(), all[1][9].as_str()), ("quarantined", "", "true"));
    assert_eq!(rows(&staff.get(&format!("{INBOX}.csv?q=adatum")).await.body).len(), 1);
}

#[tokio::test]
async fn readers_see_everything_but_addresses_and_change_nothing() {
    let app = TestApp::with_destinations().await;
    let address = address(&app, "mediagenie").await;
    send(&app, &address, &of("Ada", "Lovelace", "ada@contoso.example", "Contoso")).await;
    let (id, reader) = (&ids(&app).await[0], app.signed_in(&Person::staff_reader()).await);
    assert!(reader.get(INBOX).await.says("Ada Lovelace"));
    let page = reader.get(&format!("{INBOX}/{id}")).await;
    assert_says(&page, &["ada@contoso.example", "You may look but not act", "UserDetails"]);
    assert!(!page.says(&format!("action=\"{INBOX}/{id}")), "{}", page.body);
    let page = reader.get(ADDRESSES).await;
    let key = address.rsplit('/').next().unwrap();
    assert!(page.says("mediagenie") && page.says("for those who may act"));
    assert!(
        !page.says(key) && !page.says("/marketplace/leads/") && !page.says("action=\"/publisher/leads-addresses"),
        "{}",
        page.body
    );
    let csrf = page.fields("/sign-out")["csrf"].clone();
    for action in ["status", "owner", "mine", "note", "company", "duplicate", "no-duplicate", "resend"] {
        let sent = reader
            .post(&format!("{INBOX}/{id}/{action}"), &[("csrf", &csrf), ("status", "converted"), ("note", "x")])
            .await;
        assert_eq!(sent.status, 403, "{action}");
    }
    for path in [
        ADDRESSES.to_owned(),
        format!("{ADDRESSES}/rotate"),
        format!("{ADDRESSES}/remove"),
        format!("{ADDRESSES}/test"),
    ] {
        let sent = reader.post(&path, &[("csrf", &csrf), ("offer", "mediagenie"), ("confirm", "yes")]).await;
        assert_eq!(sent.status, 403, "{path}");
    }
    assert_eq!(detail(&app, id).await.history.len(), 3);
}

#[tokio::test]
async fn addresses_are_made_tried_renewed_and_removed() {
    let app = TestApp::start().await;
    let staff = staff(&app).await;
    let page = staff.get(ADDRESSES).await;
    assert_says(&page, &["No address yet", "Enter it in Partner Center", "LEAD_TABLE_CONNECTION is empty"]);
    for (offer, title, said) in [("Not ok!", "", "small letters"), ("ok", &"x".repeat(201), "at most 200")] {
        let page = staff.submit(&page, ADDRESSES, &[("offer", offer), ("title", title)]).await;
        assert_eq!(page.status, 400);
        assert_says(&page, &["The address was not made", said, &format!("value=\"{offer}\"")]);
    }
    let page = staff.submit(&page, ADDRESSES, &[("offer", "Media-Genie"), ("title", "Media <b>")]).await;
    assert_says(&page, &["media-genie has an address", "Media &lt;b&gt;", "/marketplace/leads/", "the one to use"]);
    let again = staff.submit(&page, ADDRESSES, &[("offer", "media-genie")]).await;
    assert_eq!(again.status, 409);
    assert_says(&again, &["This offer has an address already"]);
    let tested = staff.submit(&page, &format!("{ADDRESSES}/test"), &[]).await;
    assert_says(&tested, &["The address of media-genie works"]);
    app.settle().await;
    assert_says(&staff.get(INBOX).await, &["MSFT_TEST_", "Test"]);
    let old = leads::addresses(&app.host.app).await.unwrap().remove(0).keys.remove(0);
    let page = staff.submit(&page, &format!("{ADDRESSES}/rotate"), &[]).await;
    assert_says(&page, &["media-genie has a new address", "Taken until", "2026-03-09 09:0", old.key.expose()]);
    let old = leads::url(&app.host.app, &old.key);
    assert_eq!(app.simulator.send_lead(&old, &Lead::default()).await.status, Some(200), "for a week");
    app.settle().await;
    let unsure = staff.submit(&page, &format!("{ADDRESSES}/remove"), &[]).await;
    assert_eq!(unsure.status, 400);
    assert_says(
        &unsure,
        &["The address was not removed", "href=\"#lead-confirm-media-genie\"", "id=\"lead-confirm-media-genie\""],
    );
    let page = staff.submit(&page, &format!("{ADDRESSES}/remove"), &[("confirm", "yes")]).await;
    assert_says(&page, &["The address of media-genie is removed", "No address yet"]);
    assert_eq!(app.simulator.send_lead(&old, &Lead::default()).await.status, Some(404));
    let csrf = page.fields(ADDRESSES)["csrf"].clone();
    for action in ["test", "rotate", "explode"] {
        let sent = staff.post(&format!("{ADDRESSES}/{action}"), &[("csrf", &csrf), ("offer", "../media-genie")]).await;
        assert_eq!(sent.status, 404, "{action}");
    }
}
