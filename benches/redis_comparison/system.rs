//! Cores and clocks: what the standard library does not offer.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::Result;

/// Which cores the server under test has, and which the load has.
#[derive(Clone, Debug)]
pub struct Cores {
    pub server: Vec<usize>,
    pub load: Vec<usize>,
    /// The two share cores: the load disturbs the server.
    pub shared: bool,
}

impl Cores {
    /// The last cores for the server, because devices like to interrupt the first one; the load elsewhere, and not on
    /// the other half of a server's physical core when that can be had. A server with more than one worker may take
    /// every core of a small machine, and the load then shares them.
    pub fn choose(allowed: &[usize], workers: u32) -> Cores {
        let count = allowed.len();
        let server = allowed[count - count.min(workers as usize)..].to_vec();
        let others: Vec<usize> = allowed.iter().copied().filter(|core| !server.contains(core)).collect();
        let is_apart = |core: &&usize| !server.iter().any(|server_core| siblings(*server_core).contains(*core));
        let apart: Vec<usize> = others.iter().filter(is_apart).copied().collect();
        let (load, shared) = match (apart.is_empty(), others.is_empty()) {
            (false, _) => (apart, false),
            (true, false) => (others, false),
            (true, true) => (server.clone(), true),
        };
        Cores { server, load, shared }
    }
}

/// The cores that are hardware threads of the same physical core as this one.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

pub fn allowed_cores() -> Result<Vec<usize>> {
    // SAFETY: a `cpu_set_t` is an array of integers, for which zeros are a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size are those of `set`, which outlives the call.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Err(format!("cannot read which cores are allowed: {}", io::Error::last_os_error()));
    }
    // SAFETY: the index is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

/// Binds the calling thread, and what it will start, to these cores.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` is an array of integers, for which zeros are a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        // SAFETY: the cores come from `allowed_cores` and are below CPU_SETSIZE.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: the pointer and the size are those of `set`, which outlives the call.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the command start on these cores, and die with the thread that starts it, whatever ends that thread.
pub fn tie(command: &mut Command, cores: &[usize]) {
    let cores = cores.to_vec();
    let prepare = move || {
        // SAFETY: changes a setting of the calling process, the child, and touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        pin(&cores)
    };
    // SAFETY: between fork and exec the closure makes two system calls on its own stack; it takes no lock and
    // allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// The processor time of a process: all its threads, those that ended too, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock(libc::clockid_t);

impl ProcessClock {
    pub fn of(pid: u32) -> Result<ProcessClock> {
        let mut clock = 0;
        // SAFETY: writes one integer that outlives the call.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
            0 => Ok(ProcessClock(clock)),
            error => {
                let reason = io::Error::from_raw_os_error(error);
                Err(format!("cannot find the processor clock of process {pid}: {reason}"))
            }
        }
    }

    pub fn now(self) -> Result<Duration> {
        read_clock(self.0).map_err(|error| format!("cannot read the server's processor clock: {error}"))
    }
}

/// The processor time of the calling thread.
pub fn thread_time() -> Duration {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

fn read_clock(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one `timespec` that outlives the call.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        0 => Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this process, and the servers that inherit it, open as many files as the system permits.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given one `rlimit` that outlives them. When one fails, the old limit stays, and a
    // connection that cannot be opened will say so.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
