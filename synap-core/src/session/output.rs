//! How much may wait for clients that do not read: `client-output-buffer-limit`, as those see it who put something
//! there.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::settings::{OutputLimit, OutputLimits};

/// The limits in force, one object for all clients.
#[derive(Debug)]
pub struct Limits {
    pub normal: Limit,
    /// Of clients that subscribe, and of those that watch all calls.
    pub pubsub: Limit,
    /// The smallest of them: one comparison tells nearly everybody that it is not near any.
    smallest: AtomicUsize,
    /// Somebody has come near one since it was last looked after.
    is_someone_large: AtomicBool,
    /// Clients that were closed because they were beyond one.
    pub closed: AtomicU64,
}

/// The limit of a class. What is off is the largest number.
#[derive(Debug)]
pub struct Limit {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_ms: AtomicU64,
}

impl Default for Limits {
    fn default() -> Limits {
        let off = || Limit {
            hard_bytes: AtomicUsize::new(usize::MAX),
            soft_bytes: AtomicUsize::new(usize::MAX),
            soft_ms: AtomicU64::new(u64::MAX),
        };
        Limits {
            normal: off(),
            pubsub: off(),
            smallest: AtomicUsize::new(usize::MAX),
            is_someone_large: AtomicBool::new(false),
            closed: AtomicU64::new(0),
        }
    }
}

impl Limits {
    pub fn set(&self, limits: &OutputLimits) {
        self.normal.set(&limits.normal);
        self.pubsub.set(&limits.pubsub);
        let smallest = [&self.normal, &self.pubsub].map(Limit::smallest).into_iter().min();
        self.smallest.store(smallest.unwrap_or(usize::MAX), Ordering::Relaxed);
        // Those who wait already are measured anew.
        self.look_again();
    }

    /// True when `bytes` may be too many for somebody: then that client is to be looked at, now and later.
    #[inline]
    pub fn note(&self, bytes: usize) -> bool {
        let is_large = bytes > self.smallest.load(Ordering::Relaxed);
        if is_large {
            self.is_someone_large.store(true, Ordering::Relaxed);
        }
        is_large
    }

    /// A client is closed because of its limit.
    #[cold]
    pub fn note_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has still to be looked at.
    pub fn look_again(&self) {
        self.is_someone_large.store(true, Ordering::Relaxed);
    }

    /// Whether anybody has to be looked at, since this was last asked.
    pub fn take_someone_large(&self) -> bool {
        self.is_someone_large.swap(false, Ordering::Relaxed)
    }
}

impl Limit {
    fn set(&self, limit: &OutputLimit) {
        let bytes = |bytes| match bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        self.hard_bytes.store(bytes(limit.hard_bytes), Ordering::Relaxed);
        self.soft_bytes.store(bytes(limit.soft_bytes), Ordering::Relaxed);
        self.soft_ms.store(limit.soft_seconds.saturating_mul(1000), Ordering::Relaxed);
    }

    fn smallest(&self) -> usize {
        self.hard_bytes().min(self.soft_bytes())
    }

    #[inline]
    pub fn hard_bytes(&self) -> usize {
        self.hard_bytes.load(Ordering::Relaxed)
    }

    pub fn soft_bytes(&self) -> usize {
        self.soft_bytes.load(Ordering::Relaxed)
    }

    /// How long more than `soft_bytes` may wait.
    pub fn soft_ms(&self) -> u64 {
        self.soft_ms.load(Ordering::Relaxed)
    }
}
