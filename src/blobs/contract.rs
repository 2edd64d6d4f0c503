//! What every blob store promises, one function a law. `tests/it/seams.rs` runs all of them on the embedded store and
//! on Azure Blob Storage (Azurite).

use bytes::Bytes;

use jiff::SignedDuration;

use super::{Access, BlobError, Blobs, Condition};
use crate::foundation::clock::{Clock as _, SystemClock};
use crate::foundation::outbound;

const TEXT: &str = "text/plain";

/// All laws, in turn, in containers whose names begin with `scope`.
pub async fn all(blobs: &dyn Blobs, scope: &str) {
    a_written_blob_is_read_back_whole_and_in_ranges(blobs, &format!("{scope}-a")).await;
    conditions_decide_who_writes(blobs, &format!("{scope}-b")).await;
    a_blob_written_in_pieces_appears_whole_or_not_at_all(blobs, &format!("{scope}-e")).await;
    blobs_are_listed_by_prefix_in_order(blobs, &format!("{scope}-c")).await;
    a_link_opens_one_blob_to_somebody_without_a_key(blobs, &format!("{scope}-f")).await;
    bad_names_are_refused(blobs, &format!("{scope}-d")).await;
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_written_blob_is_read_back_whole_and_in_ranges(blobs: &dyn Blobs, scope: &str) {
    assert_eq!(blobs.info(scope, "a/b.txt").await.unwrap(), None);
    assert_eq!(blobs.get(scope, "a/b.txt", 0..10).await.unwrap(), None);
    let etag = blobs.put(scope, "a/b.txt", TEXT, Bytes::from_static(b"0123456789"), Condition::Always).await.unwrap();
    let info = blobs.info(scope, "a/b.txt").await.unwrap().unwrap();
    assert_eq!((info.name.as_str(), info.length, info.content_type.as_str(), info.etag), ("a/b.txt", 10, TEXT, etag));
    assert_eq!(blobs.get(scope, "a/b.txt", 0..u64::MAX).await.unwrap().unwrap(), "0123456789");
    assert_eq!(blobs.get(scope, "a/b.txt", 3..5).await.unwrap().unwrap(), "34");
    assert_eq!(blobs.get(scope, "a/b.txt", 8..99).await.unwrap().unwrap(), "89");
    assert_eq!(blobs.get(scope, "a/b.txt", 50..99).await.unwrap().unwrap(), "");
    blobs.delete(scope, "a/b.txt").await.unwrap();
    blobs.delete(scope, "a/b.txt").await.unwrap();
    assert_eq!(blobs.info(scope, "a/b.txt").await.unwrap(), None);
}

/// Stores without addresses of their own give no link at all.
#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_link_opens_one_blob_to_somebody_without_a_key(blobs: &dyn Blobs, scope: &str) {
    let (now, http) = (SystemClock.now(), outbound::client().unwrap());
    let until = now + SignedDuration::from_mins(5);
    let Some(write) = blobs.link(scope, "d/in", Access::Create, now, until).await.unwrap() else { return };
    let put = |link: &str| http.put(link.to_owned()).header("x-ms-blob-type", "BlockBlob").body("hello").send();
    assert_eq!(put(&write).await.unwrap().status(), 201);
    assert_eq!(blobs.get(scope, "d/in", 0..9).await.unwrap().unwrap(), "hello");
    assert_eq!(http.get(&write).send().await.unwrap().status(), 403, "who may write may not read");
    let read = blobs.link(scope, "d/in", Access::Read, now, until).await.unwrap().unwrap();
    assert_eq!(http.get(&read).send().await.unwrap().text().await.unwrap(), "hello");
    assert_eq!(put(&read).await.unwrap().status(), 403);
    assert_eq!(http.get(read.replace("d/in", "d/other")).send().await.unwrap().status(), 403);
    let past =
        blobs.link(scope, "d/in", Access::Read, now - SignedDuration::from_hours(2), now).await.unwrap().unwrap();
    assert_eq!(http.get(&past).send().await.unwrap().status(), 403, "its time is over");
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn conditions_decide_who_writes(blobs: &dyn Blobs, scope: &str) {
    let put =
        |text: &'static str, condition| blobs.put(scope, "b", TEXT, Bytes::from_static(text.as_bytes()), condition);
    assert!(matches!(put("0", Condition::Match("\"1\"".into())).await, Err(BlobError::Precondition)));
    let first = put("1", Condition::Absent).await.unwrap();
    assert!(matches!(put("2", Condition::Absent).await, Err(BlobError::Precondition)));
    let second = put("2", Condition::Match(first.clone())).await.unwrap();
    assert_ne!(first, second);
    assert!(matches!(put("3", Condition::Match(first)).await, Err(BlobError::Precondition)));
    assert_eq!(blobs.get(scope, "b", 0..9).await.unwrap().unwrap(), "2");
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_blob_written_in_pieces_appears_whole_or_not_at_all(blobs: &dyn Blobs, scope: &str) {
    let piece = Bytes::from(vec![b'x'; 1_500_000]);
    let mut writer = blobs.create(scope, "large", TEXT).await.unwrap();
    for _ in 0..8 {
        writer.write(piece.clone()).await.unwrap();
    }
    assert_eq!(blobs.info(scope, "large").await.unwrap(), None);
    let finished = writer.finish().await.unwrap();
    assert_eq!(blobs.info(scope, "large").await.unwrap().unwrap(), finished);
    assert_eq!((finished.length, finished.content_type.as_str()), (12_000_000, TEXT));
    assert_eq!(blobs.get(scope, "large", 11_999_990..u64::MAX).await.unwrap().unwrap(), "x".repeat(10));
    // A new version takes the old one's place; one that is given up leaves it.
    let mut given_up = blobs.create(scope, "large", TEXT).await.unwrap();
    given_up.write(Bytes::from_static(b"no")).await.unwrap();
    drop(given_up);
    assert_eq!(blobs.info(scope, "large").await.unwrap().unwrap().length, 12_000_000);
    let mut empty = blobs.create(scope, "large", TEXT).await.unwrap();
    empty.write(Bytes::new()).await.unwrap();
    assert_eq!(empty.finish().await.unwrap().length, 0);
    assert_eq!(blobs.get(scope, "large", 0..9).await.unwrap().unwrap(), "");
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn blobs_are_listed_by_prefix_in_order(blobs: &dyn Blobs, scope: &str) {
    assert!(blobs.list(scope, "", "", 10).await.unwrap().is_empty());
    for name in ["x/3", "x/1", "y/1", "x/2"] {
        blobs.put(scope, name, TEXT, Bytes::new(), Condition::Always).await.unwrap();
    }
    let names = |list: Vec<super::BlobInfo>| list.into_iter().map(|blob| blob.name).collect::<Vec<_>>();
    assert_eq!(names(blobs.list(scope, "x/", "", 2).await.unwrap()), ["x/1", "x/2"]);
    assert_eq!(names(blobs.list(scope, "x/", "x/2", 2).await.unwrap()), ["x/3"]);
    assert_eq!(blobs.list(scope, "", "", 10).await.unwrap().len(), 4);
}

pub async fn bad_names_are_refused(blobs: &dyn Blobs, scope: &str) {
    for name in ["", "/a", "a//b", "../a", "a/../b", "a b", "ä", "a%2f", "a\\b", "a."] {
        assert!(matches!(blobs.get(scope, name, 0..1).await, Err(BlobError::InvalidName(_))), "{name}");
    }
}
