//! What the table says about its rows: `COMMAND` in all its forms, computed.

use crate::error::{Error, Result};
use crate::execute::row::Command;
use crate::execute::state::State;
use crate::grammar::spec::{Access, ArgKind, ArgSpec, Repeat};
use crate::grammar::{Keys, Parser, Words};
use crate::reply::Reply;

/// The names of commands without subcommands, each once.
pub fn top_names(rows: &[Command]) -> Vec<String> {
    let mut names: Vec<String> = rows.iter().map(|row| row.first_word().to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// Every name in small letters: commands, containers, and subcommands behind a bar.
pub fn all_names(rows: &[Command]) -> Vec<String> {
    let is_container = |name: &String| row(rows, name).is_none();
    let containers = top_names(rows).into_iter().filter(is_container).map(|name| name.to_ascii_lowercase());
    rows.iter().map(Command::full_name).chain(containers).collect()
}

/// True when `name` is a command, a subcommand or a container of some.
pub fn exists(rows: &[Command], name: &str) -> bool {
    rows.iter().any(|row| row.name == name || row.first_word() == name)
}

fn row<'r>(rows: &'r [Command], name: &str) -> Option<&'r Command> {
    rows.iter().find(|row| row.name == name)
}

fn subcommands<'r>(rows: &'r [Command], name: &str) -> Vec<&'r Command> {
    rows.iter().filter(|row| row.name != name && row.first_word() == name).collect()
}

/// The entry of `COMMAND INFO`.
pub fn write_info(rows: &[Command], name: &str, reply: &mut dyn Reply) {
    let own = row(rows, name);
    let subs = subcommands(rows, name);
    reply.array(10);
    reply.text(&name.to_ascii_lowercase().replace(' ', "|"));
    // A container of subcommands needs at least one of their names.
    reply.int(own.filter(|_| subs.is_empty()).map_or(if own.is_some() { -1 } else { -2 }, Command::arity));
    let flags = own.map_or_else(Vec::new, Command::flag_names);
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.status(flag));
    let specs = own.map_or_else(Vec::new, key_specs);
    let (first, last, step) = legacy_range(&specs);
    reply.int(first);
    reply.int(last);
    reply.int(step);
    let categories: Vec<String> =
        own.map_or_else(Vec::new, |row| row.acl_categories().names().map(|name| format!("@{name}")).collect());
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.status(category));
    reply.array(0);
    reply.array(specs.len());
    specs.iter().for_each(|spec| spec.write(reply));
    reply.array(subs.len());
    for sub in subs {
        write_info(rows, sub.name, reply);
    }
}

/// The entry of `COMMAND DOCS`.
pub fn write_docs(rows: &[Command], name: &str, reply: &mut dyn Reply) {
    let own = row(rows, name);
    let subs = subcommands(rows, name);
    let container = format!("Commands that begin with {name}.");
    let args = own.map_or(&[][..], |row| row.args);
    reply.map(4 + usize::from(!args.is_empty()) + usize::from(!subs.is_empty()));
    reply.text("summary");
    reply.text(own.map_or(&container, |row| row.summary));
    reply.text("since");
    reply.text(own.or(subs.first().copied()).map_or("", |row| row.since));
    reply.text("group");
    reply.text(own.or(subs.first().copied()).map_or("", |row| row.group.name));
    reply.text("complexity");
    reply.text(own.map_or("Depends on subcommand.", |row| row.complexity));
    if !args.is_empty() {
        reply.text("arguments");
        write_args(args, reply);
    }
    if !subs.is_empty() {
        reply.text("subcommands");
        reply.map(subs.len());
        for sub in subs {
            reply.text(&sub.full_name());
            write_docs(rows, sub.name, reply);
        }
    }
}

/// Options in any order are listed where they stand, each on its own: Redis' documents have no word for their group.
fn flattened(args: &'static [ArgSpec]) -> Vec<&'static ArgSpec> {
    let mut flat = Vec::new();
    for arg in args {
        match arg.kind {
            ArgKind::AnyOrder(options) => flat.extend(flattened(options)),
            _ => flat.push(arg),
        }
    }
    flat
}

fn write_args(args: &'static [ArgSpec], reply: &mut dyn Reply) {
    let args = flattened(args);
    reply.array(args.len());
    for arg in args {
        let (kind, inner): (&str, &'static [ArgSpec]) = match arg.kind {
            ArgKind::Key(_) => ("key", &[]),
            ArgKind::Bytes | ArgKind::Form { .. } | ArgKind::Channel { .. } => ("string", &[]),
            ArgKind::Pattern => ("pattern", &[]),
            ArgKind::Int { .. } => ("integer", &[]),
            ArgKind::Float { .. } => ("double", &[]),
            ArgKind::Flag => ("pure-token", &[]),
            ArgKind::Block(inner) => ("block", inner),
            ArgKind::OneOf(inner) => ("oneof", inner),
            ArgKind::AnyOrder(inner) => ("block", inner),
        };
        let mut flags = Vec::new();
        if arg.optional {
            flags.push("optional");
        }
        match arg.repeat {
            Repeat::Once => {}
            Repeat::Many | Repeat::Counted | Repeat::PerItem => flags.push("multiple"),
            Repeat::EachWithToken => flags.extend(["multiple", "multiple_token"]),
        }
        let members = 2
            + usize::from(!arg.token.is_empty())
            + usize::from(!arg.doc.is_empty())
            + usize::from(!flags.is_empty())
            + usize::from(!inner.is_empty());
        reply.map(members);
        reply.text("name");
        reply.text(arg.name);
        reply.text("type");
        reply.text(kind);
        if !arg.token.is_empty() {
            reply.text("token");
            reply.text(arg.token);
        }
        if !arg.doc.is_empty() {
            reply.text("summary");
            reply.text(arg.doc);
        }
        if !flags.is_empty() {
            reply.text("flags");
            reply.array(flags.len());
            flags.iter().for_each(|flag| reply.status(flag));
        }
        if !inner.is_empty() {
            reply.text("arguments");
            write_args(inner, reply);
        }
    }
}

/// Where keys stand, as far as that can be said without a call.
struct KeySpec {
    /// A word's index, or the word after which to look.
    begin: Begin,
    /// Words from the first key to the last, `-1 - n` counted from the end.
    last: i64,
    step: i64,
    /// A word says how many keys follow it.
    counted: bool,
    access: Access,
}

enum Begin {
    Index(i64),
    Keyword(&'static str),
}

fn key_specs(row: &Command) -> Vec<KeySpec> {
    let mut specs = Vec::new();
    let mut at = Some(row.name_words() as i64);
    for (index, arg) in row.args.iter().enumerate() {
        let after: i64 = row.args[index + 1..].iter().map(|later| width(later).unwrap_or(0)).sum();
        find_keys(row, arg, at, after, &mut specs);
        at = match (at, width(arg)) {
            (Some(at), Some(width)) => Some(at + width),
            _ => None,
        };
    }
    specs
}

/// Words of an argument, when that is always the same.
fn width(arg: &ArgSpec) -> Option<i64> {
    if arg.optional || arg.repeat != Repeat::Once {
        return None;
    }
    let token = i64::from(!arg.token.is_empty() && !matches!(arg.kind, ArgKind::Flag));
    match arg.kind {
        ArgKind::Block(inner) => inner.iter().map(width).sum::<Option<i64>>().map(|sum| sum + token),
        ArgKind::OneOf(inner) => {
            let first = width(inner.first()?)?;
            inner.iter().all(|other| width(other) == Some(first)).then_some(first + token)
        }
        ArgKind::AnyOrder(_) => None,
        _ => Some(1 + token),
    }
}

fn find_keys(row: &Command, arg: &'static ArgSpec, at: Option<i64>, after: i64, specs: &mut Vec<KeySpec>) {
    let keyword = |arg: &ArgSpec| if arg.token.is_empty() { None } else { Some(arg.token) };
    match arg.kind {
        ArgKind::Key(access) => {
            let begin = match (keyword(arg), at) {
                (Some(token), _) => Begin::Keyword(token),
                (None, Some(at)) => Begin::Index(at),
                (None, None) => return,
            };
            let last = if arg.repeat == Repeat::Many { -1 - after } else { 0 };
            let counted = arg.repeat == Repeat::Counted;
            specs.push(KeySpec { begin, last, step: 1, counted, access: row.access(access) });
        }
        ArgKind::Block(inner) if matches!(arg.repeat, Repeat::Many | Repeat::Counted) => {
            let step = inner.iter().map(|inner| width(inner).unwrap_or(1)).sum();
            let counted = arg.repeat == Repeat::Counted;
            for (index, inner) in inner.iter().enumerate() {
                if let (ArgKind::Key(access), Some(at)) = (inner.kind, at) {
                    let begin = Begin::Index(at + index as i64);
                    let last = if counted { 0 } else { -1 };
                    specs.push(KeySpec { begin, last, step, counted, access: row.access(access) });
                }
            }
        }
        ArgKind::Block(inner) | ArgKind::AnyOrder(inner) | ArgKind::OneOf(inner) => {
            inner.iter().for_each(|inner| find_keys(row, inner, None, 0, specs));
        }
        _ => {}
    }
}

/// Where the keys of a row stand: first, last and step, zeros when there is no fixed first one; and what the command
/// does with them, as far as that is known without a call.
pub fn key_positions(row: &Command) -> ((i64, i64, i64), Vec<Access>) {
    let specs = key_specs(row);
    (legacy_range(&specs), specs.iter().map(|spec| spec.access).collect())
}

/// First key, last key and step of the old form: zeros when there is no fixed first key.
fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let fixed = |spec: &KeySpec| match spec.begin {
        Begin::Index(at) if !spec.counted => Some((at, if spec.last != 0 { spec.last } else { at }, spec.step)),
        _ => None,
    };
    let mut fixed = specs.iter().filter_map(fixed);
    match (fixed.next(), fixed.next_back()) {
        (None, _) => (0, 0, 0),
        (Some(only), None) => only,
        (Some((first, _, step)), Some((_, last, _))) => (first, last, step),
    }
}

impl KeySpec {
    fn write(&self, reply: &mut dyn Reply) {
        reply.map(3);
        reply.text("flags");
        let flags: Vec<_> = self.access.names().collect();
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.status(flag));
        reply.text("begin_search");
        reply.map(2);
        reply.text("type");
        match self.begin {
            Begin::Index(at) => {
                reply.text("index");
                reply.text("spec");
                reply.map(1);
                reply.text("index");
                reply.int(at);
            }
            Begin::Keyword(token) => {
                reply.text("keyword");
                reply.text("spec");
                reply.map(2);
                reply.text("keyword");
                reply.text(token);
                reply.text("startfrom");
                reply.int(1);
            }
        }
        reply.text("find_keys");
        reply.map(2);
        reply.text("type");
        if self.counted {
            reply.text("keynum");
            reply.text("spec");
            reply.map(3);
            reply.text("keynumidx");
            reply.int(0);
            reply.text("firstkey");
            reply.int(1);
            reply.text("keystep");
            reply.int(self.step);
            return;
        }
        reply.text("range");
        reply.text("spec");
        reply.map(3);
        reply.text("lastkey");
        reply.int(self.last);
        reply.text("keystep");
        reply.int(self.step);
        reply.text("limit");
        reply.int(0);
    }
}

/// The keys of a call with what the call does with them: found by the parser that the call itself would pass.
pub fn keys_of<'w>(state: &State, words: Words<'w>) -> Result<Vec<(&'w [u8], Access)>> {
    const NO_KEYS: Error = Error::err("The command has no key arguments");
    let row = state.table.find(words).map_err(|_| Error::err("Invalid command specified"))?;
    let count = words.len() - row.name_words().min(words.len());
    if count < row.min_words || (row.fixed && count > row.min_words) {
        return Err(Error::err("Invalid number of arguments specified for command"));
    }
    let mut keys = Keys::default();
    let mut parser = Parser::new(words, row.name_words(), state.hasher, &mut keys);
    // A call with a wrong option still touches its keys.
    let parsed = (row.run.plan)(&mut parser);
    if keys.keys.is_empty() {
        let is_wrong = parsed.is_err() && may_have_keys(row.args);
        return Err(if is_wrong { Error::err("Invalid arguments specified for command") } else { NO_KEYS });
    }
    Ok(keys.keys.iter().map(|key| (words[key.index as usize], row.access(key.access))).collect())
}

fn may_have_keys(args: &[ArgSpec]) -> bool {
    args.iter().any(|arg| match arg.kind {
        ArgKind::Key(_) => true,
        ArgKind::Block(inner) | ArgKind::AnyOrder(inner) | ArgKind::OneOf(inner) => may_have_keys(inner),
        _ => false,
    })
}

/// `… HELP`: one line for each subcommand and one for its summary.
pub fn write_help(rows: &[Command], container: &str, reply: &mut dyn Reply) {
    let subs = subcommands(rows, container);
    reply.array(1 + subs.len() * 2);
    reply.status(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in subs {
        reply.status(format!("{} {}", sub.name.rsplit(' ').next().unwrap_or(sub.name), usage(sub.args)).trim_end());
        reply.status(&format!("    {}", sub.summary));
    }
}

/// The arguments as a line of usage: `key [NX|XX] [EX seconds]`.
pub fn usage(args: &[ArgSpec]) -> String {
    args.iter().map(usage_of).collect::<Vec<_>>().join(" ")
}

fn usage_of(arg: &ArgSpec) -> String {
    let core = match arg.kind {
        ArgKind::Flag => String::new(),
        ArgKind::Block(inner) => usage(inner),
        ArgKind::AnyOrder(inner) => return usage(inner),
        ArgKind::OneOf(inner) => {
            let choices = inner.iter().map(usage_of).collect::<Vec<_>>().join(" | ");
            if arg.optional { choices } else { format!("<{choices}>") }
        }
        _ => arg.name.replace('_', "-"),
    };
    let with_token = [arg.token, &core].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ");
    let repeated = match arg.repeat {
        Repeat::Once => with_token,
        Repeat::Many | Repeat::PerItem => format!("{with_token} [{core} ...]"),
        Repeat::Counted => format!("{} count {core} [{core} ...]", arg.token).trim_start().to_string(),
        Repeat::EachWithToken => format!("{with_token} [{with_token} ...]"),
    };
    if arg.optional { format!("[{repeated}]") } else { repeated }
}
