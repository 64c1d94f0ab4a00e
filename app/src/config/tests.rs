use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// Loads from the text of a file, an environment and flags. Returns the message of a failure.
pub(super) fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("doorstep.toml");
    std::fs::write(&path, file).unwrap();
    let pairs = environment.iter().map(|&(n, v)| (n.to_owned(), v.to_owned()));
    let flags =
        flags.iter().map(|&(key, value)| (SettingKey::new(&[key]), "--flag", value.to_owned()));
    let sources =
        Sources { environment: pairs.collect(), flags: flags.collect(), file: Some(path.clone()) };
    Config::load(sources).map_err(|e| e.to_string().replace(path.to_str().unwrap(), "FILE"))
}

/// Checks that this configuration is refused with a message that contains each part.
fn check_refused(file: &str, environment: &[(&str, &str)], parts: &[&str]) {
    let message = load(file, environment, &[]).unwrap_err();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in:\n{message}");
    }
}

/// The `[delivery]` table with every default written out, and one kind.
const CONTRACT: &str = r#"
[delivery]
policy = "deferred"
strategy = "wake"
poll_interval = "500ms"
ttl = "60s"
on_expiry = "drop"
ack_timeout = "10s"
max_per_user = 100
overflow = "drop_oldest"
max_pending = 1000000
max_pending_bytes = "512MiB"

[delivery.kinds."position.closed"]
policy = "inbox"
"#;

#[test]
fn the_contract_s_file_is_the_defaults_and_one_kind() {
    let config = load(CONTRACT, &[], &[]).unwrap().config;
    let mut expected = Config::defaults();
    let rule = RuleConfig { policy: PolicyChoice::Inbox, ..expected.delivery.default };
    expected.delivery.kinds.push(("position.closed".parse().unwrap(), rule));
    assert_eq!(config, expected);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "listen = \"127.0.0.1:1\"";
    let environment = [("DOORSTEP_LISTEN", "127.0.0.1:2")];
    let port = |loaded: Result<Loaded, String>| match loaded.unwrap().config.listen {
        Listen::Tcp(address) => address.port(),
        Listen::Unix(path) => panic!("{}", path.display()),
    };
    assert_eq!(port(load("", &[], &[])), 3000);
    assert_eq!(port(load(file, &[], &[])), 1);
    assert_eq!(port(load(file, &environment, &[])), 2);
    assert_eq!(port(load(file, &environment, &[("listen", "127.0.0.1:3")])), 3);
}

#[test]
fn every_key_has_an_environment_form() {
    // The settings come from the listing, so that a new one cannot be forgotten.
    // The two settings of TLS are given together.
    let file = format!("{CONTRACT}\n[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n");
    let listing = load(&file, &[], &[]).unwrap();
    for line in &listing.lines {
        let name = layers::environment_names(&line.key).remove(0);
        let message = match load(&file, &[(&name, "?[")], &[]) {
            Err(message) => message,
            // Any text is allowed here; the part that uses it judges it.
            Ok(loaded) => {
                let listing = loaded.to_toml();
                assert!(listing.contains(&format!("# environment {name}")), "{listing}");
                continue;
            }
        };
        let expected = format!("{} = \"?[\" (environment {name}): expected ", line.key);
        assert!(message.contains(&expected), "no {expected:?} in:\n{message}");
    }
}

#[test]
fn a_kind_can_come_from_the_environment_alone_and_from_both() {
    let ttl = ("DOORSTEP_DELIVERY__KINDS__POSITION_CLOSED__TTL", "5s");
    let kinds = |file| load(file, &[ttl], &[]).unwrap().config.delivery.kinds;
    for (file, policy) in [("", PolicyChoice::Deferred), (CONTRACT, PolicyChoice::Inbox)] {
        let [(kind, rule)] = &kinds(file)[..] else { panic!("one kind") };
        assert_eq!((kind.as_str(), rule.policy), ("position.closed", policy));
        assert_eq!(rule.ttl.as_duration(), Duration::from_secs(5));
    }
    // The file's spelling wins.
    let [(kind, _)] = &kinds("[delivery.kinds.position_closed]\npolicy = \"inbox\"")[..] else {
        panic!("one kind")
    };
    assert_eq!(kind.as_str(), "position_closed");
}

#[test]
fn a_kind_takes_what_it_does_not_say_from_the_default() {
    let file = "[delivery]\nttl = \"5s\"\n[delivery.kinds.welcome]\nmax_per_user = 7\nmax_pending = 8\nmax_pending_bytes = \"9KiB\"";
    let delivery = load(file, &[], &[]).unwrap().config.delivery;
    let rule = delivery.kinds[0].1;
    assert_eq!(rule.ttl.as_duration(), Duration::from_secs(5));
    assert_eq!((rule.max_per_user.0.get(), delivery.default.max_per_user.0.get()), (7, 100));
    assert_eq!((rule.max_pending.get(), rule.max_pending_bytes.as_u64()), (8, 9 * 1024));
    assert_eq!(delivery.default.max_pending.get(), 1_000_000);
}

#[test]
fn a_refusal_names_key_value_source_and_what_is_allowed() {
    check_refused(
        "[delivery]\npolicy = \"sometimes\"",
        &[("DOORSTEP_DELIVERY__TTL", "25h")],
        &[
            "delivery.policy = \"sometimes\" (file FILE): expected immediate, deferred or inbox",
            "delivery.ttl = \"25h\" (environment DOORSTEP_DELIVERY__TTL): expected a duration up to 24 hours",
        ],
    );
    check_refused("[delivery]\nttl = 60", &[], &["delivery.ttl = 60 (file", "expected a duration"]);
    for number in ["0", "60001", "-1"] {
        let file = format!("[delivery]\nmax_per_user = {number}");
        check_refused(&file, &[], &["delivery.max_per_user", "a whole number from 1 to 60000"]);
    }
    for (file, parts) in [
        (
            "[delivery]\nmax_pending = \"100\"",
            ["delivery.max_pending = \"100\"", "from 1, without quotes"],
        ),
        ("[inbox]\nenabled = \"true\"", ["inbox.enabled = \"true\"", "false, without quotes"]),
        (
            "[delivery]\nmax_pending_bytes = 4096",
            ["delivery.max_pending_bytes = 4096 (", "\"512MiB\", in quotes"],
        ),
    ] {
        check_refused(file, &[], &parts);
    }
    // The environment has only text.
    let environment =
        [("DOORSTEP_DELIVERY__MAX_PENDING", "7"), ("DOORSTEP_INBOX__ENABLED", "true")];
    load("", &environment, &[]).unwrap();
    check_refused("[delivery]\nttl = [1]", &[], &["delivery.ttl = a TOML array"]);
    check_refused("[rewards]\nwelcome_gift = 1000.0", &[], &["a TOML float", "in quotes"]);
}

#[test]
fn the_log_of_a_cluster_has_one_three_or_five_replicas() {
    let replicas = |number| load(&format!("[cluster]\nreplicas = {number}"), &[], &[]);
    for number in [1, 3, 5] {
        assert_eq!(replicas(number).unwrap().config.cluster.replicas.0, number);
    }
    check_refused("[cluster]\nreplicas = 2", &[], &["cluster.replicas = 2", "1, 3 or 5"]);
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand() {
    check_refused(
        "[delivery]\ntll = \"5s\"\n[delivery.kinds.welcome]\nmax_waiting = 1\n[deliverance]\nx = 1",
        &[("DOORSTEP_DELIVERY__TOL", "5s")],
        &[
            "delivery.tll (file FILE): unknown key; known here: policy, strategy, poll_interval, ttl,",
            "delivery.kinds.welcome.max_waiting (file FILE): unknown key",
            "deliverance.x (file FILE): there is no such table; known at the top: listen, database",
            "delivery.tol (environment DOORSTEP_DELIVERY__TOL): unknown key",
        ],
    );
    check_refused("delivery = 5", &[], &["delivery (file FILE): unknown key"]);
    check_refused("[delivery.kinds.\"two words\"]\nttl = \"5s\"", &[], &["\"two words\""]);
}

#[test]
fn a_password_is_in_no_message_and_no_listing() {
    let secret = ("DATABASE_URL", "postgres://u:s3cret@h/d");
    let listing = load("", &[secret], &[]).unwrap().to_toml();
    assert!(listing.contains("postgres://u:***@h/d"), "{listing}");
    let message = load("", &[("DATABASE_URL", "mysql://u:s3cret@h/d")], &[]).unwrap_err();
    assert!(message.contains("database = \"mysql://u:***@h/d\""), "{message}");
}

#[test]
fn keys_come_from_file_and_environment_and_their_secrets_are_not_listed() {
    let hash = format!("sha256:{}", "0f".repeat(32));
    let file = format!("[keys]\nshop = {hash:?}\n[jwt.keys.one]\nkey = \"s3cret\"");
    let environment =
        [("DOORSTEP_KEYS__BLOG", hash.as_str()), ("DOORSTEP_WEBHOOK__SECRET", "s3cret")];
    let loaded = load(&file, &environment, &[]).unwrap();
    let names: Vec<_> = loaded.config.backends.keys.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["blog", "shop"]);
    assert_eq!(loaded.config.backends.jwt.keys[0].1.key.0, "s3cret");
    let listing = loaded.to_toml();
    assert!(listing.contains(&hash) && !listing.contains("s3cret"), "{listing}");
    assert!(!format!("{loaded:?}").contains("s3cret"));

    check_refused("[keys]\nshop = \"sha256:0f\"", &[], &["keys.shop", "64 hexadecimal digits"]);
    check_refused(&format!("[keys]\nSHOP = {hash:?}"), &[], &["keys.\"SHOP\"", "lower-case"]);
    check_refused(
        "[jwt.keys.one]\nalgorithm = \"none\"",
        &[],
        &["expected HS256, RS256,", "either"],
    );
    check_refused(
        "[inbox]\nenabled = false\n[delivery.kinds.news]\npolicy = \"inbox\"",
        &[],
        &["inbox.enabled is false, but"],
    );
    check_refused(
        "[inbox]\nenabled = false\n[delivery]\non_expiry = \"inbox\"",
        &[],
        &["inbox.enabled is false, but"],
    );
}

#[test]
fn the_listing_is_a_file_that_says_the_same() {
    let environment = [("DOORSTEP_DELIVERY__STRATEGY", "poll"), ("DATABASE_URL", "sqlite://x.db")];
    let loaded = load(CONTRACT, &environment, &[]).unwrap();
    let listing = loaded.to_toml();
    assert!(listing.contains("# environment DOORSTEP_DELIVERY__STRATEGY"), "{listing}");
    assert_eq!(load(&listing, &[], &[]).unwrap().config, loaded.config);
}

#[test]
fn a_port_means_every_address_where_no_address_is_given() {
    let port = ("PORT", "8080");
    let listen = |file, environment: &[_], flags: &[_]| {
        value::SettingValue::to_text(&load(file, environment, flags).unwrap().config.listen)
    };
    assert_eq!(listen("", &[port], &[]), "0.0.0.0:8080");
    assert_eq!(listen("", &[("PORT", "")], &[]), "127.0.0.1:3000");
    assert_eq!(listen("listen = \"[::1]:1\"", &[port], &[]), "[::1]:1");
    assert_eq!(listen("", &[port, ("DOORSTEP_LISTEN", "127.0.0.1:2")], &[]), "127.0.0.1:2");
    assert_eq!(listen("", &[port], &[("listen", "unix:/run/x.sock")]), "unix:/run/x.sock");
    check_refused("", &[("PORT", "tcp://10.0.0.1")], &["environment PORT", "expected an address"]);
    check_refused("listen = \"unix:\"", &[], &["unix:/run/doorstep.sock"]);
}

#[test]
fn proxies_and_origins_are_arrays_or_strings_with_commas() {
    let array = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]\nallowed_origins = [\"https://*.Example.com:443\"]";
    let string = "[server]\ntrusted_proxies = \"10.0.0.0/8, unix\"\nallowed_origins = \"https://*.example.com\"";
    let [one, other] = [array, string].map(|file| load(file, &[], &[]).unwrap());
    assert_eq!(one.config, other.config);
    assert_eq!(load(&one.to_toml(), &[], &[]).unwrap().config, one.config);
    assert_eq!(one.config.server.trusted_proxies.0.len(), 2);
    for wrong in ["10.0.0.0/33", "proxy.example.com", "Unix"] {
        let file = format!("[server]\ntrusted_proxies = [{wrong:?}]");
        check_refused(&file, &[], &["server.trusted_proxies", wrong, "expected a list"]);
    }
    for wrong in ["https://app.example.com/path", "wss://app.example.com", "null", "*"] {
        let file = format!("[server]\nallowed_origins = [{wrong:?}]");
        check_refused(&file, &[], &["server.allowed_origins", wrong, "expected a list of origins"]);
    }
    check_refused("[server]\nkeep_alive = [\"5s\"]", &[], &["a TOML array", "expected a duration"]);
    check_refused(
        "[server]\nclient_address_header = \"two words\"",
        &[],
        &["the name of a header"],
    );
}

#[test]
fn the_demonstration_is_off_by_itself_where_others_may_come() {
    let has_demo = |file| load(file, &[], &[]).unwrap().config.has_demo();
    assert!(has_demo(""));
    assert!(!has_demo("listen = \"0.0.0.0:3000\""));
    assert!(!has_demo("listen = \"unix:/run/doorstep.sock\""));
    assert!(!has_demo("[server]\ntrusted_proxies = [\"127.0.0.1\"]"));
    assert!(has_demo("[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[demo]\nenabled = true"));
    // One of its rules is `poll`, which a cluster refuses.
    assert!(!has_demo("[trading]\nenabled = false"));
}

#[test]
fn strangers_in_the_environment_are_named_but_not_refused() {
    let environment = [("DOORSTEP_SERVICE_HOST", "10.0.0.1"), ("DOORSTEP_LOG", "info")];
    assert_eq!(load("", &environment, &[]).unwrap().strangers, ["DOORSTEP_SERVICE_HOST"]);
}

#[test]
fn a_file_that_was_named_must_be_there_and_be_toml() {
    let file = Some(PathBuf::from("/nowhere/doorstep.toml"));
    let missing = Config::load(Sources { environment: vec![], flags: vec![], file });
    assert!(matches!(missing, Err(ConfigError::Unreadable { .. })));
    check_refused("listen", &[], &["is not TOML", "line 1"]);
}

#[test]
fn an_instrument_can_be_set_and_added_from_the_file_and_the_environment() {
    let file = "[market.instruments.\"BRK.B\"]\nprice = \"400\"";
    let environment = [
        ("DOORSTEP_MARKET__INSTRUMENTS__BRK_B__VOLATILITY", "0.3"),
        ("DOORSTEP_MARKET__INSTRUMENTS__BTC_USD__PRICE", "70000"),
    ];
    let market = load(file, &environment, &[]).unwrap().config.market;
    assert_eq!(market.instruments.len(), Config::defaults().market.instruments.len() + 1);
    let find =
        |symbol: &str| market.instruments.iter().find(|i| i.symbol.as_str() == symbol).unwrap();
    assert_eq!(find("BTC-USD").price.to_string(), "70000.00");
    assert_eq!(find("BRK.B").price.to_string(), "400.00");
    assert!((find("BRK.B").volatility.to_float() - 0.3).abs() < 1e-9);
}

#[test]
fn a_market_that_cannot_be_is_refused() {
    check_refused("[market]\nsource = \"replay\"", &[], &["needs a market.file"]);
    check_refused("[market.instruments.btc]\nprice = \"1\"", &[], &["a symbol is 1 to 16 capital"]);
    check_refused("[market.instruments.X]\nprice = \"0\"", &[], &["market.instruments.X.price"]);
    check_refused("[rewards]\nmilestone_every = 0", &[], &["a whole number from 1"]);
    check_refused(
        "[notifications.position_closed]\nuser = \"never\"",
        &[],
        &["notifications.position_closed.user = \"never\"", "expected kind"],
    );
}
