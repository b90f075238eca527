//! What the decoder promises: the words, Redis' errors, and the same answer however the bytes are cut.

use proptest::prelude::*;
use synap_core::log::wire::put_call;

use super::*;

/// What a whole buffer says: its calls with their words, and how it ends.
#[derive(Debug, PartialEq)]
struct Heard {
    calls: Vec<(Vec<Vec<u8>>, bool)>,
    error: Option<ProtocolError>,
    /// Bytes that are not understood yet.
    rest: usize,
}

/// Feeds `bytes` in pieces of the given sizes (again and again), as a connection would.
fn hear(bytes: &[u8], limits: &DecodeLimits, pieces: &[usize]) -> Heard {
    let mut heard = Heard { calls: Vec::new(), error: None, rest: 0 };
    let mut decoder = Decoder::new();
    let mut buf = Vec::new();
    let mut fed = 0;
    let mut sizes = pieces.iter().copied().cycle();
    while fed < bytes.len() {
        let to = bytes.len().min(fed + sizes.next().unwrap_or(usize::MAX).min(bytes.len()));
        buf.extend_from_slice(&bytes[fed..to]);
        fed = to;
        // Words of a batch share a list; spans count from the beginning of their own call.
        let mut words = Vec::new();
        loop {
            let before = words.len();
            match decoder.decode(&mut buf, limits, &mut words) {
                Decoded::Call { consumed, canonical } => {
                    let call: Vec<_> = words[before..].iter().map(|word| word.of(&buf).to_vec()).collect();
                    assert!(!call.is_empty());
                    if canonical {
                        let mut again = Vec::new();
                        put_call(&mut again, &call);
                        assert_eq!(again, &buf[..consumed], "canonical is what we write");
                    }
                    heard.calls.push((call, canonical));
                    buf.drain(..consumed);
                }
                Decoded::Empty { consumed } => {
                    assert!(consumed > 0);
                    buf.drain(..consumed);
                }
                Decoded::Incomplete { need } => {
                    assert!(need > buf.len(), "asked for {need}, has {}", buf.len());
                    assert_eq!(words.len(), before);
                    assert!(decoder.partial.len() * 6 <= buf.len(), "memory follows the bytes");
                    break;
                }
                Decoded::Invalid(error) => {
                    assert_eq!(words.len(), before);
                    return Heard { error: Some(error), ..heard };
                }
            }
        }
    }
    heard.rest = buf.len();
    heard
}

fn words(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let heard = hear(bytes, &DecodeLimits::DEFAULT, &[]);
    assert_eq!((heard.error, heard.rest), (None, 0));
    heard.calls.into_iter().map(|(words, _)| words).collect()
}

fn error(bytes: &[u8]) -> String {
    error_within(bytes, &DecodeLimits::DEFAULT)
}

fn error_within(bytes: &[u8], limits: &DecodeLimits) -> String {
    hear(bytes, limits, &[]).error.expect("an error").to_error().to_string()
}

#[test]
fn pipelined_calls_come_one_after_the_other() {
    let bytes = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n\r\n*0\r\nGET 'a b'\r\n*-1\r\n\nPING\n";
    let expected: [&[&[u8]]; 4] = [&[b"PING"], &[b"GET", b""], &[b"GET", b"a b"], &[b"PING"]];
    assert_eq!(words(bytes), expected);
}

#[test]
fn only_our_own_spelling_is_canonical() {
    for (bytes, canonical) in [
        (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".as_slice(), true),
        (b"*2\r\n$3\r\nGET\r\n$1\r\nk\rx", false),
        (b"*2\r\n$3\r\nGETxx$1\r\nk\r\n", false),
        (b"*2\rx$3\r\nGET\r\n$1\r\nk\r\n", false),
        (b"*2\r\n$3\r\nGET\r\n$1\rxk\r\n", false),
        (b"GET k\r\n", false),
    ] {
        let heard = hear(bytes, &DecodeLimits::DEFAULT, &[]);
        assert_eq!(heard.calls, [(vec![b"GET".to_vec(), b"k".to_vec()], canonical)], "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_errors_are_those_of_redis() {
    let long = [b'1'; LINE_BYTES_MAX + 1];
    for (bytes, expected) in [
        (b"*x\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*+1\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*01\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*-0\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*1048577\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*3000000000\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*99999999999999999999\r\n".to_vec(), "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\nfoo\r\n".to_vec(), "ERR Protocol error: expected '$', got 'f'"),
        (b"*1\r\n\r\n".to_vec(), "ERR Protocol error: expected '$', got ' '"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n".to_vec(), "ERR Protocol error: expected '$', got ':'"),
        (b"*1\r\n$-1\r\n".to_vec(), "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$\r\n".to_vec(), "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$abc\r\n".to_vec(), "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "ERR Protocol error: invalid bulk length"),
        (b"SET k \"v\r\n".to_vec(), "ERR Protocol error: unbalanced quotes in request"),
        ([b"*".as_slice(), &long].concat(), "ERR Protocol error: too big mbulk count string"),
        ([b"*1\r\n$".as_slice(), &long].concat(), "ERR Protocol error: too big bulk count string"),
        (long.to_vec(), "ERR Protocol error: too big inline request"),
    ] {
        assert_eq!(error(&bytes), expected, "{}", bytes[..bytes.len().min(30)].escape_ascii());
    }
}

#[test]
fn who_is_not_logged_in_may_say_little() {
    let limits = DecodeLimits::UNAUTHENTICATED;
    assert_eq!(error_within(b"*11\r\n", &limits), "ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(error_within(b"*1\r\n$16385\r\n", &limits), "ERR Protocol error: unauthenticated bulk length");
    let heard = hear(b"*10\r\n$16384\r\n", &limits, &[]);
    assert_eq!((heard.error, heard.rest), (None, 13));
}

#[test]
fn a_call_has_a_largest_size() {
    let limits = DecodeLimits { call_bytes_max: 1000, ..DecodeLimits::DEFAULT };
    assert_eq!(
        error_within(b"*2\r\n$600\r\n", &DecodeLimits { call_bytes_max: 600, ..limits }),
        "ERR Protocol error: too big request"
    );
    let mut bytes = Vec::new();
    put_call(&mut bytes, &[[b'x'; 600]; 2]);
    assert_eq!(hear(&bytes, &limits, &[100]).error, Some(ProtocolError::BigCall));
}

#[test]
fn what_is_announced_reserves_nothing() {
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    let mut buf = b"*1048576\r\n$536870912\r\nx".to_vec();
    let decoded = decoder.decode(&mut buf, &DecodeLimits::DEFAULT, &mut words);
    assert_eq!(decoded, Decoded::Incomplete { need: 22 + (512 << 20) + 2 });
    assert_eq!((words.capacity(), decoder.partial.capacity()), (0, 0));
    assert!(decoder.is_midway());
}

#[test]
fn a_large_call_in_small_pieces_is_looked_at_once() {
    // Were every read to begin anew, these would be 10^10 steps.
    let calls = [vec![vec![b'x'; 8 << 20]], vec![b"word".to_vec(); 400_000]];
    for call in calls {
        let mut bytes = Vec::new();
        put_call(&mut bytes, &call);
        let mut decoder = Decoder::new();
        let mut words = Vec::new();
        for end in (1..bytes.len()).step_by(64) {
            let decoded = decoder.decode(&mut bytes[..end], &DecodeLimits::DEFAULT, &mut words);
            assert!(matches!(decoded, Decoded::Incomplete { .. }));
        }
        let consumed = bytes.len();
        let decoded = decoder.decode(&mut bytes, &DecodeLimits::DEFAULT, &mut words);
        assert_eq!(decoded, Decoded::Call { consumed, canonical: true });
        assert!(words.iter().map(|word| word.of(&bytes)).eq(call.iter()));
        assert!(!decoder.is_midway());
    }
}

#[test]
fn a_decoder_forgets_an_error() {
    let mut decoder = Decoder::new();
    let mut words = Vec::new();
    for bytes in [b"*2\r\n$1\r\na\r\n".as_slice(), b"*2\r\n$1\r\na\r\n!"] {
        decoder.decode(&mut bytes.to_vec(), &DecodeLimits::DEFAULT, &mut words);
    }
    assert!(!decoder.is_midway());
    let decoded = decoder.decode(&mut b"PING\r\n".to_vec(), &DecodeLimits::DEFAULT, &mut words);
    assert_eq!(decoded, Decoded::Call { consumed: 6, canonical: false });
}

#[test]
fn integers_are_read_as_redis_does() {
    for (text, value) in [
        ("0", Some(0)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-9223372036854775809", None),
        ("18446744073709551616", None),
        ("", None),
        ("-", None),
        ("--1", None),
        (" 1", None),
        ("1a", None),
    ] {
        assert_eq!(parse_int(text.as_bytes()), value, "{text}");
    }
}

fn any_calls() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    let len = prop_oneof![20 => 0..20_usize, 1 => 95..105_usize, 1 => 990..1010_usize, 1 => 70_000..70_010_usize];
    let word = len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len));
    prop::collection::vec(prop::collection::vec(word, 1..12), 1..5)
}

/// Bytes that look like the protocol more often than chance would have it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[*$]-?[0-9]{0,3}\r\n".prop_map(String::into_bytes),
        "[*$][0-9]{1,21}\r?\n?".prop_map(String::into_bytes),
        "[a-c \"'\\\\x0-9]{0,8}\r?\n".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..8),
        Just(b"*3\r\n$1\r\na\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn words_survive_any_fragmentation(calls in any_calls(), pieces in prop::collection::vec(1..3000_usize, 1..6)) {
        let mut bytes = Vec::new();
        calls.iter().for_each(|call| put_call(&mut bytes, call));
        let heard = hear(&bytes, &DecodeLimits::DEFAULT, &pieces);
        prop_assert_eq!((heard.error, heard.rest), (None, 0));
        prop_assert!(heard.calls.iter().all(|(_, canonical)| *canonical));
        prop_assert!(heard.calls.into_iter().map(|(words, _)| words).eq(calls));
    }

    #[test]
    fn the_answer_does_not_depend_on_the_cuts(bytes in hostile(), pieces in prop::collection::vec(1..9_usize, 1..5)) {
        for limits in [DecodeLimits::DEFAULT, DecodeLimits::UNAUTHENTICATED] {
            let whole = hear(&bytes, &limits, &[]);
            prop_assert_eq!(&hear(&bytes, &limits, &pieces), &whole);
            prop_assert_eq!(&hear(&bytes, &limits, &[1]), &whole);
        }
    }
}
