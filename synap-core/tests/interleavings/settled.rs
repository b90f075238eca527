//! Nothing that depends on an unsafe write leaves.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use synap_core::log::Reader;
use synap_core::session::Client;
use synap_core::testing::Text;

use crate::world::*;

#[test]
fn a_reply_waits_until_what_it_saw_is_settled() {
    let world = World::still("unsettled");
    let _watchdog = Stop::after(RUN);
    let keys = world.keys_apart("k", 4);
    let [key, other, queue, told] = [&keys[0], &keys[1], &keys[2], &keys[3]];
    let mut main = world.user();
    main.ok(&format!("SET {other} safe"));
    let log = &world.engine.state().log;
    let mut subscriber = world.user();
    subscriber.call("SUBSCRIBE c");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| world.user().call(&format!("BLPOP {queue} 0")));
        world.until_blocked(1);
        log.attach_sink(log.end()).expect("everything is kept");
        let safe = log.end();
        let calls = [
            vec![format!("SET {key} 1")],
            vec![format!("RPUSH {queue} x")],
            vec!["MULTI".into(), format!("INCR {key}"), "EXEC".into()],
            vec!["MULTI".into(), format!("SET {told} 5"), "PUBLISH c told".into(), "EXEC".into()],
        ];
        let mut threads = Vec::new();
        for lines in calls {
            let (world, before) = (&world, log.end());
            threads.push(scope.spawn(move || {
                let mut user = world.user();
                lines.iter().map(|line| user.call(line)).collect::<Vec<_>>().pop()
            }));
            until("the call to be logged", || log.end() > before);
        }
        thread::sleep(Duration::from_millis(20));
        assert_eq!(log.settled(), safe);
        for line in [
            format!("GET {key}"),
            format!("MGET {other} {key}"),
            "DBSIZE".into(),
            "SCAN 0".into(),
            format!("TYPE {key}"),
            format!("WATCH {key}"),
            format!("INCR {key}"),
            format!("LRANGE {queue} 0 -1"),
        ] {
            let world = &world;
            threads.push(scope.spawn(move || Some(world.user().call(&line))));
        }
        // What depends on settled data alone leaves at once.
        assert_eq!(main.call(&format!("GET {other}")), "\"safe\"");
        assert_eq!(main.call("PING"), "PONG");
        thread::sleep(Duration::from_millis(60));
        let early: Vec<usize> = (0..threads.len()).filter(|&number| threads[number].is_finished()).collect();
        let served_early = waiting.is_finished();
        // A message out of the transaction is there, and may not leave.
        let is_told = subscriber.session.client.has_mail();
        Client::take_mail(&mut subscriber.session, &mut Text::new(true));
        let may_be_told = log.is_settled(subscriber.session.seen);
        // The first byte of it is enough for nobody.
        log.settle(safe + 1);
        thread::sleep(Duration::from_millis(5));
        let too_early = threads.iter().filter(|thread| thread.is_finished()).count();
        // Before anything is asserted: the others could not come to an end.
        log.settle(log.end());
        assert!(early.is_empty(), "these calls did not wait: {early:?}");
        assert!(!served_early, "the served one did not wait");
        assert!(is_told && !may_be_told, "the message may leave before what it tells of is safe");
        assert_eq!(too_early, 0, "waited for the wrong offset");
        for thread in threads {
            assert!(!thread.join().unwrap().expect("a reply").starts_with("-WRONG"));
        }
        assert_eq!(waiting.join().unwrap(), format!("[\"{queue}\", \"x\"]"));
    });
    drop((main, subscriber));
    log.detach_sink();
    world.check_twin();
}

/// A disk that is slow: each value that was read must have been settled at that moment.
#[test]
fn readers_on_other_threads_never_show_what_a_kill_could_take_back() {
    let world = World::still("slow disk");
    let keys = world.keys_apart("k", 2);
    let log = &world.engine.state().log;
    log.attach_sink(log.end()).expect("everything is kept");
    let stop = Stop::after(RUN);
    let read = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for key in &keys {
            let (world, stop) = (&world, &stop);
            threads.push(scope.spawn(move || {
                let mut user = world.user();
                let mut number = 0;
                while !stop.is_set() {
                    number += 1;
                    user.ok(&format!("SET {key} {number}"));
                }
            }));
        }
        for number in 0..2 {
            let (world, stop, read, keys) = (&world, &stop, &read, &keys);
            threads.push(scope.spawn(move || {
                let mut user = world.user();
                while !stop.is_set() {
                    let key = &keys[number];
                    let value = user.call(&format!("GET {key}"));
                    let settled = world.engine.state().log.settled();
                    read.lock().unwrap().push((key.clone(), value.trim_matches('"').to_owned(), settled));
                }
            }));
        }
        while !threads.iter().all(|thread| thread.is_finished()) {
            let end = log.end();
            thread::sleep(Duration::from_micros(300));
            log.settle(end);
        }
    });
    log.detach_sink();
    let mut bytes = Vec::new();
    let mut at = log.oldest();
    while at < log.end() {
        at = log.read_from(at, &mut bytes).expect("kept");
    }
    let written: std::collections::HashMap<(String, String), u64> = Reader::new(&bytes, 0)
        .map(|call| call.expect("reads back"))
        .filter(|call| call.words[0] == b"SET")
        .map(|call| {
            let word = |index: usize| String::from_utf8_lossy(call.words[index]).into_owned();
            ((word(1), word(2)), call.end)
        })
        .collect();
    let read = read.into_inner().unwrap();
    assert!(read.len() > 100);
    for (key, value, settled) in read.into_iter().filter(|(_, value, _)| value != "nil") {
        let end = written[&(key.clone(), value.clone())];
        assert!(end <= settled, "{key} = {value} stands at {end} and was shown when {settled} was safe");
    }
    world.check_twin();
}
