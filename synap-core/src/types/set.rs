//! A set: sorted integers, then a listpack, then a [`Dict`], as it grows. It never goes back.

pub mod algebra;

use super::dict::{self, Dict};
use super::intset::IntSet;
use super::listpack::{self, Listpack};
use super::sample::{self, Numbers, below};
use super::{Elem, Limits, parse_int};

/// See the module.
pub struct Set(Form);

enum Form {
    Ints(IntSet),
    Pack(Listpack),
    Dict(Box<Dict>),
}

impl Set {
    pub const fn new() -> Set {
        Set(Form::Ints(IntSet::new()))
    }

    /// A set of these members, which need not differ, in the form that it has when they come one after the other.
    pub fn of<'a>(members: impl IntoIterator<Item = Elem<'a>>, limits: &Limits) -> Set {
        let mut set = Set::new();
        for member in members {
            set.add(member, limits);
        }
        set
    }

    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.len(),
            Form::Pack(pack) => pack.len(),
            Form::Dict(dict) => dict.len(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As OBJECT ENCODING says it.
    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Ints(_) => "intset",
            Form::Pack(_) => "listpack",
            Form::Dict(_) => "hashtable",
        }
    }

    /// Says that `count` members will be added, beginning with `first`, so that the right form is taken at once. Redis decides by
    /// this, too: a new set for 200 words is never a listpack, even when they are all the same.
    pub fn expect(&mut self, first: &[u8], count: usize, limits: &Limits) {
        if self.is_empty() {
            self.0 = if parse_int(first).is_some() && count <= limits.set_intset_entries {
                Form::Ints(IntSet::new())
            } else if count <= limits.set_entries {
                Form::Pack(Listpack::new())
            } else {
                Form::Dict(Box::default())
            };
            return;
        }
        let too_many = match &self.0 {
            Form::Ints(_) => count > limits.set_intset_entries,
            Form::Pack(_) => count > limits.set_entries,
            Form::Dict(_) => false,
        };
        if too_many {
            self.make_dict();
        }
    }

    /// True when it is new.
    pub fn add<'e>(&mut self, member: impl Into<Elem<'e>>, limits: &Limits) -> bool {
        let member = member.into();
        match &mut self.0 {
            Form::Dict(dict) => dict.insert(member.bytes(&mut itoa::Buffer::new()), b""),
            Form::Ints(ints) => match int(member) {
                Some(value) if limits.set_intset_entries > 0 || !ints.is_empty() => {
                    let added = ints.insert(value);
                    if added && ints.len() > limits.set_intset_entries {
                        self.make_dict();
                    }
                    added
                }
                _ => {
                    self.leave_ints(limits);
                    self.add(member, limits)
                }
            },
            Form::Pack(pack) => {
                if pack.find(member, 1).is_some() {
                    return false;
                }
                let len = member.len();
                if pack.len() < limits.set_entries && len <= limits.set_value_bytes && pack.has_room_for(1, len) {
                    pack.push_back(member);
                    return true;
                }
                self.make_dict();
                self.add(member, limits)
            }
        }
    }

    pub fn remove<'e>(&mut self, member: impl Into<Elem<'e>>) -> bool {
        let member = member.into();
        match &mut self.0 {
            Form::Ints(ints) => int(member).is_some_and(|value| ints.remove(value)),
            Form::Pack(pack) => match pack.find(member, 1) {
                Some(pos) => {
                    pack.remove(pos);
                    true
                }
                None => false,
            },
            Form::Dict(dict) => dict.remove(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    /// An integer is formatted only to look it up in a large set.
    #[inline]
    pub fn contains<'e>(&self, member: impl Into<Elem<'e>>) -> bool {
        let member = member.into();
        match &self.0 {
            Form::Ints(ints) => int(member).is_some_and(|value| ints.contains(value)),
            Form::Pack(pack) => pack.find(member, 1).is_some(),
            Form::Dict(dict) => dict.contains(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(match &self.0 {
            Form::Ints(ints) => FormIter::Ints(ints, 0),
            Form::Pack(pack) => FormIter::Pack(pack.iter()),
            Form::Dict(dict) => FormIter::Dict(dict.iter()),
        })
    }

    /// Visits about `count` members from `cursor` on (0 to begin), returns the next cursor (0 at the end). A compact set is
    /// visited as a whole.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Elem<'a>)) -> u64 {
        match &self.0 {
            Form::Dict(dict) => dict.scan(cursor, count, |entry| visit(Elem::Bytes(entry.key))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A member chosen by a random number, each with the same probability.
    pub fn random(&self, random: u64) -> Option<Elem<'_>> {
        match &self.0 {
            Form::Ints(ints) => ints.random(random).map(Elem::Int),
            Form::Pack(pack) => pack.get(below(random, pack.len())),
            Form::Dict(dict) => dict.random(random).map(|entry| Elem::Bytes(entry.key)),
        }
    }

    /// `count` different members, or all there are, each with the same probability; in no particular order.
    pub fn sample(&self, count: usize, random: u64) -> Vec<Elem<'_>> {
        let numbers = &mut Numbers(random);
        match &self.0 {
            Form::Ints(ints) => {
                let indices = sample::indices(ints.len(), count, numbers);
                indices.into_iter().filter_map(|index| ints.get(index)).map(Elem::Int).collect()
            }
            Form::Pack(_) => sample::choose(self.iter(), count, numbers),
            Form::Dict(dict) => dict.sample(count, random).into_iter().map(|entry| Elem::Bytes(entry.key)).collect(),
        }
    }

    /// Removes one chosen in the same way.
    pub fn pop_random(&mut self, random: u64) -> Option<Vec<u8>> {
        match &mut self.0 {
            Form::Ints(ints) => {
                let value = ints.random(random)?;
                ints.remove(value);
                Some(Elem::Int(value).to_vec())
            }
            Form::Pack(pack) => {
                let pos = pack.pos_of(below(random, pack.len()))?;
                let member = pack.at(pos).to_vec();
                pack.remove(pos);
                Some(member)
            }
            Form::Dict(dict) => dict.pop_random(random),
        }
    }

    /// A copy that shares what is large.
    pub fn freeze(&self) -> Set {
        Set(match &self.0 {
            Form::Ints(ints) => Form::Ints(ints.clone()),
            Form::Pack(pack) => Form::Pack(pack.clone()),
            Form::Dict(dict) => Form::Dict(Box::new(dict.freeze())),
        })
    }

    /// Bytes asked of the allocator.
    pub fn allocated(&self) -> usize {
        self.allocated_about(usize::MAX)
    }

    /// The same when at most so many chunks of a large form are looked at, and the others are taken to be like them.
    pub fn allocated_about(&self, samples: usize) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.allocated(),
            Form::Pack(pack) => pack.allocated(),
            Form::Dict(dict) => dict.allocated_about(samples),
        }
    }

    /// The integers, when it is an intset.
    pub fn as_intset(&self) -> Option<&IntSet> {
        match &self.0 {
            Form::Ints(ints) => Some(ints),
            _ => None,
        }
    }

    /// The members, when it is a listpack.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Pack(pack) => Some(pack),
            _ => None,
        }
    }

    /// A set of the members of a listpack, which come from outside: none when one is there twice.
    pub fn of_listpack(pack: Listpack, limits: &Limits) -> Option<Set> {
        if !pack.are_distinct(1) {
            return None;
        }
        let fits = pack.len() <= limits.set_entries
            && !pack.iter().any(|(_, elem)| elem.is_longer_than(limits.set_value_bytes));
        let mut set = Set(Form::Pack(pack));
        if !fits {
            set.make_dict();
        }
        Some(set)
    }

    pub fn of_intset(ints: IntSet, limits: &Limits) -> Set {
        let fits = ints.len() <= limits.set_intset_entries;
        let mut set = Set(Form::Ints(ints));
        if !fits {
            set.make_dict();
        }
        set
    }

    /// A member comes that is no integer.
    fn leave_ints(&mut self, limits: &Limits) {
        let Form::Ints(ints) = &self.0 else { return };
        let digits = [ints.get(0), ints.iter().next_back()].into_iter().flatten().map(|value| Elem::Int(value).len());
        let fits = ints.len() < limits.set_entries && digits.max().unwrap_or(0) <= limits.set_value_bytes;
        if !fits {
            return self.make_dict();
        }
        let mut pack = Listpack::new();
        ints.iter().for_each(|value| pack.push_back(value));
        self.0 = Form::Pack(pack);
    }

    fn make_dict(&mut self) {
        let mut dict = Dict::new();
        let mut buffer = itoa::Buffer::new();
        for member in self.iter() {
            dict.insert(member.bytes(&mut buffer), b"");
        }
        self.0 = Form::Dict(Box::new(dict));
    }
}

impl Default for Set {
    fn default() -> Set {
        Set::new()
    }
}

/// The members of a [`Set`].
#[derive(Clone)]
pub struct Iter<'a>(FormIter<'a>);

#[derive(Clone)]
enum FormIter<'a> {
    Ints(&'a IntSet, usize),
    Pack(listpack::Iter<'a>),
    Dict(dict::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        match &mut self.0 {
            FormIter::Ints(ints, index) => {
                let value = ints.get(*index)?;
                *index += 1;
                Some(Elem::Int(value))
            }
            FormIter::Pack(iter) => iter.next().map(|(_, elem)| elem),
            FormIter::Dict(iter) => iter.next().map(|entry| Elem::Bytes(entry.key)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            FormIter::Ints(ints, index) => ints.len() - index,
            FormIter::Pack(iter) => iter.len(),
            FormIter::Dict(iter) => iter.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[inline]
fn int(elem: Elem<'_>) -> Option<i64> {
    match elem {
        Elem::Int(value) => Some(value),
        Elem::Bytes(bytes) => parse_int(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn members(set: &Set) -> BTreeSet<Vec<u8>> {
        assert_eq!((set.iter().len(), set.iter().count()), (set.len(), set.len()));
        set.iter().map(Elem::to_vec).collect()
    }

    fn filled(members: impl IntoIterator<Item = String>, limits: &Limits) -> Set {
        let mut set = Set::new();
        members.into_iter().for_each(|member| assert!(set.add(member.as_bytes(), limits)));
        set
    }

    #[test]
    fn a_handle_is_small() {
        assert_eq!((size_of::<Set>(), align_of::<Set>()), (16, 8));
    }

    #[test]
    fn the_encoding_follows_the_limits() {
        let limits = Limits::default();
        let ints = |count: i64| (0..count).map(|i| i.to_string());
        let words = |count: i64| (0..count).map(|i| format!("w{i}"));
        let encoding = |members: &mut dyn Iterator<Item = String>| filled(members, &limits).encoding();
        assert_eq!(encoding(&mut ints(512)), "intset");
        assert_eq!(encoding(&mut ints(513)), "hashtable");
        assert_eq!(encoding(&mut words(128)), "listpack");
        assert_eq!(encoding(&mut words(129)), "hashtable");
        assert_eq!(encoding(&mut ints(127).chain(words(1))), "listpack");
        assert_eq!(encoding(&mut ints(128).chain(words(1))), "hashtable");
        assert_eq!(encoding(&mut words(1).chain(["x".repeat(64)])), "listpack");
        assert_eq!(encoding(&mut words(1).chain(["x".repeat(65)])), "hashtable");
        assert_eq!(encoding(&mut ["x".repeat(65)].into_iter()), "hashtable");

        let none = Limits { set_intset_entries: 0, ..limits };
        assert_eq!(filled(ints(5), &none).encoding(), "listpack");
        let none = Limits { set_intset_entries: 0, set_entries: 0, ..limits };
        assert_eq!(filled(ints(5), &none).encoding(), "hashtable");
    }

    #[test]
    fn what_is_expected_decides_the_form() {
        let limits = Limits::default();
        let form = |first: &[u8], count| {
            let mut set = Set::new();
            set.expect(first, count, &limits);
            set.add(first, &limits);
            set.encoding()
        };
        assert_eq!(
            [form(b"1", 512), form(b"1", 513), form(b"a", 128), form(b"a", 129)],
            ["intset", "hashtable", "listpack", "hashtable"]
        );
        let mut set = filled(["a".to_string()], &limits);
        set.expect(b"b", 128, &limits);
        assert_eq!(set.encoding(), "listpack");
        set.expect(b"b", 129, &limits);
        assert_eq!((set.encoding(), set.contains(b"a")), ("hashtable", true));
    }

    #[test]
    fn what_is_frozen_stays() {
        let limits = Limits::default();
        for count in [10, 100, 5000] {
            let mut set = filled((0..count).map(|i| format!("member{i}")), &limits);
            let before = members(&set);
            let frozen = set.freeze();
            for i in 0..count {
                set.remove(format!("member{i}").as_bytes());
                set.add(format!("other{i}").as_bytes(), &limits);
            }
            assert_eq!(members(&frozen), before);
        }
    }

    #[test]
    fn ten_members_take_no_more_than_in_valkey() {
        // Valkey: a listpack of 7 bytes and 10 for each member of 8; then 16 of object.
        let set = filled((0..10).map(|i| format!("member{i:02}")), &Limits::default());
        assert_eq!(set.allocated(), 112);
    }

    #[test]
    fn every_member_is_as_probable_in_every_form() {
        let limits = Limits::default();
        let forms = [
            filled((0..40).map(|i| i.to_string()), &limits),
            filled((0..40).map(|i| format!("m{i}")), &limits),
            filled((0..4000).map(|i| format!("m{i}")), &limits),
        ];
        assert_eq!(forms.each_ref().map(Set::encoding), ["intset", "listpack", "hashtable"]);
        for set in forms {
            let len = set.len();
            // Few and most of them: they are picked in different ways.
            for count in [len / 10, len / 2] {
                let mut counts = std::collections::BTreeMap::<Vec<u8>, usize>::new();
                let rounds = 40_000 / count;
                for round in 0..rounds {
                    let sample = set.sample(count, round as u64 * 7919);
                    assert_eq!(sample.len(), count);
                    sample.into_iter().for_each(|member| *counts.entry(member.to_vec()).or_default() += 1);
                }
                let expected = (rounds * count) as f64 / len as f64;
                let square = |found: usize| (found as f64 - expected).powi(2) / expected;
                let missing = (len - counts.len()) as f64 * expected;
                let deviation = (counts.values().map(|&found| square(found)).sum::<f64>() + missing) / len as f64;
                assert!(deviation < 1.5, "{} {count}: {deviation}", set.encoding());
            }
        }
    }

    fn member() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => (-60i64..60).prop_map(|i| i.to_string().into_bytes()),
            1 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
            2 => (0u8..60).prop_map(|i| format!("m{i}").into_bytes()),
            1 => (0usize..30).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(
            steps in prop::collection::vec((0u8..10, member(), any::<u64>()), 0..150),
            ints in 0usize..30, entries in 0usize..40,
        ) {
            let limits = Limits { set_intset_entries: ints, set_entries: entries, set_value_bytes: 20, ..Limits::default() };
            let (mut set, mut model) = (Set::new(), BTreeSet::new());
            for (step, member, random) in steps {
                match step {
                    0..6 => prop_assert_eq!(set.add(&member[..], &limits), model.insert(member.clone())),
                    6..8 => prop_assert_eq!(set.remove(&member[..]), model.remove(&member)),
                    8 => match set.pop_random(random) {
                        Some(member) => prop_assert!(model.remove(&member)),
                        None => prop_assert!(model.is_empty()),
                    },
                    _ => {
                        match set.random(random) {
                            Some(member) => prop_assert!(model.contains(&member.to_vec())),
                            None => prop_assert!(model.is_empty()),
                        }
                        let count = random as usize % 20;
                        let sample: BTreeSet<_> = set.sample(count, random).into_iter().map(Elem::to_vec).collect();
                        prop_assert!(sample.len() == count.min(model.len()) && sample.is_subset(&model));
                    }
                }
                prop_assert_eq!(set.contains(&member[..]), model.contains(&member));
                if let Some(value) = parse_int(&member) {
                    prop_assert_eq!(set.contains(value), model.contains(&member));
                }
            }
            prop_assert_eq!(&members(&set), &model);
            let mut seen = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = set.scan(cursor, 7, |member| {
                    seen.insert(member.to_vec());
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert_eq!(&seen, &model);
        }
    }
}
