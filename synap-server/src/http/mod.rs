//! The HTTP door: listens, keeps connections within bounds, and hands requests to [`door`].
//!
//! It stands on `hyper` alone: paths are looked up in the table of commands, so a router would have nothing to do, and
//! every layer between the socket and the call is visible in its cost.

mod answer;
mod batch;
mod body;
mod door;
mod events;
#[cfg(feature = "mcp")]
mod mcp;
mod metrics;
mod ndjson;
mod safety;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use synap_core::execute::State;
use synap_core::{Engine, settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::resp;
use crate::stream::Stream;
use crate::tls::Tls;
use door::{Door, Peer};
use socket::Socket;

/// The head of a request must come within this time, the next one of a kept connection too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the head of a request at the most. A GET carries its arguments there.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADER_COUNT_MAX: usize = 64;
/// A peer that takes nothing of an answer for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a shutdown waits for calls that run, and then for the answers that say that they were given up.
const GRACE: Duration = Duration::from_millis(500);

/// So long may a call hold up those of other connections, about.
const PULSE_PERIOD: Duration = Duration::from_millis(20);

/// Keeps connections apart from each other. The thread that has read a request runs its call, and while that goes on
/// nobody may be looking for what else comes, for the runtime does not wake another thread for it. A task from outside
/// does.
#[derive(Default)]
pub struct Pulse {
    open_count: AtomicUsize,
    opened: Notify,
}

impl Pulse {
    /// Gives tasks to the runtime of the connections while there are any. Runs on another one.
    pub async fn beat(self: Arc<Self>, connections: Handle) {
        loop {
            while self.open_count.load(Ordering::Relaxed) == 0 {
                self.opened.notified().await;
            }
            sleep(PULSE_PERIOD).await;
            connections.spawn(async {});
        }
    }

    fn open(self: &Arc<Self>) -> Open {
        self.open_count.fetch_add(1, Ordering::Relaxed);
        self.opened.notify_one();
        Open(self.clone())
    }
}

/// A connection that is open.
struct Open(Arc<Pulse>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open_count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// No further requests.
    Closing,
    /// Calls that still wait are given up.
    GivingUp,
}

/// Waits for a phase; when whoever says it has gone, everything is over.
async fn reached(phases: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phases.wait_for(|phase| *phase >= wanted).await;
}

/// Serves until `shutdown` is done, and then ends what is open: calls that wait are answered with 503.
pub async fn serve(
    engine: Engine,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    pulse: Arc<Pulse>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let door = Arc::new(Door::new(engine.clone()));
    let (phase, phases) = watch::channel(Phase::Open);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // The result of a task that has ended; a panic was reported when it happened.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let state = engine.state();
                    state.registry.accepted.fetch_add(1, Ordering::Relaxed);
                    let count_max = usize::try_from(state.settings.int(settings::MAXCLIENTS)).unwrap_or(usize::MAX);
                    if connections.len() >= count_max {
                        refuse(state, &stream, TOO_MANY);
                    } else if resp::is_denied(state, peer.ip()) {
                        refuse(state, &stream, PROTECTED);
                    } else {
                        let served = connection(door.clone(), stream, tls.clone(), peer, local, phases.clone());
                        let open = pulse.open();
                        connections.spawn(async move {
                            served.await;
                            drop(open);
                        });
                    }
                }
                Err(error) => {
                    // Out of file descriptors, or the peer has gone: neither is the end of the listener.
                    tracing::warn!("cannot accept an HTTP connection: {error}");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    for next in [Phase::Closing, Phase::GivingUp] {
        phase.send_replace(next);
        // What is left after the last one is aborted with the set.
        let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    }
    Ok(())
}

const TOO_MANY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
    Connection: close\r\nContent-Length: 98\r\n\r\n\
    {\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"ERR\",\"detail\":\"max number of clients reached\"}";

const PROTECTED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\
    Content-Length: 110\r\n\r\n\
    {\"title\":\"Forbidden\",\"status\":403,\"code\":\"DENIED\",\"detail\":\"protected mode: the default user has \
    no password\"}";

/// Says why a client is not let in, before it has said anything. Best effort: it is closed all the same.
fn refuse(state: &State, stream: &TcpStream, why: &str) {
    state.registry.rejected.fetch_add(1, Ordering::Relaxed);
    let _ = socket2::SockRef::from(stream).send(why.as_bytes());
}

async fn connection(
    door: Arc<Door>,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    peer: SocketAddr,
    local: SocketAddr,
    mut phases: watch::Receiver<Phase>,
) {
    // Only latency suffers where it fails.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(local);
    let stream = match tls {
        None => Stream::Tcp(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(why) => {
                tracing::debug!("an HTTP connection from {peer}: no TLS: {why}");
                return;
            }
        },
    };
    let peer = Arc::new(Peer::new(peer, local));
    let listening = peer.clone();
    let ending = peer.clone();
    let service = service_fn(move |request| {
        let (door, peer) = (door.clone(), peer.clone());
        async move { Ok::<_, Infallible>(peer.answered(door.answer(&peer, request)).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADER_COUNT_MAX)
        .serve_connection(TokioIo::new(Socket::new(stream, WRITE_TIMEOUT)), service);
    tokio::pin!(connection);
    // An error is a peer that went or does not speak HTTP; hyper has answered what can be answered.
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = reached(&mut phases, Phase::Closing) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            // First: the connection looks at it.
            biased;
            () = async { reached(&mut phases, Phase::GivingUp).await; ending.give_up() } => {}
            ended = connection.as_mut() => return ended,
        }
        connection.as_mut().await
    };
    tokio::pin!(served);
    // A stream whose client was ended has nobody to tell: its peer does not read.
    let ended = std::future::poll_fn(|cx| match listening.is_cut(cx) {
        true => Poll::Ready(Ok(())),
        false => served.as_mut().poll(cx),
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!("an HTTP connection ended: {error}");
    }
}
