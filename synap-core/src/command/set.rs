//! Sets.

use super::prelude::*;
use super::{Budget, takes};
use crate::types::Elem;
use crate::types::sample::Numbers;
use crate::types::set::Set;

pub(super) const SET: Group = Group { name: "set", op: "set", category: Category::SET };

pub const COMMANDS: &[Command] = &[SADD, SREM, SMOVE, SCARD, SISMEMBER, SMISMEMBER, SMEMBERS, SSCAN, SRANDMEMBER, SPOP];

#[derive(Args)]
pub struct SAdd<'a> {
    /// Set to write; created when missing.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// Members to add.
    members: Many<'a, Word<'a>>,
}

impl WriteCommand for SAdd<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut set = cx.change::<Set>(&self.key, "sadd")?;
        let added = self.members.iter().filter(|member| set.put(member)).count();
        reply.int(added as i64);
        Ok(())
    }
}

pub const SADD: Command = Command {
    name: "SADD",
    op: "set.add",
    since: "1.0.0",
    summary: "Adds members to a set, creating the set when it does not exist.",
    complexity: "O(N) for N members",
    returns: Shape::int("added", "Members that were not there before."),
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
    ..SET.write::<SAdd>()
};

#[derive(Args)]
pub struct SRem<'a> {
    /// Set to write; deleted with its last member.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// Members to remove.
    members: Many<'a, Word<'a>>,
}

impl WriteCommand for SRem<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let removed = match cx.change_existing::<Set>(&self.key, "srem")? {
            Some(mut set) => self.members.iter().filter(|member| set.delete(member)).count(),
            None => 0,
        };
        reply.int(removed as i64);
        Ok(())
    }
}

pub const SREM: Command = Command {
    name: "SREM",
    op: "set.rem",
    since: "1.0.0",
    summary: "Removes members of a set.",
    complexity: "O(N) for N members",
    returns: Shape::int("removed", "Members that were there."),
    flags: Flags::FAST,
    ..SET.write::<SRem>()
};

pub(super) const MEMBERS: Shape = Shape::array("members", "In no particular order.", &Shape::BYTES);

#[derive(Args)]
pub struct SMembers<'a> {
    /// Set to read.
    key: Key<'a>,
}

impl ReadCommand for SMembers<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let set = cx.set(&self.key)?;
        let mut digits = itoa::Buffer::new();
        reply.set(set.map_or(0, Set::len));
        for member in set.into_iter().flat_map(Set::iter) {
            reply.bulk(member.bytes(&mut digits));
        }
        Ok(())
    }
}

pub const SMEMBERS: Command = Command {
    name: "SMEMBERS",
    op: "set.members",
    since: "1.0.0",
    summary: "Returns all members of a set.",
    complexity: "O(N) for N members",
    returns: MEMBERS,
    tool: Tool::Default,
    ..SET.read::<SMembers>()
};

#[derive(Args)]
#[args(any_order)]
pub struct SScanOptions<'a> {
    /// Only members that match.
    #[arg(token = "MATCH")]
    r#match: Option<Pattern<'a>>,
    /// About how many members to look at; 10 when left out.
    #[arg(token = "COUNT")]
    count: Option<Effort>,
}

#[derive(Args)]
pub struct SScan<'a> {
    /// Set to read.
    key: Key<'a>,
    /// 0 to begin, then what the last call answered.
    cursor: Cursor,
    options: SScanOptions<'a>,
}

impl ReadCommand for SScan<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let count = self.options.count.unwrap_or_default().items();
        let mut found = Vec::new();
        let cursor = cx.set(&self.key)?.map_or(0, |set| {
            set.scan(self.cursor.0, count, |member| {
                if takes(self.options.r#match, member) {
                    found.push(member);
                }
            })
        });
        reply.array(2);
        reply.bulk_int(cursor as i64);
        reply.array(found.len());
        write_members(found, reply);
        Ok(())
    }
}

/// The members of an aggregate that was announced.
pub(super) fn write_members<'s>(members: impl IntoIterator<Item = Elem<'s>>, reply: &mut dyn Reply) {
    let mut digits = itoa::Buffer::new();
    members.into_iter().for_each(|member| reply.bulk(member.bytes(&mut digits)));
}

pub const SSCAN: Command = Command {
    name: "SSCAN",
    op: "set.scan",
    since: "2.8.0",
    summary: "Goes through a set, a few members at each call. A member that is there all the time is answered at least once.",
    complexity: "O(1) for every call, O(N) for a whole iteration",
    returns: Shape::tuple(
        "",
        "",
        &[
            Shape::cursor("cursor", "For the next call; 0 when all was seen."),
            Shape::array("members", "There may be none before the end.", &Shape::BYTES),
        ],
    ),
    ..SET.read::<SScan>()
};

#[derive(Args)]
pub struct SCard<'a> {
    /// Set to read.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for SCard<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(cx.set(&self.key)?.map_or(0, Set::len) as i64);
        Ok(())
    }
}

pub const SCARD: Command = Command {
    name: "SCARD",
    op: "set.card",
    since: "1.0.0",
    summary: "Counts the members of a set.",
    returns: Shape::int("count", "0 when there is no such set."),
    flags: Flags::FAST,
    ..SET.read::<SCard>()
};

#[derive(Args)]
pub struct SIsMember<'a> {
    /// Set to read.
    #[arg(access = "RO")]
    key: Key<'a>,
    /// Member to look for.
    member: Word<'a>,
}

impl ReadCommand for SIsMember<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(cx.set(&self.key)?.is_some_and(|set| set.contains(self.member)).into());
        Ok(())
    }
}

pub const SISMEMBER: Command = Command {
    name: "SISMEMBER",
    op: "set.ismember",
    since: "1.0.0",
    summary: "Tells whether a set has a member.",
    returns: Shape::boolean("is_member", "False when there is no such set."),
    flags: Flags::FAST,
    ..SET.read::<SIsMember>()
};

#[derive(Args)]
pub struct SMIsMember<'a> {
    /// Set to read.
    key: Key<'a>,
    /// Members to look for.
    members: Many<'a, Word<'a>>,
}

impl ReadCommand for SMIsMember<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let set = cx.set(&self.key)?;
        reply.array(self.members.len());
        for member in self.members.iter() {
            reply.int(set.is_some_and(|set| set.contains(member)).into());
        }
        Ok(())
    }
}

pub const SMISMEMBER: Command = Command {
    name: "SMISMEMBER",
    op: "set.mismember",
    since: "6.2.0",
    summary: "Tells which of several members a set has.",
    complexity: "O(N) for N members",
    returns: Shape::array("are_members", "For each whether it is a member.", &Shape::boolean("", "")),
    flags: Flags::FAST,
    ..SET.read::<SMIsMember>()
};

#[derive(Args)]
pub struct SMove<'a> {
    /// Set to take from; deleted with its last member.
    #[arg(access = "RW access delete")]
    source: Key<'a>,
    /// Set to put to; created when missing.
    #[arg(access = "RW insert")]
    destination: Key<'a>,
    /// Member to move.
    member: Word<'a>,
}

impl WriteCommand for SMove<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let is_there = match cx.set(&self.source)? {
            None => false,
            Some(source) => {
                // The destination's type is known before anything changes.
                cx.set(&self.destination)?;
                source.contains(self.member)
            }
        };
        if is_there && self.source.bytes != self.destination.bytes {
            if let Some(mut source) = cx.change_existing::<Set>(&self.source, "srem")? {
                source.delete(self.member);
            }
            cx.change::<Set>(&self.destination, "sadd")?.put(self.member);
        }
        reply.int(is_there.into());
        Ok(())
    }
}

pub const SMOVE: Command = Command {
    name: "SMOVE",
    op: "set.move",
    since: "1.0.0",
    summary: "Takes a member out of one set and adds it to another.",
    returns: Shape::boolean("moved", "False when there is no such member."),
    flags: Flags::FAST.and(Flags::IDEMPOTENT),
    ..SET.write::<SMove>()
};

#[derive(Args)]
pub struct SRandMember<'a> {
    /// Set to read.
    key: Key<'a>,
    /// So many different members at most; with a minus so many, of which each may be any member again.
    count: Option<Picks>,
}

impl ReadCommand for SRandMember<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let set = cx.set(&self.key)?;
        let random = cx.state().random();
        let mut digits = itoa::Buffer::new();
        match (self.count, set) {
            (None, set) => match set.and_then(|set| set.random(random)) {
                Some(member) => reply.bulk(member.bytes(&mut digits)),
                None => reply.null(),
            },
            (Some(_), None) => reply.array(0),
            (Some(Picks(count @ 0..)), Some(set)) => {
                let picked = set.sample(usize::try_from(count).unwrap_or(usize::MAX), random);
                reply.array(picked.len());
                write_members(picked, reply);
            }
            (Some(Picks(count)), Some(set)) => {
                let count = count.unsigned_abs() as usize;
                let (mut numbers, mut budget) = (Numbers(random), Budget::of_answer());
                reply.array(count);
                for member in (0..count).map_while(|_| set.random(numbers.draw())) {
                    budget.spend(member.len())?;
                    reply.bulk(member.bytes(&mut digits));
                }
            }
        }
        Ok(())
    }
}

pub const SRANDMEMBER: Command = Command {
    name: "SRANDMEMBER",
    op: "set.randmember",
    since: "1.0.0",
    summary: "Returns members of a set by chance.",
    complexity: "O(N) for N members answered",
    returns: Shape::one_of(
        "members",
        "The member; with a count an array of them; null or empty when there is no such set.",
        &[Shape::optional(&Shape::BYTES), Shape::array("", "", &Shape::BYTES)],
    ),
    ..SET.read::<SRandMember>()
};

#[derive(Args)]
pub struct SPop<'a> {
    /// Set to write; deleted with its last member.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// How many at most; then the answer is an array.
    count: Option<Count>,
}

/// Members in one SREM of the log.
const LOGGED_MEMBERS_MAX: usize = 1024;

impl WriteCommand for SPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(set) = cx.set(&self.key)? else {
            match self.count {
                Some(_) => reply.set(0),
                None => reply.null(),
            }
            return Ok(());
        };
        let wanted = self.count.map_or(1, |Count(count)| usize::try_from(count).unwrap_or(usize::MAX));
        if self.count.is_some() {
            reply.set(wanted.min(set.len()));
        }
        if wanted >= set.len() {
            write_members(set.iter(), reply);
            cx.notify(Event::new(Classes::SET, "spop"), &self.key);
            cx.remove(&self.key);
            cx.log_instead(&[b"DEL", self.key.bytes]);
            return Ok(());
        }
        let state = cx.state();
        let Some(mut set) = cx.change_existing::<Set>(&self.key, "spop")? else { return Ok(()) };
        let popped: Vec<Vec<u8>> = (0..wanted).map_while(|_| set.pop(state.random())).collect();
        drop(set);
        // What chance chose is logged, not that it chose.
        for some in popped.chunks(LOGGED_MEMBERS_MAX) {
            let mut words: Vec<&[u8]> = vec![b"SREM", self.key.bytes];
            words.extend(some.iter().map(Vec::as_slice));
            cx.log_instead(&words);
        }
        popped.iter().for_each(|member| reply.bulk(member));
        Ok(())
    }
}

pub const SPOP: Command = Command {
    name: "SPOP",
    op: "set.pop",
    since: "1.0.0",
    summary: "Takes members out of a set by chance.",
    complexity: "O(N) for N members",
    returns: Shape::one_of(
        "members",
        "The member; with a count an array of them; null or empty when there is no such set.",
        &[Shape::optional(&Shape::BYTES), MEMBERS],
    ),
    flags: Flags::FAST,
    ..SET.write::<SPop>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn members_are_counted_asked_for_and_moved() {
        TestEngine::default().check(
            r#"
            SADD s 1 2 => 2
            SCARD s => 2
            SISMEMBER s 1 => 1
            SMISMEMBER s 1 3 2 => [1, 0, 1]
            SMISMEMBER none 1 => [0]
            SMOVE s t 1 => 1
            SMOVE s t 1 => 0
            SMOVE s s 2 => 1
            SMOVE s t 2 => 1
            EXISTS s => 0
            SADD s 2 => 1
            SMOVE s t 2 => 1
            SMEMBERS t => ["1", "2"]
            SET text x => OK
            SMOVE none text 1 => 0
            SMOVE t text 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            SSCAN t 0 => ["0", ["1", "2"]]
            SSCAN t 0 MATCH 2* COUNT 1 => ["0", ["2"]]
            SSCAN t x => -ERR invalid cursor
            SSCAN t 0 COUNT 0 => -ERR syntax error
            "#,
        );
    }

    #[test]
    fn chance_answers_different_members_or_any() {
        TestEngine::default().check(
            r#"
            SRANDMEMBER s => nil
            SRANDMEMBER s 1 => []
            SADD s a => 1
            SRANDMEMBER s => "a"
            SRANDMEMBER s 4 => ["a"]
            SRANDMEMBER s -2 => ["a", "a"]
            SRANDMEMBER s -9223372036854775808 => -ERR value is out of range
            SRANDMEMBER s 1 2 => -ERR syntax error
            SPOP s 0 => []
            SPOP s 3 => ["a"]
            EXISTS s => 0
            "#,
        );
    }

    #[test]
    fn many_members_are_popped_and_replayed() {
        let mut test = TestEngine::default();
        let members: Vec<_> = (0..5000).map(|number| format!("m{number}")).collect();
        test.call(&format!("SADD s {}", members.join(" ")));
        let popped = test.call("SPOP s 3000");
        let mut distinct: Vec<_> = popped.split('"').skip(1).step_by(2).collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 3000);
        test.check("SCARD s => 2000");
    }
}
