//! CustomResourceDefinitions: there are none, and clients that ask which there are hear just that.
//!
//! kubectl asks before it takes a kind for one without patches, such as the `List`s that a file may hold.

use http::request::Parts;
use serde_json::json;
use windlass_api::status::Status;

use crate::{
    negotiate::{self, View},
    path::Place,
    query::Query,
    registry,
    reply::{self, Response},
    server::Server,
};

/// Whether the path is that of all definitions.
pub(crate) fn are_meant(place: &Place) -> bool {
    let Place { group, version, namespace, plural, name, .. } = place;
    (group.as_str(), version.as_str(), plural.as_str()) == ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        && namespace.is_empty()
        && name.is_empty()
}

/// Answers with all of them.
pub(crate) async fn answer(server: &Server, verb: &str, parts: &Parts) -> Result<Response, Status> {
    if verb != "list" {
        return Ok(reply::no_such_method());
    }
    let format = negotiate::answer(&parts.headers, &Query::parse(&parts.uri)?, |view| view == View::Whole)?;
    let revision = server.registry.store.revision().await.map_err(|error| registry::failed(&error))?;
    let list = json!({
        "kind": "CustomResourceDefinitionList", "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": { "resourceVersion": revision.to_string() }, "items": [],
    });
    Ok(reply::value(200, &list, format.media))
}
