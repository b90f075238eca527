//! The table of one database in one shard: an extendible hash table of segments.
//!
//! ```text
//! hash   63 ..... directory prefix (as many bits as needed) ..... 21 | 20 bucket 14 | 13 tag 6 | 5 shard 0
//!
//! directory, 2^depth slots   [ s0 | s0 | s1 | s2 ]      s0 shares a prefix of one bit, s1 and s2 of two
//! segment, 1 to 128 buckets  (see [`super::segment`])
//! ```
//!
//! Growth and shrinking move one segment at a time, at most 832 entries. A segment starts with one bucket and doubles up
//! to 128; when that is 13/14 full it is split by the next bit of the prefix in which its entries differ. Loading keys in
//! table order (a snapshot does) makes that bit a far one and the directory long, so its length is bounded by the
//! number of keys; a segment that may not be split, or whose hashes are all equal, doubles its buckets instead. Two
//! segments that differ in their last prefix bit only are merged when both are below a quarter.
//!
//! An empty table has no allocation.
//!
//! # Scanning
//!
//! A cursor is not a place in the table but a place in an order of all hashes: by bucket bits first, by the bits of the
//! prefix next. Each step visits the entries from the cursor up to the end of the bucket that the cursor falls into.
//! How the table is cut into segments decides how far a step goes, never what is before or after a cursor, so splits,
//! merges and rehashes of segments between two steps neither lose an element nor show it twice.

use std::mem;
use std::ops::{ControlFlow, Range};

use super::EntryMut;
use super::entry::Entry;
use super::hasher::KeyHasher;
use super::segment::{BUCKET_SLOTS, BUCKETS_LOG2, Place, Segment, field_of, prefetch};

/// Bits of a scan cursor: 7 of the bucket above 50 of the prefix. Six more are free for a shard.
pub const CURSOR_BITS: u32 = BUCKETS_LOG2 as u32 + PREFIX_BITS;

/// The hash without tag and shard, bucket bits included: what the directory may use at most.
const PREFIX_BITS: u32 = 50;

/// Two buddies are merged when neither has more: a quarter of a grown segment.
const MERGE_COUNT_MAX: u32 = (BUCKET_SLOTS << BUCKETS_LOG2) as u32 / 4;

/// Buckets that a sample looks at, at most.
const SAMPLE_BUCKETS_MAX: usize = 64;

/// Directory slots for each key that a split may ask for when keys are crowded: 64 bytes a key while a load begins.
const DIRECTORY_SLOTS_PER_KEY: usize = 4;

/// Entries by key. The caller brings the hash of each key, computed with the table's hasher.
pub struct Table {
    /// 2^depth segments, or none while the table is empty.
    directory: Vec<Segment>,
    /// Bits of the hash that index the directory.
    depth: u8,
    /// Segments as deep as the directory; when there is none it can be halved.
    deepest_count: usize,
    len: usize,
    hasher: KeyHasher,
}

impl Table {
    pub fn new(hasher: KeyHasher) -> Table {
        Table { directory: Vec::new(), depth: 0, deepest_count: 0, len: 0, hasher }
    }

    /// Detaches everything, in O(1): FLUSHALL. What is returned is dropped, or written by a snapshot, off the lock.
    pub fn take(&mut self) -> Table {
        mem::replace(self, Table::new(self.hasher))
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Bytes of directory and buckets, without the entries. O(directory).
    pub fn allocated_bytes(&self) -> usize {
        let buckets: usize = self.segments().map(Segment::allocated_bytes).sum();
        buckets + self.directory.capacity() * size_of::<Segment>()
    }

    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        let segment = self.directory.get(self.index(hash))?;
        let place = segment.find(hash, key)?;
        Some(segment.at(place))
    }

    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_>> {
        let index = self.index(hash);
        let segment = self.directory.get_mut(index)?;
        let place = segment.find(hash, key)?;
        Some(EntryMut::new(segment.at_mut(place)))
    }

    /// Stores an entry and returns the one that had its key.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Option<Entry> {
        match self.get_mut(hash, entry.key()) {
            Some(mut old) => Some(mem::replace(old.entry(), entry)),
            None => {
                self.insert_new(hash, entry);
                None
            }
        }
    }

    /// Stores an entry whose key is known to be absent.
    pub fn insert_new(&mut self, hash: u64, entry: Entry) -> EntryMut<'_> {
        debug_assert_eq!(hash, self.hasher.hash(entry.key()), "the hash is the table's");
        debug_assert!(self.get(hash, entry.key()).is_none(), "the key is absent");
        if self.directory.is_empty() {
            self.directory = vec![Segment::new(0, 0)];
            self.deepest_count = 1;
        }
        let mut first = self.run(self.index(hash)).start;
        while self.directory[first].is_full() {
            self.grow(first);
            first = self.run(self.index(hash)).start;
        }
        self.len += 1;
        let segment = &mut self.directory[first];
        segment.count += 1;
        EntryMut::new(segment.insert(hash, entry))
    }

    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let place = self.directory.get(self.index(hash))?.find(hash, key)?;
        Some(self.remove_at(hash, place))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.segments().flat_map(|segment| segment.buckets().iter().flat_map(|bucket| bucket.entries()))
    }

    /// Entries whose whole hash is this one; nearly always one or none.
    pub fn find_by_hash(&self, hash: u64) -> impl Iterator<Item = &Entry> {
        let segment = self.directory.get(self.index(hash));
        segment
            .into_iter()
            .flat_map(move |segment| segment.walk(segment.home(hash)))
            .flat_map(move |bucket| bucket.tagged(hash))
            .filter(move |entry| self.hasher.hash(entry.key()) == hash)
    }

    /// Any entry, chosen by `seed`, each as likely as the others.
    ///
    /// Draws a slot of the table until one is taken. After 128 vain draws (a table of very uneven prefixes) it takes
    /// the next entry in table order instead, which is not as fair.
    pub fn random(&self, seed: u64) -> Option<&Entry> {
        if self.is_empty() {
            return None;
        }
        let mut state = seed;
        let mut index = 0;
        for _ in 0..128 {
            let draw = split_mix(&mut state);
            index = self.index(draw);
            let segment = &self.directory[index];
            // Every slot of every directory slot is equally likely. A segment with fewer buckets than usual misses
            // some of its draws, and one that stands in several directory slots counts only what is its own in each.
            let log2 = if self.depth == 0 { segment.log2 } else { segment.log2.max(BUCKETS_LOG2) };
            let bucket = draw as usize & ((1 << log2) - 1);
            let slot = ((split_mix(&mut state) >> 32) * BUCKET_SLOTS as u64) >> 32;
            if let Some(entry) = segment.buckets().get(bucket).and_then(|bucket| bucket.get(slot as usize))
                && (segment.depth == self.depth || self.index(self.hasher.hash(entry.key())) == index)
            {
                return Some(entry);
            }
        }
        let (before, from) = self.directory.split_at(index);
        from.iter().chain(before).find_map(|segment| segment.buckets().iter().find_map(|b| b.entries().next()))
    }

    /// Shows entries of neighbouring buckets, from a place that `seed` chooses, until `visit` says that it has enough
    /// or many were looked at. Cheaper than as many of [`Table::random`], and neighbours have nothing in common but
    /// bits of their hashes.
    pub fn sample(&self, seed: u64, mut visit: impl FnMut(&Entry) -> ControlFlow<()>) {
        if self.is_empty() {
            return;
        }
        let mut state = seed;
        let draw = split_mix(&mut state);
        let mut run = self.run(self.index(draw));
        let mut bucket = draw as usize & (self.directory[run.start].bucket_count() - 1);
        let looks = if self.depth == 0 { self.directory[0].bucket_count() } else { SAMPLE_BUCKETS_MAX };
        for _ in 0..looks.min(SAMPLE_BUCKETS_MAX) {
            // From any slot on: what came last is often in the first one.
            let mut entries = self.directory[run.start].buckets()[bucket].entries_from(split_mix(&mut state) as usize);
            if entries.try_for_each(&mut visit).is_break() {
                return;
            }
            bucket += 1;
            if bucket == self.directory[run.start].bucket_count() {
                bucket = 0;
                run = self.run(run.end % self.directory.len());
            }
        }
    }

    /// Asks for the cache line where a search for `hash` begins.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if let Some(segment) = self.directory.get(self.index(hash)) {
            prefetch(segment.home_address(hash));
        }
    }

    /// Asks for the cache lines of the first 48 bytes of the entries that a search for `hash` will look at. Reads the bucket, so
    /// let some time pass after [`Table::prefetch_bucket`].
    #[inline]
    pub fn prefetch_entries(&self, hash: u64) {
        if let Some(segment) = self.directory.get(self.index(hash)) {
            for entry in segment.candidates(hash) {
                prefetch(entry.address());
                // The last byte of a small entry: the same line for most, and the next one for those that cross.
                prefetch(entry.address().wrapping_add(47));
            }
        }
    }

    /// Visits the entries of one bucket and returns the cursor to go on with; 0 begins, and 0 says that it was the
    /// last one. A step may visit nothing.
    ///
    /// What is in the table from the first step to the last is visited exactly once, whatever else comes and goes;
    /// what comes or goes meanwhile is visited at most once each time it is there.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&Entry)) -> u64 {
        if self.is_empty() || cursor >> CURSOR_BITS != 0 {
            return 0;
        }
        let field = cursor >> PREFIX_BITS;
        let prefix = cursor & ((1 << PREFIX_BITS) - 1);
        let run = self.run((prefix >> (PREFIX_BITS - u32::from(self.depth))) as usize);
        let segment = &self.directory[run.start];
        let home = segment.home(field << (u64::BITS - PREFIX_BITS));
        let small = u32::from(BUCKETS_LOG2.saturating_sub(segment.log2));
        let next = if self.depth == 0 {
            // The only segment: a bucket of few ends where its last bucket bits do.
            ((field >> small) + 1) << small << PREFIX_BITS
        } else {
            // The prefix of the last directory slot may carry into the bucket bits, which is what follows it.
            (field << PREFIX_BITS) + ((run.end as u64) << (PREFIX_BITS - u32::from(self.depth)))
        };
        // A segment that could not be split has several buckets for the same bucket bits.
        let homes = 1 << segment.log2.saturating_sub(BUCKETS_LOG2);
        for home in home..home + homes {
            for entry in segment.walk(home).flat_map(|bucket| bucket.entries()) {
                let hash = self.hasher.hash(entry.key());
                if segment.home(hash) == home && (cursor..next).contains(&cursor_of(hash)) {
                    visit(entry);
                }
            }
        }
        if next >> CURSOR_BITS == 0 { next } else { 0 }
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        // Two shifts, because the depth may be 0.
        ((hash >> 1) >> (63 - u32::from(self.depth))) as usize
    }

    /// The directory slots that share the segment of this one; the first has the true count.
    #[inline]
    fn run(&self, index: usize) -> Range<usize> {
        let width = 1 << (self.depth - self.directory[index].depth);
        let start = index & !(width - 1);
        start..start + width
    }

    /// Each segment once, in table order.
    fn segments(&self) -> impl Iterator<Item = &Segment> {
        let mut index = 0;
        std::iter::from_fn(move || {
            let segment = self.directory.get(index)?;
            index = self.run(index).end;
            Some(segment)
        })
    }

    fn remove_at(&mut self, hash: u64, place: Place) -> Entry {
        let run = self.run(self.index(hash));
        let segment = &mut self.directory[run.start];
        let entry = segment.remove(hash, place);
        segment.count -= 1;
        self.len -= 1;
        let segment = *segment;
        if self.len == 0 {
            *self = Table::new(self.hasher);
        } else if segment.depth > 0 && segment.count <= MERGE_COUNT_MAX && self.buddy_merges(&run, segment.depth) {
            self.merge(run);
        } else if segment.is_sparse() {
            let mut fewer = Segment::new(Segment::log2_for(segment.count as usize), segment.depth);
            self.move_entries(run.start, &mut fewer);
            self.replace(run, fewer);
        }
        entry
    }

    /// Makes room in the full segment whose run begins at `first`.
    fn grow(&mut self, first: usize) {
        let run = self.run(first);
        let mut segment = self.directory[first];
        if segment.log2 < BUCKETS_LOG2 {
            let mut more = Segment::new(segment.log2 + 1, segment.depth);
            self.move_entries(first, &mut more);
            self.replace(run, more);
            return;
        }
        let mut entries = Vec::with_capacity(segment.count as usize);
        segment.drain(&self.hasher, &mut entries);
        let sample = entries[0].0;
        let differing = entries.iter().fold(0, |bits, (hash, _)| bits | (hash ^ sample));
        // One more than the bits that all have in common. With equal hashes 65, which no directory has.
        let depth = differing.leading_zeros() + 1;
        let slots_max = self.directory.len().max(self.len * DIRECTORY_SLOTS_PER_KEY);
        if depth > PREFIX_BITS || 1_usize << depth > slots_max {
            let mut more = Segment::new(segment.log2 + 1, segment.depth);
            more.fill(entries.into_iter());
            self.replace(run, more);
        } else {
            self.split(run, depth as u8, entries);
        }
    }

    /// Replaces a segment by those of its entries (drained) up to `depth`: one on each side of the last bit, and empty
    /// ones on the sides of the earlier bits where no entry is.
    fn split(&mut self, run: Range<usize>, depth: u8, entries: Vec<(u64, Entry)>) {
        let old = self.directory[run.start];
        let sample = entries[0].0;
        while self.depth < depth {
            self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
            self.depth += 1;
            self.deepest_count = 0;
        }
        if old.depth == self.depth {
            self.deepest_count -= 1;
        }
        let bit = |depth: u8| 1_u64 << (u64::BITS - u32::from(depth));
        for aside in old.depth + 1..depth {
            self.place(sample ^ bit(aside), Segment::new(0, aside));
        }
        let (ones, zeros): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(hash, _)| hash & bit(depth) != 0);
        for side in [zeros, ones] {
            let hash = side[0].0;
            let mut segment = Segment::new(Segment::log2_for(side.len()), depth);
            segment.fill(side.into_iter());
            self.place(hash, segment);
        }
        // SAFETY: the new segments' runs cover the whole run of the old one, which was drained.
        unsafe { old.free() };
    }

    /// Whether the run's other half of the common prefix is one segment, and small enough to merge.
    fn buddy_merges(&self, run: &Range<usize>, depth: u8) -> bool {
        let buddy = &self.directory[run.start ^ run.len()];
        buddy.depth == depth && buddy.count <= MERGE_COUNT_MAX
    }

    fn merge(&mut self, run: Range<usize>) {
        let buddy_first = run.start ^ run.len();
        let (left, right) = (self.directory[run.start], self.directory[buddy_first]);
        let first = run.start.min(buddy_first);
        if left.depth == self.depth {
            self.deepest_count -= 2;
        }
        let mut merged = Segment::new(Segment::log2_for((left.count + right.count) as usize), left.depth - 1);
        self.move_entries(run.start, &mut merged);
        self.move_entries(buddy_first, &mut merged);
        self.directory[first..first + 2 * run.len()].fill(merged);
        // SAFETY: the two runs, which were drained, have just been overwritten.
        unsafe {
            left.free();
            right.free();
        }
        if merged.depth == self.depth {
            self.deepest_count += 1;
        }
        while self.deepest_count == 0 && self.depth > 0 {
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.depth -= 1;
            self.deepest_count = self.directory.iter().filter(|segment| segment.depth == self.depth).count();
        }
    }

    /// Moves the entries of the segment at `first` into one that is not yet in the directory.
    fn move_entries(&mut self, first: usize, into: &mut Segment) {
        let mut entries = Vec::with_capacity(self.directory[first].count as usize);
        self.directory[first].drain(&self.hasher, &mut entries);
        into.fill(entries.into_iter());
    }

    /// Puts a segment of the same depth in the place of a drained one.
    fn replace(&mut self, run: Range<usize>, segment: Segment) {
        let old = self.directory[run.start];
        debug_assert_eq!(old.depth, segment.depth);
        self.directory[run].fill(segment);
        // SAFETY: the run held all copies of the old segment and was overwritten.
        unsafe { old.free() };
    }

    /// Puts a new segment at the directory slots of its prefix.
    fn place(&mut self, hash: u64, segment: Segment) {
        let width = 1_usize << (self.depth - segment.depth);
        let start = self.index(hash) & !(width - 1);
        self.directory[start..start + width].fill(segment);
        if segment.depth == self.depth {
            self.deepest_count += 1;
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut index = 0;
        while index < self.directory.len() {
            let next = self.run(index).end;
            let mut segment = self.directory[index];
            segment.drop_entries();
            // SAFETY: each segment is met once, and the directory goes with the table.
            unsafe { segment.free() };
            index = next;
        }
    }
}

/// Where a hash stands in the order of scanning.
fn cursor_of(hash: u64) -> u64 {
    field_of(hash) << PREFIX_BITS | hash >> (u64::BITS - PREFIX_BITS)
}

/// The next of a sequence of well mixed numbers (SplitMix64).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
