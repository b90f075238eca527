//! The pages that are computed from the tables: `docs/commands.md`, `docs/openapi.json`, `docs/configuration.md` and
//! `config/synap.toml`. They must be current;
//! `UPDATE_DOCS=1 cargo test -p synap-protocols --test docs` writes them.

use std::fmt::Write;
use std::path::PathBuf;

use synap_core::command::{facts, table};
use synap_core::execute::row::Command;
use synap_core::execute::state::Rows as _;
use synap_core::grammar::spec::{ArgKind, ArgSpec, Repeat, Shape, ShapeKind};
use synap_core::settings::{Kind, SETTINGS, Setting};
use synap_protocols::rest::operation::{Operation, Operations};
use synap_protocols::rest::route::{self, PREFIX};

#[test]
fn the_list_of_commands_is_current() {
    check("commands.md", &commands());
}

#[test]
fn the_openapi_document_is_current() {
    let document = Operations::of(table().all()).document(env!("CARGO_PKG_VERSION"));
    check("openapi.json", &document);
}

#[track_caller]
fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("the page is written");
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let same = there.lines().zip(text.lines()).take_while(|(there, text)| there == text).count();
    assert!(
        there == text,
        "docs/{name} is stale from line {}: UPDATE_DOCS=1 cargo test -p synap-protocols --test docs",
        same + 1
    );
}

// Writing into a String cannot fail: what `write!` returns is dropped below.

fn commands() -> String {
    let mut out = String::from(
        "# Commands\n\n\
         Computed from the table of commands by a test, not written: `UPDATE_DOCS=1 cargo test -p synap-protocols \
         --test docs`.\n\
         How a line of usage is read: `[…]` may be left out, `a | b` is one of the two, `…` may come again.\n\n",
    );
    let operations = Operations::of(table().all());
    let mut groups: Vec<&str> = Vec::new();
    for row in table().all() {
        if !groups.contains(&row.group.name) {
            groups.push(row.group.name);
        }
    }
    for group in groups {
        let rows: Vec<&Command> = table().all().iter().filter(|row| row.group.name == group).collect();
        let _ = writeln!(out, "## {group}\n");
        for row in rows {
            command(row, operations.find(row.op).expect("every row is an operation"), &mut out);
        }
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn command(row: &Command, operation: &Operation, out: &mut String) {
    let _ = writeln!(out, "### {}\n", row.name);
    let _ = writeln!(out, "```\n{}\n```\n", format!("{} {}", row.name, facts::usage(row.args)).trim_end());
    let _ = writeln!(out, "{}\n", row.summary);
    let since = if row.since == "synap" { "only here".into() } else { format!("since Redis {}", row.since) };
    let _ = writeln!(out, "- {since} · {}", row.complexity);
    let _ = writeln!(out, "- {}", routes(operation));
    let flags = row.flag_names();
    let categories: Vec<_> = row.acl_categories().names().map(|name| format!("@{name}")).collect();
    let _ = writeln!(out, "- {}", [flags.join(" "), categories.join(" ")].join(" · ").trim_start_matches(" · "));
    if !row.args.is_empty() {
        out.push_str("\nArguments:\n\n");
        arguments(row.args, 0, out);
    }
    if !matches!(row.returns.kind, ShapeKind::Nothing) {
        out.push_str("\nAnswers:\n\n");
        answer(&row.returns, 0, out);
    }
    out.push('\n');
}

fn routes(operation: &Operation) -> String {
    let row = operation.row;
    if operation.refusal().is_some() {
        return format!("`{}`, only for RESP connections", row.op);
    }
    let template = route::template(row.op, row.args);
    let mut routes = vec![format!("`POST {PREFIX}{}`", route::path(row.op))];
    let others = [("GET", operation.verbs.get), ("DELETE", operation.verbs.delete)];
    routes.extend(others.iter().filter(|(_, has)| *has).map(|(verb, _)| format!("`{verb} {PREFIX}{template}`")));
    format!("`{}`: {}", row.op, routes.join(", "))
}

fn arguments(args: &[ArgSpec], depth: usize, out: &mut String) {
    for arg in args {
        let inner = match arg.kind {
            // Options in any order stand each for itself.
            ArgKind::AnyOrder(inner) if arg.repeat == Repeat::Once => {
                arguments(inner, depth, out);
                continue;
            }
            ArgKind::Block(inner) | ArgKind::OneOf(inner) | ArgKind::AnyOrder(inner) => inner,
            _ => &[],
        };
        let mut facts = vec![kind(&arg.kind)];
        if !arg.token.is_empty() && !matches!(arg.kind, ArgKind::Flag) {
            facts.push(format!("behind `{}`", arg.token));
        } else if !arg.token.is_empty() {
            facts = vec![format!("`{}`", arg.token)];
        }
        match arg.repeat {
            Repeat::Once => {}
            Repeat::Many => facts.push("one or more".into()),
            Repeat::Counted => facts.push("one or more, behind their number".into()),
            Repeat::PerItem => facts.push("one for each that is counted".into()),
            Repeat::EachWithToken => facts.push("any number, each behind its token".into()),
        }
        if arg.optional && !matches!(arg.kind, ArgKind::Flag) {
            facts.push("optional".into());
        }
        let doc = if arg.doc.is_empty() { String::new() } else { format!(": {}", arg.doc) };
        let _ = writeln!(out, "{}- `{}` ({}){doc}", "  ".repeat(depth), arg.name, facts.join(", "));
        arguments(inner, depth + 1, out);
    }
}

fn kind(kind: &ArgKind) -> String {
    match *kind {
        ArgKind::Key(_) => "key".into(),
        ArgKind::Bytes => "bytes".into(),
        ArgKind::Pattern => "pattern".into(),
        ArgKind::Form { examples, .. } => format!("such as {}", examples.join(", ")),
        ArgKind::Channel { pattern: false } => "channel".into(),
        ArgKind::Channel { pattern: true } => "pattern of channels".into(),
        ArgKind::Int { min, max } => match (min > i64::MIN, max < i64::MAX) {
            (false, false) => "integer".into(),
            (true, false) => format!("integer from {min}"),
            (false, true) => format!("integer up to {max}"),
            (true, true) => format!("integer from {min} to {max}"),
        },
        ArgKind::Float { min: 0.0, .. } => "number from 0".into(),
        ArgKind::Float { .. } => "number".into(),
        ArgKind::Flag => "flag".into(),
        ArgKind::Block(_) => "in this order".into(),
        ArgKind::OneOf(_) => "one of".into(),
        ArgKind::AnyOrder(_) => "in any order".into(),
    }
}

fn answer(shape: &Shape, depth: usize, out: &mut String) {
    let (kind, inner) = describe(shape);
    let named = if shape.name.is_empty() { kind } else { format!("`{}` ({kind})", shape.name) };
    let doc = if shape.doc.is_empty() { String::new() } else { format!(": {}", shape.doc) };
    let _ = writeln!(out, "{}- {named}{doc}", "  ".repeat(depth));
    inner.iter().for_each(|inner| answer(inner, depth + 1, out));
}

/// What a shape is, and the shapes that are named inside it.
fn describe(shape: &Shape) -> (String, &[Shape]) {
    match shape.kind {
        ShapeKind::Ok => ("OK".into(), &[]),
        ShapeKind::Status => ("a status".into(), &[]),
        ShapeKind::Int => ("an integer".into(), &[]),
        ShapeKind::Double => ("a number".into(), &[]),
        ShapeKind::Bool => ("0 or 1, in JSON a boolean".into(), &[]),
        ShapeKind::Bytes => ("bytes".into(), &[]),
        ShapeKind::Text => ("text".into(), &[]),
        ShapeKind::Cursor => ("a cursor, as text".into(), &[]),
        ShapeKind::Optional(inner) => {
            let (kind, items) = describe(inner);
            (format!("{kind}, or null"), items)
        }
        ShapeKind::Array(Shape { kind: ShapeKind::Optional(item), .. }) => {
            let (kind, items) = describe(item);
            (format!("an array, each {kind} or null"), items)
        }
        ShapeKind::Array(item) => {
            let (kind, items) = describe(item);
            (format!("an array of {kind}"), items)
        }
        ShapeKind::Map(value) => {
            let (kind, items) = describe(value);
            (format!("a map to {kind}"), items)
        }
        ShapeKind::Tuple(items) => ("an array, in JSON an object".into(), items),
        ShapeKind::Fields(items) => ("a map".into(), items),
        ShapeKind::Pairs(items) => ("an array of pairs".into(), items),
        ShapeKind::OneOf(items) => ("one of".into(), items),
        ShapeKind::Any => ("anything".into(), &[]),
        ShapeKind::Nothing => ("nothing".into(), &[]),
    }
}

#[test]
fn the_page_of_settings_is_current() {
    check("configuration.md", &configuration());
}

#[test]
fn the_file_of_all_settings_is_current() {
    check("../config/synap.toml", &default_file());
}

const ABOUT_CONFIGURATION: &str = "\
# Configuration

Computed from the table of settings by a test, not written: `UPDATE_DOCS=1 cargo test -p synap-protocols --test docs`.

A setting has one name everywhere, that of `redis.conf`. What is said later stands over what was said before:

1. the default;
2. a file, the first argument: `synap-server /etc/synap/synap.toml`, or an existing `redis.conf`, or `-` for standard
   input. A name that ends in `.toml` is read as TOML (`maxmemory = \"1gb\"`, `port = 7000`, `appendonly = true`, lists as
   `bind = [\"127.0.0.1\", \"-::1\"]`); anything else has lines as Redis takes them, with quotes, `include` (also of a
   pattern), several `save` lines and memory as `1k` (1000), `1kb` (1024), `5mb`, `2g`;
3. the environment: `SYNAP_MAXMEMORY=1gb`, with `_` for `-`;
4. flags: `--port 7000 --maxmemory 1gb`, as redis-server takes them.

A wrong value stops the start, with the file, the line and what was expected. In TOML and among flags an unknown name does
so too; in a `redis.conf` and in the environment it is a warning with the name, and what is known without effect (see the
end of this page) is a warning when it differs from the default. `loadmodule` lines are among what is left out and
told. `user` lines, `user = [\"ann on nopass ~*\"]` in TOML, and `--user` describe users, as an ACL file does; a flag stands over
a line about the same user. `rename-command FLUSHALL \"\"` closes a command, another name instead of the empty one moves it there:
both at every door, HTTP and agents included, where a moved command is closed.

`CONFIG GET` takes names and patterns, `CONFIG SET` several settings that are set together or not at all, `CONFIG REWRITE`
writes those in force into the file that the server was started with, which keeps its comments and its order. Without an
`aclfile` it writes the users too, with digests instead of passwords.

`config/` has a file with every setting and its default (`synap.toml`), one for production and one for development.

";

fn configuration() -> String {
    let mut out = String::from(ABOUT_CONFIGURATION);
    out.push_str("## Settings\n\n| name | value | default | at run time | what it is |\n|---|---|---|---|---|\n");
    for setting in SETTINGS.iter().filter(|setting| !setting.inert) {
        let change = if setting.fixed { "" } else { "yes" };
        let _ = writeln!(out, "| {} | {} | {change} | {} |", named(setting), valued(setting), doc(setting));
    }
    out.push_str(
        "\n## Known, without effect\n\nSettings of Redis and Valkey that existing files and tools know. They are checked, \
         kept and shown; nothing follows from them.\n\n| name | value | default | why |\n|---|---|---|---|\n",
    );
    for setting in SETTINGS.iter().filter(|setting| setting.inert) {
        let _ = writeln!(out, "| {} | {} | {} |", named(setting), valued(setting), doc(setting));
    }
    out
}

fn named(setting: &Setting) -> String {
    match setting.alias {
        "" => format!("`{}`", setting.name),
        alias => format!("`{}`, `{alias}`", setting.name),
    }
}

fn valued(setting: &Setting) -> String {
    let default = if setting.default.is_empty() { "empty".into() } else { format!("`{}`", setting.default) };
    format!("{} | {default}", setting.kind.describe())
}

/// The documentation of a setting as one line.
fn doc(setting: &Setting) -> String {
    setting.doc.trim().replace("  ", " ")
}

fn default_file() -> String {
    let mut out = String::from(
        "# Every setting with its default. Computed from the table of settings, as docs/configuration.md is.\n\
         # Copy what is to be different; a file need not say the rest.\n",
    );
    for setting in SETTINGS.iter().filter(|setting| !setting.inert) {
        out.push('\n');
        for line in wrapped(&doc(setting), 117) {
            let _ = writeln!(out, "# {line}");
        }
        let value = match setting.kind {
            Kind::Int { .. } => setting.default.to_string(),
            Kind::Bool => (setting.default == "yes").to_string(),
            _ => format!("{:?}", setting.default),
        };
        let _ = writeln!(out, "{} = {value}", setting.name);
    }
    out
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_string());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
