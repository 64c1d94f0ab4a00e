use doorstep_domain::{Kind, NotificationId, Payload, Topic, Ttl, UserId};

/// What a backend sends, before it is a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Whom it is for.
    pub user_id: UserId,
    /// What happened; chooses the rule by which it is treated.
    pub kind: Kind,
    /// What the client shows.
    pub payload: Payload,
    /// Which earlier one it supersedes while that still waits.
    pub topic: Option<Topic>,
    /// How long it may wait, where the rule of its kind is not wanted.
    pub ttl: Option<Ttl>,
    /// The delivery policy, where that of its kind is not wanted.
    pub policy: Option<WantedPolicy>,
    /// Its name, and with it the key by which it is recognised when it is sent again.
    pub id: Option<NotificationId>,
}

/// A delivery policy as a backend names it. How a deferred one waits is this node's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WantedPolicy {
    /// Now or never.
    Immediate,
    /// It waits until its TTL ends.
    Deferred,
    /// It is kept until the user has read it.
    Inbox,
}

impl WantedPolicy {
    /// The words for them.
    pub const WORDS: [(&'static str, Self); 3] =
        [("immediate", Self::Immediate), ("deferred", Self::Deferred), ("inbox", Self::Inbox)];
}
