//! `/logs/`: the files below the node's `/var/log`, as a plain file server of Go's shows them.

use std::{
    fmt::Write as _,
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, State},
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};
use tokio_util::io::ReaderStream;

/// Where a node's logs are.
pub(crate) const LOGS: &str = "/var/log";

/// Bytes that tell what a file is.
const SNIFFED: usize = 512;

/// Routes for what lies below `root`.
pub(crate) fn routes(root: &Path) -> Router {
    let root: Arc<Path> = root.into();
    let top = |State(root): State<Arc<Path>>, uri: Uri| answer(root, String::new(), uri);
    let below = |State(root): State<Arc<Path>>, Segments(path): Segments<String>, uri: Uri| answer(root, path, uri);
    Router::new().route("/logs/", get(top)).route("/logs/{*path}", get(below)).with_state(root)
}

async fn answer(root: Arc<Path>, path: String, uri: Uri) -> Response {
    match show(&root.join(inside(&path)), uri.path()).await {
        Ok(response) => response,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
            }
            io::ErrorKind::PermissionDenied => (StatusCode::FORBIDDEN, "403 Forbidden\n").into_response(),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error\n").into_response(),
        },
    }
}

/// A path that leads nowhere but below where it begins; links on the disk are followed, as upstream.
fn inside(path: &str) -> PathBuf {
    let mut inside = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => drop(inside.pop()),
            _ => {}
        }
    }
    inside
}

async fn show(path: &Path, asked: &str) -> io::Result<Response> {
    let found = fs::metadata(path).await?;
    let last = asked.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match (found.is_dir(), asked.ends_with('/')) {
        (true, true) => list(path).await,
        (true, false) => Ok(moved(&format!("{last}/"))),
        (false, true) => Ok(moved(&format!("../{last}"))),
        // Whoever opens a pipe waits for its other end.
        (false, false) if !found.is_file() => Err(io::ErrorKind::NotFound.into()),
        (false, false) => content(path, found.len()).await,
    }
}

fn moved(to: &str) -> Response {
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response()
}

async fn list(path: &Path) -> io::Result<Response> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(path).await?;
    while let Some(entry) = entries.next_entry().await? {
        let slash = if entry.file_type().await?.is_dir() { "/" } else { "" };
        names.push(format!("{}{slash}", entry.file_name().to_string_lossy()));
    }
    names.sort();
    let mut page = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n".to_owned();
    for name in names {
        // A name such as `a:b` must not read as a scheme.
        let dot = if name.contains(':') { "./" } else { "" };
        let _ = writeln!(page, "<a href=\"{dot}{}\">{}</a>", link(&name), text(&name));
    }
    page.push_str("</pre>\n");
    Ok(Html(page).into_response())
}

fn text(name: &str) -> String {
    let escapes = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")];
    escapes.into_iter().fold(name.to_owned(), |text, (char, escape)| text.replace(char, escape))
}

fn link(name: &str) -> String {
    let mut link = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"$&+,/:=@-_.~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link
}

/// A file as long as it is now, however fast it grows.
async fn content(path: &Path, length: u64) -> io::Result<Response> {
    let mut file = File::open(path).await?;
    let mut head = Vec::with_capacity(SNIFFED);
    (&mut file).take(u64::try_from(SNIFFED).unwrap_or(0)).read_to_end(&mut head).await?;
    file.rewind().await?;
    let is_text = head.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | 0x1b));
    let kind = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, Body::from_stream(ReaderStream::new(file.take(length)))).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(root: &Path, path: &str) -> (u16, String, String) {
        let response = routes(root).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let header = |name| response.headers().get(name).map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
        let (code, told) = (response.status().as_u16(), header(header::LOCATION) + &header(header::CONTENT_TYPE));
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (code, told, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn files_are_listed_and_shown() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("pods")).unwrap();
        std::fs::write(root.path().join("a <b>:c.log"), "one\ntwo\n").unwrap();
        std::fs::write(root.path().join("pods/wtmp"), [0, 1, 2]).unwrap();
        let (code, kind, page) = ask(root.path(), "/logs/").await;
        assert_eq!((code, kind.as_str()), (200, "text/html; charset=utf-8"));
        assert!(page.contains("<a href=\"./a%20%3Cb%3E:c.log\">a &lt;b&gt;:c.log</a>\n<a href=\"pods/\">pods/</a>\n"), "{page}");
        let shown = (200, "text/plain; charset=utf-8".to_owned(), "one\ntwo\n".to_owned());
        assert_eq!(ask(root.path(), "/logs/a%20%3Cb%3E:c.log").await, shown);
        assert_eq!(ask(root.path(), "/logs/pods/..%2Fpods/wtmp").await.1, "application/octet-stream");
        assert_eq!(ask(root.path(), "/logs/pods").await.1, "pods/");
        assert_eq!(ask(root.path(), "/logs/pods/wtmp/").await.1, "../wtmp");
        assert_eq!(ask(root.path(), "/logs/nope").await.0, 404);
        assert_eq!(ask(root.path(), "/logs/..%2F..%2Fetc").await.0, 404);
    }
}
