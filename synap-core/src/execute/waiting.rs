//! Blocked calls: how they register, who serves them, how they end.
//!
//! A waiter on several keys is one shared object; the one compare-and-swap in [`Waiter::claim`] decides whether it is
//! served, timed out, unblocked or gone. Waiters of a key are served first in, first out, after the outermost call
//! that made the key ready. The pop, its log record and its reply are one unit under that call's locks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::context::{ReadCx, WriteCx};
use super::row::Inner;
use super::shards::{Place, PlaceRef};
use super::state::State;
use super::turn::Turn;
use super::{Call, Flow, rights};
use crate::error::{Code, Error};
use crate::grammar::{Key, Keys, OwnedWords, Words};
use crate::keyspace::hasher::shard_of;
use crate::reply::{Reply, Tape};
use crate::session::{Client, Mail, NullKind, Session, WaitEnd, Waiter};
use crate::settings;

/// How many further keys one serving may pass elements on to before it asks for everything.
const CHAIN_MAX: usize = 8;

/// How many waiters a write looks at before it asks for everything instead.
const LOOKS_MAX: usize = 64;

/// True when every waiter that a write of `keys` may serve stays within the shards that are held. Otherwise the call
/// gives its locks back and runs with the gate closed.
#[inline]
pub(super) fn can_serve_all(cx: &WriteCx<'_>, words: Words<'_>, keys: &Keys) -> bool {
    cx.held().is_alone()
        || keys.keys.iter().all(|noted| {
            let shard = cx.held().get(shard_of(noted.hash));
            shard.reaching == 0 || stays_within(cx, words[noted.index as usize], noted.hash)
        })
}

/// Follows the waiters from key to key. Each key is looked at once, and not all of many waiters: as a walk of all paths
/// it would take clients to the power of keys, under the locks.
fn stays_within(cx: &ReadCx<'_>, key: &[u8], hash: u64) -> bool {
    let mut keys: SmallVec<[(u64, &[u8]); CHAIN_MAX]> = SmallVec::new();
    keys.push((hash, key));
    // In any database: COPY and MOVE write into others than the selected one.
    let dbs = cx.state().settings.int(settings::DATABASES) as u32;
    let mut looks = 0;
    let mut next = 0;
    while let Some(&(hash, key)) = keys.get(next) {
        next += 1;
        let waiters = &cx.held().get(shard_of(hash)).waiters;
        for waiter in (0..dbs).filter_map(|db| waiters.get(&PlaceRef { db, key })).flatten() {
            looks += 1;
            if looks > LOOKS_MAX {
                return false;
            }
            for (hash, key) in &waiter.reaches {
                if !cx.held().holds(shard_of(*hash)) {
                    return false;
                }
                if keys.iter().all(|(_, known)| *known != &**key) {
                    if keys.len() > CHAIN_MAX {
                        return false;
                    }
                    keys.push((*hash, &**key));
                }
            }
        }
    }
    true
}

/// Registers a call that found nothing, under the locks under which it found nothing.
pub(super) fn block(
    cx: &mut WriteCx<'_>,
    call: &Call<'_>,
    keys: &Keys,
    session: &mut Session,
    count: usize,
    timeout_ms: Option<u64>,
    on_timeout: NullKind,
) -> Arc<Waiter> {
    let own = |noted: &crate::grammar::KeyRef| (noted.hash, call.words[noted.index as usize].into());
    let deadline_ms = timeout_ms.map(|ms| cx.now_ms().saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
    let waiter = Arc::new(Waiter::new(
        session.client.clone(),
        session.user.clone(),
        OwnedWords::new(call.words),
        cx.db(),
        session.resp3,
        keys.keys.iter().take(count).map(own).collect(),
        keys.keys.iter().skip(count).map(own).collect(),
        deadline_ms,
        on_timeout,
    ));
    for (hash, key) in &waiter.keys {
        let shard = cx.held_mut().get_mut(shard_of(*hash));
        let queue = shard.waiters.entry(Place { db: waiter.db, key: key.clone() }).or_default();
        // The same key named twice is waited on once. Nobody came in between: its shard is locked.
        if !queue.back().is_some_and(|last| Arc::ptr_eq(last, &waiter)) {
            queue.push_back(waiter.clone());
            shard.reaching += usize::from(!waiter.reaches.is_empty());
        }
    }
    *session.client.blocked.lock() = Some(waiter.clone());
    waiter
}

/// Serves blocked calls from the keys that became ready, until nobody is left or nothing is there.
pub(super) fn serve(cx: &mut WriteCx<'_>) {
    let db = cx.db();
    while let Some((db, key, hash)) = cx.next_ready() {
        cx.select(db);
        serve_key(cx, &Key { bytes: &key, hash });
    }
    cx.select(db);
}

fn serve_key(cx: &mut WriteCx<'_>, key: &Key<'_>) {
    let table = cx.state().table;
    // Who waits for a value of another type than the one that is there; those behind may not.
    let mut passed = 0;
    while let Some(waiter) = waiting_at(cx, key, passed) {
        let words = waiter.words.slices();
        let Ok(row) = table.find(&words) else { return };
        if !(row.run.ready)(cx, key) {
            // Keys are offered again when they change again.
            if !cx.exists(key) {
                return;
            }
            passed += 1;
            continue;
        }
        unlink(cx, key, &waiter);
        if !waiter.claim(WaitEnd::Served) {
            continue;
        }
        let Inner::Data(run) = row.run.inner else { continue };
        let call = Call { words: &words, raw: None, row, hint: None };
        let mut tape = Tape::new(waiter.resp3);
        if let Err(error) = rights::check_waiter(cx.state(), &waiter, &call) {
            cx.state().stats.rejected(Some(row), &error);
            tape.error(&error);
            let waker = waiter.client.put(Mail::Served(tape), cx.seen());
            cx.wakers().extend(waker);
            continue;
        }
        let db = cx.db();
        cx.serve_from(Some(key.hash));
        let began = cx.state().ticks.raw();
        let flow = run(cx, &call, &mut tape);
        debug_assert!(!matches!(flow, Ok(Flow::Block { .. })), "{} was said to be ready", row.name);
        match flow {
            Ok(Flow::Done) => {}
            Ok(_) => write_null(waiter.on_timeout, &mut tape),
            Err(error) => {
                tape.rollback(crate::reply::Mark(0));
                cx.state().stats.failed(row, &error);
                tape.error(&error);
            }
        }
        count(cx.state(), &call, &waiter.client, began);
        cx.record(&call);
        cx.tell_events();
        cx.serve_from(None);
        cx.select(db);
        let waker = waiter.client.put(Mail::Served(tape), cx.seen());
        cx.wakers().extend(waker);
    }
}

/// The waiter at place `index` of the queue of `key`. Those who do not wait any more are dropped from it.
fn waiting_at(cx: &mut WriteCx<'_>, key: &Key<'_>, index: usize) -> Option<Arc<Waiter>> {
    let place = PlaceRef { db: cx.db(), key: key.bytes };
    loop {
        let waiter = cx.shard_mut(key).waiters.get(&place)?.get(index)?.clone();
        // Nothing is popped for a connection that CLIENT KILL has ended and that is about to see it.
        if waiter.is_waiting() && !waiter.client.is_killed() {
            return Some(waiter);
        }
        unlink(cx, key, &waiter);
    }
}

/// Takes `waiter` out of the queue of `key`, where it stands once at most.
fn unlink(cx: &mut WriteCx<'_>, key: &Key<'_>, waiter: &Arc<Waiter>) {
    let place = PlaceRef { db: waiter.db, key: key.bytes };
    let shard = cx.shard_mut(key);
    let Some(queue) = shard.waiters.get_mut(&place) else { return };
    // Whoever is served is the first: the others are not looked at.
    let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return };
    queue.remove(at);
    if !waiter.reaches.is_empty() {
        shard.reaching -= 1;
    }
    if queue.is_empty() {
        shard.waiters.remove(&place);
    }
}

pub(super) fn write_null(kind: NullKind, reply: &mut dyn Reply) {
    match kind {
        NullKind::Null => reply.null(),
        NullKind::NullArray => reply.null_array(),
    }
}

/// Ends a wait from the outside; true when it still waited. The client gets `reply`'s answer and is woken.
pub fn unblock(state: &State, client: &Client, end: WaitEnd) -> bool {
    let waiter = client.blocked.lock().clone();
    let Some(waiter) = waiter.filter(|waiter| waiter.claim(end)) else { return false };
    let mut tape = Tape::new(waiter.resp3);
    match end {
        WaitEnd::TimedOut => write_null(waiter.on_timeout, &mut tape),
        _ => {
            let error = Error::new(Code::Unblocked, "client unblocked via CLIENT UNBLOCK");
            if let Ok(row) = state.table.find(&waiter.words.slices()) {
                state.stats.failed(row, &error);
            }
            tape.error(&error);
        }
    }
    count_ended(state, &waiter);
    client.send(Mail::Served(tape), 0);
    true
}

/// What a blocked session does when its wait is over, for whatever reason: `end` claims it when nobody did, and the
/// waiter leaves the queues where it still stands. True when this call ended it: then no reply comes from elsewhere.
pub fn leave(turn: &mut Turn<'_>, session: &mut Session, waiter: &Arc<Waiter>, end: WaitEnd) -> bool {
    let ended_here = waiter.claim(end);
    let mask = waiter.keys.iter().fold(0, |mask, (hash, _)| mask | 1 << shard_of(*hash));
    let mut cx = turn.context(mask, waiter.db);
    for (hash, key) in &waiter.keys {
        unlink(&mut cx, &Key { bytes: key, hash: *hash }, waiter);
    }
    cx.unlock();
    *session.client.blocked.lock() = None;
    if ended_here && end == WaitEnd::TimedOut {
        count_ended(turn.state, waiter);
    }
    ended_here
}

/// Counts a call whose wait was in vain. Those that nobody waits for any more are not counted.
fn count_ended(state: &State, waiter: &Waiter) {
    let words = waiter.words.slices();
    if let Ok(row) = state.table.find(&words) {
        let call = Call { words: &words, raw: None, row, hint: None };
        count(state, &call, &waiter.client, state.ticks.raw());
    }
}

/// Counts a call whose wait has ended, and that ran since `began`. What it waited is not what it took.
fn count(state: &State, call: &Call<'_>, client: &Client, began: u64) {
    state.count_elsewhere(call, client, state.clock.now_ms(), state.ticks.since(began));
    client.calls.fetch_add(1, Ordering::Relaxed);
}

/// The reply of a call whose wait timed out.
pub fn timeout_reply(waiter: &Waiter, reply: &mut dyn Reply) {
    write_null(waiter.on_timeout, reply);
}

#[cfg(test)]
mod tests {
    use crate::execute::{Input, Outcome, execute};
    use crate::testing::{TestEngine, Text};

    use super::*;

    #[test]
    fn a_waiter_is_served_from_one_key_while_the_shards_of_its_others_are_free() {
        let mut test = TestEngine::default();
        let mut waits = test.another();
        // Keys of many shards, so that most of them are not those of the write.
        let words: [&[u8]; 6] = [b"BLPOP", b"a", b"b", b"c", b"d", b"0"];
        let outcome =
            execute(&mut test.engine.enter_blocking(), &mut waits, &Input::words(&words), &mut Text::new(true));
        let Outcome::Blocked(waiter) = outcome else { panic!("{outcome:?}") };
        test.check("RPUSH c 1 2 => 2");
        let mut text = Text::new(true);
        assert!(!leave(&mut test.engine.enter_blocking(), &mut waits, &waiter, WaitEnd::TimedOut));
        Client::take_mail(&mut waits, &mut text);
        assert_eq!(text.out, r#"["c", "1"]"#);
        test.engine.leave(&mut waits);
    }

    /// Eight keys, each with many who wait to move on to the next: as many paths as the universe has seconds.
    #[test]
    fn a_write_looks_at_each_key_of_a_net_of_waiters_once() {
        let mut test = TestEngine::default();
        let keys: Vec<Vec<u8>> = (0..8).map(|number| format!("k{number}").into_bytes()).collect();
        let mut waits = Vec::new();
        for (from, to) in keys.iter().zip(&keys[1..]) {
            for _ in 0..40 {
                let mut session = test.another();
                let words: [&[u8]; 6] = [b"BLMOVE", from, to, b"LEFT", b"RIGHT", b"0"];
                let input = Input::words(&words);
                let outcome = execute(&mut test.engine.enter_blocking(), &mut session, &input, &mut Text::new(true));
                let Outcome::Blocked(waiter) = outcome else { panic!("{outcome:?}") };
                waits.push((session, waiter));
            }
        }
        // It holds the shards of all keys, so that no look ends early.
        test.check("DEL k0 k1 k2 k3 k4 k5 k6 k7 => 0");
        test.check("RPUSH k0 a => 1");
        test.check("LRANGE k7 0 -1 => [\"a\"]");
        for (mut session, waiter) in waits {
            leave(&mut test.engine.enter_blocking(), &mut session, &waiter, WaitEnd::Gone);
            test.engine.leave(&mut session);
        }
    }
}
