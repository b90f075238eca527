//! Counters of calls, and the slow ones.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Call;
use super::row::{Command, Flags};
use super::state::State;
use crate::error::Error;
use crate::session::Session;

/// Counters by row, and of errors by code.
#[derive(Debug)]
pub struct Stats {
    rows: Box<[RowStats]>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    pub expired_keys: AtomicU64,
    pub expired_fields: AtomicU64,
    pub keyspace_hits: AtomicU64,
    pub keyspace_misses: AtomicU64,
}

#[derive(Debug, Default)]
pub struct RowStats {
    pub calls: AtomicU64,
    /// Raw ticks of the engine's clock.
    pub ticks: AtomicU64,
    /// Refused before they ran.
    pub rejected: AtomicU64,
    /// Ran and answered an error.
    pub failed: AtomicU64,
}

impl Stats {
    pub fn new(rows: usize) -> Stats {
        Stats {
            rows: (0..rows).map(|_| RowStats::default()).collect(),
            errors: Mutex::default(),
            expired_keys: AtomicU64::new(0),
            expired_fields: AtomicU64::new(0),
            keyspace_hits: AtomicU64::new(0),
            keyspace_misses: AtomicU64::new(0),
        }
    }

    pub fn row(&self, id: usize) -> Option<&RowStats> {
        self.rows.get(id)
    }

    pub(super) fn ran(&self, row: usize, calls: u64, ticks: u64) {
        if let Some(stats) = self.rows.get(row) {
            stats.calls.fetch_add(calls, Ordering::Relaxed);
            stats.ticks.fetch_add(ticks, Ordering::Relaxed);
        }
    }

    pub(super) fn rejected(&self, row: Option<&Command>, error: &Error) {
        if let Some(stats) = row.and_then(|row| self.rows.get(row.id)) {
            stats.rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.note(error);
    }

    pub(super) fn failed(&self, row: &Command, error: &Error) {
        if let Some(stats) = self.rows.get(row.id) {
            stats.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.note(error);
    }

    fn note(&self, error: &Error) {
        *self.errors.lock().entry(error.code.word()).or_default() += 1;
    }

    /// Everything from zero again.
    pub fn reset(&self) {
        for row in &self.rows {
            for counter in [&row.calls, &row.ticks, &row.rejected, &row.failed] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        self.errors.lock().clear();
        for counter in [&self.expired_keys, &self.expired_fields, &self.keyspace_hits, &self.keyspace_misses] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Errors answered, by their code.
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.errors.lock().iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Calls that ran.
    pub fn total_calls(&self) -> u64 {
        self.rows.iter().map(|row| row.calls.load(Ordering::Relaxed)).sum()
    }
}

/// One slow call.
#[derive(Clone, Debug)]
pub struct SlowCall {
    pub id: u64,
    pub at_ms: i64,
    pub micros: u64,
    /// At most 32 words of at most 128 bytes.
    pub words: Vec<Vec<u8>>,
    pub addr: String,
    /// The client's name, cut as a word is: it may be as long as a call.
    pub name: String,
}

/// The slow calls, newest first.
#[derive(Debug)]
pub struct Slowlog {
    threshold_ticks: AtomicU64,
    threshold_micros: AtomicI64,
    ticks_per_micro: f64,
    next_id: AtomicU64,
    calls: Mutex<VecDeque<SlowCall>>,
}

impl Slowlog {
    pub(super) fn new(ticks: &quanta::Clock) -> Slowlog {
        // How many raw ticks a microsecond has, from the clock's own calibration.
        let nanos = ticks.delta_as_nanos(0, 1_000_000_000).max(1);
        let log = Slowlog {
            threshold_ticks: AtomicU64::new(u64::MAX),
            threshold_micros: AtomicI64::new(-1),
            ticks_per_micro: 1_000_000_000_f64 / nanos as f64 * 1000.0,
            next_id: AtomicU64::new(0),
            calls: Mutex::default(),
        };
        log.set_threshold(10_000);
        log
    }

    /// `slowlog-log-slower-than`; negative notes nothing.
    pub fn set_threshold(&self, micros: i64) {
        let ticks = if micros < 0 { u64::MAX } else { (micros as f64 * self.ticks_per_micro) as u64 };
        self.threshold_micros.store(micros, Ordering::Relaxed);
        self.threshold_ticks.store(ticks, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn threshold_ticks(&self) -> u64 {
        self.threshold_ticks.load(Ordering::Relaxed)
    }

    /// Microseconds of that many raw ticks.
    pub fn micros(&self, ticks: u64) -> u64 {
        (ticks as f64 / self.ticks_per_micro) as u64
    }

    pub(super) fn note(&self, state: &State, call: &Call<'_>, session: &Session, at_ms: i64, ticks: u64) {
        let is_shown = |index| index < call.row.name_words() || !call.row.flags.has(Flags::SECRET);
        let shown = |(index, word): (usize, &&[u8])| match is_shown(index) {
            true => word[..word.len().min(128)].to_vec(),
            false => b"(redacted)".to_vec(),
        };
        let words = call.words.iter().take(32).enumerate().map(shown).collect();
        let slow = SlowCall {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            at_ms,
            micros: self.micros(ticks),
            words,
            addr: session.client.addr.clone(),
            name: session.client.info.lock().name.chars().take(128).collect(),
        };
        let max = usize::try_from(state.settings.int(crate::settings::SLOWLOG_MAX_LEN)).unwrap_or(0);
        let mut calls = self.calls.lock();
        calls.push_front(slow);
        calls.truncate(max);
    }

    pub fn calls(&self) -> Vec<SlowCall> {
        self.calls.lock().iter().cloned().collect()
    }
}
