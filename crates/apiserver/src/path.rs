//! From a URL path to what it names.

/// What a request path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    Version { group: String, version: String },
    /// A collection, an object, or something below an object.
    Resource(Place),
    /// Anything outside `/api` and `/apis`.
    Other,
}

/// Where in the API a resource request points; empty strings stand for absent parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    pub(crate) plural: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows the subresource (`pods/x/proxy/REST`).
    pub(crate) rest: String,
    /// The path has upstream's old `watch/` prefix.
    pub(crate) watch: bool,
}

/// Parses a path as it is in the request line, percent-encoding included.
pub(crate) fn parse(path: &str) -> Target {
    let segments: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["api"] => Target::CoreVersions,
        ["apis"] => Target::Groups,
        ["apis", group] => Target::Group((*group).to_owned()),
        ["api", version] => Target::Version { group: String::new(), version: (*version).to_owned() },
        ["apis", group, version] => Target::Version { group: (*group).to_owned(), version: (*version).to_owned() },
        ["api", version, rest @ ..] => Target::Resource(place("", version, rest)),
        ["apis", group, version, rest @ ..] => Target::Resource(place(group, version, rest)),
        _ => Target::Other,
    }
}

fn place(group: &str, version: &str, segments: &[&str]) -> Place {
    let mut place = Place { group: group.to_owned(), version: version.to_owned(), ..Place::default() };
    let mut segments = segments;
    if let ["watch", rest @ ..] = segments
        && !rest.is_empty()
    {
        place.watch = true;
        segments = rest;
    }
    // `namespaces/x` is the object, `namespaces/x/status` something below it, `namespaces/x/pods` a collection inside.
    if let ["namespaces", namespace, rest @ ..] = segments
        && let [plural, ..] = rest
        && !(group.is_empty() && matches!(*plural, "status" | "finalize"))
    {
        place.namespace = (*namespace).to_owned();
        segments = rest;
    }
    let part = |index: usize| segments.get(index).map_or_else(String::new, |segment| (*segment).to_owned());
    place.plural = part(0);
    place.name = part(1);
    place.subresource = part(2);
    place.rest = segments.get(3..).map_or_else(String::new, |rest| rest.join("/"));
    place
}

/// Percent-decodes one segment; what is not valid stays as it is.
pub(crate) fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = segment.get(index + 1..index + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[index], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                index += 3;
            }
            (byte, _) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(path: &str, expect: Expect) {
        let found = match parse(path) {
            Target::Resource(place) => format!(
                "{}/{} ns={} {}/{}/{} rest={}{}",
                place.group,
                place.version,
                place.namespace,
                place.plural,
                place.name,
                place.subresource,
                place.rest,
                if place.watch { " watch" } else { "" }
            ),
            other => format!("{other:?}"),
        };
        expect.assert_eq(&found);
    }

    #[test]
    fn paths() {
        check("/api", expect!["CoreVersions"]);
        check("/apis/apps", expect![[r#"Group("apps")"#]]);
        check("/api/v1", expect![[r#"Version { group: "", version: "v1" }"#]]);
        check("/api/v1/namespaces", expect!["/v1 ns= namespaces// rest="]);
        check("/api/v1/namespaces/a", expect!["/v1 ns= namespaces/a/ rest="]);
        check("/api/v1/namespaces/a/finalize", expect!["/v1 ns= namespaces/a/finalize rest="]);
        check("/api/v1/namespaces/a/pods", expect!["/v1 ns=a pods// rest="]);
        check("/api/v1/namespaces/a/pods/p/log", expect!["/v1 ns=a pods/p/log rest="]);
        check("/apis/apps/v1/deployments", expect!["apps/v1 ns= deployments// rest="]);
        check("/apis/apps/v1/namespaces/a/deployments/d/scale", expect!["apps/v1 ns=a deployments/d/scale rest="]);
        check("/api/v1/watch/namespaces/a/pods", expect!["/v1 ns=a pods// rest= watch"]);
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            expect!["rbac.authorization.k8s.io/v1 ns= clusterroles/system:node/ rest="],
        );
        check("/api/v1/namespaces/a/services/s/proxy/x/y", expect!["/v1 ns=a services/s/proxy rest=x/y"]);
        check("/healthz", expect!["Other"]);
    }
}
