//! `synap-server repair`: takes away what keeps a server from starting, and no more.

use std::path::Path;
use std::sync::Arc;

use synap_core::log::disk::{self, Folder, RealDisk};

use super::{Look, Progress, text};

pub fn run(path: &Path, truncate: bool) -> Result<(), String> {
    let look = Look::open(path)?;
    let (newest, bad) = look.newest_good();
    let start = match newest {
        Some(snapshot) => snapshot.offset,
        None if look.log_is_whole() => 0,
        None if look.manifest.snapshots.is_empty() && look.manifest.segments.is_empty() => 0,
        None => {
            return Err("no snapshot can be read, and the log does not begin at 0: there is nothing to go on".into());
        }
    };
    let mut progress = Progress::new();
    let mut show = |piece: &disk::Piece<'_>| progress.show(piece.file, piece.read_bytes, piece.total_bytes);
    let cut = disk::find_cut(&look.disk, &look.manifest, start, &mut show).map_err(text)?;
    drop(progress);
    if bad.is_empty() && cut.is_none() {
        println!("there is nothing to repair");
        return Ok(());
    }
    for (_, error) in &bad {
        println!("{error}");
    }
    let bad: Vec<String> = bad.iter().map(|(snapshot, _)| snapshot.name.clone()).collect();
    match newest {
        Some(snapshot) => println!("{} can be read; it stands at offset {start}", snapshot.name),
        None => println!("no snapshot is needed: the log begins at 0"),
    }
    let mut gone = bad.clone();
    if let Some(cut) = &cut {
        println!("{}", cut.flaw);
        println!("the log can be used up to offset {}", cut.end);
        gone.extend(cut.gone.iter().cloned());
    }
    if !truncate {
        println!("--truncate takes these out of the data and keeps them as ….damaged: {}", gone.join(", "));
        return Err("nothing was changed".into());
    }
    drop(look);
    let disk = RealDisk::open(path).map_err(text)?;
    let folder = Folder::open(Arc::new(disk)).map_err(text)?;
    if !bad.is_empty() {
        tell(&disk::forget_snapshots(&folder, &bad).map_err(text)?);
    }
    if let Some(repaired) = disk::repair(&folder, start).map_err(text)? {
        println!("the log ends at offset {} now", repaired.end);
        tell(&repaired.aside);
    }
    Ok(())
}

fn tell(aside: &[String]) {
    for name in aside {
        println!("kept aside: {name}");
    }
}
