//! WATCH as the session sees it: a flag that whoever changes a watched key sets, under the lock of the key's shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashTable;

/// Set when one of the keys watched with it has changed. Set and read under the lock of the changed key's shard, so
/// EXEC, which holds the shards of all its watched keys, cannot miss a change.
#[derive(Debug, Default)]
pub struct WatchFlag(AtomicBool);

impl WatchFlag {
    pub fn touch(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_touched(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A watched key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub db: u32,
    pub key: Box<[u8]>,
    pub hash: u64,
    /// Its time had come already, and it was only hidden: it was not there.
    pub was_hidden: bool,
}

/// What a watched key takes besides its name: here, and in its shard.
const WATCHED_BYTES: usize = 2 * size_of::<Watched>();

/// What a session watches.
#[derive(Debug, Default)]
pub struct Watches {
    pub flag: Option<Arc<WatchFlag>>,
    pub keys: Vec<Watched>,
    /// Memory that they take, about.
    pub bytes: usize,
    /// Places in `keys` by database and key: a client may watch as many as it likes.
    index: HashTable<u32>,
}

impl Watches {
    pub fn knows(&self, db: u32, hash: u64, key: &[u8]) -> bool {
        let same = |&at: &u32| {
            let known = &self.keys[at as usize];
            known.db == db && *known.key == *key
        };
        self.index.find(hash, same).is_some()
    }

    /// Adds a key that it does not know.
    pub fn add(&mut self, watched: Watched) {
        self.bytes += WATCHED_BYTES + watched.key.len();
        let keys = &self.keys;
        self.index.insert_unique(watched.hash, keys.len() as u32, |&at| keys[at as usize].hash);
        self.keys.push(watched);
    }
}
