//! Rules of RuntimeClasses.

use std::collections::BTreeSet;

use serde_json::json;

use super::errors::Errors;
use super::field::Field;
use super::{format, metadata, pod};

pub(super) fn runtime_class(class: &Field<'_>, errors: &mut Errors) {
    errors.required_format(&class.get("handler"), format::dns1123_label);
    let (overhead, scheduling) = (class.get("overhead"), class.get("scheduling"));
    pod::resources::overhead(&overhead.get("podFixed").named(overhead.path()), errors);
    metadata::labels(&scheduling.get("nodeSelector"), errors);
    let tolerations = scheduling.get("tolerations");
    pod::tolerations(&tolerations, errors);
    let mut seen = BTreeSet::new();
    for toleration in tolerations.items() {
        let [key, operator, value, effect] = ["key", "operator", "value", "effect"].map(|field| toleration.get(field).text());
        if !seen.insert([key, operator, value, effect]) {
            let seconds = toleration.get("tolerationSeconds");
            let shown = json!({
                "Key": key, "Operator": operator, "Value": value, "Effect": effect, "TolerationSeconds": seconds.value(),
            });
            errors.duplicate_as(toleration.path(), shown, "");
        }
    }
}

pub(super) fn runtime_class_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    runtime_class(new, errors);
    errors.immutable_text(&new.get("handler"), &old.get("handler"));
}
