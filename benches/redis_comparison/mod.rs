//! Map, in reading order:
//!
//! - `options`: what the command line says;
//! - `rows`: the commands that are measured, their keys, their floors;
//! - `speed`: drives both servers in turns, row by row; `memory`: bytes per key and per connection; `evictions`: how well
//!   a full cache chooses what goes; `persistence`: the log, snapshots, starts;
//!   `snapshots`: what one costs while it is made; `tls`: SET over TLS;
//! - `load`: the load generator; `verify`: proof that the load had its effects; `fill`: what stands in the servers before;
//! - `servers`: starts and ends them; `client`: a plain RESP client; `report`: the tables;
//! - `system`: cores and clocks, the only file that talks to the kernel directly.

mod client;
mod evictions;
mod fill;
mod histogram;
mod load;
mod memory;
mod options;
mod persistence;
mod report;
mod rows;
mod servers;
mod snapshots;
mod speed;
mod system;
mod tls;
mod verify;

use std::process::ExitCode;

use clap::Parser;

use options::Options;
use servers::Launch;
use system::Cores;

/// What went wrong, as one sentence for the person at the terminal.
pub type Result<T, E = String> = std::result::Result<T, E>;

pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    // `cargo test --benches` and nextest's listing run this program too, without `--bench`: not for measuring.
    if words.len() == 1 || words.iter().any(|word| word == "--list" || word == "--test") {
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(missed) if missed > 0 => ExitCode::from(2),
        Ok(_) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("redis_comparison: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Answers how many floors were missed, when `--strict` asks for it.
fn run(options: &Options) -> Result<usize> {
    let needs_reference = options.speed_part()
        || options.memory_part()
        || options.evictions_part()
        || options.persistence_part()
        || options.tls_part();
    let theirs = if needs_reference { Launch::reference(options)? } else { None };
    if needs_reference && theirs.is_none() {
        println!("{}", servers::HOW_TO_INSTALL);
        return Ok(0);
    }
    system::raise_file_limit();
    servers::sweep();

    let ours = Launch::ours(options, 1);
    let allowed = system::allowed_cores()?;
    report::facts(options, &ours, theirs.as_ref())?;
    let mut missed = 0;
    if let Some(theirs) = theirs {
        let cores = Cores::choose(&allowed, 1);
        if options.speed_part() {
            report::title("Speed", &cores);
            missed += report::speed(&speed::compare(options, &ours, &theirs, &cores, rows::floor)?, "theirs");
        }
        if options.memory_part() {
            missed += report::memory(&memory::compare(options, &ours, &theirs, &cores)?);
        }
        if options.evictions_part() {
            missed += report::evictions(&evictions::compare(options, &ours, &theirs, &cores)?);
        }
        if options.persistence_part() {
            report::title("Keeping the data", &cores);
            missed += report::persistence(&persistence::compare(options, &ours, &theirs, &cores)?);
        }
        if options.tls_part() {
            report::title("TLS", &cores);
            missed += report::numbers(&[tls::compare(options, &ours, &theirs, &cores)?]);
        }
    }
    if let Some(workers) = options.workers_part() {
        let cores = Cores::choose(&allowed, workers);
        report::title(&format!("{workers} workers beside one, both ours"), &cores);
        let many = Launch::ours(options, workers);
        let lines = speed::compare(options, &many, &ours, &cores, |_, _| Some(rows::WORKERS_FLOOR))?;
        missed += report::speed(&lines, "one worker");
    }
    report::summary(missed);
    Ok(if options.strict { missed } else { 0 })
}
