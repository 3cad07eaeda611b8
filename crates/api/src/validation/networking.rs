//! Rules of ingresses and network policies.

use super::errors::Errors;
use super::field::Field;
use super::format;
use super::selector::label_selector;

pub(super) fn ingress(ingress: &Field<'_>, errors: &mut Errors) {
    let spec = ingress.get("spec");
    let (rules, backend) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !backend.is_set() {
        errors.invalid_as(spec.path(), spec.value().clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if backend.is_set() {
        self::backend(&backend, errors);
    }
    for rule in rules.items() {
        host(&rule.get("host"), errors);
        let http = rule.get("http");
        let paths = http.get("paths");
        if http.is_set() && paths.is_empty() {
            errors.required(&paths, "");
        }
        paths.items().for_each(|path| self::path(&path, errors));
    }
    for tls in spec.get("tls").items() {
        tls.get("hosts").items().for_each(|name| host(&name, errors));
        errors.optional_format(&tls.get("secretName"), format::dns1123_subdomain);
    }
    errors.optional_format(&spec.get("ingressClassName"), format::dns1123_subdomain);
}

fn host(host: &Field<'_>, errors: &mut Errors) {
    let name = host.text();
    if let Some(rest) = name.strip_prefix("*.") {
        for wrong in format::dns1123_subdomain(rest) {
            errors.invalid(host, wrong);
        }
    } else if name.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(host, "must be a DNS name, not an IP address");
    } else {
        errors.optional_format(host, format::dns1123_subdomain);
    }
}

fn path(entry: &Field<'_>, errors: &mut Errors) {
    let (path, kind) = (entry.get("path"), entry.get("pathType"));
    if !kind.is_set() {
        return errors.required(&kind, "pathType must be specified");
    }
    errors.one_of(&kind, &["Exact", "ImplementationSpecific", "Prefix"]);
    if matches!(kind.text(), "Exact" | "Prefix") {
        if !path.text().starts_with('/') {
            errors.invalid_as(path.path(), path.text(), "must be an absolute path");
        }
        for bad in ["//", "/./", "/../", "%2f", "%2F"] {
            if path.text().contains(bad) {
                errors.invalid(&path, format!("must not contain '{bad}'"));
            }
        }
        for bad in ["/..", "/."] {
            if path.text().ends_with(bad) {
                errors.invalid(&path, format!("cannot end with '{bad}'"));
            }
        }
    } else if !path.text().is_empty() && !path.text().starts_with('/') {
        errors.invalid(&path, "must be an absolute path");
    }
    backend(&entry.get("backend"), errors);
}

fn backend(backend: &Field<'_>, errors: &mut Errors) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => errors.invalid_as(backend.path(), "", "cannot set both resource and service backends"),
        (false, false) => errors.required(backend, "either service or resource must be specified"),
        (true, false) => service_backend(&service, errors),
        (false, true) => {
            for field in ["kind", "name"] {
                errors.required_text(&resource.get(field));
            }
        }
    }
}

fn service_backend(service: &Field<'_>, errors: &mut Errors) {
    errors.required_format(&service.get("name"), format::dns1035_label);
    let port = service.get("port");
    let (name, number) = (port.get("name"), port.get("number"));
    match (name.text().is_empty(), number.number()) {
        (true, 0) => errors.required(&port, "port name or number is required"),
        (false, 0) => errors.format(&name, format::port_name),
        (true, _) => errors.in_range(&number, 1, 65535),
        (false, _) => errors.invalid_as(port.path(), port.value().clone(), "cannot set both port name & port number"),
    }
}

pub(super) fn ingress_class(class: &Field<'_>, errors: &mut Errors) {
    let controller = class.get("spec").get("controller");
    if controller.text().is_empty() {
        return errors.required(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
    if controller.text().len() > 250 {
        errors.too_long(controller.path(), 250);
    }
    if !controller.text().contains('/') {
        errors.invalid(&controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    }
}

pub(super) fn network_policy(policy: &Field<'_>, errors: &mut Errors) {
    let spec = policy.get("spec");
    label_selector(&spec.get("podSelector"), errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|port| self::port(&port, errors));
            rule.get(peers).items().for_each(|peer| self::peer(&peer, errors));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        errors.invalid(&types, "may not specify more than two policyTypes");
    }
    for kind in types.items() {
        errors.one_of(&kind, &["Egress", "Ingress"]);
    }
}

fn port(port: &Field<'_>, errors: &mut Errors) {
    let (protocol, number, end) = (port.get("protocol"), port.get("port"), port.get("endPort"));
    if protocol.is_set() {
        errors.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
    }
    match number.int() {
        Some(_) => errors.in_range(&number, 1, 65535),
        None if number.is_set() => errors.format(&number, format::port_name),
        None => {}
    }
    if let Some(last) = end.int() {
        if number.int().is_none() {
            errors.required(&number, "must be specified when endPort is specified");
        } else if last < number.number() {
            errors.invalid(&end, "must be greater than or equal to `port`");
        }
    }
}

fn peer(peer: &Field<'_>, errors: &mut Errors) {
    let (pods, namespaces, block) = (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    for selector in [&pods, &namespaces].into_iter().filter(|selector| selector.is_set()) {
        label_selector(selector, errors);
    }
    match (pods.is_set() || namespaces.is_set(), block.is_set()) {
        (false, false) => errors.required(peer, "must specify a peer"),
        (true, true) => errors.forbidden(peer, "may not specify both ipBlock and another peer"),
        (false, true) if block.get("cidr").text().is_empty() => errors.required(&block.get("cidr"), ""),
        _ => {}
    }
}
