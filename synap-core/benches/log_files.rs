//! What it costs to bring calls into a file: `cargo bench -p synap-core --bench log_files`.
//!
//! One line per case, nanoseconds per call, the best of several rounds (the others were disturbed). The file is in the
//! system's folder for temporary files: name its disk with the numbers.

use std::sync::Arc;
use std::time::Instant;

use synap_core::log::disk::testing::TempFolder;
use synap_core::log::disk::{Folder, Options, Policy, RealDisk, Writer, replay};
use synap_core::log::{HistoryId, Log, Position};
use synap_core::sync::block_on;

/// A call of 64 bytes.
const CALL: &[u8] = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$18\r\nabcdefghijklmnopqr\r\n";

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
    let round = |_| {
        let begin = Instant::now();
        for _ in 0..turns {
            (0..calls).for_each(|_| _ = log.append_raw(0, CALL));
            let end = log.end();
            writer.write_pending();
            if !log.is_settled(end) {
                block_on(log.settled_at(end));
            }
        }
        begin.elapsed().as_nanos() as f64 / f64::from(turns * calls)
    };
    let best = (0..5).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<42} {best:10.1} ns per call {:12.1} ns per turn", best * f64::from(calls));
    writer.close().expect("the end");
}
