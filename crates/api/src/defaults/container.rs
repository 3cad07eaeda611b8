//! Defaults of containers: pull policy, ports, environment, probes, lifecycle.

use serde_json::{Map, Value};

use super::fill::{blank, each, inside, text, unset};
use super::quantities;

pub(super) fn container(container: &mut Value) {
    let policy = pull_policy(text(container, "image"));
    blank(container, "imagePullPolicy", policy);
    blank(container, "terminationMessagePath", "/dev/termination-log");
    blank(container, "terminationMessagePolicy", "File");
    unset(container, "resources", Map::new());
    each(container, "ports", |port| blank(port, "protocol", "TCP"));
    each(container, "env", |env| inside(env, "valueFrom", value_from));
    inside(container, "resources", |resources| {
        quantities::canonical(resources, "limits");
        quantities::canonical(resources, "requests");
    });
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        inside(container, field, probe);
    }
    inside(container, "lifecycle", |lifecycle| {
        for field in ["postStart", "preStop"] {
            inside(lifecycle, field, |handler| inside(handler, "httpGet", http_get));
        }
    });
}

/// The API version that a `fieldRef` is written in.
pub(super) fn field_ref(field_ref: &mut Value) {
    blank(field_ref, "apiVersion", "v1");
}

/// An image that can change under its name is looked at before every start.
pub(super) fn pull_policy(image: &str) -> &'static str {
    if tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

/// The tag of an image: `latest` where a well-formed reference has neither tag nor digest, none where it has only a digest.
fn tag(image: &str) -> Option<&str> {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match name[path..].find(':') {
        Some(colon) => (&name[..path + colon], Some(&name[path + colon + 1..])),
        None => (name, None),
    };
    // Upstream gives a reference that it cannot parse no tag at all; what is wrong with it is for the kubelet to say.
    let remainder = repository.split_once('/').filter(|(host, _)| is_host(host)).map_or(repository, |(_, path)| path);
    let well_formed = !remainder.is_empty()
        && remainder.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte));
    match (well_formed, tag, digest) {
        (false, ..) => None,
        (true, None, None) => Some("latest"),
        (true, tag, _) => tag,
    }
}

fn is_host(segment: &str) -> bool {
    segment == "localhost" || segment.contains(['.', ':']) || segment.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn value_from(source: &mut Value) {
    inside(source, "fieldRef", field_ref);
    inside(source, "fileKeyRef", |key| unset(key, "optional", false));
}

fn probe(probe: &mut Value) {
    blank(probe, "timeoutSeconds", 1);
    blank(probe, "periodSeconds", 10);
    blank(probe, "successThreshold", 1);
    blank(probe, "failureThreshold", 3);
    inside(probe, "httpGet", http_get);
    inside(probe, "grpc", |grpc| unset(grpc, "service", ""));
}

fn http_get(action: &mut Value) {
    blank(action, "path", "/");
    blank(action, "scheme", "HTTP");
}
