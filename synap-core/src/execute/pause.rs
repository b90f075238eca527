//! CLIENT PAUSE: calls of everybody wait until a time, all or those that write.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::row::{Command, Flags};

/// Changed only with the gate closed, so that nothing is in flight when the command answers.
#[derive(Debug, Default)]
pub struct Pause {
    /// Unix milliseconds; zero when there is no pause.
    until_ms: AtomicI64,
    /// Reads wait too.
    all: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Pause {
    /// Begins or prolongs a pause: the later end and the stricter kind win, as in Redis.
    pub fn begin(&self, until_ms: i64, all: bool, now_ms: i64) {
        let current = self.until_ms.load(Ordering::Relaxed);
        let running = current > now_ms;
        self.all.store(all || (running && self.all.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.until_ms.store(if running { current.max(until_ms) } else { until_ms }, Ordering::Release);
        self.wake_all();
    }

    pub fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
        self.wake_all();
    }

    fn wake_all(&self) {
        for waker in std::mem::take(&mut *self.waiting.lock()) {
            waker.wake();
        }
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

    /// Waits until somebody changes the pause; the caller also waits for its end by the clock, then tries again.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        let seen = self.until_ms.load(Ordering::Acquire);
        std::future::poll_fn(move |cx| {
            if self.until_ms.load(Ordering::Acquire) != seen {
                return Poll::Ready(());
            }
            self.waiting.lock().push(cx.waker().clone());
            if self.until_ms.load(Ordering::Acquire) != seen { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}
