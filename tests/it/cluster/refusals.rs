//! What is wrong is said at the start, with what to do about it.

use doorstep_tests::nats::NatsServer;
use doorstep_tests::server::Doorstep;

use crate::backends::BARE;

/// Runs `serve` with this configuration, which it refuses with this exit code. Returns what it says.
async fn refused(config: &str, code: i32) -> String {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", config);
    let finished = call.run().await;
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    finished.stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_cannot_work_with_is_refused_at_the_start() {
    let nats = NatsServer::start();
    let cluster = format!("[cluster]\nnats = \"{}\"\n", nats.url());
    for (config, says) in [
        (format!("{cluster}\n[trading]\nenabled = false"), "need one PostgreSQL database"),
        (cluster.clone(), "trading.enabled = false"),
        (format!("{BARE}\n{cluster}\n[delivery]\nstrategy = \"poll\""), "use wake"),
        (format!("{BARE}\n{cluster}user = \"ada\""), "give both or none"),
        (format!("{BARE}\n{cluster}name = \"not a name\""), "1 to 32 ASCII letters"),
    ] {
        let said = refused(&config, 2).await;
        assert!(said.contains(says), "{config}\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_no_fault_of_the_configuration() {
    let said = refused(&format!("{BARE}\n[cluster]\nnats = \"nats://127.0.0.1:1\""), 1).await;
    assert!(said.contains("check its address"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_streams_is_refused_with_the_option_that_it_needs() {
    let nats = NatsServer::without_jetstream();
    let said = refused(&format!("{BARE}\n[cluster]\nnats = \"{}\"", nats.url()), 2).await;
    assert!(said.contains("start nats-server with -js"), "{said}");
}
