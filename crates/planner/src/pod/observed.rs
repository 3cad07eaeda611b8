//! What is known of a pod on its machine.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::{backoff::Backoff, resize::Pending};

/// Everything that decisions about one pod rest on, besides its spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// When this machine first saw the pod: `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// Its namespaces, network and volumes.
    pub sandbox: Sandbox,
    /// Addresses of the pod, the primary first.
    pub pod_ips: Vec<IpAddr>,
    /// Addresses of the machine, the primary first.
    pub host_ips: Vec<IpAddr>,
    /// By name; init containers too. One that nothing is known of may be absent.
    pub containers: BTreeMap<String, Container>,
    /// The pod is on its way down: nothing is started any more, and unless it is being deleted it is not ready.
    pub stopping: bool,
    /// All its containers have ended and none will be started again.
    pub stopped: bool,
    /// The kubelet ended the pod itself: reason and message of its status.
    pub ended: Option<(String, String)>,
    /// It was never taken on: there is nothing to say of its containers.
    pub refused: bool,
    /// It asks for other resources than it was granted, and why it has not got them.
    pub pending_resize: Option<Pending>,
}

/// State of what a pod's containers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Not made yet, or lost.
    #[default]
    Absent,
    /// Being made; network and volumes too.
    SettingUp,
    /// Could not be made; not tried again before `retry_at`.
    Failed {
        /// When to try again.
        retry_at: Timestamp,
    },
    /// Containers can be started in it.
    Ready,
}

/// What is known of one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// The newest run.
    pub latest: Option<Run>,
    /// The one before it.
    pub previous: Option<Run>,
    /// It is being started or killed now; nothing else is done to it meanwhile.
    pub busy: bool,
    /// Why the last attempt to start it got nowhere.
    pub failure: Option<Failure>,
    /// Its startup probe (if any) and postStart hook (if any) succeeded.
    pub started: bool,
    /// Its readiness probe (if any) says so.
    pub ready: bool,
    /// Its liveness or startup probe, or its postStart hook, failed for good: it must be restarted.
    pub condemned: Option<String>,
    /// It was stopped only to be started anew: that is no end of its work, whatever its policy says.
    pub replaced: bool,
    /// Why it could not be given the resources that it was granted.
    pub resize_failure: Option<Failure>,
    /// Grows with each crash.
    pub backoff: Backoff,
}

impl Container {
    /// The newest run, if it runs now.
    pub fn running(&self) -> Option<&Run> {
        self.latest.as_ref().filter(|run| matches!(run.state, RunState::Running { .. }))
    }

    /// How the newest run ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.latest.as_ref().and_then(Run::outcome)
    }

    /// Whether the newest run ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.exit_code == 0)
    }
}

/// One run of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Container id as the runtime has it.
    pub id: String,
    /// Counts the runs of this container, from 0.
    pub attempt: u32,
    /// Image as the status shows it.
    pub image: String,
    /// Image id as the status shows it, with a digest.
    pub image_id: String,
    /// Hash of the parts of the spec that need a new container when they change.
    pub spec_hash: String,
    /// Made in the sandbox that exists now. A run from a lost sandbox counts as history: init containers run again.
    pub in_sandbox: bool,
    /// What it has of the machine now; `None` where that is not known: then it has what it was granted.
    pub resources: Option<ResourceRequirements>,
    /// Who its first process is, where that is known.
    pub identity: Option<Identity>,
    /// Where it is in its life.
    pub state: RunState,
}

/// Who the first process of a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: i64,
    /// Group id.
    pub gid: i64,
    /// All its groups, in order.
    pub groups: Vec<i64>,
}

impl Run {
    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            RunState::Exited(outcome) => Some(outcome),
            _ => None,
        }
    }
}

/// Where a run is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Made, not started.
    Created,
    /// Running.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Ended.
    Exited(Outcome),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// When it was started; `None` when it never was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Exit code.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// Termination message; may be empty.
    pub message: String,
}

/// An attempt to start a container that made no container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Waiting reason, such as `ErrImagePull`.
    pub reason: String,
    /// Waiting message.
    pub message: String,
    /// When it happened.
    pub at: Timestamp,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// Waiting reason of an image that could not be pulled.
pub const ERR_IMAGE_PULL: &str = "ErrImagePull";
/// Waiting reason between two pulls.
pub const IMAGE_PULL_BACK_OFF: &str = "ImagePullBackOff";
/// Waiting reason between a crash and the restart.
pub const CRASH_LOOP_BACK_OFF: &str = "CrashLoopBackOff";

/// How long a failed pull shows as such before it shows as waiting for the next; long enough to be seen.
const ERR_IMAGE_PULL_SHOWN_SECONDS: i64 = 2;

impl Failure {
    /// When what it says of itself changes, if it will.
    pub fn turns_at(&self) -> Option<Timestamp> {
        (self.reason == ERR_IMAGE_PULL).then(|| self.at + jiff::SignedDuration::from_secs(ERR_IMAGE_PULL_SHOWN_SECONDS))
    }

    /// Waiting reason and message at `now`, for `image` as the spec names it.
    pub fn waiting(&self, image: &str, now: Timestamp) -> (String, String) {
        if self.turns_at().is_some_and(|turns_at| now >= turns_at) {
            let message = format!("Back-off pulling image \"{image}\": {ERR_IMAGE_PULL}: {}", self.message);
            return (IMAGE_PULL_BACK_OFF.to_owned(), message);
        }
        (self.reason.clone(), self.message.clone())
    }
}
