//! Nobody starves at the gate, for whole calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synap_core::sync::block_on;

use crate::world::*;

/// The longest that one of these may wait: they wait for a few others, each of some microseconds.
const LONG: Duration = Duration::from_secs(2);

#[track_caller]
fn timed(what: &str, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < LONG, "{what} took {:?}", start.elapsed());
}

#[test]
fn a_flood_of_closers_does_not_starve_readers_nor_tasks_nor_the_engines_thread() {
    let world = World::alive("closers");
    let stop = Stop::after(RUN * 2);
    let closings = AtomicU64::new(0);
    let mut main = world.user();
    main.ok("SELECT 1");
    main.ok("SET a 1");
    thread::scope(|scope| {
        for number in 0..4 {
            let (world, stop, closings) = (&world, &stop, &closings);
            scope.spawn(move || {
                let mut user = world.user();
                while !stop.is_set() {
                    user.ok(if number % 2 == 0 { "FLUSHDB" } else { "CONFIG SET timeout 0" });
                    closings.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Calls enter before they close; these do nothing but close, so that one of them always waits.
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.is_set() {
                    block_on(world.engine.alone(|_| ()));
                }
            });
        }
        let mut rounds = 0;
        while rounds < 300 || closings.load(Ordering::Relaxed) < 200 {
            rounds += 1;
            timed("a read", || assert_eq!(main.call("GET a"), "\"1\""));
            timed("a task", || block_on(world.engine.inside(|_| ())));
            timed("a leaving task", || {
                let mut user = world.user();
                user.ok("WATCH a");
                block_on(world.engine.depart(&mut user.session));
            });
        }
        main.ok("SET a 1 PX 1");
        until("the engine's thread to come in", || main.call("DBSIZE") == "0");
        stop.now();
    });
    drop(main);
    world.check_twin();
}

#[test]
fn a_flood_of_readers_does_not_starve_a_closer() {
    let world = World::still("readers");
    let stop = Stop::after(RUN * 2);
    let reads = AtomicU64::new(0);
    let mut main = world.user();
    main.ok("SET a 1");
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                let mut user = world.user();
                while !stop.is_set() {
                    user.call("GET a");
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut rounds = 0;
        while rounds < 300 || reads.load(Ordering::Relaxed) < 200 {
            rounds += 1;
            timed("a closer", || main.ok("SWAPDB 0 1"));
        }
        stop.now();
    });
    drop(main);
    world.check_twin();
}
