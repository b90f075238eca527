//! Small collections as Redis wrote them before 7.0, made into listpacks. Nothing of them is trusted.
//!
//! ```text
//! ziplist = length: u32, last element: u32, count: u16, element …, 0xff
//! element = length of the one before, head, data
//!
//! 00llllll                      bytes, fewer than 64
//! 01llllll llllllll             bytes, fewer than 16384
//! 10______, l: u32, high first  bytes
//! 11000000, 11010000, 11100000  an integer of 2, 4, 8 bytes, low byte first
//! 11110000, 11111110            … of 3 bytes, of 1
//! 1111xxxx                      the integer x - 1, from 0 to 12
//!
//! zipmap  = count: u8, pair …, 0xff
//! pair    = length, field, length, free: u8, value, free bytes
//! length  = u8, or 0xfe and u32
//! ```

use crate::types::Elem;
use crate::types::listpack::Listpack;

/// The elements of a ziplist; none when it is malformed.
pub(super) fn ziplist(bytes: &[u8]) -> Option<Listpack> {
    let (total, rest) = bytes.split_first_chunk::<4>()?;
    let (last, rest) = rest.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (&0xff, elements) = rest.split_last()? else { return None };
    if u32::from_le_bytes(*total) as usize != bytes.len() {
        return None;
    }
    let mut pack = Listpack::new();
    let (mut rest, mut before, mut last_at) = (elements, 0, 10);
    while !rest.is_empty() {
        last_at = bytes.len() - 1 - rest.len();
        let (said, tail) = length_before(rest)?;
        if said != before {
            return None;
        }
        let (elem, tail) = element(tail)?;
        before = rest.len() - tail.len();
        rest = tail;
        push(&mut pack, elem)?;
    }
    let count = usize::from(u16::from_le_bytes(*count));
    // 65535 means: too many to say.
    let is_counted = count == 65535 || count == pack.len();
    (is_counted && u32::from_le_bytes(*last) as usize == last_at).then_some(pack)
}

/// The fields and values of a zipmap in turn; none when it is malformed.
pub(super) fn zipmap(bytes: &[u8]) -> Option<Listpack> {
    let (&count, rest) = bytes.split_first()?;
    let (&0xff, mut rest) = rest.split_last()? else { return None };
    let mut pack = Listpack::new();
    while !rest.is_empty() {
        let (len, tail) = zipmap_length(rest)?;
        let (field, tail) = tail.split_at_checked(len)?;
        let (len, tail) = zipmap_length(tail)?;
        let (&free, tail) = tail.split_first()?;
        let (value, tail) = tail.split_at_checked(len)?;
        rest = tail.get(usize::from(free)..)?;
        push(&mut pack, Elem::Bytes(field))?;
        push(&mut pack, Elem::Bytes(value))?;
    }
    // 254 means: too many to say.
    (count >= 254 || usize::from(count) == pack.len() / 2).then_some(pack)
}

fn push(pack: &mut Listpack, elem: Elem<'_>) -> Option<()> {
    pack.has_room_for(1, elem.len()).then(|| pack.push_back(elem))
}

fn length_before(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes.split_first()? {
        (0xff, _) => None,
        (0xfe, rest) => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*len) as usize, rest))
        }
        (len, rest) => Some((usize::from(*len), rest)),
    }
}

fn element(bytes: &[u8]) -> Option<(Elem<'_>, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    let (len, rest) = match head {
        0..0x40 => (usize::from(head), rest),
        0x40..0x80 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(head & 0x3f) << 8 | usize::from(low), rest)
        }
        0x80..0xc0 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*len) as usize, rest)
        }
        0xc0 => return integer::<2>(rest),
        0xd0 => return integer::<4>(rest),
        0xe0 => return integer::<8>(rest),
        0xf0 => return integer::<3>(rest),
        0xfe => return integer::<1>(rest),
        0xf1..=0xfd => return Some((Elem::Int(i64::from(head & 0x0f) - 1), rest)),
        _ => return None,
    };
    let (data, rest) = rest.split_at_checked(len)?;
    Some((Elem::Bytes(data), rest))
}

/// A signed integer, low byte first.
fn integer<const BYTES: usize>(bytes: &[u8]) -> Option<(Elem<'_>, &[u8])> {
    let (data, rest) = bytes.split_first_chunk::<BYTES>()?;
    let mut wide = [0; 8];
    wide[8 - BYTES..].copy_from_slice(data);
    Some((Elem::Int(i64::from_le_bytes(wide) >> (64 - 8 * BYTES)), rest))
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes.split_first()? {
        (0xff, _) => None,
        (0xfe, rest) => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            Some((u32::from_le_bytes(*len) as usize, rest))
        }
        (len, rest) => Some((usize::from(*len), rest)),
    }
}
