//! The suite of [`Log`].

mod faults;

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
    faults::an_append_without_an_answer_may_be_done_or_not(log).await;
    faults::a_restart_leaves_no_gap_and_repeats_nothing(log).await;
    faults::a_log_that_lost_everything_is_read_again(log).await;
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
    let place = came.as_ref().map(|entry| (entry.key, entry.sequence));
    GET.same(format_args!("`get` of {key}"), &place, &Some((key, sequence)));
    let whole = came.is_some_and(|entry| *entry.bytes == *text.as_bytes());
    GET.holds(whole, format_args!("expected the content that {key} was appended with"));
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
    let came: Vec<_> = read.iter().map(|end| (end.key, end.sequence)).collect();
    ONE_WINS.same("what is read of 200 appends", &came, &vec![(key, *sequence)]);
    let its_own = *read[0].bytes == *number.to_string().as_bytes();
    ONE_WINS.holds(its_own, "expected the content of the append that won, and read another");
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
    let whole = fourth.is_some_and(|entry| &*entry.bytes == b"3");
    START.holds(whole, "expected the content that the fourth was appended with");
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
