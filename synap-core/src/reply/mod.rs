//! Replies are written, not built: a handler calls these methods in order and an encoder makes bytes of them.
//!
//! The vocabulary is RESP3's. An encoder for an older protocol downgrades (a map becomes a flat array, a double a
//! bulk string); a handler asks [`Reply::resp3`] only where Redis itself answers with another *structure*.

pub mod check;
pub mod follow;
mod tape;

pub use tape::Tape;

use crate::error::Error;

/// A place in a reply that has been written so far; see [`Reply::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub usize);

/// The writer of one reply. Aggregates announce their length first, then their items follow as further calls.
pub trait Reply {
    /// A simple string; `text` holds no line break.
    fn status(&mut self, text: &str);
    /// A simple string `OK`.
    fn ok(&mut self) {
        self.status("OK");
    }
    fn int(&mut self, value: i64);
    /// RESP2: a bulk string with the shortest text that reads back as the same number; `inf`, `-inf`, `nan`.
    fn double(&mut self, value: f64);
    /// RESP2: the integer 1 or 0.
    fn boolean(&mut self, value: bool);
    fn bulk(&mut self, bytes: &[u8]);
    /// Text with a format of three letters, `txt` or `mkd`. RESP2: a bulk string.
    fn verbatim(&mut self, format: &str, text: &str);
    /// RESP2: a null bulk string.
    fn null(&mut self);
    /// RESP2: a null array (`*-1`); RESP3: the same null as [`Reply::null`].
    fn null_array(&mut self);
    /// `len` items follow.
    fn array(&mut self, len: usize);
    /// `len` pairs follow. RESP2: an array of `2 × len` items.
    fn map(&mut self, len: usize);
    /// `len` distinct items follow. RESP2: an array.
    fn set(&mut self, len: usize);
    /// Out-of-band data: `len` items follow. RESP2: an array.
    fn push(&mut self, len: usize);
    fn error(&mut self, error: &Error);

    /// True when the receiver speaks RESP3 or a richer vocabulary (JSON does).
    fn resp3(&self) -> bool;

    /// From here on the receiver speaks RESP3, or RESP2: HELLO and RESET.
    fn speak(&mut self, _resp3: bool) {}

    /// Where the next item would be written; hand it to [`Reply::rollback`] to forget everything written since.
    fn mark(&self) -> Mark;
    fn rollback(&mut self, mark: Mark);

    /// An integer as bulk text, for replies that are numbers inside strings.
    fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }
    /// Text as a bulk string.
    fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }
}
