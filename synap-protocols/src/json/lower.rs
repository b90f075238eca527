//! Named arguments to words: the contract of every door that speaks JSON.
//!
//! A call is an object; its members are named by the command's argument specs. Their order does not matter: words
//! come out in the order of the grammar, tokens in upper case as the specs spell them.
//!
//! | argument | members |
//! |---|---|
//! | one value (`key`, `MATCH pattern`) | its name: a value as [`super::bytes`] says; a token is added |
//! | flag (`WITHSCORES`) | its name: `true`, or `false` for absent |
//! | repeated value (`key [key …]`, `numkeys key …`, `[GET pattern …]`) | its name: an array, or one value; counts and tokens are added |
//! | block (`LIMIT offset count`) | its parts directly; or its name: an object of the parts, or an array of them in order |
//! | repeated block (`field value [field value …]`) | its name: an array of such objects or arrays, or, for two plain parts, an object `{"name":"Ann"}` of pairs; or, for one occurrence, its parts directly |
//! | choice (`EX seconds \| PX ms \| KEEPTTL`) | those of the chosen alternative |
//! | choice between tokens, required or after a token (`LEFT \| RIGHT`, `AGGREGATE SUM \| MIN`) | its name: the token in a string, in any case |
//! | repeated choice with values | its name: an array of objects with one alternative each |
//! | options in any order | those of the options |
//!
//! `null` means absent everywhere. An unknown member, a member given twice, two alternatives of one choice, a block
//! given in both ways, and a missing or misshapen argument are errors that name it. A member that several alternatives
//! of a choice have (`unit`) does not choose between them. Numbers, ranges and meanings are left to the command's own
//! parser, so that every door answers them in the same words.
//!
//! **Paths and queries.** For GET and DELETE, segments of the path are the arguments of
//! [`super::members::path_arguments`] in order, and any argument may come in the query: repeated arguments as repeated
//! names, the parts of a repeated block as repeated names that go together in order (`key=a&id=0&key=b&id=5`), flags
//! as `nx`, `nx=true` or `nx=1`, and what has members inside as JSON text under its own name. All is percent-decoded
//! to bytes; `+` is a blank in the query and itself in the path.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use smallvec::SmallVec;
use synap_core::{Error, Result};

use super::members::{
    all_flags, each_member, has_direct_parts, is_scalar, is_token_choice, pair_parts, path_arguments,
};
use super::text::{self, Kind};
use super::{Words, bytes};
use crate::spec::{ArgKind, ArgSpec, Repeat};

/// Members of one object of named arguments, and names in one query, at the most.
pub const MEMBER_COUNT_MAX: usize = 256;

/// The words of a call from the JSON text of its arguments, beginning with the words of `name`. Blank text stands for
/// no arguments.
pub fn lower(name: &[&str], args: &[ArgSpec], text: &[u8]) -> Result<Words> {
    if text.trim_ascii().is_empty() {
        return lower_checked(name, args, "{}");
    }
    lower_checked(name, args, text::check(text)?)
}

/// As [`lower`], from a value of a document that [`text::check`] has read.
pub fn lower_checked(name: &[&str], args: &[ArgSpec], value: &str) -> Result<Words> {
    if text::kind(value) != Kind::Object {
        return Err(Error::err("the arguments must be a JSON object"));
    }
    let mut words = Words::named(name);
    object(args, value, &mut words)?;
    Ok(words)
}

/// The words of a call from the segments of a path, still percent-encoded, and a query without its `?`.
pub fn lower_query(name: &[&str], args: &[ArgSpec], segments: &[&str], query: &str) -> Result<Words> {
    lower_url(name, args, path_arguments(args), segments, query, None)
}

/// As [`lower_query`] where segments are for the arguments `expected`, and with a value from elsewhere under its name.
pub fn lower_url<'s>(
    name: &[&str],
    args: &[ArgSpec],
    mut expected: impl Iterator<Item = &'s ArgSpec>,
    segments: &[&str],
    query: &str,
    extra: Option<(&'static str, Vec<u8>)>,
) -> Result<Words> {
    let mut members: SmallVec<[Member; 8]> = SmallVec::new();
    let mut add = |name: Cow<'static, str>, value: Vec<u8>| -> Result<()> {
        if let Some(member) = members.iter_mut().find(|member| member.name == name) {
            if let Value::Query(values) = &mut member.value {
                values.push(value);
            }
        } else if members.len() == MEMBER_COUNT_MAX {
            return Err(TOO_MANY_MEMBERS);
        } else {
            members.push(Member { name, value: Value::Query(vec![value]), used: Cell::new(false) });
        }
        Ok(())
    };
    if let Some((name, value)) = extra {
        add(Cow::Borrowed(name), value)?;
    }
    for segment in segments {
        let Some(spec) = expected.next() else {
            return Err(Error::fmt(format!(
                "the path has too many segments at `{}`",
                Error::quote(segment.as_bytes())
            )));
        };
        add(Cow::Borrowed(spec.name), percent_decoded(segment, false)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decoded(name, true)?;
        let name = String::from_utf8(name).map_err(|error| unknown(&Error::quote(error.as_bytes())))?;
        add(Cow::Owned(name), percent_decoded(value, true)?)?;
    }
    let scope = Scope { specs: args, members: &members };
    let mut words = Words::named(name);
    scope.arguments(args, &mut words)?;
    scope.finish()?;
    Ok(words)
}

const TOO_MANY_MEMBERS: Error = Error::err("too many arguments are named");

/// The members of one object or of one query, and the arguments that they are for.
struct Scope<'s, 'a> {
    specs: &'s [ArgSpec],
    members: &'s [Member<'a>],
}

struct Member<'a> {
    name: Cow<'a, str>,
    value: Value<'a>,
    /// An argument has taken it.
    used: Cell<bool>,
}

enum Value<'a> {
    /// Checked JSON text.
    Json(&'a str),
    /// The values of one name in a query.
    Query(Vec<Vec<u8>>),
}

impl Value<'_> {
    fn is_null(&self) -> bool {
        matches!(self, Value::Json(text) if text::kind(text) == Kind::Null)
    }

    fn is_false(&self) -> bool {
        match self {
            Value::Json(text) => text::kind(text) == Kind::False,
            Value::Query(values) => matches!(values.as_slice(), [value] if is_false(value)),
        }
    }
}

/// The words of one object of `specs`.
fn object(specs: &[ArgSpec], object: &str, out: &mut Words) -> Result<()> {
    let mut members: SmallVec<[Member; 8]> = SmallVec::new();
    for (name, value) in text::members(object) {
        if members.iter().any(|member| member.name == name) {
            return Err(twice(&name));
        }
        if members.len() == MEMBER_COUNT_MAX {
            return Err(TOO_MANY_MEMBERS);
        }
        members.push(Member { name, value: Value::Json(value), used: Cell::new(false) });
    }
    let scope = Scope { specs, members: &members };
    scope.arguments(specs, out)?;
    scope.finish()
}

impl<'a> Scope<'_, 'a> {
    fn arguments(&self, specs: &[ArgSpec], out: &mut Words) -> Result<()> {
        specs.iter().try_for_each(|spec| self.argument(spec, out))
    }

    fn argument(&self, spec: &ArgSpec, out: &mut Words) -> Result<()> {
        match spec.kind {
            ArgKind::AnyOrder(options) if spec.repeat == Repeat::Once => {
                if spec.optional && self.first_given(spec, &[]).is_none() {
                    return Ok(());
                }
                token(spec, out)?;
                self.arguments(options, out)
            }
            ArgKind::OneOf(alternatives) if spec.repeat == Repeat::Once && !is_token_choice(spec) => {
                self.choice(spec, alternatives, out)
            }
            ArgKind::Block(parts) => self.block(spec, parts, out),
            _ => match self.take(spec) {
                Some(value) => value_of(spec, value, out),
                None => missing(spec, out),
            },
        }
    }

    fn choice(&self, spec: &ArgSpec, alternatives: &[ArgSpec], out: &mut Words) -> Result<()> {
        let mut chosen: Option<(&ArgSpec, &str)> = None;
        for alternative in alternatives {
            match (self.first_given(alternative, alternatives), chosen) {
                (None, _) => (),
                (Some(name), None) => chosen = Some((alternative, name)),
                (Some(name), Some((_, other))) => {
                    return Err(Error::fmt(format!("arguments `{other}` and `{name}` exclude each other")));
                }
            }
        }
        match chosen {
            Some((alternative, _)) => {
                token(spec, out)?;
                self.argument(&ArgSpec { optional: false, ..*alternative }, out)
            }
            None if spec.optional => Ok(()),
            None => {
                let names: Vec<_> = alternatives.iter().map(|a| format!("`{}`", a.name)).collect();
                Err(Error::fmt(format!("one of the arguments {} is missing", names.join(", "))))
            }
        }
    }

    fn block(&self, spec: &ArgSpec, parts: &[ArgSpec], out: &mut Words) -> Result<()> {
        let own = self.take(spec);
        let mut direct = parts.iter().find_map(|part| self.first_given(part, &[]));
        if direct.is_some() && !has_direct_parts(self.specs, spec) {
            direct = None;
        }
        match (own, direct) {
            (Some(_), Some(part)) => Err(Error::fmt(format!(
                "arguments `{}` and `{part}` say the same in two ways: give one of them",
                spec.name
            ))),
            (Some(value), None) => value_of(spec, value, out),
            (None, Some(_)) => self.direct_parts(spec, parts, out),
            (None, None) if spec.repeat == Repeat::Once && !spec.optional => {
                token(spec, out)?;
                self.arguments(parts, out)
            }
            (None, None) => missing(spec, out),
        }
    }

    /// A block whose parts stand beside the other members.
    fn direct_parts(&self, spec: &ArgSpec, parts: &[ArgSpec], out: &mut Words) -> Result<()> {
        let occurrence_count = match spec.repeat {
            Repeat::Once => 1,
            _ => self.query_occurrences(parts)?,
        };
        if spec.repeat != Repeat::EachWithToken {
            token(spec, out)?;
        }
        if spec.repeat == Repeat::Counted {
            count(occurrence_count, out)?;
        }
        for index in 0..occurrence_count {
            if spec.repeat == Repeat::EachWithToken {
                token(spec, out)?;
            }
            if occurrence_count == 1 {
                self.arguments(parts, out)?;
                continue;
            }
            for part in parts {
                if let Some(Value::Query(values)) = self.take(part) {
                    token(part, out)?;
                    query_word(part, &values[index], out)?;
                }
            }
        }
        Ok(())
    }

    /// How many occurrences of a block the query holds: its parts are repeated equally often.
    fn query_occurrences(&self, parts: &[ArgSpec]) -> Result<usize> {
        let count_of = |name: &str| match self.find(name) {
            Some(Member { value: Value::Query(values), .. }) => values.len(),
            Some(_) => 1,
            None => 0,
        };
        let mut count = 1;
        for part in parts {
            each_member(part, &mut |member| count = count.max(count_of(member.name)));
        }
        let uneven = |part: &&ArgSpec| count_of(part.name) != count || part.repeat != Repeat::Once || !is_scalar(part);
        match parts.iter().find(uneven) {
            Some(part) if count > 1 => Err(Error::fmt(format!(
                "argument `{}` must be given {count} times, as often as those that go with it",
                part.name
            ))),
            _ => Ok(count),
        }
    }

    fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.name == name)
    }

    /// The value of the member of `spec`, unless it is absent.
    fn take(&self, spec: &ArgSpec) -> Option<&Value<'a>> {
        let member = self.find(spec.name)?;
        member.used.set(true);
        if member.value.is_null() { None } else { Some(&member.value) }
    }

    /// The first member of `spec` that is given and that no other of `alternatives` has, too.
    fn first_given(&self, spec: &ArgSpec, alternatives: &[ArgSpec]) -> Option<&'static str> {
        let mut first = None;
        let spec_as_chosen = ArgSpec { optional: spec.optional && alternatives.is_empty(), ..*spec };
        each_member(&spec_as_chosen, &mut |member| {
            let is_flag = matches!(member.kind, ArgKind::Flag);
            let given = |found: &Member| !(found.value.is_null() || is_flag && found.value.is_false());
            if first.is_some() || !self.find(member.name).is_some_and(given) {
                return;
            }
            let mut others = alternatives.iter().filter(|other| other.name != spec.name);
            if others.all(|other| !has_member(&ArgSpec { optional: false, ..*other }, member.name)) {
                first = Some(member.name);
            }
        });
        first
    }

    /// Refuses members that no argument has taken.
    fn finish(&self) -> Result<()> {
        for member in self.members.iter().filter(|member| !member.used.get()) {
            let mut known = None;
            for spec in self.specs {
                each_member(spec, &mut |found| {
                    if found.name == member.name {
                        known = Some(matches!(found.kind, ArgKind::Flag));
                    }
                });
            }
            match known {
                None => return Err(unknown(&Error::quote(member.name.as_bytes()))),
                Some(is_flag) if member.value.is_null() || (is_flag && member.value.is_false()) => (),
                Some(_) => {
                    return Err(Error::fmt(format!(
                        "argument `{}` is given without the argument that it belongs to",
                        member.name
                    )));
                }
            }
        }
        Ok(())
    }
}

fn has_member(spec: &ArgSpec, name: &str) -> bool {
    let mut found = false;
    each_member(spec, &mut |member| found |= member.name == name);
    found
}

fn value_of(spec: &ArgSpec, value: &Value, out: &mut Words) -> Result<()> {
    match value {
        Value::Json(text) => json_value(spec, text, out),
        Value::Query(values) => query_value(spec, values, out),
    }
}

/// All words of one argument from its value, which is not null.
fn json_value(spec: &ArgSpec, value: &str, out: &mut Words) -> Result<()> {
    if spec.repeat == Repeat::Once {
        if matches!(spec.kind, ArgKind::Flag) {
            return match text::kind(value) {
                Kind::True => token(spec, out),
                Kind::False => missing(spec, out),
                _ => Err(fault(spec, "must be true or false")),
            };
        }
        token(spec, out)?;
        return occurrence(spec, value, out);
    }

    match (text::kind(value), pair_parts(&spec.kind)) {
        (Kind::Array, _) => {
            let mut repeated = Repeated::new(spec, || text::items(value).count(), out)?;
            for (index, item) in text::items(value).enumerate() {
                repeated.next(|out| {
                    occurrence(spec, item, out).map_err(|error| {
                        Error::fmt(format!("argument `{}`, item {}: {}", spec.name, index + 1, error.text))
                    })
                })?;
            }
            repeated.finish()
        }
        (Kind::Object, Some(parts)) => pairs(spec, parts, value, out),
        (_, Some(_)) => Err(fault(spec, "must be an array, or an object of pairs")),
        (_, None) if matches!(spec.kind, ArgKind::Block(_)) => Err(fault(spec, "must be an array")),
        (_, None) => {
            let mut repeated = Repeated::new(spec, || 1, out)?;
            repeated.next(|out| occurrence(spec, value, out))?;
            repeated.finish()
        }
    }
}

/// Pairs as the members of an object.
fn pairs(spec: &ArgSpec, parts: (&ArgSpec, &ArgSpec), object: &str, out: &mut Words) -> Result<()> {
    if bytes::marked(object).is_some() {
        return Err(fault(spec, "is bytes where pairs are wanted: the name `base64` is written `base64:YmFzZTY0`"));
    }
    let mut names: HashSet<Cow<str>> = HashSet::new();
    let mut repeated = Repeated::new(spec, || text::members(object).count(), out)?;
    for (name, value) in text::members(object) {
        if names.contains(&name) {
            return Err(twice(&name));
        }
        let written = repeated.next(|out| {
            out.write(|buffer| bytes::lower_name(&name, buffer)).map_err(|error| fault(parts.0, &error.text))?;
            occurrence(parts.1, value, out)
        });
        written.map_err(|error| {
            let name = Error::quote(name.as_bytes());
            Error::fmt(format!("argument `{}`, member `{name}`: {}", spec.name, error.text))
        })?;
        names.insert(name);
    }
    repeated.finish()
}

/// One occurrence of an argument, without its token.
fn occurrence(spec: &ArgSpec, value: &str, out: &mut Words) -> Result<()> {
    let kind = text::kind(value);
    match spec.kind {
        _ if kind == Kind::Null => Err(fault(spec, "is null where a value is wanted")),
        ArgKind::Block(parts) => match kind {
            Kind::Object => object(parts, value, out),
            Kind::Array => in_order(spec, parts, value, out),
            _ => Err(fault(spec, "must be an object, or an array of its parts in order")),
        },
        ArgKind::AnyOrder(options) => match kind {
            Kind::Object => object(options, value, out),
            _ => Err(fault(spec, "must be an object")),
        },
        ArgKind::OneOf(alternatives) if all_flags(alternatives) => match kind {
            Kind::String => chosen_token(spec, alternatives, text::string(value).as_bytes(), out),
            _ => Err(fault(spec, "must be a string")),
        },
        ArgKind::OneOf(_) => match kind {
            Kind::Object => {
                let one = ArgSpec { token: "", optional: false, repeat: Repeat::Once, ..*spec };
                object(&[one], value, out)
            }
            _ => Err(fault(spec, "must be an object")),
        },
        ArgKind::Int { .. } | ArgKind::Float { .. } => {
            let marked = kind == Kind::Object && bytes::marked(value).is_some();
            match kind {
                Kind::Number | Kind::String => plain(spec, value, out),
                _ if marked => plain(spec, value, out),
                _ => Err(fault(spec, "must be a number")),
            }
        }
        ArgKind::Flag => match kind {
            Kind::True => Ok(()),
            _ => Err(fault(spec, "must be true")),
        },
        ArgKind::Key(_) | ArgKind::Bytes | ArgKind::Pattern | ArgKind::Form { .. } | ArgKind::Channel { .. } => {
            plain(spec, value, out)
        }
    }
}

fn plain(spec: &ArgSpec, value: &str, out: &mut Words) -> Result<()> {
    out.write(|buffer| bytes::lower(value, buffer).map_err(|error| fault(spec, &error.text)))
}

/// The parts of a block from the items of an array. What is optional may be null, or left out at the end.
fn in_order(spec: &ArgSpec, parts: &[ArgSpec], array: &str, out: &mut Words) -> Result<()> {
    let mut items = text::items(array);
    for part in parts {
        match items.next() {
            Some(item) if text::kind(item) != Kind::Null => json_value(part, item, out)?,
            _ => missing(part, out)?,
        }
    }
    match items.next() {
        Some(_) => Err(fault(spec, &format!("has more than {} items", parts.len()))),
        None => Ok(()),
    }
}

/// All words of one argument from the values of its name in a query.
fn query_value(spec: &ArgSpec, values: &[Vec<u8>], out: &mut Words) -> Result<()> {
    let single = match values {
        [value] => Some(value.as_slice()),
        _ if spec.repeat == Repeat::Once => return Err(twice(spec.name)),
        _ => None,
    };
    let is_nested = match spec.kind {
        ArgKind::Block(_) | ArgKind::AnyOrder(_) => true,
        ArgKind::OneOf(alternatives) => !all_flags(alternatives),
        _ => false,
    };
    match single {
        Some(value) if is_nested => json_value(spec, text::check(value)?, out),
        Some(value) if matches!(spec.kind, ArgKind::Flag) => match value {
            b"" | b"true" | b"1" => token(spec, out),
            value if is_false(value) => missing(spec, out),
            _ => Err(fault(spec, "must be true or false")),
        },
        Some(value) if spec.repeat == Repeat::Once => {
            token(spec, out)?;
            query_word(spec, value, out)
        }
        _ => {
            let mut repeated = Repeated::new(spec, || values.len(), out)?;
            for value in values {
                repeated.next(|out| match is_nested {
                    true => occurrence(spec, text::check(value)?, out),
                    false => query_word(spec, value, out),
                })?;
            }
            repeated.finish()
        }
    }
}

fn query_word(spec: &ArgSpec, value: &[u8], out: &mut Words) -> Result<()> {
    match spec.kind {
        ArgKind::OneOf(alternatives) => chosen_token(spec, alternatives, value, out),
        _ => out.push(value),
    }
}

fn is_false(value: &[u8]) -> bool {
    matches!(value, b"false" | b"0")
}

/// The token that `given` spells in any case.
fn chosen_token(spec: &ArgSpec, alternatives: &[ArgSpec], given: &[u8], out: &mut Words) -> Result<()> {
    match alternatives.iter().find(|a| a.token.as_bytes().eq_ignore_ascii_case(given)) {
        Some(alternative) => out.push(alternative.token.as_bytes()),
        None => {
            let tokens: Vec<_> = alternatives.iter().map(|a| a.token).collect();
            Err(fault(spec, &format!("must be one of {}", tokens.join(", "))))
        }
    }
}

/// Writes tokens and the count around the occurrences of a repeated argument.
struct Repeated<'s, 'w> {
    spec: &'s ArgSpec,
    out: &'w mut Words,
    is_empty: bool,
}

impl<'s, 'w> Repeated<'s, 'w> {
    fn new(spec: &'s ArgSpec, occurrence_count: impl FnOnce() -> usize, out: &'w mut Words) -> Result<Self> {
        if spec.repeat == Repeat::Counted {
            let occurrence_count = occurrence_count();
            if occurrence_count > 0 {
                token(spec, out)?;
                count(occurrence_count, out)?;
            }
        }
        Ok(Repeated { spec, out, is_empty: true })
    }

    fn next(&mut self, write: impl FnOnce(&mut Words) -> Result<()>) -> Result<()> {
        let needs_token = match self.spec.repeat {
            Repeat::EachWithToken => true,
            Repeat::Many | Repeat::PerItem | Repeat::Once => self.is_empty,
            Repeat::Counted => false,
        };
        if needs_token {
            token(self.spec, self.out)?;
        }
        self.is_empty = false;
        write(self.out)
    }

    fn finish(self) -> Result<()> {
        match self.is_empty {
            true if !self.spec.optional => Err(fault(self.spec, "is empty where at least one is needed")),
            true => missing(self.spec, self.out),
            false => Ok(()),
        }
    }
}

fn token(spec: &ArgSpec, out: &mut Words) -> Result<()> {
    if spec.token.is_empty() { Ok(()) } else { out.push(spec.token.as_bytes()) }
}

fn count(value: usize, out: &mut Words) -> Result<()> {
    out.push(itoa::Buffer::new().format(value).as_bytes())
}

/// An argument that is not given.
fn missing(spec: &ArgSpec, out: &mut Words) -> Result<()> {
    match spec.repeat {
        _ if !spec.optional => Err(fault(spec, "is missing")),
        // A count that no token introduces is always there: EVAL script 0.
        Repeat::Counted if spec.token.is_empty() => out.push(b"0"),
        _ => Ok(()),
    }
}

fn fault(spec: &ArgSpec, what: &str) -> Error {
    Error::fmt(format!("argument `{}` {what}", spec.name))
}

fn unknown(name: &str) -> Error {
    Error::fmt(format!("argument `{name}` is not known"))
}

fn twice(name: &str) -> Error {
    Error::fmt(format!("argument `{}` is given more than once", Error::quote(name.as_bytes())))
}

/// The bytes of a percent-encoded piece of a URL.
pub fn percent_decoded(text: &str, plus_is_blank: bool) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => out.push((high << 4 | low) as u8),
                    _ => {
                        let text = Error::quote(text.as_bytes());
                        return Err(Error::fmt(format!("`{text}` is not percent-encoded: two digits must follow %")));
                    }
                }
            }
            b'+' if plus_is_blank => out.push(b' '),
            byte => out.push(byte),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
