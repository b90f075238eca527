//! When an entry was last used, or how often: the 32 bits that evictions go by.
//!
//! ```text
//! last use    Unix time in seconds 32
//! frequency   0 8 | minutes of the last use 16 | counter 8
//! ```
//!
//! The counter is Redis': it rises by chance, ever more slowly, and falls with the minutes in which nobody came.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::Entry;

/// What an access leaves behind, the same for all accesses of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Seconds.
    clock: u32,
    /// Frequencies are counted instead of times.
    frequency: Option<Frequency<'a>>,
}

/// How an entry is used, as a snapshot or RESTORE tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Seconds since the last access.
    pub idle_s: Option<u64>,
    /// How often it is accessed: the logarithm that Redis keeps.
    pub frequency: Option<u8>,
}

/// How frequencies are counted.
#[derive(Clone, Copy, Debug)]
pub struct Frequency<'a> {
    /// `lfu-log-factor`: the larger, the more accesses it takes.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes after which a counter falls by one; 0 never.
    pub decay_minutes: u32,
    pub random: &'a Random,
}

/// What the counter of a new entry begins with, so that it is not the first to go.
const INITIAL: u8 = 5;

impl<'a> Access<'a> {
    pub const fn new(now_ms: i64, frequency: Option<Frequency<'a>>) -> Access<'a> {
        Access { clock: now_ms.div_euclid(1000) as u32, frequency }
    }

    /// What a new entry gets.
    #[inline]
    pub fn fresh(&self) -> u32 {
        match self.frequency {
            None => self.clock,
            Some(_) => self.packed(INITIAL),
        }
    }

    /// Notes an access. An entry that is used again within the same second is only read.
    #[inline]
    pub fn note(&self, entry: &Entry) {
        if let Some(frequency) = &self.frequency {
            self.count(frequency, entry);
        } else if entry.access() != self.clock {
            entry.set_access(self.clock);
        }
    }

    #[cold]
    fn count(&self, frequency: &Frequency<'_>, entry: &Entry) {
        entry.set_access(self.packed(frequency.raised(self.decayed(entry))));
    }

    /// Gives an entry from elsewhere the usage that is told of it, as far as it is of the kind that is noted here;
    /// otherwise it counts as used just now.
    pub fn bring_in(&self, entry: &Entry, usage: Usage) {
        let access = match (self.frequency, usage) {
            (None, Usage { idle_s: Some(idle_s), .. }) => {
                self.clock.saturating_sub(u32::try_from(idle_s).unwrap_or(u32::MAX))
            }
            (Some(_), Usage { frequency: Some(counter), .. }) => self.packed(counter),
            _ => self.fresh(),
        };
        entry.set_access(access);
    }

    /// How an entry is used, to be told elsewhere.
    pub fn usage(&self, entry: &Entry) -> Usage {
        Usage { idle_s: self.idle_seconds(entry).map(u64::from), frequency: self.frequency(entry) }
    }

    fn minutes(&self) -> u16 {
        (self.clock / 60) as u16
    }

    fn packed(&self, counter: u8) -> u32 {
        u32::from(self.minutes()) << 8 | u32::from(counter)
    }

    /// The counter, less what the minutes since the last access have taken.
    pub(super) fn decayed(&self, entry: &Entry) -> u8 {
        let decay_minutes = self.frequency.map_or(0, |frequency| frequency.decay_minutes);
        let (then, counter) = ((entry.access() >> 8) as u16, entry.access() as u8);
        // Another thread's turn may have begun a minute later.
        let elapsed = self.minutes().wrapping_sub(then).checked_add(1).map_or(0, |more| more - 1);
        let periods = u32::from(elapsed).checked_div(decay_minutes).unwrap_or(0);
        counter.saturating_sub(periods.min(u32::from(u8::MAX)) as u8)
    }

    /// Seconds since the last access; `None` when frequencies are counted.
    pub fn idle_seconds(&self, entry: &Entry) -> Option<u32> {
        // Another thread's turn may have begun a second later.
        let idle = self.clock.wrapping_sub(entry.access()) as i32;
        self.frequency.is_none().then_some(idle.max(0) as u32)
    }

    /// The counter as it is now; `None` when times are noted.
    pub fn frequency(&self, entry: &Entry) -> Option<u8> {
        self.frequency.is_some().then(|| self.decayed(entry))
    }
}

impl Frequency<'_> {
    /// The counter after an access.
    fn raised(&self, counter: u8) -> u8 {
        let above = f64::from(counter.saturating_sub(INITIAL));
        let chance = 1.0 / (above * f64::from(self.log_factor) + 1.0);
        // 53 bits are what a double between 0 and 1 has.
        let throw = (self.random.next() >> 11) as f64 / (1_u64 << 53) as f64;
        if throw < chance { counter.saturating_add(1) } else { counter }
    }
}

/// A sequence of numbers that its seed determines (splitmix64).
#[derive(Debug)]
pub struct Random(AtomicU64);

impl Random {
    pub const fn new(seed: u64) -> Random {
        Random(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::value::Value;

    const START_MS: i64 = 1_700_000_000_000;

    fn entry(access: &Access<'_>) -> Entry {
        let entry = Entry::new(b"key", Value::Int(1));
        entry.set_access(access.fresh());
        entry
    }

    #[test]
    fn idle_time_is_since_the_last_access() {
        let at = |seconds: i64| Access::new(START_MS + seconds * 1000, None);
        let entry = entry(&at(0));
        assert_eq!(at(100).idle_seconds(&entry), Some(100));
        at(70).note(&entry);
        assert_eq!((at(100).idle_seconds(&entry), at(100).frequency(&entry)), (Some(30), None));
        assert_eq!(at(69).idle_seconds(&entry), Some(0));
    }

    #[test]
    fn usage_comes_from_elsewhere_when_it_is_of_the_same_kind() {
        let random = Random::new(1);
        let frequency = Frequency { log_factor: 10, decay_minutes: 1, random: &random };
        let (by_time, by_count) = (Access::new(START_MS, None), Access::new(START_MS, Some(frequency)));
        let entry = Entry::new(b"key", Value::Int(1));
        let (idle, often) = (Some(70), Some(9));
        by_time.bring_in(&entry, Usage { idle_s: idle, frequency: often });
        assert_eq!(by_time.usage(&entry), Usage { idle_s: idle, frequency: None });
        by_time.bring_in(&entry, Usage { idle_s: None, frequency: often });
        assert_eq!(by_time.idle_seconds(&entry), Some(0));
        by_time.bring_in(&entry, Usage { idle_s: Some(u64::MAX), frequency: None });
        assert_eq!(by_time.idle_seconds(&entry), Some((START_MS / 1000) as u32));
        by_count.bring_in(&entry, Usage { idle_s: idle, frequency: often });
        assert_eq!(by_count.usage(&entry), Usage { idle_s: None, frequency: often });
        by_count.bring_in(&entry, Usage { idle_s: idle, frequency: None });
        assert_eq!(by_count.frequency(&entry), Some(INITIAL));
    }

    #[test]
    fn counters_rise_slowly_and_fall_with_time() {
        let random = Random::new(1);
        let at = |minutes: i64, log_factor, decay_minutes| {
            let frequency = Frequency { log_factor, decay_minutes, random: &random };
            Access::new(START_MS + minutes * 60_000, Some(frequency))
        };
        let entry = entry(&at(0, 10, 1));
        assert_eq!((at(0, 10, 1).frequency(&entry), at(0, 10, 1).idle_seconds(&entry)), (Some(5), None));
        (0..1000).for_each(|_| at(0, 10, 1).note(&entry));
        let counter = at(0, 10, 1).frequency(&entry).expect("a counter");
        // The table in redis.conf says 18 for 1,000 hits at this factor.
        assert!((14..=24).contains(&counter), "{counter}");
        assert_eq!(at(3, 10, 1).frequency(&entry), Some(counter - 3));
        assert_eq!(at(3, 10, 0).frequency(&entry), Some(counter));
        assert_eq!(at(1000, 10, 1).frequency(&entry), Some(0));
        assert_eq!(at(-1, 10, 1).frequency(&entry), Some(counter));
        (0..300).for_each(|_| at(0, 0, 1).note(&entry));
        assert_eq!(at(0, 10, 1).frequency(&entry), Some(255));
        // Minutes are counted to 2^16, then from the beginning.
        assert_eq!(at(65_536 + 2, 10, 1).frequency(&entry), Some(253));
    }
}
