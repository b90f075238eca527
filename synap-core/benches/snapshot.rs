//! What a snapshot costs: `cargo bench -p synap-core --bench snapshot`.
//!
//! One line per case: nanoseconds for each key and bytes per second, the best of several rounds (the others were
//! disturbed). The sink is memory.

use std::hint::black_box;
use std::time::Instant;

use synap_core::keyspace::value::Value;
use synap_core::snapshot::{ReadOptions, Reader, Usage, WriteOptions, Writer, crc64};
use synap_core::types::Limits;
use synap_core::types::hash::Hash;
use synap_core::types::zset::ZSet;

/// Few, so that a round is short and some rounds are not disturbed.
const KEYS: u32 = 2000;

fn main() {
    let bytes = vec![b'x'; 1 << 20];
    measure("checksum of 1 MB", 1, bytes.len(), || black_box(crc64::update(0, black_box(&bytes))));
    for (name, value, compress) in [
        ("strings of 16 bytes", Value::string(b"value:0000000001"), true),
        ("strings of 100 bytes, compressed", Value::string(&[b'x'; 100]), true),
        ("strings of 100 random bytes", Value::string(&random(100)), true),
        ("strings of 100 random bytes, as they are", Value::string(&random(100)), false),
        ("hashes of 10 fields", hash(10), true),
        ("hashes of 1000 fields", hash(1000), true),
        ("sorted sets of 10 members", zset(10), true),
        ("sorted sets of 1000 members", zset(1000), true),
    ] {
        let is_large = matches!(&value, Value::Hash(hash) if hash.len() > 100)
            || matches!(&value, Value::ZSet(zset) if zset.len() > 100);
        let keys = if is_large { KEYS / 100 } else { KEYS };
        let file = write(&value, keys, compress);
        measure(&format!("write {name}"), keys, file.len(), || black_box(write(&value, keys, compress)).len() as u64);
        measure(&format!("read {name}"), keys, file.len(), || {
            let reader = Reader::new(&file[..], ReadOptions::default()).expect("a file");
            reader.inspect(|item| assert!(black_box(item).is_ok())).count() as u64
        });
    }
}

fn write(value: &Value, keys: u32, compress: bool) -> Vec<u8> {
    let options = WriteOptions { compress, ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::with_capacity(1 << 20), options).expect("memory");
    let mut name = *b"key:000000000000";
    for key in 0..keys {
        name[8..].copy_from_slice(format!("{key:08}").as_bytes());
        writer.key(0, &name, value.view(), None, Usage::default()).expect("memory");
    }
    writer.finish().expect("memory")
}

fn random(len: usize) -> Vec<u8> {
    synap_core::testing::numbers(1, len).into_iter().map(|number| number as u8).collect()
}

fn hash(fields: usize) -> Value {
    let mut hash = Hash::new();
    for i in 0..fields {
        hash.set(format!("field:{i:04}").as_bytes(), format!("value:{i:04}").as_bytes(), &Limits::default());
    }
    Value::Hash(hash)
}

fn zset(members: usize) -> Value {
    let mut zset = ZSet::new();
    for i in 0..members {
        zset.insert(format!("member:{i:04}").as_bytes(), i as f64 / 7.0, &Limits::default());
    }
    Value::ZSet(zset)
}

fn measure(name: &str, times: u32, bytes: usize, mut f: impl FnMut() -> u64) {
    let round = |_| {
        let start = Instant::now();
        black_box(f());
        start.elapsed().as_nanos() as f64
    };
    let best = (0..200).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<52} {:10.1} ns {:8.2} GB/s", best / f64::from(times), bytes as f64 / best);
}
