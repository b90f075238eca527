//! [`Checked`]: passes a reply on and holds it against the row's [`Shape`].
//!
//! Debug builds and tests run every call through it, so that every test is also a test of the schema that the doors
//! publish.

use std::cell::RefCell;

use crate::error::Error;
use crate::grammar::spec::{Shape, ShapeKind};
use crate::reply::follow::{Event, Follower, Form};
use crate::reply::{Mark, Reply};

/// A [`Reply`] in front of another one that notes the first place where it departs from a shape.
pub struct Checked<'a> {
    inner: &'a mut dyn Reply,
    shape: &'static Shape,
    follower: Follower,
    mismatch: Option<String>,
    /// The mismatch at each mark that was asked for.
    marks: RefCell<Vec<(Mark, Option<String>)>>,
}

impl<'a> Checked<'a> {
    pub fn new(inner: &'a mut dyn Reply, shape: &'static Shape) -> Checked<'a> {
        Checked { inner, shape, follower: Follower::new(shape), mismatch: None, marks: RefCell::default() }
    }

    /// Ends the reply. The error is a sentence about the first mismatch.
    pub fn finish(self) -> Result<(), String> {
        if let Some(mismatch) = self.mismatch {
            return Err(mismatch);
        }
        match self.shape.kind {
            _ if self.follower.is_complete() => Ok(()),
            _ if !self.follower.is_begun() && may_be_nothing(self.shape) => Ok(()),
            _ if self.follower.is_begun() => Err(format!("{}: items are missing after this one", self.follower.path())),
            _ => Err("nothing was replied".into()),
        }
    }

    fn check(&mut self, event: Event) {
        let step = self.follower.step(event);
        // The pushes of a subscription follow each other at the top.
        let more_pushes = matches!((self.shape.kind, event), (ShapeKind::Nothing, Event::Push(_)));
        if step.surplus && !more_pushes {
            self.note(|_| format!("{} after the end of the reply", event.describe()));
        } else if !step.fits {
            self.note(|path| format!("{path}: {} where {} was declared", event.describe(), describe(step.expected)));
        } else if step.parent.is_some_and(|p| p.is_at_key()) && self.follower.is_at_unknown_field() {
            self.note(|path| format!("{path}: {} is no declared field", event.describe()));
        }
        while let Some(frame) = self.follower.close() {
            if let Some(name) = frame.missing_field() {
                self.note(|path| format!("{path}: the field `{name}` is missing"));
            }
            if matches!(frame.form, Form::FlatPairs(_)) && !frame.item_count.is_multiple_of(2) {
                self.note(|path| format!("{path}: half a pair"));
            }
        }
    }

    fn note(&mut self, sentence: impl FnOnce(String) -> String) {
        if self.mismatch.is_none() {
            self.mismatch = Some(sentence(self.follower.path()));
        }
    }
}

impl Reply for Checked<'_> {
    fn status(&mut self, text: &str) {
        self.check(Event::Status(text));
        self.inner.status(text);
    }
    fn ok(&mut self) {
        self.check(Event::Status("OK"));
        self.inner.ok();
    }
    fn int(&mut self, value: i64) {
        self.check(Event::Int(value));
        self.inner.int(value);
    }
    fn double(&mut self, value: f64) {
        self.check(Event::Double(value));
        self.inner.double(value);
    }
    fn boolean(&mut self, value: bool) {
        self.check(Event::Boolean(value));
        self.inner.boolean(value);
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.check(Event::Bulk(bytes));
        self.inner.bulk(bytes);
    }
    fn verbatim(&mut self, format: &str, text: &str) {
        self.check(Event::Verbatim(text));
        self.inner.verbatim(format, text);
    }
    fn null(&mut self) {
        self.check(Event::Null);
        self.inner.null();
    }
    fn null_array(&mut self) {
        self.check(Event::Null);
        self.inner.null_array();
    }
    fn array(&mut self, len: usize) {
        self.check(Event::Array(len));
        self.inner.array(len);
    }
    fn map(&mut self, len: usize) {
        self.check(Event::Map(len));
        self.inner.map(len);
    }
    fn set(&mut self, len: usize) {
        self.check(Event::Set(len));
        self.inner.set(len);
    }
    fn push(&mut self, len: usize) {
        self.check(Event::Push(len));
        self.inner.push(len);
    }
    fn error(&mut self, error: &Error) {
        self.check(Event::Error(error));
        self.inner.error(error);
    }

    fn resp3(&self) -> bool {
        self.inner.resp3()
    }

    fn speak(&mut self, resp3: bool) {
        self.inner.speak(resp3);
    }

    fn mark(&self) -> Mark {
        let mark = self.inner.mark();
        self.follower.save(mark);
        self.marks.borrow_mut().push((mark, self.mismatch.clone()));
        mark
    }
    fn rollback(&mut self, mark: Mark) {
        self.follower.restore(mark);
        let mut marks = self.marks.borrow_mut();
        if let Some(index) = marks.iter().rposition(|(saved, _)| *saved == mark) {
            self.mismatch = marks[index].1.clone();
            marks.truncate(index + 1);
        }
        self.inner.rollback(mark);
    }
}

/// True when a call may go without an answer.
fn may_be_nothing(shape: &Shape) -> bool {
    match shape.kind {
        ShapeKind::Nothing => true,
        ShapeKind::OneOf(shapes) => shapes.iter().any(may_be_nothing),
        _ => false,
    }
}

/// What a shape asks for, in the words of a mismatch.
fn describe(shape: Shape) -> String {
    match shape.kind {
        ShapeKind::Ok => "OK".into(),
        ShapeKind::Status => "a status".into(),
        ShapeKind::Int => "an integer".into(),
        ShapeKind::Double => "a double".into(),
        ShapeKind::Bool => "a boolean or the integer 0 or 1".into(),
        ShapeKind::Bytes => "bytes".into(),
        ShapeKind::Text => "text".into(),
        ShapeKind::Cursor => "a cursor".into(),
        ShapeKind::Optional(inner) => format!("{} or null", describe(*inner)),
        ShapeKind::Array(_) => "an array".into(),
        ShapeKind::Map(_) | ShapeKind::Fields(_) => "a map".into(),
        ShapeKind::Tuple(items) => format!("an array of {}", items.len()),
        ShapeKind::Pairs(_) => "an array of pairs".into(),
        ShapeKind::OneOf(shapes) => shapes.iter().map(|s| describe(*s)).collect::<Vec<_>>().join(" or "),
        ShapeKind::Any => "anything".into(),
        ShapeKind::Nothing => "nothing".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Swallows everything; its marks count the calls.
    #[derive(Default)]
    struct Sink {
        call_count: usize,
        resp2: bool,
    }

    impl Reply for Sink {
        fn status(&mut self, _: &str) {
            self.call_count += 1;
        }
        fn int(&mut self, _: i64) {
            self.call_count += 1;
        }
        fn double(&mut self, _: f64) {
            self.call_count += 1;
        }
        fn boolean(&mut self, _: bool) {
            self.call_count += 1;
        }
        fn bulk(&mut self, _: &[u8]) {
            self.call_count += 1;
        }
        fn verbatim(&mut self, _: &str, _: &str) {
            self.call_count += 1;
        }
        fn null(&mut self) {
            self.call_count += 1;
        }
        fn null_array(&mut self) {
            self.call_count += 1;
        }
        fn array(&mut self, _: usize) {
            self.call_count += 1;
        }
        fn map(&mut self, _: usize) {
            self.call_count += 1;
        }
        fn set(&mut self, _: usize) {
            self.call_count += 1;
        }
        fn push(&mut self, _: usize) {
            self.call_count += 1;
        }
        fn error(&mut self, _: &Error) {
            self.call_count += 1;
        }
        fn resp3(&self) -> bool {
            !self.resp2
        }
        fn mark(&self) -> Mark {
            Mark(self.call_count)
        }
        fn rollback(&mut self, mark: Mark) {
            self.call_count = mark.0;
        }
    }

    fn check(shape: &'static Shape, write: impl FnOnce(&mut dyn Reply)) -> Result<(), String> {
        let mut sink = Sink::default();
        let mut checked = Checked::new(&mut sink, shape);
        write(&mut checked);
        checked.finish()
    }

    #[track_caller]
    fn fits(shape: &'static Shape, write: impl FnOnce(&mut dyn Reply)) {
        assert_eq!(check(shape, write), Ok(()));
    }

    #[track_caller]
    fn differs(shape: &'static Shape, write: impl FnOnce(&mut dyn Reply), sentence: &str) {
        assert_eq!(check(shape, write), Err(sentence.into()));
    }

    const ADDED: Shape = Shape::int("added", "");
    const MEMBERS: Shape = Shape::array("members", "", &Shape::BYTES);
    const SCORED: Shape = Shape::pairs("members", "", &[Shape::bytes("member", ""), Shape::double("score", "")]);
    const RANGE: Shape = Shape::one_of("members", "", &[MEMBERS, SCORED]);
    const PAGE: Shape = Shape::tuple("", "", &[Shape::cursor("cursor", ""), MEMBERS]);
    const INFO: Shape = Shape::fields("", "", &[Shape::int("length", ""), Shape::optional(&Shape::text("name", ""))]);

    #[test]
    fn scalars_are_held_against_their_type() {
        fits(&ADDED, |r| r.int(1));
        differs(&ADDED, |r| r.bulk(b"1"), "added: the bytes `1` where an integer was declared");
        differs(&ADDED, |r| r.null(), "added: null where an integer was declared");
        fits(&Shape::OK, |r| r.ok());
        differs(&Shape::OK, |r| r.status("QUEUED"), "ok: the status `QUEUED` where OK was declared");
        const EXISTS: Shape = Shape::boolean("exists", "");
        fits(&EXISTS, |r| r.int(0));
        fits(&EXISTS, |r| r.boolean(true));
        differs(&EXISTS, |r| r.int(2), "exists: the integer 2 where a boolean or the integer 0 or 1 was declared");
        const TEXT: Shape = Shape::text("info", "");
        fits(&TEXT, |r| r.verbatim("txt", "a"));
        differs(&TEXT, |r| r.bulk(b"\xff"), "info: the bytes `\u{fffd}` where text was declared");
    }

    #[test]
    fn every_error_is_an_answer() {
        fits(&ADDED, |r| r.error(&Error::WRONG_TYPE));
        fits(&MEMBERS, |r| r.error(&Error::WRONG_TYPE));
    }

    #[test]
    fn null_needs_an_optional() {
        const VALUE: Shape = Shape::optional(&Shape::bytes("value", ""));
        fits(&VALUE, |r| r.null());
        fits(&VALUE, |r| r.null_array());
        fits(&VALUE, |r| r.bulk(b"x"));
        differs(&VALUE, |r| r.int(1), "value: the integer 1 where bytes or null was declared");
    }

    #[test]
    fn items_are_counted() {
        differs(&MEMBERS, |_| (), "nothing was replied");
        differs(
            &MEMBERS,
            |r| {
                r.array(2);
                r.bulk(b"a");
            },
            "members[0]: items are missing after this one",
        );
        differs(
            &MEMBERS,
            |r| {
                r.set(1);
                r.bulk(b"a");
                r.bulk(b"b");
            },
            "the bytes `b` after the end of the reply",
        );
        differs(
            &PAGE,
            |r| {
                r.array(2);
                r.bulk(b"0");
                r.array(2);
                r.bulk(b"a");
                r.int(1);
            },
            ".members[1]: the integer 1 where bytes was declared",
        );
        differs(&PAGE, |r| r.array(3), "the reply: an array of 3 where an array of 2 was declared");
    }

    #[test]
    fn pairs_come_flat_or_nested() {
        for shape in [&SCORED, &RANGE] {
            fits(shape, |r| r.array(0));
            fits(shape, |r| {
                r.array(2);
                r.bulk(b"a");
                r.double(1.5);
            });
            fits(shape, |r| {
                r.array(2);
                for member in [b"a", b"b"] {
                    r.array(2);
                    r.bulk(member);
                    r.double(1.5);
                }
            });
        }
        differs(
            &SCORED,
            |r| {
                r.array(1);
                r.bulk(b"a");
            },
            "members: half a pair",
        );
    }

    #[test]
    fn one_of_takes_each_of_its_shapes() {
        fits(&RANGE, |r| {
            r.array(3);
            r.bulk(b"a");
            r.bulk(b"b");
            r.bulk(b"c");
        });
        fits(&RANGE, |r| {
            r.array(1);
            r.bulk(b"a");
        });
        differs(
            &RANGE,
            |r| {
                r.array(3);
                r.bulk(b"a");
                r.bulk(b"b");
                r.double(1.0);
            },
            "members[2]: the double 1 where bytes was declared",
        );
        differs(&RANGE, |r| r.int(1), "members: the integer 1 where an array or an array of pairs was declared");
    }

    #[test]
    fn fields_are_known_and_complete() {
        fits(&INFO, |r| {
            r.map(1);
            r.bulk(b"length");
            r.int(1);
        });
        differs(
            &INFO,
            |r| {
                r.map(1);
                r.bulk(b"name");
                r.bulk(b"x");
            },
            "the reply: the field `length` is missing",
        );
        differs(
            &INFO,
            |r| {
                r.map(2);
                r.bulk(b"length");
                r.int(1);
                r.bulk(b"size");
                r.int(1);
            },
            "{1}: the bytes `size` is no declared field",
        );
        differs(
            &INFO,
            |r| {
                r.map(1);
                r.bulk(b"length");
                r.bulk(b"1");
            },
            ".length: the bytes `1` where an integer was declared",
        );
    }

    #[test]
    fn a_rollback_forgets_what_was_written_since() {
        fits(&ADDED, |r| {
            let mark = r.mark();
            r.bulk(b"wrong");
            r.rollback(mark);
            r.int(1);
        });
        const REPLIES: Shape = Shape::array("replies", "", &MEMBERS);
        fits(&REPLIES, |r| {
            let whole = r.mark();
            r.array(1);
            r.rollback(whole);
            r.array(2);
            r.array(0);
            let last = r.mark();
            for _ in 0..2 {
                r.array(1);
                r.bulk(b"a");
                r.rollback(last);
            }
            r.error(&Error::WRONG_TYPE);
        });
    }

    #[test]
    fn nothing_is_answered_by_pushes() {
        fits(&Shape::NOTHING, |_| ());
        fits(&Shape::NOTHING, |r| {
            for _ in 0..2 {
                r.push(1);
                r.text("subscribe");
            }
        });
        differs(&Shape::NOTHING, |r| r.ok(), "the reply: the status `OK` where nothing was declared");
    }

    #[test]
    fn the_checker_passes_everything_on() {
        let mut sink = Sink { call_count: 0, resp2: true };
        let mut checked = Checked::new(&mut sink, &MEMBERS);
        assert!(!checked.resp3());
        checked.array(1);
        checked.bulk(b"a");
        assert_eq!(checked.finish(), Ok(()));
        assert_eq!(sink.call_count, 2);
    }
}
