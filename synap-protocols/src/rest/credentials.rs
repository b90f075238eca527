//! The `Authorization` header (RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use synap_core::{Code, Error, Result};

/// The value of `WWW-Authenticate` that goes with every 401.
pub const CHALLENGE: &str = r#"Basic realm="synap", charset="UTF-8""#;

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub name: Vec<u8>,
    pub password: Vec<u8>,
}

/// The credentials of a header's value. Without a name they are the default user's.
pub fn read(header: &[u8]) -> Result<Credentials> {
    const UNREADABLE: Error =
        Error::new(Code::WrongPass, "the Authorization header must be `Basic` and the base64 text of `user:password`");
    let (scheme, encoded) = header.split_at_checked(6).ok_or(UNREADABLE)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return Err(UNREADABLE);
    }
    let mut name = STANDARD.decode(encoded.trim_ascii()).map_err(|_| UNREADABLE)?;
    let colon = name.iter().position(|byte| *byte == b':').ok_or(UNREADABLE)?;
    let password = name.split_off(colon + 1);
    name.pop();
    if name.is_empty() {
        name = b"default".to_vec();
    }
    Ok(Credentials { name, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(header: &str, name: &str, password: &str) {
        let read = read(header.as_bytes()).expect("credentials");
        assert_eq!((read.name.as_slice(), read.password.as_slice()), (name.as_bytes(), password.as_bytes()));
    }

    #[test]
    fn a_name_ends_at_the_first_colon() {
        reads("Basic YW5uOnNlOmNyZXQ=", "ann", "se:cret");
        reads("basic  OnNlY3JldA==", "default", "secret");
        reads("Basic YW5uOg==", "ann", "");
    }

    #[test]
    fn anything_else_is_refused() {
        for header in ["", "Basic", "Basic ", "Basic YW5u", "Basic %", "Bearer YW5uOnNlY3JldA=="] {
            assert!(read(header.as_bytes()).is_err(), "{header}");
        }
    }
}
