//! One key with its value: one allocation behind an 8-byte slot.
//!
//! ```text
//! header, 12 bytes | long word, 0 or 4 | expiry word, 8, when set | fixed part, 0 to 16 | key | inline string
//!
//! header       kind 1 | flags 1 | key length 2 | inline length 2 | epoch 2 | access clock 4
//! long word    the length of a key that 2 bytes cannot tell, or padding
//! expiry word  deadline 48 bits | generation 16 bits  (see [`super::timers`]), or a far deadline, 64 bits
//! fixed part   inline string 0 | integer 8 | pointer to a long string 8 | handle of a collection 16
//! ```
//!
//! Pointers and handles are lent as references, so their entries have the long word, whatever the key, and all that
//! follows it is aligned to 8 bytes. Integers and the expiry word are copied in and out and need no alignment. The four
//! bytes matter: a key of 16 bytes with a string of 100 is exactly 128 bytes, a size class; 132 would take 160.
//!
//! Allocations are as large as the allocator's size class: a value may be overwritten in place when the new one falls
//! into the same class, and only then, so no entry keeps a block that is too large for it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::slice;

use super::timers::{Deadline, Mark};
use super::value::{Blob, INLINE_BYTES_MAX, Kind, Value, ValueMut, ValueRef};
use crate::memory::size_class;
use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;
use crate::types::{Elem, parse_int};

/// Keys are at most this long, as in Redis. Longer ones are refused before they come here.
pub const KEY_BYTES_MAX: usize = 512 << 20;

/// Strings up to this long are told as `embstr` by OBJECT ENCODING, as Redis does.
const EMBSTR_BYTES_MAX: usize = 44;

/// A key, its value and its deadline. Owned: dropping it frees all three.
///
/// It is changed through [`super::EntryMut`], which a table lends.
#[repr(transparent)]
pub struct Entry(NonNull<Header>);

#[repr(C)]
struct Header {
    kind: Kind,
    flags: u8,
    /// The lower half when there is a long word.
    key_len: u16,
    inline_len: u16,
    epoch: Cell<u16>,
    /// For eviction: see [`super::access`].
    access: Cell<u32>,
}

/// Where everything is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    kind: Kind,
    flags: u8,
    inline_len: u16,
    key_len: u32,
}

/// There is an expiry word.
const EXPIRY: u8 = 1;
/// Eight-byte words of the fixed part.
const FIXED_SHIFT: u8 = 1;
const FIXED_MASK: u8 = 3 << FIXED_SHIFT;
/// The fixed part of a string is a [`Blob`]; otherwise, if there is one, an integer.
const BLOB: u8 = 1 << 3;
/// The string was edited: OBJECT ENCODING tells `raw` even if it is short.
const RAW: u8 = 1 << 4;
/// The expiry word is a far deadline.
const FAR: u8 = 1 << 5;
/// The length of the key is in the long word.
const LONG_KEY: u8 = 1 << 6;
/// Any of these: there is a long word, with a length or as padding before what is lent as a reference.
const WIDE: u8 = LONG_KEY | BLOB | 2 << FIXED_SHIFT;

const HEADER_BYTES: usize = size_of::<Header>();
/// Where the long word is.
const LONG_WORD_AT: usize = HEADER_BYTES;
const LONG_WORD_BYTES: usize = size_of::<u32>();

/// The alignment of an entry, which makes that of handles behind whole words.
const ALIGN: usize = 8;

const _: () = assert!(size_of::<Entry>() == 8 && size_of::<Option<Entry>>() == 8);
const _: () = assert!(HEADER_BYTES == 12 && align_of::<Header>() <= ALIGN);
const _: () = assert!(LONG_WORD_AT.is_multiple_of(4) && (LONG_WORD_AT + LONG_WORD_BYTES).is_multiple_of(ALIGN));
const _: () = assert!(size_of::<Blob>() == 8 && align_of::<Blob>() <= ALIGN);
const _: () = assert!(size_of::<List>() <= 16 && align_of::<List>() <= ALIGN);
const _: () = assert!(size_of::<Set>() <= 16 && align_of::<Set>() <= ALIGN);
const _: () = assert!(size_of::<Hash>() <= 16 && align_of::<Hash>() <= ALIGN);
const _: () = assert!(size_of::<ZSet>() <= 16 && align_of::<ZSet>() <= ALIGN);
const _: () = assert!(INLINE_BYTES_MAX <= u16::MAX as usize);

const fn assert_send<T: Send>() {}
const _: () = assert_send::<Value>();

// SAFETY: an entry owns its allocation as a `Box` would, and all that it holds is `Send` (asserted above).
unsafe impl Send for Entry {}

/// What is about to be written into an entry.
pub(super) enum Body<'a> {
    /// At most [`INLINE_BYTES_MAX`].
    Inline(&'a [u8]),
    Int(i64),
    Blob(Blob),
    List(List),
    Set(Set),
    Hash(Hash),
    ZSet(ZSet),
}

impl<'a> Body<'a> {
    /// A string as it is best stored: an integer, inline, or outside.
    #[inline]
    pub(super) fn string(bytes: &'a [u8]) -> Body<'a> {
        match parse_int(bytes) {
            Some(int) => Body::Int(int),
            None => Body::bytes(bytes),
        }
    }

    /// A string that is to stay bytes.
    #[inline]
    pub(super) fn bytes(bytes: &'a [u8]) -> Body<'a> {
        if bytes.len() <= INLINE_BYTES_MAX { Body::Inline(bytes) } else { Body::Blob(Blob::new(bytes.to_vec())) }
    }

    fn fixed_words(&self) -> u8 {
        match self {
            Body::Inline(_) => 0,
            Body::Int(_) | Body::Blob(_) => 1,
            Body::List(_) | Body::Set(_) | Body::Hash(_) | Body::ZSet(_) => 2,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Body::Inline(_) | Body::Int(_) | Body::Blob(_) => Kind::String,
            Body::List(_) => Kind::List,
            Body::Set(_) => Kind::Set,
            Body::Hash(_) => Kind::Hash,
            Body::ZSet(_) => Kind::ZSet,
        }
    }
}

/// Calls `then` with a value as a body.
pub(super) fn with_body<R>(value: Value, then: impl FnOnce(Body<'_>) -> R) -> R {
    match value {
        Value::Int(int) => then(Body::Int(int)),
        Value::Bytes(bytes) if bytes.len() > INLINE_BYTES_MAX => then(Body::Blob(Blob::new(bytes.into_vec()))),
        Value::Bytes(bytes) => then(Body::Inline(&bytes)),
        Value::Blob(blob) => then(Body::Blob(blob)),
        Value::List(list) => then(Body::List(list)),
        Value::Set(set) => then(Body::Set(set)),
        Value::Hash(hash) => then(Body::Hash(hash)),
        Value::ZSet(zset) => then(Body::ZSet(zset)),
    }
}

impl Shape {
    fn new(key_len: usize, body: &Body<'_>, raw: bool, deadline: Option<Deadline>) -> Shape {
        let mut flags = body.fixed_words() << FIXED_SHIFT;
        if let Body::Blob(_) = body {
            flags |= BLOB;
        }
        if raw {
            flags |= RAW;
        }
        if key_len > usize::from(u16::MAX) {
            flags |= LONG_KEY;
        }
        match deadline {
            Some(Deadline::Near(_)) => flags |= EXPIRY,
            Some(Deadline::Far(_)) => flags |= EXPIRY | FAR,
            None => {}
        }
        let inline_len = match body {
            Body::Inline(bytes) => u16::try_from(bytes.len()).expect("longer strings are blobs"),
            _ => 0,
        };
        assert!(key_len <= KEY_BYTES_MAX, "a key of {key_len} bytes");
        Shape { kind: body.kind(), flags, inline_len, key_len: key_len as u32 }
    }

    /// Where the expiry word is, if there is one: header and long word end here.
    #[inline]
    fn expiry_at(self) -> usize {
        HEADER_BYTES + LONG_WORD_BYTES * usize::from(self.flags & WIDE != 0)
    }

    #[inline]
    fn fixed_at(self) -> usize {
        self.expiry_at() + 8 * usize::from(self.flags & EXPIRY)
    }

    #[inline]
    fn fixed_bytes(self) -> usize {
        8 * usize::from((self.flags & FIXED_MASK) >> FIXED_SHIFT)
    }

    #[inline]
    fn key_at(self) -> usize {
        self.fixed_at() + self.fixed_bytes()
    }

    #[inline]
    fn inline_at(self) -> usize {
        self.key_at() + self.key_len as usize
    }

    #[inline]
    fn end(self) -> usize {
        self.inline_at() + usize::from(self.inline_len)
    }

    #[inline]
    fn allocated(self) -> usize {
        size_class(self.end())
    }

    /// The class was computed for a size that could be allocated.
    #[inline]
    fn layout(self) -> Layout {
        Layout::from_size_align(self.allocated(), ALIGN).expect("a key and 1 kB fit")
    }

    #[inline]
    fn is_inline(self) -> bool {
        self.flags & FIXED_MASK == 0
    }

    #[inline]
    fn is_int(self) -> bool {
        self.flags & (FIXED_MASK | BLOB) == 1 << FIXED_SHIFT
    }
}

impl Entry {
    /// An entry that no table holds yet. Whoever inserts it files its deadline.
    pub fn new(key: &[u8], value: Value) -> Entry {
        with_body(value, |body| Entry::build(key, body, false, None))
    }

    /// The same for a string, without a value in between.
    pub fn of_string(key: &[u8], bytes: &[u8]) -> Entry {
        Entry::build(key, Body::string(bytes), false, None)
    }

    /// The entry with another deadline in Unix milliseconds, or none; for one that no table holds yet.
    pub fn until(mut self, deadline_ms: Option<i64>) -> Entry {
        self.set_deadline(deadline_ms.map(Deadline::Far));
        self
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the key's bytes were written when the shape was, and live as long as `self` is borrowed.
        unsafe { slice::from_raw_parts(self.at(shape.key_at()), shape.key_len as usize) }
    }

    #[inline]
    pub fn kind(&self) -> Kind {
        self.shape().kind
    }

    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        let shape = self.shape();
        // SAFETY: the kind names the type of the handle in the fixed part, which lives as long as `self` is borrowed.
        unsafe {
            match shape.kind {
                Kind::String => ValueRef::String(self.string(shape)),
                Kind::List => ValueRef::List(&*self.fixed()),
                Kind::Set => ValueRef::Set(&*self.fixed()),
                Kind::Hash => ValueRef::Hash(&*self.fixed()),
                Kind::ZSet => ValueRef::ZSet(&*self.fixed()),
            }
        }
    }

    /// The content of a string; `None` for other kinds.
    #[inline]
    pub fn as_string(&self) -> Option<Elem<'_>> {
        match self.value() {
            ValueRef::String(elem) => Some(elem),
            _ => None,
        }
    }

    /// A long string, shared instead of copied: for replies that are written after the lock is gone.
    pub fn as_blob(&self) -> Option<&Blob> {
        let shape = self.shape();
        // SAFETY: the flag says that the fixed part holds a `Blob`, which lives as long as `self` is borrowed.
        (shape.flags & BLOB != 0).then(|| unsafe { &*self.fixed::<Blob>() })
    }

    /// Unix time in milliseconds; `None` when the key stays.
    #[inline]
    pub fn expires_at(&self) -> Option<i64> {
        self.deadline().map(Deadline::ms)
    }

    /// Whether the deadline has come. Unlike in Redis the deadline itself counts: the thread that waits for it then
    /// finds the key due when it wakes.
    #[inline]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.expires_at().is_some_and(|deadline_ms| deadline_ms <= now_ms)
    }

    /// OBJECT ENCODING of a string: `int`, `embstr` or `raw`; `None` for other kinds, which know their own.
    pub fn string_encoding(&self) -> Option<&'static str> {
        let shape = self.shape();
        (shape.kind == Kind::String).then(|| {
            if shape.is_int() {
                "int"
            } else if shape.is_inline() && shape.flags & RAW == 0 && usize::from(shape.inline_len) <= EMBSTR_BYTES_MAX {
                "embstr"
            } else {
                "raw"
            }
        })
    }

    /// The snapshot epoch of the last change, modulo 2^16: to be compared with the current one for equality, never for
    /// order. That is exact as long as no entry is more than one epoch behind, which is the snapshots' to arrange: each
    /// visits every entry and leaves it in its own epoch before the next may begin. Whoever adds an entry gives it the
    /// current one; a new entry has 0.
    #[inline]
    pub fn epoch(&self) -> u16 {
        self.header().epoch.get()
    }

    #[inline]
    pub fn set_epoch(&self, epoch: u16) {
        self.header().epoch.set(epoch);
    }

    /// See [`super::access`].
    #[inline]
    pub fn access(&self) -> u32 {
        self.header().access.get()
    }

    #[inline]
    pub fn set_access(&self, clock: u32) {
        self.header().access.set(clock);
    }

    /// Bytes taken from the allocator for header, key, and what is inline; a long string with its capacity. What a
    /// collection's handle points to is not counted.
    pub fn allocated_bytes(&self) -> usize {
        self.shape().allocated() + self.as_blob().map_or(0, Blob::allocated_bytes)
    }

    /// The value for a snapshot, DUMP or a reply; see [`Value::freeze`].
    pub fn freeze(&self) -> Value {
        match self.value() {
            ValueRef::String(Elem::Int(int)) => Value::Int(int),
            ValueRef::String(Elem::Bytes(bytes)) => match self.as_blob() {
                Some(blob) => Value::Blob(blob.clone()),
                None => Value::Bytes(bytes.into()),
            },
            ValueRef::List(list) => Value::List(list.freeze()),
            ValueRef::Set(set) => Value::Set(set.freeze()),
            ValueRef::Hash(hash) => Value::Hash(hash.freeze()),
            ValueRef::ZSet(zset) => Value::ZSet(zset.freeze()),
        }
    }

    /// The same value (frozen), encoding, deadline and access clock under another key.
    pub fn copy_as(&self, key: &[u8]) -> Entry {
        let raw = self.is_raw();
        let copy = with_body(self.freeze(), |body| Entry::build(key, body, raw, self.deadline()));
        copy.set_access(self.access());
        copy
    }

    /// The same value, encoding, deadline and clocks under another key: RENAME.
    pub fn rekey(self, key: &[u8]) -> Entry {
        let (epoch, access, deadline) = (self.epoch(), self.access(), self.deadline());
        let raw = self.is_raw();
        let moved = with_body(self.into_value(), |body| Entry::build(key, body, raw, deadline));
        moved.set_epoch(epoch);
        moved.set_access(access);
        moved
    }

    /// Moves the value out.
    pub fn into_value(self) -> Value {
        let entry = ManuallyDrop::new(self);
        // SAFETY: the entry is neither used nor dropped after its value was read and its memory released.
        unsafe {
            let value = entry.read_value();
            dealloc(entry.base(), entry.shape().layout());
            value
        }
    }

    pub(super) fn build(key: &[u8], body: Body<'_>, raw: bool, deadline: Option<Deadline>) -> Entry {
        let shape = Shape::new(key.len(), &body, raw, deadline);
        let entry = Entry(allocate(shape));
        // SAFETY: the allocation is `shape.allocated()` long, which reaches beyond `shape.end()`; all that the shape
        // promises is written here: clocks and key now, the rest by `write`, before which no header is read.
        unsafe {
            (&raw mut (*entry.0.as_ptr()).epoch).write(Cell::new(0));
            (&raw mut (*entry.0.as_ptr()).access).write(Cell::new(0));
            ptr::copy_nonoverlapping(key.as_ptr(), entry.at(shape.key_at()), key.len());
            entry.write(shape, body, deadline);
        }
        entry
    }

    /// Replaces value, encoding and deadline; key and clocks stay. In place when the size class stays. Returns the
    /// old value when it is one whose drop may take time.
    pub(super) fn rewrite(&mut self, body: Body<'_>, raw: bool, deadline: Option<Deadline>) -> Option<Value> {
        let old = self.shape();
        let new = Shape::new(old.key_len as usize, &body, raw, deadline);
        let key_len = old.key_len as usize;
        if let (Body::Inline(bytes), true, None) = (&body, new == old, deadline) {
            // A string over one of the same length, the common SET: header and key are as they were.
            // SAFETY: equal shapes keep as many inline bytes in the same place; `bytes` borrows from elsewhere.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(new.inline_at()), bytes.len()) };
            return None;
        }
        // SAFETY: the old value is read before its bytes are overwritten and is not dropped by anyone else, because
        // the new shape and value replace it below without a way out in between (a failed allocation aborts).
        let shed = unsafe { self.read_heavy() };
        if new.allocated() == old.allocated() {
            // Mostly the key stays where it is.
            if new.key_at() != old.key_at() {
                // SAFETY: both shapes end within the allocation; `copy` allows the ranges to overlap.
                unsafe { ptr::copy(self.at(old.key_at()), self.at(new.key_at()), key_len) };
            }
        } else {
            let fresh = allocate(new);
            // SAFETY: the two allocations are distinct and as long as their shapes. The old one is released with the
            // layout it was made with and then forgotten. The long word of the fresh one is not read before `write`.
            unsafe {
                fresh.write(self.0.read());
                ptr::copy_nonoverlapping(self.at(old.key_at()), fresh.cast::<u8>().as_ptr().add(new.key_at()), key_len);
                dealloc(self.base(), old.layout());
            }
            self.0 = fresh;
        }
        // SAFETY: the allocation fits `new`, its key is in place, and `write` brings the rest.
        unsafe { self.write(new, body, deadline) };
        shed
    }

    /// Adds, changes or removes the expiry word; everything else moves as it is.
    pub(super) fn set_deadline(&mut self, deadline: Option<Deadline>) {
        let old = self.shape();
        let mut new = old;
        new.flags &= !(EXPIRY | FAR);
        new.flags |= match deadline {
            None => 0,
            Some(Deadline::Near(_)) => EXPIRY,
            Some(Deadline::Far(_)) => EXPIRY | FAR,
        };
        let rest = old.end() - old.fixed_at();
        if new.allocated() == old.allocated() {
            // SAFETY: what follows the expiry word is as long in both shapes, and both end within the allocation.
            unsafe { ptr::copy(self.at(old.fixed_at()), self.at(new.fixed_at()), rest) };
        } else {
            let fresh = allocate(new);
            // SAFETY: as in `rewrite`. Header and long word, which may be uninitialised padding and is copied as bytes,
            // end at the same place in both shapes. Moving a handle's bytes moves the handle; the old ones are released
            // undropped.
            unsafe {
                ptr::copy_nonoverlapping(self.base(), fresh.cast::<u8>().as_ptr(), old.expiry_at());
                ptr::copy_nonoverlapping(
                    self.at(old.fixed_at()),
                    fresh.cast::<u8>().as_ptr().add(new.fixed_at()),
                    rest,
                );
                dealloc(self.base(), old.layout());
            }
            self.0 = fresh;
        }
        self.set_shape(new);
        if let Some(deadline) = deadline {
            // SAFETY: the new shape has an expiry word there, and eight bytes for it. It may be unaligned.
            unsafe { self.at(new.expiry_at()).cast::<u64>().write_unaligned(deadline.to_word().0) };
        }
    }

    /// Makes an inline string longer, filled with zeros, and marks it as edited.
    pub(super) fn grow_inline(&mut self, len: usize) {
        let old = self.shape();
        assert!(old.kind == Kind::String && old.is_inline());
        let mut new = old;
        new.inline_len = u16::try_from(len).expect("longer strings are blobs");
        assert!(new.inline_len >= old.inline_len && len <= INLINE_BYTES_MAX);
        new.flags |= RAW;
        if new.allocated() != old.allocated() {
            // SAFETY: the pointer came from this allocator with this layout; a larger class is not zero and in range.
            let grown = unsafe { realloc(self.base(), old.layout(), new.allocated()) };
            self.0 = NonNull::new(grown.cast()).unwrap_or_else(|| handle_alloc_error(new.layout()));
        }
        // SAFETY: the allocation fits `new`, whose inline string is the last thing in it.
        unsafe { self.at(old.end()).write_bytes(0, new.end() - old.end()) };
        self.set_shape(new);
    }

    /// The bytes of an inline string.
    pub(super) fn inline_mut(&mut self) -> &mut [u8] {
        let shape = self.shape();
        assert!(shape.kind == Kind::String && shape.is_inline());
        // SAFETY: they were written when the shape was, and are borrowed as `self` is.
        unsafe { slice::from_raw_parts_mut(self.at(shape.inline_at()), usize::from(shape.inline_len)) }
    }

    pub(super) fn blob_mut(&mut self) -> Option<&mut Blob> {
        let shape = self.shape();
        // SAFETY: the flag says that the fixed part holds a `Blob`, which is borrowed as `self` is.
        (shape.flags & BLOB != 0).then(|| unsafe { &mut *self.fixed::<Blob>() })
    }

    /// Whether it is a string that is stored as an integer.
    pub(super) fn is_int(&self) -> bool {
        let shape = self.shape();
        shape.kind == Kind::String && shape.is_int()
    }

    /// Overwrites the integer of an integer string; of others nothing, and `false` is returned.
    pub(super) fn overwrite_int(&mut self, int: i64) -> bool {
        let is_int = self.is_int();
        if is_int {
            // SAFETY: the shape says that the fixed part holds an integer. It may be unaligned.
            unsafe { self.fixed::<i64>().write_unaligned(int) };
        }
        is_int
    }

    pub(super) fn value_mut(&mut self) -> ValueMut<'_> {
        // SAFETY: as in `value`, and the handle is borrowed as `self` is.
        unsafe {
            match self.shape().kind {
                Kind::String => ValueMut::String,
                Kind::List => ValueMut::List(&mut *self.fixed()),
                Kind::Set => ValueMut::Set(&mut *self.fixed()),
                Kind::Hash => ValueMut::Hash(&mut *self.fixed()),
                Kind::ZSet => ValueMut::ZSet(&mut *self.fixed()),
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        let shape = self.shape();
        (shape.flags & EXPIRY != 0).then(|| {
            // SAFETY: the flag says that the expiry word is there. It may be unaligned.
            let word = unsafe { self.at(shape.expiry_at()).cast::<u64>().read_unaligned() };
            Deadline::from_word(word, shape.flags & FAR != 0)
        })
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        match self.deadline() {
            Some(Deadline::Near(mark)) => Some(mark),
            _ => None,
        }
    }

    fn is_raw(&self) -> bool {
        self.shape().flags & RAW != 0
    }

    /// Marks a string as edited.
    pub(super) fn set_raw(&mut self) {
        let mut shape = self.shape();
        shape.flags |= RAW;
        self.set_shape(shape);
    }

    /// The first cache lines of the entry, for prefetching.
    #[inline]
    pub(super) fn address(&self) -> *const u8 {
        self.base()
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: an entry always points to a written header, which lives as long as it does.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let &Header { kind, flags, key_len, inline_len, .. } = self.header();
        let key_len = if flags & LONG_KEY == 0 {
            u32::from(key_len)
        } else {
            // SAFETY: the flag says that the long word is there and holds a length. It is aligned: asserted above.
            unsafe { self.at(LONG_WORD_AT).cast::<u32>().read() }
        };
        Shape { kind, flags, inline_len, key_len }
    }

    /// The caller has arranged the allocation so that it is true. The key is as long as before, so the long word stays.
    fn set_shape(&mut self, shape: Shape) {
        debug_assert_eq!(self.shape().key_len, shape.key_len);
        // SAFETY: an entry always points to a header, and nobody else has it while `self` is borrowed mutably.
        unsafe { self.put_shape(shape) };
    }

    /// Writes all of the header but the clocks, field by field: put together first, SET is a tenth slower.
    ///
    /// # Safety
    /// Nobody reads the entry meanwhile.
    #[inline]
    unsafe fn put_shape(&self, shape: Shape) {
        let header = self.0.as_ptr();
        // SAFETY: an entry always points to memory for a header; promised by the caller.
        unsafe {
            (&raw mut (*header).kind).write(shape.kind);
            (&raw mut (*header).flags).write(shape.flags);
            (&raw mut (*header).key_len).write(shape.key_len as u16);
            (&raw mut (*header).inline_len).write(shape.inline_len);
        }
    }

    #[inline]
    fn base(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// # Safety
    /// `offset` lies within the allocation.
    #[inline]
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: promised by the caller; the pointer has the provenance of the whole allocation.
        unsafe { self.base().add(offset) }
    }

    /// The fixed part. Aligned to eight bytes if it is anything but an integer: there is a long word then, with which
    /// the header is whole words, as the expiry word is.
    #[inline]
    fn fixed<T>(&self) -> *mut T {
        // SAFETY: the fixed part begins at or before the end of the shape.
        unsafe { self.at(self.shape().fixed_at()) }.cast()
    }

    /// # Safety
    /// `shape` is the entry's, and its kind is a string.
    #[inline]
    unsafe fn string(&self, shape: Shape) -> Elem<'_> {
        // SAFETY: the flags of a string say what was written: inline bytes, a blob, or an integer, perhaps unaligned.
        unsafe {
            if shape.is_inline() {
                Elem::Bytes(slice::from_raw_parts(self.at(shape.inline_at()), usize::from(shape.inline_len)))
            } else if shape.flags & BLOB != 0 {
                Elem::Bytes((*self.fixed::<Blob>()).bytes())
            } else {
                Elem::Int(self.fixed::<i64>().read_unaligned())
            }
        }
    }

    /// # Safety
    /// Handles are read bitwise: the entry must not drop or read its value again.
    unsafe fn read_value(&self) -> Value {
        // SAFETY: `read_heavy` has the same condition; what it does not read is plain data.
        match unsafe { self.read_heavy() } {
            Some(value) => value,
            None => self.freeze(),
        }
    }

    /// The value when it is a handle whose drop frees something.
    ///
    /// # Safety
    /// Handles are read bitwise: the entry must not drop or read its value again.
    #[inline]
    unsafe fn read_heavy(&self) -> Option<Value> {
        let shape = self.shape();
        // SAFETY: kind and flags name the type that was written into the fixed part.
        unsafe {
            match shape.kind {
                Kind::String if shape.flags & BLOB == 0 => None,
                Kind::String => Some(Value::Blob(self.fixed::<Blob>().read())),
                Kind::List => Some(Value::List(self.fixed::<List>().read())),
                Kind::Set => Some(Value::Set(self.fixed::<Set>().read())),
                Kind::Hash => Some(Value::Hash(self.fixed::<Hash>().read())),
                Kind::ZSet => Some(Value::ZSet(self.fixed::<ZSet>().read())),
            }
        }
    }

    /// Writes shape, long word, expiry word and value over whatever is there.
    ///
    /// # Safety
    /// The allocation fits `shape`, which was computed from `body` and `deadline`; the key is where it says.
    #[inline]
    unsafe fn write(&self, shape: Shape, body: Body<'_>, deadline: Option<Deadline>) {
        // SAFETY: the fixed part is as long as the body needs, and aligned to eight bytes for all but integers, as the
        // long word is to four; inline bytes follow the key and end within the allocation; `body` borrows from
        // elsewhere, so nothing overlaps.
        unsafe {
            self.put_shape(shape);
            if shape.flags & LONG_KEY != 0 {
                self.at(LONG_WORD_AT).cast::<u32>().write(shape.key_len);
            }
            if let Some(deadline) = deadline {
                self.at(shape.expiry_at()).cast::<u64>().write_unaligned(deadline.to_word().0);
            }
            match body {
                Body::Inline(bytes) => {
                    ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(shape.inline_at()), bytes.len())
                }
                Body::Int(int) => self.fixed::<i64>().write_unaligned(int),
                Body::Blob(blob) => self.fixed::<Blob>().write(blob),
                Body::List(list) => self.fixed::<List>().write(list),
                Body::Set(set) => self.fixed::<Set>().write(set),
                Body::Hash(hash) => self.fixed::<Hash>().write(hash),
                Body::ZSet(zset) => self.fixed::<ZSet>().write(zset),
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: this is the last use of the value and of the memory, which is released with its layout.
        unsafe {
            let value = self.read_heavy();
            dealloc(self.base(), self.shape().layout());
            drop(value);
        }
    }
}

fn allocate(shape: Shape) -> NonNull<Header> {
    let layout = shape.layout();
    // SAFETY: no shape is empty: there is always a header.
    NonNull::new(unsafe { alloc(layout) }.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(ms: i64) -> Option<Deadline> {
        Some(Deadline::from_word((ms as u64) << 16 | 3, false))
    }

    fn text(entry: &Entry) -> Vec<u8> {
        entry.as_string().unwrap().to_vec()
    }

    /// Keys with and without a long word.
    fn keys() -> impl Iterator<Item = Vec<u8>> {
        [0, 7, 16, 65_535, 65_536, 70_001].into_iter().map(|len| (0..len).map(|at| (at % 251) as u8).collect())
    }

    #[test]
    fn every_kind_of_string_keeps_key_and_content() {
        let long = vec![b'x'; INLINE_BYTES_MAX + 1];
        for key in keys() {
            for value in [&b""[..], b"0", b"-17", b"+1", b"007", b"hello", &long[..INLINE_BYTES_MAX], &long] {
                for deadline in [None, near(1 << 47), Some(Deadline::Far(i64::MAX))] {
                    let entry = Entry::build(&key, Body::string(value), false, deadline);
                    assert_eq!((entry.key(), entry.kind(), text(&entry)), (&key[..], Kind::String, value.to_vec()));
                    assert_eq!(entry.expires_at(), deadline.map(Deadline::ms));
                    let copy = entry.copy_as(b"k2");
                    assert_eq!((copy.key(), text(&copy), copy.deadline()), (&b"k2"[..], value.to_vec(), deadline));
                    let back = copy.rekey(&key);
                    assert_eq!((back.key(), text(&back), back.deadline()), (&key[..], value.to_vec(), deadline));
                    let moved = entry.rekey(b"");
                    assert_eq!((moved.key(), text(&moved), moved.deadline()), (&b""[..], value.to_vec(), deadline));
                }
            }
        }
    }

    #[test]
    fn collections_are_stored_moved_and_frozen_as_handles() {
        for make in [
            || Value::List(List::new()),
            || Value::Set(Set::new()),
            || Value::Hash(Hash::new()),
            || Value::ZSet(ZSet::new()),
        ] {
            let kind = make().kind();
            let mut entry = Entry::new(b"key", make());
            assert_eq!((entry.kind(), entry.freeze().kind(), entry.string_encoding()), (kind, kind, None));
            entry.set_deadline(near(5));
            entry.set_deadline(None);
            let long = vec![b'k'; 65_536];
            let mut entry = entry.rekey(&long);
            for deadline in [near(6), None] {
                entry.set_deadline(deadline);
                assert_eq!(entry.value_mut_kind(), kind);
                assert_eq!((entry.key(), entry.deadline()), (&long[..], deadline));
            }
            let mut entry = entry.rekey(b"a rather longer key than before");
            assert_eq!(entry.value_mut_kind(), kind);
            assert_eq!(entry.rewrite(Body::Int(3), false, None).unwrap().kind(), kind);
            assert!(entry.rewrite(Body::string(b"x"), false, None).is_none());
            assert!(with_body(make(), |body| entry.rewrite(body, false, near(4))).is_none());
            assert_eq!(entry.into_value().kind(), kind);
        }
    }

    impl Entry {
        fn value_mut_kind(&mut self) -> Kind {
            match self.value_mut() {
                ValueMut::String => Kind::String,
                ValueMut::List(_) => Kind::List,
                ValueMut::Set(_) => Kind::Set,
                ValueMut::Hash(_) => Kind::Hash,
                ValueMut::ZSet(_) => Kind::ZSet,
            }
        }
    }

    #[test]
    fn rewriting_in_every_direction_keeps_key_and_clocks() {
        let long = vec![b'y'; 5000];
        let values = [&b"abc"[..], b"12", &long[..300], &long, b"", &long[..1000], b"-9"];
        let deadlines = [None, near(77), Some(Deadline::Far(1 << 50)), None];
        for key in keys() {
            let mut entry = Entry::new(&key, Value::string(b"first"));
            entry.set_epoch(u16::MAX);
            entry.set_access(9);
            for (from, to) in values.iter().flat_map(|from| values.iter().map(move |to| (from, to))) {
                for deadline in deadlines {
                    entry.rewrite(Body::string(from), false, deadline);
                    for next in deadlines {
                        entry.set_deadline(next);
                        assert_eq!((entry.key(), text(&entry), entry.deadline()), (&key[..], from.to_vec(), next));
                    }
                    entry.rewrite(Body::string(to), false, deadline);
                    assert_eq!((entry.key(), text(&entry), entry.deadline()), (&key[..], to.to_vec(), deadline));
                }
            }
            assert_eq!((entry.epoch(), entry.access()), (u16::MAX, 9));
        }
    }

    #[test]
    fn a_long_key_stays_while_its_string_grows() {
        for key in keys() {
            let mut entry = Entry::build(&key, Body::bytes(b"ab"), false, near(3));
            for len in [2, 3, 90, INLINE_BYTES_MAX] {
                entry.grow_inline(len);
                assert_eq!((entry.key(), entry.deadline(), text(&entry).len()), (&key[..], near(3), len));
            }
            assert!(!entry.overwrite_int(5));
            entry.rewrite(Body::Int(4), false, near(3));
            assert!(entry.overwrite_int(i64::MIN));
            assert_eq!((entry.key(), text(&entry)), (&key[..], i64::MIN.to_string().into_bytes()));
        }
    }

    #[test]
    fn entries_take_no_more_than_promised() {
        let key = b"0123456789abcdef";
        let bytes = |value: &[u8], deadline| Entry::build(key, Body::string(value), false, deadline).allocated_bytes();
        assert_eq!(bytes(&[b'v'; 16], None), 48);
        assert_eq!(bytes(&[b'v'; 100], None), 128);
        assert_eq!(bytes(&[b'v'; 16], near(1)), 64);
        assert_eq!(bytes(b"-9223372036854775808", None), 48);
        assert_eq!(bytes(b"12", near(1)), 48);
        assert_eq!(Entry::new(b"twelve bytes", Value::Int(1)).allocated_bytes(), 32);
        assert_eq!(Entry::new(&[b'k'; 65_535], Value::string(b"v")).allocated_bytes(), size_class(65_548));
        assert_eq!(Entry::new(&[b'k'; 65_536], Value::string(b"v")).allocated_bytes(), size_class(65_553));
    }

    #[test]
    fn handles_take_what_they_took_with_sixteen_bytes_of_header() {
        let key = b"0123456789abcdef";
        for make in [
            || Value::List(List::new()),
            || Value::Set(Set::new()),
            || Value::Hash(Hash::new()),
            || Value::ZSet(ZSet::new()),
        ] {
            let mut entry = Entry::new(key, make());
            assert_eq!(entry.allocated_bytes(), 48);
            entry.set_deadline(near(1));
            assert_eq!(entry.allocated_bytes(), 64);
        }
        let blob = Blob::new(vec![b'v'; 5000]);
        let outside = blob.allocated_bytes();
        assert_eq!(Entry::new(key, Value::Blob(blob)).allocated_bytes(), 48 + outside);
    }

    #[test]
    fn the_same_class_is_overwritten_in_place_and_another_is_not_kept() {
        let mut entry = Entry::new(b"0123456789abcdef", Value::string(b"0123456789abcdeX"));
        let address = entry.address();
        assert_eq!(entry.allocated_bytes(), 48);
        entry.rewrite(Body::string(b"short"), false, None);
        entry.rewrite(Body::string(b"1234"), false, None);
        entry.rewrite(Body::string(b"back to full...."), false, None);
        assert_eq!(entry.address(), address);
        entry.rewrite(Body::string(&[b'z'; 500]), false, None);
        entry.rewrite(Body::string(b""), false, None);
        assert_eq!(entry.allocated_bytes(), 32);
    }

    #[test]
    fn a_blob_is_freed_exactly_once() {
        let blob = Blob::new(vec![1; 9]);
        let held = |blob: &Blob| blob.holders();
        let entry = Entry::new(b"k", Value::Blob(blob.clone()));
        let copy = entry.copy_as(b"other");
        assert_eq!(held(&blob), 3);
        let mut entry = entry.rekey(b"k2");
        assert_eq!(held(&blob), 3);
        drop(entry.rewrite(Body::Int(1), false, None));
        assert_eq!(held(&blob), 2);
        drop(copy.into_value());
        assert_eq!(held(&blob), 1);
    }

    #[test]
    fn encodings_are_those_of_redis() {
        let encoding = |bytes: &[u8]| Entry::new(b"k", Value::string(bytes)).string_encoding();
        assert_eq!(encoding(b"12"), Some("int"));
        assert_eq!(encoding(b"9223372036854775808"), Some("embstr"));
        assert_eq!(encoding(&[b'a'; 44]), Some("embstr"));
        assert_eq!(encoding(&[b'a'; 45]), Some("raw"));
        assert_eq!(encoding(&[b'a'; 4500]), Some("raw"));
    }
}
