//! The 64 shards and the right to touch them.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use lock_api::RawMutex as _;
use parking_lot::RawMutex;

use crate::keyspace::cut::OldValues;
use crate::keyspace::db::Db;
use crate::keyspace::hasher::{KeyHasher, SHARD_COUNT};
use crate::session::{Tracker, Waiter, WatchFlag};

/// A key in a database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub db: u32,
    pub key: Box<[u8]>,
}

/// A [`Place`] to look up, without owning the key.
#[derive(Hash)]
pub struct PlaceRef<'a> {
    pub db: u32,
    pub key: &'a [u8],
}

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.db == place.db && *self.key == *place.key
    }
}

/// What one shard holds: the databases' tables, and who wants to know of changes.
pub struct Shard {
    dbs: Vec<Option<Box<Db>>>,
    hasher: KeyHasher,
    /// The snapshot epoch of databases that are made now.
    epoch: u16,
    /// Log offset of the last append that changed this shard: what a reader saw is safe when it is settled.
    pub last_offset: u64,
    /// The time of the last call that was here: see [`super::Turn`].
    pub latest_ms: i64,
    pub watchers: HashMap<Place, Vec<Arc<WatchFlag>>>,
    pub waiters: HashMap<Place, VecDeque<Arc<Waiter>>>,
    /// Who has read which keys, of any database, and wants to hear when they change.
    pub trackers: HashMap<Box<[u8]>, Vec<Arc<Tracker>>>,
    /// Waiters here whose service touches another key.
    pub reaching: usize,
}

impl Shard {
    fn new(hasher: KeyHasher) -> Shard {
        Shard {
            dbs: Vec::new(),
            hasher,
            epoch: 0,
            last_offset: 0,
            latest_ms: i64::MIN,
            watchers: HashMap::new(),
            waiters: HashMap::new(),
            trackers: HashMap::new(),
            reaching: 0,
        }
    }

    /// Database `db`, if anything was ever put into it.
    #[inline]
    pub fn db(&self, db: u32) -> Option<&Db> {
        self.dbs.get(db as usize)?.as_deref()
    }

    /// Database `db`, made on first use.
    #[inline]
    pub fn db_mut(&mut self, db: u32) -> &mut Db {
        let index = db as usize;
        if index >= self.dbs.len() {
            self.dbs.resize_with(index + 1, || None);
        }
        self.dbs[index].get_or_insert_with(|| Box::new(Db::new(self.hasher, self.epoch)))
    }

    /// Database `db`, not made.
    #[inline]
    pub fn existing_mut(&mut self, db: u32) -> Option<&mut Db> {
        self.dbs.get_mut(db as usize)?.as_deref_mut()
    }

    pub fn db_count(&self) -> u32 {
        self.dbs.len() as u32
    }

    /// Keys in all databases.
    pub fn key_count(&self) -> usize {
        self.dbs.iter().flatten().map(|db| db.len()).sum()
    }

    /// Takes database `db` away, whole.
    pub fn detach(&mut self, db: u32) -> Option<Box<Db>> {
        self.dbs.get_mut(db as usize)?.take()
    }

    pub fn swap(&mut self, one: u32, other: u32) {
        let top = one.max(other) as usize;
        if top >= self.dbs.len() {
            self.dbs.resize_with(top + 1, || None);
        }
        self.dbs.swap(one as usize, other as usize);
    }

    /// True when a change must look for somebody to tell.
    #[inline]
    pub fn is_observed(&self) -> bool {
        !self.watchers.is_empty() || !self.waiters.is_empty() || !self.trackers.is_empty()
    }

    /// The cut of a snapshot in this shard, with the gate closed.
    pub fn begin_cut(&mut self, epoch: u16, old: &Arc<OldValues>) {
        self.epoch = epoch;
        for (index, db) in self.dbs.iter_mut().enumerate() {
            if let Some(db) = db {
                db.begin_cut(epoch, index as u32, old.clone());
            }
        }
    }

    /// The walker has seen all of this shard, or has given up.
    pub fn end_cut(&mut self) {
        self.dbs.iter_mut().flatten().for_each(|db| db.end_cut());
    }

    /// The number that a database had at the cut which the walker is not through with.
    pub fn next_walked(&self) -> Option<u32> {
        self.dbs.iter().flatten().find_map(|db| db.walked_as())
    }

    /// The database that had this number at the cut, until the walker is through with it.
    pub fn walked(&mut self, db_at_cut: u32) -> Option<&mut Db> {
        self.dbs.iter_mut().flatten().map(|db| &mut **db).find(|db| db.walked_as() == Some(db_at_cut))
    }

    /// The earliest deadline of any key or field.
    pub fn next_deadline(&self) -> Option<i64> {
        self.dbs.iter().flatten().filter_map(|db| db.next_deadline()).min()
    }
}

/// One shard on its own cache lines.
#[repr(align(128))]
struct Locked {
    raw: RawMutex,
    shard: UnsafeCell<Shard>,
}

/// All shards. Their data is reached through [`Held`] alone.
pub struct Shards(Box<[Locked]>);

// SAFETY: a shard's data is only reached through `Held`, which has locked it or is alone inside the gate, so threads
// take turns; what a shard holds may itself move between threads (`Shard: Send`, asserted below).
unsafe impl Sync for Shards {}
// SAFETY: as above; nothing in it is bound to a thread.
unsafe impl Send for Shards {}

const _: fn() = || {
    fn send<T: Send>() {}
    send::<Shard>();
};

impl Shards {
    pub fn new(hasher: KeyHasher) -> Shards {
        Shards(
            (0..SHARD_COUNT)
                .map(|_| Locked { raw: RawMutex::INIT, shard: UnsafeCell::new(Shard::new(hasher)) })
                .collect(),
        )
    }
}

/// The right to touch some shards: bit *i* of the mask is shard *i*.
pub struct Held<'s> {
    shards: &'s Shards,
    mask: u64,
    /// The gate is closed: everything is ours and nothing is locked.
    alone: bool,
    /// It stays with the thread that locked, as the guards of the gate do: a shard is not made for `&` from two threads.
    not_send: PhantomData<*const ()>,
}

impl<'s> Held<'s> {
    /// Locks the shards of `mask` in ascending order, so that two calls cannot wait for each other.
    #[inline]
    pub fn lock(shards: &'s Shards, mask: u64) -> Held<'s> {
        let mut rest = mask;
        while rest != 0 {
            shards.0[rest.trailing_zeros() as usize].raw.lock();
            rest &= rest - 1;
        }
        Held { shards, mask, alone: false, not_send: PhantomData }
    }

    /// Everything, without locks: the caller shows that it is alone inside the gate, for as long as this lives.
    pub fn alone(shards: &'s Shards, _closed: &'s super::gate::Closed<'_>) -> Held<'s> {
        Held { shards, mask: u64::MAX, alone: true, not_send: PhantomData }
    }

    #[inline]
    pub fn mask(&self) -> u64 {
        self.mask
    }

    pub fn is_alone(&self) -> bool {
        self.alone
    }

    #[inline]
    pub fn holds(&self, shard: usize) -> bool {
        self.mask & (1 << shard) != 0
    }

    #[inline]
    pub fn get(&self, shard: usize) -> &Shard {
        assert!(self.holds(shard), "shard {shard} is not locked: the call did not name this key");
        // SAFETY: this shard is locked by us, or we are alone inside the gate; `&self` keeps our own writers away.
        unsafe { &*self.shards.0[shard].shard.get() }
    }

    /// The numbers of the shards that are held.
    #[inline]
    pub fn indexes(&self) -> impl Iterator<Item = usize> + use<> {
        let mut rest = self.mask;
        std::iter::from_fn(move || {
            let index = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (index < 64).then_some(index)
        })
    }

    #[inline]
    pub fn get_mut(&mut self, shard: usize) -> &mut Shard {
        assert!(self.holds(shard), "shard {shard} is not locked: the call did not name this key");
        // SAFETY: this shard is locked by us, or we are alone inside the gate; `&mut self` makes the reference unique.
        unsafe { &mut *self.shards.0[shard].shard.get() }
    }
}

impl Held<'_> {
    /// Gives everything back.
    #[inline]
    pub fn release(&mut self) {
        let mut rest = std::mem::take(&mut self.mask);
        if self.alone {
            return;
        }
        while rest != 0 {
            // SAFETY: `lock` has locked exactly these, on this thread, and the mask says so no longer.
            unsafe { self.shards.0[rest.trailing_zeros() as usize].raw.unlock() };
            rest &= rest - 1;
        }
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}
