//! Starts what is measured, and ends it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Result;
use crate::system::{self, Cores, ProcessClock};

const START_PATIENCE: Duration = Duration::from_secs(20);

/// Processes that serve together, and where.
pub struct Servers {
    pub address: SocketAddr,
    /// Requests are webdis' own.
    pub is_webdis: bool,
    children: Vec<(Child, ProcessClock)>,
    folder: PathBuf,
}

impl Servers {
    pub fn ours(program: Option<&Path>, cores: &Cores) -> Result<Servers> {
        let program = program.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_synap-server")), Path::to_path_buf);
        let mut servers = Servers::new(false)?;
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--http-port"]);
        command.arg(servers.address.port().to_string()).arg("--dir").arg(&servers.folder);
        servers.start(command, servers.address, cores)?;
        Ok(servers)
    }

    pub fn bare(cores: &Cores) -> Result<Servers> {
        let mut servers = Servers::new(false)?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("--bare").arg(servers.address.port().to_string());
        servers.start(command, servers.address, cores)?;
        Ok(servers)
    }

    /// None when it, or a Redis for it, is not there.
    pub fn webdis(cores: &Cores) -> Result<Option<Servers>> {
        let (Some(webdis), Some(redis)) = (in_path("webdis"), in_path("redis-server")) else { return Ok(None) };
        let mut servers = Servers::new(true)?;
        let data = free_address()?;
        let mut command = Command::new(redis);
        command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port"]);
        command.arg(data.port().to_string()).arg("--dir").arg(&servers.folder);
        servers.start(command, data, cores)?;
        let config = format!(
            r#"{{"redis_host":"127.0.0.1","redis_port":{},"http_host":"127.0.0.1","http_port":{},"threads":1,
                "pool_size":20,"daemonize":false,"websockets":false,"database":0,"acl":[{{"disabled":["DEBUG"]}}],
                "verbosity":0,"logfile":"/dev/null"}}"#,
            data.port(),
            servers.address.port()
        );
        let file = servers.folder.join("webdis.json");
        std::fs::write(&file, config).map_err(|error| error.to_string())?;
        let mut command = Command::new(webdis);
        command.arg(file);
        servers.start(command, servers.address, cores)?;
        Ok(Some(servers))
    }

    /// Processor time of all its processes so far.
    pub fn time(&self) -> Result<Duration> {
        self.children.iter().map(|(_, clock)| clock.now()).sum()
    }

    fn new(is_webdis: bool) -> Result<Servers> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("synap-http-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        Ok(Servers { address: free_address()?, is_webdis, children: Vec::new(), folder })
    }

    fn start(&mut self, mut command: Command, address: SocketAddr, cores: &Cores) -> Result<()> {
        system::tie(&mut command, &cores.server);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let clock = ProcessClock::of(child.id())?;
        self.children.push((child, clock));
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(format!("{command:?} does not listen on {address}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (child, _) in self.children.iter_mut().rev() {
            // One that has ended already needs no more.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| format!("cannot find a free port: {error}"))
}

fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}
