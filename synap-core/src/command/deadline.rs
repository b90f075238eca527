//! From what a call says to a point in time: Unix milliseconds.

use crate::error::{Error, Result};

/// In what a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds from now.
    Seconds,
    Millis,
    /// Unix time in seconds.
    AtSeconds,
    AtMillis,
}

/// The point in time, or the error that answers one that cannot be. With `positive`, zero and less are refused, as SET
/// does; EXPIRE takes them for the past.
pub fn at(value: i64, unit: Unit, now_ms: i64, positive: bool, command: &str) -> Result<i64> {
    let wrong = || invalid(command);
    if positive && value <= 0 {
        return Err(wrong());
    }
    let ms = match unit {
        Unit::Seconds | Unit::AtSeconds => value.checked_mul(1000).ok_or_else(wrong)?,
        Unit::Millis | Unit::AtMillis => value,
    };
    match unit {
        Unit::Seconds | Unit::Millis => ms.checked_add(now_ms).ok_or_else(wrong),
        Unit::AtSeconds | Unit::AtMillis => Ok(ms),
    }
}

/// The answer to a time that cannot be.
pub fn invalid(command: &str) -> Error {
    Error::fmt(format!("invalid expire time in '{command}' command"))
}
