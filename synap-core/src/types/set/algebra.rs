//! Union, intersection and difference of sets. Members are shown where they are, nothing is copied.

use hashbrown::HashSet;

use super::Set;
use crate::types::intset::IntSet;
use crate::types::{Elem, parse_int};

/// A member in the one form that is equal for equal members: compact sets hold integers, large ones their digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Member<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Member<'a> {
    fn of(elem: Elem<'a>) -> Member<'a> {
        match elem {
            Elem::Int(value) => Member::Int(value),
            Elem::Bytes(bytes) => parse_int(bytes).map_or(Member::Bytes(bytes), Member::Int),
        }
    }

    fn elem(self) -> Elem<'a> {
        match self {
            Member::Int(value) => Elem::Int(value),
            Member::Bytes(bytes) => Elem::Bytes(bytes),
        }
    }
}

/// The members that all sets have, at most `limit` of them. Goes through the smallest set.
pub fn intersection<'a>(mut sets: Vec<&'a Set>, limit: usize) -> Vec<Elem<'a>> {
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return Vec::new() };
    if let Some(ints) = smallest.as_intset()
        && let Some(others) = others.iter().map(|set| set.as_intset()).collect::<Option<Vec<_>>>()
    {
        return common_ints(ints, &others).take(limit).map(Elem::Int).collect();
    }
    smallest.iter().filter(|member| others.iter().all(|other| other.contains(*member))).take(limit).collect()
}

/// All are sorted, so each is passed once.
fn common_ints<'a>(smallest: &'a IntSet, others: &'a [&'a IntSet]) -> impl Iterator<Item = i64> + 'a {
    let mut places = vec![0; others.len()];
    smallest.iter().filter(move |&value| {
        others.iter().zip(&mut places).all(|(other, place)| {
            *place = other.seek(*place, value);
            other.get(*place) == Some(value)
        })
    })
}

/// The members that some set has.
pub fn union<'a>(sets: &[&'a Set]) -> Vec<Elem<'a>> {
    if let [only] = sets {
        return only.iter().collect();
    }
    if let Some(sets) = sets.iter().map(|set| set.as_intset()).collect::<Option<Vec<_>>>() {
        let mut ints: Vec<i64> = sets.iter().flat_map(|set| set.iter()).collect();
        ints.sort_unstable();
        ints.dedup();
        return ints.into_iter().map(Elem::Int).collect();
    }
    let mut seen = HashSet::with_capacity(sets.iter().map(|set| set.len()).max().unwrap_or(0));
    let mut all = Vec::with_capacity(seen.capacity());
    for set in sets {
        all.extend(set.iter().filter(|member| seen.insert(Member::of(*member))));
    }
    all
}

/// The members of `first` that no other set has.
pub fn difference<'a>(first: &'a Set, mut others: Vec<&'a Set>) -> Vec<Elem<'a>> {
    // Asking all others for each member of the first takes at most so many questions, and often fewer: that is worth a
    // half. The other way takes out of the first what the others have.
    let questions = first.len().saturating_mul(others.len()) / 2;
    let removals = others.iter().fold(first.len(), |sum, set| sum.saturating_add(set.len()));
    if questions <= removals {
        // The largest knows most.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        return first.iter().filter(|member| !others.iter().any(|other| other.contains(*member))).collect();
    }
    let mut left: HashSet<Member<'_>> = first.iter().map(Member::of).collect();
    for other in others {
        for member in other.iter() {
            left.remove(&Member::of(member));
        }
        if left.is_empty() {
            break;
        }
    }
    left.into_iter().map(Member::elem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Limits;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Model = BTreeSet<Vec<u8>>;

    fn members(elems: Vec<Elem<'_>>) -> Model {
        let count = elems.len();
        let set: Model = elems.into_iter().map(Elem::to_vec).collect();
        assert_eq!(set.len(), count, "a member came twice");
        set
    }

    fn model() -> impl Strategy<Value = Model> {
        let member = prop_oneof![
            5 => (-30i64..30).prop_map(|i| i.to_string().into_bytes()),
            1 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
        ];
        let word = prop_oneof![member.clone(), (0u8..30).prop_map(|i| format!("m{i}").into_bytes())];
        prop_oneof![prop::collection::btree_set(member, 0..60), prop::collection::btree_set(word, 0..60)]
    }

    proptest! {
        /// Sets of all forms among each other.
        #[test]
        fn agrees_with_sorted_sets(
            models in prop::collection::vec((model(), 0usize..80, 0usize..80), 1..6), limit in 0usize..40,
        ) {
            let made: Vec<Set> = models.iter().map(|(model, ints, entries)| {
                let limits = Limits { set_intset_entries: *ints, set_entries: *entries, ..Limits::default() };
                Set::of(model.iter().map(|member| Elem::Bytes(member)), &limits)
            }).collect();
            let sets: Vec<&Set> = made.iter().collect();
            let models: Vec<&Model> = models.iter().map(|(model, ..)| model).collect();
            let all = |a: Model, b: &&Model| a.union(b).cloned().collect::<Model>();
            prop_assert_eq!(members(union(&sets)), models.iter().fold(Model::new(), all));
            let common = models[1..].iter().fold(models[0].clone(), |a, b| a.intersection(b).cloned().collect());
            let some = members(intersection(sets.clone(), limit));
            prop_assert!(some.len() == limit.min(common.len()) && some.is_subset(&common));
            prop_assert_eq!(members(intersection(sets.clone(), usize::MAX)), common);
            let rest = models[1..].iter().fold(models[0].clone(), |a, b| a.difference(b).cloned().collect());
            prop_assert_eq!(members(difference(sets[0], sets[1..].to_vec())), rest);
        }
    }
}
