//! The Pod Security Standards of Kubernetes 1.36: what each level asks of a pod, in every version of the policy, with upstream's
//! words. <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

mod capabilities;
mod check;
mod host;
mod pod;
mod policy;
mod profiles;
mod survey;
mod sysctls;
mod users;
mod volumes;
mod words;

use std::fmt;

pub use pod::{Pod, changes_what_counts, template};
pub use policy::{Level, LevelVersion, Policy, Version};
pub use survey::{Survey, by_controller};

/// What one check finds wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    /// In two or three words, such as `host namespaces`.
    reason: &'static str,
    /// Where, and what would be right.
    detail: String,
}

/// Everything that a level finds wrong with a pod, in upstream's order; shown with the details.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl LevelVersion {
    /// What this level has against the pod.
    pub fn violations(self, pod: Pod<'_>) -> Violations {
        Violations(check::rules(self).filter_map(|rule| rule(pod)).collect())
    }
}

impl Violations {
    /// Whether the pod may be.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons without their details, separated by commas: the same for all pods with the same faults.
    pub fn reasons(&self) -> String {
        let reasons: Vec<&str> = self.0.iter().map(|violation| violation.reason).collect();
        reasons.join(", ")
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Violation { reason, detail }) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{reason} ({detail})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
