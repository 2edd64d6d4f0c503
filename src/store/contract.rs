//! What every row store promises, one function a law. `tests/it/seams.rs` runs all of them on the embedded store and
//! on Azure Table Storage (Azurite). They write into partitions of their own, so they can share a store.

use super::{Etag, MAX_BATCH, MAX_BODY, RowRange, RowStore, StoreError, Table, Write};

const TABLE: Table = Table("Contract");

/// All laws, in turn, in partitions that begin with `scope`.
#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn all(store: &dyn RowStore, scope: &str) {
    a_written_row_is_read_back(store, &format!("{scope}-a")).await;
    an_insert_happens_once(store, &format!("{scope}-b")).await;
    a_replace_wants_the_latest_etag(store, &format!("{scope}-c")).await;
    a_batch_is_all_or_nothing(store, &format!("{scope}-d")).await;
    a_range_is_read_in_key_order_page_by_page(store, &format!("{scope}-e")).await;
    bad_keys_sizes_and_batches_are_refused(store, &format!("{scope}-f")).await;
    a_large_row_with_any_text_survives(store, &format!("{scope}-g")).await;
    of_many_writers_one_wins(store, &format!("{scope}-h")).await;
    store.check().await.unwrap();
}

fn insert(key: &str, body: &str) -> Write {
    Write::Insert { key: key.into(), body: body.into() }
}

fn replace(key: &str, body: &str, etag: &Etag) -> Write {
    Write::Replace { key: key.into(), body: body.into(), etag: etag.clone() }
}

async fn one(store: &dyn RowStore, scope: &str, write: Write) -> Result<Etag, StoreError> {
    store.write(TABLE, scope, vec![write]).await.map(|mut etags| etags.remove(0))
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
async fn body(store: &dyn RowStore, scope: &str, key: &str) -> Option<String> {
    store.get(TABLE, scope, key).await.unwrap().map(|row| row.body)
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_written_row_is_read_back(store: &dyn RowStore, scope: &str) {
    assert!(store.get(TABLE, scope, "none").await.unwrap().is_none());
    let etag = one(store, scope, insert("a:1", r#"{"n":1}"#)).await.unwrap();
    let row = store.get(TABLE, scope, "a:1").await.unwrap().unwrap();
    assert_eq!((row.key.as_str(), row.body.as_str(), &row.etag), ("a:1", r#"{"n":1}"#, &etag));
    one(store, scope, Write::Upsert { key: "a:1".into(), body: "2".into() }).await.unwrap();
    one(store, scope, Write::Upsert { key: "a:2".into(), body: "3".into() }).await.unwrap();
    assert_eq!(body(store, scope, "a:1").await.as_deref(), Some("2"));
    one(store, scope, Write::Delete { key: "a:2".into(), etag: None }).await.unwrap();
    one(store, scope, Write::Delete { key: "a:2".into(), etag: None }).await.unwrap();
    assert_eq!(body(store, scope, "a:2").await, None);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn an_insert_happens_once(store: &dyn RowStore, scope: &str) {
    one(store, scope, insert("k", "1")).await.unwrap();
    assert!(matches!(one(store, scope, insert("k", "2")).await, Err(StoreError::AlreadyExists)));
    assert_eq!(body(store, scope, "k").await.as_deref(), Some("1"));
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_replace_wants_the_latest_etag(store: &dyn RowStore, scope: &str) {
    let first = one(store, scope, insert("k", "1")).await.unwrap();
    let second = one(store, scope, replace("k", "2", &first)).await.unwrap();
    assert_ne!(first, second);
    assert!(matches!(one(store, scope, replace("k", "3", &first)).await, Err(StoreError::Precondition)));
    assert!(matches!(one(store, scope, replace("gone", "3", &first)).await, Err(StoreError::Precondition)));
    let stale = Write::Delete { key: "k".into(), etag: Some(first) };
    assert!(matches!(one(store, scope, stale).await, Err(StoreError::Precondition)));
    assert_eq!(body(store, scope, "k").await.as_deref(), Some("2"));
    one(store, scope, Write::Delete { key: "k".into(), etag: Some(second.clone()) }).await.unwrap();
    // A row made anew is another row, although its key is the same.
    one(store, scope, insert("k", "2")).await.unwrap();
    assert!(matches!(one(store, scope, replace("k", "3", &second)).await, Err(StoreError::Precondition)));
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_batch_is_all_or_nothing(store: &dyn RowStore, scope: &str) {
    let etags = store.write(TABLE, scope, vec![insert("a", "1"), insert("b", "1")]).await.unwrap();
    assert_eq!(store.get(TABLE, scope, "b").await.unwrap().unwrap().etag, etags[1]);
    let refused =
        store.write(TABLE, scope, vec![replace("a", "2", &etags[0]), insert("b", "2"), insert("c", "2")]).await;
    assert!(matches!(refused, Err(StoreError::AlreadyExists)), "{refused:?}");
    let stale = Etag(etags[0].0.replace(|c: char| c.is_ascii_digit(), "9"));
    let refused = store.write(TABLE, scope, vec![insert("d", "2"), replace("a", "2", &stale)]).await;
    assert!(matches!(refused, Err(StoreError::Precondition)), "{refused:?}");
    assert_eq!(body(store, scope, "a").await.as_deref(), Some("1"));
    assert_eq!((body(store, scope, "c").await, body(store, scope, "d").await), (None, None));
    let mixed = vec![
        replace("a", "3", &etags[0]),
        Write::Delete { key: "b".into(), etag: Some(etags[1].clone()) },
        Write::Upsert { key: "e".into(), body: "1".into() },
    ];
    store.write(TABLE, scope, mixed).await.unwrap();
    assert_eq!((body(store, scope, "a").await.as_deref(), body(store, scope, "b").await), (Some("3"), None));
    let hundred = (0..MAX_BATCH).map(|n| insert(&format!("h{n:03}"), "1")).collect();
    assert_eq!(store.write(TABLE, scope, hundred).await.unwrap().len(), MAX_BATCH);
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_range_is_read_in_key_order_page_by_page(store: &dyn RowStore, scope: &str) {
    let writes = ["p:3", "p:1", "q:1", "p:2", "o:9", "p"].iter().map(|key| insert(key, "1")).collect();
    store.write(TABLE, scope, writes).await.unwrap();
    store.write(TABLE, &format!("{scope}x"), vec![insert("p:0", "1")]).await.unwrap();
    let range = RowRange::prefix("p:");
    let first = store.query(TABLE, scope, &range, 2).await.unwrap();
    let keys = |page: &super::Page| page.rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
    assert_eq!((keys(&first), first.more), (vec!["p:1".to_owned(), "p:2".to_owned()], true));
    let rest = store.query(TABLE, scope, &range.after("p:2"), 2).await.unwrap();
    assert_eq!((keys(&rest), rest.more), (vec!["p:3".to_owned()], false));
    assert_eq!(store.query(TABLE, scope, &RowRange::all(), 100).await.unwrap().rows.len(), 6);
    assert!(store.query(TABLE, "nobody", &RowRange::all(), 10).await.unwrap().rows.is_empty());
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn bad_keys_sizes_and_batches_are_refused(store: &dyn RowStore, scope: &str) {
    for key in ["", "a/b", "a\\b", "a#b", "a?b", "a'b", "a%b", "a b", "a\nb", "ä", "a~b", &"k".repeat(401)] {
        assert!(matches!(one(store, scope, insert(key, "1")).await, Err(StoreError::InvalidKey(_))), "{key}");
        assert!(matches!(store.get(TABLE, scope, key).await, Err(StoreError::InvalidKey(_))), "{key}");
    }
    for end in ["'", "a' or PartitionKey ge '", "a/b", "a~b"] {
        let range = RowRange { from: end.into(), to: None };
        assert!(matches!(store.query(TABLE, scope, &range, 1).await, Err(StoreError::InvalidKey(_))), "{end}");
    }
    let huge = "x".repeat(MAX_BODY + 1);
    assert!(matches!(one(store, scope, insert("k", &huge)).await, Err(StoreError::TooLarge { .. })));
    let many = (0..=MAX_BATCH).map(|n| insert(&format!("m{n}"), "1")).collect();
    assert!(matches!(store.write(TABLE, scope, many).await, Err(StoreError::InvalidBatch)));
    assert!(matches!(store.write(TABLE, scope, vec![]).await, Err(StoreError::InvalidBatch)));
    let twice = vec![insert("k", "1"), insert("k", "2")];
    assert!(matches!(store.write(TABLE, scope, twice).await, Err(StoreError::InvalidBatch)));
    assert!(store.query(TABLE, scope, &RowRange::all(), 10).await.unwrap().rows.is_empty());
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn a_large_row_with_any_text_survives(store: &dyn RowStore, scope: &str) {
    // Foreign letters stay within the first 64 KiB of the request: Azurite (not Azure) breaks a character that lies
    // across two of its read buffers.
    let foreign = "中文 emoji 😀 \"quotes\" \\ \u{1} <xml> ' % \r\n".repeat(100);
    let text = foreign + &"{\"plain\": [1, 2]}".repeat(20_000);
    one(store, scope, insert("k", &text)).await.unwrap();
    let back = body(store, scope, "k").await.unwrap();
    let difference = text.char_indices().zip(back.chars()).find(|((_, sent), got)| sent != got);
    assert_eq!((difference, back.len()), (None, text.len()), "the text came back changed");
    one(store, scope, Write::Upsert { key: "k".into(), body: String::new() }).await.unwrap();
    assert_eq!(body(store, scope, "k").await.as_deref(), Some(""));
}

#[expect(clippy::unwrap_used, reason = "a law that does not hold must stop the test")]
pub async fn of_many_writers_one_wins(store: &dyn RowStore, scope: &str) {
    let etag = one(store, scope, insert("k", "0")).await.unwrap();
    let tries = (1..=8).map(|n| one(store, scope, replace("k", if n % 2 == 0 { "even" } else { "odd" }, &etag)));
    let results = futures_util::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(StoreError::Precondition))));
    let inserts = (1..=8).map(|_| one(store, scope, insert("new", "1")));
    let results = futures_util::future::join_all(inserts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|r| matches!(r, Ok(_) | Err(StoreError::AlreadyExists))));
}
