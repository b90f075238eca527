//! What it costs to bring calls into a file: `cargo bench -p synap-core --bench log_files`.
//!
//! One line per case, nanoseconds per call: by the clock, and of the processor's time in the thread that writes (where
//! the system tells). The best of several rounds, because the others were disturbed. The file is in the system's folder
//! for temporary files: name its disk with the numbers.

use std::sync::Arc;
use std::time::Instant;

use synap_core::log::disk::testing::TempFolder;
use synap_core::log::disk::{Folder, Options, Policy, RealDisk, Writer, replay};
use synap_core::log::{HistoryId, Log, Position};
use synap_core::sync::block_on;

/// A call of 64 bytes.
const CALL: &[u8] = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$21\r\nabcdefghijklmnopqrstu\r\n";

fn main() {
    assert_eq!(CALL.len(), 64);
    println!("in {}", std::env::temp_dir().display());
    for zstd_level in [None, Some(1)] {
        let compressed = if zstd_level.is_some() { ", zstd" } else { "" };
        for calls in [1_u32, 16, 64, 1024] {
            measure(&format!("{calls} calls, one write{compressed}"), Policy::EverySecond, zstd_level, calls);
        }
    }
    for calls in [1_u32, 64] {
        measure(&format!("{calls} calls, one fsync"), Policy::Always, None, calls);
    }
}

fn measure(name: &str, policy: Policy, zstd_level: Option<i32>, calls: u32) {
    let temp = TempFolder::new("bench");
    let folder = Folder::open(Arc::new(RealDisk::open(temp.path()).expect("a folder"))).expect("an empty folder");
    let start = Position { offset: 0, db: None };
    let recovered = replay(&**folder.disk(), &folder.manifest(), start, &mut |_| Ok(())).expect("nothing to read");
    let log = Arc::new(Log::new(1 << 20, HistoryId::from_random([7; 20])));
    let options = Options { policy, zstd_level, ..Options::default() };
    let writer = Arc::new(Writer::begin(folder, &recovered, Arc::clone(&log), options).expect("a segment"));
    writer.start().expect("a thread");
    let turns = if policy == Policy::Always { 200 } else { 400_000 / calls.max(8) };
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..5 {
        let (begin, begin_cpu) = (Instant::now(), cpu_ns());
        for _ in 0..turns {
            (0..calls).for_each(|_| _ = log.append_raw(0, CALL));
            let end = log.end();
            writer.write_pending();
            if !log.is_settled(end) {
                block_on(log.settled_at(end));
            }
        }
        let per_call = |ns: f64| ns / f64::from(turns * calls);
        best.0 = best.0.min(per_call(begin.elapsed().as_nanos() as f64));
        best.1 = best.1.min(per_call(cpu_ns() - begin_cpu));
    }
    println!("{name:<36} {:10.1} ns per call, {:8.1} ns of the processor", best.0, best.1);
    writer.close().expect("the end");
}

/// The processor's time of this thread; nothing where the system has no such file.
fn cpu_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(f64::NAN)
}
