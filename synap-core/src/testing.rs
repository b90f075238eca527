//! Helpers of tests: an engine with a clock that stands still, replies as text, and its twin.
//!
//! **The twin.** Every command test ends with [`TestEngine::check_twin`] (dropping the engine does it): the whole log
//! is replayed into a second engine with another seed and a stopped clock, and both must hold the same data. What a
//! command changes without logging, or logs otherwise than it changed, shows there.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::ManualClock;
use crate::engine::{Engine, Options};
use crate::error::Error;
use crate::execute::notify::Event;
use crate::execute::row::Group;
use crate::execute::state::Due;
use crate::execute::{Input, Outcome, WalkCx, execute, waiting};
use crate::grammar::Key;
use crate::grammar::generate::Vocabulary;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::shard_of;
use crate::keyspace::value::ValueRef;
use crate::log::{Position, Reader};
use crate::reply::{Mark, Reply};
use crate::session::{Door, Session, WaitEnd};
use crate::settings;
use crate::sync::{block_on, block_on_for};

/// Where the stopped clock stands: 2023-11-14 22:13:20 UTC.
pub const START_MS: i64 = 1_700_000_000_000;

/// What DUMP answers about a list of `a` and `1`.
pub const DUMPED_LIST: &[u8] =
    b"\x12\x01\x02\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x01\x01\xff\x0a\x00\x94\x96+#\xac\x17\xaa\x85";

/// And about a hash of `a` and `b`, of which the first goes ten seconds after [`START_MS`].
pub const DUMPED_HASH: &[u8] =
    b"\x04\x02\x01a\xc0\x01\x01b\xc0\x02\xfa\x15synap-field-deadlines\x0a\x01a\x10\x8f\xe5\xcf\x8b\x01\x00\x00\x0a\x00$HL\xbe\x0e\xefhZ";

/// What generated calls talk about: the keys of [`SOME_DATA`], two that are not there, and what those hold.
pub const VOCABULARY: Vocabulary = Vocabulary {
    keys: &[
        b"text", b"number", b"list", b"list2", b"set", b"ints", b"hash", b"hash2", b"zset", b"zset2", b"places",
        b"brief", b"none", b"",
    ],
    words: &[
        b"a",
        b"b",
        b"c",
        b"1",
        b"2",
        b"3",
        b"",
        b"0",
        b"-1",
        b"10",
        b"\xff",
        b"hello",
        b"*",
        b"w_*",
        b"hash*->a",
        b"#",
        b"-",
        b"+",
        b"[a",
        b"(b",
        b"[c",
        b"(1",
        b"-inf",
        b"+inf",
        b"string",
        b"x->y",
        DUMPED_LIST,
        DUMPED_HASH,
    ],
    ints: &[0, 1, 2, 3, -1, -2, 5, 10, 100, 1_700_000_010, START_MS + 10_000],
    floats: &["0", "1", "2", "-1", "0.5", "1.5", "3"],
};

/// [`VOCABULARY`] with keys that the commands of one group can mostly use.
pub fn vocabulary_of(group: Group) -> &'static Vocabulary {
    const fn with(keys: &'static [&'static [u8]]) -> Vocabulary {
        Vocabulary { keys, ..VOCABULARY }
    }
    static STRINGS: Vocabulary = with(&[b"text", b"number", b"brief", b"none", b"list", b""]);
    static LISTS: Vocabulary = with(&[b"list", b"list2", b"none", b"list", b"list2", b"set"]);
    static SETS: Vocabulary = with(&[b"set", b"ints", b"none", b"set", b"ints", b"zset"]);
    static HASHES: Vocabulary = with(&[b"hash", b"hash2", b"none", b"hash", b"hash2", b"text"]);
    static ZSETS: Vocabulary = with(&[b"zset", b"zset2", b"none", b"zset", b"zset2", b"hash", b"set"]);
    static HLLS: Vocabulary = with(&[b"none", b"brief", b"none", b"w_a", b"text", b"list"]);
    static PLACES: Vocabulary = Vocabulary {
        floats: &["13.361389", "38.115556", "15.087269", "37.502669", "0", "15", "37", "200", "500"],
        ..with(&[b"places", b"none", b"places", b"zset", b"set"])
    };
    match group.op {
        "string" | "bitmap" => &STRINGS,
        "list" => &LISTS,
        "set" => &SETS,
        "hash" => &HASHES,
        "zset" => &ZSETS,
        "hll" => &HLLS,
        "geo" => &PLACES,
        _ => &VOCABULARY,
    }
}

/// Calls that make a key of every type, small and large, with and without deadlines.
pub const SOME_DATA: &[&str] = &[
    "SET text hello",
    "SET number 10",
    "RPUSH list a b 1",
    "RPUSH list2 3 1 2 10",
    "SADD set a b 1",
    "SADD ints 1 2 3",
    "HSET hash a 1 b 2 c 3",
    "HPEXPIREAT hash 1700000100000 FIELDS 1 b",
    "HSET hash2 a 2 1 a",
    "ZADD zset 1 a 2 b 2 c",
    "ZADD zset2 0 a 0 b 0 c",
    // Palermo, Catania and Agrigento.
    "ZADD places 3479099956230698 a 3479447370796909 b 3479030013248308 c",
    "SET brief 1 PX 5000",
    "MSET w_a 3 w_b 1 w_1 2 w_2 x",
    "SELECT 1",
    "SET text other",
    "SADD set z",
    "SELECT 0",
];

/// Numbers to choose by, from a seed (splitmix64).
pub fn numbers(seed: u64, count: usize) -> Vec<u32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    };
    (0..count).map(|_| next()).collect()
}

/// An engine in memory that keeps its whole log, with one session.
pub struct TestEngine {
    pub engine: Engine,
    pub clock: Arc<ManualClock>,
    pub session: Session,
    checked: bool,
}

impl Default for TestEngine {
    fn default() -> TestEngine {
        TestEngine::new(1)
    }
}

impl TestEngine {
    pub fn new(seed: u64) -> TestEngine {
        TestEngine::with(seed, Due::Remove)
    }

    fn with(seed: u64, due: Due) -> TestEngine {
        let clock = Arc::new(ManualClock::at(START_MS));
        let engine = Engine::open_memory(Options {
            clock: Box::new(clock.clone()),
            seed,
            keep_whole_log: true,
            due,
            active_expiry: false,
            ..Options::default()
        });
        limit_strings(&engine);
        let session = engine.session(Door::Embedded, "test".into(), "test".into());
        TestEngine { engine, clock, session, checked: false }
    }

    /// An engine with [`SOME_DATA`].
    pub fn prepared(seed: u64) -> TestEngine {
        let mut test = TestEngine::new(seed);
        for line in SOME_DATA {
            let reply = test.call(line);
            assert!(!is_error(&reply), "{line}: {reply}");
        }
        test
    }

    /// One more session of the same engine.
    pub fn another(&self) -> Session {
        self.engine.session(Door::Embedded, "test".into(), "test".into())
    }

    /// Runs a call given as text; words in double quotes may hold blanks and `\xNN`. Returns the reply as text:
    /// see [`Text`].
    pub fn call(&mut self, line: &str) -> String {
        let words = split(line);
        self.call_words(&words.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    pub fn call_words(&mut self, words: &[&[u8]]) -> String {
        call_as(&self.engine, &mut self.session, words)
    }

    /// Checks a conversation: lines of calls, each followed by its reply behind `=>` on the same line.
    #[track_caller]
    pub fn check(&mut self, conversation: &str) {
        for line in conversation.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (call, expected) = line.split_once("=>").unwrap_or_else(|| panic!("no `=>` in {line:?}"));
            assert_eq!(self.call(call), expected.trim(), "the reply to {}", call.trim());
        }
    }

    /// All data as text, sorted: database, key, type, content, deadline.
    pub fn dump(&self) -> String {
        dump(&self.engine)
    }

    /// The calls of the whole log, each as one line, but for the database that they are for.
    pub fn logged(&self) -> Vec<String> {
        let bytes = log_from(&self.engine, self.engine.state().log.oldest());
        let calls = Reader::new(&bytes, 0).map(|call| call.expect("the log reads back").words);
        let line = |words: Vec<&[u8]>| words.iter().map(|word| line_word(word)).collect::<Vec<_>>().join(" ");
        calls.map(line).filter(|line| !line.starts_with("SELECT ")).collect()
    }

    /// Replays the log into a twin and compares.
    #[track_caller]
    pub fn check_twin(&mut self) {
        self.checked = true;
        check_twin(&self.engine);
    }

    /// An engine with another seed and a stopped clock that has replayed this one's log, with a snapshot reload
    /// half-way.
    pub fn twin(&self) -> TestEngine {
        twin(&self.engine)
    }

    /// An engine with another seed that was filled from a logical snapshot of this one: every entry, frozen, with its
    /// deadlines, and the database that the stream had selected. Its log begins here.
    pub fn snapshot_reload(&self, seed: u64) -> TestEngine {
        let mut copy = TestEngine::with(seed, self.engine.state().expiry.get());
        copy.checked = true;
        copy.session.select(self.session.db);
        each_entry(&self.engine, |db, entry| copy.put(db, entry));
        copy
    }

    /// An empty engine that is to replay the log of another one: its clock stands still and it shows what is due.
    pub fn replaying(seed: u64) -> TestEngine {
        let mut twin = TestEngine::with(seed, Due::Show);
        twin.checked = true;
        twin
    }

    /// Puts a copy of `entry` into database `db`, as loading a snapshot does. Nothing is logged.
    pub fn put(&self, db: u32, entry: &Entry) {
        let hash = self.engine.state().hasher.hash(entry.key());
        let turn = self.engine.enter_blocking();
        let mut cx = turn.shard_context(shard_of(hash));
        cx.in_db(db, |cx| cx.put(&Key { bytes: entry.key(), hash }, entry.copy_as(entry.key()), Event::NONE));
    }

    /// Replays the log of `other` from `position` on.
    pub fn replay(&mut self, other: &Engine, position: Position) {
        self.session.select(position.db.unwrap_or(0));
        let bytes = log_from(other, position.offset);
        for call in Reader::new(&bytes, position.offset) {
            self.replay_call(call.expect("the log reads back").words.as_slice());
        }
    }

    fn replay_call(&mut self, words: &[&[u8]]) {
        let reply = self.call_words(words);
        assert!(!is_error(&reply), "the log holds {:?}, which fails: {reply}", text_of(words));
    }

    /// Runs a call to where it would wait: a blocked one times out at once, no sleep is slept, and a pause answers
    /// `PAUSED`. Who waits for the disk does so for a moment, and is answered `LATER` then.
    pub fn call_at_once(&mut self, words: &[&[u8]]) -> String {
        let mut text = Text::new(self.session.resp3);
        run_at_once(&self.engine, &mut self.session, words, &mut text);
        text.out
    }
}

/// Makes the longest string a short one, so that generated offsets do not fill the memory.
pub fn limit_strings(engine: &Engine) {
    let set = engine.state().settings.set(settings::PROTO_MAX_BULK_LEN, LONGEST_STRING);
    set.expect("a memory value");
}

/// `proto-max-bulk-len` in tests; Redis takes nothing shorter.
pub const LONGEST_STRING: &str = "1mb";

/// As [`TestEngine::call_at_once`], for any session and any reply.
pub fn run_at_once(engine: &Engine, session: &mut Session, words: &[&[u8]], reply: &mut dyn Reply) {
    let input = Input::words(words);
    let mut turn = engine.enter_blocking();
    let mut outcome = execute(&mut turn, session, &input, reply);
    drop(turn);
    if matches!(outcome, Outcome::NeedAlone) {
        outcome = block_on(engine.alone(|turn| execute(turn, session, &input, reply)));
    }
    match outcome {
        Outcome::Blocked(waiter) => {
            waiting::leave(&mut engine.enter_blocking(), session, &waiter, WaitEnd::TimedOut);
            waiting::timeout_reply(&waiter, reply);
        }
        Outcome::Paused => reply.status("PAUSED"),
        Outcome::NeedAlone => panic!("a call that is alone asks to be alone"),
        Outcome::Later(later) => {
            let in_time = block_on_for(later.reply, Duration::from_millis(20));
            let tape = in_time.or_else(|| later.timeout.map(|(_, timed_out)| timed_out()));
            match tape {
                Some(tape) => tape.play(reply),
                None => reply.status("LATER"),
            }
        }
        Outcome::Replied | Outcome::Sleep(_) | Outcome::Quit | Outcome::Shutdown(_) => {}
    }
}

/// Shows every entry with the number of its database.
fn each_entry(engine: &Engine, mut show: impl FnMut(u32, &Entry)) {
    let turn = engine.enter_blocking();
    let databases = engine.state().settings.int(settings::DATABASES) as u32;
    for db in 0..databases {
        WalkCx::of_turn(&turn, db).each(0, db, |_, _, data| {
            data.table().iter().for_each(|entry| show(db, entry));
            ControlFlow::<()>::Continue(())
        });
    }
}

/// The lines that only one of two dumps has.
fn difference(twin: &str, own: &str) -> String {
    let only = |mark: char, these: &str, those: &str| -> String {
        let those: Vec<_> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).map(|line| format!("{mark} {line}\n")).collect()
    };
    only('-', own, twin) + &only('+', twin, own)
}

/// Replays the log of an engine that rests into a twin and compares: what was done at once by many threads was logged
/// in the order in which the data changed.
#[track_caller]
pub fn check_twin(engine: &Engine) {
    let (twin, own) = (twin(engine).dump(), dump(engine));
    if twin != own {
        panic!("the twin that replayed the log differs from the original:\n{}", difference(&twin, &own));
    }
}

/// A word as [`split`] reads it.
fn line_word(word: &[u8]) -> String {
    let is_plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
    if is_plain { String::from_utf8_lossy(word).into_owned() } else { quoted(word) }
}

/// A twin of any engine that keeps its whole log: see [`TestEngine::twin`].
pub fn twin(engine: &Engine) -> TestEngine {
    let bytes = log_from(engine, engine.state().log.oldest());
    let calls: Vec<_> = Reader::new(&bytes, 0).map(|call| call.expect("the log reads back").words).collect();
    let mut twin = TestEngine::replaying(0x5eed);
    let mut reload_due = true;
    for (index, words) in calls.iter().enumerate() {
        if reload_due && index >= calls.len() / 2 && twin.session.transaction.is_none() {
            reload_due = false;
            twin = twin.snapshot_reload(0x5eed + 1);
        }
        twin.replay_call(words);
    }
    twin
}

/// The log of an engine that keeps all of it, from `offset` on.
fn log_from(engine: &Engine, offset: u64) -> Vec<u8> {
    let log = &engine.state().log;
    let mut bytes = Vec::new();
    let (mut at, end) = (offset, log.end());
    while at < end {
        at = log.read_from(at, &mut bytes).expect("the whole log is kept");
    }
    bytes
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        if !self.checked && !std::thread::panicking() {
            self.check_twin();
        }
        self.engine.leave(&mut self.session);
    }
}

/// True when a reply as text is an error: its code is in capitals, where a number goes on.
fn is_error(reply: &str) -> bool {
    reply.strip_prefix('-').is_some_and(|code| code.starts_with(|c: char| c.is_ascii_uppercase()))
}

pub fn text_of(words: &[&[u8]]) -> Vec<String> {
    words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Runs a call for any session and returns the reply as text.
pub fn call_as(engine: &Engine, session: &mut Session, words: &[&[u8]]) -> String {
    let mut text = Text::new(session.resp3);
    engine.call(session, words, &mut text);
    text.out
}

/// Splits a line into words; double quotes hold blanks, `\"`, `\\`, `\n`, `\r`, `\t` and `\xNN` together.
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim().as_bytes();
    while let Some(first) = rest.first() {
        let mut word = Vec::new();
        if *first == b'"' {
            rest = &rest[1..];
            loop {
                match rest {
                    [b'"', tail @ ..] => {
                        rest = tail;
                        break;
                    }
                    [b'\\', b'x', a, b, tail @ ..] => {
                        let hex = std::str::from_utf8(&[*a, *b]).map(|h| u8::from_str_radix(h, 16));
                        word.push(hex.expect("hex digits").expect("hex digits"));
                        rest = tail;
                    }
                    [b'\\', letter @ (b'n' | b'r' | b't'), tail @ ..] => {
                        word.push(match letter {
                            b'n' => b'\n',
                            b'r' => b'\r',
                            _ => b'\t',
                        });
                        rest = tail;
                    }
                    [b'\\', byte, tail @ ..] | [byte, tail @ ..] => {
                        word.push(*byte);
                        rest = tail;
                    }
                    [] => panic!("a quote is open in {line:?}"),
                }
            }
        } else {
            let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
            word.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        words.push(word);
        rest = rest.trim_ascii_start();
    }
    words
}

/// A reply as one line: `OK`, `7`, `"bytes"`, `nil`, `[…]`, `{k: v}`, `-CODE sentence`.
pub struct Text {
    pub out: String,
    resp3: bool,
    /// Items still to come in each open aggregate, and whether it is a map.
    open: Vec<(usize, bool, usize)>,
}

impl Text {
    pub fn new(resp3: bool) -> Text {
        Text { out: String::new(), resp3, open: Vec::new() }
    }

    fn item(&mut self, text: &str) {
        self.before();
        self.out.push_str(text);
        self.after();
    }

    fn before(&mut self) {
        match self.open.last() {
            Some((left, true, total)) if (total - left) % 2 == 1 => self.out.push_str(": "),
            Some((left, _, total)) if left < total => self.out.push_str(", "),
            None if !self.out.is_empty() => self.out.push('\n'),
            _ => {}
        }
    }

    fn after(&mut self) {
        while let Some((left, is_map, _)) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                break;
            }
            self.out.push(if *is_map { '}' } else { ']' });
            self.open.pop();
        }
    }

    fn begin(&mut self, len: usize, is_map: bool) {
        self.before();
        self.out.push(if is_map { '{' } else { '[' });
        if len == 0 {
            self.out.push(if is_map { '}' } else { ']' });
            self.after();
        } else {
            self.open.push((len, is_map, len));
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

impl Reply for Text {
    fn status(&mut self, text: &str) {
        self.item(text);
    }
    fn int(&mut self, value: i64) {
        self.item(&value.to_string());
    }
    fn double(&mut self, value: f64) {
        self.item(crate::types::score::format_double(value).as_str());
    }
    fn boolean(&mut self, value: bool) {
        self.item(if value { "true" } else { "false" });
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.item(&quoted(bytes));
    }
    fn verbatim(&mut self, _: &str, text: &str) {
        self.item(&quoted(text.as_bytes()));
    }
    fn null(&mut self) {
        self.item("nil");
    }
    fn null_array(&mut self) {
        self.item("nil");
    }
    fn array(&mut self, len: usize) {
        self.begin(len, false);
    }
    fn map(&mut self, len: usize) {
        self.begin(len * 2, true);
    }
    fn set(&mut self, len: usize) {
        self.begin(len, false);
    }
    fn push(&mut self, len: usize) {
        self.begin(len, false);
    }
    fn error(&mut self, error: &Error) {
        self.item(&format!("-{error}"));
    }
    fn resp3(&self) -> bool {
        self.resp3
    }
    fn speak(&mut self, resp3: bool) {
        self.resp3 = resp3;
    }
    /// Only at the top of a reply, and inside an array whose items so far are complete.
    fn mark(&self) -> Mark {
        let left = self.open.last().map_or(0, |(left, ..)| *left);
        Mark(self.out.len() | (left << 40) | (self.open.len() << 56))
    }
    fn rollback(&mut self, mark: Mark) {
        self.out.truncate(mark.0 & 0xff_ffff_ffff);
        self.open.truncate(mark.0 >> 56);
        if let Some((left, ..)) = self.open.last_mut() {
            *left = (mark.0 >> 40) & 0xffff;
        }
    }
}

/// All data of an engine as text, one sorted line for each key.
pub fn dump(engine: &Engine) -> String {
    let mut lines = Vec::new();
    each_entry(engine, |db, entry| {
        let deadline = entry.expires_at().map_or(String::new(), |at| format!(" until {at}"));
        lines.push(format!("{db} {} {}{deadline}", quoted(entry.key()), content(entry.value())));
    });
    lines.sort();
    lines.join("\n")
}

/// What a value holds, as text; what has no order is sorted.
pub fn content(value: ValueRef<'_>) -> String {
    let mut out = String::new();
    let sorted = |mut items: Vec<String>| {
        items.sort();
        items.join(" ")
    };
    // Writing into a String cannot fail.
    let _ = match value {
        ValueRef::String(bytes) => write!(out, "string {}", quoted(&bytes.to_vec())),
        ValueRef::List(list) => {
            write!(out, "list {}", list.iter().map(|e| quoted(&e.to_vec())).collect::<Vec<_>>().join(" "))
        }
        ValueRef::Set(set) => write!(out, "set {}", sorted(set.iter().map(|e| quoted(&e.to_vec())).collect())),
        ValueRef::Hash(hash) => {
            let field = |(f, v, at): (crate::types::Elem<'_>, crate::types::Elem<'_>, Option<i64>)| {
                let deadline = at.map_or(String::new(), |at| format!("@{at}"));
                format!("{}={}{deadline}", quoted(&f.to_vec()), quoted(&v.to_vec()))
            };
            write!(out, "hash {}", sorted(hash.iter().map(field).collect()))
        }
        ValueRef::ZSet(zset) => {
            let member = |(m, s): (crate::types::Elem<'_>, f64)| format!("{}={s:?}", quoted(&m.to_vec()));
            write!(out, "zset {}", zset.iter().map(member).collect::<Vec<_>>().join(" "))
        }
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_of_each_type() {
        TestEngine::default().check(
            r#"
            SET a 1 => OK
            INCR a => 2
            GET a => "2"
            SET a x NX => nil
            SET a y GET => "2"
            MGET a b => ["y", nil]
            HSET h f v g 2 => 2
            HGETALL h => {"f": "v", "g": "2"}
            LPUSH l a b c => 3
            LRANGE l 0 -1 => ["c", "b", "a"]
            BLPOP x l 0 => ["l", "c"]
            BLMOVE l m LEFT RIGHT 0 => "b"
            SADD s 1 2 3 => 3
            SINTER s s => ["1", "2", "3"]
            ZADD z 1 a 2 b => 2
            ZRANGE z 0 -1 WITHSCORES => [["a", 1], ["b", 2]]
            ZRANK z b => 1
            EXPIRE a 10 => 1
            TTL a => 10
            RENAME a b => OK
            TTL b => 10
            GET h => -WRONGTYPE Operation against a key holding the wrong kind of value
            MULTI => OK
            SET q 1 => QUEUED
            INCR h => QUEUED
            EXEC => [OK, -WRONGTYPE Operation against a key holding the wrong kind of value]
            SWAPDB 0 1 => OK
            EXISTS h => 0
            SELECT 1 => OK
            EXISTS h => 1
            "#,
        );
    }
}
