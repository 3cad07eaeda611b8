//! Requests handed on over HTTP: to a pod, to a pod behind a Service, or to a node's kubelet. What `kubectl proxy` leads to.

mod links;
mod own;
mod page;

use axum::{body::Body, extract::Request};
use http::{
    HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, HOST, LOCATION,
    },
    request::Parts,
    uri::PathAndQuery,
};
use rand::seq::IndexedRandom as _;
use serde_json::Value;
use tower::ServiceExt;
use windlass_api::{kind, status::Status};

use self::own::Own;
use crate::{call::Call, query::bad_request, registry::record, reply::Response};

/// What a server allows pages of other origins is about its own: here it would be about the API server. As upstream.
const ABOUT_ORIGINS: [HeaderName; 4] =
    [ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN];

/// Where a kubelet of upstream's is, which clients may say and need not.
const KUBELET_PORT: &str = "10250";

/// What a name in the path says: `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`.
struct Named<'a> {
    is_tls: bool,
    name: &'a str,
    /// Empty where none is named.
    port: &'a str,
}

/// A kubelet, and the path at which it hands on.
struct Destination {
    node: String,
    place: String,
    /// The server's address and port as it knows itself, which its redirects may name; empty for the kubelet.
    host: String,
}

/// Answers what the destination answers.
pub(super) async fn answer(call: &Call, parts: Parts, body: Body) -> Result<Response, Status> {
    let (prefix, rest) = split(parts.uri.path(), if call.kind.namespaced { 7 } else { 5 });
    let query = parts.uri.query().map_or_else(String::new, |query| format!("?{query}"));
    if rest.is_empty() && matches!(parts.method, Method::GET | Method::HEAD) {
        // As upstream: what a page refers to lies below it.
        return Ok(moved(&format!("{prefix}/{query}")));
    }
    let destination = match call.kind.kind {
        "Node" => of_node(call).await?,
        "Pod" => of_pod(call).await?,
        _ => of_service(call).await?,
    };
    let router = super::node::router(call, &destination.node)?;
    let rest = if rest.is_empty() { "/" } else { rest };
    let path: PathAndQuery = format!("{}{rest}{query}", destination.place)
        .parse()
        .map_err(|error: http::uri::InvalidUri| bad_request(error.to_string()))?;
    let (prefix, forwarded) = (prefix.to_owned(), format!("{prefix}{rest}"));
    let mut request = Request::from_parts(parts, body);
    if !request.headers().contains_key(HOST)
        && let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from(path);
    let headers = request.headers_mut();
    // Who asks, and for whom, is between them and the API server.
    headers.remove(AUTHORIZATION);
    let as_whom: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in as_whom {
        headers.remove(name);
    }
    if let Ok(forwarded) = HeaderValue::from_str(&forwarded) {
        headers.insert("x-forwarded-uri", forwarded);
    }
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    // As upstream: what comes of a connection that is to become another one is passed on as it is.
    let is_upgrade = request.headers().get_all(CONNECTION).iter().any(is_about_upgrade);
    let mut response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if !is_upgrade {
        ABOUT_ORIGINS.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    }
    Ok(keep_below(response, Own { prefix, host: destination.host, asked }))
}

fn is_about_upgrade(connection: &HeaderValue) -> bool {
    connection.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("upgrade"))
}

/// The path up to the subresource, and what follows it: its encoding is the server's business.
fn split(path: &str, segments: usize) -> (&str, &str) {
    let mut ends = path.match_indices('/').map(|(index, _)| index).filter(|index| !path[index + 1..].starts_with('/'));
    match ends.nth(segments) {
        Some(end) => path.split_at(end),
        None if path.ends_with('/') => path.split_at(path.len() - 1),
        None => (path, ""),
    }
}

fn moved(to: &str) -> Response {
    let mut response = crate::reply::text(StatusCode::MOVED_PERMANENTLY.as_u16(), "");
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// A redirect of the server to itself is led through us, too, and so are the links of a page.
fn keep_below(mut response: Response, own: Own) -> Response {
    let Some(location) = response.headers().get(LOCATION) else { return page::lead(response, own) };
    let led = location.to_str().ok().and_then(|location| own.led(location));
    if let Some(led) = led.and_then(|led| HeaderValue::from_str(&led).ok()) {
        response.headers_mut().insert(LOCATION, led);
    }
    response
}

fn named<'a>(id: &'a str, what: &str) -> Result<Named<'a>, Status> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match *parts.as_slice() {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => ("none", "", ""),
    };
    if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
        return Err(bad_request(format!("invalid {what} request {id:?}")));
    }
    Ok(Named { is_tls: scheme == "https", name, port })
}

async fn get(call: &Call, kind: &kind::Kind, name: &str) -> Result<Value, Status> {
    record::decode(&call.server.registry.get(kind, &call.namespace, name).await?)
}

/// The kubelet's own port is the only one of a node that is known here.
async fn of_node(call: &Call) -> Result<Destination, Status> {
    let Named { name, port, .. } = named(&call.name, "node")?;
    let node = get(call, call.kind, name).await?;
    if !matches!(port, "" | KUBELET_PORT) {
        let ip = node["status"]["addresses"][0]["address"].as_str().unwrap_or_default();
        return Err(unavailable(format!("error trying to reach service: dial tcp {ip}:{port}: connect: connection refused")));
    }
    Ok(Destination { node: name.to_owned(), place: String::new(), host: String::new() })
}

async fn of_pod(call: &Call) -> Result<Destination, Status> {
    let Named { is_tls, name, port } = named(&call.name, "pod")?;
    let pod = get(call, call.kind, name).await?;
    let first = || {
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.into_iter().find_map(|container| container["ports"][0]["containerPort"].as_u64())
    };
    let port = match port {
        "" => first().unwrap_or(if is_tls { 443 } else { 80 }).to_string(),
        port => port.to_owned(),
    };
    destination(call, &pod, is_tls, &port)
}

async fn of_service(call: &Call) -> Result<Destination, Status> {
    let Named { is_tls, name, port } = named(&call.name, "service")?;
    let service = get(call, call.kind, name).await?;
    let mut port = port;
    if let Ok(number) = port.parse::<u64>() {
        let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let found = ports.find(|own| own["port"].as_u64() == Some(number));
        let found = found.ok_or_else(|| unavailable(format!("no service port {number} found for service {name:?}")))?;
        port = found["name"].as_str().unwrap_or_default();
    }
    let endpoints = get(call, &kind::core::ENDPOINTS, name).await?;
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let ways: Vec<(&Value, u64)> = subsets
        .flat_map(|subset| {
            let mut ports = subset["ports"].as_array().into_iter().flatten();
            let found = ports.find(|own| own["name"].as_str().unwrap_or_default() == port);
            let number = found.and_then(|own| own["port"].as_u64());
            let addresses = subset["addresses"].as_array().into_iter().flatten();
            addresses.filter_map(move |address| Some((address, number?)))
        })
        .collect();
    // Requests are handed on to pods only: whatever else is behind a Service is none that can be reached.
    let of_pods: Vec<_> = ways.into_iter().filter(|(address, _)| address["targetRef"]["kind"] == "Pod").collect();
    let (address, port) = of_pods.choose(&mut rand::rng()).ok_or_else(|| {
        let id = if endpoints["subsets"][0].is_null() { name } else { &call.name };
        unavailable(format!("no endpoints available for service {id:?}"))
    })?;
    let pod = address["targetRef"]["name"].as_str().unwrap_or_default();
    destination(call, &get(call, &kind::core::POD, pod).await?, is_tls, &port.to_string())
}

fn destination(call: &Call, pod: &Value, is_tls: bool, port: &str) -> Result<Destination, Status> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (node, ip) = (text(&pod["spec"]["nodeName"]), text(&pod["status"]["podIP"]));
    if node.is_empty() || ip.is_empty() {
        return Err(bad_request("address not allowed"));
    }
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(unavailable(format!("error trying to reach service: dial tcp: address {port}: invalid port")));
    }
    let scheme = if is_tls { "https" } else { "http" };
    let place = format!("/podProxy/{}/{}/{scheme}:{port}", call.namespace, text(&pod["metadata"]["name"]));
    Ok(Destination { node, place, host: format!("{ip}:{port}") })
}

fn unavailable(message: String) -> Status {
    Status::request(503, "ServiceUnavailable", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_stays_as_it_was_sent() {
        let pod = "/api/v1/namespaces/shop/pods/http:web:80/proxy";
        for rest in ["", "/", "/a%2Fb//c/", "/proxy/x"] {
            assert_eq!(split(&format!("{pod}{rest}"), 7), (pod, rest));
        }
        assert_eq!(split("/api/v1/nodes/n/proxy/healthz", 5), ("/api/v1/nodes/n/proxy", "/healthz"));
    }

    #[test]
    fn names_have_schemes_and_ports() {
        let read =
            |id| named(id, "pod").map(|Named { is_tls, name, port }| (is_tls, name, port)).map_err(|status| status.message);
        assert_eq!(read("web"), Ok((false, "web", "")));
        assert_eq!(read("web:http"), Ok((false, "web", "http")));
        assert_eq!(read("https:web:"), Ok((true, "web", "")));
        for id in ["", ":80", "ftp:web:21", "a:b:c:d"] {
            assert_eq!(read(id), Err(format!("invalid pod request {id:?}")));
        }
    }

    #[test]
    fn redirects_to_itself_stay_below() {
        let led = |location: &str| {
            let own = Own { prefix: "/P".to_owned(), host: "10.244.0.2:80".to_owned(), asked: "localhost:8001".to_owned() };
            keep_below(moved(location), own).headers()[LOCATION].to_str().unwrap().to_owned()
        };
        assert_eq!(led("/docs/?a=1"), "/P/docs/?a=1");
        assert_eq!(led("http://10.244.0.2:80/docs"), "/P/docs");
        assert_eq!(led("http://localhost:8001/docs"), "http://localhost:8001/P/docs");
        assert_eq!(led("/P/docs"), "/P/docs");
        assert_eq!(led("https://example.org/docs"), "https://example.org/docs");
        assert_eq!(led("docs/"), "docs/");
    }
}
