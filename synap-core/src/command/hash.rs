//! Hashes, with a time to live per field.

use super::deadline::{self, Unit};
use super::prelude::*;
use crate::execute::guards::Change;
use crate::types::hash::Hash;

const HASH: Group = Group { name: "hash", op: "hash", category: Category::HASH };

pub const COMMANDS: &[Command] = &[HSET, HGET, HGETALL, HDEL, HEXPIRE, HPEXPIREAT, HTTL];

/// One field and its value.
#[derive(Args)]
pub struct FieldValue<'a> {
    /// Name inside the hash.
    field: Word<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

#[derive(Args)]
pub struct HSet<'a> {
    /// Hash to write; created when missing.
    key: Key<'a>,
    /// Pairs in order; a later duplicate wins.
    fields: Many<'a, FieldValue<'a>>,
}

impl WriteCommand for HSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change::<Hash>(&self.key)?;
        let added = self.fields.iter().filter(|pair| hash.put(pair.field, pair.value)).count();
        reply.int(added as i64);
        Ok(())
    }
}

pub const HSET: Command = Command {
    name: "HSET",
    op: "hash.set",
    since: "2.0.0",
    summary: "Sets fields of a hash, creating the hash when it does not exist.",
    complexity: "O(N) for N pairs",
    returns: Shape::int("added", "Fields that did not exist before."),
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HSet>()
};

#[derive(Args)]
pub struct HGet<'a> {
    /// Hash to read.
    key: Key<'a>,
    /// Name inside the hash.
    field: Word<'a>,
}

impl ReadCommand for HGet<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.hash(&self.key)?.and_then(|hash| cx.field(hash, self.field)) {
            Some(value) => reply.bulk(value.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const HGET: Command = Command {
    name: "HGET",
    op: "hash.get",
    since: "2.0.0",
    summary: "Returns one field of a hash.",
    returns: Shape::optional(&Shape::bytes("value", "The field's bytes; null when there is no such field.")),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..HASH.read::<HGet>()
};

#[derive(Args)]
pub struct HGetAll<'a> {
    /// Hash to read.
    key: Key<'a>,
}

impl ReadCommand for HGetAll<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(hash) = cx.hash(&self.key)? else {
            reply.map(0);
            return Ok(());
        };
        let mut digits = itoa::Buffer::new();
        reply.map(cx.field_count(hash));
        for (field, value) in cx.fields(hash) {
            reply.bulk(field.bytes(&mut digits));
            reply.bulk(value.bytes(&mut digits));
        }
        Ok(())
    }
}

pub const HGETALL: Command = Command {
    name: "HGETALL",
    op: "hash.getall",
    since: "2.0.0",
    summary: "Returns all fields of a hash with their values.",
    complexity: "O(N) for N fields",
    returns: Shape::map("fields", "All fields; empty when there is no such hash.", &Shape::BYTES),
    tool: Tool::Default,
    ..HASH.read::<HGetAll>()
};

#[derive(Args)]
pub struct HDel<'a> {
    /// Hash to write; deleted with its last field.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// Names inside the hash.
    fields: Many<'a, Word<'a>>,
}

impl WriteCommand for HDel<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let removed = match cx.change_existing::<Hash>(&self.key)? {
            Some(mut hash) => self.fields.iter().filter(|field| hash.delete(field)).count(),
            None => 0,
        };
        reply.int(removed as i64);
        Ok(())
    }
}

pub const HDEL: Command = Command {
    name: "HDEL",
    op: "hash.del",
    since: "2.0.0",
    summary: "Removes fields of a hash.",
    complexity: "O(N) for N fields",
    returns: Shape::int("removed", "Fields that were there."),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..HASH.write::<HDel>()
};

/// When a field's time to live is changed.
#[derive(Args, Clone, Copy)]
pub enum FieldCondition {
    /// Only when the field has none.
    #[arg(token = "NX")]
    Nx,
    /// Only when the field has one.
    #[arg(token = "XX")]
    Xx,
    /// Only when the new one is later.
    #[arg(token = "GT")]
    Gt,
    /// Only when the new one is earlier; none counts as endless.
    #[arg(token = "LT")]
    Lt,
}

impl FieldCondition {
    fn is_met(self, old_ms: Option<i64>, new_ms: i64) -> bool {
        match self {
            FieldCondition::Nx => old_ms.is_none(),
            FieldCondition::Xx => old_ms.is_some(),
            FieldCondition::Gt => old_ms.is_some_and(|old| new_ms > old),
            FieldCondition::Lt => old_ms.is_none_or(|old| new_ms < old),
        }
    }
}

#[derive(Args)]
pub struct HExpire<'a> {
    /// Hash to write.
    key: Key<'a>,
    /// Time to live in seconds; none or less removes the field.
    seconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl WriteCommand for HExpire<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let now_ms = cx.now_ms();
        let at_ms = deadline::at(self.seconds, Unit::Seconds, now_ms, false, "hexpire")?;
        if self.seconds < 0 {
            return Err(Error::err("invalid expire time in 'hexpire' command"));
        }
        expire_fields(cx, &self.key, at_ms, self.condition, self.fields.0, reply)
    }
}

/// Gives fields a deadline, or removes them when it is past. Logged as what it came to.
fn expire_fields(
    cx: &mut WriteCx<'_>,
    key: &Key<'_>,
    at_ms: i64,
    condition: Option<FieldCondition>,
    fields: Many<'_, Word<'_>>,
    reply: &mut dyn Reply,
) -> Result<()> {
    let past = cx.is_over(at_ms);
    let Some(mut hash) = cx.change_existing::<Hash>(key)? else {
        reply.array(fields.len());
        (0..fields.len()).for_each(|_| reply.int(-2));
        return Ok(());
    };
    let mut changed: Vec<&[u8]> = Vec::new();
    reply.array(fields.len());
    for field in fields.iter() {
        let answer = match hash.expires_at(field) {
            None => -2,
            Some(old_ms) if condition.is_some_and(|condition| !condition.is_met(old_ms, at_ms)) => 0,
            Some(_) => {
                changed.push(field);
                change_field(&mut hash, field, at_ms, past)
            }
        };
        reply.int(answer);
    }
    drop(hash);
    if changed.is_empty() {
        return Ok(());
    }
    let (at, count) = (at_ms.to_string(), changed.len().to_string());
    let mut words: Vec<&[u8]> = if past {
        vec![b"HDEL", key.bytes]
    } else {
        vec![b"HPEXPIREAT", key.bytes, at.as_bytes(), b"FIELDS", count.as_bytes()]
    };
    words.extend(changed);
    cx.log_instead(&words);
    Ok(())
}

fn change_field(hash: &mut Change<'_, '_, Hash>, field: &[u8], at_ms: i64, past: bool) -> i64 {
    if past {
        hash.delete(field);
        2
    } else {
        hash.expire(field, Some(at_ms));
        1
    }
}

const EXPIRE_ANSWER: Shape = Shape::array(
    "results",
    "For each field: 1 set, 0 condition not met, 2 removed because the time is past, -2 no such field.",
    &Shape::INT,
);

pub const HEXPIRE: Command = Command {
    name: "HEXPIRE",
    op: "hash.expire",
    since: "7.4.0",
    summary: "Gives fields of a hash a time to live in seconds.",
    complexity: "O(N) for N fields",
    returns: EXPIRE_ANSWER,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HExpire>()
};

#[derive(Args)]
pub struct HPExpireAt<'a> {
    /// Hash to write.
    key: Key<'a>,
    /// Unix time in milliseconds; one that is past removes the field.
    unix_time_milliseconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl WriteCommand for HPExpireAt<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if self.unix_time_milliseconds < 0 {
            return Err(Error::err("invalid expire time in 'hpexpireat' command"));
        }
        expire_fields(cx, &self.key, self.unix_time_milliseconds, self.condition, self.fields.0, reply)
    }
}

pub const HPEXPIREAT: Command = Command {
    name: "HPEXPIREAT",
    op: "hash.pexpireat",
    since: "7.4.0",
    summary: "Gives fields of a hash a point in time at which they go, as Unix time in milliseconds.",
    complexity: "O(N) for N fields",
    returns: EXPIRE_ANSWER,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HPExpireAt>()
};

#[derive(Args)]
pub struct HTtl<'a> {
    /// Hash to read.
    key: Key<'a>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl ReadCommand for HTtl<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let hash = cx.hash(&self.key)?;
        reply.array(self.fields.0.len());
        for field in self.fields.0.iter() {
            let expiry = hash.filter(|hash| cx.field(hash, field).is_some()).and_then(|hash| hash.expires_at(field));
            reply.int(match expiry {
                None => -2,
                Some(None) => -1,
                // Rounded up: Redis answers 1 until the last second is over.
                Some(Some(at_ms)) => at_ms.saturating_sub(cx.now_ms()).saturating_add(999) / 1000,
            });
        }
        Ok(())
    }
}

pub const HTTL: Command = Command {
    name: "HTTL",
    op: "hash.ttl",
    since: "7.4.0",
    summary: "Returns the time to live of fields of a hash, in seconds.",
    complexity: "O(N) for N fields",
    returns: Shape::array(
        "seconds",
        "For each field: its time to live, -1 when it has none, -2 when there is no such field.",
        &Shape::INT,
    ),
    flags: Flags::FAST,
    ..HASH.read::<HTtl>()
};
