//! Change guards: a handler changes a collection through one, and only what really changed is logged and told.

use std::ops::{Deref, Range};
use std::ptr::NonNull;

use super::context::WriteCx;
use super::notify::{Classes, Event};
use super::state::Trash;
use crate::error::{Error, Result};
use crate::grammar::Key;
use crate::keyspace::db::Expiry;
use crate::keyspace::value::{Value, ValueMut, ValueRef};
use crate::types::hash::{Hash, SetOutcome};
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::{Outcome, ZSet};
use crate::types::{Elem, Limits};

/// A type of value that is made when something is put into it and goes when it is empty.
pub trait Collection: Sized {
    /// Of its events.
    const CLASS: Classes;
    fn of(value: ValueRef<'_>) -> Option<&Self>;
    fn of_mut(value: ValueMut<'_>) -> Option<&mut Self>;
    fn new_value() -> Value;
    fn has_nothing(&self) -> bool;
}

macro_rules! collections {
    ($($ty:ident $class:ident),*) => {$(
        impl Collection for $ty {
            const CLASS: Classes = Classes::$class;
            #[inline]
            fn of(value: ValueRef<'_>) -> Option<&Self> {
                if let ValueRef::$ty(inner) = value { Some(inner) } else { None }
            }
            #[inline]
            fn of_mut(value: ValueMut<'_>) -> Option<&mut Self> {
                if let ValueMut::$ty(inner) = value { Some(inner) } else { None }
            }
            fn new_value() -> Value {
                Value::$ty($ty::new())
            }
            #[inline]
            fn has_nothing(&self) -> bool {
                self.is_empty()
            }
        }
    )*};
}

collections!(Hash HASH, List LIST, Set SET, ZSet ZSET);

/// A collection that a call may change. Reads go through `Deref`; each method that changes notes whether it did.
///
/// When it goes: an emptied collection is deleted, one that was made here and not filled was never there, and a
/// change is noted for the log, for those who watch or wait, and as an event.
pub struct Change<'u, 't, T: Collection> {
    cx: &'u mut WriteCx<'t>,
    key: Key<'u>,
    value: NonNull<T>,
    limits: &'static Limits,
    changed: bool,
    /// The key was not there before.
    is_new: bool,
    /// What the change is called in notifications.
    event: &'static str,
    is_quiet: bool,
}

impl<'u, 't, T: Collection> Change<'u, 't, T> {
    /// `Ok(None)` when there is nothing and `create` is false.
    #[inline]
    pub(super) fn open(
        cx: &'u mut WriteCx<'t>,
        key: Key<'u>,
        create: bool,
        event: &'static str,
    ) -> Result<Option<Self>> {
        let limits = cx.limits();
        let mut is_new = false;
        let value = match cx.entry_mut(&key) {
            Some(entry) => T::of_mut(entry.into_value_mut()).map(NonNull::from),
            None if !create => return Ok(None),
            None => {
                // Only a replica's or a replay's store may still hold a due key here; it is replaced.
                let access = cx.access();
                is_new = true;
                let _ = cx.db_of(&key).insert(key.hash, key.bytes, T::new_value(), Expiry::Clear, access);
                let entry = cx.db_of(&key).get_mut(key.hash, key.bytes);
                entry.and_then(|entry| T::of_mut(entry.into_value_mut())).map(NonNull::from)
            }
        };
        let value = value.ok_or(Error::WRONG_TYPE)?;
        Ok(Some(Change { cx, key, value, limits, changed: false, is_new, event, is_quiet: false }))
    }

    /// Nothing is told of: the caller does, later.
    pub fn keep_quiet(&mut self) {
        self.is_quiet = true;
    }

    #[inline]
    fn value_mut(&mut self) -> &mut T {
        // SAFETY: `value` points into the entry of `key`, which neither moves nor goes while this guard borrows the
        // context exclusively: the guard itself touches the table only when it is dropped.
        unsafe { self.value.as_mut() }
    }
}

impl<T: Collection> Deref for Change<'_, '_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as in `value_mut`.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Collection> Drop for Change<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        let key = self.key;
        let is_empty = self.has_nothing();
        if is_empty && let Some(entry) = self.cx.db_of(&key).remove(key.hash, key.bytes) {
            self.cx.discard(entry);
        }
        if self.changed {
            self.cx.touched(&key);
            if !self.is_quiet && self.cx.wants_events() {
                let what = Event::new(T::CLASS, self.event);
                self.cx.note_change(&key, self.is_new, what, is_empty);
            }
        }
    }
}

impl Change<'_, '_, Hash> {
    /// Sets a field, which loses its time to live; true when it is new.
    #[inline]
    pub fn put(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.changed = true;
        let limits = self.limits;
        matches!(self.value_mut().set(field, value, limits), SetOutcome::Added)
    }

    /// Sets a field that keeps its time to live, if it is there; true when it is new.
    pub fn put_keep_ttl(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.changed = true;
        let limits = self.limits;
        matches!(self.value_mut().set_keep_ttl(field, value, limits), SetOutcome::Added)
    }

    /// Sets a field with a deadline in Unix milliseconds; true when it is new.
    pub fn put_until(&mut self, field: &[u8], value: &[u8], deadline_ms: i64) -> bool {
        self.changed = true;
        let (before, limits) = (self.next_due(), self.limits);
        let outcome = self.value_mut().set_until(field, value, Some(deadline_ms), limits);
        self.file_next_due(before);
        matches!(outcome, SetOutcome::Added)
    }

    pub fn delete(&mut self, field: &[u8]) -> bool {
        let removed = self.value_mut().remove(field);
        self.changed |= removed;
        removed
    }

    /// Gives a field a deadline in Unix milliseconds, or none; false when there is no such field.
    pub fn expire(&mut self, field: &[u8], deadline_ms: Option<i64>) -> bool {
        let before = self.next_due();
        let set = self.value_mut().set_expiry(field, deadline_ms);
        self.changed |= set;
        self.file_next_due(before);
        set
    }

    /// Has the fields looked for when the first of them is due, unless that is the time from before.
    fn file_next_due(&mut self, before: Option<i64>) {
        if let Some(next) = self.next_due()
            && before.is_none_or(|before| next != before)
        {
            let key = self.key;
            self.cx.file_fields(&key, next);
        }
    }

    /// Removes the fields that are due at `now_ms` and returns their names. Not a change of the call's own.
    pub(super) fn take_due(&mut self, now_ms: i64, budget: usize) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        self.value_mut().take_due(now_ms, budget, |field| names.push(field.to_vec()));
        if let Some(next) = self.next_due() {
            let key = self.key;
            self.cx.file_fields(&key, next);
        }
        names
    }
}

/// Which end of a list, or which extreme of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

impl Change<'_, '_, List> {
    #[inline]
    pub fn push(&mut self, end: End, value: &[u8]) {
        self.changed = true;
        let limits = self.limits;
        match end {
            End::Front => self.value_mut().push_front(value, limits),
            End::Back => self.value_mut().push_back(value, limits),
        }
    }

    /// Takes the element at `end` and shows it to `visit`.
    #[inline]
    pub fn pop<R>(&mut self, end: End, visit: impl FnOnce(Elem<'_>) -> R) -> Option<R> {
        let popped = match end {
            End::Front => self.value_mut().pop_front_with(visit),
            End::Back => self.value_mut().pop_back_with(visit),
        };
        self.changed |= popped.is_some();
        popped
    }

    /// Puts another value at an index; false when the list is not that long.
    pub fn set(&mut self, index: usize, value: &[u8]) -> bool {
        let limits = self.limits;
        let set = self.value_mut().set(index, value, limits);
        self.changed |= set;
        set
    }

    /// Inserts beside the first element that is `pivot`; false when there is none.
    pub fn insert(&mut self, side: Beside, pivot: &[u8], value: &[u8]) -> bool {
        let limits = self.limits;
        let inserted = match side {
            Beside::Before => self.value_mut().insert_before(pivot, value, limits),
            Beside::After => self.value_mut().insert_after(pivot, value, limits),
        };
        self.changed |= inserted.is_some();
        inserted.is_some()
    }

    /// Removes elements that are `value`: see [`List::remove`].
    pub fn remove(&mut self, count: i64, value: &[u8]) -> usize {
        let removed = self.value_mut().remove(count, value);
        self.changed |= removed > 0;
        removed
    }

    /// Keeps only the elements of a range.
    pub fn trim(&mut self, keep: Range<usize>) {
        let len = self.len();
        let cut = self.value_mut().trim(keep);
        self.changed |= self.len() != len;
        if let Some(cut) = cut {
            self.cx.throw_away(Trash::Value(Value::List(cut)));
        }
    }
}

/// On which side of another element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Before,
    After,
}

impl Change<'_, '_, Set> {
    #[inline]
    pub fn put(&mut self, member: &[u8]) -> bool {
        let limits = self.limits;
        let added = self.value_mut().add(member, limits);
        self.changed |= added;
        added
    }

    pub fn delete(&mut self, member: &[u8]) -> bool {
        let removed = self.value_mut().remove(member);
        self.changed |= removed;
        removed
    }

    /// Takes a member by chance.
    pub fn pop(&mut self, random: u64) -> Option<Vec<u8>> {
        let popped = self.value_mut().pop_random(random);
        self.changed |= popped.is_some();
        popped
    }
}

impl Change<'_, '_, ZSet> {
    #[inline]
    pub fn put(&mut self, member: &[u8], score: f64) -> Outcome {
        let limits = self.limits;
        let outcome = self.value_mut().insert(member, score, limits);
        self.changed |= !matches!(outcome, Outcome::Same);
        outcome
    }

    pub fn delete(&mut self, member: &[u8]) -> Option<f64> {
        let removed = self.value_mut().remove(member);
        self.changed |= removed.is_some();
        removed
    }

    pub fn delete_ranks(&mut self, ranks: Range<usize>) -> usize {
        let count = self.value_mut().remove_range(ranks);
        self.changed |= count > 0;
        count
    }
}
