//! The state as rows: what the store and snapshots hold of it.
//!
//! A row is a key (table number, then the record's key big-endian) and a [`crate::record`]. The index is not among
//! them: it follows from the rest.

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use crate::model::{MeetingId, NodeId, ParticipantId, RoomId, Timestamp};
use crate::record::{RecordError, decode, encode_value};

/// A key and a value as they are stored.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// How a row differs from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    /// Its value until now, if it is not new.
    pub(crate) before: Option<Vec<u8>>,
    /// Its value, unless it is gone.
    pub(crate) after: Option<Vec<u8>>,
}

/// Table numbers. They are on disk: append, never reuse.
mod table {
    pub(super) const CLOCK: u8 = 1;
    pub(super) const NODES: u8 = 2;
    pub(super) const MEETINGS: u8 = 3;
    pub(super) const ROOMS: u8 = 4;
    pub(super) const PARTICIPANTS: u8 = 5;
    pub(super) const OUTBOX: u8 = 6;
    pub(super) const SPENT: u8 = 7;
    pub(super) const ADMITTED: u8 = 8;
    pub(super) const PROPOSERS: u8 = 9;
    pub(super) const OUTCOMES: u8 = 10;
    pub(super) const REMOVED: u8 = 11;
}

/// Why rows are not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A table that this version of the program does not know.
    #[error("row of unknown table {0}")]
    UnknownTable(u8),
    /// A key that does not fit its table.
    #[error("key of table {0} is malformed")]
    Key(u8),
    /// A value that is not a record.
    #[error("row of table {0}: {1}")]
    Record(u8, RecordError),
}

/// A key that sorts as bytes as it sorts as a value.
trait RowKey: Ord + Clone + Sized {
    fn write(&self, out: &mut Vec<u8>);
    /// Takes the key off the front.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

macro_rules! number_key {
    ($($number:ty),*) => {$(
        impl RowKey for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes).map(Self::from_be_bytes)
            }
        }
    )*};
}

number_key!(u32, u64, u128);

macro_rules! uuid_key {
    ($($id:ty),*) => {$(
        impl RowKey for $id {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.uuid().as_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes).map(|bytes| Self::from_uuid(uuid::Uuid::from_bytes(bytes)))
            }
        }
    )*};
}

uuid_key!(MeetingId, ParticipantId, RoomId);

impl RowKey for NodeId {
    fn write(&self, out: &mut Vec<u8>) {
        self.number().write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        u64::read(bytes).map(Self::new)
    }
}

impl<A: RowKey, B: RowKey> RowKey for (A, B) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

fn row_key<K: RowKey>(table: u8, key: &K) -> Vec<u8> {
    let mut bytes = vec![table];
    key.write(&mut bytes);
    bytes
}

fn value<V: Serialize>(table: u8, value: &V) -> Result<Vec<u8>, RowError> {
    encode_value(value).map_err(|error| RowError::Record(table, error))
}

/// What differs between two versions of one table. Cheap: parts that the maps share are skipped.
fn diff<'s, K, V>(
    table: u8,
    old: &'s OrdMap<K, V>,
    new: &'s OrdMap<K, V>,
) -> impl Iterator<Item = Result<Change, RowError>> + 's
where
    K: RowKey,
    V: Serialize + Clone + PartialEq,
{
    old.diff(new).map(move |item| {
        let (key, before, after) = match item {
            DiffItem::Add(key, new) => (key, None, Some(new)),
            DiffItem::Update { old: (_, old), new: (key, new) } => (key, Some(old), Some(new)),
            DiffItem::Remove(key, old) => (key, Some(old), None),
        };
        let encoded = |record: Option<&V>| record.map(|record| value(table, record)).transpose();
        Ok(Change { key: row_key(table, key), before: encoded(before)?, after: encoded(after)? })
    })
}

fn insert<K, V>(table: u8, map: &mut OrdMap<K, V>, mut key: &[u8], value: &[u8]) -> Result<(), RowError>
where
    K: RowKey,
    V: DeserializeOwned + Clone,
{
    let read = K::read(&mut key).filter(|_| key.is_empty()).ok_or(RowError::Key(table))?;
    map.insert(read, decode(value).map_err(|error| RowError::Record(table, error))?);
    Ok(())
}

impl State {
    /// The rows that lead from `old` to this state, made one at a time.
    pub(crate) fn changes_since<'s>(&'s self, old: &'s Self) -> impl Iterator<Item = Result<Change, RowError>> + 's {
        self.clock_since(old)
            .chain(diff(table::NODES, &old.nodes, &self.nodes))
            .chain(diff(table::MEETINGS, &old.meetings, &self.meetings))
            .chain(diff(table::ROOMS, &old.rooms, &self.rooms))
            .chain(diff(table::PARTICIPANTS, &old.participants, &self.participants))
            .chain(diff(table::OUTBOX, &old.outbox, &self.outbox))
            .chain(diff(table::SPENT, &old.spent, &self.spent))
            .chain(diff(table::ADMITTED, &old.admitted, &self.admitted))
            .chain(diff(table::REMOVED, &old.removed, &self.removed))
            .chain(diff(table::PROPOSERS, &old.proposers, &self.proposers))
            .chain(diff(table::OUTCOMES, &old.outcomes, &self.outcomes))
    }

    /// The row of the clock, if it moved. The empty state has none.
    fn clock_since(&self, old: &Self) -> impl Iterator<Item = Result<Change, RowError>> + use<> {
        let clock = |state: &Self| (state.clock() != Self::default().clock()).then_some(state.clock());
        let (before, after) = (clock(old), clock(self));
        let encoded = |clock: Option<_>| clock.map(|clock| value(table::CLOCK, &clock)).transpose();
        let change = move || Ok(Change { key: vec![table::CLOCK], before: encoded(before)?, after: encoded(after)? });
        (before != after).then(change).into_iter()
    }

    /// The state that `rows` hold.
    pub(crate) fn from_rows<E: From<RowError>>(rows: impl IntoIterator<Item = Result<Row, E>>) -> Result<Self, E> {
        let mut state = Self::default();
        for row in rows {
            let (key, value) = row?;
            state.insert_row(&key, &value)?;
        }
        state.index = state.rebuilt_index();
        Ok(state)
    }

    fn insert_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let (&table, key) = key.split_first().ok_or(RowError::UnknownTable(0))?;
        match table {
            table::CLOCK => {
                let clock: (u64, Timestamp, u64) = decode(value).map_err(|error| RowError::Record(table, error))?;
                (self.revision, self.now, self.trimmed) = clock;
                Ok(())
            }
            table::NODES => insert(table, &mut self.nodes, key, value),
            table::MEETINGS => insert(table, &mut self.meetings, key, value),
            table::ROOMS => insert(table, &mut self.rooms, key, value),
            table::PARTICIPANTS => insert(table, &mut self.participants, key, value),
            table::OUTBOX => insert(table, &mut self.outbox, key, value),
            table::SPENT => insert(table, &mut self.spent, key, value),
            table::ADMITTED => insert(table, &mut self.admitted, key, value),
            table::PROPOSERS => insert(table, &mut self.proposers, key, value),
            table::REMOVED => insert(table, &mut self.removed, key, value),
            table::OUTCOMES => insert(table, &mut self.outcomes, key, value),
            unknown => Err(RowError::UnknownTable(unknown)),
        }
    }

    const fn clock(&self) -> (u64, Timestamp, u64) {
        (self.revision, self.now, self.trimmed)
    }
}
