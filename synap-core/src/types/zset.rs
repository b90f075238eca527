//! Sorted sets: members with scores, in the order of (score, member).
//!
//! ```text
//! Compact   Listpack   member, score, member, score, …   in order, as Redis keeps it
//! Large     RankTree   the order: ranks, ranges
//!           Dict       member → score
//! ```
//!
//! Every range, by score or by member, is a range of ranks: [`ZSet::score_ranks`] and [`ZSet::lex_ranks`] say which one,
//! [`ZSet::range`] reads it and [`ZSet::remove_range`] removes it. Scores are never NaN (commands refuse it), and `-0.0` is
//! kept as `0.0`, because an integer of a listpack could not tell them apart.

use std::cmp::Ordering;
use std::ops::Range;

use super::dict::Dict;
use super::listpack::{Iter as PackIter, Listpack, Pos};
use super::rank_tree::{RankIter, RankTree, compare};
use super::score::{format_double, whole};
use super::{Elem, Limits};

/// A sorted set of byte strings.
pub struct ZSet {
    form: Form,
}

enum Form {
    Compact(Listpack),
    Large(Box<Large>),
}

struct Large {
    order: RankTree,
    scores: Dict,
}

/// What an insert did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Added,
    /// The member was there, with this score.
    Updated(f64),
    /// The member was there with the same score.
    Same,
}

/// An end of a range of scores; infinities are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScoreBound {
    Incl(f64),
    Excl(f64),
}

/// An end of a range of members, among which the scores should be equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// `-`, below all members.
    Min,
    /// `+`, above all members.
    Max,
    Incl(&'a [u8]),
    Excl(&'a [u8]),
}

impl Default for ZSet {
    fn default() -> ZSet {
        ZSet::new()
    }
}

impl ZSet {
    pub fn new() -> ZSet {
        ZSet { form: Form::Compact(Listpack::new()) }
    }

    pub fn len(&self) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.len() / 2,
            Form::Large(large) => large.order.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Redis' name of the form.
    pub fn encoding(&self) -> &'static str {
        match &self.form {
            Form::Compact(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// A copy that shares the chunks.
    pub fn freeze(&self) -> ZSet {
        let form = match &self.form {
            Form::Compact(pack) => Form::Compact(pack.clone()),
            Form::Large(large) => Form::Large(Box::new(Large { order: large.order.clone(), scores: large.scores.freeze() })),
        };
        ZSet { form }
    }

    /// Adds a member or gives it another score.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Outcome {
        debug_assert!(!score.is_nan(), "a NaN has no place in the order");
        // Of the two zeros the positive one.
        let score = score + 0.0;
        let pack = match &mut self.form {
            Form::Large(large) => return large.insert(member, score),
            Form::Compact(pack) => pack,
        };
        let found = find(pack, member);
        if let Some((pos, old)) = found {
            if old == score {
                return Outcome::Same;
            }
            // Redis does not look at the limits when only the score changes.
            pack.remove_run(pos, 2);
            insert_in_order(pack, member, score);
            return Outcome::Updated(old);
        }
        let fits = pack.len() / 2 < limits.zset_entries
            && member.len() <= limits.zset_value_bytes
            && pack.has_room_for(2, member.len() + 24);
        if fits {
            insert_in_order(pack, member, score);
            return Outcome::Added;
        }
        let mut large = Large::of(pack);
        let outcome = large.insert(member, score);
        self.form = Form::Large(Box::new(large));
        outcome
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.form {
            Form::Compact(pack) => find(pack, member).map(|(_, score)| score),
            Form::Large(large) => large.score(member),
        }
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.form {
            Form::Compact(pack) => pack.find(member, 2).is_some(),
            Form::Large(large) => large.scores.contains(member),
        }
    }

    /// Removes a member, returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.form {
            Form::Compact(pack) => {
                let (pos, score) = find(pack, member)?;
                pack.remove_run(pos, 2);
                Some(score)
            }
            Form::Large(large) => {
                let score = large.score(member)?;
                large.scores.remove(member);
                large.order.remove(score, member);
                Some(score)
            }
        }
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match &self.form {
            Form::Compact(pack) => {
                let (pos, score) = find(pack, member)?;
                Some((pack.index_of(pos) / 2, score))
            }
            Form::Large(large) => {
                let score = large.score(member)?;
                Some((large.order.rank_of(score, member)?, score))
            }
        }
    }

    pub fn by_rank(&self, rank: usize) -> Option<(Elem<'_>, f64)> {
        match &self.form {
            Form::Compact(pack) => {
                let pos = pack.pos_of(rank.checked_mul(2)?)?;
                Some((pack.at(pos), score_after(pack, pos)))
            }
            Form::Large(large) => large.order.by_rank(rank).map(|(member, score)| (Elem::Bytes(member), score)),
        }
    }

    pub fn iter(&self) -> ZIter<'_> {
        self.range(0..self.len())
    }

    /// The members of these ranks in order; `rev()` gives them backwards. Ranks beyond the end are left out.
    pub fn range(&self, ranks: Range<usize>) -> ZIter<'_> {
        match &self.form {
            Form::Compact(pack) => {
                let ranks = self.clamp(ranks);
                let pairs = pack.iter_range(ranks.start * 2..ranks.end * 2);
                ZIter::Compact { pairs, left: ranks.len() }
            }
            Form::Large(large) => ZIter::Large(large.order.range(ranks)),
        }
    }

    /// The ranks of the members whose score lies between these bounds.
    pub fn score_ranks(&self, min: ScoreBound, max: ScoreBound) -> Range<usize> {
        let start = self.rank_of_bound(|score, _| min.is_above(score));
        let end = self.rank_of_bound(|score, _| !max.is_below(score));
        start..end.max(start)
    }

    /// The ranks of the members that lie between these bounds. They must have equal scores: if not, some range.
    pub fn lex_ranks(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let start = self.rank_of_bound(|_, member| min.is_above(member));
        let end = self.rank_of_bound(|_, member| !max.is_below(member));
        start..end.max(start)
    }

    pub fn pop_min(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(0)
    }

    pub fn pop_max(&mut self) -> Option<(Vec<u8>, f64)> {
        self.pop(self.len().checked_sub(1)?)
    }

    /// Removes the members of these ranks, returns how many.
    pub fn remove_range(&mut self, ranks: Range<usize>) -> usize {
        let ranks = self.clamp(ranks);
        if ranks.is_empty() {
            return 0;
        }
        match &mut self.form {
            Form::Compact(pack) => {
                pack.remove_range(ranks.start * 2, ranks.len() * 2);
            }
            Form::Large(large) if ranks.len() == large.order.len() => **large = Large::new(),
            Form::Large(large) => {
                for (member, _) in large.order.range(ranks.clone()) {
                    large.scores.remove(member);
                }
                large.order.remove_range(ranks.clone());
            }
        }
        ranks.len()
    }

    /// Visits about `count` members from `cursor` on (0 to begin), returns the next cursor (0 at the end). A member that is
    /// there during the whole of a scan is visited, perhaps twice. A compact form is visited at once.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'_>, f64)) -> u64 {
        match &self.form {
            Form::Compact(_) => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
            Form::Large(large) => large.scores.scan(cursor, count, |entry| visit(Elem::Bytes(entry.key), score_of(entry.value))),
        }
    }

    /// A member chosen by a random number.
    pub fn random(&self, random: u64) -> Option<(Elem<'_>, f64)> {
        // The multiplication spreads the numbers evenly without a division.
        let rank = (u128::from(random) * self.len() as u128) >> 64;
        self.by_rank(rank as usize)
    }

    /// The compact form, whose elements are those of Redis' listpack of a sorted set.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.form {
            Form::Compact(pack) => Some(pack),
            Form::Large(_) => None,
        }
    }

    /// Bytes asked of the allocator, shared ones included.
    pub fn allocated(&self) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.allocated(),
            Form::Large(large) => size_of::<Large>() + large.order.allocated() + large.scores.allocated() - size_of::<Dict>(),
        }
    }

    fn clamp(&self, ranks: Range<usize>) -> Range<usize> {
        let end = ranks.end.min(self.len());
        ranks.start.min(end)..end
    }

    fn pop(&mut self, rank: usize) -> Option<(Vec<u8>, f64)> {
        let (member, score) = self.by_rank(rank)?;
        let member = member.to_vec();
        self.remove_range(rank..rank + 1);
        Some((member, score))
    }

    fn rank_of_bound(&self, below: impl Fn(f64, &[u8]) -> bool) -> usize {
        match &self.form {
            Form::Compact(_) => {
                let mut buffer = itoa::Buffer::new();
                self.iter().take_while(|(member, score)| below(*score, member.bytes(&mut buffer))).count()
            }
            Form::Large(large) => large.order.rank_of_bound(below),
        }
    }
}

impl ScoreBound {
    /// As a minimum: it excludes the score.
    fn is_above(self, score: f64) -> bool {
        match self {
            ScoreBound::Incl(bound) => score < bound,
            ScoreBound::Excl(bound) => score <= bound,
        }
    }

    /// As a maximum: it excludes the score.
    fn is_below(self, score: f64) -> bool {
        match self {
            ScoreBound::Incl(bound) => score > bound,
            ScoreBound::Excl(bound) => score >= bound,
        }
    }
}

impl LexBound<'_> {
    /// As a minimum: it excludes the member.
    fn is_above(self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => false,
            LexBound::Max => true,
            LexBound::Incl(bound) => member < bound,
            LexBound::Excl(bound) => member <= bound,
        }
    }

    /// As a maximum: it excludes the member.
    fn is_below(self, member: &[u8]) -> bool {
        match self {
            LexBound::Min => true,
            LexBound::Max => false,
            LexBound::Incl(bound) => member > bound,
            LexBound::Excl(bound) => member >= bound,
        }
    }
}

/// Members of a range of ranks with their scores, from both ends.
#[derive(Clone)]
pub enum ZIter<'a> {
    Compact {
        /// Exactly the pairs that are left.
        pairs: PackIter<'a>,
        left: usize,
    },
    Large(RankIter<'a>),
}

impl<'a> Iterator for ZIter<'a> {
    type Item = (Elem<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            ZIter::Compact { pairs, left } => {
                let (_, member) = pairs.next()?;
                let (_, score) = pairs.next()?;
                *left -= 1;
                Some((member, read_score(score)))
            }
            ZIter::Large(iter) => iter.next().map(|(member, score)| (Elem::Bytes(member), score)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            ZIter::Compact { left, .. } => *left,
            ZIter::Large(iter) => iter.len(),
        };
        (left, Some(left))
    }

    fn nth(&mut self, n: usize) -> Option<Self::Item> {
        if let ZIter::Large(iter) = self {
            return iter.nth(n).map(|(member, score)| (Elem::Bytes(member), score));
        }
        for _ in 0..n {
            self.next()?;
        }
        self.next()
    }
}

impl DoubleEndedIterator for ZIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            ZIter::Compact { pairs, left } => {
                let (_, score) = pairs.next_back()?;
                let (_, member) = pairs.next_back()?;
                *left -= 1;
                Some((member, read_score(score)))
            }
            ZIter::Large(iter) => iter.next_back().map(|(member, score)| (Elem::Bytes(member), score)),
        }
    }
}

impl ExactSizeIterator for ZIter<'_> {}

impl Large {
    fn new() -> Large {
        Large { order: RankTree::new(), scores: Dict::new() }
    }

    fn of(pack: &Listpack) -> Large {
        let mut large = Large::new();
        let mut buffer = itoa::Buffer::new();
        let pairs = ZIter::Compact { pairs: pack.iter(), left: pack.len() / 2 };
        for (member, score) in pairs {
            large.insert(member.bytes(&mut buffer), score);
        }
        large
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).map(|entry| score_of(entry.value))
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Outcome {
        match self.score(member) {
            Some(old) if old == score => Outcome::Same,
            Some(old) => {
                self.scores.insert(member, &score.to_le_bytes());
                self.order.rescore(old, member, score);
                Outcome::Updated(old)
            }
            None => {
                self.scores.insert(member, &score.to_le_bytes());
                self.order.insert(score, member);
                Outcome::Added
            }
        }
    }
}

/// The score beside a member in the dict: its eight bytes.
fn score_of(value: &[u8]) -> f64 {
    let bytes = value.try_into().expect("every score in the dict was stored as eight bytes");
    f64::from_le_bytes(bytes)
}

/// The member's position and score in a compact form.
fn find(pack: &Listpack, member: &[u8]) -> Option<(Pos, f64)> {
    let pos = pack.find(member, 2)?;
    Some((pos, score_after(pack, pos)))
}

fn score_after(pack: &Listpack, member: Pos) -> f64 {
    let score = pack.next(member).expect("a score follows every member");
    read_score(pack.at(score))
}

fn read_score(elem: Elem<'_>) -> f64 {
    match elem {
        Elem::Int(value) => value as f64,
        Elem::Bytes(text) => {
            let score = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            score.expect("every score in a listpack was printed by format_double")
        }
    }
}

/// Inserts a member that is not there, with its score as an integer or as text, as Redis does.
fn insert_in_order(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut buffer = itoa::Buffer::new();
    // From the back, where data that comes in order belongs.
    let mut at = pack.end();
    while let Some(score_pos) = pack.prev(at)
        && let Some(member_pos) = pack.prev(score_pos)
    {
        let elem = pack.at(member_pos);
        if compare((read_score(pack.at(score_pos)), elem.bytes(&mut buffer)), (score, member)) == Ordering::Less {
            break;
        }
        at = member_pos;
    }
    // The score first: then the member goes before it, and both positions are `at`.
    match whole(score) {
        Some(int) => pack.insert_at(at, int),
        None => pack.insert_at(at, format_double(score).as_bytes()),
    }
    pack.insert_at(at, member);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashSet};

    /// The model: scores by member, sorted when asked.
    #[derive(Clone, Default)]
    struct Model(BTreeMap<Vec<u8>, f64>);

    impl Model {
        fn sorted(&self) -> Vec<(Vec<u8>, f64)> {
            let mut list: Vec<_> = self.0.iter().map(|(m, s)| (m.clone(), *s)).collect();
            list.sort_by(|a, b| compare((a.1, &a.0), (b.1, &b.0)));
            list
        }
    }

    fn contents(set: &ZSet) -> Vec<(Vec<u8>, f64)> {
        set.iter().map(|(member, score)| (member.to_vec(), score)).collect()
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Vec<u8>, f64),
        InsertMany(u8, u16),
        Remove(u16),
        Rescore(u16, f64),
        Pop(bool),
        RemoveRange(u16, u16),
        RemoveScores(ScoreBound, ScoreBound),
        Freeze,
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-5i32..5).prop_map(f64::from),
            2 => any::<f64>().prop_filter("a number", |s| !s.is_nan()),
            1 => Just(-0.0),
            1 => Just(f64::INFINITY),
            1 => Just(f64::NEG_INFINITY),
            1 => -2.0..2.0f64,
            1 => any::<i64>().prop_map(|n| n as f64),
        ]
    }

    fn bound() -> impl Strategy<Value = ScoreBound> {
        (any::<bool>(), score()).prop_map(|(excl, s)| if excl { ScoreBound::Excl(s) } else { ScoreBound::Incl(s) })
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => "[ab]{0,3}".prop_map(String::into_bytes),
            4 => (-20i32..200).prop_map(|n| n.to_string().into_bytes()),
            1 => (0usize..100).prop_map(|n| vec![b'x'; n]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            10 => (member(), score()).prop_map(|(m, s)| Op::Insert(m, s)),
            1 => (any::<u8>(), 0u16..400).prop_map(|(kind, n)| Op::InsertMany(kind, n)),
            5 => any::<u16>().prop_map(Op::Remove),
            5 => (any::<u16>(), score()).prop_map(|(at, s)| Op::Rescore(at, s)),
            2 => any::<bool>().prop_map(Op::Pop),
            1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Op::RemoveRange(a, b)),
            1 => (bound(), bound()).prop_map(|(a, b)| Op::RemoveScores(a, b)),
            1 => Just(Op::Freeze),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn agrees_with_a_map(entries in prop_oneof![Just(0usize), Just(8), Just(128)], ops in proptest::collection::vec(op(), 1..60), min in bound(), max in bound()) {
            let limits = Limits { zset_entries: entries, ..Limits::default() };
            let (mut set, mut model, mut frozen) = (ZSet::new(), Model::default(), Vec::new());
            for op in ops {
                match op {
                    Op::Insert(member, score) => {
                        let expected = match model.0.insert(member.clone(), score) {
                            None => Outcome::Added,
                            Some(old) if old == score => Outcome::Same,
                            Some(old) => Outcome::Updated(old),
                        };
                        prop_assert_eq!(set.insert(&member, score, &limits), expected);
                    }
                    Op::InsertMany(kind, n) => for i in 0..n {
                        let member = format!("{}", i.wrapping_mul(40_503)).into_bytes();
                        let score = if kind % 2 == 0 { f64::from(i % 7) } else { f64::from(i) / 8.0 };
                        set.insert(&member, score, &limits);
                        model.0.insert(member, score);
                    },
                    Op::Remove(at) if !set.is_empty() => {
                        let (member, score) = model.sorted().swap_remove(usize::from(at) % set.len());
                        model.0.remove(&member);
                        prop_assert_eq!(set.remove(&member), Some(score));
                        prop_assert_eq!(set.remove(&member), None);
                    }
                    Op::Rescore(at, new) if !set.is_empty() => {
                        let (member, old) = model.sorted().swap_remove(usize::from(at) % set.len());
                        model.0.insert(member.clone(), new);
                        let expected = if old == new { Outcome::Same } else { Outcome::Updated(old) };
                        prop_assert_eq!(set.insert(&member, new, &limits), expected);
                    }
                    Op::Pop(max) => {
                        let sorted = model.sorted();
                        let expected = if max { sorted.last() } else { sorted.first() }.cloned();
                        if let Some((member, _)) = &expected {
                            model.0.remove(member);
                        }
                        prop_assert_eq!(if max { set.pop_max() } else { set.pop_min() }, expected);
                    }
                    Op::RemoveRange(a, b) => {
                        let (a, b) = (usize::from(a) % (set.len() + 1), usize::from(b) % (set.len() + 1));
                        let sorted = model.sorted();
                        prop_assert_eq!(set.remove_range(a.min(b)..a.max(b)), a.abs_diff(b));
                        sorted[a.min(b)..a.max(b)].iter().for_each(|(m, _)| { model.0.remove(m); });
                    }
                    Op::RemoveScores(min, max) => {
                        let ranks = set.score_ranks(min, max);
                        let removed = set.remove_range(ranks);
                        let before = model.0.len();
                        model.0.retain(|_, s| min.is_above(*s) || max.is_below(*s));
                        prop_assert_eq!(before - model.0.len(), removed);
                    }
                    Op::Freeze => frozen.push((set.freeze(), model.clone())),
                    _ => {}
                }
                prop_assert_eq!(set.len(), model.0.len());
            }
            frozen.push((set, model));
            for (set, model) in frozen {
                let sorted = model.sorted();
                prop_assert_eq!(&contents(&set), &sorted);
                for (rank, (member, score)) in sorted.iter().enumerate() {
                    prop_assert_eq!(set.score(member), Some(*score));
                    prop_assert_eq!(set.rank(member), Some((rank, *score)));
                    let found = set.by_rank(rank).map(|(m, s)| (m.to_vec(), s));
                    prop_assert_eq!(found, Some((member.clone(), *score)));
                }
                prop_assert!(set.by_rank(sorted.len()).is_none());
                prop_assert_eq!(set.rank(b"nobody"), None);
                let (a, b) = (sorted.len() / 3, sorted.len() / 3 * 2);
                let part: Vec<_> = set.range(a..b).map(|(m, s)| (m.to_vec(), s)).collect();
                prop_assert_eq!(&part[..], &sorted[a..b]);
                let mut part: Vec<_> = set.range(a..b).rev().map(|(m, s)| (m.to_vec(), s)).collect();
                part.reverse();
                prop_assert_eq!(&part[..], &sorted[a..b]);
                prop_assert_eq!(set.range(a..b).nth(2).map(|e| e.1), sorted[a..b].get(2).map(|e| e.1));
                let ranks = set.score_ranks(min, max);
                let inside = |s: f64| !min.is_above(s) && !max.is_below(s);
                for (rank, (_, score)) in sorted.iter().enumerate() {
                    prop_assert_eq!(ranks.contains(&rank), inside(*score));
                }
                let mut seen = HashSet::new();
                let mut cursor = 0;
                loop {
                    cursor = set.scan(cursor, 10, |member, score| { seen.insert((member.to_vec(), score.to_bits())); });
                    if cursor == 0 {
                        break;
                    }
                }
                prop_assert_eq!(seen.len(), sorted.len());
                prop_assert!(sorted.iter().all(|(m, s)| seen.contains(&(m.clone(), (s + 0.0).to_bits()))));
            }
        }

        #[test]
        fn ranges_of_members(entries in prop_oneof![Just(0usize), Just(1000)], members in proptest::collection::btree_set("[ab1]{0,4}", 0..100), min in "[ab1]{0,4}", max in "[ab1]{0,4}", kind in 0..16) {
            let limits = Limits { zset_entries: entries, ..Limits::default() };
            let mut set = ZSet::new();
            for member in &members {
                set.insert(member.as_bytes(), 1.5, &limits);
            }
            fn bound(kind: i32, bytes: &[u8]) -> LexBound<'_> {
                match kind % 4 {
                    0 => LexBound::Min,
                    1 => LexBound::Max,
                    2 => LexBound::Incl(bytes),
                    _ => LexBound::Excl(bytes),
                }
            }
            let (min, max) = (bound(kind, min.as_bytes()), bound(kind / 4, max.as_bytes()));
            let ranks = set.lex_ranks(min, max);
            for (rank, member) in members.iter().enumerate() {
                prop_assert_eq!(ranks.contains(&rank), !min.is_above(member.as_bytes()) && !max.is_below(member.as_bytes()));
            }
        }
    }

    #[test]
    fn the_encoding_follows_the_limits() {
        let limits = Limits::default();
        let mut set = ZSet::new();
        for i in 0..128 {
            set.insert(format!("member {i}").as_bytes(), f64::from(i), &limits);
        }
        assert_eq!(set.encoding(), "listpack");
        set.insert(b"member 5", 77.0, &limits);
        assert_eq!(set.encoding(), "listpack");
        set.insert(b"one more", 1.0, &limits);
        assert_eq!(set.encoding(), "skiplist");
        let mut set = ZSet::new();
        set.insert(&[b'x'; 65], 1.0, &limits);
        assert_eq!(set.encoding(), "skiplist");
    }

    #[test]
    fn a_frozen_set_does_not_change() {
        let limits = Limits::default();
        let mut set = ZSet::new();
        for i in 0..50_000u32 {
            set.insert(format!("member {i}").as_bytes(), f64::from(i), &limits);
        }
        let frozen = set.freeze();
        for i in 0..50_000u32 {
            match i % 3 {
                0 => drop(set.remove(format!("member {i}").as_bytes())),
                1 => drop(set.insert(format!("member {i}").as_bytes(), -1.0, &limits)),
                _ => drop(set.insert(format!("other {i}").as_bytes(), f64::from(i), &limits)),
            }
        }
        assert_eq!(frozen.len(), 50_000);
        for (i, (member, score)) in frozen.iter().enumerate() {
            assert_eq!(score, i as f64);
            assert!(member.is(format!("member {i}").as_bytes()));
        }
        assert_eq!(frozen.rank(b"member 30000"), Some((30_000, 30_000.0)));
    }

    #[test]
    fn scanning_sees_what_stays_while_others_come_and_go() {
        let limits = Limits::default();
        let mut set = ZSet::new();
        for i in 0..5_000 {
            set.insert(format!("stays {i}").as_bytes(), f64::from(i), &limits);
        }
        let mut seen = HashSet::new();
        let (mut cursor, mut round) = (0, 0);
        loop {
            cursor = set.scan(cursor, 10, |member, _| { seen.insert(member.to_vec()); });
            for i in 0..20 {
                set.insert(format!("comes {round} {i}").as_bytes(), f64::from(i), &limits);
                set.remove(format!("comes {} {i}", round - 3).as_bytes());
            }
            round += 1;
            if cursor == 0 {
                break;
            }
        }
        assert!((0..5_000).all(|i| seen.contains(format!("stays {i}").as_bytes())));
    }

    #[test]
    fn members_take_little_memory() {
        let limits = Limits::default();
        for (name, step) in [("in order", 1u32), ("at random", 2_654_435_761)] {
            let mut set = ZSet::new();
            for i in 0..100_000u32 {
                set.insert(format!("memb{i:06}").as_bytes(), f64::from(i.wrapping_mul(step)), &limits);
            }
            let Form::Large(large) = &set.form else { unreachable!("100,000 members are many") };
            let (all, order) = (set.allocated() as f64 / 1e5, large.order.allocated() as f64 / 1e5);
            println!("zset, inserted {name}: {all:.1} bytes for a member of 10, {order:.1} of them for the order");
            assert!(all < 65.0);
        }
        assert!(size_of::<ZSet>() <= 16);
    }
}
