//! HyperLogLogs: strings that count different elements, in Redis' bytes.

use super::prelude::*;
use crate::error::Code;
use crate::keyspace::EntryMut;
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::settings;
use crate::types::Elem;
use crate::types::hyperloglog::{self as hll, Corrupt, Hll, Union};

const HLL: Group = Group { name: "hyperloglog", op: "hll", category: Category::HYPERLOGLOG };

pub const COMMANDS: &[Command] = &[PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST];

const NOT_ONE: Error = Error::new(Code::WrongType, "Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Error {
        Error::new(Code::InvalidObj, "Corrupted HLL object detected")
    }
}

/// The HyperLogLog at `key`.
fn at<'c>(cx: &'c ReadCx<'_>, key: &Key<'_>) -> Result<Option<Hll<'c>>> {
    match cx.string(key)? {
        None => Ok(None),
        Some(Elem::Bytes(bytes)) => Hll::of(bytes).map(Some).ok_or(NOT_ONE),
        Some(Elem::Int(_)) => Err(NOT_ONE),
    }
}

/// Merging is adding, too.
const ADDED: Event = Event::string("pfadd");

fn sparse_size_max(cx: &ReadCx<'_>) -> usize {
    usize::try_from(cx.state().settings.int(settings::HLL_SPARSE_MAX_BYTES)).unwrap_or(usize::MAX)
}

/// Stores new bytes; a time to live stays. They are raw for OBJECT ENCODING, as in Redis.
fn put(cx: &mut WriteCx<'_>, key: &Key<'_>, bytes: &[u8]) -> Result<()> {
    let store = |entry: &mut EntryMut<'_>| {
        if entry.as_string().is_none_or(|old| !old.is(bytes)) {
            // What it returns is a few kilobytes.
            drop(entry.set_bytes(bytes));
        }
        entry.bytes_mut(0);
        Ok(())
    };
    if cx.edit_string(key, ADDED, store)?.is_none() {
        cx.set_value(key, Value::string(bytes), Expiry::Clear, Event::NONE);
        cx.edit_string(key, ADDED, store)?;
    }
    Ok(())
}

#[derive(Args)]
pub struct PfAdd<'a> {
    /// HyperLogLog to write; created when missing.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// Elements to count.
    elements: Option<Many<'a, Word<'a>>>,
}

impl PfAdd<'_> {
    fn elements(&self) -> impl Iterator<Item = &[u8]> {
        self.elements.iter().flat_map(|many| many.iter())
    }
}

impl WriteCommand for PfAdd<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let size_max = sparse_size_max(cx);
        let changed = match at(cx, &self.key)? {
            // A dense one is not copied for a few bits.
            Some(hll) if hll.is_dense() => {
                let changes = hll::dense_would_change(hll, self.elements());
                if changes {
                    cx.edit_string(&self.key, ADDED, |entry| {
                        hll::add_in_place(entry.bytes_mut(0), self.elements());
                        Ok(())
                    })?;
                }
                reply.int(changes.into());
                return Ok(());
            }
            Some(hll) => hll::add(hll.bytes(), self.elements(), size_max)?,
            None => Some(hll::create(self.elements(), size_max)?),
        };
        if let Some(bytes) = &changed {
            put(cx, &self.key, bytes)?;
        }
        reply.int(changed.is_some().into());
        Ok(())
    }
}

pub const PFADD: Command = Command {
    name: "PFADD",
    op: "hll.add",
    since: "2.8.9",
    summary: "Adds elements to a HyperLogLog, creating it when it does not exist.",
    complexity: "O(N) for N elements",
    returns: Shape::boolean("changed", "True when the estimate may have changed."),
    flags: Flags::DENYOOM.and(Flags::FAST).and(Flags::IDEMPOTENT),
    ..HLL.write::<PfAdd>()
};

#[derive(Args)]
pub struct PfCount<'a> {
    /// HyperLogLogs; of several, how many different elements they have together.
    #[arg(access = "RW access")]
    keys: Many<'a, Key<'a>>,
}

impl KeepingCommand for PfCount<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let count = match (self.keys.len(), self.keys.iter().next()) {
            (1, Some(key)) => count_and_keep(cx, &key)?,
            _ => {
                let mut union = Union::default();
                for key in self.keys.iter() {
                    at(cx, &key)?.map_or(Ok(()), |hll| union.merge(hll))?;
                }
                union.count()
            }
        };
        reply.int(count as i64);
        Ok(())
    }
}

/// The estimate that is kept in the value, or a new one, which is kept there.
fn count_and_keep(cx: &mut WriteCx<'_>, key: &Key<'_>) -> Result<u64> {
    let Some(hll) = at(cx, key)? else { return Ok(0) };
    if let Some(count) = hll.kept_cardinality() {
        return Ok(count);
    }
    let count = hll.count()?;
    if cx.may_keep() {
        cx.edit_string(key, Event::NONE, |entry| {
            hll::keep_cardinality(entry.bytes_mut(0), count);
            Ok(())
        })?;
    }
    Ok(count)
}

pub const PFCOUNT: Command = Command {
    name: "PFCOUNT",
    op: "hll.count",
    since: "2.8.9",
    summary: "Estimates how many different elements were added, with an error below 1 %.",
    complexity: "O(N) for N keys",
    returns: Shape::int("count", "0 when there is no such key."),
    ..HLL.keeping::<PfCount>()
};

#[derive(Args)]
pub struct PfMerge<'a> {
    /// HyperLogLog to write, whose own elements stay; created when missing.
    #[arg(access = "RW access insert")]
    destkey: Key<'a>,
    /// HyperLogLogs to merge into it.
    #[arg(access = "RO access")]
    sourcekeys: Option<Many<'a, Key<'a>>>,
}

impl WriteCommand for PfMerge<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let size_max = sparse_size_max(cx);
        let mut union = Union::default();
        for key in std::iter::once(self.destkey).chain(self.sourcekeys.iter().flat_map(|many| many.iter())) {
            at(cx, &key)?.map_or(Ok(()), |hll| union.merge(hll))?;
        }
        let empty = Hll::empty();
        let old = at(cx, &self.destkey)?.map(Hll::bytes);
        let merged = union.write_to(old.unwrap_or(&empty), size_max)?;
        if old != Some(&merged) {
            put(cx, &self.destkey, &merged)?;
        }
        reply.ok();
        Ok(())
    }
}

pub const PFMERGE: Command = Command {
    name: "PFMERGE",
    op: "hll.merge",
    since: "2.8.9",
    summary: "Merges HyperLogLogs into one, as if all their elements had been added to it.",
    complexity: "O(N) for N HyperLogLogs",
    returns: Shape::OK,
    flags: Flags::DENYOOM,
    ..HLL.write::<PfMerge>()
};

/// What to look at.
#[derive(Args, Clone, Copy)]
pub enum Aspect {
    /// The values of all registers; makes it dense.
    #[arg(token = "GETREG")]
    Getreg,
    /// The runs of a sparse one.
    #[arg(token = "DECODE")]
    Decode,
    /// Whether it is `sparse` or `dense`.
    #[arg(token = "ENCODING")]
    Encoding,
    /// Makes it dense.
    #[arg(token = "TODENSE")]
    Todense,
}

#[derive(Args)]
pub struct PfDebug<'a> {
    /// What to do.
    subcommand: Aspect,
    /// HyperLogLog to look at.
    #[arg(access = "RW access")]
    key: Key<'a>,
}

impl WriteCommand for PfDebug<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let hll = at(cx, &self.key)?.ok_or(Error::err("The specified key does not exist"))?;
        let was_sparse = !hll.is_dense();
        match self.subcommand {
            Aspect::Encoding => reply.status(if was_sparse { "sparse" } else { "dense" }),
            Aspect::Decode => {
                let runs = hll.describe().ok_or(Error::err("HLL encoding is not sparse"))?;
                reply.text(&runs);
            }
            Aspect::Getreg => {
                let registers = hll::registers(hll)?;
                make_dense(cx, &self.key)?;
                reply.array(registers.len());
                registers.into_iter().for_each(|register| reply.int(register.into()));
            }
            Aspect::Todense => {
                make_dense(cx, &self.key)?;
                reply.int(was_sparse.into());
            }
        }
        Ok(())
    }
}

fn make_dense(cx: &mut WriteCx<'_>, key: &Key<'_>) -> Result<()> {
    match at(cx, key)?.filter(|hll| !hll.is_dense()) {
        Some(hll) => {
            let dense = hll.to_dense()?;
            put(cx, key, &dense)
        }
        None => Ok(()),
    }
}

pub const PFDEBUG: Command = Command {
    name: "PFDEBUG",
    op: "hll.debug",
    since: "2.8.9",
    summary: "Looks into a HyperLogLog, for tests.",
    complexity: "O(N) for N registers",
    returns: Shape::one_of(
        "result",
        "Registers, runs, the encoding, or whether it became dense.",
        &[Shape::array("", "", &Shape::INT), Shape::text("", ""), Shape::status("", ""), Shape::INT],
    ),
    flags: Flags::DENYOOM.and(Flags::ADMIN),
    ..HLL.write::<PfDebug>()
};

#[derive(Args)]
pub struct PfSelfTest;

impl SessionCommand for PfSelfTest {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        // Some milliseconds: other calls wait for it.
        hll::self_test(cx.state().random()).map_err(Error::err)?;
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const PFSELFTEST: Command = Command {
    name: "PFSELFTEST",
    op: "hll.selftest",
    since: "2.8.9",
    summary: "Tests the HyperLogLog: its registers, that both forms agree, and its error.",
    complexity: "O(N) for 10,000 elements",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::LOOKS),
    ..HLL.session::<PfSelfTest>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn elements_are_counted() {
        TestEngine::default().check(
            r#"
            PFADD h => 1
            PFADD h => 0
            GET h => "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f\xff"
            PFADD h a b c => 1
            PFADD h a b => 0
            PFCOUNT h => 3
            PFADD i c d => 1
            PFCOUNT h i none => 4
            PFMERGE m h i => OK
            PFCOUNT m => 4
            PFCOUNT none => 0
            PFDEBUG ENCODING h => sparse
            PFDEBUG TODENSE h => 1
            PFDEBUG TODENSE h => 0
            PFCOUNT h => 3
            PFADD h z => 1
            PFCOUNT h => 4
            PFDEBUG DECODE h => -ERR HLL encoding is not sparse
            PFDEBUG ENCODING none => -ERR The specified key does not exist
            OBJECT ENCODING i => "raw"
            PFSELFTEST => OK
            "#,
        );
    }

    /// A count is kept in the value, logged and seen by WATCH, as in Redis.
    #[test]
    fn a_count_is_kept() {
        let mut test = TestEngine::default();
        test.check("PFADD h a b c => 1");
        let before = test.call("GET h");
        test.check("PFCOUNT h => 3");
        let kept = test.call("GET h");
        assert_ne!(before, kept);
        test.check("PFADD h a => 0");
        assert_eq!(test.call("GET h"), kept);
        let end = test.engine.state().log.end();
        test.check("PFCOUNT h => 3");
        assert_eq!(test.engine.state().log.end(), end);
    }

    #[test]
    fn what_is_none_is_refused_and_stays() {
        TestEngine::default().check(
            r#"
            SET number 10 => OK
            PFADD number a => -WRONGTYPE Key is not a valid HyperLogLog string value.
            PFCOUNT number => -WRONGTYPE Key is not a valid HyperLogLog string value.
            RPUSH list a => 1
            PFADD list a => -WRONGTYPE Operation against a key holding the wrong kind of value
            SET h "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f" => OK
            PFCOUNT h => -INVALIDOBJ Corrupted HLL object detected
            PFADD h a => -INVALIDOBJ Corrupted HLL object detected
            PFMERGE m h => -INVALIDOBJ Corrupted HLL object detected
            PFDEBUG GETREG h => -INVALIDOBJ Corrupted HLL object detected
            EXISTS m => 0
            GET h => "HYLL\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x7f"
            "#,
        );
    }

    #[test]
    fn the_setting_says_when_it_becomes_dense() {
        TestEngine::default().check(
            r#"
            CONFIG SET hll-sparse-max-bytes 20 => OK
            PFADD h a b c d => 1
            PFDEBUG ENCODING h => dense
            PFCOUNT h => 4
            CONFIG SET hll-sparse-max-bytes 3000 => OK
            PFADD i a b c d => 1
            PFDEBUG ENCODING i => sparse
            PFMERGE i h => OK
            PFDEBUG ENCODING i => dense
            DEL h i => 2
            "#,
        );
        // A replica with another setting has other bytes, which count the same, as in Redis: so none are left here.
    }
}
