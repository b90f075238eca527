//! How many files and connections the system lets this process have.

use std::io;

use synap_core::settings::{self, Settings};

/// Descriptors that are kept for files and listeners.
const RESERVED: u64 = 64;

/// Asks the system for as many descriptors as the setting `maxclients` takes. When it does not give them, the setting
/// is made smaller; then the answer is what to tell.
pub fn raise_descriptors(settings: &Settings) -> Result<Option<String>, String> {
    let Err(why) = check_descriptors(settings) else { return Ok(None) };
    let room = open_files().map_err(|error| error.to_string())?.saturating_sub(RESERVED);
    if room == 0 {
        return Err(why);
    }
    settings.set(settings::MAXCLIENTS, &room.to_string()).map_err(|error| error.text.to_string())?;
    Ok(Some(format!("maxclients is {room}: the system gives no more open files (ulimit -n)")))
}

/// Raises the limit of this process; an error when that is not enough.
pub fn check_descriptors(settings: &Settings) -> Result<(), String> {
    let wanted = u64::try_from(settings.int(settings::MAXCLIENTS)).unwrap_or(0).saturating_add(RESERVED);
    if open_files().is_ok_and(|now| now >= wanted) || raise(wanted).is_ok() {
        return Ok(());
    }
    let room = open_files().unwrap_or(0).saturating_sub(RESERVED);
    Err(format!("The operating system is not able to handle the specified number of clients, try with {room}"))
}

fn get() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a structure that this call fills in.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open_files() -> io::Result<u64> {
    get().map(|limit| limit.rlim_cur)
}

/// Takes what the system allows up to `wanted`; an error when it is less.
fn raise(wanted: u64) -> io::Result<()> {
    let limit = get()?;
    let set = |soft, hard| {
        let new = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the pointer is to a structure that this call reads.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const new) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if wanted <= limit.rlim_max {
        return set(wanted, limit.rlim_max);
    }
    // Beyond the hard limit only for those who may; else as far as it goes.
    set(wanted, wanted).or_else(|error| {
        set(limit.rlim_max, limit.rlim_max)?;
        Err(error)
    })
}
