//! [`Log`]: the stream as the engine sees it. Appended to under shard locks, read by whoever follows.
//!
//! ```text
//!      oldest            needed by the sink        settled             end
//!        │ backlog for replicas  │ not yet on disk    │ not yet shown   │
//!   ─────┴───────────────────────┴────────────────────┴─────────────────┴──▶ offset
//! ```
//!
//! **Settled** is the offset up to which a reply may leave: without a sink that is the end; with one, what the sink
//! says (written, or fsynced, as configured). **Released** is what the sink will never ask for again, because it is
//! fsynced; until then the ring keeps it, growing beyond its capacity when the disk is slow or full
//! ([`Log::unreleased_bytes`] is what back-pressure looks at). What is released stays as long as it fits, for replicas
//! that were away.
//!
//! **Failing** is a sink that cannot go on for now: nothing is settled until it can. Whoever would wait for ever asks
//! with [`Log::settled_or_failing`].
//!
//! One mutex guards it all: it is held for a copy of bytes, never for I/O, and no waker is called under it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::HistoryId;
use super::reader::debug_check_one_call;
use super::ring::Ring;
use super::times::DiskTimes;
use super::unit::Unit;
use super::wire::{self, Put, SmallCall, put_call, put_select};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The most that one [`Log::read_from`] copies: appenders wait meanwhile, for a few microseconds.
pub const READ_BYTES_MAX: usize = 128 * 1024;

/// How far apart the ends of units are that are kept in mind: a reader that wants whole units gets at most this much
/// more than one unit beyond what it asks for.
const CUT_BYTES: u64 = 64 * 1024;

/// The stream in memory.
pub struct Log {
    history: HistoryId,
    /// Copies of what `state` knows, for looks without the lock. Stored with the lock held.
    end: AtomicU64,
    settled: AtomicU64,
    released: AtomicU64,
    /// Appends so far.
    changes: AtomicU64,
    /// What the ring took at the last append.
    memory_bytes: AtomicUsize,
    /// The sink cannot go on for now.
    failing: AtomicBool,
    /// An append has passed a point that somebody waits for: [`Log::notify`] has something to do.
    due: AtomicBool,
    state: Mutex<State>,
    /// How long the disk takes.
    pub times: DiskTimes,
}

struct State {
    ring: Ring,
    keep_everything: bool,
    /// The database selected at the end; none when a reader could not know.
    db: Option<u32>,
    settled: u64,
    /// With a sink: it may still ask for bytes from here on.
    needed_from: Option<u64>,
    /// With a sink: ends of units after `needed_from`, about [`CUT_BYTES`] apart.
    cuts: VecDeque<Position>,
    waiting_for_settled: Waiters,
    waiting_for_released: Waiters,
    waiting_for_end: Waiters,
}

/// A place in the stream, with what a reader that begins there has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub offset: u64,
    /// The selected database; none when a SELECT comes before the next call.
    pub db: Option<u32>,
}

/// The asked offset is not in memory: forgotten already, or not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    pub oldest: u64,
    pub end: u64,
}

impl Log {
    /// An empty stream. The ring grows as it is written to, up to `capacity_bytes` (rounded up to a power of two).
    pub fn new(capacity_bytes: usize, history: HistoryId) -> Log {
        Log::starting_at(0, capacity_bytes, history)
    }

    /// A stream whose next byte has the given offset: after a recovery, or as a replica.
    pub fn starting_at(offset: u64, capacity_bytes: usize, history: HistoryId) -> Log {
        Log {
            history,
            end: AtomicU64::new(offset),
            settled: AtomicU64::new(offset),
            released: AtomicU64::new(offset),
            changes: AtomicU64::new(0),
            memory_bytes: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            due: AtomicBool::new(false),
            state: Mutex::new(State {
                ring: Ring::new(offset, capacity_bytes.next_power_of_two()),
                keep_everything: false,
                db: None,
                settled: offset,
                needed_from: None,
                cuts: VecDeque::new(),
                waiting_for_settled: Waiters::default(),
                waiting_for_released: Waiters::default(),
                waiting_for_end: Waiters::default(),
            }),
            times: DiskTimes::default(),
        }
    }

    /// Has the next byte at `offset`, in an empty stream: after a recovery.
    pub fn begin_at(&self, position: Position) {
        let mut state = self.state.lock();
        assert_eq!((state.ring.start(), state.ring.end()), (0, 0), "something was appended already");
        state.ring.begin_at(position.offset);
        state.db = None;
        state.settled = position.offset;
        for known in [&self.end, &self.settled, &self.released] {
            known.store(position.offset, Ordering::Release);
        }
    }

    /// Never forgets: for tests that replay a whole run.
    pub fn keeping_everything(self) -> Log {
        let mut state = self.state.lock();
        state.keep_everything = true;
        state.tell_ring();
        drop(state);
        self
    }

    pub fn history(&self) -> HistoryId {
        self.history
    }

    /// Appends one call; returns the offset after it. Like every append, it wakes nobody: see [`Log::notify`].
    pub fn append_words<W: AsRef<[u8]>>(&self, db: u32, words: &[W]) -> u64 {
        let bytes = wire::call_bytes(words);
        if bytes <= SmallCall::BYTES_MAX {
            // Put together before the lock is taken; a larger call is not worth copying twice.
            let mut call = SmallCall::new();
            put_call(&mut call, words);
            return self.append_with(bytes, Some(db), Some(db), |ring| ring.put(call.bytes()));
        }
        self.append_with(bytes, Some(db), Some(db), |ring| put_call(ring, words))
    }

    /// Appends one call that is canonical bytes already, as a decoder that says `canonical` found them.
    pub fn append_raw(&self, db: u32, canonical: &[u8]) -> u64 {
        debug_check_one_call(canonical);
        self.append_with(canonical.len(), Some(db), Some(db), |ring| ring.put(canonical))
    }

    /// Appends the calls of a unit with nothing between them. An empty unit changes nothing.
    pub fn append(&self, unit: &Unit) -> u64 {
        if unit.is_empty() {
            return self.end();
        }
        self.append_with(unit.wrapped_bytes(), Some(unit.first_db), Some(unit.last_db), |ring| {
            if unit.is_many() {
                ring.put(wire::MULTI);
            }
            ring.put(&unit.body);
            if unit.is_many() {
                ring.put(wire::EXEC);
            }
        })
    }

    /// Appends a piece of a master's stream untouched, whatever it holds. `db` is what it leaves selected. With a sink
    /// it must be whole units: the files are cut between appends.
    pub fn append_stream(&self, bytes: &[u8], db: Option<u32>) -> u64 {
        self.append_with(bytes.len(), None, db, |ring| ring.put(bytes))
    }

    #[inline]
    fn append_with(
        &self,
        bytes: usize,
        needs_db: Option<u32>,
        leaves_db: Option<u32>,
        put: impl FnOnce(&mut Ring),
    ) -> u64 {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if let Some(db) = needs_db
            && state.db != Some(db)
        {
            put_select(&mut state.ring, db);
        }
        let before = state.ring.end();
        put(&mut state.ring);
        let end = state.ring.end();
        debug_assert_eq!(end - before, bytes as u64, "the length was foretold");
        state.db = leaves_db;
        // Only ever stored with the lock held.
        self.changes.store(self.changes.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.memory_bytes.store(state.ring.size(), Ordering::Relaxed);
        self.end.store(end, Ordering::Release);
        match state.needed_from {
            Some(from) => state.note_cut(from),
            None => {
                state.settled = end;
                self.settled.store(end, Ordering::Release);
                self.released.store(end, Ordering::Release);
            }
        }
        if state.waiting_for_end.lowest() <= end
            || state.waiting_for_settled.lowest() <= state.settled
            || state.waiting_for_released.lowest() <= self.released.load(Ordering::Relaxed)
        {
            self.due.store(true, Ordering::Release);
        }
        end
    }

    /// Wakes those who wait for what was appended. Every turn that may have appended ends with it, after its shard
    /// locks are gone: a reader that is woken then finds the whole batch instead of its first call, and the price of
    /// waking is not paid under locks. When there is nothing to do it costs one load.
    #[inline]
    pub fn notify(&self) {
        if self.due.load(Ordering::Acquire) {
            self.wake_due();
        }
    }

    #[cold]
    fn wake_due(&self) {
        let mut state = self.state.lock();
        self.due.store(false, Ordering::Release);
        let end = state.ring.end();
        let (settled, released) = (state.settled, self.released());
        let for_end = state.waiting_for_end.take_reached(end);
        let for_settled = state.waiting_for_settled.take_reached(settled);
        let for_released = state.waiting_for_released.take_reached(released);
        drop(state);
        for_end.into_values().chain(for_settled.into_values()).chain(for_released.into_values()).for_each(Waker::wake);
    }

    /// Calls and transactions appended since the start.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// All bytes ever appended in this history.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The end, with the selected database. Exact while the gate is closed; otherwise it moves on.
    pub fn position(&self) -> Position {
        let state = self.state.lock();
        Position { offset: state.ring.end(), db: state.db }
    }

    /// Makes the next append begin with a SELECT, for a reader that begins here and knows nothing.
    pub fn forget_db(&self) {
        self.state.lock().db = None;
    }

    /// The oldest offset that can be read.
    pub fn oldest(&self) -> u64 {
        self.state.lock().ring.start()
    }

    /// Bytes of memory that the ring takes.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// What was appended up to here may be shown.
    #[inline]
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// May a message that depends on this offset leave?
    #[inline]
    pub fn is_settled(&self, offset: u64) -> bool {
        self.settled() >= offset
    }

    /// Waits until [`Log::is_settled`]; yields the settled offset. Dropping the future at any point is safe.
    pub fn settled_at(&self, offset: u64) -> Reached<'_> {
        Reached { log: self, point: Point::Settled, offset, ticket: None }
    }

    /// As [`Log::settled_at`], but gives up while the sink is failing: what is behind `offset` is applied, and not safe.
    pub fn settled_or_failing(&self, offset: u64) -> SettledOrFailing<'_> {
        SettledOrFailing(self.settled_at(offset))
    }

    /// Fsynced up to here: what a power cut cannot take back.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }

    /// Waits until [`Log::released`] has come this far. Dropping the future at any point is safe.
    pub fn released_at(&self, offset: u64) -> Reached<'_> {
        Reached { log: self, point: Point::Released, offset, ticket: None }
    }

    /// The disk does not take the log: writes are to be refused.
    #[inline]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// The sink says whether it can go on. After `true` comes [`Log::wake_unsettled`], without a lock.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Release);
    }

    /// Wakes all who wait for something to be settled: those who do not wait while the sink is failing go on.
    pub fn wake_unsettled(&self) {
        let waiting = std::mem::take(&mut self.state.lock().waiting_for_settled.by_offset);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until there is something to read after `offset`; yields the end. Dropping it at any point is safe.
    pub fn grown_past(&self, offset: u64) -> Reached<'_> {
        Reached { log: self, point: Point::End, offset: offset + 1, ticket: None }
    }

    /// Appends to `out` what stands from `offset` on, as far as one read goes, and returns the offset after it.
    ///
    /// [`Log::end`] is always between two units, so a reader that wants whole units reads until it reaches an end that
    /// it asked for before.
    pub fn read_from(&self, offset: u64, out: &mut Vec<u8>) -> Result<u64, OutOfRange> {
        // Room is made before the lock is taken; the end can only have moved up.
        let about = self.end().saturating_sub(offset).min(READ_BYTES_MAX as u64);
        out.reserve(about as usize);
        let state = self.state.lock();
        let (oldest, end) = (state.ring.start(), state.ring.end());
        if offset < oldest || offset > end {
            return Err(OutOfRange { oldest, end });
        }
        let to = end.min(offset + READ_BYTES_MAX as u64);
        state.ring.copy(offset, to, out);
        Ok(to)
    }

    /// Appends whole units to `out`, from `offset` on: for the sink, which has not released them. At most `bytes_max`,
    /// or a little more than one unit when that is larger. Returns where they end.
    pub fn read_units(&self, offset: u64, bytes_max: u64, out: &mut Vec<u8>) -> Result<Position, OutOfRange> {
        // Here too room is made before the lock is taken.
        let about = self.end().saturating_sub(offset).min(bytes_max).min(READ_BYTES_MAX as u64);
        out.reserve(about as usize);
        let mut state = self.state.lock();
        let (oldest, end) = (state.ring.start(), state.ring.end());
        if offset < oldest || offset > end {
            return Err(OutOfRange { oldest, end });
        }
        let to = state.units_end(offset, bytes_max);
        let mut at = offset;
        loop {
            let next = to.offset.min(at + READ_BYTES_MAX as u64);
            state.ring.copy(at, next, out);
            at = next;
            if at == to.offset {
                return Ok(to);
            }
            // Appenders go between; the sink's bytes stay.
            drop(state);
            out.reserve((to.offset - at).min(READ_BYTES_MAX as u64) as usize);
            state = self.state.lock();
            if at < state.ring.start() {
                return Err(OutOfRange { oldest: state.ring.start(), end: state.ring.end() });
            }
        }
    }

    /// From now on, `settled` moves only with [`Log::settle`]. The sink has everything before `from`, and may ask for
    /// everything after it until it says [`Log::release`].
    pub fn attach_sink(&self, from: u64) -> Result<(), OutOfRange> {
        let mut state = self.state.lock();
        let (oldest, end) = (state.ring.start(), state.ring.end());
        if from < oldest || from > end {
            return Err(OutOfRange { oldest, end });
        }
        state.needed_from = Some(from);
        state.tell_ring();
        self.released.store(from, Ordering::Release);
        Ok(())
    }

    /// [`Log::attach_sink`] at the end, wherever it is just now; returns where. Nothing is settled until the sink says so.
    pub fn attach_sink_at_end(&self) -> Position {
        let mut state = self.state.lock();
        let end = state.ring.end();
        state.needed_from = Some(end);
        state.tell_ring();
        self.released.store(end, Ordering::Release);
        Position { offset: end, db: state.db }
    }

    /// Everything is settled as soon as it is appended, again.
    pub fn detach_sink(&self) {
        let mut state = self.state.lock();
        state.needed_from = None;
        state.tell_ring();
        state.cuts.clear();
        state.settled = state.ring.end();
        self.settled.store(state.settled, Ordering::Release);
        self.released.store(state.settled, Ordering::Release);
        let memory = state.ring.shrink();
        self.memory_bytes.store(state.ring.size(), Ordering::Relaxed);
        drop(state);
        drop(memory);
        self.wake_due();
        self.wake_unsettled();
    }

    /// The sink has done what the configuration asks for, up to here. Wakes those who wait for it; never moves back.
    pub fn settle(&self, offset: u64) {
        let mut state = self.state.lock();
        assert!(offset <= state.ring.end(), "nobody can have written what was not appended");
        // Without a sink everything is settled: it has gone since it wrote this.
        if state.needed_from.is_none() || offset <= state.settled {
            return;
        }
        state.settled = offset;
        self.settled.store(offset, Ordering::Release);
        let reached = state.waiting_for_settled.take_reached(offset);
        drop(state);
        reached.into_values().for_each(Waker::wake);
    }

    /// The sink will not ask for anything before `offset` again: it is safe on disk. Wakes those who wait for that.
    /// Said again without news, it gives back memory that was not needed since.
    pub fn release(&self, offset: u64) {
        let mut state = self.state.lock();
        assert!(offset <= state.ring.end(), "nobody can have written what was not appended");
        let Some(needed_from) = state.needed_from else { return };
        let memory = state.ring.shrink();
        self.memory_bytes.store(state.ring.size(), Ordering::Relaxed);
        if needed_from < offset {
            state.needed_from = Some(offset);
            state.tell_ring();
            self.released.store(offset, Ordering::Release);
            while state.cuts.front().is_some_and(|cut| cut.offset <= offset) {
                state.cuts.pop_front();
            }
        }
        let reached = state.waiting_for_released.take_reached(offset);
        drop(state);
        drop(memory);
        reached.into_values().for_each(Waker::wake);
    }

    /// Bytes that the sink has not released: what a slow disk costs in memory.
    #[inline]
    pub fn unreleased_bytes(&self) -> u64 {
        // In this order, because both only move up.
        let released = self.released();
        self.end() - released
    }
}

impl State {
    /// What the ring may not forget.
    fn tell_ring(&mut self) {
        let needed_from = if self.keep_everything { 0 } else { self.needed_from.unwrap_or(u64::MAX) };
        self.ring.need_from(needed_from);
    }

    /// Remembers the end, if the last one that is remembered is far enough behind.
    #[inline]
    fn note_cut(&mut self, needed_from: u64) {
        let end = self.ring.end();
        if end - self.cuts.back().map_or(needed_from, |cut| cut.offset.max(needed_from)) >= CUT_BYTES {
            self.cuts.push_back(Position { offset: end, db: self.db });
        }
    }

    /// Where whole units end that begin at `offset` and take about `bytes_max`.
    fn units_end(&self, offset: u64, bytes_max: u64) -> Position {
        let end = Position { offset: self.ring.end(), db: self.db };
        if end.offset - offset <= bytes_max {
            return end;
        }
        let behind = self.cuts.partition_point(|cut| cut.offset <= offset + bytes_max);
        let fits = behind.checked_sub(1).map(|last| self.cuts[last]).filter(|cut| cut.offset > offset);
        fits.or_else(|| self.cuts.get(behind).copied()).unwrap_or(end)
    }
}

/// Wakers by the offset that they wait for.
#[derive(Default)]
struct Waiters {
    by_offset: BTreeMap<(u64, u64), Waker>,
    next_ticket: u64,
}

impl Waiters {
    fn lowest(&self) -> u64 {
        self.by_offset.first_key_value().map_or(u64::MAX, |((offset, _), _)| *offset)
    }

    fn take_reached(&mut self, offset: u64) -> BTreeMap<(u64, u64), Waker> {
        let later = self.by_offset.split_off(&(offset + 1, 0));
        std::mem::replace(&mut self.by_offset, later)
    }
}

#[derive(Clone, Copy)]
enum Point {
    Settled,
    Released,
    End,
}

/// The future of [`Log::settled_at`], [`Log::released_at`] and [`Log::grown_past`].
#[must_use = "futures do nothing unless awaited"]
pub struct Reached<'a> {
    log: &'a Log,
    point: Point,
    offset: u64,
    /// Set once registered; the waker may have been taken since.
    ticket: Option<u64>,
}

impl State {
    fn waiters(&mut self, point: Point) -> &mut Waiters {
        match point {
            Point::Settled => &mut self.waiting_for_settled,
            Point::Released => &mut self.waiting_for_released,
            Point::End => &mut self.waiting_for_end,
        }
    }
}

impl Future for Reached<'_> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        let (log, offset, point) = (self.log, self.offset, self.point);
        let reached = || match point {
            Point::Settled => log.settled(),
            Point::Released => log.released(),
            Point::End => log.end(),
        };
        let now = reached();
        if now >= offset {
            return Poll::Ready(now);
        }
        let waker = cx.waker().clone();
        let mut state = log.state.lock();
        let now = reached(); // moves only under the lock
        if now >= offset {
            drop(state);
            return Poll::Ready(now);
        }
        let waiters = state.waiters(point);
        let ticket = self.ticket.unwrap_or_else(|| {
            waiters.next_ticket += 1;
            waiters.next_ticket
        });
        let old = waiters.by_offset.insert((offset, ticket), waker);
        self.ticket = Some(ticket);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Reached<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let key = (self.offset, ticket);
            let old = self.log.state.lock().waiters(self.point).by_offset.remove(&key);
            drop(old); // without the lock
        }
    }
}

/// What [`Log::settled_or_failing`] answers when it will not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing;

/// The future of [`Log::settled_or_failing`].
#[must_use = "futures do nothing unless awaited"]
pub struct SettledOrFailing<'a>(Reached<'a>);

impl Future for SettledOrFailing<'_> {
    type Output = Result<u64, Failing>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64, Failing>> {
        if let Poll::Ready(settled) = Pin::new(&mut self.0).poll(cx) {
            return Poll::Ready(Ok(settled));
        }
        // Looked at after the waker is in its place: whoever sets the flag later takes the wakers.
        if self.0.log.is_failing() { Poll::Ready(Err(Failing)) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests;
