//! The time to live of the fields of hashes.

use super::deadline::{self, GetExpiry, SetExpiry, Unit};
use super::hash::{FieldValue, HASH, VALUES, write_value};
use super::prelude::*;
use crate::execute::guards::Change;
use crate::grammar::args::{Fields, Sentences, UNEVEN};
use crate::types::hash::Hash;

pub const COMMANDS: &[Command] =
    &[HSETEX, HGETEX, HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HPERSIST, HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME];

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
        let given = self.options.expiry.as_ref().and_then(SetExpiry::given);
        let at_ms = given.map(|(value, unit)| deadline_of(value, unit, now_ms, "hsetex")).transpose()?;
        let met = self.is_met(cx, cx.hash(&self.key)?);
        reply.int(met.into());
        if !met {
            return Ok(());
        }
        let pairs = self.fields.0;
        if at_ms.is_some_and(|at_ms| cx.is_over(at_ms)) {
            let fields: Vec<&[u8]> = pairs.iter().map(|pair| pair.field).collect();
            delete_fields(cx, &self.key, &fields)?;
            return Ok(());
        }
        let keeps = matches!(self.options.expiry, Some(SetExpiry::Keepttl));
        let mut hash = cx.change::<Hash>(&self.key, "hset")?;
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
        if at_ms.is_some() {
            cx.notify(Event::new(Classes::HASH, "hexpire"), &self.key);
        }
        cx.log_instead(&words);
        log_deadlines(cx, &self.key, &deadlines);
        Ok(())
    }
}

/// Removes fields because their time is past. Logged as what it came to.
fn delete_fields(cx: &mut WriteCx<'_>, key: &Key<'_>, fields: &[&[u8]]) -> Result<()> {
    let Some(mut hash) = cx.change_existing::<Hash>(key, "hdel")? else { return Ok(()) };
    let mut words: Vec<&[u8]> = vec![b"HDEL", key.bytes];
    words.extend(fields.iter().filter(|field| hash.delete(field)));
    drop(hash);
    if words.len() > 2 {
        cx.log_instead(&words);
    }
    Ok(())
}

/// Logs the deadlines that fields have: HSET takes them away. Those of the same time go together.
pub(super) fn log_deadlines(cx: &mut WriteCx<'_>, key: &Key<'_>, deadlines: &[(&[u8], i64)]) {
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
        let given = self.expiry.as_ref().and_then(GetExpiry::given);
        let at_ms = given.map(|(value, unit)| deadline_of(value, unit, now_ms, "hgetex")).transpose()?;
        let fields = self.fields.0;
        let past = at_ms.is_some_and(|at_ms| cx.is_over(at_ms));
        let event = match self.expiry {
            None | Some(GetExpiry::Persist) => "hpersist",
            Some(_) => expiry_event(past),
        };
        let mut hash = cx.change_existing::<Hash>(&self.key, event)?;
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
        Some(at_ms) if cx.is_over(at_ms) => vec![b"HDEL", key.bytes],
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
    let past = cx.is_over(at_ms);
    let Some(mut hash) = cx.change_existing::<Hash>(key, expiry_event(past))? else {
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

/// A deadline that is over deletes.
fn expiry_event(past: bool) -> &'static str {
    if past { "hdel" } else { "hexpire" }
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
        let Some(mut hash) = cx.change_existing::<Hash>(&self.key, "hpersist")? else {
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
}
