//! Growable bytes behind one pointer: the allocation under a listpack and an intset.
//!
//! ```text
//! handle (8 bytes) ──► used: u32 │ class: u8, note: u24 │ bytes …
//! ```
//!
//! A collection of ten small elements lives or dies by its overhead, so the capacity is not a number but the index of an
//! allocator's size class: room that the allocator would round up to anyway is used, and none beyond it is asked for.
//! An empty blob points at a constant and owns nothing.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;
use std::slice;

/// Bytes that a blob can hold.
pub const BLOB_BYTES_MAX: usize = u32::MAX as usize - 64;

/// The largest number beside the bytes.
pub const NOTE_MAX: u32 = (1 << 24) - 1;

/// See the module.
pub struct Blob {
    header: NonNull<Header>,
}

#[repr(C, align(8))]
struct Header {
    used: u32,
    /// The low 8 bits are the size class of the allocation (0: none), the rest is the owner's note.
    class_and_note: u32,
}

const HEADER_BYTES: usize = size_of::<Header>();

static EMPTY: Header = Header { used: 0, class_and_note: 0 };

// SAFETY: a blob owns its bytes; the shared EMPTY is never written (every write goes through `own`).
unsafe impl Send for Blob {}
// SAFETY: as above; nothing changes behind `&Blob`.
unsafe impl Sync for Blob {}

impl Blob {
    pub const fn new() -> Blob {
        Blob { header: NonNull::from_ref(&EMPTY) }
    }

    pub fn with_capacity(bytes: usize) -> Blob {
        let mut blob = Blob::new();
        if bytes > 0 {
            blob.resize(class_of(HEADER_BYTES + bytes));
        }
        blob
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: points at EMPTY or at an allocation that starts with an initialised header, alive as long as self.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.header().used as usize
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.header().used == 0
    }

    /// A number of 24 bits that the owner keeps beside the bytes; 0 in a new blob.
    #[inline]
    pub fn note(&self) -> u32 {
        self.header().class_and_note >> 8
    }

    /// Must not be called on a blob that owns nothing, except with 0.
    pub fn set_note(&mut self, note: u32) {
        assert!(note <= NOTE_MAX);
        let class = self.class();
        if class == 0 {
            assert!(note == 0, "a blob without an allocation has no room for a note");
            return;
        }
        // SAFETY: class > 0, so the header is ours and not EMPTY.
        unsafe { self.header.as_mut().class_and_note = u32::from(class) | note << 8 };
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `used` initialised bytes follow the header (none for EMPTY, where one past the end is a valid address).
        unsafe { slice::from_raw_parts(self.data(), self.len()) }
    }

    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes us alone; for EMPTY the slice is of zero bytes.
        unsafe { slice::from_raw_parts_mut(self.data(), self.len()) }
    }

    /// Bytes asked of the allocator.
    pub fn allocated(&self) -> usize {
        size_of_class(self.class())
    }

    /// Replaces `old` bytes at `at` by the given parts, one after the other.
    pub fn splice(&mut self, at: usize, old: usize, parts: [&[u8]; 3]) {
        let used = self.len();
        assert!(at <= used && old <= used - at);
        let new = parts[0].len() + parts[1].len() + parts[2].len();
        let total = used - old + new;
        assert!(total <= BLOB_BYTES_MAX, "a blob of more than 4 GB");
        if total == 0 {
            *self = Blob::new();
            return;
        }
        if HEADER_BYTES + total > self.allocated() {
            self.resize(class_of(HEADER_BYTES + total));
        }
        // SAFETY: the allocation holds the header and `total` bytes; at + old <= used, so the tail moves within it. The parts
        // cannot overlap it, because they are borrowed while we are `&mut`. Their sum is `new`, the gap just opened.
        unsafe {
            let hole = self.data().add(at);
            if new != old && at + old < used {
                hole.add(old).copy_to(hole.add(new), used - at - old);
            }
            let mut to = hole;
            for part in parts {
                // Most heads and ends are one byte: not worth a call of memcpy.
                match part {
                    [] => {}
                    [byte] => to.write(*byte),
                    _ => to.copy_from_nonoverlapping(part.as_ptr(), part.len()),
                }
                to = to.add(part.len());
            }
            self.header.as_mut().used = total as u32;
        }
        // Give back what has become free, with some slack so that a collection at rest around a size does not bounce.
        if new < old && HEADER_BYTES + total + total / 4 + 32 < self.allocated() {
            self.shrink_to_fit();
        }
    }

    pub fn shrink_to_fit(&mut self) {
        if self.is_empty() {
            *self = Blob::new();
            return;
        }
        let class = class_of(HEADER_BYTES + self.len());
        if class < self.class() {
            self.resize(class);
        }
    }

    #[inline]
    fn class(&self) -> u8 {
        self.header().class_and_note as u8
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        // SAFETY: every header has at least its own size behind its address.
        unsafe { self.header.as_ptr().cast::<u8>().add(HEADER_BYTES) }
    }

    /// Moves to an allocation of another class, which must be large enough.
    fn resize(&mut self, class: u8) {
        let size = size_of_class(class);
        assert!(size >= HEADER_BYTES + self.len());
        let layout = layout_of(class);
        let old_class = self.class();
        // SAFETY: sizes are at least 16; an owned allocation (class > 0) was made with the layout of its class.
        let raw = unsafe {
            if old_class == 0 {
                alloc(layout)
            } else {
                realloc(self.header.as_ptr().cast(), layout_of(old_class), size)
            }
        };
        let Some(header) = NonNull::new(raw.cast::<Header>()) else { handle_alloc_error(layout) };
        // SAFETY: freshly allocated with the alignment of a header, or moved here with its old content.
        unsafe {
            if old_class == 0 {
                header.write(Header { used: 0, class_and_note: u32::from(class) });
            } else {
                let word = &mut (*header.as_ptr()).class_and_note;
                *word = *word & !0xff | u32::from(class);
            }
        }
        self.header = header;
    }
}

impl Clone for Blob {
    /// Copies the bytes into an allocation of their size.
    fn clone(&self) -> Blob {
        let mut copy = Blob::with_capacity(self.len());
        if !self.is_empty() {
            copy.splice(0, 0, [self.bytes(), b"", b""]);
            copy.set_note(self.note());
        }
        copy
    }
}

impl Default for Blob {
    fn default() -> Blob {
        Blob::new()
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let class = self.class();
        if class > 0 {
            // SAFETY: allocated by `resize` with this layout, and not used again.
            unsafe { dealloc(self.header.as_ptr().cast(), layout_of(class)) };
        }
    }
}

/// Bytes that an allocator is likely to spend on so many.
#[inline]
pub fn round_up(bytes: usize) -> usize {
    size_of_class(class_of(bytes))
}

fn layout_of(class: u8) -> Layout {
    // Sizes are far below isize::MAX, and the alignment is a power of two.
    Layout::from_size_align(size_of_class(class), align_of::<Header>()).expect("a size class is a valid layout")
}

/// Classes 1 to 8 are multiples of 16; then four classes for each doubling (160, 192, 224, 256, 320 …), as jemalloc has them.
#[inline]
fn class_of(bytes: usize) -> u8 {
    if bytes <= 128 {
        return bytes.div_ceil(16) as u8;
    }
    let last = bytes - 1;
    let group = last.ilog2() - 7;
    let step = (last - (128 << group)) >> (5 + group);
    (9 + 4 * group) as u8 + step as u8
}

#[inline]
fn size_of_class(class: u8) -> usize {
    let class = usize::from(class);
    if class <= 8 {
        return class * 16;
    }
    let (group, step) = ((class - 9) / 4, (class - 9) % 4);
    (128 << group) + ((step + 1) << (5 + group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_class_is_the_smallest_that_holds() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 3 << 30, BLOB_BYTES_MAX + HEADER_BYTES]) {
            let class = class_of(bytes);
            assert!(size_of_class(class) >= bytes, "{bytes}");
            assert!(size_of_class(class - 1) < bytes, "{bytes}");
        }
        assert_eq!([9, 10, 11, 12, 13].map(size_of_class), [160, 192, 224, 256, 320]);
    }

    #[test]
    fn an_empty_blob_owns_nothing() {
        let mut blob = Blob::new();
        assert_eq!((blob.len(), blob.allocated()), (0, 0));
        blob.splice(0, 0, [b"ab", b"", b"c"]);
        blob.set_note(7);
        assert_eq!((blob.bytes(), blob.note(), blob.allocated()), (&b"abc"[..], 7, 16));
        blob.splice(0, 3, [b""; 3]);
        assert_eq!((blob.note(), blob.allocated()), (0, 0));
    }

    proptest! {
        #[test]
        fn splices_like_a_vec(steps in prop::collection::vec((any::<u16>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)), 0..60)) {
            let (mut blob, mut model) = (Blob::new(), Vec::new());
            for (at, old, part) in steps {
                let at = at as usize % (model.len() + 1);
                let old = old as usize % (model.len() - at + 1);
                let half = part.len() / 2;
                blob.splice(at, old, [&part[..half], &part[half..], b""]);
                model.splice(at..at + old, part);
                prop_assert_eq!(blob.bytes(), &model[..]);
                let copy = blob.clone();
                prop_assert_eq!(copy.bytes(), &model[..]);
            }
        }
    }
}
