//! LATENCY: what took longer than `latency-monitor-threshold` milliseconds, by kind of event, for the last seconds in
//! which it happened.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use super::state::State;
use crate::settings;

/// Seconds that are kept of each event.
const SAMPLES_MAX: usize = 160;

/// The events that there are.
pub mod event {
    /// A call that is not O(1) or O(log N).
    pub const COMMAND: &str = "command";
    /// One that is.
    pub const FAST_COMMAND: &str = "fast-command";
    /// A round of the engine's thread that removes what is due.
    pub const EXPIRE_CYCLE: &str = "expire-cycle";
    /// The disk's part in the log.
    pub use crate::log::times::{FSYNC, FSYNC_ALWAYS, WRITE};
}

/// The longest of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at_s: i64,
    pub ms: u64,
}

/// One event's past, the oldest second first.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub samples: VecDeque<Sample>,
    /// Since the last reset.
    pub max_ms: u64,
}

#[derive(Debug, Default)]
pub struct Latency(Mutex<BTreeMap<&'static str, History>>);

impl Latency {
    /// Notes that `event` took so long, when that is beyond the threshold.
    pub fn note(&self, state: &State, event: &'static str, micros: u64) {
        let threshold_ms = u64::try_from(state.settings.int(settings::LATENCY_MONITOR_THRESHOLD)).unwrap_or(0);
        let ms = micros / 1000;
        if threshold_ms > 0 && ms >= threshold_ms {
            self.add(event, Sample { at_s: state.clock.now_ms() / 1000, ms });
        }
    }

    fn add(&self, event: &'static str, sample: Sample) {
        let mut events = self.0.lock();
        let history = events.entry(event).or_default();
        history.max_ms = history.max_ms.max(sample.ms);
        if let Some(last) = history.samples.back_mut().filter(|last| last.at_s == sample.at_s) {
            last.ms = last.ms.max(sample.ms);
            return;
        }
        if history.samples.len() == SAMPLES_MAX {
            history.samples.pop_front();
        }
        history.samples.push_back(sample);
    }

    /// Everything that was noted.
    pub fn all(&self) -> Vec<(&'static str, History)> {
        self.0.lock().iter().map(|(event, history)| (*event, history.clone())).collect()
    }

    pub fn get(&self, event: &str) -> Option<History> {
        self.0.lock().get(event).cloned()
    }

    /// Forgets the events that `wanted` names; returns how many there were.
    pub fn reset(&self, wanted: impl Fn(&str) -> bool) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|event, _| !wanted(event));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_the_past_an_end() {
        let latency = Latency::default();
        for (at_s, ms) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            latency.add("x", Sample { at_s, ms });
        }
        let history = latency.get("x").unwrap();
        assert_eq!(history.samples, [Sample { at_s: 1, ms: 9 }, Sample { at_s: 2, ms: 3 }]);
        assert_eq!(history.max_ms, 9);
        (3..1000).for_each(|at_s| latency.add("x", Sample { at_s, ms: 1 }));
        assert_eq!(latency.get("x").unwrap().samples.len(), SAMPLES_MAX);
        assert_eq!((latency.reset(|event| event == "y"), latency.reset(|_| true)), (0, 1));
        assert!(latency.all().is_empty());
    }
}
