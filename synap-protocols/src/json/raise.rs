//! [`JsonReply`]: a reply written as JSON text, guided by the row's [`Shape`].
//!
//! Text goes straight into one buffer: a million fields build no tree. What the shapes become:
//!
//! | shape | JSON |
//! |---|---|
//! | `Fields` at the top | the object itself |
//! | `Tuple` at the top, without a name | the object itself |
//! | anything else at the top | an object with one member: its name, `result` when it has none |
//! | `OneOf` at the top | as the shape that it turned out to be, under its own name when it has one |
//! | `Nothing` | `{}`, or `{"push":…}` when something was pushed |
//! | `Ok` | `true` |
//! | `Bool` | `true`, `false` |
//! | `Int` | a number |
//! | `Double` | a number; `"inf"`, `"-inf"`, `"nan"` |
//! | `Cursor` | a string |
//! | `Bytes`, `Text`, `Status` | as [`super::bytes`] says |
//! | `Array` | an array |
//! | `Map` | an object; names that are bytes as [`super::bytes`] says |
//! | `Tuple`, `Fields` | an object; items without a name are named by their index |
//! | `Pairs` | an array of objects of the two names, whether the reply nests the pairs or not |
//! | `Optional` | `null` or the shape |
//! | an error inside | `{"error":{"code":"…","message":"…"}}` |
//!
//! A reply with bounds ([`JsonReply::bounded`]) leaves out what has no room: the end of arrays and maps, of pairs both
//! halves, and the end of long strings. What a shape promises by name is always there.
//!
//! A reply that departs from its shape is written by the type of what was replied, as for `Any`; reporting it is the
//! checker's work (`synap_core::reply::check`). An error at the top is the error of the call.

use synap_core::reply::{Mark, Reply};
use synap_core::{Error, Result};

use super::{bytes, text};
use crate::follow::{Event, Follower, Form, Frame, Step};
use crate::spec::{Shape, ShapeKind};

/// A reply as JSON text.
pub struct JsonReply {
    out: Vec<u8>,
    /// Where it begins: what stands before is not ours.
    start: usize,
    shape: &'static Shape,
    follower: Follower,
    /// The error that the whole call was answered with.
    error: Option<Error>,
    /// The top is an object with one member.
    is_wrapped: bool,
    /// Where the text of a reply ended that was followed by another one.
    end: Option<usize>,
    /// Where keys began that are aggregates, and the depth that they are at.
    key_starts: Vec<(usize, usize)>,
    bounds: Option<Bounds>,
}

/// How large a reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes, about: what is under way is finished.
    pub bytes_max: usize,
    /// Items of one array, pairs of one map.
    pub item_count_max: usize,
}

/// What had no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Items of arrays and pairs of maps.
    pub item_count: usize,
    /// Bytes of strings that are there in part.
    pub bytes: usize,
}

impl LeftOut {
    pub fn is_nothing(self) -> bool {
        self == LeftOut::default()
    }
}

struct Bounds {
    room: Room,
    left_out: LeftOut,
    /// The depths of the open aggregates that take no more items.
    full: Vec<usize>,
    /// The depth of the aggregate an item of which is being left out.
    skipping: Option<usize>,
}

impl JsonReply {
    pub fn new(shape: &'static Shape) -> JsonReply {
        JsonReply::behind(shape, Vec::with_capacity(256))
    }

    /// Writes behind what `buffer` holds.
    pub fn behind(shape: &'static Shape, buffer: Vec<u8>) -> JsonReply {
        JsonReply {
            start: buffer.len(),
            out: buffer,
            shape,
            follower: Follower::new(shape).deciding_early(),
            error: None,
            is_wrapped: false,
            end: None,
            key_starts: Vec::new(),
            bounds: None,
        }
    }

    /// A reply of limited size. It is marked only where nothing was left out before: not between the calls of EXEC.
    pub fn bounded(shape: &'static Shape, room: Room) -> JsonReply {
        let bounds = Bounds { room, left_out: LeftOut::default(), full: Vec::new(), skipping: None };
        JsonReply { bounds: Some(bounds), ..JsonReply::new(shape) }
    }

    /// What a bounded reply had no room for.
    pub fn left_out(&self) -> LeftOut {
        self.bounds.as_ref().map_or(LeftOut::default(), |bounds| bounds.left_out)
    }

    /// The JSON text, or the error that the call was answered with.
    pub fn finish(self) -> Result<Vec<u8>> {
        let (buffer, result) = self.into_buffer();
        result.map(|()| buffer)
    }

    /// The buffer with the JSON text behind what it held; without it when the call was answered with an error.
    pub fn into_buffer(mut self) -> (Vec<u8>, Result<()>) {
        const INCOMPLETE: Error = Error::new(synap_core::Code::Internal, "the reply is not complete");
        let result = if let Some(error) = self.error {
            Err(error)
        } else if !self.follower.is_begun() && matches!(self.shape.kind, ShapeKind::Nothing) {
            self.out.extend_from_slice(b"{}");
            Ok(())
        } else {
            self.out.truncate(self.end.unwrap_or(self.out.len()));
            if self.end.is_some() || self.follower.is_complete() { Ok(()) } else { Err(INCOMPLETE) }
        };
        if result.is_err() {
            self.out.truncate(self.start);
        }
        (self.out, result)
    }

    /// True when the whole reply was written.
    pub fn is_complete(&self) -> bool {
        self.follower.is_complete()
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn event(&mut self, event: Event) {
        if self.follower.is_complete() && self.end.is_none() {
            self.end = Some(self.out.len()); // whatever follows the reply is cut off again
        }
        if let (Event::Error(error), false) = (event, self.follower.is_begun()) {
            self.error = Some(error.clone());
        }
        if self.has_no_room(event) {
            return self.leave_out(event);
        }
        let step = self.follower.step(event);
        match &step.parent {
            Some(parent) => self.before_item(parent, event),
            None if step.surplus => (),
            None => self.before_top(event, &step),
        }
        if step.parent.is_some_and(|parent| parent.is_at_key()) {
            self.key(event);
        } else {
            self.value(event, &step);
        }
        self.after_item(event);
    }

    /// True when the next item is to be left out.
    fn has_no_room(&mut self, event: Event) -> bool {
        let Some(bounds) = &mut self.bounds else { return false };
        let Some(frame) = self.follower.frame() else { return false };
        let depth = self.follower.depth();
        if bounds.skipping.is_some() || bounds.full.last() == Some(&depth) {
            return true;
        }
        let items_each = match frame.form {
            Form::Named(_) | Form::Fields { .. } => return false,
            Form::Map(_) | Form::FlatPairs(_) => 2,
            _ => 1,
        };
        if !frame.next.is_multiple_of(items_each) {
            return false; // the other half of a pair that is there
        }
        let is_name = items_each == 2;
        let left = bounds.room.bytes_max.saturating_sub(self.out.len());
        let fits = match event {
            Event::Bulk(name) if is_name => name.len() <= left,
            _ => left > 0,
        };
        if fits && frame.next / items_each < bounds.room.item_count_max {
            return false;
        }
        bounds.left_out.item_count += (frame.item_count - frame.next) / items_each;
        bounds.full.push(depth);
        true
    }

    /// Follows an item, or a part of one, without writing it.
    fn leave_out(&mut self, event: Event) {
        let depth = self.follower.depth();
        let Some(bounds) = &mut self.bounds else { return };
        let outside = *bounds.skipping.get_or_insert(depth);
        self.follower.step(event);
        while self.follower.depth() > outside && self.follower.close().is_some() {}
        if self.follower.depth() == outside {
            bounds.skipping = None;
            self.close_finished(false);
        }
    }

    /// The beginning of a string, as long as there is room.
    fn fitted<'a>(&mut self, event: Event<'a>) -> Event<'a> {
        let Some(bounds) = &mut self.bounds else { return event };
        let left = bounds.room.bytes_max.saturating_sub(self.out.len());
        let (whole, kept) = match event {
            Event::Bulk(bytes) => (bytes.len(), beginning(bytes, left).len()),
            Event::Status(text) | Event::Verbatim(text) => (text.len(), text.floor_char_boundary(left)),
            _ => return event,
        };
        bounds.left_out.bytes += whole - kept;
        match event {
            Event::Bulk(bytes) => Event::Bulk(&bytes[..kept]),
            Event::Status(text) if kept < whole => Event::Verbatim(&text[..kept]),
            Event::Verbatim(text) => Event::Verbatim(&text[..kept]),
            other => other,
        }
    }

    /// Opens the object around the whole reply.
    fn before_top(&mut self, event: Event, step: &Step) {
        if let Some(name) = name_at_top(step.expected, event) {
            self.is_wrapped = true;
            self.out.push(b'{');
            bytes::raise_name(name.as_bytes(), &mut self.out);
            self.out.push(b':');
        }
    }

    /// Writes what stands between the items of `parent`, and the name of an item that has one.
    fn before_item(&mut self, parent: &Frame, event: Event) {
        // The form may have been decided by this item.
        let frames = self.follower.frames();
        let outside = frames.len() - usize::from(event.item_count().is_some());
        let form = frames[..outside].last().map_or(parent.form, |frame| frame.form);
        let index = parent.next;
        match form {
            Form::Map(_) | Form::Fields { .. } if index % 2 == 1 => self.out.push(b':'),
            Form::FlatPairs(names) if index.is_multiple_of(2) => {
                self.out.extend_from_slice(if index == 0 { b"{" } else { b",{" });
                self.member(names[0].name, 0);
            }
            Form::FlatPairs(names) => {
                self.out.push(b',');
                self.member(names[1].name, 1);
            }
            _ => {
                if index > 0 {
                    self.out.push(b',');
                }
                if let Form::Named(shapes) = form {
                    self.member(shapes.get(index).map_or("", |shape| shape.name), index);
                }
            }
        }
    }

    fn member(&mut self, name: &str, index: usize) {
        if name.is_empty() {
            self.out.extend_from_slice(format!("\"{index}\":").as_bytes());
        } else {
            bytes::raise_name(name.as_bytes(), &mut self.out);
            self.out.push(b':');
        }
    }

    /// The name of a member that is data. What is no text is written as text.
    fn key(&mut self, event: Event) {
        match event {
            Event::Bulk(key) => bytes::raise_name(key, &mut self.out),
            Event::Status(key) | Event::Verbatim(key) => bytes::raise_name(key.as_bytes(), &mut self.out),
            _ => {
                let start = self.out.len();
                self.any(event);
                if event.item_count().is_some() {
                    self.key_starts.push((start, self.follower.depth()));
                } else {
                    self.quote_from(start);
                }
            }
        }
    }

    /// Makes a string of the JSON text from `start` on.
    fn quote_from(&mut self, start: usize) {
        let key = self.out.split_off(start);
        bytes::raise_name(&key, &mut self.out);
    }

    fn value(&mut self, event: Event, step: &Step) {
        match (step.shape.kind, event) {
            (ShapeKind::Ok, Event::Status("OK")) => self.out.extend_from_slice(b"true"),
            (ShapeKind::Bool, Event::Int(value @ (0 | 1))) => self.any(Event::Boolean(value == 1)),
            (ShapeKind::Cursor, Event::Int(value)) => {
                self.out.push(b'"');
                self.any(Event::Int(value));
                self.out.push(b'"');
            }
            // The beginning of a cursor is another cursor.
            (ShapeKind::Cursor, _) => self.any(event),
            _ => {
                let event = self.fitted(event);
                self.any(event);
            }
        }
    }

    fn any(&mut self, event: Event) {
        let out = &mut self.out;
        match event {
            Event::Status(text) | Event::Verbatim(text) => text::write_string(text, out),
            Event::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            Event::Double(value) => double(value, out),
            Event::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Event::Bulk(bytes) => bytes::raise(bytes, out),
            Event::Null => out.extend_from_slice(b"null"),
            Event::Array(_) | Event::Set(_) | Event::Push(_) | Event::Map(_) => {
                let is_object = self.follower.frame().is_some_and(|frame| is_object(frame.form));
                self.out.push(if is_object { b'{' } else { b'[' });
            }
            Event::Error(error) => {
                out.extend_from_slice(b"{\"error\":{\"code\":");
                text::write_string(error.code.word(), out);
                out.extend_from_slice(b",\"message\":");
                text::write_string(&error.text, out);
                out.extend_from_slice(b"}}");
            }
        }
    }

    /// Closes what is finished with this item.
    fn after_item(&mut self, event: Event) {
        if event.item_count().is_some_and(|count| count > 0) {
            return; // its own items are to come
        }
        // An empty aggregate is closed like any other, but is no half of a pair before it is.
        self.close_finished(event.item_count().is_none());
    }

    /// Closes the aggregates that have all their items; `is_item_done` when the last one was written.
    fn close_finished(&mut self, mut is_item_done: bool) {
        while let Some(frame) = self.follower.frame() {
            if is_item_done && matches!(frame.form, Form::FlatPairs(_)) && frame.next.is_multiple_of(2) {
                self.out.push(b'}');
            }
            let depth = self.follower.depth();
            let Some(frame) = self.follower.close() else { return };
            let was_full = self.bounds.as_mut().and_then(|bounds| bounds.full.pop_if(|full| *full == depth)).is_some();
            if matches!(frame.form, Form::FlatPairs(_)) && !frame.next.is_multiple_of(2) && !was_full {
                self.out.push(b'}'); // half a pair
            }
            self.out.push(if is_object(frame.form) { b'}' } else { b']' });
            if self.key_starts.last().is_some_and(|(_, at)| *at == depth)
                && let Some((start, _)) = self.key_starts.pop()
            {
                self.quote_from(start);
            }
            is_item_done = true;
        }
        if self.is_wrapped && self.end.is_none() {
            self.out.push(b'}');
        }
    }
}

fn is_object(form: Form) -> bool {
    matches!(form, Form::Map(_) | Form::Fields { .. } | Form::Named(_))
}

/// The member that a reply is at the top; `None` when it is an object itself.
pub(super) fn name_at_top(shape: Shape, event: Event) -> Option<&'static str> {
    let or_result = |name: &'static str| Some(if name.is_empty() { "result" } else { name });
    match shape.kind {
        ShapeKind::Fields(_) if matches!(event, Event::Map(_)) => None,
        ShapeKind::Tuple(items) if shape.name.is_empty() && matches!(event, Event::Array(n) if n == items.len()) => {
            None
        }
        ShapeKind::Optional(inner) if !matches!(event, Event::Null) => name_at_top(*inner, event),
        ShapeKind::OneOf(shapes) if shape.name.is_empty() => {
            let fits = |shape: &&Shape| crate::follow::resolve(**shape, event).is_some();
            match shapes.iter().find(fits) {
                Some(chosen) => name_at_top(*chosen, event),
                None => Some("result"),
            }
        }
        ShapeKind::Nothing => Some("push"),
        _ => or_result(shape.name),
    }
}

/// The first bytes of `bytes`, `len` at the most; no letter of a text is broken.
fn beginning(bytes: &[u8], len: usize) -> &[u8] {
    if bytes.len() <= len {
        return bytes;
    }
    let cut = &bytes[..len];
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
        _ => cut,
    }
}

/// A number, or a string where JSON has none.
fn double(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        };
        return text::write_string(text, out);
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}

impl Reply for JsonReply {
    fn status(&mut self, text: &str) {
        self.event(Event::Status(text));
    }
    fn int(&mut self, value: i64) {
        self.event(Event::Int(value));
    }
    fn double(&mut self, value: f64) {
        self.event(Event::Double(value));
    }
    fn boolean(&mut self, value: bool) {
        self.event(Event::Boolean(value));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.event(Event::Bulk(bytes));
    }
    fn verbatim(&mut self, _format: &str, text: &str) {
        self.event(Event::Verbatim(text));
    }
    fn null(&mut self) {
        self.event(Event::Null);
    }
    fn null_array(&mut self) {
        self.event(Event::Null);
    }
    fn array(&mut self, len: usize) {
        self.event(Event::Array(len));
    }
    fn map(&mut self, len: usize) {
        self.event(Event::Map(len));
    }
    fn set(&mut self, len: usize) {
        self.event(Event::Set(len));
    }
    fn push(&mut self, len: usize) {
        self.event(Event::Push(len));
    }
    fn error(&mut self, error: &Error) {
        self.event(Event::Error(error));
    }

    fn resp3(&self) -> bool {
        true
    }

    fn mark(&self) -> Mark {
        debug_assert!(self.left_out().is_nothing(), "a bounded reply is marked at its beginning");
        let mark = Mark(self.out.len());
        self.follower.save(mark);
        mark
    }
    fn rollback(&mut self, mark: Mark) {
        self.follower.restore(mark);
        self.out.truncate(mark.0);
        self.key_starts.retain(|(start, _)| *start < mark.0);
        if let Some(bounds) = &mut self.bounds {
            *bounds = Bounds { room: bounds.room, left_out: LeftOut::default(), full: Vec::new(), skipping: None };
        }
        if !self.follower.is_begun() {
            self.error = None;
            self.is_wrapped = false;
        }
        if self.end.is_some_and(|end| end > mark.0) || !self.follower.is_complete() {
            self.end = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use synap_core::reply::check::Checked;

    use super::*;
    use crate::json::text::check;

    #[track_caller]
    fn raises(shape: &'static Shape, write: impl Fn(&mut dyn Reply), json: &str) {
        let mut reply = JsonReply::new(shape);
        let mut checked = Checked::new(&mut reply, shape);
        write(&mut checked);
        assert_eq!(checked.finish(), Ok(()));
        let text = reply.finish().expect("a reply");
        assert_eq!(String::from_utf8_lossy(&text), json);
        check(&text).expect("it is JSON");
    }

    /// The reply departs from its shape and is JSON all the same.
    #[track_caller]
    fn raises_anyhow(shape: &'static Shape, write: impl Fn(&mut dyn Reply), json: &str) {
        let mut reply = JsonReply::new(shape);
        write(&mut reply);
        let text = reply.finish().expect("a reply");
        assert_eq!(String::from_utf8_lossy(&text), json);
        check(&text).expect("it is JSON");
    }

    const ADDED: Shape = Shape::int("added", "");
    const MEMBERS: Shape = Shape::array("members", "", &Shape::BYTES);
    const SCORED: Shape = Shape::pairs("members", "", &[Shape::bytes("member", ""), Shape::double("score", "")]);
    const RANGE: Shape = Shape::one_of("", "", &[MEMBERS, SCORED]);
    const VALUE: Shape = Shape::optional(&Shape::bytes("value", ""));
    const HASH: Shape = Shape::map("fields", "", &Shape::BYTES);
    const PAGE: Shape = Shape::tuple("", "", &[Shape::cursor("cursor", ""), MEMBERS]);
    const INFO: Shape = Shape::fields("stream", "", &[ADDED, VALUE, Shape::array("groups", "", &HASH)]);

    #[test]
    fn a_reply_is_an_object_with_a_name() {
        raises(&ADDED, |r| r.int(1), r#"{"added":1}"#);
        raises(&Shape::OK, |r| r.ok(), r#"{"ok":true}"#);
        raises(&VALUE, |r| r.bulk(b"x"), r#"{"value":"x"}"#);
        raises(&VALUE, |r| r.null(), r#"{"value":null}"#);
        raises(&Shape::BYTES, |r| r.bulk(b"x"), r#"{"result":"x"}"#);
        raises(&Shape::NOTHING, |_| (), "{}");
        const EXISTS: Shape = Shape::boolean("exists", "");
        raises(&EXISTS, |r| r.int(1), r#"{"exists":true}"#);
        raises(&EXISTS, |r| r.boolean(false), r#"{"exists":false}"#);
        const TYPE: Shape = Shape::status("type", "");
        raises(&TYPE, |r| r.status("string"), r#"{"type":"string"}"#);
    }

    #[test]
    fn bytes_cursors_and_doubles_keep_what_they_are() {
        raises(&VALUE, |r| r.bulk(b"\xff\n"), r#"{"value":{"base64":"/wo="}}"#);
        raises(&VALUE, |r| r.bulk(b"\"\n"), r#"{"value":"\"\n"}"#);
        const CURSOR: Shape = Shape::cursor("offset", "");
        raises(&CURSOR, |r| r.bulk(b"9007199254740993"), r#"{"offset":"9007199254740993"}"#);
        raises(&CURSOR, |r| r.int(7), r#"{"offset":"7"}"#);
        const SCORE: Shape = Shape::double("score", "");
        for (value, json) in [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (1e300, "1e300"),
            (f64::INFINITY, "\"inf\""),
            (f64::NEG_INFINITY, "\"-inf\""),
            (f64::NAN, "\"nan\""),
        ] {
            raises(&SCORE, |r| r.double(value), &format!("{{\"score\":{json}}}"));
        }
    }

    #[test]
    fn fields_and_unnamed_tuples_are_the_object_itself() {
        raises(
            &PAGE,
            |r| {
                r.array(2);
                r.bulk(b"0");
                r.array(2);
                r.bulk(b"a");
                r.bulk(b"b");
            },
            r#"{"cursor":"0","members":["a","b"]}"#,
        );
        raises(
            &INFO,
            |r| {
                r.map(2);
                r.bulk(b"added");
                r.int(1);
                r.bulk(b"groups");
                r.array(2);
                r.map(0);
                r.map(1);
                r.bulk(b"name");
                r.bulk(b"g");
            },
            r#"{"added":1,"groups":[{},{"name":"g"}]}"#,
        );
        const MAYBE: Shape = Shape::optional(&INFO);
        raises(&MAYBE, |r| r.null_array(), r#"{"stream":null}"#);
        const NAMED: Shape = Shape::tuple("at", "", &[Shape::INT, Shape::INT]);
        raises(
            &NAMED,
            |r| {
                r.array(2);
                r.int(1);
                r.int(2);
            },
            r#"{"at":{"0":1,"1":2}}"#,
        );
    }

    #[test]
    fn maps_are_objects_whose_names_have_one_meaning() {
        raises(
            &HASH,
            |r| {
                r.map(3);
                for (name, value) in [(b"b".as_slice(), b"1"), (b"\xff", b"2"), (b"base64", b"3")] {
                    r.bulk(name);
                    r.bulk(value);
                }
            },
            r#"{"fields":{"b":"1","base64:/w==":"2","base64:YmFzZTY0":"3"}}"#,
        );
        raises(&HASH, |r| r.map(0), r#"{"fields":{}}"#);
    }

    #[test]
    fn pairs_are_objects_flat_or_nested() {
        for shape in [&SCORED, &RANGE] {
            raises(
                shape,
                |r| {
                    r.array(2);
                    for (member, score) in [("a", 1.0), ("b", f64::INFINITY)] {
                        r.array(2);
                        r.text(member);
                        r.double(score);
                    }
                },
                r#"{"members":[{"member":"a","score":1},{"member":"b","score":"inf"}]}"#,
            );
            raises(shape, |r| r.array(0), r#"{"members":[]}"#);
        }
        let flat = |r: &mut dyn Reply| {
            r.array(4);
            for (member, score) in [("a", 1.0), ("b", 2.5)] {
                r.text(member);
                r.double(score);
            }
        };
        raises(&SCORED, flat, r#"{"members":[{"member":"a","score":1},{"member":"b","score":2.5}]}"#);
        // Bytes come first in both: without nesting it is taken for the shape that is listed first.
        raises(&RANGE, flat, r#"{"members":["a",1,"b",2.5]}"#);
        raises(
            &RANGE,
            |r| {
                r.array(1);
                r.bulk(b"a");
            },
            r#"{"members":["a"]}"#,
        );
    }

    #[test]
    fn pairs_hold_aggregates() {
        const ENTRIES: Shape = Shape::pairs("entries", "", &[Shape::bytes("id", ""), HASH]);
        raises(
            &ENTRIES,
            |r| {
                r.array(4);
                r.bulk(b"1-1");
                r.map(1);
                r.bulk(b"a");
                r.bulk(b"b");
                r.bulk(b"2-1");
                r.map(0);
            },
            r#"{"entries":[{"id":"1-1","fields":{"a":"b"}},{"id":"2-1","fields":{}}]}"#,
        );
    }

    #[test]
    fn one_of_several_shapes_has_its_own_name() {
        const POPPED: Shape = Shape::one_of("", "", &[VALUE, MEMBERS]);
        raises(&POPPED, |r| r.bulk(b"a"), r#"{"value":"a"}"#);
        raises(&POPPED, |r| r.null(), r#"{"value":null}"#);
        raises(
            &POPPED,
            |r| {
                r.array(1);
                r.bulk(b"a");
            },
            r#"{"members":["a"]}"#,
        );
        const TUPLE_OR_ARRAY: Shape = Shape::one_of("", "", &[PAGE, MEMBERS]);
        raises(
            &TUPLE_OR_ARRAY,
            |r| {
                r.array(1);
                r.bulk(b"a");
            },
            r#"{"members":["a"]}"#,
        );
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let cut = |shape: &'static Shape, bytes_max, item_count_max, write: &dyn Fn(&mut dyn Reply)| {
            let mut reply = JsonReply::bounded(shape, Room { bytes_max, item_count_max });
            write(&mut reply);
            let left_out = reply.left_out();
            let text = String::from_utf8(reply.finish().expect("a reply")).expect("text");
            check(text.as_bytes()).expect("it is JSON");
            (text, left_out.item_count, left_out.bytes)
        };
        let list = |r: &mut dyn Reply| {
            r.array(3);
            ["a", "b", "c"].iter().for_each(|item| r.text(item));
        };
        assert_eq!(cut(&MEMBERS, 1000, 3, &list), (r#"{"members":["a","b","c"]}"#.into(), 0, 0));
        assert_eq!(cut(&MEMBERS, 1000, 2, &list), (r#"{"members":["a","b"]}"#.into(), 1, 0));
        assert_eq!(cut(&MEMBERS, 14, 9, &list), (r#"{"members":["a"]}"#.into(), 2, 0));
        assert_eq!(cut(&VALUE, 13, 9, &|r| r.text("aé…")), (r#"{"value":"aé"}"#.into(), 0, 3));
        assert_eq!(cut(&VALUE, 11, 9, &|r| r.bulk(b"\xff\xfe\xfd")), (r#"{"value":{"base64":"//4="}}"#.into(), 0, 1));
        let map = |r: &mut dyn Reply| {
            r.map(2);
            for pair in [("a", "1"), ("b", "2")] {
                r.text(pair.0);
                r.text(pair.1);
            }
        };
        assert_eq!(cut(&HASH, 1000, 1, &map), (r#"{"fields":{"a":"1"}}"#.into(), 1, 0));
        // A name is whole or not there.
        let long_name = |r: &mut dyn Reply| {
            r.map(1);
            r.text(&"x".repeat(100));
            r.text("1");
        };
        assert_eq!(cut(&HASH, 50, 9, &long_name), (r#"{"fields":{}}"#.into(), 1, 0));
        let flat = |r: &mut dyn Reply| {
            r.array(4);
            for (member, score) in [("a", 1.0), ("b", 2.5)] {
                r.text(member);
                r.double(score);
            }
        };
        assert_eq!(cut(&SCORED, 1000, 1, &flat), (r#"{"members":[{"member":"a","score":1}]}"#.into(), 1, 0));
        // The cursor is whole, whatever the room; the members of an object are there.
        let page = |r: &mut dyn Reply| {
            r.array(2);
            r.text("123456789");
            list(r);
        };
        assert_eq!(cut(&PAGE, 1, 9, &page), (r#"{"cursor":"123456789","members":[]}"#.into(), 3, 0));
        let nested = |r: &mut dyn Reply| {
            r.array(3);
            for _ in 0..3 {
                r.array(2);
                r.array(0);
                r.map(1);
                r.int(1);
                r.null();
            }
        };
        assert_eq!(cut(&Shape::ANY, 1000, 1, &nested), (r#"{"result":[[[]]]}"#.into(), 3, 0));
        assert_eq!(
            cut(&Shape::ANY, 1000, 2, &nested),
            (r#"{"result":[[[],{"1":null}],[[],{"1":null}]]}"#.into(), 1, 0)
        );
    }

    #[test]
    fn a_reply_with_bounds_can_be_taken_back() {
        let mut reply = JsonReply::bounded(&MEMBERS, Room { bytes_max: 1000, item_count_max: 1 });
        let mark = reply.mark();
        reply.array(3);
        reply.text("a");
        reply.text("b");
        reply.rollback(mark);
        reply.error(&Error::WRONG_TYPE);
        assert!(reply.left_out().is_nothing());
        assert_eq!(reply.finish(), Err(Error::WRONG_TYPE));
    }

    #[test]
    fn anything_is_written_by_its_type() {
        raises(
            &Shape::ANY,
            |r| {
                r.array(9);
                r.int(-1);
                r.double(1.5);
                r.boolean(true);
                r.null_array();
                r.status("QUEUED");
                r.verbatim("txt", "t");
                r.set(1);
                r.bulk(b"s");
                r.map(2);
                r.int(1);
                r.array(1);
                r.null();
                r.array(2);
                r.int(1);
                r.bulk(b"x");
                r.push(0);
                r.error(&Error::WRONG_TYPE);
            },
            concat!(
                r#"{"result":[-1,1.5,true,null,"QUEUED","t",["s"],{"1":[null],"[1,\"x\"]":[]},"#,
                r#"{"error":{"code":"WRONGTYPE","message":"Operation against a key holding the wrong kind of value"}}]}"#
            ),
        );
    }

    #[test]
    fn what_departs_from_the_shape_is_json_all_the_same() {
        raises_anyhow(&ADDED, |r| r.bulk(b"x"), r#"{"added":"x"}"#);
        raises_anyhow(&Shape::OK, |r| r.status("QUEUED"), r#"{"ok":"QUEUED"}"#);
        raises_anyhow(&INFO, |r| r.int(1), r#"{"stream":1}"#);
        raises_anyhow(&PAGE, |r| r.array(0), r#"{"result":[]}"#);
        raises_anyhow(
            &MEMBERS,
            |r| {
                r.map(1);
                r.bulk(b"a");
                r.int(1);
            },
            r#"{"members":{"a":1}}"#,
        );
        raises_anyhow(
            &SCORED,
            |r| {
                r.array(1);
                r.bulk(b"a");
            },
            r#"{"members":[{"member":"a"}]}"#,
        );
        raises_anyhow(
            &ADDED,
            |r| {
                r.int(1);
                r.array(1);
                r.int(2);
                r.int(3);
            },
            r#"{"added":1}"#,
        );
        assert!(JsonReply::new(&ADDED).finish().is_err());
    }

    #[test]
    fn an_error_is_the_answer_of_the_call() {
        let mut reply = JsonReply::new(&ADDED);
        reply.error(&Error::WRONG_TYPE);
        assert_eq!(reply.finish(), Err(Error::WRONG_TYPE));

        let mut reply = JsonReply::new(&MEMBERS);
        let mark = reply.mark();
        reply.array(2);
        reply.bulk(b"a");
        reply.rollback(mark);
        reply.error(&Error::NO_SUCH_KEY);
        assert_eq!(reply.finish(), Err(Error::NO_SUCH_KEY));
    }

    #[test]
    fn a_rollback_forgets_what_was_written_since() {
        raises(
            &Shape::ANY,
            |r| {
                let start = r.mark();
                r.error(&Error::SYNTAX);
                r.rollback(start);
                r.array(3);
                r.int(1);
                let second = r.mark();
                r.map(1);
                r.array(1);
                r.rollback(second);
                r.array(1);
                r.int(2);
                let last = r.mark();
                r.int(3);
                r.rollback(last);
                r.error(&Error::SYNTAX);
            },
            r#"{"result":[1,[2],{"error":{"code":"ERR","message":"syntax error"}}]}"#,
        );
    }

    /// A reply of any structure, to be written to an encoder.
    #[derive(Clone, Debug)]
    enum Item {
        Int(i64),
        Double(f64),
        Boolean(bool),
        Bulk(Vec<u8>),
        Null,
        Error,
        Array(Vec<Item>),
        Map(Vec<(Item, Item)>),
    }

    fn any_item() -> impl Strategy<Value = Item> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Item::Int),
            (0..2i64).prop_map(Item::Int),
            any::<f64>().prop_map(Item::Double),
            any::<bool>().prop_map(Item::Boolean),
            any::<Vec<u8>>().prop_map(Item::Bulk),
            prop_oneof![Just(b"added".to_vec()), Just(b"12".to_vec()), Just(b"base64".to_vec())].prop_map(Item::Bulk),
            Just(Item::Null),
            Just(Item::Error),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                2 => prop::collection::vec(inner.clone(), 0..5).prop_map(Item::Array),
                1 => prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Item::Map),
            ]
        })
    }

    /// Writes `item`, and now and then something else first that is rolled back.
    fn write(item: &Item, rolls_back: bool, reply: &mut dyn Reply) {
        if rolls_back {
            let mark = reply.mark();
            write(item, false, reply);
            reply.rollback(mark);
        }
        match item {
            Item::Int(value) => reply.int(*value),
            Item::Double(value) => reply.double(*value),
            Item::Boolean(value) => reply.boolean(*value),
            Item::Bulk(bytes) => reply.bulk(bytes),
            Item::Null => reply.null(),
            Item::Error => reply.error(&Error::SYNTAX),
            Item::Array(items) => {
                reply.array(items.len());
                items.iter().for_each(|item| write(item, rolls_back, reply));
            }
            Item::Map(pairs) => {
                reply.map(pairs.len());
                for (key, value) in pairs {
                    write(key, false, reply); // no command marks a place inside a key
                    write(value, rolls_back, reply);
                }
            }
        }
    }

    fn raised(item: &Item, shape: &'static Shape, rolls_back: bool) -> Result<Vec<u8>> {
        let mut reply = JsonReply::new(shape);
        write(item, rolls_back, &mut reply);
        reply.finish()
    }

    proptest! {
        #[test]
        fn any_reply_is_json_in_any_shape(item in any_item()) {
            const NESTED: Shape = Shape::array("all", "", &RANGE);
            const EITHER: Shape = Shape::one_of("", "", &[NESTED, PAGE, SCORED, HASH, Shape::INT]);
            for shape in [&Shape::ANY, &ADDED, &RANGE, &SCORED, &HASH, &PAGE, &INFO, &NESTED, &EITHER, &Shape::NOTHING] {
                let plain = raised(&item, shape, false);
                if let Ok(text) = &plain {
                    let shown = String::from_utf8_lossy(text).into_owned();
                    prop_assert!(check(text).is_ok_and(|text| text.starts_with('{')), "{}", shown);
                }
                prop_assert_eq!(&plain, &raised(&item, shape, true));
                prop_assert_eq!(plain.is_err(), matches!(item, Item::Error));
            }
        }
    }
}
