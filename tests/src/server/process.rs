//! A process, what it writes, and its end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a test waits for a process: generous, because two cores may be compiling.
const PATIENCE: Duration = Duration::from_mins(1);

/// A call that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to standard output.
    pub stdout: String,
    /// Everything it wrote to standard error.
    pub stderr: String,
}

/// A process that has been started; killed when dropped.
pub struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    _dir: Arc<TempDir>,
}

impl Process {
    /// Takes over a child whose output is piped, and keeps the folder in which it works.
    pub(super) fn of(mut child: Child, dir: Arc<TempDir>) -> Self {
        let stdout = Lines::of(child.stdout.take().expect("piped"));
        let stderr = Lines::of(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr, _dir: dir }
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The address at which it says it listens; `None` if it ends first, or after a minute.
    pub(super) async fn listens(&mut self) -> Option<String> {
        let line = self.stdout.find("listening on ").await?;
        Some(line.trim_start_matches("listening on ").to_owned())
    }

    /// Waits until this many lines on standard output contain `part`.
    ///
    /// # Panics
    /// When the process ends first, or after a minute.
    pub async fn printed(&mut self, part: &str, times: usize) {
        let enough = self.stdout.count(part, times).await;
        assert!(enough, "{part:?} was not printed {times} times");
    }

    /// Waits until this many lines on standard error contain `part`.
    ///
    /// # Panics
    /// As [`printed`](Self::printed).
    pub async fn logged(&mut self, part: &str, times: usize) {
        let enough = self.stderr.count(part, times).await;
        assert!(enough, "{part:?} was not logged {times} times");
    }

    /// The first line on standard error that contains `part`.
    ///
    /// # Panics
    /// When the process ends first, or after a minute.
    pub async fn line(&mut self, part: &str) -> String {
        self.stderr.find(part).await.expect("the line is logged")
    }

    /// The address at which it says it listens.
    ///
    /// # Panics
    /// As [`line`](Self::line).
    pub async fn announced(&mut self) -> String {
        self.listens().await.expect("it listens")
    }

    /// `kill -TERM`: asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    pub(super) fn signal(&self, signal: Signal) {
        // The process may be gone already; the wait that follows finds out.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), signal).ok();
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn wait(self) -> Finished {
        self.wait_within(PATIENCE).await
    }

    /// The same, for one that takes long.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub async fn wait_within(mut self, patience: Duration) -> Finished {
        let status = tokio::time::timeout(patience, self.child.wait())
            .await
            .expect("the process comes to an end")
            .expect("the process can be waited for");
        let (stdout, stderr) = (self.stdout.rest().await, self.stderr.rest().await);
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Process {
    /// Kills the process, if it has not ended, and waits until it is gone: the next one may need its database file. What
    /// it said is shown by the test harness only when the test failed.
    fn drop(&mut self) {
        self.child.start_kill().ok();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if std::thread::panicking() {
            let mut said = String::new();
            for (name, lines) in [("output", &self.stdout), ("error", &self.stderr)] {
                for line in lines.seen.borrow().iter() {
                    writeln!(said, "  standard {name}: {line}").ok();
                }
            }
            eprintln!("a process that was part of this said:\n{said}");
        }
    }
}

/// The lines that a process has written. They are read continuously, so that its pipe never fills up.
struct Lines {
    seen: watch::Receiver<Vec<String>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn of(pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(pipe).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|seen| seen.push(line));
            }
        });
        Self { seen, reader }
    }

    async fn find(&mut self, part: &str) -> Option<String> {
        self.until(|lines| lines.iter().find(|line| line.contains(part)).cloned()).await
    }

    /// Waits until `found` returns something. `None` when the lines end first, or after a minute.
    async fn until<T>(&mut self, found: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let some = self.seen.wait_for(|lines| found(lines).is_some());
        match tokio::time::timeout(PATIENCE, some).await {
            Ok(Ok(lines)) => found(&lines),
            _ => None,
        }
    }

    async fn count(&mut self, part: &str, times: usize) -> bool {
        let contains = |line: &&String| line.contains(part);
        let enough =
            |lines: &[String]| (lines.iter().filter(contains).count() >= times).then_some(());
        self.until(enough).await.is_some()
    }

    async fn rest(&mut self) -> String {
        // There is no grandchild that could hold the pipe open, but if there were, a test must not hang.
        tokio::time::timeout(PATIENCE, &mut self.reader).await.ok();
        self.seen.borrow().join("\n")
    }
}
