//! `PATCH` of one object: JSON, merge and strategic patches; `apply.rs` has server-side apply.

use serde_json::Value;
use windlass_api::{codec::json::Document, patch, schema, status::Status, validation::Cause};

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

/// What a step of a JSON patch may say.
const STEP_KEYS: [&str; 4] = ["op", "path", "from", "value"];

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
    let Document { value: document, duplicates } = parse(body)?;
    let complaints = complaints(media, &document, duplicates);
    admission::update(call).await?;
    let change = Change { call, surface, books: Books::Update, dry_run, unconditional: true };
    let mut edit = |old: &Value| {
        let patched = merged(create::own(call.kind), media, &document, old)?;
        require_fit(
            create::own(call.kind),
            media,
            &document,
            &patched,
            (validation == FieldValidation::Strict).then_some(&complaints),
        )?;
        if validation == FieldValidation::Warn {
            complaints.iter().for_each(|line| call.warn(line));
        }
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
pub(crate) fn parse(body: &[u8]) -> Result<Document, Status> {
    let parsed = body::parse(body, BodyMedia::Json).or_else(|json| body::parse(body, BodyMedia::Yaml).map_err(|_| json));
    parsed.map_err(|error| bad_request(format!("error decoding patch: {error}")))
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

/// What is wrong with the patch itself, a line each: keys that come twice, and what a step of a JSON patch does not have.
fn complaints(media: PatchMedia, patch: &Value, duplicates: Vec<String>) -> Vec<String> {
    let (PatchMedia::Json, Some(steps)) = (media, patch.as_array()) else { return duplicates };
    let mut lines = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let unknown = step.as_object().into_iter().flat_map(|step| step.keys()).filter(|key| !STEP_KEYS.contains(&key.as_str()));
        lines.extend(unknown.map(|key| format!("json patch unknown field \"[{index}].{}\"", key.escape_debug())));
        let known = STEP_KEYS.map(|key| format!("duplicate field \"[{index}].{key}"));
        let repeated = duplicates.iter().filter(|line| known.iter().any(|start| line.starts_with(start.as_str())));
        lines.extend(repeated.map(|line| format!("json patch {line}")));
    }
    lines
}

/// What a patch makes must fit the kind; where validation is strict, `complaints` are about the patch itself. Upstream answers 422 here where a create is answered 400.
fn require_fit(
    kind: Gvk,
    media: PatchMedia,
    patch: &Value,
    patched: &Value,
    complaints: Option<&Vec<String>>,
) -> Result<(), Status> {
    let Some(message) = schema::message(kind.group, kind.version, kind.kind) else { return Ok(()) };
    let strategic = media == PatchMedia::Strategic;
    let wrong = if strategic { schema::convert_error(message, patched) } else { schema::decode_error(message, patched) };
    let why = wrong.or_else(|| {
        let lines = [complaints?.clone(), schema::check(message, patched)].concat();
        (!lines.is_empty()).then(|| schema::strict_error(&lines))
    });
    let Some(why) = why else { return Ok(()) };
    let shown = if strategic { patch::go_print(patch) } else { patched.to_string() };
    Err(patch::misfit(shown, why))
}
