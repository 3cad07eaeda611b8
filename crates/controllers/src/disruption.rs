//! The loop over PodDisruptionBudgets.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::kind;
use windlass_planner::{
    disruption::{self, Plan, Scale},
    note::Note,
    owner, replica,
};

use crate::{
    api::{self, Error},
    cache::{Index, Key, key, key_of},
    context::{Context, settle},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

const COMPONENT: &str = "controllermanager";
/// Budgets worked on at once.
const PARALLEL: usize = 8;

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let own = Arc::clone(&queue);
    context.budgets.listen(move |old, new| own.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    let (shared, by_pod) = (Arc::clone(context), Arc::clone(&queue));
    context.pods.listen(move |old, new| {
        if old.zip(new).is_some_and(|(old, new)| shown(old) == shown(new)) {
            return;
        }
        let namespace = owner::namespace(&new.or(old).expect("a change has a side").metadata);
        for budget in shared.budgets.under(&Index::Namespace(namespace.to_owned())) {
            if old.into_iter().chain(new).any(|pod| disruption::covers(&budget, pod)) {
                by_pod.add(key_of(&budget.metadata));
            }
        }
    });
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("disruption", &key, this.pass(&key).await) }
    }));
}

/// What a budget counts by.
fn shown(pod: &Pod) -> impl PartialEq + '_ {
    let meta = &pod.metadata;
    (&meta.labels, &meta.owner_references, meta.deletion_timestamp.is_some(), replica::is_ready(pod))
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.budgets.reached(mark.own).await;
        context.pods.reached(0).await;
        context.deployments.reached(0).await;
        context.replica_sets.reached(0).await;
        context.stateful_sets.reached(0).await;
        context.replication_controllers.reached(0).await;
        let Some(budget) = context.budgets.get(key) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        let pods = context.pods.under(&Index::Namespace(owner::namespace(&budget.metadata).to_owned()));
        let scales = self.scales(&budget, &pods);
        let snapshot = disruption::Snapshot { budget: &budget, pods: &pods, scales: &scales };
        let plan = disruption::plan(&snapshot, context.now());
        let outcome = self.apply(&budget, plan, &mut mark).await;
        self.marks.set(key, mark);
        outcome
    }

    /// What scales the owners of the pods that the budget covers.
    fn scales(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> BTreeMap<String, Scale> {
        let mut scales = BTreeMap::new();
        for pod in pods.iter().filter(|pod| disruption::covers(budget, pod)) {
            if let Some(uid) = owner::controller_uid(&pod.metadata)
                && !scales.contains_key(uid)
                && let Some(scale) = self.scale_of(pod)
            {
                scales.insert(uid.to_owned(), scale);
            }
        }
        scales
    }

    fn scale_of(&self, pod: &Pod) -> Option<Scale> {
        let context = &self.context;
        let owner = owner::controller_of(&pod.metadata)?;
        let key = |name: &str| key(owner::namespace(&pod.metadata), name);
        let scale =
            |uid: &str, replicas: Option<i32>| Some(Scale::Replicas { uid: uid.to_owned(), replicas: replicas.unwrap_or(1) });
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = context.replica_sets.get(&key(&owner.name)).filter(|set| owner::uid(&set.metadata) == owner.uid)?;
                match owner::controller_of(&set.metadata) {
                    Some(above) if above.kind == "Deployment" => {
                        let deployment = context.deployments.get(&key(&above.name))?;
                        scale(&above.uid, deployment.spec.as_ref().and_then(|spec| spec.replicas))
                    }
                    _ => scale(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas)),
                }
            }
            "StatefulSet" => {
                let set = context.stateful_sets.get(&key(&owner.name)).filter(|set| owner::uid(&set.metadata) == owner.uid)?;
                scale(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "ReplicationController" => {
                let found = context.replication_controllers.get(&key(&owner.name));
                let found = found.filter(|found| owner::uid(&found.metadata) == owner.uid)?;
                scale(&owner.uid, found.spec.as_ref().and_then(|spec| spec.replicas))
            }
            _ => {
                let kind = kind::find_object(&owner.api_version, &owner.kind)?;
                let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
                Some(Scale::None { resource: format!("{}{group}", kind.plural) })
            }
        }
    }

    async fn apply(&self, budget: &PodDisruptionBudget, plan: Plan, mark: &mut Mark) -> Result<Next, Error> {
        let recorder = &self.context.recorder;
        for note in plan.notes {
            recorder.tell::<PodDisruptionBudget>(COMPONENT, &budget.metadata, note);
        }
        for pod in &plan.spared {
            let (namespace, name) = (owner::namespace(&budget.metadata), owner::name(&budget.metadata));
            let text = format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
            recorder.tell::<Pod>(COMPONENT, &pod.metadata, Note::warning("NotDeleted", text));
        }
        if budget.status.as_ref() != Some(&plan.status) {
            // Replaced, not merged: an eviction that has spent from this status meanwhile must not be overwritten.
            let changed = PodDisruptionBudget { status: Some(plan.status), ..budget.clone() };
            mark.own(&api::replace_status(&self.context.client, &changed).await?);
        }
        Ok(self.context.wake(plan.wake_at))
    }
}
