//! Debian's docker-registry over the fixtures, on a free port of the loopback interface.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A registry that runs for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Registry {
    /// Serves the images that `cargo xtask fixtures` made.
    pub(crate) fn start(dir: &Path) -> Self {
        let data = std::env::var("WINDLASS_TEST_REGISTRY_DATA")
            .expect("WINDLASS_TEST_REGISTRY_DATA: run `cargo xtask test --scenarios`");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {data} }} }}\nhttp: {{ addr: \"{address}\" }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let registry = Self { process: command.spawn().unwrap(), address };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return registry;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry does not answer on {address}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
