//! What the built server tells about itself: INFO, metrics, logs, and who made slow calls.

#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use http_client::Client;
use redis::{Connection, Value};
use server::{Server, eventually};

fn connect(server: &Server) -> Connection {
    let client = redis::Client::open(format!("redis://{}", server.resp)).expect("an address");
    client.get_connection().expect("it answers")
}

fn call<T: redis::FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    let mut words = line.split(' ');
    let mut cmd = redis::cmd(words.next().expect("a name"));
    words.for_each(|word| {
        cmd.arg(word);
    });
    cmd.query(connection).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The lines of INFO, by name.
fn info(connection: &mut Connection, section: &str) -> BTreeMap<String, String> {
    let text: String = call(connection, &format!("INFO {section}"));
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn info_has_what_dashboards_look_for() {
    let server = Server::start();
    let mut connection = connect(&server);
    for n in 0..100 {
        call::<()>(&mut connection, &format!("SET key:{n} value"));
    }
    let all = info(&mut connection, "everything");
    let names = "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds executable \
                 connected_clients maxclients blocked_clients tracking_clients clients_in_timeout_table \
                 used_memory used_memory_human used_memory_rss used_memory_peak used_memory_peak_perc \
                 used_memory_overhead used_memory_startup used_memory_dataset used_memory_dataset_perc \
                 total_system_memory maxmemory maxmemory_policy mem_fragmentation_ratio mem_allocator \
                 allocator_allocated allocator_active allocator_resident mem_clients_normal mem_aof_buffer \
                 loading rdb_changes_since_last_save rdb_bgsave_in_progress rdb_last_save_time \
                 rdb_last_bgsave_status aof_enabled aof_last_write_status aof_current_size \
                 total_connections_received total_commands_processed instantaneous_ops_per_sec \
                 total_net_input_bytes total_net_output_bytes instantaneous_input_kbps rejected_connections \
                 expired_keys evicted_keys keyspace_hits keyspace_misses pubsub_channels pubsub_patterns \
                 latest_fork_usec role connected_slaves master_replid master_repl_offset repl_backlog_size \
                 used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children cluster_enabled db0 \
                 cmdstat_set latency_percentiles_usec_set";
    let missing: Vec<&str> = names.split_whitespace().filter(|name| !all.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {all:?}");
    let number = |name: &str| all[name].parse::<u64>().unwrap_or_else(|_| panic!("{name}: {}", all[name]));
    assert!(number("used_memory") > 1 << 16 && number("used_memory_rss") > 1 << 20);
    assert!(number("used_memory_startup") > 0 && number("used_memory_startup") < number("used_memory_peak"));
    assert!(number("total_net_input_bytes") > 3000 && number("total_net_output_bytes") > 500);
    assert!(all["cmdstat_set"].starts_with("calls=100,"), "{}", all["cmdstat_set"]);
    assert_eq!(all["db0"], "keys=100,expires=0,avg_ttl=0");
    // A connection that has gone takes its bytes along.
    drop(connection);
    let mut connection = connect(&server);
    assert!(info(&mut connection, "stats")["total_net_input_bytes"].parse::<u64>().expect("a number") > 3000);
    eventually("the rate is seen", || {
        call::<()>(&mut connection, "PING");
        info(&mut connection, "stats")["instantaneous_ops_per_sec"] != "0"
    });
}

#[test]
fn slow_calls_are_told_with_address_and_name() {
    let server = Server::start();
    let mut connection = connect(&server);
    call::<()>(&mut connection, "CLIENT SETNAME somebody");
    call::<()>(&mut connection, "CONFIG SET slowlog-log-slower-than 20000");
    call::<()>(&mut connection, "DEBUG SLEEP 0.03");
    let told: Vec<(u64, u64, u64, Vec<String>, String, String)> = call(&mut connection, "SLOWLOG GET");
    let (_, time, micros, words, address, name) = &told[0];
    assert_eq!((words.join(" ").as_str(), name.as_str()), ("DEBUG SLEEP 0.03", "somebody"));
    assert!(*micros >= 30_000 && *time > 1_700_000_000 && address.starts_with("127.0.0.1:"), "{told:?}");
}

#[test]
fn memory_is_told_in_numbers_and_words() {
    let server = Server::start();
    let mut connection = connect(&server);
    call::<()>(&mut connection, &format!("SET large {}", "x".repeat(1 << 20)));
    assert!(call::<u64>(&mut connection, "MEMORY USAGE large") > 1 << 20);
    let stats: BTreeMap<String, Value> = call(&mut connection, "MEMORY STATS");
    assert!(matches!(stats["total.allocated"], Value::Int(bytes) if bytes > 1 << 20), "{stats:?}");
    assert_eq!(stats["keys.count"], Value::Int(1));
    assert!(call::<String>(&mut connection, "MEMORY MALLOC-STATS").contains("jemalloc"));
    call::<()>(&mut connection, "MEMORY PURGE");
    assert!(!call::<String>(&mut connection, "MEMORY DOCTOR").is_empty());
}

/// Every line of the text is a comment or `name{labels} number`, and each metric says what it is.
#[test]
fn metrics_are_what_prometheus_reads() {
    let server = Server::start();
    let mut connection = connect(&server);
    call::<()>(&mut connection, "SET a 1 EX 100");
    for _ in 0..3 {
        call::<()>(&mut connection, "GET a");
    }
    let _: redis::RedisResult<()> = redis::cmd("LPUSH").arg("a").arg("x").query(&mut connection);
    let response = Client::connect(server.http).get("/metrics");
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    let mut types = BTreeSet::new();
    let mut samples = BTreeMap::new();
    for line in response.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind) && types.insert(name), "{line}");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let metric = name.split('{').next().expect("a name");
            let base = metric.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            assert!(types.contains(metric) || types.contains(base), "{line}");
            assert!(samples.insert(name, value).is_none(), "{line} is there twice");
        }
    }
    let expected = [
        ("synap_commands_total{command=\"get\"}", "3"),
        ("synap_commands_failed_total{command=\"lpush\"}", "1"),
        ("synap_errors_total{code=\"WRONGTYPE\"}", "1"),
        ("synap_command_seconds_count{command=\"get\"}", "3"),
        ("synap_command_seconds_bucket{command=\"get\",le=\"+Inf\"}", "3"),
        ("synap_keys{db=\"0\"}", "1"),
        ("synap_keys_with_deadline{db=\"0\"}", "1"),
        ("synap_keyspace_hits_total", "3"),
        ("synap_clients{door=\"resp\"}", "1"),
        ("synap_log_failing", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(name), Some(&value), "{name}");
    }
    for name in ["synap_memory_bytes{kind=\"used\"}", "synap_log_offset", "synap_snapshot_last_ok", "synap_log_bytes"] {
        assert!(samples.contains_key(name), "{name}");
    }
}

#[test]
fn metrics_are_for_those_who_may_call_info() {
    let server = Server::with(&["--requirepass", "secret"]);
    assert_eq!(Client::connect(server.http).get("/metrics").status, 401);
    // `default:secret`
    let mut known = Client::connect(server.http).with_header("Authorization: Basic ZGVmYXVsdDpzZWNyZXQ=");
    assert_eq!(known.get("/metrics").status, 200);
    for open in ["/health", "/ready"] {
        assert_eq!(Client::connect(server.http).get(open).status, 200, "{open}");
    }
    assert_eq!(known.get("/ready").json()["status"], "ready");
    assert_eq!(known.post("/metrics", "").status, 405);
}

#[test]
fn logs_are_text_or_json_at_a_level_that_can_change() {
    let file = std::env::temp_dir().join(format!("synap-log-{}", std::process::id()));
    let path = file.to_string_lossy().into_owned();
    let server = Server::with(&["--log-format", "json", "--logfile", &path, "--loglevel", "verbose"]);
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
    };
    eventually("something is told", || {
        lines()
            .iter()
            .any(|line| line["level"] == "info" && line["message"].as_str().is_some_and(|m| m.contains("loaded")))
    });
    assert!(lines().iter().all(|line| line["time"].is_string() && line["target"].is_string()));
    let mut connection = connect(&server);
    call::<()>(&mut connection, "CONFIG SET log-format text loglevel warning");
    std::thread::sleep(std::time::Duration::from_millis(700));
    server.terminate();
    assert!(server.wait());
    // That it is closing is told at the level that is not told any more.
    assert!(lines().iter().all(|line| line["message"] != "closing"));
    let _ = std::fs::remove_file(&file);
}
