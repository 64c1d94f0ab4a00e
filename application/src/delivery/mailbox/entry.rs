use doorstep_domain::ports::{Attempt, EnteredBy};
use doorstep_domain::{
    Kind, Notification, NotificationId, Payload, Timestamp, Topic, TraceParent, Ttl, UserId,
};

use crate::delivery::census::CensusPlace;
use crate::delivery::kinds::KindSlot;

/// The null link.
pub(super) const NIL: u32 = u32::MAX;

/// A notification in a mailbox, in as few bytes as possible: a node may hold ten million of them.
///
/// The mailbox has the user id. Links are indices, so that one slab holds every list.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, a byte each")]
pub(super) struct Entry {
    pub(super) id: NotificationId,
    pub(super) kind: Kind,
    pub(super) topic: Option<Topic>,
    payload: Payload,
    pub(super) created_at: Timestamp,
    /// When this entry becomes due next. **It is in the due index exactly while `timed`.**
    pub(super) due: Timestamp,
    ttl: Ttl,
    /// The attempt in which a connection took it, or may have taken it; `None` before that.
    pub(super) attempt: Option<Attempt>,
    pub(super) state: EntryState,
    /// How often an acknowledgement timed out since a connection came or went.
    pub(super) repeats: u8,
    /// The last push found no room. This entry's timer repeats it.
    pub(super) full: bool,
    /// Another node had it: whether a connection was handed it there is not known.
    pub(super) travelled: bool,
    /// Set if it is in the inbox too: it does not expire, and can be removed from memory without loss.
    pub(super) kept: Option<EnteredBy>,
    pub(super) timed: bool,
    /// It counts against its kind's own limits.
    pub(super) limited: bool,
    /// It belongs to a trace, which the mailroom keeps: few have one, and so the others need no room for it.
    pub(super) traced: bool,
    /// Its kind's place in figures.
    pub(super) slot: KindSlot,
    pub(super) mailbox: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) earlier: u32,
    pub(super) later: u32,
}

/// The state of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::delivery) enum EntryState {
    /// It waits for the user, or for its turn.
    Waiting,
    /// The flush that holds the mailbox is pushing it.
    Pushing,
    /// A connection has it and has not acknowledged it yet.
    InFlight,
    /// It has ended, and the inbox has not recorded that yet. Only for `kept` entries.
    Acked,
    /// The inbox has recorded the end, but a load that began before may still return the item. The entry stays so
    /// that the item is recognised.
    Marked,
}

impl EntryState {
    /// Whether it waits, or is being pushed at this moment.
    pub(super) const fn waits(self) -> bool {
        matches!(self, Self::Waiting | Self::Pushing)
    }
}

impl Entry {
    pub(super) fn new(
        n: Notification,
        ttl: Ttl,
        kept: Option<EnteredBy>,
        slot: KindSlot,
        mailbox: u32,
    ) -> Self {
        let mut entry = Self {
            id: n.id,
            kind: n.kind,
            topic: n.topic,
            payload: n.payload,
            created_at: n.created_at,
            due: Timestamp::MAX,
            ttl,
            attempt: None,
            state: EntryState::Waiting,
            repeats: 0,
            full: false,
            travelled: false,
            kept,
            timed: false,
            limited: false,
            traced: n.trace.is_some(),
            slot,
            mailbox,
            prev: NIL,
            next: NIL,
            earlier: NIL,
            later: NIL,
        };
        entry.due = entry.expires_at();
        entry
    }

    /// When its TTL ends. An entry that is in the inbox never expires.
    pub(super) fn expires_at(&self) -> Timestamp {
        if self.kept.is_some() { Timestamp::MAX } else { self.created_at + self.ttl.as_duration() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.payload.as_str().len()
    }

    /// Where it is counted while it waits; `None` if it is in the inbox.
    pub(super) fn census_place(&self) -> Option<CensusPlace> {
        self.kept.is_none().then(|| CensusPlace::new(self.slot, self.created_at, self.ttl))
    }

    /// The notification as it was accepted, with its TTL set and this trace.
    pub(super) fn notification(&self, user: &UserId, trace: Option<TraceParent>) -> Notification {
        Notification {
            id: self.id,
            user_id: user.clone(),
            kind: self.kind.clone(),
            topic: self.topic.clone(),
            payload: self.payload.clone(),
            created_at: self.created_at,
            ttl: Some(self.ttl),
            trace,
        }
    }

    pub(super) fn into_notification(
        self,
        user: UserId,
        trace: Option<TraceParent>,
    ) -> Notification {
        Notification {
            id: self.id,
            user_id: user,
            kind: self.kind,
            topic: self.topic,
            payload: self.payload,
            created_at: self.created_at,
            ttl: Some(self.ttl),
            trace,
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    /// In a slab, which needs no more.
    #[test]
    fn an_entry_takes_120_bytes_whether_or_not_others_have_a_trace() {
        assert_eq!(size_of::<Entry>(), 120);
    }
}
