//! Server-side apply: `PATCH` with `application/apply-patch+yaml`.

use windlass_api::status::Status;

use crate::{call::Call, reply::Response, verb::change::Surface};

/// Applies the configuration in the body for its field manager.
pub(crate) async fn answer(_call: &Call, _body: &[u8], _surface: Surface, _dry_run: bool) -> Result<Response, Status> {
    Err(Status::request(415, "UnsupportedMediaType", "server-side apply arrives with the managed fields"))
}
