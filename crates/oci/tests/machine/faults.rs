//! Registries that refuse, lie, break off, or are not there.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use windlass_oci::{
    error::chain,
    image::{Credential, ImageName, MirrorTable},
};

use crate::{
    Test,
    fixture::{Machine, run},
    registry::{Item, Registry, Request, Scripted, digest, gzip, layer, response},
};

pub(crate) const TESTS: &[Test] = &[
    ("pull_errors_are_worded_as_upstream", pull_errors_are_worded_as_upstream),
    ("token_and_credentials", token_and_credentials),
    ("a_cut_download_goes_on", a_cut_download_goes_on),
];

fn name(name: &str) -> ImageName {
    name.parse().unwrap()
}

fn pull_errors_are_worded_as_upstream() {
    run(async {
        let registry = Registry::start().await;
        registry.push_image("library/nginx", "1", &[layer(&[])], json!({})).await;
        let machine = Machine::with_mirrors(registry.as_docker_hub());
        let pull =
            async |machine: &Machine, image: &str| chain(&machine.runtime.images().pull(&name(image), &[]).await.unwrap_err());
        assert_eq!(
            pull(&machine, "nginx:nope").await,
            "failed to pull and unpack image \"docker.io/library/nginx:nope\": failed to resolve reference \
             \"docker.io/library/nginx:nope\": docker.io/library/nginx:nope: not found"
        );
        let base = registry.base.clone();
        drop(registry);
        let address = base.trim_start_matches("http://");
        assert_eq!(
            pull(&machine, "nginx:1").await,
            format!(
                "failed to pull and unpack image \"docker.io/library/nginx:1\": failed to resolve reference \
                 \"docker.io/library/nginx:1\": failed to do request: Head \"{base}/v2/library/nginx/manifests/1\": \
                 dial tcp {address}: connect: connection refused"
            )
        );
        let broken = Scripted::start(|request, _| response(request, "500 Internal Server Error", "", b""));
        let machine = Machine::with_mirrors(MirrorTable::new([format!("docker.io={}", broken.base)]).unwrap());
        assert!(pull(&machine, "nginx:1").await.ends_with(&format!(
            "unexpected status from HEAD request to {}/v2/library/nginx/manifests/1: 500 Internal Server Error",
            broken.base
        )));
    });
}

/// A one-layer image served by hand: path of the request → body.
struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let archive = layer(&[Item::File("file", &"content".repeat(1000))]);
        let layer = gzip(&archive);
        let config = json!({
            "architecture": oci_spec::image::Arch::default().to_string(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]},
        });
        let config = config.to_string().into_bytes();
        let descriptor = |kind: &str, blob: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(blob), "size": blob.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config), "layers": [descriptor("layer.v1.tar+gzip", &layer)],
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    fn answer(&self, request: &Request) -> Vec<u8> {
        let has = |part: &str| request.line.contains(part);
        let headers = format!("docker-content-digest: {}\r\n", digest(&self.manifest));
        if has("/manifests/") {
            return response(request, "200 OK", &headers, &self.manifest);
        }
        let body = if has(&digest(&self.config)) { &self.config } else { &self.layer };
        response(request, "200 OK", "", body)
    }
}

fn token_and_credentials() {
    run(async {
        let image = Image::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let server = Scripted::start(move |request, base| {
            log.lock().unwrap().push(request.line.clone());
            let authorization = request.headers.lines().find_map(|l| l.strip_prefix("authorization: ")).unwrap_or_default();
            if request.line.starts_with("GET /token") {
                // "me:secret"; header names and values arrive in lower case here.
                return match authorization {
                    "basic bwu6c2vjcmv0" => response(request, "200 OK", "", br#"{"token":"good"}"#),
                    "" => response(request, "200 OK", "", br#"{"access_token":"weak"}"#),
                    _ => response(request, "401 Unauthorized", "", b""),
                };
            }
            if authorization == "bearer good" {
                return image.answer(request);
            }
            let challenge = format!("www-authenticate: Bearer realm=\"{base}/token\",service=\"test\",scope=\"other\"\r\n");
            response(request, "401 Unauthorized", &challenge, b"")
        });
        let machine = Machine::with_mirrors(MirrorTable::new([format!("docker.io={}", server.base)]).unwrap());
        let credential = |password: &str| Credential { username: "me".into(), password: password.into() };
        let pull = async |credentials: &[Credential]| machine.runtime.images().pull(&name("private"), credentials).await;
        assert!(chain(&pull(&[]).await.unwrap_err()).ends_with(
            "failed to resolve reference \"docker.io/library/private:latest\": pull access denied, repository does not exist or \
             may require authorization: server message: insufficient_scope: authorization failed"
        ));
        let refused = chain(&pull(&[credential("wrong")]).await.unwrap_err());
        assert!(
            refused.contains("failed to authorize: failed to fetch oauth token: unexpected status from GET request to")
                && refused.ends_with("401 Unauthorized"),
            "{refused}"
        );
        pull(&[credential("wrong"), credential("secret")]).await.unwrap();
        let token = seen.lock().unwrap().iter().find(|line| line.starts_with("GET /token")).cloned().unwrap();
        assert_eq!(token, "GET /token?scope=repository%3Alibrary%2Fprivate%3Apull&service=test HTTP/1.1");
    });
}

fn a_cut_download_goes_on() {
    run(async {
        let (image, count) = (Image::new(), Arc::new(AtomicUsize::new(0)));
        let (blob, asked) = (image.layer.clone(), Arc::clone(&count));
        let layer_digest = digest(&blob);
        let server = Scripted::start(move |request, _| {
            if !request.line.contains(&layer_digest) {
                return image.answer(request);
            }
            let from = request.headers.lines().find_map(|l| l.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
            let from: usize = from.unwrap_or(0);
            let end = if asked.fetch_add(1, Ordering::SeqCst) < 3 { from + 10 } else { blob.len() };
            let status = if from == 0 { "200 OK" } else { "206 Partial Content" };
            let mut bytes = response(request, status, "", &blob[from..]);
            bytes.truncate(bytes.len() - (blob.len() - end));
            bytes
        });
        let machine = Machine::with_mirrors(MirrorTable::new([format!("docker.io={}", server.base)]).unwrap());
        machine.runtime.images().pull(&name("cut"), &[]).await.unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 4);

        let image = Image::new();
        let lying = Scripted::start(move |request, _| {
            let mut bytes = image.answer(request);
            if request.line.contains(&digest(&image.layer)) {
                *bytes.last_mut().unwrap() ^= 1;
            }
            bytes
        });
        let machine = Machine::with_mirrors(MirrorTable::new([format!("docker.io={}", lying.base)]).unwrap());
        let error = chain(&machine.runtime.images().pull(&name("lying"), &[]).await.unwrap_err());
        assert!(error.contains("unexpected commit digest sha256:") && error.ends_with(": failed precondition"), "{error}");
        assert!(machine.runtime.images().list().is_empty());
    });
}
