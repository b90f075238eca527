//! The log: the Redis replication stream, one total order of words, one number.
//!
//! Every change is a call, a list of words, written as a RESP array of bulk strings. The number is the count of bytes
//! since the start of the history: the position in the files, the replication offset, the place of a snapshot. The
//! stream exists without files too; files ("the sink") and replicas are its readers.
//!
//! - [`wire`]: how a call looks in the stream, written.
//! - [`reader`]: and read back, strictly.
//! - `ring`: the newest bytes, in memory.
//! - [`mod@unit`]: several calls that must not be torn apart.
//! - [`stream`]: [`Log`], which puts them together: append, settle, read, wait.
//! - [`disk`]: the files: segments, manifest, the sink that writes them, recovery.

pub mod disk;
pub mod reader;
mod ring;
pub mod stream;
pub mod times;
pub mod unit;
pub mod wire;

use std::fmt;

pub use reader::Reader;
pub use stream::{Failing, Log, OutOfRange, Position};
pub use unit::Unit;

/// The name of a history: an offset means something only together with it. Redis calls it the replication id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoryId([u8; 40]);

impl HistoryId {
    /// Spells 20 random bytes as Redis does, in 40 hexadecimal digits.
    pub fn from_random(bytes: [u8; 20]) -> HistoryId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        HistoryId(std::array::from_fn(|i| {
            let byte = bytes[i / 2];
            DIGITS[usize::from(if i % 2 == 0 { byte >> 4 } else { byte & 15 })]
        }))
    }

    /// Reads 40 hexadecimal digits in lower case.
    pub fn parse(text: &[u8]) -> Option<HistoryId> {
        let digits: [u8; 40] = text.try_into().ok()?;
        digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')).then_some(HistoryId(digits))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of hexadecimal digits")
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
