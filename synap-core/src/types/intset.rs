//! A sorted set of integers in one allocation behind one pointer, each as wide as the widest needs: 2, 4 or 8 bytes.

use super::blob::{BLOB_BYTES_MAX, Blob};
use super::sample::below;

/// See the module.
#[derive(Clone, Default)]
pub struct IntSet {
    /// The integers, low byte first; the note is their width (0: none yet).
    blob: Blob,
}

impl IntSet {
    pub const fn new() -> IntSet {
        IntSet { blob: Blob::new() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self.width() {
            0 => 0,
            width => self.blob.len() / width,
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.blob.is_empty()
    }

    /// Bytes asked of the allocator.
    pub fn allocated(&self) -> usize {
        self.blob.allocated()
    }

    /// The integer of this rank.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| read(self.blob.bytes(), self.width(), index))
    }

    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The first index from `from` on whose integer is not below `value`: found fast when it is near.
    pub fn seek(&self, from: usize, value: i64) -> usize {
        let (bytes, width, len) = (self.blob.bytes(), self.width(), self.len());
        let is_below = |index: usize| index < len && read(bytes, width, index) < value;
        let (mut low, mut step) = (from, 1);
        while is_below(low + step - 1) {
            low += step;
            step *= 2;
        }
        let mut high = (low + step - 1).min(len);
        while low < high {
            let middle = (low + high) / 2;
            if is_below(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// True when it is new.
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(index) = self.search(value) else { return false };
        if width_of(value) > self.width() {
            self.widen(width_of(value));
        }
        let width = self.width().max(width_of(value));
        self.blob.splice(index * width, 0, [&value.to_le_bytes()[..width], b"", b""]);
        self.blob.set_note(width as u32);
        true
    }

    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let width = self.width();
        self.blob.splice(index * width, width, [b""; 3]);
        true
    }

    /// In ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        let (bytes, width) = (self.blob.bytes(), self.width());
        (0..self.len()).map(move |index| read(bytes, width, index))
    }

    /// One chosen by a random number, each with the same probability.
    pub fn random(&self, random: u64) -> Option<i64> {
        self.get(below(random, self.len()))
    }

    /// The bytes of a Redis intset in three parts: width, number, integers.
    pub fn redis_parts(&self) -> ([u8; 4], [u8; 4], &[u8]) {
        let width = self.width().max(2) as u32;
        (width.to_le_bytes(), (self.len() as u32).to_le_bytes(), self.blob.bytes())
    }

    pub fn to_redis(&self) -> Vec<u8> {
        let (width, len, integers) = self.redis_parts();
        [&width[..], &len, integers].concat()
    }

    /// Reads [`IntSet::to_redis`]; none when it is malformed. Trusts nothing.
    pub fn from_redis(bytes: &[u8]) -> Option<IntSet> {
        let (&width, rest) = bytes.split_first_chunk::<4>()?;
        let (&len, integers) = rest.split_first_chunk::<4>()?;
        let (width, len) = (u32::from_le_bytes(width) as usize, u32::from_le_bytes(len) as usize);
        let bytes = len.checked_mul(width)?;
        if !matches!(width, 2 | 4 | 8) || bytes != integers.len() || bytes > BLOB_BYTES_MAX {
            return None;
        }
        if !(1..len).all(|index| read(integers, width, index - 1) < read(integers, width, index)) {
            return None;
        }
        let mut set = IntSet::new();
        if len > 0 {
            set.blob.splice(0, 0, [integers, b"", b""]);
            set.blob.set_note(width as u32);
        }
        Some(set)
    }

    #[inline]
    fn width(&self) -> usize {
        self.blob.note() as usize
    }

    /// Where the value is, or where it belongs.
    #[inline]
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (bytes, width, len) = (self.blob.bytes(), self.width(), self.len());
        if width_of(value) > width {
            return Err(if value < 0 { 0 } else { len });
        }
        let (mut low, mut high) = (0, len);
        // Ascending insertion is frequent.
        if len > 0 && read(bytes, width, len - 1) < value {
            return Err(len);
        }
        while low < high {
            let middle = (low + high) / 2;
            let found = read(bytes, width, middle);
            if found == value {
                return Ok(middle);
            }
            if found < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Err(low)
    }

    fn widen(&mut self, width: usize) {
        if self.is_empty() {
            return;
        }
        let integers: Vec<u8> = self.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect();
        self.blob.splice(0, self.blob.len(), [&integers, b"", b""]);
        self.blob.set_note(width as u32);
    }
}

fn width_of(value: i64) -> usize {
    match value {
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

#[inline]
fn read(bytes: &[u8], width: usize, index: usize) -> i64 {
    let at = index * width;
    match width {
        2 => i64::from(i16::from_le_bytes([bytes[at], bytes[at + 1]])),
        4 => i64::from(i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])),
        _ => bytes[at..].first_chunk().copied().map(i64::from_le_bytes).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_integer_is_as_wide_as_the_widest() {
        let mut set = IntSet::new();
        assert!(set.is_empty() && !set.contains(0) && set.random(7).is_none() && !set.remove(0));
        for i in 0..12 {
            assert!(set.insert(i) && !set.insert(i));
        }
        assert_eq!(set.allocated(), 32);
        assert!(set.insert(-70_000));
        assert_eq!((set.get(0), set.get(12), set.get(13)), (Some(-70_000), Some(11), None));
        assert!(set.insert(i64::MAX) && set.insert(i64::MIN) && set.remove(-70_000));
        assert_eq!((set.get(0), set.get(13), set.len()), (Some(i64::MIN), Some(i64::MAX), 14));
        assert_eq!(size_of::<IntSet>(), 8);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in
            [&b""[..], &[2, 0, 0, 0, 1, 0, 0, 0], &[3, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 2, 0, 0, 0, 5, 0, 5, 0]]
        {
            assert!(IntSet::from_redis(bytes).is_none(), "{bytes:?}");
        }
    }

    fn value() -> impl Strategy<Value = i64> {
        prop_oneof![-20i64..20, -40_000i64..40_000, any::<i64>(), any::<i32>().prop_map(i64::from)]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(steps in prop::collection::vec((any::<bool>(), value()), 0..120)) {
            let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
            for (insert, value) in steps {
                if insert {
                    prop_assert_eq!(set.insert(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), model.remove(&value));
                }
                prop_assert_eq!(set.contains(value), insert);
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(set.iter().rev().eq(model.iter().rev().copied()));
            for from in 0..=set.len() {
                for value in [-40_000, -1, 0, 7, 30_000] {
                    let expected = (from..set.len()).find(|&index| set.get(index) >= Some(value)).unwrap_or(set.len());
                    prop_assert_eq!(set.seek(from, value), expected);
                }
            }
            let again = IntSet::from_redis(&set.to_redis()).expect("well-formed");
            prop_assert!(again.iter().eq(set.clone().iter()));
            prop_assert!(set.random(3).is_none_or(|value| model.contains(&value)));
        }
    }
}
