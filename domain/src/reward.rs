use std::num::NonZeroU64;

use crate::{EntryKind, Money};

/// Which facts earn which rewards. At most one rule per kind of reward, and each amount is above zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardRules(Vec<RewardRule>);

/// One rule of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewardRule {
    /// The kind of the ledger entry.
    pub reward: EntryKind,
    /// The fact that earns it.
    pub earned_by: EarnedBy,
    /// The amount.
    pub amount: Money,
}

/// A fact that earns a reward. Each fact is in the database when its event is raised, so a reward that a crash
/// prevented can be found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EarnedBy {
    /// A user registered.
    Registering,
    /// A user's first position was closed.
    FirstClose,
    /// A position was closed, and the number of positions that its user has closed is a multiple of this.
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
    /// The default number of closed positions per milestone.
    pub const MILESTONE_EVERY: NonZeroU64 = NonZeroU64::new(10).unwrap();

    /// No rewards.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The rules of this simulation: the amount of each reward (no rule if it is zero or less), and the number of
    /// closed positions per milestone.
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

    /// Iterates over the rules.
    pub fn iter(&self) -> impl Iterator<Item = &RewardRule> {
        self.0.iter()
    }
}

impl EarnedBy {
    /// Whether closing a user's position with this number earns it.
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
    fn a_close_earns_by_its_number() {
        let ten = EarnedBy::EveryClose(NonZeroU64::new(10).unwrap());
        let earned = |by: EarnedBy| {
            (1..=30).filter(|&n| by.is_earned_by_close(NonZeroU64::new(n).unwrap())).collect()
        };
        let (none, first, tenth): (Vec<_>, Vec<_>, Vec<_>) =
            (earned(EarnedBy::Registering), earned(EarnedBy::FirstClose), earned(ten));
        assert_eq!((none, first, tenth), (vec![], vec![1], vec![10, 20, 30]));
    }

    #[test]
    fn a_reward_of_zero_makes_no_rule() {
        let one = Money::from_minor(1);
        let rules = RewardRules::new(one, Money::ZERO, one, NonZeroU64::MIN);
        let kinds: Vec<_> = rules.iter().map(|rule| rule.reward).collect();
        assert_eq!(kinds, [EntryKind::WelcomeGift, EntryKind::CloseMilestone]);
    }
}
