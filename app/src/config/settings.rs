//! Every setting by name, with its meaning: the list from which `docs/settings.md`, the default file and the schema are
//! made. Defaults, allowed values and environment forms come from the code that reads the settings.

use super::Config;
use super::layers::{SettingKey, given_in};
use super::reader::{SettingLine, SettingReader};

/// One table of the file.
pub(super) struct Section {
    /// Its name; empty at the top of the file.
    pub(super) table: &'static str,
    pub(super) about: &'static str,
    /// The name of each setting, and its meaning.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

pub(super) const SECTIONS: &[Section] = &[
    Section {
        table: "",
        about: "Both have a flag too: `--listen` and `--database`.",
        settings: &[
            (
                "listen",
                "Where HTTP is served. Without it, `PORT=8080` in the environment means `0.0.0.0:8080`.",
            ),
            (
                "database",
                "Where everything durable is kept ([databases.md](databases.md)). Not opened when `trading`, `inbox` and `handover` are all disabled.",
            ),
        ],
    },
    Section {
        table: "server",
        about: "How the process behaves towards the network. [proxies.md](proxies.md) has the settings behind a proxy.",
        settings: &[
            (
                "stop_within",
                "The longest that a stop may take. Notifications that are not handed over by then are lost.",
            ),
            (
                "drain",
                "Over how long a stop spreads the closing of WebSockets and event streams, so that clients do not all reconnect at once. At most half of `stop_within`; less for few connections, because at least 1,000 are closed per second.",
            ),
            (
                "allowed_origins",
                "Web pages of these origins may receive notifications here, besides pages of the server's own origin.",
            ),
            ("trusted_proxies", "Proxies whose header about the client's address is believed."),
            (
                "client_address_header",
                "The header in which trusted proxies give the client's address.",
            ),
            ("keep_alive", "How long an idle HTTP connection stays open for the next request."),
        ],
    },
    Section {
        table: "server.tls",
        about: "With both, the listener speaks TLS, and nothing else ([proxies.md](proxies.md)). The files are read \
            again on SIGHUP, and when they change.",
        settings: &[
            (
                "cert",
                "The file of the server's certificate in PEM, followed by those of its issuers. Empty: no TLS.",
            ),
            (
                "key",
                "The file of the certificate's private key in PEM, not encrypted. Empty: no TLS.",
            ),
        ],
    },
    Section {
        table: "metrics",
        about: "",
        settings: &[(
            "listen",
            "A separate address for `/metrics`. Empty: `/metrics` is served with everything else.",
        )],
    },
    Section {
        table: "delivery",
        about: "What happens to a notification whose user is absent ([promises.md](promises.md)).",
        settings: &[
            (
                "policy",
                "`immediate` drops it, `deferred` keeps it in memory, `inbox` writes it to the database first.",
            ),
            (
                "strategy",
                "How a deferred notification waits: `wake` flushes it when the user arrives, `poll` looks once per `poll_interval`.",
            ),
            ("poll_interval", "How often `poll` looks whether the user is there."),
            ("ttl", "How long a notification may wait, unless it has a TTL of its own."),
            (
                "on_expiry",
                "What happens to a deferred notification at the end of its TTL: it is dropped, or kept in the inbox.",
            ),
            (
                "ack_timeout",
                "How long a push may remain unacknowledged before it is repeated. Doubles with each repeat on the same connection.",
            ),
            ("max_per_user", "How many notifications may wait per user."),
            (
                "overflow",
                "What gives way when that many wait: the oldest, or the new one, whose sender is told.",
            ),
            (
                "max_pending",
                "How many notifications may wait on the node; further ones are rejected.",
            ),
            (
                "max_pending_bytes",
                "How much their payloads may weigh together; further ones are rejected.",
            ),
        ],
    },
    Section {
        table: "delivery.kinds.KIND",
        about: "The rule of one kind of notification, such as `[delivery.kinds.\"position.closed\"]`. A setting that is \
            left out is as in `[delivery]`. In the environment, an underscore stands for the point: \
            `DOORSTEP_DELIVERY__KINDS__POSITION_CLOSED__TTL`.",
        settings: &[
            ("policy", "As in `[delivery]`."),
            ("strategy", "As in `[delivery]`."),
            ("poll_interval", "As in `[delivery]`."),
            ("ttl", "As in `[delivery]`."),
            ("on_expiry", "As in `[delivery]`."),
            ("ack_timeout", "As in `[delivery]`."),
            ("max_per_user", "As in `[delivery]`."),
            ("overflow", "As in `[delivery]`."),
            (
                "max_pending",
                "How many notifications of this kind may wait on the node. Counts where it is below the node's.",
            ),
            (
                "max_pending_bytes",
                "How much their payloads may weigh together. Counts where it is below the node's.",
            ),
        ],
    },
    Section {
        table: "notifications.position_closed",
        about: "The policy for `position.closed`, by the reason for which the position was closed.",
        settings: &[
            ("user", "The user closed it."),
            ("stop_loss", "The price reached its stop-loss."),
            ("take_profit", "The price reached its take-profit."),
            ("liquidated", "The loss reached the cost of the position."),
        ],
    },
    Section {
        table: "market",
        about: "Where the prices of the trading simulation come from.",
        settings: &[
            ("source", "Prices are simulated, or replayed from `file`."),
            ("seed", "The same seed gives the same simulated prices."),
            ("tick_interval", "How often each simulated instrument gets a new price."),
            (
                "speed",
                "How many times faster than real time the simulated market runs. With 60, a minute is an hour of the market.",
            ),
            ("file", "The prices to replay, in lines of `symbol,time,price`."),
            ("replay_speed", "How many times faster than recorded the file is replayed."),
        ],
    },
    Section {
        table: "market.instruments.SYMBOL",
        about: "A simulated instrument. ACME, BTC-USD, ETH-USD, EUR-USD and GOLD are built in, and can be changed in \
            the same way. In the environment, an underscore stands for the hyphen.",
        settings: &[
            ("price", "The first price."),
            ("drift", "The expected growth per year of the market's time, as a logarithm."),
            ("volatility", "The standard deviation of that growth."),
        ],
    },
    Section {
        table: "trading",
        about: "The trading simulation.",
        settings: &[
            (
                "enabled",
                "Whether there is a simulation, with its users, their ledger and the page.",
            ),
            ("max_open_per_user", "How many positions a user may have open."),
        ],
    },
    Section {
        table: "rewards",
        about: "What users of the simulation are given. `\"0.00\"` gives nothing.",
        settings: &[
            ("welcome_gift", "To each new user."),
            ("first_close", "For the first position that closes."),
            ("close_milestone", "For every `milestone_every`-th position that closes."),
            ("milestone_every", "How many closed positions make a milestone."),
        ],
    },
    Section {
        table: "sessions",
        about: "",
        settings: &[("ttl", "How long a session's token is valid.")],
    },
    Section {
        table: "limits",
        about: "What strangers may use of the node. [wire.md](wire.md) says what happens at each limit.",
        settings: &[
            ("connections", "WebSockets on the node."),
            ("connections_per_user", "WebSockets and event streams per user."),
            ("connections_per_address", "WebSockets and event streams per client address."),
            ("http_connections", "HTTP connections on the node, event streams included."),
            ("http_connections_per_address", "HTTP connections per client address."),
            (
                "registrations_per_second",
                "Registrations per second and client address, in the long run. 0 means no limit.",
            ),
            (
                "sign_ins_per_second",
                "Sign-ins per second and client address, in the long run. 0 means no limit.",
            ),
        ],
    },
    Section {
        table: "demo",
        about: "",
        settings: &[(
            "enabled",
            "Whether users may send notifications to themselves, so that the page can show the policies side by side. Not with `[cluster]`.",
        )],
    },
    Section {
        table: "inbox",
        about: "",
        settings: &[
            (
                "enabled",
                "Whether there is an inbox: notifications that are kept until the user reads them.",
            ),
            (
                "keep_read",
                "How long an item is kept after the user has read it ([operate.md](operate.md#retention)). Empty: for ever.",
            ),
        ],
    },
    Section {
        table: "handover",
        about: "",
        settings: &[(
            "enabled",
            "Whether a stopping node leaves its waiting notifications in the database for the next one.",
        )],
    },
    Section {
        table: "stories",
        about: "What happened to a notification, step by step ([operate.md](operate.md#did-it-arrive)).",
        settings: &[
            ("enabled", "Whether the latest steps are remembered."),
            (
                "max_steps",
                "How many steps. A notification has about four. The oldest is forgotten first.",
            ),
            ("max_bytes", "How much memory they may take together."),
        ],
    },
    Section {
        table: "publish",
        about: "What other backends may publish ([backends.md](backends.md)).",
        settings: &[
            ("max_ttl", "The longest TTL of a published notification."),
            (
                "remember",
                "How many published notifications the node remembers, for repeats and for look-ups.",
            ),
        ],
    },
    Section {
        table: "keys",
        about: "Service keys, one line each; any number of them.",
        settings: &[("NAME", "The hash of a key, as `doorstep key new NAME` prints it.")],
    },
    Section {
        table: "jwt",
        about: "Tokens of other backends that are accepted from users. They need at least one key, here or at `jwks_url`.",
        settings: &[
            ("issuer", "What `iss` must be. Empty: anything."),
            ("audience", "What `aud` must contain. Empty: anything."),
            ("leeway", "By how much the clocks of the two machines may differ."),
            ("jwks_url", "Where an identity provider publishes its keys."),
        ],
    },
    Section {
        table: "jwt.keys.ID",
        about: "A key that verifies tokens whose `kid` is `ID`. Give either `key` or `key_file`. In the environment, an `ID` is in lower case.",
        settings: &[
            ("algorithm", "The one algorithm that the key is for."),
            ("key", "The secret, or a public key in PEM. Never printed."),
            ("key_file", "A file with the same."),
        ],
    },
    Section {
        table: "webhook",
        about: "Where outcomes are posted ([backends.md](backends.md#outcomes)). Empty: nowhere.",
        settings: &[
            ("url", "The receiver, `http://` or `https://`. Never printed."),
            ("secret", "The secret for signatures, `whsec_` and base64. Never printed."),
            (
                "ca_file",
                "Certificates of authorities, in PEM, that are trusted instead of the machine's.",
            ),
        ],
    },
    Section {
        table: "outbox",
        about: "The outbox in a backend's own database ([outbox.md](outbox.md)). Empty: none.",
        settings: &[(
            "url",
            "The database, with the role of the node. Printed without its password.",
        )],
    },
    Section {
        table: "cluster",
        about: "Several nodes that share a log in NATS JetStream ([cluster.md](cluster.md)). Without `nats`, a node is alone.",
        settings: &[
            ("nats", "The servers, `nats://HOST:PORT` or `tls://HOST:PORT`, separated by commas."),
            (
                "name",
                "The name of the cluster. Nodes of one name share their notifications, and must share their database.",
            ),
            ("storage", "Where the servers keep the log."),
            ("replicas", "On how many servers."),
            ("credentials", "A credentials file of NATS."),
            ("user", "A user of NATS."),
            ("password", "The user's password. Never printed."),
            ("nkey", "The seed of an nkey. Never printed."),
            (
                "ca_file",
                "Certificates of authorities, in PEM, that are trusted instead of the machine's.",
            ),
            ("cert", "This node's certificate for TLS to NATS, in PEM."),
            ("key", "Its key, in PEM."),
        ],
    },
    Section {
        table: "log",
        about: "What goes to standard error.",
        settings: &[
            ("filter", "In the syntax of `RUST_LOG`."),
            ("format", "Lines for people, or JSON."),
        ],
    },
];

/// Something in every table whose name is free.
const NAMED_TABLES: &str = "[delivery.kinds.KIND]\nttl = \"60s\"\n[market.instruments.SYMBOL]\nprice = \"120.00\"\n\
    [jwt.keys.id]\nkey = \"-\"\n[keys]\nname = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"";

/// The settings that the code reads, with their defaults and what is allowed. The built-in instruments are as the one
/// that was added.
pub(super) fn known() -> Vec<SettingLine> {
    let mut reader = SettingReader::new(given_in(NAMED_TABLES));
    Config::read(&mut reader);
    let lines = reader.finish().unwrap_or_default();
    lines.into_iter().filter(|line| !is_built_in(&line.key)).collect()
}

fn is_built_in(key: &SettingKey) -> bool {
    matches!(&key.0[..], [table, names, symbol, _] if table == "market" && names == "instruments" && symbol != "SYMBOL")
}

/// The key of a setting of a section.
pub(super) fn key_of(section: &Section, name: &str) -> SettingKey {
    let parents = section.table.split('.').filter(|segment| !segment.is_empty());
    let mut segments: Vec<_> = parents.chain([name]).map(str::to_owned).collect();
    if matches!(&segments[..], [table, ..] if table == "keys" || table == "jwt") {
        // Names of keys that come from the environment are in lower case.
        for segment in &mut segments {
            segment.make_ascii_lowercase();
        }
    }
    SettingKey(segments)
}

impl Section {
    /// Whether its name contains one that the file chooses, such as that of a kind.
    pub(super) fn is_named(&self) -> bool {
        self.table
            .split('.')
            .any(|segment| segment.chars().all(|c| c.is_ascii_uppercase()) && !segment.is_empty())
            || self.table == "keys"
    }
}
