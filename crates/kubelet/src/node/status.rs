//! What the node says of itself.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_planner::pod::admission::RUNTIME_HANDLERS;

use super::{KUBELET_VERSION, architecture, capacity};
use crate::{api, gc, kubelet::Kubelet};

/// Images that a status lists, largest first, as upstream.
const MAX_IMAGES: usize = 50;
/// Memory below which the node is under pressure, as upstream's default eviction threshold.
const LOW_MEMORY_BYTES: i64 = 100 * 1024 * 1024;
/// The disk is under pressure when less than a tenth of it, and less than this, is free. Upstream goes by the tenth alone, which on a
/// developer's large and well-filled disk would keep every pod away with hundreds of gigabytes to spare.
const LOW_DISK_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// One condition: type, whether it holds, reason, message.
type Condition = (&'static str, bool, &'static str, &'static str);

fn conditions(low_memory: bool, low_disk: bool) -> [Condition; 4] {
    [
        match low_memory {
            false => ("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            true => ("MemoryPressure", true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        },
        match low_disk {
            false => ("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            true => ("DiskPressure", true, "KubeletHasDiskPressure", "kubelet has disk pressure"),
        },
        ("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", true, "KubeletReady", "kubelet is posting ready status"),
    ]
}

fn to_json((kind, holds, reason, message): Condition, since: Timestamp, now: Timestamp) -> Value {
    json!({
        "type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": since,
    })
}

/// The four conditions of a node that lacks nothing.
pub(crate) fn healthy_conditions(now: Timestamp) -> Vec<Value> {
    conditions(false, false).into_iter().map(|condition| to_json(condition, now, now)).collect()
}

/// The runtimes that a RuntimeClass can ask for, and what each of them can do.
pub(crate) fn runtime_handlers() -> Vec<Value> {
    let features = json!({ "recursiveReadOnlyMounts": false, "userNamespaces": false });
    RUNTIME_HANDLERS.iter().map(|name| json!({ "name": name, "features": features })).collect()
}

/// Measures the node, and knows what was said of it last.
#[derive(Debug, Default)]
pub(super) struct Reporter {
    said: Option<Value>,
    /// Each condition's status, and since when it is that.
    since: Vec<(bool, Timestamp)>,
}

impl Reporter {
    /// The status to send: when it changed, or when one `is_due`.
    pub(super) async fn measure(&mut self, kubelet: &Kubelet, is_due: bool, now: Timestamp) -> Option<Value> {
        let now = api::seconds(now);
        let low_memory = capacity::available_memory_bytes().is_some_and(|bytes| bytes < LOW_MEMORY_BYTES);
        let low_disk = gc::disk(&kubelet.options.data_dir)
            .is_some_and(|disk| disk.available < LOW_DISK_BYTES && disk.available < disk.total / 10);
        let conditions = conditions(low_memory, low_disk);
        self.since.resize(conditions.len(), (false, now));
        let is_first = self.said.is_none();
        for (since, (_, holds, ..)) in self.since.iter_mut().zip(&conditions) {
            if since.0 != *holds || is_first {
                *since = (*holds, now);
            }
        }
        // Compared without the heartbeat, which alone is no news.
        let dated = |at: Timestamp| -> Vec<Value> {
            conditions.iter().zip(&self.since).map(|(condition, since)| to_json(*condition, since.1, at)).collect()
        };
        let body = body(kubelet).await;
        let with = |conditions: Vec<Value>| {
            let mut status = body.clone();
            status["conditions"] = conditions.into();
            status
        };
        let compared = with(dated(Timestamp::UNIX_EPOCH));
        if self.said.as_ref() == Some(&compared) && !is_due {
            return None;
        }
        let status = with(dated(now));
        self.said = Some(compared);
        Some(status)
    }

    /// What was said did not arrive.
    pub(super) fn forget(&mut self) {
        self.said = None;
    }
}

async fn body(kubelet: &Kubelet) -> Value {
    let capacity = capacity::measure(&kubelet.options.data_dir, kubelet.options.max_pods);
    json!({
        "capacity": capacity::total(&capacity), "allocatable": capacity::allocatable(&capacity),
        "addresses": [
            { "type": "InternalIP", "address": kubelet.options.node_ip },
            { "type": "Hostname", "address": kubelet.options.node_name },
        ],
        "nodeInfo": info(kubelet), "images": images(kubelet).await,
        "features": { "supplementalGroupsPolicy": true }, "runtimeHandlers": runtime_handlers(),
    })
}

async fn images(kubelet: &Kubelet) -> Vec<Value> {
    let mut images = kubelet.runtime.images().await.unwrap_or_default();
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images.truncate(MAX_IMAGES);
    let names = |image: &crate::runtime::Image| [&image.digests[..], &image.tags[..]].concat();
    images.iter().map(|image| json!({ "names": names(image), "sizeBytes": image.size })).collect()
}

fn info(kubelet: &Kubelet) -> Value {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let machine_id = read("/etc/machine-id");
    let system_uuid = read("/sys/class/dmi/id/product_uuid");
    json!({
        "architecture": architecture(), "operatingSystem": "linux",
        "bootID": read("/proc/sys/kernel/random/boot_id"), "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "systemUUID": if system_uuid.is_empty() { machine_id.clone() } else { system_uuid }, "machineID": machine_id,
        "osImage": os_image(&read("/etc/os-release")),
        "containerRuntimeVersion": kubelet.runtime.version(), "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": "",
    })
}

fn os_image(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.map_or_else(|| "Linux".to_owned(), |value| value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_named_as_it_names_itself() {
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_image(""), "Linux");
    }
}
