//! `spinward serve`, the files of a directory for pages to try things with, and other pages for people.

use super::ports::Bound;
use super::signals::Signals;
use super::{RunError, runtime};
use crate::admission::{Entrance, Networks, Refused};
use crate::http::{Answer, Limits, Opened, Peer, Service, cleaner, plain, redirect, typed, unescaped};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use spinward::wire::ws::request::Head;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// Largest file that is served: each is read whole.
const MAX_FILE: u64 = 64 << 20;

/// Content types by the end of a name. All others are bytes.
const TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "text/xml; charset=utf-8"),
];

/// The directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// It is not there, or is none.
    #[error("--dir: {}: {source}", .dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("--address, --port: cannot listen on {address}:{port}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The runtime or signals.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Serves the files of a directory until the process is told to stop. `begun` gets the address.
///
/// # Errors
/// The directory or the address cannot be used.
pub(crate) fn serve_files(
    dir: &Path,
    address: &str,
    port: u16,
    begun: impl FnOnce(SocketAddr),
) -> Result<(), FilesError> {
    let directory = |source| FilesError::Directory { dir: dir.to_owned(), source };
    let root = dir.canonicalize().map_err(directory)?;
    // A file has no files in it.
    std::fs::read_dir(&root).map_err(directory)?;
    serve(Pages::Below(root), address, port, begun)
}

/// Serves one page on this machine until the process is told to stop. `begun` gets the address.
///
/// # Errors
/// The port cannot be listened on.
pub(crate) fn serve_page(html: String, port: u16, begun: impl FnOnce(SocketAddr)) -> Result<(), FilesError> {
    serve(Pages::One(html.into()), "127.0.0.1", port, begun)
}

fn serve(pages: Pages, address: &str, port: u16, begun: impl FnOnce(SocketAddr)) -> Result<(), FilesError> {
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let mut signals = Signals::listen(false).map_err(RunError::Start)?;
        let bound = Bound::bind("--address", address, port).await.map_err(|error| match error {
            RunError::Listen { source, .. } => {
                FilesError::Listen { address: address.to_owned(), port, source }
            }
            other => other.into(),
        })?;
        begun(bound.socket_address().map_err(RunError::Start)?);
        let (stop, stopped) = watch::channel(false);
        let accepting = bound.serve(None, Networks::default(), pages, Limits::default(), stopped);
        signals.next().await;
        let _ = stop.send(true);
        let _ = accepting.await;
        Ok(())
    });
    runtime.shutdown_background();
    served
}

/// Content that is served.
#[derive(Clone)]
enum Pages {
    /// The files below a directory.
    Below(PathBuf),
    /// One page, at the root.
    One(Bytes),
}

impl Service for Pages {
    fn enter(&self, _: SocketAddr) -> Result<Option<Entrance>, Refused> {
        Ok(None)
    }

    fn open(&self, _: &Head<'_>, _: &Peer) -> Opened {
        Opened::Pass
    }

    async fn answer(&self, request: Request<Incoming>, _: &Peer) -> Answer {
        if let Some(location) = cleaner(request.uri()) {
            return redirect(&location, request.method());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let (pages, path) = (self.clone(), unescaped(request.uri().path()).into_owned());
        let found = tokio::task::spawn_blocking(move || pages.find(&path)).await;
        let mut answer = match found {
            Ok(Ok(Found::File(kind, content))) => typed(kind, content),
            Ok(Ok(Found::Directory)) => {
                return redirect(&format!("{}/", request.uri().path()), request.method());
            }
            Ok(Err(error)) => refusal(&error),
            Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.remove(CONTENT_LENGTH);
        answer
    }
}

fn refusal(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "files of more than 64 MiB are not served")
        }
        io::ErrorKind::PermissionDenied => plain(StatusCode::FORBIDDEN, "Forbidden"),
        _ => plain(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// Content at a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A file: content type and content.
    File(&'static str, Bytes),
    /// A directory, at a path without a slash behind it.
    Directory,
}

impl Pages {
    fn find(&self, path: &str) -> io::Result<Found> {
        match self {
            Self::Below(root) => file_below(root, path),
            Self::One(page) if path == "/" => Ok(Found::File("text/html; charset=utf-8", page.clone())),
            Self::One(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Finds a file by the path of a request. Nothing outside of the directory is found, by links neither.
fn file_below(root: &Path, path: &str) -> io::Result<Found> {
    let hidden = |part: &str| part.starts_with('.') || part.contains(['/', '\\', '\0']);
    if path.split('/').any(hidden) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = root.join(path.trim_start_matches('/')).canonicalize()?;
    if !file.starts_with(root) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = match (file.is_dir(), path.ends_with('/')) {
        (true, true) => file.join("index.html"),
        (true, false) => return Ok(Found::Directory),
        (false, true) => return Err(io::ErrorKind::NotFound.into()),
        (false, false) => file,
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    if about.len() > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Found::File(kind(&file), std::fs::read(&file)?.into()))
}

fn kind(file: &Path) -> &'static str {
    let end = file.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    TYPES.iter().find(|(known, _)| *known == end).map_or("application/octet-stream", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let name = spinward::id::Entropy::system().client_id().to_string();
            let dir = std::env::temp_dir().join(format!("spinward-files-{name}"));
            std::fs::create_dir_all(dir.join("site/deep")).unwrap();
            for (file, text) in [
                ("outside.txt", "hush"),
                ("site/index.html", "<p>"),
                ("site/a b.JS", "1"),
                ("site/.env", "hush"),
            ] {
                std::fs::write(dir.join(file), text).unwrap();
            }
            Self(dir.canonicalize().unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_found_and_nothing_outside_is() {
        let scratch = Scratch::new();
        let root = scratch.0.join("site");
        #[cfg(unix)]
        std::os::unix::fs::symlink(scratch.0.join("outside.txt"), root.join("link.txt")).unwrap();
        let files = Pages::Below(root);
        let html = || Found::File("text/html; charset=utf-8", Bytes::from_static(b"<p>"));
        assert_eq!(files.find("/").unwrap(), html());
        assert_eq!(files.find("/index.html").unwrap(), html());
        assert_eq!(
            files.find("/a b.JS").unwrap(),
            Found::File("text/javascript; charset=utf-8", Bytes::from_static(b"1"))
        );
        assert_eq!(files.find("/deep").unwrap(), Found::Directory);
        for path in [
            "/deep/",
            "/index.html/",
            "/no",
            "/.env",
            "/../outside.txt",
            "/deep/../../outside.txt",
            "//etc/passwd",
            "/link.txt",
            "/a\0",
        ] {
            let error = files.find(path).unwrap_err();
            assert_eq!(refusal(&error).status(), StatusCode::NOT_FOUND, "{path}: {error}");
        }
    }
}
