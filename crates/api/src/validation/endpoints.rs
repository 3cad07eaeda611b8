//! Rules of Endpoints and EndpointSlice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::errors::Errors;
use super::field::Field;
use super::{address, format, metadata};

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// So that a slice stays small enough to be sent to every node on every change.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

pub(super) fn endpoints(endpoints: &Field<'_>, errors: &mut Errors) {
    for subset in endpoints.get("subsets").items() {
        let (ready, not_ready, ports) = (subset.get("addresses"), subset.get("notReadyAddresses"), subset.get("ports"));
        if ready.is_empty() && not_ready.is_empty() {
            errors.required(&subset, "must specify `addresses` or `notReadyAddresses`");
        }
        for address in ready.items().chain(not_ready.items()) {
            endpoint_address(&address, errors);
        }
        for port in ports.items() {
            let name = port.get("name");
            if ports.len() > 1 && name.text().is_empty() {
                errors.required(&name, "");
            }
            errors.optional_format(&name, format::dns1123_label);
            errors.in_range(&port.get("port"), 1, 65535);
            errors.required_one_of(&port.get("protocol"), PROTOCOLS);
            if port.has("appProtocol") {
                errors.format(&port.get("appProtocol"), format::qualified_name);
            }
        }
    }
}

fn endpoint_address(endpoint: &Field<'_>, errors: &mut Errors) {
    let (ip, node) = (endpoint.get("ip"), endpoint.get("nodeName"));
    address::valid_ip(&ip, errors);
    errors.optional_format(&endpoint.get("hostname"), format::dns1123_label);
    if node.is_set() {
        errors.format(&node, format::dns1123_subdomain);
    }
    address::not_special(&ip, errors);
}

pub(super) fn endpoint_slice(slice: &Field<'_>, errors: &mut Errors) {
    errors.required_one_of(&slice.get("addressType"), &["FQDN", "IPv4", "IPv6"]);
    slice_content(slice, errors);
}

pub(super) fn endpoint_slice_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    errors.required_one_of(&new.get("addressType"), &["FQDN", "IP", "IPv4", "IPv6"]);
    slice_content(new, errors);
    errors.immutable_text(&new.get("addressType"), &old.get("addressType"));
}

fn slice_content(slice: &Field<'_>, errors: &mut Errors) {
    let (endpoints, ports) = (slice.get("endpoints"), slice.get("ports"));
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&endpoints, ENDPOINTS_MAX);
    } else {
        for endpoint in endpoints.items() {
            slice_endpoint(&endpoint, slice.get("addressType").text(), errors);
        }
    }
    if ports.len() > PORTS_MAX { errors.too_many(&ports, PORTS_MAX) } else { slice_ports(&ports, errors) }
}

fn slice_endpoint(endpoint: &Field<'_>, kind: &str, errors: &mut Errors) {
    let addresses = endpoint.get("addresses");
    if addresses.is_empty() {
        errors.required(&addresses, "must contain at least 1 address");
    } else if addresses.len() > ADDRESSES_MAX {
        errors.too_many(&addresses, ADDRESSES_MAX);
    }
    for address in addresses.items() {
        slice_address(&address, kind, errors);
    }
    if endpoint.has("nodeName") {
        errors.format(&endpoint.get("nodeName"), format::dns1123_subdomain);
    }
    let topology = endpoint.get("deprecatedTopology");
    if topology.len() > TOPOLOGY_MAX {
        errors.too_many(&topology, TOPOLOGY_MAX);
    }
    metadata::labels(&topology, errors);
    if endpoint.has("hostname") {
        errors.format(&endpoint.get("hostname"), format::dns1123_label);
    }
    let zones = endpoint.get("hints").get("forZones");
    if zones.len() > HINTS_MAX {
        errors.too_many(&zones, HINTS_MAX);
    }
    let mut names = BTreeSet::new();
    for zone in zones.items() {
        let name = zone.get("name");
        if !names.insert(name.text()) {
            errors.duplicate(&name);
        }
        errors.format(&name, format::label_value);
    }
}

fn slice_address(field: &Field<'_>, kind: &str, errors: &mut Errors) {
    let parsed = address::parse(field.text());
    match kind {
        "IPv4" | "IPv6" => {
            let fits = parsed.is_some_and(|ip| ip.is_ipv4() == (kind == "IPv4"));
            if !fits {
                errors.invalid_as(field.path(), field.text(), format!("must be a valid {kind} address"));
            }
            address::not_special(field, errors);
        }
        "IP" => address::valid_ip(field, errors),
        "FQDN" => domain_name(field, errors),
        _ => {}
    }
}

fn domain_name(field: &Field<'_>, errors: &mut Errors) {
    let name = field.text().strip_suffix('.').unwrap_or(field.text());
    let wrong = format::dns1123_subdomain(name);
    if field.text().is_empty() {
        errors.required(field, "");
    } else if !wrong.is_empty() {
        errors.invalid_as(field.path(), name, wrong.join(","));
    } else if !name.contains('.') {
        errors.invalid_as(field.path(), name, "should be a domain with at least two segments separated by dots");
    }
}

fn slice_ports(ports: &Field<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for port in ports.items() {
        let (name, protocol) = (port.get("name"), port.get("protocol"));
        errors.optional_format(&name, format::dns1123_label);
        if !names.insert(name.text()) {
            errors.duplicate_as(name.path(), name.text(), "");
        }
        if protocol.value() == &Value::Null {
            errors.required(&protocol, "");
        } else {
            errors.one_of(&protocol, PROTOCOLS);
        }
        if port.has("appProtocol") {
            errors.format(&port.get("appProtocol"), format::qualified_name);
        }
    }
}
