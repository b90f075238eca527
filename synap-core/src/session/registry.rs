//! All clients by id.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::client::{Client, Door};

#[derive(Debug, Default)]
pub struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    /// How many sessions watch everything (MONITOR).
    pub monitors: AtomicUsize,
    /// Connections that came in since the start. Those of the HTTP door are counted by the door: its sessions are
    /// requests.
    pub accepted: AtomicU64,
}

impl Registry {
    pub fn add(&self, door: Door, addr: String, laddr: String, now_ms: i64) -> Arc<Client> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        if door != Door::Http {
            self.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let client = Arc::new(Client::new(id, door, addr, laddr, now_ms));
        self.clients.lock().insert(id, client.clone());
        client
    }

    pub fn remove(&self, id: u64) {
        self.clients.lock().remove(&id);
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

    /// Everybody, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.clients.lock().values().cloned().collect()
    }
}
