//! MEMORY: where the memory is.

use std::fmt::Write;

use super::info::human;
use super::prelude::*;
use crate::execute::figures::{self, Memory};
use crate::execute::state::State;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::entry::Entry;
use crate::keyspace::value::ValueRef;

const MEMORY: Group = Group { name: "server", op: "memory", category: Category::NONE };

pub const COMMANDS: &[Command] = &[
    MEMORY_USAGE,
    MEMORY_STATS,
    MEMORY_DOCTOR,
    MEMORY_PURGE,
    MEMORY_MALLOC_STATS,
    super::help::row(MEMORY, "MEMORY HELP", "memory.help", "4.0.0"),
];

/// Chunks of a large value that are looked at when the caller does not say, and at the most.
const SAMPLES: u64 = 5;
const SAMPLES_MAX: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples(u64);

impl<'a> Arg<'a> for Samples {
    const KIND: ArgKind = ArgKind::Int { min: 0, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let value = crate::types::parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        u64::try_from(value).map(Samples).map_err(|_| Error::SYNTAX)
    }
}

#[derive(Args)]
#[args(any_order)]
pub struct UsageOptions {
    /// Chunks of a large value that are looked at, 0 for many; the others are taken to be like them.
    #[arg(token = "SAMPLES")]
    samples: Option<Samples>,
}

#[derive(Args)]
pub struct MemoryUsage<'a> {
    /// Key to weigh.
    #[arg(access = "RO")]
    key: Key<'a>,
    options: UsageOptions,
}

impl ReadCommand for MemoryUsage<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(entry) = cx.peek(&self.key) else {
            reply.null();
            return Ok(());
        };
        let samples = match self.options.samples.map_or(SAMPLES, |Samples(count)| count) {
            0 => SAMPLES_MAX,
            count => count.min(SAMPLES_MAX),
        };
        reply.int(bytes_of(entry, samples as usize) as i64);
        Ok(())
    }
}

/// What an entry takes: its slot in the table, its own allocation, what its value has elsewhere, and its deadline's
/// place in the timers.
fn bytes_of(entry: &Entry, samples: usize) -> usize {
    /// A pointer and a tag.
    const SLOT: usize = 9;
    /// A deadline with the hash of its key.
    const TIMER: usize = 16;
    let elsewhere = match entry.value() {
        ValueRef::String(_) => 0,
        ValueRef::List(list) => list.allocated_about(samples),
        ValueRef::Set(set) => set.allocated_about(samples),
        ValueRef::Hash(hash) => hash.allocated_about(samples),
        ValueRef::ZSet(zset) => zset.allocated_about(samples),
    };
    SLOT + entry.allocated_bytes() + elsewhere + if entry.expires_at().is_some() { TIMER } else { 0 }
}

pub const MEMORY_USAGE: Command = Command {
    name: "MEMORY USAGE",
    op: "memory.usage",
    since: "4.0.0",
    summary: "Tells how many bytes a key takes with its value.",
    complexity: "O(N) for N samples",
    returns: Shape::optional(&Shape::int("bytes", "Null when there is no such key.")),
    ..MEMORY.read::<MemoryUsage>()
};

#[derive(Args)]
pub struct MemoryStats;

impl SessionCommand for MemoryStats {
    const WALKS: bool = true;

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let databases = figures::databases(&cx.walk(), cx.now_ms());
        let memory = Memory::of(state, &cx.walk()).unwrap_or_default();
        let keys: usize = databases.iter().map(|db| db.keys).sum();
        let allocator = memory.allocator;
        let ints = [
            ("peak.allocated", memory.peak),
            ("total.allocated", memory.used),
            ("startup.allocated", memory.startup),
            ("replication.backlog", memory.log),
            ("snapshot.old-values", memory.snapshot),
            ("clients.normal", memory.clients),
            ("aof.buffer", state.log.unreleased_bytes()),
            ("overhead.total", memory.overhead()),
            ("keys.count", keys as u64),
            ("keys.bytes-per-key", memory.used.saturating_sub(memory.startup) / (keys as u64).max(1)),
            ("dataset.bytes", memory.dataset()),
            ("allocator.allocated", allocator.allocated),
            ("allocator.active", allocator.active),
            ("allocator.resident", allocator.resident),
        ];
        let doubles = [
            ("dataset.percentage", memory.dataset_percent()),
            ("peak.percentage", memory.peak_percent()),
            ("allocator-fragmentation.ratio", figures::ratio(allocator.active, allocator.allocated)),
            ("allocator-rss.ratio", figures::ratio(allocator.resident, allocator.active)),
            ("rss-overhead.ratio", figures::ratio(memory.resident, allocator.resident)),
            ("fragmentation", memory.fragmentation()),
        ];
        let used = databases.iter().enumerate().filter(|(_, db)| db.keys > 0);
        reply.map(ints.len() + doubles.len() + used.clone().count());
        for (name, value) in ints {
            reply.text(name);
            reply.int(value as i64);
        }
        for (name, value) in doubles {
            reply.text(name);
            reply.double(value);
        }
        for (number, db) in used {
            reply.text(&format!("db.{number}"));
            reply.map(1);
            reply.text("overhead.hashtable.main");
            reply.int(db.table_bytes as i64);
        }
        Ok(Flow::Done)
    }
}

pub const MEMORY_STATS: Command = Command {
    name: "MEMORY STATS",
    op: "memory.stats",
    since: "4.0.0",
    summary: "Tells what the memory is used for.",
    returns: Shape::map("stats", "Bytes, ratios and percentages by name; a map for each database.", &Shape::ANY),
    flags: Flags::LOOKS,
    ..MEMORY.session::<MemoryStats>()
};

#[derive(Args)]
pub struct MemoryDoctor;

impl SessionCommand for MemoryDoctor {
    const WALKS: bool = true;

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let report = match Memory::of(cx.state(), &cx.walk()) {
            Some(memory) => report(&memory, cx.state()),
            None => "The memory of this program is not counted.\n".into(),
        };
        reply.verbatim("txt", &report);
        Ok(Flow::Done)
    }
}

/// Below this there is nothing to say.
const SMALL: u64 = 5 << 20;

/// What is unusual, and what can be done about it.
fn report(memory: &Memory, state: &State) -> String {
    if memory.used < SMALL {
        return format!("There is hardly anything: {} are in use.\n", human(memory.used));
    }
    let mut text = String::new();
    let mut say = |is_so: bool, what: String| {
        if is_so {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "- {what}");
        }
    };
    let allocator = memory.allocator;
    say(
        memory.peak > memory.used + memory.used / 2,
        format!(
            "At its peak the server had {}, now {}. The allocator may keep what it had: MEMORY PURGE gives it back.",
            human(memory.peak),
            human(memory.used)
        ),
    );
    say(
        allocator.active > allocator.allocated + allocator.allocated / 10 * 4,
        "Pages are only partly used: values of other sizes came than went. It settles when data change, or with a \
         restart."
            .into(),
    );
    say(
        memory.resident > allocator.resident + allocator.resident / 10,
        "The process has more memory than its allocator knows of.".into(),
    );
    say(
        memory.clients > memory.used / 5,
        "Buffers of clients take much: some send faster than they read. CLIENT LIST shows qbuf and omem.".into(),
    );
    say(
        state.log.unreleased_bytes() > 64 << 20,
        "Much of the log waits for the disk. INFO persistence tells whether it fails.".into(),
    );
    if text.is_empty() { "Nothing is unusual.\n".into() } else { text }
}

pub const MEMORY_DOCTOR: Command = Command {
    name: "MEMORY DOCTOR",
    op: "memory.doctor",
    since: "4.0.0",
    summary: "Tells for people what is unusual about the memory in use.",
    returns: Shape::text("report", "Lines of text."),
    flags: Flags::LOOKS,
    ..MEMORY.session::<MemoryDoctor>()
};

#[derive(Args)]
pub struct MemoryPurge;

impl SessionCommand for MemoryPurge {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.state().host().purge_memory();
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const MEMORY_PURGE: Command = Command {
    name: "MEMORY PURGE",
    op: "memory.purge",
    since: "4.0.0",
    summary: "Has the allocator give back to the system what nobody uses.",
    complexity: "Depends on how much memory is allocated",
    returns: Shape::OK,
    ..MEMORY.session::<MemoryPurge>()
};

#[derive(Args)]
pub struct MemoryMallocStats;

impl SessionCommand for MemoryMallocStats {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let report = cx.state().host().allocator_report();
        reply.verbatim("txt", report.as_deref().unwrap_or("Stats not supported for the current allocator"));
        Ok(Flow::Done)
    }
}

pub const MEMORY_MALLOC_STATS: Command = Command {
    name: "MEMORY MALLOC-STATS",
    op: "memory.malloc_stats",
    since: "4.0.0",
    summary: "Shows what the allocator tells about itself.",
    complexity: "Depends on how much memory is allocated",
    returns: Shape::text("report", "Lines of text."),
    flags: Flags::LOOKS,
    ..MEMORY.session::<MemoryMallocStats>()
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestEngine;

    #[test]
    fn a_key_weighs_what_it_takes() {
        let mut test = TestEngine::default();
        test.call("SET a 1");
        let usage = |test: &mut TestEngine, call: &str| test.call(&format!("MEMORY USAGE {call}")).parse::<usize>();
        // The slot; 12 bytes of header, 8 of integer and 1 of key in an allocation of 32.
        assert_eq!(usage(&mut test, "a"), Ok(41));
        test.call("PEXPIREAT a 1900000000000");
        assert_eq!(usage(&mut test, "a"), Ok(57));
        test.check(
            "MEMORY USAGE none => nil
            MEMORY USAGE a SAMPLES -1 => -ERR syntax error
            MEMORY USAGE a SAMPLES x => -ERR value is not an integer or out of range
            MEMORY USAGE a SAMPLES => -ERR syntax error",
        );
        // Samples of a large value are like all of it.
        let values: Vec<String> = (0..20_000).map(|n| format!("{n} value:{n}")).collect();
        test.call(&format!("HSET hash {}", values.join(" ")));
        test.call(&format!("ZADD zset {}", values.join(" ")));
        test.call(&format!("RPUSH list {}", values.join(" ")));
        for key in ["hash", "zset", "list"] {
            let (all, some) = (usage(&mut test, &format!("{key} SAMPLES 0")).unwrap(), usage(&mut test, key).unwrap());
            assert!(all > 200_000 && all.abs_diff(some) < all / 4, "{key}: {some} of {all}");
        }
    }

    #[test]
    fn an_engine_alone_does_not_count_its_memory() {
        let mut test = TestEngine::default();
        assert!(test.call("MEMORY STATS").contains(r#""keys.count": 0"#));
        test.check(
            "MEMORY PURGE => OK
            MEMORY MALLOC-STATS => \"Stats not supported for the current allocator\"",
        );
        assert!(test.call("MEMORY DOCTOR").contains("not counted"));
    }

    #[test]
    fn what_is_unusual_is_told() {
        let test = TestEngine::default();
        let calm = Memory { used: 10 << 20, peak: 10 << 20, ..Memory::default() };
        assert_eq!(report(&calm, test.engine.state()), "Nothing is unusual.\n");
        let peaked = Memory { peak: 100 << 20, ..calm };
        assert!(report(&peaked, test.engine.state()).contains("100.00M, now 10.00M"));
    }
}
