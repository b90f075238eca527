//! The `Authorization` header (RFC 7617, RFC 6750).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use synap_core::{Code, Error, Result};

/// The values of `WWW-Authenticate` that go with every 401.
pub const CHALLENGES: [&str; 2] = [r#"Basic realm="synap", charset="UTF-8""#, r#"Bearer realm="synap""#];

/// What a request says about who sends it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user's name and password. Without a name they are the default user's.
    Basic { name: Vec<u8>, password: Vec<u8> },
    /// The secret of an API key.
    Bearer(Vec<u8>),
}

/// The credentials of a header's value.
pub fn read(header: &[u8]) -> Result<Credentials> {
    const UNREADABLE: Error = Error::new(
        Code::WrongPass,
        "the Authorization header must be `Basic` and the base64 text of `user:password`, or `Bearer` and an API key",
    );
    let blank = header.iter().position(|byte| *byte == b' ').ok_or(UNREADABLE)?;
    let (scheme, rest) = (&header[..blank], header[blank..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") && !rest.is_empty() {
        return Ok(Credentials::Bearer(rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(UNREADABLE);
    }
    let mut name = STANDARD.decode(rest).map_err(|_| UNREADABLE)?;
    let colon = name.iter().position(|byte| *byte == b':').ok_or(UNREADABLE)?;
    let password = name.split_off(colon + 1);
    name.pop();
    if name.is_empty() {
        name = b"default".to_vec();
    }
    Ok(Credentials::Basic { name, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(header: &str, name: &str, password: &str) {
        let expected = Credentials::Basic { name: name.into(), password: password.into() };
        assert!(read(header.as_bytes()).is_ok_and(|read| read == expected), "{header}");
    }

    #[test]
    fn a_name_ends_at_the_first_colon() {
        reads("Basic YW5uOnNlOmNyZXQ=", "ann", "se:cret");
        reads("basic  OnNlY3JldA==", "default", "secret");
        reads("Basic YW5uOg==", "ann", "");
    }

    #[test]
    fn a_key_is_taken_as_it_is() {
        let expected = Credentials::Bearer(b"synap_12".to_vec());
        assert!(read(b"bearer synap_12 ").is_ok_and(|read| read == expected));
    }

    #[test]
    fn anything_else_is_refused() {
        for header in ["", "Basic", "Basic ", "Basic YW5u", "Basic %", "Bearer", "Bearer ", "Digest YW5uOnNlY3JldA=="] {
            assert!(read(header.as_bytes()).is_err(), "{header}");
        }
    }
}
