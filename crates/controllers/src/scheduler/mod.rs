//! The scheduler: one pod at a time is decided, the most urgent one first; many are bound at once.

mod preemption;
mod turn;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    note::Note,
    owner, replica,
    schedule::{self, Cluster, DEFAULT_SCHEDULER, Decision, PodVolumes, Preemption, Storage, Unschedulable},
    volume::{SELECTED_NODE, claims_of},
};

use self::turn::Turn;
use crate::{
    api::{self, Error},
    cache::Index,
    context::{Context, settle},
    queue::{Next, Queue},
};

/// Bindings under way at once; the store commits as many together.
const PARALLEL: usize = 64;
/// How long changes gather before pods that did not fit are tried again: one look for a burst of deletions.
const GATHER: Duration = Duration::from_millis(10);
/// A pod that nothing has moved is tried again after this long. Upstream's figure.
const FLUSH: Duration = Duration::from_secs(300);

struct Loop {
    context: Arc<Context>,
    queue: Arc<Queue<Turn>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is placed where, bindings under way included.
    cluster: Cluster,
    /// Pods that did not fit.
    parked: BTreeMap<Turn, Parked>,
    /// Pods that have a place and wait there for their volumes, with the node.
    reserved: BTreeMap<Turn, String>,
}

struct Parked {
    /// The reason that was last found.
    message: String,
    /// Whether pods that come may make the difference.
    wants_company: bool,
}

/// What was decided about a pod, to be carried out.
enum Step {
    /// Nothing is to be done.
    Rest,
    /// It has its place, with these volumes.
    Settle(Arc<Pod>, String, PodVolumes),
    /// It has none; whether that was found for the same reason the last time.
    Park(Arc<Pod>, Unschedulable, bool),
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue = Queue::in_order();
    let this = Arc::new(Loop { context: Arc::clone(context), queue: Arc::clone(&queue), state: Mutex::default() });
    let shared = Arc::clone(&this);
    context.nodes.listen(move |old, new| {
        let mut state = shared.state();
        let moved = match (old, new) {
            (_, Some(node)) => state.cluster.set_node(Arc::clone(node)),
            (Some(node), None) => {
                state.cluster.remove_node(owner::name(&node.metadata));
                true
            }
            (None, None) => false,
        };
        if moved {
            shared.try_parked(&state);
        }
    });
    let shared = Arc::clone(&this);
    context.pods.listen(move |old, new| shared.follow_pod(old, new));
    let shared = Arc::clone(&this);
    context.budgets.listen(move |old, new| match (old, new) {
        (_, Some(budget)) => shared.state().cluster.set_budget(Arc::clone(budget)),
        (Some(budget), None) => shared.state().cluster.remove_budget(budget),
        (None, None) => {}
    });
    let shared = Arc::clone(&this);
    context.namespaces.listen(move |old, new| {
        let mut state = shared.state();
        match (old, new) {
            (_, Some(namespace)) if state.cluster.set_namespace(Arc::clone(namespace)) => shared.try_parked(&state),
            (Some(namespace), None) => state.cluster.remove_namespace(owner::name(&namespace.metadata)),
            _ => {}
        }
    });
    let shared = Arc::clone(&this);
    context.services.listen(move |old, new| match (old, new) {
        (_, Some(service)) => shared.state().cluster.set_service(Arc::clone(service)),
        (Some(service), None) => shared.state().cluster.remove_service(service),
        (None, None) => {}
    });
    // Whatever changes about claims, volumes and classes may be what a pod waits for.
    let shared = Arc::clone(&this);
    context.claims.listen(move |_, _| shared.try_waiting());
    let shared = Arc::clone(&this);
    context.volumes.listen(move |_, _| shared.try_waiting());
    let shared = Arc::clone(&this);
    context.storage_classes.listen(move |_, _| shared.try_waiting());
    let stop = stop.clone();
    tasks.spawn(async move {
        let known = this.know();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = known => {}
        }
        let begin = move |turn: Turn| {
            let (this, step) = (Arc::clone(&this), this.decide(&turn));
            async move { settle("scheduler", &turn.key, this.carry_out(&turn, step).await) }
        };
        queue.work(PARALLEL, stop, begin).await;
    });
}

impl Loop {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that decisions depend on is known.
    async fn know(&self) {
        let context = &self.context;
        context.nodes.reached(0).await;
        context.pods.reached(0).await;
        context.budgets.reached(0).await;
        context.namespaces.reached(0).await;
        context.services.reached(0).await;
        context.claims.reached(0).await;
        context.volumes.reached(0).await;
        context.storage_classes.reached(0).await;
    }

    fn follow_pod(&self, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>) {
        let mut state = self.state();
        let freed = match (old, new) {
            (_, Some(pod)) if replica::is_finished(pod) => state.cluster.remove(owner::uid(&pod.metadata)),
            (old, Some(pod)) => {
                if let Some(node) = replica::node_name(pod) {
                    let gives_back = state.cluster.place(Arc::clone(pod), node);
                    if old.is_none_or(|old| replica::node_name(old).is_none() || old.metadata.labels != pod.metadata.labels) {
                        self.try_some(&state, |parked| parked.wants_company);
                    }
                    // A pod on its way out no longer counts where pods are spread.
                    let was_active = old.is_some_and(|old| old.metadata.deletion_timestamp.is_none());
                    gives_back || was_active && pod.metadata.deletion_timestamp.is_some()
                } else if schedule::is_waiting(pod) {
                    self.queue.add(Turn::of(pod));
                    preemption::follow(&mut state.cluster, old, pod)
                } else {
                    state.cluster.denominate(owner::uid(&pod.metadata))
                }
            }
            (Some(pod), None) => {
                let turn = Turn::of(pod);
                state.parked.remove(&turn);
                state.reserved.remove(&turn);
                state.cluster.remove(&turn.uid)
            }
            (None, None) => false,
        };
        if freed {
            self.try_parked(&state);
        }
    }

    /// Something has changed that may make room.
    fn try_parked(&self, state: &State) {
        self.try_some(state, |_| true);
    }

    fn try_some(&self, state: &State, which: fn(&Parked) -> bool) {
        for (turn, _) in state.parked.iter().filter(|(_, parked)| which(parked)) {
            self.queue.add_after(turn.clone(), GATHER);
        }
    }

    /// Pods that wait for a place, or at their place for their volumes.
    fn try_waiting(&self) {
        let state = self.state();
        state.reserved.keys().for_each(|turn| self.queue.add(turn.clone()));
        self.try_parked(&state);
    }

    /// Decides; the next decision counts with what comes of it.
    fn decide(&self, turn: &Turn) -> Step {
        let pod = self.context.pods.get(&turn.key).filter(|pod| turn.is_of(pod));
        let mut state = self.state();
        let Some(pod) = pod.clone().filter(|pod| schedule::is_waiting(pod)) else {
            state.parked.remove(turn);
            let has_place = pod.is_some_and(|pod| replica::is_active(&pod));
            if state.reserved.remove(turn).is_some() && !has_place {
                state.cluster.remove(&turn.uid);
            }
            return Step::Rest;
        };
        let volumes = self.volumes_of(&pod);
        if let Some(node) = state.reserved.get(turn) {
            return Step::Settle(pod, node.clone(), volumes);
        }
        if state.cluster.is_placed(&turn.uid) {
            return Step::Rest;
        }
        match schedule::decide(&state.cluster, &pod, &volumes) {
            Decision::Bind { node, .. } => {
                state.parked.remove(turn);
                state.cluster.place(Arc::clone(&pod), &node);
                Step::Settle(pod, node, volumes)
            }
            Decision::Unschedulable(why) => {
                preemption::nominate(&mut state.cluster, &pod, why.preemption());
                let message = why.message();
                let parked = Parked { message: message.clone(), wants_company: schedule::wants_company(&pod) };
                let again = state.parked.insert(turn.clone(), parked).is_some_and(|known| known.message == message);
                Step::Park(pod, why, again)
            }
        }
    }

    /// The volumes of the pod as they are now; most pods have none, and cost nothing here.
    fn volumes_of(&self, pod: &Pod) -> PodVolumes {
        if claims_of(pod).next().is_none() {
            return PodVolumes::default();
        }
        let context = &self.context;
        let claims = context.claims.under(&Index::Namespace(owner::namespace(&pod.metadata).to_owned()));
        let (volumes, classes) = (context.volumes.all(), context.storage_classes.all());
        PodVolumes::of(pod, &Storage { claims: &claims, volumes: &volumes, classes: &classes })
    }

    async fn carry_out(&self, turn: &Turn, step: Step) -> Result<Next, Error> {
        match step {
            Step::Rest => Ok(Next::Wait),
            Step::Settle(pod, node, volumes) => self.settle_volumes(turn, &pod, &node, &volumes).await,
            Step::Park(pod, why, again) => self.park(&pod, &why, again).await,
        }
    }

    /// Binds the pod once its volumes are bound; until then it keeps its place, and its claims are told where that is.
    async fn settle_volumes(&self, turn: &Turn, pod: &Pod, node: &str, volumes: &PodVolumes) -> Result<Next, Error> {
        if volumes.are_bound() {
            self.state().reserved.remove(turn);
            return self.bind(pod, node).await;
        }
        let known = self.state().reserved.insert(turn.clone(), node.to_owned()).is_some();
        if known && (volumes.refusal().is_some() || volumes.undecided().next().is_some()) {
            // A claim was deleted, or its volume taken by another: the place is worth nothing.
            self.give_up(turn);
            return Ok(Next::Again);
        }
        for claim in volumes.undecided() {
            let change = json!({"metadata": {
                "uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version, "annotations": {SELECTED_NODE: node}
            }});
            let told = api::merge::<PersistentVolumeClaim>(&self.context.client, &claim.metadata, &change).await;
            match told {
                Ok(written) => self.context.claims.reached(written.revision).await,
                Err(error) => {
                    self.give_up(turn);
                    return Err(error);
                }
            }
        }
        Ok(Next::After(FLUSH))
    }

    fn give_up(&self, turn: &Turn) {
        let mut state = self.state();
        state.reserved.remove(turn);
        state.cluster.remove(&turn.uid);
    }

    async fn bind(&self, pod: &Pod, node: &str) -> Result<Next, Error> {
        let meta = &pod.metadata;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}
        });
        // The kubelet may have told of its first steps before the answer is here; being bound comes before them all.
        let bound = self.context.recorder.moment();
        let outcome = api::create_below::<Pod>(&self.context.client, meta, "binding", &binding).await;
        match outcome {
            Ok(_) => {
                let message = format!("Successfully assigned {}/{} to {node}", owner::namespace(meta), owner::name(meta));
                self.context.recorder.tell_of::<Pod>(bound, DEFAULT_SCHEDULER, meta, Note::normal("Scheduled", message));
                Ok(Next::Wait)
            }
            Err(error) => {
                self.state().cluster.remove(owner::uid(meta));
                if error.is_not_found() {
                    return Ok(Next::Wait);
                }
                self.tell(pod, Note::warning("FailedScheduling", format!("binding rejected: {error}")));
                Err(error)
            }
        }
    }

    /// Says why, once for each reason, makes room if that is decided, and waits for something to change.
    async fn park(&self, pod: &Pod, why: &Unschedulable, again: bool) -> Result<Next, Error> {
        let message = why.message();
        if let Some(change) = preemption::unschedulable(pod, &message, why.preemption(), self.context.now()) {
            api::merge_status::<Pod>(&self.context.client, &pod.metadata, &change).await?;
        }
        if !again {
            self.tell(pod, Note::warning("FailedScheduling", message));
        }
        if let Preemption::Possible(victims) = why.preemption() {
            self.preempt(pod, victims).await?;
        }
        Ok(Next::After(FLUSH))
    }

    fn tell(&self, pod: &Pod, note: Note) {
        self.context.recorder.tell::<Pod>(DEFAULT_SCHEDULER, &pod.metadata, note);
    }
}
