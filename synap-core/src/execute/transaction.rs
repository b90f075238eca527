//! MULTI … EXEC and WATCH.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::{Inside, SessionCx, WriteCx};
use super::row::{Command, Inner, Kind};
use super::shards::{Place, PlaceRef};
use super::turn::{Caller, Turn};
use super::{Call, Flow, admit, rights, waiting};
use crate::access::refusals::Context;
use crate::error::{Code, Error, Result};
use crate::grammar::{Key, Keys, OwnedWords, Parser};
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::shard_of;
use crate::reply::Reply;
use crate::session::{Condition, Session, Transaction, Wanted, WatchFlag, Watched};
use crate::types::Elem;

/// Runs the queued calls as one: under the locks of all their keys and of the watched ones, logged as one unit.
pub fn exec(cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
    let caller = cx.caller();
    let Some(transaction) = caller.session.transaction.take() else {
        return Err(Error::err("EXEC without MULTI"));
    };
    if transaction.broken {
        end(caller.turn, caller.session);
        return Err(Error::new(Code::ExecAbort, "Transaction discarded because of previous errors."));
    }
    let may_ask = |condition: &Condition| rights::may_read(caller.turn.state, caller.session, &condition.key);
    if !transaction.conditions.iter().all(may_ask) {
        end(caller.turn, caller.session);
        return Err(rights::NO_KEY_RIGHT);
    }
    match run(caller, &transaction, reply) {
        Ran::Done(flow) => {
            end(caller.turn, caller.session);
            Ok(flow)
        }
        Ran::NeedAlone => {
            caller.session.transaction = Some(transaction);
            Ok(Flow::NeedAlone)
        }
        Ran::Paused => {
            caller.session.transaction = Some(transaction);
            Ok(Flow::Paused)
        }
        Ran::Touched => {
            end(caller.turn, caller.session);
            reply.null_array();
            Ok(Flow::Done)
        }
    }
}

/// Whether the condition holds for the key, which is locked.
fn holds(cx: &WriteCx<'_>, key: &Key<'_>, condition: &Condition) -> bool {
    let is = |value: Option<Elem<'_>>| match (&condition.wanted, value) {
        (Wanted::Exists(wanted), value) => value.is_some() == *wanted,
        (Wanted::Equals(bytes), Some(value)) => value.bytes(&mut itoa::Buffer::new()) == &**bytes,
        (Wanted::Equals(_), None) => false,
    };
    match (&condition.field, &condition.wanted) {
        (None, Wanted::Exists(wanted)) => cx.exists(key) == *wanted,
        (None, Wanted::Equals(_)) => is(cx.peek(key).and_then(Entry::as_string)),
        (Some(field), _) => cx.hash(key).is_ok_and(|hash| is(hash.and_then(|hash| cx.field(hash, field)))),
    }
}

enum Ran {
    Done(Flow),
    /// Nothing was done: the gate must be closed.
    NeedAlone,
    /// Nothing was done: one of the calls must wait for the end of a pause.
    Paused,
    /// A watched key has changed.
    Touched,
}

fn run(caller: &mut Caller<'_, '_>, transaction: &Transaction, reply: &mut dyn Reply) -> Ran {
    let state = caller.turn.state;
    let mut mask = 0;
    let mut alone = false;
    let mut planned: Vec<(&'static Command, &OwnedWords, Keys)> = Vec::with_capacity(transaction.calls.len());
    for words in &transaction.calls {
        let slices = words.slices();
        // Rows do not go away: what was found while queueing is found now.
        let Ok(row) = state.table.find(&slices) else { continue };
        let mut keys = Keys::default();
        let mut parser = Parser::new(&slices, row.name_words(), state.hasher, &mut keys);
        // A syntax error is the call's own answer, below; its keys are locked all the same.
        alone |= (row.run.plan)(&mut parser).is_ok_and(|needs| needs.alone);
        mask |= keys.keys.iter().fold(0, |mask, key| mask | 1 << shard_of(key.hash));
        planned.push((row, words, keys));
    }
    let is_replay = admit::is_replay(caller.session);
    if planned.iter().any(|(row, ..)| state.pause.holds(row, caller.turn.now_ms)) && !is_replay {
        caller.session.paused_at = state.pause.change_count();
        return Ran::Paused;
    }
    if state.is_behind() && planned.iter().any(|(row, ..)| row.writes()) && !is_replay {
        return Ran::Paused;
    }
    if alone && !caller.turn.is_alone() {
        return Ran::NeedAlone;
    }
    mask |= caller.session.watches.keys.iter().fold(0, |mask, watched| mask | 1 << shard_of(watched.hash));
    let asked = |condition: &Condition| state.hasher.hash(&condition.key);
    mask |= transaction.conditions.iter().fold(0, |mask, condition| mask | 1 << shard_of(asked(condition)));

    let mut cx = caller.turn.context(mask, caller.session.db);
    let writes = planned.iter().filter(|(row, ..)| row.writes());
    for (_, words, keys) in writes {
        if !waiting::can_serve_all(&cx, &words.slices(), keys) {
            return Ran::NeedAlone;
        }
    }
    // A watched key that is due has changed by becoming nothing, even where it is only hidden.
    let mut touched = false;
    for watched in &caller.session.watches.keys {
        let key = Key { bytes: &watched.key, hash: watched.hash };
        cx.in_db(watched.db, |cx| {
            cx.meet_one(&key);
            touched |= cx.hides(&key) && !watched.was_hidden;
        });
    }
    for condition in &transaction.conditions {
        let key = Key { bytes: &condition.key, hash: asked(condition) };
        cx.meet_one(&key);
        touched |= !holds(&cx, &key, condition);
    }
    if touched || caller.session.watches.flag.as_ref().is_some_and(|flag| flag.is_touched()) {
        caller.session.seen = caller.session.seen.max(cx.seen());
        waiting::serve(&mut cx);
        cx.unlock();
        return Ran::Touched;
    }

    // What was said of the next call counts for all of them.
    let tracking = caller.session.tracking.as_mut();
    let tracker = tracking.and_then(|tracking| tracking.takes_next().then(|| tracking.tracker.clone()));
    let mut after = Flow::Done;
    let mut published = Vec::new();
    cx.keep_quiet_for(caller.session);
    cx.begin_unit();
    reply.array(planned.len());
    for (row, words, keys) in &planned {
        let slices = words.slices();
        let call = Call { words: &slices, raw: None, row, hint: None };
        // The rights may be others than when it was queued.
        if let Err(error) = admit::check(state, caller.session, &call, keys, Context::Multi) {
            state.stats.rejected(Some(row), &error);
            reply.error(&error);
            continue;
        }
        super::monitor::show(&mut cx, caller.session, &call);
        let mark = reply.mark();
        let began = state.ticks.raw();
        let flow = match row.run.inner {
            Inner::Data(run) => run(&mut cx, &call, reply),
            Inner::Session(run) => {
                // The turn is lent to `cx`; a session command gets one that cannot lock.
                let mut turn = Turn::inside(state, &cx);
                let mut inside = Caller { turn: &mut turn, session: &mut *caller.session };
                let lent = Inside { cx: &cx, published: &mut published };
                let flow = run(&mut SessionCx { caller: &mut inside, call: &call, inside: Some(lent) }, &call, reply);
                let db = inside.session.db;
                cx.select(db);
                flow
            }
        };
        let slept = if let Ok(Flow::Sleep(time)) = flow { time } else { Duration::ZERO };
        let spent = state.ticks.since(began) + state.ticks.of(slept);
        match flow {
            Ok(Flow::Block { in_transaction, .. }) => waiting::write_null(in_transaction, reply),
            Ok(Flow::Done) => {}
            Ok(Flow::Later(_)) => unreachable!("{} is not queued", row.name),
            // Of several wishes the last that ends the connection counts.
            Ok(other) if !matches!(after, Flow::Quit | Flow::Shutdown(_)) => after = other,
            Ok(_) => {}
            Err(error) => {
                debug_assert!(!cx.is_changed(), "{} failed after it had changed something", row.name);
                reply.rollback(mark);
                state.stats.failed(row, &error);
                reply.error(&error);
            }
        }
        if let Some(tracker) = tracker.as_ref().filter(|_| row.kind == Kind::Read) {
            cx.remember_for(tracker, &slices, keys);
        }
        state.count_elsewhere(&call, &caller.session.client, caller.turn.now_ms, spent);
        cx.record(&call);
    }
    let penalty = std::mem::take(&mut caller.session.penalty);
    if !penalty.is_zero() && !matches!(after, Flow::Quit | Flow::Shutdown(_)) {
        after = Flow::Sleep(penalty);
    }
    cx.end_unit();
    cx.tell_all(published);
    waiting::serve(&mut cx);
    caller.session.seen = caller.session.seen.max(cx.seen());
    cx.unlock();
    Ran::Done(after)
}

/// Ends a transaction whose EXEC was refused, and returns what that is answered with.
pub(super) fn abort(turn: &mut Turn<'_>, session: &mut Session, error: &Error) -> Error {
    end(turn, session);
    let why = if error.code == Code::Err { error.text.to_string() } else { error.to_string() };
    Error { code: Code::ExecAbort, text: format!("Transaction discarded because of: {why}").into() }
}

/// Leaves MULTI and forgets what was watched.
fn end(turn: &mut Turn<'_>, session: &mut Session) {
    session.transaction = None;
    session.client.queued.store(-1, Ordering::Relaxed);
    session.client.multi_bytes.store(0, Ordering::Relaxed);
    unwatch(turn, session);
}

pub fn discard(cx: &mut SessionCx<'_, '_, '_>) -> Result<()> {
    let caller = cx.caller();
    if caller.session.transaction.is_none() {
        return Err(Error::err("DISCARD without MULTI"));
    }
    end(caller.turn, caller.session);
    Ok(())
}

/// Watches `keys` from now on.
pub fn watch(cx: &mut SessionCx<'_, '_, '_>, keys: impl Iterator<Item = (u64, Box<[u8]>)>) {
    let caller = cx.caller();
    let session = &mut *caller.session;
    let flag = session.watches.flag.get_or_insert_default().clone();
    for (hash, key) in keys {
        let db = session.db;
        if session.watches.knows(db, hash, &key) {
            continue;
        }
        let mut cx = caller.turn.context(1 << shard_of(hash), session.db);
        // What is due already is not there: its removal later must not count as a change.
        let seen = Key { bytes: &key, hash };
        cx.meet_one(&seen);
        let was_hidden = cx.hides(&seen);
        let place = Place { db, key: key.clone() };
        cx.held_mut().get_mut(shard_of(hash)).watchers.entry(place).or_default().push(flag.clone());
        session.seen = session.seen.max(cx.seen());
        waiting::serve(&mut cx);
        cx.unlock();
        session.watches.add(Watched { db, key, hash, was_hidden });
    }
    session.client.watches.store(session.watches.keys.len() as u32, Ordering::Relaxed);
    session.client.watch_bytes.store(session.watches.bytes, Ordering::Relaxed);
}

/// Forgets what was watched.
pub fn unwatch(turn: &mut Turn<'_>, session: &mut Session) {
    let watches = std::mem::take(&mut session.watches);
    let Some(flag) = watches.flag else { return };
    for watched in watches.keys {
        let mut cx = turn.context(1 << shard_of(watched.hash), watched.db);
        forget_flag(&mut cx, watched.db, &watched.key, watched.hash, &flag);
        cx.unlock();
    }
    session.client.watches.store(0, Ordering::Relaxed);
    session.client.watch_bytes.store(0, Ordering::Relaxed);
}

/// Takes a flag away from a key whose shard `cx` holds.
pub(super) fn forget_flag(cx: &mut WriteCx<'_>, db: u32, key: &[u8], hash: u64, flag: &Arc<WatchFlag>) {
    let shard = cx.held_mut().get_mut(shard_of(hash));
    let place = PlaceRef { db, key };
    if let Some(flags) = shard.watchers.get_mut(&place) {
        flags.retain(|other| !Arc::ptr_eq(other, flag));
        if flags.is_empty() {
            shard.watchers.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestEngine;

    fn condition(key: &str, field: Option<&str>, wanted: Wanted) -> Condition {
        Condition { key: key.as_bytes().into(), field: field.map(|field| field.as_bytes().into()), wanted }
    }

    fn equals(value: &str) -> Wanted {
        Wanted::Equals(value.as_bytes().into())
    }

    #[test]
    fn a_transaction_runs_when_its_conditions_hold() {
        let mut test = TestEngine::default();
        test.check("SET a 1 => OK\n HSET h f x => 1\n RPUSH l 1 => 1\n SET brief 1 PX 10 => OK");
        test.clock.advance(10);
        for (held, condition) in [
            (true, condition("a", None, equals("1"))),
            (false, condition("a", None, equals("2"))),
            (false, condition("none", None, equals(""))),
            (true, condition("a", None, Wanted::Exists(true))),
            (false, condition("brief", None, Wanted::Exists(true))),
            (true, condition("brief", None, Wanted::Exists(false))),
            (true, condition("h", Some("f"), equals("x"))),
            (false, condition("h", Some("g"), equals("x"))),
            (true, condition("h", Some("g"), Wanted::Exists(false))),
            (true, condition("l", None, Wanted::Exists(true))),
            (false, condition("l", None, equals("1"))),
            (false, condition("l", Some("f"), equals("1"))),
        ] {
            test.call("MULTI");
            test.call("INCR count");
            let transaction = test.session.transaction.as_mut().expect("it has begun");
            transaction.conditions.push(condition.clone());
            let reply = test.call("EXEC");
            assert_eq!(reply != "nil", held, "{condition:?}: {reply}");
        }
    }
}
