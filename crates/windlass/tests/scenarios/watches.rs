//! R3: a watch has no gap, shows nothing twice and never goes back, across restarts and compaction.

mod watcher;
mod witness;
mod writer;

use std::{
    collections::BTreeMap,
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    watcher::Watcher,
    witness::{Ledger, NAMESPACES, Object, Revision, Step, namespace},
    writer::{OBJECTS_OF_EACH, Writer},
};
use crate::machine::Machine;

const WRITERS: usize = 12;
const WATCHERS: usize = 32;
/// Events between one kill and the next.
const ROUND: usize = 50_000;
/// What is written to have the machine forget: some dozens of these are more than it keeps.
const BALLAST_BYTES: usize = 500_000;
/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a round, the time from one start of the machine to its end, has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Begun,
    /// Nothing that was when the round began can be watched from any more.
    Compacted,
    /// From here on the machine may break any connection.
    Killed,
    /// Instead, in the last round: no more writes.
    Written,
    /// And whoever has seen everything up to there has seen all.
    Complete(Revision),
}

/// What writers and watchers of a round share.
#[derive(Clone)]
struct Round {
    client: Client,
    phase: watch::Receiver<Phase>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    events: AtomicUsize,
    /// Watches that went on where the one before had ended.
    resumed: AtomicUsize,
    /// Watches that could not, since what they had not seen was forgotten: over a restart, and over compaction.
    expired_by_restart: AtomicUsize,
    expired_by_compaction: AtomicUsize,
    lists: AtomicUsize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [events, resumed, expired_by_restart, expired_by_compaction, lists] =
            [&self.events, &self.resumed, &self.expired_by_restart, &self.expired_by_compaction, &self.lists]
                .map(|counter| counter.load(Ordering::Relaxed));
        write!(
            f,
            "{events} events, {resumed} watches resumed, {lists} lists after {expired_by_restart} watches expired over a restart \
             and {expired_by_compaction} over a compaction"
        )
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Round {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    async fn until_compacted(&mut self) -> Result<()> {
        self.phase.wait_for(|phase| *phase != Phase::Begun).await?;
        Ok(())
    }

    /// A request may fail once the machine is being killed, and never before.
    fn excuse(&self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if self.phase() == Phase::Killed && error.is::<kube::Error>() => Ok(()),
            outcome => outcome,
        }
    }
}

/// A round under way.
struct Running {
    client: Client,
    writers: JoinSet<Result<Writer>>,
    watchers: JoinSet<Result<Watcher>>,
    phase: watch::Sender<Phase>,
    counts: Arc<Counts>,
}

impl Running {
    /// Sets everybody to work; to be called within the runtime of the client.
    fn start(client: &Client, writers: Vec<Writer>, watchers: Vec<Watcher>, counts: &Arc<Counts>) -> Self {
        let (phase, receiver) = watch::channel(Phase::Begun);
        let round = Round { client: client.clone(), phase: receiver, counts: Arc::clone(counts) };
        let writers = writers.into_iter().map(|writer| writer.run(round.clone())).collect();
        let watchers = watchers.into_iter().map(|watcher| watcher.run(round.clone())).collect();
        Self { client: client.clone(), writers, watchers, phase, counts: Arc::clone(counts) }
    }

    /// Waits until so many events have been seen, unless somebody sees what must not be.
    async fn until(&mut self, events: usize) -> Result<()> {
        let mut seen = self.counts.events.load(Ordering::Relaxed);
        while seen < events {
            let more = async {
                let before = seen;
                while seen == before {
                    sleep(Duration::from_millis(5)).await;
                    seen = self.counts.events.load(Ordering::Relaxed);
                }
            };
            timeout(PATIENCE, more).await.context("nobody sees anything any more")?;
            if let Some(ended) = self.writers.try_join_next() {
                bail!("a writer has ended: {:?}", ended?.err());
            }
            if let Some(ended) = self.watchers.try_join_next() {
                bail!("a watcher has ended: {:?}", ended?.err());
            }
        }
        Ok(())
    }

    /// Half of the round, a compaction, and the other half, or none of it: then the kill hits those who list again.
    async fn go(&mut self, whole: bool) -> Result<()> {
        let begin = self.counts.events.load(Ordering::Relaxed);
        self.until(begin + ROUND / 2).await?;
        compact(&self.client).await?;
        self.phase.send_replace(Phase::Compacted);
        self.until(begin + if whole { ROUND } else { 0 }).await
    }

    /// Gives everybody back when the machine has been killed.
    async fn ended(mut self) -> Result<(Vec<Writer>, Vec<Watcher>)> {
        Ok((joined(&mut self.writers).await?, joined(&mut self.watchers).await?))
    }

    /// Nobody writes any more, everybody sees the rest, and what they saw is what was written.
    async fn finish(mut self) -> Result<()> {
        self.phase.send_replace(Phase::Written);
        let writers = joined(&mut self.writers).await?;
        let newest = Api::<Namespace>::all(self.client.clone()).list(&ListParams::default()).await?.metadata.resource_version;
        self.phase.send_replace(Phase::Complete(newest.context("a list without a revision")?.parse()?));
        let watchers = joined(&mut self.watchers).await?;
        let steps: BTreeMap<Object, Step> = writers.into_iter().flat_map(|writer| writer.objects).collect();
        let steps: Vec<Step> = steps.into_values().collect();
        watchers.into_iter().try_for_each(|watcher| {
            let sight = watcher.witness.sight;
            watcher.witness.finish(&steps).with_context(|| format!("watcher of {sight:?}"))
        })
    }
}

async fn joined<T: 'static>(set: &mut JoinSet<Result<T>>) -> Result<Vec<T>> {
    let all = async {
        let mut all = Vec::new();
        while let Some(ended) = set.join_next().await {
            all.push(ended??);
        }
        Ok(all)
    };
    timeout(PATIENCE, all).await.context("somebody hangs")?
}

/// Writes until nothing can be watched that is of now. And once more, for the watcher that does not read: its connection holds some
/// megabytes before its watch stands still.
async fn compact(client: &Client) -> Result<()> {
    let config_maps = Api::<ConfigMap>::default_namespaced(client.clone());
    for _ in 0..2 {
        let now = config_maps.list(&ListParams::default().limit(1)).await?.metadata.resource_version.context("no revision")?;
        let mut writes = 0;
        while !is_expired(&config_maps, &now).await? {
            ensure!(writes < 1000, "nothing is ever forgotten");
            for _ in 0..8 {
                writes += 1;
                let ballast = if writes % 2 == 0 { "a" } else { "b" }.repeat(BALLAST_BYTES);
                let ballast = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ballast" }, "data": { "ballast": ballast } });
                config_maps.patch("ballast", &PatchParams::apply("watches"), &Patch::Apply(ballast)).await?;
            }
        }
    }
    Ok(())
}

async fn is_expired(config_maps: &Api<ConfigMap>, revision: &str) -> Result<bool> {
    let mut events = pin!(config_maps.watch(&WatchParams::default().timeout(1), revision).await?);
    Ok(matches!(events.try_next().await?, Some(WatchEvent::Error(status)) if status.code == 410))
}

async fn make_namespaces(client: Client) {
    for number in 0..NAMESPACES {
        let namespace = serde_json::from_value(json!({ "metadata": { "name": namespace(number) } })).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    }
}

/// `WINDLASS_TEST_EVENTS` sets how many events are to be seen; 150,000 by default.
#[test]
fn nothing_is_missed_or_repeated() {
    let events: usize = std::env::var("WINDLASS_TEST_EVENTS").map_or(150_000, |text| text.parse().unwrap());
    let ledger = Arc::new(Ledger::new(WRITERS * OBJECTS_OF_EACH));
    let mut writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::new(number, &ledger)).collect();
    let mut watchers: Vec<Watcher> = (0..WATCHERS).map(|number| Watcher::new(number, &ledger)).collect();
    let counts = Arc::new(Counts::default());
    let mut machine = Machine::start(&["--runtime", "hollow"]);
    machine.block_on(make_namespaces);
    for restarts in 0.. {
        let (runtime, client) = machine.client();
        let _inside = runtime.enter();
        let mut running = Running::start(&client, writers, watchers, &counts);
        runtime.block_on(running.go(restarts % 2 == 0)).unwrap();
        if counts.events.load(Ordering::Relaxed) >= events {
            runtime.block_on(running.finish()).unwrap();
            println!("R3: 0 gaps, repetitions or steps back in {counts}, {restarts} restarts, {} compactions", restarts + 1);
            break;
        }
        running.phase.send_replace(Phase::Killed);
        machine.kill();
        (writers, watchers) = runtime.block_on(running.ended()).unwrap();
        machine.up();
    }
    assert!(counts.expired_by_compaction.load(Ordering::Relaxed) > 0, "no watcher was hit by a compaction");
    machine.stop();
}
