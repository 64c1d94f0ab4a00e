//! Converts the configuration to the settings of the parts: the one place that knows both.

use bytesize::ByteSize;
use doorstep_adapters::api::health;
use doorstep_adapters::http::{AddressLimit, Rate, ServerSettings, TrustedProxies};
use doorstep_adapters::jwt;
use doorstep_adapters::market::{Instrument, SimulationSettings};
use doorstep_adapters::{connections, websocket};
use doorstep_application::demo::Lane;
use doorstep_application::{delivery, events_to_notifications};
use doorstep_domain::RewardRules;

use crate::config::backends::AlgorithmChoice;
use crate::config::{
    Config, DeliveryConfig, LimitsConfig, MarketConfig, OnExpiryChoice, OverflowChoice,
    PolicyChoice, PolicyOrKind, RewardsConfig, RuleConfig, StrategyChoice,
};

impl Config {
    /// The limits on live connections.
    pub(crate) fn connections(&self) -> connections::ConnectionSettings {
        connections::ConnectionSettings {
            max_per_user: self.limits.connections_per_user.get(),
            max_per_address: self.limits.connections_per_address.get(),
            max_websockets: self.limits.connections.get(),
            ..connections::ConnectionSettings::default()
        }
    }

    /// The settings of WebSocket connections.
    pub(crate) fn websocket(&self) -> websocket::WebSocketSettings {
        websocket::WebSocketSettings {
            allowed_origins: self.server.allowed_origins.clone(),
            ..websocket::WebSocketSettings::default()
        }
    }

    /// The settings of the HTTP server.
    pub(crate) fn http(&self) -> ServerSettings {
        let (server, limits) = (&self.server, &self.limits);
        let proxies = server.trusted_proxies.0.iter().copied();
        ServerSettings {
            max_connections: limits.http_connections.get(),
            max_per_address: limits.http_connections_per_address.get(),
            reserved_for: health::PATHS,
            keep_alive: server.keep_alive.0,
            proxies: TrustedProxies::new(proxies, server.client_address_header.clone()),
            ..ServerSettings::default()
        }
    }

    /// The policies for `position.closed`.
    pub(crate) fn position_closed(&self) -> events_to_notifications::PositionClosedPolicies {
        let kinds = self.delivery.kinds.iter();
        let rule = kinds.rev().find(|(kind, _)| kind.as_str() == "position.closed");
        let rule = rule.map_or(self.delivery.default, |(_, rule)| *rule);
        let policy = |policy| match policy {
            PolicyOrKind::Kind => None,
            PolicyOrKind::Immediate => Some(delivery::Policy::Immediate),
            PolicyOrKind::Deferred => Some(delivery::Policy::Deferred(rule.strategy.into())),
            PolicyOrKind::Inbox => Some(delivery::Policy::Inbox),
        };
        let by = self.notifications.position_closed;
        events_to_notifications::PositionClosedPolicies {
            user: policy(by.user),
            stop_loss: policy(by.stop_loss),
            take_profit: policy(by.take_profit),
            liquidated: policy(by.liquidated),
        }
    }
}

impl RewardsConfig {
    /// The rules of the rewards.
    pub(crate) fn rules(&self) -> RewardRules {
        let Self { welcome_gift, first_close, close_milestone, milestone_every } = *self;
        RewardRules::new(welcome_gift, first_close, close_milestone, milestone_every)
    }
}

impl MarketConfig {
    /// The settings of simulated prices.
    pub(crate) fn simulation(&self) -> SimulationSettings {
        let instruments = self.instruments.iter().map(|instrument| Instrument {
            symbol: instrument.symbol.clone(),
            start: instrument.price,
            drift: instrument.drift.to_float(),
            volatility: instrument.volatility.to_float(),
        });
        SimulationSettings {
            seed: self.seed,
            tick_interval: self.tick_interval.0,
            speed: self.speed.get(),
            instruments: instruments.collect(),
        }
    }
}

impl From<StrategyChoice> for delivery::Strategy {
    fn from(strategy: StrategyChoice) -> Self {
        match strategy {
            StrategyChoice::Wake => Self::Wake,
            StrategyChoice::Poll => Self::Poll,
        }
    }
}

impl Config {
    /// The rule of each kind, including those of the demonstration.
    pub(crate) fn rules(&self) -> anyhow::Result<delivery::Rules> {
        let mut rules = self.delivery.rules();
        if self.has_demo() {
            for lane in Lane::ALL {
                rules.kinds.entry(lane.kind()?).or_insert(lane.rule());
            }
        }
        Ok(rules)
    }
}

impl From<AlgorithmChoice> for jwt::Algorithm {
    fn from(algorithm: AlgorithmChoice) -> Self {
        match algorithm {
            AlgorithmChoice::Hs256 => Self::Hs256,
            AlgorithmChoice::Rs256 => Self::Rs256,
            AlgorithmChoice::Rs384 => Self::Rs384,
            AlgorithmChoice::Rs512 => Self::Rs512,
            AlgorithmChoice::Ps256 => Self::Ps256,
            AlgorithmChoice::Es256 => Self::Es256,
            AlgorithmChoice::Es384 => Self::Es384,
            AlgorithmChoice::EdDsa => Self::EdDsa,
        }
    }
}

impl LimitsConfig {
    /// How fast one address may register users.
    pub(crate) fn registrations(&self) -> Rate {
        Rate { per_second: self.registrations_per_second, ..Rate::default() }
    }

    /// How fast one address may sign in.
    pub(crate) fn sign_ins(&self) -> Rate {
        Rate { per_second: self.sign_ins_per_second, ..Rate::default() }
    }

    /// Limits registrations per address.
    pub(crate) fn registration_limit(&self) -> AddressLimit {
        AddressLimit::new(self.registrations(), "limits.registrations_per_second")
    }

    /// Limits sign-ins per address.
    pub(crate) fn sign_in_limit(&self) -> AddressLimit {
        AddressLimit::new(self.sign_ins(), "limits.sign_ins_per_second")
    }
}

impl DeliveryConfig {
    /// The rule of each kind.
    pub(crate) fn rules(&self) -> delivery::Rules {
        delivery::Rules {
            default: self.default.into(),
            kinds: self.kinds.iter().map(|(kind, rule)| (kind.clone(), self.rule(rule))).collect(),
        }
    }

    /// The rule of a kind. Its limits count only if they are below those of the node.
    fn rule(&self, rule: &RuleConfig) -> delivery::Rule {
        let own = |its: usize, node: usize| if its < node { its } else { usize::MAX };
        delivery::Rule {
            max_pending: own(rule.max_pending.get(), self.default.max_pending.get()),
            max_pending_bytes: own(
                bytes(rule.max_pending_bytes),
                bytes(self.default.max_pending_bytes),
            ),
            ..(*rule).into()
        }
    }

    /// The node's limits on what waits.
    pub(crate) fn limits(&self) -> delivery::Limits {
        delivery::Limits {
            max_pending: self.default.max_pending.get(),
            max_pending_bytes: bytes(self.default.max_pending_bytes),
            ..delivery::Limits::default()
        }
    }
}

/// A size beyond the address space is no limit.
fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

impl From<RuleConfig> for delivery::Rule {
    fn from(rule: RuleConfig) -> Self {
        Self {
            policy: match rule.policy {
                PolicyChoice::Immediate => delivery::Policy::Immediate,
                PolicyChoice::Deferred => delivery::Policy::Deferred(rule.strategy.into()),
                PolicyChoice::Inbox => delivery::Policy::Inbox,
            },
            ttl: rule.ttl,
            poll_interval: rule.poll_interval.0,
            on_expiry: match rule.on_expiry {
                OnExpiryChoice::Drop => delivery::OnExpiry::Drop,
                OnExpiryChoice::Inbox => delivery::OnExpiry::Inbox,
            },
            ack_timeout: rule.ack_timeout.0,
            max_per_user: rule.max_per_user.0.get(),
            overflow: match rule.overflow {
                OverflowChoice::DropOldest => delivery::Overflow::DropOldest,
                OverflowChoice::Reject => delivery::Overflow::Reject,
            },
            max_pending: usize::MAX,
            max_pending_bytes: usize::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use doorstep_application::trading::Trading;

    use super::*;

    #[test]
    fn a_kind_has_limits_of_its_own_where_they_are_tighter() {
        let mut config = Config::defaults().delivery;
        let tighter = RuleConfig {
            max_pending: NonZeroUsize::new(7).unwrap(),
            max_pending_bytes: ByteSize::gib(9),
            ..config.default
        };
        config.kinds = vec![("a".parse().unwrap(), tighter)];
        let rules = config.rules();
        let rule = rules.of(&"a".parse().unwrap());
        assert_eq!((rule.max_pending, rule.max_pending_bytes), (7, usize::MAX));
    }

    #[test]
    fn the_defaults_of_the_file_are_those_of_the_parts() {
        let config = Config::defaults();
        assert_eq!(config.delivery.rules(), delivery::Rules::default());
        assert_eq!(config.delivery.limits(), delivery::Limits::default());
        assert_eq!(config.websocket(), websocket::WebSocketSettings::default());
        assert_eq!(config.connections(), connections::ConnectionSettings::default());
        assert_eq!(config.rewards.rules(), RewardRules::default());
        assert_eq!(
            config.position_closed(),
            events_to_notifications::PositionClosedPolicies::default()
        );
        assert_eq!(config.trading.max_open_per_user, Trading::MAX_OPEN);
        assert_eq!(config.limits.registrations(), Rate::default());
        assert_eq!(config.limits.sign_ins(), Rate::default());
    }
}
