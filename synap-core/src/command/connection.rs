//! The connection: who it is and what it speaks.

use std::sync::atomic::Ordering;

use super::prelude::*;
use crate::execute::rights::{self, Login};
use crate::execute::row::is_behind;
use crate::execute::state::State;
use crate::execute::transaction;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::session::{ReplyMode, Session};

const CONNECTION: Group = Group { name: "connection", op: "connection", category: Category::CONNECTION };

pub const COMMANDS: &[Command] = &[HELLO, AUTH, PING, ECHO, QUIT, RESET, SELECT];

const ANYTIME: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);

/// Credentials inside HELLO.
#[derive(Args, Clone, Copy)]
pub struct Credentials<'a> {
    /// Name of the user.
    username: Word<'a>,
    /// The user's password.
    password: Word<'a>,
}

#[derive(Args)]
#[args(any_order)]
pub struct HelloOptions<'a> {
    #[arg(token = "AUTH")]
    auth: Option<Credentials<'a>>,
    /// Name of the connection.
    #[arg(token = "SETNAME")]
    setname: Option<Word<'a>>,
}

#[derive(Args)]
pub struct HelloTerms<'a> {
    /// 2 or 3.
    protover: Word<'a>,
    options: Named<'a>,
}

/// The same; what is wrong about one of them is told with its name.
pub struct Named<'a>(HelloOptions<'a>);

impl<'a> Arg<'a> for Named<'a> {
    const KIND: ArgKind = <HelloOptions<'a> as Arg<'a>>::KIND;
    const MIN: usize = <HelloOptions<'a> as Arg<'a>>::MIN;
    const FIXED: bool = <HelloOptions<'a> as Arg<'a>>::FIXED;

    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let mut rest = parser.rest();
        while let Some(name) = rest.first() {
            let is = |token: &[u8]| name.eq_ignore_ascii_case(token);
            rest = match rest {
                [_, _, _, rest @ ..] if is(b"AUTH") => rest,
                [_, _, rest @ ..] if is(b"SETNAME") => rest,
                _ => return Err(Error::fmt(format!("Syntax error in HELLO option '{}'", Error::quote(name)))),
            };
        }
        HelloOptions::read(parser, how).map(Named)
    }
}

#[derive(Args)]
pub struct Hello<'a> {
    terms: Option<HelloTerms<'a>>,
}

impl SessionCommand for Hello<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        const UNKNOWN: Error = Error::new(Code::NoProto, "unsupported protocol version");
        let version = match &self.terms {
            None => None,
            Some(terms) => {
                let number = crate::types::parse_int(terms.protover)
                    .ok_or(Error::err("Protocol version is not an integer or out of range"))?;
                if !(2..=3).contains(&number) {
                    return Err(UNKNOWN);
                }
                Some(number)
            }
        };
        let options = self.terms.as_ref().map(|terms| &terms.options.0);
        if let Some(auth) = options.and_then(|options| options.auth) {
            log_in(cx, auth.username, auth.password)?;
        }
        if cx.session().user.is_none() {
            return Err(Error::new(
                Code::NoAuth,
                "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ));
        }
        if let Some(name) = options.and_then(|options| options.setname) {
            super::client::set_name(cx.session(), name)?;
        }
        if let Some(version) = version {
            let session = cx.session();
            session.speak(version == 3);
            reply.speak(session.resp3);
        }
        let resp3 = cx.session().resp3;
        reply.map(7);
        reply.text("server");
        reply.text("redis");
        reply.text("version");
        reply.text(super::REDIS_VERSION);
        reply.text("proto");
        reply.int(if resp3 { 3 } else { 2 });
        reply.text("id");
        reply.int(cx.session().client.id as i64);
        reply.text("mode");
        reply.text("standalone");
        reply.text("role");
        reply.text("master");
        reply.text("modules");
        reply.array(0);
        Ok(Flow::Done)
    }
}

pub const HELLO: Command = Command {
    name: "HELLO",
    op: "connection.hello",
    since: "6.0.0",
    summary: "Chooses the protocol, logs in, and tells what this server is.",
    returns: Shape::fields(
        "server",
        "",
        &[
            Shape::text("server", "Always redis: what clients look for."),
            Shape::text("version", "The Redis version that it is compatible with."),
            Shape::int("proto", "The protocol in use."),
            Shape::int("id", "This connection's id."),
            Shape::text("mode", "standalone."),
            Shape::text("role", "master or replica."),
            Shape::array("modules", "Always empty.", &Shape::ANY),
        ],
    ),
    tool: Tool::Never,
    flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY).and(Flags::SUBSCRIBER).and(Flags::RESP_ONLY),
    hides: |words, index| is_behind(words, index, "AUTH", 2),
    ..CONNECTION.session::<Hello>()
};

fn log_in(cx: &mut SessionCx<'_, '_, '_>, name: &[u8], password: &[u8]) -> Result<()> {
    let (state, call) = (cx.state(), cx.call);
    rights::log_in(state, cx.session(), Login::Password { name, password }, call.words[0])
}

#[derive(Args)]
pub struct Auth<'a> {
    /// Name of the user; the default user when left out.
    username: Option<Word<'a>>,
    /// The user's password.
    password: Word<'a>,
}

impl SessionCommand for Auth<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if self.username.is_none() && cx.state().users.default_user().nopass {
            return Err(Error::err(
                "AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        log_in(cx, self.username.unwrap_or(b"default"), self.password)?;
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const AUTH: Command = Command {
    name: "AUTH",
    op: "connection.auth",
    since: "1.0.0",
    summary: "Logs in.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY).and(Flags::RESP_ONLY),
    hides: |_, _| true,
    ..CONNECTION.session::<Auth>()
};

#[derive(Args)]
#[args(excess_is_arity)]
pub struct Ping<'a> {
    /// Bytes to get back instead of PONG.
    message: Option<Word<'a>>,
}

impl SessionCommand for Ping<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if cx.session().is_subscriber_only() {
            reply.array(2);
            reply.text("pong");
            reply.bulk(self.message.unwrap_or_default());
        } else {
            match self.message {
                Some(message) => reply.bulk(message),
                None => reply.status("PONG"),
            }
        }
        Ok(Flow::Done)
    }
}

pub const PING: Command = Command {
    name: "PING",
    op: "connection.ping",
    since: "1.0.0",
    summary: "Answers PONG, or what it was given.",
    returns: Shape::one_of(
        "reply",
        "A RESP2 connection with subscriptions gets an array of pong and the message.",
        &[Shape::status("", ""), Shape::BYTES, Shape::array("", "", &Shape::BYTES)],
    ),
    flags: Flags::FAST.and(Flags::SUBSCRIBER).and(Flags::LOOKS),
    ..CONNECTION.session::<Ping>()
};

#[derive(Args)]
pub struct Echo<'a> {
    /// Bytes to get back.
    message: Word<'a>,
}

impl SessionCommand for Echo<'_> {
    fn run(self, _: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.bulk(self.message);
        Ok(Flow::Done)
    }
}

pub const ECHO: Command = Command {
    name: "ECHO",
    op: "connection.echo",
    since: "1.0.0",
    summary: "Answers what it was given.",
    returns: Shape::bytes("message", "What it was given."),
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::LOOKS),
    ..CONNECTION.session::<Echo>()
};

#[derive(Args)]
pub struct Quit<'a> {
    /// Ignored, as Redis does.
    rest: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for Quit<'_> {
    fn run(self, _: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let _ = self.rest;
        reply.ok();
        Ok(Flow::Quit)
    }
}

pub const QUIT: Command = Command {
    name: "QUIT",
    op: "connection.quit",
    since: "1.0.0",
    summary: "Closes the connection when all replies are out.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: ANYTIME
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY)
        .and(Flags::IMMEDIATE)
        .and(Flags::SUBSCRIBER)
        .and(Flags::RESP_ONLY),
    ..CONNECTION.session::<Quit>()
};

#[derive(Args)]
pub struct Reset;

impl SessionCommand for Reset {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let caller = cx.caller();
        caller.session.transaction = None;
        caller.session.client.queued.store(-1, Ordering::Relaxed);
        caller.session.client.multi_bytes.store(0, Ordering::Relaxed);
        transaction::unwatch(caller.turn, caller.session);
        let session = &mut *caller.session;
        leave_everything(state, session);
        session.select(0);
        // The call that is to be skipped is this one.
        if session.replies != ReplyMode::Skip {
            session.replies = ReplyMode::On;
        }
        session.speak(false);
        reply.speak(session.resp3);
        session.client.info.lock().name.clear();
        session.user = Some(state.users.default_user()).filter(|user| user.is_open());
        session.client.info.lock().user = "default".into();
        reply.status("RESET");
        Ok(Flow::Done)
    }
}

/// Ends subscriptions, monitoring and tracking.
pub fn leave_everything(state: &State, session: &mut Session) {
    let client = session.client.clone();
    state.channels.unsubscribe_all(&client, &mut session.subscriptions);
    state.registry.watch_no_more(&client);
    super::tracking::end(state, session);
}

pub const RESET: Command = Command {
    name: "RESET",
    op: "connection.reset",
    since: "6.2.0",
    summary: "Makes the connection as new: no transaction, no subscriptions, database 0, RESP2, logged out.",
    returns: Shape::status("status", "Always RESET."),
    tool: Tool::Never,
    flags: ANYTIME
        .and(Flags::NO_AUTH)
        .and(Flags::ALLOW_BUSY)
        .and(Flags::IMMEDIATE)
        .and(Flags::SUBSCRIBER)
        .and(Flags::RESP_ONLY),
    ..CONNECTION.session::<Reset>()
};

#[derive(Args)]
pub struct Select {
    /// Number of the database, from 0.
    index: Database,
}

impl SessionCommand for Select {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let db = super::database(cx.state(), self.index)?;
        cx.session().select(db);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const SELECT: Command = Command {
    name: "SELECT",
    op: "connection.select",
    since: "1.0.0",
    summary: "Chooses the database of this connection.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::RESP_ONLY),
    ..CONNECTION.session::<Select>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn hello_names_the_option_that_is_wrong() {
        TestEngine::default().check(
            "HELLO 2 AUTH a => -ERR Syntax error in HELLO option 'AUTH'
            HELLO 2 SETNAME x AUTH => -ERR Syntax error in HELLO option 'AUTH'
            HELLO 2 SETNAME => -ERR Syntax error in HELLO option 'SETNAME'
            HELLO 2 FOO => -ERR Syntax error in HELLO option 'FOO'
            HELLO a => -ERR Protocol version is not an integer or out of range",
        );
    }
}
