//! Values that we have no type for: their bytes are passed over, so that loading goes on behind them.

use std::io::Read;

use super::format::kind;
use super::input::{Input, Result};

/// A stream: its listpacks, its ids, its groups with what was delivered and to whom.
pub(super) fn stream<R: Read>(input: &mut Input<R>, kind: u8) -> Result<()> {
    let has_ids = kind != kind::STREAM;
    let has_active_time = kind == kind::STREAM_3;
    for _ in 0..input.length()? {
        // The first id of a listpack, and the listpack.
        input.skip_string()?;
        input.skip_string()?;
    }
    // Length and last id; then first id, largest deleted id, entries ever added.
    lengths(input, if has_ids { 8 } else { 3 })?;
    for _ in 0..input.length()? {
        input.skip_string()?;
        // The last delivered id, and how many entries were read.
        lengths(input, if has_ids { 3 } else { 2 })?;
        for _ in 0..input.length()? {
            // Id and time of a delivery, and how often there was one.
            input.pass(16 + 8)?;
            input.length()?;
        }
        for _ in 0..input.length()? {
            input.skip_string()?;
            input.pass(if has_active_time { 16 } else { 8 })?;
            for _ in 0..input.length()? {
                input.pass(16)?;
            }
        }
    }
    Ok(())
}

fn lengths<R: Read>(input: &mut Input<R>, count: usize) -> Result<()> {
    (0..count).try_for_each(|_| input.length().map(drop))
}

/// A module's value behind its id: parts, each with a mark of its type, until the end mark.
pub(super) fn module<R: Read>(input: &mut Input<R>) -> Result<()> {
    loop {
        match input.length()? {
            0 => return Ok(()),
            1 | 2 => drop(input.length()?),
            3 => input.pass(4)?,
            4 => input.pass(8)?,
            5 => input.skip_string()?,
            _ => return input.malformed("an unknown part of a module's value"),
        }
    }
}

/// The name of a module's type, which its id spells in nine characters of six bits above a version of ten.
pub(super) fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|at| char::from(CHARACTERS[(id >> (64 - 6 * (at + 1))) as usize & 63])).collect()
}
