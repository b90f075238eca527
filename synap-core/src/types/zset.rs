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

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use super::dict::Dict;
use super::listpack::{Iter as PackIter, Listpack, Pos};
use super::rank_tree::{RankIter, RankTree, compare};
use super::sample::{self, Numbers, below};
use super::score::{format_double, parse_double, whole};
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
            Form::Large(large) => {
                Form::Large(Box::new(Large { order: large.order.clone(), scores: large.scores.freeze() }))
            }
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
            Form::Large(large) => {
                large.scores.scan(cursor, count, |entry| visit(Elem::Bytes(entry.key), score_of(entry.value)))
            }
        }
    }

    /// A member chosen by a random number.
    pub fn random(&self, random: u64) -> Option<(Elem<'_>, f64)> {
        self.by_rank(below(random, self.len()))
    }

    /// Different members chosen by chance, `count` or all, in their order.
    pub fn sample(&self, count: usize, random: u64) -> Vec<(Elem<'_>, f64)> {
        let mut ranks = sample::indices(self.len(), count, &mut Numbers(random));
        ranks.sort_unstable();
        let (mut members, mut next) = (self.iter(), 0);
        let pick = |rank: usize| members.nth(rank - std::mem::replace(&mut next, rank + 1));
        ranks.into_iter().filter_map(pick).collect()
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
        self.allocated_about(usize::MAX)
    }

    /// The same when at most so many chunks of a large form are looked at, and the others are taken to be like them.
    pub fn allocated_about(&self, samples: usize) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.allocated(),
            Form::Large(large) => {
                let (order, scores) = (large.order.allocated_about(samples), large.scores.allocated_about(samples));
                size_of::<Large>() + order + scores - size_of::<Dict>()
            }
        }
    }

    /// A sorted set of the members and scores of a listpack, which come from outside: none when a member has no score, or
    /// one that is no number, or is there twice.
    pub fn of_listpack(pack: Listpack, limits: &Limits) -> Option<ZSet> {
        if !pack.len().is_multiple_of(2) || !pack.are_distinct(2) {
            return None;
        }
        let fits = pack.len() / 2 <= limits.zset_entries
            && !pack.iter().step_by(2).any(|(_, member)| member.is_longer_than(limits.zset_value_bytes));
        if fits && is_ours(&pack) {
            return Some(ZSet { form: Form::Compact(pack) });
        }
        let mut zset = ZSet::new();
        let mut buffer = itoa::Buffer::new();
        let mut elems = pack.iter().map(|(_, elem)| elem);
        while let (Some(member), Some(score)) = (elems.next(), elems.next()) {
            zset.insert(member.bytes(&mut buffer), outside_score(score)?, limits);
        }
        Some(zset)
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

/// A score that somebody else wrote.
fn outside_score(elem: Elem<'_>) -> Option<f64> {
    match elem {
        Elem::Int(value) => Some(value as f64),
        Elem::Bytes(text) => parse_double(text),
    }
}

/// The same if [`read_score`] reads it, and finds an integer where we would keep one.
fn score_as_ours(elem: Elem<'_>) -> Option<f64> {
    match elem {
        Elem::Int(value) => (whole(value as f64) == Some(value)).then_some(value as f64),
        Elem::Bytes(text) => {
            let score: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            let is_told = score.is_finite() || matches!(text, b"inf" | b"-inf");
            (is_told && whole(score).is_none()).then_some(score)
        }
    }
}

/// Whether members and scores are in our order, and the scores as we read them: others may print doubles otherwise.
fn is_ours(pack: &Listpack) -> bool {
    let mut elems = pack.iter().map(|(_, elem)| elem);
    let mut last: Option<(f64, Elem<'_>)> = None;
    let mut buffers = [itoa::Buffer::new(); 2];
    let [for_last, for_member] = &mut buffers;
    while let (Some(member), Some(elem)) = (elems.next(), elems.next()) {
        let Some(score) = score_as_ours(elem) else { return false };
        let is_ordered = last.is_none_or(|(before, last)| {
            compare((before, last.bytes(for_last)), (score, member.bytes(for_member))) == Ordering::Less
        });
        if !is_ordered {
            return false;
        }
        last = Some((score, member));
    }
    true
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
