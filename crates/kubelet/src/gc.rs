//! Removes images that no container uses when the disk gets full, as planned.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use windlass_planner::image::{self, Disk, Image};

use crate::{events::Type, kubelet::Kubelet};

const EVERY: Duration = Duration::from_secs(300);

/// When an image was seen first, and when in use.
struct Seen {
    first: Timestamp,
    used: Timestamp,
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
    let now = Timestamp::now();
    let images = look(kubelet, seen, now).await.map_err(|error| error.to_string())?;
    let Some(disk) = disk(&kubelet.options.data_dir) else { return Ok(()) };
    let plan = image::plan(images, disk, now);
    let mut freed = 0;
    for image in plan.candidates {
        if freed >= plan.bytes {
            break;
        }
        tracing::info!(id = image.id, size = image.size, "removing an unused image as the disk is full");
        match kubelet.runtime.remove_image(&image.id).await {
            Ok(()) => freed += image.size,
            Err(error) => tracing::warn!(%error, id = image.id, "removing an unused image"),
        }
    }
    if freed < plan.bytes {
        let message = format!(
            "Failed to garbage collect required amount of images. Attempted to free {} bytes, but only found {freed} bytes eligible to free.",
            plan.bytes
        );
        kubelet.events.node(&kubelet.options.node_name, Type::Warning, "FreeDiskSpaceFailed", message);
    }
    Ok(())
}

/// The images there are, with what was `seen` of them.
async fn look(kubelet: &Kubelet, seen: &mut HashMap<String, Seen>, now: Timestamp) -> Result<Vec<Image>, crate::runtime::Error> {
    let images = kubelet.runtime.images().await?;
    let containers = kubelet.runtime.containers(None).await?;
    let in_use: HashSet<&str> = containers.iter().map(|container| container.config.image_id.as_str()).collect();
    seen.retain(|id, _| images.iter().any(|image| image.id == *id));
    let images = images.into_iter().map(|image| {
        let seen = seen.entry(image.id.clone()).or_insert(Seen { first: now, used: now });
        let in_use = in_use.contains(image.id.as_str());
        if in_use {
            seen.used = now;
        }
        Image { id: image.id, size: image.size, in_use, first_seen: seen.first, last_used: seen.used }
    });
    Ok(images.collect())
}

/// The file system that holds `path`.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let block = stat.fragment_size();
    Some(Disk { total: stat.blocks() * block, available: stat.blocks_available() * block })
}
