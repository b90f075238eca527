//! Nodes: how a tree grows and shrinks.

use std::cmp::Ordering;

use smallvec::SmallVec;
use triomphe::Arc;

use super::super::sample::estimate;
use super::compare;
use super::leaf::{LEAF_BYTES_MAX, LEAF_LEN_MAX, Leaf, MEMBER_SHARING_MAX, REFERENCE_COUNT_BYTES};

/// Children of an inner node.
pub(super) const CHILDREN_MAX: usize = 64;

#[derive(Clone)]
pub(super) enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// Whether a node is the outermost on its level. There, data that comes in order leaves full leaves behind.
#[derive(Clone, Copy)]
pub(super) struct Edges {
    pub(super) first: bool,
    pub(super) last: bool,
}

/// New nodes to the right of the one that was split, each with its separator.
pub(super) type Siblings = SmallVec<[(Separator, Node); 2]>;

impl Node {
    pub(super) fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// `None` when the element is there.
    pub(super) fn insert(&mut self, score: f64, member: &[u8], edges: Edges) -> Option<Siblings> {
        match self {
            Node::Leaf(_) => self.insert_in_leaf(score, member, edges),
            Node::Inner(inner) => Arc::make_mut(inner).insert(score, member, edges),
        }
    }

    fn insert_in_leaf(&mut self, score: f64, member: &[u8], edges: Edges) -> Option<Siblings> {
        let Node::Leaf(shared) = self else { return None };
        let at = shared.position(score, member);
        let len = shared.len();
        if at < len && shared.compare(at, score, member) == Ordering::Equal {
            return None;
        }
        let mut siblings = Siblings::new();
        if shared.takes(member) {
            Arc::make_mut(shared).insert(at, score, member);
            return Some(siblings);
        }
        let apart = shared.is_apart() || member.len() > MEMBER_SHARING_MAX;
        if at == len && (apart || edges.last) {
            let alone = Leaf::of(score, member);
            siblings.push((Separator::between(shared.last(), alone.first()), Node::from(alone)));
        } else if at == 0 && (apart || edges.first) {
            let alone = Leaf::of(score, member);
            let separator = Separator::between(alone.last(), shared.first());
            let right = std::mem::replace(self, Node::from(alone));
            siblings.push((separator, right));
        } else if apart {
            // In the middle, and too long to share: what follows moves to a leaf behind it.
            let left = Arc::make_mut(shared);
            let right = left.split_off(at);
            let alone = Leaf::of(score, member);
            siblings.push((Separator::between(left.last(), alone.first()), Node::from(alone)));
            siblings.push((Separator::between((score, member), right.first()), Node::from(right)));
        } else {
            let middle = shared.middle();
            let left = Arc::make_mut(shared);
            let mut right = left.split_off(middle);
            if at <= middle {
                left.insert(at, score, member);
            } else {
                right.insert(at - middle, score, member);
            }
            siblings.push((Separator::between(left.last(), right.first()), Node::from(right)));
        }
        Some(siblings)
    }

    /// Removes ranks `from..to` of this node, which are some of its elements but not all.
    pub(super) fn remove_range(&mut self, from: usize, to: usize) {
        match self {
            Node::Leaf(leaf) => Arc::make_mut(leaf).remove_range(from, to),
            Node::Inner(inner) => Arc::make_mut(inner).remove_range(from, to),
        }
    }

    pub(super) fn set_score(&mut self, mut rank: usize, score: f64) {
        match self {
            Node::Leaf(leaf) => Arc::make_mut(leaf).scores[rank] = score,
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let child = inner.child_at(&mut rank);
                inner.children[child].set_score(rank, score);
            }
        }
    }

    /// When at most so many leaves are looked at.
    pub(super) fn allocated_about(&self, samples: usize) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.allocated(),
            Node::Inner(inner) => {
                let children = &inner.children;
                let of_each = (samples / children.len().max(1)).max(1);
                let below = estimate(children.len(), samples, |index| children[index].allocated_about(of_each));
                inner.allocated() + below
            }
        }
    }

    fn is_apart(&self) -> bool {
        matches!(self, Node::Leaf(leaf) if leaf.is_apart())
    }

    /// Less than a quarter full: worth a look at the neighbours.
    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.len() < LEAF_LEN_MAX / 4 && leaf.arena.len() < LEAF_BYTES_MAX / 4,
            Node::Inner(inner) => inner.children.len() < CHILDREN_MAX / 4,
        }
    }

    /// Takes in the right neighbour, unless together they would be nearly full.
    fn absorb(&mut self, right: &Node, separator: &Separator) -> bool {
        match (self, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                let fits = !left.is_apart()
                    && !right.is_apart()
                    && left.len() + right.len() <= LEAF_LEN_MAX / 4 * 3
                    && left.arena.len() + right.arena.len() <= LEAF_BYTES_MAX / 4 * 3;
                if fits {
                    Arc::make_mut(left).append(right);
                }
                fits
            }
            (Node::Inner(left), Node::Inner(right)) => {
                let fits = left.children.len() + right.children.len() <= CHILDREN_MAX / 4 * 3;
                if fits {
                    let left = Arc::make_mut(left);
                    let seam = left.children.len();
                    left.children.extend_from_slice(&right.children);
                    left.counts.extend_from_slice(&right.counts);
                    left.separators.push(separator.clone());
                    left.separators.extend_from_slice(&right.separators);
                    left.settle(seam);
                }
                fits
            }
            _ => unreachable!("all leaves of a tree are at one depth"),
        }
    }
}

impl From<Leaf> for Node {
    fn from(leaf: Leaf) -> Node {
        Node::Leaf(Arc::new(leaf))
    }
}

/// A point between two neighbouring nodes: above the last element of the left one, and not above the first of the right.
#[derive(Clone)]
pub(super) struct Separator {
    pub(super) score: f64,
    pub(super) member: Box<[u8]>,
}

impl Separator {
    /// The shortest: no member where the scores differ, else one byte more than the members have in common.
    fn between(left: (f64, &[u8]), right: (f64, &[u8])) -> Separator {
        debug_assert!(compare(left, right) == Ordering::Less);
        let member = if left.0 < right.0 {
            Box::default()
        } else {
            let common = left.1.iter().zip(right.1).take_while(|(a, b)| a == b).count();
            right.1[..right.1.len().min(common + 1)].into()
        };
        Separator { score: right.0, member }
    }
}

#[derive(Clone, Default)]
pub(super) struct Inner {
    pub(super) children: Vec<Node>,
    /// Elements below each child.
    pub(super) counts: Vec<usize>,
    /// `separators[i]` stands between children `i` and `i + 1`.
    pub(super) separators: Vec<Separator>,
}

impl Inner {
    pub(super) fn child_of(&self, score: f64, member: &[u8]) -> usize {
        self.separators.partition_point(|s| compare((s.score, &s.member), (score, member)) != Ordering::Greater)
    }

    /// The child of a rank, which becomes the rank within that child.
    pub(super) fn child_at(&self, rank: &mut usize) -> usize {
        let mut child = 0;
        while *rank >= self.counts[child] {
            *rank -= self.counts[child];
            child += 1;
        }
        child
    }

    /// Without the children's own.
    fn allocated(&self) -> usize {
        REFERENCE_COUNT_BYTES
            + size_of::<Inner>()
            + self.children.capacity() * size_of::<Node>()
            + self.counts.capacity() * size_of::<usize>()
            + self.separators.capacity() * size_of::<Separator>()
            + self.separators.iter().map(|separator| separator.member.len()).sum::<usize>()
    }

    fn insert(&mut self, score: f64, member: &[u8], edges: Edges) -> Option<Siblings> {
        let child = self.child_of(score, member);
        let last = child + 1 == self.children.len();
        let below = Edges { first: edges.first && child == 0, last: edges.last && last };
        let siblings = self.children[child].insert(score, member, below)?;
        if siblings.is_empty() {
            self.counts[child] += 1;
            return Some(siblings);
        }
        let added = siblings.len();
        let apart = self.children[child].is_apart() || siblings.iter().any(|(_, node)| node.is_apart());
        self.adopt(child, siblings);
        // A new leaf at the edge is the beginning of a full one. One beside a member that shares no leaf would stay
        // alone, and so would the next one.
        if apart {
            for at in (child..=child + added).rev() {
                self.settle(at);
            }
        }
        let mut siblings = Siblings::new();
        if self.children.len() > CHILDREN_MAX {
            let middle = if below.last { self.children.len() - 1 } else { self.children.len() / 2 };
            siblings.push(self.split_off(middle));
        }
        Some(siblings)
    }

    /// Places new nodes right of `child`, whose own count is taken anew.
    pub(super) fn adopt(&mut self, child: usize, siblings: Siblings) {
        self.counts[child] = self.children[child].count();
        for (i, (separator, node)) in siblings.into_iter().enumerate() {
            self.separators.insert(child + i, separator);
            self.counts.insert(child + i + 1, node.count());
            self.children.insert(child + i + 1, node);
        }
    }

    fn split_off(&mut self, at: usize) -> (Separator, Node) {
        let right = Inner {
            children: self.children.split_off(at),
            counts: self.counts.split_off(at),
            separators: self.separators.split_off(at),
        };
        let separator = self.separators.pop().expect("both halves of a split node have children");
        (separator, Node::Inner(Arc::new(right)))
    }

    fn remove_range(&mut self, from: usize, to: usize) {
        let mut at = from;
        let first = self.child_at(&mut at);
        let mut left = to - from;
        // The first child that goes whole, and how many do: they are neighbours.
        let (mut gone_from, mut gone) = (first, 0);
        let mut child = first;
        while left > 0 {
            let part = left.min(self.counts[child] - at);
            if part == self.counts[child] {
                if gone == 0 {
                    gone_from = child;
                }
                gone += 1;
            } else {
                self.children[child].remove_range(at, at + part);
                self.counts[child] -= part;
            }
            left -= part;
            at = 0;
            child += 1;
        }
        if gone > 0 {
            self.children.drain(gone_from..gone_from + gone);
            self.counts.drain(gone_from..gone_from + gone);
            // The separator before each child that goes, or after it when there is none before.
            let separator = gone_from.saturating_sub(1);
            self.separators.drain(separator..separator + gone);
        }
        for at in (first..=first + 1).rev() {
            self.settle(at);
        }
    }

    /// Joins a sparse child with a neighbour if they fit together.
    fn settle(&mut self, at: usize) {
        if at >= self.children.len() || !self.children[at].is_sparse() {
            return;
        }
        if !(at > 0 && self.join(at - 1)) {
            self.join(at);
        }
    }

    fn join(&mut self, at: usize) -> bool {
        let [left, right] = match self.children.get_mut(at..) {
            Some([left, right, ..]) => [left, right],
            _ => return false,
        };
        let joined = left.absorb(right, &self.separators[at]);
        if joined {
            self.children.remove(at + 1);
            self.counts[at] += self.counts.remove(at + 1);
            self.separators.remove(at);
        }
        joined
    }
}
