//! One pod an ordinal: made from the lowest up, taken away from the highest down.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::{Action, Planning, Reason, WaitingOn, identity};
use crate::{note::Note, owner, replica};

impl Planning<'_> {
    /// Makes what is missing and takes away what is too much; says whether everything is in place for a rollout.
    ///
    /// In order, the first ordinal that is not as it should be holds up those behind it.
    pub(super) fn keep_in_order(&mut self) -> bool {
        let slots = self.slots.clone();
        self.failures.forget(self.now);
        let mut complete = true;
        for slot in &slots {
            let in_place = match &slot.pod {
                None => {
                    self.create(slot.ordinal);
                    false
                }
                Some(pod) => self.keep(slot.ordinal, pod),
            };
            if !in_place && self.settings.ordered {
                return false;
            }
            complete &= slot.pod.is_some();
        }
        self.take_away() && complete
    }

    fn create(&mut self, ordinal: i32) {
        let pod = self.new_pod(ordinal);
        let pod_name = owner::name(&pod.metadata).to_owned();
        let doing = format!("create Pod {pod_name} in StatefulSet {}", owner::name(&self.set.metadata));
        let leftover = self.leftover_claims(&pod_name);
        if !leftover.is_empty() {
            return self.wait_for_claims(&doing, &leftover);
        }
        self.make_claims(&pod_name);
        let text = format!("{doing} successful");
        self.step(Action::CreatePod(Box::new(pod)), Reason::MissingPod, Some(Note::normal("SuccessfulCreate", text)));
    }

    fn wait_for_claims(&mut self, doing: &str, leftover: &[Arc<PersistentVolumeClaim>]) {
        let deleted = leftover.iter().filter(|claim| claim.metadata.deletion_timestamp.is_some());
        let mut why: Vec<String> =
            deleted.map(|claim| format!("pvc {} is being deleted", owner::name(&claim.metadata))).collect();
        if why.len() > 1 {
            // As upstream prints several errors at once.
            why = vec![format!("[{}]", why.join(", "))];
        }
        self.notes.extend(why.iter().map(|why| Note::warning("FailedCreate", format!("{doing} failed error: {why}"))));
        let waiting = leftover.iter().map(|claim| WaitingOn::Claim { claim: owner::name(&claim.metadata).to_owned() });
        self.waiting.extend(waiting);
    }

    /// Whether the pod of a wanted ordinal serves.
    fn keep(&mut self, ordinal: i32, pod: &Arc<Pod>) -> bool {
        if self.is_available(pod) {
            self.restore_identity(ordinal, pod);
            return true;
        }
        let going = pod.metadata.deletion_timestamp.is_some();
        if !going && replica::is_finished(pod) {
            let (namespace, set) = (owner::namespace(&self.set.metadata), owner::name(&self.set.metadata));
            let pod_name = owner::name(&pod.metadata);
            if let Some(until) = self.failures.until(pod_name, self.now) {
                self.waiting.push(WaitingOn::Pause { pod: pod_name.to_owned(), until });
                return false;
            }
            self.failures.replaced(pod_name, self.now);
            let note = if replica::phase(pod) == "Failed" {
                let text = format!("StatefulSet {namespace}/{set} is recreating failed Pod {pod_name}");
                Note::warning("RecreatingFailedPod", text)
            } else {
                let text = format!("StatefulSet {namespace}/{set} is recreating terminated Pod {pod_name}");
                Note::normal("RecreatingTerminatedPod", text)
            };
            self.step(Action::DeletePod(Arc::clone(pod)), Reason::FinishedPod, Some(note));
            return false;
        }
        if !going && replica::phase(pod) == "Pending" {
            // It cannot start without them; somebody may have deleted one meanwhile.
            self.make_claims(owner::name(&pod.metadata));
        }
        let revision = identity::revision_of(pod);
        let on_delete = self.settings.strategy == super::Strategy::OnDelete;
        // Not ready: one that is ready, only not for long enough, does serve.
        let broken = !replica::is_ready(pod) && revision != self.wanted_revision(ordinal);
        if !going && broken && !on_delete && self.is_obsolete(revision, ordinal) {
            self.delete(pod, Reason::BrokenRevision);
        } else {
            self.waits_for(pod);
        }
        false
    }

    /// A pod that lost the label with its name, by which Services select it alone, gets it again.
    fn restore_identity(&mut self, ordinal: i32, pod: &Arc<Pod>) {
        let pod_name = owner::name(&pod.metadata);
        let labels = identity::labels(pod_name, ordinal);
        let says = |name: &str| pod.metadata.labels.as_ref().is_some_and(|has| has.get(name) == labels.get(name));
        // As upstream, which does not look at the ordinal's alone: pods from before it was introduced have none.
        if says(identity::LABEL_POD_NAME) {
            return;
        }
        let text = format!("update Pod {pod_name} in StatefulSet {} successful", owner::name(&self.set.metadata));
        let note = Note::normal("SuccessfulUpdate", text);
        self.step(Action::SetPodLabels(Arc::clone(pod), labels), Reason::Identity, Some(note));
    }

    /// Whether nobody wants that revision at that ordinal, now or on the way: neither where the rollout comes from nor where it goes.
    fn is_obsolete(&self, revision: &str, ordinal: i32) -> bool {
        let target = self.wanted_revision(ordinal);
        revision != target && (revision != self.current || self.current == self.update || target == self.update)
    }

    fn is_of_no_use(&self, pod: &Pod) -> bool {
        let is_obsolete = |ordinal| self.is_obsolete(identity::revision_of(pod), ordinal);
        identity::ordinal_in(owner::name(&self.set.metadata), owner::name(&pod.metadata)).is_some_and(is_obsolete)
    }

    /// Deletes pods of unwanted ordinals, highest first; says whether none is left. In order, one that is not available is waited for,
    /// unless it is the lowest such: what shrinks while it is ill must not lose what may be its last copy. One that no rollout wants any
    /// more has none.
    fn take_away(&mut self) -> bool {
        let condemned = self.condemned.clone();
        let is_ill = |pod: &Arc<Pod>| !self.is_available(pod) && !self.is_of_no_use(pod);
        let held: Vec<bool> = condemned.iter().map(|pod| self.settings.ordered && is_ill(pod)).collect();
        let lowest_ill = held.iter().rposition(|held| *held);
        for (index, pod) in condemned.iter().enumerate() {
            let is_held = held[index] && Some(index) != lowest_ill;
            if is_held || pod.metadata.deletion_timestamp.is_some() {
                self.waits_for(pod);
            } else {
                self.delete(pod, Reason::ScaleDown);
            }
            if self.settings.ordered {
                return false;
            }
        }
        condemned.is_empty()
    }
}
