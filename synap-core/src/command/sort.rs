//! SORT and SORT_RO, with weights and answers that come from other keys.

use std::cmp::Ordering;

use super::prelude::*;
use crate::keyspace::db::Expiry;
use crate::keyspace::value::{Value, ValueRef};
use crate::types::list::List;
use crate::types::score::parse_double;
use crate::types::zset::ZSet;

/// In the ACL it belongs to the types that it sorts.
const KEYS: Group = Group { name: "generic", op: "key", category: Category::NONE };

pub const COMMANDS: &[Command] = &[SORT, SORT_RO];

/// Which way.
#[derive(Args, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The smallest first.
    #[arg(token = "ASC")]
    Asc,
    /// The largest first.
    #[arg(token = "DESC")]
    Desc,
}

/// A part of the sorted elements.
#[derive(Args, Clone, Copy)]
pub struct Limit {
    /// Elements to leave out at the beginning.
    offset: i64,
    /// Elements at most; a negative number takes all.
    count: i64,
}

#[derive(Args)]
#[args(any_order)]
pub struct SortOptions<'a> {
    /// Keys that hold the weights: the star stands for the element, `->field` for a field of a hash. Without a star
    /// the elements are not sorted.
    #[arg(token = "BY")]
    by: Option<KeyPattern<'a>>,
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
    /// What to answer for each element: a key with a star, or `#` for the element itself.
    #[arg(token = "GET")]
    get: Each<KeyPattern<'a>>,
    order: Option<Order>,
    /// Compares bytes instead of numbers.
    #[arg(token = "ALPHA")]
    alpha: bool,
    /// Stores the answer as a list at this key instead.
    #[arg(token = "STORE", access = "OW update")]
    store: Option<Key<'a>>,
}

#[derive(Args)]
pub struct Sort<'a> {
    /// List, set or sorted set to sort.
    #[arg(access = "RO access")]
    key: Key<'a>,
    options: SortOptions<'a>,
}

#[derive(Args)]
#[args(any_order)]
pub struct SortRoOptions<'a> {
    /// Keys that hold the weights: the star stands for the element, `->field` for a field of a hash. Without a star
    /// the elements are not sorted.
    #[arg(token = "BY")]
    by: Option<KeyPattern<'a>>,
    #[arg(token = "LIMIT")]
    limit: Option<Limit>,
    /// What to answer for each element: a key with a star, or `#` for the element itself.
    #[arg(token = "GET")]
    get: Each<KeyPattern<'a>>,
    order: Option<Order>,
    /// Compares bytes instead of numbers.
    #[arg(token = "ALPHA")]
    alpha: bool,
}

#[derive(Args)]
pub struct SortRo<'a> {
    /// List, set or sorted set to sort.
    key: Key<'a>,
    options: SortRoOptions<'a>,
}

/// What is to be sorted, and how.
struct Sorting<'s, 'a> {
    key: &'s Key<'a>,
    by: Option<KeyPattern<'a>>,
    limit: Option<Limit>,
    get: &'s [KeyPattern<'a>],
    order: Option<Order>,
    alpha: bool,
    is_stored: bool,
}

impl<'a> Sort<'a> {
    fn sorting(&self) -> Sorting<'_, 'a> {
        let SortOptions { by, limit, get, order, alpha, store } = &self.options;
        let (key, get, is_stored) = (&self.key, &get.0[..], store.is_some());
        Sorting { key, by: *by, limit: *limit, get, order: *order, alpha: *alpha, is_stored }
    }
}

impl<'a> SortRo<'a> {
    fn sorting(&self) -> Sorting<'_, 'a> {
        let SortRoOptions { by, limit, get, order, alpha } = &self.options;
        let (key, get) = (&self.key, &get.0[..]);
        Sorting { key, by: *by, limit: *limit, get, order: *order, alpha: *alpha, is_stored: false }
    }
}

impl ReadCommand for SortRo<'_> {
    fn alone(&self) -> bool {
        self.sorting().reaches_for_keys()
    }

    fn run(self, cx: &ReadCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        write_found(self.sorting().answer(cx)?, reply);
        Ok(())
    }
}

fn write_found(found: Vec<Option<Vec<u8>>>, reply: &mut dyn Reply) {
    reply.array(found.len());
    for item in found {
        match item {
            Some(bytes) => reply.bulk(&bytes),
            None => reply.null(),
        }
    }
}

impl WriteCommand for Sort<'_> {
    fn alone(&self) -> bool {
        self.sorting().reaches_for_keys()
    }

    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<()> {
        let found = self.sorting().answer(cx)?;
        let Some(store) = &self.options.store else {
            write_found(found, reply);
            return Ok(());
        };
        if found.is_empty() {
            if cx.remove(store) {
                cx.log_instead(&[b"DEL", store.bytes]);
            }
        } else {
            let mut list = List::new();
            let items: Vec<Vec<u8>> = found.into_iter().map(Option::unwrap_or_default).collect();
            items.iter().for_each(|item| list.push_back(item, cx.limits()));
            cx.set_value(store, Value::List(list), Expiry::Clear, Event::new(Classes::LIST, "sortstore"));
            // What was found elsewhere is logged, not where it was looked for.
            let mut words: Vec<&[u8]> = vec![b"RPUSH", store.bytes];
            words.extend(items.iter().map(Vec::as_slice));
            cx.log_instead(&[b"DEL", store.bytes]);
            cx.log_instead(&words);
            reply.int(items.len() as i64);
            return Ok(());
        }
        reply.int(0);
        Ok(())
    }
}

/// One element with what it is sorted by.
struct Weighed {
    element: Vec<u8>,
    number: f64,
    text: Option<Vec<u8>>,
}

impl Sorting<'_, '_> {
    /// It reads keys that the call does not name.
    fn reaches_for_keys(&self) -> bool {
        self.by.is_some_and(|by| has_star(&by)) || self.get.iter().any(has_star)
    }

    fn answer(&self, cx: &ReadCx<'_>) -> Result<Vec<Option<Vec<u8>>>> {
        let descending = self.order == Some(Order::Desc);
        let unsorted = self.by.is_some_and(|by| !has_star(&by));
        let mut elements: Vec<Vec<u8>> = match cx.get(self.key).map(|entry| entry.value()) {
            None => Vec::new(),
            Some(ValueRef::List(list)) => list_elements(list, unsorted && descending),
            Some(ValueRef::Set(set)) => set.iter().map(|e| e.to_vec()).collect(),
            Some(ValueRef::ZSet(zset)) => zset_elements(zset, unsorted && descending),
            Some(_) => return Err(Error::WRONG_TYPE),
        };
        if unsorted {
            // A stored answer must come out the same everywhere, whatever the order inside a set is.
            let is_set = matches!(cx.get(self.key).map(|e| e.value()), Some(ValueRef::Set(_)));
            if is_set && self.is_stored {
                elements.sort_by(|a, b| if descending { b.cmp(a) } else { a.cmp(b) });
            }
        } else {
            elements = self.sorted(cx, elements, descending)?;
        }
        let len = elements.len();
        let range = match self.limit {
            None => 0..len,
            Some(Limit { offset, count }) => {
                let start = usize::try_from(offset).unwrap_or(0).min(len);
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                start..start.saturating_add(count).min(len)
            }
        };
        let chosen = &elements[range];
        if self.get.is_empty() {
            return Ok(chosen.iter().cloned().map(Some).collect());
        }
        Ok(chosen.iter().flat_map(|element| self.get.iter().map(move |get| look_up(cx, get.0, element))).collect())
    }

    fn sorted(&self, cx: &ReadCx<'_>, elements: Vec<Vec<u8>>, descending: bool) -> Result<Vec<Vec<u8>>> {
        const NOT_NUMBERS: Error = Error::err("One or more scores can't be converted into double");
        let mut weighed = Vec::with_capacity(elements.len());
        for element in elements {
            let weight = match self.by {
                Some(by) => look_up(cx, by.0, &element),
                None => Some(element.clone()),
            };
            let number = match &weight {
                // Nothing weighs nothing, as in Redis.
                Some(text) if !self.alpha && !text.is_empty() => parse_double(text).ok_or(NOT_NUMBERS)?,
                _ => 0.0,
            };
            weighed.push(Weighed { element, number, text: weight.filter(|_| self.alpha) });
        }
        weighed.sort_by(|a, b| {
            let by_weight = if self.alpha {
                a.text.cmp(&b.text)
            } else {
                a.number.partial_cmp(&b.number).unwrap_or(Ordering::Equal)
            };
            let order = match by_weight {
                // Equal weights fall back to the element, so that the answer is the same everywhere.
                Ordering::Equal => a.element.cmp(&b.element),
                other => other,
            };
            if descending { order.reverse() } else { order }
        });
        Ok(weighed.into_iter().map(|w| w.element).collect())
    }
}

/// Without a star a pattern names no key.
fn has_star(pattern: &KeyPattern<'_>) -> bool {
    pattern.0.contains(&b'*')
}

fn list_elements(list: &List, backward: bool) -> Vec<Vec<u8>> {
    let mut elements: Vec<Vec<u8>> = list.iter().map(|element| element.to_vec()).collect();
    if backward {
        elements.reverse();
    }
    elements
}

fn zset_elements(zset: &ZSet, backward: bool) -> Vec<Vec<u8>> {
    if backward {
        zset.iter().rev().map(|(member, _)| member.to_vec()).collect()
    } else {
        zset.iter().map(|(member, _)| member.to_vec()).collect()
    }
}

/// The string at the key, or in the field of the hash at the key, that `pattern` names for `element`.
fn look_up(cx: &ReadCx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = memchr::memchr(b'*', pattern)?;
    // A field's name begins after the first arrow behind the star, when it is not empty.
    let arrow = memchr::memmem::find(&pattern[star..], b"->").map(|at| star + at).filter(|at| at + 2 < pattern.len());
    let (key_part, field) = match arrow {
        Some(at) => (&pattern[..at], Some(&pattern[at + 2..])),
        None => (pattern, None),
    };
    let name = [&key_part[..star], element, &key_part[star + 1..]].concat();
    let key = cx.key(&name);
    match field {
        None => cx.string(&key).ok()?.map(|value| value.to_vec()),
        Some(field) => cx.hash(&key).ok()?.and_then(|hash| cx.field(hash, field)).map(|value| value.to_vec()),
    }
}

pub const SORT: Command = Command {
    name: "SORT",
    op: "key.sort",
    since: "1.0.0",
    summary: "Sorts the elements of a list, set or sorted set, by themselves or by what other keys hold.",
    complexity: "O(N+M*log(M)) for N elements and M answered",
    returns: Shape::one_of(
        "elements",
        "The sorted elements, or what GET found for them; with STORE how many there are.",
        &[Shape::array("", "", &Shape::optional(&Shape::BYTES)), Shape::int("count", "")],
    ),
    flags: Flags::DENYOOM.and(Flags::MOVABLE_KEYS).and(Flags::DANGEROUS),
    categories: Category::SET.and(Category::SORTED_SET).and(Category::LIST),
    ..KEYS.write::<Sort>()
};

pub const SORT_RO: Command = Command {
    name: "SORT_RO",
    op: "key.sort_ro",
    since: "7.0.0",
    summary: "Sorts the elements of a list, set or sorted set as SORT does, and stores nothing.",
    complexity: "O(N+M*log(M)) for N elements and M answered",
    returns: Shape::array(
        "elements",
        "The sorted elements, or what GET found for them.",
        &Shape::optional(&Shape::BYTES),
    ),
    flags: Flags::MOVABLE_KEYS.and(Flags::DANGEROUS),
    categories: Category::SET.and(Category::SORTED_SET).and(Category::LIST),
    ..KEYS.read::<SortRo>()
};
