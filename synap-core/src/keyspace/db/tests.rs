use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::keyspace::value::Blob;

const ACCESS: Access<'static> = Access::new(0, None);

fn db() -> Db {
    Db::new(KeyHasher::new(7), 0)
}

fn hash(db: &Db, key: &[u8]) -> u64 {
    db.table().hasher().hash(key)
}

fn set(db: &mut Db, key: &[u8], bytes: &[u8], expiry: Expiry) -> Stored {
    db.set_bytes(hash(db, key), key, bytes, expiry, &ACCESS)
}

fn expires_at(db: &Db, key: &[u8]) -> Option<i64> {
    db.get(hash(db, key), key).and_then(Entry::expires_at)
}

fn expire(db: &mut Db, key: &[u8], at_ms: Option<i64>) -> bool {
    db.set_expiry(hash(db, key), key, at_ms)
}

/// Removes what is due and returns its keys, sorted.
fn reap(db: &mut Db, now_ms: i64) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while db.next_deadline().is_some_and(|deadline| deadline <= now_ms) {
        for due in db.due(now_ms, 3) {
            assert!(db.remove(due.hash, &due.key).is_some_and(|entry| entry.is_due(now_ms)));
            keys.push(due.key.into_vec());
        }
    }
    keys.sort();
    keys
}

#[test]
fn a_deadline_moves_both_ways_and_fires_once() {
    let mut db = db();
    set(&mut db, b"k", b"v", Expiry::At(100));
    assert!(expire(&mut db, b"k", Some(300)));
    assert_eq!((db.timers.len(), db.next_deadline()), (1, Some(100)));
    assert_eq!(reap(&mut db, 200), Vec::<Vec<u8>>::new());
    assert_eq!(db.next_deadline(), Some(300));
    expire(&mut db, b"k", Some(250));
    assert_eq!((db.timers.len(), db.next_deadline()), (2, Some(250)));
    assert_eq!(reap(&mut db, 250), [b"k"]);
    assert_eq!((db.len(), db.volatile(), db.next_deadline()), (0, 0, None));
    assert!(!expire(&mut db, b"k", Some(1)));
}

#[test]
fn set_keeps_clears_or_changes_the_deadline() {
    let mut db = db();
    set(&mut db, b"k", b"v", Expiry::At(100));
    set(&mut db, b"k", b"a longer value than it was before", Expiry::Keep);
    assert_eq!((expires_at(&db, b"k"), db.volatile()), (Some(100), 1));
    set(&mut db, b"k", b"12", Expiry::Clear);
    assert_eq!((expires_at(&db, b"k"), db.volatile(), db.next_deadline()), (None, 0, None));
    set(&mut db, b"k", b"v", Expiry::Keep);
    set(&mut db, b"k", &[b'x'; 5000], Expiry::At(7));
    set(&mut db, b"k", &[b'y'; 4000], Expiry::At(9));
    assert_eq!((expires_at(&db, b"k"), db.volatile()), (Some(9), 1));
    assert!(expire(&mut db, b"k", None));
    assert_eq!((expires_at(&db, b"k"), db.volatile()), (None, 0));
}

#[test]
fn far_deadlines_read_back_exactly_and_come_near_again() {
    let mut db = db();
    for ms in [NEAR_MS_MAX, NEAR_MS_MAX + 1, i64::MAX, 1] {
        set(&mut db, b"k", b"v", Expiry::At(ms));
        assert_eq!((expires_at(&db, b"k"), db.volatile()), (Some(ms), 1));
    }
    assert_eq!(reap(&mut db, 1), [b"k"]);
    set(&mut db, b"far", b"v", Expiry::At(i64::MAX));
    assert_eq!(db.next_deadline(), None);
}

#[test]
fn what_is_heavy_is_handed_out() {
    let mut db = db();
    let blob = Blob::new(vec![0; 2000]);
    let (key, at) = (b"k", hash(&db, b"k"));
    assert!(matches!(db.insert(at, key, Value::Blob(blob.clone()), Expiry::Keep, &ACCESS), Stored::Created));
    assert!(matches!(db.set_bytes(at, key, b"small", Expiry::Keep, &ACCESS), Stored::Replaced(Some(Value::Blob(_)))));
    assert!(matches!(db.set_bytes(at, key, b"smaller", Expiry::Keep, &ACCESS), Stored::Replaced(None)));
    assert_eq!(blob.holders(), 1);
}

#[test]
fn renaming_takes_value_deadline_and_timer_along() {
    let mut db = db();
    set(&mut db, b"old", b"value", Expiry::At(50));
    set(&mut db, b"new", b"other", Expiry::At(20));
    let entry = db.remove(hash(&db, b"old"), b"old").unwrap().rekey(b"new");
    let replaced = db.insert_entry(hash(&db, b"new"), entry).unwrap();
    assert_eq!((replaced.expires_at(), db.volatile(), db.len()), (Some(20), 1, 1));
    assert_eq!(reap(&mut db, 49), Vec::<Vec<u8>>::new());
    assert_eq!(reap(&mut db, 50), [b"new"]);
}

#[test]
fn stale_items_do_not_pile_up() {
    let mut db = db();
    for round in 0..20_000_i64 {
        let key = (round % 100).to_le_bytes();
        set(&mut db, &key, b"v", Expiry::At(1_000_000 - round));
        if round % 3 == 0 {
            db.remove(hash(&db, &key), &key);
        }
        // Sweeping follows the limit a few items at a time, and a removal lowers the limit by two.
        assert!(db.timers.len() <= 2 * db.volatile() + 64 + 16, "{} for {}", db.timers.len(), db.volatile());
    }
    for key in 0..100_i64 {
        db.remove(hash(&db, &key.to_le_bytes()), &key.to_le_bytes());
    }
    assert_eq!((db.timers.allocated_bytes(), db.next_deadline()), (0, None));
}

#[test]
fn timers_take_16_bytes_a_key_and_capacity() {
    let mut db = db();
    for key in 0..1000_u64 {
        set(&mut db, &key.to_le_bytes(), b"v", Expiry::At(5));
        set(&mut db, &key.to_le_bytes(), b"v", Expiry::At(9));
    }
    assert_eq!((db.timers.len(), db.volatile()), (1000, 1000));
}

#[test]
fn fields_fire_by_the_hash_of_their_key() {
    let mut db = db();
    for (deadline, hash) in [(30, 3), (10, 1), (20, 2), (i64::MAX, 4)] {
        db.file_field(deadline, hash);
    }
    assert_eq!(db.next_deadline(), Some(10));
    assert_eq!(db.due_fields(25, 1), [1]);
    assert_eq!(db.due_fields(25, 9), [2]);
    assert_eq!((db.due_fields(i64::MAX, 9), db.next_deadline()), (vec![3], None));
}

#[derive(Clone, Debug)]
enum Op {
    Set(u8, Expiry),
    Insert(u8, Expiry),
    Expire(u8, Option<i64>),
    Remove(u8),
    Rename(u8, u8),
    Wait(i64),
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..20_u8;
    let at = || prop_oneof![5 => 0..200_i64, 1 => NEAR_MS_MAX - 2..NEAR_MS_MAX + 3];
    let expiry = move || prop_oneof![Just(Expiry::Keep), Just(Expiry::Clear), at().prop_map(Expiry::At)];
    prop_oneof![
        (key(), expiry()).prop_map(|(key, expiry)| Op::Set(key, expiry)),
        (key(), expiry()).prop_map(|(key, expiry)| Op::Insert(key, expiry)),
        (key(), prop::option::of(at())).prop_map(|(key, at)| Op::Expire(key, at)),
        key().prop_map(Op::Remove),
        (key(), key()).prop_map(|(from, to)| Op::Rename(from, to)),
        (0..20_i64).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn every_key_is_due_exactly_at_its_deadline(ops in prop::collection::vec(op(), 0..200)) {
        let (mut db, mut now, mut model) = (db(), 0, HashMap::<u8, Option<i64>>::new());
        for op in ops {
            match op {
                Op::Set(key, expiry) | Op::Insert(key, expiry) => {
                    let at = hash(&db, &[key]);
                    let created = match op {
                        Op::Set(..) => db.set_bytes(at, &[key], b"value", expiry, &ACCESS),
                        _ => db.insert(at, &[key], Value::Int(3), expiry, &ACCESS),
                    };
                    let old = model.get(&key).copied();
                    prop_assert_eq!(matches!(created, Stored::Created), old.is_none());
                    model.insert(key, match expiry {
                        Expiry::Keep => old.flatten(),
                        Expiry::Clear => None,
                        Expiry::At(ms) => Some(ms),
                    });
                }
                Op::Expire(key, ms) => {
                    prop_assert_eq!(expire(&mut db, &[key], ms), model.contains_key(&key));
                    model.entry(key).and_modify(|at| *at = ms);
                }
                Op::Remove(key) => {
                    let at = hash(&db, &[key]);
                    prop_assert_eq!(db.remove(at, &[key]).is_some(), model.remove(&key).is_some());
                }
                Op::Rename(from, to) => {
                    let at = (hash(&db, &[from]), hash(&db, &[to]));
                    if let Some(entry) = db.remove(at.0, &[from]) {
                        db.insert_entry(at.1, entry.rekey(&[to]));
                        let deadline = model.remove(&from).unwrap();
                        model.insert(to, deadline);
                    }
                }
                Op::Wait(ms) => {
                    now += ms;
                    let mut due: Vec<_> =
                        model.iter().filter(|(_, at)| at.is_some_and(|at| at <= now)).map(|(key, _)| vec![*key]).collect();
                    due.sort();
                    model.retain(|_, at| at.is_none_or(|at| at > now));
                    prop_assert_eq!(reap(&mut db, now), due);
                }
            }
            prop_assert_eq!(db.len(), model.len());
            prop_assert_eq!(db.volatile(), model.values().flatten().count());
            for (key, at) in &model {
                prop_assert_eq!(expires_at(&db, &[*key]), *at);
            }
        }
    }
}

/// `volatile-ttl`: whatever was removed or moved later before, the key whose deadline is the nearest is among those shown.
#[test]
fn the_nearest_deadline_is_always_shown() {
    const POLICY: Policy = Policy { only_volatile: true, order: Order::Deadline };
    let mut db = db();
    let mut deadlines = HashMap::new();
    for number in 0..3000_i64 {
        let (key, at_ms) = (number.to_string().into_bytes(), 1000 + number * 7919 % 3000);
        set(&mut db, &key, b"v", Expiry::At(at_ms));
        deadlines.insert(key, at_ms);
    }
    // A session that lives is moved again and again.
    for number in (0..3000_i64).step_by(3) {
        let key = number.to_string().into_bytes();
        assert!(expire(&mut db, &key, Some(10_000 + number)));
        deadlines.insert(key, 10_000 + number);
    }
    while let Some(nearest) = deadlines.values().min().copied() {
        while !db.settle_deadlines(5) {}
        let mut shown = Vec::new();
        db.sample(POLICY, 1, 5, |_, entry| shown.push((entry.expires_at(), entry.key().to_vec())));
        shown.sort();
        assert_eq!(shown.first().map(|first| first.0), Some(Some(nearest)), "of {} keys", deadlines.len());
        let key = shown.swap_remove(0).1;
        assert!(db.remove(hash(&db, &key), &key).is_some());
        deadlines.remove(&key);
    }
    assert_eq!((db.len(), db.settle_deadlines(1)), (0, true));
}
