//! Who hears of what: pods from the API and exits from the runtime, each to its worker.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};

use super::{
    Grant, Kubelet,
    orphans::{self, Directories},
};
use crate::{
    pod::{Existing, Message, Worker, uid},
    runtime::ContainerExited,
};

impl Kubelet {
    /// Follows the pods bound to this node. `existing` is what ran here before, by pod uid, and `directories` what it left on the disk.
    pub(super) async fn follow_pods(self: &Arc<Self>, mut existing: HashMap<String, Existing>, mut directories: Directories) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let config = watcher::Config::default().fields(&format!("spec.nodeName={}", self.options.node_name));
        let mut events = std::pin::pin!(watcher(pods, config).default_backoff());
        let (mut listed, mut waiting) = (HashSet::new(), Vec::new());
        let mut is_first_list = true;
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    waiting.clear();
                }
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.insert(uid(&pod).to_owned());
                    waiting.push(pod);
                }
                Ok(watcher::Event::InitDone) => {
                    // What is gone makes room first, and who came first is served first.
                    self.forget(|uid| !listed.contains(uid));
                    waiting.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
                    for pod in waiting.drain(..) {
                        self.see(pod, &mut existing);
                    }
                    self.make_room();
                    if is_first_list {
                        is_first_list = false;
                        let (orphaned, directories) = (std::mem::take(&mut existing), std::mem::take(&mut directories));
                        self.tasks.spawn(orphans::remove(Arc::clone(self), orphaned, directories, std::mem::take(&mut listed)));
                    }
                }
                Ok(watcher::Event::Apply(pod)) => self.see(pod, &mut existing),
                Ok(watcher::Event::Delete(pod)) => {
                    self.forget(|gone| gone == uid(&pod));
                    self.make_room();
                }
                Err(error) => tracing::debug!(%error, "watching the pods of this node"),
            }
        }
    }

    fn see(self: &Arc<Self>, pod: Pod, existing: &mut HashMap<String, Existing>) {
        let uid = uid(&pod).to_owned();
        // Held throughout: each pod finds what the one before it has taken.
        let mut handles = self.handles();
        if let Some(handle) = handles.get(&uid) {
            // Its worker is to see what it asks for together with what becomes of that.
            handle.pod.send_if_modified(|seen| {
                *seen = Arc::new(pod);
                false
            });
            self.reallocate(&handles, &uid);
            handle.pod.send_modify(|_| ());
            return;
        }
        if self.shutting_down.is_cancelled() {
            return;
        }
        let existing = existing.remove(&uid);
        let refusal = if existing.is_some() { None } else { self.refusal(&handles, &pod) };
        let grant = Grant::taken_on(&pod, existing.as_ref());
        let (worker, mut handle) = Worker::new(self, pod, grant);
        handle.is_refused = refusal.is_some();
        handles.insert(uid, handle);
        self.workers.spawn(worker.run(existing.unwrap_or_default(), refusal));
    }

    /// The pods that `is_gone` names are no longer in the API: whatever is left of them goes.
    fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        self.handles().retain(|uid, handle| {
            let keep = !is_gone(uid);
            if !keep {
                handle.gone.cancel();
            }
            keep
        });
    }

    pub(super) async fn route_exits(&self, mut exits: broadcast::Receiver<ContainerExited>) {
        loop {
            match exits.recv().await {
                Ok(exited) => {
                    if let Some(handle) = self.handles().get(&exited.pod_uid) {
                        self.tell(&handle.inbox, Message::Exited(exited.container_id));
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "containers ended faster than could be followed: looking at all of them");
                    for handle in self.handles().values() {
                        self.tell(&handle.inbox, Message::Relist);
                    }
                }
                // The runtime is gone; what it ran is found on the next start.
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

impl Kubelet {
    /// Puts a message into a worker's inbox; one that is full is waited for elsewhere, so that no other worker is late.
    fn tell(&self, inbox: &mpsc::Sender<Message>, message: Message) {
        if let Err(mpsc::error::TrySendError::Full(message)) = inbox.try_send(message) {
            let inbox = inbox.clone();
            self.tasks.spawn(async move { inbox.send(message).await });
        }
    }
}
