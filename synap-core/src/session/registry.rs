//! All clients by id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::{Client, Door};
use super::output::Limits;

#[derive(Debug, Default)]
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
}
