//! `synap-server check`: reads everything that the manifest names.

use std::path::Path;

use synap_core::log::disk::{self, folder};

use super::{Look, Progress, text};

pub fn run(path: &Path) -> Result<(), String> {
    let look = Look::open(path)?;
    let manifest = &look.manifest;
    println!("manifest: {} snapshots, {} segments of the log", manifest.snapshots.len(), manifest.segments.len());
    let mut wrong = Vec::new();
    let mut start = look.log_is_whole().then_some(0);
    for snapshot in &manifest.snapshots {
        match look.read_snapshot(snapshot, &mut |_| Ok(())) {
            Ok(keys) => {
                println!("{}: {keys} keys, at offset {} of the log", snapshot.name, snapshot.offset);
                start = Some(snapshot.offset);
            }
            Err(error) => wrong.push(error),
        }
    }
    let mut progress = Progress::new();
    let mut show = |piece: &disk::Piece<'_>| progress.show(piece.file, piece.read_bytes, piece.total_bytes);
    wrong.extend(disk::check(&look.disk, manifest, &mut show).iter().map(text));
    // What a start would say: that the log is there from the snapshot on.
    match start {
        Some(offset) => {
            let position = synap_core::log::Position { offset, db: None };
            match disk::replay(&look.disk, manifest, position, &mut |_| Ok(())) {
                Ok(log) => {
                    println!("log: {} bytes from offset {offset} to {}", log.bytes, log.end.offset);
                    if let Some(tail) = log.tail {
                        let disk::recover::Tail { file, at, bytes } = tail;
                        println!(
                            "{file}: {bytes} bytes from byte {at} on did not reach the disk whole; a start cuts them"
                        );
                    }
                }
                Err(error) => wrong.push(error.to_string()),
            }
        }
        None if manifest.names().next().is_some() && wrong.is_empty() => {
            wrong.push("the log does not begin at 0, and there is no snapshot before it".into());
        }
        None => {}
    }
    drop(progress);
    for name in folder::strays(&look.disk, manifest).map_err(text)? {
        println!("{name}: not in the manifest, and never read");
    }
    // The same flaw may have been met twice.
    wrong.dedup();
    let mut told = Vec::new();
    for error in wrong {
        if !told.contains(&error) {
            println!("{error}");
            told.push(error);
        }
    }
    match told.len() {
        0 => {
            println!("all is well");
            Ok(())
        }
        count => Err(format!("{count} of these files cannot be used as they are")),
    }
}
