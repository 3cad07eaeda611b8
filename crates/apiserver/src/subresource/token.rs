//! `serviceaccounts/token`: a signed token for an account, bound to a pod, a node or a secret where one is named.

use serde_json::{Value, json};
use windlass_api::{
    kind,
    status::{Resource, Status},
    validation::{Cause, FieldError},
};

use crate::{
    body::Gvk,
    call::Call,
    fields, metadata, negotiate,
    query::{FieldValidation, bad_request},
    registry::record,
    reply::{self, Response},
    token::{Bound, Claims, ISSUER, Named},
    verb::create::settle_namespace,
};

const TOKEN_REQUEST: Gvk = Gvk { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" };
/// As upstream: no token lives shorter than ten minutes, and an hour where nobody asks.
const MIN_SECONDS: i64 = 600;
const DEFAULT_SECONDS: i64 = 3600;
/// As upstream: 2^32 seconds.
const MAX_SECONDS: i64 = 1 << 32;

/// Issues a token.
pub(super) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let mut request = fields::read(call, body, negotiate::body(&call.headers)?, TOKEN_REQUEST, FieldValidation::Ignore)?;
    settle_namespace(call, &mut request)?;
    let name = metadata::text(&request, "name");
    if !name.is_empty() && name != call.name {
        let error = invalid("metadata.name", name.into(), "must match the service account name if specified");
        return Err(Status::invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, &call.name, &[error]));
    }
    let account = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
    let account = Named { name: call.name.clone(), uid: metadata::text(&record::decode(&account)?, "uid").to_owned() };
    let meant = metadata::text(&request, "uid");
    if !meant.is_empty() && meant != account.uid {
        let why =
            format!("the UID in the token request ({meant}) does not match the UID of the service account ({})", account.uid);
        let resource = Resource { group: TOKEN_REQUEST.group, plural: TOKEN_REQUEST.kind };
        return Err(Status::conflict(resource, &call.name, &why));
    }
    let seconds = seconds(&request)?;
    let mut audiences: Vec<String> =
        request["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let now = call.now.as_second();
    let bound = bound(call, &request["spec"]["boundObjectRef"], account.clone()).await?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: ISSUER.to_owned(),
        jti: metadata::uid(&*call.server.random),
        kubernetes: bound,
        nbf: now,
        sub: format!("system:serviceaccount:{}:{}", call.namespace, call.name),
    };
    let internal = |error: &dyn std::fmt::Display| {
        Status::request(500, "InternalError", format!("Internal error occurred: failed to generate token: {error}"))
    };
    let token = call.server.signer.sign(&claims).map_err(|error| internal(&error))?;
    let expires = jiff::Timestamp::from_second(claims.exp).map_err(|error| internal(&error))?;
    let metadata = metadata::map(&mut request);
    metadata.insert("name".to_owned(), call.name.clone().into());
    metadata.insert("uid".to_owned(), account.uid.into());
    metadata.insert("creationTimestamp".to_owned(), metadata::timestamp(call.now).into());
    request["spec"]["audiences"] = audiences.into();
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({ "token": token, "expirationTimestamp": metadata::timestamp(expires) });
    Ok(reply::value(201, &request, call.format.media))
}

fn seconds(request: &Value) -> Result<i64, Status> {
    let asked = &request["spec"]["expirationSeconds"];
    let seconds = asked.as_i64().unwrap_or(DEFAULT_SECONDS);
    let detail = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(seconds);
    };
    let error = invalid("spec.expirationSeconds", asked.clone(), detail);
    // As upstream, which names nothing here.
    Err(Status::invalid(TOKEN_REQUEST.group, TOKEN_REQUEST.kind, "", &[error]))
}

fn invalid(field: &str, bad_value: Value, detail: &str) -> FieldError {
    FieldError { cause: Cause::Invalid, field: field.to_owned(), bad_value, detail: detail.to_owned() }
}

/// What the token ends with: the account, and the object that is named. Of a pod the token says the node, too.
async fn bound(call: &Call, reference: &Value, serviceaccount: Named) -> Result<Bound, Status> {
    let mut bound = Bound { namespace: call.namespace.clone(), node: None, pod: None, secret: None, serviceaccount };
    if reference.is_null() {
        return Ok(bound);
    }
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let (object_kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let (group, version) = match *text("apiVersion").split('/').collect::<Vec<_>>().as_slice() {
        [version] => ("", version),
        [group, version] => (group, version),
        _ => ("", ""),
    };
    let kind = match (group, object_kind) {
        ("", "Pod") => &kind::core::POD,
        ("", "Secret") => &kind::core::SECRET,
        ("", "Node") => &kind::core::NODE,
        _ => return Err(bad_request(format!("cannot bind token to object of type {group}/{version}, Kind={object_kind}"))),
    };
    let namespace = if kind.namespaced { call.namespace.as_str() } else { "" };
    let object = record::decode(&call.server.registry.get(kind, namespace, name).await?)?;
    if object_kind == "Pod" && object["spec"]["serviceAccountName"].as_str() != Some(&call.name) {
        let why =
            format!("cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.", call.name);
        return Err(bad_request(why));
    }
    let named = Named { name: name.to_owned(), uid: metadata::text(&object, "uid").to_owned() };
    if !uid.is_empty() && uid != named.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        // As upstream, which says the kind here.
        return Err(Status::conflict(Resource { group, plural: object_kind }, name, &why));
    }
    match object_kind {
        "Pod" => (bound.pod, bound.node) = (Some(named), node_of(call, &object).await?),
        "Node" => bound.node = Some(named),
        _ => bound.secret = Some(named),
    }
    Ok(bound)
}

/// The node that a pod is on; of one that is gone, as upstream, the name alone.
async fn node_of(call: &Call, pod: &Value) -> Result<Option<Named>, Status> {
    let Some(name) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else { return Ok(None) };
    let kind = kind::find("", "v1", "nodes").ok_or_else(|| bad_request("there is no such kind"))?;
    let uid = match call.server.registry.find(kind, "", name).await? {
        Some(entry) => metadata::text(&record::decode(&entry)?, "uid").to_owned(),
        None => String::new(),
    };
    Ok(Some(Named { name: name.to_owned(), uid }))
}
