//! Client-side caching in the life of a call: what a read remembers, and what a change tells.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::WriteCx;
use crate::grammar::{Keys, Words};
use crate::keyspace::hasher::{SHARD_COUNT, shard_of};
use crate::session::{Session, Tracker};
use crate::settings;

/// Somebody is to hear of a key, or of all of them.
pub struct Invalid {
    trackers: Vec<Arc<Tracker>>,
    key: Option<Arc<[u8]>>,
}

impl WriteCx<'_> {
    /// Remembers the keys of a call that has run, when it is a read and the session has asked for it.
    #[cold]
    pub(super) fn remember(&mut self, session: &mut Session, is_read: bool, words: Words<'_>, keys: &Keys) {
        if let Some(tracking) = &mut session.tracking
            && tracking.takes_next()
            && is_read
        {
            let tracker = tracking.tracker.clone();
            self.remember_for(&tracker, words, keys);
        }
    }

    pub(super) fn remember_for(&mut self, tracker: &Arc<Tracker>, words: Words<'_>, keys: &Keys) {
        let state = self.state();
        let max = usize::try_from(state.settings.int(settings::TRACKING_TABLE_MAX_KEYS)).unwrap_or(0);
        for noted in &keys.keys {
            let (key, shard) = (words[noted.index as usize], shard_of(noted.hash));
            let trackers = &mut self.held_mut().get_mut(shard).trackers;
            if !trackers.contains_key(key) {
                state.trackers.key_count.fetch_add(1, Ordering::Relaxed);
                trackers.insert(key.into(), Vec::new());
            }
            let Some(known) = trackers.get_mut(key) else { continue };
            if !known.iter().any(|other| Arc::ptr_eq(other, tracker)) {
                known.retain(|other| !other.has_ended());
                known.push(tracker.clone());
            }
            // As if it had changed: what is not remembered must not be cached.
            let is_full = max > 0 && trackers.len() > max.div_ceil(SHARD_COUNT);
            if is_full && let Some(victim) = trackers.keys().find(|other| ***other != *key).cloned() {
                self.invalidate(shard, &victim);
            }
        }
    }

    /// Notes that those who have read `key` are to hear that it has changed, and those who hear of its prefix.
    pub(super) fn invalidate(&mut self, shard: usize, key: &[u8]) {
        let state = self.state();
        let mut trackers = self.held_mut().get_mut(shard).trackers.remove(key).unwrap_or_default();
        if !trackers.is_empty() {
            state.trackers.key_count.fetch_sub(1, Ordering::Relaxed);
        }
        if state.trackers.has_broadcasts() {
            trackers.extend(state.trackers.with_prefix_of(key));
        }
        if !trackers.is_empty() {
            self.invalid().push(Invalid { trackers, key: Some(key.into()) });
        }
    }

    /// The same for all keys. Needs to be alone.
    pub(super) fn invalidate_all(&mut self) {
        let state = self.state();
        for shard in 0..SHARD_COUNT {
            self.held_mut().get_mut(shard).trackers.clear();
        }
        state.trackers.key_count.store(0, Ordering::Relaxed);
        let trackers = state.trackers.all();
        if !trackers.is_empty() {
            self.invalid().push(Invalid { trackers, key: None });
        }
    }

    /// Sends what was noted; it is in the log. Who has read keys hears of each by itself, who hears of prefixes of all with
    /// the same one together.
    #[cold]
    pub(super) fn send_invalid(&mut self) {
        let mut news: Vec<News> = Vec::new();
        for Invalid { trackers, key } in std::mem::take(self.invalid()) {
            for tracker in trackers {
                let prefix = key.as_ref().and_then(|key| tracker.prefix_of(key));
                let is_same = |other: &&mut News| Arc::ptr_eq(&other.tracker, &tracker) && other.prefix == prefix;
                let together = prefix.and_then(|_| news.iter_mut().find(is_same));
                match (together.and_then(|news| news.keys.as_mut()), &key) {
                    // A call that changes a key twice tells of it once.
                    (Some(keys), Some(key)) if keys.contains(key) => {}
                    (Some(keys), Some(key)) => keys.push(key.clone()),
                    _ => news.push(News { tracker, prefix, keys: key.clone().map(|key| vec![key]) }),
                }
            }
        }
        let (seen, by) = (self.seen(), self.caller());
        let registry = &self.state().registry;
        for News { tracker, keys, .. } in news {
            let waker = tracker.tell(registry, keys, by, seen);
            self.wakers().extend(waker);
        }
    }
}

/// One message to be sent.
struct News {
    tracker: Arc<Tracker>,
    prefix: Option<usize>,
    keys: Option<Vec<Arc<[u8]>>>,
}
