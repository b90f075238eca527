//! Keys that leave for another server: frozen under their lock, sent while nothing is locked, and removed when they have
//! arrived and are still what was sent.
//!
//! Nobody can hold a lock across a network, so a move is not one moment, as it is in Redis: somebody may change a key
//! while it is on its way. Such a key stays, because the change would be lost otherwise, and the caller is told. A flag,
//! as WATCH has it, tells of every change.

use std::collections::HashSet;
use std::sync::Arc;

use super::context::WriteCx;
use super::gate::thread_slot;
use super::shards::Place;
use super::state::{State, Transfer};
use super::turn::{Pass, Turn};
use super::waiting;
use crate::error::{Code, Error, Result};
use crate::grammar::Key;
use crate::keyspace::entry::Entry;
use crate::keyspace::hasher::shard_of;
use crate::keyspace::value::Value;
use crate::log::wire;
use crate::session::WatchFlag;
use crate::snapshot::{self, Flavour};

/// Keys that are removed during one visit inside the gate.
const KEYS_A_TURN: usize = 64;

/// Keys on their way.
#[derive(Default)]
pub struct Departure {
    /// What was frozen came from the log up to here.
    seen: u64,
    keys: Vec<Departing>,
    values: Vec<(Value, Option<i64>)>,
}

/// A key on its way, as whoever removes it has to know it.
struct Departing {
    db: u32,
    key: Arc<[u8]>,
    hash: u64,
    flag: Arc<WatchFlag>,
}

/// Where they go.
pub struct Target {
    pub host: String,
    pub port: u16,
    /// Milliseconds for each step of the way.
    pub timeout_ms: u64,
    /// Calls before the data: AUTH, SELECT.
    pub greeting: Vec<Vec<u8>>,
    pub replace: bool,
    /// The keys stay here too.
    pub copy: bool,
}

impl WriteCx<'_> {
    /// Freezes what `keys` hold, to be sent. From here on every change of them is noticed.
    pub fn depart<'k>(&mut self, keys: impl Iterator<Item = Key<'k>>) -> Departure {
        let mut departure = Departure { seen: self.seen(), ..Departure::default() };
        // A key that is named again goes once.
        let mut named = HashSet::new();
        for key in keys.filter(|key| named.insert(key.bytes)) {
            let Some(entry) = self.get(&key).filter(|entry| self.is_visible(entry)) else { continue };
            departure.values.push((Entry::freeze(entry), entry.expires_at()));
            let (db, flag) = (self.db(), Arc::<WatchFlag>::default());
            let flags = self.shard_mut(&key).watchers.entry(Place { db, key: key.bytes.into() }).or_default();
            // Those of moves that were given up: nobody else has them.
            flags.retain(|flag| Arc::strong_count(flag) > 1);
            flags.push(flag.clone());
            departure.keys.push(Departing { db, key: key.bytes.into(), hash: key.hash, flag });
        }
        departure
    }
}

impl Departure {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Sends the keys and removes those that have arrived, unless it is only a copy.
    pub async fn go(self, state: Arc<State>, target: Target) -> Result<()> {
        // Another server is told what a client is told: nothing that a kill could take back.
        settled(&state, self.seen).await?;
        let Departure { keys, values, .. } = self;
        let (names, clock) = (keys.iter().map(|key| key.key.clone()).collect::<Vec<_>>(), state.clone());
        let (replace, copy) = (target.replace, target.copy);
        let calls = names.into_iter().zip(values).map(move |(key, (value, deadline_ms))| {
            restore_call(&key, &value, deadline_ms.map(|deadline_ms| deadline_ms - clock.clock.now_ms()), replace)
        });
        let Target { host, port, timeout_ms, greeting, .. } = target;
        let transfer = Transfer { host, port, timeout_ms, greeting, calls: Box::new(calls) };
        let arrived = state.host().transfer(transfer).await;
        let (mut changed, mut refusal) = (0, None);
        for (keys, taken) in keys.chunks(KEYS_A_TURN).zip(padded(&arrived.taken, keys.len()).chunks(KEYS_A_TURN)) {
            let pass = state.gate.enter(thread_slot()).await;
            let turn = Turn::new(&state, Pass::Entered(pass));
            for (key, &taken) in keys.iter().zip(taken) {
                match key.arrive(&turn, taken && !copy) {
                    Ok(true) => {}
                    Ok(false) => changed += 1,
                    Err(error) => refusal = Some(error),
                }
            }
            drop(turn);
        }
        state.log.notify();
        settled(&state, state.log.end()).await?;
        if let Some(error) = arrived.error.or(refusal) {
            return Err(error);
        }
        match changed {
            0 => Ok(()),
            _ => Err(Error::fmt(format!(
                "{changed} of the keys changed on their way: they stay here, and the target has them as they were"
            ))),
        }
    }
}

impl Departing {
    /// Removes the key, if it is to go, and forgets its flag. False when it has changed on its way and stays.
    fn arrive(&self, turn: &Turn<'_>, goes: bool) -> Result<bool> {
        let state = turn.state;
        let key = Key { bytes: &self.key, hash: self.hash };
        let mut cx = turn.context(1 << shard_of(self.hash), self.db);
        cx.meet_one(&key);
        let has_changed = self.flag.is_touched();
        super::transaction::forget_flag(&mut cx, self.db, &self.key, self.hash, &self.flag);
        let refusal = if state.log.is_failing() {
            Some(Error::new(Code::Misconf, "the keys have arrived, and stay here too: the log cannot be written"))
        } else if state.pause.until(cx.now_ms()).is_some() {
            Some(Error::err("the keys have arrived, and stay here too: writes are paused"))
        } else {
            None
        };
        if goes && !has_changed && refusal.is_none() {
            cx.remove_aside(&key);
        }
        waiting::serve(&mut cx);
        cx.unlock();
        match refusal {
            Some(error) if goes && !has_changed => Err(error),
            _ => Ok(!(goes && has_changed)),
        }
    }
}

/// What was told of the first keys, and false for the others.
fn padded(taken: &[bool], len: usize) -> Vec<bool> {
    let mut all = taken.to_vec();
    all.resize(len, false);
    all
}

/// Waits until what the log says up to `offset` may be told.
async fn settled(state: &State, offset: u64) -> Result<()> {
    if !state.log.is_settled(offset) {
        state.write_pending();
        let failing = Error::new(Code::Misconf, "the log cannot be written");
        state.log.settled_or_failing(offset).await.map_err(|_| failing)?;
    }
    Ok(())
}

/// The call that makes the key elsewhere. What is due by now is sent with the shortest time to live: for the target, it
/// was there.
fn restore_call(key: &[u8], value: &Value, left_ms: Option<i64>, replace: bool) -> Vec<u8> {
    let payload = snapshot::dump(value.view(), Flavour::Redis72);
    let mut digits = itoa::Buffer::new();
    let left = digits.format(left_ms.map_or(0, |left_ms| left_ms.max(1))).as_bytes();
    let words: &[&[u8]] = &[b"RESTORE", key, left, &payload, b"REPLACE"];
    let words = if replace { words } else { &words[..4] };
    let mut call = Vec::with_capacity(wire::call_bytes(words));
    wire::put_call(&mut call, words);
    call
}
