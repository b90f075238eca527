//! The words of an inline call, split as Redis' `sdssplitargs` does.
//!
//! Blanks separate. Double quotes hold blanks and the escapes `\n \r \t \b \a \xHH` (any other escaped byte is itself);
//! single quotes hold blanks and the escape `\'`. A quote may begin inside a word; what follows its end must be a blank.

use super::decode::Span;

/// A quote that does not end, or is not followed by a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// Appends the words of `line` to `words`. Resolved words are never longer than what was sent, so each is written over
/// its own beginning.
pub(super) fn split(line: &mut [u8], words: &mut Vec<Span>) -> Result<(), UnbalancedQuotes> {
    // C strings end at a zero byte, and so does a line.
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let line = &mut line[..end];
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_blank(*byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = at;
        let len = word(line, &mut at)?;
        words.push(Span { start: start as u32, len: len as u32 });
    }
}

/// The words of a line that is no call: of a configuration file, which has the same quotes. None when a quote does not
/// end, or a word is no text.
pub fn split_line(line: &str) -> Option<Vec<String>> {
    let mut line = line.as_bytes().to_vec();
    let mut spans = Vec::new();
    split(&mut line, &mut spans).ok()?;
    spans.into_iter().map(|span| String::from_utf8(span.of(&line).to_vec()).ok()).collect()
}

/// Resolves the word at `at` in place, moves `at` behind what was read and returns the length of what was written.
fn word(line: &mut [u8], at: &mut usize) -> Result<usize, UnbalancedQuotes> {
    let start = *at;
    let mut to = start;
    let mut quote = None;
    loop {
        let rest = &line[*at..];
        let (byte, read) = match (quote, rest) {
            (None, [] | [b' ' | b'\n' | b'\r' | b'\t', ..]) => return Ok(to - start),
            (None, [mark @ (b'"' | b'\''), ..]) => {
                quote = Some(*mark);
                *at += 1;
                continue;
            }
            (Some(_), []) => return Err(UnbalancedQuotes),
            (Some(mark), [byte, after @ ..]) if *byte == mark => {
                return match after {
                    [next, ..] if !is_blank(*next) => Err(UnbalancedQuotes),
                    _ => {
                        *at += 1;
                        Ok(to - start)
                    }
                };
            }
            (Some(b'"'), [b'\\', b'x', high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), 4)
            }
            (Some(b'"'), [b'\\', escaped, ..]) => (resolve(*escaped), 2),
            (Some(b'\''), [b'\\', b'\'', ..]) => (b'\'', 2),
            (_, [byte, ..]) => (*byte, 1),
        };
        line[to] = byte;
        to += 1;
        *at += read;
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn resolve(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&[&[u8]]>) {
        let mut line = line.as_bytes().to_vec();
        let mut words = Vec::new();
        let result = split(&mut line, &mut words);
        let found: Vec<&[u8]> = words.iter().map(|word| word.of(&line)).collect();
        assert_eq!(result.ok().map(|()| &found[..]), expected);
    }

    #[test]
    fn blanks_separate() {
        check("", Some(&[]));
        check(" \t\x0b ", Some(&[]));
        check("  SET  key\tvalue\r", Some(&[b"SET", b"key", b"value"]));
        check("a\x0bb", Some(&[b"a\x0bb"])); // a vertical tab is skipped before words only
    }

    #[test]
    fn double_quotes_know_escapes() {
        check(r#"SET k "a b""#, Some(&[b"SET", b"k", b"a b"]));
        check(r#""\x41\xfF\n\r\t\b\a\"\\\q\x4""#, Some(&[b"A\xff\n\r\t\x08\x07\"\\qx4"]));
        check(r#""""#, Some(&[b""]));
        check(r#"pre"fix ed""#, Some(&[b"prefix ed"]));
    }

    #[test]
    fn single_quotes_know_one_escape() {
        check(r"'a b' 'it\'s' '\n'", Some(&[b"a b", b"it's", br"\n"]));
        check("''", Some(&[b""]));
    }

    #[test]
    fn quotes_must_end_before_a_blank() {
        for line in [r#"""#, "'", r#""a"b"#, "'a'b", r#""a\""#, r"'a\'", r#""\"#, "a\"b\0c\""] {
            check(line, None);
        }
    }

    #[test]
    fn a_line_ends_at_a_zero_byte() {
        check("GET a\0b c", Some(&[b"GET", b"a"]));
    }
}
