//! The Deployment loop.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::names::ANNOTATION_REVISION;
use windlass_planner::{
    deployment::{self, Action, NameTaken, Plan, Step},
    note::Note,
    owner, replica,
};

use crate::{
    api::{self, Deletion, Error},
    cache::{Index, Key, key, key_of},
    context::{Context, settle},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

const COMPONENT: &str = "deployment-controller";
/// Deployments worked on at once.
const PARALLEL: usize = 16;

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    listen(context, &queue);
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("deployment", &key, this.pass(&key).await) }
    }));
}

fn listen(context: &Arc<Context>, queue: &Arc<Queue<Key>>) {
    let own = Arc::clone(queue);
    context.deployments.listen(move |old, new| own.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    let (shared, by_child) = (Arc::clone(context), Arc::clone(queue));
    context.replica_sets.listen(move |old, new| {
        for replica_set in old.into_iter().chain(new) {
            match owner::controller_of(&replica_set.metadata) {
                Some(owner) if owner.kind == "Deployment" => {
                    by_child.add(key(owner::namespace(&replica_set.metadata), &owner.name))
                }
                Some(_) => {}
                None => add_all_in_namespace(&shared, &by_child, owner::namespace(&replica_set.metadata)),
            }
        }
    });
    let (shared, by_pod) = (Arc::clone(context), Arc::clone(queue));
    context.pods.listen(move |old, new| {
        // Only Recreate looks at pods, and only at their end.
        let ended = new.is_none_or(|pod| replica::is_finished(pod));
        if let Some(deployment) = old.filter(|_| ended).and_then(|pod| deployment_of(&shared, pod)) {
            by_pod.add(key_of(&deployment.metadata));
        }
    });
}

/// An orphan may be anybody's.
fn add_all_in_namespace(context: &Context, queue: &Queue<Key>, namespace: &str) {
    for deployment in context.deployments.under(&Index::Namespace(namespace.to_owned())) {
        queue.add(key_of(&deployment.metadata));
    }
}

fn deployment_of(context: &Context, pod: &Pod) -> Option<Arc<Deployment>> {
    let namespace = owner::namespace(&pod.metadata);
    let replica_set = context.replica_sets.get(&key(namespace, &owner::controller_of(&pod.metadata)?.name))?;
    let deployment = context.deployments.get(&key(namespace, &owner::controller_of(&replica_set.metadata)?.name))?;
    Some(deployment).filter(|deployment| is_recreate(deployment))
}

/// Only this strategy looks at pods, which may be many.
fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        mark.settle(&context.client).await?;
        context.deployments.reached(mark.own).await;
        context.replica_sets.reached(mark.children).await;
        context.pods.reached(0).await;
        let Some(deployment) = context.deployments.get(key) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        let replica_sets = self.replica_sets(&deployment);
        let running_pods = if is_recreate(&deployment) { self.running_pods(&replica_sets) } else { BTreeMap::new() };
        let snapshot = deployment::Snapshot { deployment: &deployment, replica_sets: &replica_sets, running_pods: &running_pods };
        let plan = deployment::plan(&snapshot, context.now());
        tracing::trace!(key = &**key, waiting = ?plan.waiting, "planned");
        let outcome = self.apply(&deployment, plan, &mut mark).await;
        self.marks.set(key, mark);
        outcome
    }

    fn replica_sets(&self, deployment: &Deployment) -> Vec<Arc<ReplicaSet>> {
        let cache = &self.context.replica_sets;
        let mut found = cache.under(&Index::Owner(owner::uid(&deployment.metadata).to_owned()));
        found.extend(cache.under(&Index::Orphan(owner::namespace(&deployment.metadata).to_owned())));
        found
    }

    fn running_pods(&self, replica_sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, usize> {
        let count = |replica_set: &Arc<ReplicaSet>| {
            let uid = owner::uid(&replica_set.metadata).to_owned();
            let pods = self.context.pods.under(&Index::Owner(uid.clone()));
            (uid, pods.iter().filter(|pod| !replica::is_finished(pod)).count())
        };
        replica_sets.iter().map(count).collect()
    }

    async fn apply(&self, deployment: &Deployment, plan: Plan, mark: &mut Mark) -> Result<Next, Error> {
        for note in plan.notes {
            self.tell(deployment, note);
        }
        for step in plan.steps {
            self.take(deployment, step, mark).await?;
        }
        if let Some(rewrite) = plan.rewrite {
            mark.own(&api::replace(&self.context.client, &*rewrite.deployment).await?);
            self.tell(deployment, rewrite.note);
        } else if deployment.status.as_ref() != Some(&plan.status) || plan.revision.is_some() {
            self.write_status(deployment, plan.revision, plan.status, mark).await?;
        }
        Ok(self.context.wake(plan.wake_at))
    }

    async fn take(&self, deployment: &Deployment, step: Step, mark: &mut Mark) -> Result<(), Error> {
        let client = &self.context.client;
        tracing::debug!(deployment = owner::name(&deployment.metadata), reason = ?step.reason, "step");
        match step.action {
            Action::Create(replica_set) => match api::create(client, &*replica_set).await {
                Ok(written) => mark.child(&written),
                Err(error) if error.is_already_exists() => return self.settle_name(deployment, &replica_set, error, mark).await,
                Err(error) => {
                    mark.doubts.note::<ReplicaSet>(&replica_set.metadata, &error);
                    return self.fail_creation(deployment, &replica_set, error, mark).await;
                }
            },
            Action::Update(replica_set) => {
                let outcome = api::replace(client, &*replica_set).await;
                let note = |error: &Error| mark.doubts.note::<ReplicaSet>(&replica_set.metadata, error);
                let written = outcome.inspect_err(note)?;
                mark.child(&written);
            }
            Action::Delete(replica_set) => {
                let deletion = Deletion {
                    resource_version: replica_set.metadata.resource_version.clone(),
                    ..Deletion::of(&replica_set.metadata)
                };
                match api::delete::<ReplicaSet>(client, &replica_set.metadata, &deletion).await {
                    Ok(written) if written.deleting => mark.child(&written),
                    Ok(_) => {}
                    Err(error) if error.is_not_found() || error.is_conflict() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        step.note.into_iter().for_each(|note| self.tell(deployment, note));
        Ok(())
    }

    /// The name of a new ReplicaSet is taken: by itself, or by one that only has the same hash.
    async fn settle_name(
        &self,
        deployment: &Deployment,
        wanted: &ReplicaSet,
        error: Error,
        mark: &mut Mark,
    ) -> Result<(), Error> {
        let path = api::path::<ReplicaSet>(&wanted.metadata);
        let existing: ReplicaSet = api::get(&self.context.client, &path, "application/json").await?;
        match deployment::name_taken(deployment, &existing) {
            NameTaken::Ours => mark.children = mark.children.max(api::revision(&existing.metadata)),
            NameTaken::Collision(status) => {
                self.write_status(deployment, None, *status, mark).await?;
            }
        }
        Err(error)
    }

    async fn fail_creation(
        &self,
        deployment: &Deployment,
        wanted: &ReplicaSet,
        error: Error,
        mark: &mut Mark,
    ) -> Result<(), Error> {
        if error.is_namespace_terminating() {
            return Ok(());
        }
        let name = owner::name(&wanted.metadata);
        let (status, note) = deployment::creation_failed(deployment, name, &error.to_string(), self.context.now());
        self.tell(deployment, note);
        if deployment.status.as_ref() != Some(&status) {
            self.write_status(deployment, None, status, mark).await?;
        }
        Err(error)
    }

    /// Writes the status, and the revision with it: a write to the status may change annotations, and only there does that
    /// not count as a new generation.
    async fn write_status(
        &self,
        deployment: &Deployment,
        revision: Option<String>,
        status: DeploymentStatus,
        mark: &mut Mark,
    ) -> Result<(), Error> {
        let mut changed = deployment.clone();
        if let Some(revision) = revision {
            changed.metadata.annotations.get_or_insert_default().insert(ANNOTATION_REVISION.to_owned(), revision);
        }
        changed.status = Some(status);
        mark.own(&api::replace_status(&self.context.client, &changed).await?);
        Ok(())
    }

    fn tell(&self, deployment: &Deployment, note: Note) {
        self.context.recorder.tell::<Deployment>(COMPONENT, &deployment.metadata, note);
    }
}
