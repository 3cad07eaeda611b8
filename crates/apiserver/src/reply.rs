//! Answers: bytes and codes, in the form that was negotiated.

use axum::body::Body;
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::Value;
use windlass_api::status::Status;

use crate::negotiate::Media;

/// What every handler returns.
pub(crate) type Response = axum::response::Response;

/// JSON bytes as they are.
pub(crate) fn json(code: u16, body: impl Into<Body>) -> Response {
    with_type(code, "application/json", body.into())
}

/// Plain text, as upstream's own handlers outside the API write it.
pub(crate) fn text(code: u16, body: impl Into<Body>) -> Response {
    with_type(code, "text/plain; charset=utf-8", body.into())
}

/// A body of this type.
pub(crate) fn with_type(code: u16, media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A value in the negotiated form.
pub(crate) fn value(code: u16, value: &Value, media: Media) -> Response {
    match media {
        Media::Json { pretty: false } => json(code, value.to_string()),
        Media::Json { pretty: true } => json(code, format!("{value:#}")),
        Media::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => with_type(code, "application/yaml", text.into()),
            Err(error) => status(&Status::request(500, "InternalError", format!("Internal error occurred: {error}"))),
        },
    }
}

/// Bytes of JSON in the negotiated form.
pub(crate) fn bytes(code: u16, body: Bytes, media: Media) -> Response {
    if media == (Media::Json { pretty: false }) {
        return json(code, body);
    }
    match serde_json::from_slice(&body) {
        Ok(parsed) => value(code, &parsed, media),
        Err(_) => json(code, body),
    }
}

/// A failed request.
pub(crate) fn status(status: &Status) -> Response {
    let mut response = json(status.code, status.to_value().to_string());
    let retry = status.details.as_ref().and_then(|details| details.get("retryAfterSeconds")).and_then(Value::as_u64);
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// What upstream answers where no handler is: clients turn it into `the server could not find the requested resource`.
pub(crate) fn no_such_path() -> Response {
    text(404, "404 page not found\n")
}

/// What upstream answers where the path takes other methods.
pub(crate) fn no_such_method() -> Response {
    text(405, "405: Method Not Allowed")
}
