//! The primitives that clever code is built on, replaceable by `shuttle`'s so that its interleavings can be searched.
//!
//! Code whose correctness rests on the order of steps of several threads (the gate, the log) takes atomics, mutexes
//! and threads from here and from nowhere else. Normally these are those of `std` and `parking_lot`. A build with
//! `--cfg shuttle` takes shuttle's, and the tests named `shuttle_…` run each scenario under thousands of random
//! schedules; a deadlock or a failed assertion prints the schedule that replays it:
//!
//! ```text
//! RUSTFLAGS="--cfg shuttle" cargo test -p synap-core --lib --target-dir target/shuttle shuttle
//! ```
//!
//! (A target folder of its own, because the flag rebuilds every dependency.) The ordinary tests of such modules are
//! compiled only without that flag: shuttle's types work only inside its runner.

mod block_on;
mod elsewhere;

pub use block_on::{block_on, block_on_for};
pub use elsewhere::elsewhere;
pub(crate) use imp::*;

#[cfg(not(shuttle))]
mod imp {
    pub(crate) use std::hint;
    pub(crate) use std::sync::atomic;
    pub(crate) use std::thread;
    #[cfg(debug_assertions)]
    pub(crate) use std::thread_local;

    pub(crate) use parking_lot::Mutex;
}

#[cfg(shuttle)]
mod imp {
    pub(crate) use shuttle::hint;
    pub(crate) use shuttle::sync::{MutexGuard, atomic};
    pub(crate) use shuttle::thread;
    #[cfg(debug_assertions)]
    pub(crate) use shuttle::thread_local;

    /// Shuttle's mutex with `parking_lot`'s face: no poisoning, because a panic ends the test anyway.
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

/// Runs a scenario under thousands of schedules.
#[cfg(all(test, shuttle))]
pub(crate) fn search(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = std::sync::Arc::new(scenario);
    let again = std::sync::Arc::clone(&scenario);
    shuttle::check_random(move || scenario(), 4_000);
    shuttle::check_pct(move || again(), 4_000, 3);
}
