//! A B+tree of (score, member) that knows ranks: the order of a sorted set.
//!
//! ```text
//!              Inner   counts      [ 700 | 512 | 901 ]
//!                      separators      (s,m)  (s,m)          lower bound of the child to its right
//!             /          |          \
//!         Leaf         Leaf         Leaf
//!   scores [f64; n]   one array
//!   starts [u16; n]   where each member begins in the arena; it ends where the next one begins
//!   arena  [u8]       the members, in order, one after the other
//! ```
//!
//! No element has an allocation of its own. Nodes are reference-counted and copied when they are changed while shared,
//! so a clone of the tree is a clone of the root's pointer, and a later write copies one path.
//!
//! Elements stand in Redis' order: by score, then by the bytes of the member. `-0.0` and `0.0` are the same score. A NaN
//! has no place in that order: callers refuse it before they come here.

mod leaf;
mod node;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use triomphe::Arc;

use leaf::Leaf;
use node::{Edges, Inner, Node};

/// The tree. `clone` is O(1) and shares every node.
#[derive(Clone)]
pub struct RankTree {
    root: Node,
    len: usize,
}

impl Default for RankTree {
    fn default() -> RankTree {
        RankTree::new()
    }
}

impl RankTree {
    pub fn new() -> RankTree {
        RankTree { root: Node::Leaf(Arc::new(Leaf::default())), len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an element; `false` when it is there.
    pub fn insert(&mut self, score: f64, member: &[u8]) -> bool {
        debug_assert!(!score.is_nan(), "a NaN has no place in the order");
        let Some(siblings) = self.root.insert(score, member, Edges { first: true, last: true }) else { return false };
        self.len += 1;
        if !siblings.is_empty() {
            let mut inner = Inner::default();
            let first = std::mem::replace(&mut self.root, Node::Leaf(Arc::new(Leaf::default())));
            inner.counts.push(first.count());
            inner.children.push(first);
            inner.adopt(0, siblings);
            self.root = Node::Inner(Arc::new(inner));
        }
        true
    }

    /// Removes an element; `false` when it is not there.
    pub fn remove(&mut self, score: f64, member: &[u8]) -> bool {
        let Some(rank) = self.rank_of(score, member) else { return false };
        self.remove_range(rank..rank + 1);
        true
    }

    /// Gives an element another score; `false` when it is not there. One that keeps its neighbours stays where it is.
    pub fn rescore(&mut self, old: f64, member: &[u8], new: f64) -> bool {
        debug_assert!(!new.is_nan(), "a NaN has no place in the order");
        let Some((rank, leaf, at)) = self.find(old, member) else { return false };
        let stays = at > 0
            && at + 1 < leaf.len()
            && leaf.compare(at - 1, new, member) == Ordering::Less
            && leaf.compare(at + 1, new, member) == Ordering::Greater;
        if stays {
            self.root.set_score(rank, new);
        } else {
            self.remove_range(rank..rank + 1);
            self.insert(new, member);
        }
        true
    }

    /// Removes the elements of these ranks. Subtrees that lie within the range are dropped whole.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        let ranks = self.clamp(ranks);
        if ranks.is_empty() {
            return;
        }
        self.len -= ranks.len();
        if self.len == 0 {
            self.root = Node::Leaf(Arc::new(Leaf::default()));
            return;
        }
        self.root.remove_range(ranks.start, ranks.end);
        while let Node::Inner(inner) = &self.root {
            match inner.children.as_slice() {
                [only] => self.root = only.clone(),
                _ => break,
            }
        }
    }

    /// How many elements stand before this one, which must be there.
    pub fn rank_of(&self, score: f64, member: &[u8]) -> Option<usize> {
        self.find(score, member).map(|(rank, _, _)| rank)
    }

    pub fn by_rank(&self, rank: usize) -> Option<(&[u8], f64)> {
        if rank >= self.len {
            return None;
        }
        let (leaf, at) = self.locate(rank);
        Some((leaf.member(at), leaf.scores[at]))
    }

    /// How many elements, from the first on, are `below`: a range of scores or members is a range of ranks.
    ///
    /// `below` must be monotone: once it is false it stays false. If it is not, the answer is some rank.
    pub fn rank_of_bound(&self, below: impl Fn(f64, &[u8]) -> bool) -> usize {
        let mut rank = 0;
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let child = inner.separators.partition_point(|s| below(s.score, &s.member));
                    rank += inner.counts[..child].iter().sum::<usize>();
                    node = &inner.children[child];
                }
                Node::Leaf(leaf) => return rank + leaf.partition_point(|at| below(leaf.scores[at], leaf.member(at))),
            }
        }
    }

    /// The elements of these ranks in order; `rev()` gives them backwards. Ranks beyond the end are left out.
    pub fn range(&self, ranks: Range<usize>) -> RankIter<'_> {
        RankIter { tree: self, ranks: self.clamp(ranks), front: None, back: None }
    }

    pub fn iter(&self) -> RankIter<'_> {
        self.range(0..self.len)
    }

    /// Bytes asked of the allocator, shared ones included.
    pub fn allocated(&self) -> usize {
        self.allocated_about(usize::MAX)
    }

    /// The same when at most so many chunks of a large form are looked at, and the others are taken to be like them.
    pub fn allocated_about(&self, samples: usize) -> usize {
        self.root.allocated_about(samples)
    }

    fn clamp(&self, ranks: Range<usize>) -> Range<usize> {
        let end = ranks.end.min(self.len);
        ranks.start.min(end)..end
    }

    fn find(&self, score: f64, member: &[u8]) -> Option<(usize, &Leaf, usize)> {
        let mut rank = 0;
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => {
                    let child = inner.child_of(score, member);
                    rank += inner.counts[..child].iter().sum::<usize>();
                    node = &inner.children[child];
                }
                Node::Leaf(leaf) => {
                    let at = leaf.position(score, member);
                    let found = at < leaf.len() && leaf.compare(at, score, member) == Ordering::Equal;
                    return found.then_some((rank + at, leaf, at));
                }
            }
        }
    }

    /// The leaf of a rank and the index in it. The rank must be below `len`.
    fn locate(&self, mut rank: usize) -> (&Leaf, usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(inner) => node = &inner.children[inner.child_at(&mut rank)],
                Node::Leaf(leaf) => return (leaf, rank),
            }
        }
    }
}

/// Elements of a range of ranks, from both ends.
#[derive(Clone)]
pub struct RankIter<'a> {
    tree: &'a RankTree,
    ranks: Range<usize>,
    /// The leaf of `ranks.start` and the index in it, once looked up. The next leaf is found from the root again: once
    /// in a few hundred elements, that costs less than keeping a path.
    front: Option<(&'a Leaf, usize)>,
    /// The same for `ranks.end`: the index is one past the element that comes next.
    back: Option<(&'a Leaf, usize)>,
}

impl<'a> Iterator for RankIter<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ranks.is_empty() {
            return None;
        }
        let (leaf, at) = match self.front {
            Some((leaf, at)) if at < leaf.len() => (leaf, at),
            _ => self.tree.locate(self.ranks.start),
        };
        self.ranks.start += 1;
        self.front = Some((leaf, at + 1));
        Some((leaf.member(at), leaf.scores[at]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ranks.len(), Some(self.ranks.len()))
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        self.ranks.start = self.ranks.end.min(self.ranks.start.saturating_add(n));
        self.front = None;
        self.next()
    }
}

impl<'a> DoubleEndedIterator for RankIter<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.ranks.is_empty() {
            return None;
        }
        let (leaf, at) = match self.back {
            Some((leaf, end)) if end > 0 => (leaf, end - 1),
            _ => self.tree.locate(self.ranks.end - 1),
        };
        self.ranks.end -= 1;
        self.back = Some((leaf, at));
        Some((leaf.member(at), leaf.scores[at]))
    }
}

impl ExactSizeIterator for RankIter<'_> {}

/// Redis' order of elements.
#[inline]
pub fn compare(a: (f64, &[u8]), b: (f64, &[u8])) -> Ordering {
    match a.0.partial_cmp(&b.0) {
        None | Some(Ordering::Equal) => a.1.cmp(b.1),
        Some(unequal) => unequal,
    }
}
