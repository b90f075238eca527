//! One database in one shard: its table, its timers, and the promise that they agree.
//!
//! Whatever changes which keys there are, or their deadlines, goes through here; the table itself is lent out for
//! reading only. Time is told by the caller, and nothing here removes a key because of it. What a snapshot in the making
//! has not seen yet is kept for it before it changes (see [`super::cut`]).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::EntryMut;
use super::access::{Access, Random};
use super::cut::{Cut, OldValues};
use super::entry::{Body, Entry, with_body};
use super::eviction::{Order, Policy};
use super::hasher::KeyHasher;
use super::table::Table;
use super::timers::{Deadline, Item, Mark, NEAR_MS_MAX, Timers};
use super::value::Value;

/// What becomes of a key's deadline when its value is replaced. Unix time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Keep,
    Clear,
    At(i64),
}

/// What a store did to the key.
pub enum Stored {
    Created,
    /// With the old value when dropping it may take time: after the lock is a good moment.
    Replaced(Option<Value>),
}

/// A key whose deadline has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub hash: u64,
    pub key: Box<[u8]>,
}

/// One key in so many with a deadline is enough to find some by looking at all keys.
const CROWDED: usize = 4;
/// Filed deadlines that are looked at for each key that is wanted: more than half of them may be stale.
const LOOKS_PER_SAMPLE: usize = 16;
const LOOKS_MIN: usize = 128;

pub struct Db {
    table: Table,
    timers: Timers,
    /// Deadlines of fields, each under the hash of its key. Generations are not used.
    fields: Timers,
    volatile: usize,
    cut: Cut,
}

impl Db {
    /// An empty database in the snapshot epoch `epoch`: whatever comes into it came after the last cut.
    pub fn new(hasher: KeyHasher, epoch: u16) -> Db {
        let cut = Cut::new(epoch);
        Db { table: Table::new(hasher), timers: Timers::new(), fields: Timers::new(), volatile: 0, cut }
    }

    /// The cut of a snapshot, with the gate closed: what is here now belongs to it, under the number `db`. What changes
    /// before [`Db::take_old`] has told of it goes to `old`.
    pub fn begin_cut(&mut self, epoch: u16, db: u32, old: Arc<OldValues>) {
        self.cut.begin(epoch, db, old);
    }

    /// The walker has been everywhere here, or has given up.
    pub fn end_cut(&mut self) {
        self.cut.end();
    }

    /// The number that this database had at the cut, until [`Db::end_cut`].
    pub fn walked_as(&self) -> Option<u32> {
        self.cut.walked_as()
    }

    /// Where the database goes when it is dropped before [`Db::end_cut`].
    pub fn old_values(&self) -> Option<Arc<OldValues>> {
        self.cut.old_values()
    }

    /// One step of the walker, as [`Table::scan`]: visits what is as it was at the cut, once.
    pub fn take_old(&self, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        self.table.scan(cursor, |entry| {
            if self.cut.take(entry) {
                visit(entry);
            }
        })
    }

    /// The keys, to read, to scan and to prefetch.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys with a deadline.
    #[inline]
    pub fn volatile(&self) -> usize {
        self.volatile
    }

    /// Bytes of table and timers, without the entries. O(directory).
    pub fn allocated_bytes(&self) -> usize {
        self.table.allocated_bytes() + self.timers.allocated_bytes() + self.fields.allocated_bytes()
    }

    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.table.get(hash, key)
    }

    /// The entry, to change its value.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_>> {
        let entry = self.table.get_mut(hash, key)?;
        self.cut.keep(&entry);
        Some(entry)
    }

    /// SET: one search of the table, in place when the new string falls into the size class of the old entry.
    pub fn set_bytes(&mut self, hash: u64, key: &[u8], bytes: &[u8], expiry: Expiry, access: &Access<'_>) -> Stored {
        let Some(mut old) = self.table.get_mut(hash, key) else {
            self.create(hash, key, Body::string(bytes), expiry, access);
            return Stored::Created;
        };
        access.note(&old);
        self.cut.keep(&old);
        let before = old.deadline();
        let deadline = decide(&mut self.timers, hash, before, expiry);
        let shed = old.store_bytes(bytes, deadline);
        self.recount(before, deadline);
        Stored::Replaced(shed)
    }

    /// Stores a value of any kind.
    pub fn insert(&mut self, hash: u64, key: &[u8], value: Value, expiry: Expiry, access: &Access<'_>) -> Stored {
        with_body(value, |body| {
            let Some(mut old) = self.table.get_mut(hash, key) else {
                self.create(hash, key, body, expiry, access);
                return Stored::Created;
            };
            access.note(&old);
            self.cut.keep(&old);
            let before = old.deadline();
            let deadline = decide(&mut self.timers, hash, before, expiry);
            let shed = old.entry().rewrite(body, false, deadline);
            self.recount(before, deadline);
            Stored::Replaced(shed)
        })
    }

    /// Stores a whole entry with its deadline and returns the one that had its key. For RENAME and MOVE, with
    /// [`Entry::rekey`], and for COPY, with [`Entry::copy_as`].
    pub fn insert_entry(&mut self, hash: u64, mut entry: Entry) -> Option<Entry> {
        if let Some(deadline) = entry.deadline() {
            // Its generation belongs to the timers that it comes from.
            entry.set_deadline(Some(self.timers.file(deadline.ms(), hash, None)));
            self.volatile += 1;
        }
        entry.set_epoch(self.cut.epoch());
        let old = self.table.insert(hash, entry);
        if let Some(old) = &old {
            self.cut.keep(old);
        }
        self.recount(old.as_ref().and_then(Entry::deadline), None);
        old
    }

    /// Gives a key another deadline, or none. Says whether the key exists.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], at_ms: Option<i64>) -> bool {
        let Some(mut entry) = self.table.get_mut(hash, key) else { return false };
        self.cut.keep(&entry);
        let before = entry.deadline();
        let deadline = decide(&mut self.timers, hash, before, at_ms.map_or(Expiry::Clear, Expiry::At));
        if deadline != before {
            entry.entry().set_deadline(deadline);
            self.recount(before, deadline);
        }
        true
    }

    /// Takes a key out. The entry may be dropped after the lock.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let entry = self.table.remove(hash, key)?;
        self.cut.keep_removed(&entry);
        self.recount(entry.deadline(), None);
        Some(entry)
    }

    /// When there is next something to do, for keys or fields. May be early, never late.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        match (self.timers.next(), self.fields.next()) {
            (Some(key), Some(field)) => Some(key.min(field)),
            (key, field) => key.or(field),
        }
    }

    /// The keys that are due, after at most `budget` looks; [`Db::next_deadline`] tells whether there are more.
    ///
    /// Each is told once: the caller removes it under the same lock, or gives it another deadline.
    pub fn due(&mut self, now_ms: i64, budget: usize) -> Vec<Due> {
        let mut due = Vec::new();
        for _ in 0..budget {
            let Some(item) = self.timers.pop_due(now_ms) else { break };
            for entry in self.table.find_by_hash(item.hash) {
                match entry.mark() {
                    Some(mark) if mark.generation() != item.mark.generation() => {}
                    Some(mark) if mark.deadline_ms() > now_ms => self.timers.refile(mark, item.hash),
                    Some(_) => due.push(Due { hash: item.hash, key: entry.key().into() }),
                    None => {}
                }
            }
        }
        due
    }

    /// Notes that a field of the key with this hash is due at `deadline_ms`. Filing the same again is harmless.
    pub fn file_field(&mut self, deadline_ms: i64, hash: u64) {
        if deadline_ms <= NEAR_MS_MAX {
            self.fields.file(deadline_ms, hash, None);
        }
    }

    /// Hashes of keys that had a field due at `now_ms`, at most `budget` of them; a hash may come more than once. The
    /// caller asks the keys ([`Table::find_by_hash`]) and files their next deadlines.
    pub fn due_fields(&mut self, now_ms: i64, budget: usize) -> Vec<u64> {
        std::iter::from_fn(|| self.fields.pop_due(now_ms)).take(budget).map(|item| item.hash).collect()
    }

    /// Shows up to `count` keys that may go by `policy`, with their hashes. Which ones, `seed` chooses.
    pub fn sample(&self, policy: Policy, seed: u64, count: usize, mut visit: impl FnMut(u64, &Entry)) {
        let is_crowded = self.volatile * CROWDED >= self.len();
        if policy.only_volatile && (policy.order == Order::Deadline || !is_crowded) {
            return self.sample_timers(policy, seed, count, visit);
        }
        let mut left = count;
        self.table.sample(seed, |entry| {
            if policy.takes(entry) {
                visit(self.table.hasher().hash(entry.key()), entry);
                left = left.saturating_sub(1);
            }
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Has the filed deadlines begin with one that a key still has, after at most `looks` looks; false when it takes more.
    /// Keys that are gone leave theirs behind, and those whose deadline was moved later still stand where they were.
    pub fn settle_deadlines(&mut self, looks: usize) -> bool {
        for _ in 0..looks {
            let Some(item) = self.timers.first() else { return true };
            let is_its = |mark: &Mark| mark.generation() == item.mark.generation();
            match self.table.find_by_hash(item.hash).filter_map(Entry::mark).find(is_its) {
                Some(mark) if mark <= item.mark => return true,
                moved => {
                    self.timers.pop_due(item.mark.deadline_ms());
                    if let Some(mark) = moved {
                        self.timers.refile(mark, item.hash);
                    }
                }
            }
        }
        false
    }

    /// The same by way of the filed deadlines: for keys with one among many without, and for the nearest ones.
    fn sample_timers(&self, policy: Policy, seed: u64, count: usize, mut visit: impl FnMut(u64, &Entry)) {
        let mut left = count;
        let mut look = |item: Item| {
            let is_live = |entry: &&Entry| entry.mark().is_some_and(|mark| mark.generation() == item.mark.generation());
            if let Some(entry) = self.table.find_by_hash(item.hash).find(is_live) {
                visit(item.hash, entry);
                left -= 1;
            }
            left > 0
        };
        let looks = count.saturating_mul(LOOKS_PER_SAMPLE).max(LOOKS_MIN);
        let items = self.timers.items();
        let _ = if policy.order == Order::Deadline {
            // They stand at the front, the earliest first of all, when [`Db::settle_deadlines`] was asked before.
            items.iter().take(looks).all(|item| look(*item))
        } else if items.len() <= looks {
            let (before, from) = items.split_at((seed % items.len().max(1) as u64) as usize);
            from.iter().chain(before).all(|item| look(*item))
        } else {
            let random = Random::new(seed);
            (0..looks).all(|_| look(items[(random.next() % items.len() as u64) as usize]))
        };
    }

    fn create(&mut self, hash: u64, key: &[u8], body: Body<'_>, expiry: Expiry, access: &Access<'_>) {
        let deadline = decide(&mut self.timers, hash, None, expiry);
        let entry = Entry::build(key, body, false, deadline);
        entry.set_access(access.fresh());
        entry.set_epoch(self.cut.epoch());
        self.table.insert_new(hash, entry);
        self.recount(None, deadline);
    }

    /// Counts a key that got or lost its deadline, and keeps the timers short. Called after the entry has changed.
    #[inline]
    fn recount(&mut self, before: Option<Deadline>, after: Option<Deadline>) {
        if before.is_none() && after.is_none() {
            return;
        }
        self.volatile = self.volatile + usize::from(after.is_some()) - usize::from(before.is_some());
        let table = &self.table;
        self.timers.sweep(self.volatile, |item| {
            table
                .find_by_hash(item.hash)
                .any(|entry| entry.mark().is_some_and(|mark| mark.generation() == item.mark.generation()))
        });
    }
}

/// The deadline that an entry is to have, filed if it must be.
#[inline]
fn decide(timers: &mut Timers, hash: u64, before: Option<Deadline>, expiry: Expiry) -> Option<Deadline> {
    match expiry {
        Expiry::Keep => before,
        Expiry::Clear => None,
        Expiry::At(ms) => Some(timers.file(ms, hash, before)),
    }
}

#[cfg(test)]
mod tests;
