//! Work by key: each key once at a time, as soon as something happens to it, and again later if it failed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    future::Future,
    hash::Hash,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// First and longest pause after a failure; it doubles in between, per key. A conflict is over within milliseconds,
/// a quota may take minutes to be lifted.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(20)).min(LONGEST_PAUSE)
}

/// Longest rest of a key that keeps changing. A pass over a thousand pods takes longer than their events take to come: without
/// rest it would run once for each of them, and take the machine from those who make them.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// What a pass over a key leaves to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something happens.
    Wait,
    /// Another pass at once.
    Again,
    /// Another pass after this long, if nothing happens before.
    After(Duration),
    /// It did not work: another pass after a pause that grows.
    Failed,
}

/// Keys to be worked on.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    /// By turn: the key itself where keys have an order, or else the number of keys that came before.
    ready: BTreeMap<(Option<K>, u64), K>,
    in_order: bool,
    came: u64,
    /// Resting after a pass: a change does not cut the rest short.
    resting: HashSet<K>,
    /// In `ready`.
    queued: HashSet<K>,
    /// Being worked on.
    running: HashSet<K>,
    /// To be worked on again once they no longer are.
    dirty: HashSet<K>,
    /// Earliest first.
    later: BTreeSet<(Instant, K)>,
    due: BTreeMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

impl<K: Clone + Eq + Hash + Ord + fmt::Debug + Send + Sync + 'static> Queue<K> {
    /// First come, first served.
    pub(crate) fn new() -> Arc<Self> {
        Self::serving(false)
    }

    /// The least key first of those that are to be worked on.
    pub(crate) fn in_order() -> Arc<Self> {
        Self::serving(true)
    }

    fn serving(in_order: bool) -> Arc<Self> {
        let state = State {
            ready: BTreeMap::new(),
            in_order,
            came: 0,
            resting: HashSet::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            dirty: HashSet::new(),
            later: BTreeSet::new(),
            due: BTreeMap::new(),
            failures: HashMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the key as soon as possible.
    pub(crate) fn add(&self, key: K) {
        self.lock().add(key);
        self.changed.notify_one();
    }

    /// Works on the key after a while, unless something happens before; the earliest of several such wishes counts.
    pub(crate) fn add_after(&self, key: K, pause: Duration) {
        self.lock().postpone(key, Instant::now() + pause);
        self.changed.notify_one();
    }

    /// A key that changed meanwhile rests as long as its pass took, so that changes gather and a pass takes half of a CPU at most.
    fn done(&self, key: K, next: Next, took: Duration) {
        let mut state = self.lock();
        state.running.remove(&key);
        if next == Next::Failed {
            let failures = state.failures.entry(key.clone()).or_default();
            let pause = pause_after(*failures);
            *failures = failures.saturating_add(1);
            state.postpone(key.clone(), Instant::now() + pause);
        } else {
            state.failures.remove(&key);
        }
        if let Next::After(pause) = next {
            state.postpone(key.clone(), Instant::now() + pause);
        }
        let dirty = state.dirty.remove(&key);
        if next == Next::Again {
            state.add(key);
        } else if dirty {
            state.postpone(key.clone(), Instant::now() + took.min(LONGEST_REST));
            state.resting.insert(key);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The next key to work on, or when there may be one.
    fn take(&self) -> Result<K, Option<Instant>> {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some((at, key)) = state.later.first().cloned() {
            if at > now {
                break;
            }
            state.later.pop_first();
            state.due.remove(&key);
            state.resting.remove(&key);
            state.add(key);
        }
        let Some((_, key)) = state.ready.pop_first() else { return Err(state.later.first().map(|(at, _)| *at)) };
        state.queued.remove(&key);
        state.running.insert(key.clone());
        Ok(key)
    }

    /// Works until `stop`, on at most `parallel` keys at a time. What `pass` does before it answers with a future is done for one key
    /// after the other, in their turn.
    pub(crate) async fn work<F, Fut>(self: Arc<Self>, parallel: usize, stop: CancellationToken, pass: F)
    where
        F: Fn(K) -> Fut + Send + 'static,
        Fut: Future<Output = Next> + Send + 'static,
    {
        let mut passes = JoinSet::new();
        loop {
            let wake = if passes.len() < parallel { self.take() } else { Err(None) };
            let wake = match wake {
                Ok(key) => {
                    let (queue, object) = (Arc::clone(&self), key.clone());
                    // A defect met with one object must not take that object out of the loop for good.
                    let begun = catch_unwind(AssertUnwindSafe(|| pass(object)));
                    passes.spawn(async move {
                        let started = Instant::now();
                        let ended = match begun {
                            Ok(pass) => AssertUnwindSafe(pass).catch_unwind().await,
                            Err(panic) => Err(panic),
                        };
                        let next = ended.unwrap_or_else(|_| {
                            tracing::error!(?key, "a pass ended in panic");
                            Next::Failed
                        });
                        queue.done(key, next, started.elapsed());
                    });
                    continue;
                }
                Err(wake) => wake,
            };
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // In this order, so that a simulation can repeat it: an ended pass is always heard before it is waited on again.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(_) = passes.join_next() => {}
                () = self.changed.notified() => {}
                () = timer => {}
            }
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn add(&mut self, key: K) {
        if self.resting.contains(&key) {
            return;
        }
        if let Some(at) = self.due.remove(&key) {
            self.later.remove(&(at, key.clone()));
        }
        if self.running.contains(&key) {
            self.dirty.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.came += 1;
            let turn = if self.in_order { (Some(key.clone()), 0) } else { (None, self.came) };
            self.ready.insert(turn, key);
        }
    }

    fn postpone(&mut self, key: K, at: Instant) {
        if self.queued.contains(&key) {
            return;
        }
        if let Some(present) = self.due.get(&key).copied() {
            if present <= at {
                return;
            }
            self.later.remove(&(present, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_runs_once_at_a_time_and_again_if_it_changed_meanwhile() {
        let queue = Queue::new();
        let stop = CancellationToken::new();
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let pass = {
            let gate = Arc::clone(&gate);
            move |key: u32| {
                let (started, gate) = (started.clone(), Arc::clone(&gate));
                async move {
                    started.send(key).unwrap();
                    gate.acquire().await.unwrap().forget();
                    Next::Wait
                }
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.clone().work(4, stop.clone(), pass));
        queue.add(1);
        assert_eq!(starts.recv().await, Some(1));
        (0..5).for_each(|_| queue.add(1));
        queue.add(2);
        assert_eq!(starts.recv().await, Some(2));
        gate.add_permits(2);
        assert_eq!(starts.recv().await, Some(1));
        gate.add_permits(1);
        queue.add_after(3, Duration::from_millis(1));
        assert_eq!(starts.recv().await, Some(3));
        stop.cancel();
        tasks.join_all().await;
    }

    #[tokio::test]
    async fn keys_in_order_are_begun_in_order_one_after_the_other() {
        let queue = Queue::in_order();
        let stop = CancellationToken::new();
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let pass = move |key: u32| {
            begun.send(key).unwrap();
            std::future::ready(Next::Wait)
        };
        [3, 1, 4, 1, 5].into_iter().for_each(|key| queue.add(key));
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.clone().work(8, stop.clone(), pass));
        for key in [1, 3, 4, 5] {
            assert_eq!(begins.recv().await, Some(key));
        }
        stop.cancel();
        tasks.join_all().await;
    }

    #[tokio::test]
    async fn what_failed_is_tried_again() {
        let queue = Queue::new();
        let stop = CancellationToken::new();
        let (tried, mut tries) = tokio::sync::mpsc::unbounded_channel();
        let pass = move |key: u32| {
            tried.send(key).unwrap();
            std::future::ready(Next::Failed)
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.clone().work(1, stop.clone(), pass));
        queue.add(1);
        for _ in 0..3 {
            assert_eq!(tries.recv().await, Some(1));
        }
        stop.cancel();
        tasks.join_all().await;
    }

    #[tokio::test]
    async fn what_panicked_is_tried_again() {
        panics_and_is_tried_again(|key| async move { panic!("a defect met with {key}") }).await;
        panics_and_is_tried_again(|key| -> std::future::Ready<Next> { panic!("a defect met with {key} at once") }).await;
    }

    async fn panics_and_is_tried_again<Fut>(defect: fn(u32) -> Fut)
    where
        Fut: Future<Output = Next> + Send + 'static,
    {
        let queue = Queue::new();
        let stop = CancellationToken::new();
        let (tried, mut tries) = tokio::sync::mpsc::unbounded_channel();
        let pass = move |key: u32| {
            tried.send(key).unwrap();
            defect(key)
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.clone().work(1, stop.clone(), pass));
        queue.add(1);
        for _ in 0..3 {
            assert_eq!(tries.recv().await, Some(1));
        }
        stop.cancel();
        tasks.join_all().await;
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<u128> = [0, 1, 2, 3, 30, u32::MAX].map(|failures| pause_after(failures).as_millis()).to_vec();
        assert_eq!(pauses, [5, 10, 20, 40, 60_000, 60_000]);
    }
}
