//! One ordered output: what others have for a session stands behind every reply that was computed before.

use std::collections::HashMap;
use std::thread;

use synap_core::execute::{Input, execute};
use synap_core::session::{Client, Door};
use synap_core::testing::Text;

use crate::world::*;

/// Runs calls as a connection's loop does: several in one turn, mail taken between them, one output.
fn run_batch(user: &mut User, lines: &[&str]) -> String {
    let mut text = Text::new(true);
    let engine = user.engine.clone();
    let mut turn = engine.enter_blocking();
    for line in lines {
        if user.session.client.has_mail() {
            Client::take_mail(&mut user.session, &mut text);
        }
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        execute(&mut turn, &mut user.session, &Input::words(&words), &mut text);
    }
    drop(turn);
    engine.state().log.notify();
    text.out
}

fn take_mail(user: &mut User) -> String {
    let mut text = Text::new(true);
    Client::take_mail(&mut user.session, &mut text);
    text.out
}

fn listener(world: &World) -> User {
    let mut user = world.user_through(Door::Resp);
    assert!(user.call("HELLO 3").contains("\"proto\": 3"));
    user
}

/// A key is changed, then a message says so. Whoever got the message reads the new value, and a reply with the old
/// value stands before the message.
#[test]
fn a_message_about_a_change_stands_behind_every_reply_from_before_it() {
    let world = World::still("order of output");
    let keys = world.keys_apart("k", 1);
    let key = &keys[0];
    let mut main = world.user();
    main.ok(&format!("SET {key} 0"));
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut user = world.user();
            let mut number = 0;
            while !stop.is_set() {
                number += 1;
                if number % 2 == 0 {
                    user.ok(&format!("SET {key} {number}"));
                    user.call(&format!("PUBLISH c {number}"));
                } else {
                    user.ok("MULTI");
                    user.call(&format!("SET {key} {number}"));
                    user.call(&format!("PUBLISH c {number}"));
                    user.call("EXEC");
                }
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut user = listener(&world);
                user.call("SUBSCRIBE c");
                let get = format!("GET {key}");
                let (mut told, mut read, mut messages) = (0, 0, 0);
                while !stop.is_set() {
                    for line in run_batch(&mut user, &[&get, &get, "PING", &get]).lines() {
                        if let Some(message) = line.strip_prefix(r#"["message", "c", "#) {
                            let number: u64 = message.trim_matches(['"', ']']).parse().expect("a number");
                            assert_eq!(number, if told == 0 { number } else { told + 1 }, "messages out of order");
                            told = number;
                            messages += 1;
                        } else if line != "PONG" {
                            let value: u64 = line.trim_matches('"').parse().expect("a number");
                            assert!(value >= told, "read {value} after being told of {told}");
                            assert!(value >= read);
                            read = value;
                        }
                    }
                }
                assert!(messages > 100);
            });
        }
    });
    drop(main);
    world.check_twin();
}

#[test]
fn messages_of_each_publisher_come_in_order_and_none_is_lost() {
    let world = World::still("order of messages");
    let stop = Stop::after(RUN);
    let mut user = listener(&world);
    user.call("SUBSCRIBE c");
    user.call("PSUBSCRIBE c* d*");
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let (world, stop) = (&world, &stop);
                scope.spawn(move || {
                    let mut user = world.user();
                    let mut number = 0;
                    while !stop.is_set() && number < 20_000 {
                        assert_eq!(user.call(&format!("PUBLISH c {publisher}:{number}")), "2");
                        assert_eq!(user.call(&format!("PUBLISH d {publisher}:{number}")), "1");
                        number += 1;
                    }
                    number
                })
            })
            .collect();
        let mut next: HashMap<String, u64> = HashMap::new();
        let mut note = |output: String| {
            for line in output.lines() {
                let words: Vec<&str> = line.trim_matches(['[', ']']).split(", ").collect();
                let (publisher, number) = words[words.len() - 1].trim_matches('"').split_once(':').expect("a:b");
                let place = next.entry(format!("{publisher} {:?}", &words[..words.len() - 1])).or_default();
                assert_eq!(number.parse::<u64>(), Ok(*place), "{line}");
                *place += 1;
            }
        };
        while !publishers.iter().all(|publisher| publisher.is_finished()) {
            note(take_mail(&mut user));
        }
        note(take_mail(&mut user));
        for (publisher, count) in publishers.into_iter().map(|publisher| publisher.join().unwrap()).enumerate() {
            let of_it: Vec<u64> =
                next.iter().filter(|(key, _)| key.starts_with(&publisher.to_string())).map(|(_, n)| *n).collect();
            assert_eq!(of_it, [count; 3], "publisher {publisher}");
        }
    });
    drop(user);
    world.check_twin();
}

#[test]
fn nothing_comes_before_the_confirmation_of_subscribe_nor_after_that_of_unsubscribe() {
    let world = World::still("confirmations");
    let stop = Stop::after(RUN);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut user = world.user();
                while !stop.is_set() {
                    user.call("PUBLISH c x");
                }
            });
        }
        let mut user = listener(&world);
        let mut heard = 0;
        while !stop.is_set() {
            assert_eq!(take_mail(&mut user), "", "heard before subscribing");
            for (join, leave, words) in
                [("SUBSCRIBE c", "UNSUBSCRIBE c", "unsubscribe"), ("PSUBSCRIBE c*", "PUNSUBSCRIBE", "punsubscribe")]
            {
                let mut output = run_batch(&mut user, &[join, "PING"]) + "\n";
                // Long enough to hear something, on a busy machine too.
                while !user.session.client.has_mail() && !stop.is_set() {
                    thread::yield_now();
                }
                output += &run_batch(&mut user, &["PING", leave, "PING"]);
                let lines: Vec<&str> = output.lines().collect();
                assert!(lines[0].contains("subscribe"), "{output}");
                let end = lines.iter().position(|line| line.contains(words)).expect("a confirmation");
                assert_eq!(&lines[end + 1..], ["PONG"], "{output}");
                heard += end - 3;
                thread::yield_now();
                assert_eq!(take_mail(&mut user), "", "heard after leaving");
            }
        }
        assert!(heard > 0);
    });
    world.check_twin();
}

#[test]
fn a_call_is_answered_before_the_message_that_it_sent_itself() {
    let world = World::still("own message");
    let mut user = listener(&world);
    user.call("SUBSCRIBE c");
    let output = run_batch(&mut user, &["PUBLISH c x", "PING"]);
    assert_eq!(output, "1\n[\"message\", \"c\", \"x\"]\nPONG");
    // The array that EXEC answers holds nothing but its answers, and what it published follows.
    run_batch(&mut user, &["PUBLISH c y"]);
    let output = run_batch(&mut user, &["MULTI", "PUBLISH c z", "PING", "UNSUBSCRIBE d", "EXEC", "PING"]);
    let (queued, rest) = output.split_at(output.find("[1, ").expect("the answer of EXEC"));
    assert_eq!(queued.lines().filter(|line| *line != "QUEUED").collect::<Vec<_>>(), [r#"["message", "c", "y"]"#, "OK"]);
    assert_eq!(rest, "[1, PONG, [\"unsubscribe\", \"d\", 1]]\n[\"message\", \"c\", \"z\"]\nPONG");
    // So it is with what others send between the calls and EXEC.
    user.ok("MULTI");
    user.call("UNSUBSCRIBE d");
    world.user().call("PUBLISH c late");
    assert_eq!(user.call("EXEC"), r#"[["unsubscribe", "d", 1]]"#);
    assert_eq!(take_mail(&mut user), r#"["message", "c", "late"]"#);
    drop(user);
    world.check_twin();
}

/// A call that has to be repeated with the gate closed, or after a pause, is shown once.
#[test]
fn monitor_shows_each_call_once() {
    let world = World::still("monitor");
    let mut monitor = listener(&world);
    monitor.ok("MONITOR");
    let mut user = world.user();
    user.ok("MULTI");
    user.call("FLUSHALL");
    user.call("EXEC");
    user.ok("SWAPDB 0 1");
    user.call("SORT a BY b* GET c*");
    let output = take_mail(&mut monitor);
    for call in ["MULTI", "FLUSHALL", "EXEC", "SWAPDB", "SORT"] {
        assert_eq!(output.matches(&format!("] \"{call}\"")).count(), 1, "{call} in\n{output}");
    }
    drop((monitor, user));
    world.check_twin();
}
