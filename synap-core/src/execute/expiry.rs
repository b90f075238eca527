//! Expiry belongs here: due keys and fields that a call meets are removed under its locks and logged before its own
//! words, for reads too. Nothing else removes by time; what is not met is removed by the engine's thread, the same way.

use std::sync::atomic::Ordering;

use super::context::WriteCx;
use super::latency::event;
use super::notify::Event;
use super::state::{Due, State};
use super::turn::Turn;
use crate::grammar::{Key, Keys, Words};
use crate::keyspace::hasher::{SHARD_COUNT, shard_of};
use crate::types::hash::Hash;

/// Keys and fields that the engine's thread removes in one locking of a shard. A lock is held for some 20 µs.
const BUDGET: usize = 64;

/// How soon the engine's thread looks again whether the disk takes the log.
const FAILING_LOOK_MS: i64 = 100;

impl State {
    /// When something is due: until when it is only hidden, if it is. Nothing changes during a pause; and while the disk
    /// does not take the log, a removal would make what is safe unsafe, and reads of it would wait.
    pub(super) fn hides_due_until(&self, now_ms: i64) -> Option<i64> {
        self.pause.until(now_ms).or_else(|| self.log.is_failing().then_some(now_ms + FAILING_LOOK_MS))
    }
}

impl WriteCx<'_> {
    /// Removes what is due of the call's keys.
    #[inline]
    pub(super) fn meet(&mut self, words: Words<'_>, keys: &Keys) {
        if self.state().expiry.get() != Due::Remove {
            return;
        }
        for noted in &keys.keys {
            let key = Key { bytes: words[noted.index as usize], hash: noted.hash };
            // A waiter that is served looks at one of its keys, and the shards of the others need not be held.
            if self.may_serve_from(&key) || self.held().holds(shard_of(key.hash)) {
                self.meet_key(&key);
            }
        }
    }

    /// The same for a key in another database than the selected one, by whoever looks at it there.
    pub fn meet_in(&mut self, db: u32, key: &Key<'_>) {
        self.in_db(db, |cx| cx.meet_one(key));
    }

    /// The same for one key in the selected database.
    pub(super) fn meet_one(&mut self, key: &Key<'_>) {
        if self.state().expiry.get() == Due::Remove {
            self.meet_key(key);
        }
    }

    #[inline]
    fn meet_key(&mut self, key: &Key<'_>) {
        let now_ms = self.now_ms();
        let db = self.shard_of(key).db(self.db());
        if db.and_then(|db| db.next_deadline()).is_some_and(|deadline_ms| deadline_ms <= now_ms)
            && self.state().hides_due_until(now_ms).is_none()
        {
            self.expire_if_due(key, usize::MAX);
        }
    }

    /// The look itself, when something in the key's table is due. Of the fields of a hash `field_budget` go: all, when
    /// a call is to see the hash; some, when only the time has come.
    #[cold]
    fn expire_if_due(&mut self, key: &Key<'_>, field_budget: usize) {
        let now_ms = self.now_ms();
        let db = self.db();
        let Some(entry) = self.shard_of(key).db(db).and_then(|db| db.get(key.hash, key.bytes)) else { return };
        if entry.is_due(now_ms) {
            self.remove_aside(key);
            self.notify(Event::EXPIRED, key);
            self.state().stats.expired_keys.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let has_due_fields = match entry.value() {
            crate::keyspace::value::ValueRef::Hash(hash) => hash.next_due().is_some_and(|due| due <= now_ms),
            _ => false,
        };
        if has_due_fields {
            let names = match self.change_existing::<Hash>(key, "") {
                Ok(Some(mut hash)) => hash.take_due(now_ms, field_budget),
                _ => Vec::new(),
            };
            if names.is_empty() {
                return;
            }
            let mut words: Vec<&[u8]> = vec![b"HDEL", key.bytes];
            words.extend(names.iter().map(Vec::as_slice));
            self.record_aside(key.hash, &words);
            self.tell(key);
            self.notify(Event::FIELDS_EXPIRED, key);
            if !self.exists(key) {
                self.notify(Event::DEL, key);
            }
            self.state().stats.expired_fields.fetch_add(names.len() as u64, Ordering::Relaxed);
        }
    }

    /// Removes a key that no call names, and logs it.
    pub(super) fn remove_aside(&mut self, key: &Key<'_>) {
        let db = self.db();
        if let Some(entry) = self.shard_mut(key).existing_mut(db).and_then(|db| db.remove(key.hash, key.bytes)) {
            self.discard(entry);
        }
        self.record_aside(key.hash, &[b"DEL", key.bytes]);
        self.tell(key);
    }

    /// Removes up to [`BUDGET`] due keys and as many fields of one shard. True when more are due.
    fn expire_shard(&mut self, shard: usize) -> bool {
        let now_ms = self.now_ms();
        let mut more = false;
        for db in 0..self.held().get(shard).db_count() {
            self.select(db);
            let Some(data) = self.held_mut().get_mut(shard).existing_mut(db) else { continue };
            if data.next_deadline().is_none_or(|deadline_ms| deadline_ms > now_ms) {
                continue;
            }
            let keys = data.due(now_ms, BUDGET);
            let hashes = data.due_fields(now_ms, BUDGET);
            let mut with_fields: Vec<(u64, Box<[u8]>)> = Vec::new();
            for hash in hashes {
                for entry in data.table().find_by_hash(hash) {
                    if !with_fields.iter().any(|(_, key)| **key == *entry.key()) {
                        with_fields.push((hash, entry.key().into()));
                    }
                }
            }
            more |= data.next_deadline().is_some_and(|deadline_ms| deadline_ms <= now_ms);
            for due in keys {
                self.expire_if_due(&Key { bytes: &due.key, hash: due.hash }, BUDGET);
            }
            for (hash, key) in with_fields {
                let key = Key { bytes: &key, hash };
                match self.hash(&key).ok().flatten().and_then(Hash::next_due) {
                    // The field that was to go has gone or changed: the next one is not filed yet.
                    Some(due_ms) if due_ms > now_ms => self.file_fields(&key, due_ms),
                    _ => self.expire_if_due(&key, BUDGET),
                }
            }
        }
        more
    }
}

/// One round of the engine's thread: removes what is due, each shard under its own lock, in turns that anybody may
/// close the gate between. `enter` makes a turn. Returns when to come back, in Unix milliseconds.
pub fn expire_all<'e>(state: &'e State, mut enter: impl FnMut() -> Turn<'e>) -> i64 {
    state.timer.begin_round();
    let began = state.ticks.raw();
    let mut has_removed = false;
    let mut earliest_ms = i64::MAX;
    for shard in 0..SHARD_COUNT {
        loop {
            let turn = enter();
            let now_ms = turn.now_ms;
            if state.expiry.get() != Due::Remove || !state.expiry.active.load(Ordering::Relaxed) {
                return i64::MAX;
            }
            if let Some(until_ms) = state.hides_due_until(now_ms) {
                return until_ms;
            }
            let mut cx = turn.shard_context(shard);
            let next_ms = cx.held().get(shard).next_deadline().unwrap_or(i64::MAX);
            if next_ms > now_ms {
                cx.unlock();
                earliest_ms = earliest_ms.min(next_ms);
                break;
            }
            cx.expire_shard(shard);
            has_removed = true;
            cx.tell_events();
            super::waiting::serve(&mut cx);
            cx.unlock();
        }
    }
    if has_removed {
        let ticks = state.ticks.since(began);
        state.stats.expire_ticks.fetch_add(ticks, Ordering::Relaxed);
        state.latency.note(state, event::EXPIRE_CYCLE, state.ticks.micros(ticks));
    }
    state.timer.end_round(earliest_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{START_MS, TestEngine};

    fn expire(test: &TestEngine) {
        expire_all(test.engine.state(), || test.engine.enter_blocking());
    }

    /// Only the first deadline of a hash is filed: when its field goes before, the next one must not be forgotten.
    #[test]
    fn a_field_goes_at_its_time_when_the_one_before_it_has_gone_otherwise() {
        for other in ["HDEL h a", "HSET h a 2", "HPERSIST h FIELDS 1 a", "HPEXPIREAT h 1700000009000 FIELDS 1 a"] {
            let mut test = TestEngine::default();
            test.check(&format!(
                "HSET h a 1 b 1 c 1 => 3
                HPEXPIREAT h {} FIELDS 1 a => [1]
                HPEXPIREAT h {} FIELDS 1 b => [1]",
                START_MS + 100,
                START_MS + 200
            ));
            assert!(!test.call(other).starts_with('-'));
            test.clock.advance(100);
            expire(&test);
            assert!(test.dump().contains("\"b\"="), "{other}");
            test.clock.advance(100);
            expire(&test);
            assert!(!test.dump().contains("\"b\"="), "{other}: {}", test.dump());
        }
    }
}
