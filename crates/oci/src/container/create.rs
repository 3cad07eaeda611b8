//! Makes a container, and starts it through its shim.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use jiff::Timestamp;
use nix::libc;
use oci_spec::runtime::{Capability, Spec};
use tokio::sync::watch;

use super::{
    ContainerSpec, Phase, Security,
    record::Record,
    rootfs,
    runtime::{Container, Entry, Inner, RuntimeError},
    sandbox::Sandbox,
    spec::{Inputs, generate},
    state::{START_ERROR_EXIT_CODE, State},
    stop::signal_number,
    user,
};
use crate::{
    internal::SHIM,
    process::{IdMap, own_capabilities},
    seccomp::{self, Filters, SeccompError},
    tree::Stack,
};

/// The filters of a container's system calls, if it has any. To install them takes two capabilities more, which its first process
/// gives up right afterwards.
fn confine(config: &mut Spec, security: &Security) -> Result<Option<Filters>, SeccompError> {
    let Some(process) = config.process_mut().as_mut().filter(|_| !security.privileged) else { return Ok(None) };
    let own = process.capabilities().clone().unwrap_or_default();
    let bounding: Vec<Capability> = own.bounding().iter().flatten().copied().collect();
    let Some(mut filters) = seccomp::compile(&security.seccomp, &bounding)? else { return Ok(None) };
    if !security.no_new_privileges {
        let mut wider = own.clone();
        let widened: HashSet<_> = bounding.into_iter().chain([Capability::SysAdmin, Capability::Setpcap]).collect();
        wider.set_bounding(Some(widened.clone()));
        wider.set_effective(Some(widened.clone()));
        wider.set_permitted(Some(widened));
        process.set_capabilities(Some(wider));
        filters.capabilities = Some(own);
    }
    Ok(Some(filters))
}

impl Inner {
    pub(super) fn create(&self, sandbox: &Sandbox, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: "failed to create container".to_owned(), source };
        let id = new_id().map_err(io)?;
        self.cgroups.expect_start();
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

    /// File of the process namespace of a container that runs.
    fn pid_namespace(&self, id: &str) -> Result<PathBuf, RuntimeError> {
        let init = self.entry(id)?.state.and_then(|state| state.init);
        let init = init.ok_or_else(|| RuntimeError::Start(format!("container {id} does not run")))?;
        Ok(PathBuf::from(format!("/proc/{}/ns/pid", init.pid)))
    }

    fn create_in(&self, dir: &Path, id: &str, sandbox: &Sandbox, spec: ContainerSpec) -> Result<Record, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: "failed to create container".to_owned(), source };
        let (image, layers) = self.images.pin(id, &spec.image_id)?;
        let stack = Stack::open(&layers).map_err(io)?;
        let user = user::resolve(&stack, image.user(), spec.security.run_as_user, spec.security.run_as_group)?;
        let ids = IdMap::current().map_err(io)?;
        ids.check(user.uid, user.gid).map_err(RuntimeError::Start)?;
        let identity = user.identity(&spec.security, ids.may_set_groups);
        let cgroup = format!("{}/{id}", self.cgroup_of(sandbox));
        let mut joined = sandbox.joined(self.config.host_netns.as_deref());
        if let Some(other) = spec.pid_of.as_deref().filter(|_| joined.pid.is_none()) {
            joined.pid = Some(self.pid_namespace(other)?);
        }
        let inputs = Inputs {
            spec: &spec,
            image: &image.config,
            identity: &identity,
            home: &user.home,
            hostname: &sandbox.spec.hostname,
            joined: &joined,
            cgroup: &cgroup,
            cgroups: &self.cgroups,
            own_capabilities: own_capabilities().map_err(io)?,
            ids: &ids,
        };
        let mut config = generate(&inputs)?;
        let filters = confine(&mut config, &spec.security)?;
        let stop_signal = image.config.config().as_ref().and_then(|c| c.stop_signal().as_deref()).and_then(signal_number);
        rootfs::make_dirs(dir).map_err(io)?;
        if let Some(filters) = filters {
            filters.write(dir).map_err(io)?;
        }
        let record = Record {
            id: id.to_owned(),
            sandbox_id: sandbox.id.clone(),
            created_at: Timestamp::now(),
            spec,
            chain_ids: image.chain_ids,
            layers_dir: self.images.layers_dir().to_owned(),
            stop_signal: stop_signal.unwrap_or(libc::SIGTERM),
            cgroup,
            identity: Some(identity),
        };
        record.write(dir, &config).map_err(io)?;
        Ok(record)
    }

    pub(super) fn start(&self, entry: &Entry) -> Result<(), RuntimeError> {
        let id = &entry.record.id;
        let io = |source| RuntimeError::Io { doing: format!("failed to start the shim of container {id}"), source };
        let dir = self.container_dir(id);
        // An earlier process may have started it in its last moment.
        let mut state = State::once_started(&dir).map_err(io)?;
        let is_first = state.is_none();
        if is_first {
            let log = File::create(dir.join("shim.log")).map_err(io)?;
            let mut command = Command::new(&self.config.executable);
            command.arg0(SHIM).arg(&dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
            let mut shim = command.spawn().map_err(io)?;
            let mut done = shim.stdout.take().expect("asked for above");
            // The shim says nothing; it closes the pipe when its state file is written.
            let _ = done.read_to_end(&mut Vec::new());
            state = State::once_started(&dir).map_err(io)?;
            if state.as_ref().is_none_or(|state| state.phase == Phase::Created) {
                let _ = shim.wait();
            }
        }
        let state = match state {
            Some(state) if state.phase != Phase::Created => state,
            _ => self.never_started(&dir, entry).map_err(io)?,
        };
        let shim = state.shim.open().map_err(io)?;
        let failed = match &state.phase {
            Phase::Exited { message, .. } if !message.is_empty() => Some(message.clone()),
            _ => None,
        };
        self.set_state(id, state);
        if let Some(shim) = shim.filter(|_| is_first || failed.is_none()) {
            self.watch(id, shim).map_err(io)?;
        }
        failed.map_or(Ok(()), |message| Err(RuntimeError::Start(message)))
    }

    /// Takes note of a container that somebody else has started.
    pub(super) fn find_started(&self, entry: &Entry) -> Result<(), RuntimeError> {
        let started = State::once_started(&self.container_dir(&entry.record.id)).is_ok_and(|state| state.is_some());
        if started { self.start(entry) } else { Ok(()) }
    }

    /// Writes down that a container could not be started as its shim could not.
    fn never_started(&self, dir: &Path, entry: &Entry) -> io::Result<State> {
        self.cgroups.kill(&entry.record.cgroup);
        let why = fs::read_to_string(dir.join("shim.log")).unwrap_or_default();
        let mut state = State::of_this_shim()?;
        let now = Timestamp::now();
        state.phase = Phase::Exited {
            started_at: now,
            finished_at: now,
            exit_code: START_ERROR_EXIT_CODE,
            oom_killed: false,
            message: format!("failed to start shim: {}", why.trim()),
        };
        state.write_durably(dir)?;
        Ok(state)
    }
}

/// 64 random hexadecimal digits.
pub(super) fn new_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
