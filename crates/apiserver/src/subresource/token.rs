//! `serviceaccounts/token`: a signed token for an account, bound to a pod where one is named.

use serde_json::{Value, json};
use windlass_api::{
    kind,
    status::Status,
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
    let account = call.server.registry.get(call.kind, &call.namespace, &call.name).await?;
    let account = record::decode(&account)?;
    let seconds = seconds(call, &request)?;
    let mut audiences: Vec<String> =
        request["spec"]["audiences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let now = call.now.as_second();
    let (pod, node, secret) = bound(call, &request).await?;
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: ISSUER.to_owned(),
        jti: metadata::uid(&*call.server.random),
        kubernetes: Bound {
            namespace: call.namespace.clone(),
            node,
            pod,
            secret,
            serviceaccount: Named { name: call.name.clone(), uid: metadata::text(&account, "uid").to_owned() },
        },
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
    metadata.insert("namespace".to_owned(), call.namespace.clone().into());
    metadata.insert("creationTimestamp".to_owned(), metadata::timestamp(call.now).into());
    request["spec"]["audiences"] = audiences.into();
    request["spec"]["expirationSeconds"] = seconds.into();
    request["status"] = json!({ "token": token, "expirationTimestamp": metadata::timestamp(expires) });
    Ok(reply::value(201, &request, call.format.media))
}

fn seconds(call: &Call, request: &Value) -> Result<i64, Status> {
    let asked = &request["spec"]["expirationSeconds"];
    let seconds = asked.as_i64().unwrap_or(DEFAULT_SECONDS);
    let detail = if seconds < MIN_SECONDS {
        "may not specify a duration less than 10 minutes"
    } else if seconds > MAX_SECONDS {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(seconds);
    };
    let error = FieldError {
        cause: Cause::Invalid,
        field: "spec.expirationSeconds".to_owned(),
        bad_value: asked.clone(),
        detail: detail.to_owned(),
    };
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", &call.name, &[error]))
}

/// The pod, with its node, or the secret whose end is the token's end.
async fn bound(call: &Call, request: &Value) -> Result<(Option<Named>, Option<Named>, Option<Named>), Status> {
    let reference = &request["spec"]["boundObjectRef"];
    if reference.is_null() {
        return Ok((None, None, None));
    }
    let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
    let (object_kind, name, uid) = (text("kind"), text("name"), text("uid"));
    let plural = match object_kind.as_str() {
        "Pod" => "pods",
        "Secret" => "secrets",
        _ => return Err(bad_request(format!("cannot bind token for serviceaccount {:?} to kind {object_kind:?}", call.name))),
    };
    let kind = kind::find("", "v1", plural).ok_or_else(|| bad_request("there is no such kind"))?;
    let object = record::decode(&call.server.registry.get(kind, &call.namespace, &name).await?)?;
    let own = metadata::text(&object, "uid").to_owned();
    if !uid.is_empty() && uid != own {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(kind.resource(), &name, &why));
    }
    if plural == "pods" && object["spec"]["serviceAccountName"].as_str() != Some(&call.name) {
        let account = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
        return Err(bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name {account:?}.",
            call.name
        )));
    }
    let named = Some(Named { name, uid: own });
    Ok(if plural == "pods" { (named, node_of(call, &object).await?, None) } else { (None, None, named) })
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
