//! The Synap server program: configuration, listeners, connections, shutdown.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | settings from files, environment and command line |
//! | [`listeners`] | the doors that listen, and what changes them while the server runs |
//! | [`resp`] | RESP connections, over a [`stream`] of one kind or another |
//! | [`http`] | the HTTP listener and its requests |
//! | [`mcp`] | the door of agents |
//! | [`drive`] | runs one call to its end, for doors whose calls come one at a time |
//! | [`host`] | what the engine asks of the program around it |
//! | [`limits`] | open files |
//! | [`logs`] | what the program tells about itself |
//! | [`notify`] | tells the service manager how far we are |
//! | [`tls`] | certificates |
//! | [`tools`] | what can be done with a data folder while no server runs on it |
//! | [`transfer`] | keys sent to another server |

mod config;
mod drive;
mod host;
mod http;
mod limits;
mod listeners;
mod logs;
#[cfg(feature = "mcp")]
mod mcp;
mod notify;
mod resp;
mod stream;
mod tls;
mod tools;
mod transfer;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use synap_core::execute::{ShutdownOptions, State, eviction};
use synap_core::memory::Counting;
use synap_core::persist::{LoadOptions, end};
use synap_core::settings;
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
    let served = match config::Asked::from_args() {
        Ok(config::Asked::Serve(config)) => run(config).inspect_err(|message| tracing::error!("{message}")),
        Ok(config::Asked::Tool(tool)) => tools::run(&tool).inspect_err(|message| eprintln!("{message}")),
        Err(message) => {
            // The first line in Redis' words: scripts look for them.
            eprintln!("*** FATAL CONFIG FILE ERROR ***\n{message}");
            Err(message)
        }
    };
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Opens the engine and its doors, and stays until the program is to end.
fn run(config: config::Config) -> Result<(), String> {
    let config::Config { settings, users, table, file, load: load_options, warnings } = config;
    #[cfg(feature = "mcp")]
    mcp::tools(table, &settings)?;
    logs::follow(&settings)?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    if let Some(warning) = limits::raise_descriptors(&settings)? {
        tracing::warn!("{warning}");
    }
    let engine = Engine::open_memory(Options { settings, table, ..Options::default() });
    engine.load_users(&users).map_err(|error| format!("Aborting startup because of ACL errors: {error}"))?;
    let state = engine.state();
    // Before the first caller comes: nobody may see a server that is empty for now.
    state.loading.store(true, Ordering::Relaxed);
    // Calls run on the first; the second one keeps HTTP, signals and timers off its threads.
    let workers = match state.settings.int(settings::IO_THREADS) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => usize::try_from(threads).unwrap_or(1),
    };
    let calls = runtime("synap-resp", workers)?;
    let side = runtime("synap-side", SIDE_WORKERS)?;
    let listeners = Arc::new(listeners::Listeners::new(calls.handle().clone()));
    let (host, asked) = host::ServerHost::new(listeners.clone(), file);
    state.set_host(Box::new(host));
    state.memory_startup.store(eviction::usage(state).used as u64, Ordering::Relaxed);

    side.spawn(resp::look_after(engine.clone()));
    side.spawn(look(engine.clone()));
    let mut stops = {
        let _inside = side.enter();
        // Watched before anybody is told that we are here.
        host::Stops::watch(asked)
    };

    listeners.open(&engine)?;
    let (closing, closes) = tokio::sync::watch::channel(false);
    let mut http = tokio::task::JoinSet::new();
    let pulse = Arc::<http::Pulse>::default();
    calls.spawn(pulse.clone().beat(side.handle().clone()));
    let bind_all = |door| listeners::bind_all(door, &state.settings);
    let plain = bind_all(listeners::Door::Http)?.into_iter().map(|listener| (listener, None));
    let secured = bind_all(listeners::Door::HttpTls)?.into_iter();
    for (listener, tls) in plain.chain(secured.map(|listener| (listener, Some(listeners.tls.clone())))) {
        let (listener, mut closes) = (listen(&side, listener)?, closes.clone());
        let shutdown = async move {
            // A sender that is gone closes too.
            let _ = closes.wait_for(|closing| *closing).await;
        };
        http.spawn_on(http::serve(engine.clone(), listener, tls, pulse.clone(), shutdown), side.handle());
    }
    println!("Synap {}, PID: {}: Server initialized", env!("CARGO_PKG_VERSION"), std::process::id());
    notify::tell(notify::LOADING);
    let (loaded, result) = tokio::sync::oneshot::channel();
    let (loader, options) = (engine.clone(), load_options);
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
    });
    if let Ok(true) = is_loaded {
        println!("ready: Ready to accept connections");
        notify::tell(notify::READY);
        side.block_on(until_stopped(state, &mut stops));
    }
    // Nobody comes in any more; those who are in end with what they have begun.
    notify::tell(notify::STOPPING);
    listeners.close();
    if !is_loaded? {
        // Nothing was changed, and nothing is there to be saved.
        tracing::info!("ended before all data were loaded");
        return Ok(());
    }

    tracing::info!("closing");
    closing.send_replace(true);
    side.block_on(resp::close_all(&engine));
    side.block_on(async { while http.join_next().await.is_some() {} });
    side.shutdown_timeout(Duration::from_secs(1));
    calls.shutdown_timeout(Duration::from_secs(1));
    engine.close().map_err(|error| format!("the end of the log is not safe on disk: {error}"))?;
    // In Redis' words: scripts look for them.
    tracing::info!("ready to exit, bye bye");
    Ok(())
}

/// Waits until the program is to end and may end.
async fn until_stopped(state: &State, stops: &mut host::Stops) {
    loop {
        let setting = match stops.next().await {
            host::Stop::Asked => return,
            host::Stop::Terminate => settings::SHUTDOWN_ON_SIGTERM,
            host::Stop::Interrupt => settings::SHUTDOWN_ON_SIGINT,
        };
        let options = ShutdownOptions::from_words(&state.settings.text(setting));
        tokio::select! {
            ready = end::prepare(state, options) => match ready {
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
    if loaded.snapshot.is_none()
        && loaded.log.end.offset == 0
        && let Some(theirs) = data_of_redis(&engine.state().settings)
    {
        tracing::warn!(
            "the data folder has no data of Synap, and {theirs} is not read: bring it into a new folder with \
             `synap-server load {theirs} --dir FOLDER`, and start the server on that"
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

/// What Redis or Valkey has left in the data folder: a server that takes its place, with its configuration, begins with
/// nothing otherwise, and nobody would know why.
fn data_of_redis(settings: &settings::Settings) -> Option<String> {
    let dir = settings.text(settings::DIR);
    let path = |name: settings::Id| std::path::Path::new(&*dir).join(&*settings.text(name));
    let found = [settings::APPENDDIRNAME, settings::DBFILENAME].map(path).into_iter().find(|path| path.exists());
    found.map(|path| path.display().to_string())
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

fn listen(runtime: &Runtime, listener: std::net::TcpListener) -> Result<TcpListener, String> {
    let _inside = runtime.enter();
    TcpListener::from_std(listener).map_err(|error| format!("a listener cannot be watched: {error}"))
}
