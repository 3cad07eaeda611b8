//! The containers and sandboxes of this machine: makes them, finds them again after a restart, lists them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use super::{
    ContainerSpec, Phase, SandboxSpec,
    exits::Watcher,
    record::Record,
    rootfs,
    sandbox::{Sandbox, destroy_dir},
    spec::{Inputs, SpecError, generate},
    state::State,
    stop::signal_number,
    user::{self, UserError},
};
use crate::{
    cgroup::Cgroups,
    image::{ImageStore, LayerLimits, MirrorTable, StoreError},
    internal::SHIM,
    tree::Stack,
};

/// Exits that a subscriber may be behind; beyond that it is told so and lists instead.
const EXITS: usize = 1024;

/// Where things are kept and what they are called on the machine.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Images, layers, containers and sandboxes.
    pub data_dir: PathBuf,
    /// The machine's control group, below which sandboxes have theirs: `windlass`.
    pub cgroup_root: String,
    /// Registry mirrors.
    pub mirrors: MirrorTable,
    /// Bounds for the layers of pulled images.
    pub layer_limits: LayerLimits,
    /// File of the network namespace that sandboxes with `host_network` use; `None`: that of this process.
    pub host_netns: Option<PathBuf>,
    /// The program that [`crate::internal::run_if_internal`] is called in; default this very one.
    pub executable: PathBuf,
}

impl RuntimeConfig {
    /// Defaults for everything but the place.
    pub fn new(data_dir: impl Into<PathBuf>, cgroup_root: impl Into<String>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cgroup_root: cgroup_root.into(),
            mirrors: MirrorTable::default(),
            layer_limits: LayerLimits::default(),
            host_netns: None,
            executable: "/proc/self/exe".into(),
        }
    }
}

/// Why the runtime could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Images.
    #[error(transparent)]
    Images(#[from] StoreError),
    /// No such sandbox or container.
    #[error("{what} {id} not found")]
    NotFound {
        /// `sandbox` or `container`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The image has no such user.
    #[error(transparent)]
    User(#[from] UserError),
    /// The container's specification makes no sense.
    #[error("failed to generate container spec")]
    Spec(#[from] SpecError),
    /// The container could not be started; the text is the message of its status too.
    #[error("{0}")]
    Start(String),
    /// It did not end although it was killed.
    #[error("container {0} does not end after SIGKILL")]
    Unkillable(String),
    /// A command in a container did not end in time.
    #[error("command timed out after {0:?}")]
    Timeout(std::time::Duration),
    /// The disk or the kernel failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
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
    images: ImageStore,
    sandboxes_dir: PathBuf,
    containers_dir: PathBuf,
    pub(super) cgroups: Cgroups,
    known: Mutex<Known>,
    exits: broadcast::Sender<Exited>,
    /// Set once, right after this is made; the watcher refers back to it.
    watcher: std::sync::OnceLock<Watcher>,
}

#[derive(Debug, Default)]
struct Known {
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Entry>,
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

    fn container(&self) -> Container {
        Container {
            id: self.record.id.clone(),
            sandbox_id: self.record.sandbox_id.clone(),
            spec: self.record.spec.clone(),
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
    pub fn open(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let doing = |source| RuntimeError::Io { doing: format!("failed to open {}", config.data_dir.display()), source };
        let images = ImageStore::open(&config.data_dir, config.mirrors.clone(), config.layer_limits)?;
        let (sandboxes_dir, containers_dir) = (config.data_dir.join("sandboxes"), config.data_dir.join("containers"));
        for dir in [&sandboxes_dir, &containers_dir] {
            // The environment of containers has secrets in it.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(doing)?;
        }
        let cgroups = Cgroups::detect().map_err(doing)?;
        let (exits, _) = broadcast::channel(EXITS);
        let inner = Arc::new(Inner {
            images,
            sandboxes_dir,
            containers_dir,
            cgroups,
            known: Mutex::default(),
            exits,
            watcher: std::sync::OnceLock::new(),
            config: config.clone(),
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
            let dir = inner.sandboxes_dir.join(&id);
            let created = Sandbox::create(id.clone(), dir.clone(), spec, &inner.config.executable);
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
        match self.stop_container(id, std::time::Duration::ZERO).await {
            Err(RuntimeError::NotFound { .. }) => return Ok(()),
            other => other?,
        }
        let id = id.to_owned();
        self.blocking(move |inner| {
            let Ok(entry) = inner.entry(&id) else { return Ok(()) };
            let dir = inner.containers_dir.join(&id);
            rootfs::unmount_root(&dir);
            inner.cgroups.remove(&entry.record.cgroup);
            let failed = |source| RuntimeError::Io { doing: format!("failed to remove container {id}"), source };
            fs::remove_dir_all(&dir).map_err(failed)?;
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
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entry(&self, id: &str) -> Result<Entry, RuntimeError> {
        let entry = self.known().containers.get(id).cloned();
        entry.ok_or_else(|| RuntimeError::NotFound { what: "container", id: id.to_owned() })
    }

    fn sandbox(&self, id: &str) -> Result<Sandbox, RuntimeError> {
        let sandbox = self.known().sandboxes.get(id).cloned();
        sandbox.ok_or_else(|| RuntimeError::NotFound { what: "sandbox", id: id.to_owned() })
    }

    pub(super) fn container_dir(&self, id: &str) -> PathBuf {
        self.containers_dir.join(id)
    }

    fn cgroup_of(&self, sandbox: &Sandbox) -> String {
        format!("/{}/{}", self.config.cgroup_root.trim_matches('/'), sandbox.spec.cgroup_parent.trim_matches('/'))
    }

    fn create(&self, sandbox: &Sandbox, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: "failed to create container".to_owned(), source };
        let id = new_id().map_err(io)?;
        let dir = self.container_dir(&id);
        let created = self.create_in(&dir, &id, sandbox, spec);
        if created.is_err() {
            let _ = fs::remove_dir_all(&dir);
            self.images.unpin(&id);
        }
        let entry = Entry { record: Arc::new(created?), state: None, ended: Arc::new(watch::Sender::new(false)) };
        let container = entry.container();
        self.known().containers.insert(id, entry);
        Ok(container)
    }

    fn create_in(&self, dir: &Path, id: &str, sandbox: &Sandbox, spec: ContainerSpec) -> Result<Record, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: "failed to create container".to_owned(), source };
        let (image, layers) = self.images.pin(id, &spec.image_id)?;
        let stack = Stack::open(&layers).map_err(io)?;
        let user = user::resolve(&stack, image.user(), spec.security.run_as_user, spec.security.run_as_group)?;
        let cgroup = format!("{}/{id}", self.cgroup_of(sandbox));
        let joined = sandbox.joined(self.config.host_netns.as_deref());
        let inputs = Inputs {
            spec: &spec,
            image: &image.config,
            user: &user,
            hostname: &sandbox.spec.hostname,
            joined: &joined,
            cgroup: &cgroup,
            cgroups: &self.cgroups,
            own_capabilities: own_capabilities().map_err(io)?,
        };
        let config = generate(&inputs)?;
        let stop_signal = image.config.config().as_ref().and_then(|c| c.stop_signal().as_deref()).and_then(signal_number);
        rootfs::make_dirs(dir).map_err(io)?;
        let record = Record {
            id: id.to_owned(),
            sandbox_id: sandbox.id.clone(),
            created_at: Timestamp::now(),
            spec,
            chain_ids: image.chain_ids,
            layers_dir: self.images.layers_dir().to_owned(),
            stop_signal: stop_signal.unwrap_or(nix::libc::SIGTERM),
            cgroup,
        };
        record.write(dir, &config).map_err(io)?;
        Ok(record)
    }

    fn start(&self, entry: &Entry) -> Result<(), RuntimeError> {
        let id = &entry.record.id;
        let io = |source| RuntimeError::Io { doing: format!("failed to start the shim of container {id}"), source };
        let dir = self.container_dir(id);
        if State::read(&dir).map_err(io)?.is_some() {
            return Err(RuntimeError::Start(format!("container {id} was started before")));
        }
        let log = File::create(dir.join("shim.log")).map_err(io)?;
        let mut command = Command::new(&self.config.executable);
        command.arg0(SHIM).arg(&dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut shim = command.spawn().map_err(io)?;
        let mut done = shim.stdout.take().expect("asked for above");
        // The shim says nothing; it closes the pipe when its state file is written.
        let _ = done.read_to_end(&mut Vec::new());
        let state = State::read(&dir).map_err(io)?.filter(|state| state.phase != Phase::Created);
        let Some(state) = state else {
            let _ = shim.wait();
            let why = fs::read_to_string(dir.join("shim.log")).unwrap_or_default();
            let mut state = State::of_this_shim().map_err(io)?;
            state.end_unseen();
            self.set_state(id, state);
            return Err(RuntimeError::Start(format!("failed to start shim: {}", why.trim())));
        };
        let pidfd = crate::kernel::pidfd_open(nix::unistd::Pid::from_raw(state.shim.pid)).map_err(io)?;
        let failed = match &state.phase {
            Phase::Exited { message, .. } if !message.is_empty() => Some(message.clone()),
            _ => None,
        };
        self.set_state(id, state);
        self.watcher.get().expect("set by open").watch(id, pidfd).map_err(io)?;
        failed.map_or(Ok(()), |message| Err(RuntimeError::Start(message)))
    }

    fn set_state(&self, id: &str, state: State) {
        if let Some(entry) = self.known().containers.get_mut(id) {
            let ended = matches!(state.phase, Phase::Exited { .. });
            entry.state = Some(state);
            entry.ended.send_replace(ended);
        }
    }

    /// What a shim wrote last; a shim that ended without a word takes its container with it.
    fn shim_ended(&self, id: &str) {
        let Ok(entry) = self.entry(id) else { return };
        let already = matches!(entry.phase(), Phase::Exited { .. });
        let dir = self.container_dir(id);
        let Some(mut state) = State::read(&dir).ok().flatten().or(entry.state) else { return };
        if !matches!(state.phase, Phase::Exited { .. }) {
            tracing::warn!(container = id, "shim ended before its container");
            self.settle(&dir, &entry.record, &mut state);
        }
        self.set_state(id, state);
        if !already {
            let sandbox_id = entry.record.sandbox_id.clone();
            // Nobody may be listening.
            let _ = self.exits.send(Exited { container_id: id.to_owned(), sandbox_id });
        }
    }

    /// Ends a container whose shim is gone, and writes that down.
    fn settle(&self, dir: &Path, record: &Record, state: &mut State) {
        if let Some(init) = state.init.filter(|_| state.is_of_this_boot()) {
            let _ = init.signal(nix::libc::SIGKILL);
        }
        self.cgroups.kill(&record.cgroup);
        state.end_unseen();
        if let Err(error) = state.write_durably(dir) {
            tracing::warn!(container = record.id, %error, "the end of the container could not be written down");
        }
        rootfs::unmount_root(dir);
        self.cgroups.remove(&record.cgroup);
    }

    /// Finds what an earlier process made.
    fn adopt(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.sandboxes_dir)? {
            let dir = entry?.path();
            match Sandbox::read(&dir) {
                Ok(sandbox) => drop(self.known().sandboxes.insert(sandbox.id.clone(), sandbox)),
                // Killed while it was being made: nobody knows of it.
                Err(_) => destroy_dir(&dir)?,
            }
        }
        for entry in fs::read_dir(&self.containers_dir)? {
            let dir = entry?.path();
            match Record::read(&dir) {
                Ok(record) => self.adopt_container(&dir, record)?,
                Err(_) => fs::remove_dir_all(&dir)?,
            }
        }
        Ok(())
    }

    fn adopt_container(&self, dir: &Path, record: Record) -> io::Result<()> {
        let id = record.id.clone();
        self.images.pin_layers(&id, record.chain_ids.clone());
        let mut state = State::read(dir).unwrap_or_else(|error| {
            tracing::warn!(container = id, %error, "unreadable state");
            None
        });
        let mut shim = None;
        if let Some(state) = &mut state {
            shim = if state.is_of_this_boot() { state.shim.open()? } else { None };
            if shim.is_none() {
                // It may have ended in the very moment.
                if let Some(last) = State::read(dir).ok().flatten() {
                    *state = last;
                }
                if !matches!(state.phase, Phase::Exited { .. }) {
                    self.settle(dir, &record, state);
                }
            }
        }
        let ended = matches!(state, Some(State { phase: Phase::Exited { .. }, .. }));
        let entry = Entry { record: Arc::new(record), state, ended: Arc::new(watch::Sender::new(ended)) };
        self.known().containers.insert(id.clone(), entry);
        match shim {
            Some(pidfd) => self.watcher.get().expect("set by open").watch(&id, pidfd),
            None => Ok(()),
        }
    }
}

/// 64 random hexadecimal digits.
fn new_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bits of the capabilities that this process may use.
fn own_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::other("no CapPrm in /proc/self/status"))
}
