//! Union, intersection and difference of sorted sets, and of sets, whose members have the score 1.

use std::borrow::Cow;
use std::cmp::Ordering;

use hashbrown::{HashMap, HashSet};

use super::prelude::*;
use super::zset::{MEMBERS, SCORED_MEMBERS, ZSET, write_range};
use super::zset_range::{STORED, store};
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::value::ValueRef;
use crate::types::Elem;
use crate::types::rank_tree::compare;
use crate::types::score::parse_double;
use crate::types::set::Set;
use crate::types::zset::ZSet;

pub const COMMANDS: &[Command] = &[ZUNION, ZINTER, ZDIFF, ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE, ZINTERCARD];

/// What each command says of a number of keys that is wrong.
macro_rules! input_keys {
    ($($name:ident $command:literal;)*) => {$(
        #[derive(Debug)]
        pub struct $name;

        impl Sentences for $name {
            const NOT_INT: Error = Error::NOT_INT;
            const NOT_POSITIVE: Error =
                Error::err(concat!("at least 1 input key is needed for '", $command, "' command"));
            const MISMATCH: Error = Error::SYNTAX;
            const IS_LAST: bool = false;
        }
    )*};
}

input_keys! {
    UnionKeys "zunion";
    InterKeys "zinter";
    DiffKeys "zdiff";
    UnionStoreKeys "zunionstore";
    InterStoreKeys "zinterstore";
    DiffStoreKeys "zdiffstore";
    InterCardKeys "zintercard";
}

/// What the scores of one key are multiplied with.
#[derive(Clone, Copy)]
pub struct Weight(f64);

impl<'a> Arg<'a> for Weight {
    const KIND: ArgKind = ArgKind::Float { min: f64::MIN, max: f64::MAX, infinite: true };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parse_double(parser.word()?).map(Weight).ok_or(Error::err("weight value is not a float"))
    }
}

/// How the scores of a member become one.
#[derive(Args, Clone, Copy)]
pub enum Aggregate {
    /// Their sum.
    #[arg(token = "SUM")]
    Sum,
    /// The lowest.
    #[arg(token = "MIN")]
    Min,
    /// The highest.
    #[arg(token = "MAX")]
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            // Infinities of both signs are nothing together.
            Aggregate::Sum => zero_if_nan(one + other),
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

/// Zero times infinity, and infinity less infinity.
fn zero_if_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

#[derive(Args)]
#[args(any_order)]
pub struct JoinOptions<'a> {
    /// For each key what its scores are multiplied with; 1 when left out.
    #[arg(token = "WEIGHTS")]
    weights: Option<PerItem<'a, Weight>>,
    /// How the scores of a member become one; their sum when left out.
    #[arg(token = "AGGREGATE")]
    aggregate: Option<Aggregate>,
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
}

#[derive(Args)]
#[args(any_order)]
pub struct JoinStoreOptions<'a> {
    /// For each key what its scores are multiplied with; 1 when left out.
    #[arg(token = "WEIGHTS")]
    weights: Option<PerItem<'a, Weight>>,
    /// How the scores of a member become one; their sum when left out.
    #[arg(token = "AGGREGATE")]
    aggregate: Option<Aggregate>,
}

/// A sorted set or a set.
#[derive(Clone, Copy)]
enum Source<'a> {
    ZSet(&'a ZSet),
    Set(&'a Set),
}

/// A member with its score.
type Scored<'a> = (Elem<'a>, f64);

impl<'a> Source<'a> {
    fn at(cx: &'a ReadCx<'_>, key: &Key<'_>) -> Result<Option<Source<'a>>> {
        match cx.get(key).map(|entry| entry.value()) {
            None => Ok(None),
            Some(ValueRef::ZSet(zset)) => Ok(Some(Source::ZSet(zset))),
            Some(ValueRef::Set(set)) => Ok(Some(Source::Set(set))),
            Some(_) => Err(Error::WRONG_TYPE),
        }
    }

    /// All of them, `None` where there is no key.
    fn all<S: Sentences>(cx: &'a ReadCx<'_>, keys: &Counted<'_, Key<'_>, S>) -> Result<Vec<Option<Source<'a>>>> {
        keys.0.iter().map(|key| Source::at(cx, &key)).collect()
    }

    fn len(self) -> usize {
        match self {
            Source::ZSet(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    fn score(self, member: Elem<'_>) -> Option<f64> {
        match self {
            Source::ZSet(zset) => zset.score(member.bytes(&mut itoa::Buffer::new())),
            Source::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    fn contains(self, member: Elem<'_>) -> bool {
        match self {
            Source::ZSet(zset) => zset.contains(member.bytes(&mut itoa::Buffer::new())),
            Source::Set(set) => set.contains(member),
        }
    }

    fn each(self, mut visit: impl FnMut(Elem<'a>, f64)) {
        match self {
            Source::ZSet(zset) => zset.iter().for_each(|(member, score)| visit(member, score)),
            Source::Set(set) => set.iter().for_each(|member| visit(member, 1.0)),
        }
    }

    /// Visits until told to stop.
    fn any(self, mut stop: impl FnMut(Elem<'a>, f64) -> bool) {
        match self {
            Source::ZSet(zset) => zset.iter().any(|(member, score)| stop(member, score)),
            Source::Set(set) => set.iter().any(|member| stop(member, 1.0)),
        };
    }
}

/// Sources with their weights, the smallest first. Floats add up in this order, which is Redis'.
struct Inputs<'a> {
    sources: Vec<(Source<'a>, f64)>,
    /// There is no key: an intersection has nothing.
    lacks_one: bool,
    aggregate: Aggregate,
}

impl<'a> Inputs<'a> {
    fn new<S: Sentences>(
        cx: &'a ReadCx<'_>,
        keys: &Counted<'_, Key<'_>, S>,
        weights: Option<PerItem<'_, Weight>>,
        aggregate: Option<Aggregate>,
    ) -> Result<Inputs<'a>> {
        let found = Source::all(cx, keys)?;
        let weights: Vec<f64> = match weights {
            Some(weights) => weights.0.iter().map(|weight| weight.0).collect(),
            None => vec![1.0; found.len()],
        };
        let lacks_one = found.iter().any(Option::is_none);
        let mut sources: Vec<_> =
            found.into_iter().zip(weights).filter_map(|(source, weight)| Some((source?, weight))).collect();
        sources.sort_by_key(|(source, _)| source.len());
        Ok(Inputs { sources, lacks_one, aggregate: aggregate.unwrap_or(Aggregate::Sum) })
    }

    fn union(&self) -> Vec<Scored<'a>> {
        if let [(source, weight)] = self.sources[..] {
            let mut all = Vec::with_capacity(source.len());
            source.each(|member, score| all.push((member, zero_if_nan(weight * score))));
            return sorted(all);
        }
        let largest = self.sources.last().map_or(0, |(source, _)| source.len());
        // An integer of a compact form and the same digits elsewhere are one member.
        let mut scores: HashMap<Cow<'a, [u8]>, f64> = HashMap::with_capacity(largest);
        let mut elems = Vec::with_capacity(largest);
        for &(source, weight) in &self.sources {
            source.each(|member, score| {
                let score = zero_if_nan(weight * score);
                let name = match member {
                    Elem::Bytes(bytes) => Cow::Borrowed(bytes),
                    Elem::Int(_) => Cow::Owned(member.to_vec()),
                };
                scores.entry(name).and_modify(|old| *old = self.aggregate.of(*old, score)).or_insert_with(|| {
                    elems.push(member);
                    score
                });
            });
        }
        let score = |member: Elem<'a>| scores.get(member.bytes(&mut itoa::Buffer::new())).copied();
        sorted(elems.into_iter().filter_map(|member| Some((member, score(member)?))).collect())
    }

    /// Shows every member that all have, with its score, until told to stop.
    fn common(&self, mut stop: impl FnMut(Elem<'a>, f64) -> bool) {
        let Some((&(smallest, weight), others)) = self.sources.split_first().filter(|_| !self.lacks_one) else {
            return;
        };
        smallest.any(|member, score| {
            let mut sum = zero_if_nan(weight * score);
            for &(other, weight) in others {
                let Some(score) = other.score(member) else { return false };
                sum = self.aggregate.of(sum, weight * score);
            }
            stop(member, sum)
        });
    }

    fn intersection(&self) -> Vec<Scored<'a>> {
        let mut common = Vec::new();
        self.common(|member, score| {
            common.push((member, score));
            false
        });
        sorted(common)
    }
}

/// The members of the first that no other has.
fn difference<'a>(found: &[Option<Source<'a>>]) -> Vec<Scored<'a>> {
    let Some((&Some(first), others)) = found.split_first() else { return Vec::new() };
    let mut others: Vec<Source<'a>> = others.iter().copied().flatten().collect();
    let mut left = Vec::new();
    let total: usize = others.iter().map(|other| other.len()).sum();
    if first.len().saturating_mul(others.len()) / 2 <= total {
        // The largest is the most likely to have a member.
        others.sort_by_key(|other| std::cmp::Reverse(other.len()));
        first.each(|member, score| {
            if !others.iter().any(|other| other.contains(member)) {
                left.push((member, score));
            }
        });
    } else {
        // Many small ones: it is less to look for theirs in the first.
        let mut gone: HashSet<Vec<u8>> = HashSet::new();
        others.iter().for_each(|other| {
            other.each(|member, _| {
                if first.contains(member) {
                    gone.insert(member.to_vec());
                }
            });
        });
        first.each(|member, score| {
            if !gone.contains(member.bytes(&mut itoa::Buffer::new())) {
                left.push((member, score));
            }
        });
    }
    sorted(left)
}

fn sorted(mut members: Vec<Scored<'_>>) -> Vec<Scored<'_>> {
    let order = |a: &Scored<'_>, b: &Scored<'_>| match (a.0, b.0) {
        (Elem::Bytes(one), Elem::Bytes(other)) => compare((a.1, one), (b.1, other)),
        (one, other) => match a.1.partial_cmp(&b.1) {
            None | Some(Ordering::Equal) => {
                one.bytes(&mut itoa::Buffer::new()).cmp(other.bytes(&mut itoa::Buffer::new()))
            }
            Some(unequal) => unequal,
        },
    };
    members.sort_unstable_by(order);
    members
}

fn stored(members: Vec<Scored<'_>>, cx: &ReadCx<'_>) -> ZSet {
    let mut zset = ZSet::new();
    for (member, score) in members {
        zset.insert(member.bytes(&mut itoa::Buffer::new()), score, cx.limits());
    }
    zset
}

const JOINED: Shape =
    Shape::one_of("members", "In the order of their scores; with WITHSCORES pairs.", &[MEMBERS, SCORED_MEMBERS]);

#[derive(Args)]
pub struct ZUnion<'a> {
    /// Sorted sets or sets.
    keys: Counted<'a, Key<'a>, UnionKeys>,
    options: JoinOptions<'a>,
}

impl ReadCommand for ZUnion<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let JoinOptions { weights, aggregate, withscores } = self.options;
        let members = Inputs::new(cx, &self.keys, weights, aggregate)?.union();
        write_range(members.into_iter(), withscores, reply);
        Ok(())
    }
}

pub const ZUNION: Command = Command {
    name: "ZUNION",
    op: "zset.union",
    since: "6.2.0",
    summary: "Returns the members that at least one of several sorted sets has.",
    complexity: "O(N + M*log M) for N members of all and M answered",
    returns: JOINED,
    flags: Flags::MOVABLE_KEYS,
    ..ZSET.read::<ZUnion>()
};

#[derive(Args)]
pub struct ZInter<'a> {
    /// Sorted sets or sets.
    keys: Counted<'a, Key<'a>, InterKeys>,
    options: JoinOptions<'a>,
}

impl ReadCommand for ZInter<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let JoinOptions { weights, aggregate, withscores } = self.options;
        let members = Inputs::new(cx, &self.keys, weights, aggregate)?.intersection();
        write_range(members.into_iter(), withscores, reply);
        Ok(())
    }
}

pub const ZINTER: Command = Command {
    name: "ZINTER",
    op: "zset.inter",
    since: "6.2.0",
    summary: "Returns the members that several sorted sets have in common.",
    complexity: "O(N*K + M*log M) for N members of the smallest of K and M answered",
    returns: JOINED,
    flags: Flags::MOVABLE_KEYS,
    ..ZSET.read::<ZInter>()
};

#[derive(Args)]
pub struct ZDiff<'a> {
    /// The sorted set or set to take from, then those whose members are taken away.
    keys: Counted<'a, Key<'a>, DiffKeys>,
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
}

impl ReadCommand for ZDiff<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let members = difference(&Source::all(cx, &self.keys)?);
        write_range(members.into_iter(), self.withscores, reply);
        Ok(())
    }
}

pub const ZDIFF: Command = Command {
    name: "ZDIFF",
    op: "zset.diff",
    since: "6.2.0",
    summary: "Returns the members of a sorted set that no other one has.",
    complexity: "O(L + M*log M) for L members of all and M answered",
    returns: JOINED,
    flags: Flags::MOVABLE_KEYS,
    ..ZSET.read::<ZDiff>()
};

#[derive(Args)]
pub struct ZUnionStore<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// Sorted sets or sets.
    #[arg(access = "RO access")]
    keys: Counted<'a, Key<'a>, UnionStoreKeys>,
    options: JoinStoreOptions<'a>,
}

impl WriteCommand for ZUnionStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let JoinStoreOptions { weights, aggregate } = self.options;
        let result = stored(Inputs::new(cx, &self.keys, weights, aggregate)?.union(), cx);
        store(cx, &self.destination, result, "zunionstore", reply);
        Ok(())
    }
}

pub const ZUNIONSTORE: Command = Command {
    name: "ZUNIONSTORE",
    op: "zset.unionstore",
    since: "2.0.0",
    summary: "Stores the members that at least one of several sorted sets has at another key.",
    complexity: "O(N + M*log M) for N members of all and M stored",
    returns: STORED,
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..ZSET.write::<ZUnionStore>()
};

#[derive(Args)]
pub struct ZInterStore<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// Sorted sets or sets.
    #[arg(access = "RO access")]
    keys: Counted<'a, Key<'a>, InterStoreKeys>,
    options: JoinStoreOptions<'a>,
}

impl WriteCommand for ZInterStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let JoinStoreOptions { weights, aggregate } = self.options;
        let result = stored(Inputs::new(cx, &self.keys, weights, aggregate)?.intersection(), cx);
        store(cx, &self.destination, result, "zinterstore", reply);
        Ok(())
    }
}

pub const ZINTERSTORE: Command = Command {
    name: "ZINTERSTORE",
    op: "zset.interstore",
    since: "2.0.0",
    summary: "Stores the members that several sorted sets have in common at another key.",
    complexity: "O(N*K + M*log M) for N members of the smallest of K and M stored",
    returns: STORED,
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..ZSET.write::<ZInterStore>()
};

#[derive(Args)]
pub struct ZDiffStore<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// The sorted set or set to take from, then those whose members are taken away.
    #[arg(access = "RO access")]
    keys: Counted<'a, Key<'a>, DiffStoreKeys>,
}

impl WriteCommand for ZDiffStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let result = stored(difference(&Source::all(cx, &self.keys)?), cx);
        store(cx, &self.destination, result, "zdiffstore", reply);
        Ok(())
    }
}

pub const ZDIFFSTORE: Command = Command {
    name: "ZDIFFSTORE",
    op: "zset.diffstore",
    since: "6.2.0",
    summary: "Stores the members of a sorted set that no other one has at another key.",
    complexity: "O(L + M*log M) for L members of all and M stored",
    returns: STORED,
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..ZSET.write::<ZDiffStore>()
};

#[derive(Args)]
pub struct ZInterCard<'a> {
    /// Sorted sets or sets.
    #[arg(access = "RO access")]
    keys: Counted<'a, Key<'a>, InterCardKeys>,
    /// Where counting ends; 0 for nowhere.
    #[arg(token = "LIMIT")]
    limit: Option<CardLimit>,
}

impl ReadCommand for ZInterCard<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let limit = self.limit.map_or(0, |CardLimit(limit)| limit);
        let mut count = 0;
        Inputs::new(cx, &self.keys, None, None)?.common(|_, _| {
            count += 1;
            count == limit
        });
        reply.int(count as i64);
        Ok(())
    }
}

pub const ZINTERCARD: Command = Command {
    name: "ZINTERCARD",
    op: "zset.intercard",
    since: "7.0.0",
    summary: "Counts the members that several sorted sets have in common.",
    complexity: "O(N*K) for N members of the smallest of K",
    returns: Shape::int("count", "With LIMIT not more than that."),
    flags: Flags::MOVABLE_KEYS,
    ..ZSET.read::<ZInterCard>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn unions_intersections_and_differences() {
        TestEngine::default().check(
            r#"
            ZADD one 1 a 2 b 3 1 => 3
            ZADD two 10 b 20 c => 2
            SADD set 1 2 => 2
            ZUNION 3 one two set WITHSCORES => [["2", 1], ["a", 1], ["1", 4], ["b", 12], ["c", 20]]
            ZUNION 2 one two WEIGHTS 2 -1 AGGREGATE MIN WITHSCORES => [["c", -20], ["b", -10], ["a", 2], ["1", 6]]
            ZINTER 2 one two WITHSCORES => [["b", 12]]
            ZINTER 2 one none => []
            ZINTERCARD 2 one one LIMIT 2 => 2
            ZINTERCARD 2 one one LIMIT 0 => 3
            ZINTERCARD 1 one LIMIT -1 => -ERR LIMIT can't be negative
            ZDIFF 3 one two set WITHSCORES => [["a", 1]]
            ZDIFFSTORE target 2 one two => 2
            ZUNIONSTORE target 2 one two WEIGHTS 1 0 => 4
            ZRANGE target 0 -1 WITHSCORES => [["c", 0], ["a", 1], ["b", 2], ["1", 3]]
            ZINTERSTORE target 2 one none => 0
            EXISTS target => 0
            SET text x => OK
            ZUNION 2 one text => -WRONGTYPE Operation against a key holding the wrong kind of value
            ZUNION 0 one => -ERR at least 1 input key is needed for 'zunion' command
            ZUNIONSTORE t 0 one => -ERR at least 1 input key is needed for 'zunionstore' command
            ZUNION x one => -ERR value is not an integer or out of range
            ZUNION 3 one two => -ERR syntax error
            ZUNION 2 one two WEIGHTS 1 => -ERR syntax error
            ZUNION 1 one WEIGHTS 1 2 => -ERR syntax error
            ZUNION 1 one WEIGHTS x => -ERR weight value is not a float
            "#,
        );
    }

    #[test]
    fn what_is_no_number_is_zero() {
        TestEngine::default().check(
            r#"
            ZADD one inf a => 1
            ZADD two -inf a => 1
            ZUNION 2 one two WITHSCORES => [["a", 0]]
            ZINTER 2 one two WITHSCORES => [["a", 0]]
            ZUNION 1 one WEIGHTS 0 WITHSCORES => [["a", 0]]
            "#,
        );
    }

    /// A few large ones and many small ones go different ways.
    #[test]
    fn differences_agree_whichever_way_they_are_taken() {
        let mut test = TestEngine::default();
        for number in 0..400 {
            test.call(&format!("ZADD large {number} m{number}"));
        }
        let mut keys = String::new();
        for number in 0..30 {
            test.call(&format!("ZADD small{number} 1 m{number} 2 x{number}"));
            keys += &format!(" small{number}");
        }
        assert_eq!(test.call(&format!("ZDIFFSTORE target 31 large{keys}")), "370");
        assert_eq!(test.call("ZRANGE target 0 0"), r#"["m30"]"#);
        assert_eq!(test.call("ZDIFFSTORE target 2 small1 large"), "1");
    }
}
