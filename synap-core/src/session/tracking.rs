//! Client-side caching: who has read which keys, or wants to hear of all with a prefix.
//!
//! What a client has read stands in the shard of the key, under its lock, and is told of once: whoever changes the key
//! takes the entry out. A [`Tracker`] that has ended stays where it stands until somebody comes by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::client::Client;
use super::inbox::Mail;
use super::registry::Registry;

/// What a session's cache asks for. Given when tracking begins; it ends with the tracker.
pub struct Tracking {
    pub tracker: Arc<Tracker>,
    pub mode: Mode,
    /// CLIENT CACHING was said for the next call.
    pub says: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is read is told of.
    All,
    /// The same only behind CLIENT CACHING YES.
    OptIn,
    /// The same but behind CLIENT CACHING NO.
    OptOut,
    /// All changes of keys with certain prefixes are told of.
    Broadcast,
}

impl Tracking {
    /// What the next call reads is to be remembered. CLIENT CACHING counts for one call or transaction.
    pub fn takes_next(&mut self) -> bool {
        let said = self.says.take();
        match self.mode {
            Mode::All => true,
            Mode::OptIn => said == Some(true),
            Mode::OptOut => said != Some(false),
            Mode::Broadcast => false,
        }
    }
}

/// The part of it that others reach.
#[derive(Debug)]
pub struct Tracker {
    pub client: Arc<Client>,
    /// Who hears of changes instead.
    pub redirect: Option<u64>,
    /// Changes that the client makes by itself are not told.
    pub noloop: bool,
    pub prefixes: Vec<Box<[u8]>>,
    ended: AtomicBool,
    /// The one who hears instead has gone.
    pub is_broken: AtomicBool,
}

/// All trackers of an engine.
#[derive(Debug, Default)]
pub struct Trackers {
    by_client: Mutex<HashMap<u64, Arc<Tracker>>>,
    /// How many hear of prefixes: one load tells a change that nobody does.
    broadcast_count: AtomicUsize,
    /// Keys that are remembered in all shards.
    pub key_count: AtomicUsize,
}

impl Trackers {
    pub fn begin(
        &self,
        client: &Arc<Client>,
        redirect: Option<u64>,
        noloop: bool,
        prefixes: Vec<Box<[u8]>>,
    ) -> Arc<Tracker> {
        // The name, and what the allocator and the list add to it.
        let bytes = prefixes.iter().map(|prefix| prefix.len() + 2 * size_of::<Box<[u8]>>()).sum();
        client.prefix_bytes.store(bytes, Ordering::Relaxed);
        let tracker = Arc::new(Tracker {
            client: client.clone(),
            redirect,
            noloop,
            prefixes,
            ended: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
        });
        let mut by_client = self.by_client.lock();
        by_client.insert(client.id, tracker.clone());
        self.count(&by_client);
        tracker
    }

    pub fn end(&self, tracker: &Tracker) {
        tracker.ended.store(true, Ordering::Relaxed);
        tracker.client.prefix_bytes.store(0, Ordering::Relaxed);
        let mut by_client = self.by_client.lock();
        by_client.remove(&tracker.client.id);
        self.count(&by_client);
    }

    fn count(&self, by_client: &HashMap<u64, Arc<Tracker>>) {
        let count = by_client.values().filter(|tracker| !tracker.prefixes.is_empty()).count();
        self.broadcast_count.store(count, Ordering::Relaxed);
    }

    #[inline]
    pub fn has_broadcasts(&self) -> bool {
        self.broadcast_count.load(Ordering::Relaxed) > 0
    }

    /// Those who hear of `key` whoever has read it.
    pub fn with_prefix_of(&self, key: &[u8]) -> Vec<Arc<Tracker>> {
        let by_client = self.by_client.lock();
        by_client.values().filter(|tracker| tracker.prefix_of(key).is_some()).cloned().collect()
    }

    pub fn all(&self) -> Vec<Arc<Tracker>> {
        self.by_client.lock().values().cloned().collect()
    }

    pub fn prefix_count(&self) -> usize {
        self.by_client.lock().values().map(|tracker| tracker.prefixes.len()).sum()
    }
}

impl Tracker {
    /// The first of its prefixes that `key` has; none for those who hear of what they have read.
    pub fn prefix_of(&self, key: &[u8]) -> Option<usize> {
        self.prefixes.iter().position(|prefix| key.starts_with(prefix))
    }

    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Tells that `keys` have changed, or all when none is named, by a change of the client with id `by`. Whoever is told
    /// is woken by the caller.
    pub fn tell(&self, registry: &Registry, keys: Option<Vec<Arc<[u8]>>>, by: u64, seen: u64) -> Option<Waker> {
        if self.has_ended() || (self.noloop && self.client.id == by) {
            return None;
        }
        let Some(id) = self.redirect else {
            // Who speaks RESP2 would take it for the answer to a call.
            let hears = self.client.resp3.load(Ordering::Relaxed);
            return hears.then(|| self.client.put(Mail::Invalidate(keys), seen)).flatten();
        };
        match registry.get(id) {
            Some(other) => {
                let hears = other.resp3.load(Ordering::Relaxed) || other.listens();
                hears.then(|| other.put(Mail::Invalidate(keys), seen)).flatten()
            }
            None => {
                let is_news = !self.is_broken.swap(true, Ordering::Relaxed);
                let hears = is_news && self.client.resp3.load(Ordering::Relaxed);
                hears.then(|| self.client.put(Mail::RedirectBroken(id), seen)).flatten()
            }
        }
    }
}
