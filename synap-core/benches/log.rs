//! What an append costs: `cargo bench -p synap-core --bench log`.
//!
//! One line per case, nanoseconds per operation, the best of several rounds (the others were disturbed).

use std::hint::black_box;
use std::time::Instant;

use synap_core::log::{HistoryId, Log, Unit};

fn main() {
    let log = Log::new(1 << 20, HistoryId::from_random([7; 20]));
    let canonical = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nvalue\r\n";
    let words = [b"SET".as_slice(), b"key:000000000001", b"value"];
    measure("append a SET, its wire bytes", 2_000_000, || {
        black_box(log.append_raw(0, black_box(canonical)));
    });
    measure("append a SET, its words", 2_000_000, || {
        black_box(log.append_words(0, black_box(&words)));
    });
    let mut unit = Unit::new();
    measure("append a unit of two calls", 1_000_000, || {
        unit.clear();
        unit.words(0, black_box(&words));
        unit.words(0, black_box(&words));
        black_box(log.append(&unit));
    });
    measure("notify, nobody waits", 5_000_000, || log.notify());
    let mut out = Vec::new();
    measure("read 128 kB", 20_000, || {
        out.clear();
        black_box(log.read_from(log.end() - 131_072, &mut out)).expect("kept");
    });
}

fn measure(name: &str, times: u32, mut f: impl FnMut()) {
    let round = |_| {
        let start = Instant::now();
        (0..times).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / f64::from(times)
    };
    let best = (0..7).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<42} {best:8.1} ns");
}
