//! A segment: up to 128 buckets of one cache line each, a hash table of its own.
//!
//! ```text
//! bucket   | tags of 7 slots, 7 bytes | passed, 1 byte | 7 slots, 56 bytes |
//! ```
//!
//! A tag is a byte of the hash, 0 when the slot is free. An entry whose home bucket is full goes on to the next one at
//! distance 1, 3, 6, 10 … and leaves a mark in every bucket it **passed**: a counter, so that its removal can take the
//! marks back. A search stops at the first bucket that nobody passed. The probe is not bounded but by the segment, so
//! any entries whatever fit in any order. The sequence depends on the home bucket alone: all entries of one home are
//! found by walking one path, which is what a scan does.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::slice;

use super::entry::Entry;
use super::hasher::KeyHasher;

pub(super) const BUCKET_SLOTS: usize = 7;

/// Buckets of a grown segment are 2 to this power. A segment becomes larger only when it cannot be split.
pub(super) const BUCKETS_LOG2: u8 = 7;

/// The bits of the hash that choose a bucket, uppermost first when there are fewer buckets than 128.
const FIELD_SHIFT: u32 = 14;
const TAG_SHIFT: u32 = 6;

/// A passed counter that got here no longer knows its number and stays until the segment is rebuilt.
const PASSED_MAX: u8 = u8::MAX;
/// The position of the passed counter, behind the tags.
const PASSED: usize = 7;

#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Seven tags and the passed counter.
    control: [u8; 8],
    /// Initialised where the tag is not 0.
    slots: [MaybeUninit<Entry>; BUCKET_SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The seven bits of `hash` that choose the bucket in a segment of 128.
#[inline]
pub(super) fn field_of(hash: u64) -> u64 {
    (hash >> FIELD_SHIFT) & ((1 << BUCKETS_LOG2) - 1)
}

#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> TAG_SHIFT) as u8).max(1)
}

impl Bucket {
    /// Bit *i* is set when slot *i* has this tag.
    #[inline]
    fn matching(&self, tag: u8) -> Mask {
        #[cfg(target_arch = "x86_64")]
        let bits = {
            use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_set1_epi8};
            // SAFETY: these need SSE2, which every x86_64 has.
            unsafe {
                let control = _mm_cvtsi64_si128(i64::from_le_bytes(self.control));
                _mm_movemask_epi8(_mm_cmpeq_epi8(control, _mm_set1_epi8(tag as i8))) as u8
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        let bits = (0..BUCKET_SLOTS).fold(0, |bits, slot| bits | u8::from(self.control[slot] == tag) << slot);
        Mask(bits & 0x7f)
    }

    #[inline]
    fn occupied(&self) -> Mask {
        Mask(!self.matching(0).0 & 0x7f)
    }

    #[inline]
    fn passed(&self) -> bool {
        self.control[PASSED] != 0
    }

    fn pass(&mut self) {
        self.control[PASSED] = self.control[PASSED].saturating_add(1);
    }

    fn unpass(&mut self) {
        if self.control[PASSED] != PASSED_MAX {
            self.control[PASSED] -= 1;
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: usize) -> Option<&Entry> {
        // SAFETY: a slot with a tag is initialised.
        (self.control[..BUCKET_SLOTS][slot] != 0).then(|| unsafe { self.slots[slot].assume_init_ref() })
    }

    #[inline]
    fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        // SAFETY: a slot with a tag is initialised.
        (self.control[..BUCKET_SLOTS][slot] != 0).then(|| unsafe { self.slots[slot].assume_init_mut() })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.occupied().filter_map(|slot| self.get(slot))
    }

    /// The same, beginning at any slot.
    pub(super) fn entries_from(&self, first: usize) -> impl Iterator<Item = &Entry> {
        (0..BUCKET_SLOTS).filter_map(move |step| self.get((first % BUCKET_SLOTS + step) % BUCKET_SLOTS))
    }

    /// Entries with the tag of `hash`.
    pub(super) fn tagged(&self, hash: u64) -> impl Iterator<Item = &Entry> + use<'_> {
        self.matching(tag_of(hash)).filter_map(|slot| self.get(slot))
    }

    fn put(&mut self, slot: usize, tag: u8, entry: Entry) {
        assert!(self.control[slot] == 0 && tag != 0 && slot < BUCKET_SLOTS);
        self.control[slot] = tag;
        self.slots[slot].write(entry);
    }

    fn take(&mut self, slot: usize) -> Option<Entry> {
        if std::mem::take(&mut self.control[..BUCKET_SLOTS][slot]) == 0 {
            return None;
        }
        // SAFETY: the slot had a tag, so it was initialised; it has none any more, so nobody reads it again.
        Some(unsafe { self.slots[slot].assume_init_read() })
    }
}

/// A set of slots, read from the lowest.
#[derive(Clone, Copy)]
struct Mask(u8);

impl Iterator for Mask {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros() as usize;
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            slot
        })
    }
}

/// Where an entry is within its segment.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: usize,
    slot: usize,
}

/// One directory slot: a segment and what is known about it.
///
/// All slots of the directory that share a prefix of `depth` bits hold copies of one segment. The table keeps `count`
/// true in the first of them only.
///
/// The buckets live from [`Segment::new`] to [`Segment::free`]; a table frees a segment when it takes the last copies
/// out of its directory, so that every segment that can be reached is live. Borrowing a slot borrows the table.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    buckets: NonNull<Bucket>,
    pub(super) count: u32,
    pub(super) log2: u8,
    /// Bits of the hash, from the top, that all entries share.
    pub(super) depth: u8,
}

const _: () = assert!(size_of::<Segment>() == 16);

// SAFETY: a segment is only reached through its table, which owns the buckets and the entries, which are `Send`.
unsafe impl Send for Segment {}

impl Segment {
    pub(super) fn new(log2: u8, depth: u8) -> Segment {
        let layout = Segment::layout(log2);
        // SAFETY: there is at least one bucket, so the layout is not empty. Zeros are a bucket with no tags, whose
        // slots may be uninitialised.
        let buckets =
            NonNull::new(unsafe { alloc_zeroed(layout) }.cast()).unwrap_or_else(|| handle_alloc_error(layout));
        Segment { buckets, count: 0, log2, depth }
    }

    /// The buckets that hold `count` entries with room for a third more.
    pub(super) fn log2_for(count: usize) -> u8 {
        (0..).find(|log2| count * 4 <= (BUCKET_SLOTS << log2) * 3).unwrap_or(u8::MAX)
    }

    /// More entries are not put in: 13 of 14 slots. A table whose segments have all just been split is then no emptier
    /// than 46 %, which keeps buckets below 20 bytes a key.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let buckets = 1 << self.log2;
        self.count as usize >= buckets * BUCKET_SLOTS - buckets / 2
    }

    /// Few enough entries for fewer buckets: an eighth.
    pub(super) fn is_sparse(&self) -> bool {
        self.log2 > 0 && self.count as usize * 8 <= BUCKET_SLOTS << self.log2
    }

    #[inline]
    pub(super) fn bucket_count(&self) -> usize {
        1 << self.log2
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        size_of::<Bucket>() << self.log2
    }

    /// The bucket where a search for `hash` begins.
    #[inline]
    pub(super) fn home(&self, hash: u64) -> usize {
        let field = field_of(hash) as usize;
        if self.log2 <= BUCKETS_LOG2 {
            field >> (BUCKETS_LOG2 - self.log2)
        } else {
            let extra = self.log2 - BUCKETS_LOG2;
            field << extra | (hash >> (FIELD_SHIFT + u32::from(BUCKETS_LOG2))) as usize & ((1 << extra) - 1)
        }
    }

    /// The address of the home bucket, for prefetching.
    #[inline]
    pub(super) fn home_address(&self, hash: u64) -> *const u8 {
        self.buckets().as_ptr().wrapping_add(self.home(hash)).cast()
    }

    /// Entries in the home bucket that may be the one: those with its tag.
    #[inline]
    pub(super) fn candidates(&self, hash: u64) -> impl Iterator<Item = &Entry> {
        self.buckets()[self.home(hash)].tagged(hash)
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let tag = tag_of(hash);
        let buckets = self.buckets();
        for index in self.path(self.home(hash)) {
            let bucket = &buckets[index];
            for slot in bucket.matching(tag) {
                if bucket.get(slot).is_some_and(|entry| entry.key() == key) {
                    return Some(Place { bucket: index, slot });
                }
            }
            if !bucket.passed() {
                break;
            }
        }
        None
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &Entry {
        self.buckets()[place.bucket].get(place.slot).expect("a place is where an entry was found")
    }

    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Entry {
        self.buckets_mut()[place.bucket].get_mut(place.slot).expect("a place is where an entry was found")
    }

    /// The buckets where entries of this home may be.
    pub(super) fn walk(&self, home: usize) -> impl Iterator<Item = &Bucket> {
        let buckets = self.buckets();
        let mut ended = false;
        self.path(home).map_while(move |index| {
            let bucket = (!ended).then(|| &buckets[index])?;
            ended = !bucket.passed();
            Some(bucket)
        })
    }

    /// Puts in an entry whose key is not there. The caller made room and counts.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry) -> &mut Entry {
        let place = self.vacate(hash);
        let bucket = &mut self.buckets_mut()[place.bucket];
        bucket.put(place.slot, tag_of(hash), entry);
        bucket.get_mut(place.slot).expect("it was just put there")
    }

    /// Puts entries into a segment that has room for them, and counts them.
    pub(super) fn fill(&mut self, entries: impl Iterator<Item = (u64, Entry)>) {
        for (hash, entry) in entries {
            self.count += 1;
            self.insert(hash, entry);
        }
    }

    /// Takes out the entry at a place. The caller counts.
    pub(super) fn remove(&mut self, hash: u64, place: Place) -> Entry {
        for index in self.path(self.home(hash)) {
            if index == place.bucket {
                break;
            }
            self.buckets_mut()[index].unpass();
        }
        self.buckets_mut()[place.bucket].take(place.slot).expect("a place is where an entry was found")
    }

    /// Takes all entries out, with their hashes. Keys are read in no order that a cache could foresee, so the next
    /// buckets' entries are asked for ahead. The segment is to be freed: counters are left as they are.
    pub(super) fn drain(&mut self, hasher: &KeyHasher, into: &mut Vec<(u64, Entry)>) {
        const AHEAD: usize = 2;
        let buckets = self.buckets_mut();
        for index in 0..buckets.len() {
            if let Some(bucket) = buckets.get(index + AHEAD) {
                bucket.entries().for_each(|entry| prefetch(entry.address()));
            }
            let bucket = &mut buckets[index];
            for slot in bucket.occupied() {
                if let Some(entry) = bucket.take(slot) {
                    into.push((hasher.hash(entry.key()), entry));
                }
            }
        }
    }

    pub(super) fn drop_entries(&mut self) {
        for bucket in self.buckets_mut() {
            for slot in bucket.occupied() {
                drop(bucket.take(slot));
            }
        }
    }

    /// Gives the buckets back. Entries that are still in them leak.
    ///
    /// # Safety
    /// No copy of this segment is used again.
    pub(super) unsafe fn free(self) {
        // SAFETY: the buckets were allocated by `new` with this layout, and are not used again.
        unsafe { dealloc(self.buckets.as_ptr().cast(), Segment::layout(self.log2)) };
    }

    #[inline]
    pub(super) fn buckets(&self) -> &[Bucket] {
        // SAFETY: the buckets of a segment that can be reached are live, and are borrowed as the table is.
        unsafe { slice::from_raw_parts(self.buckets.as_ptr(), self.bucket_count()) }
    }

    #[inline]
    fn buckets_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: as in `buckets`; the table is borrowed mutably, so no other copy of the segment is in use.
        unsafe { slice::from_raw_parts_mut(self.buckets.as_ptr(), self.bucket_count()) }
    }

    /// All buckets, once each, in the order in which entries of this home look for a place: distances are the
    /// triangular numbers, which reach every bucket when their number is a power of two.
    #[inline]
    fn path(&self, home: usize) -> impl Iterator<Item = usize> + use<> {
        let mask = self.bucket_count() - 1;
        let mut index = home;
        (1..=self.bucket_count()).map(move |step| {
            let here = index;
            index = (index + step) & mask;
            here
        })
    }

    /// A free slot for `hash`, with a mark in every bucket passed.
    fn vacate(&mut self, hash: u64) -> Place {
        let home = self.home(hash);
        for index in self.path(home) {
            let bucket = &mut self.buckets_mut()[index];
            if let Some(slot) = bucket.matching(0).next() {
                return Place { bucket: index, slot };
            }
            bucket.pass();
        }
        unreachable!("a segment is grown before it is full")
    }

    fn layout(log2: u8) -> Layout {
        Layout::array::<Bucket>(1 << log2).expect("segments double with the entries they hold")
    }
}

/// Asks for a cache line without waiting. Does nothing where we do not know how.
#[inline]
pub(super) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch neither reads nor faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
