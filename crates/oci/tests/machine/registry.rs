//! A real registry on loopback, and images made by hand to push into it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use windlass_oci::image::MirrorTable;

/// Debian's `docker-registry`.
pub(crate) struct Registry {
    _dir: TempDir,
    child: Child,
    pub(crate) base: String,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Free a moment ago; nobody else on this machine is handed the same one so soon.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = json!({
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": dir.path().join("data")}},
            "http": {"addr": format!("127.0.0.1:{port}")},
        });
        let config_path = dir.path().join("config.yml");
        fs::write(&config_path, config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config_path).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("Debian's docker-registry is installed");
        let registry = Self { _dir: dir, child, base: format!("http://127.0.0.1:{port}") };
        for _ in 0..2000 {
            if reqwest::get(format!("{}/v2/", registry.base)).await.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        registry
    }

    /// Serves Docker Hub's names from here.
    pub(crate) fn as_docker_hub(&self) -> MirrorTable {
        MirrorTable::new([format!("docker.io={}", self.base)]).unwrap()
    }

    /// Puts a blob and gives its descriptor.
    pub(crate) async fn push_blob(&self, repository: &str, media_type: &str, blob: &[u8]) -> Value {
        let client = reqwest::Client::new();
        let begun = client.post(format!("{}/v2/{repository}/blobs/uploads/", self.base)).send().await.unwrap();
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let digest = digest(blob);
        let put = client.put(format!("{location}&digest={digest}")).body(blob.to_vec()).send().await.unwrap();
        assert_eq!(put.status(), 201);
        json!({"mediaType": media_type, "digest": digest, "size": blob.len()})
    }

    /// Puts a manifest or index under a tag; its digest.
    pub(crate) async fn push_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> String {
        let body = manifest.to_string();
        let media_type = manifest["mediaType"].as_str().unwrap();
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.base);
        let put = reqwest::Client::new().put(url).header("content-type", media_type).body(body.clone()).send().await.unwrap();
        assert_eq!(put.status(), 201, "{}", put.text().await.unwrap());
        digest(body.as_bytes())
    }

    /// Pushes an image of these layers (uncompressed archives) and gives the manifest's digest.
    pub(crate) async fn push_image(&self, repository: &str, tag: &str, layers: &[Vec<u8>], config: Value) -> String {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let image = json!({
            "architecture": oci_spec::image::Arch::default().to_string(), "os": "linux",
            "config": config, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = image.to_string();
        let config = self.push_blob(repository, "application/vnd.oci.image.config.v1+json", config.as_bytes()).await;
        let mut descriptors = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let (suffix, blob) = match index % 3 {
                0 => ("+gzip", gzip(layer)),
                1 => ("+zstd", zstd::encode_all(layer.as_slice(), 3).unwrap()),
                _ => ("", layer.clone()),
            };
            let media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
            descriptors.push(self.push_blob(repository, &media_type, &blob).await);
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": descriptors,
        });
        self.push_manifest(repository, tag, &manifest).await
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a test's layer has in it.
pub(crate) enum Item<'a> {
    Dir(&'a str, u32),
    File(&'a str, &'a str),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    /// A file with an extended attribute.
    Xattr(&'a str, &'a str, &'a str),
    /// Character device with that major and minor number.
    Device(&'a str, u32, u32),
    /// A file whose header says this user and group.
    Owned(&'a str, u64, u64),
}

/// An archive of these; names are written as they are, however hostile.
pub(crate) fn layer(items: &[Item<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for item in items {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        let (name, content, link) = match item {
            Item::Dir(name, mode) => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(*mode);
                (*name, "", None)
            }
            Item::File(name, content) => (*name, *content, None),
            Item::Symlink(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                (*name, "", Some(*target))
            }
            Item::HardLink(name, target) => {
                header.set_entry_type(tar::EntryType::Link);
                (*name, "", Some(*target))
            }
            Item::Xattr(name, key, value) => {
                archive.append_pax_extensions([(format!("SCHILY.xattr.{key}").as_str(), value.as_bytes())]).unwrap();
                (*name, "", None)
            }
            Item::Device(name, major, minor) => {
                header.set_entry_type(tar::EntryType::Char);
                header.set_device_major(*major).unwrap();
                header.set_device_minor(*minor).unwrap();
                (*name, "", None)
            }
            Item::Owned(name, uid, gid) => {
                header.set_uid(*uid);
                header.set_gid(*gid);
                (*name, "", None)
            }
        };
        header.set_size(content.len() as u64);
        // Not `set_path`, which refuses what must be refused by us.
        let raw = header.as_ustar_mut().unwrap();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(link) = link {
            raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A server that answers each connection with what a script says, to misbehave as no real registry does.
pub(crate) struct Scripted {
    pub(crate) base: String,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What was asked for: the first line, and the headers in lower case.
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: String,
}

impl Scripted {
    /// `answer` gives the raw bytes of a response; the connection is closed after each.
    pub(crate) fn start(answer: impl Fn(&Request, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopping, own_base) = (std::sync::Arc::clone(&stop), base.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let (line, headers) = head.split_once("\r\n").unwrap_or_default();
                let request = Request { line: line.to_owned(), headers: headers.to_lowercase() };
                let _ = stream.write_all(&answer(&request, &own_base));
            }
        });
        Self { base, stop, thread: Some(thread) }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.base.trim_start_matches("http://"));
        let _ = self.thread.take().unwrap().join();
    }
}

/// A response with a body, or only its head for HEAD.
pub(crate) fn response(request: &Request, status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len()).into_bytes();
    if !request.line.starts_with("HEAD") {
        bytes.extend_from_slice(body);
    }
    bytes
}
