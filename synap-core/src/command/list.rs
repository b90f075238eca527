//! Lists.

use super::prelude::*;
use crate::execute::guards::{Beside, Change, End};
use crate::grammar::args::NumKeys;
use crate::grammar::numbers::{FromEnd, MatchCount, MaxLen, PopCount};
use crate::keyspace::value::Kind;
use crate::session::NullKind;
use crate::types::list::List;

const LIST: Group = Group { name: "list", op: "list", category: Category::LIST };

pub const COMMANDS: &[Command] = &[
    LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LMPOP, LLEN, LINDEX, LRANGE, LPOS, LSET, LINSERT, LREM, LTRIM, LMOVE,
    RPOPLPUSH, BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH,
];

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
        let mut list = cx.change::<List>(&self.key, push_event(end))?;
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
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..LIST.write::<RPush>()
};

impl Push<'_> {
    /// Only to a list that is there.
    fn push_existing(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<()> {
        if cx.list(&self.key)?.is_some() {
            return self.push(cx, end, reply);
        }
        reply.int(0);
        Ok(())
    }
}

#[derive(Args)]
pub struct LPushX<'a>(Push<'a>);

impl WriteCommand for LPushX<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.push_existing(cx, End::Front, reply)
    }
}

#[derive(Args)]
pub struct RPushX<'a>(Push<'a>);

impl WriteCommand for RPushX<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        self.0.push_existing(cx, End::Back, reply)
    }
}

const LENGTH_OR_NOTHING: Shape = Shape::int("length", "Elements of the list after it; 0 when there is no such list.");

pub const LPUSHX: Command = Command {
    name: "LPUSHX",
    op: "list.lpushx",
    since: "2.2.0",
    summary: "Puts elements at the front of a list that exists.",
    complexity: "O(N) for N elements",
    returns: LENGTH_OR_NOTHING,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..LIST.write::<LPushX>()
};

pub const RPUSHX: Command = Command {
    name: "RPUSHX",
    op: "list.rpushx",
    since: "2.2.0",
    summary: "Puts elements at the back of a list that exists.",
    complexity: "O(N) for N elements",
    returns: LENGTH_OR_NOTHING,
    flags: Flags::DENYOOM.and(Flags::FAST),
    ..LIST.write::<RPushX>()
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
        let Some(mut list) = cx.change_existing::<List>(&self.key, pop_event(end))? else {
            match self.count {
                Some(_) => reply.null_array(),
                None => reply.null(),
            }
            return Ok(());
        };
        match self.count {
            None => {
                list.pop(end, |element| reply.bulk(element.bytes(&mut itoa::Buffer::new())));
            }
            Some(Count(count)) => {
                take(&mut list, end, count, reply);
            }
        }
        Ok(())
    }
}

/// Takes up to `count` elements and answers them; returns how many.
fn take(list: &mut Change<'_, '_, List>, end: End, count: u64, reply: &mut dyn Reply) -> usize {
    let mut digits = itoa::Buffer::new();
    let count = list.len().min(usize::try_from(count).unwrap_or(usize::MAX));
    reply.array(count);
    for _ in 0..count {
        list.pop(end, |element| reply.bulk(element.bytes(&mut digits)));
    }
    count
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
    flags: Flags::FAST,
    ..LIST.write::<RPop>()
};

#[derive(Args)]
pub struct LLen<'a> {
    /// List to read.
    #[arg(access = "RO")]
    key: Key<'a>,
}

impl ReadCommand for LLen<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        reply.int(cx.list(&self.key)?.map_or(0, List::len) as i64);
        Ok(())
    }
}

pub const LLEN: Command = Command {
    name: "LLEN",
    op: "list.len",
    since: "1.0.0",
    summary: "Counts the elements of a list.",
    returns: Shape::int("count", "0 when there is no such list."),
    flags: Flags::FAST,
    ..LIST.read::<LLen>()
};

#[derive(Args)]
pub struct LIndex<'a> {
    /// List to read.
    key: Key<'a>,
    /// Index of the element; negative counts from the back.
    index: i64,
}

impl ReadCommand for LIndex<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let list = cx.list(&self.key)?;
        match list.and_then(|list| list.get(index_in(list, self.index)?)) {
            Some(element) => reply.bulk(element.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        }
        Ok(())
    }
}

/// The index that is meant, when the list is that long.
fn index_in(list: &List, index: i64) -> Option<usize> {
    let back = usize::try_from(index.unsigned_abs()).ok()?;
    let index = if index < 0 { list.len().checked_sub(back)? } else { back };
    (index < list.len()).then_some(index)
}

pub const LINDEX: Command = Command {
    name: "LINDEX",
    op: "list.index",
    since: "1.0.0",
    summary: "Returns one element of a list.",
    complexity: "O(N) for an element at N from the nearer end",
    returns: Shape::optional(&Shape::bytes("element", "Null when the list is not that long.")),
    ..LIST.read::<LIndex>()
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

#[derive(Args)]
#[args(any_order)]
pub struct LPosOptions {
    /// Which of the elements that are equal is the first to be answered: 1 the first, 2 the second, -1 the last.
    #[arg(token = "RANK")]
    rank: Option<FromEnd>,
    /// How many at most, 0 all; then the answer is an array.
    #[arg(token = "COUNT")]
    count: Option<MatchCount>,
    /// How many elements to compare at most; 0 compares all.
    #[arg(token = "MAXLEN")]
    maxlen: Option<MaxLen>,
}

#[derive(Args)]
#[args(check = LPos::check)]
pub struct LPos<'a> {
    /// List to read.
    key: Key<'a>,
    /// Element to look for.
    element: Word<'a>,
    options: LPosOptions,
}

impl LPos<'_> {
    fn check(&self) -> Result<()> {
        match self.options.rank {
            Some(FromEnd(0)) => Err(Error::err(
                "RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                 or use negative to start from the end of the list",
            )),
            _ => Ok(()),
        }
    }

    /// Up to `most` places.
    fn find(&self, list: Option<&List>, most: usize) -> Vec<usize> {
        let Some(list) = list else { return Vec::new() };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let FromEnd(rank) = self.options.rank.unwrap_or(FromEnd(1));
        let skipped = size(rank.unsigned_abs()) - 1;
        let len = list.len();
        let compared = match self.options.maxlen {
            None | Some(MaxLen(0)) => len,
            Some(MaxLen(maxlen)) => size(maxlen).min(len),
        };
        if rank > 0 {
            list.positions(self.element, 0..compared).skip(skipped).take(most).collect()
        } else {
            list.positions(self.element, len - compared..len).rev().skip(skipped).take(most).collect()
        }
    }
}

impl ReadCommand for LPos<'_> {
    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let list = cx.list(&self.key)?;
        match self.options.count {
            None => match self.find(list, 1).first() {
                Some(index) => reply.int(*index as i64),
                None => reply.null(),
            },
            Some(MatchCount(count)) => {
                let most = if count == 0 { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) };
                let found = self.find(list, most);
                reply.array(found.len());
                found.into_iter().for_each(|index| reply.int(index as i64));
            }
        }
        Ok(())
    }
}

pub const LPOS: Command = Command {
    name: "LPOS",
    op: "list.pos",
    since: "6.0.6",
    summary: "Returns where an element is in a list.",
    complexity: "O(N) for N elements compared",
    returns: Shape::one_of(
        "indexes",
        "The index; with COUNT an array of them; null or empty when there is no such element.",
        &[Shape::optional(&Shape::INT), Shape::array("", "", &Shape::INT)],
    ),
    ..LIST.read::<LPos>()
};

#[derive(Args)]
pub struct LSet<'a> {
    /// List to write.
    #[arg(access = "RW update")]
    key: Key<'a>,
    /// Index of the element; negative counts from the back.
    index: i64,
    /// Bytes to put there.
    element: Word<'a>,
}

impl WriteCommand for LSet<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(mut list) = cx.change_existing::<List>(&self.key, "lset")? else { return Err(Error::NO_SUCH_KEY) };
        let index = index_in(&list, self.index).ok_or(Error::err("index out of range"))?;
        list.set(index, self.element);
        reply.ok();
        Ok(())
    }
}

pub const LSET: Command = Command {
    name: "LSET",
    op: "list.set",
    since: "1.0.0",
    summary: "Puts another element in the place of one.",
    complexity: "O(N) for an element at N from the nearer end",
    returns: Shape::OK,
    flags: Flags::DENYOOM.and(Flags::IDEMPOTENT),
    ..LIST.write::<LSet>()
};

/// A side of another element.
#[derive(Args, Clone, Copy)]
pub enum Where {
    /// Before it.
    #[arg(token = "BEFORE")]
    Before,
    /// After it.
    #[arg(token = "AFTER")]
    After,
}

#[derive(Args)]
pub struct LInsert<'a> {
    /// List to write.
    #[arg(access = "RW insert")]
    key: Key<'a>,
    /// On which side of the pivot.
    r#where: Where,
    /// The first element that is this is meant.
    pivot: Word<'a>,
    /// Bytes to insert.
    element: Word<'a>,
}

impl WriteCommand for LInsert<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let Some(mut list) = cx.change_existing::<List>(&self.key, "linsert")? else {
            reply.int(0);
            return Ok(());
        };
        let side = match self.r#where {
            Where::Before => Beside::Before,
            Where::After => Beside::After,
        };
        let inserted = list.insert(side, self.pivot, self.element);
        reply.int(if inserted { list.len() as i64 } else { -1 });
        Ok(())
    }
}

pub const LINSERT: Command = Command {
    name: "LINSERT",
    op: "list.insert",
    since: "2.2.0",
    summary: "Inserts an element before or after another one.",
    complexity: "O(N) for a pivot at N from the front",
    returns: Shape::int("length", "Elements of the list after it; -1 without the pivot, 0 without such a list."),
    flags: Flags::DENYOOM,
    ..LIST.write::<LInsert>()
};

#[derive(Args)]
pub struct LRem<'a> {
    /// List to write; deleted with its last element.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// How many from the front, negative from the back; 0 removes all.
    count: FromEnd,
    /// Elements that are this are removed.
    element: Word<'a>,
}

impl WriteCommand for LRem<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let removed = match cx.change_existing::<List>(&self.key, "lrem")? {
            Some(mut list) => list.remove(self.count.0, self.element),
            None => 0,
        };
        reply.int(removed as i64);
        Ok(())
    }
}

pub const LREM: Command = Command {
    name: "LREM",
    op: "list.rem",
    since: "1.0.0",
    summary: "Removes elements that are equal to one.",
    complexity: "O(N) for N elements compared",
    returns: Shape::int("removed", "Elements that were removed."),
    ..LIST.write::<LRem>()
};

#[derive(Args)]
pub struct LTrim<'a> {
    /// List to write; deleted with its last element.
    #[arg(access = "RW delete")]
    key: Key<'a>,
    /// First index to keep; negative counts from the back.
    start: i64,
    /// Last index to keep; negative counts from the back.
    stop: i64,
}

impl WriteCommand for LTrim<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if let Some(mut list) = cx.change_existing::<List>(&self.key, "ltrim")? {
            let keep = super::index_range(self.start, self.stop, list.len());
            list.trim(keep);
        }
        reply.ok();
        Ok(())
    }
}

pub const LTRIM: Command = Command {
    name: "LTRIM",
    op: "list.trim",
    since: "1.0.0",
    summary: "Removes all elements of a list but a range of them.",
    complexity: "O(N) for N elements removed, which are freed in the background",
    returns: Shape::OK,
    ..LIST.write::<LTrim>()
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
pub struct LMPop<'a> {
    /// Lists to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Counted<'a, Key<'a>, NumKeys>,
    /// The end to take from.
    r#where: Side,
    /// How many at most; 1 when left out.
    #[arg(token = "COUNT")]
    count: Option<PopCount>,
}

/// Takes elements from the first list that has some and answers them; false when there is none.
fn take_from_first(
    cx: &mut WriteCx<'_>,
    keys: Many<'_, Key<'_>>,
    end: End,
    count: Option<PopCount>,
    reply: &mut dyn Reply,
) -> Result<bool> {
    let Some(key) = first_list(cx, keys)? else { return Ok(false) };
    let Some(mut list) = cx.change_existing::<List>(&key, pop_event(end))? else { return Ok(false) };
    reply.array(2);
    reply.bulk(key.bytes);
    let count = take(&mut list, end, count.map_or(1, |PopCount(count)| count), reply);
    drop(list);
    cx.log_instead(&[pop_word(end), key.bytes, itoa::Buffer::new().format(count).as_bytes()]);
    Ok(true)
}

fn push_event(end: End) -> &'static str {
    match end {
        End::Front => "lpush",
        End::Back => "rpush",
    }
}

fn pop_event(end: End) -> &'static str {
    match end {
        End::Front => "lpop",
        End::Back => "rpop",
    }
}

fn pop_word(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

/// The first of the lists that is there.
fn first_list<'a>(cx: &ReadCx<'_>, keys: Many<'a, Key<'a>>) -> Result<Option<Key<'a>>> {
    for key in keys.iter() {
        if cx.may_serve_from(&key) && cx.list(&key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

impl WriteCommand for LMPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !take_from_first(cx, self.keys.0, self.r#where.end(), self.count, reply)? {
            reply.null_array();
        }
        Ok(())
    }
}

const POPPED_FROM: Shape = Shape::optional(&Shape::tuple(
    "popped",
    "Null when there was nothing.",
    &[
        Shape::bytes("key", "The list that they come from."),
        Shape::array("elements", "As they were taken.", &Shape::BYTES),
    ],
));

pub const LMPOP: Command = Command {
    name: "LMPOP",
    op: "list.mpop",
    since: "7.0.0",
    summary: "Takes elements from the first list that has some.",
    complexity: "O(N+M) for N keys and M elements",
    returns: POPPED_FROM,
    flags: Flags::MOVABLE_KEYS,
    ..LIST.write::<LMPop>()
};

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
    let same = source.bytes == destination.bytes;
    let event = if same { push_event(to.end()) } else { "" };
    let Some(mut list) = cx.change_existing::<List>(source, event)? else { return Ok(false) };
    let Some(element) = list.pop(from.end(), |element| element.to_vec()) else { return Ok(false) };
    let is_last = list.is_empty() && !same;
    if same {
        list.push(to.end(), &element);
        drop(list);
    } else {
        list.keep_quiet();
        drop(list);
        cx.change::<List>(destination, push_event(to.end()))?.push(to.end(), &element);
    }
    // What was pushed is told of first, as in Redis.
    cx.notify(Event::new(Classes::LIST, pop_event(from.end())), source);
    if is_last {
        cx.notify(Event::DEL, source);
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
pub struct RPopLPush<'a> {
    /// List to take from, at its back; deleted with its last element.
    #[arg(access = "RW access delete")]
    source: Key<'a>,
    /// List to put to, at its front; created when missing.
    #[arg(access = "RW insert")]
    destination: Key<'a>,
}

impl WriteCommand for RPopLPush<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        if !move_one(cx, &self.source, &self.destination, Side::Right, Side::Left, reply)? {
            reply.null();
        }
        Ok(())
    }
}

pub const RPOPLPUSH: Command = Command {
    name: "RPOPLPUSH",
    op: "list.rpoplpush",
    since: "1.2.0",
    summary: "Takes the last element of a list and puts it to the front of another: LMOVE with RIGHT and LEFT.",
    returns: MOVED,
    flags: Flags::DENYOOM,
    ..LIST.write::<RPopLPush>()
};

/// How the commands of this file wait on their first `keys` keys.
fn wait(keys: usize, timeout: Timeout, in_transaction: NullKind) -> Flow {
    Flow::Block { keys, timeout_ms: timeout.ms, on_timeout: NullKind::NullArray, in_transaction }
}

/// What the commands of this file wait for.
fn is_list(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
    cx.kind(key) == Some(Kind::List)
}

#[derive(Args)]
pub struct BPop<'a> {
    /// Lists to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Many<'a, Key<'a>>,
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
}

impl BPop<'_> {
    fn pop(self, cx: &mut WriteCx<'_>, end: End, reply: &mut dyn Reply) -> Result<Flow> {
        let nothing = wait(self.keys.len(), self.timeout, NullKind::NullArray);
        let Some(key) = first_list(cx, self.keys)? else { return Ok(nothing) };
        let Some(mut list) = cx.change_existing::<List>(&key, pop_event(end))? else { return Ok(nothing) };
        reply.array(2);
        reply.bulk(key.bytes);
        list.pop(end, |element| reply.bulk(element.bytes(&mut itoa::Buffer::new())));
        drop(list);
        cx.log_instead(&[pop_word(end), key.bytes]);
        Ok(Flow::Done)
    }
}

#[derive(Args)]
pub struct BLPop<'a>(BPop<'a>);

impl BlockingCommand for BLPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.pop(cx, End::Front, reply)
    }
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_list(cx, key)
    }
}

#[derive(Args)]
pub struct BRPop<'a>(BPop<'a>);

impl BlockingCommand for BRPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        self.0.pop(cx, End::Back, reply)
    }
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_list(cx, key)
    }
}

const ONE_POPPED_FROM: Shape = Shape::optional(&Shape::tuple(
    "popped",
    "Null when the time was over.",
    &[Shape::bytes("key", "The list that it came from."), Shape::bytes("element", "The element.")],
));

pub const BLPOP: Command = Command {
    name: "BLPOP",
    op: "list.blpop",
    since: "2.0.0",
    summary: "Takes an element from the front of the first list that has one, or waits for one.",
    complexity: "O(N) for N keys",
    returns: ONE_POPPED_FROM,
    flags: Flags::BLOCKING,
    ..LIST.blocking::<BLPop>()
};

pub const BRPOP: Command = Command {
    name: "BRPOP",
    op: "list.brpop",
    since: "2.0.0",
    summary: "Takes an element from the back of the first list that has one, or waits for one.",
    complexity: "O(N) for N keys",
    returns: ONE_POPPED_FROM,
    flags: Flags::BLOCKING,
    ..LIST.blocking::<BRPop>()
};

#[derive(Args)]
pub struct BLMPop<'a> {
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
    /// Lists to take from: the first that has something.
    #[arg(access = "RW access delete")]
    keys: Counted<'a, Key<'a>, NumKeys>,
    /// The end to take from.
    r#where: Side,
    /// How many at most; 1 when left out.
    #[arg(token = "COUNT")]
    count: Option<PopCount>,
}

impl BlockingCommand for BLMPop<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        let nothing = wait(self.keys.0.len(), self.timeout, NullKind::NullArray);
        let popped = take_from_first(cx, self.keys.0, self.r#where.end(), self.count, reply)?;
        Ok(if popped { Flow::Done } else { nothing })
    }
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_list(cx, key)
    }
}

pub const BLMPOP: Command = Command {
    name: "BLMPOP",
    op: "list.blmpop",
    since: "7.0.0",
    summary: "Takes elements from the first list that has some, or waits for one.",
    complexity: "O(N+M) for N keys and M elements",
    returns: POPPED_FROM,
    flags: Flags::BLOCKING.and(Flags::MOVABLE_KEYS),
    ..LIST.blocking::<BLMPop>()
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
        Ok(wait(1, self.timeout, NullKind::Null))
    }
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_list(cx, key)
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

#[derive(Args)]
pub struct BRPopLPush<'a> {
    /// List to take from, at its back; deleted with its last element.
    #[arg(access = "RW access delete")]
    source: Key<'a>,
    /// List to put to, at its front; created when missing.
    #[arg(access = "RW insert")]
    destination: Key<'a>,
    /// Seconds to wait; 0 waits for ever.
    timeout: Timeout,
}

impl BlockingCommand for BRPopLPush<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        if move_one(cx, &self.source, &self.destination, Side::Right, Side::Left, reply)? {
            cx.log_instead(&[b"RPOPLPUSH", self.source.bytes, self.destination.bytes]);
            return Ok(Flow::Done);
        }
        Ok(wait(1, self.timeout, NullKind::Null))
    }
    fn ready(cx: &ReadCx<'_>, key: &Key<'_>) -> bool {
        is_list(cx, key)
    }
}

pub const BRPOPLPUSH: Command = Command {
    name: "BRPOPLPUSH",
    op: "list.brpoplpush",
    since: "2.2.0",
    summary: "Takes the last element of a list and puts it to the front of another, or waits for one.",
    returns: MOVED,
    flags: Flags::BLOCKING.and(Flags::DENYOOM),
    ..LIST.blocking::<BRPopLPush>()
};

#[cfg(test)]
mod tests {
    use crate::testing::TestEngine;

    #[test]
    fn elements_are_found_changed_and_removed() {
        TestEngine::default().check(
            r#"
            RPUSHX l a => 0
            RPUSH l a b c b a => 5
            LPUSHX l x y => 7
            LRANGE l 0 -1 => ["y", "x", "a", "b", "c", "b", "a"]
            LINDEX l -1 => "a"
            LINDEX l 7 => nil
            LINDEX l -8 => nil
            LPOS l b => 3
            LPOS l b RANK -1 => 5
            LPOS l b RANK 2 COUNT 0 => [5]
            LPOS l b COUNT 0 RANK -1 MAXLEN 3 => [5]
            LPOS l b MAXLEN 3 => nil
            LPOS l z COUNT 1 => []
            LPOS l b RANK 0 => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
            LPOS l b COUNT -1 => -ERR COUNT can't be negative
            LSET l -7 z => OK
            LSET l 7 z => -ERR index out of range
            LSET none 0 z => -ERR no such key
            LINSERT l BEFORE c 1 => 8
            LINSERT l AFTER c 2 => 9
            LINSERT l AFTER none 3 => -1
            LINSERT none AFTER a 3 => 0
            LREM l -1 b => 1
            LREM l 0 a => 2
            LRANGE l 0 -1 => ["z", "x", "b", "1", "c", "2"]
            LREM l -9223372036854775808 a => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            LTRIM l 1 -2 => OK
            LRANGE l 0 -1 => ["x", "b", "1", "c"]
            LTRIM l 5 9 => OK
            LLEN l => 0
            EXISTS l => 0
            "#,
        );
    }

    #[test]
    fn several_lists_are_popped_from() {
        TestEngine::default().check(
            r#"
            LMPOP 2 none l LEFT => nil
            RPUSH l a b c d => 4
            LMPOP 2 none l LEFT => ["l", ["a"]]
            LMPOP 2 none l RIGHT COUNT 2 => ["l", ["d", "c"]]
            BLMPOP 1 2 none l LEFT COUNT 10 => ["l", ["b"]]
            EXISTS l => 0
            RPUSH l a b => 2
            BRPOP none l 1 => ["l", "b"]
            BRPOPLPUSH l m 1 => "a"
            RPOPLPUSH m m => "a"
            RPOPLPUSH none m => nil
            SET s x => OK
            LMPOP 2 s m LEFT => -WRONGTYPE Operation against a key holding the wrong kind of value
            LMPOP 0 m LEFT => -ERR numkeys should be greater than 0
            LMPOP 2 m LEFT => -ERR syntax error
            LMPOP 1 m LEFT COUNT 0 => -ERR count should be greater than 0
            LMPOP 1 m LEFT COUNT 1 COUNT 2 => -ERR syntax error
            BLMPOP -1 1 m LEFT => -ERR timeout is negative
            "#,
        );
    }

    /// A list of many chunks: what is cut off and what is changed in the middle, replayed.
    #[test]
    fn large_lists_are_cut() {
        let mut test = TestEngine::default();
        for thousand in 0..30 {
            let elements: Vec<_> = (0..1000).map(|number| format!("element{}", thousand * 1000 + number)).collect();
            test.call(&format!("RPUSH l {}", elements.join(" ")));
        }
        test.check(
            r#"
            LINSERT l BEFORE element15000 new => 30001
            LSET l 20001 other => OK
            LREM l -1 element14999 => 1
            LTRIM l 14990 20010 => OK
            LLEN l => 5021
            LINDEX l 8 => "element14998"
            LINDEX l 9 => "new"
            LINDEX l 5010 => "other"
            LPOS l element20009 => 5019
            LTRIM l 0 2 => OK
            LRANGE l 0 -1 => ["element14990", "element14991", "element14992"]
            OBJECT ENCODING l => "listpack"
            "#,
        );
    }
}
