//! Simulated nodes: a pod bound to one is Running and Ready at once, and gone at once when deleted.
//!
//! For scale tests and for machines without namespaces. Any number of nodes share one watch and one set of tasks.

mod node;
mod options;
mod pod;
mod runtime;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use http::Method;
use jiff::Timestamp;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use self::options::{Clock, Conduct, Fate, Lapse, Options, PodName};
use self::pod::HollowPod;
use crate::{api, pauses::Pauses, volumes::removal};

/// Requests under way at once. The embedded store commits writers that wait together in one group; beyond this
/// many the groups grow no faster, only the queue does.
const MAX_REQUESTS: usize = 128;
/// A request that the server could not take is sent this many times, 50 ms apart and doubling: about 6 s.
const MAX_ATTEMPTS: u32 = 8;

/// Simulates `node_names` until `stop`: registers them, renews their leases and plays kubelet for the pods bound to them.
///
/// Pods stay in the API when it ends, as they do when a real node is switched off.
pub async fn run(client: Client, node_names: Vec<String>, options: Options, stop: CancellationToken) {
    let names: BTreeSet<String> = node_names.into_iter().collect();
    let hollow = Arc::new(Hollow {
        client: client.clone(),
        requests: Arc::new(Semaphore::new(MAX_REQUESTS)),
        ready: Mutex::default(),
        unserved: Mutex::default(),
        next_address: AtomicU32::new(1),
        options: options.clone(),
    });
    let nodes = node::keep_alive(client.clone(), names.iter().cloned().collect(), options.clock);
    tokio::select! {
        biased;
        () = removal::run(client, None, |host| names.contains(host)) => {}
        () = stop.cancelled() => {}
        () = nodes => {}
        () = hollow.follow(&names) => {}
    }
}

struct Hollow {
    client: Client,
    /// Bounds the requests under way, and so the tasks.
    requests: Arc<Semaphore>,
    /// Since when pods are ready, by uid; `None`: not for a while, as their fate has it.
    ready: Mutex<HashMap<String, Option<Timestamp>>>,
    /// Uids of pods that wait for a runtime of their class.
    unserved: Mutex<HashSet<String>>,
    /// Pods get addresses of 10.128.0.0/9 in turn; eight million go round before one is given again.
    next_address: AtomicU32,
    options: Options,
}

/// Uids of pods. A pod is asked to run once and to go once, however many events tell of it meanwhile.
#[derive(Default)]
struct Seen {
    started: HashSet<String>,
    stopped: HashSet<String>,
    /// Those in the list that is being read.
    listed: HashSet<String>,
}

impl Hollow {
    async fn follow(self: Arc<Self>, nodes: &BTreeSet<String>) {
        let pods: Api<HollowPod> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields("spec.nodeName!=").any_semantic();
        let mut events = std::pin::pin!(watcher(pods, config).backoff(Pauses::default()));
        let mut seen = Seen::default();
        let mut tasks = JoinSet::new();
        while let Some(event) = events.next().await {
            let Some(pod) = self.note(&mut seen, event) else { continue };
            if !pod.spec.node_name.as_ref().is_some_and(|name| nodes.contains(name)) {
                continue;
            }
            let going = pod.metadata.deletion_timestamp.is_some();
            if !going
                && pod.is_unready()
                && let Some(since) = self.ready_since(&pod)
            {
                // As a kubelet does: who took the node for dead is told otherwise of its pods, too. It says what it said before: this may
                // be no more than a late echo of a lapse that is over, and the pod is not ready anew.
                let hollow = Arc::clone(&self);
                let permit = self.permit().await;
                tasks.spawn(async move {
                    let _permit = permit;
                    hollow.tell_readiness(&pod, true, since).await;
                });
                continue;
            }
            let wanted = if going {
                seen.stopped.insert(pod.uid().to_owned())
            } else {
                pod.is_new() && seen.started.insert(pod.uid().to_owned())
            };
            if !wanted {
                continue;
            }
            let fate = (self.options.conduct)(&pod.name());
            let Some(wait) = (if going { Some(fate.gone_after) } else { fate.ready_after }) else { continue };
            if !going {
                // Not until it runs.
                self.ready().insert(pod.uid().to_owned(), None);
            }
            // Who waits, for its time or for a runtime, holds no permit.
            let waits = !wait.is_zero() || !going && pod.spec.runtime_class_name.is_some();
            let permit = if waits { None } else { Some(self.permit().await) };
            let hollow = Arc::clone(&self);
            tasks.spawn(async move {
                let _permit = permit;
                tokio::time::sleep(wait).await;
                if going {
                    hollow.stop(&pod).await;
                } else if hollow.is_served(&pod).await {
                    hollow.start(&pod, fate.lapse).await;
                }
            });
            while tasks.try_join_next().is_some() {}
        }
    }

    /// The pod that an event is about, if it is there.
    fn note(&self, seen: &mut Seen, event: Result<watcher::Event<HollowPod>, watcher::Error>) -> Option<HollowPod> {
        match event {
            Ok(watcher::Event::Apply(pod)) => return Some(pod),
            Ok(watcher::Event::InitApply(pod)) => {
                seen.listed.insert(pod.uid().to_owned());
                return Some(pod);
            }
            Ok(watcher::Event::Delete(pod)) => {
                let uid = pod.uid();
                self.ready().remove(uid);
                seen.started.remove(uid);
                seen.stopped.remove(uid);
            }
            Ok(watcher::Event::Init) => *seen = Seen::default(),
            Ok(watcher::Event::InitDone) => {
                let listed = std::mem::take(&mut seen.listed);
                self.ready().retain(|uid, _| listed.contains(uid));
            }
            Err(error) => tracing::debug!(%error, "watching the pods of hollow nodes"),
        }
        None
    }

    async fn start(&self, pod: &HollowPod, lapse: Option<Lapse>) {
        let address = std::net::Ipv4Addr::from(0x0A80_0000 | (self.next_address.fetch_add(1, Ordering::Relaxed) & 0x007F_FFFF));
        let status = format!("{}/status", pod.path());
        let now = self.now();
        if !self.turns(pod, Some(now)) {
            return;
        }
        self.insist(Method::PATCH, &status, api::STRATEGIC, &pod.running(address, now)).await;
        if let Some(lapse) = lapse {
            tokio::time::sleep(lapse.after).await;
            self.turn(pod, false).await;
            tokio::time::sleep(lapse.lasts).await;
            self.turn(pod, true).await;
        }
    }

    async fn turn(&self, pod: &HollowPod, ready: bool) {
        let now = self.now();
        if self.turns(pod, ready.then_some(now)) {
            self.tell_readiness(pod, ready, now).await;
        }
    }

    /// Takes note of since when it is ready; false if it is gone.
    fn turns(&self, pod: &HollowPod, since: Option<Timestamp>) -> bool {
        self.ready().get_mut(pod.uid()).map(|known| *known = since).is_some()
    }

    async fn tell_readiness(&self, pod: &HollowPod, ready: bool, since: Timestamp) {
        let status = format!("{}/status", pod.path());
        self.insist(Method::PATCH, &status, api::STRATEGIC, &pod.readiness(ready, since)).await;
    }

    /// Since when it is ready, unless it is not; a pod that an earlier process started is from now on.
    fn ready_since(&self, pod: &HollowPod) -> Option<Timestamp> {
        *self.ready().entry(pod.uid().to_owned()).or_insert_with(|| Some(self.now()))
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        self.requests.clone().acquire_owned().await.expect("nobody closes the semaphore")
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<String, Option<Timestamp>>> {
        self.ready.lock().expect("nobody panics with it")
    }

    fn now(&self) -> Timestamp {
        api::seconds((self.options.clock)())
    }

    async fn stop(&self, pod: &HollowPod) {
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "gracePeriodSeconds": 0, "preconditions": { "uid": pod.uid() },
        });
        self.insist(Method::DELETE, &pod.path(), api::JSON, &options).await;
    }

    /// Sends a request until the server has taken it, or has said that it makes no sense (any more).
    async fn insist(&self, method: Method, path: &str, content_type: &str, body: &Value) {
        let mut delay = Duration::from_millis(50);
        for attempt in 1..=MAX_ATTEMPTS {
            match api::send(&self.client, method.clone(), path, content_type, body).await {
                Ok(()) => return,
                Err(error) if error.is_not_found() || error.is_conflict() => return,
                Err(error) if error.is_final() || attempt == MAX_ATTEMPTS => {
                    tracing::warn!(%error, path, "a hollow pod could not be updated");
                    return;
                }
                Err(_) => tokio::time::sleep(delay).await,
            }
            delay *= 2;
        }
    }
}
