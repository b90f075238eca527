//! Leaves: elements side by side in three arrays.

use std::cmp::Ordering;

/// Elements in a leaf: 2 kB of scores, which is what an insert moves at worst. Half of it was no faster in a set of a
/// million and took 5 % more memory.
pub(super) const LEAF_LEN_MAX: usize = 256;
/// Bytes of members in a leaf that holds more than one. `starts` being `u16`, it could not be more than 64 kB.
pub(super) const LEAF_BYTES_MAX: usize = 32 << 10;
/// A member longer than this has a leaf of its own, so that its neighbours' changes never move it.
pub(super) const MEMBER_SHARING_MAX: usize = 8 << 10;
/// What an `Arc` needs beside its content.
pub(super) const REFERENCE_COUNT_BYTES: usize = size_of::<usize>();

#[derive(Clone, Default)]
pub(super) struct Leaf {
    pub(super) scores: Vec<f64>,
    pub(super) starts: Vec<u16>,
    pub(super) arena: Vec<u8>,
}

impl Leaf {
    pub(super) fn of(score: f64, member: &[u8]) -> Leaf {
        Leaf { scores: vec![score], starts: vec![0], arena: member.to_vec() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(super) fn allocated(&self) -> usize {
        REFERENCE_COUNT_BYTES
            + size_of::<Leaf>()
            + self.scores.capacity() * size_of::<f64>()
            + self.starts.capacity() * size_of::<u16>()
            + self.arena.capacity()
    }

    #[inline]
    fn start(&self, at: usize) -> usize {
        self.starts.get(at).map_or(self.arena.len(), |start| usize::from(*start))
    }

    #[inline]
    pub(super) fn member(&self, at: usize) -> &[u8] {
        &self.arena[self.start(at)..self.start(at + 1)]
    }

    /// A leaf has elements, except the root of an empty tree.
    pub(super) fn first(&self) -> (f64, &[u8]) {
        (self.scores[0], self.member(0))
    }

    pub(super) fn last(&self) -> (f64, &[u8]) {
        (self.scores[self.len() - 1], self.member(self.len() - 1))
    }

    /// Holds one member that is too long to share a leaf.
    pub(super) fn is_apart(&self) -> bool {
        self.len() == 1 && self.arena.len() > MEMBER_SHARING_MAX
    }

    pub(super) fn takes(&self, member: &[u8]) -> bool {
        let shares = member.len() <= MEMBER_SHARING_MAX && !self.is_apart();
        let fits = self.len() < LEAF_LEN_MAX && self.arena.len() + member.len() <= LEAF_BYTES_MAX;
        self.len() == 0 || (shares && fits)
    }

    #[inline]
    pub(super) fn compare(&self, at: usize, score: f64, member: &[u8]) -> Ordering {
        match self.scores[at].partial_cmp(&score) {
            None | Some(Ordering::Equal) => self.member(at).cmp(member),
            Some(unequal) => unequal,
        }
    }

    /// The index of an element, or where it would stand.
    pub(super) fn position(&self, score: f64, member: &[u8]) -> usize {
        self.partition_point(|at| self.compare(at, score, member) == Ordering::Less)
    }

    #[inline]
    pub(super) fn partition_point(&self, below: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if below(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Where a full leaf, which has several elements, is cut.
    pub(super) fn middle(&self) -> usize {
        let half = if self.arena.len() > LEAF_BYTES_MAX / 2 {
            self.starts.partition_point(|start| usize::from(*start) < self.arena.len() / 2)
        } else {
            self.len() / 2
        };
        half.clamp(1, self.len() - 1)
    }

    pub(super) fn insert(&mut self, at: usize, score: f64, member: &[u8]) {
        debug_assert!(self.takes(member));
        grow(&mut self.scores, 1);
        grow(&mut self.starts, 1);
        grow(&mut self.arena, member.len());
        let start = self.start(at);
        let size = member.len();
        let end = self.arena.len();
        self.arena.resize(end + size, 0);
        self.arena.copy_within(start..end, start + size);
        self.arena[start..start + size].copy_from_slice(member);
        self.scores.insert(at, score);
        // A member that shares no leaf has start 0, so sizes added and starts stored here are below LEAF_BYTES_MAX.
        self.starts.insert(at, start as u16);
        for later in &mut self.starts[at + 1..] {
            *later += size as u16;
        }
    }

    pub(super) fn remove_range(&mut self, from: usize, to: usize) {
        let (start, end) = (self.start(from), self.start(to));
        self.arena.drain(start..end);
        self.scores.drain(from..to);
        self.starts.drain(from..to);
        let size = end - start;
        for later in &mut self.starts[from..] {
            *later -= size as u16;
        }
        self.give_back();
    }

    pub(super) fn split_off(&mut self, at: usize) -> Leaf {
        let start = self.start(at);
        let right = Leaf {
            scores: self.scores.split_off(at),
            starts: self.starts[at..].iter().map(|s| s - start as u16).collect(),
            arena: self.arena.split_off(start),
        };
        self.starts.truncate(at);
        self.give_back();
        right
    }

    pub(super) fn append(&mut self, right: &Leaf) {
        grow(&mut self.scores, right.len());
        grow(&mut self.starts, right.len());
        grow(&mut self.arena, right.arena.len());
        let size = self.arena.len();
        self.scores.extend_from_slice(&right.scores);
        self.starts.extend(right.starts.iter().map(|s| s + size as u16));
        self.arena.extend_from_slice(&right.arena);
    }

    /// Returns room that a long removal or a split has left.
    fn give_back(&mut self) {
        fn shrink<T>(list: &mut Vec<T>) {
            if list.capacity() > 64 && list.capacity() > list.len() * 2 {
                list.shrink_to(list.len() + list.len() / 8);
            }
        }
        shrink(&mut self.scores);
        shrink(&mut self.starts);
        shrink(&mut self.arena);
    }
}

/// Makes room by an eighth, not by doubling: half of every leaf would stand empty.
fn grow<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8).max(4));
    }
}
