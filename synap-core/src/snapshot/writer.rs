//! A file, key by key.

use std::io::{self, Write};

use super::encode;
use super::format::{AUX_DB, AUX_HISTORY, AUX_OFFSET, Flavour, opcode};
use super::output::Output;
use super::{Position, Usage};
use crate::keyspace::value::ValueRef;

#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    pub flavour: Flavour,
    /// Shortens strings that repeat themselves; the setting `rdbcompression`.
    pub compress: bool,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions { flavour: Flavour::default(), compress: true }
    }
}

/// What a file says about itself.
#[derive(Clone, Debug, Default)]
pub struct Header<'a> {
    /// The version of Redis whose behaviour we have.
    pub redis_version: &'a str,
    /// Unix time in seconds.
    pub created_s: i64,
    pub used_memory: u64,
    /// None for a file that is only to be read elsewhere.
    pub position: Option<Position>,
}

/// Writes one file. Dropped without [`Writer::finish`] it leaves one that nobody takes for whole.
pub struct Writer<W> {
    out: Output<W>,
    flavour: Flavour,
    db: Option<u32>,
}

impl<W: Write> Writer<W> {
    pub fn new(sink: W, options: WriteOptions) -> io::Result<Writer<W>> {
        let mut out = Output::new(sink, options.compress);
        out.put(options.flavour.magic())?;
        Ok(Writer { out, flavour: options.flavour, db: None })
    }

    /// What it writes to; not all has come there yet.
    pub fn sink(&mut self) -> &mut W {
        self.out.sink()
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn header(&mut self, header: &Header<'_>) -> io::Result<()> {
        let mut digits = itoa::Buffer::new();
        self.aux(b"redis-ver", header.redis_version.as_bytes())?;
        self.aux(b"redis-bits", b"64")?;
        self.aux(b"ctime", digits.format(header.created_s).as_bytes())?;
        self.aux(b"used-mem", digits.format(header.used_memory).as_bytes())?;
        let Some(position) = &header.position else { return Ok(()) };
        // A replica of ours or of Redis goes by their names, our recovery by ours: see `Position::hear`.
        let names = [[&b"repl-stream-db"[..], b"repl-id", b"repl-offset"], [AUX_DB, AUX_HISTORY, AUX_OFFSET]];
        for [db, history, offset] in names {
            if let Some(number) = position.db {
                self.aux(db, digits.format(number).as_bytes())?;
            }
            self.aux(history, position.history.as_bytes())?;
            self.aux(offset, digits.format(position.offset).as_bytes())?;
        }
        Ok(())
    }

    /// A field that whoever does not know its name skips.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        encode::aux(&mut self.out, name, value)
    }

    /// A library of functions, as its text.
    pub fn function(&mut self, library: &[u8]) -> io::Result<()> {
        self.out.byte(opcode::FUNCTION_2)?;
        self.out.string(library)
    }

    /// How many keys of a database follow, and how many of them have a deadline; a hint.
    pub fn sizes(&mut self, db: u32, keys: u64, volatile: u64) -> io::Result<()> {
        self.select(db)?;
        self.out.byte(opcode::RESIZE_DB)?;
        self.out.length(keys)?;
        self.out.length(volatile)
    }

    /// A key with its value, its deadline in Unix milliseconds, and how it is used.
    pub fn key(
        &mut self,
        db: u32,
        key: &[u8],
        value: ValueRef<'_>,
        deadline_ms: Option<i64>,
        usage: Usage,
    ) -> io::Result<()> {
        self.select(db)?;
        if let Some(deadline_ms) = deadline_ms {
            self.out.byte(opcode::EXPIRE_MS)?;
            self.out.put(&deadline_ms.to_le_bytes())?;
        }
        if let Some(idle_s) = usage.idle_s {
            self.out.byte(opcode::IDLE)?;
            self.out.length(idle_s)?;
        }
        if let Some(frequency) = usage.frequency {
            self.out.put(&[opcode::FREQUENCY, frequency])?;
        }
        encode::value(&mut self.out, Some(key), value, self.flavour)
    }

    /// What is written to. A piece at the end is still kept back, so a sink in memory can be emptied at any time.
    pub fn sink_mut(&mut self) -> &mut W {
        self.out.sink_mut()
    }

    /// Ends the file and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.byte(opcode::END)?;
        let sum = self.out.sum()?;
        self.out.put(&sum.to_le_bytes())?;
        self.out.finish()
    }

    fn select(&mut self, db: u32) -> io::Result<()> {
        if self.db == Some(db) {
            return Ok(());
        }
        self.db = Some(db);
        self.out.byte(opcode::SELECT_DB)?;
        self.out.length(u64::from(db))
    }
}
