//! Server-Sent Events: messages of channels, changes of keys, and calls that wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use synap_core::Error;
use synap_core::execute::{State, rights};
use synap_core::session::{Change, Client, Kind, Mail, Session, Wake, key_name};
use synap_protocols::json::lower::percent_decoded;
use synap_protocols::json::{Words, bytes, text};
use synap_protocols::problem;
use synap_protocols::rest::operation::Operation;
use tokio::time::sleep;

use super::answer::{self, Answer};
use super::body::Out;
use super::door::{Door, Failure, Refused};
use crate::drive::{self, Visitor};

pub const CONTENT_TYPE: &str = "text/event-stream";
/// A comment is sent when there was nothing for so long: whatever stands between sees that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
const PULSE: &str = ":\n\n";

/// What somebody wants to hear of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interests {
    channels: Vec<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    key_patterns: Vec<Vec<u8>>,
}

impl Interests {
    pub fn of_query(query: &str) -> Result<Interests, Error> {
        const NOTHING: Error =
            Error::err("`channels`, `patterns`, `keys` or `key_patterns` must be given in the query");
        let mut interests = Interests::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let names = match name {
                "channels" => &mut interests.channels,
                "patterns" => &mut interests.patterns,
                "keys" => &mut interests.keys,
                "key_patterns" => &mut interests.key_patterns,
                _ => return Err(Error::fmt(format!("argument `{}` is not known", Error::quote(name.as_bytes())))),
            };
            names.push(percent_decoded(value, true)?);
        }
        if interests == Interests::default() { Err(NOTHING) } else { Ok(interests) }
    }
}

impl Door {
    /// Everything that happens to what the query names, until the request is closed.
    pub(super) async fn events(self: &Arc<Self>, mut visitor: Visitor, query: &str) -> Refused<(Answer, Arc<Client>)> {
        let interests = Interests::of_query(query).map_err(|error| answer::error(&error))?;
        for (command, names) in [("SUBSCRIBE", &interests.channels), ("PSUBSCRIBE", &interests.patterns)] {
            if names.is_empty() {
                continue;
            }
            let mut words = Words::named(&[command]);
            let pushed: Result<(), Error> = names.iter().try_for_each(|name| words.push(name));
            pushed.map_err(|error| answer::error(&error))?;
            self.queue(&mut visitor, &words).await.map_err(|failure| failure.answer())?;
        }
        self.listen(&mut visitor, &interests).map_err(|error| answer::error(&error))?;
        let (door, client) = (self.clone(), visitor.client.clone());
        let answer = answer::pieces(CONTENT_TYPE, |out| async move { door.tell(visitor, out).await });
        Ok((answer, client))
    }

    /// Listens to keys. Who may not read them may not hear of them.
    fn listen(&self, session: &mut Session, interests: &Interests) -> Result<(), Error> {
        let state = self.engine.state();
        if !interests.keys.iter().all(|key| rights::may_read(state, session, key)) {
            return Err(rights::NO_KEY_RIGHT);
        }
        if !interests.key_patterns.is_empty() {
            rights::may_listen_to_keys(state, session)?;
        }
        let channels = &state.channels;
        for (kind, names) in [(Kind::Key, &interests.keys), (Kind::KeyPattern, &interests.key_patterns)] {
            for name in names {
                let client = session.client.clone();
                channels.subscribe(&client, &mut session.subscriptions, kind, &key_name(session.db, name));
            }
        }
        Ok(())
    }

    async fn tell(&self, mut visitor: Visitor, out: Out) -> io::Result<()> {
        // From here on nothing is missed: who sees it may make changes.
        out.send(PULSE).await;
        let client = visitor.client.clone();
        loop {
            let mut events = Vec::new();
            tokio::select! {
                wake = client.woken() => match wake {
                    // By CLIENT KILL, or because it has not read what there was.
                    Wake::Killed => return Err(io::Error::other("the client was ended")),
                    Wake::Mail => {
                        let mut all = Vec::new();
                        Client::take_each(&mut visitor, |mail| all.push(mail));
                        all.iter().for_each(|mail| write(self.engine.state(), &visitor, mail, &mut events));
                    }
                },
                () = sleep(HEARTBEAT) => events.extend_from_slice(PULSE.as_bytes()),
            }
            if let Err(error) = drive::settled(&self.engine, &visitor).await {
                return Err(io::Error::other(error));
            }
            if !events.is_empty() {
                out.send(events).await;
            }
        }
    }

    /// The reply of one call as an event, with heartbeats while it waits.
    pub(super) fn awaited(self: &Arc<Self>, mut visitor: Visitor, op: &'static str, words: Words) -> Answer {
        let door = self.clone();
        answer::pieces(CONTENT_TYPE, |out| async move {
            let Some(operation) = door.operations.find(op) else { return Ok(()) };
            let called = door.call_settled(&mut visitor, operation, &words);
            tokio::pin!(called);
            let reply = loop {
                tokio::select! {
                    reply = &mut called => break reply,
                    () = sleep(HEARTBEAT) => out.send(PULSE).await,
                }
            };
            let mut event = Vec::new();
            match reply {
                Ok(reply) => write_event("reply", &mut event, |data| data.extend_from_slice(&reply)),
                Err(Failure::Error(error)) => {
                    let problem = problem::of_error(&error);
                    write_event("error", &mut event, |data| data.extend_from_slice(problem.body.as_bytes()));
                }
                Err(Failure::Killed) => return Err(io::Error::other("the client was ended")),
            }
            out.send(event).await;
            Ok(())
        })
    }

    /// Runs a call and waits until its reply may be told.
    async fn call_settled(
        &self,
        visitor: &mut Visitor,
        operation: &Operation,
        words: &Words,
    ) -> Result<Vec<u8>, Failure> {
        let reply = self.call(visitor, operation, words).await;
        drive::settled(&self.engine, visitor).await.map_err(Failure::Error)?;
        reply
    }
}

/// The answer to a stream that is asked for where there is none.
pub fn no_stream() -> Answer {
    answer::status(StatusCode::NOT_ACCEPTABLE, "only a POST of an operation is answered as an event")
}

/// Appends what a client is told. Who listens to a pattern of keys hears only of those that it may read.
fn write(state: &State, session: &Session, mail: &Mail, out: &mut Vec<u8>) {
    match mail {
        Mail::Message(message) => write_event("message", out, |data| {
            let pattern = message.pattern.as_deref().map(|pattern| ("pattern", pattern));
            let members = [("channel", &*message.channel), ("message", &*message.payload)];
            for (index, (name, bytes)) in pattern.into_iter().chain(members).enumerate() {
                data.push(if index == 0 { b'{' } else { b',' });
                text::write_string(name, data);
                data.push(b':');
                bytes::raise(bytes, data);
            }
            data.push(b'}');
        }),
        Mail::Change(change) if change.key.as_ref().is_none_or(|key| rights::may_read(state, session, key)) => {
            write_event("change", out, |data| write_change(change, data));
        }
        Mail::Change(_) | Mail::Monitor(_) | Mail::Served(_) | Mail::Invalidate(_) | Mail::RedirectBroken(_) => {}
    }
}

/// `{"key":…,"event":"set","type":"string","value":…}`; `type` is null when the key is gone, and `value` is there for
/// strings that are not too long.
fn write_change(change: &Change, data: &mut Vec<u8>) {
    data.extend_from_slice(b"{\"key\":");
    match &change.key {
        Some(key) => bytes::raise(key, data),
        None => data.extend_from_slice(b"null"),
    }
    data.extend_from_slice(b",\"event\":");
    text::write_string(change.event, data);
    data.extend_from_slice(b",\"type\":");
    match change.kind {
        Some(kind) => text::write_string(kind, data),
        None => data.extend_from_slice(b"null"),
    }
    if let Some(value) = &change.value {
        data.extend_from_slice(b",\"value\":");
        bytes::raise(value, data);
    }
    data.push(b'}');
}

/// One event; JSON text has no line breaks of its own.
fn write_event(name: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    write(out);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_stand_in_the_query() {
        let read = |query| Interests::of_query(query).map_err(|error| error.text.into_owned());
        let interests = read("channels=a%20b&channels=c+d&key_patterns=user:*").expect("interests");
        assert_eq!(interests.channels, [b"a b", b"c d"]);
        assert_eq!(interests.key_patterns, [b"user:*"]);
        assert!(read("").is_err_and(|error| error.contains("must be given")));
        assert!(read("chanels=a").is_err_and(|error| error.contains("not known")));
        assert!(read("keys=%zz").is_err());
    }

    #[test]
    fn a_change_is_told_in_one_line() {
        let mut change = Change { key: Some(b"a\nb"[..].into()), event: "set", kind: Some("string"), value: None };
        let told = |change: &Change| {
            let mut out = Vec::new();
            write_event("change", &mut out, |data| write_change(change, data));
            String::from_utf8(out).expect("text")
        };
        assert_eq!(told(&change), "event: change\ndata: {\"key\":\"a\\nb\",\"event\":\"set\",\"type\":\"string\"}\n\n");
        change.value = Some(b"\xff"[..].into());
        assert!(told(&change).contains(r#""value":{"base64":"/w=="}"#));
        change.key = None;
        assert!(told(&change).contains(r#"{"key":null,"#));
    }
}
