//! Quantities, quality of service, and what of them the kernel is told.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use windlass_api::quantity;

/// Quality of service: what goes first when memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Every container has limits for both resources, and requests as much.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl Qos {
    /// As `status.qosClass` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

const RESOURCES: [&str; 2] = ["cpu", "memory"];
/// Of a CPU, as cgroup v1 counts.
const SHARES_PER_CPU: i64 = 1024;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
/// Microseconds; the kernel's default.
const CPU_PERIOD: i64 = 100_000;
/// Below a millisecond a period the kernel refuses.
const MIN_CPU_QUOTA: i64 = 1_000;

/// Thousandths of `quantity`, rounded up; `None` when it cannot be read.
pub fn milli(quantity: &Quantity) -> Option<i64> {
    quantity.0.parse::<quantity::Quantity>().ok().map(quantity::Quantity::millis)
}

/// Whole units of `quantity`, rounded up: bytes, or CPUs.
pub fn units(quantity: &Quantity) -> Option<i64> {
    quantity.0.parse::<quantity::Quantity>().ok().map(quantity::Quantity::units)
}

type List = BTreeMap<String, Quantity>;

fn positive<'a>(list: Option<&'a List>, resource: &str) -> Option<&'a Quantity> {
    list?.get(resource).filter(|quantity| milli(quantity).is_some_and(|milli| milli > 0))
}

fn limit<'a>(of: Option<&'a ResourceRequirements>, resource: &str) -> Option<&'a Quantity> {
    positive(of?.limits.as_ref(), resource)
}

/// What is requested; what is limited and not mentioned among the requests counts as requested.
fn request<'a>(of: Option<&'a ResourceRequirements>, resource: &str) -> Option<&'a Quantity> {
    if is_requested(of, resource) { positive(of?.requests.as_ref(), resource) } else { limit(of, resource) }
}

/// Whether it is mentioned among the requests, be it with zero.
fn is_requested(of: Option<&ResourceRequirements>, resource: &str) -> bool {
    of.and_then(|of| of.requests.as_ref()).is_some_and(|requests| requests.contains_key(resource))
}

/// Quality of service of a pod: by what it asks for as a whole, where it says that, and else by its containers (init containers too).
///
/// The same rule as `windlass_api::pod::qos_class`, which is for pods as JSON.
pub fn qos(spec: &PodSpec) -> Qos {
    let asking: Vec<Option<&ResourceRequirements>> = match &spec.resources {
        Some(whole) => vec![Some(whole)],
        None => spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|each| each.resources.as_ref()).collect(),
    };
    let asks = |of: Option<&ResourceRequirements>, resource: &str| request(of, resource).or(limit(of, resource)).is_some();
    if !asking.iter().any(|of| RESOURCES.iter().any(|resource| asks(*of, resource))) {
        return Qos::BestEffort;
    }
    let guaranteed = |of: Option<&ResourceRequirements>, resource: &str| match (limit(of, resource), request(of, resource)) {
        (Some(limit), Some(request)) => milli(limit) == milli(request),
        _ => false,
    };
    if asking.iter().all(|of| RESOURCES.iter().all(|resource| guaranteed(*of, resource))) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// What the kernel is told of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// `cpu.shares` of cgroup v1; 0: as they are.
    pub cpu_shares: i64,
    /// Microseconds of CPU a period; 0: no limit.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Bytes; 0: no limit.
    pub memory_limit: i64,
    /// Who is killed first: 1000 before anybody, -997 after everybody.
    pub oom_score_adj: i64,
}

/// Kernel settings of `container` on a machine with `memory_bytes`. What it does not limit, its pod may limit for all together.
pub fn kernel(spec: &PodSpec, container: &Container, memory_bytes: i64) -> Kernel {
    let (own, whole) = (container.resources.as_ref(), spec.resources.as_ref());
    let limit = |resource| limit(own, resource).or_else(|| limit(whole, resource));
    let cpu_limit = limit("cpu").and_then(milli).unwrap_or(0);
    let cpu_request = request(own, "cpu").and_then(milli).unwrap_or(if is_requested(own, "cpu") { 0 } else { cpu_limit });
    let oom_score_adj = match qos(spec) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = requested_memory(own) + shared_memory(spec);
            // The more of the machine it asked for, the later it goes; always between the two other classes.
            let adjust = 1000 - i64::try_from(i128::from(requested) * 1000 / i128::from(memory_bytes.max(1))).unwrap_or(1000);
            adjust.clamp(3, 999)
        }
    };
    Kernel {
        cpu_shares: (cpu_request * SHARES_PER_CPU / 1000).clamp(MIN_SHARES, MAX_SHARES),
        cpu_quota: quota(cpu_limit),
        cpu_period: CPU_PERIOD,
        memory_limit: limit("memory").and_then(units).unwrap_or(0),
        oom_score_adj,
    }
}

/// Limits that the containers of a pod have together, beside those of each; its overhead comes on top.
pub fn together(spec: &PodSpec) -> Option<Kernel> {
    let whole = spec.resources.as_ref();
    if RESOURCES.iter().all(|resource| limit(whole, resource).is_none()) {
        return None;
    }
    let limited = |resource, read: fn(&Quantity) -> Option<i64>| {
        let overhead = positive(spec.overhead.as_ref(), resource).and_then(read).unwrap_or(0);
        limit(whole, resource).and_then(read).map_or(0, |limit| limit.saturating_add(overhead))
    };
    Some(Kernel {
        cpu_shares: 0,
        cpu_quota: quota(limited("cpu", milli)),
        cpu_period: CPU_PERIOD,
        memory_limit: limited("memory", units),
        oom_score_adj: 0,
    })
}

/// Microseconds a period, for thousandths of a CPU.
fn quota(cpu_limit: i64) -> i64 {
    if cpu_limit == 0 { 0 } else { (cpu_limit * CPU_PERIOD / 1000).max(MIN_CPU_QUOTA) }
}

fn requested_memory(of: Option<&ResourceRequirements>) -> i64 {
    request(of, "memory").and_then(units).unwrap_or(0)
}

/// A container's part of the memory that its pod requests beyond what its containers do.
fn shared_memory(spec: &PodSpec) -> i64 {
    let of_containers: i64 = spec.containers.iter().map(|container| requested_memory(container.resources.as_ref())).sum();
    let beyond = (requested_memory(spec.resources.as_ref()) - of_containers).max(0);
    beyond / i64::try_from(spec.containers.len()).unwrap_or(i64::MAX).max(1)
}

/// Cgroup of a pod below the machine's root cgroup.
pub fn cgroup(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match pod.spec.as_ref().map_or(Qos::BestEffort, qos) {
        Qos::Guaranteed => format!("kubepods/pod{uid}"),
        Qos::Burstable => format!("kubepods/burstable/pod{uid}"),
        Qos::BestEffort => format!("kubepods/besteffort/pod{uid}"),
    }
}

/// The value of a `resourceFieldRef`; a limit that is not set is what the machine has.
pub fn field(
    resource: &str,
    divisor: Option<&Quantity>,
    of: Option<&ResourceRequirements>,
    allocatable: &List,
) -> Option<String> {
    let (list, name) = resource.split_once('.')?;
    let set = match list {
        "limits" => of.and_then(|of| of.limits.as_ref()?.get(name)).or_else(|| allocatable.get(name)),
        "requests" => of.and_then(|of| of.requests.as_ref()?.get(name).or_else(|| of.limits.as_ref()?.get(name))),
        _ => return None,
    };
    let value = set.map_or(Some(0), milli)?;
    let divisor = divisor.and_then(milli).filter(|divisor| *divisor > 0).unwrap_or(1000);
    Some((value / divisor + i64::from(value % divisor > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(resources: &serde_json::Value) -> PodSpec {
        serde_json::from_value(json!({ "containers": [{ "name": "web", "resources": resources }] })).unwrap()
    }

    #[test]
    fn quantities_in_thousandths() {
        for (text, expected) in [
            ("100m", Some(100)),
            ("0.1", Some(100)),
            ("2", Some(2000)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("1e3", Some(1_000_000)),
            ("1k", Some(1_000_000)),
            ("100n", Some(1)),
            ("x", None),
        ] {
            assert_eq!(milli(&Quantity(text.into())), expected, "{text}");
        }
    }

    #[test]
    fn quality_of_service_and_kernel_settings() {
        let check = |resources| {
            let spec = spec(&resources);
            let kernel = kernel(&spec, &spec.containers[0], 1 << 30);
            let text = format!("{} {} {}", kernel.cpu_shares, kernel.cpu_quota, kernel.memory_limit);
            (qos(&spec).name(), text, kernel.oom_score_adj)
        };
        assert_eq!(check(json!({})), ("BestEffort", "2 0 0".into(), 1000));
        assert_eq!(check(json!({ "requests": { "cpu": "250m", "memory": "512Mi" } })), ("Burstable", "256 0 0".into(), 500));
        let limits = json!({ "cpu": "500m", "memory": "64Mi" });
        assert_eq!(check(json!({ "limits": limits })), ("Guaranteed", "512 50000 67108864".into(), -997));
    }

    #[test]
    fn what_the_pod_asks_for_as_a_whole_decides() {
        let check = |whole| {
            let container = json!({ "name": "web", "resources": { "requests": { "cpu": "100m" } } });
            let spec: PodSpec =
                serde_json::from_value(json!({ "resources": whole, "containers": [container, { "name": "x" }] })).unwrap();
            let kernel = kernel(&spec, &spec.containers[0], 1 << 30);
            let text = format!("{} {} {}", kernel.cpu_shares, kernel.cpu_quota, kernel.memory_limit);
            (qos(&spec).name(), text, kernel.oom_score_adj)
        };
        let both = json!({ "cpu": "500m", "memory": "512Mi" });
        assert_eq!(check(json!({ "requests": both, "limits": both })), ("Guaranteed", "102 50000 536870912".into(), -997));
        assert_eq!(check(json!({ "requests": both })), ("Burstable", "102 0 0".into(), 750));
        assert_eq!(check(json!({})), ("BestEffort", "102 0 0".into(), 1000));
    }

    #[test]
    fn a_pod_is_limited_as_a_whole_where_it_says_so() {
        let limits = |spec| {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            together(&spec).map(|kernel| (kernel.cpu_quota, kernel.memory_limit))
        };
        let memory = json!({ "limits": { "memory": "64Mi" }, "requests": { "cpu": "1" } });
        assert_eq!(limits(json!({ "containers": [{ "name": "a", "resources": memory }] })), None);
        assert_eq!(limits(json!({ "containers": [], "resources": memory })), Some((0, 64 << 20)));
        let overhead = json!({ "cpu": "250m", "memory": "16Mi" });
        assert_eq!(limits(json!({ "containers": [], "overhead": overhead, "resources": memory })), Some((0, 80 << 20)));
        assert_eq!(limits(json!({ "containers": [], "overhead": overhead })), None);
        assert_eq!(limits(json!({ "containers": [], "resources": { "limits": { "cpu": "1500m" } } })), Some((150_000, 0)));
    }

    #[test]
    fn a_request_of_zero_is_no_request() {
        let limits = json!({ "cpu": "500m", "memory": "64Mi" });
        let spec = spec(&json!({ "limits": limits, "requests": { "cpu": "0", "memory": "64Mi" } }));
        assert_eq!(qos(&spec), Qos::Burstable);
        assert_eq!(kernel(&spec, &spec.containers[0], 1 << 30).cpu_shares, 2);
    }

    #[test]
    fn resource_fields_round_up() {
        let spec = spec(&json!({ "limits": { "cpu": "1500m" }, "requests": { "memory": "100Mi" } }));
        let of = spec.containers[0].resources.as_ref();
        let machine: List = [("memory".to_owned(), Quantity("1Gi".into()))].into();
        let get = |resource: &str, divisor: &str| field(resource, Some(&Quantity(divisor.into())), of, &machine).unwrap();
        assert_eq!(get("limits.cpu", "0"), "2");
        assert_eq!(get("limits.cpu", "1m"), "1500");
        assert_eq!(get("limits.memory", "1Mi"), "1024");
        assert_eq!(get("requests.memory", "1"), "104857600");
    }
}
