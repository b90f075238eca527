//! [`Replies`]: the answer of EXEC taken apart, each of its items by the shape of its own call.

use synap_core::reply::{Mark, Reply};
use synap_core::{Error, Result};

use super::JsonReply;
use crate::spec::Shape;

/// The replies of several calls that come as one array.
pub struct Replies {
    /// Of the calls, in order.
    shapes: Vec<&'static Shape>,
    done: Vec<Result<Vec<u8>>>,
    current: Option<JsonReply>,
    is_announced: bool,
    is_null: bool,
    /// The error that came in place of the array.
    error: Option<Error>,
}

/// Bits of a mark that say where in an item it is; those above say in which.
const MARK_BITS: u32 = 40;
/// The mark before the array.
const BEFORE_ALL: Mark = Mark(usize::MAX);

impl Replies {
    pub fn new(shapes: Vec<&'static Shape>) -> Replies {
        let done = Vec::with_capacity(shapes.len());
        Replies { shapes, done, current: None, is_announced: false, is_null: false, error: None }
    }

    /// The JSON text or the error of each call; `None` when there was null in place of the array.
    pub fn finish(mut self) -> Result<Option<Vec<Result<Vec<u8>>>>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.done.extend(self.current.map(JsonReply::finish));
        Ok((!self.is_null).then_some(self.done))
    }

    /// The reply that the next item is a part of.
    fn item(&mut self) -> &mut JsonReply {
        if let Some(complete) = self.current.take_if(|current| current.is_complete()) {
            self.done.push(complete.finish());
        }
        let shape = self.shapes.get(self.done.len()).copied().unwrap_or(&Shape::ANY);
        self.current.get_or_insert_with(|| JsonReply::new(shape))
    }

    fn instead(&mut self, error: Option<&Error>) {
        self.is_null = error.is_none();
        self.error = error.cloned();
    }
}

impl Reply for Replies {
    fn status(&mut self, text: &str) {
        self.item().status(text);
    }
    fn int(&mut self, value: i64) {
        self.item().int(value);
    }
    fn double(&mut self, value: f64) {
        self.item().double(value);
    }
    fn boolean(&mut self, value: bool) {
        self.item().boolean(value);
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.item().bulk(bytes);
    }
    fn verbatim(&mut self, format: &str, text: &str) {
        self.item().verbatim(format, text);
    }
    fn null(&mut self) {
        if self.is_announced { self.item().null() } else { self.instead(None) }
    }
    fn null_array(&mut self) {
        if self.is_announced { self.item().null_array() } else { self.instead(None) }
    }
    fn array(&mut self, len: usize) {
        if self.is_announced { self.item().array(len) } else { self.is_announced = true }
    }
    fn map(&mut self, len: usize) {
        self.item().map(len);
    }
    fn set(&mut self, len: usize) {
        self.item().set(len);
    }
    fn push(&mut self, len: usize) {
        self.item().push(len);
    }
    fn error(&mut self, error: &Error) {
        if self.is_announced { self.item().error(error) } else { self.instead(Some(error)) }
    }

    fn resp3(&self) -> bool {
        true
    }

    fn mark(&self) -> Mark {
        match &self.current {
            _ if !self.is_announced => BEFORE_ALL,
            Some(current) if !current.is_complete() => Mark(self.done.len() << MARK_BITS | current.mark().0),
            // The next item is one of its own.
            current => Mark((self.done.len() + usize::from(current.is_some())) << MARK_BITS),
        }
    }

    fn rollback(&mut self, mark: Mark) {
        if mark == BEFORE_ALL {
            *self = Replies::new(std::mem::take(&mut self.shapes));
            return;
        }
        let (index, inside) = (mark.0 >> MARK_BITS, mark.0 & ((1 << MARK_BITS) - 1));
        if index > self.done.len() {
            return; // nothing was written since
        }
        match &mut self.current {
            Some(current) if index == self.done.len() && inside > 0 => current.rollback(Mark(inside)),
            current => *current = None,
        }
        self.done.truncate(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDED: Shape = Shape::int("added", "");
    const VALUES: Shape = Shape::array("values", "", &Shape::BYTES);

    fn texts(replies: Replies) -> Vec<String> {
        let all = replies.finish().expect("no error").expect("an array");
        let text =
            |reply: Result<Vec<u8>>| reply.map_or_else(|e| e.to_string(), |t| String::from_utf8(t).expect("JSON"));
        all.into_iter().map(text).collect()
    }

    #[test]
    fn each_item_has_the_shape_of_its_call() {
        let mut replies = Replies::new(vec![&ADDED, &VALUES, &ADDED, &VALUES]);
        replies.array(4);
        replies.int(1);
        replies.array(2);
        replies.bulk(b"a");
        replies.null();
        replies.error(&Error::SYNTAX);
        replies.array(0);
        assert_eq!(
            texts(replies),
            [r#"{"added":1}"#, r#"{"values":["a",null]}"#, "ERR syntax error", r#"{"values":[]}"#]
        );
    }

    #[test]
    fn an_item_that_fails_is_written_again() {
        let mut replies = Replies::new(vec![&ADDED, &VALUES, &ADDED]);
        let before = replies.mark();
        replies.array(3);
        replies.rollback(before);
        replies.array(3);
        let first = replies.mark();
        replies.int(7);
        replies.rollback(first);
        replies.int(1);
        let second = replies.mark();
        replies.rollback(second);
        replies.array(2);
        replies.bulk(b"a");
        let inside = replies.mark();
        replies.bulk(b"b");
        replies.rollback(second);
        replies.array(2);
        replies.bulk(b"a");
        assert_eq!(replies.mark(), inside);
        replies.bulk(b"x");
        let third = replies.mark();
        replies.int(2);
        replies.rollback(third);
        replies.error(&Error::SYNTAX);
        assert_eq!(texts(replies), [r#"{"added":1}"#, r#"{"values":["a","x"]}"#, "ERR syntax error"]);
    }

    #[test]
    fn null_and_an_error_stand_for_all() {
        let mut replies = Replies::new(vec![&ADDED]);
        replies.null_array();
        assert_eq!(replies.finish(), Ok(None));
        let mut replies = Replies::new(vec![&ADDED]);
        replies.error(&Error::SYNTAX);
        assert_eq!(replies.finish(), Err(Error::SYNTAX));
    }
}
