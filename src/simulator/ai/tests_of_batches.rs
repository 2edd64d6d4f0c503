//! Batch transcription and batch synthesis at Azure Speech, over real HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use warp::{Filter as _, Reply as _};

use super::measure::measure;
use super::sound::Sound;
use super::tests::with;
use crate::simulator::AiKind;
use crate::simulator::tests::World;

const VERSION: &str = "api-version=2024-11-15";

/// Where inputs lie: `/{milliseconds}/{what}`. It counts how often somebody came.
async fn inputs() -> (String, Arc<AtomicUsize>) {
    inputs_behind(Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))).await
}

/// Inputs that are given out only as the gate lets them.
async fn inputs_behind(gate: Arc<Semaphore>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = visits.clone();
    let route = warp::path!(u64 / String).map(move |milliseconds: u64, what: String| {
        counter.fetch_add(1, Ordering::SeqCst);
        let mono = || Sound::Wav { rate: 16_000 }.make(milliseconds);
        match what.as_str() {
            "wav" => mono().into_response(),
            "ogg" => Sound::Opus.make(milliseconds).into_response(),
            "stereo" => {
                let mut file = mono();
                file[22] = 2;
                file[32] = 4;
                file.into_response()
            }
            "text" => "this is no audio".repeat(100).into_response(),
            _ => warp::http::StatusCode::NOT_FOUND.into_response(),
        }
    });
    let gated = route.then(move |reply: warp::reply::Response| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            reply
        }
    });
    tokio::spawn(warp::serve(gated).incoming(listener).run());
    (base, visits)
}

fn order(urls: &[String]) -> Value {
    json!({
        "contentUrls": urls, "locale": "en-US", "displayName": "a job", "properties": { "timeToLiveHours": 6 },
    })
}

fn with_properties(order: Value, more: Value) -> Value {
    let properties = with(order["properties"].clone(), more);
    with(order, json!({ "properties": properties }))
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let reply = request.send().await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or_default())
}

impl World {
    /// With the right key, at an address of ours or below the base.
    fn batch(&self, method: Method, address: &str) -> RequestBuilder {
        let config = self.simulator.ai_config();
        let url = if address.starts_with('/') { format!("{}{address}", config.azure_url) } else { address.to_owned() };
        self.http.request(method, url).header("Ocp-Apim-Subscription-Key", config.speech_key)
    }

    fn order(&self, order: &Value) -> RequestBuilder {
        self.batch(Method::POST, &format!("/speechtotext/transcriptions:submit?{VERSION}")).json(order)
    }

    async fn submit(&self, order: &Value) -> Value {
        let (status, job) = answer(self.order(order)).await;
        assert_eq!(status, 201, "{job}");
        job
    }

    async fn get(&self, address: &Value) -> Value {
        let (status, body) = answer(self.batch(Method::GET, address.as_str().unwrap())).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn state(&self, job: &Value) -> Value {
        self.get(&job["self"]).await["status"].clone()
    }

    fn pass(&self, seconds: i64) {
        self.simulator.advance(SignedDuration::from_secs(seconds));
    }

    /// All files of a job, page by page.
    async fn files(&self, job: &Value) -> Vec<Value> {
        let (mut files, mut next) = (Vec::new(), job["links"]["files"].clone());
        while !next.is_null() {
            let page = self.get(&next).await;
            let values = page["values"].as_array().unwrap();
            assert!(values.len() <= 2, "{page}");
            files.extend(values.iter().cloned());
            next = page["@nextLink"].clone();
        }
        files
    }

    /// What lies at an address that needs no key.
    async fn content(&self, address: &Value) -> Value {
        let (status, body) = answer(self.http.get(address.as_str().unwrap())).await;
        assert_eq!(status, 200, "{address}");
        body
    }

    async fn synthesize(&self, id: &str, order: &Value) -> (u16, Value) {
        answer(self.synthesis(Method::PUT, id).json(order)).await
    }

    fn synthesis(&self, method: Method, id: &str) -> RequestBuilder {
        self.batch(method, &format!("/texttospeech/batchsyntheses/{id}?api-version=2024-04-01"))
    }
}

#[tokio::test]
async fn a_transcription_starts_runs_and_succeeds_by_the_clock() {
    let world = World::start().await;
    let (base, visits) = inputs().await;
    let reply = world.order(&order(&[format!("{base}/9000/wav")])).send().await.unwrap();
    assert_eq!(reply.status(), 201);
    let place = reply.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = reply.json().await.unwrap();
    assert_eq!(
        (&job["self"], &job["status"], &job["displayName"]),
        (&json!(place), &json!("NotStarted"), &json!("a job"))
    );
    world.pass(1);
    assert_eq!(world.state(&job).await, "NotStarted");
    assert_eq!(visits.load(Ordering::SeqCst), 0);
    world.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(world.state(&job).await, "Running");
    assert_eq!(world.get(&job["links"]["files"]).await, json!({ "values": [] }));
    world.pass(3);
    assert!(world.simulator.ai_calls().is_empty());
    let done = world.get(&job["self"]).await;
    assert_eq!((&done["status"], &done["properties"]["durationMilliseconds"]), (&json!("Succeeded"), &json!(9_000)));
    assert_eq!(done["lastActionDateTime"], "2026-01-31T10:00:05Z");
    for _ in 0..2 {
        assert_eq!(world.files(&job).await.len(), 2);
    }
    assert_eq!((visits.load(Ordering::SeqCst), world.simulator.ai_calls().len()), (1, 1));
    let call = world.last_call();
    assert_eq!((call.deployment.as_str(), call.kind), ("speech-batch", AiKind::Transcription));
    assert!(call.audio_ms == 9_000 && call.finished);
    assert_eq!(world.simulator.request_count("ai.speech.batch.submit"), 1);
}

#[tokio::test]
async fn a_slow_input_holds_nobody_up_and_is_fetched_once() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let (base, visits) = inputs_behind(gate.clone()).await;
    let job = world.submit(&order(&[format!("{base}/1000/wav")])).await;
    world.pass(4);
    for _ in 0..3 {
        assert_eq!(world.state(&job).await, "Running");
    }
    while visits.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.pass(1);
    // It would be over by the clock, and whoever asks waits for a while.
    let asked = world.batch(Method::GET, job["self"].as_str().unwrap()).timeout(Duration::from_millis(100));
    assert!(asked.send().await.is_err() && world.simulator.ai_calls().is_empty());
    gate.add_permits(10);
    assert_eq!(world.state(&job).await, "Succeeded");
    assert_eq!((visits.load(Ordering::SeqCst), world.simulator.ai_calls().len()), (1, 1));
}

#[tokio::test]
async fn the_same_order_twice_is_two_jobs() {
    let world = World::start().await;
    let (base, visits) = inputs().await;
    let order = order(&[format!("{base}/1000/ogg")]);
    let (one, other) = (world.submit(&order).await, world.submit(&order).await);
    assert_ne!(one["self"], other["self"]);
    world.pass(5);
    for job in [&one, &other] {
        assert_eq!(world.state(job).await, "Succeeded");
    }
    assert_eq!((visits.load(Ordering::SeqCst), world.simulator.ai_calls().len()), (2, 2));
}

#[tokio::test]
async fn results_come_in_pages_and_say_everything_three_times() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    let urls: Vec<String> = ["9000/wav", "2000/ogg", "1000/wav"].iter().map(|at| format!("{base}/{at}")).collect();
    let more = json!({ "wordLevelTimestampsEnabled": true, "displayFormWordLevelTimestampsEnabled": true });
    let job = world.submit(&with_properties(order(&urls), more)).await;
    world.pass(5);
    let files = world.files(&job).await;
    let kinds: Vec<&Value> = files.iter().map(|file| &file["kind"]).collect();
    assert_eq!(kinds, ["Transcription", "Transcription", "Transcription", "TranscriptionReport"]);
    let address = &files[0]["links"]["contentUrl"];
    let file = world.content(address).await;
    assert_eq!(files[0]["properties"]["size"], file.to_string().len());
    assert_eq!((&file["source"], &file["duration"]), (&json!(urls[0]), &json!("PT9S")));
    assert_eq!((&file["durationInTicks"], &file["durationMilliseconds"]), (&json!(90_000_000), &json!(9_000)));
    let combined = &file["combinedRecognizedPhrases"][0];
    assert!(combined["display"].as_str().unwrap().starts_with("This is a simulated transcript"));
    assert!(combined["lexical"].as_str().unwrap().starts_with("this is a simulated transcript"));
    let second = &file["recognizedPhrases"][1];
    let told = [&second["offset"], &second["offsetInTicks"], &second["offsetMilliseconds"]];
    assert_eq!(told, [&json!("PT4S"), &json!(40_000_000), &json!(4_000)]);
    assert_eq!((&second["channel"], &second["duration"], second.get("speaker")), (&json!(0), &json!("PT3.92S"), None));
    let best = &second["nBest"][0];
    assert_eq!(
        (&best["words"][0]["word"], &best["displayWords"][0]["displayText"]),
        (&json!("simulated"), &json!("Simulated"))
    );
    assert_eq!(best["words"][0]["offsetMilliseconds"], 4_000);
    let report = world.content(&files[3]["links"]["contentUrl"]).await;
    assert_eq!(
        (&report["successfulTranscriptionsCount"], &report["failedTranscriptionsCount"]),
        (&json!(3), &json!(0))
    );

    let address = address.as_str().unwrap();
    let forged = address.replace("sig=", "sig=A");
    assert_eq!(answer(world.http.get(forged)).await.0, 403);
    assert_eq!(answer(world.batch(Method::GET, address)).await.0, 403);
    assert_eq!(answer(world.http.get(address.replace("contenturl_0", "contenturl_7"))).await.0, 404);
    assert_eq!(answer(world.batch(Method::DELETE, job["self"].as_str().unwrap())).await.0, 204);
    for address in [&job["self"], &job["links"]["files"]] {
        let (status, gone) = answer(world.batch(Method::GET, address.as_str().unwrap())).await;
        assert_eq!((status, &gone["code"]), (404, &json!("NotFound")));
    }
    assert_eq!(answer(world.http.get(address)).await.0, 404);
}

#[tokio::test]
async fn channels_are_interleaved_and_speakers_take_turns() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    let order = order(&[format!("{base}/10000/stereo")]);
    let of = async |properties: Value, member: &str| -> Vec<Value> {
        let job = world.submit(&with_properties(order.clone(), properties)).await;
        world.pass(5);
        let file = world.content(&world.files(&job).await[0]["links"]["contentUrl"]).await;
        file["recognizedPhrases"].as_array().unwrap().iter().map(|phrase| phrase[member].clone()).collect()
    };
    // As many bytes as ten seconds of one channel.
    assert_eq!(of(json!({}), "channel").await, [0, 1, 0, 1]);
    assert_eq!(of(json!({}), "offsetMilliseconds").await, [0, 0, 4_000, 4_000]);
    assert_eq!(of(json!({ "channels": [1] }), "channel").await, [1, 1]);
    let speakers = json!({ "diarization": { "enabled": true, "maxSpeakers": 2 } });
    assert_eq!(of(speakers.clone(), "speaker").await, [1, 2]);
    assert_eq!(of(speakers, "channel").await, [0, 0]);
}

#[tokio::test]
async fn a_job_with_failed_inputs_has_succeeded_and_its_report_tells() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    let mut urls: Vec<String> = ["1/nothing", "2000/wav", "1/text"].iter().map(|at| format!("{base}/{at}")).collect();
    // Nobody listens there.
    urls.push("http://127.0.0.1:1/wav".to_owned());
    let job = world.submit(&order(&urls)).await;
    world.pass(5);
    assert_eq!(world.state(&job).await, "Succeeded");
    let files = world.files(&job).await;
    assert_eq!((files.len(), &files[0]["name"]), (2, &json!("contenturl_1.json")));
    let report = world.content(&files[1]["links"]["contentUrl"]).await;
    assert_eq!(
        (&report["successfulTranscriptionsCount"], &report["failedTranscriptionsCount"]),
        (&json!(1), &json!(3))
    );
    let details = report["details"].as_array().unwrap();
    let kinds: Vec<&Value> = details.iter().map(|detail| &detail["errorKind"]).collect();
    assert_eq!(kinds, [&json!("DownloadFailed"), &Value::Null, &json!("InvalidAudio"), &json!("DownloadFailed")]);
    assert!(details[0]["status"] == "Failed" && details[0]["errorMessage"].as_str().unwrap().contains("404"));
    assert_eq!(world.simulator.ai_calls().iter().map(|call| call.audio_ms).collect::<Vec<_>>(), [2_000]);

    let job = world.submit(&order(&urls[2..])).await;
    world.pass(5);
    assert_eq!(world.state(&job).await, "Succeeded");
    assert_eq!(world.files(&job).await.len(), 1);
    assert_eq!(world.simulator.ai_calls().len(), 1);
}

#[tokio::test]
async fn large_files_are_counted_and_not_kept() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    // More than 8 MiB.
    let job = world.submit(&order(&[format!("{base}/300000/wav")])).await;
    world.pass(5);
    assert_eq!(world.get(&job["self"]).await["properties"]["durationMilliseconds"], 300_000);
}

#[tokio::test]
async fn jobs_are_listed_by_name_and_gone_after_their_time() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    let order = order(&[format!("{base}/1000/wav")]);
    for name in ["one", "it's", "it's", "it's"] {
        world.submit(&with(order.clone(), json!({ "displayName": name }))).await;
    }
    let list = |query: &str| world.batch(Method::GET, &format!("/speechtotext/transcriptions?{VERSION}{query}"));
    let filtered = answer(list("&filter=displayName%20eq%20'it''s'&top=10")).await.1;
    assert_eq!(filtered["values"].as_array().unwrap().len(), 2);
    let rest = world.get(&filtered["@nextLink"]).await;
    assert_eq!((rest["values"].as_array().unwrap().len(), rest.get("@nextLink")), (1, None));
    assert_eq!(rest["values"][0]["displayName"], "it's");
    let one = answer(list("&skip=3&top=1")).await.1;
    assert_eq!((one["values"].as_array().unwrap().len(), one.get("@nextLink")), (1, None));
    for wrong in ["&filter=status%20eq%20'Failed'", "&skip=-1", "&top=0", "&top=x"] {
        assert_eq!(answer(list(wrong)).await.0, 400, "{wrong}");
    }
    let job = rest["values"][0].clone();
    world.pass(5);
    let file = world.files(&job).await[0]["links"]["contentUrl"].clone();
    world.content(&file).await;
    world.pass(6 * 3_600 - 1);
    assert_eq!(world.state(&job).await, "Succeeded");
    world.pass(1);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(answer(world.batch(method, job["self"].as_str().unwrap())).await.0, 404);
    }
    assert_eq!(answer(world.http.get(file.as_str().unwrap())).await.0, 404);
    assert_eq!(answer(list("")).await.1, json!({ "values": [] }));
}

#[tokio::test]
async fn more_than_a_hundred_requests_in_ten_seconds_are_too_many() {
    let world = World::start().await;
    let nobody = format!("/speechtotext/transcriptions/00000000-0000-0000-0000-000000000000?{VERSION}");
    let ask = || world.batch(Method::GET, &nobody).send();
    for number in 0..100 {
        if number == 50 {
            world.pass(4);
        }
        assert_eq!(ask().await.unwrap().status(), 404);
    }
    let limited = ask().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"6".parse().unwrap()));
    assert_eq!(limited.json::<Value>().await.unwrap()["code"], "429");
    // The other service counts for itself.
    assert_eq!(answer(world.synthesis(Method::GET, "nobody")).await.0, 404);
    world.pass(6);
    assert_eq!(ask().await.unwrap().status(), 404);
}

#[tokio::test]
async fn only_the_right_key_and_a_good_order_are_taken() {
    let world = World::start().await;
    let good = order(&["https://example.com/a.wav".to_owned()]);
    let config = world.simulator.ai_config();
    let submit = format!("{}/speechtotext/transcriptions:submit?{VERSION}", config.azure_url);
    let put = format!("{}/texttospeech/batchsyntheses/a-job?api-version=2024-04-01", config.azure_url);
    for key in [&config.api_key, &config.vision_key] {
        for request in [world.http.post(&submit), world.http.put(&put)] {
            assert_eq!(answer(request.header("Ocp-Apim-Subscription-Key", key).json(&good)).await.0, 401);
        }
    }
    let refused = async |request: RequestBuilder, why: &str| {
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["code"]), (400, &json!("InvalidRequest")), "{why}");
        assert!(body["innerError"]["code"].is_string() && body.get("error").is_none(), "{why}");
    };
    let properties = |more: Value| with_properties(good.clone(), more);
    for wrong in [
        json!(null),
        json!([]),
        with(good.clone(), json!({ "contentUrls": [] })),
        with(good.clone(), json!({ "contentUrls": ["a.wav"] })),
        with(good.clone(), json!({ "contentUrls": ["file:///etc/passwd"] })),
        with(good.clone(), json!({ "contentUrls": vec!["https://example.com/a.wav"; 1_001] })),
        with(good.clone(), json!({ "contentContainerUrl": "https://example.com/all" })),
        with(good.clone(), json!({ "locale": null })),
        with(good.clone(), json!({ "displayName": "" })),
        with(good.clone(), json!({ "properties": [6] })),
        with(good.clone(), json!({ "properties": null })),
        properties(json!({ "timeToLiveHours": null })),
        properties(json!({ "timeToLiveHours": 5 })),
        properties(json!({ "timeToLiveHours": 745 })),
        properties(json!({ "timeToLiveHours": "6" })),
        properties(json!({ "channels": [0], "diarization": { "enabled": true } })),
        properties(json!({ "diarization": { "enabled": true, "maxSpeakers": 36 } })),
        properties(json!({ "punctuationMode": "Wild" })),
        properties(json!({ "profanityFilterMode": "Loud" })),
        properties(json!({ "languageIdentification": { "candidateLocales": ["en-US"] } })),
        properties(json!({ "destinationContainerUrl": "https://example.com/all" })),
    ] {
        refused(world.order(&wrong), &wrong.to_string()).await;
    }
    refused(world.batch(Method::POST, &submit).body("{"), "no JSON").await;
    refused(world.batch(Method::POST, &submit.replace("2024-11-15", "2020-01-01")).json(&good), "version").await;
    assert_eq!(answer(world.batch(Method::PUT, &submit).json(&good)).await.0, 405);
    assert_eq!(world.submit(&good).await["status"], "NotStarted");
    assert!(world.simulator.ai_calls().is_empty());
}

#[tokio::test]
async fn faults_strike_batches_as_well() {
    let world = World::start().await;
    let (base, _) = inputs().await;
    let faults = world.simulator.faults();
    let good = order(&[format!("{base}/1000/wav")]);
    faults.ai_throttle_next(1, Duration::from_secs(3));
    let limited = world.order(&good).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"3".parse().unwrap()));
    faults.ai_batch_fail_next(1);
    faults.ai_batch_times(Duration::from_secs(60), Duration::from_secs(90));
    let (lost, job) = (world.submit(&good).await, world.submit(&good).await);
    faults.ai_fail_next(1, 503);
    assert_eq!(answer(world.batch(Method::GET, job["self"].as_str().unwrap())).await.0, 503);
    world.pass(59);
    assert_eq!(world.state(&lost).await, "NotStarted");
    world.pass(30);
    assert_eq!(world.state(&lost).await, "Running");
    world.pass(1);
    let failed = world.get(&lost["self"]).await;
    assert_eq!((&failed["status"], failed["properties"]["error"]["code"].is_string()), (&json!("Failed"), true));
    assert!(world.files(&lost).await.is_empty() && world.simulator.ai_calls().is_empty());
    assert_eq!(world.state(&job).await, "Succeeded");
    let file = world.files(&job).await[0]["links"]["contentUrl"].as_str().unwrap().to_owned();
    faults.ai_cut_next(1);
    let cut = world.http.get(&file).send().await.unwrap();
    assert!(cut.status() == 200 && cut.bytes().await.is_err());
    faults.ai_down(true);
    assert_eq!(answer(world.http.get(&file)).await.0, 503);
    faults.clear();
    assert_eq!(answer(world.http.get(&file)).await.0, 200);
}

fn texts(kind: &str, texts: &[&str], properties: Value) -> Value {
    let inputs: Vec<Value> = texts.iter().map(|text| json!({ "content": text })).collect();
    json!({
        "inputKind": kind, "inputs": inputs, "synthesisConfig": { "voice": "en-US-AvaMultilingualNeural" },
        "properties": properties,
    })
}

#[tokio::test]
async fn a_synthesis_says_its_characters_and_gives_its_audio() {
    let world = World::start().await;
    let properties = json!({ "outputFormat": "audio-24khz-48kbitrate-mono-mp3", "concatenateResult": true });
    let order = texts("PlainText", &["Hello, you.", "  ", "\u{4F60}\u{597D}"], properties);
    let (status, job) = world.synthesize("job-1", &order).await;
    assert_eq!((status, &job["id"], &job["status"]), (201, &json!("job-1"), &json!("NotStarted")));
    assert_eq!(job["properties"]["timeToLiveInHours"], 168);
    let (status, twice) = world.synthesize("job-1", &order).await;
    assert_eq!((status, &twice["error"]["code"]), (409, &json!("Conflict")));
    let look = async || answer(world.synthesis(Method::GET, "job-1")).await.1;
    world.pass(2);
    let running = look().await;
    assert_eq!((&running["status"], running.get("outputs")), (&json!("Running"), None));
    world.pass(3);
    let done = look().await;
    assert_eq!(done["status"], "Succeeded");
    let told = &done["properties"];
    assert_eq!((&told["succeededAudioCount"], &told["failedAudioCount"]), (&json!(2), &json!(1)));
    assert_eq!(told["billingDetails"], json!({ "neuralCharacters": 11 + 4 }));
    assert_eq!(told["durationInMilliseconds"], 13 * 60);
    let reply = world.http.get(done["outputs"]["result"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "audio/mpeg");
    let audio = reply.bytes().await.unwrap();
    assert_eq!(told["sizeInBytes"], audio.len());
    assert!((780..804).contains(&measure(audio).await.unwrap().milliseconds));
    let summary = world.content(&done["outputs"]["summary"]).await;
    let statuses: Vec<&Value> = summary["results"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["Succeeded", "Failed", "Succeeded"]);
    look().await;
    let calls = world.simulator.ai_calls();
    let booked: Vec<_> = calls.iter().map(|call| (call.kind, call.characters, call.audio_ms)).collect();
    assert_eq!(booked, [(AiKind::Speech, 11, 660), (AiKind::Speech, 4, 120)]);
    assert_eq!(calls[0].deployment, "speech-batch-synthesis");
    for _ in 0..2 {
        assert_eq!(answer(world.synthesis(Method::DELETE, "job-1")).await.0, 204);
    }
    assert_eq!(answer(world.synthesis(Method::GET, "job-1")).await.0, 404);
    assert_eq!(world.simulator.request_count("ai.speech.batch_synthesis.create"), 2);
    assert_eq!(world.simulator.request_count("ai.speech.batch_synthesis.delete"), 2);
}

#[tokio::test]
async fn hours_of_speech_are_made_while_they_are_fetched() {
    let world = World::start().await;
    let text = "x".repeat(60_000);
    let marked = format!(
        "<speak version='1.0' xml:lang='en-US'><voice name='en-US-AvaMultilingualNeural'>{text}</voice></speak>"
    );
    let properties = json!({ "concatenateResult": true, "outputFormat": "raw-8khz-16bit-mono-pcm" });
    let (status, _) = world.synthesize("long", &texts("SSML", &[&marked, "<speak>"], properties)).await;
    assert_eq!(status, 201);
    world.pass(5);
    let done = answer(world.synthesis(Method::GET, "long")).await.1;
    let told = &done["properties"];
    assert_eq!((&told["durationInMilliseconds"], &told["failedAudioCount"]), (&json!(3_600_000), &json!(1)));
    assert_eq!(told["billingDetails"]["neuralCharacters"], 60_000);
    let mut reply = world.http.get(done["outputs"]["result"].as_str().unwrap()).send().await.unwrap();
    let (mut size, mut pieces) = (0, 0);
    while let Some(chunk) = reply.chunk().await.unwrap() {
        size += chunk.len();
        pieces += 1;
    }
    assert!(size == 3_600 * 16_000 && pieces > 100, "{size} {pieces}");
}

#[tokio::test]
async fn a_synthesis_that_can_not_be_is_refused() {
    let world = World::start().await;
    let good = texts("PlainText", &["Hello"], json!({}));
    for wrong in [
        json!(null),
        json!({}),
        with(good.clone(), json!({ "inputKind": "Music" })),
        with(good.clone(), json!({ "inputs": [] })),
        with(good.clone(), json!({ "inputs": [{ "text": "Hello" }] })),
        with(good.clone(), json!({ "inputs": vec![json!({ "content": "a" }); 10_001] })),
        with(good.clone(), json!({ "inputs": [{ "content": "x".repeat(2 << 20) }] })),
        with(good.clone(), json!({ "synthesisConfig": { "voice": "alloy" } })),
        with(good.clone(), json!({ "customVoices": { "mine": "an-id" } })),
        with(good.clone(), json!({ "properties": { "outputFormat": "tape" } })),
        with(good.clone(), json!({ "properties": { "timeToLiveInHours": 745 } })),
        with(good.clone(), json!({ "properties": { "destinationContainerUrl": "https://example.com/all" } })),
    ] {
        let (status, body) = world.synthesize("a-job", &wrong).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("BadRequest")), "{body}");
    }
    for id in ["ab", "a.b.c", &"x".repeat(65)] {
        assert_eq!(world.synthesize(id, &good).await.0, 400, "{id}");
    }
    let other = world.batch(Method::PUT, "/texttospeech/batchsyntheses/a-job?api-version=2023-01-01").json(&good);
    assert_eq!(answer(other).await.0, 400);
    assert!(world.simulator.ai_calls().is_empty());
}

#[tokio::test]
async fn syntheses_are_listed_fail_and_go_after_their_time() {
    let world = World::start().await;
    let order = |properties: Value| texts("PlainText", &["Hello"], properties);
    world.simulator.faults().ai_batch_fail_next(1);
    for id in ["one", "two", "three"] {
        assert_eq!(world.synthesize(id, &order(json!({ "timeToLiveInHours": 2 }))).await.0, 201);
    }
    world.pass(5);
    let page = answer(world.batch(Method::GET, "/texttospeech/batchsyntheses?api-version=2024-04-01")).await.1;
    assert_eq!((&page["value"][0]["status"], &page["value"][1]["status"]), (&json!("Failed"), &json!("Succeeded")));
    assert!(page["value"][0]["properties"]["error"]["message"].is_string());
    // Nothing was asked to be joined, and a ZIP is not made.
    let outputs = &page["value"][1]["outputs"];
    assert!(outputs["summary"].is_string() && outputs.get("result").is_none());
    let rest = world.get(&page["nextLink"]).await;
    assert_eq!((rest["value"].as_array().unwrap().len(), rest.get("nextLink")), (1, None));
    world.pass(2 * 3_600);
    assert_eq!(answer(world.synthesis(Method::GET, "two")).await.0, 404);
    assert_eq!(world.synthesize("two", &order(json!({}))).await.0, 201);
}
