//! What a key can hold: the kinds, and a value outside of its entry (owned) or inside of it (borrowed).

use triomphe::Arc;

use crate::memory::size_class;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;
use crate::types::{Elem, parse_int};

/// A string up to this long lives in the entry's own allocation.
///
/// Outside, a value costs a pointer in the entry, the 32 bytes of its [`Blob`] and one more cache miss: at every length
/// from 64 bytes to 8 kB the inline form takes 40 bytes less on average (computed with the allocator's size classes,
/// four for each doubling). So memory sets no limit. Copying does: an inline value is copied, under the lock, when it is
/// frozen and when its entry changes its size.
pub const INLINE_BYTES_MAX: usize = 1024;

/// The type of a value, as the TYPE command tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    String,
    List,
    Set,
    Hash,
    ZSet,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
        }
    }
}

/// A long string, shared between its entry, snapshots that still write it, and replies on their way out.
///
/// Cloning it is O(1). Whoever changes it copies it first when somebody else holds it: once per freeze, O(length).
#[derive(Clone, Debug)]
pub struct Blob(Arc<Vec<u8>>);

impl Blob {
    pub fn new(bytes: Vec<u8>) -> Blob {
        Blob(Arc::new(bytes))
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes taken from the allocator, the unused capacity included.
    pub fn allocated_bytes(&self) -> usize {
        size_class(size_of::<usize>() + size_of::<Vec<u8>>()) + size_class(self.0.capacity())
    }

    /// Entries, snapshots and replies that hold these bytes.
    #[cfg(test)]
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The bytes, to change; copied first when they are shared.
    pub(super) fn make_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.0)
    }

    /// Overwrites the content in place when nobody else holds it and the capacity is neither too small nor more than
    /// twice too large. Otherwise nothing changes and `false` is returned.
    pub(super) fn overwrite(&mut self, bytes: &[u8]) -> bool {
        match Arc::get_mut(&mut self.0) {
            Some(own) if bytes.len() <= own.capacity() && bytes.len() >= own.capacity() / 2 => {
                own.clear();
                own.extend_from_slice(bytes);
                true
            }
            _ => false,
        }
    }
}

/// A value on its own: about to be stored, moved out of an entry, or frozen for a snapshot.
pub enum Value {
    Int(i64),
    Bytes(Box<[u8]>),
    Blob(Blob),
    List(List),
    Set(Set),
    Hash(Hash),
    ZSet(ZSet),
}

impl Value {
    /// A string, kept as an integer when it is one that prints back as the same bytes.
    pub fn string(bytes: &[u8]) -> Value {
        match parse_int(bytes) {
            Some(int) => Value::Int(int),
            None if bytes.len() > INLINE_BYTES_MAX => Value::Blob(Blob::new(bytes.to_vec())),
            None => Value::Bytes(bytes.into()),
        }
    }

    pub fn kind(&self) -> Kind {
        self.view().kind()
    }

    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Value::Int(int) => ValueRef::String(Elem::Int(*int)),
            Value::Bytes(bytes) => ValueRef::String(Elem::Bytes(bytes)),
            Value::Blob(blob) => ValueRef::String(Elem::Bytes(blob.bytes())),
            Value::List(list) => ValueRef::List(list),
            Value::Set(set) => ValueRef::Set(set),
            Value::Hash(hash) => ValueRef::Hash(hash),
            Value::ZSet(zset) => ValueRef::ZSet(zset),
        }
    }

    /// A second value with the same content. Copies at most [`INLINE_BYTES_MAX`] bytes and a collection's spine.
    pub fn freeze(&self) -> Value {
        match self {
            Value::Int(int) => Value::Int(*int),
            Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Value::Blob(blob) => Value::Blob(blob.clone()),
            Value::List(list) => Value::List(list.freeze()),
            Value::Set(set) => Value::Set(set.freeze()),
            Value::Hash(hash) => Value::Hash(hash.freeze()),
            Value::ZSet(zset) => Value::ZSet(zset.freeze()),
        }
    }
}

/// Elements that tell how long the others are.
const MEASURED_MAX: usize = 8;
/// What an element takes besides its content, about.
const ELEMENT_BYTES: usize = 16;

/// A value where it is, to read.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    String(Elem<'a>),
    List(&'a List),
    Set(&'a Set),
    Hash(&'a Hash),
    ZSet(&'a ZSet),
}

impl ValueRef<'_> {
    pub fn kind(self) -> Kind {
        match self {
            ValueRef::String(_) => Kind::String,
            ValueRef::List(_) => Kind::List,
            ValueRef::Set(_) => Kind::Set,
            ValueRef::Hash(_) => Kind::Hash,
            ValueRef::ZSet(_) => Kind::ZSet,
        }
    }

    /// Memory that the elements of a collection take, about: a few stand for all. A string has none.
    pub fn element_bytes(self) -> usize {
        let of = |count: usize, measured: &mut dyn Iterator<Item = usize>| {
            let (number, bytes) = measured.take(MEASURED_MAX).fold((0, 0), |(n, sum), len| (n + 1, sum + len));
            count * (bytes / usize::max(number, 1) + ELEMENT_BYTES)
        };
        match self {
            ValueRef::String(_) => 0,
            ValueRef::List(list) => of(list.len(), &mut list.iter().map(|item| item.len())),
            ValueRef::Set(set) => of(set.len(), &mut set.iter().map(|item| item.len())),
            ValueRef::Hash(hash) => of(hash.len(), &mut hash.iter().map(|(field, value, _)| field.len() + value.len())),
            ValueRef::ZSet(zset) => of(zset.len(), &mut zset.iter().map(|(item, _)| item.len() + size_of::<f64>())),
        }
    }
}

/// A value where it is, to change. A string may have to move to grow, so it is changed through its entry
/// ([`super::EntryMut`]).
pub enum ValueMut<'a> {
    String,
    List(&'a mut List),
    Set(&'a mut Set),
    Hash(&'a mut Hash),
    ZSet(&'a mut ZSet),
}
