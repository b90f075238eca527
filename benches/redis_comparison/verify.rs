//! Proof that a measurement had its effects, so that no speed comes from lost work.
//!
//! The calls come from a seed, so what they must have changed is reckoned again here and compared with what the server
//! holds. Reads need nothing more: the load has compared each value with the key that it asked for.

use super::Result;
use super::client::{Client, Reply, encode};
use super::fill;
use super::load::{Outcome, Plan};
use super::rows::{Draw, ELEMENTS, Expect, Row};

/// HSET's values are looked at for this many of the last calls of each thread.
const SAMPLE: usize = 10_000;

/// `increments` counts all INCR since the counters were made.
pub fn effects(client: &mut Client, plan: &Plan, outcome: &Outcome, increments: u64) -> Result<()> {
    let (row, family, keys) = (plan.row, plan.row.family(), plan.keys);
    let elements_before = keys * ELEMENTS;
    match row {
        Row::Set => {
            fill::all_there(client, family, keys)?;
            let mut written = Seen::new(keys);
            let expected = all_draws(plan).filter(|draw| written.add(draw.key)).count() as u64;
            let mut found = 0;
            values(client, plan, |number, value| {
                found += u64::from(value.starts_with(plan.tag.as_bytes()));
                value[4..] == fill::key(family, number)[4..]
            })?;
            same(plan, "keys with the values that were set", expected, found)?;
        }
        Row::Incr => {
            let mut sum = 0;
            values(client, plan, |_, value| {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
                sum += number.unwrap_or_default();
                number.is_some()
            })?;
            same(plan, "the sum of the counters", increments, sum)?;
        }
        Row::Hset | Row::Sadd | Row::Zadd => {
            let range = row.element_range();
            let mut there = Seen::new(keys * range);
            let is_new = |draw: &Draw| draw.element >= ELEMENTS && there.add(draw.key * range + draw.element);
            let added = all_draws(plan).filter(is_new).count() as u64;
            same(plan, "the sum of the replies", added, outcome.sum as u64)?;
            let count = fill::count_elements(client, family, keys)?;
            same(plan, "elements in the collections", elements_before + added, count)?;
            if row == Row::Hset {
                last_fields(client, plan)?;
            }
        }
        Row::Lpush => {
            let mut lengths = vec![ELEMENTS; keys as usize];
            let reply_to = |draw: Draw| {
                lengths[draw.key as usize] += 1;
                lengths[draw.key as usize]
            };
            let sum = all_draws(plan).map(reply_to).sum();
            same(plan, "the sum of the replies", sum, outcome.sum as u64)?;
            let count = fill::count_elements(client, family, keys)?;
            same(plan, "elements in the lists", elements_before + plan.operations, count)?;
        }
        // It pops what the same calls as LPUSH have pushed.
        Row::Rpop | Row::Lpop => {
            let count = fill::count_elements(client, family, keys)?;
            same(plan, "elements in the lists", elements_before, count)?;
        }
        // The load has counted the elements of each reply, or `same_replies` compares them with the reference's.
        _ => {}
    }
    Ok(())
}

/// Both have answered the same, where only the reference can tell what is right.
pub fn same_replies(plan: &Plan, ours: &Outcome, theirs: &Outcome) -> Result<()> {
    if plan.row.expect() != Expect::SameAsTheirs {
        return Ok(());
    }
    let (expected, found) = (theirs.sum as u64, ours.sum as u64);
    // Of two elements with one register the smaller changes it only when it comes first, and connections race.
    let leeway = if plan.row == Row::Pfadd { expected / 1000 } else { 0 };
    if expected.abs_diff(found) <= leeway { Ok(()) } else { same(plan, "the sum of the replies", expected, found) }
}

fn all_draws(plan: &Plan) -> impl Iterator<Item = Draw> {
    let count = plan.operations_each() as usize;
    plan.draws().flat_map(move |draws| draws.take(count))
}

fn same(plan: &Plan, what: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(format!("{} lost work: {what} should be {expected} and are {found}", plan.row.name()))
}

/// Reads the strings of all keys; each must be there and please `check`.
fn values(client: &mut Client, plan: &Plan, mut check: impl FnMut(u64, &[u8]) -> bool) -> Result<()> {
    client.many(
        plan.keys,
        |number, out| encode(out, &[b"GET", &fill::key(plan.row.family(), number)]),
        |number, reply| matches!(reply, Reply::Bulk(value) if check(number, value)),
    )
}

/// Reads fields that HSET wrote last: their values must be this measurement's.
fn last_fields(client: &mut Client, plan: &Plan) -> Result<()> {
    let count = plan.operations_each() as usize;
    for draws in plan.draws() {
        let last: Vec<Draw> = draws.take(count).skip(count.saturating_sub(SAMPLE)).collect();
        client.many(
            last.len() as u64,
            |index, out| {
                let draw = last[index as usize];
                let field = format!("field:{:02}", draw.element);
                encode(out, &[b"HGET", &fill::key(plan.row.family(), draw.key), field.as_bytes()]);
            },
            |index, reply| {
                let value = format!("{}{:012}", plan.tag, last[index as usize].key);
                reply == Reply::Bulk(value.as_bytes())
            },
        )?;
    }
    Ok(())
}

/// A set of small numbers.
struct Seen(Vec<u64>);

impl Seen {
    fn new(count: u64) -> Seen {
        Seen(vec![0; count.div_ceil(64) as usize])
    }

    /// Answers whether the number is new.
    fn add(&mut self, number: u64) -> bool {
        let (word, bit) = (&mut self.0[(number / 64) as usize], 1 << (number % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}
