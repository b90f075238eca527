//! A disk of tests, in memory: it fails where it is told to, and forgets what was not fsynced.
//!
//! **What it remembers.** Of each file, what processes see and what is on disk, in pages: a written page is *dirty*
//! until the file is fsynced. Of the folder, what processes see and what is on disk, and the changes between.
//! **Killing** the process keeps what processes see. A **power cut** keeps what is on disk and any subset of the dirty
//! pages, lengths and changes of the folder: a seed chooses.
//!
//! **Operations** that change or fsync something are numbered, so that a test runs once to count them, and then once
//! for each with a fault there. After a failed fsync the dirty pages count as clean: some are on disk, some are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::io::{Disk, File, Lock};

const PAGE_BYTES: usize = 4096;

/// What happens at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails. A write has written half, an fsync has lost some pages, everything else has done nothing.
    Error(io::ErrorKind),
    /// A write writes half and says so; everything else works.
    Short,
    /// The process dies before it.
    CrashBefore,
    /// The process dies in the midst of it: a write has written half. Everything else is done.
    CrashAfter,
}

/// The disk. Clones are the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Sim>>);

/// What others do while a file is being fsynced.
type Meanwhile = Arc<dyn Fn() + Send + Sync>;

struct Sim {
    random: u64,
    inodes: Vec<Inode>,
    /// What processes see, and what is on disk.
    names: BTreeMap<String, usize>,
    names_on_disk: BTreeMap<String, usize>,
    /// What was changed since the folder was fsynced.
    changes: Vec<Change>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    /// From this operation on all fail, until [`SimDisk::mend`].
    broken_from: Option<(u64, io::ErrorKind)>,
    dead: bool,
    locked: bool,
    failed_syncs: u64,
    meanwhile: Option<Meanwhile>,
}

#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    on_disk: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Unlink(String),
    /// Link and unlink in one.
    Rename(String, String, usize),
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Sim {
            random: seed,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            changes: Vec::new(),
            operations: 0,
            faults: BTreeMap::new(),
            broken_from: None,
            dead: false,
            locked: false,
            failed_syncs: 0,
            meanwhile: None,
        })))
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Has a fault happen at an operation, counted from 0.
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.insert(operation, fault);
    }

    /// From an operation on everything fails.
    pub fn break_from(&self, operation: u64, kind: io::ErrorKind) {
        self.0.lock().broken_from = Some((operation, kind));
    }

    /// No faults any more.
    pub fn mend(&self) {
        let mut sim = self.0.lock();
        sim.broken_from = None;
        sim.faults.clear();
    }

    /// Has something done during each fsync of a file, after the disk has taken what it takes.
    pub fn during_syncs(&self, meanwhile: impl Fn() + Send + Sync + 'static) {
        self.0.lock().meanwhile = Some(Arc::new(meanwhile));
    }

    /// The process has died: nothing works.
    pub fn is_dead(&self) -> bool {
        self.0.lock().dead
    }

    /// How many fsyncs of files failed.
    pub fn failed_syncs(&self) -> u64 {
        self.0.lock().failed_syncs
    }

    /// What the next process finds after this one was killed.
    pub fn after_kill(&self) -> SimDisk {
        let sim = self.0.lock();
        let next = SimDisk::new(sim.random);
        let mut copy = next.0.lock();
        copy.inodes = sim.inodes.clone();
        copy.names = sim.names.clone();
        copy.names_on_disk = sim.names_on_disk.clone();
        copy.changes = sim.changes.clone();
        drop(copy);
        next
    }

    /// What the next process finds after the power has failed.
    pub fn after_power_cut(&self, seed: u64) -> SimDisk {
        let mut sim = Sim { random: seed, ..self.after_kill().take() };
        for change in std::mem::take(&mut sim.changes) {
            if sim.chance() {
                change.apply(&mut sim.names_on_disk);
            }
        }
        sim.names = sim.names_on_disk.clone();
        for number in 0..sim.inodes.len() {
            let mut inode = std::mem::take(&mut sim.inodes[number]);
            inode.write_back(|| sim.chance());
            inode.seen = inode.on_disk.clone();
            sim.inodes[number] = inode;
        }
        SimDisk(Arc::new(Mutex::new(sim)))
    }

    /// The names of files and their sizes, as processes see them.
    pub fn files(&self) -> Vec<(String, usize)> {
        let sim = self.0.lock();
        sim.names.iter().map(|(name, inode)| (name.clone(), sim.inodes[*inode].seen.len())).collect()
    }

    /// A copy in which one bit of a file is another.
    pub fn with_flipped_bit(&self, name: &str, bit: usize) -> SimDisk {
        let next = self.after_kill();
        let mut sim = next.0.lock();
        let inode = sim.names[name];
        sim.inodes[inode].seen[bit / 8] ^= 1 << (bit % 8);
        drop(sim);
        next
    }

    fn take(self) -> Sim {
        let fresh = SimDisk::new(0);
        let mut sim = self.0.lock();
        std::mem::replace(&mut *sim, Arc::into_inner(fresh.0).expect("just made").into_inner())
    }

    /// One operation: `work` is told whether to do half of it only.
    fn operation<R>(
        &self,
        on_error: impl FnOnce(&mut Sim),
        work: impl FnOnce(&mut Sim, bool) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut sim = self.0.lock();
        if sim.dead {
            return Err(io::Error::other("the process is dead"));
        }
        let number = sim.operations;
        sim.operations += 1;
        let broken = sim.broken_from.filter(|(from, _)| number >= *from).map(|(_, kind)| Fault::Error(kind));
        match sim.faults.get(&number).copied().or(broken) {
            None => work(&mut sim, false),
            Some(Fault::Short) => work(&mut sim, true),
            Some(Fault::Error(kind)) => {
                on_error(&mut sim);
                Err(kind.into())
            }
            Some(Fault::CrashBefore) => {
                sim.dead = true;
                Err(io::Error::other("the process dies"))
            }
            Some(Fault::CrashAfter) => {
                let _ = work(&mut sim, true);
                sim.dead = true;
                Err(io::Error::other("the process dies"))
            }
        }
    }
}

impl Sim {
    /// Heads or tails.
    fn chance(&mut self) -> bool {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 1
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn inode_of(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Link(name, inode) => _ = names.insert(name.clone(), *inode),
            Change::Unlink(name) => _ = names.remove(name),
            Change::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl Inode {
    /// Brings the length, and each dirty page, to disk or not.
    fn write_back(&mut self, mut chance: impl FnMut() -> bool) {
        if chance() {
            self.on_disk.resize(self.seen.len(), 0);
        }
        for page in std::mem::take(&mut self.dirty) {
            if chance() {
                let from = page * PAGE_BYTES;
                let to = (from + PAGE_BYTES).min(self.seen.len()).min(self.on_disk.len());
                if from < to {
                    self.on_disk[from..to].copy_from_slice(&self.seen[from..to]);
                }
            }
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.seen.len() {
            self.resize(end);
        }
        self.seen[at..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(at / PAGE_BYTES..=(end - 1) / PAGE_BYTES);
        }
    }

    fn resize(&mut self, len: usize) {
        // What is cut must read as zeros when the file grows again: the edge page changes with the length.
        if len < self.seen.len() {
            self.dirty.insert(len / PAGE_BYTES);
        }
        self.seen.resize(len, 0);
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.operation(
            |_| (),
            |sim, _| {
                if sim.names.contains_key(name) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let inode = sim.inodes.len();
                sim.inodes.push(Inode::default());
                sim.change(Change::Link(name.to_owned(), inode));
                Ok(Arc::new(SimFile { disk: self.clone(), inode }) as Arc<dyn File>)
            },
        )
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let sim = self.0.lock();
        let inode = sim.inode_of(name)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation(
            |_| (),
            |sim, _| {
                let inode = sim.inode_of(from)?;
                sim.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
                Ok(())
            },
        )
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operation(
            |_| (),
            |sim, _| {
                sim.inode_of(name)?;
                sim.change(Change::Unlink(name.to_owned()));
                Ok(())
            },
        )
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.operation(
            // As with files: some of it is on disk, and a later fsync will not bring the rest there.
            |sim| {
                for change in std::mem::take(&mut sim.changes) {
                    if sim.chance() {
                        change.apply(&mut sim.names_on_disk);
                    }
                }
            },
            |sim, _| {
                for change in std::mem::take(&mut sim.changes) {
                    change.apply(&mut sim.names_on_disk);
                }
                Ok(())
            },
        )
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut sim = self.0.lock();
        if std::mem::replace(&mut sim.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock(self.clone())))
    }
}

struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.0.lock().locked = false;
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let sim = self.disk.0.lock();
        let bytes = sim.inodes[self.inode].seen.get(at as usize..).unwrap_or(&[]);
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let half = bytes.len().div_ceil(2);
        self.disk.operation(
            |sim| sim.inodes[self.inode].write(at as usize, &bytes[..half]),
            |sim, short| {
                let count = if short { half } else { bytes.len() };
                sim.inodes[self.inode].write(at as usize, &bytes[..count]);
                Ok(count)
            },
        )
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.disk.operation(
            |_| (),
            |sim, _| {
                let inode = &mut sim.inodes[self.inode];
                inode.resize(inode.seen.len().max(len as usize));
                Ok(())
            },
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operation(
            |_| (),
            |sim, _| {
                sim.inodes[self.inode].resize(len as usize);
                Ok(())
            },
        )
    }

    fn sync(&self) -> io::Result<()> {
        let result = self.disk.operation(
            |sim| {
                sim.failed_syncs += 1;
                let mut inode = std::mem::take(&mut sim.inodes[self.inode]);
                inode.write_back(|| sim.chance());
                sim.inodes[self.inode] = inode;
            },
            |sim, _| {
                let inode = &mut sim.inodes[self.inode];
                inode.write_back(|| true);
                Ok(())
            },
        );
        let meanwhile = self.disk.0.lock().meanwhile.clone();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::io::{read_full_at, write_all_at};
    use super::*;

    fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
        let file = disk.open(name).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_full_at(&*file, 0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn a_power_cut_takes_any_part_of_what_was_not_fsynced() {
        let disk = SimDisk::new(1);
        let file = disk.create("a").unwrap();
        file.preallocate(3 * PAGE_BYTES as u64).unwrap();
        file.sync().unwrap();
        disk.sync_folder().unwrap();
        write_all_at(&*file, 0, &[1; 3 * PAGE_BYTES]).unwrap();
        disk.create("b").unwrap();
        assert_eq!(content(&disk.after_kill(), "a"), Some(vec![1; 3 * PAGE_BYTES]));
        let mut found = BTreeSet::new();
        for seed in 0..100 {
            let cut = disk.after_power_cut(seed);
            let bytes = content(&cut, "a").unwrap();
            let pages: Vec<u8> = bytes.chunks(PAGE_BYTES).map(|page| page[0]).collect();
            found.insert((pages, content(&cut, "b").is_some()));
        }
        assert_eq!(found.len(), 16, "{found:?}");
        file.sync().unwrap();
        assert_eq!(content(&disk.after_power_cut(1), "a"), Some(vec![1; 3 * PAGE_BYTES]));
    }

    #[test]
    fn faults_happen_where_they_are_planned() {
        let disk = SimDisk::new(1);
        let file = disk.create("a").unwrap();
        let at = disk.operations();
        disk.plan(at, Fault::Short);
        disk.plan(at + 1, Fault::Error(io::ErrorKind::StorageFull));
        disk.plan(at + 3, Fault::CrashAfter);
        assert_eq!(file.write_at(0, b"1234").unwrap(), 2);
        assert_eq!(file.write_at(0, b"1234").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.write_at(0, b"1234").unwrap(), 4);
        assert!(file.write_at(4, b"5678").is_err());
        assert!(disk.is_dead() && disk.create("b").is_err());
        assert_eq!(content(&disk.after_kill(), "a").unwrap(), b"123456");
    }

    /// After a failed fsync the next one succeeds and has done nothing for what the first one lost.
    #[test]
    fn a_failed_fsync_loses_what_a_later_one_does_not_bring_back() {
        let lost = (0..20).filter(|&seed| {
            let disk = SimDisk::new(seed);
            let file = disk.create("a").unwrap();
            disk.sync_folder().unwrap();
            write_all_at(&*file, 0, b"x").unwrap();
            disk.plan(disk.operations(), Fault::Error(io::ErrorKind::Other));
            file.sync().unwrap_err();
            file.sync().unwrap();
            content(&disk.after_power_cut(seed), "a").unwrap() != b"x"
        });
        assert!((1..20).contains(&lost.count()));
    }
}
