//! Map: `servers` starts and ends them, `load` drives them; the bare handler stands here.

mod load;
mod servers;

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use clap::Parser;

use crate::Result;
use crate::system::{self, Cores};
use load::Row;
use servers::Servers;

/// Ours may cost so much more than the bare handler.
const BARE_RATIO_MAX: f64 = 1.35;
/// And so much of `webdis` with its Redis.
const WEBDIS_RATIO_MAX: f64 = 0.5;
/// Microseconds of one SET as a line.
const LINE_MICROS_MAX: f64 = 2.0;

#[derive(Parser)]
struct Options {
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Lines of the NDJSON measurement.
    #[arg(long, default_value_t = 1_000_000)]
    lines: u64,
    /// Our program, where it is not the one that was built with this.
    #[arg(long)]
    ours: Option<std::path::PathBuf>,
    /// Ends with status 2 when a floor is missed.
    #[arg(long)]
    strict: bool,
    /// Only for itself: serves the bare handler on this port.
    #[arg(long, hide = true)]
    bare: Option<u16>,
    #[arg(long, hide = true)]
    bench: bool,
}

pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    // `cargo test --benches` and nextest's listing run this program too, without `--bench`: not for measuring.
    if words.len() == 1 || words.iter().any(|word| word == "--list" || word == "--test") {
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let ended = match options.bare {
        Some(port) => bare(port).map(|()| 0),
        None => run(&options),
    };
    match ended {
        Ok(missed) if missed > 0 && options.strict => ExitCode::from(2),
        Ok(_) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("http_comparison: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Answers what ours does, and does nothing for it.
fn bare(port: u16) -> Result<()> {
    const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(async {
        let routes = Router::new()
            .route("/api/v1/kv/get/{key}", get(|| async { (JSON, load::GET_REPLY) }))
            .route("/api/v1/kv/set", post(|_body: Bytes| async { (JSON, load::SET_REPLY) }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        axum::serve(listener, routes).await.map_err(|error| error.to_string())
    })
}

fn run(options: &Options) -> Result<usize> {
    system::raise_file_limit();
    let cores = Cores::choose(&system::allowed_cores()?, 1);
    let ours = Servers::ours(options.ours.as_deref(), &cores)?;
    let bare = Servers::bare(&cores)?;
    let webdis = Servers::webdis(&cores)?;
    if webdis.is_none() {
        eprintln!("There is no webdis with a redis-server in PATH (apt-get install webdis redis-server): left out.");
    }
    system::pin(&cores.load).map_err(|error| error.to_string())?;
    if cores.shared {
        println!("The load shares the server's core: take the times as upper bounds.");
    }
    let seconds = Duration::from_secs(options.seconds);
    let mut missed = 0;
    println!("| µs of processor time per request | ours | bare axum | ratio | webdis and Redis | ratio |");
    println!("|---|---|---|---|---|---|");
    for row in [Row::Get, Row::Set] {
        let mut rounds: [Vec<f64>; 3] = Default::default();
        for _ in 0..options.rounds {
            rounds[0].push(load::requests(&ours, row, seconds)?);
            rounds[1].push(load::requests(&bare, row, seconds)?);
            if let Some(webdis) = &webdis {
                rounds[2].push(load::requests(webdis, row, seconds)?);
            }
        }
        let [ours, bare, webdis] = rounds.map(median);
        let (to_bare, to_webdis) = (ours / bare, ours / webdis);
        missed += usize::from(to_bare > BARE_RATIO_MAX) + usize::from(to_webdis > WEBDIS_RATIO_MAX);
        let name = row.name();
        println!("| {name} | {ours:.2} | {bare:.2} | {to_bare:.2} | {webdis:.2} | {to_webdis:.2} |");
    }
    let lines = (0..options.rounds).map(|_| load::lines(&ours, options.lines)).collect::<Result<Vec<f64>>>()?;
    let lines = median(lines);
    missed += usize::from(lines > LINE_MICROS_MAX);
    println!("\nOne SET as a line (NDJSON): {lines:.2} µs");
    println!(
        "Floors missed: {missed} ({BARE_RATIO_MAX} × bare, {WEBDIS_RATIO_MAX} × webdis, {LINE_MICROS_MAX} µs a line)"
    );
    Ok(missed)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
