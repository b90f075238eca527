//! Snapshots and the log on disk: SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, WAITAOF.

use std::sync::Arc;

use synap_derive::Args;

use super::server::{DEBUG, SERVER};
use crate::access::Category;
use crate::error::{Error, Result};
use crate::execute::row::{Command, Flags, Group, Tool};
use crate::execute::state::{KeptLog, SaveKind, Saved, State, Storage};
use crate::execute::{Flow, Later, SessionCommand, SessionCx};
use crate::grammar::numbers::{Count, Int};
use crate::grammar::spec::Shape;
use crate::reply::{Reply, Tape};

const WAITING: Group = Group { name: "generic", op: "server", category: Category::CONNECTION };

pub const COMMANDS: &[Command] = &[SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, WAITAOF, DEBUG_RELOAD, DEBUG_LOADAOF];

fn storage(state: &State) -> Result<&Arc<dyn Storage>> {
    state.storage().ok_or(Error::err("There is no data folder: this server keeps everything in memory"))
}

/// The reply when a snapshot is made, or the data are loaded: OK, or why not. The work goes on without whoever asked.
fn when_done(saved: Saved, resp3: bool) -> Flow {
    let mut tape = Tape::new(resp3);
    Flow::Later(Later::new(async move {
        match saved.done.await {
            Ok(()) => tape.ok(),
            Err(error) => tape.error(&error),
        }
        tape
    }))
}

#[derive(Args)]
pub struct Save;

impl SessionCommand for Save {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        let saved = storage(cx.state())?.save(SaveKind::Foreground)?;
        Ok(when_done(saved, cx.session().resp3))
    }
}

pub const SAVE: Command = Command {
    name: "SAVE",
    op: "server.save",
    since: "1.0.0",
    summary: "Makes a snapshot and answers when it is on disk. Others go on meanwhile.",
    complexity: "O(N) for N keys",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_MULTI).and(Flags::NO_ASYNC_LOADING),
    ..SERVER.session::<Save>()
};

#[derive(Args)]
pub struct BgSave {
    /// Behind the one that is on, instead of an error.
    #[arg(token = "SCHEDULE")]
    schedule: bool,
}

impl SessionCommand for BgSave {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let kind = if self.schedule { SaveKind::Schedule } else { SaveKind::Background };
        let saved = storage(cx.state())?.save(kind)?;
        reply.status(if saved.scheduled { "Background saving scheduled" } else { "Background saving started" });
        Ok(Flow::Done)
    }
}

pub const BGSAVE: Command = Command {
    name: "BGSAVE",
    op: "server.bgsave",
    since: "1.0.0",
    summary: "Begins to make a snapshot.",
    returns: Shape::status("status", "Whether it has begun, or is scheduled."),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
    ..SERVER.session::<BgSave>()
};

#[derive(Args)]
pub struct BgRewriteAof;

impl SessionCommand for BgRewriteAof {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let saved = storage(cx.state())?.save(SaveKind::Rewrite)?;
        reply.status(match saved.scheduled {
            true => "Background append only file rewriting scheduled",
            false => "Background append only file rewriting started",
        });
        Ok(Flow::Done)
    }
}

pub const BGREWRITEAOF: Command = Command {
    name: "BGREWRITEAOF",
    op: "server.bgrewriteaof",
    since: "1.0.0",
    summary: "Begins to make a snapshot; the log begins there when it is made.",
    returns: Shape::status("status", "Whether it has begun, or is scheduled."),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
    ..SERVER.session::<BgRewriteAof>()
};

#[derive(Args)]
pub struct LastSave;

impl SessionCommand for LastSave {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        reply.int(state.storage().map_or(state.started_ms / 1000, |storage| storage.last_save_s()));
        Ok(Flow::Done)
    }
}

pub const LASTSAVE: Command = Command {
    name: "LASTSAVE",
    op: "server.lastsave",
    since: "1.0.0",
    summary: "Tells when the last snapshot was made.",
    returns: Shape::int("time", "Unix seconds."),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::LOOKS),
    categories: Category::ADMIN.and(Category::DANGEROUS),
    ..SERVER.session::<LastSave>()
};

#[derive(Args)]
pub struct DebugReload;

impl SessionCommand for DebugReload {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        crate::persist::load::reload(cx.caller().turn)
            .map_err(|error| Error::fmt(format!("Error trying to load the RDB dump: {error}")))?;
        reply.ok();
        Ok(Flow::Done)
    }

    /// So that nobody sees half of it.
    fn alone(&self) -> bool {
        true
    }
}

pub const DEBUG_RELOAD: Command = Command {
    name: "DEBUG RELOAD",
    op: "debug.reload",
    since: "1.0.0",
    summary: "Makes a snapshot of all data in memory and loads it. Everybody waits meanwhile.",
    complexity: "O(N) for N keys",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_MULTI),
    ..DEBUG.session::<DebugReload>()
};

#[derive(Args)]
pub struct DebugLoadAof;

impl SessionCommand for DebugLoadAof {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        let loaded = storage(cx.state())?.reload()?;
        Ok(when_done(loaded, cx.session().resp3))
    }
}

pub const DEBUG_LOADAOF: Command = Command {
    name: "DEBUG LOADAOF",
    op: "debug.loadaof",
    since: "1.0.0",
    summary: "Drops all data and loads them again, from the newest snapshot and the log behind it. Others are refused meanwhile, as they are at a start.",
    complexity: "O(N) for N bytes of the files",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_MULTI),
    ..DEBUG.session::<DebugLoadAof>()
};

#[derive(Args)]
pub struct WaitAof {
    /// 1 to wait until this server has fsynced what the connection wrote.
    numlocal: Int<0, 1>,
    /// Replicas that have to have fsynced it.
    numreplicas: Count,
    /// Milliseconds; 0 waits for ever.
    timeout: i64,
}

impl SessionCommand for WaitAof {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let timeout_ms = u64::try_from(self.timeout).map_err(|_| Error::err("timeout is negative"))?;
        let state = cx.state().shared().ok_or(Error::err("the server is closing"))?;
        const NO_LOG: Error = Error::err("WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        if state.kept_log() == KeptLog::None && self.numlocal.0 > 0 {
            return Err(NO_LOG);
        }
        let offset = cx.session().seen;
        let is_safe = move |state: &State| state.kept_log() == KeptLog::Whole && state.log.released() >= offset;
        let answer = move |state: &State, reply: &mut dyn Reply| {
            reply.array(2);
            reply.int(i64::from(is_safe(state)));
            reply.int(0);
        };
        let is_reached = is_safe(&state) || self.numlocal.0 == 0;
        if cx.is_inside() || (is_reached && self.numreplicas.0 == 0) {
            answer(&state, reply);
            return Ok(Flow::Done);
        }
        if let Some(storage) = state.storage() {
            storage.request_sync();
        }
        let (mut tape, resp3) = (Tape::new(cx.session().resp3), cx.session().resp3);
        let (waits_here, waits_for_replicas) = (self.numlocal.0 > 0, self.numreplicas.0 > 0);
        let at_end = Arc::clone(&state);
        let wait = async move {
            while waits_here && !is_safe(&state) {
                state.log.released_at(offset).await;
                if let Some(storage) = state.storage() {
                    storage.log_begun().await;
                }
                if state.kept_log() == KeptLog::None {
                    tape.error(&NO_LOG);
                    return tape;
                }
            }
            if waits_for_replicas {
                // There are none yet.
                std::future::pending::<()>().await;
            }
            answer(&state, &mut tape);
            tape
        };
        let timed_out = move || {
            let mut tape = Tape::new(resp3);
            answer(&at_end, &mut tape);
            tape
        };
        let timeout = (timeout_ms > 0).then(|| (timeout_ms, Box::new(timed_out) as Box<_>));
        Ok(Flow::Later(Later { timeout, ..Later::new(wait) }))
    }
}

pub const WAITAOF: Command = Command {
    name: "WAITAOF",
    op: "server.waitaof",
    since: "7.2.0",
    summary: "Waits until what this connection has written is safe on disk.",
    returns: Shape::tuple(
        "safe",
        "Where it is.",
        &[Shape::int("local", "1 when this server has fsynced it."), Shape::int("replicas", "How many replicas have.")],
    ),
    tool: Tool::Never,
    flags: Flags::BLOCKING,
    ..WAITING.session::<WaitAof>()
};
