use doorstep_domain::{Kind, NotificationId, Payload, SentBy, Topic, TraceParent, Ttl, UserId};

/// A backend's request to send a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The user whom it is for.
    pub user_id: UserId,
    /// What happened; selects the delivery rule.
    pub kind: Kind,
    /// What the client shows.
    pub payload: Payload,
    /// It replaces a waiting notification of the same topic.
    pub topic: Option<Topic>,
    /// How long it may wait; `None` uses the rule of its kind.
    pub ttl: Option<Ttl>,
    /// The delivery policy; `None` uses the rule of its kind.
    pub policy: Option<WantedPolicy>,
    /// Its id, by which a repeat is recognised; `None` makes a new id.
    pub id: Option<NotificationId>,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
    /// The backend that sends it.
    pub sent_by: SentBy,
}

/// A delivery policy as a backend names it. The node decides the strategy of a deferred notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WantedPolicy {
    /// It is pushed now or expires.
    Immediate,
    /// It waits until its TTL ends.
    Deferred,
    /// It is kept until the user has read it.
    Inbox,
}

impl WantedPolicy {
    /// The words on the wire.
    pub const WORDS: [(&'static str, Self); 3] =
        [("immediate", Self::Immediate), ("deferred", Self::Deferred), ("inbox", Self::Inbox)];
}
