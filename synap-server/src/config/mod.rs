//! Settings from where operators put them: a file, the environment, the command line, the later over the earlier.
//!
//! | module | what it is |
//! |---|---|
//! | [`gather`] | one value after the other, with the place that a mistake is told with |
//! | [`conf`] | lines of a `redis.conf`, and of the command line, which means the same |
//! | [`toml`] | our own form of the file |
//! | [`rewrite`] | CONFIG REWRITE: a file with the values in force |

mod conf;
mod gather;
pub mod rewrite;
mod toml;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command, FromArgMatches, Subcommand};
use synap_core::command::Table;
use synap_core::persist::LoadOptions;
use synap_core::settings::{self, SETTINGS, Settings};

use crate::tools::Tool;
use gather::Gather;

/// A flag that is no setting: it is said for one start.
const OLDER_SNAPSHOT: &str = "load-older-snapshot";

/// A configuration file of more bytes is none.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What the program is asked to do.
pub enum Asked {
    Serve(Config),
    Tool(Tool),
}

/// How the server is to be.
pub struct Config {
    pub settings: Settings,
    /// Users, each a name and its rules.
    pub users: Vec<Vec<Vec<u8>>>,
    /// The commands under the names that clients may use.
    pub table: &'static Table,
    /// What CONFIG REWRITE writes to.
    pub file: Option<PathBuf>,
    pub load: LoadOptions,
    /// What was understood, and has no effect, or was not understood.
    pub warnings: Vec<String>,
}

impl Asked {
    /// Reads the program's arguments and environment. Ends the program when they ask for help, or are wrong for a tool.
    pub fn from_args() -> Result<Asked, String> {
        let args: Vec<String> = std::env::args_os()
            .skip(1)
            .map(|arg| arg.into_string().map_err(|arg| format!("{}: not a text", arg.to_string_lossy())))
            .collect::<Result<_, _>>()?;
        let first = args.first().map(String::as_str).unwrap_or_default();
        // redis-server knows them as the first one, too.
        let is_about = matches!(first, "-h" | "--help" | "-v" | "-V" | "--version" | "help");
        if is_about || command().find_subcommand(first).is_some() {
            // Clap has no small v.
            let args = args.iter().map(|arg| if arg == "-v" { "--version" } else { arg });
            let matches = command().get_matches_from(std::iter::once("synap-server").chain(args));
            return Tool::from_arg_matches(&matches).map(Asked::Tool).map_err(|error| error.to_string());
        }
        let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let vars = vars.filter_map(|(name, value)| Some((name.strip_prefix("SYNAP_")?.to_string(), value)));
        let vars = vars
            .map(|(name, value)| match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(format!("SYNAP_{name}: not a text")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Config::read(&args, vars).map(Asked::Serve)
    }
}

impl Config {
    fn read(args: &[String], mut vars: Vec<(String, String)>) -> Result<Config, String> {
        let mut gather = Gather::default();
        let (file, flags) = match args.first() {
            Some(first) if !first.starts_with('-') => (Some(first), &args[1..]),
            _ => (None, args),
        };
        let flags = conf::flags(flags)?;
        if let Some(file) = file {
            let text = read_file(Path::new(file))?;
            if is_toml(Path::new(file)) {
                toml::read(file, &text, &mut gather)?;
            } else {
                conf::read(file, &text, &mut gather)?;
            }
        }
        if flags.stdin {
            conf::read("standard input", &read_stdin()?, &mut gather)?;
        }
        vars.sort();
        for (name, value) in vars {
            gather.variable(&name, &value)?;
        }
        let mut load = LoadOptions { older_snapshot: false };
        for words in &flags.lines {
            match words.as_slice() {
                [name] if name == OLDER_SNAPSHOT => load.older_snapshot = true,
                [name, values @ ..] => gather.flag(name, values)?,
                [] => {}
            }
        }
        let users = gather.take_users();
        let table = gather.table();
        let (settings, warnings) = gather.end();
        // As Redis shows it, and whatever becomes of the folder that we stand in.
        let dir = std::path::absolute(settings.text(settings::DIR)).map_err(|error| format!("dir: {error}"))?;
        let dir = dir.to_str().ok_or("dir: not a text")?;
        settings.set(settings::DIR, dir).map_err(|error| error.text.to_string())?;
        let file = file.map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
        Ok(Config { settings, users, table, file, load, warnings })
    }
}

/// Whether a file is of our own form.
fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

fn read_file(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    read_text(file, path.display())
}

fn read_stdin() -> Result<String, String> {
    if std::io::stdin().is_terminal() {
        eprintln!("settings are read from standard input");
    }
    read_text(std::io::stdin(), "standard input")
}

fn read_text(source: impl Read, name: impl std::fmt::Display) -> Result<String, String> {
    let mut text = String::new();
    let count =
        source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| format!("{name}: {error}"))?;
    if count as u64 > FILE_BYTES_MAX {
        return Err(format!("{name}: more than {FILE_BYTES_MAX} bytes are no configuration file"));
    }
    Ok(text)
}

/// For help, and for the tools, which have flags of their own.
fn command() -> Command {
    let mut command = Command::new("synap-server")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage(
            "synap-server [FILE | -] [--NAME VALUE]...\n       \
             synap-server <COMMAND> [OPTIONS]",
        )
        .after_help(
            "FILE is a redis.conf, or has the same names in TOML when it ends in .toml; - is standard input. \
             SYNAP_NAME in the environment stands over the file, a flag over both.",
        );
    for setting in SETTINGS.iter().filter(|setting| !setting.inert) {
        let help = format!("{} [default: {:?}]", setting.doc.trim(), setting.default);
        command = command.arg(Arg::new(setting.name).long(setting.name).value_name("VALUE").help(help));
    }
    let help = "A user with its rules, as in an ACL file: \"ann on nopass ~* +@read\"; several times for several users";
    let command = command.arg(Arg::new("user").long("user").value_name("RULES").help(help).action(ArgAction::Append));
    let help = "Takes the older snapshot, and the log from there on, when the newest snapshot cannot be read";
    let command = command.arg(Arg::new(OLDER_SNAPSHOT).long(OLDER_SNAPSHOT).help(help).action(ArgAction::SetTrue));
    Tool::augment_subcommands(command)
        .about("A Redis, a work queue, a partitioned event log and a tool box for AI agents in one server")
        .subcommand_required(true)
        .args_conflicts_with_subcommands(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], vars: &[(&str, &str)]) -> Result<Config, String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Config::read(&args, vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[track_caller]
    fn check(args: &[&str], expected: &[(settings::Id, &str)]) {
        let config = read(args, &[]).unwrap();
        for (id, value) in expected {
            assert_eq!(config.settings.show(*id), *value, "{args:?} {}", id.setting().name);
        }
    }

    #[test]
    fn settings_are_flags_as_redis_server_takes_them() {
        use settings::*;
        check(&["--port", "7000", "--maxmemory", "1gb"], &[(PORT, "7000"), (MAXMEMORY, "1073741824")]);
        check(&["--port=7000", "--slowlog-log-slower-than", "-1"], &[(PORT, "7000"), (SLOWLOG_LOG_SLOWER_THAN, "-1")]);
        check(&["--port 7000", "--maxmemory '700mb'"], &[(PORT, "7000"), (MAXMEMORY, "734003200")]);
        check(&["--bind", "127.0.0.1", "-::1", "--port", "1"], &[(BIND, "127.0.0.1 -::1"), (PORT, "1")]);
        check(&["--port", "1", "--port", "2"], &[(PORT, "2")]);
        check(&["--save", "", "--port", "1"], &[(SAVE, ""), (PORT, "1")]);
        check(&["--save", "--port", "1"], &[(SAVE, ""), (PORT, "1")]);
        check(&["--port", "1", "--save"], &[(SAVE, "")]);
        check(&["--save", "60", "1", "--save", "10 5"], &[(SAVE, "60 1 10 5")]);
        check(&["--proc-title-template", "--save", "--save", ""], &[(PROC_TITLE_TEMPLATE, "--save"), (SAVE, "")]);
        check(&["--SLAVE-read-only", "no"], &[(REPLICA_READ_ONLY, "no")]);
        check(
            &["--shutdown-on-sigint", "nosave", "force", "now", "--shutdown-on-sigterm", "nosave force"],
            &[(SHUTDOWN_ON_SIGINT, "nosave now force"), (SHUTDOWN_ON_SIGTERM, "nosave force")],
        );
        assert!(read(&["--load-older-snapshot"], &[]).unwrap().load.older_snapshot);
        let users = read(&["--user", "ann on nopass", "--user", "bob", "on"], &[]).unwrap().users;
        assert_eq!(
            users,
            [vec![b"ann".to_vec(), b"on".to_vec(), b"nopass".to_vec()], vec![b"bob".to_vec(), b"on".to_vec()]]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, why) in [
            (vec!["--port", "many"], "--port \"many\": argument couldn't be parsed into an integer"),
            (vec!["--port"], "--port: wrong number of arguments"),
            (vec!["--port", "1", "2"], "--port \"1\" \"2\": wrong number of arguments"),
            (vec!["--port \"1"], "--port \"1: unbalanced quotes"),
            (
                vec!["--no-such-setting", "1"],
                "--no-such-setting: Bad directive or wrong number of arguments: there is no such setting",
            ),
            (vec!["-x"], "-x: Bad directive or wrong number of arguments: there is no such setting"),
            (vec!["no/such/file"], "no/such/file: "),
        ] {
            let said = read(&args, &[]).err().unwrap();
            assert!(said.starts_with(why), "{said}");
        }
        let said = read(&[], &[("PORT", "x")]).err().unwrap();
        assert_eq!(said, "SYNAP_PORT \"x\": argument couldn't be parsed into an integer");
    }

    #[test]
    fn the_environment_stands_between_file_and_flags() {
        let vars = [("PORT", "1"), ("MAXCLIENTS", "7"), ("TEST_SEED", "1")];
        let config = read(&["--port", "2"], &vars).unwrap();
        assert_eq!(config.settings.int(settings::PORT), 2);
        assert_eq!(config.settings.int(settings::MAXCLIENTS), 7);
        assert_eq!(config.warnings, ["there is no setting for SYNAP_TEST_SEED"]);
    }

    #[test]
    fn help_and_tools_are_understood() {
        command().debug_assert();
        let matches = |args: &[&str]| command().try_get_matches_from([&["synap-server"], args].concat());
        let tool = |args: &[&str]| Tool::from_arg_matches(&matches(args).unwrap()).unwrap();
        assert!(matches!(tool(&["check", "--dir", "x"]), Tool::Check { .. }));
        assert!(matches!(tool(&["repair"]), Tool::Repair { truncate: false, .. }));
        assert!(matches!(tool(&["dump", "--from", "7"]), Tool::Dump { from: Some(7), .. }));
        assert!(matches!(tool(&["load", "a.rdb"]), Tool::Load { skip_unsupported: false, .. }));
        assert!(matches(&["load"]).is_err());
        assert!(matches(&["dump", "--from", "1", "--rdb", "x"]).is_err());
    }
}
