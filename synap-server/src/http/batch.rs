//! Several calls in one body: `/command` with one envelope or an array, `/pipeline`, `/transaction`.

use hyper::StatusCode;
use smallvec::SmallVec;
use synap_core::execute::Input;
use synap_core::session::Session;
use synap_core::{Code, Error};
use synap_protocols::json::{Replies, Words, text};
use synap_protocols::rest::operation::Operation;
use synap_protocols::rest::raw::RawReply;
use synap_protocols::stream::{self, Envelope};

use super::answer::{self, Answer};
use super::door::{Door, Failure, Refused};
use crate::drive::{self, End, Visitor};

/// Bytes of the answers to an array of calls at the most, about; calls behind that are not run. NDJSON has no such limit.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why a call of several was not run, with an HTTP status.
pub(super) type Fault = (u16, Error);

impl Door {
    /// One call, or an array of them, run in order and answered in order.
    pub(super) async fn several(&self, visitor: &mut Visitor, document: &str) -> Refused<Answer> {
        let envelopes = stream::envelopes(document).map_err(|error| answer::error(&error))?;
        let is_array = text::kind(document) == text::Kind::Array;
        let mut out = Vec::with_capacity(256);
        if is_array {
            out.push(b'[');
        }
        for (index, envelope) in envelopes.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let answer =
                if out.len() > ANSWER_BYTES_MAX { Err(too_much()) } else { self.envelope(visitor, envelope).await? };
            stream::write(stream::request_id(envelope), &answer, &mut out);
        }
        if is_array {
            out.push(b']');
        }
        self.settled(visitor).await?;
        Ok(answer::json(out))
    }

    /// As MULTI and EXEC: all calls at one moment, or none.
    pub(super) async fn transaction(&self, visitor: &mut Visitor, document: &str) -> Refused<Answer> {
        let stream::Transaction { calls, conditions } =
            stream::transaction(document).map_err(|error| answer::error(&error))?;
        let mut prepared: Vec<(&str, &Operation, Words)> = Vec::with_capacity(calls.len());
        for (index, call) in calls.iter().enumerate() {
            let (envelope, call) = self.prepare(call);
            let (operation, words) = call.map_err(|fault| refused_call(index, fault))?;
            prepared.push((envelope, operation, words));
        }
        self.queue(visitor, &Words::named(&["MULTI"])).await.map_err(|failure| failure.answer())?;
        for (index, (_, _, words)) in prepared.iter().enumerate() {
            match self.queue(visitor, words).await {
                Ok(()) => {}
                Err(Failure::Error(error)) => return Err(refused_call(index, (error.code.http_status(), error))),
                Err(Failure::Killed) => return Err(Failure::Killed.answer().into()),
            }
        }
        if let Some(transaction) = &mut visitor.transaction {
            transaction.conditions = conditions;
        }
        let mut replies = Replies::new(prepared.iter().map(|(_, operation, _)| &operation.row.returns).collect());
        let exec: [&[u8]; 1] = [b"EXEC"];
        let end = drive::run(&self.engine, visitor, &Input::words(&exec), &mut replies).await;
        if end == End::Killed {
            return Err(Failure::Killed.answer().into());
        }
        self.settled(visitor).await?;
        let Some(replies) = replies.finish().map_err(|error| answer::error(&error))? else {
            let detail = "a condition does not hold: nothing was done";
            return Err(answer::status(StatusCode::CONFLICT, detail).into());
        };
        let mut out = vec![b'['];
        for (index, (reply, (id, ..))) in replies.into_iter().zip(&prepared).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            stream::write(id, &reply.map_err(|error| (error.code.http_status(), error)), &mut out);
        }
        out.push(b']');
        Ok(answer::json(out))
    }

    /// What an envelope asks for, with its id.
    pub(super) fn prepare<'a>(&self, envelope: &'a str) -> (&'a str, Result<(&Operation, Words), Fault>) {
        let with_status = |error: Error| (error.code.http_status(), error);
        let Envelope { command, payload, id } = match stream::read(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return (stream::request_id(envelope), Err(with_status(error))),
        };
        let Some(operation) = self.operations.find(&command) else { return (id, Err(stream::unknown(&command))) };
        if let Some(refusal) = operation.refusal() {
            return (id, Err((404, Error::fmt(refusal))));
        }
        (id, operation.lower_checked(payload).map(|words| (operation, words)).map_err(with_status))
    }

    async fn envelope(&self, visitor: &mut Visitor, envelope: &str) -> Refused<Result<Vec<u8>, Fault>> {
        let (operation, words) = match self.prepare(envelope).1 {
            Ok(call) => call,
            Err(fault) => return Ok(Err(fault)),
        };
        match self.call(visitor, operation, &words).await {
            Ok(reply) => Ok(Ok(reply)),
            Err(Failure::Error(error)) => Ok(Err((error.code.http_status(), error))),
            Err(Failure::Killed) => Err(Failure::Killed.answer().into()),
        }
    }

    /// A call whose reply says nothing but that it was taken, or why not.
    pub(super) async fn queue(&self, session: &mut Session, words: &Words) -> Result<(), Failure> {
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        words.as_slices(&mut slices);
        let mut reply = RawReply::default();
        match drive::run(&self.engine, session, &Input::words(&slices), &mut reply).await {
            End::Replied | End::Quit => reply.finish().map(|_| ()).map_err(Failure::Error),
            End::Killed => Err(Failure::Killed),
        }
    }
}

fn refused_call(index: usize, (http_status, error): Fault) -> Box<Answer> {
    let error = Error { text: format!("call {}: {}; nothing was done", index + 1, error.text).into(), ..error };
    let status = StatusCode::from_u16(http_status).unwrap_or(StatusCode::BAD_REQUEST);
    if http_status == error.code.http_status() {
        return answer::error(&error).into();
    }
    answer::status(status, &error.text).into()
}

fn too_much() -> Fault {
    let text = format!("the answers before this one are longer than {ANSWER_BYTES_MAX} bytes: the call was not run");
    (413, Error { code: Code::Err, text: text.into() })
}
