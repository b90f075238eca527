//! What stands between MULTI and EXEC.

use crate::grammar::OwnedWords;

#[derive(Debug, Default)]
pub struct Transaction {
    pub calls: Vec<OwnedWords>,
    /// What must hold at the moment of EXEC; else it does nothing, as when a watched key has changed.
    pub conditions: Vec<Condition>,
    /// A call was refused while queueing: EXEC answers EXECABORT.
    pub broken: bool,
    /// One of the calls is refused when memory is full: EXEC is then.
    pub needs_room: bool,
    /// Bytes that the queued calls take.
    pub bytes: usize,
}

/// What is asked of a string, or of a field of a hash, in the selected database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub key: Box<[u8]>,
    pub field: Option<Box<[u8]>>,
    pub wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is there, or it is not.
    Exists(bool),
    /// It is there and has these bytes. A key of another type has not.
    Equals(Box<[u8]>),
}

/// Queued calls beyond this many bytes break the transaction: Redis' limit on a client's query buffer.
pub const QUEUED_BYTES_MAX: usize = 1 << 30;

/// What a queued call takes besides its words: its place in the list, and what two allocations cost.
const CALL_BYTES: usize = size_of::<OwnedWords>() + 32;

impl Transaction {
    pub fn queue(&mut self, words: &[&[u8]]) -> bool {
        let words = OwnedWords::new(words);
        self.bytes += words.size() + CALL_BYTES;
        if self.bytes > QUEUED_BYTES_MAX {
            self.broken = true;
            self.calls = Vec::new();
            return false;
        }
        self.calls.push(words);
        true
    }
}
