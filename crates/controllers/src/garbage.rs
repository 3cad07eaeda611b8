//! The garbage loop: what has lost its owners goes, and owners that wait for it go after it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::kind::{self, KINDS, Kind};
use windlass_planner::garbage::{Action, Graph, Object as Node, Step};

use crate::{
    api::{self, Deletion, Error},
    cache::{Cache, Object, Source},
    context::{Context, settle},
    queue::{Next, Queue},
    quota::Recount,
};

/// Objects worked on at once: the store commits as many together.
const PARALLEL: usize = 64;
/// Time after which an owner that is there and not in view is looked for again: after a start the views fill within moments.
const COMES_INTO_VIEW: Duration = Duration::from_secs(1);
/// Kinds whose objects own nothing, are owned by nothing, and are many.
const LEFT_OUT: [&str; 1] = ["Event"];

/// The metadata of an object of any kind.
#[derive(Debug, Clone, Deserialize)]
struct AnyObject {
    metadata: ObjectMeta,
}

impl Object for AnyObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

type Uid = Arc<str>;

struct Loop {
    context: Arc<Context>,
    graph: Mutex<Graph>,
    queue: Arc<Queue<Uid>>,
    /// Told of what comes and goes, since this loop sees every kind.
    recount: Recount,
}

/// Starts the loop, its listeners, and watches of the metadata of every kind that no other loop looks at.
pub(crate) fn start(context: &Arc<Context>, recount: &Recount, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Uid>> = Queue::new();
    let this = Arc::new(Loop {
        context: Arc::clone(context),
        graph: Mutex::new(Graph::default()),
        queue: Arc::clone(&queue),
        recount: recount.clone(),
    });
    let mut covered = BTreeSet::new();
    macro_rules! listen {
        ($($cache:ident),* $(,)?) => {$(
            covered.insert(listen(&this, &context.$cache));
        )*};
    }
    listen!(
        pods,
        replica_sets,
        deployments,
        stateful_sets,
        daemon_sets,
        controller_revisions,
        claims,
        nodes,
        volumes,
        storage_classes,
        services,
        endpoints,
        endpoint_slices,
        namespaces,
        service_accounts,
        leases,
        autoscalers,
        quotas,
    );
    for kind in KINDS.iter().filter(|kind| is_watched(kind) && !covered.contains(&(kind.group, kind.kind))) {
        let cache: Arc<Cache<AnyObject>> = Cache::new(|_| Vec::new());
        let shared = Arc::clone(&this);
        cache.listen(move |old, new| shared.follow(kind, old.map(|object| object.meta()), new.map(|object| object.meta())));
        let source = Source { client: context.client.clone(), path: collection(kind, ""), fields: "", metadata_only: true };
        tasks.spawn(cache.fill(source, stop.clone()));
    }
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |uid| {
        let this = Arc::clone(&this);
        async move { settle("garbage", &uid, this.pass(&uid).await) }
    }));
}

fn is_watched(kind: &Kind) -> bool {
    let can = |verb: &str| kind.verbs.contains(&verb);
    can("list") && can("watch") && can("delete") && !LEFT_OUT.contains(&kind.kind)
}

/// Follows a kind that is cached anyway; the answer says which it is.
fn listen<K: Object + k8s_openapi::Resource>(this: &Arc<Loop>, cache: &Cache<K>) -> (&'static str, &'static str) {
    let (group, name) = (K::GROUP, K::KIND);
    let entry =
        KINDS.iter().find(|kind| kind.group == group && kind.kind == name).expect("every kind that is cached is in the table");
    let shared = Arc::clone(this);
    cache.listen(move |old, new| shared.follow(entry, old.map(|object| object.meta()), new.map(|object| object.meta())));
    (entry.group, entry.kind)
}

/// Path of the objects of a kind, in one namespace or in all.
pub(crate) fn collection(kind: &Kind, namespace: &str) -> String {
    let root = if kind.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", kind.group) };
    let scope = if kind.namespaced && !namespace.is_empty() { format!("namespaces/{namespace}/") } else { String::new() };
    format!("{root}/{}/{scope}{}", kind.version, kind.plural)
}

fn path(object: &Node) -> String {
    format!("{}/{}", collection(object.kind, &object.namespace), object.name)
}

impl Loop {
    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, kind: &'static Kind, old: Option<&ObjectMeta>, new: Option<&ObjectMeta>) {
        if old.is_some() != new.is_some() {
            new.or(old).and_then(|meta| meta.namespace.as_deref()).inspect(|namespace| self.recount.namespace(namespace));
        }
        let examine = match (old, new) {
            // What a status says is of no interest here, and that is what changes most.
            (Some(old), Some(new)) if family(old) == family(new) => return self.note_revision(new),
            (_, Some(new)) => self.graph().set(Node::new(kind, new)),
            (Some(old), None) => self.graph().remove(old.uid.as_deref().unwrap_or_default()),
            (None, None) => BTreeSet::new(),
        };
        examine.into_iter().for_each(|uid| self.queue.add(uid.into()));
    }

    fn note_revision(&self, meta: &ObjectMeta) {
        let (uid, revision) = (meta.uid.as_deref().unwrap_or_default(), meta.resource_version.as_deref().unwrap_or_default());
        self.graph().note_revision(uid, revision);
    }

    async fn pass(&self, uid: &Uid) -> Result<Next, Error> {
        let steps = self.graph().plan(uid);
        let mut next = Next::Wait;
        for step in steps {
            tracing::debug!(kind = step.object.kind.kind, name = step.object.name, reason = ?step.reason, "garbage");
            match self.take(step).await? {
                Next::Again => return Ok(Next::Again),
                Next::Wait => {}
                later => next = later,
            }
        }
        Ok(next)
    }

    /// Carries a step out; says when the next look will see something else.
    async fn take(&self, step: Step) -> Result<Next, Error> {
        let (client, object) = (&self.context.client, &step.object);
        let outcome = match step.action {
            Action::Verify { owner, namespace } => return self.verify(&owner, &namespace).await,
            Action::Delete(propagation) => {
                let deletion = Deletion {
                    uid: Some(object.uid.clone()),
                    resource_version: Some(object.resource_version.clone()),
                    propagation: Some(propagation.as_str()),
                    grace_period_seconds: None,
                };
                api::delete_at(client, &path(object), &deletion).await
            }
            Action::SetOwners(owners) => {
                let change = json!({"metadata": {"uid": object.uid, "resourceVersion": object.resource_version, "ownerReferences": owners}});
                api::merge_at(client, &path(object), &change).await
            }
            Action::SetFinalizers(finalizers) => {
                let change = json!({"metadata": {"uid": object.uid, "resourceVersion": object.resource_version, "finalizers": finalizers}});
                api::merge_at(client, &path(object), &change).await
            }
        };
        match outcome {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Wait),
        }
    }

    /// Asks for an owner that is not in view. One that is there may go before it comes into view, and nobody would tell.
    async fn verify(&self, owner: &OwnerReference, namespace: &str) -> Result<Next, Error> {
        // An owner of a kind that this build does not know cannot be judged.
        let Some(kind) = kind::find_object(&owner.api_version, &owner.kind) else { return Ok(Next::Wait) };
        let path = format!("{}/{}", collection(kind, namespace), owner.name);
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let exists = match api::get::<AnyObject>(&self.context.client, &path, accept).await {
            Ok(found) => found.metadata.uid.as_deref() == Some(owner.uid.as_str()),
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        if exists {
            return Ok(if is_watched(kind) { Next::After(COMES_INTO_VIEW) } else { Next::Wait });
        }
        self.graph().mark_absent(&owner.uid);
        Ok(Next::Again)
    }
}

/// The parts of metadata that the graph is made of.
fn family(meta: &ObjectMeta) -> impl PartialEq + '_ {
    (&meta.uid, &meta.owner_references, &meta.finalizers, meta.deletion_timestamp.is_some())
}
