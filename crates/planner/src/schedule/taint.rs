//! Taints and tolerations.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether one toleration covers the taint.
pub fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    if text(&toleration.effect).is_some_and(|effect| effect != taint.effect) {
        return false;
    }
    if text(&toleration.key).is_some_and(|key| key != taint.key) {
        return false;
    }
    let (have, wanted) = (taint.value.as_deref().unwrap_or_default(), toleration.value.as_deref().unwrap_or_default());
    let number = |text: &str| text.parse::<i64>().ok();
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => have == wanted,
        "Exists" => true,
        "Lt" => number(have).zip(number(wanted)).is_some_and(|(have, wanted)| have < wanted),
        "Gt" => number(have).zip(number(wanted)).is_some_and(|(have, wanted)| have > wanted),
        _ => false,
    }
}

/// Whether any of the tolerations covers the taint.
pub fn tolerated(tolerations: Option<&[Toleration]>, taint: &Taint) -> bool {
    tolerations.into_iter().flatten().any(|toleration| covers(toleration, taint))
}

/// Whether the taint keeps pods off that do not tolerate it.
pub fn forbids(taint: &Taint) -> bool {
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
}
