//! The containers and sandboxes of this machine: makes them, finds them again after a restart, lists them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

pub use super::error::RuntimeError;
use super::{
    ContainerSpec, Identity, Phase, SandboxSpec,
    create::new_id,
    exits::Watcher,
    record::Record,
    rootfs,
    sandbox::{Sandbox, destroy_dir},
    state::State,
};
use crate::{
    cgroup::Cgroups,
    image::{ImageStore, LayerLimits, MirrorTable, digest_of},
    process::in_user_namespace,
};

/// Exits that a subscriber may be behind; beyond that it is told so and lists instead.
const EXITS: usize = 1024;

/// Where things are kept and what they are called on the machine.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Images, layers, containers and sandboxes.
    pub data_dir: PathBuf,
    /// The machine's control group, below which sandboxes have theirs. By default named after the data directory, as there
    /// may be several machines on one host: `windlass-1f0c59ab`.
    pub cgroup_root: String,
    /// Registry mirrors.
    pub mirrors: MirrorTable,
    /// Bounds for the layers of pulled images.
    pub layer_limits: LayerLimits,
    /// File of the network namespace that sandboxes with `host_network` use; `None`: that of this process.
    pub host_netns: Option<PathBuf>,
    /// The machine's own processes: they make room in a control group that was delegated to an ordinary user.
    pub processes: Vec<i32>,
    /// The program that [`crate::internal::run_if_internal`] is called in; default this very one.
    pub executable: PathBuf,
}

impl RuntimeConfig {
    /// Defaults for everything but the place.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let digest = digest_of(data_dir.as_os_str().as_encoded_bytes());
        let short = digest.trim_start_matches("sha256:").get(..8).unwrap_or_default();
        Self {
            cgroup_root: format!("windlass-{short}"),
            data_dir,
            mirrors: MirrorTable::default(),
            layer_limits: LayerLimits::default(),
            host_netns: None,
            processes: Vec::new(),
            executable: "/proc/self/exe".into(),
        }
    }
}

/// A container that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Container {
    /// Id, 64 hexadecimal digits.
    pub id: String,
    /// Sandbox it lives in.
    pub sandbox_id: String,
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Who its first process is, where that is known.
    pub identity: Option<Identity>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it is in its life.
    pub phase: Phase,
}

/// A container has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// The container.
    pub container_id: String,
    /// Its sandbox.
    pub sandbox_id: String,
}

/// Containers and sandboxes; clones share them.
#[derive(Debug, Clone)]
pub struct Runtime(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: RuntimeConfig,
    pub(super) images: ImageStore,
    pub(super) sandboxes_dir: PathBuf,
    pub(super) containers_dir: PathBuf,
    pub(super) cgroups: Cgroups,
    known: Mutex<Known>,
    /// Held by who changes what is written down of a container that is there.
    turn: Mutex<()>,
    pub(super) exits: broadcast::Sender<Exited>,
    /// Set once, right after this is made; the watcher refers back to it.
    pub(super) watcher: OnceLock<Watcher>,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    pub(super) containers: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Arc<Record>,
    pub(super) state: Option<State>,
    /// Turns true at the container's end.
    pub(super) ended: Arc<watch::Sender<bool>>,
}

impl Entry {
    pub(super) fn phase(&self) -> Phase {
        self.state.as_ref().map_or(Phase::Created, |state| state.phase.clone())
    }

    pub(super) fn container(&self) -> Container {
        Container {
            id: self.record.id.clone(),
            sandbox_id: self.record.sandbox_id.clone(),
            spec: self.record.spec.clone(),
            identity: self.record.identity.clone(),
            created_at: self.record.created_at,
            phase: self.phase(),
        }
    }
}

impl Runtime {
    /// Opens what is below the data directory: finds sandboxes and containers, watches those that run, and settles those
    /// that ended meanwhile.
    ///
    /// # Errors
    /// When a directory cannot be made or read.
    pub fn open(mut config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let place = config.data_dir.clone();
        let doing = |source| RuntimeError::Io { doing: format!("failed to open {}", place.display()), source };
        fs::create_dir_all(&place).map_err(doing)?;
        // Shims have another working directory.
        config.data_dir = fs::canonicalize(&place).map_err(doing)?;
        let images = ImageStore::open(&config.data_dir, config.mirrors.clone(), config.layer_limits)?;
        let (sandboxes_dir, containers_dir) = (config.data_dir.join("sandboxes"), config.data_dir.join("containers"));
        for dir in [&sandboxes_dir, &containers_dir] {
            // The environment of containers has secrets in it.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(doing)?;
        }
        let cgroups = Cgroups::detect().map_err(doing)?;
        cgroups.make_room(&config.cgroup_root, &config.processes);
        if in_user_namespace() && !(cgroups.controls("cpu") && cgroups.controls("memory")) {
            tracing::warn!("no control groups are delegated to this user: containers' limits of CPU and memory are not enforced");
        }
        let (exits, _) = broadcast::channel(EXITS);
        let inner = Arc::new(Inner {
            images,
            sandboxes_dir,
            containers_dir,
            cgroups,
            known: Mutex::default(),
            turn: Mutex::default(),
            exits,
            watcher: OnceLock::new(),
            config,
        });
        let weak = Arc::downgrade(&inner);
        let ended = move |id: &str| {
            if let Some(inner) = weak.upgrade() {
                inner.shim_ended(id);
            }
        };
        let watcher = Watcher::start(ended).map_err(doing)?;
        inner.watcher.set(watcher).expect("set only here");
        inner.adopt().map_err(doing)?;
        Ok(Self(inner))
    }

    /// The images.
    pub fn images(&self) -> &ImageStore {
        &self.0.images
    }

    /// Containers that end, as they end. What ended before [`Runtime::open`] is not told: list.
    pub fn exits(&self) -> broadcast::Receiver<Exited> {
        self.0.exits.subscribe()
    }

    /// Every sandbox.
    pub fn sandboxes(&self) -> Vec<Sandbox> {
        self.0.known().sandboxes.values().cloned().collect()
    }

    /// Every container, of one sandbox or of all.
    pub fn containers(&self, sandbox_id: Option<&str>) -> Vec<Container> {
        let known = self.0.known();
        let wanted = known.containers.values().filter(|e| sandbox_id.is_none_or(|id| e.record.sandbox_id == id));
        wanted.map(Entry::container).collect()
    }

    /// One container.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`].
    pub fn container(&self, id: &str) -> Result<Container, RuntimeError> {
        self.0.entry(id).map(|entry| entry.container())
    }

    /// Makes a sandbox's namespaces.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        self.blocking(move |inner| {
            let failed = |source| RuntimeError::Io { doing: "failed to create sandbox".to_owned(), source };
            let id = new_id().map_err(failed)?;
            // Its first container follows at once.
            inner.cgroups.expect_start();
            let dir = inner.sandboxes_dir.join(&id);
            let created = Sandbox::create(id.clone(), dir.clone(), spec, &inner.config.executable).and_then(|sandbox| {
                let group = inner.cgroup_of(&sandbox);
                let limited = inner.cgroups.limit(&group, &sandbox.spec.limits);
                limited.inspect_err(|_| inner.cgroups.remove(&group)).map(|()| sandbox)
            });
            let sandbox = created.inspect_err(|_| drop(destroy_dir(&dir))).map_err(failed)?;
            inner.known().sandboxes.insert(id, sandbox.clone());
            Ok(sandbox)
        })
        .await
    }

    /// Kills what runs in a sandbox and removes its containers and itself; succeeds when it is gone already.
    ///
    /// # Errors
    /// When a process cannot be killed or the disk fails.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), RuntimeError> {
        for container in self.containers(Some(id)) {
            self.remove_container(&container.id).await?;
        }
        let Some(sandbox) = self.0.known().sandboxes.get(id).cloned() else { return Ok(()) };
        self.blocking(move |inner| {
            inner.cgroups.remove(&inner.cgroup_of(&sandbox));
            let failed = |source| RuntimeError::Io { doing: format!("failed to remove sandbox {}", sandbox.id), source };
            sandbox.destroy().map_err(failed)?;
            inner.known().sandboxes.remove(&sandbox.id);
            Ok(())
        })
        .await
    }

    /// Makes a container: its directories and its configuration.
    ///
    /// # Errors
    /// When the sandbox or the image is not here, or the image has not what the specification asks for.
    pub async fn create_container(&self, sandbox_id: &str, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        let sandbox = self.0.sandbox(sandbox_id)?;
        self.blocking(move |inner| inner.create(&sandbox, spec)).await
    }

    /// Starts a container; returns once its program runs.
    ///
    /// # Errors
    /// [`RuntimeError::Start`]; the container has ended then, with exit code 128.
    pub async fn start_container(&self, id: &str) -> Result<(), RuntimeError> {
        let entry = self.0.entry(id)?;
        self.blocking(move |inner| inner.start(&entry)).await
    }

    /// Removes a container, killing it if it runs; succeeds when it is gone already. Its log stays.
    ///
    /// # Errors
    /// When it cannot be killed or the disk fails.
    pub async fn remove_container(&self, id: &str) -> Result<(), RuntimeError> {
        let Ok(entry) = self.0.entry(id) else { return Ok(()) };
        if entry.state.is_none() {
            // An earlier process may have started it in its last moment; that it fails to start is as good here.
            let _ = self.blocking(move |inner| inner.find_started(&entry)).await;
        }
        match self.stop_container(id, std::time::Duration::ZERO).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            other => other?,
        }
        let id = id.to_owned();
        self.blocking(move |inner| {
            let _turn = inner.turn();
            let Ok(entry) = inner.entry(&id) else { return Ok(()) };
            let dir = inner.containers_dir.join(&id);
            rootfs::unmount_root(&dir);
            inner.cgroups.remove(&entry.record.cgroup);
            let failed = |source| RuntimeError::Io { doing: format!("failed to remove container {id}"), source };
            Record::remove(&dir).and_then(|()| fs::remove_dir_all(&dir)).map_err(failed)?;
            inner.known().containers.remove(&id);
            inner.images.unpin(&id);
            Ok(())
        })
        .await
    }

    /// Removes everything that runs, and the machine's control groups: for the end of the machine. Images and logs stay.
    ///
    /// # Errors
    /// When a container cannot be killed or the disk fails.
    pub async fn shut_down(&self) -> Result<(), RuntimeError> {
        for container in self.containers(None) {
            self.remove_container(&container.id).await?;
        }
        for sandbox in self.sandboxes() {
            self.remove_sandbox(&sandbox.id).await?;
        }
        self.blocking(|inner| {
            inner.cgroups.remove(&inner.config.cgroup_root);
            inner.cgroups.leave_room(&inner.config.cgroup_root, &inner.config.processes);
            Ok(())
        })
        .await
    }

    /// Runs what waits for the disk or the kernel away from the async threads.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let inner = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|e| Err(RuntimeError::Io { doing: "failed to run a task".to_owned(), source: io::Error::other(e) }))
    }
}

impl Inner {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, id: &str) -> Result<Entry, RuntimeError> {
        let entry = self.known().containers.get(id).cloned();
        entry.ok_or_else(|| RuntimeError::NotFound { what: "container", id: id.to_owned() })
    }

    pub(super) fn sandbox(&self, id: &str) -> Result<Sandbox, RuntimeError> {
        let sandbox = self.known().sandboxes.get(id).cloned();
        sandbox.ok_or_else(|| RuntimeError::NotFound { what: "sandbox", id: id.to_owned() })
    }

    pub(super) fn container_dir(&self, id: &str) -> PathBuf {
        self.containers_dir.join(id)
    }

    pub(super) fn cgroup_of(&self, sandbox: &Sandbox) -> String {
        format!("/{}/{}", self.config.cgroup_root.trim_matches('/'), sandbox.spec.cgroup_parent.trim_matches('/'))
    }

    pub(super) fn set_state(&self, id: &str, state: State) {
        if let Some(entry) = self.known().containers.get_mut(id) {
            let ended = matches!(state.phase, Phase::Exited { .. });
            entry.state = Some(state);
            entry.ended.send_replace(ended);
        }
    }
}
