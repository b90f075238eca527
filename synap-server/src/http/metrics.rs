//! `GET /metrics`: what INFO tells, as text for Prometheus. Labels come from the table of commands, the list of errors
//! and the databases in use, so there are not many, whatever clients do.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use synap_core::Engine;
use synap_core::execute::figures::{self, Clients, Database, Memory};
use synap_core::execute::{State, Turn, WalkCx};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Databases that are told one by one.
const DATABASES_MAX: usize = 64;

/// Ends of the buckets of the time that calls take, in microseconds.
const BUCKETS_US: [u64; 10] = [1, 5, 10, 50, 100, 500, 1_000, 10_000, 100_000, 1_000_000];

/// Everything, as of now.
pub async fn text(engine: &Engine) -> String {
    let (databases, memory) = engine.inside(walk).await;
    let mut out = Page(String::with_capacity(16 << 10));
    let state = engine.state();
    server(state, &mut out);
    clients(state, &mut out);
    commands(state, &mut out);
    keyspace(state, &databases, &mut out);
    memory.iter().for_each(|memory| self::memory(memory, &mut out));
    storage(state, &mut out);
    out.0
}

fn walk(turn: &mut Turn<'_>) -> (Vec<Database>, Option<Memory>) {
    let walk = WalkCx::of_turn(turn, 0);
    (figures::databases(&walk, turn.now_ms), Memory::of(turn.state, &walk))
}

struct Page(String);

impl Page {
    /// A metric, whose samples follow.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "# HELP synap_{name} {help}\n# TYPE synap_{name} {kind}\n");
    }

    /// `labels` without braces; their values are names of ours, which need no escapes.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "synap_{name} {value}"),
            labels => writeln!(self.0, "synap_{name}{{{labels}}} {value}"),
        };
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: &AtomicU64) {
        self.metric(name, "counter", help);
        self.sample(name, "", value.load(Ordering::Relaxed));
    }
}

fn server(state: &State, out: &mut Page) {
    out.metric("info", "gauge", "What this server is.");
    out.sample("info", &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")), 1);
    out.gauge("start_time_seconds", "When the server was started, in Unix seconds.", state.started_ms / 1000);
    out.gauge("loading", "1 while data are loaded.", u8::from(state.loading.load(Ordering::Relaxed)));
    let waiting = state.gate.waiting();
    out.metric("gate_waiting", "gauge", "Those who wait at the gate at this moment, to go in or to be alone.");
    out.sample("gate_waiting", "to=\"enter\"", waiting.entrants);
    out.sample("gate_waiting", "to=\"close\"", waiting.closers);
    out.metric("gate_waits_total", "counter", "How often somebody had to wait at the gate.");
    let [enter, close] = state.gate.waits();
    out.sample("gate_waits_total", "to=\"enter\"", enter);
    out.sample("gate_waits_total", "to=\"close\"", close);
}

fn clients(state: &State, out: &mut Page) {
    let clients = Clients::of(state);
    out.metric("clients", "gauge", "Clients by the door through which they came; those of HTTP are calls.");
    for (door, count) in [("resp", clients.resp), ("http", clients.http), ("embedded", clients.embedded)] {
        out.sample("clients", &format!("door=\"{door}\""), count);
    }
    out.gauge("clients_blocked", "Clients that wait in a blocking call.", clients.blocked);
    out.gauge("clients_pubsub", "Clients with subscriptions.", clients.listening);
    out.gauge("clients_watching", "Clients that watch keys.", clients.watching);
    out.gauge("clients_monitor", "Clients that see all calls.", state.registry.monitor_count());
    let registry = &state.registry;
    out.counter("connections_total", "Connections that came in.", &registry.accepted);
    out.counter("connections_rejected_total", "Connections that were sent away.", &registry.rejected);
    let (net_in, net_out) = registry.net_bytes();
    out.metric("net_bytes_total", "counter", "Bytes that RESP clients have sent, and were sent.");
    out.sample("net_bytes_total", "direction=\"in\"", net_in);
    out.sample("net_bytes_total", "direction=\"out\"", net_out);
}

fn commands(state: &State, out: &mut Page) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let rows = || state.table.all().iter().filter_map(|row| Some((row.full_name(), state.stats.row(row.id)?)));
    out.metric("commands_total", "counter", "Calls that ran.");
    for (name, stats) in rows().filter(|(_, stats)| load(&stats.calls) > 0) {
        out.sample("commands_total", &format!("command=\"{name}\""), load(&stats.calls));
    }
    out.metric("commands_refused_total", "counter", "Calls that were refused before they ran.");
    for (name, stats) in rows().filter(|(_, stats)| load(&stats.rejected) > 0) {
        out.sample("commands_refused_total", &format!("command=\"{name}\""), load(&stats.rejected));
    }
    out.metric("commands_failed_total", "counter", "Calls that ran and answered an error.");
    for (name, stats) in rows().filter(|(_, stats)| load(&stats.failed) > 0) {
        out.sample("commands_failed_total", &format!("command=\"{name}\""), load(&stats.failed));
    }
    out.metric("command_seconds", "histogram", "How long calls took.");
    for (name, stats) in rows() {
        let Some(times) = stats.times() else { continue };
        for end_us in BUCKETS_US {
            let label = format!("command=\"{name}\",le=\"{}\"", end_us as f64 / 1e6);
            out.sample("command_seconds_bucket", &label, times.up_to(state.ticks.of_micros(end_us)));
        }
        let label = format!("command=\"{name}\"");
        out.sample("command_seconds_bucket", &format!("{label},le=\"+Inf\""), times.count());
        out.sample("command_seconds_sum", &label, state.ticks.micros_f(load(&stats.ticks)) / 1e6);
        out.sample("command_seconds_count", &label, times.count());
    }
    out.metric("errors_total", "counter", "Errors that were answered, by their first word.");
    for (code, count) in state.stats.errors() {
        out.sample("errors_total", &format!("code=\"{code}\""), count);
    }
    out.gauge("slowlog_length", "Noted slow calls.", state.slowlog.len());
}

fn keyspace(state: &State, databases: &[Database], out: &mut Page) {
    type Of = fn(&Database) -> usize;
    let metrics: [(&str, &str, Of); 2] = [
        ("keys", "Keys of each database.", |db| db.keys),
        ("keys_with_deadline", "Keys that have a time to live.", |db| db.expires),
    ];
    for (name, help, of) in metrics {
        out.metric(name, "gauge", help);
        let used = databases.iter().enumerate().filter(|(_, db)| db.keys > 0);
        for (number, db) in used.take(DATABASES_MAX) {
            out.sample(name, &format!("db=\"{number}\""), of(db));
        }
    }
    let stats = &state.stats;
    out.counter("expired_keys_total", "Keys whose time had come.", &stats.expired_keys);
    out.counter("expired_fields_total", "Fields of hashes whose time had come.", &stats.expired_fields);
    out.counter("keyspace_hits_total", "Keys that reads have found.", &stats.keyspace_hits);
    out.counter("keyspace_misses_total", "Keys that reads have not found.", &stats.keyspace_misses);
}

fn memory(memory: &Memory, out: &mut Page) {
    out.metric("memory_bytes", "gauge", "Memory by what it is for; used is what counts against maxmemory.");
    let kinds = [
        ("used", memory.used),
        ("peak", memory.peak),
        ("data", memory.dataset()),
        ("tables", memory.tables),
        ("clients", memory.clients),
        ("log", memory.log),
        ("snapshot", memory.snapshot),
        ("allocated", memory.allocator.allocated),
        ("resident", memory.resident),
    ];
    for (kind, bytes) in kinds {
        out.sample("memory_bytes", &format!("kind=\"{kind}\""), bytes);
    }
}

/// Lines of `INFO persistence` that are told, with what they mean.
const STORAGE: &[(&str, &str, &str)] = &[
    ("aof_current_size", "log_bytes", "Bytes of the log in its files."),
    ("aof_pending_bytes", "log_unwritten_bytes", "Bytes of the log that are not in its file yet."),
    ("aof_unsynced_bytes", "log_unsynced_bytes", "Bytes of the log that a power cut could take."),
    ("aof_segments", "log_segments", "Files of the log."),
    ("rdb_changes_since_last_save", "snapshot_changes", "Changes since the last snapshot."),
    ("rdb_bgsave_in_progress", "snapshot_running", "1 while a snapshot is made."),
    ("rdb_last_save_time", "snapshot_last_time_seconds", "When the last snapshot was made, in Unix seconds."),
    ("rdb_last_bgsave_time_sec", "snapshot_last_duration_seconds", "How long it took; -1 when there was none."),
];

fn storage(state: &State, out: &mut Page) {
    let log = &state.log;
    out.gauge("log_offset", "Where the log ends.", log.end());
    out.gauge("log_settled_offset", "What stands before it may be told.", log.settled());
    out.gauge("log_failing", "1 while the disk does not take the log.", u8::from(log.is_failing()));
    let Some(storage) = state.storage() else { return };
    let mut lines = String::new();
    storage.info(&mut lines);
    let value = |wanted: &str| {
        let mut pairs = lines.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    for (line, name, help) in STORAGE {
        if let Some(value) = value(line) {
            out.gauge(name, help, value);
        }
    }
    if let Some(status) = value("rdb_last_bgsave_status") {
        out.gauge("snapshot_last_ok", "1 when the last snapshot was made well.", u8::from(status == "ok"));
    }
}
