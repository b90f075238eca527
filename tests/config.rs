//! How the server is told what to be: files, environment, flags, and CONFIG while it runs. And that the limits hold.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use server::{DataFolder, Server, Start, eventually};
use wire::{Value, Wire, call};

/// A file that goes with its test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> TempFile {
        let path = std::env::temp_dir().join(format!("synap-config-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        TempFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a text")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).expect("it is there")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[track_caller]
fn expect_setting(wire: &mut Wire, name: &str, value: &str) {
    wire.expect(&format!("CONFIG GET {name}"), &format!("[\"{name}\" \"{value}\"]"));
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

// ---- where settings come from ----

#[test]
fn the_shipped_files_start_a_server() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let file = path.to_str().filter(|path| path.ends_with(".toml"));
        // Addresses of all machines are not for tests.
        let flags = ["--bind", "127.0.0.1", "--http-bind", "127.0.0.1"];
        let server = Server::begin(&Start { file, flags: &flags, ..Start::default() });
        Wire::connect(server.resp).expect("SET k v", "+OK");
        assert!(!server.last_words().contains("WARN"), "{path:?}: {}", server.last_words());
        server.terminate();
        assert!(server.wait(), "{path:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}

/// The shapes that a redis.conf has: comments, blank lines, quotes, units, lines that add up, names that came and went.
const REDIS_CONF: &str = r#"
# A comment, and a blank line behind it.

bind 127.0.0.1 -::1
port 6379
tcp-backlog 511
unixsocketperm 700
timeout 0
	tcp-keepalive   60
daemonize yes
pidfile "/run/redis.pid"
loglevel notice
databases 16
always-show-logo no
set-proc-title yes
proc-title-template "{title} {listen-addr} {server-mode}"
save 3600 1
save 300 100 60 10000
stop-writes-on-bgsave-error yes
dbfilename dump.rdb
dir ./
slave-serve-stale-data yes
replica-priority 100
rename-command FLUSHALL ""
maxclients 500
MAXMEMORY 1gb
maxmemory-policy allkeys-lru
lazyfree-lazy-eviction no
appendonly yes
appendfilename "appendonly.aof"
auto-aof-rewrite-min-size 64mb
hash-max-ziplist-entries 512
list-max-listpack-size -2
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 16mb 4mb 30
hz 10
jemalloc-bg-thread yes
requirepass "it's \x61 secret"
"#;

#[test]
fn users_survive_config_rewrite() {
    let file = TempFile::new("users.conf", "user ann on >pw ~a:* +@read\nuser gone on nopass\n");
    let begin = || Server::begin(&Start { file: Some(file.path()), ..Start::default() });
    let server = begin();
    let mut wire = Wire::connect(server.resp);
    wire.expect("ACL SETUSER bob on nopass ~b:* &* +get (%R~c +set)", "+OK");
    wire.expect("ACL DELUSER gone", ":1");
    let users = wire.call("ACL LIST").to_string();
    wire.expect("CONFIG REWRITE", "+OK");
    drop(server);
    let server = begin();
    let mut wire = Wire::connect(server.resp);
    assert_eq!(wire.call("ACL LIST").to_string(), users);
    wire.expect("AUTH ann pw", "+OK");
    assert!(!file.text().contains("pw") && !file.text().contains("user default"), "{}", file.text());
}

/// What was logged under its own name is understood by a start that has closed the name, and the other way round.
#[test]
fn commands_have_the_names_that_the_configuration_gives_them() {
    let data = DataFolder::new();
    let file = TempFile::new("renames.conf", "rename-command SET put\nrename-command CONFIG hidden-123\n");
    let begin = |file| Server::begin(&Start { file, data: Some(&data.0), ..Start::default() });
    let server = begin(None);
    Wire::connect(server.resp).expect("SET a 1", "+OK");
    drop(server);

    let server = begin(Some(file.path()));
    let mut wire = Wire::connect(server.resp);
    wire.expect("GET a", "\"1\"");
    wire.expect("SET a 2", "-ERR unknown command 'SET', with args beginning with: 'a' '2' ");
    wire.expect("put a 2", "+OK");
    wire.expect("PUT a", "-ERR wrong number of arguments for 'set' command");
    wire.expect("MULTI", "+OK");
    wire.expect("put b 3", "+QUEUED");
    wire.expect("EXEC", "[+OK]");
    wire.expect("config get port", "-ERR unknown command 'config', with args beginning with: 'get' 'port' ");
    wire.expect("Hidden-123 resetstat", "+OK");
    drop(wire);
    drop(server);

    let server = begin(None);
    let mut wire = Wire::connect(server.resp);
    wire.expect("GET a", "\"2\"");
    wire.expect("GET b", "\"3\"");
}

#[test]
fn a_redis_conf_is_accepted_as_it_is() {
    let file = TempFile::new("redis.conf", REDIS_CONF);
    let included = TempFile::new("outer.conf", &format!("timeout 5\ninclude {}\nmaxclients 600\n", file.path()));
    for (start, clients) in [
        (Start { file: Some(file.path()), ..Start::default() }, "500"),
        (Start { stdin: Some(REDIS_CONF), ..Start::default() }, "500"),
        (Start { file: Some(included.path()), ..Start::default() }, "600"),
    ] {
        let server = Server::begin(&start);
        let mut wire = Wire::connect(server.resp);
        wire.expect("PING", "-NOAUTH Authentication required.");
        assert_eq!(wire.call_bytes(&[b"AUTH", b"it's a secret"]).to_string(), "+OK");
        for (name, value) in [
            ("maxclients", clients),
            ("maxmemory", "1073741824"),
            ("maxmemory-policy", "allkeys-lru"),
            ("save", "3600 1 300 100 60 10000"),
            ("bind", "127.0.0.1 -::1"),
            ("tcp-keepalive", "60"),
            ("timeout", "0"),
            ("hash-max-listpack-entries", "512"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 16777216 4194304 30"),
            ("daemonize", "yes"),
            ("replica-serve-stale-data", "yes"),
        ] {
            expect_setting(&mut wire, name, value);
        }
        wire.expect("FLUSHALL", "-ERR unknown command 'FLUSHALL', with args beginning with: ");
        let said = server.last_words();
        assert!(said.contains("without effect here") && said.contains("daemonize, pidfile"), "{said}");
        assert!(!said.contains("secret") && !said.contains("maxclients"), "{said}");
    }
}

#[test]
fn flags_stand_over_the_environment_and_that_over_the_file() {
    let file = TempFile::new("order.toml", "maxclients = 11\ntimeout = 11\ntcp-keepalive = 11\n");
    let vars = [("SYNAP_TIMEOUT", "12"), ("SYNAP_TCP_KEEPALIVE", "12"), ("SYNAP_HASH_MAX_ZIPLIST_VALUE", "7")];
    let flags = ["--tcp-keepalive 13"];
    let server = Server::begin(&Start { file: Some(file.path()), vars: &vars, flags: &flags, ..Start::default() });
    let mut wire = Wire::connect(server.resp);
    for (name, value) in
        [("maxclients", "11"), ("timeout", "12"), ("tcp-keepalive", "13"), ("hash-max-listpack-value", "7")]
    {
        expect_setting(&mut wire, name, value);
    }
}

#[test]
fn a_wrong_value_stops_the_start_and_names_its_place() {
    let conf = TempFile::new("wrong.conf", "# one\nmaxclients 5\nmaxmemory lots\n");
    let toml = TempFile::new("wrong.toml", "maxclients = 5\n\nmaxmemory = \"lots\"\n");
    for (file, place) in [(&conf, ":3: maxmemory \"lots\": "), (&toml, ":3: maxmemory = \"lots\": ")] {
        let said = Server::refuses(&[file.path()]);
        let expected = format!("{}{place}argument must be a memory value", file.path());
        assert!(said.contains(&expected), "{said}");
    }
    assert!(Server::refuses(&["/no/such/file.conf"]).contains("/no/such/file.conf: No such file"));
    assert!(Server::refuses(&["--maxclients", "0"]).contains("--maxclients \"0\": argument must be between 1 and"));
}

// ---- CONFIG while it runs ----

#[test]
fn names_and_patterns_are_asked_for() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let names = |wire: &mut Wire, words: &str| -> Vec<String> {
        wire.call(words).items().iter().step_by(2).map(Value::text).collect()
    };
    assert_eq!(
        names(&mut wire, "CONFIG GET tcp-* MAXCLIENTS maxclients nothing"),
        ["tcp-backlog", "tcp-keepalive", "maxclients"]
    );
    let pair = names(&mut wire, "CONFIG GET *-max-?iplist-value");
    assert_eq!(pair, ["hash-max-ziplist-value", "zset-max-ziplist-value"]);
    let all = names(&mut wire, "CONFIG GET *");
    assert!(all.len() > 100 && all.contains(&"cluster-enabled".to_string()));
    let help = wire.call("CONFIG HELP").items().len();
    assert!(help > 4);
}

/// What every setting is can be set again, as an administrator's tool does.
#[test]
fn everything_that_can_be_set_can_be_set_to_what_it_is() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let before = wire.call("CONFIG GET *");
    for pair in before.items().chunks(2) {
        let (name, value) = (pair[0].text(), pair[1].text());
        let answer = wire.call_bytes(&[b"CONFIG", b"SET", name.as_bytes(), value.as_bytes()]);
        assert_eq!(answer.to_string(), "+OK", "{name}");
    }
    assert_eq!(wire.call("CONFIG GET *"), before);
}

#[test]
fn the_port_can_be_another_while_the_server_runs() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let (next, taken) = (free_port(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    wire.expect(&format!("CONFIG SET port {next}"), "+OK");
    Wire::connect(at(next)).expect("PING", "+PONG");
    wire.expect("PING", "+PONG");
    assert!(TcpStream::connect(server.resp).is_err(), "the old port is closed");

    // All or nothing, and the door stays where it was.
    let port = taken.local_addr().expect("an address").port();
    let refused = format!("CONFIG SET maxmemory 77 port {port} timeout 5");
    wire.expect(
        &refused,
        "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port…",
    );
    for (name, value) in [("maxmemory", "0"), ("timeout", "0"), ("port", &next.to_string())] {
        expect_setting(&mut wire, name, value);
    }
    Wire::connect(at(next)).expect("PING", "+PONG");

    // One address, all of them, and back: they exclude each other.
    for bind in ["* -::*", "127.0.0.1", "-::1 127.0.0.1"] {
        assert_eq!(wire.call_bytes(&[b"CONFIG", b"SET", b"bind", bind.as_bytes()]).to_string(), "+OK", "{bind}");
        Wire::connect(at(next)).expect("PING", "+PONG");
    }
    assert!(wire.call("CONFIG SET bind nowhere").to_string().contains("argument 'bind'"));
    Wire::connect(at(next)).expect("PING", "+PONG");
    wire.expect("CONFIG SET port 0", "+OK");
    assert!(TcpStream::connect(at(next)).is_err());
    wire.expect(&format!("CONFIG SET port {}", server.port()), "+OK");
    Wire::connect(server.resp).expect("PING", "+PONG");
}

#[test]
fn a_rewritten_file_starts_the_same_server() {
    let file = TempFile::new("rewrite.conf", "# mine\nmaxclients 50\nsave 900 1\nsave 300 10\n# end\n");
    std::fs::set_permissions(&file.0, std::fs::Permissions::from_mode(0o600)).expect("ours");
    {
        let server = Server::begin(&Start { file: Some(file.path()), ..Start::default() });
        let mut wire = Wire::connect(server.resp);
        wire.expect("CONFIG SET maxclients 60 hash-max-listpack-entries 7 timeout 100", "+OK");
        wire.call_bytes(&[b"CONFIG", b"SET", b"save", b"", b"requirepass", b"it's \"one\""]);
        wire.expect("CONFIG REWRITE", "+OK");
    }
    let text = file.text();
    assert!(text.starts_with("# mine\nmaxclients 60\nsave \"\"\n# end\n# Generated by CONFIG REWRITE\n"), "{text}");
    assert_eq!(std::fs::metadata(&file.0).expect("it is there").permissions().mode() & 0o777, 0o600);
    let server = Server::begin(&Start { file: Some(file.path()), ..Start::default() });
    let mut wire = Wire::connect(server.resp);
    assert_eq!(wire.call_bytes(&[b"AUTH", b"it's \"one\""]).to_string(), "+OK");
    for (name, value) in [("maxclients", "60"), ("hash-max-listpack-entries", "7"), ("timeout", "100"), ("save", "")] {
        expect_setting(&mut wire, name, value);
    }
    let without = Server::start();
    Wire::connect(without.resp).expect("CONFIG REWRITE", "-ERR The server is running without a config file");
}

// ---- doors ----

#[test]
fn a_unix_socket_is_a_door() {
    let path = std::env::temp_dir().join(format!("synap-{}.sock", std::process::id()));
    let name = path.to_str().expect("a text");
    let server = Server::with(&["--unixsocket", name, "--unixsocketperm", "700"]);
    let mut socket = UnixStream::connect(&path).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket.write_all(&[call("SET k v"), call("GET k"), call("CLIENT LIST")].concat()).expect("it reads");
    let mut heard = vec![0; 4096];
    let mut count = 0;
    while !String::from_utf8_lossy(&heard[..count]).contains("cmd=client") {
        count += socket.read(&mut heard[count..]).expect("an answer");
    }
    let heard = String::from_utf8_lossy(&heard[..count]).into_owned();
    assert!(heard.starts_with("+OK\r\n$1\r\nv\r\n"), "{heard}");
    assert!(heard.contains(&format!("addr={name}:0 laddr={name}:0")), "{heard}");
    assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o700);
    server.terminate();
    assert!(server.wait());
    assert!(!path.exists());
    // One that was left behind is taken over; a file that is none is not touched.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let server = Server::with(&["--unixsocket", name]);
    UnixStream::connect(&path).expect("it listens");
    drop(server);
    std::fs::remove_file(&path).expect("it was killed");
    std::fs::write(&path, "mine").expect("a file");
    assert!(Server::refuses(&["--unixsocket", name]).contains("cannot be listened on"));
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "mine");
    std::fs::remove_file(&path).expect("it is there");
}

/// An address of this machine that others could come from, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only chooses where it would be sent from.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn protected_mode_keeps_others_out_until_there_is_a_password() {
    let Some(outside) = outer_address() else {
        println!("skipped: this machine has no other address");
        return;
    };
    let server = Server::with(&["--bind", "*", "--http-bind", "*"]);
    let resp = SocketAddr::new(outside, server.resp.port());
    let mut inside = Wire::connect(server.resp);
    let answer = String::from_utf8_lossy(&Wire::connect(resp).rest()).into_owned();
    assert!(answer.starts_with("-DENIED ") && answer.lines().count() == 1, "{answer}");
    let mut http = TcpStream::connect(SocketAddr::new(outside, server.http.port())).expect("it listens");
    let mut answer = String::new();
    // It may be reset behind the answer.
    let _ = http.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    assert!(head.starts_with("HTTP/1.1 403 ") && head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    inside.expect("CONFIG SET requirepass secret", "+OK");
    Wire::connect(resp).expect("PING", "-NOAUTH Authentication required.");
    inside.call_bytes(&[b"CONFIG", b"SET", b"requirepass", b"", b"protected-mode", b"no"]);
    Wire::connect(resp).expect("PING", "+PONG");
}

// ---- limits ----

#[test]
fn little_is_read_before_somebody_has_logged_in() {
    let server = Server::with(&["--requirepass", "secret"]);
    let long = b"*2\r\n$4\r\nAUTH\r\n$16385\r\n";
    for (bytes, why) in [
        (b"*11\r\n".as_slice(), "unauthenticated multibulk length"),
        (b"*1000000\r\n", "unauthenticated multibulk length"),
        (long, "unauthenticated bulk length"),
    ] {
        let mut wire = Wire::connect(server.resp);
        wire.send(bytes);
        let answer = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert_eq!(answer, format!("-ERR Protocol error: {why}\r\n"));
    }
    let mut wire = Wire::connect(server.resp);
    wire.expect("DEL 2 3 4 5 6 7 8 9 10", "-NOAUTH Authentication required.");
    wire.expect("AUTH secret", "+OK");
    wire.expect("DEL 1 2 3 4 5 6 7 8 9 10 11 12", ":0");
    assert_eq!(wire.call_bytes(&[b"SET", b"k", &[b'x'; 20_000]]).to_string(), "+OK");
    // It is one of those who have not, again.
    wire.expect("RESET", "+RESET");
    wire.send(b"*11\r\n");
    assert!(String::from_utf8_lossy(&wire.rest()).contains("unauthenticated multibulk length"));
}

/// The timer that the system has set for the server's side of a connection: 02 is keep-alive.
fn timer(wire: &Wire) -> String {
    let port = |address: io::Result<SocketAddr>| format!(":{:04X}", address.expect("an address").port());
    let stream = wire.stream.get_ref();
    let (theirs, ours) = (port(stream.peer_addr()), port(stream.local_addr()));
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the system tells");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[1].ends_with(&theirs) && line[2].ends_with(&ours)).expect("a connection");
    line[5][..2].to_string()
}

#[test]
fn the_system_asks_whether_silent_clients_are_there() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.expect("PING", "+PONG");
    assert_eq!(timer(&wire), "02");
    wire.expect("CONFIG SET tcp-keepalive 0", "+OK");
    let mut later = Wire::connect(server.resp);
    later.expect("PING", "+PONG");
    // Nothing of it is under way any more when its answer was acknowledged.
    eventually("no timer is set", || timer(&later) == "00");
}

const MB: usize = 1 << 20;

/// Clients but for the one that asks.
fn others(observer: &mut Wire) -> usize {
    observer.call("CLIENT LIST").text().lines().count() - 1
}

#[test]
fn more_than_the_hard_limit_ends_a_client_at_once() {
    let server = Server::start();
    let mut observer = Wire::connect(server.resp);
    observer.call_bytes(&[b"SET", b"big", &vec![b'x'; MB]]);
    let set = |wire: &mut Wire, limit: &[u8]| {
        let answer = wire.call_bytes(&[b"CONFIG", b"SET", b"client-output-buffer-limit", limit]);
        assert_eq!(answer.to_string(), "+OK");
    };
    set(&mut observer, b"normal 512kb 0 0");
    let mut reader = Wire::connect(server.resp);
    reader.say("GET big");
    assert!(reader.rest().len() < MB, "it is cut off");
    // In a transaction all is done, though nobody hears of it.
    let mut writer = Wire::connect(server.resp);
    writer.send(&[call("MULTI"), call("GET big"), call("SET done 1"), call("EXEC")].concat());
    writer.rest();
    observer.expect("GET done", "\"1\"");
    // Below it nothing happens, and who subscribes is of another class.
    set(&mut observer, b"normal 2mb 0 0");
    assert!(matches!(observer.call("GET big"), Value::Bytes(bytes) if bytes.len() == MB));
    set(&mut observer, b"normal 0 0 0 pubsub 256kb 0 0");
    let mut listener = Wire::connect(server.resp);
    listener.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    observer.call_bytes(&[b"PUBLISH", b"c", &vec![b'x'; MB / 2]]);
    assert!(listener.rest().len() < MB / 2, "it is cut off");
    eventually("they are gone", || others(&mut observer) == 0);
}

#[test]
fn more_than_the_soft_limit_ends_a_client_after_a_while() {
    let limit = "pubsub 64mb 256kb 1";
    let server = Server::with(&["--client-output-buffer-limit", limit]);
    let mut publisher = Wire::connect(server.resp);
    let mut lazy = Wire::connect(server.resp);
    let mut reader = Wire::connect(server.resp);
    for listener in [&mut lazy, &mut reader] {
        listener.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    }
    let message = vec![b'x'; MB];
    let start = Instant::now();
    // More than the system holds for a connection.
    for _ in 0..16 {
        assert!(publisher.call_bytes(&[b"PUBLISH", b"c", &message]).int() >= 1);
        assert_eq!(reader.read().items().len(), 3);
    }
    assert!(start.elapsed() > Duration::from_secs(1) || others(&mut publisher) == 2, "it has its time");
    eventually("the one who does not read is gone", || others(&mut publisher) == 1);
    assert!(start.elapsed() > Duration::from_secs(1));
    publisher.expect("PUBLISH c x", ":1");
    assert_eq!(reader.read().items().len(), 3);
    assert!(server.last_words().contains("does not read"));
    drop(lazy);
}

/// As one that is held up in a slow network: its replies wait for long, but never for too much.
#[test]
fn a_client_that_asks_for_much_and_reads_slowly_is_cut_by_the_soft_limit() {
    let server = Server::with(&["--client-output-buffer-limit", "normal 0 1mb 1"]);
    let mut observer = Wire::connect(server.resp);
    observer.call_bytes(&[b"SET", b"big", &vec![b'x'; 16 * MB]]);
    let mut lazy = Wire::connect(server.resp);
    lazy.say("GET big");
    eventually("it is gone", || others(&mut observer) == 0);
    assert!(matches!(observer.call("GET big"), Value::Bytes(bytes) if bytes.len() == 16 * MB));
    drop(lazy);
}

#[test]
fn a_storm_of_connections_leaves_room_for_those_who_are_in() {
    let server = Server::with(&["--io-threads", "1"]);
    let mut wire = Wire::connect(server.resp);
    wire.expect("PING", "+PONG");
    let end = Instant::now() + Duration::from_secs(2);
    let resp = server.resp;
    let storms: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut count = 0;
                while Instant::now() < end {
                    // Too many ports wait to be forgotten: that is not the server's doing.
                    count += usize::from(TcpStream::connect(resp).is_ok());
                }
                count
            })
        })
        .collect();
    let (mut slowest, mut calls) = (Duration::ZERO, 0);
    while Instant::now() < end {
        let asked = Instant::now();
        wire.expect("PING", "+PONG");
        slowest = slowest.max(asked.elapsed());
        calls += 1;
    }
    let count: usize = storms.into_iter().map(|storm| storm.join().expect("no panic")).sum();
    println!("{count} connections; {calls} calls meanwhile, the slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(1) && calls > 100, "{calls} calls, the slowest {slowest:?}");
}

#[test]
fn http_says_when_there_are_too_many() {
    let server = Server::with(&["--maxclients", "1"]);
    let held = TcpStream::connect(server.http).expect("it listens");
    let mut answer = String::new();
    eventually("the first one is in", || {
        let mut refused = TcpStream::connect(server.http).expect("it listens");
        refused.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        answer.clear();
        let _ = refused.read_to_string(&mut answer);
        answer.starts_with("HTTP/1.1 503 ")
    });
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    drop(held);
}

// ---- its life ----

#[test]
fn the_service_manager_is_told() {
    let path = std::env::temp_dir().join(format!("synap-notify-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let heard = || {
        let mut buffer = [0; 200];
        let count = manager.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let vars = [("NOTIFY_SOCKET", path.to_str().expect("a text"))];
    let server = Server::begin(&Start { vars: &vars, ..Start::default() });
    let mut said = heard();
    while !said.starts_with("READY=1") {
        assert!(said.starts_with("STATUS="), "{said}");
        said = heard();
    }
    Wire::connect(server.resp).expect("PING", "+PONG");
    server.terminate();
    assert!(heard().starts_with("STOPPING=1"));
    assert!(server.wait());
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn a_server_that_ends_takes_nobody_in() {
    let server = Server::start();
    let mut wires: Vec<Wire> = (0..20).map(|_| Wire::connect(server.resp)).collect();
    wires.iter_mut().for_each(|wire| wire.expect("INCR n", ":…"));
    server.terminate();
    let (resp, start) = (server.resp, Instant::now());
    assert!(server.ends_well_within(Duration::from_secs(10)));
    assert!(TcpStream::connect(resp).is_err());
    println!("it took {:?}", start.elapsed());
}
