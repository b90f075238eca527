//! A ring of bytes that are addressed by their offset in the stream. Pure: no lock, no policy.

use std::collections::VecDeque;

use super::wire::Put;

/// Bytes of a chunk, when the ring is not smaller.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// A smaller chunk is not worth its header.
const CHUNK_BYTES_MIN: usize = 64;

/// The newest bytes of the stream, `start..end`, in chunks of one size.
///
/// It grows by a chunk at a time and copies nothing for it: whoever appends holds the log's lock meanwhile. What is older
/// than the capacity is forgotten, unless somebody needs it.
pub(super) struct Ring {
    /// Full ones, oldest first.
    full: VecDeque<Vec<u8>>,
    /// The one that is being filled, and how much it still takes.
    last: Vec<u8>,
    room: usize,
    /// Empty ones, for what comes next.
    spare: Vec<Vec<u8>>,
    chunk_bytes: usize,
    capacity: u64,
    /// From here on everything is kept.
    needed_from: u64,
    /// The offset of the first chunk's first byte.
    base: u64,
    end: u64,
}

impl Ring {
    /// An empty ring that holds no memory, standing at an offset. `capacity` is a power of two.
    pub(super) fn new(offset: u64, capacity: usize) -> Ring {
        assert!(capacity.is_power_of_two());
        Ring {
            full: VecDeque::new(),
            last: Vec::new(),
            room: 0,
            spare: Vec::new(),
            chunk_bytes: capacity.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES),
            capacity: capacity as u64,
            needed_from: u64::MAX,
            base: offset,
            end: offset,
        }
    }

    /// Moves to another offset, before the first byte.
    pub(super) fn begin_at(&mut self, offset: u64) {
        assert_eq!(self.base, self.end, "nothing was put");
        (self.base, self.end) = (offset, offset);
    }

    /// The oldest byte that is not forgotten.
    pub(super) fn start(&self) -> u64 {
        self.base.max(self.needed_from.min(self.end.saturating_sub(self.capacity)))
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        (self.chunk_count() + self.spare.len()) * self.chunk_bytes
    }

    /// Chunks that hold something.
    fn chunk_count(&self) -> usize {
        self.full.len() + usize::from(!self.last.is_empty())
    }

    /// Everything from `offset` on is needed, however much it comes to; nothing, when it is `u64::MAX`.
    pub(super) fn need_from(&mut self, offset: u64) {
        self.needed_from = offset;
    }

    /// Appends the kept bytes of a range to `out`.
    pub(super) fn copy(&self, from: u64, to: u64, out: &mut Vec<u8>) {
        assert!(self.start() <= from && from <= to && to <= self.end);
        let mut at = from;
        while at < to {
            let place = (at - self.base) as usize;
            let chunk = self.full.get(place / self.chunk_bytes).unwrap_or(&self.last);
            let rest = &chunk[place % self.chunk_bytes..];
            let piece = &rest[..rest.len().min((to - at) as usize)];
            out.extend_from_slice(piece);
            at += piece.len() as u64;
        }
    }

    /// Forgets what nobody needs, and gives back half of the memory that was only needed while the disk was behind; the
    /// caller drops it without the lock. Only half, and only when a quarter has been enough since the last time:
    /// otherwise the same chunks would go and come each second.
    #[must_use = "drop it without the lock"]
    pub(super) fn shrink(&mut self) -> Vec<Vec<u8>> {
        while let Some(chunk) = self.take_oldest() {
            self.spare.push(chunk);
        }
        let (used, total) = (self.chunk_count(), self.chunk_count() + self.spare.len());
        let needed = self.end.saturating_sub(self.needed_from) / self.chunk_bytes as u64;
        // The capacity, and the chunks that it begins and ends in.
        let least = self.capacity as usize / self.chunk_bytes + 2;
        if total > least && needed <= total as u64 / 4 {
            let kept = (total / 2).max(least).max(used);
            return self.spare.split_off((kept - used).min(self.spare.len()));
        }
        Vec::new()
    }

    /// The oldest chunk, emptied, if all of it is forgotten.
    fn take_oldest(&mut self) -> Option<Vec<u8>> {
        let end = self.base + self.chunk_bytes as u64;
        if end > self.start() {
            return None;
        }
        let mut chunk = self.full.pop_front()?;
        chunk.clear();
        self.base = end;
        Some(chunk)
    }

    /// What does not fit into the last chunk.
    #[cold]
    fn put_across(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.room == 0 {
                let spare = self.take_oldest().or_else(|| self.spare.pop());
                let next = spare.unwrap_or_else(|| Vec::with_capacity(self.chunk_bytes));
                let full = std::mem::replace(&mut self.last, next);
                if !full.is_empty() {
                    self.full.push_back(full);
                }
                self.room = self.chunk_bytes;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.room));
            self.put(now);
            bytes = later;
        }
    }
}

impl Put for Ring {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() > self.room {
            return self.put_across(bytes);
        }
        self.last.extend_from_slice(bytes);
        self.room -= bytes.len();
        self.end += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is written in whatever pieces, the ring holds the newest bytes, and all that is needed.
        #[test]
        fn it_holds_the_newest(
            begin in 0_u64..100,
            bits in 0_u32..10,
            steps in prop::collection::vec((0_usize..200, prop::option::of(0_u64..400)), 0..30),
        ) {
            let capacity = 1 << bits;
            let mut ring = Ring::new(begin, capacity);
            let mut all = Vec::new();
            let mut needed_from = u64::MAX;
            for (len, needed) in steps {
                let piece: Vec<u8> = (0..len).map(|i| (all.len() + i) as u8).collect();
                ring.put(&piece);
                all.extend_from_slice(&piece);
                let end = begin + all.len() as u64;
                prop_assert_eq!(ring.end(), end);
                prop_assert!(ring.start() <= needed_from.min(end));
                prop_assert!(end - ring.start() >= (all.len() as u64).min(capacity as u64));
                let mut kept = Vec::new();
                ring.copy(ring.start(), end, &mut kept);
                prop_assert_eq!(&kept, &all[(ring.start() - begin) as usize..]);
                if let Some(back) = needed {
                    needed_from = ring.start().max(end.saturating_sub(back));
                    ring.need_from(needed_from);
                    let before = ring.start();
                    drop(ring.shrink());
                    prop_assert_eq!(ring.start(), before);
                }
            }
            // Nobody needs anything any more: the memory goes, half of it each time.
            ring.need_from(u64::MAX);
            (0..20).for_each(|_| drop(ring.shrink()));
            let most = capacity + 2 * ring.chunk_bytes;
            prop_assert!(ring.size() <= most, "{} of {}", ring.size(), most);
        }
    }

    #[test]
    fn what_nobody_needs_costs_no_more_than_the_capacity() {
        let mut ring = Ring::new(0, 256);
        ring.put(&[7; 100_000]);
        assert!(ring.size() <= 256 + 2 * 256, "{}", ring.size());
        assert_eq!(ring.start(), 100_000 - 256);
    }
}
