//! Leads on their way to the systems of sales: what is told to each of them, what a repeat does, and what a failure means.

use jiff::SignedDuration;
use mediagenie::foundation::outbound;
use mediagenie::leads::Person;
use mediagenie::leads::destinations::Receipt;
use serde_json::{Value, json};

use crate::support::app::first_day;
use crate::support::leads::{CRMS, WEBHOOK_KEY, World, later, lead, refused};

#[tokio::test]
async fn a_new_lead_is_a_record_that_a_person_can_open() {
    let world = World::new().await;
    let lead = lead();
    let receipt = world.deliver("dynamics", &lead, None).await.unwrap();
    let record = world.record("dynamics");
    assert_eq!(record.id, receipt.id);
    assert_eq!(record.id.replace('-', ""), lead.id.as_str().trim_start_matches("lead_"));
    assert!(receipt.link.unwrap().ends_with(&format!("/main.aspx?pagetype=entityrecord&etn=lead&id={}", record.id)));
    assert_eq!(
        Value::Object(record.fields),
        json!({"subject": "MediaGenie: INS", "firstname": "Ada", "lastname": "Lovelace", "emailaddress1": "ada@contoso.example",
            "telephone1": "+44 20 7946 0000", "companyname": "Contoso", "jobtitle": "Analyst", "address1_country": "GB",
            "description": "wants a trial"})
    );

    let receipt = world.deliver("salesforce", &lead, None).await.unwrap();
    let record = world.record("salesforce");
    assert_eq!((record.id.as_str(), record.key.as_str()), (receipt.id.as_str(), lead.id.as_str()));
    assert!(receipt.link.unwrap().ends_with(&format!("/lightning/r/Lead/{}/view", record.id)));
    assert_eq!(record.fields["LastName"], "Lovelace");
    assert_eq!(record.fields["Description"], "MediaGenie: INS\nwants a trial");

    let receipt = world.deliver("hubspot", &lead, None).await.unwrap();
    let record = world.record("hubspot");
    assert_eq!((record.id.as_str(), record.key.as_str()), (receipt.id.as_str(), "ada@contoso.example"));
    assert_eq!(receipt.link.unwrap(), format!("https://app.hubspot.com/contacts/4711/contact/{}", record.id));
    assert_eq!(record.fields["jobtitle"], "Analyst");

    assert_eq!(world.deliver("teams", &lead, None).await.unwrap(), Receipt::default());
    let card = world.record("teams").fields["card"].to_string();
    for text in ["Lead: MediaGenie", "Lovelace", "ada@contoso.example", "wants a trial"] {
        assert!(card.contains(text), "{text}: {card}");
    }
}

#[tokio::test]
async fn a_repeat_makes_no_second_record_and_a_change_updates_the_first() {
    let world = World::new().await;
    for name in ["dynamics", "salesforce", "hubspot"] {
        let mut lead = lead();
        let first = world.deliver(name, &lead, None).await.unwrap();
        // The same again, as after an answer that was lost, and with what the first one gave.
        assert_eq!(world.deliver(name, &lead, None).await.unwrap().id, first.id, "{name}");
        assert_eq!(world.deliver(name, &lead, Some(&first)).await.unwrap().id, first.id, "{name}");
        lead.person.company = "Fabrikam".into();
        lead.revision = 2;
        assert_eq!(world.deliver(name, &lead, Some(&first)).await.unwrap(), first, "{name}");
        let record = world.record(name);
        assert_eq!(record.writes, 4, "{name}");
        assert!(Value::Object(record.fields).to_string().contains("Fabrikam"), "{name}");
    }
    let lead = lead();
    world.deliver("teams", &lead, None).await.unwrap();
    world.deliver("teams", &lead, Some(&Receipt::default())).await.unwrap();
    let cards = world.records("teams");
    assert!(cards[1].fields["card"].to_string().contains("MediaGenie (changed)"), "{cards:?}");
}

#[tokio::test]
async fn a_contact_without_an_address_is_known_by_its_id_and_made_again_when_it_was_deleted() {
    let world = World::new().await;
    let mut lead = lead();
    lead.person.email = String::new();
    let first = world.deliver("hubspot", &lead, None).await.unwrap();
    assert_eq!(world.deliver("hubspot", &lead, Some(&first)).await.unwrap().id, first.id);
    // The address becomes known later.
    lead.person.email = "Ada@Contoso.example".into();
    assert_eq!(world.deliver("hubspot", &lead, Some(&first)).await.unwrap().id, first.id);
    assert_eq!(world.record("hubspot").writes, 3);
    world.simulator.crm_clear();
    world.deliver("hubspot", &lead, Some(&first)).await.unwrap();
    assert_eq!(world.record("hubspot").writes, 1);
    // Somebody merged it with another contact that has the address.
    let gone = Receipt { id: "999".into(), link: None };
    world.deliver("hubspot", &lead, Some(&gone)).await.unwrap();
    assert_eq!(world.record("hubspot").writes, 2);
}

#[tokio::test]
async fn what_people_write_arrives_as_they_wrote_it_and_is_nothing_but_text() {
    let world = World::new().await;
    let mut lead = lead();
    lead.person.first_name = "小明 👩‍💻".into();
    lead.person.last_name = "<script>alert(1)</script>\r\nBcc: x@evil.example".into();
    lead.person.company = "[Click](https://evil.example) **now** `x`".into();
    lead.description = "one\r\ntwo & \"three\" \u{0}".into();
    for name in CRMS {
        world.deliver(name, &lead, None).await.unwrap();
        let record = Value::Object(world.record(name).fields).to_string();
        assert!(record.contains("小明 👩‍💻") && record.contains("<script>"), "{name}: {record}");
        // Names are one line, and nothing is there that does not print.
        assert!(
            record.contains("</script> Bcc:") && !record.contains("\\r") && !record.contains("\\u0000"),
            "{name}: {record}"
        );
    }
    // Markdown is known to text blocks only, and the card has none.
    let card = world.record("teams").fields["card"].clone();
    assert!(card["body"].as_array().unwrap().iter().all(|block| block["type"] == "RichTextBlock"), "{card}");

    lead.offer_title = "Médiá\r\nBcc: x@evil.example".into();
    world.deliver("mail", &lead, None).await.unwrap();
    let mail = world.mail.take().remove(0);
    assert_eq!(mail.to, ["sales@mediagenie.example", "bo@mediagenie.example"]);
    assert!(!mail.text.to_lowercase().contains("\r\nbcc:"), "{}", mail.text);
    assert!(mail.header("subject").starts_with("Lead: =?utf-8?"), "{}", mail.text);
    let (plain, html) = (mail.part("text/plain"), mail.part("text/html"));
    assert!(plain.contains("First name: 小明 👩‍💻\r\n") && plain.contains("<script>"), "{plain}");
    assert!(!plain.contains('\u{0}') && plain.contains("Description: one\r\n    two & \"three\""), "{plain}");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
    assert!(html.contains("one<br>two &amp; &quot;three&quot;"), "{html}");

    world.deliver("hook", &lead, None).await.unwrap();
    let got = world.receiver.take().remove(0);
    assert_eq!(got.json()["data"]["last_name"], lead.person.last_name);
}

#[tokio::test]
async fn a_person_of_whom_nothing_is_known_is_a_lead_too() {
    let world = World::new().await;
    let mut lead = lead();
    lead.person = Person::default();
    (lead.offer, lead.offer_title, lead.action, lead.description) = Default::default();
    for name in CRMS.into_iter().chain(["hook", "mail"]) {
        world.deliver(name, &lead, None).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(world.record("dynamics").fields["subject"], "Lead from the marketplace");
    let record = world.record("salesforce");
    assert_eq!((&record.fields["LastName"], &record.fields["Company"]), (&json!("unknown"), &json!("unknown")));
    assert!(!record.fields.contains_key("Email"));
    assert_eq!(world.record("hubspot").fields.len(), 0);
    assert!(world.receiver.take()[0].json()["data"].get("email").is_none());
    assert_eq!(world.mail.take()[0].header("subject"), "Lead");
}

#[tokio::test]
async fn what_stands_in_for_a_blank_never_replaces_what_sales_has_found_out() {
    let world = World::new().await;
    let mut found_out = lead();
    let mut lead = found_out.clone();
    lead.person.company.clear();
    let before = world.deliver("salesforce", &lead, None).await.unwrap();
    assert_eq!(world.record("salesforce").fields["Company"], "unknown");
    // Somebody of sales writes it there.
    found_out.person.company = "Contoso of sales".into();
    world.deliver("salesforce", &found_out, Some(&before)).await.unwrap();
    lead.revision = 2;
    world.deliver("salesforce", &lead, Some(&before)).await.unwrap();
    assert_eq!(world.record("salesforce").fields["Company"], "Contoso of sales");
    // Deleted there, it is made again as a new one is.
    world.simulator.crm_clear();
    world.deliver("salesforce", &lead, Some(&before)).await.unwrap();
    assert_eq!(world.record("salesforce").fields["Company"], "unknown");
}

#[tokio::test]
async fn values_are_made_to_fit_and_an_address_that_is_none_is_left_out() {
    let world = World::new().await;
    let mut lead = lead();
    for text in [&mut lead.person.last_name, &mut lead.person.company, &mut lead.person.phone, &mut lead.description] {
        *text = "😀".repeat(20_000);
    }
    lead.person.email = "ada at contoso".into();
    for name in CRMS {
        world.deliver(name, &lead, None).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(world.record("salesforce").fields["LastName"], "😀".repeat(40));
    assert!(!world.record("dynamics").fields.contains_key("emailaddress1"));
    assert!(!world.record("hubspot").fields.contains_key("email"));
}

#[tokio::test]
async fn that_somebody_must_not_be_contacted_is_said_and_never_taken_back() {
    let world = World::new().await;
    let mut lead = lead();
    lead.do_not_contact = true;
    for name in CRMS.into_iter().chain(["hook", "mail"]) {
        world.deliver(name, &lead, None).await.unwrap();
    }
    lead.do_not_contact = false;
    for name in ["dynamics", "salesforce"] {
        world.deliver(name, &lead, None).await.unwrap();
    }
    let record = world.record("dynamics").fields;
    assert!(["donotemail", "donotphone", "donotbulkemail"].iter().all(|name| record[*name] == true), "{record:?}");
    assert_eq!(world.record("salesforce").fields["HasOptedOutOfEmail"], true);
    let message = world.record("hubspot").fields["message"].to_string();
    assert!(message.contains("DO NOT CONTACT") && message.contains("wants a trial"), "{message}");
    assert!(world.record("teams").fields["card"].to_string().contains("DO NOT CONTACT"));
    assert_eq!(world.receiver.take()[0].json()["data"]["do_not_contact"], true);
    let mail = world.mail.take().remove(0);
    assert_eq!(mail.header("subject"), "[Do not contact] Lead: MediaGenie");
    assert!(
        mail.part("text/plain").trim_start().starts_with("DO NOT CONTACT")
            && mail.part("text/html").contains("<strong>DO NOT CONTACT")
    );
}

#[tokio::test]
async fn a_mapping_of_ones_own_decides_which_fields_there_are() {
    let world = World::with(|entry| {
        entry["mapping"] = match entry["kind"].as_str().unwrap() {
            "dynamics" => json!({"subject": "Azure {{{offer}}}", "leadsourcecode": 8, "mobilephone": "{phone}", "telephone1": null}),
            "salesforce" => json!({"Rating": "Hot", "HasOptedOutOfEmail": null, "DoNotCall": null}),
            "hubspot" => json!({"hs_lead_status": "NEW", "message": null}),
            "webhook" => json!({"n": "{arrivals}"}),
            "email" => json!({"subject": "New: {company}"}),
            _ => json!({"title": "{company}", "Lead": "{id}"}),
        };
    })
    .await;
    let lead = lead();
    for name in CRMS.into_iter().chain(["hook", "mail"]) {
        world.deliver(name, &lead, None).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let record = world.record("dynamics").fields;
    assert_eq!((&record["subject"], &record["leadsourcecode"]), (&json!("Azure {mediagenie}"), &json!(8)));
    assert!(record.contains_key("mobilephone") && !record.contains_key("telephone1"));
    assert_eq!(world.record("salesforce").fields["Rating"], "Hot");
    assert_eq!(world.record("hubspot").fields["hs_lead_status"], "NEW");
    assert_eq!(world.receiver.take()[0].json()["data"]["n"], 1);
    assert_eq!(world.mail.take()[0].header("subject"), "New: Contoso");
    assert!(world.record("teams").fields["card"].to_string().contains(lead.id.as_str()));
}

#[tokio::test]
async fn a_system_that_is_busy_or_failing_gets_the_lead_later() {
    let world = World::new().await;
    let (lead, faults) = (lead(), world.simulator.faults());
    for name in CRMS {
        for (status, wait, seconds) in [
            (429, Some("7"), Some(7)),
            (429, Some("Mon, 02 Mar 2026 09:02:00 GMT"), Some(120)),
            (429, None, None),
            (500, None, None),
            (503, Some("30"), Some(30)),
            (408, None, None),
        ] {
            faults.crm_fail_next(1, status, None, wait);
            later(world.deliver(name, &lead, None).await, seconds);
        }
        assert_eq!(world.records(name), [], "{name}");
        world.deliver(name, &lead, None).await.unwrap();
    }
    for (name, status, code) in [
        ("salesforce", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("salesforce", 400, "UNABLE_TO_LOCK_ROW"),
        ("salesforce", 400, "DUPLICATE_VALUE"),
        ("dynamics", 412, "0x80040237"),
    ] {
        faults.crm_fail_next(1, status, Some(code), None);
        later(world.deliver(name, &lead, None).await, None);
    }
    faults.crm_fail_next(1, 429, Some("DAILY"), None);
    later(world.deliver("hubspot", &lead, None).await, Some(3600));
    faults.token_endpoint_down(true);
    world.clock.advance(SignedDuration::from_hours(2));
    for name in ["dynamics", "salesforce"] {
        later(world.deliver(name, &lead, None).await, None);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_try_again_that_finds_the_first() {
    let world = World::new().await;
    let lead = lead();
    for name in ["dynamics", "salesforce", "hubspot"] {
        world.simulator.faults().crm_cut_next(1);
        later(world.deliver(name, &lead, None).await, None);
        world.deliver(name, &lead, None).await.unwrap();
        assert_eq!(world.record(name).writes, 2, "{name}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_try_again() {
    let world = World::with(|entry| match entry["kind"].as_str().unwrap() {
        "email" => entry["port"] = 9.into(),
        "teams" => entry["key"] = "nobody".into(),
        "webhook" => {}
        "dynamics" => entry["authority"] = "http://127.0.0.1:9".into(),
        _ => entry["url"] = "http://127.0.0.1:9".into(),
    })
    .await;
    for name in CRMS.into_iter().chain(["mail"]) {
        later(world.deliver(name, &lead(), None).await, None);
    }
}

#[tokio::test]
async fn a_token_is_kept_and_replaced_once_when_it_is_refused() {
    let world = World::new().await;
    let lead = lead();
    let counts = |name: &str| {
        (
            world.simulator.request_count(&format!("crm.{name}.token")),
            world.simulator.request_count(&format!("crm.{name}")),
        )
    };
    for name in ["dynamics", "salesforce"] {
        world.deliver(name, &lead, None).await.unwrap();
        world.deliver(name, &lead, None).await.unwrap();
        assert_eq!(counts(name), (1, 2), "{name}");
        world.simulator.crm_revoke_tokens();
        world.deliver(name, &lead, None).await.unwrap();
        assert_eq!(counts(name), (2, 4), "{name}");
        world.simulator.faults().crm_fail_next(9, 403, Some("0x80040220"), None);
        refused(world.deliver(name, &lead, None).await, "403 (0x80040220)");
        assert_eq!(counts(name), (3, 6), "{name}");
        world.simulator.faults().crm_fail_next(0, 0, None, None);
        world.clock.advance(SignedDuration::from_hours(2));
        world.deliver(name, &lead, None).await.unwrap();
        assert_eq!(counts(name), (4, 7), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_what_to_do() {
    let world = World::with(|entry| {
        if entry["kind"] != "teams" {
            entry["key"] = "wrong".into();
        }
    })
    .await;
    let lead = lead();
    refused(
        world.deliver("dynamics", &lead, None).await,
        "gives no token: 401 (invalid_client); check client_id, the key",
    );
    refused(world.deliver("salesforce", &lead, None).await, "gives no token: 400 (invalid_client)");
    refused(world.deliver("hubspot", &lead, None).await, "401 (INVALID_AUTHENTICATION); check the private app's token");
    refused(world.deliver("mail", &lead, None).await, "535; check user and the key");
}

#[tokio::test]
async fn a_field_that_is_unknown_there_is_named_and_the_person_is_not() {
    let world = World::with(|entry| {
        entry["mapping"] = match entry["kind"].as_str().unwrap() {
            "dynamics" => json!({"new_colour": "{last_name}"}),
            "salesforce" => json!({"Colour__c": "{last_name}"}),
            "hubspot" => json!({"colour": "{last_name}"}),
            _ => return,
        };
    })
    .await;
    let lead = lead();
    refused(world.deliver("dynamics", &lead, None).await, "400 (0x80048d19); check the mapping of new_colour");
    refused(world.deliver("salesforce", &lead, None).await, "400 (INVALID_FIELD); check the mapping of Colour__c");
    refused(world.deliver("hubspot", &lead, None).await, "400 (VALIDATION_ERROR); check the mapping of colour");
    for (code, help) in [("DUPLICATES_DETECTED", "duplicate rule"), ("CANNOT_UPDATE_CONVERTED_LEAD", "converted")] {
        world.simulator.faults().crm_fail_next(1, 400, Some(code), None);
        refused(world.deliver("salesforce", &lead, None).await, help);
    }
}

#[tokio::test]
async fn an_external_id_field_that_is_missing_is_named() {
    let world = World::with(|entry| {
        if entry["kind"] == "salesforce" {
            entry["external_id"] = "Azure_Id__c".into();
        }
    })
    .await;
    refused(world.deliver("salesforce", &lead(), None).await, "404 (NOT_FOUND); check the mapping of Azure_Id__c");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let world = World::new().await;
    for name in CRMS {
        for status in [301, 302, 307, 308] {
            world.simulator.faults().crm_fail_next(1, status, None, None);
            refused(world.deliver(name, &lead(), None).await, "redirects are not followed");
        }
    }
    world.receiver.answer(307, &[("location", "https://evil.example/")], "");
    refused(world.deliver("hook", &lead(), None).await, "redirects are not followed");
}

#[tokio::test]
async fn a_webhook_is_signed_and_its_id_tells_a_repeat_from_a_change() {
    let world = World::new().await;
    let mut lead = lead();
    for _ in 0..2 {
        assert_eq!(world.deliver("hook", &lead, None).await.unwrap(), Receipt::default());
    }
    lead.revision = 2;
    lead.test = true;
    world.deliver("hook", &lead, None).await.unwrap();
    let got = world.receiver.take();
    assert!(got.iter().all(|got| got.path == "/leads" && got.is_signed_with(WEBHOOK_KEY)));
    assert_eq!(got[0].body, got[1].body);
    let ids: Vec<&str> = got.iter().map(|got| got.header("webhook-id")).collect();
    assert_eq!(ids, [format!("{}_1", lead.id), format!("{}_1", lead.id), format!("{}_2", lead.id)]);
    assert_eq!(got[0].header("webhook-timestamp"), first_day().as_second().to_string());
    let body = got[2].json();
    assert_eq!((&body["type"], &body["timestamp"]), (&json!("lead"), &json!("2026-03-02T08:00:00Z")));
    let data = &body["data"];
    assert_eq!(
        (&data["revision"], &data["test"], &data["email"]),
        (&json!(2), &json!(true), &json!("ada@contoso.example"))
    );

    for (status, headers, seconds) in [(500, vec![], None), (429, vec![("retry-after", "9")], Some(9))] {
        world.receiver.answer(status, &headers, "ada@contoso.example");
        later(world.deliver("hook", &lead, None).await, seconds);
    }
    world.receiver.answer(401, &[], "ada@contoso.example");
    refused(world.deliver("hook", &lead, None).await, "401; the receiver refuses us");
}

#[tokio::test]
async fn a_mail_says_what_is_known_and_its_id_tells_a_repeat_from_a_change() {
    let world = World::new().await;
    let mut lead = lead();
    for _ in 0..2 {
        assert_eq!(world.deliver("mail", &lead, None).await.unwrap(), Receipt::default());
    }
    (lead.revision, lead.test) = (2, true);
    world.deliver("mail", &lead, None).await.unwrap();
    let mails = world.mail.take();
    assert_eq!(mails[0].text, mails[1].text);
    let ids: Vec<String> = mails.iter().map(|mail| mail.header("message-id")).collect();
    let id = |revision| format!("<{}.{revision}@mediagenie.example>", lead.id);
    assert_eq!(ids, [id(1), id(1), id(2)]);
    assert_eq!(mails[0].header("references"), mails[2].header("references"));
    assert_eq!(mails[0].header("auto-submitted"), "auto-generated");
    assert_eq!(mails[0].header("date"), "Mon, 02 Mar 2026 09:00:00 +0000");
    assert_eq!(
        (mails[0].header("subject"), mails[2].header("subject")),
        ("Lead: MediaGenie".into(), "[Test] Lead: MediaGenie".into())
    );
    let plain = mails[0].part("text/plain");
    for text in ["First name: Ada", "E-mail: ada@contoso.example", "Company: Contoso", "Description: wants a trial"] {
        assert!(plain.contains(text), "{text}: {plain}");
    }
}

#[tokio::test]
async fn a_mail_server_that_is_busy_gets_the_mail_later_and_one_that_refuses_it_does_not() {
    let world = World::new().await;
    for (verb, answer) in
        [("MAIL", "451 4.3.0 ada@contoso.example later"), ("RCPT", "450 4.2.0 busy"), ("DATA", "421 4.3.2 closing")]
    {
        world.mail.answer(verb, answer);
        later(world.deliver("mail", &lead(), None).await, None);
    }
    for (verb, answer, with) in
        [("RCPT", "550 5.1.1 ada@contoso.example unknown", "550; check from and to"), ("MAIL", "553 5.1.8 no", "553")]
    {
        world.mail.answer(verb, answer);
        refused(world.deliver("mail", &lead(), None).await, with);
    }
    assert!(world.mail.take().is_empty());
}

#[tokio::test]
async fn a_mail_is_never_sent_without_the_protection_that_was_asked_for() {
    for (tls, is_later) in [("starttls", false), ("tls", true)] {
        let world = World::with(|entry| {
            if entry["kind"] == "email" {
                entry["tls"] = tls.into();
            }
        })
        .await;
        let outcome = world.deliver("mail", &lead(), None).await;
        if is_later {
            later(outcome, None);
        } else {
            refused(outcome, "does not offer the TLS or the sign-in");
        }
        assert!(world.mail.take().is_empty());
    }
}

#[tokio::test]
async fn what_the_simulated_systems_hold_can_be_seen() {
    let world = World::new().await;
    world.deliver("dynamics", &lead(), None).await.unwrap();
    let address = world.simulator.crm_config().dynamics_url.replace("/crm/dynamics", "/simulator/crm");
    let seen: Value = outbound::client().unwrap().get(address).send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["records"][0]["fields"]["firstname"], "Ada");
}
