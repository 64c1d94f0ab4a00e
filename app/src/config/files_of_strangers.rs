//! Configuration files that nobody has written down: mutated valid ones. Each is a configuration, or refused with the
//! place in the file.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::mutated::{Mutated, mutated};
use super::quoted::quoted;
use super::*;

const EXAMPLES: &[&str] = &[
    "listen = \"127.0.0.1:3000\"\ndatabase = \"postgres://u:s3cret@h/d\"\n[server]\nstop_within = \"10s\"\n\
     trusted_proxies = [\"10.0.0.0/8\", \"unix\"]\nclient_address_header = \"Forwarded\"\n\
     allowed_origins = \"https://*.example.com\"\n[server.tls]\ncert = \"a.pem\"\nkey = \"b.pem\"\n",
    "[delivery]\npolicy = \"deferred\"\nstrategy = \"wake\"\npoll_interval = \"500ms\"\nttl = \"60s\"\n\
     on_expiry = \"drop\"\n\
     max_per_user = 100\noverflow = \"drop_oldest\"\nmax_pending = 1000000\nmax_pending_bytes = \"512MiB\"\n\
     [delivery.kinds.\"position.closed\"]\npolicy = \"inbox\"\nttl = \"2h\"\n",
    "[market]\nsource = \"simulated\"\n[market.instruments.\"BRK.B\"]\nprice = \"400\"\nvolatility = \"0.3\"\n\
     [rewards]\nwelcome_gift = \"1000.00\"\nmilestone_every = 10\n[trading]\nenabled = true\n[sessions]\nttl = \"30days\"\n",
    "[keys]\nshop = \"sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\"\n[publish]\n\
     max_ttl = \"1h\"\n[jwt]\nissuer = \"shop\"\nleeway = \"1m\"\n[jwt.keys.one]\nalgorithm = \"HS256\"\n\
     key = \"s3cret\"\n\
     [webhook]\nurl = \"https://h/x\"\nsecret = \"s3cret\"\n",
    "[limits]\nconnections = 5\nsign_ins_per_second = 0\n[demo]\nenabled = \"auto\"\n[inbox]\nenabled = true\n\
     [handover]\nenabled = false\n[log]\nfilter = \"warn,doorstep=debug\"\nformat = \"json\"\n[metrics]\n\
     listen = \"[::1]:9\"\n\
     [notifications.position_closed]\nuser = \"inbox\"\n[outbox]\nurl = \"postgres://h/d\"\n",
];

const WORDS: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "\n",
    " = ",
    "\"",
    "\"\"\"",
    "'",
    "\\",
    "\\u0000",
    "\\u001b",
    "\\u007f",
    "\\u00ad",
    "\\n",
    "{",
    "}",
    ",",
    "#",
    ".",
    "=",
    "true",
    "0",
    "-1",
    "1.5",
    "nan",
    "1979-05-27",
    "99999999999999999999",
    "[1]",
    "s",
    "h",
    "years",
    "GiB",
    "\n[delivery.kinds.a]\n",
    "\n[keys]\n",
    "\n[jwt.keys.\"a b\"]\n",
    "unix:",
    "é",
    "\u{0}",
    "\u{1b}",
    "\u{feff}",
    "\u{202e}",
    "\r",
    "\ttt",
    "a",
    "ttl",
];

/// The places of a file that a problem may name: its settings and its tables, in both spellings of the last name.
fn places(table: &toml::Table, path: &mut Vec<String>, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        found.insert(format!("{}.{}", SettingKey(path.clone()), quoted(name)));
        path.push(name.clone());
        found.insert(SettingKey(path.clone()).to_string());
        if let toml::Value::Table(inner) = value {
            places(inner, path, found);
        }
        path.pop();
    }
}

fn check(file: &[u8]) {
    let shown = file.escape_ascii();
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("doorstep.toml");
    std::fs::write(&path, file).expect("a file");
    let load =
        |path| Config::load(Sources { environment: vec![], flags: vec![], file: Some(path) });
    let text = std::str::from_utf8(file);
    let table = text.ok().and_then(|text| toml::from_str::<toml::Table>(text).ok());
    match load(path.clone()) {
        Ok(loaded) => {
            assert!(table.is_some(), "{shown}");
            // What is listed can be copied into a file; only secrets are not in it.
            let listing = loaded.to_toml();
            // A file of its own: some file systems write a replaced one to the disk at once.
            let path = dir.path().join("listing.toml");
            std::fs::write(&path, &listing).expect("a file");
            let again = load(path).unwrap_or_else(|why| panic!("{why}\n{listing}\nof {shown}"));
            assert_eq!(
                format!("{:?}", again.config),
                format!("{:?}", loaded.config),
                "{listing}\nof {shown}"
            );
        }
        Err(ConfigError::Unreadable { cause, .. }) => {
            assert!(
                text.is_err() && cause.kind() == std::io::ErrorKind::InvalidData,
                "{cause} of {shown}"
            );
        }
        Err(ConfigError::NotToml { cause, .. }) => {
            assert!(table.is_none(), "{shown}");
            // The library does not say where the nesting is too deep.
            let why = cause.to_string();
            assert!(why.contains("line ") || why.contains("recursion limit"), "{cause} of {shown}");
        }
        Err(ConfigError::Empty { .. }) => {
            panic!("only a serving process refuses an empty file: {shown}")
        }
        Err(ConfigError::Wrong(problems)) => {
            let mut known = BTreeSet::new();
            places(&table.expect("it was TOML"), &mut Vec::new(), &mut known);
            for problem in &problems {
                // One line, on any terminal.
                assert!(!problem.chars().any(char::is_control), "{problem:?} of {shown}");
                let named = known.iter().any(|place| {
                    problem.strip_prefix(place).is_some_and(|rest| rest.starts_with([' ', ':']))
                });
                assert!(named, "{problem:?} names no place of {shown}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_file_is_a_configuration_or_refused_with_the_place(Mutated(file) in mutated(EXAMPLES, WORDS)) {
        check(&file);
    }
}
