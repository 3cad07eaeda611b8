//! Limits of a group: what containers have together, and what is changed of a container that runs. Those that a container starts with
//! are set with it.

use std::{fs, io, path::PathBuf};

use super::Cgroups;
use crate::container::Resources;

impl Cgroups {
    /// Makes the group and limits the memory and CPU time of all that will be in it. A controller that this machine has not limits
    /// nothing.
    pub(crate) fn limit(&self, group: &str, limits: &Resources) -> io::Result<()> {
        self.settings(limits).iter().try_for_each(|setting| setting.write(&self.make(setting.controller, group)?))
    }

    /// Changes the limits of a group that is there; 0 leaves one as it is.
    pub(crate) fn change_limits(&self, group: &str, limits: &Resources) -> io::Result<()> {
        self.settings(limits).iter().try_for_each(|setting| setting.write(&self.controlled(setting.controller, group)))
    }

    fn settings(&self, limits: &Resources) -> Vec<Setting> {
        let Resources { memory_limit, cpu_quota, cpu_period, cpu_shares, .. } = limits;
        let mut settings = Vec::new();
        let mut set = |controller, file, value: String| settings.push(Setting { controller, file, value });
        if *memory_limit > 0 {
            let file = if self.is_unified() { "memory.max" } else { "memory.limit_in_bytes" };
            set("memory", file, memory_limit.to_string());
        }
        if *cpu_quota > 0 && self.is_unified() {
            set("cpu", "cpu.max", format!("{cpu_quota} {cpu_period}"));
        } else if *cpu_quota > 0 {
            set("cpu", "cpu.cfs_period_us", cpu_period.to_string());
            set("cpu", "cpu.cfs_quota_us", cpu_quota.to_string());
        }
        if *cpu_shares > 0 && self.is_unified() {
            set("cpu", "cpu.weight", weight(*cpu_shares).to_string());
        } else if *cpu_shares > 0 {
            set("cpu", "cpu.shares", cpu_shares.to_string());
        }
        settings
    }

    /// Bytes of memory that the group uses; `None` where nobody counts.
    pub(crate) fn memory_usage(&self, group: &str) -> Option<u64> {
        let file = if self.is_unified() { "memory.current" } else { "memory.usage_in_bytes" };
        let dir = self.controlled("memory", group)?;
        fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
    }

    /// The group's directory, where the controller is there and controls it.
    fn controlled(&self, controller: &str, group: &str) -> Option<PathBuf> {
        self.dir_of(controller, group).filter(|_| self.controls(controller))
    }

    fn make(&self, controller: &str, group: &str) -> io::Result<Option<PathBuf>> {
        let Some(dir) = self.controlled(controller, group) else { return Ok(None) };
        fs::create_dir_all(&dir)?;
        if self.is_unified() {
            // From the top down: what a group has not, it cannot hand on.
            let above: Vec<_> =
                dir.ancestors().skip(1).take_while(|above| above.join("cgroup.subtree_control").exists()).collect();
            for above in above.iter().rev() {
                fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
        }
        Ok(Some(dir))
    }
}

/// What is written where.
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
}

impl Setting {
    /// Nothing is limited where there is no controller.
    fn write(&self, dir: &Option<PathBuf>) -> io::Result<()> {
        dir.iter().try_for_each(|dir| fs::write(dir.join(self.file), &self.value))
    }
}

/// The weight of version 2 for shares of version 1, by the curve that keeps the ends and the default where they are, as runc since 1.3.2
/// and the library that starts containers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 2 to 262144, to 1 to 10000"
)]
fn weight(shares: u64) -> u64 {
    let doublings = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (doublings * doublings + 125.0 * doublings) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert!(weight(20) < weight(50));
    }
}
