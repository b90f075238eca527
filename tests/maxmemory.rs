//! Memory has its limits: of data (`maxmemory`) and of clients (`maxmemory-clients`). Nothing that only a slow client or
//! a slow disk makes large costs data.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use server::{DataFolder, Server, eventually};
use wire::{Wire, encode};

const MB: u64 = 1 << 20;

/// A number of INFO.
#[track_caller]
fn info(wire: &mut Wire, name: &str) -> u64 {
    let info = wire.call("INFO memory stats").text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).trim().parse().expect("a number")
}

/// What a server uses that nobody calls, once it has made what it makes behind its start (the pages of the HTTP door).
#[track_caller]
fn used_at_rest(wire: &mut Wire) -> u64 {
    let (mut used, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        let now = info(wire, "used_memory");
        if now.abs_diff(used) > 64 << 10 {
            (used, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    used
}

/// Numbers from a seed (xorshift).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// What several writers do to the limit: `call` makes a call out of a random number.
#[track_caller]
fn the_limit_holds(policy: &str, limit: u64, written: u64, largest: u64, call: fn(&mut u64) -> Vec<u8>) {
    const WRITERS: u64 = 4;
    const PIPELINE: usize = 16;
    let server = Server::with(&["--maxmemory-policy", policy, "--save", "", "--appendonly", "no"]);
    let mut observer = Wire::connect(server.resp);
    let limit = limit + used_at_rest(&mut observer);
    observer.expect(&format!("CONFIG SET maxmemory {limit}"), "+OK");
    let address = server.resp;
    let (most, least, ends) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), AtomicBool::new(false));
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut wire = Wire::connect(address);
                    let (mut seed, mut sent) = (writer.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0);
                    while sent < written / WRITERS {
                        let calls: Vec<u8> = (0..PIPELINE).flat_map(|_| call(&mut seed)).collect();
                        wire.send(&calls);
                        sent += calls.len() as u64;
                        for _ in 0..PIPELINE {
                            let answer = wire.read().to_string();
                            assert!(!answer.starts_with("-"), "{answer}");
                        }
                    }
                })
            })
            .collect();
        let observe = scope.spawn(|| {
            let mut is_full = false;
            while !ends.load(Ordering::Relaxed) {
                let used = info(&mut observer, "used_memory");
                most.fetch_max(used, Ordering::Relaxed);
                is_full |= used > limit - limit / 20;
                if is_full {
                    least.fetch_min(used, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(5));
            }
            info(&mut observer, "evicted_keys")
        });
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        ends.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "all writers end well");
        assert!(observe.join().expect("the observer ends well") > 0);
    });
    let share = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) as f64 / limit as f64;
    println!("{policy}: between {:.3} and {:.3} of the limit", share(&least), share(&most));
    let slack = limit / 20 + WRITERS * PIPELINE as u64 * largest;
    assert!(most.load(Ordering::Relaxed) <= limit + slack, "{:.3} of the limit", share(&most));
    assert!(least.load(Ordering::Relaxed) >= limit - slack - limit / 10, "{:.3} of the limit", share(&least));
}

#[test]
fn the_limit_holds_with_small_values() {
    for policy in ["allkeys-lru", "allkeys-random"] {
        the_limit_holds(policy, 6 * MB, 16 * MB, 100, |seed| {
            let key = format!("key:{}", next(seed) % 10_000_000);
            encode(&[b"SET", key.as_bytes(), &[b'v'; 100]])
        });
    }
}

#[test]
fn the_limit_holds_with_values_of_all_sizes() {
    the_limit_holds("allkeys-lfu", 24 * MB, 72 * MB, 64 << 10, |seed| {
        let key = format!("key:{}", next(seed) % 1_000_000);
        let len = 1_usize << (next(seed) % 17);
        encode(&[b"SET", key.as_bytes(), &vec![b'v'; len], b"EX", b"1000"])
    });
}

#[test]
fn the_limit_holds_with_large_collections() {
    the_limit_holds("allkeys-lru", 24 * MB, 60 * MB, 48 << 10, |seed| {
        let key = format!("key:{}", next(seed) % 1_000_000);
        let members: Vec<String> = (0..1000).map(|number| format!("{number}:{}", next(seed))).collect();
        let words: Vec<&[u8]> =
            [&b"SADD"[..], key.as_bytes()].into_iter().chain(members.iter().map(|member| member.as_bytes())).collect();
        encode(&words)
    });
}

#[test]
fn a_lower_limit_is_reached_without_anybody_calling() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru", "--save", "", "--appendonly", "no"]);
    let mut wire = Wire::connect(server.resp);
    let before = used_at_rest(&mut wire);
    for number in 0..400 {
        wire.expect(&format!("SETRANGE key:{number} 50000 x"), ":50001");
    }
    wire.expect(&format!("CONFIG SET maxmemory {}", before + 2 * MB), "+OK");
    thread::sleep(Duration::from_secs(2));
    let left = wire.call("DBSIZE").int();
    assert!((10..=42).contains(&left), "{left} keys are left");
    eventually("nothing is left to do", || info(&mut wire, "current_eviction_exceeded_time") == 0);
}

#[test]
fn calls_that_need_memory_are_refused_when_nothing_may_go() {
    let server = Server::with(&["--save", "", "--appendonly", "no"]);
    let mut wire = Wire::connect(server.resp);
    let limit = used_at_rest(&mut wire) + 4 * MB;
    wire.expect(&format!("CONFIG SET maxmemory {limit}"), "+OK");
    let mut number = 0;
    loop {
        number += 1;
        let answer = wire.call(&format!("SETRANGE key:{number} 100000 x")).to_string();
        if answer.starts_with('-') {
            assert_eq!(answer, "-OOM command not allowed when used memory > 'maxmemory'.");
            break;
        }
        assert!(number < 100, "the limit does not hold");
    }
    assert!((30..=45).contains(&number), "{number} keys");
    wire.expect("MULTI", "+OK");
    wire.expect("SET a 1", "-OOM…");
    wire.expect("EXEC", "-EXECABORT…");
    wire.expect("GET key:1", &format!("\"{}x\"", "\\x00".repeat(100_000)));
    wire.expect("DEL key:1 key:2 key:3 key:4 key:5 key:6 key:7 key:8", ":8");
    wire.expect("SET a 1", "+OK");
}

/// Replies that nobody reads are no data.
#[test]
fn a_client_that_does_not_read_costs_no_data() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-lru", "--save", "", "--appendonly", "no"]);
    let mut wire = Wire::connect(server.resp);
    for number in 0..50 {
        wire.expect(&format!("SETRANGE key:{number} 100000 x"), ":100001");
    }
    let limit = used_at_rest(&mut wire) + 4 * MB;
    wire.expect(&format!("CONFIG SET maxmemory {limit}"), "+OK");
    let mut idle: Vec<Wire> = (0..20).map(|_| Wire::connect(server.resp)).collect();
    for client in &mut idle {
        // More than the system's buffers take.
        client.send(&encode(&[b"MGET", b"key:1", b"key:2", b"key:3", b"key:4", b"key:5"]).repeat(20));
    }
    eventually("replies wait", || info(&mut wire, "mem_not_counted_for_evict") > 4 * MB);
    for number in 0..1000 {
        wire.expect(&format!("SET small:{number} x"), "+OK");
    }
    assert_eq!(info(&mut wire, "evicted_keys"), 0);
    wire.expect("DBSIZE", ":1050");
    drop(idle);
    eventually("they are gone", || info(&mut wire, "mem_not_counted_for_evict") < 4 * MB);
}

#[test]
fn a_snapshot_keeps_how_often_keys_are_used() {
    let data = DataFolder::new();
    let flags = ["--maxmemory-policy", "allkeys-lfu", "--lfu-log-factor", "0", "--lfu-decay-time", "0"];
    let server = Server::on(&data, &flags);
    let mut wire = Wire::connect(server.resp);
    wire.expect("SET k v", "+OK");
    for _ in 0..10 {
        wire.expect("GET k", "\"v\"");
    }
    wire.expect("OBJECT FREQ k", ":15");
    wire.expect("SAVE", "+OK");
    server.terminate();
    assert!(server.wait());
    let server = Server::on(&data, &flags);
    Wire::connect(server.resp).expect("OBJECT FREQ k", ":15");
}

fn clients_named(wire: &mut Wire, name: &str) -> usize {
    wire.call("CLIENT LIST").text().lines().filter(|line| line.contains(&format!("name={name} "))).count()
}

/// A client that has sent so many bytes of a call that has not ended.
fn heavy(server: &Server, name: &str, bytes: usize) -> Wire {
    let mut wire = Wire::connect(server.resp);
    wire.expect(&format!("CLIENT SETNAME {name}"), "+OK");
    // It may be closed before all is sent.
    let _ = wire.stream.get_mut().write_all(format!("*2\r\n${}\r\n", bytes * 2).as_bytes());
    let _ = wire.stream.get_mut().write_all(&vec![b'v'; bytes]);
    wire
}

#[test]
fn the_largest_clients_go_when_clients_take_too_much() {
    let server = Server::start();
    let mut control = Wire::connect(server.resp);
    control.expect("CLIENT NO-EVICT ON", "+OK");
    let _small: Vec<Wire> = (0..3).map(|_| heavy(&server, "small", 100 << 10)).collect();
    let _large: Vec<Wire> = (0..3).map(|_| heavy(&server, "large", 1 << 20)).collect();
    eventually("they have sent it", || {
        let list = control.call("CLIENT LIST").text();
        let of = |line: &str| line.split("tot-mem=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        list.lines().filter_map(of).sum::<u64>() > 3 * MB + 300 * 1024
    });
    control.expect(&format!("CONFIG SET maxmemory-clients {}", MB + MB / 2), "+OK");
    assert_eq!((clients_named(&mut control, "small"), clients_named(&mut control, "large")), (3, 1));
    control.expect(&format!("CONFIG SET maxmemory-clients {}", MB / 2), "+OK");
    assert_eq!((clients_named(&mut control, "small"), clients_named(&mut control, "large")), (3, 0));
    assert_eq!(info(&mut control, "evicted_clients"), 3);
    // Who comes later and sends too much is closed too, and who may stay stays.
    let mut late = heavy(&server, "late", 1 << 20);
    assert!(late.rest().is_empty());
    // Also with a whole call.
    late = Wire::connect(server.resp);
    let _ = late.stream.get_mut().write_all(&encode(&[b"SET", b"k", &vec![b'v'; 600 << 10]]));
    assert!(late.rest().is_empty());
    control.expect("EXISTS k", ":0");
    let mut spared = Wire::connect(server.resp);
    spared.expect("CLIENT NO-EVICT ON", "+OK");
    let value = vec![b'v'; 1 << 20];
    assert_eq!(spared.call_bytes(&[b"SET", b"k", &value]).to_string(), "+OK");
    spared.expect("PING", "+PONG");
}

#[test]
fn calls_in_multi_watched_keys_and_subscriptions_weigh() {
    let server = Server::with(&["--maxmemory-clients", "300kb"]);
    let endless: [&dyn Fn(usize) -> String; 5] = [
        &|_| format!("SET k {}", "v".repeat(10_000)),
        &|number| format!("WATCH a-key-with-a-name-{number}"),
        &|number| format!("SUBSCRIBE a-channel-with-a-name-{number}"),
        &|number| format!("PSUBSCRIBE a-pattern-with-a-name-{number}*"),
        &|number| format!("SSUBSCRIBE a-channel-with-a-name-{number}"),
    ];
    for (index, each) in endless.into_iter().enumerate() {
        let mut wire = Wire::connect(server.resp);
        if index == 0 {
            wire.expect("MULTI", "+OK");
        }
        let closed = (0..50_000).any(|number| {
            let call = wire::call(&each(number));
            wire.stream.get_mut().write_all(&call).is_err() || wire.try_read().is_err()
        });
        assert!(closed, "{}", each(0));
    }
    let mut control = Wire::connect(server.resp);
    assert_eq!(info(&mut control, "evicted_clients"), 5);
}

#[test]
fn replies_and_messages_that_are_not_read_weigh() {
    let server = Server::with(&["--maxmemory-clients", "2mb"]);
    let mut control = Wire::connect(server.resp);
    control.expect("SETRANGE k 200000 v", ":200001");
    // Of each a few replies wait; then it has to read before it is served again.
    let gets = wire::call("GET k").repeat(200);
    let idle: Vec<Wire> = (0..20)
        .map(|_| {
            let mut wire = Wire::connect(server.resp);
            wire.expect("CLIENT SETNAME idle", "+OK");
            let _ = wire.stream.get_mut().write_all(&gets);
            wire
        })
        .collect();
    eventually("some are closed", || (1..20).contains(&clients_named(&mut control, "idle")));
    drop(idle);
    let mut listener = Wire::connect(server.resp);
    listener.expect("CLIENT SETNAME listener", "+OK");
    listener.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    let message = "m".repeat(100_000);
    let begin = Instant::now();
    while clients_named(&mut control, "listener") == 1 {
        assert!(begin.elapsed() < Duration::from_secs(20), "it is closed");
        control.call(&format!("PUBLISH c {message}"));
    }
}
