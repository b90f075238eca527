//! Ranges of sorted sets: by rank, by score, by name.

use std::ops::Range;

use super::prelude::*;
use super::zset::{MEMBERS, SCORED_MEMBERS, ZSET, write_range};
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::types::score::parse_double;
use crate::types::zset::{LexBound, ScoreBound, ZSet};

pub const COMMANDS: &[Command] = &[
    ZRANGE,
    ZRANGESTORE,
    ZRANGEBYSCORE,
    ZRANGEBYLEX,
    ZREVRANGE,
    ZREVRANGEBYSCORE,
    ZREVRANGEBYLEX,
    ZCOUNT,
    ZLEXCOUNT,
    ZREMRANGEBYRANK,
    ZREMRANGEBYSCORE,
    ZREMRANGEBYLEX,
];

/// An end of a range of scores: `1`, `(1`, `-inf`, `+inf`.
#[derive(Clone, Copy)]
pub struct ScoreEnd(ScoreBound);

impl<'a> Arg<'a> for ScoreEnd {
    const KIND: ArgKind = ArgKind::Bytes;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        score_bound(parser.word()?).map(ScoreEnd)
    }
}

/// An end of a range of names: `[a`, `(a`, `-`, `+`.
#[derive(Clone, Copy)]
pub struct LexEnd<'a>(LexBound<'a>);

impl<'a> Arg<'a> for LexEnd<'a> {
    const KIND: ArgKind = ArgKind::Bytes;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        lex_bound(parser.word()?).map(LexEnd)
    }
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

enum Bounds<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl Bounds<'_> {
    fn score(min: ScoreEnd, max: ScoreEnd) -> Bounds<'static> {
        Bounds::Score(min.0, max.0)
    }

    fn lex<'a>(min: LexEnd<'a>, max: LexEnd<'a>) -> Bounds<'a> {
        Bounds::Lex(min.0, max.0)
    }

    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        match *self {
            Bounds::Rank(start, stop) => super::index_range(start, stop, zset.len()),
            Bounds::Score(min, max) => zset.score_ranks(min, max),
            Bounds::Lex(min, max) => zset.lex_ranks(min, max),
        }
    }
}

/// A part of what was found.
#[derive(Args, Clone, Copy)]
pub struct Limit {
    /// Items to leave out at the beginning.
    offset: i64,
    /// Items at most; a negative number takes all.
    count: i64,
}

/// What a call asks for.
struct Span<'a> {
    bounds: Bounds<'a>,
    rev: bool,
    limit: Option<Limit>,
}

impl Span<'_> {
    fn ranks(&self, zset: &ZSet) -> Range<usize> {
        let ranks = self.bounds.ranks(zset);
        if self.rev && matches!(self.bounds, Bounds::Rank(..)) {
            // Ranks count from the end then.
            return zset.len() - ranks.end..zset.len() - ranks.start;
        }
        let Some(Limit { offset, count }) = self.limit else { return ranks };
        // A negative offset finds nothing, as in Redis.
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(ranks.len());
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - offset);
        if self.rev {
            ranks.end - offset - count..ranks.end - offset
        } else {
            ranks.start + offset..ranks.start + offset + count
        }
    }

    fn write(&self, cx: &ReadCx<'_>, key: &Key<'_>, with_scores: bool, reply: &mut dyn Reply) -> Result<()> {
        let Some(zset) = cx.zset(key)? else {
            reply.array(0);
            return Ok(());
        };
        let members = zset.range(self.ranks(zset));
        if self.rev {
            write_range(members.rev(), with_scores, reply);
        } else {
            write_range(members, with_scores, reply);
        }
        Ok(())
    }
}

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

/// Bounds as words, whose meaning an option tells.
#[derive(Clone, Copy)]
struct Untold<'a> {
    start: Word<'a>,
    stop: Word<'a>,
    by: Option<RangeBy>,
    rev: bool,
    limit: Option<Limit>,
}

impl<'a> Untold<'a> {
    fn span(self) -> Result<Span<'a>> {
        let Untold { start, stop, by, rev, limit } = self;
        // For Redis a count of -1 says that there is no limit, and it passes where none may stand.
        if by.is_none() && limit.is_some_and(|limit| limit.count != -1) {
            return Err(LIMIT_OF_RANKS);
        }
        let (low, high) = if rev && by.is_some() { (stop, start) } else { (start, stop) };
        let int = |word| crate::types::parse_int(word).ok_or(Error::NOT_INT);
        let bounds = match by {
            None => Bounds::Rank(int(low)?, int(high)?),
            Some(RangeBy::Byscore) => Bounds::Score(score_bound(low)?, score_bound(high)?),
            Some(RangeBy::Bylex) => Bounds::Lex(lex_bound(low)?, lex_bound(high)?),
        };
        Ok(Span { bounds, rev, limit: limit.filter(|_| by.is_some()) })
    }
}

const LIMIT_OF_RANKS: Error =
    Error::err("syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const SCORES_OF_NAMES: Error = Error::err("syntax error, WITHSCORES not supported in combination with BYLEX");

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
        if self.options.withscores && self.options.by == Some(RangeBy::Bylex) {
            return Err(SCORES_OF_NAMES);
        }
        // The bounds are read here, before anything is locked.
        self.untold().span().map(|_| ())
    }

    fn untold(&self) -> Untold<'_> {
        let ZRangeOptions { by, rev, limit, .. } = self.options;
        Untold { start: self.start, stop: self.stop, by, rev, limit }
    }
}

impl ReadCommand for ZRange<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.untold().span()?.write(cx, &self.key, self.options.withscores, reply)
    }
}

const RANGE: Shape =
    Shape::one_of("members", "In the order of the range; with WITHSCORES pairs.", &[MEMBERS, SCORED_MEMBERS]);

pub const ZRANGE: Command = Command {
    name: "ZRANGE",
    op: "zset.range",
    since: "1.2.0",
    summary: "Returns members of a sorted set within a range of ranks, scores or names.",
    complexity: "O(log N + M) for M members answered",
    returns: RANGE,
    ..ZSET.read::<ZRange>()
};

#[derive(Args)]
#[args(any_order)]
pub struct ZRangeStoreOptions {
    by: Option<RangeBy>,
    /// From the highest score to the lowest; start and stop are given the other way round.
    #[arg(token = "REV")]
    rev: bool,
    /// A part of what was found; with BYSCORE or BYLEX.
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
}

#[derive(Args)]
#[args(check = ZRangeStore::check)]
pub struct ZRangeStore<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// Sorted set to read.
    #[arg(access = "RO access")]
    source: Key<'a>,
    /// Where the range begins: a rank, a score or a name.
    start: Word<'a>,
    /// Where the range ends, inclusive.
    stop: Word<'a>,
    options: ZRangeStoreOptions,
}

impl ZRangeStore<'_> {
    fn check(&self) -> Result<()> {
        self.untold().span().map(|_| ())
    }

    fn untold(&self) -> Untold<'_> {
        let ZRangeStoreOptions { by, rev, limit } = self.options;
        Untold { start: self.start, stop: self.stop, by, rev, limit }
    }
}

impl WriteCommand for ZRangeStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let span = self.untold().span()?;
        let source = cx.zset(&self.source)?;
        let ranks = source.map_or(0..0, |zset| span.ranks(zset));
        let found = source.map(|zset| zset.range(ranks.clone()));
        let mut stored = ZSet::new();
        for (member, score) in found.into_iter().flatten() {
            stored.insert(member.bytes(&mut itoa::Buffer::new()), score, cx.limits());
        }
        // Which names lie between two others is not determined where scores differ.
        let by_rank = matches!(span.bounds, Bounds::Lex(..));
        store(cx, &self.destination, stored, "zrangestore", reply);
        if by_rank && ranks.is_empty() {
            cx.log_instead(&[b"DEL", self.destination.bytes]);
        } else if by_rank {
            let (mut first, mut last) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (first, last) = (first.format(ranks.start).as_bytes(), last.format(ranks.end - 1).as_bytes());
            cx.log_instead(&[b"ZRANGESTORE", self.destination.bytes, self.source.bytes, first, last]);
        }
        Ok(())
    }
}

/// Stores a result, or removes what is at `key` when there is none, and answers how many members it has.
pub(super) fn store(cx: &mut WriteCx<'_>, key: &Key<'_>, result: ZSet, event: &'static str, reply: &mut dyn Reply) {
    reply.int(result.len() as i64);
    if result.is_empty() {
        cx.remove(key);
    } else {
        cx.set_value(key, Value::ZSet(result), Expiry::Clear, Event::new(Classes::ZSET, event));
    }
}

pub(super) const STORED: Shape = Shape::int("count", "Members that were stored.");

pub const ZRANGESTORE: Command = Command {
    name: "ZRANGESTORE",
    op: "zset.rangestore",
    since: "6.2.0",
    summary: "Stores members of a sorted set within a range of ranks, scores or names at another key.",
    complexity: "O(log N + M) for M members stored",
    returns: STORED,
    flags: Flags::DENYOOM,
    ..ZSET.write::<ZRangeStore>()
};

#[derive(Args)]
#[args(any_order)]
pub struct ByScoreOptions {
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
    /// A part of what was found.
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
}

#[derive(Args)]
pub struct ZRangeByScore<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// The lowest score: `1`, `(1` for above it, `-inf`.
    min: ScoreEnd,
    /// The highest score: `1`, `(1` for below it, `+inf`.
    max: ScoreEnd,
    options: ByScoreOptions,
}

impl ReadCommand for ZRangeByScore<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let ByScoreOptions { withscores, limit } = self.options;
        let span = Span { bounds: Bounds::score(self.min, self.max), rev: false, limit };
        span.write(cx, &self.key, withscores, reply)
    }
}

pub const ZRANGEBYSCORE: Command = Command {
    name: "ZRANGEBYSCORE",
    op: "zset.rangebyscore",
    since: "1.0.5",
    summary: "Returns members of a sorted set within a range of scores.",
    complexity: "O(log N + M) for M members answered",
    returns: RANGE,
    ..ZSET.read::<ZRangeByScore>()
};

#[derive(Args)]
pub struct ZRevRangeByScore<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// The highest score: `1`, `(1` for below it, `+inf`.
    max: ScoreEnd,
    /// The lowest score: `1`, `(1` for above it, `-inf`.
    min: ScoreEnd,
    options: ByScoreOptions,
}

impl ReadCommand for ZRevRangeByScore<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let ByScoreOptions { withscores, limit } = self.options;
        let span = Span { bounds: Bounds::score(self.min, self.max), rev: true, limit };
        span.write(cx, &self.key, withscores, reply)
    }
}

pub const ZREVRANGEBYSCORE: Command = Command {
    name: "ZREVRANGEBYSCORE",
    op: "zset.revrangebyscore",
    since: "2.2.0",
    summary: "Returns members of a sorted set within a range of scores, the highest first.",
    complexity: "O(log N + M) for M members answered",
    returns: RANGE,
    ..ZSET.read::<ZRevRangeByScore>()
};

#[derive(Args)]
#[args(excess = ZRangeByLex::surplus)]
pub struct ZRangeByLex<'a> {
    /// Sorted set to read, whose scores are the same.
    key: Key<'a>,
    /// The first name: `[a`, `(a` for behind it, `-`.
    min: LexEnd<'a>,
    /// The last name: `[a`, `(a` for before it, `+`.
    max: LexEnd<'a>,
    /// A part of what was found.
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
}

impl ZRangeByLex<'_> {
    fn surplus(&self, rest: Words<'_>) -> Error {
        no_scores(rest)
    }
}

fn no_scores(rest: Words<'_>) -> Error {
    if rest[0].eq_ignore_ascii_case(b"WITHSCORES") { SCORES_OF_NAMES } else { Error::SYNTAX }
}

impl ReadCommand for ZRangeByLex<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let span = Span { bounds: Bounds::lex(self.min, self.max), rev: false, limit: self.limit };
        span.write(cx, &self.key, false, reply)
    }
}

const NAMES: Shape = Shape::array("members", "In the order of the range.", &Shape::BYTES);

pub const ZRANGEBYLEX: Command = Command {
    name: "ZRANGEBYLEX",
    op: "zset.rangebylex",
    since: "2.8.9",
    summary: "Returns members of a sorted set within a range of names.",
    complexity: "O(log N + M) for M members answered",
    returns: NAMES,
    ..ZSET.read::<ZRangeByLex>()
};

#[derive(Args)]
#[args(excess = ZRevRangeByLex::surplus)]
pub struct ZRevRangeByLex<'a> {
    /// Sorted set to read, whose scores are the same.
    key: Key<'a>,
    /// The last name: `[a`, `(a` for before it, `+`.
    max: LexEnd<'a>,
    /// The first name: `[a`, `(a` for behind it, `-`.
    min: LexEnd<'a>,
    /// A part of what was found.
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
}

impl ZRevRangeByLex<'_> {
    fn surplus(&self, rest: Words<'_>) -> Error {
        no_scores(rest)
    }
}

impl ReadCommand for ZRevRangeByLex<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let span = Span { bounds: Bounds::lex(self.min, self.max), rev: true, limit: self.limit };
        span.write(cx, &self.key, false, reply)
    }
}

pub const ZREVRANGEBYLEX: Command = Command {
    name: "ZREVRANGEBYLEX",
    op: "zset.revrangebylex",
    since: "2.8.9",
    summary: "Returns members of a sorted set within a range of names, the last first.",
    complexity: "O(log N + M) for M members answered",
    returns: NAMES,
    ..ZSET.read::<ZRevRangeByLex>()
};

#[derive(Args)]
pub struct ZRevRange<'a> {
    /// Sorted set to read.
    key: Key<'a>,
    /// First rank, counted from the highest score; negative counts from the lowest.
    start: i64,
    /// Last rank, inclusive; negative counts from the lowest score.
    stop: i64,
    /// Answers the scores too.
    #[arg(token = "WITHSCORES")]
    withscores: bool,
}

impl ReadCommand for ZRevRange<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let span = Span { bounds: Bounds::Rank(self.start, self.stop), rev: true, limit: None };
        span.write(cx, &self.key, self.withscores, reply)
    }
}

pub const ZREVRANGE: Command = Command {
    name: "ZREVRANGE",
    op: "zset.revrange",
    since: "1.2.0",
    summary: "Returns members of a sorted set within a range of ranks, the highest score first.",
    complexity: "O(log N + M) for M members answered",
    returns: RANGE,
    ..ZSET.read::<ZRevRange>()
};

#[derive(Args)]
pub struct ZCount<'a> {
    /// Sorted set to count in.
    key: Key<'a>,
    /// The lowest score: `1`, `(1` for above it, `-inf`.
    min: ScoreEnd,
    /// The highest score: `1`, `(1` for below it, `+inf`.
    max: ScoreEnd,
}

impl ReadCommand for ZCount<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_count(cx, &self.key, &Bounds::score(self.min, self.max), reply)
    }
}

fn write_count(cx: &ReadCx<'_>, key: &Key<'_>, bounds: &Bounds<'_>, reply: &mut dyn Reply) -> Result<()> {
    reply.int(cx.zset(key)?.map_or(0, |zset| bounds.ranks(zset).len()) as i64);
    Ok(())
}

const FOUND: Shape = Shape::int("count", "Members within the range.");

pub const ZCOUNT: Command = Command {
    name: "ZCOUNT",
    op: "zset.count",
    since: "2.0.0",
    summary: "Counts the members of a sorted set within a range of scores.",
    complexity: "O(log N)",
    returns: FOUND,
    flags: Flags::FAST,
    ..ZSET.read::<ZCount>()
};

#[derive(Args)]
pub struct ZLexCount<'a> {
    /// Sorted set to count in, whose scores are the same.
    key: Key<'a>,
    /// The first name: `[a`, `(a` for behind it, `-`.
    min: LexEnd<'a>,
    /// The last name: `[a`, `(a` for before it, `+`.
    max: LexEnd<'a>,
}

impl ReadCommand for ZLexCount<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_count(cx, &self.key, &Bounds::lex(self.min, self.max), reply)
    }
}

pub const ZLEXCOUNT: Command = Command {
    name: "ZLEXCOUNT",
    op: "zset.lexcount",
    since: "2.8.9",
    summary: "Counts the members of a sorted set within a range of names.",
    complexity: "O(log N)",
    returns: FOUND,
    flags: Flags::FAST,
    ..ZSET.read::<ZLexCount>()
};

/// Removes a range and answers how many members it had.
fn remove(cx: &mut WriteCx<'_>, key: &Key<'_>, bounds: &Bounds<'_>, reply: &mut dyn Reply) -> Result<()> {
    let Some(zset) = cx.zset(key)? else {
        reply.int(0);
        return Ok(());
    };
    let ranks = bounds.ranks(zset);
    reply.int(ranks.len() as i64);
    let event = match bounds {
        Bounds::Lex(..) => "zremrangebylex",
        Bounds::Score(..) => "zremrangebyscore",
        Bounds::Rank(..) => "zremrangebyrank",
    };
    delete_ranks(cx, key, ranks.clone(), event)?;
    // Which names lie between two others is not determined where scores differ.
    if matches!(bounds, Bounds::Lex(..)) && !ranks.is_empty() {
        let (mut first, mut last) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (first, last) = (first.format(ranks.start).as_bytes(), last.format(ranks.end - 1).as_bytes());
        cx.log_instead(&[b"ZREMRANGEBYRANK", key.bytes, first, last]);
    }
    Ok(())
}

/// Removes members by their ranks. All of them go with the key, which frees them behind.
pub(super) fn delete_ranks(
    cx: &mut WriteCx<'_>,
    key: &Key<'_>,
    ranks: Range<usize>,
    event: &'static str,
) -> Result<()> {
    if cx.zset(key)?.is_some_and(|zset| zset.len() == ranks.len()) {
        cx.notify(Event::new(Classes::ZSET, event), key);
        cx.remove(key);
    } else if let Some(mut zset) = cx.change_existing::<ZSet>(key, event)? {
        zset.delete_ranks(ranks);
    }
    Ok(())
}

const REMOVED: Shape = Shape::int("removed", "Members that were within the range.");

#[derive(Args)]
pub struct ZRemRangeByRank<'a> {
    /// Sorted set to write; deleted with its last member.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// First rank; negative counts from the highest score.
    start: i64,
    /// Last rank, inclusive; negative counts from the highest score.
    stop: i64,
}

impl WriteCommand for ZRemRangeByRank<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        remove(cx, &self.key, &Bounds::Rank(self.start, self.stop), reply)
    }
}

pub const ZREMRANGEBYRANK: Command = Command {
    name: "ZREMRANGEBYRANK",
    op: "zset.remrangebyrank",
    since: "2.0.0",
    summary: "Removes members of a sorted set within a range of ranks.",
    complexity: "O(log N + M) for M members removed",
    returns: REMOVED,
    ..ZSET.write::<ZRemRangeByRank>()
};

#[derive(Args)]
pub struct ZRemRangeByScore<'a> {
    /// Sorted set to write; deleted with its last member.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// The lowest score: `1`, `(1` for above it, `-inf`.
    min: ScoreEnd,
    /// The highest score: `1`, `(1` for below it, `+inf`.
    max: ScoreEnd,
}

impl WriteCommand for ZRemRangeByScore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        remove(cx, &self.key, &Bounds::score(self.min, self.max), reply)
    }
}

pub const ZREMRANGEBYSCORE: Command = Command {
    name: "ZREMRANGEBYSCORE",
    op: "zset.remrangebyscore",
    since: "1.2.0",
    summary: "Removes members of a sorted set within a range of scores.",
    complexity: "O(log N + M) for M members removed",
    returns: REMOVED,
    ..ZSET.write::<ZRemRangeByScore>()
};

#[derive(Args)]
pub struct ZRemRangeByLex<'a> {
    /// Sorted set to write, whose scores are the same; deleted with its last member.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// The first name: `[a`, `(a` for behind it, `-`.
    min: LexEnd<'a>,
    /// The last name: `[a`, `(a` for before it, `+`.
    max: LexEnd<'a>,
}

impl WriteCommand for ZRemRangeByLex<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        remove(cx, &self.key, &Bounds::lex(self.min, self.max), reply)
    }
}

pub const ZREMRANGEBYLEX: Command = Command {
    name: "ZREMRANGEBYLEX",
    op: "zset.remrangebylex",
    since: "2.8.9",
    summary: "Removes members of a sorted set within a range of names.",
    complexity: "O(log N + M) for M members removed",
    returns: REMOVED,
    ..ZSET.write::<ZRemRangeByLex>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn the_old_ranges() {
        TestEngine::default().check(
            r#"
            ZADD z 1 a 2 b 2 c 3 d => 4
            ZRANGEBYSCORE z (1 +inf WITHSCORES LIMIT 1 2 => [["c", 2], ["d", 3]]
            ZRANGEBYSCORE z -inf +inf LIMIT 0 0 => []
            ZRANGEBYSCORE z -inf +inf LIMIT -1 5 => []
            ZREVRANGEBYSCORE z 2 -inf LIMIT 1 1 => ["b"]
            ZREVRANGE z 0 1 => ["d", "c"]
            ZREVRANGE z -1 -1 WITHSCORES => [["a", 1]]
            ZCOUNT z 2 (3 => 2
            ZCOUNT z x 1 => -ERR min or max is not a float
            ZRANGEBYLEX z a b => -ERR min or max not valid string range item
            ZRANGEBYLEX z - + WITHSCORES => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
            ZADD names 0 alpha 0 bar 0 cool 0 down => 4
            ZRANGEBYLEX names [bar (down => ["bar", "cool"]
            ZREVRANGEBYLEX names + (alpha LIMIT 0 2 => ["down", "cool"]
            ZLEXCOUNT names - [bar => 2
            "#,
        );
    }

    #[test]
    fn ranges_are_stored_and_removed() {
        TestEngine::default().check(
            r#"
            ZADD z 1 a 2 b 3 c 4 d => 4
            SET target x => OK
            ZRANGESTORE target z 1 2 => 2
            ZRANGE target 0 -1 WITHSCORES => [["b", 2], ["c", 3]]
            ZRANGESTORE target z (1 +inf BYSCORE LIMIT 0 1 => 1
            ZRANGE target 0 -1 => ["b"]
            ZRANGESTORE target z +inf 3 BYSCORE REV => 2
            ZRANGE target 0 -1 => ["c", "d"]
            ZRANGESTORE target none 0 -1 => 0
            EXISTS target => 0
            ZRANGESTORE target z 0 1 LIMIT 0 1 => -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
            ZREMRANGEBYSCORE z (3 5 => 1
            ZREMRANGEBYRANK z 0 0 => 1
            ZREMRANGEBYLEX z - + => 2
            EXISTS z => 0
            "#,
        );
    }

    /// Where names lie depends on the form when scores differ: a twin with another form must have the same data.
    #[test]
    fn ranges_of_names_over_different_scores_are_logged_as_what_they_came_to() {
        let mut test = TestEngine::default();
        for number in 0..300 {
            test.call(&format!("ZADD z {} m{}", number % 7, number * 37 % 1000));
        }
        test.call("ZRANGESTORE target z [m2 (m5 BYLEX");
        test.call("ZREMRANGEBYLEX z [m3 [m4");
        test.call("ZRANGESTORE target2 z (m9 [m1 BYLEX REV LIMIT 3 5");
        test.call("ZRANGESTORE target z (m [a BYLEX");
        test.check_twin();
    }
}
