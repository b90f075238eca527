//! What the log promises.

use std::sync::Arc;

use super::super::Reader;
#[cfg(not(shuttle))]
use super::super::ring::CHUNK_BYTES;
use super::*;

fn history() -> HistoryId {
    HistoryId::from_random([0xab; 20])
}

#[cfg(not(shuttle))]
/// Everything from `offset` to the end.
fn read_all(log: &Log, mut offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while offset < log.end() {
        offset = log.read_from(offset, &mut out).unwrap();
    }
    out
}

#[cfg(not(shuttle))]
mod steps {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Bell {
        fn rang(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }

        fn poll(self: &Arc<Self>, future: &mut Reached<'_>) -> Poll<u64> {
            Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
        }
    }

    #[test]
    fn a_history_has_a_name() {
        assert_eq!(history().to_string(), "ab".repeat(20));
        assert_eq!(HistoryId::parse("ab".repeat(20).as_bytes()), Some(history()));
        assert_eq!(HistoryId::parse(b"?"), None);
        assert_eq!(HistoryId::parse("AB".repeat(20).as_bytes()), None);
    }

    #[test]
    fn the_stream_selects_databases_only_when_they_change() {
        let log = Log::new(1024, history());
        assert_eq!(log.position(), Position { offset: 0, db: None });
        log.append_words(0, &["SET", "k", "v"]);
        log.append_raw(0, b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n");
        let end = log.append_words(11, &["PING"]);
        let expected =
            b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n\
            *2\r\n$6\r\nSELECT\r\n$2\r\n11\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(read_all(&log, 0), expected);
        assert_eq!(end, expected.len() as u64);
        assert_eq!(log.position(), Position { offset: end, db: Some(11) });
        log.forget_db();
        assert_eq!(log.append_words(11, &["PING"]), end + 24 + 14);
    }

    #[test]
    fn a_unit_of_several_calls_is_wrapped_and_one_of_one_is_not() {
        let log = Log::new(1024, history());
        let mut unit = Unit::new();
        assert_eq!(log.append(&unit), 0);
        unit.words(1, &["INCR", "a"]);
        let first = log.append(&unit);
        unit.raw(2, b"*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n");
        log.append(&unit);
        unit.clear();
        unit.words(2, &["PING"]);
        log.append(&unit);
        let bytes = read_all(&log, 0);
        let calls: Vec<String> =
            Reader::new(&bytes, 0).map(|call| String::from_utf8(call.unwrap().words.join(&b' ')).unwrap()).collect();
        assert_eq!(
            calls,
            ["SELECT 1", "INCR a", "MULTI", "INCR a", "SELECT 2", "INCR b", "EXEC", "PING"],
            "the unit begins in database 1, which was selected at {first}"
        );
        assert_eq!(log.position().db, Some(2));
    }

    #[test]
    fn a_masters_stream_is_kept_as_it_came() {
        let log = Log::starting_at(5000, 1024, history());
        log.append_stream(b"*1\r\n$4\r\nPI", Some(3));
        log.append_stream(b"NG\r\n", Some(3));
        assert_eq!(log.position(), Position { offset: 5014, db: Some(3) });
        assert_eq!(read_all(&log, 5000), b"*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn an_idle_log_holds_no_memory_and_a_busy_one_its_capacity() {
        let log = Log::new(1 << 20, history());
        assert_eq!(log.memory_bytes(), 0);
        log.append_words(0, &["PING"]);
        assert_eq!(log.memory_bytes(), CHUNK_BYTES);
        for _ in 0..100_000 {
            log.append_words(0, &["SET", "key", "value"]);
        }
        assert_eq!(log.memory_bytes(), (1 << 20) + CHUNK_BYTES, "it begins and ends within a chunk");
        assert_eq!(log.end() - log.oldest(), 1 << 20);
    }

    #[test]
    fn what_was_forgotten_and_what_is_not_there_yet_is_refused() {
        let log = Log::new(64, history());
        for _ in 0..10 {
            log.append_words(0, &["PING"]);
        }
        let range = OutOfRange { oldest: log.oldest(), end: log.end() };
        assert_eq!(range, OutOfRange { oldest: 163 - 64, end: 163 });
        let mut out = Vec::new();
        assert_eq!(log.read_from(range.oldest - 1, &mut out), Err(range));
        assert_eq!(log.read_from(range.end + 1, &mut out), Err(range));
        assert_eq!(log.read_from(range.end, &mut out), Ok(range.end));
        assert!(out.is_empty());
        assert_eq!(log.read_from(range.oldest, &mut out), Ok(range.end));
        assert_eq!(out.len(), 64);
    }

    #[test]
    fn of_a_unit_larger_than_the_ring_its_tail_stays() {
        let log = Log::new(64, history());
        let end = log.append_words(0, &["SET", "k", &"x".repeat(1000)]);
        assert_eq!(end - log.oldest(), 64);
        assert_eq!(read_all(&log, log.oldest()), format!("{}\r\n", "x".repeat(62)).as_bytes());
    }

    #[test]
    fn a_read_is_bounded() {
        let log = Log::new(1 << 20, history());
        log.append_words(0, &["SET", "k", &"x".repeat(READ_BYTES_MAX)]);
        let mut out = Vec::new();
        assert_eq!(log.read_from(0, &mut out), Ok(READ_BYTES_MAX as u64));
        assert_eq!(read_all(&log, 0).len() as u64, log.end());
    }

    #[test]
    fn what_the_sink_needs_is_kept_beyond_the_capacity() {
        let log = Log::new(64, history());
        log.append_words(0, &["PING"]);
        let from = log.end();
        log.attach_sink(from).unwrap();
        for _ in 0..100 {
            log.append_words(0, &["PING"]);
        }
        log.append_words(0, &["SET", "k", &"x".repeat(1000)]);
        assert!(log.oldest() <= from);
        assert_eq!(log.unreleased_bytes(), log.end() - from);
        assert_eq!(Reader::new(&read_all(&log, from), from).count(), 101);
        log.release(log.end());
        let before = log.memory_bytes();
        assert!(before > 2000 && log.unreleased_bytes() == 0, "it may be needed again at once");
        log.release(log.end());
        assert!((before / 3..before).contains(&log.memory_bytes()), "half of it goes");
        (0..6).for_each(|_| log.release(log.end()));
        assert_eq!(log.memory_bytes(), 3 * 64, "it was not");
        assert_eq!(log.attach_sink(from), Err(OutOfRange { oldest: log.end() - 64, end: log.end() }));
    }

    #[test]
    fn whole_units_are_read_in_pieces_of_about_the_asked_size() {
        let log = Log::new(1024, history());
        log.attach_sink(0).unwrap();
        let mut ends = Vec::new();
        for number in 0..200_u32 {
            // Now and then one that is larger than what is asked for.
            let len = if number % 50 == 49 { 400_000 } else { 3000 + number as usize * 100 };
            ends.push(log.append_words(number % 3, &["SET", "k", &"x".repeat(len)]));
        }
        let (mut at, mut pieces) = (0, 0);
        while at < log.end() {
            let mut out = Vec::new();
            let to = log.read_units(at, 200_000, &mut out).unwrap();
            assert_eq!(out.len() as u64, to.offset - at);
            let end = ends.binary_search(&to.offset).expect("the end of a unit");
            assert_eq!(to.db, Some(end as u32 % 3));
            assert!(out.len() < 200_000 + 2 * 65_536 || out.len() > 400_000);
            assert!(Reader::new(&out, at).all(|call| call.is_ok()));
            (at, pieces) = (to.offset, pieces + 1);
        }
        assert!((15..40).contains(&pieces), "{pieces}");
        log.release(log.end());
        assert!(log.state.lock().cuts.is_empty());
    }

    #[test]
    fn one_may_wait_for_the_release() {
        let log = Log::new(1024, history());
        let first = log.append_words(0, &["PING"]);
        assert_eq!(log.released(), first, "without a sink nothing is to be waited for");
        log.attach_sink(first).unwrap();
        let second = log.append_words(0, &["PING"]);
        let bell = Arc::new(Bell::default());
        let mut wait = log.released_at(second);
        assert!(bell.poll(&mut wait).is_pending());
        log.settle(second);
        assert_eq!((bell.rang(), log.released()), (0, first));
        log.release(second);
        assert_eq!(bell.rang(), 1);
        assert_eq!(bell.poll(&mut wait), Poll::Ready(second));
    }

    #[test]
    fn a_failing_sink_sends_away_those_who_do_not_wait_for_ever() {
        let log = Log::new(1024, history());
        log.attach_sink(0).unwrap();
        let end = log.append_words(0, &["PING"]);
        let (patient, other) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let mut waits = log.settled_at(end);
        let mut gives_up = log.settled_or_failing(end);
        let waker = Waker::from(Arc::clone(&other));
        let mut cx = Context::from_waker(&waker);
        assert!(patient.poll(&mut waits).is_pending());
        assert!(Pin::new(&mut gives_up).poll(&mut cx).is_pending());
        log.set_failing(true);
        log.wake_unsettled();
        assert_eq!((patient.rang(), other.rang()), (1, 1));
        assert!(patient.poll(&mut waits).is_pending());
        assert_eq!(Pin::new(&mut gives_up).poll(&mut cx), Poll::Ready(Err(Failing)));
        log.settle(end);
        assert_eq!(patient.rang(), 2);
        assert_eq!(Pin::new(&mut log.settled_or_failing(end)).poll(&mut cx), Poll::Ready(Ok(end)));
    }

    #[test]
    fn one_may_ask_for_everything_to_be_kept() {
        let log = Log::new(64, history()).keeping_everything();
        for _ in 0..1000 {
            log.append_words(0, &["PING"]);
        }
        assert_eq!(Reader::new(&read_all(&log, 0), 0).count(), 1001);
    }

    #[test]
    fn without_a_sink_everything_is_settled_at_once() {
        let log = Log::new(64, history());
        let end = log.append_words(0, &["PING"]);
        assert!(log.is_settled(end) && !log.is_settled(end + 1));
        assert_eq!(Arc::new(Bell::default()).poll(&mut log.settled_at(end)), Poll::Ready(end));
    }

    #[test]
    fn with_a_sink_one_waits_for_it() {
        let log = Log::new(1024, history());
        log.attach_sink(0).unwrap();
        let first = log.append_words(0, &["PING"]);
        let second = log.append_words(0, &["PING"]);
        let (early, late) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let (mut wait_first, mut wait_second) = (log.settled_at(first), log.settled_at(second));
        assert!(early.poll(&mut wait_first).is_pending());
        assert!(late.poll(&mut wait_second).is_pending());
        log.settle(first);
        assert_eq!((early.rang(), late.rang()), (1, 0));
        assert_eq!(early.poll(&mut wait_first), Poll::Ready(first));
        log.settle(first - 1); // says nothing new
        assert_eq!(log.settled(), first);
        drop(wait_second);
        log.settle(second);
        assert_eq!(late.rang(), 0, "it had given up");
        assert!(log.state.lock().waiting_for_settled.by_offset.is_empty());
    }

    #[test]
    fn detaching_the_sink_settles_the_rest() {
        let log = Log::new(1024, history());
        log.attach_sink(0).unwrap();
        let end = log.append_words(0, &["PING"]);
        let bell = Arc::new(Bell::default());
        let mut wait = log.settled_at(end);
        assert!(bell.poll(&mut wait).is_pending());
        log.detach_sink();
        assert_eq!(bell.rang(), 1);
        assert_eq!(bell.poll(&mut wait), Poll::Ready(end));
    }

    #[test]
    fn a_reader_is_woken_once_for_a_whole_turn() {
        let log = Log::new(1024, history());
        let bell = Arc::new(Bell::default());
        let mut wait = log.grown_past(0);
        assert!(bell.poll(&mut wait).is_pending());
        log.notify();
        assert_eq!(bell.rang(), 0);
        log.append_words(0, &["PING"]);
        let end = log.append_words(0, &["PING"]);
        assert_eq!(bell.rang(), 0, "not under locks");
        log.notify();
        log.notify();
        assert_eq!(bell.rang(), 1);
        assert_eq!(bell.poll(&mut wait), Poll::Ready(end));
    }

    #[test]
    #[should_panic(expected = "nobody can have written")]
    fn a_sink_cannot_settle_the_future() {
        let log = Log::new(64, history());
        log.attach_sink(0).unwrap();
        log.settle(1);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "not one canonical call")]
    fn a_door_cannot_smuggle_bytes_in() {
        Log::new(64, history()).append_raw(0, b"*1\r\n$4\r\nPING\r\nFLUSHALL\r\n");
    }
}

#[cfg(not(shuttle))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Call(u32, Vec<Vec<u8>>),
        Unit(Vec<(u32, Vec<Vec<u8>>)>),
        Attach,
        Release,
        Detach,
    }

    fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Never a SELECT, MULTI or EXEC: the test strips those.
        prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..90), 1..5)
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..3_u32, words()).prop_map(|(db, words)| Step::Call(db, words)),
            4 => prop::collection::vec((0..3_u32, words()), 0..4).prop_map(Step::Unit),
            1 => Just(Step::Attach),
            1 => Just(Step::Release),
            1 => Just(Step::Detach),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        /// Whatever the capacity, the kept part is the end of the whole, and the whole is what was said.
        #[test]
        fn the_stream_says_what_was_appended(capacity in 1_usize..2000, steps in steps()) {
            let log = Log::new(capacity, history());
            let whole = Log::new(1, history()).keeping_everything();
            let mut said = Vec::new();
            let mut needed = None;
            for step in steps {
                match step {
                    Step::Call(db, words) => {
                        prop_assert_eq!(log.append_words(db, &words), whole.append_words(db, &words));
                        said.push((db, words));
                    }
                    Step::Unit(calls) => {
                        let mut unit = Unit::new();
                        calls.iter().for_each(|(db, words)| unit.words(*db, words));
                        prop_assert_eq!(log.append(&unit), whole.append(&unit));
                        said.extend(calls);
                    }
                    Step::Attach => {
                        let from = log.end();
                        log.attach_sink(from).unwrap();
                        needed = Some(from);
                    }
                    Step::Release => {
                        log.release(log.end());
                        needed = needed.map(|_| log.end());
                    }
                    Step::Detach => {
                        log.detach_sink();
                        needed = None;
                    }
                }
                prop_assert!(log.oldest() <= needed.unwrap_or(u64::MAX));
                let all = read_all(&whole, 0);
                prop_assert_eq!(&all[log.oldest() as usize..], read_all(&log, log.oldest()));
            }
            let all = read_all(&whole, 0);
            let mut db = None;
            let mut heard = Vec::new();
            for call in Reader::new(&all, 0) {
                let call = call.unwrap();
                match call.words[..] {
                    [b"SELECT", n] => db = std::str::from_utf8(n).unwrap().parse().ok(),
                    [b"MULTI"] | [b"EXEC"] => {}
                    ref words => heard.push((db.unwrap(), words.iter().map(|word| word.to_vec()).collect())),
                }
            }
            prop_assert_eq!(heard, said);
        }
    }
}

#[cfg(shuttle)]
mod shuttle_search {
    use super::*;
    use crate::sync::{block_on, thread};

    fn search(scenario: impl Fn() + Send + Sync + 'static) {
        let scenario = Arc::new(scenario);
        let again = Arc::clone(&scenario);
        shuttle::check_random(move || scenario(), 4_000);
        shuttle::check_pct(move || again(), 4_000, 3);
    }

    /// Writers that wait until theirs is settled, some that give up, a sink and a replica that sleep when there is
    /// nothing: nobody sleeps for ever, and nobody goes on before the sink has taken the bytes.
    #[test]
    fn who_waits_for_the_sink_is_woken() {
        search(|| {
            let log = Arc::new(Log::new(1 << 10, history()));
            log.attach_sink(0).unwrap();
            let total = 23 + 4 * 14; // a SELECT and four PINGs
            let mut threads = Vec::new();
            for _ in 0..2 {
                let log = Arc::clone(&log);
                threads.push(thread::spawn(move || {
                    for _ in 0..2 {
                        let offset = log.append_words(0, &["PING"]);
                        log.notify();
                        let mut given_up = log.settled_at(log.end() + 1);
                        let _ = Pin::new(&mut given_up).poll(&mut Context::from_waker(Waker::noop()));
                        drop(given_up);
                        let settled = block_on(log.settled_at(offset));
                        assert!(settled >= offset && log.is_settled(offset));
                    }
                }));
            }
            let sink = Arc::clone(&log);
            threads.push(thread::spawn(move || {
                let mut written = Vec::new();
                let mut offset = 0;
                while offset < total {
                    let end = block_on(sink.grown_past(offset));
                    offset = sink.read_from(offset, &mut written).unwrap();
                    assert!(offset >= end);
                    sink.settle(offset);
                    sink.release(offset);
                }
                assert_eq!(Reader::new(&written, 0).count(), 5);
            }));
            let replica = Arc::clone(&log);
            threads.push(thread::spawn(move || {
                let mut offset = 0;
                while offset < total {
                    offset = block_on(replica.grown_past(offset));
                }
            }));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!((log.end(), log.settled()), (total, total));
            let state = log.state.lock();
            assert!(state.waiting_for_end.by_offset.is_empty() && state.waiting_for_settled.by_offset.is_empty());
        });
    }
}
