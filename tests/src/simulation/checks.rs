//! Checks the promises against what happened.

use doorstep_application::delivery::Held;
use doorstep_domain::ports::Clock;
use doorstep_domain::{NotificationId, Outcome, Timestamp};
use tokio::time::Instant;

use super::node::{MAX_PENDING, MAX_PER_USER, Node};
use super::world::{Life, State, USERS, World};

type Checked = Result<(), String>;

impl World {
    /// What must hold after every step, once everything that can happen without time passing has happened.
    pub(super) fn check(&self, node: &Node) -> Checked {
        let state = self.state();
        if let Some(what) = &state.broken {
            return Err(what.clone());
        }
        Self::check_bounds(&state)?;
        check_order(&state)?;
        let calm = Instant::now() > state.trouble_until && !self.stores.in_trouble();
        if calm {
            self.check_nothing_missed(&state)?;
        }
        let held = node.delivery.held();
        let open = state.lives.values().filter(|life| life.is_open()).count();
        let in_inbox = state.lives.values().filter(|life| life.in_inbox).count();
        if held.waiting + held.in_flight > open + in_inbox {
            return Err(format!("{held:?} is held, and only {open} are open"));
        }
        Ok(())
    }

    fn check_bounds(state: &State) -> Checked {
        let open = |life: &&Life| life.is_open() && life.is_deferred();
        let pending = state.lives.values().filter(open).count();
        if pending > MAX_PENDING {
            return Err(format!("{pending} pending on the node, and {MAX_PENDING} may be"));
        }
        Ok(())
    }

    /// A user with a working connection has everything that was accepted for them.
    fn check_nothing_missed(&self, state: &State) -> Checked {
        let now = self.now();
        for connection in state.connections.values().filter(|c| !c.half_open) {
            let mut owed = state.lives.values().filter(|life| {
                life.user == connection.user
                    && life.is_open()
                    && life.is_deferred()
                    && now < life.expires_at()
            });
            if let Some(life) =
                owed.find(|life| !connection.handed.contains_key(&life.notification.id))
            {
                let id = life.notification.id;
                return Err(format!("{id} waits, and its user is there and was not pushed it"));
            }
        }
        Ok(())
    }

    /// At the end of the schedule: every notification has ended, and nothing is left.
    pub(super) async fn check_end(&self, node: &Node) -> Checked {
        self.check(node)?;
        let held = node.delivery.held();
        if held != Held::default() {
            return Err(format!("nothing waits, and {held:?} is left in memory"));
        }
        let undelivered = self.stores.count_undelivered();
        if undelivered > 0 {
            return Err(format!("everybody was there, and {undelivered} are left in the inbox"));
        }
        if let Some(life) = self.state().lives.values().find(|life| life.is_open()) {
            return Err(format!("{} ({}) has no outcome", life.notification.id, life.kind));
        }
        let receipts = std::mem::take(&mut self.state().receipts);
        for (id, receipt) in receipts {
            let told = tokio::time::timeout(std::time::Duration::ZERO, receipt.outcome()).await;
            self.check_receipt(id, told.map_err(|_| format!("the receipt of {id} still waits"))?)?;
        }
        Ok(())
    }

    fn check_receipt(&self, id: NotificationId, told: Option<Outcome>) -> Checked {
        let state = self.state();
        let life = &state.lives[&id];
        match told {
            // Its node stopped first.
            None => Ok(()),
            Some(outcome) if life.outcome == Some(outcome) => Ok(()),
            Some(outcome) => {
                Err(format!("the receipt of {id} says {outcome}, and it was {:?}", life.outcome))
            }
        }
    }
}

impl State {
    /// When a notification is accepted for a user who is absent, and was when delivery asked, the limits hold.
    pub(super) fn check_mailbox(&mut self, accepted: NotificationId, now: Timestamp) {
        let user = self.lives[&accepted].user;
        // A notification that replaces another does not make the mailbox larger.
        let adds = self.lives[&accepted].notification.topic.is_none();
        let deferred = adds && self.lives[&accepted].is_deferred();
        let away = self.not_reading.contains(&user);
        if !deferred || !away || self.connections.values().any(|c| c.user == user) {
            return;
        }
        // An expired one may be on its way to the inbox, and a pushed one may still be in flight.
        let waits = |life: &&Life| {
            let here = life.notification.id == accepted || life.is_open();
            here && !life.push_begun
                && life.is_deferred()
                && life.user == user
                && now < life.expires_at()
        };
        let count = self.lives.values().filter(waits).count();
        if count > MAX_PER_USER {
            self.break_promise(format!("{count} wait for one user, and {MAX_PER_USER} may"));
        }
    }
}

/// A user's notifications are first pushed in the order in which they were accepted.
fn check_order(state: &State) -> Checked {
    if state.inbox_was_in_trouble {
        return Ok(());
    }
    for (user, kept) in (0..USERS).flat_map(|user| [(user, false), (user, true)]) {
        // Promoted notifications are pushed later, from the inbox.
        let counts = |life: &&Life| {
            life.user == user
                && life.accepted
                && life.kind != "now"
                && (!state.pushes_took_time || (life.kind == "inbox") == kept)
                && life.outcome != Some(Outcome::Promoted)
        };
        let mut latest = 0;
        for life in state.lives.values().filter(counts) {
            let Some(push) = life.first_push else { continue };
            if push < latest {
                return Err(format!("{} was pushed before an earlier one", life.notification.id));
            }
            latest = push;
        }
    }
    Ok(())
}

impl Life {
    /// Accepted, and not ended yet.
    fn is_open(&self) -> bool {
        self.accepted && !self.gone && self.outcome.is_none()
    }

    fn is_deferred(&self) -> bool {
        !matches!(self.kind, "inbox" | "now")
    }
}
