//! Addresses and node ports of Services: asked for or allotted, kept while the Service has them, given back after.

use std::{
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value, json};
use windlass_api::{
    kind,
    status::Status,
    validation::{Cause, FieldError},
};

use crate::{
    allocate::{
        families::{self, has_address, is_headless, text},
        pool::{Pool, Refused},
    },
    metadata,
    options::{Cidr, Random},
    registry::Registry,
};

/// The allocator. The store holds the truth; this is rebuilt from it at every start.
#[derive(Debug)]
pub(crate) struct Services {
    /// Held only for the moment of taking or giving back, never across a write.
    pool: Mutex<Pool>,
}

/// What a write took and may still have to give back: dropped without [`Reservation::keep`], it undoes itself.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    services: Option<&'a Services>,
    owner: String,
    taken: Held,
    surplus: Held,
}

/// Addresses and ports of one Service.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Held {
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
}

impl Reservation<'_> {
    /// Holds nothing.
    pub(crate) fn nothing() -> Self {
        Self { services: None, owner: String::new(), taken: Held::default(), surplus: Held::default() }
    }

    /// The write went through: what is new stays taken, and what the Service no longer has goes back.
    pub(crate) fn keep(mut self) {
        self.taken = std::mem::take(&mut self.surplus);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(services) = self.services {
            services.release(&self.taken, &self.owner);
        }
    }
}

impl Services {
    pub(crate) fn new(cidr: Cidr, node_ports: RangeInclusive<u16>) -> Self {
        Self { pool: Mutex::new(Pool::new(cidr, node_ports)) }
    }

    /// Where all addresses are from.
    pub(crate) fn range(&self) -> Cidr {
        self.lock().cidr()
    }

    /// The address of the `kubernetes` Service.
    pub(crate) fn first_address(&self) -> Ipv4Addr {
        self.range().nth(1)
    }

    /// Takes up what the Services in the store hold.
    pub(crate) async fn restore(&self, registry: &Registry) -> Result<(), Status> {
        let Some(kind) = kind::find("", "v1", "services") else { return Ok(()) };
        for service in registry.all(kind, "").await? {
            let (owner, held) = (owner(&service), held(&service));
            let mut pool = self.lock();
            for address in held.addresses {
                if let Err(refused) = pool.take_address(address, &owner) {
                    tracing::warn!(service = owner, %address, ?refused, "address of a service cannot be taken up");
                }
            }
            for port in held.ports {
                if let Err(refused) = pool.take_port(port, &owner) {
                    tracing::warn!(service = owner, port, ?refused, "node port of a service cannot be taken up");
                }
            }
        }
        // Kept for the Service that every cluster has, even while it is being made.
        let first = self.first_address();
        let _ = self.lock().take_address(first, "default/kubernetes");
        Ok(())
    }

    /// Gives back what a Service had that is gone.
    pub(crate) fn released(&self, service: &Value) {
        self.release(&held(service), &owner(service));
    }

    /// Fills in the addresses and ports of a Service; `old` is what it was.
    ///
    /// # Errors
    /// 422 when it asks for what it cannot have, 500 when nothing is left.
    pub(crate) fn assign(&self, new: &mut Value, old: Option<&Value>, random: &dyn Random) -> Result<Reservation<'_>, Status> {
        let name = metadata::text(new, "name").to_owned();
        let mut reservation =
            Reservation { services: Some(self), owner: owner(new), taken: Held::default(), surplus: Held::default() };
        let before = old.and_then(|old| old["spec"].as_object());
        let Some(spec) = new["spec"].as_object_mut() else { return Ok(reservation) };
        families::align(spec, before);
        if let Some(before) = before {
            carry_over(spec, before);
        }
        families::default_families(spec);
        let invalid = |error: FieldError| Status::invalid("", "Service", &name, &[error]);
        let mut pool = self.lock();
        // The reservation's own drop takes the lock: on an error the guard must go first.
        let outcome = assign_address(&mut pool, spec, &mut reservation, random)
            .and_then(|()| assign_ports(&mut pool, spec, &mut reservation, random))
            .and_then(|()| assign_health_check(&mut pool, spec, &mut reservation, random));
        drop(pool);
        outcome.map_err(invalid)?;
        if let Some(old) = old {
            let (had, has) = (held(old), held(new));
            reservation.surplus.addresses = had.addresses.into_iter().filter(|own| !has.addresses.contains(own)).collect();
            reservation.surplus.ports = had.ports.into_iter().filter(|own| !has.ports.contains(own)).collect();
        }
        Ok(reservation)
    }

    fn release(&self, held: &Held, owner: &str) {
        let mut pool = self.lock();
        for address in &held.addresses {
            pool.release_address(*address, owner);
        }
        for port in &held.ports {
            pool.release_port(*port, owner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn assign_address(
    pool: &mut Pool,
    spec: &mut Map<String, Value>,
    reservation: &mut Reservation<'_>,
    random: &dyn Random,
) -> Result<(), FieldError> {
    if !has_address(spec) || is_headless(spec) {
        return Ok(());
    }
    let error = |value: Value, detail: String| FieldError {
        cause: Cause::Invalid,
        field: "spec.clusterIPs".to_owned(),
        bad_value: value,
        detail,
    };
    let asked = text(spec, "clusterIP").to_owned();
    if asked.is_empty() {
        let full = |_| error(json!([]), "failed to allocate a serviceIP: range is full".to_owned());
        let address = pool.next_address(&reservation.owner, random).map_err(full)?;
        reservation.taken.addresses.push(address);
        spec.insert("clusterIP".to_owned(), address.to_string().into());
        spec.insert("clusterIPs".to_owned(), json!([address.to_string()]));
        return Ok(());
    }
    // Validation has said what it thinks of an address that is none.
    let Ok(address) = asked.parse::<Ipv4Addr>() else { return Ok(()) };
    let cidr = pool.cidr();
    match pool.take_address(address, &reservation.owner) {
        Ok(fresh) => reservation.taken.addresses.extend(fresh.then_some(address)),
        Err(refused) => {
            let why = match refused {
                Refused::OutOfRange => format!(
                    "the provided network does not match the current range, or the provided IP is not in the valid range. The range of valid IPs is {cidr}"
                ),
                Refused::Taken | Refused::Full => "provided IP is already allocated".to_owned(),
            };
            let value = spec.get("clusterIPs").cloned().unwrap_or_else(|| json!([asked]));
            return Err(error(value, format!("failed to allocate IP {address}: {why}")));
        }
    }
    Ok(())
}

fn assign_ports(
    pool: &mut Pool,
    spec: &mut Map<String, Value>,
    reservation: &mut Reservation<'_>,
    random: &dyn Random,
) -> Result<(), FieldError> {
    if !needs_node_ports(spec) {
        return Ok(());
    }
    let allots = text(spec, "type") != "LoadBalancer" || spec.get("allocateLoadBalancerNodePorts") != Some(&json!(false));
    let range = pool.node_ports().clone();
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return Ok(()) };
    let mut own: Vec<(u16, String)> = Vec::new();
    // First those that are asked for, so that none is allotted to a neighbour meanwhile.
    for (index, port) in ports.iter().enumerate() {
        let Some(asked) = node_port(port) else { continue };
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
        let error = |detail: String| FieldError {
            cause: Cause::Invalid,
            field: format!("spec.ports[{index}].nodePort"),
            bad_value: asked.into(),
            detail,
        };
        let twice = own.iter().any(|(port, with)| *port == asked && *with == protocol);
        match pool.take_port(asked, &reservation.owner) {
            Ok(_) if twice => return Err(error("provided port is already allocated".to_owned())),
            Ok(fresh) => reservation.taken.ports.extend(fresh.then_some(asked)),
            Err(Refused::OutOfRange) => {
                let (first, last) = (range.start(), range.end());
                return Err(error(format!(
                    "provided port is not in the valid range. The range of valid ports is {first}-{last}"
                )));
            }
            Err(_) => return Err(error("provided port is already allocated".to_owned())),
        }
        own.push((asked, protocol));
    }
    if !allots {
        return Ok(());
    }
    for port in ports.iter_mut().filter(|port| node_port(port).is_none()) {
        let full = |_| FieldError {
            cause: Cause::Invalid,
            field: "spec.ports".to_owned(),
            bad_value: Value::Null,
            detail: "failed to allocate a nodePort: range is full".to_owned(),
        };
        let free = pool.next_port(&reservation.owner, random).map_err(full)?;
        reservation.taken.ports.push(free);
        port["nodePort"] = free.into();
    }
    Ok(())
}

/// A load balancer that keeps to its own node asks each node whether it has pods, through a port of its own.
fn assign_health_check(
    pool: &mut Pool,
    spec: &mut Map<String, Value>,
    reservation: &mut Reservation<'_>,
    random: &dyn Random,
) -> Result<(), FieldError> {
    if text(spec, "type") != "LoadBalancer" || text(spec, "externalTrafficPolicy") != "Local" {
        return Ok(());
    }
    let error = |bad_value: Value, detail: &str| FieldError {
        cause: Cause::Invalid,
        field: "spec.healthCheckNodePort".to_owned(),
        bad_value,
        detail: detail.to_owned(),
    };
    let asked = spec.get("healthCheckNodePort").and_then(Value::as_u64).filter(|port| *port > 0);
    let Some(asked) = asked else {
        let full = |_| error(Value::Null, "failed to allocate a HealthCheck NodePort: range is full");
        let free = pool.next_port(&reservation.owner, random).map_err(full)?;
        reservation.taken.ports.push(free);
        spec.insert("healthCheckNodePort".to_owned(), free.into());
        return Ok(());
    };
    // Validation refuses what is no port at all.
    let Ok(port) = u16::try_from(asked) else { return Ok(()) };
    let fresh = pool.take_port(port, &reservation.owner).map_err(|_| error(port.into(), "provided port is already allocated"))?;
    reservation.taken.ports.extend(fresh.then_some(port));
    Ok(())
}

fn needs_node_ports(spec: &Map<String, Value>) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// A client that updates a Service need not repeat what it was allotted; `(new, old)`.
fn carry_over(spec: &mut Map<String, Value>, old: &Map<String, Value>) {
    if has_address(spec) && has_address(old) && text(spec, "clusterIP").is_empty() {
        for key in ["clusterIP", "clusterIPs"] {
            if let Some(value) = old.get(key) {
                spec.insert(key.to_owned(), value.clone());
            }
        }
    }
    let old_ports = old.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (needs_node_ports(old), needs_node_ports(spec));
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let named: Vec<u16> = ports.iter().filter_map(node_port).collect();
    for port in ports.iter_mut() {
        let twin = old_ports.iter().find(|old| old["name"] == port["name"]);
        let allotted = twin.and_then(node_port);
        if before && after && node_port(port).is_none() {
            if let Some(allotted) = allotted.filter(|allotted| !named.contains(allotted)) {
                port["nodePort"] = allotted.into();
            }
        } else if before && !after && node_port(port) == allotted {
            // The type no longer has node ports: a client that repeats them does not mean to keep them.
            if let Some(fields) = port.as_object_mut() {
                fields.remove("nodePort");
            }
        }
    }
}

fn owner(service: &Value) -> String {
    format!("{}/{}", metadata::text(service, "namespace"), metadata::text(service, "name"))
}

fn held(service: &Value) -> Held {
    let spec = &service["spec"];
    let addresses = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let health_check = spec["healthCheckNodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let ports = spec["ports"].as_array().into_iter().flatten().filter_map(node_port);
    let ports = ports.chain(health_check.filter(|port| *port > 0));
    Held { addresses: addresses.filter_map(|text| text.parse().ok()).collect(), ports: ports.collect() }
}
