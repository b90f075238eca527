//! The command line, made from the engine's table of settings: `--port 7000 --maxclients 100`, as redis-server takes it.

use clap::{Arg, ArgMatches, Command};
use synap_core::persist::LoadOptions;
use synap_core::settings::{SETTINGS, Settings};

/// A flag that is no setting: it is said for one start.
const OLDER_SNAPSHOT: &str = "load-older-snapshot";

/// The settings that the command line gave, by name, in its order.
pub struct Config {
    pub given: Vec<(&'static str, String)>,
    pub load: LoadOptions,
}

impl Config {
    /// Reads the program's arguments; ends the program with a message when they are wrong.
    pub fn from_args() -> Config {
        let matches = command().get_matches();
        match Config::read(&matches) {
            Ok(config) => config,
            Err(message) => command().error(clap::error::ErrorKind::InvalidValue, message).exit(),
        }
    }

    fn read(matches: &ArgMatches) -> Result<Config, String> {
        let mut given = Vec::new();
        for setting in SETTINGS {
            let Some(value) = matches.get_one::<String>(setting.name) else { continue };
            let id = Settings::find(setting.name).ok_or("a setting of the table is not found in it")?;
            Settings::check(id, value).map_err(|why| format!("--{} {value:?}: {why}", setting.name))?;
            given.push((setting.name, value.clone()));
        }
        Ok(Config { given, load: LoadOptions { older_snapshot: matches.get_flag(OLDER_SNAPSHOT) } })
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
    let help = "Takes the older snapshot, and the log from there on, when the newest snapshot cannot be read";
    command.arg(Arg::new(OLDER_SNAPSHOT).long(OLDER_SNAPSHOT).help(help).action(clap::ArgAction::SetTrue))
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
    fn a_wrong_value_names_the_flag() {
        assert!(read(&["--port", "many"]).err().unwrap().contains("--port"));
        assert!(read(&["--no-such-setting", "1"]).is_err());
    }
}
