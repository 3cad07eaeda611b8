//! What every namespace has from its first moment: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{ConfigMap, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_planner::owner;

use crate::{
    api::{self, Error},
    cache::{Key, key},
    context::{Context, ROOT_CA_CONFIG_MAP, settle},
    queue::{Next, Queue},
};

/// Namespaces worked on at once.
const PARALLEL: usize = 8;
const DEFAULT: &str = "default";
const CA_FILE: &str = "ca.crt";
/// Upstream says so to whoever might edit it.
const ANNOTATION_DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service \
     IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

/// Starts the loop and its listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let by_namespace = Arc::clone(&queue);
    context
        .namespaces
        .listen(move |_, new| new.into_iter().for_each(|object| by_namespace.add(owner::name(&object.metadata).into())));
    let by_account = Arc::clone(&queue);
    context.service_accounts.listen(move |old, new| {
        let gone = old.filter(|_| new.is_none());
        gone.into_iter().for_each(|object| by_account.add(owner::namespace(&object.metadata).into()));
    });
    let by_config_map = Arc::clone(&queue);
    context.root_ca_config_maps.listen(move |old, new| {
        let object = new.or(old).expect("a change has a side");
        by_config_map.add(owner::namespace(&object.metadata).into());
    });
    let context = Arc::clone(context);
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |namespace| {
        let context = Arc::clone(&context);
        async move { settle("serviceaccount", &namespace, furnish(&context, &namespace).await) }
    }));
}

async fn furnish(context: &Context, namespace: &Key) -> Result<Next, Error> {
    context.service_accounts.reached(0).await;
    context.root_ca_config_maps.reached(0).await;
    let living = context.namespaces.get(namespace).is_some_and(|object| object.metadata.deletion_timestamp.is_none());
    if !living {
        return Ok(Next::Wait);
    }
    let meta =
        |name: &str| ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_string()), ..ObjectMeta::default() };
    if context.service_accounts.get(&key(namespace, DEFAULT)).is_none() {
        tolerate(api::create(&context.client, &ServiceAccount { metadata: meta(DEFAULT), ..ServiceAccount::default() }).await)?;
    }
    let data = [(CA_FILE.to_owned(), context.options.cluster_ca_pem.clone())].into();
    match context.root_ca_config_maps.get(&key(namespace, ROOT_CA_CONFIG_MAP)) {
        Some(present) if present.data.as_ref() == Some(&data) => {}
        Some(present) => {
            tolerate(api::replace(&context.client, &ConfigMap { data: Some(data), ..ConfigMap::clone(&present) }).await)?;
        }
        None => {
            let mut metadata = meta(ROOT_CA_CONFIG_MAP);
            let (name, text) = ANNOTATION_DESCRIPTION;
            metadata.annotations = Some([(name.to_owned(), text.to_owned())].into());
            tolerate(api::create(&context.client, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await)?;
        }
    }
    Ok(Next::Wait)
}

/// Made by somebody else meanwhile, or of no use any more: both are fine.
fn tolerate(outcome: Result<api::Written, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(()),
        other => other.map(drop),
    }
}
