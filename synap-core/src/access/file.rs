//! Users and keys as lines of text: `aclfile`, and the `user` lines of a configuration.
//!
//! ```text
//! user ann on #9f86d0… ~ann:* resetchannels -@all +@read
//! apikey 0f3a… ann #60303a… 1700000000000 1700003600000
//! ```
//!
//! The first form is that of Redis. The second is ours: id, user, digest of the secret, when it was made and when it
//! ends (0: never), in Unix milliseconds. Keys stand behind the users.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::secret::Digest;
use super::user::{Terms, User};
use super::users::{ApiKey, Everybody};
use crate::error::Error;

const DEFAULT: &str = "default";

/// A file of this size holds more users than anybody has.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Reads a whole file of users.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too large to be a file of users"));
    }
    fs::read(path)
}

/// Replaces a file as a whole: whoever looks sees the old one or the new one. Nobody else may read it.
pub fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.as_os_str().to_owned();
    // Two who save at once write two files.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    name.push(format!(".tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = Path::new(&name);
    let replace = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    };
    replace().inspect_err(|_| {
        // What is left of it has nothing that the old file has not.
        let _ = fs::remove_file(temporary);
    })
}

impl Everybody {
    /// The lines that make it again.
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for user in self.users.values() {
            out.extend_from_slice(&user.describe());
            out.push(b'\n');
        }
        for key in self.keys.values() {
            let line = format!(
                "apikey {} {} #{} {} {}\n",
                key.id,
                key.user,
                key.digest.hex(),
                key.created_ms,
                key.expires_ms.unwrap_or(0)
            );
            out.extend_from_slice(line.as_bytes());
        }
        out
    }

    /// Reads the whole text of a file called `name`. All that is wrong is told at once, in Redis' words, and then
    /// nothing is taken. Without a line about it the default user is `default_user`.
    pub fn from_text(text: &[u8], name: &str, default_user: User, terms: &Terms<'_>) -> Result<Everybody, String> {
        let mut read = Reading { name, everybody: Everybody::default(), ids: BTreeSet::new(), errors: String::new() };
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() {
                // Two blanks are no mistake: a rule without letters changes nothing.
                let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
                read.line(&words, index + 1, terms);
            }
        }
        let Reading { mut everybody, errors, .. } = read;
        if !errors.is_empty() {
            return Err(format!(
                "{errors}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
            ));
        }
        everybody.users.entry(DEFAULT.into()).or_insert_with(|| Arc::new(default_user));
        Ok(everybody)
    }
}

struct Reading<'a> {
    name: &'a str,
    everybody: Everybody,
    /// Of the keys.
    ids: BTreeSet<Box<str>>,
    errors: String,
}

impl Reading<'_> {
    fn line(&mut self, words: &[&[u8]], number: usize, terms: &Terms<'_>) {
        let read = match words {
            [b"user", name, rules @ ..] => self.user(name, rules, number, terms),
            [b"apikey", rest @ ..] => self.key(rest, number),
            _ => Err(format!("{}:{number} should start with user keyword followed by the username. ", self.name)),
        };
        if let Err(error) = read {
            self.errors.push_str(&error);
        }
    }

    fn user(&mut self, name: &[u8], rules: &[&[u8]], number: usize, terms: &Terms<'_>) -> Result<(), String> {
        let shown = Error::quote(name);
        let valid = User::check_name(name).ok().filter(|name| !name.is_empty());
        let name = valid
            .ok_or_else(|| format!("'{}:{number}: username '{shown}' contains invalid characters. ", self.name))?;
        if self.everybody.users.contains_key(name) {
            return Err(format!("WARNING: Duplicate user '{shown}' found on line {number}. "));
        }
        let mut user = User::new(name, terms);
        let applied = user.apply_all(rules, terms);
        // Known even when it is wrong, so that a second one is told of.
        self.everybody.users.insert(user.name.clone(), Arc::new(user));
        applied.map_err(|error| format!("{}:{number}: {}. ", self.name, error.without_secrets()))
    }

    fn key(&mut self, words: &[&[u8]], number: usize) -> Result<(), String> {
        let wrong = |what: &str| format!("{}:{number}: {what}. ", self.name);
        let text = |word: &[u8]| std::str::from_utf8(word).map(str::to_string).map_err(|_| wrong("not text"));
        let [id, user, digest, created, expires] = words else {
            return Err(wrong("an apikey has an id, a user, a digest, and when it was made and ends"));
        };
        let user = text(user)?;
        let Some(user) = self.everybody.users.get(user.as_str()).map(|user| user.name.clone()) else {
            return Err(wrong("an apikey stands behind its user"));
        };
        let digest = digest.strip_prefix(b"#").and_then(Digest::from_hex);
        let digest = digest.ok_or_else(|| wrong("the digest of an apikey is # and 64 hexadecimal digits"))?;
        let time = |word: &[u8]| crate::types::parse_int(word).filter(|ms| *ms >= 0);
        let (Some(created_ms), Some(expires_ms)) = (time(created), time(expires)) else {
            return Err(wrong("the times of an apikey are Unix milliseconds"));
        };
        let expires_ms = Some(expires_ms).filter(|ms| *ms > 0);
        let key = ApiKey { id: text(id)?.into(), user, digest, created_ms, expires_ms };
        if !self.ids.insert(key.id.clone()) || self.everybody.keys.insert(digest, key).is_some() {
            return Err(wrong("the same apikey is there twice"));
        }
        Ok(())
    }
}

/// The users of `user` lines in a configuration: each the words behind `user`. Only the default one may be there
/// already.
pub fn configured(lines: &[Vec<Vec<u8>>], terms: &Terms<'_>) -> Result<Vec<User>, String> {
    let mut users: BTreeMap<Arc<str>, User> = BTreeMap::new();
    for words in lines {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some((name, rules)) = words.split_first() else {
            return Err("a user line names a user".into());
        };
        let name = User::check_name(name).map_err(|error| error.text.into_owned())?;
        let mut user = User::new(name, terms);
        user.apply_all(rules, terms).map_err(|error| format!("user {name}: {}", error.without_secrets()))?;
        if users.insert(user.name.clone(), user).is_some() {
            return Err(format!("user {name}: Duplicate user found. A user can only be defined once in config files"));
        }
    }
    Ok(users.into_values().collect())
}
