//! Twin replay: whatever is called, the log replayed elsewhere gives the same data.
//!
//! Random sequences over all rows that read or change data, in several databases, inside and outside of transactions,
//! while time goes on. Each ends with [`TestEngine::check_twin`]: another seed, a stopped clock, a snapshot reload
//! half-way.

use std::fmt::{Debug, Formatter};

use proptest::prelude::*;
use synap_core::command::table;
use synap_core::execute::expiry;
use synap_core::execute::row::{Command, Flags, Kind};
use synap_core::execute::state::Rows as _;
use synap_core::execute::walk::Walk;
use synap_core::grammar::generate::{self, Choices};
use synap_core::sync::block_on;
use synap_core::testing::{TestEngine, numbers, vocabulary_of};

/// One step of a sequence.
#[derive(Clone)]
enum Step {
    Call(Vec<Vec<u8>>),
    /// Time goes on.
    Wait {
        ms: i64,
    },
    /// The engine removes what is due.
    Expire,
}

impl Debug for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Call(words) => {
                let words: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
                write!(f, "{}", words.join(" "))
            }
            Step::Wait { ms } => write!(f, "wait {ms} ms"),
            Step::Expire => write!(f, "expire"),
        }
    }
}

/// Rows that change the session of the sequence and with it what the log must say.
const OF_THE_SESSION: &[&str] = &["SELECT", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH", "UNWATCH"];

/// Rows to choose from: those that write more often, those that remove everything less.
fn rows() -> Vec<&'static Command> {
    let mut chosen = Vec::new();
    for row in table().all() {
        let weight = match (row.kind, row.name) {
            (_, "FLUSHALL" | "FLUSHDB" | "SWAPDB") => 1,
            (Kind::Write, "DEL" | "RENAME" | "SORT") => 4,
            (Kind::Write, _) => 12,
            (Kind::Read | Kind::Walk, _) => 1,
            (Kind::Session, name) => OF_THE_SESSION.iter().filter(|other| **other == name).count() * 4,
        };
        chosen.extend(std::iter::repeat_n(row, weight));
    }
    chosen
}

/// A call of `row`, its arguments chosen by numbers.
fn call(row: &Command, numbers: &[u32]) -> Vec<Vec<u8>> {
    let given = generate::arguments(row.args, &mut Choices::within(numbers, vocabulary_of(row.group)));
    let name = row.name.split(' ').map(|word| word.as_bytes().to_vec());
    name.chain(generate::words(row.args, &given)).collect()
}

fn slices(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

fn step(rows: Vec<&'static Command>) -> impl Strategy<Value = Step> {
    let call = (0..rows.len(), prop::collection::vec(any::<u32>(), 0..24));
    let wait = prop_oneof![Just(1), Just(999), Just(1000), Just(5000), Just(9_999), Just(100_001)];
    prop_oneof![
        20 => call.prop_map(move |(row, numbers)| Step::Call(self::call(rows[row], &numbers))),
        2 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Expire),
    ]
}

/// Collections leave their compact forms at the third element.
const SMALL: &str = "CONFIG SET hash-max-listpack-entries 2 list-max-listpack-size 2 set-max-intset-entries 2 \
                     set-max-listpack-entries 2 zset-max-listpack-entries 2";

fn run(steps: &[Step], small: bool) {
    let mut test = TestEngine::prepared(1);
    if small {
        assert_eq!(test.call(SMALL), "OK");
    }
    for (index, step) in steps.iter().enumerate() {
        // What went wrong must not be removed again before somebody looks.
        if index % 20 == 19 {
            test.check_twin();
        }
        take(&mut test, step);
    }
    test.check_twin();
}

fn take(test: &mut TestEngine, step: &Step) {
    match step {
        Step::Call(words) => {
            test.call_at_once(&slices(words));
        }
        Step::Wait { ms } => test.clock.advance(*ms),
        Step::Expire => expire(test),
    }
}

/// What the engine's thread does when something is due.
fn expire(test: &TestEngine) {
    expiry::expire_all(test.engine.state(), || test.engine.enter_blocking());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_replayed_elsewhere_gives_the_same_data(
        steps in prop::collection::vec(step(rows()), 1..300),
        small in any::<bool>(),
    ) {
        run(&steps, small);
    }
}

/// Begins a walk, goes on with it between calls, and gives what it saw to another engine, which replays the log from
/// the cut on.
fn walk_among(before: &[Step], during: &[Step], pace: usize, small: bool) {
    let mut test = TestEngine::prepared(1);
    if small {
        assert_eq!(test.call(SMALL), "OK");
    }
    before.iter().for_each(|step| take(&mut test, step));
    let engine = test.engine.clone();
    let mut walk = block_on(engine.alone(|turn| Walk::begin(turn))).expect("no other walk is on");
    let at_the_cut = test.dump();
    let mut copy = TestEngine::replaying(0x5eed);
    let mut goes_on = true;
    let mut step_walk = |copy: &TestEngine| {
        goes_on = goes_on && walk.step(|| engine.enter_blocking(), |db, entry, _| copy.put(db, entry));
        goes_on
    };
    for (index, step) in during.iter().enumerate() {
        take(&mut test, step);
        if pace > 0 && index % pace == 0 {
            step_walk(&copy);
        }
    }
    while step_walk(&copy) {}
    assert_eq!(copy.dump(), at_the_cut, "the walk saw another moment");
    let position = walk.position;
    drop(walk);
    copy.replay(&engine, position);
    assert_eq!(copy.dump(), test.dump(), "the log from the cut on does not lead to the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_among_calls_sees_the_moment_of_its_cut(
        before in prop::collection::vec(step(rows()), 0..60),
        during in prop::collection::vec(step(rows()), 1..120),
        pace in 0..4_usize,
        small in any::<bool>(),
    ) {
        walk_among(&before, &during, pace, small);
    }
}

/// The same for single calls of each row, so that none hides behind the luck of the draw.
#[test]
fn every_row_replays() {
    for row in table().all().iter().filter(|row| row.writes()) {
        for seed in 0..60 {
            let mut test = TestEngine::prepared(seed);
            test.call_at_once(&slices(&call(row, &numbers(seed, 200))));
            test.check_twin();
        }
    }
}

/// Agents are told which rows they may call again when they did not hear the answer.
#[test]
fn what_says_so_changes_nothing_when_it_is_called_again() {
    let rows: Vec<_> = table().all().iter().filter(|row| row.flags.has(Flags::IDEMPOTENT)).collect();
    assert!(rows.len() > 10 && rows.iter().all(|row| row.writes()));
    for row in rows {
        for seed in 0..60 {
            let mut test = TestEngine::prepared(seed);
            let words = call(row, &numbers(seed, 200));
            test.call_at_once(&slices(&words));
            let once = test.dump();
            test.call_at_once(&slices(&words));
            assert_eq!(test.dump(), once, "{:?}", Step::Call(words));
        }
    }
}
