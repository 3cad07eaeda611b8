//! The kubelet's runtime over `windlass_oci`: real containers.

use std::{collections::BTreeMap, io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;
use windlass_oci::{
    container::{self as oci, Phase, RuntimeError},
    error::chain,
    image::{Credential, ImageName, ImageRecord, StoreError},
};

use windlass_planner::pod::Identity;

use crate::runtime::{
    Container, ContainerConfig, ContainerExited, ContainerState, Error, ExecOutput, Image, Propagation, RegistryAuth, Resources,
    Runtime, Sandbox, SandboxConfig, Seccomp,
};
use crate::session::{Input, Output, Resize, Session, Streams};

/// Exits that a subscriber may be behind.
const EXITS: usize = 1024;

/// Runs containers on this machine. Made inside a tokio runtime.
#[derive(Debug)]
pub struct OciRuntime {
    inner: oci::Runtime,
    exits: broadcast::Sender<ContainerExited>,
    _forward: AbortOnDropHandle<()>,
}

impl OciRuntime {
    /// Adapts a runtime.
    pub fn new(inner: oci::Runtime) -> Self {
        let (exits, _) = broadcast::channel(EXITS);
        let forward = forward(inner.clone(), inner.exits(), exits.clone());
        let task = tokio::spawn(forward);
        Self { inner, exits, _forward: AbortOnDropHandle::new(task) }
    }

    /// The runtime below: images can be built there.
    pub fn inner(&self) -> &oci::Runtime {
        &self.inner
    }
}

/// Tells exits on, with the pod they belong to.
async fn forward(runtime: oci::Runtime, mut from: broadcast::Receiver<oci::Exited>, to: broadcast::Sender<ContainerExited>) {
    loop {
        match from.recv().await {
            Ok(exited) => {
                let sandboxes = runtime.sandboxes();
                let Some(sandbox) = sandboxes.iter().find(|s| s.id == exited.sandbox_id) else { continue };
                let pod_uid = sandbox_config(sandbox).pod_uid;
                // Nobody may be listening.
                let _ = to.send(ContainerExited { pod_uid, container_id: exited.container_id });
            }
            Err(broadcast::error::RecvError::Lagged(count)) => tracing::warn!(count, "container exits not told"),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

#[async_trait]
impl Runtime for OciRuntime {
    fn version(&self) -> String {
        concat!("windlass://", env!("CARGO_PKG_VERSION")).to_owned()
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        Ok(self.inner.images().get(name).map(image))
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.inner.images().list().into_iter().map(image).collect())
    }

    async fn pull(&self, name: &str, auth: &[RegistryAuth]) -> Result<Image, Error> {
        let parsed: ImageName =
            name.parse().map_err(|e: windlass_oci::image::NameError| Error::InvalidImageName { name: e.name, why: e.why })?;
        let of_registry = auth.iter().filter(|a| a.registry.is_empty() || registry_host(&a.registry) == parsed.registry());
        let credentials: Vec<Credential> =
            of_registry.map(|a| Credential { username: a.username.clone(), password: a.password.clone() }).collect();
        self.inner.images().pull(&parsed, &credentials).await.map(image).map_err(store_error)
    }

    async fn remove_image(&self, id: &str) -> Result<(), Error> {
        self.inner.images().remove(id).await.map_err(store_error)
    }

    async fn create_sandbox(&self, config: SandboxConfig) -> Result<Sandbox, Error> {
        let spec = oci::SandboxSpec {
            hostname: config.hostname.clone(),
            host_network: config.host_network,
            share_pid: config.share_pid,
            sysctls: config.sysctls.clone(),
            cgroup_parent: config.cgroup_parent.clone(),
            limits: resources(&config.limits),
            note: note(&config)?,
        };
        self.inner.create_sandbox(spec).await.map(|s| sandbox(&s)).map_err(runtime_error)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        self.inner.remove_sandbox(id).await.map_err(runtime_error)
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        Ok(self.inner.sandboxes().iter().map(sandbox).collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error> {
        let spec = container_spec(config)?;
        self.inner.create_container(sandbox_id, spec).await.map(|c| c.id).map_err(runtime_error)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        self.inner.start_container(id).await.map_err(runtime_error)
    }

    async fn update_container(&self, id: &str, changed: &Resources, annotations: BTreeMap<String, String>) -> Result<(), Error> {
        let mut config = self.container(id).await?.config;
        config.resources = Resources { oom_score_adj: config.resources.oom_score_adj, ..changed.clone() };
        config.annotations.extend(annotations);
        self.inner.update_container(id, resources(changed), note(&config)?).await.map_err(runtime_error)
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        self.inner.stop_container(id, grace).await.map_err(runtime_error)
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.inner.remove_container(id).await.map_err(runtime_error)
    }

    async fn container(&self, id: &str) -> Result<Container, Error> {
        self.inner.container(id).map(container).map_err(runtime_error)
    }

    async fn containers(&self, sandbox_id: Option<&str>) -> Result<Vec<Container>, Error> {
        Ok(self.inner.containers(sandbox_id).into_iter().map(container).collect())
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, Error> {
        let done = self.inner.exec(id, command, timeout).await.map_err(runtime_error)?;
        Ok(ExecOutput { exit_code: done.exit_code, output: done.output })
    }

    async fn exec_session(&self, id: &str, command: &[String], streams: Streams) -> Result<Session, Error> {
        let request = oci::ExecRequest { command: command.to_vec(), stdin: streams.stdin, tty: streams.tty };
        self.inner.exec_session(id, &request).await.map(session).map_err(runtime_error)
    }

    async fn attach(&self, id: &str, streams: Streams) -> Result<Session, Error> {
        let Streams { stdin, stdout, stderr, .. } = streams;
        self.inner.attach(id, oci::AttachRequest { stdin, stdout, stderr }).await.map(session).map_err(runtime_error)
    }

    fn exits(&self) -> broadcast::Receiver<ContainerExited> {
        self.exits.subscribe()
    }
}

/// Read at once of an output.
const PIECE: usize = 32 << 10;

fn session(session: oci::Session) -> Session {
    let output = |output: oci::Output| {
        let pieces = futures::stream::try_unfold(output, |mut output| async move {
            let mut buffer = vec![0; PIECE];
            let read = output.read(&mut buffer).await?;
            buffer.truncate(read);
            Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(buffer), output)))
        });
        Box::pin(pieces) as Output
    };
    let input = |input: oci::Input| {
        let sink = futures::sink::unfold(input, |mut input, bytes: Bytes| async move {
            input.write_all(&bytes).await?;
            Ok::<_, io::Error>(input)
        });
        Box::pin(sink) as Input
    };
    let resize = |terminal: oci::Terminal| Box::new(move |columns, rows| terminal.resize(columns, rows)) as Resize;
    let end = session.end;
    Session {
        stdin: session.stdin.map(input),
        stdout: session.stdout.map(output),
        stderr: session.stderr.map(output),
        resize: session.terminal.map(resize),
        end: Box::pin(async move { end.wait().await.map_err(runtime_error) }),
    }
}

fn image(record: ImageRecord) -> Image {
    let user = record.user().to_owned();
    Image { id: record.id, tags: record.tags, digests: record.digests, size: record.size, user }
}

/// The configuration that a sandbox was made from, as the runtime gives it back.
fn sandbox_config(sandbox: &oci::Sandbox) -> SandboxConfig {
    // Unreadable only after an incompatible change of the type; the pod is unknown then, and is cleaned up.
    serde_json::from_str(&sandbox.spec.note).unwrap_or_default()
}

fn sandbox(sandbox: &oci::Sandbox) -> Sandbox {
    Sandbox {
        id: sandbox.id.clone(),
        config: sandbox_config(sandbox),
        netns: sandbox.netns(),
        ready: sandbox.is_ready(),
        created_at: sandbox.created_at,
    }
}

fn container(container: oci::Container) -> Container {
    let state = match container.phase {
        Phase::Created => ContainerState::Created,
        Phase::Running { started_at } => ContainerState::Running { started_at },
        Phase::Exited { started_at, finished_at, exit_code, oom_killed, message } => {
            ContainerState::Exited { started_at, finished_at, exit_code, oom_killed, message }
        }
    };
    Container {
        id: container.id,
        sandbox_id: container.sandbox_id,
        config: serde_json::from_str(&container.spec.note).unwrap_or_default(),
        identity: container.identity.map(|identity| Identity {
            uid: identity.uid.into(),
            gid: identity.gid.into(),
            groups: identity.groups.into_iter().map(i64::from).collect(),
        }),
        created_at: container.created_at,
        state,
    }
}

fn container_spec(config: ContainerConfig) -> Result<oci::ContainerSpec, Error> {
    let note = note(&config)?;
    let mounts = config.mounts.into_iter().map(|mount| oci::Mount {
        host_path: mount.host_path,
        container_path: mount.container_path,
        read_only: mount.read_only,
        propagation: match mount.propagation {
            Propagation::Private => oci::Propagation::Private,
            Propagation::HostToContainer => oci::Propagation::HostToContainer,
            Propagation::Bidirectional => oci::Propagation::Bidirectional,
        },
    });
    let security = config.security;
    Ok(oci::ContainerSpec {
        image_id: config.image_id,
        command: config.command,
        args: config.args,
        working_dir: config.working_dir,
        env: config.env,
        mounts: mounts.collect(),
        resources: resources(&config.resources),
        security: oci::Security {
            run_as_user: security.run_as_user.map(numeric_id).transpose()?,
            run_as_group: security.run_as_group.map(numeric_id).transpose()?,
            supplemental_groups: security.supplemental_groups.into_iter().map(numeric_id).collect::<Result<_, _>>()?,
            strict_groups: security.strict_groups,
            privileged: security.privileged,
            read_only_root: security.read_only_root,
            seccomp: match security.seccomp {
                Seccomp::Unconfined => oci::Seccomp::Unconfined,
                Seccomp::RuntimeDefault => oci::Seccomp::RuntimeDefault,
                Seccomp::Localhost(path) => oci::Seccomp::Localhost(path),
            },
            no_new_privileges: security.no_new_privileges,
            add_capabilities: security.add_capabilities,
            drop_capabilities: security.drop_capabilities,
        },
        log_path: config.log_path,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        pid_of: config.pid_of,
        note,
    })
}

fn resources(resources: &Resources) -> oci::Resources {
    let Resources { cpu_shares, cpu_quota, cpu_period, memory_limit, oom_score_adj } = *resources;
    oci::Resources { cpu_shares, cpu_quota, cpu_period, memory_limit, oom_score_adj }
}

/// The API has 64 bits for ids, Linux 32.
fn numeric_id(id: i64) -> Result<u32, Error> {
    u32::try_from(id).map_err(|_| Error::Start(format!("user or group id {id} is out of range")))
}

fn note<T: serde::Serialize>(config: &T) -> Result<String, Error> {
    serde_json::to_string(config)
        .map_err(|e| Error::Io { doing: "failed to keep the configuration".to_owned(), source: e.into() })
}

/// Host of a registry as `docker login` writes it (`https://index.docker.io/v1/`).
fn registry_host(registry: &str) -> &str {
    let without_scheme = registry.trim_start_matches("https://").trim_start_matches("http://");
    match without_scheme.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

fn store_error(error: StoreError) -> Error {
    match &error {
        StoreError::NotFound(id) => Error::NotFound { what: "image", id: id.clone() },
        StoreError::Pull { .. } | StoreError::Build { .. } => Error::Pull(chain(&error)),
        StoreError::Io { .. } => Error::Io { doing: "failed to use the image store".to_owned(), source: io::Error::other(error) },
    }
}

fn runtime_error(error: RuntimeError) -> Error {
    match error {
        RuntimeError::Images(error) => store_error(error),
        RuntimeError::NotFound { what, id } => Error::NotFound { what, id },
        RuntimeError::Timeout(time) => Error::Timeout(time),
        RuntimeError::User(_) | RuntimeError::Spec(_) | RuntimeError::Seccomp(_) | RuntimeError::Start(_) => {
            Error::Start(chain(&error))
        }
        RuntimeError::MemoryInUse { limit, usage } => Error::MemoryInUse { limit, usage },
        RuntimeError::Unkillable(_) => Error::Io { doing: error.to_string(), source: io::ErrorKind::TimedOut.into() },
        RuntimeError::Io { doing, source } => Error::Io { doing, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_written_in_several_ways() {
        for (written, host) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("http://127.0.0.1:5000/", "127.0.0.1:5000"),
        ] {
            assert_eq!(registry_host(written), host);
        }
    }
}
