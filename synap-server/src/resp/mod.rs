//! The RESP door: listeners, and a task for each connection.

mod batch;
mod connection;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use synap_core::Engine;
use synap_core::execute::State;
use synap_core::session::{Client, Door, OutputState, Session};
use synap_core::settings::{self, Id};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::stream::Stream;
use crate::tls::Tls;
use connection::Connection;

/// Takes connections in until the task is ended or the listener closed.
pub async fn accept(engine: Engine, listener: Arc<TcpListener>, tls: Option<Arc<Tls>>) {
    let mut pace = Pace::new(match tls {
        Some(_) => settings::MAX_NEW_TLS_CONNECTIONS_PER_CYCLE,
        None => settings::MAX_NEW_CONNECTIONS_PER_CYCLE,
    });
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => take_in(&engine, stream, peer, tls.clone()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return, // closed
            Err(error) => pace.fail(&error).await,
        }
        pace.step(engine.state()).await;
    }
}

/// [`accept`] for a Unix socket.
pub async fn accept_unix(engine: Engine, listener: UnixListener, path: String) {
    let mut pace = Pace::new(settings::MAX_NEW_CONNECTIONS_PER_CYCLE);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take_in_unix(&engine, stream, &path),
            Err(error) => pace.fail(&error).await,
        }
        pace.step(engine.state()).await;
    }
}

/// How fast connections are taken in. A storm of them must not keep those waiting who are in.
struct Pace {
    /// The setting that says how many may come in a row.
    max: Id,
    /// Taken in since others had their turn.
    count: i64,
}

impl Pace {
    fn new(max: Id) -> Pace {
        Pace { max, count: 0 }
    }

    async fn step(&mut self, state: &State) {
        self.count += 1;
        if self.count >= state.settings.int(self.max) {
            self.count = 0;
            tokio::task::yield_now().await;
        }
    }

    async fn fail(&mut self, error: &io::Error) {
        // Out of descriptors, mostly: those who are in go on, and one of them may leave.
        tracing::warn!("a connection could not be accepted: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

const PROTECTED: &[u8] =
    b"-DENIED Synap is in protected mode: the default user has no password, so only clients on the \
    same machine are let in. Set a password (requirepass, or ACL SETUSER default), or, when everybody who reaches the \
    port may do everything, protected-mode no.\r\n";

/// Whether a client at `peer` has to stay out as long as nobody needs a password.
pub fn is_denied(state: &State, peer: IpAddr) -> bool {
    !peer.to_canonical().is_loopback()
        && state.settings.int(settings::PROTECTED_MODE) != 0
        && state.users.default_user().nopass
}

/// Says why a client is not let in. Best effort: one that does not read it is closed all the same. Not by the runtime,
/// which does not know yet that the socket takes something.
fn refuse(state: &State, socket: SockRef<'_>, why: &[u8]) {
    state.registry.rejected.fetch_add(1, Ordering::Relaxed);
    let _ = socket.send(why);
}

fn is_full(state: &State) -> bool {
    state.registry.len() as i64 >= state.settings.int(settings::MAXCLIENTS)
}

fn take_in(engine: &Engine, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>) {
    let state = engine.state();
    if is_full(state) {
        return refuse(state, SockRef::from(&stream), TOO_MANY);
    }
    if is_denied(state, peer.ip()) {
        return refuse(state, SockRef::from(&stream), PROTECTED);
    }
    // A connection that is gone already shows itself at the first read.
    let _ = stream.set_nodelay(true);
    keep_alive(state, &stream);
    let local = stream.local_addr().map_or_else(|_| String::new(), |address| address.to_string());
    let session = engine.session(Door::Resp, peer.to_string(), local);
    match tls {
        None => drop(tokio::spawn(Connection::new(engine.clone(), Stream::Tcp(stream), session).run())),
        Some(tls) => drop(tokio::spawn(serve_secured(engine.clone(), tls, stream, session))),
    }
}

/// Agrees with a client on TLS, and serves it. It counts as a client from the beginning.
async fn serve_secured(engine: Engine, tls: Arc<Tls>, stream: TcpStream, mut session: Session) {
    let client = session.client.clone();
    let agreed = tokio::select! {
        agreed = tls.accept(stream) => agreed,
        () = client.killed() => Err("the client was ended".into()),
    };
    match agreed {
        Ok(stream) => Connection::new(engine, Stream::Tls(Box::new(stream)), session).run().await,
        Err(why) => {
            tracing::debug!("connection {} at {}: no TLS: {why}", client.id, client.addr);
            engine.depart(&mut session).await;
        }
    }
}

fn take_in_unix(engine: &Engine, stream: UnixStream, path: &str) {
    let state = engine.state();
    if is_full(state) {
        return refuse(state, SockRef::from(&stream), TOO_MANY);
    }
    // As Redis shows it, so that addresses stay a pair of host and port.
    let address = format!("{path}:0");
    let session = engine.session(Door::Resp, address.clone(), address);
    drop(tokio::spawn(Connection::new(engine.clone(), Stream::Unix(stream), session).run()));
}

/// Has the system ask whether a silent client is still there: after the time that the setting says, then three times
/// within as much again.
fn keep_alive(state: &State, stream: &TcpStream) {
    let Ok(seconds @ 1..) = u64::try_from(state.settings.int(settings::TCP_KEEPALIVE)) else { return };
    let time = Duration::from_secs(seconds);
    let interval = Duration::from_secs((seconds / 3).max(1));
    let probes = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
}

/// How often [`look_after`] looks.
const LOOK: Duration = Duration::from_millis(500);

/// Ends clients that are silent for longer than the setting `timeout` allows, and those for whom too much waits for too
/// long, until the runtime ends.
pub async fn look_after(engine: Engine) {
    let state = engine.state();
    loop {
        tokio::time::sleep(LOOK).await;
        close_idle(state);
        close_lazy(state);
    }
}

fn close_idle(state: &State) {
    let limit_ms = state.settings.int(settings::TIMEOUT).saturating_mul(1000);
    let now_ms = state.clock.now_ms();
    // Who is held by a pause has something to say.
    if limit_ms == 0 || state.pause.until(now_ms).is_some() {
        return;
    }
    let is_idle = |client: &&Client| {
        let listens = client.listens() || client.monitor.load(Ordering::Relaxed);
        let silent_ms = now_ms - client.last_active_ms.load(Ordering::Relaxed);
        client.door == Door::Resp && !listens && client.blocked.lock().is_none() && silent_ms > limit_ms
    };
    state.registry.all().iter().map(|client| &**client).filter(is_idle).for_each(Client::kill);
}

fn close_lazy(state: &State) {
    // Mostly nobody has been near a limit since the last look.
    if !state.registry.output_limits.take_someone_large() {
        return;
    }
    let now_ms = state.clock.now_ms();
    let mut is_someone_large = false;
    for client in state.registry.all() {
        match client.look_at_output(now_ms) {
            OutputState::Small => {}
            OutputState::Large => is_someone_large = true,
            OutputState::TooLarge => {
                tracing::warn!("client {} at {} does not read: closed at its limit", client.id, client.addr);
                state.registry.output_limits.note_closed();
                client.kill();
            }
        }
    }
    if is_someone_large {
        state.registry.output_limits.look_again();
    }
}

/// What the replies that are under way may take when the server closes.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Ends all connections: each sends what it has computed and closes. Returns when they are gone, or after a while.
pub async fn close_all(engine: &Engine) {
    let registry = &engine.state().registry;
    let all_gone = async {
        while !registry.is_empty() {
            // Again each time: one may have come in meanwhile.
            registry.all().iter().for_each(|client| client.kill());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    // Whoever does not read by then is cut off.
    let _ = tokio::time::timeout(CLOSE_TIME, all_gone).await;
}
