//! All users, and the keys of programs, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Rows;
use super::refusals::{Patience, Refusals};
use super::secret::{self, Digest};
use super::user::{Terms, User};
use crate::error::{Code, Error, Result};
use crate::settings::{self, Settings};

const DEFAULT: &str = "default";

/// Keys at the same time, so that nobody fills the memory with them.
const KEY_COUNT_MAX: usize = 1 << 16;

/// What programs log in with over HTTP instead of a password: a secret that stands for a user, perhaps for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Names it where the secret must not stand.
    pub id: Box<str>,
    pub user: Arc<str>,
    pub digest: Digest,
    pub created_ms: i64,
    /// Unix milliseconds; `None` for ever.
    pub expires_ms: Option<i64>,
}

impl ApiKey {
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|at| at <= now_ms)
    }
}

/// One state of all users and keys.
#[derive(Clone, Debug, Default)]
pub struct Everybody {
    pub(super) users: BTreeMap<Arc<str>, Arc<User>>,
    /// By the digests of their secrets, which they are looked up by.
    pub(super) keys: BTreeMap<Digest, ApiKey>,
}

/// All users, and what they were refused.
#[derive(Debug)]
pub struct Users {
    everybody: RwLock<Everybody>,
    pub refusals: Refusals,
    pub patience: Patience,
}

impl Default for Users {
    fn default() -> Users {
        let users =
            Users { everybody: RwLock::default(), refusals: Refusals::default(), patience: Patience::default() };
        users.put(User::default_user());
        users
    }
}

/// A user that was replaced, and by whom; nobody when it was removed.
pub struct Change {
    pub old: Arc<User>,
    pub new: Option<Arc<User>>,
}

/// What rules mean under these settings.
pub fn terms<'a>(rows: &'a dyn Rows, settings: &Settings) -> Terms<'a> {
    let all_channels = settings.show(settings::ACL_PUBSUB_DEFAULT) == "allchannels";
    Terms { rows, all_channels }
}

impl Users {
    pub fn get(&self, name: &str) -> Option<Arc<User>> {
        self.everybody.read().users.get(name).cloned()
    }

    /// All, by name.
    pub fn all(&self) -> Vec<Arc<User>> {
        self.everybody.read().users.values().cloned().collect()
    }

    /// The user of a new connection.
    pub fn default_user(&self) -> Arc<User> {
        self.get(DEFAULT).unwrap_or_else(|| Arc::new(User::default_user()))
    }

    /// Puts a user in the place of the one with its name. Where sessions may be, nobody else is inside the gate.
    pub fn put(&self, user: User) -> Option<Change> {
        user.settle();
        let new = Arc::new(user);
        let old = self.everybody.write().users.insert(new.name.clone(), new.clone())?;
        old.supersede();
        Some(Change { old, new: Some(new) })
    }

    /// Removes a user with its keys.
    pub fn remove(&self, name: &str) -> Option<Change> {
        let mut everybody = self.everybody.write();
        let old = everybody.users.remove(name)?;
        everybody.keys.retain(|_, key| *key.user != *name);
        old.supersede();
        Some(Change { old, new: None })
    }

    /// Puts `everybody` in the place of all users and keys, and says who is another one now.
    pub fn replace(&self, everybody: Everybody) -> Vec<Change> {
        everybody.users.values().for_each(|user| user.settle());
        let mut current = self.everybody.write();
        let old = std::mem::replace(&mut *current, everybody);
        old.users.values().for_each(|user| user.supersede());
        let successor = |old: Arc<User>| Change { new: current.users.get(&old.name).cloned(), old };
        old.users.into_values().map(successor).collect()
    }

    /// Each user by its name, with its line in a configuration; without the default one when it is what `requirepass`
    /// alone makes of it.
    pub fn configured(&self, requirepass: &str) -> Vec<(Arc<str>, Vec<u8>)> {
        let mut usual = User::default_user();
        usual.require(requirepass);
        let (usual, everybody) = (usual.describe(), self.everybody.read());
        let lines = everybody.users.iter().map(|(name, user)| (name, user.describe()));
        let told = lines.filter(|(_, line)| *line != usual);
        told.map(|(name, line)| (name.clone(), line)).collect()
    }

    /// A copy, to be written to a file.
    pub fn snapshot(&self) -> Everybody {
        self.everybody.read().clone()
    }

    /// `requirepass`: the default user's only password; an empty one takes it away.
    pub fn require_password(&self, password: &str) {
        let mut user = (*self.default_user()).clone();
        user.require(password);
        self.put(user);
    }

    /// The user of these credentials.
    pub fn login(&self, name: &[u8], password: &[u8]) -> Result<Arc<User>> {
        const WRONG: Error = Error::new(Code::WrongPass, "invalid username-password pair or user is disabled.");
        let user = std::str::from_utf8(name).ok().and_then(|name| self.get(name));
        let Some(user) = user else {
            // How long it takes must not tell which users there are.
            std::hint::black_box(Digest::of(password));
            return Err(WRONG);
        };
        if user.accepts(password) && user.enabled { Ok(user) } else { Err(WRONG) }
    }

    // ---- keys ----

    /// The user of a key's secret.
    pub fn login_with_key(&self, secret: &[u8], now_ms: i64) -> Result<Arc<User>> {
        const WRONG: Error = Error::new(Code::WrongPass, "invalid or expired API key, or its user is disabled.");
        let everybody = self.everybody.read();
        // Looked up by its digest: nobody comes nearer to a secret by how long that takes.
        let key = everybody.keys.get(&Digest::of(secret)).filter(|key| !key.is_expired(now_ms));
        let user = key.and_then(|key| everybody.users.get(&key.user)).filter(|user| user.enabled);
        user.cloned().ok_or(WRONG)
    }

    /// A new key for `user`, with its secret, which nobody can ask for again.
    pub fn create_key(&self, user: &str, now_ms: i64, expires_ms: Option<i64>) -> Result<(ApiKey, String)> {
        let no_chance = |_| Error::new(Code::Internal, "the system gives no randomness");
        let id = secret::random_hex(16).map_err(no_chance)?.into_boxed_str();
        let secret = format!("synap_{}", secret::random_hex(64).map_err(no_chance)?);
        let mut everybody = self.everybody.write();
        everybody.keys.retain(|_, key| !key.is_expired(now_ms));
        if everybody.keys.len() >= KEY_COUNT_MAX {
            return Err(Error::err("there are too many API keys"));
        }
        let Some(user) = everybody.users.get(user).map(|user| user.name.clone()) else {
            return Err(Error::fmt(format!("User '{}' not found", Error::quote(user.as_bytes()))));
        };
        let digest = Digest::of(secret.as_bytes());
        let key = ApiKey { id, user, digest, created_ms: now_ms, expires_ms };
        everybody.keys.insert(digest, key.clone());
        Ok((key, secret))
    }

    /// The keys that are still valid, the oldest first.
    pub fn keys(&self, now_ms: i64) -> Vec<ApiKey> {
        let mut keys: Vec<ApiKey> = self.everybody.read().keys.values().cloned().collect();
        keys.retain(|key| !key.is_expired(now_ms));
        keys.sort_by(|a, b| (a.created_ms, &a.id).cmp(&(b.created_ms, &b.id)));
        keys
    }

    /// What was kept of the key's secret, when there was such a key.
    pub fn revoke_key(&self, id: &str) -> Option<Digest> {
        let mut everybody = self.everybody.write();
        let digest = everybody.keys.values().find(|key| *key.id == *id).map(|key| key.digest)?;
        everybody.keys.remove(&digest);
        Some(digest)
    }
}
