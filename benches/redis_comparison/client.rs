//! A plain RESP2 client: one reader of replies for the load too, and a blocking connection for everything around it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Result;

/// A silent server is a broken one.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Calls that are sent before their replies are read: few enough that the replies fit in the sockets' buffers, so that
/// client and server never both wait to write.
const CHUNK: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply<'a> {
    Status(&'a [u8]),
    Error(&'a [u8]),
    Int(i64),
    Bulk(&'a [u8]),
    Null,
    /// Number of elements; they have been skipped.
    Array(u64),
}

impl Reply<'_> {
    /// The reply as a sentence may quote it.
    pub fn quote(self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        match self {
            Reply::Status(bytes) => format!("+{}", text(bytes)),
            Reply::Error(bytes) => format!("-{}", text(bytes)),
            Reply::Int(number) => format!(":{number}"),
            Reply::Bulk(bytes) => format!("{:?}", text(bytes)),
            Reply::Null => "null".to_owned(),
            Reply::Array(count) => format!("an array of {count}"),
        }
    }
}

/// The first reply in `bytes` and its length; `None` when it is not there to its end.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\r') else { return Ok(None) };
    let (line, mut at) = (&bytes[1..end.max(1)], end + 2);
    if bytes.len() < at {
        return Ok(None);
    }
    let reply = match bytes[0] {
        b'+' => Reply::Status(line),
        b'-' => Reply::Error(line),
        b':' => Reply::Int(number(line)?),
        b'$' => match number(line)? {
            -1 => Reply::Null,
            length => {
                let (start, length) = (at, usize::try_from(length).map_err(|_| unreadable(bytes))?);
                at += length + 2;
                if bytes.len() < at {
                    return Ok(None);
                }
                if &bytes[at - 2..at] != b"\r\n" {
                    return Err(unreadable(bytes));
                }
                Reply::Bulk(&bytes[start..start + length])
            }
        },
        b'*' => match number(line)? {
            -1 => Reply::Null,
            count => {
                for _ in 0..count {
                    match parse(&bytes[at..])? {
                        Some((_, length)) => at += length,
                        None => return Ok(None),
                    }
                }
                Reply::Array(count as u64)
            }
        },
        _ => return Err(unreadable(bytes)),
    };
    Ok(Some((reply, at)))
}

#[inline]
fn number(line: &[u8]) -> Result<i64> {
    let (digits, sign) = match line.split_first() {
        Some((b'-', rest)) => (rest, -1),
        _ => (line, 1),
    };
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(unreadable(line));
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')) * sign)
}

#[cold]
fn unreadable(bytes: &[u8]) -> String {
    format!("not a reply: {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(64)]))
}

/// Appends one call.
pub fn encode(out: &mut Vec<u8>, words: &[&[u8]]) {
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A call as a sentence may quote it.
pub fn quote_call(call: &[u8]) -> String {
    let words = String::from_utf8_lossy(call).replace("\r\n", " ");
    let shown: String = words.chars().take(120).collect();
    if shown.len() < words.len() { format!("{shown}…") } else { shown }
}

/// One blocking connection.
pub struct Client {
    stream: TcpStream,
    name: String,
    input: Vec<u8>,
    /// What of `input` is not parsed yet.
    unread: std::ops::Range<usize>,
    output: Vec<u8>,
}

impl Client {
    /// `name` is the server's, for the sentences of errors.
    pub fn connect(name: &str, address: SocketAddr) -> Result<Client> {
        let fail = |error: std::io::Error| format!("cannot connect to {name} at {address}: {error}");
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(fail)?;
        Ok(Client { stream, name: name.to_owned(), input: vec![0; 4 << 10], unread: 0..0, output: Vec::new() })
    }

    /// The connection itself, when no reply is outstanding.
    pub fn into_stream(self) -> TcpStream {
        debug_assert!(self.unread.is_empty());
        self.stream
    }

    /// One call; an error reply is an error.
    pub fn call<T>(&mut self, words: &[&[u8]], take: impl FnOnce(Reply<'_>) -> Option<T>) -> Result<T> {
        self.output.clear();
        encode(&mut self.output, words);
        self.send()?;
        let reply = self.receive()?;
        let quoted = reply.quote();
        take(reply).ok_or_else(|| format!("{} answered {} with {quoted}", self.name, String::from_utf8_lossy(words[0])))
    }

    pub fn expect_ok(&mut self, words: &[&[u8]]) -> Result<()> {
        self.call(words, |reply| (reply == Reply::Status(b"OK")).then_some(()))
    }

    pub fn ping(&mut self) -> Result<()> {
        self.call(&[b"PING"], |reply| (reply == Reply::Status(b"PONG")).then_some(()))
    }

    /// The members of one section of INFO that have numbers.
    pub fn info_number(&mut self, section: &str, member: &str) -> Result<Option<u64>> {
        self.call(&[b"INFO", section.as_bytes()], |reply| {
            let Reply::Bulk(text) = reply else { return None };
            let text = String::from_utf8_lossy(text);
            let value = text.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(':'));
            Some(value.and_then(|value| value.trim().parse().ok()))
        })
    }

    /// `count` calls, many at a time. `encode` appends call number *i*; `check` answers whether its reply is right.
    pub fn many(
        &mut self,
        count: u64,
        mut encode: impl FnMut(u64, &mut Vec<u8>),
        mut check: impl FnMut(u64, Reply<'_>) -> bool,
    ) -> Result<()> {
        for start in (0..count).step_by(CHUNK as usize) {
            let chunk = start..count.min(start + CHUNK);
            self.output.clear();
            chunk.clone().for_each(|index| encode(index, &mut self.output));
            self.send()?;
            for index in chunk {
                let reply = self.receive()?;
                if !check(index, reply) {
                    let (quoted, mut call) = (reply.quote(), Vec::new());
                    encode(index, &mut call);
                    let call = quote_call(&call);
                    return Err(format!("{} answered {call:?} with {quoted}", self.name));
                }
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).map_err(|error| format!("cannot write to {}: {error}", self.name))
    }

    fn receive(&mut self) -> Result<Reply<'_>> {
        loop {
            let known = self.unread.clone();
            let found = parse(&self.input[known.clone()]).map_err(|error| format!("{}: {error}", self.name))?;
            if let Some((_, length)) = found {
                self.unread.start += length;
                // Parsed a second time because the borrow of the first would last through this loop.
                let again = parse(&self.input[known])?;
                return again.map(|(reply, _)| reply).ok_or_else(|| "a reply was lost".to_owned());
            }
            self.input.copy_within(known.clone(), 0);
            self.unread = 0..known.len();
            if self.unread.end == self.input.len() {
                self.input.resize(self.input.len() * 2, 0);
            }
            match self.stream.read(&mut self.input[self.unread.end..]) {
                Ok(0) => return Err(format!("{} closed the connection", self.name)),
                Ok(count) => self.unread.end += count,
                Err(error) => return Err(format!("cannot read from {}: {error}", self.name)),
            }
        }
    }
}
