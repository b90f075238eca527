//! A user and the set of users.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};

use super::{Category, KeyRule};
use crate::error::{Code, Error, Result};
use crate::grammar::spec::Access;

/// One user. Immutable: a change makes a new one, so that a call sees one state of it.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<str>,
    pub enabled: bool,
    /// Any password will do.
    pub nopass: bool,
    /// SHA-256 of each valid password.
    pub passwords: Vec<[u8; 32]>,
    /// A bit for each row of the table; beyond its end: `all_commands`.
    commands: Vec<u64>,
    /// What holds for rows that are not in `commands`.
    all_commands: bool,
    keys: Vec<KeyRule>,
    all_keys: bool,
    channels: Vec<Box<[u8]>>,
    all_channels: bool,
}

/// What a rule needs to know of the table: how a word selects rows.
pub trait Rows {
    /// The ids of the rows that `name` names, subcommands included; empty when there is none.
    fn by_name(&self, name: &str) -> Vec<usize>;
    fn by_category(&self, category: Category) -> Vec<usize>;
    fn count(&self) -> usize;
}

impl User {
    /// A new user as Redis makes it: off, no password, no rights.
    pub fn new(name: &str) -> User {
        User {
            name: name.into(),
            enabled: false,
            nopass: false,
            passwords: Vec::new(),
            commands: Vec::new(),
            all_commands: false,
            keys: Vec::new(),
            all_keys: false,
            channels: Vec::new(),
            all_channels: false,
        }
    }

    /// The user that every new connection is: may do everything, needs no password.
    pub fn default_user() -> User {
        User {
            enabled: true,
            nopass: true,
            all_commands: true,
            all_keys: true,
            all_channels: true,
            ..User::new("default")
        }
    }

    /// Applies one rule (`on`, `>password`, `~pattern`, `+@read`, …).
    pub fn apply(&mut self, rule: &str, rows: &dyn Rows) -> Result<()> {
        let bad =
            || Error::fmt(format!("Error in ACL SETUSER modifier '{}': Syntax error", Error::quote(rule.as_bytes())));
        match rule {
            "on" => self.enabled = true,
            "off" => self.enabled = false,
            "nopass" => {
                self.nopass = true;
                self.passwords.clear();
            }
            "resetpass" => {
                self.nopass = false;
                self.passwords.clear();
            }
            "allkeys" | "~*" => self.all_keys = true,
            "resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            "allchannels" | "&*" => self.all_channels = true,
            "resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            "allcommands" | "+@all" => self.set_all(true),
            "nocommands" | "-@all" => self.set_all(false),
            "reset" => *self = User::new(&self.name),
            _ => match rule.split_at_checked(1).ok_or_else(bad)? {
                (">", password) => {
                    self.nopass = false;
                    let digest = digest(password.as_bytes());
                    if !self.passwords.contains(&digest) {
                        self.passwords.push(digest);
                    }
                }
                ("<", password) => {
                    let digest = digest(password.as_bytes());
                    self.passwords.retain(|p| *p != digest);
                }
                ("~", pattern) => self.add_keys(true, true, pattern),
                ("%", rest) => {
                    let (rights, pattern) = rest.split_once('~').ok_or_else(bad)?;
                    if rights.is_empty() || !rights.bytes().all(|b| b"RWrw".contains(&b)) {
                        return Err(bad());
                    }
                    let has = |letter| rights.bytes().any(|b| b.eq_ignore_ascii_case(&letter));
                    self.add_keys(has(b'R'), has(b'W'), pattern);
                }
                ("&", pattern) => self.channels.push(pattern.as_bytes().into()),
                (sign @ ("+" | "-"), what) => {
                    let ids = match what.strip_prefix('@') {
                        Some(name) => rows.by_category(Category::by_name(name).ok_or_else(bad)?),
                        None => rows.by_name(what),
                    };
                    if ids.is_empty() && !what.starts_with('@') {
                        return Err(bad());
                    }
                    self.set_rows(&ids, sign == "+", rows.count());
                }
                _ => return Err(bad()),
            },
        }
        Ok(())
    }

    fn add_keys(&mut self, read: bool, write: bool, pattern: &str) {
        self.keys.push(KeyRule { read, write, pattern: pattern.as_bytes().into() });
    }

    fn set_all(&mut self, allowed: bool) {
        self.all_commands = allowed;
        self.commands.clear();
    }

    fn set_rows(&mut self, ids: &[usize], allowed: bool, count: usize) {
        if self.commands.is_empty() {
            self.commands = vec![if self.all_commands { u64::MAX } else { 0 }; count.div_ceil(64)];
        }
        for &id in ids {
            let bit = 1 << (id % 64);
            if allowed { self.commands[id / 64] |= bit } else { self.commands[id / 64] &= !bit }
        }
    }

    /// May run the row `id`.
    #[inline]
    pub fn may_run(&self, id: usize) -> bool {
        match self.commands.get(id / 64) {
            Some(word) => word & (1 << (id % 64)) != 0,
            None => self.all_commands,
        }
    }

    /// True when no key needs a look.
    #[inline]
    pub fn all_keys(&self) -> bool {
        self.all_keys
    }

    pub fn may_touch(&self, access: Access, key: &[u8]) -> bool {
        self.all_keys || self.keys.iter().any(|rule| rule.allows(access, key))
    }

    /// True when there is no key that it may not read.
    pub fn may_read_all_keys(&self) -> bool {
        self.all_keys || self.keys.iter().any(|rule| rule.read && *rule.pattern == *b"*")
    }

    /// A channel must match one of the user's patterns; a *pattern* of channels must be one of them, letter by letter.
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self
                .channels
                .iter()
                .any(|allowed| if is_pattern { **allowed == *channel } else { crate::glob::matches(allowed, channel) })
    }

    /// True when `password` opens this user.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if self.nopass {
            return true;
        }
        let given = digest(password);
        // No early exit: how long it takes must not tell how near a guess was.
        self.passwords
            .iter()
            .fold(false, |hit, known| hit | (known.iter().zip(&given).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0))
    }
}

fn digest(password: &[u8]) -> [u8; 32] {
    Sha256::digest(password).into()
}

/// All users by name.
#[derive(Debug)]
pub struct Users(RwLock<BTreeMap<Arc<str>, Arc<User>>>);

impl Default for Users {
    fn default() -> Users {
        let users = Users(RwLock::default());
        users.put(User::default_user());
        users
    }
}

impl Users {
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.0.read().get(name).cloned()
    }

    pub fn put(&self, user: User) {
        self.0.write().insert(user.name.clone(), Arc::new(user));
    }

    /// The user of a new connection.
    pub fn default_user(&self) -> Arc<User> {
        self.get("default").unwrap_or_else(|| Arc::new(User::default_user()))
    }

    /// `requirepass`: the default user's only password; an empty one takes it away.
    pub fn require_password(&self, password: &str) {
        let mut user = (*self.default_user()).clone();
        user.passwords.clear();
        user.nopass = password.is_empty();
        if !password.is_empty() {
            user.passwords.push(digest(password.as_bytes()));
        }
        self.put(user);
    }

    /// The user of these credentials.
    pub fn login(&self, name: &[u8], password: &[u8]) -> Result<Arc<User>> {
        const WRONG: Error = Error::new(Code::WrongPass, "invalid username-password pair or user is disabled.");
        let user = std::str::from_utf8(name).ok().and_then(|name| self.get(name)).ok_or(WRONG)?;
        if user.enabled && user.accepts(password) { Ok(user) } else { Err(WRONG) }
    }
}
