//! SLOWLOG: the calls that took long.

use super::prelude::*;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};

const SLOWLOG: Group = Group { name: "server", op: "slowlog", category: Category::NONE };

pub const COMMANDS: &[Command] =
    &[SLOWLOG_GET, SLOWLOG_LEN, SLOWLOG_RESET, super::help::row(SLOWLOG, "SLOWLOG HELP", "slowlog.help", "6.2.0")];

const FLAGS: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

/// How many are shown; -1 for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown(usize);

impl<'a> Arg<'a> for Shown {
    const KIND: ArgKind = ArgKind::Int { min: -1, max: i64::MAX };
    fn read(parser: &mut Parser<'a, '_>, _: How) -> Result<Self> {
        const TOO_SMALL: Error = Error::err("count should be greater than or equal to -1");
        match crate::types::parse_int(parser.word()?) {
            Some(-1) => Ok(Shown(usize::MAX)),
            Some(count) => usize::try_from(count).map(Shown).map_err(|_| TOO_SMALL),
            None => Err(TOO_SMALL),
        }
    }
}

#[derive(Args)]
pub struct SlowlogGet {
    /// How many, the newest first: 10 when left out, all for -1.
    count: Option<Shown>,
}

impl SessionCommand for SlowlogGet {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let calls = cx.state().slowlog.newest(self.count.map_or(10, |Shown(count)| count));
        reply.array(calls.len());
        for call in calls {
            reply.array(6);
            reply.int(call.id as i64);
            reply.int(call.at_ms / 1000);
            reply.int(call.micros as i64);
            reply.array(call.words.len());
            call.words.iter().for_each(|word| reply.bulk(word));
            reply.text(&call.addr);
            reply.text(&call.name);
        }
        Ok(Flow::Done)
    }
}

pub const SLOWLOG_GET: Command = Command {
    name: "SLOWLOG GET",
    op: "slowlog.get",
    since: "2.2.12",
    summary: "Returns the calls that took longest lately: those above the setting `slowlog-log-slower-than`.",
    complexity: "O(N) for N calls that are returned",
    returns: Shape::array(
        "calls",
        "The newest first.",
        &Shape::tuple(
            "",
            "",
            &[
                Shape::int("id", "Never given twice."),
                Shape::int("time", "When it ran, in Unix seconds."),
                Shape::int("microseconds", "How long it took."),
                Shape::array("words", "The call, at most 32 words of 128 bytes.", &Shape::BYTES),
                Shape::text("address", "Of the client."),
                Shape::text("name", "Of the client, when it has given itself one."),
            ],
        ),
    ),
    flags: FLAGS.and(Flags::LOOKS),
    ..SLOWLOG.session::<SlowlogGet>()
};

#[derive(Args)]
pub struct SlowlogLen;

impl SessionCommand for SlowlogLen {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        reply.int(cx.state().slowlog.len() as i64);
        Ok(Flow::Done)
    }
}

pub const SLOWLOG_LEN: Command = Command {
    name: "SLOWLOG LEN",
    op: "slowlog.len",
    since: "2.2.12",
    summary: "Counts the noted calls.",
    returns: Shape::int("count", "At most the setting `slowlog-max-len`."),
    flags: FLAGS.and(Flags::LOOKS),
    ..SLOWLOG.session::<SlowlogLen>()
};

#[derive(Args)]
pub struct SlowlogReset;

impl SessionCommand for SlowlogReset {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        cx.state().slowlog.reset();
        reply.ok();
        Ok(Flow::Done)
    }
}

pub const SLOWLOG_RESET: Command = Command {
    name: "SLOWLOG RESET",
    op: "slowlog.reset",
    since: "2.2.12",
    summary: "Forgets the noted calls.",
    complexity: "O(N) for N noted calls",
    returns: Shape::OK,
    flags: FLAGS,
    ..SLOWLOG.session::<SlowlogReset>()
};

#[cfg(test)]
mod tests {
    use crate::testing::{TestEngine, call_as};

    #[test]
    fn slow_calls_are_noted_with_who_made_them() {
        let mut test = TestEngine::default();
        test.check(
            "CLIENT SETNAME me => OK
            SLOWLOG LEN => 0
            CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 3 => OK
            SLOWLOG RESET => OK
            PING => PONG
            SET a 1 => OK
            LPUSH a x => -WRONGTYPE Operation against a key holding the wrong kind of value
            SLOWLOG LEN => 3
            SLOWLOG GET 0 => []
            SLOWLOG GET -2 => -ERR count should be greater than or equal to -1",
        );
        let newest = test.call("SLOWLOG GET 2");
        assert!(newest.contains(r#"["SLOWLOG", "GET", "-2"], "test", "me"]"#), "{newest}");
        test.call("SLOWLOG RESET");
        // What EXEC runs is noted, EXEC is not.
        for line in ["MULTI", "INCR a", "EXEC"] {
            test.call(line);
        }
        let all = test.call("SLOWLOG GET -1");
        assert!(all.contains(r#"["INCR", "a"]"#) && !all.contains("EXEC"), "{all}");
        test.check("CONFIG SET slowlog-log-slower-than -1 => OK\nSLOWLOG RESET => OK\nPING => PONG\nSLOWLOG LEN => 0");
    }

    #[test]
    fn secrets_are_not_noted() {
        let mut test = TestEngine::default();
        test.call("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 1000");
        test.call("SLOWLOG RESET");
        for (line, shown) in [
            ("AUTH geheim", r#"["AUTH", "(redacted)"]"#),
            ("AUTH me geheim", r#"["AUTH", "(redacted)", "(redacted)"]"#),
            ("HELLO 3 SETNAME me AUTH me geheim", r#""SETNAME", "me", "AUTH", "(redacted)", "(redacted)"]"#),
            ("CONFIG SET timeout 7 primaryauth geheim", r#""timeout", "7", "primaryauth", "(redacted)"]"#),
            ("ACL SETUSER ann >geheim", r#"["ACL", "SETUSER", "(redacted)", "(redacted)"]"#),
            ("MIGRATE h 1 none 0 1 AUTH2 me geheim", r#""AUTH2", "(redacted)", "(redacted)"]"#),
        ] {
            test.call(line);
            let all = test.call("SLOWLOG GET -1");
            assert!(all.contains(shown) && !all.contains("geheim"), "{shown}: {all}");
        }
        test.call("CONFIG SET slowlog-max-len 0");
        test.call("SLOWLOG RESET");
        test.check("PING => PONG\nSLOWLOG LEN => 0");
    }

    #[test]
    fn a_call_that_waited_is_noted_when_it_ends() {
        let mut test = TestEngine::default();
        test.call("CONFIG SET slowlog-log-slower-than 0");
        test.call("SLOWLOG RESET");
        std::thread::scope(|scope| {
            let (engine, mut waits) = (test.engine.clone(), test.another());
            let client = waits.client.clone();
            let popped = scope.spawn(move || {
                let popped = call_as(&engine, &mut waits, &[b"BLPOP", b"list", b"0"]);
                engine.leave(&mut waits);
                popped
            });
            while client.blocked.lock().is_none() {
                std::thread::yield_now();
            }
            assert!(!test.call("SLOWLOG GET").contains("BLPOP"));
            test.call("RPUSH list a");
            assert_eq!(popped.join().unwrap(), r#"["list", "a"]"#);
            assert!(test.call("SLOWLOG GET").contains(r#"["BLPOP", "list", "0"]"#));
        });
        assert!(test.call("INFO commandstats").contains("cmdstat_blpop:calls=1,"));
    }
}
