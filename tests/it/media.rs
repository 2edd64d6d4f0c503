//! Files and media jobs from outside: uploaded, worked off by the queue, paid for once, whatever dies on the way.

use jiff::SignedDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ai_media::{png, wav};
use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::gate::Act;

pub async fn upload(program: &Program, bytes: &[u8], name: &str) -> String {
    let answer = program.upload("files", bytes, name, &[("purpose", "user_data")]).await;
    let (status, file) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
    assert_eq!((status, file["bytes"].as_u64()), (200, Some(bytes.len() as u64)), "{file}");
    file["id"].as_str().unwrap().to_owned()
}

pub async fn get(program: &Program, path: &str) -> reqwest::Response {
    program.http.get(format!("{}/v1/{path}", program.address)).bearer_auth(&program.key).send().await.unwrap()
}

pub async fn seen(program: &Program, path: &str) -> Value {
    let answer = get(program, path).await;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

pub async fn remove(program: &Program, path: &str) -> u16 {
    let request = program.http.delete(format!("{}/v1/{path}", program.address)).bearer_auth(&program.key);
    request.send().await.unwrap().status().as_u16()
}

pub async fn submit(program: &Program, body: &Value) -> String {
    let (status, job) = program.post("media/jobs", body).await;
    assert_eq!((status, job["status"].as_str()), (202, Some("queued")), "{job}");
    job["id"].as_str().unwrap().to_owned()
}

pub async fn over(app: &TestApp, program: &Program, job: &str) -> Value {
    app.settle().await;
    seen(program, &format!("media/jobs/{job}")).await
}

pub async fn start() -> (TestApp, Uuid, Program) {
    let app = TestApp::with_ai().await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    (app, id, program)
}

#[tokio::test]
async fn a_file_is_uploaded_listed_read_in_ranges_and_removed() {
    let (app, _, program) = start().await;
    let ids = [upload(&program, b"0123456789", "a.txt").await, upload(&program, &png(60, 60), "b.png").await];
    let list = seen(&program, "files").await;
    assert_eq!(
        list["data"].as_array().unwrap().iter().map(|file| file["id"].as_str().unwrap()).collect::<Vec<_>>(),
        [&ids[1], &ids[0]]
    );
    let page = seen(&program, "files?limit=1").await;
    assert_eq!((page["has_more"].as_bool(), page["last_id"].as_str()), (Some(true), Some(ids[1].as_str())));
    let rest = seen(&program, &format!("files?limit=1&after={}", ids[1])).await;
    assert_eq!(rest["data"][0]["filename"], "a.txt");
    let content = format!("files/{}/content", ids[0]);
    let whole = get(&program, &content).await;
    assert_eq!(whole.headers()["content-disposition"], "attachment; filename=\"a.txt\"");
    assert_eq!(whole.text().await.unwrap(), "0123456789");
    for (range, status, text) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=7-", 206, "789"),
        ("bytes=-2", 206, "89"),
        ("bytes=5-99", 206, "56789"),
        ("bytes=0-1,3-4", 200, "0123456789"),
    ] {
        let request = program
            .http
            .get(format!("{}/v1/{content}", program.address))
            .bearer_auth(&program.key)
            .header("range", range);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (status, text), "{range}");
    }
    let beyond = program
        .http
        .get(format!("{}/v1/{content}", program.address))
        .bearer_auth(&program.key)
        .header("range", "bytes=10-");
    assert_eq!(beyond.send().await.unwrap().status(), 416);
    assert_eq!(remove(&program, &format!("files/{}", ids[0])).await, 200);
    assert_eq!(remove(&program, &format!("files/{}", ids[0])).await, 404);
    // Another subscription's file is nobody's.
    let (other, _) = app.buy("metered", None).await;
    let stranger = Program::of(&app, other).await;
    for path in [format!("files/{}", ids[1]), format!("files/{}/content", ids[1]), "files/nothing".into()] {
        assert_eq!(get(&stranger, &path).await.status(), 404);
    }
    // After thirty days it is over, and an hour later it is gone.
    app.clock.advance(SignedDuration::from_hours(30 * 24));
    assert_eq!(get(&program, &format!("files/{}", ids[1])).await.status(), 404);
    // The timer runs now and then; afterwards the product is down for a week.
    app.fire("ExpireMedia").await;
    app.clock.advance(SignedDuration::from_hours(7 * 24));
    app.fire("ExpireMedia").await;
    assert!(app.host.app.blobs.list("media-files", "", "", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_upload_leaves_nothing() {
    let (app, _, program) = start().await;
    assert_eq!(program.upload("files", b"", "a.txt", &[]).await.status(), 400);
    for (seconds, status) in [("3599", 400), ("soon", 400), ("3600", 200)] {
        let answer = program.upload("files", b"x", "a.txt", &[("expires_after[seconds]", seconds)]).await;
        assert_eq!(answer.status(), status);
    }
    assert_eq!(program.post("files", &json!({})).await.0, 400);
    // A body that ends in the middle of the file, and one that claims fifty gigabytes.
    for (length, body) in [
        ("53687091200", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc"),
        ("70", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc"),
    ] {
        let address = program.address.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/files HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: {length}\r\n\r\n{body}",
            program.key
        );
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        drop(stream);
    }
    assert_eq!(seen(&program, "files").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(app.host.app.blobs.list("media-files", "", "", 10).await.unwrap().len(), 1);
    let anonymous = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(anonymous.post(app.url("/v1/files")).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn images_are_analysed_in_bulk_and_each_has_its_line_and_its_price() {
    let (app, id, program) = start().await;
    let (good, bad) =
        (upload(&program, &png(60, 60), "good.png").await, upload(&program, b"no image", "bad.png").await);
    let mut items: Vec<Value> = (0..20).map(|_| json!({ "file_id": good })).collect();
    items.push(json!({ "file_id": bad }));
    let private = |address: &str| json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "url": address }] } });
    for address in ["https://127.0.0.1/secret", "http://example.com/", "https://user:word@example.com/", "nonsense"] {
        let (status, answer) = program.post("media/jobs", &private(address)).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid_url")), "{address}");
    }
    // A name tells only when it is resolved.
    items.push(json!({ "url": "https://localhost/secret" }));
    let body = json!({ "kind": "image-analysis", "options": { "features": "caption,tags" }, "input": { "items": items }, "metadata": { "batch": "7" } });
    let job = submit(&program, &body).await;
    let done = over(&app, &program, &job).await;
    assert_eq!(
        (
            done["status"].as_str(),
            done["progress"]["items_succeeded"].as_u64(),
            done["progress"]["items_failed"].as_u64()
        ),
        (Some("partially_succeeded"), Some(20), Some(2)),
        "{done}"
    );
    assert_eq!((done["progress"]["percent"].as_u64(), done["metadata"]["batch"].as_str()), (Some(100), Some("7")));
    let lines = get(&program, &format!("files/{}/content", done["result_file_id"].as_str().unwrap()))
        .await
        .text()
        .await
        .unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 22);
    assert!(lines[3]["result"]["captionResult"]["text"].as_str().unwrap().contains("simulated"));
    assert_eq!(
        (&lines[20]["error"]["code"], &lines[21]["error"]["code"]),
        (&json!("invalid_image"), &json!("invalid_url"))
    );
    let failed = seen(&program, &format!("media/jobs/{job}/items?after=19&limit=5")).await;
    assert_eq!(
        (failed["data"].as_array().unwrap().len(), failed["data"][0]["status"].as_str(), failed["has_more"].as_bool()),
        (2, Some("failed"), Some(false))
    );
    assert_eq!(app.recorded_of(id, "vision_images").await, "40");
    // What is over stays when it is cancelled, and can be deleted; what it used stays in the ledger.
    assert_eq!(program.post(&format!("media/jobs/{job}/cancel"), &json!({})).await.1["status"], "partially_succeeded");
    assert_eq!(remove(&program, &format!("media/jobs/{job}")).await, 204);
    assert_eq!(get(&program, &format!("media/jobs/{job}")).await.status(), 404);
    assert_eq!(app.recorded_of(id, "vision_images").await, "40");
}

#[tokio::test]
async fn a_long_text_becomes_one_file_of_audio() {
    let (app, id, program) = start().await;
    let text = "This is a sentence of forty characters. ".repeat(150);
    for format in ["wav", "mp3"] {
        let body = json!({ "kind": "speech", "options": { "voice": "alloy", "response_format": format }, "input": { "text": text } });
        let job = submit(&program, &body).await;
        let done = over(&app, &program, &job).await;
        assert_eq!(
            (done["status"].as_str(), done["progress"]["items_total"].as_u64()),
            (Some("succeeded"), Some(2)),
            "{done}"
        );
        let audio = get(&program, &format!("files/{}/content", done["result_file_id"].as_str().unwrap())).await;
        assert!(audio.headers()["content-type"].to_str().unwrap().starts_with("audio/"));
        let audio = audio.bytes().await.unwrap();
        let heard = program
            .upload(
                "audio/transcriptions",
                &audio,
                "book",
                &[("model", "transcribe-fast"), ("response_format", "verbose_json")],
            )
            .await;
        let heard: Value = heard.json().await.unwrap();
        // 60 ms for each character, but for the blanks at the cuts.
        let seconds = heard["duration"].as_f64().unwrap();
        assert!((359.0..=361.0).contains(&seconds), "{format}: {seconds}");
    }
    let spoken: f64 = app.recorded_of(id, "spoken_1k_chars").await.parse().unwrap();
    assert!((11.9..=12.0).contains(&spoken), "{spoken}");
}

#[tokio::test]
async fn recordings_are_transcribed_each_into_a_file_of_its_own() {
    let (app, id, program) = start().await;
    let file = upload(&program, &wav(16_000, 3_000), "call one.wav").await;
    let body = json!({ "kind": "transcription", "model": "transcribe-fast", "options": { "response_format": "srt" }, "input": { "items": [{ "file_id": file }, { "file_id": file }] } });
    let job = submit(&program, &body).await;
    let done = over(&app, &program, &job).await;
    assert_eq!(done["status"], "succeeded", "{done}");
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    let result = items["data"][1]["file_id"].as_str().unwrap();
    assert_eq!(seen(&program, &format!("files/{result}")).await["filename"], "call one.srt");
    assert!(get(&program, &format!("files/{result}/content")).await.text().await.unwrap().starts_with("1\n00:00:00,"));
    assert_eq!(app.recorded_of(id, "speech_minutes").await, "0.1");
}

#[tokio::test]
async fn a_bad_job_is_refused_before_it_is_queued() {
    let (app, _, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let good = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "file_id": file }] } });
    for (change, field, status) in [
        (json!({ "kind": "poem" }), "kind", 400),
        (json!({ "model": "nothing" }), "model", 404),
        (json!({ "options": { "features": "faces" } }), "features", 400),
        (json!({ "options": { "features": { "deep": 1 } } }), "options", 400),
        (json!({ "options": { "features": "tags", "feature": "x" } }), "options", 400),
        (
            json!({ "kind": "speech", "options": { "voice": "alloy", "speed": "9" }, "input": { "text": "x" } }),
            "speed",
            400,
        ),
        (json!({ "input": {} }), "input", 400),
        (json!({ "input": { "items": [] } }), "input", 400),
        (json!({ "input": { "items": [{}] } }), "input", 400),
        (json!({ "input": { "items": [{ "file_id": "file_00000000000000000000000000000000" }] } }), "file_id", 404),
        (json!({ "input": { "items": vec![json!({ "file_id": file }); 10_001] } }), "input", 400),
        (json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "text": "  " } }), "input", 400),
        (json!({ "kind": "speech", "options": {}, "input": { "text": "x" } }), "voice", 400),
        (
            json!({ "kind": "speech", "options": { "voice": "alloy", "response_format": "opus" }, "input": { "text": "x" } }),
            "response_format",
            400,
        ),
    ] {
        let mut body = good.clone();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (got, answer) = program.post("media/jobs", &body).await;
        assert_eq!((got, answer["error"]["param"].as_str()), (status, Some(field)), "{change}: {answer}");
    }
    assert!(seen(&program, "media/jobs").await["data"].as_array().unwrap().is_empty());
    // The same request twice is one job; another one under the same key is refused.
    let keyed = async |body: &Value| {
        let request = program.http.post(format!("{}/v1/media/jobs", program.address)).bearer_auth(&program.key);
        let answer = request.header("idempotency-key", "order 66").json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (first, second) = (keyed(&good).await, keyed(&good).await);
    assert_eq!((first.0, second.0, &first.1["id"]), (202, 202, &second.1["id"]));
    let mut other = good.clone();
    other["options"]["features"] = "caption".into();
    assert_eq!(keyed(&other).await.0, 422);
    app.settle().await;
    // A deleted job is not made again by its key; after a day, the key is free.
    assert_eq!(remove(&program, &format!("media/jobs/{}", first.1["id"].as_str().unwrap())).await, 204);
    assert_eq!(keyed(&good).await.0, 409);
    app.clock.advance(SignedDuration::from_hours(25));
    app.fire("PurgeExpired").await;
    assert_eq!(keyed(&other).await.0, 202);
    app.settle().await;
}

#[tokio::test]
async fn trouble_of_the_service_is_waited_for_and_a_lasting_one_is_told() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let body = json!({ "kind": "image-analysis", "model": "vision-old", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); 3] } });
    app.simulator.faults().ai_fail_next(4, 503);
    let job = submit(&program, &body).await;
    for _ in 0..4 {
        app.settle().await;
        app.clock.advance(SignedDuration::from_secs(61));
    }
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
    assert_eq!(app.recorded_of(id, "vision_images").await, "3");
    app.simulator.faults().ai_down(true);
    let job = submit(&program, &body).await;
    for _ in 0..8 {
        app.settle().await;
        app.clock.advance(SignedDuration::from_secs(61));
    }
    let failed = over(&app, &program, &job).await;
    assert_eq!(
        (failed["status"].as_str(), failed["progress"]["items_failed"].as_u64()),
        (Some("failed"), Some(3)),
        "{failed}"
    );
    assert_eq!(app.recorded_of(id, "vision_images").await, "3");
}

#[tokio::test]
async fn a_job_is_cancelled_before_and_within_its_work_and_pays_for_what_was_done() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); 100] } });
    let job = submit(&program, &body).await;
    assert_eq!(program.post(&format!("media/jobs/{job}/cancel"), &json!({})).await.1["status"], "cancelling");
    assert_eq!(program.post(&format!("media/jobs/{job}/cancel"), &json!({})).await.1["status"], "cancelling");
    let done = over(&app, &program, &job).await;
    assert_eq!((done["status"].as_str(), app.recorded_of(id, "vision_images").await), (Some("cancelled"), "0".into()));
    // In the middle: the second time that the job itself is written, it waits.
    let job = submit(&program, &body).await;
    let writes = std::sync::atomic::AtomicUsize::new(0);
    app.gate.next(Act::Stop, move |table, _| {
        table.0 == "MediaJobs" && writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1
    });
    let cancelling = async {
        app.gate.arrived().await;
        let answer = program.post(&format!("media/jobs/{job}/cancel"), &json!({})).await.1;
        app.gate.open();
        answer
    };
    let ((), answer) = tokio::join!(app.settle(), cancelling);
    assert_eq!(answer["status"], "cancelling");
    let done = over(&app, &program, &job).await;
    let succeeded = done["progress"]["items_succeeded"].as_u64().unwrap();
    assert!(done["status"] == "cancelled" && (1..100).contains(&succeeded), "{done}");
    assert_eq!(app.recorded_of(id, "vision_images").await, succeeded.to_string());
    assert_eq!(
        seen(&program, &format!("files/{}", done["result_file_id"].as_str().unwrap())).await["purpose"],
        "media_output"
    );
}

#[tokio::test]
async fn a_turn_that_fails_is_given_back_and_its_message_goes_on_by_itself() {
    let (app, id, program) = start().await;
    let file = upload(&program, &png(60, 60), "a.png").await;
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); 10] } });
    let job = submit(&program, &body).await;
    app.gate.next(Act::Fail, |table, _| table.0 == "MediaItems");
    app.settle().await;
    app.clock.advance(SignedDuration::from_secs(30));
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
    assert_eq!(app.recorded_of(id, "vision_images").await, "10");
}

#[tokio::test]
async fn a_process_that_dies_at_any_write_and_messages_that_come_twice_bill_each_item_once() {
    for stop in 0..14 {
        let (app, id, program) = start().await;
        let file = upload(&program, &png(60, 60), "a.png").await;
        let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": vec![json!({ "file_id": file }); 10] } });
        let job = submit(&program, &body).await;
        let writes = std::sync::atomic::AtomicUsize::new(0);
        app.gate.next(Act::Stop, move |table, _| {
            table.0.starts_with("Media") && writes.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == stop
        });
        tokio::select! {
            () = app.settle() => {}
            () = app.gate.arrived() => {}
        }
        let Program { key, http, prefix, .. } = program;
        let app = app.restart().await;
        let program = Program { address: app.address.clone(), key, http, prefix };
        // The turn of the dead process ends, its message comes again, and another one comes as well.
        app.clock.advance(SignedDuration::from_mins(12));
        app.fire("ReviveMediaJobs").await;
        let done = over(&app, &program, &job).await;
        assert_eq!(
            (done["status"].as_str(), done["progress"]["items_succeeded"].as_u64()),
            (Some("succeeded"), Some(10)),
            "stopped at {stop}: {done}"
        );
        assert_eq!(app.recorded_of(id, "vision_images").await, "10", "stopped at {stop}");
    }
}
