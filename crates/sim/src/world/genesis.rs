//! The beginning that all worlds share: a cluster that has just come up. It is made once, and every world goes on from a copy.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use windlass_apiserver::{ApiServer, Options, Random, pki::Pki};
use windlass_kubelet::hollow;
use windlass_storage::{Memory, Store};

use crate::{chance::Chance, clock::WorldClock};

/// Nodes of a world: pods of one that goes find place on the others.
const NODES: usize = 3;
/// Time in which a cluster comes up, and far more than that.
const COMES_UP: Duration = Duration::from_secs(20);

pub(super) struct Genesis {
    pub(super) memory: Memory,
    pub(super) elapsed: SignedDuration,
    pki: Pki,
}

#[derive(Debug)]
struct Seeded(Chance);

impl Random for Seeded {
    fn next_u64(&self) -> u64 {
        self.0.bits()
    }
}

pub(super) fn node_names() -> impl Iterator<Item = String> {
    (1..=NODES).map(|number| format!("node-{number}"))
}

/// Runs in a runtime of its own, on this thread alone and with its own time.
pub(super) fn in_own_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.context("cannot make a runtime")?.block_on(work)
}

impl Genesis {
    /// The beginning; made by whoever asks first.
    pub(super) fn get() -> Result<&'static Self> {
        static GENESIS: OnceLock<Result<Genesis, String>> = OnceLock::new();
        // On a thread of its own: whoever asks is in a runtime already.
        let make = || {
            let made = std::thread::spawn(|| in_own_time(Self::make())).join();
            made.map_err(|_| "making the first cluster panicked".to_owned())?.map_err(|error| format!("{error:#}"))
        };
        GENESIS.get_or_init(make).as_ref().map_err(|error| anyhow!("{error}"))
    }

    async fn make() -> Result<Self> {
        let clock = WorldClock::start(SignedDuration::ZERO);
        let memory = Memory::with_clock(move || clock.now_ms());
        let mut genesis = Self { memory, elapsed: SignedDuration::ZERO, pki: Pki::generate(&[])? };
        let chance = Chance::new(0);
        let store = Arc::new(genesis.memory.fork(move || clock.now_ms()));
        let server = ApiServer::new(Arc::clone(&store) as Arc<dyn Store>, genesis.options(clock, chance.fork())).await?;
        let client = |user| kube::Client::new(server.in_process(user), "default");
        let mut options = windlass_controllers::Options::new("CERTIFICATE".to_owned(), Arc::new(move || chance.bits()));
        options.clock = Arc::new(move || clock.now());
        let stop = CancellationToken::new();
        let controllers = windlass_controllers::run(client("system:kube-controller-manager"), options, stop.clone());
        let hollow = hollow::Options { clock: Arc::new(move || clock.now()), ..hollow::Options::default() };
        let nodes = hollow::run(client("system:nodes"), node_names().collect(), hollow, stop.clone());
        let end = async {
            tokio::time::sleep(COMES_UP).await;
            stop.cancel();
        };
        futures::join!(controllers, nodes, end);
        genesis.memory = store.fork(|| 0);
        genesis.elapsed = clock.elapsed();
        Ok(genesis)
    }

    /// Options of an API server on this clock and this chance.
    pub(super) fn options(&self, clock: WorldClock, chance: Chance) -> Options {
        let mut options = Options::new("token", self.pki.clone());
        options.clock = Arc::new(clock);
        options.random = Arc::new(Seeded(chance));
        options
    }
}
