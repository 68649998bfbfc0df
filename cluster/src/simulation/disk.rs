//! A member's disk: what is written is there at once, and what was not synced may be gone after a crash.
//!
//! ```text
//! write ─► cache (what the member reads) ─► in order of writing ─► durable
//!                                              ▲ one sync, or as much as a crash happens to leave
//! ```
//!
//! Log and vote are one sequence of operations, and a crash leaves a prefix of it that holds at least what was synced.
//! The rows are another, synced at times of its own: a crash leaves a prefix of those too, which may be far behind the
//! log and is never ahead of it. Snapshots are not here: they are files, written by the store's own code.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::planted::{Bug, is_planted};
use super::random::Random;
use super::replica::{Entry, Rows, config_of};
use super::seen::{Ballot, Journal, LogId, Seen};
use crate::model::NodeId;
use crate::raft::types::{self, StoredMembership};
use crate::record::decode;
use crate::state::{Change, Row};
use crate::store::{APPLIED, Changes, MEMBER, Rows as RowsFace, StorageFault};

/// In so many of a hundred syncs of the log the rows are synced too.
const ROWS_SYNCED: u64 = 10;

/// How long a sync takes.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Mostly at least this.
    pub least: Duration,
    /// Mostly at most this.
    pub most: Duration,
    /// In one of a hundred cases up to this.
    pub rare: Duration,
}

/// What may happen to a disk while nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// An entry that was synced can't be read any more.
    Rot,
    /// The disk had only said that it synced the latest entries: they are gone.
    ShortTail,
}

/// A disk. Clones share it.
#[derive(Debug, Clone)]
pub struct Disk {
    node: NodeId,
    folder: PathBuf,
    journal: Journal,
    pub(super) content: Arc<Mutex<Content>>,
}

/// What stands on a disk.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) cache: Image,
    durable: Image,
    /// Written to the log and not synced, oldest first.
    pending: VecDeque<Op>,
    /// Operations of the log ever written.
    written: u64,
    /// Operations of the log that are durable.
    synced: u64,
    /// Written to the rows and not synced, oldest first, with the operations of the log that came before.
    rows: VecDeque<(u64, Op)>,
    /// Durable beside the rest: how far the log reached, and the highest vote.
    mark: Mark,
    /// Counts the times it was opened: whoever opened it before writes no more.
    life: u64,
    random: Random,
    latency: Latency,
    damaged: Option<u64>,
    /// What it had said it synced and lost all the same.
    lost: BTreeMap<u64, LogId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    end: u64,
    ballot: Option<Ballot>,
}

/// One state of the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) entries: BTreeMap<u64, Stored>,
    pub(super) vote: Option<types::Vote>,
    pub(super) vote_before: Option<types::Vote>,
    pub(super) committed: Option<types::LogId>,
    pub(super) purged: Option<types::LogId>,
    pub(super) rows: Rows,
    pub(super) installing: Option<String>,
    /// Index up to which a snapshot was installed.
    installed: Option<u64>,
}

/// An entry as Raft knows it, and as those who look on do.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) raft: Arc<types::Entry>,
    pub(super) seen: Arc<Entry>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Append(Stored),
    Vote(types::Vote),
    Committed(Option<types::LogId>),
    Cut(u64),
    Purge(types::LogId),
    Rows(Vec<Change>),
    Installing(Option<String>),
}

impl Image {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(stored) => {
                self.entries.insert(stored.seen.id.index, stored);
            }
            Op::Vote(vote) => self.vote_before = self.vote.replace(vote),
            Op::Committed(id) => self.committed = id,
            Op::Cut(end) => drop(self.entries.split_off(&end)),
            Op::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index() + 1));
                self.purged = Some(upto);
            }
            Op::Rows(changes) => {
                let keeps = self.installing.is_some() && is_planted(Bug::InstallLeavesRows);
                for change in changes {
                    if !(keeps && change.after.is_none()) {
                        self.rows.change(change);
                    }
                }
            }
            Op::Installing(name) => {
                // A snapshot's name begins with its index.
                let index = name.as_deref().and_then(|name| name.get(..20)).and_then(|index| index.parse().ok());
                self.installed = self.installed.max(index);
                self.installing = name;
            }
        }
    }

    pub(super) fn last(&self) -> Option<types::LogId> {
        self.entries.last_key_value().map(|(_, stored)| stored.raft.log_id).or(self.purged)
    }

    /// What stands before `index`, or was purged there.
    fn before(&self, index: u64) -> Option<LogId> {
        let before = index.checked_sub(1)?;
        let purged = self.purged.as_ref().filter(|purged| purged.index() == before).map(LogId::of);
        self.entries.get(&before).map(|stored| stored.seen.id).or(purged)
    }

    fn end(&self) -> u64 {
        self.last().map_or(0, |last| last.index() + 1)
    }
}

impl Content {
    fn write(&mut self, op: Op) {
        self.cache.apply(op.clone());
        match op {
            Op::Rows(_) | Op::Installing(_) => self.rows.push_back((self.written, op)),
            Op::Append(_) | Op::Vote(_) | Op::Committed(_) | Op::Cut(_) | Op::Purge(_) => {
                self.pending.push_back(op);
                self.written += 1;
            }
        }
    }

    /// Makes the log durable up to the operation of this number.
    fn sync(&mut self, upto: u64) {
        while self.synced < upto {
            let Some(op) = self.pending.pop_front() else { break };
            self.synced += 1;
            self.persist(op);
        }
    }

    /// Makes so many operations of the rows durable, as far as the log that led to them is.
    fn sync_rows(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, op)) = self.rows.pop_front_if(|(after, _)| *after <= self.synced) else { break };
            self.persist(op);
        }
    }

    fn persist(&mut self, op: Op) {
        match &op {
            Op::Cut(_) if is_planted(Bug::ConflictNotCut) => {}
            Op::Rows(changes) if is_planted(Bug::AppliedNotWritten) => {
                let kept = |change: &&Change| change.key != APPLIED && change.key.first() != Some(&1);
                self.durable.apply(Op::Rows(changes.iter().filter(kept).cloned().collect()));
            }
            Op::Append(_)
            | Op::Vote(_)
            | Op::Committed(_)
            | Op::Cut(_)
            | Op::Purge(_)
            | Op::Rows(_)
            | Op::Installing(_) => self.durable.apply(op),
        }
    }
}

impl Disk {
    /// An empty disk, whose snapshots lie in `folder`.
    #[must_use]
    pub fn new(node: NodeId, folder: &Path, journal: Journal, random: Random, latency: Latency) -> Self {
        let content = Content {
            cache: Image::default(),
            durable: Image::default(),
            pending: VecDeque::new(),
            written: 0,
            synced: 0,
            rows: VecDeque::new(),
            mark: Mark::default(),
            life: 0,
            random,
            latency,
            damaged: None,
            lost: BTreeMap::new(),
        };
        Self { node, folder: folder.to_owned(), journal, content: Arc::new(Mutex::new(content)) }
    }

    /// Whose it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets how long syncs take from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.content.lock().latency = latency;
    }

    /// The power is cut: of what was not synced some prefix is left, at worst nothing.
    pub fn crash(&self) {
        let mut content = self.content.lock();
        content.life += 1;
        let unsynced = content.pending.len() as u64;
        // Mostly as if nothing had made it: that is where bugs show.
        let left = if content.random.chance(50) { 0 } else { content.random.between(0, unsynced) };
        let upto = content.synced + left;
        content.sync(upto);
        let unsynced = content.rows.len();
        let left = if content.random.chance(50) { 0 } else { content.random.index(unsynced + 1) };
        content.sync_rows(left);
        content.pending.clear();
        content.rows.clear();
        content.written = content.synced;
        content.cache = content.durable.clone();
    }

    /// Harms it while it is closed. False when there is nothing to harm.
    pub fn harm(&self, damage: Damage) -> bool {
        let mut content = self.content.lock();
        let indices: Vec<u64> = content.durable.entries.keys().copied().collect();
        if indices.len() < 8 {
            return false;
        }
        match damage {
            Damage::Rot => {
                let at = content.random.index(indices.len() / 2);
                content.damaged = indices.get(indices.len() / 2 + at).copied();
            }
            Damage::ShortTail => {
                let gone = 1 + content.random.index(4);
                let end = indices.get(indices.len() - gone).copied().unwrap_or(u64::MAX);
                content.lost = content.durable.entries.range(end..).map(|(at, stored)| (*at, stored.seen.id)).collect();
                content.durable.apply(Op::Cut(end));
                content.cache = content.durable.clone();
            }
        }
        true
    }

    /// Whether an entry is on it so that no crash takes it away. What it lost by a damage counts: its member kept its
    /// word, and has to stay away now.
    #[must_use]
    pub fn holds(&self, id: LogId) -> bool {
        let content = self.content.lock();
        let Image { entries, purged, installed, .. } = &content.durable;
        let behind = |index: u64| index >= id.index;
        purged.as_ref().is_some_and(|purged| behind(purged.index()))
            || installed.is_some_and(behind)
            || content.cache.installed.is_some_and(behind)
            || entries.get(&id.index).is_some_and(|stored| stored.seen.id == id)
            || content.lost.get(&id.index) == Some(&id)
    }

    /// The log as its member reads it, and up to where it was purged.
    #[must_use]
    pub fn log(&self) -> (Option<LogId>, Vec<Arc<Entry>>) {
        let content = self.content.lock();
        let entries = content.cache.entries.values().map(|stored| Arc::clone(&stored.seen)).collect();
        (content.cache.purged.as_ref().map(LogId::of), entries)
    }

    /// Opens it: refuses when it is damaged, or shorter than its mark says. Returns the number of this life.
    pub(super) fn open(&self) -> Result<u64, String> {
        let mut content = self.content.lock();
        if let Err(reason) = check(&mut content) {
            if !is_planted(Bug::ComesBackEmpty) {
                self.journal.note(Seen::Refused { node: self.node, reason: reason.clone() });
                return Err(reason);
            }
            (content.cache, content.durable) = (Image::default(), Image::default());
            content.mark = Mark::default();
        }
        // What was written and not synced before a crash counts as durable from here on.
        content.mark.end = content.durable.end();
        content.life += 1;
        let ballot = read_vote(&content.cache).as_ref().map(Ballot::of);
        let last = content.cache.last().as_ref().map(LogId::of);
        self.journal.note(Seen::Opened { node: self.node, ballot, last });
        Ok(content.life)
    }

    /// Writes, if it still is the life that it was.
    pub(super) fn write(&self, life: u64, op: Op) -> Result<(), StorageFault> {
        let mut content = self.content.lock();
        if content.life != life {
            return Err(StorageFault::Inconsistent("the disk was taken away".to_owned()));
        }
        match &op {
            Op::Append(stored) => {
                let previous = content.cache.before(stored.seen.id.index);
                self.journal.note(Seen::Appended { node: self.node, entry: Arc::clone(&stored.seen), previous });
            }
            Op::Cut(end) => self.journal.note(Seen::Cut { node: self.node, end: *end }),
            Op::Purge(upto) => self.journal.note(Seen::Purged { node: self.node, upto: LogId::of(upto) }),
            Op::Vote(_) | Op::Committed(_) | Op::Rows(_) | Op::Installing(_) => {}
        }
        content.write(op);
        Ok(())
    }

    /// Number of the latest operation, and how long the sync of it takes.
    pub(super) fn begin_sync(&self) -> (u64, Duration) {
        let mut content = self.content.lock();
        let Latency { least, most, rare } = content.latency;
        let most = if content.random.chance(1) { rare } else { most };
        let time = content.random.time(least, most);
        (content.written, time)
    }

    pub(super) fn end_sync(&self, life: u64, upto: u64, ballot: Option<Ballot>) -> bool {
        let mut content = self.content.lock();
        if content.life != life {
            return false;
        }
        content.sync(upto);
        if content.random.chance(ROWS_SYNCED) {
            let all = content.rows.len();
            content.sync_rows(all);
        }
        let end = content.durable.end();
        content.mark.end = end;
        content.mark.ballot = content.mark.ballot.max(ballot);
        self.journal.note(Seen::Synced { node: self.node, end });
        true
    }

    /// Lowers the mark before the log is cut: a log that is shorter on purpose must not look damaged.
    pub(super) fn lower_mark(&self, end: u64) {
        let mut content = self.content.lock();
        content.mark.end = content.mark.end.min(end);
    }

    pub(super) fn voted(&self, ballot: Ballot) {
        self.journal.note(Seen::Voted { node: self.node, ballot });
    }
}

/// What the store checks before it opens: whole, without a gap, and not short of the mark.
fn check(content: &mut Content) -> Result<(), String> {
    if let Some(index) = content.damaged.take() {
        if !is_planted(Bug::CutMidLog) {
            content.damaged = Some(index);
            return Err(format!("entry {index} is damaged"));
        }
        content.durable.apply(Op::Cut(index));
        content.cache = content.durable.clone();
        return Ok(());
    }
    let Content { durable, mark, .. } = content;
    let first = durable.purged.as_ref().map_or(0, |purged| purged.index() + 1);
    if let Some(at) = (first..).zip(durable.entries.keys()).find(|(expected, index)| expected != *index) {
        return Err(format!("the log lacks entry {}", at.0));
    }
    if is_planted(Bug::MarkIgnored) {
        return Ok(());
    }
    if durable.end() < mark.end {
        return Err(format!("the log ends at {} and once reached {}", durable.end(), mark.end));
    }
    let ballot = durable.vote.as_ref().map(Ballot::of);
    if ballot < mark.ballot {
        return Err("the vote is older than one that was given".to_owned());
    }
    Ok(())
}

pub(super) fn read_vote(image: &Image) -> Option<types::Vote> {
    if is_planted(Bug::OldVoteRead) { image.vote_before.or(image.vote) } else { image.vote }
}

/// The rows of one life of a disk.
#[derive(Debug)]
pub(super) struct DiskRows {
    pub(super) disk: Disk,
    pub(super) life: u64,
}

impl DiskRows {
    /// Tells of what was applied, if these changes say so.
    fn tell(&self, changes: &[Change]) -> Result<(), StorageFault> {
        let of = |wanted: &[u8]| changes.iter().find(|change| change.key == wanted);
        let value = |wanted: &[u8]| of(wanted).and_then(|change| change.after.as_ref());
        let Some(applied) = value(APPLIED) else { return Ok(()) };
        let Some(applied) = decode::<Option<types::LogId>>(applied)? else { return Ok(()) };
        let membership: StoredMembership = value(MEMBER).map(|value| decode(value)).transpose()?.unwrap_or_default();
        let content = self.disk.content.lock();
        self.disk.journal.note(Seen::Applied {
            node: self.disk.node,
            id: LogId::of(&applied),
            config: config_of(membership.membership()),
            digest: content.cache.rows.digest,
            installed: content.cache.installing.is_some(),
        });
        Ok(())
    }
}

impl RowsFace for DiskRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageFault> {
        Ok(self.disk.content.lock().cache.rows.rows.get(key).cloned())
    }

    fn from(&self, first: &[u8]) -> Box<dyn Iterator<Item = Result<Row, StorageFault>> + '_> {
        let content = self.disk.content.lock();
        let rows: Vec<Row> =
            content.cache.rows.rows.range(first.to_vec()..).map(|(key, value)| (key.clone(), value.clone())).collect();
        Box::new(rows.into_iter().map(Ok))
    }

    fn write(&self, changes: Changes<'_>) -> Result<(), StorageFault> {
        let changes: Vec<Change> = changes.collect::<Result<_, _>>()?;
        self.disk.write(self.life, Op::Rows(changes.clone()))?;
        self.tell(&changes)
    }

    fn check(&self) -> Result<(), StorageFault> {
        Ok(())
    }

    fn installing(&self) -> Result<Option<String>, StorageFault> {
        Ok(self.disk.content.lock().cache.installing.clone())
    }

    fn set_installing(&self, name: Option<&str>) -> Result<(), StorageFault> {
        self.disk.write(self.life, Op::Installing(name.map(str::to_owned)))
    }
}
