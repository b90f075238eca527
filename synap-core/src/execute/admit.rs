//! Whether a call may run now: rights, disk, loading, pause, and whether it is queued instead.

use std::sync::atomic::Ordering;

use super::row::Flags;
use super::state::State;
use super::{Call, Caller, Outcome};
use crate::error::{Code, Error, Result};
use crate::grammar::{Keys, Parser};
use crate::reply::Reply;
use crate::session::{Door, Session};

/// The answer of [`admit`].
pub enum Admission {
    Go,
    /// It was answered, queued or put off.
    Elsewhere(Outcome),
}

/// Decides for a parsed call. Runs inside the gate, so what it saw is still true when the call runs.
#[inline]
pub fn admit(caller: &mut Caller<'_, '_>, call: &Call<'_>, keys: &Keys, reply: &mut dyn Reply) -> Admission {
    if let Err(error) = check(caller.session, call, keys) {
        return Admission::Elsewhere(super::refuse(caller.turn, caller.session, Some(call.row), &error, reply));
    }
    if let Err(error) = serves(caller, call) {
        return Admission::Elsewhere(super::refuse(caller.turn, caller.session, Some(call.row), &error, reply));
    }
    if caller.session.transaction.is_some() && !call.row.flags.has(Flags::IMMEDIATE) {
        return Admission::Elsewhere(queue(caller, call, reply));
    }
    if caller.turn.state.pause.holds(call.row, caller.turn.now_ms) && !is_replay(caller.session) {
        caller.session.paused_at = caller.turn.state.pause.change_count();
        return Admission::Elsewhere(Outcome::Paused);
    }
    if call.row.writes() && caller.turn.state.is_behind() && !is_replay(caller.session) {
        return Admission::Elsewhere(Outcome::Paused);
    }
    Admission::Go
}

/// Whether the server is in a state to run `call`.
#[inline]
fn serves(caller: &Caller<'_, '_>, call: &Call<'_>) -> Result<()> {
    let state = caller.turn.state;
    if state.log.is_failing() && call.row.writes() {
        return Err(misconf(state));
    }
    if state.loading.load(Ordering::Relaxed) && !call.row.flags.has(Flags::LOADING) && !is_replay(caller.session) {
        return Err(Error::new(Code::Loading, "Synap is loading the dataset in memory"));
    }
    Ok(())
}

pub(super) fn is_replay(session: &Session) -> bool {
    session.client.door == Door::Log
}

#[cold]
fn misconf(state: &State) -> Error {
    let why = state.storage().and_then(|storage| storage.refusal());
    why.unwrap_or_else(|| Error::new(Code::Misconf, "the log cannot be written"))
}

/// Whether the session's user may run `call` with these keys and channels.
pub(super) fn check(session: &Session, call: &Call<'_>, keys: &Keys) -> Result<()> {
    let row = call.row;
    let Some(user) = &session.user else {
        return if row.flags.has(Flags::NO_AUTH) {
            Ok(())
        } else {
            Err(Error::new(Code::NoAuth, "Authentication required."))
        };
    };
    if !user.may_run(row.id) && !row.flags.has(Flags::NO_AUTH) {
        return Err(no_right(format!(
            "User {} has no permissions to run the '{}' command",
            user.name,
            row.full_name()
        )));
    }
    if !user.all_keys() {
        for key in &keys.keys {
            if !user.may_touch(row.access(key.access), call.words[key.index as usize]) {
                return Err(NO_KEY_RIGHT);
            }
        }
    }
    if keys.reads_any && !user.may_read_all_keys() {
        return Err(NO_KEY_RIGHT);
    }
    for &(index, is_pattern) in &keys.channels {
        if !user.may_use_channel(call.words[index as usize], is_pattern) {
            return Err(no_right("No permissions to access a channel".into()));
        }
    }
    if session.is_subscriber_only() && !row.flags.has(Flags::SUBSCRIBER) {
        return Err(Error::fmt(format!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            row.full_name()
        )));
    }
    Ok(())
}

/// Whether the session's user may read the key, as with `GET key`: for what is told of keys outside of calls.
pub fn may_read(state: &State, session: &Session, key: &[u8]) -> bool {
    let words: [&[u8]; 2] = [b"GET", key];
    let Ok(row) = state.table.find(&words) else { return false };
    let mut keys = Keys::default();
    let planned = (row.run.plan)(&mut Parser::new(&words, row.name_words(), state.hasher, &mut keys));
    planned.is_ok() && check(session, &Call { words: &words, raw: None, row, hint: None }, &keys).is_ok()
}

pub const NO_KEY_RIGHT: Error = Error::new(Code::NoPerm, "No permissions to access a key");

fn no_right(text: String) -> Error {
    Error { code: Code::NoPerm, text: text.into() }
}

/// MULTI is open: the call waits for EXEC. A syntax error is kept with it and answered there.
fn queue(caller: &mut Caller<'_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Outcome {
    let Some(transaction) = &mut caller.session.transaction else { return Outcome::Replied };
    if call.row.flags.has(Flags::NO_MULTI) {
        let error = Error::err("Command not allowed inside a transaction");
        return super::refuse(caller.turn, caller.session, Some(call.row), &error, reply);
    }
    if transaction.broken || transaction.queue(call.words) {
        let count = transaction.calls.len();
        caller.session.client.queued.store(count as i64, Ordering::Relaxed);
        caller.turn.answered_unrun = true;
        reply.status("QUEUED");
    } else {
        reply.error(&Error::err("transaction is too large"));
    }
    Outcome::Replied
}
