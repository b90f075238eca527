//! A snapshot in the making, as the databases see it: what is about to change while a walker goes through the keys is
//! kept as it was at the cut.
//!
//! At the cut every database gets the next *epoch*. An entry in an older one stands for what it was at the cut. Whoever
//! comes first writes it down and lifts it into the new epoch: the walker, when it passes by, or whoever is about to
//! change or remove it, by way of [`OldValues`]. So each is written once, whatever the order, and a value that was made
//! after the cut never is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::db::Db;
use super::entry::Entry;

/// The epoch of a database, and who wants to know what its entries were before.
pub(super) struct Cut {
    /// What is written or new belongs to this epoch.
    epoch: u16,
    /// While a walker has not been everywhere in this database.
    walk: Option<Walk>,
}

struct Walk {
    /// The number of the database at the cut; SWAPDB may have moved it since.
    db: u32,
    old: Arc<OldValues>,
}

impl Cut {
    pub(super) fn new(epoch: u16) -> Cut {
        Cut { epoch, walk: None }
    }

    /// The epoch of new entries.
    #[inline]
    pub(super) fn epoch(&self) -> u16 {
        self.epoch
    }

    pub(super) fn begin(&mut self, epoch: u16, db: u32, old: Arc<OldValues>) {
        *self = Cut { epoch, walk: Some(Walk { db, old }) };
    }

    pub(super) fn end(&mut self) {
        self.walk = None;
    }

    /// The number that the database had at the cut, until the walker is through with it.
    pub(super) fn walked_as(&self) -> Option<u32> {
        self.walk.as_ref().map(|walk| walk.db)
    }

    /// Where a database goes that is dropped before the walker was through with it.
    pub(super) fn old_values(&self) -> Option<Arc<OldValues>> {
        self.walk.as_ref().map(|walk| walk.old.clone())
    }

    /// `entry` is about to change.
    #[inline]
    pub(super) fn keep(&self, entry: &Entry) {
        if let Some(walk) = &self.walk {
            self.keep_for(walk, entry, false);
        }
    }

    /// `entry` has been taken out: nobody else has its elements any more.
    #[inline]
    pub(super) fn keep_removed(&self, entry: &Entry) {
        if let Some(walk) = &self.walk {
            self.keep_for(walk, entry, true);
        }
    }

    #[cold]
    fn keep_for(&self, walk: &Walk, entry: &Entry, is_removed: bool) {
        if entry.epoch() != self.epoch {
            entry.set_epoch(self.epoch);
            let element_bytes = if is_removed { entry.value().element_bytes() } else { 0 };
            walk.old.put(Old::Entry { db: walk.db, entry: entry.copy_as(entry.key()), element_bytes });
        }
    }

    /// True when `entry` is as it was at the cut and nobody has written it down yet. Whoever asks writes it.
    pub(super) fn take(&self, entry: &Entry) -> bool {
        let is_old = entry.epoch() != self.epoch;
        if is_old {
            entry.set_epoch(self.epoch);
        }
        is_old
    }
}

/// Something as it was at the cut.
pub enum Old {
    /// One key of a database, under its number at the cut, and what its elements take, when they are its own alone.
    Entry { db: u32, entry: Entry, element_bytes: usize },
    /// A database that was dropped whole; some of its entries may be written already ([`Db::take_old`] tells).
    Db(Box<Db>),
}

/// Bytes that an old value takes besides its own.
const OLD_BYTES: usize = 32;

/// Old values on their way to the snapshot. Writers put in and never wait; the walker takes out.
#[derive(Default)]
pub struct OldValues {
    queue: Mutex<VecDeque<Old>>,
    bytes: AtomicUsize,
}

impl OldValues {
    pub fn put(&self, old: Old) {
        self.bytes.fetch_add(old.bytes(), Ordering::Relaxed);
        self.queue.lock().push_back(old);
    }

    /// Everything that is there, in the order in which it changed.
    pub fn take(&self) -> VecDeque<Old> {
        let queue = std::mem::take(&mut *self.queue.lock());
        let bytes = queue.iter().map(Old::bytes).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        queue
    }

    /// Memory that they take, about: what back-pressure looks at. A frozen collection counts with what is its own; the
    /// chunks that it shares cost only when they are changed.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Old {
    fn bytes(&self) -> usize {
        OLD_BYTES
            + match self {
                Old::Entry { entry, element_bytes, .. } => entry.allocated_bytes() + element_bytes,
                // It was there before, and is dropped when it is written.
                Old::Db(_) => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::access::Access;
    use crate::keyspace::db::Expiry;
    use crate::keyspace::hasher::KeyHasher;
    use crate::keyspace::value::Value;

    const ACCESS: Access<'static> = Access::new(0, None);

    #[derive(Clone, Debug)]
    enum Step {
        Set(u16, u8),
        Insert(u16, u8),
        Append(u16),
        Expire(u16, Option<i64>),
        Remove(u16),
        Rename(u16, u16),
        /// The database is dropped and a new one takes its place: FLUSHDB.
        Drop,
        /// A step of the walker.
        Walk,
        Drain,
    }

    fn steps(walks: u32) -> impl Strategy<Value = Vec<Step>> {
        let key = || 0..300_u16;
        let step = prop_oneof![
            6 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
            1 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
            2 => key().prop_map(Step::Append),
            1 => (key(), prop::option::of(1..99_i64)).prop_map(|(key, at)| Step::Expire(key, at)),
            2 => key().prop_map(Step::Remove),
            1 => (key(), key()).prop_map(|(from, to)| Step::Rename(from, to)),
            walks => Just(Step::Walk),
            walks.div_ceil(4) => Just(Step::Drain),
            walks.div_ceil(9) => Just(Step::Drop),
        ];
        prop::collection::vec(step, 0..400)
    }

    /// A key, its value and its deadline.
    type Item = (Vec<u8>, (Vec<u8>, Option<i64>));
    type Content = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

    fn content_of(entry: &Entry) -> Item {
        let value = entry.as_string().expect("all values here are strings").to_vec();
        (entry.key().to_vec(), (value, entry.expires_at()))
    }

    /// A database with whoever walks through it.
    struct World {
        hasher: KeyHasher,
        epoch: u16,
        db: Db,
        old: Arc<OldValues>,
        /// Where the walker is; none when it is through.
        cursor: Option<u64>,
        seen: Vec<Item>,
    }

    impl World {
        fn run(&mut self, step: &Step) {
            let name = |key: &u16| key.to_string().into_bytes();
            let hash = |key: &u16| self.hasher.hash(&name(key));
            match step {
                Step::Set(key, value) => {
                    drop(self.db.set_bytes(hash(key), &name(key), &[*value; 40], Expiry::Keep, &ACCESS))
                }
                Step::Insert(key, value) => {
                    drop(self.db.insert(hash(key), &name(key), Value::string(&[*value]), Expiry::Clear, &ACCESS));
                }
                Step::Append(key) => {
                    if let Some(mut entry) = self.db.get_mut(hash(key), &name(key)) {
                        entry.append(b"+");
                    }
                }
                Step::Expire(key, at) => drop(self.db.set_expiry(hash(key), &name(key), *at)),
                Step::Remove(key) => drop(self.db.remove(hash(key), &name(key))),
                Step::Rename(from, to) => {
                    if let Some(entry) = self.db.remove(hash(from), &name(from)) {
                        self.db.insert_entry(hash(to), entry.rekey(&name(to)));
                    }
                }
                Step::Drop => {
                    let gone = std::mem::replace(&mut self.db, Db::new(self.hasher, self.epoch));
                    if let Some(old) = gone.old_values() {
                        old.put(Old::Db(Box::new(gone)));
                    }
                    self.cursor = None;
                }
                Step::Walk => {
                    if let Some(cursor) = self.cursor {
                        let next = self.db.take_old(cursor, |entry| self.seen.push(content_of(entry)));
                        self.cursor = (next != 0).then_some(next);
                        if next == 0 {
                            self.db.end_cut();
                        }
                    }
                }
                Step::Drain => self.drain(),
            }
        }

        fn drain(&mut self) {
            for old in self.old.take() {
                match old {
                    Old::Entry { entry, .. } => self.seen.push(content_of(&entry)),
                    Old::Db(db) => {
                        let mut cursor = 0;
                        loop {
                            cursor = db.take_old(cursor, |entry| self.seen.push(content_of(entry)));
                            if cursor == 0 {
                                break;
                            }
                        }
                    }
                }
            }
        }

        fn content(&self) -> Content {
            let mut content = Content::new();
            let mut cursor = 0;
            loop {
                cursor = self.db.table().scan(cursor, |entry| content.extend([content_of(entry)]));
                if cursor == 0 {
                    return content;
                }
            }
        }
    }

    proptest! {
        /// Whatever happens between the cut and the end of the walk, the walker gets each key of the cut once, as it was.
        #[test]
        fn the_walk_sees_the_cut(before in steps(0), cuts in prop::collection::vec((steps(9), any::<bool>()), 1..4)) {
            let hasher = KeyHasher::new(5);
            let mut world = World {
                hasher,
                epoch: u16::MAX - 1,
                db: Db::new(hasher, u16::MAX - 1),
                old: Arc::default(),
                cursor: None,
                seen: Vec::new(),
            };
            before.iter().for_each(|step| world.run(step));
            for (during, is_given_up) in cuts {
                let expected = world.content();
                world.epoch = world.epoch.wrapping_add(1);
                world.old = Arc::default();
                world.seen.clear();
                world.cursor = Some(0);
                world.db.begin_cut(world.epoch, 3, world.old.clone());
                during.iter().for_each(|step| world.run(step));
                if is_given_up {
                    world.cursor = None;
                    world.db.end_cut();
                    continue;
                }
                while world.cursor.is_some() {
                    world.run(&Step::Walk);
                }
                world.drain();
                prop_assert_eq!(world.old.bytes(), 0);
                prop_assert_eq!(world.seen.len(), expected.len());
                prop_assert_eq!(world.seen.iter().cloned().collect::<Content>(), expected);
            }
        }
    }
}
