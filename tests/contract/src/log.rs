//! What every [`Log`] promises.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Log, LogTail};
use doorstep_domain::{
    Append, AppendRefusal, Appended, Expecting, LogEntry, LogEvent, LogKey, NotificationId,
    ReadFrom, Sequence,
};
use uuid::Uuid;

/// What a suite needs besides the port: the way between the nodes and the log, and what becomes of the log.
#[async_trait::async_trait]
pub trait LogUnderTest: Send + Sync {
    /// Another node.
    async fn node(&self) -> Arc<dyn Log>;
    /// From now on nothing comes through between the nodes and the log, and nobody is told. What is sent may arrive later.
    async fn silence(&self);
    /// Ends the silence.
    async fn speak(&self);
    /// The log starts again with everything that it holds, and every connection to it is cut.
    async fn restart(&self);
    /// The log loses everything.
    async fn lose(&self);
}

/// How long a suite waits for what must happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// The whole suite. The log must hold nothing else that changes.
///
/// # Panics
/// When a promise is broken.
pub async fn check_log(log: &impl LogUnderTest) {
    an_append_wins_only_if_its_condition_holds(log).await;
    of_two_hundred_ends_one_wins(log).await;
    what_is_kept_for_a_while_goes(log).await;
    a_tail_reads_from_the_start_or_from_a_sequence(log).await;
    a_tail_that_nobody_polls_loses_nothing(log).await;
    the_logs_time_is_within_its_bounds(log).await;
    what_is_too_large_is_refused(log).await;
    an_append_without_an_answer_may_be_done_or_not(log).await;
    a_restart_leaves_no_gap_and_repeats_nothing(log).await;
    a_log_that_lost_everything_is_read_again(log).await;
}

/// A key that nobody else uses.
pub fn new_key() -> LogKey {
    LogKey::Notification(NotificationId::new(Uuid::now_v7()))
}

/// An append without an end.
pub fn append(key: LogKey, expecting: Expecting, text: &str) -> Append {
    Append { key, expecting, bytes: text.as_bytes().into(), kept: None }
}

/// Appends the first entry of a new key.
///
/// # Panics
/// When it does not win.
pub async fn accept(node: &dyn Log, text: &str) -> (LogKey, Sequence) {
    let key = new_key();
    match node.append(append(key, Expecting::Nothing, text)).await {
        Appended::Won(sequence) => (key, sequence),
        other => panic!("{other:?}"),
    }
}

async fn next(tail: &mut Box<dyn LogTail>) -> LogEvent {
    tokio::time::timeout(PATIENCE, tail.next()).await.expect("the tail goes on")
}

/// The next entry. Nothing else may come before it.
async fn next_entry(tail: &mut Box<dyn LogTail>) -> LogEntry {
    match next(tail).await {
        LogEvent::Entry(entry) => entry,
        other => panic!("{other:?}"),
    }
}

/// Reads until the entry of this key with this text has come by. Returns it and all entries before it.
///
/// # Panics
/// When the log is reset.
pub async fn read_until(tail: &mut Box<dyn LogTail>, key: LogKey, text: &str) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    loop {
        match next(tail).await {
            LogEvent::Entry(entry) => {
                let last = entry.key == key && &*entry.bytes == text.as_bytes();
                entries.push(entry);
                if last {
                    return entries;
                }
            }
            LogEvent::Reset => panic!("the log was reset"),
            LogEvent::CutOff(_) | LogEvent::Resumed => {}
        }
    }
}

/// Appends an entry of its own, and reads until it comes by. Returns all that came before it.
async fn read_all(node: &dyn Log, tail: &mut Box<dyn LogTail>) -> Vec<LogEntry> {
    let key = LogKey::Passing(Uuid::now_v7());
    let barrier =
        Append { kept: Some(Duration::from_mins(1)), ..append(key, Expecting::Nothing, "b") };
    assert!(matches!(node.append(barrier).await, Appended::Won(_)));
    let mut entries = read_until(tail, key, "b").await;
    entries.pop();
    entries
}

async fn an_append_wins_only_if_its_condition_holds(log: &impl LogUnderTest) {
    let (one, two) = (log.node().await, log.node().await);
    let (key, accepted) = accept(&*one, "accepted").await;
    assert_eq!(two.append(append(key, Expecting::Nothing, "again")).await, Appended::Lost);
    let wrong = Expecting::Sequence(Sequence(accepted.0 + 1));
    assert_eq!(two.append(append(key, wrong, "ended")).await, Appended::Lost);
    // A condition on one key says nothing about others.
    let (_, later) = accept(&*one, "another").await;
    assert!(later > accepted);
    let read = two.get(key).await.expect("read").expect("an entry");
    assert_eq!((read.sequence, &*read.bytes, read.key), (accepted, &b"accepted"[..], key));

    let end = append(key, Expecting::Sequence(accepted), "ended");
    let Appended::Won(ended) = two.append(end.clone()).await else { panic!("it lost") };
    assert!(ended > later);
    assert_eq!(one.append(end).await, Appended::Lost);
    assert_eq!(one.append(append(key, Expecting::Nothing, "again")).await, Appended::Lost);
    let read = one.get(key).await.expect("read").expect("an entry");
    assert_eq!((read.sequence, &*read.bytes), (ended, &b"ended"[..]));
    assert_eq!(one.get(new_key()).await, Ok(None));
    let nothing = append(new_key(), Expecting::Sequence(accepted), "ended");
    assert_eq!(one.append(nothing).await, Appended::Lost);
}

async fn of_two_hundred_ends_one_wins(log: &impl LogUnderTest) {
    let nodes = [log.node().await, log.node().await, log.node().await];
    let mut tail = nodes[0].tail(ReadFrom::Start);
    let (key, accepted) = accept(&*nodes[0], "accepted").await;
    read_until(&mut tail, key, "accepted").await;
    let ends = (0..200_usize).map(|number| {
        let node = &nodes[number % nodes.len()];
        let end = append(key, Expecting::Sequence(accepted), &number.to_string());
        async move { (number, node.append(end).await) }
    });
    let ends = futures_util::future::join_all(ends).await;
    let won: Vec<_> = ends.iter().filter(|(_, end)| *end != Appended::Lost).collect();
    let [(number, Appended::Won(sequence))] = won[..] else { panic!("{won:?}") };
    let read = read_all(&*nodes[1], &mut tail).await;
    let [end] = &read[..] else { panic!("{read:?}") };
    assert_eq!((end.key, end.sequence), (key, *sequence));
    assert_eq!(&*end.bytes, number.to_string().as_bytes());
}

async fn what_is_kept_for_a_while_goes(log: &impl LogUnderTest) {
    let node = log.node().await;
    let (key, accepted) = accept(&*node, "accepted").await;
    let (stays, _) = accept(&*node, "stays").await;
    let kept = Some(Duration::from_secs(2));
    let end = Append { kept, ..append(key, Expecting::Sequence(accepted), "ended") };
    assert!(matches!(node.append(end).await, Appended::Won(_)));
    assert!(node.get(key).await.expect("read").is_some());
    let gone = async {
        while node.get(key).await.expect("read").is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the log forgets what has ended");
    assert!(node.get(stays).await.expect("read").is_some());
    // Its key is free again, and a tail sees nothing of what has gone.
    let mut tail = node.tail(ReadFrom::Start);
    assert!(read_all(&*node, &mut tail).await.iter().all(|entry| entry.key != key));
    assert!(matches!(node.append(append(key, Expecting::Nothing, "new")).await, Appended::Won(_)));
}

async fn a_tail_reads_from_the_start_or_from_a_sequence(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut accepted = Vec::new();
    for number in 0..10 {
        accepted.push(accept(&*node, &format!("{number}")).await);
    }
    let (replaced, sequence) = accepted[4];
    let end = append(replaced, Expecting::Sequence(sequence), "end");
    let Appended::Won(end) = node.append(end).await else { panic!("it lost") };

    let mut expected: Vec<_> = accepted.iter().map(|(_, sequence)| *sequence).collect();
    expected.remove(4);
    expected.push(end);
    let sequences = |entries: &[LogEntry]| -> Vec<_> {
        let known = |entry: &&LogEntry| {
            // The log holds the entries of other suites as well.
            entry.sequence == end
                || accepted.iter().any(|(_, sequence)| *sequence == entry.sequence)
        };
        entries.iter().filter(known).map(|entry| entry.sequence).collect()
    };
    // Another node reads it all.
    let mut tail = log.node().await.tail(ReadFrom::Start);
    let read = read_all(&*node, &mut tail).await;
    assert!(read.is_sorted_by(|one, two| one.sequence < two.sequence));
    assert_eq!(sequences(&read), expected);
    let (first, texts) = (accepted[0], read.iter().find(|entry| entry.key == accepted[3].0));
    assert_eq!(texts.map(|entry| &*entry.bytes), Some(&b"3"[..]));
    let mut tail = node.tail(ReadFrom::After(first.1));
    assert_eq!(next_entry(&mut tail).await.sequence, expected[1]);
    // Behind the last there is only what comes later.
    let mut tail = node.tail(ReadFrom::After(read.last().expect("entries").sequence));
    let (key, _) = accept(&*node, "later").await;
    let read = read_until(&mut tail, key, "later").await;
    assert!(read.iter().all(|entry| !expected.contains(&entry.sequence)));
}

async fn a_tail_that_nobody_polls_loses_nothing(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail).await;
    let mut expected = Vec::new();
    for batch in 0..30 {
        let text = batch.to_string();
        let appends = (0..100).map(|_| accept(&*node, &text));
        let appended = futures_util::future::join_all(appends).await;
        expected.extend(appended.into_iter().map(|(_, sequence)| sequence));
    }
    expected.sort_unstable();
    // A call that is given up loses nothing.
    for _ in 0..3 {
        if let Ok(LogEvent::Entry(entry)) = tokio::time::timeout(Duration::ZERO, tail.next()).await
        {
            assert_eq!(entry.sequence, expected.remove(0));
        }
    }
    let read = read_all(&*node, &mut tail).await;
    let read: Vec<_> = read.iter().map(|entry| entry.sequence).collect();
    assert_eq!(read, expected);
}

async fn the_logs_time_is_within_its_bounds(log: &impl LogUnderTest) {
    let node = log.node().await;
    assert_eq!(node.time(), None, "nothing is known before something is read");
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail).await;
    for _ in 0..3 {
        let before = node.time().expect("something was read");
        // Longer than the estimate saves samples.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (key, _) = accept(&*node, "now").await;
        let read = read_until(&mut tail, key, "now").await;
        let time = read.last().expect("the entry").time;
        let after = node.time().expect("something was read");
        assert!(before.at_least < time, "{before:?} {time:?}");
        assert!(time <= after.at_least, "{time:?} {after:?}");
        let most = after.at_most.expect("there was an append of its own");
        assert!(after.at_least <= most, "{after:?}");
    }
}

async fn what_is_too_large_is_refused(log: &impl LogUnderTest) {
    let node = log.node().await;
    let large = Append {
        bytes: vec![0; 9 * 1024 * 1024].into(),
        ..append(new_key(), Expecting::Nothing, "")
    };
    let key = large.key;
    let answer = node.append(large).await;
    let Appended::Refused(AppendRefusal::TooLarge { bytes, most }) = answer else {
        panic!("{answer:?}")
    };
    assert!(bytes > most, "{bytes} {most}");
    assert_eq!(node.get(key).await, Ok(None));
    // The largest notification fits.
    let fits = Append { bytes: vec![7; 40 * 1024].into(), ..append(key, Expecting::Nothing, "") };
    assert!(matches!(node.append(fits).await, Appended::Won(_)));
}

async fn an_append_without_an_answer_may_be_done_or_not(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail).await;
    let key = new_key();
    log.silence().await;
    let first = node.append(append(key, Expecting::Nothing, "first")).await;
    assert!(
        matches!(first, Appended::Unknown | Appended::Refused(AppendRefusal::Away(_))),
        "{first:?}"
    );
    log.speak().await;
    // It is repeated until the log shows what it holds. Whatever became of the first, there is one.
    let repeat = async {
        loop {
            let text = "second";
            match node.append(append(key, Expecting::Nothing, text)).await {
                Appended::Won(_) => return,
                Appended::Lost if node.get(key).await.is_ok_and(|entry| entry.is_some()) => return,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, repeat).await.expect("it comes to an end");
    let all = async {
        // What was under way may still arrive, and must lose.
        tokio::time::sleep(Duration::from_secs(1)).await;
        loop {
            let key = LogKey::Passing(Uuid::now_v7());
            let barrier = append(key, Expecting::Nothing, "b");
            if let Appended::Won(_) = node.append(barrier).await {
                return read_until(&mut tail, key, "b").await;
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, all).await.expect("it comes to an end");
    assert_eq!(read.iter().filter(|entry| entry.key == key).count(), 1);
}

async fn a_restart_leaves_no_gap_and_repeats_nothing(log: &impl LogUnderTest) {
    let (writer, reader) = (log.node().await, log.node().await);
    let mut tail = reader.tail(ReadFrom::Start);
    read_all(&*writer, &mut tail).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let appending = tokio::spawn({
        let writer = writer.clone();
        async move {
            let mut won = BTreeSet::new();
            while !*stopped.borrow() {
                let entry = append(new_key(), Expecting::Nothing, "in the storm");
                match writer.append(entry).await {
                    Appended::Won(sequence) => assert!(won.insert(sequence)),
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            won
        }
    });
    let (last, end) = (new_key(), "the last");
    let (progress, mut at) = tokio::sync::watch::channel(Sequence(0));
    let reads = tokio::spawn(async move {
        let (mut sequences, mut others) = (Vec::new(), Vec::new());
        loop {
            match next(&mut tail).await {
                LogEvent::Entry(entry) if entry.key == last => return (sequences, others),
                LogEvent::Entry(entry) => {
                    sequences.push(entry.sequence);
                    progress.send_replace(entry.sequence);
                }
                other => others.push(other),
            }
        }
    });
    let mut backs = vec![Sequence(0)];
    for _ in 0..2 {
        // Each time there was something to read since the last.
        let last = backs.last().copied();
        at.wait_for(|at| Some(*at) > last).await.expect("the reader reads");
        log.restart().await;
        let fresh = log.node().await;
        let mut tail = fresh.tail(ReadFrom::Start);
        loop {
            let key = new_key();
            let back = fresh.append(append(key, Expecting::Nothing, "back")).await;
            if let Appended::Won(back) = back {
                backs.push(back);
                read_until(&mut tail, key, "back").await;
                break;
            }
        }
    }
    stop.send_replace(true);
    let mut won = appending.await.expect("appends do not panic");
    won.extend(&backs[1..]);
    let ended = async {
        while !matches!(
            writer.append(append(last, Expecting::Nothing, end)).await,
            Appended::Won(_) | Appended::Lost
        ) {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the log takes entries again");
    let (sequences, others) = reads.await.expect("reads do not panic");
    assert!(sequences.is_sorted_by(|one, two| one < two), "something came twice");
    let read: BTreeSet<_> = sequences.into_iter().collect();
    assert!(won.is_subset(&read), "missing: {:?}", won.difference(&read).collect::<Vec<_>>());
    assert!(others.contains(&LogEvent::Resumed), "{others:?}");
    assert!(!others.contains(&LogEvent::Reset), "{others:?}");
    assert!(matches!(others[0], LogEvent::CutOff(_)), "{others:?}");
}

async fn a_log_that_lost_everything_is_read_again(log: &impl LogUnderTest) {
    let node = log.node().await;
    let (before, _) = accept(&*node, "before").await;
    let mut tail = node.tail(ReadFrom::Start);
    read_until(&mut tail, before, "before").await;
    log.lose().await;
    let mut reset = false;
    while !reset {
        reset = match next(&mut tail).await {
            LogEvent::Reset => true,
            LogEvent::CutOff(_) => false,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(node.get(before).await, Ok(None));
    let (after, sequence) = accept(&*node, "after").await;
    let read = read_until(&mut tail, after, "after").await;
    assert_eq!(read.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [sequence]);
    // Who comes later has nothing to forget.
    let mut tail = log.node().await.tail(ReadFrom::Start);
    assert_eq!(next_entry(&mut tail).await.sequence, sequence);
}
