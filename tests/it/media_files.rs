//! Files from outside: direct uploads, limits by plan, what storage costs, and rubbish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::identity::{KeyTerms, Scope};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ai_faults::{bought, key};
use crate::ai_media::{png, wav};
use crate::media::{get, over, remove, seen, start, submit, upload};
use crate::parity::azure_settings;
use crate::support::ai::Program;
use crate::support::app::{TestApp, ai_settings, simulator};
use crate::support::azurite::{Azurite, free_port};
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_upload_goes_into_azure_storage_and_speech_reads_it_there() {
    let Some(azurite) = Azurite::start() else { return };
    let (simulator, _serving) = simulator(Arc::new(SystemClock), 61).await;
    let (folder, port) = (TempDir::new().unwrap(), free_port());
    let address = format!("http://127.0.0.1:{port}");
    simulator.set_product_url(&address);
    let mut settings = azure_settings(&simulator, &address, &azurite);
    settings.extend(ai_settings(&simulator, &folder));
    settings.insert("LOG_LEVEL".into(), "error".into());
    let _process = Process::serve(&settings, port);
    let (id, browser) = bought(&simulator, &address).await;
    let secret = key(&browser, id).await.0;
    let prefix = secret[4..16].to_owned();
    let program =
        Program { http: mediagenie::foundation::outbound::patient_client().unwrap(), address, key: secret, prefix };
    let audio = wav(1_000, 7_920_000);
    let (status, begun) = program.post("media/uploads", &json!({ "filename": "talk.wav", "bytes": audio.len() })).await;
    assert_eq!((status, begun["method"].as_str()), (201, Some("PUT")), "{begun}");
    let complete = format!("media/uploads/{}/complete", begun["id"].as_str().unwrap());
    assert_eq!(program.post(&complete, &json!({})).await.1["error"]["code"], "upload_missing");
    let put = async |bytes: Vec<u8>| {
        let request = program.http.put(begun["url"].as_str().unwrap()).header("x-ms-blob-type", "BlockBlob");
        request.body(bytes).send().await.unwrap().status().as_u16()
    };
    assert_eq!(put(audio.clone()).await, 201);
    let files = seen(&program, "files").await;
    assert!(files["data"].as_array().unwrap().is_empty(), "it is no file before it was looked at");
    let (status, file) = program.post(&complete, &json!({})).await;
    assert_eq!(
        (status, file["bytes"].as_u64(), file["filename"].as_str()),
        (200, Some(audio.len() as u64), Some("talk.wav"))
    );
    assert_eq!(program.post(&complete, &json!({})).await.1, file, "again, it is the same file");
    // The link is still valid, and leads to the file no more.
    put(b"something else".to_vec()).await;
    let kept = seen(&program, &format!("files/{}", begun["id"].as_str().unwrap())).await;
    let content = get(&program, &format!("files/{}/content", begun["id"].as_str().unwrap())).await;
    assert_eq!((kept["bytes"].as_u64(), content.bytes().await.unwrap().len()), (Some(audio.len() as u64), audio.len()));
    // The recording is read by Speech from the storage itself.
    let body = json!({ "kind": "transcription", "options": { "response_format": "text" }, "input": { "items": [{ "file_id": file["id"] }] } });
    let job = submit(&program, &body).await;
    let deadline = Instant::now() + Duration::from_secs(90);
    let done = loop {
        let job = seen(&program, &format!("media/jobs/{job}")).await;
        if !matches!(job["status"].as_str(), Some("queued" | "running")) {
            break job;
        }
        assert!(Instant::now() < deadline, "{job}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(done["status"], "succeeded", "{done}");
    let batch = simulator.ai_calls().into_iter().filter(|call| call.deployment == "speech-batch");
    assert_eq!(batch.map(|call| call.audio_ms).collect::<Vec<_>>(), [7_920_000]);
}

#[tokio::test]
async fn where_the_storage_has_no_addresses_a_direct_upload_is_refused_with_the_way_to_go() {
    let (_app, _, program) = start().await;
    let (status, answer) = program.post("media/uploads", &json!({ "filename": "a.wav" })).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (501, Some("direct_upload_unavailable")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("POST /v1/files"));
    for (body, field) in [
        (json!({}), "filename"),
        (json!({ "filename": "a", "bytes": 50_000_000_000_u64 }), "bytes"),
        (json!({ "filename": "a", "expires_after": { "seconds": 5 } }), "expires_after"),
    ] {
        assert_eq!(program.post("media/uploads", &body).await.1["error"]["param"], field, "{body}");
    }
    assert_eq!(program.post("media/uploads/file_1/complete", &json!({})).await.0, 404);
}

#[tokio::test]
async fn a_plan_limits_the_size_and_the_types_of_files() {
    let limits = json!({ "plans": { "metered": { "mib": 1, "types": ["image/*", "audio/wav"] } } });
    let app = TestApp::with_deployments(|file| file["files"] = limits, &[]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let sent = async |bytes: &[u8], name: &str| {
        let answer = program.upload("files", bytes, name, &[]).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["error"]["code"].as_str().map(str::to_owned))
    };
    assert_eq!(sent(&png(60, 60), "a.png").await, (200, None));
    assert_eq!(sent(&wav(16_000, 1_000), "a.txt").await, (200, None), "the bytes tell, not the name");
    assert_eq!(sent(b"just a text", "a.png").await, (415, Some("file_type_not_allowed".into())));
    assert_eq!(sent(&wav(16_000, 40_000), "a.wav").await, (413, Some("file_too_large".into())));
    assert_eq!(seen(&program, "files").await["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_declared_length_of_fifty_gigabytes_is_refused_before_it_is_sent() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (app, _, program) = start().await;
    let mut stream = tokio::net::TcpStream::connect(app.address.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 50000000000\r\n\r\n--b\r\n",
        program.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
}

#[tokio::test]
async fn stored_bytes_are_recorded_for_each_hour_that_they_were_there() {
    let (app, id, program) = start().await;
    let day = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    // A millionth of a GiB is shown, which is a thousand bytes.
    let stored = async || app.recorded_of(id, "stored_gib_hours").await.parse::<f64>().unwrap() * f64::from(1 << 30);
    app.clock.advance(day("2026-03-02T11:30:00Z").duration_since(app.now()));
    app.fire("MeterStorage").await;
    let file = upload(&program, &vec![b'x'; 1_048_576], "a.txt").await;
    app.clock.advance(day("2026-03-02T12:04:00Z").duration_since(app.now()));
    app.fire("MeterStorage").await;
    let half = stored().await;
    assert!((half - 524_288.0).abs() < 1_100.0, "half an hour of a mebibyte: {half}");
    // Again, it counts once; and a downtime is made up for.
    app.fire("MeterStorage").await;
    app.clock.advance(SignedDuration::from_hours(3));
    app.fire("MeterStorage").await;
    let more = stored().await;
    assert!((more - 3.5 * 1_048_576.0).abs() < 1_100.0, "{more}");
    assert_eq!(remove(&program, &format!("files/{file}")).await, 200);
    app.clock.advance(SignedDuration::from_hours(2));
    app.fire("MeterStorage").await;
    assert_eq!(stored().await, more, "what is gone costs nothing");
}

#[tokio::test]
async fn rubbish_is_told_apart_from_audio_item_by_item() {
    let (app, id, program) = start().await;
    let mut items = Vec::new();
    for (bytes, name) in [
        (b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec(), "cut.wav"),
        ([b"RIFF\x24\0\0\0WAVEfmt ".to_vec(), vec![0xff; 64]].concat(), "encrypted.wav"),
        (wav(16_000, 1_000)[..44].to_vec(), "silent.wav"),
        (b"PK\x03\x04bomb".to_vec(), "a.zip"),
        ("😀".as_bytes().to_vec(), "emoji.txt"),
        (wav(16_000, 1_000), "fine.wav"),
    ] {
        items.push(json!({ "file_id": upload(&program, &bytes, name).await }));
    }
    let job =
        submit(&program, &json!({ "kind": "transcription", "model": "transcribe", "input": { "items": items } })).await;
    let done = over(&app, &program, &job).await;
    assert_eq!(
        (done["status"].as_str(), done["progress"]["items_failed"].as_u64()),
        (Some("partially_succeeded"), Some(5)),
        "{done}"
    );
    let seen_items = seen(&program, &format!("media/jobs/{job}/items")).await;
    for item in &seen_items["data"].as_array().unwrap()[..5] {
        assert_eq!(
            (item["error"]["code"].as_str(), item["tries"].as_u64()),
            (Some("invalid_audio"), Some(1)),
            "{item}"
        );
    }
    assert_eq!(app.simulator.ai_calls().len(), 1, "nobody else is asked about rubbish");
    assert_eq!(app.recorded_of(id, "speech_minutes").await, "0.016666");
}

#[tokio::test]
async fn texts_from_one_character_to_ten_megabytes_are_spoken_or_refused() {
    let (app, _, program) = start().await;
    let body = |text: &str| json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "text": text } });
    let job = submit(&program, &body("😀")).await;
    assert_eq!(over(&app, &program, &job).await["status"], "succeeded");
    let (status, answer) = program.post("media/jobs", &body(&"x".repeat(10_000_000))).await;
    assert_eq!((status, answer["error"]["param"].as_str()), (400, Some("input")), "{answer}");
    let file = upload(&program, &vec![b'y'; 10_000_000], "book.txt").await;
    let by_file = json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "file_id": file } });
    assert_eq!(program.post("media/jobs", &by_file).await.0, 400);
    let bytes = upload(&program, &[0xff, 0xfe, 0xfd], "book.bin").await;
    let no_text = json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "file_id": bytes } });
    assert_eq!(program.post("media/jobs", &no_text).await.1["error"]["param"], "input");
}

#[tokio::test]
async fn a_recording_at_an_address_is_copied_and_one_that_leads_into_our_network_is_not() {
    use warp::Filter as _;
    let audio = wav(16_000, 2_000);
    let site = warp::path("a.wav").map(move || audio.clone()).or(warp::path("away").map(|| {
        warp::http::Response::builder().status(302).header("location", "http://127.0.0.1:1/secret").body("").unwrap()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(warp::serve(site).incoming(listener).run());
    let app = TestApp::with_deployments(|_| {}, &[("FETCH_PRIVATE_HOSTS", &host)]).await;
    let (id, _) = app.buy("metered", None).await;
    let program = Program::of(&app, id).await;
    let urls = ["a.wav", "away", "missing"].map(|path| json!({ "url": format!("http://{host}/{path}") }));
    let body = json!({ "kind": "transcription", "model": "transcribe-fast", "options": { "response_format": "text" }, "input": { "items": urls } });
    let job = submit(&program, &body).await;
    let done = over(&app, &program, &job).await;
    assert_eq!(
        (done["status"].as_str(), done["progress"]["items_succeeded"].as_u64()),
        (Some("partially_succeeded"), Some(1)),
        "{done}"
    );
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    let code = |index: usize| items["data"][index]["error"]["code"].as_str().map(str::to_owned);
    assert_eq!((code(0), code(1), code(2)), (None, Some("invalid_url".into()), Some("invalid_url".into())), "{items}");
    let files = seen(&program, "files").await;
    let names: Vec<&str> =
        files["data"].as_array().unwrap().iter().map(|file| file["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["a.txt"], "the copy is gone, the transcript is there");
    let text = get(&program, &format!("files/{}/content", items["data"][0]["file_id"].as_str().unwrap())).await;
    assert!(!text.text().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_is_deleted_while_its_job_waits_fails_its_item_and_no_other() {
    let (app, _, program) = start().await;
    let (gone, kept) = (upload(&program, &png(60, 60), "a.png").await, upload(&program, &png(60, 60), "b.png").await);
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": [{ "file_id": gone }, { "file_id": kept }] } });
    let job = submit(&program, &body).await;
    assert_eq!(remove(&program, &format!("files/{gone}")).await, 200);
    let done = over(&app, &program, &job).await;
    assert_eq!(done["status"], "partially_succeeded", "{done}");
    let items = seen(&program, &format!("media/jobs/{job}/items")).await;
    assert_eq!(items["data"][0]["error"]["code"], "file_not_found");
}

#[tokio::test]
async fn a_key_for_neither_sound_nor_images_reaches_no_file_and_no_job() {
    let (app, id, _) = start().await;
    let terms = KeyTerms { scopes: Some([Scope::Embeddings].into()), ..KeyTerms::default() };
    let program = Program::with(&app, id, terms).await;
    for path in ["files", "media/jobs", "files/file_1", "media/jobs/job_1/items"] {
        let answer = get(&program, path).await;
        let (status, body) = (answer.status().as_u16(), answer.json::<Value>().await.unwrap());
        assert_eq!((status, body["error"]["code"].as_str()), (403, Some("scope_missing")), "{path}");
    }
}
