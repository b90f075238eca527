//! The command line, made from the engine's table of settings: `--port 7000 --maxclients 100`, as redis-server takes it.

use clap::{Arg, ArgMatches, Command, FromArgMatches, Subcommand};
use synap_core::persist::LoadOptions;
use synap_core::settings::{SETTINGS, Settings};

use crate::tools::Tool;

/// A flag that is no setting: it is said for one start.
const OLDER_SNAPSHOT: &str = "load-older-snapshot";

/// A flag that may come several times: a user with its rules.
const USER: &str = "user";

/// What the program is asked to do.
pub enum Asked {
    Serve(Config),
    Tool(Tool),
}

impl Asked {
    /// Reads the program's arguments; ends the program with a message when they are wrong.
    pub fn from_args() -> Asked {
        let matches = command().get_matches();
        match Asked::read(&matches) {
            Ok(asked) => asked,
            Err(message) => command().error(clap::error::ErrorKind::InvalidValue, message).exit(),
        }
    }

    fn read(matches: &ArgMatches) -> Result<Asked, String> {
        match matches.subcommand_name() {
            Some(_) => Tool::from_arg_matches(matches).map(Asked::Tool).map_err(|error| error.to_string()),
            None => Config::read(matches).map(Asked::Serve),
        }
    }
}

/// The settings that the command line gave, by name, in its order.
pub struct Config {
    pub given: Vec<(&'static str, String)>,
    /// Users, each a name and its rules.
    pub users: Vec<Vec<Vec<u8>>>,
    pub load: LoadOptions,
}

impl Config {
    fn read(matches: &ArgMatches) -> Result<Config, String> {
        let mut given = Vec::new();
        for setting in SETTINGS {
            let Some(value) = matches.get_one::<String>(setting.name) else { continue };
            let id = Settings::find(setting.name).ok_or("a setting of the table is not found in it")?;
            Settings::check(id, value).map_err(|why| format!("--{} {value:?}: {why}", setting.name))?;
            given.push((setting.name, value.clone()));
        }
        let words = |line: &String| line.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
        let users = matches.get_many::<String>(USER).unwrap_or_default().map(words).collect();
        Ok(Config { given, users, load: LoadOptions { older_snapshot: matches.get_flag(OLDER_SNAPSHOT) } })
    }
}

fn command() -> Command {
    let mut command = Command::new("synap-server")
        .version(env!("CARGO_PKG_VERSION"))
        // As redis-server has it: what comes later counts.
        .args_override_self(true)
        .about("A Redis, a work queue, a partitioned event log and a tool box for AI agents in one server");
    for setting in SETTINGS {
        let help = format!("{} [default: {:?}]", setting.doc.trim(), setting.default);
        let mut arg =
            Arg::new(setting.name).long(setting.name).value_name("VALUE").help(help).allow_hyphen_values(true);
        if !setting.alias.is_empty() {
            arg = arg.alias(setting.alias);
        }
        command = command.arg(arg);
    }
    let help = "A user with its rules, as in an ACL file: \"ann on nopass ~* +@read\"; several times for several users";
    let command = command.arg(Arg::new(USER).long(USER).value_name("RULES").help(help).action(clap::ArgAction::Append));
    let help = "Takes the older snapshot, and the log from there on, when the newest snapshot cannot be read";
    let command =
        command.arg(Arg::new(OLDER_SNAPSHOT).long(OLDER_SNAPSHOT).help(help).action(clap::ArgAction::SetTrue));
    // Settings are of the server; a tool has flags of its own.
    Tool::augment_subcommands(command).subcommand_required(false).args_conflicts_with_subcommands(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Config, String> {
        let matches = command().try_get_matches_from([&["synap-server"], args].concat()).map_err(|e| e.to_string())?;
        Config::read(&matches)
    }

    #[test]
    fn settings_are_flags() {
        let config = read(&["--port", "7000", "--save", "", "--slowlog-log-slower-than", "-1"]).unwrap();
        assert_eq!(config.given[0], ("port", "7000".to_string()));
        assert!(config.given.contains(&("save", String::new())));
        assert!(config.given.contains(&("slowlog-log-slower-than", "-1".to_string())));
    }

    #[test]
    fn tools_stand_beside_the_settings() {
        let matches = |args: &[&str]| command().try_get_matches_from([&["synap-server"], args].concat());
        let asked = |args: &[&str]| Asked::read(&matches(args).unwrap()).unwrap();
        assert!(matches!(asked(&[]), Asked::Serve(_)));
        assert!(matches!(asked(&["--dir", "check"]), Asked::Serve(_)));
        assert!(matches!(asked(&["check", "--dir", "x"]), Asked::Tool(Tool::Check { .. })));
        assert!(matches!(asked(&["repair"]), Asked::Tool(Tool::Repair { truncate: false, .. })));
        assert!(matches!(asked(&["dump", "--from", "7"]), Asked::Tool(Tool::Dump { from: Some(7), .. })));
        assert!(matches!(asked(&["load", "a.rdb"]), Asked::Tool(Tool::Load { skip_unsupported: false, .. })));
        assert!(matches(&["--port", "7000", "check"]).is_err());
        assert!(matches(&["load"]).is_err());
        assert!(matches(&["dump", "--from", "1", "--rdb", "x"]).is_err());
    }

    #[test]
    fn a_wrong_value_names_the_flag() {
        assert!(read(&["--port", "many"]).err().unwrap().contains("--port"));
        assert!(read(&["--no-such-setting", "1"]).is_err());
    }
}
