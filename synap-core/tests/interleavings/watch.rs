//! WATCH and EXEC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::world::*;

/// Two doctors are on call, and each may leave when the other stays.
#[test]
fn write_skew_through_watch_is_impossible() {
    let world = World::still("write skew");
    let keys = world.keys_apart("doctor", 2);
    let (one, other) = (&keys[0], &keys[1]);
    let mut main = world.user();
    main.ok(&format!("MSET {one} 1 {other} 1"));
    let stop = Stop::after(RUN);
    let left = AtomicU64::new(0);
    thread::scope(|scope| {
        for (number, own) in [one, other, one, other].into_iter().enumerate() {
            let (world, stop, left) = (&world, &stop, &left);
            let order = if number < 2 { format!("{one} {other}") } else { format!("{other} {one}") };
            scope.spawn(move || {
                let mut user = world.user();
                while !stop.is_set() {
                    user.ok(&format!("WATCH {order}"));
                    let on_call = user.call(&format!("MGET {one} {other}"));
                    assert_ne!(on_call, r#"["0", "0"]"#, "nobody is on call");
                    if on_call == r#"["1", "1"]"# {
                        user.ok("MULTI");
                        user.call(&format!("SET {own} 0"));
                        if user.call("EXEC") == "[OK]" {
                            left.fetch_add(1, Ordering::Relaxed);
                        }
                    } else {
                        user.ok("UNWATCH");
                        // Coming back is always allowed.
                        user.ok(&format!("SET {own} 1"));
                    }
                }
            });
        }
    });
    assert!(left.into_inner() > 100, "hardly anybody ever left: nothing was tried");
    drop(main);
    world.check_twin();
}

/// A counter that is raised by WATCH, GET, MULTI, SET, EXEC, while it is carried about.
#[test]
fn no_increment_is_lost_beside_rename_copy_and_swapdb() {
    let world = World::still("optimistic counter");
    let keys = world.keys_apart("counter", 2);
    let (here, there) = (&keys[0], &keys[1]);
    let mut main = world.user();
    main.ok(&format!("SET {here} 0"));
    let stop = Stop::after(RUN);
    let raised = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut user = world.user();
                while !stop.is_set() {
                    user.ok(&format!("WATCH {here}"));
                    let value = user.call(&format!("GET {here}"));
                    let Ok(value) = value.trim_matches('"').parse::<u64>() else {
                        user.ok("UNWATCH");
                        continue;
                    };
                    user.ok("MULTI");
                    user.call(&format!("SET {here} {}", value + 1));
                    if user.call("EXEC") != "nil" {
                        raised.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(9);
            while !stop.is_set() {
                match random.below(3) {
                    0 => {
                        user.ok(&format!("RENAME {here} {there}"));
                        user.ok(&format!("RENAME {there} {here}"));
                    }
                    1 => (0..2).for_each(|_| user.ok("SWAPDB 0 1")),
                    _ => assert_eq!(user.call(&format!("COPY {here} {there} DB 2 REPLACE")), "1"),
                }
                thread::yield_now();
            }
        });
    });
    assert_eq!(main.int(&format!("GET {here}")) as u64, raised.into_inner());
    drop(main);
    world.check_twin();
}

#[test]
fn exec_does_nothing_when_a_watched_key_was_touched_in_whatever_way() {
    let world = World::still("touched");
    let ways = [
        "SET a 2",
        "DEL a",
        "RENAME a z",
        "RENAME b a",
        "COPY b a REPLACE",
        "EXPIRE a 100",
        "FLUSHALL",
        "FLUSHDB",
        "SWAPDB 0 1",
        "SORT list STORE a",
        "MSET z 1 a 2",
    ];
    for way in ways {
        let (mut user, mut other) = (world.user(), world.user());
        other.ok("FLUSHALL");
        other.ok("MSET a 1 b 2");
        other.call("RPUSH list 1 2");
        user.ok("WATCH a");
        user.ok("MULTI");
        user.call("SET touched yes");
        assert!(!other.call(way).starts_with('-'), "{way}");
        assert_eq!(user.call("EXEC"), "nil", "after {way}");
        other.ok("SELECT 0");
        assert_eq!(other.call("EXISTS touched"), "0", "EXEC had an effect after {way}");
        other.ok("SELECT 1");
        assert_eq!(other.call("EXISTS touched"), "0", "EXEC had an effect after {way}");
    }
    // And these leave it as it is.
    for way in ["GET a", "SET c 1", "SADD set x", "SREM set none", "EXPIRE none 5", "PERSIST a", "SET a 9 NX"] {
        let (mut user, mut other) = (world.user(), world.user());
        other.ok("FLUSHALL");
        other.ok("SET a 1");
        user.ok("WATCH a");
        user.ok("MULTI");
        user.call("SET touched yes");
        other.call(way);
        assert_eq!(user.call("EXEC"), "[OK]", "after {way}");
    }
    world.check_twin();
}

#[test]
fn a_watched_key_that_comes_to_its_time_counts_as_touched_and_one_that_was_over_does_not() {
    let world = World::still("watched and expired");
    let clock = world.clock.clone().expect("still");
    for meets in [true, false] {
        for pauses in [true, false] {
            let (mut user, mut other) = (world.user(), world.user());
            other.ok("SET a 1 PX 100");
            user.ok("WATCH a");
            user.ok("MULTI");
            user.call("GET b");
            clock.advance(100);
            if pauses {
                other.ok("CLIENT PAUSE 100000 WRITE");
            }
            if meets {
                assert_eq!(other.call("GET a"), "nil");
            }
            assert_eq!(user.call("EXEC"), "nil", "met {meets}, paused {pauses}");

            // Over before it is watched: it was not there, and still is not.
            user.ok("WATCH a");
            user.ok("MULTI");
            user.call("GET b");
            if meets {
                assert_eq!(other.call("GET a"), "nil");
            }
            assert_eq!(user.call("EXEC"), "[nil]", "met {meets}, paused {pauses}");
            other.ok("CLIENT UNPAUSE");
            other.call("DEL a");
        }
    }
    world.check_twin();
}
