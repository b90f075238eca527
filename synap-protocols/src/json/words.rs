//! The words of a call in one buffer.

use smallvec::{Array, SmallVec};
use synap_core::{Error, Result};

/// Words of one call at the most, as many as Redis takes in one request.
pub const WORD_COUNT_MAX: usize = 1024 * 1024;
/// Bytes of all words of one call at the most; their ends are 32-bit numbers.
pub const WORD_BYTES_MAX: usize = 1 << 30;

/// The words of one call, the command's name first, one behind the other in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    buffer: Vec<u8>,
    /// Where each word ends.
    ends: Vec<u32>,
}

impl Words {
    /// The words of a command's name: `["CLIENT", "ID"]`.
    pub fn named(name: &[&str]) -> Words {
        let mut words = Words { buffer: Vec::with_capacity(128), ends: Vec::with_capacity(8) };
        for word in name {
            words.buffer.extend_from_slice(word.as_bytes());
            words.ends.push(words.buffer.len() as u32);
        }
        words
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let word = &self.buffer[start..end as usize];
            start = end as usize;
            word
        })
    }

    /// Appends the words to `out`, in the form that a call is run from.
    pub fn as_slices<'a, A: Array<Item = &'a [u8]>>(&'a self, out: &mut SmallVec<A>) {
        out.extend(self.iter());
    }

    /// Adds one word.
    pub fn push(&mut self, word: &[u8]) -> Result<()> {
        self.write(|buffer| {
            buffer.extend_from_slice(word);
            Ok(())
        })
    }

    /// Adds one word that `write` appends to the buffer; nothing is added when it fails.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        const TOO_MANY: Error = Error::err("too many arguments in one call");
        const TOO_LARGE: Error = Error::err("the arguments of the call are too large");
        if self.ends.len() == WORD_COUNT_MAX {
            return Err(TOO_MANY);
        }
        let start = self.buffer.len();
        let written = write(&mut self.buffer);
        let fits = self.buffer.len() <= WORD_BYTES_MAX;
        if written.is_err() || !fits {
            self.buffer.truncate(start);
            return written.and(Err(TOO_LARGE));
        }
        self.ends.push(self.buffer.len() as u32);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_out_as_they_were_put_in() {
        let mut words = Words::named(&["CLIENT", "ID"]);
        words.push(b"").expect("room");
        words.push(b"\xff").expect("room");
        let mut slices: SmallVec<[&[u8]; 8]> = SmallVec::new();
        words.as_slices(&mut slices);
        assert_eq!(slices.as_slice(), [b"CLIENT".as_slice(), b"ID", b"", b"\xff"]);
        assert_eq!(words.len(), 4);
    }

    #[test]
    fn a_word_that_fails_leaves_nothing_behind() {
        let mut words = Words::named(&["GET"]);
        let failed = words.write(|buffer| {
            buffer.push(b'x');
            Err(Error::SYNTAX)
        });
        assert_eq!(failed, Err(Error::SYNTAX));
        assert_eq!(words, Words::named(&["GET"]));
    }

    #[test]
    fn words_are_limited_in_number() {
        let mut words = Words::default();
        for _ in 0..WORD_COUNT_MAX {
            words.push(b"").expect("room");
        }
        assert_eq!(words.push(b""), Err(Error::err("too many arguments in one call")));
    }
}
