//! Where the kubelet keeps things below the data directory.

use std::path::{Path, PathBuf};

/// The layout below one data directory, after upstream's `/var/lib/kubelet` and `/var/log/pods`.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// One directory a pod, by uid.
    pub(crate) fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// One directory a volume that was made for a claim.
    pub(crate) fn claimed(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Seccomp profiles that pods may name.
    pub(crate) fn seccomp(&self) -> PathBuf {
        self.root.join("seccomp")
    }

    /// `plugin` as upstream escapes it: `kubernetes.io~empty-dir`.
    pub(crate) fn volume(&self, uid: &str, plugin: &str, name: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(plugin).join(name)
    }

    /// What a container writes its termination message to.
    pub(crate) fn termination_log(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(attempt.to_string())
    }

    /// One directory a pod: `<namespace>_<name>_<uid>`.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("pods-logs")
    }

    pub(crate) fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs().join(format!("{namespace}_{name}_{uid}"))
    }
}

/// The log of one run of a container, below the pod's log directory.
pub(crate) fn container_log(pod_logs: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_logs.join(container).join(format!("{attempt}.log"))
}
