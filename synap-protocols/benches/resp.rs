//! What the protocol costs: `cargo bench -p synap-protocols --bench resp`.
//!
//! One line per case, nanoseconds per operation, the best of several rounds (the others were disturbed).

use std::hint::black_box;
use std::time::Instant;

use synap_core::Reply;
use synap_protocols::resp::{DecodeLimits, Decoded, Decoder, RespWriter};

fn main() {
    let get = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n";
    let set = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nvalue\r\n";
    let line = b"SET key:000000000001 value\r\n";
    let mut hset = Vec::new();
    let fields: Vec<String> = (0..100).map(|i| format!("field:{i:010}")).collect();
    synap_core::log::wire::put_call(&mut hset, &fields);

    decode("decode GET", get, 64);
    decode("decode SET", set, 64);
    decode("decode 100 words", &hset, 1);
    decode("decode SET, inline", line, 64);

    let mut out = Vec::with_capacity(64 * 1024);
    encode("encode +OK", &mut out, |reply| reply.ok());
    encode("encode an integer", &mut out, |reply| reply.int(black_box(1234)));
    encode("encode a bulk of 16 bytes", &mut out, |reply| reply.bulk(black_box(b"0123456789abcdef")));
    encode("encode a double", &mut out, |reply| reply.double(black_box(2.75)));
}

/// Decodes a pipeline of `times` copies of a call; prints the time of one.
fn decode(name: &str, call: &[u8], times: usize) {
    let mut bytes = call.repeat(times);
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    measure(name, 20_000, times, || {
        let mut rest = &mut bytes[..];
        words.clear();
        while let Decoded::Call { consumed, .. } = decoder.decode(rest, &DecodeLimits::DEFAULT, &mut words) {
            rest = &mut rest[consumed..];
        }
        assert!(rest.is_empty() && !black_box(&words).is_empty());
    });
}

fn encode(name: &str, out: &mut Vec<u8>, say: impl Fn(&mut RespWriter)) {
    measure(name, 50_000, 64, || {
        out.clear();
        for _ in 0..64 {
            say(&mut RespWriter::new(black_box(out), false));
        }
    });
}

/// Prints the time of one of the `inner` operations that each call of `f` does.
fn measure(name: &str, times: u32, inner: usize, mut f: impl FnMut()) {
    let round = |_| {
        let start = Instant::now();
        (0..times).for_each(|_| f());
        start.elapsed().as_nanos() as f64 / f64::from(times) / inner as f64
    };
    let best = (0..7).map(round).fold(f64::INFINITY, f64::min);
    println!("{name:<42} {best:8.1} ns");
}
