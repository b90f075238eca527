//! How a call looks in the stream: `*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n`.
//!
//! This one spelling is called canonical. A client that sends a call in it (all libraries do) has written the log
//! entry already: its bytes are appended as they came.

/// Where a call is written to.
pub trait Put {
    fn put(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A small call on the stack.
pub(super) struct SmallCall {
    bytes: [u8; SmallCall::BYTES_MAX],
    len: usize,
}

impl SmallCall {
    pub(super) const BYTES_MAX: usize = 256;

    pub(super) fn new() -> SmallCall {
        SmallCall { bytes: [0; SmallCall::BYTES_MAX], len: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Put for SmallCall {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }
}

/// Writes one call.
pub fn put_call<W: AsRef<[u8]>>(out: &mut impl Put, words: &[W]) {
    debug_assert!(!words.is_empty(), "a call has a name");
    put_header(out, b'*', words.len());
    for word in words {
        let word = word.as_ref();
        put_header(out, b'$', word.len());
        out.put(word);
        out.put(b"\r\n");
    }
}

/// How many bytes [`put_call`] writes.
pub fn call_bytes<W: AsRef<[u8]>>(words: &[W]) -> usize {
    let word_bytes = |word: &W| header_bytes(word.as_ref().len()) + word.as_ref().len() + 2;
    header_bytes(words.len()) + words.iter().map(word_bytes).sum::<usize>()
}

/// `SELECT db`, which goes before a call on another database than the call before it.
pub fn put_select(out: &mut impl Put, db: u32) {
    let mut text = itoa::Buffer::new();
    put_call(out, &[b"SELECT".as_slice(), text.format(db).as_bytes()]);
}

/// Goes before a unit of several calls.
pub const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
/// Goes after a unit of several calls.
pub const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[inline]
fn put_header(out: &mut impl Put, kind: u8, number: usize) {
    if number < 10 {
        out.put(&[kind, b'0' + number as u8, b'\r', b'\n']);
    } else {
        put_long_header(out, kind, number);
    }
}

fn put_long_header(out: &mut impl Put, kind: u8, number: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    let mut line = [0; 24];
    line[0] = kind;
    line[1..=digits.len()].copy_from_slice(digits);
    line[digits.len() + 1..digits.len() + 3].copy_from_slice(b"\r\n");
    out.put(&line[..digits.len() + 3]);
}

fn header_bytes(number: usize) -> usize {
    3 + number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_looks_like_this() {
        let mut out = Vec::new();
        let words = [b"SET".as_slice(), b"", b"0123456789"];
        put_call(&mut out, &words);
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$10\r\n0123456789\r\n");
        assert_eq!(out.len(), call_bytes(&words));
    }

    #[test]
    fn lengths_are_foretold() {
        for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001] {
            let words = vec![vec![b'x'; len]; len.max(1)];
            let mut out = Vec::new();
            put_call(&mut out, &words);
            assert_eq!(out.len(), call_bytes(&words), "{len}");
        }
    }
}
