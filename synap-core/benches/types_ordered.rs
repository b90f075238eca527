//! Nanoseconds per operation of the ordered types: `cargo bench -p synap-core --bench types_ordered [filter]`.

use std::hint::black_box;
use std::time::Instant;

use synap_core::types::Limits;
use synap_core::types::list::List;
use synap_core::types::score::{format_double, parse_double};
use synap_core::types::zset::{ScoreBound, ZSet};

const LARGE: usize = 1_000_000;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for (name, run) in [
        ("zset", zset_large as fn()),
        ("zset10", zset_small),
        ("list", list_large),
        ("list10", list_small),
        ("text", text),
    ] {
        if name.contains(&filter) {
            run();
        }
    }
}

/// Runs `step` with 0, 1, 2 …, and prints what one run costs.
fn time<R>(name: &str, count: usize, mut step: impl FnMut(usize) -> R) {
    let start = Instant::now();
    for i in 0..count {
        black_box(step(i));
    }
    println!("{name:<44} {:>9.1} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn see<T>(value: T) {
    black_box(value);
}

/// A number that looks random: splitmix64.
fn mix(i: usize) -> u64 {
    let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn member(i: usize) -> [u8; 10] {
    let mut text = *b"mem0000000";
    let mut rest = i;
    for digit in text[3..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

fn zset_large() {
    let limits = Limits::default();
    let mut set = ZSet::new();
    time("zadd 1M, scores ascending", LARGE, |i| {
        set.insert(&member(i), i as f64, &limits);
    });
    println!("    {:.1} bytes a member", set.allocated() as f64 / LARGE as f64);
    drop(set);
    let mut set = ZSet::new();
    time("zadd 1M, one score", LARGE, |i| {
        set.insert(&member(mix(i) as usize % LARGE), 0.0, &limits);
    });
    drop(set);
    let mut set = ZSet::new();
    time("zadd 1M, scores random", LARGE, |i| {
        set.insert(&member(i), (mix(i) >> 20) as f64, &limits);
    });
    println!("    {:.1} bytes a member", set.allocated() as f64 / LARGE as f64);
    let random = |i: usize| mix(i + 7) as usize % LARGE;
    time("zscore", LARGE, |i| {
        black_box(set.score(&member(random(i))));
    });
    time("zrank", LARGE, |i| {
        black_box(set.rank(&member(random(i))));
    });
    time("zrange by rank, 10 members", LARGE, |i| {
        set.range(random(i)..random(i) + 10).for_each(see);
    });
    time("zrange by rank, 10 members, backwards", LARGE, |i| {
        set.range(random(i)..random(i) + 10).rev().for_each(see);
    });
    time("zrangebyscore, 10 members", LARGE, |i| {
        let ranks = set.score_ranks(ScoreBound::Incl((mix(i + 9) >> 20) as f64), ScoreBound::Incl(f64::INFINITY));
        set.range(ranks).take(10).for_each(see);
    });
    time("zrange, a member of all", LARGE, {
        let mut all = set.iter();
        move |_| all.next()
    });
    time("zadd, another random score", LARGE, |i| {
        set.insert(&member(random(i)), (mix(i + 3) >> 20) as f64, &limits);
    });
    time("zincrby 1", LARGE, |i| {
        let member = member(random(i));
        let score = set.score(&member).unwrap_or_default();
        set.insert(&member, score + 1.0, &limits);
    });
    let mut frozen = Vec::with_capacity(100);
    time("freeze", 100, |_| frozen.push(set.freeze()));
    time("zadd, another random score, after a freeze", 10_000, |i| {
        set.insert(&member(random(i)), (mix(i + 5) >> 20) as f64, &limits);
    });
    drop(frozen);
    time("zrem + zadd", LARGE / 2, |i| {
        let member = member(random(i));
        set.remove(&member);
        set.insert(&member, (mix(i) >> 20) as f64, &limits);
    });
    time("zpopmin", LARGE, |_| set.pop_min());
}

fn zset_small() {
    let limits = Limits::default();
    let mut set = ZSet::new();
    let scores: Vec<f64> = (0..10).map(|i| f64::from(i) + 0.5).collect();
    time("10 members: zadd, all new", LARGE, |i| {
        if i % 10 == 0 {
            set = ZSet::new();
        }
        set.insert(&member(i % 10), mix(i) as u32 as f64, &limits);
    });
    time("10 members: zscore", LARGE, |i| set.score(&member(i % 10)));
    time("10 members: zrank", LARGE, |i| set.rank(&member(i % 10)));
    time("10 members: zadd, another score", LARGE, |i| {
        set.insert(&member(i % 10), mix(i) as u32 as f64, &limits);
    });
    time("10 members: zrange all", LARGE, |_| set.iter().for_each(see));
    println!("    {} bytes", set.allocated());
    time("10 members: zadd, a fraction", LARGE, |i| {
        set.insert(&member(i % 10), scores[mix(i) as usize % 10], &limits);
    });
}

fn list_large() {
    let limits = Limits::default();
    let mut list = List::new();
    time("rpush 5M", 5 * LARGE, |i| list.push_back(&member(i), &limits));
    println!("    {:.1} bytes an element", list.allocated() as f64 / list.len() as f64);
    let len = list.len();
    time("lindex at random", LARGE, |i| list.get(mix(i) as usize % len));
    time("lindex near the middle", LARGE, |i| list.get(len / 2 + i % 1000));
    time("lrange, 10 elements at random", LARGE, |i| {
        let start = mix(i) as usize % len;
        list.range(start..start + 10).for_each(see);
    });
    time("lrange, an element of all", len, {
        let mut all = list.iter();
        move |_| all.next()
    });
    time("lrange, an element of all, backwards", len, {
        let mut all = list.iter();
        move |_| all.next_back()
    });
    time("lset at random", LARGE, |i| list.set(mix(i) as usize % len, &member(i), &limits));
    time("insert at random", LARGE / 10, |i| list.insert(mix(i) as usize % len, &member(i), &limits));
    let mut frozen = Vec::with_capacity(100);
    time("freeze", 100, |_| frozen.push(list.freeze()));
    drop(frozen);
    time("rpush + lpop (a queue of 5M)", LARGE, |i| {
        list.push_back(&member(i), &limits);
        black_box(list.pop_front_with(|e| e.len()));
    });
    time("lpop", LARGE, |_| list.pop_front_with(|e| e.len()));
    time("rpop", LARGE, |_| list.pop_back_with(|e| e.len()));
    time("lpush", LARGE, |i| list.push_front(&member(i), &limits));
    let mut list = List::new();
    time("lpush 1M into a new list", LARGE, |i| list.push_front(&member(i), &limits));
    println!("    {:.1} bytes an element", list.allocated() as f64 / list.len() as f64);
}

fn list_small() {
    let limits = Limits::default();
    let mut list = List::new();
    for i in 0..10 {
        list.push_back(&member(i), &limits);
    }
    time("10 elements: rpush + lpop", LARGE, |i| {
        list.push_back(&member(i), &limits);
        black_box(list.pop_front_with(|e| e.len()));
    });
    time("10 elements: lpush + rpop", LARGE, |i| {
        list.push_front(&member(i), &limits);
        black_box(list.pop_back_with(|e| e.len()));
    });
    time("10 elements: lindex", LARGE, |i| list.get(i % 10));
    time("10 elements: lrange all", LARGE, |_| list.iter().for_each(see));
}

fn text() {
    let scores: Vec<f64> = (0..1000).map(|i| (mix(i) % 1_000_000) as f64 / 100.0).collect();
    time("format a whole double", LARGE, |i| format_double(i as f64));
    time("format a price", LARGE, |i| format_double(scores[i % 1000]));
    time("format 17 digits", LARGE, |i| format_double(f64::from_bits(mix(i) >> 12 | 0x3ff0 << 48)));
    time("parse a price", LARGE, {
        let texts: Vec<_> = scores.iter().map(|s| format_double(*s)).collect();
        move |i| parse_double(&texts[i % 1000])
    });
}
