//! Recordings that are too long for a call, crashes at every step of every kind of job, and jobs whose messages fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use mediagenie::foundation::ids::SubscriptionId;
use mediagenie::simulator::{AiCall, Person};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ai_media::{png, wav};
use crate::media::{get, over, remove, seen, start, submit, upload};
use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::gate::Act;

/// Two hours and twelve minutes.
const LONG_MS: u32 = 7_920_000;

fn long() -> Vec<u8> {
    wav(1_000, LONG_MS)
}

fn transcription(items: &[Value]) -> Value {
    json!({ "kind": "transcription", "model": "transcribe", "options": { "response_format": "vtt", "language": "en" }, "input": { "items": items } })
}

/// What batch transcription did, by the service's own books.
fn batches(app: &TestApp) -> Vec<AiCall> {
    app.simulator.ai_calls().into_iter().filter(|call| call.deployment == "speech-batch").collect()
}

#[tokio::test]
async fn a_recording_that_is_too_long_for_a_call_is_handed_over_and_paid_for_once() {
    let (app, id, program) = start().await;
    let (file, short) =
        (upload(&program, &long(), "talk.wav").await, upload(&program, &wav(16_000, 60_000), "s.wav").await);
    let job = submit(&program, &transcription(&[json!({ "file_id": file }), json!({ "file_id": short })])).await;
    app.drain().await;
    let under_way = seen(&program, &format!("media/jobs/{job}/items")).await;
    assert_eq!(
        (under_way["data"][0]["handed_over"].as_bool(), under_way["data"][0]["status"].as_str()),
        (Some(true), Some("running"))
    );
    assert_eq!(under_way["data"][1]["status"], "succeeded", "one that waits holds up nobody");
    let done = over(&app, &program, &job).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    let result = items["data"][0]["file_id"].as_str().unwrap();
    assert_eq!(seen(&program, &format!("files/{result}")).await["filename"], "talk.vtt");
    let text = get(&program, &format!("files/{result}/content")).await.text().await.unwrap();
    assert!(text.starts_with("WEBVTT\n\n00:00:00.000 --> ") && text.contains("\n02:1"), "{}", &text[..200]);
    let calls = batches(&app);
    assert_eq!((calls.len(), calls[0].audio_ms), (1, u64::from(LONG_MS)));
    // 132 minutes and one.
    assert_eq!(app.recorded_of(id, "speech_minutes").await, "133");
    // Each at 0.02.
    assert_eq!((done["cost"]["amount"].as_str(), done["cost"]["currency"].as_str()), (Some("2.66"), Some("USD")));
    assert_eq!(app.simulator.request_count("ai.speech.batch.delete"), 1, "nothing of it stays at the service");
}

#[tokio::test]
async fn a_batch_that_succeeds_without_its_recording_and_one_that_fails_bill_nothing() {
    let (app, id, program) = start().await;
    let file = upload(&program, &long(), "talk.wav").await;
    app.simulator.faults().ai_batch_fail_next(3);
    let job = submit(&program, &transcription(&[json!({ "file_id": file })])).await;
    let failed = over(&app, &program, &job).await;
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    assert_eq!(
        (failed["status"].as_str(), items["data"][0]["error"]["code"].as_str()),
        (Some("failed"), Some("upstream_rejected"))
    );
    // The recording is deleted before the service fetches it.
    let job = submit(&program, &transcription(&[json!({ "file_id": file })])).await;
    app.drain().await;
    assert_eq!(remove(&program, &format!("files/{file}")).await, 200);
    let failed = over(&app, &program, &job).await;
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    assert_eq!(
        (failed["status"].as_str(), items["data"][0]["error"]["code"].as_str()),
        (Some("failed"), Some("file_not_found")),
        "{items}"
    );
    assert_eq!((app.recorded_of(id, "speech_minutes").await, batches(&app).len()), ("0".to_owned(), 0));
}

#[tokio::test]
async fn a_cancelled_batch_is_ended_at_the_service_and_not_billed() {
    let (app, id, program) = start().await;
    let file = upload(&program, &long(), "talk.wav").await;
    let job = submit(&program, &transcription(&[json!({ "file_id": file })])).await;
    app.drain().await;
    assert_eq!(program.post(&format!("media/jobs/{job}/cancel"), &json!({})).await.1["status"], "cancelling");
    assert_eq!(over(&app, &program, &job).await["status"], "cancelled");
    assert_eq!(app.simulator.request_count("ai.speech.batch.delete"), 1);
    assert_eq!(app.recorded_of(id, "speech_minutes").await, "0");
}

/// Stops the process at every write of a job in turn, with its messages doubled: it ends well each time, each item is
/// delivered once and billed once.
async fn dies_everywhere(
    bytes: &[u8],
    name: &str,
    body: impl Fn(&str) -> Value,
    dimension: &str,
    amount: &str,
    results: usize,
    batched: usize,
) {
    for stop in 0.. {
        let (app, id, program) = start().await;
        let file = upload(&program, bytes, name).await;
        let job = submit(&program, &body(&file)).await;
        let writes = AtomicUsize::new(0);
        app.gate.next(Act::Stop, move |table, _| {
            let ours = table.0.starts_with("Media") || table.0.starts_with("File");
            ours && writes.fetch_add(1, Ordering::Relaxed) == stop
        });
        let finished = tokio::select! {
            () = app.settle() => true,
            () = app.gate.arrived() => false,
        };
        let Program { key, http, prefix, .. } = program;
        let app = app.restart().await;
        let program = Program { address: app.address.clone(), key, http, prefix };
        app.clock.advance(SignedDuration::from_mins(12));
        let message = json!({ "subscription": id, "job": job }).to_string();
        for _ in 0..2 {
            app.host.app.queues.send("media-jobs", &message, Duration::ZERO).await.unwrap();
        }
        app.fire("ReviveMediaJobs").await;
        let done = over(&app, &program, &job).await;
        let told = done["progress"]["items_succeeded"] == done["progress"]["items_total"];
        let items = seen(&program, &format!("media/jobs/{job}/items")).await;
        assert!(done["status"] == "succeeded" && told, "stopped at {stop}: {done} {items}");
        assert_eq!(app.recorded_of(id, dimension).await, amount, "stopped at {stop}");
        let files = seen(&program, "files").await;
        let made = files["data"].as_array().unwrap().iter().filter(|file| file["purpose"] == "media_output").count();
        assert_eq!(made, results, "stopped at {stop}");
        assert_eq!(batches(&app).len(), batched, "stopped at {stop}: transcribed twice");
        assert!(app.host.app.queues.depth("media-jobs-poison").await.unwrap() == 0);
        if finished {
            return;
        }
    }
}

#[tokio::test]
async fn a_death_at_any_write_of_a_batch_delivers_and_bills_it_once() {
    let body = |file: &str| transcription(&[json!({ "file_id": file })]);
    dies_everywhere(&long(), "talk.wav", body, "speech_minutes", "132", 1, 1).await;
}

#[tokio::test]
async fn a_death_at_any_write_of_a_call_for_a_recording_delivers_and_bills_it_once() {
    let body = |file: &str| transcription(&[json!({ "file_id": file })]);
    dies_everywhere(&wav(16_000, 60_000), "a.wav", body, "speech_minutes", "1", 1, 0).await;
}

#[tokio::test]
async fn a_death_at_any_write_of_a_spoken_text_delivers_and_bills_it_once() {
    let text = "This is a sentence of forty characters. ".repeat(100);
    let body = |file: &str| json!({ "kind": "speech", "options": { "voice": "alloy", "response_format": "wav" }, "input": { "file_id": file } });
    // Two pieces, less the blanks around the cut; and one file of both.
    dies_everywhere(text.as_bytes(), "book.txt", body, "spoken_1k_chars", "3.998", 3, 0).await;
}

async fn poison(app: &TestApp, id: Uuid, job: &str) {
    let message = json!({ "subscription": id, "job": job }).to_string();
    app.host.app.queues.send("media-jobs-poison", &message, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_job_whose_messages_fail_for_good_is_given_up_with_a_reason_and_can_be_submitted_again() {
    let (mut app, id, program) = start().await;
    app.expect_leftovers();
    let file = upload(&program, &png(60, 60), "a.png").await;
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "file_id": file }] } });
    let job = submit(&program, &body).await;
    // Its own message is lost, as far as this test goes.
    let received = app.host.app.queues.receive("media-jobs", 1, Duration::from_secs(3600)).await.unwrap();
    app.host.app.queues.delete("media-jobs", &received[0]).await.unwrap();
    for _ in 0..3 {
        assert_ne!(
            seen(&program, &format!("media/jobs/{job}")).await["status"],
            "failed",
            "not for a trouble that passes"
        );
        for _ in 0..2 {
            // The second one is the same, whose worker died before it was put away.
            poison(&app, id, &job).await;
            app.drain().await;
        }
        app.clock.advance(SignedDuration::from_secs(6));
    }
    let failed = seen(&program, &format!("media/jobs/{job}")).await;
    assert_eq!(
        (failed["status"].as_str(), failed["error"]["code"].as_str()),
        (Some("failed"), Some("given_up")),
        "{failed}"
    );
    let given_up = mediagenie::media::given_up(&app.host.app).await.unwrap();
    assert_eq!(given_up.iter().map(|job| job.id.to_string()).collect::<Vec<_>>(), [job.as_str()]);
    let (status, again) = program.post(&format!("media/jobs/{job}/resubmit"), &json!({})).await;
    assert_eq!((status, again["status"].as_str()), (202, Some("queued")), "{again}");
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
    assert!(mediagenie::media::given_up(&app.host.app).await.unwrap().is_empty());
    assert_eq!(app.recorded_of(id, "vision_images").await, "1");
    assert_eq!(program.post(&format!("media/jobs/{job}/resubmit"), &json!({})).await.0, 409);
}

#[tokio::test]
async fn what_failed_of_a_job_is_done_again_and_what_was_delivered_is_not() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let items = [json!({ "file_id": file }), json!({ "url": "https://localhost/x.png" })];
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": items } });
    let job = submit(&program, &body).await;
    assert_eq!(over(&app, &program, &job).await["status"], "partially_succeeded");
    assert_eq!(program.post(&format!("media/jobs/{job}/resubmit"), &json!({})).await.0, 202);
    let done = over(&app, &program, &job).await;
    assert_eq!(
        (done["status"].as_str(), done["progress"]["items_succeeded"].as_u64()),
        (Some("partially_succeeded"), Some(1))
    );
    assert_eq!((app.recorded_of(id, "vision_images").await, app.simulator.ai_calls().len()), ("1".to_owned(), 1));
}

#[tokio::test]
async fn another_subscriptions_single_job_does_not_wait_for_a_crowd() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let body = |file: &str| json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "file_id": file }] } });
    let (other, _) = app.buy("metered", None).await;
    let other = Program::of(&app, other).await;
    for _ in 0..60 {
        submit(&program, &body(&file)).await;
    }
    let job = submit(&other, &body(&upload(&other, &png(60, 60), "b.png").await)).await;
    // Twelve of the crowd are under way and do not end; the others are sent away until the single one has its turn.
    let now = app.now();
    let crowd = SubscriptionId(id);
    let places: Vec<_> = (0..12).map(|_| app.host.app.media.turns.enter(crowd, now).unwrap()).collect();
    app.drain().await;
    assert_eq!(seen(&other, &format!("media/jobs/{job}")).await["status"], "succeeded");
    let waiting = seen(&program, "media/jobs?limit=100").await;
    assert!(waiting["data"].as_array().unwrap().iter().all(|job| job["status"] == "queued"));
    drop(places);
    app.settle().await;
    let done = seen(&program, "media/jobs?limit=100").await;
    assert!(done["data"].as_array().unwrap().iter().all(|job| job["status"] == "succeeded"));
}

fn images(file: &str, count: usize) -> Value {
    json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); count] } })
}

#[tokio::test]
async fn our_own_limits_and_an_emergency_stop_slow_a_job_down_and_fail_none_of_its_items() {
    let limits = json!({ "plans": { "metered": { "requests_per_minute": 20, "parallel": 2 } } });
    let app = TestApp::with_deployments(|file| file["limits"] = limits, &[]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let job = submit(&program, &images(&file, 60)).await;
    let done = over(&app, &program, &job).await;
    assert_eq!(
        (done["status"].as_str(), done["progress"]["items_failed"].as_u64()),
        (Some("succeeded"), Some(0)),
        "{done}"
    );
    assert_eq!(app.recorded_of(id, "vision_images").await, "60");
    let job = submit(&program, &images(&file, 1)).await;
    let staff = app.signed_in(&Person::staff_admin()).await;
    let page = staff.get("/publisher/ai").await;
    let stop = [("target", "model:vision"), ("subscription", ""), ("reason", "a test")];
    assert_eq!(staff.submit(&page, "/publisher/ai/stop", &stop).await.status, 200);
    for _ in 0..10 {
        app.drain().await;
        app.clock.advance(SignedDuration::from_mins(1));
    }
    assert_eq!(seen(&program, &format!("media/jobs/{job}")).await["status"], "running");
    assert_eq!(program.post("media/jobs", &images(&file, 1)).await.0, 503, "nothing new is taken meanwhile");
    let page = staff.get("/publisher/ai").await;
    assert_eq!(staff.submit(&page, "/publisher/ai/resume", &[("target", "model:vision")]).await.status, 200);
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
}

#[tokio::test]
async fn a_finished_batch_is_delivered_and_billed_whatever_the_limits_say_by_then() {
    let limits = json!({ "plans": { "metered": { "requests_per_minute": 2 } } });
    let app = TestApp::with_deployments(|file| file["limits"] = limits, &[]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let file = upload(&program, &long(), "talk.wav").await;
    let job = submit(&program, &transcription(&[json!({ "file_id": file })])).await;
    app.drain().await;
    let chat = json!({ "model": "chat", "messages": [{ "role": "user", "content": "Hi" }] });
    while program.post("chat/completions", &chat).await.0 == 200 {}
    app.clock.advance(SignedDuration::from_secs(6));
    app.drain().await;
    app.clock.advance(SignedDuration::from_secs(6));
    while program.post("chat/completions", &chat).await.0 == 200 {}
    app.drain().await;
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
    assert_eq!((app.recorded_of(id, "speech_minutes").await, batches(&app).len()), ("132".to_owned(), 1));
}

#[tokio::test]
async fn jobs_that_wait_get_no_further_messages_each_minute() {
    let (app, _, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    for _ in 0..5 {
        submit(&program, &images(&file, 1)).await;
    }
    for _ in 0..10 {
        app.clock.advance(SignedDuration::from_mins(1));
        app.fire("ReviveMediaJobs").await;
    }
    assert_eq!(app.host.app.queues.depth("media-jobs").await.unwrap(), 5);
    // One whose message is lost is found all the same.
    let received = app.host.app.queues.receive("media-jobs", 1, Duration::from_secs(3600)).await.unwrap();
    app.host.app.queues.delete("media-jobs", &received[0]).await.unwrap();
    app.fire("ReviveMediaJobs").await;
    app.settle().await;
    let jobs = seen(&program, "media/jobs").await;
    assert!(jobs["data"].as_array().unwrap().iter().all(|job| job["status"] == "succeeded"));
}

#[tokio::test]
async fn a_stray_poison_message_does_not_end_a_job_that_is_worked_on() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let job = submit(&program, &images(&file, 16)).await;
    app.gate.next(Act::Stop, |table, _| table.0 == "MediaItems");
    let poisoning = async {
        app.gate.arrived().await;
        let job = job.parse().unwrap();
        for _ in 0..3 {
            mediagenie::media::setback(&app.host.app, SubscriptionId(id), &job).await.unwrap();
        }
        app.gate.open();
    };
    tokio::join!(app.settle(), poisoning);
    let done = over(&app, &program, &job).await;
    assert_eq!((done["status"].as_str(), app.recorded_of(id, "vision_images").await), (Some("succeeded"), "16".into()));
}

#[tokio::test]
async fn what_a_customer_sends_along_may_not_be_larger_than_a_callback() {
    let (_app, _, program) = start().await;
    let mut body = images("file_1", 1);
    body["metadata"] =
        (0..16).map(|n| (format!("m{n}"), json!("\u{1}".repeat(512)))).collect::<serde_json::Map<_, _>>().into();
    let (status, answer) = program.post("media/jobs", &body).await;
    assert_eq!((status, answer["error"]["param"].as_str()), (400, Some("metadata")), "{answer}");
}

#[tokio::test]
async fn a_job_and_its_results_end_thirty_days_after_it() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let job = submit(&program, &images(&file, 2)).await;
    over(&app, &program, &job).await;
    app.clock.advance(SignedDuration::from_hours(29 * 24));
    app.fire("ExpireMedia").await;
    assert_eq!(get(&program, &format!("media/jobs/{job}")).await.status(), 200);
    app.clock.advance(SignedDuration::from_hours(27));
    app.fire("ExpireMedia").await;
    assert_eq!(get(&program, &format!("media/jobs/{job}")).await.status(), 404);
    assert!(seen(&program, "files").await["data"].as_array().unwrap().is_empty());
    assert_eq!(app.recorded_of(id, "vision_images").await, "2", "what it used stays in the ledger");
}
