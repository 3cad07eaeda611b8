//! What lies below an object.

use axum::body::Body;
use http::{Method, request::Parts};
use windlass_api::{kind::Subresource, status::Status};

use crate::{
    authz::{self, Attributes},
    body,
    call::Call,
    path::Place,
    reply::{self, Response},
    verb::{self, change::Surface},
};

mod binding;
mod eviction;
mod finalize;
mod node;
mod proxy;
mod scale;
mod token;

pub(crate) use binding::bind;

/// Answers a request to `/{name}/{subresource}`.
pub(crate) async fn answer(call: &Call, verb: &'static str, place: &Place, parts: Parts, body: Body) -> Result<Response, Status> {
    let known = call.kind.subresources.iter().find(|known| known.name() == place.subresource);
    let Some(subresource) = known.copied() else { return Ok(reply::no_such_path()) };
    let is_proxy = matches!(subresource, Subresource::Proxy(_));
    if !is_proxy && !place.rest.is_empty() {
        return Ok(reply::no_such_path());
    }
    // OPTIONS has no verb of its own, and is the server's to answer.
    let is_known = subresource.verbs().contains(&verb) || is_proxy && parts.method == Method::OPTIONS;
    if !is_known {
        return Ok(reply::no_such_method());
    }
    match subresource {
        Subresource::Exec | Subresource::Attach | Subresource::PortForward if verb == "get" => {
            // As upstream: who opens a WebSocket with GET must have the right to POST all the same.
            let attributes = Attributes { user: &call.user, verb: "create", place };
            authz::check(&call.server, &attributes).await?;
            node::answer(call, subresource, parts, body).await
        }
        Subresource::Log | Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            node::answer(call, subresource, parts, body).await
        }
        Subresource::Proxy(_) => proxy::answer(call, parts, body).await,
        Subresource::Scale => scale::answer(call, verb, &body::read(body).await?).await,
        Subresource::Binding => binding::answer(call, &body::read(body).await?).await,
        Subresource::Eviction => eviction::answer(call, &body::read(body).await?).await,
        Subresource::Token => token::answer(call, &body::read(body).await?).await,
        Subresource::Finalize => finalize::answer(call, &body::read(body).await?).await,
        Subresource::Status => on_surface(call, verb, Surface::Status, body).await,
        Subresource::EphemeralContainers | Subresource::Resize => on_surface(call, verb, Surface::Part(subresource), body).await,
    }
}

async fn on_surface(call: &Call, verb: &str, surface: Surface, body: Body) -> Result<Response, Status> {
    match verb {
        "get" => verb::get::answer(call).await,
        "patch" => verb::patch::surface(call, &body::read(body).await?, surface).await,
        _ => {
            let (code, outcome) = verb::update::replace(call, &body::read(body).await?, surface).await?;
            call.object(code, &outcome)
        }
    }
}
