//! The product dies or fails at every single write on a lead's way: no lead is lost, none is counted twice, and everybody
//! knows its newest state in the end.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use mediagenie::callbacks::Owner;
use mediagenie::leads::{self, ArrivalState, Filter, ForwardState, Kind, Lead, Status};

use crate::callbacks::endpoint;
use crate::leads::{HOUR, World, ann, ann_with, staff};
use crate::support::destination::later;
use crate::support::gate::Act;
use crate::support::receiver::Receiver;

#[tokio::test]
async fn a_process_that_dies_or_fails_at_any_write_loses_no_lead_and_counts_each_arrival_once() {
    let receiver = Receiver::start().await;
    for act in [Act::Stop, Act::Fail] {
        for stop in 0.. {
            let world = World::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
            endpoint(&world.app, &Owner::Publisher, &receiver.url("/hook"), &["lead.arrived"]).await;
            world.crm.fail(later(None));
            let (writes, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let hit = Arc::clone(&hits);
            world.app.gate.next(act, move |table, _| {
                let now = table.0.starts_with("Lead") && writes.fetch_add(1, Ordering::Relaxed) == stop;
                hit.fetch_add(usize::from(now), Ordering::Relaxed);
                now
            });
            let bodies = [ann(), ann_with("/UserDetails/Phone", "16175555555")].map(|body| body.to_string());
            let life = async {
                for body in &bodies {
                    while world.post(body.clone()).await.0 != 200 {}
                    world.work().await;
                }
                world.app.clock.advance(SignedDuration::from_secs(6));
                world.drain().await;
            };
            tokio::select! {
                () = life => {}
                () = world.app.gate.arrived() => {}
            }
            // Where it ended before that write, the next one goes through.
            world.app.gate.open();
            // Whoever got no 200 comes again.
            for body in &bodies {
                while world.post(body.clone()).await.0 != 200 {}
            }
            world.settle().await;
            let lead = world.only().await;
            assert_eq!((lead.record.lead.arrivals, lead.arrivals.len()), (2, 2), "{act:?} at {stop}");
            // The one that fails is overtaken by the other, which says more already.
            let (phone, revision) = (&lead.record.lead.person.phone, lead.record.lead.revision);
            assert!(phone == "16175555555" && [1, 2].contains(&revision), "{act:?} at {stop}: {revision}");
            assert!(lead.arrivals.iter().all(|arrival| arrival.state == ArrivalState::Taken), "{act:?} at {stop}");
            let line = &world.list(&Filter::default()).await[0];
            assert_eq!((line.arrivals, line.version), (2, lead.record.version), "{act:?} at {stop}");
            let told: Vec<_> = world.crm.take().iter().map(|(lead, _)| lead.revision).collect();
            assert!(
                told.is_sorted() && told.last() == Some(&revision) && told.len() <= 6,
                "{act:?} at {stop}: {told:?}"
            );
            assert_eq!(lead.forwards[0].state, ForwardState::Sent);
            let ids: HashSet<_> = receiver.take().iter().map(|got| got.header("webhook-id").to_owned()).collect();
            assert_eq!(ids.len(), 1, "{act:?} at {stop}");
            // Nothing is open any more.
            world.app.clock.advance(HOUR);
            world.app.fire("ReviveLeads").await;
            assert_eq!(world.app.waiting().await, 0, "{act:?} at {stop}");
            if hits.load(Ordering::Relaxed) == 0 {
                assert!(stop > 20, "so few writes? {stop}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_death_while_people_and_microsoft_change_a_lead_leaves_no_one_with_an_old_state() {
    for act in [Act::Stop, Act::Fail] {
        for stop in 0.. {
            let world = World::start().await;
            world.lead(&ann()).await;
            let id = world.only().await.record.lead.id;
            let (writes, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let hit = Arc::clone(&hits);
            world.app.gate.next(act, move |table, _| {
                let now = table.0.starts_with("Lead") && writes.fetch_add(1, Ordering::Relaxed) == stop;
                hit.fetch_add(usize::from(now), Ordering::Relaxed);
                now
            });
            let dnc = ann_with("/ActionCode", "DNC").to_string();
            let life = async {
                let qualified = leads::set_status(&world.app.host.app, &id, Status::Qualified, &staff()).await;
                world.drain().await;
                while world.post(dnc.clone()).await.0 != 200 {}
                world.work().await;
                qualified.is_ok()
            };
            let qualified = tokio::select! {
                qualified = life => qualified,
                () = world.app.gate.arrived() => false,
            };
            world.app.gate.open();
            if !qualified {
                // Whoever saw no answer looks at the page, and does it again where it is not done.
                leads::set_status(&world.app.host.app, &id, Status::Qualified, &staff()).await.unwrap();
            }
            while world.post(dnc.clone()).await.0 != 200 {}
            world.settle().await;
            let lead = world.detail(&id).await.record;
            assert!(lead.lead.do_not_contact && lead.lead.status == Status::Qualified, "{act:?} at {stop}");
            let told: Vec<_> = world.crm.take().into_iter().map(|(lead, _)| lead).collect();
            assert!(told.iter().all(|told| told.id == id) && told.iter().map(|told| told.revision).is_sorted());
            // Nobody is told of the status alone.
            let shown = |lead: &Lead| Lead { status: Status::New, ..lead.clone() };
            assert_eq!(told.last().map(shown), Some(shown(&lead.lead)), "{act:?} at {stop}");
            let lines = world.list(&Filter { kind: Some(Kind::Real), ..Filter::default() }).await;
            assert_eq!((lines.len(), lines[0].version, lines[0].status), (1, lead.version, Status::Qualified));
            assert!(lines[0].do_not_contact, "{act:?} at {stop}");
            world.app.clock.advance(HOUR);
            world.app.fire("ReviveLeads").await;
            assert_eq!(world.app.waiting().await, 0, "{act:?} at {stop}");
            if hits.load(Ordering::Relaxed) == 0 {
                assert!(stop > 20, "so few writes? {stop}");
                break;
            }
        }
    }
}
