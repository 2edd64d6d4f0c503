//! Closing a month: packages that stay, corrections that add up, and deaths that leave no half.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use mediagenie::analytics::finance::{self, CloseOrder, Who};
use mediagenie::foundation::outbound::client;
use mediagenie::simulator::Person;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::support::app::{PUBLISHER_KEY, TestApp};
use crate::support::gate::Act;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Moves the clock.
fn to(app: &TestApp, at: &str) {
    let at: Timestamp = at.parse().unwrap();
    app.clock.advance(at.duration_since(app.now()));
}

/// One subscription with usage on the last day of March that Microsoft has booked and processed, and one without any; it is
/// April.
async fn april() -> (TestApp, [Uuid; 2]) {
    let app = TestApp::start().await;
    let (first, _) = app.buy("metered", None).await;
    let (second, _) = app.buy("metered", None).await;
    to(&app, "2026-03-31T18:10:00Z");
    app.use_up(first, "a", "speech_minutes", "1500").await;
    app.clock.advance(SignedDuration::from_mins(65));
    app.fire("SubmitUsage").await;
    to(&app, "2026-04-01T01:00:00Z");
    (app, [first, second])
}

/// Usage of the last evening of March that is told in the morning.
async fn late(app: &TestApp, id: Uuid, record: &str, quantity: &str) {
    let body = json!({
        "id": record, "subscription": id, "dimension": "speech_minutes", "quantity": quantity,
        "occurred_at": "2026-03-31T22:30:00Z",
    });
    assert_eq!(app.post_usage(&body).await.0, 201);
    app.clock.advance(SignedDuration::from_mins(65));
    app.fire("SubmitUsage").await;
    app.clock.advance(SignedDuration::from_mins(65));
}

async fn close(app: &TestApp, accept_open: Option<usize>) -> (u16, Value) {
    app.post_api("/api/closes", &json!({ "month": "2026-03", "accept_open": accept_open })).await
}

pub async fn package(app: &TestApp, number: u64) -> Vec<u8> {
    let get = client().unwrap().get(app.url(&format!("/api/closes/{number}"))).bearer_auth(PUBLISHER_KEY);
    let answer = get.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

/// Files by their names; whatever is in a package keeps what its list of sums says.
pub fn opened(package: &[u8]) -> BTreeMap<String, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(package)).unwrap();
    let mut files = BTreeMap::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.insert(file.name().unwrap().into_owned(), text);
    }
    let sums = files["SHA256SUMS"].clone();
    assert_eq!(sums.lines().count(), files.len() - 1);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        assert_eq!(sum, hex(&Sha256::digest(files[name].as_bytes())), "{name}");
    }
    files
}

type Sums = BTreeMap<[String; 4], (Decimal, Decimal)>;

/// Sums by account, plan, term and currency; the numbers stand in these columns.
fn sums(csv: &str, quantity: &str, amount: &str) -> Sums {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let names = reader.headers().unwrap().clone();
    let mut sums = Sums::new();
    for record in reader.records() {
        let record = record.unwrap();
        let cell = |name: &str| record[names.iter().position(|known| known == name).unwrap()].to_owned();
        let key = ["account", "plan", "term", "currency"].map(cell);
        if key[0].is_empty() {
            continue;
        }
        let sum = sums.entry(key).or_default();
        sum.0 += Decimal::from_str(&cell(quantity)).unwrap();
        sum.1 += Decimal::from_str(&cell(amount)).unwrap();
    }
    sums
}

/// What a package came to, and its successor's corrections, are what the successor comes to.
pub fn law(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let mut sum = sums(&before["journal.csv"], "quantity", "amount");
    for (key, (quantity, amount)) in sums(&after["corrections.csv"], "quantity", "amount") {
        let known = sum.entry(key).or_default();
        *known = (known.0 + quantity, known.1 + amount);
    }
    sum.retain(|_, (quantity, amount)| !quantity.is_zero() || !amount.is_zero());
    assert_eq!(sum, sums(&after["journal.csv"], "quantity", "amount"));
}

#[tokio::test]
async fn a_later_close_holds_the_corrections_and_the_earlier_package_stays_as_it_is() {
    let (app, [_, second]) = april().await;
    let (status, first) = close(&app, None).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!((&first["number"], &first["open"], &first["corrects"]), (&json!(1), &json!(0), &Value::Null));
    let before = package(&app, 1).await;
    assert_eq!(first["sha256"], hex(&Sha256::digest(&before)));
    let files = opened(&before);
    assert!(!files.contains_key("corrections.csv"));
    assert_eq!(files["usage_events.csv"].lines().count(), 2, "{}", files["usage_events.csv"]);
    assert_eq!(files["booked_usage.csv"].lines().count(), 2);

    late(&app, second, "late", "1200").await;
    app.post_api("/api/reconciliation/2026-03/run", &json!({})).await;
    let (_, seen) = app.get_api("/api/reconciliation/2026-03").await;
    assert_eq!((&seen["changed_since_close"], &seen["close"]["number"]), (&json!(true), &json!(1)));
    let (status, next) = close(&app, None).await;
    assert_eq!(status, 201, "{next}");
    assert_eq!((&next["number"], &next["corrects"]), (&json!(2), &json!(1)));
    assert_eq!(package(&app, 1).await, before, "the first package is what it was");
    let later = opened(&package(&app, 2).await);
    law(&files, &later);
    let corrections = &later["corrections.csv"];
    assert!(corrections.contains("usage_events.csv,added,") && corrections.contains(&second.to_string()));
    assert!(!corrections.contains("removed"), "{corrections}");
    assert!(later["README.txt"].contains("Follows package 1"));

    // Nothing new, also when Microsoft is asked once more: a third package has no corrections, and the same facts letter for letter.
    app.post_api("/api/usage/read-back?day=2026-03-31", &json!({})).await;
    let (_, third) = close(&app, None).await;
    assert_eq!((&third["number"], &third["corrections"]), (&json!(3), &json!(0)));
    let again = opened(&package(&app, 3).await);
    law(&later, &again);
    assert_eq!(again["usage_events.csv"], later["usage_events.csv"]);
    let (_, list) = app.get_api("/api/closes").await;
    let numbers: Vec<u64> =
        list["closes"].as_array().unwrap().iter().map(|close| close["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 2, 1]);
}

#[tokio::test]
async fn a_month_with_open_differences_is_closed_only_with_their_number_or_when_they_are_explained() {
    let (app, [first, _]) = april().await;
    app.simulator.edit_usage_book(|book| book.retain(|entry| entry.resource != first.to_string()));
    let (status, refused) = close(&app, None).await;
    assert_eq!((status, &refused["code"]), (409, &json!("open_differences")));
    let (_, seen) = app.get_api("/api/reconciliation/2026-03?class=missing").await;
    let one = &seen["differences"][0];
    assert_eq!((&seen["open"], &one["absent"], &one["resource"]), (&json!(1), &json!("booked"), &json!(first)));
    assert_eq!((&one["hours"][0]["hour"], &one["ours"]), (&json!("2026-03-31T18"), &json!("500")));
    assert_eq!(close(&app, Some(2)).await.0, 409, "another number than was shown");
    assert_eq!(close(&app, Some(1)).await.0, 201);

    // Explained on the page, it is open no more; what it says there stands in the next package.
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get("/publisher/reconciliation?month=2026-03").await;
    let marked = staff
        .submit(&page, "/publisher/reconciliation/mark", &[("action", "mark"), ("note", "=credited, see case 7")])
        .await;
    assert_eq!(marked.status, 200);
    assert!(marked.body.contains("credited, see case 7"), "{}", marked.body);
    let (status, next) = close(&app, None).await;
    assert_eq!((status, &next["open"], &next["differences"]), (201, &json!(0), &json!(1)));
    let files = opened(&package(&app, 2).await);
    assert!(files["differences.csv"].contains("'=credited, see case 7"), "{}", files["differences.csv"]);
    // The mark is of what was seen: another quantity is open again.
    let (_, run) = app.post_api("/api/reconciliation/2026-03/run", &json!({})).await;
    assert_eq!(run["open"], 0);
}

#[tokio::test]
async fn a_month_that_is_not_over_and_one_that_is_none_are_refused() {
    let app = TestApp::start().await;
    let (status, refused) = close(&app, None).await;
    assert_eq!((status, &refused["code"]), (409, &json!("month_not_over")));
    for path in ["/api/reconciliation/2026-13", "/api/funnel/march"] {
        assert_eq!(app.get_api(path).await.1["code"], "invalid_month", "{path}");
    }
    assert_eq!(app.get_api("/api/reconciliation/2026-03").await.1["code"], "never_reconciled");
    assert_eq!(app.get_api("/api/closes/7").await.0, 404);
    assert_eq!(app.get_api("/api/closes/x").await.0, 404);
    assert_eq!(app.post_api("/api/closes", &json!({ "month": "2026-02" })).await.0, 201, "an empty month is one, too");
    assert_eq!(opened(&package(&app, 1).await)["usage_events.csv"].lines().count(), 1);
}

#[tokio::test]
async fn a_process_that_dies_at_any_write_of_a_close_leaves_no_package_or_a_whole_one() {
    let (app, [first, _]) = april().await;
    app.simulator.edit_usage_book(|book| book.retain(|entry| entry.resource != first.to_string()));
    // What Microsoft has booked is read once, so that what follows are the writes of a close.
    app.post_api("/api/reconciliation/2026-03/run", &json!({})).await;
    let by = Who { id: "api:test".into(), name: "test".into() };
    let order = CloseOrder { month: "2026-03".parse().unwrap(), accept_open: Some(1), by };
    for act in [Act::Stop, Act::Fail] {
        for stop in 0.. {
            let (writes, hits) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
            let hit = Arc::clone(&hits);
            app.gate.next(act, move |_, _| {
                let now = writes.fetch_add(1, Ordering::Relaxed) == stop;
                hit.fetch_add(usize::from(now), Ordering::Relaxed);
                now
            });
            let before = finance::closes(&app.host.app).await.unwrap().len();
            let done = tokio::select! {
                done = finance::close(&app.host.app, &order) => done.is_ok(),
                () = app.gate.arrived() => false,
            };
            app.gate.next(act, |_, _| false);
            let after = finance::closes(&app.host.app).await.unwrap();
            assert_eq!(after.len(), before + usize::from(done), "{act:?} at {stop}");
            for close in &after {
                let bytes = package(&app, close.number).await;
                assert_eq!(hex(&Sha256::digest(&bytes)), close.sha256, "{act:?} at {stop}");
                opened(&bytes);
            }
            if hits.load(Ordering::Relaxed) == 0 {
                assert!(done && stop >= 4, "{stop}");
                break;
            }
        }
    }
    // What the dead have left is gone with the next close, as far as nobody can be at work on it.
    finance::close(&app.host.app, &order).await.unwrap();
    let closes = finance::closes(&app.host.app).await.unwrap();
    let blobs = app.host.app.blobs.list("closes", "", "", 100).await.unwrap();
    assert_eq!(blobs.len(), closes.len(), "{blobs:?}");
    for (one, other) in closes.iter().rev().zip(closes.iter().rev().skip(1)) {
        law(&opened(&package(&app, one.number).await), &opened(&package(&app, other.number).await));
    }
}

#[tokio::test]
async fn two_who_close_at_once_make_one_package_after_the_other() {
    let (app, _) = april().await;
    let (one, other) = tokio::join!(close(&app, None), close(&app, None));
    let mut statuses = [one.0, other.0];
    statuses.sort_unstable();
    assert!(statuses == [201, 201] || statuses == [201, 409], "{one:?} {other:?}");
    let closes = finance::closes(&app.host.app).await.unwrap();
    for close in &closes {
        let expected = if close.number == 1 { None } else { Some(close.number - 1) };
        assert_eq!(close.corrects, expected);
        opened(&package(&app, close.number).await);
    }
}

#[tokio::test]
async fn the_same_lines_give_the_same_bytes() {
    let (one, _) = april().await;
    let (other, _) = april().await;
    for app in [&one, &other] {
        assert_eq!(close(app, None).await.0, 201);
    }
    let facts = |package: &[u8]| -> Vec<String> {
        let files = opened(package);
        files.into_iter().map(|(name, text)| format!("{name}\n{text}")).collect()
    };
    let (one, other) = (package(&one, 1).await, package(&other, 1).await);
    assert_eq!(facts(&one), facts(&other));
    assert_eq!(one, other);
}

#[tokio::test]
async fn staff_reconcile_explain_close_and_download_on_pages() {
    let (app, [first, second]) = april().await;
    app.simulator.edit_usage_book(|book| book.retain(|entry| entry.resource != first.to_string()));
    let reader = app.signed_in(&Person::staff_reader()).await;
    let never = reader.get("/publisher/reconciliation?month=2026-03").await;
    assert!(never.body.contains("never reconciled") && !never.body.contains("/publisher/reconciliation/run"));
    let staff = app.signed_in(&Person::staff_admin()).await;
    let empty = staff.get("/publisher/closes?month=2026-03").await;
    assert!(empty.body.contains("No month was closed yet"), "{}", empty.body);
    let page = staff.get("/publisher/reconciliation?month=2026-03").await;
    let page = staff.submit(&page, "/publisher/reconciliation/run", &[]).await;
    for wanted in ["Differences: 1. Not explained: 1.", "missing at Microsoft", "2026-03-31 18:00 UTC"] {
        assert!(page.body.contains(wanted), "{wanted}: {}", page.body);
    }
    // Down to the hour: the link leads to the hours of that day.
    let link = format!("/publisher/usage/resources/{first}?to=2026-04-01T00:00:00Z");
    assert!(page.body.contains(&link), "{}", page.body);
    assert!(staff.get(&link).await.body.contains("2026-03-31 18:00 UTC"));
    let refused = staff.submit(&page, "/publisher/reconciliation/mark", &[("action", "mark"), ("note", " ")]).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("The explanation is missing"));

    // The number of open differences must be accepted.
    let csrf = staff.get("/publisher/closes?month=2026-03").await.fields("/sign-out")["csrf"].clone();
    let order = |accepted: &'static str| {
        let (staff, csrf, origin) = (&staff, csrf.as_str(), app.address.as_str());
        async move {
            let fields = [("csrf", csrf), ("month", "2026-03"), ("accept_open", accepted)];
            staff.post_with("/publisher/closes", &fields, &[("origin", origin)]).await
        }
    };
    let refused = order("").await;
    assert!(refused.status == 409 && refused.body.contains("1 differences of this month"), "{}", refused.body);
    let closed = order("1").await;
    assert!(closed.body.contains("Package 1 is made"), "{}", closed.body);
    let sum = finance::closes(&app.host.app).await.unwrap().remove(0).sha256;
    assert!(closed.body.contains(&sum));
    let file = reader.get("/publisher/closes/1").await;
    assert_eq!(file.status, 200);
    // Whoever looks later is told that the month has changed.
    late(&app, second, "late", "1200").await;
    app.fire("ReconcileAnalytics").await;
    let page = reader.get("/publisher/reconciliation?month=2026-03").await;
    assert!(page.body.contains("has changed since package 1"), "{}", page.body);
    let funnel = reader.get("/publisher/funnel?month=2026-03").await;
    assert!(funnel.status == 200 && funnel.body.contains("Clicks are not people"), "{}", funnel.body);
    staff.set_cookie("mediagenie-language", "zh-Hans");
    for path in
        ["/publisher/reconciliation?month=2026-03&class=missing&open=1", "/publisher/closes", "/publisher/funnel"]
    {
        let page = staff.get(path).await;
        assert!(page.body.contains("月"), "{path}");
        assert_eq!(page.status, 200, "{path}");
    }
}
