//! What the log promises when its network or its server fails.

use std::collections::BTreeSet;
use std::time::Duration;

use doorstep_domain::{AppendRefusal, Appended, Expecting, LogEvent, LogKey, ReadFrom, Sequence};
use uuid::Uuid;

use super::{
    LogUnderTest, PATIENCE, RESET, RESTART, UNKNOWN, accepted, append, get, named, new_key, next,
    next_entry, read_all, reads_until, sequences,
};

pub(super) async fn an_append_without_an_answer_may_be_done_or_not(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail, UNKNOWN).await;
    let key = new_key();
    log.silence().await;
    let first = node.append(append(key, Expecting::Nothing, "first")).await;
    let unknown = matches!(first, Appended::Unknown | Appended::Refused(AppendRefusal::Away(_)));
    UNKNOWN.holds(unknown, format_args!("in silence: expected Unknown or Away, and got {first:?}"));
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
    let all = async {
        // What was under way may still arrive, and must lose.
        tokio::time::sleep(Duration::from_secs(1)).await;
        loop {
            let key = LogKey::Passing(Uuid::now_v7());
            let barrier = append(key, Expecting::Nothing, "b");
            if let Appended::Won(_) = node.append(barrier).await {
                return reads_until(&mut tail, key, "b", UNKNOWN).await;
            }
        }
    };
    let both = async {
        repeat.await;
        all.await
    };
    let Ok(read) = tokio::time::timeout(PATIENCE, both).await else {
        UNKNOWN.broken("expected that a repeated append comes to an end, and it did not in 2 min")
    };
    let came = read.iter().filter(|entry| entry.key == key).count();
    UNKNOWN.same("how many entries of the key are read", &came, &1);
}

pub(super) async fn a_restart_leaves_no_gap_and_repeats_nothing(log: &impl LogUnderTest) {
    let (writer, reader) = (log.node().await, log.node().await);
    let mut tail = reader.tail(ReadFrom::Start);
    read_all(&*writer, &mut tail, RESTART).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let appending = tokio::spawn({
        let writer = writer.clone();
        async move {
            let mut won = BTreeSet::new();
            while !*stopped.borrow() {
                let entry = append(new_key(), Expecting::Nothing, "in the storm");
                match writer.append(entry).await {
                    Appended::Won(sequence) => RESTART.holds(
                        won.insert(sequence),
                        format_args!("expected a place of its own, and {sequence:?} was won twice"),
                    ),
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
            match next(&mut tail, RESTART).await {
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
        let read = tokio::time::timeout(PATIENCE, at.wait_for(|at| Some(*at) > last)).await;
        let reads = matches!(read, Ok(Ok(_)));
        drop(read);
        RESTART.holds(reads, "expected that the tail goes on after a restart, and it did not");
        log.restart().await;
        let fresh = log.node().await;
        let mut tail = fresh.tail(ReadFrom::Start);
        loop {
            let key = new_key();
            let back = fresh.append(append(key, Expecting::Nothing, "back")).await;
            if let Appended::Won(back) = back {
                backs.push(back);
                reads_until(&mut tail, key, "back", RESTART).await;
                break;
            }
        }
    }
    stop.send_replace(true);
    let mut won = joined(appending).await;
    won.extend(&backs[1..]);
    let ended = async {
        while !matches!(
            writer.append(append(last, Expecting::Nothing, end)).await,
            Appended::Won(_) | Appended::Lost
        ) {}
    };
    if tokio::time::timeout(PATIENCE, ended).await.is_err() {
        RESTART.broken("expected that the log takes entries again, and it did not for 2 min");
    }
    let (sequences, others) = joined(reads).await;
    let twice = !sequences.is_sorted_by(|one, two| one < two);
    RESTART.holds(!twice, "expected sequences that grow, and one came twice or out of order");
    let read: BTreeSet<_> = sequences.into_iter().collect();
    let missing: Vec<_> = won.difference(&read).collect();
    let (count, of) = (missing.len(), won.len());
    RESTART.holds(count == 0, format_args!("{count} of {of} are missing: {:?}", missing.first()));
    let cut = matches!(others.first(), Some(LogEvent::CutOff(_)));
    let resumed = others.contains(&LogEvent::Resumed) && !others.contains(&LogEvent::Reset);
    RESTART.holds(
        cut && resumed,
        format_args!("expected CutOff first, Resumed later, and no Reset: {others:?}"),
    );
}

/// The result of a task, which fails as the task did.
async fn joined<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(result) => result,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

pub(super) async fn a_log_that_lost_everything_is_read_again(log: &impl LogUnderTest) {
    let node = log.node().await;
    let (before, _) = accepted(&*node, "before", RESET).await;
    let mut tail = node.tail(ReadFrom::Start);
    reads_until(&mut tail, before, "before", RESET).await;
    log.lose().await;
    loop {
        match next(&mut tail, RESET).await {
            LogEvent::Reset => break,
            LogEvent::CutOff(_) => {}
            other => RESET.broken(format_args!("expected Reset, and got {}", named(&other))),
        }
    }
    let left = get(&*node, before, RESET).await;
    RESET.same_one("what the log had before", left.as_ref(), None);
    let (after, sequence) = accepted(&*node, "after", RESET).await;
    let read = reads_until(&mut tail, after, "after", RESET).await;
    RESET.same("what is read after that", &sequences(&read), &vec![sequence.0]);
    // Who comes later has nothing to forget.
    let mut tail = log.node().await.tail(ReadFrom::Start);
    let first = next_entry(&mut tail, RESET).await.sequence;
    RESET.same("what a new tail reads first", &first, &sequence);
}
