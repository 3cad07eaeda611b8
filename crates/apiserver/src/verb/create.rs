//! `POST` to a collection.

use std::time::Duration;

use serde_json::Value;
use windlass_api::{kind::Kind, status::Status};
use windlass_storage::{Change, Error, Expect};

use crate::{
    admission,
    allocate::Reservation,
    body::Gvk,
    call::{Call, Outcome},
    fields::{self, Books},
    metadata, negotiate,
    query::bad_request,
    quota, registry,
    reply::Response,
};

/// As upstream: what happened is told for an hour.
const EVENT_TTL: Duration = Duration::from_secs(60 * 60);
/// As upstream: a generated name that is taken is made anew so many times.
const NAME_ATTEMPTS: usize = 8;

/// Creates the object in the body.
pub(crate) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    let dry_run = call.query.dry_run("CreateOptions")?;
    let validation = call.query.field_validation("CreateOptions")?;
    let mut object = fields::read(call, body, negotiate::body(&call.headers)?, own(call.kind), validation)?;
    settle_namespace(call, &mut object)?;
    fields::drop_repeated_owners(call, &mut object, "");
    let outcome = create(call, object, Books::Update, dry_run).await?;
    call.object(201, &outcome)
}

/// The group, version and kind that the path names.
pub(crate) fn own(kind: &Kind) -> Gvk {
    Gvk { group: kind.group, version: kind.version, kind: kind.kind }
}

/// Takes the namespace of the path for the object's own.
///
/// # Errors
/// 400 when the object says otherwise.
pub(crate) fn settle_namespace(call: &Call, object: &mut Value) -> Result<(), Status> {
    let metadata = metadata::map(object);
    if !call.kind.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    match metadata.get("namespace").and_then(Value::as_str).unwrap_or_default() {
        "" => {
            metadata.insert("namespace".to_owned(), call.namespace.clone().into());
            Ok(())
        }
        namespace if namespace == call.namespace => Ok(()),
        _ => Err(bad_request("the namespace of the provided object does not match the namespace sent on the request")),
    }
}

/// Defaults, admits, validates and stores a new object, whose namespace and body have been checked.
pub(crate) async fn create(call: &Call, mut object: Value, books: Books, dry_run: bool) -> Result<Outcome, Status> {
    let (kind, server) = (call.kind, &call.server);
    if metadata::text(&object, "resourceVersion").parse::<u64>().is_ok_and(|revision| revision > 0) {
        return Err(Status::request(500, "", "resourceVersion should not be set on objects to be created"));
    }
    kind.apply_defaults(&mut object);
    books.keep(call, &mut object, None);
    admission::create(call, &mut object).await?;
    kind.prepare_create(&mut object);
    metadata::begin(&mut object, call.now, &*server.random);
    let generate = metadata::text(&object, "generateName").to_owned();
    let generates = metadata::text(&object, "name").is_empty() && !generate.is_empty();
    let mut attempt = 0;
    loop {
        attempt += 1;
        if generates {
            metadata::map(&mut object).insert("name".to_owned(), metadata::generated_name(&*server.random, &generate).into());
        }
        kind.prepare_named(&mut object);
        match store(call, &mut object, dry_run).await {
            Err(status) if generates && status.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS => {}
            outcome => return outcome,
        }
    }
}

async fn store(call: &Call, object: &mut Value, dry_run: bool) -> Result<Outcome, Status> {
    let (kind, server) = (call.kind, &call.server);
    let name = metadata::text(object, "name").to_owned();
    // What is given out here is validated too.
    let reservation = reserve(call, object, None)?;
    let errors = kind.validate(object);
    if !errors.is_empty() {
        return Err(Status::invalid(kind.group, kind.kind, &name, &errors));
    }
    for warning in kind.creation_warnings(object) {
        call.warn(warning);
    }
    admission::created(call, object).await?;
    let charge = quota::charge(call, object, None).await?;
    let key = registry::key(kind, &call.namespace, &name);
    let exists = || Status::already_exists(kind.resource(), &name);
    if dry_run {
        let found = server.registry.find(kind, &call.namespace, &name).await?;
        return if found.is_some() { Err(exists()) } else { Ok(Outcome::Value(object.clone())) };
    }
    let change = Change::Put(registry::encode(kind, object), ttl(kind));
    match server.registry.store.write(&key, Expect::Absent, change).await {
        Ok(entry) => {
            reservation.keep();
            charge.note().await;
            Ok(Outcome::Stored(entry))
        }
        Err(Error::Conflict(_)) => Err(exists()),
        Err(error) => Err(registry::failed(&error)),
    }
}

/// How long the store keeps an object of this kind after its last write.
pub(crate) fn ttl(kind: &Kind) -> Option<Duration> {
    (kind.stored_as() == ("", "events")).then_some(EVENT_TTL)
}

/// Takes the addresses and ports that an object needs; given back unless kept.
pub(crate) fn reserve<'a>(call: &'a Call, new: &mut Value, old: Option<&Value>) -> Result<Reservation<'a>, Status> {
    if call.kind.group.is_empty() && call.kind.plural == "services" {
        return call.server.services.assign(new, old, &*call.server.random);
    }
    Ok(Reservation::nothing())
}
