//! What the engine asks of the program around it, and how the program is told to end.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use synap_core::Error;
use synap_core::execute::figures::Allocator;
use synap_core::execute::state::{Rewrite, Rewriting, Transfer, Transferring};
use synap_core::execute::{Host, ShutdownOptions};
use synap_core::settings::{self, Id, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
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

    fn rewrite_config(&self, rewrite: Rewrite) -> Rewriting {
        let file = self.file.clone();
        Box::pin(async move {
            let Some(file) = file else { return Err(Error::err("The server is running without a config file")) };
            let written = tokio::task::spawn_blocking(move || rewrite::write(&file, &rewrite)).await;
            let written = written.unwrap_or_else(|_| Err("the server is closing".into()));
            written.map_err(|why| Error::fmt(format!("Rewriting config file: {why}")))
        })
    }

    fn login_refused(&self, user: &str, addr: &str, count: u32) {
        tracing::warn!("{addr} gave a wrong password for the user {user:?}; {count} refused logins within a minute");
    }

    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }

    fn transfer(&self, transfer: Transfer) -> Transferring {
        Box::pin(crate::transfer::send(transfer))
    }

    fn info(&self, section: &str, out: &mut String) {
        match section {
            "memory" => {
                out.push_str("mem_allocator:jemalloc\r\n");
            }
            "cpu" => {
                if let Some((user, system)) = cpu_seconds() {
                    let _ = write!(
                        out,
                        // It has no children.
                        "used_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n\
                         used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n"
                    );
                }
            }
            _ => {}
        }
    }

    fn allocator(&self) -> Option<Allocator> {
        use tikv_jemalloc_ctl::stats;
        Some(Allocator {
            allocated: stat(stats::allocated::read)?,
            active: stat(stats::active::read)?,
            resident: stat(stats::resident::read)?,
        })
    }

    fn allocator_report(&self) -> Option<String> {
        let mut report: Vec<u8> = Vec::new();
        // SAFETY: `append` is called with this vector and with texts that end with a zero byte, by this thread, before
        // the function returns; null stands for no options.
        unsafe { _rjem_malloc_stats_print(Some(append), (&raw mut report).cast(), std::ptr::null()) };
        Some(String::from_utf8_lossy(&report).into_owned())
    }

    fn purge_memory(&self) {
        // All arenas. It is refused only where the name is unknown.
        // SAFETY: a name that ends with a zero byte, nothing to read and nothing to write, as this one has it.
        unsafe {
            _rjem_mallctl(
                c"arena.4096.purge".as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
            );
        }
    }
}

/// Takes a piece of a report into the vector that `report` is.
unsafe extern "C" fn append(report: *mut std::ffi::c_void, text: *const std::ffi::c_char) {
    // SAFETY: both come from the one call that uses this function, which says what they are.
    let (report, text) = unsafe { (&mut *report.cast::<Vec<u8>>(), std::ffi::CStr::from_ptr(text)) };
    report.extend_from_slice(text.to_bytes());
}

type Append = unsafe extern "C" fn(*mut std::ffi::c_void, *const std::ffi::c_char);

unsafe extern "C" {
    fn _rjem_malloc_stats_print(
        append: Option<Append>,
        argument: *mut std::ffi::c_void,
        options: *const std::ffi::c_char,
    );

    /// The allocator's own: the crate around it always writes something, which a command without a value refuses.
    fn _rjem_mallctl(
        name: *const std::ffi::c_char,
        old: *mut std::ffi::c_void,
        old_len: *mut usize,
        new: *mut std::ffi::c_void,
        new_len: usize,
    ) -> std::ffi::c_int;
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

/// Who wants the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SHUTDOWN, which has done what comes before the end.
    Asked,
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// What may end the program, one after the other.
pub struct Stops {
    asked: watch::Receiver<bool>,
    signals: Option<(Signal, Signal)>,
}

impl Stops {
    /// Signals are watched from this call on. Within a runtime.
    pub fn watch(asked: watch::Receiver<bool>) -> Stops {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        // A file at the process's limit is an error of its write, which is dealt with as a full disk; unwatched, the signal
        // ends the program.
        let too_large = signal(SignalKind::from_raw(libc::SIGXFSZ));
        if let Err(error) = too_large {
            tracing::warn!("a file at its limit will end the server: {error}");
        }
        let signals = match signals {
            (Ok(terminate), Ok(interrupt)) => Some((terminate, interrupt)),
            _ => {
                tracing::warn!("signals cannot be watched: end the server with SHUTDOWN");
                None
            }
        };
        Stops { asked, signals }
    }

    pub async fn next(&mut self) -> Stop {
        let signalled = async {
            match &mut self.signals {
                None => std::future::pending().await,
                Some((terminate, interrupt)) => tokio::select! {
                    _ = terminate.recv() => Stop::Terminate,
                    _ = interrupt.recv() => Stop::Interrupt,
                },
            }
        };
        tokio::select! {
            stop = signalled => stop,
            _ = self.asked.wait_for(|asked| *asked) => Stop::Asked,
        }
    }

    /// Somebody who does not want to wait any longer.
    pub async fn insisted(&mut self) {
        // Those who watch over services say SIGTERM more than once, and mean the same.
        while self.next().await == Stop::Terminate {}
    }
}
