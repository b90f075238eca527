use std::collections::{BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn number_key(i: u64) -> [u8; 8] {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

fn numbered(count: u64) -> Dict {
    let mut dict = Dict::new();
    for i in 0..count {
        assert!(dict.insert(&number_key(i), &i.to_le_bytes()));
    }
    dict
}

fn contents(dict: &Dict) -> HashMap<Vec<u8>, (Vec<u8>, Option<i64>)> {
    let all: HashMap<_, _> =
        dict.iter().map(|entry| (entry.key.to_vec(), (entry.value.to_vec(), entry.expiry))).collect();
    assert_eq!((all.len(), dict.iter().len()), (dict.len(), dict.len()));
    all
}

#[test]
fn grows_and_shrinks_back_to_nothing() {
    let mut dict = numbered(50_000);
    dict.check();
    assert!(dict.segments.len() >= 50);
    assert!(dict.segments.iter().all(|segment| segment.allocated() < 80_000));
    for i in 0..50_000 {
        assert_eq!(dict.get(&number_key(i)).map(|entry| entry.value), Some(&i.to_le_bytes()[..]));
        assert!(!dict.contains(&number_key(i + 50_000)));
    }
    for i in 0..50_000 {
        assert!(dict.remove(&number_key(i)));
        assert!(!dict.remove(&number_key(i)));
        if i % 10_000 == 0 {
            dict.check();
        }
    }
    dict.check();
    assert_eq!((dict.len(), dict.segments.len(), dict.directory.len()), (0, 1, 1));
    assert!(dict.allocated() < 300, "{}", dict.allocated());
}

#[test]
fn a_hundred_thousand_small_elements_take_few_bytes() {
    for count in [1_000, 10_000, 60_000, 100_000, 150_000] {
        let mut dict = numbered(count);
        let per_element = dict.allocated() as f64 / count as f64;
        println!("{count}: {per_element:.1} bytes per element of 16");
        assert!(per_element <= 30.0, "{per_element}");
        // Values of another length leave garbage; it does not pile up.
        for round in 1..20u64 {
            for i in 0..count.min(10_000) {
                dict.insert(&number_key(i), &[7; 8][..(8 - round as usize % 3)]);
            }
        }
        let after = dict.allocated() as f64 / count as f64;
        println!("{count}: {after:.1} after many changes");
        assert!(after <= 38.0, "{after}");
    }
}

#[test]
fn what_is_frozen_stays() {
    let mut dict = numbered(20_000);
    for i in 0..100 {
        dict.insert_until(&number_key(i), &vec![1; 3000], Some(i as i64 + 5));
    }
    let before = contents(&dict);
    let frozen = dict.freeze();
    // Nothing but the spine was copied.
    assert!(dict.segments.iter().zip(&frozen.segments).all(|(a, b)| Arc::ptr_eq(a, b) && Arc::count(a) == 2));

    // One write copies one segment.
    dict.insert(&number_key(5), b"changed");
    let copied = dict.segments.iter().filter(|segment| Arc::is_unique(segment)).count();
    assert_eq!(copied, 1);
    // Its large values are still shared, and reads copy nothing.
    dict.contains(b"not there");
    assert!(!dict.remove(b"not there"));
    assert_eq!(dict.take_due(4, 10, |_| {}), 0);
    assert_eq!(dict.segments.iter().filter(|segment| Arc::is_unique(segment)).count(), 1);

    for i in 0..20_000 {
        match i % 3 {
            0 => assert!(dict.remove(&number_key(i))),
            1 => assert!(!dict.insert(&number_key(i), b"a value of another length")),
            _ => assert!(dict.insert(&number_key(i + 1_000_000), b"")),
        }
    }
    dict.take_due(i64::MAX, usize::MAX, |_| {});
    for i in 0..40_000 {
        dict.remove(&number_key(i));
    }
    dict.check();
    frozen.check();
    assert_eq!(contents(&frozen), before);
    drop(dict);
    assert_eq!(contents(&frozen), before);
    assert!(frozen.segments.iter().all(Arc::is_unique));
}

#[test]
fn filling_in_the_order_of_another_dict_is_not_slow() {
    let dict = numbered(100_000);
    let mut copy = Dict::new();
    for entry in dict.iter() {
        copy.insert(entry.key, entry.value);
        // Without a seed of its own each new element would stand at the end of a run of hundreds.
    }
    copy.check();
    let longest = |dict: &Dict| dict.segments.iter().map(|segment| segment.longest_way()).max();
    assert!(longest(&copy) < Some(200), "{:?}", longest(&copy));
}

#[test]
fn a_scan_visits_all_and_about_as_many_as_asked() {
    let dict = numbered(10_000);
    let (mut cursor, mut seen, mut calls) = (0, 0, 0);
    loop {
        let mut now = 0;
        cursor = dict.scan(cursor, 10, |_| now += 1);
        assert!(now <= 15 && cursor < 1 << 48);
        (seen, calls) = (seen + now, calls + 1);
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen, 10_000);
    assert!(calls <= 1001);
    assert_eq!(dict.scan(u64::MAX, 10, |_| panic!("nothing is there")), 0);
    assert_eq!(Dict::new().scan(0, 10, |_| panic!("nothing is there")), 0);
}

#[test]
fn random_elements_are_equally_likely() {
    // Unequal segments: many small elements, then large ones.
    let mut dict = numbered(3000);
    for i in 0..3000 {
        if i % 3 == 0 {
            dict.insert(&number_key(i), &[1; 900]);
        }
    }
    let mut hits: HashMap<Vec<u8>, u32> = HashMap::new();
    let rounds = 300_000u32;
    for i in 0..rounds {
        *hits.entry(dict.random(u64::from(i)).unwrap().key.to_vec()).or_default() += 1;
    }
    assert_eq!(hits.len(), 3000);
    let expected = f64::from(rounds) / 3000.0;
    let chi_square: f64 = hits.values().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    // 2999 degrees of freedom: mean 2999, standard deviation 77.
    assert!((2600.0..3400.0).contains(&chi_square), "{chi_square}");
}

#[test]
fn popping_takes_everything_once() {
    let mut dict = numbered(5000);
    let mut seen = HashSet::new();
    for i in 0.. {
        let Some(key) = dict.pop_random(i) else { break };
        assert!(seen.insert(key));
    }
    dict.check();
    assert_eq!(seen.len(), 5000);
    assert!(dict.random(1).is_none());
}

#[test]
fn due_elements_go_within_the_budget() {
    let mut dict = numbered(5000);
    assert_eq!((dict.next_due(), dict.expiring_len()), (None, 0));
    for i in 0..3000 {
        assert!(dict.set_expiry(&number_key(i), Some(1000 + i as i64)));
    }
    assert!(!dict.set_expiry(b"none", Some(1)));
    dict.check();
    assert_eq!((dict.next_due(), dict.expiring_len()), (Some(1000), 3000));
    // A value set anew loses its expiry, or keeps it.
    dict.insert(&number_key(0), b"x");
    dict.insert_keep_expiry(&number_key(1), b"y");
    assert_eq!(dict.get(&number_key(0)).and_then(|entry| entry.expiry), None);
    assert_eq!(dict.get(&number_key(1)).map(|entry| (entry.value, entry.expiry)), Some((&b"y"[..], Some(1001))));
    assert_eq!(dict.due_len(1100), 100);

    let mut names = Vec::new();
    while dict.next_due().is_some_and(|due| due <= 2000) {
        let removed = dict.take_due(2000, 64, |key| names.push(key.to_vec()));
        assert!(removed <= 64);
    }
    dict.check();
    assert_eq!((names.len(), dict.len(), dict.due_len(2000)), (1000, 4000, 0));
    assert_eq!(dict.next_due(), Some(2001));
    assert!(dict.set_expiry(&number_key(2500), None));
    dict.take_due(i64::MAX, usize::MAX, |key| names.push(key.to_vec()));
    dict.check();
    assert_eq!((names.len(), dict.len(), dict.next_due()), (2998, 2002, None));
    assert!(dict.contains(&number_key(2500)) && dict.contains(&number_key(0)));
}

#[test]
fn an_expiry_is_not_taken_for_eight_bytes_of_value() {
    let mut dict = Dict::new();
    dict.insert(b"key", &[1; 18]);
    dict.insert_until(b"key", &[2; 10], Some(5));
    assert_eq!(dict.get(b"key"), Some(Entry { key: b"key", value: &[2; 10], expiry: Some(5) }));
    dict.insert(b"key", &[3; 18]);
    assert_eq!(dict.get(b"key"), Some(Entry { key: b"key", value: &[3; 18], expiry: None }));
}

#[test]
fn elements_of_every_size() {
    let mut dict = Dict::new();
    let sizes = [0usize, 1, 29, 30, 31, 254, 255, 256, 285, 286, 287, 500, 994, 1023, 1024, 1025, 5000, 1 << 20];
    for key_len in sizes {
        for value_len in sizes {
            let key = [&value_len.to_le_bytes()[..], &vec![1; key_len]].concat();
            assert!(dict.insert(&key, &vec![2; value_len]));
        }
    }
    dict.check();
    for key_len in sizes {
        for value_len in sizes {
            let key = [&value_len.to_le_bytes()[..], &vec![1; key_len]].concat();
            dict.insert_until(&key, &vec![3; value_len], Some(-7));
            let entry = dict.get(&key).unwrap();
            assert!(entry.value.len() == value_len && entry.expiry == Some(-7));
        }
    }
    dict.check();
    // A segment's own bytes stay small.
    assert!(dict.segments.iter().all(|segment| segment.live_bytes() < 60_000));
}

#[test]
fn tags_that_are_all_equal_only_cost_time() {
    let mut segment = Segment::new(0, 0, 0, 0);
    for i in 0..1000u32 {
        segment.insert(if i % 2 == 0 { 0xffff } else { 0 }, &i.to_le_bytes(), b"v", None);
    }
    segment.check();
    for i in (0..1000u32).rev() {
        let at = segment.find(if i % 2 == 0 { 0xffff } else { 0 }, &i.to_le_bytes()).unwrap();
        segment.remove(at);
    }
    segment.check();
    assert_eq!(segment.len(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, Vec<u8>),
    InsertKeep(u16, Vec<u8>),
    InsertUntil(u16, Vec<u8>, i64),
    Remove(u16),
    SetExpiry(u16, Option<i64>),
    TakeDue(i64, usize),
    InsertMany(u16, u16, usize),
    RemoveMany(u16, u16),
    Pop(u64),
    Freeze,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..12),
        2 => (0usize..1500, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0u16..6000;
    prop_oneof![
        6 => (key(), value()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| Step::InsertKeep(key, value)),
        3 => (key(), value(), 0i64..100).prop_map(|(key, value, expiry)| Step::InsertUntil(key, value, expiry)),
        4 => key().prop_map(Step::Remove),
        3 => (key(), prop::option::of(0i64..100)).prop_map(|(key, expiry)| Step::SetExpiry(key, expiry)),
        2 => (0i64..100, 0usize..500).prop_map(|(now, budget)| Step::TakeDue(now, budget)),
        2 => (key(), 0u16..3000, 0usize..150).prop_map(|(from, count, len)| Step::InsertMany(from, count, len)),
        2 => (key(), 0u16..3000).prop_map(|(from, count)| Step::RemoveMany(from, count)),
        2 => any::<u64>().prop_map(Step::Pop),
        1 => Just(Step::Freeze),
    ]
}

fn key(i: u16) -> Vec<u8> {
    format!("key:{}{i}", "x".repeat(i as usize % 40)).into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn behaves_like_a_hash_map(steps in prop::collection::vec(step(), 0..50)) {
        let mut dict = Dict::new();
        let mut model: HashMap<Vec<u8>, (Vec<u8>, Option<i64>)> = HashMap::new();
        let mut frozen = Vec::new();
        for step in steps {
            match step {
                Step::Insert(i, value) => {
                    let new = model.insert(key(i), (value.clone(), None)).is_none();
                    prop_assert_eq!(dict.insert(&key(i), &value), new);
                }
                Step::InsertKeep(i, value) => {
                    let expiry = model.get(&key(i)).and_then(|old| old.1);
                    let new = model.insert(key(i), (value.clone(), expiry)).is_none();
                    prop_assert_eq!(dict.insert_keep_expiry(&key(i), &value), new);
                }
                Step::InsertUntil(i, value, expiry) => {
                    let new = model.insert(key(i), (value.clone(), Some(expiry))).is_none();
                    prop_assert_eq!(dict.insert_until(&key(i), &value, Some(expiry)), new);
                }
                Step::Remove(i) => prop_assert_eq!(dict.remove(&key(i)), model.remove(&key(i)).is_some()),
                Step::SetExpiry(i, expiry) => {
                    let old = model.get_mut(&key(i));
                    prop_assert_eq!(dict.set_expiry(&key(i), expiry), old.is_some());
                    if let Some(old) = old {
                        old.1 = expiry;
                    }
                }
                Step::TakeDue(now, budget) => {
                    let due = model.values().filter(|value| value.1.is_some_and(|expiry| expiry <= now)).count();
                    prop_assert_eq!(dict.due_len(now), due);
                    let mut taken = Vec::new();
                    let removed = dict.take_due(now, budget, |key| taken.push(key.to_vec()));
                    prop_assert!(removed == taken.len() && removed <= budget);
                    for key in taken {
                        let gone = model.remove(&key).expect("an element");
                        prop_assert!(gone.1.is_some_and(|expiry| expiry <= now));
                    }
                    if dict.next_due().is_none_or(|due| due > now) {
                        prop_assert_eq!(removed, due);
                    }
                }
                Step::InsertMany(from, count, len) => {
                    for i in from..from + count {
                        model.insert(key(i), (vec![3; len], None));
                        dict.insert(&key(i), &vec![3; len]);
                    }
                }
                Step::RemoveMany(from, count) => {
                    for i in from..from + count {
                        prop_assert_eq!(dict.remove(&key(i)), model.remove(&key(i)).is_some());
                    }
                }
                Step::Pop(random) => match dict.pop_random(random) {
                    Some(key) => prop_assert!(model.remove(&key).is_some()),
                    None => prop_assert!(model.is_empty()),
                },
                Step::Freeze => frozen.push((dict.freeze(), model.clone())),
            }
            let min = model.values().filter_map(|value| value.1).min();
            prop_assert!(dict.next_due() <= min && dict.next_due().is_some() == min.is_some());
        }
        frozen.push((dict, model));
        for (dict, model) in frozen {
            dict.check();
            prop_assert_eq!(contents(&dict), model);
        }
    }

    /// What is there from the first call to the last is visited, whatever comes and goes meanwhile.
    #[test]
    fn a_scan_misses_nothing_that_stays(
        start in 0u64..8000, stay in 1u64..50, count in 1usize..60, changes in prop::collection::vec((any::<bool>(), 0u64..4000), 0..40),
    ) {
        let mut dict = numbered(start);
        let mut seen = BTreeSet::new();
        let (mut cursor, mut next) = (0, start);
        let mut changes = changes.into_iter();
        for _ in 0..100_000 {
            cursor = dict.scan(cursor, count, |entry| {
                seen.insert(entry.key.to_vec());
            });
            if cursor == 0 {
                break;
            }
            match changes.next() {
                Some((true, more)) => {
                    for i in next..next + more {
                        dict.insert(&number_key(i), b"new");
                    }
                    next += more;
                }
                Some((false, fewer)) => {
                    // Only each `stay`-th stays.
                    for i in (next.saturating_sub(fewer * 2)..next).filter(|i| i % stay != 0) {
                        dict.remove(&number_key(i));
                    }
                }
                None => {}
            }
        }
        prop_assert_eq!(cursor, 0);
        for i in (0..start).filter(|i| i % stay == 0) {
            prop_assert!(seen.contains(&number_key(i)[..]));
        }
    }
}
