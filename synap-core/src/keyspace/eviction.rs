//! Which keys go when memory is full: a few are drawn, and the best of all that were drawn so far goes.
//!
//! As in Redis, the best of what was drawn stay in a small pool from one eviction to the next, which makes few draws as
//! good as many. A candidate is known by its hash: whoever takes it looks whether it is there, and whether it was used
//! since, which Redis does not.

use super::access::Access;
use super::entry::Entry;

/// What a setting `maxmemory-policy` that removes anything says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Only keys with a deadline go.
    pub only_volatile: bool,
    pub order: Order,
}

/// Which of them go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Those that were not used for the longest time.
    LeastRecent,
    /// Those that are used least.
    LeastFrequent,
    /// Those whose deadline is the nearest.
    Deadline,
    /// Any.
    Random,
}

impl Policy {
    /// True when it asks when or how often keys are used.
    pub fn goes_by_usage(self) -> bool {
        matches!(self.order, Order::LeastRecent | Order::LeastFrequent)
    }

    /// True when `entry` may go at all.
    pub fn takes(self, entry: &Entry) -> bool {
        !self.only_volatile || entry.expires_at().is_some()
    }

    /// How much better it is that `entry` goes than that others go: of two, the one with more goes.
    pub fn score(self, entry: &Entry, access: &Access<'_>) -> u64 {
        match self.order {
            Order::LeastRecent => u64::from(u32::MAX - entry.access()),
            Order::LeastFrequent => u64::from(u8::MAX - access.decayed(entry)),
            Order::Deadline => entry.expires_at().map_or(0, |at_ms| u64::MAX - u64::try_from(at_ms).unwrap_or(0)),
            Order::Random => 0,
        }
    }
}

/// Candidates that are kept: as many as Redis keeps.
const POOL_MAX: usize = 16;

/// A key that may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub score: u64,
    pub db: u32,
    pub hash: u64,
}

/// The best candidates, the best last.
#[derive(Debug, Default)]
pub struct Pool {
    /// Scores of another policy mean nothing.
    policy: Option<Policy>,
    candidates: Vec<Candidate>,
}

impl Pool {
    /// Takes `candidate` in, if it is better than the worst or there is room.
    pub fn offer(&mut self, policy: Policy, candidate: Candidate) {
        if self.policy != Some(policy) {
            self.policy = Some(policy);
            self.candidates.clear();
        }
        let is_full = self.candidates.len() == POOL_MAX;
        let is_known = |known: &Candidate| (known.db, known.hash) == (candidate.db, candidate.hash);
        if (is_full && candidate.score <= self.candidates[0].score) || self.candidates.iter().any(is_known) {
            return;
        }
        if is_full {
            self.candidates.remove(0);
        }
        // Of equals the one that came first goes first.
        let at = self.candidates.partition_point(|known| known.score < candidate.score);
        self.candidates.insert(at, candidate);
    }

    /// Takes out the best.
    pub fn take_best(&mut self, policy: Policy) -> Option<Candidate> {
        if self.policy == Some(policy) { self.candidates.pop() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::value::Value;

    const LRU: Policy = Policy { only_volatile: false, order: Order::LeastRecent };

    fn candidate(score: u64, hash: u64) -> Candidate {
        Candidate { score, db: 0, hash }
    }

    #[test]
    fn the_pool_keeps_the_best_and_gives_the_best_first() {
        let mut pool = Pool::default();
        for number in 0..100_u64 {
            pool.offer(LRU, candidate(number * 37 % 100, number));
        }
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take_best(LRU)).map(|candidate| candidate.score).collect();
        assert_eq!(taken, (100 - POOL_MAX as u64..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_key_is_in_the_pool_once_and_equals_go_in_turn() {
        let mut pool = Pool::default();
        for hash in [1, 2, 1, 3] {
            pool.offer(LRU, candidate(7, hash));
        }
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take_best(LRU)).map(|candidate| candidate.hash).collect();
        assert_eq!(taken, [1, 2, 3]);
    }

    #[test]
    fn another_policy_begins_anew() {
        let mut pool = Pool::default();
        pool.offer(LRU, candidate(7, 1));
        let other = Policy { only_volatile: true, ..LRU };
        assert_eq!(pool.take_best(other), None);
        pool.offer(other, candidate(1, 2));
        assert_eq!((pool.take_best(other), pool.take_best(LRU)), (Some(candidate(1, 2)), None));
    }

    #[test]
    fn scores_follow_the_policy() {
        let entry = |clock: u32, deadline_ms: Option<i64>| {
            let entry = Entry::new(b"k", Value::Int(1)).until(deadline_ms);
            entry.set_access(clock);
            entry
        };
        let access = Access::new(0, None);
        let score = |order, entry: &Entry| Policy { only_volatile: false, order }.score(entry, &access);
        assert!(score(Order::LeastRecent, &entry(5, None)) > score(Order::LeastRecent, &entry(6, None)));
        assert!(score(Order::Deadline, &entry(0, Some(5))) > score(Order::Deadline, &entry(0, Some(6))));
        assert!(score(Order::Deadline, &entry(0, Some(i64::MAX))) > score(Order::Deadline, &entry(0, None)));
        assert!(score(Order::LeastFrequent, &entry(5, None)) > score(Order::LeastFrequent, &entry(6, None)));
        let volatile = Policy { only_volatile: true, order: Order::Random };
        assert_eq!((volatile.takes(&entry(0, None)), volatile.takes(&entry(0, Some(1)))), (false, true));
    }
}
