//! Bytes on their way out: the primitives of the format, a bounded buffer, the checksum.

use std::io::{self, Write};

use super::format::{LENGTH_32, LENGTH_64, encoding};
use super::{crc64, lzf};
use crate::types::listpack::Listpack;
use crate::types::{Elem, parse_int};

/// What is gathered before it is written.
const BUFFER_BYTES: usize = 64 << 10;

/// Shorter strings are not worth the attempt, as Redis has it.
const COMPRESSED_BYTES_MIN: usize = 21;

/// Longer strings are written as they are, because a compressed one needs a buffer for all of it.
const COMPRESSED_BYTES_MAX: usize = 4 << 20;

pub(super) struct Output<W> {
    sink: W,
    buffer: Vec<u8>,
    sum: u64,
    /// Bytes that have left the buffer.
    written: u64,
    compress: bool,
    compressor: Option<lzf::Compressor>,
    /// A string in one piece, and what became of it.
    whole: Vec<u8>,
    packed: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub fn new(sink: W, compress: bool) -> Output<W> {
        let (buffer, whole, packed) = (Vec::new(), Vec::new(), Vec::new());
        Output { sink, buffer, sum: 0, written: 0, compress, compressor: None, whole, packed }
    }

    pub fn sink(&mut self) -> &mut W {
        &mut self.sink
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.sink
    }

    pub fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
            if bytes.len() > BUFFER_BYTES {
                return self.write(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    pub fn byte(&mut self, byte: u8) -> io::Result<()> {
        self.put(&[byte])
    }

    pub fn length(&mut self, len: u64) -> io::Result<()> {
        let (bytes, count) = length_bytes(len);
        self.put(&bytes[..count])
    }

    /// Any string: as an integer when it is a short one, compressed when that saves something.
    pub fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        match (bytes.len() <= 11).then(|| parse_int(bytes)).flatten() {
            Some(int) if i32::try_from(int).is_ok() => self.int(int),
            _ => self.blob([bytes, b"", b""]),
        }
    }

    pub fn elem(&mut self, elem: Elem<'_>) -> io::Result<()> {
        match elem {
            Elem::Int(int) => self.int(int),
            Elem::Bytes(bytes) => self.string(bytes),
        }
    }

    /// A string of parts that is not an integer.
    pub fn blob(&mut self, parts: [&[u8]; 3]) -> io::Result<()> {
        let len = parts.iter().map(|part| part.len()).sum();
        if self.compress && (COMPRESSED_BYTES_MIN..=COMPRESSED_BYTES_MAX).contains(&len) {
            let whole = if len == parts[0].len() {
                parts[0]
            } else {
                self.whole.clear();
                parts.iter().for_each(|part| self.whole.extend_from_slice(part));
                &self.whole
            };
            if self.compressor.get_or_insert_default().compress(whole, &mut self.packed) {
                return self.put_packed(len);
            }
        }
        self.length(len as u64)?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    /// A string that is a listpack of Redis, from the encoded elements of ours.
    pub fn listpack(&mut self, elements: &[u8], count: usize) -> io::Result<()> {
        self.blob([&Listpack::redis_header(elements.len(), count), elements, &[Listpack::REDIS_END]])
    }

    /// The sum of all bytes so far.
    pub fn sum(&mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.sum)
    }

    /// Everything is in the sink then.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn int(&mut self, int: i64) -> io::Result<()> {
        if let Ok(int) = i8::try_from(int) {
            self.put(&[encoding::INT_8, int as u8])
        } else if let Ok(int) = i16::try_from(int) {
            let [low, high] = int.to_le_bytes();
            self.put(&[encoding::INT_16, low, high])
        } else if let Ok(int) = i32::try_from(int) {
            let [a, b, c, d] = int.to_le_bytes();
            self.put(&[encoding::INT_32, a, b, c, d])
        } else {
            self.blob([itoa::Buffer::new().format(int).as_bytes(), b"", b""])
        }
    }

    fn put_packed(&mut self, len: usize) -> io::Result<()> {
        self.byte(encoding::LZF)?;
        self.length(self.packed.len() as u64)?;
        self.length(len as u64)?;
        let packed = std::mem::take(&mut self.packed);
        let result = self.put(&packed);
        self.packed = packed;
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = crc64::update(self.sum, bytes);
        self.written += bytes.len() as u64;
        self.sink.write_all(bytes)
    }
}

/// A length, and how many bytes it takes.
pub(super) fn length_bytes(len: u64) -> ([u8; 9], usize) {
    let mut bytes = [0; 9];
    let count = match len {
        0..0x40 => {
            bytes[0] = len as u8;
            1
        }
        0x40..0x4000 => {
            bytes[..2].copy_from_slice(&(0x4000 | len as u16).to_be_bytes());
            2
        }
        0x4000..=0xffff_ffff => {
            bytes[0] = LENGTH_32;
            bytes[1..5].copy_from_slice(&(len as u32).to_be_bytes());
            5
        }
        _ => {
            bytes[0] = LENGTH_64;
            bytes[1..].copy_from_slice(&len.to_be_bytes());
            9
        }
    };
    (bytes, count)
}
