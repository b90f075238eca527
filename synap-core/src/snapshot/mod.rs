//! RDB: the format of Redis' snapshots, and with it of ours, of a full synchronisation, and of DUMP and RESTORE.
//!
//! ```text
//! Writer ─┐                                    ┌─ Reader      a file: header, fields, keys, checksum
//!         ├─► encode ─► Output ─► bytes ─► Input ─► decode ◄─┤
//! dump  ──┘                                    └─ restore     one value with a footer
//! ```
//!
//! Pure: bytes go out through [`std::io::Write`] and come in through [`std::io::Read`], a bounded piece at a time. Whose
//! bytes they are, what is locked meanwhile and what becomes of a key is the caller's affair. `docs/FORMAT.md` draws what
//! we write.

pub mod crc64;
mod decode;
mod dump;
mod encode;
mod format;
mod input;
pub mod lzf;
mod old;
mod output;
mod reader;
mod skip;
#[cfg(test)]
mod tests;
mod writer;

pub use dump::{RestoreError, dump, restore};
pub use format::Flavour;
pub use input::{Cause, ReadError};
pub use reader::{Item, Key, ReadOptions, Reader, Skipped, Unsupported};
pub use writer::{Header, WriteOptions, Writer};

pub use crate::keyspace::access::Usage;

/// Where in the log a snapshot stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Id of the history that the offset belongs to.
    pub history: String,
    /// All of the log before this offset is in the snapshot, and nothing after it.
    pub offset: u64,
    /// The database that the stream has selected there; none when a SELECT comes next.
    pub db: Option<u32>,
}

impl Position {
    /// Takes what an auxiliary field says; false when it is about something else.
    ///
    /// Redis' own `repl-offset` is not listened to: in a file that it wrote, that is a place in another stream.
    pub fn hear(&mut self, name: &[u8], value: &[u8]) -> bool {
        let text = std::str::from_utf8(value).ok();
        match name {
            format::AUX_HISTORY => text.map(|text| self.history = text.into()).is_some(),
            format::AUX_OFFSET => text.and_then(|text| text.parse().ok()).map(|offset| self.offset = offset).is_some(),
            format::AUX_DB => text.and_then(|text| text.parse().ok()).map(|db| self.db = Some(db)).is_some(),
            _ => false,
        }
    }
}
