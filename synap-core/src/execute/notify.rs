//! Keyspace notifications: a change of a key is told to those who listen to `__keyspace@0__:key` and
//! `__keyevent@0__:event`, as the setting `notify-keyspace-events` has it.
//!
//! A handler names its event where it changes the key. The event waits in the context until its change is in the log, and
//! leaves with that offset, under the locks: so events have the order of the log, and none tells of what may be lost.

use std::io::Write;

use super::context::WriteCx;
use super::state::{Due, State};
use crate::grammar::{Key, Keys, Words};
use crate::session::Kind;
use crate::settings::{self, Settings};

/// The classes of events, a bit each, as the setting chooses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(u32);

macro_rules! classes {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal $letter:literal;)*) => {
        impl Classes {
            $($(#[doc = $doc])* pub const $name: Classes = Classes(1 << $bit);)*
            /// In the order in which CONFIG GET shows them.
            const LETTERS: &'static [(char, Classes)] = &[$(($letter, Classes::$name)),*];
        }
    };
}

classes! {
    GENERIC = 2 'g';
    STRING = 3 '$';
    LIST = 4 'l';
    SET = 5 's';
    HASH = 6 'h';
    ZSET = 7 'z';
    EXPIRED = 8 'x';
    EVICTED = 9 'e';
    STREAM = 10 't';
    MODULE = 13 'd';
    /// A key that was not there is.
    NEW = 14 'n';
    /// A value took the place of another.
    OVERWRITTEN = 15 'o';
    /// It is of another type.
    TYPE_CHANGED = 16 'c';
    /// Events go to the key's channel.
    KEYSPACE = 0 'K';
    /// Events go to their own channel.
    KEYEVENT = 1 'E';
    /// A read did not find its key.
    KEY_MISS = 11 'm';
}

impl Classes {
    /// What `A` stands for: all that tells of data, but for what would be told of too often.
    const ALL: Classes = Classes(
        Classes::GENERIC.0
            | Classes::STRING.0
            | Classes::LIST.0
            | Classes::SET.0
            | Classes::HASH.0
            | Classes::ZSET.0
            | Classes::EXPIRED.0
            | Classes::EVICTED.0
            | Classes::STREAM.0
            | Classes::MODULE.0,
    );

    /// Reads the setting: letters in any order.
    pub fn parse(text: &str) -> Option<Classes> {
        text.chars().try_fold(Classes(0), |classes, letter| {
            let found = Classes::LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, class)| *class);
            let class = if letter == 'A' { Some(Classes::ALL) } else { found };
            class.map(|class| Classes(classes.0 | class.0))
        })
    }

    pub fn of(settings: &Settings) -> Classes {
        Classes::from_bits(settings.int(settings::NOTIFY_KEYSPACE_EVENTS))
    }

    pub fn bits(self) -> i64 {
        self.0.into()
    }

    pub fn from_bits(bits: i64) -> Classes {
        Classes(u32::try_from(bits).unwrap_or(0))
    }

    fn has(self, other: Classes) -> bool {
        self.0 & other.0 == other.0
    }

    /// As CONFIG GET shows them.
    pub fn show(self) -> String {
        let all = self.has(Classes::ALL);
        let mut text = String::from(if all { "A" } else { "" });
        let shown = Classes::LETTERS.iter().filter(|(_, class)| self.has(*class) && !(all && Classes::ALL.has(*class)));
        text.extend(shown.map(|(letter, _)| letter));
        text
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: Classes,
    pub name: &'static str,
}

impl Event {
    pub const fn new(class: Classes, name: &'static str) -> Event {
        Event { class, name }
    }
    pub const fn generic(name: &'static str) -> Event {
        Event::new(Classes::GENERIC, name)
    }
    pub const fn string(name: &'static str) -> Event {
        Event::new(Classes::STRING, name)
    }

    pub const DEL: Event = Event::generic("del");
    pub const EXPIRE: Event = Event::generic("expire");
    pub const PERSIST: Event = Event::generic("persist");
    pub const SET: Event = Event::string("set");
    pub(super) const EXPIRED: Event = Event::new(Classes::EXPIRED, "expired");
    pub(super) const FIELDS_EXPIRED: Event = Event::new(Classes::HASH, "hexpired");
    pub(super) const NEW: Event = Event::new(Classes::NEW, "new");
    pub(super) const OVERWRITTEN: Event = Event::new(Classes::OVERWRITTEN, "overwritten");
    pub(super) const TYPE_CHANGED: Event = Event::new(Classes::TYPE_CHANGED, "type_changed");
    pub const KEY_MISS: Event = Event::new(Classes::KEY_MISS, "keymiss");
    /// Nothing is told: the handler says by itself what happened, or it is of no interest.
    pub const NONE: Event = Event::new(Classes(0), "");
}

/// An event that waits for its change to be logged.
pub(super) struct Pending {
    pub event: Event,
    pub db: u32,
    pub key: Box<[u8]>,
}

impl WriteCx<'_> {
    /// Tells of what happened to `key`, in the selected database.
    #[inline]
    pub fn notify(&mut self, event: Event, key: &Key<'_>) {
        if self.state().settings.int(settings::NOTIFY_KEYSPACE_EVENTS) != 0 {
            self.note_event(event, key);
        }
    }

    #[cold]
    fn note_event(&mut self, event: Event, key: &Key<'_>) {
        let classes = Classes::of(&self.state().settings);
        // What is replayed was told of when it happened.
        if event != Event::NONE && classes.has(event.class) && self.state().expiry.get() != Due::Show {
            let pending = Pending { event, db: self.db(), key: key.bytes.into() };
            self.pending_events().push(pending);
        }
    }

    /// Tells of the keys that a read names and that are not there.
    #[inline]
    pub(super) fn note_misses(&mut self, words: Words<'_>, keys: &Keys) {
        if Classes::of(&self.state().settings).has(Classes::KEY_MISS) {
            for noted in &keys.keys {
                let key = Key { bytes: words[noted.index as usize], hash: noted.hash };
                if !self.exists(&key) {
                    self.notify(Event::KEY_MISS, &key);
                }
            }
        }
    }

    /// Sends an event to all who listen; woken when nothing is locked.
    pub(super) fn send_event(&mut self, pending: &Pending, seen: u64) {
        let state: &State = self.state();
        let classes = Classes::of(&state.settings);
        let Pending { event, db, key } = pending;
        let mut send = |kind: &str, of: &[u8], message: &[u8]| {
            let mut channel = Vec::with_capacity(kind.len() + of.len() + 10);
            // Writing into a vector cannot fail.
            let _ = write!(channel, "__{kind}@{db}__:");
            channel.extend_from_slice(of);
            state.channels.put_all(Kind::Channel, &channel, message, seen, self.wakers());
        };
        if classes.has(Classes::KEYSPACE) {
            send("keyspace", key, event.name.as_bytes());
        }
        if classes.has(Classes::KEYEVENT) {
            send("keyevent", event.name.as_bytes(), key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_shown_in_the_order_of_redis() {
        for (set, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("EK$g", "g$KE"),
            ("g$lshzxetd", "A"),
            ("mnKA", "AnKm"),
            ("K$lshzxeg", "g$lshzxeK"),
            ("ocAE", "AocE"),
        ] {
            assert_eq!(Classes::parse(set).map(Classes::show).as_deref(), Some(shown), "{set}");
        }
        assert_eq!(Classes::parse("KEq"), None);
    }
}
