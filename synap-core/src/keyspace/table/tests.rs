use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::keyspace::hasher::shard_of;
use crate::keyspace::value::{Blob, Value};

fn table() -> Table {
    Table::new(KeyHasher::new(1))
}

fn put(table: &mut Table, key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let hash = table.hasher().hash(key);
    table.insert(hash, Entry::new(key, Value::string(value))).map(|old| text(&old))
}

fn remove(table: &mut Table, key: &[u8]) -> Option<Vec<u8>> {
    let hash = table.hasher().hash(key);
    table.remove(hash, key).map(|old| text(&old))
}

fn get(table: &Table, key: &[u8]) -> Option<Vec<u8>> {
    table.get(table.hasher().hash(key), key).map(text)
}

fn text(entry: &Entry) -> Vec<u8> {
    entry.as_string().unwrap().to_vec()
}

/// Keys of one shard, as a table in the server has: the low six bits of their hashes are equal.
fn shard_keys(hasher: &KeyHasher, shard: usize) -> impl Iterator<Item = Vec<u8>> {
    let hasher = *hasher;
    (0..).map(|n: u64| format!("key:{n}").into_bytes()).filter(move |key| shard_of(hasher.hash(key)) == shard)
}

fn numbered(count: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|n| format!("key:{n:012}").into_bytes())
}

impl Table {
    /// Everything that the rest of the code relies on.
    fn check(&self) {
        assert_eq!(self.directory.len(), if self.directory.is_empty() { 0 } else { 1 << self.depth });
        assert_eq!(self.segments().filter(|segment| segment.depth == self.depth).count(), self.deepest_count);
        assert_eq!(self.segments().map(|segment| segment.count as usize).sum::<usize>(), self.len);
        assert_eq!(self.iter().count(), self.len);
        assert_eq!(self.is_empty(), self.directory.is_empty());
        let mut index = 0;
        while index < self.directory.len() {
            let run = self.run(index);
            assert_eq!(run.start, index);
            let segment = &self.directory[index];
            assert!(self.directory[run.clone()].iter().all(|s| std::ptr::eq(s.buckets(), segment.buckets())));
            for entry in segment.buckets().iter().flat_map(|bucket| bucket.entries()) {
                let hash = self.hasher.hash(entry.key());
                assert!(run.contains(&self.index(hash)));
                assert!(std::ptr::eq(self.get(hash, entry.key()).unwrap(), entry));
            }
            index = run.end;
        }
    }

    fn scan_all(&self) -> Vec<Vec<u8>> {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = self.scan(cursor, |entry| seen.push(entry.key().to_vec()));
            assert!(cursor < 1 << CURSOR_BITS);
            if cursor == 0 {
                return seen;
            }
        }
    }
}

#[test]
fn an_empty_table_has_no_memory_and_answers() {
    let mut table = table();
    assert_eq!((table.allocated_bytes(), table.len(), table.scan(0, |_| ())), (0, 0, 0));
    assert!(get(&table, b"k").is_none() && table.random(3).is_none() && table.iter().next().is_none());
    assert!(remove(&mut table, b"k").is_none() && table.find_by_hash(9).next().is_none());
    table.prefetch_bucket(1);
    table.prefetch_entries(1);
    put(&mut table, b"k", b"v");
    assert!(table.allocated_bytes() <= 64 + 16);
    remove(&mut table, b"k");
    assert_eq!(table.allocated_bytes(), 0);
}

#[test]
fn grows_and_shrinks_and_stays_correct() {
    let mut table = table();
    let keys: Vec<_> = shard_keys(table.hasher(), 5).take(20_000).collect();
    for (count, key) in keys.iter().enumerate() {
        assert_eq!(put(&mut table, key, key), None);
        if count.is_power_of_two() {
            table.check();
        }
    }
    table.check();
    assert!(table.depth >= 4);
    for key in &keys {
        assert_eq!(get(&table, key).as_ref(), Some(key));
        table.prefetch_bucket(table.hasher().hash(key));
        table.prefetch_entries(table.hasher().hash(key));
    }
    for (count, key) in keys.iter().enumerate() {
        assert_eq!(remove(&mut table, key).as_ref(), Some(key));
        if count % 3000 == 0 || keys.len() - count < 50 {
            table.check();
        }
    }
    assert_eq!(table.allocated_bytes(), 0);
}

#[test]
fn mass_deletion_gives_memory_back() {
    let mut table = table();
    let keys: Vec<_> = numbered(50_000).collect();
    keys.iter().for_each(|key| drop(put(&mut table, key, b"")));
    let full = table.allocated_bytes();
    keys.iter().skip(500).for_each(|key| drop(remove(&mut table, key)));
    table.check();
    assert!(table.allocated_bytes() < full / 20, "{} of {full}", table.allocated_bytes());
}

#[test]
fn loading_in_table_order_or_in_scan_order_is_no_worse_than_in_any() {
    let mut source = table();
    numbered(60_000).for_each(|key| drop(put(&mut source, &key, b"")));
    let table_order = source.iter().map(|entry| entry.key().to_vec()).collect::<Vec<_>>();
    for keys in [table_order, source.scan_all()] {
        let mut table = table();
        for (count, key) in keys.iter().enumerate() {
            put(&mut table, key, b"");
            if count.is_power_of_two() {
                table.check();
                assert!(table.allocated_bytes() < 10_000 + 100 * (count + 1), "{count}: {}", table.allocated_bytes());
            }
        }
        table.check();
        assert!(table.allocated_bytes() < 2 * source.allocated_bytes());
    }
}

/// Makes a table believe that hashes are what the test says, which the seeded hasher prevents outside.
fn segment_with(hashes: impl Iterator<Item = u64>, log2: u8) -> Segment {
    let mut segment = Segment::new(log2, 0);
    segment.fill(hashes.enumerate().map(|(n, hash)| (hash, Entry::new(&n.to_le_bytes(), Value::Int(n as i64)))));
    segment
}

#[test]
fn equal_hashes_fill_a_segment_to_the_last_slot_and_come_out_again() {
    let count = BUCKET_SLOTS << BUCKETS_LOG2;
    let hashes: [fn(usize) -> u64; 3] = [|_| 0, |_| u64::MAX, |n| (n as u64 % 3) << 14];
    for hash in hashes {
        let mut segment = segment_with((0..count).map(hash), BUCKETS_LOG2);
        for n in 0..count {
            let place = segment.find(hash(n), &n.to_le_bytes()).unwrap();
            assert_eq!(segment.at(place).key(), n.to_le_bytes());
        }
        assert!(segment.find(hash(0), b"absent").is_none());
        for n in (0..count).rev() {
            let place = segment.find(hash(n), &n.to_le_bytes()).unwrap();
            drop(segment.remove(hash(n), place));
        }
        assert!(segment.buckets().iter().all(|bucket| bucket.entries().next().is_none()));
        // SAFETY: it is not used again.
        unsafe { segment.free() };
    }
}

#[test]
fn passed_marks_go_with_the_entries_that_left_them() {
    let mut segment = segment_with((0..40).map(|_| 0), 4);
    assert_eq!(segment.walk(0).count(), 6);
    for n in 0..40_usize {
        let place = segment.find(0, &n.to_le_bytes()).unwrap();
        drop(segment.remove(0, place));
    }
    assert_eq!(segment.walk(0).count(), 1);
    // SAFETY: it is not used again.
    unsafe { segment.free() };
}

#[test]
fn crowded_prefixes_grow_buckets_when_the_directory_may_not() {
    // 900 keys that agree in 13 prefix bits ask for a directory of 16,384 slots or more, and may have 4,096.
    let mut table = table();
    let hasher = *table.hasher();
    let crowd: Vec<_> = numbered(8_000_000).filter(|key| hasher.hash(key) >> 51 == 0).take(900).collect();
    assert_eq!(crowd.len(), 900);
    crowd.iter().for_each(|key| drop(put(&mut table, key, key)));
    table.check();
    assert_eq!((table.depth, table.directory[0].log2), (0, BUCKETS_LOG2 + 1));
    let expected: HashSet<_> = crowd.iter().cloned().collect();
    let scanned = table.scan_all();
    assert_eq!((scanned.len(), scanned.into_iter().collect::<HashSet<_>>()), (900, expected));
    // With more keys beside them the crowd is split after all.
    numbered(100_000).for_each(|key| drop(put(&mut table, &key, &key)));
    table.check();
    assert!(crowd.iter().all(|key| get(&table, key).is_some()));
    crowd.iter().for_each(|key| drop(remove(&mut table, key)));
    table.check();
}

#[test]
fn scan_visits_each_once_and_steps_are_small() {
    for count in [1, 5, 7, 8, 100, 800, 5000, 40_000] {
        let mut table = table();
        numbered(count).for_each(|key| drop(put(&mut table, &key, b"")));
        let seen = table.scan_all();
        assert_eq!(seen.len(), count);
        assert_eq!(seen.into_iter().collect::<HashSet<_>>(), numbered(count).collect());
        let (mut cursor, mut largest) = (0, 0);
        loop {
            let mut visited = 0;
            cursor = table.scan(cursor, |_| visited += 1);
            largest = largest.max(visited);
            if cursor == 0 {
                break;
            }
        }
        assert!(largest <= 32, "{largest} in one step");
    }
    assert_eq!(table().scan(u64::MAX, |_| ()), 0);
}

#[test]
fn find_by_hash_finds_what_displaced_others() {
    let mut table = table();
    numbered(10_000).for_each(|key| drop(put(&mut table, &key, b"")));
    for key in numbered(10_000) {
        let found: Vec<_> = table.find_by_hash(table.hasher().hash(&key)).map(|e| e.key().to_vec()).collect();
        assert_eq!(found, [key]);
    }
}

#[test]
fn random_is_fair() {
    for count in [1, 2, 10, 3000] {
        let mut table = table();
        numbered(count).for_each(|key| drop(put(&mut table, &key, b"")));
        let mut drawn: HashMap<Vec<u8>, usize> = HashMap::new();
        let draws = count * 50;
        for seed in 0..draws as u64 {
            *drawn
                .entry(table.random(seed.wrapping_mul(0x1234_5678_9abc_def1)).unwrap().key().to_vec())
                .or_default() += 1;
        }
        // 50 draws are expected for each; ten standard deviations are 70.
        assert!(drawn.values().all(|times| *times < 125), "{:?}", drawn.values().max());
        assert!(drawn.len() == count, "{} of {count}", drawn.len());
    }
}

#[test]
fn dropping_taking_and_replacing_free_every_entry_once() {
    let blob = Blob::new(vec![0; 10]);
    let mut table = table();
    for round in 0..2 {
        for key in numbered(5000) {
            let hash = table.hasher().hash(&key);
            assert_eq!(table.insert(hash, Entry::new(&key, Value::Blob(blob.clone()))).is_some(), round == 1);
        }
        assert_eq!(blob.holders(), 5001);
    }
    numbered(2500).for_each(|key| {
        let hash = table.hasher().hash(&key);
        drop(table.remove(hash, &key));
    });
    assert_eq!(blob.holders(), 2501);
    let taken = table.take();
    assert_eq!((table.len(), table.allocated_bytes(), taken.len(), blob.holders()), (0, 0, 2500, 2501));
    drop(taken);
    assert_eq!(blob.holders(), 1);
}

/// The promise of the memory budget: keys and values of 16 bytes, buckets and directory included.
#[test]
fn a_small_key_takes_at_most_68_bytes() {
    let mut table = table();
    numbered(200_000).for_each(|key| drop(put(&mut table, &key, b"sixteen letters.")));
    let entries: usize = table.iter().map(Entry::allocated_bytes).sum();
    let per_key = (entries + table.allocated_bytes()) as f64 / table.len() as f64;
    assert_eq!(entries / table.len(), 48);
    assert!(per_key <= 68.0, "{per_key}");
}

#[derive(Clone, Debug)]
enum Op {
    Put(u16, u8),
    Remove(u16),
    Get(u16),
    Random(u64),
    /// Removes keys from one number up to another.
    Clear(u16, u16),
    /// Puts keys from one number up to another.
    Fill(u16, u16),
}

fn ops(keys: u16) -> impl Strategy<Value = Vec<Op>> {
    let key = move || 0..keys;
    prop::collection::vec(
        prop_oneof![
            4 => (key(), any::<u8>()).prop_map(|(key, value)| Op::Put(key, value)),
            4 => key().prop_map(Op::Remove),
            2 => key().prop_map(Op::Get),
            1 => any::<u64>().prop_map(Op::Random),
            1 => (key(), key()).prop_map(|(a, b)| Op::Clear(a, b)),
            1 => (key(), key()).prop_map(|(a, b)| Op::Fill(a, b)),
        ],
        0..60,
    )
}

fn name(key: u16) -> Vec<u8> {
    format!("{key}:name").into_bytes()
}

fn apply(table: &mut Table, model: &mut HashMap<Vec<u8>, Vec<u8>>, op: Op) -> Result<(), TestCaseError> {
    match op {
        Op::Put(key, value) => {
            let value = vec![value; usize::from(value)];
            prop_assert_eq!(put(table, &name(key), &value), model.insert(name(key), value));
        }
        Op::Remove(key) => prop_assert_eq!(remove(table, &name(key)), model.remove(&name(key))),
        Op::Get(key) => prop_assert_eq!(get(table, &name(key)), model.get(&name(key)).cloned()),
        Op::Random(seed) => match table.random(seed) {
            Some(entry) => prop_assert!(model.contains_key(entry.key())),
            None => prop_assert!(model.is_empty()),
        },
        Op::Clear(from, to) => {
            for key in from..to {
                prop_assert_eq!(remove(table, &name(key)), model.remove(&name(key)));
            }
        }
        Op::Fill(from, to) => {
            for key in from..to {
                prop_assert_eq!(put(table, &name(key), b"v"), model.insert(name(key), b"v".to_vec()));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn behaves_as_a_map(ops in prop_oneof![ops(12), ops(300), ops(6000)]) {
        let (mut table, mut model) = (table(), HashMap::new());
        for op in ops {
            apply(&mut table, &mut model, op)?;
            prop_assert_eq!(table.len(), model.len());
        }
        table.check();
        let seen = table.scan_all();
        prop_assert_eq!(seen.len(), model.len());
        prop_assert!(seen.iter().all(|key| model.contains_key(key)));
        let all: HashMap<_, _> = table.iter().map(|entry| (entry.key().to_vec(), text(entry))).collect();
        prop_assert_eq!(all, model);
    }

    /// Some keys stay; others come and go between the steps and make the table grow and shrink.
    #[test]
    fn scan_misses_nothing_that_stays(
        stay in prop_oneof![1..20_u16, 1..4000_u16],
        ops in ops(6000),
        pause in 1..40_usize,
    ) {
        let (mut table, mut others) = (table(), HashMap::new());
        let staying: HashSet<_> = (0..stay).map(|n| format!("stays {n}").into_bytes()).collect();
        staying.iter().for_each(|key| drop(put(&mut table, key, b"")));
        let (mut cursor, mut seen, mut ops) = (0, HashMap::<Vec<u8>, usize>::new(), ops.into_iter());
        loop {
            for _ in 0..pause {
                cursor = table.scan(cursor, |entry| *seen.entry(entry.key().to_vec()).or_default() += 1);
                if cursor == 0 {
                    break;
                }
            }
            if cursor == 0 {
                break;
            }
            if let Some(op) = ops.find(|op| !matches!(op, Op::Random(_))) {
                apply(&mut table, &mut others, op)?;
            }
        }
        for key in &staying {
            prop_assert_eq!(seen.get(key), Some(&1));
        }
    }
}

/// Every entry comes up in samples, about as often as the others, whatever its place.
#[test]
fn samples_are_of_all_entries() {
    let mut table = table();
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    for key in numbered(3000) {
        put(&mut table, &key, b"v");
        seen.insert(key, 0);
    }
    for seed in 0..60_000 {
        let mut left = 5;
        table.sample(seed, |entry| {
            *seen.get_mut(entry.key()).expect("it is in the table") += 1;
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(left, 0);
    }
    // A hundred each on average.
    let (least, most) = (seen.values().min().unwrap(), seen.values().max().unwrap());
    assert!(*least >= 20 && *most <= 400, "from {least} to {most}");
}
