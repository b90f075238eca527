//! Tools: their descriptions, computed from rows, and calls of them as words.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use synap_core::access::User;
use synap_core::execute::row::{Command, Flags};
use synap_core::{Error, Result};

use super::answer::WAIT_MAX;
use super::choice::Choice;
use crate::json::Words;
use crate::json::schema::Schemas;
use crate::json::text::{self, Kind};
use crate::rest::operation::{Operation, Operations};
use crate::spec::{Access, ArgKind, ArgSpec};

/// The tool that runs any command.
pub const COMMAND: &str = "synap_command";
const PREFIX: &str = "synap_";

/// `hash.set` as `synap_hash_set`.
pub fn name(op: &str) -> String {
    format!("{PREFIX}{}", op.replace('.', "_"))
}

/// All tools that the setting `mcp-tools` lets agents have.
pub struct Tools {
    operations: Operations,
    choice: Choice,
    all: Vec<Tool>,
    by_name: HashMap<String, usize>,
}

/// One tool, as a list of tools describes it.
pub struct Tool {
    pub name: String,
    pub title: String,
    pub description: String,
    /// JSON Schemas of the arguments and of the answer.
    pub input: Map<String, Value>,
    pub output: Map<String, Value>,
    pub hints: Hints,
    /// The operation; none for [`COMMAND`].
    op: Option<&'static str>,
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hints {
    pub reads_only: bool,
    /// It may replace or remove something.
    pub is_destructive: bool,
    /// The same call again changes nothing more.
    pub is_idempotent: bool,
}

/// A call of a tool, ready to be run.
pub struct Call<'t> {
    pub operation: &'t Operation,
    pub words: Words,
}

/// Why a call is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such tool for this user.
    NoSuchTool,
    /// What the agent is to be told.
    Error(String),
}

impl Tools {
    /// `chosen` is the value of the setting; the error is a sentence about it.
    pub fn new(rows: &'static [Command], chosen: &str) -> Result<Tools, String> {
        let operations = Operations::of(rows);
        let choice = Choice::parse(chosen, &operations)?;
        let mut all = Vec::new();
        if choice.has_command() {
            all.push(command_tool(&choice));
        }
        all.extend(operations.offered().filter(|operation| choice.lists(operation)).map(tool));
        let by_name = all.iter().enumerate().map(|(index, tool)| (tool.name.clone(), index)).collect();
        Ok(Tools { operations, choice, all, by_name })
    }

    /// True when there is nothing for agents.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The tools that `user` may call, in the same order each time.
    pub fn of_user<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Tool> {
        self.all.iter().filter(|tool| self.may_call(tool, user))
    }

    /// The operation that a call by `user` reaches, if it is offered.
    pub fn operation(&self, op: &str, user: &User) -> Option<&Operation> {
        let operation = self.operations.find(op)?;
        (self.choice.allows(operation) && may_run(user, operation)).then_some(operation)
    }

    /// What a tool with these arguments, a checked JSON object, is to run.
    pub fn call(&self, name: &str, arguments: &str, user: &User) -> Result<Call<'_>, Refusal> {
        let tool = self.by_name.get(name).map(|&index| &self.all[index]);
        let tool = tool.filter(|tool| self.may_call(tool, user)).ok_or(Refusal::NoSuchTool)?;
        let Some(op) = tool.op else { return self.command(arguments).map_err(Refusal::Error) };
        let operation = self.operations.find(op).ok_or(Refusal::NoSuchTool)?;
        let words = operation.lower_checked(arguments).map_err(|error| Refusal::Error(error.to_string()))?;
        Ok(Call { operation, words })
    }

    fn may_call(&self, tool: &Tool, user: &User) -> bool {
        let runs = |operation: &Operation| may_run(user, operation);
        match tool.op {
            Some(op) => self.operations.find(op).is_some_and(runs),
            None => self.operations.offered().any(|any| self.choice.command_runs(any) && runs(any)),
        }
    }

    /// A call of [`COMMAND`]. Its errors teach what the agent has no schema for.
    fn command(&self, arguments: &str) -> Result<Call<'_>, String> {
        let (command, arguments) = named_call(arguments).map_err(|error| error.to_string())?;
        let found = self.find(&command).filter(|operation| self.choice.command_runs(operation));
        let operation = found.ok_or_else(|| self.unknown(&command))?;
        let words = operation.lower_checked(arguments).map_err(|error| {
            let schema = Value::Object(object(Schemas::PLAIN.request(operation.args)));
            format!("{error}. The arguments of {}: {schema}", operation.op)
        })?;
        Ok(Call { operation, words })
    }

    /// By its operation, its tool or its name in Redis.
    fn find(&self, command: &str) -> Option<&Operation> {
        let spelled =
            |operation: &&Operation| operation.row.name.eq_ignore_ascii_case(command) || name(operation.op) == command;
        self.operations.find(command).or_else(|| self.operations.offered().find(spelled))
    }

    fn unknown(&self, command: &str) -> String {
        let group = command.strip_prefix(PREFIX).unwrap_or(command).split(['.', '_']).next().unwrap_or_default();
        let group_of = |operation: &Operation| operation.op.split('.').next().unwrap_or_default();
        let offered = || self.operations.offered().filter(|any| self.choice.command_runs(any));
        let mut near: Vec<&str> = offered().filter(|any| group_of(any) == group).map(|any| any.op).collect();
        let what = if near.is_empty() { "Groups of commands" } else { "Commands of this group" };
        if near.is_empty() {
            near.extend(offered().map(group_of));
            near.dedup();
        }
        let quoted = Error::quote(command.as_bytes());
        format!("ERR there is no command `{quoted}` here. {what}: {}", near.join(", "))
    }
}

/// The command and the arguments in the arguments of [`COMMAND`].
fn named_call(text: &str) -> Result<(String, &str)> {
    let (mut command, mut arguments) = (None, None);
    for (name, value) in text::members(text) {
        let slot = match &*name {
            "command" => &mut command,
            "arguments" => &mut arguments,
            _ => return Err(Error::fmt(format!("unknown argument `{}`", Error::quote(name.as_bytes())))),
        };
        if slot.replace(value).is_some() {
            return Err(Error::fmt(format!("`{name}` is given twice")));
        }
    }
    let command = command.filter(|command| text::kind(command) == Kind::String);
    let command = command.ok_or(Error::err("`command` must be a string such as \"zset.add\""))?;
    let arguments = arguments.filter(|arguments| text::kind(arguments) != Kind::Null).unwrap_or("{}");
    Ok((text::string(command).into_owned(), arguments))
}

fn tool(operation: &Operation) -> Tool {
    let row = operation.row;
    let redis = operation.rows().iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    let mut description = format!("{} (Redis: {redis})", summary(operation));
    if row.flags.has(Flags::BLOCKING) {
        description += &format!(" Waits {} s at the most.", WAIT_MAX.as_secs());
    }
    Tool {
        name: name(operation.op),
        title: redis,
        description,
        input: object(Schemas::PLAIN.request(operation.args)),
        output: object(Schemas::PLAIN.reply(&row.returns)),
        hints: hints(operation),
        op: Some(operation.op),
    }
}

/// What it does; where an argument chooses between rows, what each of them does.
fn summary(operation: &Operation) -> String {
    match (operation.args.first().map(|arg| arg.kind), operation.rows()) {
        (Some(ArgKind::OneOf(sides)), rows @ [_, _, ..]) => {
            let each = sides.iter().zip(rows).map(|(side, row)| format!("{}: {}", side.token, row.summary));
            each.collect::<Vec<_>>().join(" ")
        }
        _ => operation.row.summary.into(),
    }
}

fn may_run(user: &User, operation: &Operation) -> bool {
    operation.rows().iter().any(|row| user.may_run(row.id))
}

fn command_tool(choice: &Choice) -> Tool {
    let input = json!({
        "type": "object",
        "properties": {
            "command": {
                "type": "string",
                "description": "An operation such as zset.add, or its name in Redis: ZADD.",
            },
            "arguments": {
                "type": "object",
                "description": "Its named arguments. When they are wrong, the error says which ones there are.",
                "additionalProperties": true,
            },
        },
        "required": ["command"],
        "additionalProperties": false,
    });
    let reads_only = choice.only_reads();
    Tool {
        name: COMMAND.into(),
        title: "Any command".into(),
        description: "Runs any command of the server that has no tool of its own: sorted sets, counters, bitmaps, \
            HyperLogLogs, places, expiry and more."
            .into(),
        input: object(input),
        output: object(json!({"type": "object"})),
        hints: Hints { reads_only, is_destructive: !reads_only, is_idempotent: reads_only },
        op: None,
    }
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// What follows from the row. Where nothing says that a write only adds, it may destroy.
fn hints(operation: &Operation) -> Hints {
    let row = operation.row;
    let reads_only = row.only_reads();
    let is_idempotent = reads_only || operation.verbs.delete || row.flags.has(Flags::IDEMPOTENT);
    Hints { reads_only, is_destructive: !reads_only && !only_adds(row), is_idempotent }
}

/// True for a row that writes to keys and neither replaces nor removes what is there, or that only sends a message.
fn only_adds(row: &Command) -> bool {
    fn each_key(args: &[ArgSpec], found: &mut dyn FnMut(Access)) {
        for arg in args {
            match arg.kind {
                ArgKind::Key(access) => found(access),
                ArgKind::Block(parts) | ArgKind::OneOf(parts) | ArgKind::AnyOrder(parts) => each_key(parts, found),
                _ => (),
            }
        }
    }
    let (mut key_count, mut replaces) = (0, false);
    each_key(row.args, &mut |noted| {
        let access = row.access(noted);
        let changes = [Access::UPDATE, Access::DELETE, Access::OW, Access::RM];
        key_count += 1;
        replaces |= changes.iter().any(|change| access.has(*change));
    });
    if key_count == 0 { row.flags.has(Flags::PUBSUB) } else { row.writes() && !replaces }
}

#[cfg(test)]
mod tests {
    use synap_core::access::Terms;
    use synap_core::command::table;
    use synap_core::execute::state::Rows as _;

    use super::*;

    fn tools(chosen: &str) -> Tools {
        Tools::new(table().all(), chosen).expect("a choice")
    }

    fn everyone() -> User {
        User::default_user()
    }

    fn with_rules(rules: &[&str]) -> User {
        let terms = Terms::of(table());
        let mut user = User::new("agent", &terms);
        let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
        user.apply_all(&rules, &terms).expect("rules");
        user
    }

    fn names<'a>(tools: &'a Tools, user: &'a User) -> Vec<&'a str> {
        tools.of_user(user).map(|tool| tool.name.as_str()).collect()
    }

    #[track_caller]
    fn called(tools: &Tools, name: &str, arguments: &str) -> Result<Vec<String>, Refusal> {
        let call = tools.call(name, arguments, &everyone())?;
        Ok(call.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[test]
    fn every_tool_is_described_as_clients_want_it() {
        let tools = tools("full");
        let user = everyone();
        let mut seen = Vec::new();
        for tool in tools.of_user(&user) {
            let name = &tool.name;
            assert!(!seen.contains(name), "{name} is there twice");
            assert!(
                name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
            assert!(!tool.description.is_empty() && tool.description.len() < 500, "{name}");
            for (schema, what) in [(&tool.input, "arguments"), (&tool.output, "answer")] {
                assert_eq!(schema["type"], "object", "{what} of {name}");
            }
            for combinator in ["anyOf", "oneOf", "allOf", "$ref", "not", "if"] {
                assert!(!tool.input.contains_key(combinator), "{combinator} at the top of {name}");
            }
            assert!(tool.input.contains_key("properties"), "{name}");
            assert!(!(tool.hints.reads_only && tool.hints.is_destructive), "{name}");
            seen.push(name.clone());
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn hints_follow_from_rows() {
        let tools = tools("full");
        let user = everyone();
        let hints = |op: &str| {
            let wanted = name(op);
            let hints = tools.of_user(&user).find(|tool| tool.name == wanted).expect(op).hints;
            (hints.reads_only, hints.is_destructive, hints.is_idempotent)
        };
        assert_eq!(hints("hash.get"), (true, false, true));
        assert_eq!(hints("hash.set"), (false, true, true));
        assert_eq!(hints("set.add"), (false, false, true));
        assert_eq!(hints("list.rpush"), (false, false, false));
        assert_eq!(hints("string.incr"), (false, true, false));
        assert_eq!(hints("key.del"), (false, true, true));
        assert_eq!(hints("list.lpop"), (false, true, false));
        assert!(hints("server.flushall").1);
        assert!(!hints("pubsub.publish").1);
    }

    #[test]
    fn what_a_user_may_not_run_is_not_there() {
        let tools = tools("essential");
        let reader = with_rules(&["on", "nopass", "~*", "+@read", "+@connection"]);
        let names = names(&tools, &reader);
        assert!(names.contains(&"synap_hash_get") && names.contains(&COMMAND), "{names:?}");
        assert!(!names.contains(&"synap_hash_set"), "{names:?}");
        let call = tools.call("synap_hash_set", r#"{"key":"k","field":"f","value":"v"}"#, &reader);
        assert_eq!(call.err(), Some(Refusal::NoSuchTool));
        assert_eq!(self::names(&tools, &with_rules(&["on", "nopass"])), [""; 0]);
        assert!(tools.operation("hash.getall", &reader).is_some() && tools.operation("hash.set", &reader).is_none());
    }

    #[test]
    fn calls_become_words() {
        let tools = tools("essential");
        let words = called(&tools, "synap_hash_set", r#"{"key":"k","fields":[{"field":"f","value":1.0}]}"#);
        assert_eq!(words, Ok(["HSET", "k", "f", "1.0"].map(String::from).to_vec()));
        assert_eq!(called(&tools, "synap_zset_add", "{}"), Err(Refusal::NoSuchTool));
        let Err(Refusal::Error(sentence)) = called(&tools, "synap_hash_get", r#"{"key":"k"}"#) else {
            panic!("no field")
        };
        assert!(sentence.starts_with("ERR ") && sentence.contains("field"), "{sentence}");
    }

    #[test]
    fn the_generic_tool_takes_any_spelling_and_teaches() {
        let tools = tools("essential");
        let arguments = r#"{"key":"z","members":[{"score":1,"member":"a"}]}"#;
        for command in ["zset.add", "ZADD", "zadd", "synap_zset_add"] {
            let words = called(&tools, COMMAND, &format!(r#"{{"command":"{command}","arguments":{arguments}}}"#));
            assert_eq!(words, Ok(["ZADD", "z", "1", "a"].map(String::from).to_vec()), "{command}");
        }
        assert_eq!(called(&tools, COMMAND, r#"{"command":"key.count","arguments":null}"#), Ok(vec!["DBSIZE".into()]));
        let told = |arguments: &str| match called(&tools, COMMAND, arguments) {
            Err(Refusal::Error(sentence)) => sentence,
            other => panic!("{other:?}"),
        };
        let wrong = told(r#"{"command":"zset.add","arguments":{"key":"z"}}"#);
        assert!(wrong.contains("The arguments of zset.add: {") && wrong.contains("\"members\""), "{wrong}");
        assert!(told(r#"{"command":"zset.insert"}"#).contains("Commands of this group: "));
        assert!(told(r#"{"command":"nothing"}"#).contains("Groups of commands: "));
        assert!(told(r#"{"command":"server.flushall"}"#).contains("no command"));
        assert!(told(r#"{"command":7}"#).contains("must be a string"));
        assert!(told(r#"{"command":"a","args":[]}"#).contains("unknown argument `args`"));
        assert!(told(r#"{"command":"a","command":"b"}"#).contains("twice"));
    }
}
