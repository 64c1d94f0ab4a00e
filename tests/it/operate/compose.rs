//! The files of a cluster under `app/deploy/cluster`: nginx runs with its file in front of three real nodes, and the other
//! files are read by this binary and by a parser. (No container is started.)

use std::path::Path;
use std::process::Stdio;

use doorstep_tests::client::User;
use doorstep_tests::nats;
use doorstep_tests::reverse_proxy::ReverseProxy;
use doorstep_tests::server::Doorstep;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::backends::token;
use crate::cluster::Nodes;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/deploy/cluster").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// A file with another address in the place of each of these.
fn moved(text: String, addresses: &[(&str, String)]) -> String {
    addresses.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} is there once: {text}");
        text.replace(from, to)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_configured_spreads_users_and_backends_over_three_nodes() {
    let nodes = Nodes::with(3, "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n").await;
    let upstream = |node: usize| nodes.server(node).url().trim_start_matches("http://").to_owned();
    let addresses = [
        ("172.30.0.11:3000", upstream(0)),
        ("172.30.0.12:3000", upstream(1)),
        ("172.30.0.13:3000", upstream(2)),
    ];
    let nginx = ReverseProxy::nginx(|address| {
        let listens = [("listen 80;", format!("listen {address};"))];
        moved(moved(file("nginx.conf"), &addresses), &listens)
    })
    .await;
    let url = format!("http://{}", nginx.address());
    let backend = nodes.backend(0).at(&url);
    // One after the other: a request of the backend, then a user.
    for user in ["ada", "bob", "cyd"] {
        backend.publish(&json!({"user_id": user, "kind": "order.shipped", "payload": 1})).await;
        let mut socket = User::with_token(&url, user, &token(user)).connect("doorstep.v1").await;
        let notification = socket.notification().await;
        socket.acknowledge(&notification).await;
    }
    for node in 0..3 {
        let metrics = reqwest::get(format!("{}/metrics", nodes.server(node).url())).await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let pushed = "doorstep_frames_queued_total{transport=\"websocket\"} 1";
        assert!(metrics.lines().any(|line| line == pushed), "node {node}: {metrics}");
    }
    for hidden in ["/metrics", "/ops", "/ops.js"] {
        assert_eq!(reqwest::get(format!("{url}{hidden}")).await.unwrap().status(), 404, "{hidden}");
    }
}

#[tokio::test]
async fn the_nodes_accept_their_configuration() {
    let example = file("doorstep.env.example");
    let mut call =
        Doorstep::new(&["config", "--check"]).file("doorstep.toml", &file("doorstep.toml"));
    let values = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='));
    for (name, _) in values {
        let value = match name {
            "DATABASE_URL" => "postgres://doorstep:secret@postgres/doorstep".to_owned(),
            "DOORSTEP_KEYS__SHOP" => format!("sha256:{}", "0".repeat(64)),
            _ => "0123456789abcdef0123456789abcdef".to_owned(),
        };
        call = call.env(name, &value);
    }
    let checked = call.run().await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn the_servers_of_nats_accept_theirs() {
    let checked = nats::check(&file("nats.conf"));
    assert!(checked.contains(" is valid"), "{checked}");
}

/// Prints the file as JSON, with what it merges.
const AS_JSON: &str = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)";

#[tokio::test]
async fn the_containers_are_those_that_the_files_name() {
    let compose = as_json(&file("compose.yaml")).await;
    let services = compose["services"].as_object().unwrap();
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    let expected = ["nats1", "nats2", "nats3", "nginx", "node1", "node2", "node3", "postgres"];
    assert_eq!(names, expected);
    let (nginx, config) = (file("nginx.conf"), file("doorstep.toml"));
    for (node, service) in services.iter().filter(|(name, _)| name.starts_with("node")) {
        let address = service["networks"]["default"]["ipv4_address"].as_str().unwrap();
        assert!(nginx.contains(&format!("{address}:3000")), "{node}");
        assert_eq!(service["stop_grace_period"], "30s");
    }
    let proxy = services["nginx"]["networks"]["default"]["ipv4_address"].as_str().unwrap();
    assert!(config.contains(&format!("trusted_proxies = [\"{proxy}\"]")));
    for server in ["nats1", "nats2", "nats3"] {
        assert!(config.contains(&format!("nats://{server}:4222")));
        assert!(file("nats.conf").contains(&format!("nats://{server}:6222")));
    }
    // Every file that is mounted is there.
    for (name, service) in services {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (from, _) = volume.as_str().unwrap().split_once(':').unwrap();
            if let Some(mounted) = from.strip_prefix("./") {
                assert!(!file(mounted).is_empty(), "{name}");
            } else {
                assert!(compose["volumes"].as_object().unwrap().contains_key(from), "{name}");
            }
        }
    }
}

async fn as_json(yaml: &str) -> Value {
    use tokio::io::AsyncWriteExt as _;
    let python = doorstep_tests::browser::target_dir().join("python/bin/python3");
    let mut command = Command::new(python);
    command.args(["-c", AS_JSON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("tests/run.sh installs it");
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
