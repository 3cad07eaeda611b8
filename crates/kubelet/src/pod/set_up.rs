//! A pod's namespaces, network and volumes, made at the same time.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use windlass_planner::pod::{admission, resources};

use super::{
    container_config::for_kernel,
    operation::{Done, Scope},
};
use crate::{
    env::Facts,
    files,
    images::with_sources,
    pod::{name, namespace, uid},
    runtime::{Sandbox, SandboxConfig},
    runtime_class,
    volumes::{self, MountedVolumes},
};

/// The kernel has so long to send what a pod said last: some megabytes at most, to whoever still listens.
const LAST_BYTES_TIME: Duration = Duration::from_secs(5);
/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Looks in a row that find nothing.
const QUIET_LOOKS: u32 = 2;

/// Makes what is missing: `sandbox` is the one that exists, if any.
pub(crate) async fn set_up(scope: Scope, sandbox: Option<Sandbox>, attempt: u32) -> Done {
    let (sandbox, volumes) = tokio::join!(make_whole_sandbox(scope.clone(), sandbox, attempt), make_volumes(&scope));
    Done::SetUp { sandbox, volumes }
}

/// Goes on to its end when it is not waited for any more, and takes back then what nobody would know of.
async fn make_whole_sandbox(scope: Scope, existing: Option<Sandbox>, attempt: u32) -> Result<(Sandbox, Vec<IpAddr>), String> {
    let (tell, made) = oneshot::channel();
    scope.kubelet.tasks.clone().spawn(async move {
        let made = make_sandbox(&scope, existing, attempt).await;
        if let Err(Ok((sandbox, _))) = tell.send(made) {
            tracing::info!(sandbox = sandbox.id, uid = uid(&scope.pod), "a sandbox was made too late for its pod");
            remove_sandbox(&scope, Some(&sandbox)).await;
        }
    });
    made.await.unwrap_or_else(|_| Err("making it was cut off".to_owned()))
}

async fn make_sandbox(scope: &Scope, existing: Option<Sandbox>, attempt: u32) -> Result<(Sandbox, Vec<IpAddr>), String> {
    let kubelet = &scope.kubelet;
    let began = Instant::now();
    let sandbox = match existing {
        Some(sandbox) => sandbox,
        None => {
            check(scope).await?;
            kubelet.runtime.create_sandbox(config(scope, attempt)).await.map_err(|error| with_sources(&error))?
        }
    };
    let Some(netns) = &sandbox.netns else {
        return Ok((sandbox, kubelet.host_ips()));
    };
    let made = began.elapsed();
    match kubelet.network.attach(uid(&scope.pod), netns).await {
        Ok(ips) => {
            tracing::debug!(pod = name(&scope.pod), sandbox = ?made, with_network = ?began.elapsed(), "a sandbox is ready");
            Ok((sandbox, ips))
        }
        Err(error) => {
            // Without a network it is of no use; the next attempt makes a new one.
            if let Err(error) = kubelet.runtime.remove_sandbox(&sandbox.id).await {
                tracing::warn!(%error, sandbox = sandbox.id, "removing a sandbox that got no network");
            }
            Err(format!("failed to setup network for sandbox \"{}\": {}", sandbox.id, with_sources(&error)))
        }
    }
}

/// Whether a sandbox can be as the pod asks for it.
async fn check(scope: &Scope) -> Result<(), String> {
    files::check_hostname(&scope.pod, &scope.kubelet.options.cluster_domain)?;
    let Some(spec) = &scope.pod.spec else { return Ok(()) };
    let handler = runtime_class::handler(&scope.kubelet.client, spec.runtime_class_name.as_deref()).await?;
    admission::sandbox_refusal(spec, &handler).map_or(Ok(()), Err)
}

fn config(scope: &Scope, attempt: u32) -> SandboxConfig {
    let (pod, options) = (&scope.pod, &scope.kubelet.options);
    let spec = pod.spec.as_ref();
    let context = spec.and_then(|spec| spec.security_context.as_ref());
    let sysctls = context.and_then(|context| context.sysctls.as_deref()).unwrap_or_default();
    SandboxConfig {
        pod_uid: uid(pod).to_owned(),
        pod_name: name(pod).to_owned(),
        pod_namespace: namespace(pod).to_owned(),
        attempt,
        hostname: files::kernel_hostname(pod, &options.cluster_domain, &options.host_name),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        share_pid: spec.and_then(|spec| spec.share_process_namespace).unwrap_or(false),
        sysctls: sysctls.iter().map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect::<BTreeMap<_, _>>(),
        cgroup_parent: resources::cgroup(pod),
        limits: spec.and_then(resources::together).map(for_kernel).unwrap_or_default(),
    }
}

async fn make_volumes(scope: &Scope) -> Result<MountedVolumes, volumes::Error> {
    let began = Instant::now();
    let objects = tokio::select! {
        objects = scope.objects.load() => objects,
        () = scope.cancel.cancelled() => Err("the pod is being deleted".to_owned()),
    };
    let objects = objects.map_err(|why| volumes::Error { volume: String::new(), why })?;
    let facts = volume_facts(scope, &objects);
    let mounted = scope.volumes.set_up(&scope.kubelet.client, &scope.kubelet.paths, &facts).await;
    tracing::debug!(pod = name(&scope.pod), took = ?began.elapsed(), "volumes are set up");
    mounted
}

/// Brings the files of volumes up to date.
pub(crate) async fn refresh(scope: Scope) -> Done {
    let refreshed = async {
        let objects = scope.objects.load().await.map_err(|why| volumes::Error { volume: String::new(), why })?;
        scope.volumes.refresh(&scope.kubelet.client, &scope.kubelet.paths, &volume_facts(&scope, &objects)).await
    };
    Done::Refreshed(refreshed.await)
}

/// Volumes show nothing that is known only once the pod has an address.
fn volume_facts<'a>(
    scope: &'a Scope,
    objects: &'a std::collections::HashMap<crate::objects::Key, std::sync::Arc<crate::objects::Data>>,
) -> Facts<'a> {
    Facts {
        pod: &scope.pod,
        pod_ips: &[],
        host_ips: &[],
        node_name: &scope.kubelet.options.node_name,
        allocatable: &scope.kubelet.allocatable,
        objects,
        services: &[],
    }
}

/// Gives everything back that [`set_up`] made. Goes as far as it gets: what is left is found and removed on the next start.
pub(crate) async fn release(scope: &Scope, sandbox: Option<&Sandbox>) {
    if let Some(netns) = sandbox.and_then(|sandbox| sandbox.netns.as_deref()) {
        let _ = timeout(LAST_BYTES_TIME, delivered(scope, netns)).await;
    }
    remove_sandbox(scope, sandbox).await;
    let directory = scope.kubelet.paths.pod(uid(&scope.pod));
    let removed = tokio::task::spawn_blocking(move || volumes::remove(&directory)).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(%error, uid = uid(&scope.pod), "removing the volumes of a pod");
    }
}

/// Waits until what the pod said last has been heard. A program may end while the kernel is still sending its answers, and what it has
/// not sent goes with the pod's network. So does what is only on its way out of it, which is why it is looked at twice.
async fn delivered(scope: &Scope, netns: &Path) {
    let mut quiet = 0;
    // What cannot be counted is not waited for.
    while let Ok(unfinished) = scope.kubelet.network.unfinished(netns).await {
        quiet = if unfinished == 0 { quiet + 1 } else { 0 };
        if quiet == QUIET_LOOKS {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Leaves nothing of the pod in the kernel; its files stay for the next start of the machine.
pub(crate) async fn leave(scope: &Scope, sandbox: Option<&Sandbox>) {
    remove_sandbox(scope, sandbox).await;
    let directory = scope.kubelet.paths.pod(uid(&scope.pod));
    // A task that fails leaves a mount, which goes with the mount namespace.
    let _ = tokio::task::spawn_blocking(move || volumes::unmount(&directory)).await;
}

async fn remove_sandbox(scope: &Scope, sandbox: Option<&Sandbox>) {
    let Some(sandbox) = sandbox else { return };
    let kubelet = &scope.kubelet;
    if sandbox.netns.is_some()
        && let Err(error) = kubelet.network.detach(uid(&scope.pod)).await
    {
        tracing::warn!(%error, uid = uid(&scope.pod), "taking a pod off the network");
    }
    if let Err(error) = kubelet.runtime.remove_sandbox(&sandbox.id).await {
        tracing::warn!(error = with_sources(&error), sandbox = sandbox.id, "removing a sandbox");
    }
}
