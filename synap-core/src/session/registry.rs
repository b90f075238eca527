//! All clients by id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::{Client, Door};
use super::output::Limits;

#[derive(Debug)]
pub struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    monitors: Mutex<Vec<Arc<Client>>>,
    /// How many they are: one load tells a call that nobody watches.
    monitor_count: AtomicUsize,
    /// Connections that came in since the start. Those of the HTTP door are counted by the door: its sessions are
    /// requests.
    pub accepted: AtomicU64,
    /// Connections that were not let in.
    pub rejected: AtomicU64,
    /// Bytes of those who have gone.
    gone_in: AtomicU64,
    gone_out: AtomicU64,
    /// How much may wait for clients that do not read.
    pub output_limits: Arc<Limits>,
    /// `maxmemory-clients` in bytes; `usize::MAX` when there is no limit.
    bytes_max: AtomicUsize,
    /// What clients take together, each as it was weighed last. Only kept while there is a limit.
    bytes: AtomicUsize,
    /// The sum at which nobody was left to be closed.
    bytes_in_vain: AtomicUsize,
}

impl Default for Registry {
    fn default() -> Registry {
        Registry {
            clients: Mutex::default(),
            last_id: AtomicU64::new(0),
            monitors: Mutex::default(),
            monitor_count: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            gone_in: AtomicU64::new(0),
            gone_out: AtomicU64::new(0),
            output_limits: Arc::default(),
            bytes_max: AtomicUsize::new(usize::MAX),
            bytes: AtomicUsize::new(0),
            bytes_in_vain: AtomicUsize::new(0),
        }
    }
}

impl Registry {
    pub fn add(&self, door: Door, addr: String, laddr: String, now_ms: i64) -> Arc<Client> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        if door != Door::Http {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let client = Arc::new(Client::new(id, door, addr, laddr, now_ms, self.output_limits.clone()));
        self.clients.lock().insert(id, client.clone());
        client
    }

    pub fn remove(&self, id: u64) {
        let client = self.clients.lock().remove(&id);
        if let Some(client) = client {
            self.gone_in.fetch_add(client.total_in.load(Ordering::Relaxed), Ordering::Relaxed);
            self.gone_out.fetch_add(client.total_out.load(Ordering::Relaxed), Ordering::Relaxed);
            self.weigh_no_more(&client);
        }
    }

    /// Bytes that all clients have sent and were sent, those included who have gone.
    pub fn net_bytes(&self) -> (u64, u64) {
        let clients = self.clients.lock();
        let sum = |gone: &AtomicU64, of: fn(&Client) -> &AtomicU64| {
            let there: u64 = clients.values().map(|client| of(client).load(Ordering::Relaxed)).sum();
            gone.load(Ordering::Relaxed) + there
        };
        (sum(&self.gone_in, |client| &client.total_in), sum(&self.gone_out, |client| &client.total_out))
    }

    /// From now on, `client` is shown every call (MONITOR).
    pub fn watch_all(&self, client: &Arc<Client>) {
        let mut monitors = self.monitors.lock();
        if !client.monitor.swap(true, Ordering::Relaxed) {
            monitors.push(client.clone());
            self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        }
    }

    /// The end of [`Registry::watch_all`], for whoever has begun it.
    pub fn watch_no_more(&self, client: &Arc<Client>) {
        if client.monitor.load(Ordering::Relaxed) {
            let mut monitors = self.monitors.lock();
            client.monitor.store(false, Ordering::Relaxed);
            monitors.retain(|other| !Arc::ptr_eq(other, client));
            self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        }
    }

    #[inline]
    pub fn monitor_count(&self) -> usize {
        self.monitor_count.load(Ordering::Relaxed)
    }

    pub fn for_each_monitor(&self, visit: impl FnMut(&Arc<Client>)) {
        self.monitors.lock().iter().for_each(visit);
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.clients.lock().get(&id).cloned()
    }

    pub fn len(&self) -> usize {
        self.clients.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.lock().is_empty()
    }

    /// Shows everybody. Nobody comes or goes meanwhile: be quick, and take no other lock but leaves.
    pub fn for_each(&self, visit: impl FnMut(&Arc<Client>)) {
        self.clients.lock().values().for_each(visit);
    }

    /// Everybody, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }

    /// Memory that clients take together, about. O(clients).
    pub fn memory_bytes(&self) -> usize {
        self.clients.lock().values().map(|client| client.memory_bytes()).sum()
    }

    /// `maxmemory-clients` has a new value; none has no limit. Returns how many clients are closed because of it.
    pub fn set_bytes_max(&self, bytes_max: Option<usize>) -> u64 {
        self.bytes_max.store(bytes_max.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.bytes_in_vain.store(0, Ordering::Relaxed);
        if bytes_max.is_none() {
            return 0;
        }
        self.all().iter().for_each(|client| self.note_weight(client));
        self.close_largest()
    }

    /// Said by a client between its calls: when all take too much, the largest are closed. Returns how many.
    #[inline]
    pub fn weigh(&self, client: &Client) -> u64 {
        if self.bytes_max.load(Ordering::Relaxed) == usize::MAX {
            return 0;
        }
        self.note_weight(client);
        self.close_largest()
    }

    fn note_weight(&self, client: &Client) {
        if let Some(counted) = &mut *client.counted_bytes.lock() {
            let bytes = client.memory_bytes();
            self.change_bytes(*counted, bytes);
            *counted = bytes;
        }
    }

    fn weigh_no_more(&self, client: &Client) {
        if let Some(counted) = client.counted_bytes.lock().take() {
            self.change_bytes(counted, 0);
        }
    }

    fn change_bytes(&self, before: usize, after: usize) {
        let change = after.wrapping_sub(before);
        let bytes = self.bytes.fetch_add(change, Ordering::Relaxed).wrapping_add(change);
        if after < before {
            // What comes on top of less may be too much again.
            self.bytes_in_vain.fetch_min(bytes, Ordering::Relaxed);
        }
    }

    /// What is too much by now.
    fn is_too_heavy(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max.load(Ordering::Relaxed)
    }

    fn close_largest(&self) -> u64 {
        // Those who may not be closed may be too many: all others are looked at again when there is more.
        if !self.is_too_heavy() || self.bytes.load(Ordering::Relaxed) <= self.bytes_in_vain.load(Ordering::Relaxed) {
            return 0;
        }
        let may_go = |client: &&Arc<Client>| {
            client.door == Door::Resp && !client.no_evict.load(Ordering::Relaxed) && !client.is_killed()
        };
        let mut clients: Vec<_> = self.clients.lock().values().filter(may_go).cloned().collect();
        clients.iter().for_each(|client| self.note_weight(client));
        clients.sort_by_cached_key(|client| std::cmp::Reverse(client.memory_bytes()));
        let mut closed = 0;
        for client in clients {
            if !self.is_too_heavy() {
                return closed;
            }
            // It is as good as gone.
            self.weigh_no_more(&client);
            client.kill();
            closed += 1;
        }
        self.bytes_in_vain.store(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(registry: &Registry, query_bytes: usize) -> Arc<Client> {
        let client = registry.add(Door::Resp, String::new(), String::new(), 0);
        client.query_bytes.store(query_bytes, Ordering::Relaxed);
        client
    }

    #[test]
    fn the_largest_go_first_and_no_more_than_needed() {
        let registry = Registry::default();
        let clients: Vec<_> = [300_000, 100_000, 500_000, 400_000].map(|bytes| client(&registry, bytes)).into();
        clients[2].no_evict.store(true, Ordering::Relaxed);
        assert_eq!(registry.weigh(&clients[0]), 0, "there is no limit");
        assert_eq!(registry.set_bytes_max(Some(950_000)), 1);
        let killed = |clients: &[Arc<Client>]| clients.iter().map(|client| client.is_killed()).collect::<Vec<_>>();
        assert_eq!(killed(&clients), [false, false, false, true]);
        clients[1].query_bytes.store(200_000, Ordering::Relaxed);
        assert_eq!(registry.weigh(&clients[1]), 1);
        assert_eq!(killed(&clients), [true, false, false, true]);
        // Those that are closed are not counted again, here or when they leave.
        clients.iter().for_each(|client| assert_eq!(registry.weigh(client), 0));
        for client in &clients {
            registry.remove(client.id);
        }
        assert_eq!(registry.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_may_not_be_closed_is_not_looked_at_again_and_again() {
        let registry = Registry::default();
        let spared = client(&registry, 100_000);
        spared.no_evict.store(true, Ordering::Relaxed);
        assert_eq!(registry.set_bytes_max(Some(50_000)), 0);
        let small = client(&registry, 10);
        assert_eq!(registry.weigh(&small), 1);
        assert_eq!(registry.weigh(&spared), 0);
        registry.remove(spared.id);
        let next = client(&registry, 90_000);
        assert_eq!(registry.weigh(&next), 1);
    }
}
