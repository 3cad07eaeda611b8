//! Names that other programs see, to the byte.

/// Prefix of the labels, annotations, conditions and finalizers that are Windlass's own.
pub const WINDLASS_PREFIX: &str = "windlass.dev/";

/// Pod condition that `network` sets to `True` once no route in the kernel leads to a terminating pod.
/// The kubelet waits for it, bounded, before it sends SIGTERM.
pub const CONDITION_UNROUTED: &str = "windlass.dev/Unrouted";

/// On a Service with an HTTP port: how many of each hundred requests (or of whatever the numbers add up to) go to the pods of
/// which `pod-template-hash` or `controller-revision-hash`, such as `6d4cf56db6=90,7c5ddbdf54=10`. Revisions that are not named get none.
pub const ANNOTATION_SPLIT: &str = "windlass.dev/split";

/// Makes volumes that are directories of their node: `provisioner` of a StorageClass, and the finalizer of a volume whose directory
/// the node has yet to remove.
pub const LOCAL_DIRECTORY: &str = "windlass.dev/local-directory";

/// Revision of a Deployment or ReplicaSet: a decimal number, counted from 1.
pub const ANNOTATION_REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions that a ReplicaSet had before it was rolled back to, comma-separated, oldest first.
pub const ANNOTATION_REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when it last sized the ReplicaSet that carries this.
pub const ANNOTATION_DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// `desired-replicas` plus maxSurge at that time.
pub const ANNOTATION_MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// What made this revision, as a person or `kubectl --record` wrote it.
pub const ANNOTATION_CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// Set on a pod template by `kubectl rollout restart`.
pub const ANNOTATION_RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// `kubectl apply` keeps here what it applied last.
pub const ANNOTATION_LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Tells the ReplicaSets of one Deployment apart.
pub const LABEL_POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Names the ControllerRevision that a pod of a DaemonSet or StatefulSet was made from.
pub const LABEL_CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
/// On an EndpointSlice: the Service it belongs to.
pub const LABEL_SERVICE_NAME: &str = "kubernetes.io/service-name";
