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

use std::collections::VecDeque;
use std::ops::Range;

use smallvec::{SmallVec, smallvec};
use triomphe::Arc;

use super::listpack::{Iter as PackIter, Listpack, Pos};
use super::{Elem, Limits, parse_int};

/// Chunks in a group.
const GROUP_LEN_MAX: usize = 64;
/// A first chunk that grows at its front joins the next one at this part of a chunk's size.
const FRONT_PART: usize = 8;

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
        let index = self.positions(pivot).next()?;
        self.insert(index, value, limits);
        Some(())
    }

    /// Inserts after the first element that is `pivot`; none when there is no such element.
    pub fn insert_after(&mut self, pivot: &[u8], value: &[u8], limits: &Limits) -> Option<()> {
        let index = self.positions(pivot).next()?;
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

    /// Keeps only the elements of this range.
    pub fn trim(&mut self, keep: Range<usize>) {
        let keep = self.clamp(keep);
        if keep.is_empty() {
            *self = List::new();
            return;
        }
        match &mut self.form {
            Form::Compact(pack) => {
                pack.truncate(keep.end);
                pack.remove_range(0, keep.start);
            }
            Form::Large(spine) => {
                spine.cut_back(spine.len - keep.end);
                spine.cut_front(keep.start);
            }
        }
        self.shrink();
    }

    pub fn iter(&self) -> ListIter<'_> {
        self.range(0..self.len())
    }

    /// The elements of a range in order; `rev()` gives them backwards. What lies beyond the end is left out.
    pub fn range(&self, range: Range<usize>) -> ListIter<'_> {
        let range = self.clamp(range);
        ListIter { list: self, range, front: None, back: None }
    }

    /// Indices of the elements that are `value`; `rev()` gives them from the last one on.
    pub fn positions<'a>(&'a self, value: &'a [u8]) -> impl DoubleEndedIterator<Item = usize> + 'a {
        let needle = Needle::new(value);
        self.iter().enumerate().filter(move |(_, elem)| needle.is(*elem)).map(|(index, _)| index)
    }

    /// Bytes asked of the allocator, shared ones included.
    pub fn allocated(&self) -> usize {
        match &self.form {
            Form::Compact(pack) => pack.allocated(),
            Form::Large(spine) => spine.allocated(),
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

/// Header and end mark of a Redis listpack, which its limit counts.
const LISTPACK_FRAME_BYTES: usize = 7;
/// Limit of bytes when the setting is a number of elements; as in Redis.
const COUNTED_BYTES_MAX: usize = 8 << 10;

/// `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ChunkSize {
    elements: usize,
    bytes: usize,
}

impl ChunkSize {
    fn of(limits: &Limits) -> ChunkSize {
        match limits.list_size {
            size @ 0.. => ChunkSize { elements: usize::try_from(size).unwrap_or(usize::MAX).max(1), bytes: COUNTED_BYTES_MAX },
            size => ChunkSize { elements: usize::MAX, bytes: (4 << 10) << (-1 - size.max(-5)) },
        }
    }

    fn allows(self, elements: usize, bytes: usize) -> bool {
        elements <= self.elements && bytes <= self.bytes
    }

    /// Whether a chunk can take in a value of so many bytes: what an element needs besides is at most ten bytes.
    fn has_room(self, pack: &Listpack, value_bytes: usize) -> bool {
        self.allows(pack.len() + 1, pack.byte_len() + value_bytes + 10)
    }

    fn part(self, part: usize) -> ChunkSize {
        ChunkSize { elements: (self.elements / part).max(1), bytes: self.bytes / part }
    }
}

/// The chunks of a large list.
#[derive(Clone)]
struct Spine {
    len: usize,
    groups: VecDeque<Counted<Group>>,
    /// The setting of the last push, by which popping judges whether the list is small again.
    size: ChunkSize,
    /// Where the first chunk's elements begin: what is before has been popped. How many are gone is the difference of
    /// the pack's length and the chunk's count.
    front: Option<Pos>,
}

/// A shared node and the number of elements below it.
struct Counted<T> {
    count: usize,
    node: Arc<T>,
}

impl<T> Clone for Counted<T> {
    fn clone(&self) -> Counted<T> {
        Counted { count: self.count, node: self.node.clone() }
    }
}

#[derive(Clone, Default)]
struct Group {
    chunks: Vec<Counted<Listpack>>,
}

#[derive(Clone, Copy)]
struct Place {
    group: usize,
    chunk: usize,
    /// Index of the element in its chunk.
    at: usize,
}

#[derive(Clone, Copy)]
struct ChunkRef<'a> {
    pack: &'a Listpack,
    count: usize,
}

impl<'a> ChunkRef<'a> {
    fn gone(self) -> usize {
        self.pack.len() - self.count
    }

    fn get(self, at: usize) -> Option<Elem<'a>> {
        self.pack.get(self.gone() + at)
    }
}

impl Group {
    fn of(chunks: Vec<Counted<Listpack>>) -> Counted<Group> {
        Counted { count: chunks.iter().map(|c| c.count).sum(), node: Arc::new(Group { chunks }) }
    }
}

fn chunk(pack: Listpack) -> Counted<Listpack> {
    Counted { count: pack.len(), node: Arc::new(pack) }
}

fn chunk_with(value: &[u8]) -> Counted<Listpack> {
    chunk_with_room(value, 0)
}

fn chunk_with_room(value: &[u8], bytes: usize) -> Counted<Listpack> {
    let mut pack = Listpack::with_capacity(bytes);
    pack.push_back(value);
    chunk(pack)
}

impl Spine {
    fn of(pack: Listpack, size: ChunkSize) -> Spine {
        let mut spine = Spine { len: pack.len(), groups: VecDeque::new(), size, front: None };
        if !pack.is_empty() {
            spine.groups.push_back(Group::of(vec![chunk(pack)]));
        }
        spine
    }

    fn chunk(&self, place: Place) -> ChunkRef<'_> {
        let chunk = &self.groups[place.group].node.chunks[place.chunk];
        ChunkRef { pack: &chunk.node, count: chunk.count }
    }

    /// From the nearer end.
    fn place_of(&self, index: usize) -> Option<Place> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut at = index;
            let group = self.groups.iter().position(|group| passes(&mut at, group.count))?;
            let chunk = self.groups[group].node.chunks.iter().position(|chunk| passes(&mut at, chunk.count))?;
            Some(Place { group, chunk, at })
        } else {
            let mut at = self.len - 1 - index;
            let group = self.groups.iter().rposition(|group| passes(&mut at, group.count))?;
            let chunks = &self.groups[group].node.chunks;
            let chunk = chunks.iter().rposition(|chunk| passes(&mut at, chunk.count))?;
            Some(Place { group, chunk, at: chunks[chunk].count - 1 - at })
        }
    }

    /// The first element of the next chunk.
    fn place_after(&self, Place { group, chunk, .. }: Place) -> Option<Place> {
        if chunk + 1 < self.groups.get(group)?.node.chunks.len() {
            return Some(Place { group, chunk: chunk + 1, at: 0 });
        }
        (group + 1 < self.groups.len()).then_some(Place { group: group + 1, chunk: 0, at: 0 })
    }

    /// The last element of the chunk before.
    fn place_before(&self, Place { group, chunk, .. }: Place) -> Option<Place> {
        let (group, chunk) = match (group, chunk) {
            (_, 1..) => (group, chunk - 1),
            (1.., 0) => (group - 1, self.groups[group - 1].node.chunks.len() - 1),
            (0, 0) => return None,
        };
        Some(Place { group, chunk, at: self.groups[group].node.chunks[chunk].count - 1 })
    }

    fn push_back(&mut self, value: &[u8]) {
        self.len += 1;
        let size = self.size;
        if let Some(group) = self.groups.back_mut()
            && let Some(last) = group.node.chunks.last()
        {
            if size.has_room(&last.node, value.len()) {
                group.count += 1;
                if let Some(last) = Arc::make_mut(&mut group.node).chunks.last_mut() {
                    last.count += 1;
                    Arc::make_mut(&mut last.node).push_back(value);
                }
                return;
            }
            if group.node.chunks.len() < GROUP_LEN_MAX {
                group.count += 1;
                Arc::make_mut(&mut group.node).chunks.push(chunk_with(value));
                return;
            }
        }
        self.groups.push_back(Group::of(vec![chunk_with(value)]));
    }

    fn push_front(&mut self, value: &[u8]) {
        let part = self.size.part(FRONT_PART);
        if let Some(group) = self.groups.front_mut()
            && let Some(first) = group.node.chunks.first()
        {
            if part.has_room(&first.node, value.len()) {
                self.close_front();
                self.edit(0, 0, |pack| pack.push_front(value));
                return;
            }
            // A first chunk that still has popped elements in it stays as it is: it is on its way out.
            if self.front.is_none() {
                self.join(0, 0, self.size);
            }
        }
        self.close_front();
        // It has room for its part from the beginning, so that it need not grow a few times in a few dozen pushes.
        let room = if value.len() * 4 <= part.bytes && part.elements > 4 { part.bytes } else { 0 };
        self.insert_chunks(0, 0, smallvec![chunk_with_room(value, room)]);
    }

    fn pop_front_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let group = self.groups.front_mut()?;
        let first = group.node.chunks.first()?;
        let pos = self.front.or(first.node.first())?;
        let result = visit(first.node.at(pos));
        if first.count == 1 {
            self.front = None;
            self.remove_chunk(0, 0);
            return Some(result);
        }
        self.front = first.node.next(pos);
        self.len -= 1;
        group.count -= 1;
        // The chunk itself is not touched: another reader of it sees what it saw.
        Arc::make_mut(&mut group.node).chunks[0].count -= 1;
        Some(result)
    }

    fn pop_back_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let group = self.groups.len().checked_sub(1)?;
        let chunk = self.groups[group].node.chunks.len().checked_sub(1)?;
        let last = &self.groups[group].node.chunks[chunk];
        let result = visit(last.node.at(last.node.last()?));
        if last.count == 1 {
            if group == 0 && chunk == 0 {
                self.front = None;
            }
            self.remove_chunk(group, chunk);
            return Some(result);
        }
        self.len -= 1;
        self.groups[group].count -= 1;
        let last = &mut Arc::make_mut(&mut self.groups[group].node).chunks[chunk];
        last.count -= 1;
        let pack = Arc::make_mut(&mut last.node);
        if let Some(pos) = pack.last() {
            pack.remove(pos);
        }
        Some(result)
    }

    fn set(&mut self, index: usize, value: &[u8]) {
        let Some(place) = self.place_of(index) else { return };
        let chunk = self.chunk(place);
        let old = chunk.get(place.at).map_or(0, Listpack::encoded_len);
        let bytes = chunk.pack.byte_len() - old + Listpack::encoded_len(value);
        let fits = chunk.pack.len() == 1 || bytes <= self.size.bytes;
        if !fits {
            self.edit_at(place, |pack, at| pack.remove_range(at, 1));
            self.insert(index, value);
            return;
        }
        self.edit_at(place, |pack, at| {
            if let Some(pos) = pack.pos_of(at) {
                pack.replace(pos, value);
            }
        });
    }

    fn insert(&mut self, index: usize, value: &[u8]) {
        if index == 0 {
            return self.push_front(value);
        }
        // Behind the element before it, so that the end of a chunk with room is preferred to the next one's front.
        let Some(mut place) = self.place_of(index - 1) else { return };
        place.at += 1;
        if place.group == 0 && place.chunk == 0 {
            self.close_front();
        }
        let size = self.size;
        let Place { group, chunk: at, .. } = place;
        let current = self.chunk(place);
        if size.has_room(current.pack, value.len()) {
            self.edit_at(place, |pack, at| pack.insert_at(pack.pos_of(at).unwrap_or(pack.end()), value));
            return;
        }
        let count = current.count;
        let mut new: SmallVec<[Counted<Listpack>; 2]> = smallvec![chunk_with(value)];
        if place.at < count {
            // The chunk is cut in two, and the value goes where there is room.
            let mut tail = Listpack::new();
            self.edit(group, at, |pack| tail = pack.split_off(place.at));
            let head = self.chunk(place).pack;
            if size.has_room(head, value.len()) {
                self.edit(group, at, |pack| pack.push_back(value));
                new = smallvec![chunk(tail)];
            } else if size.has_room(&tail, value.len()) {
                tail.push_front(value);
                new = smallvec![chunk(tail)];
            } else {
                new.push(chunk(tail));
            }
        } else if let Some(next) = self.place_after(place)
            && size.has_room(self.chunk(next).pack, value.len())
        {
            self.edit(next.group, next.chunk, |pack| pack.push_front(value));
            return;
        }
        self.insert_chunks(group, at + 1, new);
    }

    fn remove(&mut self, needle: &Needle<'_>, most: usize, from_back: bool) -> usize {
        let mut removed = 0;
        let mut place = if from_back { self.place_of(self.len - 1) } else { self.place_of(0) };
        while let Some(here) = place
            && removed < most
        {
            place = if from_back { self.place_before(here) } else { self.place_after(here) };
            let chunk = self.chunk(here);
            let gone = chunk.gone();
            let matches = needle.matches(chunk.pack, gone, most - removed, from_back);
            if !matches.is_empty() {
                if gone > 0 {
                    self.front = None;
                }
                let group = &mut self.groups[here.group];
                group.count -= matches.len();
                let chunk = &mut Arc::make_mut(&mut group.node).chunks[here.chunk];
                chunk.count -= matches.len();
                let pack = Arc::make_mut(&mut chunk.node);
                remove_all(pack, &matches);
                pack.remove_range(0, gone);
                removed += matches.len();
            }
        }
        self.len -= removed;
        if removed > 0 {
            self.tidy();
        }
        removed
    }

    fn cut_front(&mut self, mut count: usize) {
        if count > 0 {
            self.close_front();
        }
        while let Some(group) = self.groups.front()
            && count > 0
        {
            if group.count <= count {
                count -= group.count;
                self.len -= group.count;
                self.groups.pop_front();
                continue;
            }
            let mut rest = count;
            let whole = group.node.chunks.iter().position(|chunk| passes(&mut rest, chunk.count)).unwrap_or(0);
            self.len -= count;
            let group = &mut self.groups[0];
            group.count -= count;
            let chunks = &mut Arc::make_mut(&mut group.node).chunks;
            chunks.drain(..whole);
            if rest > 0 {
                chunks[0].count -= rest;
                Arc::make_mut(&mut chunks[0].node).remove_range(0, rest);
            }
            return;
        }
    }

    fn cut_back(&mut self, mut count: usize) {
        if count > 0 {
            self.close_front();
        }
        while let Some(group) = self.groups.back_mut()
            && count > 0
        {
            if group.count <= count {
                count -= group.count;
                self.len -= group.count;
                self.groups.pop_back();
                continue;
            }
            let mut rest = count;
            let last = group.node.chunks.iter().rposition(|chunk| passes(&mut rest, chunk.count)).unwrap_or(0);
            self.len -= count;
            group.count -= count;
            let chunks = &mut Arc::make_mut(&mut group.node).chunks;
            chunks.truncate(last + 1);
            if rest > 0 {
                chunks[last].count -= rest;
                let keep = chunks[last].count;
                Arc::make_mut(&mut chunks[last].node).truncate(keep);
            }
            return;
        }
    }

    /// Frees the first chunk of its popped elements.
    fn close_front(&mut self) {
        if self.front.take().is_some()
            && let Some(group) = self.groups.front_mut()
            && let Some(first) = Arc::make_mut(&mut group.node).chunks.first_mut()
        {
            let gone = first.node.len() - first.count;
            Arc::make_mut(&mut first.node).remove_range(0, gone);
        }
    }

    /// Changes a chunk, which `front` does not concern, and the counts with it.
    fn edit<R>(&mut self, group: usize, chunk: usize, change: impl FnOnce(&mut Listpack) -> R) -> R {
        debug_assert!((group, chunk) != (0, 0) || self.front.is_none());
        let holder = &mut self.groups[group];
        let edited = &mut Arc::make_mut(&mut holder.node).chunks[chunk];
        let pack = Arc::make_mut(&mut edited.node);
        let result = change(pack);
        let (old, new) = (edited.count, pack.len());
        edited.count = new;
        holder.count = holder.count - old + new;
        self.len = self.len - old + new;
        if new == 0 {
            self.remove_chunk(group, chunk);
        }
        result
    }

    /// The same, and gives the index in the chunk.
    fn edit_at<R>(&mut self, place: Place, change: impl FnOnce(&mut Listpack, usize) -> R) -> R {
        if place.group == 0 && place.chunk == 0 {
            self.close_front();
        }
        self.edit(place.group, place.chunk, |pack| change(pack, place.at))
    }

    fn remove_chunk(&mut self, group: usize, chunk: usize) {
        let holder = &mut self.groups[group];
        let removed = Arc::make_mut(&mut holder.node).chunks.remove(chunk);
        holder.count -= removed.count;
        self.len -= removed.count;
        if holder.node.chunks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Places chunks before the one at (group, chunk), or at the end of the group.
    fn insert_chunks(&mut self, group: usize, chunk: usize, new: SmallVec<[Counted<Listpack>; 2]>) {
        let added: usize = new.iter().map(|c| c.count).sum();
        self.len += added;
        if group == self.groups.len() || (group == 0 && chunk == 0 && self.groups[0].node.chunks.len() >= GROUP_LEN_MAX) {
            self.groups.insert(group, Group::of(new.into_vec()));
            return;
        }
        let holder = &mut self.groups[group];
        holder.count += added;
        let chunks = &mut Arc::make_mut(&mut holder.node).chunks;
        chunks.splice(chunk..chunk, new);
        if chunks.len() > GROUP_LEN_MAX {
            let right = Group::of(chunks.split_off(chunks.len() / 2));
            holder.count -= right.count;
            self.groups.insert(group + 1, right);
        }
    }

    /// Appends the chunk after this one to it, within the same group and when the sum is allowed.
    fn join(&mut self, group: usize, chunk: usize, size: ChunkSize) -> bool {
        let chunks = &self.groups[group].node.chunks;
        let [left, right] = match chunks.get(chunk..) {
            Some([left, right, ..]) => [left, right],
            _ => return false,
        };
        if !size.allows(left.node.len() + right.node.len(), left.node.byte_len() + right.node.byte_len()) {
            return false;
        }
        let chunks = &mut Arc::make_mut(&mut self.groups[group].node).chunks;
        let left = chunks.remove(chunk);
        let right = &mut chunks[chunk];
        right.count += left.count;
        Arc::make_mut(&mut right.node).prepend(&left.node);
        true
    }

    /// After elements have gone here and there: no empty nodes, no two neighbours that fit in half of one.
    fn tidy(&mut self) {
        let half = self.size.part(2);
        for group in 0..self.groups.len() {
            if self.groups[group].node.chunks.iter().any(|chunk| chunk.count == 0) {
                Arc::make_mut(&mut self.groups[group].node).chunks.retain(|chunk| chunk.count > 0);
            }
            // The popped elements of the first chunk are in the way.
            let first = usize::from(group == 0 && self.front.is_some());
            for chunk in (first..self.groups[group].node.chunks.len().saturating_sub(1)).rev() {
                self.join(group, chunk, half);
            }
        }
        self.groups.retain(|group| group.count > 0);
        let mut at = 0;
        while at + 1 < self.groups.len() {
            if self.groups[at].node.chunks.len() + self.groups[at + 1].node.chunks.len() > GROUP_LEN_MAX / 2 {
                at += 1;
            } else if let Some(right) = self.groups.remove(at + 1) {
                let left = &mut self.groups[at];
                left.count += right.count;
                Arc::make_mut(&mut left.node).chunks.extend_from_slice(&right.node.chunks);
            }
        }
    }

    /// The only chunk, when it is at most half of what a listpack may be. A large list may be empty for a moment.
    fn take_small(&mut self) -> Option<Listpack> {
        match self.groups.len() {
            0 => return Some(Listpack::new()),
            1 if self.groups[0].node.chunks.len() == 1 => {}
            _ => return None,
        }
        self.close_front();
        let pack = &self.groups[0].node.chunks[0].node;
        let small = if self.size.elements < usize::MAX {
            pack.len() <= self.size.elements / 2 && pack.byte_len() <= self.size.bytes
        } else {
            pack.byte_len() + LISTPACK_FRAME_BYTES <= self.size.bytes / 2
        };
        if !small {
            return None;
        }
        Some((**pack).clone())
    }

    fn allocated(&self) -> usize {
        let mut bytes = size_of::<Spine>() + self.groups.capacity() * size_of::<Counted<Group>>();
        for group in &self.groups {
            let chunks = &group.node.chunks;
            bytes += 8 + size_of::<Group>() + chunks.capacity() * size_of::<Counted<Listpack>>();
            bytes += chunks.iter().map(|c| 8 + size_of::<Listpack>() + c.node.allocated()).sum::<usize>();
        }
        bytes
    }
}

/// Whether an index lies within the next `count` elements; if not, it is counted from behind them.
#[inline]
fn passes(index: &mut usize, count: usize) -> bool {
    if *index < count {
        return true;
    }
    *index -= count;
    false
}

/// A value to look for. A listpack has one form for each value, so an integer is never among the bytes.
struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    fn new(bytes: &'a [u8]) -> Needle<'a> {
        Needle { bytes, int: parse_int(bytes) }
    }

    #[inline]
    fn is(&self, elem: Elem<'_>) -> bool {
        match elem {
            Elem::Int(value) => self.int == Some(value),
            Elem::Bytes(bytes) => bytes == self.bytes,
        }
    }

    /// Where it is, in order: at most `most` positions, the first ones or the last ones, none of the first `gone` elements.
    fn matches(&self, pack: &Listpack, gone: usize, most: usize, from_back: bool) -> SmallVec<[Pos; 4]> {
        let mut found = SmallVec::new();
        if from_back {
            let live = pack.len() - gone;
            found.extend(pack.iter().rev().take(live).filter(|(_, elem)| self.is(*elem)).map(|(pos, _)| pos).take(most));
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
fn remove_all(pack: &mut Listpack, positions: &[Pos]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl List {
        /// Checks every promise of the structure.
        fn check(&self) {
            let Form::Large(spine) = &self.form else { return };
            assert!(spine.len > 0);
            let mut len = 0;
            for (g, group) in spine.groups.iter().enumerate() {
                let chunks = &group.node.chunks;
                assert!(!chunks.is_empty() && chunks.len() <= GROUP_LEN_MAX);
                assert_eq!(group.count, chunks.iter().map(|c| c.count).sum::<usize>());
                len += group.count;
                for (c, chunk) in chunks.iter().enumerate() {
                    assert!(chunk.count > 0);
                    if (g, c) == (0, 0) && spine.front.is_some() {
                        assert_eq!(chunk.node.pos_of(chunk.node.len() - chunk.count), spine.front);
                    } else {
                        assert_eq!(chunk.count, chunk.node.len());
                    }
                }
            }
            assert_eq!(len, spine.len);
        }

        fn contents(&self) -> Vec<Vec<u8>> {
            self.iter().map(Elem::to_vec).collect()
        }

        fn chunk_sizes(&self) -> Vec<usize> {
            match &self.form {
                Form::Compact(pack) => vec![pack.byte_len()],
                Form::Large(spine) => spine.groups.iter().flat_map(|g| g.node.chunks.iter().map(|c| c.node.byte_len())).collect(),
            }
        }
    }

    fn limits(list_size: i64) -> Limits {
        Limits { list_size, ..Limits::default() }
    }

    #[derive(Clone, Debug)]
    enum Op {
        PushFront(Vec<u8>),
        PushBack(Vec<u8>),
        PushMany(bool, u16, u8),
        PopFront(u8),
        PopBack(u8),
        Set(u16, Vec<u8>),
        Insert(Vec<u8>, bool, Vec<u8>),
        InsertAt(u16, Vec<u8>),
        Remove(i8, Vec<u8>),
        Trim(u16, u16),
        Freeze,
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => (0u8..6).prop_map(|n| n.to_string().into_bytes()),
            4 => "[ab]{0,3}".prop_map(String::into_bytes),
            2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            1 => (0usize..400).prop_map(|n| vec![b'x'; n]),
            1 => (0usize..20_000).prop_map(|n| vec![b'y'; n]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => value().prop_map(Op::PushFront),
            6 => value().prop_map(Op::PushBack),
            3 => (any::<bool>(), 0u16..600, any::<u8>()).prop_map(|(front, n, kind)| Op::PushMany(front, n, kind)),
            3 => any::<u8>().prop_map(Op::PopFront),
            3 => any::<u8>().prop_map(Op::PopBack),
            4 => (any::<u16>(), value()).prop_map(|(at, v)| Op::Set(at, v)),
            3 => (value(), any::<bool>(), value()).prop_map(|(p, after, v)| Op::Insert(p, after, v)),
            4 => (any::<u16>(), value()).prop_map(|(at, v)| Op::InsertAt(at, v)),
            4 => (any::<i8>(), value()).prop_map(|(n, v)| Op::Remove(n / 30, v)),
            1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Op::Trim(a, b)),
            1 => Just(Op::Freeze),
        ]
    }

    fn model_remove(model: &mut Vec<Vec<u8>>, count: i64, value: &[u8]) -> usize {
        let all: Vec<usize> = (0..model.len()).filter(|i| model[*i] == value).collect();
        let n = if count == 0 { all.len() } else { all.len().min(count.unsigned_abs() as usize) };
        let chosen = if count < 0 { &all[all.len() - n..] } else { &all[..n] };
        for i in chosen.iter().rev() {
            model.remove(*i);
        }
        n
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn agrees_with_a_vector(size in prop_oneof![Just(-2i64), Just(-1), Just(1), Just(2), Just(7), Just(128)], ops in proptest::collection::vec(op(), 1..50)) {
            let limits = limits(size);
            let (mut list, mut model, mut frozen) = (List::new(), Vec::<Vec<u8>>::new(), Vec::new());
            for op in ops {
                match op {
                    Op::PushFront(v) => {
                        list.push_front(&v, &limits);
                        model.insert(0, v);
                    }
                    Op::PushBack(v) => {
                        list.push_back(&v, &limits);
                        model.push(v);
                    }
                    Op::PushMany(front, n, kind) => for i in 0..n {
                        let v = match kind % 3 {
                            0 => i.to_string(),
                            1 => format!("value-{i}"),
                            _ => (i % 4).to_string(),
                        }.into_bytes();
                        if front {
                            list.push_front(&v, &limits);
                            model.insert(0, v);
                        } else {
                            list.push_back(&v, &limits);
                            model.push(v);
                        }
                    },
                    Op::PopFront(n) => for _ in 0..n {
                        let expected = if model.is_empty() { None } else { Some(model.remove(0)) };
                        prop_assert_eq!(list.pop_front(), expected);
                    },
                    Op::PopBack(n) => for _ in 0..n {
                        prop_assert_eq!(list.pop_back(), model.pop());
                    },
                    Op::Set(at, v) => {
                        let at = usize::from(at) % (model.len() + 1);
                        prop_assert_eq!(list.set(at, &v, &limits), at < model.len());
                        if at < model.len() {
                            model[at] = v;
                        }
                    }
                    Op::Insert(pivot, after, v) => {
                        let done = if after { list.insert_after(&pivot, &v, &limits) } else { list.insert_before(&pivot, &v, &limits) };
                        let at = model.iter().position(|e| *e == pivot);
                        prop_assert_eq!(done.is_some(), at.is_some());
                        if let Some(at) = at {
                            model.insert(at + usize::from(after), v);
                        }
                    }
                    Op::InsertAt(at, v) => {
                        let at = usize::from(at) % (model.len() + 1);
                        list.insert(at, &v, &limits);
                        model.insert(at, v);
                    }
                    Op::Remove(n, v) => {
                        prop_assert_eq!(list.remove(i64::from(n), &v), model_remove(&mut model, i64::from(n), &v));
                    }
                    Op::Trim(a, b) => {
                        let (a, b) = (usize::from(a) % (model.len() + 1), usize::from(b) % (model.len() + 1));
                        list.trim(a.min(b)..a.max(b));
                        model = model[a.min(b)..a.max(b)].to_vec();
                    }
                    Op::Freeze => frozen.push((list.freeze(), model.clone())),
                }
                list.check();
                prop_assert_eq!(list.len(), model.len());
            }
            frozen.push((list, model));
            for (list, model) in frozen {
                list.check();
                prop_assert_eq!(&list.contents(), &model);
                let mut backwards: Vec<_> = list.iter().rev().map(Elem::to_vec).collect();
                backwards.reverse();
                prop_assert_eq!(&backwards, &model);
                for (i, value) in model.iter().enumerate().step_by(13) {
                    prop_assert!(list.get(i).is_some_and(|e| e.is(value)));
                }
                prop_assert!(list.get(model.len()).is_none());
                let (a, b) = (model.len() / 4, model.len() / 4 * 3);
                let part: Vec<_> = list.range(a..b).map(Elem::to_vec).collect();
                prop_assert_eq!(&part[..], &model[a..b]);
                let mut part: Vec<_> = list.range(a..b).rev().map(Elem::to_vec).collect();
                part.reverse();
                prop_assert_eq!(&part[..], &model[a..b]);
                let mut both = list.range(a..b);
                let mut seen = (Vec::new(), Vec::new());
                while let Some(elem) = both.next() {
                    seen.0.push(elem.to_vec());
                    seen.1.extend(both.next_back().map(Elem::to_vec));
                }
                seen.1.reverse();
                prop_assert_eq!([seen.0, seen.1].concat(), &model[a..b]);
                let positions: Vec<_> = list.positions(b"1").collect();
                prop_assert!(positions.iter().copied().eq((0..model.len()).filter(|i| model[*i] == b"1")));
                prop_assert!(list.positions(b"1").rev().eq(positions.into_iter().rev()));
            }
        }
    }

    #[test]
    fn the_encoding_follows_the_size_as_in_redis() {
        let mut list = List::new();
        for i in 0..128 {
            list.push_back(i.to_string().as_bytes(), &limits(128));
        }
        assert_eq!(list.encoding(), "listpack");
        list.push_back(b"x", &limits(128));
        assert_eq!(list.encoding(), "quicklist");
        list.trim(0..65);
        assert_eq!((list.len(), list.encoding()), (65, "quicklist"));
        list.pop_back();
        assert_eq!((list.len(), list.encoding()), (64, "listpack"));

        let mut list = List::new();
        list.push_back(&[b'x'; 8 << 10], &limits(-2));
        assert_eq!(list.encoding(), "quicklist");
        list.pop_front();
        assert_eq!((list.len(), list.encoding()), (0, "listpack"));
    }

    #[test]
    fn chunks_stay_within_their_size_and_are_full() {
        for front in [false, true] {
            let mut list = List::new();
            for i in 0..100_000 {
                let value = format!("value-{i}");
                if front {
                    list.push_front(value.as_bytes(), &limits(-2));
                } else {
                    list.push_back(value.as_bytes(), &limits(-2));
                }
            }
            list.check();
            let sizes = list.chunk_sizes();
            assert!(sizes.iter().all(|s| *s <= 8 << 10), "{sizes:?}");
            let sparse = sizes.iter().filter(|s| **s < 6 << 10).count();
            assert!(sparse * 50 < sizes.len() + 100, "{sparse} of {} sparse chunks", sizes.len());
        }
    }

    #[test]
    fn a_value_larger_than_a_chunk_is_alone() {
        let mut list = List::new();
        for i in 0..10 {
            list.push_back(b"small", &limits(-2));
            list.push_back(&vec![b'x'; 10_000 + i], &limits(-2));
        }
        list.check();
        assert!(list.chunk_sizes()[1..].iter().all(|s| *s < 100 || *s > 10_000));
    }

    #[test]
    fn removals_leave_no_sparse_chunks() {
        let mut list = List::new();
        for i in 0..50_000 {
            list.push_back(if i % 20 == 0 { b"keep this" } else { b"remove it" }, &limits(-2));
        }
        assert_eq!(list.remove(0, b"remove it"), 47_500);
        list.check();
        assert!(list.chunk_sizes().len() < 12, "{} chunks", list.chunk_sizes().len());
    }

    #[test]
    fn freezing_shares_and_a_write_copies_one_chunk() {
        let mut list = List::new();
        for i in 0..200_000 {
            list.push_back(format!("value-{i}").as_bytes(), &limits(-2));
        }
        let frozen = list.freeze();
        list.set(100_000, b"other", &limits(-2));
        list.pop_front();
        let chunks = |list: &List| match &list.form {
            Form::Large(spine) => spine.groups.iter().flat_map(|g| g.node.chunks.iter().map(|c| &raw const *c.node)).collect(),
            Form::Compact(_) => Vec::new(),
        };
        let (old, new) = (chunks(&frozen), chunks(&list));
        assert_eq!(new.iter().filter(|n| !old.contains(n)).count(), 1);
        assert_eq!(frozen.get(0).map(Elem::to_vec), Some(b"value-0".to_vec()));
        assert_eq!(frozen.get(100_000).map(Elem::to_vec), Some(b"value-100000".to_vec()));
        assert_eq!(list.get(0).map(Elem::to_vec), Some(b"value-1".to_vec()));
    }

    #[test]
    fn elements_take_little_memory() {
        let mut list = List::new();
        for i in 0..100_000 {
            list.push_back(format!("elem{i:06}").as_bytes(), &limits(-2));
        }
        let per_element = list.allocated() as f64 / 100_000.0;
        println!("list: {per_element:.1} bytes for an element of 10");
        assert!(per_element < 13.0);
        assert!(size_of::<List>() <= 16);
    }
}
