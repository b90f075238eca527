//! What a server finds in its data folder when it starts, and what it does about what it finds there.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "support/fsyncs.rs"]
mod fsyncs;
#[path = "support/http_client.rs"]
mod http_client;
#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http_client::Client;
use server::{DataFolder, Server, eventually};
use wire::Wire;

/// A key of every type, small and large, with and without deadlines, in two databases.
fn fill(client: &mut Wire) {
    for words in [
        "SET text hello",
        "SET number 42",
        "SET long 1 PX 100000000",
        "RPUSH list a b c",
        "HSET hash f 1 g 2",
        "HEXPIRE hash 100000 FIELDS 1 g",
        "SADD set a b 3",
        "SADD ints 1 2 3",
        "ZADD zset 1.5 a -inf b 2 c",
        "SELECT 3",
        "SET elsewhere yes",
        "SELECT 0",
    ] {
        let answer = client.call(words).to_string();
        assert!(!answer.starts_with('-'), "{words}: {answer}");
    }
    for number in 0..2000 {
        client.expect(&format!("SADD large {number}-abcdefgh"), ":1");
        client.expect(&format!("RPUSH queue {number}-abcdefgh"), &format!(":{}", number + 1));
    }
}

/// Everything that [`fill`] has made is there, and nothing else.
fn check(client: &mut Wire) {
    for (words, expected) in [
        ("DBSIZE", ":10"),
        ("GET text", "\"hello\""),
        ("GET number", "\"42\""),
        ("OBJECT ENCODING number", "\"int\""),
        ("LRANGE list 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("HGET hash f", "\"1\""),
        ("HTTL hash FIELDS 1 f", "[:-1]"),
        ("OBJECT ENCODING ints", "\"intset\""),
        ("ZRANGE zset 0 -1 WITHSCORES", "[\"b\" \"-inf\" \"a\" \"1.5\" \"c\" \"2\"]"),
        ("LRANGE queue 1999 1999", "[\"1999-abcdefgh\"]"),
        ("TTL text", ":-1"),
    ] {
        client.expect(words, expected);
    }
    assert_eq!(client.call("SMEMBERS large").items().len(), 2000);
    assert_eq!(client.call("SMEMBERS set").items().len(), 3);
    let left_s = client.call("TTL long").int();
    assert!((90_000..=100_000).contains(&left_s), "{left_s}");
    let left_s = client.call("HTTL hash FIELDS 1 g").items()[0].int();
    assert!((90_000..=100_000).contains(&left_s), "{left_s}");
    client.expect("SELECT 3", "+OK");
    client.expect("GET elsewhere", "\"yes\"");
    client.expect("SELECT 0", "+OK");
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Terminate,
    Shutdown,
}

fn end(server: Server, how: End) {
    match how {
        End::Kill => server.kill(),
        End::Terminate => {
            server.terminate();
            assert!(server.wait());
        }
        End::Shutdown => {
            Wire::connect(server.resp).say("SHUTDOWN NOSAVE");
            assert!(server.wait());
        }
    }
}

#[test]
fn all_data_come_back_from_the_log() {
    for how in [End::Kill, End::Terminate, End::Shutdown] {
        for policy in ["always", "everysec", "no"] {
            let data = DataFolder::new();
            let server = Server::on(&data, &["--appendfsync", policy]);
            fill(&mut Wire::connect(server.resp));
            end(server, how);
            let server = Server::on(&data, &[]);
            check(&mut Wire::connect(server.resp));
        }
    }
}

#[test]
fn all_data_come_back_from_a_snapshot_and_the_log_behind_it() {
    for words in ["SAVE", "BGSAVE", "BGREWRITEAOF", "BGSAVE SCHEDULE"] {
        let data = DataFolder::new();
        let server = Server::on(&data, &["--save", ""]);
        let mut client = Wire::connect(server.resp);
        fill(&mut client);
        client.expect("SET text other", "+OK");
        client.expect("LPOP list", "\"a\"");
        let before = client.call("LASTSAVE").int();
        assert!(!client.call(words).to_string().starts_with('-'), "{words}");
        eventually("a snapshot", || {
            data.files("snapshot-").iter().any(|path| path.extension().is_some_and(|e| e == "rdb"))
        });
        eventually("its end", || {
            let info = client.call("INFO persistence").text();
            info.contains("rdb_bgsave_in_progress:0") && info.contains("aof_rewrite_in_progress:0")
        });
        assert!(client.call("LASTSAVE").int() >= before);
        client.expect("SET text hello", "+OK");
        client.expect("LPUSH list a", ":3");
        end(server, End::Kill);
        let server = Server::on(&data, &[]);
        check(&mut Wire::connect(server.resp));
        assert!(server.last_words().contains("keys of a snapshot"), "{}", server.last_words());
    }
}

#[test]
fn the_log_is_trimmed_behind_the_older_snapshot() {
    let data = DataFolder::new();
    let mut total = 0;
    for start in 0..4 {
        let server = Server::on(&data, &["--save", ""]);
        let mut client = Wire::connect(server.resp);
        client.expect(&format!("SET key{start} 1"), "+OK");
        client.expect("SAVE", "+OK");
        total = client.call("DBSIZE").int();
        end(server, End::Terminate);
    }
    assert_eq!(total, 4);
    // Every start begins a segment; those below the older of two snapshots have gone.
    assert_eq!(data.files("snapshot-").len(), 2, "{:?}", data.files(""));
    assert!(data.files("log-").len() <= 3, "{:?}", data.files(""));
}

#[test]
fn time_goes_on_while_the_server_is_down() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SET brief 1 PX 300", "+OK");
    client.expect("SET kept 1 PX 300", "+OK");
    client.expect("SAVE", "+OK");
    client.expect("PERSIST kept", ":1");
    client.expect("SET stays 1", "+OK");
    end(server, End::Kill);
    std::thread::sleep(Duration::from_millis(400));
    let server = Server::on(&data, &[]);
    let mut client = Wire::connect(server.resp);
    client.expect("EXISTS brief", ":0");
    client.expect("EXISTS stays", ":1");
    // Due in the snapshot, and persisted behind it.
    client.expect("TTL kept", ":-1");
}

#[test]
fn a_folder_has_one_server() {
    let data = DataFolder::new();
    let server = Server::on(&data, &[]);
    let said = Server::refuses(&["--dir", &data.0.to_string_lossy()]);
    assert!(said.contains("another process uses this folder"), "{said}");
    Wire::connect(server.resp).expect("PING", "+PONG");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the file is there");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_flipped_bit_in_the_log_stops_the_start() {
    let data = DataFolder::new();
    let server = Server::on(&data, &[]);
    fill(&mut Wire::connect(server.resp));
    end(server, End::Terminate);
    let log = data.files("log-").pop().expect("a segment");
    flip(&log, 5000);
    let said = Server::refuses(&["--dir", &data.0.to_string_lossy()]);
    let name = log.file_name().expect("a name").to_string_lossy();
    assert!(said.contains(&*name) && said.contains("offset") && said.contains("synap-server check"), "{said}");
    // What cannot be read is left as it is.
    flip(&log, 5000);
    check(&mut Wire::connect(Server::on(&data, &[]).resp));
}

#[test]
fn a_tail_that_did_not_reach_the_disk_is_cut() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--appendfsync", "no"]);
    let mut client = Wire::connect(server.resp);
    fill(&mut client);
    let end_of_fill = client.call("INFO persistence").text();
    client.expect("SET last 1", "+OK");
    end(server, End::Kill);
    let log = data.files("log-").pop().expect("a segment");
    let bytes = fs::read(&log).expect("the segment");
    let last = bytes.windows(4).rposition(|window| window == b"last").expect("the last call");
    fs::write(&log, &bytes[..last]).expect("it can be written");
    let server = Server::on(&data, &[]);
    let mut client = Wire::connect(server.resp);
    check(&mut client);
    client.expect("EXISTS last", ":0");
    assert!(server.last_words().contains("had not reached the disk"), "{} {end_of_fill}", server.last_words());
    // What was cut does not come back.
    client.expect("SET next 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &[]);
    let mut client = Wire::connect(server.resp);
    client.expect("EXISTS last next", ":1");
}

#[test]
fn a_bad_snapshot_is_told_and_the_older_one_taken_on_demand() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SET first 1", "+OK");
    client.expect("SAVE", "+OK");
    fill(&mut client);
    client.expect("DEL first", ":1");
    client.expect("SAVE", "+OK");
    end(server, End::Terminate);
    let newest = data.files("snapshot-").pop().expect("a snapshot");
    flip(&newest, 200);
    let dir = data.0.to_string_lossy().into_owned();
    let said = Server::refuses(&["--dir", &dir]);
    assert!(said.contains("--load-older-snapshot") && said.contains("snapshot-"), "{said}");
    let server = Server::on(&data, &["--load-older-snapshot"]);
    check(&mut Wire::connect(server.resp));
}

#[test]
fn a_folder_that_lost_its_manifest_is_not_begun_anew() {
    let data = DataFolder::new();
    let server = Server::on(&data, &[]);
    Wire::connect(server.resp).expect("SET a 1", "+OK");
    end(server, End::Terminate);
    fs::remove_file(data.0.join("manifest")).expect("it is there");
    let said = Server::refuses(&["--dir", &data.0.to_string_lossy()]);
    assert!(said.contains("manifest"), "{said}");
}

#[test]
fn a_write_can_be_waited_for() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--appendfsync", "everysec"]);
    let mut client = Wire::connect(server.resp);
    client.expect("SET a 1", "+OK");
    client.expect("WAITAOF 1 0 0", "[:1 :0]");
    client.expect("SET a 2", "+OK");
    client.expect("WAITAOF 1 1 50", "[:1 :0]");
    client.expect("WAITAOF 2 0 0", "-ERR value is not an integer or out of range");
    client.expect("WAITAOF 0 0 -1", "-ERR timeout is negative");
    client.expect("CONFIG SET appendfsync always", "+OK");
    client.expect("SET a 3", "+OK");
    eventually("all is fsynced", || client.call("INFO persistence").text().contains("aof_unsynced_bytes:0\r"));
    client.expect("CONFIG SET appendfsync sometimes", "-ERR CONFIG SET failed…");
    client.expect("CONFIG SET save nonsense", "-ERR CONFIG SET failed…");
}

/// A `redis-server` loads what we write, if there is one.
#[test]
fn redis_loads_our_snapshot() {
    let Ok(found) = Command::new("redis-server").arg("--version").output() else {
        println!("skipped: there is no redis-server");
        return;
    };
    assert!(found.status.success());
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    fill(&mut client);
    client.expect("SAVE", "+OK");
    let snapshot = data.files("snapshot-").pop().expect("a snapshot");
    let checked = Command::new("redis-check-rdb").arg(&snapshot).output();
    let Ok(checked) = checked else {
        println!("skipped: there is no redis-check-rdb");
        return;
    };
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("11 keys read"), "{said}");
}

#[test]
fn a_shutdown_makes_a_snapshot_when_it_is_told_to() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    fill(&mut Wire::connect(server.resp));
    // Whoever has said it need not stay for it.
    Wire::connect(server.resp).say("SHUTDOWN SAVE");
    assert!(server.wait());
    assert_eq!(data.files("snapshot-").len(), 1);
    let server = Server::on(&data, &[]);
    let mut client = Wire::connect(server.resp);
    check(&mut client);
    client.expect("DEBUG RELOAD", "+OK");
    check(&mut client);
}

const NO_LOG: [&str; 4] = ["--appendonly", "no", "--save", ""];

fn said(client: &mut Wire, line: &str) -> bool {
    client.call("INFO persistence").text().contains(&format!("{line}\r\n"))
}

#[test]
fn without_a_log_snapshots_are_all_there_is() {
    let data = DataFolder::new();
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    fill(&mut client);
    client.expect("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    client.expect("WAITAOF 0 0 0", "[:0 :0]");
    assert!(said(&mut client, "aof_enabled:0"));
    for last in ["first", "second", "third"] {
        client.expect("SAVE", "+OK");
        client.expect(&format!("SET {last} 1"), "+OK");
    }
    client.expect("DEL first second third", ":3");
    assert_eq!(data.files("snapshot-").len(), 2, "{:?}", data.files(""));
    assert!(data.files("log-").is_empty());
    end(server, End::Kill);
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    client.expect("EXISTS first second third", ":2");
    client.expect("DEL first second", ":2");
    check(&mut client);
    assert!(said(&mut client, "rdb_last_load_keys_loaded:13"), "{}", client.call("INFO persistence").text());
}

#[test]
fn without_a_log_a_snapshot_is_made_at_the_end() {
    for (rules, on_signal, last_words, is_kept) in [
        ("3600 1", "default", None, true),
        ("3600 1", "nosave", Some("SHUTDOWN"), true),
        ("", "default", Some("SHUTDOWN SAVE"), true),
        ("", "default", None, false),
        ("", "save", None, true),
        ("3600 1", "nosave", None, false),
        ("3600 1", "default", Some("SHUTDOWN NOSAVE"), false),
    ] {
        let data = DataFolder::new();
        let server = Server::on(&data, &["--appendonly", "no", "--save", rules]);
        let mut client = Wire::connect(server.resp);
        client.expect(&format!("CONFIG SET shutdown-on-sigterm {on_signal}"), "+OK");
        fill(&mut client);
        match last_words {
            None => server.terminate(),
            Some(words) => client.say(words),
        }
        assert!(server.wait());
        let server = Server::on(&data, &["--save", ""]);
        let mut client = Wire::connect(server.resp);
        if is_kept { check(&mut client) } else { client.expect("DBSIZE", ":0") }
    }
}

/// Nobody may lose what could be kept: the server goes on, and says why.
#[test]
fn an_end_without_its_snapshot_is_refused() {
    let data = DataFolder::new();
    let mut server = Server::on(&data, &["--appendonly", "no", "--save", "3600 1"]);
    let mut client = Wire::connect(server.resp);
    client.expect("SET a 1", "+OK");
    let away = data.0.with_extension("away");
    fs::rename(&data.0, &away).expect("it is there");
    client.expect("SHUTDOWN", "-ERR Errors trying to SHUTDOWN. Check logs.");
    client.expect("SET a 2", "-MISCONF a snapshot failed…");
    assert!(said(&mut client, "rdb_last_bgsave_status:err"));
    server.terminate();
    eventually("it is told", || server.last_words().contains("the server goes on"));
    assert!(server.try_wait().is_none());
    client.expect("CONFIG SET stop-writes-on-bgsave-error no", "+OK");
    client.expect("SET a 3", "+OK");
    client.expect("CONFIG SET stop-writes-on-bgsave-error yes", "+OK");
    client.expect("SET a 4", "-MISCONF …");
    client.expect("GET a", "\"3\"");
    fs::rename(&away, &data.0).expect("it is there");
    client.expect("SAVE", "+OK");
    client.expect("SET a 5", "+OK");
    client.say("SHUTDOWN");
    assert!(server.wait());
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    client.expect("GET a", "\"5\"");
    fs::rename(&data.0, &away).expect("it is there");
    client.say("SHUTDOWN SAVE FORCE");
    assert!(server.wait());
    fs::rename(&away, &data.0).expect("it is there");
}

/// There and back: whatever a folder has is loaded, and nothing goes before a snapshot has it.
#[test]
fn a_folder_with_a_log_may_go_on_without_one() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    fill(&mut Wire::connect(server.resp));
    end(server, End::Kill);
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    check(&mut client);
    client.expect("SET lost 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    check(&mut client);
    assert!(!data.files("log-").is_empty());
    client.expect("SET kept 1", "+OK");
    client.expect("SAVE", "+OK");
    assert!(data.files("log-").is_empty(), "{:?}", data.files(""));
    client.expect("SET lost 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("DEL kept lost", ":1");
    check(&mut client);
    client.expect("SET later 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    client.expect("DEL later", ":1");
    check(&mut client);
    // What cannot be read is told of, with what is left.
    client.expect("SAVE", "+OK");
    client.expect("DEL text", ":1");
    client.expect("SAVE", "+OK");
    end(server, End::Kill);
    flip(&data.files("snapshot-").pop().expect("a snapshot"), 200);
    let said = Server::refuses(&["--dir", &data.0.to_string_lossy(), "--appendonly", "no"]);
    assert!(said.contains("lose what was changed since"), "{said}");
    let server = Server::on(&data, &["--load-older-snapshot"]);
    check(&mut Wire::connect(server.resp));
}

#[test]
fn the_log_begins_and_ends_while_the_server_runs() {
    let data = DataFolder::new();
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    fill(&mut client);
    for _ in 0..2 {
        client.expect("CONFIG SET appendonly yes", "+OK");
        client.expect("SET text other", "+OK");
        client.expect("WAITAOF 1 0 0", "[:1 :0]");
        assert!(said(&mut client, "aof_enabled:1") && said(&mut client, "aof_last_bgrewrite_status:ok"));
        eventually("it is whole", || said(&mut client, "aof_rewrite_in_progress:0"));
        client.expect("SET text hello", "+OK");
        client.expect("CONFIG SET appendonly no", "+OK");
        eventually("it has ended", || {
            said(&mut client, "aof_enabled:0") && said(&mut client, "aof_rewrite_in_progress:0")
        });
    }
    client.expect("SET lost 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &NO_LOG);
    let mut client = Wire::connect(server.resp);
    check(&mut client);
    client.expect("CONFIG SET appendonly yes", "+OK");
    eventually("it is whole", || said(&mut client, "aof_rewrite_in_progress:0"));
    client.expect("SET later 1", "+OK");
    end(server, End::Kill);
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("DEL later", ":1");
    check(&mut client);
    assert_eq!(data.files("snapshot-").len(), 2, "{:?}", data.files(""));
}

/// SAVE is refused while another snapshot is made, and not while a log ends or begins.
#[test]
fn a_snapshot_waits_for_the_log() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    for round in 0..10 {
        client.expect("CONFIG SET appendonly no", "+OK");
        client.expect(&format!("SET text {round}"), "+OK");
        client.expect("SAVE", "+OK");
        client.expect("CONFIG SET appendonly yes", "+OK");
        client.expect("SAVE", "+OK");
    }
    end(server, End::Kill);
    let server = Server::on(&data, &[]);
    Wire::connect(server.resp).expect("GET text", "\"9\"");
}

#[test]
fn all_data_are_loaded_again_from_the_files() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SET text other", "+OK");
    client.expect("SAVE", "+OK");
    fill(&mut client);
    for _ in 0..2 {
        client.expect("DEBUG LOADAOF", "+OK");
        check(&mut client);
        client.expect("SET later 1", "+OK");
        client.expect("DEBUG LOADAOF", "+OK");
        client.expect("DEL later", ":1");
    }
    end(server, End::Kill);
    check(&mut Wire::connect(Server::on(&data, &[]).resp));
    let server = Server::with(&NO_LOG);
    Wire::connect(server.resp).expect("DEBUG LOADAOF", "-ERR there is no log to load…");
}

/// A snapshot that was half written when a server was killed is not kept for ever.
#[test]
fn what_never_got_its_name_goes() {
    let data = DataFolder::new();
    end(Server::on(&data, &NO_LOG), End::Kill);
    let rest = data.0.join("snapshot-00000000000000000007.new");
    fs::write(&rest, b"REDIS").expect("it can be written");
    let _server = Server::on(&data, &NO_LOG);
    assert!(!rest.exists());
}

/// Nor is an old file that a kill kept from being removed. What stands behind the data may be somebody's.
#[test]
fn what_nobody_needs_any_more_goes() {
    let data = DataFolder::new();
    for round in 0..2 {
        let server = Server::on(&data, &["--save", ""]);
        let mut client = Wire::connect(server.resp);
        for value in 0..2 {
            client.expect(&format!("SET a {round}{value}"), "+OK");
            client.expect("SAVE", "+OK");
        }
        end(server, End::Kill);
    }
    assert!(data.files("log-00000000000000000000").is_empty(), "{:?}", data.files(""));
    let file = |name: &str| data.0.join(name);
    let old = [
        file("log-00000000000000000000.synap"),
        file("log-00000000000000000000.1.synap"),
        file("snapshot-00000000000000000007.rdb"),
        file("log-00000000000000888888.synap"),
    ];
    let others = [
        file("log-00000000000000999999.synap"),
        file("snapshot-00000000000000999999.rdb"),
        file("log-00000000000000000000.synap.damaged"),
        file("snapshot-old.rdb"),
    ];
    for name in old.iter().chain(&others) {
        fs::write(name, [b'x'; 200]).expect("it can be written");
    }
    // Begun, and never written to.
    fs::write(&old[3], [[b'x'; 72], [0; 72]].concat()).expect("it can be written");
    let server = Server::on(&data, &["--save", ""]);
    Wire::connect(server.resp).expect("GET a", "\"11\"");
    assert!(old.iter().all(|name| !name.exists()) && others.iter().all(|name| name.exists()), "{:?}", data.files(""));
}

/// The disk takes nothing for a while: writers are told, readers go on, and nothing acknowledged is missing afterwards.
#[test]
fn a_full_disk_refuses_writes_and_heals() {
    const BRIEF_MS: u64 = 2000;
    for policy in ["always", "everysec", "no"] {
        let data = DataFolder::new();
        let server = Server::on(&data, &["--appendfsync", policy, "--save", ""]);
        let mut client = Wire::connect(server.resp);
        fill(&mut client);
        // Long enough that nothing is due before the server has met the full disk: an expiry is a write too.
        let due = Instant::now() + Duration::from_millis(BRIEF_MS);
        client.expect(&format!("SET brief 1 PX {BRIEF_MS}"), "+OK");
        client.expect("HSET fields f 1 g 2", ":2");
        client.expect(&format!("HPEXPIRE fields {BRIEF_MS} FIELDS 1 f"), "[:1]");
        // What was answered is written; what is read below is to be settled with `always` too.
        client.expect("WAITAOF 1 0 5000", "[:1 :0]");

        server.limit_files(Some(0));
        let mut writer = Wire::connect(server.resp);
        writer.say("SET lost-or-not 1");
        // Its answer waits for the disk until it is known that the disk fails.
        let told = writer.try_read().map(|answer| answer.to_string());
        assert!(told.as_ref().is_ok_and(|told| told.starts_with("-MISCONF")), "{policy}: {told:?}");
        client.expect("SET other 1", "-MISCONF…");
        client.expect("DEL text", "-MISCONF…");
        client.expect("GET text", "\"hello\"");
        client.expect("LRANGE list 0 -1", "[\"a\" \"b\" \"c\"]");
        std::thread::sleep(due.saturating_duration_since(Instant::now()) + Duration::from_millis(50));
        client.expect("GET brief", "nil");
        client.expect("EXISTS brief", ":0");
        client.expect("HGET fields f", "nil");
        client.expect("HGET fields g", "\"2\"");
        client.expect("GET text", "\"hello\"");
        let info = client.call("INFO persistence").text();
        assert!(info.contains("aof_last_write_status:err"), "{policy}: {info}");
        for (path, status) in [("/health", 200), ("/ready", 503)] {
            let answer = Client::connect(server.http).get(path);
            assert_eq!((answer.status, answer.body.as_str()), (status, r#"{"status":"disk failing"}"#), "{policy}");
        }

        server.limit_files(None);
        eventually("the disk takes writes again", || client.call("SET after 1").to_string() == "+OK");
        let info = client.call("INFO persistence").text();
        assert!(info.contains("aof_last_write_status:ok"), "{policy}: {info}");
        client.expect("GET brief", "nil");
        server.kill();
        let server = Server::on(&data, &[]);
        let mut client = Wire::connect(server.resp);
        for key in ["brief", "other"] {
            client.expect(&format!("EXISTS {key}"), ":0");
        }
        client.expect("GET after", "\"1\"");
        client.expect("HGETALL fields", "[\"g\" \"2\"]");
        client.call("DEL after fields lost-or-not");
        check(&mut client);
    }
}

/// Who takes Redis' place with its configuration has its folder, too.
#[test]
fn what_redis_has_left_is_named() {
    for name in ["dump.rdb", "appendonlydir"] {
        let data = DataFolder::new();
        fs::create_dir_all(&data.0).expect("a folder");
        fs::write(data.0.join(name), "theirs").expect("it can be written");
        let server = Server::on(&data, &[]);
        Wire::connect(server.resp).expect("SET a 1", "+OK");
        let said = server.last_words();
        assert!(said.contains("synap-server load") && said.contains(name), "{said}");
        end(server, End::Terminate);
        let server = Server::on(&data, &[]);
        Wire::connect(server.resp).expect("GET a", "\"1\"");
        assert!(!server.last_words().contains("synap-server load"));
        end(server, End::Terminate);
        assert_eq!(fs::read(data.0.join(name)).expect("it is left alone"), b"theirs");
    }
}

/// Nothing is damaged then, and nobody should be told to cut it.
#[test]
fn fewer_databases_than_have_data_stop_the_start_and_cost_nothing() {
    let data = DataFolder::new();
    let dir = data.0.to_string_lossy().into_owned();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SELECT 9", "+OK");
    client.expect("SET a 1", "+OK");
    end(server, End::Kill);
    let refused = || {
        let said = Server::refuses(&["--dir", &dir, "--databases", "9"]);
        assert!(said.contains("databases") && !said.contains("repair"), "{said}");
    };
    refused();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    for value in ["2", "3"] {
        client.expect("SELECT 9", "+OK");
        client.expect(&format!("SET a {value}"), "+OK");
        client.expect("SAVE", "+OK");
    }
    end(server, End::Kill);
    refused();
    let server = Server::on(&data, &["--databases", "10"]);
    let mut client = Wire::connect(server.resp);
    client.expect("SELECT 9", "+OK");
    client.expect("GET a", "\"3\"");
}

/// Nobody knows then what is on the disk: writers are told, what was safe is served, and when fsyncs succeed again all
/// that was answered is written elsewhere.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[test]
fn a_failed_fsync_refuses_writes_and_heals() {
    use fsyncs::Fsyncs;
    use server::Start;

    if !Fsyncs::can_be_watched() {
        println!("skipped: fsyncs cannot be made to fail here");
        return;
    }
    for policy in ["always", "everysec"] {
        let (data, fsyncs) = (DataFolder::new(), Fsyncs::default());
        let server = Server::begin(&Start {
            flags: &["--appendfsync", policy, "--save", ""],
            data: Some(&data.0),
            prepare: Some(&|command| fsyncs.watch(command)),
            ..Start::default()
        });
        let mut client = Wire::connect(server.resp);
        client.expect("SET safe 1", "+OK");
        client.expect("WAITAOF 1 0 5000", "[:1 :0]");
        fsyncs.fail(true);
        let mut writer = Wire::connect(server.resp);
        let told = writer.call("SET between 1").to_string();
        match policy {
            "always" => assert!(told.starts_with("-MISCONF"), "{told}"),
            _ => assert_eq!(told, "+OK"),
        }
        eventually("writers are told", || client.call("SET between 2").to_string().starts_with("-MISCONF"));
        let info = client.call("INFO persistence").text();
        assert!(info.contains("aof_last_write_status:err"), "{policy}: {info}");
        client.expect("GET safe", "\"1\"");
        let manifest = || fs::read(data.0.join("manifest")).expect("it is there");
        let before = manifest();

        fsyncs.fail(false);
        eventually("fsyncs count again", || client.call("SET after 1").to_string() == "+OK");
        assert_ne!(manifest(), before, "{policy}: another segment counts");
        client.expect("WAITAOF 1 0 5000", "[:1 :0]");
        let between = client.call("GET between").to_string();
        server.kill();
        let server = Server::on(&data, &[]);
        let mut client = Wire::connect(server.resp);
        client.expect("MGET safe after", "[\"1\" \"1\"]");
        client.expect("GET between", &between);
    }
}
