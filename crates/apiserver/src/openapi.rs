//! `/openapi/v2` and `/openapi/v3`: the schemas that kubectl explains and applies by.

use http::request::Parts;

use crate::reply::Response;

/// Answers an OpenAPI path; `None` where the path is something else.
pub(crate) fn answer(_parts: &Parts) -> Option<Response> {
    None
}
