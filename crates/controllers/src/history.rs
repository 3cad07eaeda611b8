//! ControllerRevisions: what the DaemonSet and StatefulSet loops do to their histories.

use std::sync::Arc;

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use windlass_planner::{
    controller_revision::{self, Action},
    owner,
};

use crate::{
    api::{self, Deletion, Error},
    cache::Index,
    context::Context,
};

/// What the name of a new revision turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is as planned; the newest revision written, 0 if none was.
    Done(u64),
    /// Another object has the name: the owner's collision count must go up.
    Collision,
}

/// Carries the actions out, in order.
pub(crate) async fn apply(context: &Context, owner_meta: &ObjectMeta, actions: Vec<Action>) -> Result<Outcome, Error> {
    let client = &context.client;
    let mut newest = 0;
    for action in actions {
        match action {
            Action::Create(revision) => match api::create(client, &*revision).await {
                Ok(written) => newest = newest.max(written.revision),
                Err(error) if error.is_already_exists() => {
                    let path = api::path::<ControllerRevision>(&revision.metadata);
                    let mut existing: ControllerRevision = api::get(client, &path, "application/json").await?;
                    let owner = owner::controller_uid(&existing.metadata);
                    let others = owner.is_some_and(|uid| uid != owner::uid(owner_meta));
                    if others || controller_revision::template_of(&existing) != controller_revision::template_of(&revision) {
                        return Ok(Outcome::Collision);
                    }
                    let written = if owner.is_some() {
                        api::revision(&existing.metadata)
                    } else {
                        // Left behind, and not yet seen to be.
                        let owners = revision.metadata.owner_references.into_iter().flatten();
                        existing.metadata.owner_references.get_or_insert_default().extend(owners);
                        api::replace(client, &existing).await?.revision
                    };
                    newest = newest.max(written);
                }
                Err(error) => return Err(error),
            },
            Action::Update(revision) => newest = newest.max(api::replace(client, &*revision).await?.revision),
            Action::Delete(revision) => {
                match api::delete::<ControllerRevision>(client, &revision.metadata, &Deletion::of(&revision.metadata)).await {
                    Ok(_) => {}
                    Err(error) if error.is_not_found() || error.is_conflict() => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(Outcome::Done(newest))
}

/// The revisions that an owner has or could have.
pub(crate) fn of(context: &Context, owner_meta: &ObjectMeta) -> Vec<Arc<ControllerRevision>> {
    let mut found = context.controller_revisions.under(&Index::Owner(owner::uid(owner_meta).to_owned()));
    found.extend(context.controller_revisions.under(&Index::Orphan(owner::namespace(owner_meta).to_owned())));
    found
}
