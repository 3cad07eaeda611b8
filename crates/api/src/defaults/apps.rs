//! Defaults of the workloads in `apps/v1`.

use serde_json::Value;

use super::fill::{blank, each, inside, text, unset, within};
use super::{pod, storage};

pub(super) fn deployment(deployment: &mut Value) {
    within(deployment, "spec", |spec| {
        unset(spec, "replicas", 1);
        within(spec, "strategy", |strategy| {
            blank(strategy, "type", "RollingUpdate");
            if text(strategy, "type") == "RollingUpdate" {
                within(strategy, "rollingUpdate", |rolling_update| {
                    unset(rolling_update, "maxUnavailable", "25%");
                    unset(rolling_update, "maxSurge", "25%");
                });
            }
        });
        unset(spec, "revisionHistoryLimit", 10);
        unset(spec, "progressDeadlineSeconds", 600);
        pod::template(spec, "template");
    });
}

pub(super) fn replica_set(replica_set: &mut Value) {
    within(replica_set, "spec", |spec| {
        unset(spec, "replicas", 1);
        pod::template(spec, "template");
    });
}

pub(super) fn daemon_set(daemon_set: &mut Value) {
    within(daemon_set, "spec", |spec| {
        within(spec, "updateStrategy", |strategy| {
            blank(strategy, "type", "RollingUpdate");
            if text(strategy, "type") == "RollingUpdate" {
                within(strategy, "rollingUpdate", |rolling_update| {
                    unset(rolling_update, "maxUnavailable", 1);
                    unset(rolling_update, "maxSurge", 0);
                });
            }
        });
        unset(spec, "revisionHistoryLimit", 10);
        pod::template(spec, "template");
    });
}

/// `maxUnavailable` stays unset: upstream switched its default off again in 1.36 (kubernetes/kubernetes#137904).
pub(super) fn stateful_set(stateful_set: &mut Value) {
    within(stateful_set, "spec", |spec| {
        blank(spec, "podManagementPolicy", "OrderedReady");
        within(spec, "updateStrategy", |strategy| {
            if text(strategy, "type").is_empty() {
                blank(strategy, "type", "RollingUpdate");
                within(strategy, "rollingUpdate", |_| {});
            }
            if text(strategy, "type") == "RollingUpdate" {
                inside(strategy, "rollingUpdate", |rolling_update| unset(rolling_update, "partition", 0));
            }
        });
        within(spec, "persistentVolumeClaimRetentionPolicy", |policy| {
            blank(policy, "whenDeleted", "Retain");
            blank(policy, "whenScaled", "Retain");
        });
        unset(spec, "replicas", 1);
        unset(spec, "revisionHistoryLimit", 10);
        pod::template(spec, "template");
        each(spec, "volumeClaimTemplates", |claim| {
            blank(claim, "apiVersion", "v1");
            blank(claim, "kind", "PersistentVolumeClaim");
            storage::persistent_volume_claim(claim);
        });
    });
}
