//! What a handler may touch. [`ReadCx`] has no method that changes data, so a read that writes does not compile;
//! [`WriteCx`] is the only way to change it.

use std::ops::{ControlFlow, Deref};

use super::guards::{Change, Collection};
use super::shards::{Held, PlaceRef, Shard};
use super::state::{Due, State, Trash};
use super::{Call, Caller, Turn};
use crate::error::{Error, Result};
use crate::grammar::Key;
use crate::keyspace::EntryMut;
use crate::keyspace::db::{Db, Expiry, Stored};
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::{SHARD_COUNT, shard_of};
use crate::keyspace::value::{Kind, Value};
use crate::log;
use crate::session::Session;
use crate::types::hash::Hash;
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

    /// The entry of `key`, unless its time has come.
    #[inline]
    pub fn get(&self, key: &Key<'_>) -> Option<&Entry> {
        let entry = self.shard_of(key).db(self.db)?.get(key.hash, key.bytes)?;
        if self.due != Due::Show && entry.is_due(self.now_ms) { None } else { Some(entry) }
    }

    pub fn exists(&self, key: &Key<'_>) -> bool {
        self.get(key).is_some()
    }

    pub fn kind(&self, key: &Key<'_>) -> Option<Kind> {
        self.get(key).map(Entry::kind)
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

    /// How many of a hash's fields have not come to their time.
    pub fn field_count(&self, hash: &Hash) -> usize {
        if self.due == Due::Show { hash.len() } else { hash.len_live(self.now_ms) }
    }

    /// The fields of a hash that have not come to their time.
    pub fn fields<'h>(&self, hash: &'h Hash) -> impl Iterator<Item = (Elem<'h>, Elem<'h>)> + use<'h> {
        let now_ms = if self.due == Due::Show { i64::MIN } else { self.now_ms };
        hash.iter_live(now_ms).map(|(field, value, _)| (field, value))
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

    /// True when `entry` has not come to its time.
    pub fn is_visible(&self, entry: &Entry) -> bool {
        self.due == Due::Show || !entry.is_due(self.now_ms)
    }

    /// A call that waited is being served.
    pub(super) fn is_serving(&self) -> bool {
        self.only.is_some()
    }

    pub(super) fn shard_of(&self, key: &Key<'_>) -> &Shard {
        self.held.get(shard_of(key.hash))
    }

    pub(super) fn held(&self) -> &Held<'t> {
        &self.held
    }

    /// The largest log offset of what this call could see.
    pub(super) fn seen(&self) -> u64 {
        if self.held.is_alone() {
            return self.state.log.end();
        }
        let mut seen = 0;
        let mut rest = self.held.mask();
        while rest != 0 {
            seen = seen.max(self.held.get(rest.trailing_zeros() as usize).last_offset);
            rest &= rest - 1;
        }
        seen
    }
}

/// The shards of a call, to change.
pub struct WriteCx<'t> {
    read: ReadCx<'t>,
    changed: bool,
    /// Shards that changed since the last append.
    changed_mask: u64,
    /// What to log instead of the call's own words; empty: the words.
    instead: log::Unit,
    /// In a transaction: everything is gathered and appended at its end.
    gathered: Option<Box<log::Unit>>,
    /// Keys that blocked calls may now be served from.
    pub(super) ready: Vec<(u32, Box<[u8]>, u64)>,
    trash: Vec<Trash>,
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
    pub(super) fn new(state: &'t State, held: Held<'t>, db: u32, now_ms: i64) -> WriteCx<'t> {
        WriteCx {
            read: ReadCx { state, held, db, now_ms, due: state.expiry.get(), only: None },
            changed: false,
            changed_mask: 0,
            instead: log::Unit::new(),
            gathered: None,
            ready: Vec::new(),
            trash: Vec::new(),
        }
    }

    // ---- changing data ----

    /// Stores a string; the fast path of SET.
    #[inline]
    pub fn set_string(&mut self, key: &Key<'_>, bytes: &[u8], expiry: Expiry) {
        let stored = self.db_of(key).set_bytes(key.hash, key.bytes, bytes, expiry);
        self.stored(key, stored, expiry);
    }

    /// Stores a value of any kind.
    pub fn set_value(&mut self, key: &Key<'_>, value: Value, expiry: Expiry) {
        let stored = self.db_of(key).insert(key.hash, key.bytes, value, expiry);
        self.stored(key, stored, expiry);
    }

    #[inline]
    fn stored(&mut self, key: &Key<'_>, stored: Stored, expiry: Expiry) {
        if let Stored::Replaced(Some(old)) = stored {
            self.trash.push(Trash::Value(old));
        }
        if let Expiry::At(deadline_ms) = expiry {
            self.read.state.timer.wake_by(deadline_ms);
        }
        self.touched(key);
    }

    /// The string at `key`, to edit in place; `edit` says whether it changed something. The key exists and is a string.
    pub fn edit_string<R>(&mut self, key: &Key<'_>, edit: impl FnOnce(&mut EntryMut<'_>) -> R) -> Option<R> {
        let mut entry = self.db_of(key).get_mut(key.hash, key.bytes)?;
        let result = edit(&mut entry);
        self.touched(key);
        Some(result)
    }

    /// Removes `key`; true when it was there.
    pub fn remove(&mut self, key: &Key<'_>) -> bool {
        match self.take(key) {
            Some(entry) => {
                self.discard(entry);
                true
            }
            None => false,
        }
    }

    /// Takes `key` out with its value and deadline.
    pub fn take(&mut self, key: &Key<'_>) -> Option<Entry> {
        let db = self.read.db;
        let entry = self.shard_mut(key).existing_mut(db)?.remove(key.hash, key.bytes)?;
        self.touched(key);
        Some(entry)
    }

    /// Stores a whole entry under its own key, in place of what was there.
    pub fn put(&mut self, key: &Key<'_>, entry: Entry) {
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
        true
    }

    /// The collection at `key`, made when there is none. An emptied one goes when the guard goes; one that was made
    /// and not filled was never there.
    #[inline]
    pub fn change<'u, T: Collection>(&'u mut self, key: &Key<'u>) -> Result<Change<'u, 't, T>> {
        Change::open(self, *key, true)?.ok_or(Error::WRONG_TYPE)
    }

    /// The collection at `key`, if there is one.
    #[inline]
    pub fn change_existing<'u, T: Collection>(&'u mut self, key: &Key<'u>) -> Result<Option<Change<'u, 't, T>>> {
        Change::open(self, *key, false)
    }

    /// Empties one database, or all. Needs to be alone.
    pub fn flush(&mut self, only: Option<u32>) {
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
                self.trash.push(Trash::Db(old));
            }
        }
        // Logged even when there was nothing: a replica that has more than its master must lose it.
        self.changed = true;
    }

    /// Exchanges two databases. Needs to be alone.
    pub fn swap_dbs(&mut self, one: u32, other: u32) {
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
                self.ready.push((place.db, place.key.clone(), hash));
            }
            self.changed_mask |= 1 << index;
        }
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
        self.instead.words(self.read.db, words);
    }

    // ---- for the execution path ----

    pub(super) fn select(&mut self, db: u32) {
        self.read.db = db;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Everything from here on is one transaction.
    pub(super) fn begin_unit(&mut self) {
        self.gathered = Some(Box::default());
    }

    /// Appends the transaction.
    pub(super) fn end_unit(&mut self) {
        if let Some(unit) = self.gathered.take()
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
        if !self.changed {
            self.instead.clear();
            return;
        }
        self.changed = false;
        let (log, db) = (&self.read.state.log, self.read.db);
        match (&mut self.gathered, self.instead.is_empty()) {
            (None, true) => {
                let offset = match call.raw {
                    Some(raw) => log.append_raw(db, raw),
                    None => log.append_words(db, call.words),
                };
                self.mark_changed_shards(offset);
            }
            (None, false) => {
                let offset = log.append(&self.instead);
                self.instead.clear();
                self.mark_changed_shards(offset);
            }
            // A transaction's shards are marked when it is appended.
            (Some(unit), true) => unit.words(db, call.words),
            (Some(unit), false) => {
                unit.extend(&self.instead);
                self.instead.clear();
            }
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
        match &mut self.gathered {
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
        if self.read.held.get(shard).is_observed() {
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
        if shard.waiters.contains_key(&place) && !self.ready.iter().any(|(d, k, _)| *d == db && **k == *key.bytes) {
            self.ready.push((db, key.bytes.into(), key.hash));
        }
    }

    /// Has the due fields of the hash at `key` looked for at `deadline_ms`.
    pub(super) fn file_fields(&mut self, key: &Key<'_>, deadline_ms: i64) {
        self.db_of(key).file_field(deadline_ms, key.hash);
        self.read.state.timer.wake_by(deadline_ms);
    }

    pub(super) fn discard(&mut self, entry: Entry) {
        self.trash.push(Trash::Value(entry.into_value()));
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

    /// Unlocks, then drops what was thrown away.
    pub(super) fn unlock(mut self) {
        debug_assert!(!self.changed && self.changed_mask == 0, "a change was not logged");
        let trash = std::mem::take(&mut self.trash);
        let state = self.read.state;
        drop(self);
        for item in trash {
            state.dropper.drop(item);
        }
    }
}

/// What a handler sees that reads shards one after the other.
pub struct WalkCx<'w>(WalkAccess<'w>);

enum WalkAccess<'w> {
    /// Locks one shard at a time.
    Free { turn: &'w Turn<'w>, db: u32 },
    /// Everything is ours.
    Inside(&'w WriteCx<'w>),
}

impl<'w> WalkCx<'w> {
    /// A walk of the engine's own.
    pub fn of_turn(turn: &'w Turn<'w>, db: u32) -> WalkCx<'w> {
        WalkCx::free(turn, db)
    }

    pub(super) fn free(turn: &'w Turn<'w>, db: u32) -> WalkCx<'w> {
        WalkCx(WalkAccess::Free { turn, db })
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
            WalkAccess::Free { turn, db } => look(&turn.context(1 << index, *db)),
            WalkAccess::Inside(cx) => look(cx),
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
}

/// What a handler sees that acts on the connection or the server.
pub struct SessionCx<'c, 't, 'e> {
    pub(super) caller: &'c mut Caller<'t, 'e>,
    pub call: &'c Call<'c>,
    /// The locks of the transaction that it runs in.
    pub(super) inside: Option<&'c WriteCx<'t>>,
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

    /// The largest log offset that the caller can know of.
    pub fn seen(&self) -> u64 {
        let inside = self.inside.map_or(0, |cx| cx.seen());
        self.caller.session.seen.max(inside)
    }

    /// Looks at all shards, one after the other.
    pub fn walk(&self) -> WalkCx<'_> {
        match self.inside {
            Some(cx) => WalkCx::inside(cx),
            None => WalkCx::free(self.caller.turn, self.caller.session.db),
        }
    }
}
