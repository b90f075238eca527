//! Nanoseconds of an operation on hashes, sets and dicts, and bytes of an element: `cargo bench --bench types_maps`.

use std::hint::black_box;
use std::time::Instant;

use synap_core::types::Limits;
use synap_core::types::dict::Dict;
use synap_core::types::hash::Hash;
use synap_core::types::set::Set;

fn main() {
    let limits = Limits::default();

    let fields: Vec<String> = (0..10).map(|i| format!("field:{i:02}")).collect();
    let values: Vec<String> = (0..20).map(|i| format!("value:{i:02}")).collect();
    measure("hash of 10: make it", 100_000, 10, |_| {
        let mut hash = Hash::new();
        let words = fields.iter().zip(&values).flat_map(|(field, value)| [field.as_bytes(), value.as_bytes()]);
        hash.expect(10, words, &limits);
        for (field, value) in fields.iter().zip(&values) {
            hash.set(field.as_bytes(), value.as_bytes(), &limits);
        }
        black_box(hash.len());
    });
    let mut hash = Hash::new();
    for (field, value) in fields.iter().zip(&values) {
        hash.set(field.as_bytes(), value.as_bytes(), &limits);
    }
    measure("hash of 10: set a field again", 3_000_000, 1, |i| {
        hash.set(fields[i % 10].as_bytes(), values[i % 20].as_bytes(), &limits);
    });
    measure("hash of 10: get", 3_000_000, 1, |i| {
        black_box(hash.get(fields[i % 10].as_bytes()).is_some());
    });
    measure("hash of 10: get what is not there", 3_000_000, 1, |i| {
        black_box(hash.get(values[i % 20].as_bytes()).is_some());
    });
    println!("{:>48} {:8}", "bytes", hash.allocated());

    let count = 1_000_000;
    let mut dict = Dict::new();
    measure("dict: insert a new one of 1M", count, 1, |i| {
        dict.insert(&key(i), &i.to_le_bytes());
    });
    measure("dict of 1M: get", count, 1, |i| {
        black_box(dict.get(&key(spread(i) % count)).is_some());
    });
    measure("dict of 1M: get what is not there", count, 1, |i| {
        black_box(dict.contains(&key(count + i)));
    });
    measure("dict of 1M: replace, same length", count, 1, |i| {
        dict.insert(&key(spread(i) % count), &i.to_le_bytes());
    });
    measure("dict of 1M: random", count, 1, |i| {
        black_box(dict.random(i as u64).is_some());
    });
    measure("dict of 1M: iterate, per element", 1, count, |_| {
        black_box(dict.iter().map(|entry| entry.value.len()).sum::<usize>());
    });
    println!("{:>48} {:8.1}", "bytes per element of 16", dict.allocated() as f64 / count as f64);
    measure("dict of 1M: freeze", 20, 1, |_| {
        black_box(dict.freeze().len());
    });
    let frozen = dict.freeze();
    measure("dict of 1M, frozen: first 1000 replacements", 1000, 1, |i| {
        dict.insert(&key(spread(i) % count), &i.to_le_bytes());
    });
    drop(frozen);
    measure("dict of 1M: remove", count, 1, |i| {
        dict.remove(&key(i));
    });

    let mut set = Set::new();
    measure("set: add 500 integers", 500, 1, |i| {
        set.add(i as i64 * 7, &limits);
    });
    measure("set of 500 integers: contains", 3_000_000, 1, |i| {
        black_box(set.contains(i as i64 % 1000));
    });
    let mut set = Set::new();
    measure("set: add a new word of 1M", count, 1, |i| {
        let member = format!("member:{i}");
        set.add(member.as_bytes(), &limits);
    });
    println!("{:>48} {:8.1}", "bytes per member of 13", set.allocated() as f64 / count as f64);
}

fn measure(name: &str, rounds: usize, operations: usize, mut round: impl FnMut(usize)) {
    let start = Instant::now();
    for i in 0..rounds {
        round(i);
    }
    println!("{name:>48} {:8.1} ns", start.elapsed().as_nanos() as f64 / (rounds * operations) as f64);
}

fn key(i: usize) -> [u8; 8] {
    (i as u64).to_le_bytes()
}

fn spread(i: usize) -> usize {
    i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20
}
