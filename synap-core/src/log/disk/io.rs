//! One folder of files, as the log needs it. [`RealDisk`] is the system's; tests have one that fails on demand.
//!
//! Everything that decides about safety is a method here: what is written is not on disk before [`File::sync`], and
//! what was created, renamed or removed is not before [`Disk::sync_folder`].

use std::any::Any;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is locked while a server owns the folder.
pub const LOCK: &str = "lock";

/// One folder. Names are of files directly in it.
pub trait Disk: Send + Sync + 'static {
    /// Makes a new file; an error when there is one of that name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file to read it and to write into it.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, in place of the file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes the disk follow in what was created, renamed and removed.
    fn sync_folder(&self) -> io::Result<()>;

    /// Keeps other processes out until the value is dropped. `WouldBlock` when one is in.
    fn lock(&self) -> io::Result<Lock>;
}

/// Held while the folder is ours.
pub type Lock = Box<dyn Any + Send + Sync>;

/// One open file. Positions are given with each call, so threads need not agree on one.
pub trait File: Send + Sync {
    fn len(&self) -> io::Result<u64>;

    /// Reads what is there, possibly less than asked for; 0 at the end.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes, possibly less than asked for.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Sets space aside: the file is `len` bytes long then, and what was not written reads as zeros.
    fn preallocate(&self, len: u64) -> io::Result<()>;

    /// Cuts what stands behind `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the disk follow in what was written, and in what is needed to read it. After an error nobody knows what
    /// is on disk, and a later success says nothing about what was written before the error.
    fn sync(&self) -> io::Result<()>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Writes all of `bytes`.
pub fn write_all_at(file: &dyn File, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(at, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `out` as far as the file goes; returns how far.
pub fn read_full_at(file: &dyn File, at: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(at + filled as u64, &mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A folder of the machine.
pub struct RealDisk {
    path: PathBuf,
    read_only: bool,
}

impl RealDisk {
    /// Opens a folder, making it when it is not there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let path = path.into();
        if !path.is_dir() {
            fs::create_dir_all(&path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            sync_folder(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(RealDisk { path, read_only: false })
    }

    /// Opens a folder that is there, to look at it: nothing in it can be changed, and its lock is shared with others
    /// who look.
    pub fn to_read(path: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let path = path.into();
        fs::read_dir(&path)?;
        Ok(RealDisk { path, read_only: true })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn may_write(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.may_write()?;
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(!self.read_only).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.may_write()?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.may_write()?;
        fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not text is not one of ours.
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    fn lock(&self) -> io::Result<Lock> {
        let path = self.path.join(LOCK);
        let locked;
        let file;
        if self.read_only {
            file = match fs::File::open(path) {
                // Nobody has ever written here: a copy, for example.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Box::new(())),
                opened => opened?,
            };
            locked = file.try_lock_shared();
        } else {
            file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(out, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, at)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.0, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(target_os = "linux")]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let length = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and the call is given no memory.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // Not every file system can; then the length alone must do.
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return file.set_len(len),
            _ => return Err(error),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

#[cfg(test)]
mod tests {
    use super::super::testing::TempFolder;
    use super::*;

    #[test]
    fn a_real_folder_does_what_is_asked() {
        let folder = TempFolder::new("io");
        let disk = RealDisk::open(folder.path()).unwrap();
        let file = disk.create("a").unwrap();
        assert!(file.is_empty().unwrap());
        assert_eq!(disk.create("a").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        file.preallocate(10_000).unwrap();
        write_all_at(&*file, 5, b"hello").unwrap();
        file.sync().unwrap();
        disk.sync_folder().unwrap();
        let mut bytes = [1; 12];
        assert_eq!(read_full_at(&*disk.open("a").unwrap(), 0, &mut bytes).unwrap(), 12);
        assert_eq!(&bytes, b"\0\0\0\0\0hello\0\0");
        assert_eq!(file.len().unwrap(), 10_000);
        file.set_len(7).unwrap();
        assert_eq!(read_full_at(&*file, 0, &mut bytes).unwrap(), 7);
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        disk.remove("b").unwrap();
        assert!(disk.open("b").is_err());
    }

    #[test]
    fn a_folder_belongs_to_one() {
        let folder = TempFolder::new("lock");
        let disk = RealDisk::open(folder.path()).unwrap();
        let lock = disk.lock().unwrap();
        let other = RealDisk::open(folder.path()).unwrap();
        assert_eq!(other.lock().err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        other.lock().unwrap();
    }

    #[test]
    fn those_who_look_share_the_folder_and_change_nothing() {
        let folder = TempFolder::new("look");
        let disk = RealDisk::open(folder.path()).unwrap();
        let looks = [(); 2].map(|()| RealDisk::to_read(folder.path()).unwrap());
        drop(looks[0].lock().unwrap());
        assert_eq!(disk.list().unwrap(), Vec::<String>::new());
        let lock = disk.lock().unwrap();
        assert_eq!(looks[0].lock().err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        let _shared = [looks[0].lock().unwrap(), looks[1].lock().unwrap()];
        assert_eq!(disk.lock().err().unwrap().kind(), io::ErrorKind::WouldBlock);
        disk.create("a").unwrap();
        let file = looks[0].open("a").unwrap();
        assert!(file.write_at(0, b"x").is_err() && looks[0].create("b").is_err() && looks[0].remove("a").is_err());
        assert!(RealDisk::to_read(folder.path().join("none")).is_err());
    }
}
