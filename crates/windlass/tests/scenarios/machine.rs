//! A machine under test: `windlass up` as a process of its own, with a data directory of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, chown},
};
use tempfile::TempDir;

use crate::registry::Registry;

/// A stopping machine gives its pods their grace (30 s by default); anything beyond that is a hang.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// One kubectl.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    pub(crate) path: PathBuf,
    /// `old` or `current`: sections of a script may be for one of them.
    pub(crate) age: &'static str,
}

impl Kubectl {
    pub(crate) fn all() -> Vec<Self> {
        let found = [("WINDLASS_TEST_KUBECTL_OLD", "old"), ("WINDLASS_TEST_KUBECTL", "current")]
            .into_iter()
            .filter_map(|(variable, age)| Some(Self { path: std::env::var_os(variable)?.into(), age }));
        let all: Vec<Self> = found.collect();
        assert!(!all.is_empty(), "no kubectl: run `cargo xtask test --scenarios`");
        all
    }
}

#[derive(Debug)]
pub(crate) struct Machine {
    process: Option<Child>,
    args: Vec<String>,
    /// Who runs it; root otherwise.
    user: Option<User>,
    dir: TempDir,
    /// Serves for as long as the machine lives.
    _registry: Registry,
}

impl Machine {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_as(None, args)
    }

    /// A machine that is not started yet.
    pub(crate) fn idle(args: &[&str]) -> Self {
        Self::make(None, args)
    }

    /// A machine with a binary of its own, which may be replaced: `windlass` in its directory.
    pub(crate) fn start_replaceable(user: Option<&str>, args: &[&str]) -> Self {
        let user = User::from_name(user.unwrap_or("root")).unwrap();
        Self::start_as(Some(user.expect("no such user: run `cargo xtask test --scenarios`")), args)
    }

    /// The machine of an ordinary user whose processes are in that control group.
    pub(crate) fn start_within(group: &Path, user: &str) -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_start_matches('/').to_owned();
        let join = |group: &Path| std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).unwrap();
        let user = User::from_name(user).unwrap();
        let mut machine = Self::make(Some(user.expect("no such user: run `cargo xtask test --scenarios`")), &[]);
        // It is inherited, so this process is in it for that long.
        join(group);
        machine.up();
        let tree = group.ancestors().take_while(|dir| dir.join("cgroup.procs").exists()).last().unwrap();
        join(&tree.join(own));
        machine
    }

    /// The machine of an ordinary user, who can reach neither our directories nor the binary in them.
    pub(crate) fn start_of(user: &str, args: &[&str]) -> Self {
        let user = User::from_name(user).unwrap().unwrap_or_else(|| panic!("no user {user}: run `cargo xtask test --scenarios`"));
        Self::start_as(Some(user), args)
    }

    fn start_as(user: Option<User>, args: &[&str]) -> Self {
        let mut machine = Self::make(user, args);
        machine.up();
        machine
    }

    fn make(user: Option<User>, args: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("windlass-test-").tempdir().unwrap();
        if let Some(user) = &user {
            std::fs::copy(env!("CARGO_BIN_EXE_windlass"), dir.path().join("windlass")).unwrap();
            chown(dir.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let registry = Registry::start(dir.path());
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args.push(format!("--registry-mirror=docker.io=http://{}", registry.address));
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { process: None, args, user, dir, _registry: registry }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir().join("data/kubeconfig")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir().join("windlass.log")
    }

    /// Starts the process and waits for the line that says it is ready.
    pub(crate) fn up(&mut self) {
        let mut stdout = BufReader::new(self.begin());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        if !ready.contains("export KUBECONFIG=") {
            panic!("windlass up did not say that it is ready, but {ready:?}:\n{}", self.log_text());
        }
    }

    /// Starts the process; what it says on standard output is given back.
    pub(crate) fn begin(&mut self) -> ChildStdout {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let mut process = self
            .command()
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.dir().join("data"))
            .args(&self.args)
            .env("TMPDIR", self.dir().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        self.process = Some(process);
        stdout
    }

    /// The binary, run by whom the machine belongs to.
    fn command(&self) -> Command {
        match &self.user {
            None => Command::new(env!("CARGO_BIN_EXE_windlass")),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".to_owned()]);
                command.arg(self.dir().join("windlass"));
                command
            }
        }
    }

    /// Runs the binary for something else.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.as_ref().unwrap().id().cast_signed())
    }

    /// Ends the main process at once; containers and routes are to go on.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Stops the machine with SIGTERM and checks that it ended well.
    pub(crate) fn stop(mut self) {
        self.down();
    }

    /// The same for a machine that is to come back.
    pub(crate) fn down(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended();
        assert!(status.success(), "windlass up ended with {status}:\n{}", self.log_text());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Whether the process has ended; [`Machine::ended`] says how.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                panic!("windlass up does not stop:\n{}", self.log_text());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A client of the API as it is served now, and the runtime that its connections live on.
    pub(crate) fn client(&self) -> (tokio::runtime::Runtime, kube::Client) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = runtime.block_on(async {
            let kubeconfig = kube::config::Kubeconfig::read_from(self.kubeconfig()).unwrap();
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        (runtime, client)
    }

    /// Runs something against the API on a client of its own.
    pub(crate) fn block_on<F: Future<Output = ()>>(&self, work: impl FnOnce(kube::Client) -> F) {
        let (runtime, client) = self.client();
        runtime.block_on(work(client));
    }

    /// Runs a command line through the shell with `kubectl` meaning this one, in the directory of the manifests.
    pub(crate) fn shell(&self, kubectl: &Kubectl, line: &str) -> Output {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/manifests");
        Command::new("sh")
            .args(["-c", &format!("kubectl() {{ {} \"$@\"; }}; {line}", kubectl.path.display())])
            .current_dir(manifests)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.dir())
            .env("KUBECTL", &kubectl.path)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Reached with a process only when a check failed: the machine is stopped all the same, and its log shown.
        if let Some(mut process) = self.process.take() {
            let _ = kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGTERM);
            let deadline = Instant::now() + STOP_PATIENCE;
            while process.try_wait().is_ok_and(|status| status.is_none()) {
                if Instant::now() > deadline {
                    let _ = process.kill();
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            let log = self.log_text();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            println!("last lines of the machine's log:");
            tail.iter().rev().for_each(|line| println!("  {line}"));
        }
    }
}
