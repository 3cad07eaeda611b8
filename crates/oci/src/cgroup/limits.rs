//! Limits of a group that containers have together; those of a container alone are set with it.

use std::{fs, io};

use super::Cgroups;
use crate::container::Resources;

impl Cgroups {
    /// Makes the group and limits the memory and CPU time of all that will be in it. A controller that this machine has not limits
    /// nothing.
    pub(crate) fn limit(&self, group: &str, limits: &Resources) -> io::Result<()> {
        let Resources { memory_limit, cpu_quota, cpu_period, .. } = limits;
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
        Ok(())
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
