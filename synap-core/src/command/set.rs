//! Sets.

use super::prelude::*;
use crate::types::set::Set;

const SET: Group = Group { name: "set", op: "set", category: Category::SET };

pub const COMMANDS: &[Command] = &[SADD, SREM, SMEMBERS, SINTER, SPOP];

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
        let mut set = cx.change::<Set>(&self.key)?;
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
    flags: Flags::DENYOOM.and(Flags::FAST),
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
        let removed = match cx.change_existing::<Set>(&self.key)? {
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
    tool: Tool::Default,
    flags: Flags::FAST,
    ..SET.write::<SRem>()
};

const MEMBERS: Shape = Shape::array("members", "In no particular order.", &Shape::BYTES);

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
pub struct SInter<'a> {
    /// Sets to intersect.
    keys: Many<'a, Key<'a>>,
}

impl ReadCommand for SInter<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut sets = Vec::with_capacity(self.keys.len());
        let mut missing = false;
        for key in self.keys.iter() {
            // All types are looked at, even when one that is missing makes the answer empty.
            match cx.set(&key)? {
                Some(set) => sets.push(set),
                None => missing = true,
            }
        }
        sets.sort_by_key(|set| set.len());
        let Some((smallest, others)) = sets.split_first().filter(|_| !missing) else {
            reply.set(0);
            return Ok(());
        };
        let common: Vec<_> =
            smallest.iter().filter(|member| others.iter().all(|other| other.contains(*member))).collect();
        let mut digits = itoa::Buffer::new();
        reply.set(common.len());
        for member in common {
            reply.bulk(member.bytes(&mut digits));
        }
        Ok(())
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
pub struct SPop<'a> {
    /// Set to write; deleted with its last member.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// How many at most; then the answer is an array.
    count: Option<Count>,
}

impl WriteCommand for SPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let state = cx.state();
        let Some(mut set) = cx.change_existing::<Set>(&self.key)? else {
            match self.count {
                Some(_) => reply.set(0),
                None => reply.null(),
            }
            return Ok(());
        };
        let wanted = self.count.map_or(1, |Count(count)| usize::try_from(count).unwrap_or(usize::MAX));
        let all = wanted >= set.len();
        let popped: Vec<Vec<u8>> = (0..wanted.min(set.len())).map_while(|_| set.pop(state.random())).collect();
        drop(set);
        if self.count.is_some() {
            reply.set(popped.len());
        }
        popped.iter().for_each(|member| reply.bulk(member));
        // What chance chose is logged, not that it chose.
        if all && !popped.is_empty() {
            cx.log_instead(&[b"DEL", self.key.bytes]);
        } else if !popped.is_empty() {
            let mut words: Vec<&[u8]> = vec![b"SREM", self.key.bytes];
            words.extend(popped.iter().map(Vec::as_slice));
            cx.log_instead(&words);
        }
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
    tool: Tool::Default,
    flags: Flags::FAST,
    ..SET.write::<SPop>()
};
