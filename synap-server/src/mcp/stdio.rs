//! `synap-server mcp --stdio`: an engine of its own on a data folder, for one agent that started the program. Messages are
//! lines of standard input and output; what the program has to say goes to standard error.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, GetExtensions, ServerJsonRpcMessage};
use rmcp::service::{ServerInitializeError, serve_server};
use rmcp::transport::Transport;
use synap_core::persist::LoadOptions;
use synap_core::settings::{self, Settings};
use synap_core::{Engine, Options, session};
use synap_protocols::json::text;
use synap_protocols::mcp::message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Stdin, Stdout, stdin, stdout};
use tokio::sync::Mutex;

use super::{Agents, Caller};
use crate::drive::Visitor;
use crate::host::{ServerHost, Stops};
use crate::listeners::Listeners;

/// Bytes of one message at the most, as for HTTP.
const LINE_BYTES_MAX: usize = 64 << 20;
/// A thread that stands in a read of standard input is not waited for any longer.
const GRACE: Duration = Duration::from_millis(200);

/// Serves until standard input ends, or the program is told to.
pub fn run(dir: &Path, chosen_tools: &str) -> Result<(), String> {
    let settings = Settings::default();
    for (id, value) in [(settings::DIR, &*dir.to_string_lossy()), (settings::MCP_TOOLS, chosen_tools)] {
        settings.set(id, value).map_err(|error| error.to_string())?;
    }
    let tools = super::tools(synap_core::command::table(), &settings)?;
    let engine = Engine::open_memory(Options { settings, ..Options::default() });
    let runtime = crate::runtime("synap-mcp", 1)?;
    // Nobody is listened for: there is one agent, and it is here.
    let listeners = Arc::new(Listeners::new(runtime.handle().clone()));
    let (host, asked) = ServerHost::new(listeners, None);
    engine.state().set_host(Box::new(host));
    crate::load(&engine, LoadOptions::default())?;

    let agents = Agents::new(engine.clone(), tools);
    let served = runtime.block_on(async {
        let mut stops = Stops::watch(asked);
        let serve = async {
            match serve_server(agents, Lines::new(engine.clone())).await {
                Ok(service) => service.waiting().await.map(drop).map_err(|error| error.to_string()),
                // It left before it said anything.
                Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        };
        tokio::select! {
            served = serve => served,
            () = crate::until_stopped(engine.state(), &mut stops) => Ok(()),
        }
    });
    runtime.shutdown_timeout(GRACE);
    let closed = engine.close().map_err(|error| format!("the end of the log is not safe on disk: {error}"));
    served.and(closed)
}

/// Messages as lines. Not the SDK's own: arguments keep their text here, and a line has a limit.
struct Lines {
    engine: Engine,
    input: BufReader<Stdin>,
    /// What of a line is there. It stays when [`Transport::receive`] is dropped.
    line: Vec<u8>,
    output: Arc<Mutex<Stdout>>,
}

impl Lines {
    fn new(engine: Engine) -> Lines {
        let output = Arc::new(Mutex::new(stdout()));
        Lines { engine, input: BufReader::new(stdin()), line: Vec::new(), output }
    }

    /// The message of a whole line, or what to answer instead.
    fn read(&self, line: &[u8]) -> Result<ClientJsonRpcMessage, ErrorData> {
        let unreadable = |error: synap_core::Error| ErrorData::parse_error(error.text, None);
        let document = text::check(line).map_err(unreadable)?;
        let message = message::read(document).map_err(|error| ErrorData::invalid_request(error.text, None))?;
        let parsed = serde_json::from_str(&message.envelope);
        let mut parsed: ClientJsonRpcMessage =
            parsed.map_err(|error| ErrorData::invalid_request(error.to_string(), None))?;
        if let ClientJsonRpcMessage::Request(request) = &mut parsed {
            let session = self.engine.session(session::Door::Embedded, "stdio".into(), "stdio".into());
            let visitor = Visitor::new(&self.engine, session);
            let caller = Caller::new(visitor, message.arguments);
            let caller = caller.ok_or(ErrorData::invalid_request("the default user asks for a password", None))?;
            request.request.extensions_mut().insert(caller);
        }
        Ok(parsed)
    }
}

impl Transport<RoleServer> for Lines {
    type Error = io::Error;

    fn name() -> Cow<'static, str> {
        "stdio".into()
    }

    fn send(&mut self, message: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = self.output.clone();
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut output = output.lock().await;
            output.write_all(&line).await?;
            output.flush().await
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let room = LINE_BYTES_MAX + 1 - self.line.len();
            let mut input = (&mut self.input).take(room as u64);
            if let Err(error) = input.read_until(b'\n', &mut self.line).await {
                tracing::error!("standard input cannot be read: {error}");
                return None;
            }
            if self.line.last() != Some(&b'\n') {
                if self.line.len() > LINE_BYTES_MAX {
                    tracing::error!("a message is longer than {LINE_BYTES_MAX} bytes");
                }
                return None; // nothing that follows could be told apart
            }
            let line = std::mem::take(&mut self.line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.read(&line) {
                Ok(message) => return Some(message),
                Err(error) => {
                    let answer = ServerJsonRpcMessage::error(error, None);
                    if let Err(error) = self.send(answer).await {
                        tracing::error!("standard output cannot be written: {error}");
                        return None;
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.output.lock().await.flush().await
    }
}
