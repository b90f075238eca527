//! Who was refused what: the entries of ACL LOG, the counters of INFO, and the patience with wrong passwords.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Command,
    Key,
    Channel,
    Auth,
}

impl Reason {
    pub const ALL: [Reason; 4] = [Reason::Auth, Reason::Command, Reason::Key, Reason::Channel];

    /// As ACL LOG says it.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }

    /// Its counter in INFO.
    pub fn counter(self) -> &'static str {
        match self {
            Reason::Command => "acl_access_denied_cmd",
            Reason::Key => "acl_access_denied_key",
            Reason::Channel => "acl_access_denied_channel",
            Reason::Auth => "acl_access_denied_auth",
        }
    }
}

/// Where a call was when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
    Lua,
}

impl Context {
    pub fn word(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// One entry of ACL LOG.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub id: u64,
    /// How often it happened.
    pub count: u64,
    pub reason: Reason,
    pub context: Context,
    /// The name of the command, the key or the channel.
    pub object: Box<[u8]>,
    pub username: Box<[u8]>,
    /// One line about the client that it happened to last.
    pub client: String,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// The same refusal within this time is counted in the entry that is there.
const GROUPING_MS: i64 = 60_000;

/// Entries that are looked at for the same one.
const GROUPING_LOOKS: usize = 10;

/// Longer keys, channels and names are cut: an entry is kept in memory.
const OBJECT_BYTES_MAX: usize = 1024;

/// The refusals, the latest first.
#[derive(Debug, Default)]
pub struct Refusals {
    entries: Mutex<VecDeque<Refusal>>,
    next_id: AtomicU64,
    counts: [AtomicU64; 4],
}

/// What is noted of a refusal.
pub struct Noted<'a> {
    pub reason: Reason,
    pub context: Context,
    pub object: &'a [u8],
    pub username: &'a [u8],
    pub client: String,
}

impl Refusals {
    /// Counts a refusal, and keeps it among at most `entries_max`.
    pub fn note(&self, noted: Noted<'_>, now_ms: i64, entries_max: usize) {
        self.counts[noted.reason as usize].fetch_add(1, Ordering::Relaxed);
        let cut = |bytes: &[u8]| Box::from(&bytes[..bytes.len().min(OBJECT_BYTES_MAX)]);
        let (object, username): (Box<[u8]>, Box<[u8]>) = (cut(noted.object), cut(noted.username));
        let mut entries = self.entries.lock();
        if entries_max > 0 {
            let is_same = |known: &Refusal| {
                known.reason == noted.reason
                    && known.context == noted.context
                    && known.object == object
                    && known.username == username
                    && now_ms.abs_diff(known.updated_ms) <= GROUPING_MS.unsigned_abs()
            };
            let entry = match entries.iter().take(GROUPING_LOOKS).position(is_same).and_then(|at| entries.remove(at)) {
                Some(known) => Refusal { count: known.count + 1, client: noted.client, updated_ms: now_ms, ..known },
                None => Refusal {
                    id: self.next_id.fetch_add(1, Ordering::Relaxed),
                    count: 1,
                    reason: noted.reason,
                    context: noted.context,
                    object,
                    username,
                    client: noted.client,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                },
            };
            entries.push_front(entry);
        }
        entries.truncate(entries_max);
    }

    /// At most so many, the latest first.
    pub fn latest(&self, count: usize) -> Vec<Refusal> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// Forgets the entries; counters go on.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }

    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Ordering::Relaxed)
    }

    /// Counters from zero again.
    pub fn reset_counts(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

/// How long the answer to a wrong password waits. Everybody mistypes; who goes on from one address hears later and
/// later. Those who know their password never wait.
#[derive(Debug, Default)]
pub struct Patience(Mutex<HashMap<Box<str>, Failures>>);

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When the first of them was.
    since_ms: i64,
}

/// Wrong passwords are counted within this time.
const PATIENCE_MS: i64 = 60_000;

/// So many are answered at once.
const PATIENCE_COUNT: u32 = 5;

/// The first delay; each further failure doubles it.
const DELAY_MS: u64 = 10;

const DELAY_MS_MAX: u64 = 1000;

/// Addresses that are told apart. Those that come when there are so many wait as the most impatient one.
const ADDRESS_COUNT_MAX: usize = 4096;

impl Patience {
    /// Notes one more wrong password from `addr`: how many it has been, and how long the answer waits.
    pub fn refused(&self, addr: &str, now_ms: i64) -> (u32, Duration) {
        let host = host_of(addr);
        let is_over = |failures: &Failures| (now_ms - failures.since_ms).abs() >= PATIENCE_MS;
        let mut hosts = self.0.lock();
        if hosts.len() >= ADDRESS_COUNT_MAX && !hosts.contains_key(&*host) {
            hosts.retain(|_, failures| !is_over(failures));
            if hosts.len() >= ADDRESS_COUNT_MAX {
                return (u32::MAX, Duration::from_millis(DELAY_MS_MAX));
            }
        }
        let failures = hosts.entry(host).or_insert(Failures { count: 0, since_ms: now_ms });
        if is_over(failures) {
            *failures = Failures { count: 0, since_ms: now_ms };
        }
        failures.count = failures.count.saturating_add(1);
        (failures.count, delay(failures.count))
    }
}

fn delay(count: u32) -> Duration {
    let Some(more) = count.checked_sub(PATIENCE_COUNT + 1) else { return Duration::ZERO };
    let ms = DELAY_MS.checked_shl(more.min(32)).unwrap_or(u64::MAX);
    Duration::from_millis(ms.min(DELAY_MS_MAX))
}

/// The part of an address that a stranger cannot choose: the host, and of IPv6 the network that one is given.
fn host_of(addr: &str) -> Box<str> {
    match addr.parse::<std::net::SocketAddr>() {
        Ok(std::net::SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = v6.ip().segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64").into()
        }
        Ok(addr) => addr.ip().to_canonical().to_string().into(),
        Err(_) => addr.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_mistakes_are_free_and_many_are_not() {
        let patience = Patience::default();
        let delays: Vec<_> = (0..15).map(|_| patience.refused("10.0.0.1:1000", 0).1.as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        // Another port is the same host, another host is not.
        assert_eq!(patience.refused("10.0.0.1:1001", 59_999).1.as_millis(), 1000);
        assert_eq!(patience.refused("10.0.0.2:1000", 0).1.as_millis(), 0);
        assert_eq!(patience.refused("10.0.0.1:1000", 60_000).1.as_millis(), 0);
    }

    #[test]
    fn a_network_of_version_six_is_one_address() {
        assert_eq!(host_of("[2001:db8:1:2::3]:80"), host_of("[2001:db8:1:2:ffff::9]:81"));
        assert_ne!(host_of("[2001:db8:1:2::3]:80"), host_of("[2001:db8:1:3::3]:80"));
        assert_eq!(host_of("[::ffff:10.0.0.1]:80"), host_of("10.0.0.1:81"));
    }

    #[test]
    fn addresses_are_limited() {
        let patience = Patience::default();
        for number in 0..ADDRESS_COUNT_MAX {
            patience.refused(&format!("host {number}"), 0);
        }
        assert_eq!(patience.refused("one more", 0).1.as_millis(), 1000);
        assert_eq!(patience.refused("one more", PATIENCE_MS).1.as_millis(), 0);
    }

    #[test]
    fn the_same_refusal_is_counted() {
        let refusals = Refusals::default();
        let note = |object: &str, now_ms: i64| {
            let noted = Noted {
                reason: Reason::Key,
                context: Context::Toplevel,
                object: object.as_bytes(),
                username: b"ann",
                client: now_ms.to_string(),
            };
            refusals.note(noted, now_ms, 2);
        };
        note("a", 1);
        note("b", 2);
        note("a", 3);
        let shown = |count| -> Vec<String> {
            let line = |e: Refusal| format!("{} {} {} {}", e.id, e.object.escape_ascii(), e.count, e.client);
            refusals.latest(count).into_iter().map(line).collect()
        };
        assert_eq!(shown(9), ["0 a 2 3", "1 b 1 2"]);
        note("a", 60_004);
        assert_eq!(shown(9), ["2 a 1 60004", "0 a 2 3"]);
        assert_eq!(refusals.count(Reason::Key), 4);
        refusals.clear();
        assert!(shown(9).is_empty());
    }
}
