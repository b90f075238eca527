//! Blocked calls.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use synap_core::execute::{Input, Outcome, execute, waiting};
use synap_core::session::{Client, WaitEnd};
use synap_core::testing::Text;

use crate::world::*;

/// Elements that a test pushes at the least.
const ENOUGH: u64 = 300;

/// Elements by number: each must come out exactly once.
#[derive(Default)]
struct Ledger {
    pushed: AtomicU64,
    popped: Mutex<Vec<u64>>,
}

impl Ledger {
    fn fresh(&self) -> u64 {
        self.pushed.fetch_add(1, Ordering::Relaxed)
    }

    /// Until the time is over and, however busy the machine is, enough was tried.
    fn goes_on(&self, stop: &Stop) -> bool {
        !stop.is_set() || self.pushed.load(Ordering::Relaxed) < ENOUGH
    }

    /// Notes the numbers in a reply, wherever they stand in it.
    fn note(&self, reply: &str) {
        let numbers = reply.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| word.strip_prefix("id"));
        self.popped.lock().unwrap().extend(numbers.map(|number| number.parse::<u64>().expect("a number")));
    }

    #[track_caller]
    fn check(&self) {
        let popped = self.popped.lock().unwrap();
        let once: BTreeSet<u64> = popped.iter().copied().collect();
        assert_eq!(once.len(), popped.len(), "an element came out twice");
        let lost: Vec<u64> = (0..self.pushed.load(Ordering::Relaxed)).filter(|id| !once.contains(id)).collect();
        assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), self.pushed.load(Ordering::Relaxed));
    }
}

#[test]
fn rings_of_blmove_beside_mset_in_opposite_order_lose_and_double_nothing() {
    let world = World::alive("rings");
    let keys = world.keys_apart("ring", 3);
    let [a, b, c] = [&keys[0], &keys[1], &keys[2]];
    // Strings in the same three shards, written in the opposite order.
    let beside: Vec<String> = keys
        .iter()
        .map(|key| (0..).map(|n| format!("beside{n}")).find(|k| world.shard(k) == world.shard(key)).unwrap())
        .collect();
    let mset = format!("MSET {} 1 {} 2 {} 3", beside[2], beside[1], beside[0]);
    let (stop, ledger) = (Stop::after(RUN), Ledger::default());
    let movers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (from, to) in [(a, b), (b, c), (c, a), (a, b), (b, c), (c, a)] {
            let (world, stop, movers, ledger) = (&world, &stop, &movers, &ledger);
            threads.push(scope.spawn(move || {
                let mut user = world.user();
                movers.lock().unwrap().push(user.id());
                while ledger.goes_on(stop) {
                    user.call(&format!("BLMOVE {from} {to} LEFT RIGHT 0"));
                }
            }));
        }
        for key in [a, b, c] {
            let (world, stop, ledger) = (&world, &stop, &ledger);
            scope.spawn(move || {
                let mut user = world.user();
                while ledger.goes_on(stop) {
                    let reply = if key == b {
                        user.call(&format!("RPOP {key}"))
                    } else {
                        user.call(&format!("BLPOP {key} {a} 0.01"))
                    };
                    ledger.note(&reply);
                }
            });
        }
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(1);
            while ledger.goes_on(&stop) {
                let (key, one, two) = (random.pick(&keys).clone(), ledger.fresh(), ledger.fresh());
                if random.below(2) == 0 {
                    user.call(&format!("LPUSH {key} id{one} id{two}"));
                } else {
                    user.ok("MULTI");
                    user.call(&format!("RPUSH {key} id{one}"));
                    user.call(&format!("LPUSH {c} id{two}"));
                    user.call("EXEC");
                }
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            while ledger.goes_on(&stop) {
                user.ok(&mset);
            }
        });
        // Those who wait for ever are told to go.
        let mut main = world.user();
        while !threads.iter().all(|thread| thread.is_finished()) {
            if !ledger.goes_on(&stop) {
                for id in movers.lock().unwrap().iter() {
                    main.call(&format!("CLIENT UNBLOCK {id}"));
                }
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    let mut main = world.user();
    for key in &keys {
        ledger.note(&main.call(&format!("LRANGE {key} 0 -1")));
    }
    drop(main);
    ledger.check();
    world.check_twin();
}

/// a → b → a: the element comes back to where it began, where somebody else waits for it.
#[test]
fn a_ring_serves_who_waits_where_it_began() {
    let world = World::still("closed ring");
    let keys = world.keys_apart("k", 2);
    let (a, b) = (&keys[0], &keys[1]);
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        let first = scope.spawn(|| world.user().call(&format!("BLMOVE {a} {b} LEFT RIGHT 0")));
        world.until_blocked(1);
        let second = scope.spawn(|| world.user().call(&format!("BLMOVE {b} {a} LEFT RIGHT 0")));
        world.until_blocked(2);
        let third = scope.spawn(|| world.user().call(&format!("BLPOP {a} 0")));
        world.until_blocked(3);
        assert_eq!(world.user().call(&format!("RPUSH {a} x")), "1");
        assert_eq!(first.join().unwrap(), "\"x\"");
        assert_eq!(second.join().unwrap(), "\"x\"");
        assert_eq!(third.join().unwrap(), format!("[\"{a}\", \"x\"]"));
    });
    drop(stop);
    world.check_twin();
}

#[test]
fn blpop_on_keys_of_two_shards_pushed_at_once_serves_once() {
    let world = World::alive("served once");
    let keys = world.keys_apart("k", 2);
    let (stop, ledger) = (Stop::after(RUN), Ledger::default());
    thread::scope(|scope| {
        for key in &keys {
            let (world, stop, ledger) = (&world, &stop, &ledger);
            scope.spawn(move || {
                let mut user = world.user();
                while ledger.goes_on(stop) {
                    user.call(&format!("RPUSH {key} id{}", ledger.fresh()));
                    thread::yield_now();
                }
            });
        }
        for order in [[0, 1], [1, 0], [0, 1]] {
            let (world, stop, ledger, keys) = (&world, &stop, &ledger, &keys);
            scope.spawn(move || {
                let mut user = world.user();
                while ledger.goes_on(stop) {
                    let reply = user.call(&format!("BLPOP {} {} 0.02", keys[order[0]], keys[order[1]]));
                    assert!(reply.matches("id").count() <= 1, "served twice: {reply}");
                    ledger.note(&reply);
                }
            });
        }
    });
    let mut main = world.user();
    for key in &keys {
        ledger.note(&main.call(&format!("LRANGE {key} 0 -1")));
    }
    drop(main);
    ledger.check();
    world.check_twin();
}

#[test]
fn who_came_first_is_served_first() {
    let world = World::still("first in, first out");
    let _watchdog = Stop::after(RUN);
    let keys = world.keys_apart("k", 3);
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        for count in 0..5 {
            let (world, order) = (&world, if count % 2 == 0 { &keys[..2] } else { &keys[1..] });
            waiting.push(scope.spawn(move || world.user().call(&format!("BLPOP {} {} 0", order[0], order[1]))));
            world.until_blocked(count + 1);
        }
        world.user().call(&format!("RPUSH {} 0 1 2 3 4", keys[1]));
        for (number, waiting) in waiting.into_iter().enumerate() {
            assert_eq!(waiting.join().unwrap(), format!("[\"{}\", \"{number}\"]", keys[1]));
        }
    });
    world.check_twin();
}

/// Everything that ends a wait, at once: pushes, time, CLIENT UNBLOCK, CLIENT KILL, connections that go.
#[test]
fn a_wait_that_ended_otherwise_never_swallows_an_element() {
    let world = World::alive("claims");
    let (stop, ledger) = (Stop::after(RUN), Ledger::default());
    let ids = Mutex::new(Vec::new());
    let ends = [const { AtomicU64::new(0) }; 4];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut user = world.user();
                ids.lock().unwrap().push(user.id());
                while ledger.goes_on(&stop) {
                    // About as long as it takes to be pushed to: the race is the point.
                    let reply = user.call("BLPOP q 0.001");
                    let end = usize::from(reply == "nil") + 2 * usize::from(reply.starts_with("-UNBLOCKED"));
                    ends[end].fetch_add(1, Ordering::Relaxed);
                    ledger.note(&reply);
                    if user.session.client.is_killed() {
                        ids.lock().unwrap().retain(|id| *id != user.id());
                        user = world.user();
                        ids.lock().unwrap().push(user.id());
                    }
                }
            });
        }
        // A connection that goes while it is blocked.
        scope.spawn(|| {
            while ledger.goes_on(&stop) {
                let mut user = world.user();
                let mut text = Text::new(true);
                let words: [&[u8]; 3] = [b"BLPOP", b"q", b"0"];
                let mut turn = user.engine.enter_blocking();
                let outcome = execute(&mut turn, &mut user.session, &Input::words(&words), &mut text);
                drop(turn);
                if let Outcome::Blocked(waiter) = outcome {
                    thread::yield_now();
                    user.engine.leave(&mut user.session);
                    if waiter.end() == WaitEnd::Served {
                        // It was popped before we were seen to go: then the reply is there.
                        assert!(Client::take_mail(&mut user.session, &mut text), "popped and not sent");
                    }
                    ends[3].fetch_add(1, Ordering::Relaxed);
                }
                ledger.note(&text.out);
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(1);
            while ledger.goes_on(&stop) {
                let id = { ids.lock().unwrap().get(random.below(3)).copied().unwrap_or(0) };
                match random.below(6) {
                    0 => user.call(&format!("CLIENT KILL ID {id}")),
                    1 | 2 => user.call(&format!("CLIENT UNBLOCK {id} ERROR")),
                    _ => user.call(&format!("CLIENT UNBLOCK {id}")),
                };
                thread::yield_now();
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(2);
            while ledger.goes_on(&stop) {
                user.call(&format!("RPUSH q id{}", ledger.fresh()));
                (0..random.below(5000)).for_each(|_| std::hint::spin_loop());
            }
        });
    });
    let mut main = world.user();
    ledger.note(&main.call("LRANGE q 0 -1"));
    drop(main);
    ledger.check();
    let ends = ends.map(AtomicU64::into_inner);
    assert!(ends.iter().all(|&count| count > 0), "served, timed out, unblocked, gone: {ends:?}");
    world.check_twin();
}

/// A push and CLIENT UNBLOCK that both begin when they see that somebody waits: as close together as threads can be.
#[test]
fn a_push_and_an_unblock_at_the_same_moment_end_a_wait_once() {
    let world = World::still("same moment");
    let (stop, ledger) = (Stop::after(RUN), Ledger::default());
    let ends = [const { AtomicU64::new(0) }; 2];
    let (mut user, done, doubled) = (world.user(), AtomicBool::new(false), AtomicU64::new(0));
    let client = user.session.client.clone();
    let waits = || client.blocked.lock().as_ref().is_some_and(|waiter| waiter.is_waiting());
    thread::scope(|scope| {
        scope.spawn(|| {
            while ledger.goes_on(&stop) {
                let reply = user.call("BLPOP q 0");
                doubled.fetch_add(u64::from(reply.lines().count() != 1), Ordering::Relaxed);
                ends[usize::from(reply == "nil")].fetch_add(1, Ordering::Relaxed);
                ledger.note(&reply);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let mut user = world.user();
            while ledger.goes_on(&stop) {
                if waits() {
                    user.call(&format!("RPUSH q id{}", ledger.fresh()));
                }
            }
        });
        scope.spawn(|| {
            let mut random = world.random(1);
            while !done.load(Ordering::Acquire) {
                if waits() {
                    // A push takes a little longer to come to the point.
                    (0..random.below(100)).for_each(|_| std::hint::spin_loop());
                    waiting::unblock(world.engine.state(), &client, WaitEnd::TimedOut);
                }
            }
        });
    });
    assert_eq!(doubled.into_inner(), 0, "two replies to one call");
    ledger.note(&user.call("LRANGE q 0 -1"));
    drop(user);
    ledger.check();
    assert!(ends.iter().all(|count| count.load(Ordering::Relaxed) > 0), "served, unblocked: {ends:?}");
    world.check_twin();
}

#[test]
fn nothing_is_popped_for_a_client_that_was_killed() {
    let world = World::still("killed");
    let mut user = world.user();
    let mut text = Text::new(true);
    let words: [&[u8]; 3] = [b"BLPOP", b"q", b"0"];
    let mut turn = user.engine.enter_blocking();
    let outcome = execute(&mut turn, &mut user.session, &Input::words(&words), &mut text);
    drop(turn);
    assert!(matches!(outcome, Outcome::Blocked(_)));
    // Its task has not looked yet.
    let mut other = world.user();
    assert_eq!(other.call(&format!("CLIENT KILL ID {}", user.id())), "1");
    assert_eq!(other.call("RPUSH q x"), "1");
    assert_eq!(other.call("LRANGE q 0 -1"), r#"["x"]"#);
    drop((user, other));
    world.check_twin();
}

#[test]
fn in_a_transaction_nobody_waits_and_who_waits_is_served_after_it() {
    let world = World::still("transactions");
    let _watchdog = Stop::after(RUN);
    let mut user = world.user();
    user.ok("MULTI");
    user.call("BLPOP q r 0");
    user.call("BLMOVE q r LEFT LEFT 0");
    assert_eq!(user.call("EXEC"), "[nil, nil]");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| world.user().call("BLPOP q 0"));
        world.until_blocked(1);
        user.ok("MULTI");
        user.call("RPUSH q gone");
        user.call("LPOP q");
        assert_eq!(user.call("EXEC"), r#"[1, "gone"]"#);
        user.ok("MULTI");
        user.call("RPUSH q b");
        user.call("LPUSH q a");
        user.call("DISCARD");
        assert!(!waiting.is_finished());
        user.ok("MULTI");
        user.call("RPUSH q b");
        user.call("LPUSH q a");
        assert_eq!(user.call("EXEC"), "[1, 2]");
        assert_eq!(waiting.join().unwrap(), r#"["q", "a"]"#);
        assert_eq!(user.call("LRANGE q 0 -1"), r#"["b"]"#);
    });
    drop(user);
    world.check_twin();
}

/// Whatever makes a list of a key serves who waits for it; what makes something else of it does not.
#[test]
fn all_ways_to_a_list_serve_and_no_others() {
    let ways = [
        vec!["SWAPDB 0 1"],
        vec!["RENAME list q"],
        vec!["COPY list q"],
        vec!["SORT list STORE q"],
        vec!["LMOVE list q LEFT RIGHT"],
        vec!["SELECT 1", "COPY q q DB 0"],
        vec!["SET q string", "ZADD z 1 a", "RENAME z q", "DEL q", "SADD q a", "RENAME list q"],
        vec!["SET q string PX 1", "FLUSHALL", "RPUSH q 1"],
        vec!["MULTI", "SWAPDB 0 1", "EXEC"],
        vec!["MULTI", "RENAME list q", "RENAME q elsewhere", "RENAME elsewhere q", "EXEC"],
    ];
    for way in ways {
        let world = World::still("ways");
        let _watchdog = Stop::after(RUN);
        let mut user = world.user();
        user.call("RPUSH list 1 2");
        user.ok("SELECT 1");
        user.call("RPUSH q 1 2");
        user.ok("SELECT 0");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| world.user().call("BLPOP q 0"));
            world.until_blocked(1);
            for (number, line) in way.iter().enumerate() {
                assert!(number == 0 || !waiting.is_finished(), "served before {line}");
                let reply = user.call(line);
                assert!(!reply.starts_with('-'), "{line}: {reply}");
            }
            until(&format!("service after {way:?}"), || waiting.is_finished());
            assert_eq!(waiting.join().unwrap(), r#"["q", "1"]"#, "after {way:?}");
        });
        drop(user);
        world.check_twin();
    }
}

/// A published message may arrive between the moment in which a wait is ended and its reply.
#[test]
fn the_reply_of_a_served_call_is_not_mistaken_for_other_mail() {
    let world = World::alive("other mail");
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut user = world.user();
            user.call("SUBSCRIBE c");
            while !stop.is_set() {
                let reply = user.call("BLPOP q 0.003");
                let own = reply.lines().filter(|line| !line.contains("message")).count();
                assert_eq!(own, 1, "one call, one reply: {reply}");
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            while !stop.is_set() {
                user.call("PUBLISH c x");
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            while !stop.is_set() {
                user.call("RPUSH q x");
                user.call("DEL q");
                (0..50).for_each(|_| thread::yield_now());
            }
        });
    });
    world.check_twin();
}
