//! INFO: what the server is and does, in chapters of lines. Whatever more than one place tells is computed in
//! [`figures`].

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use super::prelude::*;
use super::server::SERVER;
use crate::access::refusals::Reason;
use crate::execute::figures::{self, Clients, Memory};
use crate::execute::state::State;
use crate::session::Kind;
use crate::settings::{self, percentiles};

pub const COMMANDS: &[Command] = &[INFO];

#[derive(Args)]
pub struct Info<'a> {
    /// Chapters: server, clients, memory, persistence, stats, replication, cpu, modules, commandstats, errorstats,
    /// latencystats, cluster, keyspace; or default, all, everything.
    section: Option<Many<'a, Word<'a>>>,
}

/// A chapter of INFO.
struct Section {
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&SessionCx<'_, '_, '_>, &mut Lines<'_>),
}

/// In Redis' order.
const SECTIONS: &[Section] = &[
    Section { name: "server", title: "Server", by_default: true, write: server },
    Section { name: "clients", title: "Clients", by_default: true, write: clients },
    Section { name: "memory", title: "Memory", by_default: true, write: memory },
    Section { name: "persistence", title: "Persistence", by_default: true, write: persistence },
    Section { name: "stats", title: "Stats", by_default: true, write: stats },
    Section { name: "replication", title: "Replication", by_default: true, write: replication },
    Section { name: "cpu", title: "CPU", by_default: true, write: |_, _| {} },
    Section { name: "modules", title: "Modules", by_default: true, write: |_, _| {} },
    Section { name: "commandstats", title: "Commandstats", by_default: false, write: command_stats },
    Section { name: "errorstats", title: "Errorstats", by_default: true, write: error_stats },
    Section { name: "latencystats", title: "Latencystats", by_default: false, write: latency_stats },
    Section { name: "cluster", title: "Cluster", by_default: true, write: |_, lines| lines.put("cluster_enabled", 0) },
    Section { name: "keyspace", title: "Keyspace", by_default: true, write: keyspace },
];

impl SessionCommand for Info<'_> {
    const WALKS: bool = true;

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let asked: Vec<String> = match self.section {
            None => vec!["default".into()],
            Some(names) => names.iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect(),
        };
        let is_wanted = |section: &&Section| {
            asked.iter().any(|name| match name.as_str() {
                "all" | "everything" => true,
                "default" => section.by_default,
                name => name == section.name,
            })
        };
        let mut text = String::new();
        for section in SECTIONS.iter().filter(is_wanted) {
            let blank = if text.is_empty() { "" } else { "\r\n" };
            let _ = write!(text, "{blank}# {}\r\n", section.title);
            (section.write)(cx, &mut Lines(&mut text));
            cx.state().host().info(section.name, &mut text);
        }
        reply.verbatim("txt", &text);
        Ok(Flow::Done)
    }
}

/// Where a chapter is written.
struct Lines<'o>(&'o mut String);

impl Lines<'_> {
    fn put(&mut self, name: &str, value: impl Display) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// Bytes, and the same for people.
    fn put_bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// `1.50M`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let step = (bytes.max(1).ilog2() / 10).min(5);
    match step {
        0 => format!("{bytes}B"),
        _ => format!("{:.2}{}", bytes as f64 / (1_u64 << (10 * step)) as f64, UNITS[step as usize]),
    }
}

fn server(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    let uptime = (cx.now_ms() - state.started_ms).max(0) / 1000;
    lines.put("redis_version", super::REDIS_VERSION);
    lines.put("server_name", "synap");
    lines.put("synap_version", env!("CARGO_PKG_VERSION"));
    lines.put("redis_mode", "standalone");
    lines.put("os", operating_system());
    lines.put("arch_bits", usize::BITS);
    lines.put("process_id", std::process::id());
    lines.put("run_id", state.log.history().as_str());
    lines.put("tcp_port", state.settings.int(settings::PORT));
    lines.put("server_time_usec", cx.now_ms() * 1000);
    lines.put("uptime_in_seconds", uptime);
    lines.put("uptime_in_days", uptime / 86_400);
    if let Ok(program) = std::env::current_exe() {
        lines.put("executable", program.display());
    }
    lines.put("io_threads_active", state.settings.int(settings::IO_THREADS));
}

/// `Linux 6.1.0 x86_64`.
fn operating_system() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok();
    let kernel = read("ostype").zip(read("osrelease"));
    let name =
        kernel.map_or_else(|| std::env::consts::OS.into(), |(name, of)| format!("{} {}", name.trim(), of.trim()));
    format!("{name} {}", std::env::consts::ARCH)
}

fn clients(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    let clients = Clients::of(state);
    let (watched, waited) = figures::observed_keys(&cx.walk());
    lines.put("connected_clients", clients.count());
    lines.put("maxclients", state.settings.int(settings::MAXCLIENTS));
    lines.put("client_recent_max_input_buffer", clients.query_bytes_max);
    lines.put("client_recent_max_output_buffer", clients.output_bytes_max);
    lines.put("blocked_clients", clients.blocked);
    lines.put("tracking_clients", clients.tracking);
    lines.put("pubsub_clients", clients.listening);
    lines.put("watching_clients", clients.watching);
    lines.put("monitor_clients", state.registry.monitor_count());
    lines.put("clients_in_timeout_table", clients.blocked_until);
    lines.put("total_watched_keys", watched);
    lines.put("total_blocking_keys", waited);
}

fn memory(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    if let Some(memory) = Memory::of(state, &cx.walk()) {
        lines.put_bytes("used_memory", memory.used);
        lines.put_bytes("used_memory_rss", memory.resident);
        lines.put_bytes("used_memory_peak", memory.peak);
        lines.put("used_memory_peak_perc", format_args!("{:.2}%", memory.peak_percent()));
        lines.put("used_memory_overhead", memory.overhead());
        lines.put("used_memory_startup", memory.startup);
        lines.put("used_memory_dataset", memory.dataset());
        lines.put("used_memory_dataset_perc", format_args!("{:.2}%", memory.dataset_percent()));
        let allocator = memory.allocator;
        lines.put("allocator_allocated", allocator.allocated);
        lines.put("allocator_active", allocator.active);
        lines.put("allocator_resident", allocator.resident);
        lines.put_bytes("total_system_memory", memory.system);
        let [fragmentation, overhead] = [allocator.allocated, allocator.active].map(|below| {
            let above = if below == allocator.allocated { allocator.active } else { allocator.resident };
            (figures::ratio(above, below), above as i64 - below as i64)
        });
        lines.put("allocator_frag_ratio", format_args!("{:.2}", fragmentation.0));
        lines.put("allocator_frag_bytes", fragmentation.1);
        lines.put("allocator_rss_ratio", format_args!("{:.2}", overhead.0));
        lines.put("allocator_rss_bytes", overhead.1);
        lines.put("rss_overhead_ratio", format_args!("{:.2}", figures::ratio(memory.resident, allocator.resident)));
        lines.put("rss_overhead_bytes", memory.resident as i64 - allocator.resident as i64);
        lines.put("mem_fragmentation_ratio", format_args!("{:.2}", memory.fragmentation()));
        lines.put("mem_fragmentation_bytes", memory.resident as i64 - memory.used as i64);
        lines.put("mem_not_counted_for_evict", memory.apart);
        lines.put("mem_clients_slaves", 0);
        lines.put("mem_clients_normal", memory.clients);
        lines.put("mem_snapshot_old_values", memory.snapshot);
    }
    lines.put_bytes("maxmemory", u64::try_from(state.settings.int(settings::MAXMEMORY)).unwrap_or(0));
    lines.put("maxmemory_policy", state.settings.show(settings::MAXMEMORY_POLICY));
    lines.put("mem_replication_backlog", state.log.memory_bytes());
    lines.put("mem_total_replication_buffers", state.log.memory_bytes());
    lines.put("lazyfree_pending_objects", state.dropper.leaving_values());
    lines.put("lazyfreed_objects", state.dropper.dropped_values());
    lines.put("lazyfree_pending_bytes", state.dropper.leaving_bytes());
    lines.put("mem_aof_buffer", state.log.unreleased_bytes());
}

fn persistence(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    let is_loading = state.loading.load(Ordering::Relaxed);
    lines.put("loading", u8::from(is_loading));
    lines.put("async_loading", 0);
    match state.storage() {
        Some(storage) => storage.info(lines.0),
        None => lines.put("aof_enabled", 0),
    }
    if is_loading {
        load_progress(state, cx.now_ms() / 1000, lines);
    }
}

fn load_progress(state: &State, now_s: i64, lines: &mut Lines<'_>) {
    let progress = &state.load_progress;
    let began_s = progress.began_s.load(Ordering::Relaxed);
    let (total, loaded) = (progress.total_bytes.load(Ordering::Relaxed), progress.loaded_bytes.load(Ordering::Relaxed));
    let passed_s = (now_s - began_s).max(0) as u64;
    // As fast as until now; Redis says 1 when it cannot know.
    let left_s = (passed_s * total.saturating_sub(loaded)).checked_div(loaded).unwrap_or(1);
    let percent = loaded as f64 * 100.0 / total.max(1) as f64;
    lines.put("loading_start_time", began_s);
    lines.put("loading_total_bytes", total);
    lines.put("loading_loaded_bytes", loaded);
    lines.put("loading_loaded_perc", format_args!("{percent:.2}"));
    lines.put("loading_eta_seconds", left_s);
}

fn stats(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    let (stats, rates) = (&state.stats, state.stats.rates());
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (net_in, net_out) = state.registry.net_bytes();
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    lines.put("total_connections_received", load(&state.registry.accepted));
    lines.put("total_commands_processed", stats.total_calls());
    lines.put("instantaneous_ops_per_sec", rates.calls);
    lines.put("total_net_input_bytes", net_in);
    lines.put("total_net_output_bytes", net_out);
    lines.put("instantaneous_input_kbps", kilobytes(rates.net_in));
    lines.put("instantaneous_output_kbps", kilobytes(rates.net_out));
    lines.put("rejected_connections", load(&state.registry.rejected));
    // Nobody follows this server, and nothing forks.
    lines.put("sync_full", 0);
    lines.put("sync_partial_ok", 0);
    lines.put("sync_partial_err", 0);
    lines.put("expired_keys", load(&stats.expired_keys));
    lines.put("expired_subkeys", load(&stats.expired_fields));
    lines.put("expire_cycle_cpu_milliseconds", state.ticks.micros(load(&stats.expire_ticks)) / 1000);
    let (exceeded_ms, exceeds_ms) = state.eviction.exceeded_ms(state);
    lines.put("evicted_keys", load(&stats.evicted_keys));
    lines.put("evicted_clients", load(&stats.evicted_clients));
    lines.put("total_eviction_exceeded_time", exceeded_ms);
    lines.put("current_eviction_exceeded_time", exceeds_ms);
    lines.put("keyspace_hits", load(&stats.keyspace_hits));
    lines.put("keyspace_misses", load(&stats.keyspace_misses));
    lines.put("pubsub_channels", state.channels.active(Kind::Channel, None).len());
    lines.put("pubsub_patterns", state.channels.pattern_count());
    lines.put("pubsubshard_channels", state.channels.active(Kind::Shard, None).len());
    lines.put("tracking_total_keys", state.trackers.key_count.load(Ordering::Relaxed));
    lines.put("tracking_total_prefixes", state.trackers.prefix_count());
    lines.put("latest_fork_usec", 0);
    lines.put("total_forks", 0);
    lines.put("client_query_buffer_limit_disconnections", load(&stats.query_limit_closed));
    lines.put("client_output_buffer_limit_disconnections", load(&state.registry.output_limits.closed));
    for reason in Reason::ALL {
        lines.put(reason.counter(), state.users.refusals.count(reason));
    }
    lines.put("total_error_replies", stats.errors().iter().map(|(_, count)| count).sum::<u64>());
}

fn replication(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let (log, settings) = (&cx.state().log, &cx.state().settings);
    lines.put("role", "master");
    lines.put("connected_slaves", 0);
    lines.put("master_failover_state", "no-failover");
    lines.put("master_replid", log.history().as_str());
    // Nobody could go on from a history that has ended.
    lines.put("master_replid2", "0".repeat(40));
    lines.put("master_repl_offset", log.end());
    lines.put("second_repl_offset", -1);
    lines.put("repl_backlog_active", 1);
    lines.put("repl_backlog_size", settings.int(settings::REPL_BACKLOG_SIZE));
    lines.put("repl_backlog_first_byte_offset", log.oldest());
    lines.put("repl_backlog_histlen", log.end() - log.oldest());
}

fn command_stats(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    for row in state.table.all() {
        let Some(stats) = state.stats.row(row.id) else { continue };
        let [calls, ticks, rejected, failed] =
            [&stats.calls, &stats.ticks, &stats.rejected, &stats.failed].map(|counter| counter.load(Ordering::Relaxed));
        if calls + rejected + failed > 0 {
            let micros = state.ticks.micros_f(ticks);
            let each = micros / calls.max(1) as f64;
            lines.put(
                &format!("cmdstat_{}", row.full_name()),
                format_args!(
                    "calls={calls},usec={micros:.0},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
                ),
            );
        }
    }
}

fn error_stats(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    for (code, count) in cx.state().stats.errors() {
        lines.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latency_stats(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    let state = cx.state();
    if state.settings.int(settings::LATENCY_TRACKING) == 0 {
        return;
    }
    let wanted = percentiles(&state.settings.text(settings::LATENCY_TRACKING_INFO_PERCENTILES)).unwrap_or_default();
    for row in state.table.all() {
        let Some(times) = state.stats.row(row.id).and_then(|stats| stats.times()) else { continue };
        let told = wanted.iter().map(|percent| {
            let micros = state.ticks.micros_f(times.percentile(*percent));
            format!("p{percent}={micros:.3}")
        });
        let told = told.collect::<Vec<_>>().join(",");
        lines.put(&format!("latency_percentiles_usec_{}", row.full_name()), told);
    }
}

fn keyspace(cx: &SessionCx<'_, '_, '_>, lines: &mut Lines<'_>) {
    for (number, db) in figures::databases(&cx.walk(), cx.now_ms()).iter().enumerate().filter(|(_, db)| db.keys > 0) {
        let told = format_args!("keys={},expires={},avg_ttl={}", db.keys, db.expires, db.average_ttl_ms);
        lines.put(&format!("db{number}"), told);
    }
}

pub const INFO: Command = Command {
    name: "INFO",
    op: "server.info",
    since: "1.0.0",
    summary: "Describes the server.",
    returns: Shape::text("info", "Chapters with lines of name:value."),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::DANGEROUS).and(Flags::LOOKS),
    ..SERVER.session::<Info>()
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{START_MS, TestEngine};

    fn info(test: &mut TestEngine, section: &str) -> String {
        // The text of a test has its line breaks escaped.
        test.call(&format!("INFO {section}")).replace("\\r\\n", "\r\n")
    }

    #[track_caller]
    fn has(text: &str, line: &str) {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }

    #[test]
    fn bytes_for_people() {
        let shown = [0, 1023, 1024, 1536, 5 << 20, u64::MAX].map(human);
        assert_eq!(shown[..5], ["0B", "1023B", "1.00K", "1.50K", "5.00M"]);
        assert!(shown[5].ends_with('P'));
    }

    #[test]
    fn chapters_are_chosen_by_name() {
        let mut test = TestEngine::default();
        let titles = |text: String| text.matches("# ").count();
        assert_eq!(titles(info(&mut test, "")), SECTIONS.iter().filter(|section| section.by_default).count());
        assert_eq!(titles(info(&mut test, "everything all")), SECTIONS.len());
        assert_eq!(titles(info(&mut test, "CPU keyspace none")), 2);
        assert_eq!(info(&mut test, "none"), "\"\"");
    }

    #[test]
    fn calls_are_counted_by_what_became_of_them() {
        let mut test = TestEngine::default();
        test.check(
            "SET a 1 => OK
            SET a => -ERR wrong number of arguments for 'set' command
            INCR a => 2
            LPUSH a x => -WRONGTYPE Operation against a key holding the wrong kind of value
            MULTI => OK
            GET a => QUEUED
            EXEC => [\"2\"]",
        );
        let told = info(&mut test, "commandstats");
        has(&told, "cmdstat_set:calls=1,");
        has(&told, "rejected_calls=1,failed_calls=0");
        has(&told, "cmdstat_get:calls=1,");
        has(&told, "cmdstat_exec:calls=1,");
        let lpush = told.split("cmdstat_lpush:").nth(1).unwrap();
        assert!(lpush.starts_with("calls=1,") && lpush.contains("rejected_calls=0,failed_calls=1"), "{lpush}");
        let errors = info(&mut test, "errorstats");
        has(&errors, "errorstat_ERR:count=1");
        has(&errors, "errorstat_WRONGTYPE:count=1");
        let times = info(&mut test, "latencystats");
        has(&times, "latency_percentiles_usec_set:p50=");
        has(&times, ",p99.9=");
        test.check(
            r#"
            CONFIG SET latency-tracking-info-percentiles "0.0 50.0 100.0" => OK
            CONFIG GET latency-tracking-info-percentiles => {"latency-tracking-info-percentiles": "0 50 100"}
            CONFIG RESETSTAT => OK
            "#,
        );
        assert!(!info(&mut test, "latencystats").contains("usec_set"));
        assert!(!info(&mut test, "commandstats").contains("cmdstat_set"));
        assert!(
            test.call("CONFIG SET latency-tracking-info-percentiles \"10 101\"").starts_with("-ERR CONFIG SET failed")
        );
    }

    #[test]
    fn reads_find_their_keys_or_do_not() {
        let mut test = TestEngine::default();
        test.call("CONFIG RESETSTAT");
        test.call("MSET a 1 b 2");
        test.call("RPUSH l 1");
        test.call("INCR a");
        has(&info(&mut test, "stats"), "keyspace_hits:0\r\nkeyspace_misses:0");
        for read in ["GET a", "MGET a b none", "EXISTS a none", "TTL a", "LRANGE l 0 -1", "GETDEL b", "SET a 2 GET"] {
            test.call(read);
        }
        has(&info(&mut test, "stats"), "keyspace_hits:8\r\nkeyspace_misses:2");
        test.call("MULTI");
        test.call("GET a");
        test.call("INCR a");
        test.call("EXEC");
        has(&info(&mut test, "stats"), "keyspace_hits:9\r\nkeyspace_misses:2");
    }

    #[test]
    fn databases_tell_what_their_keys_have_left() {
        let mut test = TestEngine::default();
        test.call("SET a 1 PX 60000");
        test.call("SELECT 3");
        test.call("SET b 1");
        assert_eq!(info(&mut test, "keyspace").matches("keys=1").count(), 2);
        has(&info(&mut test, "keyspace"), "db0:keys=1,expires=1,avg_ttl=60000");
        has(&info(&mut test, "keyspace"), "db3:keys=1,expires=0,avg_ttl=0");
        test.clock.set(START_MS + 1000);
        has(&info(&mut test, "keyspace"), "avg_ttl=59000");
    }
}
