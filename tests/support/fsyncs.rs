//! A server whose fsyncs fail as long as the test wants it: the kernel asks the test about each one. (seccomp with a
//! listener, which needs no rights.)

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[derive(Clone, Default)]
pub struct Fsyncs {
    are_failing: Arc<AtomicBool>,
}

impl Fsyncs {
    /// False where the kernel, or whatever the tests run in, has no such thing.
    pub fn can_be_watched() -> bool {
        let mut command = Command::new("true");
        Fsyncs::default().watch(&mut command);
        command.status().is_ok()
    }

    /// From now on they fail, or not.
    pub fn fail(&self, fail: bool) {
        self.are_failing.store(fail, Ordering::SeqCst);
    }

    /// The process that this command starts asks us.
    pub fn watch(&self, command: &mut Command) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let are_failing = self.are_failing.clone();
        thread::spawn(move || {
            // It never comes when the process could not be started.
            if let Ok(listener) = receive(&ours) {
                answer(&listener, &are_failing);
            }
        });
        let prepare = move || send(theirs.as_raw_fd(), listen()?);
        // SAFETY: between fork and exec the closure makes system calls on its own stack; it takes no lock and allocates
        // nothing.
        unsafe { command.pre_exec(prepare) };
    }
}

/// Answers until the process has ended.
fn answer(listener: &OwnedFd, are_failing: &AtomicBool) {
    loop {
        let mut wait = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure that outlives the call.
        let ready = unsafe { libc::poll(&raw mut wait, 1, -1) };
        if ready < 0 || wait.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: both structures are plain numbers, for which zeros are values.
        let (mut call, mut reply): (libc::seccomp_notif, libc::seccomp_notif_resp) = unsafe { (zeroed(), zeroed()) };
        // SAFETY: the kernel writes one `seccomp_notif`, which is zeroed as it wants it and outlives the call.
        if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) } != 0 {
            // Whoever asked was killed meanwhile.
            continue;
        }
        reply.id = call.id;
        match are_failing.load(Ordering::SeqCst) {
            true => reply.error = -libc::EIO,
            false => reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        // SAFETY: the kernel reads one `seccomp_notif_resp`. When it fails, whoever asked has been killed.
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut reply) };
    }
}

/// Has the kernel ask about every fsync of this process, and of what it becomes; where it asks.
fn listen() -> io::Result<RawFd> {
    let line = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut lines = [
        // The number of the call is what the data begin with.
        line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        line(jump, 1, 0, libc::SYS_fsync as u32),
        line(jump, 0, 1, libc::SYS_fdatasync as u32),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        line(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: lines.len() as u16, filter: lines.as_mut_ptr() };
    // SAFETY: changes a setting of the calling process, and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the kernel copies the program, which outlives the call.
    match unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) } {
        fd if fd >= 0 => Ok(fd as RawFd),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Room for the head of a message and one descriptor, aligned as the kernel wants it.
type Control = [u64; 4];

/// A message of one byte whose place for a descriptor is `control`; `work` must not keep it.
fn with_message<R>(control: &mut Control, work: impl FnOnce(&mut libc::msghdr) -> R) -> R {
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: a structure of numbers and pointers, for which zeros are values.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    work(&mut message)
}

fn send(socket: RawFd, fd: RawFd) -> io::Result<()> {
    with_message(&mut Control::default(), |message| {
        // SAFETY: the lengths are those of one descriptor, for which `Control` has room.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let head = &mut *libc::CMSG_FIRSTHDR(message);
            head.cmsg_level = libc::SOL_SOCKET;
            head.cmsg_type = libc::SCM_RIGHTS;
            head.cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(head).cast::<RawFd>().write_unaligned(fd);
        }
        // SAFETY: all that the message points at outlives the call.
        match unsafe { libc::sendmsg(socket, message, 0) } {
            1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    with_message(&mut Control::default(), |message| {
        // SAFETY: all that the message points at outlives the call.
        let count = unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) };
        // SAFETY: the kernel has filled the message and said how long its parts are.
        let head = unsafe { libc::CMSG_FIRSTHDR(message) };
        if count != 1 || head.is_null() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the one who sends sends one descriptor, which is ours from here on.
        Ok(unsafe { OwnedFd::from_raw_fd(libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned()) })
    })
}
