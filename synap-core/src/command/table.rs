//! The list of all rows, and how a call finds its own.

use std::sync::OnceLock;

use super::{
    acl, api_key, bitmap, client, connection, counter, dump, generic, geo, hash, hash_expiry, hyperloglog, info,
    latency, list, memory, migrate, persistence, pubsub, server, set, set_algebra, slowlog, sort, status, string,
    substring, tracking, transaction, zset, zset_algebra, zset_pop, zset_range,
};
use crate::access::Category;
use crate::error::{Error, Result};
use crate::execute::row::{Command, Guise};
use crate::execute::state::{Rows, State};
use crate::grammar::Words;
use crate::session::Client;

/// One file per group; the order is that of the documentation.
const GROUPS: &[&[Command]] = &[
    string::COMMANDS,
    counter::COMMANDS,
    substring::COMMANDS,
    bitmap::COMMANDS,
    hash::COMMANDS,
    hash_expiry::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    zset::COMMANDS,
    zset_range::COMMANDS,
    zset_pop::COMMANDS,
    zset_algebra::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    generic::COMMANDS,
    dump::COMMANDS,
    sort::COMMANDS,
    transaction::COMMANDS,
    pubsub::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    tracking::COMMANDS,
    acl::COMMANDS,
    api_key::COMMANDS,
    migrate::COMMANDS,
    persistence::COMMANDS,
    server::COMMANDS,
    info::COMMANDS,
    status::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
];

/// A name is looked up as one number. The few that are longer are compared one by one.
const NAME_BYTES_MAX: usize = size_of::<u128>();

/// All rows with an index of their names. Open addressing over a power of two of slots, at most half full.
pub struct Table {
    rows: &'static [Command],
    /// The rows whose names clients may use.
    open: &'static [Command],
    /// Indexes of `entries`, plus one; zero is free.
    slots: Box<[u16]>,
    entries: Vec<Entry>,
}

/// What a first word leads to.
struct Entry {
    /// `word` as [`fold`] reads it.
    folded: u128,
    word: &'static str,
    row: Option<&'static Command>,
    subcommands: Vec<(&'static str, &'static Command)>,
    is_closed: bool,
}

impl Entry {
    fn new(word: &'static str) -> Entry {
        let folded = if is_long(word.as_bytes()) { 0 } else { fold(word.as_bytes()) };
        Entry { folded, word, row: None, subcommands: Vec::new(), is_closed: false }
    }

    /// The same rows under another name, or under a closed one.
    fn disguised(&self, word: &'static str, guise: fn(&'static Command) -> Guise) -> Entry {
        let disguise = |row: &'static Command| &*Box::leak(Box::new(row.disguised(guise(row))));
        Entry {
            row: self.row.map(disguise),
            subcommands: self.subcommands.iter().map(|(sub, row)| (*sub, disguise(row))).collect(),
            ..Entry::new(word)
        }
    }
}

/// The one table.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut rows: Vec<Command> = GROUPS.concat();
        for (id, row) in rows.iter_mut().enumerate() {
            row.id = id;
            row.first_key = row.key_is_first();
        }
        Table::new(rows.leak())
    })
}

impl Table {
    fn new(rows: &'static [Command]) -> Table {
        let mut entries: Vec<Entry> = Vec::new();
        for row in rows {
            let word = row.first_word();
            let index = entries.iter().position(|entry| entry.word == word).unwrap_or_else(|| {
                entries.push(Entry::new(word));
                entries.len() - 1
            });
            match row.name.split_once(' ') {
                None => entries[index].row = Some(row),
                Some((_, sub)) => entries[index].subcommands.push((sub, row)),
            }
        }
        Table { rows, open: rows, slots: index(&entries), entries }
    }

    /// The table after `rename-command`: each a command's name and its new one, which is empty when nobody is to use it.
    /// Made once, at a start.
    pub fn renamed(renames: &[(String, String)]) -> Result<&'static Table, &'static str> {
        let mut entries = Table::new(table().rows).entries;
        let mut closed: Vec<&'static str> = Vec::new();
        for (from, to) in renames {
            let find = |name: &str| entries.iter().position(|entry| entry.word.eq_ignore_ascii_case(name));
            let known = find(from).filter(|index| !entries[*index].is_closed);
            let index = known.ok_or("No such command in rename-command")?;
            if !to.is_empty() && find(to).is_some() {
                return Err("Target command name already exists");
            }
            let is_own = entries[index].rows().all(|row| matches!(row.guise, Guise::None));
            if !is_own {
                return Err("No such command in rename-command");
            }
            if !to.is_empty() {
                let new = entries[index].disguised(to.clone().leak(), Guise::Renamed);
                entries.push(new);
            }
            closed.push(entries[index].word);
            entries[index] = Entry { is_closed: true, ..entries[index].disguised(entries[index].word, Guise::Closed) };
        }
        let open: Vec<Command> =
            table().rows.iter().filter(|row| !closed.contains(&row.first_word())).copied().collect();
        Ok(Box::leak(Box::new(Table { rows: table().rows, open: open.leak(), slots: index(&entries), entries })))
    }
}

impl Entry {
    fn rows(&self) -> impl Iterator<Item = &'static Command> {
        self.row.into_iter().chain(self.subcommands.iter().map(|(_, row)| *row))
    }
}

/// Where names stand among the entries.
fn index(entries: &[Entry]) -> Box<[u16]> {
    let size = (entries.len() * 2).next_power_of_two();
    let mut slots = vec![0_u16; size].into_boxed_slice();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| !is_long(entry.word.as_bytes())) {
        let mut slot = hash(entry.folded) as usize & (size - 1);
        while slots[slot] != 0 {
            slot = (slot + 1) & (size - 1);
        }
        slots[slot] = index as u16 + 1;
    }
    slots
}

impl Table {
    #[inline]
    fn entry(&self, word: &[u8]) -> Option<&Entry> {
        if is_long(word) {
            return self.long_entry(word);
        }
        let mask = self.slots.len() - 1;
        let folded = fold(word);
        let mut slot = hash(folded) as usize & mask;
        loop {
            let index = self.slots[slot] as usize;
            let entry = self.entries.get(index.checked_sub(1)?)?;
            if entry.folded == folded && entry.word.len() == word.len() {
                return Some(entry);
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn long_entry(&self, word: &[u8]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.word.as_bytes().eq_ignore_ascii_case(word))
    }
}

#[inline]
fn is_long(word: &[u8]) -> bool {
    word.len() > NAME_BYTES_MAX
}

/// A word of at most [`NAME_BYTES_MAX`] bytes as a number that is the same for small letters and capitals. Names are
/// made of letters and underscores, for which nothing else that a client sends as text gives the same number.
#[inline]
fn fold(word: &[u8]) -> u128 {
    const NOT_CASE: u128 = u128::from_ne_bytes([0xdf; 16]);
    let mut bytes = [0; NAME_BYTES_MAX];
    match word.len() {
        // Two loads that overlap instead of a loop over bytes.
        len @ 8..=16 => {
            bytes[..8].copy_from_slice(&word[..8]);
            bytes[len - 8..len].copy_from_slice(&word[len - 8..]);
        }
        len @ 4..=7 => {
            bytes[..4].copy_from_slice(&word[..4]);
            bytes[len - 4..len].copy_from_slice(&word[len - 4..]);
        }
        len => bytes[..len].copy_from_slice(word),
    }
    u128::from_le_bytes(bytes) & NOT_CASE
}

#[inline]
fn hash(folded: u128) -> u32 {
    let mixed = (folded as u64 ^ (folded >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

impl Rows for Table {
    #[inline]
    fn find(&self, words: Words<'_>) -> Result<&'static Command> {
        let Some(entry) = words.first().and_then(|word| self.entry(word)) else { return Err(unknown(words)) };
        if entry.subcommands.is_empty() {
            return entry.row.ok_or_else(|| unknown(words));
        }
        match (words.get(1), entry.row) {
            (None, Some(row)) => Ok(row),
            (None, None) if entry.is_closed => Err(unknown(words)),
            (None, None) => Err(Error::arity(entry.word)),
            (Some(word), _) => {
                let found = entry.subcommands.iter().find(|(sub, _)| sub.as_bytes().eq_ignore_ascii_case(word));
                found.map(|(_, row)| *row).ok_or_else(|| {
                    if entry.is_closed {
                        return unknown(words);
                    }
                    Error::fmt(format!("unknown subcommand '{}'. Try {} HELP.", Error::quote(word), entry.word))
                })
            }
        }
    }

    fn all(&self) -> &'static [Command] {
        self.rows
    }

    fn open(&self) -> &'static [Command] {
        self.open
    }

    fn unknown(&self, words: Words<'_>) -> Error {
        unknown(words)
    }

    fn describe(&self, client: &Client, state: &State, now_ms: i64) -> String {
        let mut line = String::new();
        client::describe(client, state, now_ms, &mut line);
        line
    }
}

impl crate::access::Rows for Table {
    fn by_name(&self, name: &str) -> Vec<usize> {
        let name = name.to_ascii_uppercase().replace('|', " ");
        self.rows.iter().filter(|row| row.name == name || row.first_word() == name).map(|row| row.id).collect()
    }

    fn by_category(&self, category: Category) -> Vec<usize> {
        self.rows.iter().filter(|row| row.acl_categories().has(category)).map(|row| row.id).collect()
    }

    fn has_subcommands(&self, name: &str) -> bool {
        // Redis has one command DEBUG, whose first arguments old rules name.
        const OPEN: &[&str] = &["DEBUG"];
        let entry = self.entry(name.as_bytes()).filter(|entry| !OPEN.contains(&entry.word));
        entry.is_some_and(|entry| !entry.subcommands.is_empty())
    }

    fn count(&self) -> usize {
        self.rows.len()
    }
}

/// Redis' words: the name and the beginning of the arguments, cut at 128 bytes each.
#[cold]
fn unknown(words: Words<'_>) -> Error {
    let name = words.first().map_or_else(String::new, |word| Error::quote(word));
    let mut args = String::new();
    for word in words.iter().skip(1) {
        if args.len() >= 128 {
            break;
        }
        args.push_str(&format!("'{}' ", Error::quote(&word[..word.len().min(128 - args.len())])));
    }
    Error::fmt(format!("unknown command '{name}', with args beginning with: {args}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_nothing_else_is() {
        let found = |words: &[&[u8]]| table().find(words).map(|row| row.name);
        for row in table().all() {
            let mixed: String = row
                .name
                .chars()
                .enumerate()
                .map(|(i, c)| if i % 2 == 0 { c.to_ascii_lowercase() } else { c })
                .collect();
            let words: Vec<&[u8]> = mixed.split(' ').map(str::as_bytes).collect();
            assert_eq!(found(&words).ok(), Some(row.name));
        }
        for wrong in [
            &b"GET "[..],
            b"GET\0",
            b"",
            b"GE",
            b"GETT",
            b"COMMANDCOMMANDCOMMAND",
            b"GEORADIUSBYMEMBERS",
            b"\xff\xff\xff",
        ] {
            assert!(found(&[wrong]).is_err(), "{wrong:?}");
        }
    }
}
