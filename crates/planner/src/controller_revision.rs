//! ControllerRevisions: the remembered templates of a DaemonSet or StatefulSet, and which of them are forgotten.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    Resource,
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};
use windlass_api::{
    names::{ANNOTATION_LAST_APPLIED, LABEL_CONTROLLER_REVISION_HASH},
    selector::Selector,
};

use crate::{
    claim::{self, Claim},
    owner, template,
};

/// Label that upstream's history puts on every revision it makes for a StatefulSet.
pub const LABEL_HASH: &str = "controller.kubernetes.io/hash";

/// What to do to one revision.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make it. If another object has its name, the collision count of the owner goes up and the plan is made anew.
    Create(Box<ControllerRevision>),
    /// Replace it: an old template is the newest again, hence the next number; or it changes hands.
    Update(Box<ControllerRevision>),
    /// Delete it: nobody is of it, and the history is long enough without.
    Delete(Arc<ControllerRevision>),
}

/// The owned revisions, oldest first, with the one of the present template. Those that nobody owns and that the owner selects are
/// its own, too: who was deleted and left them behind has come back, and its pods are of them.
#[derive(Debug, Clone)]
pub struct History {
    revisions: Vec<Arc<ControllerRevision>>,
    /// The revision of the present template, as it is or will be after [`History::actions`].
    pub newest: ControllerRevision,
    /// What makes all of it so. Nothing, for an owner that is being deleted: what it made would be left behind, too.
    pub actions: Vec<Action>,
    owner_goes: bool,
}

/// Name of a revision.
pub fn name(revision: &ControllerRevision) -> &str {
    owner::name(&revision.metadata)
}

/// The hash in a revision's labels.
pub fn hash(revision: &ControllerRevision) -> &str {
    let label = |key| revision.metadata.labels.as_ref()?.get(key).map(String::as_str);
    label(LABEL_CONTROLLER_REVISION_HASH).or_else(|| label(LABEL_HASH)).unwrap_or_default()
}

/// The template that a revision remembers; `None` for data that is not ours.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// A strategic merge patch that brings the template back: what `kubectl rollout undo` applies.
fn data_of(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or(Value::Null);
    if let Some(fields) = template.as_object_mut() {
        fields.insert("$patch".to_owned(), json!("replace"));
    }
    json!({ "spec": { "template": template } })
}

impl History {
    /// Finds the revision of `template` among the owner's, or plans to make it.
    ///
    /// `wanted` is the owner's selector, and `hash_label` the label that carries the hash of a revision.
    pub fn of<K: Resource>(
        owner_meta: &ObjectMeta,
        wanted: &Selector,
        template: &PodTemplateSpec,
        all: &[Arc<ControllerRevision>],
        collision_count: Option<i32>,
        hash_label: &str,
    ) -> Self {
        let (mut revisions, mut adopted) = (Vec::new(), BTreeSet::new());
        for revision in all {
            // A revision stays its owner's whatever becomes of its labels, as upstream.
            if owner::is_controlled_by(&revision.metadata, owner::uid(owner_meta)) {
                revisions.push(Arc::clone(revision));
            } else if claim::claim(owner_meta, wanted, &revision.metadata) == Claim::Adopt {
                let mut revision = ControllerRevision::clone(revision);
                let owners = revision.metadata.owner_references.get_or_insert_default();
                owners.push(owner::controller_reference::<K>(owner_meta));
                adopted.insert(name(&revision).to_owned());
                revisions.push(Arc::new(revision));
            }
        }
        revisions.sort_by(|a, b| (a.revision, name(a)).cmp(&(b.revision, name(b))));
        let next = revisions.last().map_or(1, |last| last.revision + 1);
        let same = |revision: &&Arc<ControllerRevision>| {
            template_of(revision).is_some_and(|remembered| template::same(&remembered, template))
        };
        let annotations = copied_annotations(owner_meta);
        let (newest, made) = match revisions.iter().rev().find(same) {
            Some(found) => {
                let mut newest = ControllerRevision::clone(found);
                // Two can have the last number: who made the second had not seen the first.
                let is_last = revisions.iter().all(|other| other.revision < found.revision || name(other) == name(found));
                newest.revision = if is_last { found.revision } else { next };
                // `kubectl rollout history` reads the change cause from here.
                newest.metadata.annotations = annotations.or(newest.metadata.annotations);
                let changed = newest != **found || adopted.contains(name(found));
                let made = changed.then(|| Action::Update(Box::new(newest.clone())));
                (newest, made)
            }
            None => {
                let newest = new_revision::<K>(owner_meta, template, next, collision_count, hash_label, annotations);
                (newest.clone(), Some(Action::Create(Box::new(newest))))
            }
        };
        let others = revisions.iter().filter(|revision| name(revision) != name(&newest) && adopted.contains(name(revision)));
        let mut actions: Vec<_> = others.map(|revision| Action::Update(Box::new(ControllerRevision::clone(revision)))).collect();
        actions.extend(made);
        let owner_goes = owner_meta.deletion_timestamp.is_some();
        if owner_goes {
            actions.clear();
        }
        Self { revisions, newest, actions, owner_goes }
    }

    /// A revision by its name.
    pub fn find(&self, wanted: &str) -> Option<&ControllerRevision> {
        if wanted == name(&self.newest) {
            return Some(&self.newest);
        }
        self.revisions.iter().find(|revision| name(revision) == wanted).map(AsRef::as_ref)
    }

    /// The oldest revisions beyond `limit` that are not `live` (by name).
    pub fn surplus(&self, live: &BTreeSet<String>, limit: i32) -> Vec<Action> {
        if self.owner_goes {
            return Vec::new();
        }
        let idle = |revision: &&Arc<ControllerRevision>| !live.contains(name(revision)) && name(revision) != name(&self.newest);
        let idle: Vec<_> = self.revisions.iter().filter(idle).collect();
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        idle.into_iter().take(surplus).map(|revision| Action::Delete(Arc::clone(revision))).collect()
    }
}

fn copied_annotations(owner_meta: &ObjectMeta) -> Option<std::collections::BTreeMap<String, String>> {
    let mut annotations = owner_meta.annotations.clone()?;
    annotations.remove(ANNOTATION_LAST_APPLIED);
    (!annotations.is_empty()).then_some(annotations)
}

fn new_revision<K: Resource>(
    owner_meta: &ObjectMeta,
    template: &PodTemplateSpec,
    revision: i64,
    collision_count: Option<i32>,
    hash_label: &str,
    annotations: Option<std::collections::BTreeMap<String, String>>,
) -> ControllerRevision {
    let hash = template::hash(template, collision_count.filter(|count| *count > 0));
    let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(hash_label.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner::name(owner_meta))),
            namespace: owner_meta.namespace.clone(),
            labels: Some(labels),
            annotations,
            owner_references: Some(vec![owner::controller_reference::<K>(owner_meta)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data_of(template))),
        revision,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::{api::apps::v1::StatefulSet, apimachinery::pkg::apis::meta::v1::Time};

    use super::*;

    fn owner_meta() -> ObjectMeta {
        let annotations = [("kubernetes.io/change-cause".to_owned(), "because".to_owned())].into();
        ObjectMeta {
            name: Some("db".to_owned()),
            uid: Some("u".to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }
    }

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "db", "image": image }] },
        }))
        .unwrap()
    }

    fn history(image: &str, all: &[Arc<ControllerRevision>]) -> History {
        history_of(&owner_meta(), image, all)
    }

    fn history_of(owner_meta: &ObjectMeta, image: &str, all: &[Arc<ControllerRevision>]) -> History {
        let selector = serde_json::from_value(json!({ "matchLabels": { "app": "db" } })).unwrap();
        let wanted = Selector::from_typed(Some(&selector)).unwrap();
        History::of::<StatefulSet>(owner_meta, &wanted, &template(image), all, None, LABEL_HASH)
    }

    fn orphan(revision: &ControllerRevision) -> Arc<ControllerRevision> {
        let mut orphan = revision.clone();
        orphan.metadata.owner_references = None;
        Arc::new(orphan)
    }

    #[test]
    fn a_b_a_gives_the_old_revision_the_next_number() {
        let a = Arc::new(history("a", &[]).newest);
        assert_eq!((a.revision, template_of(&a)), (1, Some(template("a"))));
        assert_eq!(history("a", std::slice::from_ref(&a)).actions, []);
        let b = Arc::new(history("b", std::slice::from_ref(&a)).newest);
        assert_eq!(b.revision, 2);
        let again = history("a", &[a.clone(), b]);
        assert_eq!((name(&again.newest), again.newest.revision), (name(&a), 3));
        assert!(matches!(&again.actions[..], [Action::Update(_)]));
    }

    #[test]
    fn of_two_revisions_with_the_last_number_the_newest_gets_the_next() {
        let a = Arc::new(history("a", &[]).newest);
        let b = Arc::new(history("b", &[]).newest);
        for (image, of_it) in [("a", &a), ("b", &b)] {
            let history = history(image, &[a.clone(), b.clone()]);
            assert_eq!((name(&history.newest), history.newest.revision), (name(of_it), 2));
        }
    }

    #[test]
    fn who_comes_back_takes_over_the_history_that_was_left_behind() {
        let a = history("a", &[]).newest;
        let b = history("b", &[Arc::new(a.clone())]).newest;
        let mut of_another = ControllerRevision::clone(&orphan(&a));
        of_another.metadata.labels = None;
        let back = history("b", &[orphan(&a), orphan(&b), Arc::new(of_another)]);
        assert_eq!(back.newest, b);
        assert_eq!(back.actions, [Action::Update(Box::new(a)), Action::Update(Box::new(b))]);
    }

    #[test]
    fn a_revision_that_lost_its_labels_is_neither_let_go_nor_made_again() {
        let mut a = history("a", &[]).newest;
        a.metadata.labels = None;
        assert_eq!(history("a", &[Arc::new(a)]).actions, []);
    }

    #[test]
    fn who_is_being_deleted_makes_and_takes_nothing() {
        let mut going = owner_meta();
        going.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let a = history("a", &[]).newest;
        for all in [vec![], vec![orphan(&a)], vec![Arc::new(a.clone())]] {
            let history = history_of(&going, "b", &all);
            assert_eq!((&*history.actions, &*history.surplus(&BTreeSet::new(), 0)), (&[][..], &[][..]));
        }
    }

    #[test]
    fn ten_is_newer_than_nine_and_live_ones_stay() {
        let mut all = Vec::new();
        for number in 1..=12 {
            all.push(Arc::new(history(&format!("image-{number}"), &all).newest));
        }
        let live = BTreeSet::from([name(&all[1]).to_owned()]);
        let newest = history("image-12", &all);
        let gone: Vec<i64> = newest
            .surplus(&live, 8)
            .iter()
            .map(|action| if let Action::Delete(revision) = action { revision.revision } else { 0 })
            .collect();
        assert_eq!(gone, [1, 3]);
    }
}
