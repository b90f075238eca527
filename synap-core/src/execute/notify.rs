//! Keyspace notifications: a change of a key is told to those who listen to `__keyspace@0__:key` and
//! `__keyevent@0__:event`, as the setting `notify-keyspace-events` has it.
//!
//! A handler names its event where it changes the key. The event waits in the context until its change is in the log, and
//! leaves with that offset, under the locks: so events have the order of the log, and none tells of what may be lost.

use std::io::Write;

use super::context::WriteCx;
use super::state::{Due, State};
use crate::grammar::{Key, Keys, Words};
use crate::session::{Change, Kind};
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

    /// What happens to a whole database. No letter stands for it: only those who listen to keys are told.
    const WHOLE: Classes = Classes(1 << 30);

    /// What those who listen to keys are told, whatever the setting says.
    const FOR_KEYS: Classes = Classes(Classes::ALL.0 | Classes::WHOLE.0);

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
    pub(super) const EVICTED: Event = Event::new(Classes::EVICTED, "evicted");
    pub(super) const FIELDS_EXPIRED: Event = Event::new(Classes::HASH, "hexpired");
    pub(super) const FLUSHED: Event = Event::new(Classes::WHOLE, "flush");
    pub(super) const SWAPPED: Event = Event::new(Classes::WHOLE, "swapdb");
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
    /// Empty where it happened to the whole database.
    pub key: Box<[u8]>,
}

/// The database of an event that happened to all of them.
const EVERY_DB: u32 = u32::MAX;

impl WriteCx<'_> {
    /// Tells of what happened to `key`, in the selected database.
    #[inline]
    pub fn notify(&mut self, event: Event, key: &Key<'_>) {
        if self.wants_events() {
            self.note_event(event, key);
        }
    }

    /// All that is paid when nobody wants to hear of anything.
    #[inline]
    pub(super) fn wants_events(&self) -> bool {
        let state = self.state();
        state.settings.int(settings::NOTIFY_KEYSPACE_EVENTS) != 0 || state.channels.has_key_listeners()
    }

    /// Tells those who listen to keys of what happened to a whole database, or to all.
    pub(super) fn note_whole(&mut self, event: Event, db: Option<u32>) {
        if self.state().channels.has_key_listeners() && self.state().expiry.get() != Due::Show {
            let pending = Pending { event, db: db.unwrap_or(EVERY_DB), key: Box::default() };
            self.pending_events().push(pending);
        }
    }

    /// Tells of the change of a collection, which it may have made or emptied.
    #[cold]
    pub(super) fn note_change(&mut self, key: &Key<'_>, is_new: bool, event: Event, is_empty: bool) {
        if is_new {
            self.note_event(Event::NEW, key);
        }
        self.note_event(event, key);
        if is_empty {
            self.note_event(Event::DEL, key);
        }
    }

    #[cold]
    fn note_event(&mut self, event: Event, key: &Key<'_>) {
        let state = self.state();
        let is_wanted = Classes::of(&state.settings).has(event.class)
            || (state.channels.has_key_listeners() && Classes::FOR_KEYS.has(event.class));
        // What is replayed was told of when it happened.
        if event != Event::NONE && is_wanted && state.expiry.get() != Due::Show {
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
                if self.look(&key).is_none() {
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
        let is_told = classes.has(event.class);
        if is_told && classes.has(Classes::KEYSPACE) {
            send("keyspace", key, event.name.as_bytes());
        }
        if is_told && classes.has(Classes::KEYEVENT) {
            send("keyevent", event.name.as_bytes(), key);
        }
        if Classes::FOR_KEYS.has(event.class) && state.channels.has_key_listeners() {
            self.send_change(pending, seen);
        }
    }

    /// Sends the change to those who listen to its key, with what the key holds now: it is locked.
    #[cold]
    fn send_change(&mut self, pending: &Pending, seen: u64) {
        let Pending { event, db, key } = pending;
        let state: &State = self.state();
        if event.class == Classes::WHOLE {
            let change = Change { key: None, event: event.name, kind: None, value: None };
            let db = Some(*db).filter(|db| *db != EVERY_DB);
            return state.channels.put_change_of_all(db, change, seen, self.wakers());
        }
        let mut wakers = std::mem::take(self.wakers());
        let make = || {
            self.in_db(*db, |cx| {
                let key = cx.key(key);
                let mut change = Change { key: Some(key.bytes.into()), event: event.name, kind: None, value: None };
                let Some(entry) = cx.peek(&key) else { return change };
                change.kind = Some(entry.kind().name());
                if let Some(value) = entry.as_string() {
                    let mut digits = itoa::Buffer::new();
                    let bytes = value.bytes(&mut digits);
                    change.value = (bytes.len() <= Change::VALUE_BYTES_MAX).then(|| bytes.into());
                }
                change
            })
        };
        state.channels.put_change(*db, key, make, seen, &mut wakers);
        self.wakers().append(&mut wakers);
    }
}

#[cfg(test)]
mod tests {
    use crate::execute::expiry::expire_all;
    use crate::session::{Client, Kind, Mail, Session, key_name};
    use crate::testing::{TestEngine, Text, call_as, split};

    /// Somebody who hears every event of every class.
    struct Listener(Session);

    impl Listener {
        fn new(test: &TestEngine, classes: &str) -> Listener {
            let mut session = test.another();
            for line in [&format!("CONFIG SET notify-keyspace-events {classes}"), "PSUBSCRIBE __keyevent@*"] {
                let words = split(line);
                call_as(&test.engine, &mut session, &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
            Listener(session)
        }

        /// What was heard since it was last asked: `event key`, with the database where it is not 0.
        fn heard(&mut self) -> String {
            let mut text = Text::new(true);
            Client::take_mail(&mut self.0, &mut text);
            let one = |line: &str| {
                let words: Vec<&str> =
                    line.trim_matches(['[', ']']).split(", ").map(|word| word.trim_matches('"')).collect();
                let event =
                    words[2].strip_prefix("__keyevent@0__:").or(words[2].strip_prefix("__keyevent@")).unwrap_or("?");
                format!("{event} {}", words[3])
            };
            text.out.lines().map(one).collect::<Vec<_>>().join(", ")
        }
    }

    #[track_caller]
    fn check(conversation: &str) {
        check_classes("AE", conversation);
    }

    /// Lines of calls, each followed by what is told of it.
    #[track_caller]
    fn check_classes(classes: &str, conversation: &str) {
        let mut test = TestEngine::default();
        let mut listener = Listener::new(&test, classes);
        for line in conversation.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (call, expected) = line.split_once("=>").unwrap_or_else(|| panic!("no `=>` in {line:?}"));
            let reply = test.call(call);
            assert!(!reply.starts_with('-'), "{call}: {reply}");
            assert_eq!(listener.heard(), expected.trim(), "{}", call.trim());
        }
        test.check_twin();
        let Listener(mut session) = listener;
        test.engine.leave(&mut session);
    }

    #[test]
    fn strings_tell() {
        check(
            "SET a 1 => set a
            SET a 1 EX 100 => set a, expire a
            SET a 1 NX =>
            SETEX a 100 1 => set a, expire a
            GETSET a 2 => set a
            GETEX a EX 5 => expire a
            GETEX a PERSIST => persist a
            GETEX a PERSIST =>
            INCR a => incrby a
            DECRBY a 2 => incrby a
            INCRBYFLOAT a 1 => incrbyfloat a
            APPEND a 5 => append a
            SETRANGE a 0 7 => setrange a
            SETBIT a 1 0 =>
            SETBIT a 1 1 => setbit a
            MSET a 1 b 2 => set a, set b
            BITOP AND c a b => set c
            BITOP AND c x y => del c
            PFADD p x => pfadd p
            GETDEL a => del a
            GETDEL a =>",
        );
    }

    #[test]
    fn keys_tell() {
        check(
            "MSET a 1 b 2 => set a, set b
            RENAME a b => rename_from a, rename_to b
            COPY b c => copy_to c
            MOVE c 1 => move_from c, 1__:move_to c
            EXPIRE b 100 => expire b
            PERSIST b => persist b
            PERSIST b =>
            EXPIRE b -1 => del b
            DEL b =>
            MSET a 1 b 2 => set a, set b
            DEL a x b => del a, del b
            SET a 1 => set a
            UNLINK a => del a
            SELECT 1 =>
            UNLINK c => 1__:del c",
        );
    }

    #[test]
    fn collections_tell() {
        check(
            "HSET h a 1 b 2 => hset h
            HINCRBY h a 1 => hincrby h
            HINCRBYFLOAT h a 1 => hincrbyfloat h
            HSETNX h a 1 =>
            HEXPIRE h 100 FIELDS 1 a => hexpire h
            HPERSIST h FIELDS 1 a => hpersist h
            HGETEX h EX 100 FIELDS 1 a => hexpire h
            HSETEX h EX 100 FIELDS 1 b 5 => hset h, hexpire h
            HEXPIRE h 0 FIELDS 1 b => hdel h
            HGETDEL h FIELDS 1 a => hdel h, del h
            RPUSH l a b c => rpush l
            LSET l 0 x => lset l
            LINSERT l BEFORE x y => linsert l
            LREM l 0 y => lrem l
            LTRIM l 0 1 => ltrim l
            LMOVE l l LEFT RIGHT => rpush l, lpop l
            LMOVE l m RIGHT LEFT => lpush m, rpop l
            LMOVE l m LEFT LEFT => lpush m, lpop l, del l
            LMPOP 1 m LEFT COUNT 5 => lpop m, del m
            SADD s a b c => sadd s
            SADD s a =>
            SREM s a => srem s
            SMOVE s t b => srem s, sadd t
            SMOVE s t c => srem s, del s, sadd t
            SUNIONSTORE u t => sunionstore u
            SINTERSTORE u t x => del u
            SPOP t => spop t
            SPOP t => spop t, del t",
        );
    }

    #[test]
    fn sorted_sets_tell() {
        check(
            "ZADD z 1 a 2 b 3 c 4 d 5 e => zadd z
            ZADD z 1 a =>
            ZINCRBY z 1 a => zincr z
            ZREM z a => zrem z
            ZREMRANGEBYRANK z 0 0 => zremrangebyrank z
            ZPOPMIN z => zpopmin z
            ZRANGESTORE y z 0 -1 => zrangestore y
            ZUNIONSTORE y 1 z => zunionstore y
            ZDIFFSTORE y 2 z z => del y
            ZREMRANGEBYSCORE z -inf +inf => zremrangebyscore z, del z
            GEOADD g 13 38 p => zadd g
            GEOSEARCHSTORE h g FROMMEMBER p BYRADIUS 1 KM => geosearchstore h
            RPUSH l 2 1 => rpush l
            SORT l STORE m => sortstore m",
        );
    }

    #[test]
    fn classes_beyond_all_are_told_when_they_are_asked_for() {
        check_classes(
            "nmocE",
            "GET a => keymiss a
            SET a 1 => new a
            SET a 2 => overwritten a
            SADD s x => new s
            SUNIONSTORE a s => overwritten a, type_changed a
            MGET a b => keymiss b
            RENAME a c => new c",
        );
        check_classes("K$", "SET a 1 =>");
        check_classes("KEl", "SET a 1 =>");
    }

    /// Whatever the setting says, and with the value where it is a string.
    #[test]
    fn those_who_listen_to_keys_are_told_of_changes() {
        let mut test = TestEngine::default();
        let mut session = test.another();
        let channels = &test.engine.state().channels;
        for (kind, name) in [(Kind::Key, "a"), (Kind::KeyPattern, "w_*"), (Kind::KeyPattern, "w_?")] {
            channels.subscribe(
                &session.client.clone(),
                &mut session.subscriptions,
                kind,
                &key_name(0, name.as_bytes()),
            );
        }
        let told = |session: &mut Session| {
            let mut all = Vec::new();
            Client::take_each(session, |mail| {
                let Mail::Change(change) = mail else { panic!("{mail:?}") };
                let text = |bytes: &Option<Box<[u8]>>| {
                    bytes.as_ref().map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                let kind = change.kind.unwrap_or("-");
                all.push(format!("{} {} {kind} {}", change.event, text(&change.key), text(&change.value)));
            });
            all.join(", ")
        };
        for (call, expected) in [
            ("SET a 1", "set a string 1"),
            ("SET b 1", ""),
            ("INCR a", "incrby a string 2"),
            ("GET missing", ""),
            ("MSET w_1 x w_22 y", "set w_1 string x, set w_22 string y"),
            ("DEL a", "del a - -"),
            ("RPUSH a x", "rpush a list -"),
            ("LPOP a", "lpop a - -, del a - -"),
            ("FLUSHALL", "flush - - -"),
            ("SWAPDB 0 1", "swapdb - - -"),
            ("SWAPDB 2 3", ""),
            ("SELECT 1", ""),
            ("SET a 1", ""),
        ] {
            test.call(call);
            assert_eq!(told(&mut session), expected, "{call}");
        }
        test.call("SELECT 0");
        test.call("SET a x PX 10");
        told(&mut session);
        test.clock.advance(10);
        test.call("GET a");
        assert_eq!(told(&mut session), "expired a - -");
        test.engine.leave(&mut session);
        assert!(!test.engine.state().channels.has_key_listeners());
    }

    #[test]
    fn what_is_due_is_told_of_when_it_goes() {
        let mut test = TestEngine::default();
        let mut listener = Listener::new(&test, "AE");
        test.check("SET a 1 PX 10 => OK\n SET b 1 PX 10 => OK\n HSET h f 1 => 1\n HPEXPIRE h 10 FIELDS 1 f => [1]");
        assert_eq!(listener.heard(), "set a, expire a, set b, expire b, hset h, hexpire h");
        test.clock.advance(10);
        test.check("SET a 2 => OK");
        assert_eq!(listener.heard(), "expired a, set a");
        expire_all(test.engine.state(), || test.engine.enter_blocking());
        let heard = listener.heard();
        assert!(["expired b, hexpired h, del h", "hexpired h, del h, expired b"].contains(&&*heard), "{heard}");
        test.engine.leave(&mut listener.0);
    }

    #[test]
    fn a_transaction_tells_after_it() {
        let mut test = TestEngine::default();
        let mut listener = Listener::new(&test, "AE");
        let words: [&[u8]; 2] = [b"SUBSCRIBE", b"__keyevent@0__:own"];
        call_as(&test.engine, &mut listener.0, &words);
        for call in ["MULTI", "SET a 1", "PUBLISH __keyevent@0__:own x", "DEL a"] {
            test.call(call);
            assert_eq!(listener.heard(), "");
        }
        test.check("EXEC => [OK, 2, 1]");
        let mut text = Text::new(true);
        Client::take_mail(&mut listener.0, &mut text);
        let at = |what: &str| text.out.find(what).unwrap_or_else(|| panic!("{what}: {}", text.out));
        assert!(at(":set\"") < at(":own\"") && at(":own\"") < at(":del\""), "{}", text.out);
        test.engine.leave(&mut listener.0);
    }

    #[test]
    fn who_waits_is_told_of_behind_what_it_waited_for() {
        let mut test = TestEngine::default();
        let mut listener = Listener::new(&test, "AE");
        let mut waits = test.another();
        let words: [&[u8]; 3] = [b"BLPOP", b"l", b"0"];
        let input = crate::execute::Input::words(&words);
        crate::execute::execute(&mut test.engine.enter_blocking(), &mut waits, &input, &mut Text::new(true));
        test.check("RPUSH l a => 1");
        assert_eq!(listener.heard(), "rpush l, lpop l, del l");
        test.engine.leave(&mut waits);
        test.engine.leave(&mut listener.0);
    }

    #[test]
    fn classes_are_shown_in_the_order_of_redis() {
        let mut test = TestEngine::default();
        for (set, shown) in [
            ("\"\"", ""),
            ("KEA", "AKE"),
            ("EK$g", "g$KE"),
            ("g$lshzxetd", "A"),
            ("mnKA", "AnKm"),
            ("K$lshzxeg", "g$lshzxeK"),
            ("ocAE", "AocE"),
        ] {
            test.check(&format!("CONFIG SET notify-keyspace-events {set} => OK"));
            let expected = format!("{{\"notify-keyspace-events\": \"{shown}\"}}");
            assert_eq!(test.call("CONFIG GET notify-keyspace-events"), expected, "{set}");
        }
        assert!(test.call("CONFIG SET notify-keyspace-events KEq").contains("Invalid event class character"));
    }
}
