//! A part of a [`Dict`](super::Dict): up to 1000 elements whose hashes have the same first bits, in two allocations.
//!
//! ```text
//! slots   [ tag: u16 │ place: u16 ] …     0 is a free slot; place is 1 + where the entry starts in the arena
//! arena   entry, entry, garbage, entry …
//!
//! entry = flags and key length │ more key length │ value length │ expiry │ key │ value
//!         v e b k k k k k        0, 1, 2 bytes     0, 1, 3        0, 8
//! ```
//!
//! The tag is the 16 bits of the hash that follow the segment's prefix. An element's *home* is its tag scaled to the number
//! of homes; it stands there or to the right of it with no free slot in between, and the slots ascend by tag. So a search ends
//! at the first larger tag, iteration is in the order of hashes, and a SCAN cursor can be a hash. The flags say: v, there is a
//! value (and its length); e, an expiry; b, key and value are in a block of their own, whose index follows instead of them.

use std::ops::Range;

use triomphe::ThinArc;

use super::due::NEVER;
use crate::types::blob::{Blob, round_up};

/// Elements of a segment.
pub const LEN_MAX: usize = 1000;

/// Key and value beyond this are a block of their own, so that copying a segment stays cheap.
pub const INLINE_BYTES_MAX: usize = 1024;

/// A place is 16 bits.
const ARENA_BYTES_MAX: usize = u16::MAX as usize - 1;

/// Above this a segment is split: compaction must win something when the arena is full.
const LIVE_BYTES_MAX: usize = ARENA_BYTES_MAX / 8 * 7;

const HAS_VALUE: u8 = 0x80;
const HAS_EXPIRY: u8 = 0x40;
const IN_BLOCK: u8 = 0x20;
const KEY_LEN: u8 = 0x1f;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// In milliseconds.
    pub expiry: Option<i64>,
}

/// See the module.
#[derive(Clone)]
pub struct Segment {
    slots: Vec<u32>,
    homes: u32,
    len: u32,
    /// The first `depth` bits of all hashes in here.
    prefix: u32,
    depth: u8,
    /// The note is the number of garbage bytes.
    arena: Blob,
    /// Large elements: the length of the key; the key, then the value. Free indices are None.
    blocks: Vec<Option<ThinArc<u32, u8>>>,
}

impl Segment {
    /// With room for `len` elements of `bytes` in the arena.
    pub fn new(prefix: u32, depth: u8, len: usize, bytes: usize) -> Segment {
        let mut segment = Segment {
            slots: Vec::new(),
            homes: 0,
            len: 0,
            prefix,
            depth,
            arena: Blob::with_capacity(bytes),
            blocks: Vec::new(),
        };
        segment.spread(len);
        segment
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub fn prefix(&self) -> u32 {
        self.prefix
    }

    #[inline]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Bytes of the arena that are no garbage.
    pub fn live_bytes(&self) -> usize {
        self.arena.len() - self.arena.note() as usize
    }

    pub fn allocated(&self) -> usize {
        let blocks: usize = self.blocks.iter().flatten().map(|block| block.slice.len() + 24).sum();
        size_of::<Segment>()
            + 8
            + self.slots.capacity() * size_of::<u32>()
            + self.arena.allocated()
            + self.blocks.capacity() * size_of::<usize>()
            + blocks
    }

    /// Where the key is, or none.
    #[inline]
    pub fn find(&self, tag: u16, key: &[u8]) -> Option<usize> {
        let mut at = self.home(tag);
        while let Some(&slot) = self.slots.get(at) {
            let found = tag_of(slot);
            if slot == 0 || found > tag {
                return None;
            }
            if found == tag && self.key_of(slot) == key {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// The entry in an occupied slot.
    #[inline]
    pub fn entry(&self, at: usize) -> Entry<'_> {
        let raw = self.raw(self.slots[at]);
        let (key, value) = match raw.block {
            Some(block) => block.slice.split_at(block.header.header as usize),
            None => (&self.arena.bytes()[raw.key.clone()], &self.arena.bytes()[raw.value()]),
        };
        Entry { key, value, expiry: raw.expiry }
    }

    /// The first occupied slot from `at` on, and its tag.
    #[inline]
    pub fn occupied_from(&self, at: usize) -> Option<(usize, u16)> {
        let rest = self.slots.get(at..)?;
        let ahead = rest.iter().position(|&slot| slot != 0)?;
        Some((at + ahead, tag_of(rest[ahead])))
    }

    /// No element with this tag or a larger one stands left of here.
    #[inline]
    pub fn home(&self, tag: u16) -> usize {
        ((u32::from(tag) * self.homes) >> 16) as usize
    }

    /// Any slot, free or not, as `random` of 32 bits says.
    #[inline]
    pub fn slot_at_random(&self, random: u32) -> usize {
        ((u64::from(random) * self.slots.len() as u64) >> 32) as usize
    }

    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub fn is_occupied(&self, at: usize) -> bool {
        self.slots[at] != 0
    }

    /// Whether one more entry may come, or the segment must be split first.
    #[inline]
    pub fn has_room_for(&self, key: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        self.len() < LEN_MAX && self.has_bytes_for(key, value, expiry)
    }

    #[inline]
    pub fn has_bytes_for(&self, key: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        self.live_bytes() + Head::of(key, value, expiry).entry_len() <= LIVE_BYTES_MAX
    }

    /// The key must not be here, and there must be room.
    pub fn insert(&mut self, tag: u16, key: &[u8], value: &[u8], expiry: Option<i64>) {
        let head = Head::of(key, value, expiry);
        self.make_room(head.entry_len());
        let place = self.append(&head, key, value);
        self.put_slot(tag, place);
    }

    /// Puts another value and expiry into an occupied slot; there must be room.
    pub fn replace(&mut self, at: usize, value: &[u8], expiry: Option<i64>) {
        let slot = self.slots[at];
        let raw = self.raw(slot);
        let start = start_of(slot);
        if raw.block.is_none() {
            let key = &self.arena.bytes()[raw.key.clone()];
            let head = Head::of(key, value, expiry);
            let same_shape = start + head.len() == raw.key.start && start + head.entry_len() == raw.end;
            if same_shape && head.flags() & IN_BLOCK == 0 {
                let value_at = raw.value();
                let bytes = self.arena.bytes_mut();
                bytes[start..start + head.len()].copy_from_slice(head.bytes());
                bytes[value_at].copy_from_slice(value);
                return;
            }
        }
        let key = self.entry(at).key.to_vec();
        self.remove(at);
        self.insert(tag_of(slot), &key, value, expiry);
    }

    /// Frees an occupied slot. What stands right of it may move one slot to the left.
    pub fn remove(&mut self, at: usize) {
        let raw = self.raw(self.slots[at]);
        let garbage = raw.end - start_of(self.slots[at]);
        if let Some(index) = raw.index {
            self.blocks[usize::from(index)] = None;
            if self.blocks.iter().all(Option::is_none) {
                self.blocks = Vec::new();
            }
        }
        let mut end = at + 1;
        while end < self.slots.len() && self.slots[end] != 0 && self.home(tag_of(self.slots[end])) < end {
            end += 1;
        }
        self.slots.copy_within(at + 1..end, at);
        self.slots[end - 1] = 0;
        self.len -= 1;
        if self.len == 0 {
            *self = Segment::new(self.prefix, self.depth, 0, 0);
            return;
        }
        let garbage = self.arena.note() as usize + garbage;
        self.arena.set_note(garbage as u32);
        if garbage > self.arena.len() / 4 + 256 {
            self.compact(0);
        }
        if self.homes > 32 && self.len < self.homes / 2 {
            self.spread(self.len());
        }
    }

    /// The earliest expiry, or [`NEVER`].
    pub fn min_due(&self) -> i64 {
        self.occupied().filter_map(|slot| self.raw(slot).expiry).min().unwrap_or(NEVER)
    }

    /// How many entries are due at `now`.
    pub fn due_len(&self, now: i64) -> usize {
        self.occupied().filter(|&slot| self.raw(slot).expiry.is_some_and(|expiry| expiry <= now)).count()
    }

    /// The two halves by the next bit of the hash.
    pub fn split(&self, tag_and_bit: impl Fn(&[u8]) -> (u16, bool)) -> [Segment; 2] {
        let mut halves: [(Vec<(u16, u32)>, usize); 2] = Default::default();
        for slot in self.occupied() {
            let (tag, bit) = tag_and_bit(self.key_of(slot));
            let (items, bytes) = &mut halves[usize::from(bit)];
            items.push((tag, slot));
            *bytes += self.raw(slot).end - start_of(slot);
        }
        let mut bit = 0;
        halves.map(|(items, bytes)| {
            let mut half = Segment::new(self.prefix << 1 | bit, self.depth + 1, items.len(), bytes);
            bit = 1;
            for (tag, slot) in items {
                half.absorb(tag, self, slot);
            }
            half
        })
    }

    /// One segment of two neighbours.
    pub fn merge(low: &Segment, high: &Segment) -> Segment {
        assert!(low.depth == high.depth && low.prefix ^ 1 == high.prefix && high.prefix & 1 == 1);
        let (len, bytes) = (low.len() + high.len(), low.live_bytes() + high.live_bytes());
        let mut merged = Segment::new(low.prefix >> 1, low.depth - 1, len, bytes);
        for (half, bit) in [(low, 0), (high, 0x8000)] {
            for slot in half.occupied() {
                merged.absorb(bit | tag_of(slot) >> 1, half, slot);
            }
        }
        merged
    }

    /// Whether [`Segment::merge`] makes one that is not soon split again.
    pub fn may_merge(&self, other: &Segment) -> bool {
        self.depth == other.depth
            && self.len() + other.len() <= LEN_MAX / 2
            && self.live_bytes() + other.live_bytes() <= LIVE_BYTES_MAX / 2
    }

    fn occupied(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().copied().filter(|&slot| slot != 0)
    }

    /// Copies an entry of another segment.
    fn absorb(&mut self, tag: u16, from: &Segment, slot: u32) {
        let raw = from.raw(slot);
        let start = start_of(slot);
        let bytes = &from.arena.bytes()[start..raw.end];
        self.make_room(bytes.len());
        let place = self.arena.len();
        match raw.block {
            None => self.arena.splice(place, 0, [bytes, b"", b""]),
            Some(block) => {
                let index = self.add_block(block.clone());
                self.arena.splice(place, 0, [&bytes[..bytes.len() - 2], &index.to_le_bytes(), b""]);
            }
        }
        self.put_slot(tag, place);
    }

    fn make_room(&mut self, bytes: usize) {
        if (self.len + 1) * 8 > self.homes * 7 {
            self.spread(self.len() + 1);
        }
        if self.arena.len() + bytes > ARENA_BYTES_MAX {
            self.compact(bytes);
        }
    }

    /// Appends an entry to the arena, returns where it starts.
    fn append(&mut self, head: &Head, key: &[u8], value: &[u8]) -> usize {
        let start = self.arena.len();
        if head.flags() & IN_BLOCK == 0 {
            self.arena.splice(start, 0, [head.bytes(), key, value]);
        } else {
            let block = ThinArc::from_header_and_slice(key.len() as u32, &[key, value].concat());
            let index = self.add_block(block);
            self.arena.splice(start, 0, [head.bytes(), &index.to_le_bytes(), b""]);
        }
        start
    }

    fn add_block(&mut self, block: ThinArc<u32, u8>) -> u16 {
        let index = self.blocks.iter().position(Option::is_none).unwrap_or(self.blocks.len());
        if index == self.blocks.len() {
            self.blocks.push(None);
        }
        self.blocks[index] = Some(block);
        index as u16
    }

    fn put_slot(&mut self, tag: u16, start: usize) {
        assert!(start < ARENA_BYTES_MAX);
        let new = u32::from(tag) << 16 | (start + 1) as u32;
        let mut at = self.home(tag);
        while at < self.slots.len() && self.slots[at] != 0 && tag_of(self.slots[at]) <= tag {
            at += 1;
        }
        let rest = self.slots.get(at..).unwrap_or_default();
        let free = at + rest.iter().position(|&slot| slot == 0).unwrap_or(rest.len());
        if free >= self.slots.len() {
            // The last homes are crowded: slots beyond them need no home.
            self.slots.reserve_exact(8);
            self.slots.resize(self.slots.capacity(), 0);
        }
        self.slots.copy_within(at..free, at + 1);
        self.slots[at] = new;
        self.len += 1;
    }

    /// Makes slots for `len` elements and a few more, and moves the present ones there.
    fn spread(&mut self, len: usize) {
        // A quarter more, and up to the size class of an allocator.
        let slots = round_up((len + len / 4 + 4) * size_of::<u32>()) / size_of::<u32>();
        self.homes = (slots - slots / 32 - 1) as u32;
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        let mut next = 0;
        for slot in old.into_iter().filter(|&slot| slot != 0) {
            next = self.home(tag_of(slot)).max(next);
            if next >= self.slots.len() {
                self.slots.reserve_exact(8);
                self.slots.resize(self.slots.capacity(), 0);
            }
            self.slots[next] = slot;
            next += 1;
        }
    }

    /// Copies the entries together, with room for `more` bytes.
    fn compact(&mut self, more: usize) {
        let mut arena = Blob::with_capacity(self.live_bytes() + more);
        for at in 0..self.slots.len() {
            let slot = self.slots[at];
            if slot != 0 {
                let bytes = &self.arena.bytes()[start_of(slot)..self.raw(slot).end];
                self.slots[at] = slot & 0xffff_0000 | (arena.len() + 1) as u32;
                arena.splice(arena.len(), 0, [bytes, b"", b""]);
            }
        }
        self.arena = arena;
    }

    #[inline]
    fn key_of(&self, slot: u32) -> &[u8] {
        let start = start_of(slot);
        let bytes = &self.arena.bytes()[start..];
        // The short way for what is most frequent.
        let flags = bytes[0];
        let key_len = usize::from(flags & KEY_LEN);
        if flags & (IN_BLOCK | HAS_EXPIRY) == 0 && key_len < 30 {
            if flags & HAS_VALUE == 0 {
                return &bytes[1..1 + key_len];
            }
            if bytes[1] < 0xff {
                return &bytes[2..2 + key_len];
            }
        }
        let raw = self.raw(slot);
        match raw.block {
            Some(block) => &block.slice[..block.header.header as usize],
            None => &self.arena.bytes()[raw.key],
        }
    }

    #[inline]
    fn raw(&self, slot: u32) -> Raw<'_> {
        let bytes = self.arena.bytes();
        let mut at = start_of(slot);
        let flags = bytes[at];
        at += 1;
        let mut raw = Raw { key: 0..0, end: 0, expiry: None, index: None, block: None };
        let (mut key_len, mut value_len) = (0, 0);
        if flags & IN_BLOCK == 0 {
            key_len = usize::from(flags & KEY_LEN);
            if key_len == 30 {
                key_len += usize::from(bytes[at]);
                at += 1;
            } else if key_len == 31 {
                key_len = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
                at += 2;
            }
            if flags & HAS_VALUE != 0 {
                value_len = usize::from(bytes[at]);
                at += 1;
                if value_len == 0xff {
                    value_len = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
                    at += 2;
                }
            }
        }
        if flags & HAS_EXPIRY != 0 {
            raw.expiry = bytes[at..].first_chunk().copied().map(i64::from_le_bytes);
            at += 8;
        }
        if flags & IN_BLOCK == 0 {
            raw.key = at..at + key_len;
            raw.end = at + key_len + value_len;
        } else {
            let index = u16::from_le_bytes([bytes[at], bytes[at + 1]]);
            raw.index = Some(index);
            raw.block = self.blocks[usize::from(index)].as_ref();
            raw.end = at + 2;
        }
        raw
    }

    /// The largest distance of an element from its home.
    #[cfg(test)]
    pub fn longest_way(&self) -> usize {
        let occupied = (0..self.slots.len()).filter(|&at| self.slots[at] != 0);
        occupied.map(|at| at - self.home(tag_of(self.slots[at]))).max().unwrap_or(0)
    }

    /// Panics unless everything that the module says holds.
    #[cfg(test)]
    pub fn check(&self) {
        let mut last = (0, 0);
        let mut live = 0;
        let mut blocks = 0;
        for at in (0..self.slots.len()).filter(|&at| self.slots[at] != 0) {
            let slot = self.slots[at];
            assert!(tag_of(slot) >= last.0);
            let home = self.home(tag_of(slot));
            assert!(home <= at && self.slots[home..at].iter().all(|&slot| slot != 0));
            last = (tag_of(slot), at);
            let raw = self.raw(slot);
            live += raw.end - start_of(slot);
            blocks += usize::from(raw.block.is_some());
            assert_eq!(self.find(tag_of(slot), self.entry(at).key), Some(at));
        }
        assert_eq!(self.occupied().count(), self.len());
        assert_eq!(live, self.live_bytes());
        assert_eq!(blocks, self.blocks.iter().flatten().count());
        assert!(self.len() <= LEN_MAX && self.arena.len() <= ARENA_BYTES_MAX);
    }
}

/// An entry taken apart; ranges are of the arena.
struct Raw<'a> {
    key: Range<usize>,
    /// End of the entry and of its value.
    end: usize,
    expiry: Option<i64>,
    index: Option<u16>,
    block: Option<&'a ThinArc<u32, u8>>,
}

impl Raw<'_> {
    #[inline]
    fn value(&self) -> Range<usize> {
        self.key.end..self.end
    }
}

/// The beginning of an entry.
struct Head {
    bytes: [u8; 14],
    len: u8,
    rest: u16,
}

impl Head {
    #[inline]
    fn of(key: &[u8], value: &[u8], expiry: Option<i64>) -> Head {
        let mut head = Head { bytes: [0; 14], len: 1, rest: 2 };
        if key.len() + value.len() > INLINE_BYTES_MAX {
            head.bytes[0] = IN_BLOCK;
        } else {
            match key.len() {
                len @ 0..30 => head.bytes[0] = len as u8,
                len @ 30..286 => {
                    head.bytes[0] = 30;
                    head.push(&[(len - 30) as u8]);
                }
                len => {
                    head.bytes[0] = 31;
                    head.push(&(len as u16).to_le_bytes());
                }
            }
            match value.len() {
                0 => {}
                len @ 1..0xff => {
                    head.bytes[0] |= HAS_VALUE;
                    head.push(&[len as u8]);
                }
                len => {
                    head.bytes[0] |= HAS_VALUE;
                    head.push(&[0xff]);
                    head.push(&(len as u16).to_le_bytes());
                }
            }
            head.rest = (key.len() + value.len()) as u16;
        }
        if let Some(expiry) = expiry {
            head.bytes[0] |= HAS_EXPIRY;
            head.push(&expiry.to_le_bytes());
        }
        head
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let at = self.len();
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    #[inline]
    fn flags(&self) -> u8 {
        self.bytes[0]
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// Bytes that the whole entry takes in the arena.
    #[inline]
    fn entry_len(&self) -> usize {
        self.len() + usize::from(self.rest)
    }
}

#[inline]
fn tag_of(slot: u32) -> u16 {
    (slot >> 16) as u16
}

#[inline]
fn start_of(slot: u32) -> usize {
    (slot & 0xffff) as usize - 1
}
