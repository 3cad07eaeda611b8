//! The loop over ReplicaSets, and over ReplicationControllers as ReplicaSets of an older make.

use std::{marker::PhantomData, sync::Arc};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    core::v1::{Pod, ReplicationController},
};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    note::Note,
    owner, replica,
    replica_set::{self, Action, Reason, Step},
    replication_controller,
};

use crate::{
    api::{self, Deletion, Error, Written},
    cache::{Cache, Index, Key, Object, key, key_of},
    context::{Context, settle},
    marks::{Mark, Marks},
    owned,
    queue::{Next, Queue},
};

/// Objects of one kind worked on at once.
const PARALLEL: usize = 16;
/// Requests under way at once for one object: the store commits as many together, and more would only wait.
const REQUESTS: usize = 64;

/// What keeps a number of like pods.
trait Keeper: Object + Serialize + kube::Resource<DynamicType = ()> + k8s_openapi::Resource {
    /// Who speaks in its Events.
    const COMPONENT: &'static str;

    fn cache(context: &Context) -> &Arc<Cache<Self>>;

    /// The ReplicaSet that does what it asks for.
    fn as_replica_set(self: &Arc<Self>) -> Arc<ReplicaSet>;

    /// It, with the status of that ReplicaSet.
    fn with_status(self: &Arc<Self>, status: ReplicaSetStatus) -> Self;
}

impl Keeper for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";

    fn cache(context: &Context) -> &Arc<Cache<Self>> {
        &context.replica_sets
    }

    fn as_replica_set(self: &Arc<Self>) -> Arc<ReplicaSet> {
        Arc::clone(self)
    }

    fn with_status(self: &Arc<Self>, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..Self::clone(self) }
    }
}

impl Keeper for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";

    fn cache(context: &Context) -> &Arc<Cache<Self>> {
        &context.replication_controllers
    }

    fn as_replica_set(self: &Arc<Self>) -> Arc<ReplicaSet> {
        replication_controller::as_replica_set(self)
    }

    fn with_status(self: &Arc<Self>, status: ReplicaSetStatus) -> Self {
        Self { status: Some(replication_controller::status_of(status)), ..Self::clone(self) }
    }
}

struct Loop<K> {
    context: Arc<Context>,
    marks: Marks,
    kind: PhantomData<fn() -> K>,
}

/// A step that failed, and why.
struct Failure {
    reason: Reason,
    error: Error,
}

/// Starts the loop of each kind and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    start_one::<ReplicaSet>(context, tasks, stop);
    start_one::<ReplicationController>(context, tasks, stop);
}

fn start_one<K: Keeper>(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let own = Arc::clone(&queue);
    K::cache(context).listen(move |old, new| own.add(key_of(Object::meta(&**new.or(old).expect("a change has a side")))));
    let (shared, by_pod) = (Arc::clone(context), Arc::clone(&queue));
    context.pods.listen(move |old, new| {
        let owner_of = |pod: &Arc<Pod>| {
            let owner = owner::controller_of(&pod.metadata).filter(|owner| owner.kind == <K as k8s_openapi::Resource>::KIND)?;
            Some(key(owner::namespace(&pod.metadata), &owner.name))
        };
        if let (Some(old), Some(new)) = (old, new)
            && replica_set::shown(old) == replica_set::shown(new)
        {
            return;
        }
        let (before, after) = (old.and_then(owner_of), new.and_then(owner_of));
        if let Some(key) = before.as_ref().filter(|before| Some(*before) != after.as_ref()) {
            by_pod.add(Key::clone(key));
        }
        match after {
            Some(key) => by_pod.add(key),
            None => {
                // An orphan is of interest when it becomes one or changes its labels, not whenever its status does.
                let labels = |pod: &Arc<Pod>| pod.metadata.labels.clone();
                let same = before.is_none() && old.map(labels) == new.map(labels);
                for key in new.filter(|_| !same).into_iter().flat_map(|pod| possible_owners::<K>(&shared, pod)) {
                    by_pod.add(key);
                }
            }
        }
    });
    let this = Arc::new(Loop::<K> { context: Arc::clone(context), marks: Marks::default(), kind: PhantomData });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle(K::COMPONENT, &key, this.pass(&key).await) }
    }));
}

/// Whom an orphan could belong to: any in its namespace, as their plan will tell.
fn possible_owners<K: Keeper>(context: &Context, pod: &Pod) -> Vec<Key> {
    if owner::controller_of(&pod.metadata).is_some() {
        return Vec::new();
    }
    let namespace = owner::namespace(&pod.metadata);
    let all = K::cache(context).all();
    let metas = all.iter().map(|keeper| Object::meta(&**keeper));
    metas.filter(|meta| owner::namespace(meta) == namespace).map(key_of).collect()
}

impl<K: Keeper> Loop<K> {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        mark.settle(&context.client).await?;
        K::cache(context).reached(mark.own).await;
        context.pods.reached(mark.children).await;
        let Some(keeper) = K::cache(context).get(key) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        let replica_set = keeper.as_replica_set();
        let plan = self.plan(&replica_set, &mut mark);
        let outcome = if plan.steps.is_empty() {
            self.write_status(&keeper, &replica_set, plan.status, &mut mark).await.map(|()| context.wake(plan.wake_at))
        } else {
            self.apply(&keeper, &replica_set, plan, &mut mark).await
        };
        self.marks.set(key, mark);
        outcome
    }

    fn plan(&self, replica_set: &ReplicaSet, mark: &mut Mark) -> replica_set::Plan {
        let pods = owned::pods(&self.context, &replica_set.metadata, &mut mark.deleted);
        let related = self.related(replica_set, &pods);
        let snapshot = replica_set::Snapshot { replica_set, pods: &pods, related: &related };
        replica_set::plan::<K>(&snapshot, self.context.now())
    }

    /// Pods of every ReplicaSet under the same Deployment; looked at only when some must go.
    fn related(&self, replica_set: &ReplicaSet, pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let wanted = usize::try_from(replica_set::replicas(replica_set)).unwrap_or(0);
        if pods.iter().filter(|pod| replica::is_active(pod)).count() <= wanted {
            return Vec::new();
        }
        let Some(deployment) = owner::controller_uid(&replica_set.metadata) else { return pods.to_vec() };
        let siblings = self.context.replica_sets.under(&Index::Owner(deployment.to_owned()));
        let pods_of = |set: &Arc<ReplicaSet>| self.context.pods.under(&Index::Owner(owner::uid(&set.metadata).to_owned()));
        siblings.iter().flat_map(pods_of).collect()
    }

    async fn apply(
        &self,
        keeper: &Arc<K>,
        replica_set: &ReplicaSet,
        plan: replica_set::Plan,
        mark: &mut Mark,
    ) -> Result<Next, Error> {
        let mut failure = None;
        let steps = stream::iter(plan.steps).map(|step| self.take(replica_set, step)).buffer_unordered(REQUESTS);
        let mut outcomes = std::pin::pin!(steps);
        while let Some((changes, failed)) = outcomes.next().await {
            mark.merge(changes);
            failure = failure.or(failed);
        }
        let Some(Failure { reason, error }) = failure else { return Ok(Next::Again) };
        if error.is_namespace_terminating() {
            return Ok(Next::Wait);
        }
        // Some of it was done: counted is what there is now, and only what is certain speaks for the present generation.
        self.context.pods.reached(mark.children).await;
        let counted = self.plan(replica_set, mark).status;
        let mut status = replica_set::with_failure(replica_set, counted, reason, &error.to_string(), self.context.now());
        if !mark.doubts.is_empty() {
            status.observed_generation = replica_set.status.as_ref().and_then(|status| status.observed_generation);
        }
        self.write_status(keeper, replica_set, status, mark).await?;
        Err(error)
    }

    async fn take(&self, replica_set: &ReplicaSet, step: Step) -> (Mark, Option<Failure>) {
        let mut mark = Mark::default();
        let outcome = match step.action {
            Action::Create { pod, batches } => self.create(replica_set, &pod, batches, &mut mark).await,
            Action::Delete(pod) => self.delete(replica_set, &pod, &mut mark).await,
            Action::SetOwners { pod, owners } => {
                let change = owned::owners_change(&pod.metadata, &owners);
                api::merge::<Pod>(&self.context.client, &pod.metadata, &change).await.map(|written| mark.child(&written))
            }
        };
        (mark, outcome.err().map(|error| Failure { reason: step.reason, error }))
    }

    async fn create(&self, replica_set: &ReplicaSet, pod: &Pod, batches: Vec<usize>, mark: &mut Mark) -> Result<(), Error> {
        for batch in batches {
            let create = |_| {
                let pod = self.named(pod);
                async move {
                    let outcome = self.create_one(replica_set, &pod).await;
                    (pod.metadata, outcome)
                }
            };
            let mut made = std::pin::pin!(stream::iter(0..batch).map(create).buffer_unordered(REQUESTS));
            let mut failure = None;
            while let Some((meta, outcome)) = made.next().await {
                match outcome {
                    Ok(written) => mark.child(&written),
                    Err(error) => {
                        mark.doubts.note::<Pod>(&meta, &error);
                        failure = failure.or(Some(error));
                    }
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The pod under a name of its own.
    fn named(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        pod.metadata.name = Some(self.context.generated_name(&pod.metadata));
        pod
    }

    async fn create_one(&self, replica_set: &ReplicaSet, pod: &Pod) -> Result<Written, Error> {
        let outcome = api::create(&self.context.client, pod).await;
        match &outcome {
            Ok(written) => self.tell(replica_set, Note::normal("SuccessfulCreate", format!("Created pod: {}", written.name))),
            Err(error) if error.is_namespace_terminating() => {}
            Err(error) => self.tell(replica_set, Note::warning("FailedCreate", format!("Error creating: {error}"))),
        }
        outcome
    }

    async fn delete(&self, replica_set: &ReplicaSet, pod: &Pod, mark: &mut Mark) -> Result<(), Error> {
        let outcome = api::delete::<Pod>(&self.context.client, &pod.metadata, &Deletion::of(&pod.metadata)).await;
        let name = owner::name(&pod.metadata);
        match outcome {
            Ok(written) => {
                mark.child_deleted(owner::uid(&pod.metadata), &written);
                self.tell(replica_set, Note::normal("SuccessfulDelete", format!("Deleted pod: {name}")));
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                mark.deleted.insert(owner::uid(&pod.metadata).to_owned());
                Ok(())
            }
            Err(error) => {
                mark.doubts.note::<Pod>(&pod.metadata, &error);
                self.tell(replica_set, Note::warning("FailedDelete", format!("Error deleting: {error}")));
                Err(error)
            }
        }
    }

    async fn write_status(
        &self,
        keeper: &Arc<K>,
        replica_set: &ReplicaSet,
        status: ReplicaSetStatus,
        mark: &mut Mark,
    ) -> Result<(), Error> {
        let changed = keeper.with_status(status);
        // Compared as the kind has it: a ReplicationController does not keep all that is counted.
        if replica_set.status == Arc::new(changed.clone()).as_replica_set().status {
            return Ok(());
        }
        mark.own(&api::replace_status(&self.context.client, &changed).await?);
        Ok(())
    }

    fn tell(&self, replica_set: &ReplicaSet, note: Note) {
        self.context.recorder.tell::<K>(K::COMPONENT, &replica_set.metadata, note);
    }
}
