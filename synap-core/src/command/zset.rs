//! Sorted sets.

use super::prelude::*;
use crate::execute::guards::Change;
use crate::grammar::args::UNEVEN;
use crate::types::score::{format_double, parse_double};
use crate::types::zset::{LexBound, Outcome, ScoreBound, ZSet};

const ZSET: Group = Group { name: "sorted_set", op: "zset", category: Category::SORTED_SET };

pub const COMMANDS: &[Command] = &[ZADD, ZRANGE, ZRANK];

#[derive(Args)]
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
        let mut zset = cx.change::<ZSet>(&self.key)?;
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
        let old = cx.zset(&self.key)?.and_then(|zset| zset.score(pair.member));
        let Some(score) = self.options.decide(old, pair.score)? else {
            reply.null();
            return Ok(());
        };
        let mut zset: Change<'_, '_, ZSet> = cx.change(&self.key)?;
        zset.put(pair.member, score);
        drop(zset);
        // Logged as the sum: adding again somewhere else must not round otherwise.
        cx.log_instead(&[b"ZADD", self.key.bytes, format_double(score).as_bytes(), pair.member]);
        reply.double(score);
        Ok(())
    }
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
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..ZSET.write::<ZAdd>()
};

/// By what a range is given.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum RangeBy {
    /// By score: `1`, `(1`, `-inf`, `+inf`.
    #[arg(token = "BYSCORE")]
    Byscore,
    /// By name, where all scores are the same: `[a`, `(a`, `-`, `+`.
    #[arg(token = "BYLEX")]
    Bylex,
}

/// A part of what was found.
#[derive(Args, Clone, Copy)]
pub struct Limit {
    /// Items to leave out at the beginning.
    offset: i64,
    /// Items at most; a negative number takes all.
    count: i64,
}

#[derive(Args)]
#[args(any_order)]
pub struct ZRangeOptions {
    by: Option<RangeBy>,
    /// From the highest score to the lowest; start and stop are given the other way round.
    #[arg(token = "REV")]
    rev: bool,
    /// A part of what was found; with BYSCORE or BYLEX.
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
}

#[derive(Args)]
#[args(excess = ZRange::surplus, check = ZRange::check)]
pub struct ZRange<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// Where the range begins: a rank, a score or a name.
    start: Word<'a>,
    /// Where the range ends, inclusive.
    stop: Word<'a>,
    options: ZRangeOptions,
}

impl ZRange<'_> {
    /// Told before wrong bounds are.
    fn surplus(&self, _: Words<'_>) -> Error {
        Error::SYNTAX
    }

    fn check(&self) -> Result<()> {
        let o = &self.options;
        // For Redis a count of -1 says that there is no limit, and it passes where none may stand.
        if o.by.is_none() && o.limit.is_some_and(|limit| limit.count != -1) {
            return Err(Error::err(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if o.withscores && o.by == Some(RangeBy::Bylex) {
            return Err(Error::err("syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        // The bounds are read here, before anything is locked.
        self.bounds().map(|_| ())
    }

    fn bounds(&self) -> Result<Bounds<'_>> {
        let (low, high) = if self.options.rev && self.options.by.is_some() {
            (self.stop, self.start)
        } else {
            (self.start, self.stop)
        };
        Ok(match self.options.by {
            None => Bounds::Rank(int(low)?, int(high)?),
            Some(RangeBy::Byscore) => Bounds::Score(score_bound(low)?, score_bound(high)?),
            Some(RangeBy::Bylex) => Bounds::Lex(lex_bound(low)?, lex_bound(high)?),
        })
    }
}

enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

fn int(word: &[u8]) -> Result<i64> {
    crate::types::parse_int(word).ok_or(Error::NOT_INT)
}

fn score_bound(word: &[u8]) -> Result<ScoreBound> {
    const WRONG: Error = Error::err("min or max is not a float");
    match word {
        [b'(', rest @ ..] => parse_double(rest).map(ScoreBound::Excl).ok_or(WRONG),
        _ => parse_double(word).map(ScoreBound::Incl).ok_or(WRONG),
    }
}

fn lex_bound(word: &[u8]) -> Result<LexBound<'_>> {
    match word {
        b"-" => Ok(LexBound::Min),
        b"+" => Ok(LexBound::Max),
        [b'[', rest @ ..] => Ok(LexBound::Incl(rest)),
        [b'(', rest @ ..] => Ok(LexBound::Excl(rest)),
        _ => Err(Error::err("min or max not valid string range item")),
    }
}

impl ReadCommand for ZRange<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let bounds = self.bounds()?;
        let Some(zset) = cx.zset(&self.key)? else {
            reply.array(0);
            return Ok(());
        };
        let len = zset.len();
        let mut ranks = match bounds {
            Bounds::Rank(start, stop) => {
                let range = super::index_range(start, stop, len);
                if self.options.rev { len - range.end..len - range.start } else { range }
            }
            Bounds::Score(min, max) => zset.score_ranks(min, max),
            Bounds::Lex(min, max) => zset.lex_ranks(min, max),
        };
        if let Some(Limit { offset, count }) = self.options.limit.filter(|_| self.options.by.is_some()) {
            // A negative offset finds nothing, as in Redis.
            let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(ranks.len());
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - offset);
            ranks = if self.options.rev {
                ranks.end - offset - count..ranks.end - offset
            } else {
                ranks.start + offset..ranks.start + offset + count
            };
        }
        if self.options.rev {
            write_range(zset.range(ranks).rev(), self.options.withscores, reply);
        } else {
            write_range(zset.range(ranks), self.options.withscores, reply);
        }
        Ok(())
    }
}

/// Members, or pairs: nested in RESP3, flat in RESP2.
fn write_range<'z>(
    items: impl ExactSizeIterator<Item = (crate::types::Elem<'z>, f64)>,
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

pub const ZRANGE: Command = Command {
    name: "ZRANGE",
    op: "zset.range",
    since: "1.2.0",
    summary: "Returns members of a sorted set within a range of ranks, scores or names.",
    complexity: "O(log N + M) for M members answered",
    returns: Shape::one_of(
        "members",
        "In the order of the range; with WITHSCORES pairs.",
        &[
            Shape::array("", "", &Shape::BYTES),
            Shape::pairs("", "", &[Shape::bytes("member", ""), Shape::double("score", "")]),
        ],
    ),
    tool: Tool::Default,
    ..ZSET.read::<ZRange>()
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

impl ReadCommand for ZRank<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.zset(&self.key)?.and_then(|zset| zset.rank(self.member)) {
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

pub const ZRANK: Command = Command {
    name: "ZRANK",
    op: "zset.rank",
    since: "2.0.0",
    summary: "Returns the place of a member, counted from the lowest score.",
    complexity: "O(log N)",
    returns: Shape::one_of(
        "place",
        "The rank from 0; with WITHSCORE also the score; null when there is no such member.",
        &[
            Shape::optional(&Shape::int("rank", "")),
            Shape::optional(&Shape::tuple("", "", &[Shape::int("rank", ""), Shape::double("score", "")])),
        ],
    ),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..ZSET.read::<ZRank>()
};
