//! Audio to text and text to audio, at Azure OpenAI and at Azure Speech.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::measure::measure;
use super::sound::Sound;
use super::tests::with;
use crate::simulator::AiKind;
use crate::simulator::tests::World;

/// A part of a form: its name, its file name if it is a file, and what is in it.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

fn form(request: RequestBuilder, parts: &[Part]) -> RequestBuilder {
    let mut body = Vec::new();
    for (name, file_name, bytes) in parts {
        body.extend(format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
        if !file_name.is_empty() {
            body.extend(format!("; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    request.header("content-type", "multipart/form-data; boundary=edge").body(body)
}

impl World {
    /// Audio to the v1 family.
    fn audio(&self, path: &str, parts: &[Part]) -> RequestBuilder {
        let config = self.simulator.ai_config();
        let url = format!("{}/audio/{path}", config.base_url);
        form(self.http.post(url).header("api-key", config.api_key), parts)
    }

    /// A POST to Azure Speech with the right key.
    fn speech(&self, path: &str) -> RequestBuilder {
        let config = self.simulator.ai_config();
        let url = format!("{}{path}", config.azure_url);
        self.http.post(url).header("Ocp-Apim-Subscription-Key", config.speech_key)
    }

    fn fast(&self, audio: &[u8], definition: &Value) -> RequestBuilder {
        let request = self.speech("/speechtotext/transcriptions:transcribe?api-version=2025-10-15");
        form(request, &[("audio", "a.wav", audio), ("definition", "", definition.to_string().as_bytes())])
    }
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn text_of(request: RequestBuilder) -> (u16, String) {
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

fn wav(milliseconds: u64) -> Vec<u8> {
    Sound::Wav { rate: 16_000 }.make(milliseconds)
}

async fn length(reply: Response) -> u64 {
    measure(reply.bytes().await.unwrap()).await.unwrap().milliseconds
}

#[tokio::test]
async fn whisper_writes_all_formats() {
    let world = World::start().await;
    let file = Sound::Opus.make(9_000);
    let ask = |more: &[Part]| {
        let parts = [&[("file", "a.ogg", file.as_slice()), ("model", "", b"sim-whisper")], more].concat();
        world.audio("transcriptions", &parts)
    };
    let (status, plain) = json_of(ask(&[])).await;
    let text = plain["text"].as_str().unwrap();
    assert!(status == 200 && text.starts_with("This is a simulated transcript") && plain.get("usage").is_none());
    let call = world.last_call();
    assert_eq!((call.kind, call.audio_ms, call.finished), (AiKind::Transcription, 9_000, true));
    assert_eq!((call.deployment.as_str(), call.prompt_tokens, call.completion_tokens), ("sim-whisper", 0, 0));

    let (_, verbose) = json_of(ask(&[
        ("response_format", "", b"verbose_json"),
        ("language", "", b"de"),
        ("timestamp_granularities[]", "", b"word"),
        ("timestamp_granularities[]", "", b"segment"),
    ]))
    .await;
    assert_eq!((&verbose["task"], &verbose["language"]), (&json!("transcribe"), &json!("de")));
    assert_eq!((&verbose["duration"], &verbose["text"]), (&json!(9.0), &json!(text)));
    assert_eq!((verbose["segments"].as_array().unwrap().len(), verbose["words"].as_array().unwrap().len()), (3, 22));
    assert_eq!((&verbose["segments"][1]["start"], &verbose["segments"][1]["end"]), (&json!(4.0), &json!(7.92)));
    assert_eq!(verbose["words"][21], json!({ "word": "phrase", "start": 8.4, "end": 8.72 }));

    let (_, srt) = text_of(ask(&[("response_format", "", b"srt")])).await;
    assert!(srt.starts_with("1\n00:00:00,000 --> 00:00:03,920\nThis is a simulated transcript"), "{srt}");
    let (_, vtt) = text_of(ask(&[("response_format", "", b"vtt")])).await;
    assert!(vtt.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:03.920\nThis is"), "{vtt}");
    assert_eq!(text_of(ask(&[("response_format", "", b"text")])).await.1, format!("{text}\n"));

    let parts = [("file", "a.ogg", file.as_slice()), ("model", "", b"sim-whisper".as_slice())];
    let (status, english) = json_of(world.audio("translations", &parts)).await;
    assert!(status == 200 && english["text"].as_str().unwrap().starts_with("This is a simulated translation"));
    assert_eq!(world.last_call().kind, AiKind::Translation);
    let config = world.simulator.ai_config();
    let url = format!("{}/deployments/sim-whisper/audio/transcriptions", config.dated_base_url);
    let dated = world.http.post(format!("{url}?api-version=2024-10-21")).header("api-key", &config.api_key);
    assert_eq!(json_of(form(dated, &parts[..1])).await.0, 200);
    world.simulator.faults().ai_no_whisper_on_v1(true);
    let (status, gone) = json_of(world.audio("transcriptions", &parts)).await;
    assert_eq!((status, &gone["error"]["code"]), (404, &json!("DeploymentNotFound")));
}

#[tokio::test]
async fn newer_models_count_tokens_and_write_json_only() {
    let world = World::start().await;
    let file = wav(2_050);
    let parts: [Part; 3] = [("file", "a.wav", &file), ("model", "", b"sim-transcribe"), ("prompt", "", b"some names")];
    let (_, answer) = json_of(world.audio("transcriptions", &parts)).await;
    assert_eq!(answer["text"], "This is a simulated transcript.");
    let usage = json!({
        "type": "tokens", "input_tokens": 24, "output_tokens": 8, "total_tokens": 32,
        "input_token_details": { "text_tokens": 3, "audio_tokens": 21 },
    });
    assert_eq!(answer["usage"], usage);
    let call = world.last_call();
    assert_eq!((call.prompt_tokens, call.completion_tokens, call.audio_ms), (24, 8, 2_050));
    let (status, refused) =
        json_of(world.audio("transcriptions", &[parts.as_slice(), &[("response_format", "", b"srt")]].concat())).await;
    assert_eq!((status, &refused["error"]["param"]), (400, &json!("response_format")));
    assert_eq!(json_of(world.audio("translations", &parts)).await.1["error"]["code"], "OperationNotSupported");
}

#[tokio::test]
async fn what_is_not_audio_is_refused() {
    let world = World::start().await;
    let refused = async |parts: &[Part]| {
        let (status, answer) = json_of(world.audio("transcriptions", parts)).await;
        assert!(answer["error"]["message"].is_string(), "{answer}");
        status
    };
    let model: Part = ("model", "", b"sim-whisper");
    let (sound, short) = (wav(1_000), wav(50));
    assert_eq!(refused(&[("file", "a.wav", b"nothing of the kind"), model]).await, 400);
    assert_eq!(refused(&[("file", "a.wav", &short), model]).await, 400);
    assert_eq!(refused(&[("file", "a.txt", &sound), model]).await, 400);
    assert_eq!(refused(&[model]).await, 400);
    assert_eq!(refused(&[("file", "a.wav", &sound)]).await, 400);
    assert_eq!(refused(&[("file", "a.wav", &sound), model, ("response_format", "", b"pdf")]).await, 400);
    assert_eq!(refused(&[("file", "a.wav", &vec![0; (25 << 20) + 1]), model]).await, 413);
    let broken = world.ai("audio/transcriptions", &json!({ "model": "sim-whisper" }));
    assert_eq!(json_of(broken).await.0, 400);
    assert!(world.simulator.ai_calls().is_empty());
}

#[tokio::test]
async fn speech_is_as_long_as_its_text_in_every_format() {
    let world = World::start().await;
    let order = json!({ "model": "sim-tts", "voice": "nova", "input": "x".repeat(100) });
    let say = |more: Value| world.ai("audio/speech", &with(order.clone(), more)).send();
    for (format, mime, frame) in [
        ("mp3", "audio/mpeg", 24),
        ("opus", "audio/ogg", 1),
        ("aac", "audio/aac", 43),
        ("flac", "audio/flac", 1),
        ("wav", "audio/wav", 1),
    ] {
        let reply = say(json!({ "response_format": format })).await.unwrap();
        assert_eq!((reply.status().as_u16(), &reply.headers()["content-type"]), (200, &mime.parse().unwrap()));
        let length = length(reply).await;
        assert!((6_000..6_000 + frame).contains(&length), "{format} {length}");
    }
    let call = world.last_call();
    assert_eq!((call.kind, call.characters, call.audio_ms, call.finished), (AiKind::Speech, 100, 6_000, true));
    let mut fast = say(json!({ "response_format": "pcm", "speed": 1.5 })).await.unwrap();
    let mut sizes = Vec::new();
    while let Some(chunk) = fast.chunk().await.unwrap() {
        sizes.push(chunk.len());
    }
    assert!(sizes.iter().sum::<usize>() == 4_000 * 48 && sizes.len() > 1, "{sizes:?}");
    for more in [
        json!({ "input": "x".repeat(4_097) }),
        json!({ "input": "" }),
        json!({ "voice": "nobody" }),
        json!({ "response_format": "ogg" }),
        json!({ "speed": 5 }),
        json!({ "model": "sim-chat" }),
    ] {
        assert_eq!(say(more.clone()).await.unwrap().status(), 400, "{more}");
    }
}

#[tokio::test]
async fn whole_files_are_transcribed_with_speakers_or_channels() {
    let world = World::start().await;
    let audio = wav(10_000);
    let plain = json!({ "locales": ["de-DE", "en-US"], "phraseList": { "phrases": ["MediaGenie"] } });
    let (status, answer) = json_of(world.fast(&audio, &plain)).await;
    assert_eq!((status, &answer["durationMilliseconds"]), (200, &json!(10_000)));
    let phrases = answer["phrases"].as_array().unwrap();
    assert_eq!(phrases.len(), 3);
    assert!(answer["combinedPhrases"][0]["text"].as_str().unwrap().starts_with("This is a simulated transcript"));
    let second = &phrases[1];
    assert_eq!((&second["offsetMilliseconds"], &second["locale"]), (&json!(4_000), &json!("de-DE")));
    assert_eq!((second.get("speaker"), second.get("channel")), (None, None));
    let word = json!({ "text": "Simulated", "offsetMilliseconds": 4_000, "durationMilliseconds": 320 });
    assert_eq!(second["words"][0], word);
    let call = world.last_call();
    assert_eq!((call.deployment.as_str(), call.kind, call.audio_ms), ("speech-fast", AiKind::Transcription, 10_000));

    let speakers = json!({ "diarization": { "enabled": true, "maxSpeakers": 2 } });
    let (_, answer) = json_of(world.fast(&audio, &speakers)).await;
    let numbers: Vec<&Value> = answer["phrases"].as_array().unwrap().iter().map(|phrase| &phrase["speaker"]).collect();
    assert_eq!(numbers, [1, 2, 1]);
    let (_, answer) = json_of(world.fast(&audio, &json!({ "channels": [0] }))).await;
    assert_eq!((&answer["phrases"][0]["channel"], &answer["combinedPhrases"][0]["channel"]), (&json!(0), &json!(0)));
    let translate = json!({ "enhancedMode": { "enabled": true, "task": "translate", "targetLanguage": "fr-FR" } });
    let (_, answer) = json_of(world.fast(&audio, &translate)).await;
    assert_eq!((&answer["phrases"][0]["locale"], world.last_call().kind), (&json!("fr-FR"), AiKind::Translation));

    for wrong in [
        json!({ "channels": [0], "diarization": { "enabled": true } }),
        json!({ "channels": [1] }),
        json!({ "locales": "de-DE" }),
        json!({ "audioUrl": "https://example.com/a.wav" }),
        json!({ "profanityFilterMode": "Loud" }),
    ] {
        let (status, answer) = json_of(world.fast(&audio, &wrong)).await;
        assert_eq!((status, &answer["code"]), (400, &json!("InvalidRequest")), "{wrong}");
        assert!(answer["innerError"]["code"].is_string() && answer.get("error").is_none());
    }
    assert_eq!(json_of(world.fast(b"no audio", &json!({}))).await.1["innerError"]["code"], "InvalidAudioFormat");
    let other = form(
        world.speech("/speechtotext/transcriptions:transcribe?api-version=2020-01-01"),
        &[("audio", "a.wav", audio.as_slice())],
    );
    assert_eq!(json_of(other).await.0, 400);
    assert_eq!(world.simulator.ai_calls().len(), 4);
}

#[tokio::test]
async fn short_audio_is_heard_for_a_minute() {
    let world = World::start().await;
    let hear = |query: &str, audio: Vec<u8>| {
        let path = format!("/speech/recognition/conversation/cognitiveservices/v1{query}");
        world.speech(&path).header("content-type", "audio/wav; codecs=audio/pcm; samplerate=16000").body(audio)
    };
    let (status, answer) = json_of(hear("?language=en-US&format=detailed", wav(2_000))).await;
    assert_eq!((status, &answer["RecognitionStatus"]), (200, &json!("Success")));
    assert_eq!((&answer["DisplayText"], &answer["Offset"]), (&json!("This is a simulated transcript."), &json!(0)));
    assert_eq!(answer["Duration"], 19_200_000);
    assert_eq!(answer["NBest"][0]["Lexical"], "this is a simulated transcript");
    let (_, simple) = json_of(hear("?language=en-US", Sound::Opus.make(70_000))).await;
    assert!(simple.get("NBest").is_none());
    assert_eq!((world.last_call().audio_ms, world.last_call().kind), (60_000, AiKind::Transcription));

    let mut silence = wav(2_000);
    silence[44..].fill(0);
    assert_eq!(json_of(hear("?language=en-US", silence)).await.1["RecognitionStatus"], "NoMatch");
    world.simulator.faults().ai_no_match_next(1);
    for status in ["NoMatch", "Success"] {
        assert_eq!(json_of(hear("?language=en-US", wav(2_000))).await.1["RecognitionStatus"], status);
    }
    let calls = world.simulator.ai_calls().len();
    assert_eq!(text_of(hear("", wav(2_000))).await.0, 400);
    assert_eq!(text_of(hear("?language=en-US", Sound::Wav { rate: 24_000 }.make(2_000))).await.0, 400);
    assert_eq!(text_of(hear("?language=en-US", Sound::Flac.make(2_000))).await.0, 400);
    assert_eq!(world.simulator.ai_calls().len(), calls);
}

fn ssml(text: &str) -> String {
    format!("<speak version='1.0' xml:lang='en-US'><voice name='en-US-AvaMultilingualNeural'>{text}</voice></speak>")
}

#[tokio::test]
async fn marked_up_text_is_spoken_for_ten_minutes_at_most() {
    let world = World::start().await;
    let say = |format: &str, text: String| {
        let request = world.speech("/cognitiveservices/v1").header("content-type", "application/ssml+xml");
        request.header("x-microsoft-outputformat", format).header("user-agent", "test").body(text)
    };
    for (format, mime, frame) in [
        ("riff-24khz-16bit-mono-pcm", "audio/x-wav", 1),
        ("audio-24khz-48kbitrate-mono-mp3", "audio/mpeg", 24),
        ("audio-16khz-32kbitrate-mono-mp3", "audio/mpeg", 36),
        ("audio-48khz-192kbitrate-mono-mp3", "audio/mpeg", 24),
        ("ogg-24khz-16bit-mono-opus", "audio/ogg", 1),
    ] {
        let reply = say(format, ssml("Hello &amp; \u{4F60}\u{597D}")).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), &reply.headers()["content-type"]), (200, &mime.parse().unwrap()));
        let length = length(reply).await;
        assert!((600..600 + frame).contains(&length), "{format} {length}");
    }
    let call = world.last_call();
    assert_eq!((call.deployment.as_str(), call.kind), ("speech-synthesis", AiKind::Speech));
    assert_eq!((call.characters, call.audio_ms), (12, 600));
    let raw = say("raw-24khz-16bit-mono-pcm", ssml("Hello")).send().await.unwrap();
    assert_eq!(raw.bytes().await.unwrap().len(), 300 * 48);
    let long = say("ogg-24khz-16bit-mono-opus", ssml(&"word ".repeat(3_000))).send().await.unwrap();
    assert_eq!(length(long).await, 600_000);
    assert_eq!((world.last_call().characters, world.last_call().audio_ms), (15_000, 600_000));

    let calls = world.simulator.ai_calls().len();
    let mp3 = "audio-24khz-48kbitrate-mono-mp3";
    assert_eq!(text_of(say(mp3, ssml("a < b"))).await.0, 400);
    assert_eq!(text_of(say("audio-24khz-49kbitrate-mono-mp3", ssml("Hello"))).await.0, 400);
    let anonymous = world.speech("/cognitiveservices/v1").header("content-type", "application/ssml+xml");
    assert_eq!(text_of(anonymous.header("x-microsoft-outputformat", mp3).body(ssml("Hello"))).await.0, 400);
    let plain = world.speech("/cognitiveservices/v1").header("user-agent", "test").header("content-type", "text/plain");
    assert_eq!(text_of(plain.header("x-microsoft-outputformat", mp3).body("Hello")).await.0, 415);
    assert_eq!(world.simulator.ai_calls().len(), calls);

    let config = world.simulator.ai_config();
    let url = format!("{}/cognitiveservices/voices/list", config.azure_url);
    let (_, voices) = json_of(world.http.get(&url).header("Ocp-Apim-Subscription-Key", &config.speech_key)).await;
    assert_eq!(voices[0]["ShortName"], "en-US-AvaMultilingualNeural");
    assert_eq!((&voices[3]["Locale"], &voices[3]["SampleRateHertz"]), (&json!("de-DE"), &json!("24000")));
    for key in [&config.api_key, &config.vision_key] {
        assert_eq!(json_of(world.http.get(&url).header("Ocp-Apim-Subscription-Key", key)).await.0, 401);
    }
}

#[tokio::test]
async fn faults_strike_sound_as_well() {
    let world = World::start().await;
    let faults = world.simulator.faults();
    let order = json!({ "model": "sim-tts", "voice": "nova", "input": "x".repeat(100), "response_format": "wav" });
    let say = || world.ai("audio/speech", &order).send();
    faults.ai_cut_next(1);
    faults.ai_cut_after_chunks(Some(3));
    let mut reply = say().await.unwrap();
    let mut arrived = Bytes::new().len();
    let broken = loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => arrived += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && arrived == 3 * 8_192, "{broken} {arrived}");
    let call = world.last_call();
    assert!(call.cut && !call.finished && call.characters == 100);
    faults.ai_chunk_delay(Duration::from_secs(600));
    let mut reply = say().await.unwrap();
    reply.chunk().await.unwrap();
    drop(reply);
    for _ in 0..200 {
        if world.last_call().client_gone {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.last_call().client_gone && world.last_call().characters == 100);
    faults.clear();

    faults.ai_throttle_next(1, Duration::from_millis(1_500));
    let limited = world.fast(&wav(1_000), &json!({})).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"2".parse().unwrap()));
    assert_eq!(limited.json::<Value>().await.unwrap()["code"], "429");
    faults.ai_html_next(1);
    assert!(text_of(world.fast(&wav(1_000), &json!({}))).await.1.starts_with("<html>"));
    faults.ai_cut_next(1);
    assert!(world.fast(&wav(1_000), &json!({})).send().await.unwrap().bytes().await.is_err());
    assert!(world.last_call().cut && world.last_call().audio_ms == 1_000);
    faults.ai_down(true);
    let (status, why) = text_of(world.speech("/cognitiveservices/v1").body("")).await;
    assert!(status == 503 && !why.starts_with('{'));
}
