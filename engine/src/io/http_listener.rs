//! Inbound HTTP/1.1: clients are counted and accepted in one place, and served in halls, one on each reactor's thread. What
//! is answered is decided by the [`Answer`] that the daemon plugs in.

use super::panics::contained;
use super::smtp_listener::PATIENCE;
use super::smtp_places::{Clients, Place};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a client may take to the end of a request's header, the wait for its first byte included.
const HEADER_PATIENCE: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Header fields of a request, and bytes of all of them.
const MAX_FIELDS: usize = 64;
const MAX_HEADER: usize = 64 << 10;
/// After `accept` failed for want of descriptors or memory (F35).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Both ends of a connection in words, made once.
#[derive(Clone, Debug)]
pub struct Ends {
    pub client: Rc<str>,
    pub local: Rc<str>,
}

/// What one hall answers.
pub trait Answer: 'static {
    fn answer(
        self: Rc<Self>,
        ends: Ends,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + 'static;
}

/// How a connection is secured.
#[derive(Clone, Debug)]
pub struct Security {
    /// `None`: not at all.
    pub tls: Option<Arc<ServerConfig>>,
    /// `log-tls`.
    pub logged: bool,
}

/// Tells how a connection that has just come is secured; `None` when it is not wanted any longer.
pub type Secure = Arc<dyn Fn() -> Option<Security> + Send + Sync>;

/// A client that has been let in, on its way to the hall that serves it.
pub struct Caller {
    socket: std::net::TcpStream,
    peer: IpAddr,
    security: Security,
    place: Place,
}

impl Caller {
    fn new(socket: TcpStream, peer: IpAddr, security: Security, place: Place) -> std::io::Result<Caller> {
        socket.set_nodelay(true)?;
        Ok(Caller { socket: socket.into_std()?, peer, security, place })
    }
}

/// Accepts clients and hands them round to `halls`, until `close` is told or gone, or `stop` becomes true or its sender is
/// gone. Clients for whom there is no room are hung up on.
pub async fn serve(
    listener: TcpListener,
    clients: Arc<Clients>,
    secure: Secure,
    halls: Vec<mpsc::UnboundedSender<Caller>>,
    mut close: oneshot::Receiver<()>,
    mut stop: watch::Receiver<bool>,
) {
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut close => break,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (Some(place), Some(security)) = (clients.admit(peer.ip(), None), secure()) else { continue };
        // Errors of a client's socket end its connection; there is nobody else to tell.
        if let Ok(caller) = Caller::new(socket, peer.ip(), security, place) {
            turn += 1;
            // A hall that is gone has ended because of the same stop.
            let _ = halls[turn % halls.len()].send(caller);
        }
    }
}

/// A hall: serves the clients handed to it, on one thread, to the end of their connections once no more can come; or until
/// `stop` becomes true or its sender is gone. Then requests that have begun are answered, and connections ended.
pub async fn hall<A: Answer>(
    mut callers: mpsc::UnboundedReceiver<Caller>,
    answer: A,
    mut stop: watch::Receiver<bool>,
) {
    let answer = Rc::new(answer);
    let stop_of_each = stop.clone();
    let mut open = JoinSet::new();
    let mut more = true;
    while more || !open.is_empty() {
        tokio::select! {
            caller = callers.recv(), if more => match caller {
                Some(caller) => drop(open.spawn_local(contained(receive(caller, answer.clone(), stop_of_each.clone())))),
                // The address is no longer listened on.
                None => more = false,
            },
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = open.join_next() => {}
        }
    }
    let ended = async { while open.join_next().await.is_some() {} };
    // What has not ended by then is dropped with the set: its requests have had no answer.
    let _ = tokio::time::timeout(PATIENCE, ended).await;
}

async fn receive<A: Answer>(caller: Caller, answer: Rc<A>, stop: watch::Receiver<bool>) {
    let Caller { socket, peer, security, place } = caller;
    let (Ok(local), Ok(socket)) = (socket.local_addr(), TcpStream::from_std(socket)) else { return };
    let words = |ip: IpAddr| ip.to_canonical().to_string().into();
    let ends = Ends { client: words(peer), local: words(local.ip()) };
    match security.tls {
        None => converse(socket, ends, answer, stop).await,
        Some(tls) => {
            let accepting = TlsAcceptor::from(tls).accept(socket);
            let secured = tokio::time::timeout(HANDSHAKE_PATIENCE, accepting).await;
            let Ok(secured) =
                secured.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).inspect_err(|e| {
                    if security.logged {
                        tracing::info!(client = &*ends.client, "http: no TLS: {e}");
                    }
                })
            else {
                return;
            };
            if security.logged {
                let (version, suite) =
                    (secured.get_ref().1.protocol_version(), secured.get_ref().1.negotiated_cipher_suite());
                let suite = suite.map(|suite| suite.suite());
                tracing::info!(client = &*ends.client, "http: TLS {version:?} {suite:?}");
            }
            converse(secured, ends, answer, stop).await;
        }
    }
    // Held to the very end.
    drop(place);
}

/// Serves the requests of one connection.
async fn converse<A: Answer>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    ends: Ends,
    answer: Rc<A>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let (answer, ends) = (answer.clone(), ends.clone());
        async move {
            // On its own: a client that goes away while its mail is being stored must not keep it from its queues.
            let answered = tokio::task::spawn_local(contained(answer.answer(ends, request))).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|_| broken()))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEADER)
            .serve_connection(TokioIo::new(io), service)
    );
    // Errors of a client's connection end it; there is nobody else to tell.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = stop.wait_for(|stop| *stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// The answer to a request that ended in a panic.
fn broken() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
