//! Digests of secrets, and secrets that nobody can guess.

use std::io;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a secret: what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(secret: &[u8]) -> Digest {
        Digest(Sha256::digest(secret).into())
    }

    /// Reads what [`Digest::hex`] has written; nothing else, capitals neither.
    pub fn from_hex(hex: &[u8]) -> Option<Digest> {
        let value = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = hex.as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = value(*high)? << 4 | value(*low)?;
        }
        Some(Digest(digest))
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// No early exit: how long it takes must not tell how near a guess was.
    pub fn is(&self, other: &Digest) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS[value as usize] as char;
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The most that the system gives in one call.
const ENTROPY_BYTES_MAX: usize = 256;

/// So many hexadecimal digits from the system's random source. The engine's own numbers follow from a seed; a secret
/// must not.
pub fn random_hex(digits: usize) -> io::Result<String> {
    let mut bytes = vec![0; digits.div_ceil(2)];
    for piece in bytes.chunks_mut(ENTROPY_BYTES_MAX) {
        // SAFETY: the pointer and the length are those of one slice that nobody else has.
        let result = unsafe { libc::getentropy(piece.as_mut_ptr().cast(), piece.len()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let mut text = hex(&bytes);
    text.truncate(digits);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back() {
        let digest = Digest::of(b"passwd4");
        assert_eq!(digest.hex(), "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6");
        assert_eq!(Digest::from_hex(digest.hex().as_bytes()), Some(digest));
        assert_eq!(Digest::from_hex(digest.hex().to_uppercase().as_bytes()), None);
        assert_eq!(Digest::from_hex(&digest.hex().as_bytes()[1..]), None);
    }

    #[test]
    fn secrets_are_as_long_as_asked_for_and_never_the_same() {
        for digits in [1, 2, 63, 64, 1024] {
            assert_eq!(random_hex(digits).expect("randomness").len(), digits);
        }
        assert_ne!(random_hex(64).expect("randomness"), random_hex(64).expect("randomness"));
    }
}
