//! Kernel settings of the machine's network namespace.

use std::{fs, io, path::Path};

use tracing::warn;

/// Below `/proc/sys/net`, and why.
const SETTINGS: &[(&str, &str)] = &[
    // Pods reach each other, and Services, through the machine.
    ("ipv4/ip_forward", "1"),
    // The source of a pod's packet is checked against its own route; strict or not comes from the host's defaults otherwise.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // Two pods are never on one wire: telling one to send to the other directly would be wrong.
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    // Ports of the node answer on 127.0.0.1, too, and what is sent there goes on to a pod.
    ("ipv4/conf/all/route_localnet", "1"),
    // Every relayed connection leaves from the machine's one address: 64,511 ports to each Service instead of 28,232,
    // and a port is free again before its minute in TIME_WAIT is over.
    ("ipv4/ip_local_port_range", "1024 65535"),
    ("ipv4/tcp_tw_reuse", "1"),
    // As kube-proxy: a client that is done sending may wait an hour for its answer, not a minute.
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
    // The kernel looks for a packet's connection before it has translated its source back, so it may take it for one between the same
    // port and the pod itself; and what belongs to a connection of its own it does not send on, not even the way round of `parting`.
    ("ipv4/tcp_early_demux", "0"),
    // A packet that the kernel finds out of place would come untranslated to a client that knows nothing of its sender, and be answered
    // with a reset. Who is to judge it is the other end.
    ("netfilter/nf_conntrack_tcp_be_liberal", "1"),
];

/// Only without this setting would nothing work.
const REQUIRED: &str = "ipv4/ip_forward";

/// Applies all settings to the namespace of the calling thread, whose own files `/proc/sys/net` shows.
pub(super) fn apply() -> io::Result<()> {
    for (name, value) in SETTINGS {
        match fs::write(Path::new("/proc/sys/net").join(name), value) {
            Err(error) if *name == REQUIRED => {
                return Err(io::Error::new(error.kind(), format!("/proc/sys/net/{name} cannot be written: {error}")));
            }
            Err(error) => warn!(setting = name, %error, "the kernel keeps its own value"),
            Ok(()) => {}
        }
    }
    Ok(())
}
