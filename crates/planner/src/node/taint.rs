//! Taints, and the tolerations that let a pod live with them.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// `NoSchedule`: none comes.
    NoSchedule,
    /// `PreferNoSchedule`: none comes if there is room elsewhere.
    PreferNoSchedule,
    /// `NoExecute`: none comes, and those that are there go.
    NoExecute,
}

impl Effect {
    fn of(taint: &Taint) -> Option<Self> {
        match taint.effect.as_str() {
            "NoSchedule" => Some(Self::NoSchedule),
            "PreferNoSchedule" => Some(Self::PreferNoSchedule),
            "NoExecute" => Some(Self::NoExecute),
            _ => None,
        }
    }
}

/// Whether the toleration covers the taint: an absent effect covers all, `Exists` without a key covers every taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => {
            !key.is_empty() && toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}

/// The first taint of the node, among those with one of these effects, that no toleration covers.
pub fn untolerated<'a>(node: &'a Node, tolerations: &[Toleration], effects: &[Effect]) -> Option<&'a Taint> {
    let taints = node.spec.as_ref()?.taints.as_deref()?;
    taints.iter().find(|taint| {
        Effect::of(taint).is_some_and(|effect| effects.contains(&effect))
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn a_toleration_covers_what_it_names() {
        let taint =
            Taint { key: "gpu".to_owned(), value: Some("yes".to_owned()), effect: "NoSchedule".to_owned(), time_added: None };
        let cases = [
            (toleration("gpu", "Equal", "yes", "NoSchedule"), true),
            (toleration("gpu", "", "yes", ""), true),
            (toleration("gpu", "Equal", "no", ""), false),
            (toleration("gpu", "Exists", "", ""), true),
            (toleration("", "Exists", "", ""), true),
            (toleration("", "Equal", "yes", ""), false),
            (toleration("gpu", "Exists", "", "NoExecute"), false),
            (toleration("cpu", "Exists", "", ""), false),
        ];
        for (toleration, covered) in cases {
            assert_eq!(tolerates(&toleration, &taint), covered, "{toleration:?}");
        }
    }
}
