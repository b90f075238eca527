//! Requests over kept connections, and lines over one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::servers::Servers;
use crate::Result;

const CONNECTIONS: usize = 50;
const KEYS: u64 = 10_000;
/// Lines of one piece of the request.
const LINES: u64 = 500;

/// What ours answers; the bare handler answers the same.
pub const GET_REPLY: &str = r#"{"value":"0123456789abcdef"}"#;
pub const SET_REPLY: &str = r#"{"result":true}"#;
const VALUE: &str = "0123456789abcdef";

#[derive(Clone, Copy, Debug)]
pub enum Row {
    Get,
    Set,
}

impl Row {
    pub fn name(self) -> &'static str {
        match self {
            Row::Get => "`GET /api/v1/kv/get/{key}`",
            Row::Set => "`POST /api/v1/kv/set`",
        }
    }

    fn request(self, is_webdis: bool, number: u64) -> String {
        let key = format!("key:{:012}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS);
        match (self, is_webdis) {
            (Row::Get, false) => format!("GET /api/v1/kv/get/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (Row::Get, true) => format!("GET /GET/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (Row::Set, true) => format!("GET /SET/{key}/{VALUE} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (Row::Set, false) => {
                let body = format!("{{\"key\":\"{key}\",\"value\":\"{VALUE}\"}}");
                let head = "POST /api/v1/kv/set HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
                format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
            }
        }
    }
}

/// Microseconds of processor time per request. All keys are written first.
pub fn requests(servers: &Servers, row: Row, time: Duration) -> Result<f64> {
    let mut connections = (0..CONNECTIONS).map(|_| Connection::open(servers)).collect::<Result<Vec<Connection>>>()?;
    let mut number = 0;
    while number < KEYS * 3 {
        exchange(&mut connections, Row::Set, servers.is_webdis, &mut number)?;
    }
    let (begin, before, first) = (Instant::now(), servers.time()?, number);
    while begin.elapsed() < time {
        exchange(&mut connections, row, servers.is_webdis, &mut number)?;
    }
    let spent = servers.time()? - before;
    Ok(spent.as_secs_f64() * 1e6 / (number - first) as f64)
}

fn exchange(connections: &mut [Connection], row: Row, is_webdis: bool, number: &mut u64) -> Result<()> {
    for connection in connections.iter_mut() {
        *number += 1;
        connection.send(row.request(is_webdis, *number).as_bytes())?;
    }
    connections.iter_mut().try_for_each(Connection::receive)
}

/// Microseconds of processor time per SET that comes as a line.
pub fn lines(servers: &Servers, count: u64) -> Result<f64> {
    let mut connection = Connection::open(servers)?;
    let mut sender = connection.stream.get_ref().try_clone().map_err(|error| error.to_string())?;
    let before = servers.time()?;
    let sending = std::thread::spawn(move || -> std::io::Result<()> {
        sender.write_all(
            b"POST /api/v1/command HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )?;
        for piece in 0..count / LINES {
            let line = |at: u64| {
                let key = (piece * LINES + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) % KEYS;
                format!("{{\"command\":\"kv.set\",\"payload\":{{\"key\":\"key:{key:012}\",\"value\":\"{VALUE}\"}}}}\n")
            };
            let text: String = (0..LINES).map(line).collect();
            sender.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
        }
        sender.write_all(b"0\r\n\r\n")
    });
    connection.head()?;
    let mut good = 0;
    loop {
        let text = connection.line()?;
        let length = usize::from_str_radix(text.trim_end(), 16).map_err(|_| format!("no chunk: {text:?}"))?;
        let mut piece = vec![0; length + 2];
        connection.stream.read_exact(&mut piece).map_err(|error| error.to_string())?;
        if length == 0 {
            break;
        }
        good +=
            piece.split(|byte| *byte == b'\n').filter(|line| line.ends_with(br#""payload":{"result":true}}"#)).count();
    }
    let spent = servers.time()? - before;
    sending.join().map_err(|_| "the sender has panicked")?.map_err(|error| error.to_string())?;
    if good as u64 != count / LINES * LINES {
        return Err(format!("{good} of {count} lines were answered well"));
    }
    Ok(spent.as_secs_f64() * 1e6 / good as f64)
}

struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Connection {
    fn open(servers: &Servers) -> Result<Connection> {
        let stream = TcpStream::connect(servers.address).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| error.to_string())?;
        Ok(Connection { stream: BufReader::with_capacity(64 << 10, stream), line: String::new() })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).map_err(|error| error.to_string())
    }

    /// Reads a response, which must be a good one.
    fn receive(&mut self) -> Result<()> {
        let length = self.head()?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).map_err(|error| error.to_string())
    }

    /// Reads up to the body, and returns how long that is.
    fn head(&mut self) -> Result<usize> {
        let status = self.line()?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(format!("an answer is {status:?}"));
        }
        let mut length = 0;
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { return Ok(length) };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(|_| format!("a length is {value:?}"))?;
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        self.line.clear();
        match self.stream.read_line(&mut self.line) {
            Ok(0) => Err("a connection was closed".into()),
            Ok(_) => Ok(self.line.clone()),
            Err(error) => Err(error.to_string()),
        }
    }
}
