//! Looking for a value in a listpack, and removing what was found.

use smallvec::SmallVec;

use crate::types::listpack::{Listpack, Pos};
use crate::types::{Elem, parse_int};

/// A value to look for. A listpack has one form for each value, so an integer is never among the bytes.
pub(super) struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Needle<'a> {
        Needle { bytes, int: parse_int(bytes) }
    }

    #[inline]
    pub(super) fn is(&self, elem: Elem<'_>) -> bool {
        match elem {
            Elem::Int(value) => self.int == Some(value),
            Elem::Bytes(bytes) => bytes == self.bytes,
        }
    }

    /// Where it is, in order: at most `most` positions, the first ones or the last ones, none of the first `gone` elements.
    pub(super) fn matches(&self, pack: &Listpack, gone: usize, most: usize, from_back: bool) -> SmallVec<[Pos; 4]> {
        let mut found = SmallVec::new();
        if from_back {
            let live = pack.len() - gone;
            found
                .extend(pack.iter().rev().take(live).filter(|(_, elem)| self.is(*elem)).map(|(pos, _)| pos).take(most));
            found.reverse();
        } else {
            let mut start = pack.pos_of(gone).unwrap_or(pack.end());
            while found.len() < most
                && let Some(pos) = pack.find_from(start, self.bytes, 1)
            {
                found.push(pos);
                start = pack.next(pos).unwrap_or(pack.end());
            }
        }
        found
    }
}

/// Removes the elements at these positions, which are in order.
pub(super) fn remove_all(pack: &mut Listpack, positions: &[Pos]) {
    if positions.len() <= 4 {
        // From the last one on, so that the others stay valid.
        for pos in positions.iter().rev() {
            pack.remove(*pos);
        }
        return;
    }
    // Many gaps: one pass instead of a move of the rest for each.
    let mut rest = Listpack::with_capacity(pack.byte_len());
    let mut gone = positions.iter().peekable();
    for (pos, elem) in pack.iter() {
        if gone.next_if(|next| **next == pos).is_none() {
            rest.push_back(elem);
        }
    }
    rest.shrink_to_fit();
    *pack = rest;
}
