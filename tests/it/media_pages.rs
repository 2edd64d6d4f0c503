//! Files and media jobs in the portal: uploaded by a form, started, followed to their end, looked at.

use mediagenie::simulator::Person;
use reqwest::header::COOKIE;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ai_media::{png, wav};
use crate::support::ai::Program;
use crate::support::app::TestApp;
use crate::support::browser::Browser;
use crate::support::gate::Act;

/// A browser where its pages are not enough: forms with files, ranges, streams.
struct Window {
    http: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).replace("&#x2f;", "/")
    }
}

impl Window {
    async fn of(app: &TestApp, browser: &Browser, id: Uuid) -> Self {
        let page = browser.get("/portal").await;
        Self {
            http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap(),
            base: app.url(&format!("/portal/subscriptions/{id}")),
            cookie: format!("mediagenie-session={}", browser.cookie("mediagenie-session").unwrap()),
            csrf: page.fields("/sign-out")["csrf"].clone(),
        }
    }

    async fn get(&self, path: &str, range: Option<&str>) -> Answer {
        let mut request = self.http.get(format!("{}/{path}", self.base)).header(COOKIE, &self.cookie);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// Sends the form of the page of files.
    async fn upload(&self, csrf: Option<&str>, files: &[(&str, &[u8])]) -> Answer {
        let mut form = reqwest::multipart::Form::new();
        if let Some(csrf) = csrf {
            form = form.text("csrf", csrf.to_owned());
        }
        form = form.text("days", "7");
        for (name, bytes) in files {
            form = form.part("files", reqwest::multipart::Part::bytes(bytes.to_vec()).file_name((*name).to_owned()));
        }
        let request = self.http.post(format!("{}/files", self.base)).header(COOKIE, &self.cookie);
        Answer::of(request.header("accept", "text/html").multipart(form).send().await.unwrap()).await
    }

    /// The id of a file that the page lists under this name.
    async fn file(&self, name: &str) -> String {
        let page = self.get("files", None).await.text();
        let before = page.split(&format!("content\">{name}</a>")).next().unwrap();
        before.rsplit("/files/").next().unwrap().trim_end_matches('/').to_owned()
    }
}

async fn start() -> (TestApp, Uuid, Browser, Window) {
    let app = TestApp::with_ai().await;
    let (id, browser) = app.buy("metered", None).await;
    let window = Window::of(&app, &browser, id).await;
    (app, id, browser, window)
}

/// Starts a job with the page's form of a kind; gives its address.
async fn begin(browser: &Browser, id: Uuid, kind: &str, filled: &[(&str, &str)]) -> String {
    let list = format!("/portal/subscriptions/{id}/jobs");
    let page = browser.get(&list).await;
    let csrf = page.fields(&list)["csrf"].clone();
    let once = page.fields(&list)["once"].clone();
    let mut fields = vec![("csrf", csrf.as_str()), ("once", &once), ("kind", kind)];
    fields.extend(filled);
    let page = browser.post(&list, &fields).await;
    assert!(page.status == 200 && page.url.path().contains("/jobs/job_"), "{kind}: {}", page.body);
    page.url.path().to_owned()
}

#[tokio::test]
async fn files_are_uploaded_by_a_form_listed_downloaded_and_removed() {
    let (app, id, browser, window) = start().await;
    let here = format!("/portal/subscriptions/{id}");
    let page = browser.get(&here).await;
    assert!(page.says(&format!("{here}/files")) && page.says(&format!("{here}/jobs")), "there is a way to them");
    let empty = browser.get(&format!("{here}/files")).await;
    assert!(empty.says("There are no files") && empty.says("multipart/form-data"));
    let html = b"<script>alert(1)</script>";
    let (sound, image) = (wav(16_000, 500), png(60, 60));
    let files: [(&str, &[u8]); 4] =
        [("call.wav", &sound), ("会议.png", &image), ("x.html", html), ("0.txt", b"0123456789")];
    let sent = window.upload(Some(&window.csrf), &files).await;
    assert_eq!((sent.status, sent.header("location")), (303, format!("{here}/files?uploaded=4").as_str()));
    let page = browser.get(sent.header("location")).await;
    for text in ["Uploaded: 4", "call.wav", "会议.png", "x.html", "audio/wav", "15.6 KiB", "2026-03-09 09:00 UTC"] {
        assert!(page.says(text), "{text}: {}", page.body);
    }
    for (file, how, kind) in [
        ("call.wav", "inline; filename=\"call.wav\"", "audio/wav"),
        ("会议.png", "inline; filename=\"__.png\"; filename*=UTF-8''%E4%BC%9A%E8%AE%AE%2Epng", "image/png"),
        ("x.html", "attachment; filename=\"x.html\"", "application/octet-stream"),
        ("0.txt", "attachment; filename=\"0.txt\"", "text/plain; charset=utf-8"),
    ] {
        let answer = window.get(&format!("files/{}/content", window.file(file).await), None).await;
        let told = (answer.header("content-disposition"), answer.header("content-type"));
        assert_eq!((answer.status, told), (200, (how, kind)));
        assert_eq!((answer.header("x-content-type-options"), answer.header("cache-control")), ("nosniff", "no-store"));
    }
    let (digits, html) = (window.file("0.txt").await, window.file("x.html").await);
    let content = format!("files/{digits}/content");
    for (range, status, text) in [
        ("bytes=2-4", 206, "234"),
        ("bytes=7-", 206, "789"),
        ("bytes=-2", 206, "89"),
        ("bytes=0-1,3-4", 200, "0123456789"),
    ] {
        let answer = window.get(&content, Some(range)).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{range}");
    }
    assert_eq!(window.get(&content, Some("bytes=10-")).await.status, 416);
    let page = browser.get(&format!("{here}/files")).await;
    let removed = browser.submit(&page, &format!("{here}/files/{digits}/delete"), &[]).await;
    assert!(removed.says("The file is deleted") && !removed.says(&digits), "{}", removed.body);
    assert_eq!(window.get(&content, None).await.status, 404);
    // A customer of another company learns nothing.
    let stranger = app.signed_in(&Person::fabrikam_buyer()).await;
    let theirs = Window::of(&app, &stranger, id).await;
    assert_eq!(theirs.get("files", None).await.status, 404);
    assert_eq!(theirs.get(&format!("files/{html}/content"), None).await.status, 404);
    assert_eq!(theirs.upload(Some(&theirs.csrf), &[("a.txt", b"a")]).await.status, 404);
    // Neither does another subscription of the same one.
    let (other, _) = app.buy("metered", None).await;
    let beside = Window::of(&app, &browser, other).await;
    assert_eq!(beside.get(&format!("files/{html}/content"), None).await.status, 404);
    assert_eq!(app.host.app.blobs.list("media-files", "", "", 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_form_that_is_not_ours_writes_nothing_and_a_bad_one_says_why() {
    let app = TestApp::with_deployments(|_| {}, &[("MEDIA_FILE_MIB", "1")]).await;
    let (id, browser) = app.buy("metered", None).await;
    let window = Window::of(&app, &browser, id).await;
    let blobs = async || app.host.app.blobs.list("media-files", "", "", 10).await.unwrap().len();
    let large = vec![b'x'; 3 * 1024 * 1024];
    for csrf in [None, Some(""), Some("abc")] {
        assert_eq!(window.upload(csrf, &[("a.txt", &large)]).await.status, 403, "{csrf:?}");
    }
    // The token behind the file comes too late.
    let part = reqwest::multipart::Part::bytes(b"late".to_vec()).file_name("a.txt");
    let form = reqwest::multipart::Form::new().part("files", part).text("csrf", window.csrf.clone());
    let request = window.http.post(format!("{}/files", window.base)).header(COOKIE, &window.cookie);
    assert_eq!(request.multipart(form).send().await.unwrap().status(), 403);
    let form = reqwest::multipart::Form::new().text("csrf", window.csrf.clone());
    let request = window.http.post(format!("{}/files", window.base)).header(COOKIE, &window.cookie);
    let elsewhere = request.header("origin", "https://evil.example").multipart(form).send().await.unwrap();
    assert_eq!(elsewhere.status(), 403);
    // A form that never comes to its first field fills no memory.
    let boundary = "multipart/form-data; boundary=x";
    let alone = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = alone.post(format!("{}/files", window.base)).header(COOKIE, &window.cookie);
    let junk = request.header("content-type", boundary).body(large.clone()).send().await;
    // The server may close before all is sent; then the client sees a broken pipe instead of the answer.
    assert!(junk.is_err() || junk.unwrap().status() == 403);
    assert_eq!(blobs().await, 0);
    for (files, status, said) in [
        (&[][..], 400, "No file was chosen"),
        (&[("", &b""[..])][..], 400, "No file was chosen"),
        (&[("empty.txt", &b""[..])][..], 400, "A file is empty"),
        (&[("good.txt", &b"good"[..]), ("large.bin", &large[..])][..], 413, "A file is too large"),
    ] {
        let answer = window.upload(Some(&window.csrf), files).await;
        assert!(answer.status == status && answer.text().contains(said), "{said}: {} {}", answer.status, answer.text());
    }
    assert_eq!(blobs().await, 1, "what was whole before the one that is too large stays");
    let bad = [("days", "31")];
    let form =
        bad.iter().fold(reqwest::multipart::Form::new().text("csrf", window.csrf.clone()), |form, (name, value)| {
            form.text(*name, *value)
        });
    let request = window.http.post(format!("{}/files", window.base)).header(COOKIE, &window.cookie);
    assert_eq!(request.multipart(form).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_job_is_started_by_a_form_followed_to_its_end_and_deleted_with_its_results() {
    let (app, id, browser, window) = start().await;
    window.upload(Some(&window.csrf), &[("call one.wav", &wav(16_000, 3_000))]).await;
    let file = window.file("call one.wav").await;
    let list = format!("/portal/subscriptions/{id}/jobs");
    let page = browser.get(&list).await;
    assert!(page.says("There are no media jobs") && page.says("/v1/media/jobs") && page.says("call one.wav"));
    let fields = [
        ("model", "transcribe-fast"),
        ("response_format", "srt"),
        ("files", &*file),
        ("urls", "https://localhost/secret"),
    ];
    let job = begin(&browser, id, "transcription", &fields).await;
    let page = browser.get(&job).await;
    assert!(page.says("Queued") && page.says("data-events") && page.says("call one.wav") && page.says("0 of 2 done"));
    // Somebody watches; the queue does the work meanwhile.
    let events = window.http.get(app.url(&format!("{job}/events"))).header(COOKIE, &window.cookie);
    let mut events = events.send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut told = String::from_utf8(events.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(told.starts_with("event: progress\ndata: {") && told.contains("\"queued\""), "{told}");
    app.settle().await;
    told.push_str(&events.text().await.unwrap());
    let last: Value = serde_json::from_str(told.trim_end().rsplit("data: ").next().unwrap()).unwrap();
    assert_eq!(
        (last["status"].as_str(), last["progress"]["percent"].as_u64()),
        (Some("partially_succeeded"), Some(100))
    );
    let again = window.http.get(app.url(&format!("{job}/events"))).header(COOKIE, &window.cookie).send().await.unwrap();
    assert_eq!(again.text().await.unwrap().matches("event: progress").count(), 1, "one that is over is told once");
    let page = browser.get(&job).await;
    assert!(page.says("Partly succeeded") && page.says("1 of 2 done, 1 failed") && !page.says("data-events"));
    assert!(page.says("https://localhost/secret"), "{}", page.body);
    let item = browser.get(&format!("{job}/items/0")).await;
    for text in ["data-seek=\"0", "0:00.0", "call one.wav", "call one.srt", "USD 0.", "simulated", "<audio"] {
        assert!(item.says(text), "{text}: {}", item.body);
    }
    let failed = browser.get(&format!("{job}/items/1")).await;
    assert!(failed.says("Failed") && failed.says("https://localhost/secret"));
    assert_eq!(browser.get(&format!("{job}/items/2")).await.status, 404);
    let listed = browser.get(&list).await;
    assert!(listed.says("Portal") && listed.says("Transcription"));
    let gone = browser.submit(&page, &format!("{job}/delete"), &[]).await;
    assert!(gone.says("The job and its results are deleted"), "{}", gone.body);
    assert_eq!(browser.get(&job).await.status, 404);
    let files = browser.get(&format!("/portal/subscriptions/{id}/files")).await;
    assert!(files.says(&file) && !files.says("call one.srt"), "its result is gone, and what it worked on stays");
}

#[tokio::test]
async fn items_count_as_soon_as_they_are_done_also_within_a_slice() {
    let (app, id, browser, window) = start().await;
    window.upload(Some(&window.csrf), &[("a.png", &png(60, 60))]).await;
    let file = window.file("a.png").await;
    let fields = [("model", "vision"), ("features", "tags"), ("files", &*file), ("urls", "https://localhost/secret")];
    let job = begin(&browser, id, "image-analysis", &fields).await;
    // All items are written down, and the job itself is about to be.
    app.gate.next(Act::Stop, |table, writes| {
        table.0 == "MediaJobs" && writes[0].body().is_some_and(|body| body.contains("\"succeeded\":1"))
    });
    let watch = async {
        app.gate.arrived().await;
        let page = browser.get(&job).await;
        app.gate.open();
        page
    };
    let ((), page) = tokio::join!(app.settle(), watch);
    assert!(page.says("Running") && page.says("1 of 2 done, 1 failed"), "{}", page.body);
    assert!(browser.get(&job).await.says("1 of 2 done, 1 failed"), "and only once");
}

#[tokio::test]
async fn each_kind_of_result_can_be_looked_at() {
    let (app, id, browser, window) = start().await;
    let files: [(&str, &[u8]); 2] = [("page.png", &png(640, 480)), ("talk.wav", &wav(16_000, 2_500))];
    window.upload(Some(&window.csrf), &files).await;
    let (image, sound) = (window.file("page.png").await, window.file("talk.wav").await);
    let look = [("model", "vision"), ("files", &*image)];
    let features = ["caption", "objects", "read", "people"].map(|feature| ("features", feature));
    let seen = begin(&browser, id, "image-analysis", &[&look[..], &features[..]].concat()).await;
    let fields =
        [("model", "speech"), ("voice", "alloy"), ("response_format", "wav"), ("text", "Good <b>morning</b>.")];
    let spoken = begin(&browser, id, "speech", &fields).await;
    let mut heard = Vec::new();
    for format in ["text", "vtt", "json", "verbose_json"] {
        let fields = [("model", "transcribe-fast"), ("response_format", format), ("files", &*sound)];
        heard.push((format, begin(&browser, id, "transcription", &fields).await));
    }
    app.settle().await;
    let page = browser.get(&format!("{seen}/items/0")).await;
    for text in ["<polygon class=\"place place-object\" points=\"", "place-line", "Place, in pixels", "People", &image]
    {
        assert!(page.says(text), "{text}: {}", page.body);
    }
    let page = browser.get(&format!("{spoken}/items/0")).await;
    assert!(page.says("<audio") && page.says("Good &lt;b&gt;morning&lt;/b&gt;.") && !page.says("<b>morning"));
    let page = browser.get(&spoken).await;
    assert!(page.says(".wav</a>") && page.says("<audio"), "{}", page.body);
    for (format, job) in &heard {
        let page = browser.get(&format!("{job}/items/0")).await;
        let timed = matches!(*format, "vtt" | "verbose_json");
        assert!(page.says("imulated") && page.says("data-seek") == timed, "{format}: {}", page.body);
    }
    // Without the recording the times stay; the result's own file can go, too.
    let page = browser.get(&format!("/portal/subscriptions/{id}/files")).await;
    for file in [&sound, &image] {
        browser.submit(&page, &format!("/portal/subscriptions/{id}/files/{file}/delete"), &[]).await;
    }
    let page = browser.get(&format!("{}/items/0", heard[1].1)).await;
    assert!(page.says("The recording was deleted") && page.says("0:00.0") && !page.says("<audio"));
    let page = browser.get(&format!("{seen}/items/0")).await;
    assert!(page.says("look-empty") && page.says("place-object") && !page.says("<img src=\"/portal"), "{}", page.body);
    app.clock.advance(jiff::SignedDuration::from_hours(31 * 24));
    let browser = app.signed_in(&Person::contoso_buyer()).await;
    assert!(browser.get(&format!("{}/items/0", heard[0].1)).await.says("The result was deleted"));
}

#[tokio::test]
async fn what_a_job_lacks_is_said_beside_what_was_typed_and_a_form_sent_twice_is_one_job() {
    let (app, id, browser, window) = start().await;
    let list = format!("/portal/subscriptions/{id}/jobs");
    let page = browser.get(&list).await;
    let once = page.fields(&list)["once"].clone();
    let send = async |fields: &[(&str, &str)]| {
        let mut all = vec![("csrf", window.csrf.as_str()), ("once", once.as_str())];
        all.extend(fields);
        browser.post(&list, &all).await
    };
    for (fields, status, said) in [
        (vec![("kind", "transcription"), ("model", "transcribe")], 400, "The job would have nothing to do"),
        (vec![("kind", "speech"), ("model", "nothing"), ("voice", "ash"), ("text", "x")], 404, "value=\"ash\""),
        (
            vec![("kind", "speech"), ("model", "speech"), ("voice", ""), ("text", "typed text")],
            400,
            ">typed text</textarea>",
        ),
        (
            vec![("kind", "image-analysis"), ("model", "vision"), ("urls", "https://x/y")],
            400,
            ">https://x/y</textarea>",
        ),
        (vec![("kind", "poem"), ("urls", "https://x/y")], 400, "Error:"),
    ] {
        let page = send(&fields).await;
        assert!(page.status == status && page.says(said) && page.says("role=\"alert\""), "{fields:?}: {}", page.body);
    }
    let fields = [("kind", "speech"), ("model", "speech"), ("voice", "alloy"), ("text", "Once.")];
    let (first, second) = (send(&fields).await, send(&fields).await);
    assert!(first.url.path().contains("/jobs/job_") && first.url == second.url, "{}", first.body);
    let cancelled = browser.submit(&second, &format!("{}/cancel", second.url.path()), &[]).await;
    assert!(cancelled.says("The job is being cancelled"), "{}", cancelled.body);
    app.settle().await;
    assert!(browser.get(second.url.path()).await.says("Cancelled"));
    // A program's job stands there with its key.
    let program = Program::of(&app, id).await;
    let body = json!({ "kind": "speech", "options": { "voice": "alloy" }, "input": { "text": "Hello." } });
    assert_eq!(program.post("media/jobs", &body).await.0, 202);
    assert!(browser.get(&list).await.says(&format!("mgk-{}-", program.prefix)));
    app.settle().await;
    let chinese = Browser::new(&app.address).of(&Person::contoso_buyer()).speaking("zh-Hans").get(&list).await;
    assert!(chinese.says("媒体作业") && chinese.says("语音合成"), "{}", chinese.body);
}

#[tokio::test]
async fn long_lists_are_paged() {
    let (app, id, browser, _) = start().await;
    let program = Program::of(&app, id).await;
    let items = vec![json!({ "url": "https://localhost/secret" }); 30];
    let body = json!({ "kind": "image-analysis", "options": { "features": "tags" }, "input": { "items": items } });
    let (_, job) = program.post("media/jobs", &body).await;
    app.settle().await;
    let address = format!("/portal/subscriptions/{id}/jobs/{}", job["id"].as_str().unwrap());
    let page = browser.get(&address).await;
    assert!(page.says("Item 25<") && !page.says("Item 26<") && page.says("?from=25#items") && page.says("1–25 of 30"));
    let rest = browser.get(&format!("{address}?from=25")).await;
    assert!(rest.says("Item 30<") && !rest.says("Item 25<") && rest.says("26–30 of 30"), "{}", rest.body);
    for number in 0..51 {
        let answer = program.upload("files", b"x", &format!("{number}.txt"), &[("purpose", "user_data")]).await;
        assert_eq!(answer.status(), 200);
        // Files of the same millisecond have no order.
        app.clock.advance(jiff::SignedDuration::from_millis(1));
    }
    let list = format!("/portal/subscriptions/{id}/files");
    let page = browser.get(&list).await;
    assert!(page.says(">50.txt<") && !page.says(">0.txt<"));
    let next = page.body.split(&format!("{list}?after=")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(browser.get(&format!("{list}?after={next}")).await.says(">0.txt<"));
}
