//! The usage pages of staff and customers: what they show after real usage, what their forms do, and who may use them.

use jiff::SignedDuration;
use mediagenie::simulator::Person;
use uuid::Uuid;

use crate::support::app::{PUBLISHER_KEY, TestApp};
use crate::support::browser::{Browser, Page, text_of};

/// Usage of a dimension, as a program of the publisher reports it.
async fn report(app: &TestApp, id: Uuid, record: &str, dimension: &str, quantity: &str) {
    let body = serde_json::json!({ "id": record, "subscription": id, "dimension": dimension, "quantity": quantity });
    let sent = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(app.url("/api/usage"))
        .header("authorization", format!("Bearer {PUBLISHER_KEY}"))
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let status = sent.status();
    assert_eq!(status, 201, "{}", sent.text().await.unwrap());
}

fn address(id: Uuid) -> String {
    format!("/publisher/usage/resources/{id}")
}

/// Lets the hour end and its usage go to Microsoft.
async fn next_hour(app: &TestApp) {
    app.clock.advance(SignedDuration::from_mins(66));
    app.fire("SubmitUsage").await;
}

fn says(page: &Page, wanted: &str) {
    assert!(
        text_of(&page.body).contains(wanted),
        "“{wanted}” is not on {} ({}):\n{}",
        page.url,
        page.status,
        text_of(&page.body)
    );
}

/// Sends the form for a record by hand.
async fn enter(browser: &Browser, id: Uuid, filled: &[(&str, &str)]) -> Page {
    let page = browser.get(&address(id)).await;
    let mut all = vec![("counter", "dimension:speech_minutes"), ("note", "reported by telephone")];
    all.extend_from_slice(filled);
    browser.submit(&page, &format!("{}/record", address(id)), &all).await
}

#[tokio::test]
async fn without_any_usage_the_overview_says_what_to_do_next() {
    let app = TestApp::start().await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get("/publisher/usage").await;
    assert_eq!(page.status, 200, "{}", page.body);
    says(&page, "Nothing has been sent to Microsoft yet");
    says(&page, "Record usage with POST /api/usage, import a CSV file");
    says(&page, "No event waits for Microsoft or for a person.");
    says(&page, "Nothing was lost this month.");
    says(&page, "No day was compared yet.");
    for (address, wanted) in [
        ("/publisher/usage/losses", "Nothing was lost in this month"),
        ("/publisher/usage/differences", "This day was not compared"),
        ("/publisher/usage/catalogue", "Built into the product."),
        ("/publisher/usage/import", "Import usage"),
        ("/publisher/usage?find=nothing", "There is nothing with this ID."),
    ] {
        let page = staff.get(address).await;
        assert_eq!(page.status, 200, "{address}: {}", page.body);
        says(&page, wanted);
    }
    assert_eq!(staff.get("/publisher/usage/losses?month=March").await.status, 400);
    assert_eq!(staff.get("/publisher/usage/differences?day=x").await.status, 400);
    assert_eq!(staff.get("/publisher/usage/resources/nothing").await.status, 404);
}

#[tokio::test]
async fn the_page_of_a_resource_shows_every_unit_from_its_record_to_microsofts_booking() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get(&address(id)).await;
    says(&page, "Nothing was recorded for this subscription yet.");
    says(&page, "Enter usage by hand");

    report(&app, id, "r-1", "speech_minutes", "900").await;
    let page = staff.get(&address(id)).await;
    says(&page, "Speech, minutes (minute) speech_minutes 900 900 of 1,000 0 0 0 0 yes 0");
    says(&page, "900 Open");
    next_hour(&app).await;
    report(&app, id, "r-2", "speech_minutes", "1600.5").await;
    next_hour(&app).await;
    let page = staff.get(&address(id)).await;
    says(&page, "2,500.5 1,000 of 1,000 1,500.5 0 0 0 yes 1,500.5 × USD 0.02 USD 30.01");
    says(&page, "1,600.5 Accepted 100 included, 1,500.5 billable");
    says(&page, "900 Included");
    assert!(page.says("r-1") && page.says("r-2") && page.says("billing"), "the records and their source");
    assert!(page.says("<svg viewBox=\"0 0 "), "the hours are drawn");
    let earlier = staff.get(&format!("{}?to=2026-03-02T09", address(id))).await;
    says(&earlier, "Nothing was counted in these hours:");

    let overview = staff.get("/publisher/usage").await;
    says(&overview, "Usage is being sent to Microsoft");
    assert!(overview.says(&address(id)), "it is in the list");
    let found = staff.get(&format!("/publisher/usage?find={}", id.to_string().to_uppercase())).await;
    assert_eq!(found.url.path(), address(id));
    assert!(staff.get(&format!("/publisher/subscriptions/{id}")).await.says(&address(id)), "there is a way to it");

    let csv = staff.get(&format!("{}/records.csv", address(id))).await;
    assert_eq!((csv.status, csv.body.lines().count()), (200, 3), "{}", csv.body);
    let csv = staff.get(&format!("{}/events.csv?from=2026-03-01&to=2026-03-02", address(id))).await;
    assert!(csv.body.lines().count() == 2 && csv.body.contains(",accepted,1500.5,"), "{}", csv.body);
    let long = staff.get(&format!("{}/events.csv?from=2026-01-01&to=2026-03-02", address(id))).await;
    assert_eq!(long.status, 400);
}

#[tokio::test]
async fn a_record_by_hand_counts_once_however_often_its_form_is_sent() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get(&address(id)).await;
    let action = format!("{}/record", address(id));
    let typed = [("counter", "dimension:speech_minutes"), ("quantity", "12.5"), ("note", "reported by telephone")];
    let first = staff.submit(&page, &action, &typed).await;
    says(&first, "It counts in the open hour and stands below.");
    says(&first, "speech_minutes 12.5 12.5 of 1,000");
    let again = staff.submit(&page, &action, &typed).await;
    says(&again, "The form was sent twice. It counts once.");
    says(&again, "speech_minutes 12.5 12.5 of 1,000");

    // The browser's back button, another quantity: told, kept, and sent again under a new id.
    let other = staff.submit(&page, &action, &[typed[0], ("quantity", "20"), typed[2]]).await;
    assert_eq!(other.status, 409);
    says(&other, "Another record was accepted under this ID.");
    let sent = staff.submit(&other, &action, &[typed[0], typed[2]]).await;
    says(&sent, "speech_minutes 32.5 32.5 of 1,000");

    // A correction names its record.
    let record = page.fields(&action)["id"].clone();
    let page = staff.get(&format!("{}?corrects={record}&quantity=-2.5", address(id))).await;
    let corrected = staff.submit(&page, &action, &[typed[0], ("note", "counted twice")]).await;
    says(&corrected, "speech_minutes 30 30 of 1,000");
    says(&corrected, &format!("Corrects {record}"));
    let records = staff.get(&format!("{}/records.csv", address(id))).await;
    assert!(records.body.contains(",-2.5,") && records.body.contains(",staff:"), "{}", records.body);
}

#[tokio::test]
async fn what_is_wrong_in_a_form_is_told_beside_its_field_and_what_was_typed_stays() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    for (filled, field, wanted) in [
        (("quantity", "many"), "quantity-wrong", "This is no quantity"),
        (("quantity", "-1"), "quantity-wrong", "must name the record that it corrects"),
        (("occurred_at", "2026-03-01T08:00"), "occurred_at-wrong", "more than 24 hours ago"),
        (("occurred_at", "2026-03-02T12:00"), "occurred_at-wrong", "lies in the future"),
        (("corrects", "unknown"), "corrects-wrong", "does not fit the record"),
        (("counter", "dimension:unknown"), "counter-wrong", "can not bill this"),
        (("note", ""), "note-wrong", "Say why."),
    ] {
        let page = enter(&staff, id, &[("quantity", "5"), filled]).await;
        assert_eq!(page.status, 400, "{filled:?}: {}", page.body);
        says(&page, wanted);
        assert!(page.says(&format!("id=\"{field}\"")), "{filled:?} is told beside its field");
        let kept = page.fields(&format!("{}/record", address(id)));
        if let Some(value) = kept.get(filled.0) {
            assert_eq!(value, filled.1, "what was typed stays");
        }
    }
    let page = staff.get(&address(id)).await;
    says(&page, "Nothing was recorded for this subscription yet.");
    says(&page, "Nothing was recorded in the last seven days.");
}

#[tokio::test]
async fn writing_an_event_off_needs_a_reason_and_a_yes_and_books_the_loss() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    app.simulator.faults().change(|faults| faults.metering_status_override = Some("InvalidDimension".into()));
    report(&app, id, "r-1", "speech_minutes", "1500").await;
    next_hour(&app).await;
    let page = staff.get(&address(id)).await;
    says(&page, "Dead letter");
    says(&page, "This dimension is not enabled for the plan.");
    says(&page, "Included 1,000 Dead letter 500");
    says(&page, "500 × minute, worth USD 10.00, will never be billed.");
    says(&page, "Deadline 22 h 53 min left");
    let overview = staff.get("/publisher/usage").await;
    says(&overview, "Dead letters 1");
    assert!(overview.says(&format!("<a href=\"{}\">", address(id))));

    // Sending again changes nothing while Microsoft says the same.
    let resend = format!("{}/resend", address(id));
    says(&staff.submit(&page, &resend, &[("plan", "")]).await, "Sent again");
    let page = staff.get(&address(id)).await;
    says(&page, "sent again by");

    let action = format!("{}/write-off", address(id));
    let refused = staff.submit(&page, &action, &[("confirm", "yes")]).await;
    assert_eq!(refused.status, 400);
    says(&refused, "Say why.");
    let refused = staff.submit(&page, &action, &[("reason", "goodwill")]).await;
    assert_eq!(refused.status, 400);
    says(&refused, "Tick the box");
    assert_eq!(refused.fields(&action)["reason"], "goodwill");
    let done = staff.submit(&page, &action, &[("reason", "goodwill"), ("confirm", "yes")]).await;
    says(&done, "The loss is booked");
    says(&done, "1,500 1,000 of 1,000 0 0 0 500 yes 500 × USD 0.02 USD 10.00 of which lost: USD 10.00");
    let again = staff.submit(&page, &action, &[("reason", "goodwill"), ("confirm", "yes")]).await;
    assert_eq!(again.status, 409);
    says(&again, "It can not be written off");

    let losses = staff.get("/publisher/usage/losses").await;
    says(&losses, "Lost in this month USD 10.00");
    says(&losses, "Written off by staff");
    says(&staff.get("/publisher/usage").await, "USD 10.00 Entries: 1");
    // The customer is not charged for it, and learns nothing of how it went.
    let portal = browser.get(&format!("/portal/subscriptions/{id}")).await;
    says(&portal, "Beyond 500 of which not charged: 500");
    says(&portal, "Charged so far USD 0.00");
    assert!(!portal.says("InvalidDimension") && !portal.says("Dead letter"));
}

#[tokio::test]
async fn an_event_that_microsoft_takes_after_all_is_booked_by_sending_it_again() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    app.simulator.faults().change(|faults| faults.metering_status_override = Some("InvalidDimension".into()));
    report(&app, id, "r-1", "speech_minutes", "1500").await;
    next_hour(&app).await;
    app.simulator.faults().clear();
    let page = staff.get(&address(id)).await;
    let done = staff.submit(&page, &format!("{}/resend", address(id)), &[("plan", "")]).await;
    says(&done, "Sent again");
    says(&done, "1,500 1,000 of 1,000 500 0 0 0 yes");
    assert!(!done.says("Dead letter"));
    let again = staff.submit(&page, &format!("{}/resend", address(id)), &[("plan", "")]).await;
    assert_eq!(again.status, 409);
    says(&again, "It can not be sent again");
}

#[tokio::test]
async fn checking_a_file_records_nothing_and_recording_it_twice_counts_once() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let file = format!(
        "id,subscription,dimension,quantity\na-1,{id},speech_minutes,5\na-2,{id},nonsense,5\na-3,{id},speech_minutes,many\n"
    );
    let page = staff.get("/publisher/usage/import").await;
    let checked =
        staff.submit(&page, "/publisher/usage/import", &[("csv", &file.replace('\n', "\r\n")), ("do", "check")]).await;
    assert_eq!(checked.status, 200, "{}", checked.body);
    says(&checked, "Nothing was recorded yet.");
    says(&checked, "Would be recorded 1");
    says(&checked, "Refused 2");
    says(&checked, "3 a-2 Refused");
    says(&checked, "2 a-1 Can be recorded 5 of speech_minutes, in the hour 2026-03-02 09:00 UTC");
    assert!(checked.says(&format!("a-3,{id},speech_minutes,many")), "the text stays");
    says(&staff.get(&address(id)).await, "Nothing was recorded in the last seven days.");

    let recorded = staff.submit(&checked, "/publisher/usage/import", &[("csv", &file), ("do", "record")]).await;
    says(&recorded, "Some lines were not recorded");
    let good = format!("id,subscription,dimension,quantity\na-1,{id},speech_minutes,5\n");
    let again = staff.submit(&recorded, "/publisher/usage/import", &[("csv", &good), ("do", "record")]).await;
    says(&again, "Everything is recorded");
    says(&again, "Recorded before 1");
    says(&staff.get(&address(id)).await, "speech_minutes 5 5 of 1,000");

    let broken = staff.submit(&page, "/publisher/usage/import", &[("csv", "name\nx"), ("do", "check")]).await;
    assert_eq!(broken.status, 400);
    says(&broken, "the first line names the column `name`");
}

#[tokio::test]
async fn a_reader_sees_everything_and_can_not_act() {
    let app = TestApp::start().await;
    let (id, _) = app.buy("metered", None).await;
    report(&app, id, "r-1", "speech_minutes", "5").await;
    let reader = app.signed_in(&Person::staff_reader()).await;
    let page = reader.get(&address(id)).await;
    says(&page, "You may look but not act.");
    says(&page, "speech_minutes 5 5 of 1,000");
    assert!(!page.says("/record\"") && !page.says("/write-off\"") && !page.says("/resend\""), "there are no forms");
    assert!(!reader.get("/publisher/usage").await.says("/publisher/usage/import"));
    assert_eq!(reader.get("/publisher/usage/import").await.status, 403);
    let csrf = page.fields("/sign-out")["csrf"].clone();
    let origin = app.address.clone();
    for verb in ["record", "resend", "write-off"] {
        let fields = [("csrf", csrf.as_str()), ("quantity", "5"), ("counter", "dimension:speech_minutes"), ("id", "x")];
        let sent = reader.post_with(&format!("{}/{verb}", address(id)), &fields, &[("origin", &origin)]).await;
        assert_eq!(sent.status, 403, "{verb}");
    }
    says(&reader.get(&address(id)).await, "speech_minutes 5 5 of 1,000");
}

#[tokio::test]
async fn customers_see_their_own_usage_and_nobody_elses() {
    let app = TestApp::start().await;
    let (id, browser) = app.buy("metered", None).await;
    let portal = format!("/portal/subscriptions/{id}");
    let page = browser.get(&portal).await;
    says(&page, "0 of 1,000 included 1,000 left; 0 % used");
    report(&app, id, "r-1", "speech_minutes", "1200").await;
    report(&app, id, "r-2", "vision_images", "1250").await;
    next_hour(&app).await;
    let page = browser.get(&portal).await;
    says(&page, "1,200 of 1,000 included Everything included is used.");
    says(&page, "Beyond 200 Price USD 0.02 per minute beyond the included quantity Charged so far USD 4.00");
    says(&page, "1,250 of 5,000 included 3,750 left; 25 % used");
    // A month later the quantities begin anew, and the old period is kept.
    app.clock.advance(SignedDuration::from_hours(24 * 31));
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    let page = browser.get(&portal).await;
    says(&page, "0 of 1,000 included 1,000 left; 0 % used");
    says(&page, "Charged so far USD 4.00");

    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    assert_eq!(stranger.get(&portal).await.status, 404);
    assert_eq!(stranger.get(&address(id)).await.status, 404);
    assert_eq!(stranger.get("/publisher/usage").await.status, 404);
    let (plain, browser) = app.buy("starter", None).await;
    let page = browser.get(&format!("/portal/subscriptions/{plain}")).await;
    assert!(!page.says("id=\"usage\""), "a plan without dimensions has no such section");
}
