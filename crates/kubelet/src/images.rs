//! Images: present, pulled as the policy says, with the credentials that the pod names.

mod auth;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::Semaphore;
use windlass_planner::pod::observed::ERR_IMAGE_PULL;

pub(crate) use self::auth::credentials;
use crate::{
    events::{Recorder, Type},
    runtime::{Error, Image, RegistryAuth, Runtime},
};

/// Different images pulled at once. A few share the network well; many would make each of them late.
const MAX_PULLS: usize = 4;

/// Why a container has no image: the waiting reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoImage {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Pulls images, each at most once at a time.
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    pulls: Semaphore,
    /// By name: pods that want the same image wait for one another, and the second finds it present.
    busy: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Which container asks, and how to tell people about it.
pub(crate) struct Request<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) field_path: &'a str,
    pub(crate) events: &'a Recorder,
    pub(crate) auth: &'a [RegistryAuth],
}

impl Request<'_> {
    fn event(&self, kind: Type, reason: &'static str, message: impl Into<String>) {
        self.events.pod(self.pod, Some(self.field_path.to_owned()), kind, reason, message);
    }
}

impl Images {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, pulls: Semaphore::new(MAX_PULLS), busy: Mutex::default() }
    }

    /// The image of a container, pulled when its policy wants it.
    ///
    /// # Errors
    /// The waiting reason and message of a container without an image.
    pub(crate) async fn ensure(&self, request: &Request<'_>) -> Result<Image, NoImage> {
        let name = request.container.image.as_deref().unwrap_or_default();
        let policy = request.container.image_pull_policy.as_deref().unwrap_or_else(|| default_policy(name));
        let present = self.runtime.image(name).await.map_err(|error| failed_to_inspect(request, name, &error))?;
        match (policy, present) {
            ("Never" | "IfNotPresent", Some(image)) => {
                let message = format!("Container image \"{name}\" already present on machine and can be accessed by the pod");
                request.event(Type::Normal, "Pulled", message);
                Ok(image)
            }
            ("Never", None) => {
                let message = format!("Container image \"{name}\" is not present with pull policy of Never");
                request.event(Type::Warning, "ErrImageNeverPull", message.clone());
                request.event(Type::Warning, "Failed", "Error: ErrImageNeverPull");
                Err(NoImage { reason: "ErrImageNeverPull", message })
            }
            _ => self.pull(request, name).await,
        }
    }

    async fn pull(&self, request: &Request<'_>, name: &str) -> Result<Image, NoImage> {
        request.event(Type::Normal, "Pulling", format!("Pulling image \"{name}\""));
        let asked = Instant::now();
        let lock = self.lock_of(name);
        let _turn = lock.lock().await;
        let _permit = self.pulls.acquire().await;
        let began = Instant::now();
        match self.runtime.pull(name, request.auth).await {
            Ok(image) => {
                let message = format!(
                    "Successfully pulled image \"{name}\" in {} ({} including waiting). Image size: {} bytes.",
                    go_duration(began.elapsed()),
                    go_duration(asked.elapsed()),
                    image.size
                );
                request.event(Type::Normal, "Pulled", message);
                Ok(image)
            }
            Err(error @ Error::InvalidImageName { .. }) => Err(failed_to_inspect(request, name, &error)),
            Err(error) => {
                let message = with_sources(&error);
                request.event(Type::Warning, "Failed", format!("Failed to pull image \"{name}\": {message}"));
                request.event(Type::Warning, "Failed", format!("Error: {ERR_IMAGE_PULL}"));
                Err(NoImage { reason: ERR_IMAGE_PULL, message })
            }
        }
    }

    fn lock_of(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = busy.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        busy.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        busy.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

fn failed_to_inspect(request: &Request<'_>, name: &str, error: &Error) -> NoImage {
    let (reason, message) = match error {
        Error::InvalidImageName { why, .. } => (
            "InvalidImageName",
            format!("Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": {why}"),
        ),
        error => ("ImageInspectError", format!("Failed to inspect image \"{name}\": {}", with_sources(error))),
    };
    request.event(Type::Warning, "InspectFailed", message.clone());
    request.event(Type::Warning, "Failed", format!("Error: {reason}"));
    NoImage { reason, message }
}

/// An error with what caused it, as one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// `Always` for `latest` and for no tag at all, else `IfNotPresent`; the API server has filled it in already.
fn default_policy(name: &str) -> &'static str {
    let last = name.rsplit('/').next().unwrap_or_default();
    let is_latest = !name.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if is_latest { "Always" } else { "IfNotPresent" }
}

/// A duration as Go prints it, rounded to milliseconds: `1.2s`, `53ms`, `1m3.5s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let seconds = if fraction.is_empty() { format!("{}s", rest / 1000) } else { format!("{}.{fraction}s", rest / 1000) };
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_policies_as_upstream() {
        for (millis, expected) in [(53, "53ms"), (1200, "1.2s"), (2000, "2s"), (63_500, "1m3.5s"), (3_600_000, "1h0m0s")] {
            assert_eq!(go_duration(Duration::from_millis(millis)), expected);
        }
        for (name, expected) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("localhost:5000/nginx", "Always"),
            ("nginx@sha256:aa", "IfNotPresent"),
        ] {
            assert_eq!(default_policy(name), expected, "{name}");
        }
    }
}
