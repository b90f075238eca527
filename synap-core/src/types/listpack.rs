//! A sequence of small elements in one allocation behind one pointer; integers are kept as integers.
//!
//! ```text
//! element = head, data, back-length
//!
//! 0xxxxxxx                          0 … 127
//! 10llllll                          bytes, fewer than 64
//! 110xxxxx xxxxxxxx                 a signed integer of 13 bits, high bits first
//! 1110llll llllllll                 bytes, fewer than 4096
//! 11110000, l: u32                  bytes
//! 11110001 … 11110100               an integer of 2, 3, 4, 8 bytes, low byte first
//! ```
//!
//! The back-length is the length of head and data in 7-bit groups, high groups first, and every byte but the first has its
//! top bit set: so it reads from the right, and the sequence can be walked both ways. The elements are those of a Redis
//! listpack, byte for byte, so that DUMP and RESTORE are copies: see [`Listpack::to_redis`].

use std::ops::Range;

use foldhash::quality::RandomState;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::blob::{BLOB_BYTES_MAX, Blob, NOTE_MAX};
use super::{Elem, parse_int};

/// A collection that could grow beyond this becomes a large form, whatever the settings say.
pub const LISTPACK_BYTES_MAX: usize = 1 << 30;

/// Header and end mark of a Redis listpack.
pub const REDIS_FRAME_BYTES: usize = 7;

/// The longest element: head, back-length and frame have room beside it.
pub const ELEMENT_BYTES_MAX: usize = BLOB_BYTES_MAX - 64;

/// Elements that a listpack can count.
pub const LISTPACK_LEN_MAX: usize = NOTE_MAX as usize;

/// See the module.
#[derive(Clone, Default)]
pub struct Listpack {
    /// The elements; the note is their number.
    blob: Blob,
}

/// Where an element starts, until the listpack changes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos(u32);

impl Listpack {
    pub const fn new() -> Listpack {
        Listpack { blob: Blob::new() }
    }

    /// With room for `bytes` of encoded elements.
    pub fn with_capacity(bytes: usize) -> Listpack {
        Listpack { blob: Blob::with_capacity(bytes) }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.blob.note() as usize
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.blob.is_empty()
    }

    /// Bytes of the encoded elements.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.blob.len()
    }

    /// Bytes asked of the allocator.
    pub fn allocated(&self) -> usize {
        self.blob.allocated()
    }

    /// Whether `count` more elements of `bytes` in sum are still sensible in one allocation. Pushing more is possible up to
    /// 4 GB and 16 million elements, and panics beyond.
    pub fn has_room_for(&self, count: usize, bytes: usize) -> bool {
        let growth = count.saturating_mul(10).saturating_add(bytes);
        self.len().saturating_add(count) <= LISTPACK_LEN_MAX
            && self.byte_len().saturating_add(growth) <= LISTPACK_BYTES_MAX
    }

    /// Encoded length of one element, to plan the size of chunks.
    pub fn encoded_len<'e>(elem: impl Into<Elem<'e>>) -> usize {
        Encoded::of(elem.into()).len()
    }

    pub fn push_back<'e>(&mut self, elem: impl Into<Elem<'e>>) {
        self.insert_at(self.end(), elem);
    }

    pub fn push_front<'e>(&mut self, elem: impl Into<Elem<'e>>) {
        self.insert_at(Pos(0), elem);
    }

    /// Inserts before the element at `pos`, or at the end. The new element is at `pos` then.
    pub fn insert_at<'e>(&mut self, pos: Pos, elem: impl Into<Elem<'e>>) {
        self.check(pos, true);
        assert!(self.len() < LISTPACK_LEN_MAX, "a listpack of 16 million elements");
        let encoded = Encoded::of(elem.into());
        self.blob.splice(pos.at(), 0, encoded.parts());
        self.blob.set_note(self.blob.note() + 1);
    }

    /// The new element is at `pos`, too.
    pub fn replace<'e>(&mut self, pos: Pos, elem: impl Into<Elem<'e>>) {
        self.check(pos, false);
        let old = self.span(pos.at());
        let encoded = Encoded::of(elem.into());
        self.blob.splice(pos.at(), old, encoded.parts());
    }

    /// Afterwards `pos` is where the following element is, or the end.
    pub fn remove(&mut self, pos: Pos) {
        self.remove_run(pos, 1);
    }

    /// Removes up to `count` elements from `pos` on, returns how many.
    pub fn remove_run(&mut self, pos: Pos, count: usize) -> usize {
        self.check(pos, true);
        let (mut end, mut removed) = (pos.at(), 0);
        while removed < count && end < self.byte_len() {
            end += self.span(end);
            removed += 1;
        }
        self.cut(pos.at(), end, removed);
        removed
    }

    /// Removes up to `count` elements from index `start` on, returns how many.
    pub fn remove_range(&mut self, start: usize, count: usize) -> usize {
        let count = count.min(self.len().saturating_sub(start));
        if count == 0 {
            return 0;
        }
        let Some(from) = self.pos_of(start) else { return 0 };
        // From the nearer end.
        let to = self.pos_of(start + count).unwrap_or(self.end());
        self.cut(from.at(), to.at(), count);
        count
    }

    /// Keeps the first `len` elements.
    pub fn truncate(&mut self, len: usize) {
        self.remove_range(len, usize::MAX);
    }

    pub fn clear(&mut self) {
        *self = Listpack::new();
    }

    /// Takes the elements from index `at` on away into another listpack.
    pub fn split_off(&mut self, at: usize) -> Listpack {
        let Some(pos) = self.pos_of(at) else { return Listpack::new() };
        let mut tail = Listpack::new();
        tail.blob.splice(0, 0, [&self.blob.bytes()[pos.at()..], b"", b""]);
        tail.blob.set_note((self.len() - at) as u32);
        self.cut(pos.at(), self.byte_len(), self.len() - at);
        tail
    }

    /// Appends all elements of another one.
    pub fn append(&mut self, other: &Listpack) {
        if !other.is_empty() {
            self.splice_count(self.byte_len(), other);
        }
    }

    /// Puts all elements of another one in front.
    pub fn prepend(&mut self, other: &Listpack) {
        if !other.is_empty() {
            self.splice_count(0, other);
        }
    }

    #[inline]
    pub fn first(&self) -> Option<Pos> {
        (!self.is_empty()).then_some(Pos(0))
    }

    pub fn last(&self) -> Option<Pos> {
        self.prev(self.end())
    }

    /// One past the last element: a place to insert at.
    #[inline]
    pub fn end(&self) -> Pos {
        Pos(self.byte_len() as u32)
    }

    #[inline]
    pub fn next(&self, pos: Pos) -> Option<Pos> {
        self.check(pos, false);
        let next = pos.at() + self.span(pos.at());
        (next < self.byte_len()).then_some(Pos(next as u32))
    }

    /// The element before; `pos` may be the end.
    #[inline]
    pub fn prev(&self, pos: Pos) -> Option<Pos> {
        self.check(pos, true);
        (pos.0 > 0).then(|| Pos((pos.at() - span_before(self.blob.bytes(), pos.at())) as u32))
    }

    #[inline]
    pub fn at(&self, pos: Pos) -> Elem<'_> {
        self.check(pos, false);
        decode(self.blob.bytes(), pos.at()).0
    }

    pub fn get(&self, index: usize) -> Option<Elem<'_>> {
        self.pos_of(index).map(|pos| self.at(pos))
    }

    /// Walks from the nearer end.
    pub fn pos_of(&self, index: usize) -> Option<Pos> {
        let len = self.len();
        if index >= len {
            return None;
        }
        let bytes = self.blob.bytes();
        let mut at;
        if index <= len / 2 {
            at = 0;
            for _ in 0..index {
                at += span(bytes, at);
            }
        } else {
            at = bytes.len();
            for _ in index..len {
                at -= span_before(bytes, at);
            }
        }
        Some(Pos(at as u32))
    }

    /// Number of elements before `pos`.
    pub fn index_of(&self, pos: Pos) -> usize {
        self.check(pos, true);
        let bytes = self.blob.bytes();
        let (mut at, mut index) = (0, 0);
        while at < pos.at() {
            at += span(bytes, at);
            index += 1;
        }
        index
    }

    /// The first element that is `needle`, looking at every `stride`-th one (2: the fields of a map).
    #[inline]
    pub fn find<'e>(&self, needle: impl Into<Elem<'e>>, stride: usize) -> Option<Pos> {
        self.find_from(Pos(0), needle, stride)
    }

    /// The same from `start` on, which may be the end.
    pub fn find_from<'e>(&self, start: Pos, needle: impl Into<Elem<'e>>, stride: usize) -> Option<Pos> {
        self.check(start, true);
        let bytes = self.blob.bytes();
        let mut at = start.at();
        // Equal elements have equal encodings: compare bytes, not meanings. The last byte first, because names that are as long as each
        // other tend to begin alike.
        let encoded = Encoded::of(needle.into());
        let (head, data) = (encoded.head(), encoded.data);
        let inner = head.len() + data.len();
        let whole = encoded.len();
        let last = data.last().copied().unwrap_or(head[head.len() - 1]);
        while at < bytes.len() {
            let size = span(bytes, at);
            if size == whole && bytes[at + inner - 1] == last {
                let (found_head, found_data) = bytes[at..at + inner].split_at(head.len());
                if found_head == head && found_data == data {
                    return Some(Pos(at as u32));
                }
            }
            at += size;
            for _ in 1..stride {
                if at >= bytes.len() {
                    return None;
                }
                at += span(bytes, at);
            }
        }
        None
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.blob.bytes(), front: 0, back: self.byte_len(), left: self.len() }
    }

    /// The elements from `pos` on, which may be the end; from the back it runs down to `pos`.
    pub fn iter_from(&self, pos: Pos) -> Iter<'_> {
        let left = self.len() - self.index_of(pos);
        Iter { bytes: self.blob.bytes(), front: pos.at(), back: self.byte_len(), left }
    }

    /// The elements of a range of indices; what lies beyond the end is left out.
    pub fn iter_range(&self, range: Range<usize>) -> Iter<'_> {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let place = |index| self.pos_of(index).unwrap_or(self.end()).at();
        Iter { bytes: self.blob.bytes(), front: place(start), back: place(end), left: end - start }
    }

    pub fn shrink_to_fit(&mut self) {
        self.blob.shrink_to_fit();
    }

    /// The elements as they are encoded, which is Redis' way.
    pub fn encoded(&self) -> &[u8] {
        self.blob.bytes()
    }

    /// The same from `pos` on, which may be the end.
    pub fn encoded_from(&self, pos: Pos) -> &[u8] {
        self.check(pos, true);
        &self.blob.bytes()[pos.at()..]
    }

    /// What stands before `count` elements of `bytes` in a Redis listpack; [`Listpack::REDIS_END`] stands behind them.
    pub fn redis_header(bytes: usize, count: usize) -> [u8; 6] {
        let [a, b, c, d] = ((bytes + REDIS_FRAME_BYTES) as u32).to_le_bytes();
        // 65535 means: too many to say.
        let [low, high] = (count.min(65535) as u16).to_le_bytes();
        [a, b, c, d, low, high]
    }

    pub const REDIS_END: u8 = 0xff;

    /// The bytes of a Redis listpack: a header, the elements, an end mark.
    pub fn to_redis(&self) -> Vec<u8> {
        let elements = self.encoded();
        [&Listpack::redis_header(elements.len(), self.len()), elements, &[Listpack::REDIS_END]].concat()
    }

    /// True when no two of every `stride`-th element are equal (2: the fields of a map).
    pub fn are_distinct(&self, stride: usize) -> bool {
        let bytes = self.encoded();
        let mut at = 0;
        // Equal elements have equal encodings.
        let mut names: SmallVec<[&[u8]; 32]> = SmallVec::new();
        for index in 0..self.len() {
            let end = at + span(bytes, at);
            if index.is_multiple_of(stride) {
                names.push(&bytes[at..end]);
            }
            at = end;
        }
        // Few are compared with one another, which is faster than a table.
        if names.len() <= 16 {
            // Names tend to begin alike: the last byte of the data says more. Behind it is the back-length.
            let last = |name: &[u8]| name.get(name.len().wrapping_sub(2)).copied();
            return names
                .iter()
                .enumerate()
                .all(|(index, name)| !names[..index].iter().any(|other| last(other) == last(name) && other == name));
        }
        let mut seen = HashSet::with_capacity_and_hasher(names.len(), RandomState::default());
        names.iter().all(|name| seen.insert(*name))
    }

    /// Reads [`Listpack::to_redis`] or what Redis made; none when it is malformed. Trusts nothing.
    pub fn from_redis(bytes: &[u8]) -> Option<Listpack> {
        let (&total, rest) = bytes.split_first_chunk::<4>()?;
        let (&said, rest) = rest.split_first_chunk::<2>()?;
        let (&Listpack::REDIS_END, elements) = rest.split_last()? else { return None };
        if u32::from_le_bytes(total) as usize != bytes.len() || elements.len() > BLOB_BYTES_MAX {
            return None;
        }
        let (mut at, mut len) = (0, 0);
        while at < elements.len() {
            at = checked_end(elements, at)?;
            len += 1;
        }
        let said = usize::from(u16::from_le_bytes(said));
        if (said != 65535 && said != len) || len > LISTPACK_LEN_MAX {
            return None;
        }
        let mut pack = Listpack::new();
        let mut at = 0;
        if is_canonical(elements) {
            pack.blob.splice(0, 0, [elements, b"", b""]);
            pack.blob.set_note(len as u32);
        } else {
            while at < elements.len() {
                pack.push_back(decode(elements, at).0);
                at += span(elements, at);
            }
        }
        Some(pack)
    }

    fn splice_count(&mut self, at: usize, other: &Listpack) {
        let len = self.len() + other.len();
        assert!(len <= LISTPACK_LEN_MAX, "a listpack of 16 million elements");
        self.blob.splice(at, 0, [other.blob.bytes(), b"", b""]);
        self.blob.set_note(len as u32);
    }

    fn cut(&mut self, from: usize, to: usize, count: usize) {
        let left = self.len() - count;
        self.blob.splice(from, to - from, [b""; 3]);
        self.blob.set_note(left as u32);
    }

    #[inline]
    fn span(&self, at: usize) -> usize {
        span(self.blob.bytes(), at)
    }

    #[inline]
    fn check(&self, pos: Pos, may_be_end: bool) {
        if cfg!(debug_assertions) {
            let bytes = self.blob.bytes();
            if pos.at() == bytes.len() {
                assert!(may_be_end, "the end is no element");
            } else {
                assert!(checked_end(bytes, pos.at()).is_some(), "no element starts at {pos:?}");
            }
        }
    }
}

impl Pos {
    #[inline]
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// Elements with their positions.
#[derive(Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Pos, Elem<'a>);

    #[inline]
    fn next(&mut self) -> Option<(Pos, Elem<'a>)> {
        if self.front >= self.back {
            return None;
        }
        let pos = Pos(self.front as u32);
        let (elem, size) = decode(self.bytes, self.front);
        self.front += size;
        self.left -= 1;
        Some((pos, elem))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back -= span_before(self.bytes, self.back);
        self.left -= 1;
        Some((Pos(self.back as u32), decode(self.bytes, self.back).0))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// One element on its way in or as a needle: every element has exactly one encoding.
struct Encoded<'e> {
    head: [u8; 9],
    head_len: u8,
    back_len: u8,
    back: [u8; 5],
    data: &'e [u8],
}

impl<'e> Encoded<'e> {
    #[inline]
    fn of(elem: Elem<'e>) -> Encoded<'e> {
        let mut encoded = Encoded { head: [0; 9], head_len: 1, back_len: 1, back: [0; 5], data: b"" };
        let head = &mut encoded.head;
        let int = match elem {
            Elem::Int(value) => Some(value),
            Elem::Bytes(bytes) => parse_int(bytes),
        };
        if let Some(value) = int {
            let le = value.to_le_bytes();
            let (code, width) = match value {
                0..=127 => {
                    head[0] = value as u8;
                    (None, 0)
                }
                -4096..=4095 => {
                    head[0] = 0xc0 | (value >> 8) as u8 & 0x1f;
                    head[1] = value as u8;
                    (None, 1)
                }
                -0x8000..=0x7fff => (Some(0xf1), 2),
                -0x80_0000..=0x7f_ffff => (Some(0xf2), 3),
                -0x8000_0000..=0x7fff_ffff => (Some(0xf3), 4),
                _ => (Some(0xf4), 8),
            };
            if let Some(code) = code {
                head[0] = code;
                head[1..].copy_from_slice(&le);
            }
            encoded.head_len = 1 + width;
        } else if let Elem::Bytes(bytes) = elem {
            let len = bytes.len();
            if len < 64 {
                head[0] = 0x80 | len as u8;
            } else if len < 4096 {
                head[0] = 0xe0 | (len >> 8) as u8;
                head[1] = len as u8;
                encoded.head_len = 2;
            } else {
                assert!(len <= u32::MAX as usize, "an element of more than 4 GB");
                head[0] = 0xf0;
                head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                encoded.head_len = 5;
            }
            encoded.data = bytes;
        }
        let inner = usize::from(encoded.head_len) + encoded.data.len();
        (encoded.back, encoded.back_len) = back_length(inner);
        encoded
    }

    #[inline]
    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_len)]
    }

    #[inline]
    fn parts(&self) -> [&[u8]; 3] {
        [self.head(), self.data, &self.back[..usize::from(self.back_len)]]
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.head_len) + self.data.len() + usize::from(self.back_len)
    }
}

/// Bytes of the back-length of `inner` bytes. The odd limits (16383 needs three) are those of the format.
#[inline]
fn back_len(inner: usize) -> usize {
    match inner {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    }
}

/// The back-length of `inner` bytes, and how many bytes it takes.
#[inline]
fn back_length(inner: usize) -> ([u8; 5], u8) {
    let len = back_len(inner);
    let mut back = [0; 5];
    for (i, byte) in back[..len].iter_mut().enumerate() {
        let group = (inner >> (7 * (len - 1 - i))) as u8 & 0x7f;
        *byte = if i == 0 { group } else { group | 0x80 };
    }
    (back, len as u8)
}

/// Length of head and data.
#[inline]
fn inner_len(bytes: &[u8], at: usize) -> usize {
    let head = bytes[at];
    match head {
        0..0x80 => 1,
        0x80..0xc0 => 1 + usize::from(head & 0x3f),
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 2 + (usize::from(head & 0x0f) << 8 | usize::from(bytes[at + 1])),
        0xf0 => 5 + u32::from_le_bytes([bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4]]) as usize,
        0xf1..=0xf3 => 2 + usize::from(head - 0xf0),
        _ => 9,
    }
}

/// Length of the element at `at`.
#[inline]
fn span(bytes: &[u8], at: usize) -> usize {
    match SPANS[usize::from(bytes[at])] {
        0 => long_span(bytes, at),
        span => usize::from(span),
    }
}

/// Length of elements that begin with a byte, where that byte alone says it.
static SPANS: [u8; 256] = {
    let mut spans = [0; 256];
    let mut head = 0;
    while head < 256 {
        spans[head] = match head {
            0..0x80 => 2,
            0x80..0xc0 => 2 + (head & 0x3f) as u8,
            0xc0..0xe0 => 3,
            0xf1..=0xf3 => 3 + (head - 0xf0) as u8,
            0xf4 => 10,
            _ => 0,
        };
        head += 1;
    }
    spans
};

#[inline(never)]
fn long_span(bytes: &[u8], at: usize) -> usize {
    let inner = inner_len(bytes, at);
    inner + back_len(inner)
}

/// Length of the element that ends at `end`.
#[inline]
fn span_before(bytes: &[u8], end: usize) -> usize {
    let last = bytes[end - 1];
    if last < 0x80 {
        return usize::from(last) + 1;
    }
    let (mut inner, mut size) = (usize::from(last & 0x7f), 1);
    loop {
        size += 1;
        let byte = bytes[end - size];
        inner |= usize::from(byte & 0x7f) << (7 * (size - 1));
        if byte < 0x80 || size == 5 {
            return inner + size;
        }
    }
}

/// The element at `at`, and its length.
#[inline]
fn decode(bytes: &[u8], at: usize) -> (Elem<'_>, usize) {
    let inner = inner_len(bytes, at);
    let size = inner + back_len(inner);
    let body = &bytes[at..at + inner];
    let head = body[0];
    let elem = match head {
        0..0x80 => Elem::Int(i64::from(head)),
        0x80..0xc0 => Elem::Bytes(&body[1..]),
        0xc0..0xe0 => {
            // 13 bits, of which the highest is the sign.
            let raw = u16::from(head & 0x1f) << 8 | u16::from(body[1]);
            Elem::Int(i64::from((raw << 3) as i16 >> 3))
        }
        0xe0..0xf0 => Elem::Bytes(&body[2..]),
        0xf0 => Elem::Bytes(&body[5..]),
        _ => {
            let mut raw = [0; 8];
            let width = body.len() - 1;
            raw[8 - width..].copy_from_slice(&body[1..]);
            Elem::Int(i64::from_le_bytes(raw) >> (64 - 8 * width))
        }
    };
    (elem, size)
}

/// The end of the element at `at` when there is a well-formed one within `bytes`.
fn checked_end(bytes: &[u8], at: usize) -> Option<usize> {
    let head_len = match *bytes.get(at)? {
        0..0xc0 => 1,
        0xc0..0xf0 => 2,
        0xf0 => 5,
        0xf1..=0xf4 => 1,
        _ => return None,
    };
    bytes.get(at..at + head_len)?;
    let inner = inner_len(bytes, at);
    if inner < 128 {
        return (usize::from(*bytes.get(at + inner)?) == inner).then_some(at + inner + 1);
    }
    let (back, back_len) = back_length(inner);
    let end = at.checked_add(inner)?.checked_add(usize::from(back_len))?;
    (bytes.get(at + inner..end)? == &back[..usize::from(back_len)]).then_some(end)
}

/// Whether every element, all of them well-formed, is encoded as this module would: `find` depends on it.
fn is_canonical(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        let head = bytes[at];
        let (elem, size) = decode(bytes, at);
        let is_shortest = match (head, elem) {
            (0..=0x7f, _) => true,
            (0x80..=0xbf, Elem::Bytes(data)) => parse_int(data).is_none(),
            (0xe0..=0xef, Elem::Bytes(data)) => data.len() >= 64,
            (_, Elem::Bytes(data)) => data.len() >= 4096,
            (0xc0..=0xdf, Elem::Int(value)) => !(0..=127).contains(&value),
            (0xf1, Elem::Int(value)) => !(-4096..=4095).contains(&value),
            (0xf2, Elem::Int(value)) => !(-0x8000..=0x7fff).contains(&value),
            (0xf3, Elem::Int(value)) => !(-0x80_0000..=0x7f_ffff).contains(&value),
            (_, Elem::Int(value)) => !(-0x8000_0000..=0x7fff_ffff).contains(&value),
        };
        if !is_shortest {
            return false;
        }
        at += size;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(pack: &Listpack) -> Vec<Vec<u8>> {
        pack.iter().map(|(_, elem)| elem.to_vec()).collect()
    }

    /// Every way to read gives the model, and the bytes are well-formed.
    fn check(pack: &Listpack, model: &[Vec<u8>]) {
        assert_eq!(texts(pack), model);
        assert_eq!(pack.len(), model.len());
        let mut backwards: Vec<_> = pack.iter().rev().map(|(_, elem)| elem.to_vec()).collect();
        backwards.reverse();
        assert_eq!(backwards, model);
        for (index, text) in model.iter().enumerate() {
            assert!(pack.get(index).is_some_and(|elem| elem.is(text)));
            let pos = pack.pos_of(index).expect("an index below len");
            assert_eq!(pack.index_of(pos), index);
            let first = model.iter().position(|other| other == text);
            assert_eq!(pack.find(&text[..], 1).map(|pos| pack.index_of(pos)), first);
        }
        assert!(pack.get(model.len()).is_none());
        let again = Listpack::from_redis(&pack.to_redis()).expect("well-formed");
        assert_eq!(again.blob.bytes(), pack.blob.bytes());
        assert_eq!(again.len(), pack.len());
    }

    #[test]
    fn integers_are_kept_as_integers() {
        for (text, bytes) in [
            ("0", &[0x00, 1][..]),
            ("127", &[0x7f, 1]),
            ("128", &[0xc0, 0x80, 2]),
            ("-1", &[0xdf, 0xff, 2]),
            ("4095", &[0xcf, 0xff, 2]),
            ("-4096", &[0xd0, 0x00, 2]),
            ("4096", &[0xf1, 0x00, 0x10, 3]),
            ("-32768", &[0xf1, 0x00, 0x80, 3]),
            ("32768", &[0xf2, 0x00, 0x80, 0x00, 4]),
            ("8388608", &[0xf3, 0x00, 0x00, 0x80, 0x00, 5]),
            ("-9223372036854775808", &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]),
            ("007", &[0x83, b'0', b'0', b'7', 4]),
            ("-0", &[0x82, b'-', b'0', 3]),
            ("", &[0x80, 1]),
        ] {
            let mut pack = Listpack::new();
            pack.push_back(text.as_bytes());
            assert_eq!(pack.blob.bytes(), bytes, "{text}");
            check(&pack, &[text.as_bytes().to_vec()]);
        }
    }

    #[test]
    fn lengths_around_every_limit() {
        let mut pack = Listpack::new();
        let mut model = Vec::new();
        for len in [63, 64, 125, 126, 127, 4095, 4096, 16_377, 16_378, 16_379, 2_097_145, 2_097_146, 2_097_147] {
            let text = vec![b'x'; len];
            pack.push_back(&text[..]);
            model.push(text);
            check(&pack, &model);
        }
    }

    #[test]
    fn find_with_a_stride_sees_fields_only() {
        let mut pack = Listpack::new();
        for text in ["a", "b", "b", "17", "17", "a"] {
            pack.push_back(text.as_bytes());
        }
        let index = |needle: &str| pack.find(needle.as_bytes(), 2).map(|pos| pack.index_of(pos));
        assert_eq!([index("a"), index("b"), index("17"), index("c")], [Some(0), Some(2), Some(4), None]);
        assert_eq!(pack.find(17, 1).map(|pos| pack.index_of(pos)), Some(3));
    }

    #[test]
    fn small_collections_waste_little() {
        assert_eq!(size_of::<Listpack>(), 8);
        assert_eq!(size_of::<Option<Listpack>>(), 8);
        assert_eq!(Listpack::new().allocated(), 0);
        let mut pack = Listpack::new();
        for i in 0..10 {
            pack.push_back(format!("field:{i:02}").as_bytes());
            pack.push_back(format!("value:{i:02}").as_bytes());
        }
        // Twenty elements of 8 bytes with 2 of framing each, and 8 bytes of header: Redis' listpack takes 207.
        assert_eq!((pack.byte_len(), pack.allocated()), (200, 224));
        while pack.len() > 2 {
            pack.truncate(pack.len() - 1);
        }
        assert!(pack.allocated() <= 64);
        pack.truncate(0);
        assert_eq!(pack.allocated(), 0);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        let mut pack = Listpack::new();
        for text in ["hello", "12", "-70000", "world and some more words to make it longer than sixty-four bytes"] {
            pack.push_back(text.as_bytes());
        }
        let good = pack.to_redis();
        for at in 0..good.len() {
            assert!(Listpack::from_redis(&good[..at]).is_none());
            for flip in [1u8, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                // Either refused or a listpack that reads well.
                if let Some(pack) = Listpack::from_redis(&bad) {
                    check(&pack, &texts(&pack));
                }
            }
        }
    }

    #[test]
    fn a_foreign_encoding_is_made_canonical() {
        // 5 as two bytes, and "7" as text.
        let pack = Listpack::from_redis(&[14, 0, 0, 0, 2, 0, 0xf1, 5, 0, 3, 0x81, b'7', 2, 0xff]).expect("well-formed");
        assert_eq!(pack.blob.bytes(), [5, 1, 7, 1]);
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => any::<i64>().prop_map(|i| i.to_string().into_bytes()),
            2 => (-5000i64..5000).prop_map(|i| i.to_string().into_bytes()),
            2 => (0u32..63, any::<bool>()).prop_map(|(bit, minus)| (if minus { -(1i64 << bit) } else { 1i64 << bit }).to_string().into_bytes()),
            4 => prop::collection::vec(any::<u8>(), 0..80),
            1 => prop::collection::vec(any::<u8>(), 0..5000),
        ]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(usize, Vec<u8>),
        PushBack(Vec<u8>),
        PushFront(Vec<u8>),
        Replace(usize, Vec<u8>),
        Remove(usize),
        RemoveRange(usize, usize),
        SplitAndRejoin(usize, bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Insert(at, text)),
            4 => text().prop_map(Step::PushBack),
            2 => text().prop_map(Step::PushFront),
            3 => (any::<usize>(), text()).prop_map(|(at, text)| Step::Replace(at, text)),
            3 => any::<usize>().prop_map(Step::Remove),
            1 => (any::<usize>(), 0usize..5).prop_map(|(at, count)| Step::RemoveRange(at, count)),
            1 => (any::<usize>(), any::<bool>()).prop_map(|(at, swap)| Step::SplitAndRejoin(at, swap)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_vec(steps in prop::collection::vec(step(), 0..40)) {
            let (mut pack, mut model): (Listpack, Vec<Vec<u8>>) = Default::default();
            for step in steps {
                let len = model.len();
                match step {
                    Step::PushBack(text) => {
                        pack.push_back(&text[..]);
                        model.push(text);
                    }
                    Step::PushFront(text) => {
                        pack.push_front(&text[..]);
                        model.insert(0, text);
                    }
                    Step::Insert(at, text) => {
                        let at = at % (len + 1);
                        let pos = pack.pos_of(at).unwrap_or(pack.end());
                        pack.insert_at(pos, &text[..]);
                        model.insert(at, text);
                    }
                    Step::Replace(at, text) if len > 0 => {
                        let pos = pack.pos_of(at % len).unwrap();
                        pack.replace(pos, &text[..]);
                        model[at % len] = text;
                    }
                    Step::Remove(at) if len > 0 => {
                        pack.remove(pack.pos_of(at % len).unwrap());
                        model.remove(at % len);
                    }
                    Step::RemoveRange(at, count) => {
                        let at = at % (len + 1);
                        let end = (at + count).min(len);
                        prop_assert_eq!(pack.remove_range(at, count), end - at);
                        model.drain(at..end);
                    }
                    Step::SplitAndRejoin(at, swap) => {
                        let at = at % (len + 1);
                        let tail = pack.split_off(at);
                        prop_assert_eq!(texts(&tail), &model[at..]);
                        if swap {
                            model.rotate_left(at);
                            pack.prepend(&tail);
                        } else {
                            pack.append(&tail);
                        }
                    }
                    _ => {}
                }
            }
            check(&pack, &model);
            check(&pack.clone(), &model);
            if !model.is_empty() {
                let middle = pack.pos_of(model.len() / 2).unwrap();
                let (a, b) = (model.len() / 3, model.len() / 3 * 2);
                let part: Vec<_> = pack.iter_range(a..b).map(|(_, elem)| elem.to_vec()).collect();
                prop_assert_eq!(&part[..], &model[a..b]);
                let part: Vec<_> = pack.iter_range(a..b).rev().map(|(_, elem)| elem.to_vec()).collect();
                prop_assert!(part.iter().eq(model[a..b].iter().rev()));
                let rest: Vec<_> = pack.iter_from(middle).map(|(_, elem)| elem.to_vec()).collect();
                prop_assert_eq!(&rest[..], &model[model.len() / 2..]);
            }
        }

        #[test]
        fn any_bytes_are_safe_to_load(elements in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, 0x80u8..0x84], 0..20)) {
            let total = elements.len() as u32 + 7;
            let bytes = [&total.to_le_bytes()[..], &[0xff; 2], &elements, &[0xff]].concat();
            if let Some(pack) = Listpack::from_redis(&bytes) {
                check(&pack, &texts(&pack));
            }
        }
    }
}
