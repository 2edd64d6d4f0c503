//! Leads: from Microsoft's request to the systems of sales, each person once and none lost.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::SignedDuration;
use mediagenie::callbacks::Owner;
use mediagenie::foundation::ids::LeadId;
use mediagenie::leads::destinations::DeliveryError;
use mediagenie::leads::{
    self, Actor, ArrivalState, Detail, Entry, Filter, ForwardState, Kind, Listed, Reason, Status, What, Why,
};
use serde_json::{Value, json};

use crate::callbacks::endpoint;
use crate::support::app::TestApp;
use crate::support::destination::{Stub, later};
use crate::support::gate::Act;
use crate::support::receiver::Receiver;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The product with an address for leads of one offer.
pub struct World {
    pub app: TestApp,
    pub crm: Stub,
    address: String,
}

impl World {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let crm = Stub::default();
        let app = TestApp::forwarding_to(&crm, settings).await;
        let address = leads::create_address(&app.host.app, "media-genie", "Media Genie").await.unwrap();
        let address = leads::url(&app.host.app, &address.keys[0].key);
        Self { app, crm, address }
    }

    pub async fn post(&self, body: impl Into<reqwest::Body>) -> (u16, Value) {
        post(&self.address, body).await
    }

    /// A lead arrives and is worked on.
    pub async fn lead(&self, body: &Value) -> LeadId {
        let (status, answer) = self.post(body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        self.work().await;
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    /// Works on what is visible in a second.
    pub async fn work(&self) {
        self.app.clock.advance(SignedDuration::from_secs(1));
        self.drain().await;
    }

    /// Works on what is visible, and on what that leads to.
    pub async fn drain(&self) {
        while self.app.drain().await > 0 {}
    }

    /// The same with sixteen workers at a time.
    async fn crowd(&self) {
        while join_all((0..16).map(|_| self.app.drain())).await.iter().sum::<usize>() > 0 {}
    }

    /// Lets time pass with all timers until nothing is left to do.
    pub async fn settle(&self) {
        for _ in 0..12 {
            self.app.clock.advance(MINUTE * 5);
            self.app.fire("ReviveLeads").await;
            self.app.fire("ReviveCallbacks").await;
            self.drain().await;
        }
    }

    pub async fn list(&self, filter: &Filter) -> Vec<Listed> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = leads::leads(&self.app.host.app, filter, after.as_deref(), 7).await.unwrap();
            all.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return all;
            }
        }
    }

    /// The only lead.
    pub async fn only(&self) -> Detail {
        let list = self.list(&Filter::default()).await;
        assert_eq!(list.len(), 1, "{list:?}");
        self.detail(&list[0].id).await
    }

    pub async fn detail(&self, id: &LeadId) -> Detail {
        leads::lead(&self.app.host.app, id).await.unwrap()
    }
}

async fn post(address: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.post(address).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub fn ann() -> Value {
    json!({
        "UserDetails": { "FirstName": "Ann", "LastName": "Lee", "Email": "ann@contoso.com", "Phone": "", "Country": "US",
                         "Company": "Contoso", "Title": "CTO" },
        "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": "Media Genie", "Description": "" })
}

/// The same with another value somewhere.
pub fn ann_with(path: &str, value: &str) -> Value {
    let mut body = ann();
    *body.pointer_mut(path).unwrap() = value.into();
    body
}

pub fn staff() -> Actor {
    Actor { id: "b2f1".into(), name: "Sam Seller".into() }
}

#[tokio::test]
async fn a_lead_is_kept_as_it_came_listed_and_forwarded() {
    let world = World::start().await;
    let arrival = world.lead(&ann()).await;
    let lead = world.only().await;
    assert_eq!(lead.record.lead.person.email, "ann@contoso.com");
    assert_eq!(
        (lead.record.lead.offer.as_str(), lead.record.lead.offer_title.as_str()),
        ("media-genie", "Media Genie")
    );
    assert_eq!((lead.record.lead.arrivals, lead.record.lead.revision, lead.kind), (1, 1, Kind::Real));
    assert_eq!(lead.arrivals[0].id, arrival);
    assert_eq!(lead.arrivals[0].raw.bytes(), ann().to_string().into_bytes());
    let (told, before) = world.crm.take().remove(0);
    assert_eq!((told, before), (lead.record.lead, None));
    assert_eq!((lead.forwards[0].state, lead.forwards[0].sent_revision), (ForwardState::Sent, 1));
    assert!(matches!(&lead.history[..], [forwarded, arrived]
        if matches!(forwarded.what, What::Forwarded { .. }) && matches!(arrived.what, What::Arrived { .. })));
}

#[tokio::test]
async fn whoever_does_not_know_the_address_learns_nothing() {
    let world = World::start().await;
    let app = &world.app.host.app;
    for wrong in ["x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "%00", "%F0%9F%8E%89", "..%2F.."] {
        let (status, answer) = post(&world.app.url(&format!("/marketplace/leads/{wrong}")), ann().to_string()).await;
        assert_eq!((status, answer["code"].as_str()), (404, Some("not_found")), "{wrong}");
    }
    assert_eq!(post(&format!("{}/", world.address), ann().to_string()).await.0, 200, "a slash at the end does no harm");
    // A new key; the old one for a week, and no third one.
    let second = leads::rotate_address(app, "media-genie").await.unwrap();
    let second = leads::url(app, &second.keys[1].key);
    assert_eq!(post(&world.address, "1").await.0, 200);
    assert_eq!(post(&second, "2").await.0, 200);
    let third = leads::rotate_address(app, "media-genie").await.unwrap();
    assert_eq!(third.keys.len(), 2);
    assert_eq!((post(&world.address, "3").await.0, post(&second, "3").await.0), (404, 200));
    world.app.clock.advance(HOUR * 24 * 7);
    assert_eq!(post(&second, "4").await.0, 404);
    let third = leads::url(app, &third.keys[1].key);
    assert_eq!(post(&third, "4").await.0, 200);
    assert_eq!(leads::create_address(app, "media-genie", "").await.unwrap_err().code, "address_exists");
    assert_eq!(leads::create_address(app, "../x", "").await.unwrap_err().code, "invalid_offer");
    leads::remove_address(app, "media-genie").await.unwrap();
    assert_eq!(post(&third, "5").await.0, 404);
    assert!(leads::addresses(app).await.unwrap().is_empty());
    world.work().await;
}

#[tokio::test]
async fn a_replayed_delivery_is_the_same_arrival_and_a_later_one_is_another() {
    let world = World::start().await;
    let first = world.lead(&ann()).await;
    // Across the border of a span, too.
    for _ in 0..9 {
        world.app.clock.advance(MINUTE);
        assert_eq!(world.lead(&ann()).await, first);
    }
    world.app.clock.advance(MINUTE * 2);
    assert_ne!(world.lead(&ann()).await, first);
    let lead = world.only().await;
    assert_eq!((lead.record.lead.arrivals, lead.record.lead.revision, lead.arrivals.len()), (2, 1, 2));
    assert_eq!(world.crm.take().len(), 1, "nothing shows that changed");
}

#[tokio::test]
async fn what_is_known_later_fills_the_blanks_and_goes_to_the_same_place() {
    let world = World::start().await;
    world.lead(&ann()).await;
    let mut newer = ann_with("/UserDetails/Phone", "16175555555");
    newer["UserDetails"]["FirstName"] = "Anna".into();
    newer["UserDetails"]["Email"] = " ANN@contoso.com".into();
    world.lead(&newer).await;
    let lead = world.only().await.record.lead;
    assert_eq!((lead.person.phone.as_str(), lead.person.first_name.as_str()), ("16175555555", "Ann"));
    assert_eq!((lead.arrivals, lead.revision), (2, 2));
    let told = world.crm.take();
    assert_eq!(told.iter().map(|(lead, _)| lead.revision).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(told[1].1.as_ref().unwrap().id, format!("crm-{}", lead.id));
    // Another action is another lead, and so is the same one after a day without any.
    world.lead(&ann_with("/ActionCode", "PLT")).await;
    world.app.clock.advance(HOUR * 25);
    world.lead(&ann()).await;
    assert_eq!(world.list(&Filter::default()).await.len(), 3);
}

#[tokio::test]
async fn whatever_comes_is_taken_and_what_is_no_lead_says_why() {
    let world = World::start().await;
    let long = "x".repeat(100_000);
    for (body, reason) in [
        (b"rubbish \xff\xfe\x00".to_vec(), Some(Reason::NotJson)),
        (Vec::new(), Some(Reason::NotJson)),
        (b"[]".to_vec(), Some(Reason::NotAnObject)),
        (b"{}".to_vec(), Some(Reason::NoPerson)),
        (json!({ "UserDetails": { "FirstName": 5, "Email": null } }).to_string().into_bytes(), None),
        (ann_with("/UserDetails/LastName", "<script>alert(1)</script>").to_string().into_bytes(), None),
        (ann_with("/Description", &long).to_string().into_bytes(), None),
        (ann_with("/UserDetails/FirstName", "王芳 🎉").to_string().into_bytes(), None),
    ] {
        let (status, answer) = world.post(body.clone()).await;
        assert_eq!(status, 200, "{answer}");
        world.work().await;
        let id = answer["id"].as_str().unwrap().parse().unwrap();
        let arrival = leads::arrival(&world.app.host.app, &id).await.unwrap();
        let expected = reason.map_or(ArrivalState::Taken, |reason| ArrivalState::Quarantined { reason });
        assert_eq!((arrival.state, arrival.raw.bytes()), (expected, body));
    }
    let quarantined = Filter { kind: Some(Kind::Quarantined), ..Filter::default() };
    assert_eq!(world.list(&quarantined).await.len(), 4);
    assert_eq!(world.list(&Filter::default()).await.len(), 6, "three of Ann are one");
    let ann = Filter { text: "ann@".into(), ..Filter::default() };
    assert_eq!(world.detail(&world.list(&ann).await[0].id).await.record.lead.description.len(), 32_000);
    let (status, answer) = world.post(vec![b' '; 300 * 1024]).await;
    assert_eq!((status, answer["code"].as_str()), (413, Some("body_too_large")));
    assert!(answer["title"].as_str().unwrap().contains("256 KiB"));
    assert_eq!(world.post(vec![0xff; 256 * 1024]).await.0, 200, "as much as may be");
    world.work().await;
}

#[tokio::test]
async fn partner_centers_test_is_known_and_a_forged_mark_hides_nobody() {
    let world = World::start().await;
    let test = json!({
        "userDetails": { "FirstName": "MSFT_TEST_636573304831318844", "LastName": "MSFT_TEST_636573304831318844",
                         "Email": "MSFT_TEST_636573304831318844@test.com", "Phone": "1234567890", "Country": "US",
                         "Company": "MSFT_TEST_636573304831318844", "Title": "MSFT_TEST_636573304831318844" },
        "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": "Media Genie",
        "Description": "MSFT_TEST_636573304831318844" });
    world.lead(&test).await;
    assert_eq!((world.only().await.kind, world.crm.take().len()), (Kind::Test, 0));
    let id = world.only().await.record.lead.id;
    let refused = leads::resend(&world.app.host.app, &id, Stub::NAME, &staff()).await.unwrap_err();
    assert_eq!(refused.code, "not_forwarded");
    for (path, mark) in [
        ("/UserDetails/FirstName", "MSFT_TEST_1"),
        ("/Description", "MSFT_TEST_1 MSFT_TEST_1@test.com"),
        ("/UserDetails/Email", "MSFT_TEST_1@test.com.contoso.com"),
    ] {
        world.app.clock.advance(HOUR * 48);
        world.lead(&ann_with(path, mark)).await;
        assert_eq!(world.crm.take().len(), 1, "{path}");
    }
}

#[tokio::test]
async fn who_is_not_to_be_contacted_is_shown_and_not_forwarded_and_marks_their_other_leads() {
    let world = World::start().await;
    world.lead(&ann()).await;
    world.lead(&ann_with("/ActionCode", "DNC")).await;
    let dnc = Filter { kind: Some(Kind::DoNotContact), ..Filter::default() };
    assert_eq!(world.list(&dnc).await.len(), 1);
    let told = world.crm.take();
    assert_eq!(
        told.iter().map(|(lead, _)| (lead.action.as_str(), lead.do_not_contact)).collect::<Vec<_>>(),
        [("INS", false), ("INS", true)]
    );
    // Those that come later carry it, too; those of somebody else do not.
    world.lead(&ann_with("/ActionCode", "PLT")).await;
    assert!(world.crm.take().last().unwrap().0.do_not_contact);
    world.lead(&ann_with("/UserDetails/Email", "bob@contoso.com")).await;
    assert!(!world.crm.take().last().unwrap().0.do_not_contact);
}

#[tokio::test]
async fn the_publishers_systems_hear_of_a_new_lead_once_and_nothing_of_the_person() {
    let receiver = Receiver::start().await;
    let world = World::with(&[("FETCH_PRIVATE_HOSTS", &receiver.host)]).await;
    endpoint(&world.app, &Owner::Publisher, &receiver.url("/hook"), &["lead.arrived"]).await;
    world.lead(&ann()).await;
    world.lead(&ann_with("/UserDetails/Phone", "1")).await;
    world.lead(&ann_with("/ActionCode", "DNC")).await;
    world.lead(&ann_with("/UserDetails/Email", "MSFT_TEST_1@test.com")).await;
    let got = receiver.take();
    assert_eq!(got.len(), 1);
    let told = got[0].json();
    let fields: Vec<_> = told["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["action", "first", "lead", "offer", "source"]);
    assert!(!told.to_string().contains("contoso") && !told.to_string().contains("Ann"));
}

#[tokio::test]
async fn a_destination_that_fails_is_tried_ever_later_and_gets_the_newest_state_in_the_end() {
    let world = World::start().await;
    world.crm.always(Some(later(None)));
    world.lead(&ann()).await;
    assert_eq!(world.crm.take().len(), 1);
    for wait in [5, 60, 300, 1800, 7200, 28_800, 43_200, 43_200] {
        let forward = world.only().await.forwards.remove(0);
        let (left, wait) = (forward.due.duration_since(world.app.now()), SignedDuration::from_secs(wait));
        assert!(left >= wait && left <= wait + wait / 10, "{wait:?}: {left:?}");
        world.app.clock.advance(left - SignedDuration::from_secs(1));
        world.app.fire("ReviveLeads").await;
        world.drain().await;
        assert_eq!(world.crm.take().len(), 0, "too early after {wait:?}");
        world.app.clock.advance(SignedDuration::from_secs(1));
        world.drain().await;
        assert_eq!(world.crm.take().len(), 1, "not tried after {wait:?}");
    }
    // What changes meanwhile waits for the next try.
    world.lead(&ann_with("/ActionCode", "DNC")).await;
    assert_eq!(world.crm.take().len(), 0);
    world.crm.always(None);
    world.app.clock.advance(HOUR * 14);
    world.drain().await;
    let told = world.crm.take();
    assert_eq!((told.len(), told[0].0.do_not_contact, told[0].0.revision), (1, true, 2));
    world.app.fire("ReviveLeads").await;
    assert_eq!(world.app.waiting().await, 0);
}

#[tokio::test]
async fn a_refused_lead_waits_for_somebody_and_what_is_given_up_can_be_sent_again() {
    let world = World::start().await;
    let app = &world.app.host.app;
    world.crm.fail(DeliveryError::Refused { said: "the field `industry` is required".into() });
    world.lead(&ann()).await;
    world.settle().await;
    let lead = world.only().await;
    assert_eq!((world.crm.take().len(), lead.forwards[0].state), (1, ForwardState::NeedsAttention));
    assert_eq!(lead.forwards[0].attempts[0].error.as_deref(), Some("the field `industry` is required"));
    let id = lead.record.lead.id;
    world.lead(&ann_with("/UserDetails/Phone", "16175555555")).await;
    assert_eq!(world.only().await.record.lead.revision, 2);
    assert_eq!(world.crm.take().len(), 0, "no change makes it better");
    leads::resend(app, &id, Stub::NAME, &staff()).await.unwrap();
    world.drain().await;
    assert_eq!(world.crm.take()[0].0.person.phone, "16175555555");
    leads::resend(app, &id, Stub::NAME, &staff()).await.unwrap();
    world.drain().await;
    assert_eq!(world.crm.take().len(), 1, "also what it has already");
    assert_eq!(leads::resend(app, &id, "nowhere", &staff()).await.unwrap_err().code, "destination_not_found");
    // Two weeks of failures, and it is given up.
    world.crm.always(Some(later(Some(60))));
    world.lead(&ann_with("/Description", "It is urgent.")).await;
    for _ in 0..15 * 24 {
        world.app.clock.advance(HOUR);
        world.drain().await;
    }
    let lead = world.only().await;
    assert_eq!(lead.forwards[0].state, ForwardState::GivenUp);
    assert!(matches!(lead.history[0].what, What::GivenUp { .. }));
    assert_eq!((world.app.waiting().await, lead.forwards[0].attempts.len()), (0, 20));
}

#[tokio::test]
async fn a_destination_that_is_gone_is_given_up_without_a_try() {
    let world = World::start().await;
    world.crm.always(Some(later(None)));
    world.lead(&ann()).await;
    let id = world.only().await.record.lead.id;
    // Restarted without it.
    let app = world.app.restart().await;
    app.clock.advance(MINUTE * 15);
    app.fire("ReviveLeads").await;
    app.drain().await;
    let lead = leads::lead(&app.host.app, &id).await.unwrap();
    assert_eq!((lead.forwards[0].state, world.crm.take().len()), (ForwardState::GivenUp, 1));
    assert_eq!(
        leads::resend(&app.host.app, &id, Stub::NAME, &staff()).await.unwrap_err().code,
        "destination_not_found"
    );
}

#[tokio::test]
async fn only_one_delivery_of_a_lead_runs_at_a_time_and_what_changed_meanwhile_follows() {
    let world = World::start().await;
    world.crm.wait();
    let (status, _) = world.post(ann().to_string()).await;
    assert_eq!(status, 200);
    world.app.clock.advance(SignedDuration::from_secs(1));
    let first = async { world.drain().await };
    let meanwhile = async {
        world.crm.arrived().await;
        world.lead(&ann_with("/UserDetails/Phone", "16175555555")).await;
        let id = world.only().await.record.lead.id;
        // Messages that come twice find somebody at it.
        let message = json!({ "lead": id, "destination": Stub::NAME }).to_string();
        world.app.host.app.queues.send("lead-forwards", &message, std::time::Duration::ZERO).await.unwrap();
        world.app.drain().await;
        assert_eq!(world.crm.take().len(), 1);
        assert_eq!(leads::resend(&world.app.host.app, &id, Stub::NAME, &staff()).await.unwrap_err().code, "being_sent");
        world.crm.go();
    };
    tokio::join!(first, meanwhile);
    world.drain().await;
    let told = world.crm.take();
    assert_eq!(told.iter().map(|(lead, _)| lead.revision).collect::<Vec<_>>(), [2]);
    assert!(told[0].1.is_some(), "it knows what the first one made");
}

#[tokio::test]
async fn people_work_on_a_lead_and_its_history_says_who() {
    let world = World::start().await;
    let app = &world.app.host.app;
    world.lead(&ann()).await;
    world.lead(&ann_with("/ActionCode", "PLT")).await;
    let [plt, ins] = &world.list(&Filter::default()).await[..] else { panic!() };
    world.crm.take();
    leads::set_status(app, &ins.id, Status::Contacted, &staff()).await.unwrap();
    leads::set_status(app, &ins.id, Status::Contacted, &staff()).await.unwrap();
    leads::set_owner(app, &ins.id, Some(" Sam "), &staff()).await.unwrap();
    leads::add_note(app, &ins.id, "Called; wants a demo. <b>", &staff()).await.unwrap();
    assert_eq!(leads::add_note(app, &ins.id, " ", &staff()).await.unwrap_err().code, "invalid_note");
    leads::mark_duplicate(app, &plt.id, &ins.id, &staff()).await.unwrap();
    for (id, of) in [(&ins.id, &ins.id), (&ins.id, &plt.id)] {
        assert_eq!(leads::mark_duplicate(app, id, of, &staff()).await.unwrap_err().code, "invalid_duplicate");
    }
    world.drain().await;
    let lead = world.detail(&ins.id).await;
    assert_eq!((lead.record.lead.status, lead.record.lead.owner.as_deref()), (Status::Contacted, Some("Sam")));
    let by_staff = lead.history.iter().filter(|entry| entry.actor == Some(staff())).count();
    assert_eq!(by_staff, 3);
    // A duplicate is forwarded no longer, until somebody takes it back.
    let mut newer = ann_with("/ActionCode", "PLT");
    newer["UserDetails"]["Phone"] = "16175555555".into();
    world.lead(&newer).await;
    assert_eq!((world.crm.take().len(), world.detail(&plt.id).await.kind), (0, Kind::Duplicate));
    leads::unmark_duplicate(app, &plt.id, &staff()).await.unwrap();
    world.drain().await;
    assert_eq!(world.crm.take()[0].0.person.phone, "16175555555");
    for (filter, found) in [
        (Filter { text: "contoso".into(), ..Filter::default() }, 2),
        (Filter { text: "nobody".into(), ..Filter::default() }, 0),
        (Filter { status: Some(Status::Contacted), ..Filter::default() }, 1),
        (Filter { owner: Some("Sam".into()), ..Filter::default() }, 1),
        (Filter { offer: Some("media-genie".into()), ..Filter::default() }, 2),
        (Filter { kind: Some(Kind::Real), ..Filter::default() }, 2),
        (Filter { month: Some("2026-03".into()), ..Filter::default() }, 2),
        (Filter { month: Some("2026-02".into()), ..Filter::default() }, 0),
    ] {
        assert_eq!(world.list(&filter).await.len(), found, "{filter:?}");
    }
}

#[tokio::test]
async fn what_staff_decide_is_not_forwarded_again() {
    let world = World::start().await;
    let app = &world.app.host.app;
    world.lead(&ann()).await;
    let id = world.only().await.record.lead.id;
    assert_eq!(world.crm.take().len(), 1);
    leads::set_status(app, &id, Status::Qualified, &staff()).await.unwrap();
    leads::set_owner(app, &id, Some("Sam"), &staff()).await.unwrap();
    world.settle().await;
    assert_eq!(world.crm.take(), [], "no destination can show it");
    let lead = world.only().await;
    assert_eq!((lead.record.lead.revision, lead.forwards[0].attempts.len()), (1, 1));
    for what in [What::Status { from: Status::New, to: Status::Qualified }, What::Owner { owner: Some("Sam".into()) }] {
        let by_staff = |entry: &&Entry| entry.what == what && entry.actor == Some(staff());
        assert_eq!(lead.history.iter().filter(by_staff).count(), 1, "{what:?}: {:?}", lead.history);
    }
    let line = &world.list(&Filter::default()).await[0];
    assert_eq!((line.status, line.owner.as_deref()), (Status::Qualified, Some("Sam")));
    assert_eq!(line.version, lead.record.version);
    // What a destination does show goes there as ever.
    world.lead(&ann_with("/UserDetails/Phone", "16175555555")).await;
    let told = world.crm.take();
    assert_eq!(told.iter().map(|(lead, _)| lead.revision).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_company_is_recognised_among_customers_and_corrected_by_people() {
    let world = World::start().await;
    let app = &world.app.host.app;
    let (subscription, _) = world.app.buy("team", Some(5)).await;
    world.lead(&ann_with("/UserDetails/Email", "ann@contoso.example")).await;
    let lead = world.only().await;
    assert_eq!(
        lead.companies.iter().map(|found| (found.subscription.0, found.why)).collect::<Vec<_>>(),
        [(subscription, Why::SameDomain)]
    );
    leads::set_company(app, &lead.record.lead.id, None, &staff()).await.unwrap();
    let company = world.only().await.record.company.unwrap();
    assert_eq!((company.tenant, company.by), (None, staff()));
    world.lead(&ann_with("/UserDetails/Email", "eve@gmail.com")).await;
    let eve = world.list(&Filter { text: "eve".into(), ..Filter::default() }).await;
    assert_eq!(world.detail(&eve[0].id).await.companies.first().map(|found| found.why), Some(Why::NameOfDomain));
}

#[tokio::test]
async fn a_list_goes_over_the_months_newest_first() {
    let world = World::start().await;
    for number in 0..20 {
        world.lead(&ann_with("/UserDetails/Email", &format!("p{number}@contoso.com"))).await;
        world.app.clock.advance(HOUR * 24 * 4);
    }
    let all = world.list(&Filter::default()).await;
    let emails: Vec<_> = all.iter().map(|line| line.email.clone()).collect();
    assert_eq!(emails, (0..20).rev().map(|number| format!("p{number}@contoso.com")).collect::<Vec<_>>());
    assert_eq!(leads::months(&world.app.host.app).await.unwrap(), ["2026-05", "2026-04", "2026-03"]);
    let since = all[4].began;
    assert_eq!(world.list(&Filter { since: Some(since), ..Filter::default() }).await.len(), 5);
    let (status, answer) = world.app.get_api(&format!("/api/leads?since={since}")).await;
    assert_eq!((status, answer["leads"].as_array().unwrap().len()), (200, 5), "{answer}");
    assert_eq!(answer["leads"][0]["lead"]["person"]["email"], "p19@contoso.com");
    let id = answer["leads"][0]["lead"]["id"].as_str().unwrap();
    let (status, answer) = world.app.get_api(&format!("/api/leads/{id}")).await;
    assert_eq!((status, answer["arrivals"][0]["state"].as_str()), (200, Some("taken")), "{answer}");
    assert_eq!(world.app.get_api("/api/leads/lead_x").await.0, 404);
    assert_eq!(world.app.get_api("/api/leads?since=yesterday").await.0, 400);
}

#[tokio::test]
async fn when_the_store_is_away_the_sender_is_asked_to_come_again() {
    let world = World::start().await;
    world.app.gate.next(Act::Fail, |table, _| table.0 == "LeadArrivals");
    let (status, answer) = world.post(ann().to_string()).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("store_unavailable")));
    world.lead(&ann()).await;
    assert_eq!(world.only().await.record.lead.arrivals, 1);
}

#[tokio::test]
async fn a_burst_of_leads_is_taken_whole_while_their_destination_is_busy() {
    const LEADS: usize = 1_000;
    let world = World::start().await;
    world.crm.always(Some(later(Some(60))));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let posts = (0..LEADS).map(|number| {
        let body = ann_with("/UserDetails/Email", &format!("p{number}@contoso.com")).to_string();
        let (http, address) = (http.clone(), world.address.clone());
        async move { http.post(address).body(body).send().await.unwrap().status().as_u16() }
    });
    let answers: Vec<u16> = futures_util::stream::iter(posts).buffer_unordered(32).collect().await;
    assert!(answers.iter().all(|status| *status == 200));
    world.app.clock.advance(SignedDuration::from_secs(1));
    world.crowd().await;
    assert_eq!(world.crm.take().len(), LEADS);
    world.crm.always(None);
    world.app.clock.advance(MINUTE * 2);
    world.crowd().await;
    let told: std::collections::HashSet<_> = world.crm.take().iter().map(|(lead, _)| lead.id.clone()).collect();
    assert_eq!(told.len(), LEADS);
    let real = Filter { kind: Some(Kind::Real), ..Filter::default() };
    assert_eq!(world.list(&real).await.len(), LEADS);
}

#[tokio::test]
async fn a_flood_at_one_address_is_asked_to_come_later() {
    let world = World::start().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let posts = (0..1_300).map(|_| http.post(&world.address).body(ann().to_string()).send());
    let answers: Vec<_> = futures_util::stream::iter(posts).buffer_unordered(16).collect().await;
    let refused: Vec<_> = answers.iter().flatten().filter(|answer| answer.status() == 429).collect();
    assert_eq!((answers.len(), refused.len()), (1_300, 100));
    assert!(refused.iter().all(|answer| answer.headers()["retry-after"] == "1"));
    world.work().await;
    assert_eq!(world.only().await.record.lead.arrivals, 1, "it was one lead all the time");
}
