//! How long the disk takes, for whoever wants to know: LATENCY.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the disk does for the log, as LATENCY names it.
pub const WRITE: &str = "aof-write";
pub const FSYNC: &str = "aof-fsync";
/// An fsync that replies wait for.
pub const FSYNC_ALWAYS: &str = "aof-fsync-always";

type Tell = Box<dyn Fn(&'static str, Duration) + Send + Sync>;

#[derive(Default)]
pub struct DiskTimes {
    /// While nobody wants to know, no clock is read.
    watched: AtomicBool,
    tell: OnceLock<Tell>,
}

impl DiskTimes {
    /// Who is told. Said once.
    pub fn tell_to(&self, tell: impl Fn(&'static str, Duration) + Send + Sync + 'static) {
        // The first one stays: a log belongs to one engine.
        let _ = self.tell.set(Box::new(tell));
    }

    pub fn watch(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    #[inline]
    pub fn begin(&self) -> Option<Instant> {
        self.watched.load(Ordering::Relaxed).then(Instant::now)
    }

    /// The end of what [`DiskTimes::begin`] began. The caller holds no lock that the one who is told may need.
    #[inline]
    pub fn end(&self, event: &'static str, began: Option<Instant>) {
        if let Some((began, tell)) = began.zip(self.tell.get()) {
            tell(event, began.elapsed());
        }
    }
}

impl fmt::Debug for DiskTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskTimes({:?})", self.watched)
    }
}
