//! The StatefulSet loop.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::{PersistentVolumeClaim, Pod},
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    Failures,
    note::Note,
    owner,
    stateful_set::{self, Action, Plan, Step},
};

use crate::{
    api::{self, Error},
    cache::{Index, Key, key_of},
    context::{Context, settle},
    history::{self, Outcome},
    marks::Marks,
    owned::{self, Mark},
    queue::{Next, Queue},
};

const COMPONENT: &str = "statefulset-controller";
/// StatefulSets worked on at once.
const PARALLEL: usize = 16;

struct Loop {
    context: Arc<Context>,
    marks: Marks<Mark>,
    failures: Marks<Failures>,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let own = Arc::clone(&queue);
    context.stateful_sets.listen(move |old, new| own.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    owned::listen::<_, StatefulSet>(&context.pods, &context.stateful_sets, &queue);
    owned::listen::<ControllerRevision, StatefulSet>(&context.controller_revisions, &context.stateful_sets, &queue);
    listen_to_claims(context, &queue);
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default(), failures: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("statefulset", &key, this.pass(&key).await) }
    }));
}

/// A set whose pod waits for a claim to be gone goes on when it is, or when somebody has it stay.
fn listen_to_claims(context: &Context, queue: &Arc<Queue<Key>>) {
    let (sets, queue) = (Arc::clone(&context.stateful_sets), Arc::clone(queue));
    context.claims.listen(move |old, new| {
        let is_freed = |old: &&Arc<PersistentVolumeClaim>| {
            new.is_none_or(|new| new.metadata.owner_references != old.metadata.owner_references)
        };
        let Some(freed) = old.filter(is_freed) else { return };
        let namespace = owner::namespace(&freed.metadata);
        for set in sets.all().iter().filter(|set| owner::namespace(&set.metadata) == namespace) {
            if stateful_set::has_claim(set, owner::name(&freed.metadata)) {
                queue.add(key_of(&set.metadata));
            }
        }
    });
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.stateful_sets.reached(mark.set).await;
        mark.reached(context).await?;
        let Some(set) = context.stateful_sets.get(key) else {
            self.marks.set(key, Mark::default());
            self.failures.set(key, Failures::default());
            return Ok(Next::Wait);
        };
        let namespace = owner::namespace(&set.metadata).to_owned();
        let pods = owned::pods(context, &set.metadata, &mut mark.deleted);
        let claims = context.claims.under(&Index::Namespace(namespace));
        let revisions = history::of(context, &set.metadata);
        let failures = self.failures.get(key);
        let snapshot = stateful_set::Snapshot {
            stateful_set: &set,
            pods: &pods,
            revisions: &revisions,
            claims: &claims,
            failures: &failures,
        };
        let mut plan = stateful_set::plan(&snapshot, context.now());
        self.failures.set(key, std::mem::take(&mut plan.failures));
        tracing::trace!(key = &**key, waiting = ?plan.waiting, "planned");
        let outcome = self.apply(&set, plan, &mut mark).await;
        self.marks.set(key, mark);
        outcome
    }

    async fn apply(&self, set: &StatefulSet, plan: Plan, mark: &mut Mark) -> Result<Next, Error> {
        match history::apply(&self.context, &set.metadata, plan.revisions).await? {
            Outcome::Done(revision) => mark.revisions = mark.revisions.max(revision),
            Outcome::Collision => {
                let mut status = set.status.clone().unwrap_or_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
                self.write_status(set, status, mark).await?;
                return Ok(Next::Again);
            }
        }
        // Written first: pods are made for the revisions that it names.
        if set.status.as_ref() != Some(&plan.status) {
            self.write_status(set, plan.status, mark).await?;
        }
        for step in plan.steps {
            self.take(set, step, mark).await?;
        }
        plan.notes.into_iter().for_each(|note| self.tell(set, note));
        Ok(self.context.wake(plan.wake_at))
    }

    async fn take(&self, set: &StatefulSet, step: Step, mark: &mut Mark) -> Result<(), Error> {
        let client = &self.context.client;
        tracing::debug!(statefulset = owner::name(&set.metadata), reason = ?step.reason, "step");
        match step.action {
            Action::CreateClaim(claim) => match api::create(client, &*claim).await {
                Ok(written) => mark.claims = mark.claims.max(written.revision),
                Err(error) if error.is_already_exists() => return Ok(()),
                Err(error) => return Err(self.failed(set, &format!("create Claim {}", owner::name(&claim.metadata)), error)),
            },
            Action::SetClaimOwners(claim, owners) => {
                let change = owned::owners_change(&claim.metadata, &owners);
                let written = api::merge::<PersistentVolumeClaim>(client, &claim.metadata, &change).await?;
                mark.claims = mark.claims.max(written.revision);
            }
            Action::CreatePod(pod) => match api::create(client, &*pod).await {
                Ok(written) => mark.pods = mark.pods.max(written.revision),
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => {
                    mark.doubts.note::<Pod>(&pod.metadata, &error);
                    return Err(self.failed(set, &format!("create Pod {}", owner::name(&pod.metadata)), error));
                }
            },
            Action::DeletePod(pod) => {
                let deleted = owned::delete_pod(&self.context, &pod, mark).await;
                deleted.map_err(|error| self.failed(set, &format!("delete Pod {}", owner::name(&pod.metadata)), error))?;
            }
            Action::SetPodOwners(pod, owners) => owned::set_owners(&self.context, &pod, &owners, mark).await?,
            Action::SetPodLabels(pod, labels) => {
                let meta = &pod.metadata;
                let change =
                    json!({ "metadata": { "uid": meta.uid, "resourceVersion": meta.resource_version, "labels": labels } });
                let written = api::merge::<Pod>(client, meta, &change).await;
                let written = written.map_err(|error| self.failed(set, &format!("update Pod {}", owner::name(meta)), error))?;
                mark.pods = mark.pods.max(written.revision);
            }
        }
        step.note.into_iter().for_each(|note| self.tell(set, note));
        Ok(())
    }

    /// Says on the set what failed; a conflict is over by itself and not worth a word.
    fn failed(&self, set: &StatefulSet, doing: &str, error: Error) -> Error {
        if !error.is_conflict() {
            let reason = match doing.split_once(' ') {
                Some(("delete", _)) => "FailedDelete",
                Some(("update", _)) => "FailedUpdate",
                _ => "FailedCreate",
            };
            let text = format!("{doing} in StatefulSet {} failed error: {error}", owner::name(&set.metadata));
            self.tell(set, Note::warning(reason, text));
        }
        error
    }

    async fn write_status(&self, set: &StatefulSet, status: StatefulSetStatus, mark: &mut Mark) -> Result<(), Error> {
        // A merge, so that the set may have changed meanwhile; the uid guards against another one of that name.
        let change = json!({ "metadata": { "uid": set.metadata.uid }, "status": status });
        let written = api::merge_status::<StatefulSet>(&self.context.client, &set.metadata, &change).await?;
        mark.set = mark.set.max(written.revision);
        Ok(())
    }

    fn tell(&self, set: &StatefulSet, note: Note) {
        self.context.recorder.tell::<StatefulSet>(COMPONENT, &set.metadata, note);
    }
}
