//! The built server as a child process, on ports and in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that ends with its test. (A `static` is never dropped: share none between tests.)
#[allow(dead_code, reason = "not every test that has this file needs all of it")]
pub struct Server {
    child: Child,
    pub resp: SocketAddr,
    pub http: SocketAddr,
    dir: PathBuf,
}

#[allow(dead_code, reason = "as above")]
impl Server {
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// A server with further flags.
    pub fn with(flags: &[&str]) -> Server {
        for _ in 0..20 {
            if let Some(server) = Server::try_start(flags) {
                return server;
            }
        }
        panic!("the server does not start; its last words are above");
    }

    /// None when it ended at once: somebody took a port between our look and its bind.
    fn try_start(flags: &[&str]) -> Option<Server> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("synap-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = ports.map(|listener| listener.local_addr().expect("an address").port().to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_synap-server"))
            .args(["--port", &ports[0], "--http-port", &ports[1], "--dir"])
            .arg(&dir)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server was built");
        let (mut resp, mut http) = (None, None);
        let stdout = child.stdout.take().expect("it is piped");
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line.split_once(" on ") {
                Some(("RESP", address)) => resp = address.parse().ok(),
                Some(("HTTP", address)) => http = address.parse().ok(),
                _ => {}
            }
            if let (Some(resp), Some(http)) = (resp, http) {
                return Some(Server { child, resp, http, dir });
            }
        }
        let _ = child.wait();
        None
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; true when it ended well.
    pub fn wait(mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
