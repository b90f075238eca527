//! What the files promise, on a disk that fails: crashes at every operation, faults at every operation, power cuts
//! that keep any subset of what was not fsynced, flipped bits. Seeds are printed by proptest, or part of the message.

#![cfg(not(shuttle))]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::frame;
use super::segment::{SegmentReader, Step as Found};
use super::sim::{Fault, SimDisk};
use super::testing::TempFolder;
use super::*;
use crate::log::{HistoryId, Log, Position, Reader, Unit};
use crate::sync::{block_on_for, thread};

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    /// Appends some calls with values of about this length.
    Calls(usize, usize),
    /// Appends one unit of some calls.
    Unit(usize),
    /// What a connection's thread does after a turn.
    Write,
    /// What the log's thread does, this many milliseconds later.
    Tick(u64),
    Policy(Policy),
    /// Everything is fsynced, and a snapshot stands at the end. The log below the older one goes.
    Snapshot,
}

/// What was appended, and where one may stop.
#[derive(Clone, Default)]
struct Truth {
    bytes: Vec<u8>,
    ends: BTreeSet<u64>,
}

impl Truth {
    fn cut(&mut self, end: u64) {
        self.bytes.truncate(end as usize);
        self.ends.retain(|at| *at <= end);
    }
}

/// A server's log on a disk of tests.
struct World {
    disk: SimDisk,
    log: Arc<Log>,
    writer: Writer,
    now: Duration,
    truth: Truth,
    count: u64,
    /// Only `always` since the start.
    always: bool,
}

fn options() -> Options {
    Options { segment_bytes: 6000, unsynced_bytes_max: 3000, seed: 5, ..Options::default() }
}

/// What stands in the files, from the newest snapshot on.
struct Read {
    folder: Folder,
    start: Position,
    recovered: Recovered,
    bytes: Vec<u8>,
}

fn read(disk: &SimDisk) -> Result<Read, Error> {
    let folder = Folder::open(Arc::new(disk.clone()))?;
    let manifest = folder.manifest();
    let start = manifest
        .snapshots
        .last()
        .map_or(Position { offset: 0, db: None }, |snapshot| Position { offset: snapshot.offset, db: snapshot.db });
    let mut bytes = Vec::new();
    let recovered = replay(disk, &manifest, start, &mut |piece| {
        assert_eq!(piece.offset, start.offset + bytes.len() as u64, "in order, without a gap");
        bytes.extend_from_slice(piece.bytes);
        Ok(())
    })?;
    assert_eq!(recovered.end.offset, start.offset + bytes.len() as u64);
    assert_eq!(recovered.bytes, bytes.len() as u64);
    Ok(Read { folder, start, recovered, bytes })
}

impl World {
    /// Starts a server; what it recovers must be a beginning of `truth`, whole units, and reach `at_least`.
    fn open(disk: &SimDisk, mut truth: Truth, at_least: u64, policy: Policy) -> Result<World, Error> {
        let found = read(disk)?;
        let end = found.recovered.end.offset;
        assert!(end >= at_least, "{end} of {} was recovered, {at_least} was safe", truth.bytes.len());
        assert!(end as usize <= truth.bytes.len(), "more than was ever appended");
        assert!(found.bytes == truth.bytes[found.start.offset as usize..end as usize], "other bytes");
        assert!(end == 0 || truth.ends.contains(&end), "a unit was torn at {end}");
        truth.cut(end);
        let mut history = [0; 20];
        history[..8].copy_from_slice(&(disk.operations() + end * 1000).to_le_bytes());
        history[8] = truth.ends.len() as u8;
        let log = Arc::new(Log::starting_at(end, 1 << 14, HistoryId::from_random(history)));
        let options = Options { policy, ..options() };
        let writer = Writer::begin(found.folder, &found.recovered, Arc::clone(&log), options)?;
        let (now, always) = (Duration::ZERO, policy == Policy::Always);
        Ok(World { disk: disk.clone(), log, writer, now, truth, count: end, always })
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Calls(count, len) => (0..count).for_each(|_| {
                self.count += 1;
                let value = format!("{:x}", self.count * 0x9e37_79b9).repeat(1 + len / 9);
                self.log.append_words((self.count % 3) as u32, &["SET", &self.count.to_string(), &value]);
                self.note();
            }),
            Step::Unit(count) => {
                let mut unit = Unit::new();
                (0..count).for_each(|i| unit.words(i as u32 % 2, &["INCR", &format!("{}{i}", self.count)]));
                self.log.append(&unit);
                self.note();
            }
            Step::Write => self.writer.write_pending(),
            Step::Tick(ms) => {
                self.now += Duration::from_millis(ms);
                self.writer.step(self.now);
            }
            Step::Policy(policy) => {
                self.always &= policy == Policy::Always;
                self.writer.set_policy(policy);
            }
            Step::Snapshot => self.snapshot(),
        }
        assert!(!self.always || self.log.settled() <= self.log.released(), "shown before it was fsynced");
        assert!(self.log.released() <= self.log.settled());
    }

    fn note(&mut self) {
        let from = self.truth.bytes.len() as u64;
        let mut at = from;
        while at < self.log.end() {
            at = self.log.read_from(at, &mut self.truth.bytes).expect("it was just appended");
        }
        self.truth.ends.insert(self.log.end());
    }

    fn snapshot(&mut self) {
        let Position { offset, db } = self.log.position();
        self.writer.request_sync();
        self.writer.step(self.now);
        let name = format!("snapshot-{}.rdb", self.disk.operations());
        match self.writer.add_snapshot(Snapshot { name, offset, db }) {
            Ok(_) => _ = self.writer.folder().trim(u64::MAX),
            Err(Error::NotSynced { synced, .. }) => assert!(synced < offset),
            Err(_) => {}
        }
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            if self.disk.is_dead() {
                return;
            }
            self.step(step);
        }
    }

    /// The disk is good again: so is the log, soon.
    fn heals(&mut self) {
        (0..20).for_each(|_| self.step(&Step::Tick(1000)));
        assert_eq!(self.writer.health(), Health::Ok);
        assert!(!self.log.is_failing());
        assert_eq!(self.log.settled(), self.log.end());
        assert!(self.writer.policy() == Policy::No || self.log.released() == self.log.end());
    }
}

/// A run that meets everything: full segments, both policies, large and small units, snapshots, trimming.
fn script() -> Vec<Step> {
    use Step::*;
    vec![
        Calls(3, 50),
        Write,
        Tick(10),
        Unit(4),
        Write,
        Calls(1, 5000),
        Write,
        Calls(2, 20),
        Write,
        Tick(1000),
        Calls(2, 20),
        Tick(500),
        Policy(super::Policy::Always),
        Calls(1, 10),
        Write,
        Tick(1),
        Unit(3),
        Tick(1),
        Snapshot,
        Calls(4, 900),
        Write,
        Tick(1),
        Snapshot,
        Calls(2, 900),
        Tick(1),
        Policy(super::Policy::EverySecond),
        Snapshot,
        Calls(4, 900),
        Write,
        Tick(1000),
        Calls(4, 900),
        Write,
        Tick(1),
        Calls(4, 1500),
        Write,
        Tick(1),
        Calls(1, 30),
        Write,
        Calls(2, 40),
        Write,
        Tick(1000),
        // A segment begins, and is fsynced several times before the manifest changes again.
        Policy(super::Policy::Always),
        Calls(1, 6000),
        Tick(1),
        Calls(1, 10),
        Tick(1),
        Calls(1, 10),
        Tick(1),
        Policy(super::Policy::EverySecond),
        Calls(2, 40),
        Write,
    ]
}

/// A server that dies, by a kill (none) or a power cut (a seed), starts again with what was safe; and so does the one
/// after it, whatever the first left behind.
fn survives(world: World, power_cut: Option<u64>, context: &str) {
    let World { disk, log, truth, .. } = world;
    // What the process knew when it died; what it was told after is nobody's knowledge.
    let kept_by_kill = if disk.failed_syncs() == 0 { log.settled() } else { log.released() };
    let (after, safe) = match power_cut {
        None => (disk.after_kill(), kept_by_kill),
        Some(seed) => (disk.after_power_cut(seed), log.released()),
    };
    let mut next =
        World::open(&after, truth, safe, Policy::EverySecond).unwrap_or_else(|error| panic!("{context}: {error}"));
    next.run(&[Step::Calls(3, 30), Step::Write, Step::Tick(1000), Step::Calls(3, 700), Step::Write, Step::Tick(1)]);
    // What the killed one had not fsynced must be safe by now: the next ones began behind it.
    let (after, safe) = (next.disk.after_power_cut(!power_cut.unwrap_or(9)), next.log.released());
    assert!(safe > 0, "{context}: nothing was settled");
    let last =
        World::open(&after, next.truth, safe, Policy::Always).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(check(&after, &last.writer.folder().manifest(), &mut |_| ()).is_empty());
    last.writer.close().unwrap();
    let end = last.log.end();
    drop(last.writer);
    let read = read(&after).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(read.recovered.clean && read.recovered.end.offset == end);
}

/// How many operations the script makes, from an empty disk.
fn operations(steps: &[Step], policy: Policy) -> u64 {
    let disk = SimDisk::new(1);
    let mut world = World::open(&disk, Truth::default(), 0, policy).unwrap();
    world.run(steps);
    assert!(disk.files().len() >= 4, "{:?}", disk.files());
    disk.operations()
}

/// Dies at every operation, before and after it, by a kill and by power cuts.
#[test]
fn what_was_safe_survives_a_crash_at_every_operation() {
    for policy in [Policy::EverySecond, Policy::Always] {
        let steps = script();
        for operation in 0..=operations(&steps, policy) {
            for fault in [Fault::CrashBefore, Fault::CrashAfter] {
                for power_cut in [None, Some(1), Some(2), Some(3)] {
                    let context = format!("{policy:?}, {fault:?} at operation {operation}, power cut {power_cut:?}");
                    let disk = SimDisk::new(operation);
                    disk.plan(operation, fault);
                    match World::open(&disk, Truth::default(), 0, policy) {
                        Ok(mut world) => {
                            world.run(&steps);
                            survives(world, power_cut, &context);
                        }
                        Err(_) => {
                            assert!(disk.is_dead(), "{context}");
                            let after = power_cut.map_or_else(|| disk.after_kill(), |seed| disk.after_power_cut(seed));
                            let world = World::open(&after, Truth::default(), 0, policy);
                            assert!(world.is_ok(), "{context}: {}", world.err().unwrap());
                        }
                    }
                }
            }
        }
    }
}

const FAULTS: [Fault; 3] = [Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::Other), Fault::Short];

/// A server on a disk where something fails; when it cannot start for it, it starts when the disk is good again.
fn open_with(disk: &SimDisk, operation: u64, fault: Fault, policy: Policy, context: &str) -> World {
    disk.plan(operation, fault);
    World::open(disk, Truth::default(), 0, policy).unwrap_or_else(|_| {
        disk.mend();
        World::open(disk, Truth::default(), 0, policy).unwrap_or_else(|error| panic!("{context}: {error}"))
    })
}

/// Something fails at every operation; the run goes on, and in the end all is there.
#[test]
fn a_failure_at_every_operation_heals() {
    for policy in [Policy::EverySecond, Policy::Always] {
        let steps = script();
        for operation in 0..operations(&steps, policy) {
            for fault in FAULTS {
                let context = format!("{policy:?}, {fault:?} at operation {operation}");
                let disk = SimDisk::new(operation);
                let mut world = open_with(&disk, operation, fault, policy, &context);
                world.run(&steps);
                world.heals();
                world.writer.close().unwrap_or_else(|error| panic!("{context}: {error}"));
                let (truth, end) = (world.truth, world.log.end());
                drop(world.writer);
                let after = World::open(&disk.after_power_cut(operation), truth, end, policy);
                assert!(after.is_ok(), "{context}: {}", after.err().unwrap());
            }
        }
    }
}

/// Something fails at every operation, and soon after it the process dies.
#[test]
fn what_was_safe_survives_a_failure_and_then_a_crash() {
    for policy in [Policy::EverySecond, Policy::Always] {
        let steps = script();
        for operation in 0..operations(&steps, policy) {
            for (fault, steps_after) in FAULTS.into_iter().flat_map(|fault| (0..6).map(move |steps| (fault, steps))) {
                for power_cut in [None, Some(operation), Some(!operation)] {
                    let context = format!(
                        "{policy:?}, {fault:?} at operation {operation}, {steps_after} steps, power cut {power_cut:?}"
                    );
                    let disk = SimDisk::new(operation);
                    let mut world = open_with(&disk, operation, fault, policy, &context);
                    let mut steps = steps.iter();
                    while disk.operations() <= operation
                        && let Some(step) = steps.next()
                    {
                        world.step(step);
                    }
                    steps.take(steps_after).for_each(|step| {
                        world.step(step);
                        // Time for it to heal.
                        world.step(&Step::Tick(20));
                    });
                    survives(world, power_cut, &context);
                }
            }
        }
    }
}

/// From some operation on nothing works; then it does again.
#[test]
fn a_disk_that_was_full_for_a_while_is_written_again() {
    let steps = script();
    for operation in (5..operations(&steps, Policy::EverySecond)).step_by(3) {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let disk = SimDisk::new(operation);
            let Ok(mut world) = World::open(&disk, Truth::default(), 0, Policy::EverySecond) else { continue };
            disk.break_from(operation.max(disk.operations()), kind);
            world.run(&steps);
            world.run(&[Step::Calls(1, 10), Step::Write, Step::Tick(50)]);
            assert!(world.log.is_failing(), "operation {operation}");
            assert!(matches!(world.writer.health(), Health::Failing { .. }));
            assert!(world.log.settled() < world.log.end());
            disk.mend();
            world.heals();
            survives(world, Some(operation), &format!("{kind:?} from operation {operation}"));
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let policy = prop_oneof![Just(Policy::Always), Just(Policy::EverySecond), Just(Policy::No)];
    let step = prop_oneof![
        6 => (1_usize..5, 0_usize..800).prop_map(|(count, len)| Step::Calls(count, len)),
        1 => (4000_usize..9000).prop_map(|len| Step::Calls(1, len)),
        2 => (1_usize..6).prop_map(Step::Unit),
        6 => Just(Step::Write),
        4 => prop_oneof![Just(1_u64), Just(20), Just(1000)].prop_map(Step::Tick),
        1 => policy.prop_map(Step::Policy),
        1 => Just(Step::Snapshot),
    ];
    prop::collection::vec(step, 1..40)
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let fault = prop_oneof![
        Just(Fault::Error(ErrorKind::StorageFull)),
        Just(Fault::Error(ErrorKind::Other)),
        Just(Fault::Short)
    ];
    prop::collection::vec((20_u64..150, fault), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Whatever is done, and whatever fails, and whenever it dies.
    #[test]
    fn what_was_safe_survives(
        steps in steps(),
        faults in faults(),
        crash in prop::option::of(12_u64..150),
        power_cut in prop::option::of(any::<u64>()),
        seed in any::<u64>(),
    ) {
        let disk = SimDisk::new(seed);
        let mut world = World::open(&disk, Truth::default(), 0, Policy::EverySecond).unwrap();
        faults.iter().for_each(|(operation, fault)| disk.plan(*operation, *fault));
        if let Some(crash) = crash {
            disk.plan(crash, if seed % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter });
        }
        world.run(&steps);
        survives(world, power_cut, "as above");
    }
}

/// What is written while an fsync runs is not taken for fsynced by it, neither within a segment nor at its end.
#[test]
fn what_is_written_during_an_fsync_goes_with_the_next() {
    for policy in [Policy::EverySecond, Policy::Always] {
        let disk = SimDisk::new(1);
        let found = read(&disk).unwrap();
        let log = Arc::new(Log::new(1 << 14, HistoryId::from_random([1; 20])));
        let options = Options { policy, ..options() };
        let writer = Arc::new(Writer::begin(found.folder, &found.recovered, Arc::clone(&log), options).unwrap());
        let value = "x".repeat(300);
        let connection = {
            let (log, writer, value) = (Arc::clone(&log), Arc::clone(&writer), value.clone());
            move || {
                log.append_words(0, &["SET", &log.end().to_string(), &value]);
                writer.write_pending();
            }
        };
        disk.during_syncs(connection.clone());
        for round in 1..200 {
            connection();
            writer.step(Duration::from_secs(round));
            let after = read(&disk.after_power_cut(round)).unwrap();
            let end = after.recovered.end.offset;
            assert!(end >= log.released(), "{policy:?}, round {round}: {end} of {} was recovered", log.released());
            assert!(log.released() + 12 * 400 >= log.end(), "{policy:?}, round {round}: the disk does not follow");
            let mut calls = Reader::new(&after.bytes, 0);
            assert!(calls.by_ref().all(|call| call.is_ok()) && calls.rest().is_empty());
        }
        assert!(writer.folder().manifest().segments.len() > 5);
    }
}

/// A run of which every file is looked at, bit by bit.
fn finished(close: bool) -> (SimDisk, Truth) {
    let disk = SimDisk::new(1);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::EverySecond).unwrap();
    world.run(&script());
    // So that later frames tell what was fsynced.
    world.run(&[Step::Tick(1000), Step::Calls(1, 10), Step::Write, Step::Calls(1, 10), Step::Write]);
    if close {
        world.writer.close().unwrap();
    }
    (disk.after_kill(), world.truth)
}

/// The highest offset that a frame tells was fsynced.
fn synced_told(disk: &SimDisk) -> u64 {
    let manifest = folder::read_manifest(disk).unwrap().unwrap();
    let mut synced = 0;
    for line in &manifest.segments {
        synced = synced.max(line.end.unwrap_or(0));
        let mut reader = SegmentReader::open(disk, &line.name, line.first, line.history).unwrap();
        while let Found::Frame(header) = reader.peek().unwrap() {
            synced = synced.max(header.synced);
            reader.skip(&header);
        }
    }
    synced
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_with_file_and_place_or_the_unsynced_tail() {
    for close in [false, true] {
        let (disk, truth) = finished(close);
        let told = synced_told(&disk);
        assert!(told > 0);
        let (mut errors, mut cut) = (0, 0);
        for (name, bytes) in disk.files() {
            let ours = folder::read_manifest(&disk).unwrap().unwrap();
            if name == manifest::NEW_NAME || (name != manifest::NAME && !ours.names().any(|named| named == name)) {
                continue;
            }
            for byte in (0..bytes).step_by(2) {
                let flipped = disk.with_flipped_bit(&name, byte * 8 + byte / 2 % 8);
                match read(&flipped) {
                    Ok(found) => {
                        let end = found.recovered.end.offset;
                        assert!(end >= told, "{name}, byte {byte}: cut at {end}, which was safe");
                        assert!(found.bytes == truth.bytes[found.start.offset as usize..end as usize]);
                        cut += u64::from(end < truth.bytes.len() as u64);
                    }
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains(&name) && text.contains("at byte"), "{name}, byte {byte}: {text}");
                        errors += 1;
                    }
                }
            }
        }
        assert!(errors > 1000, "{errors}");
        assert_eq!(cut > 0, !close, "only what was not fsynced may be cut: {cut}");
    }
}

/// What is missing of a log that was closed is missed, also where it was cut between two frames.
#[test]
fn a_closed_log_that_was_cut_is_an_error() {
    let (disk, truth) = finished(true);
    let manifest = folder::read_manifest(&disk).unwrap().unwrap();
    let last = manifest.segments.last().unwrap();
    assert_eq!(last.end, Some(truth.bytes.len() as u64));
    let mut reader = SegmentReader::open(&disk, &last.name, last.first, last.history).unwrap();
    let mut starts = Vec::new();
    while reader.offset < truth.bytes.len() as u64 {
        starts.push(reader.position);
        let Found::Frame(header) = reader.peek().unwrap() else { panic!("a frame is missing") };
        reader.skip(&header);
    }
    assert!(starts.len() > 2);
    for start in starts {
        for at in [start, start + 1] {
            let cut = disk.after_kill();
            cut.open(&last.name).unwrap().set_len(at).unwrap();
            assert!(matches!(read(&cut), Err(Error::Corrupt { .. })), "cut at byte {at}");
        }
    }
}

/// After a flaw was reported, repair makes a log that starts again, and keeps aside what it took.
#[test]
fn repair_cuts_at_the_first_flaw() {
    let disk = SimDisk::new(3);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::Always).unwrap();
    for _ in 0..6 {
        world.run(&[Step::Calls(5, 600), Step::Tick(1), Step::Unit(3), Step::Tick(1)]);
    }
    let truth = world.truth.clone();
    let manifest = world.writer.folder().manifest();
    assert!(manifest.segments.len() >= 3);
    assert_eq!(check(&disk, &manifest, &mut |_| ()).len(), 0);
    drop(world);
    for (place, byte) in [(0, 10), (0, 200), (1, 0), (1, 3000), (2, 100)] {
        let line = &manifest.segments[place];
        let flipped = disk.with_flipped_bit(&line.name, byte * 8);
        let error = read(&flipped).err().expect("a flaw");
        assert!(error.to_string().contains(&line.name), "{error}");
        let found = check(&flipped, &manifest, &mut |_| ());
        assert_eq!(found.len(), 1, "{found:?}");
        let folder = Folder::open(Arc::new(flipped.clone())).unwrap();
        let repaired = repair(&folder, 0).unwrap().expect("something to repair");
        assert_eq!(repaired.aside.len(), manifest.segments.len() - place);
        assert!(repaired.end >= line.first && repaired.end < line.end.unwrap_or(u64::MAX));
        assert_eq!(repair(&folder, 0).unwrap(), None);
        drop(folder);
        let world = World::open(&flipped, truth.clone(), repaired.end, Policy::Always).unwrap();
        survives(world, Some(1), "repaired");
    }
}

/// What a snapshot holds is not needed from the log: damage there does not stop a start, wherever it is.
#[test]
fn a_flaw_before_the_snapshot_does_no_harm() {
    let disk = SimDisk::new(3);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::Always).unwrap();
    world.writer.options.segment_bytes = 1 << 20;
    world.run(&[Step::Calls(3, 100), Step::Tick(1), Step::Calls(3, 100), Step::Tick(1)]);
    let bytes_before = world.writer.facts().segment_bytes as usize;
    world.run(&[Step::Snapshot, Step::Calls(3, 100), Step::Tick(1), Step::Calls(3, 100), Step::Tick(1)]);
    let name = world.writer.folder().manifest().segments[0].name.clone();
    for byte in segment::HEADER_BYTES..bytes_before {
        let found = read(&disk.with_flipped_bit(&name, byte * 8 + byte % 8)).unwrap();
        assert_eq!(found.recovered.end.offset, world.log.end());
        assert!(found.start.offset > 0 && found.bytes == world.truth.bytes[found.start.offset as usize..]);
    }
    assert!(matches!(read(&disk.with_flipped_bit(&name, bytes_before * 8)), Err(Error::Corrupt { .. })));
}

#[test]
fn a_log_without_its_manifest_is_not_an_empty_one() {
    let (disk, _) = finished(true);
    disk.remove(manifest::NAME).unwrap();
    let error = read(&disk).err().expect("refused");
    assert!(matches!(&error, Error::NoManifest { file } if file.starts_with("log-")), "{error}");
}

#[test]
fn a_file_that_the_manifest_does_not_name_is_reported_and_never_read() {
    let (disk, truth) = finished(true);
    let name = segment::name(7, 0);
    disk.create(&name).unwrap();
    let found = read(&disk).unwrap();
    assert_eq!(found.folder.strays().unwrap(), [name]);
    assert_eq!(found.recovered.end.offset as usize, truth.bytes.len());
}

#[test]
fn every_start_begins_a_history_and_keeps_the_one_before() {
    let disk = SimDisk::new(1);
    let mut before = None;
    let mut truth = Truth::default();
    for round in 0..3 {
        let mut world = World::open(&disk, truth, 0, Policy::Always).unwrap();
        let manifest = world.writer.folder().manifest();
        assert_eq!(manifest.history, Some(world.log.history()));
        assert_eq!(manifest.previous, before, "round {round}");
        world.run(&[Step::Calls(1, 10), Step::Tick(1)]);
        before = Some((world.log.history(), world.log.end()));
        truth = world.truth;
        world.writer.close().unwrap();
    }
}

#[test]
fn only_one_process_has_the_folder() {
    let disk = SimDisk::new(1);
    let _world = World::open(&disk, Truth::default(), 0, Policy::Always).unwrap();
    assert!(matches!(read(&disk).err(), Some(Error::Locked)));
}

#[test]
fn with_always_only_an_fsync_settles_and_with_the_others_a_write_does() {
    let disk = SimDisk::new(1);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::EverySecond).unwrap();
    world.run(&[Step::Calls(1, 10), Step::Write]);
    assert_eq!((world.log.settled(), world.log.released()), (world.log.end(), 0));
    world.run(&[Step::Policy(Policy::Always), Step::Calls(1, 10), Step::Write]);
    assert!(world.log.settled() < world.log.end(), "the thread of the log does it");
    world.run(&[Step::Tick(1)]);
    assert_eq!((world.log.settled(), world.log.released()), (world.log.end(), world.log.end()));
    world.run(&[Step::Calls(1, 10), Step::Policy(Policy::No), Step::Write, Step::Tick(5000)]);
    assert_eq!(world.log.settled(), world.log.end());
    assert!(world.log.released() < world.log.end(), "nobody asked for an fsync");
    world.run(&[Step::Calls(1, 4000), Step::Write, Step::Tick(1)]);
    assert_eq!(world.log.released(), world.log.end(), "much has gathered");
}

#[test]
fn those_who_wait_are_told_that_the_disk_fails_and_writers_that_it_is_behind() {
    let disk = SimDisk::new(1);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::Always).unwrap();
    world.writer.options.backlog_bytes_max = 100;
    disk.break_from(disk.operations(), ErrorKind::StorageFull);
    world.run(&[Step::Calls(1, 10)]);
    assert!(!world.writer.is_behind());
    world.run(&[Step::Calls(1, 100), Step::Tick(1)]);
    assert!(world.writer.is_behind());
    let waits = |time| block_on_for(world.log.settled_or_failing(world.log.end()), Duration::from_millis(time));
    assert_eq!(waits(1000), Some(Err(crate::log::Failing)));
    assert_eq!(block_on_for(world.writer.caught_up(), Duration::from_millis(1)), None);
    disk.mend();
    world.heals();
    assert!(block_on_for(world.log.settled_or_failing(world.log.end()), Duration::ZERO).is_some_and(|end| end.is_ok()));
    assert!(!world.writer.is_behind());
    assert!(block_on_for(world.writer.caught_up(), Duration::from_millis(1)).is_some());
}

/// A frame in a value is not a frame: without the segment's salt nobody can make one.
#[test]
fn what_clients_store_is_not_taken_for_frames() {
    let mut packer = frame::Packer::new(None);
    packer.begin().extend_from_slice(b"*1\r\n$8\r\nFLUSHALL\r\n");
    let forged = packer.finish(1 << 40, 1 << 40, None, false, frame::Salt(0)).to_vec();
    let disk = SimDisk::new(1);
    let mut world = World::open(&disk, Truth::default(), 0, Policy::No).unwrap();
    world.run(&[Step::Calls(1, 10), Step::Write]);
    world.log.append_words(0, &[b"SET".as_slice(), b"k", &forged.repeat(40)]);
    world.note();
    world.run(&[Step::Write]);
    for seed in 0..50 {
        let after = disk.after_power_cut(seed);
        World::open(&after, world.truth.clone(), 0, Policy::No).unwrap();
    }
}

/// The real thing: a folder of the system, threads that write, and the log's own.
fn on_a_real_disk(policy: Policy, zstd_level: Option<i32>) {
    let temp = TempFolder::new("log");
    let open = || {
        let folder = Folder::open(Arc::new(RealDisk::open(temp.path()).unwrap())).unwrap();
        let mut bytes = Vec::new();
        let recovered = replay(&**folder.disk(), &folder.manifest(), Position { offset: 0, db: None }, &mut |piece| {
            bytes.extend_from_slice(piece.bytes);
            Ok(())
        });
        (folder, recovered.unwrap(), bytes)
    };
    let (folder, recovered, _) = open();
    let log = Arc::new(Log::new(1 << 16, HistoryId::from_random([1; 20])));
    let options = Options { policy, zstd_level, segment_bytes: 100_000, ..Options::default() };
    let writer = Arc::new(Writer::begin(folder, &recovered, Arc::clone(&log), options).unwrap());
    writer.start().unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let (log, writer) = (&log, &writer);
            scope.spawn(move || {
                for count in 0..300 {
                    let key = format!("key:{number}:{count}");
                    let end = log.append_words(number, &["SET", &key, &"value".repeat(count % 50)]);
                    writer.write_pending();
                    let settled = block_on_for(log.settled_or_failing(end), Duration::from_secs(60));
                    assert!(settled.expect("in time").is_ok());
                }
            });
        }
    });
    // The log's thread begins segments in its own time.
    let several = || zstd_level.is_some() || writer.folder().manifest().segments.len() > 1;
    (0..1000).take_while(|_| !several()).for_each(|_| thread::sleep(Duration::from_millis(10)));
    assert!(several());
    writer.close().unwrap();
    drop(writer);
    let (folder, recovered, bytes) = open();
    assert!(recovered.clean && recovered.end.offset == log.end());
    let calls = Reader::new(&bytes, 0).map(Result::unwrap).filter(|call| call.words[0] == b"SET");
    assert_eq!(calls.count(), 1200);
    assert!(check(&**folder.disk(), &folder.manifest(), &mut |_| ()).is_empty());
}

#[test]
fn every_second_on_a_real_disk() {
    on_a_real_disk(Policy::EverySecond, None);
}

#[test]
fn always_on_a_real_disk() {
    on_a_real_disk(Policy::Always, None);
}

#[test]
fn compressed_on_a_real_disk() {
    on_a_real_disk(Policy::EverySecond, Some(3));
}

/// What a run without a log, then with one, then without, has promised and may be found with.
#[derive(Default)]
struct Promised {
    /// What a start must find at least.
    safe: u64,
    bytes: Vec<u8>,
    ends: BTreeSet<u64>,
}

/// A server whose log begins and ends in the middle of its run, until the disk fails.
fn begin_and_end(disk: &SimDisk, promised: &mut Promised) -> Result<(), Error> {
    let folder = Folder::open(Arc::new(disk.clone()))?;
    let start = Position { offset: 0, db: None };
    let recovered = replay(disk, &folder.manifest(), start, &mut |_| Ok(()))?;
    let log = Arc::new(Log::new(1 << 14, HistoryId::from_random([7; 20])).keeping_everything());
    let writer = Writer::closed(folder, &recovered, Arc::clone(&log), options());
    let mut now = Duration::ZERO;
    let write = |promised: &mut Promised| {
        for number in 0..12_u32 {
            let end = log.append_words(number % 3, &["SET", &number.to_string(), &"x".repeat(200)]);
            promised.ends.insert(end);
            writer.write_pending();
        }
        promised.bytes.clear();
        while (promised.bytes.len() as u64) < log.end() {
            log.read_from(promised.bytes.len() as u64, &mut promised.bytes).expect("it keeps everything");
        }
    };
    let snapshot = || {
        let Position { offset, db } = log.position();
        Snapshot { name: format!("snapshot-{offset}.rdb"), offset, db }
    };
    for _ in 0..2 {
        write(promised);
        let first = snapshot();
        writer.begin_at(first.clone(), None)?;
        promised.safe = first.offset;
        write(promised);
        writer.open_here()?;
        write(promised);
        let second = snapshot();
        write(promised);
        now += Duration::from_secs(2);
        writer.step(now);
        if log.released() < second.offset {
            return Err(Error::NotSynced { offset: second.offset, synced: log.released() });
        }
        writer.begin_at(second, Some(&first.name))?;
        promised.safe = log.released();
        write(promised);
        now += Duration::from_secs(2);
        writer.step(now);
        promised.safe = log.released();
        write(promised);
        writer.stop()?;
        assert!(log.is_settled(log.end()) && !writer.is_open());
        promised.safe = log.end();
    }
    Ok(())
}

#[test]
fn a_log_that_begins_and_ends_in_the_middle_of_a_run_counts_whole_or_not_at_all() {
    let whole = SimDisk::new(1);
    begin_and_end(&whole, &mut Promised::default()).expect("nothing fails");
    let operations = whole.operations();
    assert!(operations > 60, "{operations}");
    for operation in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let disk = SimDisk::new(operation);
            disk.plan(operation, fault);
            let mut promised = Promised::default();
            assert!(begin_and_end(&disk, &mut promised).is_err() || disk.is_dead());
            let after = (0..4).map(|seed| disk.after_power_cut(seed)).chain([disk.after_kill()]);
            for after in after {
                let found = read(&after).unwrap_or_else(|error| panic!("{fault:?} at {operation}: {error}"));
                let end = found.recovered.end.offset;
                assert!(end >= promised.safe, "{fault:?} at {operation}: {end} of {}", promised.safe);
                assert!(end == 0 || promised.ends.contains(&end));
                assert!(found.bytes == promised.bytes[found.start.offset as usize..end as usize]);
            }
        }
    }
}
