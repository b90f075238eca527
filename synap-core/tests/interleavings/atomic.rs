//! Calls on many shards happen at one moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::*;

/// Pairs of keys, no two keys in one shard, that always hold the same value. Calls take some of the pairs, so that
/// their shards overlap, but have no first one in common that would keep the calls apart.
#[test]
fn what_one_call_stores_in_many_shards_is_never_seen_in_part() {
    const PAIRS: usize = 6;
    let world = World::still("torn reads");
    let keys = world.keys_apart("k", 2 * PAIRS);
    let pairs: Vec<&[String]> = keys.chunks(2).collect();
    let stop = Stop::after(RUN);
    let reads = AtomicU64::new(0);
    let some_of = |random: &mut Random| -> Vec<&String> {
        let mut some: Vec<&String> = pairs.iter().filter(|_| random.below(3) == 0).copied().flatten().collect();
        if random.below(2) == 0 {
            some.reverse();
        }
        some
    };
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (world, stop, some_of) = (&world, &stop, &some_of);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    let (keys, value) = (some_of(&mut random), random.next());
                    if value % 3 == 0 {
                        user.ok("MULTI");
                        keys.iter().for_each(|key| assert_eq!(user.call(&format!("SET {key} {value}")), "QUEUED"));
                        user.call("EXEC");
                    } else if !keys.is_empty() {
                        let words: Vec<String> = keys.iter().map(|key| format!("{key} {value}")).collect();
                        user.ok(&format!("MSET {}", words.join(" ")));
                    }
                }
            });
        }
        for number in 3..5 {
            let (world, stop, reads, some_of) = (&world, &stop, &reads, &some_of);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    let keys = some_of(&mut random);
                    let reply = if keys.is_empty() || random.below(2) == 0 {
                        user.ok("MULTI");
                        keys.iter().for_each(|key| assert_eq!(user.call(&format!("GET {key}")), "QUEUED"));
                        user.call("EXEC")
                    } else {
                        let words: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
                        user.call(&format!("MGET {}", words.join(" ")))
                    };
                    let values: Vec<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
                    assert!(values.chunks(2).all(|pair| pair[0] == pair[pair.len() - 1]), "torn: {reply}");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(reads.into_inner() > 100);
    world.check_twin();
}
