//! A small HTTP/1.1 client for tests: one connection, one request at a time, nothing that a test cannot see.

// Each test program uses its own part of this file.
#![allow(dead_code)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// One connection, kept between requests.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Sent with every request: `Name: value` lines.
    pub headers: Vec<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// As it came, where that is no text too.
    pub bytes: Vec<u8>,
}

#[allow(dead_code, reason = "not every test that has this file needs all of it")]
impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        // A test that hangs says where.
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        Client { stream: BufReader::new(stream), headers: Vec::new() }
    }

    pub fn with_header(mut self, line: &str) -> Client {
        self.headers.push(line.to_string());
        self
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, None)
    }

    pub fn delete(&mut self, path: &str) -> Response {
        self.request("DELETE", path, None)
    }

    pub fn post(&mut self, path: &str, body: &str) -> Response {
        self.request("POST", path, Some(body.as_bytes()))
    }

    /// A call by its operation, `hash.set`; its reply, which must be a good one.
    #[track_caller]
    pub fn call(&mut self, op: &str, body: &str) -> String {
        let response = self.post(&format!("/api/v1/{}", op.replace('.', "/")), body);
        assert_eq!(response.status, 200, "{op} {body}: {}", response.body);
        response.body
    }

    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Response {
        self.send(method, path, body).expect("the server reads");
        self.receive(method).expect("the server answers")
    }

    pub fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for line in &self.headers {
            head += line;
            head += "\r\n";
        }
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.raw(&bytes)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one response; that to a HEAD has no body.
    pub fn receive(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.receive_head()?;
        let length = response.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if method == "HEAD" {
        } else if response.header("transfer-encoding") == Some("chunked") {
            while let Some(piece) = self.piece()? {
                response.bytes.extend_from_slice(&piece);
            }
        } else {
            response.bytes = vec![0; length];
            self.stream.read_exact(&mut response.bytes)?;
        }
        response.body = String::from_utf8_lossy(&response.bytes).into_owned();
        Ok(response)
    }

    /// Reads a response without its body.
    pub fn receive_head(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        Ok(Response { status, headers, body: String::new(), bytes: Vec::new() })
    }

    /// The next chunk of a body that comes in chunks; `None` at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        let mut piece = vec![0; length];
        self.stream.read_exact(&mut piece)?;
        self.line()?;
        Ok((length > 0).then_some(piece))
    }

    /// The next chunk of a body that goes out in chunks; an empty one ends it.
    pub fn send_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.raw(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_string())
    }

    /// True when the server has closed behind what it answered.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Another handle of the same connection, to send while this one receives.
    pub fn another_end(&self) -> Client {
        let stream = self.stream.get_ref().try_clone().expect("a handle");
        Client { stream: BufReader::new(stream), headers: Vec::new() }
    }

    pub fn set_write_timeout(&mut self, time: Duration) {
        self.stream.get_ref().set_write_timeout(Some(time)).expect("a timeout");
    }

    /// Closes in the middle of whatever is going on.
    pub fn hang_up(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}
