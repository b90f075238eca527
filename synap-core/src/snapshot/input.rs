//! Bytes on their way in: the primitives of the format, the offset for errors, the checksum. Nothing is allocated for a
//! length that was only announced.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use super::format::{LENGTH_32, LENGTH_64, encoding};
use super::{crc64, lzf};

/// What is read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Why reading ended.
#[derive(Debug)]
pub struct ReadError {
    /// Where in the input, in bytes.
    pub offset: u64,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Io(io::Error),
    /// It ends in the middle of something.
    Short,
    /// It is not what the format allows.
    Malformed(&'static str),
    /// It is well-formed, but nothing that we can hold.
    Unsupported(String),
    /// It is for a server with more databases.
    Database {
        db: u32,
        databases: u32,
    },
    /// What was read is not what was written.
    Checksum {
        found: u64,
        computed: u64,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Io(error) => write!(f, "{error}")?,
            Cause::Short => write!(f, "it ends in the middle")?,
            Cause::Malformed(what) => write!(f, "malformed: {what}")?,
            Cause::Unsupported(what) => write!(f, "not supported: {what}")?,
            Cause::Database { db, databases } => {
                write!(f, "it has keys in database {db}, and `databases` is {databases}")?;
            }
            Cause::Checksum { found, computed } => {
                write!(f, "wrong checksum: {found:016x} stands there, the bytes give {computed:016x}")?;
            }
        }
        write!(f, ", at byte {}", self.offset)
    }
}

impl std::error::Error for ReadError {}

pub(super) type Result<T> = std::result::Result<T, ReadError>;

pub(super) struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    /// The bytes of the buffer that are not read yet.
    at: usize,
    end: usize,
    /// Offset of the buffer's first byte.
    before: u64,
    /// The sum of all bytes before `summed` in the buffer.
    sum: u64,
    summed: usize,
    /// A compressed string before it is decompressed.
    packed: Vec<u8>,
}

/// A length, or the byte that says how a string is encoded.
enum Length {
    Plain(u64),
    Encoded(u8),
}

impl<R: Read> Input<R> {
    pub fn new(source: R) -> Input<R> {
        Input::with_buffer(source, BUFFER_BYTES)
    }

    /// For a source of `len` bytes.
    pub fn of_len(source: R, len: usize) -> Input<R> {
        Input::with_buffer(source, len.clamp(1, BUFFER_BYTES))
    }

    fn with_buffer(source: R, bytes: usize) -> Input<R> {
        let buffer = vec![0; bytes].into();
        Input { source, buffer, at: 0, end: 0, before: 0, sum: 0, summed: 0, packed: Vec::new() }
    }

    /// Bytes that were read.
    pub fn offset(&self) -> u64 {
        self.before + self.at as u64
    }

    pub fn error(&self, cause: Cause) -> ReadError {
        ReadError { offset: self.offset(), cause }
    }

    pub fn malformed<T>(&self, what: &'static str) -> Result<T> {
        Err(self.error(Cause::Malformed(what)))
    }

    /// The sum of all bytes that were read.
    pub fn sum(&mut self) -> u64 {
        self.sum = crc64::update(self.sum, &self.buffer[self.summed..self.at]);
        self.summed = self.at;
        self.sum
    }

    /// True when nothing follows.
    pub fn is_at_end(&mut self) -> Result<bool> {
        if self.at < self.end {
            return Ok(false);
        }
        self.refill()
    }

    /// The source, and the bytes that were taken from it and not read.
    pub fn into_rest(self) -> (R, Vec<u8>) {
        let rest = self.buffer[self.at..self.end].to_vec();
        (self.source, rest)
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        if self.at == self.end && self.refill()? {
            return Err(self.error(Cause::Short));
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        Ok(byte)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            if self.at == self.end && self.refill()? {
                return Err(self.error(Cause::Short));
            }
            let count = (self.end - self.at).min(N - filled);
            bytes[filled..filled + count].copy_from_slice(&self.buffer[self.at..self.at + count]);
            filled += count;
            self.at += count;
        }
        Ok(bytes)
    }

    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A length or another number; what is encoded like a string is none.
    pub fn length(&mut self) -> Result<u64> {
        match self.length_or_encoding()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(_) => self.malformed("no length"),
        }
    }

    /// Puts a string into `out`, in place of what is there.
    pub fn string(&mut self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let int = match self.length_or_encoding()? {
            Length::Plain(len) => return self.take(len, out),
            Length::Encoded(encoding::INT_8) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(encoding::INT_16) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(encoding::INT_32) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(encoding::LZF) => return self.compressed(out),
            Length::Encoded(_) => return self.malformed("an unknown encoding of a string"),
        };
        out.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
        Ok(())
    }

    /// Passes over a string.
    pub fn skip_string(&mut self) -> Result<()> {
        let len = match self.length_or_encoding()? {
            Length::Plain(len) => len,
            Length::Encoded(encoding::INT_8) => 1,
            Length::Encoded(encoding::INT_16) => 2,
            Length::Encoded(encoding::INT_32) => 4,
            Length::Encoded(encoding::LZF) => {
                let packed = self.length()?;
                self.length()?;
                packed
            }
            Length::Encoded(_) => return self.malformed("an unknown encoding of a string"),
        };
        self.pass(len)
    }

    /// Passes over `len` bytes.
    pub fn pass(&mut self, len: u64) -> Result<()> {
        let mut left = len;
        while left > 0 {
            if self.at == self.end && self.refill()? {
                return Err(self.error(Cause::Short));
            }
            let count = left.min((self.end - self.at) as u64);
            self.at += count as usize;
            left -= count;
        }
        Ok(())
    }

    fn length_or_encoding(&mut self) -> Result<Length> {
        let first = self.byte()?;
        Ok(Length::Plain(match first {
            0..0x40 => u64::from(first),
            0x40..0x80 => u64::from(first & 0x3f) << 8 | u64::from(self.byte()?),
            LENGTH_32 => u64::from(u32::from_be_bytes(self.array()?)),
            LENGTH_64 => u64::from_be_bytes(self.array()?),
            0xc0.. => return Ok(Length::Encoded(first)),
            _ => return self.malformed("an unknown form of a length"),
        }))
    }

    fn compressed(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let (packed_len, len) = (self.length()?, self.length()?);
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        self.take(packed_len, &mut packed)?;
        let whole = usize::try_from(len).ok().and_then(|len| lzf::decompress(&packed, len, out));
        self.packed = packed;
        whole.ok_or(self.error(Cause::Malformed("a compressed string")))
    }

    /// Appends `len` bytes to `out`, which grows as they come.
    fn take(&mut self, len: u64, out: &mut Vec<u8>) -> Result<()> {
        let mut left = len;
        while left > 0 {
            if self.at == self.end && self.refill()? {
                return Err(self.error(Cause::Short));
            }
            if out.len() == out.capacity() {
                // It doubles, but for the last time, so that in the end it is as long as the string.
                let more = left.min(out.len().max(BUFFER_BYTES) as u64);
                out.reserve_exact(more as usize);
            }
            let count = left.min((self.end - self.at) as u64) as usize;
            let room = out.capacity() - out.len();
            let count = if room > 0 { count.min(room) } else { count };
            out.extend_from_slice(&self.buffer[self.at..self.at + count]);
            self.at += count;
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads on when the buffer is used up; true when there is nothing more.
    #[cold]
    fn refill(&mut self) -> Result<bool> {
        self.sum();
        self.before += self.end as u64;
        (self.at, self.end, self.summed) = (0, 0, 0);
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(count) => {
                    self.end = count;
                    return Ok(count == 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(Cause::Io(error))),
            }
        }
    }
}
