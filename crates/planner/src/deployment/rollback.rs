//! A rollback that is asked for by annotation: what very old clients mean by an undo.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use windlass_api::names::LABEL_POD_TEMPLATE_HASH;

use super::{
    Rewrite, Rollout,
    member::Member,
    revision::{OWN_ANNOTATIONS, ROLLBACK_TO, copied, revision_of},
    settings,
};
use crate::{note::Note, owner, template};

/// The revision that the annotation asks for, 0 for the one before; `None` without a number in it.
pub(super) fn asked(deployment: &Deployment) -> Option<i64> {
    owner::annotation(&deployment.metadata, ROLLBACK_TO)?.parse().ok()
}

impl Rollout<'_> {
    /// Gives the Deployment the template and annotations of a revision, or says why not; either way the wish is done with.
    pub(super) fn roll_back(&mut self, wanted: i64) {
        let mut deployment = Box::new(self.deployment.clone());
        let wanted = if wanted == 0 { self.last_revision() } else { Some(wanted) };
        let to = wanted.and_then(|wanted| {
            let mut seen = self.members().map(Member::seen);
            seen.find(|replica_set| revision_of(&replica_set.metadata) == wanted)
        });
        let note = match (wanted, to) {
            (None, _) => Note::warning("DeploymentRollbackRevisionNotFound", "Unable to find last revision."),
            (_, None) => Note::warning("DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to."),
            (Some(revision), Some(replica_set)) => go_back(&mut deployment, replica_set, revision),
        };
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.remove(ROLLBACK_TO);
        self.rewrite = Some(Rewrite { deployment, note });
    }

    /// The second newest.
    fn last_revision(&self) -> Option<i64> {
        let mut revisions: Vec<i64> = self.members().map(|member| revision_of(&member.object().metadata)).collect();
        revisions.sort_unstable();
        revisions.into_iter().rev().nth(1).filter(|revision| *revision > 0)
    }
}

fn go_back(deployment: &mut Deployment, to: &ReplicaSet, revision: i64) -> Note {
    let name = owner::name(&deployment.metadata).to_owned();
    let mut wanted = to.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    if let Some(labels) = wanted.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(LABEL_POD_TEMPLATE_HASH);
    }
    if settings::template(deployment).is_some_and(|present| template::same(present, &wanted)) {
        let text = format!("The rollback revision contains the same template as current deployment \"{name}\"");
        return Note::warning("DeploymentRollbackTemplateUnchanged", text);
    }
    if let Some(spec) = deployment.spec.as_mut() {
        spec.template = wanted;
    }
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.retain(|key, _| OWN_ANNOTATIONS.contains(&key.as_str()));
    annotations.extend(copied(&to.metadata));
    Note::normal("DeploymentRollback", format!("Rolled back deployment \"{name}\" to revision {revision}"))
}
