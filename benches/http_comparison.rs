//! `cargo bench --bench http_comparison`: processor time per HTTP request of our release build, beside a bare `axum` handler
//! that answers a constant of the same size, and beside `webdis` in front of a Redis where both are in PATH.
//!
//! 50 connections are kept open. Each sends a request, all answers are read, and so on; the servers have one core and the
//! load another. The method is that of `redis_comparison`: the servers are measured in turns, and the median of the rounds
//! counts. Last come calls as lines (NDJSON) over one connection.

#[cfg(target_os = "linux")]
#[path = "redis_comparison/system.rs"]
#[allow(dead_code)]
mod system;

#[cfg(target_os = "linux")]
#[path = "http_comparison/mod.rs"]
mod http_comparison;

/// What went wrong, as one sentence for the person at the terminal.
pub type Result<T, E = String> = std::result::Result<T, E>;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    http_comparison::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("http_comparison reads the processor time of the servers from Linux, and runs only there.");
}
