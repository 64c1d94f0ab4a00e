//! What is left of the log when its server is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use doorstep_adapters::nats::{LogStorage, NatsSettings};
use doorstep_domain::ports::Log as _;
use doorstep_domain::{Append, Appended, Expecting, LogEvent, ReadFrom};
use doorstep_tests::contract::log::{accept, append, new_key, read_until};
use doorstep_tests::nats::NatsServer;

use super::open;

#[tokio::test(flavor = "multi_thread")]
async fn ends_survive_that_the_server_is_killed() {
    let mut server = NatsServer::start();
    let settings = NatsSettings::new(&server.url(), "x");
    let log = open(&settings).await;
    let texts: Vec<_> = (0..2000).map(|number| number.to_string()).collect();
    let accepted =
        futures_util::future::join_all(texts.iter().map(|text| accept(&log, text))).await;
    let ends = accepted.iter().map(|(key, sequence)| {
        let end = append(*key, Expecting::Sequence(*sequence), "ended");
        let kept = Some(Duration::from_hours(1));
        log.append(Append { kept, ..end })
    });
    let ends = futures_util::future::join_all(ends).await;
    server.start_again();

    let log = open(&settings).await;
    let mut tail = log.tail(ReadFrom::Start);
    let (last, _) = accept(&log, "last").await;
    let read = read_until(&mut tail, last, "last").await;
    let read: BTreeMap<_, _> = read.iter().map(|entry| (entry.key, &*entry.bytes)).collect();
    for ((key, _), end) in accepted.iter().zip(&ends) {
        assert!(matches!(end, Appended::Won(_)), "{end:?}");
        assert_eq!(read.get(key), Some(&&b"ended"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_memory_that_comes_back_empty_is_a_reset() {
    let mut server = NatsServer::start();
    let mut settings = NatsSettings::new(&server.url(), "x");
    settings.storage = LogStorage::Memory;
    let log = open(&settings).await;
    let mut tail = log.tail(ReadFrom::Start);
    let (key, _) = accept(&log, "before").await;
    read_until(&mut tail, key, "before").await;
    server.start_again();
    // Another node comes first, and brings the new stream farther than the old one was. At the old place is nothing that
    // could be compared: it was replaced.
    let other = open(&settings).await;
    let mut expected = Vec::new();
    for _ in 0..10 {
        let (key, sequence) = accept(&other, "after").await;
        let end = other.append(append(key, Expecting::Sequence(sequence), "ended")).await;
        let Appended::Won(end) = end else { panic!("{end:?}") };
        expected.push(end);
    }
    let mut reset = false;
    let mut read = Vec::new();
    while read.len() < expected.len() {
        match tokio::time::timeout(Duration::from_mins(1), tail.next()).await.unwrap() {
            LogEvent::Reset => reset = true,
            LogEvent::CutOff(_) => assert!(!reset),
            LogEvent::Entry(entry) => read.push(entry.sequence),
            LogEvent::Resumed => panic!("it went on in another stream"),
        }
    }
    assert!(reset);
    assert_eq!(read, expected);
    assert_eq!(log.get(key).await, Ok(None));
    let again = log.append(append(new_key(), Expecting::Nothing, "x")).await;
    assert!(matches!(again, Appended::Won(_)), "{again:?}");
}
