//! Calls on many shards happen at one moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::*;

#[test]
fn what_one_call_stores_in_many_shards_is_never_seen_in_part() {
    let world = World::still("torn reads");
    let keys = world.keys_apart("k", 8);
    let forward = keys.join(" ");
    let backward = keys.iter().rev().map(String::as_str).collect::<Vec<_>>().join(" ");
    let stop = Stop::after(RUN);
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (world, stop, keys) = (&world, &stop, &keys);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    let value = random.next();
                    let mut order: Vec<&String> = keys.iter().collect();
                    if value % 2 == 0 {
                        order.reverse();
                    }
                    if value % 3 == 0 {
                        user.ok("MULTI");
                        order.iter().for_each(|key| assert_eq!(user.call(&format!("SET {key} {value}")), "QUEUED"));
                        user.call("EXEC");
                    } else {
                        let pairs: Vec<String> = order.iter().map(|key| format!("{key} {value}")).collect();
                        user.ok(&format!("MSET {}", pairs.join(" ")));
                    }
                }
            });
        }
        for number in 0..2 {
            let (world, stop, keys, reads) = (&world, &stop, &keys, &reads);
            let order = if number == 0 { &forward } else { &backward };
            scope.spawn(move || {
                let mut user = world.user();
                while !stop.is_set() {
                    let together = user.call(&format!("MGET {order}"));
                    user.ok("MULTI");
                    keys.iter().for_each(|key| assert_eq!(user.call(&format!("GET {key}")), "QUEUED"));
                    for reply in [together, user.call("EXEC")] {
                        let mut values = reply.trim_matches(['[', ']']).split(", ");
                        let first = values.next();
                        assert!(values.all(|value| Some(value) == first), "torn: {reply}");
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(reads.into_inner() > 100);
    world.check_twin();
}
