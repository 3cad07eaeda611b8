//! What leads a pod onto its host: namespaces, ports, privileges, and hosts that its kubelet would ask for it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, pod::name, words};

/// None of the host's namespaces may be shared.
pub(super) fn namespaces(pod: Pod<'_>) -> Option<Violation> {
    let shared: Vec<&str> = ["hostIPC", "hostNetwork", "hostPID"].into_iter().filter(|field| pod.spec[*field] == true).collect();
    (!shared.is_empty()).then(|| Violation { reason: "host namespaces", detail: shared.join(", ") })
}

/// No container may be privileged.
pub(super) fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.names(|container| container["securityContext"]["privileged"] == true);
    let detail = format!("{} must not set securityContext.privileged=true", words::setters(false, &names)?);
    Some(Violation { reason: "privileged", detail })
}

/// Nothing of Windows may run as the host's own.
pub(super) fn windows_processes(pod: Pod<'_>) -> Option<Violation> {
    let sets = |holder: &Value| holder["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let who = words::setters(sets(pod.spec), &pod.names(|container| sets(container)))?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}

/// No port of the host may be taken.
pub(super) fn ports(pod: Pod<'_>) -> Option<Violation> {
    let found = |container: &Value| -> Vec<String> {
        let ports = container["ports"].as_array().into_iter().flatten().filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let (names, ports) = collect(pod, found);
    let who = words::setters(false, &names)?;
    let (uses, noun) = (words::plural(names.len(), "uses", "use"), words::plural(ports.len(), "hostPort", "hostPorts"));
    let ports: Vec<String> = ports.into_iter().collect();
    Some(Violation { reason: "hostPort", detail: format!("{who} {uses} {noun} {}", ports.join(", ")) })
}

/// Probes and hooks go to the pod itself, and to nobody else.
pub(super) fn probes(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "probe or lifecycle host";
    let found = |container: &Value| -> Vec<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
        let actions = probes.into_iter().chain(hooks).flat_map(|handler| [&handler["httpGet"], &handler["tcpSocket"]]);
        let hosts = actions.filter_map(|action| action["host"].as_str());
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let (names, hosts) = collect(pod, found);
    // Here upstream sorts containers by name.
    let names: Vec<&str> = names.into_iter().collect::<BTreeSet<&str>>().into_iter().collect();
    let who = words::setters(false, &names)?;
    let (uses, noun) =
        (words::plural(names.len(), "uses", "use"), words::plural(hosts.len(), REASON, "probe or lifecycle hosts"));
    Some(Violation { reason: REASON, detail: format!("{who} {uses} {noun} {}", words::list(hosts)) })
}

/// The containers in which something is found, and all that is found.
fn collect<'a>(pod: Pod<'a>, find: impl Fn(&'a Value) -> Vec<String>) -> (Vec<&'a str>, BTreeSet<String>) {
    let (mut names, mut all) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let found = find(container);
        if !found.is_empty() {
            names.push(name(container));
            all.extend(found);
        }
    }
    (names, all)
}
