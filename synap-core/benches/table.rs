//! Get and set in one database of 1,000,000 keys, one by one and in batches with prefetch; memory of small keys.
//!
//! `cargo bench -p synap-core --bench table`. Nanoseconds are those of the best of five rounds, hashing included; keys
//! are visited in no order that a cache could foresee.

use std::hint::black_box;
use std::time::Instant;

use synap_core::keyspace::db::{Db, Expiry};
use synap_core::keyspace::entry::Entry;
use synap_core::keyspace::hasher::KeyHasher;

const KEYS: usize = 1_000_000;
/// Calls that a connection's loop takes from its buffer at once.
const BATCH: usize = 32;
const ROUNDS: usize = 5;

fn main() {
    let hasher = KeyHasher::new(42);
    let keys: Vec<[u8; 16]> = (0..KEYS).map(key).collect();
    let absent: Vec<[u8; 16]> = (KEYS..2 * KEYS).map(key).collect();
    let order: Vec<[u8; 16]> = (0..KEYS).map(|n| keys[n * 611_953 % KEYS]).collect();
    let missing: Vec<[u8; 16]> = (0..KEYS).map(|n| absent[n * 611_953 % KEYS]).collect();
    let mut db = Db::new(hasher, 0);

    let mut worst_ns = 0;
    let began = Instant::now();
    for key in &keys {
        let one = Instant::now();
        db.set_bytes(hasher.hash(key), key, b"sixteen letters.", Expiry::Clear);
        worst_ns = worst_ns.max(one.elapsed().as_nanos());
    }
    println!("insert                  {:6.1} ns, worst {} us", per_key(began), worst_ns / 1000);
    report("get", &order, |key| _ = black_box(db.get(hasher.hash(key), key)));
    report("get, absent", &missing, |key| _ = black_box(db.get(hasher.hash(key), key)));
    report_batches("get, prefetched", &order, |keys| {
        for (hash, key) in fetch(&db, &hasher, keys).into_iter().zip(keys) {
            black_box(db.get(hash, key));
        }
    });
    report("set", &order, |key| {
        drop(black_box(db.set_bytes(hasher.hash(key), key, b"sixteen letterz!", Expiry::Clear)))
    });
    report_batches("set, prefetched", &order, |keys| {
        for (hash, key) in fetch(&db, &hasher, keys).into_iter().zip(keys) {
            black_box(db.set_bytes(hash, key, b"Sixteen letters!", Expiry::Clear));
        }
    });

    println!("keys       bytes per key of 16 with a value of 16");
    for count in [100_000, 150_000, 200_000, 215_000, 230_000, 300_000, 1_000_000] {
        let mut db = Db::new(hasher, 0);
        for key in &keys[..count] {
            db.set_bytes(hasher.hash(key), key, b"sixteen letters.", Expiry::Clear);
        }
        let entries: usize = db.table().iter().map(Entry::allocated_bytes).sum();
        println!("{count:9}  {:.1}", (entries + db.allocated_bytes()) as f64 / count as f64);
    }
}

fn key(n: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    key[4..].copy_from_slice(format!("{n:012}").as_bytes());
    key
}

fn fetch(db: &Db, hasher: &KeyHasher, keys: &[[u8; 16]]) -> [u64; BATCH] {
    let mut hashes = [0; BATCH];
    for (hash, key) in hashes.iter_mut().zip(keys) {
        *hash = hasher.hash(key);
        db.table().prefetch_bucket(*hash);
    }
    for hash in hashes {
        db.table().prefetch_entries(hash);
    }
    hashes
}

fn report(name: &str, keys: &[[u8; 16]], mut each: impl FnMut(&[u8; 16])) {
    report_batches(name, keys, |keys| keys.iter().for_each(&mut each));
}

fn report_batches(name: &str, keys: &[[u8; 16]], mut each: impl FnMut(&[[u8; 16]])) {
    let best = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        keys.chunks_exact(BATCH).for_each(&mut each);
        per_key(began)
    });
    println!("{name:22}  {:6.1} ns", best.fold(f64::INFINITY, f64::min));
}

fn per_key(began: Instant) -> f64 {
    began.elapsed().as_nanos() as f64 / KEYS as f64
}
