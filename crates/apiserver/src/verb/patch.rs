//! `PATCH` of one object: JSON, merge and strategic patches; `apply.rs` has server-side apply.

use serde_json::Value;
use windlass_api::{patch, schema, status::Status, validation::Cause};

use crate::{
    admission,
    body::{self, Gvk},
    call::Call,
    fields::{self, Books},
    negotiate::{self, BodyMedia, PatchMedia},
    query::{FieldValidation, bad_request, invalid_option},
    reply::Response,
    verb::{
        apply,
        change::{Change, Surface},
        create, update,
    },
};

/// Applies the patch in the body to the object.
pub(crate) async fn answer(call: &Call, body: &[u8]) -> Result<Response, Status> {
    surface(call, body, Surface::Main).await
}

/// Applies a patch to the object, or to its status.
pub(crate) async fn surface(call: &Call, body: &[u8], surface: Surface) -> Result<Response, Status> {
    let media = negotiate::patch(&call.headers)?;
    let dry_run = call.query.dry_run("PatchOptions")?;
    let validation = call.query.field_validation("PatchOptions")?;
    if media == PatchMedia::Apply {
        return apply::answer(call, body, surface, dry_run, validation).await;
    }
    if call.query.get("force").is_some() {
        let detail = "may not be specified for non-apply patch";
        return Err(invalid_option("PatchOptions", Cause::Forbidden, "force", Value::Null, detail));
    }
    let document = parse(body)?;
    admission::update(call).await?;
    let change = Change { call, surface, books: Books::Update, dry_run, unconditional: true };
    let mut edit = |old: &Value| {
        let patched = merged(create::own(call.kind), media, &document, old)?;
        require_fit(create::own(call.kind), media, &document, &patched, validation)?;
        let new = fields::accept(call, patched, create::own(call.kind), validation)?;
        let mut new = update::settle(call, new)?;
        fields::drop_repeated_owners(call, &mut new, fields::AFTER_ADMISSION);
        Ok(new)
    };
    let outcome = change.apply(&mut edit).await?;
    call.object(200, &outcome)
}

/// Parses the body of a patch, which may be YAML as well as JSON.
///
/// # Errors
/// 400 when it is neither.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Status> {
    let parsed = body::parse(body, BodyMedia::Json).or_else(|json| body::parse(body, BodyMedia::Yaml).map_err(|_| json));
    parsed.map(|document| document.value).map_err(|error| bad_request(format!("error decoding patch: {error}")))
}

/// The object, which is of this kind, with the patch applied.
///
/// # Errors
/// 400 for a malformed patch, 422 for one that does not fit the object.
pub(crate) fn merged(kind: Gvk, media: PatchMedia, patch: &Value, old: &Value) -> Result<Value, Status> {
    let patched = match media {
        PatchMedia::Json => patch::json(old, patch),
        PatchMedia::Strategic => match schema::message(kind.group, kind.version, kind.kind) {
            Some(message) => patch::strategic(message, old, patch),
            None => return Err(negotiate::unsupported_patch()),
        },
        PatchMedia::Merge | PatchMedia::Apply => {
            let mut new = old.clone();
            patch::merge(&mut new, patch).map(|()| new)
        }
    };
    patched.map_err(|error| error.to_status())
}

/// What a patch makes must fit the kind. Upstream answers 422 here where a create is answered 400.
fn require_fit(kind: Gvk, media: PatchMedia, patch: &Value, patched: &Value, validation: FieldValidation) -> Result<(), Status> {
    let Some(message) = schema::message(kind.group, kind.version, kind.kind) else { return Ok(()) };
    let strategic = media == PatchMedia::Strategic;
    let wrong = if strategic { schema::convert_error(message, patched) } else { schema::decode_error(message, patched) };
    let why = wrong.or_else(|| {
        let unknown = if validation == FieldValidation::Strict { schema::check(message, patched) } else { Vec::new() };
        (!unknown.is_empty()).then(|| schema::strict_error(&unknown))
    });
    let Some(why) = why else { return Ok(()) };
    let shown = if strategic { patch::go_print(patch) } else { patched.to_string() };
    Err(patch::misfit(shown, why))
}
