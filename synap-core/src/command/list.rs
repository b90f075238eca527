//! Lists.

use super::prelude::*;
use crate::execute::guards::End;
use crate::keyspace::value::Kind;
use crate::session::NullKind;
use crate::types::list::List;

const LIST: Group = Group { name: "list", op: "list", category: Category::LIST };

pub const COMMANDS: &[Command] = &[LPUSH, LPOP, RPUSH, RPOP, LRANGE, LMOVE, BLPOP, BLMOVE];

#[derive(Args)]
pub struct Push<'a> {
    /// List to write; created when missing.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// Elements, pushed one after the other.
    elements: Many<'a, Word<'a>>,
}

impl Push<'_> {
    fn push(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<()> {
        let mut list = cx.change::<List>(&self.key)?;
        for element in self.elements.iter() {
            list.push(end, element);
        }
        reply.int(list.len() as i64);
        Ok(())
    }
}

#[derive(Args)]
pub struct LPush<'a>(Push<'a>);

impl WriteCommand for LPush<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.push(cx, End::Front, reply)
    }
}

#[derive(Args)]
pub struct RPush<'a>(Push<'a>);

impl WriteCommand for RPush<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.push(cx, End::Back, reply)
    }
}

const LENGTH: Shape = Shape::int("length", "Elements of the list after it.");

pub const LPUSH: Command = Command {
    name: "LPUSH",
    op: "list.lpush",
    since: "1.0.0",
    summary: "Puts elements at the front of a list, creating the list when it does not exist.",
    complexity: "O(N) for N elements",
    returns: LENGTH,
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..LIST.write::<LPush>()
};

pub const RPUSH: Command = Command {
    name: "RPUSH",
    op: "list.rpush",
    since: "1.0.0",
    summary: "Puts elements at the back of a list, creating the list when it does not exist.",
    complexity: "O(N) for N elements",
    returns: LENGTH,
    tool: Tool::Default,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..LIST.write::<RPush>()
};

#[derive(Args)]
#[args(excess_is_arity)]
pub struct Pop<'a> {
    /// List to write; deleted with its last element.
    #[arg(access = "RW access delete")]
    key: Key<'a>,
    /// How many at most; then the answer is an array.
    count: Option<Count>,
}

impl Pop<'_> {
    fn pop(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<()> {
        let mut digits = itoa::Buffer::new();
        let Some(mut list) = cx.change_existing::<List>(&self.key)? else {
            match self.count {
                Some(_) => reply.null_array(),
                None => reply.null(),
            }
            return Ok(());
        };
        match self.count {
            None => {
                list.pop(end, |element| reply.bulk(element.bytes(&mut digits)));
            }
            Some(Count(count)) => {
                let count = list.len().min(usize::try_from(count).unwrap_or(usize::MAX));
                reply.array(count);
                for _ in 0..count {
                    list.pop(end, |element| reply.bulk(element.bytes(&mut digits)));
                }
            }
        }
        Ok(())
    }
}

#[derive(Args)]
pub struct LPop<'a>(Pop<'a>);

impl WriteCommand for LPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.pop(cx, End::Front, reply)
    }
}

#[derive(Args)]
pub struct RPop<'a>(Pop<'a>);

impl WriteCommand for RPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.pop(cx, End::Back, reply)
    }
}

const POPPED: Shape = Shape::one_of(
    "elements",
    "The element; with a count an array of them; null when there is no such list.",
    &[Shape::optional(&Shape::BYTES), Shape::optional(&Shape::array("", "", &Shape::BYTES))],
);

pub const LPOP: Command = Command {
    name: "LPOP",
    op: "list.lpop",
    since: "1.0.0",
    summary: "Takes elements from the front of a list.",
    complexity: "O(N) for N elements",
    returns: POPPED,
    tool: Tool::Default,
    flags: Flags::FAST,
    ..LIST.write::<LPop>()
};

pub const RPOP: Command = Command {
    name: "RPOP",
    op: "list.rpop",
    since: "1.0.0",
    summary: "Takes elements from the back of a list.",
    complexity: "O(N) for N elements",
    returns: POPPED,
    tool: Tool::Default,
    flags: Flags::FAST,
    ..LIST.write::<RPop>()
};

#[derive(Args)]
pub struct LRange<'a> {
    /// List to read.
    key: Key<'a>,
    /// First index; negative counts from the back.
    start: i64,
    /// Last index, inclusive; negative counts from the back.
    stop: i64,
}

impl ReadCommand for LRange<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(list) = cx.list(&self.key)? else {
            reply.array(0);
            return Ok(());
        };
        let range = super::index_range(self.start, self.stop, list.len());
        let mut digits = itoa::Buffer::new();
        reply.array(range.len());
        for element in list.range(range) {
            reply.bulk(element.bytes(&mut digits));
        }
        Ok(())
    }
}

pub const LRANGE: Command = Command {
    name: "LRANGE",
    op: "list.range",
    since: "1.0.0",
    summary: "Returns a range of a list's elements.",
    complexity: "O(S+N) for N elements at S from the nearer end",
    returns: Shape::array("elements", "In the order of the list; empty when there is no such list.", &Shape::BYTES),
    tool: Tool::Default,
    ..LIST.read::<LRange>()
};

/// One end of a list.
#[derive(Args, Clone, Copy)]
pub enum Side {
    /// The front.
    #[arg(token = "LEFT")]
    Left,
    /// The back.
    #[arg(token = "RIGHT")]
    Right,
}

impl Side {
    fn end(self) -> End {
        match self {
            Side::Left => End::Front,
            Side::Right => End::Back,
        }
    }

    fn word(self) -> &'static [u8] {
        match self {
            Side::Left => b"LEFT",
            Side::Right => b"RIGHT",
        }
    }
}

#[derive(Args)]
pub struct LMove<'a> {
    /// List to take from; deleted with its last element.
    #[arg(access = "RW access delete")]
    source: Key<'a>,
    /// List to put to; created when missing.
    #[arg(access = "RW insert")]
    destination: Key<'a>,
    /// The end to take from.
    wherefrom: Side,
    /// The end to put to.
    whereto: Side,
}

impl WriteCommand for LMove<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !move_one(cx, &self.source, &self.destination, self.wherefrom, self.whereto, reply)? {
            reply.null();
        }
        Ok(())
    }
}

/// Moves one element and answers it; false when there is none.
fn move_one(
    cx: &mut WriteCx<'_>,
    source: &Key<'_>,
    destination: &Key<'_>,
    from: Side,
    to: Side,
    reply: &mut dyn Reply,
) -> Result<bool> {
    if cx.list(source)?.is_none() {
        return Ok(false);
    }
    // The destination's type is known before anything changes.
    cx.list(destination)?;
    let Some(mut list) = cx.change_existing::<List>(source)? else { return Ok(false) };
    let same = source.bytes == destination.bytes;
    let Some(element) = list.pop(from.end(), |element| element.to_vec()) else { return Ok(false) };
    if same {
        list.push(to.end(), &element);
        drop(list);
    } else {
        drop(list);
        cx.change::<List>(destination)?.push(to.end(), &element);
    }
    reply.bulk(&element);
    Ok(true)
}

const MOVED: Shape = Shape::optional(&Shape::bytes("element", "The element that was moved; null when there was none."));

pub const LMOVE: Command = Command {
    name: "LMOVE",
    op: "list.move",
    since: "6.2.0",
    summary: "Takes an element from one list and puts it to another, or the same.",
    returns: MOVED,
    flags: Flags::DENYOOM,
    ..LIST.write::<LMove>()
};

#[derive(Args)]
pub struct BLPop<'a> {
    /// Lists to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Many<'a, Key<'a>>,
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
}

impl BlockingCommand for BLPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        for key in self.keys.iter() {
            if !cx.may_serve_from(&key) {
                continue;
            }
            let Some(mut list) = cx.change_existing::<List>(&key)? else { continue };
            reply.array(2);
            reply.bulk(key.bytes);
            list.pop(End::Front, |element| reply.bulk(element.bytes(&mut itoa::Buffer::new())));
            drop(list);
            cx.log_instead(&[b"LPOP", key.bytes]);
            return Ok(Flow::Done);
        }
        Ok(Flow::Block {
            keys: self.keys.len(),
            timeout_ms: self.timeout.ms,
            on_timeout: NullKind::NullArray,
            in_transaction: NullKind::NullArray,
        })
    }

    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        cx.kind(key) == Some(Kind::List)
    }
}

pub const BLPOP: Command = Command {
    name: "BLPOP",
    op: "list.blpop",
    since: "2.0.0",
    summary: "Takes an element from the front of the first list that has one, or waits for one.",
    complexity: "O(N) for N keys",
    returns: Shape::optional(&Shape::tuple(
        "popped",
        "Null when the time was over.",
        &[Shape::bytes("key", "The list that it came from."), Shape::bytes("element", "The element.")],
    )),
    flags: Flags::BLOCKING,
    ..LIST.blocking::<BLPop>()
};

#[derive(Args)]
pub struct BLMove<'a> {
    /// List to take from; deleted with its last element.
    #[arg(access = "RW access delete")]
    source: Key<'a>,
    /// List to put to; created when missing.
    #[arg(access = "RW insert")]
    destination: Key<'a>,
    /// The end to take from.
    wherefrom: Side,
    /// The end to put to.
    whereto: Side,
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
}

impl BlockingCommand for BLMove<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        if move_one(cx, &self.source, &self.destination, self.wherefrom, self.whereto, reply)? {
            let (from, to) = (self.wherefrom.word(), self.whereto.word());
            cx.log_instead(&[b"LMOVE", self.source.bytes, self.destination.bytes, from, to]);
            return Ok(Flow::Done);
        }
        Ok(Flow::Block {
            keys: 1,
            timeout_ms: self.timeout.ms,
            on_timeout: NullKind::NullArray,
            in_transaction: NullKind::Null,
        })
    }

    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        cx.kind(key) == Some(Kind::List)
    }
}

pub const BLMOVE: Command = Command {
    name: "BLMOVE",
    op: "list.blmove",
    since: "6.2.0",
    summary: "Takes an element from one list and puts it to another, or waits for one.",
    returns: MOVED,
    flags: Flags::BLOCKING.and(Flags::DENYOOM),
    ..LIST.blocking::<BLMove>()
};
