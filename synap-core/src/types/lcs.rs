//! The longest common subsequence of two strings, 64 cells of its table at a time.
//!
//! Row *i*, column *j* of the usual table says how long it is for the first *i* bytes of one string and the first *j* of
//! the other. Along a row that number rises by one or stays, so a row is a string of bits; where it rises is all that
//! the way back through the table asks for. A row follows from the one above by an addition and some masks, for 64
//! columns at once (Crochemore, Iliopoulos, Pinzon and Reid 2001), and the table is 32 times smaller than with numbers.

use std::ops::Range;

/// The same bytes in the one string and in the other.
pub type Stretch = (Range<usize>, Range<usize>);

/// The table.
pub struct Lcs<'s> {
    a: &'s [u8],
    b: &'s [u8],
    /// `words_per_row` words for each byte of `a`; a *zero* at column *j* says that the number rises there.
    rows: Vec<u64>,
    words_per_row: usize,
}

impl<'s> Lcs<'s> {
    /// Time and memory grow with the product of the lengths: about a bit for each pair of bytes.
    pub fn new(a: &'s [u8], b: &'s [u8]) -> Lcs<'s> {
        let words_per_row = b.len().div_ceil(64);
        let places = Places::new(a, b, words_per_row);
        let mut rows = Vec::with_capacity(a.len() * words_per_row);
        for (index, byte) in a.iter().enumerate() {
            let mut carry = false;
            for (column, places) in places.of(*byte).iter().enumerate() {
                let above = if index == 0 { u64::MAX } else { rows[(index - 1) * words_per_row + column] };
                let matched = above & places;
                let (sum, first) = above.overflowing_add(matched);
                let (sum, second) = sum.overflowing_add(carry.into());
                carry = first || second;
                rows.push(sum | (above & !places));
            }
        }
        Lcs { a, b, rows, words_per_row }
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        let Some(row) = self.a.len().checked_sub(1) else { return 0 };
        (0..self.b.len()).filter(|&column| self.rises(row, column)).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn rises(&self, row: usize, column: usize) -> bool {
        self.rows[row * self.words_per_row + column / 64] >> (column % 64) & 1 == 0
    }

    /// The stretches that both have, from the last to the first, as far to the right in `a` as there is a choice.
    pub fn stretches(&self) -> Vec<Stretch> {
        let mut found: Vec<Stretch> = Vec::new();
        // A stretch goes on while both strings go back together.
        let mut joined = false;
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                i -= 1;
                j -= 1;
                match found.last_mut() {
                    Some((a, b)) if joined => (a.start, b.start) = (i, j),
                    _ => found.push((i..i + 1, j..j + 1)),
                }
                joined = true;
            } else {
                joined = false;
                // Where the number rises, the cell above has as much; elsewhere the one before.
                if self.rises(i - 1, j - 1) { i -= 1 } else { j -= 1 }
            }
        }
        found
    }

    /// The subsequence itself.
    pub fn text(&self) -> Vec<u8> {
        self.stretches().into_iter().rev().flat_map(|(range, _)| self.a[range].iter().copied()).collect()
    }
}

/// Where each byte of `a` occurs in `b`, as bits.
struct Places {
    /// Of each byte that occurs in `a`: where its words begin.
    starts: [usize; 256],
    words: Vec<u64>,
    words_per_row: usize,
}

impl Places {
    fn new(a: &[u8], b: &[u8], words_per_row: usize) -> Places {
        const NOWHERE: usize = usize::MAX;
        let mut starts = [NOWHERE; 256];
        let mut count = 0;
        for byte in a {
            let start = &mut starts[usize::from(*byte)];
            if *start == NOWHERE {
                *start = count * words_per_row;
                count += 1;
            }
        }
        let mut words = vec![0; count * words_per_row];
        for (column, byte) in b.iter().enumerate() {
            let start = starts[usize::from(*byte)];
            if start != NOWHERE {
                words[start + column / 64] |= 1 << (column % 64);
            }
        }
        Places { starts, words, words_per_row }
    }

    fn of(&self, byte: u8) -> &[u64] {
        let start = self.starts[usize::from(byte)];
        &self.words[start..start + self.words_per_row]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table of numbers, and the way back as Redis goes it.
    fn naive(a: &[u8], b: &[u8]) -> (usize, Vec<Stretch>) {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = match a[i - 1] == b[j - 1] {
                    true => table[i - 1][j - 1] + 1,
                    false => table[i - 1][j].max(table[i][j - 1]),
                };
            }
        }
        let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for (i, j) in pairs {
            match stretches.last_mut() {
                Some((a, b)) if a.start == i + 1 && b.start == j + 1 => (a.start, b.start) = (i, j),
                _ => stretches.push((i..i + 1, j..j + 1)),
            }
        }
        (table[a.len()][b.len()], stretches)
    }

    proptest! {
        #[test]
        fn it_is_that_of_the_table_of_numbers(
            a in prop::collection::vec(0..4_u8, 0..150),
            b in prop::collection::vec(0..4_u8, 0..150),
        ) {
            let lcs = Lcs::new(&a, &b);
            let (len, stretches) = naive(&a, &b);
            prop_assert_eq!(lcs.len(), len);
            prop_assert_eq!(lcs.text().len(), len);
            prop_assert_eq!(lcs.stretches(), stretches);
        }
    }

    #[test]
    fn words_share_letters_in_order() {
        let lcs = Lcs::new(b"ohmytext", b"mynewtext");
        assert_eq!((lcs.text(), lcs.len()), (b"mytext".to_vec(), 6));
        assert_eq!(lcs.stretches(), [(4..8, 5..9), (2..4, 0..2)]);
        assert!(Lcs::new(b"", b"abc").is_empty() && Lcs::new(b"abc", b"").is_empty());
    }
}
