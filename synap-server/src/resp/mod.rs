//! The RESP door: a listener, and a task for each connection.

mod batch;
mod connection;

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synap_core::Engine;
use synap_core::session::{Client, Door};
use synap_core::settings;
use tokio::net::{TcpListener, TcpStream};

/// Takes connections in until the runtime ends.
pub async fn accept(engine: Engine, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take_in(&engine, stream),
            Err(error) => {
                // Out of descriptors, mostly: those who are in go on, and one of them may leave.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn take_in(engine: &Engine, stream: TcpStream) {
    let state = engine.state();
    if state.registry.len() as i64 >= state.settings.int(settings::MAXCLIENTS) {
        state.registry.rejected.fetch_add(1, Ordering::Relaxed);
        // Best effort: a client that does not read it is closed all the same. Not by the runtime, which does not know
        // yet that the socket takes something.
        if let Ok(mut stream) = stream.into_std() {
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
        }
        return;
    }
    // A connection that is gone already shows itself at the first read.
    let _ = stream.set_nodelay(true);
    let keepalive = state.settings.int(settings::TCP_KEEPALIVE);
    if keepalive > 0 {
        let time = Duration::from_secs(u64::try_from(keepalive).unwrap_or(300));
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(time));
    }
    let address =
        |result: std::io::Result<std::net::SocketAddr>| result.map_or_else(|_| String::new(), |a| a.to_string());
    let session = engine.session(Door::Resp, address(stream.peer_addr()), address(stream.local_addr()));
    drop(tokio::spawn(connection::Connection::new(engine.clone(), stream, session).run()));
}

/// How often [`close_idle`] looks.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// Ends clients that are silent for longer than the setting `timeout` allows, until the runtime ends.
pub async fn close_idle(engine: Engine) {
    let state = engine.state();
    loop {
        tokio::time::sleep(IDLE_LOOK).await;
        let limit_ms = state.settings.int(settings::TIMEOUT).saturating_mul(1000);
        let now_ms = state.clock.now_ms();
        // Who is held by a pause has something to say.
        if limit_ms == 0 || state.pause.until(now_ms).is_some() {
            continue;
        }
        let is_idle = |client: &&Client| {
            let listens = client.listens() || client.monitor.load(Ordering::Relaxed);
            let silent_ms = now_ms - client.last_active_ms.load(Ordering::Relaxed);
            client.door == Door::Resp && !listens && client.blocked.lock().is_none() && silent_ms > limit_ms
        };
        state.registry.all().iter().map(|client| &**client).filter(is_idle).for_each(Client::kill);
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
