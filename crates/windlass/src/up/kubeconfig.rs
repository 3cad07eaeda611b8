//! The kubeconfig that a stock kubectl uses.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

/// Writes it with mode 0600, all or nothing.
pub(crate) fn write(path: &Path, server: SocketAddr, ca_pem: &str, token: &str) -> Result<()> {
    let name = "windlass";
    // JSON is YAML, and kubectl reads both.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": name, "cluster": {
            "server": format!("https://{server}"), "certificate-authority-data": STANDARD.encode(ca_pem),
        } }],
        "users": [{ "name": name, "user": { "token": token } }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
    });
    let text = serde_json::to_string_pretty(&config)?;
    let write = || -> std::io::Result<()> {
        let beside = path.with_extension("new");
        // The mode counts only for a file that is made now.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    };
    write()
        .with_context(|| format!("cannot write the kubeconfig {}; choose another place with --write-kubeconfig", path.display()))
}
