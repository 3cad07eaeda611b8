//! Images that no container uses go when the disk gets full, those unused the longest first.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

use crate::{events::Type, kubelet::Kubelet, runtime::Image};

/// As upstream: above the first percentage images are removed until the second is reached.
const HIGH_PERCENT: u64 = 85;
const LOW_PERCENT: u64 = 80;
/// An image that came less than this ago stays: its container may be about to start.
const MIN_AGE: Duration = Duration::from_secs(120);
const EVERY: Duration = Duration::from_secs(300);

struct Seen {
    first: Instant,
    used: Instant,
}

/// Looks at the disk every five minutes, for as long as it is polled.
pub(crate) async fn run(kubelet: &Kubelet) {
    let mut seen = HashMap::new();
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = collect(kubelet, &mut seen).await {
            tracing::warn!(error, "collecting unused images");
        }
    }
}

async fn collect(kubelet: &Kubelet, seen: &mut HashMap<String, Seen>) -> Result<(), String> {
    let images = kubelet.runtime.images().await.map_err(|error| error.to_string())?;
    let containers = kubelet.runtime.containers(None).await.map_err(|error| error.to_string())?;
    let in_use: HashSet<&str> = containers.iter().map(|container| container.config.image_id.as_str()).collect();
    let now = Instant::now();
    seen.retain(|id, _| images.iter().any(|image| image.id == *id));
    for image in &images {
        let entry = seen.entry(image.id.clone()).or_insert(Seen { first: now, used: now });
        if in_use.contains(image.id.as_str()) {
            entry.used = now;
        }
    }
    let Some(disk) = Disk::of(&kubelet.options.data_dir) else { return Ok(()) };
    let Some(mut excess) = disk.excess() else { return Ok(()) };
    let mut unused: Vec<&Image> = images.iter().filter(|image| !in_use.contains(image.id.as_str())).collect();
    unused.retain(|image| seen.get(&image.id).is_some_and(|seen| now - seen.first >= MIN_AGE));
    unused.sort_by_key(|image| seen.get(&image.id).map(|seen| seen.used));
    let wanted = excess;
    for image in unused {
        if excess == 0 {
            break;
        }
        tracing::info!(id = image.id, size = image.size, "removing an unused image as the disk is full");
        match kubelet.runtime.remove_image(&image.id).await {
            Ok(()) => excess = excess.saturating_sub(image.size),
            Err(error) => tracing::warn!(%error, id = image.id, "removing an unused image"),
        }
    }
    if excess > 0 {
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {} bytes eligible to free.",
            wanted - excess
        );
        kubelet.events.node(&kubelet.options.node_name, Type::Warning, "FreeDiskSpaceFailed", message);
    }
    Ok(())
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Disk {
    /// The file system that holds `path`.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let stat = nix::sys::statvfs::statvfs(path).ok()?;
        let block = stat.fragment_size();
        Some(Self { total: stat.blocks() * block, available: stat.blocks_available() * block })
    }

    /// Bytes to free, when it is fuller than it should be.
    fn excess(self) -> Option<u64> {
        let used = self.total.saturating_sub(self.available);
        let is_full = self.total > 0 && used * 100 / self.total >= HIGH_PERCENT;
        is_full.then(|| used.saturating_sub(self.total / 100 * LOW_PERCENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_emptied_to_eighty_percent() {
        let disk = |available| Disk { total: 1000, available }.excess();
        assert_eq!(disk(200), None);
        assert_eq!(disk(151), None);
        assert_eq!(disk(150), Some(50));
        assert_eq!(disk(0), Some(200));
    }
}
