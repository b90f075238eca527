//! The Synap server program: configuration, listeners, connections, shutdown.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | the command line |
//! | [`resp`] | the RESP listener and its connections |
//! | [`http`] | the HTTP listener and its requests |
//! | [`mcp`] | the door of agents |
//! | [`drive`] | runs one call to its end, for doors whose calls come one at a time |
//! | [`host`] | what the engine asks of the program around it |
//! | [`logs`] | what the program tells about itself |
//! | [`tools`] | what can be done with a data folder while no server runs on it |
//! | [`transfer`] | keys sent to another server |

mod config;
mod drive;
mod host;
mod http;
mod logs;
#[cfg(feature = "mcp")]
mod mcp;
mod resp;
mod tools;
mod transfer;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synap_core::execute::{ShutdownOptions, State, eviction};
use synap_core::memory::Counting;
use synap_core::persist::{LoadOptions, end};
use synap_core::settings::{self, Settings};
use synap_core::{Engine, Options};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

/// Read by the allocator at its start. Large pages: random keys miss the address cache far less often. They are bad
/// for a server that forks and copies whole pages; this one does not fork.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Option<&'static std::ffi::c_char> = Some(
    // SAFETY: a C string that lives as long as the program.
    unsafe { &*c"thp:always,metadata_thp:auto".as_ptr() },
);

/// Threads of HTTP, signals and timers: one may be busy with a long call while the other says that we live.
const SIDE_WORKERS: usize = 2;

fn main() -> ExitCode {
    logs::begin();
    let config = match config::Asked::from_args() {
        config::Asked::Serve(config) => config,
        config::Asked::Tool(tool) => {
            return match tools::run(&tool) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => {
                    eprintln!("{message}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the engine and its doors, and stays until the program is to end.
fn run(config: &config::Config) -> Result<(), String> {
    let settings = Settings::default();
    for (name, value) in &config.given {
        let id = Settings::find(name).ok_or_else(|| format!("there is no setting {name}"))?;
        settings.set(id, value).map_err(|error| error.to_string())?;
    }
    #[cfg(feature = "mcp")]
    mcp::tools(&settings)?;
    logs::follow(&settings)?;
    let engine = Engine::open_memory(Options { settings, ..Options::default() });
    engine.load_users(&config.users).map_err(|error| format!("Aborting startup because of ACL errors: {error}"))?;
    let state = engine.state();
    // Before the first caller comes: nobody may see a server that is empty for now.
    state.loading.store(true, Ordering::Relaxed);
    let (host, asked) = host::ServerHost::new();
    state.set_host(Box::new(host));
    state.memory_startup.store(eviction::usage(state).used as u64, Ordering::Relaxed);

    // Calls run on the first; the second one keeps HTTP, signals and timers off its threads.
    let workers = match state.settings.int(settings::IO_THREADS) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::try_from(threads).unwrap_or(1),
    };
    let calls = runtime("synap-resp", workers)?;
    let side = runtime("synap-side", SIDE_WORKERS)?;

    side.spawn(resp::close_idle(engine.clone()));
    side.spawn(look(engine.clone()));
    let mut stops = {
        let _inside = side.enter();
        // Watched before anybody is told that we are here.
        host::Stops::watch(asked)
    };

    let resp = bind(state, settings::BIND, settings::PORT)?;
    for listener in resp {
        tell("RESP", &listener)?;
        let listener = listen(&calls, listener)?;
        calls.spawn(resp::accept(engine.clone(), listener));
    }
    let (closing, closes) = tokio::sync::watch::channel(false);
    let mut http = tokio::task::JoinSet::new();
    let pulse = std::sync::Arc::<http::Pulse>::default();
    calls.spawn(pulse.clone().beat(side.handle().clone()));
    for listener in bind(state, settings::HTTP_BIND, settings::HTTP_PORT)? {
        tell("HTTP", &listener)?;
        let (listener, mut closes) = (listen(&side, listener)?, closes.clone());
        let shutdown = async move {
            // A sender that is gone closes too.
            let _ = closes.wait_for(|closing| *closing).await;
        };
        http.spawn_on(http::serve(engine.clone(), listener, pulse.clone(), shutdown), side.handle());
    }
    let (loaded, result) = tokio::sync::oneshot::channel();
    let (loader, options) = (engine.clone(), config.load);
    let load = move || {
        // Whoever asked for the end meanwhile does not listen any more.
        let _ = loaded.send(load(&loader, options));
    };
    std::thread::Builder::new().name("synap-load".into()).spawn(load).map_err(|error| error.to_string())?;
    let is_loaded = side.block_on(async {
        tokio::select! {
            // A sender that is gone has panicked, and said so.
            result = result => result.unwrap_or_else(|_| Err("the data could not be loaded".into())).map(|()| true),
            () = tell_progress(state) => Ok(false),
            _ = stops.next() => Ok(false),
        }
    })?;
    if !is_loaded {
        // Nothing was changed, and nothing is there to be saved.
        tracing::info!("ended before all data were loaded");
        return Ok(());
    }
    println!("ready");
    side.block_on(until_stopped(state, &mut stops));

    tracing::info!("closing");
    closing.send_replace(true);
    side.block_on(resp::close_all(&engine));
    side.block_on(async { while http.join_next().await.is_some() {} });
    side.shutdown_timeout(Duration::from_secs(1));
    calls.shutdown_timeout(Duration::from_secs(1));
    engine.close().map_err(|error| format!("the end of the log is not safe on disk: {error}"))
}

/// Waits until the program is to end and may end.
async fn until_stopped(state: &State, stops: &mut host::Stops) {
    while stops.next().await != host::Stop::Asked {
        tokio::select! {
            ready = end::prepare(state, ShutdownOptions::default()) => match ready {
                Ok(()) => return,
                Err(error) => tracing::error!("the server goes on: {error}"),
            },
            () = stops.insisted() => return,
        }
    }
}

/// How often the log of a long start says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Says how far the load is, and never ends.
async fn tell_progress(state: &State) {
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let progress = &state.load_progress;
        let (loaded, total) =
            (progress.loaded_bytes.load(Ordering::Relaxed), progress.total_bytes.load(Ordering::Relaxed));
        if total > 0 {
            tracing::info!("loading: {loaded} of {total} bytes");
        }
    }
}

/// Brings in what the data folder has.
fn load(engine: &Engine, options: LoadOptions) -> Result<(), String> {
    let dir = engine.state().settings.text(settings::DIR);
    let loaded = engine.load(&dir, options).map_err(|error| format!("{dir}: {error}"))?;
    if let Some(error) = &loaded.unread {
        tracing::warn!("{error}. The older snapshot is taken, with the log from its place on");
    }
    if let Some(tail) = &loaded.log.tail {
        tracing::warn!(
            "{}: {} bytes from byte {} on had not reached the disk and are cut: the log ends at offset {}",
            tail.file,
            tail.bytes,
            tail.at,
            loaded.log.end.offset
        );
    }
    tracing::info!(
        "loaded {} keys of a snapshot and {} bytes of the log in {:.3} s",
        loaded.keys,
        loaded.log.bytes,
        loaded.seconds
    );
    Ok(())
}

/// How often [`look`] does.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// Looks at what goes on by itself: rates, the peak of memory, settings of the log. Until the runtime ends.
async fn look(engine: Engine) {
    loop {
        engine.state().sample();
        if let Err(why) = logs::follow(&engine.state().settings) {
            tracing::warn!("{why}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn runtime(name: &str, workers: usize) -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(4)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime {name} cannot start: {error}"))
}

/// Binds each address of the setting; nothing when the port is 0.
fn bind(state: &State, addresses: settings::Id, port: settings::Id) -> Result<Vec<std::net::TcpListener>, String> {
    let port = state.settings.int(port);
    if port == 0 {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for address in state.settings.text(addresses).split_whitespace() {
        // A leading minus means that the address may be missing, as in redis.conf.
        let (address, optional) = address.strip_prefix('-').map_or((address, false), |address| (address, true));
        let address = if address == "*" { "0.0.0.0" } else { address };
        let target: SocketAddr = match address.parse() {
            Ok(ip) => SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)),
            Err(_) => return Err(format!("{address:?} is not an IP address to bind to")),
        };
        match bind_one(target) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional => tracing::warn!("{target} is left out: {error}"),
            Err(error) => return Err(format!("{target} cannot be listened on: {error}")),
        }
    }
    Ok(listeners)
}

/// Waiting connections that the system holds for us.
const BACKLOG: i32 = 1024;

fn bind_one(target: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(target), socket2::Type::STREAM, None)?;
    if target.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a restart does not wait for the last connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&target.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen(runtime: &Runtime, listener: std::net::TcpListener) -> Result<TcpListener, String> {
    let _inside = runtime.enter();
    TcpListener::from_std(listener).map_err(|error| format!("a listener cannot be watched: {error}"))
}

/// Says where a door is, for people and for tests.
fn tell(door: &str, listener: &std::net::TcpListener) -> Result<(), String> {
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("{door} on {address}");
    Ok(())
}
