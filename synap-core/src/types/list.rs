//! Lists: one listpack while small, then a deque of them.
//!
//! ```text
//! Compact   Listpack
//! Large     groups   deque of Counted<Group>              a few pointers each: what `freeze` copies
//!             └ chunks   ≤ 64 Counted<Listpack>           reference-counted, copied when changed while shared
//!                 └ elements   ≤ `list-max-listpack-size`
//! ```
//!
//! Counts on both levels make a position a short walk from the nearer end. Two things keep both ends cheap, where a
//! listpack would move all its bytes to make or close a gap at its front: popping from the first chunk only moves a mark
//! (even while the chunk is shared), and pushing fills a small first chunk, which joins the next one when it is full.

mod needle;
mod spine;
#[cfg(test)]
mod tests;

use std::ops::Range;

use needle::{Needle, remove_all};
use spine::{ChunkSize, LISTPACK_FRAME_BYTES, Place, Spine};

use super::listpack::{Iter as PackIter, Listpack};
use super::{Elem, Limits};

/// A list of byte strings.
pub struct List {
    form: Form,
}

enum Form {
    Compact(Listpack),
    Large(Box<Spine>),
}

impl Default for List {
    fn default() -> List {
        List::new()
    }
}

impl List {
    pub fn new() -> List {
        List { form: Form::Compact(Listpack::new()) }
    }

    pub fn len(&self) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.len(),
            Form::Large(spine) => spine.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Redis' name of the form.
    pub fn encoding(&self) -> &'static str {
        match &self.form {
            Form::Compact(_) => "listpack",
            Form::Large(_) => "quicklist",
        }
    }

    /// A copy that shares the chunks: O(len / chunk / 64).
    pub fn freeze(&self) -> List {
        let form = match &self.form {
            Form::Compact(pack) => Form::Compact(pack.clone()),
            Form::Large(spine) => Form::Large(spine.clone()),
        };
        List { form }
    }

    pub fn push_front(&mut self, value: &[u8], limits: &Limits) {
        match self.room_for(value, limits) {
            Form::Compact(pack) => pack.push_front(value),
            Form::Large(spine) => spine.push_front(value),
        }
    }

    pub fn push_back(&mut self, value: &[u8], limits: &Limits) {
        match self.room_for(value, limits) {
            Form::Compact(pack) => pack.push_back(value),
            Form::Large(spine) => spine.push_back(value),
        }
    }

    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        self.pop_front_with(|elem| elem.to_vec())
    }

    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        self.pop_back_with(|elem| elem.to_vec())
    }

    /// Shows the first element before it goes.
    pub fn pop_front_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let result = match &mut self.form {
            Form::Compact(pack) => {
                let pos = pack.first()?;
                let result = visit(pack.at(pos));
                pack.remove(pos);
                return Some(result);
            }
            Form::Large(spine) => spine.pop_front_with(visit)?,
        };
        self.shrink();
        Some(result)
    }

    /// Shows the last element before it goes.
    pub fn pop_back_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let result = match &mut self.form {
            Form::Compact(pack) => {
                let pos = pack.last()?;
                let result = visit(pack.at(pos));
                pack.remove(pos);
                return Some(result);
            }
            Form::Large(spine) => spine.pop_back_with(visit)?,
        };
        self.shrink();
        Some(result)
    }

    pub fn get(&self, index: usize) -> Option<Elem<'_>> {
        match &self.form {
            Form::Compact(pack) => pack.get(index),
            Form::Large(spine) => {
                let place = spine.place_of(index)?;
                spine.chunk(place).get(place.at)
            }
        }
    }

    /// Puts another value at an index; `false` when the list is not that long.
    pub fn set(&mut self, index: usize, value: &[u8], limits: &Limits) -> bool {
        if index >= self.len() {
            return false;
        }
        match self.room_for(value, limits) {
            Form::Compact(pack) => {
                let Some(pos) = pack.pos_of(index) else { return false };
                pack.replace(pos, value);
            }
            Form::Large(spine) => spine.set(index, value),
        }
        self.shrink();
        true
    }

    /// Inserts before the first element that is `pivot`; none when there is no such element.
    pub fn insert_before(&mut self, pivot: &[u8], value: &[u8], limits: &Limits) -> Option<()> {
        let index = self.positions(pivot, 0..self.len()).next()?;
        self.insert(index, value, limits);
        Some(())
    }

    /// Inserts after the first element that is `pivot`; none when there is no such element.
    pub fn insert_after(&mut self, pivot: &[u8], value: &[u8], limits: &Limits) -> Option<()> {
        let index = self.positions(pivot, 0..self.len()).next()?;
        self.insert(index + 1, value, limits);
        Some(())
    }

    /// Inserts so that the value has this index, which is at most `len`.
    pub fn insert(&mut self, index: usize, value: &[u8], limits: &Limits) {
        assert!(index <= self.len(), "a list has no gaps");
        match self.room_for(value, limits) {
            Form::Compact(pack) => {
                let pos = pack.pos_of(index).unwrap_or(pack.end());
                pack.insert_at(pos, value);
            }
            Form::Large(spine) => spine.insert(index, value),
        }
    }

    /// Removes elements that are `value`: the first `count` of them, the last `-count`, or with 0 all. Returns how many.
    pub fn remove(&mut self, count: i64, value: &[u8]) -> usize {
        let from_back = count < 0;
        let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
        let needle = Needle::new(value);
        let removed = match &mut self.form {
            Form::Compact(pack) => {
                let matches = needle.matches(pack, 0, most, from_back);
                remove_all(pack, &matches);
                return matches.len();
            }
            Form::Large(spine) => spine.remove(&needle, most, from_back),
        };
        self.shrink();
        removed
    }

    /// Keeps only the elements of this range. What is large among the others comes back, to be dropped where it does
    /// not hold anybody up.
    pub fn trim(&mut self, keep: Range<usize>) -> Option<List> {
        let keep = self.clamp(keep);
        if keep.is_empty() {
            return Some(std::mem::take(self));
        }
        let cut = match &mut self.form {
            Form::Compact(pack) => {
                pack.truncate(keep.end);
                pack.remove_range(0, keep.start);
                return None;
            }
            Form::Large(spine) => {
                let mut cut = spine.cut_back(spine.len - keep.end);
                cut.append_spine(spine.cut_front(keep.start));
                cut
            }
        };
        self.shrink();
        (cut.len > 0).then(|| List { form: Form::Large(Box::new(cut)) })
    }

    pub fn iter(&self) -> ListIter<'_> {
        self.range(0..self.len())
    }

    /// Appends all elements of a listpack, as whole as the limits allow.
    pub fn append(&mut self, pack: Listpack, limits: &Limits) {
        if pack.is_empty() {
            return;
        }
        let size = ChunkSize::of(limits);
        match &mut self.form {
            Form::Compact(own) => {
                let bytes = own.byte_len() + pack.byte_len() + LISTPACK_FRAME_BYTES;
                if size.allows(own.len() + pack.len(), bytes) {
                    own.append(&pack);
                    return;
                }
                let mut spine = Spine::of(std::mem::take(own), size);
                spine.append(pack);
                self.form = Form::Large(Box::new(spine));
            }
            Form::Large(spine) => {
                spine.size = size;
                spine.append(pack);
            }
        }
    }

    /// The elements chunk by chunk, as they are encoded in a listpack, and how many each chunk has.
    pub fn chunks(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let (pack, spine) = match &self.form {
            Form::Compact(pack) => (Some((pack.encoded(), pack.len())), None),
            Form::Large(spine) => (None, Some(spine)),
        };
        pack.into_iter().chain(spine.into_iter().flat_map(|spine| spine.chunks()))
    }

    /// The elements of a range in order; `rev()` gives them backwards. What lies beyond the end is left out.
    pub fn range(&self, range: Range<usize>) -> ListIter<'_> {
        let range = self.clamp(range);
        ListIter { list: self, range, front: None, back: None }
    }

    /// Indices of the elements of a range that are `value`; `rev()` gives them from the last one on.
    pub fn positions<'a>(
        &'a self,
        value: &'a [u8],
        range: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = usize> + 'a {
        let needle = Needle::new(value);
        let range = self.clamp(range);
        let indices = range.clone();
        let is_value = move |(_, elem): &(usize, Elem<'_>)| needle.is(*elem);
        indices.zip(self.range(range)).filter(is_value).map(|(index, _)| index)
    }

    /// Bytes asked of the allocator, shared ones included.
    pub fn allocated(&self) -> usize {
        self.allocated_about(usize::MAX)
    }

    /// The same when at most so many chunks of a large form are looked at, and the others are taken to be like them.
    pub fn allocated_about(&self, samples: usize) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.allocated(),
            Form::Large(spine) => spine.allocated_about(samples),
        }
    }

    fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end.min(self.len());
        range.start.min(end)..end
    }

    /// The form after it was made large if one more value is too much for a listpack.
    fn room_for(&mut self, value: &[u8], limits: &Limits) -> &mut Form {
        let size = ChunkSize::of(limits);
        match &mut self.form {
            Form::Compact(pack) => {
                if !size.allows(pack.len() + 1, pack.byte_len() + LISTPACK_FRAME_BYTES + value.len()) {
                    let pack = std::mem::take(pack);
                    self.form = Form::Large(Box::new(Spine::of(pack, size)));
                }
            }
            // The setting may have changed.
            Form::Large(spine) => spine.size = size,
        }
        &mut self.form
    }

    /// A list that has become small, down to half of what a listpack may have, is a listpack again.
    fn shrink(&mut self) {
        if let Form::Large(spine) = &mut self.form
            && let Some(pack) = spine.take_small()
        {
            self.form = Form::Compact(pack);
        }
    }
}

/// Elements of a range, from both ends.
#[derive(Clone)]
pub struct ListIter<'a> {
    list: &'a List,
    range: Range<usize>,
    front: Option<Cursor<'a>>,
    back: Option<Cursor<'a>>,
}

/// A chunk, and what is left of it on the way.
#[derive(Clone)]
struct Cursor<'a> {
    place: Place,
    rest: PackIter<'a>,
    left: usize,
}

impl<'a> Iterator for ListIter<'a> {
    type Item = Elem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Elem<'a>> {
        if self.range.is_empty() {
            return None;
        }
        if self.front.as_ref().is_none_or(|front| front.left == 0) {
            self.front = self.list.cursor(self.front.as_ref().map(|c| c.place), self.range.start, true);
        }
        let front = self.front.as_mut()?;
        front.left -= 1;
        self.range.start += 1;
        front.rest.next().map(|(_, elem)| elem)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.range.len(), Some(self.range.len()))
    }

    fn nth(&mut self, n: usize) -> Option<Elem<'a>> {
        self.range.start = self.range.end.min(self.range.start.saturating_add(n));
        self.front = None;
        self.next()
    }
}

impl DoubleEndedIterator for ListIter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.back.as_ref().is_none_or(|back| back.left == 0) {
            self.back = self.list.cursor(self.back.as_ref().map(|c| c.place), self.range.end - 1, false);
        }
        let back = self.back.as_mut()?;
        back.left -= 1;
        self.range.end -= 1;
        back.rest.next_back().map(|(_, elem)| elem)
    }
}

impl ExactSizeIterator for ListIter<'_> {}

impl List {
    /// The cursor at `index`, which is the one that follows on the chunk of the last cursor, if there was one.
    fn cursor(&self, last: Option<Place>, index: usize, forward: bool) -> Option<Cursor<'_>> {
        let spine = match &self.form {
            Form::Compact(pack) => return Some(Cursor::at(Place { group: 0, chunk: 0, at: index }, pack, 0, forward)),
            Form::Large(spine) => spine,
        };
        let place = match last {
            None => spine.place_of(index)?,
            Some(last) if forward => spine.place_after(last)?,
            Some(last) => spine.place_before(last)?,
        };
        Some(Cursor::at(place, spine.chunk(place).pack, spine.chunk(place).gone(), forward))
    }
}

impl<'a> Cursor<'a> {
    /// `gone` elements at the front of the pack are popped and do not count.
    fn at(place: Place, pack: &'a Listpack, gone: usize, forward: bool) -> Cursor<'a> {
        let at = gone + place.at;
        if forward {
            Cursor { place, rest: pack.iter_range(at..pack.len()), left: pack.len() - at }
        } else {
            Cursor { place, rest: pack.iter_range(gone..at + 1), left: place.at + 1 }
        }
    }
}
