//! A hash: a listpack of fields and values, with a third element each when some field expires, then a [`Dict`] as it grows.
//! It never goes back.
//!
//! Time does nothing here. Fields that are due are read like others until [`Hash::take_due`] removes them; who may not remove them
//! (a follower, a load) asks the `_live` methods, which do not see them.

use super::dict::{self, Dict, Entry};
use super::listpack::{self, Listpack, Pos};
use super::sample::{self, Numbers, below};
use super::{Elem, Limits};

/// See the module.
pub struct Hash(Form);

enum Form {
    /// Field, value; field, value …
    Pack(Listpack),
    Expiring(Box<Expiring>),
    Dict(Box<Dict>),
}

/// The compact form once a field has had an expiry.
#[derive(Clone)]
struct Expiring {
    /// Field, value, expiry; the expiry is an empty string when there is none.
    pack: Listpack,
    /// Fields with an expiry.
    count: usize,
    /// The earliest of them.
    due: i64,
}

/// What [`Hash::set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    Added,
    Replaced,
}

/// One field with its value, and when it expires, in milliseconds.
pub type Field<'a> = (Elem<'a>, Elem<'a>, Option<i64>);

impl Hash {
    pub const fn new() -> Hash {
        Hash(Form::Pack(Listpack::new()))
    }

    /// Number of fields.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Pack(pack) => pack.len() / 2,
            Form::Expiring(expiring) => expiring.pack.len() / 3,
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
            Form::Pack(_) => "listpack",
            Form::Expiring(_) => "listpackex",
            Form::Dict(_) => "hashtable",
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Elem<'_>> {
        match &self.0 {
            Form::Pack(pack) => pack.next(pack.find(field, 2)?).map(|pos| pack.at(pos)),
            _ => self.get_entry(field).map(|(value, _)| value),
        }
    }

    /// The value of a field and its expiry.
    pub fn get_entry(&self, field: &[u8]) -> Option<(Elem<'_>, Option<i64>)> {
        match &self.0 {
            Form::Pack(pack) => pack.next(pack.find(field, 2)?).map(|pos| (pack.at(pos), None)),
            Form::Expiring(expiring) => {
                let (value, expiry) = expiring.find(field)?;
                Some((expiring.pack.at(value), expiring.expiry_at(expiry)))
            }
            Form::Dict(dict) => dict.get(field).map(|entry| (Elem::Bytes(entry.value), entry.expiry)),
        }
    }

    #[inline]
    pub fn contains(&self, field: &[u8]) -> bool {
        match &self.0 {
            Form::Pack(pack) => pack.find(field, 2).is_some(),
            Form::Expiring(expiring) => expiring.pack.find(field, 3).is_some(),
            Form::Dict(dict) => dict.contains(field),
        }
    }

    /// Says that `count` fields will be set, so that the right form is taken at once, with room for `words` (fields and values)
    /// when they are the first. As in Redis, more fields than a listpack may have make a large hash, even when they are the same.
    pub fn expect<'w>(&mut self, count: usize, words: impl Iterator<Item = &'w [u8]>, limits: &Limits) {
        if count > limits.hash_entries {
            self.make_dict();
        } else if let Form::Pack(pack) = &mut self.0
            && pack.is_empty()
            && count > 1
        {
            let bytes = words.map(Listpack::encoded_len).fold(0, usize::saturating_add);
            if bytes <= limits.hash_value_bytes.saturating_mul(4 * count) {
                *pack = Listpack::with_capacity(bytes);
            }
        }
    }

    /// Sets a field. It does not expire any more.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> SetOutcome {
        self.put(field, value, Some(None), limits)
    }

    /// Sets a field; one that was there keeps its expiry.
    pub fn set_keep_ttl(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> SetOutcome {
        self.put(field, value, None, limits)
    }

    /// Sets a field and its expiry.
    pub fn set_until(&mut self, field: &[u8], value: &[u8], expiry: Option<i64>, limits: &Limits) -> SetOutcome {
        self.put(field, value, Some(expiry), limits)
    }

    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Pack(pack) => match pack.find(field, 2) {
                Some(pos) => pack.remove_run(pos, 2) > 0,
                None => false,
            },
            Form::Expiring(expiring) => match expiring.pack.find(field, 3) {
                Some(pos) => {
                    expiring.remove(pos);
                    true
                }
                None => false,
            },
            Form::Dict(dict) => dict.remove(field),
        }
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(match &self.0 {
            Form::Pack(pack) => FormIter::Pack(pack.iter()),
            Form::Expiring(expiring) => FormIter::Expiring(expiring.pack.iter()),
            Form::Dict(dict) => FormIter::Dict(dict.iter()),
        })
    }

    /// Visits about `count` fields from `cursor` on (0 to begin), returns the next cursor (0 at the end). A compact hash is
    /// visited as a whole.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(Field<'a>)) -> u64 {
        match &self.0 {
            Form::Dict(dict) => dict.scan(cursor, count, |entry| visit(field_of(entry))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    /// A field chosen by a random number, each with the same probability.
    pub fn random(&self, random: u64) -> Option<Field<'_>> {
        let (pack, stride) = match &self.0 {
            Form::Dict(dict) => return dict.random(random).map(field_of),
            Form::Pack(pack) => (pack, 2),
            Form::Expiring(expiring) => (&expiring.pack, 3),
        };
        let pos = pack.pos_of(below(random, pack.len() / stride) * stride)?;
        let value = pack.next(pos)?;
        let expiry = if stride == 3 { pack.next(value).and_then(|pos| expiry_of(pack.at(pos))) } else { None };
        Some((pack.at(pos), pack.at(value), expiry))
    }

    /// `count` different fields, or all there are, each with the same probability; in no particular order.
    pub fn sample(&self, count: usize, random: u64) -> Vec<Field<'_>> {
        match &self.0 {
            Form::Dict(dict) => dict.sample(count, random).into_iter().map(field_of).collect(),
            _ => sample::choose(self.iter(), count, &mut Numbers(random)),
        }
    }

    /// None: no such field. Some(None): it does not expire.
    pub fn expires_at(&self, field: &[u8]) -> Option<Option<i64>> {
        self.get_entry(field).map(|(_, expiry)| expiry)
    }

    /// Sets or clears the expiry of a field; false when there is none.
    pub fn set_expiry(&mut self, field: &[u8], expiry: Option<i64>) -> bool {
        if let Form::Pack(pack) = &self.0 {
            let found = pack.find(field, 2).is_some();
            if !found || expiry.is_none() {
                return found;
            }
            self.make_expiring();
        }
        match &mut self.0 {
            Form::Pack(_) => false,
            Form::Expiring(expiring) => match expiring.find(field) {
                Some((_, pos)) => {
                    expiring.replace_expiry(pos, expiry);
                    true
                }
                None => false,
            },
            Form::Dict(dict) => dict.set_expiry(field, expiry),
        }
    }

    /// Whether some field expires.
    #[inline]
    pub fn has_ttl(&self) -> bool {
        self.ttl_len() > 0
    }

    /// Fields that expire.
    #[inline]
    pub fn ttl_len(&self) -> usize {
        match &self.0 {
            Form::Pack(_) => 0,
            Form::Expiring(expiring) => expiring.count,
            Form::Dict(dict) => dict.expiring_len(),
        }
    }

    /// When [`Hash::take_due`] should be called: not after the first expiry. A large hash may say a time that was the first expiry
    /// of a field since changed; then nothing is taken, and the next answer is later.
    #[inline]
    pub fn next_due(&self) -> Option<i64> {
        match &self.0 {
            Form::Pack(_) => None,
            Form::Expiring(expiring) => (expiring.count > 0).then_some(expiring.due),
            Form::Dict(dict) => dict.next_due(),
        }
    }

    /// Removes fields whose expiry is not after `now`, telling their names. It is done when [`Hash::next_due`] is after `now`;
    /// `budget` bounds the work of one call. Returns how many were removed.
    pub fn take_due(&mut self, now: i64, budget: usize, mut visit: impl FnMut(&[u8])) -> usize {
        match &mut self.0 {
            Form::Pack(_) => 0,
            Form::Expiring(expiring) => expiring.take_due(now, budget, visit),
            Form::Dict(dict) => dict.take_due(now, budget, &mut visit),
        }
    }

    /// [`Hash::get`] that does not see a field that is due.
    pub fn get_live(&self, field: &[u8], now: i64) -> Option<Elem<'_>> {
        self.get_entry(field).filter(|&(_, expiry)| is_live(expiry, now)).map(|(value, _)| value)
    }

    /// [`Hash::len`] without fields that are due.
    pub fn len_live(&self, now: i64) -> usize {
        if self.next_due().is_none_or(|due| due > now) {
            return self.len();
        }
        match &self.0 {
            Form::Dict(dict) => dict.len() - dict.due_len(now),
            _ => self.iter_live(now).count(),
        }
    }

    /// [`Hash::iter`] without fields that are due.
    pub fn iter_live(&self, now: i64) -> impl Iterator<Item = Field<'_>> {
        self.iter().filter(move |&(_, _, expiry)| is_live(expiry, now))
    }

    /// A copy that shares what is large.
    pub fn freeze(&self) -> Hash {
        Hash(match &self.0 {
            Form::Pack(pack) => Form::Pack(pack.clone()),
            Form::Expiring(expiring) => Form::Expiring(expiring.clone()),
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
            Form::Pack(pack) => pack.allocated(),
            Form::Expiring(expiring) => size_of::<Expiring>() + expiring.pack.allocated(),
            Form::Dict(dict) => dict.allocated_about(samples),
        }
    }

    /// Fields and values in turn, when it is a listpack without expiries.
    pub fn as_listpack(&self) -> Option<&Listpack> {
        match &self.0 {
            Form::Pack(pack) => Some(pack),
            _ => None,
        }
    }

    /// A hash of the fields and values of a listpack, which come from outside: none when a field has no value or is there
    /// twice.
    pub fn of_listpack(pack: Listpack, limits: &Limits) -> Option<Hash> {
        if !pack.len().is_multiple_of(2) || !pack.are_distinct(2) {
            return None;
        }
        let fits = pack.len() / 2 <= limits.hash_entries
            && !pack.iter().any(|(_, elem)| elem.is_longer_than(limits.hash_value_bytes));
        let mut hash = Hash(Form::Pack(pack));
        if !fits {
            hash.make_dict();
        }
        Some(hash)
    }

    /// No expiry keeps the one that is there.
    fn put(&mut self, field: &[u8], value: &[u8], expiry: Option<Option<i64>>, limits: &Limits) -> SetOutcome {
        if field.len() > limits.hash_value_bytes || value.len() > limits.hash_value_bytes {
            self.make_dict();
        } else if matches!((&self.0, expiry), (Form::Pack(_), Some(Some(_)))) {
            self.make_expiring();
        }
        let added = match &mut self.0 {
            Form::Pack(pack) => match pack.find(field, 2).and_then(|pos| pack.next(pos)) {
                Some(pos) => {
                    pack.replace(pos, value);
                    false
                }
                None if pack.len() / 2 < limits.hash_entries && pack.has_room_for(2, field.len() + value.len()) => {
                    pack.push_back(field);
                    pack.push_back(value);
                    true
                }
                None => {
                    self.make_dict();
                    return self.put(field, value, expiry, limits);
                }
            },
            Form::Expiring(expiring) => match expiring.find(field) {
                Some((value_pos, expiry_pos)) => {
                    // From the back, so that the position in front stays.
                    if let Some(expiry) = expiry {
                        expiring.replace_expiry(expiry_pos, expiry);
                    }
                    expiring.pack.replace(value_pos, value);
                    false
                }
                None if expiring.pack.len() / 3 < limits.hash_entries
                    && expiring.pack.has_room_for(3, field.len() + value.len()) =>
                {
                    expiring.push(Elem::Bytes(field), Elem::Bytes(value), expiry.flatten());
                    true
                }
                None => {
                    self.make_dict();
                    return self.put(field, value, expiry, limits);
                }
            },
            Form::Dict(dict) => match expiry {
                None => dict.insert_keep_expiry(field, value),
                Some(expiry) => dict.insert_until(field, value, expiry),
            },
        };
        if added { SetOutcome::Added } else { SetOutcome::Replaced }
    }

    fn make_expiring(&mut self) {
        if let Form::Pack(_) = &self.0 {
            let pack = Listpack::with_capacity(self.allocated() + 2 * self.len() + 10);
            let mut expiring = Expiring { pack, count: 0, due: i64::MAX };
            self.iter().for_each(|(field, value, _)| expiring.push(field, value, None));
            self.0 = Form::Expiring(Box::new(expiring));
        }
    }

    fn make_dict(&mut self) {
        if let Form::Dict(_) = &self.0 {
            return;
        }
        let mut dict = Dict::new();
        let mut buffers = [itoa::Buffer::new(); 2];
        let [for_field, for_value] = &mut buffers;
        for (field, value, expiry) in self.iter() {
            dict.insert_until(field.bytes(for_field), value.bytes(for_value), expiry);
        }
        self.0 = Form::Dict(Box::new(dict));
    }
}

impl Default for Hash {
    fn default() -> Hash {
        Hash::new()
    }
}

impl Expiring {
    /// Where the value and the expiry of a field are.
    fn find(&self, field: &[u8]) -> Option<(Pos, Pos)> {
        let value = self.pack.next(self.pack.find(field, 3)?)?;
        Some((value, self.pack.next(value)?))
    }

    fn expiry_at(&self, pos: Pos) -> Option<i64> {
        expiry_of(self.pack.at(pos))
    }

    fn push(&mut self, field: Elem<'_>, value: Elem<'_>, expiry: Option<i64>) {
        self.pack.push_back(field);
        self.pack.push_back(value);
        self.pack.push_back(elem_of(expiry));
        self.count_expiry(None, expiry);
    }

    fn replace_expiry(&mut self, pos: Pos, expiry: Option<i64>) {
        let old = self.expiry_at(pos);
        if old != expiry {
            self.pack.replace(pos, elem_of(expiry));
            self.count_expiry(old, expiry);
        }
    }

    fn remove(&mut self, field: Pos) {
        let expiry = self.pack.next(field).and_then(|value| self.pack.next(value));
        let old = expiry.and_then(|pos| self.expiry_at(pos));
        self.pack.remove_run(field, 3);
        self.count_expiry(old, None);
    }

    /// To be called after the change.
    fn count_expiry(&mut self, old: Option<i64>, new: Option<i64>) {
        self.count = self.count + usize::from(new.is_some()) - usize::from(old.is_some());
        if let Some(new) = new {
            self.due = self.due.min(new);
        }
        if old == Some(self.due) && new != old {
            self.due = self.first_due();
        }
    }

    fn first_due(&self) -> i64 {
        Iter(FormIter::Expiring(self.pack.iter())).filter_map(|(_, _, expiry)| expiry).min().unwrap_or(i64::MAX)
    }

    fn take_due(&mut self, now: i64, budget: usize, mut visit: impl FnMut(&[u8])) -> usize {
        let mut removed = 0;
        let mut at = self.pack.first();
        while let Some(field) = at {
            if removed == budget || self.count == 0 || self.due > now {
                break;
            }
            let value = self.pack.next(field);
            let expiry_pos = value.and_then(|pos| self.pack.next(pos));
            let expiry = expiry_pos.and_then(|pos| self.expiry_at(pos));
            if is_live(expiry, now) {
                at = expiry_pos.and_then(|pos| self.pack.next(pos));
                continue;
            }
            visit(self.pack.at(field).bytes(&mut itoa::Buffer::new()));
            self.pack.remove_run(field, 3);
            self.count -= 1;
            removed += 1;
            // The next field has moved here.
            at = (field < self.pack.end()).then_some(field);
        }
        if removed > 0 {
            self.due = self.first_due();
        }
        removed
    }
}

/// The fields of a [`Hash`].
#[derive(Clone)]
pub struct Iter<'a>(FormIter<'a>);

#[derive(Clone)]
enum FormIter<'a> {
    Pack(listpack::Iter<'a>),
    Expiring(listpack::Iter<'a>),
    Dict(dict::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        match &mut self.0 {
            FormIter::Pack(iter) => Some((iter.next()?.1, iter.next()?.1, None)),
            FormIter::Expiring(iter) => Some((iter.next()?.1, iter.next()?.1, expiry_of(iter.next()?.1))),
            FormIter::Dict(iter) => iter.next().map(field_of),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            FormIter::Pack(iter) => iter.len() / 2,
            FormIter::Expiring(iter) => iter.len() / 3,
            FormIter::Dict(iter) => iter.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// A field is there until its time has come.
#[inline]
pub fn is_live(expiry: Option<i64>, now: i64) -> bool {
    expiry.is_none_or(|expiry| expiry > now)
}

fn field_of(entry: Entry<'_>) -> Field<'_> {
    (Elem::Bytes(entry.key), Elem::Bytes(entry.value), entry.expiry)
}

fn expiry_of(elem: Elem<'_>) -> Option<i64> {
    match elem {
        Elem::Int(expiry) => Some(expiry),
        Elem::Bytes(_) => None,
    }
}

fn elem_of(expiry: Option<i64>) -> Elem<'static> {
    expiry.map_or(Elem::Bytes(b""), Elem::Int)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    fn contents(hash: &Hash) -> Model {
        assert_eq!((hash.iter().len(), hash.iter().count()), (hash.len(), hash.len()));
        hash.iter().map(|(field, value, expiry)| (field.to_vec(), (value.to_vec(), expiry))).collect()
    }

    fn filled(count: usize) -> Hash {
        let mut hash = Hash::new();
        for i in 0..count {
            let (field, value) = (format!("field:{i:02}"), format!("value:{i:02}"));
            assert_eq!(hash.set(field.as_bytes(), value.as_bytes(), &Limits::default()), SetOutcome::Added);
        }
        hash
    }

    #[test]
    fn a_handle_is_small() {
        assert_eq!((size_of::<Hash>(), align_of::<Hash>()), (16, 8));
    }

    #[test]
    fn the_encoding_follows_the_limits() {
        let limits = Limits::default();
        assert_eq!([128, 129].map(|count| filled(count).encoding()), ["listpack", "hashtable"]);
        let with = |field: &str, value: &str| {
            let mut hash = filled(3);
            hash.set(field.as_bytes(), value.as_bytes(), &limits);
            assert_eq!(hash.len(), 4);
            hash.encoding()
        };
        assert_eq!(with("f", &"x".repeat(64)), "listpack");
        assert_eq!(with("f", &"x".repeat(65)), "hashtable");
        assert_eq!(with(&"x".repeat(65), "v"), "hashtable");

        let mut hash = filled(128);
        assert!(hash.set_expiry(b"field:07", Some(5)));
        assert_eq!((hash.encoding(), hash.has_ttl()), ("listpackex", true));
        hash.set(b"field:07", b"again", &limits);
        assert_eq!((hash.encoding(), hash.has_ttl(), hash.next_due()), ("listpackex", false, None));
        hash.set_expiry(b"field:08", Some(7));
        hash.set(b"one more", b"field", &limits);
        assert_eq!((hash.encoding(), hash.next_due()), ("hashtable", Some(7)));
        assert_eq!(hash.expires_at(b"field:08"), Some(Some(7)));
    }

    #[test]
    fn what_is_expected_decides_the_form() {
        let limits = Limits::default();
        let words = [&b"f1"[..], b"v1", b"f2", b"12345"];
        let mut hash = Hash::new();
        hash.expect(2, words.into_iter(), &limits);
        let allocated = hash.allocated();
        hash.set(b"f1", b"v1", &limits);
        hash.set(b"f2", b"12345", &limits);
        assert_eq!((hash.allocated(), hash.encoding()), (allocated, "listpack"));
        hash.expect(129, words.into_iter(), &limits);
        assert_eq!((hash.len(), hash.encoding()), (2, "hashtable"));
    }

    #[test]
    fn ten_fields_take_no_more_than_in_valkey() {
        // Valkey: a listpack of 207 bytes in 224, and 16 of object.
        assert_eq!(filled(10).allocated(), 224);
    }

    #[test]
    fn due_fields_are_hidden_or_taken() {
        for count in [10, 1000] {
            let mut hash = filled(count);
            for (i, expiry) in [(1, 300), (3, 100), (5, 200)] {
                assert!(hash.set_expiry(format!("field:0{i}").as_bytes(), Some(expiry)));
            }
            assert!(!hash.set_expiry(b"none", Some(1)));
            assert_eq!((hash.next_due(), hash.len_live(99), hash.len_live(200)), (Some(100), count, count - 2));
            assert_eq!(hash.iter_live(200).count(), count - 2);
            assert!(hash.get_live(b"field:05", 199).is_some() && hash.get_live(b"field:05", 200).is_none());
            assert!(hash.get(b"field:05").is_some() && hash.expires_at(b"field:00") == Some(None));
            let mut names = Vec::new();
            while hash.next_due().is_some_and(|due| due <= 250) {
                hash.take_due(250, 1, |name| names.push(name.to_vec()));
            }
            names.sort();
            assert_eq!(names, [b"field:03", b"field:05"]);
            assert_eq!((hash.len(), hash.next_due(), hash.take_due(299, 9, |_| {})), (count - 2, Some(300), 0));
        }
    }

    #[test]
    fn what_is_frozen_stays() {
        for count in [5, 100, 5000] {
            let mut hash = filled(count);
            hash.set_expiry(b"field:03", Some(1));
            let before = contents(&hash);
            let frozen = hash.freeze();
            for i in 0..count {
                let field = format!("field:{i:02}");
                hash.set(field.as_bytes(), b"changed", &Limits::default());
                hash.set_expiry(field.as_bytes(), Some(i as i64));
            }
            hash.take_due(3000, usize::MAX, |_| {});
            assert_eq!(contents(&frozen), before);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Set(Vec<u8>, Vec<u8>),
        SetKeep(Vec<u8>, Vec<u8>),
        SetUntil(Vec<u8>, Vec<u8>, i64),
        Remove(Vec<u8>),
        SetExpiry(Vec<u8>, Option<i64>),
        TakeDue(i64, usize),
        Random(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let field = || {
            prop_oneof![(0u8..40).prop_map(|i| i.to_string().into_bytes()), "[a-e]{0,3}".prop_map(String::into_bytes)]
        };
        let value = || {
            prop_oneof![
                4 => any::<i32>().prop_map(|i| i.to_string().into_bytes()),
                4 => "[a-z]{0,20}".prop_map(String::into_bytes),
                1 => (0usize..35).prop_map(|len| vec![b'x'; len]),
            ]
        };
        prop_oneof![
            6 => (field(), value()).prop_map(|(field, value)| Step::Set(field, value)),
            2 => (field(), value()).prop_map(|(field, value)| Step::SetKeep(field, value)),
            1 => (field(), value(), 0i64..100).prop_map(|(field, value, expiry)| Step::SetUntil(field, value, expiry)),
            2 => field().prop_map(Step::Remove),
            2 => (field(), prop::option::of(0i64..100)).prop_map(|(field, expiry)| Step::SetExpiry(field, expiry)),
            1 => (0i64..100, 0usize..10).prop_map(|(now, budget)| Step::TakeDue(now, budget)),
            1 => any::<u64>().prop_map(Step::Random),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec(step(), 0..120), entries in 0usize..60) {
            let limits = Limits { hash_entries: entries, hash_value_bytes: 32, ..Limits::default() };
            let (mut hash, mut model) = (Hash::new(), Model::new());
            let outcome = |old: Option<_>| if old.is_some() { SetOutcome::Replaced } else { SetOutcome::Added };
            for step in steps {
                match step {
                    Step::Set(field, value) => {
                        let old = model.insert(field.clone(), (value.clone(), None));
                        prop_assert_eq!(hash.set(&field, &value, &limits), outcome(old));
                    }
                    Step::SetKeep(field, value) => {
                        let expiry = model.get(&field).and_then(|old| old.1);
                        let old = model.insert(field.clone(), (value.clone(), expiry));
                        prop_assert_eq!(hash.set_keep_ttl(&field, &value, &limits), outcome(old));
                    }
                    Step::SetUntil(field, value, expiry) => {
                        let old = model.insert(field.clone(), (value.clone(), Some(expiry)));
                        prop_assert_eq!(hash.set_until(&field, &value, Some(expiry), &limits), outcome(old));
                    }
                    Step::Remove(field) => {
                        prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
                        prop_assert!(!hash.contains(&field));
                    }
                    Step::SetExpiry(field, expiry) => {
                        let old = model.get_mut(&field);
                        prop_assert_eq!(hash.set_expiry(&field, expiry), old.is_some());
                        if let Some(old) = old {
                            old.1 = expiry;
                        }
                        prop_assert_eq!(hash.expires_at(&field), model.get(&field).map(|old| old.1));
                    }
                    Step::TakeDue(now, budget) => {
                        let due = model.values().filter(|value| !is_live(value.1, now)).count();
                        prop_assert_eq!(hash.len_live(now), model.len() - due);
                        let mut names = Vec::new();
                        let removed = hash.take_due(now, budget, |name| names.push(name.to_vec()));
                        prop_assert!(removed == names.len() && removed <= budget);
                        prop_assert!(removed == due || hash.next_due().is_some_and(|due| due <= now));
                        for name in names {
                            prop_assert!(model.remove(&name).is_some_and(|value| !is_live(value.1, now)));
                        }
                    }
                    Step::Random(random) => {
                        match hash.random(random) {
                            None => prop_assert!(model.is_empty()),
                            Some((field, value, expiry)) => {
                                prop_assert_eq!(model.get(&field.to_vec()), Some(&(value.to_vec(), expiry)));
                            }
                        }
                        let count = random as usize % 20;
                        let sample: Model = hash.sample(count, random).into_iter()
                            .map(|(field, value, expiry)| (field.to_vec(), (value.to_vec(), expiry))).collect();
                        prop_assert_eq!(sample.len(), count.min(model.len()));
                        prop_assert!(sample.iter().all(|(field, entry)| model.get(field) == Some(entry)));
                    }
                }
                prop_assert_eq!(hash.has_ttl(), model.values().any(|value| value.1.is_some()));
                let first = model.values().filter_map(|value| value.1).min();
                prop_assert!(hash.next_due().is_some() == first.is_some() && hash.next_due() <= first);
                if hash.encoding() != "hashtable" {
                    prop_assert_eq!(hash.next_due(), first);
                }
            }
            prop_assert_eq!(&contents(&hash), &model);
            for (field, (value, _)) in &model {
                prop_assert!(hash.get(field).is_some_and(|found| found.is(value)));
            }
            let mut seen = Model::new();
            let mut cursor = 0;
            loop {
                cursor = hash.scan(cursor, 7, |(field, value, expiry)| {
                    seen.insert(field.to_vec(), (value.to_vec(), expiry));
                });
                if cursor == 0 {
                    break;
                }
            }
            prop_assert_eq!(&seen, &model);
        }
    }
}
