//! One value on its own: what DUMP answers and RESTORE takes.
//!
//! ```text
//! type: u8, value, [our deadlines of fields], version: u16, checksum: u64
//! ```

use super::crc64;
use super::decode::{self, Scratch};
use super::encode;
use super::format::{AUX_DEADLINES, Flavour, is_known_version, opcode};
use super::input::{Cause, Input, ReadError};
use super::output::Output;
use crate::keyspace::value::{Value, ValueRef};
use crate::types::Limits;

const SUM_BYTES: usize = 8;

/// Why a payload is refused.
#[derive(Debug)]
pub enum RestoreError {
    /// It is not what somebody made of a value, or of a version that we do not know.
    Footer,
    Content(ReadError),
}

/// The payload of a value.
pub fn dump(value: ValueRef<'_>, flavour: Flavour) -> Vec<u8> {
    let mut out = Output::new(Vec::new(), true);
    // Writing into memory cannot fail.
    let written = encode::value(&mut out, None, value, flavour).and_then(|()| out.finish());
    let mut payload = written.unwrap_or_default();
    payload.extend_from_slice(&flavour.version().to_le_bytes());
    let sum = crc64::update(0, &payload);
    payload.extend_from_slice(&sum.to_le_bytes());
    payload
}

/// The value of a payload, which comes from outside: all of it is looked at.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Value, RestoreError> {
    let (body, version) = check_footer(payload).ok_or(RestoreError::Footer)?;
    read(body, version, limits).map_err(RestoreError::Content)
}

fn check_footer(payload: &[u8]) -> Option<(&[u8], u16)> {
    let (summed, sum) = payload.split_last_chunk::<SUM_BYTES>()?;
    let (body, version) = summed.split_last_chunk()?;
    let version = u16::from_le_bytes(*version);
    (is_known_version(version) && crc64::update(0, summed) == u64::from_le_bytes(*sum)).then_some((body, version))
}

fn read(body: &[u8], version: u16, limits: &Limits) -> Result<Value, ReadError> {
    let mut input = Input::of_len(body, body.len());
    let mut scratch = Scratch::default();
    let kind = input.byte()?;
    if !decode::is_ours(kind, version) {
        return Err(input.error(Cause::Unsupported(format!("a type of value with the number {kind}"))));
    }
    let Some(mut value) = decode::value(&mut input, kind, version, limits, &mut scratch)? else {
        return input.malformed("an empty collection");
    };
    let (mut name, mut aux) = (Vec::new(), Vec::new());
    while !input.is_at_end()? {
        if input.byte()? != opcode::AUX {
            return input.malformed("something behind the value");
        }
        input.string(&mut name)?;
        input.string(&mut aux)?;
        if name != AUX_DEADLINES {
            continue;
        }
        let Value::Hash(hash) = &mut value else { return input.malformed("deadlines of what is no hash") };
        if decode::deadlines(hash, &aux, &mut scratch).is_none() {
            return input.malformed("deadlines that are not of the hash before them");
        }
    }
    Ok(value)
}
