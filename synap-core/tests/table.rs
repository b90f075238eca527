//! Tests that walk the table: what every row must say, and what every call of every row must keep to.
//!
//! A new row is covered by being there. Calls are generated from its grammar; a failure names the call and its seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use synap_core::access::{Rows as _, Terms, User};
use synap_core::command::facts;
use synap_core::command::table;
use synap_core::execute::row::{Flags, Kind, Tool};
use synap_core::execute::state::Rows as _;
use synap_core::execute::{Command, LOCKED};
use synap_core::grammar::generate::{self, Choices, Given};
use synap_core::grammar::spec::{Access, ArgKind, ArgSpec, Repeat, Shape, ShapeKind};
use synap_core::grammar::{Keys, Parser};
use synap_core::keyspace::hasher::shard_of;
use synap_core::session::Session;
use synap_core::testing::{TestEngine, Text, VOCABULARY, numbers, run_at_once};

/// Generated calls of each row, in each test.
const CALLS: u64 = 120;

fn rows() -> &'static [Command] {
    table().all()
}

/// Rows that read or change the keys they name.
fn data_rows() -> impl Iterator<Item = &'static Command> {
    rows().iter().filter(|row| matches!(row.kind, Kind::Read | Kind::Write))
}

/// The arguments of one call of `row`. Options may be fewer than a row asks for: then others are taken.
fn arguments(row: &Command, seed: u64) -> Vec<Given> {
    let of = |seed: u64| {
        let numbers = numbers(seed.wrapping_mul(1_000_003).wrapping_add(row.id as u64), 400);
        generate::arguments(row.args, &mut Choices::within(&numbers, &VOCABULARY))
    };
    let is_enough = |given: &Vec<Given>| generate::words(row.args, given).len() >= row.min_words;
    (0..).map(|retry| of(seed + retry * CALLS)).find(is_enough).expect("some are enough")
}

fn whole(row: &Command, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    row.name.split(' ').map(|word| word.as_bytes().to_vec()).chain(args).collect()
}

fn call(row: &Command, seed: u64) -> Vec<Vec<u8>> {
    whole(row, generate::words(row.args, &arguments(row, seed)))
}

fn slices(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

/// What the grammar of the row says to the words, and the keys that it found.
fn plan(test: &TestEngine, row: &Command, words: &[Vec<u8>]) -> (synap_core::Result<()>, Keys) {
    let slices = slices(words);
    let mut keys = Keys::default();
    let mut parser = Parser::new(&slices, row.name_words(), test.engine.state().hasher, &mut keys);
    let parsed = (row.run.plan)(&mut parser).map(|_| ());
    (parsed, keys)
}

fn run(test: &TestEngine, session: &mut Session, words: &[Vec<u8>]) -> String {
    let mut text = Text::new(session.resp3);
    run_at_once(&test.engine, session, &slices(words), &mut text);
    text.out
}

/// All data, and where the log ends.
fn state_of(test: &TestEngine) -> (String, u64) {
    (test.dump(), test.engine.state().log.end())
}

// ---- what rows say ----

#[test]
fn names_and_operations_are_unique_and_well_formed() {
    let (mut names, mut ops) = (BTreeSet::new(), BTreeSet::new());
    for row in rows() {
        assert!(names.insert(row.name), "{} is there twice", row.name);
        assert!(ops.insert(row.op), "{} is the operation of two rows", row.op);
        let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "-._".contains(c);
        let words: Vec<_> = row.name.split(' ').collect();
        assert!(words.len() <= 2 && words.iter().all(|w| !w.is_empty() && w.chars().all(letters)), "{}", row.name);
        let parts: Vec<_> = row.op.split('.').collect();
        let small = |part: &&str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        assert!(parts.len() == 2 && parts.iter().all(small), "{} of {}", row.op, row.name);
        assert_eq!(parts[0], row.group.op, "{} stands in another group", row.name);
        assert_eq!(row.id, rows().iter().position(|other| other.name == row.name).expect("it is there"));
    }
}

#[test]
fn every_container_has_help() {
    let containers: BTreeSet<_> = rows().iter().filter_map(|row| Some(row.name.split_once(' ')?.0)).collect();
    for name in containers {
        assert!(rows().iter().any(|row| row.name == format!("{name} HELP")), "{name}");
    }
}

#[test]
fn the_table_finds_every_row_in_any_case() {
    for row in rows() {
        for name in [row.name.to_string(), row.name.to_ascii_lowercase()] {
            let words: Vec<&[u8]> = name.split(' ').map(str::as_bytes).collect();
            assert_eq!(table().find(&words).map(|found| found.name), Ok(row.name));
        }
    }
}

#[test]
fn every_row_says_what_it_is() {
    for row in rows() {
        let name = row.name;
        sentence(row.summary, name);
        assert!(!row.complexity.is_empty(), "{name} has no complexity");
        let is_version = row.since.split('.').count() == 3 && row.since.split('.').all(|n| n.parse::<u32>().is_ok());
        assert!(is_version || row.since == "synap", "{name} is since {:?}", row.since);
        document_all(row.args, name);
        let replies_nothing = matches!(row.returns.kind, ShapeKind::Nothing);
        let pushes = row.flags.has(Flags::PUBSUB) && row.flags.has(Flags::RESP_ONLY);
        assert!(!replies_nothing || pushes || name == "SHUTDOWN", "{name} does not say what it returns");
        if !replies_nothing {
            let is_object = matches!(row.returns.kind, ShapeKind::Fields(_) | ShapeKind::Tuple(_));
            assert!(is_object || !row.returns.name.is_empty(), "the reply of {name} has no name");
            shape(&row.returns, name);
        }
        assert!(!(row.flags.has(Flags::RESP_ONLY) && row.tool != Tool::Never), "{name} is a tool without a connection");
        assert!(row.kind == Kind::Write || !row.flags.has(Flags::DENYOOM), "{name} takes no memory");
        // For a key, or for the disk.
        let may_wait = row.kind == Kind::Write || name == "WAITAOF";
        assert!(may_wait || !row.flags.has(Flags::BLOCKING), "{name} waits for nothing");
    }
}

fn sentence(text: &str, of: &str) {
    let begins = text.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-' || c == '`');
    assert!(begins && text.ends_with('.') && !text.contains("  "), "{of}: {text:?} is no sentence");
}

/// Every argument has a document, of its own or of those inside it.
fn document_all(args: &[ArgSpec], of: &str) {
    for arg in args {
        let inner: &[ArgSpec] = match arg.kind {
            ArgKind::Block(inner) | ArgKind::AnyOrder(inner) | ArgKind::OneOf(inner) => inner,
            _ => &[],
        };
        assert!(!arg.name.is_empty(), "an argument of {of} has no name");
        assert!(arg.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{}", arg.name);
        assert!(arg.token.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-'), "{}", arg.token);
        if inner.is_empty() || !arg.doc.is_empty() {
            sentence(arg.doc, &format!("{of} {}", arg.name));
        }
        document_all(inner, of);
    }
}

/// Documents of replies are sentences, and what is said by name has one.
fn shape(shape: &Shape, of: &str) {
    if !shape.doc.is_empty() && !shape.doc.ends_with('.') {
        panic!("{of}: {:?} is no sentence", shape.doc);
    }
    match shape.kind {
        ShapeKind::Fields(items) => {
            let names: BTreeSet<_> = items.iter().map(|item| item.name).collect();
            assert!(names.len() == items.len() && !names.contains(""), "{of}: fields are told apart by name");
            items.iter().for_each(|item| self::shape(item, of));
        }
        ShapeKind::Tuple(items) | ShapeKind::OneOf(items) => items.iter().for_each(|item| self::shape(item, of)),
        ShapeKind::Pairs(items) => {
            assert!(items.iter().all(|item| !item.name.is_empty()), "{of}: the two of a pair have names");
        }
        ShapeKind::Array(item) | ShapeKind::Map(item) | ShapeKind::Optional(item) => self::shape(item, of),
        _ => {}
    }
}

/// Name, since, arity, (first key, last key, step), flags, categories, what is done with the keys: as Redis and Valkey
/// answer `COMMAND`.
type Facts = (&'static str, &'static str, i64, (i64, i64, i64), &'static str, &'static str, &'static str);

/// Sorted by name. Left out: flags of the sort that only tell scripts and modules, and `no_multi` of commands that we
/// answer otherwise inside MULTI.
#[rustfmt::skip]
const REDIS: &[Facts] = &[
    ("ACL CAT", "6.0.0", -2, (0, 0, 0), "loading noscript stale", "slow", ""),
    ("ACL DELUSER", "6.0.0", -3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL DRYRUN", "7.0.0", -4, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL GENPASS", "6.0.0", -2, (0, 0, 0), "loading noscript stale", "slow", ""),
    ("ACL GETUSER", "6.0.0", 3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL HELP", "6.0.0", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("ACL LIST", "6.0.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL LOAD", "6.0.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL LOG", "6.0.0", -2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL SAVE", "6.0.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL SETUSER", "6.0.0", -3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL USERS", "6.0.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("ACL WHOAMI", "6.0.0", 2, (0, 0, 0), "loading noscript stale", "slow", ""),
    ("APPEND", "2.0.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "RW insert"),
    ("AUTH", "1.0.0", -2, (0, 0, 0), "allow_busy fast loading no_auth noscript stale", "connection fast", ""),
    ("BGREWRITEAOF", "1.0.0", 1, (0, 0, 0), "admin no_async_loading noscript", "admin dangerous slow", ""),
    ("BGSAVE", "1.0.0", -1, (0, 0, 0), "admin no_async_loading noscript", "admin dangerous slow", ""),
    ("BITCOUNT", "2.6.0", -2, (1, 1, 1), "readonly", "bitmap read slow", "RO access"),
    ("BITFIELD", "3.2.0", -2, (1, 1, 1), "denyoom write", "bitmap slow write", "RW access update"),
    ("BITFIELD_RO", "6.0.0", -2, (1, 1, 1), "fast readonly", "bitmap fast read", "RO access"),
    ("BITOP", "2.6.0", -4, (2, -1, 1), "denyoom write", "bitmap slow write", "OW update, RO access"),
    ("BITPOS", "2.8.7", -3, (1, 1, 1), "readonly", "bitmap read slow", "RO access"),
    ("BLMOVE", "6.2.0", 6, (1, 2, 1), "blocking denyoom write", "blocking list slow write", "RW access delete, RW insert"),
    ("BLMPOP", "7.0.0", -5, (0, 0, 0), "blocking movablekeys write", "blocking list slow write", "RW access delete"),
    ("BLPOP", "2.0.0", -3, (1, -2, 1), "blocking write", "blocking list slow write", "RW access delete"),
    ("BRPOP", "2.0.0", -3, (1, -2, 1), "blocking write", "blocking list slow write", "RW access delete"),
    ("BRPOPLPUSH", "2.2.0", 4, (1, 2, 1), "blocking denyoom write", "blocking list slow write", "RW access delete, RW insert"),
    ("BZMPOP", "7.0.0", -5, (0, 0, 0), "blocking movablekeys write", "blocking slow sortedset write", "RW access delete"),
    ("BZPOPMAX", "5.0.0", -3, (1, -2, 1), "blocking fast write", "blocking fast sortedset write", "RW access delete"),
    ("BZPOPMIN", "5.0.0", -3, (1, -2, 1), "blocking fast write", "blocking fast sortedset write", "RW access delete"),
    ("CLIENT CACHING", "6.0.0", 3, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT GETNAME", "2.6.9", 2, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT GETREDIR", "6.0.0", 2, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT HELP", "5.0.0", 2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("CLIENT ID", "5.0.0", 2, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT INFO", "6.2.0", 2, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT KILL", "2.4.0", -3, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("CLIENT LIST", "2.4.0", -2, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("CLIENT NO-EVICT", "7.0.0", 3, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("CLIENT NO-TOUCH", "7.2.0", 3, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT PAUSE", "3.0.0", -3, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("CLIENT REPLY", "3.2.0", 3, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT SETINFO", "7.2.0", 4, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT SETNAME", "2.6.9", 3, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT TRACKING", "6.0.0", -3, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT TRACKINGINFO", "6.2.0", 2, (0, 0, 0), "loading noscript stale", "connection slow", ""),
    ("CLIENT UNBLOCK", "5.0.0", -3, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("CLIENT UNPAUSE", "6.2.0", 2, (0, 0, 0), "admin loading noscript stale", "admin connection dangerous slow", ""),
    ("COMMAND", "2.8.13", -1, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND COUNT", "2.8.13", 2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND DOCS", "7.0.0", -2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND GETKEYS", "2.8.13", -3, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND GETKEYSANDFLAGS", "7.0.0", -3, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND HELP", "5.0.0", 2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND INFO", "2.8.13", -2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("COMMAND LIST", "7.0.0", -2, (0, 0, 0), "loading stale", "connection slow", ""),
    ("CONFIG GET", "2.0.0", -3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("CONFIG HELP", "5.0.0", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("CONFIG RESETSTAT", "2.0.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("CONFIG REWRITE", "2.8.0", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("CONFIG SET", "2.0.0", -4, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("COPY", "6.2.0", -3, (1, 2, 1), "denyoom write", "keyspace slow write", "RO access, OW update"),
    ("DBSIZE", "1.0.0", 1, (0, 0, 0), "fast readonly", "fast keyspace read", ""),
    ("DEBUG HELP", "5.0.0", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("DECR", "1.0.0", 2, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("DECRBY", "1.0.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("DEL", "1.0.0", -2, (1, -1, 1), "write", "keyspace slow write", "RM delete"),
    ("DELEX", "8.4.0", -2, (1, 1, 1), "fast write", "fast string write", "RW delete"),
    ("DELIFEQ", "9.0.0", 3, (1, 1, 1), "write", "slow string write", "RM access delete"),
    ("DIGEST", "8.4.0", 2, (1, 1, 1), "fast readonly", "fast read string", "RO access"),
    ("DISCARD", "2.0.0", 1, (0, 0, 0), "allow_busy fast loading noscript stale", "fast transaction", ""),
    ("DUMP", "2.6.0", 2, (1, 1, 1), "readonly", "keyspace read slow", "RO access"),
    ("ECHO", "1.0.0", 2, (0, 0, 0), "fast loading stale", "connection fast", ""),
    ("EXEC", "1.2.0", 1, (0, 0, 0), "loading noscript skip_slowlog stale", "slow transaction", ""),
    ("EXISTS", "1.0.0", -2, (1, -1, 1), "fast readonly", "fast keyspace read", "RO"),
    ("EXPIRE", "1.0.0", -3, (1, 1, 1), "fast write", "fast keyspace write", "RW update"),
    ("EXPIREAT", "1.2.0", -3, (1, 1, 1), "fast write", "fast keyspace write", "RW update"),
    ("EXPIRETIME", "7.0.0", 2, (1, 1, 1), "fast readonly", "fast keyspace read", "RO access"),
    ("FLUSHALL", "1.0.0", -1, (0, 0, 0), "write", "dangerous keyspace slow write", ""),
    ("FLUSHDB", "1.0.0", -1, (0, 0, 0), "write", "dangerous keyspace slow write", ""),
    ("GEOADD", "3.2.0", -5, (1, 1, 1), "denyoom write", "geo slow write", "RW update"),
    ("GEODIST", "3.2.0", -4, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEOHASH", "3.2.0", -2, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEOPOS", "3.2.0", -2, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEORADIUS", "3.2.0", -6, (1, 1, 1), "denyoom movablekeys write", "geo slow write", "RO access, OW update, OW update"),
    ("GEORADIUSBYMEMBER", "3.2.0", -5, (1, 1, 1), "denyoom movablekeys write", "geo slow write", "RO access, OW update, OW update"),
    ("GEORADIUSBYMEMBER_RO", "3.2.10", -5, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEORADIUS_RO", "3.2.10", -6, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEOSEARCH", "6.2.0", -7, (1, 1, 1), "readonly", "geo read slow", "RO access"),
    ("GEOSEARCHSTORE", "6.2.0", -8, (1, 2, 1), "denyoom write", "geo slow write", "OW update, RO access"),
    ("GET", "1.0.0", 2, (1, 1, 1), "fast readonly", "fast read string", "RO access"),
    ("GETBIT", "2.2.0", 3, (1, 1, 1), "fast readonly", "bitmap fast read", "RO access"),
    ("GETDEL", "6.2.0", 2, (1, 1, 1), "fast write", "fast string write", "RW access delete"),
    ("GETEX", "6.2.0", -2, (1, 1, 1), "fast write", "fast string write", "RW access update"),
    ("GETRANGE", "2.4.0", 4, (1, 1, 1), "readonly", "read slow string", "RO access"),
    ("GETSET", "1.0.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("HDEL", "2.0.0", -3, (1, 1, 1), "fast write", "fast hash write", "RW delete"),
    ("HELLO", "6.0.0", -1, (0, 0, 0), "allow_busy fast loading no_auth noscript stale", "connection fast", ""),
    ("HEXISTS", "2.0.0", 3, (1, 1, 1), "fast readonly", "fast hash read", "RO"),
    ("HEXPIRE", "7.4.0", -6, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HEXPIREAT", "7.4.0", -6, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HEXPIRETIME", "7.4.0", -5, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HGET", "2.0.0", 3, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HGETALL", "2.0.0", 2, (1, 1, 1), "readonly", "hash read slow", "RO access"),
    ("HGETDEL", "8.0.0", -5, (1, 1, 1), "fast write", "fast hash write", "RW access delete"),
    ("HGETEX", "8.0.0", -5, (1, 1, 1), "fast write", "fast hash write", "RW access update"),
    ("HINCRBY", "2.0.0", 4, (1, 1, 1), "denyoom fast write", "fast hash write", "RW access update"),
    ("HINCRBYFLOAT", "2.6.0", 4, (1, 1, 1), "denyoom fast write", "fast hash write", "RW access update"),
    ("HKEYS", "2.0.0", 2, (1, 1, 1), "readonly", "hash read slow", "RO access"),
    ("HLEN", "2.0.0", 2, (1, 1, 1), "fast readonly", "fast hash read", "RO"),
    ("HMGET", "2.0.0", -3, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HMSET", "2.0.0", -4, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HPERSIST", "7.4.0", -5, (1, 1, 1), "fast write", "fast hash write", "RW update"),
    ("HPEXPIRE", "7.4.0", -6, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HPEXPIREAT", "7.4.0", -6, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HPEXPIRETIME", "7.4.0", -5, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HPTTL", "7.4.0", -5, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HRANDFIELD", "6.2.0", -2, (1, 1, 1), "readonly", "hash read slow", "RO access"),
    ("HSCAN", "2.8.0", -3, (1, 1, 1), "readonly", "hash read slow", "RO access"),
    ("HSET", "2.0.0", -4, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HSETEX", "8.0.0", -6, (1, 1, 1), "denyoom fast write", "fast hash write", "RW update"),
    ("HSETNX", "2.0.0", 4, (1, 1, 1), "denyoom fast write", "fast hash write", "RW insert"),
    ("HSTRLEN", "3.2.0", 3, (1, 1, 1), "fast readonly", "fast hash read", "RO"),
    ("HTTL", "7.4.0", -5, (1, 1, 1), "fast readonly", "fast hash read", "RO access"),
    ("HVALS", "2.0.0", 2, (1, 1, 1), "readonly", "hash read slow", "RO access"),
    ("INCR", "1.0.0", 2, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("INCRBY", "1.0.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("INCRBYFLOAT", "2.6.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("INCREX", "8.8.0", -2, (1, 1, 1), "denyoom fast write", "fast string write", "RW access update"),
    ("INFO", "1.0.0", -1, (0, 0, 0), "loading stale", "dangerous slow", ""),
    ("KEYS", "1.0.0", 2, (0, 0, 0), "readonly", "dangerous keyspace read slow", ""),
    ("LASTSAVE", "1.0.0", 1, (0, 0, 0), "fast loading stale", "admin dangerous fast", ""),
    ("LATENCY DOCTOR", "2.8.13", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LATENCY GRAPH", "2.8.13", 3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LATENCY HELP", "2.8.13", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("LATENCY HISTOGRAM", "7.0.0", -2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LATENCY HISTORY", "2.8.13", 3, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LATENCY LATEST", "2.8.13", 2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LATENCY RESET", "2.8.13", -2, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("LCS", "7.0.0", -3, (1, 2, 1), "readonly", "read slow string", "RO access, RO access"),
    ("LINDEX", "1.0.0", 3, (1, 1, 1), "readonly", "list read slow", "RO access"),
    ("LINSERT", "2.2.0", 5, (1, 1, 1), "denyoom write", "list slow write", "RW insert"),
    ("LLEN", "1.0.0", 2, (1, 1, 1), "fast readonly", "fast list read", "RO"),
    ("LMOVE", "6.2.0", 5, (1, 2, 1), "denyoom write", "list slow write", "RW access delete, RW insert"),
    ("LMPOP", "7.0.0", -4, (0, 0, 0), "movablekeys write", "list slow write", "RW access delete"),
    ("LOLWUT", "5.0.0", -1, (0, 0, 0), "fast readonly", "fast read", ""),
    ("LPOP", "1.0.0", -2, (1, 1, 1), "fast write", "fast list write", "RW access delete"),
    ("LPOS", "6.0.6", -3, (1, 1, 1), "readonly", "list read slow", "RO access"),
    ("LPUSH", "1.0.0", -3, (1, 1, 1), "denyoom fast write", "fast list write", "RW insert"),
    ("LPUSHX", "2.2.0", -3, (1, 1, 1), "denyoom fast write", "fast list write", "RW insert"),
    ("LRANGE", "1.0.0", 4, (1, 1, 1), "readonly", "list read slow", "RO access"),
    ("LREM", "1.0.0", 4, (1, 1, 1), "write", "list slow write", "RW delete"),
    ("LSET", "1.0.0", 4, (1, 1, 1), "denyoom write", "list slow write", "RW update"),
    ("LTRIM", "1.0.0", 4, (1, 1, 1), "write", "list slow write", "RW delete"),
    ("MEMORY DOCTOR", "4.0.0", 2, (0, 0, 0), "", "slow", ""),
    ("MEMORY HELP", "4.0.0", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("MEMORY MALLOC-STATS", "4.0.0", 2, (0, 0, 0), "", "slow", ""),
    ("MEMORY PURGE", "4.0.0", 2, (0, 0, 0), "", "slow", ""),
    ("MEMORY STATS", "4.0.0", 2, (0, 0, 0), "", "slow", ""),
    ("MEMORY USAGE", "4.0.0", -3, (2, 2, 1), "readonly", "read slow", "RO"),
    ("MGET", "1.0.0", -2, (1, -1, 1), "fast readonly", "fast read string", "RO access"),
    ("MIGRATE", "2.6.0", -6, (3, 3, 1), "movablekeys write", "dangerous keyspace slow write", "RW access delete, RW access delete"),
    ("MONITOR", "1.0.0", 1, (0, 0, 0), "admin loading noscript stale", "admin dangerous slow", ""),
    ("MOVE", "1.0.0", 3, (1, 1, 1), "fast write", "fast keyspace write", "RW access update"),
    ("MSET", "1.0.1", -3, (1, -1, 2), "denyoom write", "slow string write", "OW update"),
    ("MSETEX", "8.4.0", -4, (0, 0, 0), "denyoom movablekeys write", "slow string write", "OW update"),
    ("MSETNX", "1.0.1", -3, (1, -1, 2), "denyoom write", "slow string write", "OW insert"),
    ("MULTI", "1.2.0", 1, (0, 0, 0), "allow_busy fast loading noscript stale", "fast transaction", ""),
    ("OBJECT ENCODING", "2.2.3", 3, (2, 2, 1), "readonly", "keyspace read slow", "RO"),
    ("OBJECT FREQ", "4.0.0", 3, (2, 2, 1), "readonly", "keyspace read slow", "RO"),
    ("OBJECT HELP", "6.2.0", 2, (0, 0, 0), "loading stale", "keyspace slow", ""),
    ("OBJECT IDLETIME", "2.2.3", 3, (2, 2, 1), "readonly", "keyspace read slow", "RO"),
    ("OBJECT REFCOUNT", "2.2.3", 3, (2, 2, 1), "readonly", "keyspace read slow", "RO"),
    ("PERSIST", "2.2.0", 2, (1, 1, 1), "fast write", "fast keyspace write", "RW update"),
    ("PEXPIRE", "2.6.0", -3, (1, 1, 1), "fast write", "fast keyspace write", "RW update"),
    ("PEXPIREAT", "2.6.0", -3, (1, 1, 1), "fast write", "fast keyspace write", "RW update"),
    ("PEXPIRETIME", "7.0.0", 2, (1, 1, 1), "fast readonly", "fast keyspace read", "RO access"),
    ("PFADD", "2.8.9", -2, (1, 1, 1), "denyoom fast write", "fast hyperloglog write", "RW insert"),
    ("PFCOUNT", "2.8.9", -2, (1, -1, 1), "may_replicate readonly", "hyperloglog read slow", "RW access"),
    ("PFDEBUG", "2.8.9", 3, (2, 2, 1), "admin denyoom write", "admin dangerous hyperloglog slow write", "RW access"),
    ("PFMERGE", "2.8.9", -2, (1, -1, 1), "denyoom write", "hyperloglog slow write", "RW access insert, RO access"),
    ("PFSELFTEST", "2.8.9", 1, (0, 0, 0), "admin", "admin dangerous hyperloglog slow", ""),
    ("PING", "1.0.0", -1, (0, 0, 0), "fast", "connection fast", ""),
    ("PSETEX", "2.6.0", 4, (1, 1, 1), "denyoom write", "slow string write", "OW update"),
    ("PSUBSCRIBE", "2.0.0", -2, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("PTTL", "2.6.0", 2, (1, 1, 1), "fast readonly", "fast keyspace read", "RO access"),
    ("PUBLISH", "2.0.0", 3, (0, 0, 0), "fast loading pubsub stale", "fast pubsub", ""),
    ("PUBSUB CHANNELS", "2.8.0", -2, (0, 0, 0), "loading pubsub stale", "pubsub slow", ""),
    ("PUBSUB HELP", "6.2.0", 2, (0, 0, 0), "loading stale", "pubsub slow", ""),
    ("PUBSUB NUMPAT", "2.8.0", 2, (0, 0, 0), "loading pubsub stale", "pubsub slow", ""),
    ("PUBSUB NUMSUB", "2.8.0", -2, (0, 0, 0), "loading pubsub stale", "pubsub slow", ""),
    ("PUBSUB SHARDCHANNELS", "7.0.0", -2, (0, 0, 0), "loading pubsub stale", "pubsub slow", ""),
    ("PUBSUB SHARDNUMSUB", "7.0.0", -2, (0, 0, 0), "loading pubsub stale", "pubsub slow", ""),
    ("PUNSUBSCRIBE", "2.0.0", -1, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("QUIT", "1.0.0", -1, (0, 0, 0), "allow_busy fast loading no_auth noscript stale", "connection fast", ""),
    ("RANDOMKEY", "1.0.0", 1, (0, 0, 0), "readonly", "keyspace read slow", ""),
    ("RENAME", "1.0.0", 3, (1, 2, 1), "write", "keyspace slow write", "RW access delete, OW update"),
    ("RENAMENX", "1.0.0", 3, (1, 2, 1), "fast write", "fast keyspace write", "RW access delete, OW insert"),
    ("RESET", "6.2.0", 1, (0, 0, 0), "allow_busy fast loading no_auth noscript stale", "connection fast", ""),
    ("RESTORE", "2.6.0", -4, (1, 1, 1), "denyoom write", "dangerous keyspace slow write", "OW update"),
    ("ROLE", "2.8.12", 1, (0, 0, 0), "fast loading noscript stale", "admin dangerous fast", ""),
    ("RPOP", "1.0.0", -2, (1, 1, 1), "fast write", "fast list write", "RW access delete"),
    ("RPOPLPUSH", "1.2.0", 3, (1, 2, 1), "denyoom write", "list slow write", "RW access delete, RW insert"),
    ("RPUSH", "1.0.0", -3, (1, 1, 1), "denyoom fast write", "fast list write", "RW insert"),
    ("RPUSHX", "2.2.0", -3, (1, 1, 1), "denyoom fast write", "fast list write", "RW insert"),
    ("SADD", "1.0.0", -3, (1, 1, 1), "denyoom fast write", "fast set write", "RW insert"),
    ("SAVE", "1.0.0", 1, (0, 0, 0), "admin no_async_loading no_multi noscript", "admin dangerous slow", ""),
    ("SCAN", "2.8.0", -2, (0, 0, 0), "readonly", "keyspace read slow", ""),
    ("SCARD", "1.0.0", 2, (1, 1, 1), "fast readonly", "fast read set", "RO"),
    ("SDIFF", "1.0.0", -2, (1, -1, 1), "readonly", "read set slow", "RO access"),
    ("SDIFFSTORE", "1.0.0", -3, (1, -1, 1), "denyoom write", "set slow write", "OW update, RO access"),
    ("SELECT", "1.0.0", 2, (0, 0, 0), "fast loading stale", "connection fast", ""),
    ("SET", "1.0.0", -3, (1, 1, 1), "denyoom write", "slow string write", "RW access update"),
    ("SETBIT", "2.2.0", 4, (1, 1, 1), "denyoom write", "bitmap slow write", "RW access update"),
    ("SETEX", "2.0.0", 4, (1, 1, 1), "denyoom write", "slow string write", "OW update"),
    ("SETNX", "1.0.0", 3, (1, 1, 1), "denyoom fast write", "fast string write", "OW insert"),
    ("SETRANGE", "2.2.0", 4, (1, 1, 1), "denyoom write", "slow string write", "RW update"),
    ("SHUTDOWN", "1.0.0", -1, (0, 0, 0), "admin allow_busy loading no_multi noscript stale", "admin dangerous slow", ""),
    ("SINTER", "1.0.0", -2, (1, -1, 1), "readonly", "read set slow", "RO access"),
    ("SINTERCARD", "7.0.0", -3, (0, 0, 0), "movablekeys readonly", "read set slow", "RO access"),
    ("SINTERSTORE", "1.0.0", -3, (1, -1, 1), "denyoom write", "set slow write", "OW update, RO access"),
    ("SISMEMBER", "1.0.0", 3, (1, 1, 1), "fast readonly", "fast read set", "RO"),
    ("SLOWLOG GET", "2.2.12", -2, (0, 0, 0), "admin loading stale", "admin dangerous slow", ""),
    ("SLOWLOG HELP", "6.2.0", 2, (0, 0, 0), "loading stale", "slow", ""),
    ("SLOWLOG LEN", "2.2.12", 2, (0, 0, 0), "admin loading stale", "admin dangerous slow", ""),
    ("SLOWLOG RESET", "2.2.12", 2, (0, 0, 0), "admin loading stale", "admin dangerous slow", ""),
    ("SMEMBERS", "1.0.0", 2, (1, 1, 1), "readonly", "read set slow", "RO access"),
    ("SMISMEMBER", "6.2.0", -3, (1, 1, 1), "fast readonly", "fast read set", "RO access"),
    ("SMOVE", "1.0.0", 4, (1, 2, 1), "fast write", "fast set write", "RW access delete, RW insert"),
    ("SORT", "1.0.0", -2, (1, 1, 1), "denyoom movablekeys write", "dangerous list set slow sortedset write", "RO access, OW update"),
    ("SORT_RO", "7.0.0", -2, (1, 1, 1), "movablekeys readonly", "dangerous list read set slow sortedset", "RO access"),
    ("SPOP", "1.0.0", -2, (1, 1, 1), "fast write", "fast set write", "RW access delete"),
    // Redis shows shard channels at the places of keys, for clients of a cluster; here they are channels only.
    ("SPUBLISH", "7.0.0", 3, (0, 0, 0), "fast loading pubsub stale", "fast pubsub", ""),
    ("SRANDMEMBER", "1.0.0", -2, (1, 1, 1), "readonly", "read set slow", "RO access"),
    ("SREM", "1.0.0", -3, (1, 1, 1), "fast write", "fast set write", "RW delete"),
    ("SSCAN", "2.8.0", -3, (1, 1, 1), "readonly", "read set slow", "RO access"),
    ("SSUBSCRIBE", "7.0.0", -2, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("STRLEN", "2.2.0", 2, (1, 1, 1), "fast readonly", "fast read string", "RO"),
    ("SUBSCRIBE", "2.0.0", -2, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("SUBSTR", "1.0.0", 4, (1, 1, 1), "readonly", "read slow string", "RO access"),
    ("SUNION", "1.0.0", -2, (1, -1, 1), "readonly", "read set slow", "RO access"),
    ("SUNIONSTORE", "1.0.0", -3, (1, -1, 1), "denyoom write", "set slow write", "OW update, RO access"),
    ("SUNSUBSCRIBE", "7.0.0", -1, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("SWAPDB", "4.0.0", 3, (0, 0, 0), "fast write", "dangerous fast keyspace write", ""),
    ("TIME", "2.6.0", 1, (0, 0, 0), "fast loading stale", "fast", ""),
    ("TOUCH", "3.2.1", -2, (1, -1, 1), "fast readonly", "fast keyspace read", "RO"),
    ("TTL", "1.0.0", 2, (1, 1, 1), "fast readonly", "fast keyspace read", "RO access"),
    ("TYPE", "1.0.0", 2, (1, 1, 1), "fast readonly", "fast keyspace read", "RO"),
    ("UNLINK", "4.0.0", -2, (1, -1, 1), "fast write", "fast keyspace write", "RM delete"),
    ("UNSUBSCRIBE", "2.0.0", -1, (0, 0, 0), "loading noscript pubsub stale", "pubsub slow", ""),
    ("UNWATCH", "2.2.0", 1, (0, 0, 0), "allow_busy fast loading noscript stale", "fast transaction", ""),
    ("WAITAOF", "7.2.0", 4, (0, 0, 0), "blocking", "blocking connection slow", ""),
    ("WATCH", "2.2.0", -2, (1, -1, 1), "allow_busy fast loading noscript stale", "fast transaction", "RO"),
    ("ZADD", "1.2.0", -4, (1, 1, 1), "denyoom fast write", "fast sortedset write", "RW update"),
    ("ZCARD", "1.2.0", 2, (1, 1, 1), "fast readonly", "fast read sortedset", "RO"),
    ("ZCOUNT", "2.0.0", 4, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZDIFF", "6.2.0", -3, (0, 0, 0), "movablekeys readonly", "read slow sortedset", "RO access"),
    ("ZDIFFSTORE", "6.2.0", -4, (1, 1, 1), "denyoom movablekeys write", "slow sortedset write", "OW update, RO access"),
    ("ZINCRBY", "1.2.0", 4, (1, 1, 1), "denyoom fast write", "fast sortedset write", "RW access update"),
    ("ZINTER", "6.2.0", -3, (0, 0, 0), "movablekeys readonly", "read slow sortedset", "RO access"),
    ("ZINTERCARD", "7.0.0", -3, (0, 0, 0), "movablekeys readonly", "read slow sortedset", "RO access"),
    ("ZINTERSTORE", "2.0.0", -4, (1, 1, 1), "denyoom movablekeys write", "slow sortedset write", "OW update, RO access"),
    ("ZLEXCOUNT", "2.8.9", 4, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZMPOP", "7.0.0", -4, (0, 0, 0), "movablekeys write", "slow sortedset write", "RW access delete"),
    ("ZMSCORE", "6.2.0", -3, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZPOPMAX", "5.0.0", -2, (1, 1, 1), "fast write", "fast sortedset write", "RW access delete"),
    ("ZPOPMIN", "5.0.0", -2, (1, 1, 1), "fast write", "fast sortedset write", "RW access delete"),
    ("ZRANDMEMBER", "6.2.0", -2, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZRANGE", "1.2.0", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZRANGEBYLEX", "2.8.9", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZRANGEBYSCORE", "1.0.5", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZRANGESTORE", "6.2.0", -5, (1, 2, 1), "denyoom write", "slow sortedset write", "OW update, RO access"),
    ("ZRANK", "2.0.0", -3, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZREM", "1.2.0", -3, (1, 1, 1), "fast write", "fast sortedset write", "RW delete"),
    ("ZREMRANGEBYLEX", "2.8.9", 4, (1, 1, 1), "write", "slow sortedset write", "RW delete"),
    ("ZREMRANGEBYRANK", "2.0.0", 4, (1, 1, 1), "write", "slow sortedset write", "RW delete"),
    ("ZREMRANGEBYSCORE", "1.2.0", 4, (1, 1, 1), "write", "slow sortedset write", "RW delete"),
    ("ZREVRANGE", "1.2.0", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZREVRANGEBYLEX", "2.8.9", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZREVRANGEBYSCORE", "2.2.0", -4, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZREVRANK", "2.0.0", -3, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZSCAN", "2.8.0", -3, (1, 1, 1), "readonly", "read slow sortedset", "RO access"),
    ("ZSCORE", "1.2.0", 3, (1, 1, 1), "fast readonly", "fast read sortedset", "RO access"),
    ("ZUNION", "6.2.0", -3, (0, 0, 0), "movablekeys readonly", "read slow sortedset", "RO access"),
    ("ZUNIONSTORE", "2.0.0", -4, (1, 1, 1), "denyoom movablekeys write", "slow sortedset write", "OW update, RO access"),
];

/// Flags that ours have and Redis' have not, with the reason.
const OWN_FLAGS: &[(&str, &str)] = &[
    // Nobody waits for another server inside MULTI.
    ("MIGRATE", "no_multi"),
    // Nobody waits for a disk inside MULTI.
    ("ACL LOAD", "no_multi"),
    ("ACL SAVE", "no_multi"),
    // A pause of writes holds it back, in Redis too, which does not list the flag.
    ("PUBLISH", "may_replicate"),
    ("SPUBLISH", "may_replicate"),
    // Nobody waits for a disk inside MULTI.
    ("CONFIG REWRITE", "no_multi"),
    // Redis lets EXEC answer the error.
    ("MONITOR", "no_multi"),
];

/// Rows that Redis does not document as commands of their own.
const NOT_IN_REDIS: &[&str] = &["DEBUG LOADAOF", "DEBUG RELOAD", "DEBUG SET-ACTIVE-EXPIRE", "DEBUG SLEEP"];

#[test]
fn rows_agree_with_redis() {
    let sorted = |text: &str| text.split(' ').filter(|w| !w.is_empty()).map(String::from).collect::<BTreeSet<String>>();
    let mut wrong = Vec::new();
    for row in rows() {
        let Some(&(_, since, arity, range, flags, categories, keys)) = REDIS.iter().find(|facts| facts.0 == row.name)
        else {
            let known = NOT_IN_REDIS.contains(&row.name) || row.since == "synap";
            assert!(known, "{} stands neither among the facts of Redis nor among our own", row.name);
            continue;
        };
        let mut check = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                wrong.push(format!("{} {what}: ours {ours}, Redis' {theirs}", row.name));
            }
        };
        check("since", row.since.into(), since.into());
        let is_container = rows().iter().any(|other| other.name.split_once(' ').is_some_and(|(c, _)| c == row.name));
        check("arity", if is_container { -1 } else { row.arity() }.to_string(), arity.to_string());
        let (ours, accesses) = facts::key_positions(row);
        check("positions of keys", format!("{ours:?}"), format!("{range:?}"));
        let own = OWN_FLAGS.iter().find(|own| own.0 == row.name).map_or("", |own| own.1);
        let ours: BTreeSet<_> = row.flag_names().into_iter().map(String::from).collect();
        check("flags", format!("{ours:?}"), format!("{:?}", sorted(&format!("{flags} {own}"))));
        let ours: BTreeSet<_> = row.acl_categories().names().map(String::from).collect();
        check("categories", format!("{ours:?}"), format!("{:?}", sorted(categories)));
        let ours: Vec<_> = accesses.iter().map(|access| access.names().collect::<Vec<_>>().join(" ")).collect();
        check("use of keys", ours.join(", "), keys.into());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// ---- what calls keep to ----

/// Conflicts of options that a row's own `check` refuses: the grammar has no word for them.
fn is_refused_by_a_check(error: &synap_core::Error) -> bool {
    let text = error.to_string();
    [
        "not compatible",
        "ENX flag requires",
        "LBOUND can't be greater",
        "at least 3 vertices",
        "can't be zero",
        "cannot be Infinity",
        "exactly one of",
        "must be called with",
        "not supported in combination",
        "only supported in combination",
        "please just use IDX",
        "requires COUNT",
        "When using MIGRATE KEYS",
        "single increment-element",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// Arguments whose words are looked at after the grammar: bounds of ZRANGE, digests of SET.
fn is_about_the_content(error: &synap_core::Error) -> bool {
    let text = error.to_string();
    ["not a float", "not valid string range", "not an integer"].iter().any(|part| text.contains(part))
}

#[test]
fn generated_words_parse() {
    let test = TestEngine::new(1);
    for row in rows() {
        let mut parsed = 0;
        // Two bounds of a range are rarely both good.
        for seed in 0..CALLS * 10 {
            if seed >= CALLS && parsed > 0 {
                break;
            }
            let words = call(row, seed);
            match plan(&test, row, &words).0 {
                Ok(()) => parsed += 1,
                Err(error) if is_refused_by_a_check(&error) => {}
                Err(error) if row.group.op == "zset" && is_about_the_content(&error) => {}
                // PERSIST and ENX contradict each other in no other words than these.
                Err(error) if row.name == "INCREX" && error == synap_core::Error::SYNTAX => {}
                // NX with XX, and a polygon with a center.
                Err(error) if row.group.op == "geo" && error == synap_core::Error::SYNTAX => {}
                Err(error) => panic!("{} is refused, seed {seed}: {error}", show(&words)),
            }
        }
        assert!(parsed > 0, "no generated call of {} parses", row.name);
    }
}

#[test]
fn the_order_of_options_does_not_matter() {
    for row in data_rows().filter(|row| row.args.iter().any(|arg| matches!(arg.kind, ArgKind::AnyOrder(_)))) {
        for seed in 0..CALLS {
            let given = arguments(row, seed);
            let order = numbers(seed, 20);
            let shuffled = whole(row, generate::shuffled_words(row.args, &given, &mut Choices::new(&order)));
            let words = whole(row, generate::words(row.args, &given));
            if words == shuffled {
                continue;
            }
            let (one, other) = (TestEngine::prepared(7), TestEngine::prepared(7));
            let replies = [(&one, &words), (&other, &shuffled)].map(|(t, words)| run(t, &mut t.another(), words));
            assert_eq!(replies[0], replies[1], "{} and {}", show(&words), show(&shuffled));
            assert_eq!(one.dump(), other.dump(), "{} and {}", show(&words), show(&shuffled));
        }
    }
}

#[test]
fn a_call_that_is_cut_off_is_refused_and_changes_nothing() {
    let test = TestEngine::prepared(1);
    let before = state_of(&test);
    for row in data_rows() {
        for seed in 0..CALLS {
            let given = arguments(row, seed);
            let words = whole(row, generate::words(row.args, &given));
            let ends: Vec<usize> = ends(row.args, &given).iter().map(|end| end + row.name_words()).collect();
            for length in row.name_words()..words.len() {
                if ends.contains(&length) {
                    // A shorter call of its own.
                    continue;
                }
                let cut = &words[..length];
                let reply = run(&test, &mut test.another(), cut);
                let expected = if length - row.name_words() < row.min_words {
                    format!("-ERR wrong number of arguments for '{}' command", row.full_name())
                } else {
                    "-ERR ".into()
                };
                assert!(reply.starts_with(&expected), "{}, seed {seed}: {reply}", show(cut));
            }
        }
        assert!(state_of(&test) == before, "a refused call of {} has changed something", row.name);
    }
}

/// Numbers of words after which a call may end: behind each complete argument that only optional ones follow, behind
/// each occurrence of a repeated one.
fn ends(specs: &[ArgSpec], given: &[Given]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    for (index, (spec, value)) in specs.iter().zip(given).enumerate() {
        let rest_is_optional = specs[index + 1..].iter().all(|s| s.optional || matches!(s.kind, ArgKind::Flag));
        let width = generate::words(std::slice::from_ref(spec), std::slice::from_ref(value)).len();
        if rest_is_optional {
            if spec.optional {
                ends.push(at);
            }
            match (spec.kind, value) {
                (ArgKind::AnyOrder(options), Given::Group(values)) => {
                    ends.extend(self::ends(options, values).iter().map(|end| at + end));
                }
                (ArgKind::Block(parts), Given::Group(values)) => {
                    ends.extend(self::ends(parts, values).iter().map(|end| at + end).filter(|end| *end > at));
                }
                (_, Given::Many(items)) if !matches!(spec.repeat, Repeat::Counted | Repeat::PerItem) => {
                    for count in 1..items.len() {
                        let some = Given::Many(items[..count].to_vec());
                        ends.push(at + generate::words(std::slice::from_ref(spec), &[some]).len());
                    }
                }
                _ => {}
            }
            ends.push(at + width);
        }
        at += width;
    }
    ends
}

#[test]
fn what_getkeys_says_is_what_is_locked() {
    for row in data_rows() {
        let test = TestEngine::prepared(3);
        for seed in 0..CALLS {
            let words = call(row, seed);
            let slices = slices(&words);
            let said = facts::keys_of(test.engine.state(), &slices).unwrap_or_default();
            let shard = |key: &[u8]| shard_of(test.engine.state().hasher.hash(key));
            let mask = said.iter().fold(0, |mask, (key, _)| mask | 1_u64 << shard(key));
            let parsed = plan(&test, row, &words).0;
            LOCKED.set(0);
            let reply = run(&test, &mut test.another(), &words);
            let locked = LOCKED.take();
            let expected = if parsed.is_err() { 0 } else { mask };
            let alone = locked == u64::MAX && is_alone(row, &words);
            assert!(alone || locked == expected, "{}: {locked:x} locked, {expected:x} said; {reply}", show(&words));
        }
    }
}

/// True for calls that touch keys which they do not name.
fn is_alone(row: &Command, words: &[Vec<u8>]) -> bool {
    match row.name {
        "FLUSHALL" | "FLUSHDB" | "SWAPDB" => true,
        "SORT" | "SORT_RO" => {
            words.iter().any(|word| word.eq_ignore_ascii_case(b"BY") || word.eq_ignore_ascii_case(b"GET"))
        }
        _ => false,
    }
}

/// Debug builds hold every reply against the row's `returns`, and panic when a handler reaches for a shard that it did
/// not lock. So it is enough to run everything: on keys of all types, missing ones too, in both protocols.
#[test]
fn every_call_replies_what_its_row_says() {
    const { assert!(cfg!(debug_assertions), "this test needs the checks of debug builds") };
    for resp3 in [false, true] {
        let mut test = TestEngine::prepared(5);
        for seed in 0..CALLS {
            for row in rows().iter().filter(|row| row.kind != Kind::Session) {
                let words = call(row, seed);
                test.session.speak(resp3);
                test.session.select(0);
                let reply = test.call_at_once(&slices(&words));
                assert!(!reply.is_empty(), "{} is not answered", show(&words));
            }
        }
    }
}

#[test]
fn every_call_of_a_session_replies_what_its_row_says() {
    let test = TestEngine::prepared(5);
    for row in rows().iter().filter(|row| row.kind == Kind::Session) {
        for seed in 0..CALLS {
            for resp3 in [false, true] {
                let mut session = test.another();
                session.speak(resp3);
                let words = call(row, seed);
                let reply = run(&test, &mut session, &words);
                let silent = matches!(row.name, "SHUTDOWN" | "CLIENT REPLY");
                assert!(silent || !reply.is_empty(), "{} is not answered", show(&words));
                test.engine.state().pause.end();
                test.engine.leave(&mut session);
            }
        }
    }
}

// ---- rights ----

fn user(rules: &[&str]) -> User {
    let terms = Terms::of(table());
    let mut user = User::new("somebody", &terms);
    for rule in rules {
        user.apply(rule.as_bytes(), &terms).expect("a rule");
    }
    user
}

#[test]
fn who_may_only_read_is_refused_by_every_row_that_writes() {
    let test = TestEngine::prepared(1);
    let mut session = test.another();
    session.user = Some(Arc::new(user(&["on", "nopass", "~*", "&*", "+@read"])));
    let before = state_of(&test);
    for row in rows().iter().filter(|row| row.writes()) {
        for seed in 0..CALLS / 4 {
            let reply = run(&test, &mut session, &call(row, seed));
            let expected = format!("-NOPERM User somebody has no permissions to run the '{}' command", row.full_name());
            assert_eq!(reply, expected);
        }
    }
    assert!(state_of(&test) == before, "something has changed");
}

/// What a key's right asks for, looked at from the other side: a user without it is refused before anything happens.
#[test]
fn rights_on_keys_hold_for_every_row() {
    let everything = ["on", "nopass", "&*", "+@all"];
    let with = |key_rules: &[&str]| user(&[&everything[..], key_rules].concat());
    let (reader, writer, nobody) = (with(&["%R~*"]), with(&["%W~*"]), with(&["~other:*"]));
    for row in data_rows().chain(rows().iter().filter(|row| matches!(row.name, "WATCH" | "DUMP"))) {
        let test = TestEngine::prepared(1);
        for seed in 0..CALLS / 2 {
            let words = call(row, seed);
            let (_, keys) = plan(&test, row, &words);
            let accesses: Vec<Access> = keys.keys.iter().map(|key| row.access(key.access)).collect();
            // BY and GET of SORT read keys that no word names.
            let refused = [
                (&reader, accesses.iter().any(|access| access.writes())),
                (&writer, keys.reads_any || accesses.iter().any(|access| access.reads())),
                (&nobody, keys.reads_any || !accesses.is_empty()),
            ];
            for (user, expected) in refused {
                let mut session = test.another();
                session.user = Some(Arc::new(user.clone()));
                let before = expected.then(|| state_of(&test));
                let reply = run(&test, &mut session, &words);
                let was_refused = reply == "-NOPERM No permissions to access a key";
                assert_eq!(was_refused, expected, "{}: {reply}", show(&words));
                assert!(
                    before.is_none_or(|before| before == state_of(&test)),
                    "{} has changed something",
                    show(&words)
                );
                test.engine.leave(&mut session);
            }
        }
    }
}

#[test]
fn what_sort_finds_elsewhere_needs_the_right_to_read_everything() {
    let mut test = TestEngine::prepared(1);
    test.session.user = Some(Arc::new(user(&["on", "nopass", "~list*", "+@all"])));
    test.check(
        r#"
        SORT list2 => ["1", "2", "3", "10"]
        SORT list2 BY nosort GET # => ["3", "1", "2", "10"]
        SORT list2 GET * => -NOPERM No permissions to access a key
        SORT list2 BY w_* => -NOPERM No permissions to access a key
        "#,
    );
    test.session.user = Some(Arc::new(user(&["on", "nopass", "%R~*", "+@all"])));
    test.check(r#"SORT list2 BY w_* ALPHA LIMIT 0 1 GET # GET w_* => ["10", nil]"#);
}

/// Rows that change how a value is held and not what it says: for Redis they write keys without needing the right to.
const KEEPERS: &[&str] = &["PFCOUNT", "PFDEBUG"];

/// A row that changes a key says so: else somebody with rights to read would get through.
#[test]
fn rows_that_write_say_what_they_do_with_their_keys() {
    for row in data_rows() {
        let (_, accesses) = facts::key_positions(row);
        let kinds = [Access::RO, Access::RW, Access::OW, Access::RM];
        for access in &accesses {
            assert_eq!(kinds.iter().filter(|kind| access.has(**kind)).count(), 1, "{}: {access:?}", row.name);
            assert!(!access.has(Access::RO) || !access.writes(), "{}: {access:?}", row.name);
            assert!(
                access.has(Access::RO) || access.writes() || KEEPERS.contains(&row.name),
                "{}: {access:?}",
                row.name
            );
        }
        let writes = accesses.iter().any(|access| access.writes());
        assert!(accesses.is_empty() || writes == row.writes() || KEEPERS.contains(&row.name), "{}", row.name);
    }
}

#[test]
fn without_a_login_only_what_logs_in_is_answered() {
    let test = TestEngine::prepared(1);
    // Else everybody is the default user.
    test.engine.state().users.require_password("secret");
    let before = state_of(&test);
    for row in rows() {
        for seed in 0..4 {
            let mut session = test.another();
            session.user = None;
            let reply = run(&test, &mut session, &call(row, seed));
            // EXEC says it within its own sentence.
            let refused = reply.ends_with("NOAUTH Authentication required.");
            assert_eq!(refused, !row.flags.has(Flags::NO_AUTH), "{}: {reply}", row.name);
            test.engine.leave(&mut session);
        }
    }
    assert!(state_of(&test) == before, "something has changed");
}

#[test]
fn rules_select_rows() {
    for row in rows() {
        assert!(table().by_name(&row.full_name()).contains(&row.id), "{}", row.name);
        let with = user(&["on", &format!("+{}", row.full_name())]);
        let without = user(&["on", "+@all", &format!("-{}", row.full_name())]);
        assert!(with.may_run(row.id) && !without.may_run(row.id), "{}", row.name);
        for category in row.acl_categories().names() {
            assert!(user(&["on", &format!("+@{category}")]).may_run(row.id), "{} {category}", row.name);
        }
    }
}
