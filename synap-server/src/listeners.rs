//! The doors that listen: opened at the start, changed by CONFIG SET, closed first when the server ends.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use synap_core::Engine;
use synap_core::settings::{self, Id, Settings};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::resp;
use crate::tls::Tls;

/// What listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Resp,
    RespTls,
    Http,
    HttpTls,
}

impl Door {
    /// The settings that say where.
    fn settings(self) -> (Id, Id) {
        match self {
            Door::Resp => (settings::BIND, settings::PORT),
            Door::RespTls => (settings::BIND, settings::TLS_PORT),
            Door::Http => (settings::HTTP_BIND, settings::HTTP_PORT),
            Door::HttpTls => (settings::HTTP_BIND, settings::HTTP_TLS_PORT),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Door::Resp => "RESP",
            Door::RespTls => "RESP with TLS",
            Door::Http => "HTTP",
            Door::HttpTls => "HTTP with TLS",
        })
    }
}

/// An address that is to be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    address: SocketAddr,
    /// The address may be missing on this machine.
    is_optional: bool,
}

/// Doors of the RESP side, which may change while the server runs.
pub struct Listeners {
    calls: Handle,
    pub tls: Arc<Tls>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// None before the first door is opened and after the last one was closed.
    engine: Option<Engine>,
    open: Vec<Open>,
    unix: Option<(PathBuf, JoinHandle<()>)>,
}

struct Open {
    door: Door,
    target: Target,
    listener: Arc<TcpListener>,
    task: JoinHandle<()>,
}

impl Open {
    fn close(&self) {
        self.task.abort();
        // The task goes when it is its turn; the address has to be free now.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Read);
    }
}

impl Listeners {
    /// Connections are served by tasks of `calls`.
    pub fn new(calls: Handle) -> Listeners {
        Listeners {
            calls,
            tls: Arc::default(),
            inner: Mutex::new(Inner { engine: None, open: Vec::new(), unix: None }),
        }
    }

    /// Opens the RESP doors.
    pub fn open(&self, engine: &Engine) -> Result<(), String> {
        let settings = &engine.state().settings;
        self.inner.lock().engine = Some(engine.clone());
        self.tls.follow(settings).map_err(|(_, why)| why)?;
        self.follow(settings).map_err(|(_, why)| why)?;
        let path = settings.text(settings::UNIXSOCKET);
        if path.is_empty() {
            return Ok(());
        }
        let mode = u32::try_from(settings.int(settings::UNIXSOCKETPERM)).unwrap_or(0);
        let listener = {
            let _inside = self.calls.enter();
            bind_unix(Path::new(&path), mode).map_err(|error| format!("{path} cannot be listened on: {error}"))?
        };
        tell(Door::Resp, &path);
        let task = self.calls.spawn(resp::accept_unix(engine.clone(), listener, path.clone()));
        self.inner.lock().unix = Some((path.into(), task));
        Ok(())
    }

    /// Has the TCP doors be where the settings say. What is there already stays; an error leaves things as they came.
    pub fn follow(&self, settings: &Settings) -> Result<(), (Id, String)> {
        let mut inner = self.inner.lock();
        let Some(engine) = inner.engine.clone() else { return Ok(()) };
        let mut wanted = Vec::new();
        for door in [Door::Resp, Door::RespTls] {
            wanted.extend(targets(door, settings)?.into_iter().map(|target| (door, target)));
        }
        let is_wanted = |open: &Open| wanted.contains(&(open.door, open.target));
        // What goes, goes first: `*` and one address of a port exclude each other.
        inner.open.extract_if(.., |open| !is_wanted(open)).for_each(|open| open.close());
        for (door, target) in wanted {
            if inner.open.iter().any(|open| (open.door, open.target) == (door, target)) {
                continue;
            }
            let Some(listener) = bind(door, target, settings)? else { continue };
            tell(door, &listener.local_addr().unwrap_or(target.address));
            let listener = {
                let _inside = self.calls.enter();
                let (_, port) = door.settings();
                TcpListener::from_std(listener).map_err(|error| (port, error.to_string()))?
            };
            let listener = Arc::new(listener);
            let tls = (door == Door::RespTls).then(|| self.tls.clone());
            let task = self.calls.spawn(resp::accept(engine.clone(), listener.clone(), tls));
            inner.open.push(Open { door, target, listener, task });
        }
        Ok(())
    }

    /// Nobody comes in any more.
    pub fn close(&self) {
        let mut inner = self.inner.lock();
        inner.engine = None;
        inner.open.drain(..).for_each(|open| open.close());
        if let Some((path, task)) = inner.unix.take() {
            task.abort();
            // Another server may have made it its own.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The listeners of a door that stays as it is.
pub fn bind_all(door: Door, settings: &Settings) -> Result<Vec<std::net::TcpListener>, String> {
    let mut listeners = Vec::new();
    for target in targets(door, settings).map_err(|(_, why)| why)? {
        listeners.extend(bind(door, target, settings).map_err(|(_, why)| why)?);
    }
    for listener in &listeners {
        tell(door, &listener.local_addr().map_err(|error| error.to_string())?);
    }
    Ok(listeners)
}

/// Says where a door is, for people and for tests. A reader that is gone must not end what CONFIG SET runs in.
fn tell(door: Door, place: &dyn fmt::Display) {
    let _ = writeln!(io::stdout(), "{door} on {place}");
}

/// The addresses of a door; none when its port is 0.
fn targets(door: Door, settings: &Settings) -> Result<Vec<Target>, (Id, String)> {
    let (bind, port) = door.settings();
    let port = u16::try_from(settings.int(port)).unwrap_or(0);
    let mut targets: Vec<Target> = Vec::new();
    if port == 0 {
        return Ok(targets);
    }
    for word in settings.text(bind).split_whitespace() {
        let (name, is_optional) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        // No names of machines: nobody may have to wait for a resolver when CONFIG SET comes.
        let address = match name {
            "*" => IpAddr::from([0; 4]),
            "::*" => IpAddr::from([0_u16; 8]),
            name => name.parse().map_err(|_| (bind, format!("{name:?} is not an IP address to bind to")))?,
        };
        let address = SocketAddr::new(address, port);
        if targets.iter().all(|target| target.address != address) {
            targets.push(Target { address, is_optional });
        }
    }
    Ok(targets)
}

/// A listener; none when the address is missing and may be.
fn bind(door: Door, target: Target, settings: &Settings) -> Result<Option<std::net::TcpListener>, (Id, String)> {
    let (bind, port) = door.settings();
    let address = target.address;
    let backlog = i32::try_from(settings.int(settings::TCP_BACKLOG)).unwrap_or(i32::MAX);
    match bind_one(address, backlog) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if target.is_optional && is_missing(&error) => {
            tracing::warn!("{address} is left out: {error}");
            Ok(None)
        }
        Err(error) => {
            let id = if error.kind() == io::ErrorKind::AddrInUse { port } else { bind };
            Err((id, format!("Unable to listen on this port: {address} cannot be listened on: {error}")))
        }
    }
}

/// The machine has no such address.
fn is_missing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable
        || [libc::EAFNOSUPPORT, libc::EPROTONOSUPPORT, libc::ENOPROTOOPT].iter().any(|known| code == Some(*known))
}

fn bind_one(target: SocketAddr, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    if target.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a restart does not wait for the last connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&target.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    // What a server left that did not end well is in the way. Anything else is not ours to remove.
    if std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}
