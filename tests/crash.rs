//! `kill -9` at any moment: what was acknowledged is there, nothing is there that was not sent, and nobody ever saw a
//! value that is gone.
//!
//! Several connections write numbered calls of all types, each to keys of its own, so that the state that a prefix of
//! them leads to can be reckoned. A reader looks on. After each kill the server starts again on the same folder, and the
//! data of every writer must be those of a prefix that holds all that was acknowledged, and all that the reader saw.
//! Without a log, they must be those of one moment, not before the last snapshot that was answered.
//! `SYNAP_CRASH_ROUNDS` says how many kills (200 before a release), `SYNAP_CRASH_SEED` where chance begins.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use server::{DataFolder, Server};
use wire::{Value, Wire, call};

const WRITERS: u64 = 4;

/// Calls that a writer sends before it waits for the answers.
const AHEAD_MAX: u64 = 16;

/// What a writer has done: everything up to `acked` was answered, nothing behind `sent` was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    acked: u64,
    sent: u64,
}

/// Numbers by chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Call number `i` of a writer, and how many answers it gets.
fn step(writer: u64, i: u64) -> (Vec<u8>, usize) {
    let (f, w) = (i % 50, writer);
    let one = |words: String| (call(&words), 1);
    match i % 8 {
        0 => one(format!("RPUSH {w}:list {i}")),
        1 => one(format!("INCR {w}:count")),
        2 => one(format!("HSET {w}:hash f{f} {i}")),
        3 => one(format!("SADD {w}:set {i}")),
        4 => one(format!("ZADD {w}:zset {i} m{f}")),
        5 => one(format!("SET {w}:text {i}")),
        6 => {
            let words = ["MULTI".to_string(), format!("SET {w}:a {i}"), format!("SET {w}:b {i}"), "EXEC".to_string()];
            (words.iter().flat_map(|words| call(words)).collect(), 4)
        }
        _ => one(format!("SET {w}:brief {i} PX 3600000")),
    }
}

/// What the first `count` calls of a writer lead to.
#[derive(Debug, Default, PartialEq)]
struct State {
    list: Vec<u64>,
    count: u64,
    hash: BTreeMap<String, u64>,
    set: BTreeSet<u64>,
    zset: BTreeMap<String, u64>,
    text: u64,
    pair: (u64, u64),
    brief: u64,
}

impl State {
    fn after(count: u64) -> State {
        let mut state = State::default();
        for i in 1..=count {
            match i % 8 {
                0 => state.list.push(i),
                1 => state.count += 1,
                2 => drop(state.hash.insert(format!("f{}", i % 50), i)),
                3 => drop(state.set.insert(i)),
                4 => drop(state.zset.insert(format!("m{}", i % 50), i)),
                5 => state.text = i,
                6 => state.pair = (i, i),
                _ => state.brief = i,
            }
        }
        state
    }

    /// What the server has.
    fn of(client: &mut Wire, writer: u64) -> State {
        let number = |value: &Value| match value {
            Value::Null => 0,
            value => value.text().parse().expect("a number"),
        };
        let mut items = |words: &str| client.call(&words.replace("W:", &format!("{writer}:"))).items().to_vec();
        let pairs = |items: Vec<Value>| items.chunks(2).map(|pair| (pair[0].text(), number(&pair[1]))).collect();
        let list = items("LRANGE W:list 0 -1").iter().map(number).collect();
        let set = items("SMEMBERS W:set").iter().map(number).collect();
        let hash = pairs(items("HGETALL W:hash"));
        let zset = pairs(items("ZRANGE W:zset 0 -1 WITHSCORES"));
        let mut one = |name: &str| number(&client.call(&format!("GET {writer}:{name}")));
        State {
            list,
            set,
            hash,
            zset,
            count: one("count"),
            text: one("text"),
            pair: (one("a"), one("b")),
            brief: one("brief"),
        }
    }
}

/// Writes until the server is gone; `acked` is what was answered, for others to see.
fn write(address: SocketAddr, writer: u64, from: u64, seed: u64, acked: &AtomicU64) -> Progress {
    let mut chance = Chance(seed);
    let mut client = Wire::connect(address);
    let mut progress = Progress { acked: from, sent: from };
    loop {
        let steps: Vec<_> =
            (1..=1 + chance.below(AHEAD_MAX)).map(|ahead| step(writer, progress.acked + ahead)).collect();
        let bytes: Vec<u8> = steps.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
        progress.sent = progress.acked + steps.len() as u64;
        if client.stream.get_mut().write_all(&bytes).is_err() {
            return progress;
        }
        for (_, answers) in &steps {
            for _ in 0..*answers {
                match client.try_read() {
                    Ok(Value::Error(text)) => panic!("writer {writer}: {text}"),
                    Ok(_) => {}
                    Err(_) => return progress,
                }
            }
            progress.acked += 1;
            acked.store(progress.acked, Ordering::Release);
        }
    }
}

/// Looks at the counters until the server is gone; the most that it saw of each.
fn look(address: SocketAddr) -> Vec<u64> {
    let mut client = Wire::connect(address);
    let mut seen = vec![0; WRITERS as usize];
    loop {
        for writer in 0..WRITERS {
            if client.stream.get_mut().write_all(&call(&format!("GET {writer}:text"))).is_err() {
                return seen;
            }
            match client.try_read() {
                Ok(Value::Null) => {}
                Ok(value) => seen[writer as usize] = value.text().parse().expect("a number"),
                Err(_) => return seen,
            }
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let (rounds, seed) = (number("SYNAP_CRASH_ROUNDS", 9), number("SYNAP_CRASH_SEED", 1));
    println!("SYNAP_CRASH_ROUNDS={rounds} SYNAP_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let data = DataFolder::new();
    let mut known = [0; WRITERS as usize];
    for round in 0..rounds {
        let policy = ["always", "everysec", "no"][round as usize % 3];
        let server = Server::on(&data, &["--appendfsync", policy, "--save", ""]);
        let address = server.resp;
        let (life_ms, saves, seeds) = (20 + chance.below(300), chance.below(3), chance.below(u64::MAX));
        let over = AtomicBool::new(false);
        let acked = AtomicU64::new(0);
        let (progress, seen) = thread::scope(|scope| {
            let (over, acked) = (&over, &acked);
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn(move || write(address, writer, known[writer as usize], seeds ^ writer, acked))
                })
                .collect();
            let reader = scope.spawn(move || look(address));
            if saves > 0 {
                scope.spawn(move || {
                    let mut client = Wire::connect(address);
                    let words = ["BGSAVE SCHEDULE", "BGREWRITEAOF"][saves as usize - 1];
                    while !over.load(Ordering::Relaxed) {
                        if client.stream.get_mut().write_all(&call(words)).is_err() || client.try_read().is_err() {
                            return;
                        }
                        thread::sleep(Duration::from_millis(5));
                    }
                });
            }
            thread::sleep(Duration::from_millis(life_ms));
            over.store(true, Ordering::Relaxed);
            server.kill();
            let progress: Vec<Progress> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
            (progress, reader.join().expect("the reader"))
        });

        let server = Server::on(&data, &["--save", ""]);
        let mut client = Wire::connect(server.resp);
        for writer in 0..WRITERS {
            let (index, Progress { acked, sent }) = (writer as usize, progress[writer as usize]);
            let found = State::of(&mut client, writer);
            let what =
                format!("seed {seed}, round {round}, {policy}, writer {writer}: {acked} acknowledged, {sent} sent");
            let count = (acked..=sent).find(|count| State::after(*count) == found);
            let Some(count) = count else { panic!("{what}, and the data are of no such prefix: {found:?}") };
            assert!(found.text >= seen[index], "{what}, but {} was seen and {} is there", seen[index], found.text);
            known[index] = count;
        }
        server.kill();
    }
    assert!(known.iter().all(|count| *count > 0), "every writer has written: {known:?}");
}

/// Without a log, a kill leaves a snapshot: of one moment, and none before the last that was answered.
#[test]
fn without_a_log_a_kill_leaves_a_completed_snapshot() {
    let (rounds, seed) = (number("SYNAP_CRASH_ROUNDS", 6), number("SYNAP_CRASH_SEED", 1));
    println!("SYNAP_CRASH_ROUNDS={rounds} SYNAP_CRASH_SEED={seed}");
    let mut chance = Chance(seed);
    let data = DataFolder::new();
    let flags = ["--appendonly", "no", "--save", ""];
    let mut known = [0; WRITERS as usize];
    for round in 0..rounds {
        let server = Server::on(&data, &flags);
        let address = server.resp;
        let (life_ms, pause_ms, seeds) = (100 + chance.below(300), chance.below(30), chance.below(u64::MAX));
        let acked = known.map(AtomicU64::new);
        let (progress, saved) = thread::scope(|scope| {
            let acked = &acked;
            let write = |writer: u64| {
                let (from, acked) = (known[writer as usize], &acked[writer as usize]);
                move || write(address, writer, from, seeds ^ writer, acked)
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(write(writer))).collect();
            let saver = scope.spawn(move || {
                let mut client = Wire::connect(address);
                let mut saved = known;
                loop {
                    let floor = [0, 1, 2, 3].map(|writer| acked[writer].load(Ordering::Acquire));
                    if client.stream.get_mut().write_all(&call("SAVE")).is_err() {
                        return saved;
                    }
                    match client.try_read() {
                        Ok(Value::Status(_)) => saved = floor,
                        Ok(other) => panic!("{other}"),
                        Err(_) => return saved,
                    }
                    thread::sleep(Duration::from_millis(pause_ms));
                }
            });
            thread::sleep(Duration::from_millis(life_ms));
            server.kill();
            let progress: Vec<Progress> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
            (progress, saver.join().expect("the saver"))
        });
        let server = Server::on(&data, &flags);
        let mut client = Wire::connect(server.resp);
        for writer in 0..WRITERS {
            let (index, Progress { sent, .. }) = (writer as usize, progress[writer as usize]);
            let found = State::of(&mut client, writer);
            let count = (saved[index]..=sent).find(|count| State::after(*count) == found);
            let what = format!("seed {seed}, round {round}, writer {writer}: {} saved, {sent} sent", saved[index]);
            let Some(count) = count else { panic!("{what}, and the data are of no such prefix: {found:?}") };
            known[index] = count;
        }
        assert!(data.files("log-").is_empty(), "{:?}", data.files(""));
        server.kill();
    }
    assert!(known.iter().all(|count| *count > 0), "something was saved: {known:?}");
}
