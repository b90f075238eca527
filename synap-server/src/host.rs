//! What the engine asks of the program around it, and how the program is told to end.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use synap_core::Error;
use synap_core::execute::state::{Rewriting, Transfer, Transferring};
use synap_core::execute::{Host, ShutdownOptions};
use synap_core::settings::{self, Id, Settings};
use tokio::sync::watch;

use crate::config::rewrite;
use crate::limits;
use crate::listeners::Listeners;
use crate::tls;

pub struct ServerHost {
    stop: watch::Sender<bool>,
    listeners: Arc<Listeners>,
    /// The configuration file, if there is one.
    file: Option<PathBuf>,
}

impl ServerHost {
    /// The host, and what becomes true when the program is to end.
    pub fn new(listeners: Arc<Listeners>, file: Option<PathBuf>) -> (ServerHost, watch::Receiver<bool>) {
        let (stop, stopped) = watch::channel(false);
        (ServerHost { stop, listeners, file }, stopped)
    }
}

impl Host for ServerHost {
    fn shutdown(&self, _: ShutdownOptions) {
        self.stop.send_replace(true);
    }

    fn settings_changed(&self, settings: &Settings, changed: &[Id]) -> Result<(), (Id, String)> {
        if changed.contains(&settings::MAXCLIENTS) {
            limits::check_descriptors(settings).map_err(|why| (settings::MAXCLIENTS, why))?;
        }
        if changed.iter().any(|id| tls::SETTINGS.contains(id)) {
            self.listeners.tls.follow(settings)?;
        }
        if changed.iter().any(|id| [settings::PORT, settings::TLS_PORT, settings::BIND].contains(id)) {
            self.listeners.follow(settings).inspect_err(|(_, why)| tracing::warn!("{why}"))?;
        }
        Ok(())
    }

    fn rewrite_config(&self, values: Vec<(Id, String)>) -> Rewriting {
        let file = self.file.clone();
        Box::pin(async move {
            let Some(file) = file else { return Err(Error::err("The server is running without a config file")) };
            let written = tokio::task::spawn_blocking(move || rewrite::write(&file, &values)).await;
            let written = written.unwrap_or_else(|_| Err("the server is closing".into()));
            written.map_err(|why| Error::fmt(format!("Rewriting config file: {why}")))
        })
    }

    fn transfer(&self, transfer: Transfer) -> Transferring {
        Box::pin(crate::transfer::send(transfer))
    }

    fn info(&self, section: &str, out: &mut String) {
        match section {
            "memory" => {
                if let Some(resident) = stat(tikv_jemalloc_ctl::stats::resident::read) {
                    // Writing into a String cannot fail.
                    let _ = write!(out, "used_memory_rss:{resident}\r\nmem_allocator:jemalloc\r\n");
                }
            }
            "cpu" => {
                if let Some((user, system)) = cpu_seconds() {
                    let _ = write!(out, "used_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n");
                }
            }
            _ => {}
        }
    }

    fn memory_used(&self) -> Option<u64> {
        stat(tikv_jemalloc_ctl::stats::allocated::read)
    }
}

/// One figure of the allocator, as of now.
fn stat(read: fn() -> tikv_jemalloc_ctl::Result<usize>) -> Option<u64> {
    tikv_jemalloc_ctl::epoch::advance().ok()?;
    read().ok().map(|bytes| bytes as u64)
}

/// Seconds that this process has spent, in its own code and in the system's.
fn cpu_seconds() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold blanks: count behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    // Linux counts in hundredths for every program that asks.
    Some((user / 100.0, system / 100.0))
}

/// Waits for SHUTDOWN, SIGTERM or SIGINT. Signals are watched from this call on, whenever the future is awaited.
pub fn until_stopped(mut stopped: watch::Receiver<bool>) -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    // A file at the process's limit is an error of its write, which is dealt with as a full disk; unwatched, the signal
    // ends the program.
    let too_large = signal(SignalKind::from_raw(libc::SIGXFSZ));
    if let Err(error) = too_large {
        tracing::warn!("a file at its limit will end the server: {error}");
    }
    let signalled = async {
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            _ => {
                tracing::warn!("signals cannot be watched: end the server with SHUTDOWN");
                std::future::pending::<()>().await;
            }
        }
    };
    async move {
        tokio::select! {
            () = signalled => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }
}
