//! Revisions: which ReplicaSet belongs to the present template, how a new one is made, and which old ones are forgotten.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::{
    ANNOTATION_DESIRED_REPLICAS, ANNOTATION_LAST_APPLIED, ANNOTATION_MAX_REPLICAS, ANNOTATION_REVISION,
    ANNOTATION_REVISION_HISTORY, LABEL_POD_TEMPLATE_HASH,
};

use super::{Action, Reason, Rollout, Step, member, member::Member, settings, status};
use crate::{note::Note, owner, template};

/// Most characters of the revision-history annotation; the oldest revisions fall out. Upstream's limit.
const REVISION_HISTORY_CHARS: usize = 2000;
/// Longest name that leaves room for a pod's suffix: 63 less a dash and five letters would do, names may have 253.
const NAME_CHARS: usize = 253;

/// Annotation that asks for a rollback.
pub(super) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
/// Annotations that a Deployment and its ReplicaSets have each for themselves.
pub(super) const OWN_ANNOTATIONS: [&str; 6] = [
    ANNOTATION_LAST_APPLIED,
    ANNOTATION_REVISION,
    ANNOTATION_REVISION_HISTORY,
    ANNOTATION_DESIRED_REPLICAS,
    ANNOTATION_MAX_REPLICAS,
    ROLLBACK_TO,
];

/// Revision of a Deployment or ReplicaSet; 0 if it has none.
pub fn revision_of(meta: &ObjectMeta) -> i64 {
    owner::annotation(meta, ANNOTATION_REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Rollout<'_> {
    /// Finds the ReplicaSet of the present template, brings its revision and annotations up to date, or plans to make it.
    pub(super) fn sync_revision(&mut self, create: bool) {
        if self.new.is_some() {
            return;
        }
        let Some(wanted) = settings::template(self.deployment) else { return };
        // The oldest match wins, so that two with one template (adopted, say) do not take turns.
        let found = self.old.iter().position(|member| {
            member.seen().spec.as_ref().and_then(|spec| spec.template.as_ref()).is_some_and(|have| template::same(have, wanted))
        });
        match found {
            Some(index) => {
                let mut member = self.old.remove(index);
                let next = self.next_revision(revision_of(&member.seen().metadata));
                annotate(self.deployment, &mut member, next);
                let revision = revision_of(&member.object().metadata);
                self.set_revision(revision);
                self.status_found_replica_set(member.name());
                self.new = Some(member);
            }
            None if create => self.create_replica_set(),
            None => {}
        }
    }

    /// Plans the ReplicaSet of a template that has none.
    pub(super) fn create_replica_set(&mut self) {
        let revision = self.next_revision(0);
        let mut replica_set = new_replica_set(self.deployment);
        for (key, value) in copied(&self.deployment.metadata) {
            replica_set.metadata.annotations.get_or_insert_default().insert(key, value);
        }
        let annotations = replica_set.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_REVISION.to_owned(), revision.to_string());
        annotations.extend(member::sizing(self.deployment).map(|(key, value)| (key.to_owned(), value)));
        self.set_revision(revision);
        self.status_created_replica_set(owner::name(&replica_set.metadata));
        self.new = Some(Member::to_create(replica_set));
    }

    /// One more than the newest revision among the old ones, for a ReplicaSet that has revision `present`. The Deployment itself
    /// remembers a newer one that was pruned; before it was first looked at, it has the annotation from a manifest.
    fn next_revision(&self, present: i64) -> i64 {
        let newest = self.old.iter().map(|member| revision_of(&member.seen().metadata)).max().unwrap_or(0);
        let looked_at = self.status.observed_generation.is_some_and(|generation| generation > 0);
        let remembered = if looked_at { revision_of(&self.deployment.metadata) } else { 0 };
        let newest = if remembered > present { newest.max(remembered) } else { newest };
        newest.saturating_add(1)
    }

    fn set_revision(&mut self, revision: i64) {
        let text = revision.to_string();
        if owner::annotation(&self.deployment.metadata, ANNOTATION_REVISION) != Some(&text) {
            self.revision = Some(text);
        }
    }

    /// Plans to delete the oldest of the empty old ReplicaSets beyond the limit, by revision number.
    pub(super) fn prune_history(&mut self) {
        let Some(limit) = settings::revision_history_limit(self.deployment) else { return };
        let mut alive: Vec<&Member> =
            self.old.iter().filter(|member| member.seen().metadata.deletion_timestamp.is_none()).collect();
        let surplus = alive.len().saturating_sub(limit);
        alive.sort_by(|left, right| {
            let revisions = revision_of(&left.seen().metadata).cmp(&revision_of(&right.seen().metadata));
            revisions.then_with(|| member::by_age(left.seen(), right.seen()))
        });
        for member in alive.into_iter().take(surplus) {
            if member.status_replicas() == 0 && member::size_of(member.seen()) == 0 && member.size() == 0 && member.observed() {
                let action = Action::Delete(std::sync::Arc::clone(member.seen()));
                self.pruned.push(Step { action, reason: Reason::HistoryLimit, note: None });
            }
        }
    }
}

/// The annotations that a Deployment and its ReplicaSets have in common.
pub(super) fn copied(meta: &ObjectMeta) -> BTreeMap<String, String> {
    let all = meta.annotations.clone().unwrap_or_default();
    all.into_iter().filter(|(key, _)| !OWN_ANNOTATIONS.contains(&key.as_str())).collect()
}

/// Gives a ReplicaSet that is (again) the new one the next revision, the Deployment's annotations and minReadySeconds.
fn annotate(deployment: &Deployment, member: &mut Member, next: i64) {
    for (key, value) in copied(&deployment.metadata) {
        if owner::annotation(&member.object().metadata, &key) != Some(&value) {
            member.edit(Reason::Annotate).metadata.annotations.get_or_insert_default().insert(key, value);
        }
    }
    let before = owner::annotation(&member.object().metadata, ANNOTATION_REVISION).map(str::to_owned);
    let number = before.as_deref().unwrap_or("0").parse::<i64>();
    if number.is_ok_and(|number| number < next) {
        let annotations = member.edit(Reason::Annotate).metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_REVISION.to_owned(), next.to_string());
        if let Some(before) = before {
            let history = annotations.get(ANNOTATION_REVISION_HISTORY).map_or("", String::as_str);
            let history = append_history(history, &before);
            annotations.insert(ANNOTATION_REVISION_HISTORY.to_owned(), history);
        }
    }
    let seconds = settings::min_ready_seconds(deployment);
    let present = member.object().spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    if present != seconds
        && let Some(spec) = member.edit(Reason::Annotate).spec.as_mut()
    {
        spec.min_ready_seconds = Some(seconds).filter(|seconds| *seconds != 0);
    }
}

/// `history` with one more revision, the oldest dropped where it would grow too long.
fn append_history(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|part| !part.is_empty()).collect();
    revisions.push(revision);
    let length = |revisions: &[&str]| revisions.iter().map(|part| part.len() + 1).sum::<usize>();
    while revisions.len() > 1 && length(&revisions) > REVISION_HISTORY_CHARS {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// The ReplicaSet of the present template, empty, without annotations.
fn new_replica_set(deployment: &Deployment) -> ReplicaSet {
    let collision_count = deployment.status.as_ref().and_then(|status| status.collision_count);
    let mut pod_template = settings::template(deployment).cloned().unwrap_or_default();
    let hash = template::hash(&pod_template, collision_count);
    let labels = pod_template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(LABEL_POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let mut selector = deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    selector.match_labels.get_or_insert_default().insert(LABEL_POD_TEMPLATE_HASH.to_owned(), hash.clone());
    let base: String = owner::name(&deployment.metadata).chars().take(NAME_CHARS - hash.len() - 1).collect();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{base}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner::controller_reference::<Deployment>(&deployment.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: Some(settings::min_ready_seconds(deployment)).filter(|seconds| *seconds != 0),
            replicas: Some(0),
            selector,
            template: Some(pod_template),
        }),
        status: None,
    }
}

/// What it means that the name of a new ReplicaSet is taken.
#[derive(Debug, Clone, PartialEq)]
pub enum NameTaken {
    /// By the very ReplicaSet that was to be made: the cache was behind.
    Ours,
    /// By another: the status to write, so that the next hash differs.
    Collision(Box<DeploymentStatus>),
}

/// Judges the ReplicaSet that has the name already.
pub fn name_taken(deployment: &Deployment, existing: &ReplicaSet) -> NameTaken {
    let have = existing.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let same = have.zip(settings::template(deployment)).is_some_and(|(have, wanted)| template::same(have, wanted));
    if same && owner::is_controlled_by(&existing.metadata, owner::uid(&deployment.metadata)) {
        return NameTaken::Ours;
    }
    let mut status = deployment.status.clone().unwrap_or_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
    NameTaken::Collision(Box::new(status))
}

/// The status and the Event of a Deployment whose new ReplicaSet could not be made.
pub fn creation_failed(deployment: &Deployment, name: &str, error: &str, now: Timestamp) -> (DeploymentStatus, Note) {
    let message = format!("Failed to create new replica set \"{name}\": {error}");
    let mut changed = deployment.status.clone().unwrap_or_default();
    if settings::progress_deadline_seconds(deployment).is_some() {
        status::set_condition(
            &mut changed,
            status::condition(status::PROGRESSING, "False", "ReplicaSetCreateError", &message, now),
        );
    }
    (changed, Note::warning("ReplicaSetCreateError", message))
}
