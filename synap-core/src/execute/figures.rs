//! Figures of the whole engine, for whoever shows them: INFO, MEMORY, the metrics of the program.

use std::sync::atomic::Ordering;

use super::context::WalkCx;
use super::eviction;
use super::state::State;
use crate::session::Door;

/// What the allocator says, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// Handed out.
    pub allocated: u64,
    /// Whole pages with something in them.
    pub active: u64,
    /// In physical memory.
    pub resident: u64,
}

/// The clients of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    pub resp: usize,
    pub http: usize,
    pub embedded: usize,
    pub blocked: usize,
    /// Of those, with an end to their wait.
    pub blocked_until: usize,
    pub watching: usize,
    pub listening: usize,
    pub tracking: usize,
    /// The largest that one of them has.
    pub query_bytes_max: usize,
    pub output_bytes_max: usize,
    /// Of all.
    pub query_bytes: usize,
    pub output_bytes: usize,
}

impl Clients {
    pub fn of(state: &State) -> Clients {
        let mut all = Clients::default();
        state.registry.for_each(|client| {
            match client.door {
                Door::Resp => all.resp += 1,
                Door::Http => all.http += 1,
                Door::Embedded | Door::Log => all.embedded += 1,
            }
            all.blocked += usize::from(client.waits());
            if let Some(waiter) = &*client.blocked.lock() {
                all.blocked_until += usize::from(waiter.deadline_ms.is_some());
            }
            all.watching += usize::from(client.watches.load(Ordering::Relaxed) > 0);
            all.listening += usize::from(client.listens());
            all.tracking += usize::from(client.redirect.load(Ordering::Relaxed) >= 0);
            let (query, output) =
                (client.query_bytes.load(Ordering::Relaxed), client.output_bytes.load(Ordering::Relaxed));
            all.query_bytes_max = all.query_bytes_max.max(query);
            all.output_bytes_max = all.output_bytes_max.max(output);
            all.query_bytes += query;
            all.output_bytes += output;
        });
        all
    }

    pub fn count(&self) -> usize {
        self.resp + self.http + self.embedded
    }
}

/// One database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Database {
    pub keys: usize,
    /// Keys with a deadline.
    pub expires: usize,
    /// Milliseconds that they have left, on average of some of them.
    pub average_ttl_ms: u64,
    /// Tables and timers, without the entries.
    pub table_bytes: usize,
}

/// Random keys that are looked at in each shard for the average time to live.
const TTL_SAMPLES: u64 = 16;

/// Every database, empty ones too, up to the last that was used.
pub fn databases(walk: &WalkCx<'_>, now_ms: i64) -> Vec<Database> {
    let mut all: Vec<Database> = Vec::new();
    let mut left: Vec<(u64, u64)> = Vec::new();
    walk.each_db(|db, data| {
        let db = db as usize;
        if all.len() <= db {
            all.resize(db + 1, Database::default());
            left.resize(db + 1, (0, 0));
        }
        all[db].keys += data.len();
        all[db].expires += data.volatile();
        all[db].table_bytes += data.allocated_bytes();
        if data.volatile() > 0 {
            let chosen = (0..TTL_SAMPLES).filter_map(|_| data.table().random(walk.state().random()));
            for deadline_ms in chosen.filter_map(|entry| entry.expires_at()) {
                let (sum, count) = left[db];
                left[db] = (sum + u64::try_from(deadline_ms - now_ms).unwrap_or(0), count + 1);
            }
        }
    });
    for (db, (sum, count)) in all.iter_mut().zip(left) {
        db.average_ttl_ms = sum.checked_div(count).unwrap_or(0);
    }
    all
}

/// Where the memory is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// What counts against `maxmemory`.
    pub used: u64,
    pub peak: u64,
    /// When the engine had been opened.
    pub startup: u64,
    pub allocator: Allocator,
    /// The whole process, in physical memory.
    pub resident: u64,
    /// What the machine has; 0 when it does not say.
    pub system: u64,
    /// The log in memory: what is not on disk yet, and what replicas may ask for.
    pub log: u64,
    /// Values that a snapshot has not written yet.
    pub snapshot: u64,
    /// All that does not count, replies that clients have still to read included.
    pub apart: u64,
    pub clients: u64,
    pub tables: u64,
}

impl Memory {
    /// None when the program does not count its memory.
    pub fn of(state: &State, walk: &WalkCx<'_>) -> Option<Memory> {
        let allocator = state.host().allocator()?;
        let usage = eviction::usage(state);
        let clients = Clients::of(state);
        let now_ms = state.clock.now_ms();
        let system = proc_value("/proc/meminfo", "MemTotal:").map_or(0, |kilobytes| kilobytes * 1024);
        Some(Memory {
            used: usage.used as u64,
            peak: usage.peak as u64,
            startup: state.memory_startup.load(Ordering::Relaxed),
            allocator,
            resident: proc_value("/proc/self/status", "VmRSS:")
                .map_or(allocator.resident, |kilobytes| kilobytes * 1024),
            system,
            log: usage.log as u64,
            snapshot: usage.old_values as u64,
            apart: usage.apart() as u64,
            clients: (clients.query_bytes + clients.output_bytes) as u64,
            tables: databases(walk, now_ms).iter().map(|db| db.table_bytes as u64).sum(),
        })
    }

    /// What is not data.
    pub fn overhead(&self) -> u64 {
        self.startup + self.clients + self.tables
    }

    pub fn dataset(&self) -> u64 {
        self.used.saturating_sub(self.overhead())
    }

    /// Of what was allocated since the start, the part that is data, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used.saturating_sub(self.startup))
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    pub fn fragmentation(&self) -> f64 {
        ratio(self.resident, self.used)
    }
}

pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn percent(part: u64, whole: u64) -> f64 {
    ratio(part, whole) * 100.0
}

/// A number from one of the system's files of lines like `MemTotal:  16316412 kB`.
fn proc_value(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// Keys that somebody watches, and keys that blocked calls wait for.
pub fn observed_keys(walk: &WalkCx<'_>) -> (usize, usize) {
    let mut counts = (0, 0);
    for shard in 0..crate::keyspace::hasher::SHARD_COUNT {
        let (watched, waited) = walk.with_shard(shard, |cx| cx.observed_in(shard));
        counts = (counts.0 + watched, counts.1 + waited);
    }
    counts
}
