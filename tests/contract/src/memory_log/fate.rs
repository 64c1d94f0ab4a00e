use std::time::Duration;

/// What happens to an append on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// How long it takes to reach the log, where its condition is judged; `None`: it gets lost.
    pub arrives: Option<Duration>,
    /// How long the answer takes to come back; `None`: it gets lost. An append that gets lost has the answer `Lost` after
    /// this time: somebody else's append was under way, and got lost as well.
    pub answered: Option<Duration>,
}

impl Fate {
    /// It arrives at once, and the answer too.
    pub const PROMPT: Self = Self { arrives: Some(Duration::ZERO), answered: Some(Duration::ZERO) };
    /// It gets lost, and nobody says so.
    pub const GONE: Self = Self { arrives: None, answered: None };
    /// It arrives at once, and the answer never does.
    pub const UNANSWERED: Self = Self { arrives: Some(Duration::ZERO), answered: None };
    /// The log says that it lost, to whom is not known, and perhaps nobody won.
    pub const LOST_TO_NOBODY: Self = Self { arrives: None, answered: Some(Duration::ZERO) };
}
