//! Numbers as arguments, each with the sentence that Redis answers when the word is none.

use super::args::Arg;
use super::parser::{How, Parser};
use super::spec::ArgKind;
use crate::error::{Error, Result};
use crate::types::parse_int;
use crate::types::score::parse_double;

impl<'a> Arg<'a> for i64 {
    const KIND: ArgKind = ArgKind::Int { min: i64::MIN, max: i64::MAX };
    #[inline]
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parse_int(parser.word()?).ok_or(Error::NOT_INT)
    }
}

/// An integer within bounds, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<'a, const MIN: i64, const MAX: i64> Arg<'a> for Int<MIN, MAX> {
    const KIND: ArgKind = ArgKind::Int { min: MIN, max: MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parse_int(parser.word()?).filter(|v| (MIN..=MAX).contains(v)).map(Int).ok_or(Error::NOT_INT)
    }
}

macro_rules! not_negative {
    ($($(#[doc = $doc:literal])* $name:ident = $sentence:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub u64);

        impl<'a> Arg<'a> for $name {
            const KIND: ArgKind = ArgKind::Int { min: 0, max: i64::MAX };
            fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
                let value = parse_int(parser.word()?).and_then(|value| u64::try_from(value).ok());
                value.map($name).ok_or(Error::err($sentence))
            }
        }
    )*};
}

not_negative! {
    /// How many: zero or more. Redis says "must be positive" for a negative one.
    Count = "value is out of range, must be positive";
    /// COUNT of LPOS.
    MatchCount = "COUNT can't be negative";
    /// MAXLEN of LPOS.
    MaxLen = "MAXLEN can't be negative";
    /// LIMIT of SINTERCARD and its like.
    CardLimit = "LIMIT can't be negative";
}

/// How many items a call may look at: one or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort(pub u64);

impl Effort {
    /// The most that is asked for in one go.
    pub fn items(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Default for Effort {
    fn default() -> Effort {
        Effort(10)
    }
}

impl<'a> Arg<'a> for Effort {
    const KIND: ArgKind = ArgKind::Int { min: 1, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let value = parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        if value < 1 { Err(Error::SYNTAX) } else { Ok(Effort(value as u64)) }
    }
}

/// How many to take: one or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PopCount(pub u64);

impl<'a> Arg<'a> for PopCount {
    const KIND: ArgKind = ArgKind::Int { min: 1, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        const NOT_POSITIVE: Error = Error::err("count should be greater than 0");
        let value = parse_int(parser.word()?).and_then(|value| u64::try_from(value).ok());
        value.filter(|&value| value > 0).map(PopCount).ok_or(NOT_POSITIVE)
    }
}

/// How many from the front, or with a minus from the back: all integers but the one that has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromEnd(pub i64);

impl<'a> Arg<'a> for FromEnd {
    const KIND: ArgKind = ArgKind::Int { min: -i64::MAX, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        const RANGE: Error =
            Error::err("value is out of range, value must between -9223372036854775807 and 9223372036854775807");
        let value = parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        if value == i64::MIN { Err(RANGE) } else { Ok(FromEnd(value)) }
    }
}

/// How many items chance picks: so many different ones, or with a minus so many times any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picks(pub i64);

impl Picks {
    /// Different items are as many as there are. Those that may be picked again are as many as the caller says, and an
    /// answer must end somewhere.
    pub const AGAIN_MAX: i64 = 1 << 20;
}

impl<'a> Arg<'a> for Picks {
    const KIND: ArgKind = ArgKind::Int { min: -Picks::AGAIN_MAX, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let value = parse_int(parser.word()?).ok_or(Error::NOT_INT)?;
        if value < -Picks::AGAIN_MAX { Err(Error::err("value is out of range")) } else { Ok(Picks(value)) }
    }
}

/// A cursor of an iteration; 0 begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl<'a> Arg<'a> for Cursor {
    const KIND: ArgKind = ArgKind::Int { min: 0, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let word = parser.word()?;
        let text = std::str::from_utf8(word).ok().filter(|t| !t.starts_with('+'));
        text.and_then(|t| t.parse().ok()).map(Cursor).ok_or(Error::err("invalid cursor"))
    }
}

/// The number of a database; the command checks it against the setting `databases`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Database(pub i64);

impl<'a> Arg<'a> for Database {
    const KIND: ArgKind = ArgKind::Int { min: 0, max: u16::MAX as i64 };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parse_int(parser.word()?).map(Database).ok_or(Error::NOT_INT)
    }
}

impl<'a> Arg<'a> for f64 {
    const KIND: ArgKind = ArgKind::Float { min: f64::MIN, max: f64::MAX, infinite: true };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parse_double(parser.word()?).ok_or(Error::NOT_FLOAT)
    }
}

/// How long a blocking call waits, in seconds on the wire; zero is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// Milliseconds, rounded up; `None` is for ever.
    pub ms: Option<u64>,
}

impl Timeout {
    /// The longest wait that Redis takes: what fits into its millisecond clock.
    const MAX_SECONDS: f64 = 9_223_372_036_854_775.0;
}

impl<'a> Arg<'a> for Timeout {
    const KIND: ArgKind = ArgKind::Float { min: 0.0, max: Timeout::MAX_SECONDS, infinite: false };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let seconds = parse_double(parser.word()?).filter(|s| s.is_finite());
        let seconds = seconds.ok_or(Error::err("timeout is not a float or out of range"))?;
        if seconds < 0.0 {
            return Err(Error::err("timeout is negative"));
        }
        if seconds > Timeout::MAX_SECONDS {
            return Err(Error::err("timeout is out of range"));
        }
        Ok(Timeout { ms: (seconds > 0.0).then(|| (seconds * 1000.0).ceil() as u64) })
    }
}
