//! Replies as trees, in which the order of sets and maps does not count.

use synap_core::reply::{Mark, Reply};
use synap_core::types::score::format_double;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// `OK`, `7`, `"bytes"`, `nil`, `-CODE sentence`.
    Leaf(String),
    List(Vec<Tree>),
    /// Sorted.
    Set(Vec<Tree>),
}

impl Tree {
    /// An expected reply that is not determined.
    pub const ANYTHING: &str = "anything";

    pub fn leaf(text: impl ToString) -> Tree {
        Tree::Leaf(text.to_string())
    }
    pub fn bytes(bytes: &[u8]) -> Tree {
        Tree::Leaf(format!("\"{}\"", bytes.escape_ascii()))
    }
    pub fn optional(bytes: Option<&Vec<u8>>) -> Tree {
        bytes.map_or(Tree::leaf("nil"), |bytes| Tree::bytes(bytes))
    }
    pub fn double(value: f64) -> Tree {
        Tree::leaf(format_double(value).as_str())
    }
    pub fn set(items: impl Iterator<Item = Tree>) -> Tree {
        let mut items: Vec<Tree> = items.collect();
        items.sort();
        Tree::Set(items)
    }

    /// True when this reply is what was expected: of an error that is expected as `-ERR` alone, the sentence is free.
    pub fn is_expected(&self, expected: &Tree) -> bool {
        match (self, expected) {
            (_, Tree::Leaf(other)) if other == Tree::ANYTHING => true,
            (Tree::Leaf(own), Tree::Leaf(other)) => own == other || (other == "-ERR" && own.starts_with("-ERR ")),
            (Tree::List(own), Tree::List(other)) | (Tree::Set(own), Tree::Set(other)) => {
                own.len() == other.len() && own.iter().zip(other).all(|(own, other)| own.is_expected(other))
            }
            _ => false,
        }
    }
}

/// Writes a reply down.
#[derive(Default)]
pub struct Growing(Vec<Event>);

enum Event {
    Leaf(Tree),
    List(usize),
    Set(usize),
    Map(usize),
}

impl Growing {
    pub fn tree(self) -> Tree {
        let mut events = self.0.into_iter();
        let tree = grow(&mut events);
        assert!(events.next().is_none(), "more than one reply");
        tree
    }
}

fn grow(events: &mut impl Iterator<Item = Event>) -> Tree {
    match events.next().expect("a reply that is complete") {
        Event::Leaf(leaf) => leaf,
        Event::List(count) => Tree::List((0..count).map(|_| grow(events)).collect()),
        Event::Set(count) => Tree::set((0..count).map(|_| grow(events)).collect::<Vec<_>>().into_iter()),
        Event::Map(count) => {
            let pairs: Vec<_> = (0..count).map(|_| Tree::List(vec![grow(events), grow(events)])).collect();
            Tree::set(pairs.into_iter())
        }
    }
}

impl Reply for Growing {
    fn status(&mut self, text: &str) {
        self.0.push(Event::Leaf(Tree::leaf(text)));
    }
    fn int(&mut self, value: i64) {
        self.0.push(Event::Leaf(Tree::leaf(value)));
    }
    fn double(&mut self, value: f64) {
        self.0.push(Event::Leaf(Tree::double(value)));
    }
    fn boolean(&mut self, value: bool) {
        self.0.push(Event::Leaf(Tree::leaf(i64::from(value))));
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0.push(Event::Leaf(Tree::bytes(bytes)));
    }
    fn verbatim(&mut self, _: &str, text: &str) {
        self.bulk(text.as_bytes());
    }
    fn null(&mut self) {
        self.0.push(Event::Leaf(Tree::leaf("nil")));
    }
    fn null_array(&mut self) {
        self.null();
    }
    fn array(&mut self, len: usize) {
        self.0.push(Event::List(len));
    }
    fn map(&mut self, len: usize) {
        self.0.push(Event::Map(len));
    }
    fn set(&mut self, len: usize) {
        self.0.push(Event::Set(len));
    }
    fn push(&mut self, len: usize) {
        self.0.push(Event::List(len));
    }
    fn error(&mut self, error: &synap_core::Error) {
        self.0.push(Event::Leaf(Tree::leaf(format!("-{error}"))));
    }
    fn resp3(&self) -> bool {
        true
    }
    fn mark(&self) -> Mark {
        Mark(self.0.len())
    }
    fn rollback(&mut self, mark: Mark) {
        self.0.truncate(mark.0);
    }
}
