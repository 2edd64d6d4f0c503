//! Every law of every seam, on every backend.

use std::sync::Arc;

use mediagenie::blobs::{self, AzureBlobs, EmbeddedBlobs};
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::managed_identity::ManagedIdentity;
use mediagenie::foundation::outbound;
use mediagenie::foundation::rng::SystemRandom;
use mediagenie::foundation::secret::Secret;
use mediagenie::foundation::settings::IdentityEndpoint;
use mediagenie::queue::{self, AzureQueues, EmbeddedQueues};
use mediagenie::store::{self, AzureRows, Database, EmbeddedRows, OpenError};
use tempfile::TempDir;

use crate::parity::account;
use crate::support::azurite::Azurite;

#[tokio::test]
async fn the_embedded_backends_keep_every_law() {
    let folder = TempDir::new().unwrap();
    let database = Database::open(folder.path()).unwrap();
    store::contract::all(&EmbeddedRows::new(database.clone()), "laws").await;
    queue::contract::all(&EmbeddedQueues::open(database.clone(), Arc::new(SystemClock)).await.unwrap(), "laws").await;
    blobs::contract::all(&EmbeddedBlobs::open(database, Arc::new(SystemRandom)).await.unwrap(), "laws").await;
}

#[tokio::test]
async fn azure_storage_keeps_every_law() {
    let Some(azurite) = Azurite::start() else { return };
    let account = account(&azurite);
    store::contract::all(&AzureRows::new(&account, Arc::new(SystemRandom)), "laws").await;
    queue::contract::all(&AzureQueues::new(&account), "laws").await;
    blobs::contract::all(&AzureBlobs::new(&account, Arc::new(SystemRandom)), "laws").await;
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = TempDir::new().unwrap();
    let table = store::Table("Things");
    {
        use store::RowStore as _;
        let rows = EmbeddedRows::new(Database::open(folder.path()).unwrap());
        rows.write(table, "p", vec![store::Write::Insert { key: "k".into(), body: "1".into() }]).await.unwrap();
    }
    use store::RowStore as _;
    let rows = EmbeddedRows::new(Database::open(folder.path()).unwrap());
    assert_eq!(rows.get(table, "p", "k").await.unwrap().unwrap().body, "1");
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_told_so() {
    let folder = TempDir::new().unwrap();
    let _first = Database::open(folder.path()).unwrap();
    let error = Database::open(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("another MediaGenie server"));
}

#[tokio::test]
async fn a_truncated_or_foreign_file_is_refused_at_start() {
    let folder = TempDir::new().unwrap();
    drop(Database::open(folder.path()).unwrap());
    let file = folder.path().join("mediagenie.db");
    let length = std::fs::metadata(&file).unwrap().len();
    for damage in [length - 4096, length / 2, 100] {
        let other = TempDir::new().unwrap();
        let copy = other.path().join("mediagenie.db");
        std::fs::copy(&file, &copy).unwrap();
        std::fs::File::options().write(true).open(&copy).unwrap().set_len(damage).unwrap();
        let error = Database::open(other.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(..)), "{damage} bytes: {error}");
    }
    let other = TempDir::new().unwrap();
    std::fs::write(
        other.path().join("mediagenie.db"),
        "this is a letter and not a database, long enough to have a header".repeat(20),
    )
    .unwrap();
    assert!(matches!(Database::open(other.path()).unwrap_err(), OpenError::Damaged(..)));
}

#[tokio::test]
async fn what_has_expired_is_removed_and_nothing_else() {
    use mediagenie::store::expiry::{self, KEY};
    use store::RowStore as _;
    let folder = TempDir::new().unwrap();
    let rows = EmbeddedRows::new(Database::open(folder.path()).unwrap());
    let now: jiff::Timestamp = "2026-03-31T23:30:00Z".parse().unwrap();
    let hours = jiff::SignedDuration::from_hours;
    let table = store::Table("Sessions");
    for (partition, end) in [("over", now - hours(2)), ("long-over", now - hours(70)), ("alive", now + hours(2))] {
        expiry::insert(&rows, table, partition, "{}".into(), end).await.unwrap();
    }
    assert_eq!(expiry::purge(&rows, now).await.unwrap(), 2);
    for (partition, there) in [("over", false), ("long-over", false), ("alive", true)] {
        assert_eq!(rows.get(table, partition, KEY).await.unwrap().is_some(), there, "{partition}");
    }
    assert_eq!(expiry::purge(&rows, now).await.unwrap(), 0);
    assert_eq!(expiry::purge(&rows, now + hours(30)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_managed_identitys_token_is_asked_for_as_documented_and_kept_until_shortly_before_its_end() {
    use mediagenie::foundation::clock::{Clock as _, VirtualClock};
    use warp::Filter as _;
    let clock = Arc::new(VirtualClock::at("2026-03-02T09:00:00Z".parse().unwrap()));
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, times) = (Arc::clone(&asked), Arc::clone(&clock));
    // The endpoint of Functions and App Service: a secret header, and the end as a text of seconds.
    let endpoint = warp::get().and(warp::header::<String>("x-identity-header")).and(warp::query::raw()).map(
        move |header: String, query: String| {
            seen.lock().unwrap().push(query);
            let status =
                if header == "proof" { warp::http::StatusCode::OK } else { warp::http::StatusCode::UNAUTHORIZED };
            let end = times.now().as_second() + 3600;
            warp::reply::with_status(
                warp::reply::json(&serde_json::json!({"access_token": "t", "expires_on": end.to_string()})),
                status,
            )
        },
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Some(format!("http://{}/msi/token", listener.local_addr().unwrap()));
    tokio::spawn(warp::serve(endpoint).incoming(listener).run());
    let identity = |header: &str| {
        let endpoint = IdentityEndpoint { url: url.clone(), header: Secret::new(header) };
        ManagedIdentity::new(outbound::client().unwrap(), clock.clone(), endpoint, Some("client-1".into()))
    };
    let right = identity("proof");
    for minutes in [0, 30, 20] {
        clock.advance(jiff::SignedDuration::from_mins(minutes));
        assert_eq!(right.token("https://storage.azure.com/").await.unwrap().secret.expose(), "t");
    }
    assert_eq!(asked.lock().unwrap().len(), 1, "kept");
    clock.advance(jiff::SignedDuration::from_mins(6));
    right.token("https://storage.azure.com/").await.unwrap();
    let queries = asked.lock().unwrap().clone();
    assert_eq!(queries.len(), 2, "renewed within five minutes of its end");
    for part in ["api-version=2019-08-01", "resource=https%3A%2F%2Fstorage.azure.com%2F", "client_id=client-1"] {
        assert!(queries[0].contains(part), "{queries:?}");
    }
    let error = identity("wrong").token("https://storage.azure.com/").await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
}
