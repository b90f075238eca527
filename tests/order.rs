//! What a client may rely on about the order of things, seen from outside.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use server::{Server, eventually};
use wire::{Value, Wire, call};

fn blocked(wire: &mut Wire) -> usize {
    wire.call("CLIENT LIST").text().lines().filter(|line| line.contains("flags=b")).count()
}

/// The payload of a message, when `value` is one.
fn message(value: &Value) -> Option<i64> {
    match value {
        Value::Push(items) if items[0].text() == "message" => items[2].text().parse().ok(),
        _ => None,
    }
}

#[test]
fn a_push_stands_behind_the_replies_before_it() {
    let server = Server::start();
    let mut listener = Wire::connect3(server.resp);
    let mut writer = Wire::connect(server.resp);
    writer.call("SET version 0");
    listener.say("SUBSCRIBE channel");
    listener.hears(">[\"subscribe\" \"channel\" :1]");
    const ROUNDS: i64 = 3000;
    let writing = thread::spawn(move || {
        for version in 1..=ROUNDS {
            // The message is sent when everybody can read the version already.
            writer
                .send(&[call(&format!("SET version {version}")), call(&format!("PUBLISH channel {version}"))].concat());
            writer.hears("+OK");
            writer.hears(":1");
        }
    });
    // A reply that is older than a push before it was computed before the push, and was overtaken by it.
    let (mut pushed, mut replied) = (0, 0);
    while pushed < ROUNDS {
        listener.send(&call("GET version").repeat(20));
        let mut open = 20;
        while open > 0 {
            let heard = listener.read();
            if let Some(version) = message(&heard) {
                assert_eq!(version, pushed + 1, "messages come in order, none is lost");
                pushed = version;
            } else {
                let version: i64 = heard.text().parse().expect("a number");
                assert!(version >= pushed, "the reply {version} comes behind the push {pushed}");
                assert!(version >= replied, "{version} was read behind {replied}");
                replied = version;
                open -= 1;
            }
        }
    }
    writing.join().expect("no panic");
}

#[test]
fn what_a_client_publishes_to_itself_comes_behind_the_reply() {
    let server = Server::start();
    let mut wire = Wire::connect3(server.resp);
    wire.send(&[call("SUBSCRIBE c"), call("PUBLISH c 1"), call("GET k"), call("PUBLISH c 2")].concat());
    for expected in
        [">[\"subscribe\" \"c\" :1]", ":1", ">[\"message\" \"c\" \"1\"]", "nil", ":1", ">[\"message\" \"c\" \"2\"]"]
    {
        wire.hears(expected);
    }
    wire.send(&[call("MULTI"), call("PUBLISH c 3"), call("ECHO x"), call("PUBLISH c 4"), call("EXEC")].concat());
    for expected in [
        "+OK",
        "+QUEUED",
        "+QUEUED",
        "+QUEUED",
        "[:1 \"x\" :1]",
        ">[\"message\" \"c\" \"3\"]",
        ">[\"message\" \"c\" \"4\"]",
    ] {
        wire.hears(expected);
    }
}

#[test]
fn a_transaction_answers_as_much_as_it_announces() {
    let server = Server::start();
    for hello in ["HELLO 2", "HELLO 3"] {
        let mut wire = Wire::connect(server.resp);
        wire.call(hello);
        let mut transaction = |words: &[&str]| {
            wire.say("MULTI");
            words.iter().for_each(|words| wire.say(words));
            wire.say("EXEC");
            (0..=words.len()).for_each(|_| drop(wire.read()));
            let answer = wire.read().to_string().replace('>', "");
            wire.expect("RESET", "+RESET");
            wire.call(hello);
            answer
        };
        let one = transaction(&["ECHO x", "SUBSCRIBE a", "PSUBSCRIBE a*", "PUNSUBSCRIBE a*", "UNSUBSCRIBE", "ECHO y"]);
        assert_eq!(
            one,
            "[\"x\" [\"subscribe\" \"a\" :1] [\"psubscribe\" \"a*\" :2] [\"punsubscribe\" \"a*\" :1] \
             [\"unsubscribe\" \"a\" :0] \"y\"]"
        );
        let several = transaction(&["SUBSCRIBE a b", "ECHO x"]);
        assert_eq!(several, "[-ERR only one channel at a time inside a transaction \"x\"]");
        let silent = transaction(&["CLIENT REPLY OFF", "CLIENT REPLY ON", "ECHO x"]);
        assert_eq!(silent, "[-ERR answers cannot be left out inside a transaction +OK \"x\"]");
    }
}

#[test]
fn messages_come_between_subscribe_and_unsubscribe() {
    let server = Server::start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = Wire::connect(server.resp);
            while !stop.load(Ordering::Relaxed) {
                publisher.send(&call("PUBLISH channel 1").repeat(10));
                (0..10).for_each(|_| assert!(publisher.read().int() <= 1));
            }
        });
        let mut wire = Wire::connect3(server.resp);
        let mut heard = 0;
        for _ in 0..1500 {
            wire.send(
                &[call("SUBSCRIBE channel"), call("ECHO x"), call("UNSUBSCRIBE channel"), call("ECHO y")].concat(),
            );
            wire.hears(">[\"subscribe\" \"channel\" :1]");
            let (mut echoed, mut left) = (false, false);
            while !left {
                let value = wire.read();
                match &value {
                    Value::Push(items) if items[0].text() == "unsubscribe" => left = true,
                    Value::Push(_) => heard += 1,
                    _ => {
                        assert_eq!(value.text(), "x");
                        echoed = true;
                    }
                }
            }
            assert!(echoed);
            // Nothing comes behind the confirmation.
            wire.hears("\"y\"");
        }
        stop.store(true, Ordering::Relaxed);
        println!("{heard} messages");
    });
}

#[test]
fn a_blocked_client_hears_things_in_their_order() {
    let server = Server::start();
    let mut wire = Wire::connect3(server.resp);
    let mut other = Wire::connect(server.resp);
    wire.call("SUBSCRIBE c");
    for _ in 0..300 {
        wire.say("BLPOP list 0");
        eventually("it waits", || blocked(&mut other) == 1);
        other.send(&[call("PUBLISH c before"), call("RPUSH list x"), call("PUBLISH c behind")].concat());
        for _ in 0..3 {
            other.hears(":1");
        }
        wire.hears(">[\"message\" \"c\" \"before\"]");
        wire.hears("[\"list\" \"x\"]");
        wire.hears(">[\"message\" \"c\" \"behind\"]");
    }
}

#[test]
fn messages_of_each_publisher_come_in_order() {
    let server = Server::start();
    const PUBLISHERS: i64 = 3;
    const EACH: i64 = 4000;
    let mut listeners: Vec<Wire> = ["HELLO 2", "HELLO 3"]
        .map(|hello| {
            let mut wire = Wire::connect(server.resp);
            wire.call(hello);
            wire.call("PSUBSCRIBE from.*");
            wire
        })
        .into();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let mut wire = Wire::connect(server.resp);
            scope.spawn(move || {
                for first in (0..EACH).step_by(40) {
                    let calls: Vec<u8> = (first..first + 40)
                        .flat_map(|number| call(&format!("PUBLISH from.{publisher} {number}")))
                        .collect();
                    wire.send(&calls);
                    (0..40).for_each(|_| assert_eq!(wire.read().int(), 2));
                }
            });
        }
        for wire in &mut listeners {
            scope.spawn(move || {
                let mut next: HashMap<String, i64> = HashMap::new();
                for _ in 0..PUBLISHERS * EACH {
                    let heard = wire.read();
                    let next = next.entry(heard.items()[2].text()).or_default();
                    assert_eq!(heard.items()[3].text(), next.to_string());
                    *next += 1;
                }
            });
        }
    });
}

#[test]
fn who_waits_longest_is_served_first() {
    let server = Server::start();
    let mut other = Wire::connect(server.resp);
    let mut clients: Vec<Wire> = (0..12).map(|_| Wire::connect(server.resp)).collect();
    for round in 0..15 {
        for (number, wire) in clients.iter_mut().enumerate() {
            wire.say(if number % 3 == 0 { "BLPOP first list last 0" } else { "BLPOP list 0" });
            eventually("it waits", || blocked(&mut other) == number + 1);
        }
        if round % 2 == 0 {
            other.expect("RPUSH list 0 1 2 3 4 5 6 7 8 9 10 11", ":12");
        } else {
            (0..12).for_each(|number| other.say(&format!("RPUSH list {number}")));
            (0..12).for_each(|_| assert!(other.read().int() >= 1));
        }
        for (number, wire) in clients.iter_mut().enumerate() {
            wire.hears(&format!("[\"list\" \"{number}\"]"));
        }
        other.expect("EXISTS list", ":0");
    }
}

#[test]
fn a_ring_of_moves_loses_nothing() {
    let server = Server::start();
    const PLACES: usize = 6;
    const ELEMENTS: usize = 60;
    let mut observer = Wire::connect(server.resp);
    for element in 0..ELEMENTS {
        observer.call(&format!("RPUSH ring.{} {element}", element % PLACES));
    }
    let stop = AtomicBool::new(false);
    let moved: usize = thread::scope(|scope| {
        let movers: Vec<_> = (0..PLACES * 2)
            .map(|number| {
                let (stop, mut wire) = (&stop, Wire::connect(server.resp));
                scope.spawn(move || {
                    let (from, to) = (number % PLACES, (number + 1) % PLACES);
                    let mut moved = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let answer = wire.call(&format!("BLMOVE ring.{from} ring.{to} LEFT RIGHT 0.05"));
                        moved += usize::from(answer != Value::Null);
                    }
                    moved
                })
            })
            .collect();
        // Looked at while it turns: in one call, nothing is missing or there twice.
        let end = Instant::now() + Duration::from_millis(1200);
        while Instant::now() < end {
            observer.say("MULTI");
            (0..PLACES).for_each(|place| observer.say(&format!("LRANGE ring.{place} 0 -1")));
            observer.say("EXEC");
            (0..=PLACES).for_each(|_| drop(observer.read()));
            let lists = observer.read();
            let mut found: Vec<usize> = lists
                .items()
                .iter()
                .flat_map(|list| list.items())
                .map(|element| element.text().parse().expect("a number"))
                .collect();
            found.sort_unstable();
            assert_eq!(found, (0..ELEMENTS).collect::<Vec<_>>());
        }
        stop.store(true, Ordering::Relaxed);
        movers.into_iter().map(|mover| mover.join().expect("no panic")).sum()
    });
    println!("{moved} moves");
    assert!(moved > 100, "it turned only {moved} times");
    let left: usize = (0..PLACES).map(|place| observer.call(&format!("LRANGE ring.{place} 0 -1")).items().len()).sum();
    assert_eq!(left, ELEMENTS);
}

fn sum(values: &Value) -> i64 {
    values
        .items()
        .iter()
        .filter(|value| **value != Value::Null)
        .map(|value| value.text().parse::<i64>().expect("a number"))
        .sum()
}

#[test]
fn no_write_is_in_flight_when_a_pause_answers() {
    let server = Server::start();
    const WRITERS: usize = 8;
    let keys: Vec<String> = (0..WRITERS).map(|writer| format!("count.{writer}")).collect();
    let mget = format!("MGET {}", keys.join(" "));
    let stop = AtomicBool::new(false);
    let mut observer = Wire::connect(server.resp);
    let written: i64 = thread::scope(|scope| {
        let writers: Vec<_> = keys
            .iter()
            .map(|key| {
                let (stop, mut wire) = (&stop, Wire::connect(server.resp));
                let calls = call(&format!("INCR {key}")).repeat(25);
                scope.spawn(move || {
                    let mut last = 0;
                    while !stop.load(Ordering::Relaxed) {
                        wire.send(&calls);
                        (0..25).for_each(|_| last = wire.read().int());
                    }
                    last
                })
            })
            .collect();
        let mut progress = 0;
        for round in 0..40 {
            observer.expect("CLIENT PAUSE 20000 WRITE", "+OK");
            let before = sum(&observer.call(&mget));
            // The others get the processor.
            thread::sleep(Duration::from_millis(5));
            assert_eq!(sum(&observer.call(&mget)), before, "written during pause {round}");
            progress += usize::from(before > 0);
            observer.expect("CLIENT UNPAUSE", "+OK");
            let asked = Instant::now();
            while sum(&observer.call(&mget)) == before {
                assert!(asked.elapsed() < Duration::from_secs(5), "nobody goes on after pause {round}");
            }
        }
        assert!(progress > 30);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("no panic")).sum()
    });
    assert_eq!(sum(&observer.call(&mget)), written);
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()).expect("it fits")
}

/// By how many milliseconds keys outlive their time without being touched, in order.
fn lateness(wire: &mut Wire) -> Vec<i64> {
    let mut late = Vec::new();
    for round in 0..15 {
        let due_ms = now_ms() + 40 + round;
        wire.expect(&format!("SET key{round} x PXAT {due_ms}"), "+OK");
        loop {
            let there = wire.call("DBSIZE").int();
            let now_ms = now_ms();
            if there == 0 {
                assert!(now_ms >= due_ms, "gone {} ms early", due_ms - now_ms);
                late.push(now_ms - due_ms);
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    late.sort_unstable();
    late
}

#[test]
fn a_key_is_gone_at_its_time() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    // The median, three times: a busy machine is late, too.
    let late: Vec<Vec<i64>> = (0..3).map(|_| lateness(&mut wire)).collect();
    assert!(late.iter().any(|late| late[late.len() / 2] <= 20), "late by so many ms: {late:?}");
    // A deadline that moves closer, and one that goes away.
    wire.expect("SET near x EX 1000", "+OK");
    wire.expect(&format!("PEXPIREAT near {}", now_ms() + 30), ":1");
    wire.expect("SET kept x PX 100", "+OK");
    wire.expect("PERSIST kept", ":1");
    wire.expect("HSET hash f 1 g 2", ":2");
    wire.call(&format!("HPEXPIREAT hash {} FIELDS 2 f g", now_ms() + 30));
    eventually("two are gone", || wire.call("DBSIZE").int() == 1);
    wire.expect("GET kept", "\"x\"");
}

fn read_generations(address: SocketAddr, stop: &AtomicBool) -> usize {
    let mut wire = Wire::connect(address);
    let (mut gone, mut last, mut seen) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        match wire.call("GET key") {
            Value::Null => gone = last,
            value => {
                last = value.text().parse::<i64>().expect("a number");
                assert!(last > gone, "generation {last} rose again");
                seen += 1;
            }
        }
    }
    seen
}

#[test]
fn what_is_gone_never_rises_again() {
    let server = Server::start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| read_generations(server.resp, &stop))).collect();
        let mut writer = Wire::connect(server.resp);
        for generation in 1..=150 {
            let time = 3 + generation % 5;
            writer.expect(&format!("SET key {generation} PX {time}"), "+OK");
            eventually("it is gone", || writer.call("GET key") == Value::Null);
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().expect("no panic") > 0);
        }
    });
}

#[test]
fn effects_are_seen_by_whoever_is_told() {
    // Who has an answer can tell another client, and that one sees what was written.
    let server = Server::start();
    let mut writer = Wire::connect(server.resp);
    let mut reader = Wire::connect(server.resp);
    for number in 0..2000 {
        writer.expect(&format!("SET key {number}"), "+OK");
        reader.expect("GET key", &format!("\"{number}\""));
    }
}
