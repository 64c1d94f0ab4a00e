//! The suite of [`Log`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Log, LogTail};
use doorstep_domain::{
    Append, AppendRefusal, Appended, Expecting, LogEntry, LogEvent, LogKey, NotificationId,
    ReadFrom, Sequence,
};
use uuid::Uuid;

use crate::Clause;
use crate::clause::clauses;

clauses! {
    /// The promises of [`Log`] that the suite checks.
    CONDITION = "log condition": "an append wins if and only if the last entry of its key is the one that it expects";
    GET = "log get": "`get` returns the last entry of a key with everything that was appended, and None if there is none";
    ORDER = "log order": "a tail reads every entry once, in the order of the sequences, and the last entry of each key";
    ONE_WINS = "log one winner": "of any number of concurrent appends that expect the same, one wins, and that is the one that is read";
    KEPT = "log kept": "what is kept for a while goes after it, and nothing else; then its key is free";
    START = "log from the start": "a tail from the start reads everything that the log still has";
    AFTER = "log from a sequence": "a tail behind a sequence begins with the next entry";
    DROPPED = "log dropped call": "a tail that nobody polls, or whose call is dropped, loses nothing";
    TIME = "log time": "the log's time is within its bounds, and is not known before something was read";
    TOO_LARGE = "log too large": "what is too large is refused as TooLarge, and leaves nothing; 40 KiB fit";
    UNKNOWN = "log unanswered": "an append without an answer is Unknown or Away, and when it is repeated there is one entry";
    RESTART = "log restart": "over restarts a tail is CutOff and Resumed, misses nothing that was won, and reads nothing twice";
    RESET = "log reset": "when the log lost everything a tail says so, and then reads the log from its start";
}

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

/// The whole suite: checks every promise of [`CLAUSES`]. The log must hold nothing else that changes.
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
    accepted(node, text, CONDITION).await
}

async fn accepted(node: &dyn Log, text: &str, clause: Clause) -> (LogKey, Sequence) {
    let key = new_key();
    (key, wins(node, append(key, Expecting::Nothing, text), clause).await)
}

/// Appends what must win.
async fn wins(node: &dyn Log, entry: Append, clause: Clause) -> Sequence {
    let key = entry.key;
    match node.append(entry).await {
        Appended::Won(sequence) => sequence,
        other => clause.broken(format_args!("an append of {key}: expected Won, and got {other:?}")),
    }
}

async fn loses(node: &dyn Log, what: &str, entry: Append) {
    CONDITION.same(what, &node.append(entry).await, &Appended::Lost);
}

/// The last entry of the key.
async fn get(node: &dyn Log, key: LogKey, clause: Clause) -> Option<LogEntry> {
    clause.done("get", node.get(key).await)
}

/// Fails unless `get` returns an entry with this place and text.
async fn holds(node: &dyn Log, key: LogKey, sequence: Sequence, text: &str) {
    let came = get(node, key, GET).await;
    let came = came.as_ref().map(|entry| (entry.key, entry.sequence, &*entry.bytes));
    let expected = Some((key, sequence, text.as_bytes()));
    GET.same(format_args!("`get` of {key}, which is {text:?}"), &came, &expected);
}

async fn next(tail: &mut Box<dyn LogTail>, clause: Clause) -> LogEvent {
    match tokio::time::timeout(PATIENCE, tail.next()).await {
        Ok(event) => event,
        Err(_) => clause.broken("expected that the tail goes on, and nothing came for 2 min"),
    }
}

/// The event without the content of an entry.
fn named(event: &LogEvent) -> String {
    match event {
        LogEvent::Entry(entry) => format!("the entry {} of {}", entry.sequence.0, entry.key),
        other => format!("{other:?}"),
    }
}

/// The next entry. Nothing else may come before it.
async fn next_entry(tail: &mut Box<dyn LogTail>, clause: Clause) -> LogEntry {
    match next(tail, clause).await {
        LogEvent::Entry(entry) => entry,
        other => clause.broken(format_args!("expected an entry, and got {}", named(&other))),
    }
}

/// Reads until the entry of this key with this text has come by. Returns it and all entries before it.
///
/// # Panics
/// When the log is reset.
pub async fn read_until(tail: &mut Box<dyn LogTail>, key: LogKey, text: &str) -> Vec<LogEntry> {
    reads_until(tail, key, text, ORDER).await
}

async fn reads_until(
    tail: &mut Box<dyn LogTail>,
    key: LogKey,
    text: &str,
    clause: Clause,
) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    loop {
        match next(tail, clause).await {
            LogEvent::Entry(entry) => {
                let last = entry.key == key && &*entry.bytes == text.as_bytes();
                entries.push(entry);
                if last {
                    return entries;
                }
            }
            LogEvent::Reset => clause.broken(format_args!("expected {key}, and got a Reset")),
            LogEvent::CutOff(_) | LogEvent::Resumed => {}
        }
    }
}

/// Appends an entry of its own, and reads until it comes by. Returns all that came before it.
async fn read_all(node: &dyn Log, tail: &mut Box<dyn LogTail>, clause: Clause) -> Vec<LogEntry> {
    let key = LogKey::Passing(Uuid::now_v7());
    let barrier =
        Append { kept: Some(Duration::from_mins(1)), ..append(key, Expecting::Nothing, "b") };
    wins(node, barrier, clause).await;
    let mut entries = reads_until(tail, key, "b", clause).await;
    let in_order = entries.is_sorted_by(|one, two| one.sequence < two.sequence);
    ORDER.holds(in_order, "expected sequences that grow, and a tail read one that did not");
    entries.pop();
    entries
}

fn sequences(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence.0).collect()
}

async fn an_append_wins_only_if_its_condition_holds(log: &impl LogUnderTest) {
    let (one, two) = (log.node().await, log.node().await);
    let (key, accepted) = accept(&*one, "accepted").await;
    loses(&*two, "a second append that expects nothing", append(key, Expecting::Nothing, "again"))
        .await;
    let wrong = Expecting::Sequence(Sequence(accepted.0 + 1));
    loses(&*two, "an append that expects another", append(key, wrong, "ended")).await;
    // A condition on one key says nothing about others.
    let (_, later) = accept(&*one, "another").await;
    ORDER.holds(later > accepted, format_args!("expected more than {accepted:?}, got {later:?}"));
    holds(&*two, key, accepted, "accepted").await;

    let end = append(key, Expecting::Sequence(accepted), "ended");
    let ended = wins(&*two, end.clone(), CONDITION).await;
    ORDER.holds(ended > later, format_args!("expected more than {later:?}, and got {ended:?}"));
    loses(&*one, "the same append again", end).await;
    loses(&*one, "an append that expects nothing", append(key, Expecting::Nothing, "again")).await;
    holds(&*one, key, ended, "ended").await;
    let none = get(&*one, new_key(), GET).await;
    GET.same_one("`get` of a key without entries", none.as_ref(), None);
    let nothing = append(new_key(), Expecting::Sequence(accepted), "ended");
    loses(&*one, "an append that expects an entry of a key without any", nothing).await;
}

async fn of_two_hundred_ends_one_wins(log: &impl LogUnderTest) {
    let nodes = [log.node().await, log.node().await, log.node().await];
    let mut tail = nodes[0].tail(ReadFrom::Start);
    let (key, accepted) = accept(&*nodes[0], "accepted").await;
    reads_until(&mut tail, key, "accepted", ORDER).await;
    let ends = (0..200_usize).map(|number| {
        let node = &nodes[number % nodes.len()];
        let end = append(key, Expecting::Sequence(accepted), &number.to_string());
        async move { (number, node.append(end).await) }
    });
    let ends = futures_util::future::join_all(ends).await;
    let won: Vec<_> = ends.iter().filter(|(_, end)| *end != Appended::Lost).collect();
    let [(number, Appended::Won(sequence))] = won[..] else {
        let (came, first) = (won.len(), won.first());
        ONE_WINS.broken(format_args!("expected that one of 200 wins, and {came} did: {first:?}"))
    };
    let read = read_all(&*nodes[1], &mut tail, ONE_WINS).await;
    let came: Vec<_> = read
        .iter()
        .map(|end| (end.key, end.sequence, String::from_utf8_lossy(&end.bytes)))
        .collect();
    let expected = vec![(key, *sequence, number.to_string().into())];
    ONE_WINS.same("what is read of 200 appends", &came, &expected);
    // What a node reads once is not older than what its tails have read.
    holds(&*nodes[0], key, *sequence, &number.to_string()).await;
}

async fn what_is_kept_for_a_while_goes(log: &impl LogUnderTest) {
    let node = log.node().await;
    let (key, accepted) = accept(&*node, "accepted").await;
    let (stays, _) = accept(&*node, "stays").await;
    let kept = Some(Duration::from_secs(2));
    let end = Append { kept, ..append(key, Expecting::Sequence(accepted), "ended") };
    wins(&*node, end, KEPT).await;
    let there = get(&*node, key, KEPT).await.is_some();
    KEPT.holds(there, "expected an entry that is kept for 2 s, and got None at once");
    let gone = async {
        while get(&*node, key, KEPT).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, gone).await.is_err() {
        KEPT.broken("expected that an entry that is kept for 2 s goes, and it stays for 2 min");
    }
    let there = get(&*node, stays, KEPT).await.is_some();
    KEPT.holds(there, "expected that an entry without an end stays, and got None");
    // Its key is free again, and a tail sees nothing of what has gone.
    let mut tail = node.tail(ReadFrom::Start);
    let read = read_all(&*node, &mut tail, START).await;
    let gone = read.iter().all(|entry| entry.key != key);
    KEPT.holds(gone, "expected that a tail reads nothing of what has gone, and it did");
    wins(&*node, append(key, Expecting::Nothing, "new"), KEPT).await;
}

async fn a_tail_reads_from_the_start_or_from_a_sequence(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut accepted = Vec::new();
    for number in 0..10 {
        accepted.push(accept(&*node, &format!("{number}")).await);
    }
    let (replaced, sequence) = accepted[4];
    let end = wins(&*node, append(replaced, Expecting::Sequence(sequence), "end"), START).await;

    let mut expected: Vec<_> = accepted.iter().map(|(_, sequence)| sequence.0).collect();
    let known: BTreeSet<_> = expected.iter().copied().chain([end.0]).collect();
    expected.remove(4);
    expected.push(end.0);
    // Another node reads it all. The log holds the entries of other suites as well.
    let mut tail = log.node().await.tail(ReadFrom::Start);
    let read = read_all(&*node, &mut tail, START).await;
    let mut came = sequences(&read);
    came.retain(|sequence| known.contains(sequence));
    START.same("what is read of eleven entries, one of which was replaced", &came, &expected);
    let (first, fourth) = (accepted[0], read.iter().find(|entry| entry.key == accepted[3].0));
    let text = fourth.map(|entry| String::from_utf8_lossy(&entry.bytes));
    START.same("the text of the fourth", &text.as_deref(), &Some("3"));
    let mut tail = node.tail(ReadFrom::After(first.1));
    let second = next_entry(&mut tail, AFTER).await.sequence.0;
    AFTER.same("the first behind the first", &second, &expected[1]);
    // Behind the last there is only what comes later.
    let last = read.last().map_or(Sequence(0), |entry| entry.sequence);
    let mut tail = node.tail(ReadFrom::After(last));
    let (key, _) = accept(&*node, "later").await;
    let read = sequences(&reads_until(&mut tail, key, "later", AFTER).await);
    let old = read.iter().find(|sequence| expected.contains(sequence));
    AFTER.same("what was read behind the last, and was there before", &old, &None);
}

async fn a_tail_that_nobody_polls_loses_nothing(log: &impl LogUnderTest) {
    let node = log.node().await;
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail, DROPPED).await;
    let mut expected = Vec::new();
    for batch in 0..30 {
        let text = batch.to_string();
        let appends = (0..100).map(|_| accept(&*node, &text));
        let appended = futures_util::future::join_all(appends).await;
        expected.extend(appended.into_iter().map(|(_, sequence)| sequence.0));
    }
    expected.sort_unstable();
    // A call that is given up loses nothing.
    let mut came = Vec::new();
    for _ in 0..3 {
        if let Ok(LogEvent::Entry(entry)) = tokio::time::timeout(Duration::ZERO, tail.next()).await
        {
            came.push(entry.sequence.0);
        }
    }
    came.extend(sequences(&read_all(&*node, &mut tail, DROPPED).await));
    let missing: Vec<_> = expected.iter().filter(|one| came.binary_search(one).is_err()).collect();
    DROPPED.same("the first of 3,000 that is missing", &missing.first(), &None);
    ORDER.same("how many of 3,000 were read", &came.len(), &expected.len());
}

async fn the_logs_time_is_within_its_bounds(log: &impl LogUnderTest) {
    let node = log.node().await;
    TIME.same("the time before something was read", &node.time(), &None);
    let mut tail = node.tail(ReadFrom::Start);
    read_all(&*node, &mut tail, TIME).await;
    let time_of = |what: &str| match node.time() {
        Some(time) => time,
        None => TIME.broken(format_args!("expected a time {what}, and got None")),
    };
    for _ in 0..3 {
        let before = time_of("after something was read");
        // Longer than the estimate saves samples.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (key, _) = accept(&*node, "now").await;
        let read = reads_until(&mut tail, key, "now", TIME).await;
        let Some(time) = read.last().map(|entry| entry.time) else { continue };
        let after = time_of("after an append of its own");
        TIME.holds(
            before.at_least < time && time <= after.at_least,
            format_args!("expected {time:?} above {before:?} and not above {after:?}"),
        );
        let bounded = after.at_most.is_some_and(|most| after.at_least <= most);
        TIME.holds(bounded, format_args!("expected an upper bound after an append: {after:?}"));
    }
}

async fn what_is_too_large_is_refused(log: &impl LogUnderTest) {
    let node = log.node().await;
    let large = Append {
        bytes: vec![0; 9 * 1024 * 1024].into(),
        ..append(new_key(), Expecting::Nothing, "")
    };
    let key = large.key;
    let came = node.append(large).await;
    let refused = matches!(
        came,
        Appended::Refused(AppendRefusal::TooLarge { bytes, most }) if bytes > most
    );
    TOO_LARGE.holds(refused, format_args!("9 MiB: expected TooLarge, and got {came:?}"));
    let left = get(&*node, key, TOO_LARGE).await;
    TOO_LARGE.same_one("what was refused", left.as_ref(), None);
    // The largest notification fits.
    let fits = Append { bytes: vec![7; 40 * 1024].into(), ..append(key, Expecting::Nothing, "") };
    wins(&*node, fits, TOO_LARGE).await;
}

async fn an_append_without_an_answer_may_be_done_or_not(log: &impl LogUnderTest) {
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

async fn a_restart_leaves_no_gap_and_repeats_nothing(log: &impl LogUnderTest) {
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

async fn a_log_that_lost_everything_is_read_again(log: &impl LogUnderTest) {
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
