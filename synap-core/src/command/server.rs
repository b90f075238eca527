//! The server: whole databases, what it is, how it is set.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::prelude::*;
use super::{facts, help};
use crate::execute::state::{Rewrite, State};
use crate::execute::{Later, ShutdownOptions};
use crate::persist;
use crate::reply::Tape;
use crate::settings::{self, SETTINGS, Settings};

pub(super) const SERVER: Group = Group { name: "server", op: "server", category: Category::NONE };
const KEYSPACE: Group = Group { name: "server", op: "server", category: Category::KEYSPACE };
const COMMAND_GROUP: Group = Group { name: "server", op: "command", category: Category::CONNECTION };
const CONFIG: Group = Group { name: "server", op: "config", category: Category::NONE };
pub(super) const DEBUG: Group = Group { name: "server", op: "debug", category: Category::NONE };

pub const COMMANDS: &[Command] = &[
    FLUSHALL,
    FLUSHDB,
    SWAPDB,
    MONITOR,
    CONFIG_GET,
    CONFIG_SET,
    CONFIG_RESETSTAT,
    CONFIG_REWRITE,
    COMMAND,
    COMMAND_COUNT,
    COMMAND_DOCS,
    COMMAND_INFO,
    COMMAND_LIST,
    COMMAND_GETKEYS,
    COMMAND_GETKEYSANDFLAGS,
    help::row(COMMAND_GROUP, "COMMAND HELP", "command.help", "5.0.0"),
    help::row(CONFIG, "CONFIG HELP", "config.help", "5.0.0"),
    help::row(DEBUG, "DEBUG HELP", "debug.help", "5.0.0"),
    DEBUG_SLEEP,
    DEBUG_SET_ACTIVE_EXPIRE,
    SHUTDOWN,
];

/// When the memory is given back.
#[derive(Args, Clone, Copy)]
pub enum FlushMode {
    /// In the background, as it is always done.
    #[arg(token = "ASYNC")]
    Async,
    /// Accepted; the databases are empty at once either way.
    #[arg(token = "SYNC")]
    Sync,
}

#[derive(Args)]
pub struct FlushAll {
    mode: Option<FlushMode>,
}

impl WriteCommand for FlushAll {
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let _ = self.mode;
        cx.flush(None);
        reply.ok();
        Ok(())
    }
}

pub const FLUSHALL: Command = Command {
    name: "FLUSHALL",
    op: "server.flushall",
    since: "1.0.0",
    summary: "Removes all keys of all databases.",
    complexity: "O(1); the memory is given back in the background",
    returns: Shape::OK,
    flags: Flags::DANGEROUS,
    ..KEYSPACE.write::<FlushAll>()
};

#[derive(Args)]
pub struct FlushDb {
    mode: Option<FlushMode>,
}

impl WriteCommand for FlushDb {
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let _ = self.mode;
        cx.flush(Some(cx.db()));
        reply.ok();
        Ok(())
    }
}

pub const FLUSHDB: Command = Command {
    name: "FLUSHDB",
    op: "server.flushdb",
    since: "1.0.0",
    summary: "Removes all keys of the selected database.",
    complexity: "O(1); the memory is given back in the background",
    returns: Shape::OK,
    flags: Flags::DANGEROUS,
    ..KEYSPACE.write::<FlushDb>()
};

#[derive(Args)]
pub struct SwapDb<'a> {
    /// Number of one database.
    index1: Word<'a>,
    /// Number of the other.
    index2: Word<'a>,
}

impl WriteCommand for SwapDb<'_> {
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let read = |word, which| {
            let number = crate::types::parse_int(word).filter(|number| i32::try_from(*number).is_ok());
            number.map(Database).ok_or_else(|| Error::fmt(format!("invalid {which} DB index")))
        };
        let (one, other) = (read(self.index1, "first")?, read(self.index2, "second")?);
        let database = |db| super::database(cx.state(), db);
        let (one, other) = (database(one)?, database(other)?);
        if one != other {
            cx.swap_dbs(one, other);
        }
        reply.ok();
        Ok(())
    }
}

pub const SWAPDB: Command = Command {
    name: "SWAPDB",
    op: "server.swapdb",
    since: "4.0.0",
    summary: "Exchanges the content of two databases.",
    complexity: "O(N) for N clients that watch or wait in them",
    returns: Shape::OK,
    flags: Flags::FAST.and(Flags::DANGEROUS),
    ..KEYSPACE.write::<SwapDb>()
};

#[derive(Args)]
pub struct Monitor;

impl SessionCommand for Monitor {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        state.registry.watch_all(&cx.session().client);
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const MONITOR: Command = Command {
    name: "MONITOR",
    op: "server.monitor",
    since: "1.0.0",
    summary: "Shows every call of every client, as it runs.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::RESP_ONLY)
        .and(Flags::NO_MULTI),
    ..SERVER.session::<Monitor>()
};

// ---- CONFIG ----

#[derive(Args)]
pub struct ConfigGet<'a> {
    /// Names of settings, or patterns.
    parameters: Many<'a, Pattern<'a>>,
}

impl SessionCommand for ConfigGet<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let mut found: Vec<(&str, String)> = Vec::new();
        let settings = &cx.state().settings;
        for setting in SETTINGS {
            for name in [setting.name, setting.alias].into_iter().filter(|name| !name.is_empty()) {
                let wanted = self
                    .parameters
                    .iter()
                    .any(|Pattern(p)| crate::glob::matches(&p.to_ascii_lowercase(), name.as_bytes()));
                if let Some(id) = Settings::find(name).filter(|_| wanted) {
                    found.push((name, settings.show(id)));
                }
            }
        }
        reply.map(found.len());
        for (name, value) in found {
            reply.text(name);
            reply.text(&value);
        }
        Ok(Flow::Done)
    }
}

pub const CONFIG_GET: Command = Command {
    name: "CONFIG GET",
    op: "config.get",
    since: "2.0.0",
    summary: "Returns settings.",
    complexity: "O(N) for N settings",
    returns: Shape::map("settings", "Values by name.", &Shape::TEXT),
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::LOOKS),
    ..CONFIG.session::<ConfigGet>()
};

/// A setting and its new value.
#[derive(Args)]
pub struct SettingValue<'a> {
    /// Name of the setting.
    parameter: Word<'a>,
    /// As in a configuration file.
    value: Word<'a>,
}

#[derive(Args)]
pub struct ConfigSet<'a> {
    /// All of them are set, or none.
    settings: Many<'a, SettingValue<'a>>,
}

impl SessionCommand for ConfigSet<'_> {
    /// A call sees one set of settings.
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let mut checked: Vec<(settings::Id, String)> = Vec::new();
        for pair in self.settings.iter() {
            let name = String::from_utf8_lossy(pair.parameter).into_owned();
            let refuse = |why: &str| {
                let name = Error::quote(name.as_bytes());
                Error::fmt(format!("CONFIG SET failed (possibly related to argument '{name}') - {why}"))
            };
            let Some(id) = Settings::find(&name) else {
                let name = Error::quote(name.as_bytes());
                return Err(Error::fmt(format!("Unknown option or number of arguments for CONFIG SET - '{name}'")));
            };
            let value = std::str::from_utf8(pair.value).map_err(|_| refuse("the value is not text"))?;
            if checked.iter().any(|(other, _)| *other == id) {
                return Err(refuse("duplicate parameter"));
            }
            if id.setting().fixed {
                // Tools write back what they have read: that changes nothing.
                if !cx.state().settings.has(id, value) {
                    return Err(refuse("can't set immutable config"));
                }
                continue;
            }
            Settings::check(id, value).map_err(|why| refuse(&why))?;
            checked.push((id, value.to_string()));
        }
        set_all(cx.state(), &checked).map_err(|(id, why)| {
            let name = id.setting().name;
            Error::fmt(format!("CONFIG SET failed (possibly related to argument '{name}') - {why}"))
        })?;
        reply.ok();
        Ok(Flow::Done)
    }
}

/// What follows from a new value of `maxmemory-clients`, or of what it is a share of.
fn limit_clients(state: &State) {
    let bytes_max = match state.settings.int(settings::MAXMEMORY_CLIENTS) {
        share @ ..0 => i128::from(state.settings.int(settings::MAXMEMORY)) * -i128::from(share) / 100,
        bytes => bytes.into(),
    };
    let bytes_max = usize::try_from(bytes_max).ok().filter(|bytes| *bytes > 0);
    let closed = state.registry.set_bytes_max(bytes_max);
    state.stats.evicted_clients.fetch_add(closed, Ordering::Relaxed);
}

/// Sets all of them, or none.
fn set_all(state: &State, values: &[(settings::Id, String)]) -> Result<(), (settings::Id, String)> {
    let ids: Vec<settings::Id> = values.iter().map(|(id, _)| *id).collect();
    let before: Vec<(settings::Id, String)> = ids.iter().map(|id| (*id, state.settings.text(*id))).collect();
    for (id, value) in values {
        state.settings.set(*id, value).map_err(|error| (*id, error.text.to_string()))?;
    }
    if let Err(error) = state.host().settings_changed(&state.settings, &ids) {
        for (id, value) in before {
            // It was in force.
            let _ = state.settings.set(id, &value);
        }
        // The host says by itself what it could not take back: somebody else may have the port by now.
        let _ = state.host().settings_changed(&state.settings, &ids);
        return Err(error);
    }
    ids.into_iter().for_each(|id| setting_changed(state, id));
    Ok(())
}

/// What follows from a new value inside the engine.
pub fn setting_changed(state: &State, id: settings::Id) {
    match id {
        settings::REQUIREPASS => state.users.require_password(&state.settings.text(id)),
        settings::CLIENT_OUTPUT_BUFFER_LIMIT => state.registry.output_limits.set(&state.settings.output_limits()),
        settings::SLOWLOG_LOG_SLOWER_THAN | settings::LATENCY_MONITOR_THRESHOLD => state.fold_long_ticks(),
        settings::LATENCY_TRACKING => {
            state.stats.tracks_times.store(state.settings.int(id) != 0, Ordering::Relaxed);
        }
        settings::MAXMEMORY => {
            state.eviction.set_limit(state.settings.int(id));
            limit_clients(state);
        }
        settings::MAXMEMORY_CLIENTS => limit_clients(state),
        _ => {}
    }
    if matches!(id, settings::MAXMEMORY | settings::MAXMEMORY_POLICY) {
        // What is too much goes by itself; calls only help.
        state.timer.wake_by(i64::MIN);
    }
    if let Some(storage) = state.storage() {
        storage.setting_changed(id);
    }
}

pub const CONFIG_SET: Command = Command {
    name: "CONFIG SET",
    op: "config.set",
    since: "2.0.0",
    summary: "Changes settings while the server runs.",
    complexity: "O(N) for N settings",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    hides: |words, index| {
        let name = std::str::from_utf8(words[index - 1]).ok();
        name.and_then(Settings::find).is_some_and(|id| id.setting().secret)
    },
    ..CONFIG.session::<ConfigSet>()
};

#[derive(Args)]
pub struct ConfigResetStat;

impl SessionCommand for ConfigResetStat {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.state().stats.reset();
        cx.state().eviction.reset();
        cx.state().dropper.reset();
        cx.state().registry.output_limits.closed.store(0, Ordering::Relaxed);
        cx.state().users.refusals.reset_counts();
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CONFIG_RESETSTAT: Command = Command {
    name: "CONFIG RESETSTAT",
    op: "config.resetstat",
    since: "2.0.0",
    summary: "Sets the counters of INFO to zero.",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..CONFIG.session::<ConfigResetStat>()
};

#[derive(Args)]
pub struct ConfigRewrite;

impl SessionCommand for ConfigRewrite {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let values = settings::all().map(|id| (id, state.settings.show(id))).collect();
        // With a file of their own, users are none of this one's business.
        let has_file = super::acl::file_of(state).is_some();
        let users =
            if has_file { None } else { Some(state.users.configured(&state.settings.text(settings::REQUIREPASS))) };
        let written = state.host().rewrite_config(Rewrite { values, users });
        let mut tape = Tape::new(cx.session().resp3);
        let reply = async move {
            match written.await {
                Ok(()) => tape.ok(),
                Err(error) => tape.error(&error),
            }
            tape
        };
        Ok(Flow::Later(Later::carried_through(reply)))
    }
}

pub const CONFIG_REWRITE: Command = Command {
    name: "CONFIG REWRITE",
    op: "config.rewrite",
    since: "2.8.0",
    summary: "Writes the settings in force into the configuration file, which keeps its comments and its order.",
    complexity: "O(N) for N settings",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::NO_MULTI),
    ..CONFIG.session::<ConfigRewrite>()
};

// ---- COMMAND ----

const ABOUT: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::LOOKS);

#[derive(Args)]
pub struct CommandAll;

impl SessionCommand for CommandAll {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let names = facts::top_names(cx.state().table.all());
        reply.array(names.len());
        names.iter().for_each(|name| facts::write_info(cx.state().table.all(), name, reply));
        Ok(Flow::Done)
    }
}

const INFO_SHAPE: Shape = Shape::array(
    "commands",
    "Each an array: name, arity, flags, first key, last key, step, categories, tips, key specifications, subcommands.",
    &Shape::ANY,
);

pub const COMMAND: Command = Command {
    name: "COMMAND",
    op: "command.all",
    since: "2.8.13",
    summary: "Describes all commands.",
    complexity: "O(N) for N commands",
    returns: INFO_SHAPE,
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandAll>()
};

#[derive(Args)]
pub struct CommandCount;

impl SessionCommand for CommandCount {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.int(facts::top_names(cx.state().table.all()).len() as i64);
        Ok(Flow::Done)
    }
}

pub const COMMAND_COUNT: Command = Command {
    name: "COMMAND COUNT",
    op: "command.count",
    since: "2.8.13",
    summary: "Counts the commands.",
    returns: Shape::int("count", "Subcommands are not counted."),
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandCount>()
};

#[derive(Args)]
pub struct CommandDocs<'a> {
    /// Names of commands; all when left out.
    command_names: Option<Many<'a, Word<'a>>>,
}

/// The named commands that exist, or all.
fn chosen(cx: &SessionCx<'_, '_, '_>, names: Option<Many<'_, Word<'_>>>) -> Vec<String> {
    let all = cx.state().table.all();
    match names {
        None => facts::top_names(all),
        Some(names) => {
            names.iter().map(|name| String::from_utf8_lossy(name).to_ascii_uppercase().replace('|', " ")).collect()
        }
    }
}

impl SessionCommand for CommandDocs<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let all = cx.state().table.all();
        let names: Vec<String> =
            chosen(cx, self.command_names).into_iter().filter(|name| facts::exists(all, name)).collect();
        reply.map(names.len());
        for name in names {
            reply.text(&name.to_ascii_lowercase().replace(' ', "|"));
            facts::write_docs(all, &name, reply);
        }
        Ok(Flow::Done)
    }
}

pub const COMMAND_DOCS: Command = Command {
    name: "COMMAND DOCS",
    op: "command.docs",
    since: "7.0.0",
    summary: "Documents commands.",
    complexity: "O(N) for N commands",
    returns: Shape::map(
        "docs",
        "By name: a map of summary, since, group, complexity, arguments, subcommands.",
        &Shape::ANY,
    ),
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandDocs>()
};

#[derive(Args)]
pub struct CommandInfo<'a> {
    /// Names of commands; all when left out.
    command_names: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for CommandInfo<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let all = cx.state().table.all();
        let names = chosen(cx, self.command_names);
        reply.array(names.len());
        for name in names {
            if facts::exists(all, &name) { facts::write_info(all, &name, reply) } else { reply.null() }
        }
        Ok(Flow::Done)
    }
}

pub const COMMAND_INFO: Command = Command {
    name: "COMMAND INFO",
    op: "command.info",
    since: "2.8.13",
    summary: "Describes commands for programs.",
    complexity: "O(N) for N commands",
    returns: INFO_SHAPE,
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandInfo>()
};

/// Which names are listed.
#[derive(Args, Clone, Copy)]
pub enum NameFilter<'a> {
    /// Those of a module; there are none.
    #[arg(token = "MODULE")]
    Module(Word<'a>),
    /// Those of an ACL category.
    #[arg(token = "ACLCAT")]
    Aclcat(Word<'a>),
    /// Those that match.
    #[arg(token = "PATTERN")]
    Pattern(Pattern<'a>),
}

#[derive(Args)]
pub struct CommandList<'a> {
    #[arg(token = "FILTERBY")]
    filterby: Option<NameFilter<'a>>,
}

impl SessionCommand for CommandList<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let all = cx.state().table.all();
        let names: Vec<String> = match self.filterby {
            None => facts::all_names(all),
            Some(NameFilter::Module(_)) => Vec::new(),
            Some(NameFilter::Aclcat(name)) => {
                let category = std::str::from_utf8(name).ok().and_then(Category::by_name);
                let of = |row: &&Command| category.is_some_and(|category| row.acl_categories().has(category));
                all.iter().filter(of).map(Command::full_name).collect()
            }
            Some(NameFilter::Pattern(Pattern(pattern))) => {
                let matches = |name: &String| crate::glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
                facts::all_names(all).into_iter().filter(matches).collect()
            }
        };
        reply.array(names.len());
        names.iter().for_each(|name| reply.text(name));
        Ok(Flow::Done)
    }
}

pub const COMMAND_LIST: Command = Command {
    name: "COMMAND LIST",
    op: "command.list",
    since: "7.0.0",
    summary: "Lists the names of commands.",
    complexity: "O(N) for N commands",
    returns: Shape::array("names", "In small letters; a subcommand after its container and a bar.", &Shape::TEXT),
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandList>()
};

#[derive(Args)]
pub struct CommandGetKeys<'a> {
    /// A whole call, its name first.
    call: Many<'a, Word<'a>>,
}

impl SessionCommand for CommandGetKeys<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let keys = facts::keys_of(cx.state(), self.call.words())?;
        reply.array(keys.len());
        keys.iter().for_each(|(key, _)| reply.bulk(key));
        Ok(Flow::Done)
    }
}

pub const COMMAND_GETKEYS: Command = Command {
    name: "COMMAND GETKEYS",
    op: "command.getkeys",
    since: "2.8.13",
    summary: "Returns the keys that a call would touch.",
    complexity: "O(N) for N arguments",
    returns: Shape::array("keys", "In the order of the call.", &Shape::BYTES),
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandGetKeys>()
};

#[derive(Args)]
pub struct CommandGetKeysAndFlags<'a>(CommandGetKeys<'a>);

impl SessionCommand for CommandGetKeysAndFlags<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let keys = facts::keys_of(cx.state(), self.0.call.words())?;
        reply.array(keys.len());
        for (key, access) in keys {
            reply.array(2);
            reply.bulk(key);
            let names: Vec<_> = access.names().collect();
            reply.set(names.len());
            names.iter().for_each(|name| reply.status(name));
        }
        Ok(Flow::Done)
    }
}

pub const COMMAND_GETKEYSANDFLAGS: Command = Command {
    name: "COMMAND GETKEYSANDFLAGS",
    op: "command.getkeysandflags",
    since: "7.0.0",
    summary: "Returns the keys that a call would touch, and what it would do with them.",
    complexity: "O(N) for N arguments",
    returns: Shape::array(
        "keys",
        "In the order of the call.",
        &Shape::tuple("", "", &[Shape::bytes("key", ""), Shape::array("flags", "", &Shape::status("", ""))]),
    ),
    flags: ABOUT,
    ..COMMAND_GROUP.session::<CommandGetKeysAndFlags>()
};

// ---- DEBUG, SHUTDOWN ----

#[derive(Args)]
pub struct DebugSleep {
    /// How long.
    seconds: Timeout,
}

impl SessionCommand for DebugSleep {
    fn run(self, _: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.ok();
        Ok(Flow::Sleep(Duration::from_millis(self.seconds.ms.unwrap_or(0))))
    }
}

pub const DEBUG_SLEEP: Command = Command {
    name: "DEBUG SLEEP",
    op: "debug.sleep",
    since: "1.0.0",
    summary: "Lets this connection sleep. Others go on: there is no one thread to stop.",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..DEBUG.session::<DebugSleep>()
};

#[derive(Args)]
pub struct DebugSetActiveExpire {
    /// 0 or 1.
    enabled: Int<0, 1>,
}

impl SessionCommand for DebugSetActiveExpire {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.state().expiry.active.store(self.enabled.0 == 1, Ordering::Relaxed);
        cx.state().timer.wake_by(cx.now_ms());
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const DEBUG_SET_ACTIVE_EXPIRE: Command = Command {
    name: "DEBUG SET-ACTIVE-EXPIRE",
    op: "debug.setactiveexpire",
    since: "1.0.0",
    summary: "Chooses whether due keys go by themselves, or only when somebody meets them.",
    returns: Shape::OK,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    ..DEBUG.session::<DebugSetActiveExpire>()
};

/// Whether a snapshot is made at the end.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum SaveChoice {
    /// No.
    #[arg(token = "NOSAVE")]
    Nosave,
    /// Yes, whatever the settings say.
    #[arg(token = "SAVE")]
    Save,
}

#[derive(Args)]
#[args(any_order)]
pub struct ShutdownArgs {
    save: Option<SaveChoice>,
    /// Does not wait for replicas.
    #[arg(token = "NOW")]
    now: bool,
    /// Ends even when the snapshot fails.
    #[arg(token = "FORCE")]
    force: bool,
    /// Calls a shutdown off.
    #[arg(token = "ABORT")]
    abort: bool,
}

#[derive(Args)]
pub struct Shutdown {
    options: ShutdownArgs,
}

impl SessionCommand for Shutdown {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        let ShutdownArgs { save, now, force, abort } = self.options;
        if abort {
            return if save.is_some() || now || force {
                Err(Error::SYNTAX)
            } else {
                Err(Error::err("No shutdown in progress."))
            };
        }
        let save = save.map(|choice| choice == SaveChoice::Save);
        let options = ShutdownOptions { save, now, force };
        let state = cx.state().shared().ok_or(Error::err("the server is closing"))?;
        if !persist::end::saves(&state, options) {
            return Ok(Flow::Shutdown(options));
        }
        let mut tape = Tape::new(cx.session().resp3);
        let work = async move {
            match persist::end::prepare(&state, options).await {
                Ok(()) => state.host().shutdown(options),
                Err(error) => tape.error(&error),
            }
            tape
        };
        Ok(Flow::Later(Later::carried_through(work)))
    }
}

pub const SHUTDOWN: Command = Command {
    name: "SHUTDOWN",
    op: "server.shutdown",
    since: "1.0.0",
    summary: "Ends the server.",
    complexity: "O(N) for N bytes to save",
    returns: Shape::NOTHING,
    flags: Flags::ADMIN
        .and(Flags::NOSCRIPT)
        .and(Flags::LOADING)
        .and(Flags::STALE)
        .and(Flags::NO_MULTI)
        .and(Flags::ALLOW_BUSY),
    ..SERVER.session::<Shutdown>()
};
