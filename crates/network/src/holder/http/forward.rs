//! One request: to a backend, to another if that one does not take it, and the answer back.

use std::{convert::Infallible, net::IpAddr, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{
    task::spawn_local,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Route,
    body::{RequestBody, ResponseBody, empty, pass_on},
    pool::{Backend, Connection, InFlight},
};

/// How long a request waits for a backend that takes it; as long as a published port waits.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);
/// How often a request that may be repeated is sent.
const ATTEMPTS: u32 = 3;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Answers one request.
pub(super) async fn forward(
    route: Rc<Route>,
    mut request: Request<Incoming>,
    client: IpAddr,
) -> Result<Response<ResponseBody>, Infallible> {
    let start = Instant::now();
    // Nobody behind a Service is a way to somewhere else.
    if *request.method() == Method::CONNECT {
        return Ok(own_answer(StatusCode::METHOD_NOT_ALLOWED));
    }
    let upgrade = wanted_upgrade(request.headers());
    let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    prepare(&mut request, upgrade.as_ref(), client);
    let Sent { backend, in_flight, response } = match send(&route, request, client).await {
        Ok(sent) => sent,
        Err(code) => {
            route.counts.borrow_mut().add("", true, start.elapsed());
            return Ok(own_answer(code));
        }
    };
    route.counts.borrow_mut().add(&backend.revision, response.status().is_server_error(), start.elapsed());
    Ok(pass_back(response, in_flight, client_side))
}

/// A request that a backend has begun to answer.
struct Sent {
    backend: Rc<Backend>,
    in_flight: InFlight,
    response: Response<Incoming>,
}

/// Finds a backend that takes the request.
async fn send(route: &Route, request: Request<Incoming>, client: IpAddr) -> Result<Sent, StatusCode> {
    let deadline = Instant::now() + PATIENCE;
    let (parts, body) = request.into_parts();
    // Sent twice it does the same as once, and there is no body that would be gone.
    let repeatable = is_idempotent(&parts.method) && body.is_end_stream() && !parts.headers.contains_key(UPGRADE);
    let again = repeatable.then(|| parts.clone());
    let mut request = Request::from_parts(parts, pass_on(body));
    let mut tried = Vec::new();
    let mut attempts = 0;
    let mut changed = route.changed.subscribe();
    loop {
        let Some(backend) = route.choose(client, &tried) else {
            // The moment between the last old one and the first new one.
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => continue,
                _ => return Err(StatusCode::SERVICE_UNAVAILABLE),
            }
        };
        let in_flight = backend.track();
        let Ok(mut connection) = backend.connect().await else {
            tried.push(backend.address);
            if Instant::now() + PAUSE >= deadline {
                return Err(StatusCode::BAD_GATEWAY);
            }
            sleep(PAUSE).await;
            continue;
        };
        fit(&mut request, backend.http2);
        let used = connection.used();
        match connection.send(request).await {
            Ok(response) => {
                if let Connection::Http1 { sender, .. } = connection {
                    backend.put_back(sender);
                }
                return Ok(Sent { backend, in_flight, response });
            }
            Err(mut error) => {
                attempts += 1;
                if !used {
                    tried.push(backend.address);
                }
                request = match (error.take_message(), &again) {
                    // Nothing of it was sent.
                    (Some(unsent), _) if Instant::now() < deadline => unsent,
                    (None, Some(parts)) if attempts < ATTEMPTS => Request::from_parts(parts.clone(), empty()),
                    _ => return Err(StatusCode::BAD_GATEWAY),
                };
            }
        }
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
}

/// What the client wants to speak from now on, if not HTTP: `websocket`.
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked = asked.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asked).cloned()
}

/// Takes away what concerns the client's connection only, and says who the client is.
fn prepare(request: &mut Request<Incoming>, upgrade: Option<&HeaderValue>, client: IpAddr) {
    if !request.headers().contains_key(HOST)
        && let Some(host) = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        request.headers_mut().insert(HOST, host);
    }
    // A client of HTTP/1.0 may name none; servers of HTTP/1.1 refuse that.
    request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("localhost"));
    request.extensions_mut().clear();
    let headers = request.headers_mut();
    let takes_trailers = headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    remove_hop_by_hop(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade.clone());
    }
    // What the answer may end with goes through here to the client, and gRPC does not go without.
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let chain = before.map(str::to_owned).chain([client.to_string()]).collect::<Vec<_>>().join(", ");
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let named: Vec<_> = named.collect();
    let always = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
    for name in named.into_iter().chain(always) {
        headers.remove(name);
    }
}

/// Gives the request the form in which the backend's version of HTTP has it.
fn fit(request: &mut Request<RequestBody>, http2: bool) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let uri = if http2 { format!("http://{host}{path}") } else { path.to_owned() };
    if let Ok(uri) = uri.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    if !http2 {
        fit_headers(request.headers_mut());
    }
}

/// HTTP/1.1 has one header of cookies, where HTTP/2 may have many, and names what is for the next hop only.
fn fit_headers(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(|cookie| cookie.as_bytes().to_vec()).collect();
        if let Ok(cookies) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            headers.insert(COOKIE, cookies);
        }
    }
    if headers.contains_key(TE) && !headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

fn pass_back(mut response: Response<Incoming>, in_flight: InFlight, client: Option<OnUpgrade>) -> Response<ResponseBody> {
    let upgrade = response.headers().get(UPGRADE).cloned();
    remove_hop_by_hop(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return response.map(|body| ResponseBody::Backend { body, _in_flight: in_flight });
    }
    if let Some(upgrade) = upgrade {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, upgrade);
    }
    let backend = hyper::upgrade::on(&mut response);
    drop(spawn_local(async move {
        let _in_flight = in_flight;
        if let Some(client) = client
            && let (Ok(client), Ok(backend)) = tokio::join!(client, backend)
        {
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
        }
    }));
    response.map(|_| ResponseBody::Own(Full::default()))
}

fn own_answer(code: StatusCode) -> Response<ResponseBody> {
    let text = match code {
        StatusCode::SERVICE_UNAVAILABLE => "no endpoint of this Service is ready\n",
        StatusCode::METHOD_NOT_ALLOWED => "a Service is no way to another server\n",
        _ => "no endpoint of this Service takes the request\n",
    };
    let mut response = Response::new(ResponseBody::Own(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = code;
    response
}
