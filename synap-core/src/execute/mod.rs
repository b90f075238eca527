//! The life of a call, on one screen: [`execute`] finds the row; [`call`] parses, admits, locks, runs, logs, tells and
//! unlocks. Scripts, transactions and served waiters enter at [`inner`], under locks that somebody else holds.
//!
//! | step | where |
//! |---|---|
//! | the gate | [`gate`], [`Turn`] |
//! | admit | [`admit`]; [`rights`]: users; [`eviction`]: full memory |
//! | lock | [`shards`], [`Turn::lock`] |
//! | run | [`context`]: `ReadCx`, `WriteCx`, the change guards |
//! | log, tell, unlock | [`finish`]; [`notify`]: keyspace events |
//! | MULTI … EXEC, WATCH | [`transaction`] |
//! | blocked calls | [`waiting`] |
//! | count, time | [`stats`], [`times`], [`slowlog`], [`latency`]; [`figures`] of the whole |
//! | client-side caching | [`tracking`] |
//! | snapshots | [`walk`] |
//! | keys that leave for another server | [`departure`] |

pub mod admit;
pub mod context;
pub mod departure;
pub mod eviction;
pub mod expiry;
pub mod figures;
pub mod finish;
pub mod gate;
pub mod guards;
pub mod latency;
pub mod monitor;
pub mod notify;
pub mod pause;
pub mod rights;
pub mod row;
pub mod shards;
pub mod slowlog;
pub mod state;
pub mod stats;
pub mod timer;
pub mod times;
pub mod tracking;
pub mod transaction;
mod turn;
pub mod waiting;
pub mod walk;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use context::{ReadCx, SessionCx, WalkCx, WriteCx};
pub use row::{BlockingCommand, Command, KeepingCommand, ReadCommand, SessionCommand, WalkCommand, WriteCommand};
pub use state::{Host, State};
#[cfg(any(test, feature = "testing"))]
pub use turn::LOCKED;
pub use turn::{Caller, Pass, Turn};

use crate::error::{Error, Result};
use crate::grammar::args::UNEVEN;
use crate::grammar::spec::ShapeKind;
use crate::grammar::{Arg, Family, How, Key, Keys, Parser, Words};
use crate::reply::check::Checked;
use crate::reply::{Reply, Tape};
use crate::session::{NullKind, Session, Waiter};
use admit::Admission;
use row::{Flags, Guise, Needs};

/// One call as it came through a door.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The words; not empty.
    pub words: Words<'a>,
    /// The same words as canonical RESP, when that is how they came: logged as they are.
    pub raw: Option<&'a [u8]>,
    /// The row, when a prefetcher has found it already.
    pub row: Option<&'static Command>,
    /// The hash of word 1, when a prefetcher has computed it already.
    pub hint: Option<u64>,
}

impl<'a> Input<'a> {
    pub fn words(words: Words<'a>) -> Input<'a> {
        Input { words, raw: None, row: None, hint: None }
    }
}

/// A call with its row.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub words: Words<'a>,
    pub raw: Option<&'a [u8]>,
    pub row: &'static Command,
    pub hint: Option<u64>,
}

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// Answered, with a result or an error.
    Replied,
    /// Nothing was done or written: run it again with the gate closed.
    NeedAlone,
    /// Nothing was done or written: run it again when the pause has ended, or a moment later when there is none: the disk
    /// does not keep up.
    Paused,
    /// Waits; see [`waiting`].
    Blocked(Arc<Waiter>),
    /// Answered; go on after this time.
    Sleep(Duration),
    /// Answered; close the connection when the answer is out.
    Quit,
    /// Close everything down.
    Shutdown(ShutdownOptions),
    /// Not answered yet: the reply comes outside of the gate.
    Later(Later),
}

/// A reply that somebody has to wait for (the disk, another server), as what will be played to the caller.
pub struct Later {
    pub reply: Pin<Box<dyn Future<Output = Tape> + Send>>,
    /// After so many milliseconds, the reply is this instead.
    pub timeout: Option<(u64, Box<dyn FnOnce() -> Tape + Send>)>,
    /// It is work that is carried through, even when nobody waits for the reply any more: the door runs it as a task of
    /// its own. Otherwise whoever does not wait any more drops it.
    pub goes_on: bool,
}

impl Later {
    pub fn new(reply: impl Future<Output = Tape> + Send + 'static) -> Later {
        Later { reply: Box::pin(reply), timeout: None, goes_on: false }
    }

    /// Work that is carried through.
    pub fn carried_through(work: impl Future<Output = Tape> + Send + 'static) -> Later {
        Later { goes_on: true, ..Later::new(work) }
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// The options of SHUTDOWN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Save even without save rules (`SAVE`), or never (`NOSAVE`).
    pub save: Option<bool>,
    pub now: bool,
    pub force: bool,
}

impl ShutdownOptions {
    /// As `shutdown-on-sigterm` and `shutdown-on-sigint` write them: words with blanks between. Where both are there,
    /// `save` counts.
    pub fn from_words(words: &str) -> ShutdownOptions {
        let has = |option: &str| words.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(option));
        let save = if has("save") { Some(true) } else { has("nosave").then_some(false) };
        ShutdownOptions { save, now: has("now"), force: has("force") }
    }
}

/// What a handler wants to happen after it.
#[derive(Debug)]
pub enum Flow {
    Done,
    /// Nothing was there: wait on the first `keys` keys of the call. Inside a transaction nobody waits, and the answer
    /// is `in_transaction`.
    Block {
        keys: usize,
        timeout_ms: Option<u64>,
        on_timeout: NullKind,
        in_transaction: NullKind,
    },
    Sleep(Duration),
    Quit,
    Shutdown(ShutdownOptions),
    NeedAlone,
    /// As [`Outcome::Paused`].
    Paused,
    /// As [`Outcome::Later`]. Rows that may say so have [`Flags::NO_MULTI`].
    Later(Later),
}

/// Runs one call. `reply` receives the answer, unless the outcome says that nothing was written.
pub fn execute(turn: &mut Turn<'_>, session: &mut Session, input: &Input<'_>, reply: &mut dyn Reply) -> Outcome {
    let state = turn.state;
    let row = match input.row.map_or_else(|| state.table.find(input.words), Ok) {
        Ok(row) => row,
        Err(error) => return refuse(turn, session, None, &error, reply),
    };
    let count = input.words.len() - row.name_words().min(input.words.len());
    if count < row.min_words || (row.fixed && count > row.min_words) {
        return unfit(turn, session, input, row, reply);
    }
    let call = Call { words: input.words, raw: input.raw, row, hint: input.hint };
    session.client.last_row.store(row.id as u32, Ordering::Relaxed);
    turn.answered_unrun = false;
    let outcome = (row.run.call)(&mut Caller { turn: &mut *turn, session }, &call, reply);
    match outcome {
        // A call that waits is counted when its wait ends.
        Outcome::NeedAlone | Outcome::Paused | Outcome::Blocked(_) => {}
        _ if turn.answered_unrun => {}
        _ => {
            let slept = if let Outcome::Sleep(time) = outcome { time } else { Duration::ZERO };
            turn.count(&call, session, slept);
            // Only its own task counts a client's calls.
            let calls = session.client.calls.load(Ordering::Relaxed) + 1;
            session.client.calls.store(calls, Ordering::Relaxed);
        }
    }
    outcome
}

/// A call that has too few or too many words, or whose name was changed by `rename-command`.
#[cold]
fn unfit(
    turn: &mut Turn<'_>,
    session: &mut Session,
    input: &Input<'_>,
    row: &'static Command,
    reply: &mut dyn Reply,
) -> Outcome {
    match row.guise {
        Guise::None => refuse(turn, session, Some(row), &Error::arity(&row.full_name()), reply),
        Guise::Closed(real) if admit::is_replay(session) => {
            execute(turn, session, &Input { row: Some(real), ..*input }, reply)
        }
        Guise::Closed(_) => refuse(turn, session, None, &turn.state.table.unknown(input.words), reply),
        Guise::Renamed(real) => {
            // From here on it has its own name: in the log, for MONITOR, in MULTI.
            let words: Vec<&[u8]> =
                std::iter::once(real.first_word().as_bytes()).chain(input.words[1..].iter().copied()).collect();
            execute(turn, session, &Input { words: &words, raw: None, row: Some(real), hint: input.hint }, reply)
        }
    }
}

/// Answers an error that came before the call could run; one in MULTI breaks the transaction, and one of EXEC ends it.
fn refuse(
    turn: &mut Turn<'_>,
    session: &mut Session,
    row: Option<&Command>,
    error: &Error,
    reply: &mut dyn Reply,
) -> Outcome {
    turn.state.stats.rejected(row, error);
    turn.answered_unrun = true;
    if row.is_some_and(|row| row.flags.has(Flags::ENDS_MULTI)) {
        reply.error(&transaction::abort(turn, session, error));
        return Outcome::Replied;
    }
    if let Some(transaction) = &mut session.transaction {
        transaction.broken = true;
    }
    reply.error(error);
    Outcome::Replied
}

/// Answers the error of a call that ran, or that would have run but for its arguments.
fn fail(state: &State, call: &Call<'_>, error: &Error, reply: &mut dyn Reply) -> Outcome {
    state.stats.failed(call.row, error);
    reply.error(error);
    Outcome::Replied
}

/// The argument struct of a row, read from the words.
fn parse<'w, C>(state: &State, call: &Call<'w>, keys: &mut Keys) -> Result<C::Of<'w>>
where
    C: Family,
    C::Of<'w>: Arg<'w>,
{
    let mut parser = Parser::new(call.words, call.row.name_words(), state.hasher, keys).with_hint(call.hint);
    read_all::<C>(&mut parser)
        .map_err(|error| if error == UNEVEN { Error::arity(&call.row.full_name()) } else { error })
}

fn read_all<'w, C>(parser: &mut Parser<'w, '_>) -> Result<C::Of<'w>>
where
    C: Family,
    C::Of<'w>: Arg<'w>,
{
    let args = <C::Of<'w> as Arg<'w>>::read(parser, How::PLAIN)?;
    parser.finish()?;
    Ok(args)
}

/// In debug builds every reply is held against what the row says it returns, so that every test is a test of shapes.
#[inline]
fn held_to_its_shape(
    row: &'static Command,
    reply: &mut dyn Reply,
    run: impl FnOnce(&mut dyn Reply) -> Result<Flow>,
) -> Result<Flow> {
    if !cfg!(debug_assertions) || matches!(row.returns.kind, ShapeKind::Nothing) {
        return run(reply);
    }
    let mut checked = Checked::new(reply, &row.returns);
    let flow = run(&mut checked);
    if matches!(flow, Ok(Flow::Done | Flow::Sleep(_) | Flow::Quit))
        && let Err(mismatch) = checked.finish()
    {
        panic!("{} does not return what its row says: {mismatch}", row.name);
    }
    flow
}

/// How a kind of handler is run under locks. The kinds differ in what they may touch, which their contexts say.
pub trait Mode<A> {
    /// A key that is not there is a miss.
    const READS: bool = false;
    /// Before anything is locked.
    #[inline]
    fn prepare(_args: &mut A, _state: &State) {}
    fn run(args: A, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow>;
    fn alone(args: &A) -> bool;
}

pub struct Reads;
pub struct Writes;
pub struct Keeps;
pub struct Blocks;

impl<A: ReadCommand> Mode<A> for Reads {
    const READS: bool = true;
    #[inline]
    fn run(args: A, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        args.run(cx, reply).map(|()| Flow::Done)
    }
    fn alone(args: &A) -> bool {
        args.alone()
    }
}

impl<A: WriteCommand> Mode<A> for Writes {
    #[inline]
    fn prepare(args: &mut A, state: &State) {
        args.prepare(state);
    }
    #[inline]
    fn run(args: A, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        args.run(cx, reply).map(|()| Flow::Done)
    }
    fn alone(args: &A) -> bool {
        args.alone()
    }
}

impl<A: KeepingCommand> Mode<A> for Keeps {
    const READS: bool = true;
    fn run(args: A, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        args.run(cx, reply).map(|()| Flow::Done)
    }
    fn alone(_: &A) -> bool {
        false
    }
}

impl<A: BlockingCommand> Mode<A> for Blocks {
    fn run(args: A, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        args.run(cx, reply)
    }
    fn alone(_: &A) -> bool {
        false
    }
}

/// The life of a call that touches keys: DESIGN section 2, steps 2 to 8.
pub fn call<C, M>(caller: &mut Caller<'_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Outcome
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w>,
    for<'w> M: Mode<C::Of<'w>>,
{
    let state = caller.turn.state;
    let mut keys = Keys::default();
    let parsed = parse::<C>(state, call, &mut keys);
    match admit::admit(caller, call, &keys, reply) {
        Admission::Go => {}
        Admission::Elsewhere(outcome) => return outcome,
    }
    let mut args = match parsed {
        Ok(args) => args,
        Err(error) => return fail(state, call, &error, reply),
    };
    M::prepare(&mut args, state);
    let Caller { turn, session } = caller;
    let Some(mut cx) = turn.lock(call, &keys, session.db, M::alone(&args)) else { return Outcome::NeedAlone };
    cx.keep_quiet_for(session);
    cx.count_lookups(M::READS);
    monitor::show(&mut cx, session, call);
    cx.meet(call.words, &keys);
    let mark = reply.mark();
    if M::READS {
        cx.note_misses(call.words, &keys);
    }
    let flow = held_to_its_shape(call.row, reply, |reply| M::run(args, &mut cx, reply));
    if session.tracking.is_some() {
        cx.remember(session, M::READS, call.words, &keys);
    }
    finish::finish(&mut cx, call, &keys, session, flow, mark, reply)
}

/// The handler alone, under locks that the caller holds. Its effects are logged by the caller.
pub fn inner<C, M>(cx: &mut WriteCx<'_>, call: &Call<'_>, reply: &mut dyn Reply) -> Result<Flow>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w>,
    for<'w> M: Mode<C::Of<'w>>,
{
    let mut keys = Keys::default();
    let args = parse::<C>(cx.state(), call, &mut keys)?;
    cx.meet(call.words, &keys);
    cx.count_lookups(M::READS);
    if M::READS {
        cx.note_misses(call.words, &keys);
    }
    held_to_its_shape(call.row, reply, |reply| M::run(args, cx, reply))
}

/// Parses only.
pub fn plan<C, M>(parser: &mut Parser<'_, '_>) -> Result<Needs>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w>,
    for<'w> M: Mode<C::Of<'w>>,
{
    read_all::<C>(parser).map(|args| Needs { alone: M::alone(&args) })
}

/// The life of a call that reads shard after shard.
pub fn call_walk<C>(caller: &mut Caller<'_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Outcome
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + WalkCommand,
{
    let state = caller.turn.state;
    let mut keys = Keys::default();
    let parsed = parse::<C>(state, call, &mut keys);
    match admit::admit(caller, call, &keys, reply) {
        Admission::Go => {}
        Admission::Elsewhere(outcome) => return outcome,
    }
    monitor::show_now(state, caller.session, caller.session.db, call);
    let mark = reply.mark();
    let mut cx = WalkCx::free(caller.turn, caller.session.db);
    let run = |reply: &mut dyn Reply| parsed.and_then(|args| args.run(&mut cx, reply)).map(|()| Flow::Done);
    let flow = held_to_its_shape(call.row, reply, run);
    caller.session.seen = caller.session.seen.max(cx.seen());
    if let Err(error) = flow {
        reply.rollback(mark);
        return fail(state, call, &error, reply);
    }
    Outcome::Replied
}

pub fn inner_walk<C>(cx: &mut WriteCx<'_>, call: &Call<'_>, reply: &mut dyn Reply) -> Result<Flow>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + WalkCommand,
{
    let args = parse::<C>(cx.state(), call, &mut Keys::default())?;
    args.run(&mut WalkCx::inside(cx), reply).map(|()| Flow::Done)
}

pub fn plan_walk<C>(parser: &mut Parser<'_, '_>) -> Result<Needs>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + WalkCommand,
{
    // Inside a transaction a walk may reach any shard.
    read_all::<C>(parser).map(|_| Needs { alone: true })
}

/// The life of a call that acts on the connection or the server.
pub fn call_session<C>(caller: &mut Caller<'_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Outcome
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + SessionCommand,
{
    let state = caller.turn.state;
    let mut keys = Keys::default();
    let parsed = parse::<C>(state, call, &mut keys);
    match admit::admit(caller, call, &keys, reply) {
        Admission::Go => {}
        Admission::Elsewhere(outcome) => return outcome,
    }
    let args = match parsed {
        Ok(args) => args,
        Err(error) => return fail(state, call, &error, reply),
    };
    if args.alone() && !caller.turn.is_alone() {
        return Outcome::NeedAlone;
    }
    let mark = reply.mark();
    let db = caller.session.db;
    let mut cx = SessionCx { caller, call, inside: None };
    let flow = held_to_its_shape(call.row, reply, |reply| args.run(&mut cx, reply));
    if !matches!(flow, Ok(Flow::NeedAlone | Flow::Paused)) {
        monitor::show_now(state, caller.session, db, call);
    }
    match flow {
        Ok(Flow::Done | Flow::Block { .. }) => Outcome::Replied,
        Ok(Flow::Sleep(time)) => Outcome::Sleep(time),
        Ok(Flow::Quit) => Outcome::Quit,
        Ok(Flow::Shutdown(options)) => Outcome::Shutdown(options),
        Ok(Flow::NeedAlone) => Outcome::NeedAlone,
        Ok(Flow::Paused) => Outcome::Paused,
        Ok(Flow::Later(later)) => Outcome::Later(later),
        Err(error) => {
            reply.rollback(mark);
            let outcome = fail(state, call, &error, reply);
            match std::mem::take(&mut caller.session.penalty) {
                Duration::ZERO => outcome,
                // A wrong password: others go on, and whoever gave it hears of it later.
                penalty => Outcome::Sleep(penalty),
            }
        }
    }
}

pub fn inner_session<C>(cx: &mut SessionCx<'_, '_, '_>, call: &Call<'_>, reply: &mut dyn Reply) -> Result<Flow>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + SessionCommand,
{
    let args = parse::<C>(cx.state(), call, &mut Keys::default())?;
    args.run(cx, reply)
}

pub fn plan_session<C>(parser: &mut Parser<'_, '_>) -> Result<Needs>
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + SessionCommand,
{
    read_all::<C>(parser).map(|args| Needs { alone: <C::Of<'_> as SessionCommand>::WALKS || args.alone() })
}

/// [`row::Run::ready`] of a blocking row.
pub fn ready<C>(cx: &ReadCx<'_>, key: &Key<'_>) -> bool
where
    C: Family,
    for<'w> C::Of<'w>: Arg<'w> + BlockingCommand,
{
    <C::Of<'static> as BlockingCommand>::ready(cx, key)
}

/// [`row::Run::ready`] of a row that does not wait.
pub fn never_ready(_: &ReadCx<'_>, _: &Key<'_>) -> bool {
    false
}
