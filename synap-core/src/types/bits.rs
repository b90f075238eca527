//! Strings as arrays of bits; bit 0 is the highest of the first byte. The loops work on 8 bytes at a time or are plain
//! enough for the compiler to do so.

use std::ops::Range;

/// How many bits are set.
pub fn count(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { count_wide(bytes) };
    }
    count_words(bytes)
}

/// The same loop, compiled for processors with a wide shuffle: about four times faster than without.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn count_wide(bytes: &[u8]) -> u64 {
    count_words(bytes)
}

#[inline(always)]
fn count_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bits of a range are set. The range lies within the bytes.
pub fn count_in(bytes: &[u8], range: Range<u64>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = (range.start as usize / 8, (range.end - 1) as usize / 8);
    let outside = u64::from((bytes[first] & !head_mask(range.start)).count_ones())
        + u64::from((bytes[last] & !tail_mask(range.end)).count_ones());
    count(&bytes[first..=last]) - outside
}

/// The bits of a byte from `bit` on.
fn head_mask(bit: u64) -> u8 {
    0xff >> (bit % 8)
}

/// The bits of a byte before `bit`; all, when it begins the next one.
fn tail_mask(bit: u64) -> u8 {
    match bit % 8 {
        0 => 0xff,
        bits => !(0xff >> bits),
    }
}

/// The first bit of a range that is `bit`. The range lies within the bytes.
pub fn find(bytes: &[u8], bit: bool, range: Range<u64>) -> Option<u64> {
    if range.is_empty() {
        return None;
    }
    let (first, last) = (range.start as usize / 8, (range.end - 1) as usize / 8);
    // A bit that is looked for is a one in `sought(byte)`.
    let sought = |byte: u8| if bit { byte } else { !byte };
    let in_byte = |index: usize, mask: u8| {
        let found = sought(bytes[index]) & mask;
        (found != 0).then(|| index as u64 * 8 + u64::from(found.leading_zeros()))
    };
    if first == last {
        return in_byte(first, head_mask(range.start) & tail_mask(range.end));
    }
    in_byte(first, head_mask(range.start))
        .or_else(|| find_byte(&bytes[first + 1..last], bit).and_then(|index| in_byte(first + 1 + index, 0xff)))
        .or_else(|| in_byte(last, tail_mask(range.end)))
}

/// The first byte that has a bit that is `bit`.
fn find_byte(bytes: &[u8], bit: bool) -> Option<usize> {
    let without = if bit { 0 } else { 0xff };
    let (words, rest) = bytes.as_chunks::<8>();
    // Blocks of words that are all alike are passed over without a look at each.
    const BLOCK: usize = 16;
    let word_without = u64::from_ne_bytes([without; 8]);
    let differs = |word: &[u8; 8]| u64::from_ne_bytes(*word) ^ word_without;
    let passed = words.chunks(BLOCK).take_while(|block| block.iter().fold(0, |any, word| any | differs(word)) == 0);
    let skipped = (passed.count() * BLOCK).min(words.len());
    let word = words[skipped..].iter().position(|word| differs(word) != 0);
    match word {
        Some(at) => {
            let word = &words[skipped + at];
            word.iter().position(|byte| *byte != without).map(|byte| (skipped + at) * 8 + byte)
        }
        None => rest.iter().position(|byte| *byte != without).map(|byte| words.len() * 8 + byte),
    }
}

/// One bit; what is beyond the bytes is zero.
pub fn get(bytes: &[u8], offset: u64) -> bool {
    bytes.get(offset as usize / 8).is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1)
}

/// Sets one bit, which must lie within the bytes.
pub fn set(bytes: &mut [u8], offset: u64, bit: bool) {
    let mask = 0x80 >> (offset % 8);
    let byte = &mut bytes[offset as usize / 8];
    *byte = if bit { *byte | mask } else { *byte & !mask };
}

/// How several strings become one; those that are shorter than the longest end in zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    /// Of one string.
    Not,
    /// In the first and in none of the others.
    Diff,
    /// In one of the others and not in the first.
    Diff1,
    /// In the first and in one of the others.
    AndOr,
    /// In exactly one.
    One,
}

/// Combines `sources`, of which there is at least one, into a string as long as the longest.
pub fn combine(operation: Operation, sources: &[&[u8]]) -> Vec<u8> {
    // Block by block, so that a block of the result stays near while the sources pass.
    const BLOCK: usize = 16 * 1024;
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = vec![0; len];
    let mut twice = [0_u8; BLOCK];
    for (index, block) in result.chunks_mut(BLOCK).enumerate() {
        let range = index * BLOCK..index * BLOCK + block.len();
        let first = part(sources[0], &range);
        let others = sources[1..].iter().map(|source| part(source, &range));
        match operation {
            Operation::And => {
                copy(block, first);
                others.for_each(|other| and(block, other));
            }
            Operation::Or => {
                copy(block, first);
                others.for_each(|other| or(block, other));
            }
            Operation::Xor => {
                copy(block, first);
                others.for_each(|other| block.iter_mut().zip(other).for_each(|(a, b)| *a ^= b));
            }
            Operation::Not => {
                copy(block, first);
                block.iter_mut().for_each(|byte| *byte = !*byte);
            }
            Operation::AndOr => {
                others.for_each(|other| or(block, other));
                and(block, first);
            }
            Operation::Diff => {
                others.for_each(|other| or(block, other));
                block.iter_mut().for_each(|byte| *byte = !*byte);
                and(block, first);
            }
            Operation::Diff1 => {
                others.for_each(|other| or(block, other));
                block.iter_mut().zip(first).for_each(|(a, b)| *a &= !b);
            }
            Operation::One => {
                let twice = &mut twice[..block.len()];
                twice.fill(0);
                copy(block, first);
                for other in others {
                    for ((once, twice), byte) in block.iter_mut().zip(twice.iter_mut()).zip(other) {
                        *twice |= *once & byte;
                        *once |= byte;
                    }
                }
                block.iter_mut().zip(twice).for_each(|(once, twice)| *once &= !*twice);
            }
        }
    }
    result
}

/// What a source has of a range.
fn part<'s>(source: &'s [u8], range: &Range<usize>) -> &'s [u8] {
    &source[range.start.min(source.len())..range.end.min(source.len())]
}

fn copy(block: &mut [u8], source: &[u8]) {
    block[..source.len()].copy_from_slice(source);
}

fn and(block: &mut [u8], other: &[u8]) {
    let (both, rest) = block.split_at_mut(other.len());
    both.iter_mut().zip(other).for_each(|(a, b)| *a &= b);
    rest.fill(0);
}

fn or(block: &mut [u8], other: &[u8]) {
    block.iter_mut().zip(other).for_each(|(a, b)| *a |= b);
}

/// An integer of up to 64 bits inside a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub signed: bool,
    /// 1 to 64, and to 63 without a sign, so that each value fits an `i64`.
    pub bits: u32,
}

/// What happens to a value that a field cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its lowest bits stay.
    #[default]
    Wrap,
    /// It becomes the nearest one.
    Sat,
    /// It is not written.
    Fail,
}

impl Field {
    /// Bytes that a field may touch.
    const BYTES_MAX: usize = 9;

    /// The value at a bit; what is beyond the bytes is zero.
    pub fn get(self, bytes: &[u8], offset: u64) -> i64 {
        let (window, shift) = self.window(bytes, offset);
        let raw = (window >> shift) as u64 & self.mask();
        if self.signed && self.bits < 64 && raw >> (self.bits - 1) == 1 {
            (raw | !self.mask()) as i64
        } else {
            raw as i64
        }
    }

    /// Writes a value that fits. The field lies within the bytes.
    pub fn set(self, bytes: &mut [u8], offset: u64, value: i64) {
        let (window, shift) = self.window(bytes, offset);
        let mask = u128::from(self.mask()) << shift;
        let window = window & !mask | u128::from(value as u64 & self.mask()) << shift;
        let start = offset as usize / 8;
        let end = (offset + u64::from(self.bits)).div_ceil(8) as usize;
        bytes[start..end].copy_from_slice(&window.to_be_bytes()[..end - start]);
    }

    /// What stands for `value` in the field, or `None` when it does not fit and is not to be written.
    pub fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = match self.signed {
            true => (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1),
            false => (0, (1_i128 << self.bits) - 1),
        };
        if (min..=max).contains(&value) {
            return Some(value as i64);
        }
        match overflow {
            Overflow::Wrap => {
                let low = value as u64 & self.mask();
                let negative = self.signed && low >> (self.bits - 1) == 1;
                Some(if negative { (low | !self.mask()) as i64 } else { low as i64 })
            }
            Overflow::Sat => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The bytes from the field's first on, as one number, and how far its lowest bit is from the number's.
    fn window(self, bytes: &[u8], offset: u64) -> (u128, u32) {
        let mut window = [0; 16];
        let start = usize::try_from(offset / 8).unwrap_or(usize::MAX).min(bytes.len());
        let there = &bytes[start..bytes.len().min(start + Field::BYTES_MAX)];
        window[..there.len()].copy_from_slice(there);
        (u128::from_be_bytes(window), 128 - (offset % 8) as u32 - self.bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(bytes: &[u8]) -> Vec<bool> {
        (0..bytes.len() as u64 * 8).map(|offset| get(bytes, offset)).collect()
    }

    /// Mostly runs of equal bytes, in which searches have a way to go.
    fn strings() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0), Just(0xff), any::<u8>()];
        prop::collection::vec((byte, 1..200_usize), 0..6)
            .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect())
    }

    proptest! {
        #[test]
        fn ranges_are_counted_and_searched_as_bit_by_bit(bytes in strings(), from in any::<u64>(), len in any::<u64>()) {
            let bits = naive(&bytes);
            let start = from % (bits.len() as u64 + 1);
            let range = start..start + len % (bits.len() as u64 - start + 1);
            let part = &bits[range.start as usize..range.end as usize];
            prop_assert_eq!(count(&bytes), bits.iter().filter(|bit| **bit).count() as u64);
            prop_assert_eq!(count_words(&bytes), count(&bytes));
            prop_assert_eq!(count_in(&bytes, range.clone()), part.iter().filter(|bit| **bit).count() as u64);
            for bit in [false, true] {
                let expected = part.iter().position(|other| *other == bit).map(|at| at as u64 + range.start);
                prop_assert_eq!(find(&bytes, bit, range.clone()), expected);
            }
        }

        #[test]
        fn strings_are_combined_as_bit_by_bit(sources in prop::collection::vec(strings(), 1..5)) {
            let slices: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
            let len = sources.iter().map(Vec::len).max().unwrap_or(0);
            for operation in [
                Operation::And, Operation::Or, Operation::Xor, Operation::Not,
                Operation::Diff, Operation::Diff1, Operation::AndOr, Operation::One,
            ] {
                let result = combine(operation, &slices);
                prop_assert_eq!(result.len(), len);
                for offset in 0..len as u64 * 8 {
                    let bits: Vec<bool> = slices.iter().map(|source| get(source, offset)).collect();
                    let (first, others) = (bits[0], bits[1..].contains(&true));
                    let expected = match operation {
                        Operation::And => !bits.contains(&false),
                        Operation::Or => bits.contains(&true),
                        Operation::Xor => bits.iter().filter(|bit| **bit).count() % 2 == 1,
                        Operation::Not => !first,
                        Operation::Diff => first && !others,
                        Operation::Diff1 => !first && others,
                        Operation::AndOr => first && others,
                        Operation::One => bits.iter().filter(|bit| **bit).count() == 1,
                    };
                    prop_assert_eq!(get(&result, offset), expected, "{:?} at {}", operation, offset);
                }
            }
        }

        #[test]
        fn fields_read_back_and_leave_the_rest(
            bytes in prop::collection::vec(any::<u8>(), 10..30),
            (signed, bits) in prop_oneof![(Just(true), 1..=64_u32), (Just(false), 1..=63_u32)],
            offset in 0..16_u64,
            value in any::<i64>(),
        ) {
            let field = Field { signed, bits };
            let value = field.fit(value.into(), Overflow::Wrap).expect("wrapped values fit");
            let mut changed = bytes.clone();
            field.set(&mut changed, offset, value);
            prop_assert_eq!(field.get(&changed, offset), value);
            prop_assert_eq!(field.fit(value.into(), Overflow::Fail), Some(value));
            let inside = offset..offset + u64::from(bits);
            for at in (0..bytes.len() as u64 * 8).filter(|at| !inside.contains(at)) {
                prop_assert_eq!(get(&bytes, at), get(&changed, at));
            }
        }
    }

    #[test]
    fn long_strings_are_combined_across_blocks() {
        let long: Vec<u8> = (0..40_000_u32).map(|at| (at * 7) as u8).collect();
        let short = vec![0x0f; 20_000];
        let and = combine(Operation::And, &[&long, &short]);
        assert!(and.iter().enumerate().all(|(at, byte)| *byte == if at < 20_000 { long[at] & 0x0f } else { 0 }));
        let one = combine(Operation::One, &[&long, &short, &long]);
        assert!(one.iter().enumerate().all(|(at, byte)| *byte == if at < 20_000 { 0x0f & !long[at] } else { 0 }));
    }

    #[test]
    fn what_does_not_fit_wraps_or_stops_at_the_edge() {
        let (u8, i8) = (Field { signed: false, bits: 8 }, Field { signed: true, bits: 8 });
        let (i64, u63) = (Field { signed: true, bits: 64 }, Field { signed: false, bits: 63 });
        assert_eq!(u8.fit(256, Overflow::Wrap), Some(0));
        assert_eq!(u8.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!((u8.fit(300, Overflow::Sat), u8.fit(-3, Overflow::Sat)), (Some(255), Some(0)));
        assert_eq!((i8.fit(128, Overflow::Wrap), i8.fit(-129, Overflow::Wrap)), (Some(-128), Some(127)));
        assert_eq!((i8.fit(128, Overflow::Sat), i8.fit(-129, Overflow::Sat)), (Some(127), Some(-128)));
        assert_eq!(i8.fit(128, Overflow::Fail), None);
        assert_eq!(i64.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(u63.fit(1 << 63, Overflow::Sat), Some(i64::MAX));
    }
}
