//! A walk through all keys as they were at one moment, while everybody goes on: what a snapshot is made of.
//!
//! [`Walk::begin`] is the cut: with the gate closed it notes the log's offset and gives all databases a new epoch. Then
//! [`Walk::step`], again and again, enters like any call, holds one shard for a few microseconds, and writes down what
//! is older than the epoch. What others change before the walk gets there they keep for it ([`crate::keyspace::cut`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use parking_lot::Mutex;

use super::Turn;
use super::state::State;
use crate::keyspace::cut::{Old, OldValues};
use crate::keyspace::db::Db;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::SHARD_COUNT;
use crate::keyspace::value::ValueRef;
use crate::log::Position;

/// Buckets that one step looks at, and entries after which it stops looking: some 20 µs under the lock of a shard.
const STEP_BUCKETS_MAX: usize = 64;
const STEP_ENTRIES_MAX: usize = 64;

/// What is larger is copied under the lock, sharing its chunks, and written when the lock is gone.
const WRITE_HERE_ELEMENTS_MAX: usize = 128;
const WRITE_HERE_BYTES_MAX: usize = 1024;

/// The walks of an engine: one at a time.
#[derive(Default)]
pub struct Walks {
    /// Of the last cut. Changed only with the gate closed.
    epoch: AtomicU16,
    /// Of the walk that is on.
    old: Mutex<Option<Arc<OldValues>>>,
    is_on: AtomicBool,
    /// See [`Walks::is_behind`].
    is_behind: AtomicBool,
}

/// Old values beyond this many bytes are to be written before more of them come.
const OLD_BYTES_MAX: usize = 64 << 20;

impl Walks {
    /// Those who write are faster than the walk.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Memory that the old values take which a walk has not written yet: what writers are slowed down for.
    pub fn old_bytes(&self) -> usize {
        if !self.is_on.load(Ordering::Relaxed) {
            return 0;
        }
        self.old.lock().as_ref().map_or(0, |old| old.bytes())
    }

    pub fn is_on(&self) -> bool {
        self.old.lock().is_some()
    }
}

/// One walk. It ends when [`Walk::step`] says so, or with [`Walk::give_up`].
pub struct Walk<'e> {
    state: &'e State,
    /// Where in the log the cut is.
    pub position: Position,
    /// Keys that there were at the cut.
    pub key_count: u64,
    old: Arc<OldValues>,
    shard: usize,
    /// Within the shard: a database under its number at the cut, and how far the walk is in it.
    at: Option<(u32, u64)>,
    /// Databases that were dropped whole, and how far the walk is in the first.
    dropped: VecDeque<Box<Db>>,
    dropped_at: u64,
    /// What was too large to be written under a lock.
    later: Vec<(u32, Entry)>,
}

impl<'e> Walk<'e> {
    /// The cut. `None` while another walk is on.
    ///
    /// # Panics
    /// When the turn does not have the gate closed.
    pub fn begin(turn: &Turn<'e>) -> Option<Walk<'e>> {
        assert!(turn.is_alone(), "a cut is made with the gate closed");
        let state = turn.state;
        let mut current = state.walks.old.lock();
        if current.is_some() {
            return None;
        }
        let old = Arc::new(OldValues::default());
        *current = Some(old.clone());
        state.walks.is_on.store(true, Ordering::Relaxed);
        let epoch = state.walks.epoch.load(Ordering::Relaxed).wrapping_add(1);
        state.walks.epoch.store(epoch, Ordering::Relaxed);
        let mut cx = turn.shard_context(0);
        let mut key_count = 0;
        for index in 0..SHARD_COUNT {
            let shard = cx.held_mut().get_mut(index);
            shard.begin_cut(epoch, &old);
            key_count += shard.key_count() as u64;
        }
        cx.unlock();
        let position = state.log.position();
        let (dropped, later) = (VecDeque::new(), Vec::new());
        Some(Walk { state, position, key_count, old, shard: 0, at: None, dropped, dropped_at: 0, later })
    }

    /// Writes some more keys with `write`, which gets each with the number that its database had at the cut, and whether
    /// it may wait: not under the lock of a shard. False when there are no more.
    pub fn step(&mut self, enter: impl FnOnce() -> Turn<'e>, mut write: impl FnMut(u32, &Entry, bool)) -> bool {
        if self.shard < SHARD_COUNT {
            self.look(&enter(), &mut write);
        }
        for (db, entry) in self.later.drain(..) {
            write(db, &entry, true);
        }
        // Looked at by the walk, not by those who write: they pass the limit by what one step lets them.
        self.state.walks.is_behind.store(self.old.bytes() > OLD_BYTES_MAX, Ordering::Relaxed);
        for old in self.old.take() {
            match old {
                Old::Entry { db, entry, .. } => write(db, &entry, true),
                Old::Db(db) => self.dropped.push_back(db),
            }
        }
        self.write_dropped(&mut write);
        // Whoever kept an old value did so before the walk was through with its shard.
        self.shard < SHARD_COUNT || !self.dropped.is_empty()
    }

    /// Takes what is old in a few buckets of one database of one shard.
    fn look(&mut self, turn: &Turn<'e>, write: &mut impl FnMut(u32, &Entry, bool)) {
        let mut cx = turn.shard_context(self.shard);
        let shard = cx.held_mut().get_mut(self.shard);
        match self.at.or_else(|| Some((shard.next_walked()?, 0))) {
            None => self.shard += 1,
            Some((number, mut cursor)) => {
                self.at = None;
                // If it is gone, it was dropped, and comes with the old values.
                if let Some(db) = shard.walked(number) {
                    let mut taken = 0;
                    for _ in 0..STEP_BUCKETS_MAX {
                        cursor = db.take_old(cursor, |entry| {
                            taken += 1;
                            if is_small(entry) {
                                write(number, entry, false);
                            } else {
                                self.later.push((number, entry.copy_as(entry.key())));
                            }
                        });
                        if cursor == 0 {
                            db.end_cut();
                            break;
                        }
                        self.at = Some((number, cursor));
                        if taken >= STEP_ENTRIES_MAX {
                            break;
                        }
                    }
                    if cursor == 0 {
                        self.at = None;
                    }
                }
            }
        }
        cx.unlock();
    }

    /// A portion of the databases that were dropped: nobody else has them.
    fn write_dropped(&mut self, write: &mut impl FnMut(u32, &Entry, bool)) {
        let Some(db) = self.dropped.front() else { return };
        let number = db.walked_as().unwrap_or_default();
        for _ in 0..STEP_BUCKETS_MAX {
            self.dropped_at = db.take_old(self.dropped_at, |entry| write(number, entry, true));
            if self.dropped_at == 0 {
                self.dropped.pop_front();
                return;
            }
        }
    }

    /// Ends the walk before it is through.
    pub fn give_up(self, mut enter: impl FnMut() -> Turn<'e>) {
        for index in self.shard..SHARD_COUNT {
            let turn = enter();
            let mut cx = turn.shard_context(index);
            cx.held_mut().get_mut(index).end_cut();
            cx.unlock();
        }
    }
}

impl Drop for Walk<'_> {
    /// The next one may begin.
    fn drop(&mut self) {
        self.state.walks.is_behind.store(false, Ordering::Relaxed);
        self.state.walks.is_on.store(false, Ordering::Relaxed);
        *self.state.walks.old.lock() = None;
    }
}

/// Written under the lock: copying it would take as long.
fn is_small(entry: &Entry) -> bool {
    match entry.value() {
        ValueRef::String(_) => entry.allocated_bytes() <= WRITE_HERE_BYTES_MAX,
        ValueRef::List(list) => list.len() <= WRITE_HERE_ELEMENTS_MAX,
        ValueRef::Set(set) => set.len() <= WRITE_HERE_ELEMENTS_MAX,
        ValueRef::Hash(hash) => hash.len() <= WRITE_HERE_ELEMENTS_MAX,
        ValueRef::ZSet(zset) => zset.len() <= WRITE_HERE_ELEMENTS_MAX,
    }
}
