//! Full memory: before a call runs, keys are removed until what is in use is below `maxmemory` again, or, when the
//! policy finds none, calls that need memory are refused.
//!
//! It happens inside the gate and before the call's shards are locked, one shard at a time: a few keys of one shard are
//! drawn into the pool, the best of the pool is removed under the lock of its own, logged, and told of like any change.
//! What takes longer than a call may be kept goes on in the engine's thread.
//!
//! Not all memory counts. The log's buffer, the old values of a snapshot in the making and replies on their way
//! out grow when a disk or a client is slow; data would not be the less for it. What has been removed and waits for the
//! dropper counts as gone, or keys would go on being removed until it has had its turn; when it is too far behind,
//! writers wait for it.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::notify::Event;
use super::row::Flags;
use super::state::{Due, State};
use super::turn::{Caller, Turn};
use super::{Call, waiting};
use crate::error::{Code, Error, Result};
use crate::grammar::Key;
use crate::keyspace::entry::Entry;
use crate::keyspace::eviction::{Candidate, Order, Policy, Pool};
use crate::keyspace::hasher::{SHARD_COUNT, shard_of};
use crate::memory;
use crate::settings;

/// Candidates that may turn out to be gone, or used again, before a round gives up.
const VAIN_MAX: usize = 64;

/// Deadlines of keys that are gone, or that were moved, which one draw puts right: some 100 µs under a shard's lock.
const SETTLE_LOOKS: usize = 1024;

/// The dropper may be behind by this part of the limit before writers wait for it.
const BEHIND_SHARE: usize = 64;

/// The limit, and what is known about reaching it.
pub struct Eviction {
    /// `maxmemory`; `usize::MAX` when there is none.
    limit: AtomicUsize,
    pool: Mutex<Pool>,
    /// When nothing was found that could go.
    failed_ms: AtomicI64,
    /// Raw ticks since when memory has been beyond the limit; 0 when it is not.
    exceeded_since: AtomicU64,
    /// Raw ticks for which it was, before.
    exceeded_ticks: AtomicU64,
    /// Replies that are not sent yet: see [`Eviction::change_outputs`].
    output_bytes: AtomicUsize,
}

impl Default for Eviction {
    fn default() -> Eviction {
        Eviction {
            limit: AtomicUsize::new(usize::MAX),
            pool: Mutex::default(),
            failed_ms: AtomicI64::new(i64::MIN),
            exceeded_since: AtomicU64::new(0),
            exceeded_ticks: AtomicU64::new(0),
            output_bytes: AtomicUsize::new(0),
        }
    }
}

/// What has become of memory that was beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// There is room, or nobody may make any now.
    Enough,
    /// The time was over: more is to be done.
    NotYet,
    /// Nothing may go.
    None,
}

impl Eviction {
    /// `maxmemory` has a new value; 0 has no limit.
    pub fn set_limit(&self, bytes: i64) {
        let limit = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        self.limit.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    fn limit(&self) -> Option<usize> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != usize::MAX)
    }

    /// Something is to be done. While there is room this is all that a call pays: without a limit not even the sum is
    /// looked at, which other threads keep writing.
    #[inline]
    pub fn is_over(&self, state: &State) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit != usize::MAX && memory::total() > limit && memory::total() > limit.saturating_add(apart(state))
    }

    /// A connection's replies that wait are in a buffer of `after` bytes, and no longer `before`.
    pub fn change_outputs(&self, before: usize, after: usize) {
        let [before, after] = [before, after].map(|bytes| if bytes == 0 { 0 } else { memory::size_class(bytes) });
        self.output_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Says that memory is beyond the limit, or below.
    fn note_exceeded(&self, state: &State, is_exceeded: bool) {
        let now = state.ticks.raw().max(1);
        if is_exceeded {
            let _ = self.exceeded_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        } else if self.exceeded_since.load(Ordering::Relaxed) != 0 {
            let since = self.exceeded_since.swap(0, Ordering::Relaxed);
            if since != 0 {
                self.exceeded_ticks.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
            }
        }
    }

    /// Milliseconds for which memory was beyond the limit since the counters were reset, and for how long it has been
    /// by now.
    pub fn exceeded_ms(&self, state: &State) -> (u64, u64) {
        if !self.is_over(state) {
            self.note_exceeded(state, false);
        }
        let current = match self.exceeded_since.load(Ordering::Relaxed) {
            0 => 0,
            since => state.ticks.raw().saturating_sub(since),
        };
        let ended = self.exceeded_ticks.load(Ordering::Relaxed);
        let ms = |ticks| state.ticks.micros(ticks) / 1000;
        (ms(ended + current), ms(current))
    }

    /// The counters begin at zero.
    pub fn reset(&self) {
        self.exceeded_ticks.store(0, Ordering::Relaxed);
    }
}

/// What memory is used for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All that is in use and counts: what `maxmemory` is compared with.
    pub used: usize,
    /// The most that was ever in use, what does not count included.
    pub peak: usize,
    /// The log's buffer.
    pub log: usize,
    /// Values that a snapshot has still to write as they were.
    pub old_values: usize,
    /// Replies that clients have still to read.
    pub outputs: usize,
}

impl Usage {
    /// What does not count.
    pub fn apart(&self) -> usize {
        self.log + self.old_values + self.outputs
    }
}

/// Memory that does not count.
fn apart(state: &State) -> usize {
    state.log.memory_bytes() + state.walks.old_bytes() + state.eviction.output_bytes.load(Ordering::Relaxed)
}

/// What memory is used for now.
pub fn usage(state: &State) -> Usage {
    memory::fold_all();
    let (log, old_values) = (state.log.memory_bytes(), state.walks.old_bytes());
    let outputs = state.eviction.output_bytes.load(Ordering::Relaxed);
    let usage = Usage { used: 0, peak: memory::peak(), log, old_values, outputs };
    Usage { used: memory::total().saturating_sub(usage.apart()), ..usage }
}

/// Makes room before `call` runs, if there is not enough. An error when there is none, and the call needs some.
#[cold]
pub(super) fn admit(caller: &Caller<'_, '_>, call: &Call<'_>) -> Result<()> {
    let state = caller.turn.state;
    let needs_room = call.row.flags.has(Flags::DENYOOM)
        || (call.row.flags.has(Flags::ENDS_MULTI) && caller.session.transaction.as_ref().is_some_and(|t| t.needs_room));
    if super::admit::is_replay(caller.session) {
        return Ok(());
    }
    // Whoever needs nothing does not look again at once for what was not there.
    let has_failed = state.eviction.failed_ms.load(Ordering::Relaxed) == caller.turn.now_ms;
    if has_failed && !call.row.writes() && !needs_room {
        return Ok(());
    }
    match make_room(caller.turn) {
        Room::None if needs_room => Err(Error::new(Code::Oom, "command not allowed when used memory > 'maxmemory'.")),
        Room::NotYet => {
            state.timer.wake_by(i64::MIN);
            Ok(())
        }
        Room::None | Room::Enough => Ok(()),
    }
}

/// One round of the engine's thread, in which it makes room for as long as a call would. True when more is to be done.
pub fn relieve<'e>(state: &'e State, enter: impl FnOnce() -> Turn<'e>) -> bool {
    state.eviction.is_over(state) && make_room(&enter()) == Room::NotYet
}

/// The dropper is so far behind that those who write have to wait.
#[inline]
pub(super) fn is_behind(state: &State) -> bool {
    let leaving = state.dropper.leaving_bytes();
    leaving > 0
        && leaving > state.eviction.limit.load(Ordering::Relaxed) / BEHIND_SHARE
        && state.eviction.is_over(state)
}

/// Removes keys until there is room, nothing is left, or the time is over.
fn make_room(turn: &Turn<'_>) -> Room {
    let state = turn.state;
    let Some(limit) = state.eviction.limit() else { return Room::Enough };
    if !may_remove(turn) {
        return Room::Enough;
    }
    let is_enough = || {
        memory::fold_all();
        memory::total() <= limit.saturating_add(apart(state) + state.dropper.leaving_bytes())
    };
    if is_enough() {
        state.eviction.note_exceeded(state, false);
        return Room::Enough;
    }
    let room = match state.settings.policy() {
        None => Room::None,
        Some(policy) => remove_until(turn, policy, is_enough),
    };
    if room == Room::None {
        state.eviction.failed_ms.store(turn.now_ms, Ordering::Relaxed);
    }
    state.eviction.note_exceeded(state, room != Room::Enough);
    room
}

/// Whether keys may go by themselves now: not where what is due is only hidden, not before all are there, and not when
/// writers have to wait anyway.
fn may_remove(turn: &Turn<'_>) -> bool {
    let state = turn.state;
    state.expiry.get() == Due::Remove
        && !state.loading.load(Ordering::Relaxed)
        && state.hides_due_until(turn.now_ms).is_none()
        && !state.is_behind()
}

fn remove_until(turn: &Turn<'_>, policy: Policy, is_enough: impl Fn() -> bool) -> Room {
    let state = turn.state;
    let micros_max = time_limit_micros(state.settings.int(settings::MAXMEMORY_EVICTION_TENACITY));
    let began = state.ticks.raw();
    let mut vain = 0;
    while !is_enough() {
        let candidate = match choose(turn, policy) {
            Ok(candidate) => candidate,
            Err(room) => return room,
        };
        if !remove(turn, policy, candidate) {
            vain += 1;
        }
        if vain > VAIN_MAX || state.ticks.micros(state.ticks.raw().saturating_sub(began)) >= micros_max {
            return if is_enough() { Room::Enough } else { Room::NotYet };
        }
    }
    Room::Enough
}

/// The best of the pool, after some keys of a shard were added to it; of the shards after it, when that has none.
fn choose(turn: &Turn<'_>, policy: Policy) -> Result<Candidate, Room> {
    let first = turn.state.random() as usize % SHARD_COUNT;
    let mut is_all = true;
    for shard in first..first + SHARD_COUNT {
        is_all &= draw(turn, shard % SHARD_COUNT, policy);
        if let Some(candidate) = turn.state.eviction.pool.lock().take_best(policy) {
            return Ok(candidate);
        }
    }
    Err(if is_all { Room::None } else { Room::NotYet })
}

/// Adds some keys of each database of a shard to the pool; false when there was no time to see whether there are any.
fn draw(turn: &Turn<'_>, shard: usize, policy: Policy) -> bool {
    let state = turn.state;
    let count = usize::try_from(state.settings.int(settings::MAXMEMORY_SAMPLES)).unwrap_or(1);
    let mut cx = turn.shard_context(shard);
    let mut is_all = true;
    for db in 0..cx.held().get(shard).db_count() {
        if policy.order == Order::Deadline
            && let Some(data) = cx.held_mut().get_mut(shard).existing_mut(db)
        {
            is_all &= data.settle_deadlines(SETTLE_LOOKS);
        }
        let Some(data) = cx.held().get(shard).db(db).filter(|data| !data.is_empty()) else { continue };
        let mut pool = state.eviction.pool.lock();
        data.sample(policy, state.random(), count, |hash, entry| {
            pool.offer(policy, Candidate { score: policy.score(entry, cx.access()), db, hash });
        });
    }
    is_all
}

/// Removes a candidate, unless it has gone by itself or was used since it was drawn.
fn remove(turn: &Turn<'_>, policy: Policy, candidate: Candidate) -> bool {
    let Candidate { score, db, hash } = candidate;
    let mut cx = turn.shard_context(shard_of(hash));
    cx.select(db);
    let access = cx.access();
    let goes = |entry: &&Entry| policy.takes(entry) && policy.score(entry, access) >= score;
    let data = cx.held().get(shard_of(hash)).db(db);
    let found = data.and_then(|data| data.table().find_by_hash(hash).find(goes));
    let Some(name) = found.map(|entry| SmallVec::<[u8; 64]>::from_slice(entry.key())) else { return false };
    let key = Key { bytes: &name, hash };
    cx.remove_aside(&key);
    cx.notify(Event::EVICTED, &key);
    turn.state.stats.evicted_keys.fetch_add(1, Ordering::Relaxed);
    cx.tell_events();
    waiting::serve(&mut cx);
    cx.unlock();
    true
}

/// How long a call may be kept: Redis' steps, a line up to half a millisecond at 10, then 15 % more each.
fn time_limit_micros(tenacity: i64) -> u64 {
    match tenacity {
        100.. => u64::MAX,
        11.. => (500.0 * 1.15_f64.powi(tenacity as i32 - 10)) as u64,
        _ => 50 * tenacity.max(0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Client;
    use crate::testing::{TestEngine, Text, call_as};

    /// As much time as it takes: how slow this machine is does not matter.
    fn patient() -> TestEngine {
        let mut test = TestEngine::default();
        test.check("CONFIG SET maxmemory-eviction-tenacity 100 => OK");
        test
    }

    #[test]
    fn the_time_limit_has_the_steps_of_redis() {
        let expect = [(0, 0), (1, 50), (10, 500), (11, 575), (20, 2022), (100, u64::MAX)];
        for (tenacity, micros) in expect {
            assert_eq!(time_limit_micros(tenacity), micros, "{tenacity}");
        }
        assert!((100_000_000..200_000_000).contains(&time_limit_micros(99)));
    }

    #[test]
    fn keys_go_are_logged_as_deleted_told_of_and_counted() {
        let mut test = patient();
        let mut listener = test.another();
        test.check(
            "MSET a 1 b 2 => OK
            SELECT 3 => OK
            RPUSH c 1 => 1
            CONFIG SET notify-keyspace-events Ee => OK
            CONFIG SET maxmemory-policy allkeys-lru => OK",
        );
        call_as(&test.engine, &mut listener, &[b"PSUBSCRIBE", b"__keyevent@*"]);
        test.check("CONFIG SET maxmemory 1 => OK\n DBSIZE => 0\n SELECT 0 => OK\n DBSIZE => 0");
        let mut logged = test.logged();
        logged.drain(..2);
        logged.sort_unstable();
        assert_eq!(logged, ["DEL a", "DEL b", "DEL c"]);
        let mut heard = Text::new(true);
        Client::take_mail(&mut listener, &mut heard);
        assert_eq!(heard.out.matches("evicted").count(), 3, "{}", heard.out);
        let stats = &test.engine.state().stats;
        assert_eq!(stats.evicted_keys.load(Ordering::Relaxed), 3);
        test.check("CONFIG SET maxmemory 0 => OK\n SET a 1 => OK\n CONFIG RESETSTAT => OK");
        assert_eq!(test.engine.state().stats.evicted_keys.load(Ordering::Relaxed), 0);
        test.engine.leave(&mut listener);
    }

    #[test]
    fn a_key_goes_before_the_call_that_names_it() {
        let mut test = patient();
        test.check(
            "SET a 1 => OK
            CONFIG SET maxmemory 1 maxmemory-policy allkeys-random => OK
            APPEND a 2 => -OOM command not allowed when used memory > 'maxmemory'.
            EXISTS a => 0",
        );
        assert_eq!(test.logged(), ["SET a 1", "DEL a"]);
    }

    #[test]
    fn without_anything_to_remove_calls_that_need_memory_are_refused() {
        const REFUSED: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
        for policy in ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            let mut test = patient();
            test.check(&format!(
                "SET a 1 => OK
                MULTI => OK
                SET b 2 => QUEUED
                CONFIG SET maxmemory 1 maxmemory-policy {policy} => QUEUED
                INCR a => QUEUED
                EXEC => [OK, OK, 2]
                SET c 3 => {REFUSED}
                LPUSH l 1 => {REFUSED}
                GET a => \"2\"
                DEL b => 1
                EXPIRE a 100 NX => 1
                PERSIST a => {}",
                // One that may go does.
                u8::from(policy == "noeviction")
            ));
            assert_eq!(test.logged().iter().filter(|line| line.starts_with("SET c")).count(), 0);
        }
    }

    #[test]
    fn a_transaction_that_needs_memory_is_refused_whole() {
        const WHY: &str = "OOM command not allowed when used memory > 'maxmemory'.";
        let mut test = patient();
        test.check(
            "MULTI => OK
            SET a 1 => QUEUED
            GET a => QUEUED",
        );
        let mut other = test.another();
        call_as(&test.engine, &mut other, &[b"CONFIG", b"SET", b"maxmemory", b"1"]);
        test.check(&format!(
            "EXEC => -EXECABORT Transaction discarded because of: {WHY}
            MULTI => OK
            GET a => QUEUED
            DEL a => QUEUED
            EXEC => [nil, 0]
            MULTI => OK
            SET a 1 => -{WHY}
            GET a => QUEUED
            EXEC => -EXECABORT Transaction discarded because of previous errors."
        ));
        test.engine.leave(&mut other);
    }

    #[test]
    fn only_keys_with_a_deadline_go_when_the_policy_says_so() {
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            let mut test = patient();
            test.check(&format!("CONFIG SET maxmemory-policy {policy} => OK"));
            for number in 0..200 {
                test.call(&format!("SET keep{number} 1"));
                test.call(&format!("SET go{number} 1 EX {}", 1000 - number));
            }
            test.check("CONFIG SET maxmemory 1 => OK\n DBSIZE => 200\n CONFIG SET maxmemory 0 => OK");
            let gone: Vec<String> = test.logged().into_iter().filter(|line| line.starts_with("DEL ")).collect();
            assert!(gone.len() == 200 && gone.iter().all(|line| line.starts_with("DEL go")), "{policy}");
        }
    }

    /// With samples of so many keys that the choice is exact.
    #[test]
    fn the_key_that_goes_is_the_one_that_the_policy_means() {
        for (policy, expected) in [("allkeys-lru", "k7"), ("allkeys-lfu", "k3"), ("volatile-ttl", "k5")] {
            let mut test = TestEngine::default();
            test.check(&format!(
                "CONFIG SET maxmemory-policy {policy} maxmemory-samples 64 maxmemory-eviction-tenacity 0 lfu-log-factor 0 => OK"
            ));
            for number in 0..10 {
                test.call(&format!("SET k{number} 1 EX {}", 100 + (number + 5) % 10));
            }
            test.clock.advance(10_000);
            for number in (0..10).filter(|number| *number != 7) {
                test.call(&format!("GET k{number}"));
            }
            // Used in the last moment, so that it is not the one that was idle.
            test.call("GET k7");
            test.clock.advance(10_000);
            for number in (0..10).filter(|number| *number != 7) {
                test.call(&format!("GET k{number}"));
                if number != 3 {
                    test.call(&format!("GET k{number}"));
                }
            }
            (0..3).for_each(|_| drop(test.call("OBJECT FREQ k7")));
            if policy == "allkeys-lfu" {
                (0..9).for_each(|_| drop(test.call("GET k7")));
            }
            // All shards bring their keys into the pool before the first goes.
            let state = test.engine.state();
            let turn = test.engine.enter_blocking();
            let policy = state.settings.policy().expect("one that removes");
            (0..SHARD_COUNT).for_each(|shard| {
                draw(&turn, shard, policy);
            });
            let best = state.eviction.pool.lock().take_best(policy).expect("a key");
            assert!(remove(&turn, policy, best));
            drop(turn);
            assert_eq!(test.logged().last().map(String::as_str), Some(&*format!("DEL {expected}")));
        }
    }

    #[test]
    fn who_was_used_since_it_was_drawn_stays() {
        let mut test = TestEngine::default();
        test.check("CONFIG SET maxmemory-policy allkeys-lru => OK\n SET a 1 => OK");
        let policy = Policy { only_volatile: false, order: Order::LeastRecent };
        let draw_all = |test: &TestEngine| {
            let turn = test.engine.enter_blocking();
            (0..SHARD_COUNT).for_each(|shard| {
                draw(&turn, shard, policy);
            });
            test.engine.state().eviction.pool.lock().take_best(policy).expect("a key")
        };
        test.clock.advance(5000);
        let candidate = draw_all(&test);
        test.check("GET a => \"1\"");
        assert!(!remove(&test.engine.enter_blocking(), policy, candidate));
        test.clock.advance(5000);
        let candidate = draw_all(&test);
        assert!(remove(&test.engine.enter_blocking(), policy, candidate));
        assert!(!remove(&test.engine.enter_blocking(), policy, candidate), "it is gone");
        test.check("EXISTS a => 0");
    }

    #[test]
    fn a_watched_key_that_goes_has_changed() {
        let mut test = patient();
        test.check(
            "SET a 1 => OK
            WATCH a => OK
            CONFIG SET maxmemory-policy allkeys-lru maxmemory 1 => OK
            PING => PONG
            CONFIG SET maxmemory 0 => OK
            MULTI => OK
            SET a 2 => QUEUED
            EXEC => nil",
        );
    }

    #[test]
    fn nothing_goes_in_a_pause_or_while_data_are_loaded() {
        let mut test = patient();
        test.check("SET a 1 => OK\n CONFIG SET maxmemory-policy allkeys-lru => OK\n CLIENT PAUSE 1000 WRITE => OK");
        test.check("CONFIG SET maxmemory 1 => OK\n DBSIZE => 1");
        test.clock.advance(2000);
        let loading = &test.engine.state().loading;
        loading.store(true, Ordering::Relaxed);
        assert_eq!(make_room(&test.engine.enter_blocking()), Room::Enough);
        loading.store(false, Ordering::Relaxed);
        test.check("DBSIZE => 0");
    }

    #[test]
    fn a_replay_removes_nothing_and_refuses_nothing() {
        let mut test = patient();
        test.check("CONFIG SET maxmemory 1 => OK\n GET a => nil");
        let mut twin = TestEngine::replaying(2);
        twin.check("CONFIG SET maxmemory 1 maxmemory-policy allkeys-lru => OK\n SET a 1 => OK\n GET a => \"1\"");
    }

    #[test]
    fn large_values_count_as_gone_until_the_dropper_has_dropped_them() {
        let mut test = patient();
        let members: Vec<String> = (0..1000).map(|number| format!("member{number}")).collect();
        test.call(&format!("SADD big {}", members.join(" ")));
        test.check("CONFIG SET maxmemory-policy allkeys-lru => OK\n CONFIG SET maxmemory 1 => OK\n EXISTS big => 0");
        let begin = std::time::Instant::now();
        while test.engine.state().dropper.leaving_bytes() > 0 {
            assert!(begin.elapsed().as_secs() < 10, "it is dropped");
            std::thread::yield_now();
        }
        test.check("CONFIG SET maxmemory 0 => OK");
    }

    #[test]
    fn the_time_beyond_the_limit_is_counted() {
        let mut test = patient();
        test.check(
            "CONFIG SET maxmemory 1 => OK\n SET a 1 => -OOM command not allowed when used memory > 'maxmemory'.",
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
        let state = test.engine.state();
        let (total, current) = state.eviction.exceeded_ms(state);
        assert!(total >= 5 && total == current);
        test.check("CONFIG SET maxmemory 0 => OK\n SET a 1 => OK");
        let (total, current) = state_times(&test);
        assert!(total >= 5 && current == 0);
        test.check("CONFIG RESETSTAT => OK");
        assert_eq!(state_times(&test), (0, 0));
    }

    fn state_times(test: &TestEngine) -> (u64, u64) {
        let state = test.engine.state();
        state.eviction.exceeded_ms(state)
    }
}
