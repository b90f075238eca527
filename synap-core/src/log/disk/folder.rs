//! The folder of a server's data: locked, with the manifest that is in force.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Error;
use super::io::{Disk, Lock, read_full_at, write_all_at};
use super::manifest::{self, Manifest, Snapshot};
use super::segment;

/// How many snapshots are kept, so that there is one left when the newest cannot be read.
pub const SNAPSHOTS_KEPT: usize = 2;

/// How the names of files end that are not whole yet.
pub const UNFINISHED: &str = ".new";

/// A locked folder and its manifest.
pub struct Folder {
    disk: Arc<dyn Disk>,
    state: Mutex<InForce>,
    /// What `state` comes to, for looks that wait for no disk.
    facts: Mutex<FolderFacts>,
    /// The lock on disk, held as long as this lives.
    _lock: Lock,
}

struct InForce {
    manifest: Manifest,
    /// Processes see this manifest, but a power cut may bring back the one before it.
    unsure: bool,
    /// What takes the manifest's place with the next snapshot: of a log that begins, and has nothing under it yet.
    draft: Option<Manifest>,
}

/// For INFO and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderFacts {
    /// Segments of the log, and the offset of the first.
    pub segments: usize,
    pub log_begin: u64,
    /// The log has begun, and no snapshot stands under it yet: a start would not find it.
    pub is_draft: bool,
}

impl FolderFacts {
    fn of(state: &InForce) -> FolderFacts {
        let segments = &state.draft.as_ref().unwrap_or(&state.manifest).segments;
        let log_begin = segments.first().map_or(0, |first| first.first);
        FolderFacts { segments: segments.len(), log_begin, is_draft: state.draft.is_some() }
    }
}

/// What became of a change of the manifest that failed.
#[derive(Debug)]
pub enum Failed {
    /// The old one is in force.
    Unchanged(Error),
    /// The new one is in force, unless the power fails before [`Folder::confirm`] succeeds.
    Unsure(Error),
}

impl Failed {
    pub fn into_error(self) -> Error {
        match self {
            Failed::Unchanged(error) | Failed::Unsure(error) => error,
        }
    }
}

impl Folder {
    /// Locks the folder and reads its manifest; makes one in a folder that has no files of ours.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Folder, Error> {
        let lock = lock(&*disk)?;
        let found = read_manifest(&*disk)?;
        let fresh = found.is_none();
        let manifest = found.unwrap_or_default();
        let folder = Folder::new(disk, manifest, lock);
        if fresh {
            // Never empty because data could not be read: files of the log without a manifest have lost it.
            if let Some(name) = folder.strays()?.first() {
                return Err(Error::NoManifest { file: name.clone() });
            }
            folder.change(|_| ()).map_err(Failed::into_error)?;
        }
        Ok(folder)
    }

    fn new(disk: Arc<dyn Disk>, manifest: Manifest, lock: Lock) -> Folder {
        let state = InForce { manifest, unsure: false, draft: None };
        let facts = Mutex::new(FolderFacts::of(&state));
        Folder { disk, state: Mutex::new(state), facts, _lock: lock }
    }

    /// Begins a folder that has no files of ours with those that `fill` makes, as the manifest says that it returns.
    ///
    /// The manifest comes last: whatever happens before, no server begins anew on what is there.
    pub fn found<E: From<Error>>(
        disk: Arc<dyn Disk>,
        fill: impl FnOnce(&dyn Disk) -> Result<Manifest, E>,
    ) -> Result<Folder, E> {
        let lock = lock(&*disk)?;
        let folder = Folder::new(disk, Manifest::default(), lock);
        if read_manifest(&*folder.disk)?.is_some() {
            return Err(Error::NotEmpty { file: manifest::NAME.to_owned() }.into());
        }
        if let Some(file) = folder.strays()?.into_iter().next() {
            return Err(Error::NotEmpty { file }.into());
        }
        let filled = fill(&*folder.disk)?;
        folder.change(|manifest| *manifest = filled).map_err(Failed::into_error)?;
        Ok(folder)
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The manifest that is in force. May wait for a disk: not inside the gate.
    pub fn manifest(&self) -> Manifest {
        self.state.lock().manifest.clone()
    }

    /// Waits for nobody.
    pub fn facts(&self) -> FolderFacts {
        *self.facts.lock()
    }

    /// Files that look like ours and that the manifest does not name. They are never read.
    pub fn strays(&self) -> Result<Vec<String>, Error> {
        strays(&*self.disk, &self.state.lock().manifest)
    }

    /// Replaces the manifest with a changed copy. When this returns, the change survives a power cut. While there is a
    /// draft, that is changed, and nothing survives anything.
    pub fn change<R>(&self, change: impl FnOnce(&mut Manifest) -> R) -> Result<R, Failed> {
        let mut state = self.state.lock();
        let mut manifest = state.draft.as_ref().unwrap_or(&state.manifest).clone();
        let result = change(&mut manifest);
        hold_to_its_rules(&manifest);
        let put = match &mut state.draft {
            Some(draft) => {
                *draft = manifest;
                Ok(())
            }
            None => self.put_in_force(&mut state, manifest),
        };
        self.note(&state);
        put.map(|()| result)
    }

    /// The log begins anew: from here on changes are gathered, until [`Folder::begin_at`] puts them in force.
    pub(super) fn begin_draft(&self) {
        let mut state = self.state.lock();
        let (history, previous) = (state.manifest.history, state.manifest.previous);
        state.draft = Some(Manifest { history, previous, ..Manifest::default() });
        self.note(&state);
    }

    /// Gives the draft up, and removes its files.
    pub(super) fn drop_draft(&self) {
        let mut state = self.state.lock();
        let draft = state.draft.take();
        self.note(&state);
        drop(state);
        self.remove_all(&draft.iter().flat_map(Manifest::names).map(str::to_owned).collect::<Vec<_>>());
    }

    /// Has all data begin at a snapshot that is whole and fsynced: what stood in the log before it is in it. In one change
    /// the log is that of the draft, or none. Of other snapshots `kept` stays, which must not stand behind this one.
    pub(super) fn begin_at(
        &self,
        snapshot: Snapshot,
        kept: Option<&str>,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), Failed> {
        let mut state = self.state.lock();
        let old = state.manifest.clone();
        let without_log = || Manifest { segments: Vec::new(), ..old.clone() };
        let mut manifest = state.draft.clone().unwrap_or_else(without_log);
        let stays = |other: &&Snapshot| Some(&*other.name) == kept && other.name != snapshot.name;
        manifest.snapshots = old.snapshots.iter().filter(stays).cloned().collect();
        manifest.snapshots.push(snapshot);
        change(&mut manifest);
        hold_to_its_rules(&manifest);
        let result = self.put_in_force(&mut state, manifest);
        if !matches!(result, Err(Failed::Unchanged(_))) {
            state.draft = None;
        }
        self.note(&state);
        result?;
        let named: Vec<&str> = state.manifest.names().collect();
        let gone = old.names().filter(|name| !named.contains(name)).map(str::to_owned).collect::<Vec<_>>();
        drop(state);
        self.remove_all(&gone);
        Ok(())
    }

    /// Removes what was being written when a server ended, and never got its name.
    pub fn sweep(&self) -> Result<(), Error> {
        let strays = self.strays()?;
        self.remove_all(&strays.into_iter().filter(|name| name.ends_with(UNFINISHED)).collect::<Vec<_>>());
        Ok(())
    }

    /// Removes what a server could not remove or name any more when it was killed: segments and snapshots that stand
    /// before all that the manifest names, and segments without a frame. Others are left alone: if an old manifest was put
    /// back, they may be wanted.
    pub fn sweep_old(&self) -> Result<(), Error> {
        let manifest = self.manifest();
        let snapshot = manifest.snapshots.first().map_or(0, |oldest| oldest.offset);
        let before = manifest.segments.first().map_or(snapshot, |oldest| oldest.first.min(snapshot));
        let mut old = self.strays()?;
        old.retain(|name| {
            offset_of(name).is_some_and(|offset| offset < before || segment::has_no_frame(&*self.disk, name))
        });
        self.remove_all(&old);
        Ok(())
    }

    /// Makes sure that a power cut does not bring back an older manifest.
    pub fn confirm(&self) -> Result<(), Error> {
        let mut state = self.state.lock();
        if !state.unsure {
            return Ok(());
        }
        // Written again: a second fsync of the same folder may succeed without having done what the first could not.
        let manifest = state.manifest.clone();
        self.put_in_force(&mut state, manifest).map_err(Failed::into_error)
    }

    fn note(&self, state: &InForce) {
        *self.facts.lock() = FolderFacts::of(state);
    }

    fn put_in_force(&self, state: &mut InForce, manifest: Manifest) -> Result<(), Failed> {
        write_new(&*self.disk, &manifest).map_err(Failed::Unchanged)?;
        let error = |doing| move |error| Error::io(doing, manifest::NAME, error);
        self.disk.rename(manifest::NEW_NAME, manifest::NAME).map_err(error("renaming")).map_err(Failed::Unchanged)?;
        state.manifest = manifest;
        state.unsure = true;
        self.disk.sync_folder().map_err(error("fsync of the folder of")).map_err(Failed::Unsure)?;
        state.unsure = false;
        Ok(())
    }

    /// Adds a snapshot that is whole and fsynced, and forgets those that are not kept any more; their files go.
    ///
    /// The log must be fsynced up to the snapshot's offset: [`super::Writer::add_snapshot`] sees to it.
    pub(super) fn add_snapshot(&self, snapshot: Snapshot) -> Result<Vec<String>, Error> {
        let forgotten = self.change(|manifest| {
            manifest.snapshots.retain(|kept| kept.name != snapshot.name);
            manifest.snapshots.push(snapshot);
            manifest.snapshots.sort_by_key(|snapshot| snapshot.offset);
            let surplus = manifest.snapshots.len().saturating_sub(SNAPSHOTS_KEPT);
            manifest.snapshots.drain(..surplus).map(|snapshot| snapshot.name).collect::<Vec<_>>()
        });
        let forgotten = forgotten.map_err(Failed::into_error)?;
        self.remove_all(&forgotten);
        Ok(forgotten)
    }

    /// Removes the segments that nobody needs: all of them lies below `below` (where a replica may still continue) and
    /// below the oldest kept snapshot. Without a snapshot everything is needed. Returns the names of what went.
    pub fn trim(&self, below: u64) -> Result<Vec<String>, Error> {
        let unneeded = |manifest: &Manifest| {
            let below = below.min(manifest.snapshots.first().map_or(0, |oldest| oldest.offset));
            manifest.segments.iter().take_while(|segment| segment.end.is_some_and(|end| end <= below)).count()
        };
        if unneeded(&self.state.lock().manifest) == 0 {
            return Ok(Vec::new());
        }
        let gone = self.change(|manifest| {
            let count = unneeded(manifest);
            manifest.segments.drain(..count).map(|segment| segment.name).collect::<Vec<_>>()
        });
        let gone = gone.map_err(Failed::into_error)?;
        self.remove_all(&gone);
        Ok(gone)
    }

    /// Removes files that the manifest does not name any more, as far as it goes: what stays is a stray.
    pub(super) fn remove_all(&self, names: &[String]) {
        for name in names {
            let _ = self.disk.remove(name);
        }
    }
}

fn hold_to_its_rules(manifest: &Manifest) {
    if let Err(what) = manifest.check() {
        panic!("a manifest that nobody could read: {what}");
    }
}

/// Keeps others out.
pub fn lock(disk: &dyn Disk) -> Result<Lock, Error> {
    disk.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Error::Locked,
        _ => Error::io("locking", super::io::LOCK, error),
    })
}

/// Files that look like ours and that the manifest does not name.
pub fn strays(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let names = disk.list().map_err(|error| Error::io("listing", ".", error))?;
    let named: Vec<&str> = manifest.names().collect();
    let ours = |name: &String| segment::is_name(name) || name.starts_with("snapshot-");
    Ok(names.into_iter().filter(|name| ours(name) && !named.contains(&name.as_str())).collect())
}

/// Where the segment or snapshot of this name begins or stands.
fn offset_of(name: &str) -> Option<u64> {
    let rest = match name.strip_prefix("log-") {
        Some(rest) => rest.strip_suffix(".synap")?,
        None => name.strip_prefix("snapshot-")?.strip_suffix(".rdb")?,
    };
    // A segment may have the number of an attempt behind its offset.
    rest.split_once('.').map_or(rest, |(digits, _)| digits).parse().ok()
}

/// The manifest of a folder, if it has one.
pub fn read_manifest(disk: &dyn Disk) -> Result<Option<Manifest>, Error> {
    let error = |error| Error::io("reading", manifest::NAME, error);
    let file = match disk.open(manifest::NAME) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(error(other)),
    };
    let len = file.len().map_err(error)?;
    if len > manifest::BYTES_MAX {
        return Err(Error::corrupt(manifest::NAME, 0, None, "this is too large for a manifest"));
    }
    let mut bytes = vec![0; len as usize];
    let filled = read_full_at(&*file, 0, &mut bytes).map_err(error)?;
    bytes.truncate(filled);
    let manifest = Manifest::decode(&bytes);
    manifest.map(Some).map_err(|(at, what)| Error::corrupt(manifest::NAME, at, None, what))
}

/// Writes a manifest to its temporary name, fsynced.
fn write_new(disk: &dyn Disk, manifest: &Manifest) -> Result<(), Error> {
    let error = |doing| move |error| Error::io(doing, manifest::NEW_NAME, error);
    match disk.remove(manifest::NEW_NAME) {
        Err(other) if other.kind() != io::ErrorKind::NotFound => return Err(error("removing")(other)),
        _ => {}
    }
    let file = disk.create(manifest::NEW_NAME).map_err(error("creating"))?;
    write_all_at(&*file, 0, manifest.encode().as_bytes()).map_err(error("writing"))?;
    file.sync().map_err(error("fsync of"))
}
