//! The commands of the spine over plain maps: slow, short, and written from what Redis documents, not from our code.
//!
//! Words are as the generator gives them: options in any order, no half-given ones.

mod places;
mod sorted;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use synap_core::glob;

use crate::tree::Tree;

pub type Bytes = Vec<u8>;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Bytes),
    List(VecDeque<Bytes>),
    Set(BTreeSet<Bytes>),
    /// Each with its deadline.
    Hash(BTreeMap<Bytes, (Bytes, Option<i64>)>),
    ZSet(BTreeMap<Bytes, f64>),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub value: Value,
    pub until: Option<i64>,
}

#[derive(Default)]
pub struct Model {
    pub dbs: BTreeMap<u32, BTreeMap<Bytes, Entry>>,
    pub db: u32,
    pub now_ms: i64,
}

/// An error, or the reply.
type Answer = Result<Tree, &'static str>;

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INT: &str = "-ERR value is not an integer or out of range";
/// Any error of the common code.
const ERR: &str = "-ERR";

fn int(value: usize) -> Answer {
    Ok(Tree::leaf(value))
}

fn ok() -> Answer {
    Ok(Tree::leaf("OK"))
}

fn nil() -> Answer {
    Ok(Tree::leaf("nil"))
}

/// Canonical decimal text only.
fn number(word: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(word).ok()?;
    text.parse::<i64>().ok().filter(|value| value.to_string() == text)
}

/// What is too large for a double is no number; only the word itself means infinity.
fn float(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let is_word = matches!(text.trim_start_matches(['+', '-']), "inf");
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|value: &f64| is_word || (is_plain && value.is_finite()))
}

/// The words behind the first `skip`, asked for by token.
struct Options<'a>(&'a [Bytes]);

impl<'a> Options<'a> {
    fn at(&self, token: &str) -> Option<usize> {
        self.0.iter().position(|word| word == token.as_bytes())
    }
    fn has(&self, token: &str) -> bool {
        self.at(token).is_some()
    }
    fn value(&self, token: &str) -> Option<&'a Bytes> {
        self.at(token).map(|at| &self.0[at + 1])
    }
    fn int(&self, token: &str) -> Option<i64> {
        self.value(token).and_then(|word| number(word))
    }
    fn limit(&self) -> Option<(i64, i64)> {
        let at = self.at("LIMIT")?;
        Some((number(&self.0[at + 1])?, number(&self.0[at + 2])?))
    }
}

macro_rules! typed {
    ($get:ident, $put:ident, $variant:ident, $type:ty) => {
        fn $get(&self, key: &[u8]) -> Result<Option<$type>, &'static str> {
            match self.get(key).map(|entry| &entry.value) {
                None => Ok(None),
                Some(Value::$variant(inner)) => Ok(Some(inner.clone())),
                Some(_) => Err(WRONG_TYPE),
            }
        }
        /// Puts it back; an empty one is no more. The deadline of the key stays.
        fn $put(&mut self, key: &[u8], inner: $type) {
            if inner.is_empty() {
                self.keys().remove(key);
            } else {
                let until = self.get(key).and_then(|entry| entry.until);
                self.keys().insert(key.into(), Entry { value: Value::$variant(inner), until });
            }
        }
    };
}

impl Model {
    fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.dbs.get(&self.db)?.get(key)
    }

    fn keys(&mut self) -> &mut BTreeMap<Bytes, Entry> {
        self.dbs.entry(self.db).or_default()
    }

    typed!(list, put_list, List, VecDeque<Bytes>);
    typed!(set, put_set, Set, BTreeSet<Bytes>);
    typed!(hash, put_hash, Hash, BTreeMap<Bytes, (Bytes, Option<i64>)>);
    typed!(zset, put_zset, ZSet, BTreeMap<Bytes, f64>);

    fn text(&self, key: &[u8]) -> Result<Option<Bytes>, &'static str> {
        match self.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn put_text(&mut self, key: &[u8], text: &[u8], until: Option<i64>) {
        self.keys().insert(key.into(), Entry { value: Value::Text(text.into()), until });
    }

    pub fn value(&self, key: &[u8]) -> Option<&Value> {
        self.get(key).map(|entry| &entry.value)
    }

    pub fn value_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.keys().get_mut(key).map(|entry| &mut entry.value)
    }

    pub fn drop_if_empty(&mut self, key: &[u8]) {
        if let Ok(Some(set)) = self.set(key) {
            self.put_set(key, set);
        }
    }

    /// Puts a value into a field, which keeps its deadline.
    pub fn put_field(&mut self, key: &[u8], field: &[u8], value: &[u8]) {
        let mut hash = self.hash(key).ok().flatten().unwrap_or_default();
        hash.entry(field.into()).or_default().0 = value.into();
        self.put_hash(key, hash);
    }

    /// The keys of the selected database, of one type or all.
    pub fn names(&mut self, r#type: Option<&str>) -> Vec<Bytes> {
        self.purge();
        let keys: Vec<Bytes> = self.keys().keys().cloned().collect();
        let is = |model: &mut Model, key: &Bytes, name: &str| {
            model.run(&[b"TYPE".to_vec(), key.clone()]) == Ok(Tree::leaf(name.to_ascii_lowercase()))
        };
        keys.into_iter().filter(|key| r#type.is_none_or(|name| is(self, key, name))).collect()
    }

    /// Removes what is due.
    pub fn purge(&mut self) {
        let now_ms = self.now_ms;
        let is_due = |until: Option<i64>| until.is_some_and(|until| until <= now_ms);
        for keys in self.dbs.values_mut() {
            keys.retain(|_, entry| {
                if let Value::Hash(hash) = &mut entry.value {
                    hash.retain(|_, (_, until)| !is_due(*until));
                    if hash.is_empty() {
                        return false;
                    }
                }
                !is_due(entry.until)
            });
        }
    }

    pub fn call(&mut self, words: &[Bytes]) -> Tree {
        self.purge();
        let reply = self.run(words).unwrap_or_else(Tree::leaf);
        self.purge();
        reply
    }

    fn run(&mut self, words: &[Bytes]) -> Answer {
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        let args = &words[1..];
        match name.as_str() {
            "GET" => Ok(Tree::optional(self.text(&args[0])?.as_ref())),
            "SET" => self.set_command(&args[0], &args[1], &Options(&args[2..])),
            "SETNX" | "MSETNX" => {
                let is_free = args.chunks(2).all(|pair| self.get(&pair[0]).is_none());
                if is_free {
                    args.chunks(2).for_each(|pair| self.put_text(&pair[0], &pair[1], None));
                }
                int(is_free.into())
            }
            "SETEX" | "PSETEX" => {
                let time = number(&args[1]).ok_or(ERR)?;
                let until = self.until(time, if name == "SETEX" { 1000 } else { 1 }, self.now_ms)?;
                self.put_text(&args[0], &args[2], Some(until));
                ok()
            }
            "GETSET" => {
                let old = self.text(&args[0])?;
                self.put_text(&args[0], &args[1], None);
                Ok(Tree::optional(old.as_ref()))
            }
            "GETDEL" => {
                let old = self.text(&args[0])?;
                self.keys().remove(&args[0]);
                Ok(Tree::optional(old.as_ref()))
            }
            "GETEX" => {
                let options = Options(&args[1..]);
                let Some(text) = self.text(&args[0])? else { return nil() };
                let until = self.deadline(&options)?;
                let entry = self.keys().get_mut(&args[0]).expect("it is there");
                entry.until = until.or(entry.until.filter(|_| !options.has("PERSIST")));
                Ok(Tree::bytes(&text))
            }
            "MSETEX" => {
                let count = 1 + 2 * number(&args[0]).expect("a count") as usize;
                let (pairs, options) = (&args[1..count], Options(&args[count..]));
                let until = self.deadline(&options)?;
                let met = pairs.chunks(2).all(|pair| match self.get(&pair[0]) {
                    Some(_) => !options.has("NX"),
                    None => !options.has("XX"),
                });
                for pair in pairs.chunks(2).filter(|_| met) {
                    let kept = self.get(&pair[0]).filter(|_| options.has("KEEPTTL")).and_then(|entry| entry.until);
                    self.put_text(&pair[0], &pair[1], until.or(kept));
                }
                int(met.into())
            }
            "DELEX" | "DELIFEQ" => {
                let (condition, word) = match args {
                    [_] => ("", &args[0]),
                    [_, word] => ("IFEQ", word),
                    [_, token, word, ..] => (std::str::from_utf8(token).expect("a token"), word),
                    [] => panic!("a key"),
                };
                let text = match self.text(&args[0]) {
                    _ if condition.is_empty() => return int(self.keys().remove(&args[0]).is_some().into()),
                    Err(_) if name == "DELEX" => return Err(ERR),
                    text => text?,
                };
                let Some(text) = text else { return int(0) };
                let met = match condition {
                    "IFEQ" => text == *word,
                    "IFNE" => text != *word,
                    _ if !is_digest(word) => return Err(ERR),
                    // Nothing that is stored has a digest by chance.
                    other => other == "IFDNE",
                };
                if met {
                    self.keys().remove(&args[0]);
                }
                int(met.into())
            }
            "INCR" | "DECR" | "INCRBY" | "DECRBY" => {
                let by = match args.get(1) {
                    None => 1,
                    Some(word) => number(word).ok_or(NOT_INT)?,
                };
                let by = if name.starts_with('D') { by.checked_neg().ok_or(ERR)? } else { by };
                let old = self.text(&args[0])?.map_or(Ok(0), |text| number(&text).ok_or(NOT_INT))?;
                let new = old.checked_add(by).ok_or(ERR)?;
                self.edit(&args[0], |text| *text = new.to_string().into_bytes())?;
                Ok(Tree::leaf(new))
            }
            "STRLEN" => int(self.text(&args[0])?.map_or(0, |text| text.len())),
            "APPEND" => {
                let text = self.edit(&args[0], |text| text.extend(&args[1]))?;
                int(text.len())
            }
            "GETRANGE" | "SUBSTR" => {
                let (start, end) = (number(&args[1]).ok_or(ERR)?, number(&args[2]).ok_or(ERR)?);
                let text = self.text(&args[0])?.unwrap_or_default();
                let is_reversed = start < 0 && end < 0 && start > end;
                let part = if is_reversed { 0..0 } else { range(start, at_least_zero(end, text.len()), text.len()) };
                Ok(Tree::bytes(&text[part]))
            }
            "SETRANGE" => {
                let offset = number(&args[1]).filter(|offset| *offset >= 0).ok_or(ERR)? as usize;
                let len = self.text(&args[0])?.map_or(0, |text| text.len());
                if args[2].is_empty() {
                    return int(len);
                }
                let end = offset.checked_add(args[2].len()).filter(|end| *end <= LONGEST).ok_or(ERR)?;
                let text = self.edit(&args[0], |text| {
                    text.resize(text.len().max(end), 0);
                    text[offset..end].copy_from_slice(&args[2]);
                })?;
                int(text.len())
            }
            "LCS" => {
                let options = Options(&args[2..]);
                if options.has("LEN") && options.has("IDX") {
                    return Err(ERR);
                }
                let text = |key: &Bytes| self.text(key).map(Option::unwrap_or_default).map_err(|_| ERR);
                lcs(&text(&args[0])?, &text(&args[1])?, &options)
            }
            "SETBIT" | "GETBIT" => {
                let offset = number(&args[1]).filter(|offset| (0..LONGEST as i64 * 8).contains(offset)).ok_or(ERR)?;
                let text = self.text(&args[0])?.unwrap_or_default();
                let old = bit(&text, offset as usize);
                if name == "SETBIT" {
                    let new = args[2] == b"1";
                    self.edit(&args[0], |text| set_bit(text, offset as usize, new))?;
                }
                int(old.into())
            }
            "BITCOUNT" | "BITPOS" => self.bits_in(&name, args),
            "BITOP" => self.bitop(args),
            "BITFIELD" | "BITFIELD_RO" => self.bitfield(args),
            "MSET" => {
                args.chunks(2).for_each(|pair| self.put_text(&pair[0], &pair[1], None));
                ok()
            }
            "MGET" => {
                let get = |key: &Bytes| Tree::optional(self.text(key).ok().flatten().as_ref());
                Ok(Tree::List(args.iter().map(get).collect()))
            }
            "DEL" | "UNLINK" => int(args.iter().filter(|key| self.keys().remove(*key).is_some()).count()),
            "EXISTS" | "TOUCH" => int(args.iter().filter(|key| self.get(key).is_some()).count()),
            "TYPE" => Ok(Tree::leaf(self.get(&args[0]).map_or("none", |entry| match entry.value {
                Value::Text(_) => "string",
                Value::List(_) => "list",
                Value::Set(_) => "set",
                Value::Hash(_) => "hash",
                Value::ZSet(_) => "zset",
            }))),
            "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" => {
                self.expire(&name, &args[0], &args[1], &Options(&args[2..]))
            }
            "TTL" | "PTTL" => Ok(Tree::leaf(match self.get(&args[0]).map(|entry| entry.until) {
                None => -2,
                Some(None) => -1,
                Some(Some(until)) if name == "PTTL" => until - self.now_ms,
                Some(Some(until)) => (until - self.now_ms).saturating_add(500) / 1000,
            })),
            "EXPIRETIME" | "PEXPIRETIME" => Ok(Tree::leaf(match self.get(&args[0]).map(|entry| entry.until) {
                None => -2,
                Some(None) => -1,
                Some(Some(until)) if name == "PEXPIRETIME" => until,
                Some(Some(until)) => until.saturating_add(500) / 1000,
            })),
            "PERSIST" => {
                let until = self.keys().get_mut(&args[0]).and_then(|entry| entry.until.take());
                int(until.is_some().into())
            }
            "RENAME" => {
                let entry = self.keys().remove(&args[0]).ok_or("-ERR no such key")?;
                self.keys().insert(args[1].clone(), entry);
                ok()
            }
            "RENAMENX" => {
                let entry = self.get(&args[0]).cloned().ok_or("-ERR no such key")?;
                let is_free = self.get(&args[1]).is_none();
                if is_free {
                    self.keys().remove(&args[0]);
                    self.keys().insert(args[1].clone(), entry);
                }
                int(is_free.into())
            }
            "MOVE" => {
                let db = number(&args[1]).filter(|db| (0..16).contains(db) && *db != self.db.into()).ok_or(ERR)?;
                let there = self.dbs.entry(db as u32).or_default();
                if there.contains_key(&args[0]) {
                    return int(0);
                }
                let Some(entry) = self.keys().remove(&args[0]) else { return int(0) };
                self.dbs.entry(db as u32).or_default().insert(args[0].clone(), entry);
                int(1)
            }
            "KEYS" => {
                let names = self.names(None).into_iter().filter(|key| glob::matches(&args[0], key));
                let mut names: Vec<Tree> = names.map(|key| Tree::bytes(&key)).collect();
                names.sort();
                Ok(Tree::List(names))
            }
            "COPY" => self.copy(&args[0], &args[1], &Options(&args[2..])),
            "FLUSHALL" => {
                self.dbs.clear();
                ok()
            }
            "FLUSHDB" => {
                self.keys().clear();
                ok()
            }
            "SWAPDB" => {
                let db = |word: &Bytes| number(word).filter(|db| (0..16).contains(db)).ok_or(ERR);
                let (one, other) = (db(&args[0])? as u32, db(&args[1])? as u32);
                let moved = [one, other].map(|db| self.dbs.remove(&db).unwrap_or_default());
                let [to_other, to_one] = moved;
                self.dbs.insert(one, to_one);
                if one != other {
                    self.dbs.insert(other, to_other);
                } else {
                    self.dbs.insert(one, to_other);
                }
                ok()
            }
            "SELECT" => {
                self.db = number(&args[0]).filter(|db| (0..16).contains(db)).ok_or(ERR)? as u32;
                ok()
            }
            "LPUSHX" | "RPUSHX" if self.list(&args[0])?.is_none() => int(0),
            "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" => {
                let mut list = self.list(&args[0])?.unwrap_or_default();
                args[1..].iter().for_each(|item| push(&mut list, name.starts_with('L'), item.clone()));
                self.put_list(&args[0], list.clone());
                int(list.len())
            }
            "LPOP" | "RPOP" => {
                let Some(mut list) = self.list(&args[0])? else { return nil() };
                let count = args.get(1).map(|word| number(word).unwrap_or(0) as usize);
                let popped: Vec<_> =
                    (0..count.unwrap_or(1).min(list.len())).filter_map(|_| pop(&mut list, name == "LPOP")).collect();
                self.put_list(&args[0], list);
                match count {
                    None => Ok(Tree::optional(popped.first())),
                    Some(_) => Ok(Tree::List(popped.iter().map(|item| Tree::bytes(item)).collect())),
                }
            }
            "LRANGE" => {
                let list = self.list(&args[0])?.unwrap_or_default();
                let range = range(number(&args[1]).ok_or(ERR)?, number(&args[2]).ok_or(ERR)?, list.len());
                Ok(Tree::List(list.range(range).map(|item| Tree::bytes(item)).collect()))
            }
            "LLEN" => int(self.list(&args[0])?.unwrap_or_default().len()),
            "LINDEX" => {
                let list = self.list(&args[0])?.unwrap_or_default();
                Ok(Tree::optional(index(&args[1], list.len())?.and_then(|at| list.get(at))))
            }
            "LSET" => {
                let mut list = self.list(&args[0])?.ok_or("-ERR no such key")?;
                let at = index(&args[1], list.len())?.ok_or("-ERR index out of range")?;
                list[at] = args[2].clone();
                self.put_list(&args[0], list);
                ok()
            }
            "LINSERT" => {
                let Some(mut list) = self.list(&args[0])? else { return int(0) };
                let Some(at) = list.iter().position(|item| *item == args[2]) else { return Ok(Tree::leaf(-1)) };
                list.insert(at + usize::from(args[1] == b"AFTER"), args[3].clone());
                self.put_list(&args[0], list.clone());
                int(list.len())
            }
            "LREM" => {
                let mut list = self.list(&args[0])?.unwrap_or_default();
                let count = number(&args[1]).ok_or(ERR)?;
                let mut found: Vec<usize> = (0..list.len()).filter(|at| list[*at] == args[2]).collect();
                if count < 0 {
                    found.reverse();
                }
                found.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
                found.sort();
                found.iter().rev().for_each(|at| drop(list.remove(*at)));
                self.put_list(&args[0], list);
                int(found.len())
            }
            "LTRIM" => {
                let list = self.list(&args[0])?.unwrap_or_default();
                let kept = range(number(&args[1]).ok_or(ERR)?, number(&args[2]).ok_or(ERR)?, list.len());
                self.put_list(&args[0], list.range(kept).cloned().collect());
                ok()
            }
            "LPOS" => {
                let options = Options(&args[2..]);
                let (rank, maxlen) = (options.int("RANK").unwrap_or(1), options.int("MAXLEN").unwrap_or(0) as usize);
                if rank == 0 {
                    return Err(ERR);
                }
                let list = self.list(&args[0])?.unwrap_or_default();
                let mut indexes: Vec<usize> = (0..list.len()).collect();
                if rank < 0 {
                    indexes.reverse();
                }
                indexes.truncate(if maxlen == 0 { usize::MAX } else { maxlen });
                indexes.retain(|at| list[*at] == args[1]);
                let mut found = indexes.into_iter().skip(rank.unsigned_abs() as usize - 1).map(Tree::leaf);
                match options.int("COUNT") {
                    None => Ok(found.next().unwrap_or(Tree::leaf("nil"))),
                    Some(0) => Ok(Tree::List(found.collect())),
                    Some(count) => Ok(Tree::List(found.take(count as usize).collect())),
                }
            }
            "LMPOP" => self.pop_from_first(args),
            "BLMPOP" => self.pop_from_first(&args[1..]),
            "RPOPLPUSH" | "BRPOPLPUSH" => {
                self.run(&[b"LMOVE".to_vec(), args[0].clone(), args[1].clone(), b"RIGHT".to_vec(), b"LEFT".to_vec()])
            }
            "LMOVE" | "BLMOVE" => {
                let Some(mut from) = self.list(&args[0])? else {
                    // An empty source is no reason to look at the destination.
                    return nil();
                };
                self.list(&args[1])?;
                let item = pop(&mut from, args[2] == b"LEFT").expect("a list is not empty");
                let mut to = if args[0] == args[1] {
                    from
                } else {
                    self.put_list(&args[0], from);
                    self.list(&args[1])?.unwrap_or_default()
                };
                push(&mut to, args[3] == b"LEFT", item.clone());
                self.put_list(&args[1], to);
                Ok(Tree::bytes(&item))
            }
            "BLPOP" | "BRPOP" => {
                for key in &args[..args.len() - 1] {
                    if let Some(mut list) = self.list(key)? {
                        let item = pop(&mut list, name == "BLPOP").expect("a list is not empty");
                        self.put_list(key, list);
                        return Ok(Tree::List(vec![Tree::bytes(key), Tree::bytes(&item)]));
                    }
                }
                nil()
            }
            "SADD" => {
                let mut set = self.set(&args[0])?.unwrap_or_default();
                let added = args[1..].iter().filter(|item| set.insert((*item).clone())).count();
                self.put_set(&args[0], set);
                int(added)
            }
            "SREM" => {
                let mut set = self.set(&args[0])?.unwrap_or_default();
                let removed = args[1..].iter().filter(|item| set.remove(*item)).count();
                self.put_set(&args[0], set);
                int(removed)
            }
            "SMEMBERS" => Ok(Tree::set(self.set(&args[0])?.unwrap_or_default().iter().map(|item| Tree::bytes(item)))),
            "SCARD" => int(self.set(&args[0])?.unwrap_or_default().len()),
            "SISMEMBER" => int(self.set(&args[0])?.unwrap_or_default().contains(&args[1]).into()),
            "SMISMEMBER" => {
                let set = self.set(&args[0])?.unwrap_or_default();
                Ok(Tree::List(args[1..].iter().map(|item| Tree::leaf(usize::from(set.contains(item)))).collect()))
            }
            "SMOVE" => {
                let Some(mut from) = self.set(&args[0])? else { return int(0) };
                let mut to = self.set(&args[1])?.unwrap_or_default();
                let is_there = from.contains(&args[2]);
                if is_there && args[0] != args[1] {
                    from.remove(&args[2]);
                    to.insert(args[2].clone());
                    self.put_set(&args[0], from);
                    self.put_set(&args[1], to);
                }
                int(is_there.into())
            }
            "SINTER" | "SUNION" | "SDIFF" => {
                Ok(Tree::set(self.join(&name, args)?.iter().map(|item| Tree::bytes(item))))
            }
            "SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE" => {
                let result = self.join(name.trim_end_matches("STORE"), &args[1..])?;
                self.keys().remove(&args[0]);
                self.put_set(&args[0], result.clone());
                int(result.len())
            }
            "SINTERCARD" => {
                let count = number(&args[0]).ok_or(ERR)? as usize;
                let limit = Options(&args[1 + count..]).int("LIMIT").filter(|limit| *limit > 0);
                let common = self.join("SINTER", &args[1..1 + count])?.len();
                int(limit.map_or(common, |limit| common.min(limit as usize)))
            }
            "HMSET" => {
                self.run(&[&[b"HSET".to_vec()], args].concat())?;
                ok()
            }
            "HSETNX" => {
                if self.hash(&args[0])?.unwrap_or_default().contains_key(&args[1]) {
                    return int(0);
                }
                self.run(&[&[b"HSET".to_vec()], args].concat())
            }
            "HSETEX" => self.set_fields(args),
            "HGETEX" | "HGETDEL" => self.get_fields(&name, args),
            "HMGET" => {
                let hash = self.hash(&args[0])?.unwrap_or_default();
                Ok(Tree::List(args[1..].iter().map(|field| Tree::optional(hash.get(field).map(|(v, _)| v))).collect()))
            }
            "HEXISTS" => int(self.hash(&args[0])?.unwrap_or_default().contains_key(&args[1]).into()),
            "HLEN" => int(self.hash(&args[0])?.unwrap_or_default().len()),
            "HSTRLEN" => {
                int(self.hash(&args[0])?.unwrap_or_default().get(&args[1]).map_or(0, |(value, _)| value.len()))
            }
            "HKEYS" => Ok(Tree::set(self.hash(&args[0])?.unwrap_or_default().keys().map(|field| Tree::bytes(field)))),
            "HVALS" => Ok(Tree::set(self.hash(&args[0])?.unwrap_or_default().values().map(|(v, _)| Tree::bytes(v)))),
            "HINCRBY" => {
                let mut hash = self.hash(&args[0])?.unwrap_or_default();
                let field = hash.entry(args[1].clone()).or_insert_with(|| (b"0".to_vec(), None));
                let old = number(&field.0).ok_or("-ERR hash value is not an integer")?;
                let new = old.checked_add(number(&args[2]).ok_or(ERR)?).ok_or(ERR)?;
                field.0 = new.to_string().into_bytes();
                self.put_hash(&args[0], hash);
                Ok(Tree::leaf(new))
            }
            // About: the sum has more digits than ours. The caller stores what was answered.
            "HINCRBYFLOAT" => {
                let hash = self.hash(&args[0])?.unwrap_or_default();
                let old = hash.get(&args[1]).map_or(Some(0.0), |(value, _)| wide_float(value));
                let old = old.ok_or("-ERR hash value is not a float")?;
                if String::from_utf8_lossy(hash.get(&args[1]).map_or(&[][..], |(value, _)| value)).contains("inf") {
                    return Err(ERR);
                }
                Ok(Tree::leaf(old + wide_float(&args[2]).ok_or(ERR)?))
            }
            "HSET" => {
                let mut hash = self.hash(&args[0])?.unwrap_or_default();
                let put = |pair: &&[Bytes]| hash.insert(pair[0].clone(), (pair[1].clone(), None)).is_none();
                let added = args[1..].chunks(2).filter(put).count();
                self.put_hash(&args[0], hash);
                int(added)
            }
            "HGET" => {
                let hash = self.hash(&args[0])?.unwrap_or_default();
                Ok(Tree::optional(hash.get(&args[1]).map(|(value, _)| value)))
            }
            "HGETALL" => {
                let pair = |(field, (value, _)): (&Bytes, &(Bytes, _))| vec![Tree::bytes(field), Tree::bytes(value)];
                Ok(Tree::set(self.hash(&args[0])?.unwrap_or_default().iter().map(pair).map(Tree::List)))
            }
            "HDEL" => {
                let mut hash = self.hash(&args[0])?.unwrap_or_default();
                let removed = args[1..].iter().filter(|field| hash.remove(*field).is_some()).count();
                self.put_hash(&args[0], hash);
                int(removed)
            }
            "HEXPIRE" | "HPEXPIRE" | "HEXPIREAT" | "HPEXPIREAT" => self.expire_fields(&name, args),
            "HPERSIST" => {
                let mut hash = self.hash(&args[0])?.unwrap_or_default();
                let persist = |field: &Bytes| match hash.get_mut(field).map(|(_, until)| until.take()) {
                    None => -2,
                    Some(None) => -1,
                    Some(Some(_)) => 1,
                };
                let answers = args[3..].iter().map(persist).map(Tree::leaf).collect();
                self.put_hash(&args[0], hash);
                Ok(Tree::List(answers))
            }
            "HTTL" | "HPTTL" | "HEXPIRETIME" | "HPEXPIRETIME" => {
                let hash = self.hash(&args[0])?.unwrap_or_default();
                let base = if name.ends_with("TTL") { self.now_ms } else { 0 };
                let ttl = |field: &Bytes| match hash.get(field) {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, Some(until))) if name.starts_with("HP") => until - base,
                    Some((_, Some(until))) => (until - base + 999) / 1000,
                };
                Ok(Tree::List(args[3..].iter().map(|field| Tree::leaf(ttl(field))).collect()))
            }
            "ZADD" => self.zadd(args),
            "ZRANGE" => self.zrange(args),
            "ZRANK" => {
                let zset = self.zset(&args[0])?.unwrap_or_default();
                let Some(score) = zset.get(&args[1]) else { return nil() };
                let rank = ranked(&zset).iter().position(|(member, _)| *member == args[1]).expect("it is there");
                Ok(match args.get(2) {
                    Some(_) => Tree::List(vec![Tree::leaf(rank), Tree::double(*score)]),
                    None => Tree::leaf(rank),
                })
            }
            "SORT" | "SORT_RO" => self.sort(&args[0], &Options(&args[1..])),
            geo if geo.starts_with("GEO") => self.places(geo, args),
            zset if zset.starts_with('Z') || zset.starts_with("BZ") => self.sorted_set(zset, args),
            other => panic!("the model does not know {other}"),
        }
    }

    /// A positive time as a point in time.
    fn until(&self, time: i64, unit: i64, base: i64) -> Result<i64, &'static str> {
        let time = Some(time).filter(|time| *time > 0).ok_or(ERR)?;
        time.checked_mul(unit).and_then(|ms| ms.checked_add(base)).ok_or(ERR)
    }

    /// What EX, PX, EXAT and PXAT say.
    fn deadline(&self, options: &Options) -> Result<Option<i64>, &'static str> {
        for (token, unit, base) in
            [("EX", 1000, self.now_ms), ("PX", 1, self.now_ms), ("EXAT", 1000, 0), ("PXAT", 1, 0)]
        {
            if options.has(token) {
                return self.until(options.int(token).ok_or(ERR)?, unit, base).map(Some);
            }
        }
        Ok(None)
    }

    /// Changes a string, made when there is none; its deadline stays.
    fn edit(&mut self, key: &[u8], change: impl FnOnce(&mut Bytes)) -> Result<Bytes, &'static str> {
        let mut text = self.text(key)?.unwrap_or_default();
        change(&mut text);
        let until = self.get(key).and_then(|entry| entry.until);
        self.put_text(key, &text, until);
        Ok(text)
    }

    fn bits_in(&self, name: &str, args: &[Bytes]) -> Answer {
        let (sought, rest) = if name == "BITPOS" { (args[1] == b"1", &args[2..]) } else { (true, &args[1..]) };
        let start = rest.first().map_or(Ok(0), |word| number(word).ok_or(ERR))?;
        let end = rest.get(1).map_or(Ok(-1), |word| number(word).ok_or(ERR))?;
        let text = self.text(&args[0])?;
        let Some(text) = text else { return Ok(Tree::leaf(if name == "BITPOS" && sought { -1 } else { 0 })) };
        let bits: Vec<bool> = (0..text.len() * 8).map(|at| bit(&text, at)).collect();
        let unit = if rest.get(2).is_some_and(|unit| unit == b"BIT") { 1 } else { 8 };
        let len = bits.len() / unit;
        let is_reversed = rest.len() > 1 && start < 0 && end < 0 && start > end;
        let units = range(start, at_least_zero(end, len), len);
        let part = units.start * unit..units.end * unit;
        if name == "BITCOUNT" {
            return int(if is_reversed { 0 } else { bits[part].iter().filter(|bit| **bit).count() });
        }
        let is_open = rest.len() < 2 && !sought && !part.is_empty();
        let found = part.clone().find(|at| bits[*at] == sought).or(is_open.then_some(bits.len()));
        Ok(Tree::leaf(found.map_or(-1, |at| at as i64)))
    }

    fn bitop(&mut self, args: &[Bytes]) -> Answer {
        let operation = args[0].as_slice();
        let needs_two = matches!(operation, b"DIFF" | b"DIFF1" | b"ANDOR");
        if (operation == b"NOT" && args.len() > 3) || (needs_two && args.len() < 4) {
            return Err(ERR);
        }
        let texts = args[2..].iter().map(|key| self.text(key)).collect::<Result<Vec<_>, _>>()?;
        let texts: Vec<Bytes> = texts.into_iter().map(Option::unwrap_or_default).collect();
        let len = texts.iter().map(Vec::len).max().unwrap_or(0);
        let mut result = vec![0; len];
        for at in 0..len * 8 {
            let bits: Vec<bool> = texts.iter().map(|text| bit(text, at)).collect();
            let (count, first) = (bits.iter().filter(|bit| **bit).count(), bits[0]);
            let others = count > usize::from(first);
            let new = match operation {
                b"AND" => count == bits.len(),
                b"OR" => count > 0,
                b"XOR" => count % 2 == 1,
                b"NOT" => !first,
                b"DIFF" => first && !others,
                b"DIFF1" => !first && others,
                b"ANDOR" => first && others,
                _ => count == 1,
            };
            set_bit(&mut result, at, new);
        }
        self.keys().remove(&args[1]);
        if len > 0 {
            self.put_text(&args[1], &result, None);
        }
        int(len)
    }

    fn bitfield(&mut self, args: &[Bytes]) -> Answer {
        let mut text = self.text(&args[0]);
        let mut words = args[1..].iter();
        let mut steps = Vec::new();
        let mut mode = b"WRAP".as_slice();
        while let Some(step) = words.next() {
            if step == b"OVERFLOW" {
                mode = words.next().expect("a mode").as_slice();
                continue;
            }
            let encoding = String::from_utf8_lossy(words.next().expect("an encoding")).into_owned();
            let signed = encoding.starts_with('i');
            let width: usize = encoding[1..].parse().expect("bits");
            let offset = String::from_utf8_lossy(words.next().expect("an offset")).into_owned();
            let offset = match offset.strip_prefix('#') {
                Some(index) => index.parse::<usize>().expect("an index") * width,
                None => offset.parse().expect("an offset"),
            };
            let value = if step == b"GET" { 0 } else { number(words.next().expect("a value")).ok_or(ERR)? };
            steps.push((step.as_slice(), signed, width, offset, i128::from(value), mode));
        }
        let writes = |step: &&(&[u8], bool, usize, usize, i128, &[u8])| step.0 != b"GET";
        let len_min = steps.iter().filter(writes).map(|step| (step.3 + step.2).div_ceil(8)).max();
        if let Some(len_min) = len_min {
            text = self.edit(&args[0], |text| text.resize(text.len().max(len_min), 0)).map(Some);
        }
        let mut text = text?.unwrap_or_default();
        let mut answers = Vec::new();
        for (step, signed, width, offset, value, mode) in steps {
            let raw = (offset..offset + width).fold(0_i128, |sum, at| sum * 2 + i128::from(bit(&text, at)));
            let size = 1_i128 << width;
            let (low, high) = if signed { (-size / 2, size / 2 - 1) } else { (0, size - 1) };
            let wrapped = |value: i128| (value - low).rem_euclid(size) + low;
            let old = wrapped(raw);
            let wanted = match step {
                b"GET" => old,
                b"SET" if signed => value,
                b"SET" => value.rem_euclid(1 << 64),
                _ => old + value,
            };
            let fits = (low..=high).contains(&wanted);
            if !fits && mode == b"FAIL" {
                answers.push(Tree::leaf("nil"));
                continue;
            }
            let new = if mode == b"SAT" { wanted.clamp(low, high) } else { wrapped(wanted) };
            if step != b"GET" {
                (0..width).for_each(|at| set_bit(&mut text, offset + at, new >> (width - 1 - at) & 1 == 1));
            }
            answers.push(Tree::leaf(if step == b"SET" { old } else { new }));
        }
        if len_min.is_some() {
            self.edit(&args[0], |old| *old = text)?;
        }
        Ok(Tree::List(answers))
    }

    fn set_command(&mut self, key: &[u8], value: &[u8], options: &Options) -> Answer {
        let until = self.deadline(options)?;
        let old = self.get(key).cloned();
        if options.has("IFDEQ") || options.has("IFDNE") {
            let digest = options.value("IFDEQ").or(options.value("IFDNE")).expect("one of them");
            if self.text(key)?.is_some() && !is_digest(digest) {
                return Err(ERR);
            }
        }
        let met = match (options.value("IFEQ"), options.value("IFNE")) {
            (Some(word), _) => self.text(key)?.as_ref() == Some(word),
            (_, Some(word)) => self.text(key)?.as_ref() != Some(word),
            // Nothing that is stored has a digest by chance.
            _ if options.has("IFDEQ") => false,
            _ => !(options.has("NX") && old.is_some() || options.has("XX") && old.is_none()),
        };
        let answer = match (options.has("GET"), met) {
            (true, _) => Ok(Tree::optional(self.text(key)?.as_ref())),
            (false, true) => ok(),
            (false, false) => nil(),
        };
        if met {
            let kept = old.filter(|_| options.has("KEEPTTL")).and_then(|entry| entry.until);
            self.put_text(key, value, until.or(kept));
        }
        answer
    }

    fn expire(&mut self, name: &str, key: &[u8], time: &[u8], options: &Options) -> Answer {
        let (nx, xx, gt, lt) = (options.has("NX"), options.has("XX"), options.has("GT"), options.has("LT"));
        if (nx && (xx || gt || lt)) || (gt && lt) {
            return Err(ERR);
        }
        let time = number(time).ok_or(ERR)?;
        let until = match name {
            "EXPIRE" => time.checked_mul(1000).and_then(|ms| ms.checked_add(self.now_ms)).ok_or(ERR)?,
            "PEXPIRE" => time.checked_add(self.now_ms).ok_or(ERR)?,
            "EXPIREAT" => time.checked_mul(1000).ok_or(ERR)?,
            _ => time,
        };
        let Some(entry) = self.keys().get_mut(key) else { return int(0) };
        let old = entry.until.unwrap_or(i64::MAX);
        let refused = (nx && entry.until.is_some())
            || (xx && entry.until.is_none())
            || (gt && (entry.until.is_none() || until <= old))
            || (lt && entry.until.is_some() && until >= old);
        if !refused {
            entry.until = Some(until);
        }
        int((!refused).into())
    }

    fn copy(&mut self, from: &[u8], to: &[u8], options: &Options) -> Answer {
        let own = self.db;
        let db = match options.value("DB") {
            Some(word) => number(word).filter(|db| (0..16).contains(db)).ok_or(ERR)? as u32,
            None => own,
        };
        if db == own && from == to {
            return Err(ERR);
        }
        let Some(entry) = self.get(from).cloned() else { return int(0) };
        let there = self.dbs.entry(db).or_default();
        if there.contains_key(to) && !options.has("REPLACE") {
            return int(0);
        }
        there.insert(to.into(), entry);
        int(1)
    }

    /// When fields go that are given this time, in the sense of EX, PX, EXAT or PXAT.
    fn field_deadline(&self, sense: &str, time: &[u8]) -> Result<i64, &'static str> {
        let time = number(time).filter(|time| *time >= 0).ok_or(ERR)?;
        let ms = if sense.starts_with('E') { time.checked_mul(1000).ok_or(ERR)? } else { time };
        let base = if sense.ends_with("AT") { 0 } else { self.now_ms };
        ms.checked_add(base).filter(|at| *at < 1 << 46).ok_or(ERR)
    }

    fn set_fields(&mut self, args: &[Bytes]) -> Answer {
        let fields = args.iter().position(|word| word == b"FIELDS").expect("FIELDS");
        let (options, pairs) = (Options(&args[1..fields]), &args[fields + 2..]);
        let sense = ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|token| options.has(token));
        let until = sense.map(|sense| self.field_deadline(sense, options.value(sense).expect("a time"))).transpose()?;
        let old = self.hash(&args[0])?;
        let is_there = |pair: &[Bytes]| old.as_ref().is_some_and(|hash| hash.contains_key(&pair[0]));
        if (options.has("NX") && old.is_some())
            || (options.has("XX") && old.is_none())
            || (options.has("FNX") && pairs.chunks(2).any(is_there))
            || (options.has("FXX") && !pairs.chunks(2).all(is_there))
        {
            return int(0);
        }
        let mut hash = old.unwrap_or_default();
        for pair in pairs.chunks(2) {
            let kept = hash.get(&pair[0]).and_then(|(_, until)| *until).filter(|_| options.has("KEEPTTL"));
            hash.insert(pair[0].clone(), (pair[1].clone(), until.or(kept)));
        }
        self.put_hash(&args[0], hash);
        int(1)
    }

    fn get_fields(&mut self, name: &str, args: &[Bytes]) -> Answer {
        let fields = args.iter().position(|word| word == b"FIELDS").expect("FIELDS");
        let options = Options(&args[1..fields]);
        let sense = ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|token| options.has(token));
        let until = sense.map(|sense| self.field_deadline(sense, options.value(sense).expect("a time"))).transpose()?;
        let now_ms = self.now_ms;
        let mut hash = self.hash(&args[0])?.unwrap_or_default();
        let mut answers = Vec::new();
        for field in &args[fields + 2..] {
            answers.push(Tree::optional(hash.get(field).map(|(value, _)| value)));
            if name == "HGETDEL" || until.is_some_and(|until| until <= now_ms) {
                hash.remove(field);
            } else if let Some((_, old)) = hash.get_mut(field)
                && (until.is_some() || options.has("PERSIST"))
            {
                *old = until;
            }
        }
        self.put_hash(&args[0], hash);
        Ok(Tree::List(answers))
    }

    fn pop_from_first(&mut self, args: &[Bytes]) -> Answer {
        let keys = number(&args[0]).ok_or(ERR)? as usize;
        let most = Options(&args[2 + keys..]).int("COUNT").unwrap_or(1) as usize;
        for key in &args[1..1 + keys] {
            if let Some(mut list) = self.list(key)? {
                let front = args[1 + keys] == b"LEFT";
                let popped: Vec<_> = (0..most.min(list.len())).filter_map(|_| pop(&mut list, front)).collect();
                self.put_list(key, list);
                let popped = Tree::List(popped.iter().map(|item| Tree::bytes(item)).collect());
                return Ok(Tree::List(vec![Tree::bytes(key), popped]));
            }
        }
        nil()
    }

    fn join(&self, how: &str, keys: &[Bytes]) -> Result<BTreeSet<Bytes>, &'static str> {
        let sets = keys.iter().map(|key| self.set(key)).collect::<Result<Vec<_>, _>>()?;
        let mut sets = sets.into_iter().map(Option::unwrap_or_default);
        let first = sets.next().unwrap_or_default();
        Ok(sets.fold(first, |joined, set| match how {
            "SINTER" => joined.intersection(&set).cloned().collect(),
            "SUNION" => joined.union(&set).cloned().collect(),
            _ => joined.difference(&set).cloned().collect(),
        }))
    }

    fn expire_fields(&mut self, name: &str, args: &[Bytes]) -> Answer {
        let sense = match name {
            "HEXPIRE" => "EX",
            "HPEXPIRE" => "PX",
            "HEXPIREAT" => "EXAT",
            _ => "PXAT",
        };
        let until = self.field_deadline(sense, &args[1])?;
        let start = args.iter().rposition(|word| word == b"FIELDS").filter(|at| *at <= 3).unwrap_or(2) + 2;
        let condition = if start == 5 { args[2].as_slice() } else { b"" };
        let mut hash = self.hash(&args[0])?.unwrap_or_default();
        let now_ms = self.now_ms;
        let mut answers = Vec::new();
        for field in &args[start..] {
            let answer = match hash.get(field).map(|(_, old)| *old) {
                None => -2,
                Some(old) => {
                    let refused = match condition {
                        b"NX" => old.is_some(),
                        b"XX" => old.is_none(),
                        b"GT" => old.is_none_or(|old| until <= old),
                        b"LT" => old.is_some_and(|old| until >= old),
                        _ => false,
                    };
                    if refused {
                        0
                    } else if until <= now_ms {
                        hash.remove(field);
                        2
                    } else {
                        hash.get_mut(field).expect("it is there").1 = Some(until);
                        1
                    }
                }
            };
            answers.push(Tree::leaf(answer));
        }
        if self.get(&args[0]).is_some() {
            self.put_hash(&args[0], hash);
        }
        Ok(Tree::List(answers))
    }

    fn zadd(&mut self, args: &[Bytes]) -> Answer {
        let is_option = |word: &&Bytes| [&b"NX"[..], b"XX", b"GT", b"LT", b"CH", b"INCR"].contains(&word.as_slice());
        let count = args[1..].iter().take_while(is_option).count();
        let options = Options(&args[1..1 + count]);
        let [nx, xx, gt, lt, ch, incr] = ["NX", "XX", "GT", "LT", "CH", "INCR"].map(|token| options.has(token));
        let pairs: Vec<_> = args[1 + count..].chunks(2).collect();
        let scores = pairs.iter().map(|pair| float(&pair[0]).ok_or(ERR)).collect::<Result<Vec<_>, _>>()?;
        if (nx && (xx || gt || lt)) || (gt && lt) || (incr && pairs.len() > 1) {
            return Err(ERR);
        }
        let mut zset = self.zset(&args[0])?.unwrap_or_default();
        let (mut added, mut changed, mut last) = (0, 0, None);
        for (pair, score) in pairs.iter().zip(scores) {
            let old = zset.get(&pair[1]).copied();
            let new = if incr { old.map_or(score, |old| old + score) } else { score };
            if new.is_nan() {
                return Err(ERR);
            }
            let refused = match old {
                None => xx,
                Some(old) => nx || (gt && new <= old) || (lt && new >= old),
            };
            if !refused {
                // Of the two zeros the positive one.
                zset.insert(pair[1].clone(), new + 0.0);
                added += usize::from(old.is_none());
                changed += usize::from(old.is_some_and(|old| old != new));
                last = Some(new);
            }
        }
        self.put_zset(&args[0], zset);
        match incr {
            true => last.map_or(nil(), |score| Ok(Tree::double(score))),
            false => int(if ch { added + changed } else { added }),
        }
    }

    fn zrange(&self, args: &[Bytes]) -> Answer {
        let options = Options(&args[3..]);
        let (rev, with_scores) = (options.has("REV"), options.has("WITHSCORES"));
        let (by_score, by_lex) = (options.has("BYSCORE"), options.has("BYLEX"));
        let limit = options.limit().filter(|_| by_score || by_lex);
        let is_limited = options.limit().is_some_and(|(_, count)| count != -1);
        if (is_limited && limit.is_none()) || (with_scores && by_lex) {
            return Err(ERR);
        }
        let (low, high) = if rev && (by_score || by_lex) { (&args[2], &args[1]) } else { (&args[1], &args[2]) };
        let mut items = ranked(&self.zset_or_error_later(&args[0]));
        if by_score {
            let bound = |word: &[u8]| match word {
                [b'(', rest @ ..] => float(rest).map(|score| (score, true)),
                word => float(word).map(|score| (score, false)),
            };
            let (low, high) = (bound(low).ok_or(ERR)?, bound(high).ok_or(ERR)?);
            items.retain(|(_, score)| {
                let above = if low.1 { *score > low.0 } else { *score >= low.0 };
                above && if high.1 { *score < high.0 } else { *score <= high.0 }
            });
        } else if by_lex {
            let is_bound = |word: &[u8]| matches!(word, b"-" | b"+" | [b'(' | b'[', ..]);
            if !is_bound(low) || !is_bound(high) {
                return Err(ERR);
            }
            if items.first().map(|(_, score)| score) != items.last().map(|(_, score)| score) {
                // Names are in order only among equal scores.
                return Ok(Tree::leaf(Tree::ANYTHING));
            }
            let above = |member: &[u8]| match low.as_slice() {
                b"-" => true,
                b"+" => false,
                [b'(', rest @ ..] => member > rest,
                bound => member >= &bound[1..],
            };
            let below = |member: &[u8]| match high.as_slice() {
                b"+" => true,
                b"-" => false,
                [b'(', rest @ ..] => member < rest,
                bound => member <= &bound[1..],
            };
            items.retain(|(member, _)| above(member) && below(member));
        }
        if rev {
            items.reverse();
        }
        if !by_score && !by_lex {
            let range = range(number(low).ok_or(NOT_INT)?, number(high).ok_or(NOT_INT)?, items.len());
            items = items[range].to_vec();
        }
        if let Some((offset, count)) = limit {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            items = items.into_iter().skip(skip).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        }
        self.zset(&args[0])?;
        let show = |(member, score): (Bytes, f64)| match with_scores {
            true => Tree::List(vec![Tree::bytes(&member), Tree::double(score)]),
            false => Tree::bytes(&member),
        };
        Ok(Tree::List(items.into_iter().map(show).collect()))
    }

    /// Wrong bounds are told before a wrong type.
    fn zset_or_error_later(&self, key: &[u8]) -> BTreeMap<Bytes, f64> {
        self.zset(key).ok().flatten().unwrap_or_default()
    }

    fn sort(&mut self, key: &[u8], options: &Options) -> Answer {
        let (desc, alpha) = (options.has("DESC"), options.has("ALPHA"));
        let (by, store) = (options.value("BY"), options.value("STORE"));
        let mut items: Vec<Bytes> = match self.get(key).map(|entry| &entry.value) {
            None => Vec::new(),
            Some(Value::List(list)) => list.iter().cloned().collect(),
            Some(Value::Set(set)) => set.iter().cloned().collect(),
            Some(Value::ZSet(zset)) => ranked(zset).into_iter().map(|(member, _)| member).collect(),
            Some(_) => return Err(WRONG_TYPE),
        };
        let is = |kind: fn(&Value) -> bool| self.get(key).is_some_and(|entry| kind(&entry.value));
        if by.is_some_and(|by| !by.contains(&b'*')) {
            // A set has no order of its own: stored, it gets one.
            if desc && !(is(|v| matches!(v, Value::Set(_))) && store.is_none()) {
                items.reverse();
            }
        } else {
            let weight = |item: &Bytes| by.map_or(Some(item.clone()), |by| self.look_up(by, item));
            let mut weighed: Vec<(f64, Option<Bytes>, Bytes)> = Vec::new();
            for item in items {
                let weight = weight(&item);
                let score = match &weight {
                    Some(text) if !alpha && !text.is_empty() => float(text).ok_or(ERR)?,
                    _ => 0.0,
                };
                weighed.push((score, weight.filter(|_| alpha), item));
            }
            weighed.sort_by(|a, b| order(a.0, b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
            if desc {
                weighed.reverse();
            }
            items = weighed.into_iter().map(|(.., item)| item).collect();
        }
        if let Some((offset, count)) = options.limit() {
            let skip = usize::try_from(offset).unwrap_or(0);
            items = items.into_iter().skip(skip).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        }
        let gets: Vec<&Bytes> =
            (0..options.0.len()).filter(|at| options.0[*at] == b"GET").map(|at| &options.0[at + 1]).collect();
        let found: Vec<Option<Bytes>> = match gets.is_empty() {
            true => items.into_iter().map(Some).collect(),
            false => items.iter().flat_map(|item| gets.iter().map(|get| self.look_up(get, item))).collect(),
        };
        let Some(store) = store else {
            return Ok(Tree::List(found.iter().map(|item| Tree::optional(item.as_ref())).collect()));
        };
        self.keys().remove(store);
        self.put_list(store, found.iter().map(|item| item.clone().unwrap_or_default()).collect());
        int(found.len())
    }

    fn look_up(&self, pattern: &[u8], item: &[u8]) -> Option<Bytes> {
        if pattern == b"#" {
            return Some(item.to_vec());
        }
        let star = pattern.iter().position(|b| *b == b'*')?;
        let arrow = (star..pattern.len().saturating_sub(2)).find(|at| pattern[*at..].starts_with(b"->"));
        let name = [&pattern[..star], item, &pattern[star + 1..arrow.unwrap_or(pattern.len())]].concat();
        match arrow {
            None => self.text(&name).ok()?,
            Some(at) => self.hash(&name).ok()??.get(&pattern[at + 2..]).map(|(value, _)| value.clone()),
        }
    }

    /// All data, in the words of the engine's dump.
    pub fn dump(&self) -> String {
        let quoted = |bytes: &Bytes| format!("\"{}\"", bytes.escape_ascii());
        let join = |items: Vec<String>| items.join(" ");
        let mut lines = Vec::new();
        for (db, keys) in &self.dbs {
            for (key, entry) in keys {
                let content = match &entry.value {
                    Value::Text(text) => format!("string {}", quoted(text)),
                    Value::List(list) => format!("list {}", join(list.iter().map(quoted).collect())),
                    Value::Set(set) => {
                        let mut items: Vec<_> = set.iter().map(quoted).collect();
                        items.sort();
                        format!("set {}", join(items))
                    }
                    Value::Hash(hash) => {
                        let field = |(field, (value, until)): (&Bytes, &(Bytes, Option<i64>))| {
                            format!(
                                "{}={}{}",
                                quoted(field),
                                quoted(value),
                                until.map_or(String::new(), |at| format!("@{at}"))
                            )
                        };
                        let mut items: Vec<_> = hash.iter().map(field).collect();
                        items.sort();
                        format!("hash {}", join(items))
                    }
                    Value::ZSet(zset) => {
                        let pair = |(member, score): &(Bytes, f64)| format!("{}={score:?}", quoted(member));
                        format!("zset {}", join(ranked(zset).iter().map(pair).collect()))
                    }
                };
                let until = entry.until.map_or(String::new(), |at| format!(" until {at}"));
                lines.push(format!("{db} {} {content}{until}", quoted(key)));
            }
        }
        lines.sort();
        lines.join("\n")
    }
}

/// The longest string in tests.
const LONGEST: usize = 1 << 20;

/// An end before the first item is the first item.
fn at_least_zero(end: i64, len: usize) -> i64 {
    if end < 0 { end.saturating_add(len as i64).max(0) } else { end }
}

fn is_digest(word: &[u8]) -> bool {
    word.len() == 16 && word.iter().all(u8::is_ascii_hexdigit)
}

fn bit(text: &[u8], at: usize) -> bool {
    text.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn set_bit(text: &mut Bytes, at: usize, bit: bool) {
    text.resize(text.len().max(at / 8 + 1), 0);
    let mask = 0x80 >> (at % 8);
    text[at / 8] = if bit { text[at / 8] | mask } else { text[at / 8] & !mask };
}

/// By the table of all beginnings, and the way back through it.
fn lcs(a: &[u8], b: &[u8], options: &Options) -> Answer {
    if 4 * (a.len() + 1) * (b.len() + 1) > LONGEST {
        return Err(ERR);
    }
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            table[i][j] = match a[i - 1] == b[j - 1] {
                true => table[i - 1][j - 1] + 1,
                false => table[i - 1][j].max(table[i][j - 1]),
            };
        }
    }
    let len = table[a.len()][b.len()];
    let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            pairs.push((i, j));
        } else if table[i - 1][j] > table[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    if options.has("LEN") {
        return int(len);
    }
    if !options.has("IDX") {
        let text: Bytes = pairs.iter().rev().map(|(i, _)| a[*i]).collect();
        return Ok(Tree::bytes(&text));
    }
    let mut stretches: Vec<(usize, usize, usize)> = Vec::new();
    for (i, j) in pairs {
        match stretches.last_mut() {
            Some((a, b, len)) if *a == i + 1 && *b == j + 1 => (*a, *b, *len) = (i, j, *len + 1),
            _ => stretches.push((i, j, 1)),
        }
    }
    let least = options.int("MINMATCHLEN").unwrap_or(0);
    let range = |start: usize, len: usize| Tree::List(vec![Tree::leaf(start), Tree::leaf(start + len - 1)]);
    let show = |(a, b, len): (usize, usize, usize)| {
        let mut items = vec![range(a, len), range(b, len)];
        items.extend(options.has("WITHMATCHLEN").then(|| Tree::leaf(len)));
        Tree::List(items)
    };
    let matches = stretches.into_iter().filter(|(.., len)| *len as i64 >= least).map(show).collect();
    let members = [(b"matches".as_slice(), Tree::List(matches)), (b"len", Tree::leaf(len))];
    Ok(Tree::set(members.map(|(name, value)| Tree::List(vec![Tree::bytes(name), value])).into_iter()))
}

fn push(list: &mut VecDeque<Bytes>, front: bool, item: Bytes) {
    if front { list.push_front(item) } else { list.push_back(item) }
}

fn pop(list: &mut VecDeque<Bytes>, front: bool) -> Option<Bytes> {
    if front { list.pop_front() } else { list.pop_back() }
}

fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let index = |at: i64| if at < 0 { at.saturating_add(len as i64) } else { at };
    let (start, stop) = (index(start).max(0), index(stop).min(len as i64 - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// The index that is meant, in a list of this length.
fn index(word: &[u8], len: usize) -> Result<Option<usize>, &'static str> {
    let index = i128::from(number(word).ok_or(NOT_INT)?);
    let index = if index < 0 { index + len as i128 } else { index };
    Ok(usize::try_from(index).ok().filter(|index| *index < len))
}

/// A number that may be larger than doubles are.
fn wide_float(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if !is_plain && !matches!(text.trim_start_matches(['+', '-']), "inf") { None } else { text.parse().ok() }
}

/// Both zeros are the same.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).expect("numbers")
}

/// Members by score, then by name.
fn ranked(zset: &BTreeMap<Bytes, f64>) -> Vec<(Bytes, f64)> {
    let mut items: Vec<_> = zset.iter().map(|(member, score)| (member.clone(), *score)).collect();
    items.sort_by(|a, b| order(a.1, b.1).then(a.0.cmp(&b.0)));
    items
}
