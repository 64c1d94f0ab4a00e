use std::num::NonZeroU64;

use crate::{EntryKind, Money};

/// What is given for what: at most one rule a kind of reward, and none that gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardRules(Vec<RewardRule>);

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewardRule {
    /// As what it is on the ledger.
    pub reward: EntryKind,
    /// For what it is given.
    pub earned_by: EarnedBy,
    /// How much.
    pub amount: Money,
}

/// A fact that earns a reward. Each is in the database when the event about it is raised, so what a crash cut
/// off can be found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EarnedBy {
    /// A user registered.
    Registering,
    /// A position was closed, the first of its user.
    FirstClose,
    /// A position was closed, and the number of those of its user can be divided by this.
    EveryClose(NonZeroU64),
}

/// 1000.00 for registering, 10.00 for the first closed position and 25.00 for every tenth.
impl Default for RewardRules {
    fn default() -> Self {
        let [gift, first, milestone] = [1000, 10, 25].map(|n| Money::from_minor(n * Money::SCALE));
        Self::new(gift, first, milestone, Self::MILESTONE_EVERY)
    }
}

impl RewardRules {
    /// Every so many closed positions are a milestone, unless set otherwise.
    pub const MILESTONE_EVERY: NonZeroU64 = NonZeroU64::new(10).unwrap();

    /// Nothing is given for anything.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The rules of this simulation, with how much each gives (zero or less: there is no such rule), and
    /// after how many closed positions the last of them comes again.
    pub fn new(
        welcome_gift: Money,
        first_close: Money,
        close_milestone: Money,
        milestone_every: NonZeroU64,
    ) -> Self {
        let rule = |reward, earned_by, amount| RewardRule { reward, earned_by, amount };
        let mut rules = vec![
            rule(EntryKind::WelcomeGift, EarnedBy::Registering, welcome_gift),
            rule(EntryKind::FirstClose, EarnedBy::FirstClose, first_close),
            rule(EntryKind::CloseMilestone, EarnedBy::EveryClose(milestone_every), close_milestone),
        ];
        rules.retain(|rule| rule.amount > Money::ZERO);
        Self(rules)
    }

    /// One rule after the other.
    pub fn iter(&self) -> impl Iterator<Item = &RewardRule> {
        self.0.iter()
    }
}

impl EarnedBy {
    /// Whether closing the so many-th position earns it.
    pub fn is_earned_by_close(self, number: NonZeroU64) -> bool {
        match self {
            Self::Registering => false,
            Self::FirstClose => number == NonZeroU64::MIN,
            Self::EveryClose(every) => number.get().is_multiple_of(every.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_earn_by_their_number() {
        let ten = EarnedBy::EveryClose(NonZeroU64::new(10).unwrap());
        let earned = |by: EarnedBy| {
            (1..=30).filter(|&n| by.is_earned_by_close(NonZeroU64::new(n).unwrap())).collect()
        };
        let (none, first, tenth): (Vec<_>, Vec<_>, Vec<_>) =
            (earned(EarnedBy::Registering), earned(EarnedBy::FirstClose), earned(ten));
        assert_eq!((none, first, tenth), (vec![], vec![1], vec![10, 20, 30]));
    }

    #[test]
    fn a_rule_that_gives_nothing_is_none() {
        let one = Money::from_minor(1);
        let rules = RewardRules::new(one, Money::ZERO, one, NonZeroU64::MIN);
        let kinds: Vec<_> = rules.iter().map(|rule| rule.reward).collect();
        assert_eq!(kinds, [EntryKind::WelcomeGift, EntryKind::CloseMilestone]);
    }
}
