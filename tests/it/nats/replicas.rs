//! Three servers that replicate the stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use doorstep_adapters::nats::{NatsLog, NatsSettings};
use doorstep_domain::ports::Log as _;
use doorstep_domain::{Append, Appended, Expecting, LogEntry, LogKey, ReadFrom, Sequence};
use doorstep_tests::contract::log::{append, new_key, read_until};
use doorstep_tests::nats::NatsCluster;
use uuid::Uuid;

use super::{open, operator};

/// How many ids are ended, by how many at once.
const IDS: usize = 200;
const ENDS: usize = 6;

/// Repeats the first entry of a key until it is known to be there.
async fn accept(log: &NatsLog, key: LogKey) -> Sequence {
    loop {
        match log.append(append(key, Expecting::Nothing, "accepted")).await {
            Appended::Won(sequence) => return sequence,
            _ => match log.get(key).await {
                Ok(Some(entry)) => return entry.sequence,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            },
        }
    }
}

/// Everything that is in the log, as it is read from the start.
async fn all(log: &NatsLog) -> Vec<LogEntry> {
    let mut tail = log.tail(ReadFrom::Start);
    loop {
        let key = LogKey::Passing(Uuid::now_v7());
        let kept = Some(Duration::from_mins(1));
        let barrier = Append { kept, ..append(key, Expecting::Nothing, "b") };
        if let Appended::Won(_) = log.append(barrier).await {
            return read_until(&mut tail, key, "b").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_ends_one_wins_while_leaders_step_down() {
    let cluster = NatsCluster::start();
    let mut nodes = Vec::new();
    for server in &cluster.servers {
        let mut settings = NatsSettings::new(&server.url(), "x");
        settings.replicas = 3;
        settings.servers = cluster.urls();
        settings.answer_within = Duration::from_secs(2);
        nodes.push(Arc::new(open(&settings).await));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stepping = tokio::spawn({
        let (stop, operator) = (stop.clone(), operator(&cluster.servers[0].url()).await);
        async move {
            let mut steps = 0;
            while !stop.load(Relaxed) {
                let answer: Result<serde_json::Value, _> =
                    operator.request("STREAM.LEADER.STEPDOWN.DOORSTEP_x", &()).await;
                steps += usize::from(answer.is_ok_and(|answer| answer["success"] == true));
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            steps
        }
    });
    // What every node reads of every id while it happens, besides what it appends.
    let mut wins: BTreeMap<LogKey, Vec<Sequence>> = BTreeMap::new();
    let ids: Vec<_> = (0..IDS).map(|_| new_key()).collect();
    for some in ids.chunks(20) {
        let ended = some.iter().map(|key| {
            let nodes = &nodes;
            async move {
                let accepted = accept(&nodes[0], *key).await;
                let ends = (0..ENDS).map(|number| {
                    let end = append(*key, Expecting::Sequence(accepted), &number.to_string());
                    nodes[number % nodes.len()].append(end)
                });
                let ends = futures_util::future::join_all(ends).await;
                let won =
                    |end| if let Appended::Won(sequence) = end { Some(sequence) } else { None };
                (*key, ends.into_iter().filter_map(won).collect::<Vec<_>>())
            }
        });
        wins.extend(futures_util::future::join_all(ended).await);
    }
    stop.store(true, Relaxed);
    let steps = stepping.await.unwrap();
    assert!(steps > 0, "no leader stepped down");
    let won = wins.values().filter(|won| won.len() == 1).count();
    assert!(wins.values().all(|won| won.len() <= 1), "two winners: {wins:?}");
    // A step down makes some of them unknown, and not all.
    assert!(won > 0, "nobody won");
    let mut before = None;
    for node in &nodes {
        let entries = all(node).await;
        for (key, won) in &wins {
            let of_key: Vec<_> = entries.iter().filter(|entry| entry.key == *key).collect();
            if let ([sequence], last) = (&won[..], of_key.last()) {
                assert_eq!(last.map(|entry| entry.sequence), Some(*sequence), "a win was lost");
            }
        }
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|entry| matches!(entry.key, LogKey::Notification(_)))
            .collect();
        assert!(before.is_none_or(|before| before == entries), "two nodes read different logs");
        before = Some(entries);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_not_missed() {
    let mut cluster = NatsCluster::start();
    let mut settings = NatsSettings::new("", "x");
    settings.servers = cluster.urls();
    settings.replicas = 3;
    settings.answer_within = Duration::from_secs(2);
    let log = open(&settings).await;
    let mut tail = log.tail(ReadFrom::Start);
    let mut won = Vec::new();
    for victim in 0..3 {
        for _ in 0..50 {
            won.push(accept(&log, new_key()).await);
        }
        cluster.servers[victim].kill();
        for _ in 0..50 {
            won.push(accept(&log, new_key()).await);
        }
        cluster.servers[victim].start_again();
        // The next one may go only when this one is back.
        let key = new_key();
        accept(&log, key).await;
        let back = open(&NatsSettings {
            servers: vec![cluster.servers[victim].url()],
            ..settings.clone()
        })
        .await;
        read_until(&mut back.tail(ReadFrom::Start), key, "accepted").await;
    }
    let last = new_key();
    accept(&log, last).await;
    let read = read_until(&mut tail, last, "accepted").await;
    let read: Vec<_> = read.iter().map(|entry| entry.sequence).collect();
    assert!(read.is_sorted_by(|one, two| one < two));
    let missing: Vec<_> = won.iter().filter(|sequence| !read.contains(sequence)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}
