//! CLIENT PAUSE: calls of everybody wait until a time, all or those that write. Before the server ends, those that write
//! wait for good.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::row::{Command, Flags};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// How long a call waits, before it looks again, that may not run because the disk does not keep up.
pub const BEHIND_LOOK: std::time::Duration = std::time::Duration::from_millis(2);

/// Begun only with the gate closed, so that nothing is in flight when the command answers.
pub struct Pause {
    /// Unix milliseconds; zero when there is no pause.
    until_ms: AtomicI64,
    /// Reads wait too.
    all: AtomicBool,
    changes: Mutex<Changes>,
}

/// What the pause is made of, how often it was changed, and who waits for the next time.
#[derive(Default)]
struct Changes {
    /// Until when, and whether reads wait too, as CLIENT PAUSE said it.
    by_clients: (i64, bool),
    /// Ends of the server that are being prepared.
    ends: usize,
    count: u64,
    last_ticket: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Default for Pause {
    /// No pause.
    fn default() -> Pause {
        Pause { until_ms: AtomicI64::new(0), all: AtomicBool::new(false), changes: Mutex::new(Changes::default()) }
    }
}

impl Pause {
    /// Begins or prolongs a pause: the later end and the stricter kind win, as in Redis.
    pub fn begin(&self, until_ms: i64, all: bool, now_ms: i64) {
        self.change(|changes| {
            let (current, all_before) = changes.by_clients;
            let running = current > now_ms;
            changes.by_clients =
                (if running { current.max(until_ms) } else { until_ms }, all || (running && all_before));
        });
    }

    /// Ends what [`Pause::begin`] has begun.
    pub fn end(&self) {
        self.change(|changes| changes.by_clients = (0, false));
    }

    /// The server is about to end: nothing is written any more, whatever clients say of pauses.
    pub fn begin_end(&self) {
        self.change(|changes| changes.ends += 1);
    }

    /// It does not end after all.
    pub fn call_off_end(&self) {
        self.change(|changes| changes.ends -= 1);
    }

    fn change(&self, change: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes.lock();
        change(&mut changes);
        let (until_ms, all) = changes.by_clients;
        self.all.store(all, Ordering::Relaxed);
        self.until_ms.store(if changes.ends > 0 { i64::MAX } else { until_ms }, Ordering::Release);
        drop(changes);
        self.say_changed();
    }

    fn say_changed(&self) {
        // Wakers are woken without the lock. (As the iterator of a `for`, the guard would live until its end.)
        let waiting = {
            let mut changes = self.changes.lock();
            changes.count += 1;
            std::mem::take(&mut changes.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    /// Until when, if there is a pause at `now_ms`.
    #[inline]
    pub fn until(&self, now_ms: i64) -> Option<i64> {
        let until = self.until_ms.load(Ordering::Acquire);
        (until > now_ms).then_some(until)
    }

    /// Pauses everything, not only writes.
    pub fn is_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }

    /// True when a call of `row` must wait.
    #[inline]
    pub fn holds(&self, row: &Command, now_ms: i64) -> bool {
        self.until_ms.load(Ordering::Acquire) != 0
            && self.until(now_ms).is_some()
            && !row.flags.has(Flags::IMMEDIATE.and(Flags::NO_AUTH))
            && (row.writes()
                || row.flags.has(Flags::MAY_REPLICATE)
                || (self.is_all() && !row.flags.has(Flags::ADMIN) && row.first_word() != "CLIENT"))
    }

    /// How often the pause was changed: with it, whoever is stopped by this pause waits for the next change.
    pub fn change_count(&self) -> u64 {
        self.changes.lock().count
    }

    /// Waits until somebody changes the pause that stopped a call ([`crate::session::Session::paused_at`]), and not at
    /// all when that has happened or there is none; the caller also waits for its end by the clock, then tries again.
    /// Dropping the future at any point is safe.
    pub fn changed_since(&self, paused_at: u64) -> Changed<'_> {
        Changed { pause: self, seen: paused_at, ticket: None }
    }
}

/// The future of [`Pause::changed_since`].
#[must_use = "futures do nothing unless awaited"]
pub struct Changed<'a> {
    pause: &'a Pause,
    /// The count of changes that the caller knows of.
    seen: u64,
    ticket: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut changes = self.pause.changes.lock();
        if changes.count != self.seen || self.pause.until_ms.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            changes.last_ticket += 1;
            changes.last_ticket
        });
        let old = changes.waiting.insert(ticket, waker);
        drop(changes);
        drop(old);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let old = self.pause.changes.lock().waiting.remove(&ticket);
            drop(old); // without the lock
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn whatever_clients_say_nobody_writes_before_the_end() {
        let pause = Pause::default();
        pause.begin(100, true, 1);
        pause.begin_end();
        pause.end();
        assert_eq!(pause.until(200), Some(i64::MAX));
        pause.begin(300, false, 200);
        pause.begin_end();
        pause.call_off_end();
        assert_eq!(pause.until(400), Some(i64::MAX));
        pause.call_off_end();
        assert_eq!((pause.until(200), pause.until(400)), (Some(300), None), "theirs goes on");
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_search {
    use std::sync::Arc;

    use super::*;
    use crate::sync::{block_on, search, thread};

    /// Whoever waits for a change as the doors do goes on when the pause ends, however often it is changed.
    #[test]
    fn nobody_sleeps_through_the_end_of_a_pause() {
        search(|| {
            let pause = Arc::new(Pause::default());
            pause.begin(100, true, 1);
            let waiting: Vec<_> = (0..2)
                .map(|_| {
                    let pause = pause.clone();
                    thread::spawn(move || {
                        loop {
                            let changed = pause.changed_since(pause.change_count());
                            if pause.until(1).is_none() {
                                return;
                            }
                            block_on(changed);
                        }
                    })
                })
                .collect();
            pause.begin(200, false, 1);
            pause.end();
            pause.begin(100, true, 1);
            pause.end();
            waiting.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(pause.changes.lock().waiting.is_empty());
        });
    }
}
