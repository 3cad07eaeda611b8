//! What every home must do. One suite, run against each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, that is how an expectation fails")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use windlass_storage::{Change, Embedded, Entry, Error, Expect, Memory, Range, Signal, Store, Watch};

fn put(text: &str) -> Change {
    Change::Put(Bytes::copy_from_slice(text.as_bytes()), None)
}

async fn create(store: &dyn Store, key: &str, text: &str) -> Entry {
    store.write(key, Expect::Absent, put(text)).await.unwrap()
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_ref()).collect()
}

/// The next event as `revision key=value` or `revision key deleted`; progress is skipped.
async fn event(watch: &mut Watch) -> String {
    loop {
        match watch.next().await.unwrap().unwrap() {
            Signal::Progress(_) => {}
            Signal::Event(event) if event.deleted => return format!("{} {} deleted", event.revision, event.entry.key),
            Signal::Event(event) => {
                let text = String::from_utf8(event.entry.value.to_vec()).unwrap();
                return format!("{} {}={text}", event.revision, event.entry.key);
            }
        }
    }
}

async fn writes_are_guarded(store: Arc<dyn Store>) {
    let first = create(&*store, "/a", "1").await;
    assert_eq!((first.create_revision, first.mod_revision), (1, 1));
    let again = store.write("/a", Expect::Absent, put("x")).await.unwrap_err();
    assert!(matches!(again, Error::Conflict(Some(entry)) if entry == first));
    let second = store.write("/a", Expect::Revision(1), put("2")).await.unwrap();
    assert_eq!((second.create_revision, second.mod_revision), (1, 2));
    let stale = store.write("/a", Expect::Revision(1), Change::Delete).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict(Some(entry)) if entry == second));
    let deleted = store.write("/a", Expect::Revision(2), Change::Delete).await.unwrap();
    assert_eq!((deleted.mod_revision, deleted.value.as_ref()), (3, b"2".as_ref()));
    assert!(store.get("/a").await.unwrap().is_none());
    let gone = store.write("/a", Expect::Revision(3), put("x")).await.unwrap_err();
    assert!(matches!(gone, Error::Conflict(None)));
    assert_eq!(create(&*store, "/a", "3").await.create_revision, 4);
}

async fn ranges_are_read_at_one_revision(store: Arc<dyn Store>) {
    for (key, text) in [("/p/a", "1"), ("/p/b", "2"), ("/p/c", "3"), ("/q/a", "4")] {
        create(&*store, key, text).await;
    }
    let first = store.list(Range { prefix: "/p/".into(), limit: 2, ..Range::default() }).await.unwrap();
    assert_eq!((keys(&first.entries), first.revision, first.remaining), (vec!["/p/a", "/p/b"], 4, 1));

    store.write("/p/a", Expect::Revision(1), put("changed")).await.unwrap();
    store.write("/p/c", Expect::Revision(3), Change::Delete).await.unwrap();
    create(&*store, "/p/d", "5").await;

    let rest = Range { prefix: "/p/".into(), after: Some("/p/b".into()), at: Some(4), limit: 2 };
    let rest = store.list(rest).await.unwrap();
    assert_eq!((keys(&rest.entries), rest.revision, rest.remaining), (vec!["/p/c"], 4, 0));
    let then = store.list(Range { prefix: "/p/a".into(), at: Some(4), ..Range::default() }).await.unwrap();
    assert_eq!(then.entries[0].value.as_ref(), b"1");
    let now = store.list(Range { prefix: "/p/".into(), ..Range::default() }).await.unwrap();
    assert_eq!((keys(&now.entries), now.revision), (vec!["/p/a", "/p/b", "/p/d"], 7));
    let future = store.list(Range { at: Some(99), ..Range::default() }).await.unwrap_err();
    assert!(matches!(future, Error::Future { asked: 99, newest: 7 }));
}

async fn watches_miss_nothing(store: Arc<dyn Store>) {
    create(&*store, "/p/a", "1").await;
    create(&*store, "/q/a", "other").await;
    let mut watch = store.watch("/p/", 0).await.unwrap();
    assert_eq!(event(&mut watch).await, "1 /p/a=1");
    assert_eq!(watch.next().await.unwrap().unwrap(), Signal::Progress(2));
    store.write("/p/a", Expect::Revision(1), put("2")).await.unwrap();
    store.write("/p/a", Expect::Revision(3), Change::Delete).await.unwrap();
    assert_eq!(event(&mut watch).await, "3 /p/a=2");
    assert_eq!(event(&mut watch).await, "4 /p/a deleted");
    assert!(matches!(store.watch("/p/", 9).await, Err(Error::Future { asked: 9, newest: 4 })));
}

async fn concurrent_writers_and_watchers_agree(store: Arc<dyn Store>) {
    let mut watch = store.watch("/", 0).await.unwrap();
    let writers = (0..16).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..40 {
                create(&*store, &format!("/{writer}/{number}"), "x").await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for revision in 1..=640 {
        assert!(event(&mut watch).await.starts_with(&format!("{revision} /")));
    }
}

async fn one_of_many_creators_wins(store: Arc<dyn Store>) {
    let attempts = (0..32).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.write("/same", Expect::Absent, put("x")).await.is_ok() })
    });
    let mut won = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        won += usize::from(attempt.await.unwrap());
    }
    assert_eq!((won, store.revision().await.unwrap()), (1, 1));
}

async fn compaction_forgets_history_only(store: Arc<dyn Store>) {
    create(&*store, "/a", "1").await;
    store.write("/a", Expect::Revision(1), put("2")).await.unwrap();
    store.write("/a", Expect::Revision(2), put("3")).await.unwrap();
    let mut slow = store.watch("/", 0).await.unwrap();
    store.compact(3).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap().unwrap().value.as_ref(), b"3");
    assert!(matches!(store.watch("/", 1).await, Err(Error::Compacted { asked: 1, oldest: 2 })));
    assert!(matches!(store.list(Range { at: Some(1), ..Range::default() }).await, Err(Error::Compacted { .. })));
    assert!(matches!(slow.next().await, Some(Err(Error::Lagged))));
    assert!(slow.next().await.is_none());
    assert_eq!(event(&mut store.watch("/", 2).await.unwrap()).await, "3 /a=3");
}

async fn keys_end_with_their_time(store: Arc<dyn Store>) {
    let mut watch = store.watch("/", 0).await.unwrap();
    let brief = Change::Put(Bytes::from_static(b"x"), Some(Duration::from_millis(1)));
    let entry = store.write("/brief", Expect::Absent, brief.clone()).await.unwrap();
    // A write without a time to live takes the old one away, unless that time had already come.
    let kept = store.write("/brief", Expect::Revision(entry.mod_revision), put("kept")).await;
    store.write("/ends", Expect::Absent, brief).await.unwrap();
    let mut writes = 0;
    loop {
        let text = event(&mut watch).await;
        if text.ends_with("/ends deleted") {
            break;
        }
        // The store in memory looks for endings when it is written to.
        writes += 1;
        assert!(writes < 1_000_000, "the key never ended");
        let _ = store.write(&format!("/tick/{writes}"), Expect::Absent, put("")).await;
    }
    assert_eq!(store.get("/brief").await.unwrap().is_some(), kept.is_ok());
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(Arc::new(Memory::new())).await; })*
        }
        mod embedded {
            use super::*;
            $(#[tokio::test] async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(Arc::new(Embedded::open(dir.path()).unwrap())).await;
            })*
        }
    };
}

suite!(
    writes_are_guarded,
    ranges_are_read_at_one_revision,
    watches_miss_nothing,
    concurrent_writers_and_watchers_agree,
    one_of_many_creators_wins,
    compaction_forgets_history_only,
    keys_end_with_their_time,
);
