//! Hostile bytes against the RESP decoder: it never panics, what it calls canonical is what we write, and its answer
//! does not depend on how the bytes were cut into reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use synap_core::log::wire::put_call;
use synap_protocols::resp::value::ValueLimits;
use synap_protocols::resp::{DecodeLimits, Decoded, Decoder, ProtocolError, Value};

type Heard = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn hear(bytes: &[u8], limits: &DecodeLimits, piece: usize) -> Heard {
    let (mut calls, mut decoder, mut buf) = (Vec::new(), Decoder::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        loop {
            let mut words = Vec::new();
            let consumed = match decoder.decode(&mut buf, limits, &mut words) {
                Decoded::Call { consumed, canonical } => {
                    let call: Vec<_> = words.iter().map(|word| word.of(&buf).to_vec()).collect();
                    if canonical {
                        let mut again = Vec::new();
                        put_call(&mut again, &call);
                        assert_eq!(again, &buf[..consumed]);
                    }
                    calls.push(call);
                    consumed
                }
                Decoded::Empty { consumed } => consumed,
                Decoded::Incomplete { need } => {
                    assert!(need > buf.len());
                    break;
                }
                Decoded::Invalid(error) => return (calls, Some(error)),
            };
            buf.drain(..consumed);
        }
    }
    (calls, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let limits = if choice & 1 == 0 { DecodeLimits::DEFAULT } else { DecodeLimits::UNAUTHENTICATED };
    let whole = hear(bytes, &limits, usize::MAX);
    assert_eq!(hear(bytes, &limits, usize::from(choice >> 1).max(1)), whole);
    let _ = Value::parse(bytes, &ValueLimits::DEFAULT);
});
