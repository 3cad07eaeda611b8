//! What it means that everything has come to what was asked.

use jiff::Timestamp;

use crate::scene::{Deployment, Scene};

/// What is not yet as it was asked for.
pub(super) fn fault(scene: &Scene, now: Timestamp) -> Option<String> {
    let stray = scene.pods.values().find(|pod| !pod.finished && scene.deployment_of(pod).is_none());
    if let Some(pod) = stray {
        return Some(format!("the pod {} belongs to nothing", pod.meta.name));
    }
    scene.deployments.values().find_map(|deployment| fault_of(scene, deployment, now))
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
