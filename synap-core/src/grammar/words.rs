//! Words that outlive the buffer they were read from: queued, blocked and logged calls.

use smallvec::SmallVec;

/// The words of one call in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedWords {
    bytes: Box<[u8]>,
    /// Where each word ends in `bytes`.
    ends: Box<[u32]>,
}

/// Slices of the words of a call; short calls need no allocation.
pub type WordList<'a> = SmallVec<[&'a [u8]; 8]>;

impl OwnedWords {
    /// Copies `words`. Their total is bounded by the query buffer's limit, far below 4 GiB.
    pub fn new(words: &[&[u8]]) -> OwnedWords {
        let mut end = 0;
        let ends = words
            .iter()
            .map(|word| {
                end += word.len();
                u32::try_from(end).expect("a call is smaller than 4 GiB: the decoder's limits")
            })
            .collect();
        OwnedWords { bytes: words.concat().into(), ends }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ends.iter().scan(0, |start, &end| {
            let word = &self.bytes[*start..end as usize];
            *start = end as usize;
            Some(word)
        })
    }

    pub fn slices(&self) -> WordList<'_> {
        self.iter().collect()
    }

    /// Bytes that it holds on to.
    pub fn size(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }
}
