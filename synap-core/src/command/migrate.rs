//! MIGRATE: keys moved to another server.

use super::generic::KEYS;
use super::prelude::*;
use crate::execute::Later;
use crate::execute::departure::Target;
use crate::execute::row::is_behind;
use crate::grammar::spec::ArgKind;
use crate::grammar::{How, Parser};
use crate::log::wire;
use crate::reply::Tape;

pub const COMMANDS: &[Command] = &[MIGRATE];

/// What Redis takes when the timeout says nothing.
const TIMEOUT_MS: u64 = 1000;

/// The key that moves; an empty word, which is no key, when they stand behind KEYS.
pub struct FirstKey<'a>(Option<Key<'a>>);

impl<'a> Arg<'a> for FirstKey<'a> {
    const KIND: ArgKind = Key::KIND;
    fn read(parser: &mut Parser<'a, '_>, how: How) -> Result<Self> {
        if parser.peek(0) == Some(b"") && keys_follow(parser.rest().get(3..).unwrap_or_default()) {
            return parser.word().map(|_| FirstKey(None));
        }
        Key::read(parser, how).map(|key| FirstKey(Some(key)))
    }
}

/// True when one of the options is KEYS.
fn keys_follow(mut options: Words<'_>) -> bool {
    while let Some((option, rest)) = options.split_first() {
        let values = match option.to_ascii_uppercase().as_slice() {
            b"KEYS" => return true,
            b"AUTH" => 1,
            b"AUTH2" => 2,
            _ => 0,
        };
        options = rest.get(values..).unwrap_or_default();
    }
    false
}

/// Who logs in at the target.
#[derive(Args, Clone, Copy)]
pub struct Login<'a> {
    /// The user's name.
    username: Word<'a>,
    /// The user's password.
    password: Word<'a>,
}

#[derive(Args)]
#[args(any_order)]
pub struct MigrateOptions<'a> {
    /// The keys stay here too.
    #[arg(token = "COPY")]
    copy: bool,
    /// Replaces what the target has.
    #[arg(token = "REPLACE")]
    replace: bool,
    /// The password of the target's default user.
    #[arg(token = "AUTH")]
    auth: Option<Word<'a>>,
    /// A user of the target, with a password.
    #[arg(token = "AUTH2")]
    auth2: Option<Login<'a>>,
    /// Keys to move, when there are several; the key argument is empty then.
    #[arg(token = "KEYS", access = "RW access delete")]
    keys: Option<Many<'a, Key<'a>>>,
}

#[derive(Args)]
#[args(check = only_one_kind_of_keys)]
pub struct Migrate<'a> {
    /// Name or address of the target.
    host: Word<'a>,
    /// The port where it speaks RESP.
    port: Int<0, 65535>,
    /// Key to move; empty when they stand behind KEYS.
    #[arg(access = "RW access delete")]
    key: FirstKey<'a>,
    /// The target's database.
    destination_db: i64,
    /// Milliseconds for each step of the way; 0 is a second.
    timeout: i64,
    options: MigrateOptions<'a>,
}

fn only_one_kind_of_keys(args: &Migrate<'_>) -> Result<()> {
    match args.options.keys {
        Some(_) if args.key.0.is_some() => {
            Err(Error::err("When using MIGRATE KEYS option, the key argument must be set to the empty string"))
        }
        _ => Ok(()),
    }
}

impl BlockingCommand for Migrate<'_> {
    fn run(self, cx: &mut WriteCx<'_>, reply: &mut dyn Reply) -> Result<Flow> {
        let more = self.options.keys.iter().flat_map(Many::iter);
        let departure = cx.depart(self.key.0.into_iter().chain(more));
        if departure.is_empty() {
            reply.status("NOKEY");
            return Ok(Flow::Done);
        }
        let state = cx.state().shared().ok_or(Error::err("the server is closing"))?;
        let target = self.target();
        let mut tape = Tape::new(reply.resp3());
        let reply = async move {
            match departure.go(state, target).await {
                Ok(()) => tape.ok(),
                Err(error) => tape.error(&error),
            }
            tape
        };
        // The keys that have arrived are to go here, whether or not the client still waits to hear of it.
        Ok(Flow::Later(Later::carried_through(reply)))
    }

    fn ready(_: &ReadCx<'_>, _: &Key<'_>) -> bool {
        false
    }
}

impl Migrate<'_> {
    fn target(&self) -> Target {
        let options = &self.options;
        let login = match (options.auth2, options.auth) {
            (Some(Login { username, password }), _) => Some(call(&[b"AUTH", username, password])),
            (None, Some(password)) => Some(call(&[b"AUTH", password])),
            (None, None) => None,
        };
        let select = call(&[b"SELECT", itoa::Buffer::new().format(self.destination_db).as_bytes()]);
        Target {
            host: String::from_utf8_lossy(self.host).into_owned(),
            port: u16::try_from(self.port.0).unwrap_or(0),
            timeout_ms: u64::try_from(self.timeout).ok().filter(|&ms| ms > 0).unwrap_or(TIMEOUT_MS),
            greeting: login.into_iter().chain([select]).collect(),
            replace: options.replace,
            copy: options.copy,
        }
    }
}

fn call(words: &[&[u8]]) -> Vec<u8> {
    let mut call = Vec::new();
    wire::put_call(&mut call, words);
    call
}

pub const MIGRATE: Command = Command {
    name: "MIGRATE",
    op: "key.migrate",
    since: "2.6.0",
    summary: "Moves keys to another Synap, Redis or Valkey. Others go on meanwhile: a key that they change on its way stays here, and is told of.",
    complexity: "O(N) for N bytes",
    returns: Shape::status("status", "NOKEY when none of the keys was there."),
    tool: Tool::Never,
    // A transaction cannot wait for another server.
    flags: Flags::NO_MULTI.and(Flags::MOVABLE_KEYS),
    hides: |words, index| is_behind(words, index, "AUTH", 1) || is_behind(words, index, "AUTH2", 2),
    categories: Category::DANGEROUS,
    ..KEYS.blocking::<Migrate>()
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::Engine;
    use crate::execute::state::{Arrived, Transfer, Transferring};
    use crate::execute::{Host, ShutdownOptions};
    use crate::log::Reader;
    use crate::session::Door;
    use crate::testing::{TestEngine, call_as, split, text_of};

    /// Stands for another server: takes all keys but those that it is told to refuse, and meanwhile runs calls here.
    struct Elsewhere {
        heard: Arc<Mutex<Vec<String>>>,
        refuses: &'static str,
        meanwhile: Option<(Engine, &'static str)>,
    }

    impl Host for Elsewhere {
        fn shutdown(&self, _: ShutdownOptions) {}
        fn transfer(&self, transfer: Transfer) -> Transferring {
            let mut taken = Vec::new();
            let mut error = None;
            for call in transfer.greeting.into_iter().chain(transfer.calls) {
                let mut words = Reader::new(&call, 0).next().expect("a call").expect("a good one").words;
                if words[0] == b"RESTORE" {
                    words.remove(3);
                    let is_refused = words[1] == self.refuses.as_bytes();
                    taken.push(!is_refused);
                    if is_refused {
                        error = Some(Error::err("Target instance replied with error: BUSYKEY"));
                    }
                }
                self.heard.lock().push(text_of(&words).join(" "));
            }
            if let Some((engine, call)) = &self.meanwhile {
                let mut session = engine.session(Door::Resp, String::new(), String::new());
                let words = split(call);
                call_as(engine, &mut session, &words.iter().map(Vec::as_slice).collect::<Vec<_>>());
                engine.leave(&mut session);
            }
            Box::pin(std::future::ready(Arrived { taken, error }))
        }
    }

    fn moving(refuses: &'static str, meanwhile: Option<&'static str>) -> (TestEngine, Arc<Mutex<Vec<String>>>) {
        let test = TestEngine::prepared(1);
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let meanwhile = meanwhile.map(|call| (test.engine.clone(), call));
        test.engine.state().set_host(Box::new(Elsewhere { heard: heard.clone(), refuses, meanwhile }));
        (test, heard)
    }

    #[test]
    fn what_has_arrived_goes() {
        let (mut test, heard) = moving("", None);
        test.check(
            r#"
            MIGRATE there 6379 none 0 0 => NOKEY
            MIGRATE there 6379 text 3 0 => OK
            EXISTS text => 0
            MIGRATE there 6379 "" 0 0 REPLACE AUTH2 me secret KEYS brief none list brief => OK
            EXISTS brief list => 0
            MIGRATE there 6379 set 0 0 COPY AUTH secret => OK
            EXISTS set => 1
            MIGRATE there 6379 set 0 0 KEYS set => -ERR When using MIGRATE KEYS option, the key argument must be set to the empty string
            MIGRATE there 6379 "" 0 0 => NOKEY
            MIGRATE there 6379 set 0 0 AUTH => -ERR syntax error
            MIGRATE there x set 0 0 => -ERR value is not an integer or out of range
            "#,
        );
        assert_eq!(
            *heard.lock(),
            [
                "SELECT 3",
                "RESTORE text 0",
                "AUTH me secret",
                "SELECT 0",
                "RESTORE brief 5000 REPLACE",
                "RESTORE list 0 REPLACE",
                "AUTH secret",
                "SELECT 0",
                "RESTORE set 0"
            ]
        );
        assert!(test.logged().ends_with(&["DEL text".into(), "DEL brief".into(), "DEL list".into()]));
    }

    #[test]
    fn what_is_refused_stays() {
        let (mut test, _) = moving("list", None);
        test.check(
            r#"
            MIGRATE there 1 "" 0 0 KEYS list text => -ERR Target instance replied with error: BUSYKEY
            EXISTS list => 1
            EXISTS text => 0
            "#,
        );
    }

    /// It would be lost: the target has what it was.
    #[test]
    fn what_changes_on_its_way_stays() {
        let changed = "-ERR 1 of the keys changed on their way: they stay here, and the target has them as they were";
        for (call, left) in [("RPUSH list z", "1"), ("DEL list", "0"), ("FLUSHALL", "0"), ("EXPIRE list 100", "1")] {
            let (mut test, _) = moving("", Some(call));
            let reply = test.call("MIGRATE there 1 list 0 0");
            assert_eq!(reply, changed, "{call}");
            assert_eq!(test.call("EXISTS list"), left, "{call}");
        }
        let (mut test, _) = moving("", Some("LRANGE list 0 -1"));
        test.check("MIGRATE there 1 list 0 0 => OK");
    }
}
