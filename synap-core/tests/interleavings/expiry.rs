//! Time to live, as several threads see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use synap_core::clock::{Clock, SystemClock};
use synap_core::execute::{Input, Turn, execute};
use synap_core::testing::Text;
use synap_core::{Engine, Options};

use crate::world::*;

#[test]
fn an_expired_key_never_rises_again() {
    const KEYS: usize = 64;
    let world = World::alive("rises");
    let stop = Stop::after(RUN);
    // Each key is set once in each generation, and was seen to be gone, or not yet.
    let gone: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let generation = AtomicU64::new(0);
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut user = world.user();
            let mut random = world.random(0);
            let mut number = 0;
            while !stop.is_set() {
                number += 1;
                for key in 0..KEYS {
                    user.ok(&format!("SET k{number}:{key} x PX {}", 1 + random.below(12)));
                }
                generation.store(number, Ordering::Release);
                if number % 3 == 0 {
                    // What is due is hidden meanwhile.
                    user.ok("CLIENT PAUSE 10 WRITE");
                }
                thread::sleep(Duration::from_millis(14));
            }
        });
        for number in 0..3 {
            let (world, stop, gone, generation, seen) = (&world, &stop, &gone, &generation, &seen);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number + 1);
                while !stop.is_set() {
                    let (now, key) = (generation.load(Ordering::Acquire), random.below(KEYS));
                    let was_gone = gone[key].load(Ordering::Acquire) >= now;
                    let reply = match random.below(4) {
                        0 => user.call(&format!("EXISTS k{now}:{key}")).replace('0', "nil"),
                        1 => user.call(&format!("TYPE k{now}:{key}")).replace("none", "nil"),
                        2 => {
                            let found = user.call(&format!("SCAN 0 MATCH k{now}:{key} COUNT 100000"));
                            if found.contains(&format!("\"k{now}:{key}\"")) { found } else { "nil".into() }
                        }
                        _ => user.call(&format!("GET k{now}:{key}")),
                    };
                    let is_gone = reply == "nil";
                    assert!(now == 0 || is_gone || !was_gone, "k{now}:{key} rose again: {reply}");
                    if is_gone {
                        gone[key].fetch_max(now, Ordering::AcqRel);
                    }
                    seen[usize::from(is_gone)].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) > 100), "{seen:?}");
    world.check_twin();
}

fn in_turn(turn: &mut Turn<'_>, user: &mut User, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut text = Text::new(true);
    execute(turn, &mut user.session, &Input::words(&words), &mut text);
    text.out
}

/// A turn that began before the deadline comes to the key after another one has seen that it is gone.
#[test]
fn a_turn_that_began_earlier_does_not_see_what_another_one_has_seen_to_be_gone() {
    for pauses in [true, false] {
        let world = World::still("an earlier turn");
        let clock = world.clock.clone().expect("still");
        let (mut early, mut late) = (world.user(), world.user());
        late.ok("SET a 1 PX 100");
        late.call("HSET h f v");
        late.call("HPEXPIREAT h 1700000000100 FIELDS 1 f");
        if pauses {
            late.ok("CLIENT PAUSE 100000 WRITE");
        }
        let engine = world.engine.clone();
        let mut turn = engine.enter_blocking();
        thread::scope(|scope| {
            scope.spawn(|| {
                clock.advance(100);
                if pauses {
                    assert_eq!(late.call("GET a"), "nil");
                    assert_eq!(late.call("HGET h f"), "nil");
                } else {
                    assert_eq!(late.call("SCAN 0 COUNT 1000 TYPE string"), r#"["0", []]"#);
                    assert_eq!(late.call("HGET h f"), "nil");
                }
            });
        });
        assert_eq!(in_turn(&mut turn, &mut early, "GET a"), "nil", "paused: {pauses}");
        assert_eq!(in_turn(&mut turn, &mut early, "HGET h f"), "nil", "paused: {pauses}");
        drop(turn);
        drop((early, late));
        world.check_twin();
    }
}

/// Whether PERSIST or the deadline comes first is decided once and for all.
#[test]
fn persist_and_expire_race_with_the_deadline_and_one_of_them_wins() {
    let world = World::alive("persist");
    let stop = Stop::after(RUN);
    let won = [AtomicU64::new(0), AtomicU64::new(0)];
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (world, stop, won) = (&world, &stop, &won);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                let mut round = 0;
                while !stop.is_set() {
                    round += 1;
                    let key = format!("k{number}:{round}");
                    user.ok(&format!("SET {key} x PX 3"));
                    let start = std::time::Instant::now();
                    let wait = Duration::from_micros(2500 + random.below(1000) as u64);
                    while start.elapsed() < wait {
                        if random.below(20) == 0 {
                            user.call(&format!("GET {key}"));
                        }
                    }
                    let line = if round % 2 == 0 { format!("PERSIST {key}") } else { format!("EXPIRE {key} 1000 XX") };
                    let saved = user.call(&line) == "1";
                    thread::sleep(Duration::from_millis(2));
                    assert_eq!(user.call(&format!("GET {key}")), if saved { "\"x\"" } else { "nil" }, "{line}");
                    won[usize::from(saved)].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(won.iter().all(|count| count.load(Ordering::Relaxed) > 0), "the deadline, the call: {won:?}");
    world.check_twin();
}

/// COPY meets a key in a database that is not the selected one.
#[test]
fn copy_to_another_database_finds_what_is_due_there_gone() {
    let world = World::still("copy over what is due");
    let mut user = world.user();
    user.ok("SET a 1");
    user.ok("SELECT 1");
    user.ok("SET a 2 PX 100");
    user.ok("SELECT 0");
    world.clock.as_ref().expect("still").advance(100);
    assert_eq!(user.call("COPY a a DB 1"), "1");
    drop(user);
    world.check_twin();
}

/// Counts how often somebody looks at it.
struct Watched(Arc<AtomicU64>);

impl Clock for Watched {
    fn now_ms(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        SystemClock.now_ms()
    }
}

#[test]
fn the_engines_thread_sleeps_until_the_earliest_deadline_and_wakes_for_an_earlier_one() {
    let looks = Arc::new(AtomicU64::new(0));
    let clock = Box::new(Watched(looks.clone()));
    let engine = Engine::open_memory(Options { clock, keep_whole_log: true, ..Options::default() });
    let session = engine.session(synap_core::session::Door::Embedded, "test".into(), "test".into());
    let mut user = User { engine: engine.clone(), session };
    user.ok("SET a 1 EX 1000");
    user.ok("SET b 1 PX 1500");
    thread::sleep(Duration::from_millis(50));
    let before = looks.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(looks.load(Ordering::Relaxed), before, "it did not sleep");
    user.ok("SET c 1 PX 10");
    thread::sleep(Duration::from_millis(60));
    assert_eq!(user.call("DBSIZE"), "2", "it slept through an earlier deadline");
    until("the later one", || user.call("DBSIZE") == "1");
    user.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    user.ok("SET c 1 PX 1");
    thread::sleep(Duration::from_millis(30));
    assert_eq!(user.call("DBSIZE"), "2");
    user.ok("DEBUG SET-ACTIVE-EXPIRE 1");
    until("the engine's thread", || user.call("DBSIZE") == "1");
    thread::sleep(Duration::from_millis(30));
    let before = looks.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(looks.load(Ordering::Relaxed), before, "it does not sleep any more");
    drop(user);
    engine.close().unwrap();
    synap_core::testing::check_twin(&engine);
}

/// Deadlines that many threads set, none of which is slept through.
#[test]
fn every_deadline_is_kept() {
    let world = World::alive("deadlines");
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        for number in 0..3_u64 {
            let (world, stop) = (&world, &stop);
            scope.spawn(move || {
                let mut user = world.user();
                let mut random = world.random(number);
                while !stop.is_set() {
                    let (key, ms) = (random.below(2000), 1 + random.below(30));
                    match random.below(3) {
                        0 => drop(user.call(&format!("SET k{key} x PX {ms}"))),
                        1 => drop(user.call(&format!("EXPIRE k{key} 1"))),
                        _ => {
                            user.call(&format!("HSET h{key} f v g w"));
                            let at = SystemClock.now_ms() + ms as i64;
                            user.call(&format!("HPEXPIREAT h{key} {at} FIELDS 2 f g"));
                        }
                    }
                }
                user.ok("SELECT 0");
            });
        }
    });
    let mut user = world.user();
    // The last EXPIRE was for a second.
    thread::sleep(Duration::from_millis(1000));
    until("all keys to go", || user.call("DBSIZE") == "0");
    drop(user);
    world.check_twin();
}
