//! Transactions.

use super::prelude::*;
use crate::execute::transaction;
use crate::session::Transaction;

const TRANSACTIONS: Group = Group { name: "transactions", op: "transaction", category: Category::TRANSACTION };

pub const COMMANDS: &[Command] = &[MULTI, EXEC, DISCARD, WATCH, UNWATCH];

/// What all of them have in common: they run inside MULTI, and mean nothing without a connection.
const FLAGS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::RESP_ONLY);

#[derive(Args)]
pub struct Multi;

impl SessionCommand for Multi {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let session = cx.session();
        if let Some(transaction) = &mut session.transaction {
            transaction.broken = true;
            return Err(Error::err("MULTI calls can not be nested"));
        }
        session.transaction = Some(Box::<Transaction>::default());
        session.client.queued.store(0, std::sync::atomic::Ordering::Relaxed);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const MULTI: Command = Command {
    name: "MULTI",
    op: "transaction.multi",
    since: "1.2.0",
    summary: "Begins a transaction: further calls are queued until EXEC.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: FLAGS.and(Flags::IMMEDIATE).and(Flags::ALLOW_BUSY),
    ..TRANSACTIONS.session::<Multi>()
};

#[derive(Args)]
pub struct Exec;

impl SessionCommand for Exec {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        transaction::exec(cx, reply)
    }
}

pub const EXEC: Command = Command {
    name: "EXEC",
    op: "transaction.exec",
    since: "1.2.0",
    summary: "Runs the queued calls as one, unless a watched key has changed.",
    complexity: "What the calls cost",
    returns: Shape::optional(&Shape::array(
        "results",
        "What each call answers; null when a watched key has changed.",
        &Shape::ANY,
    )),
    tool: Tool::Never,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::IMMEDIATE)
        .and(Flags::SKIP_SLOWLOG)
        .and(Flags::RESP_ONLY)
        .and(Flags::ENDS_MULTI),
    ..TRANSACTIONS.session::<Exec>()
};

#[derive(Args)]
pub struct Discard;

impl SessionCommand for Discard {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        transaction::discard(cx)?;
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const DISCARD: Command = Command {
    name: "DISCARD",
    op: "transaction.discard",
    since: "2.0.0",
    summary: "Forgets the queued calls.",
    complexity: "O(N) for N queued calls",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: FLAGS.and(Flags::IMMEDIATE).and(Flags::ALLOW_BUSY),
    ..TRANSACTIONS.session::<Discard>()
};

#[derive(Args)]
pub struct Watch<'a> {
    /// Keys whose change makes the next EXEC do nothing.
    #[arg(access = "RO")]
    keys: Many<'a, Key<'a>>,
}

impl SessionCommand for Watch<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if let Some(transaction) = &mut cx.session().transaction {
            transaction.broken = true;
            return Err(Error::err("WATCH inside MULTI is not allowed"));
        }
        transaction::watch(cx, self.keys.iter().map(|key| (key.hash, key.bytes.into())));
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const WATCH: Command = Command {
    name: "WATCH",
    op: "transaction.watch",
    since: "2.2.0",
    summary: "Makes the next EXEC do nothing when one of the keys changes before it.",
    complexity: "O(N) for N keys",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: FLAGS.and(Flags::IMMEDIATE).and(Flags::ALLOW_BUSY),
    ..TRANSACTIONS.session::<Watch>()
};

#[derive(Args)]
pub struct Unwatch;

impl SessionCommand for Unwatch {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        // Inside EXEC the end of the transaction forgets them anyway.
        if !cx.is_inside() {
            let caller = cx.caller();
            transaction::unwatch(caller.turn, caller.session);
        }
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const UNWATCH: Command = Command {
    name: "UNWATCH",
    op: "transaction.unwatch",
    since: "2.2.0",
    summary: "Forgets all watched keys.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: FLAGS.and(Flags::ALLOW_BUSY),
    ..TRANSACTIONS.session::<Unwatch>()
};
