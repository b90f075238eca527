//! Walks the words of one call and notes the keys and channels on the way.

use smallvec::SmallVec;

use super::spec::Access;
use crate::error::{Error, Result};
use crate::keyspace::hasher::KeyHasher;

/// The words of a call; the first is the command's name.
pub type Words<'a> = &'a [&'a [u8]];

/// Where a call touches the keyspace and which channels it names, in the order of the words.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    pub keys: SmallVec<[KeyRef; 4]>,
    /// Index of the word, and whether it is a pattern.
    pub channels: SmallVec<[(u32, bool); 2]>,
    /// It reads keys that no word names: whoever calls must have the right to read all.
    pub reads_any: bool,
}

/// One key of a call.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef {
    /// Index of the word.
    pub index: u32,
    /// `Access(0)`: what the command's kind says.
    pub access: Access,
    pub hash: u64,
}

/// How a field wants its argument read.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Words that later required arguments need: not to be taken by a repeated or optional one.
    pub after: usize,
    pub access: Access,
    pub uneven_is_syntax: bool,
}

impl How {
    pub const PLAIN: How = How { after: 0, access: Access(0), uneven_is_syntax: false };
}

/// A position in the words of a call.
#[derive(Debug)]
pub struct Parser<'a, 'k> {
    words: Words<'a>,
    next: usize,
    hasher: KeyHasher,
    /// The hash of the key at word 1, when somebody (the prefetcher) computed it already.
    hint: Option<u64>,
    /// Where keys are noted; nowhere while a checked block is read again.
    keys: Option<&'k mut Keys>,
    /// Items of the last counted argument.
    counted: usize,
}

impl<'a, 'k> Parser<'a, 'k> {
    /// Reads `words` from index `start` (after the command's name), noting keys in `keys`.
    pub fn new(words: Words<'a>, start: usize, hasher: KeyHasher, keys: &'k mut Keys) -> Parser<'a, 'k> {
        Parser { words, next: start, hasher, hint: None, keys: Some(keys), counted: 0 }
    }

    /// Reads words that were checked before; keys are not noted again.
    pub fn again(words: Words<'a>, hasher: KeyHasher) -> Parser<'a, 'static> {
        Parser { words, next: 0, hasher, hint: None, keys: None, counted: 0 }
    }

    pub fn with_hint(mut self, hash_of_first_key: Option<u64>) -> Parser<'a, 'k> {
        self.hint = hash_of_first_key;
        self
    }

    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Notes how many items a counted argument has.
    pub fn note_count(&mut self, count: usize) {
        self.counted = count;
    }

    /// Items of the last counted argument.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// Words not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.words.len() - self.next
    }

    /// The next word, unless only `after` are left.
    #[inline]
    pub fn peek(&self, after: usize) -> Option<&'a [u8]> {
        if self.remaining() > after { self.words.get(self.next).copied() } else { None }
    }

    /// The next word; a syntax error when there is none.
    #[inline]
    pub fn word(&mut self) -> Result<&'a [u8]> {
        let word = *self.words.get(self.next).ok_or(Error::SYNTAX)?;
        self.next += 1;
        Ok(word)
    }

    /// The words not yet read.
    pub fn rest(&self) -> Words<'a> {
        &self.words[self.next..]
    }

    /// Takes the next `count` words as they are.
    pub fn take(&mut self, count: usize) -> Result<Words<'a>> {
        let words = self.words.get(self.next..self.next.saturating_add(count)).ok_or(Error::SYNTAX)?;
        self.next += count;
        Ok(words)
    }

    /// Takes the next word when it is `token` in any case.
    #[inline]
    pub fn take_token(&mut self, token: &str, how: How) -> bool {
        // At the end of what this argument may take, only a token that is itself required can follow.
        match self.words.get(self.next) {
            Some(word) if self.remaining() > how.after && word.eq_ignore_ascii_case(token.as_bytes()) => {
                self.next += 1;
                true
            }
            _ => false,
        }
    }

    /// The next word as a key, noted with its access.
    #[inline]
    pub fn key(&mut self, access: Access) -> Result<(&'a [u8], u64)> {
        let index = self.next;
        let word = self.word()?;
        let hash = match self.hint {
            Some(hash) if index == 1 => {
                debug_assert_eq!(hash, self.hasher.hash(word));
                hash
            }
            _ => self.hasher.hash(word),
        };
        if let Some(keys) = &mut self.keys {
            keys.keys.push(KeyRef { index: index as u32, access, hash });
        }
        Ok((word, hash))
    }

    /// Keys noted up to now.
    #[inline]
    pub fn key_count(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.keys.len())
    }

    /// Notes what is done with a key that was noted before.
    #[inline]
    pub fn use_key(&mut self, index: usize, access: Access) {
        if let Some(noted) = self.keys.as_mut().and_then(|keys| keys.keys.get_mut(index)) {
            noted.access = access;
        }
    }

    /// Forgets a key that a later one replaces.
    pub fn forget_key(&mut self, key: &'a [u8]) {
        if let Some(keys) = &mut self.keys {
            // The word itself, not an equal one.
            keys.keys.retain(|noted| !std::ptr::eq(self.words[noted.index as usize], key));
        }
    }

    /// Notes that the call reads keys which no word names.
    pub fn reads_any_key(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.reads_any = true;
        }
    }

    /// The next word as a channel or a pattern of channels, noted.
    pub fn channel(&mut self, pattern: bool) -> Result<&'a [u8]> {
        let index = self.next;
        let word = self.word()?;
        if let Some(keys) = &mut self.keys {
            keys.channels.push((index as u32, pattern));
        }
        Ok(word)
    }

    /// Refuses words that no argument took.
    #[inline]
    pub fn finish(&self) -> Result<()> {
        if self.remaining() == 0 { Ok(()) } else { Err(Error::SYNTAX) }
    }
}
