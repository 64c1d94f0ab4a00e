//! Checks the promises of a cluster against what happened.

use doorstep_application::cluster::ClusterEntry;
use doorstep_application::delivery::Standing;
use doorstep_domain::LogKey;
use doorstep_domain::ports::Log as _;
use tokio::time::Instant;

use super::node::Node;
use super::world::{NODES, World, short};

impl World {
    /// What must hold after every step, once everything that can happen without time passing has happened.
    pub(super) fn check(&self, nodes: &[Node; NODES]) -> Result<(), String> {
        let state = self.state();
        if let Some(what) = &state.broken {
            return Err(what.clone());
        }
        if Instant::now() <= state.pushes_trouble_until {
            return Ok(());
        }
        let now = self.eye.now();
        for connection in state.connections.values() {
            if !state.is_calm(connection.node) || !nodes[connection.node].is_ready() {
                continue;
            }
            let owed = state.lives.values().find(|life| {
                life.user == connection.user
                    && life.kind != "now"
                    && life.accepted
                    && life.told.is_empty()
                    && !life.promoted
                    && !life.may_be_lost
                    && life.recalled.is_none()
                    && life.in_log.is_some_and(|(_, at)| now < at + life.ttl())
                    && !connection.handed.contains_key(&life.notification.id)
                    && !state.is_withheld(life)
            });
            // It may have ended a moment ago, and nobody was told because the node that told it is gone.
            if let Some(life) = owed {
                let ended = self.ended_in_log(life.notification.id);
                if !ended {
                    return Err(format!(
                        "{} waits, and its user is at node {} and was not pushed it",
                        short(life.notification.id),
                        connection.node
                    ));
                }
            }
        }
        Ok(())
    }

    fn ended_in_log(&self, id: doorstep_domain::NotificationId) -> bool {
        use futures_util::FutureExt as _;
        let key = LogKey::Notification(id);
        let entry = self.eye.get(key).now_or_never().and_then(Result::ok).flatten();
        entry.is_some_and(|entry| {
            !matches!(ClusterEntry::decode(key, &entry.bytes), Ok(ClusterEntry::Accepted { .. }))
        })
    }

    /// At the end of the schedule: everything that was accepted has ended, once, and nothing is left anywhere.
    pub(super) async fn check_end(&self, nodes: &[Node; NODES]) -> Result<(), String> {
        for node in nodes {
            let Some(up) = &node.up else { continue };
            let standing = up.delivery.standing().map(|standing| standing.borrow().clone());
            if standing != Some(Standing::UpToDate) {
                return Err(format!("node {} is {standing:?} at the end", node.number));
            }
            let (held, counts) = (up.delivery.held(), up.delivery.cluster_counts());
            let counts = counts.unwrap_or_default();
            if held.waiting + held.in_flight + held.mailboxes + counts.open + counts.proposed > 0 {
                return Err(format!("node {} still has {held:?}, {counts:?}", node.number));
            }
        }
        let undelivered = self.stores.count_undelivered();
        if undelivered > 0 {
            return Err(format!("everybody was there, and {undelivered} are left in the inbox"));
        }
        let lives: Vec<_> = {
            let state = self.state();
            state
                .lives
                .iter()
                .map(|(id, life)| (*id, life.accepted, life.told.len(), life.may_be_lost))
                .collect()
        };
        for (id, accepted, told, may_be_lost) in lives {
            let entry = self.eye.get(LogKey::Notification(id)).await.ok().flatten();
            let read =
                entry.map(|entry| ClusterEntry::decode(LogKey::Notification(id), &entry.bytes));
            match read {
                None if accepted && !may_be_lost && told == 0 => {
                    return Err(format!("{} was accepted, and is nowhere", short(id)));
                }
                None => {}
                Some(Ok(ClusterEntry::Ended { outcome, by, .. })) => {
                    let state = self.state();
                    let life = &state.lives[&id];
                    let winner = usize::from(by.0[1]).saturating_sub(1);
                    let mut number = [0; 8];
                    number[2..].copy_from_slice(&by.0[2..8]);
                    let gone = state.crashed.contains(&(winner, u64::from_be_bytes(number)));
                    if told == 0 && !gone {
                        return Err(format!(
                            "{} ended as {outcome:?} by node {winner}, and nobody was told",
                            short(id)
                        ));
                    }
                    if life.outcome().is_some_and(|told| Some(told) != outcome) {
                        return Err(format!(
                            "{} ended as {outcome:?}, and was told as {:?}",
                            short(id),
                            life.told
                        ));
                    }
                }
                Some(other) => {
                    return Err(format!("{} has not ended: {other:?}", short(id)));
                }
            }
        }
        Ok(())
    }
}
