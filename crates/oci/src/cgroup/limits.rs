//! Limits of a group: what containers have together, and what is changed of a container that runs. Those that a container starts with
//! are set with it.

use std::{fs, io};

use super::Cgroups;
use crate::container::Resources;

impl Cgroups {
    /// Makes the group and limits the memory and CPU time of all that is or will be in it; 0 leaves a limit as it is. A controller that
    /// this machine has not limits nothing.
    pub(crate) fn limit(&self, group: &str, limits: &Resources) -> io::Result<()> {
        let Resources { memory_limit, cpu_quota, cpu_period, cpu_shares, .. } = limits;
        if *memory_limit > 0 {
            let file = if self.is_unified() { "memory.max" } else { "memory.limit_in_bytes" };
            self.set("memory", group, &[(file, memory_limit.to_string())])?;
        }
        if *cpu_quota > 0 && self.is_unified() {
            self.set("cpu", group, &[("cpu.max", format!("{cpu_quota} {cpu_period}"))])?;
        } else if *cpu_quota > 0 {
            let (period, quota) = (cpu_period.to_string(), cpu_quota.to_string());
            self.set("cpu", group, &[("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)])?;
        }
        if *cpu_shares > 0 && self.is_unified() {
            self.set("cpu", group, &[("cpu.weight", weight(*cpu_shares).to_string())])?;
        } else if *cpu_shares > 0 {
            self.set("cpu", group, &[("cpu.shares", cpu_shares.to_string())])?;
        }
        Ok(())
    }

    /// Bytes of memory that the group uses; `None` where nobody counts.
    pub(crate) fn memory_usage(&self, group: &str) -> Option<u64> {
        let file = if self.is_unified() { "memory.current" } else { "memory.usage_in_bytes" };
        let dir = self.dir_of("memory", group).filter(|_| self.controls("memory"))?;
        fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
    }

    fn set(&self, controller: &str, group: &str, files: &[(&str, String)]) -> io::Result<()> {
        let Some(dir) = self.dir_of(controller, group).filter(|_| self.controls(controller)) else { return Ok(()) };
        fs::create_dir_all(&dir)?;
        if self.is_unified() {
            // From the top down: what a group has not, it cannot hand on.
            let above: Vec<_> =
                dir.ancestors().skip(1).take_while(|above| above.join("cgroup.subtree_control").exists()).collect();
            for above in above.iter().rev() {
                fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
        }
        files.iter().try_for_each(|(file, value)| fs::write(dir.join(file), value))
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
        assert!(weight(20) < weight(25));
    }
}
