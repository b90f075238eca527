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

use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;
use triomphe::Arc;

/// Elements in a leaf: 2 kB of scores, which is what an insert moves at worst.
const LEAF_LEN_MAX: usize = 256;
/// Bytes of members in a leaf that holds more than one. `starts` being `u16`, it could not be more than 64 kB.
const LEAF_BYTES_MAX: usize = 32 << 10;
/// A member longer than this has a leaf of its own, so that its neighbours' changes never move it.
const MEMBER_SHARING_MAX: usize = 8 << 10;
/// Children of an inner node.
const CHILDREN_MAX: usize = 64;

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
        fn walk(node: &Node) -> usize {
            match node {
                Node::Leaf(leaf) => {
                    8 + size_of::<Leaf>() + leaf.scores.capacity() * 8 + leaf.starts.capacity() * 2 + leaf.arena.capacity()
                }
                Node::Inner(inner) => {
                    let separators = inner.separators.capacity() * size_of::<Separator>()
                        + inner.separators.iter().map(|s| s.member.len()).sum::<usize>();
                    let children = inner.children.capacity() * size_of::<Node>() + inner.children.iter().map(walk).sum::<usize>();
                    8 + size_of::<Inner>() + children + inner.counts.capacity() * 8 + separators
                }
            }
        }
        walk(&self.root)
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

#[derive(Clone)]
enum Node {
    Leaf(Arc<Leaf>),
    Inner(Arc<Inner>),
}

/// Whether a node is the outermost on its level. There, data that comes in order leaves full leaves behind.
#[derive(Clone, Copy)]
struct Edges {
    first: bool,
    last: bool,
}

/// New nodes to the right of the one that was split, each with its separator.
type Siblings = SmallVec<[(Separator, Node); 2]>;

impl Node {
    fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.len(),
            Node::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    /// `None` when the element is there.
    fn insert(&mut self, score: f64, member: &[u8], edges: Edges) -> Option<Siblings> {
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
    fn remove_range(&mut self, from: usize, to: usize) {
        match self {
            Node::Leaf(leaf) => Arc::make_mut(leaf).remove_range(from, to),
            Node::Inner(inner) => Arc::make_mut(inner).remove_range(from, to),
        }
    }

    fn set_score(&mut self, mut rank: usize, score: f64) {
        match self {
            Node::Leaf(leaf) => Arc::make_mut(leaf).scores[rank] = score,
            Node::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let child = inner.child_at(&mut rank);
                inner.children[child].set_score(rank, score);
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
struct Separator {
    score: f64,
    member: Box<[u8]>,
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
struct Inner {
    children: Vec<Node>,
    /// Elements below each child.
    counts: Vec<usize>,
    /// `separators[i]` stands between children `i` and `i + 1`.
    separators: Vec<Separator>,
}

impl Inner {
    fn child_of(&self, score: f64, member: &[u8]) -> usize {
        self.separators.partition_point(|s| compare((s.score, &s.member), (score, member)) != Ordering::Greater)
    }

    /// The child of a rank, which becomes the rank within that child.
    fn child_at(&self, rank: &mut usize) -> usize {
        let mut child = 0;
        while *rank >= self.counts[child] {
            *rank -= self.counts[child];
            child += 1;
        }
        child
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
    fn adopt(&mut self, child: usize, siblings: Siblings) {
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

#[derive(Clone, Default)]
struct Leaf {
    scores: Vec<f64>,
    starts: Vec<u16>,
    arena: Vec<u8>,
}

impl Leaf {
    fn of(score: f64, member: &[u8]) -> Leaf {
        Leaf { scores: vec![score], starts: vec![0], arena: member.to_vec() }
    }

    #[inline]
    fn len(&self) -> usize {
        self.scores.len()
    }

    #[inline]
    fn start(&self, at: usize) -> usize {
        self.starts.get(at).map_or(self.arena.len(), |start| usize::from(*start))
    }

    #[inline]
    fn member(&self, at: usize) -> &[u8] {
        &self.arena[self.start(at)..self.start(at + 1)]
    }

    /// A leaf has elements, except the root of an empty tree.
    fn first(&self) -> (f64, &[u8]) {
        (self.scores[0], self.member(0))
    }

    fn last(&self) -> (f64, &[u8]) {
        (self.scores[self.len() - 1], self.member(self.len() - 1))
    }

    /// Holds one member that is too long to share a leaf.
    fn is_apart(&self) -> bool {
        self.len() == 1 && self.arena.len() > MEMBER_SHARING_MAX
    }

    fn takes(&self, member: &[u8]) -> bool {
        let shares = member.len() <= MEMBER_SHARING_MAX && !self.is_apart();
        let fits = self.len() < LEAF_LEN_MAX && self.arena.len() + member.len() <= LEAF_BYTES_MAX;
        self.len() == 0 || (shares && fits)
    }

    #[inline]
    fn compare(&self, at: usize, score: f64, member: &[u8]) -> Ordering {
        match self.scores[at].partial_cmp(&score) {
            None | Some(Ordering::Equal) => self.member(at).cmp(member),
            Some(unequal) => unequal,
        }
    }

    /// The index of an element, or where it would stand.
    fn position(&self, score: f64, member: &[u8]) -> usize {
        self.partition_point(|at| self.compare(at, score, member) == Ordering::Less)
    }

    #[inline]
    fn partition_point(&self, below: impl Fn(usize) -> bool) -> usize {
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
    fn middle(&self) -> usize {
        let half = if self.arena.len() > LEAF_BYTES_MAX / 2 {
            self.starts.partition_point(|start| usize::from(*start) < self.arena.len() / 2)
        } else {
            self.len() / 2
        };
        half.clamp(1, self.len() - 1)
    }

    fn insert(&mut self, at: usize, score: f64, member: &[u8]) {
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

    fn remove_range(&mut self, from: usize, to: usize) {
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

    fn split_off(&mut self, at: usize) -> Leaf {
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

    fn append(&mut self, right: &Leaf) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl RankTree {
        /// Checks every promise of the structure.
        fn check(&self) {
            fn walk(node: &Node, root: bool, low: Option<(f64, &[u8])>, high: Option<(f64, &[u8])>) -> (usize, usize) {
                match node {
                    Node::Leaf(leaf) => {
                        assert!(root || leaf.len() > 0, "an empty leaf stayed");
                        assert!(leaf.len() <= LEAF_LEN_MAX);
                        assert!(leaf.len() <= 1 || leaf.arena.len() <= LEAF_BYTES_MAX);
                        assert_eq!(leaf.len(), leaf.starts.len());
                        for at in 0..leaf.len() {
                            let element = (leaf.scores[at], leaf.member(at));
                            assert!(leaf.len() == 1 || element.1.len() <= MEMBER_SHARING_MAX);
                            if at > 0 {
                                assert!(leaf.compare(at - 1, element.0, element.1) == Ordering::Less);
                            }
                            assert!(low.is_none_or(|low| compare(low, element) != Ordering::Greater));
                            assert!(high.is_none_or(|high| compare(element, high) == Ordering::Less));
                        }
                        (leaf.len(), 0)
                    }
                    Node::Inner(inner) => {
                        assert!(inner.children.len() <= CHILDREN_MAX && !inner.children.is_empty());
                        assert!(!root || inner.children.len() > 1);
                        assert_eq!(inner.children.len(), inner.counts.len());
                        assert_eq!(inner.children.len(), inner.separators.len() + 1);
                        let bound = |at: usize| inner.separators.get(at).map(|s| (s.score, &*s.member));
                        let mut depths = Vec::new();
                        for (at, child) in inner.children.iter().enumerate() {
                            let low = if at == 0 { low } else { bound(at - 1) };
                            let (count, depth) = walk(child, false, low, bound(at).or(high));
                            assert_eq!(count, inner.counts[at]);
                            depths.push(depth);
                        }
                        assert!(depths.iter().all(|d| *d == depths[0]));
                        (inner.counts.iter().sum(), depths[0] + 1)
                    }
                }
            }
            let (count, _) = walk(&self.root, true, None, None);
            assert_eq!(count, self.len);
        }

        fn leaf_count(&self) -> usize {
            fn walk(node: &Node) -> usize {
                match node {
                    Node::Leaf(_) => 1,
                    Node::Inner(inner) => inner.children.iter().map(walk).sum(),
                }
            }
            walk(&self.root)
        }

        fn contents(&self) -> Vec<(f64, Vec<u8>)> {
            self.iter().map(|(member, score)| (score, member.to_vec())).collect()
        }
    }

    /// The model: a sorted vector.
    #[derive(Clone, Default)]
    struct Model(Vec<(f64, Vec<u8>)>);

    impl Model {
        fn position(&self, score: f64, member: &[u8]) -> Result<usize, usize> {
            self.0.binary_search_by(|(s, m)| compare((*s, m), (score, member)))
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(f64, Vec<u8>),
        InsertMany(u16, u8),
        Remove(u16),
        Rescore(u16, f64),
        RemoveRange(u16, u16),
        Freeze,
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-20i32..20).prop_map(f64::from),
            1 => any::<i32>().prop_map(f64::from),
            1 => Just(-0.0),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
            1 => -1.0..1.0f64,
        ]
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => "[ab]{0,6}".prop_map(String::into_bytes),
            2 => proptest::collection::vec(any::<u8>(), 0..20),
            1 => (0u8..4, 1usize..12_000).prop_map(|(byte, size)| vec![byte; size]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            10 => (score(), member()).prop_map(|(s, m)| Op::Insert(s, m)),
            2 => (any::<u16>(), any::<u8>()).prop_map(|(seed, kind)| Op::InsertMany(seed, kind)),
            6 => any::<u16>().prop_map(Op::Remove),
            3 => (any::<u16>(), score()).prop_map(|(at, s)| Op::Rescore(at, s)),
            2 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Op::RemoveRange(a, b)),
            1 => Just(Op::Freeze),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn agrees_with_a_sorted_vector(ops in proptest::collection::vec(op(), 1..60)) {
            let mut tree = RankTree::new();
            let mut model = Model::default();
            let mut frozen = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(score, member) => {
                        let at = model.position(score, &member);
                        prop_assert_eq!(tree.insert(score, &member), at.is_err());
                        if let Err(at) = at {
                            model.0.insert(at, (score, member));
                        }
                    }
                    Op::InsertMany(seed, kind) => for i in 0..700u32 {
                        let (score, member) = match kind % 4 {
                            0 => (f64::from(i), format!("{seed}-{i}")),
                            1 => (-f64::from(i), format!("{seed}-{i}")),
                            2 => (0.0, format!("{}", i.wrapping_mul(2_654_435_761) ^ u32::from(seed))),
                            _ => (f64::from(i * 7919 % 701), "x".repeat(i as usize)),
                        };
                        let at = model.position(score, member.as_bytes());
                        prop_assert_eq!(tree.insert(score, member.as_bytes()), at.is_err());
                        if let Err(at) = at {
                            model.0.insert(at, (score, member.into_bytes()));
                        }
                    },
                    Op::Remove(at) if !model.0.is_empty() => {
                        let (score, member) = model.0.remove(usize::from(at) % model.0.len());
                        prop_assert!(tree.remove(score, &member));
                        prop_assert!(!tree.remove(score, &member));
                    }
                    Op::Rescore(at, new) if !model.0.is_empty() => {
                        let (old, member) = model.0[usize::from(at) % model.0.len()].clone();
                        // A set has a member once; with the other score it may be here, as the model allows that.
                        if model.position(new, &member).is_err() {
                            let from = model.position(old, &member).expect("it was just taken from there");
                            model.0.remove(from);
                            let to = model.position(new, &member).expect_err("it was looked for");
                            model.0.insert(to, (new, member.clone()));
                            prop_assert!(tree.rescore(old, &member, new));
                        }
                    }
                    Op::RemoveRange(a, b) => {
                        let (a, b) = (usize::from(a) % (model.0.len() + 1), usize::from(b) % (model.0.len() + 1));
                        tree.remove_range(a.min(b)..a.max(b));
                        model.0.drain(a.min(b)..a.max(b));
                    }
                    Op::Freeze => frozen.push((tree.clone(), model.clone())),
                    _ => {}
                }
                tree.check();
            }
            frozen.push((tree, model));
            for (tree, model) in frozen {
                tree.check();
                prop_assert_eq!(&tree.contents(), &model.0);
                let backwards: Vec<_> = tree.iter().rev().map(|(m, s)| (s, m.to_vec())).collect();
                prop_assert!(backwards.iter().eq(model.0.iter().rev()));
                for (rank, (score, member)) in model.0.iter().enumerate().step_by(17) {
                    prop_assert_eq!(tree.rank_of(*score, member), Some(rank));
                    prop_assert_eq!(tree.by_rank(rank), Some((&member[..], *score)));
                    prop_assert_eq!(tree.rank_of_bound(|s, _| s < *score), model.0.partition_point(|e| e.0 < *score));
                    prop_assert_eq!(tree.rank_of_bound(|s, _| s <= *score), model.0.partition_point(|e| e.0 <= *score));
                    let below = |s: f64, m: &[u8]| compare((s, m), (*score, member)) == Ordering::Less;
                    prop_assert_eq!(tree.rank_of_bound(below), rank);
                }
                prop_assert_eq!(tree.by_rank(model.0.len()), None);
                let (a, b) = (model.0.len() / 3, model.0.len() / 2);
                let both: Vec<_> = { let mut i = tree.range(a..b); std::iter::from_fn(|| i.next().zip(i.next_back())).collect() };
                prop_assert_eq!(both.len(), (b - a) / 2);
                prop_assert!(tree.range(a..b).map(|e| e.1).eq(model.0[a..b].iter().map(|e| e.0)));
                prop_assert_eq!(tree.range(a..b).nth(1).map(|e| e.1), model.0[a..b].get(1).map(|e| e.0));
            }
        }
    }

    #[test]
    fn leaves_are_full_after_inserts_in_order() {
        for sign in [1.0, -1.0] {
            let mut tree = RankTree::new();
            for i in 0..100_000 {
                tree.insert(sign * f64::from(i), b"member");
            }
            tree.check();
            assert_eq!(tree.leaf_count(), 100_000usize.div_ceil(LEAF_LEN_MAX));
        }
    }

    #[test]
    fn removals_leave_no_sparse_tree() {
        let mut tree = RankTree::new();
        for i in 0..100_000u32 {
            tree.insert(f64::from(i.wrapping_mul(2_654_435_761)), b"member");
        }
        for i in (0..100_000u32).filter(|i| i % 50 != 0) {
            assert!(tree.remove(f64::from(i.wrapping_mul(2_654_435_761)), b"member"));
        }
        tree.check();
        assert_eq!(tree.len(), 2_000);
        assert!(tree.leaf_count() < 64, "{} leaves", tree.leaf_count());
    }

    #[test]
    fn short_members_between_long_ones_share_leaves() {
        let mut tree = RankTree::new();
        for i in 0..4u32 {
            tree.insert(f64::from(i) * 1000.0, &[b'x'; 20_000]);
        }
        for i in (0..3999u32).rev() {
            tree.insert(f64::from(i), b"short");
        }
        tree.check();
        assert!(tree.leaf_count() < 80, "{} leaves", tree.leaf_count());
    }

    #[test]
    fn freezing_shares_and_a_write_copies_one_path() {
        let mut tree = RankTree::new();
        for i in 0..200_000u32 {
            tree.insert(f64::from(i), b"member");
        }
        let frozen = tree.clone();
        tree.insert(100_000.5, b"member");
        fn leaves<'a>(node: &'a Node, list: &mut Vec<&'a Leaf>) {
            match node {
                Node::Leaf(leaf) => list.push(leaf),
                Node::Inner(inner) => inner.children.iter().for_each(|c| leaves(c, list)),
            }
        }
        let (mut old, mut new) = (Vec::new(), Vec::new());
        leaves(&frozen.root, &mut old);
        leaves(&tree.root, &mut new);
        let copied = new.iter().filter(|n| !old.iter().any(|o| std::ptr::eq(**n, *o))).count();
        assert!(copied <= 2, "{copied} leaves copied");
        assert_eq!(frozen.len(), 200_000);
        frozen.check();
        tree.check();
    }
}
