//! Finds calls in a read buffer.
//!
//! A call is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or, for people with a terminal, a line of words.
//! Words are not copied: they are handed out as [`Span`]s of the buffer. What a client announces (a million words, half
//! a gigabyte) reserves nothing; memory follows the bytes that really came.
//!
//! A call that has not arrived in full is looked at once, not again with each read: the [`Decoder`] remembers how far
//! it came, so a value of 100 MB in pieces of 16 kB costs as much as in one.
//!
//! Where Redis is lenient (it never looks at the two bytes after a word), so are we; such a call is not *canonical*, and
//! is written anew for the log. The errors are Redis' own, word for word, with two differences: they depend only on the
//! bytes, never on how these were cut into reads, and a wrong type byte is reported before its line is complete.

use std::ops::Range;

use memchr::memchr;
use synap_core::Error;

use super::inline;

/// A word: a piece of the buffer that was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    #[inline]
    pub fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }

    /// The word itself; `buf` is the buffer that was decoded.
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.range()]
    }
}

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest word (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most words in a call.
    pub word_count_max: usize,
    /// Longest call (`client-query-buffer-limit`); never more than 4 GB, so that a [`Span`] is eight bytes.
    pub call_bytes_max: usize,
    /// Somebody who has not logged in may send just enough to do so: this many words of this many bytes.
    pub authenticated: bool,
}

impl DecodeLimits {
    pub const DEFAULT: DecodeLimits = DecodeLimits {
        bulk_bytes_max: 512 << 20,
        word_count_max: 1 << 20,
        call_bytes_max: 1 << 30,
        authenticated: true,
    };

    pub const UNAUTHENTICATED: DecodeLimits = DecodeLimits { authenticated: false, ..DecodeLimits::DEFAULT };
}

const UNAUTHENTICATED_WORD_COUNT_MAX: usize = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16384;

/// Longest line: of an inline call, or before the end of a number.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Room for words that a [`Decoder`] keeps between calls: most pipelines are cut by a read somewhere.
const KEPT_WORD_COUNT_MAX: usize = 64;

/// What stands at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A call. Its words were appended to the caller's list.
    Call {
        /// Bytes of the buffer that it takes.
        consumed: usize,
        /// These bytes are what we would write: they may go to the log as they are.
        canonical: bool,
    },
    /// A call of no words, an empty line: to be skipped without an answer.
    Empty { consumed: usize },
    /// Ask again when the buffer has grown, with the same bytes in front.
    Incomplete {
        /// The buffer must be at least this long for the next step. A hint for reading, not for reserving: it may be
        /// what a hostile client made up.
        need: usize,
    },
    /// To be answered, and then the connection is closed: what follows cannot be told apart.
    Invalid(ProtocolError),
}

/// How a client broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    MultibulkLength,
    UnauthenticatedMultibulkLength,
    ExpectedDollar { got: u8 },
    BulkLength,
    UnauthenticatedBulkLength,
    BigInline,
    BigMultibulkCount,
    BigBulkCount,
    UnbalancedQuotes,
    BigCall,
}

impl ProtocolError {
    /// The answer that the client gets before the connection is closed.
    pub fn to_error(self) -> Error {
        let text = match self {
            ProtocolError::MultibulkLength => "Protocol error: invalid multibulk length",
            ProtocolError::UnauthenticatedMultibulkLength => "Protocol error: unauthenticated multibulk length",
            ProtocolError::ExpectedDollar { got } => {
                return Error::fmt(format!("Protocol error: expected '$', got '{}'", Error::quote(&[got])));
            }
            ProtocolError::BulkLength => "Protocol error: invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            ProtocolError::BigInline => "Protocol error: too big inline request",
            ProtocolError::BigMultibulkCount => "Protocol error: too big mbulk count string",
            ProtocolError::BigBulkCount => "Protocol error: too big bulk count string",
            ProtocolError::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            ProtocolError::BigCall => "Protocol error: too big request",
        };
        Error::err(text)
    }
}

/// Remembers how far an incomplete call was looked at. One per connection.
#[derive(Debug, Default)]
pub struct Decoder {
    progress: Progress,
    /// The words found so far of a call that is not complete.
    partial: Vec<Span>,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Looks at what stands at the beginning of `buf`, and appends the words of a complete call to `words`.
    ///
    /// After [`Decoded::Incomplete`], the next `buf` must begin with the same bytes. The buffer is written to only in
    /// one case: a complete inline call has its quotes and escapes resolved in place, because its words are then not
    /// pieces of what was sent.
    #[inline]
    pub fn decode(&mut self, buf: &mut [u8], limits: &DecodeLimits, words: &mut Vec<Span>) -> Decoded {
        if buf.len() > u32::MAX as usize {
            return Decoded::Invalid(ProtocolError::BigCall);
        }
        if self.progress.at > 0 {
            return self.resume(buf, limits, words);
        }
        match buf.first() {
            Some(b'*') => {}
            Some(_) => return self.inline(buf, words),
            None => return Decoded::Incomplete { need: 1 },
        }
        let first = words.len();
        let mut progress = self.progress;
        let step = progress.advance(buf, limits, words);
        if let Step::Done(decoded) = step {
            self.progress = Progress::default();
            return decoded;
        }
        self.pause(progress, step, limits, words, first)
    }

    /// True in the middle of a call: the client owes us the rest.
    pub fn is_midway(&self) -> bool {
        self.progress.at > 0 || self.progress.scanned > 0
    }

    #[cold]
    fn pause(
        &mut self,
        progress: Progress,
        step: Step,
        limits: &DecodeLimits,
        words: &mut Vec<Span>,
        first: usize,
    ) -> Decoded {
        self.progress = progress;
        self.partial.extend(words.drain(first..));
        self.stop(step, limits)
    }

    #[cold]
    fn resume(&mut self, buf: &[u8], limits: &DecodeLimits, words: &mut Vec<Span>) -> Decoded {
        let step = self.progress.advance(buf, limits, &mut self.partial);
        if let Step::Done(decoded) = step {
            words.extend_from_slice(&self.partial);
            self.progress = Progress::default();
            // A connection that once sent a giant call should not keep its list of words.
            if self.partial.capacity() > KEPT_WORD_COUNT_MAX {
                self.partial = Vec::new();
            } else {
                self.partial.clear();
            }
            return decoded;
        }
        self.stop(step, limits)
    }

    fn stop(&mut self, step: Step, limits: &DecodeLimits) -> Decoded {
        let error = match step {
            Step::Need(need) if need <= limits.call_bytes_max => return Decoded::Incomplete { need },
            Step::Need(_) => ProtocolError::BigCall,
            Step::Invalid(error) => error,
            Step::Done(decoded) => return decoded,
        };
        *self = Decoder::default();
        Decoded::Invalid(error)
    }

    #[cold]
    fn inline(&mut self, buf: &mut [u8], words: &mut Vec<Span>) -> Decoded {
        let from = self.progress.scanned;
        let newline = memchr(b'\n', &buf[from..]).map(|at| from + at);
        if newline.unwrap_or(buf.len()) > LINE_BYTES_MAX {
            self.progress = Progress::default();
            return Decoded::Invalid(ProtocolError::BigInline);
        }
        let Some(newline) = newline else {
            self.progress.scanned = buf.len();
            return Decoded::Incomplete { need: buf.len() + 1 };
        };
        self.progress = Progress::default();
        let line = &mut buf[..newline];
        let before = words.len();
        match inline::split(line, words) {
            Err(inline::UnbalancedQuotes) => {
                words.truncate(before);
                Decoded::Invalid(ProtocolError::UnbalancedQuotes)
            }
            Ok(()) if words.len() == before => Decoded::Empty { consumed: newline + 1 },
            Ok(()) => Decoded::Call { consumed: newline + 1, canonical: false },
        }
    }
}

/// A place in a call. All fields are zero (and `canonical` true) before its first byte.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// Everything before it is understood. Zero: the header is not.
    at: usize,
    /// Nothing before it ends the line that begins at `at`.
    scanned: usize,
    words_left: usize,
    /// The length of the word that begins at `at`, when its line is understood.
    bulk: Option<usize>,
    canonical: bool,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { at: 0, scanned: 0, words_left: 0, bulk: None, canonical: true }
    }
}

enum Step {
    Done(Decoded),
    Need(usize),
    Invalid(ProtocolError),
}

impl Progress {
    #[inline]
    fn advance(&mut self, buf: &[u8], limits: &DecodeLimits, words: &mut Vec<Span>) -> Step {
        if self.at == 0 {
            let count = match self.number(buf, ProtocolError::BigMultibulkCount) {
                Number::Is(count) => count,
                Number::Bad => return Step::Invalid(ProtocolError::MultibulkLength),
                Number::Stop(step) => return step,
            };
            if count > limits.word_count_max as i64 {
                return Step::Invalid(ProtocolError::MultibulkLength);
            }
            if count > UNAUTHENTICATED_WORD_COUNT_MAX as i64 && !limits.authenticated {
                return Step::Invalid(ProtocolError::UnauthenticatedMultibulkLength);
            }
            if count <= 0 {
                return Step::Done(Decoded::Empty { consumed: self.at });
            }
            self.words_left = count as usize;
        }
        if self.bulk.is_none() {
            self.short_words(buf, limits, words);
        }
        while self.words_left > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => match self.bulk_line(buf, limits) {
                    Ok(len) => len,
                    Err(step) => return step,
                },
            };
            let end = self.at + len;
            let Some(after) = buf.get(end..end + 2) else {
                self.bulk = Some(len);
                return Step::Need(end + 2);
            };
            self.canonical &= after == b"\r\n";
            // The whole buffer is at most 4 GB long.
            words.push(Span { start: self.at as u32, len: len as u32 });
            self.at = end + 2;
            self.bulk = None;
            self.words_left -= 1;
        }
        Step::Done(Decoded::Call { consumed: self.at, canonical: self.canonical })
    }

    #[inline]
    fn bulk_line(&mut self, buf: &[u8], limits: &DecodeLimits) -> Result<usize, Step> {
        match buf.get(self.at) {
            Some(b'$') => {}
            Some(&got) => return Err(Step::Invalid(ProtocolError::ExpectedDollar { got })),
            None => return Err(Step::Need(self.at + 1)),
        }
        let len = match self.number(buf, ProtocolError::BigBulkCount) {
            Number::Is(len) => len,
            Number::Bad => return Err(Step::Invalid(ProtocolError::BulkLength)),
            Number::Stop(step) => return Err(step),
        };
        if len < 0 || len as u64 > limits.bulk_bytes_max as u64 {
            return Err(Step::Invalid(ProtocolError::BulkLength));
        }
        if len > UNAUTHENTICATED_BULK_BYTES_MAX as i64 && !limits.authenticated {
            return Err(Step::Invalid(ProtocolError::UnauthenticatedBulkLength));
        }
        Ok(len as usize)
    }

    /// The number on the line whose type byte is at `at`; moves behind the line.
    #[inline]
    fn number(&mut self, buf: &[u8], too_long: ProtocolError) -> Number {
        match short_number(&buf[self.at..]) {
            Some((value, line)) => {
                self.at += line;
                Number::Is(value as i64)
            }
            None => self.any_number(buf, too_long),
        }
    }

    /// Takes the words that are as nearly all words are: complete, canonical, shorter than a thousand bytes. A tight loop
    /// over locals; [`Progress::advance`] goes on where it stops.
    #[inline]
    fn short_words(&mut self, buf: &[u8], limits: &DecodeLimits, words: &mut Vec<Span>) {
        let (mut at, mut left) = (self.at, self.words_left);
        while left > 0 {
            let rest = &buf[at..];
            let Some((len, line)) = short_number(rest) else { break };
            let Some(after) = rest.get(line + len..line + len + 2) else { break };
            if rest[0] != b'$' || after != b"\r\n" || len > limits.bulk_bytes_max {
                break;
            }
            words.push(Span { start: (at + line) as u32, len: len as u32 });
            at += line + len + 2;
            left -= 1;
        }
        (self.at, self.words_left) = (at, left);
    }

    fn any_number(&mut self, buf: &[u8], too_long: ProtocolError) -> Number {
        let from = self.scanned.max(self.at);
        let cr = memchr(b'\r', &buf[from..]).map(|at| from + at);
        if cr.unwrap_or(buf.len()) - self.at > LINE_BYTES_MAX {
            return Number::Stop(Step::Invalid(too_long));
        }
        let Some(cr) = cr else {
            self.scanned = buf.len();
            return Number::Stop(Step::Need(buf.len() + 2));
        };
        let Some(&lf) = buf.get(cr + 1) else {
            self.scanned = cr;
            return Number::Stop(Step::Need(cr + 2));
        };
        self.canonical &= lf == b'\n';
        let digits = &buf[self.at + 1..cr];
        self.at = cr + 2;
        parse_int(digits).map_or(Number::Bad, Number::Is)
    }
}

enum Number {
    Is(i64),
    /// The line is complete, and is not a number.
    Bad,
    Stop(Step),
}

/// A number of one to three digits on a complete line after a type byte, and the length of the line. Nearly all are.
#[inline(always)]
fn short_number(line: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    // No line with something after it is shorter; `*1` and its first word are longer still.
    let [_, a, b, c, d, e] = *line.first_chunk::<6>()?;
    let (a, second, third) = (digit(a), digit(b), digit(c));
    if a > 9 {
        None
    } else if (b, c) == (b'\r', b'\n') {
        Some((a, 4))
    } else if a == 0 || second > 9 {
        None
    } else if (c, d) == (b'\r', b'\n') {
        Some((a * 10 + second, 5))
    } else if third <= 9 && (d, e) == (b'\r', b'\n') {
        Some((a * 100 + second * 10 + third, 6))
    } else {
        None
    }
}

/// An integer as Redis reads one: no plus, no blanks, no leading zero, nothing out of range, no `-0`.
fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0_u64;
    for byte in digits {
        // Nineteen digits fit.
        value = value * 10 + u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    if negative { 0_i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

#[cfg(test)]
mod tests;
