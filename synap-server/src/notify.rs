//! Tells the service manager how far we are, in the words of `sd_notify(3)`: a datagram to the socket that it names.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that the manager sets for those who are to tell.
const SOCKET: &str = "NOTIFY_SOCKET";

pub const READY: &str = "READY=1\nSTATUS=Ready to accept connections";
pub const LOADING: &str = "STATUS=Loading data";
pub const STOPPING: &str = "STOPPING=1\nSTATUS=Saving";

/// Says it, when somebody wants to hear it.
pub fn tell(what: &str) {
    let Some(name) = std::env::var_os(SOCKET) else { return };
    if let Err(error) = send(name.as_encoded_bytes(), what) {
        // The server is as good as it was; the manager gives up on it by itself.
        tracing::warn!("{SOCKET} {}: {error}", name.to_string_lossy());
    }
}

fn send(name: &[u8], what: &str) -> io::Result<()> {
    let address = match name.strip_prefix(b"@") {
        // A name that is no file.
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(std::path::Path::new(std::str::from_utf8(name).map_err(io::Error::other)?))?,
    };
    UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address).map(|_| ())
}
