//! Sorted sets, member by member. Ranges, pops and set algebra have files of their own.

use super::prelude::*;
use super::{Budget, takes};
use crate::execute::guards::Change;
use crate::grammar::args::UNEVEN;
use crate::types::Elem;
use crate::types::sample::{Numbers, below};
use crate::types::score::format_double;
use crate::types::zset::{Outcome, ZSet};

pub(super) const ZSET: Group = Group { name: "sorted_set", op: "zset", category: Category::SORTED_SET };

pub const COMMANDS: &[Command] = &[ZADD, ZINCRBY, ZREM, ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZRANDMEMBER, ZSCAN];

#[derive(Args, Default)]
#[args(any_order)]
pub struct ZAddOptions {
    /// Only adds members.
    #[arg(token = "NX")]
    nx: bool,
    /// Only changes members that are there.
    #[arg(token = "XX")]
    xx: bool,
    /// Only changes a score to a greater one.
    #[arg(token = "GT")]
    gt: bool,
    /// Only changes a score to a smaller one.
    #[arg(token = "LT")]
    lt: bool,
    /// Counts changed members too.
    #[arg(token = "CH")]
    ch: bool,
    /// Adds to the score of one member, and answers it.
    #[arg(token = "INCR")]
    incr: bool,
}

/// A score and its member.
#[derive(Args)]
pub struct ScoreMember<'a> {
    /// Number to sort by; `inf` and `-inf` are numbers.
    score: f64,
    /// Name inside the sorted set.
    member: Word<'a>,
}

#[derive(Args)]
#[args(check = ZAdd::check)]
pub struct ZAdd<'a> {
    /// Sorted set to write; created when missing.
    #[arg(access = "RW update")]
    key: Key<'a>,
    options: ZAddOptions,
    /// Pairs in order.
    #[arg(uneven = "syntax")]
    members: Many<'a, ScoreMember<'a>>,
}

impl ZAdd<'_> {
    fn check(&self) -> Result<()> {
        let o = &self.options;
        if o.nx && o.xx {
            return Err(Error::err("XX and NX options at the same time are not compatible"));
        }
        if usize::from(o.gt) + usize::from(o.lt) + usize::from(o.nx) > 1 {
            return Err(Error::err("GT, LT, and/or NX options at the same time are not compatible"));
        }
        if o.incr && self.members.len() > 1 {
            return Err(Error::err("INCR option supports a single increment-element pair"));
        }
        Ok(())
    }
}

impl ZAddOptions {
    /// The score that the member gets, when the options let it.
    fn decide(&self, old: Option<f64>, given: f64) -> Result<Option<f64>> {
        let Some(old) = old else { return Ok((!self.xx).then_some(given)) };
        let new = if self.incr { old + given } else { given };
        if new.is_nan() {
            return Err(Error::err("resulting score is not a number (NaN)"));
        }
        let refused = self.nx || (self.gt && new <= old) || (self.lt && new >= old);
        Ok((!refused).then_some(new))
    }
}

impl WriteCommand for ZAdd<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let options = &self.options;
        if options.incr {
            return self.increment(cx, reply);
        }
        if options.xx && cx.zset(&self.key)?.is_none() {
            reply.int(0);
            return Ok(());
        }
        let mut zset = cx.change::<ZSet>(&self.key, "zadd")?;
        let (mut added, mut changed) = (0, 0);
        for pair in self.members.iter() {
            // The plain call does not need to know the old score.
            let plain = !(options.nx || options.xx || options.gt || options.lt);
            let score = if plain { Some(pair.score) } else { options.decide(zset.score(pair.member), pair.score)? };
            let Some(score) = score else { continue };
            match zset.put(pair.member, score) {
                Outcome::Added => added += 1,
                Outcome::Updated(_) => changed += 1,
                Outcome::Same => {}
            }
        }
        reply.int(if options.ch { added + changed } else { added });
        Ok(())
    }
}

impl ZAdd<'_> {
    fn increment(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(pair) = self.members.iter().next() else { return Err(Error::SYNTAX) };
        match increment(cx, &self.key, &self.options, &pair)? {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
        Ok(())
    }
}

/// Adds to a score and returns the sum; `None` when an option is against it.
fn increment(
    cx: &mut WriteCx<'_>,
    key: &Key<'_>,
    options: &ZAddOptions,
    pair: &ScoreMember<'_>,
) -> Result<Option<f64>> {
    let old = cx.zset(key)?.and_then(|zset| zset.score(pair.member));
    let Some(score) = options.decide(old, pair.score)? else { return Ok(None) };
    let mut zset: Change<'_, '_, ZSet> = cx.change(key, "zincr")?;
    zset.put(pair.member, score);
    drop(zset);
    // Logged as the sum: adding again somewhere else must not round otherwise.
    cx.log_instead(&[b"ZADD", key.bytes, format_double(score).as_bytes(), pair.member]);
    Ok(Some(score))
}

pub const ZADD: Command = Command {
    name: "ZADD",
    op: "zset.add",
    since: "1.2.0",
    summary: "Adds members with scores to a sorted set, or changes their scores.",
    complexity: "O(log N) for each member, N in the sorted set",
    returns: Shape::one_of(
        "result",
        "How many were added (with CH: or changed); with INCR the new score, null when a condition was not met.",
        &[Shape::INT, Shape::optional(&Shape::double("", ""))],
    ),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..ZSET.write::<ZAdd>()
};

#[derive(Args)]
pub struct ZIncrBy<'a> {
    /// Sorted set to write; created when missing.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Number to add; negative to subtract.
    increment: f64,
    /// Name inside the sorted set; one that is not there counts as 0.
    member: Word<'a>,
}

impl WriteCommand for ZIncrBy<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let options = ZAddOptions { incr: true, ..ZAddOptions::default() };
        let pair = ScoreMember { score: self.increment, member: self.member };
        let score = increment(cx, &self.key, &options, &pair)?;
        reply.double(score.unwrap_or_default());
        Ok(())
    }
}

pub const ZINCRBY: Command = Command {
    name: "ZINCRBY",
    op: "zset.incrby",
    since: "1.2.0",
    summary: "Adds to the score of a member, which is added when it is not there.",
    complexity: "O(log N)",
    returns: Shape::double("score", "The new score."),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..ZSET.write::<ZIncrBy>()
};

#[derive(Args)]
pub struct ZRem<'a> {
    /// Sorted set to write; deleted with its last member.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// Members to remove.
    members: Many<'a, Word<'a>>,
}

impl WriteCommand for ZRem<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let removed = match cx.change_existing::<ZSet>(&self.key, "zrem")? {
            Some(mut zset) => self.members.iter().filter(|member| zset.delete(member).is_some()).count(),
            None => 0,
        };
        reply.int(removed as i64);
        Ok(())
    }
}

pub const ZREM: Command = Command {
    name: "ZREM",
    op: "zset.rem",
    since: "1.2.0",
    summary: "Removes members of a sorted set.",
    complexity: "O(M*log N) for M members",
    returns: Shape::int("removed", "Members that were there."),
    flags: Flags::FAST,
    ..ZSET.write::<ZRem>()
};

#[derive(Args)]
pub struct ZCard<'a> {
    /// Sorted set to count.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for ZCard<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(cx.zset(&self.key)?.map_or(0, ZSet::len) as i64);
        Ok(())
    }
}

pub const ZCARD: Command = Command {
    name: "ZCARD",
    op: "zset.card",
    since: "1.2.0",
    summary: "Counts the members of a sorted set.",
    returns: Shape::int("count", "0 when there is no such sorted set."),
    flags: Flags::FAST,
    ..ZSET.read::<ZCard>()
};

#[derive(Args)]
pub struct ZScore<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// Name inside the sorted set.
    member: Word<'a>,
}

impl ReadCommand for ZScore<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_score(cx.zset(&self.key)?, self.member, reply);
        Ok(())
    }
}

fn write_score(zset: Option<&ZSet>, member: &[u8], reply: &mut dyn Reply) {
    match zset.and_then(|zset| zset.score(member)) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub const ZSCORE: Command = Command {
    name: "ZSCORE",
    op: "zset.score",
    since: "1.2.0",
    summary: "Returns the score of a member.",
    returns: Shape::optional(&Shape::double("score", "Null when there is no such member.")),
    flags: Flags::FAST,
    ..ZSET.read::<ZScore>()
};

#[derive(Args)]
pub struct ZMScore<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// Names inside the sorted set.
    members: Many<'a, Word<'a>>,
}

impl ReadCommand for ZMScore<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let zset = cx.zset(&self.key)?;
        reply.array(self.members.len());
        self.members.iter().for_each(|member| write_score(zset, member, reply));
        Ok(())
    }
}

pub const ZMSCORE: Command = Command {
    name: "ZMSCORE",
    op: "zset.mscore",
    since: "6.2.0",
    summary: "Returns the scores of several members.",
    complexity: "O(N) for N members",
    returns: Shape::array(
        "scores",
        "For each member its score; null when there is no such member.",
        &Shape::optional(&Shape::double("", "")),
    ),
    flags: Flags::FAST,
    ..ZSET.read::<ZMScore>()
};

#[derive(Args)]
#[args(excess = ZRank::surplus)]
pub struct ZRank<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// Name inside the sorted set.
    member: Word<'a>,
    /// Answers the score too.
    #[arg(token = "WITHSCORE")]
    withscore: bool,
}

impl ZRank<'_> {
    fn surplus(&self, rest: Words<'_>) -> Error {
        if self.withscore || rest.len() > 1 { UNEVEN } else { Error::SYNTAX }
    }
}

impl ZRank<'_> {
    fn write(&self, cx: &ReadCx<'_>, rev: bool, reply: &mut dyn Reply) -> Result<()> {
        let zset = cx.zset(&self.key)?;
        let found = zset.and_then(|zset| zset.rank(self.member).map(|found| (found, zset.len())));
        let found = found.map(|((rank, score), len)| (if rev { len - 1 - rank } else { rank }, score));
        match found {
            Some((rank, score)) if self.withscore => {
                reply.array(2);
                reply.int(rank as i64);
                reply.double(score);
            }
            Some((rank, _)) => reply.int(rank as i64),
            None if self.withscore => reply.null_array(),
            None => reply.null(),
        }
        Ok(())
    }
}

impl ReadCommand for ZRank<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.write(cx, false, reply)
    }
}

#[derive(Args)]
pub struct ZRevRank<'a>(ZRank<'a>);

impl ReadCommand for ZRevRank<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.write(cx, true, reply)
    }
}

const PLACE: Shape = Shape::one_of(
    "place",
    "The rank from 0; with WITHSCORE also the score; null when there is no such member.",
    &[
        Shape::optional(&Shape::int("rank", "")),
        Shape::optional(&Shape::tuple("", "", &[Shape::int("rank", ""), Shape::double("score", "")])),
    ],
);

pub const ZRANK: Command = Command {
    name: "ZRANK",
    op: "zset.rank",
    since: "2.0.0",
    summary: "Returns the place of a member, counted from the lowest score.",
    complexity: "O(log N)",
    returns: PLACE,
    flags: Flags::FAST,
    ..ZSET.read::<ZRank>()
};

pub const ZREVRANK: Command = Command {
    name: "ZREVRANK",
    op: "zset.revrank",
    since: "2.0.0",
    summary: "Returns the place of a member, counted from the highest score.",
    complexity: "O(log N)",
    returns: PLACE,
    flags: Flags::FAST,
    ..ZSET.read::<ZRevRank>()
};

/// How many to pick.
#[derive(Args)]
pub struct Pick {
    /// So many different ones at most; a negative number so many that may be the same.
    count: Picks,
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
}

#[derive(Args)]
pub struct ZRandMember<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    pick: Option<Pick>,
}

impl ReadCommand for ZRandMember<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let random = cx.state().random();
        match (cx.zset(&self.key)?, self.pick) {
            (zset, None) => match zset.and_then(|zset| zset.random(random)) {
                Some((member, _)) => reply.bulk(member.bytes(&mut itoa::Buffer::new())),
                None => reply.null(),
            },
            (None, Some(_)) => reply.array(0),
            (Some(zset), Some(Pick { count: Picks(count @ 0..), withscores })) => {
                let picked = zset.sample(usize::try_from(count).unwrap_or(usize::MAX), random);
                write_range(picked.into_iter(), withscores, reply);
            }
            (Some(zset), Some(Pick { count: Picks(count), withscores })) => {
                let picked = again(zset, count.unsigned_abs() as usize, random)?;
                write_range(picked.into_iter(), withscores, reply);
            }
        }
        Ok(())
    }
}

/// Members chosen by chance, each time among all.
fn again(zset: &ZSet, count: usize, random: u64) -> Result<Vec<(Elem<'_>, f64)>> {
    // A compact form is counted through for each rank: better once.
    let few: Vec<_> = if zset.as_listpack().is_some() { zset.iter().collect() } else { Vec::new() };
    let (mut numbers, mut budget) = (Numbers(random), Budget::of_answer());
    let mut picked = Vec::with_capacity(count);
    for _ in 0..count {
        let random = numbers.draw();
        let Some(one) = few.get(below(random, few.len())).copied().or_else(|| zset.random(random)) else { break };
        budget.spend(one.0.len())?;
        picked.push(one);
    }
    Ok(picked)
}

pub const ZRANDMEMBER: Command = Command {
    name: "ZRANDMEMBER",
    op: "zset.randmember",
    since: "6.2.0",
    summary: "Returns members of a sorted set by chance.",
    complexity: "O(N*log M) for N members answered",
    returns: Shape::one_of(
        "members",
        "The member; with a count an array of them, with WITHSCORES pairs; null or empty when there is no such sorted set.",
        &[Shape::optional(&Shape::BYTES), MEMBERS, SCORED_MEMBERS],
    ),
    ..ZSET.read::<ZRandMember>()
};

#[derive(Args)]
#[args(any_order)]
pub struct ZScanOptions<'a> {
    /// Only members that match.
    #[arg(token = "MATCH")]
    r#match: Option<Pattern<'a>>,
    /// About how many members to look at; 10 when left out.
    #[arg(token = "COUNT")]
    count: Option<Effort>,
    /// Answers members without their scores.
    #[arg(token = "NOSCORES")]
    noscores: bool,
}

#[derive(Args)]
pub struct ZScan<'a> {
    /// Sorted set to go through.
    key: Key<'a>,
    /// 0 to begin, then what the last call answered.
    cursor: Cursor,
    options: ZScanOptions<'a>,
}

impl ReadCommand for ZScan<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let ZScanOptions { r#match, count, noscores } = self.options;
        let count = count.unwrap_or_default().items();
        let mut found: Vec<(Vec<u8>, f64)> = Vec::new();
        let visit = |member: Elem<'_>, score: f64| {
            if takes(r#match, member) {
                found.push((member.to_vec(), score));
            }
        };
        let cursor = cx.zset(&self.key)?.map_or(0, |zset| zset.scan(self.cursor.0, count, visit));
        reply.array(2);
        reply.bulk_int(cursor as i64);
        reply.array(if noscores { found.len() } else { found.len() * 2 });
        for (member, score) in found {
            reply.bulk(&member);
            if !noscores {
                reply.bulk(&format_double(score));
            }
        }
        Ok(())
    }
}

pub const ZSCAN: Command = Command {
    name: "ZSCAN",
    op: "zset.scan",
    since: "2.8.0",
    summary: "Goes through a sorted set, some members at each call. One that is there all the time is answered at least once.",
    complexity: "O(1) for every call, O(N) for a whole iteration",
    returns: Shape::tuple(
        "",
        "",
        &[
            Shape::cursor("cursor", "For the next call; 0 when all was seen."),
            Shape::array("members", "Each member followed by its score; with NOSCORES members alone.", &Shape::BYTES),
        ],
    ),
    ..ZSET.read::<ZScan>()
};

pub(super) const MEMBERS: Shape = Shape::array("", "", &Shape::BYTES);
pub(super) const SCORED_MEMBERS: Shape =
    Shape::pairs("", "", &[Shape::bytes("member", ""), Shape::double("score", "")]);

/// Members, or pairs: nested in RESP3, flat in RESP2.
pub(super) fn write_range<'z>(
    items: impl ExactSizeIterator<Item = (Elem<'z>, f64)>,
    with_scores: bool,
    reply: &mut dyn Reply,
) {
    let mut digits = itoa::Buffer::new();
    let nested = with_scores && reply.resp3();
    reply.array(if with_scores && !nested { items.len() * 2 } else { items.len() });
    for (member, score) in items {
        if nested {
            reply.array(2);
        }
        reply.bulk(member.bytes(&mut digits));
        if with_scores {
            reply.double(score);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::testing::TestEngine;

    #[test]
    fn members_are_picked_by_chance() {
        let mut test = TestEngine::default();
        for setting in ["128", "2"] {
            test.call(&format!("CONFIG SET zset-max-listpack-entries {setting}"));
            test.check(
                r#"
                DEL z => 0
                ZADD z 1 a 2 b 3 c 4 d 5 e => 5
                ZRANDMEMBER none => nil
                ZRANDMEMBER none 3 => []
                ZRANDMEMBER z 0 => []
                ZRANDMEMBER z 7 => ["a", "b", "c", "d", "e"]
                ZRANDMEMBER z -2000000 => -ERR value is out of range
                ZRANDMEMBER z x => -ERR value is not an integer or out of range
                ZRANDMEMBER z 1 x => -ERR syntax error
                "#,
            );
            let mut seen = BTreeSet::new();
            for _ in 0..200 {
                let picked = test.call("ZRANDMEMBER z 2");
                seen.insert(picked);
                assert_eq!(test.call("ZRANDMEMBER z -9 WITHSCORES").matches(", [").count(), 8);
            }
            // Any two of five, in their order.
            assert_eq!(seen.len(), 10, "{seen:?}");
            test.check("DEL z => 1");
        }
    }

    #[test]
    fn a_scan_meets_every_member() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ZADD z 1 a 2.5 b => 2
            ZSCAN z 0 => ["0", ["a", "1", "b", "2.5"]]
            ZSCAN z 0 NOSCORES MATCH b* => ["0", ["b"]]
            ZSCAN none 0 => ["0", []]
            ZSCAN z x => -ERR invalid cursor
            ZSCAN z 0 COUNT 0 => -ERR syntax error
            "#,
        );
        for number in 0..1000 {
            test.call(&format!("ZADD large {number} m{number}"));
        }
        let (mut cursor, mut seen) = ("0".to_string(), BTreeSet::new());
        loop {
            let reply = test.call(&format!("ZSCAN large {cursor} COUNT 50 NOSCORES"));
            let mut words = reply.split('"').skip(1).step_by(2);
            cursor = words.next().expect("a cursor").to_string();
            seen.extend(words.map(str::to_string));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn a_sum_that_is_no_number_is_refused() {
        TestEngine::default().check(
            r#"
            ZADD z inf a => 1
            ZINCRBY z -inf a => -ERR resulting score is not a number (NaN)
            ZINCRBY z 1 a => inf
            ZINCRBY z 0.1 b => 0.1
            ZINCRBY z 0.2 b => 0.30000000000000004
            ZINCRBY z x b => -ERR value is not a valid float
            ZREVRANK z b WITHSCORE => [1, 0.30000000000000004]
            ZMSCORE z b x a => [0.30000000000000004, nil, inf]
            ZREM z a b x => 2
            EXISTS z => 0
            "#,
        );
    }
}
