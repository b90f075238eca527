//! The same calls here and in a real server: the same replies, byte for byte where bytes are determined, and the same
//! data in the end.
//!
//! Every `redis-server` and `valkey-server` on the PATH is started for it, on a free port and without a data folder of
//! its own; without one the test says so and passes. The calls are generated from our grammar, some of them spoilt, so
//! that errors are compared too. A failure shows the seed and the calls that led there.

mod servers;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use servers::{Connection, Server, Words, show};
use synap_core::command::table;
use synap_core::engine::{Engine, Options};
use synap_core::execute::Command;
use synap_core::execute::state::Rows as _;
use synap_core::grammar::generate::{self, Choices};
use synap_core::grammar::{Keys, Parser};
use synap_core::session::{Door, Session};
use synap_core::testing::{LONGEST_STRING, SOME_DATA, limit_strings, numbers, run_at_once, split, vocabulary_of};
use synap_protocols::resp::value::ValueLimits;
use synap_protocols::resp::{RespWriter, Value};

/// Sequences against each server, and calls of each.
const SEQUENCES: u64 = 120;
const CALLS: u64 = 150;

/// Left out: what chance or the order of a table answers (SPOP, SCAN), and what came later than the servers.
const COMPARED: &str = "GET SET SET SET SETNX SETEX PSETEX GETSET GETDEL GETEX MSET MSETNX MGET INCR INCRBY DECR DECRBY INCRBYFLOAT \
    INCRBYFLOAT APPEND APPEND STRLEN GETRANGE SUBSTR SETRANGE LCS SETBIT SETBIT GETBIT BITCOUNT BITPOS BITOP BITOP \
    BITFIELD BITFIELD BITFIELD_RO DEL UNLINK EXISTS TOUCH TYPE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME \
    PEXPIRETIME PERSIST RENAME RENAMENX COPY MOVE KEYS SORT_RO SELECT SWAPDB FLUSHDB ECHO PING LPUSH RPUSH RPUSH \
    RPUSH LPOP RPOP LRANGE LRANGE LMOVE BLMOVE BLPOP SADD SADD SADD SREM SMEMBERS SINTER SINTER HSET HSET HSET HGET \
    HGETALL HDEL ZADD ZADD ZADD ZRANGE ZRANGE ZRANGE ZRANGE ZRANK SORT SORT SORT MULTI EXEC EXEC DISCARD WATCH \
    UNWATCH PUBLISH OBJECT|ENCODING OBJECT|ENCODING COMMAND|GETKEYS LPUSHX RPUSHX LMPOP LLEN LINDEX LPOS LPOS LSET \
    LINSERT LREM LTRIM RPOPLPUSH BRPOP BLMPOP BRPOPLPUSH SMOVE SCARD SISMEMBER SMISMEMBER SINTERSTORE SINTERCARD \
    SUNION SUNIONSTORE SDIFF SDIFFSTORE HMSET HSETNX HMGET HEXISTS HLEN HSTRLEN HKEYS HVALS HINCRBY HINCRBYFLOAT \
    HINCRBYFLOAT ZREVRANK ZINCRBY ZREM ZCARD ZSCORE ZMSCORE ZRANGESTORE ZRANGEBYSCORE ZRANGEBYLEX ZREVRANGE \
    ZREVRANGEBYSCORE ZREVRANGEBYLEX ZCOUNT ZLEXCOUNT ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX ZPOPMIN ZPOPMAX \
    ZMPOP BZPOPMIN BZPOPMAX BZMPOP ZUNION ZINTER ZDIFF ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZINTERCARD PFADD PFADD \
    PFADD PFCOUNT PFCOUNT PFMERGE PFDEBUG GEOADD GEOADD GEOPOS GEOHASH GEODIST GEOSEARCH GEOSEARCH GEOSEARCHSTORE \
    GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO";

#[test]
fn replies_and_data_are_those_of_a_real_server() {
    let mut found = false;
    for program in ["valkey-server", "redis-server"] {
        let Some(server) = Server::start(program, &std::env::temp_dir(), &["--proto-max-bulk-len", LONGEST_STRING])
        else {
            println!("skipped: there is no {program} on the PATH");
            continue;
        };
        found = true;
        println!("compared with {program} {:?}", server.version);
        let sentences: BTreeSet<String> = (0..SEQUENCES).flat_map(|seed| compare(&server, seed)).collect();
        assert!(sentences.is_empty(), "{}", sentences.into_iter().collect::<Vec<_>>().join("\n"));
    }
    if !found {
        println!("nothing was compared");
    }
}

/// The programs that are on the PATH, each started.
fn servers() -> Vec<Server> {
    let folder = std::env::temp_dir();
    let start = |program| Server::start(program, &folder, &["--proto-max-bulk-len", LONGEST_STRING]);
    ["valkey-server", "redis-server"].into_iter().filter_map(start).collect()
}

/// Runs a call in both.
fn same(theirs: &mut Connection, ours: &mut Ours, line: &str) -> Value {
    let words = split(line);
    let (expected, got) = (theirs.call(&words), ours.call(&words));
    assert_eq!(expected, got, "{line}: theirs (left) and ours (right)");
    got
}

/// Byte for byte, as they grow from sparse to dense and are merged: then a dump moves both ways.
#[test]
fn hyperloglogs_are_those_of_a_real_server() {
    for server in servers() {
        for (seed, size_max) in [(1, 3000), (2, 500), (3, 0), (4, 15_000)] {
            let (mut theirs, mut ours) = (Connection::open(server.port), Ours::open(seed, false));
            theirs.call(&split("FLUSHALL"));
            same(&mut theirs, &mut ours, &format!("CONFIG SET hll-sparse-max-bytes {size_max}"));
            for round in 0..60 {
                let words: Vec<String> = numbers(seed * 1000 + round, 1 + (round as usize % 7) * 60)
                    .iter()
                    .map(|number| number.to_string().repeat(1 + *number as usize % 4))
                    .collect();
                let key = ["a", "b", "c"][round as usize % 3];
                let mut call = |line: &str| same(&mut theirs, &mut ours, line);
                call(&format!("PFADD {key} {}", words.join(" ")));
                call(&format!("GET {key}"));
                if round % 4 == 0 {
                    call(&format!("PFCOUNT {key}"));
                    call(&format!("PFCOUNT {key}"));
                    call("PFCOUNT a b c none");
                    call(&format!("PFMERGE merged {key}"));
                    call("GET merged");
                    call(&format!("GET {key}"));
                    call(&format!("PFDEBUG ENCODING {key}"));
                }
                if round % 20 == 19 {
                    call("PFMERGE all a b c");
                    call("GET all");
                    call("PFDEBUG DECODE merged");
                    call("PFDEBUG GETREG all");
                    call("OBJECT ENCODING all");
                }
            }
            same(&mut theirs, &mut ours, "CONFIG SET hll-sparse-max-bytes 3000");
        }
    }
}

/// Searches of all sizes around points everywhere.
#[test]
fn places_are_found_as_in_a_real_server() {
    for server in servers() {
        let (mut theirs, mut ours) = (Connection::open(server.port), Ours::open(1, false));
        theirs.call(&split("FLUSHALL"));
        let random: Vec<f64> = numbers(7, 4000).iter().map(|number| f64::from(*number) / f64::from(u32::MAX)).collect();
        let mut random = random.into_iter().cycle();
        let mut between = |low: f64, high: f64| low + (high - low) * random.next().expect("it goes on");
        // Half of them near each other, some at the edges.
        for index in 0..600 {
            let (longitude, latitude) = match index % 8 {
                0 => ([-180.0, 180.0][index / 8 % 2], between(-85.0, 85.0)),
                1 => (between(-180.0, 180.0), [-85.05112878, 85.05112878][index / 8 % 2]),
                2 | 3 => (between(-180.0, 180.0), between(-85.0, 85.0)),
                _ => (13.0 + between(-1.0, 1.0), 38.0 + between(-1.0, 1.0)),
            };
            same(&mut theirs, &mut ours, &format!("GEOADD places {longitude} {latitude} p{index}"));
        }
        same(&mut theirs, &mut ours, "ZRANGE places 0 -1 WITHSCORES");
        for index in 0..400 {
            let member = format!("p{}", between(0.0, 600.0) as u32);
            let center = match index % 3 {
                0 => format!("FROMMEMBER {member}"),
                1 => format!("FROMLONLAT {} {}", between(-180.0, 180.0), between(-85.0, 85.0)),
                _ => format!("FROMLONLAT {} {}", 13.0 + between(-1.0, 1.0), 38.0 + between(-1.0, 1.0)),
            };
            let size = between(0.0, 17.0).exp() - 1.0;
            let shape = match index % 2 {
                0 => format!("BYRADIUS {size} M"),
                _ => format!("BYBOX {size} {} M", size * between(0.1, 3.0)),
            };
            let line = format!("GEOSEARCH places {center} {shape} WITHDIST WITHCOORD WITHHASH");
            // Without a wish for an order it is that of the grid.
            same(&mut theirs, &mut ours, &line);
            same(&mut theirs, &mut ours, &format!("GEOSEARCH places {center} {shape} COUNT 5 ANY"));
            same(&mut theirs, &mut ours, &format!("GEOSEARCHSTORE near places {center} {shape} STOREDIST"));
            same(&mut theirs, &mut ours, &format!("GEODIST places p1 {member} KM"));
            same(&mut theirs, &mut ours, &format!("GEOHASH places {member}"));
        }
    }
}

/// Runs one sequence in both and returns where both refuse a call, but not in the same words. Odd seeds speak RESP3.
fn compare(server: &Server, seed: u64) -> Vec<String> {
    let resp3 = seed % 2 == 1;
    let mut theirs = Connection::open(server.port);
    let mut ours = Ours::open(seed, resp3);
    if resp3 {
        theirs.call(&split("HELLO 3"));
    }
    theirs.call(&split("FLUSHALL"));
    for line in SOME_DATA.iter().filter(|line| !line.starts_with("HPEXPIREAT")) {
        assert_eq!(theirs.call(&split(line)), ours.call(&split(line)), "{line}");
    }
    let rows: Vec<&Command> = COMPARED.split(' ').filter(|name| !name.is_empty()).map(row).collect();
    let mut history = String::new();
    let mut sentences = Vec::new();
    for index in 0..CALLS {
        let numbers = numbers(seed * 1_000_003 + index, 200);
        let mut choices = Choices::new(&numbers);
        let row = rows[choices.below(rows.len() as u32) as usize];
        let spoil = choices.below(6) == 0 && !row.name.starts_with('B');
        let (spoil_at, spoil_how) = (choices.below(1000) as usize, choices.below(5));
        let given = generate::arguments(row.args, &mut Choices::within(&numbers[8..], vocabulary_of(row.group)));
        let mut words: Words = row.name.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        words.extend(generate::words(row.args, &given));
        // Of two mistakes in one call either may be told: only what is wrong once must be told in the same words.
        let looks_first = ["GEO", "ZUNION", "ZINTER", "ZDIFF"].iter().any(|name| row.name.starts_with(name));
        let is_told_twice = looks_first || matches!(row.name, "ZADD" | "COPY" | "LCS");
        let is_good = is_good(row, &words, &ours.engine);
        let is_wrong_once = if spoil { spoil_how < 2 && !is_told_twice && is_good } else { !looks_first || is_good };
        if spoil {
            self::spoil(&mut words, row.name_words(), spoil_at, spoil_how);
        }
        settle(&mut words);
        if is_undetermined(&words, server, &mut ours) {
            continue;
        }
        let _ = writeln!(history, "{}", show(&words));
        let (expected, got) = (theirs.call(&words), ours.call(&words));
        let (expected, got) = (normal(&words, expected), normal(&words, got));
        if let (Value::Error(expected), Value::Error(got)) = (&expected, &got)
            && expected != got
        {
            if !is_wrong_once {
                continue;
            }
            sentences.push(format!("{}: {expected:?}, ours {got:?}", show(&words)));
            continue;
        }
        if let (Value::Array(expected), Value::Array(got)) = (&expected, &got)
            && words[0] == b"EXEC"
            && expected.len() == got.len()
        {
            for (expected, got) in expected.iter().zip(got) {
                let both_refuse = expected.is_error() && got.is_error();
                if !both_refuse
                    && expected != got
                    && !is_about_time(expected, got)
                    && !is_left_from_sorting(expected, got)
                    && letters(expected) != letters(got)
                {
                    panic!("seed {seed}, after\n{history}\ntheirs: {expected:?}\nours:   {got:?}");
                }
            }
            continue;
        }
        if !agree(&words, &expected, &got, server) {
            let sentences = sentences.join("\n");
            panic!("seed {seed}, after\n{history}\ntheirs: {expected:?}\nours:   {got:?}\nand before:\n{sentences}");
        }
    }
    for side in [&mut theirs as &mut dyn Side, &mut ours] {
        side.call(&split("DISCARD"));
    }
    let (expected, got) = (data(&mut theirs), data(&mut ours));
    assert_eq!(expected, got, "seed {seed}: their data (left) and ours (right) after\n{history}");
    sentences
}

fn row(name: &str) -> &'static Command {
    let name = name.replace('|', " ");
    table().all().iter().find(|row| row.name == name).expect("a row")
}

/// True when our grammar has nothing against the call.
fn is_good(row: &Command, words: &[Vec<u8>], engine: &Engine) -> bool {
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut keys = Keys::default();
    (row.run.plan)(&mut Parser::new(&slices, row.name_words(), engine.state().hasher, &mut keys)).is_ok()
}

/// Makes a call that is probably wrong: a word lost, doubled, exchanged or replaced.
fn spoil(words: &mut Words, first: usize, at: usize, how: u32) {
    if words.len() <= first {
        return words.push(b"extra".to_vec());
    }
    let at = first + at % (words.len() - first);
    match how {
        0 => words.truncate(at),
        1 => words.push(b"extra".to_vec()),
        2 => {
            words.remove(at);
        }
        3 => words.insert(at, words[at].clone()),
        _ => words[at] = b"nonsense".to_vec(),
    }
}

/// Moves deadlines that may come during the test far away, and ends waits at once.
fn settle(words: &mut Words) {
    let later = |word: &mut Vec<u8>, by: i64| {
        let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
        if let Some(number) = number.filter(|number| (1..10_000_000_000_000).contains(number)) {
            *word = (number + by).to_string().into_bytes();
        }
    };
    match words[0].as_slice() {
        b"SET" | b"GETEX" => {
            for at in 2..words.len().saturating_sub(1) {
                match words[at].as_slice() {
                    b"EX" => later(&mut words[at + 1], 1000),
                    b"PX" => later(&mut words[at + 1], 1_000_000),
                    // A string that is gone as soon as it is there is stored for a moment there, and not at all here.
                    b"EXAT" | b"PXAT" => later(&mut words[at + 1], 10_000_000_000_000),
                    _ => {}
                }
            }
        }
        b"EXPIRE" | b"SETEX" if words.len() > 2 => later(&mut words[2], 1000),
        b"PEXPIRE" | b"PSETEX" if words.len() > 2 => later(&mut words[2], 1_000_000),
        b"BLMPOP" | b"BZMPOP" if words.len() > 1 => words[1] = b"0.001".to_vec(),
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => {
            *words.last_mut().expect("a timeout") = b"0.001".to_vec()
        }
        _ => {}
    }
}

/// Calls whose answer is not determined, or that the server does not know yet.
fn is_undetermined(words: &[Vec<u8>], server: &Server, ours: &mut Ours) -> bool {
    let has = |token: &[u8]| words.iter().any(|word| word.eq_ignore_ascii_case(token));
    // Where numbers are read, a zero byte ends the text for Redis.
    if words.iter().any(|word| word.contains(&0)) {
        return true;
    }
    let is_twice = |token: &[u8]| words.iter().filter(|word| *word == token).count() > 1;
    match words[0].as_slice() {
        // Conditions on the value are younger.
        b"SET" => [&b"IFEQ"[..], b"IFNE", b"IFDEQ", b"IFDNE"].iter().any(|token| has(token)),
        // A range without an end came later.
        b"BITCOUNT" => words.len() == 3 && server.version < (7, 2),
        // Redis looks at the keys before the options.
        b"LCS" => has(b"LEN") && has(b"IDX"),
        // So is half of the operations.
        b"BITOP" => [&b"DIFF"[..], b"DIFF1", b"ANDOR", b"ONE"].iter().any(|token| has(token)),
        // Of a key that is not there Redis does not look at the time.
        b"GETEX" => words.get(3).is_some_and(|word| word == b"nonsense"),
        // They do not look at the index without a list, and find something at the one that has no counterpart.
        b"LINDEX" | b"LSET" => has(b"nonsense") || has(b"-9223372036854775808"),
        b"ZRANK" | b"ZREVRANK" => words.len() > 3 && server.version < (7, 2),
        // An option that is given twice is refused here alone.
        b"ZRANGE" if is_twice(b"REV") || is_twice(b"BYSCORE") || is_twice(b"BYLEX") => true,
        // Nothing at all and what is too large for a double are scores for Redis here, though nowhere else; we refuse
        // them everywhere.
        b"ZRANGE" | b"ZRANGESTORE" if has(b"BYSCORE") => has(b"") || has(b"1e400"),
        b"ZRANGEBYSCORE" | b"ZREVRANGEBYSCORE" | b"ZCOUNT" | b"ZREMRANGEBYSCORE" => {
            ["", "1e400", "("].iter().any(|bound| words[1..].iter().any(|word| word == bound.as_bytes()))
        }
        // Names are in order only among equal scores.
        b"ZRANGE" => has(b"BYLEX") && !has(b"zset2"),
        b"ZRANGEBYLEX" | b"ZREVRANGEBYLEX" | b"ZLEXCOUNT" | b"ZREMRANGEBYLEX" => !ours.has_one_score(words.get(1)),
        b"ZRANGESTORE" => has(b"BYLEX") && !ours.has_one_score(words.get(2)),
        // They do not look at the radius when there is no center.
        name if name.starts_with(b"GEORADIUSBYMEMBER") && words.len() > 1 && !ours.exists(&words[1]) => true,
        // Younger, and which of those that are equally far come first.
        name if name.starts_with(b"GEO") => has(b"BYPOLYGON") || has(b"COUNT"),
        b"SORT" | b"SORT_RO" if words.len() > 1 => {
            let by = words.iter().position(|word| word == b"BY").and_then(|at| words.get(at + 1));
            let part = has(b"LIMIT") || has(b"STORE");
            let is_set = ours.peek(&[b"TYPE".to_vec(), words[1].clone()]) == Value::Status("set".into());
            match by {
                // Equal weights stand in any order.
                Some(by) if by.contains(&b'*') => has(b"ALPHA") && (part || has(b"GET")),
                // A set has no order.
                Some(_) => is_set && !has(b"STORE"),
                None => false,
            }
        }
        // Newer servers break the transaction, with another sentence.
        b"MULTI" | b"WATCH" => ours.session.transaction.is_some(),
        // Their names for the forms have changed, and the arity of GETKEYS.
        b"OBJECT" | b"COMMAND" => server.version < (7, 2),
        b"PUBLISH" => true,
        _ => false,
    }
}

/// Commands whose answer is an array without an order, in RESP2 at least.
const UNORDERED: &[&str] = &["SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS", "KEYS"];

/// What has no order is put into one.
fn normal(words: &[Vec<u8>], value: Value) -> Value {
    let is = |name: &str| words[0] == name.as_bytes();
    let has = |token: &[u8]| words.iter().any(|word| word == token);
    let sorted = |mut items: Vec<Value>| {
        items.sort_by_key(|item| format!("{item:?}"));
        items
    };
    match value {
        Value::Set(items) => Value::Set(sorted(items)),
        Value::Array(items) if UNORDERED.iter().any(|name| is(name)) => Value::Array(sorted(items)),
        Value::Array(items) if (is("SORT") || is("SORT_RO")) && has(b"BY") && has(b"ALPHA") => {
            Value::Array(sorted(items))
        }
        // Places that are equally far, or that nobody wants sorted.
        Value::Array(items) if is("GEOSEARCH") || words[0].starts_with(b"GEORADIUS") => Value::Array(sorted(items)),
        Value::Array(items) if is("HGETALL") => {
            let mut pairs: Vec<_> = items.chunks(2).map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            Value::Array(pairs.into_iter().map(Value::Status).collect())
        }
        Value::Map(mut pairs) => {
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            Value::Map(pairs)
        }
        value => value,
    }
}

fn agree(words: &[Vec<u8>], theirs: &Value, ours: &Value, server: &Server) -> bool {
    match (theirs, ours) {
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.len() == ours.len() && theirs.iter().zip(ours).all(|(a, b)| agree(words, a, b, server))
        }
        (a, b) if [&b"TTL"[..], b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"].contains(&words[0].as_slice()) => {
            a == b || is_about_time(a, b)
        }
        (a, b) if words[0] == b"OBJECT" => a == b || is_left_from_sorting(a, b),
        // Doubles had 17 digits then.
        (Value::Bulk(a), Value::Bulk(b)) if server.version < (7, 2) && words[0].starts_with(b"Z") => {
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
            a == b || (number(a).is_some() && number(a) == number(b))
        }
        (a, b) => a == b,
    }
}

/// SORT takes a sorted set out of its compact form in Redis, and not here.
fn is_left_from_sorting(theirs: &Value, ours: &Value) -> bool {
    theirs.as_bytes() == Some(b"skiplist") && ours.as_bytes() == Some(b"listpack")
}

fn is_about_time(theirs: &Value, ours: &Value) -> bool {
    matches!((theirs, ours), (Value::Int(a), Value::Int(b)) if *a > 2 && *b > 2 && a.abs_diff(*b) < 5000)
}

/// The letters of a reply, in order: the same for sets that are.
fn letters(value: &Value) -> Vec<char> {
    let mut letters: Vec<char> = format!("{value:?}").chars().collect();
    letters.sort_unstable();
    letters
}

/// All keys with what they hold; of deadlines only whether there is one.
fn data(side: &mut dyn Side) -> Vec<String> {
    let mut lines = Vec::new();
    for db in 0..16 {
        side.call(&split(&format!("SELECT {db}")));
        for key in keys(side) {
            let call = |side: &mut dyn Side, line: &str| {
                let words: Words = split(line).into_iter().map(|w| if w == b"KEY" { key.clone() } else { w }).collect();
                let reply = side.call(&words);
                normal(&words, reply)
            };
            let kind = call(side, "TYPE KEY");
            let content = match kind.as_bytes().expect("a type") {
                b"string" => call(side, "GET KEY"),
                b"list" => call(side, "LRANGE KEY 0 -1"),
                b"set" => call(side, "SMEMBERS KEY"),
                b"hash" => call(side, "HGETALL KEY"),
                // Doubles are compared as they are read.
                b"zset" => call(side, "ZRANGE KEY 0 -1"),
                other => panic!("{other:?}"),
            };
            let has_deadline = call(side, "PTTL KEY") != Value::Int(-1);
            lines.push(format!("{db} {:?} {content:?} {has_deadline}", key.escape_ascii().to_string()));
        }
    }
    lines.sort();
    lines
}

fn keys(side: &mut dyn Side) -> Words {
    let mut keys = Words::new();
    let mut cursor = b"0".to_vec();
    loop {
        let reply = side.call(&[b"SCAN".to_vec(), cursor, b"COUNT".to_vec(), b"1000".to_vec()]);
        let items = reply.as_items().expect("an array");
        keys.extend(items[1].as_items().expect("keys").iter().map(|key| key.as_bytes().expect("a key").to_vec()));
        cursor = items[0].as_bytes().expect("a cursor").to_vec();
        if cursor == b"0" {
            break;
        }
    }
    keys.sort();
    keys
}

trait Side {
    fn call(&mut self, words: &[Vec<u8>]) -> Value;
}

struct Ours {
    engine: Engine,
    session: Session,
    /// Looks at data without being in the transaction of `session`.
    watcher: Session,
}

impl Ours {
    fn open(seed: u64, resp3: bool) -> Ours {
        let engine = Engine::open_memory(Options { seed, active_expiry: false, ..Options::default() });
        limit_strings(&engine);
        let open = || engine.session(Door::Resp, "test".into(), "test".into());
        let (mut session, watcher) = (open(), open());
        session.speak(resp3);
        Ours { session, watcher, engine }
    }

    fn exists(&mut self, key: &[u8]) -> bool {
        self.peek(&[b"EXISTS".to_vec(), key.to_vec()]) == Value::Int(1)
    }

    /// True when all members of a sorted set have the same score. Asked in RESP2, where doubles are bytes.
    fn has_one_score(&mut self, key: Option<&Vec<u8>>) -> bool {
        let Some(key) = key else { return true };
        let ends = ["0", "-1"].map(|at| {
            let words = [b"ZRANGE".to_vec(), key.clone(), at.into(), at.into(), b"WITHSCORES".to_vec()];
            self.peek(&words).as_items().and_then(|items| items.last().cloned())
        });
        ends[0] == ends[1]
    }

    fn peek(&mut self, words: &[Vec<u8>]) -> Value {
        self.watcher.select(self.session.db);
        run(&self.engine, &mut self.watcher, words)
    }
}

fn run(engine: &Engine, session: &mut Session, words: &[Vec<u8>]) -> Value {
    let mut out = Vec::new();
    let resp3 = session.resp3;
    let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    run_at_once(engine, session, &slices, &mut RespWriter::new(&mut out, resp3));
    let (value, length) = Value::parse(&out, &ValueLimits::DEFAULT).expect("a reply").expect("a whole reply");
    assert_eq!(length, out.len(), "more than one reply to {}", show(words));
    value
}

impl Side for Ours {
    fn call(&mut self, words: &[Vec<u8>]) -> Value {
        run(&self.engine, &mut self.session, words)
    }
}

impl Side for Connection {
    fn call(&mut self, words: &[Vec<u8>]) -> Value {
        Connection::call(self, words)
    }
}
