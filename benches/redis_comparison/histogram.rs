//! Latencies, counted in buckets at most 1.6 % wide.

use std::time::Duration;

const SUB_BITS: u32 = 6;
const SUB_COUNT: usize = 1 << SUB_BITS;

#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; SUB_COUNT * (64 - SUB_BITS as usize + 1)], total: 0 }
    }

    #[inline]
    pub fn add(&mut self, latency: Duration) {
        self.counts[bucket_of(latency.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The latency that this share of all did not exceed, in microseconds.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return (start_of(bucket) + start_of(bucket + 1)) / 2.0 / 1e3;
            }
        }
        0.0
    }
}

/// Values below 64 have a bucket each; above, each doubling is cut into 64.
fn bucket_of(ns: u64) -> usize {
    let shift = (63 - (ns | 1).leading_zeros()).saturating_sub(SUB_BITS);
    if ns < SUB_COUNT as u64 { ns as usize } else { (shift as usize) * SUB_COUNT + (ns >> shift) as usize }
}

fn start_of(bucket: usize) -> f64 {
    if bucket < 2 * SUB_COUNT {
        return bucket as f64;
    }
    let shift = bucket / SUB_COUNT - 1;
    ((bucket - shift * SUB_COUNT) as f64) * (shift as f64).exp2()
}
