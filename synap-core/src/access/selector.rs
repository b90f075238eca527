//! A selector: commands, keys and channels that go together. A user has one of its own and may have more in brackets;
//! one of them must allow the whole of a call.

use super::{Category, Rows};
use crate::grammar::spec::Access;
use crate::grammar::{Keys, Words};

/// A set of rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each row of the table; beyond its end: `all_commands`.
    commands: Vec<u64>,
    /// What holds for rows that are not in `commands`, those of later versions too.
    all_commands: bool,
    /// The rules that made `commands`, as they are shown behind `+@all` or `-@all`.
    rules: Vec<CommandRule>,
    /// Rows that may not be run but with this first argument.
    first_args: Vec<(usize, Box<str>)>,
    keys: Vec<KeyRule>,
    all_keys: bool,
    channels: Vec<Box<[u8]>>,
    all_channels: bool,
}

/// `+get`, `-config|set`, `+@read`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandRule {
    allows: bool,
    /// In small letters, without the sign.
    what: Box<str>,
}

/// A pattern of keys with the rights on them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyRule {
    read: bool,
    write: bool,
    pattern: Box<[u8]>,
}

impl KeyRule {
    fn covers(&self, access: Access) -> bool {
        (self.read || !access.reads()) && (self.write || !access.writes())
    }

    fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        });
        out.extend_from_slice(&self.pattern);
    }
}

/// What is wrong with a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    Syntax,
    UnknownCommand,
    AllKeysAlready,
    AllChannelsAlready,
    NoSuchPassword,
    NotAHash,
    FirstArgOfSubcommand,
}

impl RuleError {
    /// Redis' words, which clients match on.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Syntax => "Syntax error",
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::AllKeysAlready => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannelsAlready => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            RuleError::NotAHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// A call as rights see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Id of its row.
    pub row: usize,
    /// Anybody may run it: AUTH and its like.
    pub is_open: bool,
    /// What it does with keys whose argument does not say.
    pub access: Access,
    pub words: Words<'a>,
    /// Words of its name.
    pub name_words: usize,
    pub keys: &'a Keys,
}

/// What stands against a call. A later one is more telling: somebody who may run the command at least was nearer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    Command,
    /// The word at this index.
    Key(u32),
    /// It reads keys that no word names.
    AnyKey,
    Channel(u32),
}

/// Blanks would end a rule in a file, and a zero byte ends a word for other programs.
pub(super) fn has_blanks(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

impl Selector {
    /// Everything, now and later.
    pub(super) fn everything() -> Selector {
        Selector { all_commands: true, all_keys: true, all_channels: true, ..Selector::default() }
    }

    pub(super) fn with_channels(all_channels: bool) -> Selector {
        Selector { all_channels, ..Selector::default() }
    }

    // ---- rules ----

    /// Applies one rule (`+@read`, `~key:*`, `allchannels`, …).
    pub(super) fn apply(&mut self, rule: &[u8], rows: &dyn Rows) -> Result<(), RuleError> {
        let is = |words: &[&str]| words.iter().any(|word| rule.eq_ignore_ascii_case(word.as_bytes()));
        if is(&["allkeys", "~*"]) {
            self.all_keys = true;
            self.keys.clear();
        } else if is(&["resetkeys"]) {
            self.all_keys = false;
            self.keys.clear();
        } else if is(&["allchannels", "&*"]) {
            self.all_channels = true;
            self.channels.clear();
        } else if is(&["resetchannels"]) {
            self.all_channels = false;
            self.channels.clear();
        } else if is(&["allcommands", "+@all"]) {
            self.set_all(true);
        } else if is(&["nocommands", "-@all"]) {
            self.set_all(false);
        } else {
            match rule.split_first() {
                Some((b'~', pattern)) => self.add_keys(true, true, pattern)?,
                Some((b'%', rest)) => {
                    let end = rest.iter().position(|byte| *byte == b'~').ok_or(RuleError::Syntax)?;
                    let rights = &rest[..end];
                    let count = |letter| rights.iter().filter(|byte| byte.eq_ignore_ascii_case(&letter)).count();
                    let (read, write) = (count(b'R'), count(b'W'));
                    if read > 1 || write > 1 || read + write != rights.len() || rights.is_empty() {
                        return Err(RuleError::Syntax);
                    }
                    self.add_keys(read == 1, write == 1, &rest[end + 1..])?;
                }
                Some((b'&', pattern)) => self.add_channels(pattern)?,
                Some((sign @ (b'+' | b'-'), what)) => {
                    let what = std::str::from_utf8(what).map_err(|_| RuleError::UnknownCommand)?;
                    self.apply_command(*sign == b'+', &what.to_ascii_lowercase(), rows)?;
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn add_keys(&mut self, read: bool, write: bool, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeysAlready);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyRule { read, write, pattern: pattern.into() }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannelsAlready);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn set_all(&mut self, allowed: bool) {
        self.all_commands = allowed;
        self.commands.clear();
        self.rules.clear();
        self.first_args.clear();
    }

    /// `what` in small letters: `get`, `config|get`, `select|0`, `@read`.
    fn apply_command(&mut self, allows: bool, what: &str, rows: &dyn Rows) -> Result<(), RuleError> {
        if has_blanks(what.as_bytes()) {
            return Err(RuleError::UnknownCommand);
        }
        let exactly = rows.by_name(what);
        if let Some(category) = what.strip_prefix('@') {
            let category = Category::by_name(category).ok_or(RuleError::UnknownCommand)?;
            self.set_rows(&rows.by_category(category), allows, rows.count());
        } else if !exactly.is_empty() {
            self.set_rows(&exactly, allows, rows.count());
        } else {
            self.allow_first_arg(allows, what, rows)?;
        }
        self.note_rule(allows, what);
        Ok(())
    }

    /// `select|0`, which Redis keeps for old configurations. It only allows.
    fn allow_first_arg(&mut self, allows: bool, what: &str, rows: &dyn Rows) -> Result<(), RuleError> {
        let (command, arg) = what.rsplit_once('|').ok_or(RuleError::UnknownCommand)?;
        let ids = rows.by_name(command);
        if !allows || ids.is_empty() {
            return Err(RuleError::UnknownCommand);
        }
        if command.contains('|') {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if arg.is_empty() || has_blanks(arg.as_bytes()) {
            return Err(RuleError::Syntax);
        }
        if rows.has_subcommands(command) {
            return Err(RuleError::UnknownCommand);
        }
        for id in ids {
            if !self.first_args.iter().any(|(known, word)| *known == id && **word == *arg) {
                self.first_args.push((id, arg.into()));
            }
        }
        Ok(())
    }

    fn set_rows(&mut self, ids: &[usize], allowed: bool, count: usize) {
        if self.commands.is_empty() {
            self.commands = vec![if self.all_commands { u64::MAX } else { 0 }; count.div_ceil(64)];
        }
        for &id in ids {
            let bit = 1 << (id % 64);
            if allowed { self.commands[id / 64] |= bit } else { self.commands[id / 64] &= !bit }
        }
        self.first_args.retain(|(id, _)| !ids.contains(id));
        let same = if self.all_commands { u64::MAX } else { 0 };
        if self.commands.iter().all(|word| *word == same) {
            self.commands.clear();
        }
    }

    /// A rule takes the place of the one about the same, and of those about its subcommands.
    fn note_rule(&mut self, allows: bool, what: &str) {
        let is_replaced =
            |known: &str| known.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
        self.rules.retain(|known| !is_replaced(&known.what));
        self.rules.push(CommandRule { allows, what: what.into() });
    }

    // ---- rules as text ----

    /// `-@all +get +config|get`.
    pub fn describe_commands(&self) -> String {
        let mut out = String::from(if self.all_commands { "+@all" } else { "-@all" });
        for rule in &self.rules {
            out.push_str(if rule.allows { " +" } else { " -" });
            out.push_str(&rule.what);
        }
        out
    }

    /// `~a %R~b`.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut out = Vec::new();
        for rule in &self.keys {
            if !out.is_empty() {
                out.push(b' ');
            }
            rule.describe(&mut out);
        }
        out
    }

    /// `&a &b`.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let with_mark: Vec<_> = self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect();
        with_mark.join(&b' ')
    }

    /// All of it, in an order in which it can be said again.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        let keys = self.describe_keys();
        if !keys.is_empty() {
            out.extend_from_slice(&keys);
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend_from_slice(b"resetchannels ");
        }
        let channels = self.describe_channels();
        if !channels.is_empty() {
            out.extend_from_slice(&channels);
            out.push(b' ');
        }
        out.extend_from_slice(self.describe_commands().as_bytes());
    }

    // ---- what they come to ----

    /// There is nothing that it does not allow.
    pub(super) fn is_everything(&self) -> bool {
        self.all_commands && self.commands.is_empty() && self.all_keys && self.all_channels
    }

    pub(super) fn may_run(&self, row: usize) -> bool {
        match self.commands.get(row / 64) {
            Some(word) => word & (1 << (row % 64)) != 0,
            None => self.all_commands,
        }
    }

    fn may_run_with(&self, asked: &Asked<'_>) -> bool {
        let Some(first) = asked.words.get(asked.name_words) else { return false };
        let is = |(row, word): &(usize, Box<str>)| *row == asked.row && first.eq_ignore_ascii_case(word.as_bytes());
        self.first_args.iter().any(is)
    }

    pub(super) fn may_touch(&self, access: Access, key: &[u8]) -> bool {
        self.all_keys || self.keys.iter().any(|rule| rule.covers(access) && crate::glob::matches(&rule.pattern, key))
    }

    /// True when there is no key that it may not read.
    fn may_read_all_keys(&self) -> bool {
        self.all_keys || self.keys.iter().any(|rule| rule.read && *rule.pattern == *b"*")
    }

    /// A channel must match one of the patterns; a *pattern* of channels must be one of them, letter by letter.
    pub(super) fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let allows = |known: &[u8]| if is_pattern { *known == *channel } else { crate::glob::matches(known, channel) };
        self.all_channels || self.channels.iter().any(|known| allows(known))
    }

    pub(super) fn all_channels(&self) -> bool {
        self.all_channels
    }

    pub(super) fn channels(&self) -> &[Box<[u8]>] {
        &self.channels
    }

    /// What stands against the call, if anything does.
    pub(super) fn denial(&self, asked: &Asked<'_>) -> Option<Denial> {
        let Asked { words, keys, .. } = *asked;
        if !asked.is_open && !self.may_run(asked.row) && !self.may_run_with(asked) {
            return Some(Denial::Command);
        }
        if !self.all_keys {
            for key in &keys.keys {
                let access = if key.access.0 == 0 { asked.access } else { key.access };
                if !self.may_touch(access, words[key.index as usize]) {
                    return Some(Denial::Key(key.index));
                }
            }
        }
        if keys.reads_any && !self.may_read_all_keys() {
            return Some(Denial::AnyKey);
        }
        let refused = keys.channels.iter().find(|(index, is_pattern)| {
            // Looked at only now: most calls name none.
            !self.may_use_channel(words[*index as usize], *is_pattern)
        });
        refused.map(|(index, _)| Denial::Channel(*index))
    }
}
