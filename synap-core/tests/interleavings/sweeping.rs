//! What touches everything, beside everything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::*;

/// Groups are stored whole and go whole; a token that is renamed about exists once in each database; money is moved
/// and stays the same in sum.
#[test]
fn flushall_swapdb_rename_copy_and_scan_beside_everything() {
    let world = World::still("sweeping");
    let group = world.keys_apart("g", 6);
    let tokens = world.keys_apart("t", 6);
    let stop = Stop::after(RUN);
    let (flushes, looks) = (AtomicU64::new(0), AtomicU64::new(0));
    let stored = format!("MSET {}", group.iter().map(|key| format!("{key} x")).collect::<Vec<_>>().join(" "));
    let mut main = world.user();
    let begin = |user: &mut User| {
        user.ok("MULTI");
        user.call("FLUSHALL");
        for db in ["0", "1"] {
            user.call(&format!("SELECT {db}"));
            user.call(&format!("SET {} token", tokens[0]));
            user.call("MSET account1 500 account2 500");
        }
        user.call("EXEC");
        user.ok("SELECT 0");
    };
    begin(&mut main);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(0);
            while !stop.is_set() {
                match random.below(12) {
                    0 => {
                        begin(&mut user);
                        flushes.fetch_add(1, Ordering::Relaxed);
                    }
                    1 => user.ok("SWAPDB 0 1"),
                    2 => drop(user.call(&format!("DEL {}", group.join(" ")))),
                    _ => user.ok(&stored),
                }
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(1);
            while !stop.is_set() {
                let (from, to) = (random.pick(&tokens), random.pick(&tokens));
                let reply = user.call(&format!("RENAME {from} {to}"));
                assert!(reply == "OK" || reply.starts_with("-ERR no such key"), "{reply}");
                user.call(&format!("COPY {from} copy:{to} DB {} REPLACE", random.below(3)));
                user.call(&format!("DEL copy:{to}"));
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(2);
            while !stop.is_set() {
                user.ok("WATCH account1 account2");
                let both = user.call("MGET account1 account2");
                let mut both =
                    both.trim_matches(['[', ']']).split(", ").map(|n| n.trim_matches('"').parse::<i64>().unwrap());
                let (one, other) = (both.next().unwrap(), both.next().unwrap());
                let amount = random.below(100) as i64;
                user.ok("MULTI");
                user.call(&format!("SET account1 {}", one - amount));
                user.call(&format!("SET account2 {}", other + amount));
                user.call("EXEC");
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(3);
            while !stop.is_set() {
                user.ok(&format!("SELECT {}", random.below(2)));
                let there = user.int(&format!("EXISTS {}", group.join(" ")));
                assert!(there == 0 || there == 6, "{there} of a group of 6");
                assert_eq!(user.int(&format!("EXISTS {}", tokens.join(" "))), 1, "the token");
                let both = user.call("MGET account1 account2");
                let sum: i64 = both
                    .trim_matches(['[', ']'])
                    .split(", ")
                    .map(|n| n.trim_matches('"').parse::<i64>().unwrap())
                    .sum();
                assert_eq!(sum, 1000, "{both}");
                user.call("SCAN 0 COUNT 1000");
                user.call("DBSIZE");
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
    assert!(flushes.into_inner() > 10 && looks.into_inner() > 100);
    drop(main);
    world.check_twin();
}

#[test]
fn scan_answers_every_key_that_is_there_all_the_time() {
    const STAY: usize = 400;
    let world = World::still("scan");
    let mut main = world.user();
    for number in 0..STAY {
        main.ok(&format!("SET stay{number} x"));
    }
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        for number in 0..2_u64 {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    // Tables grow and shrink meanwhile.
                    for _ in 0..3000 {
                        let key = random.below(20_000);
                        user.ok(&format!("SET come{key} x"));
                    }
                    for _ in 0..500 {
                        user.call(&format!("RENAME come{} come{}", random.below(20_000), random.below(20_000)));
                    }
                    if random.below(4) == 0 {
                        for key in 0..20_000 {
                            user.call(&format!("DEL come{key}"));
                            if stop.is_set() {
                                return;
                            }
                        }
                    }
                }
            });
        }
        let mut rounds = 0;
        let mut random = world.random(7);
        while !stop.is_set() || rounds == 0 {
            let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
            loop {
                let reply = main.call(&format!("SCAN {cursor} MATCH stay* COUNT {}", 1 + random.below(500)));
                let (next, keys) = reply[1..].split_once(", ").expect("a cursor and keys");
                found.extend(keys.trim_matches(['[', ']']).split(", ").filter(|k| !k.is_empty()).map(str::to_owned));
                cursor = next.trim_matches('"').to_owned();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found.len(), STAY, "round {rounds}");
            rounds += 1;
        }
    });
    drop(main);
    world.check_twin();
}
