//! The same server with one worker thread and with more than there are cores.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::thread;
use std::time::{Duration, Instant};

use server::{Server, eventually};
use wire::{Value, Wire, call};

fn smoke(server: &Server) {
    let mut wire = Wire::connect(server.resp);
    wire.expect("SET string value", "+OK");
    wire.expect("HSET hash field value", ":1");
    wire.expect("SADD set a b", ":2");
    wire.expect("ZADD zset 1 a 2 b", ":2");
    wire.expect("RPUSH list 3 1 2", ":3");
    wire.expect("SORT list BY nothing GET #", "[\"3\" \"1\" \"2\"]");
    wire.expect("DBSIZE", ":5");
    // A second client ends a wait, with the gate closed in between.
    let mut blocked = Wire::connect(server.resp);
    blocked.say("BLMOVE empty other LEFT LEFT 0");
    eventually("it waits", || wire.call("INFO clients").text().contains("blocked_clients:1"));
    wire.expect("RPUSH empty x", ":1");
    blocked.hears("\"x\"");
    // A sleeper does not stop the others, even with one thread.
    blocked.say("DEBUG SLEEP 0.5");
    let asked = Instant::now();
    wire.expect("FLUSHALL", "+OK");
    assert!(asked.elapsed() < Duration::from_millis(400), "everybody sleeps");
    blocked.hears("+OK");
}

/// Increments from many connections are neither lost nor doubled, beside calls that close the gate.
fn counters(server: &Server) {
    const CLIENTS: usize = 8;
    let end = Instant::now() + Duration::from_secs(1);
    let made: i64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut wire = Wire::connect(server.resp);
                scope.spawn(move || {
                    let pipeline = [1, 4, 16, 64][client % 4];
                    let calls: Vec<u8> = (0..pipeline)
                        .flat_map(|call_number| call(&format!("INCR count.{}", call_number % 5)))
                        .collect();
                    let mut made = 0;
                    while Instant::now() < end {
                        wire.send(&calls);
                        (0..pipeline).for_each(|_| assert!(wire.read().int() > 0));
                        made += pipeline;
                        if client == 0 {
                            wire.say("MULTI");
                            wire.say("INCR count.0");
                            wire.say("DBSIZE");
                            wire.say("INCR count.4");
                            wire.say("EXEC");
                            (0..4).for_each(|_| drop(wire.read()));
                            assert!(matches!(wire.read(), Value::Array(items) if items.len() == 3));
                            made += 2;
                        }
                    }
                    made
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).sum()
    });
    let mut wire = Wire::connect(server.resp);
    let counts = wire.call("MGET count.0 count.1 count.2 count.3 count.4");
    let sum: i64 =
        counts.items().iter().filter(|c| **c != Value::Null).map(|c| c.text().parse::<i64>().expect("a number")).sum();
    assert_eq!(sum, made);
}

#[test]
fn one_worker() {
    let server = Server::with(&["--io-threads", "1"]);
    smoke(&server);
    counters(&server);
}

#[test]
fn four_workers() {
    let server = Server::with(&["--io-threads", "4"]);
    smoke(&server);
    counters(&server);
}
