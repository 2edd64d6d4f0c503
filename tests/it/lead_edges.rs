//! What happens at the edges of the way of a lead: arrivals that come late, people who are taken out while something is on
//! its way, and rows that nobody can read.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use mediagenie::foundation::erasure::Erasure;
use mediagenie::leads::destinations::DeliveryError;
use mediagenie::leads::{self, Filter, ForwardState};
use mediagenie::store::{Table, Write};

use crate::leads::{HOUR, World, ann, ann_with, staff};
use crate::support::destination::later;
use crate::support::gate::Act;

fn erasure() -> Erasure {
    Erasure::new("abcdef", "ann@contoso.com")
}

#[tokio::test]
async fn two_arrivals_of_long_ago_that_come_late_are_one_lead() {
    let world = World::start().await;
    world.app.clock.advance(HOUR * 24 * 20);
    world.lead(&ann()).await;
    // As a table is read: in the order of its keys, and not of its times.
    world.app.clock.advance(HOUR * -24 * 9);
    world.lead(&ann_with("/UserDetails/Phone", "1")).await;
    world.app.clock.advance(HOUR);
    world.lead(&ann_with("/UserDetails/Phone", "2")).await;
    let arrivals: Vec<_> = world.list(&Filter::default()).await.iter().map(|line| line.arrivals).collect();
    assert_eq!(arrivals, [1, 2]);
    // The newer lead stays the one for those to come.
    world.app.clock.advance(HOUR * 24 * 9);
    world.lead(&ann_with("/UserDetails/Phone", "3")).await;
    let arrivals: Vec<_> = world.list(&Filter::default()).await.iter().map(|line| line.arrivals).collect();
    assert_eq!(arrivals, [2, 2]);
}

#[tokio::test]
async fn what_was_on_its_way_when_a_person_was_taken_out_brings_nothing_of_them_back() {
    let world = World::start().await;
    world.lead(&ann()).await;
    let id = world.only().await.record.lead.id;
    // It is known which lead it belongs to, and it is not counted there yet.
    world.app.gate.next(Act::Fail, |table, _| table.0 == "Leads");
    let (_, answer) = world.post(ann_with("/UserDetails/Phone", "16175555555").to_string()).await;
    world.app.clock.advance(SignedDuration::from_secs(1));
    world.app.drain().await;
    assert_eq!(world.only().await.record.lead.arrivals, 1);
    leads::privacy::erase(&world.app.host.app, "ann@contoso.com", &erasure()).await.unwrap();
    world.settle().await;
    let lead = world.detail(&id).await;
    assert_eq!((lead.record.lead.arrivals, lead.record.lead.person.phone.as_str()), (2, ""));
    assert_eq!(lead.record.lead.person.first_name, "");
    let late = leads::arrival(&world.app.host.app, &answer["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    assert!(late.raw.bytes().is_empty(), "{late:?}");
}

#[tokio::test]
async fn a_try_that_begins_while_a_person_is_taken_out_tells_nobody() {
    let world = World::start().await;
    let claims = AtomicUsize::new(0);
    world
        .app
        .gate
        .next(Act::Stop, move |table, _| table.0 == "LeadForwards" && claims.fetch_add(1, Ordering::Relaxed) == 1);
    let (body, out) = (ann(), async {
        world.app.gate.arrived().await;
        leads::privacy::erase(&world.app.host.app, "ann@contoso.com", &erasure()).await.unwrap();
        world.app.gate.open();
    });
    tokio::join!(world.lead(&body), out);
    world.settle().await;
    assert_eq!(world.crm.take(), []);
}

#[tokio::test]
async fn a_try_that_begins_while_somebody_marks_a_duplicate_waits_until_that_is_taken_back() {
    let world = World::start().await;
    let app = &world.app.host.app;
    world.lead(&ann_with("/ActionCode", "PLT")).await;
    let other = world.only().await.record.lead.id;
    world.crm.take();
    let claims = AtomicUsize::new(0);
    world
        .app
        .gate
        .next(Act::Stop, move |table, _| table.0 == "LeadForwards" && claims.fetch_add(1, Ordering::Relaxed) == 1);
    let (body, mark) = (ann(), async {
        world.app.gate.arrived().await;
        let list = world.list(&Filter::default()).await;
        let id = list.into_iter().find(|line| line.id != other).unwrap().id;
        leads::mark_duplicate(app, &id, &other, &staff()).await.unwrap();
        world.app.gate.open();
        id
    });
    let (_, id) = tokio::join!(world.lead(&body), mark);
    world.settle().await;
    assert_eq!(world.crm.take(), []);
    leads::unmark_duplicate(app, &id, &staff()).await.unwrap();
    world.settle().await;
    assert_eq!(world.crm.take().len(), 1);
    assert_eq!(world.detail(&id).await.forwards[0].state, ForwardState::Sent);
}

#[tokio::test]
async fn a_row_that_nobody_can_read_keeps_no_other_lead_from_going_on() {
    let world = World::start().await;
    let rows = &world.app.host.app.rows;
    world.crm.always(Some(later(None)));
    for number in 0..8 {
        world.lead(&ann_with("/UserDetails/Email", &format!("{number}@contoso.com"))).await;
    }
    let mut ids: Vec<_> = world.list(&Filter::default()).await.into_iter().map(|line| line.id).collect();
    // In the order in which the timer looks at them.
    ids.sort_by_key(|id| id.as_str().chars().last());
    let whole = rows.get(Table("Leads"), ids[0].as_str(), "lead").await.unwrap().unwrap();
    let broken = vec![Write::upsert("lead", &"rubbish").unwrap()];
    rows.write(Table("Leads"), ids[0].as_str(), broken).await.unwrap();
    world.app.clock.advance(HOUR);
    let before = world.app.waiting().await;
    let function = world.app.host.functions.by_name("ReviveLeads").unwrap();
    let said = mediagenie::host::dispatch::timer(&world.app.host, function).await;
    assert_eq!(world.app.waiting().await - before, 7);
    assert!(said.is_err(), "somebody has to hear of it");
    let mended: serde_json::Value = mediagenie::store::decode(&whole).unwrap();
    let mended = vec![Write::upsert("lead", &mended).unwrap()];
    rows.write(Table("Leads"), ids[0].as_str(), mended).await.unwrap();
    world.crm.always(None);
    world.crm.take();
    world.settle().await;
    assert_eq!(world.crm.take().len(), 8);
}

#[tokio::test]
async fn a_page_that_nobody_handed_out_is_no_trouble_of_ours() {
    let world = World::start().await;
    world.lead(&ann()).await;
    for after in ["2026-03/'", "2026-03/%00", "2026-03/%ff", "'/x", "/", "2026-03/"] {
        let (status, answer) = world.app.get_api(&format!("/api/leads?page={after}")).await;
        assert!(status < 500, "{after}: {status} {answer}");
    }
}

#[tokio::test]
async fn of_two_leads_that_are_marked_as_duplicates_of_each_other_at_once_one_stays() {
    let world = World::start().await;
    let app = &world.app.host.app;
    world.lead(&ann()).await;
    world.lead(&ann_with("/ActionCode", "PLT")).await;
    let [one, two] = &world.list(&Filter::default()).await[..] else { panic!() };
    world.app.gate.next(Act::Stop, |table, _| table.0 == "Leads");
    let (staff, second) = (staff(), async {
        world.app.gate.arrived().await;
        let marked = leads::mark_duplicate(app, &two.id, &one.id, &staff()).await;
        world.app.gate.open();
        marked
    });
    let (first, second) = tokio::join!(leads::mark_duplicate(app, &one.id, &two.id, &staff), second);
    assert!(second.is_ok() && first.unwrap_err().code == "invalid_duplicate");
    assert_eq!(world.detail(&one.id).await.record.duplicate_of, None);
    assert_eq!(world.detail(&two.id).await.record.duplicate_of.as_ref(), Some(&one.id));
    world.settle().await;
}

#[tokio::test]
async fn who_has_a_lead_hears_that_nobody_may_be_contacted_although_it_refused_a_change() {
    let world = World::start().await;
    world.lead(&ann()).await;
    let refused = DeliveryError::Refused { said: "the phone is wrong".into() };
    world.crm.fail(refused.clone());
    world.lead(&ann_with("/UserDetails/Phone", "1")).await;
    let id = world.only().await.record.lead.id;
    assert_eq!(world.detail(&id).await.forwards[0].state, ForwardState::NeedsAttention);
    world.crm.take();
    world.crm.fail(refused);
    world.lead(&ann_with("/ActionCode", "DNC")).await;
    world.settle().await;
    let told = world.crm.take();
    assert!(told.len() == 1 && told[0].0.do_not_contact, "once, and not for ever: {told:?}");
    assert_eq!(world.detail(&id).await.forwards[0].state, ForwardState::NeedsAttention);
}

#[tokio::test]
async fn a_lead_of_somebody_who_must_not_be_contacted_says_so_from_its_first_write() {
    let world = World::start().await;
    world.lead(&ann_with("/ActionCode", "DNC")).await;
    world.post(ann().to_string()).await;
    world.settle().await;
    let told = world.crm.take();
    assert!(!told.is_empty() && told.iter().all(|(lead, _)| lead.do_not_contact && lead.revision == 1), "{told:?}");
}
