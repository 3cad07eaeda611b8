//! Rules of roles and their bindings.

use serde_json::json;

use super::errors::Errors;
use super::field::Field;
use super::format;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(role: &Field<'_>, namespaced: bool, errors: &mut Errors) {
    for selector in role.get("aggregationRule").get("clusterRoleSelectors").items() {
        super::selector::label_selector(&selector, errors);
    }
    for rule in role.get("rules").items() {
        let (verbs, urls) = (rule.get("verbs"), rule.get("nonResourceURLs"));
        let (groups, resources, names) = (rule.get("apiGroups"), rule.get("resources"), rule.get("resourceNames"));
        if verbs.is_empty() {
            errors.required(&verbs, "verbs must contain at least one value");
        }
        if !urls.is_empty() {
            if namespaced {
                errors.invalid(&urls, "namespaced rules cannot apply to non-resource URLs");
            }
            if !groups.is_empty() || !resources.is_empty() || !names.is_empty() {
                errors.invalid(&urls, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if groups.is_empty() {
            errors.required(&groups, "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            errors.required(&resources, "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn role_binding(binding: &Field<'_>, namespaced: bool, errors: &mut Errors) {
    let role = binding.get("roleRef");
    errors.one_of(&role.get("apiGroup"), &[GROUP]);
    errors.one_of(&role.get("kind"), if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] });
    errors.required_format(&role.get("name"), format::path_segment);
    for subject in binding.get("subjects").items() {
        let (name, group, namespace) = (subject.get("name"), subject.get("apiGroup"), subject.get("namespace"));
        errors.required_text(&name);
        match subject.get("kind").text() {
            "ServiceAccount" => {
                errors.optional_format(&name, format::dns1123_subdomain);
                if !group.text().is_empty() {
                    errors.unsupported(&group, &[""]);
                }
                if !namespaced {
                    errors.required_text(&namespace);
                }
            }
            kind @ ("User" | "Group") => {
                if name.text().is_empty() {
                    errors.invalid_as(name.path(), "", format!("{} name cannot be empty", kind.to_lowercase()));
                }
                errors.one_of(&group, &[GROUP]);
            }
            _ => errors.unsupported(&subject.get("kind"), &["ServiceAccount", "User", "Group"]),
        }
    }
}

pub(super) fn role_binding_update(new: &Field<'_>, old: &Field<'_>, namespaced: bool, errors: &mut Errors) {
    role_binding(new, namespaced, errors);
    let role = new.get("roleRef");
    if role.value() != old.get("roleRef").value() {
        let [group, kind, name] = ["apiGroup", "kind", "name"].map(|field| role.get(field).text());
        let shown = json!({ "APIGroup": group, "Kind": kind, "Name": name });
        errors.invalid_as(role.path(), shown, "cannot change roleRef");
    }
}
