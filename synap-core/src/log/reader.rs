//! Reads the stream back into calls.
//!
//! Strict: what we wrote is canonical, and what a master sent us is too. Anything else in a log is damage, and damage
//! is reported with its offset, never guessed at.

use std::fmt;

/// An iterator over the calls in a piece of the stream that begins at a call.
///
/// It ends before a call that is cut off, so that one may read on when more has come: [`Reader::offset`] tells where.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    start: u64,
    flawed: bool,
}

/// One call in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Where it ends, and the next one begins.
    pub end: u64,
    /// Never empty; the first is the name.
    pub words: Vec<&'a [u8]>,
}

/// Something in the stream that nobody can have written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub offset: u64,
    pub expected: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the log is damaged at offset {}: expected {}", self.offset, self.expected)
    }
}

impl std::error::Error for Flaw {}

impl<'a> Reader<'a> {
    /// `start` is the offset of the first byte.
    pub fn new(bytes: &'a [u8], start: u64) -> Reader<'a> {
        Reader { bytes, at: 0, start, flawed: false }
    }

    /// The end of the last call that was yielded.
    pub fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The bytes from [`Reader::offset`] on.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Call<'a>, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.flawed {
            return None;
        }
        let mut cursor = Cursor { bytes: self.bytes, at: self.at };
        match cursor.call() {
            Ok(words) => {
                let offset = self.offset();
                self.at = cursor.at;
                Some(Ok(Call { offset, end: self.offset(), words }))
            }
            Err(Stop::CutOff) => None,
            Err(Stop::Expected(expected)) => {
                self.flawed = true;
                Some(Err(Flaw { offset: self.start + cursor.at as u64, expected }))
            }
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

enum Stop {
    CutOff,
    Expected(&'static str),
}

impl<'a> Cursor<'a> {
    fn call(&mut self) -> Result<Vec<&'a [u8]>, Stop> {
        self.expect(b"*", "'*'")?;
        let count = self.number()?;
        if count == 0 {
            return Err(Stop::Expected("a call of at least one word"));
        }
        // No more room than bytes can fill: a word takes at least six.
        let mut words = Vec::with_capacity(count.min((self.bytes.len() - self.at) / 6));
        for _ in 0..count {
            self.expect(b"$", "'$'")?;
            let len = self.number()?;
            let word = self.at.checked_add(len).and_then(|end| self.bytes.get(self.at..end)).ok_or(Stop::CutOff)?;
            self.at += len;
            self.expect(b"\r\n", "the end of a word")?;
            words.push(word);
        }
        Ok(words)
    }

    /// Digits without a leading zero, and the end of the line.
    fn number(&mut self) -> Result<usize, Stop> {
        let start = self.at;
        let mut value = 0_usize;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            let leads_zero = self.at > start && self.bytes[start] == b'0';
            let next = value.checked_mul(10).and_then(|value| value.checked_add(usize::from(digit - b'0')));
            value = next.filter(|_| !leads_zero).ok_or(Stop::Expected("a canonical number"))?;
            self.at += 1;
        }
        if self.at == start && self.at < self.bytes.len() {
            return Err(Stop::Expected("a number"));
        }
        self.expect(b"\r\n", "the end of a line")?;
        Ok(value)
    }

    fn expect(&mut self, wanted: &[u8], name: &'static str) -> Result<(), Stop> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(wanted) {
            self.at += wanted.len();
            Ok(())
        } else if wanted.starts_with(rest) {
            Err(Stop::CutOff)
        } else {
            Err(Stop::Expected(name))
        }
    }
}

/// In debug builds: exactly one canonical call. The other half of trusting a door's word for it.
pub(super) fn debug_check_one_call(bytes: &[u8]) {
    if cfg!(debug_assertions) {
        let mut reader = Reader::new(bytes, 0);
        assert!(matches!(reader.next(), Some(Ok(_))) && reader.rest().is_empty(), "not one canonical call");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::put_call;
    use super::*;

    fn flaw(bytes: &[u8]) -> (u64, &'static str) {
        let flaw = Reader::new(bytes, 100).find_map(Result::err).expect("a flaw");
        (flaw.offset, flaw.expected)
    }

    #[test]
    fn calls_come_back_with_their_offsets() {
        let bytes = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nDEL\r\n$0\r\n\r\n*1\r\n$4";
        let mut reader = Reader::new(bytes, 1000);
        let calls: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(calls[0], Call { offset: 1000, end: 1014, words: vec![b"PING"] });
        assert_eq!(calls[1], Call { offset: 1014, end: 1033, words: vec![b"DEL", b""] });
        assert_eq!((reader.offset(), reader.rest()), (1033, b"*1\r\n$4".as_slice()));
    }

    #[test]
    fn whatever_is_not_canonical_is_a_flaw() {
        assert_eq!(flaw(b"PING\r\n"), (100, "'*'"));
        assert_eq!(flaw(b"*1\r\n$4\r\nPING\r\n\n"), (114, "'*'"));
        assert_eq!(flaw(b"*0\r\n"), (104, "a call of at least one word"));
        assert_eq!(flaw(b"*-1\r\n"), (101, "a number"));
        assert_eq!(flaw(b"*01\r\n"), (102, "a canonical number"));
        assert_eq!(flaw(b"*99999999999999999999\r\n"), (120, "a canonical number"));
        assert_eq!(flaw(b"*1\n$4"), (102, "the end of a line"));
        assert_eq!(flaw(b"*1\r\n:4\r\n"), (104, "'$'"));
        assert_eq!(flaw(b"*1\r\n$1\r\nab\r\n"), (109, "the end of a word"));
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        let bytes = b"*4294967295\r\n$18446744073709551615\r\nx";
        assert!(Reader::new(bytes, 0).next().is_none());
    }

    proptest! {
        #[test]
        fn every_prefix_is_a_beginning(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6)) {
            let mut bytes = Vec::new();
            put_call(&mut bytes, &words);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Reader::new(&bytes[..cut], 0).next(), None);
            }
            let call = Reader::new(&bytes, 0).next().unwrap().unwrap();
            prop_assert_eq!(call.words, words);
        }

        #[test]
        fn what_is_accepted_is_what_we_write(bytes in "[*$0-3a\r\n]{0,24}") {
            for call in Reader::new(bytes.as_bytes(), 0).map_while(Result::ok) {
                let mut again = Vec::new();
                put_call(&mut again, &call.words);
                prop_assert_eq!(&bytes.as_bytes()[call.offset as usize..call.end as usize], again);
            }
        }
    }
}
