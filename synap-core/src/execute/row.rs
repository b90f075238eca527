//! A command is one row. The *type* of a row lives here, below the handlers; the *list* of rows stands above them, in
//! `command::table`.

use super::context::{ReadCx, SessionCx, WalkCx, WriteCx};
use super::{Call, Caller, Flow, Outcome, State};
use crate::access::Category;
use crate::error::Result;
use crate::grammar::spec::{Access, ArgKind, ArgSpec, Repeat, Shape};
use crate::grammar::{Arg, Family, Key, Parser, Words};
use crate::reply::Reply;

/// One command, as a constant beside its argument struct and its handler.
#[derive(Clone, Copy)]
pub struct Command {
    /// In capitals; a subcommand after its container and a blank: `CLIENT ID`.
    pub name: &'static str,
    /// `group.verb`: names the route `POST /api/v1/group/verb`, the streaming command and the tool.
    pub op: &'static str,
    /// The Redis version that brought it; `synap` for ours.
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    pub returns: Shape,
    pub tool: Tool,
    pub group: Group,
    pub kind: Kind,
    pub flags: Flags,
    /// ACL categories beyond those that follow from group, kind and flags.
    pub categories: Category,
    /// Whether the word of this index is a secret: SLOWLOG and MONITOR do not show it. Asked for arguments only.
    pub hides: fn(Words<'_>, usize) -> bool,
    pub args: &'static [ArgSpec],
    /// Words that the arguments take at the least; exactly so many when `fixed`.
    pub min_words: usize,
    pub fixed: bool,
    pub run: Run,
    /// Its place in the table, given when the table is built. Not persisted.
    pub id: usize,
    /// Not a row of its own, but what `rename-command` made of one.
    pub guise: Guise,
    /// [`Command::key_is_first`], kept at hand for the prefetcher. Given when the table is built.
    pub first_key: bool,
}

/// What `rename-command` made of a row. No call has enough words for such a row: that is how it is noticed, at no cost
/// for all others.
#[derive(Clone, Copy)]
pub enum Guise {
    None,
    /// Its name is closed to clients. Logs have it.
    Closed(&'static Command),
    /// It is the row with another name.
    Renamed(&'static Command),
}

/// The functions of a row, made from its argument struct.
#[derive(Clone, Copy)]
pub struct Run {
    /// Parses only: notes keys and says what the call will need. For queueing, EXEC and COMMAND GETKEYS.
    pub plan: fn(&mut Parser<'_, '_>) -> Result<Needs>,
    /// The whole life of a call.
    pub call: fn(&mut Caller<'_, '_>, &Call<'_>, &mut dyn Reply) -> Outcome,
    /// The handler alone, for EXEC and served waiters, which hold the locks.
    pub inner: Inner,
    /// True when a waiting call of this row can be served from the key; never for rows that do not wait.
    pub ready: for<'t> fn(&ReadCx<'t>, &Key<'_>) -> bool,
}

/// A handler that runs under somebody else's locks.
#[derive(Clone, Copy)]
pub enum Inner {
    Data(for<'t> fn(&mut WriteCx<'t>, &Call<'_>, &mut dyn Reply) -> Result<Flow>),
    Session(fn(&mut SessionCx<'_, '_, '_>, &Call<'_>, &mut dyn Reply) -> Result<Flow>),
}

/// What a call needs besides the locks of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The gate closed.
    pub alone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads the keys that it names.
    Read,
    /// May change data.
    Write,
    /// Reads shards one after the other.
    Walk,
    /// Acts on the connection or the server.
    Session,
}

/// How agents see the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// In the default set of MCP tools, which is small: an agent reads all of them before its first call.
    Default,
    /// Only when asked for.
    Full,
    /// Makes no sense for a call without a connection.
    Never,
}

/// A group of commands: a file, a tag in OpenAPI, a chapter of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// As `COMMAND DOCS` names it.
    pub name: &'static str,
    /// The first half of `op`.
    pub op: &'static str,
    pub category: Category,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal $word:literal;)*) => {
        impl Flags {
            $($(#[doc = $doc])* pub const $name: Flags = Flags(1 << $bit);)*
            const NAMES: &'static [(&'static str, Flags)] = &[$(($word, Flags::$name)),*];
        }
    };
}

flags! {
    /// Refused when memory is full.
    DENYOOM = 0 "denyoom";
    ADMIN = 1 "admin";
    PUBSUB = 2 "pubsub";
    NOSCRIPT = 3 "noscript";
    /// May wait.
    BLOCKING = 4 "blocking";
    /// Answered while data is loaded.
    LOADING = 5 "loading";
    /// Answered by a replica without its master.
    STALE = 6 "stale";
    /// Not shown to MONITOR.
    SKIP_MONITOR = 7 "skip_monitor";
    SKIP_SLOWLOG = 8 "skip_slowlog";
    /// O(1) or O(log N).
    FAST = 9 "fast";
    /// May be called before logging in.
    NO_AUTH = 10 "no_auth";
    /// Not inside MULTI.
    NO_MULTI = 11 "no_multi";
    /// Runs inside MULTI instead of being queued.
    IMMEDIATE = 12 "";
    ALLOW_BUSY = 13 "allow_busy";
    /// Keys do not stand at fixed positions.
    MOVABLE_KEYS = 14 "movablekeys";
    /// CLIENT PAUSE WRITE holds it back though it writes no key.
    MAY_REPLICATE = 15 "may_replicate";
    /// May be called by a RESP2 connection that has subscriptions.
    SUBSCRIBER = 16 "";
    /// Dangerous in the ACL's sense.
    DANGEROUS = 17 "";
    /// Acts on the connection that it came through (its protocol, transaction, subscriptions, name …): a door whose
    /// calls stand for themselves does not have it.
    RESP_ONLY = 18 "";
    /// A row of [`Kind::Session`] that only looks.
    LOOKS = 19 "";
    /// Even when it is refused, it ends the transaction that it would have run.
    ENDS_MULTI = 20 "";
    /// Not while a replica loads a full copy beside the data that it serves.
    NO_ASYNC_LOADING = 21 "no_async_loading";
    /// The same call again leaves the data as they are: agents are told, so that they may try again.
    IDEMPOTENT = 30 "";
}

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A handler of a command that reads the keys it names.
pub trait ReadCommand {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()>;
    /// True when it reads keys that it did not name.
    fn alone(&self) -> bool {
        false
    }
}

/// A handler of a command that may change data.
pub trait WriteCommand {
    /// Does what takes long and needs nothing but the arguments, before anything is locked.
    fn prepare(&mut self, _state: &State) {}
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()>;
    /// True when it touches keys that it did not name, or everything.
    fn alone(&self) -> bool {
        false
    }
}

/// A handler of a command that reads, but keeps what it has computed beside the value (PFCOUNT). For rights, doors and
/// documents it is a read; what it keeps is logged and told like any change.
pub trait KeepingCommand {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()>;
}

/// A handler of a command that may have to wait.
pub trait BlockingCommand {
    /// Answers, or says how to wait; then nothing was changed or answered.
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow>;
    /// True when a waiting call of this kind can be served from `key`.
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool;
}

/// A handler that reads shards one after the other, not at one moment.
pub trait WalkCommand {
    fn run(self, cx: &mut WalkCx<'_>, reply: &mut dyn Reply) -> Result<()>;
}

/// A handler that acts on the connection or the server.
pub trait SessionCommand {
    /// It looks at all shards, so that a transaction with it holds them all.
    const WALKS: bool = false;
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow>;
    /// True when nobody else may be inside the gate.
    fn alone(&self) -> bool {
        false
    }
}

impl Group {
    /// A row of this group whose handler only reads. Fields that every row must give stand empty; a test of the table
    /// finds those that were left so.
    pub const fn read<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + ReadCommand,
    {
        let run = Run {
            plan: super::plan::<C, super::Reads>,
            call: super::call::<C, super::Reads>,
            inner: Inner::Data(super::inner::<C, super::Reads>),
            ready: super::never_ready,
        };
        self.row(
            Kind::Read,
            Flags::NONE,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    pub const fn write<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + WriteCommand,
    {
        let run = Run {
            plan: super::plan::<C, super::Writes>,
            call: super::call::<C, super::Writes>,
            inner: Inner::Data(super::inner::<C, super::Writes>),
            ready: super::never_ready,
        };
        self.row(
            Kind::Write,
            Flags::NONE,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    /// A row whose handler reads, and may keep what it computed.
    pub const fn keeping<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + KeepingCommand,
    {
        let run = Run {
            plan: super::plan::<C, super::Keeps>,
            call: super::call::<C, super::Keeps>,
            inner: Inner::Data(super::inner::<C, super::Keeps>),
            ready: super::never_ready,
        };
        self.row(
            Kind::Read,
            Flags::MAY_REPLICATE,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    pub const fn blocking<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + BlockingCommand,
    {
        let run = Run {
            plan: super::plan::<C, super::Blocks>,
            call: super::call::<C, super::Blocks>,
            inner: Inner::Data(super::inner::<C, super::Blocks>),
            ready: super::ready::<C>,
        };
        self.row(
            Kind::Write,
            Flags::BLOCKING,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    pub const fn walk<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + WalkCommand,
    {
        let run = Run {
            plan: super::plan_walk::<C>,
            call: super::call_walk::<C>,
            inner: Inner::Data(super::inner_walk::<C>),
            ready: super::never_ready,
        };
        self.row(
            Kind::Walk,
            Flags::NONE,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    pub const fn session<C>(self) -> Command
    where
        C: Family,
        for<'w> C::Of<'w>: Arg<'w> + SessionCommand,
    {
        let run = Run {
            plan: super::plan_session::<C>,
            call: super::call_session::<C>,
            inner: Inner::Session(super::inner_session::<C>),
            ready: super::never_ready,
        };
        self.row(
            Kind::Session,
            Flags::NONE,
            <C::Of<'static> as Arg<'static>>::KIND,
            <C::Of<'static> as Arg<'static>>::MIN,
            <C::Of<'static> as Arg<'static>>::FIXED,
            run,
        )
    }

    const fn row(self, kind: Kind, flags: Flags, args: ArgKind, min_words: usize, fixed: bool, run: Run) -> Command {
        Command {
            name: "",
            op: "",
            since: "",
            summary: "",
            complexity: "O(1)",
            returns: Shape::NOTHING,
            tool: Tool::Full,
            group: self,
            kind,
            flags,
            categories: Category::NONE,
            hides: |_, _| false,
            args: match args {
                ArgKind::Block(args) => args,
                _ => panic!("a command's arguments are a struct of fields in order"),
            },
            min_words,
            fixed,
            run,
            id: 0,
            guise: Guise::None,
            first_key: false,
        }
    }
}

/// For [`Command::hides`]: one of the `count` words behind `token`, wherever that stands.
pub fn is_behind(words: Words<'_>, index: usize, token: &str, count: usize) -> bool {
    words[index.saturating_sub(count)..index].iter().any(|word| word.eq_ignore_ascii_case(token.as_bytes()))
}

impl Command {
    /// The row as `rename-command` has it.
    pub fn disguised(&self, guise: Guise) -> Command {
        Command { guise, min_words: 1 << 40, ..*self }
    }

    /// What is shown in the place of a secret.
    pub const REDACTED: &str = "(redacted)";

    /// Whether the word of this index may not be shown.
    pub fn is_secret(&self, words: Words<'_>, index: usize) -> bool {
        index >= self.name_words() && (self.hides)(words, index)
    }

    /// Adds to what the kind of row brought along.
    pub const fn flagged(self, flags: Flags) -> Command {
        Command { flags: self.flags.and(flags), ..self }
    }

    /// Words of the name.
    pub fn name_words(&self) -> usize {
        if self.name.contains(' ') { 2 } else { 1 }
    }

    /// The container of a subcommand, or the whole name.
    pub fn first_word(&self) -> &'static str {
        self.name.split(' ').next().unwrap_or(self.name)
    }

    /// Redis' arity: words with the name, negative when more may follow.
    pub fn arity(&self) -> i64 {
        let words = (self.name_words() + self.min_words) as i64;
        if self.fixed { words } else { -words }
    }

    /// `CLIENT|ID`, as errors and `COMMAND` say it.
    pub fn full_name(&self) -> String {
        self.name.to_ascii_lowercase().replace(' ', "|")
    }

    pub const fn writes(&self) -> bool {
        matches!(self.kind, Kind::Write)
    }

    /// True when no call of it changes anything: HTTP has it as GET, agents are told.
    pub const fn only_reads(&self) -> bool {
        matches!(self.kind, Kind::Read | Kind::Walk) || self.flags.has(Flags::LOOKS)
    }

    /// What the command does with a key whose argument does not say.
    pub const fn default_access(&self) -> Access {
        if self.writes() { Access::RW.and(Access::UPDATE) } else { Access::RO.and(Access::ACCESS) }
    }

    pub const fn access(&self, noted: Access) -> Access {
        if noted.0 == 0 { self.default_access() } else { noted }
    }

    /// The index of the first key among the words, when it stands at word 1 whatever the call.
    pub fn key_is_first(&self) -> bool {
        let is_key = |arg: &ArgSpec| matches!(arg.kind, ArgKind::Key(_)) && arg.token.is_empty() && !arg.optional;
        self.name_words() == 1
            && match self.args {
                [ArgSpec { kind: ArgKind::Block([first, ..]), repeat: Repeat::Many, .. }, ..] => is_key(first),
                [first, ..] => is_key(first) && first.repeat != Repeat::Counted,
                [] => false,
            }
    }

    /// All ACL categories, as Redis computes them.
    pub fn acl_categories(&self) -> Category {
        let mut all = self.categories.and(self.group.category);
        match self.kind {
            Kind::Read | Kind::Walk => all = all.and(Category::READ),
            Kind::Write => all = all.and(Category::WRITE),
            Kind::Session => {}
        }
        let from_flag = [
            (Flags::ADMIN, Category::ADMIN.and(Category::DANGEROUS)),
            (Flags::DANGEROUS, Category::DANGEROUS),
            (Flags::PUBSUB, Category::PUBSUB),
            (Flags::BLOCKING, Category::BLOCKING),
            (Flags::FAST, Category::FAST),
        ];
        for (flag, category) in from_flag {
            if self.flags.has(flag) {
                all = all.and(category);
            }
        }
        if self.flags.has(Flags::FAST) { all } else { all.and(Category::SLOW) }
    }

    /// The flags as `COMMAND INFO` lists them.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        match self.kind {
            Kind::Write => names.push("write"),
            Kind::Read | Kind::Walk => names.push("readonly"),
            Kind::Session => {}
        }
        names.extend(
            Flags::NAMES.iter().filter(|(name, flag)| !name.is_empty() && self.flags.has(*flag)).map(|(n, _)| *n),
        );
        names
    }
}
