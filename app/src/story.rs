//! `doorstep story`: what happened to a notification, or to those of a user, step by step.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, anyhow};
use doorstep_adapters::operator::{OperatorClient, OperatorError};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::StoryArgs;
use crate::output;

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// No service key was given.
#[derive(Debug, thiserror::Error)]
#[error(
    "story needs a service key of the node: set DOORSTEP_KEY in the environment; `doorstep key new NAME` makes one"
)]
pub(crate) struct NoKey;

/// A story, as the node tells it.
#[derive(Deserialize)]
struct ToldStory {
    id: String,
    user_id: String,
    kind: Option<String>,
    trace_id: Option<String>,
    complete: bool,
    summary: String,
    steps: Vec<ToldStep>,
}

#[derive(Deserialize)]
struct ToldStep {
    at: String,
    after_us: u64,
    text: String,
}

#[derive(Deserialize)]
struct ToldUser {
    notifications: Vec<ToldStory>,
    more: bool,
    remembered_since: Option<String>,
}

/// Asks the node, and prints its answer.
pub(crate) async fn run(args: StoryArgs) -> anyhow::Result<()> {
    let key = args.key.filter(|key| !key.0.is_empty()).ok_or(NoKey)?;
    let client = OperatorClient::new(&args.url, &key.0)?;
    let path = match (&args.id, &args.user) {
        (Some(id), _) => format!("/v1/notifications/{}/story", encoded(id)),
        (None, user) => {
            let user = encoded(user.as_deref().unwrap_or_default());
            format!("/v1/users/{user}/story?limit={}", args.limit)
        }
    };
    let answer = tokio::time::timeout(PATIENCE, client.get(&path)).await;
    let answer = answer
        .map_err(|_| anyhow!("{} does not answer within {} s", args.url, PATIENCE.as_secs()))?
        .map_err(|error| explained(error, &args.url, args.id.is_some()))?;
    let foreign = || format!("{} does not answer like a Doorstep node: is --url right?", args.url);
    if args.format.json {
        let raw: Box<RawValue> = serde_json::from_slice(&answer).with_context(foreign)?;
        return output::line(output::one_line(raw.get()));
    }
    if args.id.is_some() {
        let story: ToldStory = serde_json::from_slice(&answer).with_context(foreign)?;
        return output::line(in_lines(&story).trim_end());
    }
    let told: ToldUser = serde_json::from_slice(&answer).with_context(foreign)?;
    output::line(all_in_lines(&told).trim_end())
}

/// What happened, and what the person at the terminal can do.
fn explained(error: OperatorError, url: &str, one: bool) -> anyhow::Error {
    match error {
        OperatorError::Unreachable(why) => {
            anyhow!("{url} cannot be reached: {why}. Does the node run, and is --url right?")
        }
        OperatorError::Key => anyhow!(
            "{url} does not accept this service key. Keys are in [keys] of the node's configuration, and are read again \
             on SIGHUP; `doorstep key new NAME` makes one"
        ),
        OperatorError::Refused { status, detail } if detail.is_empty() => {
            anyhow!("{url} answered {status}, not like a Doorstep node: is --url right?")
        }
        OperatorError::Refused { status, detail } if status.as_u16() == 404 && one => anyhow!(
            "{detail}. Ask the node that accepted it (--url), or look for its user's notifications (--user USER); \
             [stories] says how much is remembered"
        ),
        OperatorError::Refused { detail, .. } => anyhow!(detail),
        other => other.into(),
    }
}

fn all_in_lines(told: &ToldUser) -> String {
    let mut text = String::new();
    for story in &told.notifications {
        text.push_str(&in_lines(story));
        text.push('\n');
    }
    if told.notifications.is_empty() {
        text.push_str("nothing is remembered of this user's notifications at this node\n");
    }
    if told.more {
        text.push_str("there are older ones: --limit shows more\n");
    }
    if let Some(since) = &told.remembered_since {
        let _ = writeln!(text, "steps before {since} are forgotten");
    }
    text
}

/// One story. Names come from others, so they must not steer the terminal.
fn in_lines(story: &ToldStory) -> String {
    let mut text = format!("{}  {}\n", story.id, story.kind.as_deref().unwrap_or("(kind unknown)"));
    let _ = write!(text, "  for {}", output::one_line(&story.user_id));
    if let Some(trace) = &story.trace_id {
        let _ = write!(text, ", trace {trace}");
    }
    let _ = writeln!(text, "\n  {}\n", output::one_line(&story.summary));
    if !story.complete {
        text.push_str("  (the beginning is not remembered)\n");
    }
    for ToldStep { at, after_us, text: what } in &story.steps {
        let after = Duration::from_micros(*after_us).as_secs_f64();
        let _ = writeln!(text, "  {at}  {after:+12.6} s  {}", output::one_line(what));
    }
    text
}

/// A segment of a path.
fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_of_any_characters_is_one_segment_of_the_path() {
        assert_eq!(encoded("ada/1?é .."), "ada%2F1%3F%C3%A9%20%2E%2E");
    }

    #[test]
    fn a_story_is_told_in_lines_that_do_not_steer_the_terminal() {
        let story = ToldStory {
            id: "0192f0c1-2345-7abc-8def-0123456789ab".to_owned(),
            user_id: "ada\u{1b}[2J".to_owned(),
            kind: None,
            trace_id: Some("4bf9".to_owned()),
            complete: false,
            summary: "delivered, taken by 1".to_owned(),
            steps: vec![ToldStep {
                at: "2026-01-02T03:04:05.000006Z".to_owned(),
                after_us: 3_100_000,
                text: "delivered".to_owned(),
            }],
        };
        let expected = "0192f0c1-2345-7abc-8def-0123456789ab  (kind unknown)\n  for ada\\u001b[2J, trace 4bf9\n  \
                        delivered, taken by 1\n\n  (the beginning is not remembered)\n  \
                        2026-01-02T03:04:05.000006Z     +3.100000 s  delivered\n";
        assert_eq!(in_lines(&story), expected);
    }
}
