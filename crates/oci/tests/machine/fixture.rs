//! A machine's runtime in a temporary directory, gone without a trace at the end of a test.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use oci_spec::image::{Config, ConfigBuilder};
use tempfile::TempDir;
use windlass_oci::{
    container::{ContainerSpec, Phase, Runtime, RuntimeConfig, Sandbox, SandboxSpec},
    image::{BuildEntry, BuildSource, ImageName, ImageRecord, MirrorTable},
};

/// Runs an async test.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

pub(crate) struct Machine {
    pub(crate) dir: TempDir,
    pub(crate) config: RuntimeConfig,
    pub(crate) runtime: Runtime,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with_mirrors(MirrorTable::default())
    }

    pub(crate) fn with_mirrors(mirrors: MirrorTable) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(dir.path().join("data"));
        config.mirrors = mirrors;
        let runtime = Runtime::open(config.clone()).unwrap();
        Self { dir, config, runtime }
    }

    /// A machine that somebody else made, who cleans up after this process was killed.
    pub(crate) fn of(config: RuntimeConfig) -> Self {
        let dir = tempfile::tempdir_in(config.data_dir.parent().unwrap()).unwrap();
        Self { dir, runtime: Runtime::open(config.clone()).unwrap(), config }
    }

    /// What the next main process would see.
    pub(crate) fn reopen(&mut self) {
        self.runtime = Runtime::open(self.config.clone()).unwrap();
    }

    pub(crate) async fn busybox(&self, config: Config) -> ImageRecord {
        let name: ImageName = "busybox:test".parse().unwrap();
        let entry = |path: &str, mode, source| BuildEntry { path: path.into(), mode, source };
        let mut entries = vec![
            entry("bin/busybox", 0o755, BuildSource::File("/bin/busybox".into())),
            entry("etc/passwd", 0o644, BuildSource::Bytes(b"root:x:0:0::/root:/bin/sh\nweb:x:7:8::/srv:/bin/sh\n".to_vec())),
            entry("etc/group", 0o644, BuildSource::Bytes(b"root:x:0:\nweb:x:8:\nextra:x:9:web\n".to_vec())),
            entry("tmp", 0o1777, BuildSource::Directory),
        ];
        for applet in
            ["sh", "sleep", "cat", "id", "echo", "env", "ls", "touch", "kill", "hostname", "head", "stat", "grep", "yes", "stty"]
        {
            entries.push(entry(&format!("bin/{applet}"), 0o777, BuildSource::Symlink("busybox".into())));
        }
        self.runtime.images().build(&name, entries, config).await.unwrap()
    }

    pub(crate) async fn sandbox(&self) -> Sandbox {
        let spec = SandboxSpec { hostname: "pod-0".into(), cgroup_parent: "kubepods/pod1".into(), ..SandboxSpec::default() };
        self.runtime.create_sandbox(spec).await.unwrap()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.path().join("logs/0.log")
    }

    /// A container that runs a shell script.
    pub(crate) async fn script(&self, script: &str) -> ContainerSpec {
        let image = self.busybox(ConfigBuilder::default().build().unwrap()).await;
        ContainerSpec {
            image_id: image.id,
            command: vec!["sh".into(), "-c".into(), script.into()],
            log_path: self.log_path(),
            ..ContainerSpec::default()
        }
    }

    /// Creates and starts; the container's id.
    pub(crate) async fn start(&self, spec: ContainerSpec) -> String {
        let sandbox = self.sandbox().await;
        let container = self.runtime.create_container(&sandbox.id, spec).await.unwrap();
        self.runtime.start_container(&container.id).await.unwrap();
        container.id
    }

    /// Waits for the end; exit code, whether for lack of memory, message.
    pub(crate) async fn exited(&self, id: &str) -> (i32, bool, String) {
        let mut exits = self.runtime.exits();
        loop {
            if let Phase::Exited { exit_code, oom_killed, message, .. } = self.runtime.container(id).unwrap().phase {
                return (exit_code, oom_killed, message);
            }
            tokio::time::timeout(Duration::from_secs(20), exits.recv()).await.expect("the container ends").unwrap();
        }
    }

    /// Waits until the log of a container has that in it.
    pub(crate) async fn says(&self, text: &str) {
        let said = async {
            while !log_text(&self.log_path()).contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), said).await.expect("the container says it");
    }

    /// Runs a script to its end: exit code and log without times.
    pub(crate) async fn run_script(&self, script: &str) -> (i32, String) {
        self.run_spec(self.script(script).await).await
    }

    pub(crate) async fn run_spec(&self, spec: ContainerSpec) -> (i32, String) {
        let log_path = spec.log_path.clone();
        let _ = fs::remove_file(&log_path);
        let id = self.start(spec).await;
        let (exit_code, _, _) = self.exited(&id).await;
        (exit_code, log_text(&log_path))
    }
}

/// A log without times: `stdout F text`.
pub(crate) fn log_text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(_, rest)| format!("{rest}\n")).collect()
}

impl Drop for Machine {
    fn drop(&mut self) {
        let runtime = self.runtime.clone();
        let cleaned = std::thread::spawn(move || {
            run(async move {
                for container in runtime.containers(None) {
                    runtime.remove_container(&container.id).await.unwrap();
                }
                for sandbox in runtime.sandboxes() {
                    runtime.remove_sandbox(&sandbox.id).await.unwrap();
                }
            });
        });
        let cleaned = cleaned.join();
        for tree in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let root = tree.path().join(&self.config.cgroup_root);
            let _ = fs::remove_dir(root.join("kubepods/pod1"));
            let _ = fs::remove_dir(root.join("kubepods"));
            let _ = fs::remove_dir(root);
        }
        if !std::thread::panicking() {
            cleaned.unwrap();
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let place = self.dir.path().to_str().unwrap();
            assert!(!mounts.contains(place), "mounts left behind:\n{mounts}");
        }
    }
}
