//! Who listens to what.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::RwLock;

use super::client::Client;
use super::inbox::{Change, Mail, Message};

/// The subscriptions of one session. Boxed on first use: most sessions have none.
#[derive(Debug, Default)]
pub struct Subscriptions(Option<Box<Sets>>);

#[derive(Debug, Default)]
struct Sets {
    channels: BTreeSet<Arc<[u8]>>,
    patterns: BTreeSet<Arc<[u8]>>,
    shard: BTreeSet<Arc<[u8]>>,
    keys: BTreeSet<Arc<[u8]>>,
    key_patterns: BTreeSet<Arc<[u8]>>,
    /// Memory that they take, about.
    bytes: usize,
}

/// What a subscription takes besides its name: here, and among the listeners of its channel.
const SUBSCRIPTION_BYTES: usize = 96;

/// A channel by name, a pattern of them, or a shard channel: a name of its own kind, which patterns do not meet. And the
/// changes of a key or of all keys that match a pattern: their names begin with the database, see [`key_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Channel,
    Pattern,
    Shard,
    Key,
    KeyPattern,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Channel, Kind::Pattern, Kind::Shard, Kind::Key, Kind::KeyPattern];
    pub const OF_CHANNELS: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];
    pub const OF_KEYS: [Kind; 2] = [Kind::Key, Kind::KeyPattern];

    const fn is_of_keys(self) -> bool {
        matches!(self, Kind::Key | Kind::KeyPattern)
    }
}

/// What a key, or a pattern of keys, of a database is listened to as.
pub fn key_name(db: u32, key: &[u8]) -> Vec<u8> {
    [itoa::Buffer::new().format(db).as_bytes(), b":", key].concat()
}

/// The key of a [`key_name`].
pub fn key_of(name: &[u8]) -> &[u8] {
    name.iter().position(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..])
}

impl Subscriptions {
    /// How many there are of this kind, as confirmations tell: channels and patterns are counted together.
    pub fn count(&self, kind: Kind) -> usize {
        self.0.as_ref().map_or(0, |sets| match kind {
            Kind::Channel | Kind::Pattern => sets.channels.len() + sets.patterns.len(),
            Kind::Shard => sets.shard.len(),
            Kind::Key | Kind::KeyPattern => sets.keys.len() + sets.key_patterns.len(),
        })
    }

    /// No subscription of any kind.
    pub fn is_empty(&self) -> bool {
        self.count(Kind::Channel) + self.count(Kind::Shard) + self.count(Kind::Key) == 0
    }

    fn set(&mut self, kind: Kind) -> &mut BTreeSet<Arc<[u8]>> {
        let sets = self.0.get_or_insert_default();
        match kind {
            Kind::Channel => &mut sets.channels,
            Kind::Pattern => &mut sets.patterns,
            Kind::Shard => &mut sets.shard,
            Kind::Key => &mut sets.keys,
            Kind::KeyPattern => &mut sets.key_patterns,
        }
    }

    fn change_bytes(&mut self, change: impl FnOnce(usize) -> usize) {
        let sets = self.0.get_or_insert_default();
        sets.bytes = change(sets.bytes);
    }

    pub fn list(&self, kind: Kind) -> Vec<Arc<[u8]>> {
        self.0.as_ref().map_or_else(Vec::new, |sets| match kind {
            Kind::Channel => sets.channels.iter().cloned().collect(),
            Kind::Pattern => sets.patterns.iter().cloned().collect(),
            Kind::Shard => sets.shard.iter().cloned().collect(),
            Kind::Key => sets.keys.iter().cloned().collect(),
            Kind::KeyPattern => sets.key_patterns.iter().cloned().collect(),
        })
    }
}

type Listeners = Vec<Arc<Client>>;

/// All channels of the engine.
#[derive(Debug, Default)]
pub struct Channels {
    exact: RwLock<HashMap<Arc<[u8]>, Listeners>>,
    patterns: RwLock<HashMap<Arc<[u8]>, Listeners>>,
    shard: RwLock<HashMap<Arc<[u8]>, Listeners>>,
    keys: RwLock<HashMap<Arc<[u8]>, Listeners>>,
    key_patterns: RwLock<HashMap<Arc<[u8]>, Listeners>>,
    /// How many listen to changes of keys: one load tells a write that nobody does.
    key_listener_count: AtomicUsize,
}

impl Channels {
    fn map(&self, kind: Kind) -> &RwLock<HashMap<Arc<[u8]>, Listeners>> {
        match kind {
            Kind::Channel => &self.exact,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shard,
            Kind::Key => &self.keys,
            Kind::KeyPattern => &self.key_patterns,
        }
    }

    /// Adds `client`; true when it was not there before.
    pub fn subscribe(&self, client: &Arc<Client>, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        let name: Arc<[u8]> = name.into();
        if !own.set(kind).insert(name.clone()) {
            return false;
        }
        own.change_bytes(|bytes| bytes + SUBSCRIPTION_BYTES + name.len());
        self.map(kind).write().entry(name).or_default().push(client.clone());
        if kind.is_of_keys() {
            self.key_listener_count.fetch_add(1, Ordering::Relaxed);
        }
        Channels::note(client, own);
        true
    }

    pub fn unsubscribe(&self, client: &Arc<Client>, own: &mut Subscriptions, kind: Kind, name: &[u8]) -> bool {
        if !own.set(kind).remove(name) {
            return false;
        }
        own.change_bytes(|bytes| bytes - SUBSCRIPTION_BYTES - name.len());
        let mut map = self.map(kind).write();
        if let Some(listeners) = map.get_mut(name) {
            listeners.retain(|other| other.id != client.id);
            if listeners.is_empty() {
                map.remove(name);
            }
        }
        drop(map);
        if kind.is_of_keys() {
            self.key_listener_count.fetch_sub(1, Ordering::Relaxed);
        }
        Channels::note(client, own);
        true
    }

    /// Forgets everything of a client that leaves or resets.
    pub fn unsubscribe_all(&self, client: &Arc<Client>, own: &mut Subscriptions) {
        for kind in Kind::ALL {
            for name in own.list(kind) {
                self.unsubscribe(client, own, kind, &name);
            }
        }
    }

    fn note(client: &Client, own: &Subscriptions) {
        let Some(sets) = &own.0 else { return };
        client.subscriptions.store(sets.channels.len() as u32, Ordering::Relaxed);
        client.patterns.store(sets.patterns.len() as u32, Ordering::Relaxed);
        client.shard_subscriptions.store(sets.shard.len() as u32, Ordering::Relaxed);
        client.subscription_bytes.store(sets.bytes, Ordering::Relaxed);
    }

    /// Sends `payload` to all who listen; `seen` is the log offset that must be settled before it leaves. Returns how
    /// many got it, a client with two matching patterns twice.
    pub fn publish(&self, kind: Kind, channel: &[u8], payload: &[u8], seen: u64) -> usize {
        let mut wakers = Vec::new();
        let count = self.put_all(kind, channel, payload, seen, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        count
    }

    /// [`Channels::publish`] for a caller that holds locks: it wakes who got something when they are gone.
    pub fn put_all(&self, kind: Kind, channel: &[u8], payload: &[u8], seen: u64, wakers: &mut Vec<Waker>) -> usize {
        let mut count = 0;
        let mut shared: Option<[Arc<[u8]>; 2]> = None;
        let mut deliver = |pattern: Option<&Arc<[u8]>>, listeners: &Listeners| {
            let [channel, payload] = shared.get_or_insert_with(|| [channel.into(), payload.into()]).clone();
            // Who was ended is about to leave.
            for client in listeners.iter().filter(|client| !client.is_killed()) {
                let (pattern, is_shard) = (pattern.cloned(), kind == Kind::Shard);
                let message = Message { pattern, is_shard, channel: channel.clone(), payload: payload.clone() };
                wakers.extend(client.put(Mail::Message(message), seen));
                count += 1;
            }
        };
        if let Some(listeners) = self.map(kind).read().get(channel) {
            deliver(None, listeners);
        }
        if kind == Kind::Shard {
            return count;
        }
        let patterns = self.patterns.read();
        for (pattern, listeners) in patterns.iter() {
            if crate::glob::matches(pattern, channel) {
                deliver(Some(pattern), listeners);
            }
        }
        count
    }

    /// True when somebody listens to changes of keys.
    #[inline]
    pub fn has_key_listeners(&self) -> bool {
        self.key_listener_count.load(Ordering::Relaxed) != 0
    }

    /// Sends a change of `key` to those who listen to it, each once; `make` is asked when there is somebody. For a caller
    /// that holds locks: it wakes them when they are gone.
    pub(crate) fn put_change(
        &self,
        db: u32,
        key: &[u8],
        make: impl FnOnce() -> Change,
        seen: u64,
        wakers: &mut Vec<Waker>,
    ) {
        let name = key_name(db, key);
        let mut listeners = self.keys.read().get(&*name).cloned().unwrap_or_default();
        for (pattern, others) in self.key_patterns.read().iter() {
            if crate::glob::matches(pattern, &name) {
                listeners.extend(others.iter().cloned());
            }
        }
        self.put_to(listeners, make, seen, wakers);
    }

    /// Sends something that happened to a whole database, or to all, to everybody who listens to a key of it.
    pub(crate) fn put_change_of_all(&self, db: Option<u32>, change: Change, seen: u64, wakers: &mut Vec<Waker>) {
        let prefix = db.map(|db| key_name(db, b"")).unwrap_or_default();
        let mut listeners = Listeners::new();
        for map in [&self.keys, &self.key_patterns] {
            let map = map.read();
            let of_db = map.iter().filter(|(name, _)| name.starts_with(&prefix));
            listeners.extend(of_db.flat_map(|(_, listeners)| listeners.iter().cloned()));
        }
        self.put_to(listeners, || change, seen, wakers);
    }

    fn put_to(&self, mut listeners: Listeners, make: impl FnOnce() -> Change, seen: u64, wakers: &mut Vec<Waker>) {
        if listeners.is_empty() {
            return;
        }
        listeners.sort_unstable_by_key(|client| client.id);
        listeners.dedup_by_key(|client| client.id);
        let change = Arc::new(make());
        wakers.extend(listeners.iter().filter_map(|client| client.put(Mail::Change(change.clone()), seen)));
    }

    /// How many would get a message.
    pub fn receivers(&self, kind: Kind, channel: &[u8]) -> usize {
        if kind == Kind::Shard {
            return self.listeners(kind, channel);
        }
        let patterns = self.patterns.read();
        let by_pattern = patterns.iter().filter(|(pattern, _)| crate::glob::matches(pattern, channel));
        self.listeners(kind, channel) + by_pattern.map(|(_, listeners)| listeners.len()).sum::<usize>()
    }

    /// Channels with listeners that match `pattern`.
    pub fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let exact = self.map(kind).read();
        exact.keys().filter(|c| pattern.is_none_or(|p| crate::glob::matches(p, c))).cloned().collect()
    }

    pub fn listeners(&self, kind: Kind, channel: &[u8]) -> usize {
        self.map(kind).read().get(channel).map_or(0, Vec::len)
    }

    /// The clients of which one subscription is said to be meant, perhaps several times.
    pub fn listeners_that(&self, kinds: &[Kind], is_meant: impl Fn(Kind, &[u8], &Client) -> bool) -> Vec<Arc<Client>> {
        let mut found = Vec::new();
        for &kind in kinds {
            for (name, listeners) in self.map(kind).read().iter() {
                found.extend(listeners.iter().filter(|client| is_meant(kind, name, client)).cloned());
            }
        }
        found
    }

    pub fn pattern_count(&self) -> usize {
        self.patterns.read().len()
    }
}
