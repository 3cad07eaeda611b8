//! The loop over claims and volumes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::{
    note::Note,
    owner,
    volume::{self, Action, Plan, Reason, Snapshot},
};

use crate::{
    api::{self, Deletion, Error},
    cache::{Index, Key, key, key_of},
    context::{Context, settle},
    list,
    marks::Marks,
    queue::{Next, Queue},
};

const COMPONENT: &str = "persistentvolume-controller";
/// One at a time: two claims must not reserve one volume.
const PARALLEL: usize = 1;

/// What is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    Claim(Key),
    Volume(Key),
}

/// The newest writes of this loop, whichever object they were for: it works on one thing at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    claims: u64,
    volumes: u64,
}

/// What a plan is about, and what is told with it.
enum About {
    Claim(Arc<PersistentVolumeClaim>),
    Volume(Arc<PersistentVolume>),
}

struct Loop {
    context: Arc<Context>,
    marks: Marks<Mark>,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Work>> = Queue::new();
    listen(context, &queue);
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |work| {
        let this = Arc::clone(&this);
        async move { settle("volume", &format!("{work:?}"), this.pass(&work).await) }
    }));
}

fn listen(context: &Arc<Context>, queue: &Arc<Queue<Work>>) {
    let by_claim = Arc::clone(queue);
    context.claims.listen(move |old, new| {
        let claim = new.or(old).expect("a change has a side");
        by_claim.add(Work::Claim(key_of(&claim.metadata)));
        if let Some(volume) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) {
            by_claim.add(Work::Volume(key("", volume)));
        }
    });
    let (claims, by_volume) = (Arc::clone(&context.claims), Arc::clone(queue));
    context.volumes.listen(move |old, new| {
        let volume = new.or(old).expect("a change has a side");
        by_volume.add(Work::Volume(key_of(&volume.metadata)));
        // A volume that became free may be what a pending claim waits for.
        let bound =
            |claim: &PersistentVolumeClaim| claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        let named = |claim: &PersistentVolumeClaim| {
            claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) == Some(owner::name(&volume.metadata))
        };
        let concerned = claims.all().into_iter().filter(|claim| !bound(claim) || named(claim));
        concerned.for_each(|claim| by_volume.add(Work::Claim(key_of(&claim.metadata))));
    });
    let by_pod = Arc::clone(queue);
    context.pods.listen(move |old, new| {
        let pod = new.or(old).expect("a change has a side");
        for (name, _) in volume::claims_of(pod) {
            by_pod.add(Work::Claim(key(owner::namespace(&pod.metadata), &name)));
        }
    });
    let (claims, by_class) = (Arc::clone(&context.claims), Arc::clone(queue));
    context.storage_classes.listen(move |_, _| {
        claims.all().iter().for_each(|claim| by_class.add(Work::Claim(key_of(&claim.metadata))));
    });
}

impl Loop {
    async fn pass(&self, work: &Work) -> Result<Next, Error> {
        let context = &self.context;
        let shared: Key = "".into();
        let mut mark = self.marks.get(&shared);
        context.claims.reached(mark.claims).await;
        context.volumes.reached(mark.volumes).await;
        context.storage_classes.reached(0).await;
        context.pods.reached(0).await;
        context.nodes.reached(0).await;
        let (Work::Claim(key) | Work::Volume(key)) = work;
        let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
        let (volumes, classes) = (context.volumes.all(), context.storage_classes.all());
        let pods = context.pods.under(&Index::Namespace(namespace.to_owned()));
        let (claims, nodes) = (context.claims.all(), context.nodes.all());
        let directory = &context.options.volumes_directory;
        let snapshot = Snapshot { volumes: &volumes, claims: &claims, classes: &classes, pods: &pods, nodes: &nodes, directory };
        let plan = match work {
            Work::Claim(key) => match context.claims.get(key) {
                Some(claim) => Some((self.plan_claim(&claim, &snapshot).await?, About::Claim(claim))),
                None => None,
            },
            Work::Volume(key) => {
                context.volumes.get(key).map(|volume| (volume::plan_volume(&volume, &snapshot), About::Volume(volume)))
            }
        };
        let Some((plan, about)) = plan else { return Ok(Next::Wait) };
        let outcome = self.apply(plan, &about, &mut mark).await;
        self.marks.set(&shared, mark);
        outcome
    }

    /// A claim is let go only after asking who uses it: its data goes along, and the view may not know yet that a pod has a node.
    async fn plan_claim(&self, claim: &Arc<PersistentVolumeClaim>, snapshot: &Snapshot<'_>) -> Result<Plan, Error> {
        let plan = volume::plan_claim(claim, snapshot);
        if !matches!(plan.step, Some((_, Reason::Unused))) {
            return Ok(plan);
        }
        let pods = api::collection::<Pod>(claim.metadata.namespace.as_deref());
        let pods: Vec<Arc<Pod>> = list::all(&self.context.client, &pods).await?;
        Ok(volume::plan_claim(claim, &Snapshot { pods: &pods, ..*snapshot }))
    }

    async fn apply(&self, plan: Plan, about: &About, mark: &mut Mark) -> Result<Next, Error> {
        let tell = |note: Option<Note>| {
            let recorder = &self.context.recorder;
            match (note, about) {
                (Some(note), About::Claim(claim)) => {
                    recorder.tell::<PersistentVolumeClaim>(COMPONENT, &claim.metadata, note);
                }
                (Some(note), About::Volume(volume)) => {
                    recorder.tell::<PersistentVolume>(COMPONENT, &volume.metadata, note);
                }
                (None, _) => {}
            }
        };
        let Some((action, reason)) = plan.step else {
            tell(plan.note);
            return Ok(Next::Wait);
        };
        tracing::debug!(?reason, "step");
        let client = &self.context.client;
        match action {
            Action::CreateVolume(volume) => match api::create(client, &*volume).await {
                Ok(written) => mark.volumes = mark.volumes.max(written.revision),
                // Made already, and not yet seen; it is looked at again when it is.
                Err(error) if error.is_already_exists() => return Ok(Next::Wait),
                Err(error) => return Err(error),
            },
            Action::UpdateVolume(volume) => mark.volumes = mark.volumes.max(api::replace(client, &*volume).await?.revision),
            Action::UpdateVolumeStatus(volume) => {
                mark.volumes = mark.volumes.max(api::replace_status(client, &*volume).await?.revision);
            }
            Action::DeleteVolume(volume) => {
                let deletion = Deletion::of(&volume.metadata);
                match api::delete::<PersistentVolume>(client, &volume.metadata, &deletion).await {
                    Ok(written) if written.deleting => mark.volumes = mark.volumes.max(written.revision),
                    // Gone, or another than was looked at: the view will show it.
                    Ok(_) => return Ok(Next::Wait),
                    Err(error) if error.is_not_found() || error.is_conflict() => return Ok(Next::Wait),
                    Err(error) => return Err(error),
                }
            }
            Action::UpdateClaim(claim) => mark.claims = mark.claims.max(api::replace(client, &*claim).await?.revision),
            Action::UpdateClaimStatus(claim) => {
                mark.claims = mark.claims.max(api::replace_status(client, &*claim).await?.revision);
            }
        }
        tell(plan.note);
        Ok(Next::Again)
    }
}
