//! The clients: what they are, and what one may do to another.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::prelude::*;
use crate::execute::state::State;
use crate::execute::waiting;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::session::{Client, ReplyMode, Session, WaitEnd};

pub(super) const CLIENTS: Group = Group { name: "connection", op: "client", category: Category::CONNECTION };

pub const COMMANDS: &[Command] = &[
    CLIENT_ID,
    CLIENT_INFO,
    CLIENT_LIST,
    CLIENT_KILL,
    CLIENT_PAUSE,
    CLIENT_UNPAUSE,
    CLIENT_UNBLOCK,
    CLIENT_SETNAME,
    CLIENT_GETNAME,
    CLIENT_SETINFO,
    CLIENT_REPLY,
    CLIENT_NO_EVICT,
    CLIENT_NO_TOUCH,
    super::help::row(CLIENTS, "CLIENT HELP", "client.help", "5.0.0"),
];

/// All its subcommands are answered at any time, and none counts as fast.
pub(super) const CLIENT: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);

#[derive(Args)]
pub struct ClientId;

impl SessionCommand for ClientId {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.int(cx.session().client.id as i64);
        Ok(Flow::Done)
    }
}

pub const CLIENT_ID: Command = Command {
    name: "CLIENT ID",
    op: "client.id",
    since: "5.0.0",
    summary: "Returns this connection's id.",
    returns: Shape::int("id", "Never given twice."),
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientId>()
};

/// What kind of client.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// Ordinary clients, MONITOR included.
    #[arg(token = "NORMAL")]
    Normal,
    /// The master that this server follows.
    #[arg(token = "MASTER")]
    Master,
    /// Servers that follow this one.
    #[arg(token = "REPLICA")]
    Replica,
    /// The old word for it.
    #[arg(token = "SLAVE")]
    Slave,
    /// Clients with subscriptions.
    #[arg(token = "PUBSUB")]
    Pubsub,
}

impl ClientType {
    fn is(self, client: &Client) -> bool {
        let listens = client.listens();
        match self {
            ClientType::Normal => !listens,
            ClientType::Pubsub => listens,
            ClientType::Master | ClientType::Replica | ClientType::Slave => false,
        }
    }
}

/// The same, with the sentence that answers a word that is none.
#[derive(Clone, Copy)]
pub struct OfType(ClientType);

impl<'a> Arg<'a> for OfType {
    const KIND: ArgKind = <ClientType as Arg<'a>>::KIND;
    fn starts(word: &[u8]) -> bool {
        ClientType::starts(word)
    }
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        let Some(word) = parser.peek(how.after) else { return Err(Error::SYNTAX) };
        let unknown = |_| Error::fmt(format!("Unknown client type '{}'", Error::quote(word)));
        ClientType::read(parser, how).map(OfType).map_err(unknown)
    }
}

macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $name:ident = $min:literal.., $no_number:literal, $too_small:literal;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        pub struct $name(i64);

        impl<'a> Arg<'a> for $name {
            const KIND: ArgKind = ArgKind::Int { min: $min, max: i64::MAX };
            fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
                match crate::types::parse_int(parser.word()?) {
                    None => Err(Error::err($no_number)),
                    Some(value) if value < $min => Err(Error::err($too_small)),
                    Some(value) => Ok($name(value)),
                }
            }
        }
    )*};
}

numbers! {
    /// The id of a client.
    Id = 1.., "client-id should be greater than 0", "client-id should be greater than 0";
    /// Seconds since a client came.
    Age = 1.., "maxage is not an integer or out of range", "maxage should be greater than 0";
    /// How long a pause is.
    PauseTime = 0.., "timeout is not an integer or out of range", "timeout is negative";
}

#[derive(Args)]
#[args(any_order)]
pub struct ListOptions<'a> {
    /// Only clients of this type.
    #[arg(token = "TYPE")]
    r#type: Option<OfType>,
    /// Only clients with these ids.
    #[arg(token = "ID")]
    id: Option<Many<'a, i64>>,
}

#[derive(Args)]
pub struct ClientList<'a> {
    options: ListOptions<'a>,
}

impl SessionCommand for ClientList<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let mut text = String::new();
        for client in cx.state().registry.all() {
            // Who was ended is gone, for all that others can see.
            let wanted = !client.is_killed()
                && self.options.r#type.is_none_or(|OfType(t)| t.is(&client))
                && self.options.id.is_none_or(|ids| ids.iter().any(|id| id as u64 == client.id));
            if wanted {
                describe(&client, cx.state(), cx.now_ms(), &mut text);
                text.push('\n');
            }
        }
        reply.verbatim("txt", &text);
        Ok(Flow::Done)
    }
}

/// One line about a client, in the fields of Redis that this server has.
pub(super) fn describe(client: &Client, state: &State, now_ms: i64, out: &mut String) {
    let info = client.info.lock().clone();
    let load = |value: &std::sync::atomic::AtomicU32| value.load(Ordering::Relaxed);
    let tracks = if client.redirect.load(Ordering::Relaxed) >= 0 { "t" } else { "" };
    let flags = if client.monitor.load(Ordering::Relaxed) {
        "O"
    } else if client.waits() {
        "b"
    } else if client.listens() {
        "P"
    } else if client.queued.load(Ordering::Relaxed) >= 0 {
        "x"
    } else if tracks.is_empty() {
        "N"
    } else {
        ""
    };
    let row = load(&client.last_row) as usize;
    let command = state.table.all().get(row).map_or_else(|| "NULL".into(), Command::full_name);
    let age = (now_ms - client.created_ms).max(0) / 1000;
    let idle = (now_ms - client.last_active_ms.load(Ordering::Relaxed)).max(0) / 1000;
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "id={} addr={} laddr={} fd=-1 name={} age={age} idle={idle} flags={flags}{tracks} db={} sub={} psub={} ssub={} multi={} \
         watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll={} omem={} tot-mem={} events=r \
         cmd={command} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}",
        client.id,
        client.addr,
        client.laddr,
        info.name,
        load(&client.db),
        load(&client.subscriptions),
        load(&client.patterns),
        load(&client.shard_subscriptions),
        client.queued.load(Ordering::Relaxed),
        load(&client.watches),
        client.query_bytes.load(Ordering::Relaxed),
        client.query_free_bytes.load(Ordering::Relaxed),
        client.multi_bytes.load(Ordering::Relaxed),
        client.output_bytes.load(Ordering::Relaxed),
        client.mail_count(),
        client.mail_bytes(),
        client.memory_bytes(),
        info.user,
        client.redirect.load(Ordering::Relaxed),
        if client.resp3.load(Ordering::Relaxed) { 3 } else { 2 },
        info.lib_name,
        info.lib_ver,
        client.total_in.load(Ordering::Relaxed),
        client.total_out.load(Ordering::Relaxed),
        client.calls.load(Ordering::Relaxed),
    );
}

const CLIENT_LINE: &str = "One line for each client, its fields as name=value.";

pub const CLIENT_LIST: Command = Command {
    name: "CLIENT LIST",
    op: "client.list",
    since: "2.4.0",
    summary: "Describes the connected clients.",
    complexity: "O(N) for N clients",
    returns: Shape::text("clients", CLIENT_LINE),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::LOOKS),
    ..CLIENTS.session::<ClientList>()
};

#[derive(Args)]
pub struct ClientInfo;

impl SessionCommand for ClientInfo {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let mut text = String::new();
        let client = cx.session().client.clone();
        describe(&client, cx.state(), cx.now_ms(), &mut text);
        text.push('\n');
        reply.verbatim("txt", &text);
        Ok(Flow::Done)
    }
}

pub const CLIENT_INFO: Command = Command {
    name: "CLIENT INFO",
    op: "client.info",
    since: "6.2.0",
    summary: "Describes this connection.",
    returns: Shape::text("client", CLIENT_LINE),
    tool: Tool::Never,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::LOOKS).and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientInfo>()
};

/// Yes or no.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum YesNo {
    /// Yes.
    #[arg(token = "YES")]
    Yes,
    /// No.
    #[arg(token = "NO")]
    No,
}

/// Which clients to end; all filters must match.
#[derive(Args, Clone, Copy)]
pub enum KillFilter<'a> {
    /// The client with this id.
    #[arg(token = "ID")]
    Id(Id),
    /// Clients of this type.
    #[arg(token = "TYPE")]
    Type(OfType),
    /// Clients logged in as this user.
    #[arg(token = "USER")]
    User(Word<'a>),
    /// The client with this peer address.
    #[arg(token = "ADDR")]
    Addr(Word<'a>),
    /// Clients that came in at this local address.
    #[arg(token = "LADDR")]
    Laddr(Word<'a>),
    /// Spares the caller, which is the default.
    #[arg(token = "SKIPME")]
    Skipme(YesNo),
    /// Clients that are older than so many seconds.
    #[arg(token = "MAXAGE")]
    Maxage(Age),
}

/// The old form with one address, or filters.
#[derive(Args)]
pub enum KillTarget<'a> {
    /// Filters, all of which must match.
    #[arg(uneven = "syntax")]
    Filters(Many<'a, KillFilter<'a>>),
    /// The peer address of one client.
    Address(Word<'a>),
}

#[derive(Args)]
pub struct ClientKill<'a> {
    target: KillTarget<'a>,
}

impl SessionCommand for ClientKill<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let (own, now_ms) = (cx.session().client.id, cx.now_ms());
        let all = cx.state().registry.all();
        let kill = |client: &Arc<Client>| client.kill();
        match self.target {
            KillTarget::Address(addr) => {
                let found = all.iter().find(|client| client.addr.as_bytes() == addr);
                found.map(kill).ok_or(Error::err("No such client"))?;
                reply.ok();
                Ok(if found.is_some_and(|client| client.id == own) { Flow::Quit } else { Flow::Done })
            }
            KillTarget::Filters(filters) => {
                let mut skip_me = true;
                for filter in filters.iter() {
                    match filter {
                        KillFilter::Skipme(answer) => skip_me = answer == YesNo::Yes,
                        KillFilter::User(name) => {
                            let known =
                                std::str::from_utf8(name).is_ok_and(|name| cx.state().users.get(name).is_some());
                            if !known {
                                return Err(Error::fmt(format!("No such user '{}'", Error::quote(name))));
                            }
                        }
                        _ => {}
                    }
                }
                let doomed: Vec<_> = all
                    .iter()
                    .filter(|client| !(skip_me && client.id == own))
                    .filter(|client| filters.iter().all(|filter| filter.matches(client, now_ms)))
                    .collect();
                doomed.iter().copied().for_each(kill);
                reply.int(doomed.len() as i64);
                Ok(if doomed.iter().any(|client| client.id == own) { Flow::Quit } else { Flow::Done })
            }
        }
    }
}

impl KillFilter<'_> {
    fn matches(self, client: &Client, now_ms: i64) -> bool {
        match self {
            KillFilter::Id(Id(id)) => client.id == id as u64,
            KillFilter::Type(OfType(t)) => t.is(client),
            KillFilter::User(name) => client.info.lock().user.as_bytes() == name,
            KillFilter::Addr(addr) => client.addr.as_bytes() == addr,
            KillFilter::Laddr(laddr) => client.laddr.as_bytes() == laddr,
            KillFilter::Skipme(_) => true,
            KillFilter::Maxage(Age(seconds)) => (now_ms - client.created_ms) / 1000 >= seconds,
        }
    }
}

pub const CLIENT_KILL: Command = Command {
    name: "CLIENT KILL",
    op: "client.kill",
    since: "2.4.0",
    summary: "Ends connections.",
    complexity: "O(N) for N clients",
    returns: Shape::one_of("killed", "How many; OK for the old form.", &[Shape::INT, Shape::OK]),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..CLIENTS.session::<ClientKill>()
};

/// What waits during a pause.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum PauseMode {
    /// Calls that may write.
    #[arg(token = "WRITE")]
    Write,
    /// All calls.
    #[arg(token = "ALL")]
    All,
}

#[derive(Args)]
pub struct ClientPause {
    /// Milliseconds.
    timeout: PauseTime,
    mode: Option<PauseMode>,
}

impl SessionCommand for ClientPause {
    /// So that nothing is in flight when the answer goes out.
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let now_ms = cx.now_ms();
        let until_ms =
            now_ms.checked_add(self.timeout.0).ok_or(Error::err("timeout is not an integer or out of range"))?;
        cx.state().pause.begin(until_ms, self.mode != Some(PauseMode::Write), now_ms);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_PAUSE: Command = Command {
    name: "CLIENT PAUSE",
    op: "client.pause",
    since: "3.0.0",
    summary: "Lets calls wait for a time: all, or those that may write. None is in flight when this answers.",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..CLIENTS.session::<ClientPause>()
};

#[derive(Args)]
pub struct ClientUnpause;

impl SessionCommand for ClientUnpause {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.state().pause.end();
        // The engine's thread slept through what came due meanwhile.
        cx.state().timer.wake_by(cx.now_ms());
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_UNPAUSE: Command = Command {
    name: "CLIENT UNPAUSE",
    op: "client.unpause",
    since: "6.2.0",
    summary: "Ends a pause.",
    complexity: "O(N) for N waiting clients",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..CLIENTS.session::<ClientUnpause>()
};

/// As what a wait ends.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum UnblockAs {
    /// As if its time were over.
    #[arg(token = "TIMEOUT")]
    Timeout,
    /// With an error.
    #[arg(token = "ERROR")]
    Error,
}

#[derive(Args)]
pub struct ClientUnblock {
    /// Id of the client.
    client_id: i64,
    unblock_type: Option<UnblockAs>,
}

impl SessionCommand for ClientUnblock {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let end = match self.unblock_type {
            Some(UnblockAs::Error) => WaitEnd::Unblocked,
            _ => WaitEnd::TimedOut,
        };
        let client = u64::try_from(self.client_id).ok().and_then(|id| cx.state().registry.get(id));
        let ended = client.is_some_and(|client| waiting::unblock(cx.state(), &client, end));
        reply.int(ended.into());
        Ok(Flow::Done)
    }
}

pub const CLIENT_UNBLOCK: Command = Command {
    name: "CLIENT UNBLOCK",
    op: "client.unblock",
    since: "5.0.0",
    summary: "Ends the wait of a blocked client.",
    returns: Shape::boolean("unblocked", "False when there is no such client or it was not blocked."),
    flags: Flags::ADMIN.and(CLIENT),
    ..CLIENTS.session::<ClientUnblock>()
};

/// A name without blanks and control characters.
fn checked_name(name: &[u8]) -> Result<String> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(String::from_utf8_lossy(name).into_owned())
    } else {
        Err(Error::err("Client names cannot contain spaces, newlines or special characters."))
    }
}

pub(super) fn set_name(session: &mut Session, name: &[u8]) -> Result<()> {
    session.client.info.lock().name = checked_name(name)?;
    Ok(())
}

#[derive(Args)]
pub struct ClientSetName<'a> {
    /// Letters without blanks; empty takes the name away.
    connection_name: Word<'a>,
}

impl SessionCommand for ClientSetName<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        set_name(cx.session(), self.connection_name)?;
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_SETNAME: Command = Command {
    name: "CLIENT SETNAME",
    op: "client.setname",
    since: "2.6.9",
    summary: "Names this connection.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientSetName>()
};

#[derive(Args)]
pub struct ClientGetName;

impl SessionCommand for ClientGetName {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let name = cx.session().client.info.lock().name.clone();
        if name.is_empty() {
            reply.null()
        } else {
            reply.text(&name)
        }
        Ok(Flow::Done)
    }
}

pub const CLIENT_GETNAME: Command = Command {
    name: "CLIENT GETNAME",
    op: "client.getname",
    since: "2.6.9",
    summary: "Returns this connection's name.",
    returns: Shape::optional(&Shape::text("name", "Null when it has none.")),
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientGetName>()
};

/// A fact, with the sentence that answers a word that is none.
pub struct Fact<'a>(LibraryFact<'a>);

impl<'a> Arg<'a> for Fact<'a> {
    const KIND: ArgKind = <LibraryFact<'a> as Arg<'a>>::KIND;
    const MIN: usize = <LibraryFact<'a> as Arg<'a>>::MIN;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        match parser.peek(how.after) {
            Some(word) if !LibraryFact::starts(word) => {
                Err(Error::fmt(format!("Unrecognized option '{}'", Error::quote(word))))
            }
            _ => LibraryFact::read(parser, how).map(Fact),
        }
    }
}

/// What a client library says of itself.
#[derive(Args)]
pub enum LibraryFact<'a> {
    /// Its name.
    #[arg(token = "LIB-NAME", name = "lib_name")]
    Name(Word<'a>),
    /// Its version.
    #[arg(token = "LIB-VER", name = "lib_ver")]
    Version(Word<'a>),
}

#[derive(Args)]
pub struct ClientSetInfo<'a> {
    attr: Fact<'a>,
}

impl SessionCommand for ClientSetInfo<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let mut info = cx.session().client.info.lock();
        match self.attr.0 {
            LibraryFact::Name(name) => info.lib_name = checked_name(name)?,
            LibraryFact::Version(version) => info.lib_ver = checked_name(version)?,
        }
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_SETINFO: Command = Command {
    name: "CLIENT SETINFO",
    op: "client.setinfo",
    since: "7.2.0",
    summary: "Tells what library this client uses.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientSetInfo>()
};

/// Whether calls are answered.
#[derive(Args, Clone, Copy)]
pub enum ReplyChoice {
    /// All are.
    #[arg(token = "ON")]
    On,
    /// None is.
    #[arg(token = "OFF")]
    Off,
    /// The next one is not.
    #[arg(token = "SKIP")]
    Skip,
}

#[derive(Args)]
pub struct ClientReply {
    action: ReplyChoice,
}

impl SessionCommand for ClientReply {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if cx.is_inside() && !matches!(self.action, ReplyChoice::On) {
            // EXEC announces as many answers as there are calls.
            return Err(Error::err("answers cannot be left out inside a transaction"));
        }
        let session = cx.session();
        match self.action {
            ReplyChoice::On => {
                session.replies = ReplyMode::On;
                reply.ok();
            }
            ReplyChoice::Off => session.replies = ReplyMode::Off,
            ReplyChoice::Skip if session.replies != ReplyMode::Off => session.replies = ReplyMode::SkipNext,
            ReplyChoice::Skip => {}
        }
        Ok(Flow::Done)
    }
}

pub const CLIENT_REPLY: Command = Command {
    name: "CLIENT REPLY",
    op: "client.reply",
    since: "3.2.0",
    summary: "Chooses whether calls of this connection are answered.",
    returns: Shape::one_of("ok", "Only ON is answered.", &[Shape::OK, Shape::NOTHING]),
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientReply>()
};

/// Whether something is so.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Yes.
    #[arg(token = "ON")]
    On,
    /// No.
    #[arg(token = "OFF")]
    Off,
}

#[derive(Args)]
pub struct ClientNoTouch {
    enabled: Switch,
}

impl SessionCommand for ClientNoTouch {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.session().client.no_touch.store(self.enabled == Switch::On, Ordering::Relaxed);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_NO_TOUCH: Command = Command {
    name: "CLIENT NO-TOUCH",
    op: "client.no_touch",
    since: "7.2.0",
    summary: "Says whether this connection's reads leave the keys as idle as they are; TOUCH uses them all the same.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientNoTouch>()
};

#[derive(Args)]
pub struct ClientNoEvict {
    enabled: Switch,
}

impl SessionCommand for ClientNoEvict {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.session().client.no_evict.store(self.enabled == Switch::On, Ordering::Relaxed);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_NO_EVICT: Command = Command {
    name: "CLIENT NO-EVICT",
    op: "client.no_evict",
    since: "7.0.0",
    summary: "Says whether this connection is spared when clients are ended because they take too much memory.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: Flags::ADMIN.and(CLIENT).and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientNoEvict>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn wrong_words_are_answered_as_redis_does() {
        TestEngine::default().check(
            "CLIENT KILL ID 10 wrong_arg => -ERR syntax error
            CLIENT KILL ID str => -ERR client-id should be greater than 0
            CLIENT KILL ID -1 => -ERR client-id should be greater than 0
            CLIENT KILL TYPE wrong_type => -ERR Unknown client type 'wrong_type'
            CLIENT KILL USER wrong_user => -ERR No such user 'wrong_user'
            CLIENT KILL SKIPME yes_or_no => -ERR syntax error
            CLIENT KILL MAXAGE str => -ERR maxage is not an integer or out of range
            CLIENT KILL MAXAGE -1 => -ERR maxage should be greater than 0
            CLIENT KILL 000.123.321.567:0000 => -ERR No such client
            CLIENT LIST TYPE wrong_type => -ERR Unknown client type 'wrong_type'
            CLIENT PAUSE abc => -ERR timeout is not an integer or out of range
            CLIENT PAUSE -1 => -ERR timeout is negative
            CLIENT SETINFO badger hamster => -ERR Unrecognized option 'badger'
            CLIENT SETINFO lib-name => -ERR wrong number of arguments for 'client|setinfo' command
            CLIENT NO-EVICT wrong => -ERR syntax error
            CLIENT NO-EVICT on => OK
            CLIENT TRACKINGINFO => {\"flags\": [\"off\"], \"redirect\": -1, \"prefixes\": []}
            CLIENT GETREDIR => -1",
        );
    }
}
