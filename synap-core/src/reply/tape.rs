//! A reply kept for later: recorded by one thread, played into the receiver's own encoder by another.

use super::{Mark, Reply};
use crate::error::Error;

/// The calls of a [`Reply`] in order.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    items: Vec<Item>,
    /// The receiver's vocabulary, which decides what a handler records.
    resp3: bool,
}

#[derive(Clone, Debug)]
enum Item {
    Status(Box<str>),
    Int(i64),
    Double(f64),
    Boolean(bool),
    Bulk(Box<[u8]>),
    Verbatim(Box<str>, Box<str>),
    Null,
    NullArray,
    Array(usize),
    Map(usize),
    Set(usize),
    Push(usize),
    Error(Error),
}

impl Tape {
    pub fn new(resp3: bool) -> Tape {
        Tape { items: Vec::new(), resp3 }
    }

    /// Bytes that it holds on to, about.
    pub fn size(&self) -> usize {
        self.items.iter().map(|item| 32 + if let Item::Bulk(bytes) = item { bytes.len() } else { 0 }).sum()
    }

    /// Writes the recorded reply.
    pub fn play(&self, reply: &mut dyn Reply) {
        for item in &self.items {
            match item {
                Item::Status(text) => reply.status(text),
                Item::Int(value) => reply.int(*value),
                Item::Double(value) => reply.double(*value),
                Item::Boolean(value) => reply.boolean(*value),
                Item::Bulk(bytes) => reply.bulk(bytes),
                Item::Verbatim(format, text) => reply.verbatim(format, text),
                Item::Null => reply.null(),
                Item::NullArray => reply.null_array(),
                Item::Array(len) => reply.array(*len),
                Item::Map(len) => reply.map(*len),
                Item::Set(len) => reply.set(*len),
                Item::Push(len) => reply.push(*len),
                Item::Error(error) => reply.error(error),
            }
        }
    }
}

impl Reply for Tape {
    fn status(&mut self, text: &str) {
        self.items.push(Item::Status(text.into()));
    }
    fn int(&mut self, value: i64) {
        self.items.push(Item::Int(value));
    }
    fn double(&mut self, value: f64) {
        self.items.push(Item::Double(value));
    }
    fn boolean(&mut self, value: bool) {
        self.items.push(Item::Boolean(value));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.items.push(Item::Bulk(bytes.into()));
    }
    fn verbatim(&mut self, format: &str, text: &str) {
        self.items.push(Item::Verbatim(format.into(), text.into()));
    }
    fn null(&mut self) {
        self.items.push(Item::Null);
    }
    fn null_array(&mut self) {
        self.items.push(Item::NullArray);
    }
    fn array(&mut self, len: usize) {
        self.items.push(Item::Array(len));
    }
    fn map(&mut self, len: usize) {
        self.items.push(Item::Map(len));
    }
    fn set(&mut self, len: usize) {
        self.items.push(Item::Set(len));
    }
    fn push(&mut self, len: usize) {
        self.items.push(Item::Push(len));
    }
    fn error(&mut self, error: &Error) {
        self.items.push(Item::Error(error.clone()));
    }
    fn resp3(&self) -> bool {
        self.resp3
    }
    fn mark(&self) -> Mark {
        Mark(self.items.len())
    }
    fn rollback(&mut self, mark: Mark) {
        self.items.truncate(mark.0);
    }
}
