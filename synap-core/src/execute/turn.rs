//! A turn: one visit of a thread inside the gate, for one batch of a session's calls.

use std::time::Duration;

use super::context::WriteCx;
use super::gate::{Closed, Entered};
use super::shards::Held;
use super::state::State;
use super::stats::Lookups;
use super::times::bucket_of;
use super::{Call, waiting};
use crate::grammar::Keys;
use crate::keyspace::access::Access;
use crate::keyspace::hasher::shard_of;
use crate::keyspace::table::Table;
use crate::memory;
use crate::session::Session;

/// How a turn is inside the gate.
pub enum Pass<'e> {
    Entered(Entered<'e>),
    Closed(Closed<'e>),
    /// The turn of a call inside a transaction, whose locks its context holds.
    Lent {
        alone: bool,
    },
}

/// One visit inside the gate. Ends before any I/O, `await` or sleep.
///
/// Turns of several threads overlap, and each has its own time. A key that is due may be hidden instead of removed (by
/// SCAN, during a pause, on a replica); so that it does not rise again for a turn that began before, each shard notes
/// the time of its last call, and whoever comes with an earlier one reads the clock again.
pub struct Turn<'e> {
    pub state: &'e State,
    pass: Pass<'e>,
    /// Unix milliseconds, read when the turn began: a turn follows every wait, so the clock is read again after each.
    pub now_ms: i64,
    /// What the turn's accesses leave in entries.
    access: Access<'e>,
    lookups: Lookups,
    /// Raw ticks at the end of the last call.
    last_tick: u64,
    /// Calls of one row in a row, not yet added to the statistics.
    run: RunOfCalls,
    /// The call was refused or queued: it is not counted as one that ran.
    pub(super) answered_unrun: bool,
}

#[cfg(any(test, feature = "testing"))]
thread_local! {
    /// The shards that this thread's turns locked since it was last set to zero: tests compare them with what
    /// `COMMAND GETKEYS` says.
    pub static LOCKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Calls of a run are counted together.
const RUN_MAX: usize = 64;

struct RunOfCalls {
    row: usize,
    calls: usize,
    ticks: u64,
    /// How long each took: see [`bucket_of`].
    buckets: [u8; RUN_MAX],
}

impl RunOfCalls {
    const NONE: RunOfCalls = RunOfCalls { row: 0, calls: 0, ticks: 0, buckets: [0; RUN_MAX] };
}

impl<'e> Turn<'e> {
    pub fn new(state: &'e State, pass: Pass<'e>) -> Turn<'e> {
        let (run, lookups) = (RunOfCalls::NONE, Lookups::default());
        let now_ms = state.clock.now_ms();
        let (access, last_tick) = (state.access_at(now_ms), state.ticks.raw());
        Turn { state, pass, now_ms, access, lookups, last_tick, run, answered_unrun: false }
    }

    /// Waits until nobody else is inside the gate.
    pub async fn alone(state: &State) -> Turn<'_> {
        Turn::new(state, Pass::Closed(state.gate.close().await))
    }

    pub fn is_alone(&self) -> bool {
        matches!(self.pass, Pass::Closed(_) | Pass::Lent { alone: true })
    }

    /// The turn of a session command inside a transaction that holds `cx`.
    pub(super) fn inside(state: &'e State, cx: &WriteCx<'_>) -> Turn<'e> {
        Turn {
            state,
            pass: Pass::Lent { alone: cx.held().is_alone() },
            now_ms: cx.now_ms(),
            access: state.access_at(cx.now_ms()),
            lookups: Lookups::default(),
            last_tick: 0,
            run: RunOfCalls::NONE,
            answered_unrun: false,
        }
    }

    /// Counts and times the call that has just run, and that keeps its connection for `slept` more.
    #[inline]
    pub(super) fn count(&mut self, call: &Call<'_>, session: &Session, slept: Duration) {
        let tick = self.state.ticks.raw();
        let mut spent = tick.saturating_sub(self.last_tick);
        self.last_tick = tick;
        if slept > Duration::ZERO {
            spent += self.state.ticks.of(slept);
        }
        if self.run.row != call.row.id || self.run.calls == RUN_MAX {
            self.flush_counts();
            self.run.row = call.row.id;
        }
        self.run.buckets[self.run.calls] = bucket_of(spent);
        self.run.calls += 1;
        self.run.ticks += spent;
        if spent >= self.state.stats.long_ticks() {
            self.state.note_long(call, &session.client, self.now_ms, spent);
        }
    }

    fn flush_counts(&mut self) {
        if self.run.calls > 0 {
            self.state.stats.ran(self.run.row, self.run.ticks, &self.run.buckets[..self.run.calls]);
            self.run.calls = 0;
            self.run.ticks = 0;
        }
    }

    /// A context that holds the shards of `mask`, or everything when the gate is closed. Built where it is used: a copy
    /// of it would wait for the small fields that were just written.
    #[inline(always)]
    pub(super) fn context(&self, mask: u64, db: u32) -> WriteCx<'_> {
        #[cfg(any(test, feature = "testing"))]
        LOCKED.set(LOCKED.get() | if self.is_alone() { u64::MAX } else { mask });
        let mut now_ms = self.now_ms;
        let held = match &self.pass {
            Pass::Entered(_) => {
                let mut held = Held::lock(&self.state.shards, mask);
                if held.indexes().any(|shard| held.get(shard).latest_ms > now_ms) {
                    now_ms = self.state.clock.now_ms();
                }
                held.indexes().for_each(|shard| held.get_mut(shard).latest_ms = now_ms);
                held
            }
            // Whoever is alone has read the clock after all others, and before all who follow.
            Pass::Closed(closed) => Held::alone(&self.state.shards, closed),
            Pass::Lent { .. } => unreachable!("a command inside a transaction locks through the transaction's context"),
        };
        WriteCx::new(self.state, held, db, now_ms, &self.access, &self.lookups)
    }

    /// Has the processor fetch what the calls with these keys will look at: first all buckets, then all entries, so
    /// that the fetches overlap. Pointers are only taken under the lock of their shard: peeking would read freed memory.
    pub fn prefetch(&self, hashes: &[u64], db: u32) {
        if self.is_alone() {
            return;
        }
        let each = |look: fn(&Table, u64)| {
            for &hash in hashes {
                let shard = shard_of(hash);
                let held = Held::lock(&self.state.shards, 1 << shard);
                if let Some(db) = held.get(shard).db(db) {
                    look(db.table(), hash);
                }
            }
        };
        each(Table::prefetch_bucket);
        each(Table::prefetch_entries);
    }

    /// Locks the shards of `keys`. `None` when the call must run with the gate closed: it asks for it, or it may serve
    /// a waiter that reaches a shard which is not among them. Nothing has changed then.
    #[inline(always)]
    pub(super) fn lock(&self, call: &Call<'_>, keys: &Keys, db: u32, alone: bool) -> Option<WriteCx<'_>> {
        if alone && !self.is_alone() {
            return None;
        }
        let mask = keys.keys.iter().fold(0, |mask, key| mask | 1 << shard_of(key.hash));
        let cx = self.context(mask, db);
        if call.row.writes() && !waiting::can_serve_all(&cx, call.words, keys) {
            return None;
        }
        Some(cx)
    }

    /// A context of one shard, for the engine's own work (expiry).
    pub fn shard_context(&self, shard: usize) -> WriteCx<'_> {
        self.context(1 << shard, 0)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.flush_counts();
        self.lookups.flush(&self.state.stats);
        memory::fold();
    }
}

/// A call's way to the engine and to its session.
pub struct Caller<'t, 'e> {
    pub turn: &'t mut Turn<'e>,
    pub session: &'t mut Session,
}
