//! Parts of strings: reading, writing and comparing them.

use std::ops::Range;

use super::prelude::*;
use crate::execute::state::Due;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::db::Expiry;
use crate::settings;
use crate::types::Elem;
use crate::types::lcs::Lcs;
use crate::types::parse_int;

const STRING: Group = Group { name: "string", op: "string", category: Category::STRING };

pub const COMMANDS: &[Command] = &[STRLEN, APPEND, GETRANGE, SUBSTR, SETRANGE, LCS];

/// Bytes of the longest string: `proto-max-bulk-len`. What the log says is done, whatever the setting is here.
pub(super) fn length_max(cx: &ReadCx<'_>) -> u64 {
    match cx.state().expiry.get() {
        Due::Remove => u64::try_from(cx.state().settings.int(settings::PROTO_MAX_BULK_LEN)).unwrap_or(0),
        Due::Hide | Due::Show => u64::MAX,
    }
}

/// Refuses a string that ends behind [`length_max`].
fn check_length(cx: &ReadCx<'_>, start: u64, len: usize) -> Result<()> {
    match start.checked_add(len as u64) {
        Some(end) if end <= length_max(cx) => Ok(()),
        _ => Err(Error::err("string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

#[derive(Args)]
pub struct StrLen<'a> {
    /// String to measure.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for StrLen<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(cx.string(&self.key)?.map_or(0, Elem::len) as i64);
        Ok(())
    }
}

pub const STRLEN: Command = Command {
    name: "STRLEN",
    op: "string.length",
    since: "2.2.0",
    summary: "Returns how many bytes a string has.",
    returns: Shape::int("length", "0 when there is no such key."),
    flags: Flags::FAST,
    ..STRING.read::<StrLen>()
};

#[derive(Args)]
pub struct Append<'a> {
    /// String to make longer; created when missing.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// Bytes to add at its end.
    value: Word<'a>,
}

impl WriteCommand for Append<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const APPENDED: Event = Event::string("append");
        let Append { key, value } = self;
        let Some(old) = cx.string(&key)?.map(Elem::len) else {
            cx.set_string(&key, value, Expiry::Clear, APPENDED);
            reply.int(value.len() as i64);
            return Ok(());
        };
        check_length(cx, old as u64, value.len())?;
        let len = cx.change_string(&key, APPENDED, |entry| (entry.append(value), !value.is_empty()))?;
        reply.int(len as i64);
        Ok(())
    }
}

const LENGTH: Shape = Shape::int("length", "Bytes of the string after it.");

pub const APPEND: Command = Command {
    name: "APPEND",
    op: "string.append",
    since: "2.0.0",
    summary: "Adds bytes at the end of a string.",
    complexity: "O(N) for N bytes added",
    returns: LENGTH,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<Append>()
};

#[derive(Args)]
pub struct GetRange<'a> {
    /// String to read.
    key: Key<'a>,
    /// Index of the first byte; a negative one counts from the end.
    start: i64,
    /// Index of the last byte, included.
    end: i64,
}

impl ReadCommand for GetRange<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let content = cx.string(&self.key)?.unwrap_or(Elem::Bytes(b""));
        let mut digits = itoa::Buffer::new();
        let bytes = content.bytes(&mut digits);
        reply.bulk(&bytes[self.within(bytes.len())]);
        Ok(())
    }
}

impl GetRange<'_> {
    /// The bytes that it means. Unlike elsewhere, an end before the first byte is the first byte.
    fn within(&self, len: usize) -> Range<usize> {
        let len = len as i64;
        let from_end = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
        let (start, end) = (from_end(self.start), from_end(self.end).min(len - 1));
        let is_reversed = self.start < 0 && self.end < 0 && self.start > self.end;
        if start > end || is_reversed { 0..0 } else { start as usize..end as usize + 1 }
    }
}

const PART: Shape = Shape::bytes("value", "Empty when nothing is there.");

pub const GETRANGE: Command = Command {
    name: "GETRANGE",
    op: "string.getrange",
    since: "2.4.0",
    summary: "Returns a part of a string.",
    complexity: "O(N) for N bytes answered",
    returns: PART,
    ..STRING.read::<GetRange>()
};

#[derive(Args)]
pub struct Substr<'a>(GetRange<'a>);

impl ReadCommand for Substr<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.run(cx, reply)
    }
}

pub const SUBSTR: Command = Command {
    name: "SUBSTR",
    op: "string.substr",
    since: "1.0.0",
    summary: "Returns a part of a string; the old name of GETRANGE.",
    complexity: "O(N) for N bytes answered",
    returns: PART,
    ..STRING.read::<Substr>()
};

/// The index of a byte, from the beginning only.
#[derive(Clone, Copy)]
pub struct ByteOffset(u64);

impl<'a> Arg<'a> for ByteOffset {
    const KIND: ArgKind = ArgKind::Int { min: 0, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let value = parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        u64::try_from(value).map(ByteOffset).map_err(|_| Error::err("offset is out of range"))
    }
}

#[derive(Args)]
pub struct SetRange<'a> {
    /// String to write; created when missing.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Index of the first byte to write; zeros fill the way there.
    offset: ByteOffset,
    /// Bytes to write; none changes nothing.
    value: Word<'a>,
}

impl WriteCommand for SetRange<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let SetRange { key, offset: ByteOffset(offset), value } = self;
        let old = cx.string(&key)?.map_or(0, Elem::len);
        if value.is_empty() {
            reply.int(old as i64);
            return Ok(());
        }
        check_length(cx, offset, value.len())?;
        let len =
            cx.change_string(&key, Event::string("setrange"), |entry| (entry.set_range(offset as usize, value), true))?;
        reply.int(len as i64);
        Ok(())
    }
}

pub const SETRANGE: Command = Command {
    name: "SETRANGE",
    op: "string.setrange",
    since: "2.2.0",
    summary: "Overwrites a part of a string, which grows when it must.",
    complexity: "O(N) for N bytes written and filled in",
    returns: LENGTH,
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..STRING.write::<SetRange>()
};

#[derive(Args)]
#[args(any_order)]
pub struct LcsOptions {
    /// Answers only how long it is.
    #[arg(token = "LEN")]
    len: bool,
    /// Answers where it is in both.
    #[arg(token = "IDX")]
    idx: bool,
    /// With IDX: leaves shorter stretches out.
    #[arg(token = "MINMATCHLEN")]
    min_match_len: Option<i64>,
    /// With IDX: answers how long each stretch is, too.
    #[arg(token = "WITHMATCHLEN")]
    with_match_len: bool,
}

#[derive(Args)]
#[args(check = LcsOf::check)]
pub struct LcsOf<'a> {
    /// One string.
    key1: Key<'a>,
    /// The other.
    key2: Key<'a>,
    options: LcsOptions,
}

impl LcsOf<'_> {
    fn check(&self) -> Result<()> {
        match self.options.len && self.options.idx {
            true => Err(Error::err("If you want both the length and indexes, please just use IDX.")),
            false => Ok(()),
        }
    }
}

impl ReadCommand for LcsOf<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const NO_STRINGS: Error = Error::err("The specified keys must contain string values");
        let content =
            |key: &Key<'_>| cx.string(key).map(|content| content.unwrap_or(Elem::Bytes(b""))).map_err(|_| NO_STRINGS);
        let mut digits = [itoa::Buffer::new(), itoa::Buffer::new()];
        let [digits1, digits2] = &mut digits;
        let a = content(&self.key1)?.bytes(digits1);
        let b = content(&self.key2)?.bytes(digits2);
        // Redis' limit is for a table of numbers of four bytes; ours is smaller, and as many steps of work.
        let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
        if cells.saturating_mul(4) > length_max(cx) {
            return Err(Error::err("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
        }
        let lcs = Lcs::new(a, b);
        if self.options.idx {
            self.write_stretches(&lcs, reply);
        } else if self.options.len {
            reply.int(lcs.len() as i64);
        } else {
            reply.bulk(&lcs.text());
        }
        Ok(())
    }
}

impl LcsOf<'_> {
    fn write_stretches(&self, lcs: &Lcs<'_>, reply: &mut dyn Reply) {
        let len_min = self.options.min_match_len.map_or(0, |len| usize::try_from(len).unwrap_or(0));
        let mut stretches = lcs.stretches();
        stretches.retain(|(a, _)| a.len() >= len_min);
        reply.map(2);
        reply.text("matches");
        reply.array(stretches.len());
        for (a, b) in stretches {
            reply.array(2 + usize::from(self.options.with_match_len));
            for range in [&a, &b] {
                reply.array(2);
                reply.int(range.start as i64);
                reply.int(range.end as i64 - 1);
            }
            if self.options.with_match_len {
                reply.int(a.len() as i64);
            }
        }
        reply.text("len");
        reply.int(lcs.len() as i64);
    }
}

const STRETCH: &[Shape] = &[Shape::int("start", ""), Shape::int("end", "")];
const IN_KEY1: Shape = Shape::tuple("key1", "Its first and last index in the one string.", STRETCH);
const IN_KEY2: Shape = Shape::tuple("key2", "Its first and last index in the other.", STRETCH);

pub const LCS: Command = Command {
    name: "LCS",
    op: "string.lcs",
    since: "7.0.0",
    summary: "Finds the longest sequence of bytes that two strings have in common, in order but with gaps.",
    complexity: "O(N*M) for strings of N and M bytes",
    returns: Shape::one_of(
        "result",
        "The sequence; with LEN how long it is; with IDX its stretches from the last to the first, and how long it is.",
        &[
            Shape::BYTES,
            Shape::INT,
            Shape::fields(
                "",
                "",
                &[
                    Shape::array(
                        "matches",
                        "Each with its place in both strings.",
                        &Shape::one_of(
                            "",
                            "",
                            &[
                                Shape::tuple("", "", &[IN_KEY1, IN_KEY2]),
                                Shape::tuple("", "", &[IN_KEY1, IN_KEY2, Shape::int("length", "")]),
                            ],
                        ),
                    ),
                    Shape::int("len", "Bytes of the whole sequence."),
                ],
            ),
        ],
    ),
    ..STRING.read::<LcsOf>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn parts_are_read_and_written() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            APPEND key Hello => 5
            APPEND key " World" => 11
            STRLEN key => 11
            GETRANGE key 0 3 => "Hell"
            GETRANGE key -4 -1 => "orld"
            GETRANGE key 5 3 => ""
            GETRANGE key 5 5000 => " World"
            GETRANGE key 0 -100 => "H"
            GETRANGE key 1 -100 => ""
            GETRANGE key -100 -101 => ""
            SUBSTR key 0 0 => "H"
            GETRANGE none 0 -1 => ""
            SETRANGE key 6 Redis => 11
            GET key => "Hello Redis"
            SETRANGE pad 3 x => 4
            GET pad => "\x00\x00\x00x"
            SETRANGE none 5 "" => 0
            EXISTS none => 0
            SETRANGE key -1 x => -ERR offset is out of range
            SETRANGE key 1048576 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            SETRANGE key 9223372036854775807 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            SET number 12 => OK
            APPEND number 3 => 3
            OBJECT ENCODING number => "raw"
            INCR number => 124
            RPUSH list a => 1
            APPEND list a => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn the_longest_common_subsequence() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            MSET key1 ohmytext key2 mynewtext => OK
            LCS key1 key2 => "mytext"
            LCS key1 key2 LEN => 6
            LCS key1 key2 IDX => {"matches": [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], "len": 6}
            LCS key1 key2 IDX MINMATCHLEN 4 WITHMATCHLEN => {"matches": [[[4, 7], [5, 8], 4]], "len": 6}
            LCS key1 none => ""
            LCS key1 key2 IDX LEN => -ERR If you want both the length and indexes, please just use IDX.
            LCS key1 key2 MINMATCHLEN => -ERR syntax error
            RPUSH list a => 1
            LCS key1 list => -ERR The specified keys must contain string values
            SETRANGE long 9999 x => 10000
            LCS long long LEN => -ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len
            "#,
        );
    }
}
