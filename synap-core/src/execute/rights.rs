//! Whether a user may run a call, and who logs in as whom. A call that passes here for the user that may do everything
//! has cost one load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Call;
use super::row::{Command, Flags};
use super::state::State;
use crate::access::refusals::{Context, Noted, Reason};
use crate::access::secret::Digest;
use crate::access::users::{Change, terms};
use crate::access::{Asked, Denial, Terms, User};
use crate::error::{Code, Error, Result};
use crate::grammar::{Keys, Parser, Words};
use crate::session::{Client, Kind, Session, Waiter, key_of};
use crate::settings;

/// Whether the session's user may run `call` with these keys and channels.
#[inline]
pub(super) fn check(
    state: &State,
    session: &mut Session,
    call: &Call<'_>,
    keys: &Keys,
    context: Context,
) -> Result<()> {
    match &session.user {
        Some(user) if user.is_free() => Ok(()),
        _ => look_closely(state, session, call, keys, context),
    }
}

#[cold]
fn look_closely(state: &State, session: &mut Session, call: &Call<'_>, keys: &Keys, context: Context) -> Result<()> {
    let context = match context {
        Context::Toplevel if session.transaction.is_some() => Context::Multi,
        other => other,
    };
    refresh(state, session);
    let Some(user) = &session.user else {
        let is_open = call.row.flags.has(Flags::NO_AUTH);
        return if is_open { Ok(()) } else { Err(NO_LOGIN) };
    };
    judge(state, &session.client, user, call, keys, context)
}

const NO_LOGIN: Error = Error::new(Code::NoAuth, "Authentication required.");

/// Finds the user of now: it may have been changed or removed, or the default one may ask for no password any more.
fn refresh(state: &State, session: &mut Session) {
    match &session.user {
        Some(user) if !user.is_superseded() => {}
        Some(user) => session.user = state.users.get(&user.name),
        // Whoever was ended with its user becomes nobody else.
        None if session.client.is_killed() => {}
        None => session.user = Some(state.users.default_user()).filter(|user| user.is_open()),
    }
}

/// What was refused is counted and noted.
fn judge(state: &State, client: &Client, user: &User, call: &Call<'_>, keys: &Keys, context: Context) -> Result<()> {
    let Some(denial) = user.denial(&asked(call.row, call.words, keys)) else { return Ok(()) };
    let name = call.row.full_name();
    let (reason, object) = match denial {
        Denial::Command => (Reason::Command, name.as_bytes()),
        Denial::AnyKey => (Reason::Key, &b"*"[..]),
        Denial::Key(index) => (Reason::Key, call.words[index as usize]),
        Denial::Channel(index) => (Reason::Channel, call.words[index as usize]),
    };
    note(state, client, reason, context, object, user.name.as_bytes());
    let text = match reason {
        Reason::Key => return Err(NO_KEY_RIGHT),
        Reason::Channel => "No permissions to access a channel".into(),
        Reason::Command | Reason::Auth => may_not_run(user, &name).into(),
    };
    Err(Error { code: Code::NoPerm, text })
}

fn may_not_run(user: &User, name: &str) -> String {
    format!("User {} has no permissions to run the '{name}' command", user.name)
}

fn asked<'a>(row: &Command, words: Words<'a>, keys: &'a Keys) -> Asked<'a> {
    Asked {
        row: row.id,
        is_open: row.flags.has(Flags::NO_AUTH),
        access: row.default_access(),
        words,
        name_words: row.name_words(),
        keys,
    }
}

fn note(state: &State, client: &Client, reason: Reason, context: Context, object: &[u8], username: &[u8]) {
    let now_ms = state.clock.now_ms();
    let entries_max = usize::try_from(state.settings.int(settings::ACLLOG_MAX_LEN)).unwrap_or(usize::MAX);
    let client = state.table.describe(client, state, now_ms);
    state.users.refusals.note(Noted { reason, context, object, username, client }, now_ms, entries_max);
}

/// What stands against a call that waited, now that it can be served: its user may not be what it was when the wait
/// began.
pub(super) fn check_waiter(state: &State, waiter: &Waiter, call: &Call<'_>) -> Result<()> {
    let Some(old) = waiter.user.as_ref().filter(|user| user.is_superseded()) else { return Ok(()) };
    let Some(user) = state.users.get(&old.name) else {
        return Err(NO_LOGIN);
    };
    let keys = keys_of(state, call.row, call.words);
    judge(state, &waiter.client, &user, call, &keys, Context::Toplevel)
}

fn keys_of(state: &State, row: &Command, words: Words<'_>) -> Keys {
    let mut keys = Keys::default();
    let mut parser = Parser::new(words, row.name_words(), state.hasher, &mut keys);
    // A call with a wrong option still touches its keys.
    let _ = (row.run.plan)(&mut parser);
    keys
}

/// What `user` would be told if it made this call: `ACL DRYRUN`. Nothing is noted.
pub fn dry_run(state: &State, user: &User, row: &Command, words: Words<'_>) -> Option<String> {
    let keys = keys_of(state, row, words);
    let no_access = |what: &str, word: &[u8]| {
        format!("User {} has no permissions to access the '{}' {what}", user.name, Error::quote(word))
    };
    Some(match user.denial(&asked(row, words, &keys))? {
        Denial::Command => may_not_run(user, &row.full_name()),
        Denial::AnyKey => no_access("key", b"*"),
        Denial::Key(index) => no_access("key", words[index as usize]),
        Denial::Channel(index) => no_access("channel", words[index as usize]),
    })
}

/// Whether the session's user may read `key`, as with `GET key`: for what is told of keys outside of calls. Nothing is
/// noted.
pub fn may_read(state: &State, session: &Session, key: &[u8]) -> bool {
    match &session.user {
        Some(user) if !user.is_superseded() => user_may_read(state, user, key),
        Some(user) => state.users.get(&user.name).is_some_and(|user| user_may_read(state, &user, key)),
        None => false,
    }
}

fn user_may_read(state: &State, user: &User, key: &[u8]) -> bool {
    let words: [&[u8]; 2] = [b"GET", key];
    user.is_free() || state.table.find(&words).is_ok_and(|row| dry_run(state, user, row, &words).is_none())
}

/// Refuses a session whose user may read no key at all, as with `GET`: it has nothing to hear of any of them.
pub fn may_listen_to_keys(state: &State, session: &mut Session) -> Result<()> {
    refresh(state, session);
    let user = session.user.as_ref().ok_or(NO_LOGIN)?;
    match user_reads_some_key(state, user) {
        true => Ok(()),
        false => Err(Error { code: Code::NoPerm, text: may_not_run(user, "get").into() }),
    }
}

fn user_reads_some_key(state: &State, user: &User) -> bool {
    user.is_free() || state.table.find(&[b"GET"]).is_ok_and(|row| user.may_run(row.id))
}

pub const NO_KEY_RIGHT: Error = Error::new(Code::NoPerm, "No permissions to access a key");

// ---- logging in ----

/// What logs somebody in.
#[derive(Clone, Copy)]
pub enum Login<'a> {
    Password {
        name: &'a [u8],
        password: &'a [u8],
    },
    /// The secret of an API key.
    Key(&'a [u8]),
}

/// Logs the session in. A refusal is noted as one of `object`, and the session has to wait before its answer leaves:
/// see [`Session::penalty`].
pub fn log_in(state: &State, session: &mut Session, login: Login<'_>, object: &[u8]) -> Result<()> {
    let now_ms = state.clock.now_ms();
    let result = match login {
        Login::Password { name, password } => state.users.login(name, password),
        Login::Key(secret) => state.users.login_with_key(secret, now_ms),
    };
    match result {
        Ok(user) => {
            session.log_in(user);
            if let Login::Key(secret) = login {
                session.client.info.lock().key = Some(Digest::of(secret));
            }
            Ok(())
        }
        Err(error) => {
            let name = match login {
                Login::Password { name, .. } => name,
                Login::Key(_) => b"(apikey)",
            };
            let context = if session.transaction.is_some() { Context::Multi } else { Context::Toplevel };
            note(state, &session.client, Reason::Auth, context, object, name);
            let (count, delay) = state.users.patience.refused(&session.client.addr, now_ms);
            session.penalty += delay;
            // Not each of them: whoever tries passwords would write our log.
            if count.is_power_of_two() {
                state.host().login_refused(&Error::quote(name), &session.client.addr, count);
            }
            Err(error)
        }
    }
}

// ---- changes ----

/// What rules mean in this engine.
pub fn terms_of(state: &State) -> Terms<'_> {
    terms(state.table, &state.settings)
}

/// Ends the clients whose user is gone, and those that listen to a channel or a key that is not for their user any more.
/// Who listens to a pattern of keys goes on: each change is looked at before it is told.
pub fn follow(state: &State, changes: &[Change]) {
    let gone: BTreeSet<&str> = changes.iter().filter(|c| c.new.is_none()).map(|c| &*c.old.name).collect();
    let narrowed = |change: &&Change| change.new.as_ref().is_some_and(|new| !new.keeps_channels_of(&change.old));
    let narrowed: BTreeMap<&str, &User> =
        changes.iter().filter(narrowed).filter_map(|c| Some((&*c.old.name, &**c.new.as_ref()?))).collect();
    let mut doomed = Vec::new();
    if !gone.is_empty() {
        let is_gone = |client: &Arc<Client>| gone.contains(&*client.info.lock().user);
        doomed.extend(state.registry.all().into_iter().filter(is_gone));
    }
    if !narrowed.is_empty() {
        doomed.extend(state.channels.listeners_that(&Kind::OF_CHANNELS, |kind, channel, client| {
            let user = narrowed.get(&*client.info.lock().user);
            user.is_some_and(|user| !user.may_use_channel(channel, kind == Kind::Pattern))
        }));
    }
    let changed: BTreeMap<&str, &User> =
        changes.iter().filter_map(|c| Some((&*c.old.name, &**c.new.as_ref()?))).collect();
    doomed.extend(state.channels.listeners_that(&Kind::OF_KEYS, |kind, name, client| {
        let user = changed.get(&*client.info.lock().user);
        user.is_some_and(|user| match kind {
            Kind::Key => !user_may_read(state, user, key_of(name)),
            _ => !user_reads_some_key(state, user),
        })
    }));
    doomed.iter().for_each(|client| client.kill());
}

/// Ends an API key and the clients that came with it, but for `own`; false when there is no such key.
pub fn revoke_key(state: &State, id: &str, own: &Client) -> bool {
    let Some(revoked) = state.users.revoke_key(id) else { return false };
    let came_with_it = |client: &Arc<Client>| client.id != own.id && client.info.lock().key == Some(revoked);
    state.registry.all().iter().filter(|client| came_with_it(client)).for_each(|client| client.kill());
    true
}
