//! The RESP door as clients see it: with a client library in both protocols, and with bare sockets where a library
//! would be in the way.

#[path = "support/server.rs"]
mod server;
#[path = "support/wire.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Commands, Connection, Value, cmd, pipe};
use server::{Server, eventually};
use wire::{Wire, call, encode};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Resp {
    Two,
    Three,
}

const BOTH: [Resp; 2] = [Resp::Two, Resp::Three];

fn connect(server: &Server, db: u32, resp: Resp) -> Connection {
    let protocol = if resp == Resp::Three { "?protocol=resp3" } else { "" };
    let client = redis::Client::open(format!("redis://{}/{db}{protocol}", server.resp)).expect("an address");
    let connection = client.get_connection_with_timeout(Duration::from_secs(20)).expect("the server listens");
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    connection
}

/// The same text for the same reply in both protocols: lists in brackets, numbers and bytes as they are.
fn show(value: &Value) -> String {
    let list = |items: &mut dyn Iterator<Item = &Value>| format!("[{}]", items.map(show).collect::<Vec<_>>().join(" "));
    match value {
        Value::Nil => "nil".into(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => bytes.escape_ascii().to_string(),
        Value::Array(items) | Value::Set(items) => list(&mut items.iter()),
        Value::Map(pairs) => list(&mut pairs.iter().flat_map(|(key, value)| [key, value])),
        Value::SimpleString(text) => text.clone(),
        Value::VerbatimString { text, .. } => text.as_bytes().escape_ascii().to_string(),
        Value::Okay => "OK".into(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(yes) => i32::from(*yes).to_string(),
        other => format!("{other:?}"),
    }
}

/// Says words with blanks between them (`''` is an empty one); the answer as text, an error with a minus in front.
fn say(connection: &mut Connection, words: &str) -> String {
    let mut words = words.split(' ').map(|word| if word == "''" { "" } else { word });
    let mut call = cmd(words.next().expect("a name"));
    words.for_each(|word| {
        call.arg(word);
    });
    match call.query::<Value>(connection) {
        Ok(value) => show(&value),
        Err(error) => format!("-{} {}", error.code().unwrap_or("?"), error.detail().unwrap_or("?")),
    }
}

/// Each line: words, ` => `, the answer. `…` at the end of an answer stands for any rest.
#[track_caller]
fn converse(connection: &mut Connection, conversation: &str) {
    let mut wrong = Vec::new();
    for line in conversation.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (words, expected) = line.split_once(" => ").expect("an arrow");
        let answer = say(connection, words);
        let is_expected = match expected.strip_suffix('…') {
            Some(beginning) => answer.starts_with(beginning),
            None => answer == expected,
        };
        if !is_expected {
            wrong.push(format!("{words} => {answer}\n    expected: {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const CONVERSATION: &str = "
    PING => PONG
    PING hello => hello
    ECHO hello => hello
    SET s 1 => OK
    GET s => 1
    SET s 2 NX => nil
    SET s 2 XX GET => 1
    SET s 3 EX 100 KEEPTTL => -ERR syntax error
    SET s 3 NX XX => -ERR syntax error
    SET s 3 EX 0 => -ERR invalid expire time in 'set' command
    SET s 3 PX 100000 => OK
    TTL s => 100
    SET s 4 KEEPTTL => OK
    TTL s => 100
    PERSIST s => 1
    PERSIST s => 0
    TTL s => -1
    TTL missing => -2
    INCR s => 5
    INCR counter => 1
    SET s word => OK
    INCR s => -ERR value is not an integer or out of range
    MSET a 1 b 2 '' empty => OK
    MSET a 1 b => -ERR wrong number of arguments for 'mset' command
    MGET a b missing '' => [1 2 nil empty]
    EXISTS a a b missing => 3
    DEL a b missing '' => 3
    HSET h name Ann age 7 => 2
    HSET h name Bob => 0
    HGET h name => Bob
    HGET h missing => nil
    HGETALL h => [name Bob age 7]
    HGETALL missing => []
    HEXPIRE h 100 FIELDS 2 name missing => [1 -2]
    HTTL h FIELDS 3 name age missing => [100 -1 -2]
    HDEL h age missing => 1
    HGET s name => -WRONGTYPE Operation against a key holding the wrong kind of value
    OBJECT ENCODING h => listpack…
    SADD set 1 2 3 => 3
    SADD set 3 4 => 1
    OBJECT ENCODING set => intset
    SMEMBERS set => [1 2 3 4]
    SADD other 3 4 5 => 3
    SINTER set other => [3 4]
    SINTER set missing => []
    SPOP set 0 => []
    SPOP missing => nil
    RPUSH l a b => 2
    LPUSH l c => 3
    LRANGE l 0 -1 => [c a b]
    LRANGE l -2 100 => [a b]
    RPOP l => b
    RPOP l 5 => [a c]
    EXISTS l => 0
    RPOP l => nil
    RPUSH l 3 1 2 => 3
    BLPOP missing l 1 => [l 3]
    BLPOP missing 0.01 => nil
    BLMOVE l m RIGHT LEFT 1 => 2
    BLMOVE missing m RIGHT LEFT 0.01 => nil
    BLPOP l -1 => -ERR timeout is negative
    LRANGE m 0 -1 => [2]
    ZADD z 1 a 2 b 3.5 c => 3
    ZADD z XX CH 5 a 1 new => 1
    ZADD z INCR 1.5 b => 3.5
    ZADD z NX GT 1 a => -ERR GT, LT, and/or NX options at the same time are not compatible
    ZRANGE z 0 -1 => [b c a]
    ZRANGE z 0 -1 REV => [a c b]
    ZRANGE z (3 +inf BYSCORE LIMIT 0 2 => [b c]
    ZRANK z c => 1
    ZRANK z missing => nil
    TYPE z => zset
    TYPE missing => none
    EXPIRE z 100 => 1
    EXPIRE z 50 GT => 0
    EXPIRE missing 100 => 0
    PEXPIREAT z 1 => 1
    EXISTS z => 0
    RENAME missing x => -ERR no such key
    RENAME s t => OK
    GET t => word
    COPY t u => 1
    COPY t u => 0
    COPY t u REPLACE => 1
    COPY t t DB 9 => 1
    MGET t u => [word word]
    SCAN 0 MATCH t COUNT 1000 => [0 [t]]
    SCAN x => -ERR invalid cursor
    RPUSH ids 2 3 1 => 3
    MSET w1 30 w2 20 w3 10 n1 one n2 two n3 three => OK
    SORT ids => [1 2 3]
    SORT ids BY w* GET n* GET # => [three 3 two 2 one 1]
    SORT ids DESC LIMIT 0 2 => [3 2]
    SORT ids STORE sorted => 3
    LRANGE sorted 0 -1 => [1 2 3]
    MULTI => OK
    SET tx 1 => QUEUED
    INCR tx => QUEUED
    EXEC => [OK 2]
    MULTI => OK
    MULTI => -ERR MULTI calls can not be nested
    SET tx 9 => QUEUED
    DISCARD => OK
    GET tx => 2
    MULTI => OK
    SET tx 9 => QUEUED
    MULTI => -ERR MULTI calls can not be nested
    EXEC => -EXECABORT Transaction discarded because of previous errors.
    MULTI => OK
    WATCH tx => -ERR WATCH inside MULTI is not allowed
    EXEC => -EXECABORT Transaction discarded because of previous errors.
    GET tx => 2
    DISCARD => -ERR DISCARD without MULTI
    EXEC => -ERR EXEC without MULTI
    MULTI => OK
    NO such => -ERR unknown command 'NO', with args beginning with: 'such' …
    SET tx 9 => QUEUED
    EXEC => -EXECABORT Transaction discarded because of previous errors.
    WATCH tx => OK
    SET tx 3 => OK
    MULTI => OK
    SET tx 4 => QUEUED
    EXEC => nil
    WATCH tx => OK
    SET tx 3 => OK
    UNWATCH => OK
    MULTI => OK
    GET tx => QUEUED
    EXEC => [3]
    PUBLISH nobody hears => 0
    SELECT 99 => -ERR DB index is out of range
    SELECT x => -ERR value is not an integer or out of range
    SWAPDB 0 99 => -ERR DB index is out of range
    CLIENT SETNAME tester => OK
    CLIENT GETNAME => tester
    CLIENT SETINFO LIB-NAME black-box => OK
    CLIENT NO => -ERR unknown subcommand 'NO'. Try CLIENT HELP.
    OBJECT ENCODING missing => nil
    COMMAND COUNT => 2…
    COMMAND GETKEYS MSET a 1 b 2 => [a b]
    COMMAND GETKEYSANDFLAGS LPUSH k v => [[k [RW insert]]]
    COMMAND GETKEYS PING => -ERR The command has no key arguments
    COMMAND INFO get => [[get 2 [readonly fast] 1 1 1…
    COMMAND INFO none => [nil]
    COMMAND LIST FILTERBY PATTERN zra* => [zrank zrandmember zrange zrangestore zrangebyscore zrangebylex]
    COMMAND DOCS none => []
    CONFIG GET maxclients => [maxclients 10000]
    CONFIG GET none => []
    CONFIG RESETSTAT => OK
    DEBUG SLEEP 0.01 => OK
    DEBUG SET-ACTIVE-EXPIRE 1 => OK
    INFO server => # Server…
    GET => -ERR wrong number of arguments for 'get' command
    GET a b => -ERR wrong number of arguments for 'get' command
    FLUSHALL NOW => -ERR syntax error
    FLUSHALL => OK
    DBSIZE => 0
";

#[test]
fn every_command_answers() {
    for resp in BOTH {
        let server = Server::start();
        let mut connection = connect(&server, 0, resp);
        converse(&mut connection, CONVERSATION);
        let answer = say(&mut connection, "ZADD z 1 a 2.5 b");
        assert_eq!(answer, "2");
        let scored = say(&mut connection, "ZRANGE z 0 -1 WITHSCORES");
        assert_eq!(scored, if resp == Resp::Two { "[a 1 b 2.5]" } else { "[[a 1] [b 2.5]]" });
        let docs = say(&mut connection, "COMMAND DOCS get");
        assert!(docs.starts_with("[get [summary "), "{docs}");
        let all: Vec<Value> = cmd("COMMAND").query(&mut connection).expect("an answer");
        assert!(all.len() > 50);
        let info = say(&mut connection, "INFO everything");
        for section in ["Server", "Clients", "Memory", "Stats", "Replication", "CPU", "Commandstats", "Keyspace"] {
            assert!(info.to_lowercase().contains(&format!("# {}\\r\\n", section.to_lowercase())), "{section}: {info}");
        }
    }
}

#[test]
fn resp3_has_types_of_its_own() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    for call in ["HSET h f v", "SADD s a", "ZADD z 1.5 m", "SET k v"] {
        wire.call(call);
    }
    let of_both: &[(&str, &str, &str)] = &[
        ("HGETALL h", "[\"f\" \"v\"]", "%[\"f\" \"v\"]"),
        ("SMEMBERS s", "[\"a\"]", "~[\"a\"]"),
        ("ZRANGE z 0 -1 WITHSCORES", "[\"m\" \"1.5\"]", "[[\"m\" ,1.5]]"),
        ("CONFIG GET maxclients", "[\"maxclients\" \"10000\"]", "%[\"maxclients\" \"10000\"]"),
        ("GET missing", "nil", "nil"),
        ("GET k", "\"v\"", "\"v\""),
    ];
    for (words, two, _) in of_both {
        wire.expect(words, two);
    }
    let hello = wire.call("HELLO 3").to_string();
    assert!(hello.starts_with("%[\"server\" \"redis\" \"version\" \"7."), "{hello}");
    assert!(hello.contains("\"proto\" :3") && hello.contains("\"mode\" \"standalone\""), "{hello}");
    for (words, _, three) in of_both {
        wire.expect(words, three);
    }
    wire.expect("ZADD z INCR 1 m", ",2.5");
    // Nulls on the wire.
    wire.say("GET missing");
    let mut bytes = [0; 3];
    std::io::Read::read_exact(&mut wire.stream, &mut bytes).expect("an answer");
    assert_eq!(&bytes, b"_\r\n");
    wire.say("BLPOP missing 0.01");
    std::io::Read::read_exact(&mut wire.stream, &mut bytes).expect("an answer");
    assert_eq!(&bytes, b"_\r\n");
    assert!(wire.call("HELLO 2").to_string().starts_with("[\"server\""));
    wire.send(&[call("GET missing"), call("BLPOP missing 0.01")].concat());
    let mut bytes = [0; 10];
    std::io::Read::read_exact(&mut wire.stream, &mut bytes).expect("an answer");
    assert_eq!(&bytes, b"$-1\r\n*-1\r\n");
}

#[test]
fn hello_says_what_is_wrong() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.expect("HELLO 4", "-NOPROTO unsupported protocol version");
    wire.expect("HELLO 1", "-NOPROTO unsupported protocol version");
    wire.expect("HELLO x", "-ERR Protocol version is not an integer or out of range");
    wire.expect("HELLO 3 NO", "-ERR syntax error…");
    wire.expect("HELLO 3 AUTH default", "-ERR syntax error…");
    let wrong = wire.call("HELLO 3 AUTH nobody wrong").to_string();
    assert_eq!(wrong, "-WRONGPASS invalid username-password pair or user is disabled.");
    let name = wire.call_bytes(&[b"HELLO", b"3", b"SETNAME", b"a b"]).to_string();
    assert_eq!(name, "-ERR Client names cannot contain spaces, newlines or special characters.");
    // None of them has changed the protocol.
    wire.expect("CONFIG GET maxclients", "[\"maxclients\" \"10000\"]");
    assert!(wire.call("HELLO").to_string().contains("\"proto\" :2"));
    assert!(wire.call("HELLO 3 AUTH default any SETNAME me").to_string().contains("\"proto\" :3"));
    wire.expect("CLIENT GETNAME", "\"me\"");
}

#[test]
fn long_pipelines() {
    let server = Server::start();
    for (db, resp) in [(1, Resp::Two), (2, Resp::Three)] {
        let mut connection = connect(&server, db, resp);
        let mut calls = pipe();
        for number in 0..10_000 {
            calls.set(format!("key:{number}"), number).ignore();
        }
        calls.exec(&mut connection).expect("all are taken");
        let mut calls = pipe();
        for number in 0..10_000 {
            calls.get(format!("key:{number}"));
        }
        let values: Vec<usize> = calls.query(&mut connection).expect("all are answered");
        assert_eq!(values, (0..10_000).collect::<Vec<_>>());
        // Mixed ones, with errors in between.
        let mut calls = pipe();
        for number in 0..2_500 {
            calls.cmd("INCR").arg("count").ignore();
            calls.lpush("list", number).ignore();
            calls.cmd("HGET").arg("count").arg("f");
            calls.get("count");
        }
        calls.ignore_errors();
        let answers: Vec<Value> = calls.query(&mut connection).expect("all are answered");
        let last = answers.last().map(show);
        assert_eq!((answers.len() >= 5_000, last.as_deref()), (true, Some("2500")));
    }
}

#[test]
fn transactions() {
    let server = Server::start();
    for (db, resp) in [(3, Resp::Two), (4, Resp::Three)] {
        let mut connection = connect(&server, db, resp);
        let (old, new): (Option<i64>, i64) = pipe()
            .atomic()
            .get("key")
            .set("key", 41)
            .ignore()
            .cmd("INCR")
            .arg("key")
            .query(&mut connection)
            .expect("answers");
        assert_eq!((old, new), (None, 42));
        // What fails in the middle stops nothing.
        let mut wire = Wire::connect(server.resp);
        wire.send(&[call("MULTI"), call("SET s 1"), call("HGET s f"), call("INCR s"), call("EXEC")].concat());
        (0..4).for_each(|_| drop(wire.read()));
        wire.hears("[+OK -WRONGTYPE Operation against a key holding the wrong kind of value :2]");
        // A read and a write that depends on it, by many at once: none is lost.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut connection = connect(&server, db, resp);
                    for _ in 0..100 {
                        redis::transaction(&mut connection, &["sum", "other"], |connection, pipe| {
                            let sum: Option<i64> = connection.get("sum")?;
                            pipe.set("sum", sum.unwrap_or(0) + 1).ignore().cmd("INCR").arg("tries").ignore().get("sum");
                            pipe.query::<Option<(i64,)>>(connection)
                        })
                        .expect("in the end it succeeds");
                    }
                });
            }
        });
        assert_eq!(connection.get::<_, i64>("sum").expect("a number"), 400);
        assert_eq!(connection.get::<_, i64>("tries").expect("a number"), 400);
    }
}

#[test]
fn publish_and_subscribe_in_resp2() {
    let server = Server::start();
    let mut listener = connect(&server, 0, Resp::Two);
    let mut publisher = connect(&server, 0, Resp::Two);
    let mut pubsub = listener.as_pubsub();
    pubsub.subscribe(&["news", "b\r\n"]).expect("a subscription");
    pubsub.psubscribe("n?w*").expect("a subscription");
    eventually("both are heard of", || say(&mut publisher, "CLIENT LIST").contains("sub=2 psub=1"));
    assert_eq!(publisher.publish::<_, _, i64>("news", "\r\n\0").expect("a number"), 2);
    let (first, second) = (pubsub.get_message().expect("one"), pubsub.get_message().expect("another"));
    assert_eq!((first.get_payload_bytes(), first.from_pattern()), (&b"\r\n\0"[..], false));
    assert_eq!((second.get_channel_name(), second.from_pattern()), ("news", true));
    pubsub.unsubscribe("news").expect("an end");
    eventually("one is left", || say(&mut publisher, "CLIENT LIST").contains("sub=1 psub=1"));
    assert_eq!(publisher.publish::<_, _, i64>("b\r\n", "x").expect("a number"), 1);
    assert_eq!(pubsub.get_message().expect("one").get_channel_name(), "b\r\n");
    drop(pubsub);
    assert_eq!(publisher.publish::<_, _, i64>("news", "x").expect("a number"), 0);
    assert_eq!(say(&mut listener, "GET k"), "nil");

    // What a connection with subscriptions may do.
    let mut wire = Wire::connect(server.resp);
    wire.expect("SUBSCRIBE a", "[\"subscribe\" \"a\" :1]");
    wire.expect("PSUBSCRIBE a*", "[\"psubscribe\" \"a*\" :2]");
    wire.expect("PING", "[\"pong\" \"\"]");
    wire.expect("PING x", "[\"pong\" \"x\"]");
    assert_eq!(
        wire.call("GET k").to_string(),
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    publisher.publish::<_, _, i64>("abc", "x").expect("a number");
    wire.hears("[\"pmessage\" \"a*\" \"abc\" \"x\"]");
    wire.expect("UNSUBSCRIBE", "[\"unsubscribe\" \"a\" :1]");
    wire.expect("PUNSUBSCRIBE none", "[\"punsubscribe\" \"none\" :1]");
    wire.expect("PUNSUBSCRIBE", "[\"punsubscribe\" \"a*\" :0]");
    wire.expect("UNSUBSCRIBE", "[\"unsubscribe\" nil :0]");
    wire.expect("GET k", "nil");
}

#[test]
fn shard_channels_and_events_are_heard() {
    let server = Server::start();
    let (mut wire, mut other) = (Wire::connect(server.resp), Wire::connect(server.resp));
    wire.expect("SSUBSCRIBE a", "[\"ssubscribe\" \"a\" :1]");
    assert!(wire.call("GET k").to_string().starts_with("-ERR Can't execute 'get'"));
    other.expect("SPUBLISH a x", ":1");
    wire.hears("[\"smessage\" \"a\" \"x\"]");
    wire.expect("RESET", "+RESET");
    other.expect("SPUBLISH a x", ":0");
    other.expect("CONFIG SET notify-keyspace-events KEA", "+OK");
    wire.call("HELLO 3");
    wire.expect("PSUBSCRIBE __key*", ">[\"psubscribe\" \"__key*\" :1]");
    other.expect("SET k 1 PX 20", "+OK");
    for event in ["set", "expire", "expired"] {
        wire.hears(&format!(">[\"pmessage\" \"__key*\" \"__keyspace@0__:k\" \"{event}\"]"));
        wire.hears(&format!(">[\"pmessage\" \"__key*\" \"__keyevent@0__:{event}\" \"k\"]"));
    }
}

#[test]
fn pushes_come_beside_other_calls_in_resp3() {
    let server = Server::start();
    let mut connection = connect(&server, 0, Resp::Three);
    let (sender, pushes) = std::sync::mpsc::channel();
    connection.set_push_sender(sender);
    connection.subscribe_resp3("news").expect("a subscription");
    connection.psubscribe_resp3("n*").expect("a subscription");
    // Those two do not wait for their confirmations.
    assert_eq!(say(&mut connection, "PING"), "PONG");
    let mut publisher = connect(&server, 0, Resp::Three);
    for number in 0..200 {
        assert_eq!(publisher.publish::<_, _, i64>("news", number).expect("a number"), 2);
        assert_eq!(say(&mut connection, "INCR count"), (number + 1).to_string());
    }
    connection.unsubscribe_resp3("news").expect("an end");
    assert_eq!(say(&mut connection, "PING"), "PONG");
    let heard: Vec<redis::PushInfo> = pushes.try_iter().collect();
    let of = |kind: redis::PushKind| heard.iter().filter(|push| push.kind == kind).collect::<Vec<_>>();
    let numbers: Vec<String> = of(redis::PushKind::Message).iter().map(|push| show(&push.data[1])).collect();
    assert_eq!(numbers, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(of(redis::PushKind::PMessage).len(), 200);
    assert_eq!((of(redis::PushKind::Subscribe).len(), of(redis::PushKind::Unsubscribe).len()), (1, 1));
}

#[test]
fn blocking_pops_of_many_clients() {
    let server = Server::start();
    let server = &server;
    for (db, resp) in [(5, Resp::Two), (6, Resp::Three)] {
        const CLIENTS: usize = 5;
        const ELEMENTS: usize = 1000;
        let popped: Vec<usize> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn(move || {
                        let mut connection = connect(server, db, resp);
                        let keys = if client % 2 == 0 { vec!["queue"] } else { vec!["urgent", "queue"] };
                        let mut popped = Vec::new();
                        loop {
                            let (_, element): (String, String) = connection.blpop(&keys, 0.0).expect("an element");
                            if element == "end" {
                                return popped;
                            }
                            popped.push(element.parse::<usize>().expect("a number"));
                        }
                    })
                })
                .collect();
            let mut connection = connect(server, db, resp);
            for element in 0..ELEMENTS {
                let key = if element % 10 == 0 { "urgent" } else { "queue" };
                connection.rpush::<_, _, ()>(key, element).expect("room");
            }
            // Those on both keys take from the urgent one first: all of it, before they hear the end.
            eventually("the urgent ones are taken", || say(&mut connection, "EXISTS urgent queue") == "0");
            for _ in 0..CLIENTS {
                connection.rpush::<_, _, ()>("queue", "end").expect("room");
            }
            clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
        });
        assert_eq!(popped.len(), ELEMENTS);
        assert_eq!(popped.into_iter().collect::<BTreeSet<_>>(), (0..ELEMENTS).collect());
    }
}

#[test]
fn large_values_and_keys() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let value: Vec<u8> = (0..64_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let asked = Instant::now();
    wire.send(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n", value.len()).as_bytes());
    for piece in value.chunks(100_000) {
        wire.send(piece);
    }
    wire.send(b"\r\n");
    wire.hears("+OK");
    // A copy for each read would take minutes.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let wire::Value::Bytes(read) = wire.call("GET large") else { panic!("no bytes") };
    assert!(read == value);
    drop(read);
    wire.expect("COPY large copied", ":1");
    wire.expect("DEL large", ":1");

    let mut connection = connect(&server, 0, Resp::Two);
    let key = vec![b'k'; 1 << 20];
    let field = vec![b'f'; 1 << 20];
    connection.hset::<_, _, _, ()>(&key, &field, "v").expect("room");
    assert_eq!(connection.hget::<_, _, String>(&key, &field).expect("a value"), "v");
    connection.rename::<_, _, ()>(&key, "short").expect("a new name");
    connection.sadd::<_, _, ()>(&key, &field).expect("room");
    let (_, keys): (u64, Vec<Vec<u8>>) =
        cmd("SCAN").arg(0).arg("COUNT").arg(10_000).query(&mut connection).expect("keys");
    assert_eq!(keys.iter().filter(|found| **found == key).count(), 1);
    // Many words in one call.
    let elements: Vec<u32> = (0..200_000).collect();
    assert_eq!(connection.rpush::<_, _, usize>("many", &elements).expect("room"), elements.len());
    assert_eq!(connection.lrange::<_, Vec<u32>>("many", 0, -1).expect("elements"), elements);
}

#[test]
fn all_bytes_are_safe() {
    let server = Server::start();
    for (db, resp) in [(7, Resp::Two), (8, Resp::Three)] {
        let mut connection = connect(&server, db, resp);
        let all: Vec<u8> = (0..=255).collect();
        let words: [&[u8]; 8] =
            [b"", b"\r\n", b"\0", b"\n", b"$3\r\n", b"*1\r\n$4\r\nPING\r\n", &all, "h\u{e9}\u{1f980}".as_bytes()];
        for word in words {
            connection.set::<_, _, ()>(word, word).expect("room");
            assert_eq!(connection.get::<_, Vec<u8>>(word).expect("bytes"), word);
            connection.hset::<_, _, _, ()>("hash", word, word).expect("room");
            connection.rpush::<_, _, ()>("list", word).expect("room");
            connection.sadd::<_, _, ()>("set", word).expect("room");
            connection.zadd::<_, _, _, ()>("zset", word, 1).expect("room");
            assert_eq!(cmd("ECHO").arg(word).query::<Vec<u8>>(&mut connection).expect("bytes"), word);
        }
        let own: BTreeSet<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        let hash: BTreeMap<Vec<u8>, Vec<u8>> = connection.hgetall("hash").expect("a hash");
        assert!(hash.iter().all(|(field, value)| field == value) && hash.keys().eq(&own));
        assert_eq!(connection.lrange::<_, Vec<Vec<u8>>>("list", 0, -1).expect("a list"), words);
        assert_eq!(connection.smembers::<_, BTreeSet<Vec<u8>>>("set").expect("a set"), own);
        let sorted: Vec<Vec<u8>> = connection.zrange("zset", 0, -1).expect("a sorted set");
        assert!(sorted.iter().eq(&own));
        // An error that quotes them stays one line.
        let error = cmd("NO\r\nSUCH").arg(&all).query::<Value>(&mut connection).expect_err("an error");
        assert!(error.detail().is_some_and(|text| !text.contains('\n')), "{error}");
        assert_eq!(say(&mut connection, "PING"), "PONG");
    }
}

#[test]
fn a_scan_finds_everything_once() {
    let server = Server::start();
    let mut connection = connect(&server, 0, Resp::Two);
    const KEYS: usize = 100_000;
    let fill = |connection: &mut Connection, name: &str, count: usize| {
        for first in (0..count).step_by(1000) {
            let pairs: Vec<(String, usize)> =
                (first..first + 1000).map(|number| (format!("{name}:{number}"), number)).collect();
            connection.mset::<_, _, ()>(&pairs).expect("room");
        }
    };
    fill(&mut connection, "key", KEYS);
    let found: Vec<String> = cmd("SCAN")
        .cursor_arg(0)
        .arg("COUNT")
        .arg(500)
        .clone()
        .iter(&mut connection)
        .expect("keys")
        .map(|key| key.expect("a key"))
        .collect();
    assert_eq!(found.len(), KEYS);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), KEYS);
    assert_eq!(connection.scan_match::<_, String>("key:9999?").expect("keys").count(), 10);
    assert_eq!(
        cmd("SCAN")
            .cursor_arg(0)
            .arg("TYPE")
            .arg("hash")
            .clone()
            .iter::<String>(&mut connection)
            .expect("keys")
            .count(),
        0
    );
    // While the table grows and shrinks, what is there all the time is found.
    let (mut cursor, mut found, mut round) = (0_u64, HashSet::new(), 0);
    loop {
        let (next, keys): (u64, Vec<String>) =
            cmd("SCAN").arg(cursor).arg("COUNT").arg(2000).query(&mut connection).expect("keys");
        found.extend(keys);
        if next == 0 {
            break;
        }
        cursor = next;
        round += 1;
        if round % 5 == 0 {
            fill(&mut connection, &format!("more{round}"), 5000);
            let gone: Vec<String> = (0..2500).map(|number| format!("more{round}:{number}")).collect();
            connection.del::<_, ()>(&gone).expect("removed");
        }
    }
    assert!(round > 20);
    assert_eq!(found.iter().filter(|key| key.starts_with("key:")).count(), KEYS);
}

#[test]
fn a_monitor_sees_every_call() {
    let server = Server::with(&["--requirepass", "secret"]);
    let mut wire = Wire::connect(server.resp);
    let mut monitor = Wire::connect(server.resp);
    monitor.expect("MONITOR", "-NOAUTH Authentication required.");
    monitor.expect("AUTH secret", "+OK");
    monitor.expect("MONITOR", "+OK");
    wire.expect("AUTH secret", "+OK");
    wire.expect("CONFIG SET requirepass secret", "+OK");
    wire.expect("SELECT 3", "+OK");
    wire.call_bytes(&[b"SET", b"k", b"\"\\\r\n\t\x07\x08\0\xff "]);
    wire.send(&[call("MULTI"), call("INCR n"), call("EXEC")].concat());
    (0..3).for_each(|_| drop(wire.read()));
    let address = wire.stream.get_ref().local_addr().expect("an address");
    let mut lines = Vec::new();
    while !lines.last().is_some_and(|line: &String| line.contains("EXEC")) {
        lines.push(monitor.read().text());
    }
    let first = lines.remove(0);
    assert!(first.ends_with(&format!("[0 {address}] \"AUTH\" \"(redacted)\"")), "{first}");
    let (time, rest) = lines[0].split_once(' ').expect("a time");
    assert!(time.split_once('.').is_some_and(|(s, us)| s.len() == 10 && us.len() == 6), "{time}");
    assert_eq!(rest, format!("[0 {address}] \"SELECT\" \"3\""));
    assert!(
        lines[1].ends_with(&format!("[3 {address}] \"SET\" \"k\" \"\\\"\\\\\\r\\n\\t\\a\\b\\x00\\xff \"")),
        "{}",
        lines[1]
    );
    let names: Vec<&str> = lines[2..].iter().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(names, ["MULTI", "INCR", "EXEC"]);
    assert!(!lines.iter().any(|line| line.contains("secret")));
    // It ends with RESET, which logs out.
    monitor.expect("RESET", "+RESET");
    monitor.expect("GET k", "-NOAUTH Authentication required.");
    wire.expect("GET none", "nil");
    monitor.hears_nothing();
}

/// The field of a line of CLIENT LIST.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
}

#[test]
fn clients_are_listed() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.call("CLIENT SETNAME me");
    wire.call("SELECT 2");
    wire.call("CLIENT SETINFO LIB-VER 1.2.3");
    let own = wire.call("CLIENT INFO").text();
    let address = wire.stream.get_ref().local_addr().expect("an address").to_string();
    assert_eq!(own.lines().count(), 1);
    for (name, value) in [
        ("name", "me"),
        ("db", "2"),
        ("lib-ver", "1.2.3"),
        ("addr", &address),
        ("laddr", &server.resp.to_string()),
        ("flags", "N"),
        ("cmd", "client|info"),
        ("user", "default"),
        ("resp", "2"),
        ("multi", "-1"),
    ] {
        assert_eq!(field(&own, name), value, "{name} in {own}");
    }
    let mut others = [Wire::connect3(server.resp), Wire::connect(server.resp), Wire::connect(server.resp)];
    others[0].call("SUBSCRIBE a b");
    others[1].say("BLPOP none 0");
    others[2].send(&[call("WATCH x y"), call("MULTI"), call("GET a")].concat());
    (0..3).for_each(|_| drop(others[2].read()));
    eventually("all are seen", || wire.call("CLIENT LIST").text().contains("flags=b"));
    let list = wire.call("CLIENT LIST").text();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.is_sorted_by_key(|line| field(line, "id").parse::<u64>().expect("a number")));
    assert_eq!((field(lines[1], "flags"), field(lines[1], "sub"), field(lines[1], "resp")), ("P", "2", "3"));
    assert_eq!(field(lines[2], "flags"), "b");
    assert_eq!((field(lines[3], "flags"), field(lines[3], "multi"), field(lines[3], "watch")), ("x", "1", "2"));
    assert_eq!(wire.call("CLIENT LIST TYPE pubsub").text().lines().count(), 1);
    let ids = format!("CLIENT LIST ID {} {} 999", field(lines[0], "id"), field(lines[2], "id"));
    assert_eq!(wire.call(&ids).text().lines().count(), 2);
    drop(others);
    eventually("they are gone", || wire.call("CLIENT LIST").text().lines().count() == 1);
}

#[test]
fn clients_are_killed() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let mut victim = Wire::connect(server.resp);
    let id = victim.id();
    wire.expect(&format!("CLIENT KILL ID {id}"), ":1");
    assert!(victim.rest().is_empty());
    eventually("it is gone", || wire.call(&format!("CLIENT KILL ID {id}")).int() == 0);
    let mut victim = Wire::connect(server.resp);
    victim.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    let address = victim.stream.get_ref().local_addr().expect("an address");
    wire.expect(&format!("CLIENT KILL {address}"), "+OK");
    assert!(victim.rest().is_empty());
    wire.expect("CLIENT KILL 127.0.0.1:1", "-ERR No such client");
    wire.expect("CLIENT KILL ID 0", "-ERR client-id should be greater than 0");
    wire.expect("CLIENT KILL USER nobody", "-ERR No such user 'nobody'");
    wire.expect("CLIENT KILL TYPE pubsub", ":0");
    let mut paused = Wire::connect(server.resp);
    paused.expect("PING", "+PONG");
    wire.expect("CLIENT PAUSE 20000", "+OK");
    paused.say("GET k");
    wire.expect("CLIENT KILL TYPE normal", ":1");
    assert!(paused.rest().is_empty());
    wire.expect("CLIENT UNPAUSE", "+OK");
    // Oneself: the answer comes first.
    let own = wire.id();
    wire.expect(&format!("CLIENT KILL ID {own} SKIPME no"), ":1");
    assert!(wire.rest().is_empty());
}

#[test]
fn waits_are_ended_by_others() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let mut blocked = Wire::connect(server.resp);
    let id = blocked.id();
    wire.expect(&format!("CLIENT UNBLOCK {id}"), ":0");
    wire.expect("CLIENT UNBLOCK 999", ":0");
    for (words, unblock, answer) in [
        ("BLPOP k 0", "", "nil"),
        ("BLPOP k 0", " TIMEOUT", "nil"),
        ("BLMOVE k l LEFT LEFT 0", " ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        blocked.say(words);
        let unblock = format!("CLIENT UNBLOCK {id}{unblock}");
        eventually("it is unblocked", || wire.call(&unblock).int() == 1);
        blocked.hears(answer);
        blocked.expect("PING", "+PONG");
    }
    wire.expect("RPUSH k x", ":1");
    wire.expect("LRANGE k 0 -1", "[\"x\"]");
    // By time, as exactly as promised.
    let asked = Instant::now();
    blocked.expect("BLPOP none 0.15", "nil");
    assert!((Duration::from_millis(149)..Duration::from_secs(2)).contains(&asked.elapsed()), "{:?}", asked.elapsed());
}

#[test]
fn a_pause_holds_calls() {
    let server = Server::start();
    let (mut wire, mut other) = (Wire::connect(server.resp), Wire::connect(server.resp));
    wire.expect("CLIENT PAUSE x", "-ERR …");
    let asked = Instant::now();
    wire.expect("CLIENT PAUSE 150 WRITE", "+OK");
    other.expect("GET k", "nil");
    other.expect("SET k v", "+OK");
    assert!(asked.elapsed() >= Duration::from_millis(149));
    wire.expect("CLIENT PAUSE 20000", "+OK");
    other.send(&[call("GET k"), call("PING")].concat());
    other.hears_nothing();
    wire.expect("CLIENT UNPAUSE", "+OK");
    other.hears("\"v\"");
    other.hears("+PONG");
    // EXEC writes, if one of its calls does.
    other.expect("MULTI", "+OK");
    other.expect("SET k w", "+QUEUED");
    wire.expect("CLIENT PAUSE 20000 WRITE", "+OK");
    other.say("EXEC");
    other.hears_nothing();
    wire.expect("GET k", "\"v\"");
    wire.expect("CLIENT UNPAUSE", "+OK");
    other.hears("[+OK]");
}

#[test]
fn answers_can_be_left_out() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.send(&[call("CLIENT REPLY SKIP"), call("SET a 1"), call("GET a")].concat());
    wire.hears("\"1\"");
    // What says that all are answered is the first.
    wire.send(&[call("CLIENT REPLY SKIP"), call("CLIENT REPLY ON"), call("GET a")].concat());
    wire.hears("+OK");
    wire.hears("\"1\"");
    wire.send(&[call("CLIENT REPLY SKIP"), call("RESET"), call("GET a")].concat());
    wire.hears("\"1\"");
    wire.send(
        &[call("CLIENT REPLY OFF"), call("SET a 2"), call("NO such"), call("FLUSHALL"), call("SET b 2")].concat(),
    );
    wire.send(&[call("CLIENT REPLY SKIP"), call("CLIENT REPLY ON"), call("GET b")].concat());
    wire.hears("+OK");
    wire.hears("\"2\"");
    // Confirmations are messages.
    for (mut listener, resp) in [(Wire::connect(server.resp), 2), (Wire::connect3(server.resp), 3)] {
        listener
            .send(&[call("CLIENT REPLY OFF"), call("SUBSCRIBE c"), call("PSUBSCRIBE"), call("PSUBSCRIBE d*")].concat());
        for expected in ["[\"subscribe\" \"c\" :1]", "[\"psubscribe\" \"d*\" :2]"] {
            let heard = listener.read();
            assert!(heard.to_string().ends_with(expected), "RESP{resp}: {heard}");
        }
        listener.say("UNSUBSCRIBE c");
        listener.say("PUNSUBSCRIBE");
        assert_eq!(listener.read().items()[0].text(), "unsubscribe");
        assert_eq!(listener.read().items()[0].text(), "punsubscribe");
    }
    // Calls that wait, too.
    let mut other = Wire::connect(server.resp);
    wire.send(&[call("CLIENT REPLY SKIP"), call("BLPOP list 0"), call("ECHO 1")].concat());
    wire.send(&[call("CLIENT REPLY SKIP"), call("BLPOP none 0.01"), call("ECHO 2")].concat());
    wire.send(&[call("CLIENT REPLY OFF"), call("BLPOP list 0"), call("CLIENT REPLY ON")].concat());
    for _ in 0..2 {
        eventually("it waits", || other.call("CLIENT LIST").text().contains("flags=b"));
        other.expect("RPUSH list x", ":1");
        eventually("it is served", || other.call("EXISTS list").int() == 0);
    }
    wire.hears("\"1\"");
    wire.hears("\"2\"");
    wire.hears("+OK");
}

#[test]
fn quit_and_reset() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    wire.send(&[call("SET k v"), call("QUIT"), call("SET k w")].concat());
    assert_eq!(wire.rest(), b"+OK\r\n+OK\r\n");
    let mut wire = Wire::connect3(server.resp);
    wire.expect("GET k", "\"v\"");
    for words in ["CLIENT SETNAME me", "SELECT 3", "WATCH k", "MULTI", "SET k x"] {
        wire.call(words);
    }
    wire.expect("RESET", "+RESET");
    wire.expect("HGETALL none", "[]");
    wire.expect("GET k", "\"v\"");
    wire.expect("EXEC", "-ERR EXEC without MULTI");
    wire.expect("CLIENT GETNAME", "nil");
    wire.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    wire.expect("RESET", "+RESET");
    let mut other = Wire::connect(server.resp);
    other.expect("PUBLISH c x", ":0");
    wire.expect("MULTI", "+OK");
    wire.send(&call("QUIT"));
    assert_eq!(wire.rest(), b"+OK\r\n");
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::with(&["--requirepass", "secret"]);
    let mut wire = Wire::connect(server.resp);
    for words in ["GET k", "SET k v", "PING", "SUBSCRIBE c", "MULTI", "CLIENT LIST", "SHUTDOWN", "COMMAND"] {
        wire.expect(words, "-NOAUTH Authentication required.");
    }
    wire.expect("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.");
    wire.expect("AUTH nobody secret", "-WRONGPASS invalid username-password pair or user is disabled.");
    assert!(wire.call("HELLO 3").to_string().starts_with("-NOAUTH HELLO must be called with the client already auth"));
    wire.expect("AUTH secret", "+OK");
    wire.expect("SET k v", "+OK");
    wire.expect("AUTH default secret", "+OK");
    // Who has not logged in may send little.
    for (bytes, error) in [
        ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length"),
        ("*2\r\n$3\r\nGET\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut stranger = Wire::connect(server.resp);
        stranger.send(bytes.as_bytes());
        stranger.hears(error);
        assert!(stranger.rest().is_empty());
    }
    // The login counts for what comes in the same write.
    let mut quick = Wire::connect(server.resp);
    let large = vec![b'x'; 50_000];
    let mset: Vec<Vec<u8>> = (0..21).map(|number| format!("MSET{number}").into_bytes()).collect();
    let mut mset: Vec<&[u8]> = mset.iter().map(Vec::as_slice).collect();
    mset[0] = b"MSET";
    quick.send(&[call("AUTH secret"), encode(&[b"SET", b"large", &large]), encode(&mset)].concat());
    (0..3).for_each(|_| quick.hears("+OK"));
    // With the library, which logs in by HELLO or AUTH.
    for protocol in ["", "?protocol=resp3"] {
        let client = redis::Client::open(format!("redis://:secret@{}/0{protocol}", server.resp)).expect("an address");
        let mut connection = client.get_connection().expect("a login");
        assert_eq!(say(&mut connection, "GET k"), "v");
        let client = redis::Client::open(format!("redis://:wrong@{}/0{protocol}", server.resp)).expect("an address");
        assert!(client.get_connection().is_err());
    }
    // Taken away, and asked for again.
    wire.call_bytes(&[b"CONFIG", b"SET", b"requirepass", b""]);
    Wire::connect(server.resp).expect("PING", "+PONG");
    wire.expect("CONFIG SET requirepass other", "+OK");
    Wire::connect(server.resp).expect("PING", "-NOAUTH Authentication required.");
    Wire::connect(server.resp).expect("AUTH other", "+OK");
}

#[test]
fn databases_are_apart() {
    let server = Server::with(&["--databases", "4"]);
    let mut wire = Wire::connect(server.resp);
    for db in 0..4 {
        wire.expect(&format!("SELECT {db}"), "+OK");
        wire.expect(&format!("SET k {db}"), "+OK");
    }
    wire.expect("SELECT 4", "-ERR DB index is out of range");
    wire.expect("SWAPDB 0 3", "+OK");
    wire.expect("GET k", "\"0\"");
    wire.expect("COPY k k DB 1 REPLACE", ":1");
    wire.expect("SELECT 1", "+OK");
    wire.expect("GET k", "\"0\"");
    // A wait belongs to its database.
    let mut blocked = Wire::connect(server.resp);
    blocked.call("SELECT 2");
    blocked.say("BLPOP list 0");
    eventually("it waits", || wire.call("CLIENT LIST").text().contains("flags=b"));
    wire.expect("RPUSH list one", ":1");
    wire.expect("SWAPDB 1 2", "+OK");
    blocked.hears("[\"list\" \"one\"]");
    wire.expect("FLUSHDB", "+OK");
    wire.expect("DBSIZE", ":0");
    wire.expect("SELECT 0", "+OK");
    wire.expect("GET k", "\"3\"");
}

#[test]
fn clients_are_limited() {
    let server = Server::with(&["--maxclients", "3"]);
    let mut wires: Vec<Wire> = (0..3).map(|_| Wire::connect(server.resp)).collect();
    wires.iter_mut().for_each(|wire| wire.expect("PING", "+PONG"));
    for _ in 0..5 {
        let mut refused = Wire::connect(server.resp);
        refused.hears("-ERR max number of clients reached");
        assert!(refused.rest().is_empty());
    }
    wires[0].expect("CONFIG SET maxclients 4", "+OK");
    Wire::connect(server.resp).expect("PING", "+PONG");
    wires.truncate(2);
    wires[0].expect("CONFIG SET maxclients 3", "+OK");
    eventually("there is room", || wires[0].call("CLIENT LIST").text().lines().count() == 2);
    Wire::connect(server.resp).expect("PING", "+PONG");
}

#[test]
fn settings_are_got_and_set() {
    let server = Server::with(&["--hash-max-listpack-entries", "4", "--slowlog-max-len", "7"]);
    let mut wire = Wire::connect(server.resp);
    wire.expect("CONFIG GET slowlog-max-len", "[\"slowlog-max-len\" \"7\"]");
    let port = format!("[\"port\" \"{}\"]", server.port());
    wire.expect("CONFIG GET PORT", &port);
    let pairs = wire.call("CONFIG GET *max-listpack* port").items().len();
    assert!(pairs > 10 && pairs.is_multiple_of(2));
    wire.expect("CONFIG GET hash-max-ziplist-entries", "[\"hash-max-ziplist-entries\" \"4\"]");
    wire.expect("CONFIG SET hash-max-ziplist-entries 2 proto-max-bulk-len 1mb", "+OK");
    wire.expect("CONFIG GET hash-max-listpack-entries", "[\"hash-max-listpack-entries\" \"2\"]");
    wire.expect("CONFIG GET proto-max-bulk-len", "[\"proto-max-bulk-len\" \"1048576\"]");
    wire.expect("HSET h a 1 b 2", ":2");
    wire.expect("OBJECT ENCODING h", "\"listpack\"");
    wire.expect("HSET h c 3", ":1");
    wire.expect("OBJECT ENCODING h", "\"hashtable\"");
    let mut other = Wire::connect(server.resp);
    other.send(b"*2\r\n$3\r\nGET\r\n$1048577\r\n");
    other.hears("-ERR Protocol error: invalid bulk length");
    // All or nothing.
    for (words, error) in [
        ("CONFIG SET timeout 5 maxclients x", "argument couldn't be parsed into an integer"),
        ("CONFIG SET timeout 5 databases 1", "can't set immutable config"),
        ("CONFIG SET timeout 5 timeout 6", "duplicate parameter"),
        ("CONFIG SET timeout 5 no-such 6", "Unknown option or number of arguments for CONFIG SET - 'no-such'"),
        ("CONFIG SET timeout", "wrong number of arguments for 'config|set' command"),
    ] {
        let answer = wire.call(words).to_string();
        assert!(answer.starts_with("-ERR ") && answer.contains(error), "{words}: {answer}");
    }
    wire.expect("CONFIG GET timeout", "[\"timeout\" \"0\"]");
}

#[test]
fn silent_clients_are_closed() {
    let server = Server::with(&["--timeout", "1"]);
    let late = Server::start();
    let mut connected = Wire::connect(late.resp);
    let mut set = Wire::connect(late.resp);
    connected.expect("PING", "+PONG");
    set.expect("CONFIG SET timeout 1", "+OK");

    let mut idle = Wire::connect(server.resp);
    let mut never = Wire::connect(server.resp);
    let mut half = Wire::connect(server.resp);
    let mut listener = Wire::connect(server.resp);
    let mut blocked = Wire::connect(server.resp);
    let mut active = Wire::connect(server.resp);
    let start = Instant::now();
    idle.expect("PING", "+PONG");
    half.send(b"*2\r\n$3\r\nGET");
    listener.expect("SUBSCRIBE c", "[\"subscribe\" \"c\" :1]");
    blocked.say("BLPOP list 0");
    while start.elapsed() < Duration::from_millis(2600) {
        active.expect("PING", "+PONG");
        set.expect("PING", "+PONG");
        if start.elapsed() < Duration::from_millis(900) {
            assert!(active.call("CLIENT LIST").text().lines().count() == 6, "closed too early");
        }
        thread::sleep(Duration::from_millis(100));
    }
    for closed in [&mut idle, &mut never, &mut half, &mut connected] {
        assert!(closed.rest().is_empty());
    }
    assert_eq!(active.call("CLIENT LIST").text().lines().count(), 3);
    active.expect("PUBLISH c x", ":1");
    active.expect("RPUSH list x", ":1");
    listener.hears("[\"message\" \"c\" \"x\"]");
    blocked.hears("[\"list\" \"x\"]");
    blocked.expect("PING", "+PONG");
}

#[test]
fn lines_are_calls() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    for (line, answer) in [
        ("PING", "+PONG"),
        ("  set\tk   \"a b\"  ", "+OK"),
        ("get k", "\"a b\""),
        (r#"SET "a \"key\"" '\'single\''"#, "+OK"),
        (r#"GET "a \"key\"""#, r#""\'single\'""#),
        (r#"ECHO "\x41\n\\\q""#, r#""A\n\\q""#),
        ("ECHO ''", "\"\""),
        ("NO", "-ERR unknown command 'NO', with args beginning with: "),
    ] {
        wire.send(format!("{line}\r\n").as_bytes());
        wire.hears(answer);
    }
    wire.send(b"PING\n*1\r\n$4\r\nPING\r\nPING\r\n");
    (0..3).for_each(|_| wire.hears("+PONG"));
}

#[test]
fn lines_with_quotes_survive_a_wait() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let set = br#"SET "a key" "a \"value\" \x41"
"#;
    // FLUSHALL and SORT ... GET run alone, BLPOP waits: what stands behind them is looked at again.
    let lines: Vec<u8> = [
        set,
        &b"FLUSHALL\r\n"[..],
        set,
        b"BLPOP none 0.01\r\n",
        set,
        b"RPUSH \"a list\" 1\r\nSORT \"a list\" BY nosort GET \"a 'key\" GET #\r\nGET \"a key\"\r\n",
        b"CLIENT PAUSE 30 WRITE\r\nSET \"a key\" 'b \"c'\r\nGET \"a key\"\r\nKEYS \"unbalanced \\\"x\r\n",
    ]
    .concat();
    wire.send(&lines);
    for answer in
        ["+OK", "+OK", "+OK", "nil", "+OK", ":1", "[nil \"1\"]", "\"a \\\"value\\\" A\"", "+OK", "+OK", "\"b \\\"c\""]
    {
        wire.hears(answer);
    }
    wire.hears("-ERR Protocol error: unbalanced quotes in request");
    assert!(wire.rest().is_empty());
}

/// Connections in every state that a shutdown may find.
fn crowd(server: &Server) -> Vec<Wire> {
    let mut first = Wire::connect(server.resp);
    first.call_bytes(&[b"SET", b"large", &vec![b'x'; 4 << 20]]);
    let mut crowd = vec![first];
    for bytes in [
        call("PING"),
        call("BLPOP a b c 0"),
        call("BLMOVE a b LEFT LEFT 100"),
        call("SUBSCRIBE c"),
        call("MONITOR"),
        [call("WATCH k"), call("MULTI"), call("SET k v")].concat(),
        b"*2\r\n$3\r\nGET".to_vec(),
        call("DEBUG SLEEP 100"),
        call("GET large").repeat(20),
    ] {
        let mut wire = Wire::connect(server.resp);
        wire.send(&bytes);
        crowd.push(wire);
    }
    // The other door: half a request, and a call that waits.
    for request in [
        "GET /api/v1/str",
        "POST /api/v1/list/blpop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 26\r\n\r\n{\"keys\":[\"a\"],\"timeout\":0}",
    ] {
        let mut wire = Wire::connect(server.http);
        wire.send(request.as_bytes());
        crowd.push(wire);
    }
    eventually("all are in", || {
        let list = crowd[0].call("CLIENT LIST").text();
        list.lines().count() >= 11 && list.matches("flags=b").count() == 3
    });
    crowd
}

#[test]
fn a_shutdown_is_prompt() {
    for words in ["SHUTDOWN", "SHUTDOWN NOSAVE NOW", "SIGTERM"] {
        let server = Server::start();
        let mut crowd = crowd(&server);
        crowd[0].expect("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
        crowd[0].expect("SHUTDOWN NO", "-ERR syntax error");
        crowd[0].expect("CLIENT PAUSE 100000 WRITE", "+OK");
        let mut paused = Wire::connect(server.resp);
        paused.say("SET k v");
        match words {
            "SIGTERM" => server.terminate(),
            words => crowd[0].say(words),
        }
        assert!(server.ends_well_within(Duration::from_secs(4)), "{words}");
        assert!(crowd[0].rest().is_empty(), "{words} is not answered");
        crowd[1].hears("+PONG");
        crowd.iter_mut().skip(1).for_each(|wire| drop(wire.rest()));
    }
    // With nobody there, and before anybody could come.
    for _ in 0..5 {
        let server = Server::start();
        server.terminate();
        assert!(server.ends_well_within(Duration::from_secs(2)));
    }
}

#[test]
fn what_was_answered_before_a_shutdown_arrives() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let _ = wire.stream.get_mut().write_all(&[call("INCR n").repeat(1000), call("SHUTDOWN")].concat());
    for number in 1..=1000 {
        assert_eq!(wire.read().int(), number);
    }
    assert!(wire.rest().is_empty());
    assert!(server.wait());
}

#[test]
fn a_reply_on_its_way_arrives_before_the_end() {
    let server = Server::start();
    let mut wire = Wire::connect(server.resp);
    let value = vec![b'x'; 16 << 20];
    wire.call_bytes(&[b"SET", b"large", &value]);
    let mut readers: Vec<Wire> = (0..3).map(|_| Wire::connect(server.resp)).collect();
    for reader in &mut readers {
        reader.say("GET large");
        // It has begun, and waits for the reader.
        std::io::BufRead::fill_buf(&mut reader.stream).expect("its beginning");
    }
    server.terminate();
    for reader in &mut readers {
        assert!(matches!(reader.read(), wire::Value::Bytes(read) if read == value));
        assert!(reader.rest().is_empty());
    }
    assert!(server.wait());
}

#[test]
fn a_start_that_cannot_succeed_says_why() {
    let server = Server::start();
    for (flags, why) in [
        (vec!["--port".to_string(), server.port()], "cannot be listened on"),
        (vec!["--port".to_string(), "70000".to_string()], "argument must be between 0 and 65535 inclusive"),
        (["--port", "1", "--bind", "nowhere"].map(String::from).into(), "is not an IP address"),
        (vec!["--no-such".to_string(), "1".to_string()], "--no-such"),
        (vec!["--dir".to_string(), "/proc/no/such".to_string()], "cannot be used"),
    ] {
        let said = Server::refuses(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains(why), "{flags:?}: {said}");
    }
    Wire::connect(server.resp).expect("PING", "+PONG");
}

/// What a client sends behind a call that waits is kept and answered, up to a limit; beyond it the client is ended.
#[test]
fn a_client_that_waits_may_send_ahead() {
    let server = Server::with(&["--client-query-buffer-limit", "8mb"]);
    let set = encode(&[b"SET", b"large", &vec![b'x'; 3 << 20]]);
    let mut other = Wire::connect(server.resp);
    for wait in ["BLPOP list 0", "CLIENT PAUSE"] {
        let mut ahead = Wire::connect(server.resp);
        let mut greedy = Wire::connect(server.resp);
        let ids = [ahead.id(), greedy.id()];
        if wait == "CLIENT PAUSE" {
            other.expect("CLIENT PAUSE 60000 WRITE", "+OK");
        } else {
            ahead.say(wait);
            greedy.say(wait);
        }
        ahead.send(&[set.clone(), call("EXISTS large")].concat());
        // What the system holds on the way does not count, so it is more than twice the limit.
        let sent = (0..8).take_while(|_| greedy.stream.get_mut().write_all(&set).is_ok()).count();
        assert!(sent < 8 || greedy.try_read().is_err(), "24 MB were taken from a client that may send 8 MB");
        let is_there = |other: &mut Wire, id: i64| other.call("CLIENT LIST").text().contains(&format!("id={id} "));
        eventually("the greedy one is gone", || !is_there(&mut other, ids[1]));
        assert!(is_there(&mut other, ids[0]));
        if wait == "CLIENT PAUSE" {
            other.expect("CLIENT UNPAUSE", "+OK");
        } else {
            other.expect("RPUSH list a", ":1");
            ahead.hears("[\"list\" \"a\"]");
        }
        ahead.hears("+OK");
        ahead.hears(":1");
    }
}

#[test]
fn calls_of_a_transaction_are_counted() {
    let server = Server::start();
    let mut client = connect(&server, 0, Resp::Two);
    for words in ["MULTI", "SET a 1", "SET b 2", "EXEC"] {
        say(&mut client, words);
    }
    let info = say(&mut client, "INFO commandstats");
    for counted in ["cmdstat_set:calls=2,", "cmdstat_exec:calls=1,", "cmdstat_multi:calls=1,"] {
        assert!(info.contains(counted), "{counted} is not in {info}");
    }
}
