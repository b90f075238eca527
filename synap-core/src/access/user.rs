//! A user: a name, what logs it in, and what it may do.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Rows;
use super::secret::Digest;
use super::selector::{Asked, Denial, RuleError, Selector, has_blanks};
use crate::error::{Error, Result};
use crate::grammar::spec::Access;

/// One user. Immutable once it is known to sessions: a change makes another one, so that a call sees one state of it.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Arc<str>,
    pub enabled: bool,
    /// Any password will do.
    pub nopass: bool,
    /// Kept for configurations that say it: RESTORE checks every payload.
    skips_sanitizing: bool,
    passwords: Vec<Digest>,
    root: Selector,
    /// Those in brackets.
    others: Vec<Selector>,
    standing: Standing,
}

/// What a session asks of its user at every call, kept at hand.
#[derive(Debug, Default)]
struct Standing {
    /// It may do everything, and is not superseded.
    is_free: AtomicBool,
    is_superseded: AtomicBool,
}

/// A copy is going to be another user.
impl Clone for Standing {
    fn clone(&self) -> Standing {
        Standing::default()
    }
}

/// What rules mean here: the table that they select from, and what new users begin with.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub rows: &'a dyn Rows,
    /// `acl-pubsub-default allchannels`: new users may use all channels.
    pub all_channels: bool,
}

impl<'a> Terms<'a> {
    pub fn of(rows: &'a dyn Rows) -> Terms<'a> {
        Terms { rows, all_channels: false }
    }
}

/// What is wrong with the rules of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRule {
    /// This word opens a selector that does not end.
    Unmatched(String),
    Rule(String, RuleError),
}

impl BadRule {
    /// For whoever has said the rules.
    pub fn to_error(&self) -> Error {
        Error::fmt(match self {
            BadRule::Unmatched(start) => format!("Unmatched parenthesis in acl selector starting at '{start}'."),
            BadRule::Rule(rule, error) => format!("Error in ACL SETUSER modifier '{rule}': {}", error.text()),
        })
    }

    /// For a log: names of commands are no secrets, anything else may be a password.
    pub fn without_secrets(&self) -> String {
        match self {
            BadRule::Unmatched(_) => "Unmatched parenthesis in selector definition".into(),
            BadRule::Rule(rule, error @ RuleError::UnknownCommand) => {
                format!("Error in applying operation '{rule}': {}", error.text())
            }
            BadRule::Rule(_, error) => error.text().into(),
        }
    }
}

impl User {
    /// A new user as Redis makes it: off, no password, no rights.
    pub fn new(name: &str, terms: &Terms<'_>) -> User {
        User::with(name, Selector::with_channels(terms.all_channels))
    }

    fn with(name: &str, root: Selector) -> User {
        User {
            name: name.into(),
            enabled: false,
            nopass: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            root,
            others: Vec::new(),
            standing: Standing::default(),
        }
    }

    /// The user that every new connection is: may do everything, needs no password.
    pub fn default_user() -> User {
        let user = User { enabled: true, nopass: true, ..User::with("default", Selector::everything()) };
        user.settle();
        user
    }

    /// Names stand in files, where blanks end a word.
    pub fn check_name(name: &[u8]) -> Result<&str> {
        const BLANKS: Error = Error::err("Usernames can't contain spaces or null characters");
        if has_blanks(name) {
            return Err(BLANKS);
        }
        std::str::from_utf8(name).map_err(|_| Error::err("Usernames must be UTF-8"))
    }

    // ---- rules ----

    /// Applies all `rules`, or says what is wrong with the first that is. Selectors may be spread over several.
    pub fn apply_all(&mut self, rules: &[&[u8]], terms: &Terms<'_>) -> Result<(), BadRule> {
        for rule in merge_selectors(rules).map_err(|start| BadRule::Unmatched(Error::quote(start)))? {
            self.apply(&rule, terms).map_err(|error| BadRule::Rule(Error::quote(&rule), error))?;
        }
        Ok(())
    }

    /// Applies one rule (`on`, `>password`, `~pattern`, `+@read`, `(~a +get)`, …).
    pub fn apply(&mut self, rule: &[u8], terms: &Terms<'_>) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        if rule.is_empty() {
            // Redis ignores it.
        } else if is("on") {
            self.enabled = true;
        } else if is("off") {
            self.enabled = false;
        } else if is("skip-sanitize-payload") {
            self.skips_sanitizing = true;
        } else if is("sanitize-payload") {
            self.skips_sanitizing = false;
        } else if is("nopass") {
            self.nopass = true;
            self.passwords.clear();
        } else if is("resetpass") {
            self.nopass = false;
            self.passwords.clear();
        } else if is("clearselectors") {
            self.others.clear();
        } else if is("reset") {
            *self = User::new(&self.name, terms);
        } else {
            match rule {
                [b'>', password @ ..] => self.add_password(Digest::of(password)),
                [b'#', hex @ ..] => self.add_password(Digest::from_hex(hex).ok_or(RuleError::NotAHash)?),
                [b'<', password @ ..] => self.remove_password(Digest::of(password))?,
                [b'!', hex @ ..] => self.remove_password(Digest::from_hex(hex).ok_or(RuleError::NotAHash)?)?,
                [b'(', inner @ .., b')'] => {
                    let mut selector = Selector::with_channels(terms.all_channels);
                    let rules = inner.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty());
                    rules.into_iter().try_for_each(|rule| selector.apply(rule, terms.rows))?;
                    self.others.push(selector);
                }
                _ => self.root.apply(rule, terms.rows)?,
            }
        }
        Ok(())
    }

    fn add_password(&mut self, digest: Digest) {
        self.nopass = false;
        if !self.passwords.contains(&digest) {
            self.passwords.push(digest);
        }
    }

    fn remove_password(&mut self, digest: Digest) -> Result<(), RuleError> {
        let before = self.passwords.len();
        self.passwords.retain(|known| *known != digest);
        if self.passwords.len() == before { Err(RuleError::NoSuchPassword) } else { Ok(()) }
    }

    /// The only password from now on; an empty one stands for none at all.
    pub fn require(&mut self, password: &str) {
        let password = password.as_bytes();
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(Digest::of(password));
        }
    }

    // ---- as text ----

    /// `on`, `nopass`, `sanitize-payload`, in Redis' order.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let enabled = if self.enabled { "on" } else { "off" };
        let sanitized = if self.skips_sanitizing { "skip-sanitize-payload" } else { "sanitize-payload" };
        [Some(enabled), self.nopass.then_some("nopass"), Some(sanitized)].into_iter().flatten()
    }

    pub fn passwords(&self) -> &[Digest] {
        &self.passwords
    }

    /// Its own rights.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// Those in brackets.
    pub fn selectors(&self) -> &[Selector] {
        &self.others
    }

    /// `user ann on #… ~* resetchannels +@read (~a +set)`: the rules that make it again.
    pub fn describe(&self) -> Vec<u8> {
        let mut out = format!("user {} ", self.name).into_bytes();
        for flag in self.flags() {
            out.extend_from_slice(flag.as_bytes());
            out.push(b' ');
        }
        for password in &self.passwords {
            out.push(b'#');
            out.extend_from_slice(password.hex().as_bytes());
            out.push(b' ');
        }
        self.root.describe(&mut out);
        for selector in &self.others {
            out.extend_from_slice(b" (");
            selector.describe(&mut out);
            out.push(b')');
        }
        out
    }

    // ---- what they come to ----

    /// True when `password` opens this user, as far as that goes by passwords.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = Digest::of(password);
        // No early exit: how long it takes must not tell which one it was.
        self.nopass || self.passwords.iter().fold(false, |hit, known| hit | known.is(&given))
    }

    /// Whoever connects is this user, without saying anything.
    pub fn is_open(&self) -> bool {
        self.enabled && self.nopass
    }

    fn each(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.others)
    }

    /// What stands against the call: nothing when one selector allows all of it, else what the one that came nearest
    /// says.
    pub fn denial(&self, asked: &Asked<'_>) -> Option<Denial> {
        let mut nearest = None;
        for selector in self.each() {
            nearest = nearest.max(Some(selector.denial(asked)?));
        }
        nearest
    }

    /// May run the row `id`, with some keys.
    pub fn may_run(&self, id: usize) -> bool {
        self.each().any(|selector| selector.may_run(id))
    }

    /// May do this with the key, by some command: for what is told of a key without a call that names it.
    pub fn may_touch(&self, access: Access, key: &[u8]) -> bool {
        self.each().any(|selector| selector.may_touch(access, key))
    }

    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.each().any(|selector| selector.may_use_channel(channel, is_pattern))
    }

    /// True when whoever listens as `old` may go on as this one, whatever the channels are.
    pub fn keeps_channels_of(&self, old: &User) -> bool {
        let knows =
            |channel: &[u8]| self.each().any(|selector| selector.channels().iter().any(|known| **known == *channel));
        self.each().any(Selector::all_channels)
            || old.each().all(|selector| !selector.all_channels() && selector.channels().iter().all(|c| knows(c)))
    }

    // ---- as sessions see it ----

    /// Nothing has to be looked at: it may do everything. One load, for the path of every call.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.standing.is_free.load(Ordering::Relaxed)
    }

    /// There is another one of this name now, or none.
    pub fn is_superseded(&self) -> bool {
        self.standing.is_superseded.load(Ordering::Relaxed)
    }

    /// Ready to be known to sessions.
    pub(super) fn settle(&self) {
        self.standing.is_free.store(self.each().any(Selector::is_everything), Ordering::Relaxed);
    }

    /// Sessions have to look for another one of this name. Done while nobody is inside the gate, so that no call sees
    /// half of a change.
    pub(super) fn supersede(&self) {
        self.standing.is_superseded.store(true, Ordering::Relaxed);
        self.standing.is_free.store(false, Ordering::Relaxed);
    }
}

/// Joins selectors that were split at their blanks: `(~a`, `+get)`. The error is the word that opens one without an end.
fn merge_selectors<'w>(words: &[&'w [u8]]) -> Result<Vec<Cow<'w, [u8]>>, &'w [u8]> {
    let mut rules = Vec::with_capacity(words.len());
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        open = match open {
            Some((start, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.last() == Some(&b')') {
                    rules.push(selector.into());
                    None
                } else {
                    Some((start, selector))
                }
            }
            None if word.first() == Some(&b'(') && word.last() != Some(&b')') => Some((word, word.to_vec())),
            None => {
                rules.push((*word).into());
                None
            }
        };
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(rules),
    }
}
