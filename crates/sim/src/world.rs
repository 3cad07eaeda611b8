//! One world, from its seed to its end.

mod genesis;
mod settled;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use windlass_apiserver::ApiServer;
use windlass_storage::Store;

use self::genesis::Genesis;
use crate::{
    chance::Chance,
    clock::WorldClock,
    faults::{Crash, Faults, Weather},
    ledger::Ledger,
    log::{Keep, Log},
    panics,
    parts::{Ground, Nodes},
    user::{Requests, User, workload_of},
    witness::Count,
};

/// Acts of the user in a world: enough for a rollout to be overtaken several times, few enough for the log of a failure to be read.
const ACTS: u64 = 12;
/// Size of the rollout whose writes are enumerated: the smallest in which pods come, wait and go at the same time.
const ENUMERATED_REPLICAS: u64 = 3;
/// Longest pause of the user between two acts: some rollouts end in it, most do not.
const PAUSE_MS: u64 = 30_000;
/// Time in which everything must come to what was asked once nothing goes wrong any more. The longest pause after a failure is a
/// minute, pods of a node that went are evicted after five, and a few of these may follow each other.
const SETTLE: Duration = Duration::from_secs(1_200);
/// What has settled stays so.
const STAYS: Duration = Duration::from_secs(5);

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What everything follows from.
    pub seed: u64,
    /// How much of the log is kept.
    pub keep: Keep,
    /// When the controllers are killed.
    pub crash: Crash,
}

/// What came of a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What did not hold, if anything.
    pub violation: Option<String>,
    /// Templates that were asked for, each of which is a rollout.
    pub rollouts: u64,
    /// Writes of the controllers.
    pub writes: u64,
    /// Events that watches delivered, each of which was checked for gaps and duplicates.
    pub events: u64,
    /// The log, as far as it was kept.
    pub log: Vec<String>,
    /// A number that follows from every line of the log.
    pub hash: u64,
}

/// Simulates a world. To be called outside of any runtime: each world has one of its own, with its own time.
///
/// # Errors
/// When the world cannot be made at all.
pub fn run(plan: Plan) -> Result<Outcome> {
    genesis::in_own_time(async move {
        panics::listen();
        let world = World::new(plan).await?;
        Ok(world.live().await)
    })
}

struct World {
    plan: Plan,
    ground: Ground,
    chance: Chance,
}

impl World {
    async fn new(plan: Plan) -> Result<Self> {
        let chance = Chance::new(plan.seed);
        let genesis = Genesis::get()?;
        let clock = WorldClock::start(genesis.elapsed);
        let log = Arc::new(Log::new(clock, plan.keep));
        let weather = Weather::of(plan.crash, &chance);
        log.say(format_args!("seed {} {:?} {weather:?}", plan.seed, plan.crash));
        let memory = genesis.memory.fork(move || clock.now_ms());
        let ledger = Arc::new(Ledger::new(memory, clock, Arc::clone(&log)).await?);
        let server = ApiServer::new(Arc::clone(&ledger) as Arc<dyn Store>, genesis.options(clock, chance.fork()));
        let server = server.await.context("cannot start the API server")?;
        let faults = Faults::new(plan.crash, weather, chance.fork());
        let count = Arc::new(Count::default());
        let ground = Ground { server, ledger, clock, log, faults, chance: chance.fork(), count, seed: plan.seed };
        Ok(Self { plan, ground, chance })
    }

    async fn live(self) -> Outcome {
        let ground = &self.ground;
        let mut parts = JoinSet::new();
        parts.spawn(ground.clone().keep_controllers());
        let nodes = Nodes::start(ground, genesis::node_names());
        if ground.faults.weather.nodes_change {
            parts.spawn(nodes.waver(self.chance.fork()));
        } else {
            parts.spawn(nodes.stay());
        }
        if ground.faults.weather.forgets {
            parts.spawn(forget(Arc::clone(&ground.ledger), self.chance.fork()));
        }
        let requests = Requests::new(ground.user());
        let (ledger, log) = (Arc::clone(&ground.ledger), Arc::clone(&ground.log));
        let mut user = User::new(requests, workload_of(self.plan.seed), self.chance.fork(), ledger, log);
        tokio::select! {
            biased;
            () = ground.ledger.violated.notified() => {}
            () = self.story(&mut user) => {}
        }
        parts.shutdown().await;
        Outcome {
            seed: self.plan.seed,
            violation: ground.ledger.violation().or_else(panics::first),
            rollouts: user.rollouts(),
            writes: ground.faults.writes(),
            events: ground.count.events(),
            log: ground.log.lines(),
            hash: ground.log.hash(),
        }
    }

    /// Safety first, then liveness with the faults stopped.
    async fn story(&self, user: &mut User) {
        let ground = &self.ground;
        if self.plan.crash == Crash::ByChance {
            user.begin().await;
            for _ in 0..ACTS {
                tokio::time::sleep(self.chance.up_to_ms(PAUSE_MS)).await;
                user.act().await;
            }
            tokio::time::sleep(self.chance.up_to_ms(PAUSE_MS)).await;
            ground.faults.stop();
            ground.log.say(format_args!("nothing goes wrong from now on"));
        } else {
            user.begin_with(ENUMERATED_REPLICAS).await;
            self.settles().await;
        }
        user.make_up().await;
        self.settles().await;
    }

    /// Waits until everything is as it was asked for, and accuses the world if that takes too long.
    async fn settles(&self) {
        let ground = &self.ground;
        let fault = || ground.ledger.look(|scene| settled::fault(scene, ground.clock.now()));
        let deadline = tokio::time::Instant::now() + SETTLE;
        let mut pause = Duration::from_millis(100);
        while let Some(fault) = fault() {
            if tokio::time::Instant::now() > deadline {
                return ground.ledger.accuse(format!("after {} s without faults: {fault}", SETTLE.as_secs()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        tokio::time::sleep(STAYS).await;
        if let Some(fault) = fault() {
            ground.ledger.accuse(format!("it had settled, and then: {fault}"));
        }
        ground.log.say(format_args!("settled"));
    }
}

/// Forgets history again and again, nearly all of it.
async fn forget(ledger: Arc<Ledger>, chance: Chance) {
    loop {
        tokio::time::sleep(Duration::from_millis(200) + chance.up_to_ms(10_000)).await;
        if let Ok(revision) = ledger.revision().await {
            // A store in memory forgets without fail.
            let _ = ledger.compact(revision.saturating_sub(chance.below(10))).await;
        }
    }
}
