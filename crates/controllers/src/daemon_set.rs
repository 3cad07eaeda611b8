//! The DaemonSet loop.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod},
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    Failures,
    daemon_set::{self, Action, Plan, Step},
    note::Note,
    owner,
};

use crate::{
    api::{self, Error},
    cache::{Key, key_of},
    context::{Context, settle},
    history::{self, Outcome},
    marks::Marks,
    owned::{self, Deleted, Mark},
    queue::{Next, Queue},
};

const COMPONENT: &str = "daemonset-controller";
/// DaemonSets worked on at once.
const PARALLEL: usize = 16;
/// Requests under way at once for one DaemonSet: one a node comes to many on a large cluster.
const REQUESTS: usize = 64;

struct Loop {
    context: Arc<Context>,
    marks: Marks<Mark>,
    failures: Marks<Failures>,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let own = Arc::clone(&queue);
    context.daemon_sets.listen(move |old, new| own.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    owned::listen::<Pod, DaemonSet>(&context.pods, &context.daemon_sets, &queue);
    owned::listen::<ControllerRevision, DaemonSet>(&context.controller_revisions, &context.daemon_sets, &queue);
    let (sets, by_node) = (Arc::clone(&context.daemon_sets), Arc::clone(&queue));
    context.nodes.listen(move |old, new| {
        // A heartbeat moves nothing; labels and taints do.
        let place = |node: &Arc<Node>| (node.metadata.labels.clone(), node.spec.as_ref().and_then(|spec| spec.taints.clone()));
        if old.map(place) != new.map(place) {
            sets.all().iter().for_each(|set| by_node.add(key_of(&set.metadata)));
        }
    });
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default(), failures: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("daemonset", &key, this.pass(&key).await) }
    }));
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.daemon_sets.reached(mark.set).await;
        mark.reached(context).await?;
        context.nodes.reached(0).await;
        let Some(set) = context.daemon_sets.get(key) else {
            self.marks.set(key, Mark::default());
            self.failures.set(key, Failures::default());
            return Ok(Next::Wait);
        };
        let pods = owned::pods(context, &set.metadata, &mut mark.deleted);
        let (revisions, nodes) = (history::of(context, &set.metadata), context.nodes.all());
        let failures = self.failures.get(key);
        let snapshot =
            daemon_set::Snapshot { daemon_set: &set, pods: &pods, revisions: &revisions, nodes: &nodes, failures: &failures };
        let mut plan = daemon_set::plan(&snapshot, context.now());
        self.failures.set(key, std::mem::take(&mut plan.failures));
        tracing::trace!(key = &**key, waiting = ?plan.waiting, "planned");
        let outcome = self.apply(&set, plan, &mut mark).await;
        self.marks.set(key, mark);
        outcome
    }

    async fn apply(&self, set: &DaemonSet, plan: Plan, mark: &mut Mark) -> Result<Next, Error> {
        match history::apply(&self.context, &set.metadata, plan.revisions).await? {
            Outcome::Done(revision) => mark.revisions = mark.revisions.max(revision),
            Outcome::Collision => {
                let mut status = set.status.clone().unwrap_or_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
                self.write_status(set, status, mark).await?;
                return Ok(Next::Again);
            }
        }
        if set.status.as_ref() != Some(&plan.status) {
            self.write_status(set, plan.status, mark).await?;
        }
        let mut failure = None;
        let mut taken = std::pin::pin!(stream::iter(plan.steps).map(|step| self.take(set, step)).buffer_unordered(REQUESTS));
        while let Some((written, outcome)) = taken.next().await {
            mark.merge(written);
            failure = failure.or(outcome.err());
        }
        match failure {
            Some(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(self.context.wake(plan.wake_at)),
        }
    }

    /// Takes one step; returns what it wrote, and whether it worked.
    async fn take(&self, set: &DaemonSet, step: Step) -> (Mark, Result<(), Error>) {
        let mut mark = Mark::default();
        let outcome = self.take_noting(set, step, &mut mark).await;
        (mark, outcome)
    }

    async fn take_noting(&self, set: &DaemonSet, step: Step, mark: &mut Mark) -> Result<(), Error> {
        tracing::debug!(daemonset = owner::name(&set.metadata), reason = ?step.reason, "step");
        step.note.into_iter().for_each(|note| self.tell(set, note));
        match step.action {
            Action::CreatePod(mut pod) => {
                pod.metadata.name = Some(self.context.generated_name(&pod.metadata));
                let written = api::create(&self.context.client, &*pod).await.inspect_err(|error| {
                    mark.doubts.note::<Pod>(&pod.metadata, error);
                    if !error.is_namespace_terminating() {
                        self.tell(set, Note::warning("FailedCreate", format!("Error creating: {error}")));
                    }
                })?;
                self.tell(set, Note::normal("SuccessfulCreate", format!("Created pod: {}", written.name)));
                mark.pods = written.revision;
            }
            Action::DeletePod(pod) => {
                let deleted = owned::delete_pod(&self.context, &pod, mark).await.inspect_err(|error| {
                    if !error.is_conflict() {
                        self.tell(set, Note::warning("FailedDelete", format!("Error deleting: {error}")));
                    }
                })?;
                if deleted == Deleted::ByUs {
                    let text = format!("Deleted pod: {}", owner::name(&pod.metadata));
                    self.tell(set, Note::normal("SuccessfulDelete", text));
                }
            }
            Action::SetPodOwners(pod, owners) => owned::set_owners(&self.context, &pod, &owners, mark).await?,
        }
        Ok(())
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus, mark: &mut Mark) -> Result<(), Error> {
        // A merge, so that the set may have changed meanwhile; the uid guards against another one of that name. Counts that are
        // absent when zero must be taken out explicitly.
        let mut status = json!(status);
        for count in ["updatedNumberScheduled", "numberAvailable", "numberUnavailable"] {
            status.as_object_mut().into_iter().for_each(|fields| {
                fields.entry(count).or_insert(serde_json::Value::Null);
            });
        }
        let change = json!({ "metadata": { "uid": set.metadata.uid }, "status": status });
        let written = api::merge_status::<DaemonSet>(&self.context.client, &set.metadata, &change).await?;
        mark.set = mark.set.max(written.revision);
        Ok(())
    }

    fn tell(&self, set: &DaemonSet, note: Note) {
        self.context.recorder.tell::<DaemonSet>(COMPONENT, &set.metadata, note);
    }
}
