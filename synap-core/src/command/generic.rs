//! Commands for keys of any type.

use std::ops::ControlFlow;

use super::deadline::{self, Unit};
use super::prelude::*;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::SHARD_COUNT;
use crate::keyspace::value::ValueRef;

pub(super) const KEYS: Group = Group { name: "generic", op: "key", category: Category::KEYSPACE };

pub const COMMANDS: &[Command] = &[
    DEL,
    UNLINK,
    EXISTS,
    TOUCH,
    EXPIRE,
    PEXPIRE,
    EXPIREAT,
    PEXPIREAT,
    TTL,
    PTTL,
    EXPIRETIME,
    PEXPIRETIME,
    PERSIST,
    TYPE,
    RENAME,
    RENAMENX,
    COPY,
    MOVE,
    KEYS_COMMAND,
    RANDOMKEY,
    SCAN,
    OBJECT_ENCODING,
    OBJECT_REFCOUNT,
    OBJECT_IDLETIME,
    OBJECT_FREQ,
    super::help::row(KEYS, "OBJECT HELP", "key.objecthelp", "6.2.0"),
    DBSIZE,
];

#[derive(Args)]
pub struct Del<'a> {
    /// Keys to remove.
    #[arg(access = "RM delete")]
    keys: Many<'a, Key<'a>>,
}

impl WriteCommand for Del<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let removed = self.keys.iter().filter(|key| cx.remove(key)).count();
        reply.int(removed as i64);
        Ok(())
    }
}

pub const DEL: Command = Command {
    name: "DEL",
    op: "key.del",
    since: "1.0.0",
    summary: "Removes keys. Large values are freed in the background.",
    complexity: "O(N) for N keys",
    returns: Shape::int("removed", "Keys that were there."),
    ..KEYS.write::<Del>()
};

#[derive(Args)]
pub struct Unlink<'a>(Del<'a>);

impl WriteCommand for Unlink<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.run(cx, reply)
    }
}

pub const UNLINK: Command = Command {
    name: "UNLINK",
    op: "key.unlink",
    since: "4.0.0",
    summary: "Removes keys. Large values are freed in the background, as by DEL.",
    complexity: "O(N) for N keys",
    returns: Shape::int("removed", "Keys that were there."),
    flags: Flags::FAST,
    ..KEYS.write::<Unlink>()
};

#[derive(Args)]
pub struct Exists<'a> {
    /// Keys to look for; one named twice counts twice.
    #[arg(access = "RO")]
    keys: Many<'a, Key<'a>>,
}

impl ReadCommand for Exists<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(self.keys.iter().filter(|key| cx.exists(key)).count() as i64);
        Ok(())
    }
}

pub const EXISTS: Command = Command {
    name: "EXISTS",
    op: "key.exists",
    since: "1.0.0",
    summary: "Counts how many of the keys exist.",
    complexity: "O(N) for N keys",
    returns: Shape::int("count", "Keys that exist."),
    flags: Flags::FAST,
    ..KEYS.read::<Exists>()
};

#[derive(Args)]
pub struct Touch<'a> {
    /// Keys to use.
    #[arg(access = "RO")]
    keys: Many<'a, Key<'a>>,
}

impl ReadCommand for Touch<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        // An access even for a client that has asked for none to be noted.
        let touch = |key: &Key<'_>| cx.peek(key).map(|entry| cx.access().note(entry)).is_some();
        reply.int(self.keys.iter().filter(touch).count() as i64);
        Ok(())
    }
}

pub const TOUCH: Command = Command {
    name: "TOUCH",
    op: "key.touch",
    since: "3.2.1",
    summary: "Counts how many of the keys exist, and uses them: they are not idle any more.",
    complexity: "O(N) for N keys",
    returns: Shape::int("count", "Keys that exist."),
    flags: Flags::FAST,
    ..KEYS.read::<Touch>()
};

#[derive(Args)]
#[args(any_order, excess = ExpireOptions::unsupported)]
pub struct ExpireOptions {
    /// Only when the key has no time to live.
    #[arg(token = "NX")]
    nx: bool,
    /// Only when the key has a time to live.
    #[arg(token = "XX")]
    xx: bool,
    /// Only when the new one is later; no time to live counts as endless.
    #[arg(token = "GT")]
    gt: bool,
    /// Only when the new one is earlier; no time to live counts as endless.
    #[arg(token = "LT")]
    lt: bool,
}

impl ExpireOptions {
    fn unsupported(&self, rest: Words<'_>) -> Error {
        Error::fmt(format!("Unsupported option {}", Error::quote(rest[0])))
    }

    fn check(&self) -> Result<()> {
        if self.nx && (self.xx || self.gt || self.lt) {
            return Err(Error::err("NX and XX, GT or LT options at the same time are not compatible"));
        }
        if self.gt && self.lt {
            return Err(Error::err("GT and LT options at the same time are not compatible"));
        }
        Ok(())
    }

    fn are_met(&self, old_ms: Option<i64>, new_ms: i64) -> bool {
        !((self.nx && old_ms.is_some())
            || (self.xx && old_ms.is_none())
            || (self.gt && old_ms.is_none_or(|old| new_ms <= old))
            || (self.lt && old_ms.is_some_and(|old| new_ms >= old)))
    }
}

/// Sets a deadline when the options let it.
fn expire(cx: &mut WriteCx<'_>, key: &Key<'_>, at_ms: i64, options: &ExpireOptions, reply: &mut dyn Reply) {
    let old_ms = cx.get(key).map(Entry::expires_at);
    let is_set = old_ms.is_some_and(|old_ms| options.are_met(old_ms, at_ms));
    if is_set {
        deadline::set(cx, key, at_ms);
    }
    reply.int(is_set.into());
}

const WAS_SET: Shape = Shape::boolean("set", "False when there is no such key or a condition was not met.");

#[derive(Args)]
#[args(check = Expire::check)]
pub struct Expire<'a> {
    /// Key to give a time to live.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Seconds; none or less removes the key.
    seconds: i64,
    options: ExpireOptions,
}

impl Expire<'_> {
    fn check(&self) -> Result<()> {
        self.options.check()
    }
}

impl WriteCommand for Expire<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.seconds, Unit::Seconds, cx.now_ms(), false, "expire")?;
        expire(cx, &self.key, at_ms, &self.options, reply);
        Ok(())
    }
}

pub const EXPIRE: Command = Command {
    name: "EXPIRE",
    op: "key.expire",
    since: "1.0.0",
    summary: "Gives a key a time to live in seconds.",
    returns: WAS_SET,
    flags: Flags::FAST,
    ..KEYS.write::<Expire>()
};

#[derive(Args)]
#[args(check = PExpire::check)]
pub struct PExpire<'a> {
    /// Key to give a time to live.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Milliseconds; none or less removes the key.
    milliseconds: i64,
    options: ExpireOptions,
}

impl PExpire<'_> {
    fn check(&self) -> Result<()> {
        self.options.check()
    }
}

impl WriteCommand for PExpire<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.milliseconds, Unit::Millis, cx.now_ms(), false, "pexpire")?;
        expire(cx, &self.key, at_ms, &self.options, reply);
        Ok(())
    }
}

pub const PEXPIRE: Command = Command {
    name: "PEXPIRE",
    op: "key.pexpire",
    since: "2.6.0",
    summary: "Gives a key a time to live in milliseconds.",
    returns: WAS_SET,
    flags: Flags::FAST,
    ..KEYS.write::<PExpire>()
};

#[derive(Args)]
#[args(check = ExpireAt::check)]
pub struct ExpireAt<'a> {
    /// Key to give a point in time at which it goes.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Unix time in seconds; one that is past removes the key.
    unix_time_seconds: i64,
    options: ExpireOptions,
}

impl ExpireAt<'_> {
    fn check(&self) -> Result<()> {
        self.options.check()
    }
}

impl WriteCommand for ExpireAt<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.unix_time_seconds, Unit::AtSeconds, cx.now_ms(), false, "expireat")?;
        expire(cx, &self.key, at_ms, &self.options, reply);
        Ok(())
    }
}

pub const EXPIREAT: Command = Command {
    name: "EXPIREAT",
    op: "key.expireat",
    since: "1.2.0",
    summary: "Gives a key a point in time at which it goes, as Unix time in seconds.",
    returns: WAS_SET,
    flags: Flags::FAST.and(Flags::IDEMPOTENT),
    ..KEYS.write::<ExpireAt>()
};

#[derive(Args)]
#[args(check = PExpireAt::check)]
pub struct PExpireAt<'a> {
    /// Key to give a point in time at which it goes.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Unix time in milliseconds; one that is past removes the key.
    unix_time_milliseconds: i64,
    options: ExpireOptions,
}

impl PExpireAt<'_> {
    fn check(&self) -> Result<()> {
        self.options.check()
    }
}

impl WriteCommand for PExpireAt<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let at_ms = deadline::at(self.unix_time_milliseconds, Unit::AtMillis, cx.now_ms(), false, "pexpireat")?;
        expire(cx, &self.key, at_ms, &self.options, reply);
        Ok(())
    }
}

pub const PEXPIREAT: Command = Command {
    name: "PEXPIREAT",
    op: "key.pexpireat",
    since: "2.6.0",
    summary: "Gives a key a point in time at which it goes, as Unix time in milliseconds.",
    returns: WAS_SET,
    flags: Flags::FAST.and(Flags::IDEMPOTENT),
    ..KEYS.write::<PExpireAt>()
};

#[derive(Args)]
pub struct Ttl<'a> {
    /// Key to ask for.
    key: Key<'a>,
}

/// Milliseconds; -1 without a deadline, -2 without a key. Asking is no access.
fn deadline_or(cx: &ReadCx<'_>, key: &Key<'_>, tell: impl FnOnce(i64) -> i64) -> i64 {
    match cx.peek(key).map(Entry::expires_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => tell(at_ms).max(0),
    }
}

/// To the nearest second, as Redis does.
fn to_seconds(ms: i64) -> i64 {
    if ms < 0 { ms } else { ms.saturating_add(500) / 1000 }
}

impl Ttl<'_> {
    fn millis(&self, cx: &ReadCx<'_>) -> i64 {
        deadline_or(cx, &self.key, |at_ms| at_ms.saturating_sub(cx.now_ms()))
    }

    fn deadline_ms(&self, cx: &ReadCx<'_>) -> i64 {
        deadline_or(cx, &self.key, |at_ms| at_ms)
    }
}

impl ReadCommand for Ttl<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(to_seconds(self.millis(cx)));
        Ok(())
    }
}

pub const TTL: Command = Command {
    name: "TTL",
    op: "key.ttl",
    since: "1.0.0",
    summary: "Returns how many seconds a key has to live.",
    returns: Shape::int("seconds", "-1 when it has no time to live, -2 when there is no such key."),
    flags: Flags::FAST,
    ..KEYS.read::<Ttl>()
};

#[derive(Args)]
pub struct PTtl<'a>(Ttl<'a>);

impl ReadCommand for PTtl<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(self.0.millis(cx));
        Ok(())
    }
}

pub const PTTL: Command = Command {
    name: "PTTL",
    op: "key.pttl",
    since: "2.6.0",
    summary: "Returns how many milliseconds a key has to live.",
    returns: Shape::int("milliseconds", "-1 when it has no time to live, -2 when there is no such key."),
    flags: Flags::FAST,
    ..KEYS.read::<PTtl>()
};

#[derive(Args)]
pub struct ExpireTime<'a>(Ttl<'a>);

impl ReadCommand for ExpireTime<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(to_seconds(self.0.deadline_ms(cx)));
        Ok(())
    }
}

pub const EXPIRETIME: Command = Command {
    name: "EXPIRETIME",
    op: "key.expiretime",
    since: "7.0.0",
    summary: "Returns when a key goes, as Unix time in seconds.",
    returns: Shape::int("unix_time_seconds", "-1 when it has no time to live, -2 when there is no such key."),
    flags: Flags::FAST,
    ..KEYS.read::<ExpireTime>()
};

#[derive(Args)]
pub struct PExpireTime<'a>(Ttl<'a>);

impl ReadCommand for PExpireTime<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(self.0.deadline_ms(cx));
        Ok(())
    }
}

pub const PEXPIRETIME: Command = Command {
    name: "PEXPIRETIME",
    op: "key.pexpiretime",
    since: "7.0.0",
    summary: "Returns when a key goes, as Unix time in milliseconds.",
    returns: Shape::int("unix_time_milliseconds", "-1 when it has no time to live, -2 when there is no such key."),
    flags: Flags::FAST,
    ..KEYS.read::<PExpireTime>()
};

#[derive(Args)]
pub struct Persist<'a> {
    /// Key to keep for ever.
    #[arg(access = "RW update")]
    key: Key<'a>,
}

impl WriteCommand for Persist<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let has_deadline = cx.get(&self.key).is_some_and(|entry| entry.expires_at().is_some());
        if has_deadline {
            cx.set_expiry(&self.key, None);
        }
        reply.int(has_deadline.into());
        Ok(())
    }
}

pub const PERSIST: Command = Command {
    name: "PERSIST",
    op: "key.persist",
    since: "2.2.0",
    summary: "Takes a key's time to live away.",
    returns: Shape::boolean("changed", "False when there is no such key or it had no time to live."),
    flags: Flags::FAST.and(Flags::IDEMPOTENT),
    ..KEYS.write::<Persist>()
};

#[derive(Args)]
pub struct Type<'a> {
    /// Key to ask for.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for Type<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.status(cx.kind(&self.key).map_or("none", |kind| kind.name()));
        Ok(())
    }
}

pub const TYPE: Command = Command {
    name: "TYPE",
    op: "key.type",
    since: "1.0.0",
    summary: "Returns the type of the value at a key.",
    returns: Shape::status("type", "string, list, set, zset, hash; none when there is no such key."),
    flags: Flags::FAST,
    ..KEYS.read::<Type>()
};

#[derive(Args)]
pub struct Rename<'a> {
    /// The old name.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// The new name; what it held is lost.
    #[arg(access = "OW update")]
    newkey: Key<'a>,
}

impl WriteCommand for Rename<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !cx.exists(&self.key) {
            return Err(Error::NO_SUCH_KEY);
        }
        if self.key.bytes != self.newkey.bytes {
            rename(cx, &self.key, &self.newkey);
        }
        reply.ok();
        Ok(())
    }
}

/// Moves what is at one key to another, which loses what it has.
fn rename(cx: &mut WriteCx<'_>, key: &Key<'_>, newkey: &Key<'_>) {
    if let Some(entry) = cx.take(key) {
        cx.put(newkey, entry.rekey(newkey.bytes), Event::NONE);
        cx.notify(Event::generic("rename_from"), key);
        cx.notify(Event::generic("rename_to"), newkey);
    }
}

pub const RENAME: Command = Command {
    name: "RENAME",
    op: "key.rename",
    since: "1.0.0",
    summary: "Gives a key another name, with its value and its time to live.",
    returns: Shape::OK,
    ..KEYS.write::<Rename>()
};

#[derive(Args)]
pub struct RenameNx<'a> {
    /// The old name.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// The new name, which must be free.
    #[arg(access = "OW insert")]
    newkey: Key<'a>,
}

impl WriteCommand for RenameNx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !cx.exists(&self.key) {
            return Err(Error::NO_SUCH_KEY);
        }
        let is_free = !cx.exists(&self.newkey);
        if is_free {
            rename(cx, &self.key, &self.newkey);
        }
        reply.int(is_free.into());
        Ok(())
    }
}

pub const RENAMENX: Command = Command {
    name: "RENAMENX",
    op: "key.renamenx",
    since: "1.0.0",
    summary: "Gives a key another name that is free, with its value and its time to live.",
    returns: Shape::boolean("renamed", "False when the new name is taken."),
    flags: Flags::FAST,
    ..KEYS.write::<RenameNx>()
};

const SAME_OBJECT: Error = Error::err("source and destination objects are the same");

#[derive(Args)]
#[args(any_order)]
pub struct CopyOptions {
    /// The database to copy to; the selected one when left out.
    #[arg(token = "DB")]
    db: Option<Database>,
    /// Replaces what the destination holds.
    #[arg(token = "REPLACE")]
    replace: bool,
}

#[derive(Args)]
pub struct Copy<'a> {
    /// Key to copy.
    #[arg(access = "RO access")]
    source: Key<'a>,
    /// Key to copy to.
    #[arg(access = "OW update")]
    destination: Key<'a>,
    options: CopyOptions,
}

impl WriteCommand for Copy<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let db = match self.options.db {
            Some(db) => super::database(cx.state(), db)?,
            None => cx.db(),
        };
        if db == cx.db() && self.source.bytes == self.destination.bytes {
            return Err(SAME_OBJECT);
        }
        cx.meet_in(db, &self.destination);
        let Some(copy) = cx.get(&self.source).map(|entry| entry.copy_as(self.destination.bytes)) else {
            reply.int(0);
            return Ok(());
        };
        copy.set_access(cx.access().fresh());
        let copied = cx.in_db(db, |cx| {
            if cx.exists(&self.destination) && !self.options.replace {
                return false;
            }
            cx.put(&self.destination, copy, Event::generic("copy_to"));
            true
        });
        reply.int(copied.into());
        Ok(())
    }
}

pub const COPY: Command = Command {
    name: "COPY",
    op: "key.copy",
    since: "6.2.0",
    summary: "Copies a value with its time to live to another key. Large values share their content until one changes.",
    returns: Shape::boolean("copied", "False when there is no such key or the destination exists."),
    flags: Flags::DENYOOM,
    ..KEYS.write::<Copy>()
};

#[derive(Args)]
pub struct Move<'a> {
    /// Key to move.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// The database to move it to.
    db: Database,
}

impl WriteCommand for Move<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let db = super::database(cx.state(), self.db)?;
        if db == cx.db() {
            return Err(SAME_OBJECT);
        }
        cx.meet_in(db, &self.key);
        let is_free = cx.in_db(db, |cx| !cx.exists(&self.key));
        let moved = is_free && cx.exists(&self.key);
        if moved && let Some(entry) = cx.take(&self.key) {
            cx.in_db(db, |cx| cx.put(&self.key, entry, Event::NONE));
            cx.notify(Event::generic("move_from"), &self.key);
            cx.in_db(db, |cx| cx.notify(Event::generic("move_to"), &self.key));
        }
        reply.int(moved.into());
        Ok(())
    }
}

pub const MOVE: Command = Command {
    name: "MOVE",
    op: "key.move",
    since: "1.0.0",
    summary: "Moves a key to another database, with its value and its time to live.",
    returns: Shape::boolean("moved", "False when there is no such key or the other database has one of its name."),
    flags: Flags::FAST,
    ..KEYS.write::<Move>()
};

#[derive(Args)]
pub struct KeysOf<'a> {
    /// Which names.
    pattern: Pattern<'a>,
}

impl WalkCommand for KeysOf<'_> {
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Pattern(pattern) = self.pattern;
        let all = pattern == b"*";
        let mut found: Vec<Box<[u8]>> = Vec::new();
        cx.each(0, cx.db(), |_, cx, db| {
            let names = db.table().iter().filter(|entry| all || crate::glob::matches(pattern, entry.key()));
            found.extend(names.filter(|entry| cx.is_visible(entry)).map(|entry| Box::from(entry.key())));
            ControlFlow::<()>::Continue(())
        });
        reply.array(found.len());
        found.iter().for_each(|key| reply.bulk(key));
        Ok(())
    }
}

pub const KEYS_COMMAND: Command = Command {
    name: "KEYS",
    op: "key.keys",
    since: "1.0.0",
    summary: "Returns the names of all keys that match. SCAN does it a few at a time.",
    complexity: "O(N) for N keys",
    returns: Shape::array("keys", "In no order.", &Shape::BYTES),
    flags: Flags::DANGEROUS,
    ..KEYS.walk::<KeysOf>()
};

#[derive(Args)]
pub struct RandomKey;

/// Keys that are looked at when those that chance has found are due.
const RANDOM_TRIES: usize = 100;

impl WalkCommand for RandomKey {
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        for _ in 0..RANDOM_TRIES {
            if let Some(key) = random_key(cx) {
                reply.bulk(&key);
                return Ok(());
            }
        }
        reply.null();
        Ok(())
    }
}

/// A key by chance, each with the same probability; `None` when it is due, or there is none.
fn random_key(cx: &WalkCx<'_>) -> Option<Vec<u8>> {
    let mut counts = [0; SHARD_COUNT];
    cx.each(0, cx.db(), |shard, _, db| {
        counts[shard] = db.len() as u64;
        ControlFlow::<()>::Continue(())
    });
    let mut index = cx.state().random().checked_rem(counts.iter().sum())?;
    let shard = counts.iter().position(|count| {
        let is_here = index < *count;
        index = index.saturating_sub(*count);
        is_here
    })?;
    cx.with_shard(shard, |own| {
        let (_, db) = own.dbs(cx.db()).find(|(index, _)| *index == shard)?;
        let entry = db.table().random(cx.state().random())?;
        own.is_visible(entry).then(|| entry.key().to_vec())
    })
}

pub const RANDOMKEY: Command = Command {
    name: "RANDOMKEY",
    op: "key.random",
    since: "1.0.0",
    summary: "Returns the name of a key by chance.",
    returns: Shape::optional(&Shape::bytes("key", "Null when there is none.")),
    ..KEYS.walk::<RandomKey>()
};

#[derive(Args)]
#[args(any_order)]
pub struct ScanOptions<'a> {
    /// Only keys that match.
    #[arg(token = "MATCH")]
    r#match: Option<Pattern<'a>>,
    /// About how many keys to look at; 10 when left out.
    #[arg(token = "COUNT")]
    count: Option<Effort>,
    /// Only keys of this type.
    #[arg(token = "TYPE")]
    r#type: Option<Word<'a>>,
}

#[derive(Args)]
pub struct Scan<'a> {
    /// 0 to begin, then what the last call answered.
    cursor: Cursor,
    options: ScanOptions<'a>,
}

/// Looks at one call's buckets at most, so that many empty ones do not hold a call for long.
const SCAN_STEPS_PER_KEY: u64 = 10;

impl WalkCommand for Scan<'_> {
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        // The cursor: which shard in the low bits, where in its table above them.
        let (mut shard, mut inner) = (self.cursor.0 as usize % SHARD_COUNT, self.cursor.0 / SHARD_COUNT as u64);
        let wanted = self.options.count.map_or(10, |Effort(count)| count);
        let mut steps = wanted.saturating_mul(SCAN_STEPS_PER_KEY).max(SHARD_COUNT as u64);
        let mut seen = 0;
        let mut found: Vec<Vec<u8>> = Vec::new();
        let db = cx.db();
        while shard < SHARD_COUNT && seen < wanted && steps > 0 {
            inner = cx.with_shard(shard, |cx| {
                let Some((_, db)) = cx.dbs(db).find(|(index, _)| *index == shard) else { return 0 };
                loop {
                    inner = db.table().scan(inner, |entry| {
                        seen += 1;
                        if cx.is_visible(entry) && self.options.take(entry) {
                            found.push(entry.key().to_vec());
                        }
                    });
                    steps = steps.saturating_sub(1);
                    if inner == 0 || seen >= wanted || steps == 0 {
                        return inner;
                    }
                }
            });
            if inner == 0 {
                shard += 1;
            }
        }
        let cursor = if shard == SHARD_COUNT { 0 } else { inner * SHARD_COUNT as u64 + shard as u64 };
        reply.array(2);
        reply.bulk_int(cursor as i64);
        reply.array(found.len());
        found.iter().for_each(|key| reply.bulk(key));
        Ok(())
    }
}

impl ScanOptions<'_> {
    fn take(&self, entry: &Entry) -> bool {
        self.r#match.is_none_or(|Pattern(pattern)| crate::glob::matches(pattern, entry.key()))
            && self.r#type.is_none_or(|name| entry.kind().name().as_bytes().eq_ignore_ascii_case(name))
    }
}

pub const SCAN: Command = Command {
    name: "SCAN",
    op: "key.scan",
    since: "2.8.0",
    summary: "Goes through all keys, a few at each call. A key that is there all the time is answered at least once.",
    complexity: "O(1) for every call, O(N) for a whole iteration",
    returns: Shape::tuple(
        "",
        "",
        &[
            Shape::cursor("cursor", "For the next call; 0 when all was seen."),
            Shape::array("keys", "Names of keys; there may be none before the end.", &Shape::BYTES),
        ],
    ),
    ..KEYS.walk::<Scan>()
};

#[derive(Args)]
pub struct ObjectEncoding<'a> {
    /// Key to ask for.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for ObjectEncoding<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.peek(&self.key) {
            Some(entry) => reply.text(match entry.value() {
                ValueRef::String(_) => entry.string_encoding().unwrap_or("raw"),
                ValueRef::List(list) => list.encoding(),
                ValueRef::Set(set) => set.encoding(),
                ValueRef::Hash(hash) => hash.encoding(),
                ValueRef::ZSet(zset) => zset.encoding(),
            }),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const OBJECT_ENCODING: Command = Command {
    name: "OBJECT ENCODING",
    op: "key.encoding",
    since: "2.2.3",
    summary: "Returns how a value is held in memory, in Redis' names.",
    returns: Shape::optional(&Shape::text("encoding", "Null when there is no such key.")),
    ..KEYS.read::<ObjectEncoding>()
};

#[derive(Args)]
pub struct ObjectRefCount<'a>(ObjectEncoding<'a>);

impl ReadCommand for ObjectRefCount<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        match cx.peek(&self.0.key) {
            // Values are not shared between keys.
            Some(_) => reply.int(1),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const OBJECT_REFCOUNT: Command = Command {
    name: "OBJECT REFCOUNT",
    op: "key.refcount",
    since: "2.2.3",
    summary: "Returns how many references a value has, which is 1.",
    returns: Shape::optional(&Shape::int("count", "Null when there is no such key.")),
    ..KEYS.read::<ObjectRefCount>()
};

#[derive(Args)]
pub struct ObjectIdleTime<'a>(ObjectEncoding<'a>);

impl ReadCommand for ObjectIdleTime<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const NOT_TRACKED: Error = Error::err(
            "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
             policies at runtime LRU and LFU data will take some time to adjust.",
        );
        let Some(entry) = cx.peek(&self.0.key) else {
            reply.null();
            return Ok(());
        };
        reply.int(cx.access().idle_seconds(entry).ok_or(NOT_TRACKED)?.into());
        Ok(())
    }
}

pub const OBJECT_IDLETIME: Command = Command {
    name: "OBJECT IDLETIME",
    op: "key.idletime",
    since: "2.2.3",
    summary: "Returns how many seconds ago a key was used last, unless the policy of evictions counts how often.",
    returns: Shape::optional(&Shape::int("seconds", "Null when there is no such key.")),
    ..KEYS.read::<ObjectIdleTime>()
};

#[derive(Args)]
pub struct ObjectFreq<'a>(ObjectEncoding<'a>);

impl ReadCommand for ObjectFreq<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const NOT_TRACKED: Error = Error::err(
            "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        );
        let Some(entry) = cx.peek(&self.0.key) else {
            reply.null();
            return Ok(());
        };
        reply.int(cx.access().frequency(entry).ok_or(NOT_TRACKED)?.into());
        Ok(())
    }
}

pub const OBJECT_FREQ: Command = Command {
    name: "OBJECT FREQ",
    op: "key.freq",
    since: "4.0.0",
    summary: "Returns a counter of how often a key is used, when the policy of evictions goes by that.",
    returns: Shape::optional(&Shape::int(
        "counter",
        "From 0 to 255, of the logarithm; null when there is no such key.",
    )),
    ..KEYS.read::<ObjectFreq>()
};

#[derive(Args)]
pub struct DbSize;

impl WalkCommand for DbSize {
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut count = 0;
        cx.each(0, cx.db(), |_, _, db| {
            count += db.len();
            ControlFlow::<()>::Continue(())
        });
        reply.int(count as i64);
        Ok(())
    }
}

pub const DBSIZE: Command = Command {
    name: "DBSIZE",
    op: "key.count",
    since: "1.0.0",
    summary: "Counts the keys of the selected database.",
    returns: Shape::int("count", "Keys, those included whose time is over and that nobody has met yet."),
    flags: Flags::FAST,
    ..KEYS.walk::<DbSize>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn deadlines_are_set_and_told_in_all_units() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET k v => OK
            PEXPIRE k 1500 => 1
            PTTL k => 1500
            EXPIREAT k 1700000020 => 1
            EXPIRETIME k => 1700000020
            PEXPIRETIME k => 1700000020000
            PEXPIRE k 1000 GT => 0
            EXPIREAT k 1700000010 LT => 1
            PEXPIREAT k 1700000030000 NX => 0
            PEXPIRE k 1 XX LT => 1
            PERSIST k => 1
            EXPIRETIME k => -1
            PEXPIRETIME none => -2
            PEXPIRE k 9223372036854775807 => -ERR invalid expire time in 'pexpire' command
            EXPIREAT k 9223372036854775807 => -ERR invalid expire time in 'expireat' command
            PEXPIRE k 10 NX XX => -ERR NX and XX, GT or LT options at the same time are not compatible
            PEXPIRE k -1 => 1
            EXISTS k => 0
            "#,
        );
    }

    #[test]
    fn keys_are_moved_renamed_and_listed() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            RANDOMKEY => nil
            SET a 1 PXAT 1700000010000 => OK
            RANDOMKEY => "a"
            KEYS * => ["a"]
            KEYS b* => []
            MOVE a 1 => 1
            MOVE a 1 => 0
            SELECT 1 => OK
            PEXPIRETIME a => 1700000010000
            MOVE a 1 => -ERR source and destination objects are the same
            MOVE a 99 => -ERR DB index is out of range
            SET b 2 => OK
            RENAMENX a b => 0
            RENAMENX a c => 1
            RENAMENX none c => -ERR no such key
            RENAMENX c c => 0
            TOUCH b c d => 2
            UNLINK b c d => 2
            OBJECT REFCOUNT b => nil
            OBJECT FREQ b => nil
            "#,
        );
    }

    #[test]
    fn idle_time_begins_with_every_use() {
        let mut test = TestEngine::default();
        test.check("SET k v => OK\n OBJECT IDLETIME k => 0\n RPUSH list a => 1\n SET other v => OK");
        test.clock.advance(10_000);
        test.check("TYPE k => string\n TTL k => -1\n EXISTS k => 1\n OBJECT ENCODING k => \"embstr\"");
        test.check("OBJECT IDLETIME k => 10\n OBJECT IDLETIME list => 10\n GET k => \"v\"\n OBJECT IDLETIME k => 0");
        test.check("LRANGE list 0 0 => [\"a\"]\n OBJECT IDLETIME list => 0\n RENAME other moved => OK");
        test.check("OBJECT IDLETIME moved => 10\n COPY moved copied => 1\n OBJECT IDLETIME copied => 0");
        test.clock.advance(5_000);
        test.check(
            "CLIENT NO-TOUCH ON => OK\n GET k => \"v\"\n APPEND k w => 2\n OBJECT IDLETIME k => 5\n SET new v => OK",
        );
        test.check("OBJECT IDLETIME new => 0\n TOUCH k => 1\n OBJECT IDLETIME k => 0");
    }

    #[test]
    fn frequency_is_counted_under_its_policies_only() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET k v => OK
            OBJECT FREQ k => -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0 => OK
            OBJECT IDLETIME k => -ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            SET counted v => OK
            OBJECT FREQ counted => 5
            GET counted => "v"
            GET counted => "v"
            OBJECT FREQ counted => 7
            CONFIG SET maxmemory-policy sometimes => -ERR CONFIG SET failed (possibly related to argument 'maxmemory-policy') - argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction
            CONFIG GET maxmemory-policy => {"maxmemory-policy": "allkeys-lfu"}
            "#,
        );
        test.clock.advance(3 * 60_000);
        test.check("OBJECT FREQ counted => 4");
    }
}
