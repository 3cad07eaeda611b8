//! What the machine has: CPUs, memory, disk, and how much of it pods may use.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::gc;

/// Kept back from pods, as upstream's default eviction threshold: below it the kernel starts to kill.
const RESERVED_MEMORY_BYTES: i64 = 100 * 1024 * 1024;
/// Percentage of the disk that is kept back, as upstream's.
const RESERVED_DISK_PERCENT: u64 = 10;

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) cpus: usize,
    pub(crate) memory_bytes: i64,
    pub(crate) disk_bytes: u64,
    pub(crate) pods: u32,
}

/// Measures the machine; `path` is on the disk that counts.
pub(crate) fn measure(path: &Path, pods: u32) -> Capacity {
    Capacity {
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_kib("MemTotal").unwrap_or(0) * 1024,
        disk_bytes: existing(path).and_then(gc::disk).map_or(0, |disk| disk.total),
        pods,
    }
}

/// The nearest directory above that exists already.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

/// Bytes of memory that could be had now.
pub(crate) fn available_memory_bytes() -> Option<i64> {
    memory_kib("MemAvailable").map(|kib| kib * 1024)
}

fn memory_kib(field: &str) -> Option<i64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn resources(cpus: usize, memory_bytes: i64, disk_bytes: String, pods: u32) -> BTreeMap<String, Quantity> {
    [
        ("cpu", cpus.to_string()),
        ("memory", format!("{}Ki", memory_bytes / 1024)),
        ("ephemeral-storage", disk_bytes),
        ("hugepages-1Gi", "0".to_owned()),
        ("hugepages-2Mi", "0".to_owned()),
        ("pods", pods.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Quantity(value)))
    .collect()
}

/// `status.capacity` of the node.
pub(crate) fn total(capacity: &Capacity) -> BTreeMap<String, Quantity> {
    resources(capacity.cpus, capacity.memory_bytes, format!("{}Ki", capacity.disk_bytes / 1024), capacity.pods)
}

/// `status.allocatable` of the node.
pub(crate) fn allocatable(capacity: &Capacity) -> BTreeMap<String, Quantity> {
    let disk = capacity.disk_bytes / 100 * (100 - RESERVED_DISK_PERCENT);
    let memory = (capacity.memory_bytes - RESERVED_MEMORY_BYTES).max(0);
    resources(capacity.cpus, memory, disk.to_string(), capacity.pods)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_kept_back() {
        let capacity = Capacity { cpus: 2, memory_bytes: 1 << 30, disk_bytes: 1000 * 1024, pods: 110 };
        let text = |map: BTreeMap<String, Quantity>| map.into_values().map(|quantity| quantity.0).collect::<Vec<_>>().join(" ");
        assert_eq!(text(total(&capacity)), "2 1000Ki 0 0 1048576Ki 110");
        assert_eq!(text(allocatable(&capacity)), "2 921600 0 0 946176Ki 110");
    }
}
