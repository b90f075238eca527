//! Counters of calls, of what they found, and of the errors that they were answered with.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::row::Command;
use super::state::State;
use super::times::{Histogram, Times};
use crate::error::Error;

/// Counters by row, and of errors by code.
#[derive(Debug)]
pub struct Stats {
    rows: Box<[RowStats]>,
    /// Codes are ours, so there are not many.
    errors: Mutex<BTreeMap<&'static str, u64>>,
    /// `latency-tracking`.
    pub tracks_times: AtomicBool,
    /// Calls that take so many raw ticks, or more, are noted somewhere: in SLOWLOG, or by LATENCY.
    pub(super) long_ticks: AtomicU64,
    pub expired_keys: AtomicU64,
    pub expired_fields: AtomicU64,
    /// Removed because memory was full.
    pub evicted_keys: AtomicU64,
    /// Closed because clients took too much memory.
    pub evicted_clients: AtomicU64,
    /// Closed because they sent more than `client-query-buffer-limit`.
    pub query_limit_closed: AtomicU64,
    pub keyspace_hits: AtomicU64,
    pub keyspace_misses: AtomicU64,
    /// Raw ticks that the engine's thread spent removing what was due.
    pub expire_ticks: AtomicU64,
    rates: Mutex<Rates>,
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
    /// Made by the first call: most rows are never called.
    times: OnceLock<Box<Times>>,
}

impl RowStats {
    /// How long its calls took, if there were any since `latency-tracking` is on.
    pub fn times(&self) -> Option<Histogram> {
        self.times.get().map(|times| times.snapshot()).filter(|times| times.count() > 0)
    }
}

impl Stats {
    pub fn new(rows: usize) -> Stats {
        Stats {
            rows: (0..rows).map(|_| RowStats::default()).collect(),
            errors: Mutex::default(),
            tracks_times: AtomicBool::new(true),
            long_ticks: AtomicU64::new(u64::MAX),
            expired_keys: AtomicU64::new(0),
            expired_fields: AtomicU64::new(0),
            evicted_keys: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            query_limit_closed: AtomicU64::new(0),
            keyspace_hits: AtomicU64::new(0),
            keyspace_misses: AtomicU64::new(0),
            expire_ticks: AtomicU64::new(0),
            rates: Mutex::default(),
        }
    }

    pub fn row(&self, id: usize) -> Option<&RowStats> {
        self.rows.get(id)
    }

    #[inline]
    pub(super) fn long_ticks(&self) -> u64 {
        self.long_ticks.load(Ordering::Relaxed)
    }

    /// Counts calls of one row, which took so many ticks in all, and each as long as its bucket says.
    pub(super) fn ran(&self, row: usize, ticks: u64, buckets: &[u8]) {
        if let Some(stats) = self.rows.get(row) {
            stats.calls.fetch_add(buckets.len() as u64, Ordering::Relaxed);
            stats.ticks.fetch_add(ticks, Ordering::Relaxed);
            if self.tracks_times.load(Ordering::Relaxed) {
                stats.times.get_or_init(Box::default).add(buckets);
            }
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
            if let Some(times) = row.times.get() {
                times.reset();
            }
        }
        self.errors.lock().clear();
        let counters = [
            &self.expired_keys,
            &self.expired_fields,
            &self.evicted_keys,
            &self.evicted_clients,
            &self.query_limit_closed,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expire_ticks,
        ];
        for counter in counters {
            counter.store(0, Ordering::Relaxed);
        }
        *self.rates.lock() = Rates::default();
    }

    /// Errors answered, by their code.
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.errors.lock().iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Calls that ran.
    pub fn total_calls(&self) -> u64 {
        self.rows.iter().map(|row| row.calls.load(Ordering::Relaxed)).sum()
    }

    /// Notes how far the totals are. Said by the program every now and then: the rates are those between.
    pub fn sample(&self, state: &State) {
        let (net_in, net_out) = state.registry.net_bytes();
        let totals = Totals { calls: self.total_calls(), net_in, net_out };
        self.rates.lock().add(state.clock.now_ms(), totals);
    }

    /// What happens in a second, by the last few samples; zeros while there are none.
    pub fn rates(&self) -> Totals {
        self.rates.lock().per_second()
    }
}

/// What is counted as it goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub calls: u64,
    /// Bytes that clients have sent, and were sent.
    pub net_in: u64,
    pub net_out: u64,
}

/// Samples that are kept.
const SAMPLES_MAX: usize = 16;

/// The last samples, the oldest first.
#[derive(Debug, Default)]
struct Rates(VecDeque<(i64, Totals)>);

impl Rates {
    fn add(&mut self, now_ms: i64, totals: Totals) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now_ms, totals));
    }

    fn per_second(&self) -> Totals {
        let (Some((from_ms, from)), Some((to_ms, to))) = (self.0.front(), self.0.back()) else {
            return Totals::default();
        };
        // The clock may have been set.
        let elapsed_ms = u64::try_from(to_ms - from_ms).unwrap_or(0).max(1);
        let rate = |from: u64, to: u64| to.saturating_sub(from).saturating_mul(1000) / elapsed_ms;
        Totals {
            calls: rate(from.calls, to.calls),
            net_in: rate(from.net_in, to.net_in),
            net_out: rate(from.net_out, to.net_out),
        }
    }
}

/// Keys that the reads of one turn found and did not find: added to the statistics when it ends.
#[derive(Debug, Default)]
pub struct Lookups {
    hits: Cell<u32>,
    misses: Cell<u32>,
}

impl Lookups {
    #[inline]
    pub(super) fn note(&self, found: bool) {
        let count = if found { &self.hits } else { &self.misses };
        count.set(count.get().wrapping_add(1));
    }

    #[inline]
    pub(super) fn flush(&self, stats: &Stats) {
        for (count, total) in [(&self.hits, &stats.keyspace_hits), (&self.misses, &stats.keyspace_misses)] {
            if count.get() > 0 {
                total.fetch_add(count.take().into(), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_between_the_first_and_the_last_sample() {
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(), Totals::default());
        for n in 0..20 {
            rates.add(n * 500, Totals { calls: n as u64 * 50, net_in: n as u64 * 7, net_out: 3 });
        }
        assert_eq!(rates.per_second(), Totals { calls: 100, net_in: 14, net_out: 0 });
    }
}
