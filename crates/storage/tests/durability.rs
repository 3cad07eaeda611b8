//! What the home on disk must survive.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test, that is how an expectation fails")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use windlass_storage::{Change, Embedded, Error, Expect, Range, Store as _};

fn put(text: &str) -> Change {
    Change::Put(Bytes::copy_from_slice(text.as_bytes()), None)
}

#[tokio::test]
async fn reopening_finds_entries_revisions_and_endings() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    store.write("/a", Expect::Absent, put("1")).await.unwrap();
    let a = store.write("/a", Expect::Revision(1), put("2")).await.unwrap();
    store.write("/b", Expect::Absent, put("1")).await.unwrap();
    store.write("/b", Expect::Revision(3), Change::Delete).await.unwrap();
    let brief = Change::Put(Bytes::new(), Some(Duration::from_millis(1)));
    store.write("/brief", Expect::Absent, brief).await.unwrap();
    assert!(matches!(Embedded::open(dir.path()), Err(Error::InUse)));
    drop(store);
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.get("/a").await.unwrap().unwrap(), a);
    assert!(store.get("/b").await.unwrap().is_none());
    assert!(store.revision().await.unwrap() >= 5);
    assert!(matches!(store.watch("/", 1).await, Err(Error::Compacted { .. })));
    let mut looks = 0;
    while store.get("/brief").await.unwrap().is_some() {
        looks += 1;
        assert!(looks < 10_000_000, "the key never ended");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_foreign_or_damaged_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.redb"), vec![7_u8; 64 << 10]).unwrap();
    let error = Embedded::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error:?}");
}

/// Not a test of its own: the process that [`no_acknowledged_write_is_lost`] kills.
#[tokio::test]
async fn writer_process() {
    let Ok(dir) = std::env::var("WINDLASS_TEST_STORE") else { return };
    let store = std::sync::Arc::new(Embedded::open(dir.as_ref()).unwrap());
    let start = store.revision().await.unwrap();
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..1_000_000 {
                let key = format!("/{start}/{writer}/{number}");
                let entry = store.write(&key, Expect::Absent, put(&key)).await.unwrap();
                println!("acknowledged {} {}", entry.key, entry.mod_revision);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

/// Figure R1. `WINDLASS_KILLS` sets how many processes are killed; 100 by default.
#[tokio::test]
async fn no_acknowledged_write_is_lost() {
    let kills: usize = std::env::var("WINDLASS_KILLS").map_or(100, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut lost) = (0_usize, 0_usize);
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer_process", "--exact", "--nocapture"])
            .env("WINDLASS_TEST_STORE", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after a number of acknowledgements that differs from run to run, in the middle of the commits that follow.
        let enough = 1 + kill * 7 % 97;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen: Vec<String> = lines.by_ref().filter(|line| line.starts_with("acknowledged ")).take(enough).collect();
        child.kill().unwrap();
        seen.extend(lines.filter(|line| line.starts_with("acknowledged ") && line.split(' ').count() == 3));
        child.wait().unwrap();
        assert!(seen.len() >= enough, "the writer died by itself");

        let store = Embedded::open(dir.path()).unwrap();
        for line in &seen {
            let mut words = line.split(' ').skip(1);
            let (key, revision) = (words.next().unwrap(), words.next().unwrap());
            let entry = store.get(key).await.unwrap();
            lost += usize::from(entry.is_none_or(|entry| entry.mod_revision.to_string() != revision));
        }
        acknowledged += seen.len();
        let all = store.list(Range::default()).await.unwrap();
        assert_eq!(all.entries.len() as u64, all.revision, "revisions and entries went apart");
    }
    println!("R1: {lost} of {acknowledged} acknowledged writes lost over {kills} kills");
    assert_eq!(lost, 0);
}

/// Wherever a bit of the file turns, the store holds exactly what it held, or says that it is damaged.
#[tokio::test]
async fn a_flipped_bit_is_never_silent() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    for number in 0..40 {
        store.write(&format!("/key/{number}"), Expect::Absent, put(&"text ".repeat(number * 9))).await.unwrap();
    }
    let before = store.list(Range::default()).await.unwrap();
    drop(store);
    let file = dir.path().join("store.redb");
    let whole = fs::read(&file).unwrap();
    let (mut damaged, mut harmless) = (0, 0);
    // A prime stride walks over every kind of page and every place within one.
    for at in (0..whole.len()).step_by(1031) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, &bytes).unwrap();
        match Embedded::open(dir.path()) {
            Err(Error::Damaged(_) | Error::Io(_)) => damaged += 1,
            Err(other) => panic!("byte {at}: {other:?}"),
            Ok(store) => {
                assert_eq!(store.list(Range::default()).await.unwrap(), before, "byte {at} was changed and nobody said so");
                harmless += 1;
            }
        }
    }
    println!("a bit flipped in {} places: {damaged} told as damage, {harmless} where nothing is kept", damaged + harmless);
    assert!(damaged > 0);
}

#[tokio::test]
async fn a_file_without_a_digest_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path()).unwrap();
    let entry = store.write("/a", Expect::Absent, put("1")).await.unwrap();
    drop(store);
    let facts: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("facts");
    let database = redb::Database::open(dir.path().join("store.redb")).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(facts).unwrap().remove("digest").unwrap();
    write.open_table(facts).unwrap().insert("layout", 1).unwrap();
    write.commit().unwrap();
    drop(database);
    let store = Embedded::open(dir.path()).unwrap();
    assert_eq!(store.get("/a").await.unwrap().unwrap(), entry);
    store.write("/b", Expect::Absent, put("2")).await.unwrap();
    drop(store);
    assert!(Embedded::open(dir.path()).unwrap().get("/b").await.unwrap().is_some());
}

/// Not a test of its own: what [`a_full_disk_is_told_and_loses_nothing`] runs where the disk is small.
#[tokio::test]
async fn full_disk_process() {
    let Ok(dir) = std::env::var("WINDLASS_TEST_SMALL_DISK") else { return };
    let dir = std::path::Path::new(&dir);
    let filler = dir.join("filler");
    fs::write(&filler, vec![1_u8; 1 << 20]).unwrap();
    let store = Embedded::open(dir).unwrap();
    let text = "x".repeat(16 << 10);
    let mut acknowledged = Vec::new();
    let mut refused = None;
    // The disk holds less than 4 MiB, so it is full long before the end.
    for number in 0..1000 {
        match store.write(&format!("/key/{number}"), Expect::Absent, put(&text)).await {
            Ok(entry) => acknowledged.push(entry),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("a thousand writes of 16 KiB fit into 4 MiB");
    assert!(matches!(refused, Error::NoSpace), "{refused:?}");
    println!("{} writes, then: {refused}", acknowledged.len());
    for entry in &acknowledged {
        assert_eq!(store.get(&entry.key).await.unwrap().as_ref(), Some(entry), "a full disk keeps nobody from reading");
    }
    fs::remove_file(&filler).unwrap();
    // The write that failed may yet turn out to be durable, so the first one may be told to read again.
    let mut healed = store.write("/healed", Expect::Absent, put("1")).await;
    if healed.is_err() {
        healed = store.write("/healed", Expect::Absent, put("1")).await;
    }
    acknowledged.push(healed.expect("there is space again"));
    drop(store);
    let store = Embedded::open(dir).unwrap();
    for entry in &acknowledged {
        assert_eq!(store.get(&entry.key).await.unwrap().as_ref(), Some(entry), "an acknowledged write is gone");
    }
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A mount namespace of its own, so that the small disk is nobody else's and goes with the process.
    let script =
        "mount -t tmpfs -o size=4m small \"$WINDLASS_TEST_SMALL_DISK\" && exec \"$0\" full_disk_process --exact --nocapture";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("WINDLASS_TEST_SMALL_DISK", dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    print!("{text}");
}
