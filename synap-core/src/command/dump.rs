//! DUMP and RESTORE: a value as bytes that Redis and Valkey take, and theirs taken here.

use super::deadline::{self, Unit};
use super::generic::KEYS;
use super::prelude::*;
use crate::execute::State;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::access;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::shard_of;
use crate::keyspace::value::Value;
use crate::snapshot::{self, Flavour, RestoreError};
use crate::types::{Limits, parse_int};

pub const COMMANDS: &[Command] = &[DUMP, RESTORE];

#[derive(Args)]
pub struct Dump<'a> {
    /// Key to read.
    key: Key<'a>,
}

impl WalkCommand for Dump<'_> {
    /// It looks at one shard, and holds it only to freeze the value: making bytes of it takes as long as it is large.
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let value = cx.with_shard(shard_of(self.key.hash), |cx| {
            cx.get(&self.key).filter(|entry| cx.is_visible(entry)).map(Entry::freeze)
        });
        match value {
            Some(value) => reply.bulk(&snapshot::dump(value.view(), Flavour::Redis72)),
            None => reply.null(),
        }
        Ok(())
    }
}

pub const DUMP: Command = Command {
    name: "DUMP",
    op: "key.dump",
    since: "2.6.0",
    summary: "Returns a value as bytes from which RESTORE makes it again, here or in any Redis or Valkey from 7.0 on.",
    complexity: "O(N) for N bytes",
    returns: Shape::optional(&Shape::bytes("payload", "Null when there is no such key.")),
    ..KEYS.walk::<Dump>()
};

/// A number that Redis refuses in words of its own when it is out of bounds.
macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $name:ident($max:expr), $refusal:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name(i64);

        impl<'a> Arg<'a> for $name {
            const KIND: ArgKind = ArgKind::Int { min: 0, max: $max };
            fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
                let value = parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
                if (0..=$max).contains(&value) { Ok($name(value)) } else { Err(Error::err($refusal)) }
            }
        }
    )*};
}

numbers! {
    /// Milliseconds.
    TimeToLive(i64::MAX), "Invalid TTL value, must be >= 0";
    /// Seconds.
    IdleTime(i64::MAX), "Invalid IDLETIME value, must be >= 0";
    Frequency(255), "Invalid FREQ value, must be >= 0 and <= 255";
}

/// What DUMP answered.
pub struct Payload<'a> {
    bytes: &'a [u8],
    value: Option<Result<Value, RestoreError>>,
}

impl<'a> Arg<'a> for Payload<'a> {
    const KIND: ArgKind = ArgKind::Bytes;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        Ok(Payload { bytes: parser.word()?, value: None })
    }
}

impl Payload<'_> {
    fn prepare(&mut self, limits: &Limits) {
        self.value = Some(snapshot::restore(self.bytes, limits));
    }

    fn take(&mut self, limits: &Limits) -> Result<Value> {
        let value = self.value.take().unwrap_or_else(|| snapshot::restore(self.bytes, limits));
        value.map_err(|error| match error {
            RestoreError::Footer => Error::err("DUMP payload version or checksum are wrong"),
            RestoreError::Content(_) => Error::err("Bad data format"),
        })
    }
}

/// How the key was used where it comes from.
#[derive(Args, Clone, Copy, Debug)]
pub enum Usage {
    /// Seconds since its last access.
    #[arg(token = "IDLETIME")]
    IdleTime(IdleTime),
    /// How often it is accessed, as OBJECT FREQ tells it.
    #[arg(token = "FREQ")]
    Frequency(Frequency),
}

impl Usage {
    fn known(self) -> access::Usage {
        match self {
            Usage::IdleTime(IdleTime(idle_s)) => access::Usage { idle_s: u64::try_from(idle_s).ok(), frequency: None },
            Usage::Frequency(Frequency(frequency)) => {
                access::Usage { idle_s: None, frequency: u8::try_from(frequency).ok() }
            }
        }
    }
}

#[derive(Args)]
#[args(any_order)]
pub struct RestoreOptions {
    /// Replaces what the key holds.
    #[arg(token = "REPLACE")]
    replace: bool,
    /// The time to live is a point in time.
    #[arg(token = "ABSTTL")]
    absttl: bool,
    usage: Option<Usage>,
}

#[derive(Args)]
pub struct Restore<'a> {
    /// Key to write.
    #[arg(access = "OW update")]
    key: Key<'a>,
    /// Milliseconds, or Unix time in milliseconds with ABSTTL; 0 is for ever.
    ttl: TimeToLive,
    /// What DUMP answered, here or elsewhere.
    serialized_value: Payload<'a>,
    options: RestoreOptions,
}

impl WriteCommand for Restore<'_> {
    fn prepare(&mut self, state: &State) {
        self.serialized_value.prepare(state.settings.limits());
    }

    fn run(mut self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !self.options.replace && cx.exists(&self.key) {
            return Err(Error::new(Code::BusyKey, "Target key name already exists."));
        }
        let deadline_ms = self.deadline(cx.now_ms())?;
        let value = self.serialized_value.take(cx.limits())?;
        if deadline_ms.is_some_and(|deadline_ms| cx.is_over(deadline_ms)) {
            if cx.remove(&self.key) {
                cx.log_instead(&[b"DEL", self.key.bytes]);
            }
        } else {
            let entry = Entry::new(self.key.bytes, value).until(deadline_ms);
            cx.access().bring_in(&entry, self.options.usage.map(Usage::known).unwrap_or_default());
            cx.put(&self.key, entry, Event::generic("restore"));
            self.log(cx, deadline_ms);
        }
        reply.ok();
        Ok(())
    }
}

impl Restore<'_> {
    fn deadline(&self, now_ms: i64) -> Result<Option<i64>> {
        let unit = if self.options.absttl { Unit::AtMillis } else { Unit::Millis };
        match self.ttl.0 {
            0 => Ok(None),
            ttl => deadline::at(ttl, unit, now_ms, false, "restore").map(Some),
        }
    }

    /// The same call with a point in time instead of a time to live.
    fn log(&self, cx: &mut WriteCx<'_>, deadline_ms: Option<i64>) {
        let (Some(deadline_ms), false) = (deadline_ms, self.options.absttl) else { return };
        let [mut for_deadline, mut for_usage] = [itoa::Buffer::new(); 2];
        let deadline = for_deadline.format(deadline_ms).as_bytes();
        let mut words = vec![&b"RESTORE"[..], self.key.bytes, deadline, self.serialized_value.bytes, b"ABSTTL"];
        if self.options.replace {
            words.push(b"REPLACE");
        }
        match self.options.usage {
            Some(Usage::IdleTime(IdleTime(idle_s))) => {
                words.extend([&b"IDLETIME"[..], for_usage.format(idle_s).as_bytes()]);
            }
            Some(Usage::Frequency(Frequency(frequency))) => {
                words.extend([&b"FREQ"[..], for_usage.format(frequency).as_bytes()]);
            }
            None => {}
        }
        cx.log_instead(&words);
    }
}

pub const RESTORE: Command = Command {
    name: "RESTORE",
    op: "key.restore",
    since: "2.6.0",
    summary: "Makes a key of what DUMP answered, here or in any Redis or Valkey. All of it is checked first.",
    complexity: "O(N) for N bytes, O(N*log(N)) for sorted sets",
    returns: Shape::OK,
    flags: Flags::DENYOOM,
    categories: Category::DANGEROUS,
    ..KEYS.write::<Restore>()
};

#[cfg(test)]
mod tests {
    use crate::log::Position;
    use crate::testing::{DUMPED_HASH, DUMPED_LIST, START_MS, TestEngine, split};

    fn dump(test: &mut TestEngine, key: &str) -> Vec<u8> {
        split(&test.call(&format!("DUMP {key}"))).remove(0)
    }

    /// Bytes as a word for [`TestEngine::call`].
    fn quoted(bytes: &[u8]) -> String {
        format!("\"{}\"", bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>())
    }

    #[test]
    fn a_value_comes_back_with_its_deadline() {
        let mut test = TestEngine::prepared(1);
        for key in ["text", "number", "list", "set", "ints", "hash", "zset"] {
            let payload = quoted(&dump(&mut test, key));
            let encoding = test.call(&format!("OBJECT ENCODING {key}"));
            test.check(&format!(
                "
                RESTORE copy 0 {payload} => OK
                OBJECT ENCODING copy => {encoding}
                PTTL copy => -1
                RESTORE copy 0 {payload} => -BUSYKEY Target key name already exists.
                RESTORE copy 5000 {payload} REPLACE => OK
                PTTL copy => 5000
                RESTORE copy {} {payload} ABSTTL REPLACE FREQ 3 => OK
                PTTL copy => 7000
                RESTORE copy 9000 {payload} IDLETIME 5 REPLACE => OK
                PTTL copy => 9000
                RESTORE copy {} {payload} ABSTTL REPLACE => OK
                EXISTS copy => 0
                ",
                START_MS + 7000,
                START_MS - 1,
            ));
        }
    }

    #[test]
    fn a_key_is_used_as_it_was_where_it_comes_from() {
        let mut test = TestEngine::prepared(1);
        let payload = quoted(&dump(&mut test, "text"));
        test.check(&format!(
            "
            RESTORE copy 0 {payload} => OK
            OBJECT IDLETIME copy => 0
            RESTORE copy 0 {payload} REPLACE IDLETIME 70 => OK
            OBJECT IDLETIME copy => 70
            RESTORE copy 0 {payload} REPLACE FREQ 9 => OK
            OBJECT IDLETIME copy => 0
            CONFIG SET maxmemory-policy allkeys-lfu => OK
            RESTORE copy 0 {payload} REPLACE FREQ 9 => OK
            OBJECT FREQ copy => 9
            RESTORE copy 0 {payload} REPLACE IDLETIME 70 => OK
            OBJECT FREQ copy => 5
            DEBUG RELOAD => OK
            OBJECT FREQ copy => 5
            CONFIG SET maxmemory-policy allkeys-lru => OK
            RESTORE copy 0 {payload} REPLACE IDLETIME 70 => OK
            DEBUG RELOAD => OK
            OBJECT IDLETIME copy => 70
            "
        ));
    }

    /// They stand among the words of generated calls.
    #[test]
    fn the_payloads_of_generated_calls_are_what_dump_answers() {
        let mut test = TestEngine::new(1);
        for (calls, payload) in [
            (&["RPUSH k a 1"][..], DUMPED_LIST),
            (&["DEL k", "HSET k a 1 b 2", "HPEXPIREAT k 1700000010000 FIELDS 1 a"], DUMPED_HASH),
        ] {
            calls.iter().for_each(|call| drop(test.call(call)));
            assert_eq!(dump(&mut test, "k"), payload);
        }
    }

    #[test]
    fn deadlines_of_fields_come_back_and_are_kept() {
        let mut test = TestEngine::prepared(1);
        let payload = quoted(&dump(&mut test, "hash"));
        test.check(&format!(
            "
            RESTORE copy 0 {payload} => OK
            HTTL copy FIELDS 3 a b c => [-1, 100, -1]
            "
        ));
        test.clock.advance(100_001);
        test.check("HGETALL copy => {\"a\": \"1\", \"c\": \"3\"}");
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut test = TestEngine::prepared(1);
        let before = (test.dump(), test.engine.state().log.end());
        let empty_list = quoted(&{
            let mut bytes = b"\x01\x00\x0a\x00".to_vec();
            let sum = crate::snapshot::crc64::update(0, &bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
            bytes
        });
        test.check(&format!(
            "
            DUMP none => nil
            RESTORE text 0 anything => -BUSYKEY Target key name already exists.
            RESTORE none 0 anything => -ERR DUMP payload version or checksum are wrong
            RESTORE text 0 anything REPLACE => -ERR DUMP payload version or checksum are wrong
            RESTORE none 0 {empty_list} => -ERR Bad data format
            RESTORE none -1 anything => -ERR Invalid TTL value, must be >= 0
            RESTORE none x anything => -ERR value is not an integer or out of range
            RESTORE none 0 anything IDLETIME -1 => -ERR Invalid IDLETIME value, must be >= 0
            RESTORE none 0 anything FREQ 256 => -ERR Invalid FREQ value, must be >= 0 and <= 255
            RESTORE none 0 anything FREQ 2 IDLETIME 2 => -ERR syntax error
            RESTORE none 0 anything nonsense => -ERR syntax error
            "
        ));
        assert_eq!((test.dump(), test.engine.state().log.end()), before);
    }

    #[test]
    fn who_waits_for_a_list_is_served_from_a_restored_one() {
        let mut test = TestEngine::prepared(1);
        let payload = quoted(&dump(&mut test, "list"));
        test.check(&format!(
            "
            MULTI => OK
            DUMP list => QUEUED
            RESTORE copy 0 {payload} => QUEUED
            LPOP copy => QUEUED
            "
        ));
        let replies = test.call("EXEC");
        assert!(replies.ends_with("OK, \"a\"]"), "{replies}");
    }

    /// Time removes nothing while a log is replayed: what was over in the meantime may have been kept since.
    #[test]
    fn a_replay_keeps_what_the_log_does_not_remove() {
        let mut test = TestEngine::new(1);
        test.check(&format!(
            "
            RESTORE list 5000 {} => OK
            RESTORE hash 0 {} => OK
            SET text v PX 5000 => OK
            RPUSH other v => 1
            EXPIRE other 5 => 1
            HEXPIRE hash 5 FIELDS 1 b => [1]
            PERSIST list => 1
            PERSIST text => 1
            PERSIST other => 1
            HSET hash b 3 => 0
            ",
            quoted(DUMPED_LIST),
            quoted(DUMPED_HASH),
        ));
        let mut later = TestEngine::replaying(2);
        later.clock.advance(1_000_000);
        later.replay(&test.engine, Position { offset: test.engine.state().log.oldest(), db: None });
        assert_eq!(later.dump(), test.dump());
    }
}
