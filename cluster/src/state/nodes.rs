//! Nodes: admitted once, registered at each start, declared down, removed for good.

use std::net::SocketAddr;

use super::{Applied, EventKind, Rejection, State};
use crate::model::{Node, NodeAddresses, NodeId, NodeStatus, RoomId, Timestamp};
use crate::placement;

/// The founder's id. It is never handed out: an admission's log index is larger.
const FOUNDER: NodeId = NodeId::new(1);

/// Bytes of a node's texts, together.
const NODE_TEXT_MAX: usize = 1024;

impl State {
    pub(super) fn admit_node(
        &mut self,
        token: u128,
        expires: Timestamp,
        control: SocketAddr,
    ) -> Result<Applied, Rejection> {
        if expires <= self.now || self.spent.contains_key(&token) {
            return Err(Rejection::TokenSpent);
        }
        let forgotten: Vec<u128> =
            self.spent.iter().filter(|(_, expires)| **expires <= self.now).map(|(token, _)| *token).collect();
        for token in forgotten {
            self.spent.remove(&token);
        }
        self.spent.insert(token, expires);
        let node = NodeId::new(self.revision);
        self.admitted.insert(node, control);
        Ok(Applied::Admitted { node })
    }

    pub(super) fn register_node(
        &mut self,
        id: NodeId,
        registration: u64,
        addresses: &NodeAddresses,
        workers: u16,
        zone: &str,
        version: &str,
    ) -> Result<Applied, Rejection> {
        if !self.may_register(id) {
            return Err(Rejection::NodeNotCurrent);
        }
        if zone.len() + version.len() > NODE_TEXT_MAX {
            return Err(Rejection::TooLarge);
        }
        let epoch = self.revision;
        self.nodes.insert(
            id,
            Node {
                id,
                epoch,
                addresses: addresses.clone(),
                workers: workers.max(1),
                zone: zone.to_owned(),
                version: version.to_owned(),
                status: NodeStatus::Up,
                registered_at: self.now,
            },
        );
        self.begin_epoch(id, epoch, registration);
        self.lose_sessions_of(id);
        self.rehome(Some(id));
        self.rehome(None);
        self.emit(EventKind::NodeChanged { node: id });
        Ok(Applied::Registered { epoch })
    }

    pub(super) fn node_down(&mut self, id: NodeId, epoch: u64) -> Result<Applied, Rejection> {
        let node = self.nodes.get(&id).ok_or(Rejection::NodeNotCurrent)?;
        if node.epoch != epoch && !planted!(DownForOlderEpoch) {
            return Err(Rejection::NodeNotCurrent);
        }
        if node.status == NodeStatus::Down {
            return Ok(Applied::Done);
        }
        let node = Node { status: NodeStatus::Down, ..node.clone() };
        self.nodes.insert(id, node);
        self.lose_sessions_of(id);
        self.rehome(Some(id));
        self.emit(EventKind::NodeChanged { node: id });
        Ok(Applied::Done)
    }

    pub(super) fn remove_node(&mut self, id: NodeId, while_up: bool) -> Result<Applied, Rejection> {
        if !self.is_member(id) {
            return Err(Rejection::NodeNotFound);
        }
        if !self.nodes.values().any(|node| node.id != id && node.status == NodeStatus::Up) {
            return Err(Rejection::LastNode);
        }
        if !while_up && self.nodes.get(&id).is_some_and(|node| node.status == NodeStatus::Up) {
            return Err(Rejection::NodeUp);
        }
        self.nodes.remove(&id);
        self.admitted.remove(&id);
        self.removed.insert(id, self.now);
        self.forget_proposer(id);
        self.lose_sessions_of(id);
        self.rehome(Some(id));
        self.emit(EventKind::NodeChanged { node: id });
        Ok(Applied::Done)
    }

    fn may_register(&self, id: NodeId) -> bool {
        self.admitted.contains_key(&id) || (id == FOUNDER && !self.removed.contains_key(&id))
    }

    /// Whether `epoch` is the current epoch of a node that is up.
    pub(super) fn is_current(&self, id: NodeId, epoch: u64) -> bool {
        self.nodes
            .get(&id)
            .is_some_and(|node| (node.epoch == epoch || planted!(IgnoreNodeEpoch)) && node.status == NodeStatus::Up)
    }

    /// The home that placement wants for a room now.
    pub(super) fn home_for(&self, room: RoomId) -> Option<NodeId> {
        placement::home(room, self.nodes.values().filter(|node| node.status == NodeStatus::Up).map(|node| node.id))
    }

    /// Chooses anew the home of every live room whose home is `old`. A room that stays gets a new home epoch all the
    /// same: whatever the node's earlier life began must not go on.
    fn rehome(&mut self, old: Option<NodeId>) {
        let first = (old, RoomId::from_uuid(uuid::Uuid::nil()));
        let last = (old, RoomId::from_uuid(uuid::Uuid::max()));
        let rooms: Vec<RoomId> = self.index.homes.range(first..=last).map(|(_, room)| *room).collect();
        for id in rooms {
            let Some(mut room) = self.rooms.get(&id).cloned() else { continue };
            room.home = self.home_for(id);
            if !planted!(HomeEpochNotRaised) {
                room.home_epoch = self.revision;
            }
            self.put_room(room, true);
        }
    }
}
