//! The EndpointSlice and Endpoints loops: which pods stand behind which Service.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::names::LABEL_SERVICE_NAME;
use windlass_planner::{
    endpoints::{self, Action, EndpointsPlan, Snapshot},
    owner,
};

use crate::{
    api::{self, Deletion, Error},
    cache::{Index, Key, key, key_of},
    context::{Context, settle},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

/// Services worked on at once.
const PARALLEL: usize = 16;

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// Starts both loops and their listeners.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let (slices, objects): (Arc<Queue<Key>>, Arc<Queue<Key>>) = (Queue::new(), Queue::new());
    let mirrors = Queue::new();
    listen(context, &slices, &objects);
    listen_for_mirrors(context, &mirrors);
    let by_slice = Arc::clone(&slices);
    context.endpoint_slices.listen(move |old, new| {
        let keys = old.into_iter().chain(new).filter_map(|slice| service_of(slice));
        keys.for_each(|key| by_slice.add(key));
    });
    let by_object = Arc::clone(&objects);
    context.endpoints.listen(move |old, new| {
        // Their own status is nobody's business: only a delete or another's write matters, and the pass tells.
        let object = new.or(old).expect("a change has a side");
        by_object.add(key_of(&object.metadata));
    });
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(slices.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("endpointslice", &key, this.slices(&key).await) }
    }));
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(mirrors.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("endpointslicemirroring", &key, this.mirrors(&key).await) }
    }));
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(objects.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("endpoints", &key, this.object(&key).await) }
    }));
}

fn listen(context: &Arc<Context>, slices: &Arc<Queue<Key>>, objects: &Arc<Queue<Key>>) {
    let queues = [Arc::clone(slices), Arc::clone(objects)];
    let of_service = queues.clone();
    context.services.listen(move |old, new| {
        let key = key_of(&new.or(old).expect("a change has a side").metadata);
        of_service.iter().for_each(|queue| queue.add(Key::clone(&key)));
    });
    let shared = Arc::clone(context);
    context.pods.listen(move |old, new| {
        if let (Some(old), Some(new)) = (old, new)
            && endpoints::shown(old) == endpoints::shown(new)
        {
            return;
        }
        for key in old.into_iter().chain(new).flat_map(|pod| services_of(&shared, pod)) {
            queues.iter().for_each(|queue| queue.add(Key::clone(&key)));
        }
    });
}

/// Endpoints, their Services, and the slices that mirror them: one name for all.
fn listen_for_mirrors(context: &Arc<Context>, mirrors: &Arc<Queue<Key>>) {
    let queue = Arc::clone(mirrors);
    context.services.listen(move |old, new| queue.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    let queue = Arc::clone(mirrors);
    context.endpoints.listen(move |old, new| queue.add(key_of(&new.or(old).expect("a change has a side").metadata)));
    let queue = Arc::clone(mirrors);
    context.endpoint_slices.listen(move |old, new| {
        old.into_iter().chain(new).filter_map(|slice| service_of(slice)).for_each(|key| queue.add(key));
    });
}

/// The Service that a slice names.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(LABEL_SERVICE_NAME)?;
    Some(key(owner::namespace(&slice.metadata), name))
}

/// The Services that select the pod: each is found by one pair of its selector, and then compared in full.
fn services_of(context: &Context, pod: &Pod) -> Vec<Key> {
    let namespace = owner::namespace(&pod.metadata);
    let pairs = pod.metadata.labels.iter().flatten();
    let candidates = pairs.flat_map(|(name, value)| context.services.under(&Index::selects(namespace, name, value)));
    let selecting = candidates
        .filter(|service| endpoints::selector(service).is_some_and(|selector| selector.matches(&pod.metadata.labels.as_ref())));
    selecting.map(|service| key_of(&service.metadata)).collect()
}

impl Loop {
    fn pods(&self, service: &Service) -> Vec<Arc<Pod>> {
        self.context.pods.under(&Index::Namespace(owner::namespace(&service.metadata).to_owned()))
    }

    async fn slices(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.pods.reached(0).await;
        context.services.reached(0).await;
        context.endpoint_slices.reached(mark.children).await;
        // Slices of a Service that is gone go with it, by their owner reference.
        let Some(service) = context.services.get(key) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        let pods = self.pods(&service);
        let present = context.endpoint_slices.under(&Index::Service(key.to_string()));
        let plan = endpoints::plan_slices(&Snapshot { service: &service, pods: &pods, slices: &present });
        for step in plan.steps {
            tracing::trace!(service = &**key, reason = ?step.reason, "slice");
            let outcome = self.take(step.action, &mut mark).await;
            self.marks.set(key, mark.clone());
            match outcome {
                Err(error) if error.is_namespace_terminating() => return Ok(Next::Wait),
                other => other?,
            }
        }
        Ok(Next::Wait)
    }

    /// Slices of Endpoints that somebody else wrote.
    async fn mirrors(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.services.reached(0).await;
        context.endpoints.reached(0).await;
        context.endpoint_slices.reached(mark.children).await;
        let (service, endpoints) = (context.services.get(key), context.endpoints.get(key));
        let present = context.endpoint_slices.under(&Index::Service(key.to_string()));
        for action in endpoints::plan_mirrors(service.as_deref(), endpoints.as_deref(), &present) {
            let outcome = self.take(action, &mut mark).await;
            self.marks.set(key, mark.clone());
            match outcome {
                Err(error) if error.is_namespace_terminating() => return Ok(Next::Wait),
                other => other?,
            }
        }
        if service.is_none() && endpoints.is_none() {
            self.marks.set(key, Mark::default());
        }
        Ok(Next::Wait)
    }

    async fn take(&self, action: Action, mark: &mut Mark) -> Result<(), Error> {
        let client = &self.context.client;
        match action {
            Action::Create(mut slice) => {
                slice.metadata.name = Some(self.context.generated_name(&slice.metadata));
                mark.child(&api::create(client, &*slice).await?);
            }
            Action::Update(slice) => mark.child(&api::replace(client, &*slice).await?),
            Action::Delete(slice) => {
                match api::delete::<EndpointSlice>(client, &slice.metadata, &Deletion::of(&slice.metadata)).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn object(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.pods.reached(0).await;
        context.services.reached(0).await;
        context.endpoints.reached(mark.own).await;
        let present = context.endpoints.get(key);
        let Some(service) = context.services.get(key) else {
            self.marks.set(key, Mark::default());
            return self.forget(present.as_deref()).await;
        };
        let plan = endpoints::plan_endpoints(&service, &self.pods(&service), present.as_deref());
        let outcome = match plan {
            EndpointsPlan::Keep => return Ok(Next::Wait),
            EndpointsPlan::Create(object) => api::create(&context.client, &*object).await,
            EndpointsPlan::Update(object) => api::replace(&context.client, &*object).await,
        };
        match outcome {
            Err(error) if error.is_namespace_terminating() => {}
            other => mark.own(&other?),
        }
        self.marks.set(key, mark);
        Ok(Next::Wait)
    }

    /// Endpoints have no owner reference: those that were made here go when their Service is gone.
    async fn forget(&self, present: Option<&Endpoints>) -> Result<Next, Error> {
        let ours = |object: &&Endpoints| {
            let labels = object.metadata.labels.as_ref();
            let value = labels.and_then(|labels| labels.get(endpoints::LABEL_ENDPOINTS_MANAGED_BY));
            value.is_some_and(|value| value == endpoints::ENDPOINTS_MANAGED_BY)
        };
        let Some(object) = present.filter(ours) else { return Ok(Next::Wait) };
        match api::delete::<Endpoints>(&self.context.client, &object.metadata, &Deletion::of(&object.metadata)).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Wait),
        }
    }
}
