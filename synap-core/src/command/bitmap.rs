//! Strings as arrays of bits.

use std::ops::Range;

use super::prelude::*;
use super::substring::length_max;
use crate::grammar::spec::{Access, ArgKind};
use crate::grammar::{How, Parser};
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::types::bits::{self, Field, Operation, Overflow};
use crate::types::{Elem, parse_int};

const BITMAPS: Group = Group { name: "bitmap", op: "bitmap", category: Category::BITMAP };

pub const COMMANDS: &[Command] = &[SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD, BITFIELD_RO];

const WRONG_OFFSET: Error = Error::err("bit offset is not an integer or out of range");

/// The place of a bit; the command checks it against the longest string.
#[derive(Clone, Copy)]
pub struct BitOffset(u64);

impl<'a> Arg<'a> for BitOffset {
    const KIND: ArgKind = ArgKind::Int { min: 0, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let value = parse_int(parser.word()?).and_then(|value| u64::try_from(value).ok());
        value.map(BitOffset).ok_or(WRONG_OFFSET)
    }
}

/// Refuses the place of a bit beyond the longest string.
fn check_offset(cx: &ReadCx<'_>, offset: u64) -> Result<u64> {
    if offset / 8 < length_max(cx) { Ok(offset) } else { Err(WRONG_OFFSET) }
}

/// What SETBIT writes.
#[derive(Clone, Copy)]
pub struct Bit(bool);

/// What BITPOS looks for.
#[derive(Clone, Copy)]
pub struct SoughtBit(bool);

const BIT: ArgKind = ArgKind::Int { min: 0, max: 1 };

impl<'a> Arg<'a> for Bit {
    const KIND: ArgKind = BIT;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        match parser.word()? {
            b"0" => Ok(Bit(false)),
            b"1" => Ok(Bit(true)),
            _ => Err(Error::err("bit is not an integer or out of range")),
        }
    }
}

impl<'a> Arg<'a> for SoughtBit {
    const KIND: ArgKind = BIT;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        match parse_int(parser.word()?) {
            Some(0) => Ok(SoughtBit(false)),
            Some(1) => Ok(SoughtBit(true)),
            Some(_) => Err(Error::err("The bit argument must be 1 or 0.")),
            None => Err(Error::NOT_INT),
        }
    }
}

#[derive(Args)]
pub struct SetBit<'a> {
    /// String to write; made longer with zeros when it ends before the bit.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Which bit: 0 is the highest of the first byte.
    offset: BitOffset,
    /// What it becomes.
    value: Bit,
}

impl WriteCommand for SetBit<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let offset = check_offset(cx, self.offset.0)?;
        let len_min = offset as usize / 8 + 1;
        let before = cx.change_string(&self.key, Event::string("setbit"), |entry| {
            let content = entry.as_string().unwrap_or(Elem::Bytes(b""));
            let (before, grows) = (bit_of(content, offset), content.len() < len_min);
            let changed = grows || before != self.value.0;
            if changed {
                bits::set(entry.bytes_mut(len_min), offset, self.value.0);
            } else if entry.as_blob().is_none() {
                // Looked at as bits, it is told as an edited string from now on.
                entry.bytes_mut(0);
            }
            (before, changed)
        })?;
        reply.int(before.into());
        Ok(())
    }
}

fn bit_of(content: Elem<'_>, offset: u64) -> bool {
    bits::get(content.bytes(&mut itoa::Buffer::new()), offset)
}

const BIT_SHAPE: Shape = Shape::int("bit", "0 or 1.");

pub const SETBIT: Command = Command {
    name: "SETBIT",
    op: "bitmap.set",
    since: "2.2.0",
    summary: "Sets or clears a bit of a string and returns what it was.",
    returns: BIT_SHAPE,
    flags: Flags::DENYOOM,
    ..BITMAPS.write::<SetBit>()
};

#[derive(Args)]
pub struct GetBit<'a> {
    /// String to read.
    key: Key<'a>,
    /// Which bit: 0 is the highest of the first byte.
    offset: BitOffset,
}

impl ReadCommand for GetBit<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let offset = check_offset(cx, self.offset.0)?;
        let content = cx.string(&self.key)?;
        reply.int(content.is_some_and(|content| bit_of(content, offset)).into());
        Ok(())
    }
}

pub const GETBIT: Command = Command {
    name: "GETBIT",
    op: "bitmap.get",
    since: "2.2.0",
    summary: "Returns a bit of a string; 0 behind its end.",
    returns: BIT_SHAPE,
    flags: Flags::FAST,
    ..BITMAPS.read::<GetBit>()
};

/// In what a range counts.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum RangeUnit {
    /// Bytes, as when it is left out.
    #[arg(token = "BYTE", name = "bytes")]
    Byte,
    /// Bits.
    #[arg(token = "BIT", name = "bits")]
    Bit,
}

/// Where a range ends.
#[derive(Args)]
pub struct RangeEnd {
    /// The last index, included; a negative one counts from the end.
    end: i64,
    unit: Option<RangeUnit>,
}

/// A part of a string.
#[derive(Args)]
pub struct BitRange {
    /// The first index; a negative one counts from the end.
    start: i64,
    /// Without it the range goes to the end of the string.
    to: Option<RangeEnd>,
}

impl BitRange {
    /// The bits that it means of a string of `len` bytes.
    fn within(&self, len: usize) -> Range<u64> {
        let (end, unit) = self.to.as_ref().map_or((-1, None), |to| (to.end, to.unit));
        let (unit_bits, len) = match unit {
            Some(RangeUnit::Bit) => (1, len as i64 * 8),
            _ => (8, len as i64),
        };
        let from_end = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
        let (start, end) = (from_end(self.start), from_end(end).min(len - 1));
        if start > end { 0..0 } else { start as u64 * unit_bits..(end as u64 + 1) * unit_bits }
    }

    /// Both ends are counted from the end, and cross.
    fn is_reversed(&self) -> bool {
        self.to.as_ref().is_some_and(|to| self.start < 0 && to.end < 0 && self.start > to.end)
    }
}

#[derive(Args)]
pub struct BitCount<'a> {
    /// String to read.
    key: Key<'a>,
    /// The part to count; all when left out.
    range: Option<BitRange>,
}

impl ReadCommand for BitCount<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(content) = cx.string(&self.key)? else {
            reply.int(0);
            return Ok(());
        };
        let mut digits = itoa::Buffer::new();
        let bytes = content.bytes(&mut digits);
        let count = match &self.range {
            None => bits::count(bytes),
            Some(range) if range.is_reversed() => 0,
            Some(range) => bits::count_in(bytes, range.within(bytes.len())),
        };
        reply.int(count as i64);
        Ok(())
    }
}

pub const BITCOUNT: Command = Command {
    name: "BITCOUNT",
    op: "bitmap.count",
    since: "2.6.0",
    summary: "Counts the set bits of a string or of a part of it.",
    complexity: "O(N) for N bytes",
    returns: Shape::int("count", "Bits that are 1."),
    ..BITMAPS.read::<BitCount>()
};

#[derive(Args)]
pub struct BitPos<'a> {
    /// String to read; one that is not there is all zeros.
    key: Key<'a>,
    /// What to look for.
    bit: SoughtBit,
    /// The part to look at; all when left out.
    range: Option<BitRange>,
}

impl ReadCommand for BitPos<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let sought = self.bit.0;
        let Some(content) = cx.string(&self.key)? else {
            reply.int(if sought { -1 } else { 0 });
            return Ok(());
        };
        let mut digits = itoa::Buffer::new();
        let bytes = content.bytes(&mut digits);
        let all = bytes.len() as u64 * 8;
        let range = self.range.as_ref().map_or(0..all, |range| range.within(bytes.len()));
        // A string goes on with zeros, unless the call says where to end.
        let ends_open = self.range.as_ref().is_none_or(|range| range.to.is_none());
        let behind = (!sought && ends_open && !range.is_empty()).then_some(all);
        reply.int(bits::find(bytes, sought, range).or(behind).map_or(-1, |at| at as i64));
        Ok(())
    }
}

pub const BITPOS: Command = Command {
    name: "BITPOS",
    op: "bitmap.pos",
    since: "2.8.7",
    summary: "Finds the first bit of a string that is set, or the first that is not.",
    complexity: "O(N) for N bytes",
    returns: Shape::int("position", "Counted from the string's first bit; -1 when there is none."),
    ..BITMAPS.read::<BitPos>()
};

/// How strings are combined.
#[derive(Args, Clone, Copy)]
pub enum BitOperation {
    /// Bits that all have.
    #[arg(token = "AND")]
    And,
    /// Bits that one has.
    #[arg(token = "OR")]
    Or,
    /// Bits that an odd number of them have.
    #[arg(token = "XOR")]
    Xor,
    /// Bits that the only one has not.
    #[arg(token = "NOT")]
    Not,
    /// Bits that the first has and none of the others.
    #[arg(token = "DIFF")]
    Diff,
    /// Bits that one of the others has and not the first.
    #[arg(token = "DIFF1")]
    Diff1,
    /// Bits that the first has and one of the others.
    #[arg(token = "ANDOR")]
    Andor,
    /// Bits that exactly one has.
    #[arg(token = "ONE")]
    One,
}

#[derive(Args)]
#[args(check = BitOp::check)]
pub struct BitOp<'a> {
    operation: BitOperation,
    /// Where the result goes, as long as the longest source; removed when all are empty.
    #[arg(access = "OW update")]
    destkey: Key<'a>,
    /// Strings to combine; zeros are thought behind shorter ones.
    #[arg(access = "RO access")]
    keys: Many<'a, Key<'a>>,
}

impl BitOp<'_> {
    fn check(&self) -> Result<()> {
        let needs_two = match self.operation {
            BitOperation::Not if self.keys.len() > 1 => {
                return Err(Error::err("BITOP NOT must be called with a single source key."));
            }
            BitOperation::Diff => "DIFF",
            BitOperation::Diff1 => "DIFF1",
            BitOperation::Andor => "ANDOR",
            _ => return Ok(()),
        };
        match self.keys.len() {
            1 => Err(Error::fmt(format!("BITOP {needs_two} must be called with at least two source keys."))),
            _ => Ok(()),
        }
    }
}

impl WriteCommand for BitOp<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let (operation, is_old) = match self.operation {
            BitOperation::And => (Operation::And, true),
            BitOperation::Or => (Operation::Or, true),
            BitOperation::Xor => (Operation::Xor, true),
            BitOperation::Not => (Operation::Not, true),
            BitOperation::Diff => (Operation::Diff, false),
            BitOperation::Diff1 => (Operation::Diff1, false),
            BitOperation::Andor => (Operation::AndOr, false),
            BitOperation::One => (Operation::One, false),
        };
        let result = {
            let contents = self.keys.iter().map(|key| cx.string(&key)).collect::<Result<Vec<_>>>()?;
            let mut digits = vec![itoa::Buffer::new(); contents.len()];
            let sources: Vec<&[u8]> = contents
                .iter()
                .zip(&mut digits)
                .map(|(content, digits)| content.map_or(&b""[..], |content| content.bytes(digits)))
                .collect();
            bits::combine(operation, &sources)
        };
        let len = result.len();
        if len == 0 {
            if cx.remove(&self.destkey) && !is_old {
                cx.log_instead(&[b"DEL", self.destkey.bytes]);
            }
        } else {
            // Redis 7 knows only four of the operations.
            if !is_old {
                cx.log_instead(&[b"SET", self.destkey.bytes, &result]);
            }
            cx.set_value(&self.destkey, Value::Bytes(result.into()), Expiry::Clear, Event::SET);
            // It is told as a string that was edited, even where it looks like a number.
            cx.edit_string(&self.destkey, Event::NONE, |entry| {
                entry.bytes_mut(0);
                Ok(())
            })?;
        }
        reply.int(len as i64);
        Ok(())
    }
}

pub const BITOP: Command = Command {
    name: "BITOP",
    op: "bitmap.op",
    since: "2.6.0",
    summary: "Combines strings bit by bit and stores the result.",
    complexity: "O(N) for N bytes in all",
    returns: Shape::int("length", "Bytes of the result."),
    flags: Flags::DENYOOM,
    ..BITMAPS.write::<BitOp>()
};

/// A type of integers: `i16` with a sign, `u8` without.
#[derive(Clone, Copy)]
pub struct Encoding(Field);

impl<'a> Arg<'a> for Encoding {
    const KIND: ArgKind =
        ArgKind::Form { pattern: "^[iu][1-9][0-9]?$", examples: &["u8", "i16", "i64", "u1", "u63", "i5"] };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        const WRONG: Error =
            Error::err("Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
        let (signed, digits) = match parser.word()? {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(WRONG),
        };
        let bits_max = if signed { 64 } else { 63 };
        let bits = parse_int(digits).filter(|bits| (1..=bits_max).contains(bits)).ok_or(WRONG)?;
        Ok(Encoding(Field { signed, bits: bits as u32 }))
    }
}

/// The place of an integer: in bits, or behind a `#` in integers of its type.
#[derive(Clone, Copy)]
pub struct FieldOffset {
    value: u64,
    in_fields: bool,
}

impl<'a> Arg<'a> for FieldOffset {
    const KIND: ArgKind = ArgKind::Form { pattern: "^#?[0-9]+$", examples: &["0", "#0", "#1", "8", "5", "100", "#2"] };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let (in_fields, digits) = match parser.word()? {
            [b'#', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let value = parse_int(digits).and_then(|value| u64::try_from(value).ok()).ok_or(WRONG_OFFSET)?;
        Ok(FieldOffset { value, in_fields })
    }
}

/// An integer inside the string.
#[derive(Args, Clone, Copy)]
pub struct Place {
    /// `i` or `u` for with and without a sign, and bits: at most 64, without a sign 63.
    encoding: Encoding,
    /// Its first bit, or behind a `#` how many integers of its type stand before it.
    offset: FieldOffset,
}

#[derive(Args, Clone, Copy)]
pub struct SetField {
    place: Place,
    /// What is written; what it was is answered.
    value: i64,
}

#[derive(Args, Clone, Copy)]
pub struct IncrField {
    place: Place,
    /// What is added; the sum is answered.
    increment: i64,
}

/// What happens to values that do not fit.
#[derive(Args, Clone, Copy)]
pub enum OverflowMode {
    /// Their lowest bits stay.
    #[arg(token = "WRAP")]
    Wrap,
    /// They become the nearest that does.
    #[arg(token = "SAT")]
    Sat,
    /// They are not written, and null is answered.
    #[arg(token = "FAIL")]
    Fail,
}

/// [`OverflowMode`] with a sentence of its own for other words.
#[derive(Clone, Copy)]
pub struct OverflowWord(OverflowMode);

impl<'a> Arg<'a> for OverflowWord {
    const KIND: ArgKind = OverflowMode::KIND;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let is_given = parser.remaining() > how.after;
        let wrong = if is_given { Error::err("Invalid OVERFLOW type specified") } else { Error::SYNTAX };
        OverflowMode::read(parser, how).map(OverflowWord).map_err(|_| wrong)
    }
}

/// One step of BITFIELD.
#[derive(Args, Clone, Copy)]
pub enum FieldStep {
    /// Returns an integer.
    #[arg(token = "GET")]
    Get(Place),
    /// Writes an integer.
    #[arg(token = "SET")]
    Set(SetField),
    /// Adds to an integer.
    #[arg(token = "INCRBY")]
    Incrby(IncrField),
    /// What happens in the steps after it to values that do not fit; before the first it is WRAP.
    #[arg(token = "OVERFLOW")]
    Overflow(OverflowWord),
}

#[derive(Args)]
#[args(access = BitField::access)]
pub struct BitField<'a> {
    /// String to change; made longer with zeros as far as something is written.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// Steps in order.
    steps: Option<Many<'a, FieldStep>>,
}

impl BitField<'_> {
    /// Without a step that writes, it has to be allowed to read only.
    fn access(&self) -> Access {
        let mut steps = self.steps.iter().flat_map(Many::iter);
        match steps.any(|step| matches!(step, FieldStep::Set(_) | FieldStep::Incrby(_))) {
            true => Access::RW.and(Access::ACCESS).and(Access::UPDATE),
            false => Access::RO.and(Access::ACCESS),
        }
    }
}

impl WriteCommand for BitField<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let mut overflow = Overflow::default();
        let mut steps: Vec<Step> = Vec::new();
        for step in self.steps.iter().flat_map(Many::iter) {
            steps.push(match step {
                FieldStep::Get(place) => Step::new(cx, place, Action::Get)?,
                FieldStep::Set(set) => Step::new(cx, set.place, Action::Set(set.value, overflow))?,
                FieldStep::Incrby(incr) => Step::new(cx, incr.place, Action::Add(incr.increment, overflow))?,
                FieldStep::Overflow(OverflowWord(mode)) => {
                    overflow = match mode {
                        OverflowMode::Wrap => Overflow::Wrap,
                        OverflowMode::Sat => Overflow::Sat,
                        OverflowMode::Fail => Overflow::Fail,
                    };
                    continue;
                }
            });
        }
        // As far as something may be written there is a string, even if it turns out that nothing is.
        let Some(len_min) = steps.iter().filter(|step| step.writes()).map(Step::len_min).max() else {
            return read_all(cx, &self.key, &steps, reply);
        };
        let answers = cx.change_string(&self.key, Event::string("setbit"), |entry| {
            let grows = entry.as_string().is_none_or(|content| content.len() < len_min);
            let bytes = entry.bytes_mut(len_min);
            let mut changed = grows;
            let answers: Vec<Option<i64>> = steps.iter().map(|step| step.apply(bytes, &mut changed)).collect();
            (answers, changed)
        })?;
        reply.array(answers.len());
        for answer in answers {
            match answer {
                Some(value) => reply.int(value),
                None => reply.null(),
            }
        }
        Ok(())
    }
}

/// One step, checked, with its place in bits.
struct Step {
    field: Field,
    offset: u64,
    action: Action,
}

enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

impl Step {
    fn new(cx: &ReadCx<'_>, place: Place, action: Action) -> Result<Step> {
        let field = place.encoding.0;
        let unit = if place.offset.in_fields { field.bits.into() } else { 1 };
        let offset = place.offset.value.checked_mul(unit).ok_or(WRONG_OFFSET)?;
        Ok(Step { field, offset: check_offset(cx, offset)?, action })
    }

    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }

    /// How long a string is that has the field.
    fn len_min(&self) -> usize {
        (self.offset + u64::from(self.field.bits)).div_ceil(8) as usize
    }

    fn get(&self, bytes: &[u8]) -> i64 {
        self.field.get(bytes, self.offset)
    }

    /// Does it and returns what it answers; notes when it has changed something.
    fn apply(&self, bytes: &mut [u8], changed: &mut bool) -> Option<i64> {
        let old = self.get(bytes);
        let (value, overflow) = match self.action {
            Action::Get => return Some(old),
            // Without a sign, what is written is taken for a number without one.
            Action::Set(value, overflow) if !self.field.signed => (i128::from(value as u64), overflow),
            Action::Set(value, overflow) => (value.into(), overflow),
            Action::Add(value, overflow) => (i128::from(old) + i128::from(value), overflow),
        };
        let new = self.field.fit(value, overflow)?;
        self.field.set(bytes, self.offset, new);
        *changed |= new != old;
        Some(if matches!(self.action, Action::Set(..)) { old } else { new })
    }
}

fn read_all(cx: &ReadCx<'_>, key: &Key<'_>, steps: &[Step], reply: &mut dyn Reply) -> Result<()> {
    let content = cx.string(key)?;
    let mut digits = itoa::Buffer::new();
    let bytes = content.map_or(&b""[..], |content| content.bytes(&mut digits));
    reply.array(steps.len());
    steps.iter().for_each(|step| reply.int(step.get(bytes)));
    Ok(())
}

const ANSWERS: Shape = Shape::array(
    "values",
    "For each step but OVERFLOW its answer; null when a value did not fit and was not to be written.",
    &Shape::optional(&Shape::INT),
);

pub const BITFIELD: Command = Command {
    name: "BITFIELD",
    op: "bitmap.field",
    since: "3.2.0",
    summary: "Reads, writes and adds to integers of any width inside a string.",
    complexity: "O(1) for each step",
    returns: ANSWERS,
    flags: Flags::DENYOOM,
    ..BITMAPS.write::<BitField>()
};

/// The only step of BITFIELD_RO.
#[derive(Args, Clone, Copy)]
pub enum ReadStep {
    /// Returns an integer.
    #[arg(token = "GET")]
    Get(Place),
}

/// [`ReadStep`] with a sentence of its own for the other steps of BITFIELD.
#[derive(Clone, Copy)]
pub struct OnlyRead(Place);

impl<'a> Arg<'a> for OnlyRead {
    const KIND: ArgKind = ReadStep::KIND;
    const MIN: usize = ReadStep::MIN;
    const FIXED: bool = false;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        const WRITES: [&[u8]; 3] = [b"SET", b"INCRBY", b"OVERFLOW"];
        let writes = |word: &[u8]| WRITES.iter().any(|other| other.eq_ignore_ascii_case(word));
        if parser.peek(how.after).is_some_and(writes) {
            return Err(Error::err("BITFIELD_RO only supports the GET subcommand"));
        }
        ReadStep::read(parser, how).map(|ReadStep::Get(place)| OnlyRead(place))
    }
}

#[derive(Args)]
pub struct BitFieldRo<'a> {
    /// String to read.
    key: Key<'a>,
    /// Steps in order.
    steps: Option<Many<'a, OnlyRead>>,
}

impl ReadCommand for BitFieldRo<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let places = self.steps.iter().flat_map(Many::iter);
        let steps = places.map(|OnlyRead(place)| Step::new(cx, place, Action::Get)).collect::<Result<Vec<_>>>()?;
        read_all(cx, &self.key, &steps, reply)
    }
}

pub const BITFIELD_RO: Command = Command {
    name: "BITFIELD_RO",
    op: "bitmap.field_ro",
    since: "6.0.0",
    summary: "Reads integers of any width inside a string.",
    complexity: "O(1) for each step",
    returns: ANSWERS,
    flags: Flags::FAST,
    ..BITMAPS.read::<BitFieldRo>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn single_bits() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SETBIT key 7 1 => 0
            GET key => "\x01"
            OBJECT ENCODING key => "raw"
            SETBIT key 7 1 => 1
            SETBIT key 7 0 => 1
            SETBIT key 17 1 => 0
            GET key => "\x00\x00@"
            GETBIT key 17 => 1
            GETBIT key 1000 => 0
            GETBIT none 0 => 0
            SET number 1 => OK
            GETBIT number 2 => 1
            SETBIT key -1 1 => -ERR bit offset is not an integer or out of range
            SETBIT key x 1 => -ERR bit offset is not an integer or out of range
            SETBIT key 0 2 => -ERR bit is not an integer or out of range
            SETBIT key 8388608 1 => -ERR bit offset is not an integer or out of range
            GETBIT key 8388608 => -ERR bit offset is not an integer or out of range
            RPUSH list a => 1
            SETBIT list 0 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn a_bit_that_stays_is_no_change() {
        let mut test = TestEngine::default();
        test.check("SETBIT key 7 1 => 0");
        let end = test.engine.state().log.end();
        test.check("SETBIT key 7 1 => 1\n BITFIELD key SET u8 0 1 GET u4 0 => [1, 0]\n SETRANGE key 0 \"\" => 1");
        assert_eq!(test.engine.state().log.end(), end);
    }

    #[test]
    fn counts_and_searches() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET key foobar => OK
            BITCOUNT key => 26
            BITCOUNT key 0 0 => 4
            BITCOUNT key 1 1 => 6
            BITCOUNT key 1 1 BYTE => 6
            BITCOUNT key 5 30 BIT => 17
            BITCOUNT key -2 -1 => 7
            BITCOUNT key 2 => 16
            BITCOUNT key 6 2 => 0
            BITCOUNT none => 0
            BITCOUNT key 0 1 HELLO => -ERR syntax error
            BITCOUNT key 0 1 BIT more => -ERR syntax error
            BITCOUNT key a b => -ERR value is not an integer or out of range
            SET key "\xff\xf0\x00" => OK
            BITPOS key 0 => 12
            BITPOS key 1 2 => -1
            BITPOS key 0 0 0 => -1
            BITPOS key 1 7 15 BIT => 7
            BITPOS key 0 8 11 BIT => -1
            BITPOS none 0 => 0
            BITPOS none 1 => -1
            BITPOS key 2 => -ERR The bit argument must be 1 or 0.
            SET full "\xff\xff" => OK
            BITPOS full 0 => 16
            BITPOS full 0 0 => 16
            BITPOS full 0 0 -1 => -1
            BITPOS full 0 5 => -1
            "#,
        );
    }

    #[test]
    fn strings_are_combined() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET a "\xf0\xff" => OK
            SET b "\x3c" => OK
            SET c "\x0f\x01" => OK
            BITOP AND to a b => 2
            GET to => "0\x00"
            BITOP OR to a b => 2
            GET to => "\xfc\xff"
            BITOP xor to a b c => 2
            GET to => "\xc3\xfe"
            BITOP NOT to b => 1
            GET to => "\xc3"
            BITOP DIFF to a b => 2
            GET to => "\xc0\xff"
            BITOP DIFF1 to a b c => 2
            GET to => "\x0f\x00"
            BITOP ANDOR to a b c => 2
            GET to => "0\x01"
            BITOP ONE to a b c => 2
            GET to => "\xc3\xfe"
            BITOP AND to none none2 => 0
            EXISTS to => 0
            BITOP NOT to a b => -ERR BITOP NOT must be called with a single source key.
            BITOP DIFF to a => -ERR BITOP DIFF must be called with at least two source keys.
            BITOP NAND to a b => -ERR syntax error
            RPUSH list a => 1
            BITOP OR to a list => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    /// Words that Redis 7 does not know are logged as what they came to.
    #[test]
    fn young_operations_are_logged_as_their_result() {
        let mut test = TestEngine::default();
        test.check("SET a abc => OK\n SET b abd => OK\n BITOP ONE to a b => 3\n BITOP DIFF to none none => 0");
        assert_eq!(test.logged().split_off(2), [r#"SET to "\x00\x00\x07""#, "DEL to"]);
    }

    #[test]
    fn integers_inside_a_string() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            BITFIELD key SET u8 0 255 SET i8 8 -1 GET u16 0 => [0, 0, 65535]
            BITFIELD key INCRBY u8 0 1 OVERFLOW SAT INCRBY u8 8 10 OVERFLOW FAIL INCRBY u8 8 1 => [0, 255, nil]
            BITFIELD key GET i5 3 get u4 #2 => [0, 15]
            BITFIELD key OVERFLOW SAT SET i8 #0 1000 GET i8 0 => [0, 127]
            BITFIELD key OVERFLOW SAT SET u8 #0 -1 GET u8 0 => [127, 255]
            BITFIELD key SET i64 0 -5 INCRBY i64 0 5 => [-281474976710656, 0]
            BITFIELD none => []
            BITFIELD none GET u63 100 => [0]
            EXISTS none => 0
            BITFIELD empty OVERFLOW FAIL INCRBY u2 0 9 => [nil]
            STRLEN empty => 1
            BITFIELD_RO key GET u8 0 GET i64 #0 => [0, 0]
            BITFIELD_RO key SET u8 0 1 => -ERR BITFIELD_RO only supports the GET subcommand
            BITFIELD key GET u64 0 => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            BITFIELD key GET u8 -1 => -ERR bit offset is not an integer or out of range
            BITFIELD key OVERFLOW NONE => -ERR Invalid OVERFLOW type specified
            BITFIELD key SET u8 0 => -ERR syntax error
            BITFIELD key SET u8 0 x => -ERR value is not an integer or out of range
            BITFIELD key SET u8 8388600 1 SET u8 8388608 1 => -ERR bit offset is not an integer or out of range
            RPUSH list a => 1
            BITFIELD list GET u8 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
