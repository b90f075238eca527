//! When keys are due: a binary heap of 16-byte items.
//!
//! ```text
//! item          | deadline, 48 bits | generation, 16 bits | hash of the key, 64 bits |
//! entry's word  | deadline, 48 bits | generation, 16 bits |
//! ```
//!
//! A key with a deadline has an item of its generation that fires at that deadline **or before**. Moving a deadline
//! later therefore files nothing: the item fires, finds the later deadline and is filed again. Moving it earlier files
//! an item under a new generation, and the old one is stale: it is dropped when it fires, or swept.
//!
//! Nothing depends on generations being unique. When 16 bits wrap and a stale item is taken for a live one, it finds
//! a deadline that is due (and is right) or one that is not (and is filed a second time); a key cannot be missed.
//!
//! Deadlines of 2^48 ms (the year 10889) and later are [`Deadline::Far`]: kept exactly, never filed.

/// The last deadline that is filed, in milliseconds since 1970.
pub const NEAR_MS_MAX: i64 = (1 << 48) - 1;

/// Items that are looked at when a change finds too many stale ones: at least half are stale then, so the heap
/// shrinks faster than it grows, and no call pays for more than these.
const SWEEP_STEP: usize = 4;

/// A deadline that is filed, and the generation of its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

impl Mark {
    /// Deadlines before 1970 are due as much as those of 1970, which is what they become.
    fn new(deadline_ms: i64, generation: u16) -> Mark {
        Mark((deadline_ms.clamp(0, NEAR_MS_MAX) as u64) << 16 | u64::from(generation))
    }

    #[inline]
    pub fn deadline_ms(self) -> i64 {
        (self.0 >> 16) as i64
    }

    #[inline]
    pub fn generation(self) -> u16 {
        self.0 as u16
    }

    fn at(self, deadline_ms: i64) -> Mark {
        Mark::new(deadline_ms, self.generation())
    }
}

/// When an entry is due, as its expiry word holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    Near(Mark),
    /// Later than [`NEAR_MS_MAX`]: milliseconds, exact.
    Far(i64),
}

impl Deadline {
    #[inline]
    pub fn ms(self) -> i64 {
        match self {
            Deadline::Near(mark) => mark.deadline_ms(),
            Deadline::Far(ms) => ms,
        }
    }

    /// The word, and whether it is a far one.
    #[inline]
    pub(super) fn to_word(self) -> (u64, bool) {
        match self {
            Deadline::Near(mark) => (mark.0, false),
            Deadline::Far(ms) => (ms as u64, true),
        }
    }

    #[inline]
    pub(super) fn from_word(word: u64, far: bool) -> Deadline {
        if far { Deadline::Far(word as i64) } else { Deadline::Near(Mark(word)) }
    }
}

/// One filed deadline of one key. Ordered by deadline first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub mark: Mark,
    pub hash: u64,
}

/// The filed deadlines of one database in one shard, the earliest first.
#[derive(Default)]
pub struct Timers {
    /// A binary heap: no item is earlier than the one at `(index - 1) / 2`.
    heap: Vec<Item>,
    generation: u16,
    /// Where the next sweep step looks.
    sweep_at: usize,
}

impl Timers {
    pub fn new() -> Timers {
        Timers::default()
    }

    /// Items, the stale ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub fn allocated_bytes(&self) -> usize {
        self.heap.capacity() * size_of::<Item>()
    }

    /// When the earliest item fires.
    #[inline]
    pub fn next(&self) -> Option<i64> {
        self.heap.first().map(|item| item.mark.deadline_ms())
    }

    /// All items, in the order of the heap: the earliest ones stand at the front.
    pub fn items(&self) -> &[Item] {
        &self.heap
    }

    /// Files a deadline and returns what the entry is to remember. `current` is what it remembers now.
    pub fn file(&mut self, deadline_ms: i64, hash: u64, current: Option<Deadline>) -> Deadline {
        if deadline_ms > NEAR_MS_MAX {
            return Deadline::Far(deadline_ms);
        }
        match current {
            Some(Deadline::Near(mark)) if deadline_ms >= mark.deadline_ms() => Deadline::Near(mark.at(deadline_ms)),
            _ => {
                self.generation = self.generation.wrapping_add(1);
                let mark = Mark::new(deadline_ms, self.generation);
                self.refile(mark, hash);
                Deadline::Near(mark)
            }
        }
    }

    /// Files an item that fired before the deadline that its entry has by now.
    pub fn refile(&mut self, mark: Mark, hash: u64) {
        self.heap.push(Item { mark, hash });
        self.rise(self.heap.len() - 1);
    }

    /// The earliest item.
    pub fn first(&self) -> Option<Item> {
        self.heap.first().copied()
    }

    /// Takes the earliest item if it fires at `now_ms` or before.
    pub fn pop_due(&mut self, now_ms: i64) -> Option<Item> {
        let item = self.first()?;
        (item.mark.deadline_ms() <= now_ms).then(|| {
            self.remove_at(0);
            item
        })
    }

    /// Drops stale items while the heap is more than twice as long as `live_count` (and 64 more), a few at a time, so that
    /// it may be a little longer for a while. To be called with every change that may leave an item stale.
    pub fn sweep(&mut self, live_count: usize, mut is_live: impl FnMut(Item) -> bool) {
        if live_count == 0 {
            // Every item is stale. Ending a burst of keys gives its memory back.
            if !self.heap.is_empty() {
                self.clear();
            }
            return;
        }
        for _ in 0..SWEEP_STEP {
            if self.heap.len() <= 2 * live_count + 64 {
                return;
            }
            if self.sweep_at >= self.heap.len() {
                self.sweep_at = 0;
            }
            if is_live(self.heap[self.sweep_at]) {
                self.sweep_at += 1;
            } else {
                self.remove_at(self.sweep_at);
            }
        }
        if self.heap.len() < self.heap.capacity() / 8 {
            self.heap.shrink_to(self.heap.len() * 2);
        }
    }

    pub fn clear(&mut self) {
        self.heap = Vec::new();
        self.sweep_at = 0;
    }

    fn remove_at(&mut self, index: usize) {
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            self.sink(index);
            self.rise(index);
        }
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.heap[parent] <= self.heap[index] {
                return;
            }
            self.heap.swap(parent, index);
            index = parent;
        }
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let left = 2 * index + 1;
            let right = left + 1;
            let Some(mut child) = (left < self.heap.len()).then_some(left) else { return };
            if right < self.heap.len() && self.heap[right] < self.heap[left] {
                child = right;
            }
            if self.heap[index] <= self.heap[child] {
                return;
            }
            self.heap.swap(index, child);
            index = child;
        }
    }
}

const _: () = assert!(size_of::<Item>() == 16);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(deadline: Deadline) -> Mark {
        match deadline {
            Deadline::Near(mark) => mark,
            Deadline::Far(ms) => panic!("{ms} is far"),
        }
    }

    #[test]
    fn later_files_nothing_earlier_files_a_new_generation() {
        let mut timers = Timers::new();
        let first = timers.file(100, 7, None);
        let later = timers.file(200, 7, Some(first));
        assert_eq!((timers.len(), later.ms()), (1, 200));
        assert_eq!(near(later).generation(), near(first).generation());
        let earlier = timers.file(50, 7, Some(later));
        assert_eq!((timers.len(), earlier.ms(), timers.next()), (2, 50, Some(50)));
        assert_ne!(near(earlier).generation(), near(first).generation());
    }

    #[test]
    fn far_deadlines_are_exact_and_not_filed() {
        let mut timers = Timers::new();
        for ms in [NEAR_MS_MAX, NEAR_MS_MAX + 1, i64::MAX - 1, i64::MAX, 1, 0] {
            let deadline = timers.file(ms, 1, None);
            assert_eq!(deadline.ms(), ms);
            let (word, far) = deadline.to_word();
            assert_eq!(Deadline::from_word(word, far), deadline);
        }
        assert_eq!(timers.len(), 3);
        assert_eq!(timers.file(-5, 1, None).ms(), 0);
    }

    proptest! {
        #[test]
        fn pops_in_order(deadlines in prop::collection::vec(0..1000_i64, 0..300), now in 0..1000_i64) {
            let mut timers = Timers::new();
            for (hash, deadline) in deadlines.iter().enumerate() {
                timers.file(*deadline, hash as u64, None);
            }
            let popped: Vec<i64> = std::iter::from_fn(|| timers.pop_due(now)).map(|i| i.mark.deadline_ms()).collect();
            let mut expected: Vec<i64> = deadlines.into_iter().filter(|d| *d <= now).collect();
            expected.sort_unstable();
            prop_assert_eq!(popped, expected);
        }

        #[test]
        fn sweeping_keeps_the_heap_short_and_its_order(
            deadlines in prop::collection::vec(0..1000_i64, 200..600),
            live_step in 3..20_u64,
        ) {
            let mut timers = Timers::new();
            let live_count = (deadlines.len() as u64).div_ceil(live_step) as usize;
            for (hash, deadline) in deadlines.iter().enumerate() {
                timers.file(*deadline, hash as u64, None);
            }
            for _ in 0..deadlines.len() {
                timers.sweep(live_count, |item| item.hash % live_step == 0);
            }
            prop_assert!(timers.len() <= 2 * live_count + 64);
            let left: Vec<Item> = std::iter::from_fn(|| timers.pop_due(i64::MAX)).collect();
            prop_assert!(left.is_sorted());
            prop_assert_eq!(left.iter().filter(|item| item.hash % live_step == 0).count(), live_count);
        }
    }
}
