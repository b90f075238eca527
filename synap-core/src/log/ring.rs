//! A ring of bytes that are addressed by their offset in the stream. Pure: no lock, no policy.

use super::wire::Put;

/// The newest bytes of the stream, `start..end`.
///
/// Its size is a power of two (or zero, before the first byte), so the byte of an offset stands at `offset % size`.
/// Writing over the edge overwrites the oldest bytes; who wants to keep them calls [`Ring::resize`] first.
pub(super) struct Ring {
    bytes: Box<[u8]>,
    start: u64,
    end: u64,
}

impl Ring {
    /// An empty ring that holds no memory, standing at an offset.
    pub(super) fn new(offset: u64) -> Ring {
        Ring { bytes: Box::new([]), start: offset, end: offset }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Moves to a buffer of `size` bytes, a power of two, with as many of the newest bytes as it holds.
    pub(super) fn resize(&mut self, size: usize) {
        assert!(size.is_power_of_two());
        let mut new = Ring { bytes: vec![0; size].into_boxed_slice(), ..*self };
        new.start = self.start.max(self.end.saturating_sub(size as u64));
        new.end = new.start;
        let (first, second) = self.slices(new.start, self.end);
        new.put(first);
        new.put(second);
        debug_assert_eq!(new.end, self.end);
        *self = new;
    }

    /// The kept bytes of a range, in up to two pieces.
    pub(super) fn slices(&self, from: u64, to: u64) -> (&[u8], &[u8]) {
        assert!(self.start <= from && from <= to && to <= self.end);
        let len = (to - from) as usize;
        if len == 0 {
            return (&[], &[]);
        }
        let at = self.index(from);
        let before_edge = len.min(self.size() - at);
        (&self.bytes[at..at + before_edge], &self.bytes[..len - before_edge])
    }

    #[inline]
    fn index(&self, offset: u64) -> usize {
        offset as usize & (self.size() - 1)
    }
}

impl Put for Ring {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.size() > 0 || bytes.is_empty(), "make room first");
        let end = self.end + bytes.len() as u64;
        // Of more than fits, the tail.
        let tail = &bytes[bytes.len().saturating_sub(self.size())..];
        if !tail.is_empty() {
            let at = self.index(end - tail.len() as u64);
            let before_edge = tail.len().min(self.size() - at);
            self.bytes[at..at + before_edge].copy_from_slice(&tail[..before_edge]);
            self.bytes[..tail.len() - before_edge].copy_from_slice(&tail[before_edge..]);
        }
        self.end = end;
        self.start = self.start.max(end.saturating_sub(self.size() as u64));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written in whatever pieces and sizes, the ring holds the newest bytes.
        #[test]
        fn it_holds_the_newest(begin in 0_u64..100, steps in prop::collection::vec((0_usize..40, 0_u32..7), 0..30)) {
            let mut ring = Ring::new(begin);
            let mut all = Vec::new();
            ring.resize(1);
            for (len, size) in steps {
                let piece: Vec<u8> = (0..len).map(|i| (all.len() + i) as u8).collect();
                if size < 6 {
                    ring.resize(1 << size);
                }
                ring.put(&piece);
                all.extend_from_slice(&piece);
                prop_assert_eq!(ring.end(), begin + all.len() as u64);
                prop_assert!(ring.end() - ring.start() <= ring.size() as u64);
                prop_assert!(ring.start() == begin || len == 0 || ring.end() - ring.start() >= len.min(ring.size()) as u64);
                let (first, second) = ring.slices(ring.start(), ring.end());
                prop_assert_eq!([first, second].concat(), &all[(ring.start() - begin) as usize..]);
            }
        }
    }
}
