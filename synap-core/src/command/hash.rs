//! Hashes, with a time to live per field.

use super::deadline::{self, Unit};
use super::prelude::*;
use super::{Budget, takes};
use crate::execute::guards::Change;
use crate::grammar::args::{Fields, Sentences, UNEVEN};
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::types::hash::{Field, Hash};
use crate::types::long_double::{LongDouble, Parsed};
use crate::types::sample::{Numbers, below, choose};
use crate::types::{Elem, parse_int};

const HASH: Group = Group { name: "hash", op: "hash", category: Category::HASH };

pub const COMMANDS: &[Command] = &[
    HSET,
    HMSET,
    HSETNX,
    HSETEX,
    HGET,
    HMGET,
    HGETALL,
    HGETDEL,
    HGETEX,
    HEXISTS,
    HLEN,
    HSTRLEN,
    HKEYS,
    HVALS,
    HSCAN,
    HRANDFIELD,
    HINCRBY,
    HINCRBYFLOAT,
    HDEL,
    HEXPIRE,
    HPEXPIRE,
    HEXPIREAT,
    HPEXPIREAT,
    HPERSIST,
    HTTL,
    HPTTL,
    HEXPIRETIME,
    HPEXPIRETIME,
];

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
pub struct HMSet<'a>(HSet<'a>);

impl WriteCommand for HMSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change::<Hash>(&self.0.key)?;
        self.0.fields.iter().for_each(|pair| {
            hash.put(pair.field, pair.value);
        });
        reply.ok();
        Ok(())
    }
}

pub const HMSET: Command = Command {
    name: "HMSET",
    op: "hash.mset",
    since: "2.0.0",
    summary: "Sets fields of a hash; HSET answers how many are new.",
    complexity: "O(N) for N pairs",
    returns: Shape::OK,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HMSet>()
};

#[derive(Args)]
pub struct HSetNx<'a> {
    /// Hash to write; created when missing.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// Name inside the hash.
    field: Word<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

impl WriteCommand for HSetNx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change::<Hash>(&self.key)?;
        let is_new = !hash.contains(self.field);
        if is_new {
            hash.put(self.field, self.value);
        }
        reply.int(is_new.into());
        Ok(())
    }
}

pub const HSETNX: Command = Command {
    name: "HSETNX",
    op: "hash.setnx",
    since: "2.0.0",
    summary: "Sets a field of a hash that is not there yet.",
    returns: Shape::boolean("set", "False when the field was there."),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HSetNx>()
};

/// Whether the hash must be there.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum KeyCondition {
    /// Only when the hash does not exist.
    #[arg(token = "NX")]
    Nx,
    /// Only when the hash exists.
    #[arg(token = "XX")]
    Xx,
}

/// Whether the fields must be there.
#[derive(Args, Clone, Copy)]
pub enum FieldsCondition {
    /// Only when none of the fields exists.
    #[arg(token = "FNX")]
    Fnx,
    /// Only when all of the fields exist.
    #[arg(token = "FXX")]
    Fxx,
}

/// What becomes of the fields' time to live; without it they have none.
#[derive(Args)]
pub enum SetExpiry {
    /// Seconds from now.
    #[arg(token = "EX")]
    Ex(i64),
    /// Milliseconds from now.
    #[arg(token = "PX")]
    Px(i64),
    /// Unix time in seconds.
    #[arg(token = "EXAT")]
    Exat(i64),
    /// Unix time in milliseconds.
    #[arg(token = "PXAT")]
    Pxat(i64),
    /// Each keeps the one that it has.
    #[arg(token = "KEEPTTL")]
    Keepttl,
}

#[derive(Args)]
#[args(any_order)]
pub struct HSetExOptions {
    key_condition: Option<KeyCondition>,
    #[arg(once = "Only one of FXX or FNX arguments can be specified")]
    fields_condition: Option<FieldsCondition>,
    #[arg(once = "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")]
    expiry: Option<SetExpiry>,
}

/// Of HSETEX.
pub struct Pairs;

impl Sentences for Pairs {
    const NOT_POSITIVE: Error = Error::err("invalid number of fields");
    const MISMATCH: Error = UNEVEN;
}

#[derive(Args)]
pub struct HSetEx<'a> {
    /// Hash to write; created when missing.
    #[arg(access = "RW update")]
    key: Key<'a>,
    options: HSetExOptions,
    /// Pairs in order; a later duplicate wins.
    #[arg(token = "FIELDS", instead = HSetEx::unknown)]
    fields: Counted<'a, FieldValue<'a>, Pairs>,
}

impl HSetEx<'_> {
    fn unknown(word: Option<&[u8]>) -> Error {
        word.map_or(UNEVEN, |word| Error::fmt(format!("unknown argument: {}", Error::quote(word))))
    }

    fn is_met(&self, cx: &ReadCx<'_>, hash: Option<&Hash>) -> bool {
        let is_there = |pair: FieldValue<'_>| hash.is_some_and(|hash| cx.field(hash, pair.field).is_some());
        self.options.key_condition.is_none_or(|condition| hash.is_some() == (condition == KeyCondition::Xx))
            && match self.options.fields_condition {
                None => true,
                Some(FieldsCondition::Fnx) => !self.fields.0.iter().any(is_there),
                Some(FieldsCondition::Fxx) => self.fields.0.iter().all(is_there),
            }
    }
}

impl WriteCommand for HSetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let now_ms = cx.now_ms();
        let at = |value, unit| deadline_of(value, unit, now_ms, "hsetex").map(Some);
        let at_ms = match self.options.expiry {
            None | Some(SetExpiry::Keepttl) => None,
            Some(SetExpiry::Ex(value)) => at(value, Unit::Seconds)?,
            Some(SetExpiry::Px(value)) => at(value, Unit::Millis)?,
            Some(SetExpiry::Exat(value)) => at(value, Unit::AtSeconds)?,
            Some(SetExpiry::Pxat(value)) => at(value, Unit::AtMillis)?,
        };
        let met = self.is_met(cx, cx.hash(&self.key)?);
        reply.int(met.into());
        if !met {
            return Ok(());
        }
        let pairs = self.fields.0;
        if at_ms.is_some_and(|at_ms| cx.is_past(at_ms)) {
            let fields: Vec<&[u8]> = pairs.iter().map(|pair| pair.field).collect();
            delete_fields(cx, &self.key, &fields)?;
            return Ok(());
        }
        let keeps = matches!(self.options.expiry, Some(SetExpiry::Keepttl));
        let mut hash = cx.change::<Hash>(&self.key)?;
        let mut words: Vec<&[u8]> = vec![b"HSET", self.key.bytes];
        let mut deadlines: Vec<(&[u8], i64)> = Vec::new();
        for FieldValue { field, value } in pairs.iter() {
            match at_ms {
                Some(at_ms) => hash.put_until(field, value, at_ms),
                None if keeps => hash.put_keep_ttl(field, value),
                None => hash.put(field, value),
            };
            words.extend([field, value]);
            deadlines.extend(hash.expires_at(field).flatten().map(|at_ms| (field, at_ms)));
        }
        drop(hash);
        cx.log_instead(&words);
        log_deadlines(cx, &self.key, &deadlines);
        Ok(())
    }
}

/// Removes fields because their time is past. Logged as what it came to.
fn delete_fields(cx: &mut WriteCx<'_>, key: &Key<'_>, fields: &[&[u8]]) -> Result<()> {
    let Some(mut hash) = cx.change_existing::<Hash>(key)? else { return Ok(()) };
    let mut words: Vec<&[u8]> = vec![b"HDEL", key.bytes];
    words.extend(fields.iter().filter(|field| hash.delete(field)));
    drop(hash);
    if words.len() > 2 {
        cx.log_instead(&words);
    }
    Ok(())
}

/// Logs the deadlines that fields have: HSET takes them away. Those of the same time go together.
fn log_deadlines(cx: &mut WriteCx<'_>, key: &Key<'_>, deadlines: &[(&[u8], i64)]) {
    for same in deadlines.chunk_by(|one, other| one.1 == other.1) {
        let (at, count) = (same[0].1.to_string(), same.len().to_string());
        let mut words: Vec<&[u8]> = vec![b"HPEXPIREAT", key.bytes, at.as_bytes(), b"FIELDS", count.as_bytes()];
        words.extend(same.iter().map(|(field, _)| *field));
        cx.log_instead(&words);
    }
}

pub const HSETEX: Command = Command {
    name: "HSETEX",
    op: "hash.setex",
    since: "8.0.0",
    summary: "Sets fields of a hash and their time to live.",
    complexity: "O(N) for N pairs",
    returns: Shape::boolean("set", "False when a condition was not met."),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HSetEx>()
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

const VALUES: Shape = Shape::array(
    "values",
    "For each field its bytes; null when there is no such field.",
    &Shape::optional(&Shape::BYTES),
);

fn write_value(value: Option<Elem<'_>>, reply: &mut dyn Reply) {
    match value {
        Some(value) => reply.bulk(value.bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
}

#[derive(Args)]
pub struct HMGet<'a> {
    /// Hash to read.
    key: Key<'a>,
    /// Names inside the hash.
    fields: Many<'a, Word<'a>>,
}

impl ReadCommand for HMGet<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let hash = cx.hash(&self.key)?;
        reply.array(self.fields.len());
        for field in self.fields.iter() {
            write_value(hash.and_then(|hash| cx.field(hash, field)), reply);
        }
        Ok(())
    }
}

pub const HMGET: Command = Command {
    name: "HMGET",
    op: "hash.mget",
    since: "2.0.0",
    summary: "Returns several fields of a hash.",
    complexity: "O(N) for N fields",
    returns: VALUES,
    tool: Tool::Default,
    flags: Flags::FAST,
    ..HASH.read::<HMGet>()
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
pub struct HGetDel<'a> {
    /// Hash to write; deleted with its last field.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl WriteCommand for HGetDel<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change_existing::<Hash>(&self.key)?;
        let mut words: Vec<&[u8]> = vec![b"HDEL", self.key.bytes];
        reply.array(self.fields.0.len());
        for field in self.fields.0.iter() {
            write_value(hash.as_ref().and_then(|hash| hash.get(field)), reply);
            if hash.as_mut().is_some_and(|hash| hash.delete(field)) {
                words.push(field);
            }
        }
        drop(hash);
        if words.len() > 2 {
            cx.log_instead(&words);
        }
        Ok(())
    }
}

pub const HGETDEL: Command = Command {
    name: "HGETDEL",
    op: "hash.getdel",
    since: "8.0.0",
    summary: "Returns fields of a hash and removes them.",
    complexity: "O(N) for N fields",
    returns: VALUES,
    flags: Flags::FAST,
    ..HASH.write::<HGetDel>()
};

/// What becomes of the fields' time to live; without it nothing.
#[derive(Args)]
pub enum GetExpiry {
    /// Seconds from now.
    #[arg(token = "EX")]
    Ex(i64),
    /// Milliseconds from now.
    #[arg(token = "PX")]
    Px(i64),
    /// Unix time in seconds.
    #[arg(token = "EXAT")]
    Exat(i64),
    /// Unix time in milliseconds.
    #[arg(token = "PXAT")]
    Pxat(i64),
    /// They have none any more.
    #[arg(token = "PERSIST")]
    Persist,
}

#[derive(Args)]
pub struct HGetEx<'a> {
    /// Hash to read.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    expiry: Option<GetExpiry>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl WriteCommand for HGetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let now_ms = cx.now_ms();
        let at = |value, unit| deadline_of(value, unit, now_ms, "hgetex").map(Some);
        let at_ms = match self.expiry {
            None | Some(GetExpiry::Persist) => None,
            Some(GetExpiry::Ex(value)) => at(value, Unit::Seconds)?,
            Some(GetExpiry::Px(value)) => at(value, Unit::Millis)?,
            Some(GetExpiry::Exat(value)) => at(value, Unit::AtSeconds)?,
            Some(GetExpiry::Pxat(value)) => at(value, Unit::AtMillis)?,
        };
        let fields = self.fields.0;
        let past = at_ms.is_some_and(|at_ms| cx.is_past(at_ms));
        let mut hash = cx.change_existing::<Hash>(&self.key)?;
        let mut changed: Vec<&[u8]> = Vec::new();
        reply.array(fields.len());
        for field in fields.iter() {
            let found = hash.as_ref().and_then(|hash| hash.get_entry(field));
            write_value(found.map(|(value, _)| value), reply);
            let old_ms = found.map(|(_, old_ms)| old_ms);
            let (Some(old_ms), Some(hash)) = (old_ms, &mut hash) else { continue };
            let changes = match self.expiry {
                None => false,
                Some(GetExpiry::Persist) => old_ms.is_some() && hash.expire(field, None),
                Some(_) if past => hash.delete(field),
                Some(_) => hash.expire(field, at_ms),
            };
            if changes {
                changed.push(field);
            }
        }
        drop(hash);
        log_expiry(cx, &self.key, at_ms, &changed);
        Ok(())
    }
}

/// Logs what has become of fields: they have a deadline, or none any more, or are gone because it was past.
fn log_expiry(cx: &mut WriteCx<'_>, key: &Key<'_>, at_ms: Option<i64>, fields: &[&[u8]]) {
    if fields.is_empty() {
        return;
    }
    let (at, count) = (at_ms.unwrap_or(0).to_string(), fields.len().to_string());
    let mut words: Vec<&[u8]> = match at_ms {
        Some(at_ms) if cx.is_past(at_ms) => vec![b"HDEL", key.bytes],
        Some(_) => vec![b"HPEXPIREAT", key.bytes, at.as_bytes(), b"FIELDS", count.as_bytes()],
        None => vec![b"HPERSIST", key.bytes, b"FIELDS", count.as_bytes()],
    };
    words.extend(fields);
    cx.log_instead(&words);
}

pub const HGETEX: Command = Command {
    name: "HGETEX",
    op: "hash.getex",
    since: "8.0.0",
    summary: "Returns fields of a hash and changes their time to live.",
    complexity: "O(N) for N fields",
    returns: VALUES,
    flags: Flags::FAST,
    ..HASH.write::<HGetEx>()
};

#[derive(Args)]
pub struct HExists<'a> {
    /// Hash to read.
    #[arg(access = "RO")]
    key: Key<'a>,
    /// Name inside the hash.
    field: Word<'a>,
}

impl ReadCommand for HExists<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let is_there = cx.hash(&self.key)?.is_some_and(|hash| cx.field(hash, self.field).is_some());
        reply.int(is_there.into());
        Ok(())
    }
}

pub const HEXISTS: Command = Command {
    name: "HEXISTS",
    op: "hash.exists",
    since: "2.0.0",
    summary: "Tells whether a hash has a field.",
    returns: Shape::boolean("exists", "False when there is no such field."),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..HASH.read::<HExists>()
};

#[derive(Args)]
pub struct HLen<'a> {
    /// Hash to read.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for HLen<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let count = cx.hash(&self.key)?.map_or(0, |hash| cx.field_count(hash));
        reply.int(count as i64);
        Ok(())
    }
}

pub const HLEN: Command = Command {
    name: "HLEN",
    op: "hash.len",
    since: "2.0.0",
    summary: "Counts the fields of a hash.",
    returns: Shape::int("count", "0 when there is no such hash."),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..HASH.read::<HLen>()
};

#[derive(Args)]
pub struct HStrLen<'a> {
    /// Hash to read.
    #[arg(access = "RO")]
    key: Key<'a>,
    /// Name inside the hash.
    field: Word<'a>,
}

impl ReadCommand for HStrLen<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let value = cx.hash(&self.key)?.and_then(|hash| cx.field(hash, self.field));
        reply.int(value.map_or(0, Elem::len) as i64);
        Ok(())
    }
}

pub const HSTRLEN: Command = Command {
    name: "HSTRLEN",
    op: "hash.strlen",
    since: "3.2.0",
    summary: "Returns how many bytes a field of a hash has.",
    returns: Shape::int("length", "0 when there is no such field."),
    flags: Flags::FAST,
    ..HASH.read::<HStrLen>()
};

/// All fields, or all values.
fn write_all<'h>(
    cx: &ReadCx<'_>,
    hash: Option<&'h Hash>,
    which: fn((Elem<'h>, Elem<'h>)) -> Elem<'h>,
    reply: &mut dyn Reply,
) {
    let mut digits = itoa::Buffer::new();
    reply.array(hash.map_or(0, |hash| cx.field_count(hash)));
    for elem in hash.into_iter().flat_map(|hash| cx.fields(hash)).map(which) {
        reply.bulk(elem.bytes(&mut digits));
    }
}

#[derive(Args)]
pub struct HKeys<'a>(HGetAll<'a>);

impl ReadCommand for HKeys<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_all(cx, cx.hash(&self.0.key)?, |(field, _)| field, reply);
        Ok(())
    }
}

pub const HKEYS: Command = Command {
    name: "HKEYS",
    op: "hash.keys",
    since: "2.0.0",
    summary: "Returns the names of all fields of a hash.",
    complexity: "O(N) for N fields",
    returns: Shape::array("fields", "In no particular order.", &Shape::BYTES),
    tool: Tool::Default,
    ..HASH.read::<HKeys>()
};

#[derive(Args)]
pub struct HVals<'a>(HGetAll<'a>);

impl ReadCommand for HVals<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_all(cx, cx.hash(&self.0.key)?, |(_, value)| value, reply);
        Ok(())
    }
}

pub const HVALS: Command = Command {
    name: "HVALS",
    op: "hash.vals",
    since: "2.0.0",
    summary: "Returns the values of all fields of a hash.",
    complexity: "O(N) for N fields",
    returns: Shape::array("values", "In the order of HKEYS.", &Shape::BYTES),
    ..HASH.read::<HVals>()
};

#[derive(Args)]
#[args(any_order)]
pub struct HScanOptions<'a> {
    /// Only fields that match.
    #[arg(token = "MATCH")]
    r#match: Option<Pattern<'a>>,
    /// About how many fields to look at; 10 when left out.
    #[arg(token = "COUNT")]
    count: Option<Effort>,
    /// Answers fields only.
    #[arg(token = "NOVALUES")]
    novalues: bool,
}

#[derive(Args)]
pub struct HScan<'a> {
    /// Hash to read.
    key: Key<'a>,
    /// 0 to begin, then what the last call answered.
    cursor: Cursor,
    options: HScanOptions<'a>,
}

impl ReadCommand for HScan<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let HScanOptions { r#match, count, novalues } = self.options;
        let count = count.unwrap_or_default().items();
        let mut found = Vec::new();
        let cursor = cx.hash(&self.key)?.map_or(0, |hash| {
            hash.scan(self.cursor.0, count, |(field, value, deadline_ms)| {
                if cx.is_field_visible(deadline_ms) && takes(r#match, field) {
                    found.push(field);
                    found.extend((!novalues).then_some(value));
                }
            })
        });
        let mut digits = itoa::Buffer::new();
        reply.array(2);
        reply.bulk_int(cursor as i64);
        reply.array(found.len());
        found.iter().for_each(|elem| reply.bulk(elem.bytes(&mut digits)));
        Ok(())
    }
}

pub const HSCAN: Command = Command {
    name: "HSCAN",
    op: "hash.scan",
    since: "2.8.0",
    summary: "Goes through a hash, a few fields at each call. A field that is there all the time is answered at least once.",
    complexity: "O(1) for every call, O(N) for a whole iteration",
    returns: Shape::tuple(
        "",
        "",
        &[
            Shape::cursor("cursor", "For the next call; 0 when all was seen."),
            Shape::array(
                "items",
                "Fields and values in turn, with NOVALUES fields; maybe none before the end.",
                &Shape::BYTES,
            ),
        ],
    ),
    ..HASH.read::<HScan>()
};

/// How many fields, and with what.
#[derive(Args, Clone, Copy)]
pub struct RandFieldOptions {
    /// So many different fields at most; with a minus so many, of which each may be any field again.
    count: Picks,
    /// Answers their values too.
    #[arg(token = "WITHVALUES")]
    withvalues: bool,
}

#[derive(Args)]
#[args(check = HRandField::check)]
pub struct HRandField<'a> {
    /// Hash to read.
    key: Key<'a>,
    options: Option<RandFieldOptions>,
}

impl HRandField<'_> {
    fn check(&self) -> Result<()> {
        match &self.options {
            Some(RandFieldOptions { count: Picks(count), withvalues: true }) if *count > i64::MAX / 2 => {
                Err(Error::err("value is out of range"))
            }
            _ => Ok(()),
        }
    }
}

impl ReadCommand for HRandField<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let hash = cx.hash(&self.key)?.filter(|hash| cx.field_count(hash) > 0);
        match (self.options, hash) {
            (None, None) => reply.null(),
            (Some(_), None) => reply.array(0),
            (None, Some(hash)) => {
                let field = Choice::of(cx, hash).one().map(|(field, ..)| field);
                write_value(field, reply);
            }
            (Some(RandFieldOptions { count: Picks(count @ 0..), withvalues }), Some(hash)) => {
                let picked = Choice::of(cx, hash).different(usize::try_from(count).unwrap_or(usize::MAX));
                write_fields(picked.len(), picked.into_iter(), withvalues, Budget::ENDLESS, reply)?;
            }
            (Some(RandFieldOptions { count: Picks(count), withvalues }), Some(hash)) => {
                let count = count.unsigned_abs() as usize;
                let mut choice = Choice::of(cx, hash);
                let picked = (0..count).map_while(|_| choice.one());
                write_fields(count, picked, withvalues, Budget::of_answer(), reply)?;
            }
        }
        Ok(())
    }
}

/// Fields of a hash by chance, without those that are hidden.
struct Choice<'h> {
    hash: &'h Hash,
    /// What is not hidden, when something is.
    visible: Option<Vec<Field<'h>>>,
    numbers: Numbers,
}

impl<'h> Choice<'h> {
    fn of(cx: &ReadCx<'_>, hash: &'h Hash) -> Choice<'h> {
        let is_visible = |(.., deadline_ms): &Field<'h>| cx.is_field_visible(*deadline_ms);
        let visible = cx.hides_fields(hash).then(|| hash.iter().filter(is_visible).collect());
        Choice { hash, visible, numbers: Numbers(cx.state().random()) }
    }

    /// Any field.
    fn one(&mut self) -> Option<Field<'h>> {
        let random = self.numbers.draw();
        match &self.visible {
            None => self.hash.random(random),
            Some(visible) => visible.get(below(random, visible.len())).copied(),
        }
    }

    fn different(mut self, count: usize) -> Vec<Field<'h>> {
        match self.visible {
            None => self.hash.sample(count, self.numbers.draw()),
            Some(visible) => choose(visible.into_iter(), count, &mut self.numbers),
        }
    }
}

/// Fields, or pairs: nested in RESP3, flat in RESP2.
fn write_fields<'h>(
    count: usize,
    fields: impl Iterator<Item = Field<'h>>,
    with_values: bool,
    mut budget: Budget,
    reply: &mut dyn Reply,
) -> Result<()> {
    let mut digits = itoa::Buffer::new();
    let nested = with_values && reply.resp3();
    reply.array(if with_values && !nested { count * 2 } else { count });
    for (field, value, _) in fields {
        budget.spend(field.len() + if with_values { value.len() } else { 0 })?;
        if nested {
            reply.array(2);
        }
        reply.bulk(field.bytes(&mut digits));
        if with_values {
            reply.bulk(value.bytes(&mut digits));
        }
    }
    Ok(())
}

pub const HRANDFIELD: Command = Command {
    name: "HRANDFIELD",
    op: "hash.randfield",
    since: "6.2.0",
    summary: "Returns fields of a hash by chance.",
    complexity: "O(N) for N fields answered",
    returns: Shape::one_of(
        "fields",
        "The field; with a count an array of them, WITHVALUES of pairs; null or empty when there is no such hash.",
        &[
            Shape::optional(&Shape::BYTES),
            Shape::array("", "", &Shape::BYTES),
            Shape::pairs("", "", &[Shape::bytes("field", ""), Shape::bytes("value", "")]),
        ],
    ),
    ..HASH.read::<HRandField>()
};

#[derive(Args)]
pub struct HIncrBy<'a> {
    /// Hash to write; created when missing.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Name inside the hash; a field that does not exist counts as 0.
    field: Word<'a>,
    /// What to add.
    increment: i64,
}

impl WriteCommand for HIncrBy<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change::<Hash>(&self.key)?;
        let old = match hash.get(self.field) {
            None => 0,
            Some(Elem::Int(old)) => old,
            Some(Elem::Bytes(bytes)) => parse_int(bytes).ok_or(Error::err("hash value is not an integer"))?,
        };
        let new = old.checked_add(self.increment).ok_or(Error::err("increment or decrement would overflow"))?;
        hash.put_keep_ttl(self.field, itoa::Buffer::new().format(new).as_bytes());
        reply.int(new);
        Ok(())
    }
}

pub const HINCRBY: Command = Command {
    name: "HINCRBY",
    op: "hash.incrby",
    since: "2.0.0",
    summary: "Adds to the number in a field of a hash. Its time to live stays.",
    returns: Shape::int("value", "The number after it."),
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HIncrBy>()
};

#[derive(Args)]
pub struct HIncrByFloat<'a> {
    /// Hash to write; created when missing.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Name inside the hash; a field that does not exist counts as 0.
    field: Word<'a>,
    /// What to add.
    increment: Increment,
}

/// A number with the precision of x86's `long double`.
pub struct Increment(LongDouble);

impl<'a> Arg<'a> for Increment {
    const KIND: ArgKind = ArgKind::Float { min: f64::MIN, max: f64::MAX, infinite: false };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        match LongDouble::parse(parser.word()?) {
            Some(Parsed::Finite(value)) => Ok(Increment(value)),
            Some(Parsed::Infinite) => Err(Error::err("value is NaN or Infinity")),
            None => Err(Error::NOT_FLOAT),
        }
    }
}

impl WriteCommand for HIncrByFloat<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const INFINITE: Error = Error::err("increment would produce NaN or Infinity");
        let mut hash = cx.change::<Hash>(&self.key)?;
        let old = match hash.get(self.field) {
            None => LongDouble::from_int(0),
            Some(Elem::Int(old)) => LongDouble::from_int(old),
            Some(Elem::Bytes(bytes)) => match LongDouble::parse(bytes) {
                Some(Parsed::Finite(old)) => old,
                Some(Parsed::Infinite) => return Err(INFINITE),
                None => return Err(Error::err("hash value is not a float")),
            },
        };
        let new = old.plus(self.increment.0).ok_or(INFINITE)?.to_text();
        hash.put_keep_ttl(self.field, new.as_bytes());
        let deadline = hash.expires_at(self.field).flatten().map(|at_ms| (self.field, at_ms));
        drop(hash);
        reply.bulk(new.as_bytes());
        // Logged as the sum: adding again somewhere else must not round otherwise.
        cx.log_instead(&[b"HSET", self.key.bytes, self.field, new.as_bytes()]);
        log_deadlines(cx, &self.key, deadline.as_slice());
        Ok(())
    }
}

pub const HINCRBYFLOAT: Command = Command {
    name: "HINCRBYFLOAT",
    op: "hash.incrbyfloat",
    since: "2.6.0",
    summary: "Adds to the number in a field of a hash, which may have a fraction. Its time to live stays.",
    returns: Shape::text("value", "The number after it: at most 17 digits behind the dot, no exponent."),
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HIncrByFloat>()
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

/// Of HEXPIRE and its like.
pub struct Expired;

impl Sentences for Expired {
    const NOT_POSITIVE: Error = Error::err("Parameter `numFields` should be greater than 0");
    const MISMATCH: Error = Fields::MISMATCH;
}

/// The latest deadline of a field: Redis has 46 bits for it.
const DEADLINE_MS_MAX: i64 = (1 << 46) - 1;

/// The point in time at which fields go.
fn deadline_of(value: i64, unit: Unit, now_ms: i64, command: &str) -> Result<i64> {
    if value < 0 {
        return Err(Error::err("invalid expire time, must be >= 0"));
    }
    let at_ms = deadline::at(value, unit, now_ms, false, command)?;
    if at_ms > DEADLINE_MS_MAX { Err(deadline::invalid(command)) } else { Ok(at_ms) }
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
    let past = cx.is_past(at_ms);
    let Some(mut hash) = cx.change_existing::<Hash>(key)? else {
        write_for_each(fields, -2, reply);
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
    log_expiry(cx, key, Some(at_ms), &changed);
    Ok(())
}

/// The same answer for each field.
fn write_for_each(fields: Many<'_, Word<'_>>, answer: i64, reply: &mut dyn Reply) {
    reply.array(fields.len());
    (0..fields.len()).for_each(|_| reply.int(answer));
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

#[derive(Args)]
pub struct HExpire<'a> {
    /// Hash to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Time to live in seconds; 0 removes the fields.
    seconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>, Expired>,
}

impl WriteCommand for HExpire<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline_of(self.seconds, Unit::Seconds, cx.now_ms(), "hexpire")?;
        expire_fields(cx, &self.key, at_ms, self.condition, self.fields.0, reply)
    }
}

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
pub struct HPExpire<'a> {
    /// Hash to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Time to live in milliseconds; 0 removes the fields.
    milliseconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>, Expired>,
}

impl WriteCommand for HPExpire<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline_of(self.milliseconds, Unit::Millis, cx.now_ms(), "hpexpire")?;
        expire_fields(cx, &self.key, at_ms, self.condition, self.fields.0, reply)
    }
}

pub const HPEXPIRE: Command = Command {
    name: "HPEXPIRE",
    op: "hash.pexpire",
    since: "7.4.0",
    summary: "Gives fields of a hash a time to live in milliseconds.",
    complexity: "O(N) for N fields",
    returns: EXPIRE_ANSWER,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HPExpire>()
};

#[derive(Args)]
pub struct HExpireAt<'a> {
    /// Hash to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Unix time in seconds; one that is past removes the fields.
    unix_time_seconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>, Expired>,
}

impl WriteCommand for HExpireAt<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline_of(self.unix_time_seconds, Unit::AtSeconds, cx.now_ms(), "hexpireat")?;
        expire_fields(cx, &self.key, at_ms, self.condition, self.fields.0, reply)
    }
}

pub const HEXPIREAT: Command = Command {
    name: "HEXPIREAT",
    op: "hash.expireat",
    since: "7.4.0",
    summary: "Gives fields of a hash a point in time at which they go, as Unix time in seconds.",
    complexity: "O(N) for N fields",
    returns: EXPIRE_ANSWER,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..HASH.write::<HExpireAt>()
};

#[derive(Args)]
pub struct HPExpireAt<'a> {
    /// Hash to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Unix time in milliseconds; one that is past removes the fields.
    unix_time_milliseconds: i64,
    condition: Option<FieldCondition>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>, Expired>,
}

impl WriteCommand for HPExpireAt<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline_of(self.unix_time_milliseconds, Unit::AtMillis, cx.now_ms(), "hpexpireat")?;
        expire_fields(cx, &self.key, at_ms, self.condition, self.fields.0, reply)
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
pub struct HPersist<'a> {
    /// Hash to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl WriteCommand for HPersist<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let fields = self.fields.0;
        let Some(mut hash) = cx.change_existing::<Hash>(&self.key)? else {
            write_for_each(fields, -2, reply);
            return Ok(());
        };
        reply.array(fields.len());
        for field in fields.iter() {
            reply.int(match hash.expires_at(field) {
                None => -2,
                Some(None) => -1,
                Some(Some(_)) => {
                    hash.expire(field, None);
                    1
                }
            });
        }
        Ok(())
    }
}

pub const HPERSIST: Command = Command {
    name: "HPERSIST",
    op: "hash.persist",
    since: "7.4.0",
    summary: "Takes the time to live of fields of a hash away.",
    complexity: "O(N) for N fields",
    returns: Shape::array("results", "For each field: 1 done, -1 it had none, -2 no such field.", &Shape::INT),
    flags: Flags::FAST,
    ..HASH.write::<HPersist>()
};

#[derive(Args)]
pub struct HTtl<'a> {
    /// Hash to read.
    key: Key<'a>,
    /// Names inside the hash.
    #[arg(token = "FIELDS", missing = "Mandatory argument FIELDS is missing or not at the right position")]
    fields: Counted<'a, Word<'a>>,
}

impl HTtl<'_> {
    /// Answers what `tell` makes of the deadline of each field.
    fn run(self, cx: &ReadCx<'_>, tell: fn(i64, i64) -> i64, reply: &mut dyn Reply) -> Result<()> {
        let hash = cx.hash(&self.key)?;
        let fields = self.fields.0;
        reply.array(fields.len());
        for field in fields.iter() {
            reply.int(match hash.and_then(|hash| cx.field_entry(hash, field)) {
                None => -2,
                Some((_, None)) => -1,
                Some((_, Some(at_ms))) => tell(at_ms, cx.now_ms()),
            });
        }
        Ok(())
    }
}

/// Rounded up: Redis answers 1 until the last second is over.
fn seconds(ms: i64) -> i64 {
    ms.saturating_add(999) / 1000
}

impl ReadCommand for HTtl<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.run(cx, |at_ms, now_ms| seconds(at_ms.saturating_sub(now_ms)), reply)
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

#[derive(Args)]
pub struct HPTtl<'a>(HTtl<'a>);

impl ReadCommand for HPTtl<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.run(cx, i64::saturating_sub, reply)
    }
}

pub const HPTTL: Command = Command {
    name: "HPTTL",
    op: "hash.pttl",
    since: "7.4.0",
    summary: "Returns the time to live of fields of a hash, in milliseconds.",
    complexity: "O(N) for N fields",
    returns: Shape::array(
        "milliseconds",
        "For each field: its time to live, -1 when it has none, -2 when there is no such field.",
        &Shape::INT,
    ),
    flags: Flags::FAST,
    ..HASH.read::<HPTtl>()
};

#[derive(Args)]
pub struct HExpireTime<'a>(HTtl<'a>);

impl ReadCommand for HExpireTime<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.run(cx, |at_ms, _| seconds(at_ms), reply)
    }
}

pub const HEXPIRETIME: Command = Command {
    name: "HEXPIRETIME",
    op: "hash.expiretime",
    since: "7.4.0",
    summary: "Returns when fields of a hash go, as Unix time in seconds.",
    complexity: "O(N) for N fields",
    returns: Shape::array(
        "unix_time_seconds",
        "For each field: when it goes, -1 when it does not, -2 when there is no such field.",
        &Shape::INT,
    ),
    flags: Flags::FAST,
    ..HASH.read::<HExpireTime>()
};

#[derive(Args)]
pub struct HPExpireTime<'a>(HTtl<'a>);

impl ReadCommand for HPExpireTime<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.run(cx, |at_ms, _| at_ms, reply)
    }
}

pub const HPEXPIRETIME: Command = Command {
    name: "HPEXPIRETIME",
    op: "hash.pexpiretime",
    since: "7.4.0",
    summary: "Returns when fields of a hash go, as Unix time in milliseconds.",
    complexity: "O(N) for N fields",
    returns: Shape::array(
        "unix_time_milliseconds",
        "For each field: when it goes, -1 when it does not, -2 when there is no such field.",
        &Shape::INT,
    ),
    flags: Flags::FAST,
    ..HASH.read::<HPExpireTime>()
};

#[cfg(test)]
mod tests {
    use crate::testing::{START_MS, TestEngine};

    #[test]
    fn fields_are_set_on_conditions_and_with_a_time_to_live() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            HSETEX h XX FIELDS 1 a 1 => 0
            HSETEX h NX FNX PX 5000 FIELDS 2 a 1 b 2 => 1
            HSETEX h NX FIELDS 1 c 1 => 0
            HSETEX h FXX FIELDS 2 a 9 c 9 => 0
            HSETEX h FNX FIELDS 2 a 9 c 9 => 0
            HPTTL h FIELDS 3 a b c => [5000, 5000, -2]
            HSETEX h FIELDS 2 a x c 3 KEEPTTL => -ERR wrong number of arguments for 'hsetex' command
            HSETEX h FXX KEEPTTL FIELDS 1 a x => 1
            HSETEX h FIELDS 1 b y => 1
            HMGET h a b c => ["x", "y", nil]
            HPTTL h FIELDS 2 a b => [5000, -1]
            HSETEX h EX 0 FIELDS 2 a z d z => 1
            HKEYS h => ["b"]
            HSETEX h PXAT 1 FIELDS 1 b z => 1
            EXISTS h => 0
            HSETEX h EX -1 FIELDS 1 a 1 => -ERR invalid expire time, must be >= 0
            HSETEX h PXAT 70368744177664 FIELDS 1 a 1 => -ERR invalid expire time in 'hsetex' command
            HSETEX h FIELDS 0 a 1 => -ERR invalid number of fields
            HSETEX h EX 5 PX 5 FIELDS 1 a 1 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
            HSETEX h FNX FNX FIELDS 1 a 1 => -ERR Only one of FXX or FNX arguments can be specified
            HSETEX h GT FIELDS 1 a 1 => -ERR unknown argument: GT
            "#,
        );
    }

    #[test]
    fn fields_are_read_and_changed_in_one_call() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            HSET h a 1 b 2 c 3 => 3
            HGETEX h FIELDS 2 a x => ["1", nil]
            HGETEX h PX 1500 FIELDS 3 a x b => ["1", nil, "2"]
            HTTL h FIELDS 3 a b c => [2, 2, -1]
            HGETEX h PERSIST FIELDS 2 b c => ["2", "3"]
            HPTTL h FIELDS 2 a b => [1500, -1]
            HGETEX h EXAT 1 FIELDS 2 c x => ["3", nil]
            HGETDEL h FIELDS 2 a a => ["1", nil]
            HGETALL h => {"b": "2"}
            HGETDEL h FIELDS 1 b => ["2"]
            EXISTS h => 0
            HGETDEL h FIELDS 2 a b => [nil, nil]
            HGETEX h FIELDS 2 a => -ERR The `numfields` parameter must match the number of arguments
            HGETEX h EX 1 PX 1 FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position
            HGETDEL h FIELDS x a => -ERR Number of fields must be a positive integer
            "#,
        );
    }

    #[test]
    fn deadlines_of_fields_in_all_units() {
        let mut test = TestEngine::default();
        test.check(&format!(
            r#"
            HSET h a 1 b 2 c 3 d 4 => 4
            HEXPIRE h 10 FIELDS 2 a x => [1, -2]
            HPEXPIRE h 10500 FIELDS 1 b => [1]
            HEXPIREAT h 1700000020 FIELDS 1 c => [1]
            HPTTL h FIELDS 4 a b c d => [10000, 10500, 20000, -1]
            HTTL h FIELDS 2 a b => [10, 11]
            HEXPIRETIME h FIELDS 2 b d => [1700000011, -1]
            HPEXPIRETIME h FIELDS 2 b x => [{}, -2]
            HPEXPIRE h 1 GT FIELDS 2 a d => [0, 0]
            HPEXPIRE h 1 NX FIELDS 2 a d => [0, 1]
            HPERSIST h FIELDS 3 a a x => [1, -1, -2]
            HEXPIRE h 0 FIELDS 1 c => [2]
            HLEN h => 3
            HEXPIRE none 1 FIELDS 2 a b => [-2, -2]
            HPERSIST none FIELDS 1 a => [-2]
            HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
            HPEXPIREAT h 70368744177664 FIELDS 1 a => -ERR invalid expire time in 'hpexpireat' command
            HEXPIRE h 1 FIELDS 0 a => -ERR Parameter `numFields` should be greater than 0
            HEXPIRE h 1 FIELDS 1 a b => -ERR The `numfields` parameter must match the number of arguments
            "#,
            START_MS + 10_500
        ));
        test.clock.advance(1);
        test.check("HLEN h => 2");
    }

    /// What is added to keeps its time to live, here and where the log is replayed.
    #[test]
    fn numbers_keep_their_time_to_live() {
        TestEngine::default().check(
            r#"
            HINCRBY h n 5 => 5
            HPEXPIRE h 5000 FIELDS 1 n => [1]
            HINCRBY h n -7 => -2
            HINCRBYFLOAT h n 0.5 => "-1.5"
            HPTTL h FIELDS 1 n => [5000]
            HINCRBYFLOAT h f 0.1 => "0.1"
            HINCRBYFLOAT h f 0.2 => "0.3"
            HINCRBYFLOAT h f 1e4 => "10000.29999999999999982"
            HPTTL h FIELDS 1 f => [-1]
            HINCRBY h f 1 => -ERR hash value is not an integer
            HSET h s text max 9223372036854775807 => 2
            HINCRBY h max 1 => -ERR increment or decrement would overflow
            HINCRBYFLOAT h s 1 => -ERR hash value is not a float
            HINCRBYFLOAT h n inf => -ERR value is NaN or Infinity
            HINCRBYFLOAT h n x => -ERR value is not a valid float
            HINCRBY none x a => -ERR value is not an integer or out of range
            EXISTS none => 0
            "#,
        );
    }

    /// What the log tells was done before the time that it names: a replay that comes later must not know better.
    #[test]
    fn a_replay_removes_no_field_by_its_time() {
        let mut replay = TestEngine::default().twin();
        replay.clock.advance(60_000);
        replay.check(&format!(
            r#"
            HSET h n 5 => 1
            HPEXPIREAT h {} FIELDS 1 n => [1]
            HINCRBY h n 1 => 6
            HGET h n => "6"
            "#,
            START_MS + 1000
        ));
    }

    #[test]
    fn chance_answers_different_fields_or_any() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            HRANDFIELD h => nil
            HRANDFIELD h 3 WITHVALUES => []
            HSET h a 1 => 1
            HRANDFIELD h => "a"
            HRANDFIELD h 5 => ["a"]
            HRANDFIELD h 0 => []
            HRANDFIELD h -3 WITHVALUES => [["a", "1"], ["a", "1"], ["a", "1"]]
            HRANDFIELD h 9223372036854775807 => ["a"]
            HRANDFIELD h 9223372036854775807 WITHVALUES => -ERR value is out of range
            HRANDFIELD h -1048577 => -ERR value is out of range
            HRANDFIELD h 1 WITH => -ERR syntax error
            "#,
        );
        test.session.resp3 = false;
        test.check(r#"HRANDFIELD h -2 WITHVALUES => ["a", "1", "a", "1"]"#);
    }

    /// In a pause nothing is removed: fields that are due are hidden.
    #[test]
    fn hidden_fields_are_not_there() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            HSET h a 1 b 2 => 2
            HPEXPIRE h 10 FIELDS 1 a => [1]
            CLIENT PAUSE 1000 WRITE => OK
            "#,
        );
        test.clock.advance(10);
        test.check(
            r#"
            HRANDFIELD h => "b"
            HRANDFIELD h 2 => ["b"]
            HRANDFIELD h -2 => ["b", "b"]
            HSCAN h 0 => ["0", ["b", "2"]]
            HSCAN h 0 NOVALUES => ["0", ["b"]]
            HVALS h => ["2"]
            HMGET h a b => [nil, "2"]
            HSTRLEN h a => 0
            HEXISTS h a => 0
            HPTTL h FIELDS 2 a b => [-2, -1]
            CLIENT UNPAUSE => OK
            HLEN h => 1
            "#,
        );
    }

    /// Fields that are there from the beginning to the end of an iteration are met, however much others come and go.
    #[test]
    fn an_iteration_meets_what_stays() {
        let mut test = TestEngine::default();
        let put = |test: &mut TestEngine, name: String| test.call(&format!("HSET h {name} v"));
        (0..700).for_each(|number| drop(put(&mut test, format!("stays{number}"))));
        let (mut cursor, mut round, mut met) = ("0".to_string(), 0, std::collections::BTreeSet::new());
        loop {
            let reply = test.call(&format!("HSCAN h {cursor} COUNT 7 NOVALUES"));
            let mut words = reply.split('"').skip(1).step_by(2).map(String::from);
            cursor = words.next().expect("a cursor");
            met.extend(words.filter(|name| name.starts_with("stays")));
            if cursor == "0" {
                break;
            }
            // The hash grows to many times its size, and shrinks again.
            for number in 0..60 {
                let name = format!("goes{}", round % 50 * 60 + number);
                if round < 50 {
                    put(&mut test, name)
                } else {
                    test.call(&format!("HDEL h {name}"))
                };
            }
            round += 1;
        }
        assert!(round > 50);
        assert_eq!(met.len(), 700);
    }
}
