//! A call that waits for a key to get something: one shared object, ended exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use smallvec::SmallVec;

use super::client::Client;
use crate::grammar::OwnedWords;

/// How a wait ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WaitEnd {
    Waiting = 0,
    /// Its reply is in the client's inbox.
    Served = 1,
    TimedOut = 2,
    /// CLIENT UNBLOCK … ERROR, or the data set changed hands.
    Unblocked = 3,
    /// The connection was seen to close.
    Gone = 4,
}

/// What a call answers that would wait and may not, inside EXEC. One that waited in vain answers a null array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullKind {
    Null,
    NullArray,
}

/// One blocked call. Registered at each of its keys; whoever wins the compare-and-swap ends it.
#[derive(Debug)]
pub struct Waiter {
    pub client: Arc<Client>,
    pub words: OwnedWords,
    pub db: u32,
    pub resp3: bool,
    /// The keys that it waits on: hash and name.
    pub keys: SmallVec<[(u64, Box<[u8]>); 1]>,
    /// Hash and name of keys that serving it touches besides: the destination of BLMOVE.
    pub reaches: SmallVec<[(u64, Box<[u8]>); 1]>,
    /// Unix time in milliseconds; `None` waits for ever.
    pub deadline_ms: Option<i64>,
    pub on_timeout: NullKind,
    end: AtomicU8,
}

impl Waiter {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        client: Arc<Client>,
        words: OwnedWords,
        db: u32,
        resp3: bool,
        keys: SmallVec<[(u64, Box<[u8]>); 1]>,
        reaches: SmallVec<[(u64, Box<[u8]>); 1]>,
        deadline_ms: Option<i64>,
        on_timeout: NullKind,
    ) -> Waiter {
        Waiter { client, words, db, resp3, keys, reaches, deadline_ms, on_timeout, end: AtomicU8::new(0) }
    }

    /// Ends the wait; true for the one caller that did.
    pub fn claim(&self, end: WaitEnd) -> bool {
        self.end.compare_exchange(0, end as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub fn end(&self) -> WaitEnd {
        match self.end.load(Ordering::Acquire) {
            0 => WaitEnd::Waiting,
            1 => WaitEnd::Served,
            2 => WaitEnd::TimedOut,
            3 => WaitEnd::Unblocked,
            _ => WaitEnd::Gone,
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.end() == WaitEnd::Waiting
    }
}
