//! The sentences about types and fields, from the schemas of `k8s-openapi`.

use k8s_openapi::api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::{Served, models};

/// Descriptions of some kinds and of all that they contain.
#[derive(Debug)]
pub(super) struct Descriptions(Map<String, Value>);

impl Descriptions {
    pub(super) fn of(served: &Served<'_>) -> Self {
        let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
        for (group, version, kind) in models::roots(served) {
            read(&mut generator, group, version, kind);
        }
        generator.subschema_for::<meta::DeleteOptions>();
        generator.subschema_for::<meta::Status>();
        generator.subschema_for::<meta::ListMeta>();
        Self(generator.take_definitions(false))
    }

    #[cfg(test)]
    pub(super) fn models(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    pub(super) fn of_model(&self, model: &str) -> Option<&str> {
        self.0.get(model)?.get("description")?.as_str()
    }

    pub(super) fn of_property(&self, model: &str, property: &str) -> Option<&str> {
        self.0.get(model)?.get("properties")?.get(property)?.get("description")?.as_str()
    }
}

/// One arm for each kind of a module, which is its group and version.
macro_rules! kinds {
    ($generator:ident, $wanted:expr, $($group:literal $version:literal $first:ident::$second:ident [$($kind:ident)*])*) => {
        match $wanted {
            $($(
                ($group, $version, stringify!($kind)) => {
                    $generator.subschema_for::<api::$first::$second::$kind>();
                }
            )*)*
            _ => {}
        }
    };
}

/// A kind that is not listed has no descriptions, and is complete otherwise.
fn read(generator: &mut SchemaGenerator, group: &str, version: &str, kind: &str) {
    kinds! { generator, (group, version, kind),
        "" "v1" core::v1 [
            Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod
            PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
        ]
        "apps" "v1" apps::v1 [ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet]
        "authentication.k8s.io" "v1" authentication::v1 [SelfSubjectReview TokenRequest TokenReview]
        "authorization.k8s.io" "v1" authorization::v1 [
            LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview
        ]
        "autoscaling" "v1" autoscaling::v1 [HorizontalPodAutoscaler Scale]
        "autoscaling" "v2" autoscaling::v2 [HorizontalPodAutoscaler]
        "batch" "v1" batch::v1 [CronJob Job]
        "coordination.k8s.io" "v1" coordination::v1 [Lease]
        "discovery.k8s.io" "v1" discovery::v1 [EndpointSlice]
        "events.k8s.io" "v1" events::v1 [Event]
        "networking.k8s.io" "v1" networking::v1 [IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR]
        "node.k8s.io" "v1" node::v1 [RuntimeClass]
        "policy" "v1" policy::v1 [Eviction PodDisruptionBudget]
        "rbac.authorization.k8s.io" "v1" rbac::v1 [ClusterRole ClusterRoleBinding Role RoleBinding]
        "scheduling.k8s.io" "v1" scheduling::v1 [PriorityClass]
        "storage.k8s.io" "v1" storage::v1 [StorageClass]
    }
}
