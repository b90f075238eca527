//! The sorted set against a map.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

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
        cursor = set.scan(cursor, 10, |member, _| {
            seen.insert(member.to_vec());
        });
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
    /// Scatters numbers: two rounds of multiply and shift.
    fn scattered(i: u32) -> u32 {
        let i = (i ^ i >> 16).wrapping_mul(0x7feb_352d);
        (i ^ i >> 15).wrapping_mul(0x846c_a68b)
    }
    for in_order in [true, false] {
        let name = if in_order { "in order" } else { "at random" };
        let mut set = ZSet::new();
        for i in 0..100_000u32 {
            set.insert(format!("memb{i:06}").as_bytes(), f64::from(if in_order { i } else { scattered(i) }), &limits);
        }
        let Form::Large(large) = &set.form else { unreachable!("100,000 members are many") };
        let (all, order) = (set.allocated() as f64 / 1e5, large.order.allocated() as f64 / 1e5);
        println!("zset, inserted {name}: {all:.1} bytes for a member of 10, {order:.1} of them for the order");
        assert!(all < 65.0);
    }
    assert!(size_of::<ZSet>() <= 16);
}
