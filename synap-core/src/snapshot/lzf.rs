//! LZF, by which RDB shortens strings: literal runs, and references back to at most 8 kB before.
//!
//! ```text
//! 000lllll, bytes                  l + 1 bytes as they are
//! lllddddd, dddddddd               l + 2 bytes again, from d + 1 back; l is 1 … 6
//! 111ddddd, llllllll, dddddddd     l + 9 bytes again
//! ```

const DISTANCE_MAX: usize = 1 << 13;
const LITERALS_MAX: usize = 1 << 5;
const MATCH_MIN: usize = 3;
const MATCH_MAX: usize = 264;

/// Three bytes can stand for so many: no announced length is believed beyond.
const EXPANSION_MAX: usize = MATCH_MAX / 3;

const TABLE_BITS: u32 = 13;

/// Finds repetitions. Its table is kept from string to string, because clearing it would cost more than most strings.
pub struct Compressor {
    /// Where three bytes with this hash were last seen, counted from the first string on.
    table: Box<[u32]>,
    /// Where the next string begins; smaller places are of earlier ones.
    start: u32,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor { table: vec![0; 1 << TABLE_BITS].into(), start: 1 }
    }
}

impl Compressor {
    /// Shortens `input` into `out`. False when that does not save four bytes: then `out` holds nothing of use.
    pub fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let (Some(len_max), Ok(len)) = (input.len().checked_sub(4), u32::try_from(input.len())) else { return false };
        let start = match self.start.checked_add(len) {
            Some(next) => std::mem::replace(&mut self.start, next),
            None => {
                *self = Compressor::default();
                // The string may be as long as all places there are.
                let Some(next) = 1_u32.checked_add(len) else { return false };
                std::mem::replace(&mut self.start, next)
            }
        };
        let (mut at, mut literals, mut misses) = (0, 0, 0);
        while at + MATCH_MIN <= input.len() {
            let place = start + at as u32;
            let seen = std::mem::replace(&mut self.table[hash(&input[at..])], place);
            let found = if seen >= start { match_len(input, (seen - start) as usize, at) } else { 0 };
            if found == 0 {
                // What has not repeated itself for long is looked at less closely.
                misses += 1;
                at += 1 + misses / 64;
                continue;
            }
            put_literals(&input[literals..at], out);
            put_match(at - (seen - start) as usize, found, out);
            if out.len() > len_max {
                return false;
            }
            misses = 0;
            at += found;
            literals = at;
        }
        put_literals(&input[literals..], out);
        out.len() <= len_max
    }
}

#[inline]
fn hash(bytes: &[u8]) -> usize {
    let three = u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16;
    (three.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

/// How many bytes from `at` on are the same as from `before` on; 0 when it is not worth a reference.
#[inline]
fn match_len(input: &[u8], before: usize, at: usize) -> usize {
    if at - before > DISTANCE_MAX {
        return 0;
    }
    let end = input.len().min(at + MATCH_MAX);
    let same = input[before..].iter().zip(&input[at..end]).take_while(|(a, b)| a == b).count();
    if same < MATCH_MIN { 0 } else { same }
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LITERALS_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

fn put_match(distance: usize, len: usize, out: &mut Vec<u8>) {
    let (distance, len) = (distance - 1, len - 2);
    if len < 7 {
        out.push((len << 5 | distance >> 8) as u8);
    } else {
        out.push((7 << 5 | distance >> 8) as u8);
        out.push((len - 7) as u8);
    }
    out.push(distance as u8);
}

/// Puts the `len` bytes that `input` stands for into `out`; none when it stands for something else.
pub fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    if len > input.len().checked_mul(EXPANSION_MAX)? {
        return None;
    }
    out.reserve_exact(len);
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        let control = usize::from(control);
        if control < LITERALS_MAX {
            let (run, tail) = tail.split_at_checked(control + 1)?;
            if run.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(run);
            rest = tail;
            continue;
        }
        let (mut count, mut tail) = (control >> 5, tail);
        if count == 7 {
            let (&more, behind) = tail.split_first()?;
            count += usize::from(more);
            tail = behind;
        }
        let (&low, behind) = tail.split_first()?;
        let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        let from = out.len().checked_sub(distance)?;
        let count = count + 2;
        if count > len - out.len() {
            return None;
        }
        // What it repeats may be what it is about to write: then there is more of it each time.
        let end = out.len() + count;
        while out.len() < end {
            let ready = (out.len() - from).min(end - out.len());
            out.extend_from_within(from..from + ready);
        }
        rest = behind;
    }
    (out.len() == len).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(compressor: &mut Compressor, input: &[u8]) -> Option<usize> {
        let (mut packed, mut again) = (Vec::new(), Vec::new());
        if !compressor.compress(input, &mut packed) {
            return None;
        }
        assert!(packed.len() + 4 <= input.len());
        decompress(&packed, input.len(), &mut again).expect("what was compressed");
        assert_eq!(again, input);
        for wrong in [input.len() - 1, input.len() + 1] {
            assert_eq!(decompress(&packed, wrong, &mut again), None);
        }
        Some(packed.len())
    }

    #[test]
    fn repetition_is_shortened_and_noise_is_not() {
        let mut compressor = Compressor::default();
        assert!(round(&mut compressor, &[b'x'; 10_000]).is_some_and(|len| len < 150));
        let words: Vec<u8> = (0..2000).flat_map(|i| format!("user:{} ", i % 50).into_bytes()).collect();
        assert!(round(&mut compressor, &words).is_some_and(|len| len < words.len() / 4));
        let noise: Vec<u8> = (0..5000_u32).flat_map(|i| (i.wrapping_mul(0x9e37_79b9) >> 3).to_le_bytes()).collect();
        assert_eq!(round(&mut compressor, &noise[..300]), None);
        for short in [&b""[..], b"a", b"aaaa", b"aaaaaaaa"] {
            round(&mut compressor, short);
        }
    }

    #[test]
    fn places_of_earlier_strings_are_not_taken_for_this_one() {
        let mut compressor = Compressor { start: u32::MAX - 500, ..Compressor::default() };
        for _ in 0..4 {
            assert!(round(&mut compressor, &b"abcdefgh".repeat(20)).is_some());
        }
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let mut out = Vec::new();
        for (bytes, len) in [
            (&[][..], 1),
            (&[0], 1),
            (&[31, b'a'], 32),
            (&[0, b'a', 0x20], 4),
            (&[0, b'a', 0xe0, 1], 20),
            // Further back than there is anything.
            (&[0, b'a', 0x20, 1], 4),
            // Longer than three bytes can stand for.
            (&[0, b'a'], usize::MAX),
            (&[0, b'a', 0xe0, 255, 0], 1 << 20),
        ] {
            assert_eq!(decompress(bytes, len, &mut out), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_reads_back(parts in prop::collection::vec((any::<u8>(), 1..40_usize, 1..400_usize), 0..30)) {
            let bytes: Vec<u8> = parts.iter().flat_map(|(byte, step, len)| {
                (0..*len).map(move |i| byte.wrapping_add((i % step) as u8))
            }).collect();
            round(&mut Compressor::default(), &bytes);
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0..3000_usize) {
            let mut out = Vec::new();
            if decompress(&bytes, len, &mut out).is_some() {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
