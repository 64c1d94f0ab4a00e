//! The parts for other backends: the publish API, the tokens of their users, and the webhook.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::http::openapi::OpenApi as _;
use doorstep_adapters::jwt::{Expected, Jwks, Jwts, Key};
use doorstep_adapters::metrics::{Metrics, MetricsError};
use doorstep_adapters::publish::{self, PublishParts};
use doorstep_adapters::security::RandomTokens;
use doorstep_adapters::webhook::{self, Webhook, WebhookError};
use doorstep_application::outbox::Withdrawals;
use doorstep_application::publishing::{
    DraftBounds, KeyRing, PublishedRecords, Publishing, PublishingParts, ServiceKeys,
};
use doorstep_application::recalls::Recalls;
use doorstep_application::stories::Stories;
use doorstep_application::{AnyOf, Authenticator};
use doorstep_domain::Ttl;
use doorstep_domain::ports::{Chronicle, Clock, Outcomes, Presence};

use super::cluster::{Anywhere, ClusterNode};
use super::outbox::{ConfiguredOutbox, RunningOutbox};
use super::{Core, Routes};
use crate::config::{self, Config, ConfigError};

/// The parts for other backends.
pub(crate) struct Backends {
    records: Arc<PublishedRecords>,
    keys: Arc<ServiceKeys>,
    jwts: Arc<Jwts>,
    webhook: Option<Arc<Webhook>>,
    stories: Option<Arc<Stories>>,
    max_ttl: Ttl,
}

impl Backends {
    /// Reads the keys, and starts the webhook if one is configured.
    pub(crate) fn start(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let config::BackendsConfig { max_ttl, remember, jwt, .. } = &config.backends;
        let expected = Expected {
            issuer: jwt.issuer.text(),
            audience: jwt.audience.text(),
            leeway: jwt.leeway.0,
        };
        if !jwt.has_keys() {
            refuse_without_keys(jwt)?;
        }
        let token_keys = token_keys(config)?;
        let provider = jwt.jwks_url.text().map(|url| provider(&url, &expected)).transpose()?;
        let jwts = Arc::new(Jwts::new(token_keys, provider, expected, clock.clone()));
        let keys = Arc::new(ServiceKeys::new(Arc::new(RandomTokens), ring(config)));
        let stories = config.stories.limits();
        let stories = stories.map(|limits| Arc::new(Stories::new(limits, clock.clone())));
        let chronicle = stories.clone().map(|stories| stories as Arc<dyn Chronicle>);
        let webhook = start_webhook(config, clock, chronicle)?.map(Arc::new);
        let records =
            Arc::new(PublishedRecords::new(PublishedRecords::KEEP, remember.get(), clock.clone()));
        Ok(Self { records, keys, jwts, webhook, stories, max_ttl: *max_ttl })
    }

    /// The observer of outcomes: the webhook, if there is one.
    pub(crate) fn observers(&self) -> Vec<Arc<dyn Outcomes>> {
        self.webhook.iter().map(|webhook| webhook.clone() as Arc<dyn Outcomes>).collect()
    }

    /// What remembers the stories of notifications, if they are remembered.
    pub(crate) fn chronicle(&self) -> Option<Arc<dyn Chronicle>> {
        self.stories.clone().map(|stories| stories as Arc<dyn Chronicle>)
    }

    /// The records of published notifications: they learn every outcome, whichever node tells it.
    pub(crate) fn witness(&self) -> Arc<dyn Outcomes> {
        self.records.clone()
    }

    /// Adds the figures of the webhook to the metrics.
    pub(crate) fn measure(&self, metrics: &Metrics) -> Result<(), MetricsError> {
        let Some(webhook) = self.webhook.clone() else { return Ok(()) };
        metrics.webhook(move || webhook.figures())
    }

    /// Recognises users by a session, where there are sessions, or by a token of their backend.
    pub(crate) fn authenticator(
        &self,
        sessions: Option<Arc<dyn Authenticator>>,
    ) -> Arc<dyn Authenticator> {
        let jwts: Arc<dyn Authenticator> = self.jwts.clone();
        Arc::new(AnyOf(sessions.into_iter().chain([jwts]).collect()))
    }

    fn publishing(&self, core: &Core) -> Publishing {
        self.publishing_with(core.connections.clone(), core)
    }

    fn publishing_with(&self, presence: Arc<dyn Presence>, core: &Core) -> Publishing {
        Publishing::new(PublishingParts {
            delivery: core.delivery.clone(),
            presence,
            control: core.connections.clone(),
            records: self.records.clone(),
            clock: core.clock.clone(),
            ids: core.ids.clone(),
            stopping: core.stop.clone(),
        })
    }

    /// Starts to consume a backend's outbox.
    pub(super) fn consume(
        &self,
        outbox: ConfiguredOutbox,
        core: &Core,
    ) -> Result<RunningOutbox, MetricsError> {
        let bounds = DraftBounds { max_ttl: self.max_ttl, inbox: core.inbox.is_some() };
        outbox.start(core, self.publishing(core), bounds)
    }

    /// The publish API, and what operators may ask.
    pub(super) fn routes(
        &self,
        core: &Core,
        outbox: Option<Withdrawals>,
        cluster: Option<&ClusterNode>,
    ) -> Routes {
        let here = core.connections.clone();
        let presence: Arc<dyn Presence> = match cluster {
            Some(cluster) => Arc::new(Anywhere { here, elsewhere: cluster.elsewhere() }),
            None => here,
        };
        let router = publish::router(PublishParts {
            publishing: self.publishing_with(presence, core),
            cluster: cluster.map(|cluster| cluster.nodes(core)),
            recalls: Recalls::new(self.publishing(core), outbox),
            keys: self.keys.clone(),
            stories: self.stories.clone(),
            max_ttl: self.max_ttl,
            inbox: core.inbox.is_some(),
        });
        let metrics =
            core.operator_metrics().map(|router| publish::with_key(router, self.keys.clone()));
        Routes::described(router, publish::Description::openapi()).merge(metrics)
    }

    /// Replaces what can be changed while serving: the service keys, and the keys that verify tokens.
    pub(crate) fn reload(&self, config: &Config) -> anyhow::Result<()> {
        // All new keys are read before any old key is removed.
        let (token_keys, ring) = (token_keys(config)?, ring(config));
        let (service_keys, token_key_count) = (ring.len(), token_keys.len());
        self.jwts.replace_keys(token_keys);
        self.keys.replace(ring);
        // Logged last, because operators rely on this line.
        tracing::info!(
            service_keys,
            token_keys = token_key_count,
            "reloaded the keys; all other settings need a restart"
        );
        Ok(())
    }

    /// Sends the remaining outcomes to the webhook, for at most this long.
    pub(crate) async fn stop(&self, within: Duration) {
        if let Some(webhook) = &self.webhook {
            webhook.stop(within).await;
        }
    }
}

fn ring(config: &Config) -> KeyRing {
    let keys = &config.backends.keys;
    keys.iter().map(|(name, hash)| (hash.0, name.as_str().into())).collect()
}

/// Refuses an issuer or audience without a key: tokens are expected, and none could be accepted. A reload may still
/// remove the last key, which revokes all tokens.
fn refuse_without_keys(jwt: &config::backends::JwtConfig) -> Result<(), ConfigError> {
    let problem = |(name, value): (&str, &config::value::OptionalText)| {
        (!value.0.is_empty()).then(|| {
            format!("jwt.{name}: no key could verify a token: add a [jwt.keys.ID], or jwt.jwks_url")
        })
    };
    let given = [("issuer", &jwt.issuer), ("audience", &jwt.audience)];
    let problems: Vec<_> = given.into_iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(ConfigError::Wrong(problems)) }
}

/// Every fault of the settings of these parts.
pub(super) fn faults(config: &Config) -> Vec<String> {
    let jwt = &config.backends.jwt;
    let without_keys = if jwt.has_keys() { Ok(()) } else { refuse_without_keys(jwt) };
    let provider = jwt.jwks_url.text().map(|url| Jwks::new(&url));
    let provider = provider.transpose().map_err(|e| wrong(format!("jwt.jwks_url: {e}")));
    let results = [
        without_keys,
        token_keys(config).map(drop),
        provider.map(drop),
        webhook_settings(config).map(drop),
    ];
    let faults = results.into_iter().filter_map(Result::err).map(|error| match error {
        ConfigError::Wrong(faults) => faults,
        other => vec![other.to_string()],
    });
    faults.flatten().collect()
}

fn provider(url: &str, expected: &Expected) -> Result<Jwks, ConfigError> {
    let provider = Jwks::new(url).map_err(|e| wrong(format!("jwt.jwks_url: {e}")))?;
    if expected.audience.is_none() {
        tracing::warn!(
            "jwt.audience is not set: tokens that the provider made for other services are accepted too"
        );
    }
    provider.begin();
    Ok(provider)
}

fn start_webhook(
    config: &Config,
    clock: &Arc<dyn Clock>,
    chronicle: Option<Arc<dyn Chronicle>>,
) -> anyhow::Result<Option<Webhook>> {
    let Some(settings) = webhook_settings(config)? else { return Ok(None) };
    let setting = |e: &WebhookError| match e {
        WebhookError::Authorities | WebhookError::AuthoritiesWithoutTls => "webhook.ca_file",
        _ => "webhook.url",
    };
    let webhook = Webhook::start(settings, clock.clone(), chronicle);
    Ok(Some(webhook.map_err(|e| wrong(format!("{}: {e}", setting(&e))))?))
}

/// The settings of the webhook, if there is one.
fn webhook_settings(config: &Config) -> Result<Option<webhook::WebhookSettings>, ConfigError> {
    let config::backends::WebhookConfig { url, secret, ca_file } = &config.backends.webhook;
    if url.0.is_empty() && secret.0.is_empty() && ca_file.0.is_empty() {
        return Ok(None);
    }
    let secret = secret.0.parse().map_err(|e| wrong(format!("webhook.secret: {e}")))?;
    let authorities = ca_file.text().map(|file| read(&file)).transpose();
    let authorities = authorities.map_err(|e| wrong(format!("webhook.ca_file: {e}")))?;
    let defaults = webhook::WebhookSettings::new(url.0.clone(), secret);
    Ok(Some(webhook::WebhookSettings { authorities, ..defaults }))
}

fn token_keys(config: &Config) -> Result<Vec<Key>, ConfigError> {
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for (id, key) in &config.backends.jwt.keys {
        match token_key(id, key) {
            Ok(key) => keys.push(key),
            Err(why) => problems.push(format!("jwt.keys.{id}: {why}")),
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(ConfigError::Wrong(problems)) }
}

fn token_key(id: &str, key: &config::backends::JwtKey) -> Result<Key, String> {
    let material = match key.key_file.text() {
        None => key.key.0.clone().into_bytes(),
        Some(file) => {
            let bytes = read(&file)?;
            // Editors end a file with a line break, which is not part of the secret.
            bytes.trim_ascii_end().to_vec()
        }
    };
    Key::new(id, key.algorithm.into(), &material).map_err(|e| e.to_string())
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    std::fs::read(Path::new(file)).map_err(|e| format!("{file} cannot be read: {e}"))
}

fn wrong(problem: String) -> ConfigError {
    ConfigError::Wrong(vec![problem])
}
