//! The HorizontalPodAutoscaler loop.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_api::kind::{KINDS, Subresource};
use windlass_planner::{
    autoscaler::{self, Plan, Step, Target},
    note::Note,
    owner,
};

use crate::{
    api::{self, Error},
    cache::{Key, key_of},
    context::{Context, settle},
    marks::{Mark, Marks},
    queue::{Next, Queue},
};

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// Autoscalers worked on at once.
const PARALLEL: usize = 5;
/// As upstream: metrics move slowly, and targets are looked at as often.
const INTERVAL: Duration = Duration::from_secs(15);
const JSON: &str = "application/json";

struct Loop {
    context: Arc<Context>,
    marks: Marks,
}

/// Starts the loop and its listener.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    let queue: Arc<Queue<Key>> = Queue::new();
    let own = Arc::clone(&queue);
    context.autoscalers.listen(move |old, new| {
        // Its status is this loop's own.
        let asks = |autoscaler: &Arc<HorizontalPodAutoscaler>| autoscaler.spec.clone();
        if let Some(new) = new.filter(|new| old.map(asks) != Some(asks(new))) {
            own.add(key_of(&new.metadata));
        }
    });
    let this = Arc::new(Loop { context: Arc::clone(context), marks: Marks::default() });
    tasks.spawn(queue.work(PARALLEL, stop.clone(), move |key| {
        let this = Arc::clone(&this);
        async move { settle("autoscaler", &key, this.pass(&key).await) }
    }));
}

/// Where the target's scale is, or why nobody can say.
fn scale_path(autoscaler: &HorizontalPodAutoscaler) -> Result<String, Target> {
    let reference = &autoscaler.spec.scale_target_ref;
    let version = reference.api_version.as_deref().unwrap_or_default();
    let (group, _) = match version.matches('/').count() {
        0 => ("", version),
        1 => version.split_once('/').unwrap_or_default(),
        _ => return Err(Target::Unreadable(format!("unexpected GroupVersion string: {version}"))),
    };
    let found = KINDS.iter().find(|kind| kind.group == group && kind.kind == reference.kind);
    let Some(kind) = found else {
        let what = if group.is_empty() { version.to_owned() } else { group.to_owned() };
        return Err(Target::Unmapped(format!("no matches for kind {:?} in group {what:?}", reference.kind)));
    };
    if !kind.has(Subresource::Scale) {
        return Err(Target::Refused("the server could not find the requested resource".to_owned()));
    }
    let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
    let namespace = owner::namespace(&autoscaler.metadata);
    Ok(format!("{root}/{}/namespaces/{namespace}/{}/{}/scale", kind.version, kind.plural, reference.name))
}

impl Loop {
    async fn pass(&self, key: &Key) -> Result<Next, Error> {
        let context = &self.context;
        let mut mark = self.marks.get(key);
        context.autoscalers.reached(mark.own).await;
        let Some(autoscaler) = context.autoscalers.get(key).filter(|one| one.metadata.deletion_timestamp.is_none()) else {
            self.marks.set(key, Mark::default());
            return Ok(Next::Wait);
        };
        let (target, scale) = self.observe(&autoscaler).await?;
        let plan = autoscaler::plan(&autoscaler, &target, context.now());
        let outcome = self.apply(&autoscaler, plan, scale, &mut mark).await;
        self.marks.set(key, mark);
        outcome
    }

    /// The target as the server tells it, with the path and body to scale it by.
    async fn observe(&self, autoscaler: &HorizontalPodAutoscaler) -> Result<(Target, Option<(String, Value)>), Error> {
        let path = match scale_path(autoscaler) {
            Ok(path) => path,
            Err(target) => return Ok((target, None)),
        };
        match api::get::<Value>(&self.context.client, &path, JSON).await {
            Ok(scale) => {
                let replicas = scale["spec"]["replicas"].as_i64().and_then(|replicas| i32::try_from(replicas).ok());
                let selector = scale["status"]["selector"].as_str().unwrap_or_default().to_owned();
                Ok((Target::Scale { replicas: replicas.unwrap_or(0), selector }, Some((path, scale))))
            }
            Err(Error::Refused { message, .. }) => Ok((Target::Refused(message), None)),
            Err(error) => Err(error),
        }
    }

    async fn apply(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        plan: Plan,
        scale: Option<(String, Value)>,
        mark: &mut Mark,
    ) -> Result<Next, Error> {
        let status = match (plan.step, scale) {
            (Some(step), Some((path, scale))) => {
                let (status, note) = self.scale(&plan, step, &path, scale).await?;
                self.tell(autoscaler, note);
                status
            }
            _ => plan.status,
        };
        plan.notes.into_iter().for_each(|note| self.tell(autoscaler, note));
        self.write_status(autoscaler, status, mark).await?;
        Ok(Next::After(INTERVAL))
    }

    async fn scale(
        &self,
        plan: &Plan,
        step: Step,
        path: &str,
        mut scale: Value,
    ) -> Result<(HorizontalPodAutoscalerStatus, Note), Error> {
        tracing::debug!(reason = ?step.reason, step.from, step.to, path, "scale");
        scale["spec"]["replicas"] = step.to.into();
        let now = self.context.now();
        match api::replace_at(&self.context.client, path, &scale).await {
            Ok(_) => Ok(autoscaler::done(plan, step, now)),
            Err(Error::Refused { message, .. }) => Ok(autoscaler::refused(plan, step, &message, now)),
            Err(error) => Err(error),
        }
    }

    async fn write_status(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
        mark: &mut Mark,
    ) -> Result<(), Error> {
        if autoscaler.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = autoscaler.clone();
        changed.status = Some(status);
        mark.own(&api::replace_status(&self.context.client, &changed).await?);
        Ok(())
    }

    fn tell(&self, autoscaler: &HorizontalPodAutoscaler, note: Note) {
        self.context.recorder.tell::<HorizontalPodAutoscaler>(COMPONENT, &autoscaler.metadata, note);
    }
}
