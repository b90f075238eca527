//! Strings that are numbers.

use std::cmp::Ordering;

use super::deadline::GetExpiry;
use super::prelude::*;
use super::string::{Existence, store};
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::keyspace::db::Expiry;
use crate::keyspace::value::Value;
use crate::types::long_double::{LongDouble, Parsed};
use crate::types::{Elem, parse_int};

const STRING: Group = Group { name: "string", op: "string", category: Category::STRING };

pub const COMMANDS: &[Command] = &[INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT, INCREX];

#[derive(Args)]
pub struct Incr<'a> {
    /// Number to change; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
}

impl WriteCommand for Incr<'_> {
    #[inline]
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        add(cx, &self.key, 1, reply)
    }
}

/// Adds to the number at `key`.
#[inline]
fn add(cx: &mut WriteCx<'_>, key: &Key<'_>, delta: i64, reply: &mut dyn Reply) -> Result<()> {
    const INCREASED: Event = Event::string("incrby");
    const OVERFLOW: Error = Error::err("increment or decrement would overflow");
    let edited = cx.edit_string(key, INCREASED, |entry| {
        let old = match entry.as_string() {
            Some(content) => int_of(content)?,
            None => return Err(Error::WRONG_TYPE),
        };
        let new = old.checked_add(delta).ok_or(OVERFLOW)?;
        entry.set_int(new);
        Ok(new)
    })?;
    if edited.is_none() {
        cx.set_value(key, Value::Int(delta), Expiry::Clear, INCREASED);
    }
    reply.int(edited.unwrap_or(delta));
    Ok(())
}

#[inline]
fn int_of(content: Elem<'_>) -> Result<i64> {
    match content {
        Elem::Int(value) => Ok(value),
        Elem::Bytes(bytes) => parse_int(bytes).ok_or(Error::NOT_INT),
    }
}

const VALUE: Shape = Shape::int("value", "The number after it.");

pub const INCR: Command = Command {
    name: "INCR",
    op: "string.incr",
    since: "1.0.0",
    summary: "Adds one to the number at a key.",
    returns: VALUE,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<Incr>()
};

#[derive(Args)]
pub struct Decr<'a>(Incr<'a>);

impl WriteCommand for Decr<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        add(cx, &self.0.key, -1, reply)
    }
}

pub const DECR: Command = Command {
    name: "DECR",
    op: "string.decr",
    since: "1.0.0",
    summary: "Takes one from the number at a key.",
    returns: VALUE,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<Decr>()
};

#[derive(Args)]
pub struct IncrBy<'a> {
    /// Number to change; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// What is added.
    increment: i64,
}

impl WriteCommand for IncrBy<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        add(cx, &self.key, self.increment, reply)
    }
}

pub const INCRBY: Command = Command {
    name: "INCRBY",
    op: "string.incrby",
    since: "1.0.0",
    summary: "Adds to the number at a key.",
    returns: VALUE,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<IncrBy>()
};

#[derive(Args)]
pub struct DecrBy<'a> {
    /// Number to change; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// What is taken away.
    decrement: i64,
}

impl WriteCommand for DecrBy<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let delta = self.decrement.checked_neg().ok_or(Error::err("decrement would overflow"))?;
        add(cx, &self.key, delta, reply)
    }
}

pub const DECRBY: Command = Command {
    name: "DECRBY",
    op: "string.decrby",
    since: "1.0.0",
    summary: "Takes from the number at a key.",
    returns: VALUE,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<DecrBy>()
};

/// A number that is added to a string: Redis reads, adds and prints it as a `long double`.
#[derive(Clone, Copy)]
pub struct Amount(Parsed);

impl<'a> Arg<'a> for Amount {
    const KIND: ArgKind = ArgKind::Float { min: f64::MIN, max: f64::MAX, infinite: true };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        LongDouble::parse(parser.word()?).map(Amount).ok_or(Error::NOT_FLOAT)
    }
}

fn float_of(content: Elem<'_>) -> Result<Parsed> {
    match content {
        Elem::Int(value) => Ok(Parsed::Finite(LongDouble::from_int(value))),
        Elem::Bytes(bytes) => LongDouble::parse(bytes).ok_or(Error::NOT_FLOAT),
    }
}

#[derive(Args)]
pub struct IncrByFloat<'a> {
    /// Number to change; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    /// What is added.
    increment: Amount,
}

impl WriteCommand for IncrByFloat<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        const INFINITE: Error = Error::err("increment would produce NaN or Infinity");
        let old = cx.string(&self.key)?.map_or(Ok(Parsed::Finite(LongDouble::from_int(0))), float_of)?;
        let (Parsed::Finite(old), Parsed::Finite(increment)) = (old, self.increment.0) else { return Err(INFINITE) };
        let text = old.plus(increment).ok_or(INFINITE)?.to_text();
        // Text even where it is a whole number, as in Redis.
        cx.set_value(&self.key, Value::Bytes(text.as_bytes().into()), Expiry::Keep, Event::string("incrbyfloat"));
        cx.log_instead(&[b"SET", self.key.bytes, text.as_bytes(), b"KEEPTTL"]);
        reply.text(&text);
        Ok(())
    }
}

pub const INCRBYFLOAT: Command = Command {
    name: "INCRBYFLOAT",
    op: "string.incrbyfloat",
    since: "2.6.0",
    summary: "Adds to the number at a key, which need not be whole.",
    returns: Shape::text("value", "The number after it, with at most 17 places and no exponent."),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<IncrByFloat>()
};

/// An argument that its refusal calls by name: "Increment is not an integer …".
pub struct Increment<T>(T);

impl<'a, T: Arg<'a>> Arg<'a> for Increment<T> {
    const KIND: ArgKind = T::KIND;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        T::read(parser, how).map(Increment).map_err(|error| call("Increment", error))
    }
}

/// The error about a value, as one about `name`.
fn call(name: &str, error: Error) -> Error {
    match error.text.strip_prefix("value") {
        Some(rest) => Error::fmt(format!("{name}{rest}")),
        None => error,
    }
}

/// What INCREX adds.
#[derive(Args)]
pub enum Addend {
    /// A number that need not be whole.
    #[arg(token = "BYFLOAT")]
    Byfloat(Increment<Amount>),
    /// A whole number.
    #[arg(token = "BYINT")]
    Byint(Increment<i64>),
}

/// A bound of INCREX: a whole number, unless BYFLOAT is given.
pub struct Bound<'a>(Word<'a>);

impl<'a> Arg<'a> for Bound<'a> {
    const KIND: ArgKind = ArgKind::Form {
        pattern: "^[-+]?([0-9]+[.]?[0-9]*([eE][-+]?[0-9]+)?|inf)$",
        examples: &["10", "0", "-5", "100", "3"],
    };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parser.word().map(Bound)
    }
}

#[derive(Args)]
#[args(any_order, once)]
pub struct IncrExOptions<'a> {
    condition: Option<Existence>,
    addend: Option<Addend>,
    /// The smallest result.
    #[arg(token = "LBOUND")]
    lbound: Option<Bound<'a>>,
    /// The largest result.
    #[arg(token = "UBOUND")]
    ubound: Option<Bound<'a>>,
    /// A result beyond a bound becomes the bound; otherwise nothing changes then.
    #[arg(token = "SATURATE")]
    saturate: bool,
    expiry: Option<GetExpiry>,
    /// A time to live is only given when there is none.
    #[arg(token = "ENX")]
    enx: bool,
}

#[derive(Args)]
#[args(check = IncrEx::check)]
pub struct IncrEx<'a> {
    /// Number to change; one that does not exist counts as 0.
    #[arg(access = "RW access update")]
    key: Key<'a>,
    options: IncrExOptions<'a>,
}

/// A number and the bounds of what it may lead to.
enum Sum {
    Int { increment: i64, lowest: i64, highest: i64 },
    Float { increment: LongDouble, lowest: Edge, highest: Edge },
}

/// A bound that may be infinitely far away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    Below,
    At(LongDouble),
    Above,
}

const CROSSED: Error = Error::err("LBOUND can't be greater than UBOUND");

impl IncrEx<'_> {
    fn check(&self) -> Result<()> {
        if self.options.enx {
            match self.options.expiry {
                None => return Err(Error::err("ENX flag requires an expiration")),
                Some(GetExpiry::Persist) => return Err(Error::SYNTAX),
                Some(_) => {}
            }
        }
        self.sum().map(|_| ())
    }

    fn sum(&self) -> Result<Sum> {
        let (lower, upper) = (self.options.lbound.as_ref(), self.options.ubound.as_ref());
        match self.options.addend {
            Some(Addend::Byfloat(Increment(Amount(increment)))) => {
                let Parsed::Finite(increment) = increment else {
                    return Err(Error::err("BYFLOAT increment cannot be Infinity"));
                };
                let lowest = lower.map_or(Ok(Edge::Below), |bound| float_edge(bound, "LBOUND"))?;
                let highest = upper.map_or(Ok(Edge::Above), |bound| float_edge(bound, "UBOUND"))?;
                if lowest > highest { Err(CROSSED) } else { Ok(Sum::Float { increment, lowest, highest }) }
            }
            ref int => {
                let increment = if let Some(Addend::Byint(Increment(value))) = int { *value } else { 1 };
                let lowest = lower.map_or(Ok(i64::MIN), |bound| int_edge(bound, "LBOUND"))?;
                let highest = upper.map_or(Ok(i64::MAX), |bound| int_edge(bound, "UBOUND"))?;
                if lowest > highest { Err(CROSSED) } else { Ok(Sum::Int { increment, lowest, highest }) }
            }
        }
    }
}

fn int_edge(bound: &Bound<'_>, name: &str) -> Result<i64> {
    parse_int(bound.0).ok_or_else(|| call(name, Error::NOT_INT))
}

fn float_edge(bound: &Bound<'_>, name: &str) -> Result<Edge> {
    match LongDouble::parse(bound.0) {
        Some(Parsed::Finite(value)) => Ok(Edge::At(value)),
        Some(Parsed::Infinite) => Ok(if bound.0.starts_with(b"-") { Edge::Below } else { Edge::Above }),
        None => Err(call(name, Error::NOT_FLOAT)),
    }
}

/// A number as INCREX answers it.
enum Answer {
    Int(i64),
    Float(LongDouble),
}

impl Answer {
    fn to_text(&self) -> String {
        match self {
            Answer::Int(value) => value.to_string(),
            Answer::Float(value) => value.to_text(),
        }
    }

    fn write(&self, reply: &mut dyn Reply) {
        match self {
            Answer::Int(value) => reply.int(*value),
            Answer::Float(value) if reply.resp3() => reply.double(value.to_double()),
            Answer::Float(value) => reply.text(&value.to_text()),
        }
    }
}

impl Sum {
    /// What it is called in notifications.
    fn event(&self) -> &'static str {
        match self {
            Sum::Int { .. } => "incrby",
            Sum::Float { .. } => "incrbyfloat",
        }
    }

    fn zero(&self) -> Answer {
        match self {
            Sum::Int { .. } => Answer::Int(0),
            Sum::Float { .. } => Answer::Float(LongDouble::from_int(0)),
        }
    }

    fn old(&self, content: Option<Elem<'_>>) -> Result<Answer> {
        match (self, content) {
            (_, None) => Ok(self.zero()),
            (Sum::Int { .. }, Some(content)) => int_of(content).map(Answer::Int),
            (Sum::Float { .. }, Some(content)) => match float_of(content)? {
                Parsed::Finite(value) => Ok(Answer::Float(value)),
                Parsed::Infinite => Err(Error::err("value cannot be Infinity")),
            },
        }
    }

    /// The number after it and by how much it changed; `None` when a bound is in the way.
    fn of(&self, old: &Answer, saturate: bool) -> Result<Option<(Answer, Answer)>> {
        match (self, old) {
            (Sum::Int { increment, lowest, highest }, Answer::Int(old)) => {
                let sum = i128::from(*old) + i128::from(*increment);
                let (lowest, highest) = (i128::from(*lowest), i128::from(*highest));
                let new = sum.clamp(lowest, highest);
                if new != sum && !saturate {
                    return Ok(None);
                }
                let applied = i64::try_from(new - i128::from(*old));
                let applied = applied.map_err(|_| Error::err("applied increment would overflow"))?;
                Ok(Some((Answer::Int(new as i64), Answer::Int(applied))))
            }
            (Sum::Float { increment, lowest, highest }, Answer::Float(old)) => {
                const INFINITE: Error = Error::err("applied increment would be Infinity");
                // A sum that is too large lies behind every bound.
                let behind = if increment.is_negative() { Edge::Below } else { Edge::Above };
                let sum = old.plus(*increment).map_or(behind, Edge::At);
                let new = sum.clamp(*lowest, *highest);
                let is_within = sum.cmp(&new) == Ordering::Equal;
                let new = match new {
                    Edge::At(new) if is_within || saturate => new,
                    _ if saturate => return Err(INFINITE),
                    _ => return Ok(None),
                };
                let applied = new.plus(old.negated()).ok_or(INFINITE)?;
                Ok(Some((Answer::Float(new), Answer::Float(applied))))
            }
            _ => Err(Error::NOT_INT),
        }
    }
}

impl WriteCommand for IncrEx<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let (key, options) = (&self.key, &self.options);
        let sum = self.sum()?;
        let expiry = GetExpiry::decide(&options.expiry, cx.now_ms(), "increx")?;
        let content = cx.string(key)?;
        let exists = content.is_some();
        let old = sum.old(content)?;
        let refused = match options.condition {
            None => false,
            Some(Existence::Nx) => exists,
            Some(Existence::Xx) => !exists,
        };
        let outcome = if refused { None } else { sum.of(&old, options.saturate)? };
        reply.array(2);
        let Some((new, applied)) = outcome else {
            // Of a number that had to be there and is not, nothing can be told.
            if refused && !exists {
                reply.null()
            } else {
                old.write(reply)
            }
            sum.zero().write(reply);
            return Ok(());
        };
        new.write(reply);
        applied.write(reply);
        let keeps = options.enx && cx.peek(key).is_some_and(|entry| entry.expires_at().is_some());
        let expiry = if keeps { Expiry::Keep } else { expiry };
        store(cx, key, new.to_text().as_bytes(), expiry, Event::string(sum.event()));
        Ok(())
    }
}

const NUMBER: &[Shape] =
    &[Shape::INT, Shape { name: "", doc: "", kind: crate::grammar::spec::ShapeKind::Double }, Shape::TEXT];

pub const INCREX: Command = Command {
    name: "INCREX",
    op: "string.increx",
    since: "8.8.0",
    summary: "Adds to the number at a key within bounds, and gives the key a time to live.",
    returns: Shape::tuple(
        "",
        "",
        &[
            Shape::optional(&Shape::one_of("value", "The number after it; null when XX finds no key.", NUMBER)),
            Shape::one_of("increment", "What was added; 0 when nothing was to change.", NUMBER),
        ],
    ),
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..STRING.write::<IncrEx>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn numbers_are_changed() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            INCR n => 1
            INCRBY n 9 => 10
            DECR n => 9
            DECRBY n 20 => -11
            DECRBY n -9223372036854775808 => -ERR decrement would overflow
            SET n 9223372036854775807 => OK
            INCR n => -ERR increment or decrement would overflow
            INCRBY n -1 => 9223372036854775806
            SET text abc => OK
            INCRBY text 1 => -ERR value is not an integer or out of range
            INCRBY n 1.5 => -ERR value is not an integer or out of range
            RPUSH list a => 1
            DECR list => -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn floats_are_added_and_logged_as_sums() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            INCRBYFLOAT f 0.1 => "0.1"
            INCRBYFLOAT f 0.2 => "0.3"
            SET f 3 PXAT 1700000050000 => OK
            INCRBYFLOAT f -1 => "2"
            OBJECT ENCODING f => "embstr"
            INCRBYFLOAT f 1e2 => "102"
            PEXPIRETIME f => 1700000050000
            INCRBYFLOAT f abc => -ERR value is not a valid float
            INCRBYFLOAT f inf => -ERR increment would produce NaN or Infinity
            SET text abc => OK
            INCRBYFLOAT text 1 => -ERR value is not a valid float
            "#,
        );
        assert_eq!(test.logged()[1], "SET f 0.3 KEEPTTL");
    }

    #[test]
    fn increx_adds_within_bounds() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            INCREX k => [1, 1]
            INCREX k BYINT 5 => [6, 5]
            INCREX k BYINT 100 UBOUND 80 => [6, 0]
            INCREX k BYINT 100 UBOUND 80 SATURATE => [80, 74]
            INCREX k BYINT -100 LBOUND 0 SATURATE => [0, -80]
            INCREX none BYINT 15 UBOUND 10 => [0, 0]
            EXISTS none => 0
            SET k 50 => OK
            INCREX k BYINT 5 UBOUND 30 SATURATE => [30, -20]
            INCREX k BYINT -25 UBOUND 10 => [5, -25]
            SET k 9223372036854775800 => OK
            INCREX k BYINT 9223372036854775800 => [9223372036854775800, 0]
            INCREX k BYINT 9223372036854775800 SATURATE => [9223372036854775807, 7]
            INCREX k BYINT 1 SATURATE UBOUND -9223372036854775808 => -ERR applied increment would overflow
            SET k 1.5 => OK
            INCREX k BYFLOAT 0.25 => [1.75, 0.25]
            INCREX k BYFLOAT 100 UBOUND 42.5 SATURATE => [42.5, 40.75]
            INCREX k BYFLOAT 100 UBOUND 42.5 => [42.5, 0]
            INCREX k BYFLOAT 1 UBOUND -inf => [42.5, 0]
            INCREX k BYFLOAT 1 UBOUND -inf SATURATE => -ERR applied increment would be Infinity
            INCREX k => -ERR value is not an integer or out of range
            SET k inf => OK
            INCREX k BYFLOAT 1 => -ERR value cannot be Infinity
            INCREX k XX NX => -ERR syntax error
            INCREX none XX => [nil, 0]
            INCREX k2 NX => [1, 1]
            INCREX k2 NX => [1, 0]
            "#,
        );
    }

    #[test]
    fn increx_refuses_what_contradicts_itself() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            INCREX k BYINT 1 BYINT 2 => -ERR syntax error
            INCREX k BYINT 1 BYFLOAT 2 => -ERR syntax error
            INCREX k EX 10 EX 20 => -ERR syntax error
            INCREX k EX 10 PERSIST => -ERR syntax error
            INCREX k LBOUND 0 LBOUND 1 => -ERR syntax error
            INCREX k SATURATE SATURATE => -ERR syntax error
            INCREX k ENX => -ERR ENX flag requires an expiration
            INCREX k PERSIST ENX => -ERR syntax error
            INCREX k BYINT abc => -ERR Increment is not an integer or out of range
            INCREX k BYFLOAT abc => -ERR Increment is not a valid float
            INCREX k BYFLOAT inf => -ERR BYFLOAT increment cannot be Infinity
            INCREX k UBOUND 1.5 => -ERR UBOUND is not an integer or out of range
            INCREX k BYFLOAT 1 LBOUND x => -ERR LBOUND is not a valid float
            INCREX k LBOUND 10 UBOUND 5 => -ERR LBOUND can't be greater than UBOUND
            INCREX k EX 0 => -ERR invalid expire time in 'increx' command
            "#,
        );
    }

    #[test]
    fn increx_is_logged_as_what_it_came_to() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            INCREX k => [1, 1]
            INCREX k EX 100 => [2, 1]
            INCREX k EX 10 ENX => [3, 1]
            PTTL k => 100000
            INCREX k PERSIST => [4, 1]
            TTL k => -1
            INCREX k EX 10 ENX => [5, 1]
            INCREX k UBOUND 5 EX 500 => [5, 0]
            TTL k => 10
            INCREX k EXAT 1 => [6, 1]
            EXISTS k => 0
            "#,
        );
        let expected = [
            "SET k 1 KEEPTTL",
            "SET k 2 PXAT 1700000100000",
            "SET k 3 KEEPTTL",
            "SET k 4",
            "SET k 5 PXAT 1700000010000",
            "DEL k",
        ];
        assert_eq!(test.logged(), expected);
    }
}
