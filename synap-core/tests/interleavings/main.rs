//! Many threads over one engine, by promise: what single-threaded Redis has for free and many threads must keep.
//!
//! Each test runs for a second or two, prints its seed when it fails, and ends with the twin: the log, replayed by one
//! thread, must give the same data. A watchdog turns a deadlock into a failure.

// A thread that panicked is the failure that is shown.
#![allow(clippy::unwrap_used)]

mod atomic;
mod blocked;
mod expiry;
mod fairness;
mod pause;
mod pushes;
mod settled;
mod sweeping;
mod watch;
mod world;
