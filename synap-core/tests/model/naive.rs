//! The commands of the spine over plain maps: slow, short, and written from what Redis documents, not from our code.
//!
//! Words are as the generator gives them: options in any order, no half-given ones.

mod places;
mod sorted;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
            "INCR" => {
                let old = self.text(&args[0])?.map_or(Ok(0), |text| number(&text).ok_or(NOT_INT))?;
                let new = old.checked_add(1).ok_or(ERR)?;
                let until = self.get(&args[0]).and_then(|entry| entry.until);
                self.put_text(&args[0], new.to_string().as_bytes(), until);
                Ok(Tree::leaf(new))
            }
            "MSET" => {
                args.chunks(2).for_each(|pair| self.put_text(&pair[0], &pair[1], None));
                ok()
            }
            "MGET" => {
                let get = |key: &Bytes| Tree::optional(self.text(key).ok().flatten().as_ref());
                Ok(Tree::List(args.iter().map(get).collect()))
            }
            "DEL" => int(args.iter().filter(|key| self.keys().remove(*key).is_some()).count()),
            "EXISTS" => int(args.iter().filter(|key| self.get(key).is_some()).count()),
            "TYPE" => Ok(Tree::leaf(self.get(&args[0]).map_or("none", |entry| match entry.value {
                Value::Text(_) => "string",
                Value::List(_) => "list",
                Value::Set(_) => "set",
                Value::Hash(_) => "hash",
                Value::ZSet(_) => "zset",
            }))),
            "EXPIRE" | "PEXPIREAT" => self.expire(&name, &args[0], &args[1], &Options(&args[2..])),
            "TTL" | "PTTL" => Ok(Tree::leaf(match self.get(&args[0]).map(|entry| entry.until) {
                None => -2,
                Some(None) => -1,
                Some(Some(until)) if name == "PTTL" => until - self.now_ms,
                Some(Some(until)) => (until - self.now_ms).saturating_add(500) / 1000,
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
            "LPUSH" | "RPUSH" => {
                let mut list = self.list(&args[0])?.unwrap_or_default();
                args[1..].iter().for_each(|item| push(&mut list, name == "LPUSH", item.clone()));
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
            "BLPOP" => {
                for key in &args[..args.len() - 1] {
                    if let Some(mut list) = self.list(key)? {
                        let item = pop(&mut list, true).expect("a list is not empty");
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
            "SINTER" => {
                let sets = args.iter().map(|key| self.set(key)).collect::<Result<Vec<_>, _>>()?;
                let mut sets = sets.into_iter().map(Option::unwrap_or_default);
                let first = sets.next().unwrap_or_default();
                let common = sets.fold(first, |common, set| common.intersection(&set).cloned().collect());
                Ok(Tree::set(common.iter().map(|item| Tree::bytes(item))))
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
            "HEXPIRE" | "HPEXPIREAT" => self.expire_fields(&name, args),
            "HTTL" => {
                let hash = self.hash(&args[0])?.unwrap_or_default();
                let ttl = |field: &Bytes| match hash.get(field) {
                    None => -2,
                    Some((_, None)) => -1,
                    Some((_, Some(until))) => (until - self.now_ms).saturating_add(999) / 1000,
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
            "SORT" => self.sort(&args[0], &Options(&args[1..])),
            geo if geo.starts_with("GEO") => self.places(geo, args),
            zset if zset.starts_with('Z') || zset.starts_with("BZ") => self.sorted_set(zset, args),
            other => panic!("the model does not know {other}"),
        }
    }

    fn set_command(&mut self, key: &[u8], value: &[u8], options: &Options) -> Answer {
        let at = |token, base: i64, unit: i64| options.value(token).map(|_| (options.int(token), base, unit));
        let given =
            at("EX", self.now_ms, 1000).or(at("PX", self.now_ms, 1)).or(at("EXAT", 0, 1000)).or(at("PXAT", 0, 1));
        let until = match given {
            None => None,
            Some((value, base, unit)) => {
                let value = value.filter(|value| *value > 0).ok_or(ERR)?;
                Some(value.checked_mul(unit).and_then(|ms| ms.checked_add(base)).ok_or(ERR)?)
            }
        };
        let old = self.get(key).cloned();
        if options.has("IFDEQ") || options.has("IFDNE") {
            let digest = options.value("IFDEQ").or(options.value("IFDNE")).expect("one of them");
            self.text(key)?;
            if digest.len() != 16 || !digest.iter().all(u8::is_ascii_hexdigit) {
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

    fn expire_fields(&mut self, name: &str, args: &[Bytes]) -> Answer {
        let time = number(&args[1]).filter(|time| *time >= 0).ok_or(ERR)?;
        let until = match name {
            "HEXPIRE" => time.checked_mul(1000).and_then(|ms| ms.checked_add(self.now_ms)).ok_or(ERR)?,
            _ => time,
        };
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
