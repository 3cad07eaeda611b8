//! `/etc/hosts`, `/etc/resolv.conf` and the host name of a pod.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Host names longer than this the kernel refuses.
const MAX_HOSTNAME: usize = 63;
/// The kernel's `nodename` has so many bytes.
const MAX_NODENAME: usize = 64;
/// What libc reads of a resolv.conf, as upstream bounds it.
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCH: usize = 32;

/// The host name inside: `spec.hostname`, else the pod's name.
pub(crate) fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.clone()).filter(|name| !name.is_empty()) {
        return name;
    }
    let name = spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = name.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.truncate(MAX_HOSTNAME);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// `hostname.subdomain.namespace.svc.domain` of a pod that has a subdomain, and no name that stands for all of it.
fn fqdn(pod: &Pod, domain: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.hostname_override.as_deref().is_some_and(|name| !name.is_empty()) {
        return None;
    }
    let subdomain = spec.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{}.{subdomain}.{namespace}.svc.{domain}", hostname(pod)))
}

/// Whether the kernel can have the host name that the pod asks for.
///
/// # Errors
/// In upstream's words, that it is too long.
pub(crate) fn check_hostname(pod: &Pod, domain: &str) -> Result<(), String> {
    let wants = |spec: &&PodSpec| spec.set_hostname_as_fqdn == Some(true) && spec.host_network != Some(true);
    let fqdn = pod.spec.as_ref().filter(wants).and_then(|_| fqdn(pod, domain));
    match fqdn.filter(|fqdn| fqdn.len() > MAX_NODENAME) {
        Some(fqdn) => Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({MAX_NODENAME} characters is \
             the max, {} characters requested)",
            fqdn.len()
        )),
        None => Ok(()),
    }
}

/// What the host name of the sandbox is set to; a pod on the host's network has `host`, the machine's, whatever it asks for.
pub(crate) fn kernel_hostname(pod: &Pod, domain: &str, host: &str) -> String {
    let asks_for = |field: fn(&PodSpec) -> Option<bool>| pod.spec.as_ref().and_then(field).unwrap_or(false);
    if asks_for(|spec| spec.host_network) {
        return host.to_owned();
    }
    let wants_fqdn = asks_for(|spec| spec.set_hostname_as_fqdn);
    fqdn(pod, domain).filter(|_| wants_fqdn).unwrap_or_else(|| hostname(pod))
}

/// The hosts file of a pod; `host_file` is the machine's own, which a pod on the host's network shares.
pub(crate) fn hosts(pod: &Pod, pod_ips: &[IpAddr], domain: &str, host_file: Option<&str>) -> String {
    let mut text = match host_file {
        Some(host_file) => format!("# Kubernetes-managed hosts file (host network).\n{host_file}"),
        None => {
            let mut text = "# Kubernetes-managed hosts file.\n\
                            127.0.0.1\tlocalhost\n\
                            ::1\tlocalhost ip6-localhost ip6-loopback\n\
                            fe00::0\tip6-localnet\n\
                            fe00::0\tip6-mcastprefix\n\
                            fe00::1\tip6-allnodes\n\
                            fe00::2\tip6-allrouters\n"
                .to_owned();
            let name = hostname(pod);
            for ip in pod_ips {
                match fqdn(pod, domain) {
                    Some(fqdn) => text += &format!("{ip}\t{fqdn}\t{name}\n"),
                    None => text += &format!("{ip}\t{name}\n"),
                }
            }
            text
        }
    };
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    let mut has_header = false;
    for alias in aliases {
        if !has_header {
            text += "\n# Entries added by HostAliases.\n";
            has_header = true;
        }
        text += &format!("{}\t{}\n", alias.ip, alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t"));
    }
    text
}

/// The resolver configuration of a pod: the cluster's, the machine's or none, and what `dnsConfig` adds.
pub(crate) fn resolv_conf(spec: &PodSpec, cluster: &str, host: &str) -> String {
    let host_network = spec.host_network.unwrap_or(false);
    let base = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => "",
        "Default" => host,
        "ClusterFirst" if host_network => host,
        _ => cluster,
    };
    let Some(config) = &spec.dns_config else { return base.to_owned() };
    let mut conf = ResolvConf::parse(base);
    for server in config.nameservers.iter().flatten() {
        push_new(&mut conf.nameservers, server.clone());
    }
    for domain in config.searches.iter().flatten() {
        push_new(&mut conf.search, domain.clone());
    }
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        conf.options.retain(|known| known.split(':').next() != Some(name.as_str()));
        conf.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
    }
    conf.to_text()
}

#[derive(Default)]
struct ResolvConf {
    nameservers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

impl ResolvConf {
    fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(ToOwned::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => conf.nameservers.extend(words.next()),
                Some("search") => conf.search = words.collect(),
                Some("options") => conf.options.extend(words),
                _ => {}
            }
        }
        conf
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.search.is_empty() {
            let search: Vec<&str> = self.search.iter().take(MAX_SEARCH).map(String::as_str).collect();
            text += &format!("search {}\n", search.join(" "));
        }
        for server in self.nameservers.iter().take(MAX_NAMESERVERS) {
            text += &format!("nameserver {server}\n");
        }
        if !self.options.is_empty() {
            text += &format!("options {}\n", self.options.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({ "metadata": { "name": "web-0", "namespace": "shop" }, "spec": spec })).unwrap()
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let pod = pod(json!({
            "containers": [], "subdomain": "web", "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }],
        }));
        let text = hosts(&pod, &["10.0.0.5".parse().unwrap()], "cluster.local", None);
        let end: Vec<&str> = text.lines().skip(7).collect();
        assert_eq!(
            end,
            ["10.0.0.5\tweb-0.web.shop.svc.cluster.local\tweb-0", "", "# Entries added by HostAliases.", "1.2.3.4\ta\tb"]
        );
    }

    #[test]
    fn host_names() {
        let check = |spec: serde_json::Value| kernel_hostname(&pod(spec), "cluster.local", "machine");
        assert_eq!(check(json!({ "containers": [] })), "web-0");
        assert_eq!(check(json!({ "containers": [], "hostname": "own", "subdomain": "web" })), "own");
        let fqdn = json!({ "containers": [], "subdomain": "web", "setHostnameAsFQDN": true });
        assert_eq!(check(fqdn.clone()), "web-0.web.shop.svc.cluster.local");
        for mut spec in [json!({ "containers": [], "hostname": "own" }), fqdn] {
            spec["hostNetwork"] = true.into();
            assert_eq!(check(spec), "machine");
        }
    }

    #[test]
    fn a_name_of_its_own_has_no_domain() {
        let pod = pod(json!({ "containers": [], "subdomain": "web", "hostnameOverride": "own.name" }));
        let text = hosts(&pod, &["10.0.0.5".parse().unwrap()], "cluster.local", None);
        assert_eq!(text.lines().last(), Some("10.0.0.5\town.name"));
    }

    #[test]
    fn resolvers_by_policy() {
        let cluster = "search shop.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        let check = |spec: serde_json::Value| resolv_conf(&pod(spec).spec.unwrap(), cluster, "nameserver 9.9.9.9\n");
        assert_eq!(check(json!({ "containers": [] })), cluster);
        assert_eq!(check(json!({ "containers": [], "hostNetwork": true })), "nameserver 9.9.9.9\n");
        assert_eq!(check(json!({ "containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet" })), cluster);
        let own = json!({ "nameservers": ["1.1.1.1"], "searches": ["x"], "options": [{ "name": "ndots", "value": "2" }] });
        assert_eq!(
            check(json!({ "containers": [], "dnsConfig": own })),
            "search shop.svc.cluster.local x\nnameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2\n"
        );
        assert_eq!(
            check(json!({ "containers": [], "dnsPolicy": "None", "dnsConfig": own })),
            "search x\nnameserver 1.1.1.1\noptions ndots:2\n"
        );
    }
}
