//! Every law of every seam, on every backend.

use std::sync::Arc;

use mediagenie::blobs::{self, AzureBlobs, EmbeddedBlobs};
use mediagenie::foundation::azure_account::AzureAccount;
use mediagenie::foundation::clock::SystemClock;
use mediagenie::foundation::managed_identity::ManagedIdentity;
use mediagenie::foundation::outbound;
use mediagenie::foundation::rng::SystemRandom;
use mediagenie::foundation::secret::Secret;
use mediagenie::foundation::settings::{Cloud, IdentityEndpoint, StorageAccount};
use mediagenie::queue::{self, AzureQueues, EmbeddedQueues};
use mediagenie::store::{self, AzureRows, Database, EmbeddedRows, OpenError};
use tempfile::TempDir;

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
    blobs::contract::all(&AzureBlobs::new(&account), "laws").await;
}

fn account(azurite: &Azurite) -> AzureAccount {
    let http = outbound::client().unwrap();
    let identity = ManagedIdentity::new(http.clone(), Arc::new(SystemClock), IdentityEndpoint::default(), None);
    let connection = StorageAccount::ConnectionString(Secret::new(azurite.connection_string()));
    AzureAccount::new(&connection, Cloud::Global, http, Arc::new(identity)).unwrap()
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
