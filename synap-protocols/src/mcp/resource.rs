//! Addresses of resources: `synap://key/{key}`, the name percent-encoded, and `synap://info/{section}`.

use crate::json::lower::percent_decoded;

pub const KEY_TEMPLATE: &str = "synap://key/{key}";
pub const INFO_TEMPLATE: &str = "synap://info/{section}";

const KEY: &str = "synap://key/";
const INFO: &str = "synap://info/";

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Key(Vec<u8>),
    /// A chapter of INFO.
    Info(Vec<u8>),
}

/// How a value is read, by the name of its type: the operation, and its words behind the key.
pub const READERS: &[(&str, &str, &[&str])] = &[
    ("string", "string.get", &[]),
    ("hash", "hash.getall", &[]),
    ("list", "list.range", &["0", "-1"]),
    ("set", "set.members", &[]),
    ("zset", "zset.range", &["0", "-1", "WITHSCORES"]),
];

/// What `uri` names; none when it is no address of ours.
pub fn parse(uri: &str) -> Option<Resource> {
    let named = |rest: &str| percent_decoded(rest, false).ok();
    match (uri.strip_prefix(KEY), uri.strip_prefix(INFO)) {
        (Some(key), _) => named(key).map(Resource::Key),
        (_, Some(section)) if !section.is_empty() => named(section).map(Resource::Info),
        _ => None,
    }
}

/// The address of a chapter of INFO.
pub fn info(section: &str) -> String {
    format!("{INFO}{section}")
}

/// A glob pattern of all names that begin with `beginning`.
pub fn pattern(beginning: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(beginning.len() + 1);
    for byte in beginning.bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        assert_eq!(parse("synap://key/user%3A1"), Some(Resource::Key(b"user:1".to_vec())));
        assert_eq!(parse("synap://key/user:1/a+b"), Some(Resource::Key(b"user:1/a+b".to_vec())));
        assert_eq!(parse("synap://key/%FF%00"), Some(Resource::Key(b"\xff\0".to_vec())));
        assert_eq!(parse("synap://key/"), Some(Resource::Key(Vec::new())));
        assert_eq!(parse("synap://info/memory"), Some(Resource::Info(b"memory".to_vec())));
        for other in
            ["", "key/a", "synap://", "synap://keys/a", "synap://info/", "synap://key/%zz", "file:///etc/passwd"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_beginning_is_taken_letter_by_letter() {
        let matches = |beginning, name: &str| synap_core::glob::matches(&pattern(beginning), name.as_bytes());
        for beginning in ["", "user:", "a*b", "[x-y]", "\\", "?^"] {
            assert!(matches(beginning, &format!("{beginning}rest")), "{beginning}");
        }
        assert!(!matches("a*", "abc") && !matches("[a]", "a") && !matches("?", "x"));
    }
}
