//! Starting one container: image, configuration, container, process, postStart hook.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;
use windlass_planner::pod::{
    Failure, Identity, Outcome, Run, RunState,
    backoff::{self, Backoff},
    observed::ERR_IMAGE_PULL,
};

use super::{
    container_config::{self, Parts, image_names, spec_hash},
    operation::{Done, Failed, STEP_LIMIT, Scope, Started},
};
use crate::{
    events::Type,
    images::{self, NoImage, with_sources},
    pod::{field_path, name, namespace},
    probes::run_hook,
    runtime::{ContainerState, Error, Image},
    volumes::MountedVolumes,
};

/// Waiting reason of a container whose postStart hook failed.
pub(super) const POST_START_HOOK_ERROR: &str = "PostStartHookError";

/// Pause after an attempt that failed for another reason than the image, as upstream's.
const RETRY_SECONDS: i64 = 10;

/// How long a process that could not be run, or whose hook failed, shows as such before it shows as crashed; long enough to be seen.
pub(super) const ERROR_SHOWN_SECONDS: i64 = 1;

/// What to start, and in what.
pub(crate) struct Order {
    pub(crate) container: Container,
    pub(crate) attempt: u32,
    pub(crate) sandbox_id: String,
    pub(crate) pod_ips: Vec<std::net::IpAddr>,
    pub(crate) mounted: std::sync::Arc<MountedVolumes>,
    /// Back-off of the run that begins.
    pub(crate) backoff: Backoff,
    /// Seconds that a pull waited before this attempt; the next pause is twice that.
    pub(crate) pull_pause_seconds: i64,
    /// A container of this attempt that was made but not started.
    pub(crate) made: Option<String>,
    /// Whose processes it sees, if it is an ephemeral container that says so.
    pub(crate) target: Option<Target>,
}

/// The container that another one looks at.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// Id of its run, while it runs.
    pub(crate) id: Option<String>,
}

/// Starts the container that `order` names.
pub(crate) async fn start(scope: Scope, order: Order) -> Done {
    let result = Starting { scope: &scope, order: &order, path: field_path(&scope.pod, &order.container.name) }.start().await;
    Done::Started { container: order.container.name, result }
}

struct Starting<'a> {
    scope: &'a Scope,
    order: &'a Order,
    path: String,
}

impl Starting<'_> {
    async fn start(&self) -> Result<Started, Failed> {
        let began = Instant::now();
        let image = tokio::select! {
            image = self.image() => image,
            () = self.scope.cancel.cancelled() => return Err(failed("ContainerCreating", String::new(), RETRY_SECONDS)),
        };
        let image = image.map_err(|no_image| self.no_image(no_image))?;
        let with_image = began.elapsed();
        let id = self.create(&image).await?;
        let created = began.elapsed();
        self.event(Type::Normal, "Created", "Container created");
        if let Err(error) = self.scope.kubelet.runtime.start_container(&id).await {
            return Err(self.start_error(id, &image, &error));
        }
        self.event(Type::Normal, "Started", "Container started");
        let started = began.elapsed();
        tracing::debug!(
            pod = name(&self.scope.pod),
            container = self.order.container.name,
            ?with_image,
            ?created,
            ?started,
            "a container runs"
        );
        let hook_failure = self.post_start(&id).await;
        let (identity, state) = self.look(&id).await;
        Ok(Started { run: self.run(&id, &image, identity, state), hook_failure })
    }

    async fn image(&self) -> Result<Image, NoImage> {
        let (secrets, missing) = self.scope.objects.pull_secrets().await;
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let message =
                format!("Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed.");
            self.scope.kubelet.events.pod(&self.scope.pod, None, Type::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        let name = self.order.container.image.as_deref().unwrap_or_default();
        let auth = images::credentials(name, secrets.iter().map(AsRef::as_ref));
        let request = images::Request {
            pod: &self.scope.pod,
            container: &self.order.container,
            field_path: &self.path,
            events: &self.scope.kubelet.events,
            auth: &auth,
        };
        self.scope.kubelet.images.ensure(&request).await
    }

    fn no_image(&self, no_image: NoImage) -> Failed {
        let pause = if no_image.reason == ERR_IMAGE_PULL {
            (self.order.pull_pause_seconds * 2).clamp(backoff::INITIAL_SECONDS, backoff::MAX_SECONDS)
        } else {
            RETRY_SECONDS
        };
        failed(no_image.reason, no_image.message, pause)
    }

    /// Configures and makes the container.
    async fn create(&self, image: &Image) -> Result<String, Failed> {
        let kubelet = &self.scope.kubelet;
        if let Some(made) = &self.order.made {
            // Half made by a kubelet that was killed; its configuration may be from before.
            let _ = kubelet.runtime.remove_container(made).await;
        }
        let config_error = |message: String| {
            self.event(Type::Warning, "Failed", format!("Error: {message}"));
            failed("CreateContainerConfigError", message, RETRY_SECONDS)
        };
        let objects = self.scope.objects.load().await.map_err(config_error)?;
        let services = kubelet.services.of(namespace(&self.scope.pod)).await;
        let parts = Parts {
            container: &self.order.container,
            attempt: self.order.attempt,
            image,
            pod_ips: &self.order.pod_ips,
            mounted: &self.order.mounted,
            objects: &objects,
            services: &services,
            backoff: self.order.backoff,
            target: self.order.target.as_ref(),
        };
        let config = container_config::build(self.scope, &parts).map_err(|error| config_error(error.to_string()))?;
        kubelet.runtime.create_container(&self.order.sandbox_id, config).await.map_err(|error| {
            let message = with_sources(&error);
            self.event(Type::Warning, "Failed", format!("Error: {message}"));
            failed("CreateContainerError", message, RETRY_SECONDS)
        })
    }

    /// A process that could not be run counts as a run that ended at once, so that back-off applies.
    fn start_error(&self, id: String, image: &Image, error: &Error) -> Failed {
        let message = with_sources(error);
        self.event(Type::Warning, "Failed", format!("Error: {message}"));
        let now = Timestamp::now();
        let outcome = Outcome {
            started_at: None,
            finished_at: now,
            exit_code: 128,
            reason: "StartError".to_owned(),
            message: message.clone(),
        };
        let run = self.run(&id, image, None, RunState::Exited(outcome));
        let retry_at = now + SignedDuration::from_secs(ERROR_SHOWN_SECONDS);
        let failure = Failure { reason: "RunContainerError".to_owned(), message, at: now, retry_at };
        Failed { failure, run: Some(run) }
    }

    async fn post_start(&self, id: &str) -> Option<String> {
        let hook = self.order.container.lifecycle.as_ref()?.post_start.as_ref()?;
        let target = self.scope.target(self.order.pod_ips.first().copied());
        let done = tokio::select! {
            done = run_hook(&target, &self.order.container, id, hook, STEP_LIMIT) => done,
            () = self.scope.cancel.cancelled() => Ok(()),
        };
        let why = done.err()?;
        let pod = &self.scope.pod;
        tracing::warn!(
            namespace = namespace(pod),
            pod = name(pod),
            container = self.order.container.name,
            why,
            "postStart hook failed"
        );
        // Not why: a hook's output may hold secrets, which events would show to more people.
        self.event(Type::Warning, "FailedPostStartHook", "PostStartHook failed");
        Some(why)
    }

    /// Who runs in the container, and what became of it.
    async fn look(&self, id: &str) -> (Option<Identity>, RunState) {
        let kubelet = &self.scope.kubelet;
        let Ok(container) = kubelet.runtime.container(id).await else {
            return (None, RunState::Running { started_at: Timestamp::now() });
        };
        let state = match container.state {
            ContainerState::Exited { .. } => super::ended::state(&kubelet.paths, &self.scope.pod, &container),
            ContainerState::Running { started_at } => RunState::Running { started_at },
            ContainerState::Created => RunState::Running { started_at: Timestamp::now() },
        };
        (container.identity, state)
    }

    fn run(&self, id: &str, image: &Image, identity: Option<Identity>, state: RunState) -> Run {
        let container = &self.order.container;
        let (image, image_id) = image_names(image, container.image.as_deref().unwrap_or_default());
        Run {
            id: id.to_owned(),
            attempt: self.order.attempt,
            image,
            image_id,
            spec_hash: spec_hash(container),
            in_sandbox: true,
            resources: Some(container.resources.clone().unwrap_or_default()),
            identity,
            state,
        }
    }

    fn event(&self, kind: Type, reason: &'static str, message: impl Into<String>) {
        self.scope.kubelet.events.pod(&self.scope.pod, Some(self.path.clone()), kind, reason, message);
    }
}

fn failed(reason: &str, message: String, pause_seconds: i64) -> Failed {
    let at = Timestamp::now();
    let retry_at = at + SignedDuration::from_secs(pause_seconds);
    Failed { failure: Failure { reason: reason.to_owned(), message, at, retry_at }, run: None }
}
