//! The life of a call without a socket: nanoseconds for each of the commands that `redis_comparison` drives, in batches
//! of 32 with prefetching, on random keys. `cargo bench -p synap-core --bench execute [command] [keys] [calls]`.

use std::hint::black_box;
use std::time::Instant;

use synap_core::error::Error;
use synap_core::execute::{Input, execute};
use synap_core::grammar::WordList;
use synap_core::reply::{Mark, Reply};
use synap_core::session::Door;
use synap_core::{Engine, Options};

const BATCH: usize = 32;

/// Takes replies and keeps nothing but their size.
struct Sink(usize);

impl Reply for Sink {
    fn status(&mut self, text: &str) {
        self.0 += text.len();
    }
    fn int(&mut self, value: i64) {
        self.0 += value as usize & 1;
    }
    fn double(&mut self, value: f64) {
        self.0 += value as usize & 1;
    }
    fn boolean(&mut self, value: bool) {
        self.0 += usize::from(value);
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
    fn verbatim(&mut self, _: &str, text: &str) {
        self.0 += text.len();
    }
    fn null(&mut self) {}
    fn null_array(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn map(&mut self, _: usize) {}
    fn set(&mut self, _: usize) {}
    fn push(&mut self, _: usize) {}
    fn error(&mut self, error: &Error) {
        panic!("{error}");
    }
    fn resp3(&self) -> bool {
        false
    }
    fn mark(&self) -> Mark {
        Mark(self.0)
    }
    fn rollback(&mut self, mark: Mark) {
        self.0 = mark.0;
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |index: usize, default: usize| args.get(index).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (keys, calls) = (number(1, 1_000_000), number(2, 4_000_000));
    for command in ["SET", "GET", "INCR", "HSET", "HGET", "SADD", "ZADD", "LPUSH", "RPOP"] {
        if args.first().is_none_or(|only| only.eq_ignore_ascii_case(command)) {
            println!("{command:<6} {:7.1} ns", run(command, keys, calls));
        }
    }
}

fn run(command: &str, keys: usize, calls: usize) -> f64 {
    let engine = Engine::open_memory(Options { seed: 1, active_expiry: false, ..Options::default() });
    let mut session = engine.session(Door::Embedded, String::new(), String::new());
    let mut sink = Sink(0);
    // Every key exists before the clock runs.
    let fill = match command {
        "GET" => "SET",
        "HGET" => "HSET",
        "RPOP" => "LPUSH",
        other => other,
    };
    let name = |key: usize| -> [u8; 16] { format!("key:{key:012}").into_bytes().try_into().expect("16 bytes") };
    let order: Vec<_> = (0..keys).map(name).collect();
    drive(&engine, &mut session, fill, &order, &mut sink);
    let mut state = 1_u64;
    let order: Vec<_> = (0..calls)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            name((state >> 33) as usize % keys)
        })
        .collect();
    let start = Instant::now();
    drive(&engine, &mut session, command, &order, &mut sink);
    let spent = start.elapsed();
    black_box(sink.0);
    engine.leave(&mut session);
    spent.as_nanos() as f64 / calls as f64
}

fn drive(
    engine: &Engine,
    session: &mut synap_core::session::Session,
    command: &str,
    order: &[[u8; 16]],
    sink: &mut Sink,
) {
    let state = engine.state();
    let mut hashes = Vec::new();
    for keys in order.chunks(BATCH) {
        hashes.clear();
        hashes.extend(keys.iter().map(|key| state.hasher.hash(key)));
        let mut turn = engine.try_enter().expect("nobody closes the gate");
        turn.prefetch(&hashes, 0);
        for (key, hash) in keys.iter().zip(&hashes) {
            let key = &key[..];
            let words: WordList<'_> = match command {
                "SET" => [command.as_bytes(), key, b"0123456789abcdef"].into_iter().collect(),
                "HSET" => [command.as_bytes(), key, b"field", b"0123456789abcdef"].into_iter().collect(),
                "HGET" => [command.as_bytes(), key, b"field"].into_iter().collect(),
                "SADD" | "LPUSH" => [command.as_bytes(), key, b"member"].into_iter().collect(),
                "ZADD" => [command.as_bytes(), key, b"1", b"member"].into_iter().collect(),
                _ => [command.as_bytes(), key].into_iter().collect(),
            };
            let row = state.table.find(&words).ok();
            execute(&mut turn, session, &Input { words: &words, raw: None, row, hint: Some(*hash) }, sink);
        }
    }
}
