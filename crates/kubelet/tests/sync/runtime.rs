//! A runtime in memory that writes down what it is asked to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use jiff::Timestamp;
use tokio::sync::broadcast;
use windlass_kubelet::runtime::{
    Container, ContainerConfig, ContainerExited, ContainerState, Error, ExecOutput, Image, RegistryAuth, Resources, Runtime,
    Sandbox, SandboxConfig,
};
use windlass_kubelet::session::{Input, Session, Streams};
use windlass_planner::pod::Identity;

#[derive(Default)]
pub(crate) struct State {
    /// Names of images that are here.
    images: BTreeSet<String>,
    pub(crate) sandboxes: BTreeMap<String, Sandbox>,
    pub(crate) containers: BTreeMap<String, Container>,
    counter: u32,
    /// Calls that changed something, in order.
    pub(crate) journal: Vec<String>,
    /// Bytes of memory that every container uses.
    pub(crate) memory_used: i64,
    /// Exit code of every `exec`.
    pub(crate) exec_exit_code: i32,
}

pub(crate) struct FakeRuntime {
    state: Mutex<State>,
    exits: broadcast::Sender<ContainerExited>,
    /// Columns and rows that terminals were given.
    pub(crate) sizes: Arc<Mutex<Vec<(u16, u16)>>>,
}

impl FakeRuntime {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), exits: broadcast::channel(64).0, sizes: Arc::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn journal(&self) -> Vec<String> {
        self.state().journal.clone()
    }

    /// Ends the newest run of a container by itself.
    pub(crate) fn exit(&self, name: &str, exit_code: i32) {
        let mut state = self.state();
        let newest = state.containers.values().filter(|container| container.config.name == name).max_by_key(|c| c.config.attempt);
        let id = newest.expect("the container was started").id.clone();
        self.end(&mut state, &id, exit_code);
    }

    fn end(&self, state: &mut State, id: &str, exit_code: i32) {
        let now = Timestamp::now();
        let Some(container) = state.containers.get_mut(id) else { return };
        let ContainerState::Running { started_at } = container.state else { return };
        container.state =
            ContainerState::Exited { started_at, finished_at: now, exit_code, oom_killed: false, message: String::new() };
        let pod_uid = state.sandboxes[&container.sandbox_id].config.pod_uid.clone();
        let _ = self.exits.send(ContainerExited { pod_uid, container_id: id.to_owned() });
    }
}

fn image(name: &str) -> Image {
    Image {
        id: format!("sha256:{name}"),
        tags: vec![format!("docker.io/library/{name}")],
        digests: vec![format!("docker.io/library/{name}@sha256:aa")],
        size: 1000,
        user: String::new(),
    }
}

fn not_found(what: &'static str, id: &str) -> Error {
    Error::NotFound { what, id: id.to_owned() }
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn version(&self) -> String {
        "windlass://test".to_owned()
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        Ok(self.state().images.contains(name).then(|| image(name)))
    }

    async fn images(&self) -> Result<Vec<Image>, Error> {
        Ok(self.state().images.iter().map(|name| image(name)).collect())
    }

    async fn pull(&self, name: &str, _auth: &[RegistryAuth]) -> Result<Image, Error> {
        if name.contains("nope") {
            return Err(Error::Pull(format!("manifest for {name} not found")));
        }
        self.state().images.insert(name.to_owned());
        Ok(image(name))
    }

    async fn remove_image(&self, _id: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn create_sandbox(&self, config: SandboxConfig) -> Result<Sandbox, Error> {
        let mut state = self.state();
        state.counter += 1;
        let id = format!("s{}", state.counter);
        state.journal.push(format!("sandbox {}", config.pod_name));
        let netns = (!config.host_network).then(|| format!("/netns/{id}").into());
        let sandbox = Sandbox { id: id.clone(), config, netns, ready: true, created_at: Timestamp::now() };
        state.sandboxes.insert(id, sandbox.clone());
        Ok(sandbox)
    }

    async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(sandbox) = state.sandboxes.remove(id) {
            state.journal.push(format!("remove sandbox {}", sandbox.config.pod_name));
            state.containers.retain(|_, container| container.sandbox_id != id);
        }
        Ok(())
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        Ok(self.state().sandboxes.values().cloned().collect())
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String, Error> {
        let mut state = self.state();
        state.counter += 1;
        let id = format!("c{}", state.counter);
        let container = Container {
            id: id.clone(),
            sandbox_id: sandbox_id.to_owned(),
            config,
            identity: Some(Identity { uid: 0, gid: 0, groups: vec![0] }),
            created_at: Timestamp::now(),
            state: ContainerState::Created,
        };
        state.containers.insert(id.clone(), container);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<(), Error> {
        let mut state = self.state();
        let container = state.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        let now = Timestamp::now();
        let config = &container.config;
        let line = format!("start {} {}", config.name, config.attempt);
        std::fs::create_dir_all(config.log_path.parent().unwrap()).unwrap();
        std::fs::write(&config.log_path, format!("{now} stdout F run {}\n", config.attempt)).unwrap();
        let missing = config.command.first().is_some_and(|command| command == "missing");
        if missing {
            let message = "exec: \"missing\": executable file not found in $PATH".to_owned();
            container.state = ContainerState::Exited {
                started_at: now,
                finished_at: now,
                exit_code: 128,
                oom_killed: false,
                message: message.clone(),
            };
            return Err(Error::Start(message));
        }
        container.state = ContainerState::Running { started_at: now };
        state.journal.push(line);
        Ok(())
    }

    async fn update_container(
        &self,
        id: &str,
        resources: &Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let mut state = self.state();
        let used = state.memory_used;
        let container = state.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        let limit = resources.memory_limit;
        if limit > 0 && limit < used {
            return Err(Error::MemoryInUse { limit, usage: used.unsigned_abs() });
        }
        container.config.resources = resources.clone();
        container.config.annotations.extend(annotations);
        let line = format!("update {} {} to {} {}", container.config.name, container.config.attempt, resources.cpu_shares, limit);
        state.journal.push(line);
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let mut state = self.state();
        let Some(container) = state.containers.get(id) else { return Ok(()) };
        // What the grace period was of is known to the second at best.
        let how = if grace.is_zero() { "kill" } else { "stop" };
        let line = format!("{how} {} {}", container.config.name, container.config.attempt);
        state.journal.push(line);
        self.end(&mut state, id, 143);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.state().containers.remove(id).map(drop).ok_or_else(|| not_found("container", id))
    }

    async fn container(&self, id: &str) -> Result<Container, Error> {
        self.state().containers.get(id).cloned().ok_or_else(|| not_found("container", id))
    }

    async fn containers(&self, sandbox_id: Option<&str>) -> Result<Vec<Container>, Error> {
        let state = self.state();
        let wanted = |container: &&Container| sandbox_id.is_none_or(|id| container.sandbox_id == id);
        Ok(state.containers.values().filter(wanted).cloned().collect())
    }

    async fn exec(&self, id: &str, command: &[String], _timeout: Duration) -> Result<ExecOutput, Error> {
        let mut state = self.state();
        let name = state.containers.get(id).ok_or_else(|| not_found("container", id))?.config.name.clone();
        let line = format!("exec {name} {}", command.join(" "));
        if state.journal.last() != Some(&line) {
            state.journal.push(line);
        }
        Ok(ExecOutput { exit_code: state.exec_exit_code, output: b"said so".to_vec() })
    }

    /// Says its command, and then what it is told.
    async fn exec_session(&self, id: &str, command: &[String], streams: Streams) -> Result<Session, Error> {
        let mut session = self.attach(id, streams).await?;
        let said = futures::stream::iter([Ok(Bytes::from(format!("{} ", command.join(" "))))]);
        session.stdout = session.stdout.map(|stdout| said.chain(stdout).boxed());
        session.stderr = streams.stderr.then(|| futures::stream::iter([Ok(Bytes::from_static(b"err"))]).boxed());
        let exit_code = self.state().exec_exit_code;
        session.end = Box::pin(async move { Ok(exit_code) });
        if streams.tty {
            let sizes = Arc::clone(&self.sizes);
            session.resize = Some(Box::new(move |columns, rows| {
                sizes.lock().unwrap().push((columns, rows));
                Ok(())
            }));
        }
        Ok(session)
    }

    /// Says what it is told.
    async fn attach(&self, id: &str, streams: Streams) -> Result<Session, Error> {
        if !self.state().containers.contains_key(id) {
            return Err(not_found("container", id));
        }
        let (told, says) = futures::channel::mpsc::channel::<Bytes>(1);
        Ok(Session {
            stdin: streams.stdin.then(|| Box::pin(told.sink_map_err(std::io::Error::other)) as Input),
            stdout: Some(says.map(Ok).boxed()),
            stderr: None,
            resize: None,
            end: Box::pin(async { Ok(0) }),
        })
    }

    fn exits(&self) -> broadcast::Receiver<ContainerExited> {
        self.exits.subscribe()
    }
}
