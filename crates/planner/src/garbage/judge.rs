//! What becomes of one object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{Action, FINALIZER_FOREGROUND, FINALIZER_ORPHAN, Graph, Object, Propagation, Reason, Step};

pub(super) fn judge(graph: &Graph, object: &Object) -> Vec<Step> {
    if object.orphans_dependents() {
        return orphan(graph, object);
    }
    if object.waits_for_dependents() {
        let blocked = graph.dependents_of(&object.uid).any(|dependent| blocks(dependent, &object.uid));
        return if blocked { Vec::new() } else { vec![without_finalizer(object, FINALIZER_FOREGROUND, Reason::NothingLeft)] };
    }
    if object.deleting || object.owners.is_empty() {
        return Vec::new();
    }
    by_owners(graph, object)
}

fn blocks(dependent: &Object, owner_uid: &str) -> bool {
    dependent.owners.iter().any(|owner| owner.uid == owner_uid && owner.block_owner_deletion == Some(true))
}

fn step(object: &Object, action: Action, reason: Reason) -> Step {
    Step { object: object.clone(), action, reason }
}

fn without_finalizer(object: &Object, name: &str, reason: Reason) -> Step {
    let left = object.finalizers.iter().filter(|finalizer| *finalizer != name).cloned().collect();
    step(object, Action::SetFinalizers(left), reason)
}

/// First every dependent forgets its owner, then the owner may go.
fn orphan(graph: &Graph, object: &Object) -> Vec<Step> {
    let forget = |dependent: &Object| {
        let left = dependent.owners.iter().filter(|owner| owner.uid != object.uid).cloned().collect();
        step(dependent, Action::SetOwners(left), Reason::Orphaned)
    };
    let steps: Vec<Step> = graph.dependents_of(&object.uid).map(forget).collect();
    if steps.is_empty() { vec![without_finalizer(object, FINALIZER_ORPHAN, Reason::NothingLeft)] } else { steps }
}

/// An object between an owner and a dependent that both wait may close a circle, in which each would wait for the next for
/// ever. As upstream, it then holds up none of its owners, which opens the circle if it is one.
fn unblock(graph: &Graph, object: &Object) -> Option<Step> {
    let holds_up = object.owners.iter().any(|owner| owner.block_owner_deletion == Some(true));
    if !holds_up || !graph.dependents_of(&object.uid).any(Object::waits_for_dependents) {
        return None;
    }
    let open = |owner: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() };
    Some(step(object, Action::SetOwners(object.owners.iter().map(open).collect()), Reason::Circle))
}

fn by_owners(graph: &Graph, object: &Object) -> Vec<Step> {
    let mut solid: Vec<&OwnerReference> = Vec::new();
    let (mut gone, mut waiting, mut unknown) = (0, 0, Vec::new());
    for reference in &object.owners {
        match graph.get(&reference.uid) {
            Some(owner) if owner.waits_for_dependents() => waiting += 1,
            Some(_) => solid.push(reference),
            None if graph.is_absent(&reference.uid) => gone += 1,
            None => unknown.push(reference),
        }
    }
    if !unknown.is_empty() {
        let verify = |owner: &OwnerReference| Action::Verify { owner: owner.clone(), namespace: object.namespace.clone() };
        return unknown.into_iter().map(|owner| step(object, verify(owner), Reason::OwnerUnknown)).collect();
    }
    if !solid.is_empty() {
        if gone + waiting == 0 {
            return Vec::new();
        }
        let left = solid.into_iter().cloned().collect();
        return vec![step(object, Action::SetOwners(left), Reason::OtherOwnerStays)];
    }
    let has_dependents = graph.dependents_of(&object.uid).next().is_some();
    if waiting > 0 && has_dependents {
        return vec![
            unblock(graph, object)
                .unwrap_or_else(|| step(object, Action::Delete(Propagation::Foreground), Reason::OwnersWaiting)),
        ];
    }
    let propagation = if object.has_finalizer(FINALIZER_ORPHAN) {
        Propagation::Orphan
    } else if object.has_finalizer(FINALIZER_FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    let reason = if waiting > 0 { Reason::OwnersWaiting } else { Reason::OwnersGone };
    vec![step(object, Action::Delete(propagation), reason)]
}
