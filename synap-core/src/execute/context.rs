//! What a handler may touch. [`ReadCx`] has no method that changes data, so a read that writes does not compile;
//! [`WriteCx`] is the only way to change it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Deref};
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::guards::{Change, Collection};
use super::notify::{Event, Pending};
use super::shards::{Held, PlaceRef, Shard};
use super::state::{Due, State, Trash};
use super::stats::Lookups;
use super::tracking::Invalid;
use super::{Call, Caller, Turn};
use crate::error::{Error, Result};
use crate::grammar::Key;
use crate::keyspace::EntryMut;
use crate::keyspace::access::{Access, Usage};
use crate::keyspace::cut::Old;
use crate::keyspace::db::{Db, Expiry, Stored};
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::{SHARD_COUNT, shard_of};
use crate::keyspace::value::{Kind, Value};
use crate::log;
use crate::session::{self, Session};
use crate::types::hash::{Hash, is_live};
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;
use crate::types::{Elem, Limits};

/// The shards of a call, to read.
pub struct ReadCx<'t> {
    state: &'t State,
    held: Held<'t>,
    db: u32,
    now_ms: i64,
    due: Due,
    /// Accesses are not noted: `CLIENT NO-TOUCH`.
    quiet: bool,
    /// Whose call it is; 0 for the engine's own work.
    caller: u64,
    /// What is looked up is counted as found or not: the call is a read.
    counts: bool,
    access: &'t Access<'t>,
    lookups: &'t Lookups,
    /// While a waiter is served: the one key that it may look at.
    only: Option<u64>,
}

impl<'t> ReadCx<'t> {
    pub fn state(&self) -> &'t State {
        self.state
    }

    /// Unix milliseconds; the same for the whole call.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub fn db(&self) -> u32 {
        self.db
    }

    pub fn limits(&self) -> &'static Limits {
        self.state.settings.limits()
    }

    /// The entry of `key`, unless its time has come. An access.
    #[inline]
    pub fn get(&self, key: &Key<'_>) -> Option<&Entry> {
        let entry = self.peek(key)?;
        if !self.quiet {
            self.access.note(entry);
        }
        Some(entry)
    }

    /// [`ReadCx::get`] that is no access: for what is asked about a key instead of its value.
    #[inline]
    pub fn peek(&self, key: &Key<'_>) -> Option<&Entry> {
        let found = self.look(key);
        if self.counts {
            self.lookups.note(found.is_some());
        }
        found
    }

    /// [`ReadCx::peek`] that is not counted.
    #[inline]
    pub(super) fn look(&self, key: &Key<'_>) -> Option<&Entry> {
        let entry = self.shard_of(key).db(self.db)?.get(key.hash, key.bytes)?;
        if self.due != Due::Show && entry.is_due(self.now_ms) { None } else { Some(entry) }
    }

    /// True when a deadline that the call is about to set is over already, and the key goes at once. Never where nothing
    /// is removed by time: the log says by itself what became of the key.
    pub fn is_over(&self, deadline_ms: i64) -> bool {
        self.due == Due::Remove && deadline_ms <= self.now_ms
    }

    /// When and how often entries were used.
    pub fn access(&self) -> &'t Access<'t> {
        self.access
    }

    /// Not an access.
    pub fn exists(&self, key: &Key<'_>) -> bool {
        self.peek(key).is_some()
    }

    /// Not an access.
    pub fn kind(&self, key: &Key<'_>) -> Option<Kind> {
        self.peek(key).map(Entry::kind)
    }

    /// The string at `key`.
    #[inline]
    pub fn string(&self, key: &Key<'_>) -> Result<Option<Elem<'_>>> {
        match self.get(key) {
            None => Ok(None),
            Some(entry) => entry.as_string().map(Some).ok_or(Error::WRONG_TYPE),
        }
    }

    /// The collection at `key`.
    #[inline]
    pub fn collection<T: Collection>(&self, key: &Key<'_>) -> Result<Option<&T>> {
        match self.get(key) {
            None => Ok(None),
            Some(entry) => T::of(entry.value()).map(Some).ok_or(Error::WRONG_TYPE),
        }
    }

    pub fn hash(&self, key: &Key<'_>) -> Result<Option<&Hash>> {
        self.collection(key)
    }
    pub fn list(&self, key: &Key<'_>) -> Result<Option<&List>> {
        self.collection(key)
    }
    pub fn set(&self, key: &Key<'_>) -> Result<Option<&Set>> {
        self.collection(key)
    }
    pub fn zset(&self, key: &Key<'_>) -> Result<Option<&ZSet>> {
        self.collection(key)
    }

    /// A field's value, unless the field's time has come.
    #[inline]
    pub fn field<'h>(&self, hash: &'h Hash, field: &[u8]) -> Option<Elem<'h>> {
        if self.due == Due::Show { hash.get(field) } else { hash.get_live(field, self.now_ms) }
    }

    /// The same with the field's deadline.
    pub fn field_entry<'h>(&self, hash: &'h Hash, field: &[u8]) -> Option<(Elem<'h>, Option<i64>)> {
        hash.get_entry(field).filter(|(_, deadline_ms)| self.is_field_visible(*deadline_ms))
    }

    /// True when a field with this deadline has not come to its time.
    pub fn is_field_visible(&self, deadline_ms: Option<i64>) -> bool {
        self.due == Due::Show || is_live(deadline_ms, self.now_ms)
    }

    /// True when a hash has fields that have come to their time and are hidden: in a pause, or on a replica.
    pub fn hides_fields(&self, hash: &Hash) -> bool {
        self.due != Due::Show && hash.next_due().is_some_and(|due_ms| due_ms <= self.now_ms)
    }

    /// How many of a hash's fields have not come to their time.
    pub fn field_count(&self, hash: &Hash) -> usize {
        if self.due == Due::Show { hash.len() } else { hash.len_live(self.now_ms) }
    }

    /// The fields of a hash that have not come to their time.
    pub fn fields<'h>(&self, hash: &'h Hash) -> impl Iterator<Item = (Elem<'h>, Elem<'h>)> + use<'h> {
        let now_ms = if self.due == Due::Show { i64::MIN } else { self.now_ms };
        hash.iter_live(now_ms).map(|(field, value, _)| (field, value))
    }

    /// False on a replica, where a read keeps nothing: only the master's log changes data there.
    pub fn may_keep(&self) -> bool {
        self.due != Due::Hide
    }

    /// A key that the call found by itself; its shard is reachable only when the call is alone.
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.state.hasher.hash(bytes) }
    }

    /// True when a blocking call may look at `key`: always, but while it is served, when only one key is open to it.
    pub fn may_serve_from(&self, key: &Key<'_>) -> bool {
        self.only.is_none_or(|hash| hash == key.hash)
    }

    /// Database `db` of every shard that is held, by its number.
    pub fn dbs(&self, db: u32) -> impl Iterator<Item = (usize, &Db)> {
        (0..SHARD_COUNT)
            .filter(|&index| self.held.holds(index))
            .filter_map(move |index| self.held.get(index).db(db).map(|db| (index, db)))
    }

    /// True when `entry` has not come to its time, and neither have all fields of a hash: for whoever finds entries
    /// without having met their keys.
    pub fn is_visible(&self, entry: &Entry) -> bool {
        let has_live_fields =
            |hash: &Hash| hash.next_due().is_none_or(|due_ms| due_ms > self.now_ms) || hash.len_live(self.now_ms) > 0;
        self.due == Due::Show || (!entry.is_due(self.now_ms) && Hash::of(entry.value()).is_none_or(has_live_fields))
    }

    /// True when `key` is there but its time has come: it is hidden, because a pause or a replica removes nothing.
    pub(super) fn hides(&self, key: &Key<'_>) -> bool {
        let entry = self.shard_of(key).db(self.db).and_then(|db| db.get(key.hash, key.bytes));
        entry.is_some_and(|entry| !self.is_visible(entry))
    }

    pub(super) fn shard_of(&self, key: &Key<'_>) -> &Shard {
        self.held.get(shard_of(key.hash))
    }

    pub(super) fn held(&self) -> &Held<'t> {
        &self.held
    }

    /// Keys of a shard that somebody watches, and keys that blocked calls wait for.
    pub(super) fn observed_in(&self, shard: usize) -> (usize, usize) {
        let shard = self.held.get(shard);
        (shard.watchers.len(), shard.waiters.len())
    }

    /// The largest log offset of what this call could see.
    pub(super) fn seen(&self) -> u64 {
        if self.held.is_alone() {
            return self.state.log.end();
        }
        self.held.indexes().map(|shard| self.held.get(shard).last_offset).max().unwrap_or(0)
    }
}

/// The shards of a call, to change.
pub struct WriteCx<'t> {
    read: ReadCx<'t>,
    /// Shards that changed since the last append.
    changed_mask: u64,
    changed: bool,
    /// What most calls do not need. Kept apart so that a context is small: it is made for every call.
    aside: Option<Box<Aside>>,
}

/// See [`WriteCx::aside`].
#[derive(Default)]
struct Aside {
    /// What to log instead of the call's own words; empty: the words.
    instead: log::Unit,
    /// In a transaction: everything is gathered and appended at its end.
    gathered: Option<log::Unit>,
    /// Keys that blocked calls may now be served from: database, name, hash.
    ready: VecDeque<(u32, Box<[u8]>, u64)>,
    /// Large values, to be dropped when nothing is locked.
    trash: Vec<Trash>,
    /// Of clients that got something: woken without the locks, which they would only run into.
    wakers: Vec<Waker>,
    /// What happened to keys, until the change is in the log.
    events: Vec<Pending>,
    /// Who is to hear of what, until the same.
    invalid: Vec<Invalid>,
}

impl Drop for WriteCx<'_> {
    /// A handler that panics between a change and its record leaves data that replicas and the next start would not
    /// have. Only what the log tells is still right: the process ends before the locks are given back and somebody sees
    /// the other state.
    #[inline]
    fn drop(&mut self) {
        if (self.changed || self.changed_mask != 0) && std::thread::panicking() {
            std::process::abort();
        }
    }
}

impl<'t> Deref for WriteCx<'t> {
    type Target = ReadCx<'t>;
    #[inline]
    fn deref(&self) -> &ReadCx<'t> {
        &self.read
    }
}

impl<'t> WriteCx<'t> {
    #[inline]
    pub(super) fn new(
        state: &'t State,
        held: Held<'t>,
        db: u32,
        now_ms: i64,
        access: &'t Access<'t>,
        lookups: &'t Lookups,
    ) -> WriteCx<'t> {
        let due = state.expiry.get();
        WriteCx {
            read: ReadCx {
                state,
                held,
                db,
                now_ms,
                due,
                quiet: false,
                caller: 0,
                counts: false,
                access,
                lookups,
                only: None,
            },
            changed_mask: 0,
            changed: false,
            aside: None,
        }
    }

    // ---- changing data ----

    /// Stores a string; the fast path of SET.
    #[inline]
    pub fn set_string(&mut self, key: &Key<'_>, bytes: &[u8], expiry: Expiry, event: Event) {
        let access = self.read.access;
        let old = self.kind_for_events(key);
        let stored = self.db_of(key).set_bytes(key.hash, key.bytes, bytes, expiry, access);
        self.stored(key, stored, expiry);
        self.tell_stored(key, old, event);
    }

    /// Stores a value of any kind.
    pub fn set_value(&mut self, key: &Key<'_>, value: Value, expiry: Expiry, event: Event) {
        let access = self.read.access;
        let old = self.kind_for_events(key);
        let stored = self.db_of(key).insert(key.hash, key.bytes, value, expiry, access);
        self.stored(key, stored, expiry);
        self.tell_stored(key, old, event);
    }

    #[inline]
    fn stored(&mut self, key: &Key<'_>, stored: Stored, expiry: Expiry) {
        if let Stored::Replaced(Some(old)) = stored {
            self.throw_away(Trash::Value(old));
        }
        if let Expiry::At(deadline_ms) = expiry {
            self.read.state.timer.wake_by(deadline_ms);
        }
        self.touched(key);
    }

    /// What kind of value a store is about to replace, if any; `None` when nobody wants to hear of it.
    #[inline]
    fn kind_for_events(&self, key: &Key<'_>) -> Option<Option<Kind>> {
        self.wants_events().then(|| self.kind(key))
    }

    /// Tells of a store: in place of what, and what it was.
    #[inline]
    fn tell_stored(&mut self, key: &Key<'_>, old: Option<Option<Kind>>, event: Event) {
        if let Some(old) = old {
            self.note_stored(key, old, event);
        }
    }

    #[cold]
    fn note_stored(&mut self, key: &Key<'_>, old: Option<Kind>, event: Event) {
        match old {
            None => self.notify(Event::NEW, key),
            Some(old) => {
                self.notify(Event::OVERWRITTEN, key);
                if self.kind(key) != Some(old) {
                    self.notify(Event::TYPE_CHANGED, key);
                }
            }
        }
        self.notify(event, key);
    }

    /// The string at `key`, to edit in place; changed unless `edit` fails. `None` when there is no such key.
    #[inline]
    pub fn edit_string<R>(
        &mut self,
        key: &Key<'_>,
        event: Event,
        edit: impl FnOnce(&mut EntryMut<'_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(mut entry) = self.entry_mut(key) else { return Ok(None) };
        if entry.kind() != Kind::String {
            return Err(Error::WRONG_TYPE);
        }
        let result = edit(&mut entry)?;
        self.touched(key);
        self.notify(event, key);
        Ok(Some(result))
    }

    /// The string at `key`, made when there is none, to edit in place. `edit` says whether it changed something.
    pub fn change_string<R>(
        &mut self,
        key: &Key<'_>,
        event: Event,
        edit: impl FnOnce(&mut EntryMut<'_>) -> (R, bool),
    ) -> Result<R> {
        let is_new = self.entry_mut(key).is_none();
        if is_new {
            self.set_value(key, Value::Bytes(Box::default()), Expiry::Clear, event);
        }
        let mut entry = self.entry_mut(key).filter(|entry| entry.kind() == Kind::String).ok_or(Error::WRONG_TYPE)?;
        let (result, changed) = edit(&mut entry);
        if changed && !is_new {
            self.touched(key);
            self.notify(event, key);
        }
        Ok(result)
    }

    /// The entry of `key`, to change, unless its time has come. An access.
    #[inline]
    pub(super) fn entry_mut(&mut self, key: &Key<'_>) -> Option<EntryMut<'_>> {
        let ReadCx { now_ms, due, db, quiet, access, .. } = self.read;
        let entry = self.shard_mut(key).existing_mut(db)?.get_mut(key.hash, key.bytes)?;
        if due != Due::Show && entry.is_due(now_ms) {
            return None;
        }
        if !quiet {
            access.note(&entry);
        }
        Some(entry)
    }

    /// Removes `key`; true when it was there.
    pub fn remove(&mut self, key: &Key<'_>) -> bool {
        match self.take(key) {
            Some(entry) => {
                self.discard(entry);
                self.notify(Event::DEL, key);
                true
            }
            None => false,
        }
    }

    /// Takes `key` out with its value and deadline. What that is called only the caller knows.
    pub fn take(&mut self, key: &Key<'_>) -> Option<Entry> {
        let db = self.read.db;
        let entry = self.shard_mut(key).existing_mut(db)?.remove(key.hash, key.bytes)?;
        self.touched(key);
        Some(entry)
    }

    /// Stores a whole entry under its own key, in place of what was there.
    pub fn put(&mut self, key: &Key<'_>, entry: Entry, event: Event) {
        let old_kind = self.kind_for_events(key);
        let deadline = entry.expires_at();
        let fields = Hash::of(entry.value()).and_then(Hash::next_due);
        if let Some(old) = self.db_of(key).insert_entry(key.hash, entry) {
            self.discard(old);
        }
        if let Some(deadline_ms) = fields {
            self.file_fields(key, deadline_ms);
        }
        if let Some(deadline_ms) = deadline {
            self.read.state.timer.wake_by(deadline_ms);
        }
        self.touched(key);
        self.tell_stored(key, old_kind, event);
    }

    /// Gives `key` a deadline in Unix milliseconds, or none. False when there is no such key.
    pub fn set_expiry(&mut self, key: &Key<'_>, deadline_ms: Option<i64>) -> bool {
        if !self.db_of(key).set_expiry(key.hash, key.bytes, deadline_ms) {
            return false;
        }
        if let Some(deadline_ms) = deadline_ms {
            self.read.state.timer.wake_by(deadline_ms);
        }
        self.touched(key);
        self.notify(if deadline_ms.is_some() { Event::EXPIRE } else { Event::PERSIST }, key);
        true
    }

    /// The collection at `key`, made when there is none. An emptied one goes when the guard goes; one that was made
    /// and not filled was never there. `event` is what the change is called.
    #[inline]
    pub fn change<'u, T: Collection>(&'u mut self, key: &Key<'u>, event: &'static str) -> Result<Change<'u, 't, T>> {
        Change::open(self, *key, true, event)?.ok_or(Error::WRONG_TYPE)
    }

    /// The collection at `key`, if there is one.
    #[inline]
    pub fn change_existing<'u, T: Collection>(
        &'u mut self,
        key: &Key<'u>,
        event: &'static str,
    ) -> Result<Option<Change<'u, 't, T>>> {
        Change::open(self, *key, false, event)
    }

    /// Empties one database, or all. Needs to be alone.
    pub fn flush(&mut self, only: Option<u32>) {
        self.note_whole(Event::FLUSHED, only);
        for index in 0..SHARD_COUNT {
            let shard = self.read.held.get_mut(index);
            let dbs = only.map_or(0..shard.db_count(), |db| db..db + 1);
            for db in dbs {
                let Some(old) = shard.detach(db) else { continue };
                if !old.is_empty() {
                    for (place, flags) in &shard.watchers {
                        if place.db == db && old.get(self.read.state.hasher.hash(&place.key), &place.key).is_some() {
                            flags.iter().for_each(|flag| flag.touch());
                        }
                    }
                    self.changed_mask |= 1 << index;
                }
                match old.old_values() {
                    Some(values) => values.put(Old::Db(old)),
                    None => self.aside.get_or_insert_default().trash.push(Trash::Db(old)),
                }
            }
        }
        self.invalidate_all();
        // Logged even when there was nothing: a replica that has more than its master must lose it.
        self.changed = true;
    }

    /// Exchanges two databases. Needs to be alone.
    pub fn swap_dbs(&mut self, one: u32, other: u32) {
        [one, other].into_iter().for_each(|db| self.note_whole(Event::SWAPPED, Some(db)));
        for index in 0..SHARD_COUNT {
            let shard = self.read.held.get_mut(index);
            shard.swap(one, other);
            for (place, flags) in &shard.watchers {
                if place.db == one || place.db == other {
                    let hash = self.read.state.hasher.hash(&place.key);
                    let there = |db| shard.db(db).is_some_and(|db| db.get(hash, &place.key).is_some());
                    if there(one) || there(other) {
                        flags.iter().for_each(|flag| flag.touch());
                    }
                }
            }
            for place in shard.waiters.keys().filter(|place| place.db == one || place.db == other) {
                let hash = self.read.state.hasher.hash(&place.key);
                self.aside.get_or_insert_default().ready.push_back((place.db, place.key.clone(), hash));
            }
            self.changed_mask |= 1 << index;
        }
        self.invalidate_all();
        self.changed = true;
    }

    /// Runs `work` in another database.
    pub fn in_db<R>(&mut self, db: u32, work: impl FnOnce(&mut WriteCx<'t>) -> R) -> R {
        let before = std::mem::replace(&mut self.read.db, db);
        let result = work(self);
        self.read.db = before;
        result
    }

    // ---- what is logged ----

    /// Logs `words` instead of the call's own words; several calls are logged in order.
    pub fn log_instead(&mut self, words: &[&[u8]]) {
        let db = self.read.db;
        self.aside.get_or_insert_default().instead.words(db, words);
    }

    // ---- for the execution path ----

    /// From here on accesses are not noted, when the client wants it so.
    #[inline]
    pub(super) fn keep_quiet_for(&mut self, session: &Session) {
        self.read.quiet = session.client.no_touch.load(Ordering::Relaxed);
        self.read.caller = session.client.id;
    }

    /// From here on what is looked up is counted, or not.
    #[inline]
    pub(super) fn count_lookups(&mut self, counts: bool) {
        self.read.counts = counts;
    }

    /// Counts what a write has looked up in order to answer it, and tells of a key that is not there.
    pub fn note_lookup(&mut self, key: &Key<'_>, found: bool) {
        self.read.lookups.note(found);
        if !found {
            self.notify(Event::KEY_MISS, key);
        }
    }

    pub(super) fn select(&mut self, db: u32) {
        self.read.db = db;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Everything from here on is one transaction.
    pub(super) fn begin_unit(&mut self) {
        self.aside.get_or_insert_default().gathered = Some(log::Unit::new());
    }

    /// Appends the transaction.
    pub(super) fn end_unit(&mut self) {
        if let Some(unit) = self.aside.as_mut().and_then(|aside| aside.gathered.take())
            && !unit.is_empty()
        {
            let offset = self.read.state.log.append(&unit);
            self.mark_changed_shards(offset);
        }
    }

    /// A waiter is served from the key with this hash.
    pub(super) fn serve_from(&mut self, hash: Option<u64>) {
        self.read.only = hash;
    }

    /// Logs the call that has just run, when it changed something.
    #[inline]
    pub(super) fn record(&mut self, call: &Call<'_>) {
        if self.read.due != Due::Remove {
            return self.forget_changes();
        }
        if self.aside.is_some() {
            return self.record_aside_too(call);
        }
        if std::mem::take(&mut self.changed) {
            let offset = self.append_words_of(call);
            self.mark_changed_shards(offset);
        }
    }

    /// What is replayed, or comes from a master, is in the log already.
    #[cold]
    pub(crate) fn forget_changes(&mut self) {
        self.changed = false;
        self.changed_mask = 0;
        if let Some(aside) = &mut self.aside {
            aside.instead = log::Unit::default();
        }
    }

    #[inline]
    fn append_words_of(&self, call: &Call<'_>) -> u64 {
        let (log, db) = (&self.read.state.log, self.read.db);
        match call.raw {
            Some(raw) => log.append_raw(db, raw),
            None => log.append_words(db, call.words),
        }
    }

    /// [`WriteCx::record`] when other words are to be logged, or all is gathered.
    fn record_aside_too(&mut self, call: &Call<'_>) {
        let changed = std::mem::take(&mut self.changed);
        let db = self.read.db;
        let Some(aside) = &mut self.aside else { return };
        let instead = std::mem::take(&mut aside.instead);
        if !changed {
            return;
        }
        match (&mut aside.gathered, instead.is_empty()) {
            (None, true) => {
                let offset = self.append_words_of(call);
                self.mark_changed_shards(offset);
            }
            (None, false) => {
                let offset = self.read.state.log.append(&instead);
                self.mark_changed_shards(offset);
            }
            // A transaction's shards are marked when it is appended.
            (Some(unit), true) => unit.words(db, call.words),
            (Some(unit), false) => unit.extend(&instead),
        }
    }

    fn mark_changed_shards(&mut self, offset: u64) {
        let mut rest = std::mem::take(&mut self.changed_mask);
        while rest != 0 {
            self.read.held.get_mut(rest.trailing_zeros() as usize).last_offset = offset;
            rest &= rest - 1;
        }
    }

    /// Logs a change that is not the call's own (expiry), before the call's words.
    pub(super) fn record_aside(&mut self, hash: u64, words: &[&[u8]]) {
        let db = self.read.db;
        match self.aside.as_mut().and_then(|aside| aside.gathered.as_mut()) {
            Some(unit) => {
                unit.words(db, words);
                self.changed_mask |= 1 << shard_of(hash);
            }
            None => {
                let offset = self.read.state.log.append_words(db, words);
                self.read.held.get_mut(shard_of(hash)).last_offset = offset;
            }
        }
    }

    /// Notes that `key` changed: for the log, for WATCH, for blocked calls.
    #[inline]
    pub(super) fn touched(&mut self, key: &Key<'_>) {
        self.changed = true;
        let shard = shard_of(key.hash);
        self.changed_mask |= 1 << shard;
        if self.read.held.get(shard).is_observed() || self.read.state.trackers.has_broadcasts() {
            self.tell(key);
        }
    }

    /// Tells those who watch or wait for `key`.
    #[cold]
    pub(super) fn tell(&mut self, key: &Key<'_>) {
        let db = self.read.db;
        let shard = self.read.held.get_mut(shard_of(key.hash));
        let place = PlaceRef { db, key: key.bytes };
        // Who was touched once stays touched: the list is not needed again.
        if let Some(flags) = shard.watchers.remove(&place) {
            flags.iter().for_each(|flag| flag.touch());
        }
        if shard.waiters.contains_key(&place) {
            let ready = &mut self.aside.get_or_insert_default().ready;
            if !ready.iter().any(|(d, k, _)| *d == db && **k == *key.bytes) {
                ready.push_back((db, key.bytes.into(), key.hash));
            }
        }
        self.invalidate(shard_of(key.hash), key.bytes);
    }

    /// Whose call it is.
    pub(super) fn caller(&self) -> u64 {
        self.read.caller
    }

    /// Who is to hear of what.
    pub(super) fn invalid(&mut self) -> &mut Vec<Invalid> {
        &mut self.aside.get_or_insert_default().invalid
    }

    /// Where to put the wakers of those who got something: see [`Aside`].
    pub(super) fn wakers(&mut self) -> &mut Vec<Waker> {
        &mut self.aside.get_or_insert_default().wakers
    }

    /// What happened and is not told of yet.
    pub(super) fn pending_events(&mut self) -> &mut Vec<Pending> {
        &mut self.aside.get_or_insert_default().events
    }

    /// Tells of what happened to keys; it is in the log.
    #[inline]
    pub(super) fn tell_events(&mut self) {
        if self.aside.as_ref().is_some_and(|aside| !aside.events.is_empty()) {
            self.tell_all(Vec::new());
        }
    }

    /// The same with what a transaction published among it.
    pub(super) fn tell_all(&mut self, published: Vec<Published>) {
        let events = self.aside.as_mut().map(|aside| std::mem::take(&mut aside.events)).unwrap_or_default();
        let seen = self.read.seen();
        let mut events = events.iter().enumerate().peekable();
        for Published { kind, channel, message, behind } in published {
            while let Some((_, event)) = events.next_if(|(index, _)| *index < behind) {
                self.send_event(event, seen);
            }
            let channels = &self.read.state.channels;
            channels.put_all(kind, &channel, &message, seen, self.wakers());
        }
        events.for_each(|(_, event)| self.send_event(event, seen));
    }

    /// How many things happened that are not told of yet.
    pub(super) fn event_count(&self) -> usize {
        self.aside.as_ref().map_or(0, |aside| aside.events.len())
    }

    /// The next key that blocked calls may be served from.
    pub(super) fn next_ready(&mut self) -> Option<(u32, Box<[u8]>, u64)> {
        self.aside.as_mut()?.ready.pop_front()
    }

    /// Has the due fields of the hash at `key` looked for at `deadline_ms`.
    pub(super) fn file_fields(&mut self, key: &Key<'_>, deadline_ms: i64) {
        self.db_of(key).file_field(deadline_ms, key.hash);
        self.read.state.timer.wake_by(deadline_ms);
    }

    pub(super) fn discard(&mut self, entry: Entry) {
        self.throw_away(Trash::Value(entry.into_value()));
    }

    /// Drops it here, or keeps it for when nothing is locked.
    pub(super) fn throw_away(&mut self, trash: Trash) {
        if trash.is_large() {
            self.aside.get_or_insert_default().trash.push(trash);
        }
    }

    pub(super) fn held_mut(&mut self) -> &mut Held<'t> {
        &mut self.read.held
    }

    #[inline]
    pub(super) fn shard_mut(&mut self, key: &Key<'_>) -> &mut Shard {
        self.read.held.get_mut(shard_of(key.hash))
    }

    #[inline]
    pub(super) fn db_of(&mut self, key: &Key<'_>) -> &mut Db {
        let db = self.read.db;
        self.read.held.get_mut(shard_of(key.hash)).db_mut(db)
    }

    /// Puts an entry of a snapshot into its place. It is in the log already.
    pub fn load(&mut self, db: u32, hash: u64, entry: Entry, usage: Usage) {
        self.read.access.bring_in(&entry, usage);
        let (deadline, fields) = (entry.expires_at(), Hash::of(entry.value()).and_then(Hash::next_due));
        let db = self.read.held.get_mut(shard_of(hash)).db_mut(db);
        db.insert_entry(hash, entry);
        if let Some(deadline_ms) = fields {
            db.file_field(deadline_ms, hash);
        }
        for deadline_ms in deadline.into_iter().chain(fields) {
            self.read.state.timer.wake_by(deadline_ms);
        }
    }

    /// Unlocks, then wakes who was told and drops what was thrown away.
    #[inline]
    pub(crate) fn unlock(&mut self) {
        debug_assert!(!self.changed && self.changed_mask == 0, "a change was not logged");
        self.tell_events();
        if self.aside.as_ref().is_some_and(|aside| !aside.invalid.is_empty()) {
            self.send_invalid();
        }
        self.read.held.release();
        if let Some(aside) = self.aside.take() {
            aside.wakers.into_iter().for_each(Waker::wake);
            aside.trash.into_iter().for_each(|item| self.read.state.dropper.drop(item));
        }
    }
}

/// What a handler sees that reads shards one after the other.
pub struct WalkCx<'w>(WalkAccess<'w>);

enum WalkAccess<'w> {
    /// Locks one shard at a time.
    Free {
        turn: &'w Turn<'w>,
        db: u32,
        /// The largest log offset of what was shown.
        seen: Cell<u64>,
    },
    /// Everything is ours.
    Inside(&'w WriteCx<'w>),
}

impl<'w> WalkCx<'w> {
    /// A walk of the engine's own.
    pub fn of_turn(turn: &'w Turn<'w>, db: u32) -> WalkCx<'w> {
        WalkCx::free(turn, db)
    }

    pub(super) fn free(turn: &'w Turn<'w>, db: u32) -> WalkCx<'w> {
        WalkCx(WalkAccess::Free { turn, db, seen: Cell::new(0) })
    }

    pub(super) fn inside(cx: &'w WriteCx<'w>) -> WalkCx<'w> {
        WalkCx(WalkAccess::Inside(cx))
    }

    pub fn state(&self) -> &State {
        match &self.0 {
            WalkAccess::Free { turn, .. } => turn.state,
            WalkAccess::Inside(cx) => cx.state(),
        }
    }

    pub fn db(&self) -> u32 {
        match &self.0 {
            WalkAccess::Free { db, .. } => *db,
            WalkAccess::Inside(cx) => cx.db(),
        }
    }

    /// Shows shard `index`, held only meanwhile.
    pub fn with_shard<R>(&self, index: usize, look: impl FnOnce(&ReadCx<'_>) -> R) -> R {
        match &self.0 {
            WalkAccess::Free { turn, db, seen } => {
                let cx = turn.context(1 << index, *db);
                seen.set(seen.get().max(cx.seen()));
                look(&cx)
            }
            WalkAccess::Inside(cx) => look(cx),
        }
    }

    /// The largest log offset of what this walk could see; inside a transaction, that is the transaction's affair.
    pub(super) fn seen(&self) -> u64 {
        match &self.0 {
            WalkAccess::Free { seen, .. } => seen.get(),
            WalkAccess::Inside(_) => 0,
        }
    }

    /// Shows database `db` of each shard from `first` on, until `look` breaks off.
    pub fn each<B>(
        &self,
        first: usize,
        db: u32,
        mut look: impl FnMut(usize, &ReadCx<'_>, &Db) -> ControlFlow<B>,
    ) -> Option<B> {
        for index in first..SHARD_COUNT {
            let flow = self.with_shard(index, |cx| match cx.held.get(index).db(db) {
                Some(data) => look(index, cx, data),
                None => ControlFlow::Continue(()),
            });
            if let ControlFlow::Break(value) = flow {
                return Some(value);
            }
        }
        None
    }

    /// Shows every database of every shard, each shard held once.
    pub fn each_db(&self, mut look: impl FnMut(u32, &Db)) {
        for index in 0..SHARD_COUNT {
            self.with_shard(index, |cx| {
                let shard = cx.held.get(index);
                (0..shard.db_count()).filter_map(|db| Some((db, shard.db(db)?))).for_each(|(db, data)| look(db, data));
            });
        }
    }
}

/// What a handler sees that acts on the connection or the server.
pub struct SessionCx<'c, 't, 'e> {
    pub(super) caller: &'c mut Caller<'t, 'e>,
    pub call: &'c Call<'c>,
    /// The transaction that it runs in.
    pub(super) inside: Option<Inside<'c, 't>>,
}

/// A message that was published inside a transaction.
pub(super) struct Published {
    kind: session::Kind,
    channel: Box<[u8]>,
    message: Box<[u8]>,
    /// How many events of the transaction come before it.
    behind: usize,
}

/// What a command on the connection or the server has of the transaction that it runs in.
pub(super) struct Inside<'c, 't> {
    /// Its locks.
    pub cx: &'c WriteCx<'t>,
    /// What leaves when the transaction is logged.
    pub published: &'c mut Vec<Published>,
}

impl<'t, 'e> SessionCx<'_, 't, 'e> {
    pub fn state(&self) -> &'e State {
        self.caller.turn.state
    }

    pub fn session(&mut self) -> &mut Session {
        self.caller.session
    }

    pub fn now_ms(&self) -> i64 {
        self.caller.turn.now_ms
    }

    pub fn caller(&mut self) -> &mut Caller<'t, 'e> {
        self.caller
    }

    pub fn is_alone(&self) -> bool {
        self.caller.turn.is_alone()
    }

    /// Inside EXEC: the locks are held by the transaction.
    pub fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Sends a message to all who listen to `channel`; returns how many that are. It leaves when what the caller can
    /// know of is safe: inside a transaction, that is the transaction itself.
    pub fn publish(&mut self, kind: session::Kind, channel: &[u8], message: &[u8]) -> usize {
        let channels = &self.caller.turn.state.channels;
        match &mut self.inside {
            Some(inside) => {
                inside.published.push(Published {
                    kind,
                    channel: channel.into(),
                    message: message.into(),
                    behind: inside.cx.event_count(),
                });
                channels.receivers(kind, channel)
            }
            None => channels.publish(kind, channel, message, self.caller.session.seen),
        }
    }

    /// Looks at all shards, one after the other.
    pub fn walk(&self) -> WalkCx<'_> {
        match &self.inside {
            Some(inside) => WalkCx::inside(inside.cx),
            None => WalkCx::free(self.caller.turn, self.caller.session.db),
        }
    }
}
