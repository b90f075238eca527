//! Follows a reply as it is written and knows, at every item, which [`Shape`] belongs there.
//!
//! The checker ([`super::check_reply`]) and the JSON encoder both stand on it, so that what is checked is what is
//! written. It keeps one small frame per open aggregate and no item.

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::error::Error;
use crate::grammar::spec::{Shape, ShapeKind};
use crate::reply::Mark;

/// One call of a [`Reply`](crate::reply::Reply) method.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Status(&'a str),
    Int(i64),
    Double(f64),
    Boolean(bool),
    Bulk(&'a [u8]),
    Verbatim(&'a str),
    /// Either null.
    Null,
    Array(usize),
    Set(usize),
    Push(usize),
    Map(usize),
    Error(&'a Error),
}

impl Event<'_> {
    /// The event in the words of a mismatch.
    pub fn describe(&self) -> String {
        match self {
            Event::Status(text) => format!("the status `{text}`"),
            Event::Int(value) => format!("the integer {value}"),
            Event::Double(value) => format!("the double {value}"),
            Event::Boolean(value) => format!("the boolean {value}"),
            Event::Bulk(bytes) => format!("the bytes `{}`", Error::quote(bytes)),
            Event::Verbatim(_) => "a verbatim text".into(),
            Event::Null => "null".into(),
            Event::Array(len) => format!("an array of {len}"),
            Event::Set(len) => format!("a set of {len}"),
            Event::Push(len) => format!("a push of {len}"),
            Event::Map(len) => format!("a map of {len}"),
            Event::Error(error) => format!("the error `{error}`"),
        }
    }

    /// The number of items that follow; a pair counts as two. `None` when it is not an aggregate.
    pub fn item_count(&self) -> Option<usize> {
        match *self {
            Event::Array(len) | Event::Set(len) | Event::Push(len) => Some(len),
            Event::Map(len) => Some(len * 2),
            _ => None,
        }
    }
}

/// What an open aggregate holds.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Items of one shape.
    Items(&'static Shape),
    /// Items with a shape and a name each.
    Named(&'static [Shape]),
    /// Keys and values of one shape.
    Map(&'static Shape),
    /// Keys that are names, and their values; the index of the last key's shape, if its name is known.
    Fields { shapes: &'static [Shape], current: Option<usize>, seen: u64 },
    /// Two shapes that alternate, or arrays of the two.
    Pairs(&'static [Shape; 2]),
    /// Two shapes that alternate.
    FlatPairs(&'static [Shape; 2]),
    /// One of these, not yet known which: all of them begin with an array.
    Either { shapes: &'static [Shape], len: usize },
}

/// An aggregate whose items are being written.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub form: Form,
    /// Items announced; a pair counts as two.
    pub item_count: usize,
    /// Items begun.
    pub next: usize,
}

impl Frame {
    pub fn is_finished(&self) -> bool {
        self.next == self.item_count
    }

    /// The next item is a key of a map.
    pub fn is_at_key(&self) -> bool {
        matches!(self.form, Form::Map(_) | Form::Fields { .. }) && self.next.is_multiple_of(2)
    }

    /// The first field that had to be there and was not.
    pub fn missing_field(&self) -> Option<&'static str> {
        let Form::Fields { shapes, seen, .. } = self.form else { return None };
        let required = |shape: &Shape| !matches!(shape.kind, ShapeKind::Optional(_));
        let index = (0..shapes.len().min(FIELD_CHECK_MAX)).find(|&i| seen & (1 << i) == 0 && required(&shapes[i]))?;
        Some(shapes[index].name)
    }
}

/// What [`Follower::step`] found out about an item.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The aggregate that it is an item of, before it; `None` at the top.
    pub parent: Option<Frame>,
    /// The shape that was expected, and what is left of it without `Optional` and `OneOf`; the same when it does
    /// not fit.
    pub expected: Shape,
    pub shape: Shape,
    pub fits: bool,
    /// It came after the reply was complete.
    pub surplus: bool,
}

/// Anything, without a name.
const ANYTHING: Shape = Shape { name: "", doc: "", kind: ShapeKind::Any };
const KEY: Shape = Shape { name: "", doc: "", kind: ShapeKind::Bytes };
/// Fields of one map beyond this are not checked for presence.
const FIELD_CHECK_MAX: usize = 64;
const NAME: Shape = Shape { name: "", doc: "", kind: ShapeKind::Text };

/// A position in a reply.
#[derive(Clone, Debug)]
pub struct Follower {
    top: &'static Shape,
    decide_early: bool,
    state: State,
    /// States to go back to; appended to by [`Follower::save`], which has only `&self`.
    saved: RefCell<Vec<(Mark, State)>>,
}

#[derive(Clone, Debug)]
struct State {
    frames: SmallVec<[Frame; 3]>,
    /// The top item has been begun.
    begun: bool,
}

impl Follower {
    pub fn new(top: &'static Shape) -> Follower {
        Follower {
            top,
            decide_early: false,
            state: State { frames: SmallVec::new(), begun: false },
            saved: RefCell::default(),
        }
    }

    /// Settles at its first item what an array of several possible shapes is, for a writer that cannot wait longer.
    pub fn deciding_early(self) -> Follower {
        Follower { decide_early: true, ..self }
    }

    /// Takes the next item. Finished aggregates stay open until [`Follower::close`] is called.
    pub fn step(&mut self, event: Event) -> Step {
        let surplus = self.is_complete();
        let expected = match self.state.frames.last() {
            Some(_) => self.expect(event),
            None if surplus => ANYTHING,
            None => *self.top,
        };
        let resolved = resolve(expected, event);
        let shape = resolved.unwrap_or(expected);
        self.state.begun = true;

        let parent = match self.state.frames.last_mut() {
            Some(frame) => {
                let before = *frame;
                frame.next += 1;
                Some(before)
            }
            None => None,
        };
        if let Some(item_count) = event.item_count() {
            let mut form = form_of(resolved.unwrap_or(ANYTHING), event);
            if let (Form::Either { shapes, len }, true) = (form, self.decide_early) {
                // Items with names are written between other brackets: that cannot wait for the first of them.
                let named = variants(shapes, len).any(|variant| matches!(variant, Form::Named(_)));
                form = variants(shapes, len).next().filter(|_| named).unwrap_or(form);
            }
            self.state.frames.push(Frame { form, item_count, next: 0 });
        }
        Step { parent, expected, shape, fits: resolved.is_some(), surplus }
    }

    /// Takes the innermost aggregate away when all its items have been written.
    pub fn close(&mut self) -> Option<Frame> {
        if self.state.frames.last()?.is_finished() { self.state.frames.pop() } else { None }
    }

    /// The innermost open aggregate.
    pub fn frame(&self) -> Option<&Frame> {
        self.state.frames.last()
    }

    /// The open aggregates, the innermost last.
    pub fn frames(&self) -> &[Frame] {
        &self.state.frames
    }

    /// How many aggregates are open.
    pub fn depth(&self) -> usize {
        self.state.frames.len()
    }

    /// The last item was a key that names none of the declared fields.
    pub fn is_at_unknown_field(&self) -> bool {
        matches!(self.frame(), Some(Frame { form: Form::Fields { current: None, .. }, .. }))
    }

    pub fn is_begun(&self) -> bool {
        self.state.begun
    }

    pub fn is_complete(&self) -> bool {
        self.state.begun && self.state.frames.is_empty()
    }

    /// Where the last item stands, as in `members[2].score`.
    pub fn path(&self) -> String {
        let mut path = self.top.name.to_string();
        for frame in &self.state.frames {
            let Some(index) = frame.next.checked_sub(1) else { continue };
            match frame.form {
                Form::Named(shapes) if index < shapes.len() && !shapes[index].name.is_empty() => {
                    path.push('.');
                    path.push_str(shapes[index].name);
                }
                Form::Fields { shapes, current: Some(current), .. } if index % 2 == 1 => {
                    path.push('.');
                    path.push_str(shapes[current].name);
                }
                Form::Map(_) | Form::Fields { .. } => path.push_str(&format!("{{{}}}", index / 2)),
                Form::FlatPairs(shapes) => path.push_str(&format!("[{}].{}", index / 2, shapes[index % 2].name)),
                Form::Named(_) | Form::Items(_) | Form::Pairs(_) | Form::Either { .. } => {
                    path.push_str(&format!("[{index}]"));
                }
            }
        }
        if path.is_empty() { "the reply".into() } else { path }
    }

    /// Remembers this position under `mark`.
    pub fn save(&self, mark: Mark) {
        let mut saved = self.saved.borrow_mut();
        // A place marked twice keeps its first state: nothing was written between.
        if saved.last().is_none_or(|(last, _)| *last != mark) {
            saved.push((mark, self.state.clone()));
        }
    }

    /// Goes back to the position saved under `mark`. Marks are used innermost first, so later ones are forgotten.
    pub fn restore(&mut self, mark: Mark) {
        let mut saved = self.saved.borrow_mut();
        while let Some((last, state)) = saved.pop() {
            if last == mark {
                self.state = state.clone();
                saved.push((last, state)); // it may be used again
                return;
            }
        }
        panic!("a reply was rolled back to a place that was never marked");
    }

    /// The shape of the next item of the innermost aggregate, narrowing its form by `event`.
    fn expect(&mut self, event: Event) -> Shape {
        let decide_early = self.decide_early;
        let Some(frame) = self.state.frames.last_mut() else { return ANYTHING };
        let index = frame.next;
        if let Form::Either { shapes, len } = frame.form {
            let mut fitting = variants(shapes, len).filter(|form| begins(*form, index, event));
            let first = fitting.next();
            let form = first.or_else(|| variants(shapes, len).next()).unwrap_or(Form::Items(&ANYTHING));
            // Bytes may begin an array of bytes as well as flat pairs: the second item tells.
            let ambiguous = fitting.next().is_some() && event.item_count().is_none();
            if ambiguous && index == 0 && !decide_early {
                return child(form, index);
            }
            frame.form = match form {
                Form::Pairs(shapes) if index > 0 => Form::FlatPairs(shapes),
                form => form,
            };
        }
        if let Form::Pairs(shapes) = frame.form
            && index == 0
            && !begins_nested_pair(shapes, event)
        {
            frame.form = Form::FlatPairs(shapes);
        }
        match &mut frame.form {
            // A map of anything may have any keys: Lua and RESP3 allow them.
            Form::Map(value) if index.is_multiple_of(2) => {
                if matches!(value.kind, ShapeKind::Any) {
                    ANYTHING
                } else {
                    KEY
                }
            }
            Form::Fields { shapes, current, seen } if index.is_multiple_of(2) => {
                *current = match event {
                    Event::Bulk(key) => shapes.iter().position(|s| s.name.as_bytes() == key),
                    Event::Status(key) | Event::Verbatim(key) => shapes.iter().position(|s| s.name == key),
                    _ => None,
                };
                if let Some(current @ 0..FIELD_CHECK_MAX) = *current {
                    *seen |= 1 << current;
                }
                NAME
            }
            form => child(*form, index),
        }
    }
}

/// The shape of item `index` in an aggregate, if it is no key.
fn child(form: Form, index: usize) -> Shape {
    match form {
        Form::Items(shape) | Form::Map(shape) => *shape,
        Form::Named(shapes) => shapes.get(index).copied().unwrap_or(ANYTHING),
        Form::Fields { shapes, current, .. } => current.map_or(ANYTHING, |current| shapes[current]),
        Form::FlatPairs(shapes) => shapes[index % 2],
        Form::Pairs(shapes) => Shape { kind: ShapeKind::Tuple(shapes), ..ANYTHING },
        Form::Either { shapes, len } => variants(shapes, len).next().map_or(ANYTHING, |form| child(form, index)),
    }
}

/// The forms of those of `shapes` that an array of `len` fits.
fn variants(shapes: &'static [Shape], len: usize) -> impl Iterator<Item = Form> {
    let announced = Event::Array(len);
    shapes.iter().filter_map(move |shape| Some(form_of(resolve(*shape, announced)?, announced)))
}

/// True when `event` can be item `index` of an aggregate of `form`.
fn begins(form: Form, index: usize, event: Event) -> bool {
    match form {
        Form::Pairs(shapes) => begins_nested_pair(shapes, event) || resolve(shapes[index % 2], event).is_some(),
        form => resolve(child(form, index), event).is_some(),
    }
}

/// RESP3 nests pairs: an array of two stands where a flat list begins with the first of a pair.
fn begins_nested_pair(shapes: &'static [Shape; 2], event: Event) -> bool {
    matches!(event, Event::Array(2)) && resolve(shapes[0], event).is_none()
}

/// What the items of the aggregate `event` are when it is of `shape`.
fn form_of(shape: Shape, event: Event) -> Form {
    match (shape.kind, event) {
        (ShapeKind::Array(item), _) => Form::Items(item),
        (ShapeKind::Tuple(shapes), _) => Form::Named(shapes),
        (ShapeKind::Map(value), _) => Form::Map(value),
        (ShapeKind::Fields(shapes), _) => Form::Fields { shapes, current: None, seen: 0 },
        (ShapeKind::Pairs(shapes), Event::Map(_)) => Form::FlatPairs(shapes),
        (ShapeKind::Pairs(shapes), _) => Form::Pairs(shapes),
        (ShapeKind::OneOf(shapes), _) => Form::Either { shapes, len: event.item_count().unwrap_or(0) },
        (_, Event::Map(_)) => Form::Map(&ANYTHING),
        _ => Form::Items(&ANYTHING),
    }
}

/// What `event` is in `shape`, without the `Optional` and `OneOf` around it; `None` when it does not fit. A `OneOf`
/// stays when several of its shapes begin like this.
pub fn resolve(shape: Shape, event: Event) -> Option<Shape> {
    let fits = match (shape.kind, event) {
        // An error may stand wherever something could not be answered.
        (_, Event::Error(_)) => true,
        (ShapeKind::Any, _) => true,
        (ShapeKind::Optional(_), Event::Null) => true,
        (ShapeKind::Optional(inner), _) => return resolve(*inner, event),
        (ShapeKind::OneOf(shapes), _) => {
            let mut fitting = shapes.iter().filter_map(|shape| resolve(*shape, event));
            let first = fitting.next()?;
            let several = matches!(event, Event::Array(_) | Event::Set(_)) && fitting.next().is_some();
            return Some(if several { shape } else { first });
        }
        (ShapeKind::Ok, Event::Status("OK")) => true,
        (ShapeKind::Status, Event::Status(_)) => true,
        (ShapeKind::Int, Event::Int(_)) => true,
        (ShapeKind::Double, Event::Double(_)) => true,
        (ShapeKind::Bool, Event::Boolean(_) | Event::Int(0 | 1)) => true,
        (ShapeKind::Bytes, Event::Bulk(_)) => true,
        (ShapeKind::Text, Event::Bulk(bytes)) => std::str::from_utf8(bytes).is_ok(),
        (ShapeKind::Text, Event::Verbatim(_)) => true,
        (ShapeKind::Cursor, Event::Int(_)) => true,
        (ShapeKind::Cursor, Event::Bulk(bytes)) => {
            let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        }
        (ShapeKind::Array(_), Event::Array(_) | Event::Set(_)) => true,
        (ShapeKind::Map(_) | ShapeKind::Fields(_), Event::Map(_)) => true,
        (ShapeKind::Tuple(shapes), Event::Array(len)) => len == shapes.len(),
        (ShapeKind::Pairs(_), Event::Array(_) | Event::Map(_)) => true,
        (ShapeKind::Nothing, Event::Push(_)) => true,
        _ => false,
    };
    fits.then_some(shape)
}
