//! Values as we hold them, from any form that Redis or Valkey ever wrote: compact where they are within our limits,
//! chunked where not.

use std::io::Read;

use super::format::{FIELD_DEADLINE_MAX, NO_DEADLINE, NODE_PACKED, NODE_PLAIN, VERSION_VALKEY, kind};
use super::input::{Cause, Input, Result};
use super::old;
use crate::keyspace::value::{Blob, INLINE_BYTES_MAX, Value};
use crate::types::hash::{Hash, SetOutcome};
use crate::types::intset::IntSet;
use crate::types::list::List;
use crate::types::listpack::{ELEMENT_BYTES_MAX, Listpack};
use crate::types::score::parse_double;
use crate::types::set::Set;
use crate::types::zset::{Outcome, ZSet};
use crate::types::{Elem, Limits};

/// Members of a large sorted set that are gathered before they are inserted.
const PIECE_BYTES: usize = 256 << 10;

/// Strings on their way into a collection.
#[derive(Default)]
pub(super) struct Scratch {
    pub string: Vec<u8>,
    value: Vec<u8>,
}

/// Reads the value of a type that [`is_ours`]; none when it is an empty collection, which no key holds.
pub(super) fn value<R: Read>(
    input: &mut Input<R>,
    kind: u8,
    version: u16,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Option<Value>> {
    let mut decoder = Decoder { input, limits, scratch };
    let value = match kind {
        kind::STRING => return decoder.string().map(Some),
        kind::LIST => Value::List(decoder.list()?),
        kind::LIST_ZIPLIST => Value::List(decoder.list_of_packs(1, |decoder| decoder.packed(old::ziplist))?),
        kind::LIST_QUICKLIST => {
            let count = decoder.input.length()?;
            Value::List(decoder.list_of_packs(count, |decoder| decoder.packed(old::ziplist))?)
        }
        kind::LIST_QUICKLIST_2 => {
            let count = decoder.input.length()?;
            Value::List(decoder.list_of_packs(count, Decoder::node)?)
        }
        kind::SET => Value::Set(decoder.set()?),
        kind::SET_INTSET => Value::Set(decoder.intset()?),
        kind::SET_LISTPACK => {
            let pack = decoder.packed(Listpack::from_redis)?;
            Value::Set(decoder.distinct(Set::of_listpack(pack, limits))?)
        }
        kind::ZSET | kind::ZSET_2 => Value::ZSet(decoder.zset(kind)?),
        kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
            let convert = if kind == kind::ZSET_LISTPACK { Listpack::from_redis } else { old::ziplist };
            let pack = decoder.packed(convert)?;
            Value::ZSet(decoder.distinct(ZSet::of_listpack(pack, limits))?)
        }
        kind::HASH => Value::Hash(decoder.hash(|_| Ok(None), |_| Ok(None))?),
        kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
            let pack = match kind {
                kind::HASH_ZIPMAP => decoder.packed(old::zipmap)?,
                kind::HASH_ZIPLIST => decoder.packed(old::ziplist)?,
                _ => decoder.packed(Listpack::from_redis)?,
            };
            Value::Hash(decoder.distinct(Hash::of_listpack(pack, limits))?)
        }
        kind::HASH_2 if version >= VERSION_VALKEY => Value::Hash(decoder.hash(|_| Ok(None), Decoder::deadline_behind)?),
        kind::HASH_METADATA_PRE_GA => Value::Hash(decoder.hash(|decoder| decoder.deadline_ahead(1), |_| Ok(None))?),
        kind::HASH_METADATA => {
            let first_ms = decoder.input.i64()?;
            Value::Hash(decoder.hash(|decoder| decoder.deadline_ahead(first_ms), |_| Ok(None))?)
        }
        kind::HASH_LISTPACK_EX | kind::HASH_LISTPACK_EX_PRE_GA => {
            if kind == kind::HASH_LISTPACK_EX {
                // The earliest deadline, which stands with its field too.
                decoder.input.i64()?;
            }
            Value::Hash(decoder.hash_of_triples()?)
        }
        _ => return decoder.input.malformed("an unknown type of value"),
    };
    let is_empty = match &value {
        Value::List(list) => list.is_empty(),
        Value::Set(set) => set.is_empty(),
        Value::Hash(hash) => hash.is_empty(),
        Value::ZSet(zset) => zset.is_empty(),
        Value::Int(_) | Value::Bytes(_) | Value::Blob(_) => false,
    };
    Ok((!is_empty).then_some(value))
}

/// True for types of values that [`value`] reads.
pub(super) fn is_ours(kind: u8, version: u16) -> bool {
    match kind {
        kind::STRING..=kind::ZSET_2 | kind::HASH_ZIPMAP..=kind::LIST_QUICKLIST => true,
        kind::HASH_LISTPACK..=kind::LIST_QUICKLIST_2 | kind::SET_LISTPACK | kind::HASH_2 => true,
        kind::HASH_LISTPACK_EX_PRE_GA..=kind::HASH_LISTPACK_EX => version < VERSION_VALKEY,
        _ => false,
    }
}

/// Gives fields of a hash the deadlines of our auxiliary field; none when it does not fit the hash.
pub(super) fn deadlines(hash: &mut Hash, bytes: &[u8], scratch: &mut Scratch) -> Option<()> {
    let mut input = Input::of_len(bytes, bytes.len());
    while !input.is_at_end().ok()? {
        input.string(&mut scratch.string).ok()?;
        let deadline_ms = input.i64().ok()?;
        if !hash.set_expiry(&scratch.string, Some(deadline_ms)) {
            return None;
        }
    }
    Some(())
}

struct Decoder<'d, R> {
    input: &'d mut Input<R>,
    limits: &'d Limits,
    scratch: &'d mut Scratch,
}

impl<R: Read> Decoder<'_, R> {
    fn string(&mut self) -> Result<Value> {
        self.input.string(&mut self.scratch.string)?;
        if self.scratch.string.len() <= INLINE_BYTES_MAX {
            return Ok(Value::string(&self.scratch.string));
        }
        let mut bytes = std::mem::take(&mut self.scratch.string);
        bytes.shrink_to_fit();
        Ok(Value::Blob(Blob::new(bytes)))
    }

    /// Reads an element of a collection into `scratch.string`.
    fn element(&mut self) -> Result<()> {
        self.input.string(&mut self.scratch.string)?;
        if self.scratch.string.len() > ELEMENT_BYTES_MAX { self.input.malformed("an element of 4 GB") } else { Ok(()) }
    }

    /// A string that is a small collection.
    fn packed(&mut self, convert: fn(&[u8]) -> Option<Listpack>) -> Result<Listpack> {
        self.input.string(&mut self.scratch.string)?;
        convert(&self.scratch.string).ok_or(self.input.error(Cause::Malformed("a small collection")))
    }

    fn distinct<T>(&self, made: Option<T>) -> Result<T> {
        made.ok_or(self.input.error(Cause::Malformed("elements that are no pairs or not distinct")))
    }

    fn list(&mut self) -> Result<List> {
        let mut list = List::new();
        for _ in 0..self.input.length()? {
            self.element()?;
            list.push_back(&self.scratch.string, self.limits);
        }
        Ok(list)
    }

    fn list_of_packs(&mut self, count: u64, read: impl Fn(&mut Self) -> Result<Listpack>) -> Result<List> {
        let mut list = List::new();
        for _ in 0..count {
            let pack = read(self)?;
            list.append(pack, self.limits);
        }
        Ok(list)
    }

    /// One node of a quicklist.
    fn node(&mut self) -> Result<Listpack> {
        match self.input.length()? {
            NODE_PACKED => self.packed(Listpack::from_redis),
            NODE_PLAIN => {
                self.element()?;
                let mut pack = Listpack::new();
                pack.push_back(&self.scratch.string[..]);
                Ok(pack)
            }
            _ => self.input.malformed("an unknown node of a list"),
        }
    }

    fn set(&mut self) -> Result<Set> {
        let mut set = Set::new();
        let count = self.input.length()?;
        for _ in 0..count {
            self.element()?;
            if set.is_empty() {
                set.expect(&self.scratch.string, usize::try_from(count).unwrap_or(usize::MAX), self.limits);
            }
            if !set.add(&self.scratch.string[..], self.limits) {
                return self.input.malformed("a member is there twice");
            }
        }
        Ok(set)
    }

    fn intset(&mut self) -> Result<Set> {
        self.input.string(&mut self.scratch.string)?;
        let ints = IntSet::from_redis(&self.scratch.string);
        let ints = ints.ok_or(self.input.error(Cause::Malformed("a set of integers")))?;
        Ok(Set::of_intset(ints, self.limits))
    }

    fn zset(&mut self, kind: u8) -> Result<ZSet> {
        let (mut zset, mut piece) = (ZSet::new(), Piece::default());
        for _ in 0..self.input.length()? {
            self.element()?;
            let score = if kind == kind::ZSET_2 { f64::from_le_bytes(self.input.array()?) } else { self.old_score()? };
            if score.is_nan() {
                return self.input.malformed("a score that is no number");
            }
            piece.push(&self.scratch.string, score);
            if piece.members.len() > PIECE_BYTES {
                self.insert(&mut zset, &mut piece)?;
            }
        }
        self.insert(&mut zset, &mut piece)?;
        Ok(zset)
    }

    fn insert(&self, zset: &mut ZSet, piece: &mut Piece) -> Result<()> {
        if piece.insert_into(zset, self.limits) { Ok(()) } else { self.input.malformed("a member is there twice") }
    }

    /// A score as text, with its length in one byte.
    fn old_score(&mut self) -> Result<f64> {
        let len = match self.input.byte()? {
            255 => return Ok(f64::NEG_INFINITY),
            254 => return Ok(f64::INFINITY),
            253 => return Ok(f64::NAN),
            len => usize::from(len),
        };
        let mut text = [0; 252];
        for byte in &mut text[..len] {
            *byte = self.input.byte()?;
        }
        parse_double(&text[..len]).ok_or(self.input.error(Cause::Malformed("a score")))
    }

    /// Fields with their values, and their deadlines before or behind them.
    fn hash(
        &mut self,
        before: impl Fn(&mut Self) -> Result<Option<i64>>,
        behind: impl Fn(&mut Self) -> Result<Option<i64>>,
    ) -> Result<Hash> {
        let mut hash = Hash::new();
        let count = self.input.length()?;
        hash.expect(usize::try_from(count).unwrap_or(usize::MAX), std::iter::empty(), self.limits);
        for _ in 0..count {
            let before_ms = before(self)?;
            self.element()?;
            std::mem::swap(&mut self.scratch.string, &mut self.scratch.value);
            self.element()?;
            let deadline_ms = before_ms.or(behind(self)?);
            let (field, value) = (&self.scratch.value, &self.scratch.string);
            if hash.set_until(field, value, deadline_ms, self.limits) == SetOutcome::Replaced {
                return self.input.malformed("a field is there twice");
            }
        }
        Ok(hash)
    }

    /// A deadline as its distance from another one, from 1 on; 0 is none.
    fn deadline_ahead(&mut self, first_ms: i64) -> Result<Option<i64>> {
        let Some(ahead) = self.input.length()?.checked_sub(1) else { return Ok(None) };
        let deadline_ms = i64::try_from(ahead).ok().and_then(|ahead| first_ms.checked_add(ahead));
        self.deadline(deadline_ms.unwrap_or(i64::MAX)).map(Some)
    }

    fn deadline_behind(&mut self) -> Result<Option<i64>> {
        match self.input.i64()? {
            NO_DEADLINE => Ok(None),
            deadline_ms => self.deadline(deadline_ms).map(Some),
        }
    }

    fn deadline(&self, deadline_ms: i64) -> Result<i64> {
        if (0..=FIELD_DEADLINE_MAX).contains(&deadline_ms) {
            Ok(deadline_ms)
        } else {
            self.input.malformed("the deadline of a field")
        }
    }

    /// A listpack of fields, values and deadlines in turn; 0 is none.
    fn hash_of_triples(&mut self) -> Result<Hash> {
        let pack = self.packed(Listpack::from_redis)?;
        if !pack.len().is_multiple_of(3) {
            return self.input.malformed("fields without values or deadlines");
        }
        let mut hash = Hash::new();
        let mut buffers = [itoa::Buffer::new(); 2];
        let [for_field, for_value] = &mut buffers;
        let mut elems = pack.iter().map(|(_, elem)| elem);
        while let (Some(field), Some(value), Some(deadline)) = (elems.next(), elems.next(), elems.next()) {
            let deadline_ms = match deadline {
                Elem::Int(0) => None,
                Elem::Int(deadline_ms) => Some(self.deadline(deadline_ms)?),
                Elem::Bytes(_) => return self.input.malformed("the deadline of a field"),
            };
            let (field, value) = (field.bytes(for_field), value.bytes(for_value));
            if hash.set_until(field, value, deadline_ms, self.limits) == SetOutcome::Replaced {
                return self.input.malformed("a field is there twice");
            }
        }
        Ok(hash)
    }
}

/// Some members of a sorted set. Redis writes the highest first, but a set is filled fastest from the lowest on.
#[derive(Default)]
struct Piece {
    members: Vec<u8>,
    /// Scores, and where the members end.
    scores: Vec<(f64, usize)>,
}

impl Piece {
    fn push(&mut self, member: &[u8], score: f64) {
        self.members.extend_from_slice(member);
        self.scores.push((score, self.members.len()));
    }

    /// Empties itself; false when a member was there.
    fn insert_into(&mut self, zset: &mut ZSet, limits: &Limits) -> bool {
        let is_new = self.scores.iter().enumerate().rev().all(|(index, (score, end))| {
            let start = index.checked_sub(1).map_or(0, |before| self.scores[before].1);
            zset.insert(&self.members[start..*end], *score, limits) == Outcome::Added
        });
        self.members.clear();
        self.scores.clear();
        is_new
    }
}
