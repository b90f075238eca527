//! How much memory is in use, counted where it is taken: in the allocator.
//!
//! A program that opens an engine makes [`Counting`] its allocator, around any other one:
//!
//! ```
//! use std::alloc::System;
//! use synap_core::memory::Counting;
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting<System> = Counting(System);
//! # fn main() {}
//! ```
//!
//! Each thread counts for itself and adds what it has to the sum now and then: when it is more than [`KEPT_BYTES`], and
//! between its calls ([`fold`]). So the sum is off by that much for each thread at most, and what an allocation costs
//! more is an addition to a number of the thread's own. (jemalloc's own sum takes a lock of each of its arenas.)
//!
//! Without it nothing is counted, and nothing is ever too much.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes that a thread counts for itself before it adds them to the sum.
const KEPT_BYTES: isize = 16 << 10;

/// The same between two calls: small limits hold too.
const KEPT_BETWEEN_CALLS: isize = 1 << 10;

thread_local! {
    /// Bytes taken less bytes given back that are not in the sum yet. Without a destructor, so that it may be used
    /// while anything else of the thread begins or ends.
    static KEPT: Cell<isize> = const { Cell::new(0) };
}

/// On a cache line of its own: it is read by every call.
#[repr(align(128))]
struct Sum {
    /// For a moment less than nothing, when one thread gives back what another one has taken.
    total: AtomicIsize,
    peak: AtomicIsize,
}

static SUM: Sum = Sum { total: AtomicIsize::new(0), peak: AtomicIsize::new(0) };

/// Bytes in use in the whole process; 0 when they are not counted.
#[inline]
pub fn total() -> usize {
    usize::try_from(SUM.total.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The most that [`total`] has been.
pub fn peak() -> usize {
    usize::try_from(SUM.peak.load(Ordering::Relaxed)).unwrap_or(0)
}

/// From now on the most is what there is.
pub fn reset_peak() {
    SUM.peak.store(SUM.total.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Adds to the sum what this thread has counted, unless it is next to nothing. Said between calls.
#[inline]
pub fn fold() {
    let kept = KEPT.get();
    if kept.abs() > KEPT_BETWEEN_CALLS {
        KEPT.set(0);
        add(kept);
    }
}

/// The same to the byte, by whoever is about to look at the sum.
pub fn fold_all() {
    let kept = KEPT.replace(0);
    if kept != 0 {
        add(kept);
    }
}

#[inline]
fn count(bytes: isize) {
    let kept = KEPT.get() + bytes;
    if kept.abs() > KEPT_BYTES {
        KEPT.set(0);
        add(kept);
    } else {
        KEPT.set(kept);
    }
}

fn add(bytes: isize) {
    let total = SUM.total.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if total > SUM.peak.load(Ordering::Relaxed) {
        SUM.peak.fetch_max(total, Ordering::Relaxed);
    }
}

/// Counts what another allocator gives.
#[derive(Debug)]
pub struct Counting<A>(pub A);

// SAFETY: all is the inner allocator's, which keeps the promises; counting neither allocates nor panics.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        taken(unsafe { self.0.alloc(layout) }, layout)
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: promised by the caller.
        taken(unsafe { self.0.alloc_zeroed(layout) }, layout)
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: promised by the caller.
        unsafe { self.0.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: promised by the caller.
        let moved = unsafe { self.0.realloc(memory, layout, size) };
        if !moved.is_null() {
            count(signed(size) - signed(layout.size()));
        }
        moved
    }
}

/// Counts an allocation, unless it has failed.
#[inline]
fn taken(memory: *mut u8, layout: Layout) -> *mut u8 {
    if !memory.is_null() {
        count(signed(layout.size()));
    }
    memory
}

/// What an allocation of so many bytes takes.
#[inline]
fn signed(bytes: usize) -> isize {
    // No layout is longer than an isize can tell, and its class is less than twice as long.
    size_class(bytes) as isize
}

/// The allocator's size class: multiples of 16, from 128 on four for each doubling (jemalloc; other allocators lose
/// little by such sizes).
#[inline]
pub fn size_class(bytes: usize) -> usize {
    let step = 1 << ((bytes.wrapping_sub(1) | 127).ilog2() - 2);
    bytes.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        let expect = [
            (1, 16),
            (12, 16),
            (16, 16),
            (17, 32),
            (48, 48),
            (49, 64),
            (112, 112),
            (128, 128),
            (129, 160),
            (160, 160),
            (193, 224),
            (256, 256),
            (257, 320),
            (512, 512),
            (513, 640),
            (1025, 1280),
            (4097, 5120),
            (14337, 16384),
        ];
        for (bytes, class) in expect {
            assert_eq!(size_class(bytes), class, "{bytes}");
        }
    }

    /// Other tests allocate meanwhile, but not as much.
    #[test]
    fn what_is_taken_is_counted_until_it_is_given_back() {
        const BYTES: usize = 1 << 30;
        fold_all();
        let before = total();
        let mut block: Vec<u8> = Vec::with_capacity(BYTES);
        assert!(total() > before + BYTES / 2 && peak() >= before + BYTES / 2);
        block.reserve_exact(2 * BYTES);
        assert!(total() > before + BYTES + BYTES / 2);
        drop(block);
        fold_all();
        assert!(total() < before + BYTES / 2);
        assert!(Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err());
        assert!(total() < before + BYTES / 2, "what was not given is not counted");
    }
}
