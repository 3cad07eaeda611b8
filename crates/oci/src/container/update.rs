//! Changes what a container that runs may use.

use std::sync::Arc;

use super::{
    Phase, Resources,
    record::Record,
    runtime::{Inner, Runtime, RuntimeError},
};

impl Runtime {
    /// Gives a running container other shares of CPU and other limits of CPU and memory (0: as they are), and another note. Who is killed
    /// first for want of memory stays as it was. Nothing happens to one that does not run.
    ///
    /// # Errors
    /// [`RuntimeError::MemoryInUse`]: nothing was changed then; [`RuntimeError::NotFound`]; or when the kernel or the disk refuses.
    pub async fn update_container(&self, id: &str, resources: Resources, note: String) -> Result<(), RuntimeError> {
        let id = id.to_owned();
        self.blocking(move |inner| inner.update(&id, &resources, note)).await
    }
}

impl Inner {
    fn update(&self, id: &str, resources: &Resources, note: String) -> Result<(), RuntimeError> {
        // One after the other, and none while a container goes.
        let _turn = self.turn();
        let entry = self.entry(id)?;
        if !matches!(entry.phase(), Phase::Running { .. }) {
            return Ok(());
        }
        let mut record = Record::clone(&entry.record);
        let (limit, before) = (resources.memory_limit, record.spec.resources.memory_limit);
        if limit > 0 && (before == 0 || limit < before) {
            // Asked before anything is written: version 2 would kill for it, version 1 refuse halfway.
            let usage = self.cgroups.memory_usage(&record.cgroup).unwrap_or(0);
            if i64::try_from(usage).is_ok_and(|usage| usage > limit) {
                return Err(RuntimeError::MemoryInUse { limit, usage });
            }
        }
        let failed = |source| RuntimeError::Io { doing: format!("failed to update container {id}"), source };
        self.cgroups.change_limits(&record.cgroup, resources).map_err(failed)?;
        record.spec.resources = Resources { oom_score_adj: record.spec.resources.oom_score_adj, ..resources.clone() };
        record.spec.note = note;
        record.keep(&self.container_dir(id)).map_err(failed)?;
        if let Some(known) = self.known().containers.get_mut(id) {
            known.record = Arc::new(record);
        }
        Ok(())
    }
}
