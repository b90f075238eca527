//! The door of agents: the SDK speaks the protocol, `synap_protocols::mcp` knows the tools, and calls are run here as they
//! are for HTTP. Every request stands for itself: it is run as the user that it came with, and nothing of it is left.
//!
//! | module | what it is |
//! |---|---|
//! | [`handler`] | what the SDK asks: tools, resources, completions |
//! | [`stdio`] | the same over standard input and output, on a data folder of its own |
//!
//! HTTP is in `http::mcp`.

mod handler;
pub mod stdio;

use std::sync::Arc;

use smallvec::SmallVec;
use synap_core::access::User;
use synap_core::execute::Input;
use synap_core::execute::state::Rows;
use synap_core::settings::Settings;
use synap_core::{Code, Engine, Error, settings};
use synap_protocols::json::Words;
use synap_protocols::mcp::answer;
use synap_protocols::mcp::tools::Tools;
use synap_protocols::rest::operation::Operation;
use tokio::sync::Mutex;

use crate::drive::{self, End, Visitor};

/// What all agents share.
pub struct House {
    engine: Engine,
    tools: Tools,
}

/// Who makes a request, and what the SDK did not see of it. It goes with the request, and so does its session.
#[derive(Clone)]
pub struct Caller {
    user: Arc<User>,
    visitor: Arc<Mutex<Visitor>>,
    /// The arguments of a tool call, as they were sent.
    arguments: Option<Arc<str>>,
}

impl Caller {
    /// None when the visitor is not logged in.
    pub fn new(visitor: Visitor, arguments: Option<&str>) -> Option<Caller> {
        let user = visitor.user.clone()?;
        Some(Caller { user, visitor: Arc::new(Mutex::new(visitor)), arguments: arguments.map(Arc::from) })
    }
}

/// The service of the SDK; one for each request or connection.
#[derive(Clone)]
pub struct Agents(Arc<House>);

/// The tools that the settings let agents have. The error is a message for people.
pub fn tools(table: &dyn Rows, settings: &Settings) -> Result<Tools, String> {
    let chosen = settings.text(settings::MCP_TOOLS);
    Tools::new(table.open(), &chosen).map_err(|why| format!("{}: {why}", settings::MCP_TOOLS.setting().name))
}

impl Agents {
    pub fn new(engine: Engine, tools: Tools) -> Agents {
        Agents(Arc::new(House { engine, tools }))
    }
}

impl House {
    /// Runs one call to its end. Dropping the future ends the call.
    async fn call(&self, caller: &Caller, operation: &Operation, words: &Words) -> Result<String, Error> {
        const KILLED: Error = Error::new(Code::Unblocked, "the call was ended before it had an answer");
        let mut slices: SmallVec<[&[u8]; 16]> = SmallVec::new();
        words.as_slices(&mut slices);
        let input = Input { row: Some(operation.row_of(words)), ..Input::words(&slices) };
        let mut visitor = caller.visitor.lock().await;
        let mut reply = answer::writer(operation.row);
        let end = drive::run_within(&self.engine, &mut visitor, &input, &mut reply, Some(answer::WAIT_MAX)).await;
        drive::settled(&self.engine, &visitor).await?;
        match end {
            End::Replied | End::Quit => answer::text(reply, operation.row),
            End::Killed => Err(KILLED),
        }
    }
}
