//! The tree against a sorted vector.

use proptest::prelude::*;

use super::leaf::{LEAF_BYTES_MAX, LEAF_LEN_MAX, MEMBER_SHARING_MAX};
use super::node::CHILDREN_MAX;
use super::*;

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
