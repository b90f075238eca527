//! MCP: operations as tools for agents, keys and chapters of INFO as resources.
//!
//! Nothing here knows a command: names, schemas and hints of tools are computed from the rows, and a call becomes the
//! same words as at every other door. The protocol itself (JSON-RPC, sessions, versions) is the SDK's, which the server
//! brings; this module gives it plain values.
//!
//! - [`choice`]: which tools there are: the setting `mcp-tools`;
//! - [`tools`]: tools, and calls of them as words;
//! - [`answer`]: replies of limited size;
//! - [`resource`]: addresses of resources;
//! - [`message`]: the arguments of a call as they were sent, past the SDK.

pub mod answer;
pub mod choice;
pub mod message;
pub mod resource;
pub mod tools;

/// What an agent is told before its first call.
pub const INSTRUCTIONS: &str = "\
Synap keeps named keys, as Redis does. A key holds one value of one type: a string (synap_kv_*), a hash of fields, a list, \
a set, a sorted set of members with scores, and others. The type follows from the first write; a tool of another type then \
answers WRONGTYPE. Keys and collections appear with their first element and go with the last one; any key may have a time to \
live. Names like user:1:cart are a convention: there are no folders, and scanning goes by glob patterns such as user:*. \
Every value is bytes: text is passed as a string, other bytes as {\"base64\":\"…\"}; what is not there is null. Each call is \
atomic. Counts, ranges and scans are cheap, whole collections may be large: answers are cut at a limit and then have a \
member `cut` that says what is missing. synap_command runs every other command by its operation (zset.add) or by its Redis \
name (ZADD); when arguments are wrong, the error says which ones there are.";
