//! Keys for programs that speak HTTP: a secret that stands for a user, perhaps for a time. The server keeps its digest.

use super::prelude::*;
use crate::access::ApiKey;
use crate::execute::rights;

const APIKEY: Group = Group { name: "server", op: "apikey", category: Category::NONE };

pub const COMMANDS: &[Command] =
    &[APIKEY_CREATE, APIKEY_LIST, APIKEY_REVOKE, super::help::row(APIKEY, "APIKEY HELP", "apikey.help", "synap")];

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

#[derive(Args)]
pub struct ApiKeyCreate<'a> {
    /// The user that whoever has the key is.
    username: Word<'a>,
    /// The key ends after so many seconds; without it, never.
    #[arg(token = "EX")]
    ex: Option<Int<1, { i64::MAX / 2000 }>>,
}

impl SessionCommand for ApiKeyCreate<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let now_ms = cx.now_ms();
        let expires_ms = self.ex.map(|seconds| now_ms.saturating_add(seconds.0 * 1000));
        let name = String::from_utf8_lossy(self.username);
        let (key, secret) = cx.state().users.create_key(&name, now_ms, expires_ms)?;
        reply.map(5);
        write_key(&key, reply);
        reply.text("secret");
        reply.text(&secret);
        Ok(Flow::Done)
    }
}

/// Four members of a map.
fn write_key(key: &ApiKey, reply: &mut dyn Reply) {
    reply.text("id");
    reply.text(&key.id);
    reply.text("username");
    reply.text(&key.user);
    reply.text("created");
    reply.int(key.created_ms);
    reply.text("expires");
    reply.int(key.expires_ms.unwrap_or(0));
}

const ID: Shape = Shape::text("id", "Names the key, and is no secret.");
const USERNAME: Shape = Shape::text("username", "The user that it stands for.");
const CREATED: Shape = Shape::int("created", "Unix milliseconds.");
const EXPIRES: Shape = Shape::int("expires", "Unix milliseconds; 0 for never.");

pub const APIKEY_CREATE: Command = Command {
    name: "APIKEY CREATE",
    op: "apikey.create",
    since: "synap",
    summary: "Makes an API key: whoever sends its secret as a bearer token over HTTP is the user. ACL SAVE keeps it.",
    complexity: "O(N) for N keys",
    returns: Shape::fields(
        "key",
        "",
        &[ID, USERNAME, CREATED, EXPIRES, Shape::text("secret", "Said this once: the server keeps its digest.")],
    ),
    flags: ADMIN,
    hides: |_, _| true,
    ..APIKEY.session::<ApiKeyCreate>()
};

#[derive(Args)]
pub struct ApiKeyList;

impl SessionCommand for ApiKeyList {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let keys = cx.state().users.keys(cx.now_ms());
        reply.array(keys.len());
        for key in &keys {
            reply.map(4);
            write_key(key, reply);
        }
        Ok(Flow::Done)
    }
}

pub const APIKEY_LIST: Command = Command {
    name: "APIKEY LIST",
    op: "apikey.list",
    since: "synap",
    summary: "Lists the API keys, the oldest first, without their secrets.",
    complexity: "O(N log N) for N keys",
    returns: Shape::array(
        "keys",
        "Those that have not expired.",
        &Shape::fields("", "", &[ID, USERNAME, CREATED, EXPIRES]),
    ),
    flags: ADMIN.and(Flags::LOOKS),
    ..APIKEY.session::<ApiKeyList>()
};

#[derive(Args)]
pub struct ApiKeyRevoke<'a> {
    /// The key's id.
    id: Word<'a>,
}

impl SessionCommand for ApiKeyRevoke<'_> {
    fn run(self, cx: &mut SessionCx<'_, '_, '_>, reply: &mut dyn Reply) -> Result<Flow> {
        let own = cx.session().client.clone();
        let revoked = std::str::from_utf8(self.id).is_ok_and(|id| rights::revoke_key(cx.state(), id, &own));
        reply.int(revoked.into());
        Ok(Flow::Done)
    }
}

pub const APIKEY_REVOKE: Command = Command {
    name: "APIKEY REVOKE",
    op: "apikey.revoke",
    since: "synap",
    summary: "Ends an API key.",
    complexity: "O(N) for N keys",
    returns: Shape::boolean("revoked", "False when there is no such key."),
    flags: ADMIN,
    ..APIKEY.session::<ApiKeyRevoke>()
};
