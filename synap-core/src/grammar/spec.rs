//! The description of a command as data: its arguments and its reply.
//!
//! [`ArgSpec`] trees are computed by `#[derive(Args)]` from the argument struct that also parses the words;
//! [`Shape`] is written in the row. Doors, documentation, schemas and tests read these and nothing else.

/// One argument of a command, as `COMMAND DOCS`, JSON Schema and the word generator see it.
#[derive(Clone, Copy, Debug)]
pub struct ArgSpec {
    /// The member name in JSON and the name in `COMMAND DOCS`; snake case, unique in its command.
    pub name: &'static str,
    /// A sentence from the field's doc comment.
    pub doc: &'static str,
    /// The word that introduces the argument (`"EX"`), empty when there is none.
    pub token: &'static str,
    pub kind: ArgKind,
    /// May be left out.
    pub optional: bool,
    pub repeat: Repeat,
}

/// How often an argument occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Once,
    /// At least once, directly one after the other: `key [key …]`.
    Many,
    /// A count, then exactly so many: `numkeys key [key …]`. The count is not a JSON member: it is computed.
    Counted,
    /// As many as the counted argument of the same call has: `WEIGHTS weight …` beside `numkeys key …`.
    PerItem,
    /// Token and value together any number of times, also between other options: `GET pattern` of SORT.
    EachWithToken,
}

/// What one occurrence of an argument is.
#[derive(Clone, Copy, Debug)]
pub enum ArgKind {
    /// A key; what the command does to it.
    Key(Access),
    /// Any bytes.
    Bytes,
    /// A glob pattern.
    Pattern,
    /// Bytes of a form that no other kind says: as a regular expression, and by words that have it.
    Form { pattern: &'static str, examples: &'static [&'static str] },
    /// A publish/subscribe channel. `pattern` when it is a pattern of channels.
    Channel { pattern: bool },
    /// A decimal integer within bounds, inclusive.
    Int { min: i64, max: i64 },
    /// A decimal number; `inf` allowed where the type says so.
    Float { min: f64, max: f64, infinite: bool },
    /// The token alone: present or absent. JSON: `true` or `false`.
    Flag,
    /// Several arguments in this order.
    Block(&'static [ArgSpec]),
    /// Exactly one of several. When each has a token and the choice is optional, JSON names the chosen one directly
    /// (`"ex": 10`, `"nx": true`). When it is required and all are [`ArgKind::Flag`], JSON gives the token as a
    /// string under this argument's own name (`"from": "LEFT"`). A required choice with values is named directly.
    OneOf(&'static [ArgSpec]),
    /// Options in any order, each optional; JSON names them directly.
    AnyOrder(&'static [ArgSpec]),
}

/// What a command does with a key, in the words of `COMMAND GETKEYSANDFLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub u8);

impl Access {
    /// Reads the value or its metadata, changes nothing.
    pub const RO: Access = Access(1);
    /// Reads and changes.
    pub const RW: Access = Access(1 << 1);
    /// Overwrites without reading.
    pub const OW: Access = Access(1 << 2);
    /// Removes.
    pub const RM: Access = Access(1 << 3);
    /// Returns or copies the value's content.
    pub const ACCESS: Access = Access(1 << 4);
    /// Changes the content.
    pub const UPDATE: Access = Access(1 << 5);
    /// Adds content without looking at what is there.
    pub const INSERT: Access = Access(1 << 6);
    /// Removes content.
    pub const DELETE: Access = Access(1 << 7);

    pub const fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
    pub const fn has(self, other: Access) -> bool {
        self.0 & other.0 == other.0
    }
    /// True when the call needs the right to read the key.
    pub const fn reads(self) -> bool {
        self.0 & Access::ACCESS.0 != 0
    }
    /// True when the call needs the right to change the key.
    pub const fn writes(self) -> bool {
        self.0 & (Access::UPDATE.0 | Access::INSERT.0 | Access::DELETE.0) != 0
    }

    /// The flags in Redis' order and spelling.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(&str, Access); 8] = [
            ("RO", Access::RO),
            ("RW", Access::RW),
            ("OW", Access::OW),
            ("RM", Access::RM),
            ("access", Access::ACCESS),
            ("update", Access::UPDATE),
            ("insert", Access::INSERT),
            ("delete", Access::DELETE),
        ];
        NAMES.into_iter().filter(move |(_, flag)| self.has(*flag)).map(|(name, _)| name)
    }
}

/// The shape of a reply: enough to name it in JSON, to write its JSON Schema and to check it in tests.
///
/// At the top of a reply a named shape becomes an object with that one member (`{"added": 1}`); a `Fields` shape
/// becomes an object itself.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The JSON member; empty for items of an array.
    pub name: &'static str,
    pub doc: &'static str,
    pub kind: ShapeKind,
}

#[derive(Clone, Copy, Debug)]
pub enum ShapeKind {
    /// The status `OK`. JSON at the top: `{"ok": true}`.
    Ok,
    /// A simple string, one word or sentence.
    Status,
    Int,
    /// A double; RESP2 sends it as a bulk string.
    Double,
    /// The integers 0 and 1 (or a RESP3 boolean). JSON: `true`/`false`.
    Bool,
    /// Any bytes.
    Bytes,
    /// Bytes that are always UTF-8 (bulk, verbatim).
    Text,
    /// An offset or cursor: a number sent as bulk text, a string in JSON.
    Cursor,
    /// Null or the shape.
    Optional(&'static Shape),
    /// Any number of items of one shape (array or set).
    Array(&'static Shape),
    /// A map from bytes to one shape (RESP2: flat array). JSON: an object.
    Map(&'static Shape),
    /// An array with exactly these items in this order. JSON: an object of their names.
    Tuple(&'static [Shape]),
    /// A map with these text keys. `Optional` ones may be missing. JSON: an object.
    Fields(&'static [Shape]),
    /// An array of alternating items: the RESP2 form of pairs where RESP3 nests them (`WITHSCORES`).
    /// JSON: an array of objects of the two names.
    Pairs(&'static [Shape; 2]),
    /// One of several, told apart by their type on the wire.
    OneOf(&'static [Shape]),
    /// Anything: EXEC, scripts.
    Any,
    /// Nothing is replied to the call itself; the call's pushes are its replies.
    Nothing,
}

macro_rules! named_shapes {
    ($($fn:ident => $kind:ident),* $(,)?) => {
        impl Shape { $(pub const fn $fn(name: &'static str, doc: &'static str) -> Shape {
            Shape { name, doc, kind: ShapeKind::$kind }
        })* }
    };
}

named_shapes! { int => Int, double => Double, boolean => Bool, bytes => Bytes, text => Text, status => Status,
cursor => Cursor, any => Any }

impl Shape {
    pub const OK: Shape =
        Shape { name: "ok", doc: "Always true: an error is answered as an error.", kind: ShapeKind::Ok };
    pub const ANY: Shape = Shape { name: "result", doc: "", kind: ShapeKind::Any };
    pub const NOTHING: Shape = Shape { name: "", doc: "", kind: ShapeKind::Nothing };
    /// An item of bytes.
    pub const BYTES: Shape = Shape { name: "", doc: "", kind: ShapeKind::Bytes };
    /// An item of text.
    pub const TEXT: Shape = Shape { name: "", doc: "", kind: ShapeKind::Text };
    /// An integer item.
    pub const INT: Shape = Shape { name: "", doc: "", kind: ShapeKind::Int };

    pub const fn array(name: &'static str, doc: &'static str, item: &'static Shape) -> Shape {
        Shape { name, doc, kind: ShapeKind::Array(item) }
    }
    pub const fn map(name: &'static str, doc: &'static str, value: &'static Shape) -> Shape {
        Shape { name, doc, kind: ShapeKind::Map(value) }
    }
    pub const fn optional(inner: &'static Shape) -> Shape {
        Shape { name: inner.name, doc: inner.doc, kind: ShapeKind::Optional(inner) }
    }
    pub const fn tuple(name: &'static str, doc: &'static str, items: &'static [Shape]) -> Shape {
        Shape { name, doc, kind: ShapeKind::Tuple(items) }
    }
    pub const fn fields(name: &'static str, doc: &'static str, items: &'static [Shape]) -> Shape {
        Shape { name, doc, kind: ShapeKind::Fields(items) }
    }
    pub const fn pairs(name: &'static str, doc: &'static str, items: &'static [Shape; 2]) -> Shape {
        Shape { name, doc, kind: ShapeKind::Pairs(items) }
    }
    pub const fn one_of(name: &'static str, doc: &'static str, items: &'static [Shape]) -> Shape {
        Shape { name, doc, kind: ShapeKind::OneOf(items) }
    }
}
