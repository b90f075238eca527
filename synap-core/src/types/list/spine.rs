//! The chunks of a large list, in groups.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use smallvec::{SmallVec, smallvec};
use triomphe::Arc;

use super::needle::{Needle, remove_all};
use crate::types::listpack::{Listpack, Pos, REDIS_FRAME_BYTES};
use crate::types::sample::estimate;
use crate::types::{Elem, Limits};

/// Chunks in a group.
pub(super) const GROUP_LEN_MAX: usize = 64;
/// A first chunk that grows at its front joins the next one at this part of a chunk's size.
const FRONT_PART: usize = 8;
/// What the limit counts besides elements.
pub(super) const LISTPACK_FRAME_BYTES: usize = REDIS_FRAME_BYTES;
/// Limit of bytes when the setting is a number of elements; as in Redis.
const COUNTED_BYTES_MAX: usize = 8 << 10;

/// `list-max-listpack-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkSize {
    elements: usize,
    bytes: usize,
}

impl ChunkSize {
    pub(super) fn of(limits: &Limits) -> ChunkSize {
        match limits.list_size {
            size @ 0.. => {
                ChunkSize { elements: usize::try_from(size).unwrap_or(usize::MAX).max(1), bytes: COUNTED_BYTES_MAX }
            }
            size => ChunkSize { elements: usize::MAX, bytes: (4 << 10) << (-1 - size.max(-5)) },
        }
    }

    pub(super) fn allows(self, elements: usize, bytes: usize) -> bool {
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
pub(super) struct Spine {
    pub(super) len: usize,
    pub(super) groups: VecDeque<Counted<Group>>,
    /// The setting of the last push, by which popping judges whether the list is small again.
    pub(super) size: ChunkSize,
    /// Where the first chunk's elements begin: what is before has been popped. How many are gone is the difference of
    /// the pack's length and the chunk's count.
    pub(super) front: Option<Pos>,
}

/// A shared node and the number of elements below it.
pub(super) struct Counted<T> {
    pub(super) count: usize,
    pub(super) node: Arc<T>,
}

impl<T> Clone for Counted<T> {
    fn clone(&self) -> Counted<T> {
        Counted { count: self.count, node: self.node.clone() }
    }
}

#[derive(Clone, Default)]
pub(super) struct Group {
    pub(super) chunks: Vec<Counted<Listpack>>,
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) group: usize,
    pub(super) chunk: usize,
    /// Index of the element in its chunk.
    pub(super) at: usize,
}

#[derive(Clone, Copy)]
pub(super) struct ChunkRef<'a> {
    pub(super) pack: &'a Listpack,
    pub(super) count: usize,
}

impl<'a> ChunkRef<'a> {
    pub(super) fn gone(self) -> usize {
        self.pack.len() - self.count
    }

    pub(super) fn get(self, at: usize) -> Option<Elem<'a>> {
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
    pub(super) fn of(pack: Listpack, size: ChunkSize) -> Spine {
        let mut spine = Spine { len: pack.len(), groups: VecDeque::new(), size, front: None };
        if !pack.is_empty() {
            spine.groups.push_back(Group::of(vec![chunk(pack)]));
        }
        spine
    }

    pub(super) fn chunk(&self, place: Place) -> ChunkRef<'_> {
        let chunk = &self.groups[place.group].node.chunks[place.chunk];
        ChunkRef { pack: &chunk.node, count: chunk.count }
    }

    /// From the nearer end.
    pub(super) fn place_of(&self, index: usize) -> Option<Place> {
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
    pub(super) fn place_after(&self, Place { group, chunk, .. }: Place) -> Option<Place> {
        if chunk + 1 < self.groups.get(group)?.node.chunks.len() {
            return Some(Place { group, chunk: chunk + 1, at: 0 });
        }
        (group + 1 < self.groups.len()).then_some(Place { group: group + 1, chunk: 0, at: 0 })
    }

    /// The last element of the chunk before.
    pub(super) fn place_before(&self, Place { group, chunk, .. }: Place) -> Option<Place> {
        let (group, chunk) = match (group, chunk) {
            (_, 1..) => (group, chunk - 1),
            (1.., 0) => (group - 1, self.groups[group - 1].node.chunks.len() - 1),
            (0, 0) => return None,
        };
        Some(Place { group, chunk, at: self.groups[group].node.chunks[chunk].count - 1 })
    }

    pub(super) fn push_back(&mut self, value: &[u8]) {
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

    /// Appends a whole chunk: to the last one when both fit into it, and in pieces when it is too large itself.
    pub(super) fn append(&mut self, pack: Listpack) {
        let size = self.size;
        if pack.len() > 1 && !size.allows(pack.len(), pack.byte_len()) {
            let mut buffer = itoa::Buffer::new();
            pack.iter().for_each(|(_, elem)| self.push_back(elem.bytes(&mut buffer)));
            return;
        }
        if let Some(group) = self.groups.len().checked_sub(1)
            && let Some(chunk) = self.groups[group].node.chunks.len().checked_sub(1)
        {
            let last = &self.groups[group].node.chunks[chunk].node;
            if size.allows(last.len() + pack.len(), last.byte_len() + pack.byte_len()) {
                if (group, chunk) == (0, 0) {
                    self.close_front();
                }
                self.edit(group, chunk, |last| last.append(&pack));
                return;
            }
        }
        self.len += pack.len();
        match self.groups.back_mut() {
            Some(group) if group.node.chunks.len() < GROUP_LEN_MAX => {
                group.count += pack.len();
                Arc::make_mut(&mut group.node).chunks.push(chunk(pack));
            }
            _ => self.groups.push_back(Group::of(vec![chunk(pack)])),
        }
    }

    /// The chunks in order: the encoded elements of each, and how many they are.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let chunks = self.groups.iter().flat_map(|group| &group.node.chunks);
        chunks.enumerate().map(|(index, chunk)| match self.front {
            Some(front) if index == 0 => (chunk.node.encoded_from(front), chunk.count),
            _ => (chunk.node.encoded(), chunk.count),
        })
    }

    pub(super) fn push_front(&mut self, value: &[u8]) {
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

    pub(super) fn pop_front_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
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

    pub(super) fn pop_back_with<R>(&mut self, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
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

    pub(super) fn set(&mut self, index: usize, value: &[u8]) {
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

    pub(super) fn insert(&mut self, index: usize, value: &[u8]) {
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

    pub(super) fn remove(&mut self, needle: &Needle<'_>, most: usize, from_back: bool) -> usize {
        let mut removed = 0;
        let mut touched: Option<RangeInclusive<usize>> = None;
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
                touched = Some(match touched {
                    None => here.group..=here.group,
                    Some(other) => *other.start().min(&here.group)..=*other.end().max(&here.group),
                });
            }
        }
        self.len -= removed;
        if let Some(touched) = touched {
            self.tidy(touched);
        }
        removed
    }

    /// Removes elements at the front. The groups that went as a whole come back, in no particular order.
    pub(super) fn cut_front(&mut self, mut count: usize) -> Spine {
        let mut cut = Spine::of(Listpack::new(), self.size);
        if count > 0 {
            self.close_front();
        }
        while let Some(group) = self.groups.pop_front_if(|group| group.count <= count) {
            count -= group.count;
            self.len -= group.count;
            cut.push_group(group);
        }
        let Some(group) = self.groups.front_mut().filter(|_| count > 0) else { return cut };
        let mut rest = count;
        let whole = group.node.chunks.iter().position(|chunk| passes(&mut rest, chunk.count)).unwrap_or(0);
        self.len -= count;
        group.count -= count;
        let chunks = &mut Arc::make_mut(&mut group.node).chunks;
        chunks.drain(..whole);
        if rest > 0 {
            chunks[0].count -= rest;
            Arc::make_mut(&mut chunks[0].node).remove_range(0, rest);
        }
        cut
    }

    /// The same at the back.
    pub(super) fn cut_back(&mut self, mut count: usize) -> Spine {
        let mut cut = Spine::of(Listpack::new(), self.size);
        if count > 0 {
            self.close_front();
        }
        while let Some(group) = self.groups.pop_back_if(|group| group.count <= count) {
            count -= group.count;
            self.len -= group.count;
            cut.push_group(group);
        }
        let Some(group) = self.groups.back_mut().filter(|_| count > 0) else { return cut };
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
        cut
    }

    fn push_group(&mut self, group: Counted<Group>) {
        self.len += group.count;
        self.groups.push_back(group);
    }

    /// Takes over the groups of another one.
    pub(super) fn append_spine(&mut self, mut other: Spine) {
        self.len += other.len;
        self.groups.append(&mut other.groups);
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
        if group == self.groups.len() || (group == 0 && chunk == 0 && self.groups[0].node.chunks.len() >= GROUP_LEN_MAX)
        {
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

    /// After elements have gone here and there in these groups: no empty nodes, no two neighbours that fit in half of
    /// one.
    fn tidy(&mut self, touched: RangeInclusive<usize>) {
        let half = self.size.part(2);
        for group in touched {
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
    pub(super) fn take_small(&mut self) -> Option<Listpack> {
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

    /// When at most so many chunks are looked at.
    pub(super) fn allocated_about(&self, samples: usize) -> usize {
        let of_each = (samples / self.groups.len().max(1)).max(1);
        let of_group = |index: usize| {
            let chunks = &self.groups[index].node.chunks;
            let bytes = |at: usize| 8 + size_of::<Listpack>() + chunks[at].node.allocated();
            let own = 8 + size_of::<Group>() + chunks.capacity() * size_of::<Counted<Listpack>>();
            own + estimate(chunks.len(), of_each, bytes)
        };
        size_of::<Spine>()
            + self.groups.capacity() * size_of::<Counted<Group>>()
            + estimate(self.groups.len(), samples, of_group)
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
