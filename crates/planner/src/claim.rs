//! Adoption and release: which objects an owner may call its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use windlass_api::selector::Selector;

use crate::owner;

/// What an owner does about one object that it owns or could own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It owns it, and its selector still matches.
    Keep,
    /// Nobody owns it and its selector matches: take it.
    Adopt,
    /// It owns it, but the labels no longer match: let it go.
    Release,
    /// Somebody else's, or nothing to do with it.
    Ignore,
}

/// Decides about `object` for the owner. An owner that is being deleted, and an object that is, change no hands.
pub fn claim(owner: &ObjectMeta, wanted: &Selector, object: &ObjectMeta) -> Claim {
    let matches = wanted.matches(&object.labels.as_ref());
    let owner_deleted = owner.deletion_timestamp.is_some();
    match owner::controller_of(object) {
        Some(controller) if controller.uid == owner::uid(owner) => match (matches, owner_deleted) {
            (true, _) => Claim::Keep,
            (false, true) => Claim::Ignore,
            (false, false) => Claim::Release,
        },
        Some(_) => Claim::Ignore,
        None if matches && !owner_deleted && object.deletion_timestamp.is_none() => Claim::Adopt,
        None => Claim::Ignore,
    }
}
