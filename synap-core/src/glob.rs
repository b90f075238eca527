//! Redis' glob: `*`, `?`, `[a-c]`, `[^a]`, `\x`. <https://redis.io/docs/latest/commands/keys/>

/// True when all of `text` matches `pattern`. Bytes, not letters. Takes O(pattern × text) at worst: a star never
/// makes more than one point to return to.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stood and how much text it has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match star {
                Some((after, swallowed)) => {
                    p = after;
                    t = swallowed + 1;
                    star = Some((after, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// How many bytes of `pattern` stand for the one byte `byte`, if they match it. `pattern` does not begin with a star.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte),
        b'\\' if pattern.len() >= 2 => (pattern[1] == byte).then_some(2),
        plain => (plain == byte).then_some(1),
    }
}

/// A bracket expression. An unclosed one ends with the pattern, as in Redis.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(at) {
            None => break,
            Some(b']') => {
                at += 1;
                break;
            }
            Some(b'\\') if at + 1 < pattern.len() => {
                found |= pattern[at + 1] == byte;
                at += 2;
            }
            Some(&low) if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() => {
                let high = pattern[at + 2];
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            Some(&single) => {
                found |= single == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_redis_does() {
        let check = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        assert!(check("*", ""));
        assert!(check("h?llo", "hello") && !check("h?llo", "hllo"));
        assert!(check("h*llo", "heeeello") && check("h*llo", "hllo"));
        assert!(check("h[ae]llo", "hallo") && !check("h[ae]llo", "hillo"));
        assert!(check("h[^e]llo", "hallo") && !check("h[^e]llo", "hello"));
        assert!(check("h[a-b]llo", "hbllo") && !check("h[a-b]llo", "hcllo"));
        assert!(check("h[b-a]llo", "hbllo"));
        assert!(check(r"a\*b", "a*b") && !check(r"a\*b", "axb"));
        assert!(check("a*b*c", "a__b__b_c") && !check("a*b*c", "a__b__b_"));
        assert!(check("[abc", "a"));
        assert!(!check("", "a") && check("", ""));
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "*a".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
