//! The objects that every cluster has from its first moment.

mod roles;

use std::sync::Arc;

use futures::future::{try_join, try_join_all};
use http::HeaderMap;
use serde_json::{Value, json};
use windlass_api::{
    bootstrap,
    kind::{self, Kind},
    status::Status,
};

use crate::{
    authn::User,
    call::Call,
    fields::Books,
    metadata,
    negotiate::{Format, Media, View},
    query::Query,
    registry,
    server::Server,
    verb::{
        change::{Change, Surface},
        create,
    },
};

/// Makes what is missing, and brings the `kubernetes` Service's endpoints to where this server is now.
///
/// # Errors
/// When the store fails.
pub(crate) async fn run(server: &Arc<Server>) -> Result<(), Status> {
    // Together they share a write to the disk; one after the other each waits for its own.
    let of_cluster = bootstrap::objects().into_iter().chain(roles::objects()).chain([service_cidr(server)]);
    let of_cluster = of_cluster.map(|object| ensure(server, "", object));
    try_join_all(of_cluster).await?;
    let endpoints = [endpoints(server), endpoint_slice(server)].map(|object| replace(server, "default", object));
    try_join(ensure(server, "default", service(server)), try_join_all(endpoints)).await?;
    Ok(())
}

/// The range that Services have their addresses from. As upstream, one that is there stays as it is, whatever the range is now.
fn service_cidr(server: &Server) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": "kubernetes" },
        "spec": { "cidrs": [server.services.range().to_string()] },
        "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": metadata::timestamp(server.clock.now()),
        }] },
    })
}

fn service(server: &Server) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "clusterIP": server.services.first_address().to_string(), "type": "ClusterIP",
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": server.advertise.1 }],
        },
    })
}

fn endpoints(server: &Server) -> Value {
    let (address, port) = server.advertise;
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            // As upstream: the slice below is the server's own, none is to be mirrored from here.
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": [{ "ip": address.to_string() }],
            "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
        }],
    })
}

fn endpoint_slice(server: &Server) -> Value {
    let (address, port) = server.advertise;
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": { "kubernetes.io/service-name": "kubernetes" },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [address.to_string()], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": port, "protocol": "TCP" }],
    })
}

async fn ensure(server: &Arc<Server>, namespace: &str, object: Value) -> Result<(), Status> {
    let Some(call) = call(server, namespace, &object) else { return Ok(()) };
    if server.registry.find(call.kind, &call.namespace, &call.name).await?.is_some() {
        return Ok(());
    }
    make(&call, object).await
}

async fn replace(server: &Arc<Server>, namespace: &str, object: Value) -> Result<(), Status> {
    let Some(call) = call(server, namespace, &object) else { return Ok(()) };
    let Some(entry) = server.registry.find(call.kind, &call.namespace, &call.name).await? else {
        return make(&call, object).await;
    };
    let present = registry::decode(call.kind, &entry, entry.mod_revision)?;
    let keys: Vec<&String> = object.as_object().into_iter().flat_map(|fields| fields.keys()).collect();
    let parts: Vec<&str> = keys.into_iter().map(String::as_str).filter(|key| *key != "metadata").collect();
    if parts.iter().all(|key| present[*key] == object[*key]) {
        return Ok(());
    }
    let change = Change { call: &call, surface: Surface::Main, books: Books::Update, dry_run: false, unconditional: true };
    let mut edit = |old: &Value| {
        let mut new = old.clone();
        for key in &parts {
            new[*key] = object[*key].clone();
        }
        Ok(new)
    };
    change.apply(&mut edit).await.map(|_| ())
}

async fn make(call: &Call, object: Value) -> Result<(), Status> {
    match create::create(call, object, Books::Update, false).await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "AlreadyExists" => Ok(()),
        Err(status) => Err(status),
    }
}

fn call(server: &Arc<Server>, namespace: &str, object: &Value) -> Option<Call> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let kind: &'static Kind = kind::find_object(text("apiVersion"), text("kind"))?;
    Some(Call {
        server: Arc::clone(server),
        user: Arc::new(User::trusted("system:apiserver")),
        kind,
        namespace: namespace.to_owned(),
        name: metadata::text(object, "name").to_owned(),
        subresource: String::new(),
        query: Query::default(),
        headers: HeaderMap::from_iter([(http::header::USER_AGENT, http::HeaderValue::from_static("kube-apiserver"))]),
        format: Format { view: View::Whole, media: Media::Json { pretty: false } },
        now: server.clock.now(),
        warnings: std::sync::Mutex::default(),
        home: std::sync::OnceLock::new(),
    })
}
