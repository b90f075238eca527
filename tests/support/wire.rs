//! A socket and the bytes on it: for what no client library would send, and for the order in which things come.

// Each test program uses its own part of this file.
#![allow(dead_code)]

use std::fmt::{self, Write as _};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// What the server says, in both protocols.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Status(String),
    Error(String),
    Int(i64),
    Bytes(Vec<u8>),
    Null,
    Double(String),
    Bool(bool),
    Array(Vec<Value>),
    /// Keys and values in turns.
    Map(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
}

/// `+OK`, `-ERR text`, `:1`, `"bytes"`, `nil`, `,1.5`, `#t`, `[…]`, `%[…]`, `~[…]`, `>[…]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, mark: &str, items: &[Value]| {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            write!(f, "{mark}[{}]", items.join(" "))
        };
        match self {
            Value::Status(text) => write!(f, "+{text}"),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Int(number) => write!(f, ":{number}"),
            Value::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::Null => f.write_str("nil"),
            Value::Double(text) => write!(f, ",{text}"),
            Value::Bool(yes) => f.write_str(if *yes { "#t" } else { "#f" }),
            Value::Array(items) => list(f, "", items),
            Value::Map(items) => list(f, "%", items),
            Value::Set(items) => list(f, "~", items),
            Value::Push(items) => list(f, ">", items),
        }
    }
}

impl Value {
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Value::Int(number) => *number,
            other => panic!("not a number: {other}"),
        }
    }

    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Status(text) => text.clone(),
            other => panic!("not a text: {other}"),
        }
    }

    #[track_caller]
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Map(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("not a list: {other}"),
        }
    }

    pub fn is_push(&self) -> bool {
        matches!(self, Value::Push(_))
    }
}

/// One connection.
pub struct Wire {
    pub stream: BufReader<TcpStream>,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("the server listens");
        // A test that hangs says where.
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Wire { stream: BufReader::new(stream) }
    }

    /// One that speaks RESP3.
    pub fn connect3(address: SocketAddr) -> Wire {
        let mut wire = Wire::connect(address);
        wire.call("HELLO 3");
        wire
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Sends a call of words with blanks between them, and does not wait for the answer.
    #[track_caller]
    pub fn say(&mut self, words: &str) {
        self.send(&call(words));
    }

    /// Sends a call of words with blanks between them; its answer.
    #[track_caller]
    pub fn call(&mut self, words: &str) -> Value {
        self.say(words);
        self.read()
    }

    /// A call of any bytes; its answer.
    #[track_caller]
    pub fn call_bytes(&mut self, words: &[&[u8]]) -> Value {
        self.send(&encode(words));
        self.read()
    }

    /// The answer to `words` must be `expected`, as it is displayed; `…` at its end stands for any rest.
    #[track_caller]
    pub fn expect(&mut self, words: &str, expected: &str) {
        let answer = self.call(words).to_string();
        match expected.strip_suffix('…') {
            Some(beginning) => assert!(answer.starts_with(beginning), "{words}: {answer}"),
            None => assert_eq!(answer, expected, "{words}"),
        }
    }

    /// The next that comes must be `expected`, as it is displayed.
    #[track_caller]
    pub fn hears(&mut self, expected: &str) {
        assert_eq!(self.read().to_string(), expected);
    }

    #[track_caller]
    pub fn read(&mut self) -> Value {
        self.try_read().expect("an answer")
    }

    pub fn try_read(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        let (mark, rest) = line.split_first().ok_or(io::ErrorKind::InvalidData)?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let number = || text.parse::<i64>().map_err(|_| io::Error::other(format!("not a number: {text}")));
        let list = |wire: &mut Wire, each: i64| -> io::Result<Vec<Value>> {
            (0..number()? * each).map(|_| wire.try_read()).collect()
        };
        Ok(match mark {
            b'+' => Value::Status(text),
            b'-' => Value::Error(text),
            b':' => Value::Int(number()?),
            b',' => Value::Double(text),
            b'#' => Value::Bool(text == "t"),
            b'_' => Value::Null,
            b'*' | b'$' if text == "-1" => Value::Null,
            b'$' | b'=' => {
                let mut bytes = vec![0; number()? as usize + 2];
                self.stream.read_exact(&mut bytes)?;
                if bytes.split_off(bytes.len() - 2) != b"\r\n" {
                    return Err(io::Error::other("bytes without an end"));
                }
                Value::Bytes(if *mark == b'=' { bytes.split_off(4) } else { bytes })
            }
            b'*' => Value::Array(list(self, 1)?),
            b'%' => Value::Map(list(self, 2)?),
            b'~' => Value::Set(list(self, 1)?),
            b'>' => Value::Push(list(self, 1)?),
            other => return Err(io::Error::other(format!("unknown mark {:?}", *other as char))),
        })
    }

    /// Everything until the server closes; fails when it does not.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            // It closed with something of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("the server does not close: {error}"),
        }
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub fn hears_nothing(&mut self) {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        if let Ok(heard) = self.try_read() {
            panic!("{heard} came");
        }
        self.stream.get_ref().set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    }

    /// No more will be sent; answers can still be read.
    pub fn half_close(&mut self) {
        // The server may have closed already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    pub fn id(&mut self) -> i64 {
        self.call("CLIENT ID").int()
    }
}

/// A call of words with blanks between them.
pub fn call(words: &str) -> Vec<u8> {
    encode(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>())
}

pub fn encode(words: &[&[u8]]) -> Vec<u8> {
    let mut header = String::new();
    let _ = write!(header, "*{}\r\n", words.len());
    let mut bytes = header.into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
