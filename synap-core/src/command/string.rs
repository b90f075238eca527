//! Whole strings: storing, reading and removing them.

use super::deadline::{self, GetExpiry, SetExpiry, Unit};
use super::prelude::*;
use crate::grammar::args::{Sentences, UNEVEN};
use crate::grammar::spec::{Access, ArgKind};
use crate::grammar::{How, Parser};
use crate::keyspace::db::Expiry;
use crate::types::Elem;

const STRING: Group = Group { name: "string", op: "string", category: Category::STRING };

pub const COMMANDS: &[Command] =
    &[GET, SET, SETNX, SETEX, PSETEX, GETSET, GETDEL, GETEX, MGET, MSET, MSETNX, MSETEX, DELEX, DELIFEQ, DIGEST];

#[derive(Args)]
pub struct Get<'a> {
    /// String to read.
    key: Key<'a>,
}

impl ReadCommand for Get<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_string(cx.string(&self.key)?, reply);
        Ok(())
    }
}

pub const GET: Command = Command {
    name: "GET",
    op: "string.get",
    since: "1.0.0",
    summary: "Returns the string at a key.",
    returns: Shape::optional(&Shape::bytes("value", "The string; null when there is no such key.")),
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

/// A condition on the string that is there.
#[derive(Args, Clone, Copy)]
pub enum ValueCondition<'a> {
    /// Only when it is this.
    #[arg(token = "IFEQ")]
    Ifeq(Word<'a>),
    /// Only when it is not this.
    #[arg(token = "IFNE")]
    Ifne(Word<'a>),
    /// Only when its digest is this.
    #[arg(token = "IFDEQ")]
    Ifdeq(Word<'a>),
    /// Only when its digest is not this.
    #[arg(token = "IFDNE")]
    Ifdne(Word<'a>),
}

impl ValueCondition<'_> {
    fn is_met(&self, content: Elem<'_>) -> Result<bool> {
        match self {
            ValueCondition::Ifeq(expected) => Ok(content.is(expected)),
            ValueCondition::Ifne(other) => Ok(!content.is(other)),
            ValueCondition::Ifdeq(expected) => has_digest(content, expected),
            ValueCondition::Ifdne(other) => has_digest(content, other).map(|same| !same),
        }
    }

    /// What is not there is not anything.
    fn is_met_by_nothing(&self) -> bool {
        matches!(self, ValueCondition::Ifne(_) | ValueCondition::Ifdne(_))
    }
}

/// The XXH3 digest of a string as 16 hexadecimal digits.
fn digest(content: Elem<'_>) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(content.bytes(&mut itoa::Buffer::new())))
}

fn has_digest(content: Elem<'_>, hex: &[u8]) -> Result<bool> {
    if hex.len() != 16 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return Err(Error::err("IFDEQ/IFDNE digest must be exactly 16 hexadecimal characters"));
    }
    Ok(digest(content).as_bytes().eq_ignore_ascii_case(hex))
}

impl<'a> SetCondition<'a> {
    fn is_met(&self, cx: &ReadCx<'_>, key: &Key<'_>) -> Result<bool> {
        let on_value = match *self {
            SetCondition::Nx => return Ok(!cx.exists(key)),
            SetCondition::Xx => return Ok(cx.exists(key)),
            SetCondition::Ifeq(word) => ValueCondition::Ifeq(word),
            SetCondition::Ifne(word) => ValueCondition::Ifne(word),
            SetCondition::Ifdeq(word) => ValueCondition::Ifdeq(word),
            SetCondition::Ifdne(word) => ValueCondition::Ifdne(word),
        };
        match cx.string(key)? {
            Some(content) => on_value.is_met(content),
            None => Ok(on_value.is_met_by_nothing()),
        }
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
#[args(access = Set::access)]
pub struct Set<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
    options: SetOptions<'a>,
}

impl Set<'_> {
    /// Only what answers with the old string, or compares it, has to be allowed to read it.
    #[inline]
    fn access(&self) -> Access {
        match self.options.condition {
            None | Some(SetCondition::Nx | SetCondition::Xx) if !self.options.get => Access::OW.and(Access::UPDATE),
            _ => Access::RW.and(Access::ACCESS).and(Access::UPDATE),
        }
    }
}

impl WriteCommand for Set<'_> {
    #[inline]
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Set { key, value, options } = self;
        let expiry = SetExpiry::decide(&options.expiry, cx.now_ms(), "set")?;
        let plain = options.condition.is_none() && !options.get;
        if !plain {
            let met = match &options.condition {
                None => true,
                Some(condition) => condition.is_met(cx, &key)?,
            };
            if options.get {
                write_string(cx.string(&key)?, reply);
                let found = cx.exists(&key);
                cx.note_lookup(&key, found);
            } else if !met {
                reply.null();
            }
            if !met {
                return Ok(());
            }
        }
        match (plain, expiry) {
            // The call's own words say it.
            (true, Expiry::Keep | Expiry::Clear) => cx.set_string(&key, value, expiry, Event::SET),
            _ => store(cx, &key, value, expiry, Event::SET),
        }
        if !options.get {
            reply.ok();
        }
        Ok(())
    }
}

fn write_string(content: Option<Elem<'_>>, reply: &mut dyn Reply) {
    match content {
        Some(content) => reply.bulk(content.bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
}

/// Stores a string. Logged as a plain SET that says the point in time at which it goes.
pub(super) fn store(cx: &mut WriteCx<'_>, key: &Key<'_>, value: &[u8], expiry: Expiry, event: Event) {
    match expiry {
        Expiry::At(at_ms) if cx.is_over(at_ms) => {
            // Gone as soon as it is there.
            if cx.remove(key) {
                cx.log_instead(&[b"DEL", key.bytes]);
            }
            return;
        }
        Expiry::At(at_ms) => {
            let mut digits = itoa::Buffer::new();
            cx.log_instead(&[b"SET", key.bytes, value, b"PXAT", digits.format(at_ms).as_bytes()]);
        }
        Expiry::Keep => cx.log_instead(&[b"SET", key.bytes, value, b"KEEPTTL"]),
        Expiry::Clear => cx.log_instead(&[b"SET", key.bytes, value]),
    }
    cx.set_string(key, value, expiry, event);
    if let Expiry::At(_) = expiry {
        cx.notify(Event::EXPIRE, key);
    }
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
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..STRING.write::<Set>()
};

#[derive(Args)]
pub struct SetNx<'a> {
    /// Key to write, when it does not exist.
    #[arg(access = "OW insert")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

impl WriteCommand for SetNx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let is_free = !cx.exists(&self.key);
        if is_free {
            cx.set_string(&self.key, self.value, Expiry::Clear, Event::SET);
        }
        reply.int(is_free.into());
        Ok(())
    }
}

pub const SETNX: Command = Command {
    name: "SETNX",
    op: "string.setnx",
    since: "1.0.0",
    summary: "Stores a string at a key that does not exist.",
    returns: Shape::boolean("set", "False when the key exists."),
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
    ..STRING.write::<SetNx>()
};

#[derive(Args)]
pub struct SetEx<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    key: Key<'a>,
    /// Its time to live.
    seconds: i64,
    /// Bytes to store.
    value: Word<'a>,
}

impl WriteCommand for SetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.seconds, Unit::Seconds, cx.now_ms(), true, "setex")?;
        store(cx, &self.key, self.value, Expiry::At(at_ms), Event::SET);
        reply.ok();
        Ok(())
    }
}

pub const SETEX: Command = Command {
    name: "SETEX",
    op: "string.setex",
    since: "2.0.0",
    summary: "Stores a string with a time to live in seconds.",
    returns: Shape::OK,
    flags: Flags::DENYOOM,
    ..STRING.write::<SetEx>()
};

#[derive(Args)]
pub struct PSetEx<'a> {
    /// Key to write; a value of any type is replaced.
    #[arg(access = "OW update")]
    key: Key<'a>,
    /// Its time to live.
    milliseconds: i64,
    /// Bytes to store.
    value: Word<'a>,
}

impl WriteCommand for PSetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.milliseconds, Unit::Millis, cx.now_ms(), true, "psetex")?;
        store(cx, &self.key, self.value, Expiry::At(at_ms), Event::SET);
        reply.ok();
        Ok(())
    }
}

pub const PSETEX: Command = Command {
    name: "PSETEX",
    op: "string.psetex",
    since: "2.6.0",
    summary: "Stores a string with a time to live in milliseconds.",
    returns: Shape::OK,
    flags: Flags::DENYOOM,
    ..STRING.write::<PSetEx>()
};

#[derive(Args)]
pub struct GetSet<'a> {
    /// Key to write; it must hold a string or nothing.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

impl WriteCommand for GetSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_string(cx.string(&self.key)?, reply);
        let found = cx.exists(&self.key);
        cx.note_lookup(&self.key, found);
        store(cx, &self.key, self.value, Expiry::Clear, Event::SET);
        Ok(())
    }
}

const OLD: Shape = Shape::optional(&Shape::bytes("value", "The string that was there; null when there was none."));

pub const GETSET: Command = Command {
    name: "GETSET",
    op: "string.getset",
    since: "1.0.0",
    summary: "Stores a string and returns the one that was there.",
    returns: OLD,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<GetSet>()
};

#[derive(Args)]
pub struct GetDel<'a> {
    /// String to remove.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
}

impl WriteCommand for GetDel<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_string(cx.string(&self.key)?, reply);
        let found = cx.remove(&self.key);
        if found {
            cx.log_instead(&[b"DEL", self.key.bytes]);
        }
        cx.note_lookup(&self.key, found);
        Ok(())
    }
}

pub const GETDEL: Command = Command {
    name: "GETDEL",
    op: "string.getdel",
    since: "6.2.0",
    summary: "Removes a string and returns it.",
    returns: OLD,
    flags: Flags::FAST,
    ..STRING.write::<GetDel>()
};

#[derive(Args)]
#[args(any_order)]
pub struct GetExOptions {
    expiry: Option<GetExpiry>,
}

#[derive(Args)]
pub struct GetEx<'a> {
    /// String to read.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    options: GetExOptions,
}

impl WriteCommand for GetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(content) = cx.string(&self.key)? else {
            cx.note_lookup(&self.key, false);
            reply.null();
            return Ok(());
        };
        let expiry = GetExpiry::decide(&self.options.expiry, cx.now_ms(), "getex")?;
        write_string(Some(content), reply);
        match expiry {
            Expiry::Keep => {}
            Expiry::At(at_ms) => deadline::set(cx, &self.key, at_ms),
            Expiry::Clear => {
                if cx.peek(&self.key).is_some_and(|entry| entry.expires_at().is_some()) {
                    cx.set_expiry(&self.key, None);
                    cx.log_instead(&[b"PERSIST", self.key.bytes]);
                }
            }
        }
        Ok(())
    }
}

pub const GETEX: Command = Command {
    name: "GETEX",
    op: "string.getex",
    since: "6.2.0",
    summary: "Returns the string at a key, and gives the key another time to live or takes it away.",
    returns: Shape::optional(&Shape::bytes("value", "The string; null when there is no such key.")),
    flags: Flags::FAST,
    ..STRING.write::<GetEx>()
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
            cx.set_string(&pair.key, pair.value, Expiry::Clear, Event::SET);
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
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..STRING.write::<MSet>()
};

/// One new key and its string.
#[derive(Args)]
pub struct NewKeyValue<'a> {
    /// Key to write, when it does not exist.
    #[arg(access = "OW insert")]
    key: Key<'a>,
    /// Bytes to store.
    value: Word<'a>,
}

#[derive(Args)]
pub struct MSetNx<'a> {
    /// Pairs in order; a later duplicate wins.
    pairs: Many<'a, NewKeyValue<'a>>,
}

impl WriteCommand for MSetNx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let are_free = !self.pairs.iter().any(|pair| cx.exists(&pair.key));
        if are_free {
            self.pairs.iter().for_each(|pair| cx.set_string(&pair.key, pair.value, Expiry::Clear, Event::SET));
        }
        reply.int(are_free.into());
        Ok(())
    }
}

pub const MSETNX: Command = Command {
    name: "MSETNX",
    op: "string.msetnx",
    since: "1.0.1",
    summary: "Stores several strings, all at one moment, when none of the keys exists.",
    complexity: "O(N) for N pairs",
    returns: Shape::boolean("set", "False when one of the keys exists: nothing is stored."),
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..STRING.write::<MSetNx>()
};

/// What MSETEX says of a wrong count.
#[derive(Debug)]
pub struct PairCount;

impl Sentences for PairCount {
    const NOT_POSITIVE: Error = Error::err("invalid numkeys value");
    const MISMATCH: Error = Error::err("wrong number of key-value pairs");
    const IS_LAST: bool = false;
}

/// Whether keys must exist.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// Only when none does.
    #[arg(token = "NX")]
    Nx,
    /// Only when all do.
    #[arg(token = "XX")]
    Xx,
}

#[derive(Args)]
#[args(any_order)]
pub struct MSetExOptions {
    condition: Option<Existence>,
    expiry: Option<SetExpiry>,
}

#[derive(Args)]
pub struct MSetEx<'a> {
    /// Pairs in order; a later duplicate wins.
    pairs: Counted<'a, KeyValue<'a>, PairCount>,
    options: MSetExOptions,
}

impl WriteCommand for MSetEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let expiry = SetExpiry::decide(&self.options.expiry, cx.now_ms(), "msetex")?;
        let mut pairs = self.pairs.0.iter();
        let met = match self.options.condition {
            None => true,
            Some(Existence::Nx) => pairs.all(|pair| !cx.exists(&pair.key)),
            Some(Existence::Xx) => pairs.all(|pair| cx.exists(&pair.key)),
        };
        if met {
            self.pairs.0.iter().for_each(|pair| store(cx, &pair.key, pair.value, expiry, Event::SET));
        }
        reply.int(met.into());
        Ok(())
    }
}

pub const MSETEX: Command = Command {
    name: "MSETEX",
    op: "string.msetex",
    since: "8.4.0",
    summary: "Stores several strings with one time to live, all at one moment.",
    complexity: "O(N) for N pairs",
    returns: Shape::boolean("set", "False when the condition was not met by all keys: nothing is stored."),
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS),
    ..STRING.write::<MSetEx>()
};

/// [`ValueCondition`] in a call that has nothing else: half of one is a wrong number of words.
pub struct WholeCondition<'a>(ValueCondition<'a>);

impl<'a> Arg<'a> for WholeCondition<'a> {
    const KIND: ArgKind = ValueCondition::KIND;
    const MIN: usize = ValueCondition::MIN;
    const FIXED: bool = ValueCondition::FIXED;

    fn starts(word: &[u8]) -> bool {
        ValueCondition::starts(word)
    }

    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        if parser.remaining() < Self::MIN {
            return Err(UNEVEN);
        }
        ValueCondition::read(parser, how).map(WholeCondition)
    }
}

#[derive(Args)]
#[args(excess = DelEx::excess)]
pub struct DelEx<'a> {
    /// Key to remove; with a condition it must hold a string.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// Without one the key goes whatever it holds.
    condition: Option<WholeCondition<'a>>,
}

impl DelEx<'_> {
    fn excess(&self, rest: Words<'_>) -> Error {
        match (&self.condition, rest.len()) {
            (None, 2) => Error::err("Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"),
            _ => UNEVEN,
        }
    }
}

impl WriteCommand for DelEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const NO_STRING: Error = Error::err("Key should be of string type if conditions are specified");
        let met = match &self.condition {
            None => true,
            Some(WholeCondition(condition)) => match cx.string(&self.key).map_err(|_| NO_STRING)? {
                Some(content) => condition.is_met(content)?,
                None => false,
            },
        };
        remove_if(cx, &self.key, met, reply);
        Ok(())
    }
}

/// Logged as a plain DEL: the conditions are younger than replicas may be.
fn remove_if(cx: &mut WriteCx<'_>, key: &Key<'_>, met: bool, reply: &mut dyn Reply) {
    let removed = met && cx.remove(key);
    if removed {
        cx.log_instead(&[b"DEL", key.bytes]);
    }
    reply.int(removed.into());
}

const REMOVED: Shape = Shape::boolean("removed", "False when there is no such key or the condition was not met.");

pub const DELEX: Command = Command {
    name: "DELEX",
    op: "string.delex",
    since: "8.4.0",
    summary: "Removes a key when the string that it holds meets a condition.",
    complexity: "O(1), O(N) for the digest of N bytes",
    returns: REMOVED,
    flags: Flags::FAST,
    ..STRING.write::<DelEx>()
};

#[derive(Args)]
pub struct DelIfEq<'a> {
    /// Key to remove.
    #[arg(access = "RM access delete")]
    key: Key<'a>,
    /// The string that it must hold.
    value: Word<'a>,
}

impl WriteCommand for DelIfEq<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let met = cx.string(&self.key)?.is_some_and(|content| content.is(self.value));
        remove_if(cx, &self.key, met, reply);
        Ok(())
    }
}

pub const DELIFEQ: Command = Command {
    name: "DELIFEQ",
    op: "string.delifeq",
    since: "9.0.0",
    summary: "Removes a key when it holds this string.",
    returns: REMOVED,
    ..STRING.write::<DelIfEq>()
};

#[derive(Args)]
pub struct Digest<'a> {
    /// String to read.
    key: Key<'a>,
}

impl ReadCommand for Digest<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.string(&self.key)? {
            Some(content) => reply.text(&digest(content)),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const DIGEST: Command = Command {
    name: "DIGEST",
    op: "string.digest",
    since: "8.4.0",
    summary: "Returns a digest of a string, for IFDEQ and IFDNE.",
    complexity: "O(N) for N bytes",
    returns: Shape::optional(&Shape::text("digest", "XXH3 as 16 hexadecimal digits; null when there is no such key.")),
    flags: Flags::FAST,
    ..STRING.read::<Digest>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn strings_are_stored_in_many_ways() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SETNX k 1 => 1
            SETNX k 2 => 0
            SETEX k 10 v => OK
            TTL k => 10
            PSETEX k 1500 w => OK
            PTTL k => 1500
            SETEX k 0 v => -ERR invalid expire time in 'setex' command
            PSETEX k -1 v => -ERR invalid expire time in 'psetex' command
            SETEX k 9223372036854775807 v => -ERR invalid expire time in 'setex' command
            GETSET k new => "w"
            TTL k => -1
            GETDEL k => "new"
            GETDEL k => nil
            MSETNX a 1 b 2 => 1
            MSETNX c 3 a 4 => 0
            MGET a b c => ["1", "2", nil]
            MSETNX a 1 b => -ERR wrong number of arguments for 'msetnx' command
            RPUSH list a => 1
            GETSET list x => -WRONGTYPE Operation against a key holding the wrong kind of value
            GETDEL list => -WRONGTYPE Operation against a key holding the wrong kind of value
            GETEX list => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn getex_changes_the_time_to_live() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET k v => OK
            GETEX k => "v"
            GETEX k EX 10 => "v"
            TTL k => 10
            GETEX k PERSIST => "v"
            TTL k => -1
            GETEX k PERSIST => "v"
            GETEX k PXAT 1700000009000 => "v"
            PTTL k => 9000
            GETEX k EXAT 1 => "v"
            EXISTS k => 0
            GETEX k EX 0 => nil
            SET k v => OK
            GETEX k EX 0 => -ERR invalid expire time in 'getex' command
            GETEX k EX 10 PX 10 => -ERR syntax error
            GETEX k KEEPTTL => -ERR syntax error
            "#,
        );
        let expected =
            ["SET k v", "PEXPIREAT k 1700000010000", "PERSIST k", "PEXPIREAT k 1700000009000", "DEL k", "SET k v"];
        assert_eq!(test.logged(), expected);
    }

    #[test]
    fn conditions_on_what_is_there() {
        let mut test = TestEngine::default();
        // The digest of `hello`, by the reference implementation of XXH3.
        test.check(
            r#"
            SET k hello => OK
            DIGEST k => "9555e8555c62dcfd"
            SET k v IFEQ other => nil
            SET k v IFDEQ 9555E8555C62DCFD GET => "hello"
            SET k w IFNE v => nil
            SET k w IFDNE 9555e8555c62dcfd => OK
            SET k x IFDEQ 955 => -ERR IFDEQ/IFDNE digest must be exactly 16 hexadecimal characters
            SET none x IFDEQ 955 => nil
            SET none x IFEQ x => nil
            SET none x IFNE x => OK
            DIGEST gone => nil
            DELEX k IFEQ other => 0
            DELEX k IFNE w => 0
            DELEX gone IFNE w => 0
            DELEX k IFEQ w => 1
            DELIFEQ none y => 0
            DELIFEQ none x => 1
            DELIFEQ none x => 0
            SET foo v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd => OK
            DIGEST foo => "00006c38adf31777"
            DELEX foo IFDEQ 00006c38adf31777 => 1
            RPUSH list a => 1
            DELEX list IFEQ a => -ERR Key should be of string type if conditions are specified
            DELIFEQ list a => -WRONGTYPE Operation against a key holding the wrong kind of value
            DIGEST list => -WRONGTYPE Operation against a key holding the wrong kind of value
            SET list x IFNE a => -WRONGTYPE Operation against a key holding the wrong kind of value
            DELEX list FOO a => -ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
            DELEX list IFEQ => -ERR wrong number of arguments for 'delex' command
            DELEX list IFEQ a b => -ERR wrong number of arguments for 'delex' command
            DELEX list => 1
            "#,
        );
        let log = test.logged();
        assert!(
            log.iter().all(|call| call.starts_with("SET ") || call.starts_with("DEL ") || call.starts_with("RPUSH ")),
            "{log:?}"
        );
    }

    #[test]
    fn several_with_one_time_to_live() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            MSETEX 2 a 1 b 2 EX 10 => 1
            TTL b => 10
            MSETEX 2 c 1 a 2 NX => 0
            MSETEX 2 c 1 a 2 XX => 0
            EXISTS c => 0
            MSETEX 1 a 3 KEEPTTL XX => 1
            TTL a => 10
            MSETEX 1 a 4 => 1
            TTL a => -1
            MSETEX 2 a 1 b 2 PXAT 1 => 1
            EXISTS a b => 0
            MSETEX x a 1 => -ERR invalid numkeys value
            MSETEX 0 a 1 => -ERR invalid numkeys value
            MSETEX 2 a 1 b => -ERR wrong number of key-value pairs
            MSETEX 1 a 1 what => -ERR syntax error
            MSETEX 1 a 1 NX XX => -ERR syntax error
            MSETEX 1 a 1 EX 10 PX 10 => -ERR syntax error
            MSETEX 1 a 1 EX 0 => -ERR invalid expire time in 'msetex' command
            "#,
        );
        let expected = [
            "MULTI",
            "SET a 1 PXAT 1700000010000",
            "SET b 2 PXAT 1700000010000",
            "EXEC",
            "SET a 3 KEEPTTL",
            "SET a 4",
            "MULTI",
            "DEL a",
            "DEL b",
            "EXEC",
        ];
        assert_eq!(test.logged(), expected);
    }
}
