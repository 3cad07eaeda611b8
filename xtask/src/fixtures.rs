//! `cargo xtask fixtures`: the images of the scenarios, made of Debian's own nginx and busybox, in a local registry.

mod image;
mod registry;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use self::image::{Image, Layer};
pub(crate) use self::registry::Registry;
use crate::{process::output, test::target_dir};

/// Where to put them.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Directory of the registry's data; below cargo's target directory by default.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Raised whenever the images below change, so that an older registry is filled again.
const EDITION: &str = "1";

pub(crate) fn run(options: &Options) -> Result<()> {
    let dir = options.dir.clone().map_or_else(|| Ok(target_dir()?.join("fixtures")), anyhow::Ok)?;
    println!("{}", make(&dir)?.display());
    Ok(())
}

/// Fills a registry's data directory below `dir` and returns it.
pub(crate) fn make(dir: &Path) -> Result<PathBuf> {
    let data = dir.join("registry");
    let stamp = data.join("edition");
    if std::fs::read_to_string(&stamp).is_ok_and(|edition| edition == EDITION) {
        return Ok(data);
    }
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let registry = Registry::start(&data)?;
    let layouts = dir.join("layouts");
    for (name, image) in images()? {
        image.push(&layouts, &registry, &name)?;
    }
    drop(registry);
    std::fs::write(&stamp, EDITION)?;
    Ok(data)
}

/// Serves the images for as long as the value lives.
pub(crate) fn serve(dir: &Path) -> Result<Registry> {
    Registry::start(&make(dir)?)
}

/// Every image by its name on Docker Hub.
fn images() -> Result<Vec<(String, Image)>> {
    let mut images = Vec::new();
    let nginx = nginx_layer()?;
    for version in ["1.14.2", "1.16.1", "latest"] {
        let page = page(&[("index.html", &format!("nginx {version}\n"))]);
        images.push((format!("library/nginx:{version}"), nginx_image(&nginx, page, version)));
    }
    for version in ["v1", "v2", "v3"] {
        let page = page(&[("index.html", &format!("vweb {version}\n")), ("v.txt", &format!("{version}\n"))]);
        images.push((format!("kiamol/ch09-vweb:{version}"), nginx_image(&nginx, page, version)));
    }
    for version in ["3", "4"] {
        let page = page(&[("index.html", &format!("first-app {version}\n"))]);
        images.push((format!("axel9309/kub-first-app:{version}"), nginx_image(&nginx, page, version)));
    }
    images.push(("library/busybox:1.36".to_owned(), busybox_image()?));
    Ok(images)
}

fn nginx_image(nginx: &Layer, page: Layer, version: &str) -> Image {
    Image {
        layers: vec![nginx.clone(), page],
        env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned(), format!("NGINX_VERSION={version}")],
        command: ["nginx", "-g", "daemon off;"].map(str::to_owned).to_vec(),
        stop_signal: Some("SIGQUIT".to_owned()),
        port: Some(80),
    }
}

fn page(files: &[(&str, &str)]) -> Layer {
    let mut layer = Layer::default();
    for (name, text) in files {
        layer.text(&format!("usr/share/nginx/html/{name}"), text);
    }
    layer
}

const NGINX_CONF: &str = "\
user nobody nogroup;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr notice;
events { worker_connections 512; }
http {
    types { text/html html; text/plain txt; }
    access_log /dev/stdout;
    server { listen 80; root /usr/share/nginx/html; index index.html; }
}
";

/// Debian's nginx with the libraries that it is linked against, and busybox for a shell.
fn nginx_layer() -> Result<Layer> {
    let mut layer = busybox_layer()?;
    layer.file("usr/sbin/nginx", Path::new("/usr/sbin/nginx"), 0o755)?;
    for library in libraries(Path::new("/usr/sbin/nginx"))? {
        layer.file(library.to_string_lossy().trim_start_matches('/'), &library, 0o755)?;
    }
    layer.text("etc/nginx/nginx.conf", NGINX_CONF);
    for directory in ["var/log/nginx", "var/lib/nginx", "run", "tmp"] {
        layer.directory(directory);
    }
    Ok(layer)
}

/// The shared objects that the dynamic linker would load, the linker itself among them.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let text = output(Command::new("ldd").arg(program))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn busybox_layer() -> Result<Layer> {
    let mut layer = Layer::default();
    layer.file("bin/busybox", Path::new("/bin/busybox"), 0o755)?;
    for applet in output(Command::new("/bin/busybox").arg("--list"))?.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "/bin/busybox");
    }
    layer.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
    layer.text("etc/group", "root:x:0:\nnogroup:x:65534:\n");
    for directory in ["dev", "etc", "proc", "root", "sys", "tmp"] {
        layer.directory(directory);
    }
    Ok(layer)
}

fn busybox_image() -> Result<Image> {
    Ok(Image {
        layers: vec![busybox_layer()?],
        env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        command: vec!["sh".to_owned()],
        stop_signal: None,
        port: None,
    })
}
