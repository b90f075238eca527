//! Further names of operations, as people type them: `kv.get`, `list.push`. A name and nothing else: arguments, reply and
//! rights are those of the row, and the doors compute routes, documents and tools from both alike.

use super::{list, string};
use crate::execute::row::Tool;
use crate::grammar::spec::{ArgKind, ArgSpec, Repeat};

/// Another name of a row, or one name of several rows that take the same arguments.
#[derive(Clone, Copy, Debug)]
pub struct Alias {
    /// `list.push`; a single word is a route of its own (`GET /api/v1/info`).
    pub op: &'static str,
    /// The ops of the rows that it stands for. Of several, the first argument of `args` chooses one.
    pub rows: &'static [&'static str],
    /// The arguments where they are not those of the row: a choice with a token for each of `rows`, and theirs.
    pub args: &'static [ArgSpec],
    /// An argument that may be left out, and that a path may end with all the same.
    pub segment: &'static str,
    /// How agents see the name. The rows have tools of their own beside it.
    pub tool: Tool,
}

/// The value itself as the body of `PUT /api/v1/{path}/{key}`.
#[derive(Clone, Copy, Debug)]
pub struct Put {
    pub path: &'static str,
    pub row: &'static str,
    /// The argument that the body is.
    pub body: &'static str,
}

pub const PUTS: &[Put] = &[Put { path: "kv", row: string::SET.op, body: "value" }];

pub const ALIASES: &[Alias] = &[
    essential("kv.set", &["string.set"]),
    essential("kv.get", &["string.get"]),
    named("kv.mset", &["string.mset"]),
    named("kv.mget", &["string.mget"]),
    named("kv.incr", &["string.incr"]),
    named("kv.incrby", &["string.incrby"]),
    named("kv.append", &["string.append"]),
    essential("kv.del", &["key.del"]),
    named("kv.exists", &["key.exists"]),
    named("kv.type", &["key.type"]),
    essential("kv.expire", &["key.expire"]),
    named("kv.ttl", &["key.ttl"]),
    named("kv.persist", &["key.persist"]),
    named("kv.rename", &["key.rename"]),
    essential("kv.scan", &["key.scan"]),
    Alias {
        args: &[POSITION, list::LPUSH.args[0], list::LPUSH.args[1]],
        ..essential("list.push", &["list.lpush", "list.rpush"])
    },
    Alias {
        args: &[POSITION, list::LPOP.args[0], list::LPOP.args[1]],
        ..essential("list.pop", &["list.lpop", "list.rpop"])
    },
    Alias { segment: "section", ..named("info", &["server.info"]) },
    // Where there is no such row yet, there is no such name.
    Alias { segment: "count", ..named("slowlog", &["slowlog.get"]) },
];

const fn named(op: &'static str, rows: &'static [&'static str]) -> Alias {
    Alias { op, rows, args: &[], segment: "", tool: Tool::Full }
}

/// One that agents have before they ask for more.
const fn essential(op: &'static str, rows: &'static [&'static str]) -> Alias {
    Alias { tool: Tool::Default, ..named(op, rows) }
}

/// Which end of a list.
const POSITION: ArgSpec = ArgSpec {
    name: "position",
    doc: "Which end of the list.",
    token: "",
    kind: ArgKind::OneOf(&[end("left"), end("right")]),
    optional: false,
    repeat: Repeat::Once,
};

const fn end(side: &'static str) -> ArgSpec {
    ArgSpec { name: side, doc: "", token: side, kind: ArgKind::Flag, optional: true, repeat: Repeat::Once }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table;
    use crate::execute::row::Command;
    use crate::execute::state::Rows;

    fn row(op: &str) -> Option<&'static Command> {
        table().all().iter().find(|row| row.op == op)
    }

    #[test]
    fn names_stand_for_rows_that_are_alike() {
        for alias in ALIASES {
            assert!(row(alias.op).is_none(), "{} is a row", alias.op);
            let rows: Vec<&Command> = alias.rows.iter().filter_map(|op| row(op)).collect();
            assert!(rows.len() == alias.rows.len() || alias.op == "slowlog", "{}", alias.op);
            assert_eq!(alias.args.is_empty(), alias.rows.len() == 1, "{}", alias.op);
            for other in rows.iter().skip(1) {
                assert_eq!(format!("{:?}", other.returns.kind), format!("{:?}", rows[0].returns.kind), "{}", alias.op);
                let names = |args: &[ArgSpec]| args.iter().map(|arg| (arg.name, arg.optional)).collect::<Vec<_>>();
                assert_eq!(names(other.args), names(&alias.args[1..]), "{}", alias.op);
                assert_eq!((other.kind, other.flags), (rows[0].kind, rows[0].flags), "{}", alias.op);
            }
            if !alias.args.is_empty() {
                let ArgKind::OneOf(sides) = alias.args[0].kind else { panic!("{} chooses by nothing", alias.op) };
                assert_eq!(sides.len(), alias.rows.len(), "{}", alias.op);
            }
            let has_segment = |row: &&Command| row.args.iter().any(|arg| arg.name == alias.segment);
            assert!(alias.segment.is_empty() || rows.iter().all(has_segment), "{}", alias.op);
        }
        for put in PUTS {
            let row = row(put.row).expect("a row");
            assert!(row.writes() && row.args.iter().any(|arg| arg.name == put.body), "{}", put.path);
        }
    }
}
