//! A small HTTP/1.1 client for tests: one connection, one request at a time, nothing that a test cannot see.

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
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
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
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
        let mut response = Response { status, headers, body: String::new() };
        let length = response.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if method != "HEAD" {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            response.body = String::from_utf8(body).expect("bodies are text");
        }
        Ok(response)
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
