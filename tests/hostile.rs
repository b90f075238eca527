//! What no honest client sends, and clients that come, go and do not read. The server lives, its memory stays bounded,
//! and others go on.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use server::{Server, eventually};
use wire::{Wire, call, encode};

const MB: u64 = 1 << 20;

#[track_caller]
fn is_alive(server: &Server) {
    Wire::connect(server.resp).expect("PING", "+PONG");
}

/// What the server answers to `bytes` before it closes.
#[track_caller]
fn last_words(server: &Server, bytes: &[u8]) -> String {
    let mut wire = Wire::connect(server.resp);
    // It may close before it has read everything.
    let _ = wire.stream.get_mut().write_all(bytes);
    String::from_utf8_lossy(&wire.rest()).into_owned()
}

/// Clients whose line in CLIENT LIST contains `what`.
fn clients_with(wire: &mut Wire, what: &str) -> usize {
    wire.call("CLIENT LIST").text().lines().filter(|line| line.contains(what)).count()
}

#[test]
fn announced_lengths_allocate_nothing() {
    let server = Server::start();
    let announced: [&[u8]; 4] = [
        b"*1048576\r\n",
        b"*1\r\n$536870912\r\n",
        b"*1048576\r\n$536870912\r\nabc",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
    ];
    // The first connections make the threads' own buffers.
    drop((0..20).map(|_| Wire::connect(server.resp).call("PING")).collect::<Vec<_>>());
    let before = server.resident_bytes();
    let mut held = Vec::new();
    for bytes in announced.iter().cycle().take(200) {
        let mut wire = Wire::connect(server.resp);
        wire.send(bytes);
        held.push(wire);
    }
    let mut observer = Wire::connect(server.resp);
    let sent = |line: &str| !line.contains("qbuf=0 ");
    eventually("the server has read them", || {
        observer.call("CLIENT LIST").text().lines().filter(|line| sent(line)).count() >= 200
    });
    let grown = server.resident_bytes().saturating_sub(before);
    // Large pages: what is touched at all is resident in steps of 2 MB.
    assert!(grown < 64 * MB, "200 announcements of up to 512 MB cost {grown} bytes");
    drop(held);
    is_alive(&server);
}

#[test]
fn broken_protocol_is_answered_and_closed() {
    let server = Server::start();
    let long_line = [b"GET ".as_slice(), &[b'x'; 70_000]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$1x\r\n", "invalid bulk length"),
        (b"*1\r\n$+1\r\n", "invalid bulk length"),
        (b"GET \"a\r\n", "unbalanced quotes"),
        (b"GET \"a\"b\r\n", "unbalanced quotes"),
        (&long_line, "too big inline request"),
    ];
    for (bytes, expected) in cases {
        let answer = last_words(&server, bytes);
        let shown = bytes[..bytes.len().min(40)].escape_ascii();
        assert!(answer.starts_with("-ERR Protocol error: ") && answer.contains(expected), "{shown}: {answer:?}");
        assert!(answer.ends_with("\r\n") && answer.lines().count() == 1, "{shown}: {answer:?}");
    }
    // What came before is answered, what comes behind is not.
    let answer = last_words(&server, b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$-1\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(answer.lines().collect::<Vec<_>>(), ["+PONG", "+PONG", "-ERR Protocol error: invalid bulk length"]);
    // Calls of no words are skipped.
    let mut wire = Wire::connect(server.resp);
    wire.send(b"*0\r\n\r\n*-1\r\n  \r\n*1\r\n$4\r\nPING\r\n");
    wire.hears("+PONG");
    wire.hears_nothing();
}

#[test]
fn bytes_come_one_at_a_time() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let bytes = [call("SET key value"), b"GET \"key\"\r\n".to_vec(), call("GET key"), call("NO such")].concat();
    for byte in bytes {
        wire.send(&[byte]);
    }
    wire.hears("+OK");
    wire.hears("\"value\"");
    wire.hears("\"value\"");
    assert!(wire.read().to_string().starts_with("-ERR unknown command 'NO'"));
}

#[test]
fn the_end_may_come_anywhere() {
    let server = Server::start();
    let bytes = [call("SET end 1"), call("LPUSH list 1 2 3"), call("BLPOP list 1"), call("GET end")].concat();
    for end in 0..bytes.len() {
        let mut wire = Wire::connect(server.resp);
        wire.send(&bytes[..end]);
        wire.half_close();
        let answer = wire.rest();
        assert!(!String::from_utf8_lossy(&answer).contains("-ERR"), "cut at {end}");
    }
    // Half a call has no effect.
    let mut wire = Wire::connect(server.resp);
    wire.call("DEL end");
    let set = call("SET end 1");
    for end in 1..set.len() {
        let mut other = Wire::connect(server.resp);
        other.send(&set[..end]);
    }
    eventually("they are gone", || clients_with(&mut wire, "id=") == 1);
    wire.expect("EXISTS end", ":0");
}

#[test]
fn a_thousand_connections_come_and_go() {
    let server = Server::start();
    let mut observer = Wire::connect(server.resp);
    let mut all = Vec::new();
    for number in 0..1000 {
        let mut wire = Wire::connect(server.resp);
        match number % 4 {
            0 => {}
            1 => wire.say("SUBSCRIBE a b c"),
            2 => wire.say("BLPOP nothing 0"),
            _ => wire.send(b"*2\r\n$3\r\nGET"),
        }
        all.push(wire);
    }
    eventually("all are in", || clients_with(&mut observer, "id=") == 1001);
    drop(all);
    eventually("all are gone", || clients_with(&mut observer, "id=") == 1);
    observer.expect("PUBLISH a x", ":0");
    observer.expect("RPUSH nothing 1", ":1");
    observer.expect("LRANGE nothing 0 -1", "[\"1\"]");
    assert!(observer.call("INFO clients").text().contains("blocked_clients:0"));
}

/// What the server has allocated.
fn used_bytes(wire: &mut Wire) -> u64 {
    let info = wire.call("INFO memory").text();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a line");
    line.parse().expect("a number")
}

#[test]
fn a_client_that_waits_costs_little() {
    let server = Server::start();
    let mut observer = Wire::connect(server.resp);
    for (what, bytes, is_there) in [
        ("an idle client", call("PING"), "cmd=ping"),
        ("a blocked client", call("BLPOP a b c 0"), "flags=b"),
        ("half a call", call("SET key value")[..20].to_vec(), "qbuf=20 "),
        ("a listener", call("SUBSCRIBE a b"), "flags=P"),
    ] {
        const COUNT: usize = 500;
        // The first ones make the buffers of the threads.
        let mut costs = 0;
        for _ in 0..2 {
            let before = used_bytes(&mut observer);
            let all: Vec<Wire> = (0..COUNT)
                .map(|_| {
                    let mut wire = Wire::connect(server.resp);
                    wire.send(&bytes);
                    wire
                })
                .collect();
            eventually("all are there", || clients_with(&mut observer, is_there) == COUNT);
            costs = used_bytes(&mut observer).saturating_sub(before) / COUNT as u64;
            drop(all);
            eventually("all are gone", || clients_with(&mut observer, "id=") == 1);
        }
        println!("{what}: {costs} bytes");
        assert!(costs < 8000, "{what} costs {costs} bytes");
    }
}

#[test]
fn what_clients_cost_is_given_back() {
    let server = Server::start();
    let mut observer = Wire::connect(server.resp);
    let mut after = Vec::new();
    for _ in 0..4 {
        let mut all: Vec<Wire> = (0..500).map(|_| Wire::connect(server.resp)).collect();
        for (number, wire) in all.iter_mut().enumerate() {
            wire.send(&[call(&format!("SUBSCRIBE a {number}")), call(&format!("PSUBSCRIBE {number}.*"))].concat());
            wire.send(&[call("RESET"), call("WATCH a b c"), call("BLPOP a b c 0")].concat());
        }
        eventually("all wait", || clients_with(&mut observer, "flags=b") == 500);
        drop(all);
        eventually("all are gone", || clients_with(&mut observer, "id=") == 1);
        after.push(used_bytes(&mut observer));
    }
    assert!(after[3] < after[1] + MB / 4, "it grows: {after:?}");
}

#[test]
fn a_client_that_does_not_read_costs_little() {
    let server = Server::start();
    let mut observer = Wire::connect(server.resp);
    let value = vec![b'x'; MB as usize];
    observer.call_bytes(&[b"SET", b"big", &value]);
    let before = server.resident_bytes();
    // 2 GB of replies are asked for, by each of four.
    let lazy: Vec<_> = (0..4)
        .map(|_| {
            let mut wire = Wire::connect(server.resp);
            wire.stream.get_mut().set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
            // Once its buffers are full it takes no more from us.
            let _ = wire.stream.get_mut().write_all(&call("GET big").repeat(2000));
            wire
        })
        .collect();
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        let asked = Instant::now();
        observer.expect("PING", "+PONG");
        assert!(asked.elapsed() < Duration::from_secs(2), "others wait");
        thread::sleep(Duration::from_millis(5));
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MB, "four lazy clients cost {grown} bytes");
    // Who does not read can still be ended.
    assert_eq!(observer.call("CLIENT KILL TYPE normal").int(), 4);
    eventually("they are gone", || clients_with(&mut observer, "id=") == 1);
    drop(lazy);
}

#[test]
fn a_lazy_client_gets_everything_when_it_reads() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.call_bytes(&[b"SET", b"big", &vec![b'x'; MB as usize]]);
    wire.send(&call("GET big").repeat(100));
    thread::sleep(Duration::from_millis(100));
    let mut read = 0;
    let mut buffer = vec![0; MB as usize];
    let each = MB as usize + 2 + "$1048576\r\n".len();
    while read < 100 * each {
        read += wire.stream.read(&mut buffer).expect("the rest");
    }
    wire.expect("PING", "+PONG");
}

#[test]
fn a_subscriber_that_does_not_read_is_cut() {
    let server = Server::start();
    for (name, hello) in [("two", "HELLO 2"), ("three", "HELLO 3")] {
        let mut lazy = Wire::connect(server.resp);
        lazy.call(hello);
        lazy.call("SUBSCRIBE channel");
        let mut publisher = Wire::connect(server.resp);
        let message = vec![b'm'; MB as usize / 4];
        let before = server.resident_bytes();
        // 128 MB for one who reads nothing.
        let mut last = 1;
        for _ in 0..512 {
            last = publisher.call_bytes(&[b"PUBLISH", b"channel", &message]).int();
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 100 * MB, "a lazy subscriber ({name}) cost {grown} bytes");
        eventually("it is cut", || clients_with(&mut publisher, "id=") == 1);
        assert!(last <= 1);
        publisher.expect("PUBLISH channel x", ":0");
        drop(lazy);
    }
}

#[test]
fn replies_never_reach_another_client() {
    // One worker: all connections share its buffers.
    let server = Server::with(&["--io-threads", "1"]);
    let mut other = Wire::connect(server.resp);
    other.expect("SET secret password", "+OK");
    let calls = call("GET secret").repeat(20_000);
    for _ in 0..100 {
        let mut rude = Wire::connect(server.resp);
        // More than one read takes, and gone before the first answer: a later one cannot be written.
        let _ = rude.stream.get_mut().set_nonblocking(true);
        let _ = rude.stream.get_mut().write(&calls);
        drop(rude);
        other.expect("PING", "+PONG");
        Wire::connect(server.resp).expect("PING", "+PONG");
    }
}

#[test]
fn a_deep_pipeline_of_small_calls() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    const COUNT: usize = 100_000;
    let calls = call("INCR deep").repeat(COUNT);
    let mut writer = wire.stream.get_ref().try_clone().expect("a handle");
    let sender = thread::spawn(move || writer.write_all(&calls));
    for number in 1..=COUNT {
        assert_eq!(wire.read().int(), number as i64);
    }
    sender.join().expect("no panic").expect("all was taken");
    // The same as lines.
    let calls = b"INCR deep\r\n".repeat(10_000);
    wire.send(&calls);
    for number in COUNT + 1..=COUNT + 10_000 {
        assert_eq!(wire.read().int(), number as i64);
    }
}

/// A generator that needs no crate: the seed is all there is to repeat a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[test]
fn garbage_does_not_end_it() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_nanos() as u64;
    let seed = std::env::var("SYNAP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(now) | 1;
    println!("SYNAP_TEST_SEED={seed}");
    let mut random = Random(seed);
    let server = Server::start();
    let pieces: &[&[u8]] = &[
        b"*",
        b"$",
        b"\r\n",
        b"\n",
        b"-1",
        b"0",
        b"1",
        b"3",
        b"1048576",
        b"GET",
        b"SET",
        b"k",
        b"\"",
        b"'",
        b"\\x",
        b" ",
        b"\0",
        b"*1\r\n$4\r\nPING\r\n",
        b"*3\r\n$3\r\nSET\r\n",
        b"HELLO 3\r\n",
        b"MULTI\r\n",
        b"EXEC\r\n",
        b"SUBSCRIBE c\r\n",
        b"BLPOP k 0.01\r\n",
        b"MONITOR\r\n",
        b"CLIENT REPLY OFF\r\n",
        b"RESET\r\n",
        b"FLUSHALL\r\n",
        b"SORT k BY \"x y*\"\r\n",
    ];
    for round in 0..300 {
        let mut bytes = Vec::new();
        while bytes.len() < 1 + random.below(4000) {
            if round % 3 == 0 {
                bytes.push(random.next() as u8);
            } else {
                bytes.extend_from_slice(pieces[random.below(pieces.len())]);
            }
        }
        let mut stream = TcpStream::connect(server.resp).expect("it listens");
        for piece in bytes.chunks(1 + random.below(bytes.len())) {
            if stream.write_all(piece).is_err() {
                break;
            }
        }
        if round % 2 == 0 {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            let mut answer = Vec::new();
            if let Err(error) = stream.read_to_end(&mut answer) {
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it hangs in round {round}, seed {seed}");
            }
        }
    }
    is_alive(&server);
    let mut observer = Wire::connect(server.resp);
    eventually("all are gone", || clients_with(&mut observer, "id=") == 1);
}

#[test]
fn a_killed_client_swallows_nothing() {
    let server = Server::start();
    let mut killer = Wire::connect(server.resp);
    for round in 0..300 {
        let mut blocked = Wire::connect(server.resp);
        let id = blocked.id();
        blocked.say(if round % 2 == 0 { "BLPOP list 0" } else { "BLMOVE list other LEFT RIGHT 0" });
        eventually("it waits", || clients_with(&mut killer, "flags=b") == 1);
        // In one write: no time for the blocked client's task to see its end.
        let (kill, push) = (call(&format!("CLIENT KILL ID {id}")), call("RPUSH list x"));
        killer.send(&[kill, push].concat());
        killer.hears(":1");
        killer.hears(":1");
        killer.expect("LPOP list", "\"x\"");
        killer.expect("EXISTS other", ":0");
        assert!(blocked.rest().is_empty());
    }
}

#[test]
fn a_dropped_client_swallows_nothing() {
    let server = Server::start();
    let mut other = Wire::connect(server.resp);
    for round in 0..100 {
        let mut blocked = Wire::connect(server.resp);
        blocked.say(if round % 2 == 0 { "BLPOP list 0" } else { "BLPOP none list 0" });
        eventually("it waits", || clients_with(&mut other, "flags=b") == 1);
        if round % 3 == 0 {
            blocked.half_close();
        } else {
            drop(blocked);
        }
        eventually("it is gone", || clients_with(&mut other, "flags=b") == 0);
        other.expect("RPUSH list x", ":1");
        other.expect("LPOP list", "\"x\"");
    }
}

#[test]
fn a_client_may_send_ahead_while_it_waits() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let mut other = Wire::connect(server.resp);
    wire.send(&[call("BLPOP list 0"), call("SET a 1"), encode(&[b"SET", b"b", &vec![b'b'; 3 << 20]])].concat());
    eventually("it waits", || clients_with(&mut other, "flags=b") == 1);
    other.expect("EXISTS a b", ":0");
    other.expect("RPUSH list x", ":1");
    wire.hears("[\"list\" \"x\"]");
    wire.hears("+OK");
    wire.hears("+OK");
    other.expect("EXISTS a b", ":2");
}
