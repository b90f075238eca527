//! Changing an entry where it stands.
//!
//! Key and deadline are not changed here: they are known outside of the entry too, by the table and by the timers.

use std::ops::Deref;

use super::entry::{Body, Entry, with_body};
use super::timers::Deadline;
use super::value::{Blob, INLINE_BYTES_MAX, Kind, Value, ValueMut};

/// The slot of an entry in its table, which is told when the entry has to move.
pub struct EntryMut<'a>(&'a mut Entry);

impl<'a> EntryMut<'a> {
    pub(super) fn new(entry: &'a mut Entry) -> EntryMut<'a> {
        EntryMut(entry)
    }

    pub(super) fn entry(&mut self) -> &mut Entry {
        self.0
    }

    /// The collection, to change.
    pub fn value_mut(&mut self) -> ValueMut<'_> {
        self.0.value_mut()
    }

    /// As [`EntryMut::value_mut`], for as long as the table is borrowed.
    pub fn into_value_mut(self) -> ValueMut<'a> {
        self.0.value_mut()
    }

    /// Replaces the value by a string, of any kind before. The deadline stays. Returns the old value when dropping it
    /// may take time, so that it can be dropped after the lock.
    pub fn set_bytes(&mut self, bytes: &[u8]) -> Option<Value> {
        let deadline = self.0.deadline();
        self.store_bytes(bytes, deadline)
    }

    /// Replaces the value. The deadline stays. Returns the old value when dropping it may take time.
    pub fn set_value(&mut self, value: Value) -> Option<Value> {
        let deadline = self.0.deadline();
        with_body(value, |body| self.0.rewrite(body, false, deadline))
    }

    /// Replaces the value by an integer, in place when it was one: INCR.
    pub fn set_int(&mut self, int: i64) -> Option<Value> {
        if self.0.overwrite_int(int) {
            return None;
        }
        self.0.rewrite(Body::Int(int), false, self.0.deadline())
    }

    /// Adds `bytes` at the end of a string and returns its new length. Amortised O(bytes added).
    ///
    /// # Panics
    /// When the entry is not a string, as the other edits of strings do: the kind is looked at before.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let len = self.string_len();
        if let Some(blob) = self.0.blob_mut() {
            blob.make_mut().extend_from_slice(bytes);
        } else {
            self.bytes_mut(len + bytes.len())[len..].copy_from_slice(bytes);
        }
        len + bytes.len()
    }

    /// Overwrites a string from `offset` on, filling a gap with zeros, and returns its length: SETRANGE.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) -> usize {
        let end = offset + bytes.len();
        let content = self.bytes_mut(end);
        content[offset..end].copy_from_slice(bytes);
        content.len()
    }

    /// The bytes of a string, to edit, made longer with zeros if it has fewer than `len_min`: SETBIT, BITFIELD, PFADD.
    /// OBJECT ENCODING tells `raw` from now on, and digits stay bytes.
    pub fn bytes_mut(&mut self, len_min: usize) -> &mut [u8] {
        let len = self.string_len().max(len_min);
        if self.0.blob_mut().is_none() {
            if self.0.is_int() {
                let digits = self.0.as_string().map(|elem| elem.to_vec()).unwrap_or_default();
                self.0.rewrite(Body::bytes(&digits), true, self.0.deadline());
            }
            if len <= INLINE_BYTES_MAX {
                self.0.grow_inline(len);
                return self.0.inline_mut();
            }
            let mut bytes = Vec::with_capacity(len);
            bytes.extend_from_slice(self.0.inline_mut());
            self.0.rewrite(Body::Blob(Blob::new(bytes)), true, self.0.deadline());
        }
        self.0.set_raw();
        let blob = self.0.blob_mut().expect("a string that is not inline is a blob by now");
        let bytes = blob.make_mut();
        bytes.resize(len, 0);
        bytes
    }

    /// The SET of an existing key: value and deadline in one go. A long string takes the place of another one in its
    /// block when nobody shares it.
    #[inline]
    pub(super) fn store_bytes(&mut self, bytes: &[u8], deadline: Option<Deadline>) -> Option<Value> {
        if bytes.len() > INLINE_BYTES_MAX && self.0.blob_mut().is_some_and(|blob| blob.overwrite(bytes)) {
            if self.0.deadline() != deadline {
                self.0.set_deadline(deadline);
            }
            return None;
        }
        self.0.rewrite(Body::string(bytes), false, deadline)
    }

    fn string_len(&self) -> usize {
        assert_eq!(self.0.kind(), Kind::String, "the kind is looked at before a string is edited");
        self.0.as_string().map_or(0, |elem| elem.len())
    }
}

impl Deref for EntryMut<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(entry: &Entry) -> Vec<u8> {
        entry.as_string().unwrap().to_vec()
    }

    #[test]
    fn edited_strings_are_raw_and_stay_bytes() {
        let mut entry = Entry::new(b"k", Value::string(b"12"));
        let mut edit = EntryMut::new(&mut entry);
        assert_eq!(edit.append(b"3"), 3);
        assert_eq!((edit.string_encoding(), text(&edit)), (Some("raw"), b"123".to_vec()));
        edit.set_int(124);
        assert_eq!((edit.string_encoding(), text(&edit)), (Some("int"), b"124".to_vec()));
        edit.set_range(5, b"x");
        assert_eq!(text(&edit), b"124\0\0x");
        edit.set_bytes(b"new");
        assert_eq!(edit.string_encoding(), Some("embstr"));
    }

    #[test]
    fn a_frozen_long_string_does_not_see_later_edits() {
        let mut entry = Entry::new(b"k", Value::string(&[b'a'; 3000]));
        let frozen = entry.freeze();
        let mut edit = EntryMut::new(&mut entry);
        edit.append(b"tail");
        edit.bytes_mut(0)[0] = b'z';
        assert_eq!(edit.as_string().unwrap().len(), 3004);
        let again = edit.freeze();
        edit.set_bytes(&[b'b'; 3000]);
        for (value, first, len) in [(frozen, b'a', 3000), (again, b'z', 3004)] {
            let Value::Blob(blob) = value else { panic!("long strings are blobs") };
            assert_eq!((blob.bytes()[0], blob.bytes().len()), (first, len));
        }
        assert_eq!(text(&edit), [b'b'; 3000]);
    }

    #[test]
    fn a_long_string_is_overwritten_in_its_block_unless_that_is_too_large() {
        let mut entry = Entry::new(b"k", Value::string(&[b'a'; 8000]));
        let mut edit = EntryMut::new(&mut entry);
        let address = edit.as_blob().unwrap().bytes().as_ptr();
        edit.set_bytes(&[b'b'; 5000]);
        assert_eq!((edit.as_blob().unwrap().bytes().as_ptr(), text(&edit)), (address, vec![b'b'; 5000]));
        edit.set_bytes(&[b'c'; 2000]);
        assert!(edit.allocated_bytes() < 2200);
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Set(Vec<u8>),
        Int(i64),
        Append(Vec<u8>),
        Range(usize, Vec<u8>),
        Deadline(Option<i64>),
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let bytes = || {
            prop_oneof![
                any::<i64>().prop_map(|int| int.to_string().into_bytes()),
                (any::<u8>(), prop_oneof![0..60_usize, 0..3000_usize]).prop_map(|(byte, len)| vec![byte; len]),
            ]
        };
        prop::collection::vec(
            prop_oneof![
                bytes().prop_map(Edit::Set),
                any::<i64>().prop_map(Edit::Int),
                bytes().prop_map(Edit::Append),
                (0..2000_usize, bytes()).prop_map(|(offset, bytes)| Edit::Range(offset, bytes)),
                prop::option::of(any::<i64>()).prop_map(Edit::Deadline),
            ],
            0..20,
        )
    }

    /// Some of them longer than two bytes can tell.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            9 => prop::collection::vec(any::<u8>(), 0..300),
            1 => (any::<u8>(), 65_500..65_600_usize).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    proptest! {
        #[test]
        fn edits_do_what_they_do_to_a_vector(key in keys(), edits in edits()) {
            let mut entry = Entry::new(&key, Value::string(b""));
            let mut model = (Vec::new(), None);
            for edit in edits {
                let mut mutable = EntryMut::new(&mut entry);
                match edit {
                    Edit::Set(bytes) => {
                        mutable.set_bytes(&bytes);
                        model.0 = bytes;
                    }
                    Edit::Int(int) => {
                        mutable.set_int(int);
                        model.0 = int.to_string().into_bytes();
                    }
                    Edit::Append(bytes) => {
                        model.0.extend_from_slice(&bytes);
                        prop_assert_eq!(mutable.append(&bytes), model.0.len());
                    }
                    Edit::Range(offset, bytes) => {
                        let end = offset + bytes.len();
                        model.0.resize(model.0.len().max(end), 0);
                        model.0[offset..end].copy_from_slice(&bytes);
                        prop_assert_eq!(mutable.set_range(offset, &bytes), model.0.len());
                    }
                    Edit::Deadline(ms) => {
                        mutable.entry().set_deadline(ms.map(Deadline::Far));
                        model.1 = ms;
                    }
                }
                prop_assert_eq!((entry.key(), text(&entry), entry.expires_at()), (&key[..], model.0.clone(), model.1));
            }
        }
    }
}
