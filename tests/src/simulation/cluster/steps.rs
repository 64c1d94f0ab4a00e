//! What happens in a schedule.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::{Acceptance, Delivery, Policy, Refused};
use doorstep_domain::ports::Log as _;
use doorstep_domain::{LogKey, Notification, NotificationId, Outcome};
use tokio::time::Instant;

use super::super::dice::Dice;
use super::node::{KINDS, Node, all, bad_fates, watched};
use super::world::{Connection, NODES, USERS, World, short, user};
use crate::memory_log::Fate;

pub(super) async fn play_steps(
    dice: &mut Dice,
    world: &Arc<World>,
    steps: u64,
    step: &mut u64,
) -> Result<(), String> {
    let mut nodes = all();
    for node in &mut nodes {
        node.start(world);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    while *step < steps {
        take_step(dice, world, &mut nodes).await;
        settle().await;
        world.look().await;
        world.check(&nodes)?;
        *step += 1;
    }
    finish(world, &mut nodes).await
}

/// Lets everything happen that can happen without time passing.
async fn settle() {
    for _ in 0..60 {
        tokio::task::yield_now().await;
    }
}

fn index(dice: &mut Dice, below: usize) -> usize {
    usize::try_from(dice.below(below as u64)).unwrap_or(0)
}

async fn take_step(dice: &mut Dice, world: &Arc<World>, nodes: &mut [Node; NODES]) {
    let node = index(dice, NODES);
    match dice.below(100) {
        0..34 => send(dice, world, &nodes[node]).await,
        34..37 => {
            for _ in 0..3 + dice.below(8) {
                send(dice, world, &nodes[node]).await;
            }
        }
        37..40 => send_again(dice, world, &nodes[node]).await,
        40..52 => connect(world, &nodes[node], dice.below(USERS), !dice.one_in(3)),
        52..60 => disconnect(dice, world, nodes),
        60..64 => weather(dice, world, &nodes[node]),
        64 if dice.one_in(12) => cut_for_long(world, &nodes[node]).await,
        64..67 => fair_weather(world, &nodes[node]),
        67 => nodes[node].crash(world),
        68 => nodes[node].stop(world).await,
        69..72 => {
            if nodes[node].up.is_none() {
                nodes[node].start(world);
            }
        }
        72..75 => recall(dice, world, &nodes[node]).await,
        75 => recall_all(dice, world, &nodes[node]).await,
        76 => lose_the_log(world, nodes).await,
        77 if dice.one_in(3) => room(dice, world),
        77 => {
            let mut state = world.state();
            state.pushes_fail = !state.pushes_fail;
        }
        78..88 => tokio::time::sleep(Duration::from_millis(1 + dice.below(30))).await,
        88..96 => tokio::time::sleep(Duration::from_millis(100 + dice.below(1500))).await,
        _ => tokio::time::sleep(Duration::from_millis(2000 + dice.below(10_000))).await,
    }
}

async fn send(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    let kind = KINDS[index(dice, KINDS.len())];
    let topic = dice.one_in(4).then(|| dice.below(2));
    let mut n = world.create(dice.below(USERS), kind, topic);
    n.created_at = up.way.now();
    if let Some(life) = world.state().lives.get_mut(&n.id) {
        life.notification = n.clone();
    }
    world.tell(|| {
        format!("send {} ({kind}, {topic:?}) to {} at node {}", short(n.id), n.user_id, node.number)
    });
    // Not all senders wait for the answer before the next one is sent.
    if dice.one_in(3) {
        let (world, delivery) = (world.clone(), up.delivery.clone());
        tokio::spawn(async move { sent(&world, &delivery, n).await });
        settle().await;
    } else {
        sent(world, &up.delivery, n).await;
    }
}

async fn sent(world: &Arc<World>, delivery: &Arc<Delivery>, n: Notification) {
    let policy = delivery.rule_of(&n.kind).policy;
    let id = n.id;
    if let Some(life) = world.state().lives.get_mut(&id) {
        life.sent += 1;
    }
    let answer = accept(world, delivery, policy, n).await;
    world.tell(|| format!("{}: {answer:?}", short(id)));
    world.look().await;
    let mut state = world.state();
    let Some(life) = state.lives.get_mut(&id) else { return };
    match answer {
        Ok(_) => life.accepted = true,
        Err(Refused::LogAway | Refused::Stopping) => {}
        Err(Refused::MailboxFull | Refused::NodeFull) => life.refused += 1,
        Err(why) => state.break_promise(format!("{} was refused: {why}", short(id))),
    }
}

/// Sends it. If it is refused, it must come back as it was.
async fn accept(
    world: &World,
    delivery: &Delivery,
    policy: Policy,
    n: Notification,
) -> Result<Acceptance, Refused> {
    delivery.accept(policy, n.clone()).await.map_err(|refused| {
        if *refused.notification != n {
            world.state().break_promise(format!("{} came back as another", short(n.id)));
        }
        refused.why
    })
}

/// A sender repeats an id, at whatever node.
async fn send_again(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    let back = index(dice, 6);
    let again = {
        let state = world.state();
        let again = state.lives.values().rev().nth(back);
        again.filter(|life| !life.forgotten).map(|life| life.notification.clone())
    };
    let Some(mut n) = again else { return };
    n.created_at = up.way.now();
    let id = n.id;
    world.tell(|| format!("send {} again, at node {}", short(id), node.number));
    let known = {
        let state = world.state();
        state.lives.get(&id).and_then(super::world::Life::outcome)
    };
    let policy = up.delivery.rule_of(&n.kind).policy;
    if let Some(life) = world.state().lives.get_mut(&id) {
        life.sent += 1;
    }
    let answer = accept(world, &up.delivery, policy, n).await;
    world.tell(|| format!("{} again: {answer:?}", short(id)));
    world.look().await;
    let mut state = world.state();
    let Some(life) = state.lives.get_mut(&id) else { return };
    match &answer {
        Ok(_) => life.accepted = true,
        Err(Refused::MailboxFull | Refused::NodeFull) => life.refused += 1,
        Err(_) => {}
    }
    if let (Some(known), Ok(Acceptance::Ended(outcome))) = (known, answer)
        && known != outcome
    {
        state.break_promise(format!("{} ended as {known}, and a repeat got {outcome}", short(id)));
    }
}

pub(super) fn connect(world: &Arc<World>, node: &Node, who: u64, acks: bool) {
    let Some(up) = &node.up else { return };
    if !node.is_ready() {
        return;
    }
    let number = world.number();
    world.tell(|| format!("user {who} connects to node {} ({number}, acks: {acks})", node.number));
    let connection = Connection {
        user: who,
        node: node.number,
        acks,
        handed: std::collections::BTreeMap::new(),
    };
    world.state().connections.insert(number, connection);
    up.delivery.arrived(&user(who));
}

fn disconnect(dice: &mut Dice, world: &Arc<World>, nodes: &[Node; NODES]) {
    let gone = {
        let mut state = world.state();
        let count = state.connections.len();
        let which = state.connections.keys().nth(index(dice, count.max(1))).copied();
        which.and_then(|number| state.connections.remove(&number))
    };
    let Some(gone) = gone else { return };
    world.tell(|| format!("user {} leaves node {}", gone.user, gone.node));
    if let Some(up) = &nodes[gone.node].up {
        up.delivery.departed(&user(gone.user));
    }
}

pub(super) fn disconnect_all(world: &Arc<World>, node: usize, delivery: &Delivery) {
    let gone: Vec<u64> = {
        let mut state = world.state();
        let here: Vec<_> =
            state.connections.iter().filter(|(_, c)| c.node == node).map(|(n, _)| *n).collect();
        here.into_iter().filter_map(|n| state.connections.remove(&n)).map(|c| c.user).collect()
    };
    for who in gone {
        delivery.departed(&user(who));
    }
}

/// Trouble between a node and the log.
fn weather(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    world.trouble(node.number);
    match dice.below(3) {
        0 => {
            up.way.set_fates(watched(world, bad_fates(dice.fork())));
            world.tell(|| format!("appends of node {} go wrong", node.number));
        }
        1 => {
            let lag = Duration::from_millis(dice.below(5000));
            up.way.set_lag(lag);
            world.tell(|| format!("the tail of node {} lags by {lag:?}", node.number));
        }
        _ => {
            up.way.cut(Some("cut"));
            world.tell(|| format!("node {} is cut off", node.number));
        }
    }
}

/// A node is cut off for so long that it reads the log again from its start. Once in a schedule: ends are kept for an hour.
async fn cut_for_long(world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    if std::mem::replace(&mut world.state().was_cut_for_long, true) {
        return;
    }
    world.trouble(node.number);
    up.way.cut(Some("cut for long"));
    world.tell(|| format!("node {} is cut off for long", node.number));
    tokio::time::sleep(Duration::from_mins(32)).await;
    fair_weather(world, node);
}

pub(super) fn fair_weather(world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    up.way.set_fates(watched(world, || Fate::PROMPT));
    up.way.set_lag(Duration::ZERO);
    up.way.cut(None);
    if world.state().calm_since[node.number].is_none() {
        world.calm(node.number);
    }
    world.tell(|| format!("node {} has no trouble", node.number));
}

/// The log has room for a few more entries only, or has room again.
fn room(dice: &mut Dice, world: &Arc<World>) {
    let full = !world.state().full;
    let room = if full { world.log.len() + index(dice, 4) } else { usize::MAX };
    world.tell(|| format!("the log has room for {room}"));
    world.log.set_room(room);
    let mut state = world.state();
    state.full = full;
    // What is to be appended waits until there is room.
    state.calm_since = state.calm_since.map(|since| since.map(|_| Instant::now()));
}

/// The log loses everything, while every node has read everything.
async fn lose_the_log(world: &Arc<World>, nodes: &[Node; NODES]) {
    let calm = {
        let state = world.state();
        (0..NODES).all(|node| nodes[node].up.is_none() || state.is_calm(node))
    };
    // An append that arrives afterwards would begin an old notification anew.
    if !calm || !world.log.is_quiet() {
        return;
    }
    settle().await;
    world.tell(|| "the log loses everything".into());
    let ended: Vec<NotificationId> = {
        let state = world.state();
        let untold = state.lives.iter().filter(|(_, life)| life.told.is_empty());
        untold.map(|(id, _)| *id).filter(|id| world.ended_in_log(*id)).collect()
    };
    world.log.lose();
    let mut state = world.state();
    for id in ended {
        // Only a node that is gone could have told how it ended, and now nobody knows.
        if let Some(life) = state.lives.get_mut(&id) {
            life.origin = None;
        }
    }
    state.losses += 1;
    let losses = state.losses;
    // What is appended again is in the new log's order.
    state.pushed_last.clear();
    for node in 0..NODES {
        state.calm_since[node] = Some(Instant::now());
    }
    for life in state.lives.values_mut() {
        // A repeat would not be recognised any more.
        life.forgotten = true;
    }
    for life in state.lives.values_mut().filter(|life| life.told.is_empty()) {
        if let Some((place, _)) = life.in_log.take() {
            life.lost_at = Some((losses, place));
        }
        life.appended = None;
    }
}

async fn recall(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    let back = index(dice, 8);
    let Some(id) = world.state().lives.keys().rev().nth(back).copied() else { return };
    let before = world.state().lives[&id].outcome();
    let accepted = world.state().lives[&id].accepted;
    let may_be_lost = {
        let state = world.state();
        state.may_be_lost(&state.lives[&id])
    };
    let known = world.eye.get(LogKey::Notification(id)).await.ok().flatten().is_some();
    let answer = up.delivery.recall(id).await;
    world.tell(|| format!("recall of {} at node {}: {answer:?}", short(id), node.number));
    let mut state = world.state();
    let Some(life) = state.lives.get_mut(&id) else { return };
    match answer {
        Ok(Some(recall)) => {
            if life.outcome().is_some_and(|told| told != recall.outcome) {
                let what = format!(
                    "a recall of {} says {}, and it was told {:?}",
                    short(id),
                    recall.outcome,
                    life.told
                );
                state.break_promise(what);
                return;
            }
            if recall.outcome == Outcome::Recalled {
                life.recalled.get_or_insert(Instant::now());
            }
        }
        Ok(None) if accepted && before.is_none() && known && !may_be_lost => {
            let what = format!("{} was accepted, and a recall found nothing", short(id));
            state.break_promise(what);
        }
        _ => {}
    }
}

async fn recall_all(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(up) = &node.up else { return };
    let who = dice.below(USERS);
    let open: Vec<NotificationId> = {
        let state = world.state();
        let open = |life: &&super::world::Life| {
            life.user == who
                && life.accepted
                && life.told.is_empty()
                && !life.written
                && life.kind != "now"
        };
        state.lives.values().filter(open).map(|life| life.notification.id).collect()
    };
    let answer = up.delivery.recall_all(&user(who), None).await;
    world.tell(|| format!("recall of all of user {who} at node {}: {answer:?}", node.number));
    if answer.is_err() {
        return;
    }
    for id in open {
        // Read back, so it has an end by now.
        let key = LogKey::Notification(id);
        let Ok(Some(entry)) = world.eye.get(key).await else { continue };
        let read = doorstep_application::cluster::ClusterEntry::decode(key, &entry.bytes);
        if let Ok(doorstep_application::cluster::ClusterEntry::Accepted { .. }) = read {
            let mut state = world.state();
            let life = &state.lives[&id];
            // One whose TTL has ended waits for the node that says so.
            let over = life.in_log.is_none_or(|(_, at)| world.eye.now() >= at + life.ttl());
            // And one that was handed over while the recall waited ends as delivered, when the log has that.
            if !over && !life.written && !state.is_withheld(life) {
                state.break_promise(format!("a recall of all left {} open", short(id)));
            }
        }
    }
}

/// The end: failures stop, every node runs, every user connects, and every notification ends.
async fn finish(world: &Arc<World>, nodes: &mut [Node; NODES]) -> Result<(), String> {
    world.stores.trouble(false);
    world.state().pushes_fail = false;
    if world.state().full {
        room(&mut Dice::new(0), world);
    }
    for node in nodes.iter_mut() {
        if node.up.is_none() {
            node.start(world);
        }
        fair_weather(world, node);
    }
    tokio::time::sleep(Duration::from_secs(40)).await;
    for node in nodes.iter() {
        if let Some(up) = &node.up {
            disconnect_all(world, node.number, &up.delivery);
        }
    }
    for who in 0..USERS {
        connect(world, &nodes[usize::try_from(who).unwrap_or(0) % NODES], who, true);
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    settle().await;
    world.look().await;
    world.check(nodes)?;
    world.check_end(nodes).await
}
