//! `synap-server check`, `repair`, `dump` and `load`, on folders that a server has left and with files of a real Redis.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use server::{DataFolder, Server, eventually};
use wire::Wire;

/// What a tool said.
struct Said {
    is_ok: bool,
    out: Vec<u8>,
    /// Both, as text.
    text: String,
}

fn tool(words: &[&str], data: &DataFolder) -> Said {
    let run = Command::new(env!("CARGO_BIN_EXE_synap-server")).args(words).arg("--dir").arg(&data.0).output();
    let run = run.expect("the server was built");
    let text = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(!text.contains("panicked"), "{text}");
    Said { is_ok: run.status.success(), out: run.stdout, text }
}

#[track_caller]
fn succeeds(words: &[&str], data: &DataFolder) -> Said {
    let said = tool(words, data);
    assert!(said.is_ok, "{words:?}: {}", said.text);
    said
}

#[track_caller]
fn fails(words: &[&str], data: &DataFolder) -> Said {
    let said = tool(words, data);
    assert!(!said.is_ok, "{words:?}: {}", said.text);
    said
}

/// Every type, small and large, in two databases, with nothing that Redis 7.0 does not know.
const FILLED: &[&str] = &[
    "SET text hello",
    "SET number 42",
    "SET long 1 PX 100000000",
    "RPUSH list a b c",
    "HSET hash f 1 g 2",
    "SADD set a b 3",
    "SADD ints 1 2 3",
    "ZADD zset 1.5 a -inf b 2 c",
    "SELECT 3",
    "SET elsewhere yes",
    "SELECT 0",
];

fn fill(client: &mut Wire) {
    for words in FILLED {
        let answer = client.call(words).to_string();
        assert!(!answer.starts_with('-'), "{words}: {answer}");
    }
    for number in 0..500 {
        client.expect(&format!("RPUSH queue {number}-abcdefgh"), &format!(":{}", number + 1));
        client.expect(&format!("HSET map {number}-field {number}-value"), ":1");
        client.expect(&format!("ZADD scores {number} {number}-member"), ":1");
    }
}

#[track_caller]
fn check_filled(client: &mut Wire) {
    for (words, expected) in [
        ("DBSIZE", ":11"),
        ("GET text", "\"hello\""),
        ("GET number", "\"42\""),
        ("LRANGE list 0 -1", "[\"a\" \"b\" \"c\"]"),
        ("HGET hash g", "\"2\""),
        ("SCARD set", ":3"),
        ("SISMEMBER ints 2", ":1"),
        ("ZRANGE zset 0 -1 WITHSCORES", "[\"b\" \"-inf\" \"a\" \"1.5\" \"c\" \"2\"]"),
        ("LINDEX queue 499", "\"499-abcdefgh\""),
        ("HGET map 321-field", "\"321-value\""),
        ("ZSCORE scores 123-member", "\"123\""),
        ("TTL text", ":-1"),
        ("SELECT 3", "+OK"),
        ("GET elsewhere", "\"yes\""),
        ("SELECT 0", "+OK"),
    ] {
        client.expect(words, expected);
    }
    let left_s = client.call("TTL long").int();
    assert!((90_000..=100_000).contains(&left_s), "{left_s}");
}

/// A folder that a server has filled; with a snapshot in the middle, if it is to have one.
fn filled(has_snapshot: bool) -> DataFolder {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    if has_snapshot {
        client.expect("SET before 1", "+OK");
        client.expect("SAVE", "+OK");
    }
    fill(&mut client);
    if has_snapshot {
        client.expect("SAVE", "+OK");
        client.expect("DEL before", ":1");
    }
    server.terminate();
    assert!(server.wait());
    data
}

/// Lets the beginning of the log go, so that the keys of a snapshot are needed.
fn shorten(data: &DataFolder) {
    let server = Server::on(data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SAVE", "+OK");
    client.expect("SET text other", "+OK");
    client.expect("SAVE", "+OK");
    client.expect("SET text hello", "+OK");
    server.terminate();
    assert!(server.wait());
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the file is there");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("it can be written");
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// All files of a folder, with what they hold.
fn contents(data: &DataFolder) -> Vec<(PathBuf, Vec<u8>)> {
    data.files("").into_iter().map(|path| (path.clone(), fs::read(&path).expect("it can be read"))).collect()
}

#[test]
fn check_finds_a_flipped_bit_and_nothing_else() {
    for has_snapshot in [false, true] {
        let data = filled(has_snapshot);
        let before = contents(&data);
        let said = succeeds(&["check"], &data);
        assert!(said.text.contains("all is well"), "{}", said.text);
        assert!(contents(&data) == before, "looking changes nothing");
        let mut damaged = vec![data.files("log-").pop().expect("a segment"), data.0.join("manifest")];
        damaged.extend(data.files("snapshot-").pop());
        for path in damaged {
            flip(&path, 100);
            let said = fails(&["check"], &data);
            let what = name(&path);
            assert!(said.text.contains(&what) && said.text.contains("byte"), "{what}: {}", said.text);
            flip(&path, 100);
        }
        succeeds(&["check"], &data);
    }
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let data = DataFolder::new();
    let server = Server::on(&data, &[]);
    Wire::connect(server.resp).expect("SET a 1", "+OK");
    let file = env!("CARGO_BIN_EXE_synap-server");
    for words in [&["check"][..], &["repair", "--truncate"], &["dump"], &["load", file]] {
        let said = fails(words, &data);
        assert!(said.text.contains("another process uses this folder"), "{words:?}: {}", said.text);
    }
    Wire::connect(server.resp).expect("GET a", "\"1\"");
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let data = DataFolder::new();
    for words in
        [&["check"][..], &["repair", "--truncate"], &["dump"], &["dump", "--rdb", "none/x"], &["load", "none/x"]]
    {
        fails(words, &data);
        assert!(!data.0.exists(), "{words:?}");
    }
}

#[test]
fn repair_makes_a_damaged_log_start_again() {
    let data = filled(false);
    assert!(succeeds(&["repair"], &data).text.contains("nothing to repair"));
    let log = data.files("log-").pop().expect("a segment");
    let at = fs::read(&log).expect("it is there").windows(4).rposition(|window| window == b"499-").expect("the last");
    flip(&log, at);
    Server::refuses(&["--dir", &data.0.to_string_lossy()]);
    let before = contents(&data);
    let said = fails(&["repair"], &data);
    assert!(said.text.contains("--truncate") && said.text.contains(&name(&log)), "{}", said.text);
    assert!(contents(&data) == before, "nothing is done unasked");
    let said = succeeds(&["repair", "--truncate"], &data);
    assert!(said.text.contains(&format!("kept aside: {}.damaged", name(&log))), "{}", said.text);
    assert_eq!(data.files("").iter().filter(|path| name(path).ends_with(".damaged")).count(), 1);
    succeeds(&["check"], &data);
    let server = Server::on(&data, &[]);
    let mut client = Wire::connect(server.resp);
    client.expect("GET text", "\"hello\"");
    client.expect("LLEN queue", ":500");
    client.expect("HLEN map", ":500");
    client.expect("ZCARD scores", ":499");
}

#[test]
fn repair_goes_on_from_the_older_snapshot() {
    let data = filled(true);
    let newest = data.files("snapshot-").pop().expect("a snapshot");
    flip(&newest, 200);
    Server::refuses(&["--dir", &data.0.to_string_lossy()]);
    let said = succeeds(&["repair", "--truncate"], &data);
    assert!(said.text.contains(&format!("kept aside: {}.damaged", name(&newest))), "{}", said.text);
    check_filled(&mut Wire::connect(Server::on(&data, &[]).resp));
}

#[test]
fn a_dump_in_rdb_is_loaded_again() {
    for has_snapshot in [false, true] {
        let data = filled(has_snapshot);
        let (rdb, other) = (DataFolder::new(), DataFolder::new());
        fs::create_dir_all(&rdb.0).expect("a folder");
        let file = rdb.0.join("data.rdb");
        let file = file.to_string_lossy();
        let before = contents(&data);
        succeeds(&["dump", "--rdb", &file], &data);
        assert!(contents(&data) == before, "the folder stays as it is");
        assert!(fails(&["dump", "--rdb", &file], &data).text.contains("there already"));
        assert_eq!(rdb.files("").len(), 1);
        let said = succeeds(&["load", &file], &other);
        assert!(said.text.contains("12 keys are loaded"), "{}", said.text);
        succeeds(&["check"], &other);
        assert!(fails(&["load", &file], &other).text.contains("not empty"));
        for round in 0..2 {
            let server = Server::on(&other, &["--save", ""]);
            let mut client = Wire::connect(server.resp);
            check_filled(&mut client);
            client.expect(&format!("SETBIT bits {round} 1"), ":0");
            client.expect("SAVE", "+OK");
            client.expect("DEL bits", ":1");
            server.kill();
        }
        succeeds(&["check"], &other);
    }
}

#[test]
fn a_dump_begins_at_any_call() {
    let data = DataFolder::new();
    let server = Server::on(&data, &["--save", ""]);
    let mut client = Wire::connect(server.resp);
    client.expect("SELECT 5", "+OK");
    client.expect("SET a 1", "+OK");
    let info = client.call("INFO persistence").text();
    let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:")).expect("a line");
    client.expect("SET b 2", "+OK");
    server.terminate();
    assert!(server.wait());
    let said = succeeds(&["dump", "--from", size.trim()], &data);
    let expected = "*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n";
    assert_eq!(String::from_utf8_lossy(&said.out), expected);
    assert!(fails(&["dump", "--from", "3"], &data).text.contains("no call begins at offset 3"));
    assert!(fails(&["dump", "--from", "99999"], &data).text.contains("the log ends at"));
}

#[test]
fn deadlines_of_fields_are_in_a_dump() {
    let data = filled(false);
    let server = Server::on(&data, &["--save", ""]);
    Wire::connect(server.resp).expect("HEXPIRE hash 100000 FIELDS 1 g", "[:1]");
    server.terminate();
    assert!(server.wait());
    for is_short in [false, true] {
        if is_short {
            shorten(&data);
        }
        let said = succeeds(&["dump"], &data);
        let other = Server::start();
        let mut client = Wire::connect(other.resp);
        client.send(&said.out);
        client.say("ECHO end");
        loop {
            let answer = client.read().to_string();
            assert!(!answer.starts_with('-'), "{answer}");
            if answer == "\"end\"" {
                break;
            }
        }
        client.expect("SELECT 0", "+OK");
        check_filled(&mut client);
        let left_s = client.call("HTTL hash FIELDS 1 g").items()[0].int();
        assert!((90_000..=100_000).contains(&left_s), "{left_s}");
    }
}

/// Another server, if it is there, on a port of its own.
struct Redis {
    child: Child,
    address: SocketAddr,
    dir: DataFolder,
}

impl Redis {
    fn start(flags: &[&str]) -> Option<Redis> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            println!("skipped: there is no redis-server");
            return None;
        }
        let dir = DataFolder::new();
        fs::create_dir_all(&dir.0).expect("a folder");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let child = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(&dir.0)
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let redis = Redis { child, address, dir };
        eventually("redis-server listens", || TcpStream::connect(address).is_ok());
        Some(redis)
    }

    fn client(&self) -> Wire {
        Wire::connect(self.address)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn redis_takes_a_dump_through_its_pipe() {
    for has_snapshot in [false, true] {
        let Some(redis) = Redis::start(&[]) else { return };
        let data = filled(has_snapshot);
        if has_snapshot {
            shorten(&data);
        }
        let said = succeeds(&["dump"], &data);
        let has_keys = said.out.windows(7).any(|window| window == b"RESTORE");
        assert_eq!(has_keys, has_snapshot);
        let port = redis.address.port().to_string();
        let cli = Command::new("redis-cli")
            .args(["-p", &port, "--pipe"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut cli) = cli else {
            println!("skipped: there is no redis-cli");
            return;
        };
        cli.stdin.take().expect("it is piped").write_all(&said.out).expect("it reads");
        let output = cli.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("errors: 0"), "{told}");
        check_filled(&mut redis.client());
    }
}

#[test]
fn what_redis_saved_is_loaded() {
    let Some(redis) = Redis::start(&["--appendonly", "yes", "--aof-timestamp-enabled", "yes"]) else { return };
    let mut client = redis.client();
    fill(&mut client);
    client.expect("BGREWRITEAOF", "+Background append only file rewriting started");
    eventually("the rewrite", || {
        let info = client.call("INFO persistence").text();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    });
    client.expect("SET text other", "+OK");
    client.expect("MULTI", "+OK");
    client.expect("SET text hello", "+QUEUED");
    client.expect("SELECT 3", "+QUEUED");
    client.expect("SET elsewhere yes", "+QUEUED");
    client.expect("EXEC", "[+OK +OK +OK]");
    client.expect("SELECT 0", "+OK");
    client.expect("SAVE", "+OK");
    thread::sleep(Duration::from_millis(1100));

    let rdb = redis.dir.0.join("dump.rdb");
    let folder = redis.dir.0.join("appendonlydir");
    for source in [&rdb, &folder] {
        let data = DataFolder::new();
        let said = succeeds(&["load", &source.to_string_lossy()], &data);
        assert!(said.text.contains("12 keys are loaded; 0 things"), "{}", said.text);
        check_filled(&mut Wire::connect(Server::on(&data, &[]).resp));
    }

    // One file of both kinds, as older versions wrote it, whose end is missing.
    let entries = fs::read_dir(&folder).expect("it is there").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| !name(path).ends_with(".manifest")).collect();
    files.sort();
    let mut whole: Vec<u8> = files.iter().flat_map(|path| fs::read(path).expect("it can be read")).collect();
    whole.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$4\r\ntext\r\n$1\r\nx\r\n*3\r\n$3\r\nSET");
    let single = redis.dir.0.join("single.aof");
    fs::write(&single, &whole).expect("it can be written");
    let data = DataFolder::new();
    let said = succeeds(&["load", &single.to_string_lossy()], &data);
    assert!(said.text.contains("where the file is cut off"), "{}", said.text);
    check_filled(&mut Wire::connect(Server::on(&data, &[]).resp));

    // And one with damage in the middle.
    whole.splice(whole.len() - 20..whole.len() - 20, *b"damage");
    fs::write(&single, &whole).expect("it can be written");
    let data = DataFolder::new();
    assert!(fails(&["load", &single.to_string_lossy()], &data).text.contains("byte"));
    assert!(!data.0.join("manifest").exists());
}

#[test]
fn what_has_no_type_is_refused_or_named() {
    let Some(redis) = Redis::start(&["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]) else { return };
    let mut client = redis.client();
    fill(&mut client);
    client.call("XADD stream 1-1 field value");
    client.call("XGROUP CREATE stream group 0");
    client.expect("SAVE", "+OK");
    thread::sleep(Duration::from_millis(1100));
    for source in ["dump.rdb", "appendonlydir"] {
        let data = DataFolder::new();
        let source = redis.dir.0.join(source);
        let source = source.to_string_lossy();
        let said = fails(&["load", &source], &data);
        assert!(said.text.contains("--skip-unsupported"), "{}", said.text);
        let said = succeeds(&["load", "--skip-unsupported", &source], &data);
        assert!(said.text.contains("left out") && said.text.contains("stream"), "{}", said.text);
        assert!(said.text.contains("12 keys are loaded"), "{}", said.text);
        check_filled(&mut Wire::connect(Server::on(&data, &[]).resp));
    }
}
