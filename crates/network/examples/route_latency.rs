//! How long it takes from an endpoint that is ready, or on its way out, to the kernel's rules, with a thousand Services.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    fs::File,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use windlass_network::{Addresses, Machine, proxy::Proxy};

const SERVICES: u32 = 1000;
const ENDPOINTS: u8 = 3;
const CHANGES: u32 = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let machine = Machine::enter(&File::open("/proc/thread-self/ns/net")?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut proxy = runtime.block_on(Proxy::open(&machine, None, Addresses::default(), "here"))?;
    for index in 0..SERVICES {
        let address = Ipv4Addr::from_bits(0x0a60_1000 + index);
        let service = json!({
            "metadata": { "namespace": "bench", "name": format!("service-{index}") },
            "spec": { "clusterIP": address, "ports": [{ "port": 80 }] },
        });
        proxy.service(Arc::new(serde_json::from_value(service)?));
        proxy.slice(Arc::new(serde_json::from_value(slice(index, ENDPOINTS))?));
    }
    let start = Instant::now();
    proxy.settle(Timestamp::UNIX_EPOCH)?;
    println!("{SERVICES} Services at once: {:.1?}", start.elapsed());
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let slice = serde_json::from_value(slice(change * 7 % SERVICES, ENDPOINTS + 1 - u8::try_from(change / SERVICES % 2)?))?;
        let start = Instant::now();
        proxy.slice(Arc::new(slice));
        proxy.settle(Timestamp::UNIX_EPOCH)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| -> Duration { times[(times.len() - 1) * share / 1000] };
    let [median, p99, longest] = [500, 990, 1000].map(|share| at(share).as_secs_f64() * 1e3);
    println!("one change: median {median:.3} ms, p99 {p99:.3} ms, longest {longest:.3} ms");
    Ok(())
}

fn slice(index: u32, endpoints: u8) -> serde_json::Value {
    let endpoint = |number: u8| json!({ "addresses": [Ipv4Addr::new(10, 244, 0, number + 2)], "conditions": { "ready": true } });
    json!({
        "metadata": {
            "namespace": "bench",
            "name": format!("service-{index}-1"),
            "labels": { "kubernetes.io/service-name": format!("service-{index}") },
        },
        "addressType": "IPv4",
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "port": 8080, "protocol": "TCP" }],
    })
}
