//! `cargo bench --bench redis_comparison`: our release build beside `valkey-server` or `redis-server`, in one run.
//!
//! The method, and what each number means, is in `docs/BENCHMARKS.md`; the options are in `--help`.

#[cfg(target_os = "linux")]
#[path = "redis_comparison/mod.rs"]
mod redis_comparison;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    redis_comparison::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("redis_comparison reads the processor time and memory of both servers from Linux, and runs only there.");
}
