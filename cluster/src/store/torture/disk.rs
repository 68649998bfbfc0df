//! A folder as a disk would show it after a power cut, from the journal that `tests/shim/journal.c` writes.
//!
//! Content of a file survives if the file was synced after it was written, a name if its folder was synced after it was
//! given or taken. What was not synced may survive all the same: up to any operation, the last of them torn.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::history::Fact;

/// One record of the journal.
#[derive(Debug)]
pub(super) enum Record<'a> {
    Create { inode: u64, path: &'a str },
    Folder { inode: u64, path: &'a str },
    Write { inode: u64, offset: u64, bytes: &'a [u8] },
    Truncate { inode: u64, length: u64 },
    SyncBegins { inode: u64, number: u64 },
    SyncEnds { inode: u64, number: u64 },
    Rename { from: &'a str, to: &'a str },
    Remove { path: &'a str },
    Acknowledge { text: &'a str },
}

/// The records of a journal, in order.
pub(super) fn records(mut journal: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((head, rest)) = journal.split_first_chunk::<25>() {
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (inode, offset, first, second) = (long(1), long(9), short(17), short(21));
        let Some((body, rest)) = rest.split_at_checked(first + second) else { break };
        journal = rest;
        let (one, two) = body.split_at(first);
        let name = |bytes| std::str::from_utf8(bytes).expect("a name");
        records.push(match head[0] {
            b'c' => Record::Create { inode, path: name(one) },
            b'm' => Record::Folder { inode, path: name(one) },
            b'w' => Record::Write { inode, offset, bytes: two },
            b't' => Record::Truncate { inode, length: offset },
            b's' if one == b"b" => Record::SyncBegins { inode, number: offset },
            b's' => Record::SyncEnds { inode, number: offset },
            b'r' => Record::Rename { from: name(one), to: name(two) },
            b'u' => Record::Remove { path: name(one) },
            b'a' => Record::Acknowledge { text: name(two) },
            other => panic!("record of kind {other}"),
        });
    }
    records
}

/// What becomes of things that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are gone.
    Lost,
    /// They are there.
    Kept,
    /// Names are there, content is gone.
    NamesKept,
    /// Of each file and folder, what was done up to some moment is there; the seed says which.
    Torn(u64),
}

/// Something that operations are done to and that a sync makes durable.
#[derive(Debug)]
struct Object<T, O> {
    durable: T,
    /// What was done since.
    pending: Vec<O>,
    /// Operations that became durable.
    done: usize,
    /// Syncs that began: how much they make durable.
    syncs: HashMap<u64, usize>,
}

impl<T: Default, O> Default for Object<T, O> {
    fn default() -> Self {
        Self { durable: T::default(), pending: Vec::new(), done: 0, syncs: HashMap::new() }
    }
}

impl<T: Clone, O: Apply<T>> Object<T, O> {
    fn sync_begins(&mut self, number: u64) {
        self.syncs.insert(number, self.done + self.pending.len());
    }

    fn sync_ends(&mut self, number: u64) {
        let upto = self.syncs.remove(&number).expect("it began").saturating_sub(self.done);
        for operation in self.pending.drain(..upto) {
            operation.apply(&mut self.durable);
        }
        self.done += upto;
    }

    fn now(&self) -> T {
        let mut all = self.durable.clone();
        self.pending.iter().for_each(|operation| operation.apply(&mut all));
        all
    }

    fn after(&self, fate: Fate, names: bool, random: &mut SmallRng) -> T {
        match fate {
            Fate::Lost => self.durable.clone(),
            Fate::NamesKept if !names => self.durable.clone(),
            Fate::Kept | Fate::NamesKept => self.now(),
            Fate::Torn(_) => {
                let mut some = self.durable.clone();
                let upto = match random.random_range(0..4) {
                    0 => 0,
                    1 => self.pending.len(),
                    _ => random.random_range(0..=self.pending.len()),
                };
                self.pending[..upto].iter().for_each(|operation| operation.apply(&mut some));
                if let Some(torn) = self.pending.get(upto) {
                    torn.tear(&mut some, random);
                }
                some
            }
        }
    }
}

trait Apply<T> {
    fn apply(&self, to: &mut T);
    /// Does a part of it.
    fn tear(&self, to: &mut T, random: &mut SmallRng);
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

fn write(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if to.len() < offset + bytes.len() {
        to.resize(offset + bytes.len(), 0);
    }
    to[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Apply<Vec<u8>> for Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, bytes),
            Self::Truncate { length } => to.resize(*length, 0),
        }
    }

    fn tear(&self, to: &mut Vec<u8>, random: &mut SmallRng) {
        match self {
            Self::Write { offset, bytes } => write(to, *offset, &bytes[..random.random_range(0..=bytes.len())]),
            Self::Truncate { .. } => {}
        }
    }
}

type Names = BTreeMap<String, Target>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    File(usize),
    Folder(usize),
}

#[derive(Debug)]
enum Naming {
    Give { name: String, target: Target },
    Take { name: String },
    Rename { from: String, to: String },
}

impl Apply<Names> for Naming {
    fn apply(&self, to: &mut Names) {
        match self {
            Self::Give { name, target } => drop(to.insert(name.clone(), *target)),
            Self::Take { name } => drop(to.remove(name)),
            Self::Rename { from, to: name } => {
                if let Some(target) = to.remove(from) {
                    to.insert(name.clone(), target);
                }
            }
        }
    }

    fn tear(&self, _: &mut Names, _: &mut SmallRng) {}
}

/// The folder, as far as the journal was played.
#[derive(Debug)]
pub(super) struct Disk {
    files: Vec<Object<Vec<u8>, Change>>,
    folders: Vec<Object<Names, Naming>>,
    /// What an inode's number stands for at present; numbers are used again.
    inodes: HashMap<u64, Target>,
}

impl Disk {
    /// An empty folder.
    pub(super) fn new(inode: u64) -> Self {
        let inodes = HashMap::from([(inode, Target::Folder(0))]);
        Self { files: Vec::new(), folders: vec![Object::default()], inodes }
    }

    /// Plays one record; gives back what was acknowledged.
    pub(super) fn play(&mut self, record: &Record<'_>) -> Vec<Fact> {
        match *record {
            Record::Create { inode, path } => {
                self.files.push(Object::default());
                self.named(inode, path, Target::File(self.files.len() - 1));
            }
            Record::Folder { inode, path } => {
                self.folders.push(Object::default());
                self.named(inode, path, Target::Folder(self.folders.len() - 1));
            }
            Record::Write { inode, offset, bytes } => {
                let offset = usize::try_from(offset).expect("a small file");
                self.file(inode).pending.push(Change::Write { offset, bytes: bytes.to_vec() });
            }
            Record::Truncate { inode, length } => {
                let length = usize::try_from(length).expect("a small file");
                self.file(inode).pending.push(Change::Truncate { length });
            }
            Record::SyncBegins { inode, number } => match self.inodes[&inode] {
                Target::File(file) => self.files[file].sync_begins(number),
                Target::Folder(folder) => self.folders[folder].sync_begins(number),
            },
            Record::SyncEnds { inode, number } => match self.inodes[&inode] {
                Target::File(file) => self.files[file].sync_ends(number),
                Target::Folder(folder) => self.folders[folder].sync_ends(number),
            },
            Record::Rename { from, to } => {
                let (folder, name) = self.place(from);
                let (same, to) = self.place(to);
                assert_eq!(folder, same, "files are renamed within a folder");
                self.folders[folder].pending.push(Naming::Rename { from: name, to });
            }
            Record::Remove { path } => {
                let (folder, name) = self.place(path);
                self.folders[folder].pending.push(Naming::Take { name });
            }
            Record::Acknowledge { text } => return text.lines().filter_map(Fact::parse).collect(),
        }
        Vec::new()
    }

    /// Writes the folder as it would be found after a cut now.
    pub(super) fn cut(&self, fate: Fate, to: &Path) {
        let mut random = SmallRng::seed_from_u64(if let Fate::Torn(seed) = fate { seed } else { 0 });
        self.lay_out(0, fate, &mut random, to);
    }

    fn lay_out(&self, folder: usize, fate: Fate, random: &mut SmallRng, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for (name, target) in self.folders[folder].after(fate, true, random) {
            let path = to.join(name);
            match target {
                Target::File(file) => {
                    fs::write(path, self.files[file].after(fate, false, random)).expect("written");
                }
                Target::Folder(below) => self.lay_out(below, fate, random, &path),
            }
        }
    }

    fn named(&mut self, inode: u64, path: &str, target: Target) {
        self.inodes.insert(inode, target);
        let (folder, name) = self.place(path);
        self.folders[folder].pending.push(Naming::Give { name, target });
    }

    fn file(&mut self, inode: u64) -> &mut Object<Vec<u8>, Change> {
        match self.inodes[&inode] {
            Target::File(file) => &mut self.files[file],
            Target::Folder(_) => panic!("a folder is not written to"),
        }
    }

    /// The folder that a path is in at present, and its name there.
    fn place(&self, path: &str) -> (usize, String) {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = 0;
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            match self.folders[at].now().get(folder) {
                Some(Target::Folder(below)) => at = *below,
                other => panic!("{path}: {folder} is {other:?}"),
            }
        }
        (at, name.to_owned())
    }
}
