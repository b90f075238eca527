//! Random sequences of calls against a naive model: the same replies, and the same data in the end.
//!
//! The calls are generated from the grammar; in between time goes on, the engine removes what is due, several calls
//! run as one transaction, and whole iterations with SCAN are held against what there is.

mod naive;
mod tree;

use std::collections::BTreeSet;
use std::fmt::{Debug, Formatter};

use naive::{Bytes, Model, Value};
use proptest::prelude::*;
use synap_core::command::table;
use synap_core::execute::expiry;
use synap_core::execute::row::Command;
use synap_core::execute::state::Rows as _;
use synap_core::glob;
use synap_core::grammar::generate::{self, Choices};
use synap_core::testing::{SOME_DATA, START_MS, TestEngine, run_at_once, split, vocabulary_of};
use tree::{Growing, Tree};

/// What the model knows. SPOP and SCAN, whose answers are not determined, are looked at on their own. Floats and digests
/// are left to examples and to the comparison with real servers.
const KNOWN: &str = "GET SET SET SET SETNX SETEX PSETEX GETSET GETDEL GETEX MSET MSETNX MSETEX MGET DELEX DELIFEQ INCR INCRBY DECR \
    DECRBY APPEND STRLEN GETRANGE SUBSTR SETRANGE LCS SETBIT SETBIT GETBIT BITCOUNT BITPOS BITOP BITOP BITFIELD \
    BITFIELD BITFIELD_RO DEL UNLINK EXISTS TOUCH TYPE EXPIRE PEXPIRE EXPIREAT PEXPIREAT TTL PTTL EXPIRETIME \
    PEXPIRETIME PERSIST RENAME RENAMENX COPY MOVE KEYS SORT_RO SELECT SWAPDB FLUSHDB LPUSH RPUSH RPUSH RPUSH LPOP \
    RPOP LRANGE LRANGE LMOVE BLMOVE BLPOP SADD SADD SADD SADD SREM SMEMBERS SINTER SINTER SPOP HSET HSET HSET HSET \
    HGET HGETALL HDEL HEXPIRE HEXPIRE HPEXPIREAT HTTL HTTL ZADD ZADD ZADD ZRANGE ZRANGE ZRANGE ZRANGE ZRANK SORT \
    SORT SORT LPUSHX RPUSHX LMPOP LLEN LINDEX LPOS LPOS LSET LINSERT LREM LTRIM RPOPLPUSH BRPOP BLMPOP BRPOPLPUSH \
    SMOVE SCARD SISMEMBER SMISMEMBER SINTERSTORE SINTERCARD SUNION SUNIONSTORE SDIFF SDIFFSTORE SRANDMEMBER SSCAN \
    HMSET HSETNX HSETEX HSETEX HMGET HGETDEL HGETEX HGETEX HEXISTS HLEN HSTRLEN HKEYS HVALS HSCAN HRANDFIELD HINCRBY \
    HINCRBY HINCRBYFLOAT HINCRBYFLOAT HPEXPIRE HEXPIREAT HPERSIST HPTTL HEXPIRETIME HPEXPIRETIME ZREVRANK ZINCRBY \
    ZREM ZCARD ZSCORE ZMSCORE ZRANDMEMBER ZSCAN ZRANGESTORE ZRANGEBYSCORE ZRANGEBYLEX ZREVRANGE ZREVRANGEBYSCORE \
    ZREVRANGEBYLEX ZCOUNT ZLEXCOUNT ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREMRANGEBYLEX ZPOPMIN ZPOPMAX ZMPOP BZPOPMIN \
    BZPOPMAX BZMPOP ZUNION ZINTER ZDIFF ZUNIONSTORE ZINTERSTORE ZDIFFSTORE ZINTERCARD GEOADD GEOADD GEOPOS GEOHASH \
    GEODIST GEOSEARCH GEOSEARCH GEOSEARCHSTORE GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO";

#[derive(Clone)]
enum Step {
    Call(Vec<Bytes>),
    /// One transaction.
    Together(Vec<Vec<Bytes>>),
    Wait {
        ms: i64,
    },
    Expire,
    /// A whole iteration with SCAN.
    Iterate {
        count: u32,
        r#type: Option<&'static str>,
    },
}

impl Debug for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Call(words) => write!(f, "{}", show(words)),
            Step::Together(calls) => {
                write!(f, "MULTI; {}; EXEC", calls.iter().map(|c| show(c)).collect::<Vec<_>>().join("; "))
            }
            Step::Wait { ms } => write!(f, "wait {ms} ms"),
            Step::Expire => write!(f, "expire"),
            Step::Iterate { count, r#type } => write!(f, "SCAN all COUNT {count} TYPE {type:?}"),
        }
    }
}

fn show(words: &[Bytes]) -> String {
    words.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>().join(" ")
}

fn row(name: &str) -> &'static Command {
    table().all().iter().find(|row| row.name == name).expect("a row")
}

fn call() -> impl Strategy<Value = Vec<Bytes>> {
    let rows: Vec<_> = KNOWN.split(' ').filter(|name| !name.is_empty()).map(row).collect();
    let numbers = prop::collection::vec(any::<u32>(), 0..24);
    (0..rows.len(), numbers).prop_filter_map("fewer options than the row asks for", move |(index, numbers)| {
        let row = rows[index];
        let given = generate::arguments(row.args, &mut Choices::within(&numbers, vocabulary_of(row.group)));
        let args = generate::words(row.args, &given);
        let is_enough = args.len() >= row.min_words;
        is_enough.then(|| std::iter::once(row.name.as_bytes().to_vec()).chain(args).collect())
    })
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(1), Just(499), Just(500), Just(1000), Just(5000), Just(9_999), Just(100_001)];
    let types = prop::option::of(prop::sample::select(vec!["string", "list", "SET", "hash", "zset", "nothing"]));
    prop_oneof![
        30 => call().prop_map(Step::Call),
        2 => prop::collection::vec(call(), 1..5).prop_map(Step::Together),
        2 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Expire),
        1 => (1_u32..20, types).prop_map(|(count, r#type)| Step::Iterate { count, r#type }),
    ]
}

struct Pair {
    test: TestEngine,
    model: Model,
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair { test: TestEngine::prepared(1), model: Model { now_ms: START_MS, ..Model::default() } };
        for line in SOME_DATA {
            pair.model.call(&split(line));
        }
        assert_eq!(pair.test.dump(), pair.model.dump());
        pair
    }

    fn reply(&mut self, words: &[Bytes]) -> Tree {
        let mut growing = Growing::default();
        let slices: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        run_at_once(&self.test.engine, &mut self.test.session, &slices, &mut growing);
        growing.tree()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Call(words) if self.model.is_undetermined(words) => {}
            Step::Call(words) => {
                let reply = self.reply(words);
                self.expect(words, &reply);
                if matches!(words[0].as_slice(), b"SSCAN" | b"HSCAN") {
                    self.iterate_collection(words);
                }
            }
            // What one of them leaves behind may make the next one undetermined.
            Step::Together(calls) if calls.iter().any(|words| changes_where_it_may_be_undetermined(words)) => {}
            Step::Together(calls) => {
                self.reply(&[b"MULTI".to_vec()]);
                for words in calls {
                    assert_eq!(self.reply(words), Tree::leaf("QUEUED"), "{}", show(words));
                }
                let Tree::List(replies) = self.reply(&[b"EXEC".to_vec()]) else { panic!("EXEC answers an array") };
                assert_eq!(replies.len(), calls.len());
                calls.iter().zip(&replies).for_each(|(words, reply)| self.expect(words, reply));
            }
            Step::Wait { ms } => {
                self.test.clock.advance(*ms);
                self.model.now_ms += ms;
            }
            Step::Expire => {
                let engine = &self.test.engine;
                expiry::expire_all(engine.state(), || engine.enter_blocking());
            }
            Step::Iterate { count, r#type } => self.iterate(*count, *r#type),
        }
    }

    /// Holds the reply of a call against the model's.
    fn expect(&mut self, words: &[Bytes], reply: &Tree) {
        match words[0].as_slice() {
            b"SPOP" => return self.expect_popped(words, reply),
            b"SRANDMEMBER" | b"HRANDFIELD" => return self.expect_picked(words, reply),
            b"SSCAN" | b"HSCAN" => return self.expect_scanned(words, reply),
            b"HINCRBYFLOAT" => return self.expect_sum(words, reply),
            _ => {}
        }
        let expected = self.model.call(words);
        let unordered = words[0].starts_with(b"SORT") && is_in_the_order_of_a_set(&self.model, words);
        let sorted = |items: &[Tree]| Tree::set(items.iter().cloned());
        let agrees = match (&expected, reply) {
            // Names of keys come in any order.
            (Tree::List(expected), Tree::List(got)) if words[0] == b"KEYS" => {
                let mut got = got.clone();
                got.sort();
                *expected == got
            }
            // Fields have no order, though their names come as a list.
            (Tree::Set(_), Tree::List(items)) => sorted(items).is_expected(&expected),
            (Tree::List(expected), Tree::List(got)) if unordered => expected.len() == got.len(),
            _ => reply.is_expected(&expected),
        };
        assert!(agrees, "{}\n answered {reply:?}\n expected {expected:?}", show(words));
    }

    /// Chance chooses among what is there: the model removes what was chosen.
    fn expect_popped(&mut self, words: &[Bytes], reply: &Tree) {
        let members = match self.model.call(&[b"SMEMBERS".to_vec(), words[1].clone()]) {
            Tree::Set(members) => members,
            wrong_type => return assert_eq!(*reply, wrong_type),
        };
        let popped = match (reply, words.get(2)) {
            (Tree::Set(popped), Some(count)) => {
                let count = String::from_utf8_lossy(count).parse::<usize>().expect("a count");
                assert_eq!(popped.len(), count.min(members.len()));
                popped.clone()
            }
            (nil, None) if members.is_empty() => return assert_eq!(*nil, Tree::leaf("nil")),
            (one, _) => vec![one.clone()],
        };
        let distinct: BTreeSet<_> = popped.iter().collect();
        assert!(distinct.len() == popped.len() && popped.iter().all(|one| members.contains(one)), "{reply:?}");
        let Some(Value::Set(set)) = self.model.value_mut(&words[1]) else { return };
        set.retain(|member| !popped.contains(&Tree::bytes(member)));
        self.model.drop_if_empty(&words[1]);
    }

    /// What a set or a hash holds; fields as pairs with their values.
    fn items(&mut self, words: &[Bytes]) -> Result<Vec<Tree>, Tree> {
        let whole: &[u8] = if words[0].starts_with(b"S") { b"SMEMBERS" } else { b"HGETALL" };
        match self.model.call(&[whole.to_vec(), words[1].clone()]) {
            Tree::Set(items) => Ok(items),
            wrong_type => Err(wrong_type),
        }
    }

    /// Chance chooses: different ones, or any.
    fn expect_picked(&mut self, words: &[Bytes], reply: &Tree) {
        let count = words.get(2).map(|word| String::from_utf8_lossy(word).parse::<i64>().expect("a count"));
        if words.len() > 3 && count > Some(i64::MAX / 2) {
            return assert!(reply.is_expected(&Tree::leaf("-ERR")), "{reply:?}");
        }
        let items = match self.items(words) {
            Ok(items) => items,
            Err(wrong_type) => return assert_eq!(*reply, wrong_type),
        };
        let name = |item: &Tree| if let Tree::List(pair) = item { pair[0].clone() } else { item.clone() };
        let names: Vec<Tree> = items.iter().map(name).collect();
        let Some(count) = count else {
            let nil = names.is_empty() && *reply == Tree::leaf("nil");
            return assert!(nil || names.contains(reply), "{reply:?}");
        };
        let Tree::List(picked) = reply else { panic!("{}: {reply:?}", show(words)) };
        let known = if words.len() > 3 { &items } else { &names };
        assert!(picked.iter().all(|one| known.contains(one)), "{reply:?}");
        let many = usize::try_from(count.unsigned_abs()).expect("a count");
        if count < 0 {
            assert_eq!(picked.len(), if items.is_empty() { 0 } else { many });
        } else {
            let distinct: BTreeSet<_> = picked.iter().collect();
            assert_eq!((picked.len(), distinct.len()), (many.min(items.len()), many.min(items.len())));
        }
    }

    /// What an iteration over a set or a hash is to meet, fields and values each for itself.
    fn met_by(&mut self, words: &[Bytes]) -> Vec<Tree> {
        self.model.purge();
        let at = |token: &[u8]| words[3..].iter().position(|word| word == token);
        let pattern = at(b"MATCH").map(|at| &words[at + 4]);
        let is_taken = |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        match self.model.value(&words[1]) {
            Some(Value::Set(set)) => set.iter().filter(is_taken).map(|member| Tree::bytes(member)).collect(),
            Some(Value::Hash(hash)) => {
                let values = usize::from(at(b"NOVALUES").is_none());
                let fields = hash.iter().filter(|(field, _)| is_taken(field));
                fields
                    .flat_map(|(field, (value, _))| [field, value].into_iter().take(1 + values))
                    .map(|b| Tree::bytes(b))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn expect_scanned(&mut self, words: &[Bytes], reply: &Tree) {
        if let Err(wrong_type) = self.items(words) {
            return assert_eq!(*reply, wrong_type);
        }
        let Tree::List(parts) = reply else { panic!("{}: {reply:?}", show(words)) };
        let [Tree::Leaf(_), Tree::List(items)] = parts.as_slice() else { panic!("{parts:?}") };
        let expected = self.met_by(words);
        assert!(items.iter().all(|item| expected.contains(item)), "{}: {items:?} of {expected:?}", show(words));
    }

    /// From the beginning to the end everything that matches comes exactly once, because nothing changes meanwhile.
    fn iterate_collection(&mut self, words: &[Bytes]) {
        if self.items(words).is_err() {
            return;
        }
        let (mut expected, mut found) = (self.met_by(words), Vec::new());
        let mut words = words.to_vec();
        words[2] = b"0".to_vec();
        loop {
            let Tree::List(parts) = self.reply(&words) else { panic!("an iteration answers an array") };
            let [Tree::Leaf(next), Tree::List(items)] = parts.as_slice() else { panic!("{parts:?}") };
            found.extend(items.iter().cloned());
            words[2] = next.trim_matches('"').as_bytes().to_vec();
            if words[2] == b"0" {
                break;
            }
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{}", show(&words));
    }

    /// The sum has more digits than the model's: it is stored as it was answered.
    fn expect_sum(&mut self, words: &[Bytes], reply: &Tree) {
        let expected = self.model.call(words);
        let (Tree::Leaf(expected), Tree::Leaf(got)) = (&expected, reply) else { panic!("{reply:?}") };
        let Ok(sum) = expected.parse::<f64>() else {
            return assert!(reply.is_expected(&Tree::leaf(expected)), "{}: {got}, expected {expected}", show(words));
        };
        let text = got.trim_matches('"');
        let got: f64 = text.parse().unwrap_or_else(|_| panic!("{}: {got}", show(words)));
        assert!(got == sum || (got - sum).abs() <= 1e-9 * sum.abs().max(1.0), "{}: {got}, expected {sum}", show(words));
        self.model.put_field(&words[1], &words[2], text.as_bytes());
    }

    /// Nothing changes meanwhile: every key exactly once.
    fn iterate(&mut self, count: u32, r#type: Option<&str>) {
        let mut cursor = b"0".to_vec();
        let mut found = Vec::new();
        loop {
            let mut words = vec![b"SCAN".to_vec(), cursor, b"COUNT".to_vec(), count.to_string().into_bytes()];
            if let Some(name) = r#type {
                words.extend([b"TYPE".to_vec(), name.as_bytes().to_vec()]);
            }
            let Tree::List(reply) = self.reply(&words) else { panic!("SCAN answers an array") };
            let [Tree::Leaf(next), Tree::List(keys)] = reply.as_slice() else { panic!("{reply:?}") };
            found.extend(keys.iter().cloned());
            cursor = next.trim_matches('"').as_bytes().to_vec();
            if cursor == b"0" {
                break;
            }
        }
        found.sort();
        let mut expected: Vec<_> = self.model.names(r#type).iter().map(|key| Tree::bytes(key)).collect();
        expected.sort();
        assert_eq!(found, expected);
    }
}

fn changes_where_it_may_be_undetermined(words: &[Bytes]) -> bool {
    let has = |token: &[u8]| words.iter().any(|word| word == token);
    let stores = has(b"STORE") || has(b"STOREDIST") || matches!(words[0].as_slice(), b"GEOADD" | b"GEOSEARCHSTORE");
    words[0] == b"ZREMRANGEBYLEX"
        || (words[0].starts_with(b"GEO") && stores)
        || (words[0] == b"ZRANGESTORE" && has(b"BYLEX"))
}

/// A set that SORT does not sort comes as it lies; with a part of it asked for, the part is anybody's guess.
fn is_in_the_order_of_a_set(model: &Model, words: &[Bytes]) -> bool {
    let by = words.iter().position(|word| word == b"BY").map(|at| &words[at + 1]);
    let is_set = matches!(model.value(&words[1]), Some(Value::Set(_)));
    is_set && by.is_some_and(|by| !by.contains(&b'*')) && !words.iter().any(|word| word == b"STORE")
}

/// Collections leave their compact forms at the third element.
const SMALL: &str = "CONFIG SET hash-max-listpack-entries 2 list-max-listpack-size 2 set-max-intset-entries 2 \
                     set-max-listpack-entries 2 zset-max-listpack-entries 2";

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_and_data_are_those_of_the_model(steps in prop::collection::vec(step(), 1..150), small in any::<bool>()) {
        let mut pair = Pair::new();
        if small {
            assert_eq!(pair.test.call(SMALL), "OK");
        }
        steps.iter().for_each(|step| pair.step(step));
        pair.step(&Step::Expire);
        pair.model.purge();
        prop_assert_eq!(pair.test.dump(), pair.model.dump());
        pair.test.check_twin();
    }
}
