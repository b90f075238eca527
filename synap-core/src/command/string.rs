//! Strings.

use super::deadline::{self, Unit};
use super::prelude::*;
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::types::{Elem, parse_int};

const STRING: Group = Group { name: "string", op: "string", category: Category::STRING };

pub const COMMANDS: &[Command] = &[GET, SET, INCR, MGET, MSET];

#[derive(Args)]
pub struct Get<'a> {
    /// String to read.
    key: Key<'a>,
}

impl ReadCommand for Get<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.string(&self.key)? {
            Some(value) => reply.bulk(value.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const GET: Command = Command {
    name: "GET",
    op: "string.get",
    since: "1.0.0",
    summary: "Returns the string at a key.",
    returns: Shape::optional(&Shape::bytes("value", "The string; null when there is no such key.")),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..STRING.read::<Get>()
};

/// When SET takes effect.
#[derive(Args)]
pub enum SetCondition<'a> {
    /// Only when the key does not exist.
    #[arg(token = "NX")]
    Nx,
    /// Only when the key exists.
    #[arg(token = "XX")]
    Xx,
    /// Only when the key holds this string.
    #[arg(token = "IFEQ")]
    Ifeq(Word<'a>),
    /// Only when the key does not hold this string.
    #[arg(token = "IFNE")]
    Ifne(Word<'a>),
    /// Only when the string's digest is this.
    #[arg(token = "IFDEQ")]
    Ifdeq(Word<'a>),
    /// Only when the string's digest is not this.
    #[arg(token = "IFDNE")]
    Ifdne(Word<'a>),
}

/// What becomes of the key's time to live.
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
    /// Keeps the one that it has.
    #[arg(token = "KEEPTTL")]
    Keepttl,
}

impl SetExpiry {
    fn expiry(&self, now_ms: i64, command: &str) -> Result<Expiry> {
        let (value, unit) = match *self {
            SetExpiry::Ex(value) => (value, Unit::Seconds),
            SetExpiry::Px(value) => (value, Unit::Millis),
            SetExpiry::Exat(value) => (value, Unit::AtSeconds),
            SetExpiry::Pxat(value) => (value, Unit::AtMillis),
            SetExpiry::Keepttl => return Ok(Expiry::Keep),
        };
        deadline::at(value, unit, now_ms, true, command).map(Expiry::At)
    }
}

#[derive(Args)]
#[args(any_order)]
pub struct SetOptions<'a> {
    condition: Option<SetCondition<'a>>,
    /// Answer the string that was there before.
    #[arg(token = "GET")]
    get: bool,
    expiry: Option<SetExpiry>,
}

#[derive(Args)]
pub struct Set<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
    options: SetOptions<'a>,
}

impl WriteCommand for Set<'_> {
    #[inline]
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Set { key, value, options } = self;
        let expiry = match &options.expiry {
            None => Expiry::Clear,
            Some(expiry) => expiry.expiry(cx.now_ms(), "set")?,
        };
        let plain = options.condition.is_none() && !options.get;
        if !plain {
            let met = match &options.condition {
                None => true,
                Some(SetCondition::Nx) => !cx.exists(&key),
                Some(SetCondition::Xx) => cx.exists(&key),
                Some(SetCondition::Ifeq(expected)) => cx.string(&key)?.is_some_and(|value| value.is(expected)),
                Some(SetCondition::Ifne(other)) => cx.string(&key)?.is_none_or(|value| !value.is(other)),
                Some(SetCondition::Ifdeq(hex)) => digest_is(cx.string(&key)?, hex)?.is_some_and(|same| same),
                Some(SetCondition::Ifdne(hex)) => digest_is(cx.string(&key)?, hex)?.is_none_or(|same| !same),
            };
            if options.get {
                match cx.string(&key)? {
                    Some(old) => reply.bulk(old.bytes(&mut itoa::Buffer::new())),
                    None => reply.null(),
                }
            } else if !met {
                reply.null();
            }
            if !met {
                return Ok(());
            }
        }
        match expiry {
            Expiry::At(at_ms) if cx.is_over(at_ms) => {
                // Gone as soon as it is there.
                if cx.remove(&key) {
                    cx.log_instead(&[b"DEL", key.bytes]);
                }
            }
            _ => {
                cx.set_string(&key, value, expiry);
                match expiry {
                    Expiry::At(at_ms) => {
                        let at = itoa::Buffer::new().format(at_ms).as_bytes().to_vec();
                        cx.log_instead(&[b"SET", key.bytes, value, b"PXAT", &at]);
                    }
                    Expiry::Keep if !plain => cx.log_instead(&[b"SET", key.bytes, value, b"KEEPTTL"]),
                    Expiry::Clear if !plain => cx.log_instead(&[b"SET", key.bytes, value]),
                    Expiry::Keep | Expiry::Clear => {}
                }
            }
        }
        if !options.get {
            reply.ok();
        }
        Ok(())
    }
}

/// Compares the XXH3 digest of a string with 16 hexadecimal digits; `None` when there is no string.
fn digest_is(value: Option<Elem<'_>>, hex: &[u8]) -> Result<Option<bool>> {
    if hex.len() != 16 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return Err(Error::err("IFDEQ/IFDNE digest must be exactly 16 hexadecimal characters"));
    }
    let digest = |value: Elem<'_>| {
        let digest = xxhash_rust::xxh3::xxh3_64(value.bytes(&mut itoa::Buffer::new()));
        format!("{digest:016x}").as_bytes().eq_ignore_ascii_case(hex)
    };
    Ok(value.map(digest))
}

pub const SET: Command = Command {
    name: "SET",
    op: "string.set",
    since: "1.0.0",
    summary: "Stores a string at a key, whatever was there before.",
    returns: Shape::one_of(
        "result",
        "OK; null when a condition was not met; with GET the string from before, null when there was none.",
        &[Shape::OK, Shape::optional(&Shape::BYTES)],
    ),
    tool: Tool::Default,
    flags: Flags::DENYOOM,
    ..STRING.write::<Set>()
};

#[derive(Args)]
pub struct Incr<'a> {
    /// Number to raise; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
}

impl WriteCommand for Incr<'_> {
    #[inline]
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let value = add(cx, &self.key, 1)?;
        reply.int(value);
        Ok(())
    }
}

/// Adds to the number at `key`.
#[inline]
fn add(cx: &mut WriteCx<'_>, key: &Key<'_>, delta: i64) -> Result<i64> {
    const OVERFLOW: Error = Error::err("increment or decrement would overflow");
    let edited = cx.edit_string(key, |entry| {
        let old = match entry.as_string() {
            Some(Elem::Int(old)) => old,
            Some(Elem::Bytes(bytes)) => parse_int(bytes).ok_or(Error::NOT_INT)?,
            None => return Err(Error::WRONG_TYPE),
        };
        let new = old.checked_add(delta).ok_or(OVERFLOW)?;
        entry.set_int(new);
        Ok(new)
    })?;
    if let Some(new) = edited {
        return Ok(new);
    }
    cx.set_value(key, Value::Int(delta), Expiry::Clear);
    Ok(delta)
}

pub const INCR: Command = Command {
    name: "INCR",
    op: "string.incr",
    since: "1.0.0",
    summary: "Adds one to the number at a key.",
    returns: Shape::int("value", "The number after it."),
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<Incr>()
};

#[derive(Args)]
pub struct MGet<'a> {
    /// Strings to read.
    keys: Many<'a, Key<'a>>,
}

impl ReadCommand for MGet<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.array(self.keys.len());
        for key in self.keys.iter() {
            match cx.string(&key) {
                Ok(Some(value)) => reply.bulk(value.bytes(&mut itoa::Buffer::new())),
                // Another type counts as nothing.
                Ok(None) | Err(_) => reply.null(),
            }
        }
        Ok(())
    }
}

pub const MGET: Command = Command {
    name: "MGET",
    op: "string.mget",
    since: "1.0.0",
    summary: "Returns the strings at several keys, at one moment.",
    complexity: "O(N) for N keys",
    returns: Shape::array(
        "values",
        "For each key its string; null when there is none or it holds another type.",
        &Shape::optional(&Shape::BYTES),
    ),
    tool: Tool::Default,
    flags: Flags::FAST,
    ..STRING.read::<MGet>()
};

/// One key and its string.
#[derive(Args)]
pub struct KeyValue<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

#[derive(Args)]
pub struct MSet<'a> {
    /// Pairs in order; a later duplicate wins.
    pairs: Many<'a, KeyValue<'a>>,
}

impl WriteCommand for MSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        for pair in self.pairs.iter() {
            cx.set_string(&pair.key, pair.value, Expiry::Clear);
        }
        reply.ok();
        Ok(())
    }
}

pub const MSET: Command = Command {
    name: "MSET",
    op: "string.mset",
    since: "1.0.1",
    summary: "Stores several strings, all at one moment.",
    complexity: "O(N) for N pairs",
    returns: Shape::OK,
    tool: Tool::Default,
    flags: Flags::DENYOOM,
    ..STRING.write::<MSet>()
};
