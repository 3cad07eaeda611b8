//! What others need to check service account tokens: OpenID discovery, and the key that signs them.
//!
//! <https://openid.net/specs/openid-connect-discovery-1_0.html>

use http::{HeaderValue, Method, header::CACHE_CONTROL, request::Parts};
use serde_json::json;

use crate::{
    reply::{self, Response},
    server::Server,
    token::ISSUER,
};

pub(crate) const CONFIGURATION: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/openid/v1/jwks";

/// Answers one of the two paths; `None` for any other.
pub(crate) fn answer(server: &Server, parts: &Parts) -> Option<Response> {
    let (host, port) = server.advertise;
    let (document, media) = match parts.uri.path().trim_end_matches('/') {
        CONFIGURATION => {
            let document = json!({
                "issuer": ISSUER,
                "jwks_uri": format!("https://{host}:{port}{KEYS}"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            });
            (document, "application/json")
        }
        KEYS => (json!({ "keys": [server.signer.public_key()] }), "application/jwk-set+json"),
        _ => return None,
    };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(reply::no_such_method());
    }
    let mut response = reply::with_type(200, media, document.to_string().into());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}
