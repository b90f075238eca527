//! Sorted sets, beyond ZADD, ZRANGE and ZRANK.

use super::*;

type Scored = (Bytes, f64);

/// What a range is given by.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Lex,
}

impl Model {
    /// True when it would have to say which names lie between two others where scores differ.
    pub fn is_undetermined(&self, words: &[Bytes]) -> bool {
        let source = match words[0].as_slice() {
            b"ZREMRANGEBYLEX" => &words[1],
            b"ZRANGESTORE" if words.iter().any(|word| word == b"BYLEX") => &words[2],
            _ => return self.are_places_undetermined(words),
        };
        !has_one_score(&ranked(&self.zset_or_error_later(source)))
    }

    pub(super) fn sorted_set(&mut self, name: &str, args: &[Bytes]) -> Answer {
        let key = &args[0];
        match name {
            "ZCARD" => int(self.zset(key)?.map_or(0, |zset| zset.len())),
            "ZSCORE" => Ok(score_of(&self.zset(key)?.unwrap_or_default(), &args[1])),
            "ZMSCORE" => {
                let zset = self.zset(key)?.unwrap_or_default();
                Ok(Tree::List(args[1..].iter().map(|member| score_of(&zset, member)).collect()))
            }
            "ZINCRBY" => self.zadd(&[key.clone(), b"INCR".to_vec(), args[1].clone(), args[2].clone()]),
            "ZREM" => {
                let mut zset = self.zset(key)?.unwrap_or_default();
                let removed = args[1..].iter().filter(|member| zset.remove(*member).is_some()).count();
                self.put_zset(key, zset);
                int(removed)
            }
            "ZREVRANK" => {
                let len = self.zset(key)?.map_or(0, |zset| zset.len() as i64);
                let reverse = |rank: &Tree| Tree::leaf(len - 1 - leaf_number(rank));
                let words = [&[b"ZRANK".to_vec()], args].concat();
                Ok(match self.run(&words)? {
                    Tree::List(items) => Tree::List(vec![reverse(&items[0]), items[1].clone()]),
                    nil if nil == Tree::leaf("nil") => nil,
                    rank => reverse(&rank),
                })
            }
            // Chance, and the order of a table.
            "ZRANDMEMBER" | "ZSCAN" => self.zset(key).map(|_| Tree::leaf(Tree::ANYTHING)),
            "ZCOUNT" | "ZLEXCOUNT" => {
                let by = if name == "ZCOUNT" { By::Score } else { By::Lex };
                let found = self.between(key, by, &args[1], &args[2])?;
                self.zset(key)?;
                Ok(found.map_or(Tree::leaf(Tree::ANYTHING), |found| Tree::leaf(found.len())))
            }
            "ZREMRANGEBYRANK" | "ZREMRANGEBYSCORE" | "ZREMRANGEBYLEX" => {
                let by = match name {
                    "ZREMRANGEBYRANK" => By::Rank,
                    "ZREMRANGEBYSCORE" => By::Score,
                    _ => By::Lex,
                };
                let found = self.between(key, by, &args[1], &args[2])?.expect("it is determined");
                let mut zset = self.zset(key)?.unwrap_or_default();
                found.iter().for_each(|(member, _)| {
                    zset.remove(member);
                });
                self.put_zset(key, zset);
                int(found.len())
            }
            "ZRANGEBYSCORE" | "ZRANGEBYLEX" | "ZREVRANGEBYSCORE" | "ZREVRANGEBYLEX" | "ZREVRANGE" => {
                self.old_range(name, key, args)
            }
            "ZRANGESTORE" => {
                let words = [&args[1..4], &args[4..], &[b"WITHSCORES".to_vec()]].concat();
                let is_lex = args[4..].iter().any(|word| word == b"BYLEX");
                let Tree::List(found) = self.zrange(if is_lex { &words[..words.len() - 1] } else { &words })? else {
                    panic!("it is determined")
                };
                let source = self.zset(&args[1])?.unwrap_or_default();
                let is_found = |member: &Bytes| {
                    let name = Tree::bytes(member);
                    found.iter().any(|item| *item == name || matches!(item, Tree::List(pair) if pair[0] == name))
                };
                self.store(key, source.into_iter().filter(|(member, _)| is_found(member)).collect())
            }
            "ZPOPMIN" | "ZPOPMAX" => {
                let count = args.get(1).map(|word| number(word).unwrap_or(0) as usize);
                let popped = self.pop(key, name == "ZPOPMIN", count.unwrap_or(1))?.unwrap_or_default();
                Ok(match count {
                    Some(_) => pairs(&popped, true),
                    None => Tree::List(popped.iter().flat_map(|(m, s)| [Tree::bytes(m), Tree::double(*s)]).collect()),
                })
            }
            "BZPOPMIN" | "BZPOPMAX" => {
                for key in &args[..args.len() - 1] {
                    if let Some(popped) = self.pop(key, name == "BZPOPMIN", 1)? {
                        let (member, score) = &popped[0];
                        return Ok(Tree::List(vec![Tree::bytes(key), Tree::bytes(member), Tree::double(*score)]));
                    }
                }
                nil()
            }
            "ZMPOP" => {
                let (keys, rest) = counted(args);
                let count = Options(&rest[1..]).int("COUNT").unwrap_or(1) as usize;
                for key in keys {
                    if let Some(popped) = self.pop(key, rest[0] == b"MIN", count)? {
                        return Ok(Tree::List(vec![Tree::bytes(key), pairs(&popped, true)]));
                    }
                }
                nil()
            }
            "BZMPOP" => self.sorted_set("ZMPOP", &args[1..]),
            "ZUNION" | "ZINTER" | "ZDIFF" => {
                let (_, rest) = counted(args);
                Ok(pairs(&in_order(self.joined(name, args)?), Options(rest).has("WITHSCORES")))
            }
            "ZINTERCARD" => {
                let (_, rest) = counted(args);
                let limit = Options(rest).int("LIMIT").filter(|limit| *limit > 0).unwrap_or(i64::MAX) as usize;
                int(self.joined("ZINTER", args)?.len().min(limit))
            }
            "ZUNIONSTORE" | "ZINTERSTORE" | "ZDIFFSTORE" => {
                let joined = self.joined(name.trim_end_matches("STORE"), &args[1..])?;
                self.store(key, joined)
            }
            other => panic!("the model does not know {other}"),
        }
    }

    pub(super) fn store(&mut self, key: &[u8], zset: BTreeMap<Bytes, f64>) -> Answer {
        let count = zset.len();
        self.keys().remove(key);
        // Of the two zeros the positive one.
        self.put_zset(key, zset.into_iter().map(|(member, score)| (member, score + 0.0)).collect());
        int(count)
    }

    /// The members of a range in order; `None` when it is not determined. Wrong bounds are told before a wrong type.
    fn between(&self, key: &[u8], by: By, low: &[u8], high: &[u8]) -> Result<Option<Vec<Scored>>, &'static str> {
        let mut items = ranked(&self.zset_or_error_later(key));
        match by {
            By::Rank => items = items[range(number(low).ok_or(ERR)?, number(high).ok_or(ERR)?, items.len())].to_vec(),
            By::Score => {
                let bound = |word: &[u8]| match word {
                    [b'(', rest @ ..] => float(rest).map(|score| (score, true)),
                    word => float(word).map(|score| (score, false)),
                };
                let (low, high) = (bound(low).ok_or(ERR)?, bound(high).ok_or(ERR)?);
                items.retain(|(_, score)| {
                    (*score > low.0 || (*score == low.0 && !low.1))
                        && (*score < high.0 || (*score == high.0 && !high.1))
                });
            }
            By::Lex => {
                let is_bound = |word: &[u8]| matches!(word, b"-" | b"+" | [b'(' | b'[', ..]);
                if !is_bound(low) || !is_bound(high) {
                    return Err(ERR);
                }
                if !has_one_score(&items) {
                    return Ok(None);
                }
                // Below, at and above a bound.
                let order = |member: &[u8], bound: &[u8]| match bound {
                    b"-" => Ordering::Greater,
                    b"+" => Ordering::Less,
                    bound => member.cmp(&bound[1..]),
                };
                items.retain(|(member, _)| {
                    let from = order(member, low);
                    let to = order(member, high);
                    (from.is_gt() || (from.is_eq() && low[0] == b'['))
                        && (to.is_lt() || (to.is_eq() && high[0] == b'['))
                });
            }
        }
        Ok(Some(items))
    }

    fn old_range(&mut self, name: &str, key: &[u8], args: &[Bytes]) -> Answer {
        let options = Options(&args[3..]);
        let rev = name.starts_with("ZREV");
        let by = match name {
            "ZREVRANGE" => By::Rank,
            _ if name.ends_with("SCORE") => By::Score,
            _ => By::Lex,
        };
        let (low, high) = if rev && by != By::Rank { (&args[2], &args[1]) } else { (&args[1], &args[2]) };
        let found = if rev && by == By::Rank {
            let mut items = ranked(&self.zset_or_error_later(key));
            items.reverse();
            Some(items[range(number(low).ok_or(ERR)?, number(high).ok_or(ERR)?, items.len())].to_vec())
        } else {
            self.between(key, by, low, high)?
        };
        self.zset(key)?;
        let Some(mut items) = found else { return Ok(Tree::leaf(Tree::ANYTHING)) };
        if rev && by != By::Rank {
            items.reverse();
        }
        if let Some((offset, count)) = options.limit() {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            items = items.into_iter().skip(skip).take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        }
        Ok(pairs(&items, options.has("WITHSCORES")))
    }

    fn pop(&mut self, key: &[u8], lowest: bool, count: usize) -> Result<Option<Vec<Scored>>, &'static str> {
        let Some(mut zset) = self.zset(key)? else { return Ok(None) };
        let mut items = ranked(&zset);
        if !lowest {
            items.reverse();
        }
        items.truncate(count);
        items.iter().for_each(|(member, _)| {
            zset.remove(member);
        });
        self.put_zset(key, zset);
        Ok(Some(items))
    }

    /// `numkeys key … [WEIGHTS …] [AGGREGATE …]` of a union, an intersection or a difference.
    fn joined(&self, name: &str, args: &[Bytes]) -> Result<BTreeMap<Bytes, f64>, &'static str> {
        let (keys, rest) = counted(args);
        let options = Options(rest);
        let weights = options.at("WEIGHTS").map(|at| &rest[at + 1..at + 1 + keys.len()]);
        let mut inputs: Vec<(BTreeMap<Bytes, f64>, f64)> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let weight = weights.map_or(Some(1.0), |weights| float(&weights[index])).ok_or(ERR)?;
            let zset = match self.get(key).map(|entry| &entry.value) {
                None => BTreeMap::new(),
                Some(Value::ZSet(zset)) => zset.clone(),
                Some(Value::Set(set)) => set.iter().map(|member| (member.clone(), 1.0)).collect(),
                Some(_) => return Err(WRONG_TYPE),
            };
            inputs.push((zset, weight));
        }
        if name == "ZDIFF" {
            let (first, others) = inputs.split_first().expect("a key");
            let is_left = |member: &Bytes| others.iter().all(|(other, _)| !other.contains_key(member));
            return Ok(first.0.clone().into_iter().filter(|(member, _)| is_left(member)).collect());
        }
        inputs.sort_by_key(|(zset, _)| zset.len());
        let number_or_zero = |score: f64| if score.is_nan() { 0.0 } else { score };
        let mut joined: BTreeMap<Bytes, f64> = BTreeMap::new();
        for (zset, weight) in &inputs {
            for (member, score) in zset {
                let score = number_or_zero(score * weight);
                let sum = match (joined.get(member), options.value("AGGREGATE").map(Vec::as_slice)) {
                    (None, _) => score,
                    (Some(old), Some(b"MIN")) => {
                        if score < *old {
                            score
                        } else {
                            *old
                        }
                    }
                    (Some(old), Some(b"MAX")) => {
                        if score > *old {
                            score
                        } else {
                            *old
                        }
                    }
                    (Some(old), _) => number_or_zero(old + score),
                };
                joined.insert(member.clone(), sum);
            }
        }
        if name == "ZINTER" {
            joined.retain(|member, _| inputs.iter().all(|(zset, _)| zset.contains_key(member)));
        }
        Ok(joined)
    }
}

fn has_one_score(items: &[Scored]) -> bool {
    items.first().map(|(_, score)| score) == items.last().map(|(_, score)| score)
}

fn score_of(zset: &BTreeMap<Bytes, f64>, member: &[u8]) -> Tree {
    zset.get(member).map_or(Tree::leaf("nil"), |score| Tree::double(*score))
}

fn leaf_number(tree: &Tree) -> i64 {
    match tree {
        Tree::Leaf(text) => text.parse().expect("a number"),
        other => panic!("{other:?}"),
    }
}

fn in_order(zset: BTreeMap<Bytes, f64>) -> Vec<Scored> {
    ranked(&zset)
}

/// The keys behind their number, and what follows.
fn counted(args: &[Bytes]) -> (&[Bytes], &[Bytes]) {
    args[1..].split_at(number(&args[0]).expect("a count") as usize)
}

fn pairs(items: &[Scored], with_scores: bool) -> Tree {
    let show = |(member, score): &Scored| match with_scores {
        true => Tree::List(vec![Tree::bytes(member), Tree::double(*score)]),
        false => Tree::bytes(member),
    };
    Tree::List(items.iter().map(show).collect())
}
