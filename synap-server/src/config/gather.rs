//! Values as they come from files, environment and flags, one over the other.

use std::fmt::Display;

use synap_core::command::Table;
use synap_core::settings::{self, Id, Kind, Settings};

/// A line that is no setting: a user with its rules, as in an ACL file. There may be several.
pub const USER: &str = "user";

/// A line that is no setting: a command's name, and another one for it, or an empty word when nobody is to use it.
const RENAME: &str = "rename-command";

/// What was found up to now.
#[derive(Default)]
pub struct Gather {
    settings: Settings,
    /// A line has said `save` already: the next one adds to it.
    has_save: bool,
    /// Settings without effect that were given another value than the default, in the order in which they came.
    inert: Vec<&'static str>,
    users: Vec<Vec<Vec<u8>>>,
    /// The same of the command line, which stand over those of files.
    flag_users: Vec<Vec<Vec<u8>>>,
    renames: Vec<(String, String)>,
    /// What the last of them came to.
    renamed: Option<&'static Table>,
    warnings: Vec<String>,
}

impl Gather {
    /// A line of a `redis.conf`. What nobody knows is told, and left out.
    pub fn line(&mut self, place: &dyn Display, name: &str, values: &[String]) -> Result<(), String> {
        if name.eq_ignore_ascii_case(USER) {
            self.users.push(values.iter().map(|word| word.as_bytes().to_vec()).collect());
            return Ok(());
        }
        if name.eq_ignore_ascii_case(RENAME) {
            return self.rename(values).map_err(|why| format!("{place}: {name}{}: {why}", shown(values)));
        }
        let Some(id) = Settings::find(name) else {
            self.warnings.push(format!("{place}: {name} is not known here, and left out"));
            return Ok(());
        };
        self.words(id, values).map_err(|why| format!("{place}: {name}{}: {why}", shown(values)))
    }

    /// `--name value`. A name that nobody knows is a mistake: whoever types it means something.
    pub fn flag(&mut self, name: &str, values: &[String]) -> Result<(), String> {
        if name.eq_ignore_ascii_case(USER) {
            self.flag_users.push(user_words(values));
            return Ok(());
        }
        if name.eq_ignore_ascii_case(RENAME) {
            return self.rename(values).map_err(|why| format!("--{name}{}: {why}", shown(values)));
        }
        let id = Settings::find(name)
            .ok_or_else(|| format!("--{name}: Bad directive or wrong number of arguments: there is no such setting"))?;
        self.words(id, values).map_err(|why| format!("--{name}{}: {why}", shown(values)))
    }

    /// `SYNAP_NAME`, without its beginning. Others may have variables that begin so.
    pub fn variable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(id) = Settings::find(&name.replace('_', "-")) else {
            self.warnings.push(format!("there is no setting for SYNAP_{name}"));
            return Ok(());
        };
        self.set(id, value).map_err(|why| format!("SYNAP_{name} {value:?}: {why}"))
    }

    /// A whole value. The error goes behind the name.
    pub fn set(&mut self, id: Id, value: &str) -> Result<(), String> {
        Settings::check(id, value)?;
        self.settings.set(id, value).map_err(|error| error.text.to_string())?;
        let setting = id.setting();
        let is_default = || Settings::default().text(id) == self.settings.text(id);
        if setting.inert && !self.inert.contains(&setting.name) && !is_default() {
            self.inert.push(setting.name);
        }
        Ok(())
    }

    /// A value as the words of a line.
    fn words(&mut self, id: Id, values: &[String]) -> Result<(), String> {
        let value = match values {
            [value] => value.clone(),
            [_, ..] if id.setting().kind.takes_words() => values.join(" "),
            [] if id.setting().kind == Kind::SaveRules => String::new(),
            _ => return Err("wrong number of arguments".into()),
        };
        if id.setting().kind != Kind::SaveRules {
            return self.set(id, &value);
        }
        // The first line is instead of the default, the others come on top; an empty one takes all away.
        let before = self.settings.text(settings::SAVE);
        let is_added = std::mem::replace(&mut self.has_save, true) && !value.is_empty();
        self.set(id, &if is_added { format!("{before} {value}") } else { value })
    }

    fn rename(&mut self, values: &[String]) -> Result<(), String> {
        let [from, to] = values else { return Err("wrong number of arguments".into()) };
        self.renames.push((from.clone(), to.clone()));
        self.renamed = Some(Table::renamed(&self.renames)?);
        Ok(())
    }

    /// The commands under the names that clients may use.
    pub fn table(&self) -> &'static Table {
        self.renamed.unwrap_or_else(synap_core::command::table)
    }

    /// A user as a text.
    pub fn user(&mut self, text: &str) {
        self.users.push(user_words(&[text.into()]));
    }

    /// Users that were described, each a name and its rules.
    pub fn take_users(&mut self) -> Vec<Vec<Vec<u8>>> {
        let (mut users, flags) = (std::mem::take(&mut self.users), std::mem::take(&mut self.flag_users));
        users.retain(|user| !flags.iter().any(|flag| flag.first() == user.first()));
        users.extend(flags);
        users
    }

    /// The settings, and what is to be told.
    pub fn end(mut self) -> (Settings, Vec<String>) {
        if !self.inert.is_empty() {
            let names = self.inert.join(", ");
            self.warnings.push(format!("without effect here (docs/configuration.md says why): {names}"));
        }
        (self.settings, self.warnings)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// A user in texts, which blanks divide as they divide the line of a file.
fn user_words(texts: &[String]) -> Vec<Vec<u8>> {
    texts.iter().flat_map(|text| text.split_whitespace()).map(|word| word.as_bytes().to_vec()).collect()
}

fn shown(values: &[String]) -> String {
    values.iter().map(|value| format!(" {value:?}")).collect()
}
