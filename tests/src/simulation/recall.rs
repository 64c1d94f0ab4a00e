//! Senders that take back what they sent: one notification, or everything of a user.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::Recall;
use doorstep_domain::{NotificationId, Outcome, Topic};

use super::client;
use super::dice::Dice;
use super::node::Node;
use super::world::{Life, USERS, World, short, user};

/// Takes back one of the last notifications, so that it may be anywhere on its way.
pub(super) async fn recall_one(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let back = usize::try_from(dice.below(12)).unwrap_or(0);
    let life = world.state().lives.iter().rev().nth(back).map(|(id, life)| (*id, life.user));
    let Some((id, who)) = life else { return };
    if dice.one_in(3) {
        // Its user arrives at this moment: the flush begins, or the inbox is being read, while the recall is under way.
        client::connect(world, node, who, dice.one_in(3));
        if dice.one_in(2) {
            tokio::time::sleep(Duration::from_millis(1 + dice.below(50))).await;
        }
    }
    let recalled = node.delivery.recall(id).await;
    world.tell(|| format!("recall of {}: {recalled:?}", short(id)));
    if let Ok(Some(recall)) = recalled {
        world.recalled(id, recall);
    }
}

/// Takes back everything of a user that has not ended, or everything of one topic.
pub(super) async fn recall_all(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let who = dice.below(USERS);
    let topic = dice.one_in(2).then(|| super::world::topic(dice.below(2)));
    let (open, before) = (world.open(who, topic.as_ref()), world.recalled_so_far());
    let recalled = node.delivery.recall_all(&user(who), topic.as_ref()).await;
    world.tell(|| format!("recall of all of user {who}, topic {topic:?}: {recalled:?}"));
    // If the inbox did not answer, some of them are recalled and some are not.
    let Ok(count) = recalled else { return };
    let ended = world.recalled_so_far() - before;
    let mut state = world.state();
    if count != ended {
        state.break_promise(format!("{ended} have ended as recalled, and {count} were said to"));
    }
    for id in open {
        let life = state.lives.get_mut(&id);
        // One that was promoted while this recall was under way had ended, and stays in the inbox.
        if let Some(life) = life.filter(|life| life.outcome != Some(Outcome::Promoted)) {
            life.recalled = true;
            life.in_inbox = false;
        }
    }
}

impl World {
    /// A recall said this.
    fn recalled(&self, id: NotificationId, recall: Recall) {
        let mut state = self.state();
        let Some(life) = state.lives.get_mut(&id) else { return };
        // An item of the inbox is gone from there, whatever its outcome was.
        life.in_inbox = false;
        life.recalled = true;
        life.never_handed = recall.outcome == Outcome::Recalled && !recall.pushed;
        if life.never_handed && life.first_push.is_some() {
            state.break_promise(format!("{id} was pushed, and its sender is told that it was not"));
        }
    }

    /// What of this user, and of this topic if one is given, has been accepted and has not ended.
    fn open(&self, who: u64, topic: Option<&Topic>) -> Vec<NotificationId> {
        let such = |life: &&Life| {
            let n = &life.notification;
            let open = life.accepted && !life.gone && life.outcome.is_none();
            open && life.user == who && (topic.is_none() || n.topic.as_ref() == topic)
        };
        self.state().lives.values().filter(such).map(|life| life.notification.id).collect()
    }

    fn recalled_so_far(&self) -> usize {
        let recalled = |life: &&Life| life.outcome == Some(Outcome::Recalled);
        self.state().lives.values().filter(recalled).count()
    }
}
