//! Union, intersection and difference of sets, answered, counted or stored.

use super::prelude::*;
use super::set::{MEMBERS, SET, write_members};
use crate::grammar::args::CardKeys;
use crate::grammar::numbers::CardLimit;
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::types::Elem;
use crate::types::set::{Set, algebra};

pub const COMMANDS: &[Command] = &[SINTER, SINTERSTORE, SINTERCARD, SUNION, SUNIONSTORE, SDIFF, SDIFFSTORE];

/// How sets are joined.
type Join = for<'s> fn(Vec<Option<&'s Set>>) -> Vec<Elem<'s>>;

/// What is not there is empty, and so is what it has in common with others.
fn inter<'s>(sets: Vec<Option<&'s Set>>) -> Vec<Elem<'s>> {
    let sets: Option<Vec<&Set>> = sets.into_iter().collect();
    sets.map_or_else(Vec::new, |sets| algebra::intersection(sets, usize::MAX))
}

fn union<'s>(sets: Vec<Option<&'s Set>>) -> Vec<Elem<'s>> {
    algebra::union(&sets.into_iter().flatten().collect::<Vec<_>>())
}

fn diff<'s>(sets: Vec<Option<&'s Set>>) -> Vec<Elem<'s>> {
    let mut sets = sets.into_iter();
    let Some(Some(first)) = sets.next() else { return Vec::new() };
    algebra::difference(first, sets.flatten().collect())
}

/// The sets of a call. All types are looked at, even when the answer is known before.
fn sets_of<'c>(cx: &'c ReadCx<'_>, keys: &Many<'_, Key<'_>>) -> Result<Vec<Option<&'c Set>>> {
    keys.iter().map(|key| cx.set(&key)).collect()
}

#[derive(Args)]
pub struct Joined<'a> {
    /// Sets to join; one that does not exist is empty.
    keys: Many<'a, Key<'a>>,
}

impl Joined<'_> {
    fn answer(self, cx: &ReadCx<'_>, join: Join, reply: &mut dyn Reply) -> Result<()> {
        let members = join(sets_of(cx, &self.keys)?);
        reply.set(members.len());
        write_members(members, reply);
        Ok(())
    }
}

#[derive(Args)]
pub struct Stored<'a> {
    /// Key to store the result at; what it held is lost.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    /// Sets to join; one that does not exist is empty.
    #[arg(access = "RO access")]
    keys: Many<'a, Key<'a>>,
}

impl Stored<'_> {
    fn store(self, cx: &mut WriteCx<'_>, join: Join, event: &'static str, reply: &mut dyn Reply) -> Result<()> {
        let result = Set::of(join(sets_of(cx, &self.keys)?), cx.limits());
        reply.int(result.len() as i64);
        if result.is_empty() {
            cx.remove(&self.destination);
        } else {
            cx.set_value(&self.destination, Value::Set(result), Expiry::Clear, Event::new(Classes::SET, event));
        }
        Ok(())
    }
}

const STORED: Shape = Shape::int("count", "Members of the result; without any, no set is stored.");

#[derive(Args)]
pub struct SInter<'a>(Joined<'a>);

impl ReadCommand for SInter<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.answer(cx, inter, reply)
    }
}

pub const SINTER: Command = Command {
    name: "SINTER",
    op: "set.inter",
    since: "1.0.0",
    summary: "Returns the members that several sets have in common.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    returns: MEMBERS,
    tool: Tool::Default,
    ..SET.read::<SInter>()
};

#[derive(Args)]
pub struct SInterStore<'a>(Stored<'a>);

impl WriteCommand for SInterStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.store(cx, inter, "sinterstore", reply)
    }
}

pub const SINTERSTORE: Command = Command {
    name: "SINTERSTORE",
    op: "set.interstore",
    since: "1.0.0",
    summary: "Stores the members that several sets have in common.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    returns: STORED,
    flags: Flags::DENYOOM,
    ..SET.write::<SInterStore>()
};

#[derive(Args)]
#[args(any_order)]
pub struct SInterCardOptions {
    /// Counts no further; 0 counts all.
    #[arg(token = "LIMIT")]
    limit: Option<CardLimit>,
}

#[derive(Args)]
pub struct SInterCard<'a> {
    /// Sets to join; one that does not exist is empty.
    keys: Counted<'a, Key<'a>, CardKeys>,
    options: SInterCardOptions,
}

impl ReadCommand for SInterCard<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let limit = match self.options.limit {
            None | Some(CardLimit(0)) => usize::MAX,
            Some(CardLimit(limit)) => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let sets: Option<Vec<&Set>> = sets_of(cx, &self.keys.0)?.into_iter().collect();
        reply.int(sets.map_or(0, |sets| algebra::intersection(sets, limit).len()) as i64);
        Ok(())
    }
}

pub const SINTERCARD: Command = Command {
    name: "SINTERCARD",
    op: "set.intercard",
    since: "7.0.0",
    summary: "Counts the members that several sets have in common.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    returns: Shape::int("count", "Members in common, or the limit."),
    flags: Flags::MOVABLE_KEYS,
    ..SET.read::<SInterCard>()
};

#[derive(Args)]
pub struct SUnion<'a>(Joined<'a>);

impl ReadCommand for SUnion<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.answer(cx, union, reply)
    }
}

pub const SUNION: Command = Command {
    name: "SUNION",
    op: "set.union",
    since: "1.0.0",
    summary: "Returns the members of several sets, each once.",
    complexity: "O(N) for N members of all sets",
    returns: MEMBERS,
    ..SET.read::<SUnion>()
};

#[derive(Args)]
pub struct SUnionStore<'a>(Stored<'a>);

impl WriteCommand for SUnionStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.store(cx, union, "sunionstore", reply)
    }
}

pub const SUNIONSTORE: Command = Command {
    name: "SUNIONSTORE",
    op: "set.unionstore",
    since: "1.0.0",
    summary: "Stores the members of several sets.",
    complexity: "O(N) for N members of all sets",
    returns: STORED,
    flags: Flags::DENYOOM,
    ..SET.write::<SUnionStore>()
};

#[derive(Args)]
pub struct SDiff<'a>(Joined<'a>);

impl ReadCommand for SDiff<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.answer(cx, diff, reply)
    }
}

pub const SDIFF: Command = Command {
    name: "SDIFF",
    op: "set.diff",
    since: "1.0.0",
    summary: "Returns the members of the first set that no other one has.",
    complexity: "O(N) for N members of all sets",
    returns: MEMBERS,
    ..SET.read::<SDiff>()
};

#[derive(Args)]
pub struct SDiffStore<'a>(Stored<'a>);

impl WriteCommand for SDiffStore<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.store(cx, diff, "sdiffstore", reply)
    }
}

pub const SDIFFSTORE: Command = Command {
    name: "SDIFFSTORE",
    op: "set.diffstore",
    since: "1.0.0",
    summary: "Stores the members of the first set that no other one has.",
    complexity: "O(N) for N members of all sets",
    returns: STORED,
    flags: Flags::DENYOOM,
    ..SET.write::<SDiffStore>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn sets_are_joined() {
        TestEngine::default().check(
            r#"
            SADD a 1 2 3 4 => 4
            SADD b 2 4 6 => 3
            SADD c 4 => 1
            SINTER a b => ["2", "4"]
            SINTER a b none => []
            SINTERCARD 2 a b => 2
            SINTERCARD 2 a b LIMIT 1 => 1
            SINTERCARD 2 a b LIMIT 0 => 2
            SINTERCARD 3 a b => -ERR Number of keys can't be greater than number of args
            SINTERCARD x a => -ERR numkeys should be greater than 0
            SINTERCARD 1 a LIMIT -1 => -ERR LIMIT can't be negative
            SUNION a b none => ["1", "2", "3", "4", "6"]
            SDIFF a b c => ["1", "3"]
            SDIFF none a => []
            SET text x => OK
            SDIFF none text => -WRONGTYPE Operation against a key holding the wrong kind of value
            SINTER none text => -WRONGTYPE Operation against a key holding the wrong kind of value
            SUNIONSTORE a a b => 5
            SMEMBERS a => ["1", "2", "3", "4", "6"]
            SDIFFSTORE text a b => 2
            SMEMBERS text => ["1", "3"]
            EXPIRE c 10 => 1
            SINTERSTORE c a b => 3
            TTL c => -1
            SINTERSTORE c a none => 0
            EXISTS c => 0
            "#,
        );
    }
}
