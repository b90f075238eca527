//! The RESP door: a listener, and a task for each connection.

mod batch;
mod connection;

use std::time::Duration;

use synap_core::Engine;
use synap_core::session::Door;
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
        // Best effort: a client that does not read it is closed all the same.
        let _ = stream.try_write(b"-ERR max number of clients reached\r\n");
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

/// Ends all connections: each sends what it has computed and closes.
pub fn close_all(engine: &Engine) {
    engine.state().registry.all().iter().for_each(|client| client.kill());
}
