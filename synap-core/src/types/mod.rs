//! Pure structures: no clock, no lock, no I/O. What is large is a spine of reference-counted chunks, so that
//! `freeze()` is O(spine) and a later write copies only the chunk that it changes.

pub mod bits;
pub mod blob;
pub mod dict;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
pub mod lcs;
pub mod list;
pub mod listpack;
pub mod long_double;
pub mod rank_tree;
pub mod sample;
pub mod score;
pub mod set;
pub mod zset;

/// When a compact form grows into a large one; the engine's settings of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `hash-max-listpack-entries`: fields.
    pub hash_entries: usize,
    /// `hash-max-listpack-value`: bytes of a field or value.
    pub hash_value_bytes: usize,
    /// `list-max-listpack-size`: elements when positive, -1 … -5 for 4, 8, 16, 32, 64 kB.
    pub list_size: i64,
    /// `set-max-intset-entries`: members.
    pub set_intset_entries: usize,
    /// `set-max-listpack-entries`: members.
    pub set_entries: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub set_value_bytes: usize,
    /// `zset-max-listpack-entries`: members.
    pub zset_entries: usize,
    /// `zset-max-listpack-value`: bytes of a member.
    pub zset_value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_entries: 128,
            hash_value_bytes: 64,
            list_size: -2,
            set_intset_entries: 512,
            set_entries: 128,
            set_value_bytes: 64,
            zset_entries: 128,
            zset_value_bytes: 64,
        }
    }
}

/// One element as a compact form holds it: integers are kept as integers.
#[derive(Clone, Copy, Debug)]
pub enum Elem<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> Elem<'a> {
    /// The element's bytes; `buffer` holds the digits of an integer.
    #[inline]
    pub fn bytes<'b>(self, buffer: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Elem::Int(value) => buffer.format(value).as_bytes(),
            Elem::Bytes(bytes) => bytes,
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Length of [`Elem::bytes`].
    pub fn len(self) -> usize {
        self.bytes(&mut itoa::Buffer::new()).len()
    }

    pub fn is_empty(self) -> bool {
        matches!(self, Elem::Bytes(b""))
    }

    /// True when [`Elem::bytes`] are more than `limit`.
    pub fn is_longer_than(self, limit: usize) -> bool {
        match self {
            // No integer has more than 20 characters.
            Elem::Int(_) if limit >= 20 => false,
            Elem::Int(_) => self.len() > limit,
            Elem::Bytes(bytes) => bytes.len() > limit,
        }
    }

    #[inline]
    pub fn is(self, other: &[u8]) -> bool {
        self.bytes(&mut itoa::Buffer::new()) == other
    }
}

impl<'a> From<&'a [u8]> for Elem<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Elem<'a> {
        Elem::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Elem<'a> {
    fn from(bytes: &'a [u8; N]) -> Elem<'a> {
        Elem::Bytes(bytes)
    }
}

impl From<i64> for Elem<'_> {
    #[inline]
    fn from(value: i64) -> Self {
        Elem::Int(value)
    }
}

/// The integer that `bytes` spells exactly as this server would print it (no sign `+`, no leading zero, no blank).
#[inline]
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, bytes),
    };
    match digits {
        [b'0'] => return if negative { None } else { Some(0) },
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits stay below 10^19 < 2^64.
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        (value <= i64::MIN.unsigned_abs()).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}
