//! A frame: whole units of the stream, with what is needed to trust them. `docs/FORMAT.md` draws the bytes.
//!
//! Its header has a checksum of its own, so that a length is believed before that many bytes are read, and so that
//! headers can be told from other bytes behind a flaw. Both checksums together cover all of the frame. The one of the
//! header begins with the segment's salt, which no client can know: bytes that a client stores, or that another
//! segment left on the disk, are no headers here.

use crc32fast::Hasher;

/// The first bytes of a frame.
pub const MAGIC: [u8; 4] = *b"\xf5SyF";

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 52;

/// In place of a database when none is known to be selected.
const NO_DB: u32 = u32::MAX;

const ZSTD: u32 = 1;
const CLEAN: u32 = 2;
const KNOWN_FLAGS: u32 = ZSTD | CLEAN;

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The offset of its first byte.
    pub start: u64,
    /// Everything before this offset was fsynced when the frame was written.
    pub synced: u64,
    /// Bytes of the stream.
    pub raw_bytes: u64,
    /// Bytes that follow the header.
    pub stored_bytes: u64,
    pub payload_crc: u32,
    /// The database selected after it; none when that is not known.
    pub db: Option<u32>,
    /// The payload is one zstd frame.
    pub zstd: bool,
    /// The last frame of a segment that was closed in order. It holds nothing.
    pub clean: bool,
}

impl Header {
    /// The offset after its last byte.
    pub fn end(&self) -> u64 {
        self.start + self.raw_bytes
    }

    /// Bytes in the file.
    pub fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.stored_bytes
    }

    pub fn encode(&self, salt: Salt) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let flags = flag(self.zstd, ZSTD) | flag(self.clean, CLEAN);
        out[..4].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&self.start.to_le_bytes());
        out[16..24].copy_from_slice(&self.synced.to_le_bytes());
        out[24..32].copy_from_slice(&self.raw_bytes.to_le_bytes());
        out[32..40].copy_from_slice(&self.stored_bytes.to_le_bytes());
        out[40..44].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[44..48].copy_from_slice(&self.db.unwrap_or(NO_DB).to_le_bytes());
        out[48..52].copy_from_slice(&flags.to_le_bytes());
        let crc = salt.crc(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// None for bytes that are no header of this segment.
    pub fn decode(bytes: &[u8; HEADER_BYTES], salt: Salt) -> Option<Header> {
        let flags = u32_at(bytes, 48);
        if bytes[..4] != MAGIC || u32_at(bytes, 4) != salt.crc(&bytes[8..]) || flags & !KNOWN_FLAGS != 0 {
            return None;
        }
        let header = Header {
            start: u64_at(bytes, 8),
            synced: u64_at(bytes, 16),
            raw_bytes: u64_at(bytes, 24),
            stored_bytes: u64_at(bytes, 32),
            payload_crc: u32_at(bytes, 40),
            db: Some(u32_at(bytes, 44)).filter(|db| *db != NO_DB),
            zstd: flags & ZSTD != 0,
            clean: flags & CLEAN != 0,
        };
        let lengths_agree = header.zstd || header.raw_bytes == header.stored_bytes;
        let adds_up = header.start.checked_add(header.raw_bytes).is_some() && header.synced <= header.start;
        (lengths_agree && adds_up).then_some(header)
    }

    /// What a payload of this frame was before it was stored; none when it is not that payload.
    pub fn unpack<'a>(&self, payload: &'a [u8], unpacked: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if payload.len() as u64 != self.stored_bytes || crc32fast::hash(payload) != self.payload_crc {
            return None;
        }
        if !self.zstd {
            return Some(payload);
        }
        let raw_bytes = usize::try_from(self.raw_bytes).ok()?;
        *unpacked = zstd::bulk::decompress(payload, raw_bytes).ok()?;
        (unpacked.len() == raw_bytes).then_some(unpacked)
    }
}

/// What the checksums of a segment's headers begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub u64);

impl Salt {
    fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// Puts frames together. Kept and used again, for its buffers.
pub struct Packer {
    /// A frame: room for the header, then the payload.
    frame: Vec<u8>,
    packed: Vec<u8>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

/// Smaller payloads are stored as they are: there is nothing to win.
const ZSTD_BYTES_MIN: usize = 256;

/// A larger buffer is not kept for the next frame.
const KEPT_BYTES_MAX: usize = 4 << 20;

impl Packer {
    /// With a level of zstd, frames that become smaller by it are compressed.
    pub fn new(zstd_level: Option<i32>) -> Packer {
        // Refused is a level that there is not; then nothing is compressed.
        let zstd = zstd_level.and_then(|level| zstd::bulk::Compressor::new(level).ok());
        Packer { frame: Vec::new(), packed: Vec::new(), zstd }
    }

    /// An empty frame; what is appended to the buffer is its payload.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        if self.frame.capacity() > KEPT_BYTES_MAX {
            self.frame = Vec::new();
            self.packed = Vec::new();
        }
        self.frame.clear();
        self.frame.resize(HEADER_BYTES, 0);
        &mut self.frame
    }

    /// The frame of what was appended since [`Packer::begin`], as it goes into the file.
    pub fn finish(&mut self, start: u64, synced: u64, db: Option<u32>, clean: bool, salt: Salt) -> &[u8] {
        let raw_bytes = self.frame.len() - HEADER_BYTES;
        let zstd = raw_bytes >= ZSTD_BYTES_MIN && self.compress();
        let frame = if zstd { &mut self.packed } else { &mut self.frame };
        let payload = &frame[HEADER_BYTES..];
        let header = Header {
            start,
            synced,
            raw_bytes: raw_bytes as u64,
            stored_bytes: payload.len() as u64,
            payload_crc: crc32fast::hash(payload),
            db,
            zstd,
            clean,
        };
        debug_assert!(synced <= start, "what is being written is not safe yet");
        frame[..HEADER_BYTES].copy_from_slice(&header.encode(salt));
        frame
    }

    /// Fills `packed` with a compressed copy, if that is smaller.
    fn compress(&mut self) -> bool {
        let Some(zstd) = &mut self.zstd else { return false };
        let payload = &self.frame[HEADER_BYTES..];
        self.packed.clear();
        // Not one byte of room for a result that would not be smaller.
        self.packed.resize(HEADER_BYTES + payload.len() - 1, 0);
        match zstd.compress_to_buffer(payload, &mut self.packed[HEADER_BYTES..]) {
            Ok(bytes) => {
                self.packed.truncate(HEADER_BYTES + bytes);
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(packer: &mut Packer, payload: &[u8]) -> Vec<u8> {
        packer.begin().extend_from_slice(payload);
        packer.finish(100, 90, Some(3), payload.is_empty(), Salt(7)).to_vec()
    }

    fn unpack(frame: &[u8], salt: Salt) -> Option<(Header, Vec<u8>)> {
        let header = Header::decode(frame.first_chunk()?, salt)?;
        let mut unpacked = Vec::new();
        let raw = header.unpack(frame.get(HEADER_BYTES..)?, &mut unpacked)?.to_vec();
        Some((header, raw))
    }

    #[test]
    fn a_frame_looks_like_this() {
        let frame = pack(&mut Packer::new(None), b"*1\r\n$4\r\nPING\r\n");
        let (header, raw) = unpack(&frame, Salt(7)).unwrap();
        assert_eq!(raw, b"*1\r\n$4\r\nPING\r\n");
        assert_eq!((header.start, header.end(), header.synced, header.db), (100, 114, 90, Some(3)));
        assert_eq!(frame.len() as u64, header.frame_bytes());
        assert_eq!(frame[..4], MAGIC);
        assert_eq!(frame[8..16], 100_u64.to_le_bytes());
        assert_eq!(frame[16..24], 90_u64.to_le_bytes());
        assert_eq!(frame[24..32], 14_u64.to_le_bytes());
        assert_eq!(frame[32..40], 14_u64.to_le_bytes());
        assert_eq!(frame[40..44], crc32fast::hash(b"*1\r\n$4\r\nPING\r\n").to_le_bytes());
        assert_eq!(frame[44..52], [3, 0, 0, 0, 0, 0, 0, 0]);
        let mut salted = 7_u64.to_le_bytes().to_vec();
        salted.extend_from_slice(&frame[8..HEADER_BYTES]);
        assert_eq!(frame[4..8], crc32fast::hash(&salted).to_le_bytes());
    }

    #[test]
    fn a_frame_of_another_segment_is_none() {
        let frame = pack(&mut Packer::new(None), b"x");
        assert!(unpack(&frame, Salt(7)).is_some());
        assert_eq!(unpack(&frame, Salt(8)), None);
    }

    #[test]
    fn what_becomes_smaller_is_compressed() {
        let mut packer = Packer::new(Some(1));
        let text = b"*1\r\n$4\r\nPING\r\n".repeat(100);
        let frame = pack(&mut packer, &text);
        assert!(frame.len() < text.len() / 4);
        let (header, raw) = unpack(&frame, Salt(7)).unwrap();
        assert!(header.zstd && raw == text);
        let noise: Vec<u8> = (0..1000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(unpack(&pack(&mut packer, &noise), Salt(7)).unwrap().1, noise);
        assert!(unpack(&pack(&mut packer, b""), Salt(7)).unwrap().0.clean);
    }

    proptest! {
        /// A change of one bit is always noticed: that is what a CRC is for.
        #[test]
        fn a_flipped_bit_is_noticed(payload in prop::collection::vec(any::<u8>(), 0..600), level in prop::option::of(1..4), flip in any::<prop::sample::Index>()) {
            let mut frame = pack(&mut Packer::new(level), &payload);
            prop_assert_eq!(unpack(&frame, Salt(7)).unwrap().1, payload);
            let bit = flip.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(unpack(&frame, Salt(7)), None);
        }

        #[test]
        fn any_bytes_are_looked_at(bytes in any::<[u8; HEADER_BYTES - 8]>()) {
            let mut header = [0; HEADER_BYTES];
            header[..4].copy_from_slice(&MAGIC);
            header[8..].copy_from_slice(&bytes);
            let crc = Salt(1).crc(&header[8..]);
            header[4..8].copy_from_slice(&crc.to_le_bytes());
            if let Some(decoded) = Header::decode(&header, Salt(1)) {
                prop_assert_eq!(decoded.encode(Salt(1)), header);
                prop_assert!(decoded.end() >= decoded.start);
            }
        }
    }
}
