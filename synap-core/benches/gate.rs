//! What the gate costs: `cargo bench -p synap-core --bench gate`.
//!
//! One line per case, nanoseconds per operation, the best of several rounds (the others were disturbed).

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use synap_core::execute::gate::Gate;
use synap_core::sync::block_on;

fn main() {
    let gate = Gate::new();
    measure("enter and leave, alone", 5_000_000, || drop(black_box(gate.try_enter(0))));
    measure("enter (future) and leave, alone", 5_000_000, || drop(black_box(block_on(gate.enter(0)))));
    measure("close and open, alone", 500_000, || drop(black_box(block_on(gate.close()))));
    with_company(|stop, gate| {
        while !stop.load(Ordering::Relaxed) {
            drop(black_box(gate.try_enter(1)));
        }
    });
}

/// The same beside a second thread that enters through another slot.
fn with_company(company: fn(&AtomicBool, &Gate)) {
    let (gate, stop) = (Gate::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| company(&stop, &gate));
        measure("enter and leave, another thread too", 5_000_000, || drop(black_box(gate.try_enter(0))));
        measure("close and open, another thread entering", 100_000, || drop(black_box(block_on(gate.close()))));
        stop.store(true, Ordering::Relaxed);
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
