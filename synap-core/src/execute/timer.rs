//! When the engine's thread must wake next.
//!
//! The thread works in rounds: it says [`Timer::begin_round`], looks at each shard under the shard's lock, and then
//! sleeps until the earliest deadline that it saw. Whoever sets a deadline says [`Timer::wake_by`] under the same lock.
//! So the thread either sees the deadline when it looks, or `wake_by` comes after the beginning of the round, lowers
//! `next_ms` and leaves a token with the thread, which ends its sleep or keeps it from falling asleep.

use std::time::Duration;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::sync::thread::{self, Thread};

/// The longest sleep: a clock that is set forward is noticed after it.
const SLEEP_MS_MAX: i64 = 3_600_000;

pub struct Timer {
    next_ms: AtomicI64,
    thread: Mutex<Option<Thread>>,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

impl Timer {
    pub fn new() -> Timer {
        Timer { next_ms: AtomicI64::new(i64::MAX), thread: Mutex::new(None) }
    }

    /// Makes the thread wake at `deadline_ms` at the latest.
    #[inline]
    pub fn wake_by(&self, deadline_ms: i64) {
        if deadline_ms < self.next_ms.load(Ordering::Relaxed)
            && self.next_ms.fetch_min(deadline_ms, Ordering::AcqRel) > deadline_ms
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
    }

    /// The calling thread is the one to wake; `false` says that it goes.
    pub fn attach(&self, here: bool) {
        *self.thread.lock() = here.then(thread::current);
    }

    /// Said by the engine's thread before it looks at the shards: deadlines that come later count anew.
    pub fn begin_round(&self) {
        // An exchange, not a store: what the round looks at afterwards must not be read before it.
        self.next_ms.swap(i64::MAX, Ordering::SeqCst);
    }

    /// The thread has seen that nothing is due before `earliest_ms`; returns when to begin the next round. Unlike
    /// [`Timer::wake_by`] it wakes nobody: a thread that woke itself would never sleep.
    pub fn end_round(&self, earliest_ms: i64) -> i64 {
        self.next_ms.fetch_min(earliest_ms, Ordering::AcqRel).min(earliest_ms)
    }

    /// Sleeps until `next_ms`, or shorter; not at all when something earlier came up meanwhile.
    pub fn sleep(&self, next_ms: i64, now_ms: i64) {
        let wait_ms = next_ms.saturating_sub(now_ms).min(SLEEP_MS_MAX);
        if wait_ms > 0 && self.next_ms.load(Ordering::Acquire) >= next_ms {
            thread::park_timeout(Duration::from_millis(wait_ms.unsigned_abs()));
        }
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_search {
    use std::sync::Arc;

    use super::*;
    use crate::execute::gate::Gate;
    use crate::sync::atomic::AtomicBool;
    use crate::sync::{block_on, search};

    /// Two shards, each with its earliest deadline; the time is zero. Shuttle's timeouts do not end by themselves, so a
    /// schedule in which the engine's thread sleeps through a deadline fails.
    #[test]
    fn no_deadline_is_slept_through() {
        search(|| {
            let timer = Arc::new(Timer::new());
            let shards = Arc::new([Mutex::new(i64::MAX), Mutex::new(i64::MAX)]);
            let setters: Vec<_> = [[(0, 90), (1, 50)], [(1, 70), (0, 30)]]
                .into_iter()
                .map(|deadlines| {
                    let (timer, shards) = (timer.clone(), shards.clone());
                    thread::spawn(move || {
                        for (shard, deadline_ms) in deadlines {
                            let mut earliest = shards[shard].lock();
                            *earliest = deadline_ms.min(*earliest);
                            timer.wake_by(deadline_ms);
                        }
                    })
                })
                .collect();
            let gate = Arc::new(Gate::new());
            let paused = Arc::new(AtomicBool::new(true));
            let closer = {
                let (gate, paused, timer) = (gate.clone(), paused.clone(), timer.clone());
                thread::spawn(move || {
                    drop(block_on(gate.close()));
                    paused.store(false, Ordering::SeqCst);
                    timer.wake_by(20);
                    drop(block_on(gate.close()));
                })
            };
            timer.attach(true);
            loop {
                timer.begin_round();
                // Waiting at the gate swallows tokens that were meant for the sleep.
                let look = |shard: &Mutex<i64>| {
                    let _inside = block_on(gate.enter(0));
                    *shard.lock()
                };
                let earliest_ms = shards.iter().map(look).min().expect("two");
                // A round that breaks off, because of a pause, has no deadline to sleep until.
                let breaks_off = paused.load(Ordering::SeqCst);
                let _ = look(&shards[0]);
                let next_ms = if breaks_off { i64::MAX } else { timer.end_round(earliest_ms) };
                if earliest_ms == 30 && !breaks_off {
                    break;
                }
                // A deadline that was only heard of, at the end of the round, is in time too: that sleep ends by itself.
                if next_ms > 30 {
                    timer.sleep(next_ms, 0);
                }
            }
            setters.into_iter().chain([closer]).for_each(|thread| thread.join().unwrap());
        });
    }
}
