//! Several calls that are one change: a transaction, a script, a pop that serves a waiter.

use super::wire::{self, put_call, put_select};

/// A change of one or more calls, collected while it runs and appended at once with [`super::Log::append`].
///
/// More than one call is wrapped in MULTI and EXEC, so that no reader (a replica, a recovery) stops between them.
/// Keep one and [`Unit::clear`] it: it holds on to its buffer.
#[derive(Debug, Default)]
pub struct Unit {
    /// The calls, with a SELECT where the database changes *within* the unit; the first one's database is `first_db`.
    pub(super) body: Vec<u8>,
    pub(super) first_db: u32,
    /// The database selected at the end of `body`.
    pub(super) last_db: u32,
    pub(super) call_count: usize,
}

impl Unit {
    pub fn new() -> Unit {
        Unit::default()
    }

    /// Adds a call.
    pub fn words<W: AsRef<[u8]>>(&mut self, db: u32, words: &[W]) {
        self.select(db);
        put_call(&mut self.body, words);
        self.call_count += 1;
    }

    /// Adds a call that is canonical bytes already; see [`wire`].
    pub fn raw(&mut self, db: u32, canonical: &[u8]) {
        super::reader::debug_check_one_call(canonical);
        self.select(db);
        self.body.extend_from_slice(canonical);
        self.call_count += 1;
    }

    /// Adds the calls of `other`, which stay in one database.
    pub fn extend(&mut self, other: &Unit) {
        assert_eq!(other.first_db, other.last_db, "what stands for one call stays in its database");
        if !other.is_empty() {
            self.select(other.first_db);
            self.body.extend_from_slice(&other.body);
            self.call_count += other.call_count;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.call_count == 0
    }

    pub fn call_count(&self) -> usize {
        self.call_count
    }

    pub fn clear(&mut self) {
        self.body.clear();
        self.call_count = 0;
    }

    /// Needs a wrapping.
    pub(super) fn is_many(&self) -> bool {
        self.call_count > 1
    }

    /// The bytes that [`super::Log::append`] adds, a first SELECT apart.
    pub(super) fn wrapped_bytes(&self) -> usize {
        self.body.len() + if self.is_many() { wire::MULTI.len() + wire::EXEC.len() } else { 0 }
    }

    fn select(&mut self, db: u32) {
        if self.is_empty() {
            self.first_db = db;
        } else if self.last_db != db {
            put_select(&mut self.body, db);
        }
        self.last_db = db;
    }
}
