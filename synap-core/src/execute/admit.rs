//! Whether a call may run now: rights, disk, loading, memory, pause, and whether it is queued instead.

use std::sync::atomic::Ordering;

use super::row::Flags;
use super::state::State;
use super::{Call, Caller, Outcome, eviction, rights};
use crate::access::refusals::Context;
use crate::error::{Code, Error, Result};
use crate::grammar::Keys;
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
    if let Err(error) = check(caller.turn.state, caller.session, call, keys, Context::Toplevel) {
        return Admission::Elsewhere(super::refuse(caller.turn, caller.session, Some(call.row), &error, reply));
    }
    if let Err(error) = serves(caller, call) {
        return Admission::Elsewhere(super::refuse(caller.turn, caller.session, Some(call.row), &error, reply));
    }
    if caller.turn.state.eviction.is_over(caller.turn.state)
        && let Err(error) = eviction::admit(caller, call)
    {
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

/// Whether the session's user may run `call`, and whether it makes sense on its connection.
#[inline]
pub(super) fn check(
    state: &State,
    session: &mut Session,
    call: &Call<'_>,
    keys: &Keys,
    context: Context,
) -> Result<()> {
    rights::check(state, session, call, keys, context)?;
    if session.is_subscriber_only() && !call.row.flags.has(Flags::SUBSCRIBER) {
        return Err(Error::fmt(format!(
            "Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            call.row.full_name()
        )));
    }
    Ok(())
}

/// MULTI is open: the call waits for EXEC. A syntax error is kept with it and answered there.
fn queue(caller: &mut Caller<'_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Outcome {
    let Some(transaction) = &mut caller.session.transaction else { return Outcome::Replied };
    if call.row.flags.has(Flags::NO_MULTI) {
        let error = Error::err("Command not allowed inside a transaction");
        return super::refuse(caller.turn, caller.session, Some(call.row), &error, reply);
    }
    if transaction.broken || transaction.queue(call.words) {
        transaction.needs_room |= call.row.flags.has(Flags::DENYOOM);
        let count = transaction.calls.len();
        let bytes = transaction.bytes;
        caller.session.client.queued.store(count as i64, Ordering::Relaxed);
        caller.session.client.multi_bytes.store(bytes, Ordering::Relaxed);
        caller.turn.answered_unrun = true;
        reply.status("QUEUED");
    } else {
        reply.error(&Error::err("transaction is too large"));
    }
    Outcome::Replied
}
