//! Users and their rights, as Redis ACL has them. What rules mean is in `access`, where they hold in `execute::rights`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prelude::*;
use crate::access::refusals::Refusal;
use crate::access::selector::Selector;
use crate::access::users::{Change, Everybody};
use crate::access::{User, file, secret};
use crate::execute::state::State;
use crate::execute::{Later, Turn, rights};
use crate::reply::Tape;
use crate::settings;
use crate::sync::elsewhere;

const ACL: Group = Group { name: "server", op: "acl", category: Category::NONE };

pub const COMMANDS: &[Command] = &[
    ACL_SETUSER,
    ACL_GETUSER,
    ACL_DELUSER,
    ACL_LIST,
    ACL_USERS,
    ACL_WHOAMI,
    ACL_CAT,
    ACL_DRYRUN,
    ACL_GENPASS,
    ACL_LOG,
    ACL_LOAD,
    ACL_SAVE,
    super::help::row(ACL, "ACL HELP", "acl.help", "6.0.0"),
];

/// Everybody may ask these.
const ASKS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = ASKS.and(Flags::ADMIN);

/// Redis' answer to a subcommand with too many words.
fn surplus(sub: &str) -> Error {
    Error::fmt(format!("unknown subcommand or wrong number of arguments for '{sub}'. Try ACL HELP."))
}

#[derive(Args)]
pub struct AclSetUser<'a> {
    /// Name of the user; made when it is not there.
    username: Word<'a>,
    /// What is changed, in this order: `on`, `>password`, `~pattern`, `+@category`, `-command`, `&channel`,
    /// `(~pattern +command)`, `reset` and so on. All of it, or nothing when one rule is wrong.
    rules: Option<Many<'a, Word<'a>>>,
}

impl SessionCommand for AclSetUser<'_> {
    /// A call sees one state of a user.
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let name = User::check_name(self.username)?;
        let terms = rights::terms_of(state);
        let mut user = match state.users.get(name) {
            Some(known) => (*known).clone(),
            None => User::new(name, &terms),
        };
        let rules = self.rules.as_ref().map_or(&[][..], Many::words);
        user.apply_all(rules, &terms).map_err(|bad| bad.to_error())?;
        let change = state.users.put(user);
        reply.ok();
        Ok(follow(cx, change.as_slice()))
    }
}

/// Ends those who lose by a change; the caller, when it is one of them, behind its answer.
fn follow(cx: &mut SessionCx<'_, '_, '_>, changes: &[Change]) -> Flow {
    rights::follow(cx.state(), changes);
    if cx.session().client.is_killed() { Flow::Quit } else { Flow::Done }
}

pub const ACL_SETUSER: Command = Command {
    name: "ACL SETUSER",
    op: "acl.setuser",
    since: "6.0.0",
    summary: "Makes a user, or changes it.",
    complexity: "O(N) for N rules and clients",
    returns: Shape::OK,
    flags: ADMIN,
    hides: |_, _| true,
    ..ACL.session::<AclSetUser>()
};

#[derive(Args)]
pub struct AclGetUser<'a> {
    /// Name of the user.
    username: Word<'a>,
}

impl SessionCommand for AclGetUser<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let user = std::str::from_utf8(self.username).ok().and_then(|name| cx.state().users.get(name));
        let Some(user) = user else {
            reply.null();
            return Ok(Flow::Done);
        };
        reply.map(6);
        reply.text("flags");
        let flags: Vec<_> = user.flags().collect();
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.text(flag));
        reply.text("passwords");
        reply.array(user.passwords().len());
        user.passwords().iter().for_each(|password| reply.text(&password.hex()));
        write_selector(user.root(), reply);
        reply.text("selectors");
        reply.array(user.selectors().len());
        for selector in user.selectors() {
            reply.map(3);
            write_selector(selector, reply);
        }
        Ok(Flow::Done)
    }
}

/// Three members of a map.
fn write_selector(selector: &Selector, reply: &mut dyn Reply) {
    reply.text("commands");
    reply.text(&selector.describe_commands());
    reply.text("keys");
    reply.bulk(&selector.describe_keys());
    reply.text("channels");
    reply.bulk(&selector.describe_channels());
}

const COMMAND_RULES: Shape = Shape::text("commands", "Rules of commands.");
const KEY_PATTERNS: Shape = Shape::bytes("keys", "Patterns of keys, a blank between them.");
const CHANNEL_PATTERNS: Shape = Shape::bytes("channels", "Patterns of channels, a blank between them.");

pub const ACL_GETUSER: Command = Command {
    name: "ACL GETUSER",
    op: "acl.getuser",
    since: "6.0.0",
    summary: "Returns the rules of a user.",
    complexity: "O(N) for N rules",
    returns: Shape::optional(&Shape::fields(
        "user",
        "Null when there is none.",
        &[
            Shape::array("flags", "Whether it may log in, and how.", &Shape::TEXT),
            Shape::array("passwords", "SHA-256 of each, as hexadecimal digits.", &Shape::TEXT),
            COMMAND_RULES,
            KEY_PATTERNS,
            CHANNEL_PATTERNS,
            Shape::array(
                "selectors",
                "Further sets of rights.",
                &Shape::fields("", "", &[COMMAND_RULES, KEY_PATTERNS, CHANNEL_PATTERNS]),
            ),
        ],
    )),
    flags: ADMIN.and(Flags::LOOKS),
    hides: |_, _| true,
    ..ACL.session::<AclGetUser>()
};

#[derive(Args)]
pub struct AclDelUser<'a> {
    /// Names of users.
    usernames: Many<'a, Word<'a>>,
}

impl SessionCommand for AclDelUser<'_> {
    fn alone(&self) -> bool {
        true
    }

    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        if self.usernames.iter().any(|name| name == b"default") {
            return Err(Error::err("The 'default' user cannot be removed"));
        }
        let users = &cx.state().users;
        let names = self.usernames.iter().filter_map(|name| std::str::from_utf8(name).ok());
        let changes: Vec<Change> = names.filter_map(|name| users.remove(name)).collect();
        reply.int(changes.len() as i64);
        Ok(follow(cx, &changes))
    }
}

pub const ACL_DELUSER: Command = Command {
    name: "ACL DELUSER",
    op: "acl.deluser",
    since: "6.0.0",
    summary: "Removes users with their API keys, and ends their connections.",
    complexity: "O(N) for N users and clients",
    returns: Shape::int("removed", "Users that were there."),
    flags: ADMIN,
    hides: |_, _| true,
    ..ACL.session::<AclDelUser>()
};

#[derive(Args)]
pub struct AclList;

impl SessionCommand for AclList {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let users = cx.state().users.all();
        reply.array(users.len());
        users.iter().for_each(|user| reply.bulk(&user.describe()));
        Ok(Flow::Done)
    }
}

pub const ACL_LIST: Command = Command {
    name: "ACL LIST",
    op: "acl.list",
    since: "6.0.0",
    summary: "Returns all users as lines of an ACL file.",
    complexity: "O(N) for N users",
    returns: Shape::array("users", "Rules that make them again.", &Shape::BYTES),
    flags: ADMIN.and(Flags::LOOKS),
    ..ACL.session::<AclList>()
};

#[derive(Args)]
pub struct AclUsers;

impl SessionCommand for AclUsers {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let users = cx.state().users.all();
        reply.array(users.len());
        users.iter().for_each(|user| reply.text(&user.name));
        Ok(Flow::Done)
    }
}

pub const ACL_USERS: Command = Command {
    name: "ACL USERS",
    op: "acl.users",
    since: "6.0.0",
    summary: "Returns the names of all users.",
    complexity: "O(N) for N users",
    returns: Shape::array("users", "Their names, sorted.", &Shape::TEXT),
    flags: ADMIN.and(Flags::LOOKS),
    ..ACL.session::<AclUsers>()
};

#[derive(Args)]
pub struct AclWhoAmI;

impl SessionCommand for AclWhoAmI {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        match &cx.session().user {
            Some(user) => reply.text(&user.name),
            None => reply.null(),
        }
        Ok(Flow::Done)
    }
}

pub const ACL_WHOAMI: Command = Command {
    name: "ACL WHOAMI",
    op: "acl.whoami",
    since: "6.0.0",
    summary: "Returns the user that the caller is.",
    returns: Shape::optional(&Shape::text("username", "Null for nobody.")),
    flags: ASKS.and(Flags::LOOKS),
    ..ACL.session::<AclWhoAmI>()
};

#[derive(Args)]
#[args(excess = AclCat::surplus)]
pub struct AclCat<'a> {
    /// A category without its @; the names of all when left out.
    category: Option<Word<'a>>,
}

impl AclCat<'_> {
    fn surplus(&self, _: Words<'_>) -> Error {
        surplus("CAT")
    }
}

impl SessionCommand for AclCat<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let Some(name) = self.category else {
            reply.array(Category::NAMES.len());
            Category::NAMES.iter().for_each(|(name, _)| reply.text(name));
            return Ok(Flow::Done);
        };
        let unknown = || Error::fmt(format!("Unknown category '{}'", Error::quote(name)));
        let category = std::str::from_utf8(name).ok().and_then(Category::by_name).ok_or_else(unknown)?;
        let rows = cx.state().table.all().iter().filter(|row| row.acl_categories().has(category));
        let names: Vec<String> = rows.map(Command::full_name).collect();
        reply.array(names.len());
        names.iter().for_each(|name| reply.text(name));
        Ok(Flow::Done)
    }
}

pub const ACL_CAT: Command = Command {
    name: "ACL CAT",
    op: "acl.cat",
    since: "6.0.0",
    summary: "Lists the categories of commands, or the commands of one.",
    returns: Shape::array("names", "In small letters.", &Shape::TEXT),
    flags: ASKS.and(Flags::LOOKS),
    ..ACL.session::<AclCat>()
};

#[derive(Args)]
pub struct AclDryRun<'a> {
    /// Name of the user.
    username: Word<'a>,
    /// A whole call, its name first.
    call: Many<'a, Word<'a>>,
}

impl SessionCommand for AclDryRun<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let words = self.call.words();
        let user = std::str::from_utf8(self.username).ok().and_then(|name| state.users.get(name));
        let user = user.ok_or_else(|| Error::fmt(format!("User '{}' not found", Error::quote(self.username))))?;
        let row = state.table.find(words);
        let row = row.map_err(|_| Error::fmt(format!("Command '{}' not found", Error::quote(words[0]))))?;
        let count = words.len() - row.name_words().min(words.len());
        if count < row.min_words || (row.fixed && count > row.min_words) {
            return Err(Error::arity(&row.full_name()));
        }
        match rights::dry_run(state, &user, row, words) {
            Some(denial) => reply.text(&denial),
            None => reply.ok(),
        }
        Ok(Flow::Done)
    }
}

pub const ACL_DRYRUN: Command = Command {
    name: "ACL DRYRUN",
    op: "acl.dryrun",
    since: "7.0.0",
    summary: "Says whether a user may make a call, without making it.",
    returns: Shape::one_of("answer", "OK, or why not.", &[Shape::OK, Shape::TEXT]),
    flags: ADMIN.and(Flags::LOOKS),
    hides: |_, _| true,
    ..ACL.session::<AclDryRun>()
};

#[derive(Args)]
#[args(excess = AclGenPass::surplus)]
pub struct AclGenPass {
    /// Bits of the password; 256 when left out.
    bits: Option<i64>,
}

impl AclGenPass {
    const BITS_MAX: i64 = 4096;

    fn surplus(&self, _: Words<'_>) -> Error {
        surplus("GENPASS")
    }
}

impl SessionCommand for AclGenPass {
    fn run(self, _: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let bits = self.bits.unwrap_or(256);
        if !(1..=AclGenPass::BITS_MAX).contains(&bits) {
            return Err(Error::fmt(format!(
                "ACL GENPASS argument must be the number of bits for the output password, a positive number up to {}",
                AclGenPass::BITS_MAX
            )));
        }
        let password = secret::random_hex(bits.unsigned_abs().div_ceil(4) as usize);
        reply.text(&password.map_err(|_| Error::new(Code::Internal, "the system gives no randomness"))?);
        Ok(Flow::Done)
    }
}

pub const ACL_GENPASS: Command = Command {
    name: "ACL GENPASS",
    op: "acl.genpass",
    since: "6.0.0",
    summary: "Makes a password that nobody can guess.",
    returns: Shape::text("password", "Hexadecimal digits."),
    flags: ASKS,
    ..ACL.session::<AclGenPass>()
};

/// How much of the log, or its end.
#[derive(Args, Clone, Copy)]
pub enum LogOperation {
    /// Forgets all entries.
    #[arg(token = "RESET")]
    Reset,
    /// At most so many entries.
    Count(i64),
}

#[derive(Args)]
#[args(excess = AclLog::surplus)]
pub struct AclLog {
    operation: Option<LogOperation>,
}

impl AclLog {
    const COUNT: i64 = 10;

    fn surplus(&self, _: Words<'_>) -> Error {
        surplus("LOG")
    }
}

impl SessionCommand for AclLog {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let refusals = &cx.state().users.refusals;
        let count = match self.operation {
            Some(LogOperation::Reset) => {
                refusals.clear();
                reply.ok();
                return Ok(Flow::Done);
            }
            Some(LogOperation::Count(count)) => count,
            None => AclLog::COUNT,
        };
        let entries = refusals.latest(usize::try_from(count).unwrap_or(0));
        reply.array(entries.len());
        entries.iter().for_each(|entry| write_refusal(entry, cx.now_ms(), reply));
        Ok(Flow::Done)
    }
}

fn write_refusal(entry: &Refusal, now_ms: i64, reply: &mut dyn Reply) {
    reply.map(10);
    reply.text("count");
    reply.int(entry.count as i64);
    reply.text("reason");
    reply.text(entry.reason.word());
    reply.text("context");
    reply.text(entry.context.word());
    reply.text("object");
    reply.bulk(&entry.object);
    reply.text("username");
    reply.bulk(&entry.username);
    reply.text("age-seconds");
    reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
    reply.text("client-info");
    reply.text(&entry.client);
    reply.text("entry-id");
    reply.int(entry.id as i64);
    reply.text("timestamp-created");
    reply.int(entry.created_ms);
    reply.text("timestamp-last-updated");
    reply.int(entry.updated_ms);
}

pub const ACL_LOG: Command = Command {
    name: "ACL LOG",
    op: "acl.log",
    since: "6.0.0",
    summary: "Returns what was refused lately, or forgets it.",
    complexity: "O(N) for N entries",
    returns: Shape::one_of(
        "entries",
        "The latest first; OK for RESET.",
        &[
            Shape::array(
                "",
                "",
                &Shape::fields(
                    "",
                    "",
                    &[
                        Shape::int("count", "How often within a minute of each other."),
                        Shape::text("reason", "command, key, channel or auth."),
                        Shape::text("context", "toplevel, multi or lua."),
                        Shape::bytes("object", "The command, key or channel."),
                        Shape::bytes("username", "Who it was, or wanted to be."),
                        Shape::double("age-seconds", "Since the last time."),
                        Shape::text("client-info", "The client of the last time, as in CLIENT LIST."),
                        Shape::int("entry-id", "Counted up since the start."),
                        Shape::int("timestamp-created", "Unix milliseconds of the first time."),
                        Shape::int("timestamp-last-updated", "Unix milliseconds of the last time."),
                    ],
                ),
            ),
            Shape::OK,
        ],
    ),
    flags: ADMIN,
    ..ACL.session::<AclLog>()
};

// ---- the file ----

/// Where the users are kept; relative names stand in the data folder.
pub fn file_of(state: &State) -> Option<PathBuf> {
    let name = state.settings.text(settings::ACLFILE);
    let folder = state.settings.text(settings::DIR);
    (!name.is_empty()).then(|| Path::new(&folder).join(name))
}

fn configured_file(state: &State) -> Result<PathBuf> {
    const NONE: Error = Error::err(
        "This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
         command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store \
         users in the configuration.",
    );
    file_of(state).ok_or(NONE)
}

/// Reads the users of a file, or says all that is wrong with it.
pub fn read_users(state: &State, path: &Path, text: std::io::Result<Vec<u8>>) -> Result<Everybody, String> {
    let name = path.display().to_string();
    let text = text.map_err(|error| format!("Error loading ACLs, opening file '{name}': {error}"))?;
    let mut default = User::default_user();
    // A file without a line about the default user must not open the door that requirepass has shut.
    default.require(&state.settings.text(settings::REQUIREPASS));
    Everybody::from_text(&text, &name, default, &rights::terms_of(state))
}

#[derive(Args)]
pub struct AclLoad;

impl SessionCommand for AclLoad {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        let path = configured_file(cx.state())?;
        let state = cx.state().shared().ok_or(Error::err("the server is closing"))?;
        let mut tape = Tape::new(cx.session().resp3);
        let reply = async move {
            match load(&state, path).await {
                Ok(()) => tape.ok(),
                Err(why) => tape.error(&Error::fmt(why.replace(['\r', '\n'], " "))),
            }
            tape
        };
        Ok(Flow::Later(Later::carried_through(reply)))
    }
}

async fn load(state: &Arc<State>, path: PathBuf) -> Result<(), String> {
    let from = path.clone();
    let reading = elsewhere("synap-acl", move || file::read(&from));
    let text = match reading {
        Ok(reading) => reading.await.unwrap_or_else(|| Err(std::io::Error::other("the reader has failed"))),
        Err(error) => Err(error),
    };
    let everybody = read_users(state, &path, text)?;
    // Nobody else is inside: a call sees the old users or the new ones.
    let alone = Turn::alone(state).await;
    rights::follow(state, &state.users.replace(everybody));
    drop(alone);
    Ok(())
}

pub const ACL_LOAD: Command = Command {
    name: "ACL LOAD",
    op: "acl.load",
    since: "6.0.0",
    summary: "Replaces all users and API keys by those of the ACL file, or none when the file has a mistake.",
    complexity: "O(N) for N users and clients",
    returns: Shape::OK,
    flags: ADMIN.and(Flags::NO_MULTI),
    ..ACL.session::<AclLoad>()
};

#[derive(Args)]
pub struct AclSave;

impl SessionCommand for AclSave {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, _: &mut dyn Reply) -> Result<Flow> {
        const FAILED: Error =
            Error::err("There was an error trying to save the ACLs. Please check the server logs for more information");
        let path = configured_file(cx.state())?;
        let everybody = cx.state().users.snapshot();
        let state = cx.state().shared().ok_or(Error::err("the server is closing"))?;
        let writing = elsewhere("synap-acl", move || {
            let written = file::write(&path, &everybody.to_text());
            written.map_err(|error| format!("{}: {error}", path.display()))
        });
        let writing = writing.map_err(|_| FAILED)?;
        let mut tape = Tape::new(cx.session().resp3);
        let reply = async move {
            match writing.await {
                Some(Ok(())) => tape.ok(),
                failed => {
                    let why = failed.and_then(Result::err).unwrap_or_default();
                    state.host().warn(&format!("the users were not saved: {why}"));
                    tape.error(&FAILED);
                }
            }
            tape
        };
        Ok(Flow::Later(Later::carried_through(reply)))
    }
}

pub const ACL_SAVE: Command = Command {
    name: "ACL SAVE",
    op: "acl.save",
    since: "6.0.0",
    summary: "Writes all users and API keys into the ACL file.",
    complexity: "O(N) for N users",
    returns: Shape::OK,
    flags: ADMIN.and(Flags::NO_MULTI),
    ..ACL.session::<AclSave>()
};

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, call_as, split};

    /// Rules, and what GETUSER says of the commands then.
    #[track_caller]
    fn commands(rules: &str, expected: &str) {
        let mut test = TestEngine::default();
        assert_eq!(test.call(&format!("ACL SETUSER u {rules}")), "OK", "{rules}");
        let user = test.call("ACL GETUSER u");
        assert!(user.contains(&format!(r#""commands": "{expected}""#)), "{rules}: {user}");
    }

    #[test]
    fn rules_of_commands_are_kept_as_short_as_they_can_be() {
        commands("", "-@all");
        commands("+@all -@hash -@slow +hget", "+@all -@hash -@slow +hget");
        commands("+@all -@hash -@slow +hget -@hash", "+@all -@slow +hget -@hash");
        commands("+@all -@hash +@hash", "+@all +@hash");
        commands("+@HASH +@hash +HGET +hGeT", "-@all +@hash +hget");
        commands("+client|list +config|get +config +acl|list -acl", "-@all +client|list +config -acl");
        commands("+select|0 +select|0 +debug|segfault +debug", "-@all +select|0 +debug");
        commands("+config +config|get -config|set +config", "-@all +config");
        commands("+get -get nocommands -@dangerous", "-@all -@dangerous");
        commands("+@all +client|id", "+@all +client|id");
    }

    #[test]
    fn users_are_shown_as_they_can_be_said_again() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ACL LIST => ["user default on nopass sanitize-payload ~* &* +@all"]
            ACL SETUSER ann => OK
            ACL SETUSER ann on >a %R~r %W~w %RW~rw ~r &c +get => OK
            ACL SETUSER ann "(~s +set" &x ) => OK
            ACL LIST => ["user ann on sanitize-payload #ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb ~r %W~w ~rw resetchannels &c -@all +get (~s resetchannels &x -@all +set)", "user default on nopass sanitize-payload ~* &* +@all"]
            ACL GETUSER ann => {"flags": ["on", "sanitize-payload"], "passwords": ["ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"], "commands": "-@all +get", "keys": "~r %W~w ~rw", "channels": "&c", "selectors": [{"commands": "-@all +set", "keys": "~s", "channels": "&x"}]}
            ACL GETUSER nobody => nil
            ACL USERS => ["ann", "default"]
            ACL WHOAMI => "default"
            ACL SETUSER ann clearselectors resetkeys <a off skip-sanitize-payload "" => OK
            ACL LIST => ["user ann off skip-sanitize-payload resetchannels &c -@all +get", "user default on nopass sanitize-payload ~* &* +@all"]
            ACL SETUSER ann reset => OK
            ACL LIST => ["user ann off sanitize-payload resetchannels -@all", "user default on nopass sanitize-payload ~* &* +@all"]
            ACL DELUSER ann nobody => 1
            ACL USERS => ["default"]
            CONFIG SET acl-pubsub-default allchannels => OK
            ACL SETUSER bob (~a) => OK
            ACL LIST => ["user bob off sanitize-payload &* -@all (~a &* -@all)", "user default on nopass sanitize-payload ~* &* +@all"]
            "#,
        );
    }

    #[test]
    fn a_wrong_rule_is_told_of_in_the_words_of_redis_and_nothing_is_changed() {
        let mut test = TestEngine::default();
        let cases = [
            ("hello", "Error in ACL SETUSER modifier 'hello': Syntax error"),
            ("%~", "Error in ACL SETUSER modifier '%~': Syntax error"),
            ("%RR~a", "Error in ACL SETUSER modifier '%RR~a': Syntax error"),
            ("%R", "Error in ACL SETUSER modifier '%R': Syntax error"),
            (")", "Error in ACL SETUSER modifier ')': Syntax error"),
            ("(", "Unmatched parenthesis in acl selector starting at '('."),
            ("(+ping (+select", "Unmatched parenthesis in acl selector starting at '(+ping'."),
            ("(wrong)", "Error in ACL SETUSER modifier '(wrong)': Syntax error"),
            (r#"" () ""#, "Error in ACL SETUSER modifier ' () ': Syntax error"),
            ("+nosuch", "Error in ACL SETUSER modifier '+nosuch': Unknown command or category name in ACL"),
            ("+@nosuch", "Error in ACL SETUSER modifier '+@nosuch': Unknown command or category name in ACL"),
            (
                r#""+config get""#,
                "Error in ACL SETUSER modifier '+config get': Unknown command or category name in ACL",
            ),
            ("-config|asdf", "Error in ACL SETUSER modifier '-config|asdf': Unknown command or category name in ACL"),
            ("+config|asdf", "Error in ACL SETUSER modifier '+config|asdf': Unknown command or category name in ACL"),
            ("-select|0", "Error in ACL SETUSER modifier '-select|0': Unknown command or category name in ACL"),
            ("+get|a|b", "Error in ACL SETUSER modifier '+get|a|b': Unknown command or category name in ACL"),
            ("+select|", "Error in ACL SETUSER modifier '+select|': Syntax error"),
            (
                "+config|get|appendonly",
                "Error in ACL SETUSER modifier '+config|get|appendonly': Allowing first-arg of a subcommand is not supported",
            ),
            (
                "~* ~a",
                "Error in ACL SETUSER modifier '~a': Adding a pattern after the * pattern (or the 'allkeys' flag) is not \
                 valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
            ),
            (
                "allchannels &a",
                "Error in ACL SETUSER modifier '&a': Adding a pattern after the * pattern (or the 'allchannels' flag) is \
                 not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels",
            ),
            (
                "<nothing",
                "Error in ACL SETUSER modifier '<nothing': The password you are trying to remove from the user does not exist",
            ),
            (
                "#00",
                "Error in ACL SETUSER modifier '#00': The password hash must be exactly 64 characters and contain only \
                 lowercase hexadecimal characters",
            ),
        ];
        for (rules, error) in cases {
            assert_eq!(test.call(&format!("ACL SETUSER u on +@all {rules}")), format!("-ERR {error}"), "{rules}");
        }
        test.check(
            r#"
            ACL GETUSER u => nil
            ACL SETUSER "a a" => -ERR Usernames can't contain spaces or null characters
            ACL SETUSER "a\x00" => -ERR Usernames can't contain spaces or null characters
            ACL DELUSER u default => -ERR The 'default' user cannot be removed
            ACL CAT nosuch => -ERR Unknown category 'nosuch'
            ACL CAT a b => -ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.
            ACL GENPASS -1 => -ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096
            ACL GENPASS 4097 => -ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096
            ACL HELP a => -ERR wrong number of arguments for 'acl|help' command
            ACL SAVE => -ERR This instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the configuration.
            "#,
        );
        assert_eq!(test.call("ACL GENPASS 5").len(), 2 + 2);
        assert_eq!(test.call("ACL GENPASS").len(), 2 + 64);
        assert!(test.call("ACL CAT transaction").contains(r#""multi""#));
        assert!(test.call("ACL CAT admin").contains(r#""config|set""#));
    }

    #[test]
    fn a_change_holds_for_those_who_are_in() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ACL SETUSER ann on nopass +@all ~ann:* => OK
            SET ann:1 1 => OK
            "#,
        );
        let mut ann = test.another();
        let engine = test.engine.clone();
        let mut says = |line: &str| {
            let words = split(line);
            call_as(&engine, &mut ann, &words.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        assert_eq!(says("AUTH ann any"), "OK");
        assert_eq!(says("GET ann:1"), r#""1""#);
        assert_eq!(says("GET bob:1"), "-NOPERM No permissions to access a key");
        assert_eq!(says("PUBLISH c x"), "-NOPERM No permissions to access a channel");
        test.check("ACL SETUSER ann -get resetkeys ~bob:* &c => OK");
        assert_eq!(says("GET bob:1"), "-NOPERM User ann has no permissions to run the 'get' command");
        assert_eq!(says("STRLEN ann:1"), "-NOPERM No permissions to access a key");
        assert_eq!(says("STRLEN bob:1"), "0");
        assert_eq!(says("PUBLISH c x"), "0");
        // Queued, and refused when it runs.
        assert_eq!(says("MULTI"), "OK");
        assert_eq!(says("STRLEN bob:1"), "QUEUED");
        test.check("ACL SETUSER ann -strlen => OK");
        assert_eq!(says("EXEC"), "[-NOPERM User ann has no permissions to run the 'strlen' command]");
        test.check("ACL SETUSER ann off => OK");
        assert_eq!(says("PING"), "PONG", "who is in stays in");
        assert_eq!(says("AUTH ann any"), "-WRONGPASS invalid username-password pair or user is disabled.");
        test.check("ACL DELUSER ann => 1");
        assert_eq!(says("PING"), "-NOAUTH Authentication required.");
        assert!(ann.client.is_killed());
        test.engine.leave(&mut ann);
    }

    #[test]
    fn first_arguments_open_what_is_shut() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ACL SETUSER default -select +select|1 => OK
            SELECT 1 => OK
            SELECT 0 => -NOPERM User default has no permissions to run the 'select' command
            ACL SETUSER default -select => OK
            SELECT 1 => -NOPERM User default has no permissions to run the 'select' command
            "#,
        );
    }

    #[test]
    fn one_selector_must_allow_the_whole_call() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ACL SETUSER u on nopass "(%R~read* +@all)" "(%W~write* +@all)" => OK
            ACL DRYRUN u GET read1 => OK
            ACL DRYRUN u LPUSH write1 a => OK
            ACL DRYRUN u COPY read write => "User u has no permissions to access the \'write\' key"
            ACL DRYRUN u GET write => "User u has no permissions to access the \'write\' key"
            ACL DRYRUN u SORT read BY x* => "User u has no permissions to access the \'*\' key"
            ACL SETUSER u reset +mget ~key "(+mget ~key ~otherkey)" => OK
            ACL DRYRUN u GET key => "User u has no permissions to run the \'get\' command"
            ACL DRYRUN u MGET otherkey someotherkey => "User u has no permissions to access the \'someotherkey\' key"
            ACL DRYRUN u MGET key otherkey someotherkey => "User u has no permissions to access the \'someotherkey\' key"
            ACL SETUSER u reset +@all ~* &a* => OK
            ACL DRYRUN u SUBSCRIBE abc => OK
            ACL DRYRUN u PSUBSCRIBE a* => OK
            ACL DRYRUN u PSUBSCRIBE ab* => "User u has no permissions to access the \'ab*\' channel"
            ACL DRYRUN u SPUBLISH b x => "User u has no permissions to access the \'b\' channel"
            ACL DRYRUN nobody GET a => -ERR User 'nobody' not found
            ACL DRYRUN u NOSUCH a => -ERR Command 'NOSUCH' not found
            ACL DRYRUN u SET a => -ERR wrong number of arguments for 'set' command
            "#,
        );
    }

    #[test]
    fn what_was_refused_is_noted() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            ACL SETUSER default -get resetkeys ~a => OK
            GET a => -NOPERM User default has no permissions to run the 'get' command
            GET a => -NOPERM User default has no permissions to run the 'get' command
            STRLEN b => -NOPERM No permissions to access a key
            MULTI => OK
            STRLEN b => -NOPERM No permissions to access a key
            DISCARD => OK
            AUTH nobody x => -WRONGPASS invalid username-password pair or user is disabled.
            HELLO 3 AUTH nobody x => -WRONGPASS invalid username-password pair or user is disabled.
            "#,
        );
        let info = test.call("INFO stats");
        for line in ["denied_auth:2", "denied_cmd:2", "denied_key:2", "denied_channel:0"] {
            assert!(info.contains(&format!("acl_access_{line}")), "{line}: {info}");
        }
        let log = test.call("ACL LOG");
        let told: Vec<&str> = [r#""count": "#, r#""reason": "#, r#""context": "#, r#""object": "#, r#""username": "#]
            .iter()
            .flat_map(|name| log.split(name).skip(1).map(|rest| rest.split([',', '}']).next().unwrap_or_default()))
            .collect();
        assert_eq!(
            told,
            [
                ["1", "1", "1", "1", "2"],
                [r#""auth""#, r#""auth""#, r#""key""#, r#""key""#, r#""command""#],
                [r#""toplevel""#, r#""toplevel""#, r#""multi""#, r#""toplevel""#, r#""toplevel""#],
                [r#""HELLO""#, r#""AUTH""#, r#""b""#, r#""b""#, r#""get""#],
                [r#""nobody""#, r#""nobody""#, r#""default""#, r#""default""#, r#""default""#],
            ]
            .concat(),
            "{log}"
        );
        assert!(log.contains("cmd=hello user=default"), "{log}");
        assert_eq!(test.call("ACL LOG 1").matches("entry-id").count(), 1);
        test.check(
            r#"
            CONFIG SET acllog-max-len 0 => OK
            STRLEN c => -NOPERM No permissions to access a key
            ACL LOG => []
            CONFIG SET acllog-max-len 2 => OK
            STRLEN d => -NOPERM No permissions to access a key
            ACL LOG RESET => OK
            ACL LOG => []
            "#,
        );
    }

    #[test]
    fn requirepass_is_the_password_of_the_default_user() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            AUTH x => -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
            CONFIG SET requirepass x => OK
            AUTH y => -WRONGPASS invalid username-password pair or user is disabled.
            AUTH x => OK
            AUTH default x => OK
            AUTH a b c => -ERR syntax error
            "#,
        );
        let mut stranger = test.another();
        assert_eq!(call_as(&test.engine, &mut stranger, &[b"PING"]), "-NOAUTH Authentication required.");
        test.check(r#"CONFIG SET requirepass "" => OK"#);
        assert_eq!(call_as(&test.engine, &mut stranger, &[b"PING"]), "PONG");
        test.engine.leave(&mut stranger);
    }

    #[test]
    fn keys_stand_for_users_for_a_time() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            APIKEY CREATE ann => -ERR User 'ann' not found
            ACL SETUSER ann on => OK
            APIKEY CREATE ann EX 0 => -ERR value is not an integer or out of range
            APIKEY LIST => []
            "#,
        );
        let member = |reply: &str, name: &str| -> String {
            let rest = reply.split(&format!("\"{name}\": \"")).nth(1).expect("a member");
            rest.split('"').next().expect("its end").to_string()
        };
        let brief = test.call("APIKEY CREATE ann EX 10");
        let lasting = test.call("APIKEY CREATE ann");
        let users = |test: &TestEngine, reply: &str| {
            let now_ms = test.engine.state().clock.now_ms();
            let secret = member(reply, "secret");
            test.engine.state().users.login_with_key(secret.as_bytes(), now_ms).map(|user| user.name.to_string())
        };
        assert_eq!(users(&test, &brief).as_deref(), Ok("ann"));
        assert_eq!(users(&test, &lasting).as_deref(), Ok("ann"));
        assert!(!test.call("APIKEY LIST").contains(&member(&brief, "secret")));
        test.clock.advance(10_000);
        assert!(users(&test, &brief).is_err());
        assert_eq!(test.call("APIKEY LIST").matches("\"id\"").count(), 1);
        let id = member(&lasting, "id");
        test.check("ACL SETUSER ann off => OK");
        assert!(users(&test, &lasting).is_err());
        test.check("ACL SETUSER ann on => OK");
        test.check(&format!("APIKEY REVOKE {id} => 1\nAPIKEY REVOKE {id} => 0"));
        assert!(users(&test, &lasting).is_err());
        let third = test.call("APIKEY CREATE ann");
        test.check("ACL DELUSER ann => 1\nACL SETUSER ann on => OK");
        assert!(users(&test, &third).is_err(), "keys go with their user");
    }

    #[test]
    fn secrets_are_not_in_the_slowlog() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            CONFIG SET slowlog-log-slower-than 0 => OK
            ACL SETUSER ann on >hunter2 => OK
            ACL GETUSER ann => {"flags": ["on", "sanitize-payload"], "passwords": ["f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7"], "commands": "-@all", "keys": "", "channels": "", "selectors": []}
            "#,
        );
        let calls = test.engine.state().slowlog.newest(usize::MAX);
        let words: Vec<Vec<u8>> = calls.into_iter().flat_map(|call| call.words).collect();
        assert!(words.iter().any(|word| word == b"(redacted)"));
        assert!(words.iter().all(|word| !word.ends_with(b"hunter2") && word != b"ann"));
    }
}
