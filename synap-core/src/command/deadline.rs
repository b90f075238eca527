//! From what a call says to a point in time: Unix milliseconds.

use crate::error::{Error, Result};
use crate::execute::WriteCx;
use crate::grammar::{Args, Key};
use crate::keyspace::db::Expiry;

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

/// What SET makes of a time to live, of a key or of fields.
#[derive(Args)]
pub enum SetExpiry {
    /// Seconds from now.
    #[arg(token = "EX")]
    Ex(i64),
    /// Milliseconds from now.
    #[arg(token = "PX")]
    Px(i64),
    /// Unix time in seconds.
    #[arg(token = "EXAT")]
    Exat(i64),
    /// Unix time in milliseconds.
    #[arg(token = "PXAT")]
    Pxat(i64),
    /// Keeps the one that it has.
    #[arg(token = "KEEPTTL")]
    Keepttl,
}

impl SetExpiry {
    /// The time that it names, if it names one.
    pub fn given(&self) -> Option<(i64, Unit)> {
        match *self {
            SetExpiry::Ex(value) => Some((value, Unit::Seconds)),
            SetExpiry::Px(value) => Some((value, Unit::Millis)),
            SetExpiry::Exat(value) => Some((value, Unit::AtSeconds)),
            SetExpiry::Pxat(value) => Some((value, Unit::AtMillis)),
            SetExpiry::Keepttl => None,
        }
    }

    /// What it comes to; left out, a string that is stored has no time to live.
    pub fn decide(option: &Option<SetExpiry>, now_ms: i64, command: &str) -> Result<Expiry> {
        let Some(option) = option else { return Ok(Expiry::Clear) };
        let Some((value, unit)) = option.given() else { return Ok(Expiry::Keep) };
        at(value, unit, now_ms, true, command).map(Expiry::At)
    }
}

/// What GETEX makes of a time to live, of a key or of fields.
#[derive(Args)]
pub enum GetExpiry {
    /// Seconds from now.
    #[arg(token = "EX")]
    Ex(i64),
    /// Milliseconds from now.
    #[arg(token = "PX")]
    Px(i64),
    /// Unix time in seconds.
    #[arg(token = "EXAT")]
    Exat(i64),
    /// Unix time in milliseconds.
    #[arg(token = "PXAT")]
    Pxat(i64),
    /// Takes it away.
    #[arg(token = "PERSIST")]
    Persist,
}

impl GetExpiry {
    /// The time that it names, if it names one.
    pub fn given(&self) -> Option<(i64, Unit)> {
        match *self {
            GetExpiry::Ex(value) => Some((value, Unit::Seconds)),
            GetExpiry::Px(value) => Some((value, Unit::Millis)),
            GetExpiry::Exat(value) => Some((value, Unit::AtSeconds)),
            GetExpiry::Pxat(value) => Some((value, Unit::AtMillis)),
            GetExpiry::Persist => None,
        }
    }

    /// What it comes to; left out, a time to live stays.
    pub fn decide(option: &Option<GetExpiry>, now_ms: i64, command: &str) -> Result<Expiry> {
        let Some(option) = option else { return Ok(Expiry::Keep) };
        let Some((value, unit)) = option.given() else { return Ok(Expiry::Clear) };
        at(value, unit, now_ms, true, command).map(Expiry::At)
    }
}

/// Gives an existing key a deadline, or removes it when that is past. Logged as what it came to.
pub fn set(cx: &mut WriteCx<'_>, key: &Key<'_>, at_ms: i64) {
    if cx.is_over(at_ms) {
        cx.remove(key);
        cx.log_instead(&[b"DEL", key.bytes]);
    } else {
        cx.set_expiry(key, Some(at_ms));
        cx.log_instead(&[b"PEXPIREAT", key.bytes, itoa::Buffer::new().format(at_ms).as_bytes()]);
    }
}

#[cfg(test)]
mod tests {
    use crate::log::Position;
    use crate::testing::TestEngine;

    /// What a deadline did is told by the log; the time of the replay does nothing.
    #[test]
    fn a_late_replay_removes_nothing_by_itself() {
        let mut test = TestEngine::default();
        test.check(
            r#"
            SET a 1 EX 10 => OK
            SETEX b 10 1 => OK
            MSETEX 2 c 1 d 1 EX 10 => 1
            INCREX e EX 10 => [1, 1]
            MSET f 1 g 1 => OK
            EXPIRE f 10 => 1
            GETEX g EX 10 => "1"
            "#,
        );
        for key in ["a", "b", "c", "d", "e", "f", "g"] {
            assert_eq!(test.call(&format!("PERSIST {key}")), "1");
        }
        let mut late = TestEngine::replaying(2);
        late.clock.advance(60_000);
        late.replay(&test.engine, Position { offset: test.engine.state().log.oldest(), db: None });
        assert_eq!(late.dump(), test.dump());
    }
}
