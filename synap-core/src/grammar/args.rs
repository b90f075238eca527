//! The argument types: [`Key`], [`Word`], [`Many`], [`Counted`], [`Each`], and what joins them.

use std::marker::PhantomData;

use smallvec::SmallVec;

use super::parser::{How, Parser, Words};
use super::spec::{Access, ArgKind, Repeat};
use crate::error::{Error, Result};
use crate::keyspace::hasher::KeyHasher;

/// A type that reads itself from words and describes itself.
pub trait Arg<'a>: Sized {
    const KIND: ArgKind;
    /// Words it takes at the least.
    const MIN: usize = 1;
    /// It always takes exactly `MIN` words.
    const FIXED: bool = true;
    const OPTIONAL: bool = false;
    const REPEAT: Repeat = Repeat::Once;

    /// True when `word` can be its first: how an optional choice finds out whether it is there.
    fn starts(_word: &[u8]) -> bool {
        true
    }

    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self>;

    /// An option that is given again replaces this: takes back what it noted.
    fn withdraw(self, _parser: &mut Parser<'a, '_>) {}
}

/// The same argument struct for any lifetime of its words: what a row names.
pub trait Family {
    type Of<'w>;
}

/// The marker of an incomplete block, turned into an arity error by whoever knows the command's name.
pub const UNEVEN: Error = Error::err("\u{0}uneven");

/// A key with its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl<'a> Arg<'a> for Key<'a> {
    const KIND: ArgKind = ArgKind::Key(Access(0));
    #[inline]
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let (bytes, hash) = parser.key(how.access)?;
        Ok(Key { bytes, hash })
    }

    fn withdraw(self, parser: &mut Parser<'a, '_>) {
        parser.forget_key(self.bytes);
    }
}

/// Any bytes.
pub type Word<'a> = &'a [u8];

impl<'a> Arg<'a> for &'a [u8] {
    const KIND: ArgKind = ArgKind::Bytes;
    #[inline]
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        parser.word()
    }
}

/// A glob pattern.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'a>(pub &'a [u8]);

impl<'a> Arg<'a> for Pattern<'a> {
    const KIND: ArgKind = ArgKind::Pattern;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        Ok(Pattern(parser.word()?))
    }
}

/// The names of keys that depend on what other keys hold: BY and GET of SORT. With a star it stands for any key, and
/// the caller must be allowed to read all of them.
#[derive(Clone, Copy, Debug)]
pub struct KeyPattern<'a>(pub &'a [u8]);

impl<'a> Arg<'a> for KeyPattern<'a> {
    const KIND: ArgKind = ArgKind::Pattern;
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        let word = parser.word()?;
        if word.contains(&b'*') {
            parser.reads_any_key();
        }
        Ok(KeyPattern(word))
    }
}

/// A publish/subscribe channel; `PATTERN` when the word is a pattern of channels.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a, const PATTERN: bool = false>(pub &'a [u8]);

impl<'a, const PATTERN: bool> Arg<'a> for Channel<'a, PATTERN> {
    const KIND: ArgKind = ArgKind::Channel { pattern: PATTERN };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        Ok(Channel(parser.channel(PATTERN)?))
    }
}

/// A token alone; the derive reads it where it knows the token.
impl<'a> Arg<'a> for bool {
    const KIND: ArgKind = ArgKind::Flag;
    const MIN: usize = 0;
    const FIXED: bool = false;
    const OPTIONAL: bool = true;
    fn read(_: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        unreachable!("the derive reads flags by their token")
    }
}

/// What is inside an `Option`, for the derive.
pub trait Optional {
    type Inner;
}

impl<T> Optional for Option<T> {
    type Inner = T;
}

impl<'a, T: Arg<'a>> Arg<'a> for Option<T> {
    const KIND: ArgKind = T::KIND;
    const MIN: usize = 0;
    const FIXED: bool = false;
    const OPTIONAL: bool = true;
    const REPEAT: Repeat = T::REPEAT;

    fn starts(word: &[u8]) -> bool {
        T::starts(word)
    }

    #[inline]
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        match parser.peek(how.after) {
            Some(word) if T::starts(word) => T::read(parser, how).map(Some),
            _ => Ok(None),
        }
    }
}

/// A repeated argument, at least once: a lazy view of words that were all checked when the call was parsed, so that
/// reading them under a lock cannot fail and nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Many<'a, T> {
    words: Words<'a>,
    hasher: KeyHasher,
    count: usize,
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Arg<'a>> Many<'a, T> {
    /// How many items.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut parser = Parser::again(self.words, self.hasher);
        (0..self.count).map_while(move |_| T::read(&mut parser, How::PLAIN).ok())
    }

    /// The words as they came.
    pub fn words(&self) -> Words<'a> {
        self.words
    }

    fn check(parser: &mut Parser<'a, '_>, how: How, word_count: usize, exact: Option<usize>) -> Result<Self> {
        let hasher = parser.hasher();
        let left = parser.remaining() - word_count;
        let before = parser.remaining();
        let inner = How { after: left, ..how };
        let words = parser.rest();
        let uneven = || if how.uneven_is_syntax { Error::SYNTAX } else { UNEVEN };
        // Told before what may be wrong with a word.
        let is_uneven = T::FIXED && exact.is_none() && !word_count.is_multiple_of(T::MIN.max(1));
        let mut count = 0;
        while parser.remaining() > left && exact.is_none_or(|exact| count < exact) {
            if T::FIXED && parser.remaining() - left < T::MIN {
                return Err(uneven());
            }
            let at = parser.remaining();
            T::read(parser, inner).map_err(|error| if is_uneven { uneven() } else { error })?;
            if parser.remaining() == at {
                return Err(Error::SYNTAX);
            }
            count += 1;
        }
        Ok(Many { words: &words[..before - parser.remaining()], hasher, count, item: PhantomData })
    }
}

impl<'a, T: Arg<'a>> Arg<'a> for Many<'a, T> {
    const KIND: ArgKind = T::KIND;
    const MIN: usize = T::MIN;
    const FIXED: bool = false;
    const REPEAT: Repeat = Repeat::Many;

    fn starts(word: &[u8]) -> bool {
        T::starts(word)
    }

    #[inline]
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let Some(word_count) = parser.remaining().checked_sub(how.after) else { return Err(Error::SYNTAX) };
        if word_count < T::MIN {
            return Err(if how.uneven_is_syntax { Error::SYNTAX } else { UNEVEN });
        }
        Many::check(parser, how, word_count, None)
    }
}

/// A count, then exactly so many: `numkeys key [key …]`. What a wrong count is told is the affair of `S`.
#[derive(Debug)]
pub struct Counted<'a, T, S = Fields>(pub Many<'a, T>, PhantomData<fn() -> S>);

/// The sentences about a count, which differ from command to command.
pub trait Sentences {
    /// The count is no number, or not positive.
    const NOT_POSITIVE: Error;
    /// The count is no number.
    const NOT_INT: Error = Self::NOT_POSITIVE;
    /// There are not so many words.
    const MISMATCH: Error;
    /// Nothing may follow, so that more words than counted are a mismatch, too.
    const IS_LAST: bool = true;
}

/// Of most commands on fields of a hash.
#[derive(Debug)]
pub struct Fields;

impl Sentences for Fields {
    const NOT_POSITIVE: Error = Error::err("Number of fields must be a positive integer");
    const MISMATCH: Error = Error::err("The `numfields` parameter must match the number of arguments");
}

/// Of LMPOP and its like.
#[derive(Debug)]
pub struct NumKeys;

impl Sentences for NumKeys {
    const NOT_POSITIVE: Error = Error::err("numkeys should be greater than 0");
    const MISMATCH: Error = Error::SYNTAX;
    const IS_LAST: bool = false;
}

/// Of SINTERCARD and its like.
#[derive(Debug)]
pub struct CardKeys;

impl Sentences for CardKeys {
    const NOT_POSITIVE: Error = NumKeys::NOT_POSITIVE;
    const MISMATCH: Error = Error::err("Number of keys can't be greater than number of args");
    const IS_LAST: bool = false;
}

impl<'a, T: Arg<'a>, S: Sentences> Arg<'a> for Counted<'a, T, S> {
    const KIND: ArgKind = T::KIND;
    const MIN: usize = 1 + T::MIN;
    const FIXED: bool = false;
    const REPEAT: Repeat = Repeat::Counted;

    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let count = crate::types::parse_int(parser.word()?).ok_or(S::NOT_INT)?;
        let count = usize::try_from(count).ok().filter(|&c| c > 0).ok_or(S::NOT_POSITIVE)?;
        let room = parser.remaining().saturating_sub(how.after);
        let fits = |words: usize| if S::IS_LAST { words == room } else { words <= room };
        if !T::FIXED || !count.checked_mul(T::MIN).is_some_and(fits) {
            return Err(S::MISMATCH);
        }
        parser.note_count(count);
        Ok(Counted(Many::check(parser, how, count * T::MIN, Some(count))?, PhantomData))
    }
}

/// As many as the [`Counted`] argument before it has: a weight for each key.
#[derive(Clone, Copy, Debug)]
pub struct PerItem<'a, T>(pub Many<'a, T>);

impl<'a, T: Arg<'a>> Arg<'a> for PerItem<'a, T> {
    const KIND: ArgKind = T::KIND;
    const MIN: usize = T::MIN;
    const FIXED: bool = false;
    const REPEAT: Repeat = Repeat::PerItem;

    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let (count, room) = (parser.counted(), parser.remaining().saturating_sub(how.after));
        let words = count.checked_mul(T::MIN).filter(|words| T::FIXED && *words <= room).ok_or(Error::SYNTAX)?;
        Ok(PerItem(Many::check(parser, how, words, Some(count))?))
    }
}

/// An option that may be given any number of times, its values in order.
#[derive(Clone, Debug)]
pub struct Each<T>(pub SmallVec<[T; 2]>);

impl<T> Default for Each<T> {
    fn default() -> Self {
        Each(SmallVec::new())
    }
}

impl<'a, T: Arg<'a>> Arg<'a> for Each<T> {
    const KIND: ArgKind = T::KIND;
    const MIN: usize = 0;
    const FIXED: bool = false;
    const OPTIONAL: bool = true;
    const REPEAT: Repeat = Repeat::EachWithToken;
    fn read(_: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        unreachable!("the derive fills repeated options by their token")
    }
}

/// Where an option's value goes when its token was met.
pub trait Slot<'a> {
    fn fill(&mut self, parser: &mut Parser<'a, '_>, how: How) -> Result<()>;
}

impl<'a, T: Arg<'a>> Slot<'a> for Option<T> {
    fn fill(&mut self, parser: &mut Parser<'a, '_>, how: How) -> Result<()> {
        if let Some(replaced) = self.take() {
            replaced.withdraw(parser);
        }
        *self = Some(T::read(parser, how)?);
        Ok(())
    }
}

impl<'a, T: Arg<'a>> Slot<'a> for Each<T> {
    fn fill(&mut self, parser: &mut Parser<'a, '_>, how: How) -> Result<()> {
        self.0.push(T::read(parser, how)?);
        Ok(())
    }
}
