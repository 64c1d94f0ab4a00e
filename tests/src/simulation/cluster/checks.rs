//! Checks the promises of a cluster against what happened.

use std::time::Duration;

use doorstep_application::cluster::ClusterEntry;
use doorstep_application::delivery::Standing;
use doorstep_domain::LogKey;
use doorstep_domain::ports::Log as _;
use tokio::time::Instant;

use super::node::Node;
use super::world::{Life, NODES, State, World, life_of, short};

/// What every node refused for good is nowhere.
fn check_refused(state: &State) -> Result<(), String> {
    let wrong = |life: &&Life| {
        life.sent > 0 && life.sent == life.refused && (life.written || life.in_log.is_some())
    };
    match state.lives.values().find(wrong) {
        Some(life) => {
            Err(format!("{} was refused for good, and is there", short(life.notification.id)))
        }
        None => Ok(()),
    }
}

/// What a node appends again after the log was lost stays in the order of its user.
fn check_order_after_loss(state: &State) -> Result<(), String> {
    let again: Vec<_> = state
        .lives
        .values()
        .filter_map(|life| Some((life, life.lost_at?, life.in_log?.0)))
        .collect();
    for (one, (loss, before), place) in &again {
        let other = again.iter().find(|(other, (lost, was), is)| {
            other.user == one.user
                && other.origin == one.origin
                && lost == loss
                && was < before
                && is > place
        });
        if let Some((other, ..)) = other {
            let (id, other) = (short(one.notification.id), short(other.notification.id));
            return Err(format!("{id} was appended again before {other}, an earlier one"));
        }
    }
    Ok(())
}

impl World {
    /// What must hold after every step, once everything that can happen without time passing has happened.
    pub(super) fn check(&self, nodes: &[Node; NODES]) -> Result<(), String> {
        let state = self.state();
        if let Some(what) = &state.broken {
            return Err(what.clone());
        }
        check_refused(&state)?;
        check_order_after_loss(&state)?;
        self.check_standing(&state, nodes)?;
        if Instant::now() <= state.pushes_trouble_until {
            return Ok(());
        }
        self.check_topics(&state, nodes)?;
        // Clocks drift, and a node that has read nothing for long lets a deadline come early rather than late.
        let early = Duration::from_millis(if state.was_cut_for_long { 1000 } else { 100 });
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
                    && !state.may_be_lost(life)
                    && life.recalled.is_none()
                    && life.in_log.is_some_and(|(_, at)| now + early < at + life.ttl())
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

    /// A node that says that it is up to date has read what was open before it began.
    fn check_standing(&self, state: &State, nodes: &[Node; NODES]) -> Result<(), String> {
        for node in nodes {
            let Some(up) = &node.up else { continue };
            let standing = up.delivery.standing().map(|standing| standing.borrow().clone());
            if standing != Some(Standing::UpToDate) {
                continue;
            }
            let since = up.way.reads_since();
            let before = |life: &&Life| life.in_log.is_some_and(|(place, _)| place <= since);
            let before = state.lives.values().filter(before);
            let open = before.filter(|life| self.is_open_in_log(life.notification.id)).count();
            let known = up.delivery.cluster_counts().unwrap_or_default().open;
            if known < open {
                let number = node.number;
                return Err(format!("node {number} is up to date with {known} of {open}"));
            }
        }
        Ok(())
    }

    /// An older one of a topic that nobody had does not outlive a newer one: the node that accepted the newer one sees to
    /// it at once, and the others if it is gone.
    fn check_topics(&self, state: &State, nodes: &[Node; NODES]) -> Result<(), String> {
        let knows =
            |node: usize| state.is_calm(node) && nodes[node].up.is_some() && nodes[node].is_ready();
        if !(0..NODES).any(knows) {
            return Ok(());
        }
        let now = self.eye.now();
        let waiting: Vec<_> = state
            .lives
            .values()
            .filter(|life| life.kind != "now" && life.notification.topic.is_some())
            .filter(|life| life.in_log.is_some() && self.is_open_in_log(life.notification.id))
            .collect();
        for older in &waiting {
            let over = older.in_log.is_none_or(|(_, at)| now >= at + older.ttl());
            if older.written || over {
                continue;
            }
            let survives = waiting.iter().any(|newer| {
                let there = newer
                    .origin
                    .is_some_and(|(node, life)| knows(node) && state.node_lives[node] == life);
                // One in between may have ended before the node that accepted it read it.
                let at_once = there && (0..NODES).all(knows);
                let time = Duration::from_secs(if at_once { 1 } else { 5 });
                newer.user == older.user
                    && newer.notification.topic == older.notification.topic
                    && newer.in_log.map(|(place, _)| place) > older.in_log.map(|(place, _)| place)
                    && newer.appended.is_some_and(|at| now > at + time)
            });
            if survives {
                let id = short(older.notification.id);
                return Err(format!("{id} waits, and a newer one of its topic too"));
            }
        }
        Ok(())
    }

    pub(super) fn ended_in_log(&self, id: doorstep_domain::NotificationId) -> bool {
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
                .map(|(id, life)| (*id, life.accepted, life.told.len(), state.may_be_lost(life)))
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
                    let winner = life_of(by);
                    let gone = state.crashed.contains(&winner);
                    if told == 0 && !gone {
                        return Err(format!(
                            "{} ended as {outcome:?} by node {winner:?}, and nobody was told",
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
