//! CLIENT PAUSE.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synap_core::execute::{Input, Outcome, execute};
use synap_core::sync::block_on_for;
use synap_core::testing::Text;

use crate::world::*;

#[test]
fn nothing_changes_between_the_answer_to_pause_and_its_end() {
    let world = World::alive("pause");
    let keys = world.keys_apart("k", 4);
    let stop = Stop::after(RUN);
    let (writes, reads) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..2_u64 {
            let (world, stop, writes, keys) = (&world, &stop, &writes, &keys);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    let key = random.pick(keys);
                    match random.below(5) {
                        0 => {
                            user.ok("MULTI");
                            user.call(&format!("INCR {key}"));
                            user.call("EXEC");
                        }
                        1 => drop(user.call(&format!("SET short{} x PX {}", random.below(500), 1 + random.below(40)))),
                        2 => drop(user.call("LPUSH q x")),
                        3 => drop(user.call("FLUSHDB")),
                        _ => drop(user.call(&format!("INCR {key}"))),
                    }
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let mut user = world.user();
            while !stop.is_set() {
                user.call("BLPOP q 0.002");
            }
        });
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(7);
            while !stop.is_set() {
                // Keys that have come to their time: a read removes them, but not now.
                user.call(&format!("GET short{}", random.below(500)));
                user.ok(&format!("WATCH short{}", random.below(500)));
                user.ok("UNWATCH");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut main = world.user();
        let mut number = 0;
        while !stop.is_set() {
            number += 1;
            let all = number % 3 == 0;
            let log = &world.engine.state().log;
            main.ok(&format!("CLIENT PAUSE 60000 {}", if all { "ALL" } else { "WRITE" }));
            let (end, read) = (log.end(), reads.load(Ordering::Relaxed));
            thread::sleep(Duration::from_millis(25));
            let start = Instant::now();
            while !all && !stop.is_set() && reads.load(Ordering::Relaxed) < read + 2 && start.elapsed().as_secs() < 5 {
                thread::yield_now();
            }
            let (end_after, read_after) = (log.end(), reads.load(Ordering::Relaxed));
            let written = writes.load(Ordering::Relaxed);
            // Before anything is asserted: the others could not come to an end.
            main.ok("CLIENT UNPAUSE");
            assert_eq!(end_after, end, "something was written during a pause");
            let read_meanwhile = read_after - read;
            let as_told = if all { read_meanwhile <= 1 } else { read_meanwhile > 1 || stop.is_set() };
            assert!(as_told, "{read_meanwhile} reads, all: {all}");
            until("writes to go on", || stop.is_set() || writes.load(Ordering::Relaxed) > written + 2);
        }
        assert!(number > 3);
    });
    world.check_twin();
}

#[test]
fn a_pause_ends_by_itself_and_may_be_prolonged() {
    let world = World::alive("end of a pause");
    let _watchdog = Stop::after(RUN);
    let mut main = world.user();
    thread::scope(|scope| {
        main.ok("CLIENT PAUSE 60000");
        let waiting = scope.spawn(|| world.user().call("SET a 1"));
        thread::sleep(Duration::from_millis(5));
        main.ok("CLIENT PAUSE 70000");
        main.ok("CLIENT UNPAUSE");
        assert_eq!(waiting.join().unwrap(), "OK");
        main.ok("CLIENT PAUSE 40");
        assert_eq!(world.user().call("SET a 1"), "OK");
        assert_eq!(main.call("GET a"), "\"1\"");
    });
    drop(main);
    world.check_twin();
}

/// What came due during a pause goes when it ends, without anybody meeting it.
#[test]
fn what_came_due_meanwhile_goes_afterwards() {
    let world = World::alive("due during a pause");
    let mut main = world.user();
    main.ok("SET a 1 PX 20");
    main.ok("CLIENT PAUSE 100 WRITE");
    thread::sleep(Duration::from_millis(50));
    assert_eq!(main.call("GET a"), "nil");
    assert_eq!(main.call("DBSIZE"), "1", "hidden, not removed");
    until("the pause to end", || main.call("DBSIZE") == "0");
    main.ok("SET a 1 PX 20");
    main.ok("CLIENT PAUSE 100000 WRITE");
    thread::sleep(Duration::from_millis(50));
    main.ok("CLIENT UNPAUSE");
    until("the engine's thread to look", || main.call("DBSIZE") == "0");
    drop(main);
    world.check_twin();
}

/// A call was stopped by one pause; before it waits, there is another one, which does not hold it.
#[test]
fn who_was_stopped_by_a_pause_does_not_wait_for_the_end_of_the_next_one() {
    let world = World::still("two pauses");
    let (mut user, mut main) = (world.user(), world.user());
    main.ok("CLIENT PAUSE 60000 ALL");
    let words: [&[u8]; 2] = [b"GET", b"a"];
    let outcome = {
        let engine = user.engine.clone();
        let mut turn = engine.enter_blocking();
        execute(&mut turn, &mut user.session, &Input::words(&words), &mut Text::new(true))
    };
    assert!(matches!(outcome, Outcome::Paused));
    main.ok("CLIENT UNPAUSE");
    main.ok("CLIENT PAUSE 60000 WRITE");
    let changed = world.engine.state().pause.changed_since(user.session.paused_at);
    assert!(block_on_for(changed, Duration::from_secs(1)).is_some(), "it waits for the wrong pause");
    main.ok("CLIENT UNPAUSE");
    drop((user, main));
    world.check_twin();
}
