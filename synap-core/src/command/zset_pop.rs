//! Taking members from the ends of sorted sets, and waiting for some.

use super::prelude::*;
use super::zset::ZSET;
use super::zset_range::delete_ranks;
use crate::execute::guards::End;
use crate::keyspace::value::Kind;
use crate::session::NullKind;

pub const COMMANDS: &[Command] = &[ZPOPMIN, ZPOPMAX, ZMPOP, BZPOPMIN, BZPOPMAX, BZMPOP];

/// Takes up to `count` members, the outermost first, and answers each as its name and score, one after the other or
/// nested. The key is there.
fn take(
    cx: &mut WriteCx<'_>,
    key: &Key<'_>,
    end: End,
    count: usize,
    nested: bool,
    reply: &mut dyn Reply,
) -> Result<()> {
    let Some(zset) = cx.zset(key)? else { return Ok(()) };
    let len = zset.len();
    let ranks = match end {
        End::Front => 0..count.min(len),
        End::Back => len - count.min(len)..len,
    };
    let mut members = zset.range(ranks.clone());
    let mut digits = itoa::Buffer::new();
    while let Some((member, score)) = if end == End::Front { members.next() } else { members.next_back() } {
        if nested {
            reply.array(2);
        }
        reply.bulk(member.bytes(&mut digits));
        reply.double(score);
    }
    delete_ranks(cx, key, ranks, if end == End::Front { "zpopmin" } else { "zpopmax" })
}

/// The words that take `count` members, whatever the caller's were.
fn log(cx: &mut WriteCx<'_>, key: &Key<'_>, end: End, count: Option<usize>) {
    let name: &[u8] = if end == End::Front { b"ZPOPMIN" } else { b"ZPOPMAX" };
    match count {
        None => cx.log_instead(&[name, key.bytes]),
        Some(count) => cx.log_instead(&[name, key.bytes, itoa::Buffer::new().format(count).as_bytes()]),
    }
}

#[derive(Args)]
pub struct ZPop<'a> {
    /// Sorted set to write; deleted with its last member.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// How many at most.
    count: Option<Count>,
}

impl ZPop<'_> {
    fn pop(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<()> {
        let there = cx.zset(&self.key)?.map_or(0, |zset| zset.len());
        let count = self.count.map_or(1, |Count(count)| usize::try_from(count).unwrap_or(usize::MAX)).min(there);
        let nested = self.count.is_some() && reply.resp3();
        reply.array(if nested { count } else { count * 2 });
        if count > 0 {
            take(cx, &self.key, end, count, nested, reply)?;
        }
        Ok(())
    }
}

#[derive(Args)]
pub struct ZPopMin<'a>(ZPop<'a>);

impl WriteCommand for ZPopMin<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.pop(cx, End::Front, reply)
    }
}

#[derive(Args)]
pub struct ZPopMax<'a>(ZPop<'a>);

impl WriteCommand for ZPopMax<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.pop(cx, End::Back, reply)
    }
}

const POPPED: Shape = Shape::pairs(
    "members",
    "The outermost first; empty when there is no such sorted set.",
    &[Shape::bytes("member", ""), Shape::double("score", "")],
);

pub const ZPOPMIN: Command = Command {
    name: "ZPOPMIN",
    op: "zset.popmin",
    since: "5.0.0",
    summary: "Takes the members with the lowest scores out of a sorted set.",
    complexity: "O(log N + M) for M members",
    returns: POPPED,
    flags: Flags::FAST,
    ..ZSET.write::<ZPopMin>()
};

pub const ZPOPMAX: Command = Command {
    name: "ZPOPMAX",
    op: "zset.popmax",
    since: "5.0.0",
    summary: "Takes the members with the highest scores out of a sorted set.",
    complexity: "O(log N + M) for M members",
    returns: POPPED,
    flags: Flags::FAST,
    ..ZSET.write::<ZPopMax>()
};

/// Which end.
#[derive(Args, Clone, Copy)]
pub enum Extreme {
    /// The lowest scores.
    #[arg(token = "MIN")]
    Min,
    /// The highest scores.
    #[arg(token = "MAX")]
    Max,
}

impl Extreme {
    fn end(self) -> End {
        match self {
            Extreme::Min => End::Front,
            Extreme::Max => End::Back,
        }
    }
}

/// From which sorted sets, which end of them and how much.
#[derive(Args)]
pub struct MPop<'a> {
    /// Sorted sets to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Counted<'a, Key<'a>, NumKeys>,
    /// The end to take from.
    r#where: Extreme,
    /// How many at most; 1 when left out.
    #[arg(token = "COUNT")]
    count: Option<PopCount>,
}

impl MPop<'_> {
    /// False when there is nothing to take.
    fn pop(&self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<bool> {
        let wanted = self.count.map_or(1, |PopCount(count)| usize::try_from(count).unwrap_or(usize::MAX));
        for key in self.keys.0.iter() {
            if !cx.may_serve_from(&key) {
                continue;
            }
            let Some(there) = cx.zset(&key)?.map(|zset| zset.len()) else { continue };
            let (end, count) = (self.r#where.end(), wanted.min(there));
            reply.array(2);
            reply.bulk(key.bytes);
            reply.array(count);
            take(cx, &key, end, count, true, reply)?;
            log(cx, &key, end, Some(count));
            return Ok(true);
        }
        Ok(false)
    }
}

#[derive(Args)]
pub struct ZMPop<'a>(MPop<'a>);

impl WriteCommand for ZMPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !self.0.pop(cx, reply)? {
            reply.null_array();
        }
        Ok(())
    }
}

const TAKEN: Shape = Shape::optional(&Shape::tuple(
    "popped",
    "Null when there was nothing to take.",
    &[
        Shape::bytes("key", "The sorted set that they came from."),
        Shape::pairs("members", "The outermost first.", &[Shape::bytes("member", ""), Shape::double("score", "")]),
    ],
));

pub const ZMPOP: Command = Command {
    name: "ZMPOP",
    op: "zset.mpop",
    since: "7.0.0",
    summary: "Takes members with the lowest or highest scores out of the first sorted set that has some.",
    complexity: "O(K + log N + M) for K keys and M members",
    returns: TAKEN,
    flags: Flags::MOVABLE_KEYS,
    ..ZSET.write::<ZMPop>()
};

#[derive(Args)]
pub struct BZPop<'a> {
    /// Sorted sets to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Many<'a, Key<'a>>,
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
}

impl BZPop<'_> {
    fn pop(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<Flow> {
        for key in self.keys.iter() {
            if !cx.may_serve_from(&key) || cx.zset(&key)?.is_none() {
                continue;
            }
            reply.array(3);
            reply.bulk(key.bytes);
            take(cx, &key, end, 1, false, reply)?;
            log(cx, &key, end, None);
            return Ok(Flow::Done);
        }
        Ok(wait(self.keys.len(), self.timeout))
    }
}

fn wait(keys: usize, timeout: Timeout) -> Flow {
    Flow::Block { keys, timeout_ms: timeout.ms, on_timeout: NullKind::NullArray, in_transaction: NullKind::NullArray }
}

fn is_zset(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
    cx.kind(key) == Some(Kind::ZSet)
}

#[derive(Args)]
pub struct BZPopMin<'a>(BZPop<'a>);

impl BlockingCommand for BZPopMin<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.pop(cx, End::Front, reply)
    }

    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_zset(cx, key)
    }
}

#[derive(Args)]
pub struct BZPopMax<'a>(BZPop<'a>);

impl BlockingCommand for BZPopMax<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.pop(cx, End::Back, reply)
    }

    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_zset(cx, key)
    }
}

const POPPED_ONE: Shape = Shape::optional(&Shape::tuple(
    "popped",
    "Null when the time was over.",
    &[
        Shape::bytes("key", "The sorted set that it came from."),
        Shape::bytes("member", "The member."),
        Shape::double("score", "Its score."),
    ],
));

pub const BZPOPMIN: Command = Command {
    name: "BZPOPMIN",
    op: "zset.bzpopmin",
    since: "5.0.0",
    summary: "Takes the member with the lowest score out of the first sorted set that has one, or waits for one.",
    complexity: "O(K + log N) for K keys",
    returns: POPPED_ONE,
    flags: Flags::BLOCKING.and(Flags::FAST),
    ..ZSET.blocking::<BZPopMin>()
};

pub const BZPOPMAX: Command = Command {
    name: "BZPOPMAX",
    op: "zset.bzpopmax",
    since: "5.0.0",
    summary: "Takes the member with the highest score out of the first sorted set that has one, or waits for one.",
    complexity: "O(K + log N) for K keys",
    returns: POPPED_ONE,
    flags: Flags::BLOCKING.and(Flags::FAST),
    ..ZSET.blocking::<BZPopMax>()
};

#[derive(Args)]
pub struct BZMPop<'a> {
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
    /// Sorted sets to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Counted<'a, Key<'a>, NumKeys>,
    /// The end to take from.
    r#where: Extreme,
    /// How many at most; 1 when left out.
    #[arg(token = "COUNT")]
    count: Option<PopCount>,
}

impl BlockingCommand for BZMPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        let BZMPop { timeout, keys, r#where, count } = self;
        let pop = MPop { keys, r#where, count };
        Ok(if pop.pop(cx, reply)? { Flow::Done } else { wait(pop.keys.0.len(), timeout) })
    }

    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_zset(cx, key)
    }
}

pub const BZMPOP: Command = Command {
    name: "BZMPOP",
    op: "zset.bzmpop",
    since: "7.0.0",
    summary: "Takes members with the lowest or highest scores out of the first sorted set that has some, or waits for some.",
    complexity: "O(K + log N + M) for K keys and M members",
    returns: TAKEN,
    flags: Flags::BLOCKING.and(Flags::MOVABLE_KEYS),
    ..ZSET.blocking::<BZMPop>()
};

#[cfg(test)]
mod tests {
    use crate::execute::{Input, Outcome, execute, waiting};
    use crate::session::{Client, WaitEnd};
    use crate::testing::{TestEngine, Text};

    #[test]
    fn members_are_taken_from_both_ends() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ZADD z 1 a 2 b 3 c 4 d => 4
            ZPOPMIN z => ["a", 1]
            ZPOPMAX z 2 => [["d", 4], ["c", 3]]
            ZPOPMIN z 0 => []
            ZPOPMIN z -1 => -ERR value is out of range, must be positive
            ZPOPMIN none => []
            ZMPOP 2 none z MAX COUNT 5 => ["z", [["b", 2]]]
            EXISTS z => 0
            ZMPOP 1 z MIN => nil
            ZMPOP 0 z MIN => -ERR numkeys should be greater than 0
            ZMPOP 1 z MIN COUNT 0 => -ERR count should be greater than 0
            ZMPOP 2 z MIN => -ERR syntax error
            ZADD z 1 a 2 b => 2
            BZPOPMAX none z 0 => ["z", "b", 2]
            BZMPOP 0 2 none z MIN => ["z", [["a", 1]]]
            "#,
        );
        test.session.resp3 = false;
        test.check(
            r#"
            ZADD z 1 a 2 b 3 c => 3
            ZPOPMIN z 2 => ["a", 1, "b", 2]
            ZMPOP 1 z MIN => ["z", [["c", 3]]]
            "#,
        );
    }

    #[test]
    fn who_waits_gets_what_is_added() {
        for (call, answer) in [
            (&["BZPOPMIN", "none", "z", "0"][..], r#"["z", "b", 1]"#),
            (&["BZPOPMAX", "z", "0"], r#"["z", "a", 2]"#),
            (&["BZMPOP", "0", "2", "none", "z", "MAX", "COUNT", "9"], r#"["z", [["a", 2], ["b", 1]]]"#),
        ] {
            let mut test = TestEngine::default();
            let mut waits = test.another();
            let words: Vec<&[u8]> = call.iter().map(|word| word.as_bytes()).collect();
            let outcome =
                execute(&mut test.engine.enter_blocking(), &mut waits, &Input::words(&words), &mut Text::new(true));
            let Outcome::Blocked(waiter) = outcome else { panic!("{outcome:?}") };
            // A list at the key is not what it waits for.
            test.check("RPUSH z x => 1");
            test.check("DEL z => 1");
            test.check("ZADD z 2 a 1 b => 2");
            let mut text = Text::new(true);
            assert!(!waiting::leave(&mut test.engine.enter_blocking(), &mut waits, &waiter, WaitEnd::TimedOut));
            Client::take_mail(&mut waits, &mut text);
            assert_eq!(text.out, answer);
            test.engine.leave(&mut waits);
        }
    }
}
