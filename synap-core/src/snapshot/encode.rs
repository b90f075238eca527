//! Values as the format has them. Collections are written element by element or chunk by chunk, from wherever they are:
//! a frozen one needs no lock.

use std::io::{self, Write};

use super::format::{AUX_DEADLINES, FIELD_DEADLINE_MAX, Flavour, NO_DEADLINE, NODE_PACKED, kind, opcode};
use super::output::{Output, length_bytes};
use crate::keyspace::value::ValueRef;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;

/// An auxiliary field of ours is about as long at most, unless one name is longer.
const AUX_BYTES: usize = 48 << 10;

/// The type, the key if there is one, the value, and what the flavour has no place for inside of it.
pub(super) fn value<W: Write>(
    out: &mut Output<W>,
    key: Option<&[u8]>,
    value: ValueRef<'_>,
    flavour: Flavour,
) -> io::Result<()> {
    Encoder { out, key, flavour }.value(value)
}

/// `name` and `value` as an auxiliary field.
pub(super) fn aux<W: Write>(out: &mut Output<W>, name: &[u8], value: &[u8]) -> io::Result<()> {
    out.byte(opcode::AUX)?;
    out.string(name)?;
    out.string(value)
}

struct Encoder<'o, 'k, W> {
    out: &'o mut Output<W>,
    key: Option<&'k [u8]>,
    flavour: Flavour,
}

impl<W: Write> Encoder<'_, '_, W> {
    fn value(mut self, value: ValueRef<'_>) -> io::Result<()> {
        match value {
            ValueRef::String(elem) => {
                self.begin(kind::STRING)?;
                self.out.elem(elem)
            }
            ValueRef::List(list) => self.list(list),
            ValueRef::Set(set) => self.set(set),
            ValueRef::Hash(hash) => self.hash(hash),
            ValueRef::ZSet(zset) => self.zset(zset),
        }
    }

    fn begin(&mut self, kind: u8) -> io::Result<()> {
        self.out.byte(kind)?;
        self.key.map_or(Ok(()), |key| self.out.string(key))
    }

    fn list(&mut self, list: &List) -> io::Result<()> {
        self.begin(kind::LIST_QUICKLIST_2)?;
        self.out.length(list.chunks().count() as u64)?;
        list.chunks().try_for_each(|(elements, count)| {
            self.out.length(NODE_PACKED)?;
            self.out.listpack(elements, count)
        })
    }

    fn set(&mut self, set: &Set) -> io::Result<()> {
        if let Some(ints) = set.as_intset() {
            let (width, len, integers) = ints.redis_parts();
            self.begin(kind::SET_INTSET)?;
            return self.out.blob([&width, &len, integers]);
        }
        match set.as_listpack() {
            // Redis 7.0 does not know this type, and younger ones make a listpack of the other.
            Some(pack) if self.flavour != Flavour::Redis72 => {
                self.begin(kind::SET_LISTPACK)?;
                self.out.listpack(pack.encoded(), pack.len())
            }
            _ => {
                self.begin(kind::SET)?;
                self.out.length(set.len() as u64)?;
                set.iter().try_for_each(|member| self.out.elem(member))
            }
        }
    }

    fn zset(&mut self, zset: &ZSet) -> io::Result<()> {
        if let Some(pack) = zset.as_listpack() {
            self.begin(kind::ZSET_LISTPACK)?;
            return self.out.listpack(pack.encoded(), pack.len());
        }
        self.begin(kind::ZSET_2)?;
        self.out.length(zset.len() as u64)?;
        // Backwards, as Redis does: its skiplist is filled from the front then.
        zset.iter().rev().try_for_each(|(member, score)| {
            self.out.elem(member)?;
            self.out.put(&score.to_le_bytes())
        })
    }

    fn hash(&mut self, hash: &Hash) -> io::Result<()> {
        if hash.has_ttl() {
            return self.expiring_hash(hash);
        }
        match hash.as_listpack() {
            Some(pack) => {
                self.begin(kind::HASH_LISTPACK)?;
                self.out.listpack(pack.encoded(), pack.len())
            }
            None => self.plain_hash(hash),
        }
    }

    fn plain_hash(&mut self, hash: &Hash) -> io::Result<()> {
        self.begin(kind::HASH)?;
        self.out.length(hash.len() as u64)?;
        hash.iter().try_for_each(|(field, value, _)| {
            self.out.elem(field)?;
            self.out.elem(value)
        })
    }

    fn expiring_hash(&mut self, hash: &Hash) -> io::Result<()> {
        match (self.flavour, first_deadline(hash)) {
            (Flavour::Valkey9, Some(_)) => {
                self.begin(kind::HASH_2)?;
                self.out.length(hash.len() as u64)?;
                hash.iter().try_for_each(|(field, value, deadline_ms)| {
                    self.out.elem(field)?;
                    self.out.elem(value)?;
                    self.out.put(&deadline_ms.unwrap_or(NO_DEADLINE).to_le_bytes())
                })
            }
            (Flavour::Redis8, Some(first_ms)) => {
                self.begin(kind::HASH_METADATA)?;
                self.out.put(&first_ms.to_le_bytes())?;
                self.out.length(hash.len() as u64)?;
                hash.iter().try_for_each(|(field, value, deadline_ms)| {
                    // From the first one on; 0 is none.
                    let ahead = deadline_ms.map_or(0, |deadline_ms| deadline_ms.abs_diff(first_ms) + 1);
                    self.out.length(ahead)?;
                    self.out.elem(field)?;
                    self.out.elem(value)
                })
            }
            _ => {
                self.plain_hash(hash)?;
                self.deadlines(hash)
            }
        }
    }

    /// The deadlines of a hash that was written without them, in pieces.
    fn deadlines(&mut self, hash: &Hash) -> io::Result<()> {
        let mut piece = Vec::new();
        let mut buffer = itoa::Buffer::new();
        for (field, _, deadline_ms) in hash.iter() {
            let Some(deadline_ms) = deadline_ms else { continue };
            let name = field.bytes(&mut buffer);
            let (len, len_bytes) = length_bytes(name.len() as u64);
            piece.extend_from_slice(&len[..len_bytes]);
            piece.extend_from_slice(name);
            piece.extend_from_slice(&deadline_ms.to_le_bytes());
            if piece.len() >= AUX_BYTES {
                aux(self.out, AUX_DEADLINES, &piece)?;
                piece.clear();
            }
        }
        if piece.is_empty() { Ok(()) } else { aux(self.out, AUX_DEADLINES, &piece) }
    }
}

/// The earliest deadline of a field; none when there is one that Redis and Valkey could not hold.
fn first_deadline(hash: &Hash) -> Option<i64> {
    let mut first_ms = FIELD_DEADLINE_MAX;
    for deadline_ms in hash.iter().filter_map(|(_, _, deadline_ms)| deadline_ms) {
        if !(1..=FIELD_DEADLINE_MAX).contains(&deadline_ms) {
            return None;
        }
        first_ms = first_ms.min(deadline_ms);
    }
    Some(first_ms)
}
