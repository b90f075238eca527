//! How long calls take: ticks of a cheap clock, and histograms of them.
//!
//! ```text
//! bucket    0   1   2   3   4   5   6   7   8  …
//! ticks   <20  20  24  28  32  40  48  56  64  …   four buckets for each doubling, so a time is known to a quarter
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The clock of durations: raw ticks of the processor where it has steady ones. Reading it takes some 10 ns.
#[derive(Debug)]
pub struct Ticks {
    clock: quanta::Clock,
    per_micro: f64,
}

impl Default for Ticks {
    fn default() -> Ticks {
        let clock = quanta::Clock::new();
        // From the clock's own calibration.
        let nanos = clock.delta_as_nanos(0, 1_000_000_000).max(1);
        Ticks { clock, per_micro: 1_000_000_000_f64 / nanos as f64 * 1000.0 }
    }
}

impl Ticks {
    #[inline]
    pub fn raw(&self) -> u64 {
        self.clock.raw()
    }

    /// Since `began`, in raw ticks.
    #[inline]
    pub fn since(&self, began: u64) -> u64 {
        self.raw().saturating_sub(began)
    }

    pub fn micros(&self, ticks: u64) -> u64 {
        self.micros_f(ticks) as u64
    }

    pub fn micros_f(&self, ticks: u64) -> f64 {
        ticks as f64 / self.per_micro
    }

    /// The ticks of a time.
    pub fn of(&self, time: Duration) -> u64 {
        self.of_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    /// The ticks of so many microseconds.
    pub fn of_micros(&self, micros: u64) -> u64 {
        (micros as f64 * self.per_micro) as u64
    }
}

/// Shorter times are in the first bucket: some 5 ns, less than the clock can tell.
const SHORTEST_BITS: u32 = 4;
const PER_DOUBLING_BITS: u32 = 2;
const PER_DOUBLING: usize = 1 << PER_DOUBLING_BITS;
/// The last bucket begins beyond an hour.
const DOUBLINGS: usize = 40;

pub const BUCKET_COUNT: usize = DOUBLINGS * PER_DOUBLING;

/// The bucket of a time.
#[inline]
pub fn bucket_of(ticks: u64) -> u8 {
    let ticks = ticks.max(1 << SHORTEST_BITS);
    let doubling = ticks.ilog2();
    let part = (ticks >> (doubling - PER_DOUBLING_BITS)) as usize & (PER_DOUBLING - 1);
    let index = (doubling - SHORTEST_BITS) as usize * PER_DOUBLING + part;
    index.min(BUCKET_COUNT - 1) as u8
}

/// The first time that is in `bucket`, but for those that are shorter than any.
fn start_of(bucket: usize) -> u64 {
    let doubling = (bucket / PER_DOUBLING) as u32 + SHORTEST_BITS;
    ((PER_DOUBLING + bucket % PER_DOUBLING) as u64) << (doubling - PER_DOUBLING_BITS)
}

/// How many calls took how long.
#[derive(Debug)]
pub struct Times([AtomicU64; BUCKET_COUNT]);

impl Default for Times {
    fn default() -> Times {
        Times([const { AtomicU64::new(0) }; BUCKET_COUNT])
    }
}

impl Times {
    /// Counts calls, by their buckets.
    #[inline]
    pub fn add(&self, buckets: &[u8]) {
        if let [bucket] = buckets {
            self.0[usize::from(*bucket)].fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Neighbours are mostly of the same few buckets: an atomic for each of those, not for each call.
        let mut counts = [0_u8; BUCKET_COUNT];
        for chunk in buckets.chunks(usize::from(u8::MAX)) {
            chunk.iter().for_each(|bucket| counts[usize::from(*bucket)] += 1);
            for bucket in chunk {
                let count = std::mem::take(&mut counts[usize::from(*bucket)]);
                if count > 0 {
                    self.0[usize::from(*bucket)].fetch_add(count.into(), Ordering::Relaxed);
                }
            }
        }
    }

    pub fn reset(&self) {
        self.0.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// As it is now.
    pub fn snapshot(&self) -> Histogram {
        Histogram(self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

/// [`Times`] at one moment.
#[derive(Clone, Debug)]
pub struct Histogram(Box<[u64]>);

impl Histogram {
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that so many of a hundred calls do not exceed, in ticks. Within a bucket, times are taken as evenly spread.
    pub fn percentile(&self, percent: f64) -> u64 {
        let rank = (percent / 100.0 * self.count() as f64).ceil().max(1.0);
        let mut below = 0.0;
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if below + count >= rank {
                let (start, end) = (start_of(bucket), start_of(bucket + 1));
                return start + ((end - start) as f64 * (rank - below) / count) as u64;
            }
            below += count;
        }
        0
    }

    /// How many took at most `ticks`, about: a bucket counts as a whole when its middle is below.
    pub fn up_to(&self, ticks: u64) -> u64 {
        let is_below = |bucket: &usize| start_of(*bucket).midpoint(start_of(*bucket + 1)) <= ticks;
        (0..BUCKET_COUNT).take_while(is_below).map(|bucket| self.0[bucket]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for bucket in 0..BUCKET_COUNT - 1 {
            let (start, end) = (start_of(bucket), start_of(bucket + 1));
            assert!(start < end && (end - start) * 4 <= start);
            assert_eq!((usize::from(bucket_of(start)), usize::from(bucket_of(end - 1))), (bucket, bucket));
        }
        assert_eq!((bucket_of(0), usize::from(bucket_of(u64::MAX))), (0, BUCKET_COUNT - 1));
    }

    #[test]
    fn percentiles_are_near_the_truth() {
        let times = Times::default();
        let all: Vec<u64> = (1..=10_000).map(|n| n * 100).collect();
        times.add(&all.iter().map(|ticks| bucket_of(*ticks)).collect::<Vec<_>>());
        let histogram = times.snapshot();
        assert_eq!(histogram.count(), 10_000);
        for percent in [0.0, 1.0, 50.0, 99.0, 99.9, 100.0] {
            let truth = all[((percent / 100.0 * 10_000.0) as usize).saturating_sub(1)] as f64;
            let told = histogram.percentile(percent) as f64;
            assert!((told - truth).abs() <= truth / 4.0 + 100.0, "{percent}: {told} for {truth}");
        }
        assert_eq!((histogram.up_to(0), histogram.up_to(u64::MAX)), (0, 10_000));
    }
}
