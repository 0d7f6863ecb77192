//! The local control socket: a Unix socket only the engine's own user (and root) may use; one line of JSON asked,
//! one line answered, as often as the client likes.

use super::control::{Reply, Request};
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest question, bytes.
const MAX_REQUEST: u64 = 64 << 10;
/// Longest answer a client reads, bytes.
const MAX_REPLY: u64 = 256 << 20;
/// Clients at a time.
const MAX_CLIENTS: usize = 32;
/// How long a client may take to ask, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum ControlError {
    #[error("control socket {}: another engine is answering there; stop it first, or set another `control-socket`", .0.display())]
    InUse(PathBuf),
    #[error("control socket {}: there is a file of that name that is no socket; remove it, or set another `control-socket`", .0.display())]
    NotASocket(PathBuf),
    #[error("no engine is running at {}: {source}; start it with `posthaste run`", path.display())]
    NotRunning { path: PathBuf, source: io::Error },
    #[error("control socket {}: {source}", path.display())]
    Socket { path: PathBuf, source: io::Error },
    #[error("control socket {}: the answer is not understood: {reason}", path.display())]
    Reply { path: PathBuf, reason: String },
}

/// What answers a question.
pub type Answer = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// The socket's file; removed when the engine stops.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl ControlSocket {
    /// Opens the socket at `path`, mode 0600. A socket nobody answers at is left over from a crash and replaced.
    pub fn open(path: &Path) -> Result<ControlSocket, ControlError> {
        let trouble = |source| ControlError::Socket { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ControlError::NotASocket(path.to_owned()));
            }
            Ok(_) if BlockingStream::connect(path).is_ok() => {
                return Err(ControlError::InUse(path.to_owned()));
            }
            Ok(_) => fs::remove_file(path).map_err(trouble)?,
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(trouble)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(trouble)?;
        Ok(ControlSocket { listener, path: path.to_owned() })
    }

    /// Answers clients for ever; drop the future to stop.
    pub async fn serve<F>(self, answer: F) -> Infallible
    where
        F: Fn(Request) -> Answer + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            // Waiting for a place before accepting leaves further clients in the socket's own backlog.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
            let client = match self.listener.accept().await {
                Ok((client, _)) => client,
                Err(e) => {
                    tracing::warn!("control socket: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let _place = place;
                if let Err(e) = converse(client, &*answer).await {
                    tracing::debug!("control client: {e}");
                }
            });
        }
    }
}

/// Answers one client's questions until it hangs up.
async fn converse(client: UnixStream, answer: &(impl Fn(Request) -> Answer + Sync)) -> io::Result<()> {
    // The mode of the socket protects it already; this also covers the moment before the mode was set.
    let peer = client.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let (reader, mut writer) = client.into_split();
    let mut reader = tokio::io::BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        timeout(PATIENCE, (&mut reader).take(MAX_REQUEST).read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let reply = match serde_json::from_slice(&line) {
            Ok(request) if whole => answer(request).await,
            Ok(_) => Reply::Error { message: "the request does not end in a newline".into() },
            Err(_) if !whole => {
                Reply::Error { message: format!("a request is one line of at most {MAX_REQUEST} bytes") }
            }
            Err(e) => Reply::Error { message: format!("the request is not understood: {e}") },
        };
        let mut bytes = serde_json::to_vec(&reply).map_err(io::Error::other)?;
        bytes.push(b'\n');
        timeout(PATIENCE, writer.write_all(&bytes)).await??;
        if !whole {
            return Ok(());
        }
    }
}

/// Asks the engine at `path` one question and waits for the answer.
pub fn ask(path: &Path, request: &Request) -> Result<Reply, ControlError> {
    let trouble = |source| ControlError::Socket { path: path.to_owned(), source };
    let unclear = |reason: String| ControlError::Reply { path: path.to_owned(), reason };
    let mut stream = BlockingStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ControlError::NotRunning { path: path.to_owned(), source }
        }
        _ => trouble(source),
    })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(trouble)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(trouble)?;
    let mut bytes = serde_json::to_vec(request).map_err(|e| unclear(e.to_string()))?;
    bytes.push(b'\n');
    stream.write_all(&bytes).map_err(trouble)?;
    let mut line = Vec::new();
    BufReader::new(stream).take(MAX_REPLY).read_until(b'\n', &mut line).map_err(trouble)?;
    if !line.ends_with(b"\n") {
        return Err(unclear("it was cut short".into()));
    }
    serde_json::from_slice(&line).map_err(|e| unclear(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(request: Request) -> Answer {
        Box::pin(async move {
            match request {
                Request::PauseQueue { queue } => Reply::Done { message: queue, count: 1 },
                other => Reply::Error { message: format!("{other:?}") },
            }
        })
    }

    /// Runs `client` in a thread against a served socket.
    fn with_server(client: impl FnOnce(&Path) + Send + 'static) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = ControlSocket::open(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let asked = path.clone();
            let client = tokio::task::spawn_blocking(move || client(&asked));
            tokio::select! {
                never = socket.serve(echo) => match never {},
                done = client => done.unwrap(),
            }
        });
        assert!(!path.exists(), "the socket goes with the engine");
    }

    #[test]
    fn one_line_asked_one_line_answered() {
        with_server(|path| {
            let reply = ask(path, &Request::PauseQueue { queue: "a/b".into() }).unwrap();
            assert_eq!(reply, Reply::Done { message: "a/b".into(), count: 1 });
            assert!(matches!(ControlSocket::open(path), Err(ControlError::InUse(_))));
        });
    }

    #[test]
    fn several_questions_on_one_connection_and_nonsense_between() {
        with_server(|path| {
            let mut stream = BlockingStream::connect(path).unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for (question, answer) in [
                (r#"{"request":"pause-queue","queue":"x"}"#, r#"{"reply":"done","message":"x","count":1}"#),
                (
                    r#"{"request":"make-tea"}"#,
                    r#"{"reply":"error","message":"the request is not understood: unknown variant `make-tea`"#,
                ),
                ("}{\"", r#"{"reply":"error","message":"the request is not understood: "#),
                (r#"{"request":"stop"}"#, r#"{"reply":"error","message":"Stop"}"#),
            ] {
                writeln!(stream, "{question}").unwrap();
                let line = lines.next().unwrap().unwrap();
                assert!(line.starts_with(answer), "{line}");
            }
        });
    }

    #[test]
    fn an_endless_question_is_refused() {
        with_server(|path| {
            let mut stream = BlockingStream::connect(path).unwrap();
            stream.write_all(&vec![b' '; MAX_REQUEST as usize]).unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            assert!(reply.contains("one line of at most 65536 bytes"), "{reply}");
        });
    }

    #[test]
    fn what_stands_at_the_path_decides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let error = ask(&path, &Request::Status).unwrap_err().to_string();
        assert!(
            error.starts_with("no engine is running at ") && error.ends_with("start it with `posthaste run`"),
            "{error}"
        );
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // as after a crash
        assert!(matches!(ask(&path, &Request::Status), Err(ControlError::NotRunning { .. })));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        drop(ControlSocket::open(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlSocket::open(&path), Err(ControlError::NotASocket(_))));
    }
}
