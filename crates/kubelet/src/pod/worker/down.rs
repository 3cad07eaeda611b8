//! The end of a pod: deleted, expired, or switched off with the machine.

use std::time::Duration;

use http::Method;
use serde_json::json;
use windlass_planner::{pod::Sandbox as SandboxState, schedule::Refusal};

use super::Worker;
use crate::{
    api,
    events::Type,
    pod::{Message, ended, name, namespace, operation::Done, set_up, stop::Descent, uid},
};

/// What is under way is given this long to come to a point where it can be left.
const OPERATIONS_LIMIT: Duration = Duration::from_secs(10);
/// The last word on a pod is waited for this long; after that the pod goes without.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(5);
/// When the machine stops, the word that a pod is not ready is worth this much.
const SHUT_DOWN_WORD_LIMIT: Duration = Duration::from_millis(500);

impl Worker {
    /// The pod was deleted: stops it, and lets the API forget it.
    pub(super) async fn go_down(mut self) {
        self.stop_all(true).await;
        self.observed.stopped = true;
        self.observed.sandbox = SandboxState::Absent;
        if !self.gone.is_cancelled() {
            self.publish();
            self.status.flush(LAST_WORD_LIMIT).await;
        }
        set_up::release(&self.scope(), self.sandbox.as_ref()).await;
        self.delete().await;
        let logs = self.kubelet.paths.pod_logs(namespace(&self.pod), name(&self.pod), uid(&self.pod));
        if let Err(error) = tokio::fs::remove_dir_all(&logs).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %logs.display(), "removing the logs of a pod");
        }
    }

    /// The pod is not run here: it fails before it began, and stays in the API.
    pub(super) fn refuse(&mut self, Refusal { reason, message }: Refusal) {
        self.kubelet.events.pod(&self.pod, None, Type::Warning, reason.clone(), message.as_str());
        self.observed.ended = Some((reason, format!("Pod was rejected: {message}")));
        (self.observed.refused, self.observed.stopped) = (true, true);
    }

    /// The pod outlived `activeDeadlineSeconds`: it fails, and stays in the API.
    pub(super) async fn expire(&mut self) {
        let message = "Pod was active on the node longer than the specified deadline";
        self.observed.ended = Some(("DeadlineExceeded".to_owned(), message.to_owned()));
        self.kubelet.events.pod(&self.pod, None, Type::Normal, "DeadlineExceeded", message);
        self.stop_all(true).await;
        self.observed.stopping = false;
        self.observed.stopped = true;
    }

    /// The machine stops: the pod is stopped within its grace period, and stays in the API to come back on the next start.
    pub(super) async fn shut_down(mut self) {
        self.observed.stopping = true;
        self.publish();
        self.status.flush(SHUT_DOWN_WORD_LIMIT).await;
        self.stop_all(false).await;
        self.observed.sandbox = SandboxState::Absent;
        self.publish();
        self.status.flush(SHUT_DOWN_WORD_LIMIT).await;
        set_up::leave(&self.scope(), self.sandbox.as_ref()).await;
    }

    /// Stops every container, in order; what becomes of them is said as it happens.
    async fn stop_all(&mut self, is_unrouted_first: bool) {
        self.observed.stopping = true;
        self.cancel.cancel();
        if self.pod.metadata.deletion_timestamp.is_none() {
            // What stays in the API is not ready from now on, whatever its probes say.
            self.probes.clear();
        }
        self.publish();
        let finish = async {
            while let Some(done) = self.operations.join_next().await {
                if let Ok(done) = done {
                    self.apply(done).await;
                }
            }
        };
        if tokio::time::timeout(OPERATIONS_LIMIT, finish).await.is_err() {
            self.operations.abort_all();
        }
        let pod = self.pod_changes.clone();
        let said = is_unrouted_first.then(|| self.status.settled());
        let descent = Descent::new(self.scope(), &self.observed, self.sandbox.clone(), pod, self.gone.clone(), said);
        let mut descent = std::pin::pin!(descent.run());
        loop {
            tokio::select! {
                () = &mut descent => break,
                Some(message) = self.inbox.recv() => {
                    self.hear(message).await;
                    self.publish();
                }
                Some(Ok(done)) = self.operations.join_next(), if !self.operations.is_empty() => {
                    self.apply(done).await;
                    self.publish();
                }
                Some(report) = self.reports.recv() => {
                    self.judge(report);
                    self.publish();
                }
            }
        }
        self.look_at_all().await;
    }

    async fn look_at_all(&mut self) {
        self.hear(Message::Relist).await;
        while let Some(done) = self.operations.join_next().await {
            if let Ok(done @ Done::Inspected { .. }) = done {
                self.apply(done).await;
            }
        }
        // What the runtime cannot stop goes with the sandbox.
        for known in self.observed.containers.values_mut() {
            if let Some(run) = known.latest.as_mut().filter(|run| run.outcome().is_none()) {
                run.state = windlass_planner::pod::RunState::Exited(ended::lost(jiff::Timestamp::now()));
            }
        }
        self.pod = self.granted_pod();
    }

    /// Lets the API forget the pod, now that nothing of it is left here.
    async fn delete(&self) {
        let path = format!("/api/v1/namespaces/{}/pods/{}", namespace(&self.pod), name(&self.pod));
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": { "uid": uid(&self.pod) },
        });
        let mut pause = Duration::from_millis(50);
        while !self.gone.is_cancelled() {
            match api::send(&self.kubelet.client, Method::DELETE, &path, api::JSON, &options).await {
                Ok(()) => return,
                Err(error) if error.is_not_found() || error.is_conflict() => return,
                Err(error) => tracing::debug!(%error, path, "deleting a pod that has stopped"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.gone.cancelled() => return,
                () = self.kubelet.stop.cancelled() => return,
            }
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}
