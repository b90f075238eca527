//! A file, key by key.

use std::io::Read;

use super::Usage;
use super::decode::{self, Scratch};
use super::format::{AUX_DEADLINES, MAGIC_BYTES, VERSION_CHECKSUM_MIN, VERSION_VALKEY, is_known_version, kind, opcode};
use super::input::{Cause, Input, ReadError, Result};
use super::skip;
use crate::keyspace::entry::{Entry, KEY_BYTES_MAX};
use crate::keyspace::value::Value;
use crate::types::Limits;

#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// When a collection is compact.
    pub limits: Limits,
    pub unsupported: Unsupported,
    /// How many databases there may be.
    pub databases: u32,
    /// False reads on over a wrong checksum.
    pub checksum: bool,
}

/// As many as a server can be told to have.
const DATABASES_MAX: u32 = 65535;

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            limits: Limits::default(),
            unsupported: Unsupported::Refuse,
            databases: DATABASES_MAX,
            checksum: true,
        }
    }
}

/// What becomes of a value that we have no type for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// Reading ends with an error.
    Refuse,
    /// It is told as an [`Item::Skipped`].
    Skip,
}

/// One thing in a file.
pub enum Item {
    /// A field about the file; see [`super::Position::hear`]. Unknown names are to be ignored.
    Aux {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// A library of functions, as its text.
    Function(Vec<u8>),
    /// How many keys of a database follow, and how many of them have a deadline: a hint, not to be trusted.
    Sizes {
        db: u32,
        keys: u64,
        volatile: u64,
    },
    Key(Key),
    Skipped(Skipped),
}

/// A key as it is to be stored, with its value and its deadline.
pub struct Key {
    pub db: u32,
    pub entry: Entry,
    pub usage: Usage,
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The collection is empty: old versions wrote such keys by mistake, and Redis leaves them out.
    Empty {
        db: u32,
        key: Vec<u8>,
    },
    Stream {
        db: u32,
        key: Vec<u8>,
    },
    Module {
        db: u32,
        key: Vec<u8>,
        name: String,
    },
    /// A module's data that belongs to no key.
    ModuleData {
        name: String,
    },
    /// Slots that a node of a cluster was about to take over.
    SlotImport,
}

/// Reads one file, as an iterator of its items.
///
/// What was read counts for nothing until the iterator has ended without an error: the checksum stands at the end.
pub struct Reader<R> {
    input: Input<R>,
    options: ReadOptions,
    version: u16,
    db: u32,
    /// What was read ahead behind a hash, to see whether deadlines follow it.
    opcode: Option<u8>,
    item: Option<Item>,
    scratch: Scratch,
    key: Vec<u8>,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads what a file begins with.
    pub fn new(source: R, options: ReadOptions) -> Result<Reader<R>> {
        let mut input = Input::new(source);
        let version = version_of(&input.array()?);
        let Some(version) = version else { return Err(ReadError { offset: 0, cause: Cause::Malformed("no RDB") }) };
        if !is_known_version(version) {
            return Err(input.error(Cause::Unsupported(format!("version {version} of the format"))));
        }
        let (scratch, key) = (Scratch::default(), Vec::new());
        Ok(Reader { input, options, version, db: 0, opcode: None, item: None, scratch, key, ended: false })
    }

    /// The version of the format.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Bytes that were read.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// True when nothing follows the end of the file.
    pub fn is_at_end(&mut self) -> Result<bool> {
        self.input.is_at_end()
    }

    /// The source, and what was read of it beyond the end of the file: in a stream, something follows.
    pub fn into_rest(self) -> (R, Vec<u8>) {
        self.input.into_rest()
    }

    fn read(&mut self) -> Result<Option<Item>> {
        if let Some(item) = self.item.take() {
            return Ok(Some(item));
        }
        let mut usage = Usage::default();
        let mut deadline_ms = None;
        loop {
            let opcode = match self.opcode.take() {
                Some(opcode) => opcode,
                None => self.input.byte()?,
            };
            match opcode {
                opcode::EXPIRE_MS => deadline_ms = Some(self.input.i64()?),
                opcode::EXPIRE_S => deadline_ms = Some(i64::from(i32::from_le_bytes(self.input.array()?)) * 1000),
                opcode::IDLE => usage.idle_s = Some(self.input.length()?),
                opcode::FREQUENCY => usage.frequency = Some(self.input.byte()?),
                opcode::SELECT_DB => match u32::try_from(self.input.length()?) {
                    Ok(db) if db >= self.options.databases => {
                        return Err(self.input.error(Cause::Database { db, databases: self.options.databases }));
                    }
                    Ok(db) => self.db = db,
                    Err(_) => return self.input.malformed("the number of a database"),
                },
                opcode::SLOT_INFO => {
                    // A slot, and how many keys it has: hints.
                    for _ in 0..3 {
                        self.input.length()?;
                    }
                }
                opcode::RESIZE_DB => {
                    let (keys, volatile) = (self.input.length()?, self.input.length()?);
                    return Ok(Some(Item::Sizes { db: self.db, keys, volatile }));
                }
                opcode::AUX => return self.aux().map(Some),
                opcode::FUNCTION_2 => return self.function().map(Some),
                opcode::FUNCTION_PRE_GA => {
                    let what = "functions of a release candidate of Redis 7.0".to_string();
                    return Err(self.input.error(Cause::Unsupported(what)));
                }
                opcode::MODULE_AUX => return self.module_data().map(Some),
                opcode::SLOT_IMPORT if self.version >= VERSION_VALKEY => return self.slot_import().map(Some),
                opcode::END => return self.end().map(|()| None),
                kind => return self.key(kind, deadline_ms, usage).map(Some),
            }
        }
    }

    fn key(&mut self, kind: u8, deadline_ms: Option<i64>, usage: Usage) -> Result<Item> {
        let is_ours = decode::is_ours(kind, self.version);
        if !is_ours && !matches!(kind, kind::MODULE_PRE_GA | kind::MODULE_2) && !is_stream(kind) {
            let what = format!("a type of value with the number {kind}");
            return Err(self.input.error(Cause::Unsupported(what)));
        }
        self.input.string(&mut self.key)?;
        if self.key.len() > KEY_BYTES_MAX {
            return self.input.malformed("a key of more than 512 MB");
        }
        if !is_ours {
            return self.skip(kind);
        }
        let entry = if kind == kind::STRING {
            self.input.string(&mut self.scratch.string)?;
            Entry::of_string(&self.key, &self.scratch.string)
        } else {
            let value = decode::value(&mut self.input, kind, self.version, &self.options.limits, &mut self.scratch)?;
            let Some(mut value) = value else {
                return Ok(Item::Skipped(Skipped::Empty { db: self.db, key: self.key.clone() }));
            };
            if kind == kind::HASH {
                self.deadlines(&mut value)?;
            }
            Entry::new(&self.key, value)
        };
        Ok(Item::Key(Key { db: self.db, entry: entry.until(deadline_ms), usage }))
    }

    /// Gives a hash the deadlines that follow it in auxiliary fields of ours.
    fn deadlines(&mut self, value: &mut Value) -> Result<()> {
        let Value::Hash(hash) = value else { return Ok(()) };
        while !self.input.is_at_end()? {
            match self.input.byte()? {
                opcode::AUX => {}
                other => {
                    self.opcode = Some(other);
                    break;
                }
            }
            match self.aux()? {
                Item::Aux { name, value } if name == AUX_DEADLINES => {
                    if decode::deadlines(hash, &value, &mut self.scratch).is_none() {
                        return self.input.malformed("deadlines that are not of the hash before them");
                    }
                }
                other => {
                    self.item = Some(other);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Passes over the value of `self.key`, or refuses it.
    fn skip(&mut self, kind: u8) -> Result<Item> {
        let (db, key) = (self.db, self.key.clone());
        let (skipped, what) = if is_stream(kind) {
            (Skipped::Stream { db, key }, "a stream".to_string())
        } else {
            let name = if kind == kind::MODULE_2 { skip::module_name(self.input.length()?) } else { String::new() };
            let what = format!("a value of the module type {name:?}");
            (Skipped::Module { db, key, name }, what)
        };
        // Values of the release candidates of modules do not say where they end.
        if self.options.unsupported == Unsupported::Refuse || kind == kind::MODULE_PRE_GA {
            let what = format!("{what}, which the key \"{}\" of database {db} holds", self.key.escape_ascii());
            return Err(self.input.error(Cause::Unsupported(what)));
        }
        if kind == kind::MODULE_2 {
            skip::module(&mut self.input)?;
        } else {
            skip::stream(&mut self.input, kind)?;
        }
        Ok(Item::Skipped(skipped))
    }

    fn aux(&mut self) -> Result<Item> {
        let (mut name, mut value) = (Vec::new(), Vec::new());
        self.input.string(&mut name)?;
        self.input.string(&mut value)?;
        Ok(Item::Aux { name, value })
    }

    fn function(&mut self) -> Result<Item> {
        let mut library = Vec::new();
        self.input.string(&mut library)?;
        Ok(Item::Function(library))
    }

    fn module_data(&mut self) -> Result<Item> {
        let name = skip::module_name(self.input.length()?);
        // When it is to be loaded is itself a part of it.
        skip::module(&mut self.input)?;
        Ok(Item::Skipped(Skipped::ModuleData { name }))
    }

    fn slot_import(&mut self) -> Result<Item> {
        self.input.skip_string()?;
        for _ in 0..self.input.length()? {
            self.input.length()?;
            self.input.length()?;
        }
        Ok(Item::Skipped(Skipped::SlotImport))
    }

    fn end(&mut self) -> Result<()> {
        self.ended = true;
        if self.version < VERSION_CHECKSUM_MIN {
            return Ok(());
        }
        let computed = self.input.sum();
        let found = u64::from_le_bytes(self.input.array()?);
        // Zero: it was written without one.
        if self.options.checksum && found != 0 && found != computed {
            return Err(self.input.error(Cause::Checksum { found, computed }));
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        if self.ended {
            return None;
        }
        let read = self.read();
        self.ended |= read.is_err();
        read.transpose()
    }
}

fn is_stream(kind: u8) -> bool {
    matches!(kind, kind::STREAM | kind::STREAM_2 | kind::STREAM_3)
}

/// The version of the format that a file begins with: `REDIS` and four digits, or `VALKEY` and three.
fn version_of(magic: &[u8; MAGIC_BYTES]) -> Option<u16> {
    let (digits, is_valkey) = match magic.strip_prefix(b"REDIS") {
        Some(digits) => (digits, false),
        None => (magic.strip_prefix(b"VALKEY")?, true),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
    (is_valkey == (version >= VERSION_VALKEY)).then_some(version)
}
