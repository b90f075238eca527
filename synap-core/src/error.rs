//! Every error that a caller can see: a code, a sentence, and what the code means at each door.

use std::borrow::Cow;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One error: the first word that clients match on, and a sentence.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub text: Cow<'static, str>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal, $http:literal;)*) => {
        /// The first word of an error reply, as Redis spells it, with the HTTP status that stands for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])* $name,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The word on the RESP wire and in the `code` member of a problem document.
            pub const fn word(self) -> &'static str {
                match self { $(Code::$name => $word),* }
            }

            /// The HTTP status of this error.
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$name => $http),* }
            }
        }
    };
}

codes! {
    /// Bad input: syntax, arity, a value out of range, an unknown command.
    Err = "ERR", 400;
    /// The key holds another type.
    WrongType = "WRONGTYPE", 409;
    /// Not logged in.
    NoAuth = "NOAUTH", 401;
    /// Wrong user name or password.
    WrongPass = "WRONGPASS", 401;
    /// The user may not do this.
    NoPerm = "NOPERM", 403;
    /// The memory limit is reached and nothing can be evicted.
    Oom = "OOM", 507;
    /// The disk does not take the log.
    Misconf = "MISCONF", 503;
    /// The data set is still being loaded.
    Loading = "LOADING", 503;
    /// A write to a replica.
    ReadOnly = "READONLY", 409;
    /// The link to the master is down and stale reads are off.
    MasterDown = "MASTERDOWN", 503;
    /// Too few good replicas for a write.
    NoReplicas = "NOREPLICAS", 503;
    /// A script or function has run too long.
    Busy = "BUSY", 503;
    /// The name of a target exists already.
    BusyKey = "BUSYKEY", 409;
    /// A queued command was refused, so EXEC did nothing.
    ExecAbort = "EXECABORT", 409;
    /// HELLO asked for a protocol that is not spoken.
    NoProto = "NOPROTO", 400;
    /// A blocked call was ended by CLIENT UNBLOCK … ERROR.
    Unblocked = "UNBLOCKED", 409;
    /// There is no such script.
    NoScript = "NOSCRIPT", 404;
    /// There is no script to kill.
    NotBusy = "NOTBUSY", 409;
    /// There is no such consumer group.
    NoGroup = "NOGROUP", 404;
    /// A consumer group of that name exists.
    BusyGroup = "BUSYGROUP", 409;
    /// An invalid or foreign object (HyperLogLog).
    InvalidObj = "INVALIDOBJ", 409;
    /// There is no save in progress and similar.
    NoMasterLink = "NOMASTERLINK", 503;
    /// Another server cannot be reached, or does not answer in time.
    IoErr = "IOERR", 504;
    /// A fault of ours; the server's log has more.
    Internal = "ERR", 500;
}

impl Error {
    pub const fn new(code: Code, text: &'static str) -> Error {
        Error { code, text: Cow::Borrowed(text) }
    }

    /// An `ERR` with a fixed sentence.
    pub const fn err(text: &'static str) -> Error {
        Error::new(Code::Err, text)
    }

    /// An `ERR` with a made-up sentence. Bytes from outside must go through [`Error::quote`] first.
    pub fn fmt(text: String) -> Error {
        Error { code: Code::Err, text: Cow::Owned(text) }
    }

    /// A piece of input fit for an error line: at most 128 bytes, no line breaks.
    pub fn quote(input: &[u8]) -> String {
        let cut = &input[..input.len().min(128)];
        String::from_utf8_lossy(cut).replace(['\r', '\n'], " ")
    }

    pub const SYNTAX: Error = Error::err("syntax error");
    pub const NOT_INT: Error = Error::err("value is not an integer or out of range");
    pub const NOT_FLOAT: Error = Error::err("value is not a valid float");
    pub const NO_SUCH_KEY: Error = Error::err("no such key");
    pub const WRONG_TYPE: Error =
        Error::new(Code::WrongType, "Operation against a key holding the wrong kind of value");

    /// The answer to a call with too few or too many words. `name` as in the table (`CLIENT|ID` for subcommands).
    pub fn arity(name: &str) -> Error {
        Error::fmt(format!("wrong number of arguments for '{}' command", name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.word(), self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}
