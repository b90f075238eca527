//! Real servers, for tests that compare with them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use synap_core::testing::split;
use synap_protocols::resp::Value;
use synap_protocols::resp::value::ValueLimits;

pub type Words = Vec<Vec<u8>>;

pub fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Connection { stream, read: Vec::new() }
    }

    pub fn call(&mut self, words: &[Vec<u8>]) -> Value {
        self.try_call(words).unwrap_or_else(|error| panic!("{}: {error}", show(words)))
    }

    fn try_call(&mut self, words: &[Vec<u8>]) -> io::Result<Value> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&out)?;
        let mut piece = [0; 65536];
        loop {
            if let Some((value, length)) = Value::parse(&self.read, &ValueLimits::DEFAULT).expect("a reply") {
                self.read.drain(..length);
                return Ok(value);
            }
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&piece[..count]);
        }
    }
}

/// A server that ends with the test.
pub struct Server {
    process: Child,
    pub port: u16,
    /// The version of Redis that it says it is compatible with.
    pub version: (u32, u32),
}

impl Server {
    /// None when there is no such program on the PATH. `folder` is where its files are.
    pub fn start(program: &str, folder: &Path, options: &[&str]) -> Option<Server> {
        // Somebody may take a port between our look and its bind, and then another server answers, or none.
        (0..10).find_map(|_| Server::try_start(program, folder, options)).or_else(|| {
            let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
            assert!(found.is_err(), "{program} does not start");
            None
        })
    }

    fn try_start(program: &str, folder: &Path, options: &[&str]) -> Option<Server> {
        let port = TcpListener::bind(("127.0.0.1", 0)).ok()?.local_addr().ok()?.port();
        let process = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            // It looks 500 times a second whether a wait is over.
            .args(["--hz", "500", "--dir"])
            .arg(folder)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut server = Server { process, port, version: (0, 0) };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(10) || server.process.try_wait().ok()?.is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let info = Connection::open(port).try_call(&split("INFO server")).ok()?;
        let info = String::from_utf8_lossy(info.as_bytes()?).into_owned();
        let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        if value("process_id:")?.parse() != Ok(server.process.id()) {
            return None;
        }
        let mut numbers = value("redis_version:")?.split('.').map(|number| number.parse().expect("a number"));
        server.version = (numbers.next().expect("major"), numbers.next().expect("minor"));
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; nothing of it is needed any more.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
