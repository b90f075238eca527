//! The large form of hashes and sets, and the member side of sorted sets: elements in the order of their hashes, in
//! reference-counted segments.
//!
//! ```text
//! hash (48 bits):  directory index │ …          ┌─► Arc<Segment>   elements whose hash begins with 00
//!                  └─► directory ─► index of ───┼─► Arc<Segment>   … 01
//!                                               └─► Arc<Segment>   … 1
//! ```
//!
//! A segment that is full is split by the next bit of the hash, two small neighbours become one again. The order of elements
//! never depends on where the borders are: so a SCAN cursor is simply the hash to go on from.
//!
//! [`Dict::freeze`] copies directory and pointers; the first write to a shared segment copies that segment. Every dict has a seed of its
//! own: filling one in the order of another would crowd one end of each segment.

mod due;
mod segment;

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashSet;
use triomphe::Arc;

use super::sample::{self, Numbers, below};
use due::{DueTree, NEVER};
pub use segment::Entry;
use segment::{LEN_MAX, Segment};

/// Bits of a hash; SCAN cursors are below 2^48.
const HASH_BITS: u8 = 48;

/// So many equal leading bits of unequal hashes mean that the hash function is broken.
const DEPTH_MAX: u8 = 28;

/// See the module.
pub struct Dict {
    /// For each value of the first `depth` bits the index of its segment.
    directory: Vec<u32>,
    segments: Vec<Arc<Segment>>,
    len: usize,
    /// Elements with an expiry.
    expiring: usize,
    /// For each segment, a time that is not after its first expiry. None when nothing expires.
    due: Option<Box<DueTree>>,
    seed: u64,
    /// Segments that need all bits of the directory's index.
    deepest: u32,
    depth: u8,
}

impl Dict {
    pub fn new() -> Dict {
        static NEXT_SEED: AtomicU64 = AtomicU64::new(0);
        Dict {
            directory: vec![0],
            segments: vec![Arc::new(Segment::new(0, 0, 0, 0))],
            len: 0,
            expiring: 0,
            due: None,
            seed: NEXT_SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed),
            deepest: 1,
            depth: 0,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements that have an expiry.
    #[inline]
    pub fn expiring_len(&self) -> usize {
        self.expiring
    }

    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<Entry<'_>> {
        let hash = self.hash(key);
        let segment = &self.segments[self.index_of(hash)];
        segment.find(tag(hash, segment.depth()), key).map(|at| segment.entry(at))
    }

    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let segment = &self.segments[self.index_of(hash)];
        segment.find(tag(hash, segment.depth()), key).is_some()
    }

    /// Inserts or replaces; the element has no expiry then. True when it is new.
    #[inline]
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.put(key, Some(value), Some(None))
    }

    /// Inserts or replaces; an element that was there keeps its expiry. True when it is new.
    #[inline]
    pub fn insert_keep_expiry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.put(key, Some(value), None)
    }

    /// Inserts or replaces with this expiry. True when it is new.
    #[inline]
    pub fn insert_until(&mut self, key: &[u8], value: &[u8], expiry: Option<i64>) -> bool {
        self.put(key, Some(value), Some(expiry))
    }

    /// Sets or clears the expiry of an element that is there; false when there is none.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Option<i64>) -> bool {
        match self.get(key) {
            None => false,
            Some(entry) if entry.expiry == expiry => true,
            Some(_) => {
                self.put(key, None, Some(expiry));
                true
            }
        }
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let index = self.index_of(hash);
        let segment = &self.segments[index];
        let Some(at) = segment.find(tag(hash, segment.depth()), key) else { return false };
        self.remove_at(index, at);
        true
    }

    /// All elements, in the order of their hashes.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { dict: self, directory_at: 0, slot: 0, left: self.len }
    }

    /// Visits about `count` elements from `cursor` on (0 to begin), returns the next cursor (0 at the end). An element that is
    /// there during the whole of a scan is visited, perhaps twice.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'a>)) -> u64 {
        let mut from = cursor;
        let mut visited = 0;
        while from >> HASH_BITS == 0 {
            let segment = &self.segments[self.index_of(from)];
            let depth = segment.depth();
            let tag_from = tag(from, depth);
            let mut last_tag = None;
            let mut at = segment.home(tag_from);
            while let Some((slot, tag)) = segment.occupied_from(at) {
                at = slot + 1;
                if tag < tag_from {
                    continue;
                }
                // All of the same tag go together, because the cursor cannot say more than a tag.
                if visited >= count && last_tag != Some(tag) {
                    return (u64::from(segment.prefix()) << 16 | u64::from(tag)) << (HASH_BITS - 16 - depth);
                }
                visit(segment.entry(slot));
                visited += 1;
                last_tag = Some(tag);
            }
            from = (u64::from(segment.prefix()) + 1) << (HASH_BITS - depth);
        }
        0
    }

    /// An element chosen by a random number, each with the same probability.
    pub fn random(&self, random: u64) -> Option<Entry<'_>> {
        self.random_place(random).map(|(index, at)| self.segments[index].entry(at))
    }

    /// `count` different elements, or all there are, each with the same probability; in no particular order. O(count).
    pub fn sample(&self, count: usize, random: u64) -> Vec<Entry<'_>> {
        let mut numbers = Numbers(random);
        // When many are wanted, it takes less to pass all than to meet the same ones again and again.
        if count >= self.len / 3 {
            return sample::choose(self.iter(), count, &mut numbers);
        }
        let mut places = HashSet::with_capacity(count);
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count
            && let Some(place) = self.random_place(numbers.draw())
        {
            if places.insert(place) {
                chosen.push(self.segments[place.0].entry(place.1));
            }
        }
        chosen
    }

    /// Removes an element chosen in the same way, returns its key.
    pub fn pop_random(&mut self, random: u64) -> Option<Vec<u8>> {
        let (index, at) = self.random_place(random)?;
        let key = self.segments[index].entry(at).key.to_vec();
        self.remove_at(index, at);
        Some(key)
    }

    /// A time not after the first expiry; exact after [`Dict::take_due`] has run up to it.
    pub fn next_due(&self) -> Option<i64> {
        self.due.as_ref().map(|due| due.min())
    }

    /// Removes elements whose expiry is not after `now`, telling their keys. It is done when [`Dict::next_due`] is after `now`;
    /// `budget` bounds the work of one call. Returns how many were removed.
    pub fn take_due(&mut self, now: i64, budget: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let now = now.min(NEVER - 1);
        let (mut work, mut removed) = (0, 0);
        while work < budget {
            let Some(index) = self.due.as_ref().and_then(|due| due.first_until(now)) else { break };
            work += 1;
            let min = self.segments[index].min_due();
            self.set_due(index, min);
            if min > now {
                continue;
            }
            let (mut at, mut taken) = (0, 0);
            while let Some((slot, _)) = self.segments[index].occupied_from(at) {
                at = slot;
                let entry = self.segments[index].entry(slot);
                if entry.expiry.is_none_or(|expiry| expiry > now) {
                    at += 1;
                    continue;
                }
                // One at least, or a budget of 1 would only ever look.
                if work >= budget && taken > 0 {
                    break;
                }
                visit(entry.key);
                let slot_count = self.segments[index].slot_count();
                Arc::make_mut(&mut self.segments[index]).remove(slot);
                if self.segments[index].slot_count() != slot_count {
                    // The slots were spread anew: begin again.
                    at = 0;
                }
                self.count_removal(true);
                (work, taken) = (work + 1, taken + 1);
            }
            removed += taken;
            if self.due.is_some() {
                let min = self.segments[index].min_due();
                self.set_due(index, min);
            }
            self.merge_around(index);
        }
        removed
    }

    /// How many elements are due at `now`.
    pub fn due_len(&self, now: i64) -> usize {
        let now = now.min(NEVER - 1);
        let Some(due) = self.due.as_ref().filter(|due| due.min() <= now) else { return 0 };
        let late = self.segments.iter().enumerate().filter(|&(index, _)| due.get(index) <= now);
        late.map(|(_, segment)| segment.due_len(now)).sum()
    }

    /// A copy that shares all segments. O(segments), not O(elements).
    pub fn freeze(&self) -> Dict {
        Dict { directory: self.directory.clone(), segments: self.segments.clone(), due: self.due.clone(), ..*self }
    }

    /// Bytes asked of the allocator, those of shared segments included.
    pub fn allocated(&self) -> usize {
        self.allocated_about(usize::MAX)
    }

    /// The same when at most so many chunks of a large form are looked at, and the others are taken to be like them.
    pub fn allocated_about(&self, samples: usize) -> usize {
        size_of::<Dict>()
            + self.directory.capacity() * size_of::<u32>()
            + self.segments.capacity() * size_of::<usize>()
            + self.due.as_ref().map_or(0, |due| size_of::<DueTree>() + due.allocated())
            + sample::estimate(self.segments.len(), samples, |index| self.segments[index].allocated())
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        hash(self.seed, key)
    }

    #[inline]
    fn index_of(&self, hash: u64) -> usize {
        self.directory[(hash >> (HASH_BITS - self.depth)) as usize] as usize
    }

    /// No value keeps the value that is there, no expiry keeps the expiry.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>, expiry: Option<Option<i64>>) -> bool {
        let hash = self.hash(key);
        loop {
            let index = self.index_of(hash);
            let segment = &self.segments[index];
            let tag = tag(hash, segment.depth());
            if let Some(at) = segment.find(tag, key) {
                let old = segment.entry(at);
                let new_expiry = expiry.unwrap_or(old.expiry);
                if new_expiry == old.expiry && value.is_none_or(|value| value == old.value) {
                    // A frozen segment need not be copied for this.
                    return false;
                }
                let kept = if value.is_none() { old.value.to_vec() } else { Vec::new() };
                let new_value = value.unwrap_or(&kept);
                if !segment.has_bytes_for(key, new_value, new_expiry) {
                    self.split(index);
                    continue;
                }
                let had = old.expiry.is_some();
                Arc::make_mut(&mut self.segments[index]).replace(at, new_value, new_expiry);
                self.expiring = self.expiring + usize::from(new_expiry.is_some()) - usize::from(had);
                self.note_expiry(index, new_expiry);
                return false;
            }
            let (value, expiry) = (value.unwrap_or_default(), expiry.flatten());
            if !segment.has_room_for(key, value, expiry) {
                self.split(index);
                continue;
            }
            Arc::make_mut(&mut self.segments[index]).insert(tag, key, value, expiry);
            self.len += 1;
            self.expiring += usize::from(expiry.is_some());
            self.note_expiry(index, expiry);
            return true;
        }
    }

    fn note_expiry(&mut self, index: usize, expiry: Option<i64>) {
        match expiry {
            Some(expiry) => {
                let due = self.due.get_or_insert_with(|| Box::new(DueTree::new()));
                due.set(index, due.get(index).min(expiry));
            }
            None if self.expiring == 0 => self.due = None,
            None => {}
        }
    }

    fn set_due(&mut self, index: usize, time: i64) {
        if let Some(due) = &mut self.due {
            due.set(index, time);
        }
    }

    fn get_due(&self, index: usize) -> i64 {
        self.due.as_ref().map_or(NEVER, |due| due.get(index))
    }

    fn count_removal(&mut self, expiring: bool) {
        self.len -= 1;
        self.expiring -= usize::from(expiring);
        if self.expiring == 0 {
            self.due = None;
        }
    }

    fn remove_at(&mut self, index: usize, at: usize) {
        let expiring = self.segments[index].entry(at).expiry.is_some();
        Arc::make_mut(&mut self.segments[index]).remove(at);
        self.count_removal(expiring);
        // Looking at the neighbour each time would cost a cache miss each time.
        if self.segments[index].len().is_multiple_of(16) {
            self.merge_around(index);
        }
    }

    fn random_place(&self, random: u64) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        let mut numbers = Numbers(random);
        let count = self.segments.len();
        let mut index = 0;
        if count > 1 {
            // Accepting a segment as often as it is full makes all elements equal. Segments of large elements have few, so that
            // this may take long: then walk.
            let accepted = (0..64).find_map(|_| {
                let number = numbers.draw();
                let index = below(number, count);
                (below(numbers.draw(), LEN_MAX) < self.segments[index].len()).then_some(index)
            });
            index = accepted.unwrap_or_else(|| {
                let mut rank = below(numbers.draw(), self.len);
                let found = self.segments.iter().position(|segment| match rank.checked_sub(segment.len()) {
                    Some(rest) => {
                        rank = rest;
                        false
                    }
                    None => true,
                });
                found.unwrap_or(0)
            });
        }
        let segment = &self.segments[index];
        loop {
            let at = segment.slot_at_random((numbers.draw() >> 32) as u32);
            if segment.is_occupied(at) {
                return Some((index, at));
            }
        }
    }

    fn split(&mut self, index: usize) {
        let segment = &self.segments[index];
        let depth = segment.depth();
        assert!(depth < DEPTH_MAX, "hashes do not differ");
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&index| [index; 2]).collect();
            self.depth += 1;
            self.deepest = 0;
        }
        if depth + 1 == self.depth {
            self.deepest += 2;
        }
        let seed = self.seed;
        let [low, high] = segment.split(|key| {
            let hash = hash(seed, key);
            (tag(hash, depth + 1), hash >> (HASH_BITS - depth - 1) & 1 == 1)
        });
        let high_index = self.segments.len();
        self.set_directory(high.prefix(), high.depth(), high_index);
        self.segments[index] = Arc::new(low);
        if self.segments.len() == self.segments.capacity() {
            self.segments.reserve_exact(self.segments.len() / 4 + 1);
        }
        self.segments.push(Arc::new(high));
        self.set_due(high_index, self.get_due(index));
    }

    /// Joins a segment with its neighbour as long as both are small.
    fn merge_around(&mut self, index: usize) {
        let mut index = index;
        loop {
            let segment = &self.segments[index];
            let depth = segment.depth();
            if depth == 0 {
                return;
            }
            let neighbour = u64::from(segment.prefix() ^ 1) << (HASH_BITS - depth);
            let other = self.index_of(neighbour);
            if !segment.may_merge(&self.segments[other]) {
                return;
            }
            let (low, high) = if segment.prefix() & 1 == 0 { (index, other) } else { (other, index) };
            let merged = Segment::merge(&self.segments[low], &self.segments[high]);
            self.set_due(low, self.get_due(low).min(self.get_due(high)));
            self.set_directory(merged.prefix(), merged.depth(), low);
            self.segments[low] = Arc::new(merged);
            // The last one moves to the place of the high one.
            self.segments.swap_remove(high);
            let last = self.segments.len();
            self.set_due(high, self.get_due(last));
            self.set_due(last, NEVER);
            if let Some(moved) = self.segments.get(high) {
                self.set_directory(moved.prefix(), moved.depth(), high);
            }
            index = if low == last { high } else { low };
            if depth == self.depth {
                self.deepest -= 2;
                self.shrink_directory();
            }
            if self.segments.capacity() > 2 * self.segments.len() + 4 {
                self.segments.shrink_to_fit();
            }
        }
    }

    fn shrink_directory(&mut self) {
        while self.deepest == 0 && self.depth > 0 {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.depth -= 1;
            self.deepest = self.segments.iter().filter(|segment| segment.depth() == self.depth).count() as u32;
        }
    }

    fn set_directory(&mut self, prefix: u32, depth: u8, index: usize) {
        let free_bits = self.depth - depth;
        let start = (prefix as usize) << free_bits;
        self.directory[start..start + (1 << free_bits)].fill(index as u32);
    }

    /// Panics unless everything that the module says holds.
    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        let mut slots_used = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            segment.check();
            let free_bits = self.depth - segment.depth();
            let start = (segment.prefix() as usize) << free_bits;
            slots_used += 1 << free_bits;
            assert!(self.directory[start..start + (1 << free_bits)].iter().all(|&at| at as usize == index));
            assert!(self.get_due(index) <= segment.min_due());
        }
        assert_eq!(slots_used, self.directory.len());
        assert_eq!(self.deepest as usize, self.segments.iter().filter(|s| s.depth() == self.depth).count());
        assert_eq!(self.segments.iter().map(|segment| segment.len()).sum::<usize>(), self.len);
        assert_eq!(self.iter().filter(|entry| entry.expiry.is_some()).count(), self.expiring);
        assert_eq!(self.due.is_some(), self.expiring > 0);
        for entry in self.iter() {
            assert_eq!(self.get(entry.key), Some(entry));
        }
    }
}

impl Default for Dict {
    fn default() -> Dict {
        Dict::new()
    }
}

/// All elements of a [`Dict`].
#[derive(Clone)]
pub struct Iter<'a> {
    dict: &'a Dict,
    directory_at: usize,
    slot: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while let Some(&index) = self.dict.directory.get(self.directory_at) {
            let segment = &self.dict.segments[index as usize];
            if let Some((slot, _)) = segment.occupied_from(self.slot) {
                self.slot = slot + 1;
                self.left -= 1;
                return Some(segment.entry(slot));
            }
            self.directory_at += 1 << (self.dict.depth - segment.depth());
            self.slot = 0;
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[inline]
fn hash(seed: u64, key: &[u8]) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, SharedSeed::global_random());
    hasher.write(key);
    hasher.finish() >> (64 - HASH_BITS)
}

/// The 16 bits after the first `depth`.
#[inline]
fn tag(hash: u64, depth: u8) -> u16 {
    (hash >> (HASH_BITS - 16 - depth)) as u16
}

#[cfg(test)]
mod tests;
