//! What it means that everything has come to what was asked.

use jiff::Timestamp;
use serde_json::Value;

use crate::scene::{Deployment, Pod, Scene, Set};

/// What is not yet as it was asked for.
pub(super) fn fault(scene: &Scene, now: Timestamp) -> Option<String> {
    if let Some(node) = scene.nodes.away() {
        return Some(format!("{node} is not back"));
    }
    let stray =
        scene.pods.values().find(|pod| !pod.finished && scene.deployment_of(pod).is_none() && scene.set_of(pod).is_none());
    if let Some(pod) = stray {
        return Some(format!("the pod {} belongs to nothing", pod.meta.name));
    }
    let of_deployment = scene.deployments.values().find_map(|deployment| fault_of(scene, deployment, now));
    of_deployment.or_else(|| scene.sets.values().find_map(|set| fault_of_set(scene, set, now)))
}

fn fault_of_set(scene: &Scene, set: &Set, now: Timestamp) -> Option<String> {
    let (name, uid) = (&set.meta.name, &set.meta.uid);
    let replicas = if set.daemon { scene.nodes.count() } else { set.replicas };
    if set.meta.going || !set.observed {
        return Some(format!("{name} has not been looked at"));
    }
    let newest = scene.revisions_of(uid).max_by_key(|revision| revision.number);
    let newest =
        newest.filter(|newest| serde_json::from_str(&set.template).is_ok_and(|template: Value| template == newest.template));
    let Some(newest) = newest else { return Some(format!("the newest revision of {name} is not its template")) };
    let is_new = |pod: &&Pod| !pod.revision.is_empty() && newest.meta.name.ends_with(&pod.revision);
    let available = |pod: &&Pod| pod.is_available(set.min_ready_seconds, now);
    let (all, new) = (scene.pods_of(uid).count(), scene.pods_of(uid).filter(is_new).filter(available).count());
    if [all, new] != [replicas; 2] {
        return Some(format!("{name} has {new} available new pods and {all} pods in all, {replicas} are asked for"));
    }
    let ordinal = |pod: &Pod| pod.meta.name.rsplit('-').next()?.parse().ok();
    let beyond = |pod: &&Pod| !set.daemon && !ordinal(pod).is_some_and(|ordinal| set.has(ordinal));
    if let Some(pod) = scene.pods_of(uid).find(beyond) {
        return Some(format!("{} is none of the pods from {} on", pod.meta.name, set.start));
    }
    if let Some(fault) = fault_of_claims(scene, set) {
        return Some(fault);
    }
    if set.counts != [replicas; 3] {
        return Some(format!("{name} says {:?} of its {replicas} pods", set.counts));
    }
    if !set.daemon && [&set.current, &set.update] != [&newest.meta.name; 2] {
        return Some(format!("{name} says that it goes from {} to {}", set.current, set.update));
    }
    let old = scene.revisions_of(uid).count() - 1;
    (old > set.history_limit).then(|| format!("{name} keeps {old} old revisions, {} are allowed", set.history_limit))
}

fn fault_of_claims(scene: &Scene, set: &Set) -> Option<String> {
    let used = || scene.pods_of(&set.meta.uid).flat_map(|pod| &pod.claims);
    let staying = |name: &str| scene.claims.values().any(|claim| claim.meta.name == name && !claim.meta.going);
    if let Some(missing) = used().find(|name| !staying(name)) {
        return Some(format!("the claim {missing} is not there"));
    }
    if set.has_claims && used().count() != set.replicas {
        return Some(format!("not all pods of {} have a claim", set.meta.name));
    }
    let lives =
        |uid: &String| scene.sets.values().any(|set| set.meta.uid == *uid) || scene.pods.values().any(|pod| pod.meta.uid == *uid);
    let left = scene.claims.values().find(|claim| !claim.owners.is_empty() && !claim.owners.iter().any(lives));
    left.map(|claim| format!("the claim {} is there without any of its owners", claim.meta.name))
}

fn fault_of(scene: &Scene, deployment: &Deployment, now: Timestamp) -> Option<String> {
    let (name, uid, replicas) = (&deployment.meta.name, &deployment.meta.uid, deployment.replicas);
    if deployment.meta.going || !deployment.is_observed() {
        return Some(format!("{name} has not been looked at"));
    }
    let new = scene.replica_sets_of(uid).find(|set| set.template == deployment.template);
    let Some(new) = new else { return Some(format!("{name} has no ReplicaSet for its template")) };
    let pods = scene.pods_of(&new.meta.uid).filter(|pod| pod.is_available(new.min_ready_seconds, now)).count();
    let all = scene.replica_sets_of(uid).map(|set| scene.pods_of(&set.meta.uid).count()).sum::<usize>();
    if pods != replicas || all != replicas {
        return Some(format!("{name} has {pods} available new pods and {all} pods in all, {replicas} are asked for"));
    }
    let status = [deployment.status_replicas, deployment.status_updated, deployment.status_available];
    if status != [replicas; 3] {
        return Some(format!("{name} says {status:?} of its {replicas} pods"));
    }
    if new.revision != deployment.revision {
        return Some(format!("{name} is at revision {}, its ReplicaSet at {}", deployment.revision, new.revision));
    }
    let old = scene.replica_sets_of(uid).count() - 1;
    (old > deployment.history_limit)
        .then(|| format!("{name} keeps {old} old ReplicaSets, {} are allowed", deployment.history_limit))
}
