//! CLIENT TRACKING: clients that keep what they have read, and want to hear when it changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::{CLIENT, CLIENTS, Switch};
use super::prelude::*;
use crate::execute::state::State;
use crate::session::{Session, Tracking, TrackingMode as Mode};

pub const COMMANDS: &[Command] = &[CLIENT_TRACKING, CLIENT_CACHING, CLIENT_TRACKINGINFO, CLIENT_GETREDIR];

#[derive(Args)]
#[args(any_order)]
pub struct TrackingOptions<'a> {
    /// Another client hears of changes instead.
    #[arg(token = "REDIRECT")]
    redirect: Option<i64>,
    /// Only keys that begin so.
    #[arg(token = "PREFIX")]
    prefix: Each<Word<'a>>,
    /// All changes are told, whoever has read the keys.
    #[arg(token = "BCAST")]
    bcast: bool,
    /// Only what is read behind CLIENT CACHING YES is told of.
    #[arg(token = "OPTIN")]
    optin: bool,
    /// What is read behind CLIENT CACHING NO is not told of.
    #[arg(token = "OPTOUT")]
    optout: bool,
    /// Changes that this client makes are not told.
    #[arg(token = "NOLOOP")]
    noloop: bool,
}

#[derive(Args)]
pub struct ClientTracking<'a> {
    status: Switch,
    options: TrackingOptions<'a>,
}

impl SessionCommand for ClientTracking<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let state = cx.state();
        let session = cx.session();
        if self.status == Switch::Off {
            end(state, session);
            reply.ok();
            return Ok(Flow::Done);
        }
        let (mode, redirect) = self.options.checked(state, session)?;
        let mut prefixes: Vec<Box<[u8]>> = self.options.prefix.0.iter().map(|prefix| (*prefix).into()).collect();
        if let Some(old) = &session.tracking {
            // What was asked for before goes on.
            let known = old.tracker.prefixes.iter().filter(|prefix| !prefix.is_empty()).cloned().collect::<Vec<_>>();
            overlaps(&known, &prefixes)?;
            prefixes = [known, prefixes].concat();
        } else {
            overlaps(&[], &prefixes)?;
        }
        if mode == Mode::Broadcast && prefixes.is_empty() {
            prefixes.push(Box::default());
        }
        end(state, session);
        let tracker = state.trackers.begin(&session.client, redirect, self.options.noloop, prefixes);
        session.tracking = Some(Box::new(Tracking { tracker, mode, says: None }));
        session.client.redirect.store(redirect.map_or(0, |id| id as i64), Ordering::Relaxed);
        reply.ok();
        Ok(Flow::Done)
    }
}

impl TrackingOptions<'_> {
    /// The mode, and who hears instead.
    fn checked(&self, state: &State, session: &Session) -> Result<(Mode, Option<u64>)> {
        let redirect = match self.redirect {
            None | Some(0) => None,
            Some(id) => {
                let other = u64::try_from(id).ok().filter(|id| state.registry.get(*id).is_some());
                Some(other.ok_or(Error::err("The client ID you want redirect to does not exist"))?)
            }
        };
        if !self.bcast && !self.prefix.0.is_empty() {
            return Err(Error::err("PREFIX option requires BCAST mode to be enabled"));
        }
        let old = session.tracking.as_ref().map(|tracking| tracking.mode);
        if old.is_some_and(|old| (old == Mode::Broadcast) != self.bcast) {
            return Err(Error::err(
                "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
                 with a different mode.",
            ));
        }
        if self.bcast && (self.optin || self.optout) {
            return Err(Error::err("OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.optin && self.optout {
            return Err(Error::err("You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if (self.optin && old == Some(Mode::OptOut)) || (self.optout && old == Some(Mode::OptIn)) {
            return Err(Error::err(
                "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
                 with a different mode.",
            ));
        }
        let mode = match (self.bcast, self.optin, self.optout) {
            (true, ..) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (_, _, true) => Mode::OptOut,
            _ => old.unwrap_or(Mode::All),
        };
        Ok((mode, redirect))
    }
}

/// Each change is told once: no prefix is the beginning of another.
fn overlaps(known: &[Box<[u8]>], given: &[Box<[u8]>]) -> Result<()> {
    for (index, one) in given.iter().enumerate() {
        let meets = |other: &&Box<[u8]>| one.starts_with(other) || other.starts_with(one);
        let (other, which) = match (known.iter().find(meets), given[index + 1..].iter().find(meets)) {
            (Some(other), _) => (other, "an existing prefix"),
            (None, Some(other)) => (other, "another provided prefix"),
            (None, None) => continue,
        };
        let (one, other) = (Error::quote(one), Error::quote(other));
        return Err(Error::fmt(format!(
            "Prefix '{one}' overlaps with {which} '{other}'. Prefixes for a single client must not overlap."
        )));
    }
    Ok(())
}

/// Nothing is told any more.
pub(super) fn end(state: &State, session: &mut Session) {
    if let Some(tracking) = session.tracking.take() {
        state.trackers.end(&tracking.tracker);
        session.client.redirect.store(-1, Ordering::Relaxed);
    }
}

pub const CLIENT_TRACKING: Command = Command {
    name: "CLIENT TRACKING",
    op: "client.tracking",
    since: "6.0.0",
    summary: "Says whether this connection hears of changes to what it has read.",
    complexity: "O(N) for N prefixes",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientTracking>()
};

#[derive(Args)]
pub struct ClientCaching<'a> {
    /// YES or NO.
    mode: Word<'a>,
}

impl SessionCommand for ClientCaching<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        const NOT_TRACKING: Error = Error::err(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
        let tracking = cx.session().tracking.as_mut().ok_or(NOT_TRACKING)?;
        let yes = self.mode.eq_ignore_ascii_case(b"yes");
        if !yes && !self.mode.eq_ignore_ascii_case(b"no") {
            return Err(Error::SYNTAX);
        }
        tracking.says = match (tracking.mode, yes) {
            (Mode::OptIn, true) => Some(true),
            (Mode::OptOut, false) => Some(false),
            (Mode::OptIn | Mode::OptOut, _) => return Err(Error::SYNTAX),
            _ => return Err(NOT_TRACKING),
        };
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const CLIENT_CACHING: Command = Command {
    name: "CLIENT CACHING",
    op: "client.caching",
    since: "6.0.0",
    summary: "Says whether changes to what the next call reads are told.",
    returns: Shape::OK,
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY),
    ..CLIENTS.session::<ClientCaching>()
};

#[derive(Args)]
pub struct ClientTrackingInfo;

impl SessionCommand for ClientTrackingInfo {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let tracking = cx.session().tracking.as_deref();
        let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
        if let Some(Tracking { tracker, mode, says }) = tracking {
            flags.extend(match mode {
                Mode::All => None,
                Mode::OptIn => Some("optin"),
                Mode::OptOut => Some("optout"),
                Mode::Broadcast => Some("bcast"),
            });
            flags.extend(says.map(|yes| if yes { "caching-yes" } else { "caching-no" }));
            flags.extend(tracker.noloop.then_some("noloop"));
            flags.extend(tracker.is_broken.load(Ordering::Relaxed).then_some("broken_redirect"));
        }
        let tracker = tracking.map(|tracking| Arc::clone(&tracking.tracker));
        let prefixes = tracker.iter().flat_map(|tracker| &tracker.prefixes).filter(|prefix| !prefix.is_empty());
        reply.map(3);
        reply.text("flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.text(flag));
        reply.text("redirect");
        reply.int(tracker.as_ref().map_or(-1, |tracker| tracker.redirect.map_or(0, |id| id as i64)));
        reply.text("prefixes");
        reply.array(prefixes.clone().count());
        prefixes.for_each(|prefix| reply.bulk(prefix));
        Ok(Flow::Done)
    }
}

pub const CLIENT_TRACKINGINFO: Command = Command {
    name: "CLIENT TRACKINGINFO",
    op: "client.trackinginfo",
    since: "6.2.0",
    summary: "Tells whether this connection hears of changes to what it has read.",
    returns: Shape::fields(
        "tracking",
        "",
        &[
            Shape::array("flags", "What was asked for.", &Shape::TEXT),
            Shape::int("redirect", "The client that hears of changes instead; 0 for none, -1 without tracking."),
            Shape::array("prefixes", "Of keys that it hears of.", &Shape::BYTES),
        ],
    ),
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY).and(Flags::LOOKS),
    ..CLIENTS.session::<ClientTrackingInfo>()
};

#[derive(Args)]
pub struct ClientGetRedir;

impl SessionCommand for ClientGetRedir {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let tracking = cx.session().tracking.as_deref();
        reply.int(tracking.map_or(-1, |tracking| tracking.tracker.redirect.map_or(0, |id| id as i64)));
        Ok(Flow::Done)
    }
}

pub const CLIENT_GETREDIR: Command = Command {
    name: "CLIENT GETREDIR",
    op: "client.getredir",
    since: "6.0.0",
    summary: "Returns who hears of changes instead of this connection.",
    returns: Shape::int("id", "0 for nobody else, -1 without tracking."),
    tool: Tool::Never,
    flags: CLIENT.and(Flags::RESP_ONLY).and(Flags::LOOKS),
    ..CLIENTS.session::<ClientGetRedir>()
};

#[cfg(test)]
mod tests {
    use crate::session::{Client, Session};
    use crate::testing::{TestEngine, Text, call_as, split};

    /// Somebody with a cache, who speaks RESP3.
    struct Cache(Session);

    impl Cache {
        fn new(test: &TestEngine, how: &str) -> Cache {
            let mut cache = Cache(test.another());
            assert_eq!(cache.call(test, &format!("CLIENT TRACKING ON {how}")), "OK");
            cache
        }

        fn call(&mut self, test: &TestEngine, line: &str) -> String {
            let words = split(line.trim());
            call_as(&test.engine, &mut self.0, &words.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }

        /// What was told since the last time.
        fn heard(&mut self) -> String {
            let mut text = Text::new(true);
            Client::take_mail(&mut self.0, &mut text);
            text.out.replace('\n', " ")
        }
    }

    const A: &str = r#"["invalidate", ["a"]]"#;

    #[test]
    fn what_was_read_is_told_of_once() {
        let mut test = TestEngine::default();
        let mut cache = Cache::new(&test, "");
        test.call("SET a 1");
        assert_eq!(cache.heard(), "");
        cache.call(&test, "MGET a b");
        for change in ["SET a 2", "SET a 3"] {
            test.call(change);
        }
        assert_eq!(cache.heard(), A);
        test.call("SET b 1");
        assert_eq!(cache.heard(), r#"["invalidate", ["b"]]"#);
        // A read that finds nothing; a write does not count as a read.
        cache.call(&test, "GET none");
        cache.call(&test, "INCR c");
        test.call("MSET none 1 c 1");
        assert_eq!(cache.heard(), r#"["invalidate", ["none"]]"#);
        // A call that changes nothing tells nothing.
        cache.call(&test, "GET a");
        test.call("DEL x y");
        test.call("EXPIREAT x 1");
        assert_eq!(cache.heard(), "");
        // In a transaction, and by time.
        for line in ["MULTI", "SET a 1", "PEXPIRE a 100", "EXEC"] {
            test.call(line);
        }
        assert_eq!(cache.heard(), A);
        cache.call(&test, "GET a");
        test.clock.advance(100);
        test.call("GET a");
        assert_eq!(cache.heard(), A);
        for line in ["MULTI", "GET a", "EXEC"] {
            cache.call(&test, line);
        }
        test.call("FLUSHALL");
        assert_eq!(cache.heard(), r#"["invalidate", nil]"#);
        cache.call(&test, "GET a");
        cache.call(&test, "CLIENT TRACKING OFF");
        test.call("SET a 1");
        assert_eq!(cache.heard(), "");
        test.engine.leave(&mut cache.0);
    }

    #[test]
    fn a_client_chooses_what_is_told() {
        let mut test = TestEngine::default();
        let mut optin = Cache::new(&test, "OPTIN");
        let mut optout = Cache::new(&test, "OPTOUT");
        let mut noloop = Cache::new(&test, "NOLOOP");
        let mut loops = Cache::new(&test, "");
        for (cache, before) in [(&mut optin, "CLIENT CACHING YES"), (&mut optout, "CLIENT CACHING NO")] {
            assert_eq!(cache.call(&test, before), "OK");
            cache.call(&test, "GET a");
            cache.call(&test, "GET b");
        }
        test.call("MSET a 1 b 1");
        assert_eq!((optin.heard().as_str(), optout.heard().as_str()), (A, r#"["invalidate", ["b"]]"#));
        for cache in [&mut noloop, &mut loops] {
            cache.call(&test, "GET a");
            cache.call(&test, "SET a 1");
        }
        // What was read is told of once, and to nobody when it was the change of the one who would hear.
        assert_eq!((noloop.heard().as_str(), loops.heard().as_str()), ("", A));
        noloop.call(&test, "GET a");
        test.call("SET a 3");
        assert_eq!(noloop.heard(), A);
        for mut cache in [optin, optout, noloop, loops] {
            test.engine.leave(&mut cache.0);
        }
    }

    #[test]
    fn prefixes_and_others() {
        let mut test = TestEngine::default();
        let mut all = Cache::new(&test, "BCAST");
        let mut some = Cache::new(&test, "BCAST PREFIX a PREFIX b");
        let mut other = test.another();
        let mut redirects = Cache::new(&test, &format!("REDIRECT {}", other.client.id));
        redirects.call(&test, "GET a");
        test.call("MSET a 1 c 1");
        assert_eq!(some.heard(), A);
        assert_eq!(all.heard(), r#"["invalidate", ["a", "c"]]"#);
        let mut text = Text::new(true);
        Client::take_mail(&mut other, &mut text);
        assert_eq!((text.out.as_str(), redirects.heard().as_str()), (A, ""));
        assert_eq!(
            some.call(&test, "CLIENT TRACKINGINFO"),
            r#"{"flags": ["on", "bcast"], "redirect": 0, "prefixes": ["a", "b"]}"#
        );
        assert_eq!(redirects.call(&test, "CLIENT GETREDIR"), other.client.id.to_string());
        // Who was to hear has gone.
        let id = other.client.id;
        test.engine.leave(&mut other);
        redirects.call(&test, "GET a");
        test.call("SET a 1");
        assert_eq!(redirects.heard(), format!(r#"["tracking-redir-broken", {id}]"#));
        for mut cache in [all, some, redirects] {
            test.engine.leave(&mut cache.0);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut test = TestEngine::default();
        test.check(
            "CLIENT CACHING maybe => -ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
            CLIENT TRACKING wrong => -ERR syntax error
            CLIENT TRACKING ON wrong => -ERR syntax error
            CLIENT TRACKING ON PREFIX a => -ERR PREFIX option requires BCAST mode to be enabled
            CLIENT TRACKING ON BCAST OPTIN => -ERR OPTIN and OPTOUT are not compatible with BCAST
            CLIENT TRACKING ON OPTIN OPTOUT => -ERR You can't specify both OPTIN mode and OPTOUT mode
            CLIENT TRACKING ON REDIRECT 999 => -ERR The client ID you want redirect to does not exist
            CLIENT TRACKING ON OPTOUT => OK
            CLIENT CACHING YES => -ERR syntax error
            CLIENT TRACKING ON BCAST => -ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
            CLIENT TRACKING OFF OPTOUT => OK
            CLIENT TRACKING ON BCAST PREFIX abc PREFIX ab => -ERR Prefix 'abc' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.
            CLIENT TRACKING ON BCAST PREFIX ab => OK
            CLIENT TRACKING ON BCAST PREFIX a => -ERR Prefix 'a' overlaps with an existing prefix 'ab'. Prefixes for a single client must not overlap.
            CLIENT TRACKING OFF => OK
            CLIENT TRACKINGINFO => {\"flags\": [\"off\"], \"redirect\": -1, \"prefixes\": []}
            CLIENT GETREDIR => -1",
        );
    }

    #[test]
    fn what_is_too_much_to_remember_is_as_if_it_had_changed() {
        let mut test = TestEngine::default();
        test.call("CONFIG SET tracking-table-max-keys 64");
        let mut cache = Cache::new(&test, "");
        for n in 0..1000 {
            cache.call(&test, &format!("GET key:{n}"));
        }
        let told = cache.heard().matches("invalidate").count();
        let info = test.call("INFO stats");
        let kept = info.split("tracking_total_keys:").nth(1).unwrap().split('\\').next().unwrap();
        let kept: usize = kept.parse().unwrap();
        assert!(kept <= 64 && told + kept == 1000, "{kept} {told}");
        test.engine.leave(&mut cache.0);
    }
}
