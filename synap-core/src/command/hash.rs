//! Hashes. What concerns the time to live of their fields is in [`super::hash_expiry`].

use super::hash_expiry::log_deadlines;
use super::prelude::*;
use super::{Budget, takes};
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::types::hash::{Field, Hash};
use crate::types::long_double::{LongDouble, Parsed};
use crate::types::sample::{Numbers, below, choose};
use crate::types::{Elem, parse_int};

pub(super) const HASH: Group = Group { name: "hash", op: "hash", category: Category::HASH };

pub const COMMANDS: &[Command] = &[
    HSET,
    HMSET,
    HSETNX,
    HGET,
    HMGET,
    HGETALL,
    HGETDEL,
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
];

/// One field and its value.
#[derive(Args)]
pub struct FieldValue<'a> {
    /// Name inside the hash.
    pub(super) field: Word<'a>,
    /// Bytes to store.
    pub(super) value: Word<'a>,
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
        let mut hash = cx.change::<Hash>(&self.key, "hset")?;
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
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
    ..HASH.write::<HSet>()
};

#[derive(Args)]
pub struct HMSet<'a>(HSet<'a>);

impl WriteCommand for HMSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut hash = cx.change::<Hash>(&self.0.key, "hset")?;
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
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
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
        let mut hash = cx.change::<Hash>(&self.key, "hset")?;
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
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
    ..HASH.write::<HSetNx>()
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

pub(super) const VALUES: Shape = Shape::array(
    "values",
    "For each field its bytes; null when there is no such field.",
    &Shape::optional(&Shape::BYTES),
);

pub(super) fn write_value(value: Option<Elem<'_>>, reply: &mut dyn Reply) {
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
        let mut hash = cx.change_existing::<Hash>(&self.key, "hdel")?;
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
        let mut hash = cx.change::<Hash>(&self.key, "hincrby")?;
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
        let mut hash = cx.change::<Hash>(&self.key, "hincrbyfloat")?;
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
        let removed = match cx.change_existing::<Hash>(&self.key, "hdel")? {
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
    flags: Flags::FAST,
    ..HASH.write::<HDel>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

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
