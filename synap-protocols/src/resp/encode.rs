//! Replies as bytes, in RESP2 or RESP3.

use synap_core::reply::Mark;
use synap_core::types::score::format_double;
use synap_core::{Error, Reply};

/// Writes replies at the end of a buffer, as they are said. A mark is a length of that buffer.
#[derive(Debug)]
pub struct RespWriter<'a> {
    out: &'a mut Vec<u8>,
    resp3: bool,
}

impl<'a> RespWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>, resp3: bool) -> RespWriter<'a> {
        RespWriter { out, resp3 }
    }

    /// `<kind><number>\r\n`, the head of nearly everything.
    #[inline]
    fn head(&mut self, kind: u8, number: usize) {
        if number < 10 {
            self.out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
        } else {
            self.line(kind, itoa::Buffer::new().format(number).as_bytes());
        }
    }

    /// `<kind><text>\r\n` for a short text.
    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// `<kind><text>\r\n` for a text from elsewhere: a line break would end the reply early and begin a forged one.
    fn safe_line(&mut self, kind: u8, parts: &[&str]) {
        self.out.push(kind);
        let start = self.out.len();
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
        self.out[start..].iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Reply for RespWriter<'_> {
    fn status(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a status is one line");
        self.safe_line(b'+', &[text]);
    }

    #[inline]
    fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    #[inline]
    fn int(&mut self, value: i64) {
        self.line(b':', itoa::Buffer::new().format(value).as_bytes());
    }

    fn double(&mut self, value: f64) {
        let text = format_double(value);
        if self.resp3 { self.line(b',', text.as_bytes()) } else { self.bulk(text.as_bytes()) }
    }

    fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.resp3, value) {
            (true, true) => b"#t\r\n",
            (true, false) => b"#f\r\n",
            (false, true) => b":1\r\n",
            (false, false) => b":0\r\n",
        });
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 24);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn verbatim(&mut self, format: &str, text: &str) {
        debug_assert_eq!(format.len(), 3, "a format has three letters");
        if !self.resp3 {
            return self.bulk(text.as_bytes());
        }
        self.head(b'=', format.len() + 1 + text.len());
        for part in [format, ":", text, "\r\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    #[inline]
    fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n".as_slice() } else { b"$-1\r\n" });
    }

    fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n".as_slice() } else { b"*-1\r\n" });
    }

    #[inline]
    fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    fn map(&mut self, len: usize) {
        if self.resp3 { self.head(b'%', len) } else { self.head(b'*', 2 * len) }
    }

    fn set(&mut self, len: usize) {
        self.head(if self.resp3 { b'~' } else { b'*' }, len);
    }

    fn push(&mut self, len: usize) {
        self.head(if self.resp3 { b'>' } else { b'*' }, len);
    }

    fn error(&mut self, error: &Error) {
        self.safe_line(b'-', &[error.code.word(), " ", &error.text]);
    }

    fn resp3(&self) -> bool {
        self.resp3
    }

    fn speak(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }

    fn mark(&self) -> Mark {
        Mark(self.out.len())
    }

    fn rollback(&mut self, mark: Mark) {
        debug_assert!(mark.0 <= self.out.len(), "a mark of another buffer");
        self.out.truncate(mark.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, in RESP2 and in RESP3.
    fn check(say: impl Fn(&mut RespWriter), resp2: &str, resp3: &str) {
        for (is_resp3, expected) in [(false, resp2), (true, resp3)] {
            let mut out = Vec::new();
            say(&mut RespWriter::new(&mut out, is_resp3));
            assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
        }
    }

    #[test]
    fn every_kind_of_reply() {
        check(|r| r.ok(), "+OK\r\n", "+OK\r\n");
        check(|r| r.status("PONG"), "+PONG\r\n", "+PONG\r\n");
        check(|r| r.int(0), ":0\r\n", ":0\r\n");
        check(|r| r.int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        check(|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        check(|r| r.boolean(false), ":0\r\n", "#f\r\n");
        check(|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        check(|r| r.bulk(b"0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n");
        check(|r| r.bulk_int(-7), "$2\r\n-7\r\n", "$2\r\n-7\r\n");
        check(|r| r.verbatim("txt", "two\r\nlines"), "$10\r\ntwo\r\nlines\r\n", "=14\r\ntxt:two\r\nlines\r\n");
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.array(0), "*0\r\n", "*0\r\n");
        check(|r| r.map(12), "*24\r\n", "%12\r\n");
        check(|r| r.set(3), "*3\r\n", "~3\r\n");
        check(|r| r.push(3), "*3\r\n", ">3\r\n");
        check(|r| r.error(&Error::SYNTAX), "-ERR syntax error\r\n", "-ERR syntax error\r\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_it_quotes() {
        let forged = Error::fmt("no 'x\r\n+OK\n'".to_owned());
        check(|r| r.error(&forged), "-ERR no 'x  +OK '\r\n", "-ERR no 'x  +OK '\r\n");
    }

    #[test]
    fn doubles_are_short() {
        for (value, text) in [
            (3.0, "3"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-2.75, "-2.75"),
            (1e17, "100000000000000000"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            check(|r| r.double(value), &format!("${}\r\n{text}\r\n", text.len()), &format!(",{text}\r\n"));
        }
    }

    #[test]
    fn a_rollback_forgets_what_was_said_since() {
        let mut out = b"+before\r\n".to_vec();
        let mut reply = RespWriter::new(&mut out, true);
        reply.array(2);
        let mark = reply.mark();
        reply.map(1);
        reply.bulk(b"half");
        reply.rollback(mark);
        reply.int(1);
        assert_eq!(out, b"+before\r\n*2\r\n:1\r\n");
    }
}
