//! What a log refuses to be opened with, and what it tells the operator.

use std::time::Duration;

use doorstep_adapters::nats::{LogStorage, NatsCredentials, NatsError, NatsSettings};
use doorstep_domain::ports::Log as _;
use doorstep_domain::{AppendRefusal, Appended, Expecting};
use doorstep_tests::contract::log::{append, new_key};
use doorstep_tests::nats::NatsServer;

use super::{open, operator, try_to_open};

async fn refused(settings: &NatsSettings) -> NatsError {
    try_to_open(settings).await.err().expect("it is refused")
}

#[tokio::test]
async fn a_wrong_address_is_said() {
    let mut server = NatsServer::start();
    server.kill();
    let error = refused(&NatsSettings::new(&server.url(), "x")).await;
    assert!(matches!(error, NatsError::Unreachable(_)), "{error}");
    let error = refused(&NatsSettings::new("nats://name.invalid:4222", "x")).await;
    assert!(matches!(error, NatsError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_said_without_repeating_them() {
    let server = NatsServer::with("authorization { user: ada, password: lovelace }");
    let mut settings = NatsSettings::new(&server.url(), "x");
    for credentials in [
        NatsCredentials::None,
        NatsCredentials::Password("ada".into(), "byron".into()),
        NatsCredentials::File("/nowhere/at.all".into()),
    ] {
        settings.credentials = credentials;
        let error = refused(&settings).await;
        assert!(matches!(error, NatsError::Credentials(_)), "{error}");
        assert!(!error.to_string().contains("byron"), "{error}");
    }
    settings.credentials = NatsCredentials::Password("ada".into(), "lovelace".into());
    open(&settings).await;
}

#[tokio::test]
async fn an_nkey_is_let_in() {
    // From the documentation of NATS; nobody uses it.
    let (seed, public) = (
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
    );
    let server = NatsServer::with(&format!("authorization {{ users: [ {{ nkey: {public} }} ] }}"));
    let mut settings = NatsSettings::new(&server.url(), "x");
    settings.credentials = NatsCredentials::Nkey(seed.into());
    open(&settings).await;
}

#[tokio::test]
async fn a_server_without_jetstream_is_said() {
    let server = NatsServer::without_jetstream();
    let error = refused(&NatsSettings::new(&server.url(), "x")).await;
    assert!(matches!(error, NatsError::NoJetStream(_)), "{error}");
    assert!(error.to_string().contains("-js"), "{error}");
}

#[tokio::test]
async fn a_stream_with_other_limits_is_refused_and_left_alone() {
    let server = NatsServer::start();
    let settings = NatsSettings::new(&server.url(), "x");
    drop(open(&settings).await);
    let operator = operator(&server.url()).await;
    let mut config = operator.get_stream("DOORSTEP_x").await.unwrap().cached_info().config.clone();
    config.max_messages_per_subject = 5;
    operator.update_stream(&config).await.unwrap();
    let error = refused(&settings).await;
    assert!(matches!(error, NatsError::OtherStream { .. }), "{error}");
    let mend = "`nats stream edit DOORSTEP_x --max-msgs-per-subject=1`";
    assert!(error.to_string().contains(mend), "{error}");
    config.max_messages_per_subject = 1;
    operator.update_stream(&config).await.unwrap();
    open(&settings).await;

    let memory = NatsSettings { storage: LogStorage::Memory, ..settings };
    let error = refused(&memory).await;
    assert!(error.to_string().contains("storage is file and must be memory"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    for name in ["", "two words", "a.b", "a*", &"n".repeat(33)] {
        let error = refused(&NatsSettings::new("nats://127.0.0.1:1", name)).await;
        assert!(matches!(error, NatsError::BadName), "{error}");
    }
}

#[tokio::test]
async fn a_full_stream_refuses_what_is_new() {
    let server = NatsServer::start();
    let mut settings = NatsSettings::new(&server.url(), "x");
    settings.max_bytes = Some(256 * 1024);
    let log = open(&settings).await;
    let text = "x".repeat(32 * 1024);
    let filled = async {
        loop {
            match log.append(append(new_key(), Expecting::Nothing, &text)).await {
                Appended::Won(_) => {}
                other => return other,
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_mins(1), filled).await.unwrap();
    assert!(matches!(answer, Appended::Refused(AppendRefusal::Full(_))), "{answer:?}");
}
