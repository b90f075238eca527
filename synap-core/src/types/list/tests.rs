//! The list against a vector.

use proptest::prelude::*;

use super::spine::GROUP_LEN_MAX;
use super::*;

impl List {
    /// Checks every promise of the structure.
    fn check(&self) {
        let Form::Large(spine) = &self.form else { return };
        assert!(spine.len > 0);
        let mut len = 0;
        for (g, group) in spine.groups.iter().enumerate() {
            let chunks = &group.node.chunks;
            assert!(!chunks.is_empty() && chunks.len() <= GROUP_LEN_MAX);
            assert_eq!(group.count, chunks.iter().map(|c| c.count).sum::<usize>());
            len += group.count;
            for (c, chunk) in chunks.iter().enumerate() {
                assert!(chunk.count > 0);
                if (g, c) == (0, 0) && spine.front.is_some() {
                    assert_eq!(chunk.node.pos_of(chunk.node.len() - chunk.count), spine.front);
                } else {
                    assert_eq!(chunk.count, chunk.node.len());
                }
            }
        }
        assert_eq!(len, spine.len);
    }

    fn contents(&self) -> Vec<Vec<u8>> {
        self.iter().map(Elem::to_vec).collect()
    }

    /// How many chunks it does not share with another list.
    fn chunks_not_in(&self, other: &List) -> usize {
        let chunks = |list: &List| -> Vec<*const Listpack> {
            let Form::Large(spine) = &list.form else { return Vec::new() };
            spine.groups.iter().flat_map(|g| g.node.chunks.iter().map(|c| &raw const *c.node)).collect()
        };
        let shared = chunks(other);
        chunks(self).iter().filter(|chunk| !shared.contains(chunk)).count()
    }

    fn chunk_sizes(&self) -> Vec<usize> {
        match &self.form {
            Form::Compact(pack) => vec![pack.byte_len()],
            Form::Large(spine) => {
                spine.groups.iter().flat_map(|g| g.node.chunks.iter().map(|c| c.node.byte_len())).collect()
            }
        }
    }
}

fn limits(list_size: i64) -> Limits {
    Limits { list_size, ..Limits::default() }
}

#[derive(Clone, Debug)]
enum Op {
    PushFront(Vec<u8>),
    PushBack(Vec<u8>),
    PushMany(bool, u16, u8),
    PopFront(u8),
    PopBack(u8),
    Set(u16, Vec<u8>),
    Insert(Vec<u8>, bool, Vec<u8>),
    InsertAt(u16, Vec<u8>),
    Remove(i8, Vec<u8>),
    Trim(u16, u16),
    Freeze,
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..6).prop_map(|n| n.to_string().into_bytes()),
        4 => "[ab]{0,3}".prop_map(String::into_bytes),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => (0usize..400).prop_map(|n| vec![b'x'; n]),
        1 => (0usize..20_000).prop_map(|n| vec![b'y'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => value().prop_map(Op::PushFront),
        6 => value().prop_map(Op::PushBack),
        3 => (any::<bool>(), 0u16..600, any::<u8>()).prop_map(|(front, n, kind)| Op::PushMany(front, n, kind)),
        3 => any::<u8>().prop_map(Op::PopFront),
        3 => any::<u8>().prop_map(Op::PopBack),
        4 => (any::<u16>(), value()).prop_map(|(at, v)| Op::Set(at, v)),
        3 => (value(), any::<bool>(), value()).prop_map(|(p, after, v)| Op::Insert(p, after, v)),
        4 => (any::<u16>(), value()).prop_map(|(at, v)| Op::InsertAt(at, v)),
        4 => (any::<i8>(), value()).prop_map(|(n, v)| Op::Remove(n / 30, v)),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Op::Trim(a, b)),
        1 => Just(Op::Freeze),
    ]
}

fn model_remove(model: &mut Vec<Vec<u8>>, count: i64, value: &[u8]) -> usize {
    let all: Vec<usize> = (0..model.len()).filter(|i| model[*i] == value).collect();
    let n = if count == 0 { all.len() } else { all.len().min(count.unsigned_abs() as usize) };
    let chosen = if count < 0 { &all[all.len() - n..] } else { &all[..n] };
    for i in chosen.iter().rev() {
        model.remove(*i);
    }
    n
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn agrees_with_a_vector(size in prop_oneof![Just(-2i64), Just(-1), Just(1), Just(2), Just(7), Just(128)], ops in proptest::collection::vec(op(), 1..50)) {
        let limits = limits(size);
        let (mut list, mut model, mut frozen) = (List::new(), Vec::<Vec<u8>>::new(), Vec::new());
        for op in ops {
            match op {
                Op::PushFront(v) => {
                    list.push_front(&v, &limits);
                    model.insert(0, v);
                }
                Op::PushBack(v) => {
                    list.push_back(&v, &limits);
                    model.push(v);
                }
                Op::PushMany(front, n, kind) => for i in 0..n {
                    let v = match kind % 3 {
                        0 => i.to_string(),
                        1 => format!("value-{i}"),
                        _ => (i % 4).to_string(),
                    }.into_bytes();
                    if front {
                        list.push_front(&v, &limits);
                        model.insert(0, v);
                    } else {
                        list.push_back(&v, &limits);
                        model.push(v);
                    }
                },
                Op::PopFront(n) => for _ in 0..n {
                    let expected = if model.is_empty() { None } else { Some(model.remove(0)) };
                    prop_assert_eq!(list.pop_front(), expected);
                },
                Op::PopBack(n) => for _ in 0..n {
                    prop_assert_eq!(list.pop_back(), model.pop());
                },
                Op::Set(at, v) => {
                    let at = usize::from(at) % (model.len() + 1);
                    prop_assert_eq!(list.set(at, &v, &limits), at < model.len());
                    if at < model.len() {
                        model[at] = v;
                    }
                }
                Op::Insert(pivot, after, v) => {
                    let done = if after { list.insert_after(&pivot, &v, &limits) } else { list.insert_before(&pivot, &v, &limits) };
                    let at = model.iter().position(|e| *e == pivot);
                    prop_assert_eq!(done.is_some(), at.is_some());
                    if let Some(at) = at {
                        model.insert(at + usize::from(after), v);
                    }
                }
                Op::InsertAt(at, v) => {
                    let at = usize::from(at) % (model.len() + 1);
                    list.insert(at, &v, &limits);
                    model.insert(at, v);
                }
                Op::Remove(n, v) => {
                    prop_assert_eq!(list.remove(i64::from(n), &v), model_remove(&mut model, i64::from(n), &v));
                }
                Op::Trim(a, b) => {
                    let (a, b) = (usize::from(a) % (model.len() + 1), usize::from(b) % (model.len() + 1));
                    list.trim(a.min(b)..a.max(b));
                    model = model[a.min(b)..a.max(b)].to_vec();
                }
                Op::Freeze => frozen.push((list.freeze(), model.clone())),
            }
            list.check();
            prop_assert_eq!(list.len(), model.len());
        }
        frozen.push((list, model));
        for (list, model) in frozen {
            list.check();
            prop_assert_eq!(&list.contents(), &model);
            let mut backwards: Vec<_> = list.iter().rev().map(Elem::to_vec).collect();
            backwards.reverse();
            prop_assert_eq!(&backwards, &model);
            for (i, value) in model.iter().enumerate().step_by(13) {
                prop_assert!(list.get(i).is_some_and(|e| e.is(value)));
            }
            prop_assert!(list.get(model.len()).is_none());
            let (a, b) = (model.len() / 4, model.len() / 4 * 3);
            let part: Vec<_> = list.range(a..b).map(Elem::to_vec).collect();
            prop_assert_eq!(&part[..], &model[a..b]);
            let mut part: Vec<_> = list.range(a..b).rev().map(Elem::to_vec).collect();
            part.reverse();
            prop_assert_eq!(&part[..], &model[a..b]);
            let mut both = list.range(a..b);
            let mut seen = (Vec::new(), Vec::new());
            while let Some(elem) = both.next() {
                seen.0.push(elem.to_vec());
                seen.1.extend(both.next_back().map(Elem::to_vec));
            }
            seen.1.reverse();
            prop_assert_eq!([seen.0, seen.1].concat(), &model[a..b]);
            let positions: Vec<_> = list.positions(b"1", 0..usize::MAX).collect();
            prop_assert!(positions.iter().copied().eq((0..model.len()).filter(|i| model[*i] == b"1")));
            prop_assert!(list.positions(b"1", 0..usize::MAX).rev().eq(positions.into_iter().rev()));
        }
    }
}

#[test]
fn the_encoding_follows_the_size_as_in_redis() {
    let mut list = List::new();
    for i in 0..128 {
        list.push_back(i.to_string().as_bytes(), &limits(128));
    }
    assert_eq!(list.encoding(), "listpack");
    list.push_back(b"x", &limits(128));
    assert_eq!(list.encoding(), "quicklist");
    list.trim(0..65);
    assert_eq!((list.len(), list.encoding()), (65, "quicklist"));
    list.pop_back();
    assert_eq!((list.len(), list.encoding()), (64, "listpack"));

    let mut list = List::new();
    list.push_back(&[b'x'; 8 << 10], &limits(-2));
    assert_eq!(list.encoding(), "quicklist");
    list.pop_front();
    assert_eq!((list.len(), list.encoding()), (0, "listpack"));
}

#[test]
fn chunks_stay_within_their_size_and_are_full() {
    for front in [false, true] {
        let mut list = List::new();
        for i in 0..100_000 {
            let value = format!("value-{i}");
            if front {
                list.push_front(value.as_bytes(), &limits(-2));
            } else {
                list.push_back(value.as_bytes(), &limits(-2));
            }
        }
        list.check();
        let sizes = list.chunk_sizes();
        assert!(sizes.iter().all(|s| *s <= 8 << 10), "{sizes:?}");
        let sparse = sizes.iter().filter(|s| **s < 6 << 10).count();
        assert!(sparse * 50 < sizes.len() + 100, "{sparse} of {} sparse chunks", sizes.len());
    }
}

#[test]
fn a_value_larger_than_a_chunk_is_alone() {
    let mut list = List::new();
    for i in 0..10 {
        list.push_back(b"small", &limits(-2));
        list.push_back(&vec![b'x'; 10_000 + i], &limits(-2));
    }
    list.check();
    assert!(list.chunk_sizes()[1..].iter().all(|s| *s < 100 || *s > 10_000));
}

#[test]
fn removals_leave_no_sparse_chunks() {
    let mut list = List::new();
    for i in 0..50_000 {
        list.push_back(if i % 20 == 0 { b"keep this" } else { b"remove it" }, &limits(-2));
    }
    assert_eq!(list.remove(0, b"remove it"), 47_500);
    list.check();
    assert!(list.chunk_sizes().len() < 12, "{} chunks", list.chunk_sizes().len());
}

#[test]
fn freezing_shares_and_a_write_copies_one_chunk() {
    let mut list = List::new();
    for i in 0..200_000 {
        list.push_back(format!("value-{i}").as_bytes(), &limits(-2));
    }
    let frozen = list.freeze();
    list.set(100_000, b"other", &limits(-2));
    list.pop_front();
    assert_eq!(list.chunks_not_in(&frozen), 1);
    assert_eq!(frozen.get(0).map(Elem::to_vec), Some(b"value-0".to_vec()));
    assert_eq!(frozen.get(100_000).map(Elem::to_vec), Some(b"value-100000".to_vec()));
    assert_eq!(list.get(0).map(Elem::to_vec), Some(b"value-1".to_vec()));
}

#[test]
fn a_change_copies_what_it_changes_and_gives_back_what_it_cuts_off() {
    let mut list = List::new();
    for i in 0..200_000 {
        list.push_back(format!("value-{i}").as_bytes(), &limits(-2));
    }
    let frozen = list.freeze();
    assert_eq!(list.remove(1, b"value-7"), 1);
    assert_eq!(list.chunks_not_in(&frozen), 1);
    assert_eq!(list.remove(-2, b"value-199000"), 1);
    assert_eq!(list.chunks_not_in(&frozen), 2);
    // A full chunk is cut in two.
    assert_eq!(list.insert_after(b"value-100000", b"new", &limits(-2)), Some(()));
    assert!(list.chunks_not_in(&frozen) <= 4);
    list.check();
    let cut = list.trim(90_000..110_000).expect("most of it");
    assert!(cut.len() > 100_000 && list.len() == 20_000);
    assert!(list.chunks_not_in(&frozen) <= 4);
    list.check();
    assert_eq!(list.trim(5..5).map(|cut| cut.len()), Some(20_000));
    assert!(list.is_empty());
}

#[test]
fn elements_take_little_memory() {
    let mut list = List::new();
    for i in 0..100_000 {
        list.push_back(format!("elem{i:06}").as_bytes(), &limits(-2));
    }
    let per_element = list.allocated() as f64 / 100_000.0;
    println!("list: {per_element:.1} bytes for an element of 10");
    assert!(per_element < 13.0);
    assert!(size_of::<List>() <= 16);
}
